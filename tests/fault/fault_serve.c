/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `kvsd serve` with one call failing, in three places where calls are made:
 * struct sys_ops, the io_uring loop, SQLite. Each run is a fresh process on a
 * fresh directory and one session of a client. Whatever the fault: the
 * service says no and leaves nothing open, or it serves on; it ends when told;
 * and started again, without a fault, it has everything that it acknowledged.
 *
 * FULL=1, PART: see tests/support/fault_rig.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
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

#include "base/buf.h"
#include "base/macros.h"
#include "base/sys.h"
#include "io/cert.h"
#include "support/fault_rig.h"
#include "support/loop_fault.h"
#include "support/mkv_build.h"
#include "support/serve_child.h"
#include "support/sqlite_fault.h"
#include "support/sys_fault.h"
#include "support/upload_raw.h"

#define RUNS_SHORT 12u	/* of a sweep, unless FULL=1 */
#define FRAGMENTS 3u	/* of an upload */
#define PAYLOAD_CHARS 700u
#define REPLY_BYTES_MAX (1u << 20)
#define SAFE_MAX 16u	/* fragments acknowledged in one directory */
#define STREAM "fault"

static char dir[FAULT_PATH_CHARS];
static char prepared[FAULT_PATH_CHARS];
static char log_path[FAULT_PATH_CHARS];

/* --- what was promised ----------------------------------------------------------- */

struct safe {
	uint64_t timecode_ms;
	char number[ACK_FRAGMENT_NUMBER_CHARS_MAX + 1];
};

struct promised {
	size_t count;
	struct safe fragments[SAFE_MAX];
	bool stream;	/* CreateStream of STREAM was answered with 200 */
	bool other;	/* of "other" */
};

static struct promised before_copy;

/* The bytes of a fragment's frame follow from its timecode. */
static void make_payload(uint64_t timecode_ms, char out[PAYLOAD_CHARS + 1])
{
	uint64_t x = timecode_ms * 2654435761u + 1;
	size_t i;

	for (i = 0; i < PAYLOAD_CHARS; i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		out[i] = (char)('!' + (x >> 33) % 90);
	}
	out[i] = '\0';
}

static uint64_t wall_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* --- the client --------------------------------------------------------------------- */

struct client {
	struct serve_child *child;
	struct kvs_client_config config;
	struct kvs_client *kvs;
	struct buf body;
	size_t enough;	/* end the reply after so many bytes; 0: never */
};

static void client_open(struct client *c, struct serve_child *child)
{
	memset(c, 0, sizeof(*c));
	c->child = child;
	serve_child_client(child, &c->config);
	assert_int_equal(kvs_client_new(&c->config, &c->kvs), 0);
	buf_init(&c->body, REPLY_BYTES_MAX);
}

static void client_close(struct client *c)
{
	(void)kvs_client_free(c->kvs);
	buf_fini(&c->body);
}

static int collect(void *ctx, const uint8_t *bytes, size_t len)
{
	struct client *c = ctx;
	int r = buf_add(&c->body, bytes, len);

	if (r < 0)
		return r;
	return c->enough && buf_len(&c->body) >= c->enough ? 1 : 0;
}

/* Return: the HTTP status, or -errno. */
static int call(struct client *c, const char *path, const char *json)
{
	struct kvs_reply reply;
	int r;

	buf_reset(&c->body);
	r = kvs_client_call(c->kvs, NULL, path, json, strlen(json), collect, c,
			    &reply);
	return r < 0 ? r : reply.status;
}

