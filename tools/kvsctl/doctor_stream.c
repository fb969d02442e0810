/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams from each camera and through each encoder, and reports what was
 * seen. A device keeps no setting of ours: cameras run as they are set, or
 * are put back when the source is closed.
 */
#include "kvsctl/doctor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <capture/encoder.h>
#include <capture/source.h>
#include <capture/thermal.h>

#include "base/sys.h"
#include "kvsctl/devices.h"
#include "kvsctl/doctor_stamps.h"
#include "kvsctl/limits.h"

#define NS_PER_S UINT64_C(1000000000)
/* A camera that gives no frame for so long gives none. */
#define FRAME_NS (3 * NS_PER_S)
#define PAIR_NS NS_PER_S
#define FOURCCS_MAX 32u

static uint64_t now_ns(clockid_t clock)
{
	return sys_now_ns(sys_posix(), clock);
}

static json_t *real_of_ns(int64_t ns, double unit)
{
	return json_real((double)ns / unit);
}

static json_t *ms(int64_t ns)
{
	return real_of_ns(ns, 1e6);
}

const char *doctor_explain(int r)
{
	switch (r) {
	case -EPIPE:
		return "the pipeline behind the node is not set up: links and "
		       "pad formats do not agree (media-ctl -p)";
	case -EBUSY:
		return "another program streams from it";
	case -ENOLINK:
		return "there is no signal at its input";
	case -ETIMEDOUT:
		return "it gives no frame";
	case -EACCES:
	case -EPERM:
		return "this user may not open it";
	default:
		return strerror(-r);
	}
}

/* --- a source alone -------------------------------------------------------- */

struct run {
	struct stamp_sample samples[STAMPS_FRAMES_MAX];
	size_t count;
	enum capture_clock clock;
	enum capture_point point;
	bool declared;	   /* @clock and @point are the driver's */
	size_t replaced;   /* stamps that cannot be */
	uint64_t first_ns; /* from start to the first frame */
	uint64_t bytes;
	/* Of the sensor's own clock, in the last epoch. */
	uint32_t epoch;
	uint64_t first_ticks;
	uint64_t last_ticks;
	uint64_t first_stamp_ns;
	bool single; /* its frames have one sample, the first and the last */
	/* Of a picture of counts. */
	const struct capture_format *format;
	bool has_counts;
	struct capture_thermal_reading counts;
};

/* The last that there is in any case: the first ones may be no good yet. */
static void take_counts(struct run *run, struct capture_frame *f)
{
	struct capture_thermal_config config;

	if (run->count > STAMPS_FRAMES_MIN ||
	    !capture_thermal_is_counts(run->format->fourcc))
		return;
	capture_thermal_config_init(&config);
	run->has_counts |= capture_thermal_measure(NULL, run->format, &config,
						   f, &run->counts) == 0;
}

static void take_frame(struct run *run, const struct capture_frame *f)
{
	struct stamp_sample *s = &run->samples[run->count++];
	uint32_t i;

	s->dequeue_ns = now_ns(CLOCK_MONOTONIC);
	s->stamp_ns = f->stamp_ns;
	s->sequence = f->sequence;
	/* A stamp that the library had to replace says nothing of the driver. */
	if (f->flags & CAPTURE_FRAME_STAMPED) {
		run->replaced++;
	} else {
		run->clock = f->clock;
		run->point = f->point;
		run->declared = true;
	}
	for (i = 0; i < f->plane_count; i++)
		run->bytes += f->planes[i].bytesused;
	if (run->count == 1 || f->epoch != run->epoch) {
		run->epoch = f->epoch;
		run->first_ticks = f->device_ticks;
		run->first_stamp_ns = f->stamp_ns;
	}
	run->last_ticks = f->device_ticks;
}

static int run_source(struct capture_source *s, uint64_t length_ns,
		      struct run *run)
{
	uint64_t began = now_ns(CLOCK_MONOTONIC);
	uint64_t end = began + length_ns;
	int r;

