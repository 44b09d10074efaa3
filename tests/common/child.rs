//! Tests that need a process of their own: for limits, for counting descriptors, for faults that strace injects.

use std::io::ErrorKind;
use std::process::Command;

const CHILD: &str = "ENJAMB_TEST_CHILD";

/// Returns `true` in the child. Anywhere else, runs the test `name` again in a child, by way of `wrapper` if that is
/// not empty, fails if that does, and returns `false`: there is nothing left to do.
pub fn in_child(name: &str, wrapper: &[&str]) -> bool {
    if std::env::var(CHILD).as_deref() == Ok(name) {
        return true;
    }
    let this = std::env::current_exe().unwrap();
    let this = this.to_str().expect("a path in UTF-8");
    let mut words = wrapper.iter().copied().chain([this, name, "--exact", "--nocapture"]);
    let program = words.next().unwrap();
    let output = match Command::new(program).args(words).env(CHILD, name).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("{name} was not run: {program} is not installed");
            return false;
        }
        output => output.unwrap(),
    };
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if !wrapper.is_empty() && said.contains("PTRACE") {
        println!("{name} was not run: {program} is not permitted to trace: {said}");
        return false;
    }
    assert!(output.status.success() && said.contains("1 passed"), "in the child: {said}");
    false
}
