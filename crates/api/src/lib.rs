//! The HTTP interface of the daemon, for server and clients: the objects of requests and answers,
//! hexadecimal, rules and packets as text, and a client.
//!
//! It depends on no other crate of the daemon but `flowspec`, so that programs that ask the daemon
//! need nothing else.

#![forbid(unsafe_code)]

#[cfg(feature = "client")]
pub mod client;
mod event;
pub mod explanation;
pub mod foreign;
pub mod hex;
mod human_duration;
mod incident;
mod inspection;
mod moment;
mod names;
mod or_unknown;
pub mod packet_text;
mod policy;
pub mod rule_text;
mod view;

pub use event::{Event, EventKind};
pub use human_duration::{HumanDuration, InvalidDuration};
pub use incident::{IncidentReport, IncidentView, RateBucketView, RuleAtView, StateChangeView};
pub use inspection::{BackendCost, HazardView, InspectRequest, InspectedAction, InspectedRule, Inspection};
pub use moment::{InvalidMoment, parse_moment, show_moment};
pub use names::{AddressFamily, AttachmentMode, Backend, DataplaneState, Mode, RuleState, SessionState, Verdict};
pub use or_unknown::{Named, OrUnknown};
pub use policy::{PolicyExplanation, PolicyOutcome, PolicyQuestion, PolicyStep, StatementResult};
pub use view::{
    AnnounceRequest, AttachmentView, Done, ErrorBody, ErrorMessage, ExplainRequest, Explanation, FallbackView,
    OriginView, PauseRequest, PeakView, PeerView, RateView, RuleList, RuleView, SampleView, StatusView, TrafficView,
    WithdrawRequest,
};
