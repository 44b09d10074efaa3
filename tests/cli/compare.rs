//! The example `compare`. Times are compared only where one must be longer than the other.

use super::programs::{Ended, Program, path, run};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{env, fs};

const ALL: [&str; 5] = ["blocking", "connect-first", "threads", "select", "reactor"];

fn compare(args: &[&str]) -> Ended {
    run("compare", args)
}

/// The document that it prints with `--json`, and nothing else.
fn json(args: &[&str]) -> Value {
    let ended = compare(&[args, &["--json"]].concat());
    assert_eq!(ended.status, Some(0), "{ended:#?}");
    assert_eq!(ended.out.len(), 1, "{ended:#?}");
    serde_json::from_str(&ended.out[0]).unwrap_or_else(|error| panic!("{error} in {ended:#?}"))
}

fn strategies(document: &Value) -> &[Value] {
    document["strategies"].as_array().expect("a list of strategies")
}

fn strategy<'a>(document: &'a Value, name: &str) -> &'a Value {
    let found = strategies(document).iter().find(|strategy| strategy["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {document}"))
}

fn seconds(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no time"))
}

fn file_for(test: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test)
}

#[test]
fn every_strategy_reads_every_poem_byte_for_byte() {
    let document = json(&["--quick"]);
    assert_eq!(document["schema"], 1);
    assert_eq!(document["poems"], 3);
    assert_eq!(document["bytes_per_poem"], 16);
    assert_eq!(document["delay_s"], 0.1);
    let names: Vec<&Value> = strategies(&document).iter().map(|strategy| &strategy["name"]).collect();
    assert_eq!(names, ALL);
    for (strategy, threads) in strategies(&document).iter().zip([1, 1, 4, 1, 1]) {
        assert_eq!(strategy["verified"], 3, "{strategy}");
        assert_eq!(strategy["threads"], threads, "{strategy}");
        assert_eq!(strategy["skipped"], Value::Null, "{strategy}");
        assert_eq!(strategy["floor_s"], 0.4, "{strategy}");
        // A server never sends before its time.
        assert!(seconds(&strategy["wall_s"]) >= 0.4, "{strategy}");
        assert!(seconds(&strategy["cpu_s"]) > 0.0, "{strategy}");
        assert!(strategy["peak_rss_kib"].as_u64() > Some(0), "{strategy}");
    }
}

#[test]
fn blocking_takes_longer_and_connect_first_hears_the_last_poem_later() {
    let document = json(&["--delay", "200ms"]);
    let [blocking, connect_first, reactor] =
        ["blocking", "connect-first", "reactor"].map(|name| strategy(&document, name));
    assert!(seconds(&blocking["wall_s"]) > seconds(&reactor["wall_s"]), "{document}");
    let first_byte = |strategy: &Value| seconds(&strategy["last_first_byte_s"]);
    assert!(first_byte(connect_first) > first_byte(reactor), "{document}");
    // It reads the third poem when the first and the second have ended, the servers' schedule after their beginning.
    assert!(first_byte(connect_first) >= 0.8, "{document}");
    assert!(first_byte(blocking) >= 1.6, "{document}");
}

#[test]
fn the_picture_shows_the_poems_without_escape_codes_where_there_is_no_terminal() {
    let ended = compare(&["--lines", "2", "--delay", "300ms"]);
    assert_eq!(ended.status, Some(0), "{ended:#?}");
    let text = ended.out.join("\n");
    assert!(!text.contains('\x1b'), "{text}");
    assert!(ended.out[0].starts_with("3 poems of 2 lines, 8 bytes each; a line every 300 ms."), "{text}");
    assert!(ended.out.iter().any(|line| line.starts_with("  in all") && line.ends_with(" 4.2 s")), "{text}");
    for piece in ["1111", "2222", "aaaa", "bbbb", "AAAA", "BBBB"] {
        assert!(text.matches(piece).count() >= ALL.len(), "{piece} is missing in {text}");
    }
    assert!(text.contains("AAAABBBB┤ ◂ 8 bytes at once"), "{text}");
    assert_eq!(text.matches("3 of 3").count(), ALL.len(), "{text}");
}

#[test]
fn it_obeys_the_width_and_draws_in_ascii() {
    let mut command = Command::new(path("compare"));
    command.args(["--quick", "--ascii", "--only", "connect-first,reactor", "--num-bytes", "3"]);
    command.env("COLUMNS", "60").stdout(Stdio::piped());
    let ended = Program::spawn(command).end();
    assert_eq!(ended.status, Some(0), "{ended:#?}");
    for line in &ended.out {
        assert!(line.is_ascii() && line.len() <= 60, "{line:?} in {ended:#?}");
    }
}

