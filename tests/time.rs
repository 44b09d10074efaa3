//! Covers the traps of time: rounding, overflow, order, starvation, drift and bursts, cancelling, deadlines.
#![cfg(feature = "sim")]

#[path = "common/machine.rs"]
mod machine;
#[path = "common/sized.rs"]
mod sized;
#[path = "common/until.rs"]
mod until;

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use enjamb::sim::{Link, Script, Sim};
use enjamb::{Config, Conn, Cx, End, Input, Protocol, Reactor, TimerId};
use machine::{Machine, Seen};
use sized::sized_pair;
use until::until;

const NOW: Option<Duration> = Some(Duration::ZERO);
/// Where a simulated server is.
const AT: ([u8; 4], u16) = ([10, 0, 0, 1], 80);
const NEVER: Duration = Duration::from_secs(3600);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// With a deadline as soon as it is opened.
fn opened_with(deadline: Duration) -> Machine {
    Machine {
        opened: Box::new(move |conn| {
            conn.deadline(deadline);
            Ok(())
        }),
        ..Machine::default()
    }
}

#[test]
fn a_timer_never_fires_early_whatever_fraction_of_a_millisecond_it_is_set_for() {
    let mut reactor = Reactor::new().unwrap();
    let mut fired = 0;
    let delays = [0, 1, 999, 1_000, 1_001, 1_500, 2_999, 7_300, 10_001, 63_999, 64_001, 70_007];
    for micros in delays {
        let delay = Duration::from_micros(micros);
        let set = Instant::now();
        reactor.cx(&mut fired).after(delay, move |cx| {
            let passed = set.elapsed();
            assert!(passed >= delay, "{passed:?} after it was set for {delay:?}");
            assert!(cx.now() >= set + delay, "by the clock of the loop");
            *cx.state += 1;
        });
    }
    reactor.run(&mut fired).unwrap();
    assert_eq!(fired, delays.len());
}

#[test]
fn waiting_for_a_timer_takes_few_turns_because_it_does_not_spin_for_the_last_fraction() {
    for micros in [2_100, 2_500, 10_900, 64_300, 100_100] {
        let mut reactor = Reactor::new().unwrap();
        let mut fired = false;
        reactor.cx(&mut fired).after(Duration::from_micros(micros), |cx| *cx.state = true);
        let mut turns = 0;
        while !fired {
            reactor.turn(&mut fired, None).unwrap();
            turns += 1;
        }
        // One more where a timer moves from one level of the wheel to the next.
        assert!(turns <= 3, "{turns} turns for {micros} µs");
    }
}

#[test]
fn the_longest_durations_neither_panic_nor_fire() {
    let config = Config {
        connect_timeout: Duration::MAX,
        close_timeout: Duration::MAX,
        slow_callback: Duration::MAX,
        ..Config::default()
    };
    let mut reactor = Reactor::with_config(config).unwrap();
    let mut seen = Seen::default();
    let (ours, mut peer) = sized_pair(Some(4096));
    let machine = Machine {
        opened: Box::new(|conn| {
            conn.deadline(Duration::MAX);
            Ok(())
        }),
        ..Machine::default()
    };
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut cx = reactor.cx(&mut seen);
    let id = cx.adopt(ours, machine).unwrap().id();
    cx.connect(listener.local_addr().unwrap(), Machine::default());
    for delay in
        [Duration::MAX, Duration::MAX - ms(1), Duration::from_secs(u64::MAX / 1_000), NEVER * 1_000_000]
    {
        cx.after(delay, |_| panic!("it is not that late"));
        cx.every(delay, |_| panic!("it is not that late"));
    }
    cx.after(ms(3), |cx| cx.state.notes.push("soon".into()));
    // The wait is long as well, and ends with the next timer all the same.
    while seen.notes.is_empty() {
        reactor.turn(&mut seen, Some(Duration::MAX)).unwrap();
    }
    let mut cx = reactor.cx(&mut seen);
    cx.conn(id).unwrap().write(&vec![0; 1 << 20]);
    cx.conn(id).unwrap().close();
    cx.shutdown(Duration::MAX);
    let reader = thread::spawn(move || peer.read_to_end(&mut Vec::new()));
    let _client = listener.accept().unwrap();
    reactor.run(&mut seen).unwrap();
    assert_eq!(reader.join().unwrap().unwrap(), 1 << 20);
    assert_eq!(seen.ends.len(), 2);
}