static void upload(struct client *c, struct promised *p)
{
	static uint64_t last_ms;
	struct mkv_build b = { .len = 0 };
	struct upload_raw up;
	char payload[PAYLOAD_CHARS + 1];
	uint64_t start_ms = wall_ms();
	size_t i;

	/* No timecode twice, so that bytes tell fragments apart. */
	if (start_ms < last_ms + 1000 * FRAGMENTS)
		start_ms = last_ms + 1000 * FRAGMENTS;
	last_ms = start_ms;
	mkv_build_header(&b, 1);
	for (i = 0; i < FRAGMENTS; i++) {
		mkv_build_cluster(&b, start_ms + i * 1000);
		make_payload(start_ms + i * 1000, payload);
		mkv_build_block(&b, MKV_ID_SIMPLE_BLOCK, 1, 0, 0x80, payload);
	}
	upload_raw(&c->config, STREAM, start_ms, b.bytes, b.len, &up);
	for (i = 0; i < up.ack_count; i++) {
		if (up.acks[i].event != ACK_PERSISTED)
			continue;
		assert_true(p->count < SAFE_MAX);
		p->fragments[p->count].timecode_ms = up.acks[i].timecode_ms;
		memcpy(p->fragments[p->count++].number,
		       up.acks[i].fragment_number,
		       sizeof(p->fragments[0].number));
	}
}

/* GetMediaForFragmentList of all that is safe. Return: as call(). */
static int get_all(struct client *c, const struct promised *p)
{
	char json[4096];
	size_t len;
	size_t i;

	len = (size_t)snprintf(json, sizeof(json),
			       "{\"StreamName\":\"%s\",\"Fragments\":[",
			       STREAM);
	for (i = 0; i < p->count; i++)
		len += (size_t)snprintf(json + len, sizeof(json) - len,
					"%s\"%s\"", i ? "," : "",
					p->fragments[i].number);
	(void)snprintf(json + len, sizeof(json) - len, "]}");
	return call(c, "/getMediaForFragmentList", json);
}

/* Bytes that are given must be right, whatever fails. */
static bool has_payload(struct client *c, uint64_t timecode_ms)
{
	char payload[PAYLOAD_CHARS + 1];

	make_payload(timecode_ms, payload);
	return memmem(buf_head(&c->body), buf_len(&c->body), payload,
		      PAYLOAD_CHARS) != NULL;
}

/* Return: as call(). */
static int list(struct client *c)
{
	return call(c, "/listFragments", "{\"StreamName\":\"" STREAM "\","
		    "\"FragmentSelector\":{\"FragmentSelectorType\":"
		    "\"SERVER_TIMESTAMP\",\"TimestampRange\":{"
		    "\"StartTimestamp\":1,\"EndTimestamp\":9999999999}}}");
}

static void get_clip(struct client *c)
{
	char json[512];
	unsigned long now = (unsigned long)time(NULL);

	(void)snprintf(json, sizeof(json),
		       "{\"StreamName\":\"%s\",\"ClipFragmentSelector\":{"
		       "\"FragmentSelectorType\":\"SERVER_TIMESTAMP\","
		       "\"TimestampRange\":{\"StartTimestamp\":%lu,"
		       "\"EndTimestamp\":%lu}}}", STREAM, now - 600,
		       now + 600);
	(void)call(c, "/getClip", json);
}

static void session(struct client *c, struct promised *p)
{
	int r;

	r = call(c, "/createStream", "{\"StreamName\":\"" STREAM
		 "\",\"DataRetentionInHours\":2}");
	p->stream |= r == 200;
	r = call(c, "/createStream", "{\"StreamName\":\"other\","
		 "\"DataRetentionInHours\":1}");
	p->other |= r == 200;
	upload(c, p);
	(void)list(c);
	if (p->count)
		(void)get_all(c, p);
	c->enough = PAYLOAD_CHARS;
	if (p->count)
		(void)call(c, "/getMedia", "{\"StreamName\":\"" STREAM "\","
			   "\"StartSelector\":{\"StartSelectorType\":"
			   "\"EARLIEST\"}}");
	c->enough = 0;
	get_clip(c);
}

/* The fault may cost a call or a connection, not the service. */
static void check_answers(struct client *c)
{
	int tries = 3;
	int r;

	do
		r = call(c, "/listStreams", "{}");
	while (r != 200 && --tries);
	assert_int_equal(r, 200);
}

/* --- directories ---------------------------------------------------------------------- */

