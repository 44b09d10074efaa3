//! TLS under a connection, in simulations that fragment and delay, and on real sockets.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use crate::common::certs::{AUTHORITY, client, server};
use crate::common::child;
use enjamb::sim::{Link, Script, Sim, check};
use enjamb::{Config, Conn, Cx, End, Input, Protocol, Reactor, tls};

pub fn here() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 443))
}

/// What the client has seen; the servers' ends.
#[derive(Default)]
pub struct Seen {
    pub opened: u32,
    pub bytes: Vec<u8>,
    pub info: Option<tls::Info>,
    pub client: Option<End>,
    pub servers: Vec<End>,
}

pub struct Echo;

impl Protocol<Seen> for Echo {
    fn received(&mut self, conn: &mut Conn<'_, Seen>, input: &mut Input<'_>) -> io::Result<()> {
        conn.write(input.take_all());
        Ok(())
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, Seen>, end: End) {
        cx.state.servers.push(end);
    }
}

/// Says something, half-closes, and reads to the end.
pub struct Asker(pub Vec<u8>);

impl Protocol<Seen> for Asker {
    fn opened(&mut self, conn: &mut Conn<'_, Seen>) -> io::Result<()> {
        conn.state().opened += 1;
        conn.state().info = conn.tls();
        conn.water_marks(0, usize::MAX); // it writes a lot before it reads
        conn.write(&self.0);
        conn.finish();
        Ok(())
    }
    fn received(&mut self, conn: &mut Conn<'_, Seen>, input: &mut Input<'_>) -> io::Result<()> {
        conn.state().bytes.extend_from_slice(input.take_all());
        Ok(())
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, Seen>, end: End) {
        cx.state.client = Some(end);
    }
}

pub fn some_bytes(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 7 + i / 251) as u8).collect()
}

/// Echoes `n` bytes through TLS on this network.
pub fn echoed(sim: &Sim, client: &tls::Client, name: &str, n: usize) -> Seen {
    let mut reactor = sim.reactor().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.listen(here(), |_, _| Echo).unwrap().secure(&server());
    cx.connect(here(), Asker(some_bytes(n))).secure(client, name).unwrap();
    reactor.run(&mut seen).unwrap();
    seen
}

pub fn failure(end: &Option<End>) -> String {
    end.as_ref().unwrap().result.as_ref().unwrap_err().to_string()
}

#[test]
fn bytes_pass_both_ways_and_both_ends_are_clean() {
    let seen = echoed(&Sim::new(1), &client(), "localhost", 1_000_000);
    assert_eq!(seen.opened, 1);
    assert!(seen.bytes == some_bytes(1_000_000));
    let end = seen.client.unwrap();
    assert!(end.result.is_ok(), "{end:?}");
    assert!(seen.servers[0].result.is_ok(), "{:?}", seen.servers);
}

#[test]
fn whatever_the_network_does_every_byte_arrives_in_order() {
    check(0..200, |sim| {
        let long = Duration::from_secs(24 * 60 * 60);
        let config = Config { connect_timeout: long, close_timeout: long, ..Config::default() };
        let n = sim.random(0..=60_000) as usize;
        let mut reactor = sim.clone().rough().reactor_with(config).unwrap();
        let mut seen = Seen::default();
        let mut cx = reactor.cx(&mut seen);
        cx.listen(here(), |_, _| Echo).unwrap().secure(&server());
        cx.connect(here(), Asker(some_bytes(n))).secure(&client(), "example.org").unwrap();
        reactor.run(&mut seen).unwrap();
        assert!(
            seen.bytes == some_bytes(n),
            "{} of {n}, {:?}",
            seen.bytes.len(),
            (seen.client, seen.servers)
        );
        let end = seen.client.unwrap();
        assert!(end.result.is_ok(), "{end:?}");
    });
}

