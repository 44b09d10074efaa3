//! Compares the simulated calls with the kernel's. The same sequences of calls, on a listener and both ends of a
//! connection, run over loopback and in the simulation. They must give the same results, the same readiness, and the
//! same edge-triggered events.
//!
//! The kernel takes a moment until a call affects another socket. So after each call, the test waits until the kernel's
//! sockets reach the state of the simulated ones.

use std::cell::RefMut;
use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Token};

use crate::base::readiness::Readiness;
use crate::net::listening::ListeningSocket;
use crate::net::plain::Plain;
use crate::net::poll::{Batch, Poller};
use crate::net::simulated::random::Random;
use crate::net::simulated::{Network, Simulation, SocketId};
use crate::net::socket::Socket;

/// The time after which the kernel will not act any more.
const HANGS: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Call {
    /// Checks whether a connect has completed.
    Connected,
    Write,
    Read,
    Finish,
    TakeError,
    Close,
    Reset,
}

use Call::{Close, Connected, Finish, Read, Reset, TakeError, Write};

const CALLS: [Call; 7] = [Connected, Write, Read, Finish, TakeError, Close, Reset];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    Accept,
    CloseListener,
    Client(Call),
    Server(Call),
}

use Step::{Accept, Client, CloseListener, Server};

/// The state of a newly registered socket.
#[derive(Debug, PartialEq)]
struct State {
    ready: Readiness,
    /// An error is pending.
    failed: bool,
}

/// A socket with its id in the simulation. A kernel socket does not use the id.
type Named<T> = Option<(T, SocketId)>;

const LISTENER: Token = Token(0);
const CLIENT: Token = Token(1);
const SERVER: Token = Token(2);

/// The existing sockets of one driver.
struct Sockets {
    poll: Poller,
    batch: Batch,
    /// Earlier clients.
    others: Vec<Named<Socket>>,
    listener: Named<ListeningSocket>,
    client: Named<Socket>,
    server: Named<Socket>,
    /// The ids in the simulation of the client and, once accepted, of the server's socket.
    names: [SocketId; 2],
}

impl Sockets {
    /// Creates a listener with a backlog of 0 and a client that connects to it after `before` other clients.
    fn new(poll: Poller, before: u32) -> Self {
        let (listener, client, server, names) = (None, None, None, [0; 2]);
        let (batch, others) = (Batch::new(8), Vec::new());
        let mut sockets = Sockets { poll, batch, others, listener, client, server, names };
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = ListeningSocket::bind(&sockets.poll, any, 0).unwrap();
        let addr = listener.local_addr().unwrap();
        sockets.register(LISTENER, listener_descriptor(&listener), sockets.last_id());
        sockets.listener = Some((listener, sockets.last_id()));
        for _ in 0..=before {
            let before = sockets.client.take();
            sockets.others.push(before);
            let client = Socket::from(Plain::connect(&sockets.poll, addr).unwrap());
            sockets.client = Some((client, sockets.last_id()));
            sockets.names = [sockets.last_id(), sockets.last_id() + 1];
            sockets.settle();
        }
        let client = sockets.client.as_ref().and_then(|(client, _)| descriptor(client));
        sockets.register(CLIENT, client, sockets.names[0]);
        sockets
    }

    /// Creates the same sockets in the kernel and in a simulation.
    fn both(others: u32) -> [Self; 2] {
        [Poller::new().unwrap(), Poller::Simulated(Simulation::new(0))].map(|poll| Sockets::new(poll, others))
    }

    fn last_id(&self) -> SocketId {
        if let Poller::Simulated(kernel) = &self.poll { kernel.network().last_id } else { 0 }
    }

