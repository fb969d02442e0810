/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/devices.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <capture/media.h>

#include "agent/pipeline.h"

DEFINE_AUTO(capture_device_list_free, struct capture_device_list *)

/* Text that is cut when it gets too long, never refused. */
static void PRINTF(3, 4) say(char *out, size_t size, const char *fmt, ...)
{
	size_t len = strlen(out);
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(out + len, size - len, fmt, args);
	va_end(args);
}

/* --- nodes --------------------------------------------------------------------------- */

static enum capture_device_kind kind_of(const struct agent_source *s)
{
	return s->kind == AGENT_SDR ? CAPTURE_DEVICE_SDR :
	       s->kind == AGENT_METADATA ? CAPTURE_DEVICE_METADATA :
					   CAPTURE_DEVICE_CAMERA;
}

static const char *words_of(const struct agent_source *s)
{
	return s->kind == AGENT_SDR ? "radio" :
	       s->kind == AGENT_METADATA ? "metadata node" : "camera";
}

static void list_nodes(const struct capture_device_list *list,
		       const struct agent_source *s, char *error, size_t size)
{
	bool any = false;

	for (size_t i = 0; i < list->count; i++) {
		const struct capture_device *d = list->devices[i];

		if (d->kind != kind_of(s))
			continue;
		say(error, size, "%s%s '%s' (%s)", any ? ", " : "; there is ",
		    d->path, d->card, d->bus_info);
		any = true;
	}
	if (!any)
		say(error, size, "; there is no %s at all", words_of(s));
}

static void list_all(const struct sys_ops *sys, const struct agent_source *s,
		     char *error, size_t size)
{
	AUTO(capture_device_list_free) struct capture_device_list *list = NULL;

	if (capture_device_list_new(sys, &list) == 0)
		list_nodes(list, s, error, size);
}

static int find_by_path(const struct sys_ops *sys, const struct agent_source *s,
			const char *path, struct capture_device **ret_device,
			char *error, size_t size)
{
	int r = capture_device_query(sys, path, ret_device);

	if (r == 0 && (*ret_device)->kind == kind_of(s))
		return 0;
	say(error, size, "%s: ", path);
	if (r == 0 || r == -ENODEV)
		say(error, size, "is no %s", words_of(s));
	else
		say(error, size, "%s", strerror(-r));
	if (r == 0) {
		*ret_device = capture_device_free(*ret_device);
		r = -ENODEV;
	}
	list_all(sys, s, error, size);
	return r;
}

/* Whatever names it: a link, a card, a bus, an entity of its graph. */
static int find_by_match(const struct sys_ops *sys, const struct agent_source *s,
			 struct capture_device **ret_device, char *error,
			 size_t size)
{
	char path[CAPTURE_PATH_BYTES];
	int r = capture_device_match(sys, s->match, path);

	if (r == 0)
		return find_by_path(sys, s, path, ret_device, error, size);
	say(error, size, "no %s is meant by '%s'", words_of(s), s->match);
	list_all(sys, s, error, size);
	return r;
}

static int find_first(const struct sys_ops *sys, const struct agent_source *s,
		      struct capture_device **ret_device, char *error,
		      size_t size)
{
	AUTO(capture_device_list_free) struct capture_device_list *list = NULL;
	int r = capture_device_list_new(sys, &list);

	if (r < 0) {
		say(error, size, "cannot list devices: %s", strerror(-r));
		return r;
	}
	for (size_t i = 0; i < list->count; i++) {
		if (list->devices[i]->kind != kind_of(s))
			continue;
		*ret_device = list->devices[i];
		list->devices[i] = NULL; /* ours now; the list takes NULL */
		return 0;
	}
	say(error, size, "no %s", words_of(s));
	list_nodes(list, s, error, size);
	return -ENODEV;
}

int devices_find(const struct sys_ops *sys, const struct agent_source *source,
		 struct capture_device **ret_device, char *error, size_t size)
{
	error[0] = '\0';
	if (source->device[0])
		return find_by_path(sys, source, source->device, ret_device,
				    error, size);
	if (source->match[0])
		return find_by_match(sys, source, ret_device, error, size);
	return find_first(sys, source, ret_device, error, size);
}

