//! The clients: blocking sockets, since they are cheap and deterministic.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::child::PATIENCE;
use crate::server::Server;

/// A number of open connections to an echo server.
pub struct Clients {
    connections: Vec<TcpStream>,
    message: Vec<u8>,
    answer: Vec<u8>,
}

impl Clients {
    pub fn connect(address: SocketAddr, count: usize, message_size: usize) -> io::Result<Clients> {
        let mut clients = Clients { connections: Vec::new(), message: Vec::new(), answer: Vec::new() };
        clients.set_message_size(message_size);
        clients.connect_more(address, count)?;
        Ok(clients)
    }

    pub fn connect_more(&mut self, address: SocketAddr, count: usize) -> io::Result<()> {
        for _ in 0..count {
            self.connections.push(connect(address)?);
        }
        Ok(())
    }

    pub fn set_message_size(&mut self, size: usize) {
        self.message = vec![b'x'; size];
        self.answer = vec![0; size];
    }

    /// Sends on every connection, then reads every response.
    pub fn round(&mut self) -> io::Result<()> {
        self.send()?;
        self.receive()
    }

    /// A round for which the server finds all messages ready at once.
    pub fn round_at_once(&mut self, server: &Server) -> io::Result<()> {
        server.while_stopped(|| self.send())?;
        self.receive()
    }

    /// Sends and reads the response on one connection after the other.
    pub fn one_by_one(&mut self) -> io::Result<()> {
        for connection in &mut self.connections {
            connection.write_all(&self.message)?;
            connection.read_exact(&mut self.answer)?;
        }
        Ok(())
    }

    fn send(&mut self) -> io::Result<()> {
        self.connections.iter_mut().try_for_each(|connection| connection.write_all(&self.message))
    }

    fn receive(&mut self) -> io::Result<()> {
        self.connections.iter_mut().try_for_each(|connection| connection.read_exact(&mut self.answer))
    }
}

/// Connects, sends a message, reads the response and closes, `times` times. It waits for the server's end of each
/// connection; otherwise the close would overlap with the next connect at random.
pub fn churn(address: SocketAddr, times: usize) -> io::Result<()> {
    let mut answer = [0; 64];
    for _ in 0..times {
        let mut connection = connect(address)?;
        connection.write_all(&[b'x'; 64])?;
        connection.read_exact(&mut answer)?;
        connection.shutdown(Shutdown::Write)?;
        if connection.read(&mut answer)? != 0 {
            return Err(io::Error::other("the server has sent more than it was sent"));
        }
    }
    Ok(())
}

pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let connection = TcpStream::connect(address)?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    Ok(connection)
}
