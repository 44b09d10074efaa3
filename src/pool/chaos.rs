//! A random simulation of whole pools, with I/O: whatever happens to whom, in whatever order, the invariants hold after
//! each operation, and every exchange is told its end exactly once. A failure says which seed runs it again.

use std::io;
use std::time::Duration;

use super::stats::Reason;
use super::{Config, Key, Lease, Pool, Reuse, Ticket};
use crate::sim::{Link, Sim, check};
use crate::{Conn, Cx, End, Input, Protocol, Reactor};

struct World {
    sim: Sim,
    pool: Pool<World>,
    hosts: u64,
    /// How often each exchange was told its end.
    ends: Vec<u8>,
    tickets: Vec<Ticket>,
    leases: Vec<Lease<World>>,
    operations: u64,
    /// Nobody holds a lease any more.
    ending: bool,
}

impl World {
    fn random(&self, below: u64) -> u64 {
        self.sim.random(0..=below - 1)
    }

    fn millis(&self, below: u64) -> Duration {
        Duration::from_micros(self.random(below * 1000))
    }

    fn reuse(&self) -> Reuse {
        match self.random(8) {
            0 => Reuse::Dirty,
            1 => Reuse::ReusableFor(Duration::from_millis(self.random(3000))),
            _ => Reuse::Reusable,
        }
    }

    fn machine(&mut self) -> Exchange {
        self.ends.push(0);
        Exchange { me: self.ends.len() - 1, left: 8 }
    }
}

fn address(host: u64) -> ([u8; 4], u16) {
    ([10, 0, 0, host as u8 + 1], 7)
}

fn name(host: u64) -> String {
    format!("host-{host}")
}

/// Whatever is done to a pool.
fn operate(cx: &mut Cx<'_, World>) {
    cx.state.operations += 1;
    let pool = cx.state.pool.clone();
    match cx.state.random(100) {
        0..60 => {
            let hosts = cx.state.hosts;
            let host = cx.state.random(hosts).min(cx.state.random(hosts)); // some are asked more than others
            let by_name = cx.state.random(4) == 0;
            let key = if by_name { Key::new((name(host), 7)) } else { Key::new(address(host)) };
            let key = if cx.state.random(10) == 0 { key.one_shot() } else { key };
            let ticket = if cx.state.random(5) == 0 {
                let me = cx.state.machine().me;
                pool.acquire_lease(cx, &key, move |cx, lease| {
                    cx.state.ends[me] += 1;
                    if !cx.state.ending {
                        cx.state.leases.extend(lease.ok());
                    }
                })
            } else {
                let machine = cx.state.machine();
                pool.acquire(cx, &key, machine)
            };
            cx.state.tickets.push(ticket);
        }
        60..67 => {
            let last = cx.state.tickets.len().saturating_sub(50);
            let recent = cx.state.random((cx.state.tickets.len() - last) as u64 + 1) as usize;
            if let Some(ticket) = cx.state.tickets.get(last + recent).copied() {
                pool.cancel(cx, ticket);
                assert!(!pool.cancel(cx, ticket) || pool.hub().inner().table.find(ticket).is_some());
            }
        }
        67..98 if !cx.state.leases.is_empty() => {
            let nth = cx.state.random(cx.state.leases.len() as u64) as usize;
            let lease = cx.state.leases.swap_remove(nth);
            match cx.state.random(4) {
                0 => drop(lease),
                1 => {
                    let machine = cx.state.machine();
                    lease.start(cx, machine);
                }
                2 => {
                    lease.conn(cx).map(|mut conn| conn.write(b"in the hand\n"));
                    cx.state.leases.push(lease);
                }
                _ => {
                    let reuse = cx.state.reuse();
                    lease.release(cx, reuse);
                }
            }
        }
        98 => {
            let host = cx.state.random(cx.state.hosts);
            match cx.state.random(2) {
                0 => cx.state.sim.partition(address(host)),
                _ => cx.state.sim.heal(address(host)),
            }
        }
        99 if cx.state.random(20) == 0 => {
            match cx.state.random(2) {
                0 => pool.close(cx),
                _ => pool.drain(cx, cx.state.millis(2000)),
            }
            cx.state.pool = Pool::new(config(cx.state)).unwrap();
        }
        _ => {}
    }
    pool.hub().inner().table.check();
}

fn config(world: &World) -> Config {
    let some = |n: u64| Some(n as usize);
    let time = |below| (world.random(2) == 0).then(|| world.millis(below));
    let limit = if world.random(8) == 0 { None } else { some(1 + world.random(8)) };
    let per_host = some(1 + world.random(4)).filter(|_| world.random(2) == 0);
    Config {
        limit,
        limit_per_host: per_host.map(|per_host| per_host.min(limit.unwrap_or(per_host))),
        max_waiters: some(world.random(30)).filter(|_| world.random(3) == 0),
        wait_timeout: time(3000),
        idle_timeout: time(1000),
        max_lifetime: time(5000),
        long_hold: time(1000),
    }
}

/// An exchange that does anything.
struct Exchange {
    me: usize,
    left: u32,
}

