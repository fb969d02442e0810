/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `kvsd agent` with one call failing: a fake camera and a fake M2M encoder
 * (tests/support/fake_v4l2.h) on the agent's side, a service that is well on
 * the other. Each run is a fresh process. Whatever fails: the agent says no,
 * or opens again and goes on; it ends, leaves nothing open, and what it
 * reports as persisted is there.
 *
 * Time on the agent's side is the fake's, so waits are not waited for.
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
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <kvs/client.h>

#include "agent/agent.h"
#include "base/buf.h"
#include "base/macros.h"
#include "base/sys.h"
#include "core/limits.h"
#include "support/fake_v4l2.h"
#include "support/fault_rig.h"
#include "support/serve_child.h"
#include "support/sys_fault.h"

#define DURATION "4"
#define RUNS_SHORT 40u
#define RUN_S_MAX 30u	/* then it hangs */
#define REPLY_BYTES_MAX (1u << 20)
#define REPORT_BYTES_MAX 8192u

static char config_path[FAULT_PATH_CHARS];
static char report_path[FAULT_PATH_CHARS];
static char log_path[FAULT_PATH_CHARS];
static char credentials_path[FAULT_PATH_CHARS];
static struct serve_child service;
static struct kvs_client *client;
static struct buf reply;

/* Shared with the agent's process. */
struct outcome {
	bool ended;
	bool fired;
	char where[32];
	unsigned long calls;
	size_t fds;
	size_t maps;
	unsigned int opens;
	int fds_before;
	int fds_after;
};

static struct outcome *outcome;

struct fault {
	const char *name;
	const char *only;	/* a call's name, or NULL */
	bool sticky;
	int err;
	unsigned long n;
};

/* --- the agent's process ------------------------------------------------------------ */

static uint64_t wall_ns;	/* at the fake's zero */
static struct sys_ops ops;

/* The fake has one clock; the service wants a date. */
static int agent_clock(clockid_t clock, struct timespec *ret_ts)
{
	uint64_t ns;

	(void)fake_v4l2_ops()->clock_gettime(clock, ret_ts);
	if (clock != CLOCK_REALTIME)
		return 0;
	ns = wall_ns + (uint64_t)ret_ts->tv_sec * NS_PER_S +
	     (uint64_t)ret_ts->tv_nsec;
	ret_ts->tv_sec = (time_t)(ns / NS_PER_S);
	ret_ts->tv_nsec = (long)(ns % NS_PER_S);
	return 0;
}

/*
 * The descriptors of the supervised source: an epoll that watches the fake's
 * camera, which the kernel cannot, and a timer that runs in the fake's time.
 */
#define WATCHED_MAX 8u

static struct {
	int epoll_fd;
	int timer_fd;
	uint64_t timer_ns;	/* 0: not set */
	int fds[WATCHED_MAX];	/* -1: free */
} watch;

static int agent_epoll_create1(int flags)
{
	(void)flags;
	watch.epoll_fd = sys_posix()->eventfd(0, EFD_CLOEXEC);
	return watch.epoll_fd;
}

static int agent_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	int from = op == EPOLL_CTL_ADD ? -1 : fd;
	size_t i;

	(void)event;
	assert_int_equal(epfd, watch.epoll_fd);
	for (i = 0; i < WATCHED_MAX; i++) {
		if (watch.fds[i] != from)
			continue;
		if (op != EPOLL_CTL_MOD)
			watch.fds[i] = op == EPOLL_CTL_ADD ? fd : -1;
		return 0;
	}
	return op == EPOLL_CTL_ADD ? -ENOSPC : -ENOENT;
}

static int agent_timerfd_create(clockid_t clock, int flags)
{
	(void)clock;
	(void)flags;
	watch.timer_fd = sys_posix()->eventfd(0, EFD_CLOEXEC);
	return watch.timer_fd;
}

static int agent_timerfd_settime(int fd, int flags,
				 const struct itimerspec *value)
{
	assert_int_equal(fd, watch.timer_fd);
	assert_true(flags & TFD_TIMER_ABSTIME);
	watch.timer_ns = (uint64_t)value->it_value.tv_sec * NS_PER_S +
			 (uint64_t)value->it_value.tv_nsec;
	return 0;
}

static bool watched_ready(void)
{
	size_t i;

	for (i = 0; i < WATCHED_MAX; i++) {
		struct pollfd fd = { .fd = watch.fds[i], .events = POLLIN };

		if (fd.fd < 0)
			continue;
		if (fd.fd != watch.timer_fd) {
			if (fake_v4l2_ops()->poll(&fd, 1, 0) > 0)
				return true;
		} else if (watch.timer_ns &&
			   sys_now_ns(fake_v4l2_ops(), CLOCK_MONOTONIC) >=
				   watch.timer_ns) {
			return true;
		}
	}
	return false;
}

static int poll_now(struct pollfd *fds, unsigned int count)
{
	int ready = 0;
	unsigned int i;

	for (i = 0; i < count; i++) {
		fds[i].revents = 0;
		if (fds[i].fd != watch.epoll_fd)
			(void)fake_v4l2_ops()->poll(&fds[i], 1, 0);
		else if (watched_ready())
			fds[i].revents = POLLIN;
		ready += fds[i].revents != 0;
	}
	return ready;
}