	r = capture_source_start(s);
	while (r == 0 && run->count < STAMPS_FRAMES_MAX) {
		struct capture_frame *f;
		uint64_t now = now_ns(CLOCK_MONOTONIC);

		/* Enough frames to judge, however slow the camera is. */
		if (now >= end && run->count >= STAMPS_FRAMES_MIN)
			break;
		r = capture_source_dequeue(s, now + FRAME_NS, &f);
		if (r < 0)
			break;
		take_frame(run, f);
		take_counts(run, f);
		(void)capture_frame_unref(f);
		if (run->count == 1)
			run->first_ns = run->samples[0].dequeue_ns - began;
	}
	(void)capture_source_stop(s);
	return r;
}

static struct stamp_offsets offsets_now(void)
{
	uint64_t monotonic = now_ns(CLOCK_MONOTONIC);
	struct stamp_offsets o = {
		.realtime_ns = (int64_t)(now_ns(CLOCK_REALTIME) - monotonic),
		.boottime_ns = (int64_t)(now_ns(CLOCK_BOOTTIME) - monotonic),
	};

	return o;
}

/* Null for what is not known. */
static json_t *rate_json(const struct stamps *s)
{
	return s->interval_ns ? json_real(1e9 / (double)s->interval_ns)
			      : json_null();
}

/* The library puts its own stamp where the driver's cannot be. */
static void judge_replaced(const struct run *run, struct stamps *s)
{
	if (!run->replaced)
		return;
	s->clock = CAPTURE_CLOCK_UNKNOWN;
	s->clock_verdict = STAMP_CONTRADICTS;
	s->point_verdict = STAMP_NOT_KNOWN;
}

static json_t *lag_json(const struct run *run, int64_t ns)
{
	return run->replaced ? json_null() : ms(ns);
}

/* Of the sensor's own clock, by the clock of the stamps. */
static json_t *sample_rate_json(const struct run *run)
{
	uint64_t last_ns = run->samples[run->count - 1].stamp_ns;
	uint64_t ticks = run->last_ticks - run->first_ticks;

	if (run->replaced || run->count < STAMPS_FRAMES_MIN || !ticks ||
	    last_ns <= run->first_stamp_ns)
		return json_null();
	return json_real((double)ticks * 1e9 /
			 (double)(last_ns - run->first_stamp_ns));
}

static json_t *stamps_json(const struct run *run)
{
	const struct stamp_offsets offsets = offsets_now();
	struct stamps s;
	json_t *out;

	stamps_analyse(run->samples, run->count, run->clock,
		       run->single && run->point == CAPTURE_POINT_FIRST_SAMPLE
			       ? CAPTURE_POINT_END_OF_FRAME
			       : run->point,
		       &offsets, &s);
	judge_replaced(run, &s);
	out = json_pack("{s:i, s:i, s:f, s:s, s:s, s:s, s:i, s:b, s:o}",
			"frames", (int)s.frames, "stamps_replaced",
			(int)run->replaced, "first_frame_ms",
			(double)run->first_ns / 1e6, "clock",
			stamp_clock_name(s.clock), "clock_verdict",
			stamp_verdict_name(s.clock_verdict), "point_verdict",
			stamp_verdict_name(s.point_verdict), "between_dequeues",
			(int)s.between, "increasing", s.increasing, "rate",
			rate_json(&s));
	(void)json_object_update_new(
		out, json_pack("{s:o, s:o, s:o, s:o, s:o, s:I, s:I}",
			       "lag_min_ms", lag_json(run, s.lag_min_ns),
			       "lag_median_ms", lag_json(run, s.lag_median_ns),
			       "lag_max_ms", lag_json(run, s.lag_max_ns),
			       "jitter_p50_ms", ms((int64_t)s.jitter_p50_ns),
			       "jitter_p99_ms", ms((int64_t)s.jitter_p99_ns),
			       "lost", (json_int_t)s.lost, "repeated",
			       (json_int_t)s.repeated));
	return out;
}

static json_t *point_json(const struct capture_thermal_point *p)
{
	return json_pack("{s:i, s:i, s:i}", "x", (int)p->x, "y", (int)p->y,
			 "count", (int)p->count);
}

