/* SPDX-License-Identifier: Apache-2.0 */
#include <kvs/producer.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "io/crypto.h"
#include "io/producer_int.h"
#include "proto/names.h"

#define THREAD_STACK_BYTES (256u << 10)

_Static_assert(KVS_TIME_BYTES == FRAME_TIME_BYTES, "the header says how many");
_Static_assert(FRAME_TIME_BYTES <= FRAME_TIME_SEI_BYTES_MAX, "struct au");

DEFINE_AUTO(kvs_producer_free, struct kvs_producer *)

/* --- checking the config ------------------------------------------------------ */

static int check_config(const struct kvs_producer_config *c)
{
	if (!c->stream_name || !name_stream_valid(slice_of(c->stream_name)))
		return producer_wrong("stream_name: 1 to 256 of a-z A-Z 0-9 _ . -");
	if (c->store_bytes && (c->store_bytes < RETAIN_BYTES_MIN ||
			       c->store_bytes > RETAIN_BYTES_MAX))
		return producer_wrong("store_bytes: 1 MiB to 4 GiB");
	return producer_front_check(&(struct producer_front_config){
		.tracks = c->tracks,
		.track_count = c->track_count,
		.fragment_ms = c->fragment_ms,
		.interleave_ms = c->interleave_ms,
	});
}

/* --- setting up ---------------------------------------------------------------- */

static void append_media_type(char *out, size_t size, const char *codec_id)
{
	static const struct {
		const char *codec_id;
		const char *type;
	} types[] = {
		{ "V_MPEG4/ISO/AVC", "video/h264" },
		{ "V_MPEGH/ISO/HEVC", "video/h265" },
		{ "V_MJPEG", "video/x-motion-jpeg" },
		{ "A_AAC", "audio/aac" },
	};
	const char *type = "application/octet-stream";
	size_t len = strlen(out);

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strncmp(codec_id, types[i].codec_id,
			    strlen(types[i].codec_id)) == 0)
			type = types[i].type;
	(void)snprintf(out + len, size - len, "%s%s", len ? "," : "", type);
}

static int make_front(struct kvs_producer *p,
		      const struct kvs_producer_config *c)
{
	for (size_t i = 0; i < c->track_count; i++)
		append_media_type(p->media_type, sizeof(p->media_type),
				  c->tracks[i].codec_id);
	return producer_front_init(&p->front, &(struct producer_front_config){
		.tracks = c->tracks,
		.track_count = c->track_count,
		.fragment_ms = c->fragment_ms,
		.interleave_ms = c->interleave_ms,
	});
}

/* Pages of the store that hold nothing go back to the system. */
static void give_back(void *ctx, size_t offset, size_t len)
{
	struct kvs_producer *p = ctx;
	int r = p->sys->fallocate(p->store_fd,
				  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  (off_t)offset, (off_t)len);

	if (r < 0)
		log_debug("producer", "memory is kept: %s", strerror(-r));
}

static int make_store(struct kvs_producer *p, size_t store_bytes)
{
	struct retain_ram_config config = {
		.store_bytes = store_bytes,
		.bytes = retain_ram_memory_bytes(store_bytes),
		.give_back = give_back,
		.ctx = p,
	};
	int fd;
	int r;

	fd = p->sys->memfd_create("kvs-store", MFD_CLOEXEC);
	if (fd < 0)
		return fd;
	p->store_fd = fd;
	r = p->sys->ftruncate(fd, (off_t)config.bytes);
	if (r < 0)
		return r;
	r = p->sys->mmap(config.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			 0, &config.memory);
	if (r < 0)
		return r;
	p->store_map = config.memory;
	p->store_map_bytes = config.bytes;
	return retain_ram_init(&p->store, &config);
}

static int make_lock(struct kvs_producer *p)
{
	pthread_condattr_t attr;
	int e;

	e = pthread_condattr_init(&attr);
	if (e)
		return -e;
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	/* With glibc and musl neither mutex takes memory or fails. */
	(void)pthread_mutex_init(&p->put_lock, NULL);
	(void)pthread_mutex_init(&p->lock, NULL);
	e = pthread_cond_init(&p->moved, &attr);
	(void)pthread_condattr_destroy(&attr);
	p->lock_made = e == 0;
	return -e;
}

