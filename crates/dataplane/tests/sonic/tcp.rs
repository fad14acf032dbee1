//! Redis over TCP, as where Floodgate runs in a container.

use super::switch::{Bench, discards};
use anyhow::{Result, ensure};
use dataplane::sonic::{Address, Sonic};
use dataplane::{Dataplane, DataplaneError, Health};

#[test]
fn redis_over_tcp_is_as_good_and_comes_back() -> Result<()> {
    let Some(mut bench) = Bench::new(|_| {})? else { return Ok(()) };
    let port = bench.switch.listen(None)?;
    bench.settings.redis = Address::Tcp("127.0.0.1".to_owned(), port);
    bench.plane = Sonic::new(bench.settings.clone());
    let rules = discards(20);
    ensure!(bench.replace(&rules)?.failures.is_empty());
    bench.verify(20)?;
    bench.update(&[], &rules[..5])?;
    bench.verify(15)?;
    ensure!(bench.plane.health()? == Health::Intact);

    bench.switch.stop_redis()?;
    let gone = bench.plane.health();
    ensure!(matches!(gone, Err(DataplaneError::Unavailable(_))), "{gone:?}");
    bench.switch.start_redis()?;
    bench.switch.listen(Some(port))?;
    // It is empty now: what was there is missed, and written again.
    ensure!(matches!(bench.plane.health()?, Health::ExternalChange(_)));
    ensure!(bench.replace(&rules)?.failures.is_empty());
    bench.verify(20)
}

#[test]
fn nobody_at_the_port_is_reported_with_the_address() -> Result<()> {
    let Some(mut bench) = Bench::new(|_| {})? else { return Ok(()) };
    // A port that nobody listens on, for as long as it is ours.
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port();
    drop(taken);
    bench.settings.redis = Address::Tcp("127.0.0.1".to_owned(), port);
    bench.plane = Sonic::new(bench.settings.clone());
    let error = bench.replace(&discards(1)).expect_err("nobody answers").to_string();
    ensure!(error.contains(&format!("tcp:127.0.0.1:{port}")), "{error}");
    Ok(())
}
