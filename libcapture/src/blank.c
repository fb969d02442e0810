/* SPDX-License-Identifier: Apache-2.0 */
#include "src/blank.h"

#include <assert.h>
#include <string.h>

#include "base/macros.h"
#include "src/pixfmt.h"

#define GLYPH_SIDE 8u
#define GLYPH_DOTS 5u /* of a row; the others are the gap */
#define GLYPH_ROWS 7u

/* Dots of a row from the left: bit 4 to bit 0. */
static const struct {
	char name;
	uint8_t rows[GLYPH_ROWS];
} glyphs[] = {
	{'-', {0x00, 0x00, 0x00, 0x1f, 0x00, 0x00, 0x00}},
	{'.', {0x00, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x0c}},
	{'/', {0x01, 0x01, 0x02, 0x04, 0x08, 0x10, 0x10}},
	{':', {0x00, 0x0c, 0x0c, 0x00, 0x0c, 0x0c, 0x00}},
	{'0', {0x0e, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0e}},
	{'1', {0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e}},
	{'2', {0x0e, 0x11, 0x01, 0x06, 0x08, 0x10, 0x1f}},
	{'3', {0x0e, 0x11, 0x01, 0x06, 0x01, 0x11, 0x0e}},
	{'4', {0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02}},
	{'5', {0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e}},
	{'6', {0x06, 0x08, 0x10, 0x1e, 0x11, 0x11, 0x0e}},
	{'7', {0x1f, 0x01, 0x02, 0x04, 0x08, 0x08, 0x08}},
	{'8', {0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e}},
	{'9', {0x0e, 0x11, 0x11, 0x0f, 0x01, 0x02, 0x0c}},
	{'A', {0x0e, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11}},
	{'B', {0x1e, 0x11, 0x11, 0x1e, 0x11, 0x11, 0x1e}},
	{'C', {0x0e, 0x11, 0x10, 0x10, 0x10, 0x11, 0x0e}},
	{'D', {0x1e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x1e}},
	{'E', {0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x1f}},
	{'F', {0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x10}},
	{'G', {0x0e, 0x11, 0x10, 0x17, 0x11, 0x11, 0x0f}},
	{'H', {0x11, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11}},
	{'I', {0x0e, 0x04, 0x04, 0x04, 0x04, 0x04, 0x0e}},
	{'J', {0x01, 0x01, 0x01, 0x01, 0x01, 0x11, 0x0e}},
	{'K', {0x11, 0x12, 0x14, 0x18, 0x14, 0x12, 0x11}},
	{'L', {0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x1f}},
	{'M', {0x11, 0x1b, 0x15, 0x15, 0x11, 0x11, 0x11}},
	{'N', {0x11, 0x19, 0x19, 0x15, 0x13, 0x13, 0x11}},
	{'O', {0x0e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e}},
	{'P', {0x1e, 0x11, 0x11, 0x1e, 0x10, 0x10, 0x10}},
	{'Q', {0x0e, 0x11, 0x11, 0x11, 0x15, 0x12, 0x0d}},
	{'R', {0x1e, 0x11, 0x11, 0x1e, 0x14, 0x12, 0x11}},
	{'S', {0x0f, 0x10, 0x10, 0x0e, 0x01, 0x01, 0x1e}},
	{'T', {0x1f, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04}},
	{'U', {0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e}},
	{'V', {0x11, 0x11, 0x11, 0x11, 0x0a, 0x0a, 0x04}},
	{'W', {0x11, 0x11, 0x11, 0x15, 0x15, 0x1b, 0x11}},
	{'X', {0x11, 0x11, 0x0a, 0x04, 0x0a, 0x11, 0x11}},
	{'Y', {0x11, 0x11, 0x0a, 0x04, 0x04, 0x04, 0x04}},
	{'Z', {0x1f, 0x01, 0x02, 0x04, 0x08, 0x10, 0x1f}},
};

/* What a light and a dark pixel are, as bytes in memory. */
struct ink {
	uint8_t *first; /* of the first pixel's luma */
	size_t stride;
	size_t step;  /* bytes from pixel to pixel */
	size_t bytes; /* of one luma value: 1 or 2 */
	uint8_t dark[2];
	uint8_t light[2];
	uint32_t width;
	uint32_t height;
};

static bool is_grey16(uint32_t fourcc)
{
	return fourcc == CAPTURE_FORMAT_Y16 || fourcc == CAPTURE_FORMAT_Y14 ||
	       fourcc == CAPTURE_FORMAT_Y16_BE;
}

static bool is_grey(uint32_t fourcc)
{
	return fourcc == CAPTURE_FORMAT_GREY || is_grey16(fourcc);
}

static bool grey_fits(const struct capture_format *f)
{
	uint32_t row = f->width * (is_grey16(f->fourcc) ? 2u : 1u);

	return f->plane_count == 1 && f->width && f->height &&
	       f->stride[0] >= row && f->size[0] / f->stride[0] >= f->height;
}

bool blank_supports(const struct capture_format *format)
{
	struct pix_layout layout;
	uint32_t p;

	if (format->media != CAPTURE_MEDIA_PICTURE)
		return false;
	if (is_grey(format->fourcc))
		return grey_fits(format);
	if (pix_layout_init(format, &layout) < 0)
		return false;
	for (p = 0; p < format->plane_count; p++) {
		if (format->size[p] < pix_layout_plane_bytes(&layout, p))
			return false;
	}
	return true;
}

