//! Covers the traps of closing: flushing, draining, half-closing, cutting off, and `closed` exactly once on every path.
#![cfg(all(unix, feature = "sim"))]

#[path = "common/child.rs"]
mod child;
#[path = "common/machine.rs"]
mod machine;
#[path = "common/sized.rs"]
mod sized;
#[path = "common/until.rs"]
mod until;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use child::in_child;
use enjamb::sim::{Sim, Solo};
use enjamb::{Config, Conn, ConnId, Cx, End, Input, Protocol, Reactor};
use machine::{Call, Machine, Seen, Take};
use nix::poll::{PollFd, PollFlags, poll};
use sized::sized_pair;
use until::until;

const MIB: usize = 1 << 20;
const SOON: Duration = Duration::from_millis(20);
const NEVER: Duration = Duration::from_secs(3600);

/// What stands at the other end, and has to stay there for as long as the test goes on.
enum Peer {
    Socket(TcpStream),
    Bound(socket2::Socket),
}

struct Path {
    name: &'static str,
    start: fn(&mut Cx<'_, Seen>) -> Peer,
    /// How it ends: the kind of the error, if any.
    ends: Option<ErrorKind>,
}

/// Adopts one end of a connection; the other end is returned.
fn adopt(cx: &mut Cx<'_, Seen>, machine: Machine) -> (ConnId, TcpStream) {
    let (ours, theirs) = sized_pair(Some(4096));
    (cx.adopt(ours, machine).expect("adopting").id(), theirs)
}

fn opened(call: impl FnMut(&mut Conn<'_, Seen>) -> io::Result<()> + 'static) -> Machine {
    Machine { opened: Box::new(call), ..Machine::default() }
}

fn close(conn: &mut Conn<'_, Seen>) -> io::Result<()> {
    conn.close();
    Ok(())
}

fn finish(conn: &mut Conn<'_, Seen>) -> io::Result<()> {
    conn.finish();
    Ok(())
}

fn abort(conn: &mut Conn<'_, Seen>) -> io::Result<()> {
    conn.abort(wrong());
    Ok(())
}

/// On `opened`.
fn at_once(cx: &mut Cx<'_, Seen>, call: fn(&mut Conn<'_, Seen>) -> io::Result<()>) -> Peer {
    Peer::Socket(adopt(cx, opened(call)).1)
}

/// On `received`.
fn on_input(cx: &mut Cx<'_, Seen>, call: fn(&mut Conn<'_, Seen>, &mut Input<'_>) -> io::Result<()>) -> Peer {
    let (_, mut peer) = adopt(cx, Machine { received: Box::new(call), ..Machine::default() });
    peer.write_all(b"input").expect("there is room");
    Peer::Socket(peer)
}

/// From a timer, when the connection has long been open.
fn from_a_timer(cx: &mut Cx<'_, Seen>, call: fn(&mut Conn<'_, Seen>)) -> Peer {
    let (id, peer) = adopt(cx, Machine::default());
    cx.after(Duration::from_millis(2), move |cx| call(&mut cx.conn(id).expect("it is open")));
    Peer::Socket(peer)
}

/// On the peer's end.
fn on_end(cx: &mut Cx<'_, Seen>, ended: Take) -> Peer {
    let (_, peer) = adopt(cx, Machine { ended, ..Machine::default() });
    peer.shutdown(Shutdown::Write).expect("shutting down");
    Peer::Socket(peer)
}

/// When a deadline passes.
fn on_time(cx: &mut Cx<'_, Seen>, timed_out: Call) -> Peer {
    let opened: Call = Box::new(|conn| {
        conn.deadline(Duration::from_millis(1));
        Ok(())
    });
    Peer::Socket(adopt(cx, Machine { opened, timed_out, ..Machine::default() }).1)
}

/// When output falls to the low-water mark.
fn on_drained(cx: &mut Cx<'_, Seen>, drained: Call) -> Peer {
    let opened: Call = Box::new(|conn| {
        conn.water_marks(0, 10);
        conn.write(b"more than the high-water mark");
        Ok(())
    });
    Peer::Socket(adopt(cx, Machine { opened, drained, ..Machine::default() }).1)
}

fn reset(peer: TcpStream) {
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("a linger of zero");
}

/// A port that nobody listens on and nobody else gets.
fn refusing() -> (SocketAddr, Peer) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
    let addr = socket.local_addr().ok().and_then(|addr| addr.as_socket()).expect("an address");
    (addr, Peer::Bound(socket))
}

fn wrong() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "wrong")
}

fn other() -> io::Error {
    io::Error::other("other")
}