    fn network(&self) -> RefMut<'_, Network> {
        match &self.poll {
            Poller::Simulated(kernel) => kernel.network(),
            Poller::Mio(_) => panic!("these are the kernel's sockets"),
        }
    }

    /// In a simulation, lets everything in flight arrive.
    fn settle(&self) {
        if let Poller::Simulated(kernel) = &self.poll {
            (0..10).for_each(|_| kernel.take_time(Duration::from_millis(1)));
        }
    }

    /// Performs a step. `None` if its socket does not exist.
    fn take(&mut self, step: Step) -> Option<Result<usize, ErrorKind>> {
        let result = match step {
            Accept => {
                let (socket, _) = match self.listener.as_ref()?.0.accept() {
                    Ok(accepted) => accepted,
                    Err(error) => return Some(Err(error.kind())),
                };
                let socket = Socket::from(socket);
                self.register(SERVER, descriptor(&socket), self.names[1]);
                self.server = Some((socket, self.names[1]));
                Ok(0)
            }
            CloseListener => {
                drop(self.listener.take()?);
                Ok(0)
            }
            Client(call) => Self::call(&mut self.client, call)?,
            Server(call) => Self::call(&mut self.server, call)?,
        };
        self.settle();
        Some(result.map_err(|error| error.kind()))
    }

    fn call(socket: &mut Named<Socket>, call: Call) -> Option<io::Result<usize>> {
        if let Close | Reset = call {
            let (socket, _) = socket.take()?;
            if call == Reset {
                socket.reset_on_close().ok();
            }
            socket.close();
            return Some(Ok(0));
        }
        let (socket, _) = socket.as_ref()?;
        Some(match call {
            Connected => socket.connected().map_or(Ok(1), |result| result.map(|()| 0)),
            Write => socket.write(b"abc"),
            Read => socket.read(&mut [0; 2]),
            Finish => socket.finish().map(|()| 0),
            _ => socket.take_error().map_or(Ok(0), Err),
        })
    }

    fn register(&self, who: Token, descriptor: Option<RawFd>, id: SocketId) {
        match (&self.poll, descriptor) {
            (Poller::Mio(poll), Some(descriptor)) => register(poll, who, descriptor),
            (Poller::Simulated(kernel), _) => kernel.network().register(id, who),
            (Poller::Mio(_), None) => {}
        }
    }

    /// The sockets with an event now.
    fn told(&mut self) -> BTreeSet<Token> {
        self.poll.wait(&mut self.batch, Some(Duration::ZERO)).unwrap();
        self.batch.iter().chain(self.batch.simulated().iter().copied()).map(|(who, _)| who).collect()
    }

    fn states(&self) -> [Option<State>; 3] {
        let state = |who, descriptor: Option<RawFd>, id| {
            descriptor.map_or_else(|| self.simulated(who, id), newly_registered)
        };
        [
            self.listener.as_ref().map(|(it, id)| state(LISTENER, listener_descriptor(it), *id)),
            self.client.as_ref().map(|(it, id)| state(CLIENT, descriptor(it), *id)),
            self.server.as_ref().map(|(it, id)| state(SERVER, descriptor(it), *id)),
        ]
    }

    fn simulated(&self, who: Token, id: SocketId) -> State {
        let (mut network, mut batch) = (self.network(), Vec::new());
        network.register(id, who);
        network.report(1, &mut batch);
        let ready = batch.first().map_or(Readiness::NONE, |(_, ready)| *ready);
        State { ready, failed: network.ends.get(&id).is_some_and(|end| end.error.is_some()) }
    }

    /// Whether this step writes, in a simulation, to a peer that has unread bytes already.
    fn writes_behind_others(&self, step: Step) -> bool {
        let [client, server] = self.names;
        let reader = match step {
            Client(Write) => Some(server),
            Server(Write) => Some(client),
            _ => None,
        };
        let network = self.network();
        reader.is_some_and(|id| network.ends.get(&id).is_some_and(|reader| reader.incoming.has_bytes()))
    }
}

fn descriptor(socket: &Socket) -> Option<RawFd> {
    socket.tcp().map(AsRawFd::as_raw_fd)
}

fn listener_descriptor(listener: &ListeningSocket) -> Option<RawFd> {
    match listener {
        ListeningSocket::Tcp(listener) => Some(listener.as_raw_fd()),
        _ => None,
    }
}

fn register(poll: &mio::Poll, who: Token, descriptor: RawFd) {
    let both = Interest::READABLE | Interest::WRITABLE;
    poll.registry().register(&mut SourceFd(&descriptor), who, both).unwrap();
}

fn newly_registered(descriptor: RawFd) -> State {
    let (mut poll, mut events) = (mio::Poll::new().unwrap(), mio::Events::with_capacity(1));
    register(&poll, CLIENT, descriptor);
    poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
    let none = State { ready: Readiness::NONE, failed: false };
    let event = events.iter().next();
    event.map_or(none, |event| State { ready: Readiness::of(event), failed: event.is_error() })
}

