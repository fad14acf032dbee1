//! The import policy: what a peer may announce, and how its rules are changed. Every peer has a
//! chain of statements, which are evaluated in order for its routes: its permissions in the form of
//! statements, and the statements of the operator's policies.

mod action_set;
mod blackhole;
mod chain;
mod permissions;
mod rejection;
mod statement;

pub use action_set::{ActionKind, ActionSet};
pub use blackhole::{Blackhole, Dropped, GuardedSource, Trigger};
pub use chain::{Evaluation, PolicyChain, Step};
pub use permissions::{ActionCommunities, FirstAs, ImportPolicy, InterfaceSets, OnExcess};
pub use rejection::PolicyRejection;
pub use statement::{ComponentSet, Condition, LengthRange, RateLimit, RouteCommunity, Statement, StatementName, Then};
