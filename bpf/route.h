/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The loader's question to the kernel: where would a packet go that is redirected? Asked with the very call that packets make, in a test
 * run, so that the answer is the one that they will get.
 */
#ifndef FLOODGATE_ROUTE_H
#define FLOODGATE_ROUTE_H

#include "maps.h"

struct query {
	__u32 family;		/* of the target; 0 ends the list */
	__u32 ingress;		/* interface where the packet comes in */
	__u32 address[4];	/* network order */
	__s32 outcome;		/* BPF_FIB_LKUP_RET_ */
	__u32 egress;
	__u32 next_family;	/* of the next hop */
	__u32 next[4];
	__u32 unused[3];
};

TABLE(queries, struct query);

struct route_context { struct __sk_buff *skb; };

static long look_up_route(__u32 n, void *context)
{
	struct route_context *route_context = context;
	struct query *query = at(&queries, n);
	struct bpf_fib_lookup fib = {};

	if (!query || !query->family)
		return 1;
	fib.family = query->family;
	fib.ifindex = query->ingress;
	fib.tot_len = 20;
	__builtin_memcpy(fib.ipv6_dst, query->address, sizeof(fib.ipv6_dst));
	query->outcome = bpf_fib_lookup(route_context->skb, &fib, sizeof(fib), 0);
	query->egress = fib.ifindex;
	query->next_family = fib.family;
	__builtin_memcpy(query->next, fib.ipv6_dst, sizeof(query->next));
	return 0;
}

SEC("classifier")
int ask(struct __sk_buff *skb)
{
	struct route_context route_context = { .skb = skb };

	bpf_loop(1 << 20, look_up_route, &route_context, 0);
	return 0;
}

#endif
