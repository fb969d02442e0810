/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Applies links and pad formats, and puts back what was before. All named
 * subdevices are opened and all of their pads are read before anything is
 * set: a driver carries a format from a sink to its sources, so one pad's
 * text may change another pad.
 */
#include "src/media_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include <linux/media.h>
#include <linux/v4l2-subdev.h>

#include "base/sys.h"
#include "src/media.h"

/* What a frame interval may differ by, in parts of it. */
#define INTERVAL_PARTS 100u

struct saved_pad {
	uint32_t index;
	bool sink;
	struct v4l2_mbus_framefmt format;
	bool has_crop;
	bool has_compose;
	bool has_interval;
	struct v4l2_rect crop;
	struct v4l2_rect compose;
	struct v4l2_fract interval;
};

struct subdev {
	int fd;
	size_t entity;	  /* index in the graph */
	size_t first_pad; /* of the saved ones */
	size_t pad_count;
};

struct capture_media_setup {
	const struct sys_ops *sys;
	int media_fd;
	struct capture_media_graph *graph;
	struct subdev subdevs[CAPTURE_MEDIA_SETTINGS_MAX];
	size_t subdev_count;
	struct saved_pad pads[CAPTURE_MEDIA_SAVED_PADS_MAX];
	size_t pad_count;
	/* Links that were switched, as they were before. */
	struct media_link_desc switched[CAPTURE_MEDIA_SETTINGS_MAX];
	size_t switched_count;
	/* What the texts say. */
	struct media_link_text links[CAPTURE_MEDIA_SETTINGS_MAX];
	size_t link_count;
	struct media_format_text formats[CAPTURE_MEDIA_SETTINGS_MAX];
	size_t format_count;
};

size_t capture_media_setup_links(const struct capture_media_setup *setup)
{
	return setup->link_count;
}

size_t capture_media_setup_pads(const struct capture_media_setup *setup)
{
	return setup->format_count;
}

/* --- finding what the text names ------------------------------------------ */

static bool is_named(const struct capture_media_entity *e,
		     const struct media_pad_ref *ref)
{
	return ref->name[0] ? strcmp(e->name, ref->name) == 0
			    : e->id == ref->id;
}

static int find_pad(const struct capture_media_graph *g,
		    const struct media_pad_ref *ref, size_t *ret_pad, char *why)
{
	size_t i;

	for (i = 0; i < g->pad_count; i++) {
		const struct capture_media_pad *p = &g->pads[i];

		if (p->index == ref->pad &&
		    is_named(&g->entities[p->entity], ref)) {
			*ret_pad = i;
			return 0;
		}
	}
	if (ref->name[0])
		media_say(why, "%s has no '%s':%u", g->path, ref->name,
			  ref->pad);
	else
		media_say(why, "%s has no %u:%u", g->path, ref->id, ref->pad);
	return -ENOENT;
}

static int find_link(const struct capture_media_graph *g,
		     const struct media_link_text *text, size_t *ret_link,
		     char *why)
{
	size_t source = 0;
	size_t sink = 0;
	size_t i;
	int r;

	r = find_pad(g, &text->source, &source, why);
	if (r == 0)
		r = find_pad(g, &text->sink, &sink, why);
	if (r < 0)
		return r;
	for (i = 0; i < g->link_count; i++) {
		if (g->links[i].source == source && g->links[i].sink == sink) {
			*ret_link = i;
			return 0;
		}
	}
	media_say(why, "no link from '%s':%u to '%s':%u",
		  g->entities[g->pads[source].entity].name, text->source.pad,
		  g->entities[g->pads[sink].entity].name, text->sink.pad);
	return -ENOLINK;
}

/* Whether @g has everything that the texts name. */
static int check_graph(const struct capture_media_setup *s,
		       const struct capture_media_graph *g, char *why)
{
	size_t found;
	size_t i;
	int r = 0;

	for (i = 0; i < s->link_count && r == 0; i++)
		r = find_link(g, &s->links[i], &found, why);
	for (i = 0; i < s->format_count && r == 0; i++)
		r = find_pad(g, &s->formats[i].pad, &found, why);
	return r;
}

