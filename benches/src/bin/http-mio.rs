//! The minimal cost of small GETs: `http-mio URL COUNT LANES` writes the same bytes again and again, and reads only the
//! length of a response.

use enjamb_benches::READ_BUFFER;
use enjamb_benches::http_client::{Meter, asked};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

struct Lane {
    stream: TcpStream,
    left: usize,
}

struct Lanes {
    poll: Poll,
    request: Vec<u8>,
    lanes: Vec<Lane>,
}

/// The length of the body, if the response is complete.
fn complete(answer: &[u8]) -> Option<usize> {
    let text = str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let (_, length) = head.split_once("\r\nContent-Length: ")?;
    let length = length.split("\r\n").next()?.parse().ok()?;
    (body.len() == length).then_some(length)
}

impl Lanes {
    /// Small responses arrive whole; anything else is an error.
    fn run(&mut self, each: usize) -> io::Result<usize> {
        let mut buffer = vec![0; READ_BUFFER];
        let mut events = Events::with_capacity(1024);
        let (mut bytes, mut running) = (0, self.lanes.len());
        for lane in &mut self.lanes {
            lane.left = each;
            lane.stream.write_all(&self.request)?;
        }
        while running > 0 {
            self.poll.poll(&mut events, None)?;
            for event in &events {
                let lane = &mut self.lanes[event.token().0];
                let read = match lane.stream.read(&mut buffer) {
                    Ok(read) => read,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                    Err(error) => return Err(error),
                };
                bytes += complete(&buffer[..read]).ok_or(ErrorKind::InvalidData)?;
                lane.left -= 1;
                if lane.left == 0 {
                    running -= 1;
                } else {
                    lane.stream.write_all(&self.request)?;
                }
            }
        }
        Ok(bytes)
    }
}

fn main() -> io::Result<()> {
    let asked = asked()?;
    let host = asked.url.trim_start_matches("http://").trim_end_matches('/');
    let address: SocketAddr = host.parse().map_err(io::Error::other)?;
    let poll = Poll::new()?;
    let connect = |token| {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(token), Interest::READABLE)?;
        Ok(Lane { stream, left: 0 })
    };
    let lanes = (0..asked.lanes).map(connect).collect::<io::Result<_>>()?;
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: by-hand\r\nAccept: */*\r\n\r\n");
    let mut lanes = Lanes { poll, request: request.into_bytes(), lanes };
    lanes.run(1)?;
    let meter = Meter::start()?;
    meter.stop(lanes.run(asked.each)?)
}
