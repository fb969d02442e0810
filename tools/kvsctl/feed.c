/* SPDX-License-Identifier: Apache-2.0 */
/* kvsctl feed: clocks that tsalign.ko cannot hear by itself. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <capture/feed.h>
#include <jansson.h>

#include "base/macros.h"
#include "base/parse.h"
#include "base/sys.h"
#include "kvsctl/ctl.h"
#include "kvsctl/limits.h"
#include "kvsctl/output.h"

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)
#define WAIT_MS 1000

struct feed {
	const char *kind;
	const char *name;
	char path[256];
	struct capture_feed *source;
};

struct feeds {
	struct feed all[CTL_POSITIONALS_MAX];
	size_t count;
};

static volatile sig_atomic_t interrupted;

static void interrupt(int signal)
{
	(void)signal;
	interrupted = 1;
}

static uint64_t now_ns(void)
{
	return sys_now_ns(sys_posix(), CLOCK_MONOTONIC);
}

static const struct {
	const char *name;
	enum capture_feed_kind kind;
} kinds[] = {
	{"ptp", CAPTURE_FEED_PTP},
	{"pps", CAPTURE_FEED_PPS},
	{"fsync", CAPTURE_FEED_FRAME_SYNC},
};

/* KIND:PATH[=NAME]. Return: the place in @kinds, or -1. */
static int take_operand(struct feed *f, const char *text)
{
	const char *path = strchr(text, ':');
	const char *name = strrchr(text, '=');
	const char *end = name ? name : text + strlen(text);
	size_t i;

	if (!path || end <= path + 1 || (size_t)(end - path) > sizeof(f->path))
		return -1;
	memcpy(f->path, path + 1, (size_t)(end - path - 1));
	f->path[end - path - 1] = '\0';
	if (name)
		f->name = name + 1;
	else
		f->name = strrchr(f->path, '/') ? strrchr(f->path, '/') + 1
						: f->path;
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		f->kind = kinds[i].name;
		if (strlen(f->kind) == (size_t)(path - text) &&
		    !memcmp(text, f->kind, strlen(f->kind)))
			return (int)i;
	}
	return -1;
}

static int explain(const struct feed *f, int r)
{
	if (r == -ENODEV)
		return ctl_fail(CTL_LACKING, "%s: %s", f->path,
				"it has gone, or the module tsalign is not "
				"loaded");
	if (r == -EACCES || r == -EPERM)
		return ctl_fail(CTL_LACKING, "%s or /dev/tsalign: %s", f->path,
				strerror(-r));
	if (r == -EPROTO)
		return ctl_fail(CTL_LACKING, "tsalign is of another version");
	if (r == -EEXIST)
		return ctl_fail(CTL_LOCAL, "tsalign has a stream '%s' already",
				f->name);
	if (r == -ENOSPC)
		return ctl_fail(CTL_LOCAL, "tsalign has no room for '%s'",
				f->name);
	if (r == -EOPNOTSUPP)
		return ctl_fail(CTL_LOCAL, "%s is no such device: %s", f->path,
				f->kind);
	if (r == -EINVAL)
		return ctl_fail(CTL_USAGE,
				"%s: '%s' is no name for a stream, or the "
				"device captures no edge",
				f->path, f->name);
	return ctl_fail(CTL_LOCAL, "%s: %s", f->path, strerror(-r));
}

static int open_feeds(struct feeds *s, const struct args *args)
{
	for (size_t i = 0; i < args->count; i++) {
		struct feed *f = &s->all[s->count];
		int kind = take_operand(f, args->operands[i]);
		int r;

		if (kind < 0)
			return ctl_fail(CTL_USAGE,
					"'%s' is not ptp:, pps: or fsync: and "
					"a path",
					args->operands[i]);
		r = capture_feed_open(NULL, kinds[kind].kind, f->path, f->name,
				      &f->source);
		if (r < 0)
			return explain(f, r);
		s->count++;
	}
	return CTL_OK;
}

