/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * For tests and measurements only: the filter run by the kernel's test run, on a different packet each time. A call of the test run costs
 * milliseconds around its loop, so packets come from a table and results go to one.
 */
#include "filter.h"

char _license[] SEC("license") = "Dual MIT/GPL";

struct run { __u32 next, count, interface, unused; };

#define FRAME_MAX 2040
struct frame {
	__u32 length, unused;
	__u8 octets[FRAME_MAX];
};

#define RESULT_RULES 40
#define RESULT_HEAD 64
struct result {
	__u32 verdict, found, matched, is_protected;
	int unread;
	__u32 unused;
	__u32 rule[RESULT_RULES];
	__u8 head[RESULT_HEAD];
};

/* Frames of one length, for measurements. */
#define WORDS 12
struct small { __u64 word[WORDS]; };

TABLE(run, struct run);
TABLE(frames, struct frame);
TABLE(results, struct result);
TABLE(smalls, struct small);

SEC("xdp")
int verify(struct xdp_md *ctx)
{
	struct run *r = at(&run, 0);
	struct outcome outcome = {};
	struct matches *m;
	struct frame *frame;
	struct result *result;
	__u32 length, now;

	if (!r)
		return XDP_ABORTED;
	frame = at(&frames, r->next);
	result = at(&results, r->next);
	r->next++;
	if (!frame || !result)
		return XDP_ABORTED;
	length = frame->length;
	now = (__u32)((long)ctx->data_end - (long)ctx->data);
	asm volatile("" : "+r"(length));
	if (length < 14 || length > FRAME_MAX)
		return XDP_ABORTED;
	result->unread = bpf_xdp_adjust_tail(ctx, (int)(length - now));
	if (result->unread)
		return XDP_ABORTED;
	result->unread = bpf_xdp_store_bytes(ctx, 0, frame->octets, length);
	if (result->unread)
		return XDP_ABORTED;

	result->verdict = filter_packet(ctx, &outcome);
	result->found = outcome.found;
	result->matched = outcome.matched;
	result->is_protected = outcome.is_protected;
	result->unread = outcome.unread;
	m = at(&matches, 0);
	for (__u32 n = 0; m && n < RESULT_RULES; n++) {
		if (n >= outcome.matched)
			break;
		result->rule[n] = m->rule[n];
	}
	bpf_xdp_load_bytes(ctx, 0, result->head, length < RESULT_HEAD ? 14 : RESULT_HEAD);
	return XDP_PASS;
}

/* The next frame of the table in the place of the one at hand. */
static __always_inline int take_next(struct xdp_md *ctx)
{
	struct run *r = at(&run, 0);
	struct small *small;
	__u64 *data = (void *)(long)ctx->data;

	if (!r)
		return 0;
	small = at(&smalls, r->next);
	r->next = r->next + 1 < r->count ? r->next + 1 : 0;
	if (!small || (void *)(data + WORDS) > (void *)(long)ctx->data_end)
		return 0;
	for (int n = 0; n < WORDS; n++)
		data[n] = small->word[n];
	return 1;
}

SEC("xdp")
int bench(struct xdp_md *ctx)
{
	struct outcome outcome = {};

	return take_next(ctx) ? filter_packet(ctx, &outcome) : XDP_ABORTED;
}

/* Makes traffic: the frames go out of an interface. */
SEC("xdp")
int generate(struct xdp_md *ctx)
{
	struct run *r = at(&run, 0);

	return r && take_next(ctx) ? bpf_redirect(r->interface, 0) : XDP_ABORTED;
}
