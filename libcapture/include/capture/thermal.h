/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pictures of counts: thermal and depth sensors that give one number of up to
 * 16 bits for each pixel. Two products are made of them:
 *
 *  - the counts, lossless, for measuring: an encoder of the codec that
 *    capture_thermal_codec() names, telemetry rows included;
 *  - a view for people: the counts of a range mapped to colours, as YU12, for
 *    any encoder of pictures.
 *
 * Counts are as the sensor gave them; what they are in kelvin only its maker
 * knows: who tells it (scale_uk) gets temperatures of single places, too.
 * Formats: Y16, Y16_BE, Y14, Y12, Y10 (the padding above their bits is cleared)
 * and GREY (8 bits).
 */
#ifndef CAPTURE_THERMAL_H
#define CAPTURE_THERMAL_H

#include <stdbool.h>
#include <stdint.h>

#include <capture/api.h>
#include <capture/frame.h>

struct capture_thermal_view;

enum capture_palette {
	CAPTURE_PALETTE_WHITE_HOT = 0,
	CAPTURE_PALETTE_BLACK_HOT,
	CAPTURE_PALETTE_IRON,	/* black, violet, red, yellow, white */
	CAPTURE_PALETTE_RAINBOW	/* blue, green, yellow, red */
};

/* "white-hot", "black-hot", "iron", "rainbow"; "?" for any other. */
CAPTURE_API const char *capture_palette_name(enum capture_palette palette);

enum capture_thermal_range {
	CAPTURE_THERMAL_RANGE_AUTO = 0,
	CAPTURE_THERMAL_RANGE_FIXED
};

/**
 * struct capture_thermal_config - what the view shows
 *
 * AUTO: the scene's range is that of its counts but for @clip_permille of the
 * pixels at each end (at least one), so that a few dead or glowing ones do
 * not take the contrast. Each end of the shown range rests while the scene's
 * end is within a dead band of @hysteresis_permille of the shown span, then
 * goes a quarter of the way in each frame until it is within a quarter of the
 * band. Noise does not make the view flicker. The shown span is never less
 * than @span_min. The first frame, and the first of each epoch, is shown with
 * its own range at once; a frame that was made up (CAPTURE_FRAME_BLANK) or is
 * damaged does not count.
 */
struct capture_thermal_config {
	enum capture_palette palette;
	enum capture_thermal_range range;
	uint32_t min;		/* FIXED: counts, min < max <= 65535 */
	uint32_t max;
	uint32_t hysteresis_permille;	/* at most 500 */
	uint32_t clip_permille;		/* at most 200 */
	uint32_t span_min;		/* counts, 1..65535 */
	/* Rows that are no picture: not in the view, not in the range. */
	uint32_t telemetry_rows;
	bool telemetry_on_top;	/* else below the picture */
	/* View frames; 0: CAPTURE_THERMAL_BUFFERS. */
	uint32_t buffer_count;
	/*
	 * Radiometric sensors: microkelvin of one count, at most 10^9, and of
	 * the count 0, at most 10^12 either way. scale_uk 0: counts are no
	 * temperatures. FLIR's TLinear has 10000 (high gain) or 100000 (low
	 * gain), cores of 1/64 K have 15625; both begin at 0 K.
	 */
	uint32_t scale_uk;
	int64_t offset_uk;
	/*
	 * What is measured: the mean of the pixels within @spot_radius (at
	 * most CAPTURE_THERMAL_SPOT_RADIUS_MAX) of a pixel of the picture
	 * without its telemetry, in both directions.
	 * CAPTURE_THERMAL_CENTRE: half of that side.
	 */
	uint32_t spot_x;
	uint32_t spot_y;
	uint32_t spot_radius;
};

#define CAPTURE_THERMAL_BUFFERS 4
#define CAPTURE_THERMAL_CENTRE UINT32_MAX
#define CAPTURE_THERMAL_SPOT_RADIUS_MAX 64

/*
 * White-hot, AUTO, 50, 5 and 64, no telemetry; counts that are no
 * temperatures; a spot of 3 x 3 pixels in the middle.
 */
CAPTURE_API void
capture_thermal_config_init(struct capture_thermal_config *config);

/* Counters since capture_thermal_view_new(), and the range shown. */
struct capture_thermal_stats {
	uint64_t frames;
	uint64_t frames_refused;	/* all view frames were out */
	uint64_t range_moves;		/* frames that moved the shown range */
	uint64_t bytes_touched;		/* read + written */
	/* Of the view frames: S1, which an encoder can import, or S5. */
	enum capture_rung rung;
	uint32_t shown_min;		/* counts */
	uint32_t shown_max;
	/* The last frame's coldest and hottest pixel; AUTO only. */
	uint32_t scene_min;
	uint32_t scene_max;
};

/**
 * capture_thermal_view_new() - reserve what views need
 * @sys: system calls, or NULL
 * @source: format of the frames; copied
 * @config: copied
 * @ret_view: owned by the caller
 *
 * All memory is taken here: two bytes a pixel, 256 KiB, and the view frames.
 *
 * Return: 0, -EPROTONOSUPPORT (not a picture of counts), -EINVAL (config or
 * source contradict themselves), -ENOMEM, -EMFILE, or another errno of
 * memfd_create.
 */
