//! Rules of tools without sets, for comparison.

use std::fmt::Write;
use std::net::Ipv4Addr;

/// `count` rules without sets: each packet is compared with one after the other.
pub(crate) fn nft_rules(count: u32) -> String {
    let mut text = "table inet linear {\nchain prerouting {\ntype filter hook prerouting priority -450;\n".to_owned();
    for number in 0..count {
        let (host, port) = baseline(number);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "ip daddr {host} udp sport {port} counter drop");
    }
    text + "}\n}\n"
}

/// The same for iptables-restore, in the table that is evaluated first.
pub(crate) fn iptables_rules(count: u32) -> String {
    let mut text = "*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n".to_owned();
    for number in 0..count {
        let (host, port) = baseline(number);
        let _ = writeln!(text, "-A PREROUTING -d {host}/32 -p udp --sport {port} -j DROP");
    }
    text + "COMMIT\n"
}

/// Host and port of the most frequent kind of rule, two to a host as in the workload.
fn baseline(number: u32) -> (Ipv4Addr, u16) {
    (Ipv4Addr::from(0x0a00_0000 + number / 2 * 3), [123, 53, 389, 1900, 11211][number as usize % 5])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn baselines_are_of_the_size_they_say() {
        assert_eq!(nft_rules(10).matches("drop").count(), 10);
        assert_eq!(iptables_rules(10).matches("-j DROP").count(), 10);
    }
}
