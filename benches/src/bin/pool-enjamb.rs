//! The pool's own work, without a protocol around it:
//!
//! - `idle LIVE TIMES`: acquires an idle connection and releases it at once, with `LIVE` hosts that have one idle
//!   connection each;
//! - `waiters LIVE TIMES`: releases a connection, which passes to the next of `LIVE` waiting requests of its host, and
//!   waits again;
//! - `others LIVE TIMES`: the same with 1,000 waiting requests at a host at its limit, and `LIVE` other hosts with one
//!   idle connection each;
//! - `hosts LIVE TIMES`: enqueues a request and cancels it, with a waiting request at each of `LIVE` hosts.
//!
//! With the feature `sim`, it runs on the simulation.

use enjamb::pool::{Config, Key, Pool, Reuse, Ticket};
use enjamb::{Conn, Cx, End, Input, Protocol, Reactor};
use std::io;
use std::net::Ipv4Addr;

/// The number of exchanges in flight for `idle` and `others`; the limit of connections for the other two.
const AT_A_TIME: usize = 100;

struct State {
    pool: Pool<State>,
    keys: Vec<Key>,
    next: usize,
    left: usize,
    opened: usize,
}

impl State {
    fn next_key(&mut self) -> Key {
        self.next = (self.next + 1) % self.keys.len();
        self.keys[self.next].clone()
    }
}

/// Releases its connection at once, and repeats as long as rounds are left.
struct Round {
    gives_up: bool,
}

impl Protocol<State> for Round {
    fn opened(&mut self, conn: &mut Conn<'_, State>) -> io::Result<()> {
        conn.release(Reuse::Reusable);
        Ok(())
    }
    fn received(&mut self, _: &mut Conn<'_, State>, _: &mut Input<'_>) -> io::Result<()> {
        Ok(())
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, State>, _: End) {
        if cx.state.left == 0 {
            return cx.stop();
        }
        cx.state.left -= 1;
        let gives_up = self.gives_up;
        let (pool, key) = (cx.state.pool.clone(), cx.state.next_key());
        let ticket = pool.acquire_boxed(cx, &key, self);
        if gives_up {
            pool.cancel(cx, ticket);
        }
    }
}

/// Opens a connection, then releases or keeps it.
struct Opens {
    keeps: bool,
}

impl Protocol<State> for Opens {
    fn opened(&mut self, conn: &mut Conn<'_, State>) -> io::Result<()> {
        conn.state().opened += 1;
        if !self.keeps {
            conn.release(Reuse::Reusable);
        }
        Ok(())
    }
    fn received(&mut self, _: &mut Conn<'_, State>, _: &mut Input<'_>) -> io::Result<()> {
        Ok(())
    }
}

struct Deaf;

impl Protocol<State> for Deaf {
    fn received(&mut self, _: &mut Conn<'_, State>, _: &mut Input<'_>) -> io::Result<()> {
        Ok(())
    }
}

fn reactor() -> io::Result<Reactor<State>> {
    #[cfg(feature = "sim")]
    return enjamb::sim::Sim::new(1).reactor();
    #[cfg(not(feature = "sim"))]
    Reactor::new()
}

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [work, live, times] = &words[..] else { return Err(io::ErrorKind::InvalidInput.into()) };
    let number = |word: &String| word.parse::<usize>().map_err(io::Error::other);
    let (live, times) = (number(live)?, number(times)?);
    let mut reactor = reactor()?;
    let limit = (work != "idle" && work != "others").then_some(AT_A_TIME);
    let pool = Pool::new(Config { limit, limit_per_host: Some(AT_A_TIME), ..Config::default() })?;
    let mut state = State { pool, keys: Vec::new(), next: 0, left: 0, opened: 0 };
    let port = reactor.cx(&mut state).listen((Ipv4Addr::UNSPECIFIED, 0), |_, _| Deaf)?.local_addr()?.port();
    // Every address from 127.0.0.1 up belongs to this machine. To the pool, each is another host.
    let address = |nth: usize| Ipv4Addr::from(0x7f00_0001 + nth as u32);
    let hosts = if work == "waiters" { 1 } else { live };
    state.keys = (0..hosts).map(|nth| Key::new((address(nth), port))).collect();

    let connections = if work == "idle" || work == "others" { live } else { AT_A_TIME };
    open(&mut reactor, &mut state, connections, work == "hosts")?;
    match work.as_str() {
        "idle" => {
            state.left = times;
            for _ in 0..AT_A_TIME.min(live) {
                acquire(&mut reactor, &mut state, Round { gives_up: false });
            }
        }
        "others" => {
            state.keys = vec![Key::new((address(live), port))];
            open(&mut reactor, &mut state, AT_A_TIME, false)?;
            (0..1_000).for_each(|_| _ = acquire(&mut reactor, &mut state, Round { gives_up: false }));
            state.left = times;
        }
        "waiters" => {
            (0..live).for_each(|_| _ = acquire(&mut reactor, &mut state, Round { gives_up: false }));
            state.left = times;
        }
        "hosts" => {
            (0..live).for_each(|_| _ = acquire(&mut reactor, &mut state, Opens { keeps: true }));
            state.left = times;
            let ticket = acquire(&mut reactor, &mut state, Round { gives_up: true });
            state.pool.clone().cancel(&mut reactor.cx(&mut state), ticket);
        }
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    }
    let result = reactor.run(&mut state);
    std::mem::forget((reactor, state)); // the cost of freeing depends on the number of blocks
    result
}

/// Acquires a connection to the next host.
fn acquire(
    reactor: &mut Reactor<State>,
    state: &mut State,
    protocol: impl Protocol<State> + 'static,
) -> Ticket {
    let (pool, key) = (state.pool.clone(), state.next_key());
    pool.acquire(&mut reactor.cx(state), &key, protocol)
}

/// Opens this many connections, a few at a time.
fn open(reactor: &mut Reactor<State>, state: &mut State, connections: usize, keeps: bool) -> io::Result<()> {
    state.opened = 0;
    for from in (0..connections).step_by(AT_A_TIME) {
        let to = connections.min(from + AT_A_TIME);
        (from..to).for_each(|_| _ = acquire(reactor, state, Opens { keeps }));
        while state.opened < to {
            reactor.turn(state, None)?;
        }
    }
    Ok(())
}
