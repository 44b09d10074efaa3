//! Where every source lives: a slab, and the serial that tells a slot's tenants apart.
//!
//! A slot's index is used again as soon as it is free, while an event for the tenant before may still be on its way
//! (in the batch at hand, on a duplicated descriptor, in an id that somebody kept). So every tenant has a serial, the
//! token carries both, and what does not match finds nobody.

use mio::Token;
use slab::Slab;
use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};

/// The token of the waker. No source has it: [`LAST_INDEX`] is below its index bits.
pub(crate) const WAKER: Token = Token(usize::MAX);

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

/// What lives in a slot, whatever its kind.
pub(crate) trait Slot {
    fn serial(&mut self) -> NonZeroU32;
}

/// One kind of what lives in the slots `T`. Its serial stands inside, where it fills a gap of the layout; beside it, it
/// would cost eight bytes.
pub(crate) trait Tenant<T>: Sized {
    fn serial(&mut self) -> &mut NonZeroU32;
    fn of(slot: &mut T) -> Option<&mut Self>;
    fn into_slot(self) -> T;
}

pub(crate) struct Slots<T> {
    slab: Slab<T>,
    serial: NonZeroU32,
}

impl<T: Slot> Slots<T> {
    pub(crate) fn new() -> Self {
        Slots { slab: Slab::new(), serial: NonZeroU32::MIN }
    }

    pub(crate) fn insert(&mut self, mut tenant: impl Tenant<T>) -> Key {
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
    pub(crate) fn get<K: Tenant<T>>(&mut self, key: Key) -> Option<&mut K> {
        let tenant = K::of(self.slab.get_mut(key.index())?)?;
        (tenant.serial().get() == key.serial()).then_some(tenant)
    }

    /// The tenant of that kind an event is for, with its whole key; `None` if that tenant has left.
    #[inline]
    pub(crate) fn by_token<K: Tenant<T>>(&mut self, token: Token) -> Option<(Key, &mut K)> {
        let index = token.0 & ((1 << INDEX_BITS) - 1);
        let tenant = K::of(self.slab.get_mut(index)?)?;
        let key = Key::new(index, *tenant.serial());
        (key.token() == token).then_some((key, tenant))
    }

    pub(crate) fn by_key(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slab.get_mut(key.index())?;
        (slot.serial().get() == key.serial()).then_some(slot)
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.by_key(key)?;
        self.slab.try_remove(key.index())
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    pub(crate) fn iter(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        self.slab.iter_mut().map(|(index, slot)| (Key::new(index, slot.serial()), slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Guest(NonZeroU32);

    impl Slot for Guest {
        fn serial(&mut self) -> NonZeroU32 {
            self.0
        }
    }

    impl Tenant<Guest> for Guest {
        fn serial(&mut self) -> &mut NonZeroU32 {
            &mut self.0
        }
        fn of(slot: &mut Guest) -> Option<&mut Self> {
            Some(slot)
        }
        fn into_slot(self) -> Guest {
            self
        }
    }

    fn guest() -> Guest {
        Guest(NonZeroU32::MIN)
    }

    #[test]
    fn a_slot_used_again_does_not_answer_to_its_earlier_tenant() {
        let mut slots = Slots::<Guest>::new();
        let first = slots.insert(guest());
        slots.remove(first);
        let second = slots.insert(guest());
        assert_eq!(first.index(), second.index());
        assert!(slots.get::<Guest>(first).is_none());
        assert!(slots.by_token::<Guest>(first.token()).is_none());
        assert!(slots.remove(first).is_none());
        assert!(slots.by_token::<Guest>(second.token()).is_some());
    }

    #[test]
    fn serials_wrap_around() {
        let mut slots = Slots::<Guest>::new();
        slots.serial = NonZeroU32::MAX.get().checked_sub(1).and_then(NonZeroU32::new).unwrap();
        let keys = [slots.insert(guest()), slots.insert(guest()), slots.insert(guest())];
        assert_eq!(keys.map(Key::serial), [u32::MAX, 1, 2]);
        for key in keys {
            assert_eq!(slots.by_token::<Guest>(key.token()).map(|(found, _)| found), Some(key));
        }
    }

    #[test]
    fn no_source_has_the_token_of_the_waker() {
        let last = Key::new(LAST_INDEX, NonZeroU32::MAX);
        assert_ne!(last.token(), WAKER);
        assert!(Slots::<Guest>::new().by_token::<Guest>(WAKER).is_none());
    }
}