static int choose_graph(struct capture_media_setup *s, char *why)
{
	AUTO(capture_media_list_free) struct capture_media_list *list = NULL;
	size_t i;
	int r;

	r = capture_media_list_new(s->sys, &list);
	if (r < 0)
		return r;
	if (!list->count)
		media_say(why, "there is no media device");
	for (i = 0; i < list->count; i++) {
		if (check_graph(s, list->graphs[i], why) < 0)
			continue;
		s->graph = TAKE_PTR(list->graphs[i]);
		return 0;
	}
	return -ENODEV;
}

static int find_graph(struct capture_media_setup *s, const char *device,
		      char *why)
{
	int r;

	if (!device)
		return choose_graph(s, why);
	r = capture_media_query(s->sys, device, &s->graph);
	if (r < 0) {
		media_say(why, "cannot read %s: %s", device, strerror(-r));
		return r;
	}
	return check_graph(s, s->graph, why);
}

/* --- reading what is set --------------------------------------------------- */

static int get_format(const struct sys_ops *sys, int fd, uint32_t pad,
		      struct v4l2_mbus_framefmt *ret)
{
	struct v4l2_subdev_format f;
	int r;

	memset(&f, 0, sizeof(f));
	f.which = V4L2_SUBDEV_FORMAT_ACTIVE;
	f.pad = pad;
	r = sys->ioctl(fd, VIDIOC_SUBDEV_G_FMT, &f);
	if (r >= 0)
		*ret = f.format;
	return r < 0 ? r : 0;
}

/* 1: has one, 0: has none, or the errno. */
static int get_rect(const struct sys_ops *sys, int fd, uint32_t pad,
		    uint32_t target, struct v4l2_rect *ret)
{
	struct v4l2_subdev_selection sel;
	int r;

	memset(&sel, 0, sizeof(sel));
	sel.which = V4L2_SUBDEV_FORMAT_ACTIVE;
	sel.pad = pad;
	sel.target = target;
	r = sys->ioctl(fd, VIDIOC_SUBDEV_G_SELECTION, &sel);
	if (r == -EINVAL || r == -ENOTTY)
		return 0;
	if (r < 0)
		return r;
	*ret = sel.r;
	return 1;
}

static int get_interval(const struct sys_ops *sys, int fd, uint32_t pad,
			struct v4l2_fract *ret)
{
	struct v4l2_subdev_frame_interval f;
	int r;

	memset(&f, 0, sizeof(f));
	f.pad = pad;
	r = sys->ioctl(fd, VIDIOC_SUBDEV_G_FRAME_INTERVAL, &f);
	if (r == -EINVAL || r == -ENOTTY)
		return 0;
	if (r < 0)
		return r;
	*ret = f.interval;
	return 1;
}

static int read_pad(const struct sys_ops *sys, int fd, struct saved_pad *p)
{
	int r;

	r = get_format(sys, fd, p->index, &p->format);
	if (r < 0)
		return r;
	r = get_rect(sys, fd, p->index, V4L2_SEL_TGT_CROP, &p->crop);
	if (r < 0)
		return r;
	p->has_crop = r;
	r = get_rect(sys, fd, p->index, V4L2_SEL_TGT_COMPOSE, &p->compose);
	if (r < 0)
		return r;
	p->has_compose = r;
	r = get_interval(sys, fd, p->index, &p->interval);
	if (r < 0)
		return r;
	p->has_interval = r;
	return 0;
}

