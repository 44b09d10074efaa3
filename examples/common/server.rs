//! How a server begins and ends: the error if it cannot listen, and an orderly shutdown at Ctrl-C or SIGTERM.

use super::signals;
use enjamb::{Cx, End};
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// Says why a server cannot listen, and what to try. `free_port` is the option that takes any free port, such as
/// `--listen 0`.
pub fn cannot_listen(address: SocketAddr, free_port: &str, error: &io::Error) -> String {
    let (ip, port) = (address.ip(), address.port());
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "port {port} is already in use on {ip}: stop the program that listens there, or take any free port with {free_port}"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "no permission to listen on port {port}: take one from 1024 up, or any free one with {free_port}"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("{ip} is not an address of this machine: try 127.0.0.1, 0.0.0.0 or ::1")
        }
        _ => format!("cannot listen on {address}: {error}"),
    }
}

/// Counts the connections that a shutdown has to cut off. It is part of the loop's state.
#[derive(Default)]
pub struct Shutdown {
    begun: bool,
    cut_off: usize,
}

impl Shutdown {
    pub fn begin(&mut self) {
        self.begun = true;
    }

    /// Each connection reports its end here.
    pub fn note(&mut self, end: &End) {
        let timed_out = end.result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut);
        if self.begun && timed_out {
            self.cut_off += 1;
        }
    }

    /// The server's exit status: a failure if a connection was cut off.
    pub fn exit_status(&self, drain_timeout: Duration) -> ExitCode {
        if self.cut_off == 0 {
            return ExitCode::SUCCESS;
        }
        log::error!(
            target: "main",
            "cut off {} of the connections, which did not take their unsent output within {drain_timeout:?}: \
             give them a longer --drain-timeout",
            self.cut_off
        );
        ExitCode::FAILURE
    }
}

/// At the first signal: calls `begin`, then accepts no more and closes each connection after its output is sent, within
/// `drain_timeout`. A second signal ends the program at once.
pub fn shut_down_at_signal<S: 'static>(
    cx: &mut Cx<'_, S>,
    drain_timeout: Duration,
    begin: impl FnOnce(&mut Cx<'_, S>) + 'static,
) -> Result<(), String> {
    signals::at_first(cx, move |cx| {
        log::warn!(target: "main", "ending within {drain_timeout:?}; a second signal ends it at once");
        begin(cx);
        cx.shutdown(drain_timeout);
    })
    .map(drop)
}
