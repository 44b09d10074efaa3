//! One connection's I/O half: socket, buffers, readiness, water marks. It stays in its slot while its machine is
//! out on a callback, so that any callback can write to it, pause it or close it.

pub(crate) mod cork;
#[allow(dead_code)]
pub(crate) mod state;

use std::io::{self, Write};
use std::num::NonZeroU32;

use mio::net::TcpStream;

use crate::Config;
use crate::base::buffer::{Buffer, Spares};
use crate::base::clock::NO_DEADLINE;
use crate::base::peer::Peer;
use crate::base::readiness::Readiness;
use crate::base::slots::{Key, Tenant};
use crate::base::wheel::TimerKey;
use crate::net::poll::Driver;
use crate::net::socket::Socket;
use crate::reactor::protocol::Protocol;
use crate::reactor::slot::Slot;
use crate::stream::cork::Gather;

/// Behind something that waits already, gathering saves a system call besides, which is worth a longer copy than
/// [`Gather::ROOM`].
const GATHERED_BEHIND: usize = 32 * 1024;

/// Whether a read or write that did less than it could have has drained or filled the socket, so that no second one is
/// needed to see `WouldBlock`: epoll(7), questions and answers, 9; kqueue reports anew in any case. mio's Windows does
/// need it.
const SHORT_IS_ALL: bool = cfg!(unix);

/// The state of a connection. Readiness bits are set by events and cleared by the system call that was refused.
#[derive(Clone, Copy)]
pub(crate) struct Flags(u32);

impl Flags {
    pub(crate) const READABLE: u32 = Readiness::READABLE;
    pub(crate) const WRITABLE: u32 = Readiness::WRITABLE;
    /// The event said that no further event will come for reading: read to the end whatever a read returns.
    pub(crate) const READ_CLOSED: u32 = Readiness::READ_CLOSED;
    /// In the run queue.
    pub(crate) const QUEUED: u32 = 1 << 4;
    /// In the list of those to flush when the callback returns.
    pub(crate) const DIRTY: u32 = 1 << 5;
    pub(crate) const CONNECTING: u32 = 1 << 6;
    /// `opened` has not been called yet.
    pub(crate) const FRESH: u32 = 1 << 7;
    /// Reading paused by the user.
    pub(crate) const PAUSED: u32 = 1 << 8;
    /// Output went above the high-water mark and has not fallen to the low one.
    pub(crate) const FULL: u32 = 1 << 9;
    /// Resumed (or handed to a new machine) with input left over: offer that first.
    pub(crate) const REOFFER: u32 = 1 << 10;
    /// The peer's end was read.
    pub(crate) const ENDED: u32 = 1 << 11;
    /// `finish` was asked for: shut down writing once everything is sent.
    pub(crate) const FINISHING: u32 = 1 << 12;
    /// Writing is shut down.
    pub(crate) const FINISHED: u32 = 1 << 13;
    /// `close` was asked for: no more callbacks but `closed`.
    pub(crate) const CLOSING: u32 = 1 << 14;
    /// A write failed: nothing more can be sent, what has arrived is still read.
    pub(crate) const BROKEN: u32 = 1 << 15;
    /// On the list of those to reap.
    pub(crate) const DOOMED: u32 = 1 << 16;
    /// Full, and reading is held back for it.
    pub(crate) const HELD: u32 = 1 << 17;
    /// Being full does not hold back reading.
    pub(crate) const READS_FULL: u32 = 1 << 18;
    /// The socket came from outside, where it may have been duplicated and written to.
    pub(crate) const FOREIGN: u32 = 1 << 19;
    /// Something was handed to the kernel, which an early close could destroy.
    pub(crate) const WROTE: u32 = 1 << 20;
    /// The event spoke of an error or of the end of both directions: the connection may have been reset.
    pub(crate) const HUNG_UP: u32 = Readiness::HUNG_UP;

    /// What makes no difference to a connection that has only to receive.
    const OF_NO_ACCOUNT: u32 = Self::READ_CLOSED | Self::READS_FULL | Self::FOREIGN | Self::WROTE;
    const NOT_OPEN: u32 = Self::CONNECTING | Self::FRESH | Self::CLOSING | Self::DOOMED;

