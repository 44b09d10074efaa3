//! One thread and one loop: a state machine for each poem, called when its bytes are there.

use crate::program::transcript::Transcript;
use enjamb::{Conn, Cx, End, Input, Protocol, Reactor};
use std::io;
use std::net::SocketAddr;

/// What the loop lends to every machine.
type Poems = Vec<Transcript>;

struct Reading {
    poem: usize,
}

impl Protocol<Poems> for Reading {
    fn received(&mut self, conn: &mut Conn<'_, Poems>, input: &mut Input<'_>) -> io::Result<()> {
        conn.state()[self.poem].received(input.take_all());
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Poems>, end: End) {
        cx.state[self.poem].ended(end.result);
    }
}

pub fn read(servers: &[SocketAddr], poems: &mut Poems) -> io::Result<usize> {
    let mut reactor = Reactor::new()?;
    let mut cx = reactor.cx(poems);
    for (poem, &server) in servers.iter().enumerate() {
        cx.state[poem].connecting();
        cx.connect(server, Reading { poem });
    }
    reactor.run(poems)?;
    Ok(1)
}
