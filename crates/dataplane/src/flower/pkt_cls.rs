//! The numbers of `linux/pkt_cls.h`, `linux/rtnetlink.h` and `linux/tc_act/` that are used here.

pub(super) const RTM_NEWLINK: u16 = 16;
pub(super) const RTM_DELLINK: u16 = 17;
pub(super) const RTM_NEWQDISC: u16 = 36;
pub(super) const RTM_DELQDISC: u16 = 37;
pub(super) const RTM_GETQDISC: u16 = 38;
pub(super) const RTM_NEWTFILTER: u16 = 44;
pub(super) const RTM_DELTFILTER: u16 = 45;
pub(super) const RTM_GETTFILTER: u16 = 46;
pub(super) const RTM_NEWACTION: u16 = 48;
pub(super) const RTM_DELACTION: u16 = 49;
pub(super) const RTM_GETACTION: u16 = 50;
pub(super) const RTM_NEWCHAIN: u16 = 100;
pub(super) const RTM_DELCHAIN: u16 = 101;
pub(super) const RTM_GETCHAIN: u16 = 102;

pub(super) const RTNLGRP_LINK: u32 = 1;
pub(super) const RTNLGRP_TC: u32 = 4;

/// Octets of `struct tcmsg`.
pub(super) const TCMSG: usize = 20;
/// In the place of an interface's number: the parent is a block's number.
pub(super) const TCM_IFINDEX_MAGIC_BLOCK: u32 = 0xffff_ffff;
/// Where clsact stands.
pub(super) const TC_H_CLSACT: u32 = 0xffff_fff1;
/// Filters of packets that go out, of a clsact.
pub(super) const TC_H_EGRESS: u32 = 0xffff_fff3;

pub(super) const TCA_KIND: u16 = 1;
pub(super) const TCA_OPTIONS: u16 = 2;
pub(super) const TCA_CHAIN: u16 = 11;
pub(super) const TCA_INGRESS_BLOCK: u16 = 13;

pub(super) const TCA_FLOWER_ACT: u16 = 3;
pub(super) const TCA_FLOWER_KEY_ETH_TYPE: u16 = 8;
pub(super) const TCA_FLOWER_KEY_IP_PROTO: u16 = 9;
pub(super) const TCA_FLOWER_KEY_IPV4_SRC: u16 = 10;
pub(super) const TCA_FLOWER_KEY_IPV4_SRC_MASK: u16 = 11;
pub(super) const TCA_FLOWER_KEY_IPV4_DST: u16 = 12;
pub(super) const TCA_FLOWER_KEY_IPV4_DST_MASK: u16 = 13;
pub(super) const TCA_FLOWER_KEY_IPV6_SRC: u16 = 14;
pub(super) const TCA_FLOWER_KEY_IPV6_SRC_MASK: u16 = 15;
pub(super) const TCA_FLOWER_KEY_IPV6_DST: u16 = 16;
pub(super) const TCA_FLOWER_KEY_IPV6_DST_MASK: u16 = 17;
pub(super) const TCA_FLOWER_KEY_TCP_SRC: u16 = 18;
pub(super) const TCA_FLOWER_KEY_TCP_DST: u16 = 19;
pub(super) const TCA_FLOWER_KEY_UDP_SRC: u16 = 20;
pub(super) const TCA_FLOWER_KEY_UDP_DST: u16 = 21;
pub(super) const TCA_FLOWER_FLAGS: u16 = 22;
pub(super) const TCA_FLOWER_KEY_VLAN_ETH_TYPE: u16 = 25;
pub(super) const TCA_FLOWER_KEY_TCP_SRC_MASK: u16 = 35;
pub(super) const TCA_FLOWER_KEY_TCP_DST_MASK: u16 = 36;
pub(super) const TCA_FLOWER_KEY_UDP_SRC_MASK: u16 = 37;
pub(super) const TCA_FLOWER_KEY_UDP_DST_MASK: u16 = 38;
pub(super) const TCA_FLOWER_KEY_FLAGS: u16 = 47;
pub(super) const TCA_FLOWER_KEY_FLAGS_MASK: u16 = 48;
pub(super) const TCA_FLOWER_KEY_ICMPV4_CODE: u16 = 49;
pub(super) const TCA_FLOWER_KEY_ICMPV4_CODE_MASK: u16 = 50;
pub(super) const TCA_FLOWER_KEY_ICMPV4_TYPE: u16 = 51;
pub(super) const TCA_FLOWER_KEY_ICMPV4_TYPE_MASK: u16 = 52;
pub(super) const TCA_FLOWER_KEY_ICMPV6_CODE: u16 = 53;
pub(super) const TCA_FLOWER_KEY_ICMPV6_CODE_MASK: u16 = 54;
pub(super) const TCA_FLOWER_KEY_ICMPV6_TYPE: u16 = 55;
pub(super) const TCA_FLOWER_KEY_ICMPV6_TYPE_MASK: u16 = 56;
pub(super) const TCA_FLOWER_KEY_TCP_FLAGS: u16 = 71;
pub(super) const TCA_FLOWER_KEY_TCP_FLAGS_MASK: u16 = 72;
pub(super) const TCA_FLOWER_KEY_IP_TOS: u16 = 73;
pub(super) const TCA_FLOWER_KEY_IP_TOS_MASK: u16 = 74;
pub(super) const TCA_FLOWER_KEY_IP_TTL: u16 = 75;
pub(super) const TCA_FLOWER_KEY_IP_TTL_MASK: u16 = 76;
pub(super) const TCA_FLOWER_IN_HW_COUNT: u16 = 86;

