//! The simulated network beside the kernel's: which listener answers, which address is taken, how many connections wait
//! in a backlog, what arrives before a reset. Each test does the same on loopback sockets and in a simulation.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::common::machine::{Machine, Seen};
use enjamb::sim::{Link, Sim};
use enjamb::{Config, Reactor};

/// Does the same on the kernel's sockets and on a simulated network: both must give the same, which is returned.
fn on_both<T: PartialEq + Debug>(config: Config, run: impl Fn(Reactor<Seen>) -> T) -> T {
    let by_the_kernel = run(Reactor::with_config(config.clone()).unwrap());
    let by_the_simulation = run(Sim::new(0).reactor_with(config).unwrap());
    assert_eq!(by_the_kernel, by_the_simulation, "the kernel's, and the simulation's");
    by_the_kernel
}

fn kinds(seen: &Seen) -> Vec<Option<ErrorKind>> {
    seen.ends.iter().map(|end| end.result.as_ref().err().map(io::Error::kind)).collect()
}

/// Every kind of address that a listener or a client may be given.
fn addresses() -> Vec<IpAddr> {
    let v4 = [Ipv4Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)];
    let mapped = [Ipv4Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST].map(|ip| ip.to_ipv6_mapped());
    let v6 = [Ipv6Addr::UNSPECIFIED, Ipv6Addr::LOCALHOST].into_iter().chain(mapped);
    v4.into_iter().map(IpAddr::V4).chain(v6.map(IpAddr::V6)).collect()
}

/// A port that nobody else on this machine gets as long as the socket is kept: bound, but not listening, which is no
/// conflict for a listener with SO_REUSEADDR that asks for just this port (socket(7)).
fn reserved_port() -> (socket2::Socket, u16) {
    let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_only_v6(false).unwrap();
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    (socket, port)
}

/// Listens on one address and connects to another; returns what each side saw.
fn meet(mut reactor: Reactor<Seen>, listening: SocketAddr, asked: SocketAddr) -> Vec<String> {
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let accepted = |_: &mut enjamb::Cx<'_, Seen>, from: SocketAddr| Machine {
        opened: Box::new(move |conn| {
            let (peer, local) = (conn.peer_addr()?.ip(), conn.local_addr()?.ip());
            conn.state().notes.push(format!("accepted {} on {local}", from.ip()));
            assert_eq!(peer, from.ip());
            conn.close();
            Ok(())
        }),
        ..Machine::default()
    };
    let listener = cx.listen(listening, accepted).unwrap().id();
    let client = Machine {
        opened: Box::new(|conn| {
            let local = conn.local_addr()?.ip();
            conn.state().notes.push(format!("connected from {local}"));
            Ok(())
        }),
        closed: Box::new(move |cx, end| {
            let how = end.result.as_ref().err().map(io::Error::kind);
            cx.state.notes.push(format!("closed {how:?}"));
            cx.listener(listener).unwrap().close();
        }),
        ..Machine::default()
    };
    cx.connect(asked, client);
    reactor.run(&mut seen).unwrap();
    seen.notes.sort();
    seen.notes
}

#[test]
fn a_listener_answers_on_the_addresses_on_which_the_kernels_does() {
    let (_reserved, port) = reserved_port();
    for listening in addresses() {
        for asked in addresses() {
            println!("listening on {listening}, asked for {asked}");
            let at = |ip| SocketAddr::new(ip, port);
            on_both(Config::default(), |reactor| meet(reactor, at(listening), at(asked)));
        }
    }
}

#[test]
fn two_listeners_are_in_conflict_where_the_kernels_are() {
    let (_reserved, port) = reserved_port();
    for first in addresses() {
        for second in addresses() {
            println!("{first}, and {second}");
            on_both(Config::default(), |mut reactor| {
                let mut seen = Seen::default();
                let mut cx = reactor.cx(&mut seen);
                let mut listen = |ip| cx.listen((ip, port), |_, _| Machine::default()).map(|_| ());
                listen(first).unwrap();
                listen(second).err().map(|error| error.kind())
            });
        }
    }
}

