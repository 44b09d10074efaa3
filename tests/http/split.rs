//! The result of a response does not depend on where the network cuts it. Each response is sent in two pieces, cut at
//! every byte, in the simulation and over real sockets.

use super::bench::{Bench, ms, url};
use crate::common::until::until;
use enjamb::Reactor;
use enjamb::http::{Config, Failure, Response, Session};
use enjamb::sim::Script;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

/// An answer, whether the server closes behind it, and whether its connection is used again.
struct Sample {
    answer: Vec<u8>,
    closes: bool,
    reusable: bool,
}

fn samples() -> Vec<Sample> {
    let of = |answer: &str, closes, reusable| Sample { answer: answer.into(), closes, reusable };
    let mut samples = vec![
        of("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false, true),
        of("HTTP/1.1 200 OK\nContent-Length: 5\nX-Folded: a\n b\n\nhello", false, true),
        of("HTTP/1.1 204 No Content\r\nSet-Cookie: a=1\r\n\r\n", false, true),
        of("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false, true),
        of("HTTP/1.0 200 OK\r\n\r\nto the end", true, false),
        of("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\n1", false, true),
        of(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nabc\r\nA \r\n0123456789\r\n0\r\nX: y\r\n\r\n",
            false,
            true,
        ),
        of(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            false,
            false,
        ),
        of(
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            false,
            true,
        ),
        of("HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", false, false),
        of("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\nevil", false, false),
        // Broken ones.
        of("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", true, false),
        of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", true, false),
        of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n", false, false),
        of("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc", false, false),
        of("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab", false, false),
        of("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", false, false),
        of("HTTP/1.1 200 OK\r\nX : y\r\n\r\n", false, false),
        of("HTTP/1.1 200 OK\r\nX: y\rZ: 1\r\n\r\n", false, false),
        of("HTTP/2.0 200 OK\r\n\r\n", false, false),
        of("SSH-2.0-server\r\n", false, false),
        of("HTTP/1.1 200 O", true, false),
    ];
    samples.extend(packed());
    samples
}

#[cfg(feature = "gzip")]
fn packed() -> Vec<Sample> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all("run on, ".repeat(100).as_bytes()).unwrap();
    let body = encoder.finish().unwrap();
    let answer = |length: usize| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n");
        [head.as_bytes(), &body[..length]].concat()
    };
    vec![
        Sample { answer: answer(body.len()), closes: false, reusable: true },
        Sample { answer: answer(body.len() - 3), closes: false, reusable: false },
    ]
}

#[cfg(not(feature = "gzip"))]
fn packed() -> Vec<Sample> {
    Vec::new()
}

/// All of a result that a caller sees, but for the address.
fn seen(result: &Result<Response, Failure>) -> String {
    let of = |response: &Response| {
        let Response { version, status, reason, headers, trailers, .. } = response;
        format!("{version:?} {status} {reason} {headers:?} {:?} {trailers:?}", response.text())
    };
    match result {
        Ok(response) => of(response),
        Err(failure) => {
            let rule = failure.http().map(|error| match error {
                enjamb::http::Error::Response(error) => error.rule,
                other => panic!("{other:?}"),
            });
            let partial = failure.partial.as_deref().map(of);
            format!("{:?} {rule:?} after {}: {partial:?}", failure.phase, failure.received)
        }
    }
}

/// What comes of an answer in two pieces, and whether its connection is kept.
fn simulated(sample: &Sample, at: usize) -> (String, bool) {
    let (first, second) = sample.answer.split_at(at);
    let script = Script::new().until("\r\n\r\n").say(first).wait(ms(10)).say(second);
    let script = if sample.closes { script.close() } else { script };
    let mut bench = Bench::new();
    bench.serve(1, move |_| script.clone());
    let result = bench.fetch(&url(1, "/"));
    bench.pass(ms(30)); // what is behind the answer comes too
    (seen(&result), bench.idle() == 1)
}

#[test]
fn an_answer_cut_at_any_byte_is_the_same_in_the_simulation() {
    for sample in samples() {
        let whole = simulated(&sample, sample.answer.len());
        assert_eq!(whole.1, sample.reusable, "{}", sample.answer.escape_ascii());
        for at in 0..sample.answer.len() {
            assert_eq!(simulated(&sample, at), whole, "cut at byte {at} of {}", sample.answer.escape_ascii());
        }
    }
}

/// Waits for a request in this thread: it is on its way.
fn take_request(stream: &mut TcpStream) {
    let (mut heard, mut byte) = (Vec::new(), [0]);
    while !heard.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        heard.extend(byte);
    }
}

/// The same over loopback. The second piece is sent when the first has been read.
fn over_sockets(listener: &TcpListener, sample: &Sample, at: usize) -> (String, bool) {
    let (first, second) = sample.answer.split_at(at);
    let mut reactor: Reactor<Option<Result<Response, Failure>>> = Reactor::new().unwrap();
    let (session, mut result) = (Session::new(Config::default()).unwrap(), None);
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let call = session.get(&mut reactor.cx(&mut result), url, |cx, came| *cx.state = Some(came));
    until(&mut reactor, &mut result, |_| session.pool().snapshot().total.leased == 1);
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_nodelay(true).unwrap();
    take_request(&mut stream);
    stream.write_all(first).unwrap();
    until(&mut reactor, &mut result, |_| call.is_over() || call.received() == first.len() as u64);
    stream.write_all(second).ok(); // it may have had enough
    if sample.closes {
        stream.shutdown(std::net::Shutdown::Write).ok();
    }
    until(&mut reactor, &mut result, |_| call.is_over());
    let usage = || session.pool().snapshot().total;
    if !sample.reusable {
        until(&mut reactor, &mut result, |_| usage().open() == 0);
    }
    (seen(&result.unwrap()), usage().idle == 1)
}

#[test]
fn an_answer_cut_at_any_byte_is_the_same_over_sockets() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for sample in samples() {
        let whole = simulated(&sample, sample.answer.len());
        for at in 0..=sample.answer.len() {
            let came = over_sockets(&listener, &sample, at);
            assert_eq!(came, whole, "cut at byte {at} of {}", sample.answer.escape_ascii());
        }
    }
}
