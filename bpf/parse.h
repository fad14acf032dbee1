/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Frame in, key out. Says of a packet exactly what flowspec::Packet says; what neither can read is passed.
 */
#ifndef FLOODGATE_PARSE_H
#define FLOODGATE_PARSE_H

#include "maps.h"

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define TCP 6
#define UDP 17
#define ICMP 1
#define ICMPV6 58
#define FRAGMENT 44
#define AUTHENTICATION 51

/* Outcomes of parse(): an IP version, or why there is no key. */
#define UNREAD(statistic) (-1 - (int)(statistic))

/* Extension headers that are read straight from the frame; more of them cost a call each. */
#define NEAR_HEADERS 6
#define FAR_HEADERS 1024

struct parsed {
	int outcome;
	__u32 ip;	/* where the IP header starts */
};

static __always_inline int is_tag(__u16 ethertype)
{
	return ethertype == 0x8100 || ethertype == 0x88a8 || ethertype == 0x9100;
}

static __always_inline __u64 be16_at(const void *at) { return bpf_ntohs(*(const __u16 *)at); }
static __always_inline __u64 be32_at(const void *at) { return bpf_ntohl(*(const __u32 *)at); }
static __always_inline __u64 be64_at(const void *at) { return bpf_be64_to_cpu(*(const __u64 *)at); }

#define PORTS_ABSENT (PORT_ABSENT << LANE_SOURCE | PORT_ABSENT << LANE_DESTINATION)

/* The lanes of the ports, and the TCP flags, from an upper-layer header of which `octets` are inside of the packet. */
static __always_inline __u64 upper(const void *header, const void *end, __u32 octets, __u32 protocol, __u32 icmp, __u64 *t)
{
	if (protocol == TCP || protocol == UDP) {
		__u64 k;

		if (octets < 4 || header + 4 > end)
			return PORTS_ABSENT;
		k = be16_at(header) << LANE_SOURCE | be16_at(header + 2) << LANE_DESTINATION;
		if (protocol == TCP && octets >= 14 && header + 14 <= end)
			*t |= (be16_at(header + 12) & 0xfff) | 1 << T_FLAGS_PRESENT;
		return k;
	}
	if (protocol == icmp && octets >= 2 && header + 2 <= end) {
		__u64 type = *(const __u8 *)header, code = *(const __u8 *)(header + 1);

		return (PORT_ICMP + type) << LANE_SOURCE | (PORT_ICMP + code) << LANE_DESTINATION;
	}
	return PORTS_ABSENT;
}

static __always_inline __u64 position(__u32 offset, __u32 more)
{
	return 1ULL << (T_POSITION + (offset ? (more ? 2 : 3) : (more ? 1 : 0)));
}

static __always_inline int parse4(struct key *key, const void *ip, const void *end)
{
	__u32 first, header, total, fragment, octets;
	__u64 t, lanes = PORTS_ABSENT;

	if (ip + 20 > end)
		return UNREAD(STAT_TRUNCATED);
	first = *(const __u8 *)ip;
	header = (first & 0x0f) * 4;
	total = be16_at(ip + 2);
	if (first >> 4 != 4 || header < 20 || total < header || ip + header > end)
		return UNREAD(STAT_TRUNCATED);
	octets = total - header;
	fragment = be16_at(ip + 6);
	t = be32_at(ip + 12) << 32 | (__u64)*(const __u8 *)(ip + 9) << T_PROTOCOL | (__u64)(*(const __u8 *)(ip + 1) >> 2) << T_DSCP |
	    (__u64)(fragment >> 14 & 1) << T_DF | position(fragment & 0x1fff, fragment & 0x2000);
	if (!(fragment & 0x1fff))
		lanes = upper(ip + header, end, octets, *(const __u8 *)(ip + 9), ICMP, &t);
	key->k = lanes | (__u64)total << LANE_LENGTH;
	key->t = t;
	key->destination_hi = 0;
	key->destination_lo = be32_at(ip + 16);
	key->length = total;
	return 4;
}

static __always_inline int is_extension(__u32 header)
{
	/* 0, 43, 44, 51 and 60; 135, 139 and 140. ESP (50) hides what follows, 253 and 254 have no known form. */
	if (header < 64)
		return 0x1008180000000001ULL >> header & 1;
	return header == 135 || header == 139 || header == 140;
}

/* The walk along a chain of extension headers. */
struct chain {
	struct xdp_md *ctx;
	__u32 ip;		/* where the IP header starts in the frame */
	__u32 at;		/* octets behind the IP header's start */
	__u32 end;		/* of the packet or the frame, whichever is first; from the IP header's start */
	__u32 next;		/* header type at `at` */
	__u32 fragment;		/* offset and more-fragments bit of the outermost fragment header */
	__u8 has_fragment;
	__u8 has_upper;		/* no fragment header says that the upper-layer header is elsewhere */
	__u8 state;		/* CHAIN_ */
};
enum { CHAIN_WALKS, CHAIN_ENDED, CHAIN_LEFT };

/* One header, given its first four octets. */
static __always_inline void step(struct chain *chain, const __u8 *header)
{
	__u32 octets, behind;

	if (!chain->has_upper) {
		chain->state = CHAIN_LEFT;
		return;
	}
	if (chain->next == FRAGMENT)
		octets = 8;
	else if (chain->next == AUTHENTICATION)
		octets = (header[1] + 2) * 4;
	else
		octets = (header[1] + 1) * 8;
	behind = chain->at + octets;
	if (behind > chain->end) {
		chain->state = CHAIN_LEFT;
		return;
	}
	if (chain->next == FRAGMENT) {
		__u32 word = be16_at(header + 2);

		chain->has_upper = word >> 3 == 0;
		if (!chain->has_fragment) {
			chain->fragment = word;
			chain->has_fragment = 1;
		}
	}
	chain->next = header[0];
	chain->at = behind;
	if (!is_extension(chain->next))
		chain->state = CHAIN_ENDED;
}

