/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What the program and the loader share: the memory layout. crates/dataplane/build.rs reads constants and structures from here and makes the
 * loader's of them, so they are written in what it understands: constant expressions, enums, structures of integers without padding.
 *
 * Every table is a memory-mapped array that the loader writes and the program reads while packets flow. How a packet sees one rule set
 * and never half of one is explained in classify.h.
 */
#ifndef FLOODGATE_LAYOUT_H
#define FLOODGATE_LAYOUT_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* ---- the key of a packet ----
 *
 * Two words hold every fact that a rule usually asks for. `k` has three lanes, each with a spare guard bit on top, so that one subtraction
 * compares all three with a lower bound and another with an upper bound:
 *
 *   bits  0-16  source port; or 0x10000 + ICMP type; or 0x1ffff when the packet has neither
 *   bits 18-34  destination port; or 0x10000 + ICMP code; or 0x1ffff
 *   bits 36-51  length of the IP packet, 65535 standing for all above
 *
 * `t` is compared under a mask. Low 32 bits:
 *
 *   bits  0-11  TCP flags          bit  12     TCP flags are there
 *   bits 13-16  fragment position, one bit each: whole, first, middle, last
 *   bit  17     don't fragment     bits 18-23  DSCP     bits 24-31  protocol
 *
 * High 32 bits: IPv4 the source address; IPv6 the flow label (20 bits), and bit 52 when the packet has no protocol.
 */
#define LANE_SOURCE 0
#define LANE_DESTINATION 18
#define LANE_LENGTH 36
#define LANE_BITS 53
#define PORT_ABSENT 0x1ffffULL
#define PORT_ICMP 0x10000ULL
#define GUARD ((1ULL << 17) | (1ULL << 35) | (1ULL << 52))

#define T_FLAGS_PRESENT 12
#define T_POSITION 13
#define T_DF 17
#define T_DSCP 18
#define T_PROTOCOL 24
#define T_LABEL 32
#define T_SOURCE 32
#define T_NO_PROTOCOL 52

struct key {
	__u64 k;
	__u64 t;
	__u64 source_hi, source_lo;		/* IPv6 */
	__u64 destination_hi, destination_lo;	/* IPv4: the low 32 bits of the second */
	__u64 after;				/* only rules behind this label; 0 = all */
	__u32 generation;
	__u32 length;				/* octets of the IP packet, header included */
	__u32 ipv6;
	__u32 discovery;			/* a message of neighbour discovery, which no rule touches */
};

/* ---- rules as the classifier sees them ----
 *
 * A list of records has places; a record takes one of them, or two.
 *
 * `lo` and `hi` are bounds for the lanes. Their top 11 bits together are the 22 bits of `meta`: the rule's number, whether the match
 * must be confirmed by an extra record, and whether the rule does nothing but drop. The guard bits of `hi` are free for notes.
 *
 * The source prefix of an IPv6 rule, which few have, is in the next place of the list: `lo` and `hi` match nothing, with the prefix's length
 * in `hi`, and its bits in the other two words.
 */
struct place {
	__u64 lo, hi;
	__u64 value, mask;
};
#define HI_SOURCE (1ULL << 52)	/* the next place has the source */

#define META_RULE 0xfffff
#define META_EXTRA (1U << 20)
#define META_DROP (1U << 21)
#define META_FOUND (1U << 31)

#define CHUNK 4		/* records that are read with one map look-up */
struct chunk { struct place place[CHUNK]; };

/* What a record cannot say: addresses under any mask, and lists of intervals. */
enum field {
	FIELD_SOURCE_PORT, FIELD_DESTINATION_PORT, FIELD_EITHER_PORT, FIELD_LENGTH, FIELD_PROTOCOL, FIELD_TCP_FLAGS, FIELD_DSCP,
	FIELD_FRAGMENT, FIELD_LABEL,
};
struct extra_list {
	__u32 start;		/* of the intervals, in `intervals` */
	__u16 count;
	__u16 field;
};
#define EXTRA_LISTS 9
struct extra {
	__u64 destination_value[2], destination_mask[2];
	__u64 source_value[2], source_mask[2];
	struct extra_list list[EXTRA_LISTS];
	__u32 count;
	__u32 unused[5];
};
struct interval { __u32 first, last; };

/* ---- where records are found ----
 *
 * A descriptor is one word, so that it changes with one store.
 */
#define D_PENDING (1ULL << 63)		/* bits 0-31: number in `pending` */
#define D_PRESENT (1ULL << 62)
#define D_NODE (1ULL << 61)		/* bits 0-21: a node's number */
#define D_INLINE (1ULL << 60)		/* the first places are in the slot, the others in chunks */
#define D_START(d) ((__u32)((d) & 0x3fffff))		/* first chunk */
#define D_COUNT(d) ((__u32)((d) >> 22) & 0xfff)		/* places */
#define D_PARENT(d) ((__u32)((d) >> 34) & 0xffffff)	/* slot of the next shorter prefix with rules, plus 1 */

/* The loader keeps every key this close to its place in the hash table. */
#define PROBES 32

