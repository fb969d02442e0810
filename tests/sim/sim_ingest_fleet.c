/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thousand devices upload into one store by one seed, on a simulated clock:
 * bodies cut anywhere, devices that fall silent, go away and come back, send
 * rubbish, stay for longer than a session may last; a store that delays,
 * reorders, takes less than it is given, fails single items and may be taken
 * over by another owner; a wall clock that is set back and forth. Checked:
 *
 *   - BUFFERING, RECEIVED, PERSISTED come in this order, each at most once;
 *     at most one ERROR, and nothing but PERSISTED and the end after it
 *   - PERSISTED only for what was sent whole and is in the store, bit for
 *     bit, as that device's, with that device's times; never without
 *     retention, never once the store is another's
 *   - live readers of a device get that device's bytes and nothing else
 *   - numbers of a stream only grow; each has the time of its first byte
 *   - a session's memory is bounded, and nothing of it is left behind
 *   - devices that repeat what was not acknowledged get everything through
 *
 * SEEDS=n (argument or environment) runs n seeds, SEED=n replays one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/ingest.h"
#include "support/heap_account.h"
#include "support/loop_fake.h"
#include "support/mkv_build.h"
#include "support/seeds.h"
#include "support/store_fake.h"

#define SEEDS_DEFAULT 20u
#define DEVICES 1000u
#define FRAGMENTS_FEW 6u
#define FRAGMENTS_MANY 150u /* half a minute each: over 45 min */
#define WALL_MS 1700000000000ull
#define WALL_STEP_MS (3600 * 1000ull)
#define SESSION_BYTES_MAX (32u << 10)
#define TURNS_MAX 20000000u

enum kind {
	RETAINED,
	LIVE_ONLY, /* retention 0 */
	LONG,	   /* stays until it is sent away */
	HOSTILE,   /* its bytes are changed on the way */
	KINDS,
};

enum progress { NOTHING, BUFFERING, RECEIVED, PERSISTED };

struct piece {
	/*
	 * As it is to be stored: the Cluster, the Tags before it, those after
	 * it up to END_OF_FRAGMENT. A session that is stopped between two
	 * elements leaves less; or more, when Tags were sent for the next.
	 */
	uint8_t *bytes;
	size_t len;
	size_t least;  /* stopped after the Cluster */
	size_t middle; /* stopped before END_OF_FRAGMENT */
	size_t most;   /* stopped after the next one's Tags */
	size_t stored;
	bool closed; /* by END_OF_FRAGMENT */
	enum progress progress;
	struct fragment_number number;
	uint64_t wall_ms; /* when its Cluster began */
	bool begun;
	bool too_late; /* received when the store was another's */
};

struct sim;
struct device;

/* One PutMedia. It lives until nothing of it is in flight. */
struct session {
	struct device *device;
	struct ingest *in;
	struct loop_timer timer;
	struct session *next; /* of the touched ones */
	bool touched;
	unsigned int first;   /* fragment it began with */
	unsigned int begun;   /* views so far */
	struct piece *pieces; /* by fragment - first */
	unsigned int count;
	uint8_t *body;
	size_t body_len;
	size_t header_len;
	size_t sent;
	uint64_t send_at_ns;
	size_t piece_most; /* sent at once */
	struct {
		unsigned int piece;
		uint64_t at;
	} views[INGEST_FRAGMENTS_MAX];
	bool error;
	bool dropped;
	bool stopping; /* for its silence */
	struct heap_account heap;
};

struct device {
	struct sim *sim;
	unsigned int index;
	enum kind kind;
	bool relative;
	unsigned int tracks;
	unsigned int fragments;
	unsigned int done; /* fragments below it are through */
	bool *through;
	uint64_t last_seq;
	struct loop_timer timer; /* comes back */
	struct session *session;
	unsigned int sessions;
};

