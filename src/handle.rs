//! Closures that other threads have run on the loop.

use std::fmt;
use std::sync::Arc;

use crate::net::mailbox::{Mailbox, PostError};
use crate::reactor::posted::Call;
use crate::{Cx, Reactor};

impl<S> Reactor<S> {
    /// A handle by which other threads run closures on this loop.
    pub fn handle(&self) -> Handle<S> {
        Handle::new(self.mailbox())
    }
}

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
    mailbox: Arc<Mailbox<Call<S>>>,
}

impl<S> Handle<S> {
    fn new(mailbox: &Arc<Mailbox<Call<S>>>) -> Self {
        mailbox.add_handle();
        Handle { mailbox: Arc::clone(mailbox) }
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
        self.mailbox.post(call, |call| Box::new(call))
    }
}

impl<S> Clone for Handle<S> {
    fn clone(&self) -> Self {
        Handle::new(&self.mailbox)
    }
}

impl<S> Drop for Handle<S> {
    fn drop(&mut self) {
        self.mailbox.drop_handle();
    }
}

impl<S> fmt::Debug for Handle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}
