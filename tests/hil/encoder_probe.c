/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Camera -> M2M encoder, and what became of each frame; run it in a guest.
 *
 *	encoder_probe [options] [CONTROL=VALUE...]
 *
 *	--device PATH	camera; default /dev/video0
 *	--encoder PATH	default: by capability
 *	--format FOURCC	default YU12; --size WxH, default 640x480
 *	--rung, --coded-rung S1|S3|S5|auto
 *	--copy		do not import; --codec FOURCC, default H264
 *	--frames N	default 30; --buffers N, coded ones
 *	--timeout MS	the encoder's, default 20000: a busy host is no hang
 *	--lockstep	wait for each packet before the next frame goes in
 *	--force N	a key frame is asked for before frame N (from 0)
 *	--rate N=BITS	... a bitrate before frame N
 *	--fps N		default 30
 *	--heal FILE	after a failure, write 0 to FILE, reopen, go on
 *	--stuck MS	the driver is called on a thread of the encoder's own;
 *			a line tells when it was closed
 *	--raw FILE --out FILE	frames that went in, packets that came out
 *
 * CONTROL: a field of struct capture_encoder_controls. One JSON line per
 * packet, then one of totals. Exit: 0; 1: bad arguments or no camera.
 */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <capture/encoder.h>
#include <capture/source.h>

#include "base/macros.h"
#include "base/parse.h"
#include "base/sys.h"

#define FRAME_WAIT_NS UINT64_C(20000000000)
#define NS_PER_MS UINT64_C(1000000)
#define NONE UINT32_MAX
#define STAMPS 4096

struct probe {
	struct capture_source_config source_config;
	struct capture_encoder_config config;
	uint32_t fourcc;
	uint32_t frames;
	uint32_t force_at;
	uint32_t rate_at;
	uint32_t rate;
	bool lockstep;
	const char *heal;
	const char *raw_path;
	const char *out_path;

	struct capture_source *source;
	struct capture_encoder *encoder;
	FILE *raw;
	FILE *out;
	uint64_t stamps[STAMPS]; /* of frame i */
	uint32_t submitted;
	uint32_t refused; /* no room: put in later */
	uint32_t received;
	uint32_t reopened;
	const char *early; /* what an open said before it was healed */
	uint32_t disordered;
	uint32_t strange; /* a stamp that no frame had */
	int64_t last;	  /* frame of the newest packet */
	const char *error;
	uint64_t error_ms; /* since the last sign of life, or more */
	uint64_t close_ms;
	uint64_t progress_ns; /* before that call */
};

static uint64_t now_ns(void)
{
	return sys_now_ns(sys_posix(), CLOCK_MONOTONIC);
}

static unsigned int count_entries(const char *path)
{
	unsigned int count = 0;
	DIR *dir = opendir(path);

	while (dir && readdir(dir))
		count++;
	if (dir)
		closedir(dir);
	return count;
}

static int64_t frame_of(const struct probe *p, uint64_t stamp_ns)
{
	uint32_t i;

	for (i = 0; i < p->submitted && i < STAMPS; i++) {
		if (p->stamps[i] == stamp_ns)
			return i;
	}
	return -1;
}

static void take(struct probe *p, struct capture_packet *packet)
{
	int64_t frame = frame_of(p, packet->stamp_ns);

	p->strange += frame < 0;
	p->disordered += frame <= p->last;
	p->last = frame;
	p->received++;
	printf("{\"frame\": %lld, \"bytes\": %zu, \"key\": %s, "
	       "\"driver_key\": %s, \"run\": %u}\n",
	       (long long)frame, packet->bytes,
	       packet->flags & CAPTURE_PACKET_KEY ? "true" : "false",
	       packet->flags & CAPTURE_PACKET_DRIVER_KEY ? "true" : "false",
	       p->reopened);
	if (p->out)
		(void)fwrite(packet->data, 1, packet->bytes, p->out);
	(void)capture_packet_unref(packet);
}

/* All there are by @deadline_ns; @most: leave when so many came. */
static int receive(struct probe *p, uint64_t deadline_ns, uint32_t most)
{
	struct capture_packet *packet;
	uint32_t count = 0;
	int r = 0;

	while (count < most) {
		uint64_t before_ns = now_ns();

		r = capture_encoder_receive(p->encoder, deadline_ns, &packet);
		if (r < 0)
			break;
		p->progress_ns = before_ns;
		take(p, packet);
		count++;
	}
	return r == -EAGAIN ? 0 : r;
}

static const char *error_name(int r)
{
	return r == -EPIPE ? "EPIPE" : strerrorname_np(-r);
}

