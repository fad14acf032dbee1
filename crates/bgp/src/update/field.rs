//! One field of NLRIs in an UPDATE, iterated entry by entry: FlowSpec rules or prefixes.

use crate::afi_safi::AfiSafi;
use crate::route::{Destination, RouteKey};
use crate::update::error::{UpdateError, UpdateErrorKind};
use flowspec::{Disposition, NlriIter, PathId};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The NLRIs of an MP_REACH_NLRI, an MP_UNREACH_NLRI or one of the two IPv4 unicast fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NlriField<'a> {
    pub(crate) family: AfiSafi,
    pub(crate) next_hop: Option<IpAddr>,
    pub(crate) octets: &'a [u8],
    /// Where `octets` starts, counted from the start of the message.
    pub(crate) offset: usize,
}

/// One entry of a field.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) path_id: Option<PathId>,
    /// Path identifier, length and value.
    pub(crate) raw: &'a [u8],
    /// Where `raw` starts, counted from the start of the message.
    pub(crate) offset: usize,
    pub(crate) destination: Result<Destination, UpdateError>,
}

impl<'a> NlriField<'a> {
    /// Calls `visit` with each entry, in order. After lost framing there is no further one.
    pub(crate) fn walk(&self, add_path: bool, mut visit: impl FnMut(Entry<'a>)) {
        match self.family {
            AfiSafi::Flow(family) => {
                for entry in NlriIter::new(family, add_path, self.octets) {
                    let offset = self.offset + (entry.raw.as_ptr().addr() - self.octets.as_ptr().addr());
                    let destination = match entry.nlri {
                        Ok(nlri) => Ok(Destination::Flow(nlri.to_canonical())),
                        Err(error) => Err(UpdateError {
                            kind: UpdateErrorKind::Nlri { family: self.family, error },
                            offset: self.offset + error.offset,
                        }),
                    };
                    visit(Entry { path_id: entry.path_id, raw: entry.raw, offset, destination });
                }
            }
            AfiSafi::Ipv4Unicast | AfiSafi::Ipv6Unicast => self.walk_prefixes(add_path, visit),
        }
    }

    fn walk_prefixes(&self, add_path: bool, mut visit: impl FnMut(Entry<'a>)) {
        let mut rest = self.octets;
        while !rest.is_empty() {
            let offset = self.offset + self.octets.len() - rest.len();
            match read_prefix(self.family, add_path, rest) {
                Some((path_id, net, len)) => {
                    let (raw, after) = rest.split_at(len);
                    visit(Entry { path_id, raw, offset, destination: Ok(Destination::Unicast(net)) });
                    rest = after;
                }
                None => {
                    let kind = UpdateErrorKind::Prefix { family: self.family };
                    visit(Entry { path_id: None, raw: rest, offset, destination: Err(UpdateError { kind, offset }) });
                    return;
                }
            }
        }
    }

    /// The routes; errors go to `errors`. `None` if the framing was lost, or worse: nothing of the
    /// field can be trusted then.
    pub(crate) fn routes(&self, add_path: bool, errors: &mut Vec<UpdateError>) -> Option<Vec<RouteKey>> {
        let mut routes = Vec::new();
        let mut framed = true;
        self.walk(add_path, |entry| match entry.destination {
            Ok(destination) => routes.push(RouteKey { destination, path_id: entry.path_id }),
            Err(error) => {
                framed &= error.disposition() <= Disposition::DropNlri;
                errors.push(error);
            }
        });
        framed.then_some(routes)
    }
}

/// Path identifier, prefix with host bits cleared, and octets taken.
fn read_prefix(family: AfiSafi, add_path: bool, octets: &[u8]) -> Option<(Option<PathId>, IpNet, usize)> {
    let (path_id, value) = if add_path {
        let (id, value) = octets.split_first_chunk::<4>()?;
        (Some(PathId(u32::from_be_bytes(*id))), value)
    } else {
        (None, octets)
    };
    let (&bits, value) = value.split_first()?;
    let len = usize::from(bits).div_ceil(8);
    let value = value.get(..len)?;
    let net = if family == AfiSafi::Ipv4Unicast {
        let mut address = [0u8; 4];
        address.get_mut(..len)?.copy_from_slice(value);
        IpNet::V4(Ipv4Net::new(Ipv4Addr::from(address), bits).ok()?)
    } else {
        let mut address = [0u8; 16];
        address.get_mut(..len)?.copy_from_slice(value);
        IpNet::V6(Ipv6Net::new(Ipv6Addr::from(address), bits).ok()?)
    };
    let taken = if add_path { 5 } else { 1 } + len;
    Some((path_id, net.trunc(), taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(family: AfiSafi, octets: &[u8]) -> NlriField<'_> {
        NlriField { family, next_hop: None, octets, offset: 100 }
    }

    #[test]
    fn prefixes_with_and_without_path() {
        let mut errors = Vec::new();
        let routes = field(AfiSafi::Ipv4Unicast, &[24, 192, 0, 2, 0, 9, 10, 255]).routes(false, &mut errors).unwrap();
        let shown: Vec<String> = routes.iter().map(|r| format!("{:?}", r.destination)).collect();
        assert_eq!(shown, ["Unicast(192.0.2.0/24)", "Unicast(0.0.0.0/0)", "Unicast(10.128.0.0/9)"]);
        let routes = field(AfiSafi::Ipv6Unicast, &[0, 0, 0, 7, 16, 0x20, 1]).routes(true, &mut errors).unwrap();
        assert_eq!(routes[0].path_id, Some(PathId(7)));
        assert!(errors.is_empty());
    }

    #[test]
    fn a_prefix_that_does_not_fit_ends_the_field() {
        for octets in [&[8, 10, 33, 1, 2, 3, 4, 5][..], &[8, 10, 24, 1]] {
            let mut errors = Vec::new();
            assert_eq!(field(AfiSafi::Ipv4Unicast, octets).routes(false, &mut errors), None);
            assert_eq!(errors[0].offset, 102);
            assert_eq!(errors[0].disposition(), Disposition::Notification { code: 3, subcode: 10 });
        }
    }
}
