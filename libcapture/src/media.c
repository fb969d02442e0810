/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads media graphs. The kernel numbers its objects; here, links point to
 * pads and pads to entities by index, and each number that the kernel gives
 * is looked up, never trusted.
 */
#include "src/media.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/media.h>

#include "base/sys.h"
#include "src/limits.h"

/* MEDIA_LNK_FL_LINK_TYPE of media.h overflows an int. */
#define LINK_TYPE_MASK (UINT32_C(0xf) << 28)

#define UEVENT_BYTES_MAX 4096

struct topology {
	struct media_v2_topology top;
	struct media_v2_entity *entities;
	struct media_v2_interface *interfaces;
	struct media_v2_pad *pads;
	struct media_v2_link *links;
};

bool media_is_ours(int r)
{
	return r == -ENOMEM || r == -EMFILE || r == -ENFILE;
}

bool media_is_video_node(const struct capture_media_entity *entity)
{
	return entity->function == MEDIA_ENT_F_IO_V4L;
}

const char *capture_media_function_name(uint32_t function)
{
	static const struct {
		uint32_t function;
		const char *name;
	} names[] = {
		{MEDIA_ENT_F_IO_V4L, "video node"},
		{MEDIA_ENT_F_IO_VBI, "VBI node"},
		{MEDIA_ENT_F_IO_SWRADIO, "SDR node"},
		{MEDIA_ENT_F_CAM_SENSOR, "sensor"},
		{MEDIA_ENT_F_FLASH, "flash"},
		{MEDIA_ENT_F_LENS, "lens"},
		{MEDIA_ENT_F_TUNER, "tuner"},
		{MEDIA_ENT_F_PROC_VIDEO_COMPOSER, "composer"},
		{MEDIA_ENT_F_PROC_VIDEO_PIXEL_FORMATTER, "formatter"},
		{MEDIA_ENT_F_PROC_VIDEO_PIXEL_ENC_CONV, "converter"},
		{MEDIA_ENT_F_PROC_VIDEO_SCALER, "scaler"},
		{MEDIA_ENT_F_PROC_VIDEO_STATISTICS, "statistics"},
		{MEDIA_ENT_F_PROC_VIDEO_ENCODER, "encoder"},
		{MEDIA_ENT_F_PROC_VIDEO_DECODER, "decoder"},
		{MEDIA_ENT_F_PROC_VIDEO_ISP, "ISP"},
		{MEDIA_ENT_F_VID_MUX, "mux"},
		{MEDIA_ENT_F_VID_IF_BRIDGE, "bridge"},
		{MEDIA_ENT_F_ATV_DECODER, "analog decoder"},
		{MEDIA_ENT_F_DV_DECODER, "DV decoder"},
		{MEDIA_ENT_F_DV_ENCODER, "DV encoder"},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		if (names[i].function == function)
			return names[i].name;
	}
	return "other";
}

int media_device_path(const struct sys_ops *sys, uint32_t major, uint32_t minor,
		      char ret_path[CAPTURE_PATH_BYTES])
{
	static const char key[] = "\nDEVNAME=";
	char path[CAPTURE_PATH_BYTES];
	char *text;
	char *name;
	size_t len;
	int r;

	ret_path[0] = '\0';
	(void)snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/uevent", major,
		       minor);
	r = sys_read_file(sys, AT_FDCWD, path, UEVENT_BYTES_MAX, &text, &len);
	if (r < 0)
		return media_is_ours(r) ? r : 0;
	name = strstr(text, key);
	if (name) {
		name += sizeof(key) - 1;
		len = strcspn(name, "\n");
		name[len] = '\0';
		r = snprintf(ret_path, CAPTURE_PATH_BYTES, "/dev/%s", name);
		if (!len || r < 0 || r >= CAPTURE_PATH_BYTES)
			ret_path[0] = '\0';
	}
	free(text);
	return 0;
}

/* --- the graph's own arrays --------------------------------------------- */

static int graph_reserve(struct capture_media_graph *g, size_t entities,
			 size_t pads, size_t links)
{
	/* One more of each: an empty array is no failure. */
	g->entities = calloc(entities + 1, sizeof(*g->entities));
	g->pads = calloc(pads + 1, sizeof(*g->pads));
	g->links = calloc(links + 1, sizeof(*g->links));
	return g->entities && g->pads && g->links ? 0 : -ENOMEM;
}

static struct capture_media_entity *find_entity(struct capture_media_graph *g,
						uint32_t id)
{
	size_t i;

	for (i = 0; i < g->entity_count; i++) {
		if (g->entities[i].id == id)
			return &g->entities[i];
	}
	return NULL;
}

