//! A session: requests over pooled connections, with redirects and cookies.

mod blocking;
mod call;
mod config;
mod exchange;
mod failure;
mod receiver;
mod total;
mod whole;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use super::{Body, Cookies, Error, IdleBytes, IntoUrl, Request, Response, Scheme, Url};
use crate::Cx;
use crate::base::error;
use crate::pool::{self, Key, Pool};

pub use blocking::{get, send};
pub use call::Call;
pub use config::Config;
pub use failure::{Failure, Phase};
pub use receiver::Receiver;

use call::State;
use exchange::Exchange;
use total::Total;
use whole::Whole;

/// A handle on a session: a [pool](crate::pool) of connections, a jar of cookies, and the limits of all calls. Clones
/// refer to the same session. Like its pool, a session belongs to the reactor with which it is first used.
///
/// No method calls back before it returns. The loop delivers the result of each request later, exactly once.
///
/// Idle connections keep [`run`](crate::Reactor::run) running until they expire, like all connections. There are three
/// ways to end earlier. Drop the last handle: that closes the idle connections, and calls in progress go on to their
/// end. [Stop](Cx::stop) the loop. Or [drain](Pool::drain) the [pool](Self::pool).
///
#[cfg_attr(feature = "sim", doc = "```")]
#[cfg_attr(not(feature = "sim"), doc = "```ignore")]
/// use enjamb::http::{Config, Session};
/// use enjamb::sim::{Script, Sim};
///
/// let sim = Sim::new(1); // or a real reactor
/// let mut reactor = sim.reactor()?;
/// let mut pages: Vec<String> = Vec::new();
/// let mut cx = reactor.cx(&mut pages);
/// cx.listen(([10, 0, 0, 1], 80), |_, _| {
///     Script::new().until("\r\n\r\n").say("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nrunning on\n")
/// })?;
///
/// let session = Session::new(Config::default())?;
/// session.get(&mut cx, "http://10.0.0.1/poem", |cx, result| match result {
///     Ok(response) => cx.state.push(response.text().into()),
///     Err(failure) => log::error!("{failure}"), // the message names the URL, the server and the phase
/// });
/// reactor.run(&mut pages)?;
/// assert_eq!(pages, ["running on\n"]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Session<S: 'static = ()>(Rc<Inner<S>>);

pub(in crate::http) struct Inner<S: 'static> {
    pool: Pool<S>,
    config: Config,
    cookies: RefCell<Cookies>,
    retried: Cell<u64>,
}

