/* SPDX-License-Identifier: Apache-2.0 */
/* Media graphs; what all that was found adds up to: lacks, and a config. */
#include "kvsctl/doctor.h"

#include <string.h>

#include <capture/media.h>

#include "kvsctl/devices.h"

#define CONFIG_CHARS 2048u /* of a camera's section */
#define STREAM_TRACKS 3u   /* of one stream, in all */

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

/* Of the pairs of the camera at @path. */
static const json_t *best_pair(const json_t *pairs, const char *path)
{
	const json_t *best = NULL;
	const json_t *pair;
	size_t i;

	json_array_foreach(pairs, i, pair)
	{
		if (!strcmp(text(pair, "source"), path) && rank(pair) &&
		    (!best || rank(pair) > rank(best)))
			best = pair;
	}
	return best;
}

/* A thermal or depth core, set to its counts; monochrome cameras have less. */
static bool is_thermal(const json_t *stream)
{
	const char *fourcc =
		text(json_object_get(stream, "declared"), "fourcc");

	return !strncmp(fourcc, "Y16", 3) || !strncmp(fourcc, "Y14", 3);
}

static size_t camera_section(const char *kind, const char *path,
			     const json_t *declared, char *out, size_t size)
{
	char link[DOCTOR_LINK_CHARS];
	char name[DOCTOR_SOURCE_CHARS];
	const char *rate = text(declared, "rate");
	/* Of counts the agent itself takes those of most bits. */
	const char *format =
		strcmp(kind, "thermal") != 0 ? text(declared, "fourcc") : "";
	int n;

	doctor_stable_path(path, link);
	doctor_name_source(path, name);
	n = snprintf(
		out, size,
		"[source %s]\n"
		"kind = %s\n"
		"# the name of its [stream NAME]\n"
		"stream = front-door\n"
		"device = %s\n"
		"%s%s%s"
		"size = %dx%d\n"
		"%s%s%s",
		name, kind, link, format[0] ? "format = " : "", format,
		format[0] ? "\n" : "",
		(int)json_integer_value(json_object_get(declared, "width")),
		(int)json_integer_value(json_object_get(declared, "height")),
		rate[0] ? "rate = " : "", rate, rate[0] ? "\n" : "");
	return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

/* Appends what to write for one camera. Return: there is something. */
static bool suggest(const json_t *stream, const json_t *pairs, char *config,
		    size_t size)
{
	const char *path = text(stream, "device");
	const json_t *pair = best_pair(pairs, path);
	bool thermal = is_thermal(stream);
	char link[DOCTOR_LINK_CHARS] = "";
	const char *how = "encoder = openh264";
	size_t len;

	if (thermal) {
		pair = NULL;
		how = "encoder = auto\n# a picture for people, too: view = yes";
	} else if (!pair && is_encoded(stream)) {
		how = "encoder = none";
	} else if (!pair) {
		return false;
	} else if (!strcmp(text(pair, "kind"), "m2m")) {
		how = "encoder = m2m\nencoder_device = ";
		doctor_stable_path(text(pair, "encoder"), link);
	}
	len = camera_section(thermal ? "thermal" : "camera", path,
			     json_object_get(pair ? pair : stream, "declared"),
			     config, size);
	(void)snprintf(config + len, size - len, "%s%s\n", how, link);
	return true;
}

/* A section for each camera that can be used, as many as a stream takes. */
static size_t suggest_all(struct doctor *d, const char *kind)
{
	const json_t *pairs = json_object_get(d->report, "pairs");
	char config[STREAM_TRACKS * CONFIG_CHARS] = "";
	const json_t *s;
	size_t count = 0;
	size_t i;

	json_array_foreach(json_object_get(d->report, "streams"), i, s)
	{
		size_t len = strlen(config);

		if (!is_measured(s) || strcmp(text(s, "kind"), kind) != 0)
			continue;
		if (count == STREAM_TRACKS)
			doctor_lack(d, false,
				    "kvsctl doctor DEVICE: it needs another "
				    "[stream NAME]",
				    "no section is suggested for %s",
				    text(s, "device"));
		else if (suggest(s, pairs, config + len, CONFIG_CHARS))
			count++;
		else
			doctor_lack(d, false,
				    "set it to a format that an encoder takes",
				    "no encoder takes what %s gives",
				    text(s, "device"));
	}
	if (count)
		(void)json_object_set_new(d->report, "suggested",
					  json_string(config));
	return count;
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
	const struct capture_device *device = subject(d);
	const char *camera = devices_kind(CAPTURE_DEVICE_CAMERA);
	const char *kind = d->device ? NULL : camera;

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
	else if (!suggest_all(d, camera))
		doctor_lack(d, true,
			    "build kvsd with openh264 (OPENH264=1), or set the "
			    "camera to a format that an encoder takes",
			    "no encoder takes what the camera gives");
}
