/* SPDX-License-Identifier: Apache-2.0 */
/* Two threads, no clock: whatever each waits for, the other one does. */
#include "agent/encode_thread.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <capture/source.h>

#include "core/limits.h"
#include "support/sys_fault.h"

#define BUFFERS 16u
#define DEPTH 8u
#define HANG_MS 60000	/* then it hangs */

struct rig {
	struct capture_source *source;
	struct capture_encoder *encoder;
	struct encode_thread *thread;
};

static struct capture_frame *next_frame(struct rig *rig)
{
	struct capture_frame *frame;

	assert_int_equal(capture_source_dequeue(rig->source, UINT64_MAX,
						&frame), 0);
	return frame;
}

static int setup(void **state)
{
	static struct rig rig;
	const struct capture_source_config source = {
		.kind = CAPTURE_SOURCE_SYNTHETIC,
		.path = "thermal",
		.width = 16,
		.height = 16,
		.rate_num = 1000,
		.rate_den = 1,
		.buffer_count = BUFFERS,
	};
	struct capture_encoder_config encoder;

	sys_fault_reset();
	memset(&rig, 0, sizeof(rig));
	*state = &rig;
	if (capture_source_open(sys_fault(), &source, &rig.source) < 0)
		return -1;
	capture_encoder_config_init(&encoder);
	encoder.backend = CAPTURE_BACKEND_SOFTWARE;
	encoder.codec = CAPTURE_FORMAT_Y16;
	encoder.source = capture_source_format(rig.source);
	if (capture_encoder_open(sys_fault(), &encoder, &rig.encoder) < 0 ||
	    encode_thread_new(sys_fault(), rig.encoder, DEPTH,
			      &rig.thread) < 0)
		return -1;
	return capture_source_start(rig.source);
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	rig->thread = encode_thread_free(rig->thread);
	rig->encoder = capture_encoder_close(rig->encoder);
	rig->source = capture_source_close(rig->source);
	return sys_fault_open_fds() || sys_fault_open_maps();
}

static void wait_for_it(struct rig *rig)
{
	struct pollfd fd = { .fd = encode_thread_fd(rig->thread),
			     .events = POLLIN };

	assert_int_equal(poll(&fd, 1, HANG_MS), 1);
	encode_thread_clear(rig->thread);
}

/* Takes all that there is. Return: how many frames. */
static size_t take_all(struct rig *rig, int want, size_t *packets)
{
	struct capture_packet *packet;
	struct capture_frame *frame;
	size_t frames = 0;
	int r;

	while (encode_thread_take_frame(rig->thread, &frame, &r)) {
		assert_int_equal(r, want);
		(void)capture_frame_unref(frame);
		frames++;
	}
	while (encode_thread_take_packet(rig->thread, &packet)) {
		(*packets)++;
		encode_thread_return_packet(rig->thread, packet);
	}
	return frames;
}

static void put_all(struct rig *rig, size_t count)
{
	for (size_t i = 0; i < count; i++)
		assert_int_equal(encode_thread_put(rig->thread,
						   next_frame(rig), false), 0);
}

static void thread_gives_back_each_frame_and_its_packet_in_order(void **state)
{
	struct rig *rig = *state;
	uint32_t sequences[100]; /* a late source leaves numbers out */
	uint32_t put = 0;
	uint32_t taken = 0;
	uint32_t packets = 0;

	while (taken < 100 || packets < 100) {
		struct capture_packet *packet;
		struct capture_frame *frame;
		int r;

		while (put < 100 && !encode_thread_full(rig->thread)) {
			frame = next_frame(rig);
			sequences[put] = frame->sequence;
			assert_int_equal(encode_thread_put(rig->thread, frame,
							   put % 7 == 0), 0);
			put++;
		}
		wait_for_it(rig);
		while (encode_thread_take_frame(rig->thread, &frame, &r)) {
			assert_int_equal(r, 0);
			assert_int_equal(frame->sequence, sequences[taken]);
			(void)capture_frame_unref(frame);
			taken++;
		}
		while (encode_thread_take_packet(rig->thread, &packet)) {
			assert_int_equal(packet->sequence,
					 sequences[packets]);
			assert_int_equal(packet->bytes, 2 * 16 * 16);
			encode_thread_return_packet(rig->thread, packet);
			packets++;
		}
		assert_int_equal(encode_thread_state(rig->thread), 0);
	}
	assert_int_equal(taken, 100);
	assert_int_equal(packets, 100);
}

