//! Three timers on one loop, and one of them is cancelled.
//!
//! What it teaches: `every` and `after` wait side by side without a thread for either, a callback cancels any timer,
//! itself included, and `run` returns by itself when there is nothing left to wait for. Nobody calls `stop`.
//!
//!     cargo run --example countdown
//!
//! You should see the kettle count five tenths of a second while the eggs count three quarters, as in
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
//! and the program end at once, although the alarm was set for a minute.

#[path = "common/interrupt.rs"]
mod interrupt;
#[path = "common/messages.rs"]
mod messages;
#[path = "common/output.rs"]
mod output;

use enjamb::{Cx, Reactor, TimerId};
use std::io;
use std::process::ExitCode;
use std::time::Duration;

/// What the timers share.
#[derive(Default)]
struct Kitchen {
    kettle: Count,
    eggs: Count,
    alarm: Option<TimerId>,
    printed: Option<io::Error>,
}

#[derive(Default)]
struct Count {
    left: u32,
    timer: Option<TimerId>,
}

fn main() -> ExitCode {
    messages::show_from("warn");
    interrupt::ends_the_program();
    let mut kitchen = Kitchen::default();
    let ran = Reactor::new().and_then(|mut reactor| {
        let mut cx = reactor.cx(&mut kitchen);
        let minute = Duration::from_secs(60);
        cx.state.alarm = Some(cx.after(minute, |cx| say(cx, "the alarm goes off")));
        let kettle =
            cx.every(Duration::from_millis(100), |cx| tick(cx, "kettle", |kitchen| &mut kitchen.kettle));
        cx.state.kettle = Count { left: 5, timer: Some(kettle) };
        let eggs = cx.every(Duration::from_millis(250), |cx| tick(cx, "eggs", |kitchen| &mut kitchen.eggs));
        cx.state.eggs = Count { left: 3, timer: Some(eggs) };
        reactor.run(&mut kitchen)
    });
    if let Err(error) = ran {
        log::error!("the event loop failed: {error}");
        return ExitCode::FAILURE;
    }
    output::exit_status(kitchen.printed.map_or(Ok(()), Err), ExitCode::SUCCESS)
}

/// One step of a count. The last cancels its own timer, and where the other has ended too, the alarm.
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

fn say(cx: &mut Cx<'_, Kitchen>, line: &str) {
    if let Err(error) = output::print(&format!("{line}\n")) {
        cx.state.printed = Some(error);
        cx.stop(); // whoever was reading has left
    }
}
