/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pictures of counts into files that other programs can be asked about:
 *
 *	thermal_probe --dir DIR [options]
 *
 *	DIR/counts.mkv		the counts, FFV1 or uncompressed
 *	DIR/counts.raw		what must come out of it: 16 bits, little endian
 *	DIR/view.yuv		the view, YU12 frames
 *	DIR/view-N.jpg		the same as JPEG, where TurboJPEG is built in
 *
 *	--device PATH		camera; default: frames made here
 *	--scene ramp|noise|extreme	of those; default ramp
 *	--format FOURCC		default "Y16 "
 *	--size WxH		default 160x120; --rate N, default 30
 *	--frames N		default 10
 *	--codec auto|y16|ffv1	default auto
 *	--palette NAME		default white-hot
 *	--telemetry N		rows below the picture
 *	--m2m			also give the view to an M2M encoder
 *
 * One JSON line says what was done. Exit: 0, 1: something failed, 77: no
 * camera, or FFV1 is not built in.
 */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <capture/encoder.h>
#include <capture/source.h>
#include <capture/thermal.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/macros.h"
#include "base/parse.h"
#include "base/sys.h"
#include "proto/mkv_writer.h"
#include "src/frame_pool.h"

#define WAIT_NS UINT64_C(5000000000)
#define HEADER_BYTES_MAX 65536u
#define NS_PER_MS 1000000u

struct options {
	const char *dir;
	const char *device;
	const char *scene;
	const char *codec;
	const char *palette;
	uint32_t fourcc;
	uint32_t width;
	uint32_t height;
	uint32_t rate;
	uint32_t frames;
	uint32_t telemetry;
	bool m2m;
};

struct run {
	struct options o;
	struct capture_source *source; /* NULL: frames are made here */
	struct frame_pool *pool;       /* for those */
	struct capture_format format;
	struct capture_encoder *counts;
	struct capture_encoder *jpeg; /* NULL: not built in */
	struct capture_encoder *m2m;  /* NULL: not asked for */
	struct capture_thermal_view *view;
	FILE *mkv;
	FILE *raw;
	FILE *yuv;
	uint64_t first_ns;
	uint64_t bytes;
	uint64_t encode_ns;
	uint64_t view_ns;
	uint32_t random;
};

static void die(const char *format, ...) PRINTF(1, 2) __attribute__((noreturn));
static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
	(void)fputc('\n', stderr);
	exit(1);
}

static FILE *create(const struct run *run, const char *name)
{
	char path[4096];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", run->o.dir, name);
	f = fopen(path, "wb");
	if (!f)
		die("%s: %s", path, strerror(errno));
	return f;
}

static void put(FILE *f, const void *bytes, size_t len)
{
	if (fwrite(bytes, 1, len, f) != len)
		die("write: %s", strerror(errno));
}

/* What this thread has worked, whoever else does on this machine. */
static uint64_t cpu_ns(void)
{
	return sys_now_ns(sys_posix(), CLOCK_THREAD_CPUTIME_ID);
}

/* --- where frames come from --------------------------------------------- */

static uint32_t next_number(struct run *run)
{
	run->random = run->random * 1664525u + 1013904223u;
	return run->random >> 16;
}

/* Counts of 16 bits; what the format has no bits for is cut by store(). */
static uint32_t count_at(struct run *run, uint32_t n, uint32_t x, uint32_t y)
{
	if (!strcmp(run->o.scene, "noise"))
		return next_number(run);
	if (!strcmp(run->o.scene, "extreme"))
		return (x / 3 + y + n) % 2 ? 65535 : 0;
	return (7000 + 11 * x + 3 * y + 20 * n + next_number(run) % 8) & 0x3fff;
}

static void store(uint32_t fourcc, uint8_t *p, uint32_t x, uint32_t count)
{
	if (fourcc == CAPTURE_FORMAT_GREY)
		p[x] = (uint8_t)count;
	else if (fourcc == CAPTURE_FORMAT_Y16_BE)
		store_be16(p + (size_t)2 * x, (uint16_t)count);
	else
		store_le16(p + (size_t)2 * x, (uint16_t)count);
}

