//! Limits and budgets that are not valid: each is refused, with its name and what to set.

use std::io::ErrorKind;
use std::time::Duration;

use enjamb::{Config, Cx, Reactor};

fn refused(change: impl FnOnce(&mut Config)) -> String {
    let mut config = Config::default();
    change(&mut config);
    let error = Reactor::<()>::with_config(config).expect_err("it cannot be");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    error.to_string()
}

#[test]
fn a_limit_or_budget_of_zero_is_refused_by_name() {
    type Zero = fn(&mut Config);
    let all: [(&str, Zero); 10] = [
        ("input_limit", |config| config.input_limit = 0),
        ("output_limit", |config| config.output_limit = 0),
        ("read_buffer", |config| config.read_buffer = 0),
        ("read_budget", |config| config.read_budget = 0),
        ("accept_budget", |config| config.accept_budget = 0),
        ("call_budget", |config| config.call_budget = 0),
        ("post_limit", |config| config.post_limit = 0),
        ("timer_budget", |config| config.timer_budget = 0),
        ("events", |config| config.events = 0),
        ("backlog", |config| config.backlog = 0),
    ];
    for (name, zero) in all {
        let error = refused(zero);
        assert!(error.contains(&format!("Config::{name} is 0")) && error.contains("at least 1"), "{error}");
    }
}

#[test]
fn water_marks_in_the_wrong_order_are_refused_with_both_values() {
    let error = refused(|config| (config.low_water, config.high_water) = (200, 100));
    for part in ["low_water (200)", "high_water (100)", "at most"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let error = refused(|config| config.output_limit = 1_000);
    for part in ["high_water (65536)", "output_limit (1000)", "raise"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn the_smallest_values_that_can_be_work() {
    let config = Config {
        low_water: 0,
        high_water: 0,
        input_limit: 1,
        output_limit: 1,
        read_buffer: 1,
        read_budget: 1,
        accept_budget: 1,
        call_budget: 1,
        post_limit: 2,
        timer_budget: 1,
        events: 1,
        backlog: 1,
        ..Config::default()
    };
    let mut reactor = Reactor::with_config(config).unwrap();
    let handle = reactor.handle();
    handle.post(|cx| *cx.state += 1).unwrap();
    let second = |cx: &mut Cx<'_, i32>| {
        cx.after(Duration::ZERO, |cx| *cx.state += 1);
    };
    handle.post(second).unwrap();
    drop(handle);
    let mut count = 0;
    reactor.run(&mut count).unwrap();
    assert_eq!(count, 2);
}