#[test]
fn a_zero_delay_timer_that_rearms_itself_starves_nobody_and_fires_once_in_a_turn() {
    fn again(cx: &mut Cx<'_, Seen>) {
        cx.state.notes.push("again".into());
        cx.after(Duration::ZERO, again);
    }
    let (ours, mut peer) = sized_pair(None);
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let mut cx = reactor.cx(&mut seen);
    cx.adopt(ours, Machine::default()).unwrap();
    cx.after(Duration::ZERO, again);
    let mut turns = 0;
    for n in 1..=20 {
        peer.write_all(b"x").unwrap();
        while seen.bytes.len() < n || seen.notes.len() < n {
            reactor.turn(&mut seen, None).unwrap();
            turns += 1;
            assert!(seen.notes.len() <= turns, "{} fired in {turns} turns", seen.notes.len());
        }
    }
}

#[test]
fn a_timer_without_delay_fires_in_the_next_turn_also_if_that_may_not_wait() {
    let mut reactor = Reactor::new().unwrap();
    let mut fired = 0;
    for n in 1..=50 {
        reactor.cx(&mut fired).after(Duration::ZERO, |cx| *cx.state += 1);
        let turn = reactor.turn(&mut fired, NOW).unwrap();
        assert_eq!((fired, turn.next), (n, None));
    }
}

#[test]
fn a_chain_of_timers_without_delay_takes_a_turn_each_and_lets_no_time_pass() {
    const CHAIN: usize = 1_000;
    fn link(cx: &mut Cx<'_, usize>) {
        *cx.state += 1;
        if *cx.state < CHAIN {
            cx.after(Duration::ZERO, link);
        }
    }
    let sim = Sim::new(0);
    let mut reactor = sim.reactor().unwrap();
    let mut fired = 0;
    reactor.cx(&mut fired).after(Duration::ZERO, link);
    for turn in 1..=CHAIN {
        assert!(reactor.turn(&mut fired, None).is_ok() && fired == turn, "{fired} after {turn} turns");
    }
    // A turn of the simulation takes a microsecond.
    assert_eq!(sim.now(), Duration::from_micros(CHAIN as u64));
}

#[test]
fn a_timer_without_delay_that_a_message_sets_is_not_waited_for() {
    let sim = Sim::new(0);
    let (mut reactor, mut seen) = (sim.reactor().unwrap(), Seen::default());
    reactor.cx(&mut seen).listen(AT, |_, _| Script::new().say("x")).unwrap();
    let clock = sim.clone();
    let machine = Machine {
        received: Box::new(move |conn, input| {
            input.take_all();
            let (set, clock) = (clock.now(), clock.clone());
            conn.cx().after(Duration::ZERO, move |cx| {
                assert!(clock.now() - set < ms(1), "{:?} later", clock.now() - set);
                cx.state.notes.push("fired".into());
                cx.stop();
            });
            Ok(())
        }),
        ..Machine::default()
    };
    reactor.cx(&mut seen).connect(AT, machine);
    sim.take_time(Duration::from_nanos(500_001)); // so that the tick at hand has begun some time ago
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.notes, ["fired"]);
}

