//! Servers for the clients: the real slow one, and some that fail in one way each.

use super::programs::Program;
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// `slow_poetry` on one free port.
pub struct SlowPoetry {
    pub program: Program,
    pub port: u16,
}

impl SlowPoetry {
    pub fn start(options: &[&str]) -> Self {
        let mut program = Program::start("slow_poetry", &[&["--port", "0"], options].concat());
        let line = program.err.wait_for("start listen at:");
        let port = line.rsplit(':').next().and_then(|port| port.parse().ok());
        Self { port: port.unwrap_or_else(|| panic!("no port in {line:?}")), program }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn connect(&self) -> TcpStream {
        connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)))
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server accepts");
    stream.set_read_timeout(Some(super::programs::PATIENCE)).expect("a timeout for the test");
    stream
}

/// Reads exactly as many bytes as are expected, and compares.
pub fn expect(stream: &mut impl Read, expected: &[u8]) {
    let mut got = vec![0; expected.len()];
    stream.read_exact(&mut got).expect("the bytes come");
    assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(expected));
}

/// A server that does the same with every client, in turn.
fn serving(mut serve: impl FnMut(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for client in listener.incoming() {
            serve(client.expect("a client"));
        }
    });
    address.to_string()
}

/// Sends all at once and closes.
pub fn quick(poem: &'static [u8]) -> String {
    serving(move |mut client| client.write_all(poem).expect("the client reads"))
}

/// Sends a part, and then nothing more, without closing.
pub fn stalling(part: &'static [u8]) -> String {
    let mut kept = Vec::new();
    serving(move |mut client| {
        client.write_all(part).expect("the client reads");
        kept.push(client);
    })
}

/// Breaks the connection off with an RST as soon as the client is there.
pub fn resetting() -> String {
    serving(|client| SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("linger"))
}

/// Waits until it has a client at each of `n` addresses before it sends the first of them a byte: only a client that
/// is connected to all of them gets any poem.
pub fn together(poems: &'static [&'static [u8]]) -> Vec<String> {
    let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let listeners: Vec<TcpListener> = poems.iter().map(bind).collect();
    let address = |listener: &TcpListener| listener.local_addr().expect("its address").to_string();
    let addresses = listeners.iter().map(address).collect();
    thread::spawn(move || {
        let clients: Vec<TcpStream> =
            listeners.iter().map(|listener| listener.accept().expect("a client").0).collect();
        // The last one first, so that the order of the poems is not the order of their coming.
        for (mut client, poem) in clients.into_iter().zip(poems).rev() {
            client.write_all(poem).expect("the client reads");
        }
    });
    addresses
}

/// An address that refuses, and that nobody else can take meanwhile: bound, but never listened on.
pub struct Refusing {
    socket: Socket,
}

impl Refusing {
    pub fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
        Self { socket }
    }

    pub fn address(&self) -> String {
        let address = self.socket.local_addr().ok().and_then(|address| address.as_socket());
        address.expect("its address").to_string()
    }
}
