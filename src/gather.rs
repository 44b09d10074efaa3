//! What a callback writes to its own connection: gathered, and sent with one system call when it returns.

use crate::slots::Key;

/// The one place where written bytes are gathered: only one callback runs at a time. What the kernel does not take of
/// them moves to the connection.
#[derive(Debug)]
pub(crate) struct Gather {
    bytes: Vec<u8>,
    /// Whose machine is out, while what it writes may simply be added: whoever looks at a connection's output or ends it
    /// calls [`Core::ungather`](crate::core::Core::ungather) first.
    open_for: Option<Key>,
}

impl Gather {
    /// From this size on a copy would cost more than all of the loop's own work, and what is written goes out at once.
    pub(crate) const ROOM: usize = 8 * 1024;

    pub(crate) fn new() -> Self {
        Gather { bytes: Vec::with_capacity(Self::ROOM), open_for: None }
    }

    #[inline]
    pub(crate) fn open(&mut self, key: Key) {
        self.open_for = Some(key);
    }

    /// Takes what is written to a connection; `false` if this is not the place, or not any more.
    #[inline]
    pub(crate) fn takes(&mut self, key: Key, bytes: &[u8]) -> bool {
        let takes = self.open_for == Some(key) && bytes.len() < self.bytes.capacity() - self.bytes.len();
        if takes {
            self.bytes.extend_from_slice(bytes);
        }
        takes
    }

    /// Takes no more, and says for whom it did.
    #[inline]
    pub(crate) fn close(&mut self) -> Option<Key> {
        self.open_for.take()
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[inline]
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }
}