static int add_pad(struct capture_media_graph *g, uint32_t entity_id,
		   uint32_t index, uint32_t flags)
{
	const struct capture_media_entity *e = find_entity(g, entity_id);
	struct capture_media_pad *pad = &g->pads[g->pad_count];

	if (!e)
		return -EPROTO;
	pad->entity = (size_t)(e - g->entities);
	pad->index = index;
	pad->flags = flags;
	g->pad_count++;
	return 0;
}

/* --- kernels from 4.19: the whole graph in one call ---------------------- */

static void topology_free(struct topology *t)
{
	free(t->entities);
	free(t->interfaces);
	free(t->pads);
	free(t->links);
	memset(t, 0, sizeof(*t));
}

static bool topology_bounded(const struct media_v2_topology *top)
{
	return top->num_entities <= CAPTURE_MEDIA_ENTITIES_MAX &&
	       top->num_interfaces <= CAPTURE_MEDIA_ENTITIES_MAX &&
	       top->num_pads <= CAPTURE_MEDIA_PADS_MAX &&
	       top->num_links <= CAPTURE_MEDIA_LINKS_MAX;
}

static int topology_reserve(struct topology *t)
{
	t->entities = calloc(t->top.num_entities + 1, sizeof(*t->entities));
	t->interfaces =
		calloc(t->top.num_interfaces + 1, sizeof(*t->interfaces));
	t->pads = calloc(t->top.num_pads + 1, sizeof(*t->pads));
	t->links = calloc(t->top.num_links + 1, sizeof(*t->links));
	if (!t->entities || !t->interfaces || !t->pads || !t->links)
		return -ENOMEM;
	t->top.ptr_entities = (uintptr_t)t->entities;
	t->top.ptr_interfaces = (uintptr_t)t->interfaces;
	t->top.ptr_pads = (uintptr_t)t->pads;
	t->top.ptr_links = (uintptr_t)t->links;
	return 0;
}

static bool topology_within(const struct media_v2_topology *got,
			    const struct media_v2_topology *room)
{
	return got->num_entities <= room->num_entities &&
	       got->num_interfaces <= room->num_interfaces &&
	       got->num_pads <= room->num_pads &&
	       got->num_links <= room->num_links;
}

/* How many there are, then which: -EAGAIN when it grew in between. */
static int topology_read(const struct sys_ops *sys, int fd, struct topology *t)
{
	struct media_v2_topology room;
	int r;

	memset(t, 0, sizeof(*t));
	r = sys->ioctl(fd, MEDIA_IOC_G_TOPOLOGY, &t->top);
	if (r < 0)
		return r;
	if (!topology_bounded(&t->top))
		return -E2BIG;
	r = topology_reserve(t);
	if (r < 0)
		return r;
	room = t->top;
	r = sys->ioctl(fd, MEDIA_IOC_G_TOPOLOGY, &t->top);
	if (r == -ENOSPC)
		return -EAGAIN;
	if (r < 0)
		return r;
	return topology_within(&t->top, &room) ? 0 : -EAGAIN;
}

static int take_interface(const struct sys_ops *sys,
			  struct capture_media_graph *g,
			  const struct topology *t,
			  const struct media_v2_link *link)
{
	struct capture_media_entity *e = find_entity(g, link->sink_id);
	uint32_t i;

	if (!e)
		return -EPROTO;
	for (i = 0; i < t->top.num_interfaces; i++) {
		const struct media_v2_interface *f = &t->interfaces[i];

		if (f->id == link->source_id)
			return media_device_path(sys, f->devnode.major,
						 f->devnode.minor, e->path);
	}
	return -EPROTO;
}

/* The graph's pads are in the topology's order. */
static int take_data_link(struct capture_media_graph *g,
			  const struct topology *t,
			  const struct media_v2_link *link)
{
	struct capture_media_link *out = &g->links[g->link_count];
	bool source = false;
	bool sink = false;
	uint32_t i;

	for (i = 0; i < t->top.num_pads; i++) {
		if (t->pads[i].id == link->source_id) {
			out->source = i;
			source = true;
		}
		if (t->pads[i].id == link->sink_id) {
			out->sink = i;
			sink = true;
		}
	}
	if (!source || !sink)
		return -EPROTO;
	out->flags = link->flags;
	g->link_count++;
	return 0;
}

static int take_links(const struct sys_ops *sys, struct capture_media_graph *g,
		      const struct topology *t)
{
	uint32_t i;
	int r = 0;

	for (i = 0; i < t->top.num_links && r == 0; i++) {
		const struct media_v2_link *link = &t->links[i];
		uint32_t type = link->flags & LINK_TYPE_MASK;

		if (type == MEDIA_LNK_FL_INTERFACE_LINK)
			r = take_interface(sys, g, t, link);
		else if (type == MEDIA_LNK_FL_DATA_LINK)
			r = take_data_link(g, t, link);
	}
	return r;
}

