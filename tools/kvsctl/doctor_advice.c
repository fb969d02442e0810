/* SPDX-License-Identifier: Apache-2.0 */
/* Media graphs; what all that was found adds up to: lacks, and a config. */
#include "kvsctl/doctor.h"

#include <string.h>

#include <capture/media.h>

#include "kvsctl/devices.h"

#define CONFIG_CHARS 2048u

/* --- media graphs ------------------------------------------------------------
 */

static json_t *pad_json(const struct capture_media_graph *g, size_t pad)
{
	const struct capture_media_pad *p = &g->pads[pad];
	json_t *links = json_array();
	size_t i;

	for (i = 0; i < g->link_count; i++) {
		const struct capture_media_link *l = &g->links[i];
		const struct capture_media_pad *to = &g->pads[l->sink];

		if (l->source != pad)
			continue;
		(void)json_array_append_new(
			links,
			json_pack("{s:o, s:i, s:b, s:b}", "to",
				  devices_text(g->entities[to->entity].name),
				  "pad", (int)to->index, "enabled",
				  (int)(l->flags & CAPTURE_LINK_ENABLED),
				  "immutable",
				  (int)!!(l->flags & CAPTURE_LINK_IMMUTABLE)));
	}
	return json_pack("{s:i, s:s, s:o}", "pad", (int)p->index, "direction",
			 p->flags & CAPTURE_PAD_SINK ? "sink" : "source",
			 "links", links);
}

static json_t *graph_json(const struct capture_media_graph *g)
{
	json_t *entities = json_array();
	size_t i;
	size_t j;

	for (i = 0; i < g->entity_count; i++) {
		const struct capture_media_entity *e = &g->entities[i];
		json_t *pads = json_array();

		for (j = 0; j < g->pad_count; j++) {
			if (g->pads[j].entity == i)
				(void)json_array_append_new(pads,
							    pad_json(g, j));
		}
		(void)json_array_append_new(
			entities,
			json_pack("{s:o, s:s, s:s, s:o}", "name",
				  devices_text(e->name), "function",
				  capture_media_function_name(e->function),
				  "node", e->path, "pads", pads));
	}
	return json_pack("{s:s, s:o, s:o, s:o, s:o}", "path", g->path, "driver",
			 devices_text(g->driver), "model",
			 devices_text(g->model), "bus",
			 devices_text(g->bus_info), "entities", entities);
}

void doctor_media(struct doctor *d)
{
	struct capture_media_list *list = NULL;
	json_t *out = json_array();
	size_t i;

	if (capture_media_list_new(NULL, &list) == 0) {
		for (i = 0; i < list->count; i++)
			(void)json_array_append_new(
				out, graph_json(list->graphs[i]));
	}
	(void)capture_media_list_free(list);
	(void)json_object_set_new(d->report, "media", out);
}

/* --- advice
 * -------------------------------------------------------------------- */

