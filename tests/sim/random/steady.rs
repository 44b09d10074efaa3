//! Machines that only wait for events: no deadline wakes them where an event is lost.

use std::io;
use std::time::Duration;

use super::machine::server;
use super::world::byte;
use enjamb::sim::Sim;
use enjamb::{Config, Conn, ConnId, Cx, End, Handle, Input, Protocol, Reactor};

#[derive(Debug, Default)]
struct Seen {
    id: Option<ConnId>,
    low_water: usize,
    /// How much is still to be written, and was.
    left: usize,
    written: usize,
    taken: usize,
    end: Option<End>,
}

struct Crowd {
    sim: Sim,
    handle: Handle<Crowd>,
    seen: Vec<Seen>,
    posted: u32,
    ran: u32,
}

/// Says all it has to, to the high-water mark and on in `drained`; hears all; and is interrupted in many ways.
struct Steady {
    me: usize,
    /// The machine at the other end: clients and servers are made in pairs.
    peer: usize,
}

/// Writes on for a connection, whoever it is that does so.
fn write_on(cx: &mut Cx<'_, Crowd>, who: usize) {
    let most = cx.state.sim.random(1..=8_000) as usize;
    let Some(mut conn) = cx.state.seen[who].id.and_then(|id| cx.conn(id)) else { return };
    while !conn.is_full() {
        let seen = &mut conn.state().seen[who];
        let n = seen.left.min(most);
        let bytes: Vec<u8> = (seen.written..seen.written + n).map(|place| byte(who, place)).collect();
        seen.left -= n;
        seen.written += n;
        if n == 0 {
            return conn.finish();
        }
        assert!(conn.write(&bytes));
    }
}

fn resume(cx: &mut Cx<'_, Crowd>, id: ConnId) {
    cx.conn(id).into_iter().for_each(|mut conn| conn.resume());
}

impl Steady {
    fn interrupt(&mut self, conn: &mut Conn<'_, Crowd>) {
        let id = conn.id();
        let crowd = conn.state();
        let (what, who) =
            (crowd.sim.random(0..=11), crowd.sim.random(0..=crowd.seen.len() as u64 - 1) as usize);
        match what {
            0 => {
                conn.pause();
                let delay = Duration::from_micros(conn.state().sim.random(0..=20_000));
                conn.cx().after(delay, move |cx| resume(cx, id));
            }
            1 => {
                conn.pause();
                conn.state().posted += 1;
                let posted = conn.state().handle.post(move |cx| {
                    cx.state.ran += 1;
                    resume(cx, id);
                });
                posted.expect("the reactor is there");
            }
            2 => {
                conn.pause();
                conn.resume();
            }
            3 => write_on(conn.cx(), who),
            4 => {
                let Steady { me, peer } = *self;
                conn.switch(Steady { me, peer });
            }
            5 => conn.state().sim.clone().take_time(Duration::from_micros(50)),
            _ => {}
        }
    }
}

impl Protocol<Crowd> for Steady {
    fn opened(&mut self, conn: &mut Conn<'_, Crowd>) -> io::Result<()> {
        conn.state().seen[self.me].id = Some(conn.id());
        // What is written is gathered only where the high-water mark leaves room for that.
        let sim = conn.state().sim.clone();
        let (low, high) = (sim.random(0..=2_000) as usize, 5_000 << sim.random(0..=2));
        conn.water_marks(low, high);
        conn.state().seen[self.me].low_water = low;
        let me = self.me;
        if conn.state().sim.random(0..=1) == 0 {
            write_on(conn.cx(), me);
        } else {
            conn.cx().after(Duration::from_millis(2), move |cx| write_on(cx, me));
        }
        self.interrupt(conn);
        Ok(())
    }
    fn received(&mut self, conn: &mut Conn<'_, Crowd>, input: &mut Input<'_>) -> io::Result<()> {
        let crowd = conn.state();
        // What is left is offered again when it resumes.
        let all = crowd.sim.random(0..=3) > 0;
        let bytes = input.take(if all { input.len() } else { input.len() / 2 });
        for there in bytes {
            assert_eq!(*there, byte(self.peer, crowd.seen[self.me].taken));
            crowd.seen[self.me].taken += 1;
        }
        self.interrupt(conn);
        if !input.is_empty() {
            conn.pause();
            let id = conn.id();
            conn.cx().after(Duration::from_millis(1), move |cx| resume(cx, id));
        }
        Ok(())
    }
    fn drained(&mut self, conn: &mut Conn<'_, Crowd>) -> io::Result<()> {
        let unsent = conn.unsent();
        assert!(unsent <= conn.state().seen[self.me].low_water, "drained with {unsent} bytes unsent");
        write_on(conn.cx(), self.me);
        self.interrupt(conn);
        Ok(())
    }
    fn ended(&mut self, _conn: &mut Conn<'_, Crowd>, rest: &mut Input<'_>) -> io::Result<()> {
        assert!(rest.is_empty(), "what was left was not offered again on resuming");
        Ok(())
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, Crowd>, end: End) {
        cx.state.seen[self.me].end = Some(end);
    }
}

/// Runs a crowd of them on a network that loses nothing: all must come to a good end, by events alone.
pub fn run(sim: &Sim) {
    let sim = sim.clone().rough();
    let config = Config {
        read_buffer: 1 << sim.random(4..=14),
        read_budget: 1 << sim.random(4..=14),
        call_budget: 1,
        timer_budget: sim.random(1..=3) as usize,
        events: sim.random(1..=5) as usize,
        slow_callback: Duration::MAX,
        ..Config::default()
    };
    let mut reactor: Reactor<Crowd> = sim.reactor_with(config).unwrap();
    let handle = reactor.handle();
    let mut crowd = Crowd { sim: sim.clone(), handle, seen: Vec::new(), posted: 0, ran: 0 };
    for pair in 0..sim.random(1..=4) as usize {
        // Were both above their high-water marks, each would wait for the other to read.
        let mut left = [sim.random(0..=30_000) as usize, sim.random(0..=3_000) as usize];
        left.rotate_left(sim.random(0..=1) as usize);
        crowd.seen.extend(left.map(|left| Seen { left, ..Seen::default() }));
        let (me, peer) = (2 * pair, 2 * pair + 1);
        let at = server(pair as u16 + 1);
        let mut cx = reactor.cx(&mut crowd);
        cx.listen(at, move |_, _| Steady { me: peer, peer: me }).unwrap();
        cx.connect(at, Steady { me, peer });
    }
    reactor.run(&mut crowd).unwrap();
    assert_eq!(crowd.posted, crowd.ran, "of the calls posted, so many have run");
    for (me, seen) in crowd.seen.iter().enumerate() {
        assert!(seen.end.as_ref().is_some_and(|end| end.result.is_ok() && end.unsent == 0), "{me}: {seen:?}");
        let peer = &crowd.seen[me ^ 1];
        assert!(seen.left == 0 && seen.taken == peer.written, "{me}: {seen:?} of {peer:?}");
    }
}