static int save_pads(struct capture_media_setup *s, struct subdev *d, char *why)
{
	const struct capture_media_graph *g = s->graph;
	size_t i;

	d->first_pad = s->pad_count;
	for (i = 0; i < g->pad_count; i++) {
		struct saved_pad *p = &s->pads[s->pad_count];
		int r;

		if (g->pads[i].entity != d->entity)
			continue;
		if (s->pad_count == CAPTURE_MEDIA_SAVED_PADS_MAX)
			return -E2BIG;
		p->index = g->pads[i].index;
		p->sink = g->pads[i].flags & CAPTURE_PAD_SINK;
		r = read_pad(s->sys, d->fd, p);
		if (r < 0) {
			media_say(why, "cannot read the format of '%s':%u: %s",
				  g->entities[d->entity].name, p->index,
				  strerror(-r));
			return r;
		}
		s->pad_count++;
		d->pad_count++;
	}
	return 0;
}

static struct subdev *subdev_of(struct capture_media_setup *s, size_t entity)
{
	size_t i;

	for (i = 0; i < s->subdev_count; i++) {
		if (s->subdevs[i].entity == entity)
			return &s->subdevs[i];
	}
	return NULL;
}

static int open_subdev(struct capture_media_setup *s, size_t entity, char *why)
{
	const struct capture_media_entity *e = &s->graph->entities[entity];
	struct subdev *d = &s->subdevs[s->subdev_count];
	int fd;

	if (!e->path[0] || media_is_video_node(e)) {
		media_say(why, "'%s' has no subdevice node", e->name);
		return -ENOENT;
	}
	fd = s->sys->openat(AT_FDCWD, e->path, O_RDWR | O_NONBLOCK | O_CLOEXEC,
			    0);
	if (fd < 0) {
		media_say(why, "cannot open %s: %s", e->path, strerror(-fd));
		return fd;
	}
	*d = (struct subdev){.fd = fd, .entity = entity};
	s->subdev_count++;
	return save_pads(s, d, why);
}

static int open_subdevs(struct capture_media_setup *s, char *why)
{
	size_t i;
	int r = 0;

	for (i = 0; i < s->format_count && r == 0; i++) {
		size_t pad;
		size_t entity;

		r = find_pad(s->graph, &s->formats[i].pad, &pad, why);
		if (r < 0)
			break;
		entity = s->graph->pads[pad].entity;
		if (!subdev_of(s, entity))
			r = open_subdev(s, entity, why);
	}
	return r;
}

/* --- setting --------------------------------------------------------------- */

static void describe_link(const struct capture_media_graph *g,
			  const struct capture_media_link *link,
			  struct media_link_desc *desc)
{
	const struct capture_media_pad *source = &g->pads[link->source];
	const struct capture_media_pad *sink = &g->pads[link->sink];

	memset(desc, 0, sizeof(*desc));
	desc->source.entity = g->entities[source->entity].id;
	desc->source.index = (uint16_t)source->index;
	desc->source.flags = source->flags;
	desc->sink.entity = g->entities[sink->entity].id;
	desc->sink.index = (uint16_t)sink->index;
	desc->sink.flags = sink->flags;
	desc->flags = link->flags;
}

static int set_link(struct capture_media_setup *s,
		    const struct media_link_text *text, char *why)
{
	struct media_link_desc desc;
	struct capture_media_link *link;
	size_t i;
	int r;

	r = find_link(s->graph, text, &i, why);
	if (r < 0)
		return r;
	link = &s->graph->links[i];
	if (!!(link->flags & CAPTURE_LINK_ENABLED) == text->enable)
		return 0;
	describe_link(s->graph, link, &desc);
	s->switched[s->switched_count] = desc;
	desc.flags ^= MEDIA_LNK_FL_ENABLED;
	if (link->flags & CAPTURE_LINK_IMMUTABLE)
		r = -EPERM;
	else
		r = s->sys->ioctl(s->media_fd, MEDIA_IOC_SETUP_LINK, &desc);
	if (r < 0) {
		media_say(why, "cannot switch the link from '%s':%u: %s",
			  text->source.name, text->source.pad,
			  r == -EPERM ? "it is immutable" : strerror(-r));
		return r;
	}
	link->flags ^= CAPTURE_LINK_ENABLED;
	s->switched_count++;
	return 0;
}

