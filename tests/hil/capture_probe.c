/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libcapture can do on this machine, as JSON lines; run it in a guest.
 *
 *	capture_probe list
 *	capture_probe controls [--device PATH]
 *	capture_probe capture [options]		one line per rung
 *	capture_probe encode [options]		camera -> encoder
 *
 *	--device PATH	camera; default: the first
 *	--encoder PATH	M2M node; default: by capability
 *	--backend m2m|software|auto
 *	--rung S1|S2|S3|S4|S5|auto	of the camera; `capture` alone: each in turn
 *	--coded-rung ...	of the compressed side
 *	--as-is		format, size and rate as the node has them
 *	--set NAME=VALUE	a control, menus by number; may be repeated
 *	--input N	--timings	of the device; --crop LEFT,TOP,WxH
 *	--borrow N	frames out before copies are made
 *	--hold N	frames to keep while capturing
 *	--skip N	frames to leave out at the start
 *	--format FOURCC	default YU12
 *	--size WxH	default 640x480; --rate N, default 30
 *	--frames N	default 30
 *	--gop N --bitrate N
 *	--raw FILE	write the raw frames that went in
 *	--out FILE	write the packets, one after the other
 *	--copy		do not import, though there are dma-bufs
 *	--slow-map	the driver's coherent memory reads slowly, as on boards
 *			whose maps are not cached
 *	--sync		a machine whose caches do not follow DMA
 *
 * Exit: 0; 1: something failed (it says what); 77: there is no camera.
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <linux/dma-buf.h>
#include <linux/videodev2.h>

#include <capture/device.h>
#include <capture/encoder.h>
#include <capture/settings.h>
#include <capture/source.h>

#include "base/macros.h"
#include "base/parse.h"
#include "base/sys.h"
#include "src/limits.h"
#include "src/queue.h"

/* Hangs are found; an emulated machine on a busy host is no hang. */
#define WAIT_NS UINT64_C(60000000000)
#define CONTROLS_MAX 16
#define CONTROL_NAME_BYTES 64
#define HOLD_MAX 32
#define SEQUENCES_MAX 8u

struct options {
	const char *device;
	const char *encoder;
	enum capture_backend backend;
	enum capture_rung rung;
	enum capture_rung coded_rung;
	bool rung_given;
	bool copy;
	uint32_t fourcc;
	uint32_t width;
	uint32_t height;
	uint32_t rate;
	uint32_t frames;
	int64_t gop;
	int64_t bitrate;
	const char *raw;
	const char *out;
	bool as_is;
	uint32_t borrow;
	uint32_t hold;
	uint32_t skip;
	struct capture_settings settings;
	struct capture_settings_error error;
	struct capture_rect crop;
	struct capture_control_setting controls[CONTROLS_MAX];
	char control_names[CONTROLS_MAX][CONTROL_NAME_BYTES];
	char found[CAPTURE_PATH_BYTES];
};

/* --- what is asked of the kernel ----------------------------------------- */

#define SLOW_NS 10000000u

static struct {
	struct sys_ops ops;
	bool slow_map; /* asked for */
	bool slow;     /* such memory is what the source has now */
	unsigned int looks; /* at the clock */
	/* Since the first frame. */
	uint64_t ioctls;
	uint64_t waits;
	uint64_t syncs;
	uint64_t syncs_failed;
} calls;

static int call_ioctl(int fd, unsigned long request, void *arg)
{
	int r = sys_posix()->ioctl(fd, request, arg);
	const struct v4l2_requestbuffers *req = arg;

	if (request == VIDIOC_REQBUFS && r == 0) {
		calls.slow = calls.slow_map &&
			     req->memory == V4L2_MEMORY_MMAP &&
			     !(req->flags & V4L2_MEMORY_FLAG_NON_COHERENT);
		calls.looks = 0;
	}
	if (request == DMA_BUF_IOCTL_SYNC) {
		calls.syncs++;
		calls.syncs_failed += r < 0;
	} else {
		calls.ioctls++;
	}
	return r;
}

