//! Two ends of a TCP connection, made by the standard library.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

const HANGS: Duration = Duration::from_secs(60);

/// Two ends of a connection. Reading from one of them fails when it takes so long that the test hangs.
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
