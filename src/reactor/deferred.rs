//! Calls from values of this thread that were dropped, and so had no loop at hand to say so.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;

use crate::Cx;
use crate::reactor::posted::Shared;

type LocalCall<S> = Box<dyn FnOnce(&mut Cx<'_, S>)>;

/// Runs closures on the loop, as a [`Handle`](crate::Handle) does, but from the loop's own thread, and so that they need
/// not be `Send`; it does not keep the loop from ending, except for a call that is posted already.
pub(crate) struct Local<S> {
    calls: RefCell<VecDeque<LocalCall<S>>>,
    /// The reactor was dropped.
    gone: Cell<bool>,
    shared: Arc<Shared<S>>,
}

impl<S> Local<S> {
    pub(crate) fn new(shared: &Arc<Shared<S>>) -> Self {
        Local { calls: RefCell::default(), gone: Cell::new(false), shared: Arc::clone(shared) }
    }

    /// If the reactor was dropped, the call is dropped too.
    pub(crate) fn post(&self, call: impl FnOnce(&mut Cx<'_, S>) + 'static) {
        if self.is_gone() {
            return;
        }
        self.calls.borrow_mut().push_back(Box::new(call));
        self.shared.wake();
    }

    pub(crate) fn pop(&self) -> Option<LocalCall<S>> {
        self.calls.borrow_mut().pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.calls.borrow().is_empty()
    }

    /// Nobody will run anything any more.
    pub(crate) fn close(&self) {
        self.gone.set(true);
        drop(self.calls.take()); // they own what they captured: dropping that may come back here
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.get()
    }
}