/* --- formats -------------------------------------------------------------------- */

struct wish {
	uint32_t *fourccs;
	size_t count;
};

static void add_format(struct wish *w, uint32_t fourcc)
{
	for (size_t i = 0; i < w->count; i++)
		if (w->fourccs[i] == fourcc)
			return;
	if (w->count < DEVICES_FORMATS_MAX)
		w->fourccs[w->count++] = fourcc;
}

static bool gives_h264(const struct capture_device *d)
{
	return capture_device_format(d, CAPTURE_FORMAT_H264) != NULL;
}

static void add_m2m(struct wish *w, const struct capture_device_list *list,
		    const struct agent_source *c, bool h264)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct capture_device *d = list->devices[i];

		if (d->kind != CAPTURE_DEVICE_ENCODER || gives_h264(d) != h264)
			continue;
		if (c->encoder_device[0] &&
		    strcmp(c->encoder_device, d->path) != 0)
			continue;
		for (size_t j = 0; j < d->input_format_count; j++)
			add_format(w, d->input_formats[j].fourcc);
	}
}

static void add_software(struct wish *w)
{
	static const uint32_t fourccs[] = {
		CAPTURE_FORMAT_YU12, CAPTURE_FORMAT_YV12, CAPTURE_FORMAT_NV12,
		CAPTURE_FORMAT_NV21, CAPTURE_FORMAT_YUYV, CAPTURE_FORMAT_UYVY,
	};

	for (size_t i = 0; i < ARRAY_SIZE(fourccs); i++)
		add_format(w, fourccs[i]);
}

static void add_thermal(struct wish *w)
{
	static const uint32_t fourccs[] = {
		CAPTURE_FORMAT_Y16, CAPTURE_FORMAT_Y16_BE, CAPTURE_FORMAT_Y14,
	};

	for (size_t i = 0; i < ARRAY_SIZE(fourccs); i++)
		add_format(w, fourccs[i]);
}

size_t devices_formats(const struct sys_ops *sys, const struct agent_source *c,
		       uint32_t fourccs[DEVICES_FORMATS_MAX])
{
	AUTO(capture_device_list_free) struct capture_device_list *list = NULL;
	struct wish w = { fourccs, 0 };
	bool m2m = c->encoder == AGENT_ENCODER_AUTO ||
		   c->encoder == AGENT_ENCODER_M2M;
	enum agent_class class = agent_source_class(c);

	if (c->format)
		add_format(&w, c->format);
	else if (class == AGENT_CLASS_THERMAL)
		add_thermal(&w);
	if (c->format || class != AGENT_CLASS_VIDEO)
		return w.count;
	/* Without the list the software encoder's formats are left. */
	if (m2m)
		(void)!capture_device_list_new(sys, &list);
	if (list)
		add_m2m(&w, list, c, true);
	if (c->encoder != AGENT_ENCODER_M2M)
		add_software(&w);
	if (list)
		add_m2m(&w, list, c, false);
	return w.count;
}

bool devices_import(const struct sys_ops *sys, const struct agent_source *c)
{
	AUTO(capture_device_list_free) struct capture_device_list *list = NULL;
	bool m2m = c->encoder == AGENT_ENCODER_AUTO ||
		   c->encoder == AGENT_ENCODER_M2M;

	/* A thermal core's view is made of its frames, by the CPU. */
	if (c->kind != AGENT_CAMERA || agent_source_tracks(c) != 1 || !m2m ||
	    capture_device_list_new(sys, &list) < 0)
		return false;
	for (size_t i = 0; i < list->count; i++)
		if (list->devices[i]->kind == CAPTURE_DEVICE_ENCODER)
			return true;
	return false;
}

/* --- words ------------------------------------------------------------------------ */

static void list_formats(const struct capture_format_info *formats,
			 size_t count, char *error, size_t size)
{
	char name[5];

	for (size_t i = 0; i < count; i++) {
		fourcc_text(formats[i].fourcc, name);
		say(error, size, "%s%s", i ? ", " : "; it has ", name);
	}
}