static void shell(const char *fmt, ...) PRINTF(1, 2);

static void shell(const char *fmt, ...)
{
	char command[512];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	assert_int_equal(system(command), 0);
}

enum start {
	NEW,		/* nothing is there */
	AGAIN,		/* fragments of an earlier run */
	RENEW,		/* ... and a certificate that lacks a name */
};

static void narrow_certificate(void)
{
	static const char *const names[] = { "elsewhere.example" };
	const struct sys_ops *sys = sys_posix();
	struct cert_pair ca;
	struct cert_pair server;
	size_t len;
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(sys_read_file(sys, fd, "ca.pem", 65536, &ca.cert,
				       &len), 0);
	assert_int_equal(sys_read_file(sys, fd, "ca.key", 65536, &ca.key,
				       &len), 0);
	assert_int_equal(cert_issue_server(&ca, names, 1, &server), 0);
	assert_int_equal(sys_write_file(sys, fd, "server.pem", server.cert,
					strlen(server.cert), 0600), 0);
	assert_int_equal(sys_write_file(sys, fd, "server.key", server.key,
					strlen(server.key), 0600), 0);
	cert_pair_fini(&server);
	cert_pair_fini(&ca);
	(void)close(fd);
}

static void make_dir(enum start how)
{
	shell("rm -rf %s %s", dir, log_path);
	if (how != NEW)
		shell("cp -a --sparse=always %s %s", prepared, dir);
	if (how == RENEW)
		narrow_certificate();
}

/* --- injection ---------------------------------------------------------------------- */

struct fault {
	const char *name;
	unsigned long n;
	int err;	/* negative */
	void (*arm)(const struct fault *f);
	void (*tell)(struct serve_report *r);
};

static void arm_sys(const struct fault *f)
{
	sys_fault_arm(f->n, f->err);
}

static void tell_sys(struct serve_report *r)
{
	r->calls = sys_fault_calls();
	(void)snprintf(r->where, sizeof(r->where), "%s", sys_fault_where());
}

static void arm_loop_undone(const struct fault *f)
{
	loop_fault_arm(f->n, f->err, LOOP_FAULT_UNDONE);
}

static void arm_loop_done(const struct fault *f)
{
	loop_fault_arm(f->n, f->err, LOOP_FAULT_DONE);
}

static void tell_loop(struct serve_report *r)
{
	const char *where = loop_fault_where();

	r->calls = loop_fault_calls();
	(void)snprintf(r->where, sizeof(r->where), "%s", where ? where : "");
}

static void arm_sqlite(const struct fault *f)
{
	sqlite_fault_arm(f->n, -f->err);
}

static void tell_sqlite(struct serve_report *r)
{
	const char *where = sqlite_fault_where();

	r->calls = sqlite_fault_calls();
	(void)snprintf(r->where, sizeof(r->where), "%s", where ? where : "");
}

static void before(void *ctx)
{
	const struct fault *f = ctx;

	if (f)
		f->arm(f);
}

static void after(void *ctx, struct serve_report *r)
{
	const struct fault *f = ctx;

	if (f)
		f->tell(r);
	r->tracked_fds = sys_fault_open_fds();
	r->tracked_maps = sys_fault_open_maps();
}

/* --- one run ------------------------------------------------------------------------ */

static bool start(struct serve_child *c, struct fault *f)
{
	const struct serve_setup setup = {
		.dir = dir,
		.log = log_path,
		.sys = sys_fault(),
		.before = before,
		.after = after,
		.ctx = f,
	};

	return serve_child_start(c, &setup);
}

/* How it ended: in order, and with nothing left open. */
static void check_end(const struct serve_child *c, bool may_fail)
{
	assert_true(WIFEXITED(c->status));
	assert_true(c->report->ended);
	assert_in_range(WEXITSTATUS(c->status), 0, may_fail ? 1 : 0);
	assert_int_equal(c->report->tracked_fds, 0);
	assert_int_equal(c->report->tracked_maps, 0);
	assert_int_equal(c->report->fds_after, c->report->fds_before);
}