static int agent_poll(struct pollfd *fds, unsigned int count, int timeout_ms)
{
	uint64_t now_ns = sys_now_ns(fake_v4l2_ops(), CLOCK_MONOTONIC);
	int ready = poll_now(fds, count);
	uint64_t wait_ms;

	if (ready || !timeout_ms)
		return ready;
	assert_true(timeout_ms > 0); /* a wait without a deadline */
	wait_ms = (uint64_t)timeout_ms;
	if (watch.timer_ns > now_ns)
		wait_ms = MIN(wait_ms,
			      (watch.timer_ns - now_ns) / NS_PER_MS + 1);
	/* Time passes. */
	(void)fake_v4l2_ops()->poll(NULL, 0, (int)wait_ms);
	return poll_now(fds, count);
}

static void set_up_ops(void)
{
	size_t i;

	watch.epoll_fd = -1;
	watch.timer_fd = -1;
	watch.timer_ns = 0;
	for (i = 0; i < WATCHED_MAX; i++)
		watch.fds[i] = -1;
	ops = *fake_v4l2_ops();
	ops.clock_gettime = agent_clock;
	ops.epoll_create1 = agent_epoll_create1;
	ops.epoll_ctl = agent_epoll_ctl;
	ops.timerfd_create = agent_timerfd_create;
	ops.timerfd_settime = agent_timerfd_settime;
	ops.poll = agent_poll;
}

static void run_agent(const struct fault *f)
{
	const char *const args[] = { "agent", "--config", config_path,
				     "--duration", DURATION "s", "--report",
				     report_path, NULL };
	int log = open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
		       0600);
	struct fake_v4l2 *camera;
	struct fake_v4l2 *encoder;
	int r;

	(void)dup2(log, STDOUT_FILENO);
	(void)dup2(log, STDERR_FILENO);
	(void)close(log);
	(void)alarm(RUN_S_MAX);
	outcome->fds_before = serve_child_count_fds();
	fake_v4l2_reset();
	camera = fake_v4l2_add(FAKE_CAMERA);
	encoder = fake_v4l2_add(FAKE_ENCODER);
	encoder->gop = 30;
	wall_ns = sys_now_ns(sys_posix(), CLOCK_REALTIME);
	set_up_ops();
	sys_fault_reset();
	sys_fault_wrap(&ops);
	sys_fault_only(f->only);
	if (f->sticky)
		sys_fault_arm_sticky(f->n, f->err);
	else
		sys_fault_arm(f->n, f->err);
	r = agent_main((int)ARRAY_SIZE(args) - 1, (char **)(uintptr_t)args,
		       sys_fault());
	outcome->fired = sys_fault_fired();
	(void)snprintf(outcome->where, sizeof(outcome->where), "%s",
		       sys_fault_where());
	outcome->calls = sys_fault_calls();
	outcome->fds = sys_fault_open_fds();
	outcome->maps = sys_fault_open_maps();
	outcome->opens = camera->opens + encoder->opens;
	outcome->fds_after = serve_child_count_fds();
	outcome->ended = true;
	exit(r);
}

static void write_config(const char *stream)
{
	FILE *f = fopen(config_path, "we");

	assert_non_null(f);
	(void)fprintf(f, "[service]\nendpoint = %s\nregion = us-west-2\n"
		      "ca_bundle = %s\ncredentials = %s\n"
		      "[stream %s]\nfragment = 1s\n"
		      "[source cam]\nkind = camera\nstream = %s\n"
		      "encoder = m2m\n"
		      "encoder_stuck = 0s\n" /* the fakes know one thread */
		      "[agent]\nstop_timeout = 20s\n",
		      service.endpoint, service.ca,
		      credentials_path, stream, stream);
	assert_int_equal(fclose(f), 0);
}

/* --- the service's side ------------------------------------------------------------- */

static int collect(void *ctx, const uint8_t *bytes, size_t len)
{
	(void)ctx;
	return buf_add(&reply, bytes, len);
}

/* Fragments that the service has of @stream. */
static uint64_t count_stored(const char *stream)
{
	static const char name[] = "\"FragmentNumber\"";
	struct kvs_reply r;
	const char *at;
	char json[512];
	uint64_t n = 0;

	(void)snprintf(json, sizeof(json),
		       "{\"StreamName\":\"%s\",\"FragmentSelector\":{"
		       "\"FragmentSelectorType\":\"SERVER_TIMESTAMP\","
		       "\"TimestampRange\":{\"StartTimestamp\":1,"
		       "\"EndTimestamp\":9999999999}}}", stream);
	buf_reset(&reply);
	assert_int_equal(kvs_client_call(client, NULL, "/listFragments", json,
					 strlen(json), collect, NULL, &r), 0);
	if (r.status == 404)
		return 0;
	assert_int_equal(r.status, 200);
	assert_int_equal(buf_add(&reply, "", 1), 0);
	for (at = (const char *)buf_head(&reply); (at = strstr(at, name));
	     at += sizeof(name) - 1)
		n++;
	return n;
}

