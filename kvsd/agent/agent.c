/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device role: sources and encoders on this thread, the network on the
 * producers'. See DESIGN.md beside this file.
 */
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/config.h"
#include "agent/credentials.h"
#include "agent/feed.h"
#include "agent/report.h"
#include "agent/stream.h"
#include "base/log.h"
#include "base/parse.h"
#include "core/clock_map.h"
#include "core/limits.h"
#include "io/tls.h"

#define TURN_NS_MAX NS_PER_S
#define REPORT_BYTES_MAX (64u << 10)
#define FDS_MAX (1 + AGENT_SOURCES_MAX * PIPELINE_FDS_MAX)

struct options {
	const char *config;
	const char *report;
	const char *tap;
	bool check;
	uint64_t duration_ns;	/* 0 = until a signal */
};

struct agent {
	const struct sys_ops *sys;
	struct options options;
	struct agent_config config;
	int stop_fd;
	struct feed_clock clock;
	uint64_t start_ns;
	struct stream streams[AGENT_STREAMS_MAX];
	struct feed feeds[AGENT_SOURCES_MAX];
};

/* Signal handlers have no argument to hang it on. */
static volatile sig_atomic_t stop_signal_fd = -1;

static void on_signal(int number)
{
	const uint64_t one = 1;
	int saved = errno;

	(void)number;
	/* A full counter means that it is known already. */
	(void)!write(stop_signal_fd, &one, sizeof(one));
	errno = saved;
}

/* --- time ---------------------------------------------------------------------------- */

/*
 * A constant but for a suspend, so the look that was disturbed least says it.
 * A suspend makes it another one.
 */
static void sample_boot(struct feed_clock *c, uint64_t before_ns,
			uint64_t boot_ns, uint64_t after_ns)
{
	uint64_t width_ns = after_ns - before_ns + 1;
	int64_t offset_ns = (int64_t)(boot_ns - before_ns - width_ns / 2);
	int64_t off_ns = offset_ns - c->boot_offset_ns;
	int64_t slack_ns = (int64_t)(width_ns + c->boot_width_ns);

	if (c->boot_width_ns && width_ns >= c->boot_width_ns &&
	    off_ns <= slack_ns && off_ns >= -slack_ns)
		return;
	c->boot_offset_ns = offset_ns;
	c->boot_width_ns = width_ns;
}

static void sample_clock(struct agent *a)
{
	struct clock_map *map = &a->clock.map;
	uint64_t before_ns = sys_now_ns(a->sys, CLOCK_MONOTONIC);
	uint64_t wall_ns = sys_now_ns(a->sys, CLOCK_REALTIME);
	uint64_t after_ns = sys_now_ns(a->sys, CLOCK_MONOTONIC);
	uint64_t boot_ns = sys_now_ns(a->sys, CLOCK_BOOTTIME);
	uint64_t last_ns = sys_now_ns(a->sys, CLOCK_MONOTONIC);
	bool first = !map->known;
	bool stepped = clock_map_sample(map, before_ns, wall_ns, after_ns) &&
		       !first;

	sample_boot(&a->clock, after_ns, boot_ns, last_ns);
	if (stepped)
		log_warn("agent", "the wall clock was stepped: epoch %u%s",
			 map->epoch, map->held ?
			 "; it went back, media time goes on" : "");
	for (size_t i = 0; i < a->config.source_count && stepped; i++)
		/* a jump ends the fragment: begin decodable */
		if (a->feeds[i].pipeline)
			pipeline_force_key(a->feeds[i].pipeline);
	for (size_t i = 0; i < a->config.stream_count; i++)
		stream_set_offset(&a->streams[i], map->offset_ns);
}

/* --- the loop ------------------------------------------------------------------------ */

static int wait_ms(const struct agent *a, uint64_t now_ns)
{
	uint64_t at_ns = now_ns + TURN_NS_MAX;

	for (size_t i = 0; i < a->config.source_count; i++)
		at_ns = MIN(at_ns, pipeline_deadline_ns(a->feeds[i].pipeline));
	if (a->options.duration_ns)
		at_ns = MIN(at_ns, a->start_ns + a->options.duration_ns);
	/* Rounded up, or the last millisecond is spent turning. */
	return at_ns <= now_ns ? 0 : (int)((at_ns - now_ns) / NS_PER_MS + 1);
}

