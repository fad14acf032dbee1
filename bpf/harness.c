/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * For tests and measurements only: the filter run by the kernel's test run, on a different packet each time. A call of the test run costs
 * milliseconds around its loop, so packets come from a table and results go to one.
 */
#include "maps.h"

static void note(int unread, __u32 found, __u32 matched);
#define RECORD_DECISION note
#include "filter.h"

char _license[] SEC("license") = "Dual MIT/GPL";

struct run { __u32 next, count, interface, unused; };

#define FRAME_MAX 2048
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

/* Makes the frame at hand the next one of the table; its number is left in the table of runs. A function of its own, so that what it keeps on
 * the stack is gone when the filter is called: before Linux 6.7 the whole chain of calls has 512 octets in steps of 32. */
static __noinline int take_frame(struct xdp_md *ctx)
{
	struct run *r = at(&run, 0);
	struct frame *frame;
	__u32 length, now;

	if (!r)
		return 0;
	frame = at(&frames, r->next);
	r->next++;
	if (!frame)
		return 0;
	length = frame->length;
	now = (__u32)((long)ctx->data_end - (long)ctx->data);
	/* A difference of pointers is a number; the compiler would reckon on with the pointers. */
	asm volatile("" : "+r"(now));
	if (length < 14 || length > FRAME_MAX)
		return 0;
	if (bpf_xdp_adjust_tail(ctx, (int)(length - now)))
		return 0;
	return !bpf_xdp_store_bytes(ctx, 0, frame->octets, bounded(length, FRAME_MAX));
}

static __always_inline struct result *latest_result(void)
{
	struct run *r = at(&run, 0);

	return r ? at(&results, r->next - 1) : 0;
}

static __noinline void note(int unread, __u32 found, __u32 matched)
{
	struct result *result = latest_result();

	if (!result)
		return;
	result->unread = unread;
	result->found = found;
	result->matched = matched == PROTECTED ? 0 : matched;
	result->is_protected = matched == PROTECTED;
}

static __noinline void report(struct packet *packet, __u32 verdict)
{
	struct xdp_md *ctx = packet->ctx;
	struct matches *m = at(&matches, 0);
	struct result *result = latest_result();

	if (!result)
		return;
	result->verdict = verdict;
	for (__u32 n = 0; m && n < RESULT_RULES; n++) {
		if (n >= result->matched)
			break;
		result->rule[n] = m->rule[n];
	}
	if ((__u32)((long)ctx->data_end - (long)ctx->data) < RESULT_HEAD)
		bpf_xdp_load_bytes(ctx, 0, result->head, 14);
	else
		bpf_xdp_load_bytes(ctx, 0, result->head, RESULT_HEAD);
}

SEC("xdp")
int verify(struct xdp_md *ctx)
{
	struct packet packet = { .ctx = ctx };

	if (!take_frame(ctx))
		return XDP_ABORTED;
	report(&packet, filter_packet(&packet, 1));
	return XDP_PASS;
}

/* The next frame of the table in the place of the one at hand. */
static __noinline int take_next(struct xdp_md *ctx)
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
	struct packet packet = { .ctx = ctx };

	return take_next(ctx) ? filter_packet(&packet, 0) : XDP_ABORTED;
}

/* Makes traffic: the frames go out of an interface. */
SEC("xdp")
int generate(struct xdp_md *ctx)
{
	struct run *r = at(&run, 0);

	return r && take_next(ctx) ? bpf_redirect(r->interface, 0) : XDP_ABORTED;
}
