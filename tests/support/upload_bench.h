/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the upload session share: the other side is the test. */
#ifndef SUPPORT_UPLOAD_BENCH_H
#define SUPPORT_UPLOAD_BENCH_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include <cmocka.h>

#include "core/retain_ram.h"
#include "core/upload.h"

#define STORE_BYTES (4u << 20)
#define FRAME_BYTES 100u
#define BASE_MS UINT64_C(1700000000000)

struct bench {
	struct retain_ram ram;
	void *memory;
	struct upload u;
	uint64_t now_ns;
	uint64_t timer_ns;
	uint64_t timecode_ms;	/* of the next fragment */
	size_t backlog;
	int header_result;
	int send_result;
	unsigned int calls[3];
	unsigned int connects;
	unsigned int opens;
	unsigned int headers;
	unsigned int ends;
	unsigned int closes;
	uint8_t tracks;		/* of the last header */
	uint64_t bytes;		/* sent */
	struct upload_report report; /* the last one */
	char report_text[256];
	unsigned int reports[8];
};

static inline void fake_call(void *ctx, enum upload_call call)
{
	((struct bench *)ctx)->calls[call]++;
}

static inline void fake_connect(void *ctx)
{
	((struct bench *)ctx)->connects++;
}

static inline void fake_open(void *ctx, uint64_t start_ms)
{
	struct bench *b = ctx;

	assert_true(start_ms >= BASE_MS);
	b->opens++;
}

static inline int fake_header(void *ctx, uint32_t setup, uint8_t tracks)
{
	struct bench *b = ctx;

	(void)setup;
	if (b->header_result < 0)
		return b->header_result;
	b->headers++;
	b->tracks = tracks;
	return 0;
}

static inline int fake_send(void *ctx, const struct iovec *parts, size_t count,
		     size_t bytes)
{
	struct bench *b = ctx;
	size_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += parts[i].iov_len;
	assert_int_equal(sum, bytes);
	assert_true(bytes && bytes <= UPLOAD_PIECE_BYTES_MAX);
	if (b->send_result < 0)
		return b->send_result;
	b->bytes += bytes;
	return 0;
}

static inline void fake_end(void *ctx)
{
	((struct bench *)ctx)->ends++;
}

static inline void fake_close(void *ctx)
{
	((struct bench *)ctx)->closes++;
}

static inline size_t fake_backlog(void *ctx)
{
	return ((struct bench *)ctx)->backlog;
}

static inline void fake_timer(void *ctx, uint64_t at_ns)
{
	((struct bench *)ctx)->timer_ns = at_ns;
}

static inline void fake_report(void *ctx, const struct upload_report *r)
{
	struct bench *b = ctx;

	b->report = *r;
	(void)snprintf(b->report_text, sizeof(b->report_text), "%s",
		       r->text ? r->text : "");
	b->reports[r->kind]++;
}

static const struct upload_ops fake_ops = {
	.call = fake_call, .connect = fake_connect,
	.open = fake_open, .close = fake_close,
	.header = fake_header, .send = fake_send, .end = fake_end,
	.backlog = fake_backlog, .timer = fake_timer,
	.report = fake_report,
};

static inline int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct retain_ram_config config = {
		.bytes = retain_ram_memory_bytes(STORE_BYTES),
		.store_bytes = STORE_BYTES,
	};
	struct upload_config upload = { .ops = &fake_ops, .seed = 1 };

	assert_non_null(b);
	b->memory = aligned_alloc(4096, config.bytes);
	assert_non_null(b->memory);
	memset(b->memory, 0, config.bytes);
	config.memory = b->memory;
	assert_int_equal(retain_ram_init(&b->ram, &config), 0);
	upload.ctx = b;
	upload.retain = &b->ram.retain;
	upload.create_stream = true;
	upload_init(&b->u, &upload);
	b->now_ns = 1000 * NS_PER_S;
	b->timecode_ms = BASE_MS;
	*state = b;
	return 0;
}

static inline int teardown(void **state)
{
	struct bench *b = *state;

	free(b->memory);
	free(b);
	return 0;
}

/* --- media ------------------------------------------------------------------------ */

