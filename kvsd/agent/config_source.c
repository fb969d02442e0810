/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/config_source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <capture/encoder.h>

#include "base/parse.h"
#include "core/limits.h"

#define INPUTS_MAX 255u
#define SIDE_MAX 16384u
#define SCALE_UK_MAX 1000000000u
#define OFFSET_UK_MAX UINT64_C(1000000000000)
#define RATE_MAX 1000u
#define SAMPLE_RATE_MAX 100000000u
#define CHANNELS_MAX 64u
#define FRAME_SAMPLES_MAX (1u << 24)
#define BUFFERS_MAX 32u
#define SKIP_MAX 1000u
#define BITRATE_MIN 6000u
#define BITRATE_MAX 1000000000u
#define GOP_FRAMES_MAX 1000u
#define TIMEOUT_NS_MIN (NS_PER_S / 10)
#define TIMEOUT_NS_MAX (600 * NS_PER_S)
#define CONTROL_PREFIX "control."

static const char *const kind_names[AGENT_KIND_COUNT] = {
	[AGENT_CAMERA] = "camera",
	[AGENT_THERMAL] = "thermal",
	[AGENT_SDR] = "sdr",
	[AGENT_METADATA] = "metadata",
	[AGENT_IIO] = "iio",
	[AGENT_RECORDS] = "records",
	[AGENT_AUDIO] = "audio",
	[AGENT_LIBCAMERA] = "libcamera",
	[AGENT_SYNTHETIC] = "synthetic",
};

static const char *const encoder_names[AGENT_ENCODER_COUNT] = {
	[AGENT_ENCODER_AUTO] = "auto",
	[AGENT_ENCODER_M2M] = "m2m",
	[AGENT_ENCODER_OPENH264] = "openh264",
	[AGENT_ENCODER_JPEG] = "jpeg",
	[AGENT_ENCODER_FFV1] = "ffv1",
	[AGENT_ENCODER_RAW] = "raw",
	[AGENT_ENCODER_ALAW] = "alaw",
	[AGENT_ENCODER_ULAW] = "ulaw",
	[AGENT_ENCODER_AAC] = "aac",
	[AGENT_ENCODER_NONE] = "none",
};

static const char *const pattern_names[] = {
	[AGENT_PATTERN_NONE] = NULL,
	[AGENT_BARS] = "bars",
	[AGENT_PATTERN_THERMAL] = "thermal",
	[AGENT_RADAR] = "radar",
	[AGENT_TONE] = "tone",
};

const char *agent_encoder_name(enum agent_encoder encoder)
{
	return encoder_names[encoder];
}

const char *agent_kind_name(enum agent_kind kind)
{
	return kind_names[kind];
}

const char *agent_pattern_name(enum agent_pattern pattern)
{
	return pattern_names[pattern];
}

/* The kind whose frames a synthetic source makes; others are themselves. */
static enum agent_kind like(const struct agent_source *s)
{
	static const enum agent_kind kinds[] = {
		[AGENT_PATTERN_NONE] = AGENT_SYNTHETIC,
		[AGENT_BARS] = AGENT_CAMERA,
		[AGENT_PATTERN_THERMAL] = AGENT_THERMAL,
		[AGENT_RADAR] = AGENT_RECORDS,
		[AGENT_TONE] = AGENT_AUDIO,
	};

	return s->kind == AGENT_SYNTHETIC ? kinds[s->pattern] : s->kind;
}

enum agent_class agent_source_class(const struct agent_source *s)
{
	switch (like(s)) {
	case AGENT_CAMERA:
	case AGENT_LIBCAMERA:
	case AGENT_SYNTHETIC: /* refused by source_check() */
		return AGENT_CLASS_VIDEO;
	case AGENT_THERMAL:
		return AGENT_CLASS_THERMAL;
	case AGENT_AUDIO:
		return AGENT_CLASS_AUDIO;
	case AGENT_SDR:
	case AGENT_METADATA:
	case AGENT_IIO:
	case AGENT_RECORDS:
		return AGENT_CLASS_DATA;
	}
	return AGENT_CLASS_DATA;
}

size_t agent_source_tracks(const struct agent_source *s)
{
	return s->view ? 2 : 1;
}

