//! The response parser: bytes in, events out.

use crate::Input;
use crate::http::body::chunked::{Chunk, ChunkDecoder};
use crate::http::message::framing::Framing;
use crate::http::message::head::HeadReader;
use crate::http::{Head, Headers, Method, NotReusable, Request, ResponseError, Rule};

/// The maximum size of a rest of a body that [`ResponseParser::drain`] discards to keep the connection: 16 KiB. Above
/// that, a new connection is cheaper.
pub const DRAIN_LIMIT: usize = 16 * 1024;

/// The next event that the parser found.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The input is used up. The response needs more.
    More,
    /// An interim response (1xx); another response follows. A 100 means that the client may send the body.
    Interim(Head),
    /// The head of the response.
    Head(Head),
    /// Bytes of the body, without the transfer coding. They are still compressed if the server compressed them.
    Data(&'a [u8]),
    /// The trailers of a chunked body, if there are any.
    Trailers(Headers),
    /// The end of the response. The bytes left in the input do not belong to it.
    End,
}

/// Parses one response, from input in pieces of any size.
///
/// The parser does no I/O. A [`Protocol`](crate::Protocol) passes the input of `received` to [`next`](Self::next) until
/// that returns [`Event::More`], and calls [`ended`](Self::ended) when the stream ends. The parser copies only heads
/// that arrive in pieces, and nothing of a body.
///
/// ```
/// use enjamb::Input;
/// use enjamb::http::{Event, Request, ResponseParser};
///
/// let request = Request::get("http://example.org/").build()?;
/// let mut parser = ResponseParser::new(&request);
///
/// let mut input = Input::new(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
/// assert!(matches!(parser.next(&mut input)?, Event::Head(head) if head.status == 200));
/// assert_eq!(parser.next(&mut input)?, Event::Data(b"hello"));
/// assert_eq!(parser.next(&mut input)?, Event::End);
///
/// parser.request_written(); // the caller wrote it
/// assert!(parser.reusable(input.len()).is_ok());
/// # Ok::<(), enjamb::http::Error>(())
/// ```
#[derive(Debug)]
pub struct ResponseParser {
    method: Method,
    state: State,
    received: u64,
    /// The reason against reusing the connection, as far as the request and the head show it.
    spoilt: Option<NotReusable>,
    written: bool,
}

#[derive(Debug)]
enum State {
    Head(HeadReader),
    /// In a body, with this many bytes missing.
    Length(u64),
    Chunked(ChunkDecoder),
    Close,
    Done,
    Failed(Rule),
}

impl ResponseParser {
    /// Creates a parser for the response to this request.
    pub fn new(request: &Request) -> Self {
        let closes = request.headers().lists("connection", "close");
        ResponseParser {
            method: request.method(),
            state: State::Head(HeadReader::default()),
            received: 0,
            spoilt: closes.then_some(NotReusable::Asked),
            written: false,
        }
    }

