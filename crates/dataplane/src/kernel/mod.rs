//! What the back ends share: the desired state and its undo, rules that are wanted and not in
//! force, counters that outlive entries, priorities of entries, and values for each IP version.

mod counter_ledger;
mod desired;
mod per_version;
pub(crate) mod priority;
#[cfg(test)]
mod testing;
mod unenforced;

pub(crate) use counter_ledger::{CounterLedger, sum};
pub(crate) use desired::{DesiredState, Undo};
pub(crate) use per_version::{PerVersion, VERSIONS};
pub(crate) use unenforced::Unenforced;
