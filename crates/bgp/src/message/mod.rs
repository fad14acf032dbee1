//! BGP messages: framing, and each message both ways (RFC 4271 §4, RFC 2918, RFC 7313, RFC 8654).

mod capability;
mod code;
mod framer;
mod notification;
mod open;
mod refresh;
mod size;
mod wire;

pub use capability::{AddPath, Capability, FamilyNumbers, GracefulRestart, LongLivedFamily, Role, UnknownRole};
pub use code::{
    CeaseSubcode, FsmSubcode, HeaderSubcode, MessageType, NotificationCode, OpenSubcode, RouteRefreshSubcode,
    UpdateSubcode,
};
pub use framer::{Frame, Framer};
pub use notification::Notification;
pub use open::Open;
pub use refresh::{RefreshKind, RouteRefresh};
pub use size::{HEADER_LEN, MAX_COMMUNICATION, MAX_EXTENDED_MESSAGE, MAX_MESSAGE};
pub use wire::Message;
pub(crate) use wire::{begin_message, end_message};
