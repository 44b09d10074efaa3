//! Two ends of a TCP connection over loopback, with kernel buffers of a chosen size.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// A blocking call that takes this long hangs.
const HANGS: Duration = Duration::from_secs(60);

/// A connected pair; with `buffers`, the kernel holds little more than that many bytes in each of its buffers.
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
