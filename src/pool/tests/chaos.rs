//! A random simulation of whole pools, with I/O. After each operation the invariants hold. Every exchange ends exactly
//! once, and the loop never spins.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use super::operations::{Chance, Operation, Verb, check_lists};
use crate::pool::decide::stats::Reason;
use crate::pool::{Config, Key, Lease, Pool, Reuse, Ticket};
use crate::sim::{Link, Sim};
use crate::{Conn, Cx, End, Input, Protocol, Reactor};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Do {
    /// Lets time pass. Only the test does that, never a callback.
    Wait,
    Acquire,
    AcquireLease,
    Cancel,
    DropALease,
    StartALease,
    UseALease,
    ReleaseALease,
    Cut,
    Heal,
    Close,
    Drain,
}

impl Verb for Do {
    const ALL: &'static [(u64, Self)] = &[
        (1300, Do::Wait),
        (960, Do::Acquire),
        (240, Do::AcquireLease),
        (140, Do::Cancel),
        (155, Do::DropALease),
        (155, Do::StartALease),
        (155, Do::UseALease),
        (155, Do::ReleaseALease),
        (10, Do::Cut),
        (10, Do::Heal),
        (1, Do::Close),
        (1, Do::Drain),
    ];
}

struct World {
    sim: Sim,
    pool: Pool<World>,
    hosts: u64,
    /// The number of calls of `closed` of each exchange.
    ends: Vec<u8>,
    tickets: Vec<Ticket>,
    leases: Vec<Lease<World>>,
    operations: u64,
    callbacks: u64,
    /// The test is ending: no exchange holds a lease any more.
    ending: bool,
}

impl World {
    fn random(&self, below: u64) -> u64 {
        self.sim.random(0..=below - 1)
    }

    fn millis(&self, below: u64) -> Duration {
        Duration::from_micros(self.random(below * 1000))
    }

    fn machine(&mut self, chance: Chance) -> Exchange {
        self.ends.push(0);
        Exchange { me: self.ends.len() - 1, left: 8, chance }
    }

    fn lease(&mut self, object: u16) -> Option<Lease<World>> {
        let nth = usize::from(object).checked_rem(self.leases.len())?;
        Some(self.leases.swap_remove(nth))
    }
}

fn reuse(chance: &mut Chance) -> Reuse {
    match chance.below(8) {
        7 => Reuse::Dirty,
        6 => Reuse::ReusableFor(Duration::from_millis(chance.below(3000))),
        _ => Reuse::Reusable,
    }
}

fn address(host: u64) -> ([u8; 4], u16) {
    ([10, 0, 0, host as u8 + 1], 7)
}

fn name(host: u64) -> String {
    format!("host-{host}")
}

fn key(hosts: u64, object: u16, chance: &mut Chance) -> Key {
    let object = u64::from(object);
    let host = (object % hosts).min(object / hosts % hosts); // some hosts get more requests than others
    let by_name = chance.below(4) == 3;
    let key = if by_name { Key::new((name(host), 7)) } else { Key::new(address(host)) };
    if chance.below(10) == 9 { key.one_shot() } else { key }
}

/// Performs an operation on a pool.
fn operate(cx: &mut Cx<'_, World>, operation: Operation<Do>) {
    cx.state.operations += 1;
    let pool = cx.state.pool.clone();
    let (object, mut chance) = (operation.object, operation.chance());
    match operation.verb {
        Do::Wait => {}
        Do::Acquire => {
            let key = key(cx.state.hosts, object, &mut chance);
            let machine = cx.state.machine(chance);
            let ticket = pool.acquire(cx, &key, machine);
            cx.state.tickets.push(ticket);
        }
        Do::AcquireLease => {
            let key = key(cx.state.hosts, object, &mut chance);
            let me = cx.state.machine(chance).me;
            let ticket = pool.acquire_lease(cx, &key, move |cx, lease| {
                cx.state.ends[me] += 1;
                if !cx.state.ending {
                    cx.state.leases.extend(lease.ok());
                }
            });
            cx.state.tickets.push(ticket);
        }
        Do::Cancel => {
            let recent = cx.state.tickets.iter().rev().nth(usize::from(object) % 50).copied();
            if let Some(ticket) = recent {
                pool.cancel(cx, ticket);
                assert!(!pool.cancel(cx, ticket) || pool.hub().inner().table.find(ticket).is_some());
            }
        }
        Do::DropALease => drop(cx.state.lease(object)),
        Do::StartALease => {
            if let Some(lease) = cx.state.lease(object) {
                let machine = cx.state.machine(chance);
                lease.start(cx, machine);
            }
        }
        Do::UseALease => {
            if let Some(lease) = cx.state.lease(object) {
                lease.conn(cx).map(|mut conn| conn.write(b"in the hand\n"));
                cx.state.leases.push(lease);
            }
        }
        Do::ReleaseALease => {
            if let Some(lease) = cx.state.lease(object) {
                lease.release(cx, reuse(&mut chance));
            }
        }
        Do::Cut => cx.state.sim.partition(address(u64::from(object) % cx.state.hosts)),
        Do::Heal => cx.state.sim.heal(address(u64::from(object) % cx.state.hosts)),
        Do::Close | Do::Drain => {
            match operation.verb {
                Do::Close => pool.close(cx),
                _ => pool.drain(cx, Duration::from_millis(chance.below(2000))),
            }
            cx.state.pool = Pool::new(config(cx.state)).unwrap();
        }
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
        ..Config::default()
    }
}

