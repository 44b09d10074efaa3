//! The echo server on `enjamb`. With `idle-timeout`, every message moves its connection's deadline.

use enjamb::{Conn, Input, Protocol, Reactor};
use std::io;

struct Echo;

impl Protocol for Echo {
    fn received(&mut self, conn: &mut Conn<'_>, input: &mut Input<'_>) -> io::Result<()> {
        conn.write(input.take_all());
        Ok(())
    }
}

struct ImpatientEcho;

impl Protocol for ImpatientEcho {
    fn received(&mut self, conn: &mut Conn<'_>, input: &mut Input<'_>) -> io::Result<()> {
        conn.deadline(enjamb_benches::IDLE_TIMEOUT);
        conn.write(input.take_all());
        Ok(())
    }
}

fn main() -> io::Result<()> {
    enjamb_benches::expect_echo()?;
    let mut reactor = Reactor::new()?;
    let mut state = ();
    let mut cx = reactor.cx(&mut state);
    let any_port = ([127, 0, 0, 1], 0);
    let timed = enjamb_benches::timed();
    timed.delays().for_each(|delay| _ = cx.after(delay, |_| {}));
    let mut listener = match timed.idle_timeout {
        true => cx.listen(any_port, |_cx, _peer| ImpatientEcho)?,
        false => cx.listen(any_port, |_cx, _peer| Echo)?,
    };
    enjamb_benches::announce(listener.local_addr()?)?;
    reactor.run(&mut state)
}
