//! Listening: on a TCP address, on a socket that listens already, on a path.

mod accept;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
#[cfg(unix)]
use std::path::Path;

use crate::base::error;
use crate::base::slots::Key;
use crate::net::listening::{ListeningSocket, cannot_listen};
use crate::net::poll::Poller;
#[cfg(unix)]
use crate::net::unix;
use crate::reactor::core::Core;
use crate::reactor::protocol::Protocol;
use crate::reactor::slot::{Accepted, Acceptor};
use crate::{Cx, ListenerId};

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
