//! Two ends of a TCP connection over loopback.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use super::times::HANGS;
use socket2::{Domain, Socket, Type};

/// Two ends of a connection. Reading from the second fails after [`HANGS`].
pub fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    far.set_read_timeout(Some(HANGS)).unwrap();
    (near, far)
}

/// Waits until so many bytes have arrived at this end, and leaves them there.
#[track_caller]
pub fn arrived(end: &TcpStream, bytes: usize) {
    let (start, mut buffer) = (Instant::now(), vec![0; bytes]);
    loop {
        match end.peek(&mut buffer) {
            Ok(n) if n == bytes => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {} // the loop has made it nonblocking
            Err(error) => panic!("{error}"),
        }
        assert!(start.elapsed() < HANGS, "{bytes} bytes do not arrive");
        std::thread::yield_now();
    }
}

/// A connected pair. With `buffers`, each buffer of the kernel holds little more than that many bytes.
pub fn sized_pair(buffers: Option<usize>) -> (TcpStream, TcpStream) {
    let socket = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        if let Some(size) = buffers {
            socket.set_recv_buffer_size(size).expect("a small receive buffer");
            socket.set_send_buffer_size(size).expect("a small send buffer");
        }
        socket.set_read_timeout(Some(HANGS)).expect("a guard");
        socket.set_write_timeout(Some(HANGS)).expect("a guard");
        socket
    };
    let (listener, one) = (socket(), socket());
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
    listener.listen(1).expect("listening");
    one.connect(&listener.local_addr().expect("an address")).expect("connecting");
    let (other, _) = listener.accept().expect("accepting");
    other.set_read_timeout(Some(HANGS)).expect("a guard");
    other.set_write_timeout(Some(HANGS)).expect("a guard");
    (one.into(), other.into())
}
