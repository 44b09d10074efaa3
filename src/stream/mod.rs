//! One connection's I/O, without its machine: socket, buffers, water marks, deadline, and its state.
//!
//! It stays in its slot while the machine is out on a callback. So any callback can write to any connection, pause it or
//! close it. Read [`state`] first.

pub(crate) mod cork;
mod output;
pub(crate) mod state;

use std::io;
use std::num::NonZeroU32;

use crate::base::buffer::Buffer;
use crate::base::clock::NO_DEADLINE;
use crate::base::config::Config;
use crate::base::peer::Peer;
use crate::base::slots::Key;
use crate::base::wheel::TimerKey;
use crate::net::socket::Socket;
use crate::stream::cork::Cork;
use crate::stream::state::{Held, Phase, State, WriteHalf};

/// A read or write that did less than it could have has drained or filled the socket, so that no second one is needed to
/// see `WouldBlock`: epoll(7), questions and answers, 9; kqueue reports anew in any case. mio's Windows does need it.
const SHORT_IS_ALL: bool = cfg!(unix);

pub(crate) struct Stream {
    /// `None` as long as there is none: while a name is looked up, or where a connect failed at once.
    pub(crate) socket: Option<Socket>,
    /// Input that the machine left.
    pub(crate) input: Option<Box<Buffer>>,
    /// Output that was not sent.
    pub(crate) output: Option<Box<Buffer>>,
    pub(crate) peer: Peer,
    /// The tick at which the deadline passes. The timer may be set for an earlier one: it looks here when it fires.
    pub(crate) deadline: u64,
    pub(crate) timer: Option<TimerKey>,
    pub(crate) low_water: u32,
    pub(crate) high_water: u32,
    pub(crate) input_limit: u32,
    /// The serial of its slot. It stands here, where it fills a gap of the layout.
    pub(crate) serial: NonZeroU32,
    /// The serial of the listener that accepted it.
    pub(crate) listener: Option<NonZeroU32>,
    pub(crate) state: State,
}