#[test]
fn the_port_of_a_live_client_is_taken() {
    for ip in addresses() {
        on_both(Config::default(), |mut reactor| {
            let mut seen = Seen::default();
            let mut cx = reactor.cx(&mut seen);
            let any = (Ipv4Addr::LOCALHOST, 0);
            let at = cx.listen(any, |_, _| Machine::default()).unwrap().local_addr().unwrap();
            let port = cx.connect(at, Machine::default()).local_addr().unwrap().port();
            let listening = cx.listen((ip, port), |_, _| Machine::default()).map(|_| ());
            (ip, listening.err().map(|error| error.kind()))
        });
    }
}

#[test]
fn connecting_to_port_0_is_refused() {
    for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        let how = on_both(Config::default(), |mut reactor| {
            let mut seen = Seen::default();
            reactor.cx(&mut seen).connect((ip, 0), Machine::default());
            reactor.run(&mut seen).unwrap();
            kinds(&seen)
        });
        assert_eq!(how, [Some(ErrorKind::ConnectionRefused)]);
    }
}

#[test]
fn a_backlog_admits_one_connection_more_than_it_says() {
    for backlog in [1, 4] {
        let config = Config { backlog, ..Config::default() };
        let room = backlog as usize + 1;
        let ends = on_both(config, |mut reactor| {
            let mut seen = Seen::default();
            let mut cx = reactor.cx(&mut seen);
            let mut listener = cx.listen((Ipv4Addr::LOCALHOST, 0), |_, _| Machine::default()).unwrap();
            listener.limit(0); // it accepts nothing
            let (id, at) = (listener.id(), listener.local_addr().unwrap());
            for _ in 0..room + 2 {
                let client = Machine {
                    opened: Box::new(move |conn| {
                        conn.deadline(None);
                        conn.state().notes.push("opened".into());
                        if conn.state().notes.len() == room {
                            // It resets those who wait, and refuses the others when they ask again, after a second.
                            conn.cx().listener(id).unwrap().close();
                        }
                        Ok(())
                    }),
                    ..Machine::default()
                };
                cx.connect(at, client);
            }
            reactor.run(&mut seen).unwrap();
            kinds(&seen)
        });
        let (waited, others) = ends.split_at(room);
        assert!(waited.iter().all(|end| *end == Some(ErrorKind::ConnectionReset)), "{ends:?}");
        assert_eq!(others, [Some(ErrorKind::ConnectionRefused); 2], "{ends:?}");
    }
}

/// Says something, and resets the connection a moment later.
fn says_and_resets() -> Machine {
    Machine {
        received: Box::new(|conn, input| {
            input.take_all();
            conn.write(b"tail");
            let id = conn.id();
            conn.cx().after(Duration::from_millis(2), move |cx| {
                cx.conn(id).unwrap().reset(ErrorKind::Other.into());
            });
            Ok(())
        }),
        ..Machine::default()
    }
}

#[test]
fn what_was_sent_before_a_reset_arrives_before_it() {
    let run = |mut reactor: Reactor<Seen>| {
        let mut seen = Seen::default();
        let mut cx = reactor.cx(&mut seen);
        let mut listener = cx.listen((Ipv4Addr::LOCALHOST, 0), |_, _| says_and_resets()).unwrap();
        let (id, at) = (listener.id(), listener.local_addr().unwrap());
        let asks = Machine {
            opened: Box::new(|conn| {
                conn.write(b"a question");
                Ok(())
            }),
            closed: Box::new(move |cx, _| cx.listener(id).unwrap().close()),
            ..Machine::default()
        };
        cx.connect(at, asks);
        reactor.run(&mut seen).unwrap();
        let ends = kinds(&seen);
        (seen.bytes, ends)
    };
    let by_the_kernel = run(Reactor::new().unwrap());
    assert_eq!(by_the_kernel.0, b"tail");
    assert_eq!(by_the_kernel.1, [Some(ErrorKind::Other), Some(ErrorKind::ConnectionReset)]);
    // The tail is still under way when the reset is sent.
    let slow = Duration::from_millis(10)..=Duration::from_millis(50);
    for seed in 0..20 {
        let sim = Sim::new(seed);
        let coalesce = Duration::from_millis(seed); // with 0 each by itself, and it still comes first
        sim.links(Link { latency: slow.clone(), coalesce, ..Link::default() });
        assert_eq!(run(sim.reactor().unwrap()), by_the_kernel, "seed {seed}: {}", sim.log());
    }
}

