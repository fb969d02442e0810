/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page of the module with anything in it: one in the middle of a write is
 * not read, what is read is what stands there, and a map that it tells can be
 * applied to any counter.
 *
 * Input: the page's bytes (zero where it ends early), then a counter.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/align_page.h"
#include "tsalign_core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool holds)
{
	if (!holds)
		abort();
}

static void use(const struct tsalign_page *p, uint64_t counter)
{
	struct tsa_map map = {p->base_counter, p->base_ns, p->mult, p->shift};
	struct tsalign_stream stream;
	struct capture_alignment told;

	memset(&stream, 0xff, sizeof(stream));
	align_page_describe(p, &stream, &told);
	need(told.by == CAPTURE_ALIGNED_KERNEL && told.epoch == p->epoch);
	need(memchr(told.name, 0, sizeof(told.name)));
	need(told.state >= CAPTURE_ALIGN_COARSE ||
	     told.sigma_ns == UINT64_MAX);
	need(tsa_map_apply(&map, p->base_counter) == p->base_ns);
	/* A line that rises: what is later counts as later. */
	if (counter >= p->base_counter &&
	    counter - p->base_counter <= INT64_MAX)
		need(tsa_map_apply(&map, counter) >= p->base_ns);
	(void)tsa_map_invert(&map, counter);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct tsalign_page page;
	static struct tsalign_page got;
	uint64_t counter = 0;
	size_t n = size < sizeof(page) ? size : sizeof(page);
	int r;

	memset(&page, 0, sizeof(page));
	memcpy(&page, data, n);
	memcpy(&counter, data + n,
	       size - n < sizeof(counter) ? size - n : sizeof(counter));
	r = align_page_read(&page, &got);
	if (page.seq & 1) {
		need(r == -EAGAIN);
		return 0;
	}
	need(r == 0 || r == -EPROTO);
	need((r == 0) == (page.abi == TSALIGN_ABI && page.shift <= 63 &&
			  page.state <= TSALIGN_GONE));
	if (r < 0)
		return 0;
	memset(page.reserved, 0, sizeof(page.reserved));
	need(memcmp(&page, &got, sizeof(page)) == 0);
	use(&got, counter);
	return 0;
}