void source_defaults(struct agent_source *s)
{
	s->kind = AGENT_CAMERA;
	s->timeout_ns = 5 * NS_PER_S;
	s->bitrate = -1;
	s->gop_frames = -1;
	s->quality = -1;
	s->encoder_timeout_ns = 2 * NS_PER_S;
	s->encoder_stuck_ns = 10 * NS_PER_S;
}

/* --- keys ---------------------------------------------------------------------------- */

static int set_kind(struct agent_source *s, const char *v, struct why *w)
{
	unsigned int n;
	int r = take_choice(&n, kind_names, ARRAY_SIZE(kind_names), v, w);

	if (r == 0)
		s->kind = (enum agent_kind)n;
	return r;
}

static int set_stream(struct agent_source *s, const char *v, struct why *w)
{
	return take_text(s->stream_label, sizeof(s->stream_label), v, w);
}

static int set_device(struct agent_source *s, const char *v, struct why *w)
{
	return take_text(s->device, sizeof(s->device), v, w);
}

static int set_match(struct agent_source *s, const char *v, struct why *w)
{
	return take_text(s->match, sizeof(s->match), v, w);
}

static int set_pattern(struct agent_source *s, const char *v, struct why *w)
{
	unsigned int n;
	int r = take_choice(&n, pattern_names, ARRAY_SIZE(pattern_names), v, w);

	if (r == 0)
		s->pattern = (enum agent_pattern)n;
	return r;
}

static int set_format(struct agent_source *s, const char *v, struct why *w)
{
	return take_fourcc(&s->format, v, w);
}

static int set_size(struct agent_source *s, const char *v, struct why *w)
{
	uint64_t width;
	uint64_t height;

	if (take_pair(v, 'x', SIDE_MAX, &width, &height) < 0)
		return wrong(w, "'%.40s' is not WIDTHxHEIGHT, as 1280x720", v);
	s->width = (uint32_t)width;
	s->height = (uint32_t)height;
	return 0;
}

static int set_rate(struct agent_source *s, const char *v, struct why *w)
{
	uint64_t num;
	uint64_t den = 1;

	if ((take_pair(v, '/', UINT16_MAX, &num, &den) < 0 &&
	     parse_u64(v, strlen(v), RATE_MAX, &num) < 0) || !num)
		return wrong(w, "'%.40s' is not a rate: frames per second up "
			     "to %u, as 30 or 30000/1001", v, RATE_MAX);
	s->rate_num = (uint32_t)num;
	s->rate_den = (uint32_t)den;
	return 0;
}

static int set_sample_rate(struct agent_source *s, const char *v,
			   struct why *w)
{
	return take_u32(&s->sample_rate, v, 1, SAMPLE_RATE_MAX, w);
}

static int set_channels(struct agent_source *s, const char *v, struct why *w)
{
	return take_u32(&s->channels, v, 1, CHANNELS_MAX, w);
}

static int set_frame_samples(struct agent_source *s, const char *v,
			     struct why *w)
{
	return take_u32(&s->frame_samples, v, 1, FRAME_SAMPLES_MAX, w);
}

static int set_buffers(struct agent_source *s, const char *v, struct why *w)
{
	return take_u32(&s->buffers, v, 2, BUFFERS_MAX, w);
}

static int set_borrow(struct agent_source *s, const char *v, struct why *w)
{
	return take_u32(&s->borrow, v, 1, BUFFERS_MAX, w);
}

static int set_skip_first(struct agent_source *s, const char *v, struct why *w)
{
	return take_u32(&s->skip_first, v, 0, SKIP_MAX, w);
}

static int set_timeout(struct agent_source *s, const char *v, struct why *w)
{
	return take_duration(&s->timeout_ns, v, TIMEOUT_NS_MIN, TIMEOUT_NS_MAX,
			     w);
}

/* WIDTHxHEIGHT+LEFT+TOP */
static int set_crop(struct agent_source *s, const char *v, struct why *w)
{
	char size[24];
	const char *left = strchr(v, '+');
	const char *top = left ? strchr(left + 1, '+') : NULL;
	uint64_t n[4];

	if (top && (size_t)(left - v) < sizeof(size)) {
		(void)snprintf(size, sizeof(size), "%.*s", (int)(left - v), v);
		if (take_pair(size, 'x', SIDE_MAX, &n[0], &n[1]) == 0 &&
		    parse_u64(left + 1, (size_t)(top - left) - 1, SIDE_MAX,
			      &n[2]) == 0 &&
		    parse_u64(top + 1, strlen(top + 1), SIDE_MAX, &n[3]) == 0) {
			s->crop = (struct capture_rect){
				.width = (uint32_t)n[0],
				.height = (uint32_t)n[1],
				.left = (int32_t)n[2],
				.top = (int32_t)n[3],
			};
			return 0;
		}
	}
	return wrong(w, "'%.40s' is not WIDTHxHEIGHT+LEFT+TOP, as "
		     "640x480+320+120", v);
}

