//! Covers the traps of the loop itself: signals, calls from other threads, panics, inserting while iterating,
//! descriptors, standstill, slow callbacks, stopping, shutting down, embedding.
#![cfg(all(unix, feature = "sim"))]

#[path = "common/child.rs"]
mod child;
#[path = "common/log.rs"]
mod log_capture;
#[path = "common/machine.rs"]
mod machine;
#[path = "common/pair.rs"]
mod pair;
#[path = "common/sized.rs"]
mod sized;
#[path = "common/until.rs"]
mod until;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use enjamb::mio::{self, Interest, Token};
use enjamb::sim::{Script, Sim};
use enjamb::{Config, Conn, Cx, End, Input, PostError, Protocol, Reactor, Readiness, Step, Watch};
use log::Level;
use machine::{Machine, Seen};
use pair::{arrived, pair};
use sized::sized_pair;
use until::until;

const ANY_PORT: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
const NOW: Option<Duration> = Some(Duration::ZERO);
const NEVER: Duration = Duration::from_secs(3600);
/// A call that takes this long hangs.
const HANGS: Duration = Duration::from_secs(60);

/// Runs the loop in a thread, so that a test of whether `run` returns fails instead of hanging.
fn run_elsewhere<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(what()));
    result.recv_timeout(HANGS).expect("it returns, and does not panic")
}

fn listen(cx: &mut Cx<'_, Seen>, accepted: impl FnMut(&mut Cx<'_, Seen>) -> Machine + 'static) -> SocketAddr {
    let mut accepted = accepted;
    let mut listener = cx.listen(ANY_PORT, move |cx, _| accepted(cx)).expect("a free port");
    listener.local_addr().expect("an address")
}

fn echo() -> Machine {
    Machine {
        received: Box::new(|conn, input| {
            conn.write(input.take_all());
            Ok(())
        }),
        ..Machine::default()
    }
}

fn opened(call: impl FnMut(&mut Conn<'_, Seen>) -> io::Result<()> + 'static) -> Machine {
    Machine { opened: Box::new(call), ..Machine::default() }
}

fn close(conn: &mut Conn<'_, Seen>) -> io::Result<()> {
    conn.close();
    Ok(())
}

fn pause(conn: &mut Conn<'_, Seen>) -> io::Result<()> {
    conn.pause();
    Ok(())
}

/// A watched source that does what it is told when it is called.
struct Watcher(Box<Ready>);
type Ready = dyn FnMut(&mut Cx<'_, Seen>) -> io::Result<Step>;

impl<E> Watch<E, Seen> for Watcher {
    fn ready(&mut self, cx: &mut Cx<'_, Seen>, _: &mut E, _: Readiness) -> io::Result<Step> {
        (self.0)(cx)
    }
}

fn udp() -> mio::net::UdpSocket {
    mio::net::UdpSocket::bind(ANY_PORT.into()).expect("a free port")
}

// Signals.

#[test]
fn a_signal_is_an_empty_poll_and_the_timeout_is_recomputed() {
    let signals = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&signals);
    // Without a handler the signal would end the process; the handler itself has nothing to do.
    signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::default()).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let loop_thread = nix::sys::pthread::pthread_self();
    let pest = thread::spawn({
        let over = Arc::clone(&over);
        move || {
            while !over.load(Ordering::SeqCst) {
                nix::sys::pthread::pthread_kill(loop_thread, nix::sys::signal::Signal::SIGUSR1).unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_micros(300));
            }
        }
    });
    let mut reactor = Reactor::new().unwrap();
    let start = Instant::now();
    reactor.cx(&mut ()).after(Duration::from_millis(100), |cx| cx.stop());
    // A loop that slept the whole time anew after each signal would never see the timer fire.
    let result = reactor.run(&mut ());
    over.store(true, Ordering::SeqCst);
    pest.join().unwrap();
    result.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(100), "{:?} is early", start.elapsed());
    assert!(signals.load(Ordering::SeqCst) > 0);
}

/// The process that is stopped: asks, and waits for the answer as long as it is told.
fn asks(addr: &str, limit: Duration) {
    let addr: SocketAddr = addr.parse().unwrap();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        received: Box::new(move |conn, input| {
            match input.take_all() {
                b"ask" => {
                    conn.deadline(limit);
                    conn.write(b"?");
                }
                answer => {
                    conn.state().bytes.extend(answer);
                    conn.close();
                }
            }
            Ok(())
        }),
        ..Machine::default()
    };
    reactor.cx(&mut seen).connect(addr, machine);
    reactor.run(&mut seen).unwrap();
    assert_eq!((&*seen.bytes, &seen.ends[0].result.is_ok()), (&b"answer"[..], &true), "{}", seen.ends[0]);
}