static int call_poll(struct pollfd *fds, unsigned int count, int timeout_ms)
{
	calls.waits++;
	return sys_posix()->poll(fds, count, timeout_ms);
}

/* Each second look ends a reading: of ordinary memory, then of the map. */
static int call_clock(clockid_t clock, struct timespec *ret_ts)
{
	int r = sys_posix()->clock_gettime(clock, ret_ts);
	uint64_t ns;

	if (!calls.slow || ++calls.looks % 2 ||
	    (calls.looks - 1) / (2 * CAPTURE_MEASURE_RUNS) % 2 == 0)
		return r;
	ns = (uint64_t)ret_ts->tv_nsec + SLOW_NS;
	ret_ts->tv_sec += (time_t)(ns / 1000000000);
	ret_ts->tv_nsec = (long)(ns % 1000000000);
	return r;
}

static void call_init(void)
{
	calls.ops = *sys_posix();
	calls.ops.ioctl = call_ioctl;
	calls.ops.poll = call_poll;
	calls.ops.clock_gettime = call_clock;
}

/* The first frame is there: what follows is the price of a frame. */
static void call_reset(void)
{
	calls.ioctls = 0;
	calls.waits = 0;
	calls.slow = false; /* no time is made up any more */
}

static uint64_t now_ns(void)
{
	return sys_now_ns(sys_posix(), CLOCK_MONOTONIC);
}

#define FOURCC_TEXT_BYTES 8

/* The top bit means big-endian, in V4L2. */
static const char *fourcc_text(uint32_t f, char text[FOURCC_TEXT_BYTES])
{
	(void)snprintf(text, FOURCC_TEXT_BYTES, "%c%c%c%c%s", (int)(f & 0x7f),
		       (int)(f >> 8 & 0x7f), (int)(f >> 16 & 0x7f),
		       (int)(f >> 24 & 0x7f), f >> 31 ? "-BE" : "");
	return text;
}

static const char *clock_text(enum capture_clock clock)
{
	switch (clock) {
	case CAPTURE_CLOCK_MONOTONIC:
		return "monotonic";
	case CAPTURE_CLOCK_COPY:
		return "copy";
	case CAPTURE_CLOCK_REALTIME:
		return "realtime";
	case CAPTURE_CLOCK_BOOTTIME:
		return "boottime";
	case CAPTURE_CLOCK_UNKNOWN:
		break;
	}
	return "unknown";
}

static const char *point_text(enum capture_point point)
{
	return point == CAPTURE_POINT_START_OF_EXPOSURE ? "start-of-exposure"
							: "end-of-frame";
}

static int failed(const char *what, int r)
{
	printf("{\"failed\": \"%s\", \"error\": \"%s\"}\n", what,
	       strerror(-r));
	return 1;
}

/* --- list --------------------------------------------------------------- */

static void print_formats(const char *name,
			  const struct capture_format_info *formats,
			  size_t count)
{
	char text[FOURCC_TEXT_BYTES];
	size_t i;

	printf(", \"%s\": [", name);
	for (i = 0; i < count; i++)
		printf("%s{\"fourcc\": \"%s\", \"sizes\": %zu, \"rates\": %zu}",
		       i ? ", " : "", fourcc_text(formats[i].fourcc, text),
		       formats[i].size_count,
		       formats[i].size_count ? formats[i].sizes[0].rate_count
					     : 0);
	printf("]");
}

