//! The peers, and the commands that build them.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Peer {
    /// Raw epoll in C, level-triggered: the minimum
    C,
    Enjamb,
    /// mio by hand, edge-triggered
    Mio,
    Libuv,
    Libevent,
    Calloop,
    MessageIo,
    /// tokio, current_thread, a buffer for each task
    Tokio,
    /// tokio, with one buffer for all tasks
    TokioShared,
    Smol,
    Asyncio,
    Uvloop,
}

/// The way to build a server.
enum Made {
    Rust { bin: &'static str },
    C { source: &'static str, library: Option<&'static str> },
    Python { module: &'static str },
}

/// A peer with a server that is ready to run.
pub struct Built {
    pub peer: Peer,
    pub command: Vec<String>,
}

impl Built {
    pub fn title(&self) -> &'static str {
        self.peer.title()
    }

    pub fn name(&self) -> String {
        self.peer.name()
    }
}

/// Builds these peers, and reports those that cannot be built.
pub fn build(peers: &[Peer]) -> Vec<Built> {
    let built = |peer: &Peer| {
        eprintln!("building {}", peer.name());
        match peer.build() {
            Ok(command) => Some(Built { peer: *peer, command }),
            Err(why) => {
                println!("Not measured: {} ({why})\n", peer.title());
                None
            }
        }
    };
    peers.iter().filter_map(built).collect()
}

const HERE: &str = env!("CARGO_MANIFEST_DIR");

impl Peer {
    pub fn title(self) -> &'static str {
        match self {
            Peer::C => "C, epoll",
            Peer::Enjamb => "**enjamb**",
            Peer::Mio => "mio by hand",
            Peer::Libuv => "libuv",
            Peer::Libevent => "libevent",
            Peer::Calloop => "calloop",
            Peer::MessageIo => "message-io",
            Peer::Tokio => "tokio",
            Peer::TokioShared => "tokio, one buffer",
            Peer::Smol => "smol",
            Peer::Asyncio => "asyncio",
            Peer::Uvloop => "uvloop",
        }
    }

    fn made(self) -> Made {
        match self {
            Peer::C => Made::C { source: "epoll", library: None },
            Peer::Libuv => Made::C { source: "libuv", library: Some("libuv") },
            Peer::Libevent => Made::C { source: "libevent", library: Some("libevent") },
            Peer::Enjamb => Made::Rust { bin: "server-enjamb" },
            Peer::Mio => Made::Rust { bin: "server-mio" },
            Peer::Calloop => Made::Rust { bin: "server-calloop" },
            Peer::MessageIo => Made::Rust { bin: "server-message-io" },
            Peer::Tokio | Peer::TokioShared => Made::Rust { bin: "server-tokio" },
            Peer::Smol => Made::Rust { bin: "server-smol" },
            Peer::Asyncio => Made::Python { module: "asyncio" },
            Peer::Uvloop => Made::Python { module: "uvloop" },
        }
    }

    /// The name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_string())
    }

    /// Builds the server, and returns the command that runs it as an echo server.
    ///
    /// # Errors The reason why this peer cannot be measured here.
    pub fn build(self) -> Result<Vec<String>, String> {
        let mut command = match self.made() {
            Made::Rust { bin } => vec![build_rust(bin, self.feature())?],
            Made::C { source, library } => vec![build_c(source, library)?],
            Made::Python { module } => find_python("echo.py", module)?,
        };
        command.push("echo".to_string());
        if self == Peer::TokioShared {
            command.push("shared".to_string());
        }
        Ok(command)
    }

    /// Builds the server of a Rust peer in another folder, with another profile. Returns its path.
    pub fn build_in(self, target: &Path, profile: &[(&str, &str)]) -> Result<String, String> {
        match self.made() {
            Made::Rust { bin } => build_rust_in(target, profile, bin, self.feature()),
            _ => Err(format!("{} is not written in Rust", self.title())),
        }
    }

    /// The feature that enables its library.
    fn feature(self) -> Option<&'static str> {
        (self != Peer::Enjamb).then_some("peers")
    }
}

pub fn target_dir() -> io::Result<PathBuf> {
    let this = env::current_exe()?;
    let target = this.parent().and_then(Path::parent); // remove debug/ or release/
    target.map(Path::to_path_buf).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Builds a program of this package, with a feature if it needs one, and returns its path.
pub fn build_rust(bin: &str, feature: Option<&str>) -> Result<String, String> {
    let target = target_dir().map_err(|error| format!("finding the target folder: {error}"))?;
    build_rust_in(&target, &[], bin, feature)
}

/// The cargo that runs this program, if there is one.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(HERE);
    cargo
}

fn build_rust_in(
    target: &Path,
    profile: &[(&str, &str)],
    bin: &str,
    feature: Option<&str>,
) -> Result<String, String> {
    let mut build = cargo();
    build.envs(profile.iter().copied());
    build.args(["build", "--quiet", "--release", "--locked", "--bin", bin]);
    build.args(feature.map(|feature| format!("--features={feature}")));
    build.arg("--target-dir").arg(target);
    run(&mut build)?;
    Ok(target.join("release").join(bin).display().to_string())
}

/// Compiles a program of the folder `c`, and returns its path.
pub fn build_c(source: &str, library: Option<&str>) -> Result<String, String> {
    let target = target_dir().map_err(|error| format!("finding the target folder: {error}"))?;
    let program = target.join(format!("c-{source}"));
    let mut compile = Command::new("cc");
    compile.args(["-O2", "-Wall", "-o"]).arg(&program).arg(Path::new(HERE).join(format!("c/{source}.c")));
    if let Some(library) = library {
        let flags = run(Command::new("pkg-config").args(["--cflags", "--libs", library]))?;
        compile.args(flags.split_whitespace());
    }
    run(&mut compile)?;
    Ok(program.display().to_string())
}

/// The command that runs a script of the folder `python`, if its module is installed. It names the interpreter itself,
/// since the `python3` on the path may be a wrapper script.
pub fn find_python(script: &str, module: &str) -> Result<Vec<String>, String> {
    let ask = format!("import sys, {module}; print(sys.executable)");
    let python = run(Command::new("python3").args(["-c", &ask]))?;
    let script = Path::new(HERE).join("python").join(script).display().to_string();
    Ok(vec![python.trim().to_string(), script, module.to_string()])
}

/// Runs a command to its end, and returns what it printed.
pub fn run(command: &mut Command) -> Result<String, String> {
    let name = Path::new(command.get_program()).file_name().map(OsStr::to_os_string).unwrap_or_default();
    let name = name.display().to_string();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let why = said.lines().find(|line| line.starts_with("error")).or(said.lines().last());
    Err(format!("{name} failed: {}", why.unwrap_or("it does not say why")))
}