/* Four lines of the cache, whose addresses follow from the hash alone: a packet waits for memory once. Place 7 of a longer list is left empty,
 * so that the rest begins with a chunk of its own. */
#define SLOT_RECORDS 7
#define SLOT_PLACES 8
struct slot {
	__u64 id;		/* 0 = never used: the search ends here */
	__u64 descriptor;	/* 0 = nothing */
	__u64 address[2];	/* of an IPv6 destination */
	struct place place[SLOT_RECORDS];
};
struct pending { __u64 before, after; };	/* for even and for odd generations */

/* A long list in parts: first by source prefix, longest first, which is RFC 8955's order; then the rules without source by tuples.
 * A tuple is a mask of the key, under which its records agree with the packets that they match. */
#define TUPLES 15
#define BY_SOURCE 15	/* in the place of a tuple's number */
struct tuple { __u64 k, t, source[2]; };
struct node {
	__u32 count;
	__u32 classes;		/* of source lengths that are there, one bit each */
	__u32 early;		/* a tuple's rule may stand before one with a source */
	__u32 unused[5];
	struct tuple tuple[TUPLES];
};
/* Nodes that are always there; others have the numbers from NODES_FIXED on. */
enum { NODE_PROTECTED4, NODE_PROTECTED6, NODE_WIDE4, NODE_WIDE6, NODES_FIXED };

/* Lengths that source prefixes are cut to, in steps of 2 and 8 bits, five bits each: the last of a class is the shortest that is in it. */
#define SOURCE_CLASSES4 10	/* 32 28 24 20 16 14 12 10 8 1 */
#define SOURCE_CLASSES6 9	/* 128 64 56 48 40 32 24 16 1 */

/* ---- what a rule does ---- */
#define RULE_DISCARD 1
#define RULE_CONTINUE 2
#define RULE_MARK 4
#define RULE_SAMPLE 8
#define RULE_REDIRECT 16
#define RULE_RATE_BYTES 32
#define RULE_RATE_PACKETS 64

struct rule {
	__u64 label[2];		/* place in the order, by parity of the generation */
	__u32 flags;
	__u32 extra;		/* number in `extras` */
	__u32 dscp;
	__u32 target;		/* number in `targets` */
	__u64 byte_full, packet_full;	/* policers: when the bucket will be full again, in 2^-8 ns of CLOCK_MONOTONIC */
	__u64 packet_cost;	/* 2^-8 ns */
	__u32 byte_cost;	/* 2^-8 ns, shifted left by byte_shift (right if negative) */
	__s32 byte_shift;
};
struct counter { __u64 packets, bytes, dropped, unused; };
/* The rule with this number, and what it counted under earlier ones; for the next run of the loader. */
struct id { __u64 id, packets, bytes, dropped; };
struct target {
	__u32 family;		/* AF_INET or AF_INET6 */
	__u32 address[4];	/* network order */
	__u32 unused[3];
};

enum statistic {
	STAT_NOT_IP, STAT_TRUNCATED, STAT_TAGS, STAT_EXTENSIONS, STAT_PROTECTED, STAT_RETRIED, STAT_GAVE_UP, STAT_CONTINUED_TOO_OFTEN,
	STAT_NOT_REDIRECTED, STAT_REDIRECTED, STAT_SAMPLES_LOST, STAT_SAMPLES,
	STATISTICS = 16,
};
struct statistics { __u64 count[STATISTICS]; };

struct sample {
	__u64 rule;		/* the rule's id */
	__u64 time;		/* CLOCK_MONOTONIC, ns */
	__u32 interface;
	__u32 frame_length;
	__u32 captured;
	__u32 unused;
	__u8 octets[128];
};

/* ---- the root ---- */
struct length6 { __u64 hi, lo; __u32 length, unused; };
#define GROUPS 8
struct view {
	/* Prefix lengths with rules, longest first, in groups: IPv4 32, 31-25, 24, 23-20, 19-16, 15-8, 7-0. Most groups of several lengths
	 * have a look-up of their own in the filter, by 24, 20, 16 and 8 bits. */
	__u32 groups4[GROUPS];
	/* IPv6 128, 127-65, 64, 63-49, 48, 47-33, 32, 31-0; by 64, 48 and 32 bits. */
	__u32 groups6[GROUPS];
	__u32 has_protected4, has_protected6;
	__u8 lengths4[GROUPS][8];
	struct length6 lengths6[GROUPS][63];
};
struct control {
	__u32 generation;	/* of the rule set in force; odd while a change is being finished */
	__u32 floor;		/* packets that began with an older generation start again */
	__u32 unused[14];
	struct view view[2];	/* for even and for odd generations */
};

#define FILTER_BITS 21
#define FILTER_WORDS ((1 << FILTER_BITS) / 64)
struct filter { __u64 word[FILTER_WORDS]; };

/* Rules that a packet passed through, and the one that ended its search. */
#define MATCHES 1024
struct matches {
	__u32 count;
	__u32 rule[MATCHES];
};

#endif
