/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PutMedia, GetMedia and GetMediaForFragmentList as the service has them, on
 * a store that delays, reorders and fails, with clients that are slow and go
 * away at any moment. HTTP and TLS are not here: the calls of serve/http.h
 * are this file's. One seed decides everything.
 *
 * Checked of each reader: numbers only grow; every byte is its fragment's; no
 * fragment that was acknowledged as persisted is left out, wherever it was
 * when the reader came to it; one that ends early was never persisted; and
 * when all is quiet the reader has everything. Of a list: it is the fragments
 * asked for. A fifth of the streams keeps nothing: there is less to be had.
 * Retention changes under them; what it drops, readers need not get, but none
 * waits in the middle of it, or is cut for no reason.
 * Memory keeps its bound. Nothing is left in flight or in memory.
 *
 *	SEEDS=n	how many seeds (default 400)	SEED=n	that one
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/log.h"
#include "core/media_out.h"
#include "io/conn_int.h"
#include "proto/ack.h"
#include "serve/answer.h"
#include "serve/operations.h"
#include "serve/server.h"
#include "support/loop_fake.h"
#include "support/mkv_build.h"
#include "support/seeds.h"
#include "support/store_fake.h"

#define CLIENTS_MAX 12u
#define FRAGMENTS_MAX 256u
#define UPLOADS_MAX 40u
#define STEPS 3000u
#define QUIET_STEPS 20000u
#define WALL_MS 1700000000000ull
#define GOT_BYTES_MAX (64u << 20)

