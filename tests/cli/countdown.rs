//! Three timers: each counts in its own order, and the cancelled one neither fires nor delays the end.

use super::programs::run;
use std::time::{Duration, Instant};

#[test]
fn each_count_is_in_order_and_the_alarm_is_cancelled_by_the_last() {
    let start = Instant::now();
    let ended = run("countdown", &[]);
    assert_eq!(ended.status, Some(0), "{ended:#?}");
    let of =
        |name: &str| -> Vec<&str> { ended.out.iter().filter_map(|line| line.strip_prefix(name)).collect() };
    assert_eq!(of("kettle: "), ["5", "4", "3", "2", "1", "done"]);
    assert_eq!(of("eggs: "), ["3", "2", "1", "done"]);
    assert_eq!(ended.out.len(), 11, "{ended:#?}");
    assert_eq!(ended.out[10], "breakfast is ready, so the alarm is cancelled");
    assert!(start.elapsed() >= Duration::from_secs(1), "the eggs take four times 250 ms");
}