static json_t *run_json(const struct run *run,
			const struct capture_source_stats *stats)
{
	json_t *out = stamps_json(run);

	(void)json_object_update_new(
		out, json_pack("{s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I}",
			       "rung", capture_rung_name(stats->rung),
			       "buffers", (int)stats->buffer_count,
			       "memory_bytes", (json_int_t)stats->memory_bytes,
			       "damaged", (json_int_t)stats->frames_error,
			       "short", (json_int_t)stats->frames_short,
			       "bytes", (json_int_t)run->bytes, "stamps_bad",
			       (json_int_t)stats->stamps_bad, "stamps_backward",
			       (json_int_t)stats->stamps_backward));
	(void)json_object_update_new(
		out,
		json_pack("{s:o, s:I}", "sample_rate", sample_rate_json(run),
			  "overruns", (json_int_t)stats->overruns));
	if (stats->s2_given_up)
		(void)json_object_set_new(out, "rung_why",
					  json_string(CAPTURE_S2_GIVEN_UP));
	if (run->has_counts)
		(void)json_object_set_new(
			out, "counts",
			json_pack("{s:o, s:o, s:i}", "coldest",
				  point_json(&run->counts.coldest), "hottest",
				  point_json(&run->counts.hottest), "mean",
				  (int)run->counts.mean));
	return out;
}

static void rate_text(const struct capture_format *f, char *out, size_t size)
{
	out[0] = '\0';
	if (f->rate_num && f->rate_den == 1)
		(void)snprintf(out, size, "%u", f->rate_num);
	else if (f->rate_num)
		(void)snprintf(out, size, "%u/%u", f->rate_num, f->rate_den);
}

static json_t *samples_json(const struct capture_format *f, const char *fourcc)
{
	return json_pack("{s:s, s:I, s:i, s:i, s:i}", "fourcc", fourcc,
			 "sample_rate", (json_int_t)f->sample_rate, "channels",
			 (int)f->channels, "sample_bytes", (int)f->sample_bytes,
			 "frame_samples",
			 (int)(f->size[0] / MAX(f->sample_bytes, 1u)));
}

static json_t *format_json(const struct capture_format *f)
{
	char fourcc[5];
	char rate[32];

	devices_fourcc(f->fourcc, fourcc);
	if (f->media == CAPTURE_MEDIA_SAMPLES && f->sample_bytes)
		return samples_json(f, fourcc);
	rate_text(f, rate, sizeof(rate));
	return json_pack("{s:s, s:i, s:i, s:i, s:o, s:b}", "fourcc", fourcc,
			 "width", (int)f->width, "height", (int)f->height,
			 "planes", (int)f->plane_count, "rate",
			 rate[0] ? json_string(rate) : json_null(), "counts",
			 (int)capture_thermal_is_counts(f->fourcc));
}

/* Read rate of the driver's own memory, which only the lower rungs show. */
static json_t *map_rate_json(const char *path)
{
	const struct capture_source_config config = {
		.path = path,
		.rung = CAPTURE_RUNG_S3,
	};
	struct capture_source_stats stats;
	struct capture_source *s;

	if (capture_source_open(NULL, &config, &s) < 0)
		return json_null();
	capture_source_stats(s, &stats);
	(void)capture_source_close(s);
	return stats.map_read_bytes_per_s
		       ? json_integer((json_int_t)stats.map_read_bytes_per_s)
		       : json_null();
}

static bool is_single(const struct capture_format *f)
{
	return f->media == CAPTURE_MEDIA_SAMPLES &&
	       f->size[0] <= f->sample_bytes;
}

static json_t *stream_json(struct doctor *d, struct capture_source *s,
			   int *ret_result)
{
	struct run *run = calloc(1, sizeof(*run));
	struct capture_source_stats stats;
	json_t *out = json_object();
	json_t *declared;

	*ret_result = -ENOMEM;
	if (!run)
		return out;
	run->single = is_single(capture_source_format(s));
	run->format = capture_source_format(s);
	*ret_result = run_source(s, d->seconds * NS_PER_S, run);
	capture_source_stats(s, &stats);
	declared = format_json(capture_source_format(s));
	if (run->declared) {
		(void)json_object_set_new(
			declared, "clock",
			json_string(stamp_clock_name(run->clock)));
		(void)json_object_set_new(
			declared, "point",
			json_string(stamp_point_name(run->point)));
	}
	(void)json_object_set_new(out, "declared", declared);
	(void)json_object_set_new(out, "measured",
				  run->count ? run_json(run, &stats)
					     : json_null());
	free(run);
	return out;
}

