//! One run, seen from the parent process: it starts the servers and the client, collects the client's reports and
//! redraws the screen in an `enjamb` loop, and ends both processes, also on Ctrl-C.

use super::plan::Plan;
use super::run::{Outcome, Run};
use super::show::Show;
use super::strategies::Strategy;
use super::timeline::{Micros, micros};
use enjamb::{Conn, Cx, End, Input, Protocol, Reactor};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level::pipe};
use std::env;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Ten frames a second look alive.
const FRAME: Duration = Duration::from_millis(100);

/// Runs the strategy against fresh servers. A failure of one of the processes is the outcome of the run; an error is a
/// failure to draw.
pub fn run(plan: &Plan, strategy: Strategy, interrupts: &Interrupts, show: &mut Show) -> io::Result<Run> {
    let mut run = Run::new(strategy, plan.poems.len(), Outcome::Running);
    let mut state = State { show, run: &mut run, started: Instant::now(), drawn: Ok(()) };
    let late = watch(strategy, interrupts, &mut state);
    state.drawn?;
    match late {
        Ok(late) => run.servers_late = late,
        Err(error) => run.outcome = Outcome::Failed(error.to_string()),
    }
    Ok(run)
}

/// Starts both processes. When both have ended, returns how late the servers were.
fn watch(strategy: Strategy, interrupts: &Interrupts, state: &mut State) -> io::Result<Micros> {
    let (servers, addresses) = Servers::start()?;
    let (client, reports) = Client::start(strategy, &addresses)?;
    let mut reactor = Reactor::new()?;
    let mut cx = reactor.cx(state);
    cx.adopt(reports, Reports)?;
    cx.adopt(interrupts.wake()?, Interrupted)?;
    cx.every(FRAME, |cx: &mut Cx<'_, State>| {
        cx.state.draw();
        if cx.state.drawn.is_err() {
            cx.stop();
        }
    });
    reactor.run(state)?;
    if state.drawn.is_err() || interrupts.status().is_some() {
        return Err(ErrorKind::Interrupted.into());
    }
    let status = client.wait()?;
    if let Outcome::Running = state.run.outcome {
        state.run.outcome = Outcome::Failed(format!("its process ended early ({status})"));
    }
    servers.end()
}

/// What the callbacks of the loop share: the run, and the screen that shows it.
struct State<'a, 'b> {
    show: &'a mut Show<'b>,
    run: &'a mut Run,
    started: Instant,
    drawn: io::Result<()>,
}

impl State<'_, '_> {
    fn draw(&mut self) {
        self.drawn = match self.show.reader_has_left() {
            true => Err(ErrorKind::BrokenPipe.into()),
            false => self.show.frame(self.run, micros(self.started.elapsed())),
        };
    }
}

/// The standard output of the client.
struct Reports;

impl Protocol<State<'_, '_>> for Reports {
    fn received(&mut self, conn: &mut Conn<'_, State>, input: &mut Input<'_>) -> io::Result<()> {
        while let Some(line) = input.take_line() {
            let state = conn.state();
            if line == b"started" {
                state.started = Instant::now();
            }
            let line = String::from_utf8_lossy(line);
            state.run.apply(&line).ok_or_else(|| io::Error::other(format!("not a report: {line}")))?;
        }
        Ok(())
    }

    fn closed(self: Box<Self>, cx: &mut Cx<'_, State>, end: End) {
        if let Err(error) = end.result {
            cx.state.run.outcome = Outcome::Failed(error.to_string());
        }
        cx.stop();
    }
}

/// The socket that becomes readable when a signal has arrived.
struct Interrupted;

impl Protocol<State<'_, '_>> for Interrupted {
    fn received(&mut self, conn: &mut Conn<'_, State>, input: &mut Input<'_>) -> io::Result<()> {
        input.take_all();
        conn.cx().stop();
        Ok(())
    }
}

