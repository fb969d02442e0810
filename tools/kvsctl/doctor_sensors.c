/* SPDX-License-Identifier: Apache-2.0 */
/* Sound cards and industrial I/O devices, as their drivers declare them. */
#include "kvsctl/doctor.h"

#include <string.h>

#include "kvsctl/devices.h"

static json_t *rates_json(const struct capture_sensor *s)
{
	json_t *out = json_array();
	size_t i;

	for (i = 0; i < s->rate_count; i++)
		(void)json_array_append_new(out, json_integer(s->rates[i]));
	return out;
}

/* The names in @text, which are apart by spaces. */
static json_t *words_json(const char *text)
{
	json_t *out = json_array();

	while (*text) {
		size_t length = strcspn(text, " ");

		(void)json_array_append_new(out, json_stringn(text, length));
		text += length + (text[length] == ' ');
	}
	return out;
}

static json_t *element_json(const struct capture_scan_element *e)
{
	return json_pack("{s:o, s:i, s:i, s:i, s:i, s:i, s:b, s:b, s:b}",
			 "name", devices_text(e->name), "offset",
			 (int)e->offset, "bits", (int)e->bits, "storage_bits",
			 (int)e->storage_bits, "shift", (int)e->shift, "repeat",
			 (int)e->repeat, "signed", (int)e->is_signed,
			 "big_endian", (int)e->is_big_endian, "timestamp",
			 (int)e->is_timestamp);
}

static json_t *or_null(const char *text)
{
	return text[0] ? devices_text(text) : json_null();
}

static void add_scan(json_t *out, const struct capture_sensor *s)
{
	json_t *elements = json_array();
	size_t i;

	for (i = 0; i < s->element_count; i++)
		(void)json_array_append_new(elements,
					    element_json(&s->elements[i]));
	(void)json_object_update_new(
		out,
		json_pack("{s:o, s:o, s:o}", "elements", elements, "trigger",
			  or_null(s->trigger), "clock", or_null(s->clock)));
}

const char *doctor_sensor_kind(const struct capture_sensor *s)
{
	return s->kind == CAPTURE_SOURCE_ALSA ? "audio" : "iio";
}

static json_t *sensor_json(const struct capture_sensor *s)
{
	json_t *out = json_pack("{s:s, s:s, s:o}", "path", s->path, "kind",
				doctor_sensor_kind(s), "name",
				devices_text(s->name));

	if (s->error) {
		(void)json_object_set_new(
			out, "error", json_string(doctor_explain(s->error)));
		return out;
	}
	(void)json_object_update_new(
		out, json_pack("{s:o, s:I, s:I, s:i, s:i}", "rates",
			       rates_json(s), "rate_min",
			       (json_int_t)s->rate_min, "rate_max",
			       (json_int_t)s->rate_max, "channels_min",
			       (int)s->channels_min, "channels_max",
			       (int)s->channels_max));
	if (s->kind == CAPTURE_SOURCE_ALSA)
		(void)json_object_set_new(out, "formats",
					  words_json(s->formats));
	else
		add_scan(out, s);
	return out;
}

void doctor_sensors(struct doctor *d)
{
	json_t *out = json_array();
	size_t i;

	for (i = 0; i < d->sensors->count; i++)
		(void)json_array_append_new(
			out, sensor_json(&d->sensors->sensors[i]));
	(void)json_object_set_new(d->report, "sensors", out);
}

const struct capture_sensor *
doctor_find_sensor(const struct capture_sensor_list *list, const char *text)
{
	size_t i;

	for (i = 0; i < list->count; i++) {
		if (!strcmp(list->sensors[i].path, text))
			return &list->sensors[i];
	}
	for (i = 0; i < list->count; i++) {
		if (!strcmp(list->sensors[i].name, text))
			return &list->sensors[i];
	}
	return NULL;
}
