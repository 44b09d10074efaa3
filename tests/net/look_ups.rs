//! Many look-ups at once: some hang, some are equal, some are cancelled.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::common::machine;
use crate::common::machine::{Machine, Seen};
use crate::common::places::listener;
use crate::common::times::ms;
use crate::common::until::until;
use enjamb::pool::{self, Key, Phase, Pool};
use enjamb::{Config, Conn, Cx, End, Input, Protocol, Reactor};

/// Shorter than the three seconds after which, with one thread, the third of the names that hang is seen to, and long enough
/// for a name that does not hang, on a loaded machine.
const LIMIT: Duration = Duration::from_millis(2_500);
const LONG: Duration = Duration::from_secs(3600);

/// A resolver in which names that begin with `hang` hang until the gate is opened, and all others are on this host.
#[derive(Clone, Default)]
struct Names(Arc<(Mutex<Asked>, Condvar)>);

#[derive(Default)]
struct Asked {
    hosts: Vec<String>,
    open: bool,
}

impl Names {
    fn answer(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let (asked, gate) = &*self.0;
        let mut asked = asked.lock().unwrap();
        asked.hosts.push(host.to_string());
        let _open = gate.wait_while(asked, |asked| host.starts_with("hang") && !asked.open).unwrap();
        match host.strip_prefix("hang-no-") {
            Some("number") => Err(io::Error::from_raw_os_error(nix::libc::ENETDOWN)),
            Some(why) => Err(io::Error::other(why.to_string())),
            None => Ok(vec![([127, 0, 0, 1], port).into()]),
        }
    }
    fn open(&self) {
        self.0.0.lock().unwrap().open = true;
        self.0.1.notify_all();
    }
    fn asked(&self) -> Vec<String> {
        self.0.0.lock().unwrap().hosts.clone()
    }
    fn count(&self) -> usize {
        self.0.0.lock().unwrap().hosts.len()
    }
}

struct Bench {
    names: Names,
    reactor: Reactor<Seen>,
    seen: Seen,
    /// Where the names lead to.
    port: u16,
    _server: TcpListener,
}

impl Bench {
    fn new(config: Config) -> Self {
        let names = Names::default();
        let mut reactor = Reactor::with_config(config).unwrap();
        let resolver = names.clone();
        reactor.set_resolver(move |host, port| resolver.answer(host, port));
        let (server, addr) = listener();
        Bench { names, reactor, seen: Seen::default(), port: addr.port(), _server: server }
    }

