//! Who was heard last: a list that is kept in order by moving to its end whoever is heard.
//!
//! The list is threaded through the slots of a slab, so nothing is allocated and everything is done in
//! the same time however long it is.

/// No slot.
const NONE: u32 = u32::MAX;

/// The neighbours of a slot in one list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    before: u32,
    after: u32,
}

impl Default for Links {
    fn default() -> Self {
        Self { before: NONE, after: NONE }
    }
}

/// A list: the one that was not heard for longest comes first.
#[derive(Debug)]
pub(super) struct Queue {
    first: u32,
    last: u32,
    len: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self { first: NONE, last: NONE, len: 0 }
    }
}

/// Where the links of a list's slots are.
pub(super) trait Linked {
    /// The links of a slot that is in the list, or about to be.
    fn links(&mut self, slot: u32) -> &mut Links;
}

impl Queue {
    pub(super) fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, slot: u32, slots: &mut impl Linked) {
        *slots.links(slot) = Links { before: self.last, after: NONE };
        match self.last {
            NONE => self.first = slot,
            last => slots.links(last).after = slot,
        }
        self.last = slot;
        self.len += 1;
    }

    pub(super) fn remove(&mut self, slot: u32, slots: &mut impl Linked) {
        let Links { before, after } = *slots.links(slot);
        match before {
            NONE => self.first = after,
            before => slots.links(before).after = after,
        }
        match after {
            NONE => self.last = before,
            after => slots.links(after).before = before,
        }
        self.len -= 1;
    }

    /// Moves a slot of the list to its end.
    pub(super) fn hear(&mut self, slot: u32, slots: &mut impl Linked) {
        if self.last != slot {
            self.remove(slot, slots);
            self.push(slot, slots);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Linked for Vec<Links> {
        fn links(&mut self, slot: u32) -> &mut Links {
            &mut self[slot as usize]
        }
    }

    fn order(queue: &Queue, slots: &[Links]) -> Vec<u32> {
        let first = queue.first();
        let next = |slot: &u32| Some(slots[*slot as usize].after).filter(|after| *after != NONE);
        std::iter::successors(first, next).collect()
    }

    #[test]
    fn whoever_is_heard_goes_to_the_end() {
        let (mut queue, mut slots) = (Queue::default(), vec![Links::default(); 4]);
        assert_eq!((queue.first(), queue.len()), (None, 0));
        for slot in 0..4 {
            queue.push(slot, &mut slots);
        }
        assert_eq!(order(&queue, &slots), [0, 1, 2, 3]);
        for (slot, then) in [(0, [1, 2, 3, 0]), (0, [1, 2, 3, 0]), (2, [1, 3, 0, 2])] {
            queue.hear(slot, &mut slots);
            assert_eq!(order(&queue, &slots), then);
        }
    }

    #[test]
    fn slots_go_from_the_middle_and_from_both_ends() {
        let (mut queue, mut slots) = (Queue::default(), vec![Links::default(); 4]);
        (0..4).for_each(|slot| queue.push(slot, &mut slots));
        for (slot, then) in [(1, &[0, 2, 3][..]), (3, &[0, 2]), (0, &[2]), (2, &[])] {
            queue.remove(slot, &mut slots);
            assert_eq!((order(&queue, &slots).as_slice(), queue.len()), (then, then.len()));
        }
        queue.push(1, &mut slots);
        assert_eq!(order(&queue, &slots), [1]);
    }
}
