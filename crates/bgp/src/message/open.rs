//! OPEN (RFC 4271 §4.2) with capabilities (RFC 5492), in short or extended parameter form (RFC
//! 9072).

use crate::attribute::AS_TRANS;
use crate::message::capability::Capability;
use crate::message::code::OpenSubcode;
use crate::message::notification::Notification;
use std::net::Ipv4Addr;

/// An OPEN message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub struct Open {
    /// The sender's AS number: that of the 4-octet AS capability where it is there, else of the
    /// fixed part.
    pub asn: u32,
    /// Hold time in seconds.
    pub hold_time: u16,
    /// BGP identifier.
    pub router_id: Ipv4Addr,
    /// All capabilities, in order.
    pub capabilities: Vec<Capability>,
}

const VERSION: u8 = 4;
/// Octets of the fixed part, after the header.
const FIXED: usize = 10;
const CAPABILITIES: u8 = 2;
/// Parameter type and length value that announce the extended form.
const EXTENDED: u8 = 255;

impl Open {
    /// Decodes the body, without header.
    ///
    /// # Errors
    /// The NOTIFICATION to answer with: version, AS number 0, identifier 0, hold time of 1 or 2
    /// seconds, parameters that do not add up. Whether the AS number is the expected one is not
    /// known here.
    pub fn decode(body: &[u8]) -> Result<Self, Notification> {
        let Some((&[version, as0, as1, hold0, hold1, id0, id1, id2, id3, parameters_len], rest)) =
            body.split_first_chunk::<FIXED>()
        else {
            return Err(Notification::new(OpenSubcode::Unspecific));
        };
        if version != VERSION {
            let highest = u16::from(VERSION).to_be_bytes();
            return Err(Notification::with_data(OpenSubcode::UnsupportedVersion, &highest));
        }
        let capabilities = decode_parameters(parameters_len, rest)?;
        let four_octet = capabilities.iter().find_map(|capability| match capability {
            Capability::FourOctetAs(asn) => Some(*asn),
            _ => None,
        });
        let asn = four_octet.unwrap_or(u32::from(u16::from_be_bytes([as0, as1])));
        if asn == 0 {
            return Err(Notification::new(OpenSubcode::BadPeerAs));
        }
        let router_id = Ipv4Addr::new(id0, id1, id2, id3);
        if router_id.is_unspecified() {
            return Err(Notification::new(OpenSubcode::BadIdentifier));
        }
        let hold_time = u16::from_be_bytes([hold0, hold1]);
        if matches!(hold_time, 1 | 2) {
            return Err(Notification::new(OpenSubcode::UnacceptableHoldTime));
        }
        Ok(Open { asn, hold_time, router_id, capabilities })
    }

    /// Whether the sender has 4-octet AS numbers.
    #[must_use]
    pub fn has_four_octet_as(&self) -> bool {
        self.capabilities.iter().any(|capability| matches!(capability, Capability::FourOctetAs(_)))
    }

    pub(crate) fn encode_body(&self, out: &mut Vec<u8>) {
        let asn = u16::try_from(self.asn).unwrap_or(AS_TRANS as u16);
        out.push(VERSION);
        out.extend_from_slice(&asn.to_be_bytes());
        out.extend_from_slice(&self.hold_time.to_be_bytes());
        out.extend_from_slice(&self.router_id.octets());
        let mut encoded = Vec::new();
        for capability in &self.capabilities {
            capability.encode_to(&mut encoded);
        }
        match encoded.len() {
            0 => out.push(0),
            len @ 1..=253 => out.extend_from_slice(&[len as u8 + 2, CAPABILITIES, len as u8]),
            len => {
                out.extend_from_slice(&[EXTENDED, EXTENDED]);
                out.extend_from_slice(&(len as u16 + 3).to_be_bytes());
                out.push(CAPABILITIES);
                out.extend_from_slice(&(len as u16).to_be_bytes());
            }
        }
        out.extend_from_slice(&encoded);
    }
}

