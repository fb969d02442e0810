/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "support/upload_bench.h"

/* --- every state, every event ------------------------------------------------------- */

static void bring_to(struct bench *b, enum upload_state state)
{
	switch (state) {
	case UPLOAD_IDLE:
		return;
	case UPLOAD_DESCRIBING:
		(void)event(b, UPLOAD_START);
		return;
	case UPLOAD_CREATING:
		(void)event(b, UPLOAD_START);
		(void)replied(b, UPLOAD_REPLIED, 404,
			      "ResourceNotFoundException");
		return;
	case UPLOAD_LOCATING:
		(void)event(b, UPLOAD_START);
		(void)replied(b, UPLOAD_REPLIED, 200, "");
		return;
	case UPLOAD_READY:
		to_ready(b);
		(void)put(b);
		return;
	case UPLOAD_CONNECTING:
		(void)put(b);
		to_ready(b);
		return;
	case UPLOAD_OPENING:
		(void)put(b);
		to_ready(b);
		(void)event(b, UPLOAD_CONNECTED);
		return;
	case UPLOAD_STREAMING:
		(void)to_streaming(b);
		return;
	case UPLOAD_DRAINING:
		(void)to_streaming(b);
		(void)event(b, UPLOAD_FINISH);
		return;
	case UPLOAD_CLOSING:
		(void)to_streaming(b);
		(void)event(b, UPLOAD_ENDED);
		return;
	case UPLOAD_WAITING:
		(void)to_streaming(b);
		(void)closed(b);
		return;
	case UPLOAD_STOPPED:
		(void)event(b, UPLOAD_FINISH);
		return;
	}
}

static int send_event(struct bench *b, enum upload_event_kind kind)
{
	if (kind == UPLOAD_REPLIED)
		return replied(b, kind, 200, "");
	if (kind == UPLOAD_REFUSED)
		return replied(b, kind, 403, "AccessDeniedException");
	if (kind == UPLOAD_ACKED)
		return acked(b, ACK_BUFFERING, BASE_MS, 0);
	if (kind == UPLOAD_CLOSED)
		return closed(b);
	return event(b, kind);
}

#define NO (-1) /* no meaning there: ignored */

static void upload_goes_where_the_table_says_for_every_state_and_event(
	void **state)
{
	static const int next[UPLOAD_STATE_COUNT][UPLOAD_EVENT_COUNT] = {
#define ROW(s) [UPLOAD_##s]
#define ON(e, to) [UPLOAD_##e] = UPLOAD_##to + 1
		ROW(IDLE) = { ON(START, DESCRIBING), ON(FINISH, STOPPED) },
		ROW(DESCRIBING) = { ON(REPLIED, LOCATING) },
		ROW(CREATING) = { ON(REPLIED, DESCRIBING) },
		ROW(LOCATING) = { ON(REPLIED, READY) },
		ROW(READY) = { ON(MEDIA, CONNECTING), ON(FINISH, CONNECTING) },
		ROW(CONNECTING) = { ON(CONNECTED, OPENING), ON(CLOSED, WAITING),
				    ON(TIMER, CLOSING) },
		ROW(OPENING) = { ON(ACCEPTED, STREAMING), ON(REFUSED, CLOSING),
				 ON(CLOSED, WAITING), ON(TIMER, CLOSING) },
		ROW(STREAMING) = { ON(ACKED, STREAMING), ON(MEDIA, STREAMING),
				   ON(DRAINED, STREAMING), ON(TIMER, STREAMING),
				   ON(ENDED, CLOSING), ON(CLOSED, WAITING),
				   ON(FINISH, DRAINING) },
		ROW(DRAINING) = { ON(ACKED, DRAINING), ON(TIMER, DRAINING),
				  ON(ENDED, CLOSING), ON(CLOSED, WAITING) },
		ROW(CLOSING) = { ON(ACKED, CLOSING), ON(CLOSED, WAITING) },
		ROW(WAITING) = { ON(TIMER, CONNECTING) },
		ROW(STOPPED) = { 0 },
	};

	(void)state;
	for (int s = 0; s < UPLOAD_STATE_COUNT; s++) {
		for (int e = 0; e < UPLOAD_EVENT_COUNT; e++) {
			int want = next[s][e] - 1;
			void *p = NULL;
			struct bench *b;
			int r;

			(void)setup(&p);
			b = p;
			bring_to(b, (enum upload_state)s);
			expect_state(b, (enum upload_state)s);
			r = send_event(b, (enum upload_event_kind)e);
			if (want == NO) {
				assert_int_equal(r, -EBUSY);
				want = s;
			} else {
				assert_int_equal(r, 0);
			}
			expect_state(b, (enum upload_state)want);
			(void)teardown(&p);
		}
	}
}

