/* SPDX-License-Identifier: Apache-2.0 */
#include "core/upload.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#include "base/log.h"

static const char *const state_names[] = {
	[UPLOAD_IDLE] = "idle",
	[UPLOAD_DESCRIBING] = "describing",
	[UPLOAD_CREATING] = "creating",
	[UPLOAD_LOCATING] = "locating",
	[UPLOAD_READY] = "ready",
	[UPLOAD_CONNECTING] = "connecting",
	[UPLOAD_OPENING] = "opening",
	[UPLOAD_STREAMING] = "streaming",
	[UPLOAD_DRAINING] = "draining",
	[UPLOAD_CLOSING] = "closing",
	[UPLOAD_WAITING] = "waiting",
	[UPLOAD_STOPPED] = "stopped",
};
_Static_assert(ARRAY_SIZE(state_names) == UPLOAD_STATE_COUNT, "one each");

#define TO(state) (1u << UPLOAD_##state)
static const unsigned int allowed_next[UPLOAD_STATE_COUNT] = {
	[UPLOAD_IDLE] = TO(DESCRIBING) | TO(STOPPED),
	[UPLOAD_DESCRIBING] = TO(CREATING) | TO(LOCATING) | TO(WAITING),
	[UPLOAD_CREATING] = TO(DESCRIBING) | TO(WAITING),
	[UPLOAD_LOCATING] = TO(READY) | TO(WAITING),
	[UPLOAD_READY] = TO(CONNECTING) | TO(STOPPED),
	[UPLOAD_CONNECTING] = TO(OPENING) | TO(CLOSING) | TO(WAITING),
	[UPLOAD_OPENING] = TO(STREAMING) | TO(CLOSING) | TO(WAITING),
	[UPLOAD_STREAMING] = TO(DRAINING) | TO(CLOSING) | TO(WAITING),
	[UPLOAD_DRAINING] = TO(CLOSING) | TO(WAITING),
	[UPLOAD_CLOSING] = TO(WAITING),
	[UPLOAD_WAITING] = TO(DESCRIBING) | TO(READY),
	[UPLOAD_STOPPED] = 0,
};

const char *upload_state_name(enum upload_state state)
{
	return state_names[state];
}

void upload_init(struct upload *u, const struct upload_config *config)
{
	memset(u, 0, sizeof(*u));
	u->config = *config;
	backoff_init(&u->backoff, config->seed);
}

static const struct upload_ops *ops(const struct upload *u)
{
	return u->config.ops;
}

static void set_timer(struct upload *u, uint64_t at_ns)
{
	ops(u)->timer(u->config.ctx, at_ns);
}

static void report(struct upload *u, const struct upload_report *r)
{
	ops(u)->report(u->config.ctx, r);
}

static void set_state(struct upload *u, enum upload_state next, const char *why)
{
	assert(allowed_next[u->state] & 1u << next);
	log_debug("upload", "%s -> %s (%s)", state_names[u->state],
		  state_names[next], why);
	u->state = next;
}

/* --- what to send -------------------------------------------------------- */

static void drop(struct upload *u, const struct retain_fragment *f,
		 const char *why)
{
	uint64_t seq = f->seq;

	u->counts.dropped++;
	if (f->sent == RETAIN_WHOLLY)
		u->in_flight--;
	report(u, &(struct upload_report){ .kind = UPLOAD_REPORT_DROPPED,
					   .timecode_ms = f->timecode_ms,
					   .newest_frame_ns = f->newest_ns,
					   .text = why });
	u->config.retain->ops->remove(u->config.retain, seq);
}

/* The first fragment that is not sent; those that will never be, go. */
static struct retain_fragment *next_unsent(struct upload *u)
{
	struct retain_fragment *f = retain_from(u->config.retain, 0);

	while (f) {
		uint64_t seq = f->seq;

		if (f->sent == RETAIN_UNSENT && f->refused) {
			if (!f->sealed)
				return NULL;
			drop(u, f, "refused by the service");
		} else if (f->sent == RETAIN_UNSENT && f->frames) {
			return f;
		}
		f = retain_from(u->config.retain, seq + 1);
	}
	return NULL;
}