    /// Returns the next event. After [`Event::End`] it takes no more input, and returns the same event again.
    ///
    /// # Errors
    ///
    /// The broken rule, with the number of bytes received. Every later call returns the same error.
    pub fn next<'a>(&mut self, input: &mut Input<'a>) -> Result<Event<'a>, ResponseError> {
        let before = input.len();
        let result = self.step(input);
        self.received += (before - input.len()) as u64;
        result.map_err(|rule| self.fail(rule))
    }

    /// Tells the parser that the stream has ended. Returns [`Event::End`] if that completes the response.
    ///
    /// # Errors
    ///
    /// The response is incomplete, or an earlier call failed.
    pub fn ended(&mut self) -> Result<Event<'static>, ResponseError> {
        let rule = match self.state {
            State::Length(0) | State::Close | State::Done => {
                self.state = State::Done;
                return Ok(Event::End);
            }
            State::Head(_) => Rule::NoAnswer,
            State::Length(_) | State::Chunked(_) => Rule::Truncated,
            State::Failed(rule) => rule,
        };
        Err(self.fail(rule))
    }

    fn fail(&mut self, rule: Rule) -> ResponseError {
        self.state = State::Failed(rule);
        ResponseError::new(rule, self.received)
    }

    fn step<'a>(&mut self, input: &mut Input<'a>) -> Result<Event<'a>, Rule> {
        match &mut self.state {
            State::Head(reader) => match reader.read(input)? {
                None => Ok(Event::More),
                Some(head) if head.is_interim() => Ok(Event::Interim(head)),
                Some(mut head) => {
                    self.begin_body(&mut head)?;
                    Ok(Event::Head(head))
                }
            },
            State::Length(0) => {
                self.state = State::Done;
                Ok(Event::End)
            }
            State::Length(left) => {
                let data = input.take(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= data.len() as u64;
                Ok(if data.is_empty() { Event::More } else { Event::Data(data) })
            }
            State::Chunked(decoder) => match decoder.next(input)? {
                Chunk::More => Ok(Event::More),
                Chunk::Data(data) => Ok(Event::Data(data)),
                Chunk::End(trailers) => {
                    self.state = State::Done;
                    Ok(if trailers.is_empty() { Event::End } else { Event::Trailers(trailers) })
                }
            },
            State::Close if input.is_empty() => Ok(Event::More),
            State::Close => Ok(Event::Data(input.take_all())),
            State::Done => Ok(Event::End),
            State::Failed(rule) => Err(*rule),
        }
    }

    fn begin_body(&mut self, head: &mut Head) -> Result<(), Rule> {
        let framing = Framing::of(self.method, head)?;
        self.spoilt = self.spoilt.or(NotReusable::by_head(head, framing));
        self.state = match framing {
            Framing::Nothing => State::Length(0),
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(ChunkDecoder::new()),
            Framing::Close => State::Close,
        };
        head.body_length = match framing {
            Framing::Nothing => Some(0),
            Framing::Length(length) => Some(length),
            Framing::Chunked | Framing::Close => None,
        };
        Ok(())
    }

    /// The number of bytes received, interim responses included. If it is 0, the connection may have closed before the
    /// server saw the request.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Tells the parser that the whole request has been written.
    pub fn request_written(&mut self) {
        self.written = true;
    }

    /// Checks whether the connection can carry another request. `left_over` is the number of bytes after the end of
    /// this response.
    ///
    /// # Errors
    ///
    /// The reason for closing the connection.
    pub fn reusable(&self, left_over: usize) -> Result<(), NotReusable> {
        match self.spoilt {
            Some(why) => Err(why),
            None if !matches!(self.state, State::Done) => Err(NotReusable::Incomplete),
            None if !self.written => Err(NotReusable::RequestUnfinished),
            None if left_over > 0 => Err(NotReusable::LeftOver),
            None => Ok(()),
        }
    }

    /// Discards the rest of a body, from input that has already arrived and up to [`DRAIN_LIMIT`] bytes. Returns
    /// whether it reached the end. If it did not, close the connection; otherwise it can be kept.
    ///
    /// ```
    /// # use enjamb::{Input, http::{Request, ResponseParser}};
    /// # let request = Request::get("http://example.org/").build()?;
    /// # let mut parser = ResponseParser::new(&request);
    /// let mut input = Input::new(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    /// parser.next(&mut input)?; // the head is enough
    /// assert!(parser.drain(&mut input));
    /// # Ok::<(), enjamb::http::Error>(())
    /// ```
    pub fn drain(&mut self, input: &mut Input<'_>) -> bool {
        let (mut within, rest) = input.peek().split_at(input.len().min(DRAIN_LIMIT));
        let mut bounded = Input::new(within);
        let done = loop {
            match self.next(&mut bounded) {
                Ok(Event::End) => break true,
                Ok(Event::More) | Err(_) => break false,
                Ok(_) => {}
            }
        };
        within = bounded.peek();
        input.take(input.len() - rest.len() - within.len());
        done
    }
}
