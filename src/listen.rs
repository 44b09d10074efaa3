//! Accepting: within a budget, up to a limit, and again after a failure.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
#[cfg(unix)]
use std::path::Path;
use std::time::Duration;

use crate::base::error;
use crate::base::peer::Peer;
use crate::base::slots::Key;
use crate::net::listening::{ListeningSocket, cannot_listen};
use crate::net::poll::Poller;
use crate::net::socket::Socket;
#[cfg(unix)]
use crate::net::unix;
use crate::reactor::core::Core;
use crate::reactor::protocol::Protocol;
use crate::reactor::slot::{Accepted, Acceptor, Slot};
use crate::reactor::timers::Task;
use crate::stream::Stream;
use crate::stream::state::State;
use crate::{Cx, ListenerId};

/// After a failed accept, the wait before the next try: doubled each time, from the first to the longest. Most of
/// these failures are a lack of descriptors, and when there are some again no event tells.
const FIRST_RETRY: Duration = Duration::from_millis(10);
const LONGEST_RETRY: Duration = Duration::from_secs(1);
/// At most one warning in this time: clients that come and go where descriptors run out cause a failure each.
const WARNING_INTERVAL: Duration = Duration::from_secs(1);

impl<S> Acceptor<S> {
    pub(crate) fn may_accept(&self) -> bool {
        self.ready && self.retry.is_none() && !self.is_full()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.open >= self.limit
    }

    /// What it listens on, for messages.
    pub(crate) fn name(&self) -> String {
        self.socket.name()
    }

    pub(crate) fn open(&self) -> usize {
        self.open
    }
}

fn with_address<S, P: Protocol<S> + 'static>(
    mut accepted: impl FnMut(&mut Cx<'_, S>, SocketAddr) -> P + 'static,
) -> Accepted<S> {
    Box::new(move |cx, peer| {
        Box::new(accepted(cx, peer.addr().expect("a TCP connection has an address at each end")))
    })
}

