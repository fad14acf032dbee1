/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Floodgate's XDP program: FlowSpec rules (RFC 8955, RFC 8956) enforced before the kernel's stack sees a packet.
 *
 *   layout.h    the tables, shared with the loader
 *   parse.h     frame in, key out
 *   classify.h  key in, first matching rule out; how a rule set is changed under traffic
 *   act.h       count, police, mark, sample, redirect, drop
 *   filter.h    all of it in order
 *   route.h     the loader's question where redirected packets would go
 */
#include "filter.h"
#include "route.h"

char _license[] SEC("license") = "Dual MIT/GPL";

SEC("xdp")
int floodgate(struct xdp_md *ctx)
{
	struct packet packet = { .ctx = ctx };

	return filter_packet(&packet, 0);
}