static bool same_format(const struct v4l2_mbus_framefmt *a,
			const struct v4l2_mbus_framefmt *b)
{
	return a->code == b->code && a->width == b->width &&
	       a->height == b->height && a->field == b->field &&
	       a->colorspace == b->colorspace && a->ycbcr_enc == b->ycbcr_enc &&
	       a->quantization == b->quantization &&
	       a->xfer_func == b->xfer_func;
}

static int put_format(const struct sys_ops *sys, int fd, uint32_t pad,
		      struct v4l2_mbus_framefmt *format)
{
	struct v4l2_subdev_format f;
	int r;

	memset(&f, 0, sizeof(f));
	f.which = V4L2_SUBDEV_FORMAT_ACTIVE;
	f.pad = pad;
	f.format = *format;
	r = sys->ioctl(fd, VIDIOC_SUBDEV_S_FMT, &f);
	if (r >= 0)
		*format = f.format;
	return r < 0 ? r : 0;
}

static int set_format(const struct sys_ops *sys, int fd,
		      const struct media_format_text *t)
{
	struct v4l2_mbus_framefmt f;
	int r;

	if (!(t->given & MEDIA_FMT))
		return 0;
	r = get_format(sys, fd, t->pad.pad, &f);
	if (r < 0)
		return r;
	f.code = t->code;
	f.width = t->width;
	f.height = t->height;
	if (t->given & MEDIA_FIELD)
		f.field = t->field;
	if (t->given & MEDIA_COLORSPACE)
		f.colorspace = t->colorspace;
	r = put_format(sys, fd, t->pad.pad, &f);
	if (r < 0)
		return r == -EINVAL ? -ERANGE : r;
	if (f.code != t->code || f.width != t->width || f.height != t->height ||
	    ((t->given & MEDIA_FIELD) && f.field != t->field) ||
	    ((t->given & MEDIA_COLORSPACE) && f.colorspace != t->colorspace))
		return -ERANGE;
	return 0;
}

static bool same_rect(const struct v4l2_rect *a, const struct v4l2_rect *b)
{
	return a->left == b->left && a->top == b->top && a->width == b->width &&
	       a->height == b->height;
}

/* Exactly @rect, or -ERANGE. */
static int put_rect(const struct sys_ops *sys, int fd, uint32_t pad,
		    uint32_t target, const struct v4l2_rect *rect)
{
	struct v4l2_subdev_selection sel;
	int r;

	memset(&sel, 0, sizeof(sel));
	sel.which = V4L2_SUBDEV_FORMAT_ACTIVE;
	sel.pad = pad;
	sel.target = target;
	sel.r = *rect;
	r = sys->ioctl(fd, VIDIOC_SUBDEV_S_SELECTION, &sel);
	if (r < 0)
		return r == -EINVAL ? -ERANGE : r;
	return same_rect(&sel.r, rect) ? 0 : -ERANGE;
}

static int set_rect(const struct sys_ops *sys, int fd, uint32_t pad,
		    uint32_t target, const struct media_rect *text)
{
	const struct v4l2_rect rect = {text->left, text->top, text->width,
				       text->height};

	return put_rect(sys, fd, pad, target, &rect);
}

static int set_rects(const struct sys_ops *sys, int fd,
		     const struct media_format_text *t)
{
	int r = 0;

	if (t->given & MEDIA_CROP)
		r = set_rect(sys, fd, t->pad.pad, V4L2_SEL_TGT_CROP, &t->crop);
	if (r == 0 && (t->given & MEDIA_COMPOSE))
		r = set_rect(sys, fd, t->pad.pad, V4L2_SEL_TGT_COMPOSE,
			     &t->compose);
	return r;
}

