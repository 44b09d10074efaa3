//! Everything a callback may reach: slots, timers, queues. What is lent for the length of a callback (the machine,
//! the read buffer) is outside it while it runs.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::buffer::Spares;
use crate::base::clock::Clock;
use crate::base::clock::NO_DEADLINE;
use crate::base::error;
use crate::base::input::Untaken;
use crate::base::slots::{Key, Slots, WAKER};
use crate::base::wheel::{TimerKey, Timers};
use crate::net::connecting::{Attempt, Connecting};
use crate::net::mailbox::Mailbox;
use crate::net::names::LookUps;
use crate::net::poll::Poller;
use crate::reactor::posted::{Asker, Call, Deferred};
use crate::reactor::protocol::Protocol;
use crate::reactor::slot::{Acceptor, Connection, Slot, Watcher};
use crate::reactor::timers::Task;
use crate::stream::Stream;
use crate::stream::cork::Cork;
use crate::{Config, Readiness};

/// Why a connection's write half has failed.
pub(crate) struct Broken {
    pub(crate) key: Key,
    pub(crate) error: io::Error,
    /// Output was lost. Otherwise only our own end was.
    pub(crate) lost: bool,
}

pub(crate) struct Core<S> {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) slots: Slots<Slot<S>>,
    pub(crate) timers: Timers<Task<S>>,
    pub(crate) spares: Spares,
    pub(crate) cork: Cork,
    /// Who has work, each at most once.
    pub(crate) run_queue: Vec<Key>,
    /// Who has used up its budget, and comes to the back of the run queue for the next turn.
    pub(crate) over_budget: Vec<Key>,
    /// Who was written to, or finished or closed, during the callback at hand.
    pub(crate) dirty: Vec<Key>,
    /// Who is to be reaped, and how it ended.
    pub(crate) doomed: VecDeque<(Key, io::Result<()>)>,
    pub(crate) listeners: Vec<Key>,
    /// What stands in for the sockets that some streams do not have yet.
    pub(crate) connecting: HashMap<Key, Connecting>,
    pub(crate) look_ups: LookUps<Asker<S>>,
    pub(crate) mailbox: Arc<Mailbox<Call<S>>>,
    /// Calls from other threads, taken over for this turn.
    pub(crate) calls: VecDeque<Call<S>>,
    /// Calls from what was dropped on this thread. Looked at with those from others.
    pub(crate) deferred: Rc<Deferred<S>>,
    pub(crate) more_calls: bool,
    /// Whose machine is out on a callback. Still set when a turn begins only if that callback panicked.
    pub(crate) running: Option<Key>,
    /// How much is left of the input that this machine is lent.
    pub(crate) untaken: Untaken,
    /// Which periodic timer's closure is out on its call; likewise.
    pub(crate) firing: Option<TimerKey>,
    /// Streams that have a socket or will have one: those that a shutdown waits for.
    pub(crate) streams: usize,
    /// How many of the streams are paused by the user.
    pub(crate) paused: usize,
    pub(crate) stopping: bool,
    /// By which tick a shutdown has everything closed.
    pub(crate) shutdown_by: Option<u64>,
    /// The tick beyond which the deadline of a closing connection is not moved on, of those for which it has been.
    pub(crate) latest_ends: HashMap<Key, u64>,
    /// Connections whose write half has failed: they are read to their end before the error is reported.
    pub(crate) broken: Vec<Broken>,
    /// That nothing can ever happen again has been said.
    pub(crate) warned_stuck: bool,
    /// TLS for connections that have no socket yet.
    #[cfg(feature = "tls")]
    pub(crate) sessions: std::collections::HashMap<Key, crate::net::tls::Session>,
    /// Last, so that it outlives the sources that are registered with it.
    pub(crate) poll: Poller,
}