static struct capture_frame *make_frame(struct run *run, uint32_t n)
{
	struct capture_frame *f = frame_pool_take(run->pool);
	uint32_t x;
	uint32_t y;

	if (!f)
		die("no frame came back");
	for (y = 0; y < run->format.height; y++) {
		for (x = 0; x < run->format.width; x++)
			store(run->format.fourcc,
			      frame_pool_data(f, 0) +
				      (size_t)y * run->format.stride[0],
			      x, count_at(run, n, x, y));
	}
	f->sequence = n;
	f->stamp_ns = 1000000000 + UINT64_C(1000000000) * n / run->o.rate;
	f->clock = CAPTURE_CLOCK_MONOTONIC;
	return f;
}

static struct capture_frame *next_frame(struct run *run, uint32_t n)
{
	struct capture_frame *f;
	int r;

	if (!run->source)
		return make_frame(run, n);
	r = capture_source_dequeue(
		run->source, sys_now_ns(sys_posix(), CLOCK_MONOTONIC) + WAIT_NS,
		&f);
	if (r < 0)
		die("dequeue: %s", strerror(-r));
	return f;
}

static void open_pool(struct run *run)
{
	struct capture_source_config config = {.buffer_count = 4};
	/* Odd strides that are wider than the lines, as some drivers have. */
	uint32_t stride = run->o.width * 2 + 14;
	int r;

	run->format = (struct capture_format){
		.fourcc = run->o.fourcc,
		.width = run->o.width,
		.height = run->o.height,
		.plane_count = 1,
		.stride = {stride},
		.size = {stride * run->o.height},
		.rate_num = run->o.rate,
		.rate_den = 1,
	};
	r = frame_pool_new(sys_posix(), &run->format, &config, &run->pool);
	if (r < 0)
		die("frame pool: %s", strerror(-r));
}

static void open_source(struct run *run)
{
	struct capture_source_config config = {
		.kind = CAPTURE_SOURCE_V4L2,
		.path = run->o.device,
		.fourccs = &run->o.fourcc,
		.fourcc_count = 1,
		.width = run->o.width,
		.height = run->o.height,
		.rate_num = run->o.rate,
		.rate_den = 1,
	};
	int r;

	if (!run->o.device) {
		open_pool(run);
		return;
	}
	r = capture_source_open(NULL, &config, &run->source);
	if (r == -ENOENT)
		exit(77);
	if (r == 0)
		r = capture_source_start(run->source);
	if (r < 0)
		die("%s: %s", run->o.device, strerror(-r));
	run->format = *capture_source_format(run->source);
	if (run->format.fourcc != run->o.fourcc)
		die("%s: has not this format", run->o.device);
}

/* --- encoders ----------------------------------------------------------- */

static struct capture_encoder *open_encoder(const struct capture_format *format,
					    uint32_t codec)
{
	struct capture_encoder_config config;
	struct capture_encoder *e;
	int r;

	capture_encoder_config_init(&config);
	config.source = format;
	config.codec = codec;
	config.controls.quality = codec == CAPTURE_FORMAT_JPEG ? 92 : -1;
	r = capture_encoder_open(NULL, &config, &e);
	if (r == -ENODEV && codec == CAPTURE_FORMAT_JPEG)
		return NULL;
	if (r < 0)
		die("encoder: %s", strerror(-r));
	return e;
}

static uint32_t pick_codec(const struct run *run)
{
	uint32_t codec = 0;

	if (!strcmp(run->o.codec, "y16"))
		codec = CAPTURE_FORMAT_Y16;
	else if (!strcmp(run->o.codec, "ffv1"))
		codec = HAVE_AVCODEC ? CAPTURE_FORMAT_FFV1 : 0;
	else
		codec = capture_thermal_codec(&run->format);
	if (!codec)
		exit(77);
	return codec;
}

