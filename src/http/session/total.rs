//! The time limit on a whole call.

use std::cell::RefCell;
use std::rc::Rc;

use super::call::State;
use crate::reactor::posted::Deferred;
use crate::{Cx, TimerId};

/// The timer for the limit on a whole call. The timer keeps the session alive. If a callback panics, its call is
/// dropped, and this with it: `drop` then ends the call and removes the timer.
pub(super) struct Total<S: 'static> {
    timer: Option<TimerId>,
    state: Rc<RefCell<State>>,
    deferred: Rc<Deferred<S>>,
}

impl<S: 'static> Total<S> {
    pub(super) fn new(cx: &Cx<'_, S>, timer: TimerId, state: &Rc<RefCell<State>>) -> Self {
        Total { timer: Some(timer), state: Rc::clone(state), deferred: Rc::clone(&cx.core.deferred) }
    }

    pub(super) fn cancel(&mut self, cx: &mut Cx<'_, S>) {
        if let Some(timer) = self.timer.take() {
            cx.cancel(timer);
        }
    }
}

impl<S: 'static> Drop for Total<S> {
    fn drop(&mut self) {
        let Some(timer) = self.timer else { return };
        if let Ok(mut state) = self.state.try_borrow_mut() {
            (state.over, state.writer) = (true, None);
        }
        self.deferred.post(move |cx| {
            cx.cancel(timer);
        });
    }
}
