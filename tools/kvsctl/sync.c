/* SPDX-License-Identifier: Apache-2.0 */
#include "kvsctl/sync.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/parse.h"
#include "kvsctl/ctl.h"
#include "kvsctl/output.h"
#include "kvsctl/sync_plot.h"

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

static volatile sig_atomic_t interrupted;

static void interrupt(int signal)
{
	(void)signal;
	interrupted = 1;
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	(void)clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t sync_now_ns(void)
{
	return clock_ns(CLOCK_BOOTTIME);
}

/* The best of a few looks: between two of them others may have run. */
static int64_t offset_of(clockid_t clock)
{
	uint64_t narrowest = UINT64_MAX;
	int64_t offset = 0;
	unsigned int i;

	for (i = 0; i < 5; i++) {
		uint64_t before = sync_now_ns();
		uint64_t at = clock_ns(clock);
		uint64_t width = sync_now_ns() - before;

		if (width >= narrowest)
			continue;
		narrowest = width;
		offset = (int64_t)(before + width / 2 - at);
	}
	return offset;
}

struct sync_clocks sync_clocks_now(void)
{
	return (struct sync_clocks){
		.monotonic_ns = offset_of(CLOCK_MONOTONIC),
		.realtime_ns = offset_of(CLOCK_REALTIME),
	};
}

void sync_add(struct sync *s, struct sync_sensor *sensor, uint64_t at_ns,
	      uint64_t stamp_ns, uint64_t aligned_ns, uint64_t epoch)
{
	struct sync_sample sample = {
		.at_ns = at_ns > s->began_ns ? at_ns - s->began_ns : 0,
		.offset_ns = (int64_t)(stamp_ns - aligned_ns),
		.jitter_ns = sensor->now.jitter_ns,
		.drift_ppb = sensor->now.drift_ppb,
		.epoch = epoch,
	};

	sync_series_add(&sensor->series, &sample);
}

/* --- JSON ----------------------------------------------------------------- */

json_t *sync_alignment_json(const struct capture_alignment *a)
{
	bool holds = a->state >= CAPTURE_ALIGN_COARSE;

	return json_pack(
		"{s:s, s:s, s:I, s:o, s:o, s:o, s:I, s:s, s:o, s:I, s:I, s:I, s:I}",
		"by", capture_aligned_by_name(a->by), "state",
		capture_align_state_name(a->state), "epoch",
		(json_int_t)a->epoch, "sigma_ns",
		a->sigma_ns == UINT64_MAX
			? json_null()
			: json_integer((json_int_t)a->sigma_ns),
		"drift_ppb", holds ? json_integer(a->drift_ppb) : json_null(),
		"jitter_ns",
		holds ? json_integer((json_int_t)a->jitter_ns) : json_null(),
		"delay_ns", (json_int_t)a->delay_ns, "point",
		capture_align_point_name(a->point), "minor",
		a->minor < 0 ? json_null() : json_integer(a->minor), "samples",
		(json_int_t)a->samples, "outliers", (json_int_t)a->outliers,
		"lost", (json_int_t)a->lost, "mispaired",
		(json_int_t)a->mispaired);
}

static const char *reference_name(uint32_t reference)
{
	static const char *const names[] = {"boottime", "tai", "phc"};

	return reference < ARRAY_SIZE(names) ? names[reference] : "unknown";
}

static json_t *streams_json(struct capture_timeline *timeline)
{
	struct capture_alignment streams[CAPTURE_ALIGN_STREAMS_MAX];
	int count = capture_timeline_streams(timeline, streams);
	json_t *array = json_array();
	int i;

	for (i = 0; i < count; i++) {
		json_t *one = sync_alignment_json(&streams[i]);

		(void)json_object_set_new(one, "name",
					  json_string(streams[i].name));
		(void)json_array_append_new(array, one);
	}
	return array;
}

json_t *sync_tsalign_json(void)
{
	struct capture_timeline *timeline = NULL;
	struct capture_timeline_info info = {0};
	json_t *json;
	int r;

	r = capture_timeline_open(NULL, &timeline);
	if (r == 0)
		r = capture_timeline_info(timeline, &info);
	if (r < 0) {
		(void)capture_timeline_close(timeline);
		return json_pack("{s:b, s:s}", "present", r != -ENOENT, "why",
				 r == -ENOENT	? "not loaded"
				 : r == -EPROTO ? "another version"
						: strerror(-r));
	}
	json = json_pack("{s:b, s:i, s:s, s:b, s:b, s:i, s:o}", "present", 1,
			 "abi", (int)info.abi, "reference",
			 reference_name(info.reference), "sees_v4l2",
			 (int)info.sees_v4l2, "injects", (int)info.injects,
			 "triggers", (int)info.triggers, "streams",
			 streams_json(timeline));
	(void)capture_timeline_close(timeline);
	return json;
}

static json_t *offset_json(const struct sync_series *s)
{
	if (!s->samples)
		return json_null();
	return json_pack("{s:I, s:I, s:I}", "min", (json_int_t)s->offset_min_ns,
			 "mean", (json_int_t)sync_series_mean_ns(s), "max",
			 (json_int_t)s->offset_max_ns);
}

static int print_json(const struct sync *s)
{
	json_t *sensors = json_array();
	json_t *report;
	size_t i;
	int code;

	for (i = 0; i < s->count; i++) {
		const struct sync_sensor *sensor = &s->sensors[i];
		json_t *one = sensor->known ? sync_alignment_json(&sensor->now)
					    : json_object();

		(void)json_object_set_new(one, "name",
					  json_string(sensor->name));
		(void)json_object_set_new(
			one, "frames",
			json_integer((json_int_t)sensor->series.samples));
		(void)json_object_set_new(one, "offset_ns",
					  offset_json(&sensor->series));
		(void)json_array_append_new(sensors, one);
	}
	report = json_pack("{s:s, s:O, s:f, s:o}", "from", s->by, "tsalign",
			   s->tsalign, "seconds",
			   (double)(sync_now_ns() - s->began_ns) / 1e9,
			   "sensors", sensors);
	code = output_json(report);
	json_decref(report);
	return code;
}

/* --- the table ------------------------------------------------------------ */

static void add_us(struct table *t, int64_t ns, bool known)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%.3f", (double)ns / 1e3);
	table_add(t, known ? text : "-");
}