static int make_control_endpoint(struct kvs_producer *p, const char *url)
{
	struct endpoint parsed;
	const char *cn = strncmp(p->id.region, "cn-", 3) == 0 ? ".cn" : "";
	int n;

	if (url)
		n = snprintf(p->control_endpoint, sizeof(p->control_endpoint),
			     "%s", url);
	else
		n = snprintf(p->control_endpoint, sizeof(p->control_endpoint),
			     "https://kinesisvideo.%s.amazonaws.com%s",
			     p->id.region, cn);
	if (n < 0 || (size_t)n >= sizeof(p->control_endpoint) ||
	    endpoint_parse(p->control_endpoint, &parsed) < 0)
		return producer_wrong("client.endpoint: not https://HOST[:PORT]");
	return 0;
}

static int make_parts(struct kvs_producer *p,
		      const struct kvs_producer_config *c)
{
	uint64_t seed = 0;
	struct upload_config upload = {
		.ops = &producer_upload_ops,
		.ctx = p,
		.retain = &p->store.retain,
		.create_stream = c->create_stream,
	};
	int r;

	r = aws_identity_init(&p->id, &c->client);
	if (r == -EINVAL)
		return producer_wrong("client.credentials: missing or too long");
	if (r == 0)
		r = make_control_endpoint(p, c->client.endpoint);
	if (r == 0)
		r = crypto_random(p->segment_uid, sizeof(p->segment_uid));
	if (r == 0)
		r = crypto_random(&seed, sizeof(seed));
	if (r == 0)
		r = make_lock(p);
	if (r == 0)
		r = make_front(p, c);
	if (r == 0)
		r = make_store(p, c->store_bytes ? c->store_bytes :
						   RETAIN_BYTES_DEFAULT);
	if (r == 0)
		r = producer_net_init(p, &c->client);
	if (r < 0)
		return r;
	upload.seed = seed;
	upload_init(&p->upload, &upload);
	return 0;
}

static int start_thread(struct kvs_producer *p)
{
	pthread_attr_t attr;
	int e;

	e = pthread_attr_init(&attr);
	if (e)
		return -e;
	(void)pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
	e = pthread_create(&p->thread, &attr, producer_thread, p);
	(void)pthread_attr_destroy(&attr);
	p->thread_runs = e == 0;
	return -e;
}

int producer_new(const struct kvs_producer_config *config,
		 const struct sys_ops *sys, struct kvs_producer **ret_producer)
{
	AUTO(kvs_producer_free) struct kvs_producer *p = NULL;
	int r;

	producer_right();
	r = check_config(config);
	if (r < 0)
		return r;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->sys = sys;
	p->store_fd = -EBADF;
	(void)snprintf(p->stream, sizeof(p->stream), "%s", config->stream_name);
	p->retention_hours = config->retention_hours;
	p->when_full = config->when_full;
	p->event = config->event;
	p->event_ctx = config->event_ctx;
	(void)snprintf(p->rung, sizeof(p->rung), "L4");
	r = make_parts(p, config);
	if (r == 0)
		r = start_thread(p);
	if (r < 0)
		return r;
	*ret_producer = TAKE_PTR(p);
	return 0;
}

int kvs_producer_new(const struct kvs_producer_config *config,
		     struct kvs_producer **ret_producer)
{
	return producer_new(config, sys_posix(), ret_producer);
}

struct kvs_producer *kvs_producer_free(struct kvs_producer *p)
{
	if (!p)
		return NULL;
	if (p->thread_runs) {
		(void)pthread_mutex_lock(&p->lock);
		producer_wake(p);
		p->stop = true;
		(void)pthread_cond_broadcast(&p->moved);
		(void)pthread_mutex_unlock(&p->lock);
		(void)pthread_join(p->thread, NULL);
	}
	producer_net_fini(p);
	if (p->store_map)
		(void)p->sys->munmap(p->store_map, p->store_map_bytes);
	sys_close(p->sys, &p->store_fd);
	if (p->lock_made) {
		(void)pthread_cond_destroy(&p->moved);
		(void)pthread_mutex_destroy(&p->lock);
		(void)pthread_mutex_destroy(&p->put_lock);
	}
	producer_front_fini(&p->front);
	aws_identity_fini(&p->id);
	free(p);
	return NULL;
}