/// Reads the optional parameters; only capabilities are known.
fn decode_parameters(len: u8, rest: &[u8]) -> Result<Vec<Capability>, Notification> {
    let malformed = || Notification::new(OpenSubcode::Unspecific);
    // The extended form shows itself by parameter type 255; the one-octet length before it should
    // be 255 but may be anything but 0.
    let (mut parameters, wide) = match rest {
        &[EXTENDED, a, b, ref parameters @ ..] if len != 0 => {
            if usize::from(u16::from_be_bytes([a, b])) != parameters.len() {
                return Err(malformed());
            }
            (parameters, true)
        }
        _ if usize::from(len) != rest.len() => return Err(malformed()),
        _ => (rest, false),
    };
    let mut capabilities = Vec::new();
    while !parameters.is_empty() {
        let (kind, len, value) = match (wide, parameters) {
            (false, &[kind, len, ref value @ ..]) => (kind, usize::from(len), value),
            (true, &[kind, a, b, ref value @ ..]) => (kind, usize::from(u16::from_be_bytes([a, b])), value),
            _ => return Err(malformed()),
        };
        let (value, after) = value.split_at_checked(len).ok_or_else(malformed)?;
        if kind != CAPABILITIES {
            return Err(Notification::new(OpenSubcode::UnsupportedParameter));
        }
        decode_capabilities(value, &mut capabilities).ok_or_else(malformed)?;
        parameters = after;
    }
    Ok(capabilities)
}

fn decode_capabilities(mut value: &[u8], out: &mut Vec<Capability>) -> Option<()> {
    while let Some((&code, rest)) = value.split_first() {
        let (&len, rest) = rest.split_first()?;
        let (octets, rest) = rest.split_at_checked(usize::from(len))?;
        out.push(Capability::decode(code, octets));
        value = rest;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(parameters: &[u8]) -> Vec<u8> {
        let mut body = vec![4, 0xfd, 0xe9, 0, 90, 192, 0, 2, 1];
        body.extend_from_slice(parameters);
        body
    }

    #[test]
    fn both_parameter_forms_say_the_same() {
        let short = open(&[4, 2, 2, 2, 0]);
        let extended = open(&[255, 255, 0, 5, 2, 0, 2, 2, 0]);
        let expected = Open {
            asn: 65001,
            hold_time: 90,
            router_id: Ipv4Addr::new(192, 0, 2, 1),
            capabilities: vec![Capability::RouteRefresh],
        };
        assert_eq!(Open::decode(&short), Ok(expected.clone()));
        assert_eq!(Open::decode(&extended), Ok(expected.clone()));
        let mut encoded = Vec::new();
        expected.encode_body(&mut encoded);
        assert_eq!(encoded, short);
    }

    #[test]
    fn many_capabilities_need_the_extended_form() {
        let capabilities = vec![Capability::Unknown { code: 200, value: vec![7; 200] }; 3];
        let big = Open { asn: 4_200_000_000, hold_time: 0, router_id: Ipv4Addr::new(1, 1, 1, 1), capabilities };
        let mut encoded = Vec::new();
        big.encode_body(&mut encoded);
        assert_eq!(encoded[9..11], [255, 255]);
        let decoded = Open::decode(&encoded).unwrap();
        assert_eq!(decoded.capabilities, big.capabilities);
        // Without the 4-octet AS capability only AS_TRANS can be sent.
        assert_eq!(decoded.asn, AS_TRANS);
    }

    #[test]
    fn each_fault_has_its_subcode() {
        let mut version = open(&[0]);
        version[0] = 3;
        let mut zero_as = open(&[0]);
        zero_as[1..3].fill(0);
        let mut zero_id = open(&[0]);
        zero_id[5..9].fill(0);
        let mut hold = open(&[0]);
        hold[4] = 2;
        let table = [
            (version, OpenSubcode::UnsupportedVersion),
            (zero_as, OpenSubcode::BadPeerAs),
            (open(&[8, 2, 6, 65, 4, 0, 0, 0, 0]), OpenSubcode::BadPeerAs),
            (zero_id, OpenSubcode::BadIdentifier),
            (hold, OpenSubcode::UnacceptableHoldTime),
            (open(&[3, 1, 1, 0]), OpenSubcode::UnsupportedParameter),
            (open(&[5, 2, 2, 2, 0]), OpenSubcode::Unspecific),
            (open(&[4, 2, 2, 2, 9]), OpenSubcode::Unspecific),
            (open(&[3, 2, 1, 2]), OpenSubcode::Unspecific),
            (open(&[]), OpenSubcode::Unspecific),
        ];
        for (body, subcode) in table {
            assert_eq!(
                Open::decode(&body).unwrap_err(),
                {
                    let data: &[u8] = if subcode == OpenSubcode::UnsupportedVersion { &[0, 4] } else { &[] };
                    Notification::with_data(subcode, data)
                },
                "{body:?}"
            );
        }
    }
}