/* A new session knows nothing of the one before. */
static void roll_back(struct upload *u)
{
	struct retain_fragment *f = retain_from(u->config.retain, 0);

	while (f) {
		f->sent = RETAIN_UNSENT;
		f->received = false;
		f = retain_from(u->config.retain, f->seq + 1);
	}
	u->cursor = (struct retain_cursor){ 0 };
	u->in_flight = 0;
	u->renew = false;
	u->mute = false;
	u->broken = false;
	u->header_sent = false;
	u->end_ms = 0;
	u->session_bytes = 0;
	u->moved_bytes = 0;
}

/* --- ways out of a session ----------------------------------------------- */

static void enter_ready(struct upload *u, uint64_t now_ns, const char *why);

static void call(struct upload *u, enum upload_state next,
		 enum upload_call which, const char *why)
{
	set_state(u, next, why);
	set_timer(u, UINT64_MAX);
	ops(u)->call(u->config.ctx, which);
}

/* Waits for wait_ns, then goes on. */
static void enter_waiting(struct upload *u, uint64_t now_ns, const char *why)
{
	roll_back(u);
	set_state(u, UPLOAD_WAITING, why);
	set_timer(u, now_ns + u->wait_ns);
}

static void wait_over(struct upload *u, uint64_t now_ns)
{
	u->wait_ns = 0;
	if (!u->located)
		call(u, UPLOAD_DESCRIBING, UPLOAD_CALL_DESCRIBE, "wait over");
	else
		enter_ready(u, now_ns, "wait over");
}

/* The service cannot be reached, or broke off. */
static void plan_retry(struct upload *u, const char *why)
{
	u->wait_ns = backoff_next(&u->backoff, 0, UPLOAD_RETRY_NS_MIN,
				  UPLOAD_RETRY_NS_MAX);
	if (++u->failures >= UPLOAD_CALLS_AFTER_FAILURES)
		u->located = false;
	report(u, &(struct upload_report){
			.kind = UPLOAD_REPORT_DISCONNECTED,
			.text = why,
			.delay_ms = u->wait_ns / NS_PER_MS });
}

static void close_session(struct upload *u, const char *why)
{
	set_state(u, UPLOAD_CLOSING, why);
	set_timer(u, UINT64_MAX);
	ops(u)->close(u->config.ctx);
}

static void give_up_session(struct upload *u, const char *why)
{
	plan_retry(u, why);
	close_session(u, why);
}

static void drain(struct upload *u, uint64_t now_ns, const char *why)
{
	set_state(u, UPLOAD_DRAINING, why);
	u->ack_ns = now_ns;
	set_timer(u, now_ns + UPLOAD_CHECK_NS);
	ops(u)->end(u->config.ctx);
}

/* --- refusals ------------------------------------------------------------ */

static bool type_is(const struct upload_reply *reply, const char *type)
{
	return strcmp(reply->error_type, type) == 0;
}

static bool is_busy(const struct upload_reply *reply)
{
	return (reply->status >= 500 && reply->status <= 599) ||
	       reply->status == 429 ||
	       type_is(reply, "ThrottlingException") ||
	       type_is(reply, "ClientLimitExceededException") ||
	       type_is(reply, "ConnectionLimitExceededException");
}

#define CLOCK_ERROR_S 240 /* signatures are good for 15 min; half is ours */

static bool is_clock_error(const struct upload_reply *reply, int64_t offset_s)
{
	int64_t off = (int64_t)reply->date_s - (int64_t)reply->now_s - offset_s;

	if (type_is(reply, "RequestExpired") ||
	    type_is(reply, "RequestTimeTooSkewed"))
		return true;
	return reply->status >= 400 && reply->status < 500 && reply->date_s &&
	       (off > CLOCK_ERROR_S || off < -CLOCK_ERROR_S);
}

static void report_refused(struct upload *u, const struct upload_reply *reply,
			   const char *text)
{
	report(u, &(struct upload_report){
			.kind = UPLOAD_REPORT_REFUSED,
			.error_id = reply->status,
			.text = text,
			.delay_ms = u->wait_ns / NS_PER_MS });
}

