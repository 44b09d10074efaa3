//! The HTTP/1.1 client.
//!
//! | file | what it tests |
//! |---|---|
//! | `request.rs` | requests, byte for byte, and those that are refused |
//! | `head.rs` | heads of responses: accepted, rejected, limits |
//! | `framing.rs` | where a body ends |
//! | `body.rs` | whole bodies: collected, decoded, bounded |
//! | `properties.rs` | the parser with random bytes |
//! | `reuse.rs` | when a connection can carry another request |
//! | `redirect.rs` | which redirects are followed, and with what |
//! | `cookies.rs` | which cookies are kept, for which requests, for how long |
//! | `session.rs` | calls from their beginning to their end |
//! | `session_faults.rs` | servers that misbehave, requests that cannot be sent |
//! | `session_limits.rs` | timeouts and limits of a session |
//! | `session_redirects.rs` | redirects and cookies in a session |
//! | `session_reuse.rs` | which connections a session uses again |
//! | `reused.rs` | a connection that dies after a request was given it |
//! | `stream.rs` | responses and bodies in pieces, with bounded memory |
//! | `upload.rs` | the time for a request's body, and an early response |
//! | `split.rs` | a response cut at every byte |
//! | `messages.rs` | the messages of failures |
//! | `rude.rs` | servers that misbehave, on real sockets |
//! | `sockets.rs` | real sockets: TLS, names, large bodies, blocking calls |
//! | `servers.rs` | nginx, aiohttp and Python's server |
//! | `answers.rs` | helpers: the parser fed in all ways |
//! | `bench.rs` | helpers: a session in a simulation |
//!
//! `servers/` has the configurations and programs of those servers.

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
