/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PutMedia: joins a connection, an ingest (core/ingest.h) and the stream's
 * live state. A second upload of a stream is refused as the quota says, with
 * two exceptions that devices need: one whose connection broke, or that has
 * been silent for UPLOAD_SILENT_NS (its link broke and nobody told us), gives
 * way; one older than overlap_age_ns() may finish beside its
 * successor, since SDKs open the next session before they end the last one.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "core/ingest.h"
#include "core/key_error.h"
#include "core/rate.h"
#include "core/recv_lowat.h"
#include "io/conn.h"
#include "proto/epoch.h"
#include "serve/codec_watch.h"
#include "serve/live.h"
#include "serve/operations.h"
#include "serve/server.h"

/* Who is silent for that part of the drain is not waited for. */
#define DRAIN_SILENT_PART 4

struct put_media {
	struct exchange *ex;
	struct server_thread *thread;
	struct ingest *ingest;
	struct live_stream *live;
	struct live_upload upload;
	struct live_fragment *fragments[INGEST_FRAGMENTS_MAX];
	struct loop_timer timer;
	uint64_t begin_ns;
	uint64_t leave_ns;    /* a successor is there: end by then */
	bool no_memory;	      /* a fragment could not be shown to readers */
	bool in_call;	      /* inside the ingest: no end from within */
	bool no_clip;	      /* its codecs cannot be in one */
	struct pace pace;     /* put_rate */
	uint64_t paced_ns;    /* nothing is taken before; 0: now */
	struct recv_lowat recv_lowat;
	size_t lowat;	      /* that the connection has */
	uint64_t look_ns;     /* all that came by then is read */
	bool draining;	      /* the service stops: the open fragment may end */
	uint64_t frames_told; /* of those counted */
	/* Of each fragment, CLOCK_MONOTONIC: its first byte, its last one, when
	 * it was whole. */
	struct {
		uint64_t first_ns;
		uint64_t last_ns;
		uint64_t whole_ns;
	} times[INGEST_FRAGMENTS_MAX];
};

static void settle(struct put_media *pm);

/* --- what the ingest wants
 * -------------------------------------------------------- */

static void on_ack(void *ctx, const struct ack *ack)
{
	struct put_media *pm = ctx;
	uint8_t text[ACK_BYTES_MAX];
	struct buf line = {
		.data = text, .size = sizeof(text), .max = sizeof(text)};

	if (ack->event == ACK_ERROR) {
		pm->thread->metrics->error_acks++;
		log_warn("serve", "upload id=%s stream=%s ack=%s%s%s",
			 pm->ex->request_id, pm->ex->stream.name,
			 ack_error_name(ack->error_id),
			 ack->fragment_number[0] ? " fragment=" : "",
			 ack->fragment_number);
	}
	if (ack_format(&line, ack) < 0)
		return;
	/* A failed write ends the connection; closed() tells. */
	(void)!exchange_write(pm->ex, buf_head(&line), buf_len(&line));
}

static void on_document(void *ctx, const struct mkv_document *doc)
{
	struct put_media *pm = ctx;

	pm->no_clip = !codec_watch(pm->ex, pm->live, doc);
	pm->thread->metrics->uploads_no_clip += pm->no_clip;
}

/* Finer than a turn of the loop: for once per fragment, not per read. */
static uint64_t now_ns(const struct put_media *pm)
{
	return sys_now_ns(pm->thread->server->sys, CLOCK_MONOTONIC);
}

static void on_begin(void *ctx, unsigned int fragment,
		     const struct ingest_view *view)
{
	struct put_media *pm = ctx;

	pm->times[fragment].first_ns = now_ns(pm);
	recv_lowat_begin(&pm->recv_lowat, pm->times[fragment].first_ns);
	pm->fragments[fragment] = live_begin(pm->live, view);
	if (!pm->fragments[fragment])
		pm->no_memory = true;
}

static void on_timed(void *ctx, unsigned int fragment,
		     const struct ingest_view *view)
{
	struct put_media *pm = ctx;

	/* BUFFERING goes out when this returns. */
	metric_time_add(&pm->thread->metrics->buffering_ack,
			now_ns(pm) - pm->times[fragment].first_ns);
	if (pm->fragments[fragment])
		live_timed(pm->fragments[fragment], view);
}