#[test]
fn a_process_stopped_past_its_deadline_takes_the_answer_that_came_meanwhile() {
    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    const NAME: &str = "a_process_stopped_past_its_deadline_takes_the_answer_that_came_meanwhile";
    const ADDR: &str = "ENJAMB_TEST_ASKS";
    const LIMIT: Duration = Duration::from_millis(300);
    if let Ok(addr) = std::env::var(ADDR) {
        return asks(&addr, LIMIT);
    }
    let listener = TcpListener::bind(ANY_PORT).unwrap();
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args([NAME, "--exact", "--nocapture"]).env(ADDR, listener.local_addr().unwrap().to_string());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    loop {
        let child = command.spawn().unwrap();
        let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
        let (mut peer, _) = listener.accept().unwrap();
        peer.set_read_timeout(Some(HANGS)).unwrap();
        let before = Instant::now();
        peer.write_all(b"ask").unwrap();
        peer.read_exact(&mut [0]).unwrap(); // its deadline is set
        let set_by = Instant::now();
        kill(pid, Signal::SIGSTOP).unwrap();
        let stopped = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert_eq!(stopped, WaitStatus::Stopped(pid, Signal::SIGSTOP));
        let in_time = before.elapsed() < LIMIT; // else this machine was too slow to stop it
        peer.write_all(b"answer").unwrap();
        let passed = set_by + LIMIT + Duration::from_millis(10);
        thread::sleep(passed.saturating_duration_since(Instant::now()));
        kill(pid, Signal::SIGCONT).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let output = child.wait_with_output().unwrap();
        if in_time {
            return assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[test]
fn a_poll_that_a_signal_interrupts_does_not_tell_that_an_answer_has_not_come() {
    const LIMIT: Duration = Duration::from_millis(20);
    let name = "a_poll_that_a_signal_interrupts_does_not_tell_that_an_answer_has_not_come";
    let interrupt = "inject=?epoll_wait,?epoll_pwait:error=EINTR:when=2";
    if !child::in_child(name, &["strace", "-f", "-qq", "-o", "/dev/null", "-e", interrupt]) {
        return;
    }
    let (ours, mut peer) = sized_pair(None);
    let (mut reactor, mut seen) = (Reactor::new().unwrap(), Seen::default());
    let machine = opened(|conn| {
        conn.deadline(LIMIT);
        Ok(())
    });
    reactor.cx(&mut seen).adopt(ours, machine).unwrap();
    reactor.turn(&mut seen, NOW).unwrap();
    peer.write_all(b"answer").unwrap();
    thread::sleep(2 * LIMIT); // held up past the deadline
    let interrupted = reactor.turn(&mut seen, NOW).unwrap();
    assert_eq!((&*seen.bytes, interrupted.next), (&b""[..], Some(Duration::ZERO)));
    reactor.turn(&mut seen, NOW).unwrap();
    assert_eq!(seen.bytes, b"answer");
}

// Calls from other threads.

#[test]
fn what_is_posted_before_the_first_turn_is_run() {
    let value = run_elsewhere(|| {
        let mut reactor = Reactor::new().unwrap();
        reactor.handle().post(|cx| *cx.state += 1).unwrap();
        let mut state = 0;
        reactor.run(&mut state).unwrap();
        state
    });
    assert_eq!(value, 1);
}

#[test]
fn posting_after_the_reactor_is_gone_is_an_error_to_the_poster() {
    let reactor = Reactor::<()>::new().unwrap();
    let handle = reactor.handle();
    drop(reactor);
    let dropped = Arc::new(());
    let witness = Arc::clone(&dropped);
    assert!(matches!(handle.post(move |_| drop(witness)), Err(PostError::Gone(_))));
    assert_eq!(Arc::strong_count(&dropped), 1, "the call is dropped");
}

#[test]
fn calls_that_are_lost_with_the_reactor_are_counted_in_a_warning() {
    log_capture::capture();
    let reactor = Reactor::<()>::new().unwrap();
    let handle = reactor.handle();
    // Dropping the call comes back to the handle that it has captured.
    (0..3).for_each(|_| {
        let captured = handle.clone();
        handle.post(move |_| drop(captured)).unwrap();
    });
    drop(reactor);
    let warnings = log_capture::captured(Level::Warn);
    assert!(warnings.len() == 1 && warnings[0].contains("3 calls"), "{warnings:?}");
}

#[test]
fn wakes_coalesce_but_every_call_runs_and_in_order() {
    const THREADS: usize = 4;
    const CALLS: usize = 2_000;
    let seen = run_elsewhere(|| {
        let mut reactor = Reactor::with_config(Config { call_budget: 7, ..Config::default() }).unwrap();
        for thread in 0..THREADS {
            let handle = reactor.handle();
            thread::spawn(move || {
                for n in 0..CALLS {
                    handle.post(move |cx: &mut Cx<'_, Vec<_>>| cx.state.push((thread, n))).expect("it runs");
                }
            });
        }
        let mut seen = Vec::new();
        reactor.run(&mut seen).unwrap();
        seen
    });
    assert_eq!(seen.len(), THREADS * CALLS);
    for thread in 0..THREADS {
        let of_it = seen.iter().filter(|(of, _)| *of == thread).map(|(_, n)| *n);
        assert!(of_it.eq(0..CALLS), "thread {thread} is out of order");
    }
}

#[test]
fn posting_without_end_cannot_starve_the_connections() {
    fn again(handle: enjamb::Handle<Seen>) -> impl FnOnce(&mut Cx<'_, Seen>) + Send {
        move |_| {
            let next = handle.clone();
            handle.post(again(next)).expect("it runs");
        }
    }
    let (ours, mut peer) = sized_pair(None);
    let mut reactor = Reactor::with_config(Config { call_budget: 4, ..Config::default() }).unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).adopt(ours, Machine::default()).unwrap();
    let handle = reactor.handle();
    for _ in 0..10 {
        handle.post(again(handle.clone())).unwrap();
    }
    peer.write_all(b"me too").unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.bytes.len() == 6);
}

#[test]
fn at_most_a_budget_of_calls_runs_in_one_turn_and_the_next_does_not_wait() {
    let mut reactor = Reactor::with_config(Config { call_budget: 2, ..Config::default() }).unwrap();
    let handle = reactor.handle();
    for _ in 0..5 {
        handle.post(|cx| *cx.state += 1).unwrap();
    }
    let mut count = 0;
    for (expected, more) in [(2, true), (4, true), (5, false)] {
        let turn = reactor.turn(&mut count, Some(NEVER)).unwrap();
        assert_eq!((count, turn.next), (expected, more.then_some(Duration::ZERO)));
    }
}

#[test]
fn dropping_the_last_handle_lets_run_return() {
    for round in 0..200 {
        run_elsewhere(move || {
            let mut reactor = Reactor::<()>::new().unwrap();
            let handle = reactor.handle();
            let clone = handle.clone();
            drop(handle);
            let dropper = thread::spawn(move || {
                if round % 2 == 0 {
                    thread::yield_now();
                }
                drop(clone);
            });
            reactor.run(&mut ()).unwrap();
            dropper.join().unwrap();
        });
    }
}

#[test]
fn a_call_posted_with_the_last_handle_still_runs() {
    let count = run_elsewhere(|| {
        let mut reactor = Reactor::new().unwrap();
        let mut count = 0;
        for _ in 0..100 {
            let handle = reactor.handle();
            thread::spawn(move || handle.post(|cx| *cx.state += 1));
            reactor.run(&mut count).unwrap();
        }
        count
    });
    assert_eq!(count, 100);
}

// Panics.

/// Turns until a callback panics.
fn turn_until_it_panics(reactor: &mut Reactor<Seen>, seen: &mut Seen, name: &str) {
    let start = Instant::now();
    while catch_unwind(AssertUnwindSafe(|| reactor.turn(seen, Some(Duration::from_millis(1))).unwrap()))
        .is_ok()
    {
        assert!(start.elapsed() < HANGS, "{name} does not panic");
    }
}

type Setup = fn(&mut Cx<'_, Seen>) -> Option<TcpStream>;

fn adopted(cx: &mut Cx<'_, Seen>, machine: Machine) -> Option<TcpStream> {
    let (ours, mut theirs) = sized_pair(None);
    cx.adopt(ours, machine).expect("adopting");
    theirs.write_all(b"x").expect("there is room");
    theirs.shutdown(Shutdown::Write).expect("it can be shut down");
    Some(theirs)
}

const PANICS: &[(&str, Setup)] = &[
    ("opened", |cx| adopted(cx, opened(|_| panic!("in opened")))),
    ("received", |cx| {
        adopted(cx, Machine { received: Box::new(|_, _| panic!("in received")), ..Machine::default() })
    }),
    ("opened, after switching", |cx| {
        let opened = |conn: &mut Conn<'_, Seen>| {
            conn.switch(Machine::default());
            panic!("in opened, switched")
        };
        adopted(cx, Machine { opened: Box::new(opened), ..Machine::default() })
    }),
    ("received, after closing", |cx| {
        let received = |conn: &mut Conn<'_, Seen>, _: &mut Input<'_>| {
            conn.write(b"and then");
            conn.pause();
            conn.deadline(Duration::from_millis(1));
            conn.close();
            panic!("in received, closing")
        };
        adopted(cx, Machine { received: Box::new(received), ..Machine::default() })
    }),
    ("received, after aborting", |cx| {
        let received = |conn: &mut Conn<'_, Seen>, _: &mut Input<'_>| {
            conn.abort(io::ErrorKind::Other.into());
            panic!("in received, aborted")
        };
        adopted(cx, Machine { received: Box::new(received), ..Machine::default() })
    }),
    ("drained", |cx| {
        let opened = |conn: &mut Conn<'_, Seen>| {
            conn.water_marks(0, 1);
            conn.write(b"much");
            Ok(())
        };
        let drained = |_: &mut Conn<'_, Seen>| panic!("in drained");
        adopted(cx, Machine { opened: Box::new(opened), drained: Box::new(drained), ..Machine::default() })
    }),
    ("ended", |cx| adopted(cx, Machine { ended: Box::new(|_, _| panic!("in ended")), ..Machine::default() })),
    ("timed_out", |cx| {
        let opened = |conn: &mut Conn<'_, Seen>| {
            conn.pause();
            conn.deadline(Duration::ZERO);
            Ok(())
        };
        let timed_out = |_: &mut Conn<'_, Seen>| panic!("in timed_out");
        adopted(
            cx,
            Machine { opened: Box::new(opened), timed_out: Box::new(timed_out), ..Machine::default() },
        )
    }),
    ("closed", |cx| {
        let machine = opened(close);
        adopted(cx, Machine { closed: Box::new(|_, _| panic!("in closed")), ..machine })
    }),
    ("accepted", |cx| {
        let addr = listen(cx, |_| panic!("in accepted"));
        Some(TcpStream::connect(addr).expect("it listens"))
    }),
    ("a timer", |cx| {
        cx.after(Duration::ZERO, |_| panic!("in a timer"));
        None
    }),
    ("a periodic timer", |cx| {
        cx.every(Duration::from_millis(1), |_| panic!("in a periodic timer"));
        None
    }),
    ("a watch", |cx| {
        let watcher = Watcher(Box::new(|_| panic!("in a watch")));
        cx.watch(udp(), Interest::WRITABLE, watcher).expect("watching");
        None
    }),
];

