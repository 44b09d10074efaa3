//! Looking names up, off the loop. Equal questions are asked once: an asker joins the look-up of the same name and port if
//! one waits or is under way. The look-up itself is done by [`Helpers`], or by a simulation.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use crate::Cx;
use crate::base::error::{self, while_doing};
use crate::base::peer::Peer;
use crate::base::slots::Key;
use crate::base::wheel::TimerKey;
use crate::net::poll::{Poller, Waker};
use crate::net::resolver::{Answer, Helpers, Notice, Question, Resolver};
use crate::reactor::core::Core;
use crate::reactor::timers::Alarm;

type Call<S> = Box<dyn FnOnce(&mut Cx<'_, S>, Answer)>;

/// A host, and the port that its addresses are to have.
type Name = (Arc<str>, u16);

/// Names an asker. The look-up comes first, so that the askers of one look-up follow each other when sorted. Numbers are
/// never used again, so a late answer never reaches another asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket {
    look_up: u64,
    asker: u64,
}

pub(crate) enum Asker<S> {
    Connection(Key),
    Call(Call<S>),
}

/// The loop's side: the askers, and what they ask for.
pub(crate) struct LookUps<S> {
    /// In the order in which they asked, within a look-up: they are told in that order.
    askers: BTreeMap<Ticket, Asker<S>>,
    /// Look-ups that wait or are under way. One that is under way stays when its last asker leaves, for others to join: a
    /// name that hangs, and is asked for again and again, takes one helper and not one each time.
    look_ups: BTreeMap<u64, LookUp>,
    /// Look-ups that another asker can join.
    open: HashMap<Name, u64>,
    /// Look-ups that have ended, with askers to be told.
    answered: VecDeque<Answered>,
    last: u64,
    resolver: Arc<Resolver>,
    helpers: Helpers,
    /// Set while a question waits for a helper: fires when one hangs and can be replaced.
    timer: Option<TimerKey>,
}

struct LookUp {
    name: Name,
    state: State,
}

enum State {
    /// All helpers are busy.
    Waiting,
    UnderWay,
    /// A simulation answers when this fires.
    Simulated(TimerKey),
}

struct Answered {
    look_up: u64,
    host: Arc<str>,
    answer: Result<Vec<SocketAddr>, Arc<io::Error>>,
}

impl Answered {
    /// The answer for one of the askers. An error names the host.
    fn copy(&self) -> Answer {
        match &self.answer {
            Ok(found) => Ok(found.clone()),
            Err(error) => {
                let host = Peer::Name(Arc::clone(&self.host));
                Err(while_doing(error::RESOLVING, &host, error::copy(error)))
            }
        }
    }
}

fn ask_the_system(host: &str, port: u16) -> Answer {
    (host, port).to_socket_addrs().map(Iterator::collect)
}

impl<S> LookUps<S> {
    pub(crate) fn new(waker: Arc<Waker>, most_helpers: usize) -> Self {
        LookUps {
            askers: BTreeMap::new(),
            look_ups: BTreeMap::new(),
            open: HashMap::new(),
            answered: VecDeque::new(),
            last: 0,
            resolver: Arc::new(ask_the_system),
            helpers: Helpers::new(waker, most_helpers),
            timer: None,
        }
    }

    /// Look-ups that the old resolver has been asked for are not joined any more.
    pub(crate) fn set_resolver(&mut self, resolver: Arc<Resolver>) {
        self.resolver = resolver;
        self.open.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.askers.is_empty()
    }

    /// The names that are looked up for [`Cx::resolve`].
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &str> {
        let is_call = |(_, asker): (&Ticket, &Asker<S>)| matches!(asker, Asker::Call(_));
        let look_ups = self.look_ups.iter().filter(move |(id, _)| self.askers_of(**id).any(is_call));
        look_ups.map(|(_, look_up)| &*look_up.name.0)
    }

    fn askers_of(&self, look_up: u64) -> impl Iterator<Item = (&Ticket, &Asker<S>)> {
        self.askers.range(Ticket { look_up, asker: 0 }..=Ticket { look_up, asker: u64::MAX })
    }

