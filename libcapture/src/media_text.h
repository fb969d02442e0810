/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a media setup, in media-ctl's syntax. Pure. */
#ifndef CAPTURE_SRC_MEDIA_TEXT_H
#define CAPTURE_SRC_MEDIA_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include <capture/media.h>

#include "base/macros.h"
#include "src/limits.h"

/* "'imx219 10-0010':0", "5:0" */
struct media_pad_ref {
	char name[CAPTURE_MEDIA_NAME_BYTES]; /* empty: by @id */
	uint32_t id;
	uint32_t pad;
};

struct media_link_text {
	struct media_pad_ref source;
	struct media_pad_ref sink;
	bool enable;
};

struct media_rect {
	int32_t left;
	int32_t top;
	uint32_t width;
	uint32_t height;
};

enum media_property {
	MEDIA_FMT = 1u << 0,
	MEDIA_FIELD = 1u << 1,
	MEDIA_COLORSPACE = 1u << 2,
	MEDIA_CROP = 1u << 3,
	MEDIA_COMPOSE = 1u << 4,
	MEDIA_INTERVAL = 1u << 5
};

struct media_format_text {
	struct media_pad_ref pad;
	uint32_t given; /* MEDIA_* that the text names */
	uint32_t code;
	uint32_t width;
	uint32_t height;
	uint32_t field; /* V4L2's numbers */
	uint32_t colorspace;
	struct media_rect crop;
	struct media_rect compose;
	uint32_t interval_num; /* seconds per frame */
	uint32_t interval_den;
};

/* "text" into @why, cut to fit; @why may be NULL. */
void media_say(char *why, const char *fmt, ...) PRINTF(2, 3);

/**
 * media_links_parse() - read a list of links
 * @text: may be NULL
 * @ret: room for CAPTURE_MEDIA_SETTINGS_MAX
 *
 * Return: 0, -EINVAL, -E2BIG; @why says where.
 */
int media_links_parse(const char *text, struct media_link_text *ret,
		      size_t *ret_count, char *why) MUST_CHECK;

/* The same of pad formats. */
int media_formats_parse(const char *text, struct media_format_text *ret,
			size_t *ret_count, char *why) MUST_CHECK;

/* A bus format's code by its name, [@text, @text + @len). */
bool media_bus_code(const char *text, size_t len, uint32_t *ret_code);

#endif
