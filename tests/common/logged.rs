//! What the crate logs, for the thread that runs the loop: tests run side by side, and a process has one logger.

use std::cell::RefCell;
use std::rc::Rc;

use log::{Level, LevelFilter, Log, Metadata, Record};

type Listener = Rc<dyn Fn(&Record<'_>)>;

thread_local! {
    static LISTENER: RefCell<Option<Listener>> = const { RefCell::new(None) };
    static LINES: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
}

struct ByThread;

impl Log for ByThread {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("enjamb")
    }
    fn log(&self, record: &Record<'_>) {
        // A thread that ends may log while it drops its thread-local values.
        let listener = LISTENER.try_with(|listener| listener.borrow().clone()).ok().flatten();
        if let Some(listener) = listener.filter(|_| self.enabled(record.metadata())) {
            listener(record);
        }
    }
    fn flush(&self) {}
}

/// From now on, calls `listener` with each record of this thread.
pub fn listen(listener: impl Fn(&Record<'_>) + 'static) {
    let _ = log::set_logger(&ByThread); // fails if another test has set it already
    log::set_max_level(LevelFilter::Trace);
    LISTENER.set(Some(Rc::new(listener)));
}

/// From now on, captures what this thread logs. What was captured before is forgotten.
pub fn capture() {
    LINES.take();
    listen(|record| LINES.with_borrow_mut(|lines| lines.push((record.level(), record.args().to_string()))));
}

/// The captured messages of this level.
pub fn captured(level: Level) -> Vec<String> {
    LINES.with_borrow(|lines| {
        let lines = lines.iter().filter(|(of, _)| *of == level);
        lines.map(|(_, message)| message.clone()).collect()
    })
}