static int open_encoder(struct probe *p)
{
	int r;

	p->progress_ns = now_ns();
	r = capture_encoder_open(NULL, &p->config, &p->encoder);
	if (r < 0)
		printf("{\"failed\": \"open\", \"error\": \"%s\"}\n",
		       error_name(r));
	return r;
}

static void write_raw(struct probe *p, const struct capture_frame *f)
{
	uint32_t i;

	for (i = 0; p->raw && i < f->plane_count; i++)
		(void)fwrite(f->planes[i].map + f->planes[i].offset, 1,
			     f->planes[i].bytesused, p->raw);
}

static int submit(struct probe *p, struct capture_frame *f)
{
	int r;

	if (p->submitted == p->force_at) {
		p->force_at = NONE;
		r = capture_encoder_force_key(p->encoder);
		if (r < 0)
			return r;
	}
	if (p->submitted == p->rate_at) {
		p->rate_at = NONE;
		r = capture_encoder_set_bitrate(p->encoder, p->rate);
		if (r < 0)
			return r;
	}
	/* A fast device may answer before submit returns. */
	p->stamps[p->submitted % STAMPS] = f->stamp_ns;
	while ((r = capture_encoder_submit(p->encoder, f)) == -EAGAIN) {
		p->refused++;
		r = receive(p, UINT64_MAX, 1);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	write_raw(p, f);
	p->submitted++;
	return 0;
}

static void failed(struct probe *p, int r)
{
	uint64_t start_ns = now_ns();

	p->error = error_name(r);
	p->error_ms = (start_ns - p->progress_ns) / NS_PER_MS;
	p->encoder = capture_encoder_close(p->encoder);
	p->close_ms = (now_ns() - start_ns) / NS_PER_MS;
}

static void pause_ms(int ms)
{
	(void)sys_posix()->poll(NULL, 0, ms);
}

static int heal(struct probe *p)
{
	FILE *f;
	int r;

	if (p->config.stuck_ns) {
		r = capture_encoder_open(NULL, &p->config, &p->encoder);
		p->early = r < 0 ? error_name(r) : "none";
		p->encoder = capture_encoder_close(p->encoder);
	}
	f = fopen(p->heal, "w");
	if (!f || fputs("0\n", f) < 0 || fclose(f))
		return -errno;
	p->reopened++;
	do { /* the driver returns in its own time */
		p->progress_ns = now_ns();
		r = capture_encoder_open(NULL, &p->config, &p->encoder);
		if (r == -EBUSY)
			pause_ms(10);
	} while (r == -EBUSY);
	return r;
}

/* What was left behind in the driver ends when that returns. */
static void wait_for_threads(void)
{
	const unsigned int one = 3; /* with . and .. */

	while (count_entries("/proc/self/task") > one)
		pause_ms(10);
}

static void totals(const struct probe *p, const struct capture_encoder_stats *e)
{
	struct capture_source_stats s;

	capture_source_stats(p->source, &s);
	printf("{\"totals\": true, \"error\": \"%s\", \"error_ms\": %llu, "
	       "\"close_ms\": %llu, \"submitted\": %u, \"refused\": %u, "
	       "\"received\": %u, \"reopened\": %u, \"disordered\": %u, "
	       "\"strange\": %u, \"source_rung\": \"%s\", \"rung\": \"%s\", "
	       "\"early\": \"%s\", \"imported\": %s, \"keys\": %llu, "
	       "\"skipped\": %llu, "
	       "\"errors\": %llu, \"unpaired\": %llu, \"copies\": %llu, "
	       "\"ignored\": %u, \"adjusted\": %u, \"separate\": %llu, "
	       "\"joined\": %llu, \"missing\": %llu, \"bytes\": %llu, "
	       "\"bytes_copied\": %llu",
	       p->error ? p->error : "", (unsigned long long)p->error_ms,
	       (unsigned long long)p->close_ms, p->submitted, p->refused,
	       p->received, p->reopened, p->disordered, p->strange,
	       capture_rung_name(s.rung), capture_rung_name(e->rung),
	       p->early ? p->early : "", e->source_imported ? "true" : "false",
	       (unsigned long long)e->packets_key,
	       (unsigned long long)e->frames_skipped,
	       (unsigned long long)e->packets_error,
	       (unsigned long long)e->packets_unpaired,
	       (unsigned long long)e->copies, e->controls_ignored,
	       e->controls_adjusted, (unsigned long long)e->headers_separate,
	       (unsigned long long)e->headers_joined,
	       (unsigned long long)e->headers_missing,
	       (unsigned long long)e->bytes_out,
	       (unsigned long long)e->bytes_copied_out);
}

static int one_frame(struct probe *p)
{
	struct capture_frame *f;
	int r;

	r = capture_source_dequeue(p->source, now_ns() + FRAME_WAIT_NS, &f);
	/* All of its frames are inside the encoder: that one must move. */
	while (r == -ENOBUFS) {
		r = receive(p, UINT64_MAX, 1);
		if (r == 0)
			r = capture_source_dequeue(
				p->source, now_ns() + FRAME_WAIT_NS, &f);
	}
	if (r < 0)
		return r;
	r = submit(p, f);
	(void)capture_frame_unref(f);
	if (r == 0 && p->lockstep)
		r = receive(p, UINT64_MAX, 1);
	else if (r == 0)
		r = receive(p, 0, UINT32_MAX);
	return r;
}

/* Ends with the packets that are inside; what the end was is the error. */
static int drain(struct probe *p)
{
	int r;

	p->progress_ns = now_ns();
	r = capture_encoder_drain(p->encoder);
	return r < 0 ? r
		     : receive(p, now_ns() + 10 * FRAME_WAIT_NS, UINT32_MAX);
}

static int run(struct probe *p)
{
	struct capture_encoder_stats e;
	uint32_t i;
	int r = 0;

	for (i = 0; r == 0 && i < p->frames; i++) {
		r = one_frame(p);
		if (r < 0 && p->heal && !p->reopened) {
			failed(p, r);
			r = heal(p);
			if (r < 0)
				return r;
		}
	}
	if (r == 0)
		r = drain(p);
	capture_encoder_stats(p->encoder, &e);
	if (r != -EPIPE || !p->error)
		failed(p, r);
	p->encoder = capture_encoder_close(p->encoder);
	if (p->config.stuck_ns) {
		printf("{\"closed\": true}\n");
		wait_for_threads();
	}
	totals(p, &e);
	return 0;
}

static int run_files(struct probe *p)
{
	int r;

	p->raw = p->raw_path ? fopen(p->raw_path, "wb") : NULL;
	p->out = p->out_path ? fopen(p->out_path, "wb") : NULL;
	r = capture_source_start(p->source);
	if (r == 0)
		r = run(p);
	if ((p->raw && fclose(p->raw)) || (p->out && fclose(p->out)))
		r = -EIO;
	return r;
}

static int probe(struct probe *p)
{
	unsigned int fds = count_entries("/proc/self/fd");
	unsigned int maps = count_entries("/proc/self/map_files");
	int r;

	r = capture_source_open(NULL, &p->source_config, &p->source);
	if (r < 0) {
		printf("{\"failed\": \"camera\", \"error\": \"%s\"}\n",
		       error_name(r));
		return 1;
	}
	p->config.source = capture_source_format(p->source);
	r = open_encoder(p);
	if (r == 0) {
		r = run_files(p);
		p->encoder = capture_encoder_close(p->encoder);
		p->source = capture_source_close(p->source);
		/* It ends the line that totals() began. */
		if (r == 0)
			printf(", \"fds_left\": %d, \"maps_left\": %d}\n",
			       (int)count_entries("/proc/self/fd") - (int)fds,
			       (int)count_entries("/proc/self/map_files") -
				       (int)maps);
		else
			printf("{\"failed\": \"run\", \"error\": \"%s\"}\n",
			       error_name(r));
	}
	p->source = capture_source_close(p->source);
	return r < 0;
}

/* --- options ------------------------------------------------------------ */

static int parse_rung(const char *text, enum capture_rung *ret)
{
	int i;

	for (i = CAPTURE_RUNG_AUTO; i <= CAPTURE_RUNG_S5; i++) {
		if (strcmp(text, capture_rung_name((enum capture_rung)i)))
			continue;
		*ret = (enum capture_rung)i;
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

/* "A<sep>B" */
static int parse_pair(const char *text, char sep, uint32_t *a, uint32_t *b)
{
	const char *at = strchr(text, sep);
	uint64_t value;

	if (!at || parse_u64(text, (size_t)(at - text), UINT32_MAX, &value))
		return -EINVAL;
	*a = (uint32_t)value;
	return parse_u32(at + 1, b);
}

static int parse_control(const char *text, struct capture_encoder_controls *c)
{
	const struct {
		const char *name;
		int64_t *value;
	} list[] = {
		{"bitrate", &c->bitrate},
		{"gop_frames", &c->gop_frames},
		{"qp", &c->qp},
		{"quality", &c->quality},
		{"bitrate_peak", &c->bitrate_peak},
		{"bitrate_mode", &c->bitrate_mode},
		{"qp_min", &c->qp_min},
		{"qp_max", &c->qp_max},
		{"profile", &c->profile},
		{"level", &c->level},
		{"header_mode", &c->header_mode},
		{"repeat_headers", &c->repeat_headers},
	};
	const char *equals = strchr(text, '=');
	uint32_t value = 0;
	size_t i;

	if (!equals || parse_u32(equals + 1, &value) < 0)
		return -EINVAL;
	for (i = 0; i < ARRAY_SIZE(list); i++) {
		size_t len = strlen(list[i].name);

		if (len != (size_t)(equals - text) ||
		    strncmp(text, list[i].name, len))
			continue;
		*list[i].value = value;
		return 0;
	}
	return -EINVAL;
}

static int parse_option(int c, const char *arg, struct probe *p)
{
	uint32_t ms = 0;

	switch (c) {
	case 'd':
		p->source_config.path = arg;
		return 0;
	case 'e':
		p->config.path = arg;
		return 0;
	case 'f':
		p->fourcc = CAPTURE_FOURCC(arg[0], arg[1], arg[2], arg[3]);
		return 0;
	case 'k':
		p->config.codec =
			CAPTURE_FOURCC(arg[0], arg[1], arg[2], arg[3]);
		return 0;
	case 's':
		return parse_pair(arg, 'x', &p->source_config.width,
				  &p->source_config.height);
	case 'r':
		return parse_rung(arg, &p->source_config.rung);
	case 'c':
		return parse_rung(arg, &p->config.rung);
	case 'C':
		p->config.source_dmabuf = false;
		return 0;
	case 'n':
		return parse_u32(arg, &p->frames);
	case 'b':
		return parse_u32(arg, &p->config.buffer_count);
	case 't':
		if (parse_u32(arg, &ms) < 0)
			return -EINVAL;
		p->config.timeout_ns = ms * NS_PER_MS;
		return 0;
	case 'S':
		if (parse_u32(arg, &ms) < 0)
			return -EINVAL;
		p->config.stuck_ns = ms * NS_PER_MS;
		return 0;
	case 'l':
		p->lockstep = true;
		return 0;
	case 'F':
		return parse_u32(arg, &p->force_at);
	case 'R':
		return parse_pair(arg, '=', &p->rate_at, &p->rate);
	case 'p':
		return parse_u32(arg, &p->source_config.rate_num);
	case 'h':
		p->heal = arg;
		return 0;
	case 'w':
		p->raw_path = arg;
		return 0;
	case 'o':
		p->out_path = arg;
		return 0;
	default:
		return -EINVAL;
	}
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{"device", 1, NULL, 'd'},   {"encoder", 1, NULL, 'e'},
		{"format", 1, NULL, 'f'},   {"size", 1, NULL, 's'},
		{"rung", 1, NULL, 'r'},	    {"coded-rung", 1, NULL, 'c'},
		{"copy", 0, NULL, 'C'},	    {"frames", 1, NULL, 'n'},
		{"buffers", 1, NULL, 'b'},  {"timeout", 1, NULL, 't'},
		{"lockstep", 0, NULL, 'l'}, {"force", 1, NULL, 'F'},
		{"rate", 1, NULL, 'R'},	    {"fps", 1, NULL, 'p'},
		{"heal", 1, NULL, 'h'},	    {"codec", 1, NULL, 'k'},
		{"raw", 1, NULL, 'w'},	    {"out", 1, NULL, 'o'},
		{"stuck", 1, NULL, 'S'},    {NULL, 0, NULL, 0},
	};
	static struct probe p = {
		.fourcc = CAPTURE_FORMAT_YU12,
		.frames = 30,
		.force_at = NONE,
		.rate_at = NONE,
		.last = -1,
	};
	int r = 0;
	int c;

	p.source_config.path = "/dev/video0";
	p.source_config.fourccs = &p.fourcc;
	p.source_config.fourcc_count = 1;
	p.source_config.width = 640;
	p.source_config.height = 480;
	p.source_config.rate_num = 30;
	p.source_config.rate_den = 1;
	capture_encoder_config_init(&p.config);
	p.config.backend = CAPTURE_BACKEND_M2M;
	p.config.source_dmabuf = true;
	p.config.timeout_ns = 20000 * NS_PER_MS;
	/* No frame is copied, however slow this host is now. */
	p.source_config.borrow_max = CAPTURE_SOURCE_BUFFERS;
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	while (r == 0 && (c = getopt_long(argc, argv, "", longs, NULL)) != -1)
		r = parse_option(c, optarg, &p);
	while (r == 0 && optind < argc)
		r = parse_control(argv[optind++], &p.config.controls);
	if (r < 0 || p.frames > STAMPS) {
		fprintf(stderr, "bad argument\n");
		return 1;
	}
	return probe(&p);
}
