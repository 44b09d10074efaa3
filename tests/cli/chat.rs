//! The chat: what members hear of each other, and what happens to one that does not read.

use super::programs::{Program, run};
use nix::sys::signal::Signal;
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

struct Chat {
    program: Program,
    address: SocketAddr,
}

impl Chat {
    fn start(options: &[&str]) -> Self {
        // Of what is told of its members, much would be counted only.
        let mut program = Program::start_telling_all("chat", &[&["--listen", "0"], options].concat());
        let line = program.out.wait_for("");
        let address = line.strip_prefix("listening on ").and_then(|address| address.parse().ok());
        Self { address: address.unwrap_or_else(|| panic!("no address in {line:?}")), program }
    }

    fn connect(&self) -> Member {
        let mut member = Member(BufReader::new(super::servers::connect(self.address)));
        member.hears("* your name?");
        member
    }

    fn join(&self, name: &str) -> Member {
        let mut member = self.connect();
        member.says(&format!("{name}\n"));
        let welcome = member.line();
        assert!(welcome.starts_with(&format!("* welcome, {name};")), "{welcome}");
        member
    }

    /// A member that has joined and will read nothing, not even what it is asked. The kernel holds little for it.
    fn join_deaf(&self) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        // Linux makes the other end's buffer as large as some segments of the size that it may send.
        #[cfg(target_os = "linux")]
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::TcpMaxSeg, &536)
            .expect("small segments");
        socket.connect(&self.address.into()).expect("the chat accepts");
        let mut deaf = TcpStream::from(socket);
        deaf.write_all(b"deaf\n").expect("the chat reads");
        deaf
    }
}

struct Member(BufReader<TcpStream>);

impl Member {
    fn says(&mut self, bytes: &str) {
        self.0.get_mut().write_all(bytes.as_bytes()).expect("the chat reads");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        assert_eq!(line.pop(), Some('\n'), "a whole line instead of the end");
        line
    }

    #[track_caller]
    fn hears(&mut self, line: &str) {
        assert_eq!(self.line(), line);
    }

    #[track_caller]
    fn hears_the_end(&mut self) {
        assert_eq!(self.0.read(&mut [0]).expect("a clean end"), 0);
    }
}

#[test]
fn members_hear_the_others_and_not_themselves() {
    let chat = Chat::start(&[]);
    let mut ann = chat.join("ann");
    let mut bob = chat.join("bob");
    ann.hears("* bob has joined");
    ann.says("hello\n");
    bob.hears("<ann> hello");
    let mut cat = chat.join("cat");
    bob.hears("* cat has joined");
    bob.says("one\r\ntwo\r");
    bob.says("\nthr");
    bob.says("ee\n");
    for line in ["<bob> one", "<bob> two", "<bob> three"] {
        cat.hears(line);
    }
    for line in ["* cat has joined", "<bob> one", "<bob> two", "<bob> three"] {
        ann.hears(line);
    }
    cat.says("now you\n");
    bob.hears("<cat> now you");
}

#[test]
fn whoever_leaves_is_announced_with_how_it_left() {
    let mut chat = Chat::start(&[]);
    let mut ann = chat.join("ann");
    let mut nobody = chat.connect();
    nobody.says("/quit\nnobody\n");
    nobody.hears("* good-bye");
    nobody.hears_the_end();
    let mut bob = chat.join("bob");
    bob.says("/quit\nunheard\n");
    bob.hears("* good-bye");
    bob.hears_the_end();
    let mut cat = chat.join("cat");
    cat.says("last words"); // without a newline
    cat.0.get_mut().shutdown(Shutdown::Write).expect("half a close");
    cat.hears_the_end();
    let dan = chat.join("dan");
    SockRef::from(dan.0.get_ref()).set_linger(Some(Duration::ZERO)).expect("linger");
    drop(dan);
    for line in [
        "* bob has joined",
        "* bob has left",
        "* cat has joined",
        "<cat> last words",
        "* cat has left",
        "* dan has joined",
        "* dan has lost the connection",
    ] {
        ann.hears(line);
    }
    for line in
        ["ann (", "bob (", "bob has left; members: 1", "cat (", "cat has left; members: 1", "dan has lost"]
    {
        chat.program.err.wait_for(line);
    }
}

#[test]
fn a_name_is_one_word_and_one_member_has_it() {
    let chat = Chat::start(&[]);
    let mut ann = chat.join("Änn-1");
    let mut bob = chat.connect();
    for wrong in ["", "two words", "/who", "<b>", "twenty-one-characters", "\u{1b}[2J"] {
        bob.says(&format!("{wrong}\n"));
        bob.hears("* a name has 1 to 20 letters, digits, - or _; another name?");
    }
    bob.says("änn-1\n");
    bob.hears("* änn-1 is here already; another name?");
    ann.says("/quit\n");
    ann.hears("* good-bye");
    ann.hears_the_end();
    bob.says("änn-1\n");
    bob.hears("* welcome, änn-1; others here: 0");
}

#[test]
fn commands_are_for_oneself_and_control_characters_for_nobody() {
    let chat = Chat::start(&[]);
    let mut ann = chat.join("ann");
    let mut bob = chat.join("bob");
    ann.hears("* bob has joined");
    ann.says("/who\n/nick x\n\n  \nclear \u{1b}[2J\tor not\n");
    ann.hears("* here: ann, bob");
    ann.hears("* /nick is not known: there are /who and /quit");
    bob.hears("<ann> clear  [2J or not");
}

