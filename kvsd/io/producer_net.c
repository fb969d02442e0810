/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop's half of the producer: effects of core/upload.h, and events of
 * connections and timers turned into its steps. Every step is taken under the
 * producer's lock; the caller's event function is called without it.
 */
#include "io/producer_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "core/limits.h"
#include "io/api_call.h"
#include "io/http_client.h"
#include "io/loop_uring.h"
#include "io/tls.h"
#include "proto/epoch.h"
#include "proto/json_find.h"

#define PRODUCER_LOOP_ENTRIES 32u
#define CALL_TIMEOUT_MS 30000u
#define REPLY_BYTES_MAX (32u << 10)
#define MKV_HEADER_OUT_BYTES_MAX (4u << 20)
#define HEAD_BYTES_MAX (8u << 10)

/* --- events to the caller ------------------------------------------------------ */

void producer_report(void *ctx, const struct upload_report *report)
{
	static const enum kvs_event_kind kinds[] = {
		[UPLOAD_REPORT_CONNECTED] = KVS_EVENT_CONNECTED,
		[UPLOAD_REPORT_DISCONNECTED] = KVS_EVENT_DISCONNECTED,
		[UPLOAD_REPORT_REFUSED] = KVS_EVENT_REFUSED,
		[UPLOAD_REPORT_BUFFERING] = KVS_EVENT_BUFFERING,
		[UPLOAD_REPORT_RECEIVED] = KVS_EVENT_RECEIVED,
		[UPLOAD_REPORT_PERSISTED] = KVS_EVENT_PERSISTED,
		[UPLOAD_REPORT_ERROR_ACK] = KVS_EVENT_ERROR_ACK,
		[UPLOAD_REPORT_DROPPED] = KVS_EVENT_DROPPED,
	};
	struct kvs_producer *p = ctx;
	struct queued_event *e;

	if (!p->event)
		return;
	if (p->event_count == EVENTS_MAX) { /* a slow listener: oldest goes */
		p->event_first = (p->event_first + 1) % EVENTS_MAX;
		p->event_count--;
	}
	e = &p->events[(p->event_first + p->event_count++) % EVENTS_MAX];
	e->event = (struct kvs_event){
		.kind = kinds[report->kind],
		.timecode_ms = report->timecode_ms,
		.error_id = report->error_id,
		.delay_ms = report->delay_ms,
		.newest_frame_ns = report->newest_frame_ns,
	};
	(void)snprintf(e->text, sizeof(e->text), "%s",
		       report->text ? report->text : "");
	(void)snprintf(e->number, sizeof(e->number), "%s",
		       report->fragment_number ? report->fragment_number : "");
}

static bool next_event(struct kvs_producer *p, struct queued_event *ret)
{
	bool some;

	(void)pthread_mutex_lock(&p->lock);
	some = p->event_count > 0;
	if (some) {
		*ret = p->events[p->event_first];
		p->event_first = (p->event_first + 1) % EVENTS_MAX;
		p->event_count--;
	}
	(void)pthread_mutex_unlock(&p->lock);
	return some;
}

static void tell_events(struct kvs_producer *p)
{
	struct queued_event e;

	while (p->event && next_event(p, &e)) {
		e.event.text = e.text[0] ? e.text : NULL;
		e.event.fragment_number = e.number[0] ? e.number : NULL;
		p->event(p->event_ctx, &e.event);
	}
}

/* --- steps ---------------------------------------------------------------------- */

static size_t waiting(struct kvs_producer *p)
{
	return p->store.retain.ops->usage(&p->store.retain).fragments;
}

static void fragment_timer_fired(struct loop_timer *t);

static void set_timer(struct kvs_producer *p, struct loop_timer *t,
		      uint64_t at_ns, void (*fired)(struct loop_timer *))
{
	if (at_ns == UINT64_MAX)
		loop_timer_cancel(p->loop, t);
	else /* its place was reserved: cannot fail */
		(void)!loop_timer_set(p->loop, t, at_ns, fired);
}

