//! The parser of answers: bytes in, events out.

use crate::Input;
use crate::http::body::chunked::{Chunk, ChunkDecoder};
use crate::http::message::framing::Framing;
use crate::http::message::head::HeadReader;
use crate::http::{Head, Headers, Method, NotReusable, Request, ResponseError, Rule};

/// Most bytes of an unread body that are read only to keep its connection: 16 KiB. Above that, a new connection is cheaper.
pub const DRAIN_LIMIT: usize = 16 * 1024;

/// What the parser has found next.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// All that was there is taken; more must come.
    More,
    /// An interim answer (1xx), with more answers to come: 100 says that the body may be sent.
    Interim(Head),
    /// The head of the answer.
    Head(Head),
    /// Bytes of the body, without the transfer coding; still compressed, if they are.
    Data(&'a [u8]),
    /// The trailers of a chunked body. Only where there are any.
    Trailers(Headers),
    /// The end of the answer. What is left in the input does not belong to it.
    End,
}

/// Reads one answer, fed with its bytes as they come.
///
/// It does no I/O, and never waits: a [`Protocol`](crate::Protocol)'s `received` passes it the input until it says
/// [`Event::More`], and `ended` tells it that the stream has ended. It copies pieces of a head, and nothing of a body.
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
/// parser.request_written(); // whoever wrote the request says so
/// assert!(parser.reusable(input.len()).is_ok());
/// # Ok::<(), enjamb::http::Error>(())
/// ```
#[derive(Debug)]
pub struct ResponseParser {
    method: Method,
    state: State,
    received: u64,
    /// Why the connection cannot be used again, as far as the request and the head tell.
    spoilt: Option<NotReusable>,
    written: bool,
}

#[derive(Debug)]
enum State {
    Head(HeadReader),
    /// In a body, with so many bytes to come.
    Length(u64),
    Chunked(ChunkDecoder),
    Close,
    Done,
    Failed(Rule),
}

impl ResponseParser {
    /// A parser for the answer to this request.
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

    /// Takes bytes up to the next event. After [`Event::End`] it takes no more, and says the same again.
    ///
    /// # Errors
    ///
    /// The rule that is broken, and how many bytes had come. It will be the same error for ever.
    pub fn next<'a>(&mut self, input: &mut Input<'a>) -> Result<Event<'a>, ResponseError> {
        let before = input.len();
        let result = self.step(input);
        self.received += (before - input.len()) as u64;
        result.map_err(|rule| self.fail(rule))
    }

    /// The stream has ended: [`Event::End`] where that ends the answer.
    ///
    /// # Errors
    ///
    /// The answer is not complete, or had failed before.
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

    /// How many bytes of this answer have come, interim answers included. Where none has, the connection may have been
    /// closed before the server saw the request.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The request has been written whole.
    pub fn request_written(&mut self) {
        self.written = true;
    }

    /// Whether the connection can be used for another request; `left_over` bytes are behind the end of this answer.
    ///
    /// # Errors
    ///
    /// Why it must be closed.
    pub fn reusable(&self, left_over: usize) -> Result<(), NotReusable> {
        match self.spoilt {
            Some(why) => Err(why),
            None if !matches!(self.state, State::Done) => Err(NotReusable::Incomplete),
            None if !self.written => Err(NotReusable::RequestUnfinished),
            None if left_over > 0 => Err(NotReusable::LeftOver),
            None => Ok(()),
        }
    }

    /// Reads on to the end of a body that nobody wants, within what has already arrived and [`DRAIN_LIMIT`]. Whether it
    /// got there: then the connection may be kept, and otherwise it is to be closed.
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
