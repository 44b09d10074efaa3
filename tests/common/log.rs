//! What the crate logs, captured by the thread that runs the loop: tests run side by side.

use std::cell::RefCell;

use log::{Level, Log, Metadata, Record};

thread_local! {
    static LINES: RefCell<Option<Vec<(Level, String)>>> = const { RefCell::new(None) };
}

struct Capture;

impl Log for Capture {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("enjamb")
    }
    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            LINES.with_borrow_mut(|lines| {
                lines.as_mut().map(|lines| lines.push((record.level(), record.args().to_string())))
            });
        }
    }
    fn flush(&self) {}
}

/// From now on, what this thread logs is captured; what was captured before is forgotten.
pub fn capture() {
    let _ = log::set_logger(&Capture); // it may be there already: one for all tests of the file
    log::set_max_level(log::LevelFilter::Trace);
    LINES.set(Some(Vec::new()));
}

/// What this thread has logged since, at this level.
pub fn captured(level: Level) -> Vec<String> {
    LINES.with_borrow(|lines| {
        let lines = lines.iter().flatten().filter(|(of, _)| *of == level);
        lines.map(|(_, message)| message.clone()).collect()
    })
}
