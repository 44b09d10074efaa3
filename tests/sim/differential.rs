//! The simulation beside the kernel: the same random dialogues over loopback sockets and in the simulation give the
//! same callbacks up to timing. Each machine sees the same order, the same bytes, the same end.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use enjamb::sim::{Sim, check};
use enjamb::{Config, Conn, Cx, End, Input, Protocol, Reactor};

/// What one side does, one after another. Nothing depends on the time, or on who is quicker.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    Say(usize),
    /// Waits until so many bytes have come.
    Hear(usize),
    /// Reads nothing for some milliseconds.
    Rest(u64),
    Switch,
    /// Leaves the last so many bytes in its input, whatever comes.
    Leave(usize),
    /// Waits for the peer's end.
    HearEnd,
    Finish,
    Close,
    Abort,
    Fail,
}

#[derive(Debug, Clone)]
enum Dialogue {
    /// What the client does, and what the server does.
    Talk(Vec<Step>, Vec<Step>),
    /// Nobody listens there.
    Refused,
    /// The server reads nothing, and ends with so many bytes unread.
    Deaf(usize),
}

#[derive(Default)]
struct World {
    /// What happened to each side of each dialogue.
    logs: BTreeMap<(usize, &'static str), Vec<String>>,
    clients: BTreeMap<SocketAddr, usize>,
    sides: usize,
    closed: usize,
}

struct Side {
    name: (usize, &'static str),
    steps: VecDeque<Step>,
    heard: usize,
    ended: bool,
    resting: bool,
    leaves: usize,
    hash: DefaultHasher,
}

impl Side {
    fn new(dialogue: usize, side: &'static str, steps: &[Step]) -> Self {
        let steps = steps.iter().copied().collect();
        let hash = DefaultHasher::new();
        Side { name: (dialogue, side), steps, heard: 0, ended: false, resting: false, leaves: 0, hash }
    }

    fn note(&self, world: &mut World, what: String) {
        world.logs.entry(self.name).or_default().push(what);
    }

    /// Takes what has come, but for what it leaves.
    fn hear(&mut self, input: &mut Input<'_>) {
        let taken = input.take(input.len().saturating_sub(self.leaves));
        taken.iter().for_each(|byte| byte.hash(&mut self.hash));
        self.heard += taken.len();
    }