static int take_topology(const struct sys_ops *sys,
			 struct capture_media_graph *g,
			 const struct topology *t)
{
	uint32_t i;
	int r;

	r = graph_reserve(g, t->top.num_entities, t->top.num_pads,
			  t->top.num_links);
	if (r < 0)
		return r;
	for (i = 0; i < t->top.num_entities; i++) {
		struct capture_media_entity *e = &g->entities[i];

		e->id = t->entities[i].id;
		e->function = t->entities[i].function;
		memcpy(e->name, t->entities[i].name, sizeof(e->name) - 1);
	}
	g->entity_count = t->top.num_entities;
	for (i = 0; i < t->top.num_pads; i++) {
		r = add_pad(g, t->pads[i].entity_id, t->pads[i].index,
			    t->pads[i].flags);
		if (r < 0)
			return r;
	}
	return take_links(sys, g, t);
}

static int query_topology(const struct sys_ops *sys, int fd,
			  struct capture_media_graph *g)
{
	struct topology t;
	int tries = 0;
	int r;

	do {
		r = topology_read(sys, fd, &t);
		if (r == 0)
			r = take_topology(sys, g, &t);
		topology_free(&t);
	} while (r == -EAGAIN && ++tries < CAPTURE_MEDIA_TRIES_MAX);
	return r;
}

/* --- older kernels: entity by entity ------------------------------------- */

struct legacy {
	struct media_entity_desc descs[CAPTURE_MEDIA_ENTITIES_MAX];
	size_t count;
	size_t pads;
	size_t links;
};

static int legacy_entities(const struct sys_ops *sys, int fd, struct legacy *l)
{
	uint32_t id = 0;

	for (;;) {
		struct media_entity_desc d;
		int r;

		memset(&d, 0, sizeof(d));
		d.id = id | MEDIA_ENT_ID_FLAG_NEXT;
		r = sys->ioctl(fd, MEDIA_IOC_ENUM_ENTITIES, &d);
		if (r == -EINVAL)
			return 0;
		if (r < 0)
			return r;
		/* Ids go up, or this would never end. */
		if (d.id <= id)
			return -EPROTO;
		id = d.id;
		l->pads += d.pads;
		l->links += d.links;
		if (l->count == CAPTURE_MEDIA_ENTITIES_MAX ||
		    l->pads > CAPTURE_MEDIA_PADS_MAX ||
		    l->links > CAPTURE_MEDIA_LINKS_MAX)
			return -E2BIG;
		l->descs[l->count++] = d;
	}
}

static int legacy_entity(const struct sys_ops *sys,
			 struct capture_media_graph *g,
			 const struct media_entity_desc *d)
{
	struct capture_media_entity *e = &g->entities[g->entity_count++];

	e->id = d->id;
	e->function = d->type;
	memcpy(e->name, d->name, sizeof(d->name) - 1);
	if (!d->dev.major)
		return 0;
	return media_device_path(sys, d->dev.major, d->dev.minor, e->path);
}

static int find_pad(const struct capture_media_graph *g,
		    const struct media_pad_desc *pad, size_t *ret)
{
	size_t i;

	for (i = 0; i < g->pad_count; i++) {
		const struct capture_media_pad *p = &g->pads[i];

		if (g->entities[p->entity].id == pad->entity &&
		    p->index == pad->index) {
			*ret = i;
			return 0;
		}
	}
	return -EPROTO;
}

static int legacy_pads(struct capture_media_graph *g,
		       const struct media_entity_desc *d,
		       const struct media_pad_desc *pads)
{
	uint32_t i;
	int r = 0;

	for (i = 0; i < d->pads && r == 0; i++)
		r = add_pad(g, d->id, pads[i].index, pads[i].flags);
	return r;
}

/* Pads of all entities come before the first link: @links false, then true. */
static int legacy_parts(const struct sys_ops *sys, int fd,
			struct capture_media_graph *g,
			const struct media_entity_desc *d, bool want_links)
{
	struct media_pad_desc *pads = calloc(d->pads + 1u, sizeof(*pads));
	struct media_link_desc *links = calloc(d->links + 1u, sizeof(*links));
	struct media_links_enum e;
	uint32_t i;
	int r = -ENOMEM;

	memset(&e, 0, sizeof(e));
	e.entity = d->id;
	e.pads = pads;
	e.links = links;
	if (pads && links)
		r = sys->ioctl(fd, MEDIA_IOC_ENUM_LINKS, &e);
	if (r >= 0)
		r = want_links ? 0 : legacy_pads(g, d, pads);
	for (i = 0; want_links && i < d->links && r == 0; i++) {
		struct capture_media_link *out = &g->links[g->link_count];

		r = find_pad(g, &links[i].source, &out->source);
		if (r == 0)
			r = find_pad(g, &links[i].sink, &out->sink);
		if (r == 0) {
			out->flags = links[i].flags;
			g->link_count++;
		}
	}
	free(pads);
	free(links);
	return r;
}

