/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any source, on this kernel: JSON lines of what its frames say, payloads and
 * packets to files. The test that calls it judges.
 *
 *	source_probe frames KIND PATH [NAME=VALUE...]
 *	source_probe play PCM RATE CHANNELS SAMPLES
 *	source_probe law a|u
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if HAVE_ALSA
#include <alsa/asoundlib.h>
#endif

#include <capture/align.h>
#include <capture/encoder.h>
#include <capture/source.h>

#include "base/bytes.h"
#include "base/parse.h"
#include "base/sys.h"
#include "src/g711.h"
#include "src/pattern.h"

#define NS_PER_MS UINT64_C(1000000)

struct options {
	struct capture_source_config config;
	uint64_t count;
	uint64_t stall_after; /* frames; then do not read for stall_ms */
	uint64_t stall_ms;
	uint64_t wait_ms; /* for one frame */
	uint32_t codec;
	FILE *raw;
	FILE *packets;
};

static int fail(const char *what, int r)
{
	printf("{\"error\": \"%s\", \"errno\": \"%s\"}\n", what, strerror(-r));
	return 1;
}

static void pause_ms(uint64_t ms)
{
	struct timespec t = {
		.tv_sec = (time_t)(ms / 1000),
		.tv_nsec = (long)(ms % 1000 * NS_PER_MS),
	};

	(void)nanosleep(&t, NULL);
}

/* --- options ------------------------------------------------------------ */

static int parse_kind(const char *name, enum capture_source_kind *ret)
{
	static const struct {
		const char *name;
		enum capture_source_kind kind;
	} kinds[] = {
		{"alsa", CAPTURE_SOURCE_ALSA},
		{"iio", CAPTURE_SOURCE_IIO},
		{"records", CAPTURE_SOURCE_RECORDS},
		{"synthetic", CAPTURE_SOURCE_SYNTHETIC},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(name, kinds[i].name) != 0)
			continue;
		*ret = kinds[i].kind;
		return 0;
	}
	return -EINVAL;
}

static int parse_text(struct options *o, const char *name, const char *value)
{
	FILE **file = NULL;

	if (!strcmp(name, "codec")) {
		o->codec = !strcmp(value, "alaw")   ? CAPTURE_FORMAT_ALAW
			   : !strcmp(value, "ulaw") ? CAPTURE_FORMAT_ULAW
						    : CAPTURE_FORMAT_AAC;
		return 0;
	}
	if (!strcmp(name, "raw"))
		file = &o->raw;
	if (!strcmp(name, "packets"))
		file = &o->packets;
	if (!file)
		return -EINVAL;
	*file = fopen(value, "wb");
	return *file ? 0 : -errno;
}

static int parse_option(struct options *o, char *text)
{
	char *value = strchr(text, '=');
	uint64_t n;

	if (!value)
		return -EINVAL;
	*value++ = '\0';
	if (parse_u64(value, strlen(value), UINT32_MAX, &n) < 0)
		return parse_text(o, text, value);
	if (!strcmp(text, "rate"))
		o->config.sample_rate = (uint32_t)n;
	else if (!strcmp(text, "channels"))
		o->config.channels = (uint32_t)n;
	else if (!strcmp(text, "samples"))
		o->config.frame_samples = (uint32_t)n;
	else if (!strcmp(text, "buffers"))
		o->config.buffer_count = (uint32_t)n;
	else if (!strcmp(text, "count"))
		o->count = n;
	else if (!strcmp(text, "stall_after"))
		o->stall_after = n;
	else if (!strcmp(text, "stall_ms"))
		o->stall_ms = n;
	else if (!strcmp(text, "wait_ms"))
		o->wait_ms = n;
	else
		return -EINVAL;
	return 0;
}

/* --- frames ------------------------------------------------------------- */

static void print_frame(const struct capture_frame *f)
{
	static const char *const clocks[] = {"unknown", "monotonic", "copy",
					     "realtime", "boottime"};
	static const char *const points[] = {"end", "exposure", "first",
					     "arrival"};

	printf("{\"sequence\": %u, \"epoch\": %u, \"stamp_ns\": %" PRIu64
	       ", \"clock\": \"%s\", \"point\": \"%s\", \"ticks\": %" PRIu64
	       ", \"hz\": %" PRIu64 ", \"bytes\": %u, \"now_ns\": %" PRIu64
	       ", \"by\": \"%s\", \"aligned_ns\": %" PRIu64
	       ", \"sigma_ns\": %" PRIu64 ", \"aligned_epoch\": %u}\n",
	       f->sequence, f->epoch, f->stamp_ns, clocks[f->clock],
	       points[f->point], f->device_ticks, f->device_hz,
	       f->planes[0].bytesused,
	       sys_now_ns(sys_posix(), CLOCK_MONOTONIC),
	       capture_aligned_by_name(f->aligned.by), f->aligned.ns,
	       f->aligned.sigma_ns, f->aligned.epoch);
}

