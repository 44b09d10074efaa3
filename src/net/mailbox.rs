//! What other threads leave for the loop: a bounded queue, and a waker that is touched only when the queue was empty.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::net::poll::Waker;

/// What a loop and its handles share: a bounded queue, and the waker of the loop.
pub(crate) struct Mailbox<T> {
    queue: Mutex<Queue<T>>,
    waker: Arc<Waker>,
    handles: AtomicUsize,
    /// How many calls may wait: `Config::post_limit`.
    limit: usize,
}

struct Queue<T> {
    calls: VecDeque<T>,
    /// The reactor was dropped: nobody will run what is posted.
    gone: bool,
}

impl<T> Mailbox<T> {
    pub(crate) fn new(waker: Arc<Waker>, limit: usize) -> Arc<Self> {
        let queue = Mutex::new(Queue { calls: VecDeque::new(), gone: false });
        Arc::new(Mailbox { queue, waker, handles: AtomicUsize::new(0), limit })
    }

    /// A poisoned lock is taken as it is: the queue is whole between any two statements that hold it.
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn handles(&self) -> usize {
        self.handles.load(Ordering::Acquire)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().calls.is_empty()
    }

    /// Moves at most `budget` calls over to the loop, and says whether that left some.
    pub(crate) fn take(&self, budget: usize, into: &mut VecDeque<T>) -> bool {
        let mut queue = self.lock();
        let n = queue.calls.len().min(budget);
        into.extend(queue.calls.drain(..n));
        !queue.calls.is_empty()
    }

    /// From now on, posting is refused. Returns the calls that nobody will run.
    pub(crate) fn close(&self) -> VecDeque<T> {
        let mut queue = self.lock();
        queue.gone = true;
        std::mem::take(&mut queue.calls)
    }

    pub(crate) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            log::error!("the loop could not be woken: {error}; it will notice with its next event or timer");
        }
    }

    /// Puts `call` at the end, as `pack` makes it, and wakes the loop if there was nothing before it.
    pub(crate) fn post<F>(&self, call: F, pack: impl FnOnce(F) -> T) -> Result<(), PostError<F>> {
        let mut queue = self.lock();
        if queue.gone {
            return Err(PostError::Gone(call));
        }
        if queue.calls.len() >= self.limit {
            return Err(PostError::Full(call));
        }
        queue.calls.push_back(pack(call));
        let was_empty = queue.calls.len() == 1;
        drop(queue);
        if was_empty {
            self.wake();
        }
        Ok(())
    }

    pub(crate) fn add_handle(&self) {
        self.handles.fetch_add(1, Ordering::AcqRel);
    }

    /// The last handle wakes the loop, which may wait for nothing but that.
    pub(crate) fn drop_handle(&self) {
        if self.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.wake();
        }
    }
}

/// Why a call was not posted, with the call itself: it may hold what cannot be had again.
pub enum PostError<F> {
    /// The reactor was dropped: nobody will run it.
    Gone(F),
    /// Too many calls are waiting: see [`Config::post_limit`](crate::Config::post_limit).
    Full(F),
}

impl<F> PostError<F> {
    /// The call that was not posted.
    pub fn into_call(self) -> F {
        match self {
            PostError::Gone(call) | PostError::Full(call) => call,
        }
    }
}

impl<F> fmt::Debug for PostError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PostError::Gone(_) => "Gone",
            PostError::Full(_) => "Full",
        })
    }
}

impl<F> fmt::Display for PostError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PostError::Gone(_) => {
                "the reactor was dropped, so nobody will run this call; keep it until its handles are done"
            }
            PostError::Full(_) => {
                "as many calls are waiting for the loop as Config::post_limit allows; post less, or wait and try again"
            }
        })
    }
}

impl<F> Error for PostError<F> {}
