//! The versions and the machine, without which a figure means nothing.

use std::fs;
use std::process::Command;

const LOCK: &str = include_str!("../../Cargo.lock");
const CRATES: [&str; 8] = ["mio", "calloop", "message-io", "tokio", "smol", "async-io", "ureq", "reqwest"];

/// The machine and the versions, one sentence each.
pub fn all() -> String {
    let crates: Vec<_> = CRATES.iter().map(|name| format!("{name} {}", locked(name))).collect();
    let tools = [
        first_line("rustc", &["--version"]),
        first_line("cc", &["--version"]),
        first_line("pkg-config", &["--modversion", "libuv"]).map(|version| format!("libuv {version}")),
        first_line("pkg-config", &["--modversion", "libevent"]).map(|version| format!("libevent {version}")),
        first_line("python3", &["--version"]),
        first_line("python3", &["-c", "import uvloop; print('uvloop', uvloop.__version__)"]),
    ];
    let tools: Vec<_> = tools.into_iter().flatten().collect();
    format!("{}.\n{}; {}.", machine(), tools.join(", "), crates.join(", "))
}

fn machine() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    // The part after a hyphen names a build, not a kernel.
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    format!("Linux {kernel}, {}, {cores} × {}", std::env::consts::ARCH, model.unwrap_or("unknown"))
}

/// The newest version of a crate in the lock file. message-io brings older ones.
fn locked(name: &str) -> &'static str {
    let entry = format!("name = \"{name}\"\nversion = \"");
    LOCK.rsplit_once(&entry).and_then(|(_, rest)| rest.split('"').next()).unwrap_or("?")
}

fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_string)
}