static int list(void)
{
	static const char *const kinds[] = {
		[CAPTURE_DEVICE_CAMERA] = "camera",
		[CAPTURE_DEVICE_ENCODER] = "encoder",
		[CAPTURE_DEVICE_DECODER] = "decoder",
		[CAPTURE_DEVICE_CONVERTER] = "converter",
		[CAPTURE_DEVICE_SDR] = "sdr",
		[CAPTURE_DEVICE_METADATA] = "metadata",
	};
	struct capture_device_list *l;
	size_t i;
	int r;

	r = capture_device_list_new(NULL, &l);
	if (r < 0)
		return failed("list", r);
	for (i = 0; i < l->count; i++) {
		const struct capture_device *d = l->devices[i];

		printf("{\"path\": \"%s\", \"kind\": \"%s\", \"driver\": "
		       "\"%s\", \"card\": \"%s\", \"bus\": \"%s\", "
		       "\"multiplanar\": %s",
		       d->path, kinds[d->kind], d->driver, d->card,
		       d->bus_info, d->multiplanar ? "true" : "false");
		print_formats("formats", d->formats, d->format_count);
		print_formats("input", d->input_formats,
			      d->input_format_count);
		printf("}\n");
	}
	(void)capture_device_list_free(l);
	return 0;
}

static int find_camera(struct options *o)
{
	struct capture_device_list *l;
	size_t i;
	int r;

	if (o->device)
		return 0;
	r = capture_device_list_new(NULL, &l);
	if (r < 0)
		return failed("list", r);
	for (i = 0; i < l->count && !o->device; i++) {
		if (l->devices[i]->kind != CAPTURE_DEVICE_CAMERA)
			continue;
		strcpy(o->found, l->devices[i]->path);
		o->device = o->found;
	}
	(void)capture_device_list_free(l);
	return o->device ? 0 : 77;
}

/* --- controls ----------------------------------------------------------- */

static int controls(const struct options *o)
{
	struct capture_control_list *l;
	size_t i;
	int r;

	r = capture_control_list_new(NULL, o->device, &l);
	if (r < 0)
		return failed("controls", r);
	for (i = 0; i < l->count; i++) {
		const struct capture_control *c = &l->controls[i];

		printf("{\"id\": %u, \"key\": \"%s\", \"type\": \"%s\", "
		       "\"min\": %lld, \"max\": %lld, \"step\": %lld, "
		       "\"default\": %lld, \"value\": %lld, "
		       "\"readable\": %s, \"items\": %zu}\n",
		       c->id, c->key, capture_control_type_name(c->type),
		       (long long)c->minimum, (long long)c->maximum,
		       (long long)c->step, (long long)c->default_value,
		       (long long)c->value, c->readable ? "true" : "false",
		       c->item_count);
	}
	(void)capture_control_list_free(l);
	return 0;
}

/* --- capture ------------------------------------------------------------ */

static int open_stream(const struct options *o, enum capture_rung rung,
		       struct capture_source **ret)
{
	struct capture_source_config config = {
		.path = o->device,
		.fourccs = &o->fourcc,
		.fourcc_count = 1,
		.width = o->width,
		.height = o->height,
		.rate_num = o->rate,
		.rate_den = 1,
		.rung = rung,
		.settings = &o->settings,
		.borrow_max = o->borrow,
		.skip_first = o->skip,
	};

	if (o->as_is) {
		config.fourcc_count = 0;
		config.width = 0;
		config.height = 0;
		config.rate_num = 0;
		config.rate_den = 0;
	}
	return capture_source_open(&calls.ops, &config, ret);
}

/* What was seen of the frames of one run. */
struct seen {
	FILE *raw;
	struct capture_frame *held[HOLD_MAX];
	uint64_t first_ns;
	uint64_t last_ns;
	uint64_t stamp_ns;
	uint32_t sequences[SEQUENCES_MAX]; /* of the first frames */
	uint32_t flags;		/* of all frames */
	const char *clock;
	const char *point;
	bool dmabuf;
	bool rising;
};

static void see(const struct options *o, struct seen *seen, uint32_t i,
		struct capture_frame *frame)
{
	uint32_t slot = o->hold ? i % o->hold : 0;
	uint32_t p;