struct sim {
	uint64_t seed;
	uint64_t state;
	struct loop *loop;
	struct store *store;
	struct store proxy; /* what the sessions see */
	struct device devices[DEVICES];
	struct session *touched; /* to be looked after */
	unsigned int sessions;	 /* that are not over */
	unsigned int left;	 /* devices that are not through */
	int64_t wall_step_ms;
	struct loop_timer trouble;
	bool fenced;
	struct sim_sums {
		uint64_t sessions;
		uint64_t persisted;
		uint64_t errors[6000];
		uint64_t bytes_most;
		uint64_t drops;
		uint64_t idles;
	} sums;
};

static struct sim *the_sim;

static void broken(const struct sim *s, const char *what)
{
	fprintf(stderr, "sim_ingest_fleet: %s; SEED=%" PRIu64 "\n", what,
		s->seed);
	exit(1);
}

static uint64_t below(struct sim *s, uint64_t n)
{
	return seeds_random(&s->state, n);
}

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

static struct ingest_time time_now(const struct sim *s)
{
	uint64_t now_ns = loop_now_ns(s->loop);

	return (struct ingest_time){
		.now_ns = now_ns,
		.wall_ms = WALL_MS + now_ns / NS_PER_MS +
			   (uint64_t)s->wall_step_ms,
	};
}

/* --- the store as sessions see it: what it allocates is not theirs --- */

static int proxy_open(struct store *p, const struct store_stream *stream,
		      const struct fragment_number *number,
		      struct store_writer **ret_writer)
{
	struct heap_account *was = heap_charged;
	int r;

	(void)p;
	heap_charged = NULL;
	r = store_writer_open(the_sim->store, stream, number, ret_writer);
	heap_charged = was;
	return r;
}

static int proxy_add(struct store_writer *w, const void *bytes, size_t len)
{
	struct heap_account *was = heap_charged;
	int r;

	heap_charged = NULL;
	r = store_writer_add(w, the_sim->store, bytes, len);
	heap_charged = was;
	return r;
}

static void proxy_commit(struct store_writer *w,
			 const struct store_fragment *meta, struct store_op *op)
{
	struct heap_account *was = heap_charged;

	heap_charged = NULL;
	store_writer_commit(the_sim->store, w, meta, op);
	heap_charged = was;
}

static void proxy_abort(struct store_writer *w)
{
	store_writer_abort(the_sim->store, w);
}

static void proxy_wait(struct store *p, struct store_waiter *w)
{
	struct heap_account *was = heap_charged;

	(void)p;
	heap_charged = NULL;
	store_wait(the_sim->store, w);
	heap_charged = was;
}

static const struct store_ops proxy_ops = {
	.writer_open = proxy_open,
	.writer_add = proxy_add,
	.writer_commit = proxy_commit,
	.writer_abort = proxy_abort,
	.wait = proxy_wait,
};

/* --- what devices send --- */

static uint64_t timecode_of(const struct device *d, unsigned int fragment)
{
	uint64_t step = d->kind == LONG ? 25000 : 2000;

	return (d->relative ? 0 : WALL_MS) + fragment * step;
}

/* Bytes that no other device and no other fragment has. */
static void build_cluster(const struct device *d, unsigned int fragment,
			  struct mkv_build *b)
{
	uint64_t random = d->sim->seed * 1000003 + d->index * 4099 + fragment;
	unsigned int frames = 1 + (unsigned int)seeds_random(&random, 4);
	char payload[120];
	unsigned int i;

	if (seeds_random(&random, 2))
		mkv_build_cluster(b, timecode_of(d, fragment));
	else
		mkv_build_uint(b, MKV_ID_TIMECODE, 8, timecode_of(d, fragment));
	for (i = 0; i < frames * d->tracks; i++) {
		int n = snprintf(payload, sizeof(payload),
				 "%u/%u/%u:", d->index, fragment, i);
		size_t pad = seeds_random(&random, 90);

		memset(payload + n, 'x', pad);
		payload[(size_t)n + pad] = '\0';
		mkv_build_block(b, MKV_ID_SIMPLE_BLOCK, 1 + i % d->tracks,
				(int16_t)(i / d->tracks * 33),
				i < d->tracks ? MKV_BLOCK_KEY : 0, payload);
	}
	/* Of known size, unless it began with its head. */
	if (b->bytes[0] == MKV_ID_TIMECODE)
		mkv_build_wrap(b, 0, MKV_ID_CLUSTER, 4);
}

