//! Echo on calloop: a level-triggered source for each connection, one buffer for all. While a connection has output
//! left, it waits for room instead of input; so its source is a custom one around the library's. With `idle-timeout`, a
//! connection's timer checks at its expiry how long the connection was idle: the library's own way to move a timer
//! scans all timers.

use calloop::generic::Generic;
use calloop::timer::{TimeoutAction, Timer};
use calloop::{
    EventLoop, EventSource, InsertError, Interest, LoopHandle, Mode, Poll, PostAction, Readiness,
    RegistrationToken, Token, TokenFactory,
};
use enjamb_benches::{IDLE_TIMEOUT, READ_BUFFER};
use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Instant;

struct Client {
    socket: Generic<TcpStream>,
    /// The bytes that the kernel did not accept.
    rest: Vec<u8>,
    buffer: Rc<RefCell<Vec<u8>>>,
    /// The time of the last message, for an idle timeout.
    last: Option<Rc<Cell<Instant>>>,
}

impl EventSource for Client {
    type Event = ();
    type Metadata = ();
    type Ret = ();
    type Error = io::Error;

    fn process_events<F>(&mut self, readiness: Readiness, token: Token, _: F) -> io::Result<PostAction>
    where
        F: FnMut((), &mut ()),
    {
        let (rest, buffer) = (&mut self.rest, &self.buffer);
        if let Some(last) = &self.last {
            last.set(Instant::now());
        }
        let action = self.socket.process_events(readiness, token, |_, socket| {
            let mut socket: &TcpStream = socket;
            // An error ends the connection, not the loop.
            Ok(echo(&mut socket, rest, &mut buffer.borrow_mut()).unwrap_or(PostAction::Remove))
        })?;
        let waits_for_room = !self.rest.is_empty();
        if action != PostAction::Continue || waits_for_room == self.socket.interest.writable {
            return Ok(action);
        }
        self.socket.interest = if waits_for_room { Interest::WRITE } else { Interest::READ };
        Ok(PostAction::Reregister)
    }

    fn register(&mut self, poll: &mut Poll, factory: &mut TokenFactory) -> calloop::Result<()> {
        self.socket.register(poll, factory)
    }

    fn reregister(&mut self, poll: &mut Poll, factory: &mut TokenFactory) -> calloop::Result<()> {
        self.socket.reregister(poll, factory)
    }

    fn unregister(&mut self, poll: &mut Poll) -> calloop::Result<()> {
        self.socket.unregister(poll)
    }
}

fn echo(socket: &mut &TcpStream, rest: &mut Vec<u8>, buffer: &mut [u8]) -> io::Result<PostAction> {
    if !rest.is_empty() {
        let sent = send(socket, rest)?;
        rest.drain(..sent);
        return Ok(PostAction::Continue);
    }
    *rest = Vec::new();
    let n = match socket.read(buffer) {
        Ok(0) => return Ok(PostAction::Remove),
        Ok(n) => n,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(PostAction::Continue),
        Err(error) => return Err(error),
    };
    let sent = send(socket, &buffer[..n])?;
    rest.extend_from_slice(&buffer[sent..n]);
    Ok(PostAction::Continue)
}

fn send(socket: &mut &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match socket.write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        sent => sent,
    }
}

/// Accepts one connection. A level-triggered listener reports again if there are more.
fn accept(
    listener: &TcpListener,
    handle: &LoopHandle<'static, ()>,
    buffer: &Rc<RefCell<Vec<u8>>>,
    idle_timeout: bool,
) -> io::Result<PostAction> {
    let socket = match listener.accept() {
        Ok((socket, _)) => socket,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(PostAction::Continue),
        Err(error) => return Err(error),
    };
    socket.set_nonblocking(true)?;
    let socket = Generic::new(socket, Interest::READ, Mode::Level);
    let last = idle_timeout.then(|| Rc::new(Cell::new(Instant::now())));
    let client = Client { socket, rest: Vec::new(), buffer: Rc::clone(buffer), last: last.clone() };
    let client = handle.insert_source(client, |_, _, _| {}).map_err(|error| io::Error::from(error.error))?;
    if let Some(last) = last {
        end_when_idle(handle, client, last).map_err(|error| io::Error::from(error.error))?;
    }
    Ok(PostAction::Continue)
}

fn end_when_idle(
    handle: &LoopHandle<'static, ()>,
    client: RegistrationToken,
    last: Rc<Cell<Instant>>,
) -> Result<RegistrationToken, InsertError<Timer>> {
    let own_handle = handle.clone();
    handle.insert_source(Timer::from_duration(IDLE_TIMEOUT), move |_, (), ()| {
        let due = last.get() + IDLE_TIMEOUT;
        if Rc::strong_count(&last) == 1 {
            return TimeoutAction::Drop; // the client has gone
        }
        if due > Instant::now() {
            return TimeoutAction::ToInstant(due);
        }
        own_handle.remove(client);
        TimeoutAction::Drop
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    enjamb_benches::expect_echo()?;
    let mut event_loop: EventLoop<'static, ()> = EventLoop::try_new()?;
    let (handle, own_handle) = (event_loop.handle(), event_loop.handle());
    let buffer = Rc::new(RefCell::new(vec![0; READ_BUFFER]));
    let listener = enjamb_benches::listener()?;
    let address = listener.local_addr()?;
    let source = Generic::new(listener, Interest::READ, Mode::Level);
    let timed = enjamb_benches::timed();
    let idle_timeout = timed.idle_timeout;
    handle
        .insert_source(source, move |_, listener, ()| accept(listener, &own_handle, &buffer, idle_timeout))
        .map_err(|error| error.error)?;
    for delay in timed.delays() {
        let far_off = |_, (): &mut (), (): &mut ()| TimeoutAction::Drop;
        handle.insert_source(Timer::from_duration(delay), far_off).map_err(|error| error.error)?;
    }
    enjamb_benches::announce(address)?;
    event_loop.run(None, &mut (), |()| {})?;
    Ok(())
}
