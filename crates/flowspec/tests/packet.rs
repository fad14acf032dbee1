//! Reading packets: what was drafted is what is read, and no octets whatever make it panic.

use flowspec::testing::{Draft, PacketShape, Seed, Shape, random_draft_for, random_rules};
use flowspec::{EXTENSION_HEADERS, IpVersion, Packet};

fn drafts(count: u64) -> impl Iterator<Item = (u64, Draft)> {
    (0..count).map(|number| {
        let mut seed = Seed::new(number);
        let version = if seed.percent(50) { IpVersion::V4 } else { IpVersion::V6 };
        let rules = random_rules(&mut seed, version, &Shape::everything(), 3);
        let draft =
            random_draft_for(&mut seed, version, rules.iter().map(|rule| &rule.nlri), &PacketShape::everything());
        (number, draft)
    })
}

#[test]
fn what_was_drafted_is_read() {
    let mut with = [0u32; 8];
    for (number, draft) in drafts(40_000) {
        let octets = draft.to_ip();
        let packet = Packet::from_ip(&octets).unwrap();
        let context = || format!("seed {number}: {draft:?}\n{packet:?}");
        assert_eq!((packet.source(), packet.destination()), (draft.source, draft.destination));
        assert_eq!(packet.length() as usize, octets.len(), "{}", context());
        assert_eq!(packet.dscp(), draft.dscp);
        assert_eq!((packet.fragment_offset(), packet.more_fragments()), (draft.fragment_offset, draft.more_fragments));
        let v6 = draft.source.is_ipv6();
        assert_eq!(packet.flow_label(), v6.then_some(draft.flow_label));
        assert_eq!(packet.dont_fragment(), !v6 && draft.dont_fragment);
        let hidden = v6 && draft.fragment_offset != 0 && !draft.inner_extensions.is_empty();
        assert_eq!(packet.protocol(), (!hidden).then_some(draft.protocol), "{}", context());
        let has = |protocols: &[u8], octets: u8| {
            protocols.contains(&draft.protocol)
                && draft.fragment_offset == 0
                && draft.truncate.is_none_or(|kept| kept >= octets)
        };
        assert_eq!(packet.source_port(), has(&[6, 17], 4).then_some(draft.source_port), "{}", context());
        assert_eq!(packet.destination_port(), has(&[6, 17], 4).then_some(draft.destination_port));
        assert_eq!(packet.tcp_flags(), has(&[6], 14).then_some(draft.tcp_flags), "{}", context());
        let icmp = has(&[if v6 { 58 } else { 1 }], 2);
        assert_eq!(packet.icmp_type(), icmp.then_some(draft.icmp_type), "{}", context());
        assert_eq!(packet.icmp_code(), icmp.then_some(draft.icmp_code));
        let facts = [
            hidden,
            packet.tcp_flags().is_some(),
            icmp,
            draft.fragment_offset != 0,
            v6 && !draft.extensions.is_empty(),
            !v6 && draft.option_words > 0,
            draft.truncate.is_some(),
            draft.atomic,
        ];
        with.iter_mut().zip(facts).for_each(|(count, fact)| *count += u32::from(fact));
    }
    assert!(with.iter().all(|&count| count > 100), "every kind of packet must come: {with:?}");
}

fn sum(octets: &[u8]) -> u16 {
    let words = octets.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
    words.fold(0, |sum, word| {
        let sum = u32::from(sum) + word;
        (sum as u16).wrapping_add((sum >> 16) as u16)
    })
}

#[test]
fn checksums_are_right() {
    let mut checked = 0;
    for (number, draft) in drafts(20_000) {
        let octets = draft.to_ip();
        let header = if draft.source.is_ipv4() { usize::from(octets[0] & 15) * 4 } else { 40 };
        if header < 40 || draft.source.is_ipv4() {
            assert_eq!(sum(&octets[..header]), 0xffff, "seed {number}");
        }
        if draft.truncate.is_some() || draft.fragment_offset != 0 || ![1, 6, 17, 58].contains(&draft.protocol) {
            continue;
        }
        let upper = if draft.source.is_ipv4() { header } else { header + extension_octets(&octets) };
        let upper = &octets[upper..];
        let addresses = if draft.source.is_ipv4() { &octets[12..20] } else { &octets[8..40] };
        let pseudo = [addresses, &(upper.len() as u32).to_be_bytes(), &[0, 0, 0, draft.protocol], upper].concat();
        assert_eq!(sum(if draft.protocol == 1 { upper } else { &pseudo }), 0xffff, "seed {number}: {draft:?}");
        checked += 1;
    }
    assert!(checked > 10_000, "{checked}");
}

/// Octets of extension headers, told by their own length octets.
fn extension_octets(packet: &[u8]) -> usize {
    let (mut next, mut at) = (packet[6], 40);
    while EXTENSION_HEADERS.contains(&next) {
        let length = usize::from(packet[at + 1]);
        let octets = if next == 44 {
            8
        } else if next == 51 {
            length * 4 + 8
        } else {
            length * 8 + 8
        };
        next = packet[at];
        at += octets;
    }
    at - 40
}

#[test]
fn no_octets_panic() {
    let mut read = 0;
    for (number, draft) in drafts(20_000) {
        let mut seed = Seed::new(number ^ 0xdead);
        let tags = vec![(0x8100, 5); seed.below(3) as usize];
        let mut frame = draft.to_ethernet(&tags);
        for _ in 0..seed.below(4) {
            let at = seed.below(frame.len().min(120) as u64) as usize;
            frame[at] = seed.next_u64() as u8;
        }
        frame.truncate(seed.within(0, frame.len() as u64) as usize);
        read += u32::from(Packet::from_ethernet(&frame).is_ok());
        let noise: Vec<u8> = (0..seed.below(100)).map(|_| seed.next_u64() as u8).collect();
        let _ = Packet::from_ip(&noise);
        let _ = Packet::from_ethernet(&noise);
    }
    assert!(read > 2_000, "{read}");
}

/// What is captured of a packet never tells something else than the whole: it only tells less.
#[test]
fn a_cut_capture_tells_less_but_nothing_else() {
    for (number, draft) in drafts(3_000) {
        let octets = draft.to_ip();
        let whole = Packet::from_ip(&octets).unwrap();
        for cut in 0..octets.len().min(150) {
            let Ok(part) = Packet::from_ip(&octets[..cut]) else { continue };
            assert!(part.protocol().is_none() || part.protocol() == whole.protocol(), "seed {number} cut {cut}");
            assert!(part.source_port().is_none() || part.source_port() == whole.source_port());
            assert!(part.tcp_flags().is_none() || part.tcp_flags() == whole.tcp_flags());
            assert!(part.icmp_type().is_none() || part.icmp_type() == whole.icmp_type());
            assert_eq!(part.length(), whole.length());
        }
    }
}
