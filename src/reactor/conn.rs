//! One connection, for the length of one callback.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::clock::NO_DEADLINE;
use crate::base::error::{self, while_doing};
use crate::base::peer::Peer;
use crate::base::slots::Key;
#[cfg(any(feature = "http", feature = "tls"))]
use crate::reactor::core::Core;
use crate::reactor::protocol::{Protocol, Reuse};
use crate::reactor::slot::Connection;
use crate::stream::{Stream, to_u32};
use crate::{ConnId, Cx};

/// One connection, for the length of one callback: what its machine, or anybody who knows its
/// [id](Cx::conn), may do to it.
///
/// It is also an [`io::Write`](std::io::Write), so `write!(conn, "{answer}\n")?` works; it fails only where
/// [`write`](Conn::write) returns `false`.
pub struct Conn<'a, S = ()> {
    cx: Cx<'a, S>,
    key: Key,
    /// Set during a callback of the machine that has this connection from a pool.
    pub(crate) loan: Option<Loan>,
}

/// A connection that a pool has lent, during a callback of the machine that has it.
pub(crate) struct Loan {
    /// The number and serial of the request that was granted.
    pub(crate) claim: (usize, u32),
    /// The connection was lent before.
    pub(crate) reused: bool,
    /// The machine has released it.
    pub(crate) released: Option<Reuse>,
}

impl<'a, S> Conn<'a, S> {
    pub(crate) fn new(cx: Cx<'a, S>, key: Key) -> Self {
        Conn { cx, key, loan: None }
    }

    /// The loop: to connect, to set timers, to reach other connections.
    pub fn cx(&mut self) -> &mut Cx<'a, S> {
        &mut self.cx
    }
}

