//! Wrong usage: status 2, the name of the option, the accepted range, a suggestion for a near miss.

use super::programs::{CLIENTS, run};

fn assert_refused(name: &str, args: &[&str], parts: &[&str]) {
    let ended = run(name, args);
    assert_eq!(ended.status, Some(2), "{name} {args:?}: {ended:#?}");
    assert!(ended.out.is_empty(), "{ended:#?}");
    let said = ended.err.join("\n");
    for part in parts {
        assert!(said.contains(part), "{name} {args:?} does not say {part:?}: {said}");
    }
}

#[test]
fn a_near_miss_is_suggested() {
    assert_refused("slow_poetry", &["--dely", "1s"], &["--dely", "'--delay'"]);
    assert_refused("get_poetry", &["--time-out", "1s", "10000"], &["--time-out", "'--timeout'"]);
    assert_refused("echo", &["--idle-timout", "1s"], &["--idle-timout", "'--idle-timeout'"]);
}

#[test]
fn an_address_has_a_port() {
    for client in CLIENTS {
        assert_refused(client, &[], &["<ADDR>"]);
        for wrong in ["0", "70000", "localhost", "::1:10000", ":80", "127.0.0.1:0", "127.0.0.1:"] {
            assert_refused(client, &[wrong], &[wrong, "<ADDR>", "[HOST:]PORT", "from 1 to 65535"]);
        }
    }
    assert_refused(
        "get_poetry",
        &["no-host.invalid:80"],
        &["<ADDR>", "cannot find the host `no-host.invalid`"],
    );
    assert_refused("echo_client", &["0"], &["[ADDR]", "from 1 to 65535"]);
    for server in ["echo", "echo_server", "chat", "proxy", "udp_echo", "embed", "worker", "multicore"] {
        assert_refused(server, &["--listen", "70000"], &["--listen", "from 0 to 65535"]);
    }
    assert_refused("proxy", &[], &["--to <ADDR>"]);
    assert_refused("proxy", &["--to", "0"], &["--to", "from 1 to 65535"]);
}

#[test]
fn a_duration_has_a_unit_and_a_range() {
    for wrong in ["5", "5d", "s", "-1s", "1e3s", "25h", "1 s", "1.2.3s", "inf"] {
        assert_refused("slow_poetry", &["--delay", wrong], &["--delay", wrong, "from 0ms to 24h", "500ms"]);
    }
    for wrong in ["0s", "5"] {
        assert_refused("get_poetry", &["--timeout", wrong, "10000"], &["--timeout", "from 1ms to 24h"]);
        assert_refused("echo", &["--idle-timeout", wrong], &["--idle-timeout", "from 1ms to 24h"]);
    }
    for server in ["echo", "proxy"] {
        assert_refused(server, &["--drain-timeout", "soon"], &["--drain-timeout", "from 0ms to 24h"]);
    }
    assert_refused("proxy", &["--stall-timeout", "0s"], &["--stall-timeout", "from 1ms to 24h"]);
}

#[test]
fn a_number_has_a_range() {
    for wrong in ["0", "-1", "many"] {
        assert_refused("slow_poetry", &["--num-bytes", wrong], &["--num-bytes", "from 1 up"]);
        assert_refused("echo", &["--max-conns", wrong], &["--max-conns", "from 1 up"]);
    }
    for wrong in ["4095", "8388609", "-1", "64k"] {
        assert_refused("chat", &["--cap", wrong], &["--cap", "from 4096 to 8388608"]);
    }
    for wrong in ["0", "1025"] {
        assert_refused("chat", &["--max-line", wrong], &["--max-line", "from 1 to 1024"]);
    }
    assert_refused("udp_echo", &["--max-bytes", "65528"], &["--max-bytes", "1..=65527"]);
    assert_refused("multicore", &["--reactors", "0"], &["--reactors", "1..=1024"]);
    assert_refused("multicore", &["--serve", "0"], &["--serve"]);
    assert_refused("embed", &["--frames-per-second", "0"], &["--frames-per-second", "1..=1000"]);
    assert_refused("slow_poetry", &["--port", "65536"], &["--port", "0..=65535"]);
    assert_refused("get_poetry", &["--expect-bytes", "-1", "10000"], &["--expect-bytes", "from 0 up"]);
    assert_refused("slow_poetry", &["--iface", "home"], &["--iface", "127.0.0.1, 0.0.0.0 or ::1"]);
}

#[test]
fn poems_and_ports_are_as_many() {
    let args = ["--port", "0", "one.txt", "two.txt"];
    assert_refused("slow_poetry", &args, &["2 POEM", "1 --port", "Usage: slow_poetry"]);
}