impl Exchange {
    fn act(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        assert_eq!(conn.state().ends[self.me], 0, "a call after the end");
        conn.deadline(Duration::from_secs(2));
        self.left = self.left.saturating_sub(1);
        match conn.state().random(24) {
            _ if self.left == 0 => conn.release(Reuse::Reusable),
            0..8 => {
                conn.write(b"question\n");
            }
            8..13 => {
                let reuse = conn.state().reuse();
                conn.release(reuse);
            }
            13 => conn.close(),
            14 => conn.abort(io::ErrorKind::InvalidData.into()),
            15 => return Err(io::ErrorKind::InvalidData.into()),
            16 => conn.finish(),
            17 => conn.pause(),
            18 => {
                let me = self.me;
                conn.switch(Exchange { me, left: 4 });
            }
            19 => {
                conn.write(&[b'x'; 3000]);
                conn.water_marks(0, 10);
            }
            20 => operate(conn.cx()),
            _ => {}
        }
        Ok(())
    }
}

impl Protocol<World> for Exchange {
    fn opened(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        self.act(conn)
    }
    fn received(&mut self, conn: &mut Conn<'_, World>, input: &mut Input<'_>) -> io::Result<()> {
        if conn.state().random(10) > 0 {
            input.take_all();
        }
        self.act(conn)
    }
    fn drained(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        self.act(conn)
    }
    fn ended(&mut self, conn: &mut Conn<'_, World>, _: &mut Input<'_>) -> io::Result<()> {
        conn.release(Reuse::Reusable);
        Ok(())
    }
    fn timed_out(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        conn.resume();
        self.act(conn)
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, World>, _: End) {
        cx.state.ends[self.me] += 1;
        if cx.state.random(8) == 0 {
            operate(cx);
        }
    }
}

/// A server that answers, or does not, or says too much, or leaves.
struct Server;

impl Protocol<World> for Server {
    fn opened(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        conn.deadline(Duration::from_secs(10));
        Ok(())
    }
    fn received(&mut self, conn: &mut Conn<'_, World>, input: &mut Input<'_>) -> io::Result<()> {
        input.take_all();
        match conn.state().random(20) {
            0 => conn.close(),
            1 => return Err(io::ErrorKind::InvalidData.into()),
            2 => conn.finish(),
            3 => {}
            4 | 5 => {
                let later = conn.state().millis(400);
                conn.deadline(later); // noise, or the end, perhaps when the connection is idle
                conn.write(b"answer\n");
            }
            _ => {
                conn.write(b"answer\n");
            }
        }
        Ok(())
    }
    fn timed_out(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        match conn.state().random(2) {
            0 => conn.close(),
            _ => {
                conn.write(b"noise");
                conn.deadline(Duration::from_secs(10));
            }
        }
        Ok(())
    }
}

fn link(world: &World) -> Link {
    let fastest = world.millis(20);
    let chance = |one_in: u64, high: f64| if world.random(one_in) == 0 { high } else { 0.0 };
    Link {
        latency: fastest..=fastest + world.millis(20),
        refused: chance(3, 0.3),
        silent: chance(6, 0.1),
        unreachable: chance(6, 0.3),
        aborted: chance(6, 0.2),
        reset_after: (world.random(3) == 0).then_some(0..=500),
        fin_with_data: chance(2, 1.0),
        buffer: 1 << (6 + world.random(8)),
        ..Link::default()
    }
}

/// Runs one simulation and returns how many operations that was.
fn run(sim: &Sim, operations: u64) -> u64 {
    let hosts = [2, 6, 30][sim.random(0..=2) as usize];
    let mut world = World {
        sim: sim.clone(),
        pool: Pool::new(Config::default()).unwrap(),
        hosts,
        ends: Vec::new(),
        tickets: Vec::new(),
        leases: Vec::new(),
        operations: 0,
        ending: false,
    };
    world.pool = Pool::new(config(&world)).unwrap();
    let mut reactor: Reactor<World> = sim.reactor().unwrap();
    for host in 0..hosts {
        sim.link(address(host), link(&world));
        if world.random(10) > 0 {
            sim.name(&name(host), world.millis(50), [address(host).0]);
        }
        if world.random(10) > 0 {
            reactor.cx(&mut world).listen(address(host), |_, _| Server).unwrap();
        }
    }
    while world.operations < operations {
        for _ in 0..world.random(4) {
            operate(&mut reactor.cx(&mut world));
        }
        let wait = world.millis(100);
        reactor.turn(&mut world, Some(wait)).unwrap();
        world.operations += 1;
        world.pool.hub().inner().table.check();
    }
    (0..hosts).for_each(|host| sim.heal(address(host)));
    let pool = world.pool.clone();
    pool.drain(&mut reactor.cx(&mut world), Duration::from_secs(1));
    world.ending = true;
    world.leases.clear();
    reactor.run(&mut world).unwrap();
    assert_eq!(pool.snapshot().total.open(), 0, "{}", pool.snapshot());
    let wrong = world.ends.iter().position(|ends| *ends != 1);
    assert_eq!(wrong, None, "an exchange was not told its end once");
    let stats = pool.snapshot().stats;
    assert_eq!(stats.opened, Reason::ALL.iter().map(|reason| stats.closed(*reason)).sum());
    world.operations
}

#[test]
fn a_million_operations_with_io_hold_the_invariants_and_end_everything_once() {
    // In a debug build a part of it, which takes as long.
    let seeds = if cfg!(debug_assertions) { 0..40 } else { 0..1000 };
    let done = std::cell::Cell::new(0);
    check(seeds.clone(), |sim| done.set(done.get() + run(sim, 1000)));
    assert!(done.get() >= 1000 * seeds.end || std::env::var_os("ENJAMB_SEED").is_some());
}