/// The process that serves the poems.
struct Servers {
    child: ChildGuard,
    /// Its standard input: it serves until this ends.
    lease: UnixStream,
    output: BufReader<ChildStdout>,
}

impl Servers {
    /// Also returns an address for each port.
    fn start() -> io::Result<(Self, Vec<SocketAddr>)> {
        let (lease, theirs) = UnixStream::pair()?;
        let mut child = ChildGuard::start(&["--serve"], Stdio::from(OwnedFd::from(theirs)), Stdio::piped())?;
        let output = child.0.stdout.take().ok_or(ErrorKind::BrokenPipe)?;
        let mut servers = Self { child, lease, output: BufReader::new(output) };
        let mut addresses = Vec::new();
        loop {
            match servers.line()?.as_str() {
                "" => return Ok((servers, addresses)),
                address => addresses.push(address.parse().map_err(io::Error::other)?),
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err(io::Error::other(format!("the servers ended early ({})", self.child.0.wait()?)));
        }
        Ok(line.trim_end().to_string())
    }

    /// Ends the process, and returns how late its latest piece was.
    fn end(mut self) -> io::Result<Micros> {
        // This fails if the process has ended early; then `line` reports it.
        let _ = self.lease.shutdown(Shutdown::Both);
        self.line()?.parse().map_err(io::Error::other)
    }
}

/// The process that reads the poems.
struct Client(ChildGuard);

impl Client {
    /// Also returns the socket on which its reports arrive.
    fn start(strategy: Strategy, servers: &[SocketAddr]) -> io::Result<(Self, UnixStream)> {
        let (reports, theirs) = UnixStream::pair()?;
        let stdout = Stdio::from(OwnedFd::from(theirs));
        let mut child = ChildGuard::start(&["--client", strategy.name()], Stdio::piped(), stdout)?;
        let mut stdin = child.0.stdin.take().ok_or(ErrorKind::BrokenPipe)?;
        for address in servers {
            writeln!(stdin, "{address}")?;
        }
        Ok((Self(child), reports))
    }

    fn wait(mut self) -> io::Result<ExitStatus> {
        self.0.0.wait()
    }
}

/// A child process that is killed when this is dropped.
struct ChildGuard(Child);

impl ChildGuard {
    /// Starts this program in `role`, with the options of this process.
    fn start(role: &[&str], stdin: Stdio, stdout: Stdio) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.args(role).args(env::args_os().skip(1)).stdin(stdin).stdout(stdout);
        // A terminal sends Ctrl-C to a process group. The children have groups of their own: only the parent process
        // receives the signal, and ends them.
        command.process_group(0);
        command.spawn().map(Self)
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        // If the process has been waited for, `kill` does nothing.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Catches SIGHUP, SIGINT and SIGTERM, so that the program can end its children and show the cursor again.
pub struct Interrupts {
    caught: Arc<AtomicUsize>,
    wake: UnixStream,
}

impl Interrupts {
    pub fn catch() -> io::Result<Self> {
        let caught = Arc::new(AtomicUsize::new(0));
        let (wake, write) = UnixStream::pair()?;
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            // In this order: the number of the signal is stored before the socket wakes the loop.
            flag::register_usize(signal, Arc::clone(&caught), signal.unsigned_abs() as usize)?;
            pipe::register(signal, write.try_clone()?)?;
        }
        Ok(Self { caught, wake })
    }

    /// A socket that becomes readable when a signal has arrived.
    fn wake(&self) -> io::Result<UnixStream> {
        self.wake.try_clone()
    }

    /// The exit status of a program ended by a signal: 128 and its number, 130 for Ctrl-C.
    pub fn status(&self) -> Option<ExitCode> {
        let signal = u8::try_from(self.caught.load(Relaxed)).ok().filter(|&signal| signal > 0)?;
        Some(ExitCode::from(128_u8.saturating_add(signal)))
    }
}