impl<S> Core<S> {
    pub(crate) fn new(poll: Poller, config: Config) -> io::Result<Self> {
        config.check()?;
        let waker = Arc::new(poll.waker()?);
        let mailbox = Mailbox::new(Arc::clone(&waker), config.post_limit);
        let look_ups = LookUps::new(waker, config.resolver_threads);
        Ok(Core {
            clock: Clock::new(config.slow_callback, poll.simulated_time()),
            config,
            slots: Slots::new(),
            timers: Timers::new(),
            spares: Spares::default(),
            cork: Cork::new(),
            run_queue: Vec::new(),
            over_budget: Vec::new(),
            dirty: Vec::new(),
            doomed: VecDeque::new(),
            listeners: Vec::new(),
            connecting: HashMap::new(),
            look_ups,
            deferred: Rc::new(Deferred::new(&mailbox)),
            mailbox,
            calls: VecDeque::new(),
            more_calls: false,
            running: None,
            untaken: Untaken::new(),
            firing: None,
            streams: 0,
            paused: 0,
            stopping: false,
            shutdown_by: None,
            latest_ends: HashMap::new(),
            broken: Vec::new(),
            warned_stuck: false,
            #[cfg(feature = "tls")]
            sessions: Default::default(),
            poll,
        })
    }

    pub(crate) fn insert_stream(&mut self, stream: Stream, machine: Box<dyn Protocol<S>>) -> Key {
        self.streams += usize::from(stream.socket.is_some());
        self.slots.insert(Connection { machine: Some(machine), stream })
    }

    /// Registers a stream's socket, once and for both directions: it is never registered again.
    pub(crate) fn register_stream(&mut self, key: Key) -> io::Result<()> {
        let socket = self.slots.stream(key).and_then(|stream| stream.socket.as_mut());
        let Some(socket) = socket else { return Ok(()) };
        socket.register(&self.poll, key.token())
    }

    /// Has a connection that stands below go through the handshake above before anything else but the plain bytes that
    /// are still to be sent. The handshake's limit counts from when it begins, so this is called again behind those. A limit
    /// that was set before stays.
    pub(crate) fn shake_hands(&mut self, key: Key) {
        let Some(stream) = self.slots.stream(key) else { return };
        stream.state.upgrade();
        #[cfg(feature = "tls")]
        if stream.plain_left() == 0 && !stream.has_handshake_limit() {
            self.limit_handshake(key, self.config.connect_timeout);
        }
        self.queue_stream(key);
    }

    /// Puts a stream into the run queue if driving it would do anything.
    #[inline]
    pub(crate) fn queue_stream(&mut self, key: Key) {
        if let Some(stream) = self.slots.stream(key)
            && stream.has_work()
            && stream.state.enqueue()
        {
            self.run_queue.push(key);
        }
    }

    /// Has a stream flushed, finished or closed, as far as that is due, when the callback at hand returns.
    #[inline]
    pub(crate) fn mark_dirty(&mut self, key: Key) {
        if let Some(stream) = self.slots.stream(key)
            && stream.state.mark_dirty()
        {
            self.dirty.push(key);
        }
    }

    /// What every callback is followed by: the time it took is looked at, and what it has written is sent.
    pub(crate) fn returned(&mut self, what: &str, key: Option<Key>) {
        self.running = None;
        self.look_at_the_time(what, key);
        if !self.dirty.is_empty() {
            self.settle();
        }
    }

    /// Reads the clock after a callback, and warns if it took too long.
    #[inline]
    pub(crate) fn look_at_the_time(&mut self, what: &str, key: Option<Key>) {
        let now = self.clock.fresh();
        if self.clock.suspects(now) {
            self.judge(now, what, key);
        }
        self.clock.set(now);
    }

    #[cold]
    fn judge(&mut self, now: Instant, what: &str, key: Option<Key>) {
        if let Some(held) = self.clock.judge(now) {
            self.warn_slow(what, key, held);
        }
    }

    fn warn_slow(&mut self, what: &str, key: Option<Key>, held: Duration) {
        let peer = key.and_then(|key| self.slots.stream(key)).map(|stream| stream.peer.to_string());
        let key = key.map(|key| format!(" {key}")).unwrap_or_default();
        let peer = peer.map(|peer| format!(" ({peer})")).unwrap_or_default();
        log::warn!(
            "a callback of {what}{key}{peer} held the loop for {held:.1?}, and everything else waited; do slow work \
             in a thread and post the result through a Handle (Config::slow_callback sets when to warn)"
        );
    }