/* --- frames in ------------------------------------------------------------------ */

static struct retain *store_of(struct kvs_producer *p)
{
	return &p->store.retain;
}

/* The open fragment was given up: what waits for it goes too. */
static void restart(struct kvs_producer *p)
{
	struct fragmenter_block b;

	p->open = false;
	fragmenter_restart(p->front.fragmenter);
	while (fragmenter_next(p->front.fragmenter, 0, &b)) {
		store_of(p)->ops->release(store_of(p), b.held);
		p->frames_dropped++;
	}
}

/* Return: false when nothing is left to drop. */
static bool make_room(struct kvs_producer *p)
{
	switch (upload_make_room(&p->upload)) {
	case UPLOAD_ROOM_NONE:
		return false;
	case UPLOAD_ROOM_OPEN:
		restart(p);
		return true;
	case UPLOAD_ROOM_SEALED:
		return true;
	}
	return false;
}

static void seal(struct kvs_producer *p)
{
	if (!p->open)
		return;
	store_of(p)->ops->seal(store_of(p));
	p->open = false;
	p->fragments_sealed++;
}

static void take_block(struct kvs_producer *p, const struct fragmenter_block *b)
{
	struct retain *store = store_of(p);

	if (b->opens) {
		seal(p);
		/* put_frame() leaves rows free; a burst of cuts may not. */
		while (store->ops->open(store, &b->head) < 0)
			if (upload_make_room(&p->upload) == UPLOAD_ROOM_NONE)
				break;
		p->open = true;
	}
	if (b->drop || !p->open) {
		store->ops->release(store, b->held);
		p->frames_dropped++;
		return;
	}
	store->ops->add(store, b->held, b->header, b->header_bytes, b->track,
			b->time_ns);
}

void producer_drain(struct kvs_producer *p)
{
	uint64_t now_ns = sys_now_ns(p->sys, CLOCK_MONOTONIC);
	struct fragmenter_block b;

	while (fragmenter_next(p->front.fragmenter, now_ns, &b))
		take_block(p, &b);
	if (fragmenter_idle(p->front.fragmenter, now_ns))
		seal(p);
}

void producer_wake(struct kvs_producer *p)
{
	if (p->wake_queued || p->stop)
		return;
	p->wake_queued = true;
	loop_post(p->loop, &p->wake);
}

/* A fragment other than the open one: room will come by acknowledgements. */
static bool has_sealed(struct kvs_producer *p)
{
	const struct retain_fragment *f = retain_from(store_of(p), 0);

	return f && f->sealed;
}

/* Makes room, or waits for it. Return: 0, -EPIPE, -EMSGSIZE. */
static int wait_for_room(struct kvs_producer *p)
{
	if (p->when_full == KVS_FULL_DROP_OLDEST)
		return make_room(p) ? 0 : -EMSGSIZE;
	if (!has_sealed(p))
		return -EMSGSIZE;
	producer_wake(p);
	(void)pthread_cond_wait(&p->moved, &p->lock);
	return p->finished || p->stop ? -EPIPE : 0;
}

static int hold(struct kvs_producer *p, const struct iovec *parts, size_t count,
		size_t bytes, uint64_t *ret_held)
{
	struct retain *store = store_of(p);

	for (;;) {
		struct retain_usage u = store->ops->usage(store);
		int r = -ENOSPC;

		if (u.rows_used + 2 < u.rows_max)
			r = store->ops->hold(store, parts, count, bytes,
					     ret_held);
		if (r != -ENOSPC)
			return r;
		r = wait_for_room(p);
		if (r < 0)
			return r;
	}
}

