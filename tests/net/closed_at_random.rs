//! `closed` is called exactly once, whatever random callbacks do to each other's connections.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::closing::{SOON, other, wrong};
use crate::common::until::until;
use enjamb::{Conn, ConnId, Cx, End, Input, Protocol, Reactor};

/// Does anything to anybody, and counts how machines come and go.
#[derive(Default)]
struct Chaos {
    numbers: u64,
    over: bool,
    ids: Vec<ConnId>,
    made: usize,
    closed: usize,
    replaced: usize,
    addr: Option<SocketAddr>,
}

impl Chaos {
    /// xorshift: the same numbers for the same seed.
    fn number(&mut self, below: u64) -> u64 {
        self.numbers ^= self.numbers << 13;
        self.numbers ^= self.numbers >> 7;
        self.numbers ^= self.numbers << 17;
        self.numbers % below
    }
}

struct Wild;

impl Wild {
    fn new(chaos: &mut Chaos) -> Self {
        chaos.made += 1;
        Wild
    }

    fn anything(cx: &mut Cx<'_, Chaos>) {
        if cx.state.over {
            return;
        }
        for _ in 0..cx.state.number(4) {
            Self::something(cx);
        }
    }

    fn something(cx: &mut Cx<'_, Chaos>) {
        let (what, n) = (cx.state.number(16), cx.state.number(1 << 20) as usize);
        let Some(&id) = cx.state.ids.get(n % cx.state.ids.len().max(1)) else { return };
        if what == 0 && cx.state.made < 400 {
            return Self::connect(cx);
        }
        if what == 1 {
            cx.after(Duration::from_millis(n as u64 % 4), Self::anything);
            return;
        }
        let Some(mut conn) = cx.conn(id) else { return };
        match what {
            3 => {
                conn.state().made += 1;
                conn.state().replaced += 1;
                conn.switch(Wild);
            }
            4 => conn.close(),
            5 => conn.abort(other()),
            6 => conn.finish(),
            7 => conn.pause(),
            8 | 9 => conn.resume(),
            10 => conn.deadline(Duration::from_millis(n as u64 % 5)),
            11 => conn.deadline(None),
            12 => conn.water_marks(n % 100, n % 10_000),
            13 => _ = conn.write(&[0; 100][..n % 100]),
            14 => _ = conn.write(&vec![0; n % 200_000]),
            15 => conn.input_limit(n % 1000),
            _ => {}
        }
    }

    fn connect(cx: &mut Cx<'_, Chaos>) {
        if let Some(addr) = cx.state.addr {
            let wild = Self::new(cx.state);
            let id = cx.connect(addr, wild).id();
            cx.state.ids.push(id);
        }
    }

    fn any(conn: &mut Conn<'_, Chaos>) -> io::Result<()> {
        Self::anything(conn.cx());
        if conn.state().number(60) == 0 { Err(wrong()) } else { Ok(()) }
    }
}

impl Protocol<Chaos> for Wild {
    fn opened(&mut self, conn: &mut Conn<'_, Chaos>) -> io::Result<()> {
        let id = conn.id();
        conn.state().ids.push(id);
        conn.write(b"hello");
        Self::any(conn)
    }
    fn received(&mut self, conn: &mut Conn<'_, Chaos>, input: &mut Input<'_>) -> io::Result<()> {
        let n = conn.state().number(1000) as usize;
        conn.write(input.take(n));
        if n.is_multiple_of(3) {
            input.take_all();
        }
        Self::any(conn)
    }
    fn drained(&mut self, conn: &mut Conn<'_, Chaos>) -> io::Result<()> {
        Self::any(conn)
    }
    fn ended(&mut self, conn: &mut Conn<'_, Chaos>, _: &mut Input<'_>) -> io::Result<()> {
        if conn.state().number(2) == 0 {
            conn.close();
        }
        Self::any(conn)
    }
    fn timed_out(&mut self, conn: &mut Conn<'_, Chaos>) -> io::Result<()> {
        Self::any(conn)
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, Chaos>, _: End) {
        cx.state.closed += 1;
        Self::anything(cx);
    }
}

#[test]
fn closed_comes_exactly_once_whatever_callbacks_do_to_each_other() {
    for seed in 1..=10 {
        let mut chaos = Chaos { numbers: seed * 0x9E37_79B9, ..Chaos::default() };
        let mut reactor = Reactor::new().unwrap();
        let mut cx = reactor.cx(&mut chaos);
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let id = cx.listen(any_port, |cx, _| Wild::new(cx.state)).unwrap().id();
        cx.state.addr = cx.listener(id).unwrap().local_addr().ok();
        (0..20).for_each(|_| Wild::connect(&mut cx));
        for _ in 0..300 {
            reactor.turn(&mut chaos, Some(Duration::from_millis(1))).unwrap();
        }
        chaos.over = true;
        reactor.cx(&mut chaos).shutdown(SOON);
        until(&mut reactor, &mut chaos, |cx| cx.alive().to_string().contains(", 0 connections"));
        let Chaos { made, closed, replaced, .. } = chaos;
        assert!(made >= 40, "seed {seed}: {made} were not many");
        assert_eq!(closed + replaced, made, "seed {seed}: {closed} closed and {replaced} replaced of {made}");
    }
}