/* One event under the lock, and what follows from it. */
static void step(struct kvs_producer *p, const struct upload_event *ev)
{
	uint64_t used;

	(void)pthread_mutex_lock(&p->lock);
	used = p->store.retain.ops->usage(&p->store.retain).bytes_used;
	(void)upload_step(&p->upload, ev, loop_now_ns(p->loop));
	if (p->store.retain.ops->usage(&p->store.retain).bytes_used < used ||
	    !waiting(p))
		(void)pthread_cond_broadcast(&p->moved);
	(void)pthread_mutex_unlock(&p->lock);
	tell_events(p);
}

static void step_kind(struct kvs_producer *p, enum upload_event_kind kind)
{
	step(p, &(struct upload_event){ .kind = kind });
}

/* Frames came, or the fragmenter's time is up. */
static void look_for_media(struct kvs_producer *p)
{
	uint64_t at_ns;
	bool finish;

	(void)pthread_mutex_lock(&p->lock);
	producer_drain(p);
	at_ns = fragmenter_deadline_ns(p->front.fragmenter);
	finish = p->finished && !p->finish_told;
	p->finish_told = p->finished;
	(void)pthread_mutex_unlock(&p->lock);
	set_timer(p, &p->fragment_timer, at_ns, fragment_timer_fired);
	step_kind(p, finish ? UPLOAD_FINISH : UPLOAD_MEDIA);
}

static void woken(struct loop_task *task)
{
	struct kvs_producer *p = container_of(task, struct kvs_producer, wake);
	bool stop;

	(void)pthread_mutex_lock(&p->lock);
	p->wake_queued = false;
	stop = p->stop;
	(void)pthread_mutex_unlock(&p->lock);
	if (stop)
		loop_stop(p->loop);
	else
		look_for_media(p);
}

static void fragment_timer_fired(struct loop_timer *t)
{
	look_for_media(container_of(t, struct kvs_producer, fragment_timer));
}

static void upload_timer_fired(struct loop_timer *t)
{
	step_kind(container_of(t, struct kvs_producer, upload_timer),
		  UPLOAD_TIMER);
}

/* --- calls of the control plane ---------------------------------------------------- */

static void deferred_fired(struct loop_timer *t)
{
	struct kvs_producer *p =
		container_of(t, struct kvs_producer, deferred_timer);
	enum deferred what = p->deferred;

	p->deferred = DEFER_NOTHING;
	if (what == DEFER_REPLY)
		step(p, &(struct upload_event){ .kind = UPLOAD_REPLIED,
						.reply = &p->reply });
	else if (what == DEFER_CLOSED)
		step(p, &(struct upload_event){
				.kind = UPLOAD_CLOSED,
				.why = p->deferred_why,
				.text = strerror(-p->deferred_why) });
}

static void defer(struct kvs_producer *p, enum deferred what, int why)
{
	p->deferred = what;
	p->deferred_why = why;
	set_timer(p, &p->deferred_timer, 0, deferred_fired);
}

static void fail_reply(struct kvs_producer *p, int error, const char *words)
{
	(void)snprintf(p->reply_message, sizeof(p->reply_message), "%s",
		       words && words[0] ? words : strerror(-error));
	p->reply_type[0] = '\0';
	p->reply = (struct upload_reply){ .status = error,
					  .error_type = p->reply_type,
					  .message = p->reply_message };
}

static uint64_t wall_clock_s(struct kvs_producer *p)
{
	return sys_now_ns(p->sys, CLOCK_REALTIME) / NS_PER_S;
}

static int collect(void *ctx, const uint8_t *bytes, size_t len)
{
	struct kvs_producer *p = ctx;

	return buf_add(&p->reply_body, bytes, len);
}

/* What the machine wants to know of a 200. */
static void read_reply(struct kvs_producer *p)
{
	struct slice doc = { (const char *)buf_head(&p->reply_body),
			     buf_len(&p->reply_body) };
	char status[32];
	char url[URL_CHARS_MAX];
	uint64_t hours = 0;

	if (p->upload.state == UPLOAD_DESCRIBING) {
		p->reply.active =
			json_find_string(doc, "StreamInfo.Status", status,
					 sizeof(status)) >= 0 &&
			(strcmp(status, "ACTIVE") == 0 ||
			 strcmp(status, "UPDATING") == 0);
		if (json_find_u64(doc, "StreamInfo.DataRetentionInHours",
				  &hours) == 0)
			p->reply.retention_hours =
				(uint32_t)MIN(hours, UINT32_MAX);
	} else if (p->upload.state == UPLOAD_LOCATING) {
		if (json_find_string(doc, "DataEndpoint", url, sizeof(url)) < 0 ||
		    endpoint_parse(url, &p->data_endpoint) < 0)
			fail_reply(p, -EPROTO, "GetDataEndpoint: no endpoint");
	}
}

