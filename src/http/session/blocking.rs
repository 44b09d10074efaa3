//! For scripts: a page, and nothing else meanwhile.

use super::{Config, Error, Failure, IntoUrl, Phase, Request, Response, Session};
use crate::Reactor;

/// Fetches a page, and waits for it: for a script that only wants that. It runs a reactor of its own.
///
/// ```no_run
/// let page = enjamb::http::get("http://example.org/")?;
/// println!("{}", page.text());
/// # Ok::<(), enjamb::http::Failure>(())
/// ```
///
/// # Errors
///
/// As for [`Session::send`]; an answer of any status is an answer.
pub fn get(url: impl IntoUrl) -> Result<Response, Failure> {
    send(Request::get(url))
}

/// The same for any request.
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
        cx.stop(); // the connection has no other user to wait for
    });
    reactor.run(&mut result).map_err(failed)?;
    result.unwrap_or_else(|| Err(failed(std::io::ErrorKind::Interrupted.into())))
}
