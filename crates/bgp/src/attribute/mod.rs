//! Path attributes: they apply to all routes that an UPDATE announces (RFC 4271 §5).

mod as_path;
mod path_attributes;
mod route_loop;

pub use as_path::{AS_TRANS, AsPath, AsPathError, Segment, SegmentKind};
pub use path_attributes::{Origin, PathAttributes, RawAttribute, StandardCommunity};
pub use route_loop::{LocalSpeaker, RouteLoop};
