//! The HTTP/1.1 client: the parser of responses, requests, and sessions.

mod common;

#[cfg(feature = "http")]
mod http {
    mod answers;
    #[cfg(feature = "sim")]
    mod bench;
    mod body;
    mod cookies;
    mod framing;
    mod head;
    #[cfg(feature = "sim")]
    mod messages;
    mod properties;
    mod redirect;
    mod request;
    mod reuse;
    #[cfg(feature = "sim")]
    mod reused;
    mod rude;
    #[cfg(unix)]
    mod servers;
    #[cfg(feature = "sim")]
    mod session;
    #[cfg(feature = "sim")]
    mod session_faults;
    #[cfg(feature = "sim")]
    mod session_limits;
    #[cfg(feature = "sim")]
    mod session_redirects;
    #[cfg(feature = "sim")]
    mod session_reuse;
    #[cfg(unix)]
    mod sockets;
    #[cfg(feature = "sim")]
    mod split;
    #[cfg(feature = "sim")]
    mod stream;
    #[cfg(feature = "sim")]
    mod upload;
}
