//! A question-and-answer service for pools: a server that does what its clients' questions say, and an exchange that
//! notes what happens to it.

pub use crate::common::times::ms;
use enjamb::pool::{self, Key, Pool, Reuse, Ticket};
use enjamb::sim::Sim;
use enjamb::{Conn, ConnId, Cx, End, Input, Protocol, Reactor};
use std::io;
use std::time::Duration;

/// What has happened, in order: `"a opened"`, `"a ok"`, `"a failed"`.
#[derive(Default)]
pub struct World {
    pub notes: Vec<String>,
    pub errors: Vec<io::Error>,
    /// On which connection each exchange was opened.
    pub conns: Vec<ConnId>,
    /// Connections accepted and questions heard by servers.
    pub accepted: usize,
    pub asked: Vec<String>,
}

impl World {
    pub fn has(&self, note: &str) -> bool {
        self.notes.iter().any(|of| of == note)
    }

    /// What came of the exchanges, in the order in which they ended.
    pub fn results(&self) -> Vec<&str> {
        self.notes.iter().map(String::as_str).filter(|note| !note.ends_with(" opened")).collect()
    }

    pub fn last_error(&self) -> &pool::Error {
        pool::Error::of(self.errors.last().expect("an error")).expect("a pool's error")
    }
}

pub fn key(host: u8) -> Key {
    Key::new(([10, 0, 0, host], 7))
}

pub fn limit(limit: usize) -> pool::Config {
    pool::Config { limit: Some(limit), ..pool::Config::default() }
}

pub fn limits(limit: usize, per_host: usize) -> pool::Config {
    pool::Config { limit_per_host: Some(per_host), ..self::limit(limit) }
}

/// Answers each line it is sent: with `ok`, but see below.
pub struct Server;

impl Protocol<World> for Server {
    fn opened(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        conn.state().accepted += 1;
        Ok(())
    }

    fn received(&mut self, conn: &mut Conn<'_, World>, input: &mut Input<'_>) -> io::Result<()> {
        while let Some(line) = input.take_line() {
            let line = String::from_utf8_lossy(line).into_owned();
            match line.split_once(' ').map_or(line.as_str(), |(verb, _)| verb) {
                "hang" => {}
                "slow" => conn.deadline(ms(1000)), // answers then
                "half" => {
                    conn.write(b"o");
                }
                "lost" => {
                    conn.write(b"o");
                    conn.close();
                }
                "more" => {
                    conn.write(b"ok\nand this nobody has asked for, at length");
                }
                "last" => {
                    conn.write(b"ok\n");
                    conn.close();
                }
                "late" => {
                    // The end comes when the connection is idle.
                    conn.write(b"ok\n");
                    let id = conn.id();
                    conn.cx().after(ms(500), move |cx| {
                        cx.conn(id).into_iter().for_each(|mut conn| conn.close());
                    });
                }
                "noise" => {
                    conn.write(b"ok\n");
                    let id = conn.id();
                    conn.cx().after(ms(500), move |cx| {
                        cx.conn(id).into_iter().for_each(|mut conn| {
                            conn.write(b"\x00noise");
                        });
                    });
                }
                _ => {
                    conn.write(b"ok\n");
                }
            }
            conn.state().asked.push(line);
        }
        Ok(())
    }

    fn timed_out(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        conn.write(b"ok\n");
        Ok(())
    }
}

/// Asks one question and gives the connection back with the answer.
pub struct Ask {
    pub name: &'static str,
    pub question: &'static str,
    pub reuse: Reuse,
}

impl Ask {
    pub fn new(name: &'static str, question: &'static str) -> Self {
        Ask { name, question, reuse: Reuse::Reusable }
    }
}

impl Protocol<World> for Ask {
    fn opened(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        let id = conn.id();
        conn.state().conns.push(id);
        conn.state().notes.push(format!("{} opened", self.name));
        let line = format!("{} {}\n", self.question, self.name);
        conn.write(line.as_bytes());
        Ok(())
    }

    fn received(&mut self, conn: &mut Conn<'_, World>, input: &mut Input<'_>) -> io::Result<()> {
        if input.take_line().is_some() {
            conn.release(self.reuse);
        }
        Ok(())
    }

    fn ended(&mut self, _: &mut Conn<'_, World>, _: &mut Input<'_>) -> io::Result<()> {
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, World>, end: End) {
        let result = if end.result.is_ok() { "ok" } else { "failed" };
        cx.state.notes.push(format!("{} {result}", self.name));
        cx.state.errors.extend(end.result.err());
    }
}

/// A simulation with servers at hosts 1 to 9 and a pool.
pub struct Bench {
    pub sim: Sim,
    pub reactor: Reactor<World>,
    pub world: World,
    pub pool: Pool<World>,
}

impl Bench {
    pub fn new(config: pool::Config) -> Self {
        let sim = Sim::new(1);
        let mut reactor = sim.reactor().unwrap();
        let mut world = World::default();
        for host in 1..=9 {
            reactor.cx(&mut world).listen(([10, 0, 0, host], 7), |_, _| Server).unwrap();
        }
        Bench { sim, reactor, world, pool: Pool::new(config).unwrap() }
    }

    pub fn cx(&mut self) -> Cx<'_, World> {
        self.reactor.cx(&mut self.world)
    }

    #[track_caller]
    pub fn ask(&mut self, host: u8, name: &'static str, question: &'static str) -> Ticket {
        self.acquire(&key(host), Ask::new(name, question))
    }

    #[track_caller]
    pub fn acquire(&mut self, key: &Key, machine: impl Protocol<World> + 'static) -> Ticket {
        self.pool.acquire(&mut self.reactor.cx(&mut self.world), key, machine)
    }

    pub fn cancel(&mut self, ticket: Ticket) -> bool {
        self.pool.cancel(&mut self.reactor.cx(&mut self.world), ticket)
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        let until = self.sim.now() + time;
        while self.sim.now() < until {
            self.reactor.turn(&mut self.world, Some(until - self.sim.now())).unwrap();
        }
    }

    /// As long as all that is quick takes, and nothing else.
    pub fn settle(&mut self) {
        self.pass(ms(20));
    }

    /// Leased, idle, waiting, in all.
    pub fn usage(&self) -> (usize, usize, usize) {
        let total = self.pool.snapshot().total;
        (total.leased, total.idle, total.waiting)
    }

    pub fn opened(&self) -> u64 {
        self.pool.snapshot().stats.opened
    }

    pub fn closed(&self, reason: pool::Reason) -> u64 {
        self.pool.snapshot().stats.closed(reason)
    }
}