static int set_encoder(struct agent_source *s, const char *v, struct why *w)
{
	unsigned int n;
	int r = take_choice(&n, encoder_names, ARRAY_SIZE(encoder_names), v, w);

	if (r == 0)
		s->encoder = (enum agent_encoder)n;
	return r;
}

static int set_encoder_device(struct agent_source *s, const char *v,
			      struct why *w)
{
	return take_path(s->encoder_device, sizeof(s->encoder_device), v, w);
}

/* Bits per second with decimal k and M, as encoders are sold. */
static int set_bitrate(struct agent_source *s, const char *v, struct why *w)
{
	size_t len = strlen(v);
	uint64_t unit = 1;
	uint64_t n = 0;

	if (len && v[len - 1] == 'k')
		unit = 1000;
	else if (len && v[len - 1] == 'M')
		unit = 1000000;
	len -= unit > 1;
	if (parse_u64(v, len, BITRATE_MAX, &n) < 0 || n * unit < BITRATE_MIN ||
	    n * unit > BITRATE_MAX)
		return wrong(w, "'%.40s' is not 6k to 1000M bits per second",
			     v);
	s->bitrate = (int64_t)(n * unit);
	return 0;
}

static int set_gop(struct agent_source *s, const char *v, struct why *w)
{
	uint64_t n = 0;
	int r = take_number(&n, v, 1, GOP_FRAMES_MAX, w);

	if (r == 0)
		s->gop_frames = (int64_t)n;
	return r;
}

static int set_encoder_timeout(struct agent_source *s, const char *v,
			       struct why *w)
{
	return take_duration(&s->encoder_timeout_ns, v, TIMEOUT_NS_MIN,
			     TIMEOUT_NS_MAX, w);
}

static int set_encoder_stuck(struct agent_source *s, const char *v,
			     struct why *w)
{
	return take_duration(&s->encoder_stuck_ns, v, 0, TIMEOUT_NS_MAX, w);
}

static int set_view(struct agent_source *s, const char *v, struct why *w)
{
	return take_bool(&s->view, v, w);
}

static int set_view_encoder(struct agent_source *s, const char *v,
			    struct why *w)
{
	static const char *const names[] = {
		[AGENT_ENCODER_AUTO] = "auto",
		[AGENT_ENCODER_M2M] = "m2m",
		[AGENT_ENCODER_OPENH264] = "openh264",
		[AGENT_ENCODER_JPEG] = "jpeg",
	};
	unsigned int n;
	int r = take_choice(&n, names, ARRAY_SIZE(names), v, w);

	if (r == 0)
		s->view_encoder = (enum agent_encoder)n;
	return r;
}

static int set_palette(struct agent_source *s, const char *v, struct why *w)
{
	const char *names[CAPTURE_PALETTE_RAINBOW + 1];
	unsigned int n;
	int r;

	for (n = 0; n < ARRAY_SIZE(names); n++)
		names[n] = capture_palette_name((enum capture_palette)n);
	r = take_choice(&n, names, ARRAY_SIZE(names), v, w);
	if (r == 0)
		s->palette = (enum capture_palette)n;
	return r;
}

static int set_range(struct agent_source *s, const char *v, struct why *w)
{
	const char *dots = strstr(v, "..");
	uint64_t min = 0;
	uint64_t max = 0;

	if (strcmp(v, "auto") != 0 &&
	    (!dots ||
	     parse_u64(v, (size_t)(dots - v), UINT16_MAX, &min) < 0 ||
	     parse_u64(dots + 2, strlen(dots + 2), UINT16_MAX, &max) < 0 ||
	     min >= max))
		return wrong(w, "'%.40s' is neither auto nor MIN..MAX, as "
			     "7000..9000", v);
	s->range_min = (uint32_t)min;
	s->range_max = (uint32_t)max;
	return 0;
}

