/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The tables. The loader sets their sizes, all powers of two where a mask is used.
 */
#ifndef FLOODGATE_MAPS_H
#define FLOODGATE_MAPS_H

#include "layout.h"

const volatile __u64 hash_seed = 1;
const volatile __u32 slots_mask = 0;
/* Counters of CPU n start at (n & counters_mask) * counters_stride. */
const volatile __u32 counters_mask = 0;
const volatile __u32 counters_stride = 1;
/* CPUs share a set of counters, which must then be counted atomically. */
const volatile __u32 counters_shared = 0;

/* This machine may do loads in another order than they are written. */
const volatile __u32 weak_order = 0;

#define TABLE(name, type_)					\
	struct {						\
		__uint(type, BPF_MAP_TYPE_ARRAY);		\
		__uint(map_flags, BPF_F_MMAPABLE);		\
		__uint(max_entries, 1);				\
		__type(key, __u32);				\
		__type(value, type_);				\
	} name SEC(".maps")

TABLE(control, struct control);
TABLE(filter, struct filter);
TABLE(slots, struct slot);
TABLE(pending, struct pending);
TABLE(chunks, struct chunk);
TABLE(nodes, struct node);
TABLE(extras, struct extra);
TABLE(intervals, struct interval);
TABLE(rules, struct rule);
TABLE(counters, struct counter);
TABLE(ids, struct id);
TABLE(targets, struct target);
TABLE(stats, struct statistics);

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct matches);
} matches SEC(".maps");

/* The key of the packet at hand: on the stack there is no room for it below so many calls. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct key);
} keys SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} samples SEC(".maps");

/* Interfaces by number: where redirected packets can be sent. The kernel drops what is sent elsewhere. */
#define TAKES_XDP_FRAMES 1	/* what came in, in native mode */
#define TAKES_ETHERNET 2	/* what came in, in generic mode */
#define IS_GENERIC 4		/* the program is there in generic mode */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u32);
} devices SEC(".maps");

static __always_inline void *at(void *map, __u32 index)
{
	return bpf_map_lookup_elem(map, &index);
}

/* A length from 1 to `most`, a power of two, as the verifier of every kernel understands it: those of Linux 6.1 and 6.12 may lose
 * what a comparison says of a value when that is copied to another register; a mask is seen in the register that the call takes. */
static __always_inline __u32 bounded(__u32 length, __u32 most)
{
	asm volatile("" : "+r"(length));
	return ((length - 1) & (most - 1)) + 1;
}

/* What is loaded before this is loaded before what is loaded after it. x86 keeps that order by itself, and there this is no code at all:
 * the verifier knows the constant. Elsewhere a fetching atomic is a full barrier, also on a word that no other CPU sees. */
static __always_inline void order_loads(void)
{
	if (weak_order) {
		__u64 word = 0;

		asm volatile("" : : "r"(&word) : "memory");
		if (__sync_fetch_and_add(&word, 1))
			asm volatile("" : : : "memory");
		asm volatile("" : : "r"(&word) : "memory");
	}
}

static __always_inline void count_event(enum statistic what)
{
	struct statistics *statistics = at(&stats, bpf_get_smp_processor_id());

	if (statistics)
		statistics->count[what & (STATISTICS - 1)]++;
}

#endif
