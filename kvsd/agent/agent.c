/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device role: camera and encoder on this thread, the network on the
 * producer's. See DESIGN.md beside this file.
 */
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <kvs/producer.h>

#include "agent/config.h"
#include "agent/credentials.h"
#include "agent/pipeline.h"
#include "agent/report.h"
#include "agent/tap.h"
#include "base/log.h"
#include "base/parse.h"
#include "core/backoff.h"
#include "core/clock_map.h"
#include "core/limits.h"
#include "io/tls.h"
#include "proto/mkv_writer.h"

#define REOPEN_NS_MIN NS_PER_S
#define REOPEN_NS_MAX (30 * NS_PER_S)
#define TURN_NS_MAX NS_PER_S
#define REPORT_BYTES_MAX (16u << 10)
#define CAUSE_CHARS PIPELINE_ERROR_CHARS

struct options {
	const char *config;
	const char *report;
	const char *tap;
	bool check;
	uint64_t duration_ns;	/* 0 = until a signal */
};

/* A trouble is told once until another one, or none, takes its place. */
struct cause {
	char text[CAUSE_CHARS];
};

struct agent {
	const struct sys_ops *sys;
	struct options options;
	struct agent_config config;
	int stop_fd;
	struct tap *tap;		/* NULL: not asked for */
	struct pipeline *pipeline;
	struct pipeline_info info;	/* of the first that opened */
	struct pipeline_stats closed;	/* of pipelines that are gone */
	struct kvs_producer *producer;
	struct clock_map clock;
	struct backoff backoff;
	uint64_t start_ns;
	uint64_t reopen_ns;
	uint64_t reopened;
	struct cause camera_cause;
	struct cause frame_cause;