static int set_telemetry_rows(struct agent_source *s, const char *v,
			      struct why *w)
{
	return take_u32(&s->telemetry_rows, v, 0, SIDE_MAX, w);
}

static int set_telemetry_on_top(struct agent_source *s, const char *v,
				struct why *w)
{
	return take_bool(&s->telemetry_on_top, v, w);
}

/* Where FLIR's cores have the milliseconds since they were switched on. */
static const struct {
	const char *name;
	struct capture_counter_setting counter;
} counter_presets[] = {
	{ "lepton2", { 32, -3, 1, true, 1000 } },
	{ "lepton3", { 32, -2, 1, true, 1000 } },
	{ "boson", { 32, 0, 140, false, 1000 } },
};

/* What stands before @end, which is stepped over. */
static bool next_number(const char **at, char end, uint64_t max, uint64_t *ret)
{
	size_t len = strcspn(*at, ",");

	if ((*at)[len] != end || parse_u64(*at, len, max, ret) < 0)
		return false;
	*at += len + (end != '\0');
	return true;
}

static bool next_order(const char **at, bool *ret_low_first)
{
	static const char *const orders[] = { "high-first,", "low-first," };

	for (size_t i = 0; i < ARRAY_SIZE(orders); i++) {
		size_t len = strlen(orders[i]);

		if (strncmp(*at, orders[i], len) == 0) {
			*at += len;
			*ret_low_first = i == 1;
			return true;
		}
	}
	return false;
}

/* ROW,WORD,BITS,ORDER,HZ, or whose telemetry it is. */
static int set_counter(struct agent_source *s, const char *v, struct why *w)
{
	bool below = v[0] == '-';
	const char *at = v + below;
	uint64_t n[4];
	bool low_first;

	for (size_t i = 0; i < ARRAY_SIZE(counter_presets); i++) {
		if (strcmp(counter_presets[i].name, v) != 0)
			continue;
		s->counter = counter_presets[i].counter;
		return 0;
	}
	if (!next_number(&at, ',', SIDE_MAX, &n[0]) ||
	    !next_number(&at, ',', SIDE_MAX, &n[1]) ||
	    !next_number(&at, ',', 64, &n[2]) || n[2] < 16 || n[2] % 16 ||
	    !next_order(&at, &low_first) ||
	    !next_number(&at, '\0', NS_PER_S, &n[3]) || !n[3] ||
	    /* no lap in less than 4 s */
	    (n[2] == 16 && n[3] > UINT16_MAX / 4))
		return wrong(w, "'%.40s' is neither lepton2, lepton3, boson "
			     "nor ROW,WORD,BITS,ORDER,HZ, as "
			     "-2,1,32,low-first,1000", v);
	s->counter = (struct capture_counter_setting){
		.bits = (uint32_t)n[2],
		.row = below ? -(int32_t)n[0] : (int32_t)n[0],
		.word = (uint32_t)n[1],
		.low_first = low_first,
		.hz = (uint32_t)n[3],
	};
	return 0;
}

static int set_scale_uk(struct agent_source *s, const char *v, struct why *w)
{
	return take_u32(&s->scale_uk, v, 1, SCALE_UK_MAX, w);
}

static int set_offset_uk(struct agent_source *s, const char *v, struct why *w)
{
	bool below = v[0] == '-';
	uint64_t n;
	int r = take_number(&n, v + below, 0, OFFSET_UK_MAX, w);

	if (r == 0)
		s->offset_uk = below ? -(int64_t)n : (int64_t)n;
	return r;
}

static int set_spot(struct agent_source *s, const char *v, struct why *w)
{
	const char *comma = strchr(v, ',');
	uint64_t x;
	uint64_t y;

	if (!comma || parse_u64(v, (size_t)(comma - v), SIDE_MAX, &x) < 0 ||
	    parse_u64(comma + 1, strlen(comma + 1), SIDE_MAX, &y) < 0)
		return wrong(w, "'%.40s' is not X,Y, as 80,60", v);
	s->has_spot = true;
	s->spot_x = (uint32_t)x;
	s->spot_y = (uint32_t)y;
	return 0;
}

static int set_input(struct agent_source *s, const char *v, struct why *w)
{
	int r = take_u32(&s->input, v, 0, INPUTS_MAX, w);

	s->has_input = r == 0;
	return r;
}

