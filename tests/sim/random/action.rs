//! What a machine does next: drawn from a seed, or given as a list, which proptest can shrink.

use enjamb::sim::Sim;

/// What is done, to whom, and how much of it. Who and how much are taken modulo what there is.
#[derive(Debug, Clone, Copy)]
pub struct Action {
    pub verb: Verb,
    pub whom: u16,
    pub much: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Nothing,
    Write,
    WriteALot,
    Finish,
    Close,
    Abort,
    Fail,
    Pause,
    Resume,
    WriteToAnother,
    FinishAnother,
    CloseAnother,
    AbortAnother,
    PauseAnother,
    ResumeAnother,
    Connect,
    Listen,
    CloseAListener,
    SetATimer,
    SetAPeriodicTimer,
    CancelATimer,
    Post,
    Switch,
    Limits,
    TakeTime,
    Partition,
    Crash,
    Stop,
    Shutdown,
    Panic,
}

impl Verb {
    /// With their weights: what ends a run early is rare.
    pub const ALL: [(u32, Verb); 30] = [
        (8, Verb::Nothing),
        (40, Verb::Write),
        (8, Verb::WriteALot),
        (6, Verb::Finish),
        (4, Verb::Close),
        (1, Verb::Abort),
        (1, Verb::Fail),
        (6, Verb::Pause),
        (6, Verb::Resume),
        (12, Verb::WriteToAnother),
        (1, Verb::FinishAnother),
        (1, Verb::CloseAnother),
        (1, Verb::AbortAnother),
        (3, Verb::PauseAnother),
        (6, Verb::ResumeAnother),
        (6, Verb::Connect),
        (2, Verb::Listen),
        (1, Verb::CloseAListener),
        (8, Verb::SetATimer),
        (1, Verb::SetAPeriodicTimer),
        (6, Verb::CancelATimer),
        (6, Verb::Post),
        (4, Verb::Switch),
        (4, Verb::Limits),
        (2, Verb::TakeTime),
        (1, Verb::Partition),
        (1, Verb::Crash),
        (2, Verb::Stop),
        (0, Verb::Shutdown),
        (1, Verb::Panic),
    ];
}

/// Where the actions come from.
pub enum Source {
    Seed(Sim),
    List(std::vec::IntoIter<Action>),
}

impl Source {
    pub fn next(&mut self) -> Action {
        match self {
            Source::Seed(sim) => {
                let total: u32 = Verb::ALL.iter().map(|(weight, _)| weight).sum();
                let mut drawn = sim.random(0..=u64::from(total) * 500 - 1) as u32;
                // Once in so often, everything is shut down.
                let verb = if drawn == 0 {
                    Verb::Shutdown
                } else {
                    drawn /= 500;
                    let heavier = |(weight, _): &&(u32, Verb)| match drawn.checked_sub(*weight) {
                        Some(rest) => {
                            drawn = rest;
                            false
                        }
                        None => true,
                    };
                    Verb::ALL.iter().find(heavier).map_or(Verb::Nothing, |(_, verb)| *verb)
                };
                let (whom, much) = (sim.random(0..=u64::from(u16::MAX)), sim.random(0..=u64::from(u32::MAX)));
                Action { verb, whom: whom as u16, much: much as u32 }
            }
            Source::List(actions) => actions.next().unwrap_or(Action { verb: Verb::Close, whom: 0, much: 0 }),
        }
    }
}
