//! A peer that reads slowly but steadily is not given up; a peer that does not read is.

use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::common::pair::sized_pair;
use crate::common::places::ANY_PORT;
use crate::common::until::until;
use enjamb::sim::{Link, Sim};
use enjamb::{Config, Conn, ConnId, Cx, End, Input, Protocol, Reactor};
use socket2::{Domain, Socket, Type};

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

/// A way to a connection: it returns the peer's end.
type Way = (&'static str, fn(&mut Reactors) -> TcpStream);

const WAYS: [Way; 4] = [
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

const MIB: usize = 1 << 20;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn server() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 80))
}

/// What has become of a closing connection and of its peer.
#[derive(Default)]
struct World {
    sim: Option<Sim>,
    taken: usize,
    /// When the peer read last.
    read_last: Duration,
    /// When the connection was closed for good, and how.
    over: Option<(Duration, End)>,
    peer: Option<End>,
}

/// Writes this much when it opens, closes, and does what else a test wants.
struct Closer(usize, fn(&mut Conn<'_, World>));

impl Protocol<World> for Closer {
    fn opened(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        conn.write(&vec![b'x'; self.0]);
        conn.close();
        (self.1)(conn);
        Ok(())
    }
    fn received(&mut self, _: &mut Conn<'_, World>, _: &mut Input<'_>) -> io::Result<()> {
        panic!("received after close")
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, World>, end: End) {
        let now = cx.state.sim.as_ref().map(Sim::now);
        cx.state.over = now.map(|now| (now, end));
    }
}

/// Reads what has come, again and again after this pause, until it has this much: then it reads no more.
struct SlowReader(Duration, usize);

impl Protocol<World> for SlowReader {
    fn received(&mut self, conn: &mut Conn<'_, World>, input: &mut Input<'_>) -> io::Result<()> {
        let now = conn.state().sim.as_ref().map(Sim::now).unwrap_or_default();
        conn.state().taken += input.take_all().len();
        conn.state().read_last = now;
        conn.pause();
        let (id, pause) = (conn.id(), self.0);
        if conn.state().taken < self.1 {
            conn.cx().after(pause, move |cx| {
                if let Some(mut conn) = cx.conn(id) {
                    conn.resume();
                }
            });
        }
        Ok(())
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, World>, end: End) {
        cx.state.peer = Some(end);
    }
}

/// Has these two meet, with 32 KiB of room on the way between them, until the closing one is over.
fn meet(config: Config, closer: Closer, peer: impl Protocol<World> + 'static) -> World {
    let sim = Sim::new(1);
    sim.links(Link { buffer: 32 * 1024, ..Link::default() });
    let mut reactor = sim.reactor_with(config).unwrap();
    let mut world = World { sim: Some(sim), ..World::default() };
    let mut cx = reactor.cx(&mut world);
    let mut closer = Some(closer);
    cx.listen(server(), move |_, _| closer.take().expect("one connection")).unwrap();
    cx.connect(server(), peer);
    while world.over.is_none() {
        reactor.turn(&mut world, None).unwrap();
    }
    if world.peer.is_none() {
        reactor.turn(&mut world, Some(seconds(1))).unwrap(); // it hears of it
    }
    world
}

impl World {
    #[track_caller]
    fn assert_all_was_taken(&self) {
        let (_, end) = self.over.as_ref().expect("it is over");
        assert!(end.result.is_ok() && end.unsent == 0, "{end}");
    }

    /// That it was given up in this second of the simulation.
    #[track_caller]
    fn assert_given_up_at(&self, time: Duration) {
        let (now, end) = self.over.as_ref().expect("it is over");
        assert_eq!(end.result.as_ref().expect_err("not all was sent").kind(), ErrorKind::TimedOut);
        assert!(end.unsent > 0, "{end}");
        assert!((time..time + Duration::from_millis(100)).contains(now), "{now:?} instead of {time:?}");
    }
}

#[test]
fn a_closing_connection_sends_everything_to_a_peer_that_reads_slowly_but_steadily() {
    let world = meet(Config::default(), Closer(MIB, |_| ()), SlowReader(seconds(5), usize::MAX));
    world.assert_all_was_taken();
    let (now, _) = world.over.unwrap();
    assert!(now > seconds(100), "{now:?} is not slow");
}

#[test]
fn a_closing_connection_is_given_up_when_its_peer_has_taken_nothing_for_the_close_timeout() {
    let config = Config { close_timeout: seconds(7), ..Config::default() };
    let world = meet(config, Closer(MIB, |_| ()), SlowReader(seconds(5), MIB / 2));
    assert!(world.read_last > seconds(50), "{:?}", world.read_last);
    world.assert_given_up_at(world.read_last + seconds(7));
}

#[test]
fn the_total_of_closing_holds_however_steadily_the_peer_reads() {
    for (close_timeout, close_total) in [(7, 33), (33, 7)] {
        let (close_timeout, close_total) = (seconds(close_timeout), seconds(close_total));
        let config = Config { close_timeout, close_total, ..Config::default() };
        let world = meet(config, Closer(MIB, |_| ()), SlowReader(seconds(5), usize::MAX));
        world.assert_given_up_at(close_total);
    }
}

#[test]
fn a_deadline_of_a_closing_connection_is_for_all_of_closing() {
    let closer = Closer(MIB, |conn| conn.deadline(seconds(33)));
    meet(Config::default(), closer, SlowReader(seconds(5), usize::MAX)).assert_given_up_at(seconds(33));

    let closer = Closer(MIB, |conn| conn.deadline(None));
    let config = Config { close_total: seconds(7), ..Config::default() };
    meet(config, closer, SlowReader(seconds(3600), usize::MAX)).assert_all_was_taken();
}

/// Has a peer read a little after each pause from a connection that closes: how that ends, and how much the peer got. On
/// real sockets, as a shutdown in a simulation would be the peer's too.
fn read_slowly(config: Config, closer: Closer) -> (End, usize) {
    let (ours, mut peer) = sized_pair(Some(4096));
    let mut reactor = Reactor::with_config(config).unwrap();
    let mut world = World { sim: Some(Sim::new(0)), ..World::default() };
    reactor.cx(&mut world).adopt(ours, closer).unwrap();
    let peer = thread::spawn(move || {
        let (mut taken, mut bytes) = (0, [0; 16 * 1024]);
        loop {
            thread::sleep(Duration::from_millis(5));
            match peer.read(&mut bytes) {
                Ok(n @ 1..) => taken += n,
                _ => return taken,
            }
        }
    });
    reactor.run(&mut world).unwrap();
    let (_, end) = world.over.expect("it is over");
    (end, peer.join().unwrap())
}

#[test]
fn the_time_of_a_shutdown_is_for_all_of_closing() {
    let config = Config { close_timeout: Duration::from_millis(1), ..Config::default() };
    let (end, taken) = read_slowly(config, Closer(MIB, |conn| conn.cx().shutdown(seconds(3600))));
    assert!(end.result.is_ok() && taken == MIB, "{end}");

    let config = Config { close_timeout: seconds(3600), ..Config::default() };
    let shuts_down = |conn: &mut Conn<'_, World>| conn.cx().shutdown(Duration::from_millis(50));
    let (end, taken) = read_slowly(config, Closer(MIB, shuts_down));
    assert_eq!(end.result.as_ref().expect_err("not all was sent").kind(), ErrorKind::TimedOut, "{end}");
    assert!(end.unsent > 0 && taken < MIB, "{end}");
}

/// Sends a line every half second, so many times, and then ends.
struct Talker(u32);

impl Protocol<World> for Talker {
    fn opened(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        conn.deadline(Duration::from_millis(500));
        Ok(())
    }
    fn received(&mut self, conn: &mut Conn<'_, World>, input: &mut Input<'_>) -> io::Result<()> {
        conn.state().taken += input.take_all().len();
        Ok(())
    }
    fn ended(&mut self, _: &mut Conn<'_, World>, _: &mut Input<'_>) -> io::Result<()> {
        Ok(())
    }
    fn timed_out(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        if self.0 == 0 {
            conn.close();
            return Ok(());
        }
        self.0 -= 1;
        conn.write(b"more\n");
        conn.deadline(Duration::from_millis(500));
        Ok(())
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, World>, end: End) {
        cx.state.peer = Some(end);
    }
}

#[test]
fn what_a_peer_goes_on_sending_is_thrown_away_until_it_ends_as_long_as_no_second_passes_in_silence() {
    let world = meet(Config::default(), Closer(100, |_| ()), Talker(12));
    let (now, end) = world.over.unwrap();
    assert!(end.result.is_ok(), "{end}");
    assert!((seconds(6)..seconds(7)).contains(&now), "{now:?}");
    let peer = world.peer.expect("it has ended");
    assert!(peer.result.is_ok(), "{peer}");
    assert_eq!(world.taken, 100);
}

#[test]
fn a_peer_that_goes_on_sending_holds_a_closing_connection_no_longer_than_the_close_timeout() {
    let config = Config { close_timeout: seconds(7), ..Config::default() };
    let world = meet(config, Closer(100, |_| ()), Talker(1000));
    let (now, end) = world.over.unwrap();
    assert!(end.result.is_ok(), "all was sent: {end}");
    assert!((seconds(7)..seconds(8)).contains(&now), "{now:?}");
}