/* Our clock is off: sign by the service's, once; then wait for a person. */
static void plan_clock(struct upload *u, const struct upload_reply *reply)
{
	char text[160];
	long long off = (long long)reply->date_s - (long long)reply->now_s;

	if (reply->date_s && !u->clock_corrected) {
		u->clock_corrected = true;
		u->clock_offset_s = off;
		u->wait_ns = NS_PER_S;
		(void)snprintf(text, sizeof(text),
			       "the clock is off by %lld s (%s); signing with "
			       "the service's time", off, reply->error_type);
	} else {
		u->wait_ns = backoff_next(&u->backoff, UPLOAD_REFUSED_NS_MIN,
					  2 * UPLOAD_REFUSED_NS_MIN,
					  UPLOAD_REFUSED_NS_MAX);
		(void)snprintf(text, sizeof(text),
			       "%s: the clock is off by %lld s; set it",
			       reply->error_type, off);
	}
	report_refused(u, reply, text);
}

/* Decides the wait after a reply that is not a success. */
static void plan_refused(struct upload *u, const struct upload_reply *reply)
{
	char text[640];

	u->located = false;
	if (reply->status < 0) {
		plan_retry(u, reply->message);
		return;
	}
	if (is_clock_error(reply, u->clock_offset_s)) {
		plan_clock(u, reply);
		return;
	}
	if (is_busy(reply))
		u->wait_ns = backoff_next(&u->backoff, NS_PER_S, 2 * NS_PER_S,
					  UPLOAD_RETRY_NS_MAX);
	else
		u->wait_ns = backoff_next(&u->backoff, UPLOAD_REFUSED_NS_MIN,
					  2 * UPLOAD_REFUSED_NS_MIN,
					  UPLOAD_REFUSED_NS_MAX);
	(void)snprintf(text, sizeof(text), "%d%s%s%s%s", reply->status,
		       reply->error_type[0] ? " " : "", reply->error_type,
		       reply->message[0] ? ": " : "", reply->message);
	report_refused(u, reply, text);
}

/* --- sending ------------------------------------------------------------- */

static uint8_t tracks_of(const struct retain_fragment *f)
{
	return f->sealed ? f->seen : f->tracks;
}

/* Why @f cannot follow in this session, or NULL. */
static const char *needs_new_session(const struct upload *u,
				     const struct retain_fragment *f,
				     uint64_t now_ns)
{
	if (u->renew)
		return "asked to";
	if (now_ns - u->opened_ns >= UPLOAD_SESSION_NS_MAX)
		return "the session is old";
	if (!u->header_sent)
		return NULL;
	if (f->setup != u->setup || tracks_of(f) != u->tracks)
		return "the tracks changed";
	/* Invariant 4, whatever the store holds. */
	if (f->timecode_ms <= u->end_ms)
		return "time goes back";
	return NULL;
}

/* Return: 1 ready to send, 0 not in this session or not any more, -errno. */
static int begin_fragment(struct upload *u, struct retain_fragment *f,
			  uint64_t now_ns)
{
	const char *why = needs_new_session(u, f, now_ns);
	int r;

	if (why) {
		drain(u, now_ns, why);
		return 0;
	}
	if (!u->header_sent) {
		r = ops(u)->header(u->config.ctx, f->setup, tracks_of(f));
		if (r == -ENOENT) {
			f->refused = true;
			return 1;
		}
		if (r < 0)
			return r;
		u->header_sent = true;
		u->setup = f->setup;
		u->tracks = tracks_of(f);
	}
	f->sent = RETAIN_PARTLY;
	u->cursor = (struct retain_cursor){ .seq = f->seq };
	return 1;
}

static void end_fragment(struct upload *u, struct retain_fragment *f,
			 uint64_t now_ns)
{
	f->sent = RETAIN_WHOLLY;
	u->end_ms = MAX(u->end_ms, f->end_ms);
	if (!u->in_flight++)
		u->ack_ns = now_ns;
	u->counts.sent++;
	u->cursor = (struct retain_cursor){ 0 };
}

