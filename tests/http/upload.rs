//! How long a session gives a request's body, and what it does when the response comes before the body's end.

use super::bench::{Bench, OK, World, answering, ms, url};
use enjamb::Cx;
use enjamb::http::{Call, Config, Failure, Head, Headers, Phase, Receiver, Request, RequestBuilder};
use enjamb::pool;
use enjamb::sim::{Link, Script};
use std::io::{self, ErrorKind};

/// Writes all of a streamed body at once.
struct Writes(Option<Vec<u8>>);

impl Receiver<World> for Writes {
    fn wanted(&mut self, cx: &mut Cx<'_, World>, call: &Call<World>) -> io::Result<()> {
        let Some(body) = self.0.take() else { return Ok(()) };
        call.write(cx, &body)?;
        call.finish(cx).map(drop)
    }
    fn head(&mut self, cx: &mut Cx<'_, World>, _: &Call<World>, head: Head) -> io::Result<()> {
        cx.state.notes.push(head.status.to_string());
        Ok(())
    }
    fn data(&mut self, _: &mut Cx<'_, World>, _: &Call<World>, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn end(self: Box<Self>, cx: &mut Cx<'_, World>, result: Result<Headers, Failure>) {
        cx.state
            .notes
            .push(result.map_or_else(|failure| format!("{:?} {failure}", failure.phase), |_| "end".into()));
    }
}

fn stream(bench: &mut Bench, request: RequestBuilder, receiver: Writes) -> Call<World> {
    let session = bench.session.clone();
    session.stream(&mut bench.cx(), request, receiver)
}

/// Takes what has come twice a second.
fn taking_slowly(times: usize) -> Script {
    (0..times)
        .fold(Script::new().until("\r\n\r\n"), |script, _| script.pause().wait(ms(500)).resume().wait(ms(1)))
}

fn bench(config: Config) -> Bench {
    let bench = Bench::with(config);
    bench.sim.link(([10, 0, 0, 1], 80), Link { latency: ms(1)..=ms(1), buffer: 8 * 1024, ..Link::default() });
    bench
}

fn impatient() -> Bench {
    bench(Config { first_byte: Some(ms(2000)), between_bytes: Some(ms(2000)), ..Config::default() })
}

#[test]
fn a_body_that_is_taken_slowly_but_steadily_may_take_any_time() {
    for streamed in [false, true] {
        let mut bench = impatient();
        bench.serve(1, |_| taking_slowly(10).until("end").say(OK));
        let mut body = vec![b'x'; 200_000];
        body.extend(b"end");
        if streamed {
            stream(&mut bench, Request::put(url(1, "/")).stream(200_003), Writes(Some(body)));
            bench.until(|world| world.notes.len() == 2);
            assert_eq!(bench.world.notes, ["200", "end"]);
        } else {
            assert_eq!(bench.call(Request::put(url(1, "/")).body(body)).unwrap().status, 200);
        }
        assert!(bench.sim.now() >= ms(4000), "it was not slow");
    }
}

#[test]
fn a_body_of_which_no_more_is_taken_is_given_up_in_the_phase_of_sending() {
    for streamed in [false, true] {
        let mut bench = impatient();
        bench.serve(1, |_| taking_slowly(10).pause().wait(ms(600_000)));
        let body = vec![b'x'; 200_000];
        if streamed {
            stream(&mut bench, Request::put(url(1, "/")).stream(200_000), Writes(Some(body)));
            bench.until(|world| world.notes.len() == 1);
            let note = &bench.world.notes[0];
            assert!(note.starts_with("Send") && note.contains("nothing was taken within 2.0s"), "{note}");
        } else {
            let failure = bench.call(Request::put(url(1, "/")).body(body)).unwrap_err();
            assert_eq!((failure.phase, failure.kind()), (Phase::Send, ErrorKind::TimedOut));
        }
        assert!(bench.sim.now() < ms(10_000), "it waits for something else");
    }
}

#[test]
fn the_first_byte_is_waited_for_from_when_the_body_is_taken_whole() {
    for streamed in [false, true] {
        let mut bench = bench(Config { first_byte: Some(ms(1000)), ..Config::default() });
        bench.serve(1, |_| taking_slowly(40).wait(ms(600_000)));
        let body = vec![b'x'; 100_000];
        if streamed {
            stream(&mut bench, Request::put(url(1, "/")).stream(100_000), Writes(Some(body)));
            bench.until(|world| world.notes.len() == 1);
            let note = &bench.world.notes[0];
            assert!(note.starts_with("FirstByte") && note.contains("no byte came within 1.0s"), "{note}");
        } else {
            let failure = bench.call(Request::put(url(1, "/")).body(body)).unwrap_err();
            assert_eq!((failure.phase, failure.kind()), (Phase::FirstByte, ErrorKind::TimedOut));
        }
        let now = bench.sim.now();
        assert!(now > ms(2000) && now < ms(30_000), "at {now:?}");
    }
}

#[test]
fn nothing_can_be_written_after_the_end_of_a_call() {
    for cancelled in [false, true] {
        let mut bench = Bench::new();
        bench.serve(1, move |_| {
            if cancelled { Script::new() } else { Script::new().until("\r\n\r\n").wait(ms(10)).reset() }
        });
        let call = stream(&mut bench, Request::put(url(1, "/")).stream(None), Writes(None));
        bench.pass(ms(5));
        if cancelled {
            assert!(call.write(&mut bench.cx(), b"x").is_ok());
            assert!(call.cancel(&mut bench.cx()));
        } else {
            bench.until(|world| world.notes.len() == 1);
        }
        for result in [call.write(&mut bench.cx(), b"x"), call.finish(&mut bench.cx())] {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::NotConnected);
        }
    }
}

#[test]
fn interim_answers_do_not_put_off_a_body_that_waits_for_a_100() {
    let mut bench = Bench::new();
    bench.serve(1, |_| {
        let head = Script::new().until("\r\n\r\n");
        let hints =
            (0..5).fold(head, |script, _| script.wait(ms(700)).say("HTTP/1.1 103 Early Hints\r\n\r\n"));
        hints.wait(ms(600_000))
    });
    bench.serve(2, |_| Script::new().until("body").say(OK));
    let call = bench.send(Request::put(url(1, "/")).body("body").expect_continue());
    bench.pass(ms(1500));
    assert!(bench.sim.log().contains("writes 4 bytes"), "the body has not gone:\n{}", bench.sim.log());
    call.cancel(&mut bench.cx());
}

#[test]
fn a_connection_with_a_request_not_sent_whole_is_ended_at_once_with_the_answer() {
    for answer in [
        "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 303 See Other\r\nLocation: /done\r\nContent-Length: 0\r\n\r\n",
    ] {
        for length in [50_000, 5_000_000] {
            let config = pool::Config { limit: Some(1), ..pool::Config::default() };
            let mut bench = bench(Config { pool: config, ..Config::default() });
            bench.serve(1, move |n| match n {
                0 => Script::new().until("\r\n\r\n").pause().say(answer).wait(ms(600_000)),
                _ => answering(&[OK]),
            });
            let first = bench.call(Request::post(url(1, "/")).body(vec![b'x'; length])).unwrap();
            if first.status == 413 {
                assert_eq!(bench.fetch(&url(1, "/")).unwrap().status, 200);
            }
            let now = bench.sim.now();
            assert!(now < ms(1000), "the next had to wait until {now:?}");
        }
    }
}