#define CHECK(w, cond)                              \
	do {                                        \
		if (!(cond))                        \
			broken(w, #cond, __LINE__); \
	} while (0)

struct fragment {
	uint64_t timecode_ms;
	uint8_t bytes[8192];
	size_t len;
	bool known;	/* its size is in its head */
	size_t ends[8]; /* of elements, where one of unknown size may */
	size_t end_count;
	bool numbered;
	bool received;
	bool persisted; /* the device was told, and it was not dropped */
	bool dropped;
	struct fragment_number number;
};

enum kind { UPLOAD, READER, LIST };

struct client {
	struct exchange ex;
	struct conn conn; /* of which conn_lowat() finds no socket */
	struct world *w;
	enum kind kind;
	struct buf got;
	size_t backlog;
	bool ended;   /* in order */
	bool cut;     /* by the service */
	bool closing; /* closed() is due */
	bool left;    /* by itself */
	bool stopped; /* the service told it to finish */
	bool freed;
	/* An upload. */
	struct buf body;
	struct ack_parser acks;
	/* A reader. */
	bool from_start; /* nothing persisted is before what it gets */
	struct fragment_number after;
	bool has_after;
	uint64_t seq_before; /* without a store, it sees what begins later */
	/* A list. */
	struct buf expected;
};

struct world {
	uint64_t seed;
	uint64_t random;
	struct loop *loop;
	struct store *store;
	struct server server;
	struct server_thread thread;
	struct metrics metrics;
	struct catalog_stream stream;
	struct sys_ops sys;
	bool faults;
	bool changes;	  /* of the retention */
	bool drops;	  /* by it */
	bool small;	  /* live memory */
	size_t weight;	  /* of a byte that is not read yet */
	uint64_t pause;	  /* of a client that reads, in steps */
	bool settled;	  /* nothing happens any more */
	uint64_t step_ms; /* at most, of simulated time */
	bool quiet;	  /* the end: no trouble any more */
	unsigned int uploads;
	uint64_t timecode_ms;
	struct mkv_build header;
	struct fragment fragments[FRAGMENTS_MAX];
	size_t fragment_count;
	struct client *clients[CLIENTS_MAX];
};

static struct world *now_running;
static uint64_t documents;

static void broken(const struct world *w, const char *what, int line)
{
	fprintf(stderr, "SEED=%llu: line %d: %s\n", (unsigned long long)w->seed,
		line, what);
	abort();
}

static uint64_t below(struct world *w, uint64_t n)
{
	return seeds_random(&w->random, n);
}

static int sim_clock(clockid_t clock, struct timespec *ret_ts)
{
	uint64_t ns = loop_now_ns(now_running->loop);

	if (clock == CLOCK_REALTIME)
		ns += WALL_MS * NS_PER_MS;
	ret_ts->tv_sec = (time_t)(ns / NS_PER_S);
	ret_ts->tv_nsec = (long)(ns % NS_PER_S);
	return 0;
}

/* --- serve/http.h and serve/answer.h, as far as operations see them --- */

static struct client *client_of(struct exchange *ex)
{
	return container_of(ex, struct client, ex);
}

void exchange_ref(struct exchange *ex)
{
	ex->refs++;
}

void exchange_unref(struct exchange *ex)
{
	if (!--ex->refs)
		client_of(ex)->freed = true;
}

struct metric_call *exchange_call(const struct exchange *ex)
{
	return &ex->thread->metrics->calls[ex->op->api];
}

void exchange_count_fragment(const struct exchange *ex)
{
	exchange_call(ex)->fragments++;
	exchange_call(ex)->fragments_tried++;
}

int exchange_begin(struct exchange *ex, const char *content_type,
		   uint64_t length, const struct exchange_handler *handler,
		   void *state_of_op)
{
	(void)content_type;
	(void)length;
	ex->handler = handler;
	ex->state_of_op = state_of_op;
	ex->status = 200;
	return 0;
}

/* What the device is told. */
static void take_acks(struct client *c, const uint8_t *bytes, size_t len,
		      bool told)
{
	struct world *w = c->w;
	struct ack ack;
	size_t used;
	size_t i;

	while (ack_parser_feed(&c->acks, bytes, len, &used, &ack) == 1) {
		bytes += used;
		len -= used;
		for (i = 0; ack.has_timecode && i < w->fragment_count; i++) {
			struct fragment *f = &w->fragments[i];

			if (f->timecode_ms != ack.timecode_ms)
				continue;
			CHECK(w, fragment_number_parse(
					 slice_of(ack.fragment_number),
					 &f->number) == 0);
			f->numbered = true;
			f->received |= ack.event == ACK_RECEIVED;
			f->persisted |= told && ack.event == ACK_PERSISTED;
		}
	}
}

int exchange_write_pieces(struct exchange *ex, const struct iovec *pieces,
			  size_t count)
{
	struct client *c = client_of(ex);
	size_t i;

	if (!c->w->quiet && !below(c->w, 3000))
		c->closing = true;
	for (i = 0; c->kind == UPLOAD && i < count; i++)
		take_acks(c, pieces[i].iov_base, pieces[i].iov_len,
			  ex->conn && !c->closing);
	if (!ex->conn || c->closing)
		return -EPIPE;
	for (i = 0; i < count; i++) {
		CHECK(c->w, buf_add(&c->got, pieces[i].iov_base,
				    pieces[i].iov_len) == 0);
		ex->sent_bytes += pieces[i].iov_len;
		c->backlog += pieces[i].iov_len;
	}
	return 0;
}

int exchange_write(struct exchange *ex, const void *bytes, size_t len)
{
	struct iovec piece = {(void *)(uintptr_t)bytes, len};

	return exchange_write_pieces(ex, &piece, 1);
}

void exchange_end(struct exchange *ex)
{
	if (!ex->conn)
		return;
	ex->handler = NULL;
	client_of(ex)->ended = true;
	client_of(ex)->closing = true;
}

void exchange_end_and_close(struct exchange *ex)
{
	exchange_end(ex);
}

void exchange_cut(struct exchange *ex, int why)
{
	struct world *w = client_of(ex)->w;

	/* Nobody's time is up, and memory is not short. */
	CHECK(w, w->faults || w->drops || (why != -ENOENT && why != -EIO));
	CHECK(w, w->small || why != -ENOBUFS);
	client_of(ex)->cut = true;
	client_of(ex)->closing = true;
}

/* Only for want of room, and there must be none. */
void exchange_error(struct exchange *ex, unsigned int status, const char *type,
		    const char *message)
{
	struct client *c = client_of(ex);
	struct world *w = c->w;
	uint32_t most = c->kind == READER ? w->thread.limits.readers
					  : w->thread.limits.lists;
	size_t others = 0;
	size_t i;

	(void)message;
	for (i = 0; i < CLIENTS_MAX; i++)
		others += w->clients[i] && w->clients[i] != c &&
			  w->clients[i]->kind == c->kind &&
			  !w->clients[i]->freed;
	CHECK(w, strstr(type, "LimitExceededException"));
	CHECK(w, c->kind == UPLOAD ? others > 0 : others >= most);
	ex->status = status;
	c->closing = true;
}

void exchange_bad_argument(struct exchange *ex, const char *message)
{
	broken(client_of(ex)->w, message, __LINE__);
}

void exchange_no_stream(struct exchange *ex)
{
	broken(client_of(ex)->w, "no stream", __LINE__);
}

void exchange_internal(struct exchange *ex, int error)
{
	broken(client_of(ex)->w, strerror(-error), __LINE__);
}

int exchange_continue(struct exchange *ex)
{
	(void)ex;
	return 0;
}

bool exchange_lost(const struct exchange *ex)
{
	return !ex->conn;
}

size_t exchange_backlog(const struct exchange *ex)
{
	const struct client *c = container_of(ex, struct client, ex);

	return c->backlog * c->w->weight;
}

/* Uploads are offered their bytes at each step. */
void exchange_resume(struct exchange *ex)
{
	(void)ex;
}

void exchange_deadline(struct exchange *ex, uint64_t at_ns)
{
	(void)ex;
	(void)at_ns;
}

void exchange_json(struct exchange *ex, unsigned int status, json_t *root)
{
	(void)status;
	json_decref(root);
	broken(client_of(ex)->w, "JSON", __LINE__);
}

void exchange_accept(struct server_thread *t, int fd)
{
	(void)t;
	(void)fd;
	abort();
}

void exchange_stop(struct exchange *ex)
{
	(void)ex;
	abort();
}

/* --- clients --- */

static struct client *client_new(struct world *w, enum kind kind,
				 const char *path)
{
	struct client *c = NULL;
	size_t i;

	for (i = 0; i < CLIENTS_MAX && w->clients[i]; i++)
		;
	if (i == CLIENTS_MAX)
		return NULL;
	c = calloc(1, sizeof(*c));
	CHECK(w, c);
	w->clients[i] = c;
	c->w = w;
	c->kind = kind;
	c->conn.fd = -EBADF;
	c->ex.conn = &c->conn;
	c->ex.thread = &w->thread;
	c->ex.refs = 1;
	c->ex.state = EXCHANGE_RUNNING;
	c->ex.op = operation_find((struct slice){path, strlen(path)});
	c->ex.stream = w->stream;
	buf_init(&c->got, GOT_BYTES_MAX);
	buf_init(&c->body, GOT_BYTES_MAX);
	buf_init(&c->expected, GOT_BYTES_MAX);
	ack_parser_init(&c->acks);
	list_init(&c->ex.link);
	return c;
}

static void client_close(struct client *c)
{
	const struct exchange_handler *h = c->ex.handler;

	if (!c->ex.conn)
		return;
	c->ex.conn = NULL;
	if (h && h->closed)
		h->closed(&c->ex);
	c->ex.handler = NULL;
	exchange_unref(&c->ex);
}

static void upload_begin(struct world *w)
{
	static const char head[] = "POST /putMedia HTTP/1.1\r\nHost: x\r\n"
				   "x-amzn-fragment-timecode-type: ABSOLUTE\r\n"
				   "x-amzn-producer-start-timestamp: 1\r\n"
				   "Transfer-Encoding: chunked\r\n\r\n";
	unsigned int count = 1 + (unsigned int)below(w, 8);
	struct client *c;

	if (w->fragment_count + count > FRAGMENTS_MAX ||
	    w->uploads == UPLOADS_MAX)
		return;
	c = client_new(w, UPLOAD, "/putMedia");
	if (!c)
		return;
	w->uploads++;
	CHECK(w, http_request_parse((const uint8_t *)head, sizeof(head) - 1,
				    &c->ex.head) > 0);
	(void)buf_add(&c->body, w->header.bytes, w->header.len);
	while (count--) {
		struct fragment *f = &w->fragments[w->fragment_count++];
		struct mkv_build b = {.len = 0};
		char text[1200];
		unsigned int i;
		unsigned int blocks = 1 + (unsigned int)below(w, 5);

		f->timecode_ms = w->timecode_ms += 1000;
		f->known = below(w, 3) == 0;
		if (!f->known)
			mkv_build_cluster(&b, f->timecode_ms);
		else
			mkv_build_uint(&b, MKV_ID_TIMECODE, 8, f->timecode_ms);
		f->ends[f->end_count++] = b.len;
		for (i = 0; i < blocks; i++) {
			size_t len = 1 + below(w, sizeof(text) - 1);

			memset(text, (int)('a' + below(w, 26)), len - 1);
			text[len - 1] = '\0';
			mkv_build_block(&b, MKV_ID_SIMPLE_BLOCK, 1,
					(int16_t)(i * 40), i ? 0 : 0x80, text);
			f->ends[f->end_count++] = b.len;
		}
		if (f->known)
			mkv_build_wrap(&b, 0, MKV_ID_CLUSTER, 4);
		if (below(w, 2))
			mkv_build_tag(&b, "AWS_KINESISVIDEO_END_OF_FRAGMENT",
				      "");
		memcpy(f->bytes, b.bytes, b.len);
		f->len = b.len;
		(void)buf_add(&c->body, b.bytes, b.len);
	}
	put_media_run(&c->ex);
}

static void upload_step(struct client *c)
{
	struct world *w = c->w;
	size_t most = 1 + below(w, 900);
	size_t len = MIN(buf_len(&c->body), most);

	if (!c->ex.handler || c->closing)
		return;
	if (!w->quiet && !below(w, 120)) {
		c->left = true;
		client_close(c);
	} else if (buf_len(&c->body)) {
		buf_consume(&c->body, c->ex.handler->data(
					      &c->ex, buf_head(&c->body), len));
	} else if (!c->ex.body_done) {
		c->ex.body_done = true;
		c->ex.handler->body_end(&c->ex);
	}
}

static struct fragment *any_persisted(struct world *w)
{
	size_t at = w->fragment_count ? below(w, w->fragment_count) : 0;
	size_t i;

	for (i = 0; i < w->fragment_count; i++) {
		struct fragment *f =
			&w->fragments[(at + i) % w->fragment_count];

		if (f->persisted)
			return f;
	}
	return NULL;
}

static void reader_begin(struct world *w)
{
	static const char *const types[] = {"NOW", "EARLIEST",
					    "FRAGMENT_NUMBER"};
	struct fragment *f = any_persisted(w);
	char digits[FRAGMENT_NUMBER_CHARS + 1] = "";
	size_t how = below(w, f ? 3 : 2);
	struct client *c = client_new(w, READER, "/getMedia");
	size_t i;

	if (!c)
		return;
	c->from_start = how == 1;
	c->has_after = how == 2;
	for (i = 0; !w->stream.retention_hours && i < w->fragment_count; i++)
		c->seq_before = MAX(c->seq_before, w->fragments[i].number.seq);
	if (how == 2) {
		c->after = f->number;
		fragment_number_format(&f->number, digits);
	}
	c->ex.json = json_pack("{s:{s:s,s:s}}", "StartSelector",
			       "StartSelectorType", types[how],
			       "AfterFragmentNumber", digits);
	get_media_run(&c->ex);
}

static void expect_document(struct client *c, const struct fragment *f)
{
	struct world *w = c->w;

	(void)buf_add(&c->expected, w->header.bytes, w->header.len);
	CHECK(w, media_out_before(&c->expected, &f->number, f->number.server_ms,
				  f->timecode_ms) == 0);
	(void)buf_add(&c->expected, f->bytes, f->len);
}

static void list_begin(struct world *w)
{
	struct client *c;
	json_t *numbers = json_array();
	unsigned int count = 1 + (unsigned int)below(w, 6);
	char digits[FRAGMENT_NUMBER_CHARS + 1];

	if (!any_persisted(w)) {
		json_decref(numbers);
		return;
	}
	c = client_new(w, LIST, "/getMediaForFragmentList");
	while (c && count--) {
		const struct fragment *f = any_persisted(w);

		fragment_number_format(&f->number, digits);
		(void)json_array_append_new(numbers, json_string(digits));
		expect_document(c, f);
	}
	if (!c) {
		json_decref(numbers);
		return;
	}
	c->ex.json = json_pack("{s:o}", "Fragments", numbers);
	get_media_for_fragment_list_run(&c->ex);
}

/* The client reads some of what was sent, or goes. */
static void read_step(struct client *c)
{
	struct world *w = c->w;
	size_t some = below(w, 20000);

	if (w->quiet)
		c->backlog = 0;
	else if (c->backlog && !below(w, w->pause))
		c->backlog -= MIN(c->backlog, some);
	if (!c->backlog && c->ex.handler && c->ex.handler->drained &&
	    c->ex.conn && !c->closing)
		c->ex.handler->drained(&c->ex);
	if (!w->quiet && !below(w, 2000) && c->ex.conn && !c->closing &&
	    c->ex.handler && c->ex.handler->stop) {
		c->stopped = true;
		c->ex.handler->stop(&c->ex);
	} else if (!w->quiet && !below(w, 2000) && c->ex.conn) {
		c->left = true;
		client_close(c);
	}
}

/* --- what they got --- */

static int compare(const struct fragment_number *a,
		   const struct fragment_number *b)
{
	return fragment_number_compare(a, b);
}

/* No persisted fragment is between the two; NULL: from the first, to the
 * last. */
static void check_none_between(const struct client *c,
			       const struct fragment_number *after,
			       const struct fragment_number *before)
{
	const struct world *w = c->w;
	size_t i;

	for (i = 0; i < w->fragment_count; i++) {
		const struct fragment *f = &w->fragments[i];

		if (!f->persisted || f->number.seq <= c->seq_before ||
		    (after && compare(&f->number, after) <= 0))
			continue;
		CHECK(w, before && compare(&f->number, before) >= 0);
	}
}

static bool at_end(const struct fragment *f, size_t bytes)
{
	size_t i;

	for (i = 0; i < f->end_count && f->ends[i] != bytes; i++)
		;
	return !bytes || i < f->end_count;
}

/* The fragment whose leading tags @p begins with, after @last. */
static const struct fragment *which(const struct world *w, const uint8_t *p,
				    size_t len,
				    const struct fragment_number *last,
				    size_t *ret_bytes)
{
	uint8_t bytes[MEDIA_OUT_TAGS_BYTES_MAX];
	size_t i;

	for (i = 0; i < w->fragment_count; i++) {
		const struct fragment *f = &w->fragments[i];
		struct buf tags = {.data = bytes,
				   .size = sizeof(bytes),
				   .max = sizeof(bytes)};

		if (!f->numbered || (last && compare(&f->number, last) <= 0) ||
		    media_out_before(&tags, &f->number, f->number.server_ms,
				     f->timecode_ms) < 0)
			continue;
		*ret_bytes = buf_len(&tags);
		if (len >= *ret_bytes && !memcmp(p, bytes, *ret_bytes))
			return f;
	}
	return NULL;
}

/* Bytes of the one Tags element at @p, which names @f; 0: not all of it. */
static size_t trailing(const struct world *w, const struct fragment *f,
		       const uint8_t *p, size_t len)
{
	char digits[FRAGMENT_NUMBER_CHARS + 1];
	uint64_t size;
	uint32_t id;
	int n = ebml_read_id(p, len, &id);
	int m = n < 0 ? n : ebml_read_size(p + n, len - (size_t)n, &size);

	if (m == -EAGAIN || (m > 0 && size > len - (size_t)(n + m)))
		return 0;
	CHECK(w, m > 0 && id == MKV_ID_TAGS);
	fragment_number_format(&f->number, digits);
	CHECK(w,
	      memmem(p, (size_t)(n + m) + size, digits, FRAGMENT_NUMBER_CHARS));
	return (size_t)(n + m) + (size_t)size;
}

static size_t common(const uint8_t *a, size_t a_len, const uint8_t *b,
		     size_t b_len)
{
	size_t n = MIN(a_len, b_len);
	size_t i;

	for (i = 0; i < n && a[i] == b[i]; i++)
		;
	return i;
}

/* The next document is here. */
static bool begins(const struct mkv_build *h, const uint8_t *p, size_t len)
{
	return len >= 4 && !memcmp(p, h->bytes, 4);
}

/*
 * One document. Return: its bytes, or 0: the body ends in it, or it is the
 * word of an error.
 */
static size_t check_document(struct client *c, const uint8_t *p, size_t len,
			     struct fragment_number *last, bool *has_last)
{
	struct world *w = c->w;
	const struct mkv_build *h = &w->header;
	size_t at = common(p, len, h->bytes, h->len);
	const struct fragment *f;
	size_t tags;
	size_t n;

	if (at < h->len) {
		CHECK(w, at == len || (w->faults && c->ended));
		return 0;
	}
	f = which(w, p + at, len - at, *has_last ? last : NULL, &tags);
	if (!f) {
		CHECK(w, !c->ended && len - at < MEDIA_OUT_TAGS_BYTES_MAX);
		return 0;
	}
	at += tags;
	if (*has_last || c->from_start)
		check_none_between(c, *has_last ? last : NULL, &f->number);
	n = common(p + at, len - at, f->bytes, f->len);
	/* None waits for more of what is over. */
	CHECK(w, n == f->len || !w->settled ||
			 !(f->dropped || (f->received && !w->faults)));
	at += n;
	if (n == f->len && !begins(h, p + at, len - at)) {
		n = trailing(w, f, p + at, len - at);
		CHECK(w, n || !c->ended || !f->persisted);
		if (!n)
			return 0;
		at += n;
		documents++;
	} else if (at == len) {
		CHECK(w, !c->ended || !f->persisted);
		return 0;
	} else {
		/* Its upload died; the next one begins here. */
		CHECK(w, !f->persisted &&
				 (n == f->len || (!f->known && at_end(f, n))));
	}
	*last = f->number;
	*has_last = true;
	return at;
}

static void check_reader(struct client *c, bool all)
{
	const uint8_t *p = buf_head(&c->got);
	size_t len = buf_len(&c->got);
	struct fragment_number last = c->after;
	bool has_last = c->has_after;
	size_t n;

	while (len) {
		n = check_document(c, p, len, &last, &has_last);
		if (!n)
			break;
		p += n;
		len -= n;
	}
	/* What ends between two elements is a whole fragment's place. */
	if (all && (has_last || c->from_start)) {
		check_none_between(c, has_last ? &last : NULL, NULL);
	}
}

static void check_list(struct client *c)
{
	size_t n = common(buf_head(&c->got), buf_len(&c->got),
			  buf_head(&c->expected), buf_len(&c->expected));

	if (c->ended && !c->w->faults)
		CHECK(c->w, n == buf_len(&c->expected) || c->w->drops ||
				    c->w->changes);
	CHECK(c->w, n == buf_len(&c->got) ||
			    ((c->w->faults || c->w->drops || c->w->changes) &&
			     c->ended));
}

static void reap(struct world *w)
{
	size_t i;

	for (i = 0; i < CLIENTS_MAX; i++) {
		struct client *c = w->clients[i];

		if (c && c->closing && (w->quiet || below(w, 2)))
			client_close(c);
		if (!c || !c->freed)
			continue;
		if (c->kind == READER)
			check_reader(c, false);
		else if (c->kind == LIST)
			check_list(c);
		json_decref(c->ex.json);
		buf_fini(&c->got);
		buf_fini(&c->body);
		buf_fini(&c->expected);
		free(c);
		w->clients[i] = NULL;
	}
}

/* --- a run --- */

static void step(struct world *w)
{
	size_t i;

	loop_fake_advance(w->loop, below(w, w->step_ms) * NS_PER_MS);
	CHECK(w, loop_turn(w->loop, 0) == 0);
	w->thread.random_left = ARRAY_SIZE(w->thread.random);
	for (i = 0; i < CLIENTS_MAX; i++) {
		struct client *c = w->clients[i];

		if (c && c->kind == UPLOAD && (w->quiet || below(w, 2)))
			upload_step(c);
		if (c && c->kind != UPLOAD)
			read_step(c);
	}
	reap(w);
	/* Pointers to chunks are not asked for before. */
	CHECK(w, w->thread.live.kept_bytes <= w->thread.live.bytes_max + 4096);
}

static bool uploading(const struct world *w)
{
	size_t i;

	for (i = 0; i < CLIENTS_MAX; i++) {
		if (w->clients[i] && w->clients[i]->kind == UPLOAD)
			return true;
	}
	return false;
}

static void world_init(struct world *w, uint64_t seed)
{
	struct loop_fake_config loop = {.seed = seed, .start_ns = NS_PER_S};
	struct store_fake_config store = {.seed = seed};

	memset(w, 0, sizeof(*w));
	w->seed = seed;
	w->random = seed;
	now_running = w;
	w->faults = below(w, 2);
	w->changes = !below(w, 3);
	w->drops = !below(w, 3);
	w->weight = below(w, 2) ? 1 : OUTPUT_BYTES_MAX / 2000;
	w->pause = below(w, 2) ? 1 : 60;
	/* Uploads overlap after 60 s. */
	w->step_ms = w->changes || below(w, 3) ? 10 : 150;
	w->loop = loop_fake_new(&loop);
	store.delay_ns_max = below(w, 100) * NS_PER_MS;
	store.again_add = w->faults ? 30 : 0;
	store.fail_open = w->faults ? 5 : 0;
	store.fail_commit = w->faults ? 20 : 0;
	store.fail_read = w->faults ? 10 : 0;
	store.fail_list = w->faults ? 10 : 0;
	w->store = store_fake_new(w->loop, &store);
	w->sys = *sys_posix();
	w->sys.clock_gettime = sim_clock;
	w->server.sys = &w->sys;
	w->thread.server = &w->server;
	w->thread.loop = w->loop;
	w->thread.store = w->store;
	w->thread.metrics = &w->metrics;
	w->thread.limits.readers = 3;
	w->thread.limits.lists = 5;
	w->thread.limits.get_rate = below(w, 4) ? 0 : 200000;
	w->stream.retention_hours = below(w, 5) ? 24 : 0;
	(void)snprintf(w->stream.name, sizeof(w->stream.name), "cam");
	w->stream.store.id[0] = 1;
	live_table_init(&w->thread.live, w->loop);
	w->small = !below(w, 3);
	if (w->small)
		w->thread.live.bytes_max = 1 + below(w, 10) * LIVE_CHUNK_BYTES;
	mkv_build_header(&w->header, 1);
	w->timecode_ms = WALL_MS;
}

/* The oldest @count of the store. */
static void drop(struct world *w, size_t count)
{
	const struct store_fragment *row;
	size_t i;
	size_t k;

	for (i = 0; i < count; i++) {
		row = store_fake_fragment(w->store, i, NULL);
		for (k = 0; row && k < w->fragment_count; k++) {
			struct fragment *f = &w->fragments[k];

			if (!f->numbered || compare(&f->number, &row->number))
				continue;
			f->persisted = false;
			f->dropped = true;
		}
	}
	store_fake_drop(w->store, count);
}

/*
 * What is not dropped then is still there for who reads: all is over before it
 * is five minutes old.
 */
static void change_retention(struct world *w)
{
	w->stream.retention_hours = w->stream.retention_hours ? 0 : 24;
	live_stream_retention(&w->thread.live, w->stream.store.id,
			      w->stream.retention_hours);
	if (w->drops && !w->stream.retention_hours)
		drop(w, store_fake_count(w->store));
}

static void disturb(struct world *w)
{
	if (w->changes && below(w, 60) == 0)
		change_retention(w);
	if (w->drops && below(w, 50) == 0)
		drop(w,
		     below(w, 2) ? store_fake_count(w->store) : below(w, 20));
	if (below(w, 25) == 0)
		upload_begin(w);
	if (below(w, 60) == 0)
		reader_begin(w);
	if (below(w, 150) == 0)
		list_begin(w);
	if (w->faults && below(w, 500) == 0)
		store_fake_fence(w->store, below(w, 4) == 0);
}

/* They leave, or their stream does. */
static void end_readers(struct world *w)
{
	struct live_stream *s =
		live_stream_find(&w->thread.live, w->stream.store.id);
	size_t i;

	if (s && below(w, 2)) {
		live_stream_delete(s);
		return;
	}
	for (i = 0; i < CLIENTS_MAX; i++) {
		if (w->clients[i])
			client_close(w->clients[i]);
	}
}

static void world_end(struct world *w)
{
	struct store_fake_config well = {.seed = w->seed};
	size_t i;

	w->quiet = true;
	w->thread.limits.get_rate = 0;
	store_fake_fence(w->store, false);
	store_fake_configure(w->store, &well);
	for (i = 0; i < QUIET_STEPS && uploading(w); i++) {
		if (w->drops && below(w, 2))
			drop(w, store_fake_count(w->store));
		step(w);
	}
	CHECK(w, !uploading(w));
	for (i = 0; i < 1000; i++)
		step(w);
	w->settled = true;
	for (i = 0; i < CLIENTS_MAX; i++) {
		struct client *c = w->clients[i];

		if (!c)
			continue;
		CHECK(w, c->kind == READER && c->ex.conn);
		CHECK(w, !c->stopped);
		check_reader(c, true);
	}
	end_readers(w);
	for (i = 0; i < 100; i++)
		step(w);
	for (i = 0; i < CLIENTS_MAX; i++)
		CHECK(w, !w->clients[i]);
	CHECK(w, store_fake_writers(w->store) == 0);
	CHECK(w, !w->metrics.readers && !w->metrics.uploads);
	live_table_fini(&w->thread.live);
	CHECK(w, !live_stream_find(&w->thread.live, w->stream.store.id));
	CHECK(w, !w->thread.live.kept_bytes);
	w->store = store_fake_free(w->store);
	w->loop = loop_free(w->loop);
}

int main(int argc, char **argv)
{
	struct seeds seeds = seeds_from(argc, argv, 400);
	struct world *w = malloc(sizeof(*w));
	uint64_t uploads = 0;
	uint64_t i;
	unsigned int k;

	if (!w)
		return 1;
	log_set_level(LOG_ERROR);
	for (i = 0; i < seeds.count; i++) {
		world_init(w, seeds.first + i);
		for (k = 0; k < STEPS; k++) {
			disturb(w);
			step(w);
		}
		uploads += w->uploads;
		world_end(w);
	}
	free(w);
	printf("%llu seeds: %llu uploads, %llu fragments read live or stored\n",
	       (unsigned long long)seeds.count, (unsigned long long)uploads,
	       (unsigned long long)documents);
	return documents ? 0 : 1;
}