const PATHS: &[Path] = &[
    Path { name: "the peer ends", start: |cx| on_end(cx, Machine::default().ended), ends: None },
    Path {
        name: "the peer resets",
        start: |cx| {
            let (_, peer) = adopt(cx, Machine::default());
            reset(peer);
            refusing().1
        },
        ends: Some(ErrorKind::ConnectionReset),
    },
    Path { name: "close in opened", start: |cx| at_once(cx, close), ends: None },
    Path {
        name: "write and close in opened",
        start: |cx| {
            at_once(cx, |conn| {
                conn.write(b"bye");
                conn.close();
                Ok(())
            })
        },
        ends: None,
    },
    Path { name: "close in received", start: |cx| on_input(cx, |conn, _| close(conn)), ends: None },
    Path { name: "close in drained", start: |cx| on_drained(cx, Box::new(close)), ends: None },
    Path { name: "close in timed_out", start: |cx| on_time(cx, Box::new(close)), ends: None },
    Path { name: "close in a timer", start: |cx| from_a_timer(cx, |conn| conn.close()), ends: None },
    Path {
        name: "close twice",
        start: |cx| {
            at_once(cx, |conn| {
                conn.close();
                conn.close();
                Ok(())
            })
        },
        ends: None,
    },
    Path {
        name: "finish, then the peer ends",
        start: |cx| {
            let peer = at_once(cx, finish);
            if let Peer::Socket(peer) = &peer {
                peer.shutdown(Shutdown::Write).expect("shutting down");
            }
            peer
        },
        ends: None,
    },
    Path {
        name: "the peer ends, then finish",
        start: |cx| on_end(cx, Box::new(|conn, _| finish(conn))),
        ends: None,
    },
    Path {
        name: "the peer ends, finish later",
        start: |cx| {
            on_end(
                cx,
                Box::new(|conn, _| {
                    let id = conn.id();
                    conn.cx().after(Duration::ZERO, move |cx| cx.conn(id).expect("half open").finish());
                    Ok(())
                }),
            )
        },
        ends: None,
    },
    Path {
        name: "finish, then close",
        start: |cx| {
            at_once(cx, |conn| {
                conn.write(b"bye");
                conn.finish();
                conn.close();
                Ok(())
            })
        },
        ends: None,
    },
    Path {
        name: "close before it is opened",
        start: |cx| {
            let (id, peer) = adopt(cx, opened(|_| panic!("it was closed before")));
            cx.conn(id).expect("it is new").close();
            Peer::Socket(peer)
        },
        ends: None,
    },
    Path {
        name: "abort before it is opened",
        start: |cx| {
            let (id, peer) = adopt(cx, opened(|_| panic!("it was aborted before")));
            cx.conn(id).expect("it is new").abort(wrong());
            Peer::Socket(peer)
        },
        ends: Some(ErrorKind::InvalidData),
    },
    Path { name: "abort in opened", start: |cx| at_once(cx, abort), ends: Some(ErrorKind::InvalidData) },
    Path {
        name: "abort in a timer",
        start: |cx| from_a_timer(cx, |conn| conn.abort(wrong())),
        ends: Some(ErrorKind::InvalidData),
    },
    Path {
        name: "abort twice: the first cause stands",
        start: |cx| {
            at_once(cx, |conn| {
                conn.abort(wrong());
                conn.abort(other());
                Ok(())
            })
        },
        ends: Some(ErrorKind::InvalidData),
    },
    Path {
        name: "abort, then close",
        start: |cx| {
            at_once(cx, |conn| {
                conn.abort(wrong());
                conn.close();
                Ok(())
            })
        },
        ends: Some(ErrorKind::InvalidData),
    },
    Path {
        name: "close with output, then abort",
        start: |cx| {
            at_once(cx, |conn| {
                conn.write(&[0; 1000]);
                conn.close();
                conn.abort(wrong());
                Ok(())
            })
        },
        ends: Some(ErrorKind::InvalidData),
    },
    Path {
        name: "abort and an error",
        start: |cx| {
            at_once(cx, |conn| {
                conn.abort(wrong());
                Err(other())
            })
        },
        ends: Some(ErrorKind::InvalidData),
    },
    Path {
        name: "an error from opened",
        start: |cx| at_once(cx, |_| Err(wrong())),
        ends: Some(ErrorKind::InvalidData),
    },
    Path {
        name: "an error from received",
        start: |cx| on_input(cx, |_, _| Err(wrong())),
        ends: Some(ErrorKind::InvalidData),
    },
    Path {
        name: "an error from drained",
        start: |cx| on_drained(cx, Box::new(|_| Err(wrong()))),
        ends: Some(ErrorKind::InvalidData),
    },
    Path {
        name: "an error from ended",
        start: |cx| on_end(cx, Box::new(|_, _| Err(wrong()))),
        ends: Some(ErrorKind::InvalidData),
    },
    Path {
        name: "an error from timed_out",
        start: |cx| on_time(cx, Box::new(|_| Err(wrong()))),
        ends: Some(ErrorKind::InvalidData),
    },
    Path {
        name: "an error after close with output",
        start: |cx| {
            at_once(cx, |conn| {
                conn.write(&[0; 1000]);
                conn.close();
                Err(wrong())
            })
        },
        ends: Some(ErrorKind::InvalidData),
    },
    Path {
        name: "a connect that is refused",
        start: |cx| {
            let (addr, peer) = refusing();
            cx.connect(addr, opened(|_| panic!("nobody listens")));
            peer
        },
        ends: Some(ErrorKind::ConnectionRefused),
    },
    Path {
        name: "a connect that cannot be",
        start: |cx| {
            // connect(2) itself says no: TCP has no broadcast.
            cx.connect(SocketAddr::from((Ipv4Addr::BROADCAST, 9)), opened(|_| panic!("it is no address")));
            refusing().1
        },
        ends: Some(ErrorKind::NetworkUnreachable),
    },
    Path {
        name: "a connect that is closed before it stands",
        start: |cx| {
            let (addr, peer) = refusing();
            let id = cx.connect(addr, opened(|_| panic!("it was closed before"))).id();
            cx.conn(id).expect("it is under way").close();
            peer
        },
        ends: None,
    },
    Path {
        name: "a connect that is closed with output and then refused",
        start: |cx| {
            let (addr, peer) = refusing();
            let id = cx.connect(addr, opened(|_| panic!("nobody listens"))).id();
            cx.conn(id).expect("it is under way").write(b"hello");
            cx.conn(id).expect("it is under way").close();
            peer
        },
        ends: Some(ErrorKind::ConnectionRefused),
    },
    Path {
        name: "too much input",
        start: |cx| {
            on_input(cx, |conn, _| {
                conn.input_limit(3);
                Ok(())
            })
        },
        ends: Some(ErrorKind::InvalidData),
    },
    Path {
        name: "too much output",
        start: |cx| {
            at_once(cx, |conn| {
                conn.write(&vec![0; 17 * MIB]);
                Ok(())
            })
        },
        ends: Some(ErrorKind::OutOfMemory),
    },
    Path {
        name: "a peer that does not read what is left at close",
        start: |cx| {
            at_once(cx, |conn| {
                conn.write(&vec![0; MIB]);
                conn.close();
                conn.deadline(SOON);
                Ok(())
            })
        },
        ends: Some(ErrorKind::TimedOut),
    },
    Path {
        name: "a peer that does not end after close",
        start: |cx| {
            at_once(cx, |conn| {
                conn.write(b"bye");
                conn.close();
                conn.deadline(SOON);
                Ok(())
            })
        },
        ends: None,
    },
    Path {
        name: "a write that fails while reading is paused",
        start: |cx| {
            let (_, peer) = adopt(
                cx,
                opened(|conn| {
                    conn.write(&vec![0; MIB]);
                    conn.pause();
                    Ok(())
                }),
            );
            cx.after(SOON, move |_| reset(peer));
            refusing().1
        },
        ends: Some(ErrorKind::ConnectionReset),
    },
    Path {
        name: "shutdown",
        start: |cx| {
            let (_, peer) = adopt(cx, Machine::default());
            cx.after(Duration::ZERO, |cx| cx.shutdown(SOON));
            Peer::Socket(peer)
        },
        ends: None,
    },
    Path {
        name: "another machine in its place",
        start: |cx| {
            at_once(cx, |conn| {
                conn.switch(opened(|_| panic!("it has been open all the time")));
                conn.close();
                Ok(())
            })
        },
        ends: None,
    },
];

