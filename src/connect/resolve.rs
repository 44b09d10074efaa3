//! Looking names up, off the loop, and telling the askers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::Cx;
use crate::net::names::{LookUp, Name, State, Ticket};
use crate::net::poll::Poller;
use crate::net::resolver::{Notice, Question};
use crate::reactor::core::Core;
use crate::reactor::posted::Asker;
use crate::reactor::timers::Task;

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
                State::Simulated(self.timers.insert(due, Task::Once(Box::new(answered))))
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

    /// Keeps the timer that replaces a helper that hangs, or tries again to start one. It is set only while a question waits.
    fn watch_helpers(&mut self) {
        match (self.look_ups.helpers.until_room(), self.look_ups.timer) {
            (Some(left), None) => {
                let begin = |cx: &mut Cx<'_, S>| {
                    cx.core.look_ups.timer = None;
                    cx.core.begin_waiting_look_ups();
                };
                let due = self.clock.fresh_tick_after(left);
                self.look_ups.timer = Some(self.timers.insert(due, Task::Once(Box::new(begin))));
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