static void on_bytes(void *ctx, unsigned int fragment, const uint8_t *bytes,
		     size_t len)
{
	struct put_media *pm = ctx;

	pm->times[fragment].last_ns = loop_now_ns(pm->thread->loop);
	recv_lowat_bytes(&pm->recv_lowat, len, pm->times[fragment].last_ns);
	if (pm->fragments[fragment])
		live_bytes(pm->fragments[fragment], bytes, len);
}

static void on_boundary(void *ctx, unsigned int fragment, uint64_t media)
{
	struct put_media *pm = ctx;

	if (pm->fragments[fragment])
		live_boundary(pm->fragments[fragment], media);
}

static uint64_t since(uint64_t then_ns, uint64_t now)
{
	return now > then_ns ? now - then_ns : 0;
}

static void count_end(struct put_media *pm, unsigned int fragment,
		      enum ingest_end how)
{
	struct metrics *m = pm->thread->metrics;
	uint64_t now = now_ns(pm);
	uint64_t last_ns = pm->times[fragment].last_ns;

	switch (how) {
	case INGEST_WHOLE: /* RECEIVED follows */
		recv_lowat_end(&pm->recv_lowat);
		pm->times[fragment].whole_ns = now;
		m->in_fragments++;
		metric_time_add(&m->ingestion,
				since(pm->times[fragment].first_ns, last_ns));
		metric_time_add(&m->received_ack, since(last_ns, now));
		break;
	case INGEST_COMMITTED: /* PERSISTED follows */
		m->stored++;
		m->stored_tried++;
		metric_time_add(&m->persist,
				since(pm->times[fragment].whole_ns, now));
		metric_time_add(&m->persisted_ack, since(last_ns, now));
		break;
	case INGEST_LOST:
		m->stored_tried++;
		break;
	case INGEST_DROPPED:
		break;
	}
}

static void on_end(void *ctx, unsigned int fragment, enum ingest_end how)
{
	struct put_media *pm = ctx;
	struct live_fragment *f = pm->fragments[fragment];

	count_end(pm, fragment, how);
	if (!f)
		return;
	if (how != INGEST_WHOLE || !f->stored)
		pm->fragments[fragment] = NULL;
	live_end(f, how);
}

static void on_progress(void *ctx)
{
	struct put_media *pm = ctx;

	if (!pm->in_call)
		exchange_resume(pm->ex);
	settle(pm);
}

static uint32_t on_random(void *ctx)
{
	struct put_media *pm = ctx;

	return server_random(pm->thread) >> (32 - FRAGMENT_RANDOM_BITS);
}

static uint64_t on_next_seq(void *ctx)
{
	struct put_media *pm = ctx;

	return store_next_seq(pm->thread->store, pm->live->id);
}

static const struct ingest_ops ingest_ops = {
	.document = on_document,
	.ack = on_ack,
	.begin = on_begin,
	.timed = on_timed,
	.bytes = on_bytes,
	.boundary = on_boundary,
	.end = on_end,
	.progress = on_progress,
	.random = on_random,
	.next_seq = on_next_seq,
};

/* --- life
 * -------------------------------------------------------------------------- */

static void set_lowat(struct put_media *pm, size_t bytes)
{
	if (bytes == pm->lowat || !exchange_alive(pm->ex))
		return;
	pm->lowat = bytes;
	conn_lowat(pm->ex->conn, bytes);
}

static void put_media_free(struct put_media *pm)
{
	set_lowat(pm, 1);
	loop_timer_cancel(pm->thread->loop, &pm->timer);
	pm->thread->metrics->uploads--;
	pm->thread->metrics->uploads_no_clip -= pm->no_clip;
	ingest_free(pm->ingest);
	list_del(&pm->upload.link);
	live_stream_put(pm->live);
	exchange_unref(pm->ex);
	free(pm);
}

