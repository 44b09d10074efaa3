//! Both sides of TLS with the certificates in `tests/certs`, which are good for `localhost` and some other names.

#![allow(dead_code)] // not every test crate needs both sides

use enjamb::tls;

pub const AUTHORITY: &str = include_str!("../certs/ca.pem");
pub const CERTIFICATE: &str = include_str!("../certs/localhost.pem");
pub const KEY: &str = include_str!("../certs/localhost.key");

pub fn client() -> tls::Client {
    tls::Client::with_roots(AUTHORITY).unwrap()
}

pub fn server() -> tls::Server {
    tls::Server::new(CERTIFICATE, KEY).unwrap()
}
