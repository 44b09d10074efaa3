//! Simulation of a network, for tests: connections in memory, a clock that jumps, and a seed that makes every run
//! repeatable.
//!
//! The feature `sim` enables this module: `cargo add --dev enjamb --features sim`. A program built without the feature
//! contains none of its code and pays nothing for it.
//!
//! A reactor from [`Sim::reactor`] runs the same [`Protocol`](crate::Protocol)s as a real one: it listens, connects,
//! sets timers and deadlines, and calls back. Only the kernel differs. The simulated one can be slow, split segments,
//! refuse and reset ([`Link`], [`Polling`]), and repeats all of that for the same seed. When nothing is ready, the
//! clock jumps to the next event, so an hour of timeouts takes no real time.
//!
//! A run ends when nothing can happen any more. If only listeners are left, it ends with success. If connections wait
//! without a deadline, it ends with an error ([`Deadlock`](io::ErrorKind::Deadlock)) that names them. A loop that spins
//! without progress gives the same error. (A callback that never returns cannot be detected.)
//!
//! ```
//! use enjamb::sim::{Script, Sim};
//! use enjamb::{Conn, Cx, End, Input, Protocol};
//! use std::io;
//! use std::time::Duration;
//!
//! /// Reads a greeting, and notes if none arrives within a minute.
//! struct Greeted;
//!
//! impl Protocol<String> for Greeted {
//!     fn opened(&mut self, conn: &mut Conn<'_, String>) -> io::Result<()> {
//!         conn.deadline(Duration::from_secs(60));
//!         Ok(())
//!     }
//!     fn received(&mut self, conn: &mut Conn<'_, String>, input: &mut Input<'_>) -> io::Result<()> {
//!         conn.state().push_str(&String::from_utf8_lossy(input.take_all()));
//!         Ok(())
//!     }
//!     fn timed_out(&mut self, conn: &mut Conn<'_, String>) -> io::Result<()> {
//!         conn.state().push_str("(no greeting)");
//!         conn.close();
//!         Ok(())
//!     }
//! }
//!
//! let sim = Sim::new(7);
//! let mut reactor = sim.reactor()?;
//! let mut state = String::new();
//! let server = ([10, 0, 0, 1], 2000);
//! let silent = Script::new().wait(Duration::from_secs(3600)).say("too late");
//! reactor.cx(&mut state).listen(server, move |_, _| silent.clone())?;
//! reactor.cx(&mut state).connect(server, Greeted);
//! reactor.run(&mut state)?; // returns at once
//! assert_eq!(state, "(no greeting)");
//! # io::Result::Ok(())
//! ```
//!
//! # Faults A [`Link`] describes the path to a server, and [`Polling`] how the kernel reports readiness. [`Sim::rough`]
//! and [`Sim::hostile`] draw both from the seed. During a run, a callback or a timer can cut the path to a server
//! ([`Sim::partition`]), crash a host ([`Sim::crash`]), take time ([`Sim::take_time`]) or use up the descriptors
//! ([`Sim::descriptors`]). A [`Script`] describes the faults of a peer: wrong bytes, late bytes, pauses, resets.
//!
//! # Names, threads, TLS, descriptors Timers, deadlines and [`every`](crate::Cx::every) use the simulated clock.
//! [`Sim::name`] defines names; they are looked up, and their addresses raced, as on a real reactor. A closure posted
//! through a [`Handle`](crate::Handle) runs in the next turn. That is repeatable from a callback, but not from another
//! thread, and the loop does not wait for other threads. TLS sends what it would send on a real network, but its keys,
//! and so some lengths, come from the system. There are no descriptors: [`watch`](crate::Cx::watch),
//! [`adopt`](crate::Cx::adopt) and paths need a real reactor.
//!
//! # Differences from Linux A simulated socket behaves like one of Linux; tests compare the two call by call. The
//! differences:
//! - Every address belongs to a host and can be listened on. A client has the address `127.0.0.1` or `::1` for every
//!   destination, and a port from 49152 to 65535. As on Linux, a connect to `0.0.0.0` or `::` reaches `127.0.0.1` or
//!   `::1`: it reaches a listener on `0.0.0.0`, but not one on `10.0.0.1`.
//! - A client's port is free as soon as both ends are closed: there is no TIME-WAIT.
//! - A client that connects to its own port is refused. Linux connects it to itself.
//! - [`Link::buffer`] is the buffer of the sender and the receiver together. A reset drops the bytes that have not left
//!   the sender. Here these are the bytes that still wait for the line ([`Link::spacing`]); on Linux also those for
//!   which the receiver's buffer has no room.
//! - A reset that meets a [partition](Sim::partition) arrives after it is healed. Linux sends a reset once, and it is
//!   lost.
//! - Connections with an incomplete handshake count against the backlog too. `net.core.somaxconn` does not limit it.
//! - Linux sometimes reports readiness once more after a socket has finished. No manual page promises that, and the
//!   simulation does not do it.
//!
//! # Many seeds [`check`] runs a test for each of many seeds. If a seed fails, it prints the seed and the last events;
//! `ENJAMB_SEED=17 cargo test` then runs only seed 17 again. For random input, proptest shrinks a failing case. Exclude
//! the seed from shrinking, since another seed is another network:
//!
//! ```
//! use enjamb::sim::{Script, Sim};
//! use proptest::prelude::*;
//! # use enjamb::{Conn, Input, Protocol};
//! # struct Echo;
//! # impl Protocol for Echo {
//! #     fn received(&mut self, conn: &mut Conn<'_>, input: &mut Input<'_>) -> std::io::Result<()> {
//! #         conn.write(input.take_all());
//! #         Ok(())
//! #     }
//! # }
//!
//! proptest!(|(seed in any::<u64>().no_shrink(), words in prop::collection::vec("[a-z]{1,9}", 0..9))| {
//!     let sim = Sim::new(seed).rough();
//!     let mut reactor = sim.reactor()?;
//!     let client = words.iter().fold(Script::new(), |script, word| script.say(word).expect(word)).finish();
//!     let server = ([10, 0, 0, 1], 7);
//!     reactor.cx(&mut ()).listen(server, |_, _| Echo)?;
//!     reactor.cx(&mut ()).connect(server, client);
//!     reactor.run(&mut ())?; // a script panics on any other bytes
//! });
//! ```
//!
//! # One protocol alone [`Solo`] needs no network and no peer. It feeds bytes to one protocol, lets time pass, and
//! returns what the protocol wrote and how it ended. Use it for the unit tests of a protocol.

