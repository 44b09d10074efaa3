//! The simulated network answers as a kernel does: backlogs, resets, ports, data under way.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use super::network::{count, kinds, on, pattern, waits};
use crate::common::machine::{Machine, Seen};
use crate::common::simulated::{listens, pair, run_pair, says, server};
use crate::common::times::ms;
use enjamb::sim::{Link, Sim};
use enjamb::{Config, Reactor};

#[test]
fn without_a_free_descriptor_accepting_waits_and_goes_on_unprompted() {
    let sim = Sim::new(0);
    let mut reactor = sim.reactor().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.listen(server(), |_, _| listens()).unwrap();
    for _ in 0..4 {
        cx.connect(server(), says(vec![1; 10]));
    }
    sim.descriptors(5); // just those
    assert!(cx.listen(([10, 0, 0, 1], 81), |_, _| listens()).is_err());
    sim.descriptors(6); // one to accept with, again and again
    reactor.run(&mut seen).unwrap();
    assert_eq!(kinds(&seen).iter().filter(|kind| kind.is_none()).count(), 8);
    assert_eq!(seen.bytes.len(), 40);
    assert!(sim.now() >= ms(10), "it did not have to wait: {:?}", sim.now());
}

#[test]
fn a_backlog_that_is_full_costs_the_others_a_second() {
    let sim = Sim::new(0);
    let mut reactor = sim.reactor_with(Config { backlog: 2, ..Config::default() }).unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).listen(server(), |_, _| listens()).unwrap();
    for _ in 0..5 {
        reactor.cx(&mut seen).connect(server(), says(vec![1]));
    }
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.bytes.len(), 5);
    assert_eq!(count(&sim, "is not answered"), 2, "there is room for one more than the backlog says");
}

#[test]
fn who_gives_up_connecting_is_never_accepted() {
    let sim = on(Link { latency: ms(100)..=ms(100), ..Link::default() });
    let mut reactor = sim.reactor().unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).listen(server(), |_, _| -> Machine { panic!("it has left") }).unwrap();
    reactor.cx(&mut seen).connect(server(), Machine::default()).deadline(ms(150));
    reactor.run(&mut seen).unwrap();
    assert_eq!(kinds(&seen), [Some(ErrorKind::TimedOut)]);
}

#[test]
fn a_listener_that_closes_resets_those_who_wait_in_its_backlog() {
    let sim = on(Link { latency: ms(1)..=ms(1), ..Link::default() });
    let mut reactor = sim.reactor::<Seen>().unwrap();
    let mut seen = Seen::default();
    let mut listener = reactor.cx(&mut seen);
    let id = listener.listen(server(), |_, _| Machine::default()).unwrap().id();
    reactor.cx(&mut seen).listener(id).unwrap().limit(0);
    reactor.cx(&mut seen).connect(server(), waits());
    reactor.cx(&mut seen).after(ms(50), move |cx| cx.listener(id).unwrap().close());
    reactor.run(&mut seen).unwrap();
    assert_eq!(kinds(&seen), [Some(ErrorKind::ConnectionReset)]);
}

#[test]
fn writing_to_a_peer_that_has_closed_is_taken_once_and_answered_with_a_reset() {
    let slams = Machine {
        opened: Box::new(|conn| {
            conn.abort(ErrorKind::Other.into()); // with nothing unsent: an end, not a reset
            Ok(())
        }),
        ..Machine::default()
    };
    let writes_on = Machine {
        ended: Box::new(|conn, _| {
            conn.write(b"are you there?");
            conn.deadline(ms(500));
            Ok(())
        }),
        timed_out: Box::new(|conn| {
            conn.state().notes.push("nothing was heard".into());
            conn.close();
            Ok(())
        }),
        ..Machine::default()
    };
    let seen = run_pair(&Sim::new(0), writes_on, slams);
    assert_eq!(kinds(&seen), [Some(ErrorKind::Other), Some(ErrorKind::BrokenPipe)]);
    assert_eq!(seen.ends[1].unsent, 0, "the network took it");
    assert!(seen.notes.is_empty());
}