static const char *text(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

static bool is_measured(const json_t *object)
{
	return json_is_object(json_object_get(object, "measured")) &&
	       !json_object_get(object, "error");
}

static bool is_encoded(const json_t *stream)
{
	const char *fourcc =
		text(json_object_get(stream, "declared"), "fourcc");

	return !strcmp(fourcc, "H264") || !strcmp(fourcc, "HEVC") ||
	       !strcmp(fourcc, "MJPG");
}

/* H.264 in hardware, in software, then whatever else there is in hardware. */
static int rank(const json_t *pair)
{
	bool m2m = !strcmp(text(pair, "kind"), "m2m");

	if (!is_measured(pair))
		return 0;
	if (!m2m)
		return 2;
	return !strcmp(text(pair, "codec"), "H264") ? 3 : 1;
}

static const json_t *best_pair(const json_t *pairs)
{
	const json_t *best = NULL;
	const json_t *pair;
	size_t i;

	json_array_foreach(pairs, i, pair)
	{
		if (rank(pair) && (!best || rank(pair) > rank(best)))
			best = pair;
	}
	return best;
}

static const json_t *encoded_stream(const json_t *streams)
{
	const json_t *s;
	size_t i;

	json_array_foreach(streams, i, s)
	{
		if (is_measured(s) && is_encoded(s))
			return s;
	}
	return NULL;
}

static size_t camera_section(const char *path, const json_t *declared,
			     char *out, size_t size)
{
	char link[DOCTOR_LINK_CHARS];
	char name[DOCTOR_SOURCE_CHARS];
	const char *rate = text(declared, "rate");
	int n;

	doctor_stable_path(path, link);
	doctor_name_source(path, name);
	n = snprintf(
		out, size,
		"[source %s]\n"
		"kind = camera\n"
		"# the name of its [stream NAME]\n"
		"stream = front-door\n"
		"device = %s\n"
		"format = %s\n"
		"size = %dx%d\n"
		"%s%s%s",
		name, link, text(declared, "fourcc"),
		(int)json_integer_value(json_object_get(declared, "width")),
		(int)json_integer_value(json_object_get(declared, "height")),
		rate[0] ? "rate = " : "", rate, rate[0] ? "\n" : "");
	return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

static void suggest(struct doctor *d, const json_t *pair, const json_t *encoded)
{
	const json_t *from = pair ? pair : encoded;
	const char *path = text(from, pair ? "source" : "device");
	char config[CONFIG_CHARS];
	char link[DOCTOR_LINK_CHARS];
	size_t len;

	len = camera_section(path, json_object_get(from, "declared"), config,
			     sizeof(config));
	if (!pair) {
		(void)snprintf(config + len, sizeof(config) - len,
			       "encoder = none\n");
	} else if (!strcmp(text(pair, "kind"), "m2m")) {
		doctor_stable_path(text(pair, "encoder"), link);
		(void)snprintf(config + len, sizeof(config) - len,
			       "encoder = m2m\nencoder_device = %s\n", link);
	} else {
		(void)snprintf(config + len, sizeof(config) - len,
			       "encoder = openh264\n");
	}
	(void)json_object_set_new(d->report, "suggested", json_string(config));
}

/* The device that was asked for, or the first camera; NULL: there is none. */
static const struct capture_device *subject(const struct doctor *d)
{
	size_t i;

	for (i = 0; i < d->list->count; i++) {
		const struct capture_device *c = d->list->devices[i];

		if (d->device ? !strcmp(d->device, c->path)
			      : c->kind == CAPTURE_DEVICE_CAMERA)
			return c;
	}
	return NULL;
}

/* Of @kind, or if that is NULL of any. */
static bool any_measured(const json_t *array, const char *kind)
{
	const json_t *item;
	size_t i;

	json_array_foreach(array, i, item)
	{
		if (is_measured(item) &&
		    (!kind || !strcmp(text(item, "kind"), kind)))
			return true;
	}
	return false;
}

/* A node that is there and may not be opened tells more than "no camera". */
static bool node_is_closed(const struct doctor *d)
{
	const json_t *node;
	size_t i;

	json_array_foreach(json_object_get(d->report, "nodes"), i, node)
	{
		if (!strcmp(text(node, "kind"), "video") &&
		    !json_is_true(json_object_get(node, "usable")))
			return true;
	}
	return false;
}

void doctor_advice(struct doctor *d)
{
	const json_t *streams = json_object_get(d->report, "streams");
	const json_t *pairs = json_object_get(d->report, "pairs");
	const json_t *encoded = encoded_stream(streams);
	const json_t *pair = best_pair(pairs);
	const struct capture_device *device = subject(d);
	const char *kind = d->device ? NULL
				     : devices_kind(CAPTURE_DEVICE_CAMERA);

	(void)json_object_set_new(d->report, "suggested", json_null());
	if (!device && !d->sensor)
		doctor_lack(d, true,
			    node_is_closed(d)
				    ? "see the nodes that cannot be opened"
				    : "connect one; for tests: modprobe vivid",
			    "no video device that gives frames");
	else if (!any_measured(streams, kind))
		doctor_lack(d, true, "see the errors of its stream",
			    d->device ? "%s does not stream" : "%s streams",
			    d->device ? d->device : "no camera");
	else if (!device || device->kind != CAPTURE_DEVICE_CAMERA)
		return; /* samples and records need no encoder */
	else if (!pair && !encoded)
		doctor_lack(d, true,
			    "build kvsd with openh264 (OPENH264=1), or set the "
			    "camera to a format that an encoder takes",
			    "no encoder takes what the camera gives");
	else
		suggest(d, pair, pair ? NULL : encoded);
}
