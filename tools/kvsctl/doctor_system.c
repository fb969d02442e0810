/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes, who may open them, sound cards, sensors, the kernel. */
#include "kvsctl/doctor.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "kvsctl/devices.h"
#include "kvsctl/limits.h"

#define PATH_CHARS 288u

void doctor_read_line(const char *path, char *out, size_t size)
{
	FILE *file = fopen(path, "re");

	out[0] = '\0';
	if (!file)
		return;
	if (fgets(out, (int)size, file))
		out[strcspn(out, "\n")] = '\0';
	else
		out[0] = '\0';
	(void)fclose(file);
}

/* Device files by the names they have in /dev. */
static const struct {
	const char *folder;
	const char *prefix;
	const char *kind;
	bool needs_write;
} node_kinds[] = {
	{"/dev", "video", "video", true},
	{"/dev", "media", "media", true},
	{"/dev", "v4l-subdev", "subdevice", true},
	{"/dev", "swradio", "SDR", true},
	{"/dev", "udmabuf", "udmabuf", true},
	{"/dev", "iio:device", "IIO", true},
	{"/dev", "tsalign", "tsalign", true},
	{"/dev/snd", "pcm", "audio", true},
	{"/dev/dma_heap", "", "dma-heap", false},
};

static void group_name(gid_t gid, char *out, size_t size)
{
	const struct group *g = getgrgid(gid);

	if (g)
		(void)snprintf(out, size, "%s", g->gr_name);
	else
		(void)snprintf(out, size, "%u", (unsigned int)gid);
}

/* What would let this user open the node. */
static void node_remedy(const struct stat *st, const char *group, char *out,
			size_t size)
{
	unsigned int need = S_IRGRP | S_IWGRP;

	if ((st->st_mode & need) == need && st->st_gid != 0)
		(void)snprintf(out, size,
			       "join its group: usermod -aG %s USER, then log "
			       "in again",
			       group);
	else
		(void)snprintf(out, size,
			       "no group may open it: install "
			       "udev/70-kvsd.rules and join the group kvsd");
}

/* What sysfs calls it: the driver's own name for the node. */
static void sysfs_name(const char *kind, const char *name, char *out,
		       size_t size)
{
	char path[PATH_CHARS];

	out[0] = '\0';
	if (strcmp(kind, "video") != 0 && strcmp(kind, "SDR") != 0 &&
	    strcmp(kind, "subdevice") != 0)
		return;
	(void)snprintf(path, sizeof(path), "/sys/class/video4linux/%.63s/name",
		       name);
	doctor_read_line(path, out, size);
}

static void add_node(struct doctor *d, json_t *nodes, const char *name,
		     size_t kind)
{
	char remedy[DOCTOR_DETAIL_CHARS];
	char path[PATH_CHARS];
	char driver_name[128];
	char group[64];
	struct stat st;
	json_t *node;
	bool usable;

	(void)snprintf(path, sizeof(path), "%s/%.255s", node_kinds[kind].folder,
		       name);
	if (stat(path, &st) < 0 || !S_ISCHR(st.st_mode))
		return;
	group_name(st.st_gid, group, sizeof(group));
	sysfs_name(node_kinds[kind].kind, name, driver_name,
		   sizeof(driver_name));
	usable = access(path,
			node_kinds[kind].needs_write ? R_OK | W_OK : R_OK) == 0;
	node = json_pack("{s:s, s:s, s:o, s:s, s:i, s:b}", "path", path, "kind",
			 node_kinds[kind].kind, "name",
			 devices_text(driver_name), "group", group, "mode",
			 (int)(st.st_mode & 07777), "usable", usable);
	if (!usable) {
		node_remedy(&st, group, remedy, sizeof(remedy));
		(void)json_object_set_new(node, "remedy", json_string(remedy));
		if (strcmp(node_kinds[kind].kind, "video") == 0)
			doctor_lack(d, false, remedy, "%s cannot be opened",
				    path);
	}
	(void)json_array_append_new(nodes, node);
}

static int by_version(const struct dirent **a, const struct dirent **b)
{
	return strverscmp((*a)->d_name, (*b)->d_name);
}

static void add_nodes(struct doctor *d, json_t *nodes, size_t kind)
{
	const char *prefix = node_kinds[kind].prefix;
	struct dirent **list = NULL;
	int count = scandir(node_kinds[kind].folder, &list, NULL, by_version);
	int i;

	for (i = 0; i < count; i++) {
		const char *name = list[i]->d_name;

		if (name[0] != '.' &&
		    strncmp(name, prefix, strlen(prefix)) == 0 &&
		    json_array_size(nodes) < CTL_DOCTOR_NODES_MAX)
			add_node(d, nodes, name, kind);
		free(list[i]);
	}
	free(list);
}