#[test]
fn a_line_over_the_maximum_ends_its_member_and_no_other() {
    let chat = Chat::start(&["--max-line", "30"]);
    let mut ann = chat.join("ann");
    let mut bob = chat.join("bob");
    ann.hears("* bob has joined");
    bob.says(&format!("{}\n", "y".repeat(30)));
    ann.hears(&format!("<bob> {}", "y".repeat(30)));
    bob.says(&"x".repeat(31)); // and no end of it
    let told = bob.line();
    assert!(told.starts_with("* a line is longer than the maximum of 30 bytes"), "{told}");
    bob.hears_the_end();
    ann.hears("* bob was cut off: the line was too long");
    let mut cat = chat.join("cat");
    cat.says("hello\n");
    ann.hears("* cat has joined");
    ann.hears("<cat> hello");
}

#[test]
fn of_fifty_members_the_one_that_never_reads_is_cut_off_and_the_others_miss_nothing() {
    const BATCH: usize = 50;
    /// What the cap and the kernel hold for somebody is less than so many lines of a kilobyte.
    const MOST: usize = 16 * 1024;
    let mut chat = Chat::start(&["--cap", "65536"]);
    let mut speaker = chat.join("speaker");
    let mut deaf = chat.join_deaf();
    speaker.hears("* deaf has joined");
    let mut others: Vec<Member> = (0..48).map(|n| chat.join(&format!("member-{n}"))).collect();
    for (n, member) in others.iter_mut().enumerate() {
        (n + 1..48).for_each(|later| member.hears(&format!("* member-{later} has joined")));
    }
    let padding = "x".repeat(980);
    let mut said = 0;
    let mut told = vec![0; others.len()];
    // Batch by batch, each when all have heard the one before: nobody but the deaf one is ever behind.
    while told.contains(&0) {
        assert!(said < MOST, "nobody is cut off");
        let lines: Vec<String> = (said..said + BATCH).map(|n| format!("{n} {padding}")).collect();
        speaker.says(&(lines.join("\n") + "\n"));
        for (member, told) in others.iter_mut().zip(&mut told) {
            for line in &lines {
                let mut heard = member.line();
                if heard == "* deaf was cut off for not reading" {
                    *told += 1;
                    heard = member.line();
                }
                assert_eq!(heard, format!("<speaker> {line}"));
            }
        }
        said += BATCH;
    }
    speaker.says("the end\n");
    for (member, told) in others.iter_mut().zip(told) {
        member.hears("<speaker> the end");
        assert_eq!(told, 1);
    }
    (0..48).for_each(|n| speaker.hears(&format!("* member-{n} has joined")));
    speaker.hears("* deaf was cut off for not reading");
    chat.program.err.wait_for("deaf was cut off for not reading; members: 49");
    let reset = deaf.read_to_end(&mut Vec::new()).expect_err("what it was owed is lost, and it can see that");
    assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_member_that_reads_late_but_is_below_the_cap_misses_nothing() {
    const LINES: usize = 3000;
    let chat = Chat::start(&["--cap", "8388608"]);
    let mut ann = chat.join("ann");
    let mut bob = chat.join("bob");
    let mut cat = chat.join("cat");
    let padding = "x".repeat(980);
    bob.hears("* cat has joined");
    for n in 0..LINES {
        bob.says(&format!("{n} {padding}\n"));
        cat.hears(&format!("<bob> {n} {padding}"));
    }
    ann.hears("* bob has joined");
    ann.hears("* cat has joined");
    for n in 0..LINES {
        ann.hears(&format!("<bob> {n} {padding}"));
    }
}

#[test]
fn a_burst_of_lines_cuts_off_nobody_who_reads() {
    let chat = Chat::start(&["--cap", "4096"]);
    let mut ann = chat.join("ann");
    let mut bob = chat.join("bob");
    ann.hears("* bob has joined");
    let padding = "x".repeat(980);
    // They come in at once and are written at once, many times the cap; but the kernel takes them.
    bob.says(&(0..60).map(|n| format!("{n} {padding}\n")).collect::<String>());
    (0..60).for_each(|n| ann.hears(&format!("<bob> {n} {padding}")));
}

#[test]
fn who_asks_a_lot_before_it_reads_gets_every_answer() {
    /// As many as come with one read. With 5 KiB each, the answers are more than may be unsent.
    const QUESTIONS: usize = 6000;
    let chat = Chat::start(&[]);
    let names: Vec<String> = (10..70).map(|n| format!("{}{n}", "𝒶".repeat(18))).collect();
    let _others: Vec<Member> = names.iter().map(|name| chat.join(name)).collect();
    let mut ann = chat.join("ann");
    ann.says(&"/who\n".repeat(QUESTIONS));
    // When somebody else has been answered, so has she been, as far as she will be before she reads.
    let mut other = chat.connect();
    other.says("\n");
    assert!(other.line().ends_with("another name?"));
    let answer = format!("* here: {}, ann", names.join(", "));
    (0..QUESTIONS).for_each(|_| ann.hears(&answer));
}

#[test]
fn on_a_signal_the_members_are_told_and_it_ends_with_0() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let chat = Chat::start(&["--drain-timeout", "1h"]);
        let (mut ann, mut unnamed) = (chat.join("ann"), chat.connect());
        chat.program.signal(signal);
        ann.hears("* the chat ends");
        ann.hears_the_end();
        unnamed.hears_the_end();
        drop((ann, unnamed));
        let ended = chat.program.end();
        assert_eq!(ended.status, Some(0), "{ended:#?}");
    }
}

#[test]
fn a_busy_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("its address").port().to_string();
    let ended = run("chat", &["--listen", &port]);
    assert_eq!(ended.status, Some(1), "{ended:#?}");
    assert!(ended.message("already in use").contains("--listen 0"), "{ended:#?}");
}
