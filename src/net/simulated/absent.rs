//! Uninhabited types in place of the simulation, for builds without the feature `sim`. The core is written once, and
//! the compiler removes the branches for a simulation.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use mio::Token;

use crate::base::clock::Time;
use crate::base::readiness::Readiness;
use crate::net::resolver::Answer;

pub(crate) enum Simulation {}
#[derive(Debug)]
pub(crate) enum SimSocket {}

macro_rules! never_called {
    ($kind:ty { $(fn $name:ident($($argument:ty),*) -> $result:ty;)* }) => {
        impl $kind {
            $(pub(crate) fn $name(&self, $(_: $argument),*) -> $result {
                match *self {}
            })*
        }
    };
}

never_called! {
    Simulation {
        fn seed() -> u64;
        fn clock() -> Time;
        fn woken() -> Arc<AtomicBool>;
        fn wait(&mut Vec<(Token, Readiness)>, usize, Option<Duration>) -> io::Result<()>;
        fn look_up(&str, u16) -> (Duration, Answer);
        fn connect(SocketAddr) -> io::Result<SimSocket>;
        fn listen(SocketAddr, u32) -> io::Result<SimSocket>;
    }
}

never_called! {
    SimSocket {
        fn connected() -> Option<io::Result<()>>;
        fn take_error() -> Option<io::Error>;
        fn accept() -> io::Result<(SimSocket, SocketAddr)>;
        fn read(&mut [u8]) -> io::Result<usize>;
        fn write(&[u8]) -> io::Result<usize>;
        fn has_unread() -> bool;
        fn finish() -> io::Result<()>;
        fn reset_on_close() -> ();
        fn register(Token) -> ();
        fn deregister() -> ();
        fn local_addr() -> io::Result<SocketAddr>;
        fn peer() -> Option<SocketAddr>;
    }
}