#[test]
fn after_a_panic_in_a_callback_the_loop_runs_on_without_a_zombie() {
    for (name, setup) in PANICS {
        log_capture::capture();
        let mut reactor = Reactor::new().unwrap();
        let mut seen = Seen::default();
        let (ours, mut peer) = sized_pair(None);
        reactor.cx(&mut seen).adopt(ours, echo()).unwrap();
        let _kept = setup(&mut reactor.cx(&mut seen));
        turn_until_it_panics(&mut reactor, &mut seen, name);

        // Another connection is as well as before.
        peer.write_all(b"still there?").unwrap();
        let reader = thread::spawn(move || {
            let mut bytes = [0; 12];
            peer.read_exact(&mut bytes).map(|()| (peer, bytes))
        });
        until(&mut reactor, &mut seen, |_| reader.is_finished());
        let (peer, bytes) = reader.join().unwrap().unwrap();
        assert_eq!(&bytes, b"still there?", "after {name}");
        let alive = reactor.alive().to_string();
        let expected = "alive: 0 listeners, 1 connections, 0 watched, 0 timers, 0 handles";
        assert!(alive.starts_with(expected), "after {name}: {alive}");
        let logged = log_capture::captured(Level::Error);
        let had_a_slot = !["closed", "a timer", "a periodic timer"].contains(name);
        assert_eq!(logged.len(), usize::from(had_a_slot), "after {name}: {logged:?}");
        drop(peer);
        until(&mut reactor, &mut seen, |cx| cx.alive().to_string().contains(", 0 connections"));
    }
}