static int turn(struct feeds *s, int wait_ms)
{
	struct pollfd fds[CTL_POSITIONALS_MAX];
	size_t i;
	int r;

	for (i = 0; i < s->count; i++)
		fds[i] = (struct pollfd){
			.fd = capture_feed_fd(s->all[i].source),
			.events = capture_feed_events(s->all[i].source),
		};
	r = sys_posix()->poll(fds, (unsigned int)s->count, wait_ms);
	if (r == -EINTR)
		return CTL_OK;
	if (r < 0)
		return ctl_fail(CTL_LOCAL, "poll: %s", strerror(-r));
	for (i = 0; i < s->count; i++) {
		r = fds[i].revents ? capture_feed_turn(s->all[i].source) : 0;
		if (r < 0)
			return explain(&s->all[i], r);
	}
	return CTL_OK;
}

static int run(struct feeds *s, uint64_t seconds)
{
	const struct sigaction action = {.sa_handler = interrupt};
	uint64_t end_ns = seconds ? now_ns() + seconds * NS_PER_S : UINT64_MAX;
	int code = CTL_OK;

	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	while (code == CTL_OK && !interrupted) {
		uint64_t now = now_ns();

		if (now >= end_ns)
			break;
		code = turn(s, (int)MIN((end_ns - now) / NS_PER_MS + 1,
					(uint64_t)WAIT_MS));
	}
	return code;
}

static int print_json(const struct feeds *s)
{
	json_t *array = json_array();
	json_t *report;
	int code;

	for (size_t i = 0; i < s->count; i++) {
		const struct feed *f = &s->all[i];
		struct capture_feed_stats at;

		capture_feed_stats(f->source, &at);
		(void)json_array_append_new(
			array,
			json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I}", "kind",
				  f->kind, "path", f->path, "name", f->name,
				  "pairs", (json_int_t)at.pairs, "stale",
				  (json_int_t)at.stale, "missed",
				  (json_int_t)at.missed, "width_ns",
				  (json_int_t)at.width_ns));
	}
	report = json_pack("{s:o}", "feeds", array);
	code = output_json(report);
	json_decref(report);
	return code;
}

static void print_text(const struct feeds *s)
{
	for (size_t i = 0; i < s->count; i++) {
		struct capture_feed_stats at;

		capture_feed_stats(s->all[i].source, &at);
		printf("%s: %" PRIu64 " pairs of %s, the last within %" PRIu64
		       " ns\n",
		       s->all[i].name, at.pairs, s->all[i].path, at.width_ns);
	}
}

int feed_command(struct ctl *ctl, int argc, char **argv)
{
	const char *seconds_text = NULL;
	const struct arg_option options[] = {
		{"seconds", 0, NULL, &seconds_text, NULL},
		{NULL, 0, NULL, NULL, NULL},
	};
	struct feeds s = {0};
	uint64_t seconds = 0;
	struct args args;
	bool over;
	int code;

	code = ctl_args(ctl, argc, argv, options, "KIND:PATH[=NAME]...", 1,
			CTL_POSITIONALS_MAX, &args, &over);
	if (code != CTL_OK || over)
		return code;
	if (seconds_text && (parse_u64(seconds_text, strlen(seconds_text),
				       CTL_FEED_SECONDS_MAX, &seconds) < 0 ||
			     !seconds))
		return ctl_fail(CTL_USAGE,
				"--seconds '%s' is not a number from 1 to %u",
				seconds_text, CTL_FEED_SECONDS_MAX);
	code = open_feeds(&s, &args);
	if (code == CTL_OK)
		code = run(&s, seconds);
	if (code == CTL_OK && ctl->json)
		code = print_json(&s);
	else if (code == CTL_OK)
		print_text(&s);
	for (size_t i = 0; i < s.count; i++)
		(void)capture_feed_close(s.all[i].source);
	return code;
}