#[test]
#[cfg(target_os = "linux")]
fn system_calls_that_signals_interrupt_are_made_again() {
    let (sends, receives) = ("inject=sendto:error=EINTR:when=2+3", "inject=recvfrom:error=EINTR:when=3+3");
    let inject = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", sends, "-e", receives];
    if !child::in_child(system_calls_that_signals_interrupt_are_made_again, &inject) {
        return;
    }
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let mut listener = cx.listen(([127, 0, 0, 1], 0), |_, _| Echo).unwrap();
    listener.secure(&server());
    let addr = listener.local_addr().unwrap();
    cx.connect(addr, Asker(some_bytes(1_000_000))).secure(&client(), "localhost").unwrap();
    while seen.client.is_none() || seen.servers.is_empty() {
        reactor.turn(&mut seen, None).unwrap();
    }
    assert!(seen.bytes == some_bytes(1_000_000), "{}: {:?}", seen.bytes.len(), (seen.client, seen.servers));
    assert!(seen.client.as_ref().is_some_and(|end| end.result.is_ok()), "{:?}", seen.client);
    assert!(seen.servers[0].result.is_ok(), "{:?}", seen.servers);
}

/// Says something, and cuts the connection a second later.
struct Cutter;

impl Protocol<Seen> for Cutter {
    fn opened(&mut self, conn: &mut Conn<'_, Seen>) -> io::Result<()> {
        conn.write(b"hello");
        conn.deadline(Duration::from_secs(1));
        Ok(())
    }
    fn received(&mut self, _: &mut Conn<'_, Seen>, _: &mut Input<'_>) -> io::Result<()> {
        Ok(())
    }
    fn timed_out(&mut self, conn: &mut Conn<'_, Seen>) -> io::Result<()> {
        conn.reset(ErrorKind::TimedOut.into());
        Ok(())
    }
}

/// Pauses for a minute whenever something has come.
struct Pauser;

impl Protocol<Seen> for Pauser {
    fn received(&mut self, conn: &mut Conn<'_, Seen>, input: &mut Input<'_>) -> io::Result<()> {
        conn.state().bytes.extend_from_slice(input.take_all());
        conn.pause();
        let id = conn.id();
        conn.cx().after(Duration::from_secs(60), move |cx| {
            if let Some(mut conn) = cx.conn(id) {
                conn.resume();
            }
        });
        Ok(())
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, Seen>, end: End) {
        cx.state.servers.push(end);
    }
}

#[test]
fn a_reset_ends_a_paused_connection_when_all_that_was_decrypted_is_read() {
    for (read_buffer, ends_after) in [(1024, 1), (3, 60)] {
        let sim = Sim::new(1);
        let mut reactor = sim.reactor_with(Config { read_buffer, ..Config::default() }).unwrap();
        let mut seen = Seen::default();
        let mut cx = reactor.cx(&mut seen);
        cx.listen(here(), |_, _| Pauser).unwrap().secure(&server());
        cx.connect(here(), Cutter).secure(&client(), "localhost").unwrap();
        while seen.servers.is_empty() {
            reactor.turn(&mut seen, None).unwrap();
        }
        assert_eq!(seen.bytes, b"hello");
        assert_eq!(seen.servers[0].result.as_ref().unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(sim.now().as_secs(), ends_after);
    }
}

#[test]
fn a_name_is_looked_up_and_its_addresses_raced_before_the_handshake() {
    let sim = Sim::new(1);
    let refusing = SocketAddr::from(([10, 0, 0, 9], 443));
    sim.name("example.org", Duration::from_millis(20), [refusing.ip(), here().ip()]);
    let mut reactor = sim.reactor().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.listen(here(), |_, _| Echo).unwrap().secure(&server());
    cx.connect("example.org:443", Asker(some_bytes(100))).secure(&client(), "example.org").unwrap();
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.bytes, some_bytes(100), "{:?}", seen.client);
}