#[test]
fn closed_is_called_exactly_once_on_every_path() {
    for Path { name, start, ends } in PATHS {
        let config = Config { close_timeout: SOON, ..Config::default() };
        let mut reactor = Reactor::with_config(config).unwrap();
        let mut seen = Seen::default();
        let peer = start(&mut reactor.cx(&mut seen));
        println!("{name}");
        until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
        match peer {
            Peer::Socket(peer) => drop(peer),
            Peer::Bound(socket) => drop(socket),
        }
        reactor.run(&mut seen).unwrap();
        assert_eq!(seen.ends.len(), 1, "{name}");
        let kind = seen.ends[0].result.as_ref().err().map(io::Error::kind);
        assert_eq!(kind, *ends, "{name}: {}", seen.ends[0]);
    }
}

/// Does anything to anybody, and counts how machines come and go.
#[derive(Default)]
struct Chaos {
    numbers: u64,
    over: bool,
    ids: Vec<ConnId>,
    made: usize,
    closed: usize,
    replaced: usize,
    addr: Option<SocketAddr>,
}

impl Chaos {
    /// xorshift: the same numbers for the same seed.
    fn number(&mut self, below: u64) -> u64 {
        self.numbers ^= self.numbers << 13;
        self.numbers ^= self.numbers >> 7;
        self.numbers ^= self.numbers << 17;
        self.numbers % below
    }
}

struct Wild;

impl Wild {
    fn new(chaos: &mut Chaos) -> Self {
        chaos.made += 1;
        Wild
    }

    fn anything(cx: &mut Cx<'_, Chaos>) {
        if cx.state.over {
            return;
        }
        for _ in 0..cx.state.number(4) {
            Self::something(cx);
        }
    }

    fn something(cx: &mut Cx<'_, Chaos>) {
        let (what, n) = (cx.state.number(16), cx.state.number(1 << 20) as usize);
        let Some(&id) = cx.state.ids.get(n % cx.state.ids.len().max(1)) else { return };
        if what == 0 && cx.state.made < 400 {
            return Self::connect(cx);
        }
        if what == 1 {
            cx.after(Duration::from_millis(n as u64 % 4), Self::anything);
            return;
        }
        let Some(mut conn) = cx.conn(id) else { return };
        match what {
            3 => {
                conn.state().made += 1;
                conn.state().replaced += 1;
                conn.switch(Wild);
            }
            4 => conn.close(),
            5 => conn.abort(other()),
            6 => conn.finish(),
            7 => conn.pause(),
            8 | 9 => conn.resume(),
            10 => conn.deadline(Duration::from_millis(n as u64 % 5)),
            11 => conn.deadline(None),
            12 => conn.water_marks(n % 100, n % 10_000),
            13 => _ = conn.write(&[0; 100][..n % 100]),
            14 => _ = conn.write(&vec![0; n % 200_000]),
            15 => conn.input_limit(n % 1000),
            _ => {}
        }
    }

