//! The table against a simple and slow model, which counts everything anew at each question.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::Location;
use std::time::{Duration, Instant};

use super::operations::{Operation, Verb, check_lists};
use crate::pool::config::Config;
use crate::pool::decide::entry::State;
use crate::pool::decide::stats::Reason;
use crate::pool::decide::table::{Cancelled, Request, Returned, Table, Ticket};
use crate::pool::decide::turns::{MOST_BYPASSED, Step};
use crate::pool::key::Key;
use crate::sim::Sim;

const HOSTS: u64 = 12;

struct Model {
    config: Config,
    /// The members, by index: host, state, owner.
    members: BTreeMap<usize, (u64, State, Option<Ticket>)>,
    /// Idle members, least recently used first.
    idle: Vec<usize>,
    /// Waiting claims, oldest first.
    waiting: Vec<(u64, Ticket)>,
    /// The hosts in line, each with the value of `handed` when it entered.
    turns: Vec<(u64, u64)>,
    handed: u64,
    /// The members that were closed to make room.
    making_room: BTreeSet<usize>,
}

impl Model {
    fn used(&self, host: u64) -> usize {
        self.members.values().filter(|(of, ..)| *of == host).count()
    }

    fn demand(&self, host: u64) -> usize {
        let room = self.config.limit_per_host.map_or(usize::MAX, |limit| limit - self.used(host));
        room.min(self.waiting.iter().filter(|(of, _)| *of == host).count())
    }

    fn closing(&self) -> usize {
        self.members.values().filter(|(_, state, _)| *state == State::Closing).count()
    }

    fn wanted(&self) -> usize {
        (0..HOSTS).map(|host| self.demand(host)).sum()
    }

    /// Hosts that now want a place enter at the end of the line. Hosts that want none leave it.
    fn line_up(&mut self) {
        let wants: Vec<bool> = (0..HOSTS).map(|host| self.demand(host) > 0).collect();
        self.turns.retain(|(host, _)| wants[*host as usize]);
        for host in 0..HOSTS {
            if wants[host as usize] && !self.turns.iter().any(|(of, _)| *of == host) {
                self.turns.push((host, self.handed));
            }
        }
    }

    fn candidate(&self, host: u64) -> Option<usize> {
        let waited_for = self.waiting.iter().any(|(of, _)| *of == host);
        self.idle.iter().rev().find(|member| self.members[*member].0 == host).copied().filter(|_| !waited_for)
    }

    fn room(&self) -> bool {
        self.config.limit.is_none_or(|limit| self.members.len() < limit)
    }

    fn is_full_for(&self, host: u64) -> bool {
        let at_host = self.config.limit_per_host.is_some_and(|limit| self.used(host) >= limit);
        let waited_for = self.waiting.iter().any(|(of, _)| *of == host);
        let nothing_to_free = self.idle.is_empty() && self.closing() <= self.wanted();
        let waits = waited_for || at_host || !self.room() && nothing_to_free;
        waits && self.config.max_waiters.is_some_and(|most| self.waiting.len() >= most)
    }

    fn first(&mut self, host: u64) -> Option<Ticket> {
        let at = self.waiting.iter().position(|(of, _)| *of == host)?;
        if let Some(turn) = self.turns.iter().position(|(of, _)| *of == host) {
            self.turns.remove(turn);
            self.turns.push((host, self.handed));
        }
        Some(self.waiting.remove(at).1)
    }

    fn step(&mut self) -> Option<(Option<u64>, Option<usize>)> {
        let host = self.turns.first()?.0;
        if self.room() {
            return Some((Some(host), None));
        }
        let evict = self.wanted() > self.making_room.len() && !self.idle.is_empty();
        evict.then(|| (None, Some(self.idle[0])))
    }

