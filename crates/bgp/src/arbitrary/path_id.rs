//! Path identifiers, in a file of their own: routes use it, and the rest of `arbitrary` uses
//! routes.

use ::arbitrary::{Result, Unstructured};
use flowspec::PathId;

/// A path identifier that may be absent.
pub(crate) fn optional(u: &mut Unstructured<'_>) -> Result<Option<PathId>> {
    Ok(u.arbitrary::<Option<u32>>()?.map(PathId))
}