    fn connect(cx: &mut Cx<'_, Chaos>) {
        if let Some(addr) = cx.state.addr {
            let wild = Self::new(cx.state);
            let id = cx.connect(addr, wild).id();
            cx.state.ids.push(id);
        }
    }

    fn any(conn: &mut Conn<'_, Chaos>) -> io::Result<()> {
        Self::anything(conn.cx());
        if conn.state().number(60) == 0 { Err(wrong()) } else { Ok(()) }
    }
}

impl Protocol<Chaos> for Wild {
    fn opened(&mut self, conn: &mut Conn<'_, Chaos>) -> io::Result<()> {
        let id = conn.id();
        conn.state().ids.push(id);
        conn.write(b"hello");
        Self::any(conn)
    }
    fn received(&mut self, conn: &mut Conn<'_, Chaos>, input: &mut Input<'_>) -> io::Result<()> {
        let n = conn.state().number(1000) as usize;
        conn.write(input.take(n));
        if n.is_multiple_of(3) {
            input.take_all();
        }
        Self::any(conn)
    }
    fn drained(&mut self, conn: &mut Conn<'_, Chaos>) -> io::Result<()> {
        Self::any(conn)
    }
    fn ended(&mut self, conn: &mut Conn<'_, Chaos>, _: &mut Input<'_>) -> io::Result<()> {
        if conn.state().number(2) == 0 {
            conn.close();
        }
        Self::any(conn)
    }
    fn timed_out(&mut self, conn: &mut Conn<'_, Chaos>) -> io::Result<()> {
        Self::any(conn)
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, Chaos>, _: End) {
        cx.state.closed += 1;
        Self::anything(cx);
    }
}

#[test]
fn closed_comes_exactly_once_whatever_callbacks_do_to_each_other() {
    for seed in 1..=10 {
        let mut chaos = Chaos { numbers: seed * 0x9E37_79B9, ..Chaos::default() };
        let mut reactor = Reactor::new().unwrap();
        let mut cx = reactor.cx(&mut chaos);
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let id = cx.listen(any_port, |cx, _| Wild::new(cx.state)).unwrap().id();
        cx.state.addr = cx.listener(id).unwrap().local_addr().ok();
        (0..20).for_each(|_| Wild::connect(&mut cx));
        for _ in 0..300 {
            reactor.turn(&mut chaos, Some(Duration::from_millis(1))).unwrap();
        }
        chaos.over = true;
        reactor.cx(&mut chaos).shutdown(SOON);
        until(&mut reactor, &mut chaos, |cx| cx.alive().to_string().contains(", 0 connections"));
        let Chaos { made, closed, replaced, .. } = chaos;
        assert!(made >= 40, "seed {seed}: {made} were not many");
        assert_eq!(closed + replaced, made, "seed {seed}: {closed} closed and {replaced} replaced of {made}");
    }
}

#[test]
fn closing_sends_what_is_unsent_first() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = opened(|conn| {
        conn.write(&vec![b'x'; MIB]);
        conn.close();
        assert!(conn.unsent() > 0, "there would be nothing to send first");
        Ok(())
    });
    let (_, mut peer) = adopt(&mut reactor.cx(&mut seen), machine);
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes).map(|_| bytes.len())
    });
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(reader.join().unwrap().unwrap(), MIB);
    let end = &seen.ends[0];
    assert!(end.result.is_ok() && end.unsent == 0 && end.unread == 0, "{end}");
    assert_eq!(end.to_string(), "closed");
}

