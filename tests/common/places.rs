//! Addresses at which somebody listens, nobody does, or nobody answers.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

/// Any free port of this machine.
pub const ANY_PORT: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// One who listens.
pub fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// An address at which nobody listens and nobody else can, as long as the socket is kept.
pub fn nobody() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, addr)
}

/// A listener whose backlog is full: the kernel drops what else comes, and the peer tries again, a second later for
/// the first time.
pub fn full_listener() -> (TcpListener, SocketAddr, TcpStream) {
    let (socket, addr) = nobody();
    socket.listen(0).unwrap();
    let first = TcpStream::connect(addr).unwrap(); // a backlog of 0 has room for one
    (socket.into(), addr, first)
}