/* Return: 1 something was done, 0 nothing to do now, -errno. */
static int send_some(struct upload *u, uint64_t now_ns)
{
	struct iovec parts[UPLOAD_PIECE_PARTS_MAX];
	struct retain_fragment *f;
	size_t count;
	size_t bytes;
	int r;

	if (!u->cursor.seq) {
		f = next_unsent(u);
		return f ? begin_fragment(u, f, now_ns) : 0;
	}
	f = retain_get(u->config.retain, u->cursor.seq);
	assert(f);
	bytes = u->config.retain->ops->read(u->config.retain, &u->cursor, parts,
					    ARRAY_SIZE(parts),
					    UPLOAD_PIECE_BYTES_MAX, &count);
	if (!bytes) {
		if (!f->sealed)
			return 0;
		end_fragment(u, f, now_ns);
		return 1;
	}
	r = ops(u)->send(u->config.ctx, parts, count, bytes);
	if (r < 0)
		return r;
	u->counts.bytes_sent += bytes;
	u->session_bytes += bytes;
	u->media_ns = now_ns;
	return 1;
}

/* Acknowledgements may lie behind what could not be sent: they are heard. */
static void cannot_send(struct upload *u, int error, uint64_t now_ns)
{
	if (error != -EPIPE && error != -ECONNRESET) {
		give_up_session(u, "cannot send");
		return;
	}
	log_debug("upload", "cannot send: %s", strerror(-error));
	u->mute = true;
	u->ack_ns = now_ns;
}

static void pump(struct upload *u, uint64_t now_ns)
{
	if (u->mute)
		return;
	if (u->broken) {
		give_up_session(u, "the store is full: the fragment "
					   "on its way was dropped");
		return;
	}
	for (unsigned int i = 0; i < UPLOAD_PIECES_PER_TURN_MAX; i++) {
		int r = 0;

		if (ops(u)->backlog(u->config.ctx) < UPLOAD_BACKLOG_BYTES_MAX)
			r = send_some(u, now_ns);
		if (r < 0) {
			cannot_send(u, r, now_ns);
			return;
		}
		if (r == 0 || u->state != UPLOAD_STREAMING)
			break;
	}
	if (u->state == UPLOAD_STREAMING && u->finishing && !u->cursor.seq &&
	    !next_unsent(u))
		drain(u, now_ns, "finishing");
}

static void enter_ready(struct upload *u, uint64_t now_ns, const char *why)
{
	const struct retain_fragment *f = next_unsent(u);

	set_state(u, UPLOAD_READY, why);
	set_timer(u, UINT64_MAX);
	if (f) {
		set_state(u, UPLOAD_CONNECTING, "media");
		set_timer(u, now_ns + UPLOAD_CONNECT_NS_MAX);
		ops(u)->connect(u->config.ctx);
	} else if (u->finishing) {
		set_state(u, UPLOAD_STOPPED, "all is acknowledged");
	}
}

/* --- acknowledgements ---------------------------------------------------- */

static struct retain_fragment *find(struct upload *u, uint64_t timecode_ms)
{
	struct retain_fragment *f = retain_from(u->config.retain, 0);

	while (f && (f->sent == RETAIN_UNSENT || f->timecode_ms != timecode_ms))
		f = retain_from(u->config.retain, f->seq + 1);
	return f;
}

/* The oldest was received, and is kept here until it is kept there. */
static bool is_unpersisted(const struct upload *u)
{
	const struct retain_fragment *f = retain_from(u->config.retain, 0);

	return u->retention_hours && f && f->received;
}

static void acknowledged(struct upload *u, const struct ack *ack,
			 struct retain_fragment *f, uint64_t now_ns)
{
	bool persisted = ack->event == ACK_PERSISTED;

