//! Everything a callback may reach: slots, timers, queues. What is lent for the length of a callback (the machine,
//! the read buffer) is outside it while it runs.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::buffer::Spares;
use crate::base::clock::Clock;
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
