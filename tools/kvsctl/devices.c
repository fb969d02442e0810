/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include <capture/device.h>
#include <jansson.h>

#include "kvsctl/ctl.h"
#include "kvsctl/devices.h"
#include "kvsctl/output.h"
#include "kvsctl/text.h"

#define WORDS_CHARS 256u

json_t *devices_text(const char *text)
{
	char words[WORDS_CHARS];

	text_utf8(text, words, sizeof(words));
	return json_string(words);
}

const char *devices_kind(enum capture_device_kind kind)
{
	switch (kind) {
	case CAPTURE_DEVICE_CAMERA:
		return "capture";
	case CAPTURE_DEVICE_ENCODER:
		return "encoder";
	case CAPTURE_DEVICE_DECODER:
		return "decoder";
	case CAPTURE_DEVICE_CONVERTER:
		return "converter";
	case CAPTURE_DEVICE_SDR:
		return "sdr";
	case CAPTURE_DEVICE_METADATA:
		return "metadata";
	}
	return "unknown";
}

void devices_fourcc(uint32_t fourcc, char out[5])
{
	size_t i;

	for (i = 0; i < 4; i++) {
		char c = (char)(fourcc >> (8 * i) & 0x7f);

		out[i] = c >= ' ' && c <= '~' ? c : '?';
	}
	out[4] = '\0';
	while (i && out[i - 1] == ' ')
		out[--i] = '\0';
}

static json_t *size_json(const struct capture_size_range *s)
{
	const struct capture_rate_range *fastest =
		s->rate_count ? &s->rates[s->rate_count - 1] : NULL;
	json_t *out = json_pack("{s:i, s:i}", "width", (int)s->max_width,
				"height", (int)s->max_height);
	size_t i;

	if (s->min_width != s->max_width || s->min_height != s->max_height) {
		(void)json_object_set_new(out, "min_width",
					  json_integer(s->min_width));
		(void)json_object_set_new(out, "min_height",
					  json_integer(s->min_height));
	}
	for (i = 0; i < s->rate_count; i++) {
		const struct capture_rate_range *r = &s->rates[i];

		if ((uint64_t)r->max_num * fastest->max_den >
		    (uint64_t)fastest->max_num * r->max_den)
			fastest = r;
	}
	if (fastest && fastest->max_den) {
		char rate[32];

		(void)snprintf(rate, sizeof(rate), "%u/%u", fastest->max_num,
			       fastest->max_den);
		(void)json_object_set_new(out, "max_rate", json_pack("s", rate));
	}
	return out;
}

static json_t *formats_json(const struct capture_format_info *formats,
			    size_t count)
{
	json_t *out = json_array();
	char fourcc[5];
	size_t i;
	size_t j;

	for (i = 0; i < count; i++) {
		const struct capture_format_info *f = &formats[i];
		json_t *sizes = json_array();

		for (j = 0; j < f->size_count; j++)
			(void)json_array_append_new(sizes,
						    size_json(&f->sizes[j]));
		devices_fourcc(f->fourcc, fourcc);
		(void)json_array_append_new(
			out,
			json_pack("{s:s, s:o, s:b, s:b, s:o}", "fourcc", fourcc,
				  "description", devices_text(f->description),
				  "compressed", f->compressed, "emulated",
				  f->emulated, "sizes", sizes));
	}
	return out;
}

json_t *devices_json(const struct capture_device *d)
{
	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "path", d->path,
			 "kind", devices_kind(d->kind), "driver",
			 devices_text(d->driver), "card", devices_text(d->card),
			 "bus", devices_text(d->bus_info), "formats",
			 formats_json(d->formats, d->format_count), "inputs",
			 formats_json(d->input_formats, d->input_format_count));
}

static int print_json(const struct capture_device_list *list)
{
	json_t *devices = json_array();
	json_t *out;
	size_t i;
	int code;

	for (i = 0; i < list->count; i++)
		(void)json_array_append_new(devices,
					    devices_json(list->devices[i]));
	out = json_pack("{s:o}", "devices", devices);
	code = output_json(out);
	json_decref(out);
	return code;
}

/* "YUYV 1920x1080, MJPG 1920x1080": each format with its largest size. */
static void formats_text(const struct capture_format_info *formats,
			 size_t count, char *out, size_t size)
{
	size_t len = 0;
	size_t i;
	size_t j;

	out[0] = '\0';
	for (i = 0; i < count && len < size; i++) {
		const struct capture_format_info *f = &formats[i];
		const struct capture_size_range *best = NULL;
		char fourcc[5];

		for (j = 0; j < f->size_count; j++) {
			const struct capture_size_range *s = &f->sizes[j];

			if (!best || (uint64_t)s->max_width * s->max_height >
					     (uint64_t)best->max_width *
						     best->max_height)
				best = s;
		}
		devices_fourcc(f->fourcc, fourcc);
		len += (size_t)snprintf(out + len, size - len, "%s%s",
					i ? ", " : "", fourcc);
		if (best && len < size)
			len += (size_t)snprintf(out + len, size - len,
						" %ux%u", best->max_width,
						best->max_height);
	}
}

static int print_table(const struct capture_device_list *list)
{
	char text[2048];
	struct table t;
	size_t i;
	int code;

	table_init(&t, 5);
	table_add(&t, "DEVICE");
	table_add(&t, "KIND");
	table_add(&t, "DRIVER");
	table_add(&t, "CARD");
	table_add(&t, "FORMATS");
	for (i = 0; i < list->count; i++) {
		const struct capture_device *d = list->devices[i];

		table_add(&t, d->path);
		table_add(&t, devices_kind(d->kind));
		table_add(&t, d->driver);
		table_add(&t, d->card);
		formats_text(d->formats, d->format_count, text, sizeof(text));
		table_add(&t, text);
	}
	code = table_print(&t);
	table_fini(&t);
	return code;
}

int devices_command(struct ctl *ctl, int argc, char **argv)
{
	const struct arg_option options[] = { { NULL, 0, NULL, NULL, NULL } };
	struct capture_device_list *list = NULL;
	struct args args;
	bool over;
	int code;
	int r;

	code = ctl_args(ctl, argc, argv, options, "", 0, 0, &args, &over);
	if (code != CTL_OK || over)
		return code;
	r = capture_device_list_new(NULL, &list);
	if (r < 0)
		return ctl_fail(CTL_LOCAL, "cannot list the devices: %s",
				strerror(-r));
	code = ctl->json ? print_json(list) : print_table(list);
	if (!list->count && !ctl->json)
		ctl_note("no camera and no encoder found; to read a device, "
			 "be in its group (ls -l /dev/video*)");
	(void)capture_device_list_free(list);
	return code;
}
