/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the service keeps what it gets, which may change at any time. */
#include "support/upload_bench.h"

static void described(struct bench *b, uint32_t retention_hours)
{
	struct upload_reply reply = { .status = 200, .error_type = "",
				      .message = "", .active = true,
				      .retention_hours = retention_hours };

	expect_state(b, UPLOAD_DESCRIBING);
	(void)upload_step(&b->u, &(struct upload_event){
					.kind = UPLOAD_REPLIED,
					.reply = &reply }, b->now_ns);
	(void)replied(b, UPLOAD_REPLIED, 200, "");
}

static void upload_trims_on_received_when_nothing_is_retained(void **state)
{
	struct bench *b = *state;
	uint64_t first = put(b);

	(void)event(b, UPLOAD_START);
	described(b, 0);
	accept_session(b);
	(void)acked(b, ACK_RECEIVED, first, 0);
	assert_int_equal(stored(b), 0);
}

static void upload_learns_from_a_persisted_that_it_is_retained(void **state)
{
	struct bench *b = *state;
	uint64_t first = put(b);
	uint64_t second;

	(void)event(b, UPLOAD_START);
	described(b, 0);
	accept_session(b);
	second = put(b);
	(void)event(b, UPLOAD_MEDIA);
	(void)acked(b, ACK_RECEIVED, first, 0);
	assert_int_equal(stored(b), 1);
	(void)acked(b, ACK_PERSISTED, first, 0);
	(void)acked(b, ACK_RECEIVED, second, 0);
	assert_int_equal(stored(b), 1);
	(void)acked(b, ACK_PERSISTED, second, 0);
	assert_int_equal(stored(b), 0);
}

/* Each is received, none is persisted, for so long. Return: fragments. */
static size_t receive_only(struct bench *b, uint64_t ns)
{
	uint64_t end_ns = b->now_ns + ns;
	size_t count = 0;

	while (b->now_ns < end_ns && b->u.state == UPLOAD_STREAMING) {
		uint64_t timecode = put(b);

		(void)event(b, UPLOAD_MEDIA);
		if (b->u.state == UPLOAD_STREAMING)
			(void)acked(b, ACK_RECEIVED, timecode, 0);
		count++;
		wait_for_timer(b);
	}
	return count;
}

static void upload_asks_again_when_nothing_is_persisted(void **state)
{
	struct bench *b = *state;

	(void)acked(b, ACK_RECEIVED, to_streaming(b), 0);
	assert_true(receive_only(b, 10 * UPLOAD_PERSIST_NS_MAX) >=
		    UPLOAD_PERSIST_NS_MAX / UPLOAD_CHECK_NS);
	expect_state(b, UPLOAD_DRAINING);
	(void)event(b, UPLOAD_ENDED);
	(void)closed(b);
	/* It keeps nothing: all goes when it is received. */
	described(b, 0);
	accept_session(b);
	(void)event(b, UPLOAD_MEDIA);
	while (stored(b)) {
		const struct retain_fragment *f = retain_from(&b->ram.retain, 0);

		assert_int_equal(f->sent, RETAIN_WHOLLY);
		(void)acked(b, ACK_RECEIVED, f->timecode_ms, 0);
	}
	expect_state(b, UPLOAD_STREAMING);
	(void)receive_only(b, 3 * UPLOAD_PERSIST_NS_MAX);
	expect_state(b, UPLOAD_STREAMING);
	assert_int_equal(stored(b), 0);
}

/* A service that is slow to persist is asked, and found to keep all. */
static void upload_goes_on_when_it_is_persisted_late(void **state)
{
	struct bench *b = *state;
	uint64_t first = to_streaming(b);

	(void)acked(b, ACK_RECEIVED, first, 0);
	(void)receive_only(b, UPLOAD_PERSIST_NS_MAX - UPLOAD_CHECK_NS);
	(void)acked(b, ACK_PERSISTED, first, 0);
	(void)receive_only(b, UPLOAD_PERSIST_NS_MAX - UPLOAD_CHECK_NS);
	expect_state(b, UPLOAD_STREAMING);
	(void)receive_only(b, 10 * UPLOAD_PERSIST_NS_MAX);
	expect_state(b, UPLOAD_DRAINING);
	while (stored(b) > 1)
		(void)acked(b, ACK_PERSISTED,
			    retain_from(&b->ram.retain, 0)->timecode_ms, 0);
	(void)event(b, UPLOAD_ENDED);
	(void)closed(b);
	/* The one that was not sent yet; nobody was asked. */
	accept_session(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(upload_trims_on_received_when_nothing_is_retained),
		T(upload_learns_from_a_persisted_that_it_is_retained),
		T(upload_asks_again_when_nothing_is_persisted),
		T(upload_goes_on_when_it_is_persisted_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