impl<S> Cx<'_, S> {
    /// Listens on a TCP address (port 0: any free one), and has `accepted` make the machine of each connection from
    /// the peer's address. The machine's `opened` comes next.
    ///
    /// ```
    /// # use enjamb::{Reactor, Protocol, Conn, Input};
    /// # struct Echo;
    /// # impl Protocol for Echo {
    /// #     fn received(&mut self, conn: &mut Conn<'_>, input: &mut Input<'_>) -> std::io::Result<()> {
    /// #         conn.write(input.take_all());
    /// #         Ok(())
    /// #     }
    /// # }
    /// let mut reactor = Reactor::new()?;
    /// let mut state = ();
    /// let mut cx = reactor.cx(&mut state);
    /// let mut listener = cx.listen(([127, 0, 0, 1], 0), |_cx, _peer| Echo)?;
    /// listener.limit(1_000);
    /// println!("listening on {}", listener.local_addr()?);
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// If `accepted` panics, the listener is closed with it, as a machine goes whose callback panics: nothing is known of
    /// the state in which the panic has left the closure. The connections that the listener has accepted before stay.
    ///
    /// # Errors
    /// What the kernel says to the address, with a hint: in use, not ours, not permitted. And that the loop is shutting
    /// down.
    pub fn listen<P: Protocol<S> + 'static>(
        &mut self,
        addr: impl Into<SocketAddr>,
        accepted: impl FnMut(&mut Cx<'_, S>, SocketAddr) -> P + 'static,
    ) -> io::Result<Listener<'_, S>> {
        let addr = addr.into();
        self.begin_to_listen(
            |driver, backlog| ListeningSocket::bind(driver, addr, backlog),
            with_address(accepted),
        )
        .map_err(|error| cannot_listen(addr, error))
    }

    /// Listens on a socket of the standard library's that listens already: one with options of its own, one of several
    /// on the same port (SO_REUSEPORT, socket(7)), one that was handed down by a service manager. It is set nonblocking,
    /// and gets TCP_NODELAY and on Linux TCP_NOTSENT_LOWAT, tcp(7), which what it accepts inherits. The rest is as with
    /// [`listen`](Self::listen).
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput), with its address, if it does not listen (on Linux, Android and
    /// FreeBSD; elsewhere, accepting fails and is tried again, with a warning). What the kernel says to its options or to
    /// registering it (a socket that is none, or is not TCP). And that the loop is shutting down. It is closed then.
    pub fn listen_on<P: Protocol<S> + 'static>(
        &mut self,
        listener: std::net::TcpListener,
        accepted: impl FnMut(&mut Cx<'_, S>, SocketAddr) -> P + 'static,
    ) -> io::Result<Listener<'_, S>> {
        let addr = listener.local_addr().map_err(|error| {
            error::new(
                error.kind(),
                format!("listening on a socket that was handed over: {error}; is it TCP?"),
            )
        })?;
        self.begin_to_listen(|_, _| ListeningSocket::adopt(listener), with_address(accepted))
            .map_err(|error| cannot_listen(addr, error))
    }

    /// As [`listen`](Self::listen), on a Unix-domain socket whose file is made at `path`; its connections have no
    /// address. Who may connect is a matter of the file's permissions, which the umask decides, and of the directory's:
    /// unix(7).
    ///
    /// The file is removed when the listener is closed, or dropped with the reactor, if it is still the same file. A
    /// program that was killed leaves its file behind, and as nobody can tell whether that is so without asking
    /// whoever listens there, listening there again is an error until somebody removes it.
    ///
    /// A Unix socket has no reset, so a connection that is cut off may look to its peer like one that has ended: see
    /// [`Conn::abort`](crate::Conn::abort).
    ///
    /// ```
    /// # use enjamb::{Reactor, Protocol, Conn, Input};
    /// # struct Echo;
    /// # impl Protocol for Echo {
    /// #     fn received(&mut self, conn: &mut Conn<'_>, input: &mut Input<'_>) -> std::io::Result<()> {
    /// #         conn.write(input.take_all());
    /// #         Ok(())
    /// #     }
    /// # }
    /// # let directory = std::env::temp_dir().join(format!("enjamb-{}", std::process::id()));
    /// # std::fs::create_dir(&directory)?;
    /// # let path = directory.join("echo.sock");
    /// let mut reactor = Reactor::new()?;
    /// reactor.cx(&mut ()).listen_unix(&path, |_cx| Echo)?;
    /// assert!(path.exists());
    /// drop(reactor);
    /// assert!(!path.exists());
    /// # std::fs::remove_dir(&directory)?;
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// What the kernel says to the path, with a hint: in use, not permitted, no such directory. That the path is too
    /// long, with its length and the limit. And that the loop is shutting down.
    #[cfg(unix)]
    pub fn listen_unix<P: Protocol<S> + 'static>(
        &mut self,
        path: impl AsRef<Path>,
        mut accepted: impl FnMut(&mut Cx<'_, S>) -> P + 'static,
    ) -> io::Result<Listener<'_, S>> {
        let path = path.as_ref();
        let accepted: Accepted<S> = Box::new(move |cx, _| Box::new(accepted(cx)));
        self.begin_to_listen(|driver, backlog| ListeningSocket::bind_to_path(driver, path, backlog), accepted)
            .map_err(|error| unix::cannot_listen(path, error))
    }

    fn begin_to_listen(
        &mut self,
        bind: impl FnOnce(&Poller, u32) -> io::Result<ListeningSocket>,
        accepted: Accepted<S>,
    ) -> io::Result<Listener<'_, S>> {
        if self.core.shutdown_by.is_some() {
            return Err(error::shutting_down());
        }
        let key = self.core.slots.insert(Acceptor {
            socket: bind(&self.core.poll, self.core.config.backlog)?,
            accepted: Some(accepted),
            ready: false,
            queued: false,
            backoff: None,
            retry: None,
            quiet_until: 0,
            open: 0,
            limit: usize::MAX,
            #[cfg(feature = "tls")]
            tls: None,
            serial: NonZeroU32::MIN,
        });
        if let Some(acceptor) = self.core.slots.get::<Acceptor<S>>(key)
            && let Err(error) = acceptor.socket.register(&self.core.poll, key.token())
        {
            self.core.slots.remove(key);
            return Err(error);
        }
        self.core.listeners.push(key);
        Ok(Listener { core: self.core, key })
    }
}

