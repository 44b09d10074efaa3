//! Answers, collected: from events to one value.

use crate::Input;
use crate::http::body::content::PIECE;
use crate::http::{ContentDecoder, Event, Request, Response, ResponseError, ResponseParser, Rule, Url};

/// Most bytes of a whole body, decoded, unless the caller says otherwise: 10 MiB.
pub const BODY_LIMIT: u64 = 10 * 1024 * 1024;

/// How far the collector has got.
#[derive(Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "it is matched where it is made; a box would be an allocation for each answer"
)]
pub enum Progress {
    /// All that was there is taken; more must come.
    More,
    /// The server wants the body (100). More is to come, and more may be there.
    Continue,
    /// The answer is complete. What is left in the input does not belong to it.
    Done(Response),
}

/// Collects an answer into a [`Response`], decoded, up to a limit.
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
    /// Once the head is there.
    begun: Option<(Response, ContentDecoder)>,
    limit: u64,
}

impl Collector {
    /// For the answer to this request, with a body of at most `limit` bytes, decoded.
    pub fn new(request: &Request, limit: u64) -> Self {
        Collector {
            parser: ResponseParser::new(request),
            url: request.url().clone(),
            accepts_gzip: request.accepts_gzip(),
            begun: None,
            limit,
        }
    }

    /// The parser underneath, which knows what has come, and whether the connection can be used again.
    pub fn parser(&mut self) -> &mut ResponseParser {
        &mut self.parser
    }

    /// Takes what has come. It is not to be called again after [`Progress::Done`].
    ///
    /// # Errors
    ///
    /// The rule that is broken; what arrived before is in [`ResponseError::partial`].
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

    /// The stream has ended.
    ///
    /// # Errors
    ///
    /// The answer is not complete; what arrived is in [`ResponseError::partial`].
    pub fn ended(&mut self) -> Result<Response, ResponseError> {
        match self.parser.ended() {
            Ok(_) => self.end(),
            Err(error) => Err(self.with_partial(error)),
        }
    }

    /// Takes one event; whether it was a 100.
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
        // The parser says that it ended after a head only, and once.
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

/// Decodes all of the input, a piece at a time, so that the limit holds for what is in memory too.
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
        // First, since what came before an error counts too.
        response.push(&piece, limit)?;
        if made? < PIECE {
            return Ok(());
        }
    }
}
