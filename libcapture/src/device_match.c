/* SPDX-License-Identifier: Apache-2.0 */
#include <capture/media.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/sys.h"
#include "src/device.h"
#include "src/media.h"

#define LINK_BYTES_MAX 512

static const char *const link_folders[] = {
	"/dev/kvsd/by-id",
	"/dev/kvsd/by-path",
	"/dev/v4l/by-id",
	"/dev/v4l/by-path",
};

/* Gives frames of its own, unlike an M2M device. */
static bool is_source(const struct capture_device *d)
{
	return d->kind != CAPTURE_DEVICE_ENCODER &&
	       d->kind != CAPTURE_DEVICE_DECODER &&
	       d->kind != CAPTURE_DEVICE_CONVERTER;
}

static int check_node(const struct sys_ops *sys, const char *path, bool camera)
{
	AUTO(capture_device_free) struct capture_device *d = NULL;
	int r;

	r = capture_device_query(sys, path, &d);
	if (r < 0)
		return r;
	if (camera ? d->kind == CAPTURE_DEVICE_CAMERA : is_source(d))
		return 0;
	return -ENODEV;
}

/* The node that a link leads to, when the link's own name is too long. */
static int resolve(const struct sys_ops *sys, const char *path,
		   char ret_path[CAPTURE_PATH_BYTES])
{
	struct stat st;
	int fd;
	int r;

	fd = sys->openat(AT_FDCWD, path, O_RDWR | O_NONBLOCK | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	r = sys->fstat(fd, &st);
	sys_close(sys, &fd);
	if (r < 0)
		return r;
	if (!S_ISCHR(st.st_mode))
		return -ENODEV;
	r = media_device_path(sys, major(st.st_rdev), minor(st.st_rdev),
			      ret_path);
	if (r < 0)
		return r;
	return ret_path[0] ? 0 : -ENODEV;
}

static int match_path(const struct sys_ops *sys, const char *path,
		      char ret_path[CAPTURE_PATH_BYTES])
{
	char node[CAPTURE_PATH_BYTES];
	int r = 0;

	if (strlen(path) < sizeof(node))
		memcpy(node, path, strlen(path) + 1);
	else
		r = resolve(sys, path, node);
	if (r == 0)
		r = check_node(sys, node, false);
	if (r == 0)
		memcpy(ret_path, node, sizeof(node));
	return r;
}

/* A file name, not a way through the file system. */
static bool is_file_name(const char *text)
{
	return !strchr(text, '/') && text[0] != '.';
}

static int match_link(const struct sys_ops *sys, const char *text,
		      char ret_path[CAPTURE_PATH_BYTES])
{
	char path[LINK_BYTES_MAX];
	size_t i;
	int r;

	if (!is_file_name(text))
		return -ENODEV;
	for (i = 0; i < ARRAY_SIZE(link_folders); i++) {
		r = snprintf(path, sizeof(path), "%s/%s", link_folders[i],
			     text);
		if (r < 0 || (size_t)r >= sizeof(path))
			return -ENAMETOOLONG;
		r = match_path(sys, path, ret_path);
		if (r == 0 || media_is_ours(r))
			return r;
	}
	return -ENODEV;
}

static int match_card(const struct capture_device_list *list, const char *text,
		      bool whole, char ret_path[CAPTURE_PATH_BYTES])
{
	size_t i;

	for (i = 0; i < list->count; i++) {
		const struct capture_device *d = list->devices[i];
		bool found = whole ? strcmp(d->card, text) == 0 ||
					     strcmp(d->bus_info, text) == 0
				   : strstr(d->card, text) ||
					     strstr(d->bus_info, text);

		if (!found || d->kind != CAPTURE_DEVICE_CAMERA)
			continue;
		memcpy(ret_path, d->path, sizeof(d->path));
		return 0;
	}
	return -ENODEV;
}

/* Marks every entity that enabled links lead to from a marked one. */
static void spread(const struct capture_media_graph *g, bool *reached)
{
	bool grown = true;
	size_t i;

	/* Each round but the last marks one more: bounded by the entities. */
	while (grown) {
		grown = false;
		for (i = 0; i < g->link_count; i++) {
			const struct capture_media_link *l = &g->links[i];
			size_t from = g->pads[l->source].entity;
			size_t to = g->pads[l->sink].entity;

			if (!(l->flags & CAPTURE_LINK_ENABLED) ||
			    !reached[from] || reached[to])
				continue;
			reached[to] = true;
			grown = true;
		}
	}
}

static int match_graph(const struct sys_ops *sys,
		       const struct capture_media_graph *g, const char *text,
		       char ret_path[CAPTURE_PATH_BYTES])
{
	bool *reached = calloc(g->entity_count + 1, sizeof(*reached));
	bool named = false;
	bool is_it;
	int r = -ENODEV;
	size_t i;

	if (!reached)
		return -ENOMEM;
	for (i = 0; i < g->entity_count; i++) {
		reached[i] = strcmp(g->entities[i].name, text) == 0;
		named |= reached[i];
	}
	if (named)
		spread(g, reached);
	for (i = 0; named && i < g->entity_count; i++) {
		const struct capture_media_entity *e = &g->entities[i];

		if (!reached[i] || !e->path[0] || !media_is_video_node(e))
			continue;
		/* Along the links, only to pictures. */
		is_it = strcmp(e->name, text) == 0;
		r = check_node(sys, e->path, !is_it);
		if (r == 0)
			memcpy(ret_path, e->path, sizeof(e->path));
		if (r == 0 || media_is_ours(r))
			break;
		r = -ENODEV;
	}
	free(reached);
	return r;
}

static int match_entity(const struct sys_ops *sys, const char *text,
			char ret_path[CAPTURE_PATH_BYTES])
{
	AUTO(capture_media_list_free) struct capture_media_list *list = NULL;
	size_t i;
	int r;

	r = capture_media_list_new(sys, &list);
	if (r < 0)
		return r;
	for (i = 0; i < list->count; i++) {
		r = match_graph(sys, list->graphs[i], text, ret_path);
		if (r != -ENODEV)
			return r;
	}
	return -ENODEV;
}

int capture_device_match(const struct sys_ops *sys, const char *text,
			 char ret_path[CAPTURE_PATH_BYTES])
{
	AUTO(capture_device_list_free) struct capture_device_list *list = NULL;
	int r;

	if (!sys)
		sys = sys_posix();
	if (!text[0])
		return -EINVAL;
	if (text[0] == '/')
		return match_path(sys, text, ret_path);
	r = match_link(sys, text, ret_path);
	if (r != -ENODEV)
		return r;
	r = capture_device_list_new(sys, &list);
	if (r < 0)
		return r;
	r = match_card(list, text, true, ret_path);
	if (r == -ENODEV)
		r = match_entity(sys, text, ret_path);
	if (r == -ENODEV)
		r = match_card(list, text, false, ret_path);
	return r;
}
