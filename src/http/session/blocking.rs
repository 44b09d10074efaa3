//! Blocking requests, for scripts.

use super::{Config, Error, Failure, IntoUrl, Phase, Request, Response, Session};
use crate::Reactor;

/// Sends a GET request and waits for the response. It runs a reactor of its own, so it suits a script that does nothing
/// else meanwhile.
///
/// ```no_run
/// let page = enjamb::http::get("http://example.org/")?;
/// println!("{}", page.text());
/// # Ok::<(), enjamb::http::Failure>(())
/// ```
///
/// # Errors
///
/// As for [`Session::send`]. A response with an error status is not an error.
pub fn get(url: impl IntoUrl) -> Result<Response, Failure> {
    send(Request::get(url))
}

/// Sends a request of any method and waits for the response.
///
/// # Errors
///
/// As for [`get`].
pub fn send<R>(request: R) -> Result<Response, Failure>
where
    R: TryInto<Request>,
    Error: From<R::Error>,
{
    let mut result = None;
    let failed = |error| Failure::new(None, Phase::Request, 0, error);
    let mut reactor = Reactor::new().map_err(failed)?;
    let session = Session::new(Config::default()).map_err(failed)?;
    session.send(&mut reactor.cx(&mut result), request, |cx, came| {
        *cx.state = Some(came);
        cx.stop(); // do not wait for the idle connection to expire
    });
    reactor.run(&mut result).map_err(failed)?;
    result.unwrap_or_else(|| Err(failed(std::io::ErrorKind::Interrupted.into())))
}