#[test]
fn after_a_panic_of_the_last_there_was_run_returns() {
    for (name, setup) in PANICS {
        run_elsewhere(move || {
            let mut reactor = Reactor::new().unwrap();
            let mut seen = Seen::default();
            let _kept = setup(&mut reactor.cx(&mut seen));
            assert!(
                catch_unwind(AssertUnwindSafe(|| reactor.run(&mut seen))).is_err(),
                "{name} does not panic"
            );
            reactor.run(&mut seen).unwrap();
            let alive = reactor.alive().to_string();
            assert!(
                alive.ends_with("0 listeners, 0 connections, 0 watched, 0 timers, 0 handles"),
                "{name}: {alive}"
            );
        });
    }
}

#[test]
fn what_a_callback_wrote_before_it_panicked_is_cut_off_for_the_peer_to_see() {
    let (ours, mut peer) = sized_pair(None);
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = opened(|conn| {
        conn.write(b"half of");
        panic!("in opened, having written")
    });
    reactor.cx(&mut seen).adopt(ours, machine).unwrap();
    turn_until_it_panics(&mut reactor, &mut seen, "opened");
    reactor.turn(&mut seen, NOW).unwrap();
    assert_eq!(peer.read(&mut [0]).expect_err("no orderly end").kind(), ErrorKind::ConnectionReset);
}

#[test]
fn who_was_put_off_in_the_turn_of_a_panic_has_the_next() {
    const BUDGET: usize = 16;
    let (ours, mut peer) = pair();
    let watching = ours.try_clone().unwrap();
    let config = Config { read_buffer: BUDGET, read_budget: BUDGET, ..Config::default() };
    let mut reactor = Reactor::with_config(config).unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).adopt(ours, Machine::default()).unwrap();
    let handle = reactor.handle();
    for _ in 0..3 {
        reactor.turn(&mut seen, NOW).unwrap();
    }
    peer.write_all(&[0; 4 * BUDGET]).unwrap();
    arrived(&watching, 4 * BUDGET);
    handle.post(|_| panic!("in a posted call")).unwrap();
    turn_until_it_panics(&mut reactor, &mut seen, "a posted call");
    assert_eq!(seen.bytes.len(), BUDGET);
    reactor.cx(&mut seen).after(HANGS, |cx| cx.state.notes.push("slept".into()));
    while seen.bytes.len() < 4 * BUDGET {
        reactor.turn(&mut seen, None).unwrap();
        assert!(seen.notes.is_empty(), "it slept although there was more to read");
    }
}

#[test]
fn after_a_panic_in_a_callback_the_loop_can_be_dropped() {
    for (name, setup) in PANICS {
        let mut reactor = Reactor::new().unwrap();
        let mut seen = Seen::default();
        let (ours, mut peer) = sized_pair(None);
        reactor.cx(&mut seen).adopt(ours, echo()).unwrap();
        let _kept = setup(&mut reactor.cx(&mut seen));
        turn_until_it_panics(&mut reactor, &mut seen, name);
        drop(reactor);
        assert_eq!(peer.read(&mut [0]).unwrap(), 0, "after {name} the other connection is closed");
    }
}

#[test]
fn the_calls_posted_behind_one_that_panics_still_run() {
    let notes = run_elsewhere(|| {
        let mut reactor = Reactor::<Vec<i32>>::new().unwrap();
        let mut notes = Vec::new();
        let handle = reactor.handle();
        handle.post(|_| panic!("the first call")).unwrap();
        for n in 1..=3 {
            handle.post(move |cx| cx.state.push(n)).unwrap();
        }
        drop(handle);
        assert!(catch_unwind(AssertUnwindSafe(|| reactor.run(&mut notes))).is_err());
        reactor.run(&mut notes).unwrap();
        notes
    });
    assert_eq!(notes, [1, 2, 3]);
}

#[test]
fn what_was_ready_in_the_same_batch_as_one_that_panics_is_not_lost() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let mut ends = Vec::new();
    for n in 0..10 {
        let (ours, theirs) = pair();
        let bad = Machine { received: Box::new(|_, _| panic!("the fifth")), ..Machine::default() };
        ends.push((ours.try_clone().unwrap(), theirs));
        reactor.cx(&mut seen).adopt(ours, if n == 5 { bad } else { Machine::default() }).unwrap();
    }
    // All are open, and their first events, which say that they are writable, have come and gone.
    for _ in 0..10 {
        reactor.turn(&mut seen, NOW).unwrap();
    }
    for (ours, theirs) in &mut ends {
        theirs.write_all(b"x").unwrap();
        arrived(ours, 1);
    }
    let turn = catch_unwind(AssertUnwindSafe(|| reactor.turn(&mut seen, NOW)));
    assert!(turn.is_err(), "all have come, the fifth too");
    assert!(seen.bytes.len() < 9, "it was the last of the batch: nothing could be lost");
    until(&mut reactor, &mut seen, |cx| cx.state.bytes.len() == 9);
}

// Inserting while iterating.

#[test]
fn callbacks_insert_listeners_connections_watches_and_timers_while_the_loop_goes_through_them() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    // accepted listens anew and closes its own listener; opened connects there; closed connects again; and so on.
    fn chain(cx: &mut Cx<'_, Seen>, left: usize) -> SocketAddr {
        listen(cx, move |cx| {
            cx.state.notes.push(format!("accepted {left}"));
            if left > 0 {
                let next = chain(cx, left - 1);
                // So many that the slab grows while one of its slots is being driven.
                for _ in 0..20 {
                    cx.after(NEVER, |_| ());
                    let watcher = Watcher(Box::new(|_| Ok(Step::Done)));
                    cx.watch(udp(), Interest::WRITABLE, watcher).expect("watching");
                }
                cx.after(Duration::ZERO, move |cx| {
                    cx.after(Duration::ZERO, move |cx| {
                        cx.connect(next, opened(close));
                    });
                });
            }
            Machine::default()
        })
    }
    let addr = chain(&mut reactor.cx(&mut seen), 10);
    let first = Machine {
        closed: Box::new(move |cx, _| {
            cx.connect(addr, opened(close));
        }),
        ..opened(close)
    };
    reactor.cx(&mut seen).connect(addr, first);
    // The chain is walked twice: `closed` of the first connection starts it anew.
    until(&mut reactor, &mut seen, |cx| {
        cx.state.notes.iter().filter(|note| *note == "accepted 0").count() == 2
    });
}