    /// Hands what the callback at hand has written so far over to its connection, and gathers no more from it: for
    /// whoever looks at a connection's output, or ends it.
    #[inline]
    pub(crate) fn uncork(&mut self) {
        if let Some(key) = self.cork.close()
            && !self.cork.is_empty()
        {
            self.hand_over_corked(key);
        }
    }

    #[inline(never)]
    fn hand_over_corked(&mut self, key: Key) {
        if let Some(stream) = self.slots.stream(key) {
            stream.output.get_or_insert_with(|| self.spares.take()).push(self.cork.bytes());
        }
        self.cork.clear();
        self.mark_dirty(key);
    }

    /// Sends what was written, and finishes and closes what is due, for all that were touched.
    #[inline(never)] // most callbacks leave nothing for it, and see to that first
    pub(crate) fn settle(&mut self) {
        while let Some(key) = self.dirty.pop() {
            let Some(stream) = self.slots.stream(key) else { continue };
            stream.state.clean();
            self.push_out(key);
        }
    }

    /// Sends what a stream has waiting, and takes the steps that become due when all is sent.
    pub(crate) fn push_out(&mut self, key: Key) {
        let may_send = self.slots.stream(key).is_some_and(|stream| stream.may_send());
        let sent = if may_send { self.flush(key) } else { Ok(()) };
        self.after_flush(key, sent);
    }

    /// Sends what a stream has waiting, as far as the kernel takes it. If the stream is closing, that is progress.
    pub(crate) fn flush(&mut self, key: Key) -> io::Result<()> {
        let Some(stream) = self.slots.stream(key) else { return Ok(()) };
        let before = stream.state.is_extensible().then(|| stream.unsent());
        let sent = stream.flush(&mut self.spares);
        if before.is_some_and(|before| stream.unsent() < before) {
            self.extend_closing(key);
        }
        sent
    }

    #[cold]
    pub(crate) fn after_flush(&mut self, key: Key, sent: io::Result<()>) {
        if let Err(error) = sent {
            return self.write_failed(key, error);
        }
        if self.slots.stream(key).is_some_and(|stream| stream.state.winds_up()) {
            self.wind_up(key);
        }
        // No event comes for what is left to do: output after a send that a signal interrupted, a call of `drained`.
        self.queue_stream(key);
    }

    /// Sends what is written as far as the kernel takes it, and returns how much that leaves.
    #[cfg(feature = "http")]
    pub(crate) fn send_now(&mut self, key: Key) -> usize {
        self.uncork();
        if self.slots.stream(key).is_some_and(|stream| stream.state.takes_output()) {
            self.push_out(key);
        }
        self.slots.stream(key).map_or(0, |stream| stream.unsent())
    }

    /// Has `drained` called when everything is sent, and not before.
    #[cfg(feature = "http")]
    pub(crate) fn drain_whole(&mut self, key: Key) {
        if let Some(stream) = self.slots.stream(key) {
            stream.low_water = 0;
            stream.state.fill();
        }
    }

    /// Nothing more can be sent, but what the peer said before may still be there to read: the final answer to a
    /// request that it did not want to the end, say. So the error is reported when reading comes to its end too.
    #[cold]
    pub(crate) fn write_failed(&mut self, key: Key, error: io::Error) {
        let Some(stream) = self.slots.stream(key) else { return };
        let reads_on = stream.state.reads_on() && !stream.state.is_ending();
        let reads_on = reads_on || stream.is_paused_before_bytes();
        self.break_off(key, Broken { key, error, lost: true }, reads_on);
    }

    /// Our own end could not be sent, behind everything else. That is no failure if the peer's end has come before, which
    /// only reading tells, also where a closing connection throws away what it reads.
    #[cold]
    pub(crate) fn end_failed(&mut self, key: Key, error: io::Error) {
        let Some(stream) = self.slots.stream(key) else { return };
        let reads_on = stream.state.reads_on();
        self.break_off(key, Broken { key, error, lost: false }, reads_on);
    }

    fn break_off(&mut self, key: Key, broken: Broken, reads_on: bool) {
        let Some(stream) = self.slots.stream(key) else { return };
        stream.state.break_off();
        self.broken.push(broken);
        if reads_on {
            self.queue_stream(key);
        } else {
            self.give_up(key);
        }
    }

