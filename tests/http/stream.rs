//! Responses and bodies in pieces: pausing, bounded memory, uploads, in the simulation.

use super::bench::{Bench, World, answering, ms, ok, url};
use enjamb::http::{Call, Config, Failure, Head, Headers, Phase, Receiver, Request};
use enjamb::sim::Script;
use enjamb::{Conn, Cx, Input, Protocol};
use std::io::{self, ErrorKind};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Notes what it is told. It pauses after each piece of a body if it is to, fails at the head if it is to, and writes a
/// body of so many pieces.
#[derive(Default)]
struct Notes {
    pauses: bool,
    refuses: bool,
    pieces: usize,
    piece: Vec<u8>,
}

impl Receiver<World> for Notes {
    fn wanted(&mut self, cx: &mut Cx<'_, World>, call: &Call<World>) -> io::Result<()> {
        while self.pieces > 0 && !call.is_full(cx) {
            call.write(cx, &self.piece)?;
            self.pieces -= 1;
            cx.state.bytes += self.piece.len();
            if self.pieces == 0 {
                call.finish(cx)?;
            }
        }
        Ok(())
    }

    fn head(&mut self, cx: &mut Cx<'_, World>, _: &Call<World>, head: Head) -> io::Result<()> {
        cx.state.notes.push(head.status.to_string());
        if self.refuses { Err(io::Error::other("not this one")) } else { Ok(()) }
    }

    fn data(&mut self, cx: &mut Cx<'_, World>, call: &Call<World>, data: &[u8]) -> io::Result<()> {
        cx.state.bytes += data.len();
        if self.pauses {
            call.pause(cx);
        }
        Ok(())
    }

    fn end(self: Box<Self>, cx: &mut Cx<'_, World>, result: Result<Headers, Failure>) {
        cx.state.notes.push(match result {
            Ok(trailers) => format!("end {}", trailers.len()),
            Err(failure) => format!("{:?} {failure}", failure.phase),
        });
    }
}

fn stream(bench: &mut Bench, request: enjamb::http::RequestBuilder, receiver: Notes) -> Call<World> {
    let session = bench.session.clone();
    session.stream(&mut bench.cx(), request, receiver)
}

fn ended(world: &World) -> bool {
    world.notes.iter().any(|note| note.parse::<u16>().is_err())
}

#[test]
fn an_unread_body_keeps_its_connection_and_little_of_it_is_in_memory() {
    const BODY: usize = 8 << 20;
    let mut bench = Bench::new();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n");
    bench.serve(1, move |_| answering(&[[head.as_bytes(), &vec![b'x'; BODY][..]].concat(), OK.into()]));
    let call = stream(&mut bench, Request::get(url(1, "/")), Notes { pauses: true, ..Notes::default() });
    bench.pass(ms(120_000)); // longer than a server may say nothing: it is not the server's fault
    assert_eq!((bench.leased(), bench.world.notes.len()), (1, 1));
    assert!(
        bench.world.bytes <= 64 << 10,
        "{} bytes were delivered to one who had paused",
        bench.world.bytes
    );
    bench.get(&url(1, "/"));
    bench.until(|world| world.results.len() == 1);
    assert_eq!(bench.world.accepted, 2, "the paused one keeps its own");
    while !ended(&bench.world) {
        let before = bench.world.bytes;
        call.resume(&mut bench.cx());
        bench.pass(ms(3));
        assert!(bench.world.bytes - before <= 64 << 10, "one piece at a time");
    }
    assert_eq!((bench.world.bytes, bench.world.notes.last().unwrap().as_str()), (BODY, "end 0"));
    assert_eq!(bench.idle(), 2);
}

