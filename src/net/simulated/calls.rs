//! The system calls on a simulated socket. Each has the kernel's name and the results of Linux: tcp(7).

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::net::simulated::address::{in_family, reached};
use crate::net::simulated::event::Event;
use crate::net::simulated::network::{Listening, Network, SocketId};
use crate::net::simulated::record::What;

impl Network {
    pub(crate) fn connect(&mut self, addr: SocketAddr) -> io::Result<SocketId> {
        self.out_of_descriptors()?;
        let server = reached(addr);
        let wire = self.wire(server);
        if self.random.chance(wire.link.unreachable) {
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        let unanswered = self.random.chance(wire.link.silent);
        let local = self.client_addr(server).ok_or(io::ErrorKind::AddrNotAvailable)?;
        let arrives = self.arrival(&wire.link);
        let id = self.insert(in_family(local, addr), in_family(server, addr), wire);
        let endpoint = self.end(id)?;
        (endpoint.open, endpoint.connecting, endpoint.unanswered) = (true, true, unanswered);
        self.schedule(arrives, Event::Syn { client: id, tries: 0 });
        self.note(id, What::Connect(addr));
        Ok(id)
    }

    /// Whether a connect has completed, and how. `None` while it is in progress.
    pub(crate) fn connected(&mut self, id: SocketId) -> Option<io::Result<()>> {
        let endpoint = self.ends.get_mut(&id)?;
        if endpoint.connecting || endpoint.is_over() {
            return endpoint.error.take().map(|kind| Err(kind.into()));
        }
        Some(Ok(()))
    }

    /// Whether a read would return bytes.
    pub(crate) fn has_unread(&self, id: SocketId) -> bool {
        self.ends.get(&id).is_some_and(|endpoint| endpoint.incoming.has_bytes())
    }

    pub(crate) fn take_error(&mut self, id: SocketId) -> Option<io::Error> {
        self.ends.get_mut(&id)?.error.take().map(io::Error::from)
    }

    pub(crate) fn listen(&mut self, mut addr: SocketAddr, backlog: u32) -> io::Result<SocketId> {
        self.out_of_descriptors()?;
        if addr.port() == 0 {
            addr.set_port(self.listener_port(addr).ok_or(io::ErrorKind::AddrInUse)?);
        }
        if self.is_taken(addr) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let id = self.next_id();
        let listening = Listening {
            addr,
            backlog: backlog as usize,
            waiting: VecDeque::new(),
            half_open: 0,
            token: None,
            listed: false,
        };
        self.listeners.insert(id, listening);
        self.note(id, What::Listen(addr));
        Ok(id)
    }

    pub(crate) fn accept(&mut self, id: SocketId) -> io::Result<(SocketId, SocketAddr)> {
        let listening = self.listeners.get(&id).ok_or(io::ErrorKind::NotConnected)?;
        if listening.waiting.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.out_of_descriptors()?;
        let waiting = self.listeners.get_mut(&id).and_then(|listening| listening.waiting.pop_front());
        let accepted = waiting.ok_or(io::ErrorKind::WouldBlock)?;
        let aborted = self.end(accepted)?.wire.link.aborted;
        if self.random.chance(aborted) {
            self.break_off(accepted);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.note(accepted, What::Accept);
        let endpoint = self.end(accepted)?;
        endpoint.open = true;
        Ok((accepted, endpoint.remote))
    }

    pub(crate) fn read(&mut self, id: SocketId, buffer: &mut [u8]) -> io::Result<usize> {
        let endpoint = self.end(id)?;
        let n = endpoint.incoming.read(buffer);
        if n > 0 {
            let (peer, wire) = (endpoint.peer, Rc::clone(&endpoint.wire));
            self.note(id, What::Read(n));
            if let Some(writer) = peer
                && self.ends.get(&writer).is_some_and(|writer| writer.wants_room)
            {
                let at = self.arrival(&wire.link); // the acknowledgement takes time too
                self.schedule(at, Event::Room(writer));
            }
            return Ok(n);
        }
        // After the end, every read returns the end.
        if endpoint.incoming.is_at_end() {
            return Ok(0);
        }
        if let Some(kind) = endpoint.error.take() {
            return Err(kind.into());
        }
        if endpoint.reset { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    pub(crate) fn write(&mut self, id: SocketId, bytes: &[u8]) -> io::Result<usize> {
        let now = self.now;
        let endpoint = self.end(id)?;
        if let Some(kind) = endpoint.error.take() {
            return Err(kind.into());
        }
        if endpoint.reset || endpoint.finished {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let wire = Rc::clone(&endpoint.wire);
        let held_back = endpoint.connecting || endpoint.squeezed_until > now;
        let room = if held_back { 0 } else { self.ends.get(&id).map_or(0, |endpoint| self.room(endpoint)) };
        let mut n = bytes.len().min(room);
        if n > 1 && self.random.chance(wire.link.partial_write) {
            n = self.random.within(1..=n as u64 - 1) as usize;
            let until = self.arrival(&wire.link) + Duration::from_micros(1);
            self.end(id)?.squeezed_until = until;
            self.schedule(until, Event::Room(id));
        }
        self.end(id)?.wants_room |= n < bytes.len();
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.note(id, What::Write(n));
        self.transmit(id, &bytes[..n], &wire);
        Ok(n)
    }

    pub(crate) fn finish(&mut self, id: SocketId) -> io::Result<()> {
        let endpoint = self.end(id)?;
        if endpoint.connecting || endpoint.is_over() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if !std::mem::replace(&mut endpoint.finished, true) {
            self.note(id, What::Finish);
            self.send_end(id);
        }
        Ok(())
    }

    /// SO_LINGER with a timeout of zero.
    pub(crate) fn reset_on_close(&mut self, id: SocketId) {
        if let Some(endpoint) = self.ends.get_mut(&id) {
            endpoint.reset_on_close = true;
        }
    }

    pub(crate) fn close(&mut self, id: SocketId) {
        if let Some(listening) = self.listeners.remove(&id) {
            self.note(id, What::Close);
            listening.waiting.into_iter().for_each(|waiting| self.break_off(waiting));
            return;
        }
        if !self.ends.contains_key(&id) {
            return;
        }
        self.note(id, What::Close);
        let Some(endpoint) = self.ends.get(&id) else { return };
        // A close with unread input sends a reset, which destroys the output that the peer has not read: RFC 9293,
        // section 3.10.4.
        if endpoint.reset_on_close || endpoint.incoming.has_bytes() {
            return self.break_off(id);
        }
        let orderly = !endpoint.finished && !endpoint.reset && !endpoint.connecting;
        let (peer, wire) = (endpoint.peer, Rc::clone(&endpoint.wire));
        let under_way = endpoint.incoming.next().filter(|_| endpoint.incoming.is_flying());
        if orderly {
            self.send_end(id);
        }
        if let (Some(peer), Some(at)) = (peer, under_way) {
            self.send_reset(peer, at.max(self.now), &wire); // data that arrives at a closed socket triggers a reset
        }
        self.remove(id);
    }

    pub(crate) fn addr_of(&self, id: SocketId) -> Option<SocketAddr> {
        let endpoint = self.ends.get(&id).map(|endpoint| endpoint.local);
        endpoint.or_else(|| self.listeners.get(&id).map(|listening| listening.addr))
    }

    pub(crate) fn peer_of(&self, id: SocketId) -> Option<SocketAddr> {
        self.ends.get(&id).map(|endpoint| endpoint.remote)
    }

    /// EMFILE if the limit is reached.
    fn out_of_descriptors(&self) -> io::Result<()> {
        let most = self.descriptors;
        if most == usize::MAX
            || self.ends.values().filter(|end| end.open).count() + self.listeners.len() < most
        {
            return Ok(());
        }
        let message = format!("too many open sockets: the simulation allows {most}");
        Err(crate::base::error::new(io::ErrorKind::Other, message))
    }
}