#[test]
fn equal_deadlines_fire_in_the_order_in_which_they_were_set() {
    // More than fire in one turn, and more than one millisecond's worth.
    const TIMERS: usize = 5_000;
    for delay in [Duration::ZERO, ms(2), ms(100)] {
        let mut reactor = Reactor::new().unwrap();
        let mut order = Vec::with_capacity(TIMERS);
        let mut cx = reactor.cx(&mut order);
        for n in 0..TIMERS {
            cx.after(delay, move |cx: &mut Cx<'_, Vec<usize>>| cx.state.push(n));
        }
        reactor.run(&mut order).unwrap();
        assert!(order.iter().copied().eq(0..TIMERS), "set for {delay:?}");
    }
}

#[test]
fn at_most_a_budget_of_timers_fires_in_one_turn_and_the_next_does_not_wait() {
    let sim = Sim::new(0);
    let mut reactor = sim.reactor_with(Config { timer_budget: 2, ..Config::default() }).unwrap();
    let mut count = 0;
    for _ in 0..5 {
        reactor.cx(&mut count).after(Duration::ZERO, |cx| *cx.state += 1);
    }
    sim.take_time(ms(2)); // so that all are due
    for (expected, more) in [(2, true), (4, true), (5, false)] {
        let turn = reactor.turn(&mut count, Some(NEVER)).unwrap();
        assert_eq!((count, turn.next), (expected, more.then_some(Duration::ZERO)));
    }
}

#[test]
fn a_periodic_timer_keeps_to_its_grid_whatever_its_calls_take() {
    let sim = Sim::new(0);
    let mut reactor = sim.reactor().unwrap();
    let mut calls = Vec::new();
    let takes = sim.clone();
    reactor.cx(&mut calls).every(ms(100), move |cx: &mut Cx<'_, Vec<u128>>| {
        cx.state.push(takes.now().as_millis());
        takes.take_time(ms(20)); // a loop that counts from the end of each call drifts by as much
        if cx.state.len() == 4 {
            cx.stop();
        }
    });
    reactor.run(&mut calls).unwrap();
    assert_eq!(calls, [100, 200, 300, 400]);
}

#[test]
fn a_periodic_timer_does_not_catch_up_in_a_burst_after_a_stall() {
    let sim = Sim::new(0);
    let mut reactor = sim.reactor().unwrap();
    let mut calls = Vec::new();
    let takes = sim.clone();
    reactor.cx(&mut calls).every(ms(5), move |cx: &mut Cx<'_, Vec<u128>>| {
        cx.state.push(takes.now().as_millis());
        match cx.state.len() {
            3 => takes.take_time(ms(51)),
            5 => cx.stop(),
            _ => {}
        }
    });
    reactor.run(&mut calls).unwrap();
    assert_eq!(calls, [5, 10, 15, 70, 75], "what was missed is left out");
}

#[test]
fn a_periodic_timer_goes_on_after_a_stall_of_fifty_days() {
    let sim = Sim::new(0);
    let mut reactor = sim.reactor().unwrap();
    let stall = Duration::from_secs(50 * 24 * 60 * 60); // more milliseconds than 32 bits can count
    let takes = sim.clone();
    let mut calls = Vec::new();
    reactor.cx(&mut calls).every(ms(1), move |cx: &mut Cx<'_, Vec<u128>>| {
        cx.state.push(takes.now().as_millis());
        match cx.state.len() {
            1 => takes.take_time(stall),
            3 => cx.stop(),
            _ => {}
        }
    });
    reactor.cx(&mut calls).after(2 * stall, |_| panic!("it does not fire any more"));
    reactor.run(&mut calls).unwrap();
    let stall = stall.as_millis();
    assert_eq!(calls, [1, stall + 2, stall + 3]);
}

#[test]
fn a_period_of_zero_is_taken_as_a_millisecond() {
    let mut reactor = Reactor::new().unwrap();
    let mut count = 0;
    let start = Instant::now();
    reactor.cx(&mut count).every(Duration::ZERO, |cx| {
        *cx.state += 1;
        if *cx.state == 5 {
            cx.stop();
        }
    });
    reactor.run(&mut count).unwrap();
    assert!(start.elapsed() >= ms(5), "{:?}", start.elapsed());
}