#[test]
fn a_listener_closed_by_its_own_accepted_keeps_what_it_accepted() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let own = std::rc::Rc::new(std::cell::Cell::new(None));
    let id = cx
        .listen(ANY_PORT, {
            let own = own.clone();
            move |cx, _| {
                cx.listener(own.get().expect("it was set")).expect("it listens").close();
                Machine::default()
            }
        })
        .unwrap()
        .id();
    own.set(Some(id));
    let addr = cx.listener(id).unwrap().local_addr().unwrap();
    let mut peer = TcpStream::connect(addr).unwrap();
    peer.write_all(b"heard").unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.bytes == b"heard");
    assert!(reactor.cx(&mut seen).listener(id).is_none());
}

// Descriptors.

#[test]
fn the_count_of_descriptors_returns_to_where_it_was() {
    if !child::in_child("the_count_of_descriptors_returns_to_where_it_was", &[]) {
        return;
    }
    let descriptors = || std::fs::read_dir("/proc/self/fd").expect("proc").count();
    let before = descriptors();
    for run_on in [true, false] {
        let mut reactor = Reactor::new().unwrap();
        let mut seen = Seen::default();
        let handle = reactor.handle();
        let addr = listen(&mut reactor.cx(&mut seen), |_| Machine::default());
        for n in 0..50 {
            let client = opened(move |conn| {
                conn.write(b"hello");
                if n % 2 == 0 {
                    conn.close();
                }
                Ok(())
            });
            reactor.cx(&mut seen).connect(addr, client);
            let watcher = Watcher(Box::new(|_| Ok(Step::Wait)));
            reactor.cx(&mut seen).watch(udp(), Interest::READABLE, watcher).unwrap();
        }
        // One that cannot be, and a socket that cannot be adopted.
        let file = std::fs::File::open("/proc/self/stat").unwrap();
        let no_socket = TcpStream::from(std::os::fd::OwnedFd::from(file));
        assert!(reactor.cx(&mut seen).adopt(no_socket, Machine::default()).is_err());
        until(&mut reactor, &mut seen, |cx| cx.state.bytes.len() == 250);
        if run_on {
            reactor.cx(&mut seen).shutdown(Duration::ZERO);
            reactor.run(&mut seen).unwrap();
        }
        drop(reactor);
        drop(handle);
        assert_eq!(descriptors(), before, "run to the end: {run_on}");
    }
}

// Standstill.

/// What changes a standstill, and what has to be kept for that.
type Arrange = fn(&mut Reactor<Seen>, &mut Seen) -> Option<enjamb::Handle<Seen>>;

fn standstill(arrange: Arrange) -> Vec<String> {
    log_capture::capture();
    let (ours, mut peer) = sized_pair(None);
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let id = reactor.cx(&mut seen).adopt(ours, opened(pause)).unwrap().id();
    reactor.turn(&mut seen, NOW).unwrap();
    let _kept = arrange(&mut reactor, &mut seen);
    reactor.turn(&mut seen, NOW).unwrap();
    for _ in 0..3 {
        peer.write_all(b"x").unwrap(); // so that the wait without end comes to an end here
        reactor.turn(&mut seen, None).unwrap();
    }
    assert!(reactor.cx(&mut seen).conn(id).is_some());
    log_capture::captured(Level::Warn)
}

#[test]
fn that_nothing_can_ever_happen_again_is_said_in_one_warning() {
    let warnings = standstill(|_, _| None);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("nothing can ever happen again"), "{warnings:?}");
    assert!(warnings[0].contains("paused") && warnings[0].contains("127.0.0.1:"), "{warnings:?}");
}

#[test]
fn while_something_can_still_happen_there_is_no_warning() {
    let reasons: [Arrange; 5] = [
        |reactor, _| Some(reactor.handle()),
        |reactor, seen| {
            reactor.set_resolver(|_, _| {
                loop {
                    std::thread::park(); // the helper goes with the test
                }
            });
            reactor.cx(seen).resolve("some.example", 80, |_, _| ());
            None
        },
        |reactor, seen| {
            reactor.cx(seen).after(NEVER, |_| ());
            None
        },
        |reactor, seen| {
            listen(&mut reactor.cx(seen), |_| Machine::default());
            None
        },
        |reactor, seen| {
            let (ours, theirs) = sized_pair(None);
            std::mem::forget(theirs);
            reactor.cx(seen).adopt(ours, Machine::default()).expect("adopting");
            None
        },
    ];
    for arrange in reasons {
        assert_eq!(standstill(arrange), [""; 0]);
    }
}

#[test]
fn a_listener_at_its_limit_with_nothing_but_paused_connections_is_a_standstill_too() {
    log_capture::capture();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    let mut listener = cx.listen(ANY_PORT, |_, _| opened(pause)).unwrap();
    listener.limit(1);
    let (id, addr) = (listener.id(), listener.local_addr().unwrap());
    let _first = TcpStream::connect(addr).unwrap();
    until(&mut reactor, &mut seen, |cx| cx.alive().to_string().contains(", paused"));
    while reactor.turn(&mut seen, NOW).unwrap().next.is_some() {}
    assert_eq!(log_capture::captured(Level::Warn), [""; 0]);
    let _second = TcpStream::connect(addr).unwrap(); // an event, so that the wait without end comes to an end here
    reactor.turn(&mut seen, None).unwrap();
    assert_eq!(reactor.cx(&mut seen).listener(id).unwrap().open(), 1);
    let warnings = log_capture::captured(Level::Warn);
    assert!(warnings.len() == 1 && warnings[0].contains("nothing can ever happen again"), "{warnings:?}");
}

