//! Where redirected packets would go, asked with the kernel call that the packets make themselves (`bpf/route.h`).

use super::effect::words_of;
use super::memory::{Plain, Table};
use super::{program, sys};
use crate::DataplaneError;
use aya::Ebpf;
use aya::programs::SchedClassifier;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::AsFd;

/// Questions in one run.
const QUERIES: u32 = 1024;

include!(concat!(env!("OUT_DIR"), "/route.rs"));

/// The kernel's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// There is a neighbour to send to.
    To {
        /// Where packets go out.
        egress: u32,
        /// The neighbour.
        next: IpAddr,
        /// Whether its hardware address is known just now.
        resolved: bool,
    },
    /// There is none; `BPF_FIB_LKUP_RET_...`, or a negative error number.
    None(i32),
}

impl Way {
    /// Why a packet that came in at `ingress` finds no way to `target`.
    pub(super) fn why_not(outcome: i32, ingress: &str, target: IpAddr) -> String {
        let family = if target.is_ipv4() { "ipv4" } else { "ipv6" };
        match outcome {
            1 => format!("the route from {ingress} to {target} is a blackhole"),
            2 => format!("the route from {ingress} to {target} is unreachable"),
            3 => format!("the route from {ingress} to {target} is prohibited"),
            4 => format!("there is no route from {ingress} to {target} over a neighbour"),
            5 => format!("{ingress} does not forward (sysctl net.{family}.conf.{ingress}.forwarding)"),
            6 => format!("the route from {ingress} to {target} is a tunnel, which XDP cannot send into"),
            8 => format!("the route from {ingress} to {target} takes only tiny packets"),
            9 => format!("{ingress} has no source address for {target}"),
            ..=0 => format!("the route to {target} cannot be asked: {}", io::Error::from_raw_os_error(-outcome)),
            _ => format!("the kernel has no way from {ingress} to {target} ({outcome})"),
        }
    }
}

/// The program that asks.
#[derive(Debug)]
pub(super) struct Routes {
    queries: Table<Query>,
}

impl Routes {
    /// Loads it, from the object that has the tables.
    pub(super) fn load(ebpf: &mut Ebpf) -> Result<Self, DataplaneError> {
        let queries = program::table(ebpf, "queries", QUERIES)?;
        classifier(ebpf)?.load().map_err(|error| program::unavailable("the program ask", &error))?;
        Ok(Routes { queries })
    }

    /// One answer for each question: the number of the interface where packets come in, and their target.
    pub(super) fn ask(&self, ebpf: &mut Ebpf, questions: &[(u32, IpAddr)]) -> Result<Vec<Way>, DataplaneError> {
        let program = classifier(ebpf)?;
        let fd = program.fd().map_err(|error| program::refused("ask for routes", &error))?;
        let mut ways = Vec::with_capacity(questions.len());
        for questions in questions.chunks(QUERIES as usize - 1) {
            for (n, &(ingress, target)) in questions.iter().enumerate() {
                let (family, address) = words_of(target);
                self.queries.write(n, Query { family, ingress, address, ..Query::ZERO });
            }
            self.queries.write(questions.len(), Query::ZERO);
            sys::run_once(fd.as_fd())
                .map_err(|source| DataplaneError::Io { context: "ask the kernel for routes".into(), source })?;
            ways.extend((0..questions.len()).map(|n| way(&self.queries.read(n))));
        }
        Ok(ways)
    }

    /// How many entries the table of questions has.
    pub(super) const fn size() -> (&'static str, u32) {
        ("queries", QUERIES)
    }
}

fn classifier(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier, DataplaneError> {
    let program =
        ebpf.program_mut("ask").ok_or_else(|| DataplaneError::Refused("the object has no program ask".into()))?;
    program.try_into().map_err(|error| program::refused("use the program that asks for routes", &error))
}

fn way(answer: &Query) -> Way {
    const SUCCESS: i32 = 0;
    const NO_NEIGHBOUR: i32 = 7;
    match answer.outcome {
        outcome @ (SUCCESS | NO_NEIGHBOUR) => {
            let mut octets = [0; 16];
            for (to, word) in octets.chunks_exact_mut(4).zip(answer.next) {
                to.copy_from_slice(&word.to_ne_bytes());
            }
            let next = if answer.next_family == libc::AF_INET as u32 {
                IpAddr::from([octets[0], octets[1], octets[2], octets[3]])
            } else {
                Ipv6Addr::from(octets).into()
            };
            Way::To { egress: answer.egress, next, resolved: outcome == SUCCESS }
        }
        outcome => Way::None(outcome),
    }
}