static void open_view(struct run *run)
{
	struct capture_thermal_config config;
	unsigned int i;
	int r;

	capture_thermal_config_init(&config);
	config.telemetry_rows = run->o.telemetry;
	for (i = 0; i <= CAPTURE_PALETTE_RAINBOW; i++) {
		if (!strcmp(run->o.palette,
			    capture_palette_name((enum capture_palette)i)))
			config.palette = (enum capture_palette)i;
	}
	r = capture_thermal_view_new(NULL, &run->format, &config, &run->view);
	if (r < 0)
		die("view: %s", strerror(-r));
	run->jpeg = open_encoder(capture_thermal_view_format(run->view),
				 CAPTURE_FORMAT_JPEG);
}

static void open_m2m(struct run *run)
{
	struct capture_encoder_config config;
	struct capture_thermal_stats stats;
	int r;

	capture_thermal_view_stats(run->view, &stats);
	capture_encoder_config_init(&config);
	config.backend = CAPTURE_BACKEND_M2M;
	config.source = capture_thermal_view_format(run->view);
	config.source_dmabuf = stats.rung == CAPTURE_RUNG_S1;
	r = capture_encoder_open(NULL, &config, &run->m2m);
	if (r < 0)
		die("M2M encoder: %s", strerror(-r));
}

static void m2m_one(struct run *run, struct capture_frame *f)
{
	struct capture_packet *p;
	int r;

	r = capture_encoder_submit(run->m2m, f);
	if (r == 0)
		r = capture_encoder_receive(
			run->m2m,
			sys_now_ns(sys_posix(), CLOCK_MONOTONIC) + WAIT_NS, &p);
	if (r < 0)
		die("M2M encoder: %s", strerror(-r));
	if (p->sequence != f->sequence)
		die("M2M encoder: a packet of another frame");
	(void)capture_packet_unref(p);
}

static struct capture_packet *encode(struct capture_encoder *e,
				     struct capture_frame *f)
{
	struct capture_packet *p;
	int r;

	r = capture_encoder_submit(e, f);
	if (r == 0)
		r = capture_encoder_receive(e, 0, &p);
	if (r < 0)
		die("encode: %s", strerror(-r));
	if (!(p->flags & CAPTURE_PACKET_KEY))
		die("a packet is no key frame");
	return p;
}

/* --- files -------------------------------------------------------------- */

static void write_header(struct run *run)
{
	struct mkv_track track = {.number = 1,
				  .type = MKV_TRACK_VIDEO,
				  .width = run->format.width,
				  .height = run->format.height};
	uint32_t codec = capture_encoder_codec(run->counts);
	struct buf out;
	int r;

	buf_init(&out, HEADER_BYTES_MAX);
	(void)capture_encoder_codec_private(run->counts, &track.codec_private,
					    &track.codec_private_bytes);
	(void)snprintf(track.codec_id, sizeof(track.codec_id), "%s",
		       codec == CAPTURE_FORMAT_FFV1 ? "V_FFV1"
						    : "V_UNCOMPRESSED");
	if (codec == CAPTURE_FORMAT_Y16)
		track.fourcc = CAPTURE_THERMAL_COLOUR_SPACE;
	r = mkv_write_header(&out, &track, 1, NS_PER_MS, NULL);
	if (r < 0)
		die("header: %s", strerror(-r));
	put(run->mkv, out.data + out.start, buf_len(&out));
	buf_fini(&out);
}

/* Each frame in a cluster of its own. */
static void write_packet(struct run *run, const struct capture_packet *p)
{
	uint8_t head[MKV_CLUSTER_HEAD_BYTES + MKV_BLOCK_HEAD_BYTES];

	if (!run->first_ns)
		run->first_ns = p->stamp_ns;
	mkv_cluster_head(head, (p->stamp_ns - run->first_ns) / NS_PER_MS);
	mkv_block_head(head + MKV_CLUSTER_HEAD_BYTES, 1, 0, true, p->bytes);
	put(run->mkv, head, sizeof(head));
	put(run->mkv, p->data, p->bytes);
	run->bytes += p->bytes;
}

