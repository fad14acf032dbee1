//! Decodes an UPDATE: its routes, or the reaction to its errors. The most severe disposition
//! applies (RFC 7606 §3 h, §5.2).

use crate::afi_safi::{AfiSafi, FamilySet};
use crate::attribute::LocalSpeaker;
use crate::message::{Notification, UpdateSubcode};
use crate::update::announcement::{Announced, Update};
use crate::update::attributes::{Context, attribute_at, split_update};
use crate::update::cache::AttributeCache;
use crate::update::error::{UpdateError, UpdateErrorKind};
use crate::update::field::NlriField;

use flowspec::Disposition;

/// An UPDATE decoded.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    pub(crate) update: Update,
    pub(crate) end_of_rib: Option<AfiSafi>,
    /// Families whose framing was lost; nothing of them is in `update`.
    pub(crate) disabled: FamilySet,
}

/// Decodes the body of an UPDATE.
///
/// # Errors
/// The NOTIFICATION to close the session with, and all that was wrong.
pub(crate) fn decode(
    body: &[u8],
    context: &Context,
    speaker: &LocalSpeaker,
    cache: &mut AttributeCache,
) -> Result<Decoded, Box<(Notification, Vec<UpdateError>)>> {
    let mut parts = split_update(body, context);
    let mut decoded = Decoded { end_of_rib: parts.end_of_rib, ..Decoded::default() };
    let mut errors = std::mem::take(&mut parts.errors);
    let mut read = |field: &NlriField<'_>, errors: &mut Vec<UpdateError>| {
        let add_path = context.add_path.contains(field.family);
        let routes = field.routes(add_path, errors);
        if routes.is_none() {
            decoded.disabled.insert(field.family);
        }
        routes.unwrap_or_default()
    };
    let mut withdrawn = read(&parts.withdrawn, &mut errors);
    if let Some(field) = &parts.unreach {
        withdrawn.append(&mut read(field, &mut errors));
    }
    let reach = parts.reach.map(|field| (field, read(&field, &mut errors)));
    let legacy = read(&parts.announced, &mut errors);
    for error in &errors {
        if let UpdateErrorKind::NextHop { family, .. } = error.kind {
            decoded.disabled.insert(family);
        }
    }

    if let Some(notification) = notification(&errors, parts.reachable, body) {
        return Err(Box::new((notification, errors)));
    }
    let withdraw_all = errors.iter().any(|error| error.disposition() == Disposition::TreatAsWithdraw);
    let disabled = decoded.disabled;
    withdrawn.retain(|route| !disabled.contains(route.family()));
    let groups = reach.into_iter().chain([(parts.announced, legacy)]);
    let groups: Vec<_> =
        groups.filter(|(field, routes)| !routes.is_empty() && !disabled.contains(field.family)).collect();
    if withdraw_all {
        groups.into_iter().for_each(|(_, mut routes)| withdrawn.append(&mut routes));
    } else if !groups.is_empty() {
        let attributes = cache.share(parts.attributes);
        let route_loop = attributes.route_loop(speaker);
        let announced = |(field, routes): (NlriField<'_>, _)| Announced {
            family: field.family,
            next_hop: field.next_hop,
            attributes: attributes.clone(),
            route_loop,
            routes,
        };
        decoded.update.announced = groups.into_iter().map(announced).collect();
    }
    decoded.update.withdrawn = withdrawn;
    decoded.update.errors = errors;
    Ok(decoded)
}

/// The NOTIFICATION required by the errors, if any.
fn notification(errors: &[UpdateError], reachable: bool, body: &[u8]) -> Option<Notification> {
    let worst = errors.iter().max_by_key(|error| error.disposition())?;
    match worst.disposition() {
        Disposition::Notification { .. } => {}
        // Without an announced route, the damaged field may have contained it (RFC 7606 §5.2).
        Disposition::TreatAsWithdraw if !reachable => {}
        Disposition::TreatAsWithdraw
        | Disposition::DisableFamily
        | Disposition::DropNlri
        | Disposition::DiscardAttribute => return None,
    }
    let subcode = worst.kind.subcode();
    // The data required by RFC 4271 §6.3: the attribute, or the type of a missing one.
    let missing;
    let data = match (subcode, &worst.kind) {
        (UpdateSubcode::MissingAttribute, UpdateErrorKind::Missing(attribute)) => {
            missing = [*attribute];
            &missing
        }
        (
            UpdateSubcode::UnrecognizedAttribute
            | UpdateSubcode::AttributeFlags
            | UpdateSubcode::AttributeLength
            | UpdateSubcode::InvalidOrigin
            | UpdateSubcode::InvalidNextHop
            | UpdateSubcode::OptionalAttribute,
            _,
        ) => attribute_at(body, worst).unwrap_or_default(),
        _ => &[],
    };
    Some(Notification::with_data(subcode, data))
}