#[test]
fn the_time_that_passes_between_two_turns_or_before_run_counts_for_the_timers() {
    let enter: [fn(&mut Reactor<bool>, &mut bool); 2] = [
        |reactor, fired| _ = reactor.turn(fired, None).unwrap(),
        |reactor, fired| reactor.run(fired).unwrap(),
    ];
    for enter in enter {
        let sim = Sim::new(0);
        let mut reactor = sim.reactor().unwrap();
        let mut fired = false;
        reactor.cx(&mut fired).after(ms(200), |cx| *cx.state = true);
        reactor.turn(&mut fired, NOW).unwrap();
        sim.take_time(ms(200)); // another loop, which this one is embedded in, does its own work
        enter(&mut reactor, &mut fired);
        assert!(fired && sim.now() < ms(210), "it slept for the delay once more: {:?}", sim.now());
    }
}

#[test]
fn a_timer_cancelled_within_the_batch_that_is_firing_does_not_fire() {
    let sim = Sim::new(0);
    let mut reactor = sim.reactor().unwrap();
    let ids = Rc::new(RefCell::new(Vec::<TimerId>::new()));
    let mut fired = Vec::new();
    for n in 0..3 {
        let others = Rc::clone(&ids);
        let id = reactor.cx(&mut fired).after(ms(1), move |cx: &mut Cx<'_, Vec<usize>>| {
            cx.state.push(n);
            if n == 0 {
                let others = others.borrow();
                assert!(!cx.cancel(others[0]), "it is firing: that is too late");
                assert!(cx.cancel(others[1]));
                assert!(!cx.cancel(others[1]), "a second time");
            }
        });
        ids.borrow_mut().push(id);
    }
    sim.take_time(ms(3)); // so that all are due in one batch
    reactor.run(&mut fired).unwrap();
    assert_eq!(fired, [0, 2]);
    for id in ids.borrow().iter() {
        assert!(!reactor.cx(&mut fired).cancel(*id), "it has fired or was cancelled");
    }
}

#[test]
fn a_periodic_timer_can_be_cancelled_by_its_own_call_by_another_and_from_outside() {
    let mut reactor = Reactor::new().unwrap();
    let id = Rc::new(Cell::new(None));
    let mut count = 0;
    let own = Rc::clone(&id);
    let by_itself = reactor.cx(&mut count).every(ms(1), move |cx| {
        *cx.state += 1;
        if *cx.state == 3 {
            let id = own.get().expect("it was set");
            assert!(cx.cancel(id), "it would fire again");
            assert!(!cx.cancel(id), "a second time");
        }
    });
    id.set(Some(by_itself));
    reactor.run(&mut count).unwrap(); // returns: nothing is left
    assert_eq!(count, 3);
    assert!(!reactor.cx(&mut count).cancel(by_itself));

    let mut cx = reactor.cx(&mut count);
    let by_another = cx.every(ms(1), |_| ());
    cx.after(ms(3), move |cx| assert!(cx.cancel(by_another)));
    let from_outside = cx.every(ms(1), |_| panic!("it was cancelled before"));
    assert!(cx.cancel(from_outside));
    reactor.run(&mut count).unwrap();
}

#[test]
fn an_old_timer_id_never_cancels_a_newcomer() {
    let mut reactor = Reactor::new().unwrap();
    let mut count = 0;
    let old = reactor.cx(&mut count).after(Duration::ZERO, |_| ());
    reactor.run(&mut count).unwrap();
    reactor.cx(&mut count).after(Duration::ZERO, |cx| *cx.state += 1); // in the same place, most likely
    assert!(!reactor.cx(&mut count).cancel(old));
    reactor.run(&mut count).unwrap();
    assert_eq!(count, 1);
}

#[test]
fn a_million_cancelled_timers_leave_nothing_behind() {
    let mut reactor = Reactor::<()>::new().unwrap();
    let mut state = ();
    let mut cx = reactor.cx(&mut state);
    for n in 0..1_000_000 {
        let id = cx.after(ms(n % 100_000), |_| ());
        assert!(cx.cancel(id));
    }
    assert!(cx.alive().to_string().contains(", 0 timers"));
    reactor.run(&mut state).unwrap(); // returns at once
}

