//! The turn: one trip round the loop, as a list of its phases.

pub(crate) mod alive;
pub(crate) mod close;
pub(crate) mod conn;
pub(crate) mod core;
pub(crate) mod cx;
pub(crate) mod posted;
pub(crate) mod protocol;
pub(crate) mod read;
pub(crate) mod recover;
pub(crate) mod slot;
pub(crate) mod timers;
pub(crate) mod write;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::LONGEST_WAIT;
use crate::net::mailbox::Mailbox;
use crate::net::poll::{Batch, Poller};
use crate::net::socket::Socket;
use crate::reactor::core::Core;
use crate::reactor::posted::Call;
use crate::{Config, Cx};

/// The event loop. One thread, one `mio::Poll`, one slab of nonblocking sources; `S` is the state that callbacks
/// share.
///
/// Dropping it closes every descriptor and drops every machine without a call of `closed`, as there is no state to
/// give results to: let [`run`](Self::run) come to its end, or [`shutdown`](Cx::shutdown), where that matters. The peer of
/// a connection with output unsent sees a reset, so that it cannot take the part for the whole.
///
/// A callback may panic: the panic leaves `run`, which can be called again. The connection of the machine that panicked is
/// reset, without a call of `closed`; the others go on.
pub struct Reactor<S = ()> {
    core: Core<S>,
    /// Lent to every read, so that no connection needs a buffer of its own to read into.
    scratch: Box<[u8]>,
    batch: Batch,
}

/// What one turn leaves behind, for a loop that embeds this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Turn {
    /// Whether anything is left to wait for: what [`run`](Reactor::run) goes by. `false` also once after
    /// [`stop`](Cx::stop).
    pub alive: bool,
    /// How long until the next turn is due even if no descriptor becomes ready: zero if there is more to do now,
    /// `None` if only events are waited for.
    pub next: Option<Duration>,
}

impl<S> Reactor<S> {
    /// A reactor with the default [`Config`].
    ///
    /// # Errors
    /// What the kernel says to a new epoll or kqueue instance: no descriptors left, most likely.
    pub fn new() -> io::Result<Self> {
        Self::with_config(Config::default())
    }

    /// A reactor with these limits and budgets.
    ///
    /// # Errors
    /// As for [`new`](Self::new), and [`InvalidInput`](io::ErrorKind::InvalidInput) naming the value that cannot be.
    pub fn with_config(config: Config) -> io::Result<Self> {
        Self::on(Poller::new()?, config)
    }

    pub(crate) fn on(driver: Poller, config: Config) -> io::Result<Self> {
        let core = Core::new(driver, config)?;
        let scratch = vec![0; core.config.read_buffer].into_boxed_slice();
        let batch = Batch::new(core.config.events);
        Ok(Reactor { core, scratch, batch })
    }

    /// The loop as a callback sees it: to listen, connect and set timers before running.
    pub fn cx<'a>(&'a mut self, state: &'a mut S) -> Cx<'a, S> {
        // A panic in the last `closed` of a shutdown has left `run` when there was nothing left to wait for. To run again
        // returns at once, as the shutdown asked for; to set things up begins anew.
        if self.begin() && self.core.streams == 0 {
            self.core.shutdown_by = None;
        }
        Cx { state, core: &mut self.core }
    }

    /// Runs until nothing is left to wait for (no source, no timer, no handle), or [`stop`](Cx::stop) or
    /// [`shutdown`](Cx::shutdown) ends it. Can be called again after either.
    ///
    /// # Errors
    /// What the kernel says to waiting: nothing that a program can mend. What happens to a connection is told to its
    /// machine.
    #[inline(never)] // a main that calls it once is compiled as cold code, and the loop would be with it
    pub fn run(&mut self, state: &mut S) -> io::Result<()> {
        self.begin();
        self.core.settle();
        while self.goes_on() {
            let mut timeout = self.timeout(None);
            // Most waits bring messages only, which are delivered as they are taken in: then it waits again at once.
            loop {
                self.take_events(state, timeout)?;
                if !self.core.only_waits() {
                    break;
                }
                let left = self.core.timers.next().map(|tick| self.core.clock.ticks_to_wait(tick));
                if left == Some(0) {
                    break; // a timer is due
                }
                timeout = left.map(Duration::from_millis);
            }
            self.do_the_rest(state)?;
        }
        self.come_to_an_end(state);
        Ok(())
    }

