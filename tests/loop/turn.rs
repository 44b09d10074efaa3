//! One turn: interrupted polls, sources that callbacks insert, descriptors, how long a turn waits.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::sources::{Watcher, listen, run_elsewhere, udp};
use crate::common::child;
use crate::common::machine::{Machine, Seen, close, opened};
use crate::common::pair::sized_pair;
use crate::common::pair::{arrived, pair};
use crate::common::places::ANY_PORT;
use crate::common::times::{HANGS, NEVER, NOW};
use crate::common::until::until;
use enjamb::mio::Interest;
use enjamb::sim::Sim;
use enjamb::{Config, Cx, Reactor, Step};

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
    const ADDR: &str = "ENJAMB_TEST_ASKS";
    const LIMIT: Duration = Duration::from_millis(300);
    if let Ok(addr) = std::env::var(ADDR) {
        return asks(&addr, LIMIT);
    }
    let listener = TcpListener::bind(ANY_PORT).unwrap();
    let mut command = child::only(a_process_stopped_past_its_deadline_takes_the_answer_that_came_meanwhile);
    command.env(ADDR, listener.local_addr().unwrap().to_string());
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

#[test]
fn the_count_of_descriptors_returns_to_where_it_was() {
    if !child::in_child(the_count_of_descriptors_returns_to_where_it_was, &[]) {
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

#[test]
fn a_poll_that_a_signal_interrupts_does_not_tell_that_an_answer_has_not_come() {
    const LIMIT: Duration = Duration::from_millis(20);
    let interrupt = "inject=?epoll_wait,?epoll_pwait:error=EINTR:when=2";
    if !child::in_child(
        a_poll_that_a_signal_interrupts_does_not_tell_that_an_answer_has_not_come,
        &["strace", "-f", "-qq", "-o", "/dev/null", "-e", interrupt],
    ) {
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