static int set_timings(struct agent_source *s, const char *v, struct why *w)
{
	static const char *const names[] = {
		[CAPTURE_TIMINGS_KEEP] = "keep",
		[CAPTURE_TIMINGS_AUTO] = "auto",
	};
	unsigned int n;
	int r = take_choice(&n, names, ARRAY_SIZE(names), v, w);

	if (r == 0)
		s->timings = (enum capture_timings)n;
	return r;
}

static int take_point(enum capture_align_point *out, const char *const *names,
		      size_t count, const char *v, struct why *w)
{
	unsigned int n;
	int r = take_choice(&n, names, count, v, w);

	if (r == 0)
		*out = (enum capture_align_point)n;
	return r;
}

static int set_point(struct agent_source *s, const char *v, struct why *w)
{
	static const char *const names[] = {
		[CAPTURE_ALIGN_AS_STAMPED] = "as-stamped",
		[CAPTURE_ALIGN_START_OF_FRAME] = "start-of-frame",
		[CAPTURE_ALIGN_END_OF_FRAME] = "end-of-frame",
		[CAPTURE_ALIGN_START_OF_EXPOSURE] = "start-of-exposure",
		[CAPTURE_ALIGN_MID_EXPOSURE] = "mid-exposure",
	};

	return take_point(&s->align.point, names, ARRAY_SIZE(names), v, w);
}

static int set_stamped(struct agent_source *s, const char *v, struct why *w)
{
	static const char *const names[] = {
		[CAPTURE_ALIGN_AS_STAMPED] = "by-driver",
		[CAPTURE_ALIGN_ARRIVAL] = "arrival",
		[CAPTURE_ALIGN_START_OF_FRAME] = "start-of-frame",
		[CAPTURE_ALIGN_END_OF_FRAME] = "end-of-frame",
		[CAPTURE_ALIGN_START_OF_EXPOSURE] = "start-of-exposure",
		[CAPTURE_ALIGN_MID_EXPOSURE] = "mid-exposure",
	};

	return take_point(&s->align.stamped, names, ARRAY_SIZE(names), v, w);
}

static int set_delay(struct agent_source *s, const char *v, struct why *w)
{
	bool negative = v[0] == '-';
	uint64_t n = 0;

	if (parse_u64(v + negative, strlen(v + negative),
		      CAPTURE_ALIGN_DELAY_NS_MAX, &n) < 0)
		return wrong(w, "'%.40s' is not a number of ns, -%lld to %lld",
			     v, CAPTURE_ALIGN_DELAY_NS_MAX,
			     CAPTURE_ALIGN_DELAY_NS_MAX);
	s->align.delay_ns = negative ? -(int64_t)n : (int64_t)n;
	return 0;
}

static int set_blank(struct agent_source *s, const char *v, struct why *w)
{
	static const char *const names[] = {
		[CAPTURE_BLANK_NONE] = "no",
		[CAPTURE_BLANK_SIGNAL] = "signal",
		[CAPTURE_BLANK_OUTAGE] = "outage",
	};
	unsigned int n;
	int r = take_choice(&n, names, ARRAY_SIZE(names), v, w);

	if (r == 0)
		s->blank = (enum capture_blank)n;
	return r;
}

static int set_quality(struct agent_source *s, const char *v, struct why *w)
{
	uint64_t n = 0;
	int r = take_number(&n, v, 1, CAPTURE_QUALITY_MAX, w);

	if (r == 0)
		s->quality = (int64_t)n;
	return r;
}

/* What each line has is appended: a pipeline is longer than a line. */
static int take_more(char out[AGENT_SETUP_CHARS], const char *v,
		     struct why *w)
{
	size_t len = strlen(out);
	size_t comma = len ? strlen(", ") : 0;
	size_t more = strlen(v);

	if (len + comma + more >= AGENT_SETUP_CHARS)
		return wrong(w, "at most %u characters, all lines together",
			     AGENT_SETUP_CHARS - 1);
	memcpy(out + len, ", ", comma);
	memcpy(out + len + comma, v, more + 1);
	return 0;
}

static int set_links(struct agent_source *s, const char *v, struct why *w)
{
	return take_more(s->links, v, w);
}

