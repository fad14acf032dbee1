/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What matching rules do to a packet: count, police, mark, sample, redirect, drop.
 */
#ifndef FLOODGATE_ACT_H
#define FLOODGATE_ACT_H

#include "maps.h"

/* Policers count time in 2^-8 ns, which is fine enough for 400 Gbit/s and wraps after two years. */
#define TICKS 8
#define BURST (10ULL * 1000 * 1000 << TICKS)	/* 10 ms: what a policer lets through at once, besides one packet */
#define COST_MAX (1ULL << 59)			/* about 26 days a packet */
#define ATTEMPTS 8

struct packet {
	struct xdp_md *ctx;
	struct key *key;
	__u32 ip;		/* where the IP header starts */
	__u32 ipv6;
};

static __always_inline void count(__u32 rule, __u64 octets, __u32 dropped)
{
	__u32 cpu = bpf_get_smp_processor_id() & counters_mask;
	struct counter *counter = at(&counters, cpu * counters_stride + rule);

	if (!counter)
		return;
	if (counters_shared) {
		__sync_fetch_and_add(&counter->packets, 1);
		__sync_fetch_and_add(&counter->bytes, octets);
		if (dropped)
			__sync_fetch_and_add(&counter->dropped, 1);
	} else {
		counter->packets++;
		counter->bytes += octets;
		counter->dropped += dropped;
	}
}

/* Whether a token bucket, kept as the time when it will be full again (GCRA), is within the burst; then takes `cost` from it. One word
 * shared by all CPUs and changed by compare-and-swap, so that a rule has one rate however many CPUs see its packets. */
static __always_inline int take(__u64 *full, __u64 now, __u64 cost)
{
	for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
		__u64 before = *(volatile __u64 *)full;
		__s64 ahead = before - now;
		__u64 after;

		/* More than ever was taken: the clock went round since this rule last saw a packet. */
		if (ahead > (__s64)(BURST + COST_MAX))
			ahead = 0;
		if (ahead > (__s64)BURST)
			return 0;
		after = (ahead > 0 ? before : now) + cost;
		if (__sync_val_compare_and_swap(full, before, after) == before)
			return 1;
	}
	/* So many CPUs at once: the rate is being used up by others. */
	return 0;
}

static __always_inline __u64 byte_cost(const struct rule *rule, __u32 octets)
{
	__u64 cost = (__u64)rule->byte_cost * octets;
	__s32 shift = rule->byte_shift;

	if (shift < 0)
		return (cost + (1ULL << ((-shift - 1) & 63))) >> (-shift & 63);
	if (shift > 40 || cost >> (59 - shift))
		return COST_MAX;
	return cost << shift;
}

/* Whether the rule's policers let the packet pass. */
static __noinline int conforms(struct rule *rule, __u32 octets)
{
	__u64 now = bpf_ktime_get_ns() << TICKS;

	/* The packets' policer is looked at first and charged last, so that a packet which it stops costs no bytes. */
	if (rule->flags & RULE_RATE_PACKETS) {
		__s64 ahead = *(volatile __u64 *)&rule->packet_full - now;

		if (ahead > (__s64)BURST && ahead <= (__s64)(BURST + COST_MAX))
			return 0;
	}
	if (rule->flags & RULE_RATE_BYTES && !take(&rule->byte_full, now, byte_cost(rule, octets)))
		return 0;
	if (rule->flags & RULE_RATE_PACKETS && !take(&rule->packet_full, now, rule->packet_cost))
		return 0;
	return 1;
}

static __noinline void take_sample(struct packet *packet, __u32 number)
{
	struct sample *sample = bpf_ringbuf_reserve(&samples, sizeof(*sample), 0);
	__u32 length = (__u32)((long)packet->ctx->data_end - (long)packet->ctx->data), captured = length;
	struct id *id = at(&ids, number);

	if (!sample) {
		count_event(STAT_SAMPLES_LOST);
		return;
	}
	if (captured > sizeof(sample->octets))
		captured = sizeof(sample->octets);
	sample->rule = id ? id->id : 0;
	sample->time = bpf_ktime_get_ns();
	sample->interface = packet->ctx->ingress_ifindex;
	sample->frame_length = length;
	sample->captured = captured;
	sample->unused = 0;
	if (captured < 14 || bpf_xdp_load_bytes(packet->ctx, 0, sample->octets, bounded(captured, sizeof(sample->octets))))
		sample->captured = 0;
	count_event(STAT_SAMPLES);
	bpf_ringbuf_submit(sample, 0);
}

/* Sets the DSCP; the checksum of an IPv4 header follows (RFC 1624). */
static __noinline void mark(struct packet *packet, __u32 dscp)
{
	void *data = (void *)(long)packet->ctx->data, *end = (void *)(long)packet->ctx->data_end;
	void *ip = data + (packet->ip & 0x3f);

	if (ip + 20 > end)
		return;
	if (packet->ipv6) {
		__u8 *octets = ip;

		/* The traffic class is the low nibble of the first octet and the high one of the second. */
		octets[0] = (octets[0] & 0xf0) | dscp >> 2;
		octets[1] = (octets[1] & 0x3f) | (dscp & 3) << 6;
	} else {
		__u16 *words = ip;
		__u16 before = words[0], after = (before & bpf_htons(0xff03)) | bpf_htons(dscp << 2);
		__u32 sum = (__u16)~words[5] + (__u32)(__u16)~before + after;

		sum = (sum & 0xffff) + (sum >> 16);
		sum = (sum & 0xffff) + (sum >> 16);
		words[0] = after;
		words[5] = ~sum;
	}
}