static void call_done(void *ctx, int result)
{
	struct kvs_producer *p = ctx;
	const struct kvs_reply *r = api_caller_reply(p->caller);

	if (result < 0) {
		fail_reply(p, result, api_caller_reason(p->caller));
	} else {
		(void)snprintf(p->reply_type, sizeof(p->reply_type), "%s",
			       r->error_type);
		(void)snprintf(p->reply_message, sizeof(p->reply_message), "%s",
			       r->message);
		p->reply = (struct upload_reply){
			.status = r->status,
			.error_type = p->reply_type,
			.message = p->reply_message,
			.date_s = api_caller_date_s(p->caller),
			.now_s = wall_clock_s(p),
		};
		if (r->status == 200)
			read_reply(p);
	}
	step(p, &(struct upload_event){ .kind = UPLOAD_REPLIED,
					.reply = &p->reply });
}

static void op_call(void *ctx, enum upload_call which)
{
	struct kvs_producer *p = ctx;
	char json[1024];
	const char *path = NULL;
	int n = 0;
	int r;

	/* Names and types were checked: nothing in them needs escaping. */
	switch (which) {
	case UPLOAD_CALL_DESCRIBE:
		path = "/describeStream";
		n = snprintf(json, sizeof(json), "{\"StreamName\":\"%s\"}",
			     p->stream);
		break;
	case UPLOAD_CALL_CREATE:
		path = "/createStream";
		n = snprintf(json, sizeof(json),
			     "{\"StreamName\":\"%s\",\"MediaType\":\"%s\","
			     "\"DataRetentionInHours\":%u}",
			     p->stream, p->media_type, p->retention_hours);
		break;
	case UPLOAD_CALL_LOCATE:
		path = "/getDataEndpoint";
		n = snprintf(json, sizeof(json), "{\"StreamName\":\"%s\","
			     "\"APIName\":\"PUT_MEDIA\"}", p->stream);
		break;
	}
	buf_reset(&p->reply_body);
	r = api_call(p->caller, p->control_endpoint, path, json, (size_t)n,
		     p->upload.clock_offset_s, collect, call_done, p);
	if (r < 0) {
		fail_reply(p, r, NULL);
		defer(p, DEFER_REPLY, 0);
	}
}

/* --- the session ------------------------------------------------------------------- */

static void session_ready(void *ctx)
{
	step_kind(ctx, UPLOAD_CONNECTED);
}

static void copy_type(struct kvs_producer *p, const struct http_head *head)
{
	const struct slice *type = http_field(head, "x-amzn-ErrorType");

	if (!type)
		type = http_field(head, "x-amz-ErrorType");
	p->reply_type[0] = '\0';
	if (type)
		(void)snprintf(p->reply_type, sizeof(p->reply_type), "%.*s",
			       (int)MIN(type->len, sizeof(p->reply_type) - 1),
			       type->ptr);
	p->reply_type[strcspn(p->reply_type, ":")] = '\0';
}

static void session_head(void *ctx, const struct http_head *head)
{
	struct kvs_producer *p = ctx;
	const struct slice *date = http_field(head, "Date");

	p->accepted = head->status == 200;
	p->reply = (struct upload_reply){ .status = (int)head->status,
					  .error_type = p->reply_type,
					  .message = p->reply_message,
					  .now_s = wall_clock_s(p) };
	if (date)
		(void)!epoch_http_parse(*date, &p->reply.date_s);
	buf_reset(&p->reply_body);
	p->reply_message[0] = '\0';
	copy_type(p, head);
	if (!p->accepted)
		return;
	ack_parser_init(&p->acks);
	(void)snprintf(p->rung, sizeof(p->rung), "%s",
		       http_client_send_rung(p->session));
	step_kind(p, UPLOAD_ACCEPTED);
}