/// Waits until the kernel's sockets have the states of the simulated ones, and have reported the same events.
fn agree([kernel, sim]: &mut [Sockets; 2], so_far: &[Step]) {
    let start = Instant::now();
    let (told_by_sim, expected) = (sim.told(), sim.states());
    let mut told = BTreeSet::new();
    loop {
        let states = kernel.states();
        told.append(&mut kernel.told());
        if states == expected && told.is_superset(&told_by_sim) {
            break;
        }
        assert!(
            start.elapsed() < HANGS,
            "{so_far:?}: the kernel's are {states:#?}, not {expected:#?}; they tell of {told:?}, not {told_by_sim:?}"
        );
        std::thread::yield_now();
    }
    // Linux also tells a socket of its own shutdown(2) and of the acknowledgement, at some time; and that it is writable
    // when TCP_NOTSENT_LOWAT is set, which `connected` does.
    let called = |who, call| {
        so_far.contains(&Client(call)) && who == CLIENT || so_far.contains(&Server(call)) && who == SERVER
    };
    told.retain(|who| told_by_sim.contains(who) || !(called(*who, Finish) || called(*who, Connected)));
    assert_eq!(
        told, told_by_sim,
        "{so_far:?}: the kernel tells of the first, and the simulation of the second"
    );
}

/// Performs the steps in both. Panics if they differ.
fn same(mut both: [Sockets; 2], steps: &[Step]) {
    agree(&mut both, &[]);
    for (n, &step) in steps.iter().enumerate() {
        if both[1].writes_behind_others(step) {
            continue; // their arrival would not be visible
        }
        let [by_the_kernel, by_the_simulation] = both.each_mut().map(|sockets| sockets.take(step));
        let so_far = &steps[..=n];
        assert_eq!(by_the_kernel, by_the_simulation, "{so_far:?}: the kernel's, and the simulation's");
        agree(&mut both, so_far);
    }
}

fn any_steps(random: &mut Random, most: u64, step: impl Fn(&mut Random) -> Step) -> Vec<Step> {
    (0..random.within(1..=most)).map(|_| step(random)).collect()
}

fn any_call(random: &mut Random) -> Call {
    CALLS[random.within(0..=CALLS.len() as u64 - 1) as usize]
}

#[test]
fn calls_on_two_connected_ends_answer_as_the_kernels_do() {
    let mut random = Random::new(1);
    for _ in 0..400 {
        let steps = any_steps(&mut random, 12, |random| match random.chance(0.5) {
            true => Client(any_call(random)),
            false => Server(any_call(random)),
        });
        same(Sockets::both(0), &[&[Accept], &steps[..]].concat());
    }
}

#[test]
fn calls_before_and_after_a_connection_is_accepted_answer_as_the_kernels_do() {
    let mut random = Random::new(2);
    for _ in 0..400 {
        let before = any_steps(&mut random, 3, |random| Client(any_call(random)));
        let accept = if random.chance(0.2) { CloseListener } else { Accept };
        let after = any_steps(&mut random, 6, |random| match random.within(0..=9) {
            0 => Accept,
            1 => CloseListener,
            n if n % 2 == 0 => Client(any_call(random)),
            _ => Server(any_call(random)),
        });
        same(Sockets::both(0), &[&before[..], &[accept], &after].concat());
    }
}

#[test]
fn calls_on_a_client_that_nobody_answers_yet_answer_as_the_kernels_do() {
    let mut random = Random::new(3);
    for _ in 0..100 {
        let mut steps = any_steps(&mut random, 6, |random| Client(any_call(random)));
        steps.retain(|step| *step != Client(Finish)); // the loop finishes open connections only
        same(Sockets::both(1), &steps);
    }
}

#[test]
fn calls_on_a_client_that_was_refused_answer_as_the_kernels_do() {
    let mut random = Random::new(4);
    for _ in 0..100 {
        let mut both = Sockets::both(0);
        for sockets in &mut both {
            let nobody = sockets.listener.as_ref().unwrap().0.local_addr().unwrap();
            sockets.take(CloseListener);
            let client = Socket::from(Plain::connect(&sockets.poll, nobody).unwrap());
            sockets.register(CLIENT, descriptor(&client), sockets.last_id());
            sockets.client = Some((client, sockets.last_id()));
            sockets.settle();
        }
        let steps = any_steps(&mut random, 6, |random| Client(any_call(random)));
        same(both, &steps);
    }
}
