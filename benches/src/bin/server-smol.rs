//! Echo on smol: one local executor, a task for each connection, with a buffer of its own.

use enjamb_benches::READ_BUFFER;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, LocalExecutor};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;

async fn echo(mut socket: Async<TcpStream>) -> io::Result<()> {
    let mut buffer = vec![0; READ_BUFFER];
    loop {
        match socket.read(&mut buffer).await? {
            0 => return Ok(()),
            n => socket.write_all(&buffer[..n]).await?,
        }
    }
}

async fn serve(executor: &LocalExecutor<'_>) -> io::Result<()> {
    let listener: Async<TcpListener> = Async::new(enjamb_benches::listener()?)?;
    enjamb_benches::announce(listener.get_ref().local_addr()?)?;
    loop {
        let (socket, _) = listener.accept().await?;
        executor.spawn(echo(socket)).detach();
    }
}

fn main() -> io::Result<()> {
    enjamb_benches::expect_echo()?;
    let executor = Rc::new(LocalExecutor::new());
    // Accepting is a task too: as the executor's main future it would be polled after every other task.
    let accepting = executor.spawn({
        let executor = Rc::clone(&executor);
        async move { serve(&executor).await }
    });
    smol::block_on(executor.run(accepting))
}