/* No fault any more: all that was promised is there. */
static void check_promises(struct promised *p)
{
	struct serve_child child;
	struct client c;
	size_t had;
	size_t i;

	assert_true(start(&child, NULL));
	client_open(&c, &child);
	if (p->stream)
		assert_int_equal(call(&c, "/describeStream",
				      "{\"StreamName\":\"" STREAM "\"}"), 200);
	if (p->other)
		assert_int_equal(call(&c, "/describeStream",
				      "{\"StreamName\":\"other\"}"), 200);
	if (p->count) {
		assert_int_equal(list(&c), 200);
		for (i = 0; i < p->count; i++)
			assert_non_null(memmem(buf_head(&c.body),
					       buf_len(&c.body),
					       p->fragments[i].number,
					       strlen(p->fragments[i].number)));
		assert_int_equal(get_all(&c, p), 200);
		for (i = 0; i < p->count; i++)
			assert_true(has_payload(&c,
						p->fragments[i].timecode_ms));
	}
	/* And it takes more. */
	had = p->count;
	session(&c, p);
	assert_int_equal(p->count, had + FRAGMENTS);
	client_close(&c);
	serve_child_stop(&child);
	check_end(&child, false);
	serve_child_fini(&child);
}

/* Return: the fault took place. */
static bool run(struct fault *f, enum start how, unsigned long *ret_calls)
{
	struct promised p = { .count = 0 };
	struct serve_child child;
	struct client c;
	bool fired;

	fault_rig_begins(f->name, f->n, f->err);
	make_dir(how);
	if (how != NEW)
		p = before_copy;
	if (start(&child, f)) {
		client_open(&c, &child);
		session(&c, &p);
		check_answers(&c);
		client_close(&c);
		serve_child_stop(&child);
	}
	fired = child.report->where[0];
	if (getenv("VERBOSE"))
		fprintf(stderr, "%s %lu %s: %s, exit %d, %zu safe\n", f->name,
			f->n, strerror(-f->err), child.report->where,
			child.report->result, p.count);
	check_end(&child, fired);
	if (!fired)
		assert_int_equal(WEXITSTATUS(child.status), 0);
	if (!fired)
		assert_int_equal(p.count, FRAGMENTS +
				 (how == NEW ? 0 : before_copy.count));
	*ret_calls = child.report->calls;
	serve_child_fini(&child);
	check_promises(&p);
	return fired;
}

/* --- sweeps ------------------------------------------------------------------------- */

static void sweep(struct fault *f, enum start how)
{
	unsigned long total;
	unsigned long calls;
	unsigned long runs = 0;
	struct fault_steps steps;

	f->n = 0;
	assert_false(run(f, how, &total));
	assert_true(total > 0);
	steps = fault_rig_steps(total, RUNS_SHORT);
	for (f->n = steps.first; f->n <= total; f->n += steps.step) {
		(void)run(f, how, &calls);
		runs++;
	}
	printf("%s, %s: %lu of %lu calls\n", f->name, strerror(-f->err), runs,
	       total);
}

static void told(struct fault *f, enum start how, int err)
{
	f->err = err;
	sweep(f, how);
	fault_rig_ends();
}

static void serve_survives_a_failed_call_on_a_new_directory(void **state)
{
	struct fault f = { .name = "call, new directory", .arm = arm_sys,
			   .tell = tell_sys };

	(void)state;
	told(&f, NEW, -EIO);
	told(&f, NEW, -EMFILE);
}

static void serve_survives_a_failed_call(void **state)
{
	struct fault f = { .name = "call", .arm = arm_sys, .tell = tell_sys };

	(void)state;
	told(&f, AGAIN, -ENOSPC);
	told(&f, AGAIN, -ENOMEM);
}

static void serve_survives_a_failed_call_when_its_certificate_is_renewed(
	void **state)
{
	struct fault f = { .name = "call, new certificate", .arm = arm_sys,
			   .tell = tell_sys };

	(void)state;
	told(&f, RENEW, -EIO);
}

