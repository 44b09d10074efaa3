//! The loop's limits and budgets.

use std::io;
use std::time::Duration;

/// Limits and budgets of a [`Reactor`](crate::Reactor). Every default bounds memory and time; take those and change
/// what you must:
///
/// ```
/// use enjamb::{Config, Reactor};
/// use std::time::Duration;
///
/// let config = Config { connect_timeout: Duration::from_secs(2), ..Config::default() };
/// let reactor: Reactor = Reactor::with_config(config)?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// How long a connect may take before it fails, looking up a name and trying its addresses included. If the look-up
    /// has to wait for a thread, this counts from when it begins, and [`resolver_wait`](Self::resolver_wait) limits the
    /// wait. Default 10 s: Linux alone would go on for 127 s (tcp(7), `tcp_syn_retries`).
    pub connect_timeout: Duration,
    /// How long a closing connection may go without the peer taking anything of what is unsent; and how long it throws away
    /// what the peer still sends when all of that is sent. Default 10 s.
    pub close_timeout: Duration,
    /// How long a closing connection may take in all to send what is unsent, however steadily the peer takes it. Default
    /// 1 h: with the default [`output_limit`](Self::output_limit), enough for a peer that takes 5 kB/s. `Duration::MAX`
    /// turns it off.
    pub close_total: Duration,
    /// Unsent bytes to which the output must fall before reading goes on and `drained` is called. Default 16 KiB.
    pub low_water: usize,
    /// Unsent bytes above which a connection's own reads pause. Default 64 KiB.
    pub high_water: usize,
    /// Received bytes at which what a machine leaves in its input is an error:
    /// [`Protocol::received`](crate::Protocol::received). Default 64 KiB.
    pub input_limit: usize,
    /// Unsent bytes at which a connection is given up: somebody writes to a peer that does not read. Default 16 MiB.
    pub output_limit: usize,
    /// Size of the one buffer that is lent to every read, in bytes. Default 32 KiB: with 64 KiB, streaming over
    /// loopback swings between two speeds.
    pub read_buffer: usize,
    /// Bytes read from one connection in one turn, before the others have theirs. Default 256 KiB.
    pub read_budget: usize,
    /// Connections accepted from one listener in one turn. Default 64.
    pub accept_budget: usize,
    /// Calls from other threads run in one turn. Default 256.
    pub call_budget: usize,
    /// Calls from other threads that may wait to be run; more are [refused](crate::PostError::Full). Default 1,048,576:
    /// a queue of 16 MiB, besides what the calls hold.
    pub post_limit: usize,
    /// Timers fired in one turn. Default 1,024.
    pub timer_budget: usize,
    /// Readiness events taken from the kernel with one call. Default 1,024; what does not fit comes with the next.
    pub events: usize,
    /// Connections the kernel may hold for a listener that has not accepted them yet: the second argument of
    /// listen(2), which the system caps (Linux: `net.core.somaxconn`). Default 4,096.
    pub backlog: u32,
    /// Names looked up at the same time, each by a thread that ends when there is nothing more to look up. Default 4:
    /// mostly a look-up takes milliseconds. One that has taken a second hangs: it is not counted any more, so that it does
    /// not hold up others. Up to 64 threads can hang besides these.
    pub resolver_threads: usize,
    /// How long a connect to a name may wait for one of these threads before it fails. Default 10 s: in that time, 40
    /// threads that hang are replaced.
    pub resolver_wait: Duration,
    /// A callback that holds the loop for longer is warned about. Default 100 ms; `Duration::MAX` turns it off.
    pub slow_callback: Duration,
}

impl Default for Config {
    fn default() -> Self {
        const KIB: usize = 1024;
        Config {
            connect_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(10),
            close_total: Duration::from_secs(3600),
            low_water: 16 * KIB,
            high_water: 64 * KIB,
            input_limit: 64 * KIB,
            output_limit: 16 * KIB * KIB,
            read_buffer: 32 * KIB,
            read_budget: 256 * KIB,
            accept_budget: 64,
            call_budget: 256,
            post_limit: KIB * KIB,
            timer_budget: 1024,
            events: 1024,
            backlog: 4096,
            resolver_threads: 4,
            resolver_wait: Duration::from_secs(10),
            slow_callback: Duration::from_millis(100),
        }
    }
}

impl Config {
    /// Refuses values with which the loop could not work, and says which.
    pub(crate) fn check(&self) -> io::Result<()> {
        let at_least_one = [
            ("input_limit", self.input_limit),
            ("output_limit", self.output_limit),
            ("read_buffer", self.read_buffer),
            ("read_budget", self.read_budget),
            ("accept_budget", self.accept_budget),
            ("call_budget", self.call_budget),
            ("post_limit", self.post_limit),
            ("timer_budget", self.timer_budget),
            ("events", self.events),
            ("backlog", self.backlog as usize),
            ("resolver_threads", self.resolver_threads),
        ];
        if let Some((name, _)) = at_least_one.iter().find(|(_, value)| *value == 0) {
            return Err(invalid(format!("Config::{name} is 0: nothing could ever happen; give at least 1")));
        }
        if self.low_water > self.high_water {
            return Err(invalid(format!(
                "Config::low_water ({}) is above Config::high_water ({}): give a low mark that is at most the high one",
                self.low_water, self.high_water
            )));
        }
        if self.high_water > self.output_limit {
            return Err(invalid(format!(
                "Config::high_water ({}) is above Config::output_limit ({}), so reading would never pause: raise the limit",
                self.high_water, self.output_limit
            )));
        }
        Ok(())
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