static void print_stats(const struct capture_source *s)
{
	struct capture_source_stats t;

	capture_source_stats(s, &t);
	printf("{\"frames\": %" PRIu64 ", \"lost\": %" PRIu64
	       ", \"bad\": %" PRIu64 ", \"skipped\": %" PRIu64
	       ", \"overruns\": %" PRIu64 ", \"rung\": \"%s\", \"bits\": %u, "
	       "\"touched\": %" PRIu64 "}\n",
	       t.frames, t.frames_lost, t.frames_error, t.bytes_skipped,
	       t.overruns, capture_rung_name(t.rung), t.device_bits,
	       t.bytes_touched);
}

/* Types as the kernel writes them: "le:s12/16>>4". */
static void print_scan(const struct capture_source *s)
{
	struct capture_scan_element e;
	uint32_t i;

	for (i = 0; capture_source_scan_element(s, i, &e) == 0; i++)
		printf("%s[\"%s\", %u, \"%s:%c%u/%u>>%u\"]", i ? ", " : "",
		       e.name, e.offset, e.is_big_endian ? "be" : "le",
		       e.is_signed ? 's' : 'u', e.bits, e.storage_bits,
		       e.shift);
}

static void print_format(const struct capture_source *s)
{
	const struct capture_format *f = capture_source_format(s);

	printf("{\"rate\": %u, \"channels\": %u, \"sample_bytes\": %u, "
	       "\"frame_bytes\": %u, \"scan\": [",
	       f->sample_rate, f->channels, f->sample_bytes, f->size[0]);
	print_scan(s);
	printf("]}\n");
}

/* ADTS before each packet, so that any decoder takes the file. */
static void write_packet(const struct options *o,
			 const struct capture_source *s,
			 const struct capture_packet *p)
{
	static const uint32_t rates[] = {96000, 88200, 64000, 48000, 44100,
					 32000, 24000, 22050, 16000};
	const struct capture_format *f = capture_source_format(s);
	size_t len = p->bytes + 7;
	uint8_t h[7];
	uint32_t i = 0;

	if (o->codec == CAPTURE_FORMAT_AAC) {
		while (i < ARRAY_SIZE(rates) - 1 && rates[i] != f->sample_rate)
			i++;
		h[0] = 0xff;
		h[1] = 0xf1;
		h[2] = (uint8_t)(1 << 6 | i << 2 | f->channels >> 2);
		h[3] = (uint8_t)((f->channels & 3) << 6 | len >> 11);
		h[4] = (uint8_t)(len >> 3);
		h[5] = (uint8_t)((len & 7) << 5 | 0x1f);
		h[6] = 0xfc;
		(void)fwrite(h, 1, sizeof(h), o->packets);
	}
	(void)fwrite(p->data, 1, p->bytes, o->packets);
	printf("{\"packet_stamp_ns\": %" PRIu64 ", \"packet_bytes\": %zu}\n",
	       p->stamp_ns, p->bytes);
}

static void write_packets(const struct options *o,
			  const struct capture_source *s,
			  struct capture_encoder *e)
{
	struct capture_packet *p;

	while (capture_encoder_receive(e, 0, &p) == 0) {
		write_packet(o, s, p);
		(void)capture_packet_unref(p);
	}
}

static int one_frame(const struct options *o, struct capture_source *s,
		     struct capture_encoder *e)
{
	uint64_t deadline_ns = sys_now_ns(sys_posix(), CLOCK_MONOTONIC) +
			       o->wait_ms * NS_PER_MS;
	struct capture_frame *f;
	int r;

	r = capture_source_dequeue(s, deadline_ns, &f);
	if (r < 0)
		return r;
	print_frame(f);
	if (o->raw)
		(void)fwrite(f->planes[0].map + f->planes[0].offset, 1,
			     f->planes[0].bytesused, o->raw);
	if (e) {
		r = capture_encoder_submit(e, f);
		write_packets(o, s, e);
	}
	(void)capture_frame_unref(f);
	return r;
}

static int run(const struct options *o, struct capture_source *s,
	       struct capture_encoder *e)
{
	uint64_t n;
	int r;

	r = capture_source_start(s);
	if (r < 0)
		return fail("start", r);
	printf("{\"started\": true}\n");
	for (n = 0; n < o->count; n++) {
		if (o->stall_ms && n == o->stall_after)
			pause_ms(o->stall_ms);
		r = one_frame(o, s, e);
		if (r < 0)
			break;
	}
	if (e && r == 0) {
		r = capture_encoder_drain(e);
		write_packets(o, s, e);
	}
	print_stats(s);
	return r < 0 ? fail("dequeue", r) : 0;
}

static int open_encoder(const struct options *o, const struct capture_source *s,
			struct capture_encoder **ret)
{
	struct capture_encoder_config config;

