//! After a callback that panicked: the unwinding has dropped its machine, so there is nobody to tell, but the slot and
//! the descriptor must go, and nobody else may lose anything.

use crate::reactor::core::Core;
use crate::reactor::slot::{Connection, Slot};

impl<S> Core<S> {
    /// Queues what was left over if the last way into the loop was left by a panic, and says whether that was in a
    /// callback: then there is something to [clean up](Self::clean_up).
    pub(crate) fn recover(&mut self) -> bool {
        // It was one of them, and the others are still to come.
        self.more_calls |= !self.calls.is_empty() || !self.deferred.is_empty() || self.look_ups.has_answers();
        self.run_queue.append(&mut self.over_budget); // and whoever was put off in that turn
        self.running.is_some() || self.firing.is_some()
    }

    /// Removes what the callback that panicked belonged to. This drops a user's values, which may panic again: it is the
    /// last step of recovering.
    #[cold]
    pub(crate) fn clean_up(&mut self) {
        self.uncork(); // what it has written counts as unsent
        if let Some(timer) = self.firing.take() {
            self.timers.cancel(timer);
        }
        let Some(key) = self.running.take() else { return };
        if self.slots.by_key(key).is_none() {
            return;
        }
        log::error!("source {key} is dropped: a callback of its machine panicked");
        if let Some(Slot::Listener(_)) = self.slots.by_key(key) {
            self.close_listener(key);
        } else if let Some(Slot::Connection(Connection { machine, stream })) = self.slots.remove(key) {
            stream.reset_on_close(key); // all it wrote may be sent, but the callback did not come to its end
            let end = self.dismantle(stream, key, Ok(()));
            drop((machine, end));
        }
    }
}
