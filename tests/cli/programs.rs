//! Starting the compiled examples, and listening to what they print.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::env;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How long anything may take before the test fails. Nothing here takes more than a few seconds; the rest is for a
/// machine under load.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The four clients that do the same.
pub const CLIENTS: [&str; 4] = ["get_poetry_blocking", "get_poetry_select", "get_poetry_mio", "get_poetry"];

/// Where cargo puts an example: it builds them before it runs a test, beside the folder of the test itself.
pub fn path(name: &str) -> PathBuf {
    let mut path = env::current_exe().expect("the path of this test");
    path.pop();
    path.pop();
    path.push("examples");
    path.push(name);
    assert!(path.exists(), "{} is not built: run `cargo build --examples` first", path.display());
    path
}

/// A running example. It is killed if the test ends before it does.
pub struct Program {
    child: Child,
    pub out: Lines,
    pub err: Lines,
}

/// An example that has ended.
#[derive(Debug)]
pub struct Ended {
    pub status: Option<i32>,
    pub out: Vec<String>,
    pub err: Vec<String>,
}

impl Program {
    pub fn start(name: &str, args: &[&str]) -> Self {
        let mut command = Command::new(path(name));
        command.args(args).stdout(Stdio::piped());
        Self::spawn(command)
    }

    /// Starts an example that says all that it can, also what it otherwise only counts.
    pub fn start_telling_all(name: &str, args: &[&str]) -> Self {
        let mut command = Command::new(path(name));
        command.args(args).stdout(Stdio::piped()).env("RUST_LOG", "debug");
        Self::spawn(command)
    }

    /// Starts an example that reads what the test types.
    pub fn start_typing(name: &str, args: &[&str]) -> (Self, ChildStdin) {
        let mut command = Command::new(path(name));
        command.args(args);
        Self::spawn_typing(command)
    }

    /// Starts a command that reads what the test types.
    pub fn spawn_typing(mut command: Command) -> (Self, ChildStdin) {
        command.stdout(Stdio::piped());
        let mut program = Self::spawn_reading(command, Stdio::piped());
        let stdin = program.child.stdin.take().expect("it was piped");
        (program, stdin)
    }

    /// Starts a command whose standard output goes wherever it was told to.
    pub fn spawn(command: Command) -> Self {
        Self::spawn_reading(command, Stdio::null())
    }

    fn spawn_reading(mut command: Command, stdin: Stdio) -> Self {
        command.stdin(stdin).stderr(Stdio::piped());
        if !command.get_envs().any(|(name, _)| name == "RUST_LOG") {
            command.env_remove("RUST_LOG");
        }
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let out = Lines::of(child.stdout.take());
        let err = Lines::of(child.stderr.take());
        Self { child, out, err }
    }

    /// The address in its first line, `listening on ADDR`.
    pub fn address(&mut self) -> SocketAddr {
        let line = self.out.wait_for("");
        let address =
            line.strip_prefix("listening on ").and_then(|rest| rest.split(' ').next()?.parse().ok());
        address.unwrap_or_else(|| panic!("no address in {line:?}"))
    }

    /// The most memory it has ever had, in KiB: proc_pid_status(5), VmHWM.
    #[cfg(target_os = "linux")]
    pub fn peak_memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("the program is still there");
    }

    /// Waits for the end: both outputs closed, then the process gone.
    pub fn end(mut self) -> Ended {
        let out = self.out.rest();
        let err = self.err.rest();
        let status = self.child.wait().expect("the program's status").code();
        Ended { status, out, err }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Runs an example to its end.
pub fn run(name: &str, args: &[&str]) -> Ended {
    Program::start(name, args).end()
}

impl Ended {
    /// The one message that contains this, or a failure that shows them all.
    pub fn message(&self, part: &str) -> &str {
        let found = self.err.iter().find(|line| line.contains(part));
        found.unwrap_or_else(|| panic!("no message with {part:?} in {self:#?}"))
    }
}

/// The lines of an output, as they come.
pub struct Lines {
    coming: Receiver<String>,
    seen: Vec<String>,
}

impl Lines {
    fn of(output: Option<impl Read + Send + 'static>) -> Self {
        let (sender, coming) = channel();
        if let Some(output) = output {
            thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    sender.send(line).ok();
                }
            });
        }
        Self { coming, seen: Vec::new() }
    }

    /// Waits for the next line that contains this.
    pub fn wait_for(&mut self, part: &str) -> String {
        loop {
            match self.coming.recv_timeout(PATIENCE) {
                Ok(line) => self.seen.push(line.clone()),
                Err(error) => panic!("no line with {part:?} ({error}) after {:#?}", self.seen),
            }
            if let Some(line) = self.seen.last().filter(|line| line.contains(part)) {
                return line.clone();
            }
        }
    }

    /// Waits for the end, and returns all the lines from the first on.
    fn rest(&mut self) -> Vec<String> {
        loop {
            match self.coming.recv_timeout(PATIENCE) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => return std::mem::take(&mut self.seen),
                Err(RecvTimeoutError::Timeout) => panic!("still running after {:#?}", self.seen),
            }
        }
    }
}