static bool any_ready(const struct pollfd *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (fds[i].revents)
			return true;
	return false;
}

static void run_feed(struct agent *a, struct feed *f, uint64_t now_ns)
{
	uint64_t took_ns = sys_now_ns(a->sys, CLOCK_MONOTONIC);

	pipeline_run(f->pipeline, now_ns);
	took_ns = sys_now_ns(a->sys, CLOCK_MONOTONIC) - took_ns;
	f->busy_ns += took_ns;
	f->busy_ns_max = MAX(f->busy_ns_max, took_ns);
}

/* Return: 1 go on, 0 stop, -errno. */
static int turn(struct agent *a)
{
	struct pollfd fds[FDS_MAX] = {
		{ .fd = a->stop_fd, .events = POLLIN },
	};
	size_t first[AGENT_SOURCES_MAX + 1] = { 0 };
	uint64_t now_ns = sys_now_ns(a->sys, CLOCK_MONOTONIC);
	size_t count = 1;
	int r;

	for (size_t i = 0; i < a->config.source_count; i++) {
		first[i] = count;
		count += pipeline_fds(a->feeds[i].pipeline, fds + count);
	}
	first[a->config.source_count] = count;
	r = a->sys->poll(fds, (unsigned int)count, wait_ms(a, now_ns));
	if (r < 0 && r != -EINTR)
		return r;
	if (r > 0 && fds[0].revents)
		return 0;
	now_ns = sys_now_ns(a->sys, CLOCK_MONOTONIC);
	if (a->options.duration_ns &&
	    now_ns >= a->start_ns + a->options.duration_ns)
		return 0;
	sample_clock(a);
	for (size_t i = 0; i < a->config.source_count; i++) {
		struct pipeline *p = a->feeds[i].pipeline;

		if ((r > 0 && any_ready(fds + first[i],
					first[i + 1] - first[i])) ||
		    now_ns >= pipeline_deadline_ns(p))
			run_feed(a, &a->feeds[i], now_ns);
	}
	return 1;
}

/* --- the beginning ------------------------------------------------------------------- */

/* All of them, so that all that is wrong is told at once. */
static int open_feeds(struct agent *a)
{
	int first = 0;

	for (size_t i = 0; i < a->config.source_count; i++) {
		const struct agent_source *s = &a->config.sources[i];
		int r = feed_open(&a->feeds[i], a->sys, s, &a->clock,
				  &a->streams[s->stream],
				  a->options.tap != NULL);

		if (first == 0)
			first = r;
	}
	return first;
}

/* Gives each output of this rank its track. */
static void add_tracks(struct agent *a, unsigned int rank)
{
	for (size_t i = 0; i < a->config.source_count; i++) {
		struct feed *f = &a->feeds[i];
		struct stream *s = f->stream;

		for (size_t j = 0; j < f->output_count; j++) {
			struct feed_output *o = &f->outputs[j];

			if (track_rank(f->config, &o->info) != rank)
				continue;
			o->track = (uint32_t)s->track_count++;
			s->late_ms = MAX(s->late_ms, o->info.late_ms);
			track_describe(f->config, j == 1, &o->info,
				       &s->tracks[o->track]);
		}
	}
}

/* Return: 0, or what failed; the log says what. */
static int start(struct agent *a)
{
	int r = open_feeds(a);

	for (unsigned int rank = 0; rank < TRACK_RANKS && r == 0; rank++)
		add_tracks(a, rank);
	for (size_t i = 0; i < a->config.stream_count && r == 0; i++)
		r = stream_start(&a->streams[i], &a->config);
	for (size_t i = 0; i < a->config.source_count && r == 0; i++) {
		if (a->options.tap)
			r = feed_tap(&a->feeds[i], a->options.tap);
		if (r == 0)
			r = feed_start(&a->feeds[i]);
	}
	return r;
}