/* Folders of @folder that begin with @prefix, each with a file's line. */
static json_t *named_entries(const char *folder, const char *prefix,
			     const char *file)
{
	struct dirent **list = NULL;
	int count = scandir(folder, &list, NULL, by_version);
	json_t *out = json_array();
	int i;

	for (i = 0; i < count; i++) {
		const char *name = list[i]->d_name;
		char path[PATH_CHARS];
		char line[128];

		if (strncmp(name, prefix, strlen(prefix)) == 0 &&
		    json_array_size(out) < CTL_DOCTOR_NODES_MAX) {
			(void)snprintf(path, sizeof(path), "%s/%.128s/%s",
				       folder, name, file);
			doctor_read_line(path, line, sizeof(line));
			(void)json_array_append_new(
				out, json_pack("{s:s, s:o}", "device", name,
					       "name", devices_text(line)));
		}
		free(list[i]);
	}
	free(list);
	return out;
}

static json_t *groups_json(void)
{
	gid_t gids[NGROUPS_MAX];
	int count = getgroups(NGROUPS_MAX, gids);
	json_t *out = json_array();
	char name[64];
	int i;

	group_name(getegid(), name, sizeof(name));
	(void)json_array_append_new(out, json_string(name));
	for (i = 0; i < count; i++) {
		if (gids[i] == getegid())
			continue;
		group_name(gids[i], name, sizeof(name));
		(void)json_array_append_new(out, json_string(name));
	}
	return out;
}

/* Where our rules are installed, or null. */
static json_t *rules_json(void)
{
	static const char *const folders[] = {
		"/etc/udev/rules.d",	       "/run/udev/rules.d",
		"/usr/local/lib/udev/rules.d", "/usr/lib/udev/rules.d",
		"/lib/udev/rules.d",
	};
	char path[PATH_CHARS];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(folders); i++) {
		(void)snprintf(path, sizeof(path), "%s/70-kvsd.rules",
			       folders[i]);
		if (access(path, F_OK) == 0)
			return json_string(path);
	}
	return json_null();
}

static const char *state_name(enum doctor_state state)
{
	switch (state) {
	case DOCTOR_PRESENT:
		return "present";
	case DOCTOR_ABSENT:
		return "absent";
	case DOCTOR_UNKNOWN:
		break;
	}
	return "not known";
}

static json_t *kernel_json(struct doctor *d)
{
	struct doctor_feature features[DOCTOR_FEATURES_MAX];
	size_t count = doctor_kernel(features);
	json_t *out = json_array();
	size_t i;

	for (i = 0; i < count; i++) {
		const struct doctor_feature *f = &features[i];

		(void)json_array_append_new(
			out,
			json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "feature",
				  f->name, "state", state_name(f->state), "how",
				  f->measured ? "measured" : "declared", "use",
				  f->use, "remedy", f->remedy, "detail",
				  f->detail));
		if (f->state == DOCTOR_ABSENT && f->needed)
			doctor_lack(d, true, f->remedy, "the kernel has no %s",
				    f->name);
	}
	return out;
}

void doctor_system(struct doctor *d)
{
	json_t *nodes = json_array();
	struct utsname u;
	size_t i;

	if (uname(&u) == 0)
		(void)json_object_set_new(
			d->report, "machine",
			json_pack("{s:s, s:s, s:i, s:i}", "kernel", u.release,
				  "architecture", u.machine, "processors",
				  (int)sysconf(_SC_NPROCESSORS_ONLN),
				  "page_bytes", (int)sysconf(_SC_PAGESIZE)));
	(void)json_object_set_new(d->report, "kernel", kernel_json(d));
	for (i = 0; i < ARRAY_SIZE(node_kinds); i++)
		add_nodes(d, nodes, i);
	(void)json_object_set_new(d->report, "nodes", nodes);
	(void)json_object_set_new(
		d->report, "permissions",
		json_pack("{s:o, s:o, s:b}", "groups", groups_json(),
			  "udev_rules", rules_json(), "root", geteuid() == 0));
	(void)json_object_set_new(d->report, "audio",
				  named_entries("/sys/class/sound", "card",
						"id"));
	(void)json_object_set_new(d->report, "iio",
				  named_entries("/sys/bus/iio/devices",
						"iio:device", "name"));
}

/* --- links
 * -------------------------------------------------------------------- */

#define SYS_VIDEO "/sys/class/video4linux"

/* What names a node: its device, and its place there. */
static bool read_place(const char *node, char device[PATH_MAX],
		       char index[PATH_CHARS])
{
	char path[PATH_CHARS];

	(void)snprintf(path, sizeof(path), SYS_VIDEO "/%.64s/index", node);
	doctor_read_line(path, index, PATH_CHARS);
	(void)snprintf(path, sizeof(path), SYS_VIDEO "/%.64s/device", node);
	return index[0] && realpath(path, device);
}

/* A driver of several cameras may give two of them one place: udev's links by
 * place then lead to either. */