impl<S> Cx<'_, S> {
    /// The listener with this [id](Listener::id); `None` if it was closed.
    pub fn listener(&mut self, id: ListenerId) -> Option<Listener<'_, S>> {
        self.core.slots.get::<Acceptor<S>>(id.0)?;
        Some(Listener { core: self.core, key: id.0 })
    }
}

/// A listening socket, borrowed from the loop to look at or change it.
pub struct Listener<'a, S = ()> {
    core: &'a mut Core<S>,
    key: Key,
}

impl<S> Listener<'_, S> {
    pub(crate) fn acceptor(&mut self) -> &mut Acceptor<S> {
        self.core.slots.get(self.key).expect("a listener cannot close while it is borrowed")
    }

    /// Its id, by which [`Cx::listener`] finds it again.
    pub fn id(&self) -> ListenerId {
        ListenerId(self.key)
    }

    /// The address it listens on, with the port that was chosen where 0 was asked for.
    ///
    /// # Errors
    /// What getsockname(2) says; [`Unsupported`](io::ErrorKind::Unsupported) for a Unix socket.
    pub fn local_addr(&mut self) -> io::Result<SocketAddr> {
        let core = &mut *self.core;
        let acceptor = core.slots.get::<Acceptor<S>>(self.key).ok_or(io::ErrorKind::NotConnected)?;
        acceptor.socket.local_addr()
    }

    /// How many of the connections it accepted are open.
    pub fn open(&mut self) -> usize {
        self.acceptor().open
    }

    /// Holds at most this many accepted connections open. Beyond, accepting pauses: newcomers wait in the kernel's
    /// backlog, and are accepted as places come free.
    pub fn limit(&mut self, connections: usize) {
        self.acceptor().limit = connections;
        self.core.queue_listener(self.key);
    }

    /// Stops listening. Its open connections stay; newcomers that were not accepted yet are reset by the kernel.
    pub fn close(self) {
        self.core.close_listener(self.key);
    }
}

impl<S> fmt::Debug for Listener<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("id", &self.key).finish_non_exhaustive()
    }
}

impl<S> Core<S> {
    pub(crate) fn queue_listener(&mut self, key: Key) {
        if let Some(acceptor) = self.slots.get::<Acceptor<S>>(key)
            && acceptor.may_accept()
            && !std::mem::replace(&mut acceptor.queued, true)
        {
            self.run_queue.push(key);
        }
    }

    pub(crate) fn close_listener(&mut self, key: Key) {
        self.listeners.retain(|listener| *listener != key);
        drop(self.remove_listener(key));
    }

    /// Stops listening, and returns what made the machines.
    pub(crate) fn remove_listener(&mut self, key: Key) -> Option<Accepted<S>> {
        let Some(Slot::Listener(acceptor)) = self.slots.remove(key) else { return None };
        acceptor.socket.close(&self.poll);
        if let Some(timer) = acceptor.retry {
            self.timers.cancel(timer); // it would keep the loop from ending
        }
        acceptor.accepted
    }

    /// Counts a connection out of the listener that accepted it, which may have a place for another now.
    pub(crate) fn count_out(&mut self, listener_serial: NonZeroU32) {
        for i in 0..self.listeners.len() {
            let key = self.listeners[i];
            if let Some(acceptor) = self.slots.get::<Acceptor<S>>(key)
                && acceptor.serial == listener_serial
            {
                acceptor.open = acceptor.open.saturating_sub(1);
                self.queue_listener(key);
            }
        }
    }