static void append(struct session *x, const struct mkv_build *b)
{
	x->body = must(realloc(x->body, x->body_len + b->len));
	memcpy(x->body + x->body_len, b->bytes, b->len);
	x->body_len += b->len;
}

static void extend(struct piece *p, const struct mkv_build *b)
{
	p->bytes = must(realloc(p->bytes, p->most + b->len + 1));
	memcpy(p->bytes + p->most, b->bytes, b->len);
	p->most += b->len;
}

/* Tags before a Cluster and after it; says what is to be stored of both. */
static void build_piece(struct session *x, unsigned int fragment)
{
	const struct device *d = x->device;
	struct piece *p = &x->pieces[fragment - x->first];
	struct mkv_build before = {.len = 0};
	struct mkv_build media = {.len = 0};
	struct mkv_build after = {.len = 0};
	char value[40];

	(void)snprintf(value, sizeof(value), "%u/%u", d->index, fragment);
	if (below(d->sim, 3) == 0)
		mkv_build_tag(&before, "before", value);
	build_cluster(d, fragment, &media);
	append(x, &before);
	append(x, &media);
	if (p > x->pieces && !p[-1].closed)
		extend(&p[-1], &before);
	extend(p, &media);
	extend(p, &before);
	p->least = p->middle = p->len = p->most;
	if (below(d->sim, 3) && fragment + 1 < d->fragments)
		return;
	mkv_build_tag(&after, "after", value);
	p->middle += after.len;
	mkv_build_tag(&after, "AWS_KINESISVIDEO_END_OF_FRAGMENT", "");
	append(x, &after);
	extend(p, &after);
	p->len = p->most;
	p->closed = true;
}

static void build_body(struct session *x)
{
	struct device *d = x->device;
	struct mkv_build header = {.len = 0};
	unsigned int i;

	mkv_build_header(&header, d->tracks);
	append(x, &header);
	x->header_len = x->body_len;
	for (i = x->first; i < d->fragments; i++)
		build_piece(x, i);
	for (i = 0; d->kind == HOSTILE && i < 4; i++)
		x->body[below(d->sim, x->body_len)] ^=
			(uint8_t)(1u << below(d->sim, 8));
}

/* Something may have changed for it in this turn. */
static void touch(struct session *x)
{
	if (x->touched)
		return;
	x->touched = true;
	x->next = x->device->sim->touched;
	x->device->sim->touched = x;
}

/* --- what the sessions say --- */

static struct piece *piece_numbered(struct session *x, const char *number)
{
	char text[FRAGMENT_NUMBER_CHARS + 1];
	unsigned int i;

	for (i = 0; i < x->count; i++) {
		if (!x->pieces[i].begun)
			continue;
		fragment_number_format(&x->pieces[i].number, text);
		if (strcmp(text, number) == 0)
			return &x->pieces[i];
	}
	broken(x->device->sim, "an ack for a number that nobody has");
	return NULL;
}

static void check_stored(struct session *x, const struct piece *p,
			 unsigned int fragment)
{
	const struct device *d = x->device;
	struct sim *s = d->sim;
	const uint8_t *bytes;
	const struct store_fragment *f = store_fake_fragment(
		s->store, store_fake_count(s->store) - 1, &bytes);
	uint64_t start_ms = d->relative ? WALL_MS + d->index : 0;

	if (fragment_number_compare(&f->number, &p->number) != 0)
		broken(s, "PERSISTED, and the store does not have it");
	if (memcmp(f->stream_id, &d->index, sizeof(d->index)) != 0)
		broken(s, "stored as another's");
	if (d->kind == HOSTILE)
		return;
	if (f->header_bytes != x->header_len ||
	    memcmp(bytes, x->body, x->header_len) != 0)
		broken(s, "another header was stored");
	if (f->media_bytes != p->stored ||
	    memcmp(bytes + f->header_bytes, p->bytes, p->stored) != 0)
		broken(s, "other media was stored");
	if (f->producer_ms != start_ms + timecode_of(d, fragment) ||
	    f->server_ms != p->wall_ms)
		broken(s, "other times were stored");
}

