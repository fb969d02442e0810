/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The producer without a network: the same front, fragmenter and store, and
 * each fragment goes to a descriptor when it is sealed.
 */
#include <kvs/recorder.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "base/sys.h"
#include "core/retain_ram.h"
#include "io/producer_front.h"
#include "io/recorder_int.h"

#define STORE_BYTES_DEFAULT (64u << 20)
#define HEAD_BYTES_MAX (KVS_TRACKS_MAX * (MKV_CODEC_PRIVATE_BYTES_MAX + 1024u))
#define PARTS_MAX 64u

struct kvs_recorder {
	const struct sys_ops *sys;
	int fd;			/* borrowed */
	struct producer_front front;
	struct retain_ram store;
	void *map;
	size_t map_bytes;
	uint8_t segment_uid[16];
	struct buf head;	/* as it was written; empty: not yet */
	uint8_t tracks;		/* bit n: the head declares track n */
	bool open;		/* the store's newest fragment */
	bool finished;
	int failure;		/* 0: none; it stays */
	struct kvs_recorder_stats stats;
};

DEFINE_AUTO(kvs_recorder_free, struct kvs_recorder *)

/* --- life ---------------------------------------------------------------- */

static int make_store(struct kvs_recorder *k, size_t store_bytes)
{
	struct retain_ram_config config = {
		.store_bytes = store_bytes,
		.bytes = retain_ram_memory_bytes(store_bytes),
	};
	int r;

	r = k->sys->mmap(config.bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0,
			 &config.memory);
	if (r < 0)
		return r;
	k->map = config.memory;
	k->map_bytes = config.bytes;
	return retain_ram_init(&k->store, &config);
}

static int setup(struct kvs_recorder *k, const struct kvs_recorder_config *c,
		 const struct producer_front_config *front)
{
	int r;

	r = k->sys->getrandom(k->segment_uid, sizeof(k->segment_uid));
	if (r == 0)
		r = producer_front_init(&k->front, front);
	if (r == 0)
		r = make_store(k, c->store_bytes ? c->store_bytes :
						   STORE_BYTES_DEFAULT);
	return r;
}

int recorder_new(const struct kvs_recorder_config *config,
		 const struct sys_ops *sys, struct kvs_recorder **ret_recorder)
{
	AUTO(kvs_recorder_free) struct kvs_recorder *k = NULL;
	struct producer_front_config front = {
		.tracks = config->tracks,
		.track_count = config->track_count,
		.fragment_ms = config->fragment_ms,
		.interleave_ms = config->interleave_ms,
	};
	int r;

	producer_right();
	if (config->fd < 0)
		return producer_wrong("fd: is not open");
	if (config->store_bytes && (config->store_bytes < RETAIN_BYTES_MIN ||
				    config->store_bytes > RETAIN_BYTES_MAX))
		return producer_wrong("store_bytes: 1 MiB to 4 GiB");
	r = producer_front_check(&front);
	if (r < 0)
		return r;
	k = calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	k->sys = sys;
	k->fd = config->fd;
	buf_init(&k->head, HEAD_BYTES_MAX);
	r = setup(k, config, &front);
	if (r < 0)
		return r;
	*ret_recorder = TAKE_PTR(k);
	return 0;
}

int kvs_recorder_new(const struct kvs_recorder_config *config,
		     struct kvs_recorder **ret_recorder)
{
	return recorder_new(config, sys_posix(), ret_recorder);
}

struct kvs_recorder *kvs_recorder_free(struct kvs_recorder *k)
{
	if (!k)
		return NULL;
	producer_front_fini(&k->front);
	buf_fini(&k->head);
	if (k->map)
		(void)k->sys->munmap(k->map, k->map_bytes);
	free(k);
	return NULL;
}

/* --- to the descriptor --------------------------------------------------- */

static int write_all(struct kvs_recorder *k, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	while (len) {
		ssize_t n = k->sys->write(k->fd, at, len);

		if (n < 0)
			return (int)n;
		if (n == 0)
			return -EIO;
		at += n;
		len -= (size_t)n;
		k->stats.bytes_written += (uint64_t)n;
	}
	return 0;
}

static int write_fragment(struct kvs_recorder *k, uint64_t seq)
{
	struct retain *store = &k->store.retain;
	struct retain_cursor c = { .seq = seq };
	struct iovec parts[PARTS_MAX];
	size_t count;
	int r = 0;

	while (r == 0 && store->ops->read(store, &c, parts, PARTS_MAX,
					  SIZE_MAX, &count) > 0) {
		for (size_t i = 0; r == 0 && i < count; i++)
			r = write_all(k, parts[i].iov_base, parts[i].iov_len);
		/* The cursor goes on to a fragment that is not there. */
		if (c.seq != seq)
			break;
	}
	return r;
}