#[test]
fn a_standstill_that_begins_with_a_message_is_said_in_run_too() {
    log_capture::capture();
    let server = ([10, 0, 0, 1], 80);
    let mut reactor = Sim::new(0).reactor().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.listen(server, |_, _| Script::new().say("x").pause()).unwrap().limit(1);
    let machine = Machine { received: Box::new(|conn, _| pause(conn)), ..Machine::default() };
    cx.connect(server, machine);
    assert_eq!(reactor.run(&mut seen).unwrap_err().kind(), ErrorKind::Deadlock); // in a simulation it can end
    let warnings = log_capture::captured(Level::Warn);
    assert!(warnings.len() == 1 && warnings[0].contains("nothing can ever happen again"), "{warnings:?}");
}

// Slow callbacks.

#[test]
fn a_slow_callback_is_warned_about_once_with_its_connection_and_how_long_it_took() {
    log_capture::capture();
    let server = ([10, 0, 0, 1], 80);
    let sim = Sim::new(0);
    let slow = Duration::from_millis(300);
    let mut reactor = sim.reactor_with(Config { slow_callback: slow, ..Config::default() }).unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).listen(server, |_, _| Script::new()).unwrap();
    let sleeper = opened(move |_| {
        sim.take_time(slow + Duration::from_millis(50));
        Ok(())
    });
    let id = reactor.cx(&mut seen).connect(server, sleeper).id();
    reactor.turn(&mut seen, Some(slow)).unwrap();
    // Waiting for longer is not a slow callback.
    reactor.cx(&mut seen).after(slow + Duration::from_millis(50), |cx| cx.stop());
    reactor.run(&mut seen).unwrap();
    let warnings = log_capture::captured(Level::Warn);
    let of_it: Vec<_> = warnings.iter().filter(|line| line.contains(&format!("connection {id} "))).collect();
    assert_eq!(of_it.len(), 1, "{warnings:?}");
    assert!(of_it[0].contains("10.0.0.1:80") && of_it[0].contains("350.0ms"), "{of_it:?}");
    assert!(of_it[0].contains("slow_callback"), "{of_it:?}");
}

#[test]
fn a_slow_call_timer_and_watch_are_named_for_what_they_are() {
    log_capture::capture();
    let nap = || thread::sleep(Duration::from_millis(30));
    let config = Config { slow_callback: Duration::from_millis(20), ..Config::default() };
    let mut reactor = Reactor::with_config(config).unwrap();
    let mut seen = Seen::default();
    reactor.handle().post(move |_| nap()).unwrap();
    let mut cx = reactor.cx(&mut seen);
    cx.after(Duration::ZERO, move |_| nap());
    let mut left = 1;
    cx.every(Duration::from_millis(1), move |cx| {
        nap();
        left -= 1;
        if left == 0 {
            cx.stop();
        }
    });
    let watcher = Watcher(Box::new(move |_| {
        nap();
        Ok(Step::Done)
    }));
    cx.watch(udp(), Interest::WRITABLE, watcher).unwrap();
    reactor.run(&mut seen).unwrap();
    let warnings = log_capture::captured(Level::Warn);
    for what in ["of a posted call held", "of a timer held", "of a periodic timer held", "of a watch "] {
        assert!(warnings.iter().any(|line| line.contains(what)), "{what}: {warnings:?}");
    }
}

#[test]
fn the_slow_callback_warning_can_be_turned_off() {
    log_capture::capture();
    let sim = Sim::new(0);
    let mut reactor = sim.reactor_with(Config { slow_callback: Duration::MAX, ..Config::default() }).unwrap();
    reactor.cx(&mut ()).after(Duration::ZERO, move |_| sim.take_time(Duration::from_secs(1_000)));
    reactor.run(&mut ()).unwrap();
    assert_eq!(log_capture::captured(Level::Warn), [""; 0]);
}

// Stopping and shutting down.

#[test]
fn a_loop_that_was_stopped_can_be_run_again_and_has_lost_nothing() {
    let seen = run_elsewhere(|| {
        let (ours, mut peer) = sized_pair(None);
        let mut reactor = Reactor::new().unwrap();
        let mut seen = Seen::default();
        let machine = Machine {
            received: Box::new(|conn, input| {
                conn.state().bytes.extend(input.take_all());
                conn.cx().stop();
                Ok(())
            }),
            ..Machine::default()
        };
        reactor.cx(&mut seen).adopt(ours, machine).unwrap();
        for n in 1..=3 {
            peer.write_all(b"x").unwrap();
            reactor.run(&mut seen).unwrap();
            assert_eq!((seen.bytes.len(), seen.ends.len()), (n, 0));
        }
        drop(peer);
        reactor.run(&mut seen).unwrap();
        (seen.bytes, seen.ends.len())
    });
    assert_eq!(seen, (b"xxx".to_vec(), 1));
}

#[test]
fn run_does_not_wait_while_a_connection_that_was_read_from_has_more() {
    let config = Config { read_buffer: 1024, read_budget: 4096, ..Config::default() };
    let mut reactor = Reactor::with_config(config).unwrap();
    let (near, mut far) = pair();
    let arriving = near.try_clone().unwrap();
    far.write_all(b"?").unwrap();
    let machine = Machine {
        received: Box::new(move |conn, input| {
            if conn.state().bytes.is_empty() {
                // It has been opened and read to its end: what comes now is one event, and the only one.
                far.write_all(&[b'!'; 32 * 1024]).unwrap();
                arrived(&arriving, 32 * 1024);
            }
            conn.state().bytes.extend(input.take_all());
            if conn.state().bytes.len() > 32 * 1024 {
                conn.cx().stop();
            }
            Ok(())
        }),
        ..Machine::default()
    };
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.adopt(near, machine).unwrap();
    cx.after(HANGS, |cx| cx.stop());
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.bytes.len(), 1 + 32 * 1024);
}

#[test]
fn run_with_nothing_to_wait_for_returns_at_once() {
    run_elsewhere(|| Reactor::<()>::new().unwrap().run(&mut ()).unwrap());
}