	seen->last_ns = now_ns();
	if (!i) {
		seen->first_ns = seen->last_ns;
		call_reset();
	} else if (frame->stamp_ns <= seen->stamp_ns) {
		seen->rising = false;
	}
	if (i < SEQUENCES_MAX)
		seen->sequences[i] = frame->sequence;
	seen->stamp_ns = frame->stamp_ns;
	seen->flags |= frame->flags;
	seen->clock = clock_text(frame->clock);
	seen->point = point_text(frame->point);
	seen->dmabuf = frame->planes[0].dmabuf_fd >= 0;
	if (seen->raw)
		capture_frame_begin_read(&calls.ops, frame);
	for (p = 0; seen->raw && p < frame->plane_count; p++)
		(void)fwrite(frame->planes[p].map + frame->planes[p].offset, 1,
			     frame->planes[p].bytesused, seen->raw);
	if (seen->raw)
		capture_frame_end_read(&calls.ops, frame);
	if (o->hold) {
		(void)capture_frame_unref(seen->held[slot]);
		seen->held[slot] = capture_frame_ref(frame);
	}
	(void)capture_frame_unref(frame);
}

static void report_calls(const struct options *o,
			 const struct capture_source_stats *stats)
{
	double frames = o->frames > 1 ? o->frames - 1 : 1;

	printf("\"skipped\": %llu, \"non_coherent\": %s, "
	       "\"s2_given_up\": %s, "
	       "\"syncs\": %llu, "
	       "\"syncs_failed\": %llu, \"ioctls_per_frame\": %.3f, "
	       "\"waits_per_frame\": %.3f, ",
	       (unsigned long long)stats->frames_skipped,
	       stats->non_coherent ? "true" : "false",
	       stats->s2_given_up ? "true" : "false",
	       (unsigned long long)calls.syncs,
	       (unsigned long long)calls.syncs_failed,
	       (double)calls.ioctls / frames, (double)calls.waits / frames);
}

static void report_capture(const struct options *o, enum capture_rung rung,
			   struct capture_source *s, const struct seen *seen)
{
	const struct capture_format *f = capture_source_format(s);
	struct capture_source_stats stats;
	uint64_t stamps;
	uint32_t i;
	char text[FOURCC_TEXT_BYTES];

	capture_source_stats(s, &stats);
	stamps = stats.stamps_bad + stats.stamps_backward;
	printf("{\"asked\": \"%s\", \"rung\": \"%s\", \"fourcc\": \"%s\", "
	       "\"width\": %u, \"height\": %u, \"planes\": %u, "
	       "\"bytes\": %u, \"media\": %d, \"sample_rate\": %u, "
	       "\"sample_bytes\": %u, \"flags\": %u, "
	       "\"rising\": %s, \"signal\": \"%s\", ",
	       capture_rung_name(rung), capture_rung_name(stats.rung),
	       fourcc_text(f->fourcc, text), f->width, f->height,
	       f->plane_count, f->size[0], (int)f->media, f->sample_rate,
	       f->sample_bytes, seen->flags,
	       seen->rising ? "true" : "false",
	       capture_signal_name(capture_source_signal(s)));
	for (i = 0; i < SEQUENCES_MAX && i < stats.frames; i++)
		printf("%s%u", i ? ", " : "\"sequences\": [",
		       seen->sequences[i]);
	printf("%s", i ? "], " : "");
	printf("\"frames\": %llu, \"fps\": %.2f, \"dmabuf\": %s, "
	       "\"clock\": \"%s\", \"meaning\": \"%s\", \"lost\": %llu, "
	       "\"errors\": %llu, \"short\": %llu, \"stale\": %llu, "
	       "\"dropped\": %llu, \"stamps\": %llu, \"copies\": %llu, "
	       "\"touched\": %llu, \"buffers\": %u, "
	       "\"memory_bytes\": %llu, \"map_mb_per_s\": %llu, ",
	       (unsigned long long)stats.frames,
	       o->frames > 1 ? (o->frames - 1) * 1e9 /
				       (double)(seen->last_ns - seen->first_ns)
			     : 0.0,
	       seen->dmabuf ? "true" : "false", seen->clock, seen->point,
	       (unsigned long long)stats.frames_lost,
	       (unsigned long long)stats.frames_error,
	       (unsigned long long)stats.frames_short,
	       (unsigned long long)stats.frames_stale,
	       (unsigned long long)stats.frames_dropped,
	       (unsigned long long)stamps,
	       (unsigned long long)stats.copies,
	       (unsigned long long)stats.bytes_touched, stats.buffer_count,
	       (unsigned long long)stats.memory_bytes,
	       (unsigned long long)(stats.map_read_bytes_per_s / 1000000));
	report_calls(o, &stats);
}

