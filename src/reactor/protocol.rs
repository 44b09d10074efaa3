//! What a user implements: one state machine per connection.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::{Conn, Cx, Input};

/// One connection's state machine.
///
/// The loop calls it when something happened on its connection, and it never waits: it takes the bytes that are
/// there, writes what it has to say, and returns. What it needs to remember between calls are its own fields; what
/// it shares with others is the state `S` lent to [`Reactor::run`](crate::Reactor::run).
///
/// A method that returns an error ends the connection at once: what is unsent is dropped and [`closed`](Self::closed)
/// is told. The order of the calls is `opened`, then any number of `received`, `drained`, `timed_out` and at
/// most one `ended`, and at the end exactly one `closed`. A connection that never came about goes straight to `closed`.
///
/// ```
/// use enjamb::{Conn, Cx, End, Input, Protocol};
/// use std::io::{self, Write};
///
/// /// Greets, then adds up the numbers it is sent, a line each, until the peer has finished.
/// #[derive(Default)]
/// struct Sum(i64);
///
/// impl Protocol for Sum {
///     fn opened(&mut self, conn: &mut Conn<'_>) -> io::Result<()> {
///         conn.write(b"numbers, please\n");
///         Ok(())
///     }
///     fn received(&mut self, _conn: &mut Conn<'_>, input: &mut Input<'_>) -> io::Result<()> {
///         while let Some(line) = input.take_line() {
///             let number = str::from_utf8(line).ok().and_then(|text| text.trim().parse::<i64>().ok());
///             self.0 += number.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a number"))?;
///         }
///         Ok(()) // half a line stays, and is offered again with what comes next
///     }
///     fn ended(&mut self, conn: &mut Conn<'_>, _rest: &mut Input<'_>) -> io::Result<()> {
///         writeln!(conn, "{}", self.0)?;
///         conn.close(); // flushes first
///         Ok(())
///     }
/// }
/// ```
pub trait Protocol<S = ()> {
    /// The connection stands: accepted, connected or adopted. Called once, before anything else.
    fn opened(&mut self, conn: &mut Conn<'_, S>) -> io::Result<()> {
        let _ = conn;
        Ok(())
    }

    /// Bytes have arrived. What is left in `input` is kept and offered again with what comes next, and also when the
    /// output, which had been above the high-water mark, has drained.
    ///
    /// Bytes that a TCP peer sends as urgent are not delivered, and may hold up what it sends behind them until the next
    /// event: RFC 6093 advises against them.
    ///
    /// Leaving as much as the connection's [input limit](Conn::input_limit) is an error that ends the connection,
    /// unless it is paused.
    fn received(&mut self, conn: &mut Conn<'_, S>, input: &mut Input<'_>) -> io::Result<()>;

    /// The output, which had been above the high-water mark, has fallen to the low-water mark: go on writing.
    fn drained(&mut self, conn: &mut Conn<'_, S>) -> io::Result<()> {
        let _ = conn;
        Ok(())
    }

    /// The peer has sent its last byte (its FIN), and `rest` is what `received` had left. Called at most once.
    ///
    /// The connection can still be written to (a half-close is not a hang-up); the default closes it.
    fn ended(&mut self, conn: &mut Conn<'_, S>, rest: &mut Input<'_>) -> io::Result<()> {
        let _ = rest;
        conn.close();
        Ok(())
    }

    /// The [deadline](Conn::deadline) has passed. It is not armed again by itself; the default ends the connection
    /// with [`TimedOut`](io::ErrorKind::TimedOut).
    fn timed_out(&mut self, conn: &mut Conn<'_, S>) -> io::Result<()> {
        Err(conn.timed_out_error())
    }

    /// The connection is gone and its descriptor closed. Called exactly once, also when it never opened; the machine
    /// is consumed, so this is the place to put what it made into `cx.state`.
    fn closed(self: Box<Self>, cx: &mut Cx<'_, S>, end: End) {
        let _ = (cx, end);
    }
}

/// How a connection ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct End {
    /// `Ok`: closed by [`Conn::close`], with everything sent. `Err`: why it ended before that. The error says what
    /// was being done and to whom; one that a callback returned is passed on as it was.
    pub result: io::Result<()>,
    /// Bytes written by the machine that were never handed to the kernel.
    pub unsent: usize,
    /// Bytes received that the machine had left in its input.
    pub unread: usize,
}

/// What may become of a connection that is released: see [`Conn::release`](crate::Conn::release).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// The answer was read to its end: another may use the connection.
    Reusable,
    /// The same, but the server will close it when it has been idle for that long (HTTP's `Keep-Alive: timeout`). It is
    /// given up a second before that, so that the server does not close it at the moment it is used.
    ReusableFor(Duration),
    /// Who knows what is still to come: it is closed.
    Dirty,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.result {
            Ok(()) => f.write_str("closed")?,
            Err(error) => write!(f, "{error}")?,
        }
        if self.unsent > 0 {
            write!(f, "; {} bytes were not sent", self.unsent)?;
        }
        if self.unread > 0 {
            write!(f, "; {} bytes were not read", self.unread)?;
        }
        Ok(())
    }
}