mod replay;
mod script;
mod solo;

use std::cell::RefMut;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use crate::net::poll::Poller;
use crate::net::simulated::{Network, Random, Simulation};
use crate::{Config, Reactor};

use crate::net::simulated::address::reached;
pub use crate::net::simulated::{Link, Polling};
pub use replay::check;
pub use script::Script;
pub use solo::Solo;

/// A simulated network and its clock. Clones refer to the same simulation. Keep a clone to change the network during a
/// run, from a timer or a callback.
#[derive(Clone)]
pub struct Sim(Simulation);

impl Sim {
    /// Creates a network without faults. All random choices derive from `seed`.
    pub fn new(seed: u64) -> Self {
        Sim(Simulation::new(seed))
    }

    /// Draws a bad link to each server from the seed: slow, splitting and joining segments, with small buffers, partial
    /// writes, and ends that arrive with data. The kernel reports spurious readiness, in any order. No connection is
    /// lost.
    pub fn rough(self) -> Self {
        self.worsen(Link::rough)
    }

    /// As [`rough`](Self::rough), and connections fail: connects are refused or never answered, connections aborted,
    /// reset or silenced.
    pub fn hostile(self) -> Self {
        self.worsen(Link::hostile)
    }

    fn worsen(self, link: fn(&mut Random) -> Link) -> Self {
        let mut network = self.network();
        let link = link(&mut network.random);
        network.polling = Polling::rough(&mut network.random);
        network.link = Rc::new(link);
        drop(network);
        self
    }

    /// Creates the reactor on this network. There can be only one: its protocols connect to its own listeners.
    ///
    /// # Errors [`AlreadyExists`](io::ErrorKind::AlreadyExists) if this simulation has, or had, its reactor.
    pub fn reactor<S>(&self) -> io::Result<Reactor<S>> {
        self.reactor_with(Config::default())
    }