#[test]
fn a_port_is_given_to_several_clients_only_if_they_connect_to_different_servers() {
    // The kernel, with the local port chosen, as there are too many to use them all up.
    let listener = |ip: [u8; 4]| std::net::TcpListener::bind((Ipv4Addr::from(ip), 0)).unwrap();
    let (one, other) = (listener([127, 0, 0, 1]), listener([127, 0, 0, 2]));
    let (_reserved, port) = reserved_port();
    let connect = |to: &std::net::TcpListener| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
        socket.connect(&to.local_addr()?.into())?;
        Ok::<_, io::Error>(socket)
    };
    let live = connect(&one).unwrap();
    assert_eq!(connect(&one).unwrap_err().kind(), ErrorKind::AddrNotAvailable);
    connect(&other).unwrap();
    assert_eq!(live.peer_addr().unwrap().as_socket(), Some(one.local_addr().unwrap()));

    // The simulation, until no port is left.
    let sim = Sim::new(0);
    sim.links(Link { silent: 1.0, ..Link::default() });
    let mut reactor = sim.reactor().unwrap();
    let mut seen = Seen::default();
    let (one, other) = (([10, 0, 0, 1], 80), ([10, 0, 0, 2], 80));
    let mut cx = reactor.cx(&mut seen);
    cx.listen(([10, 0, 0, 3], 50_000), |_, _| Machine::default()).unwrap(); // whose port no client gets
    let ports = 16_383;
    let locals: BTreeSet<SocketAddr> =
        (0..ports).map(|_| cx.connect(one, Machine::default()).local_addr().unwrap()).collect();
    assert_eq!(locals.len(), ports, "an address was given to two live clients");
    assert!(locals.iter().all(|local| local.port() != 50_000));
    cx.connect(one, Machine::default()).deadline(None);
    let shared = cx.connect(other, Machine::default()).local_addr().unwrap();
    assert!(locals.contains(&shared));
    reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap();
    assert_eq!(kinds(&seen), [Some(ErrorKind::AddrNotAvailable)], "no port was left");
}

#[test]
fn no_client_gets_the_address_of_one_whose_server_still_has_the_connection() {
    let sim = Sim::new(0);
    let mut reactor = sim.reactor().unwrap();
    let mut seen = Seen::default();
    let at = ([10, 0, 0, 1], 80);
    let deaf = || Machine {
        opened: Box::new(|conn| {
            conn.pause();
            Ok(())
        }),
        ..Machine::default()
    };
    let leaves = Machine {
        opened: Box::new(|conn| {
            conn.abort(ErrorKind::Other.into());
            Ok(())
        }),
        closed: Box::new(|cx, _| cx.stop()),
        ..Machine::default()
    };
    let mut cx = reactor.cx(&mut seen);
    cx.listen(at, move |_, _| deaf()).unwrap();
    let left = cx.connect(at, leaves).local_addr().unwrap();
    reactor.run(&mut seen).unwrap();
    for _ in 0..10 {
        reactor.turn(&mut seen, Some(Duration::from_millis(1))).unwrap();
    }
    assert!(sim.log().contains("is accepted"), "{}", sim.log());
    sim.links(Link { silent: 1.0, ..Link::default() });
    let mut cx = reactor.cx(&mut seen);
    for _ in 0..16_384 {
        let local = cx.connect(at, Machine::default()).local_addr();
        assert_ne!(local.ok(), Some(left)); // nor is there another in the end
    }
}

