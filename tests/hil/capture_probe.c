/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libcapture can do on this machine, as JSON lines; run it in a guest.
 *
 *	capture_probe list
 *	capture_probe capture [options]		one line per rung
 *	capture_probe encode [options]		camera -> encoder
 *
 *	--device PATH	camera; default: the first
 *	--encoder PATH	M2M node; default: by capability
 *	--backend m2m|software|auto
 *	--rung S1|S2|S3|S5|auto	of the camera; `capture` alone: each in turn
 *	--coded-rung ...	of the compressed side
 *	--format FOURCC	default YU12
 *	--size WxH	default 640x480; --rate N, default 30
 *	--frames N	default 30
 *	--gop N --bitrate N
 *	--raw FILE	write the raw frames that went in
 *	--out FILE	write the packets, one after the other
 *	--copy		do not import, though there are dma-bufs
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

#include <capture/device.h>
#include <capture/encoder.h>
#include <capture/source.h>

#include "base/macros.h"
#include "base/parse.h"
#include "base/sys.h"

#define WAIT_NS UINT64_C(5000000000)

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
	char found[CAPTURE_PATH_BYTES];
};

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
	};

	return capture_source_open(NULL, &config, ret);
}

static int capture_one(const struct options *o, enum capture_rung rung)
{
	struct capture_source_stats stats;
	struct capture_frame *frame;
	struct capture_source *s;
	uint64_t first_ns = 0;
	uint64_t last_ns = 0;
	const char *clock = "";
	const char *point = "";
	bool dmabuf = false;
	uint32_t i;
	int r;

	r = open_stream(o, rung, &s);
	if (r == -EOPNOTSUPP && rung != CAPTURE_RUNG_AUTO) {
		printf("{\"asked\": \"%s\", \"rung\": null}\n",
		       capture_rung_name(rung));
		return 0;
	}
	if (r < 0)
		return failed("open", r);
	r = capture_source_start(s);
	for (i = 0; r == 0 && i < o->frames; i++) {
		r = capture_source_dequeue(s, now_ns() + WAIT_NS, &frame);
		if (r < 0)
			break;
		last_ns = now_ns();
		first_ns = i ? first_ns : last_ns;
		clock = clock_text(frame->clock);
		point = point_text(frame->point);
		dmabuf = frame->planes[0].dmabuf_fd >= 0;
		(void)capture_frame_unref(frame);
	}
	capture_source_stats(s, &stats);
	(void)capture_source_close(s);
	if (r < 0)
		return failed("capture", r);
	printf("{\"asked\": \"%s\", \"rung\": \"%s\", \"frames\": %llu, "
	       "\"fps\": %.2f, \"dmabuf\": %s, "
	       "\"clock\": \"%s\", \"meaning\": \"%s\", \"lost\": %llu, "
	       "\"errors\": %llu, \"short\": %llu, \"buffers\": %u, "
	       "\"memory_bytes\": %llu, \"map_mb_per_s\": %llu}\n",
	       capture_rung_name(rung), capture_rung_name(stats.rung),
	       (unsigned long long)stats.frames,
	       i > 1 ? (i - 1) * 1e9 / (double)(last_ns - first_ns) : 0.0,
	       dmabuf ? "true" : "false", clock, point,
	       (unsigned long long)stats.frames_lost,
	       (unsigned long long)stats.frames_error,
	       (unsigned long long)stats.frames_short, stats.buffer_count,
	       (unsigned long long)stats.memory_bytes,
	       (unsigned long long)(stats.map_read_bytes_per_s / 1000000));
	return 0;
}

static int capture(const struct options *o)
{
	static const enum capture_rung all[] = {
		CAPTURE_RUNG_AUTO, CAPTURE_RUNG_S1, CAPTURE_RUNG_S2,
		CAPTURE_RUNG_S3,   CAPTURE_RUNG_S5,
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
		CAPTURE_RUNG_S3,   CAPTURE_RUNG_S5,
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
		if (strlen(arg) != 4)
			return -EINVAL;
		o->fourcc = CAPTURE_FOURCC(arg[0], arg[1], arg[2], arg[3]);
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
		return -EINVAL;
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

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (parse_option(c, optarg, &o) < 0)
			return failed(argv[optind - 1], -EINVAL);
	}
	if (!strcmp(verb, "list"))
		return list();
	r = find_camera(&o);
	if (r)
		return r;
	if (!strcmp(verb, "capture"))
		return capture(&o);
	if (!strcmp(verb, "encode"))
		return encode(&o);
	return failed("verb: list, capture or encode", -EINVAL);
}