static int set_pads(struct agent_source *s, const char *v, struct why *w)
{
	return take_more(s->pads, v, w);
}

static bool may_repeat(const char *key)
{
	return strcmp(key, "links") == 0 || strcmp(key, "pads") == 0;
}

/* Which kinds have a key. A synthetic source has those of what it imitates. */
#define K(kind) (1u << AGENT_##kind)
#define V4L2 (K(CAMERA) | K(THERMAL) | K(SDR) | K(METADATA))
#define VIDEO (K(CAMERA) | K(LIBCAMERA))
#define PICTURES (VIDEO | K(THERMAL))
#define SAMPLES (K(SDR) | K(IIO) | K(AUDIO))
/* Without a default. */
#define NAMED (K(IIO) | K(RECORDS) | K(AUDIO))
#define REAL (V4L2 | K(IIO) | K(RECORDS) | K(AUDIO) | K(LIBCAMERA))
#define ANY (REAL | K(SYNTHETIC))

static const struct source_key {
	const char *name;
	unsigned int kinds;
	int (*set)(struct agent_source *s, const char *value, struct why *w);
} source_keys[] = {
	{ "kind", ANY, set_kind },
	[SOURCE_KEY_STREAM] = { "stream", ANY, set_stream },
	{ "device", REAL, set_device },
	{ "match", V4L2, set_match },
	{ "pattern", K(SYNTHETIC), set_pattern },
	{ "format", V4L2 | K(LIBCAMERA), set_format },
	{ "size", PICTURES | K(SYNTHETIC), set_size },
	{ "rate", PICTURES | K(RECORDS) | K(SYNTHETIC), set_rate },
	{ "sample_rate", SAMPLES | K(SYNTHETIC), set_sample_rate },
	{ "channels", K(AUDIO) | K(SYNTHETIC), set_channels },
	{ "frame_samples", K(IIO) | K(AUDIO) | K(SYNTHETIC),
	  set_frame_samples },
	{ "buffers", ANY, set_buffers },
	{ "borrow", V4L2, set_borrow },
	{ "skip_first", PICTURES, set_skip_first },
	{ "timeout", ANY, set_timeout },
	{ "input", K(CAMERA) | K(THERMAL), set_input },
	{ "timings", K(CAMERA), set_timings },
	{ "blank", PICTURES, set_blank },
	{ "crop", K(CAMERA) | K(THERMAL), set_crop },
	{ "point", K(CAMERA) | K(THERMAL), set_point },
	{ "stamped", K(CAMERA) | K(THERMAL), set_stamped },
	{ "delay_ns", K(CAMERA) | K(THERMAL), set_delay },
	{ "links", K(CAMERA) | K(THERMAL), set_links },
	{ "pads", K(CAMERA) | K(THERMAL), set_pads },
	{ "encoder", PICTURES | K(AUDIO) | K(SYNTHETIC), set_encoder },
	{ "encoder_device", PICTURES | K(SYNTHETIC), set_encoder_device },
	{ "bitrate", PICTURES | K(AUDIO) | K(SYNTHETIC), set_bitrate },
	{ "gop", PICTURES | K(SYNTHETIC), set_gop },
	{ "quality", PICTURES | K(SYNTHETIC), set_quality },
	{ "encoder_timeout", PICTURES | K(SYNTHETIC), set_encoder_timeout },
	{ "encoder_stuck", PICTURES | K(SYNTHETIC), set_encoder_stuck },
	{ "view", K(THERMAL) | K(SYNTHETIC), set_view },
	{ "view_encoder", K(THERMAL) | K(SYNTHETIC), set_view_encoder },
	{ "palette", K(THERMAL) | K(SYNTHETIC), set_palette },
	{ "range", K(THERMAL) | K(SYNTHETIC), set_range },
	{ "telemetry_rows", K(THERMAL) | K(SYNTHETIC), set_telemetry_rows },
	{ "telemetry_on_top", K(THERMAL) | K(SYNTHETIC), set_telemetry_on_top },
	{ "counter", K(THERMAL), set_counter },
	{ "scale_uk", K(THERMAL) | K(SYNTHETIC), set_scale_uk },
	{ "offset_uk", K(THERMAL) | K(SYNTHETIC), set_offset_uk },
	{ "spot", K(THERMAL) | K(SYNTHETIC), set_spot },
	/* control.NAME: the name stands in the key */
	{ "control", K(CAMERA) | K(THERMAL) | K(SDR), NULL },
};
#define KEY_COUNT ARRAY_SIZE(source_keys)
_Static_assert(KEY_COUNT <= SOURCE_KEYS_MAX, "struct source_lines");

