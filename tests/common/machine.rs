//! A machine made of closures, and the state in which it leaves what it has seen.

use std::io;

use enjamb::{Conn, Cx, End, Input, Protocol};

pub type Call = Box<dyn FnMut(&mut Conn<'_, Seen>) -> io::Result<()>>;
pub type Take = Box<dyn FnMut(&mut Conn<'_, Seen>, &mut Input<'_>) -> io::Result<()>>;
pub type Last = Box<dyn FnOnce(&mut Cx<'_, Seen>, &End)>;

/// What machines have seen.
#[derive(Default)]
pub struct Seen {
    pub bytes: Vec<u8>,
    pub notes: Vec<String>,
    pub ends: Vec<End>,
}

/// By default it keeps what it receives, closes when the peer has ended, and keeps how it ended.
pub struct Machine {
    pub opened: Call,
    pub received: Take,
    pub drained: Call,
    pub ended: Take,
    pub timed_out: Call,
    pub closed: Last,
}

impl Default for Machine {
    fn default() -> Self {
        Machine {
            opened: Box::new(|_| Ok(())),
            received: Box::new(|conn, input| {
                conn.state().bytes.extend(input.take_all());
                Ok(())
            }),
            drained: Box::new(|_| Ok(())),
            ended: Box::new(|conn, _| {
                conn.close();
                Ok(())
            }),
            timed_out: Box::new(|_| Err(io::ErrorKind::TimedOut.into())),
            closed: Box::new(|_, _| ()),
        }
    }
}

impl Protocol<Seen> for Machine {
    fn opened(&mut self, conn: &mut Conn<'_, Seen>) -> io::Result<()> {
        (self.opened)(conn)
    }
    fn received(&mut self, conn: &mut Conn<'_, Seen>, input: &mut Input<'_>) -> io::Result<()> {
        (self.received)(conn, input)
    }
    fn drained(&mut self, conn: &mut Conn<'_, Seen>) -> io::Result<()> {
        (self.drained)(conn)
    }
    fn ended(&mut self, conn: &mut Conn<'_, Seen>, rest: &mut Input<'_>) -> io::Result<()> {
        (self.ended)(conn, rest)
    }
    fn timed_out(&mut self, conn: &mut Conn<'_, Seen>) -> io::Result<()> {
        (self.timed_out)(conn)
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, Seen>, end: End) {
        (self.closed)(cx, &end);
        cx.state.ends.push(end);
    }
}

/// A machine that calls this when it is opened.
pub fn opened(call: impl FnMut(&mut Conn<'_, Seen>) -> io::Result<()> + 'static) -> Machine {
    Machine { opened: Box::new(call), ..Machine::default() }
}

/// A machine that sends back what it receives.
pub fn echo() -> Machine {
    Machine {
        received: Box::new(|conn, input| {
            conn.write(input.take_all());
            Ok(())
        }),
        ..Machine::default()
    }
}

pub fn close(conn: &mut Conn<'_, Seen>) -> io::Result<()> {
    conn.close();
    Ok(())
}

pub fn finish(conn: &mut Conn<'_, Seen>) -> io::Result<()> {
    conn.finish();
    Ok(())
}

pub fn pause(conn: &mut Conn<'_, Seen>) -> io::Result<()> {
    conn.pause();
    Ok(())
}
