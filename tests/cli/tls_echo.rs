//! The echo over TLS.

use super::programs::{Program, run};
use crate::common::certs;
use enjamb::{Conn, Cx, End, Input, Protocol, Reactor, tls};
use nix::sys::signal::Signal;
use std::io;

#[test]
fn a_client_within_the_program_is_answered_twice_and_resumes_its_session() {
    let ended = run("tls_echo", &[]);
    let line = "session: run on past the end of the line";
    let expected = [format!("TLSv1_3, a new {line}"), format!("TLSv1_3, a resumed {line}")];
    assert_eq!((ended.status, &ended.out[..]), (Some(0), &expected[..]), "{ended:#?}");
}

/// Says a word, and keeps what comes back.
struct Ask;

impl Protocol<(String, Option<End>)> for Ask {
    fn opened(&mut self, conn: &mut Conn<'_, (String, Option<End>)>) -> io::Result<()> {
        conn.write(b"word");
        conn.finish();
        Ok(())
    }
    fn received(
        &mut self,
        conn: &mut Conn<'_, (String, Option<End>)>,
        input: &mut Input<'_>,
    ) -> io::Result<()> {
        conn.state().0.push_str(&String::from_utf8_lossy(input.take_all()));
        Ok(())
    }
    fn closed(self: Box<Self>, cx: &mut Cx<'_, (String, Option<End>)>, end: End) {
        cx.state.1 = Some(end);
    }
}

#[test]
fn a_server_for_others_says_back_what_they_say_and_ends_in_good_order() {
    let mut program = Program::start("tls_echo", &["--listen", "0"]);
    let address = program.address();
    program.err.wait_for("everybody has its key");
    let client = tls::Client::with_roots(certs::AUTHORITY).expect("a certificate");
    let (mut reactor, mut state) = (Reactor::new().expect("a loop"), (String::new(), None));
    reactor.cx(&mut state).connect(address, Ask).secure(&client, "localhost").expect("a name");
    reactor.run(&mut state).expect("it runs");
    assert_eq!((state.0.as_str(), state.1.map(|end| end.result.is_ok())), ("word", Some(true)));
    program.signal(Signal::SIGTERM);
    assert_eq!(program.end().status, Some(0));
}

#[test]
fn a_certificate_that_is_none_or_alone_is_refused() {
    let folder = env!("CARGO_MANIFEST_DIR");
    let (toml, pem) = (format!("{folder}/Cargo.toml"), format!("{folder}/tests/certs/localhost.pem"));
    for (args, message) in [
        (&["--listen", "0", "--cert", &toml, "--key", &toml][..], "no certificate in the PEM given"),
        (&["--listen", "0", "--cert", &pem, "--key", &pem], "no private key in the PEM given"),
        (&["--listen", "0", "--cert", "/nonexistent", "--key", &pem], "/nonexistent: No such file"),
        (&["--listen", "0", "--cert", &pem], "--key <FILE>"),
        (&["--cert", &pem, "--key", &pem], "--listen <ADDR>"),
    ] {
        let ended = run("tls_echo", args);
        assert_eq!(ended.status, Some(2), "{args:?}: {ended:#?}");
        ended.message(message);
    }
}
