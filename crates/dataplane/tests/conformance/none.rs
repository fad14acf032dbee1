//! The back end that enforces nothing: only what it reports is tested.

use super::bench::Bench;
use anyhow::Result;
use dataplane::{Dataplane, NoDataplane};
use lab::Site;

pub(crate) struct None;

impl Bench for None {
    const NAME: &'static str = "none";
    const KNOWS_EARLIER_RUNS: bool = false;

    fn new() -> Result<Option<Self>> {
        Ok(Some(None))
    }

    fn site(&self) -> Option<&Site> {
        Option::None
    }

    fn open(&self) -> Result<Box<dyn Dataplane>> {
        Ok(Box::new(NoDataplane::new()))
    }
}
