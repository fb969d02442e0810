/* SPDX-License-Identifier: Apache-2.0 */
#include "src/controls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "src/limits.h"

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9');
}

void control_key(const char *name, char ret[CAPTURE_CONTROL_NAME_BYTES])
{
	bool gap = false;
	size_t n = 0;

	for (; *name && n + 2 < CAPTURE_CONTROL_NAME_BYTES; name++) {
		if (!is_word(*name)) {
			gap = n > 0;
			continue;
		}
		if (gap)
			ret[n++] = '_';
		gap = false;
		ret[n++] = *name >= 'A' && *name <= 'Z'
				   ? (char)(*name - 'A' + 'a')
				   : *name;
	}
	ret[n] = '\0';
}

/* The kernel's texts need not end. */
static void copy_name(char ret[CAPTURE_CONTROL_NAME_BYTES], const void *name)
{
	memcpy(ret, name, CAPTURE_CONTROL_NAME_BYTES - 1);
	ret[CAPTURE_CONTROL_NAME_BYTES - 1] = '\0';
}

/* The control @id, or the one after it: 1, 0 (none), or the errno. */
static int query(const struct sys_ops *sys, int fd, uint32_t id,
		 struct v4l2_query_ext_ctrl *ret)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	ret->id = id;
	r = sys->ioctl(fd, VIDIOC_QUERY_EXT_CTRL, ret);
	if (r == -EINVAL || r == -ENOTTY)
		return 0;
	return r < 0 ? r : 1;
}

/* Walks the list: 1, 0 (the end), or the errno. */
static int query_next(const struct sys_ops *sys, int fd,
		      struct v4l2_query_ext_ctrl *q)
{
	uint32_t last = q->id;
	int r;

	r = query(sys, fd,
		  last | V4L2_CTRL_FLAG_NEXT_CTRL |
			  V4L2_CTRL_FLAG_NEXT_COMPOUND,
		  q);
	/* A driver that goes round would keep us here. */
	return r == 1 && q->id <= last ? -EPROTO : r;
}

static int find_by_name(const struct sys_ops *sys, int fd, const char *name,
			struct v4l2_query_ext_ctrl *ret)
{
	char wanted[CAPTURE_CONTROL_NAME_BYTES];
	char text[CAPTURE_CONTROL_NAME_BYTES];
	char key[CAPTURE_CONTROL_NAME_BYTES];
	uint32_t i;
	int r;

	control_key(name, wanted);
	memset(ret, 0, sizeof(*ret));
	for (i = 0; i < CAPTURE_CONTROLS_MAX; i++) {
		r = query_next(sys, fd, ret);
		if (r < 0)
			return r;
		if (r == 0)
			return -ENXIO;
		if (ret->type == V4L2_CTRL_TYPE_CTRL_CLASS)
			continue;
		copy_name(text, ret->name);
		control_key(text, key);
		if (!strcmp(key, wanted))
			return 0;
	}
	return -ENXIO;
}

int control_find(const struct sys_ops *sys, int fd,
		 const struct capture_control_setting *setting,
		 struct v4l2_query_ext_ctrl *ret_query)
{
	int r;

	if (!setting->id)
		return setting->name
			       ? find_by_name(sys, fd, setting->name, ret_query)
			       : -ENXIO;
	r = query(sys, fd, setting->id, ret_query);
	if (r < 0)
		return r;
	return r && ret_query->type != V4L2_CTRL_TYPE_CTRL_CLASS ? 0 : -ENXIO;
}

static enum capture_control_type type_of(uint32_t type)
{
	switch (type) {
	case V4L2_CTRL_TYPE_INTEGER:
	case V4L2_CTRL_TYPE_INTEGER64:
		return CAPTURE_CONTROL_INTEGER;
	case V4L2_CTRL_TYPE_BOOLEAN:
		return CAPTURE_CONTROL_BOOLEAN;
	case V4L2_CTRL_TYPE_MENU:
		return CAPTURE_CONTROL_MENU;
	case V4L2_CTRL_TYPE_INTEGER_MENU:
		return CAPTURE_CONTROL_INTEGER_MENU;
	case V4L2_CTRL_TYPE_BITMASK:
		return CAPTURE_CONTROL_BITMASK;
	case V4L2_CTRL_TYPE_BUTTON:
		return CAPTURE_CONTROL_BUTTON;
	default:
		return CAPTURE_CONTROL_OTHER;
	}
}

static bool is_menu(enum capture_control_type type)
{
	return type == CAPTURE_CONTROL_MENU ||
	       type == CAPTURE_CONTROL_INTEGER_MENU;
}

/* One entry of a menu: 1, 0 (there is none of this number), or the errno. */
static int query_item(const struct sys_ops *sys, int fd,
		      const struct v4l2_query_ext_ctrl *q, int64_t index,
		      struct capture_control_item *ret)
{
	struct v4l2_querymenu menu;
	int r;