#[test]
fn an_end_without_close_notify_is_an_error_and_what_came_before_is_kept() {
    let sim = Sim::new(1);
    // About as many bytes as the handshake takes, and a part of what comes after it.
    sim.links(Link { reset_after: None, stall_after: Some(40_000..=40_000), ..Link::default() });
    let mut reactor = sim.reactor().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.listen(here(), |_, _| Echo).unwrap().secure(&server());
    let id = {
        let mut conn = cx.connect(here(), Asker(some_bytes(100_000)));
        conn.secure(&client(), "localhost").unwrap();
        conn.id()
    };
    cx.after(Duration::from_secs(5), move |cx| cx.conn(id).unwrap().deadline(Duration::from_secs(1)));
    cx.after(Duration::from_secs(9), |cx| cx.shutdown(Duration::ZERO));
    reactor.run(&mut seen).unwrap();
    assert!(seen.bytes.len() < 100_000 && some_bytes(100_000).starts_with(&seen.bytes));
    assert_eq!(seen.client.unwrap().result.unwrap_err().kind(), ErrorKind::TimedOut);
}

/// Asks for TLS in plain, as SMTP and others do, and goes on in TLS when the server agrees.
struct Upgrading {
    client: tls::Client,
}

impl Protocol<Seen> for Upgrading {
    fn opened(&mut self, conn: &mut Conn<'_, Seen>) -> io::Result<()> {
        conn.write(b"STARTTLS\n");
        Ok(())
    }
    fn received(&mut self, conn: &mut Conn<'_, Seen>, input: &mut Input<'_>) -> io::Result<()> {
        if conn.tls().is_none() {
            let Some(line) = input.take_line() else { return Ok(()) };
            assert_eq!(line, b"go on");
            conn.secure(&self.client, "localhost")?;
            conn.write(b"secret\n");
        } else if let Some(line) = input.take_line() {
            conn.state().bytes.extend_from_slice(line);
            conn.close();
        }
        Ok(())
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, Seen>, end: End) {
        cx.state.client = Some(end);
    }
}

struct Upgradable;

impl Protocol<Seen> for Upgradable {
    fn received(&mut self, conn: &mut Conn<'_, Seen>, input: &mut Input<'_>) -> io::Result<()> {
        while let Some(line) = input.take_line() {
            if conn.tls().is_some() {
                conn.write(b"got ");
                conn.write(line);
                conn.write(b"\n");
            } else {
                conn.write(b"go on\n");
                conn.secure_as_server(&server())?;
            }
        }
        Ok(())
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, Seen>, end: End) {
        cx.state.servers.push(end);
    }
}

#[test]
fn a_plain_connection_can_go_on_in_tls() {
    check(0..20, |sim| {
        let mut reactor = sim.clone().rough().reactor().unwrap();
        let mut seen = Seen::default();
        let mut cx = reactor.cx(&mut seen);
        cx.listen(here(), |_, _| Upgradable).unwrap();
        cx.connect(here(), Upgrading { client: client() });
        reactor.run(&mut seen).unwrap();
        assert_eq!(seen.bytes, b"got secret", "{:?} {:?}", seen.client, seen.servers);
    });
}

#[test]
fn plain_bytes_that_came_before_are_not_taken_into_the_secure_connection() {
    let mut reactor = Sim::new(1).reactor().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.listen(here(), |_, _| Script::new().say("go on\ninjected\n")).unwrap();
    /// Leaves what comes behind the first line.
    struct Careless(tls::Client);
    impl Protocol<Seen> for Careless {
        fn received(&mut self, _: &mut Conn<'_, Seen>, _: &mut Input<'_>) -> io::Result<()> {
            Ok(())
        }
        fn timed_out(&mut self, conn: &mut Conn<'_, Seen>) -> io::Result<()> {
            conn.secure(&self.0, "localhost")
        }
        fn closed(self: Box<Self>, cx: &mut Cx<'_, Seen>, end: End) {
            cx.state.client = Some(end);
        }
    }
    let id = cx.connect(here(), Careless(client())).id();
    cx.after(Duration::from_secs(1), move |cx| cx.conn(id).unwrap().deadline(Duration::ZERO));
    reactor.run(&mut seen).unwrap();
    assert!(
        failure(&seen.client).contains("input that came before has not been consumed"),
        "{:?}",
        seen.client
    );
}