CAPTURE_API int
capture_thermal_view_new(const struct sys_ops *sys,
			 const struct capture_format *source,
			 const struct capture_thermal_config *config,
			 struct capture_thermal_view **ret_view)
	CAPTURE_MUST_CHECK;

/* View frames that are out stay valid. Takes NULL; returns NULL. */
CAPTURE_API struct capture_thermal_view *
capture_thermal_view_free(struct capture_thermal_view *view);

/*
 * YU12 of the source's sides without telemetry; an odd side is made even by
 * showing its last line twice. Borrowed.
 */
CAPTURE_API const struct capture_format *
capture_thermal_view_format(const struct capture_thermal_view *view);

/**
 * capture_thermal_view_apply() - colour one frame
 * @frame: of the source's format; only read, no reference is kept
 * @ret_frame: one reference, to a frame of the view's pool
 *
 * Sequence, stamps, clock, epoch, device clock, track and flags are those of
 * @frame.
 *
 * Context: the source's thread. No system call where CPU caches follow DMA.
 * Return: 0, -EINVAL (not of the format, or not mapped), -ENOBUFS (all view
 * frames are out: unref some).
 */
CAPTURE_API int
capture_thermal_view_apply(struct capture_thermal_view *view,
			   struct capture_frame *frame,
			   struct capture_frame **ret_frame)
	CAPTURE_MUST_CHECK;

/* The counters at this moment. */
CAPTURE_API void
capture_thermal_view_stats(const struct capture_thermal_view *view,
			   struct capture_thermal_stats *ret_stats);

/* A place of the picture, without its telemetry, and what is measured there. */
struct capture_thermal_point {
	uint32_t x;
	uint32_t y;
	uint32_t count; /* of the spot: the mean, rounded */
	/* Millikelvin; 0 unless capture_thermal_reading.radiometric. */
	int64_t temperature_mk;
};

struct capture_thermal_reading {
	/* Of the frame that was read, as its own. */
	uint32_t sequence;
	uint32_t epoch;
	uint64_t stamp_ns;
	enum capture_clock clock;
	uint32_t radiometric; /* bool: the config has a scale_uk */
	/* One pixel each, dead ones too; of many the first, from the top. */
	struct capture_thermal_point coldest;
	struct capture_thermal_point hottest;
	struct capture_thermal_point spot;
	uint32_t mean;	/* count of all pixels of the picture, rounded */
	int64_t mean_mk; /* as temperature_mk */
};

/**
 * capture_thermal_view_read() - measure the frame that was coloured last
 *
 * Costs one look at each pixel; nothing, if it is not called.
 *
 * Context: the source's thread. No system call.
 * Return: 0, or -EAGAIN: there was none yet, or it was made up or damaged.
 */
CAPTURE_API int capture_thermal_view_read(
	const struct capture_thermal_view *view,
	struct capture_thermal_reading *ret_reading) CAPTURE_MUST_CHECK;

/**
 * capture_thermal_measure() - measure one frame, without a view
 * @sys: system calls, or NULL
 * @source: format of the frames
 * @config: its telemetry, scale and spot count, as a view's; the rest must be
 * valid, as capture_thermal_config_init() makes it
 * @frame: of @source; only read, no reference is kept
 *
 * One look at each pixel, in the frame's own memory: no memory is taken.
 *
 * Context: the source's thread. No system call where CPU caches follow DMA.
 * Return: 0, -EPROTONOSUPPORT (not a picture of counts), -EINVAL (config,
 * source or frame contradict each other), or -EAGAIN: the frame was made up
 * or is damaged.
 */
CAPTURE_API int
capture_thermal_measure(const struct sys_ops *sys,
			const struct capture_format *source,
			const struct capture_thermal_config *config,
			struct capture_frame *frame,
			struct capture_thermal_reading *ret_reading)
	CAPTURE_MUST_CHECK;

/* Whether frames of this fourcc are pictures of counts. */
CAPTURE_API bool capture_thermal_is_counts(uint32_t fourcc);

/*
 * Whether its counts as 16 bits a pixel are at most 10 MB/s, of the 12.5 MB/s
 * that one connection of PutMedia takes. A rate that is not known is too much.
 */
CAPTURE_API bool
capture_thermal_fits_raw(const struct capture_format *format);

/*
 * What to keep the counts in: CAPTURE_FORMAT_Y16 (raw, little endian) if that
 * fits, else CAPTURE_FORMAT_FFV1 (lossless); 0: no counts, or no FFV1 encoder
 * is built in. Give it to capture_encoder_open() as the codec.
 *
 * In Matroska: V_FFV1 with capture_encoder_codec_private(); V_UNCOMPRESSED
 * with the ColourSpace below, which is the name of 16 bits of grey that
 * FFmpeg reads ("Y16 " it does not know).
 */
CAPTURE_API uint32_t
capture_thermal_codec(const struct capture_format *format);

#define CAPTURE_THERMAL_COLOUR_SPACE CAPTURE_FOURCC('Y', '1', 0, 16)

#endif