#[test]
fn what_a_reset_finds_unsent_is_destroyed() {
    const SAID: usize = 1_000_000;
    let run = |mut reactor: Reactor<Seen>| {
        let mut seen = Seen::default();
        let mut cx = reactor.cx(&mut seen);
        // Its peer reads nothing: most of this stays in the send queue.
        let resets = Machine {
            opened: Box::new(|conn| {
                conn.write(&vec![7; SAID]);
                let id = conn.id();
                conn.cx().after(Duration::from_millis(2), move |cx| {
                    cx.conn(id).unwrap().reset(ErrorKind::Other.into());
                    cx.state.notes.push("reset".into());
                });
                Ok(())
            }),
            ..Machine::default()
        };
        let mut resets = Some(resets);
        let listener = cx.listen((Ipv4Addr::LOCALHOST, 0), move |_, _| resets.take().unwrap());
        let at = listener.unwrap().local_addr().unwrap();
        let reads_late = Machine {
            opened: Box::new(|conn| {
                conn.pause();
                let id = conn.id();
                conn.cx().every(Duration::from_millis(1), move |cx| {
                    if !cx.state.notes.is_empty()
                        && let Some(mut conn) = cx.conn(id)
                    {
                        conn.resume();
                    }
                });
                Ok(())
            }),
            closed: Box::new(move |cx, _| cx.stop()),
            ..Machine::default()
        };
        cx.connect(at, reads_late);
        reactor.run(&mut seen).unwrap();
        assert!(seen.bytes.len() < SAID, "all of it arrived");
        kinds(&seen)
    };
    let by_the_kernel = run(Reactor::new().unwrap());
    let sim = Sim::new(0);
    sim.links(Link { buffer: 2 * SAID, spacing: Duration::from_millis(1), ..Link::default() });
    assert_eq!(run(sim.reactor().unwrap()), by_the_kernel, "{}", sim.log());
    assert_eq!(by_the_kernel, [Some(ErrorKind::Other), Some(ErrorKind::ConnectionReset)]);
}

#[test]
fn a_peer_that_closes_without_having_read_makes_no_room_for_more() {
    let run = |mut reactor: Reactor<Seen>, said: usize| {
        let mut seen = Seen::default();
        let mut cx = reactor.cx(&mut seen);
        let deaf = || Machine {
            opened: Box::new(|conn| {
                conn.pause();
                conn.deadline(Duration::from_millis(50));
                Ok(())
            }),
            timed_out: Box::new(|conn| {
                conn.write(b"bye");
                let id = conn.id();
                conn.cx().after(Duration::from_millis(2), move |cx| {
                    cx.conn(id).unwrap().reset(ErrorKind::Other.into());
                });
                Ok(())
            }),
            ..Machine::default()
        };
        let at = cx.listen((Ipv4Addr::LOCALHOST, 0), move |_, _| deaf()).unwrap().local_addr().unwrap();
        let floods = Machine {
            opened: Box::new(move |conn| {
                conn.read_while_full(true);
                conn.write(&vec![7; said]);
                Ok(())
            }),
            closed: Box::new(|cx, _| cx.stop()),
            ..Machine::default()
        };
        cx.connect(at, floods);
        reactor.run(&mut seen).unwrap();
        assert_eq!((&seen.bytes[..], seen.ends.len()), (&b"bye"[..], 2));
        (kinds(&seen), seen.ends[1].unsent > 0)
    };
    let by_the_kernel = run(Reactor::new().unwrap(), 12_000_000);
    let sim = Sim::new(0);
    let slow = Duration::from_millis(10);
    sim.links(Link { latency: slow..=slow, buffer: 99_000, ..Link::default() });
    assert_eq!(run(sim.reactor().unwrap(), 100_000), by_the_kernel, "{}", sim.log());
    assert_eq!(by_the_kernel, (vec![Some(ErrorKind::Other), Some(ErrorKind::ConnectionReset)], true));
}
