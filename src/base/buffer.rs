//! Bytes that wait: unsent output, unconsumed input. And the few spare buffers that save allocating them.

/// A queue of bytes. What is consumed is skipped at once and moved out of the way only when it is more than what is
/// left, so that consuming a little at a time costs no more than the bytes themselves. With that, room is given back of
/// which little is used: so it is at most eight times what is left, or [`Spares::LARGEST`].
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
}

impl Buffer {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    #[inline]
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn consume(&mut self, n: usize) {
        self.start += n;
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        } else if self.start > self.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
            // Twice as much as is left, so that it must grow as much again before it moves.
            if self.bytes.capacity() > Spares::LARGEST.max(4 * self.bytes.len()) {
                self.bytes.shrink_to(Spares::LARGEST.max(2 * self.bytes.len()));
            }
        }
    }
}

/// Empty buffers that wait for the next who needs one: no connection owns one while it is idle, and a busy loop
/// allocates none.
#[expect(
    clippy::vec_box,
    reason = "a connection holds its buffer boxed, to be small; the box is kept with it"
)]
#[derive(Debug, Default)]
pub(crate) struct Spares(Vec<Box<Buffer>>);

impl Spares {
    /// With [`LARGEST`](Self::LARGEST), what a loop keeps: 2 MiB at most.
    const MOST: usize = 32;
    const LARGEST: usize = 64 * 1024;

    #[inline]
    pub(crate) fn take(&mut self) -> Box<Buffer> {
        self.0.pop().unwrap_or_default()
    }

    /// Takes back a buffer; whatever it still holds is dropped.
    #[inline]
    pub(crate) fn give(&mut self, mut buffer: Box<Buffer>) {
        if self.0.len() < Self::MOST && buffer.bytes.capacity() <= Self::LARGEST {
            buffer.bytes.clear();
            buffer.start = 0;
            self.0.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_the_order_they_went_in() {
        let mut buffer = Buffer::default();
        let mut next_in = 0u8;
        let mut next_out = 0u8;
        for step in 0..1000usize {
            let pushed: Vec<u8> =
                (0..step % 7).map(|_| (next_in, next_in = next_in.wrapping_add(1)).0).collect();
            buffer.push(&pushed);
            let n = buffer.len().min(step % 5);
            for &byte in &buffer.as_slice()[..n] {
                assert_eq!(byte, next_out);
                next_out = next_out.wrapping_add(1);
            }
            buffer.consume(n);
        }
    }

    #[test]
    fn consumed_bytes_do_not_pile_up() {
        let mut buffer = Buffer::default();
        buffer.push(&[0; 100]);
        for _ in 0..10_000 {
            buffer.push(&[0; 10]);
            buffer.consume(10);
        }
        assert!(buffer.bytes.capacity() < 1000, "{}", buffer.bytes.capacity());
    }

    #[test]
    fn the_room_of_a_peak_is_given_back_while_bytes_are_left() {
        const PEAK: usize = 10 << 20;
        for step in [1_000, 65_536, PEAK / 3, PEAK - 1] {
            let mut buffer = Buffer::default();
            buffer.push(&vec![b'x'; PEAK]);
            while buffer.len() > step {
                buffer.consume(step);
                let (room, most) = (buffer.bytes.capacity(), Spares::LARGEST.max(8 * buffer.len()));
                assert!(room <= most, "{room} bytes for {}, in steps of {step}", buffer.len());
            }
            assert_eq!(buffer.as_slice(), vec![b'x'; buffer.len()]);
        }
    }

    #[test]
    fn giving_room_back_and_taking_it_again_costs_no_more_than_the_bytes() {
        let mut buffer = Buffer::default();
        let (mut pushed, mut moved) = (0, 0);
        for round in 0..2_000 {
            let (more, less) = if round % 100 < 10 { (300_000, 1_000) } else { (1_000, 30_000) };
            let (room, length) = (buffer.bytes.capacity(), buffer.len());
            buffer.push(&vec![0; more]);
            pushed += more;
            moved += if buffer.bytes.capacity() > room { length } else { 0 };
            let start = buffer.start;
            buffer.consume(less.min(buffer.len() - 1));
            moved += if buffer.start < start { 2 * buffer.len() } else { 0 }; // to the front, and to a smaller place
        }
        assert!(moved < 4 * pushed, "{moved} bytes moved for {pushed}");
    }

    #[test]
    fn spares_are_few_and_small() {
        let mut spares = Spares::default();
        spares.give(Box::new(Buffer { bytes: Vec::with_capacity(Spares::LARGEST + 1), start: 0 }));
        assert_eq!(spares.0.len(), 0);
        for _ in 0..2 * Spares::MOST {
            spares.give(Box::default());
        }
        assert_eq!(spares.0.len(), Spares::MOST);
    }
}