static bool place_is_shared(const char *node)
{
	char device[2][PATH_MAX];
	char index[2][PATH_CHARS];
	const struct dirent *e;
	bool shared = false;
	DIR *dir;

	if (!read_place(node, device[0], index[0]))
		return false;
	dir = opendir(SYS_VIDEO);
	while (dir && !shared && (e = readdir(dir)))
		shared = !strncmp(e->d_name, "video", 5) &&
			 strcmp(e->d_name, node) != 0 &&
			 read_place(e->d_name, device[1], index[1]) &&
			 !strcmp(device[0], device[1]) &&
			 !strcmp(index[0], index[1]);
	if (dir)
		(void)closedir(dir);
	return shared;
}

/* Whether a link of @folder leads to @path; the first is written to @out. */
static bool find_link(const char *folder, const char *path, const char *name,
		      char out[DOCTOR_LINK_CHARS])
{
	DIR *dir = opendir(folder);
	const struct dirent *e;
	bool found = false;

	while (dir && !found && (e = readdir(dir))) {
		char link[PATH_CHARS];
		char real[PATH_MAX];

		if (e->d_name[0] == '.')
			continue;
		(void)snprintf(link, sizeof(link), "%s/%.255s", folder,
			       e->d_name);
		found = realpath(link, real) && !strcmp(real, path) &&
			strlen(link) < DOCTOR_LINK_CHARS &&
			(!name || doctor_link_has_name(link, name));
		if (found)
			memcpy(out, link, strlen(link) + 1);
	}
	if (dir)
		(void)closedir(dir);
	return found;
}

/* The driver's name of a node, or "". */
static void read_name(const char *node, char *out, size_t size)
{
	char path[PATH_CHARS];

	(void)snprintf(path, sizeof(path), SYS_VIDEO "/%.64s/name", node);
	doctor_read_line(path, out, size);
}

static const char *node_of(const char *path)
{
	return strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
}

/*
 * Cameras of one model without serial numbers have one name by id, and udev's
 * link leads to the one that came last: to this one today, to the other
 * tomorrow. Of two that have a link each, each is its own.
 */
static bool id_is_shared(const char *folder, const char *node)
{
	char index[2][PATH_CHARS];
	char device[2][PATH_MAX];
	char name[2][PATH_CHARS];
	char path[PATH_CHARS];
	char link[DOCTOR_LINK_CHARS];
	const struct dirent *e;
	bool shared = false;
	DIR *dir;

	if (!strstr(folder, "by-id") || !read_place(node, device[0], index[0]))
		return false;
	read_name(node, name[0], sizeof(name[0]));
	dir = opendir(SYS_VIDEO);
	while (dir && !shared && (e = readdir(dir))) {
		if (strncmp(e->d_name, "video", 5) != 0 ||
		    !strcmp(e->d_name, node) ||
		    !read_place(e->d_name, device[1], index[1]))
			continue;
		read_name(e->d_name, name[1], sizeof(name[1]));
		(void)snprintf(path, sizeof(path), "/dev/%.64s", e->d_name);
		shared = !strcmp(name[0], name[1]) &&
			 !strcmp(index[0], index[1]) &&
			 !find_link(folder, path, NULL, link);
	}
	if (dir)
		(void)closedir(dir);
	return shared;
}

void doctor_stable_path(const char *path, char out[DOCTOR_LINK_CHARS])
{
	const char *node = node_of(path);
	bool shared = place_is_shared(node);
	char name[PATH_CHARS] = "";
	static const char *const folders[] = {
		"/dev/kvsd/by-id", "/dev/kvsd/by-path", "/dev/kvsd/m2m",
		"/dev/v4l/by-id",  "/dev/v4l/by-path",
	};
	size_t i;

	(void)snprintf(out, DOCTOR_LINK_CHARS, "%s", path);
	read_name(node, name, sizeof(name));
	for (i = 0; i < ARRAY_SIZE(folders); i++) {
		if (!id_is_shared(folders[i], node) &&
		    find_link(folders[i], path, shared ? name : NULL, out))
			return;
	}
}

/* By udev's name for it, else by its place: neither changes with its number. */
void doctor_name_source(const char *path, char out[DOCTOR_SOURCE_CHARS])
{
	const char *node = node_of(path);
	char identity[PATH_MAX + 2 * PATH_CHARS];
	char link[DOCTOR_LINK_CHARS];
	char index[PATH_CHARS] = "";
	char name[PATH_CHARS] = "";
	char device[PATH_MAX];

	read_name(node, name, sizeof(name));
	doctor_stable_path(path, link);
	if (strcmp(link, path) != 0 || !read_place(node, device, index))
		(void)snprintf(identity, sizeof(identity), "%s", link);
	else
		(void)snprintf(identity, sizeof(identity), "%s %s %s", device,
			       index, name);
	doctor_source_name(name, identity, out);
}
