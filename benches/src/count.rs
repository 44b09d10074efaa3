//! Exact counts, which are the same on a noisy machine. Each is the difference of two run lengths, so the start and the
//! end do not count.

use std::collections::BTreeMap;
use std::io;
use std::process::{Command, Stdio};

use crate::server::Server;
use crate::work::Work;

/// A counting tool, and its command line in front of a server's.
#[derive(Clone, Copy)]
pub enum Tool {
    Strace,
    Callgrind,
    Dhat,
}

impl Tool {
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Tool::Strace => &["strace", "-f", "-c"],
            Tool::Callgrind => &["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"],
            Tool::Dhat => &["valgrind", "--tool=dhat", "--dhat-out-file=/dev/null"],
        }
    }

    /// Tests whether the tool works here. It may be missing, and strace may be forbidden.
    pub fn check(self) -> Result<(), String> {
        let (program, arguments) = self.words().split_first().ok_or("no tool")?;
        let tried = Command::new(program)
            .args(arguments)
            .arg("true")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        match tried {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{program} does not work here ({status})")),
            Err(error) => Err(format!("{program}: {error}")),
        }
    }
}

/// System calls per operation, by name.
#[derive(Debug, Default)]
pub struct Calls(pub BTreeMap<String, f64>);

impl Calls {
    pub fn total(&self) -> f64 {
        self.0.values().sum()
    }

    /// The number of calls with other names than these.
    pub fn besides(&self, names: &[&str]) -> f64 {
        self.0.iter().filter(|(name, _)| !names.contains(&name.as_str())).map(|(_, each)| each).sum()
    }

    /// The calls as text, such as `epoll_wait 1.00, recvfrom 1.00, sendto 1.00`. Calls too rare to be part of the
    /// operation are left out.
    pub fn by_kind(&self) -> String {
        let mut kinds: Vec<_> = self.0.iter().filter(|(_, each)| **each >= 0.005).collect();
        kinds.sort_by(|a, b| b.1.total_cmp(a.1));
        let kinds: Vec<_> = kinds.iter().map(|(name, each)| format!("{name} {each:.2}")).collect();
        kinds.join(", ")
    }
}

pub fn calls(command: &[String], work: Work) -> io::Result<Calls> {
    let [few, many] = two_lengths(Tool::Strace, command, work)?;
    let (few, many) = (strace_counts(&few), strace_counts(&many));
    let each = |(name, calls): (&String, &u64)| {
        let before = few.get(name).copied().unwrap_or(0);
        (name.clone(), per_operation(work, calls.saturating_sub(before)))
    };
    Ok(Calls(many.iter().map(each).collect()))
}

/// User-space instructions per operation.
pub fn instructions(command: &[String], work: Work) -> io::Result<f64> {
    difference(Tool::Callgrind, command, work, collected)
}

/// The count in callgrind's final report.
pub fn collected(report: &str) -> Option<u64> {
    number_after(report, "Collected :")
}

/// Heap allocations per operation.
pub fn allocations(command: &[String], work: Work) -> io::Result<f64> {
    difference(Tool::Dhat, command, work, blocks)
}

/// The number of allocations in dhat's final report: `==1== Total:     6,832 bytes in 12 blocks`.
pub fn blocks(report: &str) -> Option<u64> {
    number_after(report.lines().find(|line| line.contains(" Total:"))?, " in ")
}

fn difference(
    tool: Tool,
    command: &[String],
    work: Work,
    number_in: impl Fn(&str) -> Option<u64>,
) -> io::Result<f64> {
    let reports = two_lengths(tool, command, work)?;
    match reports.each_ref().map(|report| number_in(report)) {
        [Some(few), Some(many)] => Ok(per_operation(work, many.saturating_sub(few))),
        _ => Err(io::Error::other(format!("no count in what the tool said: {}", reports[0].trim()))),
    }
}

/// The tool's reports of a short run and of a long one.
fn two_lengths(tool: Tool, command: &[String], work: Work) -> io::Result<[String; 2]> {
    let (few, many) = work.lengths();
    let report = |units| {
        let server = Server::start(tool.words(), command)?;
        work.run(&server, units)?;
        server.end()
    };
    Ok([report(few)?, report(many)?])
}

fn per_operation(work: Work, counted: u64) -> f64 {
    let (few, many) = work.lengths();
    counted as f64 / ((many - few) * work.operations()) as f64
}

/// The number after `what`. It may contain commas.
fn number_after(report: &str, what: &str) -> Option<u64> {
    let (_, rest) = report.rsplit_once(what)?;
    let digits = rest.trim_start().split(|c: char| !c.is_ascii_digit() && c != ',').next()?;
    digits.replace(',', "").parse().ok()
}

/// Parses the lines of `strace -c`: share, seconds, microseconds per call, calls, errors (if any), name.
pub fn strace_counts(report: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let name = fields.last().filter(|name| fields.len() >= 5 && **name != "total")?;
        fields[0].parse::<f64>().ok()?;
        Some((name.to_string(), fields[3].parse().ok()?))
    };
    report.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_strace_reports() {
        let report = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60,00    0.000100           1       100           ignored_for_its_comma
 66.67    0.000200           2       100         7 accept4
 33.33    0.000100           1      2100           sendto
------ ----------- ----------- --------- --------- ----------------
100.00    0.000300           1      2200         7 total
";
        let counts = strace_counts(report);
        assert_eq!(counts.get("accept4"), Some(&100));
        assert_eq!(counts.get("sendto"), Some(&2100));
        assert_eq!(counts.len(), 2);
    }

    #[test]
    fn reads_numbers_with_commas() {
        assert_eq!(number_after("==1== Total:     6,832 bytes in 1,012 blocks", " in "), Some(1012));
        assert_eq!(number_after("==1== Collected : 155234\n", "Collected :"), Some(155_234));
        assert_eq!(number_after("nothing", "Collected :"), None);
    }
}