	memset(&menu, 0, sizeof(menu));
	menu.id = q->id;
	menu.index = (uint32_t)index;
	r = sys->ioctl(fd, VIDIOC_QUERYMENU, &menu);
	if (r == -EINVAL || r == -ENOTTY)
		return 0; /* menus have holes */
	if (r < 0)
		return r;
	memset(ret, 0, sizeof(*ret));
	ret->index = index;
	if (q->type == V4L2_CTRL_TYPE_MENU)
		copy_name(ret->name, menu.name);
	else
		ret->value = menu.value;
	return 1;
}

/* How many numbers of a menu are worth asking for. */
static int64_t item_end(const struct v4l2_query_ext_ctrl *q)
{
	if (q->minimum < 0 || q->maximum < q->minimum)
		return q->minimum;
	return MIN(q->maximum + 1, q->minimum + CAPTURE_MENU_ITEMS_MAX);
}

static int find_item(const struct sys_ops *sys, int fd, const char *text,
		     const struct v4l2_query_ext_ctrl *q, int64_t *ret_value)
{
	char wanted[CAPTURE_CONTROL_NAME_BYTES];
	char key[CAPTURE_CONTROL_NAME_BYTES];
	struct capture_control_item item;
	int64_t i;
	int r;

	control_key(text, wanted);
	for (i = q->minimum; i < item_end(q); i++) {
		r = query_item(sys, fd, q, i, &item);
		if (r < 0)
			return r;
		if (r == 0)
			continue;
		control_key(item.name, key);
		if (strcmp(key, wanted))
			continue;
		*ret_value = i;
		return 0;
	}
	return -ENXIO;
}

static int check_range(const struct v4l2_query_ext_ctrl *q, int64_t value)
{
	if (q->type == V4L2_CTRL_TYPE_BITMASK)
		return (uint64_t)value & ~(uint64_t)(uint32_t)q->maximum
			       ? -ERANGE
			       : 0;
	if (value < q->minimum || value > q->maximum)
		return -ERANGE;
	/* Unsigned: the range may be wider than int64_t. */
	if (q->step > 1 && !is_menu(type_of(q->type)) &&
	    ((uint64_t)value - (uint64_t)q->minimum) % q->step)
		return -ERANGE;
	return 0;
}

int control_value(const struct sys_ops *sys, int fd,
		  const struct capture_control_setting *setting,
		  const struct v4l2_query_ext_ctrl *q, int64_t *ret_value)
{
	enum capture_control_type type = type_of(q->type);
	struct capture_control_item item;
	int64_t value = setting->value;
	int r;

	if (type == CAPTURE_CONTROL_OTHER || type == CAPTURE_CONTROL_BUTTON)
		return -EOPNOTSUPP;
	/* What cannot be read could not be put back. */
	if (q->flags & (V4L2_CTRL_FLAG_DISABLED | V4L2_CTRL_FLAG_READ_ONLY |
			V4L2_CTRL_FLAG_WRITE_ONLY))
		return -EACCES;
	if (setting->item) {
		if (type != CAPTURE_CONTROL_MENU)
			return -EOPNOTSUPP;
		return find_item(sys, fd, setting->item, q, ret_value);
	}
	r = check_range(q, value);
	if (r == 0 && is_menu(type)) {
		r = query_item(sys, fd, q, value, &item);
		r = r == 0 ? -ENXIO : MIN(r, 0);
	}
	if (r == 0)
		*ret_value = value;
	return r;
}

static int access_one(const struct sys_ops *sys, int fd, unsigned long request,
		      struct v4l2_ext_control *c)
{
	struct v4l2_ext_controls controls;
	int r;

	memset(&controls, 0, sizeof(controls));
	controls.which = V4L2_CTRL_WHICH_CUR_VAL;
	controls.count = 1;
	controls.controls = c;
	r = sys->ioctl(fd, request, &controls);
	return r < 0 ? r : 0;
}

int control_get(const struct sys_ops *sys, int fd,
		const struct v4l2_query_ext_ctrl *q, int64_t *ret_value)
{
	enum capture_control_type type = type_of(q->type);
	struct v4l2_ext_control c;
	int r;

	if (type == CAPTURE_CONTROL_OTHER || type == CAPTURE_CONTROL_BUTTON)
		return -EOPNOTSUPP;
	if (q->flags & V4L2_CTRL_FLAG_WRITE_ONLY)
		return -EACCES;
	memset(&c, 0, sizeof(c));
	c.id = q->id;
	r = access_one(sys, fd, VIDIOC_G_EXT_CTRLS, &c);
	if (r < 0)
		return r;
	if (control_is_wide(q))
		*ret_value = c.value64;
	else if (type == CAPTURE_CONTROL_BITMASK)
		*ret_value = (int64_t)(uint32_t)c.value;
	else
		*ret_value = c.value;
	return 0;
}

