//! One protocol alone, driven by a test.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::net::plain::Plain;
use crate::net::simulated::{LAST, SocketId};
use crate::net::socket::Socket;
use crate::sim::{Link, Sim};
use crate::{Conn, Cx, End, Input, Protocol, Reactor, Turn};

/// One protocol alone, for its unit tests. Feed it bytes and let time pass; then check what it wrote and how it ended.
///
/// ```
/// use enjamb::sim::Solo;
/// # use enjamb::{Conn, Input, Protocol};
/// # struct Shout;
/// # impl Protocol for Shout {
/// #     fn received(&mut self, conn: &mut Conn<'_>, input: &mut Input<'_>) -> std::io::Result<()> {
/// #         while let Some(line) = input.take_line() {
/// #             conn.write(&line.to_ascii_uppercase());
/// #             conn.write(b"\n");
/// #         }
/// #         Ok(())
/// #     }
/// # }
///
/// let mut solo = Solo::new(Shout);
/// assert_eq!(solo.feed("hello\nwor"), b"HELLO\n");
/// assert_eq!(solo.feed("ld\n"), b"WORLD\n");
/// # assert!(solo.end().is_none());
/// # solo.finish();
/// # assert!(solo.end().is_some_and(|end| end.result.is_ok()));
/// ```
pub struct Solo<S = ()> {
    /// The state that the callbacks share.
    pub state: S,
    reactor: Reactor<S>,
    sim: Sim,
    peer: SocketId,
    /// The end, as the protocol's `closed` received it.
    left: Rc<RefCell<Option<End>>>,
    end: Option<End>,
}

impl Solo {
    /// Creates a protocol without shared state, on a connection that has just been opened.
    pub fn new(protocol: impl Protocol + 'static) -> Self {
        Self::with_state(protocol, ())
    }
}

impl<S: 'static> Solo<S> {
    /// Creates a protocol with shared state, on a connection that has just been opened.
    ///
    /// # Panics If a callback of the protocol panics. That holds for all methods here.
    pub fn with_state(protocol: impl Protocol<S> + 'static, state: S) -> Self {
        let sim = Sim::new(0);
        // Every write arrives at once, as one segment.
        let (none, any) = (Duration::ZERO, usize::MAX);
        sim.links(Link { latency: none..=none, spacing: none, segment: any..=any, ..Link::default() });
        let addr = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (own, peer) = sim.network().pair(addr(1), addr(2));
        let sim_socket = Socket::from(Plain::from(sim.kernel().socket(own)));
        let mut solo = Solo {
            state,
            reactor: sim.reactor().expect("the default configuration is valid"),
            sim,
            peer,
            left: Rc::default(),
            end: None,
        };
        let watched = Watched { machine: Some(Box::new(protocol)), left: Rc::clone(&solo.left) };
        solo.reactor
            .cx(&mut solo.state)
            .adopt(sim_socket, watched)
            .expect("a simulated socket can be registered");
        solo.settle();
        solo
    }

    /// Feeds bytes to the protocol as if its peer had sent them. Returns the bytes that it wrote since the last call.
    /// Bytes that the protocol does not read, because it is paused or has ended, are lost.
    pub fn feed(&mut self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        let mut rest = bytes.as_ref();
        let mut written = Vec::new();
        loop {
            let sent = self.send(rest);
            rest = &rest[sent..];
            let before = written.len();
            written.append(&mut self.written());
            if rest.is_empty() || sent == 0 && written.len() == before {
                return written;
            }
        }
    }

    /// Sends bytes as a peer that does not read the output. Returns the number of bytes accepted. It is less than all
    /// if backpressure stops the protocol's own reads.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> usize {
        let bytes = bytes.as_ref();
        let mut sent = 0;
        while sent < bytes.len() {
            let written = self.sim.network().write(self.peer, &bytes[sent..]);
            self.settle();
            match written {
                Ok(n) => sent += n,
                Err(_) => break, // full, or ended, which `end` shows
            }
        }
        sent
    }

    /// Sends the peer's end of the stream (FIN).
    pub fn finish(&mut self) {
        self.sim.network().finish(self.peer).ok(); // an error means that the connection is gone, which `end` shows
        self.settle();
    }

    /// Resets the connection from the peer's side.
    pub fn reset(&mut self) {
        self.sim.network().break_off(self.peer);
        self.settle();
    }

    /// Lets time pass. Timers and deadlines in that time fire at their times.
    pub fn advance(&mut self, time: Duration) {
        let until = self.sim.now().saturating_add(time).min(LAST);
        while self.sim.now() < until {
            self.turn(until - self.sim.now());
        }
        self.settle();
    }

    /// The bytes that the protocol wrote since the last call.
    pub fn written(&mut self) -> Vec<u8> {
        let mut written = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let read = self.sim.network().read(self.peer, &mut piece);
            match read {
                Ok(n) if n > 0 => written.extend_from_slice(&piece[..n]),
                _ => return written,
            }
            self.settle(); // room in the buffer may allow further output
        }
    }

    /// How the protocol ended. `None` while it is open. After [`Conn::close`], the end comes when the peer has
    /// [finished](Self::finish) too, or one second later.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// The loop, for actions from outside of the protocol.
    pub fn cx(&mut self) -> Cx<'_, S> {
        self.reactor.cx(&mut self.state)
    }

    fn turn(&mut self, max_wait: Duration) -> Turn {
        let turn =
            self.reactor.turn(&mut self.state, Some(max_wait)).unwrap_or_else(|error| panic!("{error}"));
        self.end = self.left.take().or(self.end.take());
        turn
    }

    /// Runs turns until nothing is left to do at this time.
    fn settle(&mut self) {
        loop {
            let before = self.sim.fingerprint();
            let turn = self.turn(Duration::ZERO);
            if turn.next != Some(Duration::ZERO) && before == self.sim.fingerprint() {
                return;
            }
        }
    }
}

