//! Reads many slow poems at once on `enjamb`: `fan-in-enjamb ADDRESS COUNT` prints the number of bytes received.

use enjamb::{Conn, Cx, End, Input, Protocol, Reactor};
use std::io;

#[derive(Default)]
struct Received {
    bytes: usize,
    failures: usize,
}

struct Poem;

impl Protocol<Received> for Poem {
    fn received(&mut self, conn: &mut Conn<'_, Received>, input: &mut Input<'_>) -> io::Result<()> {
        conn.state().bytes += input.take_all().len();
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Received>, end: End) {
        cx.state.failures += usize::from(end.result.is_err());
    }
}

fn main() -> io::Result<()> {
    let (address, count) = enjamb_benches::fan_in_arguments()?;
    let mut received = Received::default();
    let mut reactor = Reactor::new()?;
    let mut cx = reactor.cx(&mut received);
    for _ in 0..count {
        cx.connect(address, Poem);
    }
    reactor.run(&mut received)?;
    println!("{}", received.bytes);
    match received.failures {
        0 => Ok(()),
        failures => Err(io::Error::other(format!("{failures} poems failed"))),
    }
}