/* --- the way up ------------------------------------------------------------------- */

static void upload_creates_a_missing_stream_and_waits_until_it_is_active(
	void **state)
{
	struct bench *b = *state;
	struct upload_reply creating = { .status = 200, .error_type = "",
					 .message = "", .active = false };

	(void)event(b, UPLOAD_START);
	(void)replied(b, UPLOAD_REPLIED, 404, "ResourceNotFoundException");
	expect_state(b, UPLOAD_CREATING);
	assert_int_equal(b->calls[UPLOAD_CALL_CREATE], 1);
	(void)replied(b, UPLOAD_REPLIED, 200, "");
	expect_state(b, UPLOAD_DESCRIBING);
	(void)upload_step(&b->u, &(struct upload_event){
					.kind = UPLOAD_REPLIED,
					.reply = &creating }, b->now_ns);
	expect_state(b, UPLOAD_WAITING);
	assert_true(b->timer_ns >= b->now_ns + UPLOAD_CREATE_POLL_NS);
	wait_for_timer(b);
	expect_state(b, UPLOAD_DESCRIBING);
	(void)replied(b, UPLOAD_REPLIED, 200, "");
	(void)replied(b, UPLOAD_REPLIED, 200, "");
	expect_state(b, UPLOAD_READY);
}

static void upload_does_not_create_when_it_may_not(void **state)
{
	struct bench *b = *state;

	b->u.config.create_stream = false;
	(void)event(b, UPLOAD_START);
	(void)replied(b, UPLOAD_REPLIED, 404, "ResourceNotFoundException");
	expect_state(b, UPLOAD_WAITING);
	assert_int_equal(b->reports[UPLOAD_REPORT_REFUSED], 1);
	assert_true(b->timer_ns >= b->now_ns + UPLOAD_REFUSED_NS_MIN);
}

static void upload_connects_only_when_there_is_media(void **state)
{
	struct bench *b = *state;

	to_ready(b);
	expect_state(b, UPLOAD_READY);
	(void)event(b, UPLOAD_MEDIA);
	assert_int_equal(b->connects, 0);
	open_fragment(b, 1);
	add_frame(b, 0);
	(void)event(b, UPLOAD_MEDIA);
	assert_int_equal(b->connects, 1);
}

static void upload_sends_a_fragment_while_it_grows(void **state)
{
	struct bench *b = *state;

	to_ready(b);
	open_fragment(b, 1);
	add_frame(b, 0);
	(void)event(b, UPLOAD_MEDIA);
	accept_session(b);
	assert_int_equal(b->headers, 1);
	assert_int_equal(b->bytes, FRAME_BYTES + 8);
	add_frame(b, 0);
	(void)event(b, UPLOAD_MEDIA);
	assert_int_equal(b->bytes, 2 * (FRAME_BYTES + 8));
	assert_int_equal(b->u.counts.sent, 0);
	/* Not whole yet: such an acknowledgement is void. */
	(void)acked(b, ACK_PERSISTED, BASE_MS, 0);
	assert_int_equal(stored(b), 1);
	assert_int_equal(b->u.counts.void_acks, 1);
	seal(b);
	(void)event(b, UPLOAD_MEDIA);
	assert_int_equal(b->u.counts.sent, 1);
	(void)acked(b, ACK_PERSISTED, BASE_MS, 0);
	assert_int_equal(stored(b), 0);
}

static void upload_stops_sending_when_the_connection_is_behind(void **state)
{
	struct bench *b = *state;

	(void)to_streaming(b);
	b->backlog = UPLOAD_BACKLOG_BYTES_MAX;
	(void)put(b);
	(void)event(b, UPLOAD_MEDIA);
	assert_int_equal(b->u.counts.sent, 1);
	b->backlog = 0;
	(void)event(b, UPLOAD_DRAINED);
	assert_int_equal(b->u.counts.sent, 2);
}

