//! Thousands of slow poems from one thread: a state machine for each, with its deadline as the metronome.

use super::{Micros, Plan, announce, anywhere};
use crate::program::plan::micros;
use enjamb::{Conn, Cx, End, Input, Protocol, Reactor};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// What the recitals share.
struct Hall {
    delay: Duration,
    worst: Micros,
}

pub fn serve(plan: &Plan) -> io::Result<Micros> {
    let mut hall = Hall { delay: plan.delay, worst: 0 };
    let mut reactor = Reactor::new()?;
    let mut cx = reactor.cx(&mut hall);
    let mut addresses = Vec::new();
    for port in 0..plan.ports() {
        let of_port = (port..plan.poems.len()).step_by(plan.ports());
        let mut poems = of_port.map(|poem| plan.poems.pieces(poem)).collect::<Vec<_>>().into_iter();
        let mut listener = cx.listen(anywhere(), move |cx, _client| {
            // Whoever comes once more than there are poems has none.
            Recital { pieces: poems.next().unwrap_or_default(), next: 0, begun: cx.now() }
        })?;
        addresses.push(listener.local_addr()?);
    }
    let parent = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    cx.adopt(parent, Parent)?;
    announce(&addresses)?;
    reactor.run(&mut hall)?;
    Ok(hall.worst)
}

struct Recital {
    pieces: Vec<Vec<u8>>,
    next: usize,
    begun: Instant,
}

impl Protocol<Hall> for Recital {
    fn opened(&mut self, conn: &mut Conn<'_, Hall>) -> io::Result<()> {
        self.begun = conn.cx().now();
        self.go_on(conn);
        Ok(())
    }

    fn timed_out(&mut self, conn: &mut Conn<'_, Hall>) -> io::Result<()> {
        self.go_on(conn);
        Ok(())
    }

    fn received(&mut self, _conn: &mut Conn<'_, Hall>, input: &mut Input<'_>) -> io::Result<()> {
        input.take_all();
        Ok(())
    }
}

impl Recital {
    /// Sends the next piece, or closes if all are told. Every rest ends at a moment counted from the beginning, so
    /// that being late does not add up.
    fn go_on(&mut self, conn: &mut Conn<'_, Hall>) {
        let (begun, delay) = (self.begun, conn.state().delay);
        let due = |pieces: usize| begun + delay * u32::try_from(pieces).unwrap_or(u32::MAX);
        let now = conn.cx().now();
        let late = micros(now.saturating_duration_since(due(self.next)));
        conn.state().worst = late.max(conn.state().worst);
        let Some(piece) = self.pieces.get(self.next) else {
            conn.close();
            return;
        };
        self.next += 1;
        conn.write(piece);
        conn.deadline(due(self.next).saturating_duration_since(now));
    }
}

/// The process that started this one holds the other end of standard input for as long as it needs the poems.
struct Parent;

impl Protocol<Hall> for Parent {
    fn received(&mut self, _conn: &mut Conn<'_, Hall>, input: &mut Input<'_>) -> io::Result<()> {
        input.take_all();
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, Hall>, _end: End) {
        cx.stop();
    }
}
