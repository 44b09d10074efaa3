use super::*;
use std::collections::{HashSet, VecDeque};

/// A state with what the stream holds: all that the loop decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Model {
    state: u32,
    held: Held,
}

impl Model {
    fn new(state: State) -> Self {
        Model { state: state.0, held: Held { input: false, output: false, low: true } }
    }

    fn state(self) -> State {
        State(self.state)
    }

    fn with(self, change: impl FnOnce(&mut State)) -> Self {
        let mut state = self.state();
        change(&mut state);
        Model { state: state.0, ..self }
    }

    fn holding(self, input: bool, output: bool, low: bool) -> Self {
        Model { held: Held { input, output, low }, ..self }
    }

    fn has_work(self) -> bool {
        self.state().has_work(self.held)
    }
}

/// Everything that can happen to a connection next: what the kernel says, what the user does, and each step that the loop
/// takes when it drives one.
fn next(now: Model) -> Vec<Model> {
    let (state, Held { input, output, low }) = (now.state(), now.held);
    let mut all = Vec::new();
    for bits in [READABLE, WRITABLE, READABLE | READ_CLOSED, READABLE | WRITABLE | READ_CLOSED | HUNG_UP] {
        all.push(now.with(|state| state.0 |= bits));
    }
    all.push(now.with(|state| _ = state.doom()));
    if state.is_doomed() {
        return all;
    }
    all.push(now.with(|state| _ = state.close()));
    if state.may_connect() {
        all.push(now.with(State::not_connected));
        all.push(now.with(State::connected));
        all.push(now.with(State::shook_hands));
    }
    if state.may_open() {
        all.push(now.with(|state| assert!(state.open())));
    }
    if state.may_read() {
        all.push(now.with(State::not_readable));
        all.push(now.with(State::peer_ended));
        all.push(now.holding(true, output, low));
        all.push(now.holding(false, output, low));
    }
    if state.may_discard() {
        all.push(now.with(State::not_readable));
        all.push(now.with(State::peer_ended));
    }
    if state.may_have_reset() {
        all.push(now.with(State::not_reset));
    }
    if state.may_offer() {
        all.push(now.with(State::offered).holding(false, output, low));
        all.push(now.with(State::offered));
    }
    if state.has_drained(now.held) {
        all.push(now.with(|state| {
            state.drain();
            if input {
                state.offer();
            }
        }));
    }
    if output && state.may_send() {
        all.push(now.with(State::wrote).holding(input, false, true));
        all.push(now.with(|state| (state.wrote(), state.not_writable()).0).holding(input, true, low));
        all.push(now.with(|state| (state.wrote(), state.not_writable()).0).holding(input, true, true));
        all.push(now.with(State::break_off));
    }
    if !output && state.may_finish() {
        all.push(now.with(State::shut));
        all.push(now.with(State::not_writable));
        all.push(now.with(State::break_off));
    }
    if !output && state.is_broken() && state.peer_has_ended() {
        all.push(now.with(State::shut));
    }
    if state.is_ending() {
        all.push(now.with(State::finish)); // closing goes on to this when all is sent
        return all;
    }
    // What the machine may do, or another on its behalf.
    if state.takes_output() {
        all.push(now.holding(input, true, low));
        all.push(now.holding(input, true, false).with(State::fill));
    }
    all.push(now.with(|state| _ = state.pause()));
    all.push(now.with(|state| _ = state.resume()));
    all.push(now.with(State::finish));
    all.push(now.with(State::switch));
    all.push(now.with(State::read_while_full));
    all.push(now.with(State::hold_while_full));
    if state.phase() == Phase::Open && !state.peer_has_ended() && state.takes_output() && !input {
        all.push(now.with(State::upgrade));
    }
    if state.phase() == Phase::Open {
        all.push(now.with(State::renew));
        all.push(now.with(State::reopen));
    }
    all
}

fn check(now: Model) {
    let (state, held) = (now.state(), now.held);
    let phase = state.phase();
    assert!((state.0 & PHASE).count_ones() <= 1 && (state.0 & WRITE_HALF).count_ones() <= 1, "{now:?}");
    // 1
    assert!(phase != Phase::Doomed || !now.has_work(), "{now:?} is doomed, and has work");
    // 2
    let used = state.may_read() || state.may_send() || state.may_cork() || state.only_reads();
    assert!(!state.is_connecting() || !used, "{now:?} is used before it stands");
    // 3
    let ways = [state.may_read(), state.may_offer(), state.may_discard()];
    assert!(ways.iter().filter(|way| **way).count() <= 1, "{now:?} has two ways for its input");
    // 4
    let before_closing = !matches!(phase, Phase::Closing | Phase::Doomed);
    assert!(
        !state.takes_output() || before_closing && state.write_half() == WriteHalf::Open,
        "{now:?} takes output"
    );
    // 5
    let ended = matches!(state.write_half(), WriteHalf::Shut | WriteHalf::Broken);
    assert!(!ended || !state.may_send() && !state.may_finish(), "{now:?} sends behind its end");
    assert!(state.write_half() != WriteHalf::Shut || !held.output, "{now:?} was shut with output left");
    // 6
    if phase != Phase::Doomed && !now.has_work() {
        let waits_to_read = !state.is_readable() || state.peer_has_ended();
        let waits_for_user = state.is_paused();
        let waits_for_output = state.is_held() && !held.low;
        let waits_to_connect = state.is_connecting() && !state.is_readable() && !state.is_writable();
        assert!(
            waits_to_read || waits_for_user || waits_for_output || waits_to_connect,
            "{now:?} could read, and nothing drives it"
        );
        let has_to_send = held.output || state.write_half() == WriteHalf::Finishing;
        let can_send = state.is_writable() && !state.is_connecting() && !state.is_broken();
        assert!(!has_to_send || !can_send, "{now:?} could send, and nothing drives it");
    }
    // The fast path is a special case of the slow one.
    assert!(!state.only_reads() || state.may_read() && state.may_cork(), "{now:?}");
}

#[test]
fn every_state_that_can_be_reached_keeps_the_invariants() {
    let mut seen = HashSet::new();
    let mut queue: VecDeque<_> = [State::CONNECTING, State::ACCEPTED, State::ADOPTED].map(Model::new).into();
    while let Some(now) = queue.pop_front() {
        if seen.insert(now) {
            check(now);
            queue.extend(next(now));
        }
    }
    assert!(seen.len() > 10_000, "only {} states were reached", seen.len());
}

#[test]
fn every_phase_and_write_half_can_be_reached() {
    let mut seen = HashSet::new();
    let mut queue: VecDeque<_> = [State::CONNECTING, State::ACCEPTED].map(Model::new).into();
    let (mut phases, mut halves) = (Vec::new(), Vec::new());
    while let Some(now) = queue.pop_front() {
        if seen.insert(now) {
            let (phase, half) = (now.state().phase(), now.state().write_half());
            phases.extend((!phases.contains(&phase)).then_some(phase));
            halves.extend((!halves.contains(&half)).then_some(half));
            queue.extend(next(now));
        }
    }
    assert_eq!((phases.len(), halves.len()), (6, 4), "{phases:?}, {halves:?}");
}
