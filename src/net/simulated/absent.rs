//! Uninhabited types in place of the simulation, for builds without the feature `sim`. The core is written once, and
//! the compiler removes the branches for a simulation.

use std::cell::RefMut;
use std::convert::Infallible;
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
pub(crate) enum Network {}
pub(crate) type SocketId = Infallible;

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
        fn network() -> RefMut<'_, Network>;
        fn seed() -> u64;
        fn clock() -> Time;
        fn woken() -> Arc<AtomicBool>;
        fn wait(&mut Vec<(Token, Readiness)>, usize, Option<Duration>) -> io::Result<()>;
        fn look_up(&str, u16) -> (Duration, Answer);
    }
}

never_called! {
    Network {
        fn connect(SocketAddr) -> io::Result<SocketId>;
        fn connected(SocketId) -> Option<io::Result<()>>;
        fn has_unread(SocketId) -> bool;
        fn take_error(SocketId) -> Option<io::Error>;
        fn listen(SocketAddr, u32) -> io::Result<SocketId>;
        fn accept(SocketId) -> io::Result<(SocketId, SocketAddr)>;
        fn read(SocketId, &mut [u8]) -> io::Result<usize>;
        fn write(SocketId, &[u8]) -> io::Result<usize>;
        fn finish(SocketId) -> io::Result<()>;
        fn reset_on_close(SocketId) -> ();
        fn close(SocketId) -> ();
        fn close_forgotten() -> ();
        fn register(SocketId, Token) -> ();
        fn deregister(SocketId) -> ();
        fn addr_of(SocketId) -> Option<SocketAddr>;
        fn peer_of(SocketId) -> Option<SocketAddr>;
    }
}