/* --- acknowledgements -------------------------------------------------------------- */

static void upload_trims_on_persisted(void **state)
{
	struct bench *b = *state;
	uint64_t first = to_streaming(b);
	uint64_t second = put(b);

	(void)event(b, UPLOAD_MEDIA);
	(void)acked(b, ACK_BUFFERING, first, 0);
	(void)acked(b, ACK_RECEIVED, first, 0);
	(void)acked(b, ACK_RECEIVED, first, 0); /* twice does no harm */
	assert_int_equal(stored(b), 2);
	assert_int_equal(b->u.counts.received, 1);
	(void)acked(b, ACK_PERSISTED, second, 0); /* out of order */
	assert_int_equal(stored(b), 1);
	(void)acked(b, ACK_PERSISTED, first, 0);
	(void)acked(b, ACK_PERSISTED, first, 0);
	assert_int_equal(stored(b), 0);
	assert_int_equal(b->u.counts.persisted, 2);
	assert_int_equal(b->u.in_flight, 0);
}

static void upload_repeats_only_what_was_not_acknowledged(void **state)
{
	struct bench *b = *state;
	uint64_t first = to_streaming(b);
	uint64_t second = put(b);
	uint64_t third = put(b);

	(void)event(b, UPLOAD_MEDIA);
	(void)acked(b, ACK_PERSISTED, second, 0);
	(void)closed(b);
	expect_state(b, UPLOAD_WAITING);
	wait_for_timer(b);
	b->bytes = 0;
	accept_session(b);
	assert_int_equal(b->headers, 2);
	assert_int_equal(b->bytes, 2 * 10 * (FRAME_BYTES + 8));
	(void)acked(b, ACK_PERSISTED, first, 0);
	(void)acked(b, ACK_PERSISTED, third, 0);
	assert_int_equal(stored(b), 0);
}

static void upload_drops_a_fragment_that_the_service_never_takes(void **state)
{
	static const uint32_t errors[] = { 4001, 4002, 4006, 4007, 4009, 4010,
					   4012 };
	struct bench *b = *state;
	uint64_t timecode = to_streaming(b);

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		(void)acked(b, ACK_ERROR, timecode, errors[i]);
		expect_state(b, UPLOAD_STREAMING);
		assert_int_equal(stored(b), 0);
		assert_int_equal(b->u.counts.dropped, i + 1);
		assert_int_equal(b->reports[UPLOAD_REPORT_ERROR_ACK], i + 1);
		timecode = put(b);
		(void)event(b, UPLOAD_MEDIA);
	}
}

static void upload_breaks_off_when_the_half_sent_fragment_is_refused(
	void **state)
{
	struct bench *b = *state;

	to_ready(b);
	open_fragment(b, 1);
	add_frame(b, 0);
	(void)event(b, UPLOAD_MEDIA);
	accept_session(b);
	(void)acked(b, ACK_ERROR, BASE_MS, 4006);
	expect_state(b, UPLOAD_CLOSING);
	(void)closed(b);
	assert_int_equal(stored(b), 1); /* it is still growing */
	seal(b);
	(void)put(b);
	wait_for_timer(b);
	accept_session(b);
	assert_int_equal(b->u.counts.dropped, 1);
	assert_int_equal(stored(b), 1);
}

static void upload_reconnects_after_errors_of_the_session(void **state)
{
	static const uint32_t errors[] = { 4000, 4004, 5000, 4999 };
	struct bench *b = *state;
	uint64_t timecode = to_streaming(b);

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		(void)acked(b, ACK_ERROR, timecode, errors[i]);
		expect_state(b, UPLOAD_CLOSING);
		(void)closed(b);
		expect_state(b, UPLOAD_WAITING);
		wait_for_timer(b);
		if (b->u.state == UPLOAD_DESCRIBING) {
			(void)replied(b, UPLOAD_REPLIED, 200, "");
			(void)replied(b, UPLOAD_REPLIED, 200, "");
		}
		accept_session(b);
		assert_int_equal(stored(b), 1);
		assert_int_equal(b->u.counts.sent, i + 2);
	}
}

