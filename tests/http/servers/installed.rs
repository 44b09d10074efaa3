//! Servers of other makes, as child processes of the test. They end with it, also when it panics.

use crate::common::certs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{fs, thread};

/// A server, with a folder of its own.
pub struct Server {
    child: Child,
    folder: PathBuf,
    pub port: u16,
    /// Where it speaks TLS, if it does.
    pub tls: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        fs::remove_dir_all(&self.folder).ok();
    }
}

/// A new folder for a server.
fn folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("enjamb-server-{}-{number}", std::process::id()));
    fs::create_dir_all(folder.join("www/sub")).expect("a folder for the server");
    fs::write(folder.join("www/poem.txt"), "running on\n".repeat(10_000)).expect("a page");
    fs::write(folder.join("www/packed.txt"), "running on\n".repeat(10_000)).expect("a page");
    fs::write(folder.join("www/sub/index.html"), "inside").expect("a page");
    folder
}

/// nginx with the configuration of `nginx.conf`; `None`, and a line that says so, where it is not installed.
pub fn nginx() -> Option<Server> {
    // It takes no port 0: one that is free may be taken before it gets there, and then it ends, and another is tried.
    for _ in 0..20 {
        let folder = folder();
        let free = [0; 2].map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
        let [port, tls] = free.map(|listener| listener.local_addr().expect("its address").port());
        let config = include_str!("nginx.conf")
            .replace("FOLDER", &folder.display().to_string())
            .replace("PORT", &port.to_string())
            .replace("SECURE", &tls.to_string());
        for (name, text) in [
            ("nginx.conf", config.as_str()),
            ("certificate.pem", certs::CERTIFICATE),
            ("key.pem", certs::KEY),
        ] {
            fs::write(folder.join(name), text).expect("its configuration");
        }
        let mut nginx = Command::new("nginx");
        nginx.arg("-p").arg(&folder).arg("-c").arg(folder.join("nginx.conf"));
        let Ok(child) = nginx.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
            fs::remove_dir_all(&folder).ok();
            println!("not run: nginx is not installed");
            return None;
        };
        let mut server = Server { child, folder, port, tls };
        while server.child.try_wait().expect("its status").is_none() {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, tls)).is_ok() {
                return Some(server);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
    panic!("nginx does not start: is tests/http/servers/nginx.conf good for this version?");
}

/// A program in Python that prints its port; `None`, and a line that says so, where no Python here has what it needs.
pub fn python(program: &str, needs: &str) -> Option<Server> {
    // The one that the system's packages are for may not be the first.
    let python = ["python3", "/usr/bin/python3"].into_iter().find(|python| {
        let mut import = Command::new(python);
        import.args(["-c", &format!("import {needs}")]).stderr(Stdio::null());
        import.status().is_ok_and(|status| status.success())
    });
    let Some(python) = python else {
        println!("not run: no python3 here has {needs}");
        return None;
    };
    started(Command::new(python).args(["-u", "-c", program]), folder(), |line| line.trim().parse().ok())
}

/// Python's `http.server` on the command line, with HTTP/1.1.
pub fn python_files() -> Option<Server> {
    let folder = folder();
    let mut python = Command::new("python3");
    python.args(["-u", "-m", "http.server", "--protocol", "HTTP/1.1", "--bind", "127.0.0.1", "--directory"]);
    python.arg(folder.join("www")).arg("0");
    started(&mut python, folder, |line| {
        line.split_whitespace().skip_while(|word| *word != "port").nth(1)?.parse().ok()
    })
}

/// Starts it, and waits for the line in which it says its port.
fn started(command: &mut Command, folder: PathBuf, port: impl Fn(&str) -> Option<u16>) -> Option<Server> {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let Ok(child) = child else {
        fs::remove_dir_all(&folder).ok();
        println!("not run: {} is not installed", command.get_program().display());
        return None;
    };
    let mut server = Server { child, folder, port: 0, tls: 0 };
    let mut line = String::new();
    BufReader::new(server.child.stdout.take()?).read_line(&mut line).ok()?;
    match port(&line) {
        Some(port) => server.port = port,
        None => {
            println!("not run: {command:?} says no port, but \"{}\"", line.trim_end());
            return None;
        }
    }
    Some(server)
}