#[test]
fn shutdown_closes_listeners_sends_what_is_owed_and_cuts_who_does_not_take_it() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let addr = listen(&mut reactor.cx(&mut seen), |_| Machine::default());
    let owing = || {
        opened(|conn| {
            conn.write(&vec![b'x'; 1 << 20]);
            Ok(())
        })
    };
    let (good, mut good_peer) = sized_pair(Some(4096));
    let (bad, bad_peer) = sized_pair(Some(4096));
    let mut cx = reactor.cx(&mut seen);
    cx.adopt(good, owing()).unwrap();
    cx.adopt(bad, owing()).unwrap();
    cx.after(NEVER, |_| panic!("timers no longer count"));
    let _handle = reactor.handle();
    reactor.turn(&mut seen, NOW).unwrap();
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        good_peer.read_to_end(&mut bytes).map(|_| bytes.len())
    });
    reactor.cx(&mut seen).shutdown(NEVER);
    until(&mut reactor, &mut seen, |cx| cx.state.ends.len() == 1);
    assert_eq!(reader.join().unwrap().unwrap(), 1 << 20);
    assert!(seen.ends[0].result.is_ok(), "{}", seen.ends[0]);
    assert_eq!(
        TcpStream::connect(addr).map(drop).map_err(|error| error.kind()),
        Err(ErrorKind::ConnectionRefused)
    );

    // Called again, it sets the time anew; a new connection is told that it comes too late.
    let mut cx = reactor.cx(&mut seen);
    cx.connect(addr, Machine::default());
    cx.shutdown(Duration::from_millis(10));
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.ends.len(), 3);
    let error = |n: usize| seen.ends[n].result.as_ref().expect_err("it was cut").to_string();
    assert!(error(1).contains("shutting down"), "{}", error(1));
    assert!(error(2).contains(&bad_peer.local_addr().unwrap().to_string()), "{}", error(2));
    assert!(seen.ends[2].unsent > 0, "{}", seen.ends[2]);

    // After that, the loop is as good as new.
    let listener = TcpListener::bind(ANY_PORT).unwrap();
    let again = opened(|conn| {
        conn.cx().stop();
        Ok(())
    });
    reactor.cx(&mut seen).connect(listener.local_addr().unwrap(), again);
    reactor.run(&mut seen).unwrap();
}

#[test]
fn shutdown_from_within_accepted_ends_the_newcomer_too() {
    let ends = run_elsewhere(|| {
        let mut reactor = Reactor::new().unwrap();
        let mut seen = Seen::default();
        let addr = listen(&mut reactor.cx(&mut seen), |cx| {
            cx.shutdown(Duration::from_millis(10));
            Machine::default()
        });
        let _peer = TcpStream::connect(addr).unwrap();
        reactor.run(&mut seen).unwrap();
        seen.ends.len()
    });
    assert_eq!(ends, 1);
}

#[test]
fn a_socket_adopted_while_the_loop_shuts_down_does_not_keep_it() {
    let (ours, _peer) = sized_pair(None);
    let (late, _late_peer) = sized_pair(None);
    let ends = run_elsewhere(move || {
        let mut reactor = Reactor::new().unwrap();
        let mut seen = Seen::default();
        let machine = Machine {
            closed: Box::new(move |cx, _| drop(cx.adopt(late, Machine::default()))),
            ..Machine::default()
        };
        let mut cx = reactor.cx(&mut seen);
        cx.adopt(ours, machine).unwrap();
        cx.shutdown(Duration::from_millis(10));
        reactor.run(&mut seen).unwrap();
        seen.ends.len()
    });
    assert!(ends >= 1);
}

#[test]
fn listening_while_the_loop_shuts_down_is_refused() {
    let (ours, _peer) = sized_pair(Some(4096));
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = opened(|conn| {
        conn.write(&vec![b'x'; 1 << 20]);
        conn.cx().shutdown(Duration::from_millis(20));
        let error = conn.cx().listen(ANY_PORT, |_, _| Machine::default()).expect_err("it would be left over");
        conn.state().notes.push(error.to_string());
        Ok(())
    });
    reactor.cx(&mut seen).adopt(ours, machine).unwrap();
    reactor.run(&mut seen).unwrap();
    assert!(seen.notes.len() == 1 && seen.notes[0].contains("shutting down"), "{:?}", seen.notes);
    assert!(reactor.alive().to_string().starts_with("alive: 0 listeners"), "{}", reactor.alive());
}

#[test]
fn a_client_that_reconnects_when_it_is_closed_cannot_hold_up_a_shutdown() {
    struct Stubborn(SocketAddr);
    impl Protocol<usize> for Stubborn {
        fn received(&mut self, _: &mut Conn<'_, usize>, _: &mut Input<'_>) -> io::Result<()> {
            Ok(())
        }
        fn closed(self: Box<Self>, cx: &mut Cx<'_, usize>, _: End) {
            *cx.state += 1;
            let addr = self.0;
            cx.connect(addr, *self);
        }
    }
    let listener = TcpListener::bind(ANY_PORT).unwrap();
    let addr = listener.local_addr().unwrap();
    let count = run_elsewhere(move || {
        let mut reactor = Reactor::new().unwrap();
        let mut count = 0;
        let mut cx = reactor.cx(&mut count);
        cx.connect(addr, Stubborn(addr));
        cx.after(Duration::from_millis(5), |cx| cx.shutdown(Duration::from_millis(5)));
        reactor.run(&mut count).unwrap();
        count
    });
    assert_eq!(count, 2, "the one that comes too late is told so, and that is all");
    drop(listener);
}

// Embedding.

