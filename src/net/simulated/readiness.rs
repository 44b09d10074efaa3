//! Readiness: edge-triggered, and reported as the state at the time of the wait, as in epoll(7).

use mio::Token;

use crate::base::readiness::Readiness;
use crate::net::simulated::network::{Endpoint, Network, SocketId};
use crate::net::simulated::record::What;

impl Network {
    pub(crate) fn register(&mut self, id: SocketId, token: Token) {
        if let Some(endpoint) = self.ends.get_mut(&id) {
            endpoint.token = Some(token);
        } else if let Some(listening) = self.listeners.get_mut(&id) {
            listening.token = Some(token);
        }
        self.wake(id);
    }

    pub(crate) fn deregister(&mut self, id: SocketId) {
        if let Some(endpoint) = self.ends.get_mut(&id) {
            endpoint.token = None;
        }
    }

    /// Makes the next wait check a socket, since its state has changed.
    pub(crate) fn wake(&mut self, id: SocketId) {
        let listed = match (self.ends.get_mut(&id), self.listeners.get_mut(&id)) {
            (Some(endpoint), _) => &mut endpoint.listed,
            (None, Some(listening)) => &mut listening.listed,
            (None, None) => return,
        };
        if !std::mem::replace(listed, true) {
            self.ready.push(id);
        }
    }

    /// Reports room to a socket that was full. Like Linux, it does so only when a third of the buffer is free, not for
    /// every byte.
    pub(crate) fn wake_writer(&mut self, id: SocketId) {
        if self.ends.get(&id).is_some_and(|endpoint| endpoint.wants_room && self.takes_more(endpoint))
            && let Some(endpoint) = self.ends.get_mut(&id)
        {
            endpoint.wants_room = false;
            self.wake(id);
        }
    }

    /// Reports ready sockets, up to `most` events.
    pub(crate) fn report(&mut self, most: usize, ready: &mut Vec<(Token, Readiness)>) {
        let mut woken = std::mem::take(&mut self.ready);
        if self.polling.shuffled {
            self.random.shuffle(&mut woken);
        }
        let mut woken = woken.into_iter();
        while ready.len() < most
            && let Some(id) = woken.next()
        {
            let Some((token, state)) = self.look_at(id).filter(|(_, state)| *state != Readiness::NONE) else {
                continue;
            };
            let both = state.is_readable() && state.is_writable() && most - ready.len() >= 2;
            let events = if both && self.random.chance(self.polling.split) {
                let writable = Readiness::when(false, true, false);
                vec![writable, state.without(writable)]
            } else {
                vec![state]
            };
            for event in events {
                self.note(id, What::Ready(event.bits()));
                ready.push((token, event));
            }
        }
        self.ready.extend(woken);
        if ready.len() < most && self.random.chance(self.polling.spurious) {
            self.report_nothing(ready);
        }
    }

    /// Reports a random source as ready, whatever its state.
    fn report_nothing(&mut self, ready: &mut Vec<(Token, Readiness)>) {
        let from = self.random.within(1..=u64::from(self.last_id.max(1))) as SocketId;
        let end = self.ends.range(from..).find_map(|(id, end)| Some((*id, end.token?)));
        let listener = self.listeners.range(from..).find_map(|(id, listening)| Some((*id, listening.token?)));
        if let Some((id, token)) = end.into_iter().chain(listener).min_by_key(|(id, _)| *id) {
            self.record.add(self.now, id, What::Spurious); // no progress
            ready.push((token, Readiness::when(true, true, false)));
        }
    }

    /// The token and the readiness of a socket that was woken.
    fn look_at(&mut self, id: SocketId) -> Option<(Token, Readiness)> {
        if let Some(listening) = self.listeners.get_mut(&id) {
            listening.listed = false;
            return Some((listening.token?, Readiness::when(!listening.waiting.is_empty(), false, false)));
        }
        self.ends.get_mut(&id)?.listed = false;
        let endpoint = self.ends.get(&id)?;
        let failed = endpoint.reset || endpoint.error.is_some();
        let over = failed || endpoint.incoming.is_at_end();
        let writable = failed || endpoint.finished || self.takes_more(endpoint);
        let mut state = Readiness::when(over || endpoint.incoming.has_bytes(), writable, over);
        // EPOLLHUP. Linux also reports it when both directions have ended: tcp_poll.
        if failed || endpoint.finished && endpoint.incoming.has_ended() {
            state.add(Readiness::hung_up());
        }
        let told = (endpoint.token?, state);
        if !writable {
            self.ends.get_mut(&id)?.wants_room = true; // a failed check for room requests an event, as in tcp_poll
        }
        Some(told)
    }

    fn takes_more(&self, endpoint: &Endpoint) -> bool {
        let enough = endpoint.wire.link.buffer.div_ceil(3);
        !endpoint.connecting && endpoint.squeezed_until <= self.now && self.room(endpoint) >= enough
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_small_write_that_succeeds_does_not_take_back_that_room_is_waited_for() {
        let mut network = Network::new(1);
        let (writer, reader) = network.pair(([10, 0, 0, 1], 1).into(), ([10, 0, 0, 2], 2).into());
        network.register(writer, Token(1));
        let (mut ready, mut buffer) = (Vec::new(), vec![0; 1 << 20]);
        let pass = |network: &mut Network, ready: &mut Vec<(Token, Readiness)>| {
            ready.clear();
            network.wait(Some(Duration::from_secs(1)), 10, ready).unwrap();
        };
        pass(&mut network, &mut ready);
        let taken = network.write(writer, &[0; 1 << 20]).unwrap();
        assert!(taken < 1 << 20, "the buffer is full");
        pass(&mut network, &mut ready);
        assert_eq!(network.read(reader, &mut buffer[..10]).unwrap(), 10);
        pass(&mut network, &mut ready);
        assert!(ready.is_empty(), "so little room is not told: {ready:?}");
        assert_eq!(network.write(writer, &[0; 5]).unwrap(), 5);
        assert_eq!(network.read(reader, &mut buffer).unwrap(), taken - 10);
        pass(&mut network, &mut ready);
        assert!(matches!(ready[..], [(Token(1), told)] if told.is_writable()), "{ready:?}");
        pass(&mut network, &mut ready);
        assert_eq!(network.read(reader, &mut buffer).unwrap(), 5);
        pass(&mut network, &mut ready);
        assert!(ready.is_empty(), "it is told once: {ready:?}");
    }
}