static void session_body(void *ctx, const uint8_t *bytes, size_t len)
{
	struct kvs_producer *p = ctx;
	size_t at = 0;

	if (!p->accepted) {
		(void)buf_add(&p->reply_body, bytes,
			      MIN(len, buf_room(&p->reply_body)));
		return;
	}
	while (at < len) {
		struct ack ack;
		size_t used = 0;
		int r = ack_parser_feed(&p->acks, bytes + at, len - at, &used,
					&ack);

		if (r < 0) {
			log_debug("producer", "broken acknowledgement");
			http_client_abort(p->session, -EPROTO);
			return;
		}
		at += used;
		if (r == 1)
			step(p, &(struct upload_event){ .kind = UPLOAD_ACKED,
							.ack = &ack });
		else if (!used)
			return;
	}
}

static void session_done(void *ctx)
{
	struct kvs_producer *p = ctx;
	struct slice doc = { (const char *)buf_head(&p->reply_body),
			     buf_len(&p->reply_body) };

	if (p->accepted) {
		step_kind(p, UPLOAD_ENDED);
		return;
	}
	if (json_find_string(doc, "Message", p->reply_message,
			     sizeof(p->reply_message)) < 0)
		(void)!json_find_string(doc, "message", p->reply_message,
					sizeof(p->reply_message));
	step(p, &(struct upload_event){ .kind = UPLOAD_REFUSED,
					.reply = &p->reply });
}

static void session_drained(void *ctx)
{
	step_kind(ctx, UPLOAD_DRAINED);
}

static void session_closed(void *ctx, int why)
{
	struct kvs_producer *p = ctx;
	char text[EVENT_TEXT_CHARS];
	const char *words = http_client_reason(p->session);

	(void)snprintf(text, sizeof(text), "%s%s%s", words,
		       words[0] && why ? ": " : "", why ? strerror(-why) : "");
	p->session = http_client_free(p->session);
	if (p->stopped)
		return;
	step(p, &(struct upload_event){ .kind = UPLOAD_CLOSED,
					.why = why, .text = text });
}

static const struct http_client_handler session_handler = {
	.ready = session_ready,
	.head = session_head,
	.body = session_body,
	.done = session_done,
	.drained = session_drained,
	.closed = session_closed,
};

static void op_connect(void *ctx)
{
	struct kvs_producer *p = ctx;
	int r = http_client_new(p->loop, p->sys, p->tls, &p->data_endpoint,
				UINT64_MAX, &session_handler, p, &p->session);

	if (r < 0)
		defer(p, DEFER_CLOSED, r);
}

static void op_open(void *ctx, uint64_t start_ms)
{
	struct kvs_producer *p = ctx;
	char start[EPOCH_CHARS_MAX];
	struct http_field fields[] = {
		{ SLICE("x-amzn-fragment-acknowledgment-required"), SLICE("1") },
		{ SLICE("x-amzn-fragment-timecode-type"), SLICE("ABSOLUTE") },
		{ SLICE("x-amzn-producer-start-timestamp"), { NULL, 0 } },
		{ SLICE("x-amzn-stream-name"), slice_of(p->stream) },
	};
	struct aws_request rq = {
		.endpoint = &p->data_endpoint,
		.path = "/putMedia",
		.fields = fields,
		.field_count = ARRAY_SIZE(fields),
		.body_hash = sigv4_empty_hash,
		.body_bytes = UINT64_MAX,
		.now_s = wall_clock_s(p) + (uint64_t)p->upload.clock_offset_s,
	};
	struct buf head;
	struct iovec part;
	int r;

	epoch_ms_format(start_ms, start);
	fields[2].value = slice_of(start);
	p->accepted = false;
	buf_init(&head, HEAD_BYTES_MAX);
	r = aws_request_head(&p->id, &rq, &head);
	if (r == 0) {
		part.iov_base = buf_head(&head);
		part.iov_len = buf_len(&head);
		r = http_client_send(p->session, &part, 1);
	}
	buf_fini(&head);
	if (r < 0)
		http_client_abort(p->session, r);
}

