//! The threads that look names up. The system's look-up, getaddrinfo(3), blocks on files and servers, for many seconds at
//! times, so the loop cannot do it. There are few helpers, and none when there is nothing to look up; questions beyond that
//! wait. A helper that hangs is replaced, so that a dead name does not hold up the others.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::net::poll::Waker;

pub(crate) type Answer = io::Result<Vec<SocketAddr>>;

/// Finds the addresses of a host, for a port.
pub(crate) type Resolver = dyn Fn(&str, u16) -> Answer + Send + Sync;

/// A look-up that takes this long hangs. Most take milliseconds. If a server does not answer, the resolver asks again after
/// 5 s (resolv.conf(5), `timeout`), and other names should not wait for that.
const HANGS: Duration = Duration::from_secs(1);

/// How many look-ups that hang do not count against [`Config::resolver_threads`](crate::Config::resolver_threads). Each
/// holds a thread, so there is a limit; it is far above the dead names that a program uses at the same time.
const MOST_HANGING: usize = 64;

#[derive(Clone)]
pub(crate) struct Question {
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
    pub(crate) resolver: Arc<Resolver>,
}

impl Question {
    fn answer(&self) -> Answer {
        // A panic that ended the helper would leave the askers without an answer.
        catch_unwind(AssertUnwindSafe(|| (self.resolver)(&self.host, self.port)))
            .unwrap_or_else(|_| Err(io::Error::other("the resolver panicked")))
    }
}

/// What a helper tells the loop about a question, which is given by its number.
pub(crate) enum Notice {
    /// The question had to wait, and a helper has begun with it.
    Begun(u64),
    Answered(u64, Answer),
}

/// The loop's end of what it shares with its helpers.
pub(crate) struct Helpers(Arc<Mutex<Desk>>);

struct Desk {
    /// Questions that no helper has begun with, in the order in which they were asked. A map, so that taking one back
    /// does not go through all the others.
    waiting: BTreeMap<u64, Question>,
    /// The question of each helper, with the time at which it began.
    under_way: BTreeMap<u64, Instant>,
    notices: VecDeque<Notice>,
    /// How many helpers there may be, apart from those that hang.
    most: usize,
    /// `None` when the reactor has been dropped: then answers are thrown away, and no more questions are taken.
    waker: Option<Arc<Waker>>,
}

impl Desk {
    /// Whether another helper may begin.
    fn has_room(&self, now: Instant) -> bool {
        let hangs = |since: &&Instant| now.saturating_duration_since(**since) >= HANGS;
        let hanging = self.under_way.values().filter(hangs).count();
        self.under_way.len() - hanging.min(MOST_HANGING) < self.most
    }

    /// How long it is until another helper hangs, and leaves room for a new one; `None` if no question waits. If there is
    /// room, but the last helper could not be started, it is tried again after as long as one takes to hang.
    fn until_room(&self, now: Instant) -> Option<Duration> {
        if self.waiting.is_empty() {
            return None;
        }
        let left = |since: &Instant| HANGS.checked_sub(now.saturating_duration_since(*since));
        let hangs = self.under_way.values().filter_map(left).min();
        hangs.or_else(|| self.has_room(now).then_some(HANGS))
    }

