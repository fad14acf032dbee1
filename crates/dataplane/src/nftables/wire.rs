//! nf_tables messages as octets: a writer of batches and a reader of answers. The constants are in
//! `nf_tables.rs`.
//!
//! Numbers in attributes are in network byte order, headers in host byte order.

use super::nf_tables::*;
use crate::netlink::{
    Attributes, NLA_F_NESTED, NLM_F_ECHO, NLM_F_EXCL, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSGHDR,
};
use flowspec::IpVersion;

/// Most octets in one attribute: its length field has 16 bits, and its contents are aligned to 4.
pub(super) const MAX_ATTRIBUTE: usize = 0xfff8;

/// Octets of messages being written. Attributes nest by closures, so each nest is closed.
#[derive(Debug, Default)]
pub(super) struct Writer {
    octets: Vec<u8>,
    sequence: u32,
    family: u8,
    /// Where the last message begins that creates an object with a handle, and for which family.
    last_made: Option<(usize, u8)>,
    /// Octets of messages that the kernel sends back.
    echoed: usize,
    /// Some message changes something, whatever the kernel has.
    changes: bool,
}

impl Writer {
    pub(super) fn new() -> Self {
        Writer::default()
    }

    /// The table of the messages that follow.
    pub(super) fn table_of(&mut self, version: IpVersion) {
        self.family = family(version);
    }

    /// Opens a transaction; the kernel refuses it if its generation is no longer `generation`.
    pub(super) fn begin(&mut self, generation: u32) {
        self.raw(NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, 0, NFNL_SUBSYS_NFTABLES, |w| w.u32(NFNL_BATCH_GENID, generation));
    }

    /// Closes the transaction.
    pub(super) fn end(&mut self) {
        self.raw(NFNL_MSG_BATCH_END, NLM_F_REQUEST, 0, NFNL_SUBSYS_NFTABLES, |_| {});
    }

    /// One message; returns its sequence number.
    pub(super) fn message(&mut self, kind: u8, flags: u16, body: impl FnOnce(&mut Self)) -> u32 {
        if let msg::NEWCHAIN | msg::NEWRULE | msg::NEWSET | msg::NEWOBJ = kind {
            self.last_made = Some((self.octets.len(), self.family));
        }
        let changes = matches!(kind, msg::NEWRULE | msg::DELSETELEM | msg::DELSET | msg::DELCHAIN | msg::DELOBJ);
        self.changes |= changes || flags & NLM_F_EXCL != 0;
        self.raw(NFNL_SUBSYS_NFTABLES << 8 | u16::from(kind), flags | NLM_F_REQUEST, self.family, 0, body)
    }

    /// Asks the kernel to echo the last message about this table that creates an object with a
    /// handle, if there is one.
    pub(super) fn echo_last(&mut self) {
        let Some((at, _)) = self.last_made.filter(|(_, family)| *family == self.family) else { return };
        if let Some(flags) = self.octets.get_mut(at + 6..at + 8) {
            let asked = u16::from_ne_bytes([flags[0], flags[1]]) | NLM_F_ECHO;
            flags.copy_from_slice(&asked.to_ne_bytes());
        }
    }

    fn raw(&mut self, kind: u16, flags: u16, family: u8, resource: u16, body: impl FnOnce(&mut Self)) -> u32 {
        let start = self.octets.len();
        self.sequence += 1;
        self.octets.extend([0; 4]);
        self.octets.extend(kind.to_ne_bytes());
        self.octets.extend(flags.to_ne_bytes());
        self.octets.extend(self.sequence.to_ne_bytes());
        self.octets.extend([0; 4]);
        self.octets.extend([family, 0]);
        self.octets.extend(resource.to_be_bytes());
        body(self);
        let length = (self.octets.len() - start) as u32; // a batch is far below 4 GiB
        self.octets[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        if flags & NLM_F_ECHO != 0 {
            self.echoed += length as usize;
        }
        self.sequence
    }

    /// An attribute of raw octets.
    pub(super) fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.octets.extend((value.len() as u16 + 4).to_ne_bytes()); // values are below MAX_ATTRIBUTE
        self.octets.extend(kind.to_ne_bytes());
        self.octets.extend(value);
        self.octets.resize(self.octets.len().next_multiple_of(4), 0);
    }

    /// A NUL-terminated string.
    pub(super) fn str(&mut self, kind: u16, value: &str) {
        let at = self.octets.len();
        self.octets.extend((value.len() as u16 + 5).to_ne_bytes());
        self.octets.extend(kind.to_ne_bytes());
        self.octets.extend(value.as_bytes());
        self.octets.push(0);
        self.octets.resize(at + (value.len() + 5).next_multiple_of(4), 0);
    }

