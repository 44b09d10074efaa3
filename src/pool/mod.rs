//! A connection pool: reuse of connections, with limits.
//!
//! A pooled exchange is an ordinary [`Protocol`] that returns its connection instead of closing it. [`Pool::acquire`]
//! takes the protocol and a [`Key`]. The loop calls `opened` when the protocol has its connection, new or reused.
//! [`Conn::release`](crate::Conn::release) ends the exchange. The loop calls `closed` exactly once, as for every
//! protocol: after the release, after the loss of the connection, or if there is no connection.
//!
#![cfg_attr(feature = "sim", doc = "```")]
#![cfg_attr(not(feature = "sim"), doc = "```ignore")]
//! use enjamb::pool::{Config, Pool, Reuse};
//! use enjamb::sim::{Script, Sim};
//! use enjamb::{Conn, Cx, End, Input, Protocol};
//! use std::io;
//!
//! /// Sends one question, and stores the answer.
//! struct Ask(&'static str);
//!
//! impl Protocol<Vec<String>> for Ask {
//!     fn opened(&mut self, conn: &mut Conn<'_, Vec<String>>) -> io::Result<()> {
//!         conn.write(self.0.as_bytes());
//!         Ok(())
//!     }
//!     fn received(&mut self, conn: &mut Conn<'_, Vec<String>>, input: &mut Input<'_>) -> io::Result<()> {
//!         if let Some(answer) = input.take_line() {
//!             conn.state().push(String::from_utf8_lossy(answer).into());
//!             conn.release(Reuse::Reusable);
//!         }
//!         Ok(())
//!     }
//!     fn closed(self: Box<Self>, _cx: &mut Cx<'_, Vec<String>>, end: End) {
//!         if let Err(error) = end.result {
//!             log::error!("{error}"); // no connection, or a lost one
//!         }
//!     }
//! }
//!
//! let sim = Sim::new(1); // or a real reactor
//! let mut reactor = sim.reactor()?;
//! let mut answers = Vec::new();
//! let mut cx = reactor.cx(&mut answers);
//! let server = ([10, 0, 0, 1], 7);
//! cx.listen(server, |_, _| Script::new().expect("one\n").say("1\n").expect("two\n").say("2\n"))?;
//!
//! let pool = Pool::new(Config { limit: Some(1), ..Config::default() })?;
//! pool.acquire(&mut cx, &server.into(), Ask("one\n"));
//! pool.acquire(&mut cx, &server.into(), Ask("two\n")); // waits for the first request, and reuses its connection
//! reactor.run(&mut answers)?;
//! assert_eq!(answers, ["1", "2"]);
//! assert_eq!(pool.snapshot().stats.opened, 1);
//! # Ok::<(), io::Error>(())
//! ```
//!
//! # Guarantees
//!
//! - A connection that is connecting, leased, idle or closing counts against the [limits](Config) until its descriptor
//!   is closed. Every end frees its place: a refused connect, a cancelled one, a reset, a panic.
//! - No method calls back before it returns. The loop calls the protocol later.
//! - Requests for one host are served in their order. Hosts take turns, and a host at its own limit delays no other. A
//!   released connection goes straight to the next request for its host, but at most 8 times while another host waits
//!   for a place.
//! - A connection is reused only if it has no output to send, no input to read, and neither side has finished. The
//!   socket is read just before the next protocol is called: the only system call of a reuse. If the connection turns
//!   out unusable, its protocol, which has sent nothing yet, gets another one without notice.
//! - An idle connection is watched. It is closed when its server closes it or sends unsolicited bytes.
//! - A [`Ticket`] can [cancel](Pool::cancel) a request in any state, without an effect on other requests.
//!
//! A failure is a [pool error](Error::of) in the result of the [`End`]. [`snapshot`](Pool::snapshot) shows the state of
//! the pool.

// How to read this. `decide` makes all decisions and does no I/O. `hub` carries them out: it connects, closes, and
// calls protocols. `member` stands between the loop and the protocols. `recheck`, `lease` and `ending` are special
// cases of that, and `hooks` holds what they need from the loop. The other files are values.
mod config;
mod decide;
mod ending;
mod error;
mod hooks;
mod hub;
mod key;
mod lease;
mod loan;
mod member;
mod recheck;

mod snapshot;
#[cfg(all(test, feature = "sim"))]
mod tests;

use std::fmt;
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use crate::{Cx, Protocol};

pub use crate::reactor::protocol::Reuse;
pub use config::Config;
pub use decide::stats::{Reason, Stats};
pub use decide::table::Ticket;
pub use error::{Error, Held, Phase};
pub use key::Key;
pub use lease::Lease;
pub use snapshot::{Snapshot, Usage};

#[cfg(doc)]
use crate::End;
use decide::table::{Refusal, Request};
use hub::Hub;
use lease::Handover;

/// A handle on a pool. Clones refer to the same pool. When the last handle is dropped, the pool closes idle connections
/// at once, and leased ones when they are released.
///
/// A pool belongs to the reactor with which it is first used. Do not use it with another.
pub struct Pool<S: 'static = ()>(Rc<LastHandle<S>>);

struct LastHandle<S: 'static>(Hub<S>);