static int take_control(struct agent_source *s, const char *name,
			const char *v, struct why *w)
{
	struct agent_control *c = &s->controls[s->control_count];
	size_t len = strlen(name);
	bool negative = v[0] == '-';
	uint64_t n = 0;

	for (size_t i = 0; i < s->control_count; i++)
		if (strcmp(s->controls[i].name, name) == 0)
			return wrong(w, "given twice");
	if (s->control_count == AGENT_CONTROLS_MAX)
		return wrong(w, "at most %u controls", AGENT_CONTROLS_MAX);
	if (!len || len >= sizeof(c->name))
		return wrong(w, "a name of 1 to %zu characters",
			     sizeof(c->name) - 1);
	(void)snprintf(c->name, sizeof(c->name), "%s", name);
	if (parse_u64(v + negative, strlen(v + negative), INT64_MAX, &n) == 0)
		c->value = negative ? -(int64_t)n : (int64_t)n;
	else if (take_text(c->item, sizeof(c->item), v, w) < 0)
		return -EINVAL;
	s->control_count++;
	return 0;
}

int source_take(struct agent_source *s, struct source_lines *lines,
		const char *key, const char *value, unsigned int line,
		struct why *w)
{
	const size_t prefix = strlen(CONTROL_PREFIX);

	if (strncmp(key, CONTROL_PREFIX, prefix) == 0) {
		if (!lines->keys[KEY_COUNT - 1])
			lines->keys[KEY_COUNT - 1] = line;
		return take_control(s, key + prefix, value, w);
	}
	for (size_t i = 0; i < KEY_COUNT; i++) {
		if (strcmp(source_keys[i].name, key) != 0 ||
		    !source_keys[i].set)
			continue;
		if (lines->keys[i] && !may_repeat(key))
			return wrong(w, "given twice");
		if (!lines->keys[i])
			lines->keys[i] = line;
		return source_keys[i].set(s, value, w);
	}
	return wrong(w, "unknown key");
}

/* --- all keys together --------------------------------------------------------------- */

struct checking {
	const struct agent_source *source;
	const struct source_lines *lines;
	unsigned int *line;
	const char **key;
	struct why *why;
};

static unsigned int line_of(const struct checking *c, const char *key)
{
	for (size_t i = 0; i < KEY_COUNT; i++)
		if (strcmp(source_keys[i].name, key) == 0)
			return c->lines->keys[i];
	abort(); /* a key that is in no table: our bug */
}

/* Blames @key, or the section if it was not given. Return: -EINVAL. */
static int blame(const struct checking *c, const char *key, const char *words)
{
	unsigned int line = line_of(c, key);

	*c->line = line ? line : c->lines->section;
	*c->key = key;
	return wrong(c->why, "%s", words);
}

/* A key that is there without what it is for. */
static int useless(const struct checking *c, const char *key, bool used,
		   const char *words)
{
	return line_of(c, key) && !used ? blame(c, key, words) : 0;
}

static int check_kinds(const struct checking *c)
{
	const struct agent_source *s = c->source;
	char words[80];

	for (size_t i = 0; i < KEY_COUNT; i++) {
		unsigned int kinds = source_keys[i].kinds;

		if (!c->lines->keys[i] || ((kinds >> s->kind & 1) &&
					   (kinds >> like(s) & 1)))
			continue;
		/* pattern is the one key that only synthetic ones have */
		if (source_keys[i].set == set_pattern &&
		    s->kind == AGENT_SYNTHETIC)
			continue;
		(void)snprintf(words, sizeof(words),
			       "not of a source of kind %s%s%s",
			       kind_names[s->kind],
			       s->kind == AGENT_SYNTHETIC ? ", pattern " : "",
			       s->kind == AGENT_SYNTHETIC ?
				       pattern_names[s->pattern] : "");
		return blame(c, source_keys[i].name, words);
	}
	return 0;
}

#define E(encoder) (1u << AGENT_ENCODER_##encoder)