	/* Shared with the producer's thread. */
	pthread_mutex_t lock;
	int64_t offset_ns;		/* clock.offset_ns */
	struct histogram latency_us;
	struct cause service_cause;	/* producer's thread alone */
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

static void tell_once(struct cause *c, enum log_level level, const char *text)
{
	if (strncmp(c->text, text, sizeof(c->text) - 1) == 0)
		return;
	(void)snprintf(c->text, sizeof(c->text), "%s", text);
	log_line(level, "agent", "%s", text);
}

/* --- the service's events, on the producer's thread ------------------------------ */

static void persisted(struct agent *a, const struct kvs_event *e)
{
	uint64_t now_ns;

	(void)pthread_mutex_lock(&a->lock);
	now_ns = sys_now_ns(a->sys, CLOCK_MONOTONIC) + (uint64_t)a->offset_ns;
	if (now_ns > e->newest_frame_ns)
		histogram_add(&a->latency_us,
			      (now_ns - e->newest_frame_ns) / 1000);
	(void)pthread_mutex_unlock(&a->lock);
}

static void on_event(void *ctx, const struct kvs_event *e)
{
	struct agent *a = ctx;
	char text[CAUSE_CHARS];

	switch (e->kind) {
	case KVS_EVENT_CONNECTED:
		tell_once(&a->service_cause, LOG_INFO, "uploading");
		return;
	case KVS_EVENT_DISCONNECTED:
		(void)snprintf(text, sizeof(text), "not connected: %s",
			       e->text ? e->text : "");
		tell_once(&a->service_cause, LOG_WARN, text);
		return;
	case KVS_EVENT_REFUSED:
		(void)snprintf(text, sizeof(text), "the service refuses: %s",
			       e->text ? e->text : "");
		tell_once(&a->service_cause, LOG_ERROR, text);
		return;
	case KVS_EVENT_ERROR_ACK:
		log_warn("agent", "fragment %llu: error %d %s",
			 (unsigned long long)e->timecode_ms, e->error_id,
			 e->text ? e->text : "");
		return;
	case KVS_EVENT_DROPPED:
		log_warn("agent", "fragment %llu dropped: %s",
			 (unsigned long long)e->timecode_ms,
			 e->text ? e->text : "");
		return;
	case KVS_EVENT_PERSISTED:
		persisted(a, e);
		return;
	case KVS_EVENT_BUFFERING:
	case KVS_EVENT_RECEIVED:
		return;
	}
}

/* --- frames ------------------------------------------------------------------------ */

static void sample_clock(struct agent *a)
{
	uint64_t before_ns = sys_now_ns(a->sys, CLOCK_MONOTONIC);
	uint64_t wall_ns = sys_now_ns(a->sys, CLOCK_REALTIME);
	uint64_t after_ns = sys_now_ns(a->sys, CLOCK_MONOTONIC);
	bool first = !a->clock.known;

	if (clock_map_sample(&a->clock, before_ns, wall_ns, after_ns) &&
	    !first) {
		log_warn("agent", "the wall clock was stepped: epoch %u%s",
			 a->clock.epoch, a->clock.held ?
			 "; it went back, media time goes on" : "");
		if (a->pipeline) /* a jump ends the fragment: begin decodable */
			pipeline_force_key(a->pipeline);
	}
	(void)pthread_mutex_lock(&a->lock);
	a->offset_ns = a->clock.offset_ns;
	(void)pthread_mutex_unlock(&a->lock);
}

static void put_frame(void *ctx, const struct pipeline_frame *f)
{
	struct agent *a = ctx;
	uint64_t now_ns = sys_now_ns(a->sys, CLOCK_MONOTONIC);
	uint64_t stamp_ns = f->stamp_ns ? f->stamp_ns : now_ns;
	struct kvs_frame frame = {
		.data = f->data,
		.bytes = f->bytes,
		.time_ns = clock_map_ns(&a->clock, stamp_ns),
		.key = f->key,
		.raw_stamp_ns = stamp_ns,
		.raw_clock = CLOCK_MONOTONIC,
		.sigma_ns = f->stamp_ns ? clock_map_sigma_ns(&a->clock) : 0,
		.epoch = a->clock.epoch,
		.meaning = !f->stamp_ns ? KVS_STAMP_UNKNOWN :
			   f->at_exposure_start ? KVS_STAMP_START_OF_EXPOSURE :
						  KVS_STAMP_END_OF_FRAME,
	};
	char text[CAUSE_CHARS];
	int r = kvs_producer_put_frame(a->producer, &frame);

	if (a->tap && r == 0)
		tap_frame(a->tap, &frame);
	if (r == 0) {
		a->frame_cause.text[0] = '\0';
	} else if (r != -EAGAIN) { /* before the first key frame */
		(void)snprintf(text, sizeof(text), "frames are refused: %s",
			       strerror(-r));
		tell_once(&a->frame_cause, LOG_WARN, text);
	}
}

static void raw_frame(void *ctx, const struct capture_frame *f)
{
	struct agent *a = ctx;

	if (a->tap)
		tap_raw(a->tap, f);
}

static const struct pipeline_calls calls = {
	.frame = put_frame,
	.raw = raw_frame,
};

/* --- the producer ------------------------------------------------------------------ */

/* What the encoder's codec is called in Matroska. */
static void describe_track(const struct pipeline_info *i, struct kvs_track *t,
			   uint8_t bitmapinfo[MKV_BITMAPINFO_BYTES])
{
	*t = (struct kvs_track){
		.kind = KVS_TRACK_VIDEO,
		.payload = KVS_PAYLOAD_OPAQUE,
		.name = "video",
		.width = i->format.width,
		.height = i->format.height,
	};
	if (i->codec == CAPTURE_FORMAT_H264) {
		t->payload = KVS_PAYLOAD_H264_ANNEXB;
		t->codec_id = "V_MPEG4/ISO/AVC";
	} else if (i->codec == CAPTURE_FORMAT_HEVC) {
		t->payload = KVS_PAYLOAD_H265_ANNEXB;
		t->codec_id = "V_MPEGH/ISO/HEVC";
	} else if (i->codec == CAPTURE_FORMAT_MJPG ||
		   i->codec == CAPTURE_FORMAT_JPEG) {
		t->codec_id = "V_MJPEG";
	} else {
		t->codec_id = "V_MS/VFW/FOURCC";
		mkv_bitmapinfo(bitmapinfo, i->codec, i->format.width,
			       i->format.height);
		t->codec_private = bitmapinfo;
		t->codec_private_bytes = MKV_BITMAPINFO_BYTES;
	}
}

static int start_producer(struct agent *a)
{
	const struct agent_config *c = &a->config;
	uint8_t bitmapinfo[MKV_BITMAPINFO_BYTES];
	struct credentials keys;
	struct kvs_track track;
	char error[AGENT_ERROR_CHARS];
	struct kvs_producer_config config = {
		.client = {
			.endpoint = c->endpoint[0] ? c->endpoint : NULL,
			.region = c->region,
			.ca_bundle = c->ca_bundle[0] ? c->ca_bundle : NULL,
			.user_agent = "kvsd-agent/0.1",
		},
		.stream_name = c->stream,
		.create_stream = c->create,
		.retention_hours = c->retention_hours,
		.tracks = &track,
		.track_count = 1,
		.fragment_ms = c->fragment_ms,
		.store_bytes = (size_t)c->store_bytes,
		.when_full = KVS_FULL_DROP_OLDEST,
		.event = on_event,
		.event_ctx = a,
	};
	int r;

	describe_track(&a->info, &track, bitmapinfo);
	r = credentials_find(a->sys, c->credentials, c->profile, &keys, error,
			     sizeof(error));
	if (r < 0) {
		log_error("agent", "%s", error);
		return r;
	}
	config.client.credentials.access_key_id = keys.access_key_id;
	config.client.credentials.secret_access_key = keys.secret_access_key;
	config.client.credentials.session_token = keys.session_token;
	r = kvs_producer_new(&config, &a->producer);
	credentials_fini(&keys);
	if (r < 0)
		log_error("agent", "cannot start uploading: %s",
			  r == -EINVAL ? kvs_config_error() : strerror(-r));
	return r;
}

/* --- the camera -------------------------------------------------------------------- */

static void add_stats(struct pipeline_stats *sum, const struct pipeline_stats *s)
{
	sum->frames += s->frames;
	sum->frames_lost += s->frames_lost;
	sum->frames_skipped += s->frames_skipped;
	sum->packets += s->packets;
	sum->copies += s->copies;
	sum->bytes_touched += s->bytes_touched;
}

static void close_pipeline(struct agent *a)
{
	struct pipeline_stats s;

	if (!a->pipeline)
		return;
	pipeline_stats(a->pipeline, &s);
	add_stats(&a->closed, &s);
	a->pipeline = pipeline_close(a->pipeline);
}

static void plan_reopen(struct agent *a, uint64_t now_ns, const char *why)
{
	close_pipeline(a);
	a->reopen_ns = now_ns + backoff_next(&a->backoff, REOPEN_NS_MIN,
					     2 * REOPEN_NS_MIN, REOPEN_NS_MAX);
	tell_once(&a->camera_cause, LOG_ERROR, why);
}

static void reopen(struct agent *a, uint64_t now_ns)
{
	char error[PIPELINE_ERROR_CHARS];
	int r = pipeline_open(a->sys, &a->config, &calls, a, &a->pipeline,
			      error);

	if (r == 0 && pipeline_info(a->pipeline)->codec != a->info.codec) {
		(void)snprintf(error, sizeof(error),
			       "%s: the codec is another one now",
			       pipeline_info(a->pipeline)->path);
		r = -EPROTONOSUPPORT;
	}
	if (r < 0) {
		plan_reopen(a, now_ns, error);
		return;
	}
	a->reopened++;
	a->camera_cause.text[0] = '\0';
	log_info("agent", "%s: open again", pipeline_info(a->pipeline)->path);
}

static void run_pipeline(struct agent *a, uint64_t now_ns)
{
	char error[PIPELINE_ERROR_CHARS];
	struct pipeline_stats s;

	if (pipeline_run(a->pipeline, now_ns, error) < 0) {
		plan_reopen(a, now_ns, error);
		return;
	}
	pipeline_stats(a->pipeline, &s);
	if (s.packets)
		backoff_reset(&a->backoff);
}

/* --- the loop ----------------------------------------------------------------------- */

static int wait_ms(const struct agent *a, uint64_t now_ns)
{
	uint64_t at_ns = now_ns + TURN_NS_MAX;

	at_ns = MIN(at_ns, a->pipeline ? pipeline_deadline_ns(a->pipeline) :
					 a->reopen_ns);
	if (a->options.duration_ns)
		at_ns = MIN(at_ns, a->start_ns + a->options.duration_ns);
	/* Rounded up, or the last millisecond is spent turning. */
	return at_ns <= now_ns ? 0 : (int)((at_ns - now_ns) / NS_PER_MS + 1);
}

/* Return: 1 go on, 0 stop, -errno. */
static int turn(struct agent *a)
{
	struct pollfd fds[1 + PIPELINE_FDS_MAX] = {
		{ .fd = a->stop_fd, .events = POLLIN },
	};
	uint64_t now_ns = sys_now_ns(a->sys, CLOCK_MONOTONIC);
	size_t count = 1;
	int r;

	if (a->pipeline)
		count += pipeline_fds(a->pipeline, fds + 1);
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
	if (a->pipeline)
		run_pipeline(a, now_ns);
	else if (now_ns >= a->reopen_ns)
		reopen(a, now_ns);
	return 1;
}

static void status_line(const struct agent *a)
{
	const struct pipeline_info *i = &a->info;
	char format[5];
	char codec[5];

	fourcc_text(i->format.fourcc, format);
	fourcc_text(i->codec, codec);
	printf("kvsd agent: %s '%s' %s %ux%u at %u/%u, encoder %s (%s%s), "
	       "memory rung %s, encoder rung %s, send rung L4, "
	       "memory: store up to %llu KiB, camera %llu KiB\n",
	       i->path, i->card, format, i->format.width, i->format.height,
	       i->format.rate_num, i->format.rate_den, i->encoder, codec,
	       i->source_imported ? ", imports the camera's memory" : "",
	       capture_rung_name(i->camera_rung),
	       capture_rung_name(i->encoder_rung),
	       (unsigned long long)(a->config.store_bytes / 1024),
	       (unsigned long long)(i->memory_bytes / 1024));
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

/* @why: 0, or the error that ends it untimely. Return: an exit code. */
static int finish(struct agent *a, int why)
{
	struct report r = {
		.info = a->info,
		.latency_us = &a->latency_us,
		.reopened = a->reopened,
		.clock_epoch = a->clock.epoch,
	};
	int e;

	r.duration_ns = sys_now_ns(a->sys, CLOCK_MONOTONIC) - a->start_ns;
	close_pipeline(a);
	a->tap = tap_close(a->tap);
	r.camera = a->closed;
	r.left = kvs_producer_finish(a->producer,
				     a->config.stop_timeout_ns / NS_PER_MS);
	kvs_producer_stats(a->producer, &r.producer);
	a->producer = kvs_producer_free(a->producer);
	if (r.left)
		log_error("agent", "%d fragments were not acknowledged and "
			  "are lost", r.left);
	e = write_report(a, &r);
	if (r.left)
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
	char error[PIPELINE_ERROR_CHARS];
	int r;

	r = catch_signals(a);
	if (r < 0) {
		log_error("agent", "signals: %s", strerror(-r));
		return AGENT_EXIT_FAILED;
	}
	if (a->options.tap) {
		r = tap_open(a->options.tap, &a->tap);
		if (r < 0) {
			log_error("agent", "--tap %s: %s", a->options.tap,
				  strerror(-r));
			return AGENT_EXIT_FAILED;
		}
	}
	a->start_ns = sys_now_ns(a->sys, CLOCK_MONOTONIC);
	sample_clock(a);
	r = pipeline_open(a->sys, &a->config, &calls, a, &a->pipeline,
			  error);
	if (r < 0) {
		log_error("agent", "%s", error);
		return AGENT_EXIT_FAILED;
	}
	a->info = *pipeline_info(a->pipeline);
	if (start_producer(a) < 0)
		return AGENT_EXIT_FAILED;
	status_line(a);
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
	"                   encoded to DIR/raw, a line per frame to DIR/frames\n"
	"\n"
	"SIGTERM and SIGINT end the fragment, wait for the acknowledgements\n"
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
	code = run(a);
	a->producer = kvs_producer_free(a->producer);
	close_pipeline(a);
	a->tap = tap_close(a->tap);
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
	backoff_init(&a->backoff, sys_now_ns(sys, CLOCK_MONOTONIC));
	(void)pthread_mutex_init(&a->lock, NULL);
	r = with_config(a);
	(void)pthread_mutex_destroy(&a->lock);
	free(a);
	return r;
}