impl<S: 'static> Pool<S> {
    /// Creates a pool with these limits.
    ///
    /// # Errors [`Error::Config`] with the values, if a limit is zero or the limit per host is above the total one.
    pub fn new(config: Config) -> Result<Self, Error> {
        config.check()?;
        Ok(Pool(Rc::new(LastHandle(Hub::new(config)))))
    }

    fn hub(&self) -> &Hub<S> {
        &self.0.0
    }

    /// Acquires a connection for `protocol`: an idle one, a new one, or the next that becomes free. The loop calls the
    /// protocol later, never within this call.
    ///
    /// The protocol is boxed. To reuse a boxed protocol, call [`acquire_boxed`](Self::acquire_boxed).
    #[track_caller]
    pub fn acquire(&self, cx: &mut Cx<'_, S>, key: &Key, protocol: impl Protocol<S> + 'static) -> Ticket {
        self.acquire_boxed(cx, key, Box::new(protocol))
    }

    /// Acquires a connection for a protocol that is already boxed, as it is in `closed`. It allocates nothing if there
    /// is an idle connection.
    #[track_caller]
    pub fn acquire_boxed(&self, cx: &mut Cx<'_, S>, key: &Key, protocol: Box<dyn Protocol<S>>) -> Ticket {
        self.acquire_at(cx, key, protocol, Location::caller())
    }

    /// Acquires a connection on behalf of the code at `site`.
    pub(crate) fn acquire_at(
        &self,
        cx: &mut Cx<'_, S>,
        key: &Key,
        protocol: Box<dyn Protocol<S>>,
        site: &'static Location<'static>,
    ) -> Ticket {
        self.hub().acquire(cx, Request { key, now: cx.now(), site }, protocol)
    }

    /// Acquires a connection without a protocol, for a caller that decides later how to use it. `then` is called once,
    /// with the lease or with an error; [`Error::of`] gives the pool's error.
    ///
    #[cfg_attr(feature = "sim", doc = "```")]
    #[cfg_attr(not(feature = "sim"), doc = "```ignore")]
    /// # use enjamb::pool::{Config, Key, Pool, Reuse};
    /// # use enjamb::sim::{Script, Sim};
    /// # let mut reactor = Sim::new(1).reactor()?;
    /// # let mut state = ();
    /// # let mut cx = reactor.cx(&mut state);
    /// # let key = Key::from(([10, 0, 0, 1], 7));
    /// # cx.listen(([10, 0, 0, 1], 7), |_, _| Script::new())?;
    /// let pool = Pool::new(Config::default())?;
    /// pool.acquire_lease(&mut cx, &key, |cx, lease| match lease {
    ///     Ok(lease) => lease.release(cx, Reuse::Reusable), // or start a protocol, or keep it for later
    ///     Err(error) => log::error!("{error}"),
    /// });
    /// # reactor.run(&mut state)?;
    /// # assert_eq!(pool.snapshot().stats.opened, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn acquire_lease(
        &self,
        cx: &mut Cx<'_, S>,
        key: &Key,
        then: impl FnOnce(&mut Cx<'_, S>, io::Result<Lease<S>>) + 'static,
    ) -> Ticket {
        self.acquire_boxed(cx, key, Box::new(Handover::new(self.hub(), then)))
    }

    /// Cancels a request. Its protocol ends with [`Error::Cancelled`], in one of these ways:
    ///
    /// - It waits: it leaves the queue.
    /// - A connection is being established for it: the connection goes to the next request for the same host, or is
    ///   closed.
    /// - It has a connection but was not called yet: the connection goes back to the pool.
    /// - It uses a connection, or a protocol was started on its [`Lease`]: the connection is aborted.
    ///
    /// Returns `false` if there is nothing to cancel: the request has ended, or the caller holds its [`Lease`].
    pub fn cancel(&self, cx: &mut Cx<'_, S>, ticket: Ticket) -> bool {
        self.hub().withdraw(cx, ticket, Error::Cancelled)
    }

    /// Ends the pool in good order. Waiting requests and new ones end with [`Error::Draining`]. Idle connections are
    /// closed. Leased connections may be used for the time `within`, and are then aborted. Of several calls, the
    /// earliest deadline counts. When the last connection is gone, the pool is closed.
    pub fn drain(&self, cx: &mut Cx<'_, S>, within: Duration) {
        self.hub().drain(cx, within);
    }

    /// Closes the pool. Waiting requests and new ones end with [`Error::Closed`]. Idle connections are closed at once,
    /// leased ones when they are released.
    pub fn close(&self, cx: &mut Cx<'_, S>) {
        self.hub().close(cx, Refusal::Closed);
    }

    /// Whether a connection is being established for this request.
    #[cfg(feature = "http")]
    pub(crate) fn is_connecting(&self, ticket: Ticket) -> bool {
        self.hub().inner().table.is_connecting(ticket)
    }

    /// The current state of the pool.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.hub().inner().table)
    }
}

impl<S: 'static> Clone for Pool<S> {
    fn clone(&self) -> Self {
        Pool(Rc::clone(&self.0))
    }
}

impl<S: 'static> Drop for LastHandle<S> {
    fn drop(&mut self) {
        let local = self.0.inner().local.clone();
        if let Some(local) = local {
            let hub = self.0.downgrade(); // if no reference keeps the pool, there is nothing to close
            local.post(move |cx| {
                if let Some(hub) = hub.upgrade() {
                    hub.abandon(cx);
                }
            });
        }
    }
}

impl<S: 'static> fmt::Debug for Pool<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}
