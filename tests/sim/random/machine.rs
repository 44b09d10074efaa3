//! A machine that does anything at any time, to its own connection and to others.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::action::{Action, Verb};
use super::world::{Seen, World, byte, set_timer};
use enjamb::{Conn, Cx, End, Input, Protocol};

pub const HIGH_WATER: usize = 20_000;
pub const OUTPUT_LIMIT: usize = 100_000;
pub const INPUT_LIMIT: usize = 10_000;
pub const READ_BUFFER: usize = 4096;
/// The most that is written with one call.
const LONGEST: usize = 30_000;

pub fn server(port: u16) -> SocketAddr {
    ([10, 0, 0, 1], port).into()
}

pub struct Fickle {
    me: usize,
    /// How often it acts before it closes.
    left: u32,
    due: Option<Instant>,
}

impl Fickle {
    pub fn new(world: &mut World) -> Self {
        world.seen.push(Seen::default());
        Fickle { me: world.seen.len() - 1, left: 25, due: None }
    }

    /// What every callback begins with.
    fn begins(&mut self, conn: &mut Conn<'_, World>) {
        let (me, id, unsent) = (self.me, conn.id(), conn.unsent());
        assert!(unsent < OUTPUT_LIMIT + LONGEST, "{unsent} bytes are unsent");
        let world = conn.state();
        world.callbacks += 1;
        let seen = &mut world.seen[me];
        assert!(seen.opened && seen.end.is_none() && !seen.panicked, "a callback out of turn: {seen:?}");
        assert_eq!(seen.id, Some(id), "a callback for another");
    }

    fn acts(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        let after = Duration::from_millis(1 + u64::from(conn.state().source.next().much % 5_000));
        conn.deadline(after);
        self.due = Some(conn.cx().now() + after);
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            return act_on(conn, Verb::Close, 0, self.me);
        }
        let Action { verb, whom, much } = conn.state().source.next();
        match verb {
            Verb::Fail => Err(ErrorKind::InvalidData.into()),
            Verb::Panic => {
                conn.state().seen[self.me].panicked = true;
                let me = self.me;
                conn.state().open.retain(|open| *open != me);
                std::panic::resume_unwind(Box::new("planted")) // without a message
            }
            Verb::Switch => {
                // The new machine is offered what was left, and told of the end again.
                conn.state().seen[self.me].complete = None;
                conn.switch(Fickle { me: self.me, left: self.left, due: self.due });
                Ok(())
            }
            Verb::WriteToAnother
            | Verb::FinishAnother
            | Verb::CloseAnother
            | Verb::AbortAnother
            | Verb::PauseAnother
            | Verb::ResumeAnother => {
                let verb = match verb {
                    Verb::WriteToAnother => Verb::Write,
                    Verb::FinishAnother => Verb::Finish,
                    Verb::CloseAnother => Verb::Close,
                    Verb::AbortAnother => Verb::Abort,
                    Verb::PauseAnother => Verb::Pause,
                    _ => Verb::Resume,
                };
                on_another(conn.cx(), verb, whom, much)
            }
            verb => act_on(conn, verb, much, self.me).and_then(|()| act_in(conn.cx(), verb, whom, much)),
        }
    }
}