static int legacy_graph(const struct sys_ops *sys, int fd,
			struct capture_media_graph *g, const struct legacy *l)
{
	size_t i;
	int r;

	r = graph_reserve(g, l->count, l->pads, l->links);
	for (i = 0; i < l->count && r == 0; i++)
		r = legacy_entity(sys, g, &l->descs[i]);
	for (i = 0; i < l->count && r == 0; i++)
		r = legacy_parts(sys, fd, g, &l->descs[i], false);
	for (i = 0; i < l->count && r == 0; i++)
		r = legacy_parts(sys, fd, g, &l->descs[i], true);
	return r;
}

static int query_legacy(const struct sys_ops *sys, int fd,
			struct capture_media_graph *g)
{
	struct legacy *l = calloc(1, sizeof(*l));
	int r = -ENOMEM;

	if (l)
		r = legacy_entities(sys, fd, l);
	if (r == 0)
		r = legacy_graph(sys, fd, g, l);
	free(l);
	return r;
}

/* --- */

static int query_open(const struct sys_ops *sys, int fd,
		      struct capture_media_graph *g)
{
	struct media_device_info info;
	int r;

	memset(&info, 0, sizeof(info));
	r = sys->ioctl(fd, MEDIA_IOC_DEVICE_INFO, &info);
	if (r == -ENOTTY || r == -EINVAL)
		return -ENODEV; /* some other kind of file */
	if (r < 0)
		return r;
	memcpy(g->driver, info.driver, sizeof(info.driver));
	memcpy(g->model, info.model, sizeof(info.model));
	memcpy(g->serial, info.serial, sizeof(info.serial));
	memcpy(g->bus_info, info.bus_info, sizeof(info.bus_info));
	/* Before 4.19 its pads had no index. */
	if (!MEDIA_V2_PAD_HAS_INDEX(info.media_version))
		return query_legacy(sys, fd, g);
	return query_topology(sys, fd, g);
}

int capture_media_query(const struct sys_ops *sys, const char *path,
			struct capture_media_graph **ret_graph)
{
	AUTO(capture_media_free)
	struct capture_media_graph *g = calloc(1, sizeof(*g));
	int fd;
	int r;

	if (!g)
		return -ENOMEM;
	if (!sys)
		sys = sys_posix();
	r = snprintf(g->path, sizeof(g->path), "%s", path);
	if (r < 0 || (size_t)r >= sizeof(g->path))
		return -ENAMETOOLONG;
	fd = sys->openat(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
	if (fd < 0)
		return fd == -ENXIO ? -ENODEV : fd;
	r = query_open(sys, fd, g);
	sys_close(sys, &fd);
	if (r < 0)
		return r;
	*ret_graph = TAKE_PTR(g);
	return 0;
}

struct capture_media_graph *
capture_media_free(struct capture_media_graph *graph)
{
	if (!graph)
		return NULL;
	free(graph->entities);
	free(graph->pads);
	free(graph->links);
	free(graph);
	return NULL;
}

int capture_media_list_new(const struct sys_ops *sys,
			   struct capture_media_list **ret_list)
{
	AUTO(capture_media_list_free)
	struct capture_media_list *list = calloc(1, sizeof(*list));
	unsigned int i;

	if (!list)
		return -ENOMEM;
	list->graphs = calloc(CAPTURE_MEDIA_NODES_MAX, sizeof(list->graphs[0]));
	if (!list->graphs)
		return -ENOMEM;
	for (i = 0; i < CAPTURE_MEDIA_NODES_MAX; i++) {
		char path[CAPTURE_PATH_BYTES];
		int r;

		(void)snprintf(path, sizeof(path), "/dev/media%u", i);
		r = capture_media_query(sys, path, &list->graphs[list->count]);
		if (media_is_ours(r))
			return r;
		list->count += r == 0;
	}
	*ret_list = TAKE_PTR(list);
	return 0;
}

struct capture_media_list *
capture_media_list_free(struct capture_media_list *list)
{
	size_t i;

	if (!list)
		return NULL;
	for (i = 0; list->graphs && i < list->count; i++)
		(void)capture_media_free(list->graphs[i]);
	free(list->graphs);
	free(list);
	return NULL;
}
