//! The bytes a connection has received, as a cursor.

#[cfg(feature = "tls")]
use std::{cell::Cell, rc::Rc};

/// A cursor over received bytes, lent by the loop for the length of one callback.
///
/// What is taken is consumed; what is left is kept by the connection and offered again with what comes next. The
/// slices taken borrow neither the cursor nor the connection, so they can be written back as they are:
/// `conn.write(input.take_all())` copies nothing on the way in.
#[derive(Debug)]
pub struct Input<'a> {
    bytes: &'a [u8],
    /// How long the frame may be of which this is the beginning, if a framing has said so; else 0.
    expected: usize,
    untaken: Untaken,
}

/// How many bytes of the input that is lent are not taken yet: the cursor tells the loop, as an upgrade to TLS asks for
/// it. Cursors that others than the loop have made tell nothing. Without TLS, there is no such number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Untaken {
    #[cfg(feature = "tls")]
    bytes: Option<Rc<Cell<usize>>>,
}

impl Untaken {
    pub(crate) fn new() -> Self {
        Untaken {
            #[cfg(feature = "tls")]
            bytes: Some(Rc::default()),
        }
    }

    #[inline]
    fn set(&self, bytes: usize) {
        #[cfg(feature = "tls")]
        if let Some(untaken) = &self.bytes {
            untaken.set(bytes);
        }
        #[cfg(not(feature = "tls"))]
        let _ = bytes;
    }

    #[cfg(feature = "tls")]
    pub(crate) fn get(&self) -> usize {
        self.bytes.as_ref().map_or(0, |untaken| untaken.get())
    }
}

/// Nothing is lent any more, also where a callback has panicked.
#[cfg(feature = "tls")]
impl Drop for Untaken {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl<'a> Input<'a> {
    /// A cursor over `bytes`, for testing a machine's parsing on its own.
    pub fn new(bytes: &'a [u8]) -> Self {
        Input { bytes, expected: 0, untaken: Untaken::default() }
    }

    /// The same for bytes that the loop lends.
    pub(crate) fn lent(bytes: &'a [u8], untaken: &Untaken) -> Self {
        untaken.set(bytes.len());
        Input { bytes, expected: 0, untaken: untaken.clone() }
    }

    fn leave(&mut self, rest: &'a [u8]) {
        self.bytes = rest;
        self.untaken.set(rest.len());
    }

    /// How many bytes are left.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What is left, without taking it.
    pub fn peek(&self) -> &'a [u8] {
        self.bytes
    }

    /// What is left is the beginning of a frame that may take this many bytes: so many are kept, whatever the input
    /// limit.
    pub(crate) fn expect(&mut self, bytes: usize) {
        self.expected = bytes;
    }

    /// What [`expect`](Self::expect) was told.
    pub(crate) fn expected(&self) -> usize {
        self.expected
    }

    /// Takes at most `n` bytes: fewer where fewer are left.
    pub fn take(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(n.min(self.bytes.len()));
        self.leave(rest);
        taken
    }

    /// Takes everything.
    pub fn take_all(&mut self) -> &'a [u8] {
        let taken = self.bytes;
        self.leave(&[]);
        taken
    }

    /// Takes one line, and returns it without its LF or CRLF; `None` where no line is complete, and then nothing is
    /// taken.
    ///
    /// ```
    /// let mut input = enjamb::Input::new(b"one\r\ntwo\nthr");
    /// assert_eq!(input.take_line(), Some(&b"one"[..]));
    /// assert_eq!(input.take_line(), Some(&b"two"[..]));
    /// assert_eq!(input.take_line(), None);
    /// assert_eq!(input.peek(), b"thr");
    /// ```
    pub fn take_line(&mut self) -> Option<&'a [u8]> {
        let end = self.bytes.iter().position(|&byte| byte == b'\n')?;
        let line = self.take(end + 1);
        let line = &line[..end];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}