static bool same_interval(const struct v4l2_fract *a,
			  const struct v4l2_fract *b)
{
	uint64_t x = (uint64_t)a->numerator * b->denominator;
	uint64_t y = (uint64_t)b->numerator * a->denominator;

	return (x > y ? x - y : y - x) <= x / INTERVAL_PARTS;
}

static int put_interval(const struct sys_ops *sys, int fd, uint32_t pad,
			const struct v4l2_fract *interval)
{
	struct v4l2_subdev_frame_interval f;
	int r;

	memset(&f, 0, sizeof(f));
	f.pad = pad;
	f.interval = *interval;
	r = sys->ioctl(fd, VIDIOC_SUBDEV_S_FRAME_INTERVAL, &f);
	if (r < 0)
		return r == -EINVAL || r == -ENOTTY ? -ERANGE : r;
	return same_interval(&f.interval, interval) ? 0 : -ERANGE;
}

/* A sink's rectangles lie in its format, a source's format in its rectangles. */
static int set_pad(struct capture_media_setup *s,
		   const struct media_format_text *t, char *why)
{
	const struct v4l2_fract interval = {t->interval_num, t->interval_den};
	const struct capture_media_entity *e;
	struct subdev *d;
	size_t pad;
	bool sink;
	int r;

	r = find_pad(s->graph, &t->pad, &pad, why);
	if (r < 0)
		return r;
	sink = s->graph->pads[pad].flags & CAPTURE_PAD_SINK;
	e = &s->graph->entities[s->graph->pads[pad].entity];
	d = subdev_of(s, s->graph->pads[pad].entity);
	r = sink ? set_format(s->sys, d->fd, t) : set_rects(s->sys, d->fd, t);
	if (r == 0)
		r = sink ? set_rects(s->sys, d->fd, t)
			 : set_format(s->sys, d->fd, t);
	if (r == 0 && (t->given & MEDIA_INTERVAL))
		r = put_interval(s->sys, d->fd, t->pad.pad, &interval);
	if (r < 0)
		media_say(why, "'%s':%u: %s", e->name, t->pad.pad,
			  r == -ERANGE ? "the driver made something else of it"
				       : strerror(-r));
	return r;
}

static int apply(struct capture_media_setup *s, char *why)
{
	size_t i;
	int r;

	s->media_fd =
		s->sys->openat(AT_FDCWD, s->graph->path, O_RDWR | O_CLOEXEC, 0);
	if (s->media_fd < 0) {
		media_say(why, "cannot open %s: %s", s->graph->path,
			  strerror(-s->media_fd));
		return s->media_fd;
	}
	r = open_subdevs(s, why);
	for (i = 0; i < s->link_count && r == 0; i++)
		r = set_link(s, &s->links[i], why);
	for (i = 0; i < s->format_count && r == 0; i++)
		r = set_pad(s, &s->formats[i], why);
	return r;
}

/* --- putting back ------------------------------------------------------------
 */

static int restore_rect(const struct sys_ops *sys, int fd, uint32_t pad,
			uint32_t target, const struct v4l2_rect *rect)
{
	struct v4l2_rect now;
	int r;

	r = get_rect(sys, fd, pad, target, &now);
	if (r < 0 || (r == 1 && same_rect(&now, rect)))
		return r < 0 ? r : 0;
	return put_rect(sys, fd, pad, target, rect);
}

static int restore_rects(const struct sys_ops *sys, int fd,
			 const struct saved_pad *p)
{
	int r = 0;

	if (p->has_crop)
		r = restore_rect(sys, fd, p->index, V4L2_SEL_TGT_CROP,
				 &p->crop);
	if (r == 0 && p->has_compose)
		r = restore_rect(sys, fd, p->index, V4L2_SEL_TGT_COMPOSE,
				 &p->compose);
	return r;
}