static void status_output(const struct feed *f, const struct feed_output *o)
{
	char codec[5];

	fourcc_text(o->info.codec, codec);
	printf("; track %u of %s: %s (%s%s%s)", o->track + 1,
	       f->stream->config->name, codec, o->info.encoder,
	       o->info.threaded ? ", on a thread of its own" : "",
	       o->info.source_imported ? ", imports the source's memory" : "");
}

static void status_line(const struct feed *f)
{
	const struct pipeline_info *i = &f->info;
	char format[5];

	fourcc_text(i->format.fourcc, format);
	printf("kvsd agent: %s: %s", f->config->name,
	       agent_kind_name(f->config->kind));
	if (i->path[0])
		printf(" %s", i->path);
	if (i->card[0])
		printf(" '%s'", i->card);
	printf(" %s", format);
	if (i->format.media == CAPTURE_MEDIA_PICTURE)
		printf(" %ux%u at %u/%u", i->format.width, i->format.height,
		       i->format.rate_num, i->format.rate_den);
	if (i->format.media == CAPTURE_MEDIA_SAMPLES)
		printf(" %u Hz, %u channels", i->format.sample_rate,
		       i->format.channels);
	printf(", memory rung %s, %llu KiB", capture_rung_name(i->rung),
	       (unsigned long long)(i->memory_bytes / 1024));
	for (size_t j = 0; j < f->output_count; j++)
		status_output(f, &f->outputs[j]);
	printf("\n");
	(void)fflush(stdout);
}

/* --- the end ------------------------------------------------------------------------ */

static int write_report(struct agent *a, const struct report *r)
{
	struct buf b;
	FILE *out = stdout;
	int e;

	buf_init(&b, REPORT_BYTES_MAX);
	e = report_write(r, &b);
	if (e == 0 && a->options.report) {
		out = fopen(a->options.report, "we");
		e = out ? 0 : -errno;
	}
	if (e == 0) {
		if (fwrite(buf_head(&b), 1, buf_len(&b), out) != buf_len(&b))
			e = -EIO;
		if (fflush(out))
			e = -EIO;
	}
	if (out && out != stdout)
		(void)fclose(out);
	buf_fini(&b);
	if (e < 0)
		log_error("agent", "report: %s", strerror(-e));
	return e;
}

/* One turn of all encoders' ends. Return: whether there is one more. */
static bool drain_turn(struct agent *a, uint64_t deadline_ns)
{
	struct pollfd fds[FDS_MAX];
	uint64_t now_ns = sys_now_ns(a->sys, CLOCK_MONOTONIC);
	uint64_t at_ns = deadline_ns;
	size_t count = 0;
	int r;

	for (size_t i = 0; i < a->config.source_count; i++) {
		struct pipeline *p = a->feeds[i].pipeline;

		count += pipeline_drain(p, fds + count);
		at_ns = MIN(at_ns, pipeline_deadline_ns(p));
	}
	if (!count || now_ns >= deadline_ns)
		return false;
	r = a->sys->poll(fds, (unsigned int)count, at_ns <= now_ns ? 0 :
			 (int)((at_ns - now_ns) / NS_PER_MS + 1));
	/* A second SIGTERM ends nothing sooner. */
	return r >= 0 || r == -EINTR;
}

/* All sources stop at once, and what they gave is put. */
static void close_feeds(struct agent *a)
{
	uint64_t deadline_ns = sys_now_ns(a->sys, CLOCK_MONOTONIC) +
			       ENCODE_DRAIN_NS_MAX;

	for (size_t i = 0; i < a->config.source_count; i++)
		pipeline_stop(a->feeds[i].pipeline);
	while (drain_turn(a, deadline_ns))
		;
	for (size_t i = 0; i < a->config.source_count; i++) {
		pipeline_end(a->feeds[i].pipeline);
		feed_close(&a->feeds[i]);
	}
}

/* "8123" or "8123 (81.230 K)". */
static void say_count(const char *name, uint32_t count, bool radiometric,
		      int64_t mk)
{
	printf(", %s %u", name, count);
	if (radiometric)
		printf(" (%s%lld.%03lld K)", mk < 0 ? "-" : "",
		       (long long)(mk < 0 ? -mk : mk) / 1000,
		       (long long)(mk < 0 ? -mk : mk) % 1000);
}

