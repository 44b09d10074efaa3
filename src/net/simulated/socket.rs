//! A simulated socket, as the net layer uses it. It owns its network, and closes itself when dropped.

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use mio::Token;

use crate::net::simulated::{Network, SocketId};

/// A connected, connecting or listening socket.
pub(crate) struct SimSocket {
    network: Rc<RefCell<Network>>,
    id: SocketId,
}

impl SimSocket {
    pub(crate) fn new(network: &Rc<RefCell<Network>>, id: SocketId) -> Self {
        SimSocket { network: Rc::clone(network), id }
    }

    fn network(&self) -> RefMut<'_, Network> {
        self.network.borrow_mut()
    }

    pub(crate) fn connected(&self) -> Option<io::Result<()>> {
        self.network().connected(self.id)
    }

    pub(crate) fn take_error(&self) -> Option<io::Error> {
        self.network().take_error(self.id)
    }

    pub(crate) fn accept(&self) -> io::Result<(SimSocket, SocketAddr)> {
        let (id, peer) = self.network().accept(self.id)?;
        Ok((SimSocket::new(&self.network, id), peer))
    }

    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.network().read(self.id, buffer)
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.network().write(self.id, bytes)
    }

    pub(crate) fn has_unread(&self) -> bool {
        self.network().has_unread(self.id)
    }

    pub(crate) fn finish(&self) -> io::Result<()> {
        self.network().finish(self.id)
    }

    pub(crate) fn reset_on_close(&self) {
        self.network().reset_on_close(self.id);
    }

    pub(crate) fn register(&self, token: Token) {
        self.network().register(self.id, token);
    }

    pub(crate) fn deregister(&self) {
        self.network().deregister(self.id);
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.network().addr_of(self.id).ok_or(io::ErrorKind::NotConnected.into())
    }

    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.network().peer_of(self.id)
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        // The network is borrowed only if the network itself panicked. Then nothing is left to close.
        if let Ok(mut network) = self.network.try_borrow_mut() {
            network.close(self.id);
        }
    }
}

impl fmt::Debug for SimSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimSocket").field(&self.id).finish()
    }
}
