//! A pool's state at one moment.

use std::fmt;

use crate::pool::decide::entry::{Counts, State};
use crate::pool::decide::stats::{Reason, Stats};
use crate::pool::decide::table::Table;
use crate::pool::key::Key;

/// The number of connections in each state, of a pool or of one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Connections being established.
    pub connecting: usize,
    /// Connections in use.
    pub leased: usize,
    /// Connections ready for use.
    pub idle: usize,
    /// Connections being closed. Each counts against the limits until its descriptor is closed.
    pub closing: usize,
    /// Requests that wait for a connection.
    pub waiting: usize,
    /// The number of further connections that could be in use: the limits minus the connections in use, the smaller of
    /// the two. Idle connections do not count as in use. `None`: no limit.
    pub available: Option<usize>,
}

impl Usage {
    fn new(counts: Counts, waiting: usize, available: Option<usize>) -> Self {
        Usage {
            connecting: counts[State::Connecting],
            leased: counts[State::Leased],
            idle: counts[State::Idle],
            closing: counts[State::Closing],
            waiting,
            available,
        }
    }

    /// The number of open sockets.
    pub fn open(&self) -> usize {
        self.connecting + self.leased + self.idle + self.closing
    }
}

/// A pool's state at one moment, from [`Pool::snapshot`](crate::pool::Pool::snapshot). Its `Display` is a table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The limit on all connections: [`Config::limit`](crate::pool::Config::limit).
    pub limit: Option<usize>,
    /// The limit per host: [`Config::limit_per_host`](crate::pool::Config::limit_per_host).
    pub limit_per_host: Option<usize>,
    /// The hosts that have a connection or a waiting request, in the order of their names.
    pub hosts: Vec<(Key, Usage)>,
    /// The sums over all hosts.
    pub total: Usage,
    /// The pool's counters.
    pub stats: Stats,
}

impl Snapshot {
    pub(super) fn of(table: &Table) -> Self {
        let (limit, per_host) = (table.config().limit, table.config().limit_per_host);
        let left = |limit: Option<usize>, counts: &Counts| {
            limit.map(|limit| limit - (counts.all() - counts[State::Idle]))
        };
        let in_all = left(limit, &table.counts);
        let mut hosts: Vec<(Key, Usage)> = table
            .hosts
            .iter()
            .map(|(_, host)| {
                let at_host = left(per_host, &host.counts);
                let available = at_host.into_iter().chain(in_all).min();
                (host.key.clone(), Usage::new(host.counts, host.waiting.len(), available))
            })
            .collect();
        hosts.sort_by_cached_key(|(key, _)| key.to_string());
        let total = Usage::new(table.counts, table.queue.len(), in_all);
        Snapshot { limit, limit_per_host: per_host, hosts, total, stats: table.stats }
    }

    /// The usage of one host. For a host without connections or waiting requests, everything is available.
    pub fn host(&self, key: &Key) -> Usage {
        let found = self.hosts.iter().find(|(of, _)| of.destination() == key.destination());
        found.map_or_else(
            || {
                let available = self.limit_per_host.into_iter().chain(self.total.available).min();
                Usage::new(Counts::default(), 0, available)
            },
            |(_, usage)| *usage,
        )
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width =
            self.hosts.iter().map(|(key, _)| key.to_string().len()).max().unwrap_or(0).max("in all".len());
        writeln!(f, "{:width$}  connecting  leased  idle  closing  waiting  available", "host")?;
        let rows = self.hosts.iter().map(|(key, usage)| (key.to_string(), usage));
        for (name, usage) in rows.chain([("in all".to_string(), &self.total)]) {
            let Usage { connecting, leased, idle, closing, waiting, available } = usage;
            let available = available.map_or("no limit".to_string(), |available| available.to_string());
            writeln!(
                f,
                "{name:width$}  {connecting:>10}  {leased:>6}  {idle:>4}  {closing:>7}  {waiting:>7}  {available:>9}"
            )?;
        }
        write!(f, "opened {}, used again {}", self.stats.opened, self.stats.reused)?;
        for reason in Reason::ALL {
            match self.stats.closed(reason) {
                0 => {}
                n => write!(f, ", {reason} {n}")?,
            }
        }
        Ok(())
    }
}