pub(crate) fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Stream {
    pub(crate) fn new(socket: Option<Socket>, state: State, config: &Config) -> Self {
        Stream {
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
            state,
        }
    }

    pub(crate) fn unsent(&self) -> usize {
        self.output.as_ref().map_or(0, |output| output.len())
    }

    pub(crate) fn unread(&self) -> usize {
        self.input.as_ref().map_or(0, |input| input.len())
    }

    /// Output is left, of the machine's or of TLS's own.
    #[inline]
    pub(crate) fn has_to_send(&self) -> bool {
        self.output.is_some() || self.socket.as_ref().is_some_and(Socket::owes)
    }

    #[inline]
    fn held(&self) -> Held {
        let low = self.unsent() <= self.low_water as usize;
        Held { input: self.input.is_some(), output: self.has_to_send(), low }
    }

    /// Receiving on a socket of this kind is all there is to do, and what is answered can be corked.
    #[inline]
    pub(crate) fn only_reads(&self, is_kind: impl FnOnce(&Socket) -> bool) -> bool {
        self.socket.as_ref().is_some_and(is_kind)
            && self.state.only_reads()
            && self.input.is_none()
            && self.may_cork()
    }

    /// What the machine writes can be corked: it would be sent at once, nothing waits before it, and the cork holds no
    /// more than the high-water mark allows.
    #[inline]
    pub(crate) fn may_cork(&self) -> bool {
        self.output.is_none() && self.state.may_cork() && self.high_water as usize >= Cork::ROOM
    }

    #[inline]
    pub(crate) fn may_send(&self) -> bool {
        self.state.may_send() && self.has_to_send()
    }

    /// Writing is to be shut down now.
    pub(crate) fn may_finish(&self) -> bool {
        self.state.may_finish() && self.state.is_writable() && self.output.is_none()
    }

    /// `drained` is due.
    #[inline]
    pub(crate) fn has_drained(&self) -> bool {
        self.state.has_drained(self.held())
    }

    /// The output is at the low-water mark: `drained` is called. Input may have been left for want of room in the output.
    pub(crate) fn drain(&mut self) {
        self.state.drain();
        if self.input.is_some() {
            self.state.offer();
        }
    }

    /// Driving it would do something.
    #[inline]
    pub(crate) fn has_work(&self) -> bool {
        self.state.has_work(self.held())
    }

    /// Reads what has arrived, and notes when that was all.
    #[inline]
    pub(crate) fn read(&mut self, scratch: &mut [u8]) -> io::Result<usize> {
        let Some(socket) = &self.socket else { return Err(io::ErrorKind::WouldBlock.into()) };
        let short_is_all = SHORT_IS_ALL && socket.short_read_drains();
        let n = socket.read(scratch)?;
        if short_is_all && n < scratch.len() && !self.state.is_read_closed() {
            self.state.not_readable();
        }
        Ok(n)
    }

    /// Looks for a reset behind what has come: an error, once. `Ok(true)` if bytes that came before it are still to be
    /// read; the read behind those will tell.
    pub(crate) fn look_for_reset(&self) -> io::Result<bool> {
        let Some(socket) = &self.socket else { return Ok(false) };
        if !self.state.peer_has_ended() && self.has_unread()? {
            return Ok(true);
        }
        socket.take_error().map_or(Ok(false), Err)
    }

    /// Bytes are to be read, from the kernel or from what the machine left. An error that a read would give is returned.
    fn has_unread(&self) -> io::Result<bool> {
        let in_kernel = |socket: &Socket| socket.has_unread();
        Ok(self.input.is_some() || self.socket.as_ref().map_or(Ok(false), in_kernel)?)
    }

    /// Output is lost, and the user has paused: the connection waits all the same, for bytes that came before to be read.
    pub(crate) fn is_paused_before_bytes(&self) -> bool {
        self.state.is_paused()
            && self.state.phase() == Phase::Open
            && !self.state.peer_has_ended()
            && self.has_unread().unwrap_or(false)
    }

    /// The tick at which its timer has to fire: that of the deadline, or of the handshake's limit if that is first.
    pub(crate) fn due(&self) -> u64 {
        match &self.socket {
            Some(socket) if self.state.is_connecting() => {
                self.deadline.min(socket.handshake_limit().unwrap_or(NO_DEADLINE))
            }
            _ => self.deadline,
        }
    }

    /// Has the peer see a reset, and not an end, when the socket is closed.
    pub(crate) fn reset_on_close(&self, key: Key) {
        if let Some(Err(error)) = self.socket.as_ref().map(Socket::reset_on_close) {
            log::debug!("connection {key} to {} could not be reset: {error}", self.peer);
        }
    }

    /// What a closing connection, with everything sent, has left to do.
    pub(crate) fn farewell(&self) -> Farewell {
        let is_secure = self.socket.as_ref().is_some_and(Socket::is_secure);
        let owes_an_end = is_secure && self.state.write_half() != WriteHalf::Shut;
        if (self.state.peer_has_ended() || !self.state.has_written()) && !owes_an_end {
            Farewell::Close
        } else {
            Farewell::FinishAndDiscard
        }
    }
}

/// Upgrades to TLS.
#[cfg(feature = "tls")]
impl Stream {
    /// Puts TLS over the socket. Output that was written to an open connection before stays where it is, and goes on
    /// counting as unsent. The TLS socket notes only its length, and sends so many bytes as they are.
    pub(crate) fn secure(&mut self, session: crate::net::tls::Session) {
        let connecting = self.state.is_connecting();
        let plain = if connecting { 0 } else { self.unsent() };
        self.socket = self.socket.take().map(|socket| socket.secured(session, !connecting, plain));
    }

    /// Takes TLS off again if nothing waits for its handshake. A plain connection is left, and is closed as one.
    pub(crate) fn give_up_handshake(&mut self) {
        let unsent = self.unsent();
        let is_idle = |socket: &mut Socket| socket.is_shaking_hands() && socket.plain_left() == unsent;
        if let Some(socket) = self.socket.take_if(is_idle) {
            self.socket = Some(socket.unsecured());
            self.state.connected();
        }
    }

    pub(crate) fn has_handshake_limit(&self) -> bool {
        self.socket.as_ref().is_some_and(|socket| socket.handshake_limit().is_some())
    }

    /// How much of the output was written before an upgrade, and is sent before the handshake.
    pub(crate) fn plain_left(&self) -> usize {
        self.socket.as_ref().map_or(0, Socket::plain_left)
    }
}

#[derive(PartialEq, Eq)]
pub(crate) enum Farewell {
    /// The peer has ended, or was never sent anything: nothing can be lost. (Over TLS, our end is due all the same: without
    /// it, the peer would have to take what it got for cut off.)
    Close,
    /// If a socket is closed with input unread, or still on its way, the kernel answers that with a reset, which destroys
    /// what the peer has not read yet (RFC 9293, section 3.10.4; RFC 2525, section 2.17). So writing is shut down, and
    /// input is thrown away until the peer's end.
    FinishAndDiscard,
}