    fn next_id(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Whether the look-up waits for a helper.
    pub(crate) fn waits(&self, ticket: Ticket) -> bool {
        let look_up = self.look_ups.get(&ticket.look_up);
        matches!(look_up, Some(LookUp { state: State::Waiting, .. }))
    }

    /// Takes a look-up out, so that no asker joins it any more.
    fn remove(&mut self, id: u64) -> Option<LookUp> {
        let look_up = self.look_ups.remove(&id)?;
        if self.open.get(&look_up.name) == Some(&id) {
            self.open.remove(&look_up.name); // if it is another's, a new resolver has been asked since
        }
        Some(look_up)
    }

    /// Takes in an answer. One without an address is an error.
    fn answer(&mut self, id: u64, answer: Answer) {
        let Some(LookUp { name: (host, _), .. }) = self.remove(id) else { return };
        let none = || error::new(io::ErrorKind::NotFound, "it has no address");
        let answer = answer.and_then(|found| if found.is_empty() { Err(none()) } else { Ok(found) });
        self.answered.push_back(Answered { look_up: id, host, answer: answer.map_err(Arc::new) });
    }

    /// Whether there are notices to take in, or askers to tell.
    pub(crate) fn has_answers(&self) -> bool {
        !self.answered.is_empty() || !self.look_ups.is_empty() && self.helpers.has_notices()
    }

    /// The next asker to be told, and its answer.
    fn next_told(&mut self) -> Option<(Asker<S>, Answer)> {
        while let Some(answered) = self.answered.front() {
            let first = self.askers_of(answered.look_up).next().map(|(ticket, _)| *ticket);
            if let Some(asker) = first.and_then(|ticket| self.askers.remove(&ticket)) {
                return Some((asker, self.answered.front()?.copy()));
            }
            self.answered.pop_front();
        }
        None
    }
}

impl<S> Core<S> {
    /// Where every look-up begins.
    pub(crate) fn look_up(&mut self, host: &str, port: u16, asker: Asker<S>) -> Ticket {
        let name: Name = (host.into(), port);
        let joined = self.look_ups.open.get(&name).copied();
        let look_up = joined.unwrap_or_else(|| self.begin_look_up(name));
        let ticket = Ticket { look_up, asker: self.look_ups.next_id() };
        self.look_ups.askers.insert(ticket, asker);
        ticket
    }

    fn begin_look_up(&mut self, name: Name) -> u64 {
        let id = self.look_ups.next_id();
        let (host, port) = name.clone();
        let state = match &self.poll {
            Poller::Mio(_) => {
                let resolver = Arc::clone(&self.look_ups.resolver);
                self.look_ups.helpers.ask(id, Question { host, port, resolver });
                State::Waiting
            }
            Poller::Simulated(kernel) => {
                let (takes, answer) = kernel.look_up(&host, port);
                let answered = move |cx: &mut Cx<'_, S>| {
                    cx.core.look_ups.answer(id, answer);
                    cx.core.tell_askers(cx.state);
                };
                let due = self.clock.tick_after(takes);
                State::Simulated(self.timers.insert(due, Alarm::Once(Box::new(answered))))
            }
        };
        self.look_ups.open.insert(name.clone(), id);
        self.look_ups.look_ups.insert(id, LookUp { name, state });
        self.begin_waiting_look_ups();
        id
    }

    /// Starts helpers for look-ups that wait, as far as there is room.
    fn begin_waiting_look_ups(&mut self) {
        while let Some(id) = self.look_ups.helpers.begin() {
            self.look_up_has_begun(id);
        }
        self.watch_helpers();
    }

    fn look_up_has_begun(&mut self, id: u64) {
        let Some(look_up) = self.look_ups.look_ups.get_mut(&id) else { return };
        look_up.state = State::UnderWay;
        let askers = self.look_ups.askers_of(id).filter_map(|(_, asker)| match asker {
            Asker::Connection(key) => Some(*key),
            Asker::Call(_) => None,
        });
        for key in askers.collect::<Vec<_>>() {
            self.limit_look_up(key);
        }
    }