/// What is done to one connection.
fn act_on(conn: &mut Conn<'_, World>, verb: Verb, much: u32, me: usize) -> io::Result<()> {
    match verb {
        Verb::Write | Verb::WriteALot => {
            let most = if verb == Verb::WriteALot { LONGEST } else { 200 };
            // One in two stops at the high-water mark.
            if much.is_multiple_of(2) && conn.is_full() {
                return Ok(());
            }
            let polite = !conn.is_full();
            let from = conn.state().seen[me].written;
            let bytes: Vec<u8> = (from..from + much as usize % most).map(|place| byte(me, place)).collect();
            let taken = conn.write(&bytes);
            if taken {
                conn.state().seen[me].written += bytes.len();
            }
            let unsent = conn.unsent();
            assert!(!(polite && taken) || unsent <= HIGH_WATER + bytes.len(), "{unsent} bytes are unsent");
        }
        Verb::Finish => {
            conn.state().seen[me].left = true;
            conn.finish();
        }
        Verb::Close => {
            conn.state().seen[me].left = true;
            conn.close();
        }
        Verb::Abort => conn.abort(ErrorKind::InvalidInput.into()),
        Verb::Pause => conn.pause(),
        Verb::Resume => conn.resume(),
        Verb::Limits => {
            let (low, high) = (much as usize % 100_000, (much >> 8) as usize % HIGH_WATER);
            conn.water_marks(low, high);
            conn.input_limit(much as usize % INPUT_LIMIT);
        }
        _ => {}
    }
    Ok(())
}

fn on_another(cx: &mut Cx<'_, World>, verb: Verb, whom: u16, much: u32) -> io::Result<()> {
    let open = &cx.state.open;
    if open.is_empty() {
        return Ok(());
    }
    let other = open[whom as usize % open.len()];
    match cx.state.seen[other].id.and_then(|id| cx.conn(id)) {
        Some(mut conn) => act_on(&mut conn, verb, much, other),
        None => Ok(()), // it has ended, and is not reaped yet
    }
}

/// What is done to the loop.
fn act_in(cx: &mut Cx<'_, World>, verb: Verb, whom: u16, much: u32) -> io::Result<()> {
    let delay = Duration::from_micros(u64::from(much % 3_000_000));
    match verb {
        Verb::Connect if cx.state.spend() => connect(cx, whom),
        Verb::Listen if cx.state.spend() => listen(cx, 1000 + whom % 8),
        Verb::CloseAListener if !cx.state.listeners.is_empty() => {
            let listener = whom as usize % cx.state.listeners.len();
            let (id, _) = cx.state.listeners.swap_remove(listener);
            cx.listener(id).into_iter().for_each(|listener| listener.close());
        }
        Verb::SetATimer if cx.state.spend() => set_timer(cx, delay, None),
        Verb::SetAPeriodicTimer if cx.state.spend() => set_timer(cx, delay, Some(1 + much % 20)),
        Verb::Limits if !cx.state.listeners.is_empty() => {
            let (id, _) = cx.state.listeners[whom as usize % cx.state.listeners.len()];
            cx.listener(id).into_iter().for_each(|mut listener| listener.limit(1 + much as usize % 4));
        }
        Verb::CancelATimer if !cx.state.timers.is_empty() => {
            let timer = whom as usize % cx.state.timers.len();
            let timer = cx.state.timers.swap_remove(timer);
            cx.cancel(timer);
        }
        Verb::Post if cx.state.spend() => {
            cx.state.posted += 1;
            let posted = cx.state.handle.post(|cx| {
                cx.state.callbacks += 1;
                cx.state.ran += 1;
                act_outside(cx);
            });
            posted.expect("the reactor is there");
        }
        Verb::TakeTime => cx.state.sim.clone().take_time(delay / 100),
        Verb::Partition if cx.state.spend() => {
            let (sim, at) = (cx.state.sim.clone(), server(1000 + whom % 8));
            sim.partition(at);
            cx.after(delay, move |_| sim.heal(at));
        }
        Verb::Crash => cx.state.sim.crash(server(1000 + whom % 8)),
        Verb::Stop => {
            cx.state.stopped = true;
            cx.stop();
        }
        Verb::Shutdown => {
            cx.state.listeners.clear();
            cx.state.stopped = true;
            cx.state.seen.iter_mut().for_each(|seen| seen.left = true);
            cx.shutdown(delay);
        }
        _ => {}
    }
    Ok(())
}

/// What a timer or a posted call does.
pub fn act_outside(cx: &mut Cx<'_, World>) {
    let Action { verb, whom, much } = cx.state.source.next();
    if verb == Verb::Panic {
        std::panic::resume_unwind(Box::new("planted"));
    }
    on_another(cx, verb, whom, much).and_then(|()| act_in(cx, verb, whom, much)).expect("nothing fails here");
}

