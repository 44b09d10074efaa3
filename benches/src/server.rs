//! A server as a child process, alone or under a counting tool.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::child::{self, PATIENCE};

/// A running server. Dropping it stops it.
pub struct Server {
    child: Child,
    /// The server's own process, if the child is a tracer.
    pid: Pid,
    pub address: SocketAddr,
    /// Collects the stderr output of the tool and the server.
    stderr: Option<JoinHandle<String>>,
}

impl Server {
    /// Starts `command`, with `under` in front of it, and waits until it listens.
    pub fn start(under: &[&str], command: &[String]) -> io::Result<Server> {
        let words: Vec<&str> = under.iter().copied().chain(command.iter().map(String::as_str)).collect();
        let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("starting {program}: {error}")))?;
        let stderr = child.stderr.take().map(|stderr| thread::spawn(move || all_of(stderr)));
        let stdout = child.stdout.take();
        let mut server = Server { pid: pid_of(&child), child, address: ([127, 0, 0, 1], 0).into(), stderr };
        server.address = match stdout.and_then(first_line).as_deref().and_then(address_in) {
            Some(address) => address,
            None => {
                let said = server.end().unwrap_or_default();
                return Err(io::Error::other(format!(
                    "{} does not listen: {}",
                    words.join(" "),
                    said.trim()
                )));
            }
        };
        server.pid = only_child_of(server.pid).unwrap_or(server.pid);
        Ok(server)
    }

    /// Stops the server with SIGTERM, and returns its whole stderr output.
    pub fn end(mut self) -> io::Result<String> {
        self.finish()?;
        let said = self.stderr.take().map(JoinHandle::join);
        said.unwrap_or(Ok(String::new())).map_err(|_| io::Error::other("the reader of stderr panicked"))
    }

    fn finish(&mut self) -> io::Result<()> {
        let _ = signal::kill(self.pid, Signal::SIGTERM); // it may have ended already
        let ended = child::wait(&mut self.child);
        if ended.is_err() {
            let _ = signal::kill(self.pid, Signal::SIGKILL); // a server outlives its killed tracer
        }
        ended
    }

    /// Stops the server while `prepare` runs, so that all bytes sent meanwhile are ready at once.
    pub fn while_stopped(&self, prepare: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        signal::kill(self.pid, Signal::SIGSTOP)?;
        let prepared = self.wait_until(&["T", "t"]).and_then(|()| prepare());
        signal::kill(self.pid, Signal::SIGCONT)?;
        prepared
    }

    /// Waits until the server has nothing to do and sleeps.
    pub fn wait_until_asleep(&self) -> io::Result<()> {
        self.wait_until(&["S"])
    }

    /// Waits until the main thread is in one of these states: proc(5).
    fn wait_until(&self, states: &[&str]) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
            // The state follows the name, which is in parentheses and may contain anything.
            match stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()) {
                Some(state) if states.contains(&state) => return Ok(()),
                _ => thread::yield_now(),
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// CPU time of all threads so far, from the scheduler's account in nanoseconds.
    pub fn cpu(&self) -> io::Result<Duration> {
        let mut nanoseconds = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            let account = fs::read_to_string(task?.path().join("schedstat"))?;
            nanoseconds += account.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// The server's own memory in bytes: anonymous and resident.
    pub fn memory(&self) -> io::Result<u64> {
        enjamb_benches::resident(&self.pid.to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.finish(); // a server that cannot be stopped is left alone
    }
}

fn all_of(mut from: impl Read) -> String {
    let mut said = Vec::new();
    let _ = from.read_to_end(&mut said); // after an error, the part that was read is enough
    String::from_utf8_lossy(&said).into_owned()
}

/// The first line, if it comes in time. The rest is read and discarded, so that the writer never blocks.
fn first_line(from: impl Read + Send + 'static) -> Option<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(from).lines();
        let _ = sender.send(lines.next()); // the receiver may have given up
        lines.for_each(drop);
    });
    receiver.recv_timeout(PATIENCE).ok()?.and_then(Result::ok)
}

fn address_in(line: &str) -> Option<SocketAddr> {
    line.strip_prefix("listening on ")?.trim().parse().ok()
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// strace runs the server as its child; valgrind becomes the server.
fn only_child_of(pid: Pid) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok().map(Pid::from_raw)
}