#[test]
fn a_send_that_a_signal_interrupts_while_closing_is_made_again() {
    // Every second send fails with EINTR, the kernel's buffer being full or not.
    let inject = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=sendto:error=EINTR:when=2+2"];
    if !in_child("a_send_that_a_signal_interrupts_while_closing_is_made_again", &inject) {
        return;
    }
    let ends: [fn(&mut Conn<'_, Seen>); 2] = [|conn| conn.close(), |conn| conn.finish()];
    for end in ends {
        let config = Config { close_timeout: NEVER, ..Config::default() };
        let mut reactor = Reactor::with_config(config).unwrap();
        let mut seen = Seen::default();
        let machine = opened(move |conn| {
            conn.write(&vec![b'x'; MIB]);
            end(conn);
            Ok(())
        });
        let (_, mut peer) = adopt(&mut reactor.cx(&mut seen), machine);
        let reader = thread::spawn(move || peer.read_to_end(&mut Vec::new()));
        until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
        assert_eq!(reader.join().unwrap().unwrap(), MIB);
        assert!(seen.ends[0].result.is_ok(), "{}", seen.ends[0]);
    }
}

#[test]
fn a_peer_that_never_reads_cannot_hold_a_closing_connection_for_ever_and_sees_a_reset_not_an_end() {
    let config = Config { close_timeout: SOON, ..Config::default() };
    let mut reactor = Reactor::with_config(config).unwrap();
    let mut seen = Seen::default();
    let machine = opened(|conn| {
        conn.write(&vec![b'x'; MIB]);
        conn.close();
        Ok(())
    });
    let (_, mut peer) = adopt(&mut reactor.cx(&mut seen), machine);
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    let end = &seen.ends[0];
    let error = end.result.as_ref().expect_err("not all was sent");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains(&format!("closing {}", peer.local_addr().unwrap())), "{error}");
    assert!(end.unsent > 0 && end.unsent < MIB, "{end}");
    assert!(end.to_string().contains(&format!("{} bytes were not sent", end.unsent)), "{end}");
    let error = peer.read_to_end(&mut Vec::new()).expect_err("a part must not look like the whole");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn aborting_with_output_unsent_is_a_reset_and_without_is_an_end() {
    for (size, is_reset) in [(MIB, true), (0, false)] {
        let mut reactor = Reactor::new().unwrap();
        let mut seen = Seen::default();
        let machine = opened(move |conn| {
            conn.write(&vec![b'x'; size]);
            conn.abort(wrong());
            Ok(())
        });
        let (_, mut peer) = adopt(&mut reactor.cx(&mut seen), machine);
        until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
        let end = &seen.ends[0];
        assert_eq!(
            end.result.as_ref().unwrap_err().to_string(),
            "wrong",
            "what a callback says is passed on as it is"
        );
        assert_eq!(end.unsent > 0, is_reset, "{end}");
        let read = peer.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
        assert_eq!(read.err(), is_reset.then_some(ErrorKind::ConnectionReset));
    }
}

#[test]
fn resetting_is_a_reset_also_when_all_was_sent() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (id, mut peer) = adopt(&mut reactor.cx(&mut seen), opened(|conn| Ok(_ = conn.write(b"all of it"))));
    let mut bytes = [0; 9];
    peer.set_nonblocking(true).unwrap();
    until(&mut reactor, &mut seen, |_| peer.peek(&mut bytes).is_ok_and(|n| n == 9));
    peer.set_nonblocking(false).unwrap();
    peer.read_exact(&mut bytes).expect("it was sent");
    reactor.cx(&mut seen).conn(id).unwrap().reset(wrong());
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(seen.ends[0].result.as_ref().unwrap_err().to_string(), "wrong");
    assert_eq!(peer.read(&mut bytes).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn resetting_after_an_orderly_end_changes_nothing() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        ended: Box::new(|conn, _| {
            conn.close();
            conn.reset(wrong());
            Ok(())
        }),
        ..Machine::default()
    };
    let (_, mut peer) = adopt(&mut reactor.cx(&mut seen), machine);
    peer.shutdown(Shutdown::Write).unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert!(seen.ends[0].result.is_ok(), "{}", seen.ends[0]);
    assert_eq!(peer.read(&mut [0]).expect("an end"), 0);
}

#[test]
fn what_is_gathered_in_a_callback_that_fails_is_not_sent() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = opened(|conn| {
        conn.write(b"half an answer");
        Err(wrong())
    });
    let (_, mut peer) = adopt(&mut reactor.cx(&mut seen), machine);
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(seen.ends[0].unsent, 14);
    let error = peer.read(&mut [0; 20]).expect_err("nothing was sent");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn closing_with_input_unread_does_not_destroy_the_answer() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        received: Box::new(|conn, _| {
            conn.write(b"enough");
            conn.close();
            Ok(())
        }),
        ..Machine::default()
    };
    let (_, mut peer) = adopt(&mut reactor.cx(&mut seen), machine);
    // It goes on sending long after the answer was sent, and only then reads.
    let peer = thread::spawn(move || {
        peer.write_all(&vec![b'x'; MIB])?;
        peer.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        peer.read_to_string(&mut answer).map(|_| answer)
    });
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(peer.join().unwrap().unwrap(), "enough");
    assert!(seen.ends[0].result.is_ok(), "{}", seen.ends[0]);
}

#[test]
fn closing_an_adopted_connection_does_not_destroy_what_its_former_owner_wrote() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (mut ours, mut peer) = sized_pair(None);
    ours.set_nonblocking(true).unwrap();
    let mut written = 0;
    while let Ok(n) = ours.write(&[b'x'; 50_000]) {
        written += n; // more than the peer's kernel takes
    }
    peer.write_all(b"input that nobody reads").unwrap();
    reactor.cx(&mut seen).adopt(ours, opened(close)).unwrap();
    reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap(); // it is closed before the peer reads
    let peer = thread::spawn(move || peer.read_to_end(&mut Vec::new()));
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(peer.join().unwrap().expect("all of it, and an end"), written);
    assert!(seen.ends[0].result.is_ok(), "{}", seen.ends[0]);
}

