//! Reads many slow poems at once on tokio's current_thread runtime: a task for each, all with one buffer.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; enjamb_benches::READ_BUFFER]);
}

async fn read_poem(address: SocketAddr) -> io::Result<usize> {
    let socket = TcpStream::connect(address).await?;
    let mut bytes = 0;
    loop {
        match BUFFER.with_borrow_mut(|buffer| socket.try_read(buffer)) {
            Ok(0) => return Ok(bytes),
            Ok(n) => bytes += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => socket.readable().await?,
            Err(error) => return Err(error),
        }
    }
}

async fn read_poems(address: SocketAddr, count: usize) -> io::Result<usize> {
    let mut poems = JoinSet::new();
    for _ in 0..count {
        poems.spawn(read_poem(address));
    }
    let mut bytes = 0;
    while let Some(poem) = poems.join_next().await {
        bytes += poem.map_err(io::Error::other)??;
    }
    Ok(bytes)
}

fn main() -> io::Result<()> {
    let (address, count) = enjamb_benches::fan_in_arguments()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    println!("{}", runtime.block_on(read_poems(address, count))?);
    Ok(())
}
