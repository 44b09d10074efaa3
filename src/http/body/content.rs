//! Content codings: the compression of a body.

use crate::Input;
#[cfg(feature = "gzip")]
use crate::http::body::gunzip::Gunzip;
use crate::http::{Head, Request, Rule};

/// The number of body bytes decoded or written at a time.
pub(in crate::http) const PIECE: usize = 16 * 1024;

/// Removes the compression from a body that the request allowed: gzip, with the feature `gzip`.
#[derive(Debug)]
pub struct ContentDecoder(Coding);

#[derive(Debug)]
enum Coding {
    Identity,
    #[cfg(feature = "gzip")]
    Gzip(Box<Gunzip>),
}

impl ContentDecoder {
    /// Creates a decoder for the response with this head to this request. A coding that was not requested is left in
    /// place. So is one that the caller requested with an `Accept-Encoding` field.
    pub fn of(request: &Request, head: &Head) -> Self {
        Self::new(request.accepts_gzip(), head)
    }

    pub(crate) fn new(accepts_gzip: bool, head: &Head) -> Self {
        #[cfg(feature = "gzip")]
        if accepts_gzip {
            let mut codings = head.headers.list("content-encoding");
            let gzip = |coding: &str| ["gzip", "x-gzip"].iter().any(|name| coding.eq_ignore_ascii_case(name));
            if codings.next().is_some_and(gzip) && codings.next().is_none() {
                return ContentDecoder(Coding::Gzip(Box::default()));
            }
        }
        let _ = (accepts_gzip, head);
        ContentDecoder(Coding::Identity)
    }

    /// Whether the decoder passes the body through unchanged.
    pub(crate) fn is_identity(&self) -> bool {
        matches!(self.0, Coding::Identity)
    }

    /// Decodes from `input`, appends at most `most` bytes to `out`, and returns their number. If it returns `most`,
    /// call it again: there may be more. So a small body that unpacks to a huge one is in memory one piece at a time.
    ///
    /// # Errors
    ///
    /// [`Rule::Gzip`], [`Rule::GzipMembers`]. `out` then holds some of the data before the error; the amount depends on
    /// how the input was split.
    pub fn decode(&mut self, input: &mut Input<'_>, out: &mut Vec<u8>, most: usize) -> Result<usize, Rule> {
        match &mut self.0 {
            Coding::Identity => {
                let piece = input.take(most);
                out.extend_from_slice(piece);
                Ok(piece.len())
            }
            #[cfg(feature = "gzip")]
            Coding::Gzip(gunzip) => gunzip.decode(input, out, most),
        }
    }

    /// Tells the decoder that the body has ended.
    ///
    /// # Errors
    ///
    /// [`Rule::GzipTruncated`] if the compressed data is incomplete. An empty body is accepted, since some servers
    /// label an empty body as gzip.
    pub fn finish(&self) -> Result<(), Rule> {
        match &self.0 {
            Coding::Identity => Ok(()),
            #[cfg(feature = "gzip")]
            Coding::Gzip(gunzip) => gunzip.finish(),
        }
    }
}
