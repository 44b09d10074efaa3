//! Closures that wait to be run by the loop: those that other threads have posted, and those that `Drop` impls queue.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;

use crate::Cx;
use crate::base::slots::Key;
use crate::net::mailbox::Mailbox;
use crate::net::resolver::Answer;

/// What another thread has posted.
pub(crate) type Call<S> = Box<dyn FnOnce(&mut Cx<'_, S>) + Send>;
pub(crate) type DeferredCall<S> = Box<dyn FnOnce(&mut Cx<'_, S>)>;

/// Closures queued by `Drop` impls, which have no `Cx`. They come from the loop's own thread and need not be `Send`. Only a
/// call that is queued already keeps the loop from ending.
pub(crate) struct Deferred<S> {
    calls: RefCell<VecDeque<DeferredCall<S>>>,
    /// The reactor was dropped.
    gone: Cell<bool>,
    mailbox: Arc<Mailbox<Call<S>>>,
}

impl<S> Deferred<S> {
    pub(crate) fn new(mailbox: &Arc<Mailbox<Call<S>>>) -> Self {
        Deferred { calls: RefCell::default(), gone: Cell::new(false), mailbox: Arc::clone(mailbox) }
    }

    /// If the reactor was dropped, the call is dropped too.
    pub(crate) fn post(&self, call: impl FnOnce(&mut Cx<'_, S>) + 'static) {
        if self.is_gone() {
            return;
        }
        self.calls.borrow_mut().push_back(Box::new(call));
        self.mailbox.wake();
    }

    pub(crate) fn pop(&self) -> Option<DeferredCall<S>> {
        self.calls.borrow_mut().pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.calls.borrow().is_empty()
    }

    /// From now on, what is posted is dropped. Returns the calls that will not run.
    pub(crate) fn close(&self) -> VecDeque<DeferredCall<S>> {
        self.gone.set(true);
        self.calls.take()
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.get()
    }
}

type Told<S> = Box<dyn FnOnce(&mut Cx<'_, S>, Answer)>;

/// What waits for the answer to a look-up.
pub(crate) enum Asker<S> {
    Connection(Key),
    Call(Told<S>),
}
