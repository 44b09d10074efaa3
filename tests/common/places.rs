//! Addresses with a listener, without one, and with one that does not answer.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

/// Any free port of this machine.
pub const ANY_PORT: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// A listener and its address.
pub fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// An address without a listener. While the socket is kept, no other process gets the address.
pub fn nobody() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, addr)
}

/// A listener whose backlog is full. The kernel drops further SYNs, and the client sends again after a second.
pub fn full_listener() -> (TcpListener, SocketAddr, TcpStream) {
    let (socket, addr) = nobody();
    socket.listen(0).unwrap();
    let first = TcpStream::connect(addr).unwrap(); // a backlog of 0 has room for one
    (socket.into(), addr, first)
}
