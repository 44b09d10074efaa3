//! The sentences before and after the picture.

use super::format::{about, commas, counted, cpu, hanging, mib, seconds, wrap};
use super::options::ServerKind;
use super::plan::Plan;
use super::run::{Figures, Outcome, Run};
use super::strategies::Strategy;
use super::timeline::{Micros, micros};

/// Wall times whose ratio is less are a tie.
const TIE: f64 = 1.1;

/// From this number on, a thread for each poem has costs that show.
const MANY_POEMS: usize = 500;

/// The options that show these costs.
const MANY: &str = "--poems 5000 --lines 20 --delay 50ms --only threads,reactor";

/// What will run, and how long it will take.
pub fn announcement(plan: &Plan, width: usize) -> Vec<String> {
    let served = match plan.server {
        ServerKind::Threads => "in threads",
        ServerKind::Reactor => "in one reactor",
    };
    let text = format!(
        "{}; {}. Each strategy has a process of its own, and so have the servers ({served}).",
        what(plan),
        pace(plan),
    );
    let mut lines = wrap(&text, width);
    lines.push(String::new());
    let mut row = |name: &str, time: &str, note: &str| {
        lines.extend(hanging(&format!("  {name:<13}  {time:>12}  "), note, width));
    };
    for choice in &plan.choices {
        let name = choice.strategy.name();
        match &choice.skipped {
            Some(why) => row(name, "skipped", why),
            None => row(name, &about(choice.expected), choice.strategy.in_words()),
        }
    }
    let times = if plan.runs > 1 { format!("{} times each", plan.runs) } else { String::new() };
    row("in all", &about(plan.in_all()), &times);
    lines.push(String::new());
    lines
}

/// `3 slow poems, read in 5 ways`
pub fn title(plan: &Plan, runs: &[Run]) -> String {
    format!("{}, read in {}", counted(plan.poems.len(), "slow poem"), counted(runs.len(), "way"))
}

/// `3 poems of 4 lines, 16 bytes each`
pub fn what(plan: &Plan) -> String {
    let poems = counted(plan.poems.len(), "poem");
    let pieces = counted(plan.most_pieces, plan.piece());
    let bytes = counted(plan.poems.longest_in_bytes(), "byte");
    if plan.poems.all_alike() {
        format!("{poems} of {pieces}, {bytes} each")
    } else {
        format!("{poems} of up to {pieces} and {bytes}")
    }
}

/// `a line every 1 s`
pub fn pace(plan: &Plan) -> String {
    format!("a {} every {}", plan.piece(), about(micros(plan.delay)))
}

/// What the columns of the table mean, and how the figures came about.
pub fn footnotes(plan: &Plan, runs: &[Run]) -> Vec<String> {
    let mut notes = vec![format!(
        "floor: {} × {}, what the servers take, all at once. over: wall − floor. {}",
        counted(plan.most_pieces, plan.piece()),
        about(micros(plan.delay)),
        lateness(plan, runs),
    )];
    let connected = |run: &Run| Some(format!("{} {}", run.strategy.name(), seconds(run.last_connected()?)));
    if plan.poems.len() >= MANY_POEMS {
        let connected: Vec<String> = runs.iter().filter_map(connected).collect();
        notes.push(format!(
            "over includes connecting; the last connection stood after: {}.",
            connected.join(", ")
        ));
    }
    let walls = |run: &Run| {
        let (least, most) = run.walls?;
        Some(format!("{} {} to {}", run.strategy.name(), seconds(least), seconds(most)))
    };
    let walls: Vec<String> = runs.iter().filter_map(walls).collect();
    if !walls.is_empty() {
        notes.push(format!("The median of {} runs is shown; wall: {}.", plan.runs, walls.join(", ")));
    }
    if cfg!(debug_assertions) {
        notes.push("This is a debug build: with --release the loops need less CPU.".to_string());
    }
    notes
}