/* What the last picture of a thermal core that was looked at measured. */
static void thermal_line(const struct feed *f, const struct feed_output *o)
{
	const struct capture_thermal_reading *r = &o->stats.reading;

	if (!o->stats.has_reading)
		return;
	printf("kvsd agent: %s: ", f->stream->tracks[o->track].name);
	if (o->stats.thermal.frames)
		printf("shows counts %u to %u; ", o->stats.thermal.shown_min,
		       o->stats.thermal.shown_max);
	printf("picture %u", r->sequence);
	say_count("min", r->coldest.count, r->radiometric,
		  r->coldest.temperature_mk);
	say_count("max", r->hottest.count, r->radiometric,
		  r->hottest.temperature_mk);
	say_count("mean", r->mean, r->radiometric, r->mean_mk);
	say_count("spot", r->spot.count, r->radiometric,
		  r->spot.temperature_mk);
	printf("\n");
}

/* @why: 0, or the error that ends it untimely. Return: an exit code. */
static int finish(struct agent *a, int why)
{
	struct report r = {
		.feeds = a->feeds,
		.feed_count = a->config.source_count,
		.streams = a->streams,
		.stream_count = a->config.stream_count,
		.clock_epoch = a->clock.map.epoch,
	};
	uint64_t deadline_ns;
	int left = 0;
	int e;

	r.duration_ns = sys_now_ns(a->sys, CLOCK_MONOTONIC) - a->start_ns;
	close_feeds(a);
	for (size_t i = 0; i < a->config.stream_count; i++)
		stream_end(&a->streams[i]);
	deadline_ns = sys_now_ns(a->sys, CLOCK_MONOTONIC) +
		      a->config.stop_timeout_ns;
	for (size_t i = 0; i < a->config.stream_count; i++) {
		stream_finish(&a->streams[i], deadline_ns);
		left += a->streams[i].left;
	}
	for (size_t i = 0; i < a->config.source_count; i++)
		for (size_t j = 0; j < a->feeds[i].output_count; j++)
			thermal_line(&a->feeds[i], &a->feeds[i].outputs[j]);
	(void)fflush(stdout);
	e = write_report(a, &r);
	if (left)
		return AGENT_EXIT_LEFT;
	return e < 0 || why < 0 ? AGENT_EXIT_FAILED : AGENT_EXIT_OK;
}

static int catch_signals(struct agent *a)
{
	struct sigaction action = { .sa_handler = on_signal };

	a->stop_fd = a->sys->eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (a->stop_fd < 0)
		return a->stop_fd;
	stop_signal_fd = a->stop_fd;
	(void)sigemptyset(&action.sa_mask);
	if (sigaction(SIGTERM, &action, NULL) < 0 ||
	    sigaction(SIGINT, &action, NULL) < 0)
		return -errno;
	return 0;
}

static int run(struct agent *a)
{
	int r = catch_signals(a);

	if (r < 0) {
		log_error("agent", "signals: %s", strerror(-r));
		return AGENT_EXIT_FAILED;
	}
	sample_clock(a);
	if (start(a) < 0)
		return AGENT_EXIT_FAILED;
	a->start_ns = sys_now_ns(a->sys, CLOCK_MONOTONIC);
	for (size_t i = 0; i < a->config.source_count; i++)
		status_line(&a->feeds[i]);
	do
		r = turn(a);
	while (r > 0);
	if (r < 0)
		log_error("agent", "poll: %s", strerror(-r));
	return finish(a, r);
}

/* --- command line -------------------------------------------------------------------- */