static long far_step(__u32 index, void *context)
{
	struct chain *chain = context;
	__u8 header[4];

	(void)index;
	if (chain->at + 4 > chain->end || bpf_xdp_load_bytes(chain->ctx, chain->ip + chain->at, header, 4)) {
		chain->state = CHAIN_LEFT;
		return 1;
	}
	step(chain, header);
	return chain->state != CHAIN_WALKS;
}

/* An IPv6 packet with extension headers: rare, and kept out of the way of the others. */
__noinline int walk(struct xdp_md *ctx, struct key *key, __u32 ip_at, __u32 length)
{
	const void *end = (const void *)(long)ctx->data_end, *ip = (const void *)(long)ctx->data + (ip_at & 0x3f);
	struct chain chain = { .ctx = ctx, .ip = ip_at, .at = 40, .has_upper = 1 };
	__u64 t = 0, lanes = PORTS_ABSENT;
	__u32 captured;

	if (!key || ip + 40 > end)
		return UNREAD(STAT_TRUNCATED);
	captured = end - ip;
	chain.end = length < captured ? length : captured;
	chain.next = *(const __u8 *)(ip + 6);
	for (int n = 0; n < NEAR_HEADERS; n++) {
		__u32 at = chain.at & 0x7fff;

		if (chain.at + 4 > chain.end || ip + at + 4 > end) {
			chain.state = CHAIN_LEFT;
			break;
		}
		step(&chain, ip + at);
		if (chain.state != CHAIN_WALKS)
			break;
	}
	if (chain.state == CHAIN_WALKS)
		bpf_loop(FAR_HEADERS, far_step, &chain, 0);
	if (chain.state == CHAIN_WALKS)
		return UNREAD(STAT_EXTENSIONS);
	if (chain.state == CHAIN_LEFT) {
		t = 1ULL << T_NO_PROTOCOL;
	} else {
		t = (__u64)(chain.next & 0xff) << T_PROTOCOL;
		if (chain.has_upper) {
			__u32 at = chain.at & 0xffff, octets = chain.end - chain.at;
			/* bpf_loop may have gone anywhere, so the octets are fetched rather than pointed at. */
			__u8 header[14] = {};

			if (octets >= 14)
				octets = bpf_xdp_load_bytes(ctx, ip_at + at, header, 14) ? 0 : 14;
			else if (octets >= 4)
				octets = bpf_xdp_load_bytes(ctx, ip_at + at, header, 4) ? 0 : 4;
			else if (octets >= 2)
				octets = bpf_xdp_load_bytes(ctx, ip_at + at, header, 2) ? 0 : 2;
			lanes = upper(header, header + sizeof(header), octets, chain.next, ICMPV6, &t);
		}
	}
	key->k = lanes;
	key->t = t | position(chain.fragment >> 3, chain.fragment & 1);
	return 6;
}

static __always_inline int parse6(struct xdp_md *ctx, struct key *key, const void *ip, const void *end, __u32 ip_at)
{
	__u32 word, length, next;
	__u64 lanes, t = 0;

	if (ip + 40 > end)
		return UNREAD(STAT_TRUNCATED);
	word = be32_at(ip);
	if (word >> 28 != 6)
		return UNREAD(STAT_TRUNCATED);
	length = be16_at(ip + 4) + 40;
	key->source_hi = be64_at(ip + 8);
	key->source_lo = be64_at(ip + 16);
	key->destination_hi = be64_at(ip + 24);
	key->destination_lo = be64_at(ip + 32);
	key->length = length;
	next = *(const __u8 *)(ip + 6);
	if (is_extension(next)) {
		int outcome = walk(ctx, key, ip_at, length);

		if (outcome != 6)
			return outcome;
		lanes = key->k;
		t = key->t;
	} else {
		lanes = upper(ip + 40, end, length - 40, next, ICMPV6, &t);
		t |= (__u64)next << T_PROTOCOL | 1ULL << T_POSITION;
	}
	key->t = t | (__u64)(word & 0xfffff) << T_LABEL | (__u64)(word >> 22 & 0x3f) << T_DSCP;
	key->k = lanes | (__u64)(length > 65535 ? 65535 : length) << LANE_LENGTH;
	return 6;
}

static __always_inline struct parsed parse(struct xdp_md *ctx, struct key *key)
{
	const void *data = (const void *)(long)ctx->data, *end = (const void *)(long)ctx->data_end;
	struct parsed parsed = { .ip = 14, .outcome = UNREAD(STAT_TRUNCATED) };
	__u16 ethertype;

	if (data + 14 > end)
		return parsed;
	ethertype = be16_at(data + 12);
	if (is_tag(ethertype)) {
		if (data + 18 > end)
			return parsed;
		parsed.ip = 18;
		ethertype = be16_at(data + 16);
		if (is_tag(ethertype)) {
			if (data + 22 > end)
				return parsed;
			parsed.ip = 22;
			ethertype = be16_at(data + 20);
			if (is_tag(ethertype)) {
				parsed.outcome = UNREAD(STAT_TAGS);
				return parsed;
			}
		}
	}
	if (ethertype == ETHERTYPE_IPV4)
		parsed.outcome = parse4(key, data + parsed.ip, end);
	else if (ethertype == ETHERTYPE_IPV6)
		parsed.outcome = parse6(ctx, key, data + parsed.ip, end, parsed.ip);
	else
		parsed.outcome = UNREAD(STAT_NOT_IP);
	return parsed;
}

#endif
