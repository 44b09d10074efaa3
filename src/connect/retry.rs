//! Connecting to the path of a Unix socket, and again if the listener has no room.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::base::slots::Key;
use crate::net::connecting::{Connecting, Retry};
use crate::net::plain::Plain;
use crate::net::unix;
use crate::reactor::core::Core;
use crate::reactor::timers::Task;

/// The wait before a listener with a full backlog is tried again: doubled each time, from the first to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_millis(64);

impl<S> Core<S> {
    pub(crate) fn connect_to_path(&mut self, key: Key, path: &Path) -> io::Result<()> {
        unix::check(path)?;
        self.try_path(key, path.into(), FIRST_WAIT)
    }

    fn try_path(&mut self, key: Key, path: Arc<Path>, wait: Duration) -> io::Result<()> {
        match Plain::connect_to_path(&self.poll, &path) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let timer = self.timers.insert(self.clock.tick_after(wait), Task::Connecting(key));
                self.begin_connecting(key, Connecting::Retrying(Retry { path, wait, timer }));
                Ok(())
            }
            socket => self.install(key, socket?.into()),
        }
    }

    pub(crate) fn retry_path(&mut self, key: Key) {
        if let Some(Connecting::Retrying(Retry { path, wait, .. })) = self.end_connecting(key)
            && let Err(error) = self.try_path(key, path, (2 * wait).min(LONGEST_WAIT))
        {
            self.cannot_connect(key, error);
        }
    }
}
