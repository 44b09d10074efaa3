//! The state of a connection. Everything that changes it is in this file.
//!
//! A connection has a phase and a write half, and a handful of conditions that are independent of both.
//!
//! ```text
//!   Connecting ──► Opening ──► Open ◄──► Upgrading          the write half:
//!       │             │         │           │               Open ──► Finishing ──► Shut
//!       └─────────────┴────┬────┴───────────┘                └──────────┴───► Broken ──► Shut
//!                       Closing
//!                          │
//!                       Doomed      (from every phase)
//! ```
//!
//! These hold in every state that can be reached; a test walks through all of them:
//!
//! 1. A doomed connection does nothing more, and stays doomed.
//! 2. Before the connection stands, nothing is read from it and nothing is sent on it.
//! 3. Input has one way to go at a time: it is read, what was left of it is offered again, or it is thrown away.
//! 4. The machine can write only before `Closing`, and only while the write half is open.
//! 5. The write half is shut only when everything was sent. Nothing is sent on a half that is shut or broken.
//! 6. Nothing is forgotten. A socket that is ready and can be used is work, so the loop drives it. Where there is no work,
//!    the connection waits for an event, for the user (paused), or for its own output to fall (held).
//!
//! Readiness is edge-triggered: an event sets a bit, and only the system call that was refused clears it.

use crate::base::readiness::Readiness;

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// TCP, or a TLS handshake that comes with it, is under way. `opened` comes next.
    Connecting,
    /// The connection stands, and `opened` was not called yet.
    Opening,
    Open,
    /// A TLS handshake has begun on a connection that was open: STARTTLS. The machine is not called until it is done.
    Upgrading,
    /// `close` was called: output is sent, input is thrown away, and the only callback left is `closed`.
    Closing,
    /// It is reaped at the end of this turn.
    Doomed,
}

/// What has become of our own direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteHalf {
    Open,
    /// `finish` was called, or `close`: the half is shut when everything is sent.
    Finishing,
    /// shutdown(2) was called: the peer gets our end.
    Shut,
    /// A write failed, or shutting down did. What has arrived is still read. If only shutting down failed, and the peer's
    /// end is found there, the half counts as shut.
    Broken,
}

/// A phase, a write half and the conditions, in one word: the fast path checks it with one mask and one comparison. `Open`
/// is zero in both.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State(u32);

// Readiness has the lowest bits.
const READABLE: u32 = Readiness::READABLE;
const WRITABLE: u32 = Readiness::WRITABLE;
const READ_CLOSED: u32 = Readiness::READ_CLOSED;
const HUNG_UP: u32 = Readiness::HUNG_UP;

// The phase: at most one of these three, and `CONNECTING` beside any of them.
const OPENING: u32 = 1 << 4;
const CLOSING: u32 = 1 << 5;
const DOOMED: u32 = 1 << 6;
const PHASE: u32 = OPENING | CLOSING | DOOMED;
/// A connect or a handshake is under way, also below a connection that is closed when it is done.
const CONNECTING: u32 = 1 << 7;

// The write half: at most one of these.
const FINISHING: u32 = 1 << 8;
const SHUT: u32 = 1 << 9;
const BROKEN: u32 = 1 << 10;
const WRITE_HALF: u32 = FINISHING | SHUT | BROKEN;

/// The peer's end was read.
const EOF: u32 = 1 << 11;
/// The user has paused reading.
const PAUSED: u32 = 1 << 12;
/// Output went above the high-water mark, and has not fallen to the low one.
const FULL: u32 = 1 << 13;
/// Being full does not hold back reading.
const READS_FULL: u32 = 1 << 14;
/// Input that was left is offered before more is read: after `resume` or `drained`, or to a new machine.
const OFFER: u32 = 1 << 15;
/// In the run queue.
const QUEUED: u32 = 1 << 16;
/// In the list of those to flush when the callback at hand returns.
const DIRTY: u32 = 1 << 17;
/// Bytes were handed to the kernel, which an early close could destroy.
const WROTE: u32 = 1 << 18;
/// The socket was adopted: there may be a duplicate of it, and bytes may have been written to it.
const ADOPTED: u32 = 1 << 19;

