//! nginx as a child process, with a small response.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::child::{self, PATIENCE};

/// The response to every GET.
pub const BODY: &str = "run on past the end of the line";

/// A running nginx with one worker. Dropping it stops it.
pub struct Nginx {
    child: Child,
    folder: PathBuf,
    pub url: String,
}

impl Nginx {
    /// Starts nginx on a free port of 127.0.0.1, with all its files in a folder of its own, and waits until it listens.
    pub fn start() -> io::Result<Nginx> {
        let folder = std::env::temp_dir().join(format!("enjamb-benches-{}", std::process::id()));
        fs::create_dir(&folder)?;
        let address = free_address()?;
        fs::write(folder.join("nginx.conf"), configuration(address))?;
        let child = Command::new("nginx")
            .args(["-c", "nginx.conf", "-e", "error.log", "-p"])
            .arg(folder.join("")) // nginx needs the trailing slash
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = child.map_err(|error| {
            let _ = fs::remove_dir_all(&folder); // report the first error, not this one
            io::Error::new(error.kind(), format!("nginx: {error}"))
        })?;
        let mut nginx = Nginx { child, folder, url: format!("http://{address}/") };
        nginx.wait_until_listening(address)?;
        Ok(nginx)
    }

    fn wait_until_listening(&mut self, address: SocketAddr) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            if self.child.try_wait()?.is_some() || Instant::now() > deadline {
                let said = fs::read_to_string(self.folder.join("error.log")).unwrap_or_default();
                return Err(io::Error::other(format!("nginx does not listen: {}", said.trim())));
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master stops its worker. An error here cannot be handled.
        let _ = signal::kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        let _ = child::wait(&mut self.child);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A port that was free just now. nginx cannot report a port that the kernel chose.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// The configuration: nginx reads and writes no file, and never closes a connection for its number of requests.
fn configuration(address: SocketAddr) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("  {name}_temp_path {name};\n"))
        .concat();
    format!(
        "daemon off;\nworker_processes 1;\npid nginx.pid;\nevents {{ worker_connections 1024; }}\nhttp {{\n{temporary}  \
         access_log off;\n  keepalive_requests 1000000000;\n  keepalive_timeout 600s;\n  \
         server {{ listen {address}; default_type text/plain; location / {{ return 200 \"{BODY}\"; }} }}\n}}\n"
    )
}

/// The version in the output of `nginx -v`: `nginx version: nginx/1.22.1`.
pub fn version() -> Option<String> {
    let output = Command::new("nginx").arg("-v").output().ok()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(said.trim().rsplit_once('/')?.1.to_string())
}
