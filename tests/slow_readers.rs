//! Covers the trap that a peer that reads slowly, but steadily, looks like one that does not read.
#![cfg(all(unix, feature = "sim"))]

#[path = "common/until.rs"]
mod until;

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use enjamb::{Conn, ConnId, Input, Protocol, Reactor};
use socket2::{Domain, Socket, Type};
use until::until;

const ANY_PORT: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// Writes more than the kernel takes of a connection whose peer does not read, and leaves its id.
struct Writer;

impl Protocol<Option<ConnId>> for Writer {
    fn opened(&mut self, conn: &mut Conn<'_, Option<ConnId>>) -> io::Result<()> {
        *conn.state() = Some(conn.id());
        conn.write(&vec![b'x'; 12 << 20]);
        Ok(())
    }
    fn received(&mut self, _: &mut Conn<'_, Option<ConnId>>, _: &mut Input<'_>) -> io::Result<()> {
        Ok(())
    }
}

/// A socket whose receive buffer stays small, however fast it is read.
fn reader() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    socket
}

fn connected(to: SocketAddr) -> TcpStream {
    let socket = reader();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

fn listening(socket: Socket) -> (TcpListener, SocketAddr) {
    socket.bind(&SocketAddr::from(ANY_PORT).into()).unwrap();
    socket.listen(1).unwrap();
    let listener = TcpListener::from(socket);
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

type Reactors = Reactor<Option<ConnId>>;

/// Each way to a connection: the peer's end is returned.
const WAYS: [(&str, fn(&mut Reactors) -> TcpStream); 4] = [
    ("listen", |reactor| {
        let mut none = None;
        connected(reactor.cx(&mut none).listen(ANY_PORT, |_, _| Writer).unwrap().local_addr().unwrap())
    }),
    ("listen_on", |reactor| {
        let (listener, addr) = listening(Socket::new(Domain::IPV4, Type::STREAM, None).unwrap());
        reactor.cx(&mut None).listen_on(listener, |_, _| Writer).unwrap();
        connected(addr)
    }),
    ("connect", |reactor| {
        let (listener, addr) = listening(reader());
        reactor.cx(&mut None).connect(addr, Writer);
        listener.accept().unwrap().0
    }),
    ("adopt", |reactor| {
        let (listener, addr) = listening(reader());
        reactor.cx(&mut None).adopt(TcpStream::connect(addr).unwrap(), Writer).unwrap();
        listener.accept().unwrap().0
    }),
];

#[test]
#[cfg(target_os = "linux")]
fn what_is_unsent_falls_with_every_256_kib_that_the_peer_takes() {
    for (way, make) in WAYS {
        println!("{way}");
        let mut reactor = Reactor::new().unwrap();
        let mut peer = make(&mut reactor);
        peer.set_nonblocking(true).unwrap();
        let mut id = None;
        until(&mut reactor, &mut id, |cx| cx.state.is_some());
        let unsent = |reactor: &mut Reactors, id: &mut Option<ConnId>| {
            let conn = id.expect("it is open");
            reactor.cx(id).conn(conn).expect("it is open").unsent()
        };
        for _ in 0..10 {
            let before = unsent(&mut reactor, &mut id);
            let (mut taken, mut bytes) = (0, [0; 4096]);
            until(&mut reactor, &mut id, |_| {
                while taken < 256 * 1024
                    && let Ok(n) = peer.read(&mut bytes)
                {
                    taken += n;
                }
                taken >= 256 * 1024
            });
            assert!(before > 0, "{way}: this peer is not slow");
            assert!(unsent(&mut reactor, &mut id) < before, "{way}");
        }
    }
}