    fn give_back(&mut self, member: usize, reusable: bool) -> Returned {
        let host = self.members[&member].0;
        self.members.insert(member, (host, State::Closing, None));
        if !reusable {
            return Returned::Close;
        }
        if self.waiting.iter().any(|(of, _)| *of == host) {
            if let Some((next, bypassed_from)) = self.turns.get(self.making_room.len()) {
                if self.handed - bypassed_from < MOST_BYPASSED {
                    self.handed += 1;
                } else if *next != host {
                    self.making_room.insert(member);
                    return Returned::Close;
                }
            }
            let next = self.first(host);
            self.members.insert(member, (host, State::Leased, next));
            return Returned::Handed;
        }
        self.members.insert(member, (host, State::Idle, None));
        self.idle.push(member);
        Returned::Idle
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Do {
    Acquire,
    Deliver,
    GiveBack,
    /// A reused member turns out unusable before its owner is called.
    TakeBack,
    /// The descriptor of a closing member is closed.
    Close,
    /// The member is lost: a refusal, a reset, or the server's end.
    Lose,
    Cancel,
}

impl Verb for Do {
    const ALL: &'static [(u64, Self)] = &[
        (4, Do::Acquire),
        (2, Do::Deliver),
        (3, Do::GiveBack),
        (1, Do::TakeBack),
        (2, Do::Close),
        (1, Do::Lose),
        (1, Do::Cancel),
    ];
}

fn key(host: u64) -> Key {
    Key::new(([10, 0, 0, 1], host as u16 + 1))
}

/// Picks one of them, if there are any.
fn pick<T>(mut all: Vec<T>, which: u16) -> Option<T> {
    let nth = usize::from(which).checked_rem(all.len())?;
    Some(all.swap_remove(nth))
}

struct Both {
    table: Table,
    model: Model,
    now: Instant,
}

impl Both {
    fn new(sim: &Sim) -> Self {
        let maybe = |most: u64| Some(sim.random(1..=most) as usize).filter(|n| *n as u64 != most);
        let limit = maybe(12);
        let per_host = maybe(6).map(|per_host| per_host.min(limit.unwrap_or(per_host)));
        let max_waiters = maybe(40);
        let config = Config { limit, limit_per_host: per_host, max_waiters, ..Config::default() };
        config.check().unwrap();
        let model = Model {
            config: config.clone(),
            members: BTreeMap::new(),
            idle: Vec::new(),
            waiting: Vec::new(),
            turns: Vec::new(),
            handed: 0,
            making_room: BTreeSet::new(),
        };
        Both { table: Table::new(config), model, now: Instant::now() }
    }

    fn any_of(&self, state: State, which: u16) -> Option<usize> {
        let members = self.model.members.iter();
        pick(members.filter(|(_, of)| of.1 == state).map(|(member, _)| *member).collect(), which)
    }

    #[track_caller]
    fn acquire(&mut self, host: u64) {
        let key = key(host);
        let request = Request { key: &key, now: self.now, site: Location::caller() };
        let candidate = self.table.candidate(&key);
        assert_eq!(candidate, self.model.candidate(host));
        if let Some(member) = candidate {
            let ticket = self.table.lend(member, request);
            self.model.idle.retain(|of| *of != member);
            self.model.members.insert(member, (host, State::Leased, Some(ticket)));
            return;
        }
        let full = self.table.is_full_for(&key);
        assert_eq!(full, self.model.is_full_for(host));
        if !full {
            let ticket = self.table.wait(request);
            self.model.waiting.push((host, ticket));
        }
    }

    fn give_back(&mut self, member: usize, reusable: bool) {
        let returned = self.table.give_back(member, (!reusable).then_some(Reason::Dirty), self.now);
        assert_eq!(returned, self.model.give_back(member, reusable));
    }

    fn take_back(&mut self, member: usize) {
        let (host, _, owner) = self.model.members[&member];
        let claim = self.table.take_back(member, Reason::Ended, self.now).unwrap();
        assert_eq!(Some(claim), owner.map(|owner| owner.claim));
        self.model.members.insert(member, (host, State::Closing, None));
        let other = self.table.candidate(&key(host));
        assert_eq!(other, self.model.candidate(host));
        if let Some(other) = other {
            self.table.hand_out(other, claim, self.now);
            self.model.idle.retain(|of| *of != other);
            self.model.members.insert(other, (host, State::Leased, owner));
        } else {
            self.table.wait_first(claim, self.now);
            let first = self.model.waiting.iter().position(|(of, _)| *of == host);
            let at = first.unwrap_or(self.model.waiting.len());
            self.model.waiting.insert(at, (host, owner.unwrap()));
        }
    }

    fn gone(&mut self, member: usize) {
        let (_, _, owner) = self.model.members.remove(&member).unwrap();
        let claim = self.table.gone(member, Reason::Lost, self.now);
        assert_eq!(claim, owner.map(|owner| owner.claim));
        self.model.idle.retain(|of| *of != member);
        self.model.making_room.remove(&member);
    }