impl<S: 'static> Session<S> {
    /// Creates a session with these limits. It has no connections and no cookies.
    ///
    /// # Errors
    ///
    /// The pool's limits are invalid: kind `InvalidInput`, with [`pool::Error::Config`]
    /// inside.
    pub fn new(config: Config) -> io::Result<Self> {
        #[cfg(feature = "tls")]
        let config = Config { tls: config.tls.offering(&["http/1.1"]), ..config };
        let is_408: fn(&[u8]) -> bool = |bytes| IdleBytes::of(bytes) == IdleBytes::Timeout;
        let farewell = config.pool.farewell.or(Some(is_408));
        // A call holds its connection while it waits for the server, and has time limits of its own.
        let pool = Pool::new(pool::Config { farewell, long_hold: None, ..config.pool.clone() })?;
        Ok(Session(Rc::new(Inner { pool, config, cookies: RefCell::default(), retried: Cell::new(0) })))
    }

    /// Sends a request and calls `then` with the whole response or with the error. `request` is a [`Request`] or its
    /// builder. A response with an error status is not an error.
    ///
    /// ```no_run
    /// # use enjamb::http::{Request, Session};
    /// # fn send(session: &Session, cx: &mut enjamb::Cx<'_>) {
    /// let request = Request::post("https://example.org/login")
    ///     .form([("user", "ann"), ("next", "/")])
    ///     .header("Accept-Language", "en");
    /// session.send(cx, request, |_cx, result| match result {
    ///     Ok(response) => println!("{} {}", response.status, response.text()),
    ///     Err(failure) => eprintln!("{failure}"),
    /// });
    /// # }
    /// ```
    #[track_caller]
    pub fn send<R>(
        &self,
        cx: &mut Cx<'_, S>,
        request: R,
        then: impl FnOnce(&mut Cx<'_, S>, Result<Response, Failure>) + 'static,
    ) -> Call<S>
    where
        R: TryInto<Request>,
        Error: From<R::Error>,
    {
        let request = request.try_into().map_err(Error::from).and_then(|request| match request.body() {
            Body::Stream(_) => Err(Error::Request("a streamed body needs Session::stream")),
            _ => Ok(request),
        });
        let receiver = Whole::new(self.0.config.body_limit, then);
        Inner::start(&self.0, cx, request, Box::new(receiver))
    }

    /// Sends a request and delivers the response piece by piece to `receiver`. A [streamed](Body::Stream) request body
    /// needs this method too.
    #[track_caller]
    pub fn stream<R>(&self, cx: &mut Cx<'_, S>, request: R, receiver: impl Receiver<S> + 'static) -> Call<S>
    where
        R: TryInto<Request>,
        Error: From<R::Error>,
    {
        Inner::start(&self.0, cx, request.try_into().map_err(Error::from), Box::new(receiver))
    }

    /// Sends a GET request: fetches a resource.
    #[track_caller]
    pub fn get(
        &self,
        cx: &mut Cx<'_, S>,
        url: impl IntoUrl,
        then: impl FnOnce(&mut Cx<'_, S>, Result<Response, Failure>) + 'static,
    ) -> Call<S> {
        self.send(cx, Request::get(url), then)
    }

    /// Sends a HEAD request: fetches the head of a response only.
    #[track_caller]
    pub fn head(
        &self,
        cx: &mut Cx<'_, S>,
        url: impl IntoUrl,
        then: impl FnOnce(&mut Cx<'_, S>, Result<Response, Failure>) + 'static,
    ) -> Call<S> {
        self.send(cx, Request::head(url), then)
    }

    /// Sends a POST request with these bytes. For a form, see
    /// [`RequestBuilder::form`](crate::http::RequestBuilder::form).
    #[track_caller]
    pub fn post(
        &self,
        cx: &mut Cx<'_, S>,
        url: impl IntoUrl,
        body: impl Into<Vec<u8>>,
        then: impl FnOnce(&mut Cx<'_, S>, Result<Response, Failure>) + 'static,
    ) -> Call<S> {
        self.send(cx, Request::post(url).body(body), then)
    }

    /// Sends a PUT request: creates or replaces the resource with these bytes.
    #[track_caller]
    pub fn put(
        &self,
        cx: &mut Cx<'_, S>,
        url: impl IntoUrl,
        body: impl Into<Vec<u8>>,
        then: impl FnOnce(&mut Cx<'_, S>, Result<Response, Failure>) + 'static,
    ) -> Call<S> {
        self.send(cx, Request::put(url).body(body), then)
    }

    /// Sends a DELETE request: removes the resource.
    #[track_caller]
    pub fn delete(
        &self,
        cx: &mut Cx<'_, S>,
        url: impl IntoUrl,
        then: impl FnOnce(&mut Cx<'_, S>, Result<Response, Failure>) + 'static,
    ) -> Call<S> {
        self.send(cx, Request::delete(url), then)
    }

    /// Sends a PATCH request: changes a part of the resource as these bytes describe.
    #[track_caller]
    pub fn patch(
        &self,
        cx: &mut Cx<'_, S>,
        url: impl IntoUrl,
        body: impl Into<Vec<u8>>,
        then: impl FnOnce(&mut Cx<'_, S>, Result<Response, Failure>) + 'static,
    ) -> Call<S> {
        self.send(cx, Request::patch(url).body(body), then)
    }

    /// The pool of connections: to count, drain or close them.
    pub fn pool(&self) -> &Pool<S> {
        &self.0.pool
    }

    /// Calls `look` with the jar of cookies, to read or change it.
    ///
    /// # Panics
    ///
    /// If `look` calls `with_cookies` of the same session.
    pub fn with_cookies<R>(&self, look: impl FnOnce(&mut Cookies) -> R) -> R {
        look(&mut self.0.cookies.borrow_mut())
    }

    /// The number of requests that were repeated: see [`Config::retry`].
    pub fn retried(&self) -> u64 {
        self.0.retried.get()
    }
}

impl<S: 'static> Inner<S> {
    #[track_caller]
    fn start(
        this: &Rc<Self>,
        cx: &mut Cx<'_, S>,
        request: Result<Request, Error>,
        receiver: Box<dyn Receiver<S>>,
    ) -> Call<S> {
        let url = request.as_ref().ok().map(|request| request.url().clone());
        let key = request.and_then(|request| Ok((this.key(request.url())?, request)));
        let call =
            Call { session: Rc::downgrade(this), state: Rc::new(RefCell::new(State::new(url.clone()))) };
        match key {
            Ok((key, request)) => {
                let (timed, session, total) = (call.clone(), Rc::clone(this), this.config.total);
                // The timer keeps the session alive. The exchange must not: it lives in the session's own pool, which
                // would be a cycle.
                let timer = cx.after(total.unwrap_or(Duration::MAX), move |cx| {
                    let within = total.unwrap_or_default();
                    let why =
                        format!("it took longer than {within:.1?} in all (Config::total sets this limit)");
                    timed.give_up(cx, error::new(io::ErrorKind::TimedOut, why));
                    drop(session);
                });
                let (total, site) = (Total::new(cx, timer, &call.state), Location::caller());
                let exchange = Exchange::new(this, call.clone(), request, receiver, total, site);
                let ticket = this.pool.acquire_at(cx, &key, Box::new(exchange), site);
                call.state.borrow_mut().ticket = Some(ticket);
            }
            Err(error) => {
                call.state.borrow_mut().over = true;
                let failure = Failure::new(url.as_ref(), Phase::Request, 0, error.into());
                cx.after(Duration::ZERO, move |cx| receiver.end(cx, Err(failure)));
            }
        }
        call
    }

    /// The pool's key for a server.
    fn key(&self, url: &Url) -> Result<Key, Error> {
        let host = url.host().trim_start_matches('[').trim_end_matches(']');
        let key = Key::new((host, url.port()));
        match url.scheme() {
            Scheme::Http => Ok(key),
            #[cfg(feature = "tls")]
            Scheme::Https => Ok(key.secure(&self.config.tls, host)),
            #[cfg(not(feature = "tls"))]
            Scheme::Https => Err(Error::Request("https needs the feature `tls` of this crate")),
        }
    }
}

impl<S: 'static> Clone for Session<S> {
    fn clone(&self) -> Self {
        Session(Rc::clone(&self.0))
    }
}

impl<S: 'static> fmt::Debug for Session<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}