static void grey_ink(const struct capture_format *f, struct ink *ink)
{
	ink->stride = f->stride[0];
	ink->bytes = is_grey16(f->fourcc) ? 2 : 1;
	ink->step = ink->bytes;
	ink->light[0] = 0xff;
	/* The upper byte of 14 bits has only six. */
	ink->light[1] = f->fourcc == CAPTURE_FORMAT_Y14 ? 0x3f : 0xff;
}

static void colour_ink(const struct capture_format *f, struct ink *ink)
{
	bool packed = f->fourcc == CAPTURE_FORMAT_YUYV ||
		      f->fourcc == CAPTURE_FORMAT_UYVY;

	ink->stride = f->stride[0];
	ink->bytes = 1;
	ink->step = packed ? 2 : 1;
	ink->first += f->fourcc == CAPTURE_FORMAT_UYVY;
	ink->dark[0] = 16;
	ink->light[0] = 235;
}

static void fill(const struct capture_format *f,
		 uint8_t *const planes[CAPTURE_PLANES_MAX],
		 const struct ink *ink)
{
	bool grey = is_grey(f->fourcc);
	uint32_t p;
	uint32_t x;
	uint32_t y;

	/* 128 is no colour. */
	for (p = 0; p < f->plane_count; p++)
		memset(planes[p], grey ? 0 : 128, f->size[p]);
	if (grey)
		return;
	for (y = 0; y < ink->height; y++) {
		for (x = 0; x < ink->width; x++)
			ink->first[y * ink->stride + x * ink->step] =
				ink->dark[0];
	}
}

/* One dot of a glyph; what lies outside is cut. */
static void dot(const struct ink *ink, uint32_t x, uint32_t y, uint32_t side)
{
	uint32_t i;
	uint32_t j;

	for (j = y; j < y + side && j < ink->height; j++) {
		for (i = x; i < x + side && i < ink->width; i++)
			memcpy(ink->first + j * ink->stride + i * ink->step,
			       ink->light, ink->bytes);
	}
}

static const uint8_t *glyph_of(char c)
{
	size_t i;

	if (c >= 'a' && c <= 'z')
		c = (char)(c - 'a' + 'A');
	for (i = 0; i < ARRAY_SIZE(glyphs); i++) {
		if (glyphs[i].name == c)
			return glyphs[i].rows;
	}
	return NULL;
}

static void draw_line(const struct ink *ink, const char *text, uint32_t x,
		      uint32_t y, uint32_t scale)
{
	for (; *text && x < ink->width; text++, x += GLYPH_SIDE * scale) {
		const uint8_t *rows = glyph_of(*text);
		uint32_t i;
		uint32_t j;

		for (j = 0; rows && j < GLYPH_ROWS; j++) {
			for (i = 0; i < GLYPH_DOTS; i++) {
				if (rows[j] >> (GLYPH_DOTS - 1 - i) & 1)
					dot(ink, x + i * scale, y + j * scale,
					    scale);
			}
		}
	}
}

/* Pixels per dot: the longest line takes two thirds of the width. */
static uint32_t scale_of(const struct ink *ink, size_t chars, uint32_t lines)
{
	uint32_t by_width = ink->width * 2 / 3 / (GLYPH_SIDE * (uint32_t)chars);
	uint32_t by_height = ink->height / 2 / (GLYPH_SIDE * lines);
	uint32_t scale = MIN(by_width, by_height);

	return scale ? scale : 1;
}

static void draw_lines(const struct ink *ink,
		       const char *const lines[BLANK_LINES_MAX])
{
	uint32_t count = 0;
	size_t chars = 0;
	uint32_t scale;
	uint32_t all;
	uint32_t i;
	uint32_t y;

	for (i = 0; i < BLANK_LINES_MAX && lines[i]; i++) {
		chars = MAX(chars, strlen(lines[i]));
		count++;
	}
	if (!chars || chars > ink->width)
		return;
	scale = scale_of(ink, chars, count);
	all = count * GLYPH_SIDE * scale;
	y = ink->height > all ? (ink->height - all) / 2 : 0;
	for (i = 0; i < count; i++, y += GLYPH_SIDE * scale) {
		uint32_t wide = (uint32_t)strlen(lines[i]) * GLYPH_SIDE * scale;

		draw_line(ink, lines[i],
			  ink->width > wide ? (ink->width - wide) / 2 : 0, y,
			  scale);
	}
}

void blank_draw(const struct capture_format *format,
		uint8_t *const planes[CAPTURE_PLANES_MAX],
		const char *const lines[BLANK_LINES_MAX])
{
	struct ink ink = {
		.first = planes[0],
		.width = format->width,
		.height = format->height,
	};

	assert(blank_supports(format));
	if (is_grey(format->fourcc))
		grey_ink(format, &ink);
	else
		colour_ink(format, &ink);
	/* Big endian differs in nothing: the light value is 0xffff. */
	fill(format, planes, &ink);
	draw_lines(&ink, lines);
}