    /// Goes round once, and waits at most `max_wait` for something to happen (`None`: as long as it takes). For
    /// embedding in another loop, which can wait for this one's descriptor (`descriptor`, on Unix) to become readable, but
    /// no longer than [`Turn::next`]. What is done through [`cx`](Self::cx) between two turns takes effect in the next.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    pub fn turn(&mut self, state: &mut S, max_wait: Option<Duration>) -> io::Result<Turn> {
        self.begin();
        self.core.settle();
        let for_ever = max_wait.is_none() && !self.goes_on();
        let max_wait = if for_ever { Some(Duration::ZERO) } else { max_wait };
        let timeout = self.timeout(max_wait);
        self.take_events(state, timeout)?;
        self.do_the_rest(state)?;
        let alive = self.goes_on();
        if !alive {
            self.come_to_an_end(state);
        }
        // To a loop that polls this one edge-triggered, what the batch did not hold is no new event.
        let next = if self.batch.is_full() { Some(0) } else { self.next_tick() };
        Ok(Turn { alive, next: next.map(|tick| self.core.clock.until(tick)) })
    }

    #[inline]
    fn goes_on(&self) -> bool {
        !self.core.stopping && self.core.is_alive()
    }

    /// After `stop` or `shutdown`: the loop can be run again.
    fn come_to_an_end(&mut self, state: &mut S) {
        if self.core.shutdown_by.is_some() {
            self.reap(state); // who came too late is told so once, and cannot go on coming for ever
        }
        self.core.stopping = false;
        self.core.shutdown_by = None;
    }

    pub(crate) fn mailbox(&self) -> &Arc<Mailbox<Call<S>>> {
        &self.core.mailbox
    }

    /// The descriptor that becomes readable when a source or a posted call is ready: poll it from another loop, then
    /// call [`turn`](Self::turn) with no wait. For timers, see [`Turn::next`]. A simulated reactor has none.
    #[cfg(unix)]
    pub fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.core.poll.descriptor()
    }

    /// Has names looked up by `resolver` from now on, instead of by the system: from a table of one's own, or with
    /// another way to ask the DNS. It is called by helper threads ([`Config::resolver_threads`]), so it may take its time.
    /// But it must return: until then, it is not asked for the same host and port again. To connect to an address, it is
    /// not asked.
    ///
    /// ```
    /// use std::net::ToSocketAddrs;
    ///
    /// let mut reactor: enjamb::Reactor = enjamb::Reactor::new()?;
    /// reactor.set_resolver(|host, port| match host {
    ///     "database" => Ok(vec![([127, 0, 0, 1], port).into()]),
    ///     _ => (host, port).to_socket_addrs().map(Iterator::collect), // what the system says
    /// });
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_resolver(
        &mut self,
        resolver: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) {
        self.core.look_ups.set_resolver(Arc::new(resolver));
    }

    /// What there is to do in a turn besides taking in events.
    #[inline]
    fn do_the_rest(&mut self, state: &mut S) -> io::Result<()> {
        self.do_what_came(state);
        if self.core.timers.next().is_some_and(|next| next <= self.core.clock.tick()) {
            self.fire_timers(state)?;
        }
        if !self.core.doomed.is_empty() {
            self.reap(state);
        }
        Ok(())
    }

    /// Runs the calls that were posted and drives what has work.
    #[inline]
    fn do_what_came(&mut self, state: &mut S) {
        if self.core.more_calls {
            self.run_calls(state);
        }
        if !self.core.run_queue.is_empty() || !self.core.over_budget.is_empty() {
            self.drive_queue(state);
        }
    }

    /// Fires the timers that were due when the last poll ended. What became due later, while callbacks ran or the process
    /// was stopped, waits for the next poll: only that tells whether an answer has come in time. The wait for it is zero.
    #[inline(never)] // most turns have no timer to fire
    fn fire_timers(&mut self, state: &mut S) -> io::Result<()> {
        let polled = self.core.clock.polled_tick();
        if self.core.timers.next().is_none_or(|next| next > polled) {
            return Ok(());
        }
        if self.batch.is_full() {
            self.note_events()?;
            self.do_what_came(state);
        }
        self.core.fire_timers(state, polled);
        Ok(())
    }

    /// Notes the events that a full batch has left with the kernel, without doing anything about them. To leave the timers
    /// for the next poll would not do: on a busy loop, every batch may be full.
    #[cold]
    fn note_events(&mut self) -> io::Result<()> {
        // The kernel tells them in turn, and each source has a place in one of so many batches.
        for _ in 0..=self.core.slots.len() / self.core.config.events {
            self.wait(Some(Duration::ZERO))?;
            self.mark_batch();
            if !self.batch.is_full() {
                break;
            }
        }
        Ok(())
    }

    /// The tick until which the loop may sleep.
    #[inline]
    fn next_tick(&self) -> Option<u64> {
        if self.core.has_work() { Some(0) } else { self.core.timers.next() }
    }

    /// How long the next wait may be: no longer than `max_wait`, and until something else is due.
    #[inline]
    fn timeout(&mut self, max_wait: Option<Duration>) -> Option<Duration> {
        let max_wait = max_wait.map(|most| most.min(Duration::from_millis(LONGEST_WAIT)));
        if let Some(tick) = self.next_tick() {
            let next = Duration::from_millis(self.core.clock.ticks_to_wait(tick));
            return Some(max_wait.map_or(next, |most| most.min(next)));
        }
        if max_wait.is_none() && self.core.is_stuck() && !std::mem::replace(&mut self.core.warned_stuck, true)
        {
            log::warn!(
                "nothing can ever happen again: every connection is paused, and there is no timer and no handle that \
                 could resume one; {}",
                self.alive()
            );
        }
        max_wait
    }

    /// Waits for events, and takes them in.
    #[inline(always)] // in the loop of `run`, which is where the time goes
    fn take_events(&mut self, state: &mut S, timeout: Option<Duration>) -> io::Result<()> {
        self.wait(timeout)?;
        for (token, ready) in self.batch.iter() {
            self.core.take_event(state, token, ready, &mut self.scratch, |socket| socket.tcp().is_some());
        }
        if self.core.poll.is_simulated() {
            self.take_simulated_events(state); // apart, or each of the others would pay for the choice
        }
        Ok(())
    }

    #[inline(always)]
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let polled = self.core.poll.wait(&mut self.batch, timeout);
        self.core.clock.read();
        match polled {
            Ok(()) => self.core.clock.mark_poll(),
            Err(error) => self.core.cannot_wait(error)?,
        }
        Ok(())
    }

    #[cold]
    fn take_simulated_events(&mut self, state: &mut S) {
        for &(token, ready) in self.batch.simulated() {
            self.core.take_event(state, token, ready, &mut self.scratch, Socket::is_simulated);
        }
    }

    /// What every way into the loop begins with: since the last, time has passed, and a callback may have panicked, which
    /// it says.
    fn begin(&mut self) -> bool {
        self.core.clock.read();
        let panicked = self.core.recover();
        if panicked {
            // What the kernel had reported behind it, it will not report again.
            self.mark_batch();
            self.core.clean_up();
        }
        panicked
    }

    /// Notes the events at hand without doing anything about them.
    fn mark_batch(&mut self) {
        for (token, ready) in self.batch.iter().chain(self.batch.simulated().iter().copied()) {
            self.core.mark_ready(token, ready);
        }
    }

    /// Runs what other threads have posted: at most a budget of it, so that posting cannot starve the connections.
    #[inline(never)]
    fn run_calls(&mut self, state: &mut S) {
        let core = &mut self.core;
        core.more_calls = core.mailbox.take(core.config.call_budget, &mut core.calls);
        core.take_answers(state);
        while let Some(call) = core.deferred.pop() {
            call(&mut Cx { state, core });
            core.returned("a value that was dropped", None);
        }
        while let Some(call) = core.calls.pop_front() {
            call(&mut Cx { state, core });
            core.returned("a posted call", None);
        }
    }

    /// Drives everything else that has work now. Who gets more meanwhile waits for the next turn, which then comes at
    /// once.
    #[inline(never)]
    fn drive_queue(&mut self, state: &mut S) {
        let core = &mut self.core;
        let n = core.run_queue.len();
        for i in 0..n {
            core.drive(state, core.run_queue[i], &mut self.scratch);
        }
        core.run_queue.drain(..n);
        core.run_queue.append(&mut core.over_budget);
    }

    /// Removes what was closed or has failed, and tells its machine. What that closes in turn is for the next turn.
    #[cold]
    fn reap(&mut self, state: &mut S) {
        for _ in 0..self.core.doomed.len() {
            if let Some((key, result)) = self.core.doomed.pop_front() {
                self.core.reap(state, key, result);
            }
        }
    }
}

impl<S> Drop for Reactor<S> {
    fn drop(&mut self) {
        self.core.cut_off();
        // The calls own what they captured: dropping that may come back to the queues, or panic, so both are closed first.
        let (_deferred, posted) = (self.core.deferred.close(), self.core.mailbox.close());
        match posted.len() + self.core.calls.len() {
            0 => {}
            lost => log::warn!("the reactor is dropped before {lost} calls posted to it have run"),
        }
    }
}

/// As [`descriptor`](Reactor::descriptor), for loops that take a plain number. A simulated reactor has none: -1.
#[cfg(unix)]
impl<S> std::os::fd::AsRawFd for Reactor<S> {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.core.poll.as_raw_fd()
    }
}

impl<S> fmt::Debug for Reactor<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor").finish_non_exhaustive()
    }
}