#[test]
fn the_time_stands_still_during_a_callback_and_is_read_anew_for_the_next() {
    let sim = Sim::new(0);
    let mut reactor = sim.reactor().unwrap();
    let mut times = Vec::new();
    for _ in 0..2 {
        let takes = sim.clone();
        reactor.cx(&mut times).after(ms(1), move |cx: &mut Cx<'_, Vec<Instant>>| {
            let now = cx.now();
            takes.take_time(ms(3));
            assert_eq!(cx.now(), now, "it moved during the callback");
            cx.state.push(now);
        });
    }
    reactor.run(&mut times).unwrap();
    assert_eq!(times[1], times[0] + ms(3), "the second was told the time of the first");
}

// Deadlines.

/// A machine that leaves what happens at its deadline to the default.
struct Waiting;

impl Protocol<Seen> for Waiting {
    fn opened(&mut self, conn: &mut Conn<'_, Seen>) -> io::Result<()> {
        conn.deadline(ms(5));
        Ok(())
    }
    fn received(&mut self, _: &mut Conn<'_, Seen>, _: &mut Input<'_>) -> io::Result<()> {
        Ok(())
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, Seen>, end: End) {
        cx.state.ends.push(end);
    }
}

#[test]
fn by_default_a_deadline_ends_the_connection_with_an_error_that_names_the_peer_and_is_not_early() {
    let (ours, peer) = sized_pair(None);
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let start = Instant::now();
    reactor.cx(&mut seen).adopt(ours, Waiting).unwrap();
    reactor.run(&mut seen).unwrap();
    assert!(start.elapsed() >= ms(5), "{:?} is early", start.elapsed());
    let error = seen.ends[0].result.as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains(&format!("waiting for {}", peer.local_addr().unwrap())), "{error}");
}

#[test]
fn a_deadline_of_zero_passes_in_the_next_turn_also_if_that_may_not_wait() {
    let (ours, _peer) = sized_pair(None);
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        timed_out: Box::new(|conn| {
            conn.state().notes.push("timed out".into());
            conn.deadline(Duration::ZERO); // again, and not in this turn
            Ok(())
        }),
        ..Machine::default()
    };
    let id = reactor.cx(&mut seen).adopt(ours, machine).unwrap().id();
    reactor.turn(&mut seen, NOW).unwrap();
    reactor.cx(&mut seen).conn(id).unwrap().deadline(Duration::ZERO);
    for n in 1..=50 {
        reactor.turn(&mut seen, NOW).unwrap();
        assert_eq!(seen.notes.len(), n);
    }
}

#[test]
fn a_deadline_is_not_armed_again_by_itself_and_the_connection_goes_on() {
    let (ours, mut peer) = sized_pair(None);
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        timed_out: Box::new(|conn| {
            conn.state().notes.push("timed out".into());
            Ok(())
        }),
        ..opened_with(ms(1))
    };
    reactor.cx(&mut seen).adopt(ours, machine).unwrap();
    until(&mut reactor, &mut seen, |cx| !cx.state.notes.is_empty());
    let turn = reactor.turn(&mut seen, NOW).unwrap();
    assert_eq!(turn.next, None, "a timer is set, for what?");
    peer.write_all(b"after it").unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.bytes == b"after it");
    assert_eq!(seen.notes.len(), 1);
}