fn lateness(plan: &Plan, runs: &[Run]) -> String {
    let most = runs.iter().map(|run| run.servers_late).max().unwrap_or(0);
    if most < plan.floor() / 20 {
        return format!("The servers were at most {} late.", cpu(most));
    }
    let ran = runs.iter().filter(|run| run.figures().is_some());
    let each: Vec<String> =
        ran.map(|run| format!("{} late for {}", cpu(run.servers_late), run.strategy.name())).collect();
    format!("The servers had more to do than this machine can: they were up to {}.", each.join(", "))
}

/// What went wrong in a run.
pub fn complaint(run: &Run) -> String {
    let name = run.strategy.name();
    if let Outcome::Failed(why) = &run.outcome {
        return format!("{name} failed: {why}");
    }
    let verified = run.figures().map_or(0, |figures| figures.verified);
    let because = match run.first_failure() {
        Some((poem, why)) => format!("poem {} failed: {why}", poem + 1),
        None => "the others are not what the servers sent".to_string(),
    };
    format!("{name}: {verified} of {} arrived as they should; {because}", counted(run.tracks.len(), "poem"))
}

/// What the runs show: a sentence for each comparison whose strategies ran.
pub fn lessons(plan: &Plan, runs: &[Run]) -> Vec<String> {
    let lessons = [blocking(plan, runs), connect_first(plan, runs), threads(plan, runs)];
    lessons.into_iter().flatten().collect()
}

fn find(runs: &[Run], strategy: Strategy) -> Option<(&Run, &Figures)> {
    let run = runs.iter().find(|run| run.strategy == strategy && run.went_well())?;
    Some((run, run.figures()?))
}

fn blocking(plan: &Plan, runs: &[Run]) -> Option<String> {
    let (_, figures) = find(runs, Strategy::Blocking)?;
    (plan.poems.len() > 1).then(|| {
        format!(
            "blocking takes {} for what can be had in {}: while it listens to one server it cannot hear the others.",
            seconds(figures.wall),
            seconds(plan.floor()),
        )
    })
}

fn connect_first(plan: &Plan, runs: &[Run]) -> Option<String> {
    let (run, figures) = find(runs, Strategy::ConnectFirst)?;
    let began = run.last_first_byte()?;
    // With one poem there is nothing to see.
    (began > plan.floor() / 2).then(|| {
        let like = if ratio(figures.wall, plan.floor()) < TIE { "like a loop, but" } else { "and" };
        format!(
            "connect-first is done after {}, {like} until then it was deaf: it read the first byte of its last poem \
             after {}. Everything sent before sat in the kernel, and could not have been answered.",
            seconds(figures.wall),
            seconds(began),
        )
    })
}

fn threads(plan: &Plan, runs: &[Run]) -> Option<String> {
    let ((_, threads), (_, reactor)) = (find(runs, Strategy::Threads)?, find(runs, Strategy::Reactor)?);
    let cost = |figures: &Figures| format!("{} of CPU and {} MiB", cpu(figures.cpu), mib(figures.peak_kib));
    let costs = format!("{} against {} for the reactor", cost(threads), cost(reactor));
    let walls = format!("{} against {}", seconds(threads.wall), seconds(reactor.wall));
    let stacks = "not counting the stack that the kernel keeps for each thread";
    Some(if ratio(threads.wall, reactor.wall) >= TIE {
        let number = commas(threads.threads as u64);
        format!("{number} threads do not tie with one: they take {walls}, and {costs}, {stacks}.")
    } else if ratio(reactor.wall, threads.wall) >= TIE {
        format!("threads are quicker than the reactor here: they take {walls}, and {costs}, {stacks}.")
    } else if plan.poems.len() >= MANY_POEMS {
        format!("threads tie with the reactor in wall time, but not in cost: {costs}, {stacks}.")
    } else {
        format!(
            "threads tie with the reactor: {costs}. Where they stop tying is in CPU time and memory, with thousands \
             of poems: try {MANY}"
        )
    })
}

fn ratio(one: Micros, other: Micros) -> f64 {
    one as f64 / other.max(1) as f64
}