static void stream_failed(struct doctor *d, json_t *out, const char *path,
			  const char *why, bool lacks)
{
	(void)json_object_set_new(out, "error", json_string(why));
	if (lacks)
		doctor_lack(d, false, why, "%s does not stream", path);
}

/* What streaming from it gave; *@ret_result: 0, or why it ended. */
static json_t *try_stream(struct doctor *d, const char *kind,
			  const struct capture_source_config *config,
			  int *ret_result)
{
	struct capture_source *s;
	json_t *out;
	int r;

	r = capture_source_open(NULL, config, &s);
	if (r < 0) {
		out = json_pack("{s:n, s:n}", "declared", "measured");
	} else {
		out = stream_json(d, s, &r);
		(void)capture_source_close(s);
	}
	(void)json_object_set_new(out, "device", json_string(config->path));
	(void)json_object_set_new(out, "kind", json_string(kind));
	*ret_result = r;
	return out;
}

static void add_node(struct doctor *d, json_t *streams,
		     const struct capture_device *node)
{
	const struct capture_source_config config = {.path = node->path};
	bool metadata = node->kind == CAPTURE_DEVICE_METADATA;
	json_t *out;
	int r;

	out = try_stream(d, devices_kind(node->kind), &config, &r);
	if (!json_is_null(json_object_get(out, "declared")))
		(void)json_object_set_new(out, "map_read_bytes_per_s",
					  map_rate_json(node->path));
	if (r == -ETIMEDOUT && metadata) /* nothing is wrong with it */
		stream_failed(d, out, node->path,
			      "it gives nothing now: many do only while the "
			      "camera beside them streams",
			      false);
	else if (r < 0)
		stream_failed(d, out, node->path, doctor_explain(r), true);
	(void)json_array_append_new(streams, out);
}

static void add_sensor(struct doctor *d, json_t *streams,
		       const struct capture_sensor *sensor)
{
	const struct capture_source_config config = {
		.kind = sensor->kind,
		.path = sensor->path,
		/* A device that tells no rate may be very slow. */
		.frame_samples = sensor->rate_min ? 0 : 1,
	};
	const char *why;
	json_t *out;
	int r;

	/* Not a sensor at all: an IIO device that has values, but no buffer. */
	if (sensor->kind == CAPTURE_SOURCE_IIO && sensor->error == -ENODEV)
		return;
	out = try_stream(d, doctor_sensor_kind(sensor), &config, &r);
	if (r < 0) {
		why = doctor_explain(r);
		if (sensor->kind == CAPTURE_SOURCE_IIO && !sensor->trigger[0] &&
		    !sensor->error && r != -ENODEV && r != -EACCES &&
		    r != -EPERM)
			why = "no trigger is chosen: write one's name into its "
			      "trigger/current_trigger in sysfs";
		stream_failed(d, out, sensor->path, why, true);
	}
	(void)json_array_append_new(streams, out);
}

/* --- a camera and an encoder -------------------------------------------------
 */

struct pair {
	const char *source_path;
	const struct capture_device *encoder; /* NULL: software */
	struct capture_source *source;
	struct capture_encoder *into;
	uint64_t encode_ns; /* of all packets */
	uint64_t encode_ns_max;
};

/* Formats that the encoder takes; what the camera is set to goes before. */
static size_t wanted_formats(const struct pair *p,
			     uint32_t fourccs[FOURCCS_MAX])
{
	static const uint32_t software[] = {
		CAPTURE_FORMAT_YU12, CAPTURE_FORMAT_NV12, CAPTURE_FORMAT_YUYV};
	size_t count = 0;
	size_t i;

	if (!p->encoder) {
		memcpy(fourccs, software, sizeof(software));
		return ARRAY_SIZE(software);
	}
	for (i = 0; i < p->encoder->input_format_count; i++) {
		if (count < FOURCCS_MAX)
			fourccs[count++] = p->encoder->input_formats[i].fourcc;
	}
	return count;
}

