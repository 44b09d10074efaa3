//! The session with servers of other makes: nginx, aiohttp, and Python's own.

mod installed;

use crate::common::logged;
use crate::common::until::until;
use enjamb::Reactor;
use enjamb::http::{Config, Error, Failure, Request, Response, Rule, Session, Url};
use std::time::SystemTime;

const HTTP10: &str = include_str!("servers/http10.py");
const AIOHTTP: &str = include_str!("servers/aiohttp_site.py");

/// A session that is used for one call after another. Whatever it logs at the level of a warning makes the test fail.
struct Client {
    reactor: Reactor<Vec<Result<Response, Failure>>>,
    session: Session<Vec<Result<Response, Failure>>>,
    base: String,
}

impl Client {
    fn new(base: String, config: Config) -> Self {
        logged::capture();
        // That a loaded machine is slow is not what is looked for.
        let loop_config = enjamb::Config { slow_callback: std::time::Duration::MAX, ..Default::default() };
        let reactor = Reactor::with_config(loop_config).unwrap();
        Client { reactor, session: Session::new(config).unwrap(), base }
    }

    fn plain(port: u16) -> Self {
        Self::new(format!("http://127.0.0.1:{port}"), Config::default())
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn send(&mut self, request: impl TryInto<Request, Error = Error>) -> Result<Response, Failure> {
        let mut results = Vec::new();
        self.session.send(&mut self.reactor.cx(&mut results), request, |cx, result| cx.state.push(result));
        until(&mut self.reactor, &mut results, |cx| !cx.state.is_empty());
        results.remove(0)
    }

    #[track_caller]
    fn get(&mut self, path: &str) -> Response {
        self.send(Request::get(self.url(path))).unwrap()
    }

    /// Waits until nothing is idle any more.
    fn forgotten(&mut self) {
        until(&mut self.reactor, &mut Vec::new(), |_| self.session.pool().snapshot().total.open() == 0);
    }

    /// Sockets opened, and requests sent again.
    fn counts(&self) -> (u64, u64) {
        (self.session.pool().snapshot().stats.opened, self.session.retried())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(logged::captured(log::Level::Warn), [""; 0]);
        }
    }
}

#[test]
fn nginx_keeps_a_connection_for_as_many_requests_as_it_says() {
    let Some(nginx) = installed::nginx() else { return };
    let mut client = Client::plain(nginx.port);
    for _ in 0..10 {
        assert_eq!(client.get("/few").text(), "few\n");
    }
    assert_eq!(client.counts(), (4, 0), "three to a connection, and nobody is caught by its close");
    for _ in 0..3 {
        assert_eq!(client.get("/never").text(), "never\n");
    }
    assert_eq!(client.counts().1, 0);
    assert_eq!(client.session.pool().snapshot().total.idle, 0);
}

#[test]
fn nginx_closes_what_is_idle_and_nobody_minds() {
    let Some(nginx) = installed::nginx() else { return };
    let mut client = Client::plain(nginx.port);
    client.get("/short");
    client.forgotten(); // it closes after a second
    assert_eq!(client.get("/short").text(), "short\n");
    assert_eq!(client.counts(), (2, 0));
    client.forgotten();
    assert_eq!(client.get("/said").headers.get("keep-alive"), Some("timeout=3"));
    client.forgotten(); // by ourselves, a second before that
    assert_eq!(client.counts(), (3, 0));
}

#[test]
fn nginx_redirects_and_is_followed_on_the_same_connection() {
    let Some(nginx) = installed::nginx() else { return };
    let mut client = Client::plain(nginx.port);
    for path in ["/301", "/302", "/307"] {
        let response = client.get(path);
        assert_eq!((response.url.path(), response.text().as_ref()), ("/few", "few\n"));
    }
    let response = client.send(Request::post(client.url("/302")).body("x")).unwrap();
    assert_eq!(response.status, 200);
    assert_eq!(client.get("/sub").url.path(), "/sub/");
    let failure = client.send(Request::get(client.url("/loop"))).unwrap_err();
    assert!(failure.to_string().contains("more than 10 times"), "{failure}");
}

#[test]
fn nginx_sees_cookies_and_credentials_at_their_own_origin_only() {
    let Some(nginx) = installed::nginx() else { return };
    let mut client = Client::plain(nginx.port);
    assert_eq!(client.get("/set").status, 204);
    assert_eq!(client.get("/shown").text(), "cookies: id=7, authorization: \n");
    let url: Url = client.url("/").parse().unwrap();
    assert_eq!(
        client.session.with_cookies(|jar| jar.header(&url, SystemTime::now())).as_deref(),
        Some("id=7")
    );
    let request = |client: &Client, path: &str| Request::get(client.url(path)).basic_auth("ann", "pw");
    let response = client.send(request(&client, "/shown")).unwrap();
    assert_eq!(response.text(), "cookies: id=7, authorization: Basic YW5uOnB3\n");
    let response = client.send(request(&client, "/away")).unwrap();
    assert_eq!(
        (response.url.host(), response.text().as_ref()),
        ("localhost", "cookies: , authorization: \n")
    );
}

#[cfg(feature = "gzip")]
#[test]
fn nginx_packs_in_chunks_and_is_unpacked() {
    let Some(nginx) = installed::nginx() else { return };
    let mut client = Client::plain(nginx.port);
    let response = client.get("/packed.txt");
    let field = |name| response.headers.get(name);
    assert_eq!((field("content-encoding"), field("transfer-encoding")), (Some("gzip"), Some("chunked")));
    assert_eq!(response.text(), "running on\n".repeat(10_000));
    let request = Request::get(client.url("/packed.txt")).header("Accept-Encoding", "identity");
    assert_eq!(client.send(request).unwrap().headers.get("content-encoding"), None);
    assert_eq!(client.counts(), (1, 0));
}

