//! `closed` is called exactly once on every path, with the right result.

use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::closing::{SOON, abort, adopt, other, reset, wrong};
use crate::common::bytes::MIB;
use crate::common::machine::{Call, Machine, Seen, Take, close, finish, opened};
use crate::common::places::nobody;
use crate::common::until::until;
use enjamb::{Config, Conn, Cx, Input, Reactor};

/// The other end of a connection. It is kept for as long as the test goes on.
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

fn refusing() -> (SocketAddr, Peer) {
    let (socket, addr) = nobody();
    (addr, Peer::Bound(socket))
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
