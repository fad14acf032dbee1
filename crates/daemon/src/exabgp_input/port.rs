//! Finds the TCP port of ExaBGP's session: it has to be protected, and the JSON does not contain
//! it.

use exabgp::Neighbor;
use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The BGP port of the TCP connection between the neighbour's addresses, from the kernel's table:
/// the port of the side that listened. If there are several connections, those of our parent
/// process count.
pub(super) fn of_session(neighbor: &Neighbor) -> Option<u16> {
    let tables: Vec<String> =
        ["/proc/self/net/tcp", "/proc/self/net/tcp6"].iter().flat_map(fs::read_to_string).collect();
    let between = |connection: &Connection| {
        connection.remote == neighbor.peer && neighbor.local.is_none_or(|local| local == connection.local)
    };
    let connections: Vec<Connection> =
        tables.iter().flat_map(|table| table.lines()).filter_map(connection).filter(between).collect();
    let parents = sockets_of(std::os::unix::process::parent_id());
    let theirs: Vec<&Connection> =
        connections.iter().filter(|connection| parents.contains(&connection.inode)).collect();
    let candidates = if theirs.is_empty() { connections.iter().collect() } else { theirs };
    candidates.iter().map(|connection| connection.service()).min()
}

#[derive(Debug, PartialEq, Eq)]
struct Connection {
    local: IpAddr,
    remote: IpAddr,
    ports: (u16, u16),
    inode: u64,
}

impl Connection {
    /// The port that was listened on: 179 if one of them is, else the lower one. Ephemeral ports
    /// are high.
    fn service(&self) -> u16 {
        let (ours, theirs) = self.ports;
        if ours == config_port() || theirs == config_port() { config_port() } else { ours.min(theirs) }
    }
}

const fn config_port() -> u16 {
    config::BGP_PORT
}

/// A line of the kernel's table: `0: 0A7100CB:049B 017100CB:8F9A 01 ... inode ...`.
fn connection(line: &str) -> Option<Connection> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, local, remote, "01", ..] = fields.as_slice() else { return None };
    let ((local, ours), (remote, theirs)) = (end(local)?, end(remote)?);
    Some(Connection { local, remote, ports: (ours, theirs), inode: fields.get(9)?.parse().ok()? })
}

/// `ADDRESS:PORT` in hex; the address in 32-bit words, each in host byte order.
fn end(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let address = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let octets: [u8; 16] = words.concat().try_into().ok()?;
            IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()
        }
        _ => return None,
    };
    Some((address, u16::from_str_radix(port, 16).ok()?))
}

/// The sockets of a process; none if we may not read that.
fn sockets_of(process: u32) -> HashSet<u64> {
    let inode = |entry: fs::DirEntry| {
        let target = fs::read_link(entry.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten().filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn lines_of_the_kernels_table() {
        let v4 = "   1: 0271 0";
        assert_eq!(connection(v4), None);
        assert_eq!(
            connection(
                "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
            ),
            None
        );
        let line = "   3: 0100007F:049B 0200007F:8F9A 01 00000000:00000000 00:00000000 00000000     0        0 42 1 0 20 4 30 10 -1";
        let found = connection(line).unwrap();
        if cfg!(target_endian = "little") {
            assert_eq!(found.local, IpAddr::from([127, 0, 0, 1]));
            assert_eq!((found.ports, found.inode, found.service()), ((0x049b, 0x8f9a), 42, 0x049b));
        }
    }

    #[test]
    fn a_connection_that_is_there() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let other = stream.local_addr().unwrap().port();
        let found: Vec<Connection> =
            fs::read_to_string("/proc/self/net/tcp").unwrap().lines().filter_map(connection).collect();
        assert!(found.iter().any(|connection| connection.ports == (other, port)));
    }
}
