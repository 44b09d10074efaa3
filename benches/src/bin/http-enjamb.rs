//! Small GETs through a session of `enjamb`: `http-enjamb URL COUNT LANES`.

use enjamb::http::{Config, Failure, Session, Url};
use enjamb::{Cx, Reactor};
use enjamb_benches::http_client::{Meter, asked};
use std::io;

struct State {
    session: Session<State>,
    url: Url,
    bytes: usize,
    running: usize,
    failure: Option<Failure>,
}

fn run_lane(cx: &mut Cx<'_, State>, left: usize) {
    if left == 0 {
        cx.state.running -= 1;
        if cx.state.running == 0 {
            cx.stop(); // do not wait for the idle connections to expire
        }
        return;
    }
    let (session, url) = (cx.state.session.clone(), cx.state.url.clone());
    session.get(cx, url, move |cx, result| match result {
        Ok(response) => {
            cx.state.bytes += response.body.len();
            run_lane(cx, left - 1);
        }
        Err(failure) => {
            cx.state.failure = Some(failure);
            cx.stop();
        }
    });
}

fn run_lanes(reactor: &mut Reactor<State>, state: &mut State, lanes: usize, each: usize) -> io::Result<()> {
    (state.bytes, state.running) = (0, lanes);
    for _ in 0..lanes {
        run_lane(&mut reactor.cx(state), each);
    }
    reactor.run(state)?;
    state.failure.take().map_or(Ok(()), |failure| Err(failure.into()))
}

fn main() -> io::Result<()> {
    let asked = asked()?;
    let url = asked.url.parse().map_err(io::Error::other)?;
    let session = Session::new(Config::default())?;
    let mut state = State { session, url, bytes: 0, running: 0, failure: None };
    let mut reactor = Reactor::new()?;
    run_lanes(&mut reactor, &mut state, asked.lanes, 1)?;
    let meter = Meter::start()?;
    run_lanes(&mut reactor, &mut state, asked.lanes, asked.each)?;
    meter.stop(state.bytes)
}