    pub(super) fn u32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, kind: u16, value: u64) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// An attribute that contains attributes.
    pub(super) fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        let start = self.octets.len();
        self.octets.extend([0; 2]);
        self.octets.extend((kind | NLA_F_NESTED).to_ne_bytes());
        body(self);
        let length = (self.octets.len() - start) as u16; // callers keep it below MAX_ATTRIBUTE
        self.octets[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    /// A message of this batch as text, with the kernel's error.
    pub(super) fn describe(&self, sequence: u32, words: Option<String>) -> String {
        let mut rest = self.as_bytes();
        let mut what = "the transaction".to_owned();
        while let Some(&[l0, l1, l2, l3, kind, _, _, _, s0, s1, s2, s3]) = rest.first_chunk() {
            let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
            let Some((message, behind)) = rest.split_at_checked(length) else { break };
            if u32::from_ne_bytes([s0, s1, s2, s3]) == sequence {
                let attributes = Attributes(message.get(NLMSGHDR + NFGENMSG..).unwrap_or_default());
                // In messages about rules and elements it is the second attribute, in those about
                // chains the third.
                let names = [NFTA_RULE_CHAIN, NFTA_CHAIN_NAME]
                    .map(|kind| attributes.str(kind).filter(|name| name.starts_with('g')));
                let name = names.into_iter().flatten().next().unwrap_or_default();
                what = format!("{} {name}", VERBS.get(usize::from(kind)).copied().unwrap_or("message"));
            }
            rest = behind;
        }
        match words {
            Some(words) => format!("{what}: {words}"),
            None => what,
        }
    }

    /// Whether a commit of it certainly changes the kernel's generation: a transaction that changes
    /// nothing does not.
    pub(super) const fn changes(&self) -> bool {
        self.changes
    }

    /// Octets of messages that the kernel sends back, approximately.
    pub(super) const fn echoed(&self) -> usize {
        self.echoed
    }

    /// Octets so far.
    pub(super) fn len(&self) -> usize {
        self.octets.len()
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.octets
    }
}

/// The number of a family of tables.
pub(super) const fn family(version: IpVersion) -> u8 {
    match version {
        IpVersion::V4 => NFPROTO_IPV4,
        IpVersion::V6 => NFPROTO_IPV6,
    }
}

/// The operations of [`nf_tables::msg`](super::nf_tables::msg), for people.
const VERBS: [&str; 21] = [
    "add table",
    "list table",
    "delete table",
    "add chain",
    "list chain",
    "delete chain",
    "add rule to",
    "list rule",
    "delete rules of",
    "add set",
    "list set",
    "delete set",
    "add elements to",
    "list elements of",
    "delete elements of",
    "",
    "",
    "",
    "add counter",
    "list counter",
    "delete counter",
];

/// One message of an answer.
#[derive(Debug)]
pub(super) enum Answer<'a> {
    /// An acknowledgement (0) or an error number, for the request with this sequence number; with
    /// the kernel's text if there is one.
    Status { sequence: u32, errno: i32, words: Option<String> },
    /// The end of a dump.
    Done,
    /// A message of the nf_tables subsystem: its type, and its attributes.
    Message { kind: u8, family: u8, attributes: Attributes<'a> },
}

/// Iterates over the messages of one datagram; stops at a truncated one.
#[derive(Debug)]
pub(super) struct Answers<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Answers<'a> {
    type Item = Answer<'a>;

    fn next(&mut self) -> Option<Answer<'a>> {
        let length = u32::from_ne_bytes(*self.0.first_chunk()?) as usize;
        let message = self.0.get(..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        let kind = u16::from_ne_bytes(message.get(4..6)?.try_into().ok()?);
        let flags = u16::from_ne_bytes(message.get(6..8)?.try_into().ok()?);
        let sequence = u32::from_ne_bytes(message.get(8..12)?.try_into().ok()?);
        let body = message.get(NLMSGHDR..)?;
        match kind {
            NLMSG_DONE => Some(Answer::Done),
            NLMSG_ERROR => {
                let errno = -i32::from_ne_bytes(*body.first_chunk()?);
                Some(Answer::Status { sequence, errno, words: extended_words(flags, body) })
            }
            _ => Some(Answer::Message {
                kind: kind as u8, // of the subsystem, without its number
                family: *body.first()?,
                attributes: Attributes(body.get(NFGENMSG..)?),
            }),
        }
    }
}

/// The text of an extended acknowledgement, after the echoed request.
fn extended_words(flags: u16, body: &[u8]) -> Option<String> {
    const CAPPED: u16 = 0x100;
    const TLVS: u16 = 0x200;
    const MESSAGE: u16 = 1;
    let echoed = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?) as usize;
    let at = 4 + if flags & CAPPED != 0 { NLMSGHDR } else { echoed.next_multiple_of(4) };
    let tlvs = Attributes((flags & TLVS != 0).then(|| body.get(at..)).flatten()?);
    tlvs.find(MESSAGE).map(text)
}

/// Numbers are in network byte order here.
impl Attributes<'_> {
    pub(super) fn u32(self, kind: u16) -> Option<u32> {
        self.find(kind)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub(super) fn u64(self, kind: u16) -> Option<u64> {
        self.find(kind)?.try_into().ok().map(u64::from_be_bytes)
    }

    pub(super) fn str(self, kind: u16) -> Option<String> {
        self.find(kind).map(text)
    }
}

fn text(octets: &[u8]) -> String {
    let end = octets.iter().position(|&octet| octet == 0).unwrap_or(octets.len());
    String::from_utf8_lossy(&octets[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::NLM_F_ACK;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::new();
        let sequence = writer.message(msg::NEWTABLE, NLM_F_ACK, |w| {
            w.str(1, "floodgate");
            w.nest(2, |w| w.u64(3, 7));
        });
        let mut answers = Answers(writer.as_bytes());
        let Some(Answer::Message { kind: msg::NEWTABLE, attributes, .. }) = answers.next() else {
            panic!("not a message")
        };
        assert_eq!((sequence, attributes.str(1).as_deref()), (1, Some("floodgate")));
        assert_eq!(attributes.inside(2).and_then(|inner| inner.u64(3)), Some(7));
        assert!(answers.next().is_none());
    }

    #[test]
    fn damaged_answers_end_the_walk() {
        let mut writer = Writer::new();
        writer.message(msg::NEWTABLE, 0, |w| w.str(1, "floodgate"));
        for length in 0..writer.len() {
            assert!(Answers(&writer.as_bytes()[..length]).next().is_none(), "{length}");
        }
    }
}