/* Whether the kernel can send there what came in here. */
static __always_inline int can_send(__u32 ingress, __u32 egress)
{
	__u32 *from = bpf_map_lookup_elem(&devices, &ingress), *to = bpf_map_lookup_elem(&devices, &egress);

	return to && *to & (from && *from & IS_GENERIC ? TAKES_ETHERNET : TAKES_XDP_FRAMES);
}

/* Sends the packet to the neighbour that the kernel's routes name for the target. Where they name none, or none that it can be sent to, it is
 * passed as it came. VLAN tags are taken off: where a network card takes them off, the program never sees them either. */
static __noinline int redirect(struct packet *packet, __u32 number)
{
	struct target *target = at(&targets, number);
	struct bpf_fib_lookup fib = {};
	__u32 ingress = packet->ctx->ingress_ifindex, tags = (packet->ip - 14) & 0xf;
	__u8 *data, *ip;

	if (!target)
		goto pass;
	fib.family = target->family;
	fib.ifindex = ingress;
	fib.tot_len = packet->key->length > 65535 ? 65535 : packet->key->length;
	__builtin_memcpy(fib.ipv6_dst, target->address, sizeof(fib.ipv6_dst));
	if (bpf_fib_lookup(packet->ctx, &fib, sizeof(fib), 0) != BPF_FIB_LKUP_RET_SUCCESS || !can_send(ingress, fib.ifindex))
		goto pass;
	/* A router's work: one hop less, and never a packet that has none left. */
	data = (void *)(long)packet->ctx->data;
	ip = data + 14 + tags;
	if ((void *)(ip + 20) > (void *)(long)packet->ctx->data_end || ip[packet->ipv6 ? 7 : 8] <= 1)
		goto pass;
	if (tags && bpf_xdp_adjust_head(packet->ctx, tags))
		goto pass;
	data = (void *)(long)packet->ctx->data;
	ip = data + 14;
	if ((void *)(ip + 20) > (void *)(long)packet->ctx->data_end)
		goto pass;
	if (packet->ipv6) {
		ip[7]--;
	} else {
		__u16 *words = (__u16 *)ip;
		__u32 sum;

		ip[8]--;
		sum = (__u32)words[5] + bpf_htons(0x0100);
		words[5] = (sum & 0xffff) + (sum >> 16);
	}
	__builtin_memcpy(data, fib.dmac, 6);
	__builtin_memcpy(data + 6, fib.smac, 6);
	*(__u16 *)(data + 12) = bpf_htons(packet->ipv6 ? 0x86dd : 0x0800);
	count_event(STAT_REDIRECTED);
	return bpf_redirect(fib.ifindex, 0);
pass:
	count_event(STAT_NOT_REDIRECTED);
	return XDP_PASS;
}

/* The effects of several rules together: discard over the policers over the rest, of which the first counts. */
struct total {
	struct packet *packet;
	__u32 dropped;
	__u32 mark;	/* DSCP plus 1 */
	__u32 target;	/* number plus 1 */
};

static __always_inline void act_of(struct total *total, __u32 number)
{
	struct rule *rule = at(&rules, number);
	__u32 flags, octets = total->packet->key->length, drop = 0;

	if (!rule)
		return;
	flags = rule->flags;
	if (flags & RULE_SAMPLE)
		take_sample(total->packet, number);
	if (flags & RULE_DISCARD)
		drop = 1;
	else if (flags & (RULE_RATE_BYTES | RULE_RATE_PACKETS) && !total->dropped)
		drop = !conforms(rule, octets);
	if (flags & RULE_MARK && !total->mark)
		total->mark = rule->dscp + 1;
	if (flags & RULE_REDIRECT && !total->target)
		total->target = rule->target + 1;
	count(number, octets, drop);
	total->dropped |= drop;
}

static __always_inline int verdict(struct total *total)
{
	if (total->dropped)
		return XDP_DROP;
	if (total->mark)
		mark(total->packet, total->mark - 1);
	if (total->target)
		return redirect(total->packet, total->target - 1);
	return XDP_PASS;
}

static long act_step(__u32 n, void *context)
{
	struct total *total = context;
	struct matches *m = at(&matches, 0);

	if (!m || n >= m->count || n >= MATCHES)
		return 1;
	act_of(total, m->rule[n]);
	return 0;
}

static __noinline int act_all(struct packet *packet, __u32 rules_matched)
{
	struct total total = { .packet = packet };

	bpf_loop(rules_matched, act_step, &total, 0);
	return verdict(&total);
}

static __noinline int act_one(struct packet *packet, __u32 number)
{
	struct total total = { .packet = packet };

	act_of(&total, number);
	return verdict(&total);
}

#endif