#[test]
fn nginx_refuses_a_large_body_before_it_has_come() {
    let Some(nginx) = installed::nginx() else { return };
    let mut client = Client::plain(nginx.port);
    let put = |client: &Client, body: Vec<u8>| Request::put(client.url("/small")).body(body);
    let response = client.send(put(&client, vec![b'x'; 1000])).unwrap();
    assert_eq!(response.status, 200);
    let response = client.send(put(&client, vec![b'x'; 16 << 20])).unwrap();
    assert_eq!(response.status, 413);
    let response = client.send(put(&client, vec![b'x'; 16 << 20])).unwrap();
    assert_eq!(response.status, 413);
    let waits = Request::put(client.url("/small")).body(vec![b'x'; 16 << 20]).expect_continue();
    assert_eq!(client.send(waits).unwrap().status, 413);
    let waits = Request::put(client.url("/small")).body("x").expect_continue();
    assert_eq!(client.send(waits).unwrap().status, 200);
}

#[cfg(feature = "tls")]
#[test]
fn nginx_over_tls_is_kept_with_its_tickets_and_resumed() {
    let Some(nginx) = installed::nginx() else { return };
    let authority = crate::common::certs::AUTHORITY;
    let tls = enjamb::tls::Client::with_roots(authority).unwrap();
    let base = format!("https://localhost:{}", nginx.tls);
    let mut client = Client::new(base, Config { tls, ..Config::default() });
    assert_eq!(client.get("/resumed").text(), ". TLSv1.3 http/1.1");
    assert_eq!(client.get("/resumed").text(), "r TLSv1.3 http/1.1");
    for _ in 0..2 {
        assert_eq!(client.get("/poem.txt").body.len(), 110_000);
        // Whatever it says on an idle connection is not taken for anything.
        let end = std::time::Instant::now() + std::time::Duration::from_millis(50);
        until(&mut client.reactor, &mut Vec::new(), |_| std::time::Instant::now() >= end);
    }
    assert_eq!(client.counts(), (3, 0));
    client.get("/short");
    client.forgotten(); // it says close_notify, and closes
    assert_eq!(client.counts(), (3, 0));
}

#[test]
fn aiohttp_streams_in_chunks_and_takes_them() {
    let Some(site) = installed::python(AIOHTTP, "aiohttp") else { return };
    let mut client = Client::plain(site.port);
    let expected: String = (0..100).map(|number| format!("piece {number}\n")).collect();
    assert_eq!(client.get("/chunked").text(), expected);
    let body = vec![b'x'; 8 << 20];
    let response = client.send(Request::put(client.url("/echo")).body(body.clone())).unwrap();
    assert!(response.body == body, "{} bytes came back", response.body.len());
    let response = client.send(Request::put(client.url("/moved")).body("on and on")).unwrap();
    assert_eq!((response.url.path(), response.text().as_ref()), ("/echo", "on and on"));
    assert_eq!(client.counts(), (1, 0));
}

#[cfg(feature = "gzip")]
#[test]
fn aiohttp_packs_as_it_goes() {
    let Some(site) = installed::python(AIOHTTP, "aiohttp") else { return };
    let mut client = Client::plain(site.port);
    let response = client.get("/packed");
    assert_eq!(response.headers.get("content-encoding"), Some("gzip"));
    assert_eq!(response.text(), "running on, ".repeat(10_000));
}

#[test]
fn aiohttp_lets_a_member_in() {
    let Some(site) = installed::python(AIOHTTP, "aiohttp") else { return };
    let mut client = Client::plain(site.port);
    let form = Request::post(client.url("/login")).form([("name", "ann")]);
    let response = client.send(form).unwrap();
    assert_eq!((response.url.path(), response.text().as_ref()), ("/members", "room 42"));
    assert_eq!(client.counts(), (1, 0));
}

#[test]
fn aiohttp_closes_what_is_idle_and_cuts_an_answer_short() {
    let Some(site) = installed::python(AIOHTTP, "aiohttp") else { return };
    let mut client = Client::plain(site.port);
    client.get("/members");
    client.forgotten();
    assert_eq!(client.get("/members").text(), "room none");
    let failure = client.send(Request::get(client.url("/cut"))).unwrap_err();
    let Some(Error::Response(error)) = failure.http() else { panic!("{failure}") };
    assert_eq!((error.rule, failure.partial.as_ref().unwrap().text().as_ref()), (Rule::Truncated, "part"));
    assert_eq!(client.counts().1, 0);
}

#[test]
fn pythons_own_server_keeps_alive_redirects_and_says_what_is_not_there() {
    let Some(files) = installed::python_files() else { return };
    let mut client = Client::plain(files.port);
    assert_eq!(client.get("/poem.txt").body.len(), 110_000);
    let inside = client.get("/sub");
    assert_eq!((inside.url.path(), inside.text().as_ref()), ("/sub/", "inside"));
    client.get("/poem.txt");
    assert_eq!(client.counts(), (1, 0));
    assert_eq!(client.get("/missing").status, 404);
}

#[test]
fn a_body_in_http_1_0_ends_with_its_connection() {
    let Some(server) = installed::python(HTTP10, "http.server") else { return };
    let mut client = Client::plain(server.port);
    for _ in 0..3 {
        let response = client.get("/");
        assert_eq!(response.body.len(), 1_100_000);
        assert_eq!(response.headers.get("content-length"), None);
    }
    assert_eq!(client.counts(), (3, 0));
}