/// Closing, and only the peer's end is waited for.
const LINGERING: u32 = 1 << 20;
/// Closing, and every progress moves the deadline on.
const EXTENSIBLE: u32 = 1 << 21;

const IGNORED_BY_FAST_PATH: u32 = READ_CLOSED | READS_FULL | WROTE | ADOPTED;
const NOT_OPEN: u32 = CONNECTING | PHASE;

/// What the stream holds: some predicates depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    /// Input that the machine left.
    pub(crate) input: bool,
    /// Output that was not sent.
    pub(crate) output: bool,
    /// The output is at the low-water mark, or below it.
    pub(crate) low: bool,
}

/// A predicate is true if at least one of its bits is set; or if all bits are set that it needs, and none that are against it.
macro_rules! predicates {
    ($($(#[$doc:meta])* $name:ident: any $bits:expr;)* / $($(#[$also:meta])* $named:ident: $needs:expr, unless $against:expr;)*) => {
        impl State {
            $($(#[$doc])* #[inline] pub(crate) fn $name(self) -> bool { self.0 & ($bits) != 0 })*
            $($(#[$also])* #[inline] pub(crate) fn $named(self) -> bool { self.0 & ($needs | $against) == $needs })*
        }
    };
}

predicates! {
    /// A connect or a handshake is under way, whatever becomes of the connection then.
    is_connecting: any CONNECTING;
    is_doomed: any DOOMED;
    /// `close` was called, or worse has happened.
    is_ending: any CLOSING | DOOMED;
    is_broken: any BROKEN;
    /// Steps of finishing or closing may be due when everything is sent.
    winds_up: any FINISHING | SHUT | CLOSING;
    is_readable: any READABLE;
    is_writable: any WRITABLE;
    /// No further event comes for reading: the socket is read to its end, whatever a read returns.
    is_read_closed: any READ_CLOSED;
    peer_has_ended: any EOF;
    is_paused: any PAUSED;
    is_full: any FULL;
    has_offer: any OFFER;
    /// Bytes may be in the kernel that were written, here or before the socket was adopted.
    has_written: any WROTE | ADOPTED;
    is_adopted: any ADOPTED;
    /// Closing has only to wait for the peer's end.
    is_lingering: any LINGERING;
    /// Progress of closing moves the deadline on.
    is_extensible: any EXTENSIBLE;
    /
    /// Receiving is all there is to do, and what is answered can be corked. Most events find a connection so.
    only_reads: READABLE | WRITABLE, unless !IGNORED_BY_FAST_PATH;
    /// What the machine writes can be corked, as it would be sent at once.
    may_cork: WRITABLE, unless CONNECTING | CLOSING | DOOMED | WRITE_HALF | FULL;
    /// The machine may write.
    takes_output: 0, unless CLOSING | DOOMED | WRITE_HALF;
    /// Reading is held back until the output has fallen.
    is_held: FULL, unless READS_FULL;
    may_send: WRITABLE, unless CONNECTING | DOOMED | SHUT | BROKEN;
    /// What arrives is thrown away, so that a peer that writes before it reads comes to reading, and gets our end.
    may_discard: READABLE | CLOSING, unless CONNECTING | EOF;
    /// `opened` is due.
    may_open: OPENING, unless CONNECTING;
    /// Writing is shut down as soon as everything is sent.
    may_finish: FINISHING, unless CONNECTING | DOOMED;
    /// Both sides have said their last.
    is_over: EOF | SHUT, unless 0;
}

/// What is to be done.
impl State {
    pub(crate) fn phase(self) -> Phase {
        match (self.0 & PHASE, self.is_connecting()) {
            (DOOMED, _) => Phase::Doomed,
            (CLOSING, _) => Phase::Closing,
            (OPENING, true) => Phase::Connecting,
            (OPENING, false) => Phase::Opening,
            (_, true) => Phase::Upgrading,
            (_, false) => Phase::Open,
        }
    }

    pub(crate) fn write_half(self) -> WriteHalf {
        match self.0 & WRITE_HALF {
            FINISHING => WriteHalf::Finishing,
            SHUT => WriteHalf::Shut,
            BROKEN => WriteHalf::Broken,
            _ => WriteHalf::Open,
        }
    }

    fn is(self, needs: u32, against: u32) -> bool {
        self.0 & (needs | against) == needs
    }

    /// There may be bytes, and the machine takes them.
    #[inline]
    pub(crate) fn may_read(self) -> bool {
        self.is(READABLE, NOT_OPEN | EOF | PAUSED | OFFER) && !self.is_held()
    }

    /// Input that was left is offered again, although nothing new has come.
    #[inline]
    pub(crate) fn may_offer(self) -> bool {
        self.is(OFFER, NOT_OPEN | EOF | PAUSED) && !self.is_held()
    }

    /// The peer may have reset the connection, and no read would tell.
    pub(crate) fn may_have_reset(self) -> bool {
        self.is(HUNG_UP, NOT_OPEN) && self.0 & (EOF | PAUSED) != 0
    }

    /// The peer's end is still to be read, and nothing keeps the loop from reading.
    pub(crate) fn reads_on(self) -> bool {
        self.is(0, CONNECTING | OPENING | DOOMED | EOF) && (self.is_ending() || !self.is_paused())
    }

    /// Something has come of connecting.
    pub(crate) fn may_connect(self) -> bool {
        self.is(CONNECTING, DOOMED) && self.0 & (READABLE | WRITABLE) != 0
    }

    /// `drained` is due.
    #[inline]
    pub(crate) fn has_drained(self, held: Held) -> bool {
        self.is(FULL, DOOMED) && held.low
    }

    /// Driving the connection would do something.
    #[inline]
    pub(crate) fn has_work(self, held: Held) -> bool {
        self.may_read()
            || held.output && self.may_send()
            || self.may_open()
            || !held.output && self.may_finish() && self.is_writable()
            || self.may_offer()
            || self.has_drained(held)
            || self.may_connect()
            || self.may_discard()
            || self.may_have_reset()
    }
}

/// A transition clears bits, then sets bits.
macro_rules! transitions {
    ($($(#[$doc:meta])* $name:ident: clear $clears:expr, set $sets:expr;)*) => {
        impl State {
            $($(#[$doc])* #[inline] pub(crate) fn $name(&mut self) { self.0 = self.0 & !($clears) | $sets; })*
        }
    };
}

transitions! {
    /// A read was refused, or has drained the socket.
    not_readable: clear READABLE, set 0;
    /// A send was refused, or has filled the socket.
    not_writable: clear WRITABLE, set 0;
    /// An event came for a connection that is not there yet, and was spurious, or not enough.
    not_connected: clear READABLE | WRITABLE, set 0;
    /// It was looked for a reset, and there was none.
    not_reset: clear HUNG_UP, set 0;
    /// The connection stands.
    connected: clear CONNECTING, set 0;
    /// The connection stands, and so does TLS. More may have come with the handshake, of which no event tells.
    shook_hands: clear CONNECTING, set READABLE | WRITABLE | WROTE;
    /// A handshake begins.
    upgrade: clear 0, set CONNECTING | READABLE | WRITABLE;
    /// The peer's end was read.
    peer_ended: clear READABLE, set EOF;
    /// What was left of the input is being offered.
    offered: clear OFFER, set 0;
    /// What is left of the input is offered next.
    offer: clear 0, set OFFER;
    /// The output went above the high-water mark.
    fill: clear 0, set FULL;
    /// The output has fallen to the low-water mark.
    drain: clear FULL, set 0;
    hold_while_full: clear READS_FULL, set 0;
    read_while_full: clear 0, set READS_FULL;
    /// Bytes were handed to the kernel.
    wrote: clear 0, set WROTE;
    /// Writing was shut down, or need not be any more.
    shut: clear WRITE_HALF, set SHUT;
    /// A write failed. What has arrived is read to its end, though no event tells of it.
    break_off: clear WRITE_HALF | FULL, set BROKEN | READABLE | READ_CLOSED;
    /// Another user gets the connection: what the last one has set is forgotten.
    renew: clear PAUSED | FULL | READS_FULL | OFFER, set 0;
    /// Everything is sent, and writing is shut down: closing waits for the peer's end.
    linger: clear 0, set LINGERING;
    /// Progress of closing moves the deadline on, and is to do so again.
    extend: clear 0, set EXTENSIBLE;
    /// A deadline was set that progress does not move on.
    fix_deadline: clear EXTENSIBLE, set 0;
    dequeue: clear QUEUED, set 0;
    clean: clear DIRTY, set 0;
}

/// Transitions that depend on the state, and how it begins.
impl State {
    /// The event that tells of the connection is also the one that tells that it is writable.
    pub(crate) const CONNECTING: State = State(CONNECTING | OPENING);
    pub(crate) const ACCEPTED: State = State(OPENING | WRITABLE);
    pub(crate) const ADOPTED: State = State(OPENING | WRITABLE | ADOPTED);

    /// An event has come.
    #[inline]
    pub(crate) fn ready(&mut self, ready: Readiness) {
        self.0 |= ready.bits();
    }

    /// Sets a bit; `false` if it was set before.
    fn enter(&mut self, bit: u32) -> bool {
        let entered = self.0 & bit == 0;
        self.0 |= bit;
        entered
    }

    /// Puts it into the run queue; `false` if it is there already.
    #[inline]
    pub(crate) fn enqueue(&mut self) -> bool {
        self.enter(QUEUED)
    }

    /// Puts it into the list of those to flush; `false` if it is there already.
    #[inline]
    pub(crate) fn mark_dirty(&mut self) -> bool {
        self.enter(DIRTY)
    }

    /// `opened` is called now; `false` if it is not due.
    pub(crate) fn open(&mut self) -> bool {
        let due = self.may_open();
        self.0 &= if due { !OPENING } else { !0 };
        due
    }

    /// `opened` is to be called again, on another machine.
    pub(crate) fn reopen(&mut self) {
        self.0 |= if self.0 & PHASE == 0 { OPENING } else { 0 };
    }

    /// `false` if it is paused already.
    pub(crate) fn pause(&mut self) -> bool {
        self.offered();
        self.enter(PAUSED)
    }

    /// `false` if it is not paused.
    pub(crate) fn resume(&mut self) -> bool {
        let paused = self.is_paused();
        if paused {
            self.0 = self.0 & !PAUSED | OFFER;
        }
        paused
    }

    /// Another machine takes over: what was left is offered to it, and the peer's end is read once more.
    pub(crate) fn switch(&mut self) {
        self.offer();
        if self.peer_has_ended() {
            self.0 = self.0 & !EOF | READABLE;
        }
    }

    /// `finish` was called, or is the next step of closing.
    pub(crate) fn finish(&mut self) {
        self.0 |= if self.0 & WRITE_HALF == 0 { FINISHING } else { 0 };
    }

    /// `close` was called; `false` if the connection is ending already.
    pub(crate) fn close(&mut self) -> bool {
        let closes = !self.is_ending();
        if closes {
            self.0 = self.0 & !PHASE | CLOSING | EXTENSIBLE;
        }
        closes
    }

    /// `false` if it is doomed already: the first cause stands.
    pub(crate) fn doom(&mut self) -> bool {
        let dooms = !self.is_doomed();
        self.0 = self.0 & !PHASE | DOOMED;
        dooms
    }
}

#[cfg(test)]
mod tests;
