//! Reads many slow poems at once on mio by hand: edge-triggered, one buffer for all.

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{self, ErrorKind, Read};

/// Reads all there is. Returns whether the stream has ended.
fn read(socket: &mut TcpStream, buffer: &mut [u8], read_closed: bool, bytes: &mut usize) -> io::Result<bool> {
    loop {
        match socket.read(buffer) {
            Ok(0) => return Ok(true),
            Ok(n) => {
                *bytes += n;
                if n < buffer.len() && !read_closed {
                    return Ok(false); // a short read has emptied the socket
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

fn main() -> io::Result<()> {
    let (address, count) = enjamb_benches::fan_in_arguments()?;
    let mut poll = Poll::new()?;
    let mut sockets = Vec::with_capacity(count);
    for token in 0..count {
        let mut socket = TcpStream::connect(address)?;
        poll.registry().register(&mut socket, Token(token), Interest::READABLE)?;
        sockets.push(Some(socket));
    }
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; enjamb_benches::READ_BUFFER];
    let (mut bytes, mut left) = (0, count);
    while left > 0 {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            let slot = &mut sockets[event.token().0];
            if let Some(socket) = slot
                && read(socket, &mut buffer, event.is_read_closed(), &mut bytes)?
            {
                *slot = None;
                left -= 1;
            }
        }
    }
    println!("{bytes}");
    Ok(())
}