#[test]
fn closing_with_input_unread_destroys_what_still_waits_for_the_line() {
    let link = Link { latency: ms(20)..=ms(20), spacing: ms(10), ..Link::default() };
    let aborts = Machine {
        opened: Box::new(|conn| {
            conn.pause(); // its input stays with the network
            conn.deadline(ms(100));
            Ok(())
        }),
        timed_out: Box::new(|conn| {
            conn.write(&pattern(3 * 1460));
            let id = conn.id();
            conn.cx().after(ms(2), move |cx| cx.conn(id).unwrap().abort(ErrorKind::Other.into()));
            Ok(())
        }),
        ..Machine::default()
    };
    let asks = Machine {
        opened: Box::new(|conn| {
            conn.write(b"never read");
            Ok(())
        }),
        ..listens()
    };
    let seen = run_pair(&on(link), asks, aborts);
    assert_eq!(kinds(&seen), [Some(ErrorKind::Other), Some(ErrorKind::ConnectionReset)]);
    assert_eq!(seen.bytes, pattern(1460), "the first of three segments had left, and the others had not");
}

#[test]
fn a_reset_after_both_have_finished_destroys_what_still_waits_for_the_line() {
    let link = Link { latency: ms(20)..=ms(20), spacing: ms(10), ..Link::default() };
    let answers = Machine {
        opened: Box::new(|conn| {
            conn.pause(); // the peer's end stays with the network
            conn.deadline(ms(100));
            Ok(())
        }),
        timed_out: Box::new(|conn| {
            conn.write(&pattern(3 * 1460));
            conn.finish();
            let id = conn.id();
            conn.cx().after(ms(2), move |cx| cx.conn(id).unwrap().reset(ErrorKind::Other.into()));
            Ok(())
        }),
        ..Machine::default()
    };
    let seen = run_pair(&on(link), says(vec![]), answers);
    assert_eq!(kinds(&seen), [Some(ErrorKind::Other), Some(ErrorKind::ConnectionReset)]);
    assert_eq!(seen.bytes, pattern(1460));
}

#[test]
fn a_host_that_crashes_loses_what_still_waits_for_the_line() {
    let sim = on(Link { latency: ms(20)..=ms(20), spacing: ms(10), ..Link::default() });
    let crashes = sim.clone();
    let says_and_crashes = Machine {
        opened: Box::new(move |conn| {
            conn.write(&pattern(3 * 1460));
            let crashes = crashes.clone();
            conn.cx().after(ms(2), move |_| crashes.crash(server()));
            Ok(())
        }),
        ..Machine::default()
    };
    let (mut reactor, mut seen) = pair(&sim, Config::default(), listens(), says_and_crashes);
    assert_eq!(reactor.run(&mut seen).unwrap_err().kind(), ErrorKind::Deadlock, "its peer waits for ever");
    assert_eq!(seen.bytes, pattern(1460), "{}", sim.log());
}

#[test]
fn finishing_towards_a_peer_that_has_closed_destroys_nothing_that_is_under_way() {
    let says_and_goes = Machine {
        opened: Box::new(|conn| {
            conn.write(&pattern(3000));
            let id = conn.id();
            conn.cx().after(ms(2), move |cx| cx.conn(id).unwrap().abort(ErrorKind::Other.into()));
            Ok(())
        }),
        ..Machine::default()
    };
    let finishes = Machine {
        received: Box::new(|conn, input| {
            conn.state().bytes.extend(input.take_all());
            if conn.state().bytes.len() > 1460 {
                conn.finish(); // with the second segment of three
            }
            Ok(())
        }),
        ..Machine::default()
    };
    let seen = run_pair(&on(Link { spacing: ms(10), ..Link::default() }), finishes, says_and_goes);
    assert_eq!(seen.bytes, pattern(3000));
    assert_eq!(kinds(&seen), [Some(ErrorKind::Other), None]);
}

