//! Looks up where redirected packets would go, with the same kernel function that the program uses
//! for packets (`bpf/route.h`).

use super::effect::address_words;
use super::memory::{Plain, Table};
use super::{program, sys};
use crate::DataplaneError;
use aya::Ebpf;
use aya::programs::SchedClassifier;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::AsFd;

/// Lookups in one run.
const QUERIES: u32 = 1024;

include!(concat!(env!("OUT_DIR"), "/route.rs"));

/// The result of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RouteLookup {
    /// A neighbour to send to.
    To {
        /// The egress interface.
        egress: u32,
        /// The neighbour.
        next: IpAddr,
        /// Whether its hardware address is known now.
        resolved: bool,
    },
    /// No neighbour; `BPF_FIB_LKUP_RET_...`, or a negative error number.
    None(i32),
}

impl RouteLookup {
    /// Why a packet received on `ingress` cannot reach `target`.
    pub(super) fn unreachable_reason(outcome: i32, ingress: &str, target: IpAddr) -> String {
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

/// The program for lookups.
#[derive(Debug)]
pub(super) struct Routes {
    queries: Table<Query>,
}

impl Routes {
    /// Loads it, from the object with the tables.
    pub(super) fn load(ebpf: &mut Ebpf) -> Result<Self, DataplaneError> {
        let queries = program::table(ebpf, "queries", QUERIES)?;
        classifier(ebpf)?.load().map_err(|error| program::unavailable("the program ask", &error))?;
        Ok(Routes { queries })
    }

    /// One result for each pair of ingress interface and target.
    pub(super) fn ask(&self, ebpf: &mut Ebpf, questions: &[(u32, IpAddr)]) -> Result<Vec<RouteLookup>, DataplaneError> {
        let program = classifier(ebpf)?;
        let fd = program.fd().map_err(|error| program::refused("ask for routes", &error))?;
        let mut lookups = Vec::with_capacity(questions.len());
        for questions in questions.chunks(QUERIES as usize - 1) {
            for (n, &(ingress, target)) in questions.iter().enumerate() {
                let (family, address) = address_words(target);
                self.queries.write(n, Query { family, ingress, address, ..Query::ZERO });
            }
            self.queries.write(questions.len(), Query::ZERO);
            sys::run_once(fd.as_fd())
                .map_err(|source| DataplaneError::Io { context: "ask the kernel for routes".into(), source })?;
            lookups.extend((0..questions.len()).map(|n| parse_answer(&self.queries.read(n))));
        }
        Ok(lookups)
    }

    /// Size of the table of lookups.
    pub(super) const fn size() -> (&'static str, u32) {
        ("queries", QUERIES)
    }
}

fn classifier(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier, DataplaneError> {
    let program =
        ebpf.program_mut("ask").ok_or_else(|| DataplaneError::Refused("the object has no program ask".into()))?;
    program.try_into().map_err(|error| program::refused("use the program that asks for routes", &error))
}

fn parse_answer(answer: &Query) -> RouteLookup {
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
            RouteLookup::To { egress: answer.egress, next, resolved: outcome == SUCCESS }
        }
        outcome => RouteLookup::None(outcome),
    }
}