static void serve_survives_a_failed_completion(void **state)
{
	struct fault f = { .name = "completion", .arm = arm_loop_undone,
			   .tell = tell_loop };

	(void)state;
	told(&f, AGAIN, -EIO);
	told(&f, AGAIN, -ENOMEM);
}

static void serve_survives_a_completion_that_fails_late(void **state)
{
	struct fault f = { .name = "late completion", .arm = arm_loop_done,
			   .tell = tell_loop };

	(void)state;
	told(&f, AGAIN, -EIO);
}

static void serve_survives_a_failed_call_of_sqlite(void **state)
{
	struct fault f = { .name = "SQLite's call", .arm = arm_sqlite,
			   .tell = tell_sqlite };

	(void)state;
	told(&f, AGAIN, -EIO);
	told(&f, AGAIN, -ENOSPC);
}

static void serve_survives_a_failed_call_of_sqlite_on_a_new_directory(
	void **state)
{
	struct fault f = { .name = "SQLite's call, new directory",
			   .arm = arm_sqlite, .tell = tell_sqlite };

	(void)state;
	told(&f, NEW, -EIO);
}

static void arm_first_bind(const struct fault *f)
{
	sys_fault_only("bind");
	sys_fault_arm(1, f->err);
}

static void arm_every_bind(const struct fault *f)
{
	sys_fault_only("bind");
	sys_fault_arm_sticky(1, f->err);
}

/*
 * A service that was killed with accepts under way has its port for some
 * milliseconds more; another program's port stays taken.
 */
static void serve_waits_for_the_port_of_a_killed_service(void **state)
{
	struct fault f = { .name = "port", .arm = arm_first_bind,
			   .tell = tell_sys, .err = -EADDRINUSE };
	struct serve_child child;

	(void)state;
	fault_rig_begins(f.name, 1, f.err);
	make_dir(AGAIN);
	assert_true(start(&child, &f));
	serve_child_stop(&child);
	assert_string_equal(child.report->where, "bind");
	check_end(&child, false);
	serve_child_fini(&child);
	f.arm = arm_every_bind;
	assert_false(start(&child, &f));
	check_end(&child, true);
	assert_int_equal(WEXITSTATUS(child.status), 1);
	serve_child_fini(&child);
	fault_rig_ends();
}

/* --- frame -------------------------------------------------------------------------- */

static int prepare(void **state)
{
	struct serve_child child;
	struct client c;

	(void)state;
	if (!fault_rig_open("fault_serve"))
		return -1;
	fault_rig_path("dir", dir);
	fault_rig_path("prepared", prepared);
	fault_rig_path("log", log_path);
	sys_fault_reset();
	if (!start(&child, NULL))
		return -1;
	client_open(&c, &child);
	session(&c, &before_copy);
	client_close(&c);
	serve_child_stop(&child);
	serve_child_fini(&child);
	shell("mv %s %s", dir, prepared);
	return before_copy.count == FRAGMENTS ? 0 : -1;
}

static int clean_up(void **state)
{
	(void)state;
	return fault_rig_close();
}

int main(void)
{
#define SWEEP(what) \
	cmocka_unit_test_teardown(serve_survives_##what, \
				  fault_rig_explain)
	const struct CMUnitTest tests[] = {
		SWEEP(a_failed_call_on_a_new_directory),
		SWEEP(a_failed_call),
		SWEEP(a_failed_call_when_its_certificate_is_renewed),
		SWEEP(a_failed_completion),
		SWEEP(a_completion_that_fails_late),
		SWEEP(a_failed_call_of_sqlite),
		SWEEP(a_failed_call_of_sqlite_on_a_new_directory),
		cmocka_unit_test_teardown(
			serve_waits_for_the_port_of_a_killed_service,
			fault_rig_explain),
	};

	return cmocka_run_group_tests(tests, prepare, clean_up);
}