#[test]
fn many_poems_share_ports_and_are_summed_up() {
    let args = ["--poems", "100", "--lines", "3", "--delay", "20ms", "--server", "reactor"];
    let only = ["--only", "threads,select,reactor"];
    let document = json(&[&args[..], &only[..]].concat());
    assert!(strategies(&document).iter().all(|strategy| strategy["verified"] == 100), "{document}");
    let ended = compare(&[&args[..], &["--only", "reactor"]].concat());
    for label in ["slowest", "median", "fastest", "bytes"] {
        assert!(ended.out.iter().any(|line| line.trim_start().starts_with(label)), "{ended:#?}");
    }
    assert!(ended.out.iter().any(|line| line.ends_with("100 of 100")), "{ended:#?}");
}

#[test]
fn poems_from_files_may_differ_in_length() {
    let (short, long) = (file_for("short.txt"), file_for("long.txt"));
    fs::write(&short, "nur eine Zeile\n").expect("a temporary file");
    fs::write(&long, "日出东海\n\nhöher\nund höher\n").expect("a temporary file");
    let names = [&short, &long].map(|path| path.to_str().expect("a path in UTF-8"));
    let document = json(&["--quick", "--num-bytes", "7", names[0], names[1]]);
    assert_eq!(document["poems"], 2);
    assert!(strategies(&document).iter().all(|strategy| strategy["verified"] == 2), "{document}");
    // The long one has 32 bytes with its newlines, so 5 pieces.
    assert!(strategies(&document).iter().all(|strategy| strategy["floor_s"] == 0.5), "{document}");
}

#[test]
fn the_files_stand_alone() {
    let (svg, html) = (file_for("picture.svg"), file_for("picture.html"));
    let names = [&svg, &html].map(|path| path.to_str().expect("a path in UTF-8"));
    let ended = compare(&["--delay", "150ms", "--svg", names[0], "--html", names[1]]);
    assert_eq!(ended.status, Some(0), "{ended:#?}");
    let [svg, html] = [&svg, &html].map(|path| fs::read_to_string(path).expect("the file it has written"));
    assert!(svg.starts_with("<svg xmlns=") && svg.trim_end().ends_with("</svg>"), "{svg}");
    for text in [&svg, &html] {
        // The name of the format is the only address.
        let addresses = text.matches("http").count();
        assert_eq!(addresses, text.matches("http://www.w3.org/2000/svg").count(), "{text}");
        assert!(!text.contains("href") && !text.contains("src=") && !text.contains("url("), "{text}");
        assert!(text.contains("prefers-color-scheme:dark"), "{text}");
        assert!(text.contains(">aaaabbbbccccdddd<"), "{text}");
        assert!(text.contains("<title>poem 2, bytes 0 to 3: read at "), "{text}");
    }
    assert_eq!(html.matches("<td>3 of 3</td>").count(), ALL.len(), "{html}");
}

#[test]
fn what_would_take_over_a_minute_is_skipped_unless_named() {
    let args = ["--poems", "61", "--lines", "1", "--delay", "1s"];
    let mut program = Program::start("compare", &args);
    let line = program.out.wait_for("blocking");
    assert!(line.ends_with("skipped  would take 1 min 01 s; --only blocking runs it"), "{line}");
    let mut program = Program::start("compare", &[&args[..], &["--only", "blocking"]].concat());
    let line = program.out.wait_for("blocking");
    assert!(line.contains("1 min 01 s  one poem after another"), "{line}");
}

#[test]
fn select_says_that_it_cannot_watch_so_many() {
    let document = json(&["--poems", "1100", "--lines", "1", "--delay", "1ms", "--only", "select"]);
    let select = strategy(&document, "select");
    assert_eq!(select["skipped"], "select cannot watch descriptors past 1,023");
    assert_eq!(select["wall_s"], Value::Null);
}

#[test]
fn too_few_descriptors_are_noticed_before_anything_starts() {
    let shell = format!("ulimit -n 64; exec {} --poems 100 --quick", path("compare").display());
    let mut command = Command::new("sh");
    command.args(["-c", &shell]).stdout(Stdio::piped());
    let ended = Program::spawn(command).end();
    assert_eq!(ended.status, Some(1), "{ended:#?}");
    assert!(ended.out.is_empty(), "{ended:#?}");
    ended.message(
        "100 poems need 216 open files in one process, and the limit is 64: try --poems 24, or raise",
    );
}

