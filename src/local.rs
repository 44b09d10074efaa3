//! Calls from values of this thread that were dropped, and so had no loop at hand to say so.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use crate::Cx;
use crate::handle::Shared;

type LocalCall<S> = Box<dyn FnOnce(&mut Cx<'_, S>)>;

/// Runs closures on the loop, as a [`Handle`](crate::Handle) does, but from the loop's own thread, and so that they need
/// not be `Send`; it does not keep the loop from ending.
pub(crate) struct Local<S> {
    calls: RefCell<VecDeque<LocalCall<S>>>,
    shared: Arc<Shared<S>>,
}

impl<S> Local<S> {
    pub(crate) fn new(shared: &Arc<Shared<S>>) -> Self {
        Local { calls: RefCell::default(), shared: Arc::clone(shared) }
    }

    pub(crate) fn post(&self, call: impl FnOnce(&mut Cx<'_, S>) + 'static) {
        self.calls.borrow_mut().push_back(Box::new(call));
        self.shared.wake();
    }

    pub(crate) fn pop(&self) -> Option<LocalCall<S>> {
        self.calls.borrow_mut().pop_front()
    }
}