    fn cx(&mut self) -> Cx<'_, Seen> {
        self.reactor.cx(&mut self.seen)
    }

    /// A connect that notes its host when it stands.
    fn connect(&mut self, host: &str) {
        self.connect_and(host, |_| ());
    }

    /// The same, and what is done to it at once.
    fn connect_and(&mut self, host: &str, then: impl FnOnce(&mut Conn<'_, Seen>)) {
        let (port, name) = (self.port, host.to_string());
        let opened: machine::Call = Box::new(move |conn| {
            conn.state().notes.push(name.clone());
            conn.close();
            Ok(())
        });
        let machine = Machine { opened, ..Machine::default() };
        then(&mut self.cx().connect((host, port), machine));
    }

    fn resolve(&mut self, host: &'static str) {
        self.cx().resolve(host, 1, move |cx, found| {
            cx.state.notes.push(found.map_or_else(|error| error.to_string(), |_| host.to_string()));
        });
    }

    #[track_caller]
    fn until(&mut self, done: impl FnMut(&mut Cx<'_, Seen>) -> bool) {
        until(&mut self.reactor, &mut self.seen, done);
    }

    /// Waits until so many questions have reached the resolver.
    #[track_caller]
    fn until_asked(&mut self, count: usize) {
        let names = self.names.clone();
        self.until(|_| names.count() >= count);
    }

    fn turn(&mut self) {
        self.reactor.turn(&mut self.seen, Some(Duration::ZERO)).unwrap();
    }

    fn failures(&self) -> Vec<&io::Error> {
        self.seen.ends.iter().filter_map(|end| end.result.as_ref().err()).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.names.open(); // or their threads would outlive the test
    }
}

#[test]
fn names_that_hang_do_not_hold_up_others() {
    let mut bench = Bench::new(Config::default());
    for host in ["hang-1", "hang-2", "hang-3", "hang-4", "hang-5", "good-1", "good-2", "good-3"] {
        bench.connect(host);
    }
    bench.until(|cx| cx.state.notes.len() == 3);
    bench.seen.notes.sort();
    assert_eq!(bench.seen.notes, ["good-1", "good-2", "good-3"]);
    assert_eq!(bench.failures().len(), 0, "the others hang on");
}

#[test]
fn the_time_of_a_look_up_begins_with_it_and_not_with_its_wait() {
    let config = Config { connect_timeout: LIMIT, resolver_threads: 1, ..Config::default() };
    let mut bench = Bench::new(config);
    for host in ["hang-1", "hang-2", "hang-3", "good"] {
        bench.connect(host); // each begins when the one before is seen to hang
    }
    bench.until(|cx| cx.state.ends.len() == 4);
    assert_eq!(bench.seen.notes, ["good"]);
    assert_eq!(bench.failures().len(), 3);
    for failure in bench.failures() {
        assert_eq!(failure.kind(), ErrorKind::TimedOut);
    }
}

#[test]
fn the_time_of_a_look_up_that_had_to_wait_ends_too() {
    let config = Config { connect_timeout: ms(300), resolver_threads: 1, ..Config::default() };
    let mut bench = Bench::new(config);
    bench.connect("hang-1");
    bench.connect("hang-2");
    bench.until(|cx| cx.state.ends.len() == 2);
    for failure in bench.failures() {
        assert!(failure.to_string().contains(": timed out, resolving"), "{failure}");
    }
    assert_eq!(bench.names.asked(), ["hang-1", "hang-2"]);
}

#[test]
fn waiting_for_a_thread_has_a_limit_of_its_own() {
    let config = Config { resolver_threads: 1, resolver_wait: ms(50), ..Config::default() };
    let mut bench = Bench::new(config);
    bench.connect_and("hang", |conn| conn.deadline(None));
    bench.connect("good");
    bench.until(|cx| cx.state.ends.len() == 1);
    let failure = bench.failures()[0];
    assert_eq!(failure.kind(), ErrorKind::TimedOut);
    let expected =
        format!("connecting to good:{}: timed out, waiting for a thread to look it up", bench.port);
    assert!(failure.to_string().starts_with(&expected), "{failure}");
}

#[test]
fn a_deadline_that_was_set_for_a_connect_holds_for_its_wait_and_all() {
    let config =
        Config { connect_timeout: LONG, resolver_threads: 1, resolver_wait: LONG, ..Config::default() };
    let mut bench = Bench::new(config);
    bench.connect("hang-1");
    bench.connect_and("hang-2", |conn| conn.deadline(ms(1500))); // begins after a second, and is not given an hour then
    bench.until(|cx| cx.state.ends.len() == 1);
    assert_eq!(bench.failures()[0].kind(), ErrorKind::TimedOut);
}

#[test]
fn in_a_pool_names_that_hang_take_their_own_time_only() {
    let mut bench = Bench::new(Config { resolver_threads: 1, ..Config::default() });
    let config = pool::Config { resolve_timeout: Some(LIMIT), ..pool::Config::default() };
    let pool = Pool::new(config).unwrap();
    for host in ["hang-1", "hang-2", "hang-3", "good-1", "good-2", "good-3"] {
        let opened: machine::Call = Box::new(move |conn| {
            conn.state().notes.push(host.to_string());
            conn.release(pool::Reuse::Reusable);
            Ok(())
        });
        let machine = Machine { opened, ..Machine::default() };
        let key = Key::new((host, bench.port));
        pool.acquire(&mut bench.cx(), &key, machine);
    }
    bench.until(|cx| cx.state.ends.len() == 6);
    bench.seen.notes.sort();
    assert_eq!(bench.seen.notes, ["good-1", "good-2", "good-3"]);
    for failure in bench.failures() {
        let phase = match pool::Error::of(failure) {
            Some(pool::Error::Connect { phase, .. }) => *phase,
            other => panic!("{other:?}"),
        };
        assert_eq!((phase, failure.kind()), (Phase::Resolve, ErrorKind::TimedOut));
    }
}

#[test]
fn a_name_that_many_ask_for_is_asked_once_and_all_are_told_in_order() {
    let mut bench = Bench::new(Config::default());
    for _ in 0..50 {
        bench.connect("hang");
        bench.resolve("hang"); // for another port
    }
    bench.until_asked(2);
    bench.turn();
    let alive = bench.reactor.alive().to_string();
    assert!(alive.contains("50 connections") && alive.ends_with("looking up hang"), "{alive}");
    bench.names.open();
    bench.until(|cx| cx.state.notes.len() == 100);
    assert_eq!(bench.names.asked(), ["hang", "hang"], "one for each port");
    // What was asked then is answered; what is asked now is another question.
    bench.resolve("hang");
    bench.until(|cx| cx.state.notes.len() == 101);
    assert_eq!(bench.names.count(), 3);
}

#[test]
fn a_name_that_waits_for_a_thread_is_shared_too() {
    let mut bench = Bench::new(Config { resolver_threads: 1, ..Config::default() });
    bench.resolve("hang");
    for _ in 0..50 {
        bench.connect("good");
    }
    bench.until_asked(1);
    bench.names.open();
    bench.until(|cx| cx.state.notes.len() == 51);
    assert_eq!(bench.names.asked(), ["hang", "good"]);
}

#[test]
fn one_that_gives_up_leaves_the_others_their_look_up() {
    let mut bench = Bench::new(Config { resolver_threads: 1, ..Config::default() });
    bench.resolve("hang");
    for host in ["hang", "good"] {
        for n in 0..4 {
            bench.connect_and(host, |conn| {
                if n < 3 {
                    conn.abort(io::Error::other("changed my mind"));
                }
            });
        }
    }
    bench.until(|cx| cx.state.ends.len() == 6);
    bench.names.open();
    bench.until(|cx| cx.state.ends.len() == 8);
    bench.seen.notes.sort();
    assert_eq!(bench.seen.notes, ["good", "hang", "hang"]);
    assert_eq!(bench.names.count(), 3, "hang for two ports, and good");
}

#[test]
fn a_name_that_hangs_and_is_asked_for_again_and_again_is_under_way_once() {
    let mut bench = Bench::new(Config::default());
    for n in 1..=20 {
        bench.connect_and("hang", |conn| conn.abort(io::Error::other("no patience")));
        bench.until(|cx| cx.state.ends.len() == n);
        bench.until_asked(1);
    }
    assert_eq!(bench.names.count(), 1);
    bench.connect("hang");
    bench.names.open();
    bench.until(|cx| cx.state.notes.len() == 1);
    assert_eq!(bench.names.count(), 1);
}

#[test]
fn a_look_up_that_nobody_waits_for_does_not_keep_the_loop() {
    let mut bench = Bench::new(Config { resolver_threads: 1, ..Config::default() });
    for host in ["hang", "waits"] {
        bench.connect_and(host, |conn| conn.abort(io::Error::other("changed my mind")));
    }
    bench.until(|cx| cx.state.ends.len() == 2);
    // None for the one that waited, either.
    assert!(bench.reactor.alive().to_string().contains("0 timers"), "{}", bench.reactor.alive());
    bench.reactor.run(&mut bench.seen).unwrap(); // returns
    bench.names.open();
    bench.resolve("other");
    bench.reactor.run(&mut bench.seen).unwrap();
    assert_eq!(bench.seen.notes, ["other"]);
    assert_eq!(bench.names.asked(), ["hang", "other"]);
}

#[test]
fn all_who_share_a_look_up_are_told_why_it_failed() {
    let mut bench = Bench::new(Config::default());
    for host in ["hang-no-number", "hang-no-why"] {
        for _ in 0..3 {
            bench.connect(host);
        }
    }
    bench.until_asked(2);
    bench.names.open();
    bench.until(|cx| cx.state.ends.len() == 6);
    let down = io::Error::from_raw_os_error(nix::libc::ENETDOWN);
    for failure in bench.failures() {
        let mut sources = std::iter::successors(std::error::Error::source(failure), |error| error.source());
        let number = sources.find_map(|error| error.downcast_ref::<io::Error>()?.raw_os_error());
        let (host, why) = match number {
            Some(nix::libc::ENETDOWN) => ("hang-no-number", down.to_string()),
            _ => ("hang-no-why", "why".to_string()),
        };
        let expected = format!("connecting to {host}:{}: resolving {host}: {why}; is it spelt", bench.port);
        assert!(failure.to_string().starts_with(&expected), "{failure}");
        assert_eq!(failure.kind(), if number.is_some() { down.kind() } else { ErrorKind::Other });
    }
}

#[test]
fn a_call_that_panics_does_not_keep_the_answer_from_others_who_share_it() {
    let mut bench = Bench::new(Config::default());
    bench.cx().resolve("hang", 1, |_, _| panic!("this panic is part of the test"));
    bench.resolve("hang");
    bench.resolve("hang");
    bench.names.open();
    let panicked = catch_unwind(AssertUnwindSafe(|| bench.until(|cx| cx.state.notes.len() == 2)));
    assert!(panicked.is_err());
    bench.until(|cx| cx.state.notes.len() == 2);
}

#[test]
fn another_resolver_is_asked_anew() {
    let mut bench = Bench::new(Config::default());
    bench.resolve("hang");
    bench.until_asked(1);
    bench.reactor.set_resolver(|_, _| Err(io::Error::other("I do not know it")));
    bench.resolve("hang");
    bench.until(|cx| cx.state.notes.len() == 1);
    assert!(bench.seen.notes[0].contains("I do not know it"), "{:?}", bench.seen.notes);
    bench.names.open();
    bench.until(|cx| cx.state.notes.len() == 2);
    assert_eq!(bench.seen.notes[1], "hang", "the first asked the other");
}

/// Counts those that are closed.
struct Counted;

impl Protocol<usize> for Counted {
    fn received(&mut self, _: &mut Conn<'_, usize>, _: &mut Input<'_>) -> io::Result<()> {
        unreachable!("it is never connected")
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, usize>, _: End) {
        *cx.state += 1;
    }
}

#[test]
fn what_is_taken_back_costs_the_same_however_much_waits() {
    // Were all that wait gone through for each, this would take 3 billion steps.
    const MANY: usize = 80_000;
    let names = Names::default();
    let mut reactor = Reactor::with_config(Config { resolver_threads: 1, ..Config::default() }).unwrap();
    let (resolver, mut closed) = (names.clone(), 0);
    reactor.set_resolver(move |host, port| resolver.answer(host, port));
    for n in 0..MANY {
        reactor.cx(&mut closed).connect((format!("hang-{n}"), 1), Counted).deadline(Duration::ZERO);
    }
    until(&mut reactor, &mut closed, |cx| *cx.state == MANY);
    assert!(names.count() <= 65, "{} were not taken back", names.count());
    names.open();
}

#[cfg(feature = "sim")]
mod simulated {
    use super::*;
    use enjamb::sim::Sim;

    #[test]
    fn one_look_up_answers_all_who_have_asked_by_then() {
        let sim = Sim::new(1);
        let mut reactor = sim.reactor::<Vec<(u64, u128)>>().unwrap();
        let mut answered = Vec::new();
        sim.name("some.example", ms(100), [[10, 0, 0, 1]]);
        for at in [0, 40, 99, 120] {
            let clock = sim.clone();
            reactor.cx(&mut answered).after(ms(at), move |cx| {
                cx.resolve("some.example", 80, move |cx, found| {
                    assert_eq!(found.unwrap(), [([10, 0, 0, 1], 80).into()]);
                    cx.state.push((at, clock.now().as_millis()));
                });
            });
        }
        reactor.run(&mut answered).unwrap();
        assert_eq!(answered, [(0, 101), (40, 101), (99, 101), (120, 221)]); // timers go by whole milliseconds
    }

    #[test]
    fn one_that_gives_up_leaves_the_others_their_look_up() {
        let sim = Sim::new(1);
        let mut reactor = sim.reactor().unwrap();
        let mut seen = Seen::default();
        sim.name("some.example", ms(100), [[10, 0, 0, 1]]);
        for limit in [30, 200, 60] {
            reactor.cx(&mut seen).connect("some.example:80", Machine::default()).deadline(ms(limit));
        }
        reactor.run(&mut seen).unwrap();
        let kinds = seen.ends.iter().map(|end| end.result.as_ref().unwrap_err().kind());
        let expected = [ErrorKind::TimedOut, ErrorKind::TimedOut, ErrorKind::ConnectionRefused];
        assert_eq!(kinds.collect::<Vec<_>>(), expected);
        assert!(sim.now() >= ms(100) && sim.now() < ms(200), "{:?}", sim.now());
    }
}
