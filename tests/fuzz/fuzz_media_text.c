/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links and pad formats as a configuration names them. Checked: what is read
 * keeps its bounds, and a refusal says why.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/media_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_ref(const struct media_pad_ref *ref)
{
	check(strnlen(ref->name, sizeof(ref->name)) < sizeof(ref->name));
	check(ref->pad <= UINT16_MAX);
}

static void check_links(const char *text)
{
	static struct media_link_text links[CAPTURE_MEDIA_SETTINGS_MAX];
	char why[CAPTURE_MEDIA_WHY_BYTES] = "";
	size_t count = 0;
	size_t i;
	int r;

	r = media_links_parse(text, links, &count, why);
	check(r == 0 || (why[0] && !count));
	check(count <= CAPTURE_MEDIA_SETTINGS_MAX);
	for (i = 0; i < count; i++) {
		check_ref(&links[i].source);
		check_ref(&links[i].sink);
	}
	check(media_links_parse(text, links, &count, NULL) == r);
}

static void check_formats(const char *text)
{
	static struct media_format_text formats[CAPTURE_MEDIA_SETTINGS_MAX];
	char why[CAPTURE_MEDIA_WHY_BYTES] = "";
	size_t count = 0;
	size_t i;
	int r;

	r = media_formats_parse(text, formats, &count, why);
	check(r == 0 || (why[0] && !count));
	check(count <= CAPTURE_MEDIA_SETTINGS_MAX);
	for (i = 0; i < count; i++) {
		const struct media_format_text *f = &formats[i];

		check_ref(&f->pad);
		check(f->given);
		if (f->given & MEDIA_FMT)
			check(f->width && f->width <= CAPTURE_SIDE_MAX &&
			      f->height && f->height <= CAPTURE_SIDE_MAX);
		if (f->given & MEDIA_CROP)
			check(f->crop.width && f->crop.height);
		if (f->given & MEDIA_INTERVAL)
			check(f->interval_num && f->interval_den);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	char *text = malloc(len + 1);

	if (!text)
		return 0;
	memcpy(text, bytes, len);
	text[len] = '\0';
	check_links(text);
	check_formats(text);
	free(text);
	return 0;
}
