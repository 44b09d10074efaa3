//! What a callback writes to its own connection: corked, and sent with one system call when it returns.

use crate::base::slots::Key;

/// The one place where written bytes are corked: only one callback runs at a time. What the kernel does not take of
/// them moves to the connection.
pub(crate) struct Cork {
    /// One byte less than what is too much to gather.
    room: Box<[u8; Cork::ROOM - 1]>,
    /// How much of the room is taken.
    length: usize,
    /// Whose machine is out, while what it writes may simply be added: whoever looks at a connection's output or ends it
    /// calls [`Core::uncork`](crate::reactor::core::Core::uncork) first.
    open_for: Option<Key>,
}

impl Cork {
    /// From this size on a copy would cost more than all of the loop's own work, and what is written goes out at once.
    pub(crate) const ROOM: usize = 8 * 1024;

    pub(crate) fn new() -> Self {
        Cork { room: Box::new([0; Self::ROOM - 1]), length: 0, open_for: None }
    }

    #[inline]
    pub(crate) fn open(&mut self, key: Key) {
        self.open_for = Some(key);
    }

    /// Takes what is written to a connection; `false` if this is not the place, or not any more.
    #[inline]
    pub(crate) fn takes(&mut self, key: Key, bytes: &[u8]) -> bool {
        if let Some(room) = self.room.get_mut(self.length..)
            && let Some(place) = room.get_mut(..bytes.len())
            && self.open_for == Some(key)
        {
            self.length += bytes.len(); // before the copy, so that nothing needs to be kept over it
            place.copy_from_slice(bytes);
            return true;
        }
        false
    }

    /// Takes no more, and says for whom it did.
    #[inline]
    pub(crate) fn close(&mut self) -> Option<Key> {
        self.open_for.take()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.room[..self.length]
    }

    #[inline]
    pub(crate) fn clear(&mut self) {
        self.length = 0;
    }
}
