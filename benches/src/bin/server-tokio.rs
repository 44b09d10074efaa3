//! Echo on tokio's current_thread runtime: a task for each connection, with a buffer of its own. With `shared`, all
//! tasks read into one buffer, and keep nothing of it across an await. With `idle-timeout`, every message resets its
//! connection's `Sleep`.

use enjamb_benches::{IDLE_TIMEOUT, READ_BUFFER, Timed};
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::task::Poll;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BUFFER]);
}

async fn echo(mut socket: TcpStream) -> io::Result<()> {
    // Not zeroed: a part that is never written costs no memory.
    let mut buffer = Vec::with_capacity(READ_BUFFER);
    loop {
        buffer.clear();
        match socket.read_buf(&mut buffer).await? {
            0 => return Ok(()),
            _ => socket.write_all(&buffer).await?,
        }
    }
}

async fn impatient_echo(mut socket: TcpStream) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(READ_BUFFER);
    let mut deadline = pin!(sleep(IDLE_TIMEOUT));
    loop {
        buffer.clear();
        deadline.as_mut().reset(Instant::now() + IDLE_TIMEOUT);
        let mut reading = pin!(socket.read_buf(&mut buffer));
        let read = poll_fn(|cx| match reading.as_mut().poll(cx) {
            Poll::Pending => deadline.as_mut().poll(cx).map(|()| Err(ErrorKind::TimedOut.into())),
            read => read,
        });
        match read.await? {
            0 => return Ok(()),
            _ => socket.write_all(&buffer).await?,
        }
    }
}

/// The result of one attempt.
enum Tried {
    Sent,
    /// The kernel did not accept these bytes.
    Left(Vec<u8>),
    Nothing,
    End,
}

async fn echo_shared(mut socket: TcpStream) -> io::Result<()> {
    loop {
        match try_echo(&socket)? {
            Tried::Sent => {}
            Tried::Left(rest) => socket.write_all(&rest).await?,
            Tried::Nothing => socket.readable().await?,
            Tried::End => return Ok(()),
        }
    }
}

fn try_echo(socket: &TcpStream) -> io::Result<Tried> {
    BUFFER.with_borrow_mut(|buffer| {
        let n = match socket.try_read(buffer) {
            Ok(0) => return Ok(Tried::End),
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Tried::Nothing),
            Err(error) => return Err(error),
        };
        match socket.try_write(&buffer[..n]) {
            Ok(sent) if sent == n => Ok(Tried::Sent),
            Ok(sent) => Ok(Tried::Left(buffer[sent..n].to_vec())),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Tried::Left(buffer[..n].to_vec())),
            Err(error) => Err(error),
        }
    })
}

async fn serve(shared: bool, timed: Timed) -> io::Result<()> {
    let listener = TcpListener::from_std(enjamb_benches::listener()?)?;
    enjamb_benches::announce(listener.local_addr()?)?;
    timed.delays().for_each(|delay| _ = tokio::spawn(sleep(delay)));
    loop {
        let (socket, _) = listener.accept().await?;
        // The cause of a connection's end does not matter here.
        if timed.idle_timeout {
            tokio::spawn(async move { impatient_echo(socket).await.ok() });
        } else if shared {
            tokio::spawn(async move { echo_shared(socket).await.ok() });
        } else {
            tokio::spawn(async move { echo(socket).await.ok() });
        }
    }
}

fn main() -> io::Result<()> {
    enjamb_benches::expect_echo()?;
    let shared = std::env::args().nth(2).as_deref() == Some("shared");
    let timed = enjamb_benches::timed();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_io();
    if timed.any() {
        builder.enable_time(); // each wait costs more with it
    }
    builder.build()?.block_on(serve(shared, timed))
}
