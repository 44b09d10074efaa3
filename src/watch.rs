//! The raw layer: any source that mio can register, and a machine that does its system calls itself.

use std::io;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use mio::event::Source;
use mio::{Interest, Token};

use crate::base::readiness::Readiness;
use crate::base::slots::Key;
use crate::net::poll::Poller;
use crate::reactor::core::Core;
use crate::reactor::slot::{Step, Watched, Watcher};
use crate::{Cx, WatchId};

/// A state machine over a raw source: a UDP socket, a pipe, a descriptor of somebody else's
/// ([`mio::unix::SourceFd`]), anything that implements mio's `Source`. See [`Cx::watch`].
///
/// ```
/// use enjamb::{Cx, Readiness, Step, Watch, mio::net::UdpSocket};
/// use std::io;
///
/// /// Sends every datagram back to where it came from.
/// struct UdpEcho;
///
/// impl Watch<UdpSocket> for UdpEcho {
///     fn ready(&mut self, _cx: &mut Cx<'_>, socket: &mut UdpSocket, _: Readiness) -> io::Result<Step> {
///         let mut datagram = [0; 65_536];
///         match socket.recv_from(&mut datagram) {
///             Ok((n, from)) => {
///                 socket.send_to(&datagram[..n], from).ok(); // like the network, UDP may drop
///                 Ok(Step::Again)
///             }
///             Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Step::Wait),
///             Err(error) => Err(error),
///         }
///     }
/// }
/// ```
pub trait Watch<E, S = ()> {
    /// The source is ready, as far as the hints in `ready` go. An error ends the watch, and `closed` is told.
    fn ready(&mut self, cx: &mut Cx<'_, S>, source: &mut E, ready: Readiness) -> io::Result<Step>;

    /// The watch is over and the source deregistered; it comes back to whoever wants to go on using it. Called
    /// exactly once.
    fn closed(self: Box<Self>, cx: &mut Cx<'_, S>, source: E, result: io::Result<()>) {
        let _ = (cx, source, result);
    }
}

impl<S> Watcher<S> {
    pub(crate) fn new<E: Source + 'static>(source: E, machine: impl Watch<E, S> + 'static) -> Self {
        let pair = Pair { source, machine: Box::new(machine) };
        Watcher {
            pair: Some(Box::new(pair)),
            ready: Readiness::NONE,
            queued: false,
            doomed: false,
            serial: NonZeroU32::MIN,
        }
    }
}

struct Pair<E, M> {
    source: E,
    machine: Box<M>,
}

impl<S, E: Source, M: Watch<E, S>> Watched<S> for Pair<E, M> {
    fn ready(&mut self, cx: &mut Cx<'_, S>, ready: Readiness) -> io::Result<Step> {
        self.machine.ready(cx, &mut self.source, ready)
    }
    fn register(&mut self, driver: &Poller, token: Token, interest: Interest) -> io::Result<()> {
        driver.register(&mut self.source, token, interest)
    }
    fn deregister(&mut self, driver: &Poller) {
        driver.deregister(&mut self.source);
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, S>, result: io::Result<()>) {
        let Pair { source, machine } = *self;
        machine.closed(cx, source, result);
    }
}

impl<S> Core<S> {
    pub(crate) fn drive_watch(&mut self, state: &mut S, key: Key) {
        let Some(watcher) = self.slots.get::<Watcher<S>>(key) else { return };
        watcher.queued = false;
        if watcher.doomed {
            return;
        }
        let ready = std::mem::replace(&mut watcher.ready, Readiness::NONE);
        let Some(mut pair) = watcher.pair.take() else { return };
        self.running = Some(key);
        let called = catch_unwind(AssertUnwindSafe(|| pair.ready(&mut Cx { state, core: self }, ready)));
        let step = called.unwrap_or_else(|panic| {
            // The unwinding drops the source, but one that does not own its descriptor leaves it open, and registered.
            pair.deregister(&self.poll);
            resume_unwind(panic)
        });
        self.returned("a watch", Some(key));
        if let Some(watcher) = self.slots.get::<Watcher<S>>(key) {
            watcher.pair = Some(pair);
        }
        match step {
            Ok(Step::Wait) => {}
            Ok(Step::Again) => self.wake_watch(key, ready),
            Ok(Step::Done) => self.doom(key, Ok(())),
            Err(error) => self.doom(key, Err(error)),
        }
    }

    /// Has a watched source driven, with these readiness bits besides what it has.
    pub(crate) fn wake_watch(&mut self, key: Key, ready: Readiness) {
        if let Some(watcher) = self.slots.get::<Watcher<S>>(key) {
            watcher.ready.add(ready);
            if !std::mem::replace(&mut watcher.queued, true) {
                self.run_queue.push(key);
            }
        }
    }
}

impl<S> Cx<'_, S> {
    /// Registers a source of any kind and drives `machine` on its readiness: at once if it is ready, and then
    /// whenever it becomes so. `interest` is what it may become ready for.
    ///
    /// A source that owns its descriptor (mio's sockets and pipes) is safe in any case. One that only names it, as
    /// [`SourceFd`](mio::unix::SourceFd) does, must not be closed before [`closed`](Watch::closed) hands the source back:
    /// until then, the loop uses the number. Closing it earlier takes the registration with it (epoll(7), questions and
    /// answers, 6), so nothing more is heard; and if the system gives the number to another descriptor that this reactor
    /// watches or has adopted, the end of the first watch deregisters that one, which then hears nothing more. The loop
    /// cannot tell the two apart: the number is all that it has.
    ///
    /// # Errors
    /// What the kernel says to registering it: a regular file, for one, cannot be polled (`EPERM`, epoll_ctl(2)).
    /// Nothing is kept then.
    pub fn watch<E, M>(&mut self, source: E, interest: Interest, machine: M) -> io::Result<WatchId>
    where
        E: Source + 'static,
        M: Watch<E, S> + 'static,
    {
        let key = self.core.slots.insert(Watcher::new(source, machine));
        let pair = self.core.slots.get::<Watcher<S>>(key).and_then(|watcher| watcher.pair.as_mut());
        if let Some(pair) = pair
            && let Err(error) = pair.register(&self.core.poll, key.token(), interest)
        {
            self.core.slots.remove(key);
            return Err(error);
        }
        Ok(WatchId(key))
    }
}

impl<S> Cx<'_, S> {
    /// Has the machine of a watched source called in the next turn although no event came: because there is
    /// something to send now, say. Its `ready` then has no bit set. Returns `false` if the watch is over.
    pub fn rouse(&mut self, id: WatchId) -> bool {
        self.core.wake_watch(id.0, Readiness::NONE);
        self.core.slots.get::<Watcher<S>>(id.0).is_some_and(|watcher| !watcher.doomed)
    }

    /// Ends a watch: the source is deregistered and `closed` called, after this callback. Returns `false` if it was
    /// over. A descriptor that the source only names stays open until `closed`: see [`watch`](Self::watch).
    pub fn unwatch(&mut self, id: WatchId) -> bool {
        let open = self.core.slots.get::<Watcher<S>>(id.0).is_some_and(|watcher| !watcher.doomed);
        self.core.doom(id.0, Ok(()));
        open
    }
}