static void upload_renews_at_a_boundary_after_an_archival_error(void **state)
{
	struct bench *b = *state;
	uint64_t first = to_streaming(b);
	uint64_t second;

	open_fragment(b, 1);
	second = b->timecode_ms;
	add_frame(b, 0);
	(void)event(b, UPLOAD_MEDIA);
	(void)acked(b, ACK_ERROR, first, 5001);
	expect_state(b, UPLOAD_STREAMING);
	seal(b);
	(void)put(b);
	(void)event(b, UPLOAD_MEDIA);
	expect_state(b, UPLOAD_DRAINING);
	assert_int_equal(b->ends, 1);
	(void)acked(b, ACK_PERSISTED, second, 0);
	(void)event(b, UPLOAD_ENDED);
	(void)closed(b);
	expect_state(b, UPLOAD_WAITING);
	wait_for_timer(b);
	accept_session(b);
	assert_int_equal(stored(b), 2);
	assert_int_equal(b->u.counts.sent, 4);
}

static void upload_waits_long_when_the_stream_is_gone(void **state)
{
	static const uint32_t errors[] = { 4008, 4500, 4506, 4507 };

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		void *p = NULL;
		struct bench *b;
		uint64_t timecode;

		(void)state;
		(void)setup(&p);
		b = p;
		timecode = to_streaming(b);
		(void)acked(b, ACK_ERROR, timecode, errors[i]);
		expect_state(b, UPLOAD_CLOSING);
		(void)closed(b);
		assert_true(b->timer_ns >= b->now_ns + UPLOAD_REFUSED_NS_MIN);
		assert_int_equal(b->reports[UPLOAD_REPORT_REFUSED], 1);
		assert_int_equal(stored(b), 1);
		wait_for_timer(b);
		expect_state(b, UPLOAD_DESCRIBING);
		(void)teardown(&p);
	}
}

/* 4011: a track that is declared and silent. */
static void upload_declares_only_the_tracks_there_are(void **state)
{
	struct bench *b = *state;
	uint64_t timecode = b->timecode_ms;

	to_ready(b);
	open_fragment(b, 3);
	add_frame(b, 0);
	(void)event(b, UPLOAD_MEDIA);
	accept_session(b);
	assert_int_equal(b->tracks, 3);
	seal(b);
	(void)event(b, UPLOAD_MEDIA);
	(void)acked(b, ACK_ERROR, timecode, 4011);
	assert_int_equal(stored(b), 1);
	(void)event(b, UPLOAD_MEDIA);
	expect_state(b, UPLOAD_DRAINING);
	(void)event(b, UPLOAD_ENDED);
	(void)closed(b);
	accept_session(b); /* at once */
	assert_int_equal(b->tracks, 1);
	/* There is no smaller set to try. */
	(void)acked(b, ACK_ERROR, timecode, 4011);
	assert_int_equal(stored(b), 0);
	assert_int_equal(b->u.counts.dropped, 1);
}

/* --- boundaries -------------------------------------------------------------------- */

static void upload_renews_an_old_session_between_fragments(void **state)
{
	struct bench *b = *state;
	uint64_t first = to_streaming(b);
	uint64_t second;

	(void)acked(b, ACK_PERSISTED, first, 0);
	advance(b, UPLOAD_SESSION_NS_MAX);
	second = put(b);
	(void)event(b, UPLOAD_MEDIA);
	expect_state(b, UPLOAD_DRAINING);
	assert_int_equal(b->u.counts.sent, 1);
	(void)event(b, UPLOAD_ENDED);
	(void)closed(b);
	accept_session(b);
	(void)acked(b, ACK_PERSISTED, second, 0);
	assert_int_equal(stored(b), 0);
	assert_int_equal(b->reports[UPLOAD_REPORT_DISCONNECTED], 0);
}

/* Invariant 4 holds whatever the store has. */
static void upload_opens_a_session_where_time_goes_back(void **state)
{
	struct bench *b = *state;

	(void)to_streaming(b);
	b->timecode_ms = BASE_MS + 500; /* inside the first fragment */
	(void)put(b);
	(void)event(b, UPLOAD_MEDIA);
	expect_state(b, UPLOAD_DRAINING);
}

