//! Accepting that fails: no descriptors, and errors of accept(2) that strace injects.

use std::io::{self};
use std::time::{Duration, Instant};

use super::accepting::{Seen, clients, come_to_rest, is_served, listen, turn, turns_until};
use crate::common::child::in_child;
use crate::common::logged;
use crate::common::times::HANGS;
use crate::common::until::until;
use enjamb::{Conn, Input, Protocol, Reactor, Turn};
use log::Level;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

#[test]
fn out_of_descriptors_is_neither_a_spin_nor_a_stall_and_accepting_goes_on_unprompted() {
    if !in_child(out_of_descriptors_is_neither_a_spin_nor_a_stall_and_accepting_goes_on_unprompted, &[]) {
        return;
    }
    logged::capture();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (_, addr) = listen(&mut reactor, &mut seen);
    let mut early = clients(addr, 1).remove(0);
    until(&mut reactor, &mut seen, |cx| cx.state.opened.len() == 1);
    let waiting = clients(addr, 5);
    let hoard = hoard();
    // 10 ms, 20 ms, 40 ms: it looks again, less and less often, and sleeps meanwhile.
    let turns = turns_until(&mut reactor, &mut seen, |_| failures() >= 4);
    assert!(turns <= 2 * 4 + 2, "{turns} turns for one failure and three retries");
    assert_eq!(seen.accepted, 1);
    // The rest of the loop works.
    is_served(&mut reactor, &mut seen, &mut early);
    // There are descriptors again; no event says so, and no client comes to say it either.
    drop(hoard);
    turns_until(&mut reactor, &mut seen, |seen| seen.accepted == 6);
    let warnings = logged::captured(Level::Warn);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with(&format!("accepting on {addr}: ")), "{warnings:?}");
    drop((early, waiting));
    until(&mut reactor, &mut seen, |cx| cx.state.ends.len() == 6);
    assert_eq!(come_to_rest(&mut reactor, &mut seen), None, "no retry is left over");
}

/// Uses up the descriptors of this process.
fn hoard() -> Vec<std::fs::File> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
    std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect()
}

/// How often accepting has failed: the first time it is a warning, later on a note.
fn failures() -> usize {
    let lines = [Level::Warn, Level::Debug].map(logged::captured).concat();
    lines.iter().filter(|line| line.starts_with("accepting on")).count()
}

#[test]
fn each_retry_of_accepting_waits_twice_as_long_as_the_one_before() {
    if !in_child(each_retry_of_accepting_waits_twice_as_long_as_the_one_before, &[]) {
        return;
    }
    logged::capture();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (_, addr) = listen(&mut reactor, &mut seen);
    let _client = clients(addr, 1);
    let _hoard = hoard();
    let mut waits = Vec::new();
    let start = Instant::now();
    while waits.len() < 5 {
        assert!(start.elapsed() < HANGS, "a stall; {}", reactor.alive());
        let next = reactor.turn(&mut seen, Some(HANGS)).unwrap().next;
        if failures() > waits.len() {
            waits.push(next.expect("it will try again"));
        }
    }
    // How long the loop will wait was worked out when that turn ended, not a moment later; in whole milliseconds.
    for (wait, expected) in waits.iter().zip([10, 20, 40, 80, 160].map(Duration::from_millis)) {
        assert!(*wait > expected / 2 && *wait <= expected + Duration::from_millis(1), "{waits:?}");
    }
}

#[test]
fn after_a_success_accepting_backs_off_from_the_beginning_and_does_not_warn_again() {
    if !in_child(after_a_success_accepting_backs_off_from_the_beginning_and_does_not_warn_again, &[]) {
        return;
    }
    logged::capture();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (_, addr) = listen(&mut reactor, &mut seen);
    let _clients = clients(addr, 2);
    let mut hoard = hoard();
    turns_until(&mut reactor, &mut seen, |_| failures() == 4); // the next wait would be 160 ms
    hoard.pop(); // a descriptor for one of the two
    let start = Instant::now();
    // Zero where the next try is due already, which says nothing of the wait.
    let next = loop {
        assert!(start.elapsed() < HANGS, "a stall; {}", reactor.alive());
        let next = reactor.turn(&mut seen, Some(Duration::from_millis(1))).unwrap().next;
        if failures() > 4 && seen.opened.len() == 1 && next != Some(Duration::ZERO) {
            break next.expect("it will try again");
        }
    };
    assert_eq!(seen.accepted, 1);
    let failed_since = u32::try_from(failures() - 4).unwrap();
    let expected = Duration::from_millis(10) * 2u32.pow(failed_since - 1);
    assert!(next <= expected + Duration::from_millis(1), "{next:?} after {failed_since} failures");
    assert_eq!(logged::captured(Level::Warn).len(), 1, "{:?}", logged::captured(Level::Warn));
}