#[test]
fn a_long_answer_is_sent_while_closing_to_a_peer_that_writes_all_it_has_before_it_reads() {
    let config = Config { close_timeout: NEVER, ..Config::default() };
    let mut reactor = Reactor::with_config(config).unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        received: Box::new(|conn, input| {
            input.take_all();
            conn.write(&vec![b'x'; 300_000]);
            assert!(conn.unsent() > 0, "it is too short to wait for the peer");
            close(conn)
        }),
        ..Machine::default()
    };
    let (_, mut peer) = adopt(&mut reactor.cx(&mut seen), machine);
    let peer = thread::spawn(move || {
        peer.write_all(&vec![b'?'; MIB])?;
        peer.shutdown(Shutdown::Write)?;
        peer.read_to_end(&mut Vec::new())
    });
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(peer.join().unwrap().unwrap(), 300_000);
    let end = &seen.ends[0];
    assert!(end.result.is_ok() && end.unsent == 0, "{end}");
}

#[test]
fn a_peer_that_never_stops_sending_cannot_hold_a_closing_connection_for_ever() {
    let config = Config { close_timeout: SOON, ..Config::default() };
    let mut reactor = Reactor::with_config(config).unwrap();
    let mut seen = Seen::default();
    let machine = opened(|conn| {
        conn.write(b"bye");
        conn.close();
        Ok(())
    });
    let (ours, mut peer) = sized_pair(None);
    reactor.cx(&mut seen).adopt(ours, machine).unwrap();
    let peer = thread::spawn(move || while peer.write_all(&[b'x'; 10_000]).is_ok() {});
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    peer.join().unwrap();
    assert!(seen.ends[0].result.is_ok(), "everything was sent: {}", seen.ends[0]);
}

#[test]
fn no_callback_but_closed_comes_after_close() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        opened: Box::new(|conn| {
            conn.water_marks(0, 1);
            conn.write(b"bye");
            conn.deadline(Duration::ZERO);
            conn.close();
            conn.resume();
            Ok(())
        }),
        received: Box::new(|_, _| panic!("received after close")),
        drained: Box::new(|_| panic!("drained after close")),
        ended: Box::new(|_, _| panic!("ended after close")),
        timed_out: Box::new(|_| panic!("timed out after close")),
        ..Machine::default()
    };
    let (id, mut peer) = adopt(&mut reactor.cx(&mut seen), machine);
    peer.write_all(b"too late").unwrap();
    reactor.turn(&mut seen, None).unwrap();
    assert!(reactor.cx(&mut seen).conn(id).is_some_and(|mut conn| !conn.write(b"either")));
    peer.write_all(b"and later").unwrap();
    drop(peer);
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert!(reactor.cx(&mut seen).conn(id).is_none());
}

#[test]
fn no_callback_but_closed_comes_after_an_error_although_the_output_has_drained() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        opened: Box::new(|conn| {
            conn.water_marks(0, 10);
            conn.write(&[0; 20]);
            conn.write(&[0; 40_000]); // goes out at once, and what was gathered goes with it
            assert!(conn.is_full());
            assert_eq!(conn.unsent(), 0, "nothing would have drained");
            Err(wrong())
        }),
        drained: Box::new(|_| panic!("drained after an error")),
        ..Machine::default()
    };
    let (ours, _peer) = sized_pair(None);
    reactor.cx(&mut seen).adopt(ours, machine).unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(seen.ends[0].to_string(), "wrong");
}

#[test]
fn the_descriptor_is_closed_before_closed_is_called() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        opened: Box::new(abort), // without a shutdown(2) before
        closed: Box::new(move |cx, _| {
            let read = theirs.read(&mut [0]).map_err(|error| error.kind());
            assert_eq!(read, Ok(0), "the peer sees no end yet");
            cx.state.notes.push("closed".into());
        }),
        ..Machine::default()
    };
    reactor.cx(&mut seen).adopt(ours, machine).unwrap();
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.notes, ["closed"]);
}

/// Sees that a machine whose peer reads nothing is given up at this time.
#[track_caller]
fn is_given_up_after(time: Duration, machine: Machine) {
    let mut solo = Solo::with_state(machine, Seen::default());
    solo.advance(time - Duration::from_millis(1));
    assert!(solo.end().is_none(), "{:?}", solo.end());
    solo.advance(Duration::from_millis(5));
    let end = solo.end().expect("it was to be given up");
    assert_eq!(end.result.as_ref().unwrap_err().kind(), ErrorKind::TimedOut);
}

#[test]
fn the_close_timeout_of_one_connection_is_its_deadline() {
    for deadline in [SOON, NEVER] {
        let machine = opened(move |conn| {
            conn.write(&vec![0; MIB]);
            conn.close();
            conn.deadline(deadline);
            Ok(())
        });
        is_given_up_after(deadline, machine);
    }
}

#[test]
fn closing_again_and_again_does_not_give_it_more_time() {
    let machine = opened(|conn| {
        conn.write(&vec![0; MIB]);
        let id = conn.id();
        conn.cx().every(Duration::from_millis(10), move |cx| {
            if let Some(mut conn) = cx.conn(id) {
                conn.close();
            }
        });
        close(conn)
    });
    is_given_up_after(Config::default().close_timeout, machine);
}

