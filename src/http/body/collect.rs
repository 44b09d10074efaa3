//! Collects a whole response into one value.

use crate::Input;
use crate::http::body::content::PIECE;
use crate::http::{ContentDecoder, Event, Request, Response, ResponseError, ResponseParser, Rule, Url};

/// The default limit on a whole body, decoded: 10 MiB.
pub const BODY_LIMIT: u64 = 10 * 1024 * 1024;

/// The progress of a [`Collector`].
#[derive(Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "the caller matches it at once; a box would cost an allocation for each response"
)]
pub enum Progress {
    /// The input is used up. The response needs more.
    More,
    /// The server wants the body (status 100). The response is not complete; the input may hold more of it.
    Continue,
    /// The response is complete. The bytes left in the input do not belong to it.
    Done(Response),
}

/// Collects a response into a [`Response`], decoded, with a limit on the body's size.
///
/// ```
/// use enjamb::Input;
/// use enjamb::http::{BODY_LIMIT, Collector, Progress, Request};
///
/// let request = Request::get("http://example.org/").build()?;
/// let mut collector = Collector::new(&request, BODY_LIMIT);
/// assert_eq!(collector.feed(&mut Input::new(b"HTTP/1.0 200 OK\r\n\r\nuntil "))?, Progress::More);
/// assert_eq!(collector.feed(&mut Input::new(b"the close"))?, Progress::More);
/// let response = collector.ended()?;
/// assert_eq!((response.status, response.text().as_ref()), (200, "until the close"));
/// # Ok::<(), enjamb::http::Error>(())
/// ```
#[derive(Debug)]
pub struct Collector {
    parser: ResponseParser,
    url: Url,
    accepts_gzip: bool,
    /// Set when the head has arrived.
    begun: Option<(Response, ContentDecoder)>,
    limit: u64,
}

impl Collector {
    /// Creates a collector for the response to this request. The decoded body has at most `limit` bytes.
    pub fn new(request: &Request, limit: u64) -> Self {
        Collector {
            parser: ResponseParser::new(request),
            url: request.url().clone(),
            accepts_gzip: request.accepts_gzip(),
            begun: None,
            limit,
        }
    }

    /// The underlying parser. It counts the bytes received, and decides whether the connection can be reused.
    pub fn parser(&mut self) -> &mut ResponseParser {
        &mut self.parser
    }

    /// Takes the input. Do not call it again after [`Progress::Done`].
    ///
    /// # Errors
    ///
    /// The broken rule. [`ResponseError::partial`] holds the response up to that point.
    pub fn feed(&mut self, input: &mut Input<'_>) -> Result<Progress, ResponseError> {
        loop {
            match self.parser.next(input) {
                Ok(Event::More) => return Ok(Progress::More),
                Ok(Event::End) => return self.end().map(Progress::Done),
                Ok(event) => {
                    if self.take(event)? {
                        return Ok(Progress::Continue);
                    }
                }
                Err(error) => return Err(self.with_partial(error)),
            }
        }
    }

    /// Tells the collector that the stream has ended, and returns the response.
    ///
    /// # Errors
    ///
    /// The response is incomplete: [`ResponseError::partial`] holds the received part.
    pub fn ended(&mut self) -> Result<Response, ResponseError> {
        match self.parser.ended() {
            Ok(_) => self.end(),
            Err(error) => Err(self.with_partial(error)),
        }
    }

    /// Handles one event. Returns whether it was a 100.
    fn take(&mut self, event: Event<'_>) -> Result<bool, ResponseError> {
        let result = match (event, &mut self.begun) {
            (Event::Interim(head), _) => return Ok(head.status == 100),
            (Event::Head(head), _) => {
                let (decoder, fits) =
                    (ContentDecoder::new(self.accepts_gzip, &head), head.check_length(self.limit));
                self.begun = Some((Response::new(self.url.clone(), head), decoder));
                fits
            }
            (Event::Trailers(trailers), Some((response, _))) => {
                response.trailers = trailers;
                Ok(())
            }
            (Event::Data(data), Some((response, decoder))) => {
                decode(decoder, &mut Input::new(data), response, self.limit)
            }
            _ => Ok(()),
        };
        result.map_err(|rule| self.broken(rule))?;
        Ok(false)
    }

    fn end(&mut self) -> Result<Response, ResponseError> {
        if let Some((_, decoder)) = &self.begun {
            decoder.finish().map_err(|rule| self.broken(rule))?;
        }
        // The parser reports the end once, and only after a head.
        self.begun.take().map(|(response, _)| response).ok_or_else(|| self.broken(Rule::NoAnswer))
    }

    fn broken(&mut self, rule: Rule) -> ResponseError {
        self.with_partial(ResponseError::new(rule, self.parser.received()))
    }

    fn with_partial(&mut self, mut error: ResponseError) -> ResponseError {
        error.partial = self.begun.take().map(|(response, _)| Box::new(response));
        error
    }
}

/// Decodes the input piece by piece, so that the limit also bounds memory.
fn decode(
    decoder: &mut ContentDecoder,
    data: &mut Input<'_>,
    response: &mut Response,
    limit: u64,
) -> Result<(), Rule> {
    if decoder.is_identity() {
        return response.push(data.take_all(), limit);
    }
    let mut piece = Vec::new();
    loop {
        piece.clear();
        let made = decoder.decode(data, &mut piece, PIECE);
        // Push before checking the result: the bytes before an error count too.
        response.push(&piece, limit)?;
        if made? < PIECE {
            return Ok(());
        }
    }
}
