//! How a watch ends: by itself, by a failed registration, by a panic, and its descriptor used again.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use super::watch::{Reader, Seen, idle, machine};
use crate::common::times::HANGS;
use crate::common::until::until;
use enjamb::mio::Interest;
use enjamb::mio::event::Source;
use enjamb::mio::unix::{SourceFd, pipe};
use enjamb::{Cx, Reactor, Readiness, Step, Watch};

/// Watches a ready pipe with a machine that ends itself by `unwatch` and then returns this.
fn unwatches_itself_and_returns(step: fn() -> io::Result<Step>) -> Seen {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (mut sender, receiver) = pipe::new().unwrap();
    sender.write_all(b"x").unwrap();
    let ending = machine(move |cx, _: &mut pipe::Receiver, _| {
        cx.state.calls.push("ready".into());
        let id = cx.state.watch.unwrap();
        assert!(cx.unwatch(id));
        assert!(!cx.unwatch(id));
        assert!(cx.state.results.is_empty(), "closed comes after this callback");
        step()
    });
    seen.watch = Some(reactor.cx(&mut seen).watch(receiver, Interest::READABLE, ending).unwrap());
    until(&mut reactor, &mut seen, |cx| !cx.state.results.is_empty());
    idle(&mut reactor, &mut seen);
    assert_eq!(seen.calls, ["ready"]);
    assert!(!reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap().alive, "{}", reactor.alive());
    seen
}

#[test]
fn a_watch_that_ends_itself_is_closed_once_whatever_it_returns_then() {
    let steps: [fn() -> io::Result<Step>; 4] = [
        || Ok(Step::Wait),
        || Ok(Step::Again),
        || Ok(Step::Done),
        || Err(io::Error::other("too late: the first cause stands")),
    ];
    for step in steps {
        assert!(matches!(unwatches_itself_and_returns(step).results[..], [Ok(())]));
    }
}

#[test]
fn a_watch_ended_before_its_first_event_is_closed_and_never_called() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (mut sender, receiver) = pipe::new().unwrap();
    sender.write_all(b"x").unwrap();
    let mut cx = reactor.cx(&mut seen);
    let id = cx.watch(receiver, Interest::READABLE, Reader(1)).unwrap();
    assert!(cx.rouse(id));
    assert!(cx.unwatch(id));
    assert!(cx.state.results.is_empty(), "nobody is called back before the loop runs");
    idle(&mut reactor, &mut seen);
    assert!(seen.calls.is_empty());
    assert!(matches!(seen.results[..], [Ok(())]));
    assert_eq!(seen.returned.len(), 1);
}

#[test]
fn watches_begin_in_ready_and_in_closed_of_others() {
    struct Chain(usize);
    impl Watch<pipe::Receiver, Seen> for Chain {
        fn ready(
            &mut self,
            cx: &mut Cx<'_, Seen>,
            pipe: &mut pipe::Receiver,
            _: Readiness,
        ) -> io::Result<Step> {
            if let Err(error) = pipe.read_exact(&mut [0]) {
                return if error.kind() == ErrorKind::WouldBlock { Ok(Step::Wait) } else { Err(error) };
            }
            cx.state.calls.push(format!("ready {}", self.0));
            begin(cx, 100 * self.0);
            Ok(Step::Done)
        }
        fn closed(self: Box<Self>, cx: &mut Cx<'_, Seen>, _: pipe::Receiver, result: io::Result<()>) {
            cx.state.results.push(result);
            if self.0 < 3 {
                begin(cx, self.0 + 1);
            }
        }
    }
    /// Begins a watch that is ready at once; the hundreds do not go on.
    fn begin(cx: &mut Cx<'_, Seen>, n: usize) {
        let (mut sender, receiver) = pipe::new().unwrap();
        if n <= 3 {
            sender.write_all(b"x").unwrap();
        } else {
            drop(sender); // an error for its machine: the end where a byte was due
        }
        cx.watch(receiver, Interest::READABLE, Chain(n)).unwrap();
    }
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    begin(&mut reactor.cx(&mut seen), 1);
    until(&mut reactor, &mut seen, |cx| cx.state.results.len() == 6);
    idle(&mut reactor, &mut seen);
    assert_eq!(seen.calls, ["ready 1", "ready 2", "ready 3"]);
    let failed = seen.results.iter().filter_map(|result| result.as_ref().err());
    assert_eq!(failed.map(io::Error::kind).collect::<Vec<_>>(), [ErrorKind::UnexpectedEof; 3]);
    assert!(!reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap().alive, "{}", reactor.alive());
}