#[test]
fn the_time_of_a_shutdown_holds_whatever_a_connection_sets_for_itself_afterwards() {
    type Set = fn(&mut Conn<'_, Seen>);
    let ways: [(&str, Set); 4] = [
        ("close", |conn| conn.close()),
        ("a later deadline", |conn| conn.deadline(NEVER)),
        ("no deadline", |conn| conn.deadline(None)),
        ("both", |conn| {
            conn.close();
            conn.deadline(NEVER);
        }),
    ];
    for (name, set) in ways {
        println!("{name}");
        let machine = opened(move |conn| {
            conn.write(&vec![0; MIB]);
            conn.cx().shutdown(SOON);
            set(conn);
            Ok(())
        });
        is_given_up_after(SOON, machine);
    }
}

#[test]
fn a_connection_that_has_sent_everything_waits_a_second_for_a_peer_that_stays_open_not_the_close_timeout() {
    let server = ([10, 0, 0, 1], 80);
    let sim = Sim::new(0);
    let config = Config { close_timeout: NEVER, ..Config::default() };
    let mut reactor = sim.reactor_with(config).unwrap();
    let mut seen = Seen::default();
    let machine = || {
        opened(|conn| {
            conn.write(b"bye");
            close(conn)
        })
    };
    let mut cx = reactor.cx(&mut seen);
    cx.listen(server, move |_, _| machine()).unwrap();
    cx.connect(server, Machine { ended: Box::new(|_, _| Ok(())), ..Machine::default() });
    while seen.ends.is_empty() {
        reactor.turn(&mut seen, None).unwrap();
    }
    let passed = sim.now();
    assert!((Duration::from_secs(1)..Duration::from_millis(1_010)).contains(&passed), "{passed:?}");
    assert!(seen.ends[0].result.is_ok(), "{}", seen.ends[0]);
    assert_eq!(seen.bytes, b"bye");
}

#[test]
fn after_finish_the_peer_sees_the_end_and_can_still_send() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = opened(|conn| {
        conn.write(&vec![b'x'; MIB]);
        conn.finish();
        assert!(conn.unsent() > 0, "the end has to wait for what is unsent");
        Ok(())
    });
    let (_, mut peer) = adopt(&mut reactor.cx(&mut seen), machine);
    let peer = thread::spawn(move || {
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes)?;
        peer.write_all(format!("{} bytes have come", bytes.len()).as_bytes())
    });
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    peer.join().unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&seen.bytes), format!("{MIB} bytes have come"));
    assert!(seen.ends[0].result.is_ok(), "{}", seen.ends[0]);
}

#[test]
fn a_peer_that_has_finished_still_gets_a_long_answer() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        ended: Box::new(|conn, rest| {
            assert!(rest.is_empty());
            let id = conn.id();
            // In pieces, and not at once.
            conn.cx().after(Duration::from_millis(1), move |cx| {
                let mut conn = cx.conn(id).expect("it is half open");
                conn.write(&vec![b'x'; MIB]);
                conn.cx().after(Duration::from_millis(1), move |cx| {
                    let mut conn = cx.conn(id).expect("it is half open");
                    conn.write(b"!");
                    conn.close();
                });
            });
            Ok(())
        }),
        ..Machine::default()
    };
    let (_, mut peer) = adopt(&mut reactor.cx(&mut seen), machine);
    peer.write_all(b"all I have to say").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    let peer = thread::spawn(move || {
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes).map(|_| bytes)
    });
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    let bytes = peer.join().unwrap().unwrap();
    assert!(bytes.len() == MIB + 1 && bytes.ends_with(b"x!"), "{}", bytes.len());
    assert_eq!(seen.bytes, b"all I have to say");
}

#[test]
fn a_peer_that_has_finished_and_then_resets_ends_a_half_open_connection_that_has_nothing_to_send() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        ended: Box::new(|conn, _| {
            conn.state().notes.push("ended".into());
            Ok(()) // the answer comes later
        }),
        ..Machine::default()
    };
    let (_, peer) = adopt(&mut reactor.cx(&mut seen), machine);
    peer.shutdown(Shutdown::Write).unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.notes.is_empty());
    reset(peer);
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert!(seen.ends[0].result.is_err(), "there is nobody to answer any more: {}", seen.ends[0]);
    assert_eq!(seen.notes, ["ended"]);
}

#[test]
fn finishing_with_nothing_unsent_when_the_peer_has_finished_and_is_gone_is_a_good_end() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (ours, mut peer) = sized_pair(None);
    let watching = ours.try_clone().unwrap();
    peer.write_all(b"all").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    let mut peer = Some(peer);
    let machine = Machine {
        ended: Box::new(move |conn, _| {
            reset(peer.take().unwrap());
            let nothing_else = PollFlags::empty();
            assert_eq!(poll(&mut [PollFd::new(watching.as_fd(), nothing_else)], 60_000u16), Ok(1));
            conn.finish();
            Ok(())
        }),
        ..Machine::default()
    };
    reactor.cx(&mut seen).adopt(ours, machine).unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert!(seen.ends[0].result.is_ok() && seen.ends[0].unsent == 0, "{}", seen.ends[0]);
    assert_eq!(seen.bytes, b"all");
}

