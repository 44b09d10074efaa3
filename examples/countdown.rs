//! Three timers on one loop; one of them is cancelled.
//!
//! What it teaches: `every` and `after` need no thread. A callback can cancel any timer, also its own. `run` returns
//! when nothing is left to wait for, without a call of `stop`.
//!
//!     cargo run --example countdown
//!
//! You should see the kettle count down in tenths of a second and the eggs in quarters, as in
//!
//! ```text
//! kettle: 5
//! kettle: 4
//! eggs: 3
//! …
//! eggs: done
//! breakfast is ready, so the alarm is cancelled
//! ```
//!
//! Then the program ends at once, although the alarm was set for a minute.

mod common;

use common::messages::Context;
use common::{messages, output, signals};
use enjamb::{Cx, Reactor, TimerId};
use std::io;
use std::process::ExitCode;
use std::time::Duration;

/// The loop's state, which the timers share.
struct Kitchen {
    kettle: Count,
    eggs: Count,
    alarm: Option<TimerId>,
    printed: io::Result<()>,
}

struct Count {
    left: u32,
    timer: Option<TimerId>,
}

fn count_down(kitchen: &mut Kitchen) -> io::Result<()> {
    let mut reactor = Reactor::new()?;
    let mut cx = reactor.cx(kitchen);
    let alarm = cx.after(Duration::from_secs(60), |cx| say(cx, "the alarm goes off"));
    let kettle = cx.every(Duration::from_millis(100), |cx| tick(cx, "kettle", |kitchen| &mut kitchen.kettle));
    let eggs = cx.every(Duration::from_millis(250), |cx| tick(cx, "eggs", |kitchen| &mut kitchen.eggs));
    cx.state.alarm = Some(alarm);
    cx.state.kettle.timer = Some(kettle);
    cx.state.eggs.timer = Some(eggs);
    reactor.run(kitchen)
}

/// One step of a count. The last step cancels its own timer. When both counts are done, it cancels the alarm.
fn tick(cx: &mut Cx<'_, Kitchen>, name: &str, of: fn(&mut Kitchen) -> &mut Count) {
    let count = of(cx.state);
    if count.left > 0 {
        let line = format!("{name}: {}", count.left);
        count.left -= 1;
        return say(cx, &line);
    }
    let own = count.timer.take();
    own.map(|timer| cx.cancel(timer));
    say(cx, &format!("{name}: done"));
    let counting = cx.state.kettle.timer.or(cx.state.eggs.timer).is_some();
    if !counting && cx.state.alarm.take().is_some_and(|alarm| cx.cancel(alarm)) {
        say(cx, "breakfast is ready, so the alarm is cancelled");
    }
}

fn main() -> ExitCode {
    messages::show_from("warn");
    signals::exit_at_ctrl_c();
    let mut kitchen = Kitchen {
        kettle: Count { left: 5, timer: None },
        eggs: Count { left: 3, timer: None },
        alarm: None,
        printed: Ok(()),
    };
    let ran = count_down(&mut kitchen).context("the event loop failed");
    messages::show_failure(ran.map(|()| output::exit_status(kitchen.printed, ExitCode::SUCCESS)))
}

fn say(cx: &mut Cx<'_, Kitchen>, line: &str) {
    if let Err(error) = output::print(&format!("{line}\n")) {
        cx.state.printed = Err(error);
        cx.stop(); // for example after `| head -1`
    }
}