/// A source that cannot be registered.
struct Refused(#[expect(dead_code, reason = "it is there to be dropped")] Rc<()>);

impl Source for Refused {
    fn register(&mut self, _: &enjamb::mio::Registry, _: enjamb::mio::Token, _: Interest) -> io::Result<()> {
        Err(io::Error::other("no, thank you"))
    }
    fn reregister(
        &mut self,
        registry: &enjamb::mio::Registry,
        token: enjamb::mio::Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.register(registry, token, interest)
    }
    fn deregister(&mut self, _: &enjamb::mio::Registry) -> io::Result<()> {
        unreachable!("it is not registered")
    }
}

#[test]
fn a_source_that_refuses_to_be_registered_is_an_error_to_the_caller_and_nothing_is_kept() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let alive = Rc::new(());
    for _ in 0..100 {
        let kept = Rc::clone(&alive);
        let never = machine(move |_, _: &mut Refused, _| {
            let _ = &kept;
            unreachable!("it is not registered")
        });
        let mut cx = reactor.cx(&mut seen);
        let error = cx.watch(Refused(Rc::clone(&alive)), Interest::READABLE, never).unwrap_err();
        assert_eq!(error.to_string(), "no, thank you");
    }
    assert_eq!(Rc::strong_count(&alive), 1);
    assert!(!reactor.turn(&mut seen, Some(Duration::ZERO)).unwrap().alive, "{}", reactor.alive());
    assert!(seen.results.is_empty());
}

/// Somebody else's pipe by its number, and the end to write to.
fn lent() -> (pipe::Sender, pipe::Receiver, SourceFd<'static>) {
    let (sender, receiver) = pipe::new().unwrap();
    let number: &'static RawFd = Box::leak(Box::new(receiver.as_raw_fd()));
    (sender, receiver, SourceFd(number))
}

/// Watches the descriptor again, and sees that it is heard.
fn is_heard_again(
    reactor: &mut Reactor<Seen>,
    seen: &mut Seen,
    sender: &mut pipe::Sender,
    again: SourceFd<'static>,
) {
    let before = seen.calls.len();
    let noting = machine(|cx, _: &mut SourceFd<'static>, _| {
        cx.state.calls.push("heard".into());
        Ok(Step::Wait)
    });
    reactor
        .cx(seen)
        .watch(again, Interest::READABLE, noting)
        .expect("the kernel has forgotten the first watch");
    sender.write_all(b"x").unwrap();
    until(reactor, seen, |cx| cx.state.calls.len() > before);
}

#[test]
fn a_descriptor_given_up_in_closed_may_have_its_number_used_again_and_watched_at_once() {
    /// Gives up the descriptor as soon as it may, and watches a newcomer with the same number.
    struct Replaces(pipe::Receiver, pipe::Receiver);
    impl Watch<SourceFd<'static>, Seen> for Replaces {
        fn ready(
            &mut self,
            _: &mut Cx<'_, Seen>,
            _: &mut SourceFd<'static>,
            _: Readiness,
        ) -> io::Result<Step> {
            Ok(Step::Wait)
        }
        fn closed(self: Box<Self>, cx: &mut Cx<'_, Seen>, source: SourceFd<'static>, _: io::Result<()>) {
            let Replaces(old, new) = *self;
            let (mut number, new) = (OwnedFd::from(old), OwnedFd::from(new));
            nix::unistd::dup2(&new, &mut number).unwrap(); // closes the old one
            drop(new);
            assert_eq!(number.as_raw_fd(), *source.0);
            let newcomer = pipe::Receiver::from(number);
            cx.state.watch = Some(cx.watch(newcomer, Interest::READABLE, Reader(100)).unwrap());
        }
    }
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (_old_sender, old, source) = lent();
    let (mut sender, new) = pipe::new().unwrap();
    let id = reactor.cx(&mut seen).watch(source, Interest::READABLE, Replaces(old, new)).unwrap();
    idle(&mut reactor, &mut seen);
    assert!(reactor.cx(&mut seen).unwatch(id));
    idle(&mut reactor, &mut seen);
    assert!(seen.watch.is_some_and(|newcomer| newcomer != id) && !reactor.cx(&mut seen).unwatch(id));
    sender.write_all(b"for the newcomer").unwrap();
    until(&mut reactor, &mut seen, |cx| cx.state.bytes == b"for the newcomer");
}

#[test]
fn a_descriptor_whose_machine_panicked_in_ready_can_be_watched_again() {
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (mut sender, _theirs, source) = lent();
    let again = SourceFd(source.0);
    sender.write_all(b"x").unwrap();
    let panicking = machine(|_, _: &mut SourceFd<'static>, _| panic!("in ready"));
    let id = reactor.cx(&mut seen).watch(source, Interest::READABLE, panicking).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| reactor.turn(&mut seen, Some(HANGS)))).is_err());
    is_heard_again(&mut reactor, &mut seen, &mut sender, again);
    assert!(!reactor.cx(&mut seen).unwatch(id), "it is over");
}

#[test]
fn a_descriptor_whose_machine_panicked_when_it_was_dropped_can_be_watched_again() {
    /// Leaves `closed` to the default, which drops it.
    struct Bomb;
    impl Watch<SourceFd<'static>, Seen> for Bomb {
        fn ready(
            &mut self,
            _: &mut Cx<'_, Seen>,
            _: &mut SourceFd<'static>,
            _: Readiness,
        ) -> io::Result<Step> {
            Ok(Step::Done)
        }
    }
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in a Drop");
        }
    }
    let mut reactor = Reactor::new().unwrap();
    let mut seen = Seen::default();
    let (mut sender, _theirs, source) = lent();
    let again = SourceFd(source.0);
    sender.write_all(b"x").unwrap();
    reactor.cx(&mut seen).watch(source, Interest::READABLE, Bomb).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| reactor.turn(&mut seen, Some(HANGS)))).is_err());
    is_heard_again(&mut reactor, &mut seen, &mut sender, again);
}