#[test]
fn wrong_usage_names_what_is_right() {
    for (args, parts) in [
        (["--poems", "0"], ["--poems", "from 1 to 50000"]),
        (["--lines", "many"], ["--lines", "from 1 to 10000"]),
        (["--runs", "-1"], ["--runs", "from 1 to 100"]),
        (["--num-bytes", "0"], ["--num-bytes", "from 1 to 65536"]),
        (["--delay", "0ms"], ["--delay", "from 1ms to 24h"]),
        (["--only", "reactr"], ["--only", "'reactor'"]),
        (["--only", "threads,selekt"], ["--only", "'select'"]),
        (["--server", "reactors"], ["--server", "'reactor'"]),
        (["--pomes", "3"], ["--pomes", "'--poems'"]),
        (["--quick", "--delay=1s"], ["--quick", "--delay"]),
        (["--lines=10000", "--poems=20000"], ["200,000,000", "10,000,000"]),
    ] {
        let ended = compare(&args);
        assert_eq!(ended.status, Some(2), "{ended:#?}");
        assert!(ended.out.is_empty(), "{ended:#?}");
        parts.iter().for_each(|part| assert!(ended.message(part).contains(part)));
    }
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let bad = file_for("bad.txt");
    fs::write(&bad, b"\xff\xfe").expect("a temporary file");
    let bad = bad.to_str().expect("a path in UTF-8");
    for (args, part) in [
        (["--quick", "no-such-poem.txt"], "no-such-poem.txt"),
        (["--quick", bad], "is not UTF-8"),
        (["--quick", "--svg=/no/such/folder.svg"], "/no/such/folder.svg"),
    ] {
        let ended = compare(&args);
        assert_eq!(ended.status, Some(1), "{ended:#?}");
        ended.message(part);
    }
}

#[test]
fn a_closed_standard_output_ends_it_quietly() {
    let mut command = Command::new(path("compare"));
    command.args(["--delay", "10s", "--only", "reactor"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the example");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
    let mut complaints = String::new();
    child.stderr.take().expect("its messages").read_to_string(&mut complaints).expect("text");
    assert_eq!(complaints, "");
    assert_eq!(child.wait().expect("its status").code(), Some(0));
}

#[cfg(target_os = "linux")]
mod processes {
    use super::*;
    use crate::cli::programs::PATIENCE;
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    use std::process::Child;
    use std::thread;
    use std::time::{Duration, Instant};

    /// The children of a process, each with its command line.
    fn children(parent: u32) -> Vec<(u32, String)> {
        let folders = fs::read_dir("/proc").expect("/proc").flatten();
        let pids = folders.filter_map(|folder| folder.file_name().to_str()?.parse::<u32>().ok());
        let child = |pid: u32| {
            // A process may end while it is looked at.
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let (_, after_name) = stat.rsplit_once(") ")?;
            let of = after_name.split(' ').nth(1)?;
            let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?.replace('\0', " ");
            (of == parent.to_string()).then_some((pid, command))
        };
        pids.filter_map(child).collect()
    }

    fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            match found() {
                Some(found) => return found,
                None => assert!(start.elapsed() < PATIENCE, "{what} took too long"),
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn start(args: &[&str]) -> Child {
        let mut command = Command::new(path("compare"));
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the example")
    }

    fn send(pid: u32, signal: Signal) {
        let pid = i32::try_from(pid).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it is still there");
    }

    /// The process that serves, and the one that reads.
    fn both(parent: u32) -> [u32; 2] {
        wait_for("starting both", || {
            let children = children(parent);
            let with = |role: &str| {
                let found = children.iter().find(|(_, command)| command.contains(role));
                found.map(|&(pid, _)| pid)
            };
            Some([with(" --serve ")?, with(" --client ")?])
        })
    }

    fn is_gone(pid: u32) -> bool {
        // A zombie has ended, too; its status is its new parent's business.
        let status = fs::read_to_string(format!("/proc/{pid}/stat"));
        status.map_or(true, |status| status.contains(") Z "))
    }

    #[test]
    fn ctrl_c_ends_the_children_too() {
        for (signal, status) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
            let program = start(&["--delay", "10s", "--only", "blocking"]);
            let children = both(program.id());
            send(program.id(), signal);
            let ended = program.wait_with_output().expect("its output");
            assert_eq!(ended.status.code(), Some(status), "{ended:?}");
            assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
            assert!(children.into_iter().all(is_gone));
        }
    }

    #[test]
    fn children_end_even_if_their_parent_cannot_end_them() {
        let mut program = start(&["--delay", "10s", "--only", "blocking"]);
        let children = both(program.id());
        program.kill().expect("it is still there");
        program.wait().expect("its status");
        wait_for("ending the children", || children.into_iter().all(is_gone).then_some(()));
    }

    #[test]
    fn a_strategy_that_fails_has_its_row_and_the_others_still_run() {
        for (victim, why) in
            [(0, "the servers ended early"), (1, "its process ended early (signal: 9 (SIGKILL))")]
        {
            let program = start(&["--delay", "300ms", "--only", "blocking,reactor"]);
            send(both(program.id())[victim], Signal::SIGKILL);
            let ended = program.wait_with_output().expect("its output");
            assert_eq!(ended.status.code(), Some(1), "{ended:?}");
            let [out, err] = [&ended.stdout, &ended.stderr].map(|text| String::from_utf8_lossy(text));
            let row = |name: &str| out.lines().rfind(|line| line.starts_with(name)).unwrap_or_default();
            assert!(row("blocking").contains(&format!("failed: {why}")), "{out}");
            assert!(row("reactor").ends_with("3 of 3"), "{out}");
            assert!(err.contains(why), "{err}");
        }
    }
}
