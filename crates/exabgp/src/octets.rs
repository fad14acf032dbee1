//! The octets of a message, which ExaBGP passes on if its configuration has `packets;
//! consolidate;`. They are the message itself, without the omissions of ExaBGP's JSON, so they are
//! used instead of it.

use crate::error::ParseError;
use bgp::{AfiSafi, Announced, DecodeOptions, DecodedUpdate, RouteKey, Update, UpdateErrorKind, decode_update};
use flowspec::Disposition;
use std::sync::Arc;

/// The contents of an UPDATE.
#[derive(Debug, PartialEq)]
pub(crate) enum Octets {
    /// Routes, and parse errors.
    Update(Update, Vec<ParseError>),
    /// All routes of a family were sent.
    EndOfRib(AfiSafi),
}

/// Parses header and body, each `0x` and hex digits.
pub(crate) fn read(header: &str, body: &str) -> Result<Octets, ParseError> {
    let mut message = hex(header).ok_or_else(|| ParseError::new("no octets in hex").within("header"))?;
    message.extend(hex(body).ok_or_else(|| ParseError::new("no octets in hex").within("body"))?);
    let decoded = decode_update(&message, &DecodeOptions::default())
        .map_err(|error| ParseError::new(error.to_string()).within("body"))?;
    if let Some(family) = decoded.end_of_rib {
        return Ok(Octets::EndOfRib(family));
    }
    Ok(update(decoded))
}

/// As our own sessions handle the same message (RFC 7606): one malformed NLRI is left out;
/// malformed attributes are treat-as-withdraw.
fn update(decoded: DecodedUpdate) -> Octets {
    let DecodedUpdate { nlris, attributes, errors, .. } = decoded;
    let misread = errors.iter().map(|error| ParseError::new(error.to_string()).within("body")).collect();
    let of_nlri =
        |kind: &UpdateErrorKind| matches!(kind, UpdateErrorKind::Nlri { .. } | UpdateErrorKind::Prefix { .. });
    let withdraw = errors.iter().any(|e| !of_nlri(&e.kind) && e.disposition() >= Disposition::TreatAsWithdraw);
    let mut update = Update::default();
    // The framing of its NLRIs was lost: none of it can be trusted.
    if errors.iter().any(|error| error.disposition() > Disposition::TreatAsWithdraw) {
        return Octets::Update(update, misread);
    }
    let attributes = Arc::new(attributes);
    for nlri in nlris {
        let Ok(destination) = nlri.destination else { continue };
        let route = RouteKey { destination, path_id: nlri.path_id };
        if !nlri.announced || withdraw {
            update.withdrawn.push(route);
            continue;
        }
        match update.announced.iter_mut().find(|group| (group.family, group.next_hop) == (nlri.family, nlri.next_hop)) {
            Some(group) => group.routes.push(route),
            None => update.announced.push(Announced {
                family: nlri.family,
                next_hop: nlri.next_hop,
                attributes: Arc::clone(&attributes),
                route_loop: None,
                routes: vec![route],
            }),
        }
    }
    Octets::Update(update, misread)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    flowspec::hex::decode(text.strip_prefix("0x")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bgp::Destination;

    /// As ExaBGP 4.2.21 wrote it, for a rule with an offset that it cannot parse itself.
    const HEADER: &str = "0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF004702";
    const BODY: &str =
        "0x000000304001010040020602010000FE2EC010088006000000000000800E1500028500000F01200020010DB8026840123456789A";

    fn routes(octets: &Octets) -> (Vec<String>, Vec<String>, usize) {
        let Octets::Update(update, misread) = octets else { panic!("{octets:?}") };
        let text = |route: &RouteKey| match &route.destination {
            Destination::Flow(nlri) => nlri.to_string(),
            Destination::Unicast(net) => net.to_string(),
        };
        let announced = update.announced.iter().flat_map(|group| &group.routes).map(text);
        (update.withdrawn.iter().map(text).collect(), announced.collect(), misread.len())
    }

    #[test]
    fn offsets_and_widths_are_exact() {
        let rule = "dst 2001:db8::/32 src ::1234:5678:9a00:0/64-104".to_owned();
        assert_eq!(routes(&read(HEADER, BODY).unwrap()), (vec![], vec![rule], 0));
        let eor = read("0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF001E02", "0x00000007900F0003000285").unwrap();
        assert_eq!(eor, Octets::EndOfRib(AfiSafi::Flow(flowspec::Family::Ipv6)));
    }

    #[test]
    fn what_is_wrong_is_treated_as_in_our_own_sessions() {
        // The rate is NaN: the rule is withdrawn.
        let nan = BODY.replace("8006000000000000", "800600007FC00000");
        let (withdrawn, announced, misread) = routes(&read(HEADER, &nan).unwrap());
        assert_eq!((withdrawn.len(), announced.len(), misread), (1, 0, 1));
        // The prefix is longer than possible: the rule is left out.
        let long = BODY.replace("0120002001", "01FF002001");
        let (withdrawn, announced, misread) = routes(&read(HEADER, &long).unwrap());
        assert_eq!((withdrawn.len(), announced.len(), misread), (0, 0, 1));
        for (header, body) in
            [("0x", BODY), (HEADER, "0x00"), (HEADER, "0x0"), (HEADER, "00"), ("", ""), (HEADER, "0xGG")]
        {
            assert!(read(header, body).is_err(), "{header} {body}");
        }
    }
}