impl<S> std::fmt::Debug for Solo<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Solo").finish_non_exhaustive()
    }
}

/// Forwards every callback, and keeps the end.
struct Watched<S> {
    machine: Option<Box<dyn Protocol<S>>>,
    left: Rc<RefCell<Option<End>>>,
}

impl<S> Watched<S> {
    fn call(
        &mut self,
        conn: &mut Conn<'_, S>,
        callback: impl FnOnce(&mut dyn Protocol<S>, &mut Conn<'_, S>) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(machine) = &mut self.machine else { return Ok(()) };
        let result = callback(&mut **machine, conn);
        if let Some(next) = conn.take_switched() {
            self.machine = Some(next);
        }
        result
    }
}

impl<S> Protocol<S> for Watched<S> {
    fn opened(&mut self, conn: &mut Conn<'_, S>) -> io::Result<()> {
        self.call(conn, |machine, conn| machine.opened(conn))
    }
    fn received(&mut self, conn: &mut Conn<'_, S>, input: &mut Input<'_>) -> io::Result<()> {
        self.call(conn, |machine, conn| machine.received(conn, input))
    }
    fn drained(&mut self, conn: &mut Conn<'_, S>) -> io::Result<()> {
        self.call(conn, |machine, conn| machine.drained(conn))
    }
    fn ended(&mut self, conn: &mut Conn<'_, S>, rest: &mut Input<'_>) -> io::Result<()> {
        self.call(conn, |machine, conn| machine.ended(conn, rest))
    }
    fn timed_out(&mut self, conn: &mut Conn<'_, S>) -> io::Result<()> {
        self.call(conn, |machine, conn| machine.timed_out(conn))
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, S>, end: End) {
        let kept = End { result: again(&end.result), unsent: end.unsent, unread: end.unread };
        *self.left.borrow_mut() = Some(kept);
        if let Some(machine) = self.machine {
            machine.closed(cx, end);
        }
    }
}

/// A copy of the result for a second reader, since an `io::Error` cannot be cloned.
fn again(result: &io::Result<()>) -> io::Result<()> {
    result.as_ref().copied().map_err(|error| io::Error::new(error.kind(), error.to_string()))
}
