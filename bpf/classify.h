/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Key in, first matching rule out.
 *
 * FlowSpec's order is: rules for a more specific destination first, rules without destination last. So the rules of each destination
 * prefix are a bucket in a hash table, with the bucket of the next shorter prefix as its parent, and walking bucket, parent, ...,
 * and at last the "wide" node, which has the rules without destination, is walking in order. Within a list the records stand in order.
 *
 * A long list is a node: its records are spread over tuples, which are masks of the key. What a packet looks up in a tuple's part of the
 * hash table is a short list that agrees with it under the mask. Parts are not ordered among each other: the rule with
 * the lowest label wins.
 *
 * Snapshots. The loader changes tables in a transaction. Generations in rest are even:
 *
 *   1. floor = generation: packets that began with an older one, and may still see what the last transaction left behind, start again
 *   2. new lists are written where nobody looks; descriptors to change become "pending", which is the old one for packets of an
 *      even generation and the new one for those of an odd one
 *   3. generation + 1, odd: packets that begin now see all that is new and nothing old
 *   4. floor + 1: packets that are still under way with the even generation start again
 *   5. descriptors become the new ones, and what only these packets could see is overwritten
 *   6. generation + 1, even again
 *
 * Nothing ever waits, and nothing is seen by half. Rules act only after the floor was looked at. (Loads are not reordered on x86;
 * see the manual for other machines.)
 */
#ifndef FLOODGATE_CLASSIFY_H
#define FLOODGATE_CLASSIFY_H

#include "maps.h"

/* The loader keeps every key this close to its place; nearly all are among the first. */
#define PROBES 32
#define NEAR_PROBES 4
#define NEAR_CHUNKS 8		/* of a list, before a loop with calls takes over */
#define FAR_CHUNKS 1024
#define DEPTH4 33
#define DEPTH6 129

/* A product's high bits depend on all of its factors' bits, the low ones only on low ones: so the octets are turned round. */
static __always_inline __u64 mix(__u64 x)
{
	x = (x ^ hash_seed) * 0x9e3779b97f4a7c15ULL;
	return x ^ __builtin_bswap64(x);
}

static __always_inline int filter_has(__u64 hash)
{
	struct filter *f = at(&filter, 0);
	__u32 bit = hash & ((1 << FILTER_BITS) - 1);

	return f && f->word[bit >> 6] >> (bit & 63) & 1;
}

static __always_inline __u64 resolve(__u64 descriptor, __u32 generation)
{
	if (descriptor & D_PENDING) {
		struct pending *p = at(&pending, (__u32)descriptor);

		if (!p)
			return 0;
		return generation & 1 ? p->after : p->before;
	}
	return descriptor;
}

/* ---- one record ---- */

static __always_inline int within(__u64 k, __u64 lo, __u64 hi)
{
	return !(~(((k | GUARD) - lo) & ((hi | GUARD) - k)) & GUARD);
}

static __always_inline __u32 meta(__u64 lo, __u64 hi)
{
	return META_FOUND | (__u32)(lo >> LANE_BITS) | (__u32)(hi >> LANE_BITS) << 11;
}

static __always_inline int has(const struct extra_list *list, __u32 value)
{
	__u32 low = list->start, count = list->count;

	/* The first interval that does not end before the value. */
	for (int n = 0; n < 16 && count; n++) {
		__u32 half = count / 2;
		struct interval *interval = at(&intervals, low + half);

		if (!interval)
			return 0;
		if (interval->last < value) {
			low += half + 1;
			count -= half + 1;
		} else if (interval->first <= value) {
			return 1;
		} else {
			count = half;
		}
	}
	return 0;
}

