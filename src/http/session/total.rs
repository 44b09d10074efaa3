//! A call's total limit in time.

use std::cell::RefCell;
use std::rc::Rc;

use super::call::State;
use crate::reactor::posted::Deferred;
use crate::{Cx, TimerId};

/// The timer of a call's total limit, which keeps the session. A callback that panics drops this with all else that belongs
/// to the call: then it ends the call by itself.
pub(super) struct Total<S: 'static> {
    timer: Option<TimerId>,
    state: Rc<RefCell<State>>,
    local: Rc<Deferred<S>>,
}

impl<S: 'static> Total<S> {
    pub(super) fn new(cx: &Cx<'_, S>, timer: TimerId, state: &Rc<RefCell<State>>) -> Self {
        Total { timer: Some(timer), state: Rc::clone(state), local: Rc::clone(&cx.core.deferred) }
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
        self.local.post(move |cx| {
            cx.cancel(timer);
        });
    }
}