#[test]
fn what_was_received_before_a_reset_can_still_be_read() {
    let link = Link { reset_after: Some(500..=500), ..Link::default() };
    let late = Machine {
        opened: Box::new(|conn| {
            conn.pause();
            conn.deadline(ms(100));
            Ok(())
        }),
        timed_out: Box::new(|conn| {
            conn.resume();
            Ok(())
        }),
        ..listens()
    };
    let seen = run_pair(&on(link), says(pattern(600)), late);
    assert_eq!(seen.bytes, pattern(500));
    assert_eq!(seen.ends[1].result.as_ref().unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_connection_whose_accepted_panics_is_closed_and_its_client_sees_that() {
    let sim = Sim::new(0);
    let mut reactor: Reactor<Seen> = sim.reactor().unwrap();
    let mut seen = Seen::default();
    reactor
        .cx(&mut seen)
        .listen(server(), |_, _| -> Machine {
            panic!("the machine cannot be made, which is what this test wants")
        })
        .unwrap();
    reactor.cx(&mut seen).connect(server(), waits());
    assert!(catch_unwind(AssertUnwindSafe(|| reactor.run(&mut seen))).is_err());
    reactor.run(&mut seen).unwrap();
    assert_eq!(kinds(&seen), [None], "it saw the end");
}

#[test]
fn what_comes_while_a_callback_takes_its_time_is_there_when_it_returns() {
    let sim = Sim::new(0);
    let slow = sim.clone();
    let sizes = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&sizes);
    let takes_time = Machine {
        received: Box::new(move |_, input| {
            noted.borrow_mut().push(input.take_all().len());
            slow.take_time(ms(10));
            Ok(())
        }),
        ..Machine::default()
    };
    run_pair(&sim, says(pattern(5 * 1460)), takes_time);
    assert_eq!(*sizes.borrow(), [1460, 4 * 1460]);
}

#[test]
fn two_listeners_cannot_have_one_address_and_port_0_is_any_free_one() {
    let mut reactor: Reactor<Seen> = Sim::new(0).reactor().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let mut listen = |ip: [u8; 4], port: u16| {
        cx.listen((ip, port), |_, _| listens()).map(|mut listener| listener.local_addr().unwrap())
    };
    let any = listen([10, 0, 0, 1], 0).unwrap();
    assert_ne!(any.port(), 0);
    for ip in [[10, 0, 0, 1], [0, 0, 0, 0]] {
        assert_eq!(listen(ip, any.port()).unwrap_err().kind(), ErrorKind::AddrInUse);
    }
    assert!(listen([10, 0, 0, 2], any.port()).is_ok());
    let everywhere = listen([0, 0, 0, 0], 0).unwrap();
    reactor.cx(&mut seen).connect(([10, 7, 7, 7], everywhere.port()), says(vec![9]));
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.bytes, [9]);
}

#[test]
fn a_clients_port_is_free_as_soon_as_both_ends_are_closed() {
    let sim = Sim::new(0);
    let (mut reactor, mut seen) = pair(&sim, Config::default(), says(vec![1]), listens());
    let port = {
        let mut cx = reactor.cx(&mut seen);
        cx.connect(server(), says(vec![2])).local_addr().unwrap().port()
    };
    let error = reactor.cx(&mut seen).listen(([127, 0, 0, 1], port), |_, _| listens()).map(|_| ());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::AddrInUse);
    reactor.run(&mut seen).unwrap();
    reactor.cx(&mut seen).listen(([127, 0, 0, 1], port), |_, _| listens()).unwrap();
}

#[test]
fn a_client_is_not_connected_to_itself() {
    let mut reactor = Sim::new(0).reactor().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let first = cx.connect(server(), Machine::default()).local_addr().unwrap().port();
    let local = cx.connect(([127, 0, 0, 1], first + 1), Machine::default()).local_addr().unwrap();
    assert_eq!(local.port(), first + 1);
    reactor.run(&mut seen).unwrap();
    assert_eq!(kinds(&seen), [Some(ErrorKind::ConnectionRefused); 2]);
}

#[test]
fn a_simulation_has_one_reactor_and_nothing_of_the_kernels() {
    let sim = Sim::new(0);
    let mut reactor: Reactor<Seen> = sim.reactor().unwrap();
    let error = sim.reactor::<Seen>().unwrap_err();
    assert!(error.kind() == ErrorKind::AlreadyExists && error.to_string().contains("another Sim"), "{error}");
    let (ours, _theirs) = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| Ok((std::net::TcpStream::connect(listener.local_addr()?)?, listener)))
        .unwrap();
    let mut seen = Seen::default();
    let error = reactor.cx(&mut seen).adopt(ours, Machine::default()).unwrap_err();
    assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("real reactor"), "{error}");
}