#[test]
fn a_deadline_moved_on_with_every_message_passes_only_when_none_comes() {
    let idle = ms(60);
    let sim = Sim::new(0);
    let clock = sim.clone();
    let machine = move || {
        let (clock, touched) = (clock.clone(), Rc::new(Cell::new(Duration::ZERO)));
        let (last, judged) = (clock.clone(), Rc::clone(&touched));
        Machine {
            received: Box::new(move |conn, input| {
                touched.set(last.now());
                conn.deadline(idle);
                conn.state().bytes.extend(input.take_all());
                let timers = conn.cx().alive().to_string();
                assert!(timers.contains(", 2 timers"), "its own, and that of the peer's wait: {timers}");
                Ok(())
            }),
            timed_out: Box::new(move |conn| {
                let passed = clock.now() - judged.get();
                assert!(passed >= idle && passed < idle + ms(2), "{passed:?} after the last message");
                conn.state().notes.push("timed out".into());
                conn.close();
                Ok(())
            }),
            ..opened_with(idle)
        }
    };
    let mut reactor = sim.reactor().unwrap();
    let mut seen = Seen::default();
    reactor.cx(&mut seen).listen(AT, move |_, _| machine()).unwrap();
    // Together longer than the idle time, each much shorter.
    let talks = (0..15).fold(Script::new(), |script, _| script.say("x").wait(ms(10)));
    reactor.cx(&mut seen).connect(AT, talks.wait(NEVER));
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.bytes.len(), 15);
    assert_eq!(seen.notes, ["timed out"]);
}

#[test]
fn setting_a_deadline_again_moves_it_both_ways_and_none_disarms_it() {
    let sim = Sim::new(0);
    let (mut reactor, mut seen) = (sim.reactor().unwrap(), Seen::default());
    reactor.cx(&mut seen).listen(AT, |_, _| Script::new()).unwrap();
    let machine = Machine {
        timed_out: Box::new(|conn| {
            conn.state().notes.push("timed out".into());
            Ok(())
        }),
        ..opened_with(NEVER)
    };
    let id = reactor.cx(&mut seen).connect(AT, machine).id();
    reactor.turn(&mut seen, Some(ms(1))).unwrap();

    // Away, back, and away for good: nothing is left of it.
    for deadline in [Some(Duration::ZERO), Some(NEVER), Some(ms(1)), None] {
        reactor.cx(&mut seen).conn(id).unwrap().deadline(deadline);
    }
    assert!(reactor.alive().to_string().contains(", 0 timers"), "{}", reactor.alive());

    // Later: the timer that was set for the earlier time finds that it has moved on.
    reactor.cx(&mut seen).conn(id).unwrap().deadline(ms(2));
    reactor.cx(&mut seen).conn(id).unwrap().deadline(NEVER);
    sim.take_time(ms(4));
    reactor.turn(&mut seen, NOW).unwrap();
    reactor.turn(&mut seen, NOW).unwrap();
    assert_eq!(seen.notes, [""; 0]);

    // Nearer.
    reactor.cx(&mut seen).conn(id).unwrap().deadline(ms(2));
    until(&mut reactor, &mut seen, |cx| !cx.state.notes.is_empty());
    assert_eq!(seen.notes, ["timed out"]);
}

/// A loop with a client that waits for a server's answer, 100 ms at most, and which is held up for a second meanwhile,
/// as if the process had been stopped. A message takes `latency` from one to the other: the client waits from twice
/// that, the answer comes after four times that, and the loop is held up from `stall`.
fn held_up(latency: Duration, stall: Duration, clients: usize, events: usize) -> Seen {
    let sim = Sim::new(0);
    sim.link(AT, Link { latency: latency..=latency, ..Link::default() });
    let config = Config { events, slow_callback: Duration::MAX, ..Config::default() };
    let (mut reactor, mut seen) = (sim.reactor_with(config).unwrap(), Seen::default());
    let mut cx = reactor.cx(&mut seen);
    cx.listen(AT, |_, _| Script::new().say("answer")).unwrap();
    let neighbour = ([10, 0, 0, 2], 80);
    cx.listen(neighbour, move |_, _| Script::new().wait(stall).say("x").close()).unwrap();
    for _ in 0..clients {
        let answered = |conn: &mut Conn<'_, Seen>, input: &mut Input<'_>| {
            conn.state().notes.push(String::from_utf8_lossy(input.take_all()).into());
            conn.close();
            Ok(())
        };
        let timed_out = |conn: &mut Conn<'_, Seen>| {
            conn.state().notes.push("timed out".into());
            conn.close();
            Ok(())
        };
        let waits = opened_with(ms(100));
        let waits = Machine { received: Box::new(answered), timed_out: Box::new(timed_out), ..waits };
        cx.connect(AT, waits);
    }
    let stalls = move |_: &mut Conn<'_, Seen>, input: &mut Input<'_>| {
        assert_eq!(input.take_all(), b"x");
        assert!(sim.now() < stall + ms(10), "{:?}", sim.now());
        sim.take_time(Duration::from_secs(1));
        Ok(())
    };
    cx.connect(neighbour, Machine { received: Box::new(stalls), ..Machine::default() });
    reactor.run(&mut seen).unwrap();
    seen
}

