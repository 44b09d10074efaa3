//! Bytes that wait: unsent output, unconsumed input. And the few spare buffers that save allocating them.

/// A queue of bytes. What is consumed is skipped at once and moved out of the way only when it is more than what is
/// left, so that consuming a little at a time costs no more than the bytes themselves.
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