    #[inline]
    pub(crate) fn any(self, of: u32) -> bool {
        self.0 & of != 0
    }
    #[inline]
    pub(crate) fn set(&mut self, bits: u32) {
        self.0 |= bits;
    }
    #[inline]
    pub(crate) fn clear(&mut self, bits: u32) {
        self.0 &= !bits;
    }
    /// Clears `bits` and says whether any was set.
    #[inline]
    pub(crate) fn take(&mut self, bits: u32) -> bool {
        let was = self.any(bits);
        self.clear(bits);
        was
    }
    #[inline]
    fn exactly(self, set: u32, among: u32) -> bool {
        self.0 & among == set
    }
}

pub(crate) struct Stream<S> {
    /// Out of its slot for the length of a callback.
    pub(crate) machine: Option<Box<dyn Protocol<S>>>,
    /// `None` only when there never was one: the connect failed at once.
    pub(crate) socket: Option<Socket>,
    /// What the machine left of its input.
    pub(crate) input: Option<Box<Buffer>>,
    /// What was written and has not been sent.
    pub(crate) output: Option<Box<Buffer>>,
    pub(crate) peer: Peer,
    /// The tick at which the deadline passes. The timer may be set for an earlier one: it looks here when it fires.
    pub(crate) deadline: u64,
    pub(crate) timer: Option<TimerKey>,
    pub(crate) low_water: u32,
    pub(crate) high_water: u32,
    pub(crate) input_limit: u32,
    serial: NonZeroU32,
    /// The serial of the listener that accepted it.
    pub(crate) listener: Option<NonZeroU32>,
    pub(crate) flags: Flags,
}

impl<S> Tenant<Slot<S>> for Stream<S> {
    #[inline]
    fn serial(&mut self) -> &mut NonZeroU32 {
        &mut self.serial
    }
    #[inline]
    fn of(slot: &mut Slot<S>) -> Option<&mut Self> {
        match slot {
            Slot::Stream(stream) => Some(stream),
            _ => None,
        }
    }
    fn into_slot(self) -> Slot<S> {
        Slot::Stream(self)
    }
}

