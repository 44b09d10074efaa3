//! Tests that run again in a child: for limits of the process, for counting descriptors, for faults that strace injects.

use std::any::type_name;
use std::io::ErrorKind;
use std::process::Command;

const CHILD: &str = "ENJAMB_TEST_CHILD";

/// How the harness finds a test: by its path without the crate and the module in which all files of the crate are.
fn path_of<T: Fn()>(_: T) -> &'static str {
    // Without that module, for the harness writes `r#loop` and the compiler `loop`.
    type_name::<T>().splitn(3, "::").nth(2).expect("crate::module::file::test")
}

/// A command that runs this test crate again, with only this test.
pub fn only(test: impl Fn()) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([path_of(test), "--nocapture"]);
    command
}

/// Returns `true` in the child. In the parent, runs `test` again in a child, fails if the child fails, and returns
/// `false`: the test is over. `wrapper` is the command that starts the child, such as strace, or empty.
pub fn in_child(test: impl Fn(), wrapper: &[&str]) -> bool {
    let path = path_of(&test);
    if std::env::var(CHILD).as_deref() == Ok(path) {
        return true;
    }
    let mut child = only(test);
    if let [program, arguments @ ..] = wrapper {
        let mut wrapped = Command::new(program);
        wrapped.args(arguments).arg(child.get_program()).args(child.get_args());
        child = wrapped;
    }
    let output = match child.env(CHILD, path).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("{path} was not run: {} is not installed", wrapper[0]);
            return false;
        }
        output => output.unwrap(),
    };
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if !wrapper.is_empty() && said.contains("PTRACE") {
        println!("{path} was not run: {} is not permitted to trace: {said}", wrapper[0]);
        return false;
    }
    assert!(output.status.success() && said.contains(" 1 passed"), "in the child: {said}");
    false
}