	if (persisted) {
		/* How long it keeps it is of no concern here. */
		u->retention_hours = MAX(u->retention_hours, 1u);
		u->persist_ns = now_ns;
	}
	if (!f || f->sent != RETAIN_WHOLLY) {
		u->counts.void_acks++;
		return;
	}
	u->ack_ns = now_ns;
	if (!persisted && f->received)
		return;
	if (!f->received)
		u->counts.received++;
	f->received = true;
	u->counts.persisted += persisted;
	report(u, &(struct upload_report){
			.kind = persisted ? UPLOAD_REPORT_PERSISTED :
					    UPLOAD_REPORT_RECEIVED,
			.timecode_ms = f->timecode_ms,
			.fragment_number = ack->fragment_number,
			.newest_frame_ns = f->newest_ns });
	if (!persisted && u->retention_hours)
		return;
	u->in_flight--;
	u->failures = 0;
	backoff_reset(&u->backoff);
	u->config.retain->ops->remove(u->config.retain, f->seq);
}

enum fault { FAULT_FRAGMENT, FAULT_TRACKS, FAULT_RENEW, FAULT_SESSION,
	     FAULT_STREAM };

static enum fault fault_of(uint32_t error_id)
{
	switch (error_id) {
	case ACK_MAX_FRAGMENT_SIZE_REACHED:
	case ACK_MAX_FRAGMENT_DURATION_REACHED:
	case ACK_INVALID_MKV_DATA:
	case ACK_INVALID_PRODUCER_TIMESTAMP:
	case ACK_FRAGMENT_METADATA_LIMIT_REACHED:
	case ACK_TRACK_NUMBER_MISMATCH:
	case ACK_MORE_THAN_ALLOWED_TRACKS_FOUND:
		return FAULT_FRAGMENT;
	case ACK_FRAMES_MISSING_FOR_TRACK:
		return FAULT_TRACKS;
	case ACK_MAX_CONNECTION_DURATION_REACHED:
	case ACK_ARCHIVAL_ERROR:
		return FAULT_RENEW;
	case ACK_STREAM_NOT_ACTIVE:
	case ACK_STREAM_DELETED:
		return FAULT_STREAM;
	default:
		return error_id >= ACK_KMS_KEY_ACCESS_DENIED &&
			       error_id <= ACK_KMS_KEY_NOT_FOUND ?
			       FAULT_STREAM : FAULT_SESSION;
	}
}

/* It will never be taken: drop it, or, half sent, break off first. */
static void refuse_fragment(struct upload *u, struct retain_fragment *f,
			    const char *why)
{
	if (!f) {
		give_up_session(u, why);
		return;
	}
	f->refused = true;
	if (f->sent == RETAIN_WHOLLY)
		drop(u, f, why);
	else
		give_up_session(u, why);
}

/* 4011: again, where only the tracks that it has are declared. */
static void missing_tracks(struct upload *u, struct retain_fragment *f,
			   const char *why)
{
	if (f && f->sent == RETAIN_WHOLLY && f->seen != u->tracks) {
		f->sent = RETAIN_UNSENT;
		f->received = false;
		u->in_flight--;
		u->renew = true;
		return;
	}
	refuse_fragment(u, f, why);
}

static void error_ack(struct upload *u, const struct ack *ack, uint64_t now_ns)
{
	struct retain_fragment *f =
		ack->has_timecode ? find(u, ack->timecode_ms) : NULL;
	const char *why = ack->error_code[0] ? ack->error_code :
					       ack_error_name(ack->error_id);

	u->ack_ns = now_ns;
	report(u, &(struct upload_report){
			.kind = UPLOAD_REPORT_ERROR_ACK,
			.timecode_ms = ack->has_timecode ? ack->timecode_ms : 0,
			.fragment_number = ack->fragment_number,
			.error_id = (int)ack->error_id,
			.text = why });
	switch (fault_of(ack->error_id)) {
	case FAULT_FRAGMENT:
		refuse_fragment(u, f, why);
		return;
	case FAULT_TRACKS:
		missing_tracks(u, f, why);
		return;
	case FAULT_RENEW:
		u->renew = true;
		if (!u->wait_ns)
			u->wait_ns = backoff_next(&u->backoff, 0,
						  UPLOAD_RETRY_NS_MIN,
						  UPLOAD_RETRY_NS_MAX);
		return;
	case FAULT_SESSION:
		give_up_session(u, why);
		return;
	case FAULT_STREAM:
		plan_refused(u, &(struct upload_reply){
					.status = (int)ack->error_id,
					.error_type = why ? why : "",
					.message = "" });
		close_session(u, why ? why : "stream error");
		return;
	}
}