static void add_count(struct table *t, uint64_t count)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%" PRIu64, count);
	table_add(t, text);
}

static void add_sensor(struct table *t, const struct sync_sensor *sensor)
{
	const struct capture_alignment *a = &sensor->now;
	const struct sync_series *s = &sensor->series;
	bool holds = sensor->known && a->state >= CAPTURE_ALIGN_COARSE;
	char text[96];

	table_add(t, sensor->name);
	table_add(t, sensor->known ? capture_aligned_by_name(a->by) : "-");
	table_add(t, sensor->known ? capture_align_state_name(a->state) : "-");
	(void)snprintf(text, sizeof(text), "%.1f / %.1f / %.1f",
		       (double)s->offset_min_ns / 1e3,
		       (double)sync_series_mean_ns(s) / 1e3,
		       (double)s->offset_max_ns / 1e3);
	table_add(t, s->samples ? text : "-");
	add_us(t, (int64_t)a->jitter_ns, holds);
	add_us(t, a->drift_ppb, holds);
	add_us(t, (int64_t)a->sigma_ns, holds && a->sigma_ns != UINT64_MAX);
	add_count(t, a->epoch);
	add_count(t, a->samples);
	add_count(t, a->lost);
	add_count(t, a->outliers);
}

static int print_table(const struct sync *s)
{
	static const char *const heads[] = {
		"SENSOR",    "BY",
		"STATE",     "OFFSET us (min/mean/max)",
		"JITTER us", "DRIFT ppm",
		"SIGMA us",  "EPOCH",
		"SAMPLES",   "LOST",
		"OUTLIERS",
	};
	struct table t;
	size_t i;
	int code;

	table_init(&t, ARRAY_SIZE(heads));
	for (i = 0; i < ARRAY_SIZE(heads); i++)
		table_add(&t, heads[i]);
	for (i = 0; i < s->count; i++)
		add_sensor(&t, &s->sensors[i]);
	code = table_print(&t);
	table_fini(&t);
	return code;
}

/* From the upper left corner on, over what was there. */
static int redraw(const struct sync *s)
{
	(void)fputs("\033[H\033[J", stdout);
	return print_table(s);
}

/* --- the run -------------------------------------------------------------- */

