//! May this peer ask for that, and what becomes of it? Every peer has a chain of statements, which its routes pass in order: what the
//! peer is allowed, which is statements in another form, and the statements of the operator's policies.

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