#[cfg(feature = "gzip")]
#[test]
fn what_is_packed_is_unpacked_a_piece_at_a_time() {
    use std::io::Write;
    const BODY: usize = 4 << 20;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![0; BODY]).unwrap();
    let body = encoder.finish().unwrap();
    assert!(body.len() < 32 << 10, "it comes in one read");
    // Once the server keeps the connection, once it closes it behind the answer.
    for closes in [false, true] {
        let mut bench = Bench::new();
        let head = if closes { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n{head}\r\n");
        let answer = [head.as_bytes(), &body].concat();
        bench.serve(1, move |_| if closes { answering(&[&answer]).close() } else { answering(&[&answer]) });
        let call = stream(&mut bench, Request::get(url(1, "/")), Notes { pauses: true, ..Notes::default() });
        bench.pass(ms(100));
        while !ended(&bench.world) {
            let before = bench.world.bytes;
            call.resume(&mut bench.cx());
            bench.pass(ms(3));
            assert!(bench.world.bytes - before <= 16 << 10);
        }
        assert_eq!((bench.world.bytes, bench.world.notes.last().unwrap().as_str()), (BODY, "end 0"));
        assert_eq!(bench.idle(), usize::from(!closes));
    }
}

#[test]
fn pausing_before_the_answer_holds_up_its_body() {
    let mut bench = Bench::new();
    bench.answers(1, OK);
    let call = stream(&mut bench, Request::get(url(1, "/")), Notes::default());
    call.pause(&mut bench.cx());
    bench.pass(ms(200));
    assert_eq!((bench.world.notes.len(), bench.world.bytes, bench.leased()), (1, 0, 1));
    call.resume(&mut bench.cx());
    bench.until(ended);
    assert_eq!((bench.world.bytes, bench.idle()), (2, 1));
}

#[test]
fn limits_rest_while_a_call_is_paused_from_elsewhere() {
    let mut bench = Bench::new();
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npart";
    bench.serve(1, move |_| answering(&[head]).wait(ms(200)).say("rest"));
    let call = stream(&mut bench, Request::get(url(1, "/")), Notes::default());
    bench.pass(ms(100));
    call.pause(&mut bench.cx());
    bench.pass(ms(120_000)); // twice as long as a server may say nothing
    assert_eq!((bench.world.bytes, bench.world.notes.len()), (4, 1));
    call.resume(&mut bench.cx());
    bench.until(ended);
    assert_eq!((bench.world.bytes, bench.world.notes[1].as_str()), (8, "end 0"));
}