int control_set(const struct sys_ops *sys, int fd, uint32_t id, bool wide,
		int64_t value)
{
	struct v4l2_ext_control c;

	memset(&c, 0, sizeof(c));
	c.id = id;
	if (wide)
		c.value64 = value;
	else
		c.value = (int32_t)(uint32_t)value;
	return access_one(sys, fd, VIDIOC_S_EXT_CTRLS, &c);
}

/* --- lists -------------------------------------------------------------- */

static int add_items(const struct sys_ops *sys, int fd,
		     const struct v4l2_query_ext_ctrl *q,
		     struct capture_control *c)
{
	int64_t end = item_end(q);
	int64_t i;
	int r;

	if (end <= q->minimum)
		return 0;
	c->items = calloc((size_t)(end - q->minimum), sizeof(*c->items));
	if (!c->items)
		return -ENOMEM;
	for (i = q->minimum; i < end; i++) {
		r = query_item(sys, fd, q, i, &c->items[c->item_count]);
		if (r < 0)
			return r;
		c->item_count += (size_t)r;
	}
	return 0;
}

static int add_control(const struct sys_ops *sys, int fd,
		       const struct v4l2_query_ext_ctrl *q,
		       struct capture_control *c)
{
	int r;

	c->id = q->id;
	c->type = type_of(q->type);
	copy_name(c->name, q->name);
	control_key(c->name, c->key);
	c->minimum = q->minimum;
	c->maximum = q->maximum;
	if (c->type == CAPTURE_CONTROL_BITMASK)
		c->maximum = (int64_t)(uint32_t)q->maximum;
	c->step = (int64_t)MIN(q->step, (uint64_t)INT64_MAX);
	c->default_value = q->default_value;
	c->flags = q->flags;
	/* One that cannot be read now is listed all the same. */
	r = control_get(sys, fd, q, &c->value);
	if (r == -ENODEV)
		return r;
	c->readable = r == 0;
	return is_menu(c->type) ? add_items(sys, fd, q, c) : 0;
}

static int fill_list(const struct sys_ops *sys, int fd,
		     struct capture_control_list *list)
{
	struct v4l2_query_ext_ctrl q;
	size_t i;
	int r;

	memset(&q, 0, sizeof(q));
	/* Classes are no controls, but count against the bound. */
	for (i = 0; i < CAPTURE_CONTROLS_MAX; i++) {
		r = query_next(sys, fd, &q);
		if (r <= 0)
			return r;
		if (q.type == V4L2_CTRL_TYPE_CTRL_CLASS ||
		    (q.flags & V4L2_CTRL_FLAG_DISABLED))
			continue;
		r = add_control(sys, fd, &q, &list->controls[list->count++]);
		if (r < 0)
			return r;
	}
	return -E2BIG;
}

int control_list_of(const struct sys_ops *sys, int fd,
		    struct capture_control_list **ret_list)
{
	AUTO(capture_control_list_free)
	struct capture_control_list *list = calloc(1, sizeof(*list));
	int r;

	if (!list)
		return -ENOMEM;
	list->controls = calloc(CAPTURE_CONTROLS_MAX, sizeof(*list->controls));
	if (!list->controls)
		return -ENOMEM;
	r = fill_list(sys, fd, list);
	if (r < 0)
		return r;
	*ret_list = TAKE_PTR(list);
	return 0;
}

int capture_control_list_new(const struct sys_ops *sys, const char *path,
			     struct capture_control_list **ret_list)
{
	int fd;
	int r;

	if (!sys)
		sys = sys_posix();
	fd = sys->openat(AT_FDCWD, path, O_RDWR | O_NONBLOCK | O_CLOEXEC, 0);
	if (fd < 0)
		return fd == -ENXIO ? -ENODEV : fd;
	r = control_list_of(sys, fd, ret_list);
	sys_close(sys, &fd);
	return r;
}

struct capture_control_list *
capture_control_list_free(struct capture_control_list *list)
{
	size_t i;

	if (!list)
		return NULL;
	for (i = 0; list->controls && i < list->count; i++)
		free(list->controls[i].items);
	free(list->controls);
	free(list);
	return NULL;
}

const char *capture_control_type_name(enum capture_control_type type)
{
	static const char *const names[] = {
		[CAPTURE_CONTROL_OTHER] = "other",
		[CAPTURE_CONTROL_INTEGER] = "integer",
		[CAPTURE_CONTROL_BOOLEAN] = "boolean",
		[CAPTURE_CONTROL_MENU] = "menu",
		[CAPTURE_CONTROL_INTEGER_MENU] = "integer menu",
		[CAPTURE_CONTROL_BITMASK] = "bitmask",
		[CAPTURE_CONTROL_BUTTON] = "button",
	};
	size_t i = (size_t)type;

	return i < ARRAY_SIZE(names) ? names[i] : "other";
}
