//! The HTTP interface: on the Unix socket, and on TCP if configured.
//!
//! | | |
//! |---|---|
//! | `GET /`, `/page/FILE` | the page |
//! | `GET /healthz` | 200 while decisions are made and applied |
//! | `GET /metrics` | Prometheus |
//! | `GET /v1/status`, `/v1/peers` | one object, an array |
//! | `GET /v1/rules?filter=WORDS` | one object a line, in enforcement order |
//! | `GET /v1/rules/list?sort=ORDER&offset=N&limit=N` | a part of a sorted list |
//! | `GET /v1/rules/ID` | one rule |
//! | `GET /v1/history?count=N` | an array of events, oldest first |
//! | `GET /v1/incidents`, `/v1/incidents/NUMBER-OR-ID` | the history on disk: an array, latest first; one object |
//! | `GET /v1/rates?since=TIME` | what all rules matched, in buckets |
//! | `GET /v1/rules/at?time=TIME` | one object a line: the rules that were in force then |
//! | `GET /v1/events` | server-sent events |
//! | `GET /v1/samples` | server-sent events: sampled packets |
//! | `POST /v1/announce` | `{"rule":TEXT,"for":"10m"}` |
//! | `POST /v1/withdraw` | `{"rule":TEXT-OR-ID}` |
//! | `POST /v1/explain` | `{"packet":HEX-OR-WORDS}` |
//! | `POST /v1/inspect` | `{"text":RULES-OR-HEX}` |
//! | `POST /v1/pause` | nothing, or `{"for":"30m"}` |
//! | `POST /v1/resume`, `/v1/clear`, `/v1/reload` | no body |
//!
//! An error is `{"error":{"message":TEXT}}`.

mod authorize;
mod body;
mod explain;
mod failure;
mod guesses;
mod host_names;
mod incident_views;
mod incidents;
mod inspection;
mod inspector;
pub(crate) mod limits;
mod listen;
mod page;
mod routes;
mod rule_list;
mod serve;
mod state;
mod write_stall_timeout;

pub(crate) use inspection::INSPECTED_TEXT;
pub use inspector::Inspector;
pub(crate) use listen::{ApiListeners, ListenError};
pub(crate) use routes::{CHANGE_TIMEOUT, router};
pub(crate) use rule_list::LIST_LIMIT;
pub use serve::ClientSession;
pub(crate) use serve::GRACE;
pub(crate) use state::{ApiState, PublishedOverview};
