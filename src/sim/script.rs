//! A peer that says given bytes at given times.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use crate::{Conn, Input, Protocol};

/// A scripted peer: a server or client that does one thing after another. It is a [`Protocol`] over any state, for
/// simulated reactors and real ones:
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
/// When nothing is left to do it stays: what comes is thrown away, and it closes when the peer has finished. When the
/// peer has finished before what was expected has come, it closes too. A script that is given other bytes than it
/// expects panics, which makes the test fail that runs it.
#[derive(Debug, Clone, Default)]
pub struct Script {
    steps: VecDeque<Step>,
    /// What has come and was not asked for yet.
    heard: Vec<u8>,
    peer_ended: bool,
    /// The deadline of the wait at hand is set.
    waiting: bool,
}

#[derive(Debug, Clone)]
enum Step {
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
    /// One that does nothing but read.
    pub fn new() -> Self {
        Script::default()
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push_back(step);
        self
    }

    /// Says these bytes.
    pub fn say(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Say(bytes.as_ref().to_vec()))
    }

    /// Goes on when just these bytes have come.
    pub fn expect(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Expect(bytes.as_ref().to_vec()))
    }

    /// Goes on when these bytes have come, whatever came before them: the end of a request's head, say.
    pub fn until(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Until(bytes.as_ref().to_vec()))
    }

    /// Goes on after this time.
    pub fn wait(self, time: Duration) -> Self {
        self.then(Step::Wait(time))
    }

    /// Reads no more, as a peer does that hangs or is slow: what is sent to it piles up, in the end with the sender.
    pub fn pause(self) -> Self {
        self.then(Step::Pause)
    }

    /// Reads again.
    pub fn resume(self) -> Self {
        self.then(Step::Resume)
    }

    /// Half-closes.
    pub fn finish(self) -> Self {
        self.then(Step::Finish)
    }

    /// Closes in good order.
    pub fn close(self) -> Self {
        self.then(Step::Close)
    }

    /// Closes with a reset. What was said just before may be lost with it: let it [wait](Self::wait) first where that
    /// is to arrive.
    pub fn reset(self) -> Self {
        self.then(Step::Reset)
    }

    /// Does what can be done now.
    fn go_on<S>(&mut self, conn: &mut Conn<'_, S>) -> io::Result<()> {
        while let Some(step) = self.steps.front() {
            match step {
                Step::Say(bytes) => {
                    conn.write(bytes);
                }
                Step::Expect(bytes) => {
                    let common = bytes.len().min(self.heard.len());
                    assert!(
                        self.heard[..common] == bytes[..common],
                        "a script expected \"{}\", and \"{}\" came",
                        bytes.escape_ascii(),
                        self.heard.escape_ascii()
                    );
                    if common < bytes.len() {
                        return Ok(());
                    }
                    self.heard.drain(..common);
                }
                Step::Until(bytes) => {
                    let found = (0..=self.heard.len()).find(|&at| self.heard[at..].starts_with(bytes));
                    let Some(start) = found else { return Ok(()) };
                    self.heard.drain(..start + bytes.len());
                }
                Step::Wait(time) => {
                    if !std::mem::replace(&mut self.waiting, true) {
                        conn.deadline(*time);
                    }
                    return Ok(());
                }
                Step::Pause => conn.pause(),
                Step::Resume => conn.resume(),
                Step::Finish => conn.finish(),
                Step::Close => {
                    conn.close();
                    return Ok(());
                }
                Step::Reset => {
                    conn.reset_on_close();
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
            }
            self.steps.pop_front();
        }
        self.heard.clear();
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
        self.heard.extend_from_slice(input.take_all());
        self.go_on(conn)
    }

    fn ended(&mut self, conn: &mut Conn<'_, S>, _rest: &mut Input<'_>) -> io::Result<()> {
        self.peer_ended = true;
        let wants_more = matches!(self.steps.front(), Some(Step::Expect(_) | Step::Until(_)));
        if wants_more {
            conn.close(); // it will not come
            return Ok(());
        }
        self.go_on(conn)
    }

    fn timed_out(&mut self, conn: &mut Conn<'_, S>) -> io::Result<()> {
        self.waiting = false;
        self.steps.pop_front(); // the wait
        self.go_on(conn)
    }
}
