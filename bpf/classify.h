/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Key in, first matching rule out.
 *
 * FlowSpec's order is: rules for a more specific destination first, rules without destination last. So the rules of each destination
 * prefix are a bucket in a hash table, with the bucket of the next shorter prefix as its parent, and walking bucket, parent, ...,
 * and at last the "wide" node, which has the rules without destination, is walking in order. Within a list the records stand in order.
 *
 * A long list, and that of the rules without destination, is a node. Among rules with the same destination, or none, those for a more
 * specific source come first and those without source last: so the first part of a node is buckets again, by source prefix, cut to one of
 * a few lengths, and the first that has a match ends the search. The other records of a node, and those of a long bucket by source, are
 * spread over tuples, which are masks of the key. What a packet looks up in a tuple's part of the hash table is a short list that agrees with it
 * under the mask. Tuples are not ordered among each other: the rule with the lowest label wins.
 *
 * Snapshots. The loader changes tables in a transaction. Generations in rest are even:
 *
 *   1. floor = generation: packets that began with an older one, and may still see remains of the last transaction, start again
 *   2. new lists are written where no packet looks; descriptors to change become "pending", which is the old one for packets of an
 *      even generation and the new one for those of an odd one
 *   3. generation + 1, odd: packets that begin now see all that is new and nothing old
 *   4. floor + 1: packets that are still under way with the even generation start again
 *   5. descriptors become the new ones, and what only these packets could see is overwritten
 *   6. generation + 1, even again
 *
 * Nothing ever waits, and nothing is seen by half. Rules act only after the floor was looked at. Loads must not be reordered
 * between the generation, the tables and the floor: order_loads().
 */
#ifndef FLOODGATE_CLASSIFY_H
#define FLOODGATE_CLASSIFY_H

#include "maps.h"

/* Of the PROBES places of a key, nearly all keys are in one of the first. */
#define NEAR_PROBES 4
#define NEAR_CHUNKS 6		/* of a list, before a loop with calls takes over */
#define FAR_CHUNKS 1024
#define DEPTH4 33
#define DEPTH6 129

/* A product's high bits depend on all of its factors' bits, the low ones only on low ones: so the octets are turned round. */
static __always_inline __u64 mix(__u64 x)
{
	x = (x ^ hash_seed) * 0x9e3779b97f4a7c15ULL;
	return x ^ __builtin_bswap64(x);
}