static void fail(struct kvs_recorder *k, int r)
{
	if (r < 0 && !k->failure)
		k->failure = r;
}

/* The open fragment is whole: it goes out and makes room. */
static void seal(struct kvs_recorder *k)
{
	struct retain *store = &k->store.retain;
	const struct retain_fragment *f = retain_from(store, 0);

	if (!k->open)
		return;
	k->open = false;
	store->ops->seal(store);
	if (!k->failure)
		fail(k, write_fragment(k, f->seq));
	if (!k->failure)
		k->stats.fragments_written++;
	store->ops->remove(store, f->seq);
}

/* The first head is written; a later one must say the same. */
static int check_head(struct kvs_recorder *k, const struct retain_fragment *f)
{
	struct buf head;
	int r;

	if (!buf_len(&k->head)) {
		k->tracks = f->tracks;
		r = fragmenter_header(k->front.fragmenter, f->setup, k->tracks,
				      k->segment_uid, &k->head);
		return r < 0 ? r : write_all(k, buf_head(&k->head),
					     buf_len(&k->head));
	}
	buf_init(&head, HEAD_BYTES_MAX);
	r = fragmenter_header(k->front.fragmenter, f->setup, k->tracks,
			      k->segment_uid, &head);
	if (r == 0 && (buf_len(&head) != buf_len(&k->head) ||
		       memcmp(buf_head(&head), buf_head(&k->head),
			      buf_len(&head)) != 0))
		r = -ESTALE;
	buf_fini(&head);
	return r;
}

static void take_block(struct kvs_recorder *k, const struct fragmenter_block *b)
{
	struct retain *store = &k->store.retain;

	if (b->opens) {
		seal(k);
		if (!k->failure)
			fail(k, check_head(k, &b->head));
		if (!k->failure)
			fail(k, store->ops->open(store, &b->head));
		k->open = !k->failure;
	}
	if (b->drop || !k->open || !(k->tracks >> b->track & 1)) {
		store->ops->release(store, b->held);
		k->stats.frames_dropped++;
		return;
	}
	store->ops->add(store, b->held, b->header, b->header_bytes, b->track,
			b->time_ns);
}

static void drain(struct kvs_recorder *k)
{
	uint64_t now_ns = sys_now_ns(k->sys, CLOCK_MONOTONIC);
	struct fragmenter_block b;

	while (fragmenter_next(k->front.fragmenter, now_ns, &b))
		take_block(k, &b);
	if (fragmenter_idle(k->front.fragmenter, now_ns))
		seal(k);
}

/* --- frames in ----------------------------------------------------------- */

static int put(struct kvs_recorder *k, const struct kvs_frame *frame)
{
	struct retain *store = &k->store.retain;
	struct fragmenter_frame in = {
		.track = frame->track,
		.time_ns = frame->time_ns,
		.order_ns = frame->decode_ns,
	};
	const struct au *au = &k->front.au;
	int r;

	r = producer_front_prepare(&k->front, frame);
	if (r == 0)
		r = producer_front_allows(&k->front, frame);
	if (r < 0)
		return r;
	r = store->ops->hold(store, au->parts, au->count, au->bytes, &in.held);
	if (r < 0)
		return r == -ENOSPC ? -ENOBUFS : r;
	in.key = au->key;
	in.bytes = au->bytes;
	fragmenter_put(k->front.fragmenter, &in,
		       sys_now_ns(k->sys, CLOCK_MONOTONIC));
	k->stats.frames_in++;
	drain(k);
	return k->failure;
}

int kvs_recorder_put_frame(struct kvs_recorder *k,
			   const struct kvs_frame *frame)
{
	int r;

	if (!producer_front_takes(&k->front, frame))
		return -EINVAL;
	if (k->failure)
		return k->failure;
	if (k->finished)
		return -EPIPE;
	r = put(k, frame);
	if (r == -EAGAIN || r == -ERANGE || r == -ENOBUFS)
		k->stats.frames_dropped++;
	return r;
}

int kvs_recorder_finish(struct kvs_recorder *k)
{
	if (!k->finished) {
		k->finished = true;
		fragmenter_end(k->front.fragmenter);
		drain(k);
		seal(k);
	}
	return k->failure;
}

void kvs_recorder_stats(const struct kvs_recorder *k,
			struct kvs_recorder_stats *ret_stats)
{
	*ret_stats = k->stats;
}
