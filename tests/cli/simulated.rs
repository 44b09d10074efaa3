//! The simulated server: its bug is found, and its seed finds it again.

use super::programs::run;

#[test]
fn the_planted_bug_is_found_by_seed_and_the_run_again_is_the_same() {
    let first = run("simulated", &["--seeds", "50"]);
    assert_eq!(first.status, Some(0), "{first:?}");
    assert!(first.out.iter().any(|line| line.contains("of 50 seeds fail")), "{first:?}");
    assert!(first.out.iter().any(|line| line == "run again, it is the same, event for event"), "{first:?}");
    assert!(
        first.out.iter().any(|line| line == "mended, the server is right for 50 of 50 seeds"),
        "{first:?}"
    );
    assert_eq!(first.out, run("simulated", &["--seeds", "50"]).out);
    // The seed that the head of the example tells.
    let one = run("simulated", &["--seed", "4"]);
    assert!(one.out.iter().any(|line| line.contains("1 of 1 seeds fail")), "{one:?}");
}