static void on_persisted(struct session *x, struct piece *p)
{
	struct device *d = x->device;
	unsigned int fragment = x->first + (unsigned int)(p - x->pieces);

	if (d->kind == LIVE_ONLY)
		broken(d->sim, "PERSISTED without retention");
	if (p->too_late)
		broken(d->sim, "PERSISTED though the store is another's");
	if (p->progress != RECEIVED)
		broken(d->sim, "PERSISTED out of order");
	p->progress = PERSISTED;
	check_stored(x, p, fragment);
	d->through[fragment] = true;
	d->sim->sums.persisted++;
}

static void on_error(struct session *x, uint32_t error)
{
	struct sim *s = x->device->sim;

	if (x->error)
		broken(s, "a second ERROR");
	x->error = true;
	s->sums.errors[error]++;
	if (x->device->kind == HOSTILE)
		return;
	if (error != ACK_ARCHIVAL_ERROR &&
	    error != ACK_MAX_CONNECTION_DURATION_REACHED)
		broken(s, "an ERROR for no fault");
	if (error == ACK_MAX_CONNECTION_DURATION_REACHED &&
	    x->device->kind != LONG)
		broken(s, "too early for 4003");
}

static void on_ack(void *ctx, const struct ack *ack)
{
	struct session *x = ctx;
	struct sim *s = x->device->sim;
	struct piece *p;

	if (x->dropped)
		broken(s, "an ack to nobody");
	if (ack->event == ACK_ERROR) {
		on_error(x, ack->error_id);
		return;
	}
	if (x->error && ack->event != ACK_PERSISTED)
		broken(s, "it goes on after an ERROR");
	if (ack->event == ACK_IDLE) {
		s->sums.idles++;
		return;
	}
	p = piece_numbered(x, ack->fragment_number);
	if (x->device->kind != HOSTILE &&
	    ack->timecode_ms !=
		    timecode_of(x->device,
				x->first + (unsigned int)(p - x->pieces)))
		broken(s, "another fragment's timecode");
	if (ack->event == ACK_PERSISTED) {
		on_persisted(x, p);
		return;
	}
	if (p->progress != (ack->event == ACK_BUFFERING ? NOTHING : BUFFERING))
		broken(s, "acks out of order");
	p->progress++;
	p->too_late = s->fenced;
	if (p->progress == RECEIVED && x->device->kind == LIVE_ONLY)
		x->device->through[x->first + (p - x->pieces)] = true;
}

static void on_begin(void *ctx, unsigned int place,
		     const struct ingest_view *view)
{
	struct session *x = ctx;
	struct sim *s = x->device->sim;
	struct piece *p;

	/* Changed bytes may look like one Cluster more, or hide one. */
	if (x->begun == x->count)
		broken(s, "more fragments than were sent");
	x->views[place].piece = x->begun;
	x->views[place].at = 0;
	p = &x->pieces[x->begun++];
	p->begun = true;
	p->number = view->number;
	p->wall_ms = time_now(s).wall_ms;
	if (view->server_ms != p->wall_ms ||
	    view->number.server_ms != p->wall_ms)
		broken(s, "not the time at which it came");
	if (view->number.seq <= x->device->last_seq)
		broken(s, "a number that does not grow");
	x->device->last_seq = view->number.seq;
}

static void on_view(void *ctx, unsigned int place,
		    const struct ingest_view *view)
{
	(void)ctx;
	(void)place;
	(void)view;
}

static void on_bytes(void *ctx, unsigned int place, const uint8_t *bytes,
		     size_t len)
{
	struct session *x = ctx;
	const struct piece *p = &x->pieces[x->views[place].piece];
	uint64_t at = x->views[place].at;

	x->views[place].at += len;
	if (x->device->kind == HOSTILE)
		return;
	if (at + len > p->most || memcmp(p->bytes + at, bytes, len) != 0)
		broken(x->device->sim, "readers get what was not sent");
}

