//! What reads the text of `POST /v1/inspect`: the program hands it over, as its commands read the
//! same.

use super::serve::ClientSession;
use api::{InspectRequest, Inspection};
use config::Dataplane;

/// Reads a text, with the back ends as they are configured, on behalf of who has this session.
pub type Inspector = fn(&InspectRequest, Option<ClientSession>, &Dataplane) -> Inspection;