    /// Moves the question that has waited longest to those under way, if there is room.
    fn begin(&mut self) -> Option<(u64, Question)> {
        let now = Instant::now();
        if self.waiting.is_empty() || !self.has_room(now) {
            return None;
        }
        let (id, question) = self.waiting.pop_first()?;
        self.under_way.insert(id, now);
        Some((id, question))
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

/// Answers a question, then others that wait, until there is none.
fn help(desk: &Mutex<Desk>, mut id: u64, mut question: Question) {
    loop {
        let answer = question.answer();
        let mut held = lock(desk);
        held.under_way.remove(&id);
        let Some(waker) = held.waker.clone() else { return };
        held.notices.push_back(Notice::Answered(id, answer));
        let next = held.begin();
        if let Some((id, _)) = next {
            held.notices.push_back(Notice::Begun(id));
        }
        drop(held);
        wake(&waker);
        let Some(next) = next else { return };
        (id, question) = next;
    }
}

impl Helpers {
    pub(crate) fn new(waker: Arc<Waker>, most: usize) -> Self {
        Helpers(Arc::new(Mutex::new(Desk {
            waiting: BTreeMap::new(),
            under_way: BTreeMap::new(),
            notices: VecDeque::new(),
            most,
            waker: Some(waker),
        })))
    }

    /// Has a question wait for a helper. The questions' numbers must grow: the smallest is the next.
    pub(crate) fn ask(&self, id: u64, question: Question) {
        lock(&self.0).waiting.insert(id, question);
    }

    /// Starts a helper with the question that has waited longest, if there is room for one, and returns which it was.
    pub(crate) fn begin(&self) -> Option<u64> {
        let mut desk = lock(&self.0);
        let (id, question) = desk.begin()?;
        let (theirs, same) = (Arc::clone(&self.0), question.clone());
        let helper = thread::Builder::new().name("enjamb-resolve".into());
        if let Err(error) = helper.spawn(move || help(&theirs, id, question)) {
            desk.under_way.remove(&id);
            if !desk.under_way.is_empty() {
                desk.waiting.insert(id, same); // another helper will take it when it has finished
                return None;
            }
            desk.notices.push_back(Notice::Answered(id, Err(error)));
            desk.waker.as_deref().map(wake);
        }
        Some(id)
    }

    /// Takes a question back; `false` if a helper has begun with it.
    pub(crate) fn forget(&self, id: u64) -> bool {
        lock(&self.0).waiting.remove(&id).is_some()
    }

    /// How long it is until another helper may begin; `None` if no question waits.
    pub(crate) fn until_room(&self) -> Option<Duration> {
        lock(&self.0).until_room(Instant::now())
    }

    pub(crate) fn has_notices(&self) -> bool {
        !lock(&self.0).notices.is_empty()
    }

    pub(crate) fn take_notices(&self) -> VecDeque<Notice> {
        std::mem::take(&mut lock(&self.0).notices)
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        let mut desk = lock(&self.0);
        // A helper that never returns must keep neither the waker's descriptor nor the questions.
        desk.waker = None;
        desk.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A desk with so many look-ups that hang, and so many others under way, and the time at which this is so.
    fn desk(most: usize, hanging: u64, others: u64) -> (Desk, Instant) {
        let since = Instant::now();
        let now = since + HANGS;
        let under_way = (0..hanging).map(|id| (id, since)).chain((0..others).map(|id| (hanging + id, now)));
        let under_way = under_way.collect();
        let waiting = BTreeMap::new();
        (Desk { waiting, under_way, notices: VecDeque::new(), most, waker: None }, now)
    }

    #[test]
    fn a_question_that_waits_is_tried_again_also_if_all_others_hang() {
        let (limit, moment) = (MOST_HANGING as u64, Duration::from_millis(1));
        for (hanging, others, until_room) in [
            (1, 0, Some(HANGS)), // there is room, but no helper could be started
            (1, 1, Some(HANGS - moment)),
            (limit + 1, 0, None), // no room before one of them ends
        ] {
            let (mut desk, now) = desk(1, hanging, others);
            assert_eq!(desk.until_room(now + moment), None, "nothing waits");
            let resolver: Arc<Resolver> = Arc::new(|_, _| Ok(Vec::new()));
            desk.waiting.insert(u64::MAX, Question { host: "waits".into(), port: 1, resolver });
            assert_eq!(desk.until_room(now + moment), until_room, "{hanging} hang, {others} others");
        }
    }

    #[test]
    fn what_hangs_does_not_count_up_to_its_own_limit() {
        let limit = MOST_HANGING as u64;
        for (hanging, others, room) in [
            (0, 3, true),
            (0, 4, false),
            (4, 0, true),
            (4, 3, true),
            (4, 4, false),
            (limit, 3, true),
            (limit, 4, false),
            (limit + 1, 2, true),
            (limit + 1, 3, false),
            (limit + 4, 0, false),
        ] {
            let (desk, now) = desk(4, hanging, others);
            assert_eq!(desk.has_room(now), room, "{hanging} hang, {others} others");
        }
    }

    #[test]
    fn a_look_up_hangs_after_its_time_and_not_before() {
        let (desk, now) = desk(1, 1, 0);
        assert!(desk.has_room(now));
        assert!(!desk.has_room(now - Duration::from_nanos(1)));
    }
}
