/* SPDX-License-Identifier: Apache-2.0 */
/* The controls of cameras and encoders, as their drivers declare them. */
#include "kvsctl/doctor.h"

#include <string.h>

#include <capture/settings.h>

#include "kvsctl/devices.h"

static json_t *items_json(const struct capture_control *c)
{
	json_t *out = json_array();
	size_t i;

	for (i = 0; i < c->item_count; i++) {
		const struct capture_control_item *item = &c->items[i];

		(void)json_array_append_new(
			out,
			c->type == CAPTURE_CONTROL_INTEGER_MENU
				? json_pack("{s:I, s:I}", "index",
					    (json_int_t)item->index, "value",
					    (json_int_t)item->value)
				: json_pack("{s:I, s:o}", "index",
					    (json_int_t)item->index, "name",
					    devices_text(item->name)));
	}
	return out;
}

static json_t *control_json(const struct capture_control *c)
{
	json_t *out = json_pack(
		"{s:s, s:o, s:s, s:I, s:I, s:I, s:I, s:i, s:o}", "key", c->key,
		"name", devices_text(c->name), "type",
		capture_control_type_name(c->type), "min",
		(json_int_t)c->minimum, "max", (json_int_t)c->maximum, "step",
		(json_int_t)c->step, "default", (json_int_t)c->default_value,
		"flags", (int)c->flags, "value",
		c->readable ? json_integer((json_int_t)c->value) : json_null());

	if (c->item_count)
		(void)json_object_set_new(out, "items", items_json(c));
	return out;
}

static json_t *list_json(const struct capture_control_list *list)
{
	json_t *out = json_array();
	size_t i;

	for (i = 0; i < list->count; i++)
		(void)json_array_append_new(out,
					    control_json(&list->controls[i]));
	return out;
}

void doctor_controls(struct doctor *d)
{
	json_t *out = json_object();
	size_t i;

	for (i = 0; i < d->list->count; i++) {
		const struct capture_device *device = d->list->devices[i];
		struct capture_control_list *list;

		if (d->device && strcmp(d->device, device->path) != 0)
			continue;
		if (capture_control_list_new(NULL, device->path, &list) < 0)
			continue;
		if (list->count)
			(void)json_object_set_new(out, device->path,
						  list_json(list));
		(void)capture_control_list_free(list);
	}
	(void)json_object_set_new(d->report, "controls", out);
}
