/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's configuration: agent.conf.example says what each key means. */
#ifndef AGENT_CONFIG_H
#define AGENT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/sys.h"

#define AGENT_TEXT_CHARS 256u
#define AGENT_PATH_CHARS 512u

enum agent_encoder { AGENT_ENCODER_AUTO = 0, AGENT_ENCODER_M2M,
		     AGENT_ENCODER_OPENH264, AGENT_ENCODER_NONE };

struct agent_config {
	/* [service] */
	char endpoint[AGENT_PATH_CHARS];	/* "" = Amazon's of @region */
	char region[AGENT_TEXT_CHARS];
	char ca_bundle[AGENT_PATH_CHARS];	/* "" = the system's */
	char credentials[AGENT_PATH_CHARS];	/* "" = environment, ~/.aws */
	char profile[AGENT_TEXT_CHARS];
	/* [stream] */
	char stream[AGENT_TEXT_CHARS + 1];
	bool create;
	uint32_t retention_hours;
	uint64_t fragment_ms;
	uint64_t store_bytes;
	/* [camera] */
	char device[AGENT_PATH_CHARS];		/* "" = by @match */
	char match[AGENT_TEXT_CHARS];		/* "" = the first camera */
	uint32_t format;			/* fourcc; 0 = what fits */
	uint32_t width;				/* 0 = as it is set */
	uint32_t height;
	uint32_t rate_num;			/* 0 = as it is set */
	uint32_t rate_den;
	uint64_t camera_timeout_ns;
	/* [encoder] */
	enum agent_encoder encoder;
	char encoder_device[AGENT_PATH_CHARS];	/* "" = the first that fits */
	int64_t bitrate;			/* -1 = as it is set */
	int64_t gop_frames;			/* -1 = one per fragment */
	uint64_t encoder_timeout_ns;
	/* [agent] */
	uint64_t stop_timeout_ns;
	bool debug;
};

#define AGENT_ERROR_CHARS 512u

/**
 * agent_config_read() - defaults, then the file, then checks across keys
 * @ret_error: AGENT_ERROR_CHARS; words on failure, with file and line
 *
 * Return: 0, -EINVAL, or the errno of reading the file.
 */
int agent_config_read(const struct sys_ops *sys, const char *path,
		      struct agent_config *ret_config,
		      char *ret_error) MUST_CHECK;

const char *agent_encoder_name(enum agent_encoder encoder);

#endif