static void end_answer(struct put_media *pm)
{
	struct exchange *ex = pm->ex;
	struct ingest_counts n = ingest_counts(pm->ingest);

	log_info("serve",
		 "upload id=%s stream=%s bytes=%llu fragments=%llu "
		 "persisted=%llu",
		 ex->request_id, ex->stream.name, (unsigned long long)n.bytes,
		 (unsigned long long)n.fragments,
		 (unsigned long long)n.persisted);
	if (!exchange_alive(ex))
		return;
	if (ingest_failed(pm->ingest))
		exchange_end_and_close(ex);
	else
		exchange_end(ex);
}

static void timer_fired(struct loop_timer *t);

/* Bytes may wait here: that is not its device's silence. */
static bool held_back(const struct put_media *pm)
{
	return ingest_blocked(pm->ingest) || pm->paced_ns;
}

/* A stop does not wait for a device that sends nothing. */
static uint64_t drain_end_ns(const struct put_media *pm)
{
	if (!pm->draining || ingest_ended(pm->ingest))
		return UINT64_MAX;
	return pm->thread->limits.drain_ns / DRAIN_SILENT_PART +
	       (held_back(pm) ? loop_now_ns(pm->thread->loop)
			      : ingest_last_byte_ns(pm->ingest));
}

/* Something was read. */
static void look_again(struct put_media *pm)
{
	size_t bytes = recv_lowat(&pm->recv_lowat,
				  loop_now_ns(pm->thread->loop), &pm->look_ns);

	if (pm->live->reader_count || pm->draining ||
	    pm->leave_ns != UINT64_MAX || ingest_ended(pm->ingest)) {
		pm->look_ns = UINT64_MAX;
		bytes = 1;
	}
	set_lowat(pm, bytes);
}

static void read_all(struct put_media *pm)
{
	pm->look_ns = UINT64_MAX;
	set_lowat(pm, 1);
}

static void on_watched(struct live_upload *u)
{
	read_all(container_of(u, struct put_media, upload));
}

/* After anything: tell the readers, re-arm the timer, end when it is over. */
static void settle(struct put_media *pm)
{
	uint64_t at;

	if (pm->in_call)
		return;
	live_notify(pm->live);
	if (ingest_over(pm->ingest)) {
		end_answer(pm);
		put_media_free(pm);
		return;
	}
	at = MIN(ingest_deadline_ns(pm->ingest), pm->leave_ns);
	at = MIN(at, drain_end_ns(pm));
	at = MIN(at, pm->look_ns);
	if (pm->paced_ns)
		at = MIN(at, pm->paced_ns);
	if (at == UINT64_MAX) {
		loop_timer_cancel(pm->thread->loop, &pm->timer);
		return;
	}
	/* Deadlines move later with each byte: one that fires early looks. */
	if (loop_timer_armed(&pm->timer) && pm->timer.expires_ns <= at)
		return;
	if (loop_timer_set(pm->thread->loop, &pm->timer, at, timer_fired) < 0)
		ingest_fail(pm->ingest, ACK_INTERNAL_ERROR);
}

static void timer_fired(struct loop_timer *t)
{
	struct put_media *pm = container_of(t, struct put_media, timer);

	pm->in_call = true;
	if (loop_now_ns(pm->thread->loop) >= pm->leave_ns) {
		pm->leave_ns = UINT64_MAX;
		ingest_fail(pm->ingest, ACK_MAX_CONNECTION_DURATION_REACHED);
	}
	if (loop_now_ns(pm->thread->loop) >= drain_end_ns(pm))
		ingest_stop(pm->ingest, server_time(pm->thread));
	ingest_tick(pm->ingest, server_time(pm->thread));
	pm->in_call = false;
	if (loop_now_ns(pm->thread->loop) >= pm->look_ns)
		read_all(pm);
	if (pm->paced_ns && loop_now_ns(pm->thread->loop) >= pm->paced_ns) {
		pm->paced_ns = 0;
		exchange_resume(pm->ex);
	}
	settle(pm);
}

static void count_input(struct put_media *pm, size_t bytes)
{
	uint64_t frames = ingest_counts(pm->ingest).frames;

	pm->thread->metrics->in_bytes += bytes;
	pm->thread->metrics->in_frames += frames - pm->frames_told;
	pm->frames_told = frames;
}

