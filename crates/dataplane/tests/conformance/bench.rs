//! What a back end provides for the conformance suite.

use anyhow::Result;
use dataplane::Dataplane;
use lab::Site;

/// What another program may do where `B` filters, and its name.
pub(crate) type Damage<B> = (&'static str, fn(&B) -> Result<()>);

/// The place where one back end filters, and what others can do to it there.
pub(crate) trait Bench: Sized + Sync + 'static {
    /// The back end's name in the configuration.
    const NAME: &'static str;

    /// A further run of the program tells which rules the one before left, and counts on.
    const KNOWS_EARLIER_RUNS: bool;

    /// What somebody else may do to what is in force. The health check must notice each.
    const DAMAGE: &'static [Damage<Self>] = &[];

    /// Makes the place; `None` after saying why it cannot be made on this machine.
    fn new() -> Result<Option<Self>>;

    /// The network around it; `None` where nothing is enforced, so that packets need not be looked
    /// at.
    fn site(&self) -> Option<&Site>;

    /// The back end as a run of the program makes it; it is called on a thread inside of the site's
    /// switch.
    fn open(&self) -> Result<Box<dyn Dataplane>>;

    /// A rule that the back end takes and then cannot put in force, and what has to be done before;
    /// it lets UDP from port 54 to the victim pass, which later rules drop. `None` where all that
    /// is taken can be put in force.
    fn refused_rule(&self) -> Result<Option<&'static str>> {
        Ok(None)
    }

    /// A back end that is nearly full; `None` where there is always room.
    fn nearly_full(&self) -> Result<Option<NearlyFull>> {
        Ok(None)
    }

    /// From now on changes fail as a whole, or do not any more. Which change it is that fails;
    /// `None` where none can.
    fn set_failing(&self, _failing: bool) -> Result<Option<Change>> {
        Ok(None)
    }

    /// What belongs to others and must stay as it is.
    fn of_others(&self) -> Result<String> {
        Ok(String::new())
    }
}

/// A back end that is full once its fillers, and two rules of one entry, are in force.
pub(crate) struct NearlyFull {
    pub plane: Box<dyn Dataplane>,
    /// Rules about the victim, UDP source ports 1000 to 59999.
    pub fillers: Vec<String>,
    /// A rule that accepts UDP from source port 60000 to the victim; there is no room for it.
    pub exemption: &'static str,
}

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Replace,
    Update,
}