    /// Creates the reactor with this configuration.
    ///
    /// # Errors As for [`reactor`](Self::reactor), and [`InvalidInput`](io::ErrorKind::InvalidInput) for an invalid
    /// value of the configuration, which the message names.
    pub fn reactor_with<S>(&self, config: Config) -> io::Result<Reactor<S>> {
        if self.network().taken {
            let message = "a simulation has one reactor, which was already made: create another Sim";
            return Err(crate::base::error::new(io::ErrorKind::AlreadyExists, message));
        }
        let reactor = Reactor::on(Poller::Simulated(self.0.clone()), config)?;
        self.network().taken = true;
        Ok(reactor)
    }

    /// Sets the link for later connections to all servers, except those with a [`link`](Self::link) of their own.
    pub fn links(&self, link: Link) {
        self.network().link = Rc::new(link);
    }

    /// Sets the link for later connections to this server.
    pub fn link(&self, server: impl Into<SocketAddr>, link: Link) {
        self.network().links.insert(reached(server.into()), Rc::new(link));
    }

    /// Defines a name: its addresses in the order of preference, and the time that a look-up `takes`. An empty list
    /// makes the look-up fail after that time. The look-up of an undefined name fails at once. This table replaces
    /// [`Reactor::set_resolver`](crate::Reactor::set_resolver).
    pub fn name<A: Into<IpAddr>>(&self, name: &str, takes: Duration, addresses: impl IntoIterator<Item = A>) {
        self.0.name(name, takes, addresses.into_iter().map(A::into).collect());
    }

    /// Sets how the kernel reports readiness.
    pub fn polling(&self, polling: Polling) {
        self.network().polling = polling;
    }

    /// Crashes the host of this server. The host restarts at once and listens as before, without its connections. Its
    /// own protocols still exist and see a reset. Their peers see nothing and have half-open connections: if they send,
    /// they get a reset; if they only wait, they wait for ever (RFC 9293, section 3.5.1).
    pub fn crash(&self, server: impl Into<SocketAddr>) {
        self.network().crash(reached(server.into()));
    }

    /// Limits the number of open sockets. Beyond it, accept and connect fail for lack of a descriptor (EMFILE).
    pub fn descriptors(&self, most: usize) {
        self.network().descriptors = most;
    }

    /// Cuts the path to this server. Nothing passes in either direction, and neither side is notified. Data sent
    /// meanwhile arrives after the path is [healed](Self::heal), even after a long time. (A kernel gives up after a
    /// quarter of an hour; [`Link::stall_after`] simulates that.) A connect is retried at growing intervals, for 127 s.
    pub fn partition(&self, server: impl Into<SocketAddr>) {
        self.network().partitions.insert(reached(server.into()));
    }

    /// Ends a [partition](Self::partition).
    pub fn heal(&self, server: impl Into<SocketAddr>) {
        self.network().heal(reached(server.into()));
    }

    /// Lets time pass as if the current callback took this long. Events in that time are ready when it returns.
    pub fn take_time(&self, time: Duration) {
        self.0.take_time(time);
    }

    /// The seed of the simulation.
    pub fn seed(&self) -> u64 {
        self.0.seed()
    }

    /// The time since the start.
    pub fn now(&self) -> Duration {
        self.network().now
    }

    /// Draws a number from this range, ends included, for a test's own choices. The same seed draws the same numbers.
    pub fn random(&self, range: std::ops::RangeInclusive<u64>) -> u64 {
        self.network().random.within(range)
    }

    /// The last ten thousand events, one per line. The same seed and the same protocols give the same text, byte for
    /// byte. (A protocol with another source of randomness, such as the iteration of a `HashMap`, does not.)
    pub fn log(&self) -> String {
        self.network().record.last(usize::MAX)
    }

    /// The number of events, and a hash of all of them, to compare runs.
    pub fn fingerprint(&self) -> (u64, u64) {
        let network = self.network();
        (network.record.count(), network.record.fingerprint())
    }

    fn kernel(&self) -> &Simulation {
        &self.0
    }

    fn network(&self) -> RefMut<'_, Network> {
        self.0.network()
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim").field("seed", &self.seed()).finish_non_exhaustive()
    }
}