static size_t on_data(struct exchange *ex, const uint8_t *bytes, size_t len)
{
	struct put_media *pm = ex->state_of_op;
	uint64_t now = loop_now_ns(pm->thread->loop);
	uint64_t rate = pm->thread->limits.put_rate;
	size_t used;

	len = MIN(len, pace_room(&pm->pace, rate, now));
	if (!len) {
		pm->paced_ns = pace_ready_ns(&pm->pace, rate);
		settle(pm);
		return 0;
	}
	pm->in_call = true;
	used = ingest_feed(pm->ingest, server_time(pm->thread), bytes, len);
	pace_spend(&pm->pace, rate, used, now);
	count_input(pm, used);
	if (pm->no_memory)
		ingest_fail(pm->ingest, ACK_INTERNAL_ERROR);
	pm->in_call = false;
	look_again(pm);
	settle(pm);
	return used;
}

static void on_body_end(struct exchange *ex)
{
	struct put_media *pm = ex->state_of_op;

	pm->in_call = true;
	ingest_finish(pm->ingest, server_time(pm->thread));
	pm->in_call = false;
	settle(pm);
}

static void on_closed(struct exchange *ex)
{
	struct put_media *pm = ex->state_of_op;

	pm->in_call = true;
	ingest_drop(pm->ingest);
	pm->in_call = false;
	settle(pm);
}

/* Framing that is none, or the end of what the peer sends, inside the body. */
static void on_unreadable(struct exchange *ex)
{
	struct put_media *pm = ex->state_of_op;

	pm->in_call = true;
	ingest_fail(pm->ingest, ACK_STREAM_READ_ERROR);
	pm->in_call = false;
	settle(pm);
}

static void on_stop(struct exchange *ex)
{
	struct put_media *pm = ex->state_of_op;

	pm->in_call = true;
	pm->draining = !ex->thread->finishing;
	read_all(pm);
	if (pm->draining)
		ingest_drain(pm->ingest, server_time(pm->thread));
	else
		ingest_stop(pm->ingest, server_time(pm->thread));
	pm->in_call = false;
	settle(pm);
}

static const struct exchange_handler handler = {
	.data = on_data,
	.body_end = on_body_end,
	.unreadable = on_unreadable,
	.stop = on_stop,
	.closed = on_closed,
};

static void on_deleted(struct live_upload *u)
{
	struct put_media *pm = container_of(u, struct put_media, upload);

	pm->in_call = true;
	ingest_fail(pm->ingest, ingest_under_way(pm->ingest)
					? ACK_STREAM_DELETED
					: ACK_STREAM_NOT_ACTIVE);
	pm->in_call = false;
	settle(pm);
}

/* --- admission
 * ----------------------------------------------------------------------- */

static void displace(struct put_media *old)
{
	log_info("serve",
		 "upload id=%s stream=%s %s: a newer one takes its place",
		 old->ex->request_id, old->ex->stream.name,
		 exchange_lost(old->ex) ? "lost" : "silent");
	exchange_cut(old->ex, -ECANCELED);
	old->in_call = true;
	ingest_drop(old->ingest);
	old->in_call = false;
	/* Freed when its connection says that it is closed. */
}

/* Nobody is at its other end, as far as we can know. */
static bool dead(const struct put_media *pm, uint64_t now_ns)
{
	if (exchange_lost(pm->ex))
		return true;
	return !held_back(pm) &&
	       ingest_last_byte_ns(pm->ingest) + UPLOAD_SILENT_NS < now_ns;
}

/* Who may stay for less than a session of Amazon's rotates sooner. */
static uint64_t overlap_age_ns(const struct put_media *pm)
{
	return MIN(UPLOAD_OVERLAP_AGE_NS, pm->thread->limits.upload_ns_max / 2);
}

/* Return: there is room for one more upload. */
static bool admit(struct live_stream *live, uint64_t now_ns)
{
	unsigned int active = 0;
	bool young = false;
	struct put_media *old = NULL;
	struct list_node *n;
	struct list_node *tmp;

	list_for_each_safe(n, tmp, &live->uploads)
	{
		struct put_media *pm =
			list_entry(n, struct put_media, upload.link);

		if (ingest_ended(pm->ingest))
			continue;
		if (dead(pm, now_ns)) {
			displace(pm);
			continue;
		}
		active++;
		old = pm;
		young |= pm->begin_ns + overlap_age_ns(pm) > now_ns;
	}
	if (!active)
		return true;
	if (young || active >= UPLOADS_PER_STREAM_MAX)
		return false;
	old->leave_ns = now_ns + PUT_MEDIA_IDLE_NS_MAX;
	read_all(old);
	settle(old);
	return true;
}