static int open_encoder(struct pair *p)
{
	struct capture_encoder_config config;

	capture_encoder_config_init(&config);
	config.backend = p->encoder ? CAPTURE_BACKEND_M2M
				    : CAPTURE_BACKEND_SOFTWARE;
	config.path = p->encoder ? p->encoder->path : NULL;
	config.source = capture_source_format(p->source);
	config.source_dmabuf = true;
	return capture_encoder_open(NULL, &config, &p->into);
}

static int open_pair(struct pair *p, const uint32_t *fourccs, size_t count)
{
	const struct capture_source_config config = {
		.path = p->source_path,
		.fourccs = fourccs,
		.fourcc_count = count,
		.buffer_count = 6,
	};
	int r;

	r = capture_source_open(NULL, &config, &p->source);
	if (r < 0)
		return r;
	r = open_encoder(p);
	if (r < 0)
		p->source = capture_source_close(p->source);
	return r;
}

static int take_packets(struct pair *p, uint64_t deadline_ns)
{
	struct capture_packet *packet;
	int r;

	while ((r = capture_encoder_receive(p->into, deadline_ns, &packet)) ==
	       0) {
		p->encode_ns += packet->encode_ns;
		p->encode_ns_max = MAX(p->encode_ns_max, packet->encode_ns);
		(void)capture_packet_unref(packet);
	}
	return r == -EAGAIN || r == -EPIPE ? 0 : r;
}

static int run_pair(struct pair *p)
{
	uint64_t end = now_ns(CLOCK_MONOTONIC) + PAIR_NS;
	unsigned int frames = 0;
	int r;

	r = capture_source_start(p->source);
	while (r == 0) {
		struct capture_frame *f;
		uint64_t now = now_ns(CLOCK_MONOTONIC);

		if (now >= end && frames >= STAMPS_FRAMES_MIN)
			break;
		r = capture_source_dequeue(p->source, now + FRAME_NS, &f);
		if (r < 0)
			break;
		r = capture_encoder_submit(p->into, f);
		(void)capture_frame_unref(f);
		/* No room: this frame is left out, as the agent does it. */
		if (r == 0 || r == -EAGAIN)
			r = take_packets(p, 0);
		frames++;
	}
	if (r == 0)
		r = capture_encoder_drain(p->into);
	if (r == 0)
		r = take_packets(p, now_ns(CLOCK_MONOTONIC) + FRAME_NS);
	(void)capture_source_stop(p->source);
	return r;
}

static json_t *pair_measured(const struct pair *p)
{
	struct capture_encoder_stats e;
	struct capture_source_stats s;
	double frames;
	json_t *out;

	capture_source_stats(p->source, &s);
	capture_encoder_stats(p->into, &e);
	if (!e.frames_in || !e.packets_out)
		return json_null();
	frames = (double)e.frames_in;
	out = json_pack("{s:s, s:s, s:b, s:I, s:I, s:I}", "source_rung",
			capture_rung_name(s.rung), "packet_rung",
			capture_rung_name(e.rung), "imported",
			e.source_imported, "frames", (json_int_t)e.frames_in,
			"packets", (json_int_t)e.packets_out, "key_packets",
			(json_int_t)e.packets_key);
	(void)json_object_update_new(
		out,
		json_pack("{s:f, s:f, s:f, s:f, s:I}", "copies_per_frame",
			  (double)(s.copies + e.copies) / frames,
			  "bytes_touched_per_frame",
			  (double)(s.bytes_touched + e.bytes_touched) / frames,
			  "encode_mean_ms",
			  (double)p->encode_ns / 1e6 / (double)e.packets_out,
			  "encode_max_ms", (double)p->encode_ns_max / 1e6,
			  "bytes_out", (json_int_t)e.bytes_out));
	return out;
}

