/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libkvsproducer with one call failing, through struct sys_ops or on its loop,
 * against a service that is well. Either it cannot be made and leaves nothing
 * behind, or it mends what failed and every frame arrives, bit for bit; what
 * it reports as persisted is there.
 *
 * The producer's clock runs SPEED times as fast, so that its waits are short.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <kvs/client.h>
#include <kvs/producer.h>

#include "base/buf.h"
#include "base/macros.h"
#include "base/sys.h"
#include "core/limits.h"
#include "io/producer_int.h"
#include "support/fault_rig.h"
#include "support/loop_fault.h"
#include "support/serve_child.h"
#include "support/sys_fault.h"

#define SPEED 20u
#define TURN_NS_MAX (2 * NS_PER_MS)
#define RUN_S_MAX 60u	/* then it hangs */
#define FRAMES 30u
#define GOP 10u
#define FRAME_MS 100u
#define FRAME_BYTES 20000u	/* more than a TLS record */
#define FINISH_MS 600000u
#define REPLY_BYTES_MAX (1u << 20)
#define PERSISTED_MAX 64u

static struct serve_child service;
static struct kvs_client *client;
static struct buf reply;
static struct sys_ops fast;
static struct timespec start;

static int fast_clock(clockid_t clock, struct timespec *ret_ts)
{
	uint64_t ns;

	if (clock != CLOCK_MONOTONIC)
		return sys_posix()->clock_gettime(clock, ret_ts);
	(void)clock_gettime(CLOCK_MONOTONIC, ret_ts);
	ns = (uint64_t)(ret_ts->tv_sec - start.tv_sec) * NS_PER_S +
	     (uint64_t)ret_ts->tv_nsec - (uint64_t)start.tv_nsec;
	ns = ns * SPEED + (uint64_t)start.tv_sec * NS_PER_S;
	ret_ts->tv_sec = (time_t)(ns / NS_PER_S);
	ret_ts->tv_nsec = (long)(ns % NS_PER_S);
	return 0;
}

/* --- the service's side ------------------------------------------------------------- */

static int collect(void *ctx, const uint8_t *bytes, size_t len)
{
	(void)ctx;
	return buf_add(&reply, bytes, len);
}

static void call(const char *path, const char *json)
{
	struct kvs_reply r;

	buf_reset(&reply);
	assert_int_equal(kvs_client_call(client, NULL, path, json,
					 strlen(json), collect, NULL, &r), 0);
	assert_int_equal(r.status, 200);
}

static bool has(const void *bytes, size_t len)
{
	return memmem(buf_head(&reply), buf_len(&reply), bytes, len) != NULL;
}

/* --- one run ------------------------------------------------------------------------- */

struct upload_run {
	char stream[32];
	pthread_mutex_t lock;
	size_t persisted;
	char numbers[PERSISTED_MAX][ACK_FRAGMENT_NUMBER_CHARS_MAX + 1];
};

static void on_event(void *ctx, const struct kvs_event *e)
{
	struct upload_run *u = ctx;

	if (getenv("VERBOSE") && e->text)
		fprintf(stderr, "  event %d %d: %s\n", e->kind, e->error_id,
			e->text);
	if (e->kind != KVS_EVENT_PERSISTED || !e->fragment_number)
		return;
	(void)pthread_mutex_lock(&u->lock);
	if (u->persisted < PERSISTED_MAX)
		(void)snprintf(u->numbers[u->persisted++],
			       sizeof(u->numbers[0]), "%s", e->fragment_number);
	(void)pthread_mutex_unlock(&u->lock);
}

static void make_frame(const char *stream, unsigned int i,
		       uint8_t out[FRAME_BYTES])
{
	uint64_t x = i + 1;
	size_t k;

	for (k = 0; stream[k]; k++)
		x = x * 31 + (uint8_t)stream[k];
	for (k = 0; k < FRAME_BYTES; k++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		out[k] = (uint8_t)(x >> 33);
	}
}

static void put_frames(struct kvs_producer *p, const struct upload_run *u)
{
	uint64_t start_ns = sys_now_ns(sys_posix(), CLOCK_REALTIME);
	uint8_t bytes[FRAME_BYTES];
	unsigned int i;

	for (i = 0; i < FRAMES; i++) {
		struct kvs_frame f = {
			.data = bytes,
			.bytes = sizeof(bytes),
			.time_ns = start_ns + i * FRAME_MS * NS_PER_MS,
			.key = i % GOP == 0,
		};

		make_frame(u->stream, i, bytes);
		assert_int_equal(kvs_producer_put_frame(p, &f), 0);
	}
}

/* What the service has of it is all, and right. */
static void check_stored(const struct upload_run *u)
{
	char list[512];
	char json[PERSISTED_MAX * 64];
	uint8_t bytes[FRAME_BYTES];
	size_t len;
	size_t i;

	(void)snprintf(list, sizeof(list),
		       "{\"StreamName\":\"%s\",\"FragmentSelector\":{"
		       "\"FragmentSelectorType\":\"SERVER_TIMESTAMP\","
		       "\"TimestampRange\":{\"StartTimestamp\":1,"
		       "\"EndTimestamp\":9999999999}}}", u->stream);
	call("/listFragments", list);
	for (i = 0; i < u->persisted; i++)
		assert_true(has(u->numbers[i], strlen(u->numbers[i])));
	len = (size_t)snprintf(json, sizeof(json),
			       "{\"StreamName\":\"%s\",\"Fragments\":[",
			       u->stream);
	for (i = 0; i < u->persisted; i++)
		len += (size_t)snprintf(json + len, sizeof(json) - len,
					"%s\"%s\"", i ? "," : "",
					u->numbers[i]);
	(void)snprintf(json + len, sizeof(json) - len, "]}");
	call("/getMediaForFragmentList", json);
	for (i = 0; i < FRAMES; i++) {
		make_frame(u->stream, (unsigned int)i, bytes);
		assert_true(has(bytes, sizeof(bytes)));
	}
}