static void list_sizes(const struct capture_format_info *f, char *error,
		       size_t size)
{
	char name[5];

	fourcc_text(f->fourcc, name);
	for (size_t i = 0; i < f->size_count; i++) {
		const struct capture_size_range *s = &f->sizes[i];

		say(error, size, "%s%ux%u", i ? ", " : " has ", s->min_width,
		    s->min_height);
		if (s->max_width != s->min_width ||
		    s->max_height != s->min_height)
			say(error, size, " to %ux%u", s->max_width,
			    s->max_height);
	}
}

static void explain_formats(const struct capture_device *device,
			    const struct agent_source *c, int result,
			    char *error, size_t size)
{
	char name[5] = "";

	if (result == -EPROTONOSUPPORT) {
		fourcc_text(c->format, name);
		say(error, size, "no format %s", c->format ? name :
		    "that an encoder takes");
		list_formats(device->formats, device->format_count, error,
			     size);
		return;
	}
	say(error, size, "not in %ux%u;", c->width, c->height);
	for (size_t i = 0; i < device->format_count; i++) {
		fourcc_text(device->formats[i].fourcc, name);
		say(error, size, "%s %s", i ? ";" : "", name);
		list_sizes(&device->formats[i], error, size);
	}
}

void devices_explain_source(const struct capture_device *device,
			    const struct agent_source *c, int result,
			    char *error, size_t size)
{
	error[0] = '\0';
	if (device)
		say(error, size, "%s '%s': ", device->path, device->card);
	else if (c->device[0])
		say(error, size, "%s: ", c->device);
	if (result == -EBUSY)
		say(error, size, "in use by another program");
	else if (device && (result == -EPROTONOSUPPORT || result == -ERANGE))
		explain_formats(device, c, result, error, size);
	else if (result == -EPROTONOSUPPORT)
		say(error, size, "it does not give what is asked for");
	else if (result == -ERANGE)
		say(error, size, "not in this size, or at this rate");
	else if (result == -ENOLINK)
		say(error, size, "no signal");
	else if (result == -ENXIO && c->rate_num)
		say(error, size, "it has no rate that could be set: leave "
		    "out rate");
	else if (result == -EOPNOTSUPP)
		say(error, size, "sources of kind %s are not built in",
		    agent_kind_name(c->kind));
	else
		say(error, size, "%s", strerror(-result));
}

static void list_encoders(const struct sys_ops *sys, char *error, size_t size)
{
	AUTO(capture_device_list_free) struct capture_device_list *list = NULL;
	bool any = false;

	if (capture_device_list_new(sys, &list) < 0)
		return;
	for (size_t i = 0; i < list->count; i++) {
		const struct capture_device *d = list->devices[i];

		if (d->kind != CAPTURE_DEVICE_ENCODER)
			continue;
		say(error, size, "%s%s '%s'", any ? ", " :
		    "; M2M encoders are ", d->path, d->card);
		any = true;
	}
	if (!any)
		say(error, size, "; there is no M2M encoder");
#if !HAVE_OPENH264
	say(error, size, ", and openh264 is not built in");
#endif
}

void devices_explain_encoder(const struct sys_ops *sys,
			     const struct agent_source *c,
			     enum agent_encoder encoder, uint32_t fourcc,
			     int result, char *error, size_t size)
{
	bool device_wanted = encoder == AGENT_ENCODER_AUTO ||
			     encoder == AGENT_ENCODER_M2M;
	char name[5];

	error[0] = '\0';
	fourcc_text(fourcc, name);
	say(error, size, "encoder %s", agent_encoder_name(encoder));
	if (c->encoder_device[0])
		say(error, size, " %s", c->encoder_device);
	if (result == -EPROTONOSUPPORT)
		say(error, size, ": takes no %s", name);
	else if (result == -ENODEV && device_wanted)
		say(error, size, ": there is none");
	else if (result == -ENODEV)
		say(error, size, ": not built in");
	else if (result == -EBUSY)
		say(error, size, ": in use, or its driver has not returned");
	else if (result == -ETIMEDOUT)
		say(error, size, ": its driver does not return");
	else
		say(error, size, ": %s", strerror(-result));
	/* Who asks a driver that does not return waits for it as well. */
	if (device_wanted && result != -EBUSY && result != -ETIMEDOUT)
		list_encoders(sys, error, size);
}
