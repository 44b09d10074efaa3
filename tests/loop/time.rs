//! Timers: rounding, overflow, order, budget, drift and bursts, cancelling.

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::machine::{Machine, Seen};
use crate::common::pair::sized_pair;
use crate::common::times::{NEVER, NOW, ms};
use crate::common::until::until;
use enjamb::sim::{Script, Sim};
use enjamb::{Config, Cx, Reactor, TimerId};

/// Where a simulated server is.
pub const AT: ([u8; 4], u16) = ([10, 0, 0, 1], 80);

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