pub(crate) fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl<S> Stream<S> {
    pub(crate) fn new(socket: Option<Socket>, machine: Box<dyn Protocol<S>>, config: &Config) -> Self {
        Stream {
            machine: Some(machine),
            socket,
            input: None,
            output: None,
            peer: Peer::Unknown,
            deadline: NO_DEADLINE,
            timer: None,
            low_water: to_u32(config.low_water),
            high_water: to_u32(config.high_water),
            input_limit: to_u32(config.input_limit),
            serial: NonZeroU32::MIN,
            listener: None,
            flags: Flags(Flags::FRESH | Flags::WRITABLE),
        }
    }

    /// Puts TLS over the socket. What was written to an open connection before, and is not sent yet, goes out in plain:
    /// it stays where it is, and only its length is noted, so that it goes on counting as unsent.
    #[cfg(feature = "tls")]
    pub(crate) fn secure(&mut self, session: crate::net::tls::Session) {
        let connecting = self.flags.any(Flags::CONNECTING);
        let plain = if connecting { 0 } else { self.unsent() };
        self.socket = self.socket.take().map(|socket| socket.secured(session, !connecting, plain));
    }

    /// Takes TLS off again if nothing waits for its handshake: what is left is a plain connection, to be closed as one.
    #[cfg(feature = "tls")]
    pub(crate) fn give_up_handshake(&mut self) {
        let unsent = self.unsent();
        let is_idle = |socket: &mut Socket| socket.is_shaking_hands() && socket.plain_left() == unsent;
        if let Some(socket) = self.socket.take_if(is_idle) {
            self.socket = Some(socket.unsecured());
            self.flags.clear(Flags::CONNECTING);
        }
    }

    /// How much of what is unsent was written before an upgrade to TLS, and is to be sent before the handshake.
    #[cfg(feature = "tls")]
    pub(crate) fn plain_left(&self) -> usize {
        self.socket.as_ref().map_or(0, Socket::plain_left)
    }

    /// The tick at which its timer has to fire: that of the deadline, or of the handshake's limit if that is first.
    pub(crate) fn due(&self) -> u64 {
        match &self.socket {
            Some(socket) if self.flags.any(Flags::CONNECTING) => self.deadline.min(socket.handshake_limit()),
            _ => self.deadline,
        }
    }

    pub(crate) fn unsent(&self) -> usize {
        self.output.as_ref().map_or(0, |output| output.len())
    }

    pub(crate) fn unread(&self) -> usize {
        self.input.as_ref().map_or(0, |input| input.len())
    }

    /// Whether a read is in order: there may be bytes, and somebody who wants them.
    #[inline]
    pub(crate) fn may_read(&self) -> bool {
        let against = Flags::NOT_OPEN | Flags::ENDED | Flags::PAUSED | Flags::HELD | Flags::REOFFER;
        self.flags.exactly(Flags::READABLE, Flags::READABLE | against)
    }

    /// Whether receiving on a usual socket is all there is to do, and what is answered can be gathered: by far the most
    /// frequent case.
    #[inline]
    pub(crate) fn only_reads(&self, is_usual: impl FnOnce(&Socket) -> bool) -> bool {
        self.socket.as_ref().is_some_and(is_usual)
            && self.flags.exactly(Flags::READABLE | Flags::WRITABLE, !Flags::OF_NO_ACCOUNT)
            && self.input.is_none()
            && self.may_gather()
    }

    #[inline]
    fn tcp(&self) -> Option<&TcpStream> {
        self.socket.as_ref()?.tcp()
    }

    /// Whether what its machine writes can be gathered and sent without another look: nothing is waiting before it, it
    /// would be sent at once, and what fits cannot exceed the high-water mark.
    #[inline]
    pub(crate) fn may_gather(&self) -> bool {
        let against = Flags::CONNECTING | Flags::FINISHING | Flags::CLOSING | Flags::BROKEN | Flags::DOOMED;
        self.output.is_none()
            && self.flags.exactly(Flags::WRITABLE, Flags::WRITABLE | against | Flags::FULL)
            && self.high_water as usize >= Gather::ROOM
    }

    /// Whether input that was left is to be offered although nothing new has come.
    #[inline]
    pub(crate) fn may_offer_again(&self) -> bool {
        let against = Flags::NOT_OPEN | Flags::ENDED | Flags::PAUSED | Flags::HELD;
        self.flags.exactly(Flags::REOFFER, Flags::REOFFER | against)
    }

    /// Whether what still arrives is to be thrown away: so that a peer that writes before it reads comes to reading,
    /// and so that our own end reaches it.
    pub(crate) fn may_drain(&self) -> bool {
        let all = Flags::READABLE | Flags::CLOSING;
        self.flags.exactly(all, all | Flags::CONNECTING | Flags::ENDED | Flags::DOOMED)
    }

    /// Whether the peer may have reset the connection, and no read would tell.
    pub(crate) fn may_have_reset(&self) -> bool {
        self.flags.exactly(Flags::HUNG_UP, Flags::HUNG_UP | Flags::NOT_OPEN)
            && self.flags.any(Flags::ENDED | Flags::PAUSED)
    }

    /// Looks for a reset behind what has come: an error, once. `Ok(true)` if something that came before it is still to be
    /// read, and the read behind that will tell.
    pub(crate) fn look_for_reset(&self, driver: &Driver) -> io::Result<bool> {
        let Some(socket) = &self.socket else { return Ok(false) };
        if !self.flags.any(Flags::ENDED) && (self.input.is_some() || socket.has_unread(driver)?) {
            return Ok(true);
        }
        socket.take_error(driver).map_or(Ok(false), Err)
    }

    /// Whether anything waits to be sent, of the machine's or of TLS's own.
    #[inline]
    pub(crate) fn has_to_send(&self) -> bool {
        self.output.is_some() || self.socket.as_ref().is_some_and(Socket::owes)
    }

    #[inline]
    pub(crate) fn may_write(&self) -> bool {
        let against = Flags::CONNECTING | Flags::BROKEN | Flags::DOOMED;
        self.flags.exactly(Flags::WRITABLE, Flags::WRITABLE | against) && self.has_to_send()
    }

    /// Whether the machine may still write.
    #[inline]
    pub(crate) fn takes_output(&self) -> bool {
        !self.flags.any(Flags::FINISHING | Flags::CLOSING | Flags::BROKEN | Flags::DOOMED)
    }

    /// Whether driving it would do anything.
    #[inline]
    pub(crate) fn has_work(&self) -> bool {
        self.may_read()
            || self.may_write()
            || self.may_drain()
            || self.may_have_reset()
            || self.may_connect()
            || self.may_finish()
            || self.flags.exactly(Flags::FRESH, Flags::FRESH | Flags::CONNECTING)
            || self.may_offer_again()
            || self.has_drained()
    }

    /// Whether something has come of connecting.
    fn may_connect(&self) -> bool {
        self.flags.exactly(Flags::CONNECTING, Flags::CONNECTING | Flags::DOOMED)
            && self.flags.any(Flags::READABLE | Flags::WRITABLE)
    }

    /// Whether `drained` is due.
    #[inline]
    pub(crate) fn has_drained(&self) -> bool {
        self.flags.any(Flags::FULL) && self.unsent() <= self.low_water as usize
    }

    /// Reads what has arrived, and notes when that was all.
    #[inline]
    pub(crate) fn read(&mut self, driver: &Driver, scratch: &mut [u8]) -> io::Result<usize> {
        let Some(socket) = &self.socket else { return Err(io::ErrorKind::WouldBlock.into()) };
        let short_is_all = SHORT_IS_ALL && socket.short_read_drains();
        let n = socket.read(driver, scratch)?;
        if short_is_all && n < scratch.len() && !self.flags.any(Flags::READ_CLOSED) {
            self.flags.clear(Flags::READABLE);
        }
        Ok(n)
    }

    /// Takes its machine back after a callback, unless that has put another in its place.
    #[inline]
    pub(crate) fn take_back(&mut self, machine: Box<dyn Protocol<S>>) {
        if self.machine.is_none() {
            self.machine = Some(machine);
        }
    }

    /// Takes what is written: small pieces are gathered, large ones go out at once with what was gathered before.
    #[inline]
    pub(crate) fn write(&mut self, driver: &Driver, bytes: &[u8], spares: &mut Spares) -> io::Result<()> {
        let mut rest = bytes;
        if bytes.len() >= Gather::ROOM {
            rest = &bytes[self.send_at_once(driver, bytes, spares)?..];
            if rest.is_empty() {
                return Ok(());
            }
        }
        self.output.get_or_insert_with(|| spares.take()).push(rest);
        Ok(())
    }

    /// Hands these bytes to the kernel; before them nothing may be waiting. [`sent`](Self::sent) wants to know how that
    /// went, unless it took them all.
    #[inline]
    pub(crate) fn send(&mut self, driver: &Driver, bytes: &[u8]) -> io::Result<usize> {
        self.flags.set(Flags::WROTE);
        match &self.socket {
            Some(socket) => socket.write(driver, bytes),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Sends what was gathered during its callback, and keeps what the kernel does not take.
    #[inline]
    pub(crate) fn send_gathered(
        &mut self,
        driver: &Driver,
        gather: &mut Gather,
        spares: &mut Spares,
    ) -> io::Result<()> {
        let bytes = gather.bytes();
        if let Some(mut tcp) = self.tcp() {
            let sent = tcp.write(bytes);
            self.flags.set(Flags::WROTE);
            if let Ok(n) = sent
                && n == bytes.len()
            {
                gather.clear();
                return Ok(());
            }
            return self.keep_gathered(sent, gather, spares);
        }
        let sent = self.send(driver, bytes);
        self.keep_gathered(sent, gather, spares)
    }

    #[cold]
    fn keep_gathered(
        &mut self,
        sent: io::Result<usize>,
        gather: &mut Gather,
        spares: &mut Spares,
    ) -> io::Result<()> {
        let sent = self.sent(sent, gather.bytes().len());
        let rest = &gather.bytes()[*sent.as_ref().unwrap_or(&0)..];
        if !rest.is_empty() {
            self.output.get_or_insert_with(|| spares.take()).push(rest);
        }
        gather.clear();
        sent.map(drop)
    }

    /// Sends what is waiting, as far as the kernel takes it; and if nothing is, what TLS itself has to say.
    pub(crate) fn flush(&mut self, driver: &Driver, spares: &mut Spares) -> io::Result<()> {
        let Some(mut output) = self.output.take() else {
            #[cfg(feature = "tls")]
            if self.socket.as_ref().is_some_and(|socket| !socket.flush(driver)) {
                self.flags.clear(Flags::WRITABLE);
            }
            return Ok(());
        };
        let sent = self.send(driver, output.as_slice());
        let sent = self.sent(sent, output.len());
        output.consume(*sent.as_ref().unwrap_or(&0));
        if output.is_empty() {
            spares.give(output);
        } else {
            self.output = Some(output);
        }
        sent.map(drop)
    }

    /// Sends a large piece, after what is waiting; returns how much of it the kernel took.
    #[inline(never)]
    fn send_at_once(&mut self, driver: &Driver, bytes: &[u8], spares: &mut Spares) -> io::Result<usize> {
        let ready =
            |stream: &Self| stream.flags.exactly(Flags::WRITABLE, Flags::WRITABLE | Flags::CONNECTING);
        if self.output.is_some() && bytes.len() < GATHERED_BEHIND || !ready(self) {
            return Ok(0);
        }
        self.flush(driver, spares)?;
        if self.output.is_some() || !ready(self) {
            return Ok(0);
        }
        let sent = self.send(driver, bytes);
        self.sent(sent, bytes.len())
    }

    /// How many bytes a send took. If it was not all, the kernel's buffer is full, and an event will tell when it no
    /// longer is: epoll(7), questions and answers, 9.
    pub(crate) fn sent(&mut self, result: io::Result<usize>, of: usize) -> io::Result<usize> {
        let sent = match result {
            Ok(n) if n == of => return Ok(n),
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            // signal(7) has no interruption of a call that does not wait, but a tracer or a filter may bring one about: as
            // the stream stays writable, it is queued, and the call is made again.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(0),
            result => result?,
        };
        if SHORT_IS_ALL || sent == 0 {
            self.flags.clear(Flags::WRITABLE);
        }
        Ok(sent)
    }

    /// Whether writing is to be shut down now.
    pub(crate) fn may_finish(&self) -> bool {
        let all = Flags::FINISHING | Flags::WRITABLE;
        let against = Flags::FINISHED | Flags::CONNECTING | Flags::BROKEN | Flags::DOOMED;
        self.flags.exactly(all, all | against) && self.output.is_none()
    }

    /// Shuts down writing where that was asked for and everything is sent.
    pub(crate) fn finish_if_due(&mut self, driver: &Driver) -> io::Result<()> {
        let against = Flags::FINISHED | Flags::CONNECTING | Flags::BROKEN | Flags::DOOMED;
        if self.flags.exactly(Flags::FINISHING, Flags::FINISHING | against)
            && self.output.is_none()
            && let Some(socket) = &self.socket
        {
            match socket.finish(driver) {
                // What TLS has to say before is not sent yet.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.flags.clear(Flags::WRITABLE),
                result => {
                    self.flags.set(Flags::FINISHED);
                    // That it is not connected any more says less than what has cut it off.
                    return result.map_err(|error| socket.take_error(driver).unwrap_or(error));
                }
            }
        }
        Ok(())
    }

    /// Has the peer see a reset, and not an end, when the socket is closed.
    pub(crate) fn reset_on_close(&self, driver: &Driver, key: Key) {
        if let Some(Err(error)) = self.socket.as_ref().map(|socket| socket.reset_on_close(driver)) {
            log::debug!("connection {key} to {} could not be reset: {error}", self.peer);
        }
    }

    /// Whether both sides have said their last, so that nothing can come of it any more.
    pub(crate) fn is_over(&self) -> bool {
        let both = Flags::ENDED | Flags::FINISHED;
        self.flags.exactly(both, both)
    }

    /// What a closing connection, with everything sent, has left to do.
    pub(crate) fn farewell(&self) -> Farewell {
        let owes_an_end =
            self.socket.as_ref().is_some_and(Socket::is_secure) && !self.flags.any(Flags::FINISHED);
        let wrote = self.flags.any(Flags::WROTE | Flags::FOREIGN);
        if (self.flags.any(Flags::ENDED) || !wrote) && !owes_an_end {
            Farewell::Close
        } else {
            Farewell::FinishAndDrain
        }
    }
}

#[derive(PartialEq, Eq)]
pub(crate) enum Farewell {
    /// The peer has said its last, or was never told anything: nothing can be lost. (Over TLS it is owed our end all the
    /// same: without, it would have to take what it got for cut off.)
    Close,
    /// Closing with input unread, or still on its way, makes the kernel answer it with a reset, and that destroys
    /// what the peer has not read yet (RFC 9293, section 3.10.4; RFC 2525, section 2.17). So say that this is the end,
    /// and throw away what comes until the peer says the same.
    FinishAndDrain,
}
