//! The same machines without sockets and without sleeping: a network in memory, a clock that jumps, and a seed that
//! makes every run repeatable.
//!
//! It is there with the feature `sim`, which is for tests: `cargo add --dev enjamb --features sim`. A program built
//! without it has nothing of it, and pays nothing for it.
//!
//! A reactor made by [`Sim::reactor`] runs the very [`Protocol`](crate::Protocol)s that a real one runs: it listens,
//! connects, sets timers and deadlines, and calls back. Only the kernel is another: one that can be told to be slow,
//! to cut, to refuse, to reset ([`Link`], [`Polling`]), and does it the same way whenever the seed is the same. When
//! nothing is ready, time jumps to the next event, so that an hour of timeouts takes no time.
//!
//! A run comes to its end when nothing can happen any more: listeners alone end it well; connections that wait without
//! a deadline make it an error ([`Deadlock`](io::ErrorKind::Deadlock)) that names them, and so does a loop that goes
//! round and round without getting anywhere. (A callback that does not return is not seen: nobody is left to look.)
//!
//! ```
//! use enjamb::sim::{Script, Sim};
//! use enjamb::{Conn, Cx, End, Input, Protocol};
//! use std::io;
//! use std::time::Duration;
//!
//! /// Fetches a greeting, and says so if none comes in a minute.
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
//! # What can go wrong
//! The way to a server is a [`Link`]; how the kernel tells of readiness is [`Polling`]; [`Sim::rough`] and
//! [`Sim::hostile`] draw both from the seed. While it runs, a callback or a timer may cut a network in two
//! ([`Sim::partition`]), have a host crash ([`Sim::crash`]), take long ([`Sim::take_time`]) or leave no descriptors
//! ([`Sim::descriptors`]). What a peer does wrong, and not the way to it, is scripted ([`Script`]): one that says the
//! wrong thing or says it late, that pauses, that resets.
//!
//! # What else there is
//! Timers, deadlines and [`every`](crate::Cx::every) go by the simulated clock. Names are those of [`Sim::name`]: they are
//! looked up, and their addresses raced for each other, as on a real reactor. What a [`Handle`](crate::Handle) posts is
//! run in the next turn. From a callback, that is repeatable; from another thread it is not, and the loop does not wait
//! for one. Over TLS what is sent is as it would be, but its keys, and with them some lengths, come from the system.
//! There are no descriptors: [`watch`](crate::Cx::watch), [`adopt`](crate::Cx::adopt) and paths need a real reactor.
//!
//! # What differs from Linux
//! A simulated socket answers as one of Linux does: tests compare the two call by call. The differences:
//! - Every address is the address of a host, and can be listened on. A client has the address `127.0.0.1` or `::1`,
//!   whatever it connects to, and a port from 49152 to 65535. As in Linux, a connect to `0.0.0.0` or `::` reaches
//!   `127.0.0.1` or `::1`: a listener on `10.0.0.1` does not get it, one on `0.0.0.0` does.
//! - A client's port is free as soon as both ends are closed: there is no TIME-WAIT.
//! - A client whose own port is the one it connects to is refused. Linux connects it to itself.
//! - [`Link::buffer`] is the room of the sender and the receiver together. A reset drops what has not left its sender: here
//!   what still waits for the line ([`Link::spacing`]), in Linux also what the receiver's buffer has no room for.
//! - A reset that meets a [partition](Sim::partition) arrives when that is healed. Linux sends it once, and it is lost.
//! - Connections whose handshake is not complete count against the backlog too, and `net.core.somaxconn` does not limit it.
//! - Linux sometimes reports readiness once more after a socket has finished. No manual page promises that, and the
//!   simulation does not do it.
//!
//! # Many seeds
//! [`check`] runs a test for each of many seeds. One that fails is printed with the last events, and
//! `ENJAMB_SEED=17 cargo test` runs seed 17 again and nothing else. Where the input is random too, proptest makes what
//! fails smaller; the seed it had better leave alone, as another seed is another network:
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
//!     reactor.run(&mut ())?; // a script that hears anything else panics
//! });
//! ```
//!
//! # One machine alone
//! [`Solo`] needs neither a network nor a peer: it feeds bytes to one machine, lets time pass, and tells what the machine
//! wrote and how it ended. It is for the unit tests of a protocol.

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

/// A simulated network and its clock. Clones are the same simulation: one can be kept to change the network while the
/// loop runs, from a timer or a callback.
#[derive(Clone)]
pub struct Sim(Simulation);

impl Sim {
    /// A calm network, all of whose chances are drawn from `seed`.
    pub fn new(seed: u64) -> Self {
        Sim(Simulation::new(seed))
    }

