//! Where every source lives: a slab, and the serial that tells a slot's tenants apart.
//!
//! A slot's index is used again as soon as it is free, while an event for the tenant before may still be on its way
//! (in the batch at hand, on a duplicated descriptor, in an id that somebody kept). So every tenant has a serial, the
//! token carries both, and what does not match finds nobody.

use mio::Token;
use slab::Slab;
use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};

use crate::connect::race::Attempt;
use crate::listen::Acceptor;
use crate::stream::Stream;
use crate::watch::Watcher;

/// A token's low bits hold the index, the others as much of the serial as fits: 32 + 32 where a token has 64 bits,
/// 20 + 12 where it has 32, which still tells apart the last 4,096 tenants of a million slots.
const INDEX_BITS: u32 = if usize::BITS >= 64 { 32 } else { 20 };
const LAST_INDEX: usize = (1 << INDEX_BITS) - 2;
const SERIAL_MASK: u32 = (usize::MAX >> INDEX_BITS) as u32;

/// Names one tenant of one slot: its serial and, in the low half, the slot's index. One number, as it is stored and
/// compared for every message; never zero, so that an Option of it takes no more room.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(NonZeroU64);

impl Key {
    #[inline]
    fn new(index: usize, serial: NonZeroU32) -> Self {
        let serial = NonZeroU64::new(u64::from(serial.get()) << 32).expect("a serial is not zero");
        Key(serial | index as u64)
    }

    #[inline]
    fn index(self) -> usize {
        self.0.get() as u32 as usize
    }

    #[inline]
    fn serial(self) -> u32 {
        (self.0.get() >> 32) as u32
    }

    #[inline]
    pub(crate) fn token(self) -> Token {
        let serial = (self.serial() & SERIAL_MASK) as usize;
        Token(serial << INDEX_BITS | self.index())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index(), self.serial())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a slot holds. Listeners, watched sources and attempts are few and boxed, so that a slot is as small as a stream.
pub(crate) enum Slot<S> {
    Stream(Stream<S>),
    Listener(Box<Acceptor<S>>),
    Watch(Box<Watcher<S>>),
    /// No source of its own: it belongs to a stream.
    Attempt(Box<Attempt>),
}

/// A tenant's serial lives in the tenant, where it fills a gap of the layout; beside it, it would cost eight bytes.
pub(crate) trait Tenant<S>: Sized {
    fn serial(&mut self) -> &mut NonZeroU32;
    fn of(slot: &mut Slot<S>) -> Option<&mut Self>;
    fn into_slot(self) -> Slot<S>;
}

impl<S> Slot<S> {
    fn serial(&mut self) -> NonZeroU32 {
        match self {
            Slot::Stream(stream) => *stream.serial(),
            Slot::Listener(listener) => *listener.serial(),
            Slot::Watch(watcher) => *watcher.serial(),
            Slot::Attempt(attempt) => *Tenant::<S>::serial(&mut **attempt),
        }
    }
}

pub(crate) struct Slots<S> {
    slab: Slab<Slot<S>>,
    serial: NonZeroU32,
}

impl<S> Slots<S> {
    pub(crate) fn new() -> Self {
        Slots { slab: Slab::new(), serial: NonZeroU32::MIN }
    }

    pub(crate) fn insert<T: Tenant<S>>(&mut self, mut tenant: T) -> Key {
        // Growing by a quarter instead of doubling keeps the unused part small: it counts for every idle connection.
        if self.slab.len() == self.slab.capacity() {
            self.slab.reserve_exact((self.slab.len() / 4).max(16));
        }
        self.serial = self.serial.checked_add(1).unwrap_or(NonZeroU32::MIN);
        *tenant.serial() = self.serial;
        let index = self.slab.insert(tenant.into_slot());
        assert!(index <= LAST_INDEX, "more sources than a {}-bit token can name", usize::BITS);
        Key::new(index, self.serial)
    }

    /// The tenant of that kind with this key, if it still lives here.
    #[inline]
    pub(crate) fn get<T: Tenant<S>>(&mut self, key: Key) -> Option<&mut T> {
        let tenant = T::of(self.slab.get_mut(key.index())?)?;
        (tenant.serial().get() == key.serial()).then_some(tenant)
    }

    /// The tenant of that kind an event is for, with its whole key; `None` if that tenant has left.
    #[inline]
    pub(crate) fn by_token<T: Tenant<S>>(&mut self, token: Token) -> Option<(Key, &mut T)> {
        let index = token.0 & ((1 << INDEX_BITS) - 1);
        let tenant = T::of(self.slab.get_mut(index)?)?;
        let key = Key::new(index, *tenant.serial());
        (key.token() == token).then_some((key, tenant))
    }

    pub(crate) fn by_key(&mut self, key: Key) -> Option<&mut Slot<S>> {
        let slot = self.slab.get_mut(key.index())?;
        (slot.serial().get() == key.serial()).then_some(slot)
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<Slot<S>> {
        self.by_key(key)?;
        self.slab.try_remove(key.index())
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    pub(crate) fn iter(&mut self) -> impl Iterator<Item = (Key, &mut Slot<S>)> {
        self.slab.iter_mut().map(|(index, slot)| (Key::new(index, slot.serial()), slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::poll::WAKER;
    use crate::reactor::protocol::Protocol;
    use crate::{Conn, Input};
    use std::io;

    struct Deaf;
    impl Protocol for Deaf {
        fn received(&mut self, _: &mut Conn<'_>, input: &mut Input<'_>) -> io::Result<()> {
            input.take_all();
            Ok(())
        }
    }

    fn stream() -> Stream<()> {
        Stream::new(None, Box::new(Deaf), &crate::Config::default())
    }

    #[test]
    fn a_slot_used_again_does_not_answer_to_its_earlier_tenant() {
        let mut slots = Slots::<()>::new();
        let first = slots.insert(stream());
        slots.remove(first);
        let second = slots.insert(stream());
        assert_eq!(first.index(), second.index());
        assert!(slots.get::<Stream<()>>(first).is_none());
        assert!(slots.by_token::<Stream<()>>(first.token()).is_none());
        assert!(slots.remove(first).is_none());
        assert!(slots.by_token::<Stream<()>>(second.token()).is_some());
    }

    #[test]
    fn serials_wrap_around() {
        let mut slots = Slots::<()>::new();
        slots.serial = NonZeroU32::MAX.get().checked_sub(1).and_then(NonZeroU32::new).unwrap();
        let keys = [slots.insert(stream()), slots.insert(stream()), slots.insert(stream())];
        assert_eq!(keys.map(Key::serial), [u32::MAX, 1, 2]);
        for key in keys {
            assert_eq!(slots.by_token::<Stream<()>>(key.token()).map(|(found, _)| found), Some(key));
        }
    }

    #[test]
    fn no_source_has_the_token_of_the_waker() {
        let last = Key::new(LAST_INDEX, NonZeroU32::MAX);
        assert_ne!(last.token(), WAKER);
        assert!(Slots::<()>::new().by_token::<Stream<()>>(WAKER).is_none());
    }

    #[test]
    fn an_idle_connection_is_104_bytes() {
        // The budget is 128 with everything, and the slab grows by a quarter. (mio's sockets are larger in debug
        // builds: they remember with whom they are registered.)
        let socket = size_of::<Option<crate::Socket>>();
        assert_eq!(size_of::<Slot<()>>() - socket, 96);
        assert!(cfg!(debug_assertions) || socket == if cfg!(feature = "tls") { 16 } else { 8 });
    }
}
