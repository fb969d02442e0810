/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/stored_out.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "core/limits.h"
#include "core/media_out.h"
#include "serve/http.h"
#include "serve/server.h"

int stored_out_init(struct stored_out *so, struct exchange *ex, bool trailing,
		    void (*wake)(struct stored_out *so))
{
	*so = (struct stored_out){.ex = ex, .trailing = trailing, .wake = wake};
	so->buffer = malloc(READER_BYTES);
	return so->buffer ? 0 : -ENOMEM;
}

void stored_out_fini(struct stored_out *so)
{
	assert(!so->busy);
	free(so->buffer);
}

void stored_out_begin(struct stored_out *so, const struct store_fragment *row)
{
	assert(!so->busy);
	so->row = *row;
	so->error = 0;
	so->sent = false;
	so->tags_sent = false;
	so->offset = 0;
	so->frames = (struct mkv_frames){.skip = 0};
}

void stored_out_resume(struct stored_out *so, const struct store_fragment *row,
		       uint64_t media)
{
	assert(!so->busy);
	so->row = *row;
	so->error = 0;
	so->sent = true;
	so->tags_sent = true;
	so->offset = row->header_bytes + media;
}

void stored_out_count(struct stored_out *so, const uint8_t *media, size_t len)
{
	exchange_call(so->ex)->frames +=
		mkv_frames_add(&so->frames, media, len);
}

static void read_done(struct store_op *op, int res)
{
	struct stored_out *so = container_of(op, struct stored_out, op);

	so->busy = false;
	if (res <= 0) {
		so->error = res ? res : -EIO;
	} else {
		so->sent = true;
		so->error = exchange_write(so->ex, so->buffer, (size_t)res);
		if (so->error == 0 && so->offset >= so->row.header_bytes)
			stored_out_count(so, so->buffer, (size_t)res);
		so->offset += (uint64_t)res;
	}
	so->wake(so);
}

static void read_more(struct stored_out *so)
{
	struct exchange *ex = so->ex;
	uint64_t header = so->row.header_bytes;
	uint64_t end = so->offset < header ? header
					   : header + so->row.media_bytes;
	size_t len = (size_t)MIN(end - so->offset, (uint64_t)READER_BYTES);

	so->busy = true;
	so->op.done = read_done;
	store_read(ex->thread->store, &ex->stream.store, &so->row, so->offset,
		   so->buffer, len, &so->op);
}

uint64_t stored_out_behind_ns(const struct stored_out *so)
{
	uint64_t now_ms = server_wall_ms(so->ex->thread);
	uint64_t at_ms = so->row.server_ms;

	return now_ms > at_ms ? (now_ms - at_ms) * NS_PER_MS : 0;
}

static int write_tags(struct stored_out *so, bool before)
{
	uint8_t bytes[MEDIA_OUT_TAGS_BYTES_MAX];
	struct buf out = {
		.data = bytes, .size = sizeof(bytes), .max = sizeof(bytes)};
	int r;

	if (before)
		r = media_out_before(&out, &so->row.number, so->row.server_ms,
				     so->row.producer_ms);
	else
		r = media_out_after(&out, &so->row.number,
				    stored_out_behind_ns(so) / NS_PER_MS);
	if (r < 0)
		return r;
	return exchange_write(so->ex, buf_head(&out), buf_len(&out));
}

int stored_out_pump(struct stored_out *so)
{
	uint64_t header = so->row.header_bytes;

	if (so->busy)
		return 0;
	if (so->error < 0)
		return so->error;
	if (exchange_backlog(so->ex) >= OUTPUT_BYTES_MAX)
		return 0;
	if (so->offset >= header && !so->tags_sent) {
		so->tags_sent = true;
		so->error = write_tags(so, true);
		if (so->error < 0)
			return so->error;
	}
	if (so->offset >= header + so->row.media_bytes) {
		so->error = so->trailing ? write_tags(so, false) : 0;
		return so->error < 0 ? so->error : 1;
	}
	read_more(so);
	return 0;
}