/// An exchange that acts at random.
struct Exchange {
    me: usize,
    left: u32,
    chance: Chance,
}

impl Exchange {
    fn act(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        conn.state().callbacks += 1;
        assert_eq!(conn.state().ends[self.me], 0, "a call after the end");
        conn.deadline(Duration::from_secs(2));
        self.left = self.left.saturating_sub(1);
        match self.chance.below(24) {
            _ if self.left == 0 => conn.release(Reuse::Reusable),
            0 if self.left < 7 => conn.release(Reuse::Reusable), // this exchange has run before
            0..8 => {
                conn.write(b"question\n");
            }
            8..13 => conn.release(reuse(&mut self.chance)),
            13 => conn.close(),
            14 => conn.abort(io::ErrorKind::InvalidData.into()),
            15 => return Err(io::ErrorKind::InvalidData.into()),
            16 => conn.finish(),
            17 => conn.pause(),
            18 => {
                let chance = self.chance.clone();
                conn.switch(Exchange { me: self.me, left: 4, chance });
            }
            19 => {
                conn.write(&[b'x'; 3000]);
                conn.water_marks(0, 10);
            }
            20 | 21 => operate(conn.cx(), Operation::drawn(&mut self.chance)),
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
        if self.chance.below(10) < 9 {
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
    fn closed(mut self: Box<Self>, cx: &mut Cx<'_, World>, _: End) {
        cx.state.callbacks += 1;
        cx.state.ends[self.me] += 1;
        if self.chance.below(5) == 4 {
            operate(cx, Operation::drawn(&mut self.chance));
        }
    }
}

/// A server that answers, stays silent, sends too much, or closes.
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
                conn.deadline(later); // noise, or the end, perhaps while the connection is idle
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

/// Runs the loop for this long, and checks that it waits when there is nothing to do.
fn pass(reactor: &mut Reactor<World>, world: &mut World, time: Duration, turns: &mut u64) {
    let until = world.sim.now() + time;
    while let Some(left) = until.checked_sub(world.sim.now()).filter(|left| !left.is_zero()) {
        reactor.turn(world, Some(left)).unwrap();
        world.pool.hub().inner().table.check();
        *turns += 1;
        let (events, _) = world.sim.fingerprint();
        let progress = events + world.callbacks + world.operations;
        assert!(*turns <= 2 * progress + 100, "{turns} turns, and only {progress} things happened");
    }
}

/// Runs one simulation. Returns the number of operations.
fn run(sim: &Sim, list: &[Operation<Do>]) -> u64 {
    let hosts = [2, 6, 30][sim.random(0..=2) as usize];
    let mut world = World {
        sim: sim.clone(),
        pool: Pool::new(Config::default()).unwrap(),
        hosts,
        ends: Vec::new(),
        tickets: Vec::new(),
        leases: Vec::new(),
        operations: 0,
        callbacks: 0,
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
    let mut turns = 0;
    for operation in list {
        operate(&mut reactor.cx(&mut world), *operation);
        if let Do::Wait = operation.verb {
            pass(
                &mut reactor,
                &mut world,
                Duration::from_micros(u64::from(operation.how) % 100_000),
                &mut turns,
            );
        }
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
    assert_eq!(stats.opened, Reason::ALL.iter().map(|reason| stats.closed(*reason)).sum::<u64>());
    world.operations
}

#[test]
fn a_million_operations_with_io_hold_the_invariants_and_end_everything_once() {
    // A debug build runs a part of it, in about the same time.
    let (seeds, least) = if cfg!(debug_assertions) { (40, 40_000) } else { (1000, 1_000_000) };
    let done = Cell::new(0);
    check_lists(0..seeds, 1000, |sim, list| done.set(done.get() + run(sim, list)));
    assert!(done.get() >= least || std::env::var_os("ENJAMB_SEED").is_some(), "{}", done.get());
}
