/* SPDX-License-Identifier: Apache-2.0 */
#include <capture/device.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "src/device.h"
#include "src/limits.h"
#include "src/v4l2.h"

/*
 * Room for one more element at the end of a heap array, zeroed. Growth is by
 * doubling at powers of two. NULL: no memory.
 */
static void *array_add(void **array, size_t *count, size_t size)
{
	size_t n = *count;
	void *grown;

	if (!(n & (n - 1))) {
		grown = realloc(*array, (n ? 2 * n : 1) * size);
		if (!grown)
			return NULL;
		*array = grown;
	}
	grown = (char *)*array + n * size;
	memset(grown, 0, size);
	*count = n + 1;
	return grown;
}

/* One interval of the list as a rate: the shortest period is the fastest. */
static bool rate_of(const struct v4l2_frmivalenum *ival,
		    struct capture_rate_range *ret)
{
	const struct v4l2_fract *slow = &ival->discrete;
	const struct v4l2_fract *fast = &ival->discrete;

	if (ival->type != V4L2_FRMIVAL_TYPE_DISCRETE) {
		fast = &ival->stepwise.min;
		slow = &ival->stepwise.max;
	}
	if (!slow->numerator || !fast->numerator)
		return false;
	ret->min_num = slow->denominator;
	ret->min_den = slow->numerator;
	ret->max_num = fast->denominator;
	ret->max_den = fast->numerator;
	return true;
}

static int query_rates(const struct sys_ops *sys, int fd, uint32_t fourcc,
		       struct capture_size_range *size)
{
	uint32_t i;

	for (i = 0; i < CAPTURE_RATES_MAX; i++) {
		struct v4l2_frmivalenum ival;
		struct capture_rate_range rate;
		struct capture_rate_range *slot;
		void *array = size->rates;
		int r;

		memset(&ival, 0, sizeof(ival));
		ival.index = i;
		ival.pixel_format = fourcc;
		ival.width = size->max_width;
		ival.height = size->max_height;
		r = sys->ioctl(fd, VIDIOC_ENUM_FRAMEINTERVALS, &ival);
		if (r == -EINVAL || r == -ENOTTY)
			return 0;
		if (r < 0)
			return r;
		if (!rate_of(&ival, &rate))
			continue;
		slot = array_add(&array, &size->rate_count, sizeof(*slot));
		size->rates = array;
		if (!slot)
			return -ENOMEM;
		*slot = rate;
		if (ival.type != V4L2_FRMIVAL_TYPE_DISCRETE)
			return 0;
	}
	return -E2BIG;
}

static void size_of(const struct v4l2_frmsizeenum *frm,
		    struct capture_size_range *s)
{
	if (frm->type == V4L2_FRMSIZE_TYPE_DISCRETE) {
		s->min_width = frm->discrete.width;
		s->min_height = frm->discrete.height;
		s->max_width = frm->discrete.width;
		s->max_height = frm->discrete.height;
		s->step_width = 1;
		s->step_height = 1;
		return;
	}
	s->min_width = frm->stepwise.min_width;
	s->min_height = frm->stepwise.min_height;
	s->max_width = frm->stepwise.max_width;
	s->max_height = frm->stepwise.max_height;
	s->step_width = frm->stepwise.step_width;
	s->step_height = frm->stepwise.step_height;
}

static int query_sizes(const struct sys_ops *sys, int fd,
		       struct capture_format_info *format)
{
	uint32_t i;

	for (i = 0; i < CAPTURE_SIZES_MAX; i++) {
		struct capture_size_range *slot;
		struct v4l2_frmsizeenum frm;
		void *array = format->sizes;
		int r;

		memset(&frm, 0, sizeof(frm));
		frm.index = i;
		frm.pixel_format = format->fourcc;
		r = sys->ioctl(fd, VIDIOC_ENUM_FRAMESIZES, &frm);
		if (r == -EINVAL || r == -ENOTTY)
			return 0;
		if (r < 0)
			return r;
		slot = array_add(&array, &format->size_count, sizeof(*slot));
		format->sizes = array;
		if (!slot)
			return -ENOMEM;
		size_of(&frm, slot);
		r = query_rates(sys, fd, format->fourcc, slot);
		if (r < 0)
			return r;
		if (frm.type != V4L2_FRMSIZE_TYPE_DISCRETE)
			return 0;
	}
	return -E2BIG;
}

static bool has_sizes(uint32_t type)
{
	return type != V4L2_BUF_TYPE_SDR_CAPTURE &&
	       type != V4L2_BUF_TYPE_META_CAPTURE;
}

static int query_formats(const struct sys_ops *sys, int fd, uint32_t type,
			 struct capture_format_info **formats, size_t *count)
{
	uint32_t i;

	for (i = 0; i < CAPTURE_FORMATS_MAX; i++) {
		struct capture_format_info *slot;
		struct v4l2_fmtdesc desc;
		void *array = *formats;
		int r;

		memset(&desc, 0, sizeof(desc));
		desc.index = i;
		desc.type = type;
		r = sys->ioctl(fd, VIDIOC_ENUM_FMT, &desc);
		if (r == -EINVAL || r == -ENOTTY)
			return 0;
		if (r < 0)
			return r;
		slot = array_add(&array, count, sizeof(*slot));
		*formats = array;
		if (!slot)
			return -ENOMEM;
		slot->fourcc = desc.pixelformat;
		slot->compressed = desc.flags & V4L2_FMT_FLAG_COMPRESSED;
		slot->emulated = desc.flags & V4L2_FMT_FLAG_EMULATED;
		memcpy(slot->description, desc.description,
		       sizeof(slot->description) - 1);
		r = has_sizes(type) ? query_sizes(sys, fd, slot) : 0;
		if (r < 0)
			return r;
	}
	return -E2BIG;
}