static void upload_ends_an_idle_session_in_order(void **state)
{
	struct bench *b = *state;
	uint64_t first = to_streaming(b);
	uint64_t start_ns = b->now_ns;

	while (b->u.state == UPLOAD_STREAMING) {
		wait_for_timer(b);
		assert_true(b->now_ns - start_ns <= UPLOAD_IDLE_NS_MAX +
						     UPLOAD_CHECK_NS);
	}
	expect_state(b, UPLOAD_DRAINING);
	(void)acked(b, ACK_PERSISTED, first, 0);
	(void)event(b, UPLOAD_ENDED);
	(void)closed(b);
	expect_state(b, UPLOAD_READY);
	assert_int_equal(b->timer_ns, UINT64_MAX);
}

static void upload_finishes_when_all_is_acknowledged(void **state)
{
	struct bench *b = *state;
	uint64_t first = to_streaming(b);

	(void)event(b, UPLOAD_FINISH);
	expect_state(b, UPLOAD_DRAINING);
	(void)acked(b, ACK_PERSISTED, first, 0);
	(void)event(b, UPLOAD_ENDED);
	(void)closed(b);
	expect_state(b, UPLOAD_STOPPED);
}

/* --- stalls and refusals ------------------------------------------------------------ */

static void upload_waits_a_minute_for_acknowledgements_but_not_for_ever(
	void **state)
{
	struct bench *b = *state;
	uint64_t start_ns = b->now_ns;

	(void)to_streaming(b);
	while (b->now_ns - start_ns < 60 * NS_PER_S) {
		(void)put(b); /* media goes on */
		(void)event(b, UPLOAD_MEDIA);
		wait_for_timer(b);
		expect_state(b, UPLOAD_STREAMING);
	}
	while (b->u.state == UPLOAD_STREAMING) {
		(void)put(b);
		(void)event(b, UPLOAD_MEDIA);
		wait_for_timer(b);
	}
	expect_state(b, UPLOAD_CLOSING);
	assert_true(b->now_ns - start_ns <= UPLOAD_ACK_NS_MAX +
					     2 * UPLOAD_CHECK_NS);
}

static void upload_gives_up_a_connection_that_takes_nothing(void **state)
{
	struct bench *b = *state;
	uint64_t start_ns = b->now_ns;

	(void)to_streaming(b);
	b->backlog = 5000;
	while (b->u.state != UPLOAD_CLOSING)
		wait_for_timer(b);
	expect_state(b, UPLOAD_CLOSING);
	assert_in_range(b->now_ns - start_ns, UPLOAD_SEND_NS_MAX,
			UPLOAD_SEND_NS_MAX + 2 * UPLOAD_CHECK_NS);
}