static void on_boundary(void *ctx, unsigned int place, uint64_t media)
{
	const struct session *x = ctx;

	if (media > x->views[place].at)
		broken(x->device->sim, "a boundary ahead of the bytes");
}

static void on_end(void *ctx, unsigned int place, enum ingest_end how)
{
	const struct session *x = ctx;
	struct piece *p = &x->pieces[x->views[place].piece];
	uint64_t at = x->views[place].at;

	if (how != INGEST_WHOLE)
		return;
	p->stored = at;
	if (at == p->len || x->device->kind == HOSTILE)
		return;
	if (!x->stopping ||
	    (at != p->least && at != p->middle && at != p->most))
		broken(x->device->sim, "readers did not get all");
}

static void on_progress(void *ctx)
{
	touch(ctx);
}

static uint32_t on_random(void *ctx)
{
	struct session *x = ctx;

	return (uint32_t)below(x->device->sim, 1u << FRAGMENT_RANDOM_BITS);
}

static uint64_t on_next_seq(void *ctx)
{
	struct session *x = ctx;

	return store_next_seq(x->device->sim->store, NULL);
}

static const struct ingest_ops ops = {
	.ack = on_ack,
	.begin = on_begin,
	.timed = on_view,
	.bytes = on_bytes,
	.boundary = on_boundary,
	.end = on_end,
	.progress = on_progress,
	.random = on_random,
	.next_seq = on_next_seq,
};

/* --- sessions --- */

static void session_turn(struct loop_timer *t);

static void arm(struct session *x, uint64_t at_ns)
{
	if (loop_timer_set(x->device->sim->loop, &x->timer, at_ns,
			   session_turn) < 0)
		abort();
}

static uint64_t pause_ns(struct sim *s, const struct device *d)
{
	/* Between pieces; now and then a silence that may end the session. */
	if (d->kind == LONG)
		return below(s, 8 * NS_PER_S);
	if (below(s, 150) == 0)
		return below(s, 50 * NS_PER_S);
	return below(s, NS_PER_S);
}

static void session_open(struct loop_timer *t)
{
	struct device *d = container_of(t, struct device, timer);
	struct sim *s = d->sim;
	struct session *x = must(calloc(1, sizeof(*x)));
	struct ingest_config config = {
		.store = d->kind == LIVE_ONLY ? NULL : &s->proxy,
		.relative = d->relative,
		.producer_start_ms = WALL_MS + d->index,
		.ops = &ops,
		.ctx = x,
	};

	memcpy(config.stream.id, &d->index, sizeof(d->index));
	x->device = d;
	s->sessions++;
	s->sums.sessions++;
	d->session = x;
	d->sessions++;
	x->first = d->done;
	x->count = d->fragments - d->done;
	/* A hostile one's bytes may begin more Clusters than were built. */
	x->count += d->kind == HOSTILE ? 64 : 0;
	x->pieces = must(calloc(x->count, sizeof(*x->pieces)));
	build_body(x);
	heap_charged = &x->heap;
	if (ingest_new(&config, time_now(s), &x->in) < 0)
		broken(s, "no memory");
	heap_charged = NULL;
	x->piece_most = d->kind == LONG ? 120 : 1 + below(s, 700);
	x->send_at_ns = loop_now_ns(s->loop);
	arm(x, x->send_at_ns);
}

static void come_back(struct device *d)
{
	struct sim *s = d->sim;

	while (d->done < d->fragments && d->through[d->done])
		d->done++;
	/* A hostile one has its tries and is gone. */
	if (d->done == d->fragments || s->fenced ||
	    (d->kind == HOSTILE && d->sessions == 3)) {
		s->left--;
		return;
	}
	if (loop_timer_set(s->loop, &d->timer,
			   loop_now_ns(s->loop) + below(s, 5 * NS_PER_S),
			   session_open) < 0)
		abort();
}