    /// Makes every way of this network a bad one, drawn from the seed: slow, cutting and joining, with little room,
    /// partial writes, ends that come with data, and a kernel that reports spurious readiness, in any order. No
    /// connection is lost by it.
    pub fn rough(self) -> Self {
        self.worsen(Link::rough)
    }

    /// As [`rough`](Self::rough), and connects are refused or never answered, connections aborted, reset or silenced.
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

    /// A reactor on this network. There can be one: what its machines connect to listens on it too.
    ///
    /// # Errors
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) when this simulation has, or had, its reactor.
    pub fn reactor<S>(&self) -> io::Result<Reactor<S>> {
        self.reactor_with(Config::default())
    }

    /// The same, with these limits and budgets.
    ///
    /// # Errors
    /// As for [`reactor`](Self::reactor), and [`InvalidInput`](io::ErrorKind::InvalidInput) naming the value of the
    /// configuration that cannot be.
    pub fn reactor_with<S>(&self, config: Config) -> io::Result<Reactor<S>> {
        if self.network().taken {
            let message = "a simulation has one reactor, and this one has had it: make another Sim";
            return Err(crate::base::error::new(io::ErrorKind::AlreadyExists, message));
        }
        let reactor = Reactor::on(Poller::Simulated(self.0.clone()), config)?;
        self.network().taken = true;
        Ok(reactor)
    }

    /// Makes all ways like this one, for connections to come; but those with a [`link`](Self::link) of their own.
    pub fn links(&self, link: Link) {
        self.network().link = Rc::new(link);
    }

    /// Makes the way to this server like this one, for connections to come.
    pub fn link(&self, server: impl Into<SocketAddr>, link: Link) {
        self.network().links.insert(reached(server.into()), Rc::new(link));
    }

    /// Gives a name its addresses, in the order in which they are preferred, and looking it up `takes` that long. Without
    /// addresses it cannot be found; one that was never given, at once. Names are looked up here and nowhere else, whatever
    /// [`Reactor::set_resolver`](crate::Reactor::set_resolver) says.
    pub fn name<A: Into<IpAddr>>(&self, name: &str, takes: Duration, addresses: impl IntoIterator<Item = A>) {
        self.0.name(name, takes, addresses.into_iter().map(A::into).collect());
    }

    /// Sets how readiness is told.
    pub fn polling(&self, polling: Polling) {
        self.network().polling = polling;
    }

    /// Has the host of this server crash and come up at once, listening as before, without its connections. Their machines
    /// are told of a reset, as they are still there; their peers are told nothing, and have half-open connections: what
    /// they send is answered with a reset, and who only waits, waits for ever (RFC 9293, section 3.5.1).
    pub fn crash(&self, server: impl Into<SocketAddr>) {
        self.network().crash(reached(server.into()));
    }

    /// Lets at most this many sockets be open: beyond, accepting and connecting fail for want of a descriptor (EMFILE).
    pub fn descriptors(&self, most: usize) {
        self.network().descriptors = most;
    }

    /// Cuts the way to this server: nothing passes, in either direction, and nobody is told. What is sent meanwhile
    /// arrives when it is [healed](Self::heal), however long that takes (a kernel gives up after a quarter of an hour:
    /// [`Link::stall_after`] is for longer). A connect asks again, in ever longer intervals, for 127 s.
    pub fn partition(&self, server: impl Into<SocketAddr>) {
        self.network().partitions.insert(reached(server.into()));
    }

    /// Makes an end of a [partition](Self::partition).
    pub fn heal(&self, server: impl Into<SocketAddr>) {
        self.network().heal(reached(server.into()));
    }

    /// Lets time pass as if the callback at hand took this long: what comes meanwhile is there when it returns.
    pub fn take_time(&self, time: Duration) {
        self.0.take_time(time);
    }

    /// The seed it was made from.
    pub fn seed(&self) -> u64 {
        self.0.seed()
    }

    /// The time since the start.
    pub fn now(&self) -> Duration {
        self.network().now
    }

    /// A number from the seed, at least the first and at most the second: for a test's own choices.
    pub fn random(&self, range: std::ops::RangeInclusive<u64>) -> u64 {
        self.network().random.within(range)
    }

    /// What has happened, an event a line; only the last ten thousand. With the same seed and the same machines it is
    /// the same, byte for byte. (A machine that draws from elsewhere, or goes through a `HashMap`, is not the same.)
    pub fn log(&self) -> String {
        self.network().record.last(usize::MAX)
    }

    /// How many events there were, and a number made from all of them, for comparing runs.
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