static void upload_never_retries_a_refusal_tightly(void **state)
{
	static const struct {
		int status;
		const char *type;
	} refusals[] = {
		{ 400, "InvalidArgumentException" },
		{ 401, "NotAuthorizedException" },
		{ 403, "InvalidClientTokenId" },
		{ 404, "ResourceNotFoundException" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		void *p = NULL;
		struct bench *b;

		(void)setup(&p);
		b = p;
		(void)put(b);
		to_ready(b);
		(void)event(b, UPLOAD_CONNECTED);
		(void)replied(b, UPLOAD_REFUSED, refusals[i].status,
			      refusals[i].type);
		expect_state(b, UPLOAD_CLOSING);
		(void)closed(b);
		assert_in_range(b->timer_ns, b->now_ns + UPLOAD_REFUSED_NS_MIN,
				b->now_ns + UPLOAD_REFUSED_NS_MAX);
		assert_non_null(strstr(b->report_text, refusals[i].type));
		assert_true(b->report.delay_ms >= 30000);
		(void)teardown(&p);
	}
}

static void upload_retries_a_busy_service_sooner(void **state)
{
	struct bench *b = *state;

	(void)event(b, UPLOAD_START);
	(void)replied(b, UPLOAD_REPLIED, 503, "");
	assert_in_range(b->timer_ns, b->now_ns + NS_PER_S,
			b->now_ns + 2 * NS_PER_S);
}

static void upload_corrects_a_wrong_clock_once(void **state)
{
	struct bench *b = *state;
	struct upload_reply off = { .status = 403,
				    .error_type = "RequestExpired",
				    .message = "", .now_s = 1000,
				    .date_s = 9000 };
	struct upload_event ev = { .kind = UPLOAD_REPLIED, .reply = &off };

	(void)event(b, UPLOAD_START);
	(void)upload_step(&b->u, &ev, b->now_ns);
	assert_int_equal(b->u.clock_offset_s, 8000);
	assert_int_equal(b->timer_ns, b->now_ns + NS_PER_S);
	for (int i = 0; i < 5; i++) { /* it did not help */
		wait_for_timer(b);
		(void)upload_step(&b->u, &ev, b->now_ns);
		assert_true(b->timer_ns >= b->now_ns + UPLOAD_REFUSED_NS_MIN);
	}
	assert_int_equal(b->reports[UPLOAD_REPORT_REFUSED], 6);
	assert_non_null(strstr(b->report_text, "clock"));
}

static void upload_asks_for_the_endpoint_again_after_failures(void **state)
{
	struct bench *b = *state;

	(void)put(b);
	to_ready(b);
	for (unsigned int i = 0; i < UPLOAD_CALLS_AFTER_FAILURES; i++) {
		expect_state(b, UPLOAD_CONNECTING);
		(void)closed(b);
		wait_for_timer(b);
	}
	expect_state(b, UPLOAD_DESCRIBING);
}

static void upload_drops_a_fragment_whose_codec_private_is_gone(void **state)
{
	struct bench *b = *state;

	b->header_result = -ENOENT;
	(void)to_streaming(b);
	assert_int_equal(stored(b), 0);
	assert_int_equal(b->u.counts.dropped, 1);
	expect_state(b, UPLOAD_STREAMING);
}

static void upload_reconnects_when_it_cannot_send(void **state)
{
	struct bench *b = *state;

	b->send_result = -ENOBUFS;
	(void)put(b);
	to_ready(b);
	accept_session(b);
	expect_state(b, UPLOAD_CLOSING);
	assert_int_equal(stored(b), 1);
}

/* The service ended the connection; what it had said before comes first. */
static void upload_hears_acks_behind_a_failed_send(void **state)
{
	static const int errors[] = { -EPIPE, -ECONNRESET };
	struct bench *b = *state;
	uint64_t first = to_streaming(b);

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		uint64_t second = put(b);

		b->send_result = errors[i];
		(void)event(b, UPLOAD_MEDIA);
		expect_state(b, UPLOAD_STREAMING);
		assert_int_equal(b->closes, 0);
		(void)acked(b, ACK_PERSISTED, first, 0);
		assert_int_equal(b->u.counts.persisted, i + 1);
		assert_int_equal(stored(b), 1);
		/* Not sent whole: an acknowledgement of it is void. */
		(void)acked(b, ACK_PERSISTED, second, 0);
		assert_int_equal(stored(b), 1);
		/* Not tried again, whatever becomes of the store. */
		b->send_result = 0;
		b->bytes = 0;
		(void)event(b, UPLOAD_DRAINED);
		assert_int_equal(b->bytes, 0);
		(void)closed(b);
		expect_state(b, UPLOAD_WAITING);
		wait_for_timer(b);
		accept_session(b);
		assert_int_equal(b->bytes, 10 * (FRAME_BYTES + 8));
		first = second;
	}
}

static void upload_hears_acks_when_the_fragment_on_its_way_is_dropped(
	void **state)
{
	struct bench *b = *state;
	uint64_t first = to_streaming(b);

	open_fragment(b, 1);
	add_frame(b, 0);
	(void)event(b, UPLOAD_MEDIA);
	add_frame(b, 0);
	b->send_result = -EPIPE;
	(void)event(b, UPLOAD_MEDIA);
	(void)acked(b, ACK_RECEIVED, first, 0);
	(void)acked(b, ACK_PERSISTED, first, 0);
	assert_int_equal(upload_make_room(&b->u), UPLOAD_ROOM_OPEN);
	(void)event(b, UPLOAD_MEDIA);
	expect_state(b, UPLOAD_STREAMING);
	assert_int_equal(b->u.counts.persisted, 1);
}

