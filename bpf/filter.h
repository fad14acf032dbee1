/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A packet's way through: parse, classify on one snapshot of the rules, act.
 */
#ifndef FLOODGATE_FILTER_H
#define FLOODGATE_FILTER_H

#include "act.h"
#include "classify.h"
#include "parse.h"

#define RETRIES 16

/* Records what was decided, for the harness of the tests, which defines this before: the last rule with META_FOUND, or 0; how many rules are in
 * `matches`, or 0 when that one is the only one, or PROTECTED. */
#ifndef RECORD_DECISION
#define RECORD_DECISION(unread, found, matched) do { } while (0)
#endif

/* In the place of a number of matching rules: no rule touches this packet. One variable less on a stack that is nearly full. */
#define PROTECTED (~0U)

static __always_inline __u32 find(const struct key *key)
{
	return key->ipv6 ? find6(key) : find4(key);
}

struct match_search {
	struct key *key;
	__u32 found;
};

/* Adds the rule found last to the matches; looks for the next one when its T bit says that evaluation continues. */
static long next_match(__u32 n, void *context)
{
	struct match_search *search = context;
	struct matches *m = at(&matches, 0);
	struct rule *rule = at(&rules, search->found & META_RULE);
	__u32 next;

	if (!m || !rule || n >= MATCHES)
		return 1;
	m->rule[n] = search->found & META_RULE;
	m->count = n + 1;
	if (!(rule->flags & RULE_CONTINUE))
		return 1;
	if (n + 1 == MATCHES) {
		count_event(STAT_CONTINUED_TOO_OFTEN);
		return 1;
	}
	search->key->after = rule->label[search->key->generation & 1];
	next = find(search->key);
	if (!next)
		return 1;
	search->found = next;
	return 0;
}

static __always_inline __u32 collect_matches(struct key *key, __u32 found)
{
	struct match_search search = { .key = key, .found = found };
	struct matches *m = at(&matches, 0);

	if (!m)
		return 0;
	m->count = 0;
	bpf_loop(MATCHES, next_match, &search, 0);
	key->after = 0;
	return m->count;
}

#define DISCOVERY_FIRST 133
#define DISCOVERY_LAST 137

/* flowspec::Packet::is_neighbor_discovery, of an IPv6 packet that was parsed: ICMPv6 right behind the IP header with hop limit 255, type
 * 133 to 137, code 0. Without these messages IPv6 ends on the link, so no rule touches them. */
static __always_inline int is_neighbor_discovery(struct xdp_md *ctx, __u32 ip_at)
{
	const void *end = (const void *)(long)ctx->data_end, *ip = (const void *)(long)ctx->data + (ip_at & 0x3f);
	const __u8 *octets = ip;

	if (ip + 42 > end)
		return 0;
	return octets[6] == ICMPV6 && octets[7] == 255 && be16_at(ip + 4) >= 2 &&
	       octets[40] >= DISCOVERY_FIRST && octets[40] <= DISCOVERY_LAST && octets[41] == 0;
}

/* `packet` has its context; the rest is filled in here. */
static __always_inline int filter_packet(struct packet *packet, const int recording)
{
	struct key *key = at(&keys, 0);
	struct control *c = at(&control, 0);
	struct parsed parsed;
	__u32 found = 0, matched = 0;
	int ipv6;

	if (!c || !key)
		return XDP_PASS;
	packet->key = key;
	key->after = 0;
	parsed = parse(packet->ctx, key);
	if (parsed.outcome < 0) {
		if (recording)
			RECORD_DECISION(parsed.outcome, 0, 0);
		count_event((enum statistic)(-1 - parsed.outcome));
		return XDP_PASS;
	}
	ipv6 = parsed.outcome == 6;
	key->ipv6 = ipv6;
	packet->ip = parsed.ip;
	packet->ipv6 = ipv6;
	key->discovery = ipv6 && is_neighbor_discovery(packet->ctx, parsed.ip);

	for (int attempt = 0; ; attempt++) {
		key->generation = *(volatile __u32 *)&c->generation;
		order_loads();
		matched = 0;
		found = find(key);
		if (found) {
			if (key->discovery) {
				matched = PROTECTED;
			} else if ((ipv6 ? c->view[key->generation & 1].has_protected6 : c->view[key->generation & 1].has_protected4) &&
				   node_find(key, ipv6 ? NODE_PROTECTED6 : NODE_PROTECTED4)) {
				matched = PROTECTED;
			} else if (!(found & META_DROP)) {
				struct rule *rule = at(&rules, found & META_RULE);

				if (rule && rule->flags & RULE_CONTINUE)
					matched = collect_matches(key, found);
			}
		}
		order_loads();
		if ((__s32)(*(volatile __u32 *)&c->floor - key->generation) <= 0)
			break;
		count_event(STAT_RETRIED);
		if (attempt >= RETRIES) {
			/* The rules changed again and again while this one packet was looked at. */
			count_event(STAT_GAVE_UP);
			return XDP_PASS;
		}
	}
	if (recording)
		RECORD_DECISION(0, found, matched);
	if (!found)
		return XDP_PASS;
	if (matched == PROTECTED) {
		count_event(STAT_PROTECTED);
		return XDP_PASS;
	}
	if (found & META_DROP) {
		count(found & META_RULE, key->length, 1);
		return XDP_DROP;
	}
	if (matched)
		return act_all(packet, matched);
	return act_one(packet, found & META_RULE);
}

#endif
