//! The processes that this program starts: itself again, in another role.

use super::strategies::Strategy;
use super::timeline::Micros;
use std::env;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

/// A child that never outlives its owner.
struct Kept(Child);

impl Kept {
    /// Starts this program in `role`, with the options it was given itself.
    fn start(role: &[&str], stdin: Stdio, stdout: Stdio) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.args(role).args(env::args_os().skip(1)).stdin(stdin).stdout(stdout);
        // Ctrl-C on the terminal reaches a process group: this program alone, which then ends its children.
        command.process_group(0);
        command.spawn().map(Self)
    }
}

impl Drop for Kept {
    /// Nothing to do if it has ended; killing a child that has been waited for is an error that std catches.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The process that serves the poems.
pub struct Servers {
    child: Kept,
    /// Its standard input: they serve until it ends.
    lease: UnixStream,
    output: BufReader<ChildStdout>,
}

impl Servers {
    /// Also returns an address for each port.
    pub fn start() -> io::Result<(Self, Vec<SocketAddr>)> {
        let (lease, theirs) = UnixStream::pair()?;
        let mut child = Kept::start(&["--serve"], Stdio::from(OwnedFd::from(theirs)), Stdio::piped())?;
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

    /// Ends them, and returns how late the worst piece was.
    pub fn end(mut self) -> io::Result<Micros> {
        // They may have ended already, and then there is no line either.
        let _ = self.lease.shutdown(Shutdown::Both);
        self.line()?.parse().map_err(io::Error::other)
    }
}

/// The process that reads them.
pub struct Client(Kept);

impl Client {
    /// Also returns where its reports arrive.
    pub fn start(strategy: Strategy, servers: &[SocketAddr]) -> io::Result<(Self, UnixStream)> {
        let (reports, theirs) = UnixStream::pair()?;
        let stdout = Stdio::from(OwnedFd::from(theirs));
        let mut child = Kept::start(&["--client", strategy.name()], Stdio::piped(), stdout)?;
        let mut stdin = child.0.stdin.take().ok_or(ErrorKind::BrokenPipe)?;
        for address in servers {
            writeln!(stdin, "{address}")?;
        }
        Ok((Self(child), reports))
    }

    pub fn wait(mut self) -> io::Result<ExitStatus> {
        self.0.0.wait()
    }
}
