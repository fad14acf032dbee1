//! What back ends share: the desired state and how a change of it is undone, the rules that are wanted and not in force, numbers for entries of
//! a table, and values that there are two of, one for each IP version.

mod desired;
mod per_version;
pub(crate) mod priority;
mod unenforced;

pub(crate) use desired::{DesiredState, Undo};
pub(crate) use per_version::{PerVersion, VERSIONS};
pub(crate) use unenforced::Unenforced;
