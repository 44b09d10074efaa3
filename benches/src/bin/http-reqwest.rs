//! Small GETs on reqwest, on tokio's current_thread runtime: `http-reqwest URL COUNT LANES`. Each lane is a task.

use enjamb_benches::http_client::{Meter, asked};
use reqwest::{Client, Url};
use std::io;
use tokio::task::JoinSet;

async fn run_lane(client: Client, url: Url, gets: usize) -> reqwest::Result<usize> {
    let mut bytes = 0;
    for _ in 0..gets {
        let response = client.get(url.clone()).send().await?.error_for_status()?;
        bytes += response.bytes().await?.len();
    }
    Ok(bytes)
}

async fn run_lanes(client: &Client, url: &Url, lanes: usize, each: usize) -> io::Result<usize> {
    let mut running = JoinSet::new();
    for _ in 0..lanes {
        running.spawn(run_lane(client.clone(), url.clone(), each));
    }
    let mut bytes = 0;
    while let Some(lane) = running.join_next().await {
        bytes += lane.map_err(io::Error::other)?.map_err(io::Error::other)?;
    }
    Ok(bytes)
}

async fn measure() -> io::Result<()> {
    let asked = asked()?;
    let url = asked.url.parse().map_err(io::Error::other)?;
    let client = Client::builder().no_proxy().build().map_err(io::Error::other)?;
    run_lanes(&client, &url, asked.lanes, 1).await?;
    let meter = Meter::start()?;
    meter.stop(run_lanes(&client, &url, asked.lanes, asked.each).await?)
}

fn main() -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure())
}