static int restore_format(const struct sys_ops *sys, int fd,
			  const struct saved_pad *p)
{
	struct v4l2_mbus_framefmt now;
	int r;

	r = get_format(sys, fd, p->index, &now);
	if (r < 0 || same_format(&now, &p->format))
		return r;
	now = p->format;
	r = put_format(sys, fd, p->index, &now);
	if (r < 0)
		return r;
	return same_format(&now, &p->format) ? 0 : -ERANGE;
}

static int restore_interval(const struct sys_ops *sys, int fd,
			    const struct saved_pad *p)
{
	struct v4l2_fract now = {0, 0};
	int r;

	if (!p->has_interval)
		return 0;
	r = get_interval(sys, fd, p->index, &now);
	if (r < 0)
		return r;
	if (now.numerator == p->interval.numerator &&
	    now.denominator == p->interval.denominator)
		return 0;
	return put_interval(sys, fd, p->index, &p->interval);
}

static int restore_pad(const struct sys_ops *sys, int fd,
		       const struct saved_pad *p)
{
	int r;
	int first;

	first = p->sink ? restore_format(sys, fd, p)
			: restore_rects(sys, fd, p);
	r = p->sink ? restore_rects(sys, fd, p) : restore_format(sys, fd, p);
	if (first == 0)
		first = r;
	r = restore_interval(sys, fd, p);
	return first < 0 ? first : r;
}

/* Sinks, then sources: the driver carries formats that way. */
static int restore_subdev(struct capture_media_setup *s, const struct subdev *d)
{
	int first = 0;
	size_t i;
	int sink;

	for (sink = 1; sink >= 0; sink--) {
		for (i = 0; i < d->pad_count; i++) {
			const struct saved_pad *p = &s->pads[d->first_pad + i];
			int r;

			if (p->sink != sink)
				continue;
			r = restore_pad(s->sys, d->fd, p);
			if (first == 0)
				first = r;
		}
	}
	return first;
}

static int restore_all(struct capture_media_setup *s)
{
	int first = 0;
	int r;

	while (s->subdev_count) {
		struct subdev *d = &s->subdevs[--s->subdev_count];

		r = restore_subdev(s, d);
		/* A size may only be free again after its neighbour's. */
		if (r < 0)
			r = restore_subdev(s, d);
		if (first == 0)
			first = r;
		sys_close(s->sys, &d->fd);
	}
	while (s->switched_count) {
		struct media_link_desc *desc =
			&s->switched[--s->switched_count];

		r = s->sys->ioctl(s->media_fd, MEDIA_IOC_SETUP_LINK, desc);
		if (r < 0 && first == 0)
			first = r;
	}
	return first;
}

int capture_media_setup_restore(struct capture_media_setup *setup)
{
	int r;

	if (!setup)
		return 0;
	r = restore_all(setup);
	sys_close(setup->sys, &setup->media_fd);
	(void)capture_media_free(setup->graph);
	free(setup);
	return r;
}

int capture_media_setup_apply(const struct sys_ops *sys,
			      const struct capture_media_setup_config *config,
			      struct capture_media_setup **ret_setup,
			      char ret_why[CAPTURE_MEDIA_WHY_BYTES])
{
	struct capture_media_setup *s = calloc(1, sizeof(*s));
	int r;

	if (ret_why)
		ret_why[0] = '\0';
	if (!s)
		return -ENOMEM;
	s->sys = sys ? sys : sys_posix();
	s->media_fd = -EBADF;
	r = media_links_parse(config->links, s->links, &s->link_count, ret_why);
	if (r == 0)
		r = media_formats_parse(config->formats, s->formats,
					&s->format_count, ret_why);
	if (r == 0)
		r = find_graph(s, config->device, ret_why);
	if (r == 0)
		r = apply(s, ret_why);
	if (r < 0) {
		/* The first failure is the one to tell. */
		(void)capture_media_setup_restore(s);
		return r;
	}
	/* Graphs that were passed over left their reasons. */
	if (ret_why)
		ret_why[0] = '\0';
	*ret_setup = s;
	return 0;
}
