//! A scripted peer.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use crate::{Conn, Input, Protocol};

/// A scripted peer: a server or client that performs actions one after the other. It is a [`Protocol`] for any state,
/// and works on simulated and real reactors:
///
/// ```
/// use enjamb::sim::Script;
/// use std::time::Duration;
///
/// let pop3 = Script::new()
///     .say("+OK ready\r\n")
///     .expect("QUIT\r\n")
///     .wait(Duration::from_millis(50))
///     .say("+OK bye\r\n")
///     .close();
/// ```
///
/// After its last action, a script stays open, discards its input, and closes when its peer has finished. It also
/// closes if the peer finishes before the expected bytes have arrived. If it receives other bytes than expected, it
/// panics, and the test fails.
#[derive(Debug, Clone, Default)]
pub struct Script {
    actions: VecDeque<Action>,
    /// Received bytes that no action has consumed yet.
    received: Vec<u8>,
    peer_ended: bool,
    /// The deadline of the current wait is set.
    waiting: bool,
}

#[derive(Debug, Clone)]
enum Action {
    Say(Vec<u8>),
    Expect(Vec<u8>),
    Until(Vec<u8>),
    Wait(Duration),
    Pause,
    Resume,
    Finish,
    Close,
    Reset,
}

impl Script {
    /// Creates a script without actions: it only reads.
    pub fn new() -> Self {
        Script::default()
    }

    fn then(mut self, action: Action) -> Self {
        self.actions.push_back(action);
        self
    }

    /// Sends these bytes.
    pub fn say(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Action::Say(bytes.as_ref().to_vec()))
    }

    /// Waits for exactly these bytes.
    pub fn expect(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Action::Expect(bytes.as_ref().to_vec()))
    }

    /// Waits until these bytes arrive, and discards the bytes before them. Use it for the end of a request's head, for
    /// example.
    pub fn until(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Action::Until(bytes.as_ref().to_vec()))
    }

    /// Waits for this time.
    pub fn wait(self, time: Duration) -> Self {
        self.then(Action::Wait(time))
    }

    /// Stops reading, as a slow or hanging peer does. Data sent to it accumulates, finally at the sender.
    pub fn pause(self) -> Self {
        self.then(Action::Pause)
    }

    /// Reads again after a [pause](Self::pause).
    pub fn resume(self) -> Self {
        self.then(Action::Resume)
    }

    /// Sends the end of the stream (FIN), and goes on reading: a half-close.
    pub fn finish(self) -> Self {
        self.then(Action::Finish)
    }

    /// Closes the connection after sending all output.
    pub fn close(self) -> Self {
        self.then(Action::Close)
    }

    /// Resets the connection. Bytes sent just before may be lost with it: [wait](Self::wait) first if they must arrive.
    pub fn reset(self) -> Self {
        self.then(Action::Reset)
    }

    /// Performs the actions that are possible now.
    fn go_on<S>(&mut self, conn: &mut Conn<'_, S>) -> io::Result<()> {
        while let Some(action) = self.actions.front() {
            match action {
                Action::Say(bytes) => {
                    conn.write(bytes);
                }
                Action::Expect(bytes) => {
                    let common = bytes.len().min(self.received.len());
                    assert!(
                        self.received[..common] == bytes[..common],
                        "a script expected \"{}\", and \"{}\" came",
                        bytes.escape_ascii(),
                        self.received.escape_ascii()
                    );
                    if common < bytes.len() {
                        return Ok(());
                    }
                    self.received.drain(..common);
                }
                Action::Until(bytes) => {
                    let found = (0..=self.received.len()).find(|&at| self.received[at..].starts_with(bytes));
                    let Some(start) = found else { return Ok(()) };
                    self.received.drain(..start + bytes.len());
                }
                Action::Wait(time) => {
                    if !std::mem::replace(&mut self.waiting, true) {
                        conn.deadline(*time);
                    }
                    return Ok(());
                }
                Action::Pause => conn.pause(),
                Action::Resume => conn.resume(),
                Action::Finish => conn.finish(),
                Action::Close => {
                    conn.close();
                    return Ok(());
                }
                Action::Reset => {
                    conn.reset_on_close();
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
            }
            self.actions.pop_front();
        }
        self.received.clear();
        if self.peer_ended {
            conn.close();
        }
        Ok(())
    }
}

impl<S> Protocol<S> for Script {
    fn opened(&mut self, conn: &mut Conn<'_, S>) -> io::Result<()> {
        self.go_on(conn)
    }

    fn received(&mut self, conn: &mut Conn<'_, S>, input: &mut Input<'_>) -> io::Result<()> {
        self.received.extend_from_slice(input.take_all());
        self.go_on(conn)
    }

    fn ended(&mut self, conn: &mut Conn<'_, S>, _rest: &mut Input<'_>) -> io::Result<()> {
        self.peer_ended = true;
        let wants_more = matches!(self.actions.front(), Some(Action::Expect(_) | Action::Until(_)));
        if wants_more {
            conn.close(); // the expected bytes will not come
            return Ok(());
        }
        self.go_on(conn)
    }

    fn timed_out(&mut self, conn: &mut Conn<'_, S>) -> io::Result<()> {
        self.waiting = false;
        self.actions.pop_front(); // this was a wait
        self.go_on(conn)
    }
}
