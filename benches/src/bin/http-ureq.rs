//! Small GETs on ureq: `http-ureq URL COUNT LANES`. It blocks, so each lane is a thread; they share an agent.

use enjamb_benches::http_client::{Meter, asked};
use std::io;
use std::sync::Barrier;
use std::thread;
use ureq::Agent;

fn run_lane(agent: &Agent, url: &str, gets: usize) -> io::Result<usize> {
    let mut bytes = 0;
    for _ in 0..gets {
        let mut response = agent.get(url).call().map_err(ureq::Error::into_io)?;
        bytes += response.body_mut().read_to_vec().map_err(ureq::Error::into_io)?.len();
    }
    Ok(bytes)
}

fn main() -> io::Result<()> {
    let asked = asked()?;
    let config = Agent::config_builder()
        .max_idle_connections(asked.lanes)
        .max_idle_connections_per_host(asked.lanes)
        .build();
    let agent = Agent::new_with_config(config);
    // The measuring thread runs a single lane itself.
    if asked.lanes == 1 {
        run_lane(&agent, &asked.url, 1)?;
        let meter = Meter::start()?;
        return meter.stop(run_lane(&agent, &asked.url, asked.each)?);
    }
    let ready = Barrier::new(asked.lanes + 1);
    thread::scope(|scope| {
        let lane = || {
            let warm = run_lane(&agent, &asked.url, 1);
            ready.wait();
            warm.and_then(|_| run_lane(&agent, &asked.url, asked.each))
        };
        let lanes: Vec<_> = (0..asked.lanes).map(|_| scope.spawn(lane)).collect();
        ready.wait();
        let meter = Meter::start()?;
        let mut bytes = 0;
        for lane in lanes {
            bytes += lane.join().map_err(|_| io::Error::other("a lane panicked"))??;
        }
        meter.stop(bytes)
    })
}