/* The device and its session part. */
static void leave(struct session *x)
{
	struct device *d = x->device;

	if (d->session != x)
		return;
	d->session = NULL;
	come_back(d);
}

static void drop(struct session *x)
{
	x->device->sim->sums.drops++;
	x->dropped = true;
	heap_charged = &x->heap;
	ingest_drop(x->in);
	heap_charged = NULL;
	leave(x);
}

static void send_some(struct session *x)
{
	struct device *d = x->device;
	struct sim *s = d->sim;
	struct ingest_time at = time_now(s);
	size_t left = x->body_len - x->sent;
	size_t n = 1 + below(s, x->piece_most);

	if (below(s, d->kind == LONG ? 3000 : 100) == 0) {
		drop(x);
		return;
	}
	n = MIN(n, left);
	heap_charged = &x->heap;
	x->sent += ingest_feed(x->in, at, x->body + x->sent, n);
	if (x->sent >= x->body_len && !ingest_ended(x->in) &&
	    !ingest_blocked(x->in))
		ingest_finish(x->in, at);
	heap_charged = NULL;
	x->send_at_ns = at.now_ns + pause_ns(s, d);
}

static void session_turn(struct loop_timer *t)
{
	struct session *x = container_of(t, struct session, timer);
	struct sim *s = x->device->sim;
	uint64_t now_ns = loop_now_ns(s->loop);

	if (x->dropped || ingest_ended(x->in))
		return;
	if (now_ns >= ingest_deadline_ns(x->in)) {
		heap_charged = &x->heap;
		x->stopping = true;
		ingest_tick(x->in, time_now(s));
		x->stopping = false;
		heap_charged = NULL;
	}
	if (now_ns >= x->send_at_ns && !ingest_ended(x->in) &&
	    !ingest_blocked(x->in))
		send_some(x);
	if (x->dropped || ingest_ended(x->in)) {
		touch(x);
		return;
	}
	arm(x,
	    MIN(ingest_blocked(x->in) ? UINT64_MAX : MAX(x->send_at_ns, now_ns),
		ingest_deadline_ns(x->in)));
}

static void session_free(struct session *x)
{
	struct sim *s = x->device->sim;
	unsigned int i;

	if (x->heap.most > SESSION_BYTES_MAX)
		broken(s, "a session took too much memory");
	s->sums.bytes_most = MAX(s->sums.bytes_most, x->heap.most);
	loop_timer_cancel(s->loop, &x->timer);
	x->in = ingest_free(x->in);
	if (x->heap.now)
		broken(s, "a session left memory behind");
	for (i = 0; i < x->count; i++)
		free(x->pieces[i].bytes);
	free(x->pieces);
	free(x->body);
	free(x);
}

/* What the last turn changed: who is over, who may go on. */
static void look_after(struct sim *s)
{
	while (s->touched) {
		struct session *x = s->touched;

		s->touched = x->next;
		x->touched = false;
		if (ingest_over(x->in)) {
			leave(x);
			session_free(x);
			s->sessions--;
		} else if (!ingest_ended(x->in)) {
			arm(x, loop_now_ns(s->loop));
		}
	}
}

/* --- the run --- */

static void make_trouble(struct loop_timer *t)
{
	struct sim *s = container_of(t, struct sim, trouble);
	struct store_fake_config config = {
		.delay_ns_max = below(s, 3) ? below(s, NS_PER_S / 10)
					    : below(s, 20 * NS_PER_S),
	};

	if (below(s, 12) == 0) {
		config.fail_open = (unsigned int)below(s, 60);
		config.fail_add = (unsigned int)below(s, 10);
		config.fail_commit = (unsigned int)below(s, 200);
	}
	config.again_add = below(s, 2) ? (unsigned int)below(s, 900) : 0;
	store_fake_configure(s->store, &config);
	if (below(s, 3) == 0)
		s->wall_step_ms = (int64_t)below(s, 2 * WALL_STEP_MS) -
				  (int64_t)WALL_STEP_MS;
	if (s->seed % 4 == 0 && below(s, 8) == 0 && !s->fenced) {
		s->fenced = true;
		store_fake_fence(s->store, true);
	}
	if (loop_timer_set(s->loop, t,
			   loop_now_ns(s->loop) + NS_PER_S +
				   below(s, 20 * NS_PER_S),
			   make_trouble) < 0)
		abort();
}