static int capture_one(const struct options *o, enum capture_rung rung)
{
	struct seen seen = { .clock = "", .point = "", .rising = true };
	struct capture_frame *frame;
	struct capture_source *s;
	uint32_t i;
	int r;

	r = open_stream(o, rung, &s);
	if (r == -EOPNOTSUPP && rung != CAPTURE_RUNG_AUTO &&
	    !o->error.name[0]) {
		printf("{\"asked\": \"%s\", \"rung\": null}\n",
		       capture_rung_name(rung));
		return 0;
	}
	if (r < 0)
		return failed(o->error.name[0] ? o->error.name : "open", r);
	seen.raw = o->raw ? fopen(o->raw, "wb") : NULL;
	r = capture_source_start(s);
	for (i = 0; r == 0 && i < o->frames; i++) {
		r = capture_source_dequeue(s, now_ns() + WAIT_NS, &frame);
		if (r == 0)
			see(o, &seen, i, frame);
	}
	if (r == 0)
		report_capture(o, rung, s, &seen);
	for (i = 0; i < HOLD_MAX; i++)
		(void)capture_frame_unref(seen.held[i]);
	if (seen.raw && fclose(seen.raw))
		r = -EIO;
	if (r == 0)
		printf("\"not_restored\": %d}\n", capture_source_restore(s));
	(void)capture_source_close(s);
	return r < 0 ? failed("capture", r) : 0;
}

static int capture(const struct options *o)
{
	static const enum capture_rung all[] = {
		CAPTURE_RUNG_AUTO, CAPTURE_RUNG_S1, CAPTURE_RUNG_S2,
		CAPTURE_RUNG_S3,   CAPTURE_RUNG_S4, CAPTURE_RUNG_S5,
	};
	size_t i;
	int r = 0;

	if (o->rung_given)
		return capture_one(o, o->rung);
	for (i = 0; i < ARRAY_SIZE(all); i++)
		r |= capture_one(o, all[i]);
	return r;
}

/* --- encode ------------------------------------------------------------- */

struct run {
	struct capture_source *stream;
	struct capture_encoder *encoder;
	FILE *raw;
	FILE *out;
	uint32_t wanted;
	uint32_t received;
	uint32_t sequence_last;
	uint64_t stamp_last_ns;
	uint64_t encode_ns_sum;
	bool ordered;
	bool paired;	/* the stamps that went in came out */
	uint64_t stamps[1024];
};

static int receive_all(struct run *run, uint64_t deadline_ns)
{
	struct capture_packet *p;
	int r;

	for (;;) {
		r = capture_encoder_receive(run->encoder, deadline_ns, &p);
		if (r < 0)
			return r;
		if (run->received && p->stamp_ns <= run->stamp_last_ns)
			run->ordered = false;
		if (run->stamps[run->received % ARRAY_SIZE(run->stamps)] !=
		    p->stamp_ns)
			run->paired = false;
		run->stamp_last_ns = p->stamp_ns;
		run->encode_ns_sum += p->encode_ns;
		run->received++;
		if (run->out)
			(void)fwrite(p->data, 1, p->bytes, run->out);
		(void)capture_packet_unref(p);
	}
}

