//! How output leaves: at once as far as the kernel takes it, the rest when there is room again.

use std::io::{self, Write};

use crate::base::buffer::Spares;
use crate::stream::cork::Cork;
use crate::stream::{SHORT_IS_ALL, Stream};

/// Behind output that waits already, a copy saves a system call besides. That is worth a longer copy than [`Cork::ROOM`].
const COPIED_BEHIND: usize = 32 * 1024;

impl Stream {
    /// Takes what is written: a large piece is sent at once, behind what waits before it; the rest is kept.
    #[inline]
    pub(crate) fn write(&mut self, bytes: &[u8], spares: &mut Spares) -> io::Result<()> {
        let sent = if bytes.len() >= Cork::ROOM { self.send_large(bytes, spares)? } else { 0 };
        self.keep(&bytes[sent..], spares);
        Ok(())
    }

    /// Sends a large piece, after what waits; returns how much of it the kernel took.
    #[inline(never)]
    fn send_large(&mut self, bytes: &[u8], spares: &mut Spares) -> io::Result<usize> {
        let worth_a_call = self.output.is_none() || bytes.len() >= COPIED_BEHIND;
        if worth_a_call && self.state.may_send() {
            self.flush(spares)?;
            if self.output.is_none() && self.state.may_send() {
                return self.send(bytes);
            }
        }
        Ok(0)
    }

    /// Sends what was corked during a callback, and keeps what the kernel does not take. Most of it goes to a plain TCP
    /// socket, all at once.
    #[inline]
    pub(crate) fn send_corked(&mut self, cork: &mut Cork, spares: &mut Spares) -> io::Result<()> {
        let bytes = cork.bytes();
        let sent = match self.socket.as_ref().and_then(|socket| socket.tcp()) {
            Some(mut tcp) => tcp.write(bytes),
            None => return self.send_rest(None, cork, spares),
        };
        self.state.wrote();
        if let Ok(n) = sent
            && n == bytes.len()
        {
            cork.clear();
            return Ok(());
        }
        self.send_rest(Some(sent), cork, spares)
    }

    /// What is left to do for output that was corked, if it was not all `sent` at once.
    #[cold]
    fn send_rest(
        &mut self,
        sent: Option<io::Result<usize>>,
        cork: &mut Cork,
        spares: &mut Spares,
    ) -> io::Result<()> {
        let bytes = cork.bytes();
        let sent = match sent {
            Some(sent) => self.taken(sent, bytes.len()),
            None => self.send(bytes),
        };
        self.keep(&bytes[*sent.as_ref().unwrap_or(&0)..], spares);
        cork.clear();
        sent.map(drop)
    }

    /// Sends what waits, as far as the kernel takes it; and if nothing waits, the records of TLS's own.
    pub(crate) fn flush(&mut self, spares: &mut Spares) -> io::Result<()> {
        let Some(mut output) = self.output.take() else {
            #[cfg(feature = "tls")]
            if self.socket.as_ref().is_some_and(|socket| !socket.flush()) {
                self.state.not_writable();
            }
            return Ok(());
        };
        let sent = self.send(output.as_slice());
        output.consume(*sent.as_ref().unwrap_or(&0));
        if output.is_empty() {
            spares.give(output);
        } else {
            self.output = Some(output);
        }
        sent.map(drop)
    }

    /// Shuts down writing where that was asked for and everything is sent.
    pub(crate) fn finish_if_due(&mut self) -> io::Result<()> {
        let due = self.state.may_finish() && self.output.is_none();
        let Some(socket) = self.socket.as_ref().filter(|_| due) else { return Ok(()) };
        match socket.finish() {
            // close_notify is not sent yet.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.state.not_writable();
                Ok(())
            }
            result => {
                self.state.shut();
                result
            }
        }
    }

    pub(crate) fn keep(&mut self, bytes: &[u8], spares: &mut Spares) {
        if !bytes.is_empty() {
            self.output.get_or_insert_with(|| spares.take()).push(bytes);
        }
    }

    /// Hands bytes to the kernel; returns how many it took.
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(socket) = &self.socket else { return Err(io::ErrorKind::NotConnected.into()) };
        let sent = socket.write(bytes);
        self.state.wrote();
        self.taken(sent, bytes.len())
    }

    /// How many bytes a send took. If it was not all, the kernel's buffer is full, and an event tells when there is room
    /// again: epoll(7), questions and answers, 9.
    fn taken(&mut self, result: io::Result<usize>, of: usize) -> io::Result<usize> {
        let sent = match result {
            Ok(n) if n == of => return Ok(n),
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            // signal(7) has no interruption of a call that does not wait, but a tracer or a filter may bring one about. The
            // stream stays writable, so it is queued, and the call is made again.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(0),
            result => result?,
        };
        if SHORT_IS_ALL || sent == 0 {
            self.state.not_writable();
        }
        Ok(sent)
    }
}