    /// The output went above the high-water mark, or has reached the limit. What was only gathered goes out first, but even
    /// if all of it does, the machine is full for this time: the others have their turn.
    #[cold]
    pub(crate) fn overflow(&mut self, key: Key) {
        let Some(stream) = self.slots.stream(key) else { return };
        if stream.unsent() > stream.high_water as usize {
            stream.state.fill();
        }
        if stream.may_send()
            && let Err(error) = stream.flush(&mut self.spares)
        {
            return self.write_failed(key, error);
        }
        let (unsent, limit) = (stream.unsent(), self.config.output_limit);
        if unsent >= limit {
            let message = format!(
                "writing to {}: {unsent} bytes are unsent, and Config::output_limit is {limit}; the peer does not read \
                 as fast as it is written to: stop at Conn::is_full and go on in drained",
                stream.peer,
            );
            self.doom(key, Err(error::new(io::ErrorKind::OutOfMemory, message)));
        }
    }

    /// Arms a connection's deadline. Progress of closing does not move this one on. A timer is never set for later than the
    /// deadline, and looks again when it fires: so moving the deadline on with every byte received touches no timer.
    #[inline]
    pub(crate) fn set_deadline(&mut self, key: Key, tick: u64) {
        let Some(stream) = self.slots.stream(key) else { return };
        let tick = tick.min(self.shutdown_by.unwrap_or(NO_DEADLINE));
        let before = std::mem::replace(&mut stream.deadline, tick);
        stream.state.fix_deadline();
        if stream.timer.is_none() || tick == NO_DEADLINE || tick < before {
            self.set_deadline_timer(key);
        }
    }

    /// What is left to do when the deadline is new, disarmed, or moved forward.
    #[inline(never)] // callbacks that only move a deadline on are the smaller for it
    pub(crate) fn set_deadline_timer(&mut self, key: Key) {
        let Some(stream) = self.slots.stream(key) else { return };
        let tick = stream.due();
        if let Some(timer) = stream.timer {
            if tick != NO_DEADLINE && self.timers.deadline(timer).is_some_and(|set| set <= tick) {
                return;
            }
            self.timers.cancel(timer);
            stream.timer = None;
        }
        if tick != NO_DEADLINE {
            stream.timer = Some(self.timers.insert(tick, Task::Deadline(key)));
        }
    }

    /// Whether anything is left to wait for.
    #[inline]
    pub(crate) fn is_alive(&self) -> bool {
        if self.shutdown_by.is_some() {
            return self.streams > 0;
        }
        !self.slots.is_empty()
            || !self.timers.is_empty()
            || self.mailbox.handles() > 0
            || !self.mailbox.is_empty()
            || !self.calls.is_empty()
            || !self.deferred.is_empty()
            || !self.look_ups.is_empty()
    }

    /// Whether the next poll must not wait.
    pub(crate) fn has_work(&self) -> bool {
        !self.run_queue.is_empty() || !self.doomed.is_empty() || self.more_calls
    }

    /// Whether there is nothing to do but to wait, for events or until a timer is due: nothing is queued, the loop goes
    /// on ([`is_alive`](Self::is_alive)), and nobody is paused, so that it cannot be [stuck](Self::is_stuck). Every
    /// message pays for this, so the queues are looked at together.
    #[inline]
    pub(crate) fn only_waits(&self) -> bool {
        let waiting = self.run_queue.len() | self.over_budget.len() | self.doomed.len() | self.paused;
        waiting == 0
            && !(self.more_calls | self.stopping)
            && self.shutdown_by.is_none()
            && !self.slots.is_empty()
    }

    /// Notes readiness of a source that is no stream.
    #[cold]
    pub(crate) fn mark_other_ready(&mut self, token: mio::Token, ready: Readiness) {
        if token == WAKER {
            self.more_calls = true;
        } else if let Some((key, acceptor)) = self.slots.by_token::<Acceptor<S>>(token) {
            acceptor.ready = true;
            self.queue_listener(key);
        } else if let Some((key, _)) = self.slots.by_token::<Watcher<S>>(token) {
            self.wake_watch(key, ready);
        } else if let Some((key, _)) = self.slots.by_token::<Attempt>(token) {
            self.queue_attempt(key);
        } else {
            log::trace!("an event for {token:?}, which has left");
        }
    }
}
