/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/mp4_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "core/limits.h"

#define MOOV_BYTES_MAX (64u << 20)
#define SAMPLES_MAX (1u << 22)
#define AVC1_BODY_BYTES 78u /* before the boxes inside a sample entry */

struct box {
	const uint8_t *body;
	size_t len;
};

static bool box_find(struct box in, const char *type, struct box *ret_box)
{
	while (in.len >= 8) {
		uint32_t size = load_be32(in.body);

		if (size < 8 || size > in.len)
			return false;
		if (memcmp(in.body + 4, type, 4) == 0) {
			ret_box->body = in.body + 8;
			ret_box->len = size - 8;
			return true;
		}
		in.body += size;
		in.len -= size;
	}
	return false;
}

/* A table with a full-box head, a count and @entry bytes for each. */
static bool table_find(struct box stbl, const char *type, size_t entry,
		       struct box *ret_box, uint32_t *ret_count)
{
	if (!box_find(stbl, type, ret_box) || ret_box->len < 8)
		return false;
	*ret_count = load_be32(ret_box->body + 4);
	ret_box->body += 8;
	ret_box->len -= 8;
	return *ret_count <= ret_box->len / entry;
}

static int read_moov(int fd, uint8_t **ret_moov, size_t *ret_len)
{
	uint8_t head[16];
	uint64_t at = 0;
	uint64_t size;
	uint8_t *moov;

	for (;;) {
		if (pread(fd, head, sizeof(head), (off_t)at) < 8)
			return -EBADMSG;
		size = load_be32(head);
		if (size == 1)
			size = load_be64(head + 8);
		if (size < 8)
			return -EBADMSG;
		if (memcmp(head + 4, "moov", 4) == 0)
			break;
		at += size;
	}
	if (size > MOOV_BYTES_MAX)
		return -EBADMSG;
	moov = malloc(size);
	if (!moov)
		return -ENOMEM;
	if (pread(fd, moov, size, (off_t)at) != (ssize_t)size) {
		free(moov);
		return -EBADMSG;
	}
	*ret_moov = moov;
	*ret_len = size;
	return 0;
}

static bool fill_sizes(struct mp4_table *t, struct box stbl)
{
	struct box b;
	uint32_t one;
	uint32_t count;

	if (!box_find(stbl, "stsz", &b) || b.len < 12)
		return false;
	one = load_be32(b.body + 4);
	count = load_be32(b.body + 8);
	if (!count || count > SAMPLES_MAX || (!one && count > (b.len - 12) / 4))
		return false;
	t->samples = calloc(count, sizeof(*t->samples));
	if (!t->samples)
		return false;
	t->count = count;
	for (uint32_t i = 0; i < count; i++)
		t->samples[i].bytes = one ? one : load_be32(b.body + 12 + 4 * i);
	return true;
}

static bool fill_offsets(struct mp4_table *t, struct box stbl)
{
	struct box runs;
	struct box chunks;
	uint32_t run_count;
	uint32_t chunk_count;
	uint32_t run = 0;
	size_t sample = 0;
	bool wide;

	wide = !table_find(stbl, "stco", 4, &chunks, &chunk_count);
	if (wide && !table_find(stbl, "co64", 8, &chunks, &chunk_count))
		return false;
	if (!table_find(stbl, "stsc", 12, &runs, &run_count) || !run_count)
		return false;
	for (uint32_t i = 0; i < chunk_count; i++) {
		uint64_t at = wide ? load_be64(chunks.body + 8 * i) :
				     load_be32(chunks.body + 4 * i);
		uint32_t n;

		if (run + 1 < run_count &&
		    load_be32(runs.body + 12 * (run + 1)) <= i + 1)
			run++;
		n = load_be32(runs.body + 12 * run + 4);
		while (n-- && sample < t->count) {
			t->samples[sample].offset = at;
			at += t->samples[sample++].bytes;
		}
	}
	return sample == t->count;
}

static bool fill_times(struct mp4_table *t, struct box stbl, uint32_t scale)
{
	struct box b;
	uint32_t count;
	uint64_t ticks = 0;
	size_t sample = 0;

	if (!scale || !table_find(stbl, "stts", 8, &b, &count))
		return false;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t n = load_be32(b.body + 8 * i);
		uint32_t delta = load_be32(b.body + 8 * i + 4);

		while (n-- && sample < t->count) {
			t->samples[sample++].time_ns = ticks * NS_PER_S / scale;
			ticks += delta;
		}
	}
	if (!table_find(stbl, "stss", 4, &b, &count))
		return false;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t key = load_be32(b.body + 4 * i);

		if (!key || key > t->count)
			return false;
		t->samples[key - 1].key = true;
	}
	return sample == t->count;
}

static bool fill_entry(struct mp4_table *t, struct box stbl)
{
	struct box b;
	struct box entry;
	struct box avcc;
	uint32_t count;

	if (!table_find(stbl, "stsd", 8, &b, &count) ||
	    !box_find(b, "avc1", &entry) || entry.len < AVC1_BODY_BYTES)
		return false;
	t->width = load_be16(entry.body + 24);
	t->height = load_be16(entry.body + 26);
	entry.body += AVC1_BODY_BYTES;
	entry.len -= AVC1_BODY_BYTES;
	if (!box_find(entry, "avcC", &avcc))
		return false;
	t->avcc = avcc.body;
	t->avcc_bytes = avcc.len;
	return true;
}

int mp4_table_read(int fd, struct mp4_table *ret_table)
{
	struct mp4_table t = { 0 };
	struct box in;
	struct box mdhd;
	struct box box = { 0 };
	size_t len;
	int r;

	r = read_moov(fd, &t.moov, &len);
	if (r < 0)
		return r;
	in.body = t.moov + 8;
	in.len = len - 8;
	if (!box_find(in, "trak", &box) || !box_find(box, "mdia", &in) ||
	    !box_find(in, "mdhd", &mdhd) || mdhd.len < 24 ||
	    !box_find(in, "minf", &box) || !box_find(box, "stbl", &in) ||
	    !fill_sizes(&t, in) || !fill_offsets(&t, in) ||
	    !fill_entry(&t, in) ||
	    !fill_times(&t, in, load_be32(mdhd.body +
					  (mdhd.body[0] ? 20 : 12)))) {
		mp4_table_fini(&t);
		return -EBADMSG;
	}
	*ret_table = t;
	return 0;
}

void mp4_table_fini(struct mp4_table *t)
{
	free(t->samples);
	free(t->moov);
	memset(t, 0, sizeof(*t));
}