#[test]
fn an_answer_that_came_before_its_deadline_is_received_although_the_loop_was_held_up_past_both() {
    assert_eq!(held_up(ms(30), ms(100), 1, 1024).notes, ["answer"]);
}

#[test]
fn after_a_hold_up_the_events_that_one_batch_does_not_hold_come_before_the_deadlines_too() {
    for events in [1, 2, 10] {
        assert_eq!(held_up(ms(30), ms(100), 10, events).notes, ["answer"; 10], "{events} events at a time");
    }
}

#[test]
fn an_answer_that_has_not_come_when_a_hold_up_is_over_has_timed_out() {
    assert_eq!(held_up(ms(600), ms(1_250), 1, 1024).notes, ["timed out"]);
}

#[test]
fn an_answer_that_came_before_its_deadline_is_received_although_two_callbacks_in_a_row_held_the_loop_up() {
    let sim = Sim::new(0);
    let config = Config { slow_callback: Duration::MAX, ..Config::default() };
    let (mut reactor, mut seen) = (sim.reactor_with(config).unwrap(), Seen::default());
    let mut cx = reactor.cx(&mut seen);
    let latency = |ms| Link { latency: ms..=ms, ..Link::default() };
    sim.link(AT, latency(ms(300)));
    cx.listen(AT, |_, _| Script::new().say("answer").wait(NEVER)).unwrap();
    cx.connect(AT, opened_with(ms(900))); // from 600 ms to 1500 ms, and the answer comes at 1200 ms
    cx.after(ms(1_000), |_| ()); // due while the first callback holds the loop up
    for (n, comes, holds_until) in [(2, 950, 1_100), (3, 1_040, 2_000)] {
        let neighbour = ([10, 0, 0, n], 80);
        sim.link(neighbour, latency(ms(100)));
        cx.listen(neighbour, move |_, _| Script::new().wait(ms(comes - 400)).say("x").wait(NEVER)).unwrap();
        let clock = sim.clone();
        let holds_up = move |conn: &mut Conn<'_, Seen>, input: &mut Input<'_>| {
            conn.state().notes.push(format!("{} at {} ms", input.len(), clock.now().as_millis()));
            input.take_all();
            clock.take_time(ms(holds_until) - clock.now());
            Ok(())
        };
        cx.connect(neighbour, Machine { received: Box::new(holds_up), ..Machine::default() });
    }
    reactor.cx(&mut seen).after(ms(2_500), |cx| cx.stop());
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.notes, ["1 at 950 ms", "1 at 1100 ms"]);
    assert_eq!(seen.bytes, b"answer");
}

#[test]
fn timers_fire_although_every_poll_brings_all_the_events_that_it_may() {
    let mut reactor = Reactor::with_config(Config { events: 1, ..Config::default() }).unwrap();
    fn again(handle: enjamb::Handle<usize>) -> impl FnOnce(&mut Cx<'_, usize>) + Send {
        move |_| {
            let next = handle.clone();
            handle.post(again(next)).expect("it runs"); // wakes the loop
        }
    }
    let (mut fired, handle) = (0, reactor.handle());
    handle.post(again(handle.clone())).unwrap();
    for n in 1..=10 {
        reactor.cx(&mut fired).after(ms(2), |cx| *cx.state += 1);
        until(&mut reactor, &mut fired, |cx| *cx.state == n);
    }
}