static const char usage[] =
	"usage: kvsd agent --config FILE [--check] [--duration TIME] "
	"[--report FILE] [--tap DIR]\n"
	"\n"
	"  --config FILE    see agent.conf.example\n"
	"  --check          only read it, and the credentials: exit 0 or 2\n"
	"  --duration TIME  stop after 10s, 5min, ...\n"
	"  --report FILE    write the JSON report there, not to stdout\n"
	"  --tap DIR        for bring-up: also write each raw frame that is\n"
	"                   encoded to DIR/TRACK/raw, a line per frame to\n"
	"                   DIR/TRACK/frames\n"
	"\n"
	"SIGTERM and SIGINT end the fragments, wait for the acknowledgements\n"
	"(stop_timeout) and report. Exit: 0 all is safe, 1 cannot work, 2 usage\n"
	"or configuration, 3 media was not acknowledged in time.\n";

/* Return: 1 go on, 0 help was asked for, -EINVAL. */
static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "report", required_argument, NULL, 'r' },
		{ "tap", required_argument, NULL, 't' },
		{ "duration", required_argument, NULL, 'd' },
		{ "check", no_argument, NULL, 'k' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int opt;

	memset(o, 0, sizeof(*o));
	optind = 1;
	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (opt == 'c')
			o->config = optarg;
		else if (opt == 'r')
			o->report = optarg;
		else if (opt == 't')
			o->tap = optarg;
		else if (opt == 'k')
			o->check = true;
		else if (opt == 'h')
			return 0;
		else if (opt != 'd' ||
			 parse_duration_ns(optarg, &o->duration_ns) < 0)
			return -EINVAL;
	}
	return o->config && optind == argc ? 1 : -EINVAL;
}

/* What --check looks at besides the file. Return: an exit code. */
static int check(const struct agent *a)
{
	const struct agent_config *c = &a->config;
	struct credentials keys;
	struct tls_ctx *tls;
	char error[AGENT_ERROR_CHARS];
	int r;

	r = credentials_find(a->sys, c->credentials, c->profile, &keys, error,
			     sizeof(error));
	if (r < 0) {
		(void)fprintf(stderr, "%s\n", error);
		return AGENT_EXIT_USAGE;
	}
	credentials_fini(&keys);
	if (c->ca_bundle[0]) {
		r = tls_ctx_new_client(c->ca_bundle, &tls);
		if (r < 0) {
			(void)fprintf(stderr, "%s: [service] ca_bundle: %s\n",
				      a->options.config, strerror(-r));
			return AGENT_EXIT_USAGE;
		}
		(void)tls_ctx_free(tls);
	}
	printf("%s: good\n", a->options.config);
	return AGENT_EXIT_OK;
}

static int with_config(struct agent *a)
{
	char error[AGENT_ERROR_CHARS];
	int code;

	if (agent_config_read(a->sys, a->options.config, &a->config, error) < 0) {
		(void)fprintf(stderr, "%s\n", error);
		return AGENT_EXIT_USAGE;
	}
	if (a->config.debug)
		log_set_level(LOG_DEBUG);
	if (a->options.check)
		return check(a);
	for (size_t i = 0; i < a->config.stream_count; i++)
		stream_init(&a->streams[i], a->sys, &a->config.streams[i]);
	code = run(a);
	for (size_t i = 0; i < a->config.source_count; i++)
		feed_close(&a->feeds[i]);
	for (size_t i = 0; i < a->config.stream_count; i++)
		stream_fini(&a->streams[i]);
	sys_close(a->sys, &a->stop_fd);
	return code;
}

int agent_main(int argc, char **argv, const struct sys_ops *sys)
{
	struct agent *a;
	struct options options;
	int r = parse_options(argc, argv, &options);

	if (r <= 0) {
		(void)fputs(usage, r ? stderr : stdout);
		return r ? AGENT_EXIT_USAGE : AGENT_EXIT_OK;
	}
	/* One heap, given back early: a device counts its memory. */
	(void)mallopt(M_ARENA_MAX, 1);
	(void)mallopt(M_TRIM_THRESHOLD, 64 << 10);
	(void)mallopt(M_MMAP_THRESHOLD, 64 << 10);
	a = calloc(1, sizeof(*a));
	if (!a)
		return AGENT_EXIT_FAILED;
	a->sys = sys;
	a->options = options;
	a->stop_fd = -EBADF;
	r = with_config(a);
	free(a);
	return r;
}
