//! Timers on tokio, current_thread: each is a boxed `Sleep`, polled once, with a waker that counts.

use enjamb_benches::timer_work::{self, Timers};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Sleep, sleep};

#[derive(Default)]
struct Fired(AtomicUsize);

impl Wake for Fired {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Tokio {
    runtime: Runtime,
    fired: Arc<Fired>,
}

impl Timers for Tokio {
    type Id = Pin<Box<Sleep>>;

    fn insert(&mut self, count: usize, delay: fn(usize) -> Duration, mut each: impl FnMut(Self::Id)) {
        let _entered = self.runtime.enter();
        let waker = Waker::from(Arc::clone(&self.fired));
        for i in 0..count {
            let mut timer = Box::pin(sleep(delay(i)));
            _ = timer.as_mut().poll(&mut Context::from_waker(&waker));
            each(timer);
        }
    }

    fn cancel(&mut self, timers: impl Iterator<Item = Self::Id>) {
        timers.for_each(drop);
    }

    fn fire(&mut self, count: usize) -> io::Result<()> {
        self.runtime.block_on(async {
            while self.fired.0.load(Ordering::Relaxed) < count {
                sleep(Duration::from_millis(1)).await;
            }
        });
        Ok(())
    }
}

fn main() -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    timer_work::run(Tokio { runtime, fired: Arc::default() })
}