static inline void open_fragment(struct bench *b, uint8_t tracks)
{
	struct retain_fragment head = { .timecode_ms = b->timecode_ms,
					.tracks = tracks, .setup = 1 };

	assert_int_equal(b->ram.retain.ops->open(&b->ram.retain, &head), 0);
}

static inline void add_frame(struct bench *b, uint32_t track)
{
	static uint8_t payload[FRAME_BYTES];
	struct iovec part = { payload, sizeof(payload) };
	uint64_t held;

	assert_int_equal(b->ram.retain.ops->hold(&b->ram.retain, &part, 1,
						 sizeof(payload), &held), 0);
	b->ram.retain.ops->add(&b->ram.retain, held, payload, 8, track,
			       b->timecode_ms * NS_PER_MS);
	b->timecode_ms += 100;
}

static inline void seal(struct bench *b)
{
	b->ram.retain.ops->seal(&b->ram.retain);
}

/* A whole fragment of ten frames; its timecode. */
static inline uint64_t put(struct bench *b)
{
	uint64_t timecode = b->timecode_ms;

	open_fragment(b, 1);
	for (int i = 0; i < 10; i++)
		add_frame(b, 0);
	seal(b);
	return timecode;
}

static inline size_t stored(struct bench *b)
{
	return b->ram.retain.ops->usage(&b->ram.retain).fragments;
}

/* --- events ----------------------------------------------------------------------- */

static inline int event(struct bench *b, enum upload_event_kind kind)
{
	return upload_step(&b->u, &(struct upload_event){ .kind = kind },
			   b->now_ns);
}

static inline int replied(struct bench *b, enum upload_event_kind kind, int status,
		   const char *type)
{
	struct upload_reply reply = { .status = status, .error_type = type,
				      .message = "", .active = true,
				      .retention_hours = 24,
				      .now_s = 5000, .date_s = 5000 };

	return upload_step(&b->u, &(struct upload_event){ .kind = kind,
							  .reply = &reply },
			   b->now_ns);
}

static inline int acked(struct bench *b, enum ack_event kind, uint64_t timecode,
		 uint32_t error)
{
	struct ack ack = { .event = kind, .has_timecode = true,
			   .timecode_ms = timecode, .error_id = error };

	return upload_step(&b->u, &(struct upload_event){ .kind = UPLOAD_ACKED,
							  .ack = &ack },
			   b->now_ns);
}

static inline int closed(struct bench *b)
{
	return upload_step(&b->u, &(struct upload_event){ .kind = UPLOAD_CLOSED,
							  .why = -ECONNRESET },
			   b->now_ns);
}

static inline void advance(struct bench *b, uint64_t ns)
{
	b->now_ns += ns;
}

/* Lets the timer fire. */
static inline void wait_for_timer(struct bench *b)
{
	assert_true(b->timer_ns != UINT64_MAX);
	if (b->timer_ns > b->now_ns)
		b->now_ns = b->timer_ns;
	assert_int_equal(event(b, UPLOAD_TIMER), 0);
}

static inline void expect_state(struct bench *b, enum upload_state state)
{
	assert_string_equal(upload_state_name(b->u.state),
			    upload_state_name(state));
}

static inline void to_ready(struct bench *b)
{
	assert_int_equal(event(b, UPLOAD_START), 0);
	assert_int_equal(replied(b, UPLOAD_REPLIED, 200, ""), 0);
	expect_state(b, UPLOAD_LOCATING);
	assert_int_equal(replied(b, UPLOAD_REPLIED, 200, ""), 0);
}

static inline void accept_session(struct bench *b)
{
	expect_state(b, UPLOAD_CONNECTING);
	assert_int_equal(event(b, UPLOAD_CONNECTED), 0);
	assert_int_equal(event(b, UPLOAD_ACCEPTED), 0);
}

/* Streaming, with one fragment sent whole. */
static inline uint64_t to_streaming(struct bench *b)
{
	uint64_t timecode = put(b);

	to_ready(b);
	accept_session(b);
	expect_state(b, UPLOAD_STREAMING);
	return timecode;
}

#endif