static int feed(struct run *run)
{
	struct capture_frame *f;
	uint32_t i;
	int r;

	for (i = 0; i < run->wanted; i++) {
		r = capture_source_dequeue(run->stream, now_ns() + WAIT_NS,
					   &f);
		if (r < 0)
			return failed("dequeue", r);
		if (run->raw)
			(void)fwrite(f->planes[0].map, 1,
				     f->planes[0].bytesused, run->raw);
		run->stamps[i % ARRAY_SIZE(run->stamps)] = f->stamp_ns;
		r = capture_encoder_submit(run->encoder, f);
		(void)capture_frame_unref(f);
		if (r < 0)
			return failed("submit", r);
		r = receive_all(run, 0);
		if (r != -EAGAIN)
			return failed("receive", r);
	}
	r = capture_encoder_drain(run->encoder);
	if (r < 0)
		return failed("drain", r);
	r = receive_all(run, now_ns() + WAIT_NS);
	return r == -EPIPE ? 0 : failed("drain", r);
}

static void report(const struct run *run, uint64_t took_ns)
{
	static const char *const backends[] = { "auto", "m2m", "software" };
	struct capture_encoder_stats e;
	struct capture_source_stats s;
	double frames;
	char text[FOURCC_TEXT_BYTES];

	capture_encoder_stats(run->encoder, &e);
	capture_source_stats(run->stream, &s);
	frames = e.frames_in ? (double)e.frames_in : 1.0;
	printf("{\"source_rung\": \"%s\", \"backend\": \"%s\", \"codec\": "
	       "\"%s\", \"imported\": %s, \"coded_rung\": \"%s\", "
	       "\"frames\": %llu, \"packets\": %llu, \"keys\": %llu, "
	       "\"bytes\": %llu, \"skipped\": %llu, \"unpaired\": %llu, "
	       "\"errors\": %llu, \"copies_per_frame\": %.3f, "
	       "\"bytes_touched_per_frame\": %.0f, "
	       "\"coded_bytes_copied\": %llu, \"fps\": %.2f, "
	       "\"encode_ms\": %.2f, \"ordered\": %s, \"paired\": %s, "
	       "\"arena\": %s}\n",
	       capture_rung_name(s.rung), backends[e.backend],
	       fourcc_text(capture_encoder_codec(run->encoder), text),
	       e.source_imported ? "true" : "false", capture_rung_name(e.rung),
	       (unsigned long long)e.frames_in,
	       (unsigned long long)e.packets_out,
	       (unsigned long long)e.packets_key,
	       (unsigned long long)e.bytes_out,
	       (unsigned long long)e.frames_skipped,
	       (unsigned long long)e.packets_unpaired,
	       (unsigned long long)e.packets_error,
	       (double)e.copies / frames, (double)e.bytes_touched / frames,
	       (unsigned long long)e.bytes_copied_out,
	       frames * 1e9 / (double)took_ns,
	       (double)run->encode_ns_sum / 1e6 /
		       (run->received ? run->received : 1),
	       run->ordered ? "true" : "false", run->paired ? "true" : "false",
	       capture_encoder_arena(run->encoder) ? "true" : "false");
}