/// An address that answers no SYN any more: its backlog is full.
fn silent() -> (SocketAddr, Vec<socket2::Socket>) {
    let new = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let listener = new();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut sockets = vec![listener];
    loop {
        let client = new();
        match client.connect_timeout(&addr, ms(200)) {
            Ok(()) => sockets.push(client),
            Err(_) => return (addr.as_socket().unwrap(), sockets),
        }
    }
}

#[test]
fn a_connect_times_out_by_the_config_or_by_its_own_deadline() {
    let (addr, _kept) = silent();
    for own in [false, true] {
        let connect_timeout = if own { NEVER } else { ms(20) };
        let config = Config { connect_timeout, ..Config::default() };
        let mut reactor = Reactor::with_config(config).unwrap();
        let mut seen = Seen::default();
        let machine = Machine {
            opened: Box::new(|_| panic!("nobody answers")),
            timed_out: Box::new(|_| panic!("that is for open connections")),
            ..Machine::default()
        };
        let start = Instant::now();
        let mut cx = reactor.cx(&mut seen);
        let id = cx.connect(addr, machine).id();
        if own {
            cx.conn(id).unwrap().deadline(ms(20));
        }
        reactor.run(&mut seen).unwrap();
        assert!(start.elapsed() >= ms(20), "{:?} is early", start.elapsed());
        let error = seen.ends[0].result.as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.to_string().contains(&format!("connecting to {addr}")), "{error}");
    }
}

#[test]
fn the_connect_timeout_is_over_once_the_connection_stands() {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        opened: Box::new(|conn| {
            conn.state().notes.push("opened".into());
            Ok(())
        }),
        ..Machine::default()
    };
    reactor.cx(&mut seen).connect(listener.local_addr().unwrap(), machine);
    until(&mut reactor, &mut seen, |cx| !cx.state.notes.is_empty());
    assert!(reactor.alive().to_string().contains(", 0 timers"), "{}", reactor.alive());
}

#[test]
fn a_deadline_goes_with_its_connection() {
    let (ours, _peer) = sized_pair(None);
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let machine = Machine {
        closed: Box::new(|cx, _| {
            assert!(cx.alive().to_string().contains(", 0 timers"), "{}", cx.alive());
        }),
        ..Machine::default()
    };
    let id = reactor.cx(&mut seen).adopt(ours, machine).unwrap().id();
    reactor.cx(&mut seen).conn(id).unwrap().deadline(NEVER);
    reactor.cx(&mut seen).conn(id).unwrap().abort(ErrorKind::Other.into());
    reactor.run(&mut seen).unwrap(); // returns although the deadline is far
    assert_eq!(seen.ends.len(), 1);
}

#[test]
fn a_connection_aborted_by_a_timer_is_not_told_of_the_deadline_that_passed_in_the_same_turn() {
    let sim = Sim::new(0);
    let (mut reactor, mut seen) = (sim.reactor().unwrap(), Seen::default());
    reactor.cx(&mut seen).listen(AT, |_, _| Script::new()).unwrap();
    let machine = Machine { timed_out: Box::new(|_| panic!("it was aborted before")), ..Machine::default() };
    let id = reactor.cx(&mut seen).connect(AT, machine).id();
    reactor.turn(&mut seen, Some(ms(1))).unwrap();
    let mut cx = reactor.cx(&mut seen);
    cx.after(ms(1), move |cx| cx.conn(id).expect("it is open").abort(io::Error::other("enough")));
    cx.conn(id).unwrap().deadline(ms(20));
    sim.take_time(ms(30)); // so that both are due in one turn, the timer first
    reactor.run(&mut seen).unwrap();
    assert_eq!(seen.ends[0].to_string(), "enough");
}