#[test]
fn another_loop_polls_the_reactor_and_turns_it() {
    let (ours, mut peer) = sized_pair(None);
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).adopt(ours, echo()).unwrap();
    let mut outer = mio::Poll::new().unwrap();
    let fd = reactor.as_raw_fd();
    outer.registry().register(&mut mio::unix::SourceFd(&fd), Token(7), Interest::READABLE).unwrap();
    let mut events = mio::Events::with_capacity(4);
    // Whatever is due now, until only events are waited for.
    while reactor.turn(&mut seen, NOW).unwrap().next.is_some() {}
    while {
        outer.poll(&mut events, NOW).unwrap();
        !events.is_empty()
    } {
        reactor.turn(&mut seen, NOW).unwrap();
    }
    let mut wait_outside = |reactor: &mut Reactor<Seen>, seen: &mut Seen| {
        outer.poll(&mut events, Some(HANGS)).unwrap();
        assert!(events.iter().any(|event| event.token() == Token(7)), "the outer loop is not told");
        reactor.turn(seen, NOW).unwrap()
    };

    peer.write_all(b"ping").unwrap();
    let turn = wait_outside(&mut reactor, &mut seen);
    assert!(turn.alive && turn.next.is_none(), "{turn:?}");
    let mut bytes = [0; 4];
    peer.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"ping");

    let handle = reactor.handle();
    thread::spawn(move || handle.post(|cx| cx.state.notes.push("posted".into())));
    while seen.notes.is_empty() {
        wait_outside(&mut reactor, &mut seen);
    }

    peer.shutdown(Shutdown::Write).unwrap();
    while seen.ends.is_empty() {
        wait_outside(&mut reactor, &mut seen);
    }
    drop(peer);
    while reactor.turn(&mut seen, NOW).unwrap().alive {} // the handle's farewell
}

#[test]
fn an_edge_triggered_outer_loop_comes_to_all_that_are_ready_when_one_batch_does_not_hold_them() {
    const BATCH: usize = 8;
    for ready in [BATCH - 1, BATCH, BATCH + 1, 5 * BATCH] {
        let mut reactor = Reactor::with_config(Config { events: BATCH, ..Config::default() }).unwrap();
        let mut seen = Seen::default();
        let mut peers = Vec::new();
        for _ in 0..ready {
            let (ours, theirs) = pair();
            peers.push((ours.try_clone().unwrap(), theirs));
            reactor.cx(&mut seen).adopt(ours, Machine::default()).unwrap();
        }
        while reactor.turn(&mut seen, NOW).unwrap().next.is_some() {}
        let mut outer = mio::Poll::new().unwrap(); // which is edge-triggered
        let fd = reactor.as_raw_fd();
        outer.registry().register(&mut mio::unix::SourceFd(&fd), Token(7), Interest::READABLE).unwrap();
        for (ours, theirs) in &mut peers {
            theirs.write_all(b"x").unwrap();
            arrived(ours, 1);
        }
        let mut events = mio::Events::with_capacity(4);
        while seen.bytes.len() < ready {
            outer.poll(&mut events, NOW).unwrap();
            assert!(
                !events.is_empty(),
                "the outer loop hears no more, with {} of {ready} told",
                seen.bytes.len()
            );
            while reactor.turn(&mut seen, NOW).unwrap().next == Some(Duration::ZERO) {}
        }
    }
}

#[test]
fn the_first_turn_of_a_reactor_waits_for_what_it_was_told_to() {
    let mut reactor = Sim::new(0).reactor().unwrap();
    let mut fired = false;
    reactor.cx(&mut fired).after(Duration::from_millis(5), |cx| *cx.state = true);
    let turn = reactor.turn(&mut fired, None).unwrap();
    assert!(fired && turn.next.is_none(), "it did nothing: {turn:?}");

    let mut reactor = Reactor::<()>::new().unwrap();
    let _handle = reactor.handle();
    let start = Instant::now();
    let turn = reactor.turn(&mut (), Some(Duration::from_millis(10))).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(10), "{:?}", start.elapsed());
    assert!(turn.alive && turn.next.is_none(), "{turn:?}");
}

#[test]
fn the_first_turn_of_a_reactor_runs_what_was_posted_before() {
    let simulated = Sim::new(0).reactor().unwrap();
    for mut reactor in [Reactor::new().unwrap(), simulated] {
        let mut count = 0;
        let handle = reactor.handle();
        handle.post(|cx: &mut Cx<'_, i32>| *cx.state += 1).unwrap();
        reactor.turn(&mut count, None).unwrap();
        assert_eq!(count, 1);
    }
}

#[test]
fn a_turn_says_when_the_next_is_due() {
    let mut reactor = Reactor::new().unwrap();
    let turn = reactor.turn(&mut (), NOW).unwrap();
    assert_eq!((turn.alive, turn.next), (false, None));
    let delay = Duration::from_millis(500);
    let timer = reactor.cx(&mut ()).after(delay, |_| ());
    let turn = reactor.turn(&mut (), NOW).unwrap();
    let next = turn.next.expect("there is a timer");
    assert!(turn.alive && next <= delay + Duration::from_millis(1), "{turn:?}");
    reactor.cx(&mut ()).cancel(timer);
    let turn = reactor.turn(&mut (), NOW).unwrap();
    assert_eq!((turn.alive, turn.next), (false, None));
}

#[test]
fn an_idle_loop_waits_as_long_as_it_may_and_no_longer() {
    let mut reactor = Reactor::<()>::new().unwrap();
    let start = Instant::now();
    reactor.turn(&mut (), Some(Duration::from_millis(10))).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(10), "{:?}", start.elapsed());
}

#[test]
fn a_turn_after_stop_goes_round_all_the_same() {
    let mut reactor = Reactor::new().unwrap();
    let mut count = 0;
    reactor.cx(&mut count).after(Duration::ZERO, |cx| {
        *cx.state += 1;
        cx.stop();
        cx.after(Duration::ZERO, |cx| *cx.state += 1);
    });
    while reactor.turn(&mut count, Some(HANGS)).unwrap().alive {}
    assert_eq!(count, 1);
    let start = Instant::now();
    while count < 2 {
        assert!(start.elapsed() < HANGS);
        reactor.turn(&mut count, Some(Duration::from_millis(10))).unwrap();
    }
}
