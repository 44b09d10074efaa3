//! Timers amid traffic on a bad network: a periodic timer keeps to its grid, and a timer without delay that sets itself
//! again delays nothing.

use std::io;
use std::time::Duration;

use enjamb::sim::{Script, Sim, check};
use enjamb::{Conn, Cx, End, Input, Protocol, TimerId};

#[derive(Default)]
struct Notes {
    restless: u64,
    received: usize,
    /// Which of its times a periodic timer has fired for.
    times: Vec<u64>,
    periodic: Option<TimerId>,
    over: bool,
}

/// Reads what a server has to say, and then ends everything.
struct Reader;

impl Protocol<Notes> for Reader {
    fn received(&mut self, conn: &mut Conn<'_, Notes>, input: &mut Input<'_>) -> io::Result<()> {
        conn.state().received += input.take_all().len();
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Notes>, _end: End) {
        cx.state.over = true;
        let periodic = cx.state.periodic.unwrap();
        assert!(cx.cancel(periodic));
    }
}

fn restless(cx: &mut Cx<'_, Notes>) {
    cx.state.restless += 1;
    if !cx.state.over {
        cx.after(Duration::ZERO, restless);
    }
}

fn every(cx: &mut Cx<'_, Notes>, sim: Sim, period: Duration) {
    let start = sim.now();
    let mut stalled = false;
    let periodic = cx.every(period, move |cx| {
        let passed = sim.now() - start;
        let time = (passed.as_micros() / period.as_micros()) as u64;
        assert!(time > cx.state.times.last().copied().unwrap_or(0), "early, or a second time: {passed:?}");
        let late = Duration::from_micros((passed.as_micros() % period.as_micros()) as u64);
        assert!(stalled || late <= Duration::from_millis(2), "it drifts: {late:?} late");
        cx.state.times.push(time);
        stalled = sim.random(0..=3) == 0;
        if stalled {
            sim.take_time(period.mul_f64(sim.random(1..=35) as f64 / 10.0));
        }
    });
    cx.state.periodic = Some(periodic);
}

#[test]
fn periodic_timers_keep_to_their_grid_and_restless_ones_hold_up_no_traffic() {
    check(0..100, |sim| {
        let sim = sim.clone().rough();
        let mut reactor = sim.reactor().unwrap();
        let mut notes = Notes::default();
        let mut cx = reactor.cx(&mut notes);
        let (server, n) = (([10, 0, 0, 1], 80), sim.random(1..=2_000) as usize);
        cx.listen(server, move |_, _| Script::new().say(vec![b'x'; n]).close()).unwrap();
        cx.connect(server, Reader);
        every(&mut cx, sim.clone(), Duration::from_millis(sim.random(5..=50)));
        restless(&mut cx);
        reactor.run(&mut notes).unwrap();
        assert_eq!(notes.received, n);
        assert!(notes.restless > 1);
    });
}