static int upload(struct upload_run *u)
{
	static const struct kvs_track track = {
		.kind = KVS_TRACK_VIDEO,
		.payload = KVS_PAYLOAD_OPAQUE,
		.codec_id = "V_MJPEG",
		.width = 64,
		.height = 48,
	};
	struct kvs_producer_config config = {
		.stream_name = u->stream,
		.create_stream = true,
		.retention_hours = 2,
		.tracks = &track,
		.track_count = 1,
		.fragment_ms = 1000,
		.event = on_event,
		.event_ctx = u,
	};
	struct kvs_producer_stats stats;
	struct kvs_producer *p;
	int r;

	serve_child_client(&service, &config.client);
	config.client.timeout_ms = 3000 * SPEED;
	r = producer_new(&config, sys_fault(), &p);
	if (r < 0)
		return r;
	put_frames(p, u);
	assert_int_equal(kvs_producer_finish(p, FINISH_MS), 0);
	kvs_producer_stats(p, &stats);
	(void)kvs_producer_free(p);
	assert_int_equal(stats.frames_in, FRAMES);
	assert_int_equal(stats.fragments_dropped, 0);
	assert_int_equal(stats.fragments_persisted, FRAMES / GOP);
	return 0;
}

struct fault {
	const char *name;
	void (*arm)(unsigned long n, int err);
	const char *(*where)(void);
	unsigned long (*calls)(void);
};

static unsigned int sends_now_failed;

/* Return: where it failed, "" if nowhere. */
static const char *run(const struct fault *f, unsigned long n, int err,
		       unsigned long *ret_calls)
{
	static unsigned int count;
	struct upload_run u = { .lock = PTHREAD_MUTEX_INITIALIZER };
	int fds = serve_child_count_fds();
	const char *where;
	int r;

	fault_rig_begins(f->name, n, err);
	(void)snprintf(u.stream, sizeof(u.stream), "producer-%u", count++);
	(void)alarm(RUN_S_MAX);
	f->arm(n, err);
	r = upload(&u);
	where = f->where() ? f->where() : "";
	sends_now_failed += strcmp(where, "send_now") == 0;
	*ret_calls = f->calls();
	f->arm(0, 0);
	if (getenv("VERBOSE"))
		fprintf(stderr, "%s %lu %s: %s, %d, %zu persisted\n", f->name,
			n, strerror(-err), where, r, u.persisted);
	assert_int_equal(sys_fault_open_fds(), 0);
	assert_int_equal(sys_fault_open_maps(), 0);
	assert_int_equal(serve_child_count_fds(), fds);
	if (!where[0])
		assert_int_equal(r, 0);
	if (r == 0)
		check_stored(&u);
	(void)alarm(0);
	return where;
}

static void sweep(const struct fault *f, int err)
{
	unsigned long total;
	unsigned long calls;
	unsigned long n;

	assert_string_equal(run(f, 0, err, &total), "");
	assert_true(total > 0);
	for (n = 1; n <= total; n++)
		(void)run(f, n, err, &calls);
	printf("%s, %s: %lu calls\n", f->name, strerror(-err), total);
	fault_rig_ends();
}

/* --- sweeps --------------------------------------------------------------------------- */

static void arm_undone(unsigned long n, int err)
{
	loop_fault_arm(n, err, LOOP_FAULT_UNDONE);
}

static void arm_done(unsigned long n, int err)
{
	loop_fault_arm(n, err, LOOP_FAULT_DONE);
}

static void producer_survives_a_failed_call(void **state)
{
	static const struct fault f = { "call", sys_fault_arm, sys_fault_where,
					sys_fault_calls };

	(void)state;
	sweep(&f, -EIO);
	sweep(&f, -ENOMEM);
	sweep(&f, -EMFILE);
}

static void producer_survives_a_failed_completion(void **state)
{
	static const struct fault f = { "completion", arm_undone,
					loop_fault_where, loop_fault_calls };

	(void)state;
	sends_now_failed = 0;
	sweep(&f, -ECONNRESET);
	sweep(&f, -ENOMEM);
	assert_true(sends_now_failed);
}

static void producer_survives_a_completion_that_fails_late(void **state)
{
	static const struct fault f = { "late completion", arm_done,
					loop_fault_where, loop_fault_calls };

	(void)state;
	sends_now_failed = 0;
	sweep(&f, -ECONNRESET);
	assert_true(sends_now_failed);
}

static int prepare(void **state)
{
	(void)state;
	buf_init(&reply, REPLY_BYTES_MAX);
	if (!fault_rig_open("fault_producer") ||
	    !fault_rig_service("log", &service, &client))
		return -1;
	(void)clock_gettime(CLOCK_MONOTONIC, &start);
	fast = *sys_posix();
	fast.clock_gettime = fast_clock;
	sys_fault_reset();
	sys_fault_wrap(&fast);
	loop_fault_wait_max(TURN_NS_MAX);
	return 0;
}

static int clean_up(void **state)
{
	(void)state;
	buf_fini(&reply);
	fault_rig_service_end(&service, client);
	return fault_rig_close();
}

int main(void)
{
#define SWEEP(f) cmocka_unit_test_teardown(f, fault_rig_explain)
	const struct CMUnitTest tests[] = {
		SWEEP(producer_survives_a_failed_call),
		SWEEP(producer_survives_a_failed_completion),
		SWEEP(producer_survives_a_completion_that_fails_late),
	};

	return cmocka_run_group_tests(tests, prepare, clean_up);
}