/* The counts of a frame, read here again in the plainest way. */
static void write_counts(struct run *run, const struct capture_frame *f)
{
	const uint8_t *p = f->planes[0].map + f->planes[0].offset;
	uint32_t x;
	uint32_t y;

	for (y = 0; y < f->height; y++, p += f->planes[0].stride) {
		for (x = 0; x < f->width; x++) {
			uint8_t count[2] = {p[2 * x], p[2 * x + 1]};

			if (f->fourcc == CAPTURE_FORMAT_Y16_BE) {
				count[0] = p[2 * x + 1];
				count[1] = p[2 * x];
			} else if (f->fourcc == CAPTURE_FORMAT_Y14) {
				count[1] &= 0x3f;
			} else if (f->fourcc == CAPTURE_FORMAT_Y12) {
				count[1] &= 0x0f;
			} else if (f->fourcc == CAPTURE_FORMAT_GREY) {
				count[0] = p[x];
				count[1] = 0;
			}
			put(run->raw, count, 2);
		}
	}
}

static void write_view(struct run *run, struct capture_frame *f, uint32_t n)
{
	struct capture_frame *out;
	struct capture_packet *p;
	char name[32];
	FILE *jpg;
	int r;

	run->view_ns -= cpu_ns();
	r = capture_thermal_view_apply(run->view, f, &out);
	run->view_ns += cpu_ns();
	if (r < 0)
		die("view: %s", strerror(-r));
	if (out->sequence != f->sequence || out->stamp_ns != f->stamp_ns)
		die("the view is of another frame");
	put(run->yuv, out->planes[0].map, out->planes[0].bytesused);
	if (run->jpeg) {
		p = encode(run->jpeg, out);
		(void)snprintf(name, sizeof(name), "view-%u.jpg", n);
		jpg = create(run, name);
		put(jpg, p->data, p->bytes);
		(void)fclose(jpg);
		(void)capture_packet_unref(p);
	}
	if (run->m2m)
		m2m_one(run, out);
	(void)capture_frame_unref(out);
}

static void report(const struct run *run)
{
	const struct capture_format *view =
		capture_thermal_view_format(run->view);
	struct capture_thermal_stats thermal;
	struct capture_encoder_stats stats;

	capture_thermal_view_stats(run->view, &thermal);
	capture_encoder_stats(run->counts, &stats);
	printf("{\"encoder\": \"%s\", \"frames\": %u, \"width\": %u, "
	       "\"height\": %u, \"view_width\": %u, \"view_height\": %u, "
	       "\"telemetry\": %u, \"palette\": \"%s\", \"bytes\": %llu, "
	       "\"shown\": [%u, %u], \"scene\": [%u, %u], \"jpeg\": %s, "
	       "\"encode_cpu_us\": %llu, \"view_cpu_us\": %llu}\n",
	       stats.name, run->o.frames, run->format.width, run->format.height,
	       view->width, view->height, run->o.telemetry, run->o.palette,
	       (unsigned long long)run->bytes, thermal.shown_min,
	       thermal.shown_max, thermal.scene_min, thermal.scene_max,
	       run->jpeg ? "true" : "false",
	       (unsigned long long)run->encode_ns / run->o.frames / 1000,
	       (unsigned long long)run->view_ns / run->o.frames / 1000);
}

static void report_m2m(const struct run *run)
{
	struct capture_thermal_stats view;
	struct capture_encoder_stats stats;

	capture_thermal_view_stats(run->view, &view);
	capture_encoder_stats(run->m2m, &stats);
	printf("{\"rung\": \"%s\", \"m2m_packets\": %llu, \"m2m_imported\": "
	       "%s, "
	       "\"m2m_copies\": %llu}\n",
	       capture_rung_name(view.rung),
	       (unsigned long long)stats.packets_out,
	       stats.source_imported ? "true" : "false",
	       (unsigned long long)stats.copies);
}