static int op_header(void *ctx, uint32_t setup, uint8_t tracks)
{
	struct kvs_producer *p = ctx;
	struct buf header;
	struct iovec part;
	int r;

	buf_init(&header, MKV_HEADER_OUT_BYTES_MAX);
	r = fragmenter_header(p->front.fragmenter, setup, tracks, p->segment_uid,
			      &header);
	if (r == 0) {
		part.iov_base = buf_head(&header);
		part.iov_len = buf_len(&header);
		r = http_client_chunk(p->session, &part, 1, part.iov_len);
	}
	buf_fini(&header);
	return r;
}

static int op_send(void *ctx, const struct iovec *parts, size_t count,
		   size_t bytes)
{
	struct kvs_producer *p = ctx;

	return http_client_chunk(p->session, parts, count, bytes);
}

static void op_end(void *ctx)
{
	struct kvs_producer *p = ctx;

	/* A failed write closes the connection: CLOSED tells. */
	(void)!http_client_end(p->session);
}

static void op_close(void *ctx)
{
	struct kvs_producer *p = ctx;

	http_client_abort(p->session, -ECANCELED);
}

static size_t op_backlog(void *ctx)
{
	const struct kvs_producer *p = ctx;

	return p->session ? http_client_backlog(p->session) : 0;
}

static void op_timer(void *ctx, uint64_t at_ns)
{
	struct kvs_producer *p = ctx;

	set_timer(p, &p->upload_timer, at_ns, upload_timer_fired);
}

const struct upload_ops producer_upload_ops = {
	.call = op_call,
	.connect = op_connect,
	.open = op_open,
	.header = op_header,
	.send = op_send,
	.end = op_end,
	.close = op_close,
	.backlog = op_backlog,
	.timer = op_timer,
	.report = producer_report,
};

/* --- life --------------------------------------------------------------------------- */

static int reserve_timers(struct kvs_producer *p)
{
	struct loop_timer *timers[] = { &p->upload_timer, &p->fragment_timer,
					&p->deferred_timer };
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(timers) && r == 0; i++)
		r = loop_timer_set(p->loop, timers[i], UINT64_MAX,
				   upload_timer_fired);
	for (size_t i = 0; i < ARRAY_SIZE(timers); i++)
		loop_timer_cancel(p->loop, timers[i]);
	return r;
}

int producer_net_init(struct kvs_producer *p,
		      const struct kvs_client_config *config)
{
	uint64_t timeout_ms = config->timeout_ms ? config->timeout_ms :
						   CALL_TIMEOUT_MS;
	int r;

	buf_init(&p->reply_body, REPLY_BYTES_MAX);
	p->wake.run = woken;
	r = tls_ctx_new_client(config->ca_bundle, &p->tls);
	if (r == 0)
		r = loop_uring_new(p->sys, PRODUCER_LOOP_ENTRIES, &p->loop);
	if (r == -EPERM)
		r = -ENOSYS;
	if (r == 0)
		r = reserve_timers(p);
	if (r == 0)
		r = api_caller_new(p->loop, p->sys, p->tls, &p->id,
				   timeout_ms * NS_PER_MS, &p->caller);
	return r;
}

void producer_net_fini(struct kvs_producer *p)
{
	p->caller = api_caller_free(p->caller);
	p->loop = loop_free(p->loop);
	p->tls = tls_ctx_free(p->tls);
	buf_fini(&p->reply_body);
}

/* Everything on the loop ends here, on its own thread. */
static void shut_down(struct kvs_producer *p)
{
	p->stopped = true;
	if (p->session)
		http_client_abort(p->session, -ECANCELED);
	while (p->session && loop_turn(p->loop, NS_PER_S) == 0)
		;
	p->caller = api_caller_free(p->caller);
	loop_timer_cancel(p->loop, &p->upload_timer);
	loop_timer_cancel(p->loop, &p->fragment_timer);
	loop_timer_cancel(p->loop, &p->deferred_timer);
	p->loop = loop_free(p->loop);
}

void *producer_thread(void *arg)
{
	struct kvs_producer *p = arg;
	int r;

	step_kind(p, UPLOAD_START);
	r = loop_run(p->loop);
	if (r < 0)
		log_error("producer", "event loop: %s", strerror(-r));
	/* From here on nobody posts to the loop. */
	(void)pthread_mutex_lock(&p->lock);
	p->stop = true;
	(void)pthread_cond_broadcast(&p->moved);
	(void)pthread_mutex_unlock(&p->lock);
	shut_down(p);
	return NULL;
}