#[test]
fn finishing_after_the_peer_has_answered_and_reset_still_reads_the_answer() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (ours, mut peer) = sized_pair(None);
    let watching = ours.try_clone().unwrap();
    let id = reactor.cx(&mut seen).adopt(ours, Machine::default()).unwrap().id();
    reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap(); // it is opened
    peer.write_all(b"answer").unwrap();
    reset(peer);
    // Until the reset has come here: POLLERR is told unasked, and tells without taking the error away.
    let nothing_else = PollFlags::empty();
    assert_eq!(poll(&mut [PollFd::new(watching.as_fd(), nothing_else)], 60_000u16), Ok(1));
    reactor.cx(&mut seen).conn(id).unwrap().finish(); // which fails now
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(seen.bytes, b"answer", "{}", seen.ends[0]);
}

/// A machine that has written, and calls `end` when it receives: with the peer's words and, if `ends`, its end, there is a
/// reset behind them by then. Returns what it has noted, and how it ended.
fn ends_in_received(ends: bool, end: fn(&mut Conn<'_, Seen>)) -> Seen {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (ours, mut peer) = sized_pair(None);
    let watching = ours.try_clone().unwrap();
    let machine = Machine {
        opened: Box::new(|conn| {
            conn.write(b"hello");
            Ok(())
        }),
        received: Box::new(move |conn, input| {
            conn.state().bytes.extend(input.take_all());
            end(conn);
            Ok(())
        }),
        ended: Box::new(|conn, _| {
            conn.state().notes.push("ended".into());
            Ok(())
        }),
        ..Machine::default()
    };
    reactor.cx(&mut seen).adopt(ours, machine).unwrap();
    reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap(); // it is opened
    peer.read_exact(&mut [0; 5]).unwrap();
    peer.write_all(b"all").unwrap();
    if ends {
        peer.shutdown(Shutdown::Write).unwrap();
    }
    reset(peer);
    // Until the reset has come here: POLLERR is told unasked, and tells without taking the error away.
    let nothing_else = PollFlags::empty();
    assert_eq!(poll(&mut [PollFd::new(watching.as_fd(), nothing_else)], 60_000u16), Ok(1));
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!(seen.bytes, b"all");
    seen
}

#[test]
fn closing_before_the_end_of_a_peer_that_is_gone_was_read_is_a_good_end() {
    let seen = ends_in_received(true, |conn| conn.close());
    assert!(seen.ends[0].result.is_ok(), "{}", seen.ends[0]);
    assert!(seen.notes.is_empty());
}

#[test]
fn finishing_before_the_end_of_a_peer_that_is_gone_was_read_is_a_good_end_and_ended_is_called() {
    let seen = ends_in_received(true, |conn| conn.finish());
    assert!(seen.ends[0].result.is_ok(), "{}", seen.ends[0]);
    assert_eq!(seen.notes, ["ended"]);
}

#[test]
fn closing_or_finishing_when_the_peer_has_reset_without_an_end_is_an_error() {
    for end in
        [|conn: &mut Conn<'_, Seen>| conn.close(), |conn| conn.finish()] as [fn(&mut Conn<'_, Seen>); 2]
    {
        let seen = ends_in_received(false, end);
        let error = seen.ends[0].result.as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        assert!(seen.notes.is_empty());
    }
}

#[test]
fn what_the_machine_left_is_told_as_unread() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        received: Box::new(|conn, input| {
            input.take(4);
            conn.abort(wrong());
            Ok(())
        }),
        ..Machine::default()
    };
    let (_, mut peer) = adopt(&mut reactor.cx(&mut seen), machine);
    peer.write_all(b"tastes good").unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.ends.is_empty());
    assert_eq!((seen.ends[0].unread, seen.ends[0].unsent), (7, 0));
    assert_eq!(seen.ends[0].to_string(), "wrong; 7 bytes were not read");
}

#[test]
fn a_callback_closes_itself_another_and_all() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let mut peers = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..10 {
        let machine =
            Machine { received: Box::new(|_, _| panic!("it was closed by the first")), ..Machine::default() };
        let (id, peer) = adopt(&mut cx, machine);
        ids.push(id);
        peers.push(peer);
    }
    // All have input in the same batch; whoever comes first closes the nine others, aborts one of them, and itself.
    let killer = Machine {
        received: Box::new(move |conn, input| {
            input.take_all();
            let id = conn.id();
            conn.cx().conn(id).expect("itself").close();
            for id in &ids {
                conn.cx().conn(*id).expect("another").close();
            }
            if let Some(mut conn) = conn.cx().conn(ids[3]) {
                conn.abort(wrong());
            }
            Ok(())
        }),
        ..Machine::default()
    };
    let (ours, theirs) = sized_pair(None);
    cx.adopt(ours, killer).unwrap();
    reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap(); // they are opened
    peers.push(theirs);
    peers.last_mut().unwrap().write_all(b"now").unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.ends.len() == 11);
    drop(peers);
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.ends.len(), 11);
}

#[test]
fn a_connect_inside_closed_comes_about() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (refused, _peer) = refusing();
    let machine = Machine {
        closed: Box::new(move |cx, _| {
            let again = opened(|conn| {
                conn.state().notes.push("opened".into());
                close(conn)
            });
            cx.connect(addr, again);
        }),
        ..Machine::default()
    };
    reactor.cx(&mut seen).connect(refused, machine);
    until(&mut reactor, &mut seen, |cx| cx.state.ends.len() == 2);
    assert_eq!(seen.notes, ["opened"]);
}