    fn go_on(&mut self, conn: &mut Conn<'_, World>, left: usize) -> io::Result<()> {
        while let Some(&step) = self.steps.front() {
            match step {
                Step::Say(n) => {
                    let bytes: Vec<u8> = (0..n).map(|i| (i * 31 + n) as u8).collect();
                    conn.write(&bytes);
                }
                Step::Hear(n) if self.heard + left < n => return Ok(()),
                Step::HearEnd if !self.ended => return Ok(()),
                Step::Rest(_) if self.resting => return Ok(()),
                Step::Rest(millis) => {
                    self.resting = true;
                    conn.pause();
                    conn.deadline(Duration::from_millis(millis));
                    return Ok(());
                }
                Step::Switch => {
                    self.steps.pop_front();
                    let (steps, hash) = (std::mem::take(&mut self.steps), self.hash.clone());
                    conn.switch(Side { steps, hash, name: self.name, ..*self });
                    // The machine that takes over is called when more comes; it is offered what is left, if anything.
                    conn.deadline(Duration::from_millis(1));
                    return Ok(());
                }
                Step::Leave(n) => self.leaves = n,
                Step::Finish => conn.finish(),
                Step::Close => conn.close(),
                Step::Abort => conn.abort(ErrorKind::Other.into()),
                Step::Fail => return Err(ErrorKind::InvalidData.into()),
                Step::Hear(_) | Step::HearEnd => {}
            }
            self.steps.pop_front();
        }
        Ok(())
    }
}

impl Protocol<World> for Side {
    fn opened(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        self.note(conn.state(), "opened".into());
        conn.water_marks(1000, 20_000);
        self.go_on(conn, 0)
    }
    fn received(&mut self, conn: &mut Conn<'_, World>, input: &mut Input<'_>) -> io::Result<()> {
        self.hear(input);
        self.go_on(conn, input.len())
    }
    fn ended(&mut self, conn: &mut Conn<'_, World>, rest: &mut Input<'_>) -> io::Result<()> {
        self.hear(rest);
        if !std::mem::replace(&mut self.ended, true) {
            self.note(conn.state(), format!("ended after {} bytes, {} left", self.heard, rest.len()));
        }
        self.go_on(conn, rest.len())
    }
    fn timed_out(&mut self, conn: &mut Conn<'_, World>) -> io::Result<()> {
        if std::mem::replace(&mut self.resting, false) {
            self.steps.pop_front();
            conn.resume();
        }
        self.go_on(conn, 0)
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, World>, end: End) {
        let kind = end.result.as_ref().err().map(|error| error.kind());
        let (heard, hash, left) = (self.heard, self.hash.finish(), self.steps.len());
        let End { unsent, unread, .. } = end;
        let how = format!(
            "closed {kind:?}: {heard} bytes ({hash:x}), {unsent} unsent, {unread} unread, {left} steps left"
        );
        self.note(cx.state, how);
        cx.state.closed += 1;
        if cx.state.closed == cx.state.sides {
            cx.stop();
        }
    }
}

fn run(
    reactor: &mut Reactor<World>,
    ip: [u8; 4],
    nobody: u16,
    dialogues: &[Dialogue],
) -> BTreeMap<(usize, &'static str), Vec<String>> {
    let mut world = World::default();
    let mut cx = reactor.cx(&mut world);
    let theirs = dialogues.to_vec();
    let accepted = move |cx: &mut Cx<'_, World>, from: SocketAddr| {
        let n = cx.state.clients[&from];
        match &theirs[n] {
            Dialogue::Talk(_, steps) => Side::new(n, "server", steps),
            _ => Side::new(n, "server", &[Step::Rest(20), Step::Abort]),
        }
    };
    let at = cx.listen((ip, 0), accepted).unwrap().local_addr().unwrap();
    for (n, dialogue) in dialogues.iter().enumerate() {
        let (at, steps, sides) = match dialogue {
            Dialogue::Talk(steps, _) => (at, steps.clone(), 2),
            Dialogue::Refused => ((ip, nobody).into(), vec![Step::Say(10)], 1),
            Dialogue::Deaf(unread) => (at, vec![Step::Say(*unread), Step::HearEnd], 2),
        };
        cx.state.sides += sides;
        let mut conn = cx.connect(at, Side::new(n, "client", &steps));
        if let Ok(local) = conn.local_addr() {
            conn.state().clients.insert(local, n);
        }
    }
    reactor.run(&mut world).unwrap();
    world.logs
}

fn dialogue(sim: &Sim) -> Dialogue {
    match sim.random(0..=9) {
        0 => return Dialogue::Refused,
        1 => return Dialogue::Deaf(sim.random(1..=1000) as usize),
        _ => {}
    }
    let (mut sides, mut heard) = ([Vec::new(), Vec::new()], [0, 0]);
    for _ in 0..sim.random(0..=5) {
        let says = sim.random(0..=1) as usize;
        let most = [1, 100, 5_000, 100_000][sim.random(0..=3) as usize];
        let n = sim.random(1..=most) as usize;
        if sim.random(0..=4) == 0 {
            sides[1 - says].push(Step::Rest(sim.random(1..=3)));
        }
        if sim.random(0..=9) == 0 {
            sides[1 - says].push(Step::Switch);
        }
        heard[1 - says] += n;
        sides[says].push(Step::Say(n));
        sides[1 - says].push(Step::Hear(heard[1 - says]));
        // And an answer, so that the two stay in step: who says the next thing has heard this.
        heard[says] += 1;
        sides[1 - says].push(Step::Say(1));
        sides[says].push(Step::Hear(heard[says]));
    }
    let (first, second) = (sim.random(0..=1) as usize, |n: u64| sim.random(0..=n - 1) as usize);
    if second(4) == 0 {
        sides[1 - first].insert(0, Step::Leave(3));
        sides[first].push(Step::Say(5));
    }
    let last = [Step::Finish, Step::Close, Step::Abort, Step::Fail][second(4)];
    sides[1 - first].push(Step::HearEnd);
    let cut = matches!(last, Step::Abort | Step::Fail);
    if cut {
        sides[first].retain(|step| *step != Step::Say(5)); // it would go with the connection
    }
    // Who has said nothing, and closes, is gone at once: an answer to that is cut at some point or other.
    if !cut && (heard[1 - first] > 0 || last == Step::Finish) && second(2) == 0 {
        // Who closes waits a second for the other's end: a long answer may take longer on a slow link.
        let most = if last == Step::Close { 1 } else { 3 };
        sides[1 - first].push(Step::Say([1, 10_000, 200_000][second(most)]));
    }
    sides[1 - first].push([Step::Finish, Step::Close][second(2)]);
    sides[first].push(last);
    sides[first].extend([Step::HearEnd, Step::Close]);
    let [client, server] = sides;
    Dialogue::Talk(client, server)
}

#[test]
fn the_same_dialogues_give_the_same_callbacks_over_sockets_and_in_the_simulation() {
    // A port on which nobody listens, and that nobody else gets.
    let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    bound.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let nobody = bound.local_addr().unwrap().as_socket().unwrap().port();
    check(0..120, |sim| {
        let dialogues: Vec<Dialogue> = (0..sim.random(1..=4)).map(|_| dialogue(sim)).collect();
        // On some links, a long answer takes its time.
        let config =
            Config { read_buffer: 4096, close_timeout: Duration::from_secs(86_400), ..Config::default() };
        let mut real = Reactor::with_config(config.clone()).unwrap();
        let by_the_kernel = run(&mut real, [127, 0, 0, 1], nobody, &dialogues);
        // A reset is in time only where nothing is under way: not on a link that is slow.
        let deaf = dialogues.iter().any(|dialogue| matches!(dialogue, Dialogue::Deaf(_)));
        let network = if deaf { sim.clone() } else { sim.clone().rough() };
        let mut simulated = network.reactor_with(config).unwrap();
        let by_the_simulation = run(&mut simulated, [10, 0, 0, 1], 9, &dialogues);
        assert_eq!(by_the_kernel, by_the_simulation, "{dialogues:#?}");
    });
}
