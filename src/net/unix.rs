//! Unix-domain listeners: the path, and its file, which is removed with the listener.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use mio::net::UnixListener;

use crate::base::error;

/// Bytes in a path: unix(7) has room for this many and the null byte.
const LONGEST_PATH: usize = if cfg!(any(target_os = "linux", target_os = "android")) { 107 } else { 103 };

/// Refuses what the kernel would take for something else, or not at all.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    let bytes = path.as_os_str().as_bytes();
    let wrong = match bytes.len() {
        0 => "the path is empty".to_string(),
        length if length > LONGEST_PATH => format!(
            "the path has {length} bytes, and the address of a Unix socket has room for {LONGEST_PATH}, unix(7): \
             give one that is relative, or through a shorter directory"
        ),
        _ if bytes.contains(&0) => "the path has a null byte in it".to_string(),
        _ => return Ok(()),
    };
    Err(error::new(io::ErrorKind::InvalidInput, wrong))
}

/// The file of a listening socket, removed when the listener is dropped.
#[derive(Debug)]
pub(crate) struct SocketFile {
    pub(crate) path: Arc<Path>,
    /// Which file it was, by device and number: another program may have put its own in its place.
    identity: Option<(u64, u64)>,
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    path.symlink_metadata().ok().map(|file| (file.dev(), file.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some()
            && self.identity == identity(&self.path)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            log::warn!("removing {}, on which nobody listens any more: {error}", self.path.display());
        }
    }
}

/// A listening socket and its file.
pub(crate) fn bind(path: &Path, backlog: u32) -> io::Result<(UnixListener, SocketFile)> {
    check(path)?;
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    let file = SocketFile { path: path.into(), identity: identity(path) };
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok((UnixListener::from_std(OwnedFd::from(socket).into()), file))
}

pub(crate) fn cannot_listen(path: &Path, error: io::Error) -> io::Error {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; is it running already? if nobody listens there, an earlier program has left the file: remove it"
        }
        io::ErrorKind::PermissionDenied => "; may this user write to that directory?",
        io::ErrorKind::NotFound => "; does the directory exist?",
        _ => "",
    };
    error::new(error.kind(), format!("listening on {}: {error}{hint}", path.display()))
}