static void devices_new(struct sim *s)
{
	unsigned int i;

	s->left = DEVICES;
	for (i = 0; i < DEVICES; i++) {
		struct device *d = &s->devices[i];
		uint64_t which = below(s, 100);

		d->sim = s;
		d->index = i;
		d->kind = which < 1    ? LONG
			  : which < 8  ? HOSTILE
			  : which < 25 ? LIVE_ONLY
				       : RETAINED;
		d->relative = below(s, 2);
		d->tracks = 1 + (unsigned int)below(s, 3);
		d->fragments =
			d->kind == LONG
				? FRAGMENTS_MANY
				: 1 + (unsigned int)below(s, FRAGMENTS_FEW);
		d->through = must(calloc(d->fragments, sizeof(bool)));
		if (loop_timer_set(s->loop, &d->timer,
				   loop_now_ns(s->loop) +
					   below(s, 30 * NS_PER_S),
				   session_open) < 0)
			abort();
	}
}

static void check_end(struct sim *s)
{
	unsigned int i;
	unsigned int k;

	if (store_fake_writers(s->store))
		broken(s, "a writer is open");
	for (i = 0; i < DEVICES; i++) {
		struct device *d = &s->devices[i];

		for (k = 0; k < d->fragments && d->kind != HOSTILE; k++) {
			if (!d->through[k] && !s->fenced)
				broken(s, "a fragment never got through");
		}
		free(d->through);
	}
}

static void run_seed(uint64_t seed, struct sim_sums *sums)
{
	struct sim *s = must(calloc(1, sizeof(*s)));
	struct loop_fake_config clock = {.seed = seed, .start_ns = NS_PER_S};
	struct store_fake_config config = {.seed = seed};
	unsigned int turns;

	s->seed = seed;
	s->state = seed;
	s->proxy.ops = &proxy_ops;
	s->loop = loop_fake_new(&clock);
	s->store = store_fake_new(s->loop, &config);
	the_sim = s;
	devices_new(s);
	make_trouble(&s->trouble);
	for (turns = 0; s->left || s->sessions; turns++) {
		if (turns > TURNS_MAX)
			broken(s, "it does not end");
		if (loop_turn(s->loop, UINT64_MAX) < 0)
			broken(s, "nothing moves any more");
		look_after(s);
	}
	check_end(s);
	loop_timer_cancel(s->loop, &s->trouble);
	store_fake_free(s->store);
	loop_free(s->loop);
	sums->sessions += s->sums.sessions;
	sums->persisted += s->sums.persisted;
	sums->drops += s->sums.drops;
	sums->idles += s->sums.idles;
	sums->bytes_most = MAX(sums->bytes_most, s->sums.bytes_most);
	for (turns = 0; turns < 6000; turns++)
		sums->errors[turns] += s->sums.errors[turns];
	free(s);
}

int main(int argc, char **argv)
{
	static struct sim_sums sums;
	struct seeds seeds = seeds_from(argc, argv, SEEDS_DEFAULT);
	uint64_t i;

	for (i = 0; i < seeds.count; i++)
		run_seed(seeds.first + i, &sums);
	printf("sim_ingest_fleet: %" PRIu64 " seeds of %u devices: %" PRIu64
	       " sessions, %" PRIu64 " persisted, %" PRIu64 " dropped, %" PRIu64
	       " idle, at most %" PRIu64 " bytes each;",
	       seeds.count, DEVICES, sums.sessions, sums.persisted, sums.drops,
	       sums.idles, sums.bytes_most);
	for (i = 0; i < 6000; i++) {
		if (sums.errors[i])
			printf(" %" PRIu64 ": %" PRIu64, i, sums.errors[i]);
	}
	printf("\n");
	return 0;
}
