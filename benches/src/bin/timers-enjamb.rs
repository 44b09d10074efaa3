//! Timers on `enjamb`: does one thing as often as told, while a number of others are live.
//!
//!     timers-enjamb insert|cancel|fire|hold LIVE TIMES

use enjamb::{Cx, Reactor, TimerId};
use std::io;
use std::time::{Duration, Instant};

/// How many have fired, and after how many to stop.
#[derive(Default)]
struct Fired {
    count: usize,
    stop_at: usize,
}

/// Spreads them over a minute, in no order: 7,919 is prime to it.
fn far(i: usize) -> Duration {
    Duration::from_millis((60_000 + i * 7_919 % 60_000) as u64)
}

/// Spreads them over a second.
fn near(i: usize) -> Duration {
    Duration::from_millis((i * 7_919 % 1_000) as u64)
}

fn insert(cx: &mut Cx<'_, Fired>, count: usize, delay: fn(usize) -> Duration) -> Vec<TimerId> {
    (0..count).map(|i| cx.after(delay(i), fired)).collect()
}

fn fired(cx: &mut Cx<'_, Fired>) {
    cx.state.count += 1;
    if cx.state.count == cx.state.stop_at {
        cx.stop();
    }
}

/// What is there beforehand is the same for every `times`, so that the difference of two runs is the work alone.
fn run(work: &str, live: usize, times: usize) -> io::Result<String> {
    let mut state = Fired::default();
    let mut took = String::new();
    let mut reactor = Reactor::new()?;
    let mut cx = reactor.cx(&mut state);
    match work {
        "insert" => {
            insert(&mut cx, live, far);
            for i in 0..times {
                cx.after(far(i), fired);
            }
        }
        "cancel" => {
            let timers = insert(&mut cx, live, far);
            timers.iter().take(times).for_each(|timer| _ = cx.cancel(*timer));
        }
        "fire" => {
            insert(&mut cx, live, far);
            insert(&mut cx, live, near);
            if times > 0 {
                let begun = Instant::now();
                state.stop_at = times;
                reactor.run(&mut state)?;
                took = format!("{:.3}", begun.elapsed().as_secs_f64());
            }
        }
        "hold" => {
            let before = enjamb_benches::resident("self")?;
            for i in 0..live {
                cx.after(far(i), fired);
            }
            return Ok(enjamb_benches::resident("self")?.saturating_sub(before).to_string());
        }
        other => return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no such work: {other:?}"))),
    }
    std::mem::forget(reactor); // dropping what is still live would count as part of the work
    Ok(took)
}

fn main() -> io::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let number = |i: usize| arguments.get(i).and_then(|n| n.parse().ok());
    let (Some(work), Some(live), Some(times)) = (arguments.first(), number(1), number(2)) else {
        let usage = "usage: timers-enjamb insert|cancel|fire|hold LIVE TIMES";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, usage));
    };
    println!("{}", run(work, live, times)?);
    Ok(())
}