impl<S> Conn<'_, S> {
    /// For verbs that other folders add to a connection.
    #[cfg(any(feature = "http", feature = "tls"))]
    pub(crate) fn parts(&mut self) -> (&mut Core<S>, Key) {
        (self.cx.core, self.key)
    }

    fn connection(&mut self) -> &mut Connection<S> {
        self.cx.core.slots.get(self.key).expect("a connection stays in its slot while it is borrowed")
    }

    fn stream(&mut self) -> &mut Stream {
        &mut self.connection().stream
    }

    /// Its id, by which [`Cx::conn`] finds it again.
    pub fn id(&self) -> ConnId {
        ConnId(self.key)
    }

    /// The state lent to the loop.
    pub fn state(&mut self) -> &mut S {
        self.cx.state
    }

    /// The peer's address; for an outgoing connection, the one it connects to.
    ///
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported) where it has none: a Unix socket.
    /// [`NotConnected`](io::ErrorKind::NotConnected) as long as it is not known at which address of its name the peer
    /// can be reached.
    pub fn peer_addr(&mut self) -> io::Result<SocketAddr> {
        self.stream().peer.addr()
    }

    /// Our own address.
    ///
    /// # Errors
    /// What getsockname(2) says; [`Unsupported`](io::ErrorKind::Unsupported) for a Unix socket.
    pub fn local_addr(&mut self) -> io::Result<SocketAddr> {
        let core = &mut *self.cx.core;
        match core.slots.stream(self.key).and_then(|stream| stream.socket.as_ref()) {
            Some(socket) => socket.local_addr(),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Writes `bytes`: all of them, always. What is written during a callback is gathered and sent when it returns;
    /// what the kernel does not take is kept and sent when it does. Before the connection stands, all is kept.
    ///
    /// Returns `false` where nothing was taken: the connection was finished, closed or broken before. That is no
    /// error (it is logged at debug level): a machine cannot know what a peer has done meanwhile, and `closed` will
    /// tell.
    ///
    /// Above the [high-water mark](Self::water_marks), no more is read from this connection until its output has
    /// fallen to the low one; a machine that writes of its own accord stops at [`is_full`](Self::is_full) and goes
    /// on in [`drained`](Protocol::drained). A connection whose unsent output reaches
    /// [`Config::output_limit`](crate::Config::output_limit) is given up.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> bool {
        self.cx.core.cork.takes(self.key, bytes) || self.write_beyond(bytes)
    }

    /// Writes to a connection from outside its own callback, or what is too large to be gathered.
    #[inline(never)]
    fn write_beyond(&mut self, bytes: &[u8]) -> bool {
        let (core, key) = (&mut *self.cx.core, self.key);
        core.uncork();
        let Some(stream) = core.slots.stream(key) else { return false };
        if !stream.state.takes_output() {
            return refused(key, &stream.peer, bytes);
        }
        if let Err(error) = stream.write(bytes, &mut core.spares) {
            core.write_failed(key, error);
            return false;
        }
        if stream.output.is_none() && !stream.state.is_full() {
            return true; // it went out at once, and `drained` is not due
        }
        let unsent = stream.unsent();
        let overflows = unsent > stream.high_water as usize || unsent >= core.config.output_limit;
        core.mark_dirty(key);
        if overflows {
            core.overflow(key);
        }
        true
    }

    /// How many bytes are written and not sent: the kernel has not taken them yet. While the peer reads, this number falls in
    /// steps: on Linux over TCP, of about 100 KiB; elsewhere and over Unix sockets, of a third or half of the kernel's send
    /// buffer. So a deadline that asks whether anything has moved must be long enough for the peer to read one step.
    pub fn unsent(&mut self) -> usize {
        self.cx.core.uncork();
        self.stream().unsent()
    }

    /// Whether the output is above the high-water mark, or was and has not fallen to the low one yet.
    pub fn is_full(&mut self) -> bool {
        self.stream().state.is_full()
    }

    /// Half-closes: sends what is unsent, then tells the peer that no more will come (a FIN). Receiving goes on. When
    /// the peer has finished too, the connection is closed by itself.
    pub fn finish(&mut self) {
        self.cx.core.uncork();
        self.stream().state.finish();
        self.cx.core.mark_dirty(self.key);
    }

    /// Closes in good order: no more callbacks but `closed`; what is unsent is sent; and where the peer has not
    /// finished, what it still sends is thrown away until it does or is silent for a second, so that the last bytes sent
    /// are not destroyed by the reset that closing with input unread would cause.
    ///
    /// Sending may go on as long as the peer takes something within every
    /// [`Config::close_timeout`](crate::Config::close_timeout), and for
    /// [`Config::close_total`](crate::Config::close_total) in all; throwing away, for another `close_timeout`. When the time
    /// is up, what is unsent is lost, the peer sees a reset, and `closed` says so. [`deadline`](Self::deadline), set
    /// after this, replaces these limits.
    pub fn close(&mut self) {
        self.cx.core.close(self.key);
    }

    /// Ends the connection after this callback, without sending what is unsent; `closed` is told `why`. If something
    /// was unsent, the peer sees a reset, so that it cannot take the part for the whole.
    ///
    /// A Unix socket has no reset. Its peer reads what was sent, and then gets an error (ECONNRESET, unix(7)) only if bytes
    /// that it had sent itself are still unread in the kernel, as on a paused connection; otherwise it sees an orderly end.
    /// So over Unix sockets a protocol has to mark its own ends: by a length, a last line, or TLS (feature `tls`).
    pub fn abort(&mut self, why: io::Error) {
        self.cx.core.doom(self.key, Err(why));
    }

    /// As [`abort`](Self::abort), but the peer sees a reset in any case (RFC 9293, section 3.10.5): for a machine that
    /// knows of more that should have come, as a proxy does whose other side was cut off. What [`abort`](Self::abort) says of
    /// Unix sockets holds here too.
    pub fn reset(&mut self, why: io::Error) {
        if !self.stream().state.is_doomed() {
            self.reset_on_close(); // else the first cause stands, and may have been an orderly end
        }
        self.abort(why);
    }

    /// How many bytes are left of what came before: none while they are lent as [`Input`](crate::Input).
    pub(crate) fn unread(&mut self) -> usize {
        self.stream().unread()
    }

    /// The machine that is to take over, for one that wraps another.
    pub(crate) fn take_switched(&mut self) -> Option<Box<dyn Protocol<S>>> {
        self.connection().machine.take()
    }

    /// Has the peer see a reset however this ends.
    pub(crate) fn reset_on_close(&mut self) {
        let core = &mut *self.cx.core;
        if let Some(stream) = core.slots.stream(self.key) {
            stream.reset_on_close(self.key);
        }
    }

    /// Stops receiving: the peer's bytes stay with the kernel, which will slow the peer down.
    ///
    /// A paused connection ends at once if its peer resets it, or if sending on it fails, unless bytes that came before are
    /// still to be read: in the kernel, or input that the machine has left. Then it stays, to be [resumed](Self::resume), and
    /// `closed` gets the error behind those bytes. That the peer has ended or is unreachable is not noticed before the
    /// connection is resumed or written to. Give it a [`deadline`](Self::deadline) where that matters.
    pub fn pause(&mut self) {
        if self.stream().state.pause() {
            self.cx.core.paused += 1;
        }
        let stream = self.stream();
        if stream.state.is_broken() && !stream.is_paused_before_bytes() {
            self.cx.core.give_up(self.key); // no read would come to where the failed write is reported
        }
    }

    /// Receives again, beginning with what was left of the input.
    pub fn resume(&mut self) {
        if self.stream().state.resume() {
            self.cx.core.paused -= 1;
            self.cx.core.queue_stream(self.key);
        }
    }

    /// Calls [`timed_out`](Protocol::timed_out) `after` that long, counted from when this callback began; `None`
    /// disarms it. There is one deadline: setting it again moves it, at next to no cost, so that an idle timeout is a
    /// `deadline` in `opened` and in every `received`. A deadline of zero passes in the turn at hand or in the next, for which
    /// the loop does not wait.
    ///
    /// A deadline passes only after the loop has asked the kernel for events at or after its time, and has delivered them:
    /// if a callback or a stop of the process holds the loop up, an answer that came in time is received first.
    ///
    /// On a connection that is not there yet this is the connect timeout. On one that is closing it is for all that closing
    /// takes, whatever its peer takes or sends meanwhile; with `None`, sending what is unsent has no limit.
    pub fn deadline(&mut self, after: impl Into<Option<Duration>>) {
        let clock = &self.cx.core.clock;
        let tick = after.into().map_or(NO_DEADLINE, |after| clock.tick_after(after));
        self.cx.core.set_deadline(self.key, tick);
    }

    /// Sets this connection's water marks, in bytes of unsent output: see [`write`](Self::write). A low mark above
    /// the high one is taken as equal to it, and any above 4 GiB as 4 GiB. With `usize::MAX` as the high mark reading never
    /// pauses by itself, for a protocol in which both sides may write a lot before they read: with pausing, they would
    /// wait for each other.
    pub fn water_marks(&mut self, low: usize, high: usize) {
        self.cx.core.uncork();
        let high = high.min(self.cx.core.config.output_limit);
        let stream = self.stream();
        stream.high_water = to_u32(high);
        stream.low_water = to_u32(low.min(high));
        self.cx.core.queue_stream(self.key); // it may be full no longer
    }

    /// Whether reading goes on while this connection [is full](Self::is_full); by default it does not. For a machine
    /// that passes what it reads to another connection, as a proxy does: what has to hold it back is the other's output,
    /// not its own, and it pauses and resumes by itself.
    pub fn read_while_full(&mut self, yes: bool) {
        let state = &mut self.stream().state;
        if yes {
            state.read_while_full()
        } else {
            state.hold_while_full()
        }
        self.cx.core.queue_stream(self.key); // there may be something to read now
    }

    /// Sets at how many received bytes what the machine leaves in its input is an error that ends the connection: at least
    /// the longest message of the protocol. A [framing](crate::framing) has its own maximum, which holds instead while one
    /// of its frames is on its way, if it is higher.
    pub fn input_limit(&mut self, bytes: usize) {
        self.stream().input_limit = to_u32(bytes.max(1));
    }

    /// Puts another machine in the place of this one: an upgrade to another protocol. It takes over when the callback at
    /// hand returns. The old machine is dropped without a call of its `closed`; the new one is not called `opened`
    /// (unless the connection does not stand yet), is offered the input that was left, and told of the peer's end also
    /// if that has come before. Pausing, the deadline and the limits stay as they are.
    pub fn switch(&mut self, protocol: impl Protocol<S> + 'static) {
        let connection = self.connection();
        let old = connection.machine.replace(Box::new(protocol));
        connection.stream.state.switch();
        self.cx.core.queue_stream(self.key);
        drop(old); // last: a `Drop` may panic
    }

    pub(crate) fn timed_out_error(&mut self) -> io::Error {
        while_doing(error::WAITING, &self.stream().peer, io::ErrorKind::TimedOut.into())
    }
}

#[cold]
fn refused(key: Key, peer: &Peer, bytes: &[u8]) -> bool {
    log::debug!("connection {key} ({peer}): {} bytes written after its end are not sent", bytes.len());
    false
}

impl<S> io::Write for Conn<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if Conn::write(self, bytes) { Ok(bytes.len()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }

    /// Does nothing: what is written is sent as soon as the kernel takes it.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S> fmt::Debug for Conn<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn").field("id", &self.key).finish_non_exhaustive()
    }
}
