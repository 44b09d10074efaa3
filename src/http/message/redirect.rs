//! Redirects: whether to go on, where, and with what.

use crate::http::error::RedirectError;
use crate::http::url::reference::escape_illegal;
use crate::http::{Body, Head, Headers, Method, Request, Scheme, Url};

/// Most redirects that are followed, unless the caller says otherwise.
pub const REDIRECT_LIMIT: u32 = 10;

/// Never sent to another origin than the one they were meant for. Host is the caller's own name for that one.
const CREDENTIALS: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "host"];
/// They describe a body, and go with it.
const OF_THE_BODY: [&str; 6] =
    ["content-type", "content-encoding", "content-language", "content-location", "content-md5", "expect"];

/// Follows the redirects of one request (RFC 9110 section 15.4).
///
/// ```
/// # use enjamb::{Input, http::{Event, ResponseParser}};
/// use enjamb::http::{Redirects, Request};
///
/// # let head = |request: &Request, bytes: &[u8]| match ResponseParser::new(request).next(&mut Input::new(bytes)) {
/// #     Ok(Event::Head(head)) => head,
/// #     other => panic!("{other:?}"),
/// # };
/// let mut request = Request::post("http://example.org/login").form([("user", "ann")]).build()?;
/// let mut redirects = Redirects::default();
/// let answer = head(&request, b"HTTP/1.1 303 See Other\r\nLocation: /welcome\r\n\r\n");
/// assert!(redirects.follow(&mut request, &answer)?); // it is to be sent again, and is now:
/// assert_eq!(request.method().as_str(), "GET");
/// assert_eq!(request.url().to_string(), "http://example.org/welcome");
/// # Ok::<(), enjamb::http::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Redirects {
    /// How many to follow, one after the other. Default [`REDIRECT_LIMIT`]; with 0, the first is an error.
    pub limit: u32,
    /// Whether to go from https to http. Default no.
    pub allow_downgrade: bool,
    /// How many have been followed.
    pub followed: u32,
}

impl Default for Redirects {
    fn default() -> Self {
        Redirects { limit: REDIRECT_LIMIT, allow_downgrade: false, followed: 0 }
    }
}

impl Redirects {
    /// Whether the answer with this head sends the request elsewhere; then the request is changed to the one that is to be
    /// sent next. Credentials that it carries are dropped where that is another origin; cookies from a jar are asked for
    /// anew.
    ///
    /// # Errors
    ///
    /// It should go on, and cannot. The request is not changed.
    pub fn follow(&mut self, request: &mut Request, head: &Head) -> Result<bool, RedirectError> {
        let becomes_get = match head.status {
            301 | 302 => request.method == Method::Post,
            303 => request.method != Method::Head,
            307 | 308 => false,
            _ => return Ok(false),
        };
        let Some(location) = location(&head.headers)? else { return Ok(false) };
        let url = resolve(&request.url, location).map_err(RedirectError::Location)?;
        if self.followed >= self.limit {
            return Err(RedirectError::TooMany(self.limit));
        }
        if request.url.scheme() == Scheme::Https && url.scheme() == Scheme::Http && !self.allow_downgrade {
            return Err(RedirectError::Downgrade(url.to_string()));
        }
        if !becomes_get && !request.body.is_replayable() {
            return Err(RedirectError::NotReplayable(url.to_string()));
        }
        self.followed += 1;
        if becomes_get {
            request.method = Method::Get;
            request.body = Body::Empty;
            remove(&mut request.headers, &OF_THE_BODY);
        }
        if url.origin() != request.url.origin() {
            remove(&mut request.headers, &CREDENTIALS);
        }
        request.url = url;
        Ok(true)
    }
}

fn remove(headers: &mut Headers, names: &[&str]) {
    for name in names {
        headers.remove(name);
    }
}

/// The one place that is named, maybe several times.
fn location(headers: &Headers) -> Result<Option<&str>, RedirectError> {
    let mut all = headers.get_all("location");
    let first = all.next();
    if all.any(|other| Some(other) != first) { Err(RedirectError::Ambiguous) } else { Ok(first) }
}

/// A user and password that a server names are not the caller's, and are left out. A fragment is inherited (RFC 9110 section
/// 10.2.2).
fn resolve(from: &Url, location: &str) -> Result<Url, crate::http::UrlError> {
    let url = from.join(&escape_illegal(location))?.without_userinfo();
    let fragment = url.fragment().or(from.fragment()).map(str::to_owned);
    Ok(url.with_fragment(fragment.as_deref()))
}