#[test]
fn a_panic_behind_a_listener_that_tries_again_leaves_one_retry_not_two() {
    if !in_child(a_panic_behind_a_listener_that_tries_again_leaves_one_retry_not_two, &[]) {
        return;
    }
    struct Panics;
    impl Protocol<Seen> for Panics {
        fn opened(&mut self, _: &mut Conn<'_, Seen>) -> io::Result<()> {
            panic!("in opened")
        }
        fn received(&mut self, _: &mut Conn<'_, Seen>, _: &mut Input<'_>) -> io::Result<()> {
            Ok(())
        }
    }
    logged::capture();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (_, addr) = listen(&mut reactor, &mut seen);
    let _clients = clients(addr, 1);
    let (near, _far) = std::os::unix::net::UnixStream::pair().unwrap();
    let hoard = hoard();
    turns_until(&mut reactor, &mut seen, |_| failures() == 1);
    // The timer has fired, and the listener is in the queue to try again. Behind it comes the one that panics.
    until(&mut reactor, &mut seen, |cx| cx.alive().to_string().contains(", 0 timers"));
    assert_eq!(failures(), 1);
    reactor.cx(&mut seen).adopt(near, Panics).unwrap();
    let panicking = std::panic::AssertUnwindSafe(|| turn(&mut reactor, &mut seen));
    assert!(std::panic::catch_unwind(panicking).is_err());
    assert_eq!(failures(), 2, "it has tried before the panic");
    for _ in 0..5 {
        turn(&mut reactor, &mut seen);
        assert!(!reactor.alive().to_string().contains(", 2 timers"), "{}", reactor.alive());
    }
    drop(hoard);
    turns_until(&mut reactor, &mut seen, |seen| seen.accepted == 1);
}

/// How strace makes the first accepts of a process fail.
fn failing(test: impl Fn(), error: &str, times: usize) -> bool {
    let inject = format!("inject=accept4:error={error}:when=1..{times}");
    in_child(test, &["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject])
}

/// Three clients come at once, and the first accepts fail; nobody comes later to give the listener another edge.
fn accepts_in_the_end() -> (usize, Vec<String>) {
    logged::capture();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (_, addr) = listen(&mut reactor, &mut seen);
    let clients = clients(addr, 3);
    let turns = turns_until(&mut reactor, &mut seen, |seen| seen.accepted == 3);
    drop(clients);
    until(&mut reactor, &mut seen, |cx| cx.state.ends.len() == 3);
    (turns, logged::captured(Level::Warn))
}

#[test]
fn five_accepts_that_fail_with_emfile_are_warned_about_once_and_retried() {
    if failing(five_accepts_that_fail_with_emfile_are_warned_about_once_and_retried, "EMFILE", 5) {
        let (_, warnings) = accepts_in_the_end();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
    }
}

#[test]
fn failures_that_come_and_go_are_warned_about_once_in_a_second() {
    // Each client's accept fails, works with the next try, and then finds the backlog empty.
    let inject = "inject=accept4:error=EMFILE:when=1+3";
    let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", inject];
    if !in_child(failures_that_come_and_go_are_warned_about_once_in_a_second, &strace) {
        return;
    }
    logged::capture();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (_, addr) = listen(&mut reactor, &mut seen);
    let start = Instant::now();
    for n in 1..=20 {
        let _client = clients(addr, 1);
        turns_until(&mut reactor, &mut seen, |seen| seen.accepted == n);
    }
    let seconds = start.elapsed().as_secs() as usize + 1;
    let warnings = logged::captured(Level::Warn);
    assert!((1..=seconds).contains(&warnings.len()), "{warnings:?} in {seconds} s");
    assert!(failures() >= 20, "the others are notes");
}

#[test]
fn an_unknown_accept_error_is_retried_like_a_lack_of_descriptors() {
    if failing(an_unknown_accept_error_is_retried_like_a_lack_of_descriptors, "EPROTO", 3) {
        let (_, warnings) = accepts_in_the_end();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
    }
}

#[test]
fn a_peer_that_gave_up_while_it_waited_does_not_stop_the_next_from_being_accepted() {
    if failing(
        a_peer_that_gave_up_while_it_waited_does_not_stop_the_next_from_being_accepted,
        "ECONNABORTED",
        3,
    ) {
        assert_eq!(accepts_in_the_end(), (1, Vec::new()));
    }
}

#[test]
fn an_interrupted_accept_is_made_again_at_once() {
    if failing(an_interrupted_accept_is_made_again_at_once, "EINTR", 3) {
        assert_eq!(accepts_in_the_end(), (1, Vec::new()));
    }
}

#[test]
fn a_listener_closed_while_it_backs_off_leaves_no_retry_behind() {
    if !failing(a_listener_closed_while_it_backs_off_leaves_no_retry_behind, "EMFILE", 1000) {
        return;
    }
    logged::capture();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (id, addr) = listen(&mut reactor, &mut seen);
    let _clients = clients(addr, 1);
    turns_until(&mut reactor, &mut seen, |_| !logged::captured(Level::Warn).is_empty());
    reactor.cx(&mut seen).listener(id).unwrap().close();
    let Turn { alive, next, .. } = turn(&mut reactor, &mut seen);
    assert_eq!((alive, next), (false, None), "{}", reactor.alive());
}
