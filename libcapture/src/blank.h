/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures with a few words in them. Pure. */
#ifndef CAPTURE_SRC_BLANK_H
#define CAPTURE_SRC_BLANK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <capture/api.h>

#define BLANK_LINES_MAX 2

/* Whether blank_draw() knows the format. */
bool blank_supports(const struct capture_format *format);

/**
 * blank_draw() - light words in the middle of a dark picture
 * @planes: format->size[] bytes each; written whole
 * @lines: A-Z (a-z alike), 0-9 and " -./:"; others leave a gap. NULL: fewer
 *
 * The words are as large as fits, and cut where one pixel per dot is too
 * many. blank_supports() must hold.
 */
void blank_draw(const struct capture_format *format,
		uint8_t *const planes[CAPTURE_PLANES_MAX],
		const char *const lines[BLANK_LINES_MAX]);

#endif