static int put_locked(struct kvs_producer *p, const struct kvs_frame *frame)
{
	struct fragmenter_frame in = {
		.track = frame->track,
		.time_ns = frame->time_ns,
		.order_ns = frame->decode_ns,
	};
	int r;

	if (p->finished)
		return -EPIPE;
	r = producer_front_prepare(&p->front, frame);
	if (r == 0)
		r = producer_front_allows(&p->front, frame);
	if (r < 0)
		return r;
	r = hold(p, p->front.au.parts, p->front.au.count, p->front.au.bytes, &in.held);
	if (r < 0)
		return r;
	p->payload_copies++;
	/* Making room may have cost the open fragment. */
	r = producer_front_allows(&p->front, frame);
	if (r < 0) {
		store_of(p)->ops->release(store_of(p), in.held);
		return r;
	}
	in.key = p->front.au.key;
	in.bytes = p->front.au.bytes;
	fragmenter_put(p->front.fragmenter, &in,
		       sys_now_ns(p->sys, CLOCK_MONOTONIC));
	p->frames_in++;
	producer_drain(p);
	producer_wake(p);
	return 0;
}

int kvs_producer_put_frame(struct kvs_producer *p, const struct kvs_frame *frame)
{
	int r;

	if (!producer_front_takes(&p->front, frame))
		return -EINVAL;
	(void)pthread_mutex_lock(&p->put_lock);
	(void)pthread_mutex_lock(&p->lock);
	r = put_locked(p, frame);
	if (r == -EAGAIN || r == -ERANGE)
		p->frames_dropped++;
	(void)pthread_mutex_unlock(&p->lock);
	(void)pthread_mutex_unlock(&p->put_lock);
	return r;
}

/* --- the end, and figures --------------------------------------------------------- */

static struct timespec deadline(struct kvs_producer *p, uint64_t timeout_ms)
{
	uint64_t ms_max = UINT64_C(3600) * 1000 * 24 * 365;
	uint64_t ns = sys_now_ns(p->sys, CLOCK_MONOTONIC) +
		      MIN(timeout_ms, ms_max) * NS_PER_MS;

	return (struct timespec){ .tv_sec = (time_t)(ns / NS_PER_S),
				  .tv_nsec = (long)(ns % NS_PER_S) };
}

int kvs_producer_finish(struct kvs_producer *p, uint64_t timeout_ms)
{
	struct timespec until = deadline(p, timeout_ms);
	size_t left;
	int e = 0;

	(void)pthread_mutex_lock(&p->lock);
	if (!p->finished) {
		p->finished = true;
		fragmenter_end(p->front.fragmenter);
		producer_drain(p);
		seal(p);
	}
	producer_wake(p);
	(void)pthread_cond_broadcast(&p->moved);
	for (;;) {
		left = store_of(p)->ops->usage(store_of(p)).fragments;
		if (!left || e || p->stop)
			break;
		e = pthread_cond_timedwait(&p->moved, &p->lock, &until);
	}
	(void)pthread_mutex_unlock(&p->lock);
	return (int)left;
}

void kvs_producer_stats(struct kvs_producer *p,
			struct kvs_producer_stats *ret_stats)
{
	struct retain_usage u;
	const struct upload_counts *c = &p->upload.counts;

	(void)pthread_mutex_lock(&p->lock);
	u = store_of(p)->ops->usage(store_of(p));
	*ret_stats = (struct kvs_producer_stats){
		.frames_in = p->frames_in,
		.frames_dropped = p->frames_dropped,
		.fragments_sealed = p->fragments_sealed,
		.fragments_sent = c->sent,
		.fragments_received = c->received,
		.fragments_persisted = c->persisted,
		.fragments_dropped = c->dropped,
		.bytes_sent = c->bytes_sent,
		.reconnects = c->connects ? c->connects - 1 : 0,
		.payload_copies = p->payload_copies,
		.store_bytes_used = u.bytes_used,
		.fragments_waiting = u.fragments,
	};
	memcpy(ret_stats->send_rung, p->rung, sizeof(ret_stats->send_rung));
	(void)pthread_mutex_unlock(&p->lock);
}
