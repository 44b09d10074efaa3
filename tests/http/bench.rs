//! A session in a simulation, and servers that follow scripts.

pub use crate::common::times::ms;
use enjamb::http::{Call, Config, Error, Failure, Phase, Request, Response, Rule, Session};
use enjamb::sim::{Script, Sim};
use enjamb::{Cx, Reactor};
use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

/// What came of the calls, in the order in which they ended.
#[derive(Default)]
pub struct World {
    pub results: Vec<Result<Response, Failure>>,
    /// Connections accepted.
    pub accepted: usize,
    /// What a receiver has noted.
    pub notes: Vec<String>,
    pub bytes: usize,
}

pub struct Bench {
    pub sim: Sim,
    pub reactor: Reactor<World>,
    pub world: World,
    pub session: Session<World>,
}

/// Where servers are: `http://10.0.0.N/`.
pub fn url(host: u8, path: &str) -> String {
    format!("http://10.0.0.{host}{path}")
}

impl Bench {
    pub fn new() -> Self {
        Self::with(Config::default())
    }

    pub fn with(config: Config) -> Self {
        let sim = Sim::new(1);
        let reactor = sim.reactor().unwrap();
        let session = Session::new(config).unwrap();
        Bench { sim, reactor, world: World::default(), session }
    }

    /// A server at this host: for each connection, the script of its number, from 0.
    pub fn serve(&mut self, host: u8, script: impl Fn(usize) -> Script + 'static) {
        let mut cx = self.reactor.cx(&mut self.world);
        let listening = cx.listen(([10, 0, 0, host], 80), move |cx: &mut Cx<'_, World>, _| {
            cx.state.accepted += 1;
            script(cx.state.accepted - 1)
        });
        listening.unwrap();
    }

    /// A server that says this to each request.
    pub fn answers(&mut self, host: u8, answer: &'static str) {
        self.serve(host, move |_| answering(&[answer; 20]));
    }

    pub fn cx(&mut self) -> Cx<'_, World> {
        self.reactor.cx(&mut self.world)
    }

    pub fn get(&mut self, url: &str) -> Call<World> {
        self.send(Request::get(url))
    }

    pub fn send<R>(&mut self, request: R) -> Call<World>
    where
        R: TryInto<Request>,
        Error: From<R::Error>,
    {
        let session = self.session.clone();
        session.send(&mut self.cx(), request, |cx, result| cx.state.results.push(result))
    }

    /// Sends it, and waits for what comes of it.
    #[track_caller]
    pub fn call<R>(&mut self, request: R) -> Result<Response, Failure>
    where
        R: TryInto<Request>,
        Error: From<R::Error>,
    {
        let came = Rc::new(RefCell::new(None));
        let (session, slot) = (self.session.clone(), Rc::clone(&came));
        session.send(&mut self.cx(), request, move |_, result| *slot.borrow_mut() = Some(result));
        self.until(|_| came.borrow().is_some());
        came.take().unwrap()
    }

    #[track_caller]
    pub fn fetch(&mut self, url: &str) -> Result<Response, Failure> {
        self.call(Request::get(url))
    }

    #[track_caller]
    pub fn until(&mut self, done: impl Fn(&World) -> bool) {
        let end = self.sim.now() + Duration::from_secs(100_000);
        while !done(&self.world) {
            assert!(self.sim.now() < end, "it does not come about");
            self.reactor.turn(&mut self.world, Some(Duration::from_secs(1))).unwrap();
        }
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        let until = self.sim.now() + time;
        while self.sim.now() < until {
            self.reactor.turn(&mut self.world, Some(until - self.sim.now())).unwrap();
        }
    }

    pub fn idle(&self) -> usize {
        self.session.pool().snapshot().total.idle
    }

    pub fn leased(&self) -> usize {
        self.session.pool().snapshot().total.leased
    }
}

/// Says these one after the other, each when a head has come.
pub fn answering<A: AsRef<[u8]>>(answers: &[A]) -> Script {
    answers.iter().fold(Script::new(), |script, answer| script.until("\r\n\r\n").say(answer))
}

pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// The rule that was broken.
#[track_caller]
pub fn rule(failure: &Failure) -> Rule {
    match failure.http() {
        Some(Error::Response(error)) => error.rule,
        _ => panic!("{failure:?}"),
    }
}

#[track_caller]
pub fn timed_out(failure: &Failure, phase: Phase) {
    assert_eq!((failure.kind(), failure.phase), (ErrorKind::TimedOut, phase), "{failure}");
    assert!(failure.to_string().starts_with("http://"), "{failure}");
}

/// An answer with this body.
pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
