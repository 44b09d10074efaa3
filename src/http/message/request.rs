//! Requests: what is asked for, built step by step, and checked at the end.

use std::fmt;

use crate::http::message::basic::{basic, from_userinfo};
use crate::http::{Error, Headers, IntoUrl, Method, Url, form_encode};

/// The body of a request.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Body {
    /// None.
    #[default]
    Empty,
    /// These bytes.
    Bytes(Vec<u8>),
    /// Bytes to come, through a [`BodyWriter`](crate::http::BodyWriter): so many, or in chunks where that is not known.
    Stream(Option<u64>),
}

impl Body {
    /// Whether it can be sent a second time.
    pub fn is_replayable(&self) -> bool {
        !matches!(self, Body::Stream(_))
    }
}

/// The bytes may be secret, and many; they are not shown.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Empty => f.write_str("Empty"),
            Body::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Body::Stream(length) => f.debug_tuple("Stream").field(length).finish(),
        }
    }
}

/// A request that can be sent: whatever was wrong with it, [`build`](RequestBuilder::build) has said.
///
/// ```
/// use enjamb::http::Request;
///
/// let request = Request::get("http://example.org/search").query([("q", "run on")]).build()?;
/// assert_eq!(request.url().to_string(), "http://example.org/search?q=run+on");
///
/// let request = Request::post("https://example.org/login")
///     .form([("user", "ann"), ("password", "a&b")])
///     .header("Accept", "text/html")
///     .build()?;
/// assert_eq!(request.headers().get("content-type"), Some("application/x-www-form-urlencoded"));
///
/// let error = Request::get("http://example.org/").header("X-Note", "a\nb").build().unwrap_err();
/// assert!(error.to_string().starts_with(r#"the header "X-Note": its value, byte 1"#));
/// # Ok::<(), enjamb::http::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub(in crate::http) method: Method,
    pub(in crate::http) url: Url,
    pub(in crate::http) headers: Headers,
    pub(in crate::http) body: Body,
}

/// A request being built. What goes wrong on the way is kept, the first of it, and told by
/// [`build`](RequestBuilder::build): so a chain of calls needs one question mark.
#[derive(Debug, Clone)]
#[must_use = "it does nothing until it is built"]
pub struct RequestBuilder(Result<Request, Error>);

impl Request {
    /// Fetches.
    pub fn get(url: impl IntoUrl) -> RequestBuilder {
        Self::to(Method::Get, url)
    }

    /// Fetches the head only.
    pub fn head(url: impl IntoUrl) -> RequestBuilder {
        Self::to(Method::Head, url)
    }

    /// Hands in a body.
    pub fn post(url: impl IntoUrl) -> RequestBuilder {
        Self::to(Method::Post, url)
    }

    /// Puts a body in this place.
    pub fn put(url: impl IntoUrl) -> RequestBuilder {
        Self::to(Method::Put, url)
    }

    /// Deletes.
    pub fn delete(url: impl IntoUrl) -> RequestBuilder {
        Self::to(Method::Delete, url)
    }

    /// Changes a part.
    pub fn patch(url: impl IntoUrl) -> RequestBuilder {
        Self::to(Method::Patch, url)
    }

    /// Asks what can be done.
    pub fn options(url: impl IntoUrl) -> RequestBuilder {
        Self::to(Method::Options, url)
    }

    /// A request of any method.
    pub fn to(method: Method, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder(url.into_url().map(|url| Request {
            method,
            url,
            headers: Headers::new(),
            body: Body::Empty,
        }))
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Where it goes.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Its fields; those that follow from the rest (`Host`, the length) or by default are added as it is written.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Its body.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Whether the body is to wait for the server's 100 (RFC 9110 section 10.1.1); for a second at most, since many servers
    /// never send one.
    pub fn expects_continue(&self) -> bool {
        self.headers.contains("expect")
    }

    /// Whether the answer's body, where it is in gzip, is to be decoded: only where that was not the caller's own wish, and
    /// not a piece of it.
    pub(crate) fn accepts_gzip(&self) -> bool {
        cfg!(feature = "gzip") && !self.headers.contains("accept-encoding") && !self.headers.contains("range")
    }

    /// Writes the request line and the fields, up to and with the empty line. `cookies` is what the
    /// [jar](crate::http::Cookies::header) has for it.
    pub fn write_head(&self, cookies: Option<&str>, out: &mut Vec<u8>) {
        let mut put = |parts: [&str; 4]| parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        put([self.method.as_str(), " ", self.url.target(), " HTTP/1.1\r\n"]);
        let by_default = [
            ("Host", Some(self.url.authority())),
            ("User-Agent", Some(concat!("enjamb/", env!("CARGO_PKG_VERSION")))),
            ("Accept", Some("*/*")),
            ("Accept-Encoding", self.accepts_gzip().then_some("gzip")),
        ];
        for (name, value) in by_default {
            // Host comes first (RFC 9112 section 3.2), also where it is the caller's.
            let own = (name == "Host").then(|| self.headers.get(name)).flatten();
            match own.or(value) {
                Some(value) if own.is_some() || !self.headers.contains(name) => {
                    put([name, ": ", value, "\r\n"])
                }
                _ => {}
            }
        }
        for (name, value) in self.headers.iter() {
            if !name.eq_ignore_ascii_case("host") && !name.eq_ignore_ascii_case("cookie") {
                put([name, ": ", value, "\r\n"]);
            }
        }
        // One field for all (RFC 6265 section 5.4).
        let all: Vec<&str> = self.headers.get_all("cookie").chain(cookies).collect();
        if !all.is_empty() {
            put(["Cookie: ", &all.join("; "), "\r\n", ""]);
        }
        let length = match &self.body {
            Body::Empty => self.method.expects_body().then_some(0),
            Body::Bytes(bytes) => Some(bytes.len() as u64),
            Body::Stream(length) => *length,
        };
        match (&self.body, length) {
            (_, Some(length)) => put(["Content-Length: ", &length.to_string(), "\r\n", ""]),
            (Body::Stream(None), None) => put(["Transfer-Encoding: chunked\r\n", "", "", ""]),
            (_, None) => {}
        }
        put(["\r\n", "", "", ""]);
    }
}

impl RequestBuilder {
    /// Adds to the URL's query, encoded as a form is.
    pub fn query<N: AsRef<str>, V: AsRef<str>>(mut self, pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        if let Ok(request) = &mut self.0 {
            let encoded = form_encode(pairs);
            if !encoded.is_empty() {
                request.url.push_query(&encoded);
            }
        }
        self
    }