pub fn connect(cx: &mut Cx<'_, World>, whom: u16) {
    let listeners = &cx.state.listeners;
    // To somebody who listens, or to nobody.
    let at = listeners.get(whom as usize % (listeners.len() + 1)).map_or(server(9), |(_, addr)| *addr);
    let machine = Fickle::new(cx.state);
    let me = machine.me;
    let mut conn = cx.connect(at, machine);
    let (id, local) = (conn.id(), conn.local_addr());
    let deadline = conn.state().source.next().much;
    if deadline.is_multiple_of(4) {
        conn.deadline(Duration::from_millis(u64::from(deadline % 5000)));
    }
    cx.state.seen[me].id = Some(id);
    cx.state.open.push(me);
    if let Ok(local) = local {
        cx.state.clients.insert(local, me);
    }
}

pub fn listen(cx: &mut Cx<'_, World>, port: u16) {
    let accepted = |cx: &mut Cx<'_, World>, from: SocketAddr| {
        cx.state.callbacks += 1;
        let machine = Fickle::new(cx.state);
        let client = cx.state.clients[&from];
        assert!(cx.state.seen[client].peer.is_none(), "accepted twice");
        cx.state.seen[client].peer = Some(machine.me);
        cx.state.seen[machine.me].peer = Some(client);
        let Action { verb, whom, much } = cx.state.source.next();
        if verb != Verb::CloseAListener {
            act_in(cx, verb, whom, much).expect("nothing fails here"); // listens within accepted, and more
        }
        machine
    };
    // In use, most often.
    if let Ok(listener) = cx.listen(server(port), accepted) {
        let id = listener.id();
        cx.state.listeners.push((id, server(port)));
    }
}

impl Protocol<World> for Fickle {
    fn opened(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        let (me, id) = (self.me, conn.id());
        let world = conn.state();
        let seen = &mut world.seen[me];
        assert!(!seen.opened, "opened twice");
        seen.opened = true;
        if seen.id.replace(id).is_none() {
            world.open.push(me);
        }
        self.begins(conn);
        self.acts(conn)
    }

    fn received(&mut self, conn: &mut Conn<'_, World>, input: &mut Input<'_>) -> io::Result<()> {
        self.begins(conn);
        assert!(!input.is_empty() && input.len() <= INPUT_LIMIT + READ_BUFFER, "{} bytes", input.len());
        let world = conn.state();
        assert!(world.seen[self.me].complete.is_none(), "bytes after the end");
        let share = world.source.next().much as usize;
        world.note_taken(self.me, input.take(share % (2 * input.len() + 1)));
        self.acts(conn)
    }

    fn drained(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        self.begins(conn);
        self.acts(conn)
    }

    fn ended(&mut self, conn: &mut Conn<'_, World>, rest: &mut Input<'_>) -> io::Result<()> {
        self.begins(conn);
        let world = conn.state();
        let all = world.seen[self.me].taken + rest.len();
        let before = world.seen[self.me].complete.replace(all);
        assert!(before.is_none_or(|before| before == all), "the end twice, and not the same");
        if world.source.next().much.is_multiple_of(2) {
            world.note_taken(self.me, rest.take_all());
        }
        self.acts(conn)
    }

    fn timed_out(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        self.begins(conn);
        let now = conn.cx().now();
        assert!(self.due.is_some_and(|due| now >= due), "a deadline is early");
        conn.resume();
        self.acts(conn)
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, World>, end: End) {
        cx.state.note_end(self.me, end);
        let Action { verb, whom, much } = cx.state.source.next();
        if verb == Verb::Panic {
            std::panic::resume_unwind(Box::new("planted"));
        }
        act_in(cx, verb, whom, much).expect("nothing fails here"); // connects in closed, and more
    }
}