#[test]
fn a_paused_call_can_be_cancelled() {
    let mut bench = Bench::new();
    bench.answers(1, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart");
    let call = stream(&mut bench, Request::get(url(1, "/")), Notes { pauses: true, ..Notes::default() });
    bench.pass(ms(100));
    assert!(call.cancel(&mut bench.cx()));
    bench.until(ended);
    assert_eq!(
        bench.world.notes[1],
        "Body http://10.0.0.1/: reading the body of the response of 10.0.0.1:80: it was \
                                      cancelled; 42 bytes had come"
    );
}

#[test]
fn an_error_of_the_receiver_ends_the_call_and_comes_back() {
    let mut bench = Bench::new();
    bench.answers(1, OK);
    stream(&mut bench, Request::get(url(1, "/")), Notes { refuses: true, ..Notes::default() });
    bench.until(ended);
    assert!(bench.world.notes[1].contains("not this one"), "{:?}", bench.world.notes);
    assert_eq!(bench.world.accepted, 1);
}

#[test]
fn a_streamed_body_goes_in_chunks_or_with_its_length() {
    for length in [None, Some(6)] {
        let mut bench = Bench::new();
        let framed = match length {
            None => "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\nabc\r\n0\r\n\r\n",
            Some(_) => "Content-Length: 6\r\n\r\nabcabc",
        };
        bench.serve(1, move |_| Script::new().until(framed).say(OK));
        let body = Notes { pieces: 2, piece: b"abc".to_vec(), ..Notes::default() };
        stream(&mut bench, Request::put(url(1, "/")).stream(length), body);
        bench.until(ended);
        assert_eq!(bench.world.notes, ["200", "end 0"]);
        assert_eq!(bench.idle(), 1);
    }
}

#[test]
fn a_body_that_is_not_taken_is_not_asked_for() {
    let mut bench = Bench::new();
    bench.serve(1, |_| Script::new().pause().wait(ms(500)).resume().wait(ms(10_000)).say(OK));
    let body = Notes { pieces: 100, piece: vec![b'x'; 10_000], ..Notes::default() };
    stream(&mut bench, Request::put(url(1, "/")).stream(None), body);
    bench.pass(ms(300));
    assert!(bench.world.bytes < 500_000, "{} bytes were asked for", bench.world.bytes);
    bench.until(ended);
    assert_eq!((bench.world.bytes, bench.world.notes.last().unwrap().as_str()), (1_000_002, "end 0"));
    assert_eq!(bench.idle(), 1, "all of it was sent");
}

#[test]
fn a_body_can_be_written_from_elsewhere_and_only_while_it_is_wanted() {
    let mut bench = Bench::new();
    bench.serve(1, |_| Script::new().until("abc").say(OK));
    let call = stream(&mut bench, Request::put(url(1, "/")).stream(3), Notes::default());
    let early = call.write(&mut bench.cx(), b"abc").unwrap_err();
    assert_eq!(early.kind(), ErrorKind::NotConnected);
    bench.pass(ms(100));
    call.write(&mut bench.cx(), b"ab").unwrap();
    assert!(call.write(&mut bench.cx(), b"cd").is_err(), "more than was announced");
    bench.pass(ms(100));
    call.write(&mut bench.cx(), b"c").unwrap();
    call.finish(&mut bench.cx()).unwrap();
    bench.until(ended);
    assert_eq!((&bench.world.notes[..], bench.idle()), (&["200".to_string(), "end 0".to_string()][..], 1));
    assert!(call.write(&mut bench.cx(), b"d").is_err());
}

#[test]
fn the_first_byte_is_waited_for_from_when_the_body_was_finished() {
    let config = Config { first_byte: Some(ms(500)), ..Config::default() };
    let mut bench = Bench::with(config);
    bench.serve(1, |_| Script::new());
    let call = stream(&mut bench, Request::put(url(1, "/")).stream(3), Notes::default());
    bench.pass(ms(2000)); // as long as we like
    call.write(&mut bench.cx(), b"abc").unwrap();
    call.finish(&mut bench.cx()).unwrap();
    assert!(call.finish(&mut bench.cx()).is_err(), "once");
    let began = bench.sim.now();
    bench.until(ended);
    let took = bench.sim.now() - began;
    assert!(took >= ms(500) && took < ms(600), "{took:?}");
    assert!(bench.world.notes[0].starts_with("FirstByte"), "{:?}", bench.world.notes);
}

#[test]
fn a_body_that_is_shorter_than_was_said_ends_the_call() {
    let mut bench = Bench::new();
    bench.serve(1, |_| Script::new());
    let body = Notes { pieces: 1, piece: b"abc".to_vec(), ..Notes::default() };
    stream(&mut bench, Request::put(url(1, "/")).stream(4), body);
    bench.until(ended);
    assert!(
        bench.world.notes[0].contains("announced with 4 bytes, but 3 were given"),
        "{:?}",
        bench.world.notes
    );
}

#[test]
fn a_body_waits_a_second_for_a_100_and_no_longer() {
    for (server, waits) in [
        (
            Script::new()
                .until("Expect: 100-continue\r\nContent-Length: 4\r\n\r\n")
                .say("HTTP/1.1 100 Continue\r\n\r\n")
                .expect("body"),
            0,
        ),
        (Script::new().until("\r\n\r\nbody"), 1000),
    ] {
        let mut bench = Bench::new();
        let server = server.say(OK);
        bench.serve(1, move |_| server.clone());
        assert!(bench.call(Request::put(url(1, "/")).body("body").expect_continue()).unwrap().is_success());
        let took = bench.sim.now();
        assert!(took >= ms(waits) && took < ms(waits + 500), "{took:?}");
        assert_eq!(bench.idle(), 1);
    }
}

#[test]
fn a_body_that_is_refused_is_not_sent() {
    let mut bench = Bench::new();
    bench.serve(1, |_| {
        let no =
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno";
        Script::new()
            .until("Expect: 100-continue\r\nContent-Length: 4\r\n\r\n")
            .say(no)
            .expect("nothing follows")
    });
    let response = bench.call(Request::put(url(1, "/")).body("body").expect_continue()).unwrap();
    assert_eq!((response.status, response.text().as_ref()), (417, "no"));
    bench.pass(ms(2000));
    assert_eq!((bench.idle(), bench.session.pool().snapshot().total.open()), (0, 0));
}

#[test]
fn an_answer_before_the_end_of_the_upload_stops_it_and_is_delivered() {
    let no = "HTTP/1.1 413 Too Large\r\nContent-Length: 6\r\n\r\ntoo la";
    // From bytes, and streamed.
    let mut bench = Bench::new();
    bench.serve(1, move |_| Script::new().until("\r\n\r\n").pause().say(no));
    let response = bench.call(Request::put(url(1, "/")).body(vec![b'x'; 4 << 20])).unwrap();
    assert_eq!((response.status, response.text().as_ref()), (413, "too la"));
    assert_eq!((bench.leased(), bench.idle()), (0, 0));
    let body = Notes { pieces: 1000, piece: vec![b'x'; 10_000], ..Notes::default() };
    let call = stream(&mut bench, Request::put(url(1, "/")).stream(None), body);
    bench.until(ended);
    assert_eq!(bench.world.notes, ["413", "end 0"]);
    assert_eq!(call.write(&mut bench.cx(), b"x").unwrap_err().kind(), ErrorKind::NotConnected);
    assert!(bench.world.bytes < 2 << 20, "{} bytes were asked for", bench.world.bytes);
}

/// Refuses what comes after the head, at leisure, and counts it.
struct Refuses(bool);

impl Protocol<World> for Refuses {
    fn received(&mut self, conn: &mut Conn<'_, World>, input: &mut Input<'_>) -> io::Result<()> {
        if !std::mem::replace(&mut self.0, true) {
            conn.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n");
            conn.deadline(ms(1000));
        }
        conn.state().bytes += input.take_all().len();
        Ok(())
    }
    fn timed_out(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        conn.write(b"no");
        Ok(())
    }
}

#[test]
fn no_more_is_sent_to_a_server_that_has_begun_to_answer() {
    let mut bench = Bench::new();
    bench.cx().listen(([10, 0, 0, 1], 80), |_, _| Refuses(false)).unwrap();
    let response = bench.call(Request::put(url(1, "/")).body(vec![b'x'; 32 << 20])).unwrap();
    assert_eq!((response.status, response.text().as_ref()), (413, "no"));
    bench.pass(ms(2000));
    assert!(bench.world.bytes < 4 << 20, "{} bytes were sent all the same", bench.world.bytes);
}

#[test]
fn a_streamed_body_is_not_sent_again() {
    let mut bench = Bench::new();
    bench.serve(1, |_| {
        answering(&[ok("first"), "HTTP/1.1 307 X\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n".into()])
    });
    bench.fetch(&url(1, "/")).unwrap();
    let body = Notes { pieces: 1, piece: b"abc\r\n\r\n".to_vec(), ..Notes::default() };
    stream(&mut bench, Request::put(url(1, "/")).stream(None), body);
    bench.until(ended);
    assert!(bench.world.notes[0].contains("cannot be sent again"), "{:?}", bench.world.notes);
}

#[test]
fn a_form_is_sent_as_one() {
    let mut bench = Bench::new();
    bench.serve(1, |_| {
        let body = "Content-Length: 14\r\n\r\nq=run+on&n=%26";
        Script::new().until(body).say(OK)
    });
    let form = Request::post(url(1, "/")).form([("q", "run on"), ("n", "&")]);
    assert!(bench.call(form).unwrap().is_success());
}

#[test]
fn a_stream_that_is_cut_says_so_after_what_had_come() {
    let mut bench = Bench::with(Config { retry: false, ..Config::default() });
    bench.serve(1, |_| answering(&["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart"]).close());
    stream(&mut bench, Request::get(url(1, "/")), Notes::default());
    bench.until(ended);
    assert_eq!((bench.world.bytes, bench.world.notes[0].as_str()), (4, "200"));
    assert!(bench.world.notes[1].starts_with(&format!("{:?}", Phase::Body)), "{:?}", bench.world.notes);
}