static void on_ack(struct upload *u, const struct ack *ack, uint64_t now_ns)
{
	struct retain_fragment *f;

	switch (ack->event) {
	case ACK_UNKNOWN:
	case ACK_IDLE:
		return;
	case ACK_BUFFERING:
		f = ack->has_timecode ? find(u, ack->timecode_ms) : NULL;
		u->ack_ns = now_ns;
		if (f)
			report(u, &(struct upload_report){
					.kind = UPLOAD_REPORT_BUFFERING,
					.timecode_ms = f->timecode_ms,
					.fragment_number =
						ack->fragment_number });
		return;
	case ACK_RECEIVED:
	case ACK_PERSISTED:
		f = ack->has_timecode ? find(u, ack->timecode_ms) : NULL;
		acknowledged(u, ack, f, now_ns);
		return;
	case ACK_ERROR:
		if (u->state != UPLOAD_CLOSING)
			error_ack(u, ack, now_ns);
		return;
	}
}

/* --- stalls -------------------------------------------------------------- */

static void check_stalls(struct upload *u, uint64_t now_ns)
{
	size_t backlog = ops(u)->backlog(u->config.ctx);
	uint64_t moved = u->session_bytes > backlog ?
				 u->session_bytes - backlog : 0;

	if (!backlog || moved != u->moved_bytes) {
		u->moved_bytes = moved;
		u->moved_ns = now_ns;
	}
	if (now_ns - u->moved_ns >= UPLOAD_SEND_NS_MAX) {
		give_up_session(u, "nothing could be sent for 30 s");
		return;
	}
	if ((u->in_flight || u->mute || u->state == UPLOAD_DRAINING) &&
	    now_ns - u->ack_ns >= UPLOAD_ACK_NS_MAX) {
		give_up_session(u, "no acknowledgement for 120 s");
		return;
	}
	if (!is_unpersisted(u))
		u->persist_ns = now_ns;
	else if (now_ns - u->persist_ns >= UPLOAD_PERSIST_NS_MAX)
		u->renew = true;
	if (u->state == UPLOAD_STREAMING && !u->cursor.seq && !next_unsent(u) &&
	    now_ns - u->media_ns >= UPLOAD_IDLE_NS_MAX) {
		drain(u, now_ns, "nothing to send");
		return;
	}
	set_timer(u, now_ns + UPLOAD_CHECK_NS);
}

/* --- events, by state ---------------------------------------------------- */

static bool is_ok(const struct upload_reply *reply)
{
	return reply->status == 200;
}

static void refused_call(struct upload *u, const struct upload_reply *reply,
			 uint64_t now_ns)
{
	plan_refused(u, reply);
	enter_waiting(u, now_ns, "refused");
}

static void poll_again(struct upload *u, uint64_t now_ns)
{
	u->wait_ns = backoff_next(&u->backoff, UPLOAD_CREATE_POLL_NS,
				  2 * UPLOAD_CREATE_POLL_NS,
				  UPLOAD_RETRY_NS_MAX);
	enter_waiting(u, now_ns, "not active yet");
}

static void on_described(struct upload *u, const struct upload_reply *reply,
			 uint64_t now_ns)
{
	if (is_ok(reply) && reply->active) {
		u->retention_hours = reply->retention_hours;
		call(u, UPLOAD_LOCATING, UPLOAD_CALL_LOCATE, "active");
	} else if (is_ok(reply)) {
		poll_again(u, now_ns);
	} else if (u->config.create_stream &&
		   type_is(reply, "ResourceNotFoundException")) {
		call(u, UPLOAD_CREATING, UPLOAD_CALL_CREATE, "no such stream");
	} else {
		refused_call(u, reply, now_ns);
	}
}

static void on_created(struct upload *u, const struct upload_reply *reply,
		       uint64_t now_ns)
{
	if (is_ok(reply))
		call(u, UPLOAD_DESCRIBING, UPLOAD_CALL_DESCRIBE, "created");
	else if (type_is(reply, "ResourceInUseException"))
		poll_again(u, now_ns); /* someone else was faster */
	else
		refused_call(u, reply, now_ns);
}

