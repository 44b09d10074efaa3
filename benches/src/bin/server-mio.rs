//! Echo on mio by hand: edge-triggered, registered once, one buffer for all connections. A connection keeps output only
//! when the kernel does not accept all of it.

use enjamb_benches::READ_BUFFER;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use std::io::{self, ErrorKind, Read, Write};

const LISTENER: Token = Token(usize::MAX);

struct Client {
    socket: TcpStream,
    /// The bytes that the kernel did not accept. While there are any, nothing is read.
    rest: Vec<u8>,
}

/// Whether to keep a client.
#[derive(PartialEq, Eq)]
enum Then {
    Keep,
    Close,
}

impl Client {
    fn ready(&mut self, buffer: &mut [u8], read_closed: bool) -> Then {
        self.go_on(buffer, read_closed).unwrap_or(Then::Close)
    }

    fn go_on(&mut self, buffer: &mut [u8], read_closed: bool) -> io::Result<Then> {
        if !self.rest.is_empty() {
            let sent = send(&mut self.socket, &self.rest)?;
            self.rest.drain(..sent);
            if self.rest.is_empty() {
                self.rest = Vec::new();
            }
        }
        while self.rest.is_empty() {
            let n = match self.socket.read(buffer) {
                Ok(0) => return Ok(Then::Close),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            let sent = send(&mut self.socket, &buffer[..n])?;
            if sent < n {
                self.rest.extend_from_slice(&buffer[sent..n]);
            } else if n < buffer.len() && !read_closed {
                break; // a short read has emptied the socket
            }
        }
        Ok(Then::Keep)
    }
}

/// Sends as much as the kernel accepts now.
fn send(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match socket.write(&bytes[sent..]) {
            Ok(n) => sent += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

fn accept_all(poll: &Poll, listener: &TcpListener, clients: &mut Slab<Client>) -> io::Result<()> {
    loop {
        let mut socket = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let entry = clients.vacant_entry();
        poll.registry().register(&mut socket, Token(entry.key()), Interest::READABLE | Interest::WRITABLE)?;
        entry.insert(Client { socket, rest: Vec::new() });
    }
}

fn main() -> io::Result<()> {
    enjamb_benches::expect_echo()?;
    let mut listener = TcpListener::from_std(enjamb_benches::listener()?);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    enjamb_benches::announce(listener.local_addr()?)?;
    let mut events = Events::with_capacity(1024);
    let mut clients = Slab::new();
    let mut buffer = vec![0; READ_BUFFER];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            if event.token() == LISTENER {
                accept_all(&poll, &listener, &mut clients)?;
            } else if let Some(client) = clients.get_mut(event.token().0) {
                let something = event.is_readable() || !client.rest.is_empty();
                if something && client.ready(&mut buffer, event.is_read_closed()) == Then::Close {
                    clients.remove(event.token().0);
                }
            }
        }
    }
}
