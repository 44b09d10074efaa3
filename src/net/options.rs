//! What is set on every TCP socket, and what is asked of one that comes from outside.

use std::io;

use socket2::SockRef;

/// Bytes that the kernel takes of a connection beyond what it can send at once: TCP_NOTSENT_LOWAT, tcp(7).
///
/// Without this limit it takes what its send buffer holds, up to 4 MiB, and tells of room only when a third of that is
/// free: for seconds, a peer that reads slowly looks like one that does not read. With it, what is unsent falls in steps of
/// about 100 KiB, and a slow peer holds less of the kernel's memory. Streaming over loopback is as fast as before. On a long
/// and fast path there is a price: one turn hands over at most about 128 KiB beyond what the peer's window takes, so if the
/// loop is held up for longer than that lasts, the path runs empty.
#[cfg(any(target_os = "linux", target_os = "android"))]
const NOT_SENT_LOWAT: u32 = 128 * 1024;

/// Sets what every TCP socket here has; accepted sockets inherit it from their listener, at no call per connection.
pub(crate) fn set_tcp_options<'a>(socket: impl Into<SockRef<'a>>) -> io::Result<()> {
    let socket = socket.into();
    // Output is corked and sent when a callback returns: Nagle's algorithm could only delay it.
    socket.set_tcp_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_notsent_lowat(NOT_SENT_LOWAT).ok(); // some kernels refuse it, and all works without
    Ok(())
}

/// Whether a socket listens: SO_ACCEPTCONN, socket(7). `None` where socket2 does not ask the system, or has no answer.
pub(crate) fn listens(socket: &SockRef<'_>) -> Option<bool> {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    return socket.is_listener().ok();
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    {
        let _ = socket;
        None
    }
}