    /// Adds a field. Content-Length and Transfer-Encoding follow from the body, and cannot be given.
    pub fn header(self, name: &str, value: &str) -> Self {
        self.and_then(|request| {
            check_framing(name)?;
            Ok(request.headers.append(name, value)?)
        })
    }

    /// Puts this field in the place of all of its name: another `Content-Type` than that of a [form](Self::form).
    pub fn set_header(self, name: &str, value: &str) -> Self {
        self.and_then(|request| {
            check_framing(name)?;
            Ok(request.headers.set(name, value)?)
        })
    }

    /// Identifies a user with a password (RFC 7617), in the clear unless the URL is https. A user in the URL, as in
    /// `http://ann:pw@example.org/`, is the same.
    pub fn basic_auth(self, user: &str, password: &str) -> Self {
        self.and_then(|request| {
            let credentials = basic(user.as_bytes(), password.as_bytes())?;
            Ok(request.headers.set("Authorization", &credentials)?)
        })
    }

    /// With these bytes as its body. What they are, a `Content-Type` should say.
    pub fn body(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.and_then(|request| {
            request.body = Body::Bytes(bytes.into());
            Ok(())
        })
    }

    /// With a form as its body, as a browser sends it.
    pub fn form<N: AsRef<str>, V: AsRef<str>>(self, pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        self.and_then(|request| {
            request.body = Body::Bytes(form_encode(pairs).into_bytes());
            Ok(request.headers.set("Content-Type", "application/x-www-form-urlencoded")?)
        })
    }

    /// With a body that is written piece by piece: of this length, or in chunks where it is not known.
    pub fn stream(self, length: impl Into<Option<u64>>) -> Self {
        self.and_then(|request| {
            request.body = Body::Stream(length.into());
            Ok(())
        })
    }

    /// Lets the body wait until the server has said that it wants it.
    pub fn expect_continue(self) -> Self {
        self.and_then(|request| Ok(request.headers.set("Expect", "100-continue")?))
    }

    /// The request, if all of it is good.
    ///
    /// # Errors
    ///
    /// The first thing that was wrong: [`Error::Url`], [`Error::Header`] or [`Error::Request`].
    pub fn build(self) -> Result<Request, Error> {
        let mut request = self.0?;
        if let Some(userinfo) = request.url.userinfo() {
            if !request.headers.contains("authorization") {
                let credentials = from_userinfo(userinfo)?;
                request.headers.set("Authorization", &credentials)?;
            }
            // It has served its end, and is not to turn up anywhere else.
            request.url = request.url.without_userinfo();
        }
        for single in ["host", "authorization", "content-type", "expect"] {
            if request.headers.get_all(single).nth(1).is_some() {
                return Err(Error::Request(
                    "there can be one Host, one Authorization, one Content-Type and one Expect; set_header replaces \
                     what is there",
                ));
            }
        }
        if let Some(expect) = request.headers.get("expect") {
            if !expect.eq_ignore_ascii_case("100-continue") {
                return Err(Error::Request("all that can be expected is 100-continue"));
            }
            if request.body == Body::Empty {
                return Err(Error::Request("100-continue is expected for a body, and there is none"));
            }
        }
        Ok(request)
    }

    fn and_then(mut self, change: impl FnOnce(&mut Request) -> Result<(), Error>) -> Self {
        if let Ok(request) = &mut self.0
            && let Err(error) = change(request)
        {
            self.0 = Err(error);
        }
        self
    }
}

fn check_framing(name: &str) -> Result<(), Error> {
    for framing in ["content-length", "transfer-encoding"] {
        if name.eq_ignore_ascii_case(framing) {
            return Err(Error::Request("Content-Length and Transfer-Encoding follow from the body"));
        }
    }
    Ok(())
}

/// As [`RequestBuilder::build`]: whatever takes a request takes a builder too.
impl TryFrom<RequestBuilder> for Request {
    type Error = Error;

    fn try_from(builder: RequestBuilder) -> Result<Self, Error> {
        builder.build()
    }
}