/* Two bits of one word say that there is something: one would be set by chance for every tenth packet. */
static __always_inline int filter_has(const struct filter *f, __u64 hash)
{
	__u64 word = f->word[hash >> 6 & (FILTER_WORDS - 1)];

	return word >> (hash & 63) & word >> (hash >> FILTER_BITS & 63) & 1;
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

static __always_inline int list_has(const struct extra_list *list, __u32 value)
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
static __always_inline int field_matches(const struct key *key, const struct extra_list *list)
{
	__u32 value;

	switch (list->field) {
	case FIELD_EITHER_PORT:
		if (list_has(list, key->k >> LANE_DESTINATION & PORT_ABSENT))
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
		value = key->ipv6 && key->t >> T_NO_PROTOCOL & 1 ? 256 : key->t >> T_PROTOCOL & 0xff;
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
	return list_has(list, value);
}

/* What a record cannot express: whether a rule's extra part matches as well, and whether the rule is behind the last one. */
__noinline int confirmed(const struct key *key, __u32 found)
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
	if (((key->source_hi ^ extra->source_value[0]) & extra->source_mask[0]) |
	    ((key->source_lo ^ extra->source_value[1]) & extra->source_mask[1]))
		return 0;
	for (__u32 n = 0; n < EXTRA_LISTS; n++) {
		if (n >= extra->count)
			break;
		if (!field_matches(key, &extra->list[n]))
			return 0;
	}
	return 1;
}

/* Whether the packet comes from the prefix in a record's second place. */
static __always_inline int comes_from(const struct key *key, const struct place *source)
{
	__u64 hi = key->source_hi ^ source->value, lo = key->source_lo ^ source->mask;
	__u32 length = source->hi & 0xff;	/* 1 to 128 */

	if (length <= 64)
		return !(hi >> ((64 - length) & 63));
	return !(hi | lo >> ((128 - length) & 63));
}

static __always_inline __u32 match_record(const struct key *key, const struct place *record, const struct place *next)
{
	__u64 lo = record->lo, hi = record->hi;
	__u32 found;

	if (!within(key->k, lo, hi) || (key->t ^ record->value) & record->mask)
		return 0;
	if (hi & HI_SOURCE && (!next || !comes_from(key, next)))
		return 0;
	found = meta(lo, hi);
	if ((found & META_EXTRA || key->after) && !confirmed(key, found))
		return 0;
	return found;
}

/* ---- a list ---- */

struct scan {
	const struct key *key;
	__u32 start, count;
	__u32 found;
};

#define TRY(record, n, left, last)							\
	do {										\
		__u32 found = match_record(key, &record[n], (n) == (last) ? 0 : &record[(n) + 1]);	\
											\
		if (found)								\
			return found;							\
		if ((left) <= (n) + 1)							\
			return 0;							\
	} while (0)

static __always_inline __u32 chunk_find(const struct key *key, __u32 number, __u32 left)
{
	struct chunk *chunk = at(&chunks, number);

	if (!chunk)
		return 0;
	TRY(chunk->place, 0, left, 3);
	TRY(chunk->place, 1, left, 3);
	TRY(chunk->place, 2, left, 3);
	TRY(chunk->place, 3, left, 3);
	return 0;
}

static long scan_step(__u32 index, void *context)
{
	struct scan *scan = context;
	__u32 done = (NEAR_CHUNKS + index) * CHUNK;

	if (done >= scan->count)
		return 1;
	scan->found = chunk_find(scan->key, scan->start + NEAR_CHUNKS + index, scan->count - done);
	return scan->found != 0;
}

static __always_inline __u32 slot_find(const struct key *key, const struct slot *slot, __u32 left)
{
	TRY(slot->place, 0, left, 6);
	TRY(slot->place, 1, left, 6);
	TRY(slot->place, 2, left, 6);
	TRY(slot->place, 3, left, 6);
	TRY(slot->place, 4, left, 6);
	TRY(slot->place, 5, left, 6);
	TRY(slot->place, 6, left, 6);
	return 0;
}

/* The list that a slot's descriptor, not a pending one, refers to. */
__noinline __u32 list_find(const struct key *key, const struct slot *slot, __u64 descriptor)
{
	struct scan scan = { .key = key, .start = D_START(descriptor), .count = D_COUNT(descriptor) };
	__u32 left;

	if (!key || !slot)
		return 0;
	if (descriptor & D_INLINE) {
		__u32 found = slot_find(key, slot, scan.count);

		if (found || scan.count <= SLOT_PLACES)
			return found;
		scan.count -= SLOT_PLACES;
	}
	left = scan.count;
	for (int n = 0; n < NEAR_CHUNKS; n++) {
		__u32 found = chunk_find(key, scan.start + n, left);

		if (found)
			return found;
		if (left <= CHUNK)
			return 0;
		left -= CHUNK;
	}
	bpf_loop(FAR_CHUNKS, scan_step, &scan, 0);
	return scan.found;
}

/* ---- the hash table ---- */

struct probe {
	__u64 id, address[2];
	__u32 index;
	__u32 found;		/* slot plus 1 */
};

static long probe_step(__u32 n, void *context)
{
	struct probe *probe = context;
	__u32 index = (probe->index + n) & slots_mask;
	struct slot *slot = at(&slots, index);

	if (!slot || !slot->id)
		return 1;
	if (slot->id != probe->id || slot->address[0] != probe->address[0] || slot->address[1] != probe->address[1])
		return 0;
	probe->found = index + 1;
	return 1;
}

/* The places that are not the nearest. Slot number plus 1, or 0. */
__noinline __u32 probe_far(__u64 id, __u64 hi, __u64 lo, __u32 index)
{
	struct probe probe = { .id = id, .address = { hi, lo }, .index = index };

	bpf_loop(PROBES - NEAR_PROBES, probe_step, &probe, 0);
	return probe.found;
}

static __always_inline struct slot *probe(__u64 id, __u64 hi, __u64 lo, __u32 index)
{
	__u32 far;

	for (int n = 0; n < NEAR_PROBES; n++) {
		struct slot *slot = at(&slots, (index + n) & slots_mask);

		if (!slot || !slot->id)
			return 0;
		if (slot->id == id && slot->address[0] == hi && slot->address[1] == lo)
			return slot;
	}
	far = probe_far(id, hi, lo, index + NEAR_PROBES);
	return far ? at(&slots, far - 1) : 0;
}

static __always_inline __u64 descriptor_of(const struct key *key, const struct slot *slot)
{
	__u64 descriptor = *(volatile __u64 *)&slot->descriptor;

	/* Records in the slot itself are written before the descriptor that refers to them. */
	order_loads();
	return resolve(descriptor, key->generation);
}

/* ---- a node ---- */

/* The better of two matches, the one with the lower label. */
__noinline __u32 earlier(__u32 a, __u32 b, __u32 generation)
{
	struct rule *rule_a = at(&rules, a & META_RULE), *rule_b = at(&rules, b & META_RULE);

	if (!rule_a || !rule_b)
		return a;
	return rule_a->label[generation & 1] <= rule_b->label[generation & 1] ? a : b;
}

/* What a list of a node is called. Different lists may share a name when their hashes agree, and are then one list: that is harmless,
 * since records are compared in full; but never those of two source classes, which have an order. */
#define TUPLE_ID(node, tuple, hash) (1ULL << 63 | (__u64)((node) << 4 | (tuple)) << 42 | (hash) >> 22)
#define SOURCE_ID(node, class, hash) (1ULL << 63 | (__u64)((node) << 4 | BY_SOURCE) << 42 | (__u64)(class) << 38 | (hash) >> 26)
#define PART_INDEX(id, hash) ((hash) ^ (id) >> 40)

__noinline __u32 tuples_find(const struct key *key, __u32 number)
{
	struct node *node = at(&nodes, number);
	struct filter *f = at(&filter, 0);
	__u32 best = 0;

	if (!key || !node || !f)
		return 0;
	for (__u32 n = 0; n < TUPLES; n++) {
		struct tuple *tuple = &node->tuple[n];
		__u64 hash, id, descriptor;
		struct slot *slot;
		__u32 found;

		if (n >= node->count)
			break;
		hash = mix(mix(key->k & tuple->k) ^ (key->t & tuple->t));
		if (key->ipv6)
			hash = mix(mix(hash ^ (key->source_hi & tuple->source[0])) ^ (key->source_lo & tuple->source[1]));
		if (!filter_has(f, hash))
			continue;
		id = TUPLE_ID(number, n, hash);
		slot = probe(id, 0, 0, PART_INDEX(id, hash));
		if (!slot)
			continue;
		descriptor = descriptor_of(key, slot);
		if (!descriptor)
			continue;
		found = list_find(key, slot, descriptor);
		if (found)
			best = best ? earlier(best, found, key->generation) : found;
	}
	return best;
}

/* In units of two and of eight bits; the first class in the lowest bits. */
#define CLASS(n, length) ((__u64)(length) << (n) * 5)
#define CLASSES4 (CLASS(0, 16) | CLASS(1, 14) | CLASS(2, 12) | CLASS(3, 10) | CLASS(4, 8) | CLASS(5, 7) | CLASS(6, 6) | CLASS(7, 5) | CLASS(8, 4))
#define CLASSES6 (CLASS(0, 16) | CLASS(1, 8) | CLASS(2, 7) | CLASS(3, 6) | CLASS(4, 5) | CLASS(5, 4) | CLASS(6, 3) | CLASS(7, 2))

/* The rules with a source. */
static __always_inline __u32 sources_find(const struct key *key, __u32 number, __u32 classes, int ipv6)
{
	struct filter *f = at(&filter, 0);

	if (!f)
		return 0;
#pragma clang loop unroll(full)
	for (int class = 0; class < (ipv6 ? SOURCE_CLASSES6 : SOURCE_CLASSES4); class++) {
		__u64 hash, id, descriptor;
		struct slot *slot;
		__u32 found;

		if (!(classes >> class & 1))
			continue;
		if (ipv6) {
			int length = (CLASSES6 >> class * 5 & 31) * 8;
			__u64 hi = length >= 64 ? key->source_hi : key->source_hi & ~(~0ULL >> length % 64);

			hash = mix(mix(hi ^ (__u64)(number << 4 | class) << 40) ^ (class ? 0 : key->source_lo));
		} else {
			int length = (CLASSES4 >> class * 5 & 31) * 2;

			hash = mix((__u64)(number << 4 | class) << 40 | key->t >> T_SOURCE >> (32 - length));
		}
		if (!filter_has(f, hash))
			continue;
		id = SOURCE_ID(number, class, hash);
		slot = probe(id, 0, 0, PART_INDEX(id, hash));
		if (!slot)
			continue;
		descriptor = descriptor_of(key, slot);
		if (!descriptor)
			continue;
		if (descriptor & D_NODE)
			found = tuples_find(key, D_START(descriptor));
		else
			found = list_find(key, slot, descriptor);
		if (found)
			return found;
	}
	return 0;
}

__noinline __u32 node_find(const struct key *key, __u32 number)
{
	struct node *node = at(&nodes, number);
	__u32 found = 0, other;

	if (!key || !node)
		return 0;
	if (node->classes)
		found = key->ipv6 ? sources_find(key, number, node->classes, 1) : sources_find(key, number, node->classes, 0);
	if (!node->count || (found && !node->early))
		return found;
	other = tuples_find(key, number);
	if (!found || !other)
		return found | other;
	return earlier(found, other, key->generation);
}

/* ---- buckets ---- */

/* From the bucket in `slot` through its parents. */
#define WALK(depths)										\
	for (int depth = 0; depth < (depths); depth++) {					\
		__u32 found, parent = D_PARENT(descriptor);					\
												\
		if (descriptor & D_NODE)							\
			found = node_find(key, D_START(descriptor));				\
		else										\
			found = list_find(key, slot, descriptor);				\
		if (found)									\
			return found;								\
		if (!parent)									\
			break;									\
		slot = at(&slots, parent - 1);							\
		if (!slot)									\
			break;									\
		descriptor = descriptor_of(key, slot);						\
	}

/* ---- buckets, IPv4 ---- */

#define BUCKET4(prefix, length) (1ULL << 40 | (__u64)(length) << 32 | (prefix))
#define GROUP4_HASH(destination, group, shift) mix(1ULL << 48 | (__u64)(group) << 40 | (__u64)(destination) >> (shift))

static __always_inline struct slot *bucket4(const struct filter *f, __u32 destination, __u32 length)
{
	__u32 mask = length ? ~0U << ((32 - length) & 31) : 0;
	__u64 id = BUCKET4(destination & mask, length), hash = mix(id);

	return filter_has(f, hash) ? probe(id, 0, 0, hash) : 0;
}

/* Where several lengths are in use, one lookup says whether any has a rule nearby. */
#define TRY_GROUP4(group, most, bits)								\
	if (c->groups4[group] && ((bits) == 0 || c->groups4[group] == 1 ||			\
				  filter_has(f, GROUP4_HASH(destination, group, 32 - (bits)))))	\
		for (__u32 n = 0; n < (most); n++) {						\
			if (n >= c->groups4[group])						\
				break;								\
			slot = bucket4(f, destination, c->lengths4[group][n] & 63);		\
			if (slot) {								\
				descriptor = descriptor_of(key, slot);				\
				if (descriptor)							\
					goto walk;						\
			}									\
		}

__noinline __u32 find4(const struct key *key)
{
	struct control *root = at(&control, 0);
	struct filter *f = at(&filter, 0);
	struct view *c;
	struct slot *slot = 0;
	__u64 descriptor = 0;
	__u32 destination;

	if (!key || !root || !f)
		return 0;
	c = &root->view[key->generation & 1];
	destination = key->destination_lo;
	TRY_GROUP4(0, 1, 0)
	TRY_GROUP4(1, 7, 24)
	TRY_GROUP4(2, 1, 0)
	TRY_GROUP4(3, 4, 20)
	TRY_GROUP4(4, 4, 16)
	TRY_GROUP4(5, 8, 8)
	TRY_GROUP4(6, 8, 0)
	goto wide;
walk:
	WALK(DEPTH4)
wide:
	return node_find(key, NODE_WIDE4);
}

/* ---- buckets, IPv6 ---- */

#define GROUP6_HASH(destination_hi, group, bits) mix((8ULL | (group)) << 60 ^ (destination_hi) >> ((64 - (bits)) & 63))
#define BUCKET6(length) (1ULL << 62 | (length))
#define BUCKET6_HASH(hi, lo, length) mix(mix((hi) ^ (__u64)(length) << 56) ^ (lo))

static __always_inline struct slot *bucket6(const struct filter *f, const struct key *key, const struct length6 *length)
{
	__u64 hi = key->destination_hi & length->hi, lo = key->destination_lo & length->lo;
	__u64 hash = BUCKET6_HASH(hi, lo, length->length);

	return filter_has(f, hash) ? probe(BUCKET6(length->length), hi, lo, hash) : 0;
}

#define TRY_GROUP6(group, most, bits)								\
	if (c->groups6[group] && ((bits) == 0 || c->groups6[group] == 1 ||			\
				  filter_has(f, GROUP6_HASH(key->destination_hi, group, bits))))	\
		for (__u32 n = 0; n < (most); n++) {						\
			if (n >= c->groups6[group])						\
				break;								\
			slot = bucket6(f, key, &c->lengths6[group][n]);				\
			if (slot) {								\
				descriptor = descriptor_of(key, slot);				\
				if (descriptor)							\
					goto walk;						\
			}									\
		}

__noinline __u32 find6(const struct key *key)
{
	struct control *root = at(&control, 0);
	struct filter *f = at(&filter, 0);
	struct view *c;
	struct slot *slot = 0;
	__u64 descriptor = 0;

	if (!key || !root || !f)
		return 0;
	c = &root->view[key->generation & 1];
	TRY_GROUP6(0, 1, 0)
	TRY_GROUP6(1, 63, 64)
	TRY_GROUP6(2, 1, 0)
	TRY_GROUP6(3, 15, 48)
	TRY_GROUP6(4, 1, 0)
	TRY_GROUP6(5, 15, 32)
	TRY_GROUP6(6, 1, 0)
	TRY_GROUP6(7, 32, 0)
	goto wide;
walk:
	WALK(DEPTH6)
wide:
	return node_find(key, NODE_WIDE6);
}

#endif
