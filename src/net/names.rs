//! Look-ups of names: the askers, and what they ask for. Equal questions are asked once: an asker joins the look-up of the
//! same name and port if one waits or is under way. [`Helpers`] do the look-up itself, or a simulation does.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use crate::base::error::{self, while_doing};
use crate::base::peer::Peer;
use crate::base::wheel::TimerKey;
use crate::net::poll::Waker;
use crate::net::resolver::{Answer, Helpers, Resolver};

/// A host, and the port that its addresses are to have.
pub(crate) type Name = (Arc<str>, u16);

/// Names an asker. The look-up comes first, so that the askers of one look-up follow each other when sorted. Numbers are
/// never used again, so a late answer never reaches another asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket {
    pub(crate) look_up: u64,
    pub(crate) asker: u64,
}

/// The loop's side: the askers, and what they ask for.
pub(crate) struct LookUps<A> {
    /// In the order in which they asked, within a look-up: they are told in that order.
    pub(crate) askers: BTreeMap<Ticket, A>,
    /// Look-ups that wait or are under way. One that is under way stays when its last asker leaves, for others to join: a
    /// name that hangs, and is asked for again and again, takes one helper and not one each time.
    pub(crate) look_ups: BTreeMap<u64, LookUp>,
    /// Look-ups that another asker can join.
    pub(crate) open: HashMap<Name, u64>,
    /// Look-ups that have ended, with askers to be told.
    answered: VecDeque<Answered>,
    last: u64,
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) helpers: Helpers,
    /// Set while a question waits for a helper: fires when one hangs and can be replaced.
    pub(crate) timer: Option<TimerKey>,
}

pub(crate) struct LookUp {
    pub(crate) name: Name,
    pub(crate) state: State,
}

pub(crate) enum State {
    /// All helpers are busy.
    Waiting,
    UnderWay,
    /// A simulation answers when this fires.
    Simulated(TimerKey),
}

struct Answered {
    pub(crate) look_up: u64,
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

impl<A> LookUps<A> {
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

    /// The names that askers of one kind ask for.
    pub(crate) fn hosts(&self, is_kind: impl Fn(&A) -> bool) -> impl Iterator<Item = &str> {
        let asked = move |id| self.askers_of(id).any(|(_, asker)| is_kind(asker));
        let look_ups = self.look_ups.iter().filter(move |(id, _)| asked(**id));
        look_ups.map(|(_, look_up)| &*look_up.name.0)
    }

    pub(crate) fn askers_of(&self, look_up: u64) -> impl Iterator<Item = (&Ticket, &A)> {
        self.askers.range(Ticket { look_up, asker: 0 }..=Ticket { look_up, asker: u64::MAX })
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Whether the look-up waits for a helper.
    pub(crate) fn waits(&self, ticket: Ticket) -> bool {
        let look_up = self.look_ups.get(&ticket.look_up);
        matches!(look_up, Some(LookUp { state: State::Waiting, .. }))
    }

    /// Takes a look-up out, so that no asker joins it any more.
    pub(crate) fn remove(&mut self, id: u64) -> Option<LookUp> {
        let look_up = self.look_ups.remove(&id)?;
        if self.open.get(&look_up.name) == Some(&id) {
            self.open.remove(&look_up.name); // if it is another's, a new resolver has been asked since
        }
        Some(look_up)
    }

    /// Takes in an answer. One without an address is an error.
    pub(crate) fn answer(&mut self, id: u64, answer: Answer) {
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
    pub(crate) fn next_told(&mut self) -> Option<(A, Answer)> {
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
