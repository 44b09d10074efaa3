//! Calls from other threads: a queue, and a waker touched only when the queue had been empty.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Cx;
use crate::net::poll::Waker;

pub(crate) type Call<S> = Box<dyn FnOnce(&mut Cx<'_, S>) + Send>;

/// Runs closures on the loop, from any thread. Made by [`Reactor::handle`](crate::Reactor::handle).
///
/// As long as there is a handle, [`run`](crate::Reactor::run) goes on: something may yet be posted. So one that is
/// kept in the state or in a machine keeps the loop from ending by itself.
///
/// ```
/// let mut reactor = enjamb::Reactor::new()?;
/// let handle = reactor.handle();
/// let worker = std::thread::spawn(move || {
///     let answer = 6 * 7; // slow work
///     handle.post(move |cx| *cx.state = answer)
/// });
/// let mut state = 0;
/// reactor.run(&mut state)?; // returns when the handle is gone and nothing else is left
/// assert_eq!(state, 42);
/// # worker.join().unwrap().unwrap();
/// # std::io::Result::Ok(())
/// ```
pub struct Handle<S = ()> {
    shared: Arc<Shared<S>>,
}

pub(crate) struct Shared<S> {
    queue: Mutex<Queue<S>>,
    waker: Arc<Waker>,
    handles: AtomicUsize,
    /// How many calls may wait: `Config::post_limit`.
    limit: usize,
}

struct Queue<S> {
    calls: VecDeque<Call<S>>,
    /// The reactor was dropped: nobody will run what is posted.
    gone: bool,
}

impl<S> Shared<S> {
    pub(crate) fn new(waker: Arc<Waker>, limit: usize) -> Arc<Self> {
        let queue = Mutex::new(Queue { calls: VecDeque::new(), gone: false });
        Arc::new(Shared { queue, waker, handles: AtomicUsize::new(0), limit })
    }

    /// A poisoned lock is taken as it is: the queue is whole between any two statements that hold it.
    fn lock(&self) -> MutexGuard<'_, Queue<S>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn handles(&self) -> usize {
        self.handles.load(Ordering::Acquire)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().calls.is_empty()
    }

    /// Moves at most `budget` calls over to the loop, and says whether that left some.
    pub(crate) fn take(&self, budget: usize, into: &mut VecDeque<Call<S>>) -> bool {
        let mut queue = self.lock();
        let n = queue.calls.len().min(budget);
        into.extend(queue.calls.drain(..n));
        !queue.calls.is_empty()
    }

    /// From now on, posting is refused. Returns how many calls nobody will run.
    pub(crate) fn close(&self) -> usize {
        let mut queue = self.lock();
        queue.gone = true;
        let calls = std::mem::take(&mut queue.calls);
        drop(queue); // the calls own what they captured: dropping that may come back here
        calls.len()
    }

    pub(crate) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            log::error!("the loop could not be woken: {error}; it will notice with its next event or timer");
        }
    }
}

impl<S> Handle<S> {
    pub(crate) fn new(shared: &Arc<Shared<S>>) -> Self {
        shared.handles.fetch_add(1, Ordering::AcqRel);
        Handle { shared: Arc::clone(shared) }
    }

    /// Has `call` run on the loop, in one of its next turns; what one thread posts runs in the order in which it was
    /// posted.
    ///
    /// # Errors
    /// Both give `call` back, unrun. [`PostError::Gone`]: the reactor was dropped. [`PostError::Full`]:
    /// [`Config::post_limit`](crate::Config::post_limit) calls are waiting, so the loop cannot follow. A thread may then
    /// wait a little and try again; a callback must not, as it is the loop that would have to run them meanwhile.
    pub fn post<F>(&self, call: F) -> Result<(), PostError<F>>
    where
        F: FnOnce(&mut Cx<'_, S>) + Send + 'static,
    {
        let mut queue = self.shared.lock();
        if queue.gone {
            return Err(PostError::Gone(call));
        }
        if queue.calls.len() >= self.shared.limit {
            return Err(PostError::Full(call));
        }
        queue.calls.push_back(Box::new(call));
        let was_empty = queue.calls.len() == 1;
        drop(queue);
        if was_empty {
            self.shared.wake();
        }
        Ok(())
    }
}

impl<S> Clone for Handle<S> {
    fn clone(&self) -> Self {
        Handle::new(&self.shared)
    }
}

impl<S> Drop for Handle<S> {
    fn drop(&mut self) {
        if self.shared.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.wake(); // the loop may have been waiting for nothing but us
        }
    }
}

impl<S> fmt::Debug for Handle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
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
