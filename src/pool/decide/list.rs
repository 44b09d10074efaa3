//! Doubly linked lists through the entries of a slab. An entry enters and leaves in constant time, at any place,
//! without an allocation.

use std::marker::PhantomData;

use slab::Slab;

const NIL: usize = usize::MAX;

/// The links of an entry in one list.
#[derive(Debug, Clone, Copy)]
pub(in crate::pool) struct Links {
    prev: usize,
    next: usize,
}

impl Links {
    pub(in crate::pool) const NONE: Links = Links { prev: NIL, next: NIL };
}

/// An entry that can be in a list of the kind `K`, in one at a time.
pub(in crate::pool) trait Linked<K> {
    fn links(&self) -> Links;
    fn links_mut(&mut self) -> &mut Links;
}

#[derive(Debug)]
pub(in crate::pool) struct List<K> {
    head: usize,
    tail: usize,
    len: usize,
    kind: PhantomData<K>,
}

impl<K> List<K> {
    pub(in crate::pool) const fn new() -> Self {
        List { head: NIL, tail: NIL, len: 0, kind: PhantomData }
    }

    pub(in crate::pool) fn len(&self) -> usize {
        self.len
    }

    pub(in crate::pool) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(in crate::pool) fn front(&self) -> Option<usize> {
        known(self.head)
    }

    /// The entry after this one.
    pub(in crate::pool) fn after<T: Linked<K>>(&self, slab: &Slab<T>, index: usize) -> Option<usize> {
        known(slab[index].links().next)
    }

    pub(in crate::pool) fn push_back<T: Linked<K>>(&mut self, slab: &mut Slab<T>, index: usize) {
        *slab[index].links_mut() = Links { prev: self.tail, next: NIL };
        match known(self.tail) {
            Some(tail) => slab[tail].links_mut().next = index,
            None => self.head = index,
        }
        self.tail = index;
        self.len += 1;
    }

    pub(in crate::pool) fn push_front<T: Linked<K>>(&mut self, slab: &mut Slab<T>, index: usize) {
        *slab[index].links_mut() = Links { prev: NIL, next: self.head };
        match known(self.head) {
            Some(head) => slab[head].links_mut().prev = index,
            None => self.tail = index,
        }
        self.head = index;
        self.len += 1;
    }

    /// Removes an entry, which must be in this list.
    pub(in crate::pool) fn remove<T: Linked<K>>(&mut self, slab: &mut Slab<T>, index: usize) {
        let Links { prev, next } = std::mem::replace(slab[index].links_mut(), Links::NONE);
        match known(prev) {
            Some(prev) => slab[prev].links_mut().next = next,
            None => self.head = next,
        }
        match known(next) {
            Some(next) => slab[next].links_mut().prev = prev,
            None => self.tail = prev,
        }
        self.len -= 1;
    }
}

fn known(index: usize) -> Option<usize> {
    (index != NIL).then_some(index)
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use super::*;
    use crate::net::simulated::Random;
    use std::collections::VecDeque;

    struct Only;
    impl Linked<Only> for Links {
        fn links(&self) -> Links {
            *self
        }
        fn links_mut(&mut self) -> &mut Links {
            self
        }
    }

    #[test]
    fn a_list_keeps_its_order_whoever_enters_and_leaves() {
        let (mut random, mut slab, mut list) = (Random::new(1), Slab::new(), List::<Only>::new());
        let mut model = VecDeque::new();
        for _ in 0..50_000 {
            match random.within(0..=3) {
                0 => {
                    let index = slab.insert(Links::NONE);
                    list.push_back(&mut slab, index);
                    model.push_back(index);
                }
                1 => {
                    let index = slab.insert(Links::NONE);
                    list.push_front(&mut slab, index);
                    model.push_front(index);
                }
                _ if !model.is_empty() => {
                    let nth = random.within(0..=model.len() as u64 - 1) as usize;
                    let index = model.remove(nth).unwrap();
                    list.remove(&mut slab, index);
                    slab.remove(index);
                }
                _ => {}
            }
            assert_eq!((list.len(), list.front()), (model.len(), model.front().copied()));
            if model.len() > 1 {
                assert_eq!(list.after(&slab, model[0]), Some(model[1]));
            }
        }
        let mut at = list.front();
        for index in model {
            assert_eq!(at, Some(index));
            at = list.after(&slab, index);
        }
        assert_eq!(at, None);
    }
}