static json_t *pair_json(struct pair *p)
{
	uint32_t fourccs[FOURCCS_MAX];
	char codec[5];
	json_t *out;
	int r;

	/* As the camera is set, or else in a format that the encoder takes. */
	r = open_pair(p, NULL, 0);
	if (r == -EPROTONOSUPPORT || r == -EINVAL)
		r = open_pair(p, fourccs, wanted_formats(p, fourccs));
	if (r == -EOPNOTSUPP && !p->encoder)
		return NULL; /* not built in */
	out = json_pack("{s:s, s:s, s:s}", "source", p->source_path, "kind",
			p->encoder ? "m2m" : "openh264", "encoder",
			p->encoder ? p->encoder->path : "software");
	if (r < 0) {
		(void)json_object_set_new(out, "measured", json_null());
		(void)json_object_set_new(
			out, "error",
			json_string(r == -EPROTONOSUPPORT
					    ? "they have no format in common"
				    : r == -ERANGE ? "not in this size"
						   : doctor_explain(r)));
		return out;
	}
	r = run_pair(p);
	devices_fourcc(capture_encoder_codec(p->into), codec);
	(void)json_object_set_new(out, "codec", json_string(codec));
	(void)json_object_set_new(
		out, "declared", format_json(capture_source_format(p->source)));
	(void)json_object_set_new(out, "measured", pair_measured(p));
	if (r < 0)
		(void)json_object_set_new(out, "error",
					  json_string(doctor_explain(r)));
	p->into = capture_encoder_close(p->into);
	p->source = capture_source_close(p->source);
	return out;
}

static void add_pair(json_t *pairs, const char *path,
		     const struct capture_device *encoder)
{
	struct pair pair = {.source_path = path, .encoder = encoder};
	json_t *out;

	if (json_array_size(pairs) >= CTL_DOCTOR_PAIRS_MAX)
		return;
	out = pair_json(&pair);
	if (out)
		(void)json_array_append_new(pairs, out);
}

static void add_pairs(const struct doctor *d, json_t *pairs, const char *path)
{
	size_t i;

	for (i = 0; i < d->list->count; i++) {
		if (d->list->devices[i]->kind == CAPTURE_DEVICE_ENCODER)
			add_pair(pairs, path, d->list->devices[i]);
	}
	add_pair(pairs, path, NULL);
}

static bool streams(const json_t *streams_json, const char *path)
{
	const json_t *s;
	size_t i;

	json_array_foreach(streams_json, i, s)
	{
		if (strcmp(json_string_value(json_object_get(s, "device")),
			   path) == 0)
			return json_is_object(json_object_get(s, "measured")) &&
			       !json_object_get(s, "error");
	}
	return false;
}

/* Whatever gives frames; encoders have frames of cameras below. */
static bool is_wanted(const struct doctor *d, const struct capture_device *c)
{
	if (d->device)
		return strcmp(d->device, c->path) == 0;
	return c->kind == CAPTURE_DEVICE_CAMERA ||
	       c->kind == CAPTURE_DEVICE_SDR ||
	       c->kind == CAPTURE_DEVICE_METADATA;
}

static void add_sensors(struct doctor *d, json_t *streams)
{
	size_t count = d->device ? 0 : d->sensors->count;
	size_t i;

	if (d->sensor)
		add_sensor(d, streams, d->sensor);
	for (i = 0; i < count && i < CTL_DOCTOR_SENSORS_MAX; i++)
		add_sensor(d, streams, &d->sensors->sensors[i]);
}

void doctor_streams(struct doctor *d)
{
	json_t *streams_json = json_array();
	json_t *pairs = json_array();
	unsigned int count = 0;
	size_t i;

	for (i = 0; i < d->list->count; i++) {
		const struct capture_device *c = d->list->devices[i];

		if (!is_wanted(d, c) || count++ >= CTL_DOCTOR_CAMERAS_MAX)
			continue;
		add_node(d, streams_json, c);
		if (c->kind == CAPTURE_DEVICE_CAMERA &&
		    streams(streams_json, c->path))
			add_pairs(d, pairs, c->path);
	}
	add_sensors(d, streams_json);
	(void)json_object_set_new(d->report, "streams", streams_json);
	(void)json_object_set_new(d->report, "pairs", pairs);
}