    /// Keeps the timer that replaces a helper that hangs. It is set only while a question waits.
    fn watch_helpers(&mut self) {
        match (self.look_ups.helpers.until_one_hangs(), self.look_ups.timer) {
            (Some(left), None) => {
                let hangs = |cx: &mut Cx<'_, S>| {
                    cx.core.look_ups.timer = None;
                    cx.core.begin_waiting_look_ups();
                };
                let due = self.clock.fresh_tick_after(left);
                self.look_ups.timer = Some(self.timers.insert(due, Alarm::Once(Box::new(hangs))));
            }
            (None, Some(timer)) => {
                self.look_ups.timer = None;
                self.timers.cancel(timer); // it would keep the loop from ending
            }
            _ => {}
        }
    }

    /// Takes an asker out. A look-up without askers is dropped if no helper has begun with it.
    pub(crate) fn cancel_look_up(&mut self, ticket: Ticket) {
        let id = ticket.look_up;
        if self.look_ups.askers.remove(&ticket).is_none() || self.look_ups.askers_of(id).next().is_some() {
            return;
        }
        match self.look_ups.look_ups.get(&id).map(|look_up| &look_up.state) {
            Some(State::Simulated(timer)) => {
                self.timers.cancel(*timer); // it would keep the loop from ending
            }
            Some(State::Waiting) if self.look_ups.helpers.forget(id) => self.watch_helpers(),
            _ => return,
        }
        self.look_ups.remove(id);
    }

    /// Takes in what the helpers have done, and tells the askers.
    pub(crate) fn take_answers(&mut self, state: &mut S) {
        if !self.look_ups.has_answers() {
            return;
        }
        for notice in self.look_ups.helpers.take_notices() {
            match notice {
                Notice::Begun(id) => self.look_up_has_begun(id),
                Notice::Answered(id, answer) => self.look_ups.answer(id, answer),
            }
        }
        self.watch_helpers();
        self.tell_askers(state);
    }

    /// Hands over the answers that have come. An asker that comes meanwhile begins another look-up, so this ends.
    fn tell_askers(&mut self, state: &mut S) {
        while let Some((asker, answer)) = self.look_ups.next_told() {
            match asker {
                Asker::Connection(key) => self.resolved(key, answer),
                Asker::Call(call) => {
                    call(&mut Cx { state, core: self }, answer);
                    self.returned("a look-up", None);
                }
            }
        }
    }
}

impl<S> Cx<'_, S> {
    /// Looks a name up, as the system does (files, DNS, whatever else it is told to ask), and calls `call` with all
    /// its addresses, in the order of preference that the system gives them: RFC 6724. It never waits: a helper thread
    /// does. To connect to a name, [`connect`](Self::connect) to it.
    ///
    /// There is no time limit but the system's own (resolv.conf(5)), and a look-up under way keeps
    /// [`run`](crate::Reactor::run) going. [`Config::resolver_threads`](crate::Config::resolver_threads) limits how many
    /// go on at the same time; [`Reactor::set_resolver`](crate::Reactor::set_resolver) asks somebody else. While a
    /// host and port is being looked up, it is not looked up again: the answer goes to all that have asked by then.
    ///
    /// ```
    /// let mut reactor = enjamb::Reactor::new()?;
    /// let mut found = Vec::new();
    /// reactor.cx(&mut found).resolve("localhost", 80, |cx, addresses| match addresses {
    ///     Ok(addresses) => cx.state.extend(addresses),
    ///     Err(error) => println!("{error}"), // resolving localhost: …; is it spelt right, …?
    /// });
    /// reactor.run(&mut found)?;
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// `call` gets what the resolver says, with the name. A name that has no address is
    /// [`NotFound`](io::ErrorKind::NotFound).
    pub fn resolve(
        &mut self,
        host: &str,
        port: u16,
        call: impl FnOnce(&mut Cx<'_, S>, io::Result<Vec<SocketAddr>>) + 'static,
    ) {
        self.core.look_up(host, port, Asker::Call(Box::new(call)));
    }
}