/* Whether the packet has a value in the list. */
static __always_inline int listed(const struct key *key, const struct extra_list *list, int ipv6)
{
	__u32 value;

	switch (list->field) {
	case FIELD_EITHER_PORT:
		if (has(list, key->k >> LANE_DESTINATION & PORT_ABSENT))
			return 1;
		/* fall through */
	case FIELD_SOURCE_PORT:
		value = key->k >> LANE_SOURCE & PORT_ABSENT;
		break;
	case FIELD_DESTINATION_PORT:
		value = key->k >> LANE_DESTINATION & PORT_ABSENT;
		break;
	case FIELD_LENGTH:
		value = key->length;
		break;
	case FIELD_PROTOCOL:
		value = ipv6 && key->t >> T_NO_PROTOCOL & 1 ? 256 : key->t >> T_PROTOCOL & 0xff;
		break;
	case FIELD_TCP_FLAGS:
		/* With the bit that says that they are there, on the rule's side as well. */
		value = key->t & 0x1fff;
		break;
	case FIELD_DSCP:
		value = key->t >> T_DSCP & 0x3f;
		break;
	case FIELD_FRAGMENT: {
		__u32 positions = key->t >> T_POSITION & 0xf;

		value = (positions >> 1 & 1) + (positions >> 2 & 1) * 2 + (positions >> 3) * 3 + (key->t >> T_DF & 1) * 4;
		break;
	}
	case FIELD_LABEL:
		value = key->t >> T_LABEL & 0xfffff;
		break;
	default:
		return 0;
	}
	return has(list, value);
}

/* What a record cannot say: whether a rule's extra part matches as well, and whether the rule is behind the last one. */
__noinline int confirmed(const struct key *key, __u32 found, int ipv6)
{
	struct rule *rule = at(&rules, found & META_RULE);
	struct extra *extra;

	if (!key || !rule || rule->label[key->generation & 1] <= key->after)
		return 0;
	if (!(found & META_EXTRA))
		return 1;
	extra = at(&extras, rule->extra);
	if (!extra)
		return 0;
	if (((key->destination_hi ^ extra->destination_value[0]) & extra->destination_mask[0]) |
	    ((key->destination_lo ^ extra->destination_value[1]) & extra->destination_mask[1]))
		return 0;
	for (__u32 n = 0; n < EXTRA_LISTS; n++) {
		if (n >= extra->count)
			break;
		if (!listed(key, &extra->list[n], ipv6))
			return 0;
	}
	return 1;
}

static __always_inline __u32 try4(const struct key *key, const struct record4 *record)
{
	__u64 lo = record->lo, hi = record->hi;
	__u32 found;

	if (!within(key->k, lo, hi) || (key->t ^ record->value) & record->mask)
		return 0;
	found = meta(lo, hi);
	if ((found & META_EXTRA || key->after) && !confirmed(key, found, 0))
		return 0;
	return found;
}

static __always_inline __u32 try6(const struct key *key, const struct record6 *record)
{
	__u64 lo = record->lo, hi = record->hi;
	__u32 found;

	if (!within(key->k, lo, hi) || (key->t ^ record->value) & record->mask)
		return 0;
	if (((key->source_hi ^ record->source_value[0]) & record->source_mask[0]) |
	    ((key->source_lo ^ record->source_value[1]) & record->source_mask[1]))
		return 0;
	found = meta(lo, hi);
	if ((found & META_EXTRA || key->after) && !confirmed(key, found, 1))
		return 0;
	return found;
}

/* ---- a list ---- */

struct scan {
	const struct key *key;
	__u32 start, count;
	__u32 found;
};

#define DEFINE_SCAN(version)									\
static __always_inline __u32 chunk##version##_find(const struct key *key, __u32 number, __u32 left)	\
{												\
	struct chunk##version *chunk = at(&chunks##version, number);				\
	__u32 found;										\
												\
	if (!chunk)										\
		return 0;									\
	found = try##version(key, &chunk->record[0]);						\
	if (found || left < 2)									\
		return found;									\
	found = try##version(key, &chunk->record[1]);						\
	if (found || left < 3)									\
		return found;									\
	found = try##version(key, &chunk->record[2]);						\
	if (found || left < 4)									\
		return found;									\
	return try##version(key, &chunk->record[3]);						\
}												\
												\
