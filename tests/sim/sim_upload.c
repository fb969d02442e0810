/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fragmenter, retransmission store and upload session against a service that
 * exists only here: it disconnects, is slow, stalls, refuses, acknowledges
 * late, twice and out of order, and the wall clock is stepped under all that.
 * One seed decides everything.
 *
 * Checked (kvsd's invariants): 1 no frame waits for an acknowledgement; 3 only
 * a full store or the service's refusal costs media, in whole fragments, each
 * reported; 4 timecodes never go back in a session, and what the producer was
 * told is persisted is never sent again; and every frame is in the end
 * persisted bit for bit, or in a fragment that was reported as dropped.
 *
 *	SEEDS=n	how many seeds (default 40)	SEED=n	that one, with a trace
 */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "core/clock_map.h"
#include "core/fragmenter.h"
#include "core/retain_ram.h"
#include "core/upload.h"
#include "proto/mkv_writer.h"
#include "support/seeds.h"

#define TICK_NS (10 * NS_PER_MS)
#define FRAME_NS (40 * NS_PER_MS)
#define MEDIA_S 240u		/* of filming */
#define AFTER_S 1200u		/* of good network, to get everything home */
#define FRAGMENTS_MAX 2048u
#define ACKS_MAX 1024u
#define OUTBOX_BYTES_MAX (2u << 20)
#define SERVICE_BYTES_MAX (8u << 20)
#define FRAME_BYTES_MAX 20000u

#define CHECK(w, cond) \
	do { \
		if (!(cond)) \
			failed(w, #cond, __LINE__); \
	} while (0)

/* What became of a fragment, by the producer's and by the service's book. */
struct shadow {
	uint64_t timecode_ms;
	uint32_t first_frame;
	uint32_t frames;
	bool acked;		/* PERSISTED reached the producer */
	bool dropped;		/* reported */
	bool persisted;		/* by the service, whole */
	uint32_t sent_times;
};

struct ack_due {
	uint64_t at_ns;
	struct ack ack;
	size_t fragment;
	bool used;
};

struct world {
	uint64_t seed;
	uint64_t random;
	bool trace;
	uint64_t now_ns;
	int64_t wall_offset_ns;
	struct clock_map clock;

	struct fragmenter *fragmenter;
	struct retain_ram ram;
	void *memory;
	struct upload upload;
	bool open;
	bool finished;
	uint32_t frame;		/* number of the next one taken */
	uint64_t next_frame_ns;
	uint64_t frames_refused;
	bool filming;
	bool need_key;

	struct shadow fragments[FRAGMENTS_MAX];
	size_t fragment_count;
	bool may_drop;		/* make_room is at work, or an error ack */
	uint64_t drops;

	/* The network. */
	uint64_t timer_ns;
	bool call_pending;
	uint64_t call_at_ns;
	bool connecting;
	uint64_t connect_at_ns;
	bool connected;
	bool opening;
	uint64_t open_at_ns;
	bool streaming;
	bool close_pending;
	int close_why;
	bool deaf;		/* it takes no more bytes, acks still come */
	uint64_t gone_at_ns;	/* ... and is gone then */
	bool body_over;		/* the producer ended it */
	bool end_sent;
	uint8_t outbox[OUTBOX_BYTES_MAX];
	size_t outbox_len;
	uint64_t rate;		/* bytes per second */
	uint64_t stall_until_ns;

	/* The service: this session. */
	struct buf in;
	bool header_seen;
	bool cluster_open;
	size_t cluster;		/* index of its shadow */
	uint64_t cluster_ms;
	uint64_t session_end_ms;
	bool session_any;
	uint32_t cluster_frames;
	bool exists;
	struct ack_due acks[ACKS_MAX];
	size_t acks_used;

	/* How bad it is. */
	unsigned int cut_permyriad;	/* per tick */
	unsigned int error_percent;	/* per fragment */
	uint64_t ack_delay_ns;
	unsigned int step_permyriad;
	bool quiet;			/* everything works from here on */
};

static void failed(struct world *w, const char *what, int line)
{
	(void)fprintf(stderr, "sim_upload: SEED=%llu line %d: %s (at %llu ms, "
		      "%s)\n", (unsigned long long)w->seed, line, what,
		      (unsigned long long)(w->now_ns / NS_PER_MS),
		      upload_state_name(w->upload.state));
	abort();
}

static void trace(const struct world *w, const char *fmt, ...) PRINTF(2, 3);
static void trace(const struct world *w, const char *fmt, ...)
{
	va_list args;

	if (!w->trace)
		return;
	printf("%8llu ", (unsigned long long)(w->now_ns / NS_PER_MS));
	va_start(args, fmt);
	(void)vprintf(fmt, args);
	va_end(args);
	printf("\n");
}

static uint64_t rnd(struct world *w, uint64_t below)
{
	uint64_t n = seeds_random(&w->random, below);

	return below ? n : 0;
}

static bool chance(struct world *w, unsigned int permyriad)
{
	return !w->quiet && rnd(w, 10000) < permyriad;
}

/* --- effects of the upload session ------------------------------------------------ */

static void op_call(void *ctx, enum upload_call call)
{
	struct world *w = ctx;

	CHECK(w, !w->call_pending);
	w->call_pending = true;
	w->call_at_ns = w->now_ns + rnd(w, 200) * NS_PER_MS;
	if (call == UPLOAD_CALL_CREATE)
		w->exists = true;
}

static void op_connect(void *ctx)
{
	struct world *w = ctx;

	CHECK(w, !w->connecting && !w->connected);
	w->connecting = true;
	w->connect_at_ns = w->now_ns + rnd(w, 300) * NS_PER_MS;
}

static void op_open(void *ctx, uint64_t start_ms)
{
	struct world *w = ctx;

	CHECK(w, w->connected && start_ms);
	w->opening = true;
	w->open_at_ns = w->now_ns + rnd(w, 300) * NS_PER_MS;
}

static int outbox_add(struct world *w, const void *bytes, size_t len)
{
	CHECK(w, w->streaming && !w->body_over);
	if (w->deaf)
		return rnd(w, 2) ? -EPIPE : -ECONNRESET;
	if (w->outbox_len + len > sizeof(w->outbox))
		return -ENOBUFS;
	memcpy(w->outbox + w->outbox_len, bytes, len);
	w->outbox_len += len;
	return 0;
}

static int op_header(void *ctx, uint32_t setup, uint8_t tracks)
{
	struct world *w = ctx;

	CHECK(w, setup == 1 && tracks == 1);
	return outbox_add(w, "HEADER", 6);
}

static int op_send(void *ctx, const struct iovec *parts, size_t count,
		   size_t bytes)
{
	struct world *w = ctx;

	(void)bytes;
	for (size_t i = 0; i < count; i++) {
		int r = outbox_add(w, parts[i].iov_base, parts[i].iov_len);

		if (r < 0)
			return r;
	}
	return 0;
}

static void op_end(void *ctx)
{
	struct world *w = ctx;

	CHECK(w, w->streaming && !w->body_over);
	w->body_over = true;
}

static void op_close(void *ctx)
{
	struct world *w = ctx;

	CHECK(w, w->connecting || w->connected);
	w->close_pending = true;
	w->close_why = -ECANCELED;
}

static size_t op_backlog(void *ctx)
{
	return ((struct world *)ctx)->outbox_len;
}

static void op_timer(void *ctx, uint64_t at_ns)
{
	((struct world *)ctx)->timer_ns = at_ns;
}

static struct shadow *shadow_of(struct world *w, uint64_t timecode_ms)
{
	for (size_t i = w->fragment_count; i--;)
		if (w->fragments[i].timecode_ms == timecode_ms)
			return &w->fragments[i];
	return NULL;
}

/* Invariant 3: the oldest goes; only one that is on its way is spared. */
static void check_oldest(struct world *w, const struct shadow *dropped)
{
	for (const struct shadow *s = w->fragments; s < dropped; s++) {
		if (s->acked || s->dropped)
			continue;
		CHECK(w, w->upload.cursor.seq);
		CHECK(w, retain_get(&w->ram.retain, w->upload.cursor.seq)
				 ->timecode_ms == s->timecode_ms);
	}
}

static void op_report(void *ctx, const struct upload_report *r)
{
	struct world *w = ctx;
	struct shadow *s = shadow_of(w, r->timecode_ms);

	if (r->kind == UPLOAD_REPORT_PERSISTED) {
		CHECK(w, s && s->persisted && !s->dropped);
		s->acked = true;
	} else if (r->kind == UPLOAD_REPORT_DROPPED) {
		trace(w, "dropped %llu: %s", (unsigned long long)r->timecode_ms,
		      r->text);
		CHECK(w, s && !s->acked && !s->dropped && w->may_drop);
		if (strcmp(r->text, "the store is full") == 0)
			check_oldest(w, s);
		s->dropped = true;
		w->drops++;
	} else if (r->kind == UPLOAD_REPORT_DISCONNECTED ||
		   r->kind == UPLOAD_REPORT_REFUSED) {
		trace(w, "%s, again in %llu ms", r->text,
		      (unsigned long long)r->delay_ms);
	}
}

static const struct upload_ops world_ops = {
	.call = op_call,
	.connect = op_connect,
	.open = op_open,
	.header = op_header,
	.send = op_send,
	.end = op_end,
	.close = op_close,
	.backlog = op_backlog,
	.timer = op_timer,
	.report = op_report,
};

static void step(struct world *w, const struct upload_event *ev)
{
	(void)upload_step(&w->upload, ev, w->now_ns);
}

static void step_kind(struct world *w, enum upload_event_kind kind)
{
	step(w, &(struct upload_event){ .kind = kind });
}

/* --- the service -------------------------------------------------------------------- */

static void send_ack(struct world *w, enum ack_event event, size_t fragment,
		     uint64_t delay_ns, uint32_t error)
{
	for (size_t i = 0; i < ACKS_MAX; i++) {
		struct ack_due *a = &w->acks[i];

		if (a->used)
			continue;
		w->acks_used++;
		*a = (struct ack_due){
			.used = true,
			.at_ns = w->now_ns + delay_ns,
			.fragment = fragment,
			.ack = { .event = event, .has_timecode = true,
				 .timecode_ms = w->fragments[fragment].timecode_ms,
				 .error_id = error },
		};
		return;
	}
	CHECK(w, !"room for acknowledgements");
}

static void cluster_complete(struct world *w)
{
	static const uint32_t errors[] = { 4006, 5000, 5001, 4000 };
	struct shadow *s;
	uint64_t delay_ns = w->quiet ? 0 : rnd(w, w->ack_delay_ns);

	if (!w->cluster_open)
		return;
	w->cluster_open = false;
	s = &w->fragments[w->cluster];
	CHECK(w, w->cluster_frames == s->frames);
	if (!w->quiet && rnd(w, 100) < w->error_percent) {
		send_ack(w, ACK_ERROR, w->cluster, delay_ns,
			 errors[rnd(w, ARRAY_SIZE(errors))]);
		return;
	}
	s->persisted = true;
	send_ack(w, ACK_RECEIVED, w->cluster, delay_ns, 0);
	delay_ns += w->quiet ? 0 : rnd(w, w->ack_delay_ns);
	send_ack(w, ACK_PERSISTED, w->cluster, delay_ns, 0);
	if (chance(w, 1000)) /* twice */
		send_ack(w, ACK_PERSISTED, w->cluster,
			 delay_ns + rnd(w, NS_PER_S), 0);
}

static void cluster_begins(struct world *w, uint64_t timecode_ms)
{
	struct shadow *s = shadow_of(w, timecode_ms);

	cluster_complete(w);
	CHECK(w, s);
	CHECK(w, !s->acked); /* invariant 4: never again */
	CHECK(w, !w->session_any || timecode_ms > w->session_end_ms);
	w->session_any = true;
	w->session_end_ms = timecode_ms;
	w->cluster_open = true;
	w->cluster = (size_t)(s - w->fragments);
	w->cluster_ms = timecode_ms;
	w->cluster_frames = 0;
	s->sent_times++;
	send_ack(w, ACK_BUFFERING, w->cluster, 0, 0);
}

static uint32_t frame_bytes(uint32_t frame)
{
	return 16 + (frame * 2654435761u >> 7) % (FRAME_BYTES_MAX - 16);
}

static void check_block(struct world *w, const uint8_t *block, size_t payload)
{
	const uint8_t *p = block + MKV_BLOCK_HEAD_BYTES;
	const struct shadow *s = &w->fragments[w->cluster];
	int16_t relative = (int16_t)load_be16(p - 3);
	uint32_t frame = load_be32(p);

	CHECK(w, w->cluster_open && relative >= 0);
	CHECK(w, w->cluster_ms + (uint64_t)relative >= w->session_end_ms);
	w->session_end_ms = w->cluster_ms + (uint64_t)relative;
	CHECK(w, frame == s->first_frame + w->cluster_frames);
	CHECK(w, payload == frame_bytes(frame));
	for (size_t i = 4; i < payload; i += 997)
		CHECK(w, p[i] == (uint8_t)(frame + i));
	w->cluster_frames++;
}

/* One element off the front; false when more bytes are needed. */
static bool service_element(struct world *w)
{
	uint8_t *p = buf_head(&w->in);
	size_t len = buf_len(&w->in);
	size_t payload;

	if (!w->header_seen) {
		if (len < 6)
			return false;
		CHECK(w, memcmp(p, "HEADER", 6) == 0);
		w->header_seen = true;
		buf_consume(&w->in, 6);
		return true;
	}
	if (len < MKV_CLUSTER_HEAD_BYTES)
		return false;
	if (load_be32(p) == MKV_ID_CLUSTER) {
		cluster_begins(w, load_be64(p + 7));
		buf_consume(&w->in, MKV_CLUSTER_HEAD_BYTES);
		return true;
	}
	CHECK(w, p[0] == MKV_ID_SIMPLE_BLOCK);
	payload = (load_be32(p + 1) & 0x0fffffff) - 4;
	if (len < MKV_BLOCK_HEAD_BYTES + payload)
		return false;
	check_block(w, p, payload);
	buf_consume(&w->in, MKV_BLOCK_HEAD_BYTES + payload);
	return true;
}

static void service_reset(struct world *w)
{
	buf_reset(&w->in);
	w->header_seen = false;
	w->cluster_open = false;
	w->session_any = false;
	w->body_over = false;
	w->end_sent = false;
	w->outbox_len = 0;
	for (size_t i = 0; i < ACKS_MAX; i++)
		w->acks[i].used = false;
	w->acks_used = 0;
}

/* --- the network ---------------------------------------------------------------------- */

static void connection_gone(struct world *w, int why)
{
	w->connecting = false;
	w->connected = false;
	w->opening = false;
	w->streaming = false;
	w->deaf = false;
	w->close_pending = false;
	service_reset(w);
	step(w, &(struct upload_event){ .kind = UPLOAD_CLOSED, .why = why,
					.text = why ? "gone" : "" });
}

static void deliver_acks(struct world *w)
{
	for (size_t i = 0; i < ACKS_MAX && w->streaming && w->acks_used; i++) {
		struct ack_due *a = &w->acks[i];
		struct ack ack = a->ack;

		if (!a->used || a->at_ns > w->now_ns)
			continue;
		a->used = false;
		w->acks_used--;
		w->may_drop = ack.event == ACK_ERROR;
		step(w, &(struct upload_event){ .kind = UPLOAD_ACKED,
						.ack = &ack });
		w->may_drop = false;
	}
}

static void move_bytes(struct world *w)
{
	size_t n = (size_t)(w->rate * TICK_NS / NS_PER_S);

	if (w->quiet)
		n = sizeof(w->outbox);
	else if (w->now_ns < w->stall_until_ns)
		return;
	n = MIN(n, w->outbox_len);
	if (!n)
		return;
	CHECK(w, buf_add(&w->in, w->outbox, n) == 0);
	w->outbox_len -= n;
	/* Short: the session keeps its backlog under a bound. */
	memmove(w->outbox, w->outbox + n, w->outbox_len);
	while (service_element(w))
		;
	if (!w->outbox_len)
		step_kind(w, UPLOAD_DRAINED);
}

static void stream_tick(struct world *w)
{
	if (chance(w, w->cut_permyriad)) {
		/* What was under way may or may not have arrived. */
		if (rnd(w, 2))
			move_bytes(w);
		if (rnd(w, 2) || w->deaf) {
			trace(w, "cut");
			connection_gone(w, -ECONNRESET);
			return;
		}
		trace(w, "takes no more");
		w->deaf = true;
		w->gone_at_ns = w->now_ns + rnd(w, 10) * NS_PER_S;
		w->outbox_len = 0;
	}
	if (w->deaf) {
		deliver_acks(w);
		if (w->streaming && w->now_ns >= w->gone_at_ns)
			connection_gone(w, -ECONNRESET);
		return;
	}
	if (chance(w, 2))
		w->stall_until_ns = w->now_ns + rnd(w, 50) * NS_PER_S;
	move_bytes(w);
	if (w->streaming && w->body_over && !w->outbox_len)
		cluster_complete(w);
	deliver_acks(w);
	if (w->streaming && !w->close_pending && w->body_over &&
	    !w->outbox_len && !w->end_sent && !w->acks_used) {
		w->end_sent = true;
		step_kind(w, UPLOAD_ENDED);
	}
}

static void call_tick(struct world *w)
{
	struct upload_reply reply = { .status = 200, .error_type = "",
				      .message = "", .active = true,
				      .retention_hours = 24 };

	if (!w->call_pending || w->now_ns < w->call_at_ns)
		return;
	w->call_pending = false;
	if (chance(w, 1000)) {
		reply.status = rnd(w, 2) ? 503 : -ECONNREFUSED;
	} else if (!w->exists) {
		reply.status = 404;
		reply.error_type = "ResourceNotFoundException";
	}
	step(w, &(struct upload_event){ .kind = UPLOAD_REPLIED,
					.reply = &reply });
}

static void network_tick(struct world *w)
{
	struct upload_reply busy = { .status = 400, .message = "",
				     .error_type =
					     "ConnectionLimitExceededException" };

	call_tick(w);
	if (w->close_pending) {
		connection_gone(w, w->close_why);
	} else if (w->connecting && w->now_ns >= w->connect_at_ns) {
		if (chance(w, 1500)) {
			connection_gone(w, -ECONNREFUSED);
			return;
		}
		w->connecting = false;
		w->connected = true;
		step_kind(w, UPLOAD_CONNECTED);
	} else if (w->opening && w->now_ns >= w->open_at_ns) {
		w->opening = false;
		if (chance(w, 500)) {
			step(w, &(struct upload_event){ .kind = UPLOAD_REFUSED,
							.reply = &busy });
			return;
		}
		service_reset(w);
		w->streaming = true;
		step_kind(w, UPLOAD_ACCEPTED);
	} else if (w->streaming) {
		stream_tick(w);
	}
}

/* --- the device ------------------------------------------------------------------------ */

static void take_blocks(struct world *w)
{
	struct retain *store = &w->ram.retain;
	struct fragmenter_block b;

	while (fragmenter_next(w->fragmenter, w->now_ns, &b)) {
		struct shadow *s;

		if (b.drop) {
			store->ops->release(store, b.held);
			continue;
		}
		if (b.opens) {
			if (w->open)
				store->ops->seal(store);
			CHECK(w, store->ops->open(store, &b.head) == 0);
			CHECK(w, w->fragment_count < FRAGMENTS_MAX);
			CHECK(w, !shadow_of(w, b.head.timecode_ms));
			w->open = true;
			s = &w->fragments[w->fragment_count++];
			s->timecode_ms = b.head.timecode_ms;
			s->first_frame = w->frame;
		}
		s = &w->fragments[w->fragment_count - 1];
		s->frames++;
		store->ops->add(store, b.held, b.header, b.header_bytes, b.track,
				b.time_ns);
	}
	if (fragmenter_idle(w->fragmenter, w->now_ns) && w->open) {
		store->ops->seal(store);
		w->open = false;
	}
}

/* Only a full store may cost media. Return: false = the open one went. */
static bool make_room(struct world *w)
{
	struct retain_usage u = w->ram.retain.ops->usage(&w->ram.retain);
	enum upload_room room;

	CHECK(w, u.bytes_used + 2 * RETAIN_CHUNK_BYTES > u.bytes_max ||
			 u.rows_used + 2 >= u.rows_max);
	w->may_drop = true;
	room = upload_make_room(&w->upload);
	w->may_drop = false;
	CHECK(w, room != UPLOAD_ROOM_NONE);
	if (room == UPLOAD_ROOM_SEALED)
		return true;
	w->open = false;
	fragmenter_restart(w->fragmenter);
	return false;
}

static void put_frame(struct world *w)
{
	static uint8_t payload[FRAME_BYTES_MAX];
	struct retain *store = &w->ram.retain;
	uint32_t bytes = frame_bytes(w->frame);
	struct iovec part = { payload, bytes };
	struct fragmenter_frame f = { .bytes = bytes };

	f.key = w->need_key || rnd(w, 25) == 0;
	f.time_ns = clock_map_ns(&w->clock, w->now_ns);
	store_be32(payload, w->frame);
	for (size_t i = 4; i < bytes; i++)
		payload[i] = (uint8_t)(w->frame + i);
	if (fragmenter_check(w->fragmenter, 0, f.key, f.time_ns, bytes) < 0) {
		w->frames_refused++;
		w->need_key = true;
		return;
	}
	for (;;) {
		struct retain_usage u = store->ops->usage(store);

		if (u.rows_used + 2 < u.rows_max &&
		    store->ops->hold(store, &part, 1, bytes, &f.held) == 0)
			break;
		if (!make_room(w)) {
			w->need_key = true;
			return;
		}
	}
	w->need_key = false;
	fragmenter_put(w->fragmenter, &f, w->now_ns);
	take_blocks(w);
	w->frame++;
	step_kind(w, UPLOAD_MEDIA);
}

static void clock_tick(struct world *w)
{
	uint64_t wall_ns;

	if (chance(w, w->step_permyriad)) {
		int64_t step_ns = (int64_t)rnd(w, 7200 * NS_PER_S) -
				  (int64_t)(3600 * NS_PER_S);

		w->wall_offset_ns += step_ns;
		w->need_key = true;
		trace(w, "clock step %lld ms", (long long)step_ns / 1000000);
	}
	wall_ns = w->now_ns + (uint64_t)w->wall_offset_ns;
	(void)clock_map_sample(&w->clock, w->now_ns, wall_ns, w->now_ns + 100);
}

static void device_tick(struct world *w)
{
	clock_tick(w);
	if (w->filming && w->now_ns >= w->next_frame_ns) {
		w->next_frame_ns += FRAME_NS;
		if (chance(w, 10)) /* the camera stands still */
			w->next_frame_ns += rnd(w, 12) * NS_PER_S;
		put_frame(w);
	}
	if (fragmenter_deadline_ns(w->fragmenter) <= w->now_ns) {
		take_blocks(w);
		step_kind(w, UPLOAD_MEDIA);
	}
}

/* --- a run ------------------------------------------------------------------------------- */

static void tick(struct world *w)
{
	w->now_ns += TICK_NS;
	device_tick(w);
	network_tick(w);
	if (w->timer_ns <= w->now_ns) {
		w->timer_ns = UINT64_MAX;
		step_kind(w, UPLOAD_TIMER);
	}
}

static void set_up(struct world *w)
{
	static const struct mkv_track track = { .type = MKV_TRACK_VIDEO,
						.codec_id = "V_TEST" };
	static const bool later;
	struct fragmenter_config fragmenter = {
		.tracks = &track, .private_later = &later, .track_count = 1,
		.fragment_ms = 1000 + rnd(w, 3) * 1000, .interleave_ms = 200,
	};
	size_t store_bytes = (size_t)(1 + rnd(w, 40)) << 20;
	struct retain_ram_config ram = {
		.memory = w->memory,
		.bytes = retain_ram_memory_bytes(store_bytes),
		.store_bytes = store_bytes,
	};
	struct upload_config upload = { .ops = &world_ops, .ctx = w,
					.create_stream = true,
					.seed = w->seed };

	memset(w->memory, 0, ram.bytes);
	assert(fragmenter_new(&fragmenter, &w->fragmenter) == 0);
	assert(retain_ram_init(&w->ram, &ram) == 0);
	upload.retain = &w->ram.retain;
	upload_init(&w->upload, &upload);
	w->now_ns = 100 * NS_PER_S;
	w->next_frame_ns = w->now_ns;
	w->timer_ns = UINT64_MAX;
	w->wall_offset_ns = (int64_t)(1700000000 * NS_PER_S);
	w->filming = true;
	w->need_key = true;
	w->exists = rnd(w, 2);
	w->rate = 200000 + rnd(w, 2000000);
	w->cut_permyriad = (unsigned int)rnd(w, 40);
	w->error_percent = (unsigned int)rnd(w, 8);
	w->ack_delay_ns = rnd(w, 4) ? rnd(w, 2 * NS_PER_S) + 1 : 60 * NS_PER_S;
	w->step_permyriad = rnd(w, 2) ? 3 : 0;
	buf_init(&w->in, SERVICE_BYTES_MAX);
}

static void check_end(struct world *w)
{
	uint64_t frames = 0;

	CHECK(w, w->ram.retain.ops->usage(&w->ram.retain).bytes_used == 0);
	CHECK(w, w->drops == w->upload.counts.dropped);
	for (size_t i = 0; i < w->fragment_count; i++) {
		const struct shadow *s = &w->fragments[i];

		CHECK(w, s->acked != s->dropped);
		CHECK(w, !s->acked || s->persisted);
		frames += s->frames;
	}
	CHECK(w, frames == w->frame);
}

static void run(struct world *w, uint64_t seed, bool trace_it)
{
	void *memory = w->memory;
	uint64_t end_ns;

	memset(w, 0, sizeof(*w));
	w->memory = memory;
	w->seed = seed;
	w->random = seed;
	w->trace = trace_it;
	set_up(w);
	step_kind(w, UPLOAD_START);
	end_ns = w->now_ns + MEDIA_S * NS_PER_S;
	while (w->now_ns < end_ns)
		tick(w);
	w->filming = false;
	w->quiet = true;
	fragmenter_end(w->fragmenter);
	take_blocks(w);
	if (w->open)
		w->ram.retain.ops->seal(&w->ram.retain);
	w->open = false;
	step_kind(w, UPLOAD_FINISH);
	end_ns = w->now_ns + AFTER_S * NS_PER_S;
	while (w->now_ns < end_ns && w->upload.state != UPLOAD_STOPPED)
		tick(w);
	CHECK(w, w->upload.state == UPLOAD_STOPPED);
	check_end(w);
	w->fragmenter = fragmenter_free(w->fragmenter);
	buf_fini(&w->in);
}

/*
 * Seeds that once failed: 2403, everything dropped while it connected.
 */
static const uint64_t kept_seeds[] = { 2403 };

int main(int argc, char **argv)
{
	struct seeds seeds = seeds_from(argc, argv, 40);
	uint64_t count = seeds.count;
	struct world *w = calloc(1, sizeof(*w));
	uint64_t fragments = 0;
	uint64_t sessions = 0;
	uint64_t drops = 0;

	assert(w);
	w->memory = aligned_alloc(4096,
				  retain_ram_memory_bytes((size_t)41 << 20));
	assert(w->memory);
	if (seeds.one) {
		run(w, seeds.first, true);
	} else {
		for (uint64_t i = 0; i < ARRAY_SIZE(kept_seeds) + count; i++) {
			run(w, i < count ? i + 1 : kept_seeds[i - count],
			    false);
			fragments += w->fragment_count;
			sessions += w->upload.counts.connects;
			drops += w->drops;
		}
		printf("%llu seeds: %llu fragments, %llu sessions, "
		       "%llu dropped\n", (unsigned long long)count,
		       (unsigned long long)fragments,
		       (unsigned long long)sessions, (unsigned long long)drops);
	}
	free(w->memory);
	free(w);
	return 0;
}