    /// Tries again, unprompted: of descriptors that are free again, no event tells.
    pub(crate) fn retry_accept(&mut self, key: Key) {
        if let Some(acceptor) = self.slots.get::<Acceptor<S>>(key) {
            acceptor.retry = None;
            self.queue_listener(key);
        }
    }

    pub(crate) fn drive_listener(&mut self, state: &mut S, key: Key) {
        let Some(acceptor) = self.slots.get::<Acceptor<S>>(key) else { return };
        acceptor.queued = false;
        let serial = acceptor.serial;
        for _ in 0..self.config.accept_budget {
            let Some(acceptor) = self.slots.get::<Acceptor<S>>(key) else { return };
            if !acceptor.may_accept() {
                return;
            }
            match acceptor.socket.accept() {
                Ok((socket, peer)) => {
                    acceptor.backoff = acceptor.backoff.map(|_| FIRST_RETRY / 2);
                    let socket = Socket::from(socket);
                    #[cfg(feature = "tls")]
                    let socket = match acceptor.tls.as_ref().map(crate::net::tls::Session::server) {
                        Some(Ok(session)) => socket.secured(session, true, 0),
                        Some(Err(error)) => return self.accept_failed(key, error),
                        None => socket,
                    };
                    let Some(mut accepted) = acceptor.accepted.take() else { return };
                    acceptor.open += 1;
                    self.running = Some(key);
                    let machine = accepted(&mut Cx { state, core: self }, &peer);
                    self.returned("a listener", Some(key));
                    if let Some(acceptor) = self.slots.get::<Acceptor<S>>(key) {
                        acceptor.accepted = Some(accepted);
                    }
                    self.open_accepted(state, socket, peer, machine, serial);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => {
                        acceptor.ready = false;
                        acceptor.backoff = None;
                        return;
                    }
                    // A peer that gave up while it waited, or a signal: the next one may be fine, accept(2).
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
                    _ => return self.accept_failed(key, error),
                },
            }
        }
        self.queue_listener(key); // the budget is used up; there may be more
    }

    fn accept_failed(&mut self, key: Key, error: io::Error) {
        if let Some(acceptor) = self.slots.get::<Acceptor<S>>(key) {
            let first = acceptor.backoff.is_none();
            let wait = acceptor.backoff.map_or(FIRST_RETRY, |last| (last * 2).min(LONGEST_RETRY));
            acceptor.backoff = Some(wait);
            acceptor.retry = Some(self.timers.insert(self.clock.tick_after(wait), Task::Accept(key)));
            let warns = first && acceptor.quiet_until <= self.clock.tick();
            if warns {
                acceptor.quiet_until = self.clock.tick_after(WARNING_INTERVAL);
            }
            let level = if warns { log::Level::Warn } else { log::Level::Debug };
            let name = acceptor.name();
            let hint = match error.kind() {
                // EINVAL, accept(2). It can be made to listen again.
                io::ErrorKind::InvalidInput => {
                    "it listens no more: another owner of the socket has shut it down"
                }
                _ => "out of descriptors? `ulimit -n`, or a limit on the listener",
            };
            log::log!(level, "accepting on {name}: {error}; trying again until it works ({hint})");
        }
    }

    /// Opens what was accepted, at once: all that is left to wait for is what the peer says.
    fn open_accepted(
        &mut self,
        state: &mut S,
        socket: Socket,
        peer: Peer,
        machine: Box<dyn Protocol<S>>,
        listener: NonZeroU32,
    ) {
        let secure = socket.is_secure();
        let mut stream = Stream::new(Some(socket), State::ACCEPTED, &self.config);
        stream.peer = peer;
        stream.listener = Some(listener);
        let key = self.insert_stream(stream, machine);
        if self.shutdown_by.is_some() {
            self.doom(key, Err(error::shutting_down())); // it was `accepted` that asked for it
        } else if let Err(error) = self.register_stream(key) {
            self.doom(key, Err(error));
        } else if secure {
            self.shake_hands(key);
        } else {
            self.open(state, key);
        }
    }
}
