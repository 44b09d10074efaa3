//! What to say when a server cannot listen.

use std::io;
use std::net::SocketAddr;

/// `retry` is the option that chooses another port, for example `--port 0`.
pub fn failure(address: SocketAddr, error: &io::Error, retry: &str) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "port {port} is already in use on {}: stop the program that has it, or take any free port with {retry}",
            address.ip()
        ),
        io::ErrorKind::PermissionDenied => {
            format!(
                "no permission to listen on port {port}: take one from 1024 up, or any free one with {retry}"
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("{} is not an address of this machine: try 127.0.0.1, 0.0.0.0 or ::1", address.ip())
        }
        _ => format!("cannot listen on {address}: {error}"),
    }
}