/* Packets that nobody reads stop it; the queue fills, and says so. */
static void thread_refuses_frames_when_full(void **state)
{
	struct rig *rig = *state;
	struct encode_thread_stats s;
	struct capture_frame *frame;
	size_t packets = 0;
	size_t taken = 0;

	put_all(rig, DEPTH);
	assert_true(encode_thread_full(rig->thread));
	frame = next_frame(rig);
	assert_int_equal(encode_thread_put(rig->thread, frame, false),
			 -EAGAIN);
	(void)capture_frame_unref(frame);
	while (taken < DEPTH) {
		wait_for_it(rig);
		taken += take_all(rig, 0, &packets);
	}
	assert_false(encode_thread_full(rig->thread));
	assert_int_equal(packets, DEPTH);
	encode_thread_stats(rig->thread, &s);
	assert_int_equal(s.frames_max, DEPTH);
	assert_int_equal(s.encoder.packets_out, DEPTH);
	assert_true(s.busy_ns >= s.busy_ns_max && s.busy_ns_max > 0);
}

static void thread_drains_what_was_put(void **state)
{
	struct rig *rig = *state;
	struct capture_frame *frame;
	size_t packets = 0;
	size_t taken = 0;

	put_all(rig, DEPTH);
	encode_thread_drain(rig->thread);
	frame = next_frame(rig);
	assert_int_equal(encode_thread_put(rig->thread, frame, false), -EPIPE);
	(void)capture_frame_unref(frame);
	while (!encode_thread_state(rig->thread)) {
		wait_for_it(rig);
		taken += take_all(rig, 0, &packets);
	}
	assert_int_equal(encode_thread_state(rig->thread), -EPIPE);
	taken += take_all(rig, 0, &packets);
	assert_int_equal(taken, DEPTH);
	assert_int_equal(packets, DEPTH);
}

static void thread_tells_which_frames_a_stop_cost(void **state)
{
	struct rig *rig = *state;
	struct capture_packet *packet;
	struct capture_frame *frame;
	size_t done = 0;
	size_t cancelled = 0;
	size_t packets = 0;
	int r;

	put_all(rig, DEPTH);
	encode_thread_stop(rig->thread);
	while (encode_thread_take_frame(rig->thread, &frame, &r)) {
		assert_true(r == 0 || r == -ECANCELED);
		assert_false(r == 0 && cancelled); /* in order */
		done += r == 0;
		cancelled += r < 0;
		(void)capture_frame_unref(frame);
	}
	assert_int_equal(done + cancelled, DEPTH);
	while (encode_thread_take_packet(rig->thread, &packet)) {
		packets++;
		encode_thread_return_packet(rig->thread, packet);
	}
	assert_int_equal(packets, done);
}

static void thread_frees_what_was_never_taken(void **state)
{
	put_all(*state, DEPTH);
	/* teardown() counts what stays open */
}

/* It ends its own frames, not the ones before: those come out. */
static void thread_stops_when_its_encoder_fails(void **state)
{
	struct rig *rig = *state;
	struct capture_frame *frame;
	size_t packets = 0;
	size_t taken = 0;
	int r;

	put_all(rig, 1);
	encode_thread_drain(rig->thread);
	while (!encode_thread_state(rig->thread)) {
		wait_for_it(rig);
		taken += take_all(rig, 0, &packets);
	}
	taken += take_all(rig, 0, &packets);
	assert_int_equal(taken, 1);
	/* A drained encoder takes no frame: the next thread hears so. */
	rig->thread = encode_thread_free(rig->thread);
	assert_int_equal(encode_thread_new(sys_fault(), rig->encoder, DEPTH,
					   &rig->thread), 0);
	put_all(rig, 2);
	while (!encode_thread_state(rig->thread))
		wait_for_it(rig);
	assert_int_equal(encode_thread_state(rig->thread), -EPIPE);
	assert_true(encode_thread_take_frame(rig->thread, &frame, &r));
	assert_int_equal(r, -EPIPE);
	(void)capture_frame_unref(frame);
	encode_thread_stop(rig->thread);
	assert_true(encode_thread_take_frame(rig->thread, &frame, &r));
	assert_int_equal(r, -ECANCELED);
	(void)capture_frame_unref(frame);
}

static void thread_new_fails_without_a_descriptor(void **state)
{
	struct rig *rig = *state;

	rig->thread = encode_thread_free(rig->thread);
	sys_fault_only("eventfd");
	sys_fault_arm(1, -EMFILE);
	assert_int_equal(encode_thread_new(sys_fault(), rig->encoder, 1,
					   &rig->thread), -EMFILE);
	assert_null(rig->thread);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(thread_gives_back_each_frame_and_its_packet_in_order),
		CASE(thread_refuses_frames_when_full),
		CASE(thread_drains_what_was_put),
		CASE(thread_tells_which_frames_a_stop_cost),
		CASE(thread_frees_what_was_never_taken),
		CASE(thread_stops_when_its_encoder_fails),
		CASE(thread_new_fails_without_a_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