/* A figure of the one source or the one stream. */
static uint64_t reported(const char *report, const char *name)
{
	char key[64];
	const char *at;

	(void)snprintf(key, sizeof(key), "\"%s\":", name);
	at = strstr(report, key);
	assert_non_null(at);
	return strtoull(at + strlen(key), NULL, 10);
}

static void check_report(const struct fault *f, const char *stream)
{
	static char text[REPORT_BYTES_MAX];
	FILE *in = fopen(report_path, "re");
	size_t len;
	uint64_t persisted;

	assert_non_null(in);
	len = fread(text, 1, sizeof(text) - 1, in);
	(void)fclose(in);
	text[len] = '\0';
	/* Success is to the end of --duration. */
	assert_non_null(strstr(text, "\"duration_s\":" DURATION "."));
	persisted = reported(text, "fragments_persisted");
	assert_int_equal(count_stored(stream), persisted);
	assert_int_equal(reported(text, "fragments_left"), 0);
	assert_int_equal(reported(text, "fragments_dropped"), 0);
	assert_int_equal(reported(text, "fragments_sealed"), persisted);
	/* One fault costs at most one opening of the camera. */
	if (!f->sticky) {
		assert_true(reported(text, "reopened") <= 1);
		assert_true(persisted >= 1);
	}
}

/* --- sweeps --------------------------------------------------------------------------- */

/* Return: the exit code. */
static int run(const struct fault *f)
{
	static unsigned int count;
	char stream[32];
	pid_t pid;
	int status;

	fault_rig_begins(f->name, f->n, f->err);
	memset(outcome, 0, sizeof(*outcome));
	(void)snprintf(stream, sizeof(stream), "agent-%u", count++);
	write_config(stream);
	(void)fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		run_agent(f);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (getenv("VERBOSE"))
		fprintf(stderr, "%s %lu %s: %s, status %x\n", f->name, f->n,
			strerror(-f->err), outcome->where, (unsigned)status);
	assert_true(WIFEXITED(status));
	assert_true(outcome->ended);
	assert_int_equal(outcome->fds, 0);
	assert_int_equal(outcome->maps, 0);
	assert_int_equal(outcome->opens, 0);
	assert_int_equal(outcome->fds_after, outcome->fds_before);
	if (!outcome->fired)
		assert_int_equal(WEXITSTATUS(status), AGENT_EXIT_OK);
	/* Never "media was lost": the service was well. */
	assert_in_range(WEXITSTATUS(status), AGENT_EXIT_OK, AGENT_EXIT_USAGE);
	if (WEXITSTATUS(status) == AGENT_EXIT_OK)
		check_report(f, stream);
	return WEXITSTATUS(status);
}

static void sweep(struct fault *f)
{
	struct fault_steps steps;
	unsigned long total;
	unsigned long survived = 0;
	unsigned long runs = 0;

	f->n = 0;
	assert_int_equal(run(f), AGENT_EXIT_OK);
	total = outcome->calls;
	assert_true(total > 0);
	steps = fault_rig_steps(total, RUNS_SHORT);
	for (f->n = steps.first; f->n <= total; f->n += steps.step) {
		survived += run(f) == AGENT_EXIT_OK;
		runs++;
	}
	printf("%s, %s: %lu of %lu calls, went on after %lu\n", f->name,
	       strerror(-f->err), runs, total, survived);
	fault_rig_ends();
}

static void agent_survives_a_failed_call(void **state)
{
	static const int errors[] = { -EIO, -ENOMEM, -EMFILE, -ENODEV };
	struct fault f = { .name = "call" };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		f.err = errors[i];
		sweep(&f);
	}
}

static void agent_survives_devices_that_die(void **state)
{
	struct fault f = { .name = "ioctl from here on", .only = "ioctl",
			   .sticky = true, .err = -ENODEV };

	(void)state;
	sweep(&f);
}

static int prepare(void **state)
{
	(void)state;
	if (!fault_rig_open("fault_agent"))
		return -1;
	fault_rig_path("conf", config_path);
	fault_rig_path("report", report_path);
	fault_rig_path("log", log_path);
	fault_rig_path("dir/credentials", credentials_path);
	outcome = mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	buf_init(&reply, REPLY_BYTES_MAX);
	if (outcome == MAP_FAILED ||
	    !fault_rig_service("serve.log", &service, &client))
		return -1;
	return 0;
}

static int clean_up(void **state)
{
	(void)state;
	buf_fini(&reply);
	fault_rig_service_end(&service, client);
	(void)munmap(outcome, sizeof(*outcome));
	return fault_rig_close();
}

int main(void)
{
#define SWEEP(f) cmocka_unit_test_teardown(f, fault_rig_explain)
	const struct CMUnitTest tests[] = {
		SWEEP(agent_survives_a_failed_call),
		SWEEP(agent_survives_devices_that_die),
	};

	return cmocka_run_group_tests(tests, prepare, clean_up);
}
