/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's configuration: agent.conf.example says what each key means.
 * Sources feed tracks, tracks belong to streams; both have a section of their
 * own with a name, and in the order of the file.
 */
#ifndef AGENT_CONFIG_H
#define AGENT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <capture/settings.h>
#include <capture/supervisor.h>
#include <capture/thermal.h>

#include "base/macros.h"
#include "base/sys.h"

#define AGENT_TEXT_CHARS 256u
#define AGENT_SETUP_CHARS 1024u	/* all lines of links, or of pads */
#define AGENT_PATH_CHARS 512u
#define AGENT_LABEL_CHARS 24u	/* of a section; "-view" still fits a track */
#define AGENT_STREAMS_MAX 8u
#define AGENT_SOURCES_MAX 16u
#define AGENT_CONTROLS_MAX 16u	/* per source */

enum agent_kind { AGENT_CAMERA = 0, AGENT_THERMAL, AGENT_SDR, AGENT_METADATA,
		  AGENT_IIO, AGENT_RECORDS, AGENT_AUDIO, AGENT_LIBCAMERA,
		  AGENT_SYNTHETIC };
#define AGENT_KIND_COUNT (AGENT_SYNTHETIC + 1)

enum agent_pattern { AGENT_PATTERN_NONE = 0, AGENT_BARS, AGENT_PATTERN_THERMAL,
		     AGENT_RADAR, AGENT_TONE };

/* What the frames of a source are to those who handle them. */
enum agent_class { AGENT_CLASS_VIDEO = 0, AGENT_CLASS_THERMAL,
		   AGENT_CLASS_AUDIO, AGENT_CLASS_DATA };

enum agent_encoder { AGENT_ENCODER_AUTO = 0, AGENT_ENCODER_M2M,
		     AGENT_ENCODER_OPENH264, AGENT_ENCODER_JPEG,
		     AGENT_ENCODER_FFV1, AGENT_ENCODER_RAW,
		     AGENT_ENCODER_ALAW, AGENT_ENCODER_ULAW,
		     AGENT_ENCODER_AAC, AGENT_ENCODER_NONE };
#define AGENT_ENCODER_COUNT (AGENT_ENCODER_NONE + 1)

struct agent_control {
	char name[CAPTURE_CONTROL_NAME_BYTES];	/* as v4l2-ctl lists it */
	int64_t value;
	char item[CAPTURE_CONTROL_NAME_BYTES];	/* of a menu; "": @value */
};

/* [source NAME] */
struct agent_source {
	char name[AGENT_LABEL_CHARS + 1];
	enum agent_kind kind;
	enum agent_pattern pattern;	/* of AGENT_SYNTHETIC */
	char stream_label[AGENT_LABEL_CHARS + 1];
	size_t stream;			/* index of it */
	char device[AGENT_TEXT_CHARS];	/* "" = by @match */
	char match[AGENT_TEXT_CHARS];	/* "" = the first of the kind */
	uint32_t format;		/* fourcc; 0 = what fits */
	uint32_t width;			/* 0 = as it is set */
	uint32_t height;
	uint32_t rate_num;		/* 0 = as it is set */
	uint32_t rate_den;
	uint32_t sample_rate;		/* 0 = as it is set */
	uint32_t channels;
	uint32_t frame_samples;
	uint32_t buffers;		/* 0 = the library's number */
	uint32_t borrow;		/* 0 = all but two */
	uint32_t skip_first;
	uint64_t timeout_ns;
	struct agent_control controls[AGENT_CONTROLS_MAX];
	size_t control_count;
	struct capture_rect crop;	/* width 0: as it is */
	bool has_input;
	uint32_t input;
	enum capture_timings timings;
	struct capture_align_setting align; /* which moment is told */
	enum capture_blank blank;	/* pictures while there is none */
	char links[AGENT_SETUP_CHARS];	/* as capture/media.h has them */
	char pads[AGENT_SETUP_CHARS];
	enum agent_encoder encoder;
	/* Of the video encoder: of the view, if the source is thermal. */
	char encoder_device[AGENT_TEXT_CHARS]; /* "" = the first that fits */
	int64_t bitrate;		/* -1 = as it is set */
	int64_t gop_frames;		/* -1 = one per fragment */
	int64_t quality;		/* of JPEG; -1 = the encoder's */
	uint64_t encoder_timeout_ns;
	uint64_t encoder_stuck_ns;	/* 0: its driver is called directly */
	bool view;			/* thermal: a picture to look at, too */
	enum agent_encoder view_encoder;
	enum capture_palette palette;
	uint32_t range_min;		/* counts; equal to @range_max: auto */
	uint32_t range_max;
	uint32_t telemetry_rows;
	bool telemetry_on_top;		/* else below the picture */
	struct capture_counter_setting counter;	/* @bits 0: none */
	uint32_t scale_uk;		/* 0: counts are no temperatures */
	int64_t offset_uk;
	bool has_spot;			/* else the middle */
	uint32_t spot_x;
	uint32_t spot_y;
};

/* [stream NAME] */
struct agent_stream {
	char label[AGENT_LABEL_CHARS + 1];
	char name[AGENT_TEXT_CHARS + 1];	/* the service's name for it */
	bool create;
	uint32_t retention_hours;
	uint64_t fragment_ms;
	uint64_t store_bytes;
	size_t track_count;		/* of its sources */
};

struct agent_config {
	/* [service] */
	char endpoint[AGENT_PATH_CHARS];	/* "" = Amazon's of @region */
	char region[AGENT_TEXT_CHARS];
	char ca_bundle[AGENT_PATH_CHARS];	/* "" = the system's */
	char credentials[AGENT_PATH_CHARS];	/* "" = environment, ~/.aws */
	char profile[AGENT_TEXT_CHARS];
	/* [agent] */
	uint64_t stop_timeout_ns;
	bool debug;
	struct agent_stream streams[AGENT_STREAMS_MAX];
	size_t stream_count;
	struct agent_source sources[AGENT_SOURCES_MAX];
	size_t source_count;
};

#define AGENT_ERROR_CHARS 512u

/**
 * agent_config_read() - defaults, then the file, then checks across keys
 * @ret_config: undefined on failure
 * @ret_error: AGENT_ERROR_CHARS; words on failure: file, line, section, key
 *
 * Return: 0, -EINVAL, or the errno of reading the file.
 */
int agent_config_read(const struct sys_ops *sys, const char *path,
		      struct agent_config *ret_config,
		      char *ret_error) MUST_CHECK;

enum agent_class agent_source_class(const struct agent_source *s);
/* One, or two with a view. */
size_t agent_source_tracks(const struct agent_source *s);

const char *agent_encoder_name(enum agent_encoder encoder);
const char *agent_kind_name(enum agent_kind kind);
/* "bars"; NULL for AGENT_PATTERN_NONE. */
const char *agent_pattern_name(enum agent_pattern pattern);

#endif