static int encode(const struct options *o)
{
	struct run run = { .wanted = o->frames, .ordered = true,
			   .paired = true };
	struct capture_encoder_config config;
	uint64_t start_ns;
	int r;

	r = open_stream(o, o->rung, &run.stream);
	if (r < 0)
		return failed("open camera", r);
	capture_encoder_config_init(&config);
	config.backend = o->backend;
	config.path = o->encoder;
	config.source = capture_source_format(run.stream);
	config.source_dmabuf = !o->copy && o->rung != CAPTURE_RUNG_S5;
	config.rung = o->coded_rung;
	config.controls.gop_frames = o->gop;
	config.controls.bitrate = o->bitrate;
	r = capture_encoder_open(NULL, &config, &run.encoder);
	if (r == 0) {
		run.raw = o->raw ? fopen(o->raw, "wb") : NULL;
		run.out = o->out ? fopen(o->out, "wb") : NULL;
		start_ns = now_ns();
		r = capture_source_start(run.stream);
		r = r < 0 ? failed("start", r) : feed(&run);
		report(&run, now_ns() - start_ns);
	} else {
		r = failed("open encoder", r);
	}
	if (run.raw && fclose(run.raw))
		r = 1;
	if (run.out && fclose(run.out))
		r = 1;
	(void)capture_encoder_close(run.encoder);
	(void)capture_source_close(run.stream);
	return r || (run.received != o->frames) || !run.paired;
}

/* --- options ------------------------------------------------------------ */

static int parse_rung(const char *text, enum capture_rung *ret)
{
	static const enum capture_rung all[] = {
		CAPTURE_RUNG_AUTO, CAPTURE_RUNG_S1, CAPTURE_RUNG_S2,
		CAPTURE_RUNG_S3,   CAPTURE_RUNG_S4, CAPTURE_RUNG_S5,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(all); i++) {
		if (strcmp(text, capture_rung_name(all[i])))
			continue;
		*ret = all[i];
		return 0;
	}
	return -EINVAL;
}

static int parse_u32(const char *text, uint32_t *ret)
{
	uint64_t value;
	int r = parse_u64(text, strlen(text), UINT32_MAX, &value);

	if (r == 0)
		*ret = (uint32_t)value;
	return r;
}

static int parse_size(const char *text, struct options *o)
{
	const char *x = strchr(text, 'x');
	uint64_t width;

	if (!x || parse_u64(text, (size_t)(x - text), UINT32_MAX, &width) < 0)
		return -EINVAL;
	o->width = (uint32_t)width;
	return parse_u32(x + 1, &o->height);
}

static int parse_control(const char *text, struct options *o)
{
	size_t count = o->settings.control_count;
	struct capture_control_setting *c = &o->controls[count];
	const char *equal = strchr(text, '=');
	uint32_t value = 0;

	if (!equal || equal - text >= CONTROL_NAME_BYTES ||
	    count == CONTROLS_MAX || parse_u32(equal + 1, &value) < 0)
		return -EINVAL;
	memcpy(o->control_names[count], text, (size_t)(equal - text));
	c->name = o->control_names[count];
	c->value = value;
	o->settings.controls = o->controls;
	o->settings.control_count++;
	return 0;
}

static int parse_crop(const char *text, struct options *o)
{
	struct capture_rect *r = &o->crop;

	if (sscanf(text, "%d,%d,%ux%u", &r->left, &r->top, &r->width,
		   &r->height) != 4)
		return -EINVAL;
	o->settings.crop = r;
	return 0;
}

static int parse_backend(const char *text, struct options *o)
{
	if (!strcmp(text, "m2m"))
		o->backend = CAPTURE_BACKEND_M2M;
	else if (!strcmp(text, "software"))
		o->backend = CAPTURE_BACKEND_SOFTWARE;
	else if (strcmp(text, "auto"))
		return -EINVAL;
	return 0;
}

static int parse_setting(int c, const char *arg, struct options *o)
{
	switch (c) {
	case 'S':
		return parse_control(arg, o);
	case 'P':
		return parse_crop(arg, o);
	case 'I':
		o->settings.set_input = true;
		return parse_u32(arg, &o->settings.input);
	case 'T':
		o->settings.timings = CAPTURE_TIMINGS_AUTO;
		return 0;
	case 'A':
		o->as_is = true;
		return 0;
	case 'K':
		return parse_u32(arg, &o->skip);
	case 'M':
		calls.slow_map = true;
		return 0;
	case 'Y':
		queue_assume_sync(true);
		return 0;
	case 'k':
		return parse_u32(arg, &o->borrow);
	case 'h':
		if (parse_u32(arg, &o->hold) < 0 || o->hold > HOLD_MAX)
			return -EINVAL;
		return 0;
	default:
		return -EINVAL;
	}
}

