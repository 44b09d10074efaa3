//! The loop under a network that misbehaves: whatever the seed, what it promises holds.

use enjamb::sim::{Sim, check};
use enjamb::{Conn, Cx, End, Input, Protocol};
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// What one machine has seen, by its number.
#[derive(Default)]
struct Seen {
    opened: u32,
    ended: u32,
    closed: u32,
    received: Vec<u8>,
    written: Vec<u8>,
    unsent: usize,
    unread: usize,
    result: Option<io::ErrorKind>,
}

#[derive(Default)]
struct World {
    seen: BTreeMap<u64, Seen>,
    next: u64,
}

/// A machine that does anything at any time.
struct Fickle {
    sim: Sim,
    me: u64,
    left: u64,
}

impl Fickle {
    fn new(sim: &Sim, world: &mut World) -> Self {
        world.next += 1;
        world.seen.insert(world.next, Seen::default());
        Fickle { sim: sim.clone(), me: world.next, left: 20 }
    }

    fn seen<'a>(&self, conn: &'a mut Conn<'_, World>) -> &'a mut Seen {
        conn.state().seen.get_mut(&self.me).unwrap()
    }

    fn act(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        assert_eq!(self.seen(conn).closed, 0, "a callback after closed");
        assert!(self.seen(conn).opened == 1, "a callback before opened");
        if self.left == 0 {
            conn.close();
            return Ok(());
        }
        self.left -= 1;
        conn.deadline(Duration::from_millis(self.sim.random(1..=5_000)));
        match self.sim.random(0..=20) {
            0 => conn.close(),
            1 => conn.finish(),
            2 => conn.pause(),
            3 => return Err(io::ErrorKind::InvalidData.into()),
            4 => conn.abort(io::ErrorKind::InvalidInput.into()),
            n => {
                let length = self.sim.random(0..=1 << n.min(14)) as usize;
                let bytes: Vec<u8> = (0..length).map(|i| i as u8 ^ self.me as u8).collect();
                if conn.write(&bytes) {
                    self.seen(conn).written.extend(bytes);
                }
            }
        }
        Ok(())
    }
}

impl Protocol<World> for Fickle {
    fn opened(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        self.seen(conn).opened += 1;
        self.act(conn)
    }
    fn received(&mut self, conn: &mut Conn<'_, World>, input: &mut Input<'_>) -> io::Result<()> {
        assert!(self.seen(conn).ended == 0, "bytes after the end");
        let n = self.sim.random(0..=2 * input.len() as u64) as usize;
        let taken = input.take(n);
        self.seen(conn).received.extend_from_slice(taken);
        self.act(conn)
    }
    fn drained(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        self.act(conn)
    }
    fn ended(&mut self, conn: &mut Conn<'_, World>, rest: &mut Input<'_>) -> io::Result<()> {
        let rest = rest.take_all();
        self.seen(conn).received.extend_from_slice(rest);
        self.seen(conn).ended += 1;
        self.act(conn)
    }
    fn timed_out(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        conn.resume();
        self.act(conn)
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, World>, end: End) {
        let seen = cx.state.seen.get_mut(&self.me).unwrap();
        seen.closed += 1;
        seen.unsent = end.unsent;
        seen.unread = end.unread;
        seen.result = end.result.err().map(|error| error.kind());
    }
}

#[test]
fn closed_is_called_exactly_once_whatever_happens() {
    check(0..2000, |sim| {
        let sim = if sim.random(0..=1) == 0 { sim.clone().rough() } else { sim.clone().hostile() };
        let mut reactor = sim.reactor::<World>().unwrap();
        let mut world = World::default();
        let mut cx = reactor.cx(&mut world);
        let server = ([10, 0, 0, 1], 80);
        let theirs = sim.clone();
        cx.listen(server, move |cx, _| Fickle::new(&theirs, cx.state)).unwrap();
        for _ in 0..sim.random(1..=10) {
            let machine = Fickle::new(&sim, cx.state);
            cx.connect(server, machine);
        }
        reactor.run(&mut world).unwrap();
        for (me, seen) in &world.seen {
            assert_eq!(seen.closed, 1, "machine {me}");
            assert!(seen.opened <= 1 && seen.ended <= 1);
        }
    });
}