static enum capture_device_kind source_kind(uint32_t capture_type)
{
	switch (capture_type) {
	case V4L2_BUF_TYPE_SDR_CAPTURE:
		return CAPTURE_DEVICE_SDR;
	case V4L2_BUF_TYPE_META_CAPTURE:
		return CAPTURE_DEVICE_METADATA;
	default:
		return CAPTURE_DEVICE_CAMERA;
	}
}

static void describe(struct capture_device *d, const struct v4l2_node *node)
{
	memcpy(d->driver, node->cap.driver, sizeof(d->driver) - 1);
	memcpy(d->card, node->cap.card, sizeof(d->card) - 1);
	memcpy(d->bus_info, node->cap.bus_info, sizeof(d->bus_info) - 1);
	d->capabilities = node->capabilities;
	d->multiplanar = v4l2_is_mplane(node->capture_type);
}

static int query_open(const struct sys_ops *sys, int fd,
		      const struct v4l2_node *node, struct capture_device *d)
{
	int r;

	describe(d, node);
	d->kind = source_kind(node->capture_type);
	if (node->output_type) {
		r = v4l2_m2m_kind(sys, fd, node);
		if (r < 0)
			return r;
		d->kind = (enum capture_device_kind)r;
		r = query_formats(sys, fd, node->output_type, &d->input_formats,
				  &d->input_format_count);
		if (r < 0)
			return r;
	}
	return query_formats(sys, fd, node->capture_type, &d->formats,
			     &d->format_count);
}

int capture_device_query(const struct sys_ops *sys, const char *path,
			 struct capture_device **ret_device)
{
	AUTO(capture_device_free)
	struct capture_device *d = calloc(1, sizeof(*d));
	struct v4l2_node node;
	int fd;
	int r;

	if (!d)
		return -ENOMEM;
	if (!sys)
		sys = sys_posix();
	r = snprintf(d->path, sizeof(d->path), "%s", path);
	if (r < 0 || (size_t)r >= sizeof(d->path))
		return -ENAMETOOLONG;
	r = v4l2_open_source(sys, path, &fd, &node);
	if (r < 0)
		return r;
	r = query_open(sys, fd, &node, d);
	sys_close(sys, &fd);
	if (r < 0)
		return r;
	*ret_device = TAKE_PTR(d);
	return 0;
}

static void formats_free(struct capture_format_info *formats, size_t count)
{
	size_t i;
	size_t j;

	for (i = 0; i < count; i++) {
		for (j = 0; j < formats[i].size_count; j++)
			free(formats[i].sizes[j].rates);
		free(formats[i].sizes);
	}
	free(formats);
}

struct capture_device *capture_device_free(struct capture_device *device)
{
	if (!device)
		return NULL;
	formats_free(device->formats, device->format_count);
	formats_free(device->input_formats, device->input_format_count);
	free(device);
	return NULL;
}

const struct capture_format_info *
capture_device_format(const struct capture_device *device, uint32_t fourcc)
{
	size_t i;

	for (i = 0; i < device->format_count; i++) {
		if (device->formats[i].fourcc == fourcc)
			return &device->formats[i];
	}
	return NULL;
}

static int list_add(struct capture_device_list *list,
		    struct capture_device *device)
{
	void *array = list->devices;
	struct capture_device **slot = array_add(
		&array, &list->count, sizeof(struct capture_device *));

	list->devices = array;
	if (!slot)
		return -ENOMEM;
	*slot = device;
	return 0;
}

static int list_nodes(const struct sys_ops *sys,
		      struct capture_device_list *list, const char *prefix,
		      uint32_t max)
{
	uint32_t i;

	for (i = 0; i < max; i++) {
		struct capture_device *device;
		char path[DEVICE_NODE_PATH_BYTES];
		int r;

		(void)snprintf(path, sizeof(path), "/dev/%s%u", prefix,
			       (unsigned int)i);
		r = capture_device_query(sys, path, &device);
		/* Ours to report; anything else is that node's trouble. */
		if (r == -ENOMEM || r == -EMFILE || r == -ENFILE)
			return r;
		if (r < 0)
			continue;
		r = list_add(list, device);
		if (r < 0) {
			(void)capture_device_free(device);
			return r;
		}
	}
	return 0;
}

int capture_device_list_new(const struct sys_ops *sys,
			    struct capture_device_list **ret_list)
{
	AUTO(capture_device_list_free)
	struct capture_device_list *list = calloc(1, sizeof(*list));
	int r;

	if (!list)
		return -ENOMEM;
	r = list_nodes(sys, list, "video", CAPTURE_NODES_MAX);
	if (r == 0)
		r = list_nodes(sys, list, "swradio", CAPTURE_RADIOS_MAX);
	if (r < 0)
		return r;
	*ret_list = TAKE_PTR(list);
	return 0;
}

struct capture_device_list *
capture_device_list_free(struct capture_device_list *list)
{
	size_t i;

	if (!list)
		return NULL;
	for (i = 0; i < list->count; i++)
		(void)capture_device_free(list->devices[i]);
	free(list->devices);
	free(list);
	return NULL;
}
