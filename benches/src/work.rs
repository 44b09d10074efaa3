//! The work to count, in repeatable units.

use std::io;

use clap::ValueEnum;

use crate::load::{Clients, churn};
use crate::server::Server;

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Work {
    /// 64 bytes to and fro on one connection
    PingPong,
    /// 16 KiB to and fro on one connection: a copy of the bytes in user space shows
    Large,
    /// 64 connections with 64 bytes each, all ready at once
    AtOnce,
    /// Connect, 64 bytes to and fro, close
    Churn,
    /// Connections opened, each with one round of 64 bytes, and kept
    Open,
}

impl Work {
    pub fn title(self) -> &'static str {
        match self {
            Work::PingPong => "64 B ping-pong",
            Work::Large => "16 KiB ping-pong",
            Work::AtOnce => "64 ready at once",
            Work::Churn => "connect + echo + close",
            Work::Open => "open connection",
        }
    }

    /// Two run lengths, in units. The shorter run is the warm-up; the difference is counted.
    pub fn lengths(self) -> (usize, usize) {
        match self {
            Work::PingPong => (100, 10_100), // long enough to hide a stray wake-up
            Work::Large => (100, 2_100),
            Work::AtOnce => (10, 110),
            Work::Churn | Work::Open => (50, 550),
        }
    }

    /// The number of operations in one unit.
    pub fn operations(self) -> usize {
        if self == Work::AtOnce { 64 } else { 1 }
    }

    pub fn run(self, server: &Server, units: usize) -> io::Result<()> {
        match self {
            Work::PingPong | Work::Large => {
                let size = if self == Work::Large { 16 * 1024 } else { 64 };
                let mut client = Clients::connect(server.address, 1, size)?;
                // Under a tool the server is slow. Without this wait, the next message would already be there when it
                // looks for more.
                (0..units).try_for_each(|_| server.wait_until_asleep().and_then(|()| client.round()))
            }
            Work::AtOnce => {
                let mut clients = Clients::connect(server.address, 64, 64)?;
                clients.one_by_one()?;
                (0..units).try_for_each(|_| clients.round_at_once(server))
            }
            Work::Churn => churn(server.address, units),
            Work::Open => Clients::connect(server.address, units, 64)?.one_by_one(),
        }
    }
}
