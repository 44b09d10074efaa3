//! The certificates in `tests/certs`, which are valid for `localhost` and some other names, and both sides of TLS.

pub const AUTHORITY: &str = include_str!("../certs/ca.pem");
pub const CERTIFICATE: &str = include_str!("../certs/localhost.pem");
pub const KEY: &str = include_str!("../certs/localhost.key");

#[cfg(feature = "tls")]
pub fn client() -> enjamb::tls::Client {
    enjamb::tls::Client::with_roots(AUTHORITY).unwrap()
}

#[cfg(feature = "tls")]
pub fn server() -> enjamb::tls::Server {
    enjamb::tls::Server::new(CERTIFICATE, KEY).unwrap()
}