static int parse_option(int c, const char *arg, struct options *o)
{
	uint32_t value = 0;
	int r = 0;

	switch (c) {
	case 'd':
		o->device = arg;
		break;
	case 'e':
		o->encoder = arg;
		break;
	case 'b':
		return parse_backend(arg, o);
	case 'r':
		o->rung_given = true;
		return parse_rung(arg, &o->rung);
	case 'c':
		return parse_rung(arg, &o->coded_rung);
	case 'f':
		if (strlen(arg) != 4 && (strlen(arg) != 7 ||
					 strcmp(arg + 4, "-BE") != 0))
			return -EINVAL;
		o->fourcc = CAPTURE_FOURCC(arg[0], arg[1], arg[2], arg[3]) |
			    (arg[4] ? 1u << 31 : 0);
		break;
	case 's':
		return parse_size(arg, o);
	case 'R':
		return parse_u32(arg, &o->rate);
	case 'n':
		return parse_u32(arg, &o->frames);
	case 'g':
		r = parse_u32(arg, &value);
		o->gop = value;
		return r;
	case 'B':
		r = parse_u32(arg, &value);
		o->bitrate = value;
		return r;
	case 'w':
		o->raw = arg;
		break;
	case 'o':
		o->out = arg;
		break;
	case 'C':
		o->copy = true;
		break;
	default:
		return parse_setting(c, arg, o);
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "device", 1, NULL, 'd' },	{ "encoder", 1, NULL, 'e' },
		{ "backend", 1, NULL, 'b' },	{ "rung", 1, NULL, 'r' },
		{ "coded-rung", 1, NULL, 'c' }, { "format", 1, NULL, 'f' },
		{ "size", 1, NULL, 's' },	{ "rate", 1, NULL, 'R' },
		{ "frames", 1, NULL, 'n' },	{ "gop", 1, NULL, 'g' },
		{ "set", 1, NULL, 'S' },	{ "crop", 1, NULL, 'P' },
		{ "input", 1, NULL, 'I' },	{ "timings", 0, NULL, 'T' },
		{ "as-is", 0, NULL, 'A' },	{ "borrow", 1, NULL, 'k' },
		{ "hold", 1, NULL, 'h' },	{ "sync", 0, NULL, 'Y' },
		{ "slow-map", 0, NULL, 'M' },	{ "skip", 1, NULL, 'K' },
		{ "bitrate", 1, NULL, 'B' },	{ "raw", 1, NULL, 'w' },
		{ "out", 1, NULL, 'o' },	{ "copy", 0, NULL, 'C' },
		{ NULL, 0, NULL, 0 },
	};
	struct options o = {
		.fourcc = CAPTURE_FORMAT_YU12,
		.width = 640,
		.height = 480,
		.rate = 30,
		.frames = 30,
		.gop = -1,
		.bitrate = -1,
	};
	const char *verb = argc > 1 ? argv[1] : "";
	int c;
	int r;

	call_init();
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (parse_option(c, optarg, &o) < 0)
			return failed(argv[optind - 1], -EINVAL);
	}
	if (!strcmp(verb, "list"))
		return list();
	r = find_camera(&o);
	if (r)
		return r;
	o.settings.error = &o.error;
	if (!strcmp(verb, "controls"))
		return controls(&o);
	if (!strcmp(verb, "capture"))
		return capture(&o);
	if (!strcmp(verb, "encode"))
		return encode(&o);
	return failed("verb: list, capture or encode", -EINVAL);
}