static long scan##version##_step(__u32 index, void *context)					\
{												\
	struct scan *scan = context;								\
	__u32 done = (NEAR_CHUNKS + index) * CHUNK;						\
												\
	if (done >= scan->count)								\
		return 1;									\
	scan->found = chunk##version##_find(scan->key, scan->start + NEAR_CHUNKS + index, scan->count - done);	\
	return scan->found != 0;								\
}												\
												\
__noinline __u32 scan##version(const struct key *key, __u32 start, __u32 count)		\
{												\
	struct scan scan = { .key = key, .start = start, .count = count };			\
	__u32 left = count;									\
												\
	if (!key)										\
		return 0;									\
	for (int n = 0; n < NEAR_CHUNKS; n++) {							\
		__u32 found = chunk##version##_find(key, start + n, left);			\
												\
		if (found)									\
			return found;								\
		if (left <= CHUNK)								\
			return 0;								\
		left -= CHUNK;									\
	}											\
	bpf_loop(FAR_CHUNKS, scan##version##_step, &scan, 0);					\
	return scan.found;									\
}

DEFINE_SCAN(4)
DEFINE_SCAN(6)

/* ---- a node ---- */

/* The better of two matches, the one with the lower label. */
__noinline __u32 earlier(__u32 a, __u32 b, __u32 generation)
{
	struct rule *rule_a = at(&rules, a & META_RULE), *rule_b = at(&rules, b & META_RULE);

	if (!rule_a || !rule_b)
		return a;
	return rule_a->label[generation & 1] <= rule_b->label[generation & 1] ? a : b;
}

#define TUPLE_KEY(version, node, tuple, hash)						\
	(1ULL << 63 | (__u64)((version) == 6) << 62 | (__u64)((node) << 4 | (tuple)) << 42 | (hash) >> 22)

struct probe {
	__u64 key[2], length;
	__u32 index;
	__u32 found;		/* slot plus 1 */
};

static long probe4_step(__u32 n, void *context)
{
	struct probe *probe = context;
	__u32 index = (probe->index + n) & slots4_mask;
	struct slot4 *slot = at(&slots4, index);

	if (!slot || !slot->key)
		return 1;
	if (slot->key != probe->key[0])
		return 0;
	probe->found = index + 1;
	return 1;
}

/* The places that are not the nearest. Slot number plus 1, or 0. */
__noinline __u32 probe4_far(__u64 key, __u32 index)
{
	struct probe probe = { .key = { key }, .index = index };

	bpf_loop(PROBES - NEAR_PROBES, probe4_step, &probe, 0);
	return probe.found;
}

static __always_inline struct slot4 *probe4(__u64 key, __u32 index)
{
	__u32 far;

	for (int n = 0; n < NEAR_PROBES; n++) {
		struct slot4 *slot = at(&slots4, (index + n) & slots4_mask);

		if (!slot || !slot->key)
			return 0;
		if (slot->key == key)
			return slot;
	}
	far = probe4_far(key, index + NEAR_PROBES);
	return far ? at(&slots4, far - 1) : 0;
}

/* The list of a tuple under which its records agree with the packet. */
static __always_inline __u64 tuple_list(__u64 key, __u64 hash, __u32 generation, struct slot4 **found)
{
	struct slot4 *slot = probe4(key, hash ^ key >> 40);

	*found = slot;
	return slot ? resolve(*(volatile __u64 *)&slot->descriptor, generation) : 0;
}

__noinline __u32 node4_find(const struct key *key, __u32 number)
{
	struct node4 *node = at(&nodes4, number);
	__u32 best = 0;

	if (!key || !node)
		return 0;
	for (__u32 n = 0; n < TUPLES; n++) {
		struct slot4 *slot = 0;
		__u64 hash, descriptor;
		__u32 found;

		if (n >= node->count)
			break;
		hash = mix(mix(key->k & node->tuple[n].k) ^ (key->t & node->tuple[n].t));
		if (!filter_has(hash))
			continue;
		descriptor = tuple_list(TUPLE_KEY(4, number, n, hash), hash, key->generation, &slot);
		if (!descriptor)
			continue;
		if (descriptor & D_INLINE)
			found = slot ? try4(key, &slot->record) : 0;
		else
			found = scan4(key, D_START(descriptor), D_COUNT(descriptor));
		if (found)
			best = best ? earlier(best, found, key->generation) : found;
	}
	return best;
}

__noinline __u32 node6_find(const struct key *key, __u32 number)
{
	struct node6 *node = at(&nodes6, number);
	__u32 best = 0;

	if (!key || !node)
		return 0;
	for (__u32 n = 0; n < TUPLES; n++) {
		struct slot4 *slot = 0;
		__u64 hash, descriptor;
		__u32 found;

		if (n >= node->count)
			break;
		hash = mix(mix(key->k & node->tuple[n].k) ^ (key->t & node->tuple[n].t));
		hash = mix(mix(hash ^ (key->source_hi & node->tuple[n].source[0])) ^ (key->source_lo & node->tuple[n].source[1]));
		if (!filter_has(hash))
			continue;
		descriptor = tuple_list(TUPLE_KEY(6, number, n, hash), hash, key->generation, &slot);
		if (!descriptor)
			continue;
		found = scan6(key, D_START(descriptor), D_COUNT(descriptor));
		if (found)
			best = best ? earlier(best, found, key->generation) : found;
	}
	return best;
}

/* ---- buckets, IPv4 ---- */

#define BUCKET4(prefix, length) (1ULL << 40 | (__u64)(length) << 32 | (prefix))
#define GROUP4_HASH(destination, shift) mix(1ULL << 48 | (__u64)(shift) << 40 | (destination) >> (shift))

static __always_inline struct slot4 *bucket4(__u32 destination, __u32 length)
{
	__u32 mask = length ? ~0U << ((32 - length) & 31) : 0;
	__u64 key = BUCKET4(destination & mask, length), hash = mix(key);

	return filter_has(hash) ? probe4(key, hash) : 0;
}

#define TRY_GROUP4(group, most)									\
	for (__u32 n = 0; n < (most); n++) {							\
		if (n >= c->groups4[group])							\
			break;									\
		slot = bucket4(destination, c->lengths4[group][n] & 63);			\
		if (slot) {									\
			descriptor = resolve(*(volatile __u64 *)&slot->descriptor, key->generation);	\
			if (descriptor)								\
				goto walk;							\
		}										\
	}

__noinline __u32 find4(const struct key *key)
{
	struct control *root = at(&control, 0);
	struct view *c;
	struct slot4 *slot = 0;
	__u64 descriptor = 0;
	__u32 destination;

	if (!key || !root)
		return 0;
	c = &root->view[key->generation & 1];
	destination = key->destination_lo;
	if (c->groups4[0] && filter_has(GROUP4_HASH(destination, 8)))
		TRY_GROUP4(0, 9)
	if (c->groups4[1] && filter_has(GROUP4_HASH(destination, 16)))
		TRY_GROUP4(1, 8)
	TRY_GROUP4(2, 16)
	goto wide;
walk:
	for (int depth = 0; depth < DEPTH4; depth++) {
		__u32 found, parent = D_PARENT(descriptor);

		if (descriptor & D_INLINE)
			found = slot ? try4(key, &slot->record) : 0;
		else if (descriptor & D_NODE)
			found = node4_find(key, D_START(descriptor));
		else
			found = scan4(key, D_START(descriptor), D_COUNT(descriptor));
		if (found)
			return found;
		if (!parent)
			break;
		slot = at(&slots4, parent - 1);
		if (!slot)
			break;
		descriptor = resolve(*(volatile __u64 *)&slot->descriptor, key->generation);
	}
wide:
	return node4_find(key, NODE_WIDE);
}

/* ---- buckets, IPv6 ---- */

#define GROUP6_HASH(destination_hi, bits) mix(2ULL << 60 ^ (__u64)(bits) << 40 ^ (destination_hi) >> (64 - (bits)))
#define BUCKET6_HASH(hi, lo, length) mix(mix((hi) ^ (__u64)(length) << 56) ^ (lo))

static long probe6_step(__u32 n, void *context)
{
	struct probe *probe = context;
	__u32 index = (probe->index + n) & slots6_mask;
	struct slot6 *slot = at(&slots6, index);

	if (!slot || !slot->length)
		return 1;
	if (slot->key[0] != probe->key[0] || slot->key[1] != probe->key[1] || slot->length != probe->length)
		return 0;
	probe->found = index + 1;
	return 1;
}

__noinline __u32 probe6_far(__u64 hi, __u64 lo, __u64 length, __u32 index)
{
	struct probe probe = { .key = { hi, lo }, .length = length, .index = index };

	bpf_loop(PROBES - NEAR_PROBES, probe6_step, &probe, 0);
	return probe.found;
}

static __always_inline struct slot6 *bucket6(const struct key *key, const struct length6 *length)
{
	__u64 hi = key->destination_hi & length->hi, lo = key->destination_lo & length->lo;
	__u64 hash = BUCKET6_HASH(hi, lo, length->length);
	__u32 index = hash, far;

	if (!filter_has(hash))
		return 0;
	for (int n = 0; n < NEAR_PROBES; n++) {
		struct slot6 *slot = at(&slots6, (index + n) & slots6_mask);

		if (!slot || !slot->length)
			return 0;
		if (slot->key[0] == hi && slot->key[1] == lo && slot->length == length->length + 1)
			return slot;
	}
	far = probe6_far(hi, lo, length->length + 1, index + NEAR_PROBES);
	return far ? at(&slots6, far - 1) : 0;
}

#define TRY_GROUP6(group, most)									\
	for (__u32 n = 0; n < (most); n++) {							\
		if (n >= c->groups6[group])							\
			break;									\
		slot = bucket6(key, &c->lengths6[group][n]);					\
		if (slot) {									\
			descriptor = resolve(*(volatile __u64 *)&slot->descriptor, key->generation);	\
			if (descriptor)								\
				goto walk;							\
		}										\
	}

__noinline __u32 find6(const struct key *key)
{
	struct control *root = at(&control, 0);
	struct view *c;
	struct slot6 *slot = 0;
	__u64 descriptor = 0;

	if (!key || !root)
		return 0;
	c = &root->view[key->generation & 1];
	if (c->groups6[0] && filter_has(GROUP6_HASH(key->destination_hi, 64)))
		TRY_GROUP6(0, 65)
	if (c->groups6[1] && filter_has(GROUP6_HASH(key->destination_hi, 48)))
		TRY_GROUP6(1, 16)
	if (c->groups6[2] && filter_has(GROUP6_HASH(key->destination_hi, 32)))
		TRY_GROUP6(2, 16)
	TRY_GROUP6(3, 32)
	goto wide;
walk:
	for (int depth = 0; depth < DEPTH6; depth++) {
		__u32 found, parent = D_PARENT(descriptor);

		if (descriptor & D_INLINE)
			found = slot ? try6(key, &slot->record) : 0;
		else if (descriptor & D_NODE)
			found = node6_find(key, D_START(descriptor));
		else
			found = scan6(key, D_START(descriptor), D_COUNT(descriptor));
		if (found)
			return found;
		if (!parent)
			break;
		slot = at(&slots6, parent - 1);
		if (!slot)
			break;
		descriptor = resolve(*(volatile __u64 *)&slot->descriptor, key->generation);
	}
wide:
	return node6_find(key, NODE_WIDE);
}

#endif
