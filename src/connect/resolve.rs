//! Looking names up, off the loop. The system's look-up (getaddrinfo(3)) waits for files and servers, for many seconds
//! at times, so it is done by helper threads. There are few of them, and none when there is nothing to look up; what
//! is asked beyond waits its turn.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::Cx;
use crate::base::error::{self, while_doing};
use crate::base::peer::Peer;
use crate::base::slots::Key;
use crate::base::wheel::TimerKey;
use crate::net::poll::{Driver, Waker};
use crate::reactor::core::Core;
use crate::reactor::timers::Alarm;

pub(crate) type Answer = io::Result<Vec<SocketAddr>>;

/// Finds the addresses of a host, for a port.
pub(crate) type Resolver = dyn Fn(&str, u16) -> Answer + Send + Sync;

type Call<S> = Box<dyn FnOnce(&mut Cx<'_, S>, Answer)>;

/// Names one question. Never used again, so that an answer which nobody wants any more finds nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

pub(crate) enum Asker<S> {
    Connection(Key),
    Call(Call<S>),
}

/// The loop's side: who has asked.
pub(crate) struct LookUps<S> {
    /// In the order in which they were asked, which is the one in which they are told.
    asked: BTreeMap<Ticket, Asked<S>>,
    last: u64,
    resolver: Arc<Resolver>,
    desk: Arc<Mutex<Desk>>,
}

struct Asked<S> {
    host: Arc<str>,
    asker: Asker<S>,
    /// When a simulation answers.
    timer: Option<TimerKey>,
}

/// What the loop and its helpers share.
struct Desk {
    questions: VecDeque<Question>,
    answers: VecDeque<(Ticket, Answer)>,
    helpers: usize,
    /// `None` when the reactor has been dropped: then nobody wants answers, and no more questions are taken.
    waker: Option<Arc<Waker>>,
}

struct Question {
    ticket: Ticket,
    host: Arc<str>,
    port: u16,
    resolver: Arc<Resolver>,
}

impl Question {
    fn answer(&self) -> Answer {
        // A panic that ended the helper would leave who has asked without an answer for ever.
        catch_unwind(AssertUnwindSafe(|| (self.resolver)(&self.host, self.port)))
            .unwrap_or_else(|_| Err(io::Error::other("the resolver panicked")))
    }
}

/// A poisoned lock is taken as it is: the desk is whole between any two statements that hold it.
fn lock(desk: &Mutex<Desk>) -> MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(waker: &Waker) {
    if let Err(error) = waker.wake() {
        log::error!("the loop could not be woken: {error}; it will notice with its next event or timer");
    }
}

/// Answers questions until there are none.
fn help(desk: &Mutex<Desk>) {
    let mut held = lock(desk);
    while let Some(question) = held.questions.pop_front() {
        drop(held);
        let answer = question.answer();
        held = lock(desk);
        let Some(waker) = held.waker.clone() else { break };
        held.answers.push_back((question.ticket, answer));
        drop(held);
        wake(&waker);
        held = lock(desk);
    }
    held.helpers -= 1;
}

fn ask_the_system(host: &str, port: u16) -> Answer {
    (host, port).to_socket_addrs().map(Iterator::collect)
}

impl<S> LookUps<S> {
    pub(crate) fn new(waker: Arc<Waker>) -> Self {
        let desk =
            Desk { questions: VecDeque::new(), answers: VecDeque::new(), helpers: 0, waker: Some(waker) };
        LookUps {
            asked: BTreeMap::new(),
            last: 0,
            resolver: Arc::new(ask_the_system),
            desk: Arc::new(Mutex::new(desk)),
        }
    }

    pub(crate) fn set_resolver(&mut self, resolver: Arc<Resolver>) {
        self.resolver = resolver;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    /// The names that are looked up for [`Cx::resolve`].
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &str> {
        let calls = self.asked.values().filter(|asked| matches!(asked.asker, Asker::Call(_)));
        calls.map(|asked| &*asked.host)
    }

    fn note(&mut self, host: Arc<str>, asker: Asker<S>) -> Ticket {
        self.last += 1;
        let ticket = Ticket(self.last);
        self.asked.insert(ticket, Asked { host, asker, timer: None });
        ticket
    }

    /// Has a question answered, by one helper more if there may be one more.
    fn ask(&mut self, ticket: Ticket, host: Arc<str>, port: u16, most_helpers: usize) {
        let resolver = Arc::clone(&self.resolver);
        let mut desk = lock(&self.desk);
        desk.questions.push_back(Question { ticket, host, port, resolver });
        if desk.helpers >= most_helpers {
            return;
        }
        let theirs = Arc::clone(&self.desk);
        match thread::Builder::new().name("enjamb-resolve".into()).spawn(move || help(&theirs)) {
            Ok(_) => desk.helpers += 1,
            Err(_) if desk.helpers > 0 => {} // they will come to it
            Err(error) => {
                desk.questions.pop_back();
                desk.answers.push_back((ticket, Err(error)));
                desk.waker.as_deref().map(wake);
            }
        }
    }

    /// Nobody wants the answer any more: a question that still waits will not be asked. Returns the timer of a simulation.
    fn cancel(&mut self, ticket: Ticket) -> Option<TimerKey> {
        lock(&self.desk).questions.retain(|question| question.ticket != ticket);
        self.asked.remove(&ticket)?.timer
    }

    /// How many answers are waiting to be taken.
    pub(crate) fn waiting(&self) -> usize {
        if self.is_empty() { 0 } else { lock(&self.desk).answers.len() }
    }

    fn next(&mut self) -> Option<(Ticket, Answer)> {
        lock(&self.desk).answers.pop_front()
    }
}

impl<S> Drop for LookUps<S> {
    fn drop(&mut self) {
        lock(&self.desk).waker = None; // its descriptor is not for a helper to keep that does not come back
    }
}

impl<S> Core<S> {
    /// Where every look-up begins.
    pub(crate) fn look_up(&mut self, host: &str, port: u16, asker: Asker<S>) -> Ticket {
        let host: Arc<str> = host.into();
        let ticket = self.look_ups.note(Arc::clone(&host), asker);
        match &self.driver {
            Driver::Mio(_) => self.look_ups.ask(ticket, host, port, self.config.resolver_threads),
            Driver::Sim(sim) => {
                let (takes, answer) = sim.look_up(&host, port);
                let answered = move |cx: &mut Cx<'_, S>| cx.core.answered(cx.state, ticket, answer);
                let due = self.clock.tick_after(takes);
                let timer = self.timers.insert(due, Alarm::Once(Box::new(answered)));
                if let Some(asked) = self.look_ups.asked.get_mut(&ticket) {
                    asked.timer = Some(timer);
                }
            }
        }
        ticket
    }

    pub(crate) fn cancel_look_up(&mut self, ticket: Ticket) {
        if let Some(timer) = self.look_ups.cancel(ticket) {
            self.timers.cancel(timer);
        }
    }

    /// Hands over the answers that have come: those that were there when it began, as handing over may ask anew.
    pub(crate) fn take_answers(&mut self, state: &mut S) {
        for _ in 0..self.look_ups.waiting() {
            if let Some((ticket, answer)) = self.look_ups.next() {
                self.answered(state, ticket, answer);
            }
        }
    }

    fn answered(&mut self, state: &mut S, ticket: Ticket, answer: Answer) {
        let Some(Asked { host, asker, .. }) = self.look_ups.asked.remove(&ticket) else { return };
        let answer = checked(host, answer);
        match asker {
            Asker::Connection(key) => self.resolved(key, answer),
            Asker::Call(call) => {
                call(&mut Cx { state, core: self }, answer);
                self.returned("a look-up", None);
            }
        }
    }
}

/// The answer, with an error that says what was asked; no address at all is one too.
fn checked(host: Arc<str>, answer: Answer) -> Answer {
    let none = || error::new(io::ErrorKind::NotFound, "it has no address");
    answer
        .and_then(|found| if found.is_empty() { Err(none()) } else { Ok(found) })
        .map_err(|error| while_doing(error::RESOLVING, &Peer::Name(host), error))
}

impl<S> Cx<'_, S> {
    /// Looks a name up, as the system does (files, DNS, whatever else it is told to ask), and calls `call` with all
    /// its addresses, in the order of preference that the system gives them: RFC 6724. It never waits: a helper thread
    /// does. To connect to a name, [`connect`](Self::connect) to it.
    ///
    /// There is no time limit but the system's own (resolv.conf(5)), and a look-up under way keeps
    /// [`run`](crate::Reactor::run) going. [`Config::resolver_threads`](crate::Config::resolver_threads) limits how many
    /// go on at the same time; [`Reactor::set_resolver`](crate::Reactor::set_resolver) asks somebody else.
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