#[test]
fn a_peer_that_does_not_read_fills_no_memory() {
    /// Writes as long as it may.
    struct Flood;
    impl Protocol<Seen> for Flood {
        fn opened(&mut self, conn: &mut Conn<'_, Seen>) -> io::Result<()> {
            self.drained(conn)
        }
        fn received(&mut self, _: &mut Conn<'_, Seen>, input: &mut Input<'_>) -> io::Result<()> {
            input.take_all();
            Ok(())
        }
        fn drained(&mut self, conn: &mut Conn<'_, Seen>) -> io::Result<()> {
            while !conn.is_full() {
                conn.write(&[b'x'; 5_000]);
                conn.state().opened += 1;
            }
            Ok(())
        }
        fn closed(self: Box<Self>, cx: &mut Cx<'_, Seen>, end: End) {
            cx.state.client = Some(end);
        }
    }
    /// Reads nothing.
    struct Deaf;
    impl Protocol<Seen> for Deaf {
        fn opened(&mut self, conn: &mut Conn<'_, Seen>) -> io::Result<()> {
            conn.pause();
            Ok(())
        }
        fn received(&mut self, _: &mut Conn<'_, Seen>, _: &mut Input<'_>) -> io::Result<()> {
            unreachable!("it is paused")
        }
    }
    let mut reactor = Sim::new(1).reactor().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.listen(here(), |_, _| Deaf).unwrap().secure(&server());
    let mut flood = cx.connect(here(), Flood);
    flood.secure(&client(), "localhost").unwrap();
    let flood = flood.id();
    cx.after(Duration::from_secs(60), move |cx| {
        cx.conn(flood).unwrap().abort(ErrorKind::TimedOut.into());
        cx.shutdown(Duration::ZERO);
    });
    reactor.run(&mut seen).unwrap();
    let end = seen.client.unwrap();
    let most = Config::default().high_water + 5_000;
    assert!(end.unsent > 0 && end.unsent <= most, "{end:?}");
}

#[test]
fn a_real_client_of_rustls_is_served_on_real_sockets() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let addr = {
        let mut cx = reactor.cx(&mut seen);
        let mut listener = cx.listen(([127, 0, 0, 1], 0), |_, _| Echo).unwrap();
        listener.secure(&server());
        listener.local_addr().unwrap()
    };
    reactor.cx(&mut seen).connect(addr, Asker(some_bytes(300_000))).secure(&client(), "127.0.0.1").unwrap();
    while seen.client.is_none() {
        reactor.turn(&mut seen, None).unwrap();
    }
    assert!(seen.bytes == some_bytes(300_000));
    let end = seen.client.unwrap();
    assert!(end.result.is_ok(), "{end:?}");
}

/// The other side is rustls alone, on a thread, to be sure that it is not our own misunderstanding on both.
#[test]
fn a_blocking_peer_sees_close_notify_and_one_that_cuts_is_an_error() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let addr = {
        let mut cx = reactor.cx(&mut seen);
        let mut listener = cx.listen(([127, 0, 0, 1], 0), |_, _| Echo).unwrap();
        listener.secure(&server());
        listener.local_addr().unwrap()
    };
    let peer = std::thread::spawn(move || {
        use rustls::pki_types::{CertificateDer, pem::PemObject};
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(AUTHORITY.as_bytes()).unwrap()).unwrap();
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let config = std::sync::Arc::new(config);
        for orderly in [true, false] {
            let session =
                rustls::ClientConnection::new(config.clone(), "localhost".try_into().unwrap()).unwrap();
            let socket = std::net::TcpStream::connect(addr).unwrap();
            let mut stream = rustls::StreamOwned::new(session, socket);
            stream.write_all(b"hello").unwrap();
            let mut back = [0; 5];
            stream.read_exact(&mut back).unwrap();
            assert_eq!(&back, b"hello");
            if orderly {
                stream.conn.send_close_notify();
                stream.flush().unwrap();
                stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
                assert_eq!(stream.read(&mut back).unwrap(), 0, "a clean end, or this is UnexpectedEof");
            }
        }
    });
    while seen.servers.len() < 2 {
        reactor.turn(&mut seen, None).unwrap();
    }
    peer.join().unwrap();
    assert!(seen.servers[0].result.is_ok(), "{:?}", seen.servers[0]);
    let error = seen.servers[1].result.as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert!(error.to_string().contains("without close_notify"), "{error}");
}