static void upload_waits_no_longer_for_acks_than_otherwise(void **state)
{
	struct bench *b = *state;

	(void)acked(b, ACK_PERSISTED, to_streaming(b), 0);
	b->send_result = -EPIPE;
	(void)put(b);
	(void)event(b, UPLOAD_MEDIA);
	expect_state(b, UPLOAD_STREAMING);
	advance(b, UPLOAD_ACK_NS_MAX);
	(void)event(b, UPLOAD_TIMER);
	expect_state(b, UPLOAD_CLOSING);
}

/* --- room -------------------------------------------------------------------------- */

static void upload_makes_room_with_the_oldest_whole_fragment(void **state)
{
	struct bench *b = *state;
	uint64_t first;

	assert_int_equal(upload_make_room(&b->u), UPLOAD_ROOM_NONE);
	first = put(b);
	(void)put(b);
	assert_int_equal(upload_make_room(&b->u), UPLOAD_ROOM_SEALED);
	assert_int_equal(stored(b), 1);
	assert_int_equal(b->report.kind, UPLOAD_REPORT_DROPPED);
	assert_int_equal(b->report.timecode_ms, first);
}

static void upload_spares_the_fragment_on_its_way(void **state)
{
	struct bench *b = *state;
	struct retain_fragment *f;

	to_ready(b);
	open_fragment(b, 1);
	add_frame(b, 0);
	(void)event(b, UPLOAD_MEDIA);
	accept_session(b);
	seal(b);
	(void)put(b);
	assert_int_equal(upload_make_room(&b->u), UPLOAD_ROOM_SEALED);
	f = retain_from(&b->ram.retain, 0);
	assert_int_equal(f->sent, RETAIN_PARTLY);
	assert_int_equal(stored(b), 1);
	/* There is no other now: it goes, and the session with it. */
	assert_int_equal(upload_make_room(&b->u), UPLOAD_ROOM_SEALED);
	assert_int_equal(stored(b), 0);
	(void)event(b, UPLOAD_MEDIA);
	expect_state(b, UPLOAD_CLOSING);
	assert_int_equal(b->u.counts.dropped, 2);
}

static void upload_gives_up_the_open_fragment_last(void **state)
{
	struct bench *b = *state;

	open_fragment(b, 1);
	add_frame(b, 0);
	assert_int_equal(upload_make_room(&b->u), UPLOAD_ROOM_OPEN);
	assert_int_equal(stored(b), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(upload_goes_where_the_table_says_for_every_state_and_event),
		T(upload_creates_a_missing_stream_and_waits_until_it_is_active),
		T(upload_does_not_create_when_it_may_not),
		T(upload_connects_only_when_there_is_media),
		T(upload_sends_a_fragment_while_it_grows),
		T(upload_stops_sending_when_the_connection_is_behind), T(upload_trims_on_persisted),
		T(upload_repeats_only_what_was_not_acknowledged),
		T(upload_drops_a_fragment_that_the_service_never_takes),
		T(upload_breaks_off_when_the_half_sent_fragment_is_refused),
		T(upload_reconnects_after_errors_of_the_session),
		T(upload_renews_at_a_boundary_after_an_archival_error),
		T(upload_waits_long_when_the_stream_is_gone),
		T(upload_declares_only_the_tracks_there_are),
		T(upload_renews_an_old_session_between_fragments),
		T(upload_opens_a_session_where_time_goes_back),
		T(upload_ends_an_idle_session_in_order),
		T(upload_finishes_when_all_is_acknowledged),
		T(upload_waits_a_minute_for_acknowledgements_but_not_for_ever),
		T(upload_gives_up_a_connection_that_takes_nothing),
		T(upload_never_retries_a_refusal_tightly), T(upload_retries_a_busy_service_sooner),
		T(upload_corrects_a_wrong_clock_once),
		T(upload_asks_for_the_endpoint_again_after_failures),
		T(upload_drops_a_fragment_whose_codec_private_is_gone),
		T(upload_reconnects_when_it_cannot_send),
		T(upload_makes_room_with_the_oldest_whole_fragment),
		T(upload_hears_acks_behind_a_failed_send),
		T(upload_hears_acks_when_the_fragment_on_its_way_is_dropped),
		T(upload_waits_no_longer_for_acks_than_otherwise),
		T(upload_spares_the_fragment_on_its_way), T(upload_gives_up_the_open_fragment_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