    fn cancel(&mut self, which: u16, reusable: bool) {
        let owners = self.model.members.values().filter_map(|(_, _, owner)| *owner);
        let all = self.model.waiting.iter().map(|(_, ticket)| *ticket).chain(owners).collect();
        let Some(ticket) = pick(all, which) else { return };
        let had = self.model.members.iter().find(|(_, of)| of.2 == Some(ticket)).map(|(m, of)| (*m, *of));
        let delivered = had.is_some_and(|(member, _)| self.table.members[member].delivered);
        let cancelled = self.table.cancel(ticket, self.now).unwrap();
        match had {
            None => {
                assert_eq!(cancelled, Cancelled::Waiting);
                self.model.waiting.retain(|(_, of)| *of != ticket);
            }
            Some((member, (host, State::Connecting, _))) => {
                let next = self.model.first(host);
                let state = if next.is_some() { State::Connecting } else { State::Closing };
                self.model.members.insert(member, (host, state, next));
                let expected =
                    if next.is_some() { Cancelled::Waiting } else { Cancelled::Connecting(member) };
                assert_eq!(cancelled, expected);
            }
            Some((member, (_, State::Leased, _))) if !delivered => {
                assert_eq!(cancelled, Cancelled::Undelivered(member));
                self.give_back(member, reusable);
            }
            Some((member, _)) => assert_eq!(cancelled, Cancelled::Running(member)),
        }
        let still_runs = matches!(cancelled, Cancelled::Running(_));
        assert_eq!(self.table.find(ticket).is_some(), still_runs, "a ticket is taken back once");
    }

    fn operate(&mut self, operation: Operation<Do>) {
        let Operation { verb, object, how } = operation;
        let reusable = how % 4 != 3;
        match verb {
            Do::Acquire => {
                let (one, other) = (u64::from(object) % HOSTS, u64::from(object) / HOSTS % HOSTS);
                self.acquire(one.min(other)); // some hosts get more requests than others
            }
            Do::Deliver => {
                if let Some(member) = self.any_of(State::Connecting, object) {
                    assert!(self.table.deliver(member, false, self.now));
                    self.model.members.get_mut(&member).unwrap().1 = State::Leased;
                }
            }
            Do::GiveBack => {
                if let Some(member) = self.any_of(State::Leased, object) {
                    let delivered = std::mem::replace(&mut self.table.members[member].delivered, true);
                    if delivered {
                        self.give_back(member, reusable);
                    }
                }
            }
            Do::TakeBack => {
                if let Some(member) = self.any_of(State::Leased, object)
                    && self.table.is_to_be_looked_at(member)
                {
                    self.take_back(member);
                }
            }
            Do::Close => {
                if let Some(member) = self.any_of(State::Closing, object) {
                    self.gone(member);
                }
            }
            Do::Lose => {
                if let Some(member) = self.any_of(State::ALL[how as usize % 4], object) {
                    self.gone(member);
                }
            }
            Do::Cancel => self.cancel(object, reusable),
        }
        self.model.line_up();
        while let Some(step) = self.table.step(self.now) {
            let (connect, evict) = self.model.step().expect("the model has nothing to do");
            match step {
                Step::Connect(member) => {
                    let host = connect.expect("the model evicts");
                    let owner = self.model.first(host);
                    let claim = self.table.members[member].claim;
                    assert_eq!(claim, owner.map(|owner| owner.claim));
                    self.model.members.insert(member, (host, State::Connecting, owner));
                }
                Step::Evict(member) => {
                    assert_eq!(Some(member), evict);
                    self.model.idle.remove(0);
                    self.model.making_room.insert(member);
                    self.model.members.get_mut(&member).unwrap().1 = State::Closing;
                }
            }
            self.model.line_up();
        }
        assert_eq!(self.model.step(), None, "the table has forgotten something");
        self.table.check();
        self.now += Duration::from_micros(1);
    }
}

#[test]
fn a_million_operations_do_what_a_simple_model_does() {
    // A debug build runs a part of it, in about the same time.
    let (seeds, least) = if cfg!(debug_assertions) { (30, 30_000) } else { (1000, 1_000_000) };
    let done = Cell::new(0);
    check_lists(0..seeds, 1000, |sim, list| {
        let mut both = Both::new(sim);
        list.iter().for_each(|operation| both.operate(*operation));
        done.set(done.get() + list.len());
    });
    assert!(done.get() >= least || std::env::var_os("ENJAMB_SEED").is_some(), "{}", done.get());
}