pub(super) const TCA_FLOWER_KEY_FLAGS_IS_FRAGMENT: u32 = 1;
pub(super) const TCA_FLOWER_KEY_FLAGS_FRAG_IS_FIRST: u32 = 2;

pub(super) const TCA_CLS_FLAGS_SKIP_HW: u32 = 1;
pub(super) const TCA_CLS_FLAGS_SKIP_SW: u32 = 2;
pub(super) const TCA_CLS_FLAGS_IN_HW: u32 = 4;

pub(super) const ETH_P_IP: u16 = 0x0800;
pub(super) const ETH_P_IPV6: u16 = 0x86dd;
pub(super) const ETH_P_8021Q: u16 = 0x8100;
pub(super) const ETH_P_MPLS_UC: u16 = 0x8847;
pub(super) const ETH_P_8021AD: u16 = 0x88a8;

pub(super) const TCA_ACT_KIND: u16 = 1;
pub(super) const TCA_ACT_OPTIONS: u16 = 2;
pub(super) const TCA_ACT_STATS: u16 = 4;
pub(super) const TCA_ACT_COOKIE: u16 = 6;
/// In a request for all actions of a kind: the kind.
pub(super) const TCA_ACT_TAB: u16 = 1;

pub(super) const TC_ACT_OK: u32 = 0;
pub(super) const TC_ACT_SHOT: u32 = 2;
pub(super) const TC_ACT_PIPE: u32 = 3;
pub(super) const TC_ACT_GOTO_CHAIN: u32 = 0x2000_0000;
pub(super) const TC_ACT_EXT_VAL_MASK: u32 = 0x0fff_ffff;

pub(super) const TCA_GACT_PARMS: u16 = 2;
pub(super) const TCA_GACT_PROB: u16 = 3;

pub(super) const TCA_POLICE_TBF: u16 = 1;
pub(super) const TCA_POLICE_RATE: u16 = 2;
pub(super) const TCA_POLICE_RESULT: u16 = 5;
pub(super) const TCA_POLICE_RATE64: u16 = 8;
pub(super) const TCA_POLICE_PKTRATE64: u16 = 10;
pub(super) const TCA_POLICE_PKTBURST64: u16 = 11;
/// Octets of the table of rates, which the kernel wants and does not read.
pub(super) const TC_RTAB_SIZE: usize = 1024;

pub(super) const TCA_SAMPLE_PARMS: u16 = 2;
pub(super) const TCA_SAMPLE_RATE: u16 = 3;
pub(super) const TCA_SAMPLE_TRUNC_SIZE: u16 = 4;
pub(super) const TCA_SAMPLE_PSAMPLE_GROUP: u16 = 5;

pub(super) const TCA_PEDIT_PARMS_EX: u16 = 4;
pub(super) const TCA_PEDIT_KEYS_EX: u16 = 5;
pub(super) const TCA_PEDIT_KEY_EX: u16 = 6;
pub(super) const TCA_PEDIT_KEY_EX_HTYPE: u16 = 1;
pub(super) const TCA_PEDIT_KEY_EX_CMD: u16 = 2;
pub(super) const TCA_PEDIT_KEY_EX_HDR_TYPE_IP4: u16 = 2;
pub(super) const TCA_PEDIT_KEY_EX_HDR_TYPE_IP6: u16 = 3;

pub(super) const TCA_CSUM_PARMS: u16 = 1;
pub(super) const TCA_CSUM_UPDATE_FLAG_IPV4HDR: u32 = 1;

pub(super) const TCA_STATS_BASIC: u16 = 1;
pub(super) const TCA_STATS_QUEUE: u16 = 3;
pub(super) const TCA_STATS_PKT64: u16 = 8;
