//! The process that serves the poems, slowly and by the clock. It is started anew for each run, so that its CPU time is
//! not the client's.

use super::common::poem::recite;
use super::options::ServerKind;
use super::output;
use super::plan::Plan;
use super::strategies::THREAD_STACK;
use super::timeline::{Micros, micros};
use enjamb::{Conn, Cx, End, Input, Protocol, Reactor};
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Prints an address for each port and an empty line, then serves until standard input ends. At the end it prints how
/// many microseconds the latest piece or close was behind its schedule.
pub fn run(plan: &Plan) -> io::Result<()> {
    let late = match plan.server {
        ServerKind::Threads => serve_in_threads(plan)?,
        ServerKind::Reactor => serve_in_reactor(plan)?,
    };
    output::print(&format!("{late}\n"))
}

fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn announce(addresses: &[SocketAddr]) -> io::Result<()> {
    let lines: String = addresses.iter().map(|address| format!("{address}\n")).collect();
    output::print(&(lines + "\n"))
}

/// The server of the tutorial: a thread for each port, which serves one client at a time.
fn serve_in_threads(plan: &Plan) -> io::Result<Micros> {
    let latest = Arc::new(AtomicU64::new(0));
    let mut addresses = Vec::new();
    for poem in 0..plan.ports() {
        let listener = TcpListener::bind(any_port())?;
        addresses.push(listener.local_addr()?);
        let (pieces, delay, latest) = (plan.poems.pieces(poem), plan.delay, Arc::clone(&latest));
        let serve = move || {
            for client in listener.incoming() {
                let served = client.and_then(|client| send_poem(&client, &pieces, delay, &latest));
                // If the client closed early, it reports the reason itself.
                if let Err(error) = served {
                    log::debug!("a poem was not given: {error}");
                }
            }
        };
        thread::Builder::new().stack_size(THREAD_STACK).spawn(serve)?;
    }
    announce(&addresses)?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(latest.load(Relaxed))
}

fn send_poem(client: &TcpStream, pieces: &[Vec<u8>], delay: Duration, latest: &AtomicU64) -> io::Result<()> {
    let begun = Instant::now();
    let mut due = Duration::ZERO;
    let mut note_lateness = || {
        latest.fetch_max(micros(begun.elapsed().saturating_sub(due)), Relaxed);
        due += delay;
    };
    // With Nagle's algorithm, a short piece may wait for the acknowledgement of the piece before it.
    client.set_nodelay(true)?;
    recite(client, pieces, delay, |_| note_lateness())?;
    note_lateness();
    Ok(())
}

/// One thread for thousands of poems: a state machine for each, which sends a piece at each deadline.
fn serve_in_reactor(plan: &Plan) -> io::Result<Micros> {
    let mut state = State { delay: plan.delay, latest: 0 };
    let mut reactor = Reactor::new()?;
    let mut cx = reactor.cx(&mut state);
    let mut addresses = Vec::new();
    for port in 0..plan.ports() {
        let of_port = (port..plan.poems.len()).step_by(plan.ports());
        let mut poems = of_port.map(|poem| plan.poems.pieces(poem)).collect::<Vec<_>>().into_iter();
        let mut listener = cx.listen(any_port(), move |cx, _client| {
            // A connection more than there are poems gets an empty one.
            Recital { pieces: poems.next().unwrap_or_default(), next: 0, begun: cx.now() }
        })?;
        addresses.push(listener.local_addr()?);
    }
    let parent = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    cx.adopt(parent, Parent)?;
    announce(&addresses)?;
    reactor.run(&mut state)?;
    Ok(state.latest)
}

/// What all connections share.
struct State {
    delay: Duration,
    latest: Micros,
}

/// One connection that receives a poem.
struct Recital {
    pieces: Vec<Vec<u8>>,
    next: usize,
    begun: Instant,
}

impl Protocol<State> for Recital {
    fn opened(&mut self, conn: &mut Conn<'_, State>) -> io::Result<()> {
        self.begun = conn.cx().now();
        self.go_on(conn);
        Ok(())
    }

    fn timed_out(&mut self, conn: &mut Conn<'_, State>) -> io::Result<()> {
        self.go_on(conn);
        Ok(())
    }

    fn received(&mut self, _conn: &mut Conn<'_, State>, input: &mut Input<'_>) -> io::Result<()> {
        input.take_all();
        Ok(())
    }
}

impl Recital {
    /// Sends the next piece, or closes after the last. Each deadline is counted from the beginning, so that delays do not
    /// add up.
    fn go_on(&mut self, conn: &mut Conn<'_, State>) {
        let (begun, delay) = (self.begun, conn.state().delay);
        let due = |pieces: usize| begun + delay * u32::try_from(pieces).unwrap_or(u32::MAX);
        let now = conn.cx().now();
        let late = micros(now.saturating_duration_since(due(self.next)));
        conn.state().latest = late.max(conn.state().latest);
        let Some(piece) = self.pieces.get(self.next) else {
            conn.close();
            return;
        };
        self.next += 1;
        conn.write(piece);
        conn.deadline(due(self.next).saturating_duration_since(now));
    }
}

/// Standard input. The parent process holds the other end for as long as it needs the servers.
struct Parent;

impl Protocol<State> for Parent {
    fn received(&mut self, _conn: &mut Conn<'_, State>, input: &mut Input<'_>) -> io::Result<()> {
        input.take_all();
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, State>, _end: End) {
        cx.stop();
    }
}