static int check_encoder(const struct checking *c)
{
	static const struct {
		unsigned int encoders;
		const char *words;
	} fit[] = {
		[AGENT_CLASS_VIDEO] = {
			E(AUTO) | E(M2M) | E(OPENH264) | E(JPEG) | E(RAW) |
				E(NONE),
			"for video: auto, m2m, openh264, jpeg, raw or none" },
		[AGENT_CLASS_THERMAL] = {
			E(AUTO) | E(FFV1) | E(RAW),
			"for thermal: auto, ffv1 or raw; view_encoder is the "
			"view's" },
		[AGENT_CLASS_AUDIO] = {
			E(AUTO) | E(ALAW) | E(ULAW) | E(AAC) | E(RAW),
			"for audio: auto, alaw, ulaw, aac or raw" },
		[AGENT_CLASS_DATA] = { E(AUTO), "" },
	};
	const struct agent_source *s = c->source;
	enum agent_class class = agent_source_class(s);

	if (!(fit[class].encoders >> s->encoder & 1))
		return blame(c, "encoder", fit[class].words);
	if (s->encoder == AGENT_ENCODER_NONE && !s->format)
		return blame(c, "format", "is needed with encoder = none");
	return 0;
}

/* Keys of the video encoder, and of the view. */
static int check_video_keys(const struct checking *c)
{
	const struct agent_source *s = c->source;
	bool thermal = agent_source_class(s) == AGENT_CLASS_THERMAL;
	enum agent_encoder e = thermal ? s->view_encoder : s->encoder;
	unsigned int coded = E(AUTO) | E(M2M) | E(OPENH264);
	int r = 0;

	r = useless(c, "offset_uk", s->scale_uk, "only with scale_uk");
	if (r < 0)
		return r;
	if (thermal && !s->view) {
		static const char *const keys[] = {
			"view_encoder", "palette", "range", "encoder_device",
			"encoder_timeout", "encoder_stuck", "bitrate", "gop",
			"quality",
		};

		for (size_t i = 0; i < ARRAY_SIZE(keys) && r == 0; i++)
			r = useless(c, keys[i], false,
				    "only with view = yes");
		return r;
	}
	r = useless(c, "encoder_device", e == AGENT_ENCODER_AUTO ||
		    e == AGENT_ENCODER_M2M, "only m2m has one");
	if (r == 0)
		r = useless(c, "encoder_timeout", e == AGENT_ENCODER_AUTO ||
			    e == AGENT_ENCODER_M2M, "only m2m has one");
	if (r == 0)
		r = useless(c, "encoder_stuck", e == AGENT_ENCODER_AUTO ||
			    e == AGENT_ENCODER_M2M, "only m2m has one");
	if (r == 0)
		r = useless(c, "gop", coded >> e & 1,
			    "only auto, m2m and openh264 have one");
	if (r == 0)
		r = useless(c, "quality", e == AGENT_ENCODER_JPEG,
			    "only jpeg has one");
	if (r == 0)
		r = useless(c, "bitrate",
			    (coded | E(AAC)) >> e & 1,
			    "only auto, m2m, openh264 and aac have one");
	return r;
}

static int check_device(const struct checking *c)
{
	const struct agent_source *s = c->source;
	bool v4l2 = V4L2 >> s->kind & 1;

	if (v4l2 && s->device[0] && s->device[0] != '/')
		return blame(c, "device", "a path that starts with /");
	if (s->device[0] && s->match[0])
		return blame(c, "match", "with device: one of the two");
	if (!s->device[0] && (NAMED >> s->kind & 1))
		return blame(c, "device", "is needed");
	return 0;
}

int source_check(const struct agent_source *s,
		 const struct source_lines *lines, unsigned int *ret_line,
		 const char **ret_key, struct why *w)
{
	const struct checking c = { s, lines, ret_line, ret_key, w };
	int r;

	if (!line_of(&c, "kind"))
		return blame(&c, "kind", "is needed");
	if (s->kind == AGENT_SYNTHETIC && !s->pattern)
		return blame(&c, "pattern", "is needed");
	if (!line_of(&c, "stream"))
		return blame(&c, "stream", "is needed");
	r = check_kinds(&c);
	if (r == 0)
		r = check_device(&c);
	if (r == 0)
		r = check_encoder(&c);
	if (r == 0)
		r = check_video_keys(&c);
	return r;
}