static int read_head(struct exchange *ex, struct ingest_config *config)
{
	static const char type_name[] = "x-amzn-fragment-timecode-type";
	static const char start_name[] = "x-amzn-producer-start-timestamp";
	const struct slice *type = http_field(&ex->head, type_name);
	const struct slice *start = http_field(&ex->head, start_name);

	if (!type || http_field_count(&ex->head, type_name) != 1 ||
	    !(slice_is(*type, "ABSOLUTE") || slice_is(*type, "RELATIVE"))) {
		exchange_bad_argument(ex, "x-amzn-fragment-timecode-type must "
					  "be ABSOLUTE or RELATIVE.");
		return -EINVAL;
	}
	config->relative = slice_is(*type, "RELATIVE");
	if (!start || http_field_count(&ex->head, start_name) != 1 ||
	    epoch_ms_parse(*start, &config->producer_start_ms) < 0) {
		exchange_bad_argument(ex, "x-amzn-producer-start-timestamp "
					  "must be epoch seconds.");
		return -EINVAL;
	}
	return 0;
}

static int put_media_new(struct exchange *ex, struct ingest_config *config,
			 struct live_stream *live, struct put_media **ret_pm)
{
	struct put_media *pm = calloc(1, sizeof(*pm));
	int r;

	if (!pm)
		return -ENOMEM;
	pm->ex = ex;
	pm->thread = ex->thread;
	pm->live = live;
	pm->begin_ns = loop_now_ns(pm->thread->loop);
	pm->leave_ns = UINT64_MAX;
	pm->lowat = 1;
	pm->look_ns = UINT64_MAX;
	pm->upload.deleted = on_deleted;
	pm->upload.watched = on_watched;
	config->store = live->stored ? ex->thread->store : NULL;
	config->stream = ex->stream.store;
	config->duration_ns_max = ex->thread->limits.upload_ns_max;
	config->ops = &ingest_ops;
	config->ctx = pm;
	r = ingest_new(config, server_time(pm->thread), &pm->ingest);
	if (r < 0) {
		free(pm);
		return r;
	}
	list_add_tail(&live->uploads, &pm->upload.link);
	pm->thread->metrics->uploads++;
	exchange_ref(ex);
	*ret_pm = pm;
	return 0;
}

void put_media_run(struct exchange *ex)
{
	struct ingest_config config = {.relative = false};
	struct live_stream *live;
	struct put_media *pm;
	int r;

	if (read_head(ex, &config) < 0)
		return;
	live = live_stream_get(&ex->thread->live, ex->stream.store.id,
			       ex->stream.retention_hours);
	if (!live) {
		exchange_internal(ex, -ENOMEM);
		return;
	}
	if (live->deleted) {
		live_stream_put(live);
		exchange_no_stream(ex);
		return;
	}
	/* One that its key refuses takes nobody's place. */
	if (!ex->stream.key_error &&
	    !admit(live, loop_now_ns(ex->thread->loop))) {
		live_stream_put(live);
		exchange_error(ex, 400, "ConnectionLimitExceededException",
			       "Another upload to this stream is running.");
		return;
	}
	r = put_media_new(ex, &config, live, &pm);
	if (r < 0) {
		live_stream_put(live);
		exchange_internal(ex, r);
		return;
	}
	/* Two writes: one device SDK drops a 100 and a 200 that come as one. */
	if ((ex->head.expect_continue && exchange_continue(ex) < 0) ||
	    exchange_begin(ex, "application/json", EXCHANGE_CHUNKED, &handler,
			   pm) < 0) {
		ex->handler = &handler;
		ex->state_of_op = pm;
		return; /* closed() ends it */
	}
	if (ex->stream.key_error)
		ingest_fail(pm->ingest, key_error_ack(ex->stream.key_error));
	exchange_resume(ex);
	settle(pm);
}