	if (!o->codec || !o->packets)
		return 0;
	capture_encoder_config_init(&config);
	config.codec = o->codec;
	config.source = capture_source_format(s);
	return capture_encoder_open(NULL, &config, ret);
}

static int frames(int argc, char **argv)
{
	struct options o = {.count = 50, .wait_ms = 10000};
	struct capture_encoder *e = NULL;
	struct capture_source *s;
	int i;
	int r;

	if (argc < 2 || parse_kind(argv[0], &o.config.kind) < 0)
		return 2;
	o.config.path = argv[1];
	for (i = 2; i < argc; i++) {
		r = parse_option(&o, argv[i]);
		if (r < 0)
			return fail(argv[i], r);
	}
	r = capture_source_open(NULL, &o.config, &s);
	if (r < 0)
		return fail("open", r);
	print_format(s);
	r = open_encoder(&o, s, &e);
	r = r < 0 ? fail("encoder", r) : run(&o, s, e);
	(void)capture_encoder_close(e);
	(void)capture_source_close(s);
	if (o.raw && fclose(o.raw))
		r = 1;
	if (o.packets && fclose(o.packets))
		r = 1;
	return r;
}

/* --- the other end ------------------------------------------------------ */

static int law(const char *which)
{
	int x;

	for (x = INT16_MIN; x <= INT16_MAX; x++)
		putchar(which[0] == 'a' ? g711_alaw((int16_t)x)
					: g711_ulaw((int16_t)x));
	return 0;
}

#if HAVE_ALSA

/* 12345 and -12345, so that the beginning is found; then the tone. */
static void signal_at(uint64_t at, uint32_t rate, uint32_t channels,
		      uint8_t *to)
{
	uint32_t c;

	pattern_tone(at, 1, rate, channels, to);
	for (c = 0; c < channels && at < 2; c++)
		store_le16(to + 2 * c, (uint16_t)(at ? -12345 : 12345));
}

/*
 * Samples of 16 bits in another format: below them is what must be cut off.
 * @bytes: of S16_LE. @to: at most 4 bytes a sample.
 */
static void widen(snd_pcm_format_t format, const uint8_t *bytes, size_t count,
		  uint8_t *to)
{
	size_t len = (size_t)snd_pcm_format_physical_width(format) / 8;
	int width = snd_pcm_format_width(format);
	size_t i;
	size_t b;

	for (i = 0; i < count; i++) {
		int32_t v = (int32_t)((uint32_t)load_le16(bytes + 2 * i) << 16 |
				      ((i * 40503) & 0xffff)) >>
			    (32 - width);

		for (b = 0; b < len; b++)
			to[snd_pcm_format_big_endian(format) ? len - 1 - b : b] =
				(uint8_t)((uint32_t)v >> 8 * b);
		to += len;
	}
}

static int play(const char *name, uint32_t rate, uint32_t channels,
		uint64_t count, const char *format_name)
{
	snd_pcm_format_t format = snd_pcm_format_value(format_name);
	uint8_t bytes[256 * 2 * 8];
	uint8_t wide[256 * 4 * 8];
	snd_pcm_sframes_t n;
	uint64_t done = 0;
	snd_pcm_t *pcm;
	uint64_t i;
	int r;

	if (channels > 8)
		return 2;
	r = snd_pcm_open(&pcm, name, SND_PCM_STREAM_PLAYBACK, 0);
	if (r == 0)
		r = snd_pcm_set_params(pcm, format, SND_PCM_ACCESS_RW_INTERLEAVED,
				       channels, rate, 0, 500000);
	if (r < 0)
		return fail("play", r);
	while (done < count) {
		for (i = 0; i < 256; i++)
			signal_at(done + i, rate, channels,
				  bytes + i * 2 * channels);
		widen(format, bytes, 256 * (size_t)channels, wide);
		n = snd_pcm_writei(pcm, wide, 256);
		if (n < 0)
			return fail("write", (int)n);
		/* From now on the other side is bound to the format. */
		if (!done && format != SND_PCM_FORMAT_S16_LE)
			printf("{\"playing\": true}\n");
		done += (uint64_t)n;
	}
	(void)snd_pcm_drain(pcm);
	(void)snd_pcm_close(pcm);
	return 0;
}

#endif

int main(int argc, char **argv)
{
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc >= 2 && !strcmp(argv[1], "frames"))
		return frames(argc - 2, argv + 2);
	if (argc == 3 && !strcmp(argv[1], "law"))
		return law(argv[2]);
#if HAVE_ALSA
	if ((argc == 6 || argc == 7) && !strcmp(argv[1], "play"))
		return play(argv[2], (uint32_t)strtoul(argv[3], NULL, 10),
			    (uint32_t)strtoul(argv[4], NULL, 10),
			    strtoul(argv[5], NULL, 10),
			    argc == 7 ? argv[6] : "S16_LE");
#endif
	return 2;
}