static void on_located(struct upload *u, const struct upload_reply *reply,
		       uint64_t now_ns)
{
	if (!is_ok(reply)) {
		refused_call(u, reply, now_ns);
		return;
	}
	u->located = true;
	u->failures = 0;
	enter_ready(u, now_ns, "endpoint known");
}

static int step_call(struct upload *u, const struct upload_event *ev,
		     uint64_t now_ns)
{
	if (ev->kind != UPLOAD_REPLIED)
		return -EBUSY;
	if (u->state == UPLOAD_DESCRIBING)
		on_described(u, ev->reply, now_ns);
	else if (u->state == UPLOAD_CREATING)
		on_created(u, ev->reply, now_ns);
	else
		on_located(u, ev->reply, now_ns);
	return 0;
}

static const char *words(const struct upload_event *ev, const char *otherwise)
{
	return ev->text && ev->text[0] ? ev->text : otherwise;
}

static int step_connecting(struct upload *u, const struct upload_event *ev,
			   uint64_t now_ns)
{
	const struct retain_fragment *f;

	if (ev->kind == UPLOAD_CONNECTED) {
		f = next_unsent(u);
		if (!f) { /* dropped meanwhile: no time to begin at */
			u->wait_ns = 0;
			close_session(u, "nothing left to send");
			return 0;
		}
		set_state(u, UPLOAD_OPENING, "connected");
		set_timer(u, now_ns + UPLOAD_OPEN_NS_MAX);
		ops(u)->open(u->config.ctx, f->timecode_ms);
	} else if (ev->kind == UPLOAD_CLOSED) {
		plan_retry(u, words(ev, "cannot connect"));
		enter_waiting(u, now_ns, "closed");
	} else if (ev->kind == UPLOAD_TIMER) {
		give_up_session(u, "no connection within 15 s");
	} else {
		return -EBUSY;
	}
	return 0;
}

static int step_opening(struct upload *u, const struct upload_event *ev,
			uint64_t now_ns)
{
	if (ev->kind == UPLOAD_ACCEPTED) {
		set_state(u, UPLOAD_STREAMING, "accepted");
		u->clock_corrected = false;
		u->counts.connects++;
		u->opened_ns = now_ns;
		u->persist_ns = now_ns;
		u->media_ns = now_ns;
		u->moved_ns = now_ns;
		u->ack_ns = now_ns;
		set_timer(u, now_ns + UPLOAD_CHECK_NS);
		report(u, &(struct upload_report){
				.kind = UPLOAD_REPORT_CONNECTED });
		pump(u, now_ns);
	} else if (ev->kind == UPLOAD_REFUSED) {
		plan_refused(u, ev->reply);
		close_session(u, "refused");
	} else if (ev->kind == UPLOAD_CLOSED) {
		plan_retry(u, words(ev, "closed before an answer"));
		enter_waiting(u, now_ns, "closed");
	} else if (ev->kind == UPLOAD_TIMER) {
		give_up_session(u, "no answer within 15 s");
	} else {
		return -EBUSY;
	}
	return 0;
}

static int step_streaming(struct upload *u, const struct upload_event *ev,
			  uint64_t now_ns)
{
	if (ev->kind == UPLOAD_MEDIA || ev->kind == UPLOAD_DRAINED ||
	    ev->kind == UPLOAD_FINISH) {
		pump(u, now_ns);
	} else if (ev->kind == UPLOAD_ACKED) {
		on_ack(u, ev->ack, now_ns);
	} else if (ev->kind == UPLOAD_TIMER) {
		check_stalls(u, now_ns);
	} else if (ev->kind == UPLOAD_ENDED) {
		give_up_session(u, "the service ended the session");
	} else if (ev->kind == UPLOAD_CLOSED) {
		plan_retry(u, words(ev, "the connection was closed"));
		enter_waiting(u, now_ns, "closed");
	} else {
		return -EBUSY;
	}
	return 0;
}

