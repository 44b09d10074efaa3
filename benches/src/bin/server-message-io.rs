//! Echo on message-io, over plain TCP. The library listens by itself, with a backlog of 1,024 and without TCP_NODELAY.

use message_io::network::{NetEvent, Transport};
use message_io::node;
use std::io;

fn main() -> io::Result<()> {
    enjamb_benches::expect_echo()?;
    let (handler, listener) = node::split::<()>();
    let (_, address) = handler.network().listen(Transport::Tcp, "127.0.0.1:0")?;
    enjamb_benches::announce(address)?;
    listener.for_each(move |event| {
        if let NetEvent::Message(endpoint, bytes) = event.network() {
            handler.network().send(endpoint, bytes);
        }
    });
    Ok(())
}
