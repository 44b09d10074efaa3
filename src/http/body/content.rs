//! Content codings: what a body went through before it was framed.

use crate::Input;
#[cfg(feature = "gzip")]
use crate::http::body::gunzip::Gunzip;
use crate::http::{Head, Request, Rule};

/// How many bytes of a body are decoded, or written, in one go.
pub(in crate::http) const PIECE: usize = 16 * 1024;

/// Takes the compression off a body, where there is one that was asked for: gzip, with the feature of that name.
#[derive(Debug)]
pub struct ContentDecoder(Coding);

#[derive(Debug)]
enum Coding {
    Identity,
    #[cfg(feature = "gzip")]
    Gzip(Box<Gunzip>),
}

impl ContentDecoder {
    /// For the answer with this head to this request. A coding that was not asked for, or that the caller had asked for in
    /// an `Accept-Encoding` of its own, is left on.
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

    /// Whether it changes nothing.
    pub(crate) fn is_identity(&self) -> bool {
        matches!(self.0, Coding::Identity)
    }

    /// Decodes from `input` to the end of `out`, `most` bytes at most, and says how many. Where that many came, there may
    /// be more: call it again. So a body that is small and unpacks to something huge is in memory a piece at a time.
    ///
    /// # Errors
    ///
    /// [`Rule::Gzip`], [`Rule::GzipMembers`]. Some of what came before is in `out`; how much, depends on how the bytes came.
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

    /// The body has ended.
    ///
    /// # Errors
    ///
    /// [`Rule::GzipTruncated`]: too early. An empty body is none too early: some servers send it as it is.
    pub fn finish(&self) -> Result<(), Rule> {
        match &self.0 {
            Coding::Identity => Ok(()),
            #[cfg(feature = "gzip")]
            Coding::Gzip(gunzip) => gunzip.finish(),
        }
    }
}