static void run_all(struct run *run)
{
	struct capture_packet *p;
	uint32_t n;

	open_source(run);
	run->counts = open_encoder(&run->format, pick_codec(run));
	open_view(run);
	if (run->o.m2m)
		open_m2m(run);
	run->mkv = create(run, "counts.mkv");
	run->raw = create(run, "counts.raw");
	run->yuv = create(run, "view.yuv");
	write_header(run);
	for (n = 0; n < run->o.frames; n++) {
		struct capture_frame *f = next_frame(run, n);

		write_counts(run, f);
		run->encode_ns -= cpu_ns();
		p = encode(run->counts, f);
		run->encode_ns += cpu_ns();
		write_packet(run, p);
		(void)capture_packet_unref(p);
		write_view(run, f, n);
		(void)capture_frame_unref(f);
	}
	if (run->m2m)
		report_m2m(run);
	report(run);
	if (fclose(run->mkv) || fclose(run->raw) || fclose(run->yuv))
		die("close: %s", strerror(errno));
	(void)capture_encoder_close(run->jpeg);
	(void)capture_encoder_close(run->m2m);
	(void)capture_encoder_close(run->counts);
	(void)capture_thermal_view_free(run->view);
	(void)capture_source_close(run->source);
	frame_pool_close(run->pool);
}

/* --- arguments ---------------------------------------------------------- */

static uint32_t number(const char *text)
{
	uint64_t v;

	if (parse_u64(text, strlen(text), UINT16_MAX, &v) < 0 || !v)
		die("not a number: %s", text);
	return (uint32_t)v;
}

static uint32_t fourcc_of(const char *text)
{
	if (strlen(text) < 4)
		die("not a fourcc: %s", text);
	return CAPTURE_FOURCC(text[0], text[1], text[2], text[3]) |
	       (strcmp(text + 4, "-BE") ? 0 : UINT32_C(1) << 31);
}

static void size_of(char *text, struct options *o)
{
	char *height = strchr(text, 'x');

	if (!height)
		die("not a size: %s", text);
	*height = '\0';
	o->width = number(text);
	o->height = number(height + 1);
}

static void set_option(struct options *o, int c)
{
	switch (c) {
	case 'o':
		o->dir = optarg;
		break;
	case 'd':
		o->device = optarg;
		break;
	case 's':
		o->scene = optarg;
		break;
	case 'f':
		o->fourcc = fourcc_of(optarg);
		break;
	case 'w':
		size_of(optarg, o);
		break;
	case 'r':
		o->rate = number(optarg);
		break;
	case 'n':
		o->frames = number(optarg);
		break;
	case 'c':
		o->codec = optarg;
		break;
	case 'p':
		o->palette = optarg;
		break;
	case 'm':
		o->m2m = true;
		break;
	case 't':
		o->telemetry = number(optarg);
		break;
	default:
		exit(1);
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"dir", required_argument, NULL, 'o'},
		{"device", required_argument, NULL, 'd'},
		{"scene", required_argument, NULL, 's'},
		{"format", required_argument, NULL, 'f'},
		{"size", required_argument, NULL, 'w'},
		{"rate", required_argument, NULL, 'r'},
		{"frames", required_argument, NULL, 'n'},
		{"codec", required_argument, NULL, 'c'},
		{"palette", required_argument, NULL, 'p'},
		{"telemetry", required_argument, NULL, 't'},
		{"m2m", no_argument, NULL, 'm'},
		{NULL, 0, NULL, 0},
	};
	static struct run run = {
		.o = {.scene = "ramp",
		      .codec = "auto",
		      .palette = "white-hot",
		      .fourcc = CAPTURE_FORMAT_Y16,
		      .width = 160,
		      .height = 120,
		      .rate = 30,
		      .frames = 10},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
		set_option(&run.o, c);
	if (!run.o.dir || optind != argc)
		die("usage: thermal_probe --dir DIR [options]");
	run_all(&run);
	return 0;
}
