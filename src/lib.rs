//! `enjamb` is a single-threaded, readiness-based event loop: one [`Reactor`], one state machine per connection, no
//! async.
//!
//! Enjambment is a line of verse that runs on past its end without stopping. So does a program on this loop: it
//! takes what has come, answers, and goes on with whoever is ready next; it never waits for one connection while
//! another could go on.
//!
//! An echo server:
//!
//! ```no_run
//! use enjamb::{Conn, Input, Protocol, Reactor};
//! use std::io;
//!
//! struct Echo;
//!
//! impl Protocol for Echo {
//!     fn received(&mut self, conn: &mut Conn<'_>, input: &mut Input<'_>) -> io::Result<()> {
//!         conn.write(input.take_all());
//!         Ok(())
//!     }
//! }
//!
//! fn main() -> io::Result<()> {
//!     let mut reactor = Reactor::new()?;
//!     reactor.cx(&mut ()).listen(([127, 0, 0, 1], 10000), |_cx, _peer| Echo)?;
//!     reactor.run(&mut ())
//! }
//! ```
//!
//! # The tour
//!
//! - [`Protocol`] is what you write: what to do when a connection opened, received, drained, ended, timed out, closed.
//! - [`Conn`] is the connection during a callback: write, half-close, close, pause, set a deadline.
//! - [`Cx`] is the loop during a callback: connect, listen, set timers, reach any other connection by its id.
//! - [`Target`] is where to connect to: an address, a name (looked up off the loop, its addresses raced for each other),
//!   or the path of a Unix socket; [`Cx::listen_unix`] listens on one.
//! - [`Reactor`] is the loop itself: `run` it, `turn` it within another loop, get a [`Handle`] for other threads.
//! - [`framing`] finds the messages in what was received: lines, frames with a length before them, or of one size.
//! - `sim` (feature `sim`) runs the same machines on a simulated network and clock, repeatable by seed.
//! - `http` (feature `http`) is an HTTP/1.1 client, whose `Session` keeps connections and cookies.
//! - `tls` (feature `tls`) has a connection speak TLS under the same [`Conn`].
//! - [`Watch`] is the layer below, for anything else that can be polled: UDP, pipes, descriptors.
//! - [`pool`] keeps connections, shares them, and limits how many there are.
//!
//! # What holds by default
//!
//! Memory is bounded: output above a high-water mark pauses reading from that peer, unconsumed input and unsent
//! output have limits ([`Config`]), an idle connection owns no buffer. Time is bounded: connecting and closing have
//! deadlines. A callback may do anything to any connection, itself included. [`closed`](Protocol::closed) is called
//! exactly once, and says why.
//!
//! # Messages
//!
//! It logs through [`log`]. What a peer can cause is at debug level, or is said once a second at most; a warning is about
//! the program or the machine. A logger runs on the loop, so it must not wait: one that writes to a pipe or a terminal
//! stops the server when the reader of its messages stops. The servers among the examples write theirs through a bounded
//! queue and a thread, and count what is dropped: `examples/common/line_queue.rs`, to be copied.
//!
//! # How to read the source
//!
//! ARCHITECTURE.md has the plan and a map of all files. Follow a message in this order: `reactor/protocol` (the trait),
//! `reactor/mod` (the turn), `reactor/read` (an event becomes a callback), `stream/state` (what a connection may do when),
//! `stream/output` (what the callback wrote is sent), `reactor/close` (how it ends).
//!
//! # Platforms
//!
//! Linux is what it is tested on; whatever mio polls with epoll or kqueue should do.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod base;
mod connect;
pub mod framing;
mod handle;
#[cfg(feature = "http")]
pub mod http;
mod listen;
mod net;
pub mod pool;
mod reactor;
#[cfg(feature = "sim")]
pub mod sim;
mod stream;
#[cfg(feature = "tls")]
pub mod tls;
mod watch;

pub use mio;

pub use base::config::Config;
pub use base::input::Input;
pub use base::readiness::Readiness;
pub use base::target::Target;
pub use handle::Handle;
pub use listen::Listener;
pub use net::mailbox::PostError;
pub use net::socket::Socket;
pub use reactor::alive::Alive;
pub use reactor::conn::Conn;
pub use reactor::cx::{ConnId, Cx, ListenerId, TimerId, WatchId};
pub use reactor::protocol::{End, Protocol};
pub use reactor::slot::Step;
pub use reactor::{Reactor, Turn};
pub use watch::Watch;

/// The README's code, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