/* Over in order: on at once, unless an error asked for a wait. */
static int step_draining(struct upload *u, const struct upload_event *ev,
			 uint64_t now_ns)
{
	if (ev->kind == UPLOAD_ACKED)
		on_ack(u, ev->ack, now_ns);
	else if (ev->kind == UPLOAD_TIMER)
		check_stalls(u, now_ns);
	else if (ev->kind == UPLOAD_ENDED) {
		/* It keeps nothing any more? */
		if (is_unpersisted(u))
			u->located = false;
		close_session(u, "drained");
	} else if (ev->kind == UPLOAD_CLOSED) {
		/* Without the end of the body something went wrong. */
		plan_retry(u, words(ev, "closed while draining"));
		enter_waiting(u, now_ns, "closed");
	} else {
		return -EBUSY;
	}
	return 0;
}

static int step_closing(struct upload *u, const struct upload_event *ev,
			uint64_t now_ns)
{
	if (ev->kind == UPLOAD_ACKED) {
		on_ack(u, ev->ack, now_ns);
		return 0;
	}
	if (ev->kind != UPLOAD_CLOSED)
		return -EBUSY;
	enter_waiting(u, now_ns, "closed");
	if (!u->wait_ns)
		wait_over(u, now_ns);
	return 0;
}

static int step_idle(struct upload *u, const struct upload_event *ev)
{
	if (ev->kind == UPLOAD_START)
		call(u, UPLOAD_DESCRIBING, UPLOAD_CALL_DESCRIBE, "start");
	else if (ev->kind == UPLOAD_FINISH && !retain_from(u->config.retain, 0))
		set_state(u, UPLOAD_STOPPED, "nothing was put");
	else
		return -EBUSY;
	return 0;
}

static int step_ready(struct upload *u, const struct upload_event *ev,
		      uint64_t now_ns)
{
	if (ev->kind != UPLOAD_MEDIA && ev->kind != UPLOAD_FINISH)
		return -EBUSY;
	if (next_unsent(u)) {
		set_state(u, UPLOAD_CONNECTING, "media");
		set_timer(u, now_ns + UPLOAD_CONNECT_NS_MAX);
		ops(u)->connect(u->config.ctx);
	} else if (u->finishing) {
		set_state(u, UPLOAD_STOPPED, "all is acknowledged");
	}
	return 0;
}

int upload_step(struct upload *u, const struct upload_event *ev,
		uint64_t now_ns)
{
	if (ev->kind == UPLOAD_FINISH)
		u->finishing = true;
	switch (u->state) {
	case UPLOAD_IDLE:
		return step_idle(u, ev);
	case UPLOAD_DESCRIBING:
	case UPLOAD_CREATING:
	case UPLOAD_LOCATING:
		return step_call(u, ev, now_ns);
	case UPLOAD_READY:
		return step_ready(u, ev, now_ns);
	case UPLOAD_CONNECTING:
		return step_connecting(u, ev, now_ns);
	case UPLOAD_OPENING:
		return step_opening(u, ev, now_ns);
	case UPLOAD_STREAMING:
		return step_streaming(u, ev, now_ns);
	case UPLOAD_DRAINING:
		return step_draining(u, ev, now_ns);
	case UPLOAD_CLOSING:
		return step_closing(u, ev, now_ns);
	case UPLOAD_WAITING:
		if (ev->kind != UPLOAD_TIMER)
			return -EBUSY;
		wait_over(u, now_ns);
		return 0;
	case UPLOAD_STOPPED:
		return -EBUSY;
	}
	return -EBUSY;
}

/* --- room ---------------------------------------------------------------- */

enum upload_room upload_make_room(struct upload *u)
{
	struct retain_fragment *f = retain_from(u->config.retain, 0);
	struct retain_fragment *next;
	bool open;

	if (!f)
		return UPLOAD_ROOM_NONE;
	if (f->sent == RETAIN_PARTLY) {
		next = retain_from(u->config.retain, f->seq + 1);
		if (next && next->sealed)
			f = next;
	}
	if (f->seq == u->cursor.seq) {
		u->broken = true;
		u->cursor = (struct retain_cursor){ 0 };
	}
	open = !f->sealed;
	drop(u, f, "the store is full");
	return open ? UPLOAD_ROOM_OPEN : UPLOAD_ROOM_SEALED;
}