static int run(struct sync *s, struct sync_from *from, uint64_t end_ns,
	       bool live)
{
	uint64_t drawn_ns = 0;
	int code = CTL_OK;

	while (code == CTL_OK && !interrupted) {
		uint64_t now = sync_now_ns();
		uint64_t left_ms = end_ns > now ? (end_ns - now) / NS_PER_MS
						: 0;

		if (now >= end_ns)
			break;
		s->clocks = sync_clocks_now();
		code = from->turn(from->ctx, s,
				  (int)MIN(left_ms + 1, CTL_SYNC_TURN_MS));
		if (!live || now - drawn_ns < CTL_SYNC_DRAW_MS * NS_PER_MS)
			continue;
		drawn_ns = now;
		if (code == CTL_OK)
			code = redraw(s);
	}
	return code;
}

static int plot(const struct sync *s, const char *path)
{
	struct sync_plot_line lines[CTL_SYNC_SENSORS_MAX];
	FILE *out = fopen(path, "we");
	size_t count = 0;
	size_t i;
	int r;

	if (!out)
		return ctl_fail(CTL_LOCAL, "cannot write %s: %s", path,
				strerror(errno));
	for (i = 0; i < s->count; i++) {
		if (s->sensors[i].series.samples)
			lines[count++] = (struct sync_plot_line){
				s->sensors[i].name, &s->sensors[i].series};
	}
	r = sync_plot_write(out, lines, count);
	if (fclose(out) != 0)
		r = -EIO;
	return r < 0 ? ctl_fail(CTL_LOCAL, "cannot write %s", path) : CTL_OK;
}

/* 0: until it is interrupted. */
static int take_seconds(const struct ctl *ctl, const char *text, uint64_t *ret)
{
	*ret = CTL_SYNC_SECONDS;
	if (!text) {
		if (!ctl->json && isatty(STDOUT_FILENO))
			*ret = 0;
		return CTL_OK;
	}
	if (parse_u64(text, strlen(text), CTL_SYNC_SECONDS_MAX, ret) < 0 ||
	    !*ret)
		return ctl_fail(CTL_USAGE,
				"--seconds '%s' is not a number from 1 to %u",
				text, CTL_SYNC_SECONDS_MAX);
	return CTL_OK;
}

static int sync_run(struct ctl *ctl, struct sync *s, const struct args *args,
		    uint64_t seconds, const char *plot_path)
{
	const struct sigaction action = {.sa_handler = interrupt};
	bool live = !ctl->json && isatty(STDOUT_FILENO);
	struct sync_from from;
	uint64_t end_ns;
	int code;

	s->began_ns = sync_now_ns();
	code = args->count ? sync_capture_open(s, args->operands, args->count,
					       &from)
			   : sync_pages_open(s, &from);
	if (code != CTL_OK)
		return code;
	/* What was seen is told, also when it was interrupted. */
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	end_ns = seconds ? s->began_ns + seconds * NS_PER_S : UINT64_MAX;
	code = run(s, &from, end_ns, live);
	from.close(from.ctx);
	if (code == CTL_OK)
		code = ctl->json ? print_json(s)
		       : live	 ? redraw(s)
				 : print_table(s);
	if (code == CTL_OK && plot_path)
		code = plot(s, plot_path);
	return code;
}

int sync_command(struct ctl *ctl, int argc, char **argv)
{
	const char *plot_path = NULL;
	const char *seconds_text = NULL;
	const struct arg_option options[] = {
		{"plot", 0, NULL, &plot_path, NULL},
		{"seconds", 0, NULL, &seconds_text, NULL},
		{NULL, 0, NULL, NULL, NULL},
	};
	struct sync s = {0};
	struct args args;
	uint64_t seconds;
	bool over;
	int code;

	code = ctl_args(ctl, argc, argv, options, "[DEVICE]...", 0,
			CTL_POSITIONALS_MAX, &args, &over);
	if (code != CTL_OK || over)
		return code;
	code = take_seconds(ctl, seconds_text, &seconds);
	if (code != CTL_OK)
		return code;
	s.sensors = calloc(CTL_SYNC_SENSORS_MAX, sizeof(*s.sensors));
	if (!s.sensors)
		return ctl_fail(CTL_LOCAL, "out of memory");
	s.tsalign = sync_tsalign_json();
	code = sync_run(ctl, &s, &args, seconds, plot_path);
	json_decref(s.tsalign);
	free(s.sensors);
	return code;
}
