//! The framing of a streamed request body.

use crate::http::{Body, Error, Request};

/// Frames the pieces of a streamed body, and checks their total length against the announced one.
///
/// ```
/// use enjamb::http::{BodyWriter, Request};
///
/// let request = Request::put("http://example.org/log").stream(None).build()?;
/// let (mut writer, mut out) = (BodyWriter::new(&request), Vec::new());
/// writer.write(b"one line\n", &mut out)?;
/// writer.finish(&mut out)?;
/// assert_eq!(out, b"9\r\none line\n\r\n0\r\n\r\n");
/// # Ok::<(), enjamb::http::Error>(())
/// ```
#[derive(Debug)]
pub struct BodyWriter {
    /// `None`: the body is sent in chunks.
    announced: Option<u64>,
    given: u64,
}

impl BodyWriter {
    /// Creates a writer for this request's body. It accepts no bytes if the body is not a stream.
    pub fn new(request: &Request) -> Self {
        let announced = match request.body() {
            Body::Stream(length) => *length,
            Body::Empty | Body::Bytes(_) => Some(0),
        };
        BodyWriter { announced, given: 0 }
    }

    /// Frames a piece and appends it to `out`.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if the body becomes longer than announced. Nothing is appended then.
    pub fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let given = self.given + piece.len() as u64;
        if let Some(announced) = self.announced.filter(|&announced| given > announced) {
            return Err(Error::Length { announced, given });
        }
        self.given = given;
        // A chunk without data would end the body.
        match self.announced {
            None if !piece.is_empty() => {
                out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                out.extend_from_slice(piece);
                out.extend_from_slice(b"\r\n");
            }
            _ => out.extend_from_slice(piece),
        }
        Ok(())
    }

    /// Appends the end of the body to `out`.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if the body is shorter than announced. The connection cannot be reused then.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), Error> {
        match self.announced {
            None => out.extend_from_slice(b"0\r\n\r\n"),
            Some(announced) if self.given < announced => {
                return Err(Error::Length { announced, given: self.given });
            }
            Some(_) => {}
        }
        Ok(())
    }
}
