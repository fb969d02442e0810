/* SPDX-License-Identifier: Apache-2.0 */
#include "support/fake_media.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/media.h>
#include <linux/v4l2-subdev.h>

#include "base/macros.h"
#include "support/fake_v4l2.h"

#define ENTITIES 5
#define PADS FAKE_MEDIA_PADS
#define LINKS FAKE_MEDIA_LINKS
#define FDS 1024
#define RAW10 0x300f
#define RAW8 0x3014
#define MAJOR_V4L 81

static const struct {
	const char *name;
	uint32_t function;
	uint32_t minor; /* of its node */
	const char *node;
} entities[ENTITIES] = {
	{"imx219 10-0010", MEDIA_ENT_F_CAM_SENSOR, 2, "v4l-subdev0"},
	{"csi2", MEDIA_ENT_F_VID_IF_BRIDGE, 3, "v4l-subdev1"},
	{"scaler", MEDIA_ENT_F_PROC_VIDEO_SCALER, 4, "v4l-subdev2"},
	{"image", MEDIA_ENT_F_IO_V4L, 0, "video0"},
	{"raw", MEDIA_ENT_F_IO_V4L, 1, "video1"},
};

static const struct {
	uint32_t entity; /* index */
	uint32_t index;
	uint32_t flags;
} pads[PADS] = {
	{0, 0, MEDIA_PAD_FL_SOURCE}, {1, 0, MEDIA_PAD_FL_SINK},
	{1, 1, MEDIA_PAD_FL_SOURCE}, {2, 0, MEDIA_PAD_FL_SINK},
	{2, 1, MEDIA_PAD_FL_SOURCE}, {3, 0, MEDIA_PAD_FL_SINK},
	{4, 0, MEDIA_PAD_FL_SINK},
};

static const struct {
	uint32_t source; /* indices of pads */
	uint32_t sink;
	uint32_t flags;
} links[LINKS] = {
	{0, 1, MEDIA_LNK_FL_ENABLED | MEDIA_LNK_FL_IMMUTABLE},
	{2, 3, 0},
	{2, 6, MEDIA_LNK_FL_ENABLED},
	{4, 5, MEDIA_LNK_FL_ENABLED},
};

enum fd_kind { FD_OTHER = 0, FD_MEDIA, FD_SUBDEV, FD_NODE };

static struct {
	struct fake_media pub;
	struct fake_media_pad pads[PADS];
	uint32_t link_flags[LINKS];
	struct {
		enum fd_kind kind;
		uint32_t entity;
	} fds[FDS];
} fake;

/* --- the graph ------------------------------------------------------------ */

static int do_info(struct media_device_info *info)
{
	memset(info, 0, sizeof(*info));
	(void)snprintf(info->driver, sizeof(info->driver), "fake");
	(void)snprintf(info->model, sizeof(info->model), "fake board");
	(void)snprintf(info->bus_info, sizeof(info->bus_info), "platform:m");
	info->media_version = fake.pub.legacy ? 4 << 16 | 4 << 8
					      : 6 << 16 | 1 << 8;
	return 0;
}

static void give_entities(struct media_v2_topology *t)
{
	struct media_v2_entity *e = (void *)(uintptr_t)t->ptr_entities;
	struct media_v2_interface *f = (void *)(uintptr_t)t->ptr_interfaces;
	uint32_t i;

	for (i = 0; i < ENTITIES; i++) {
		memset(&e[i], 0, sizeof(e[i]));
		e[i].id = i + 1;
		e[i].function = entities[i].function;
		(void)snprintf(e[i].name, sizeof(e[i].name), "%s",
			       entities[i].name);
		memset(&f[i], 0, sizeof(f[i]));
		f[i].id = 100 + i;
		f[i].intf_type = MEDIA_INTF_T_V4L_SUBDEV;
		f[i].devnode.major = MAJOR_V4L;
		f[i].devnode.minor = entities[i].minor;
	}
}

static void give_pads(struct media_v2_topology *t)
{
	struct media_v2_pad *p = (void *)(uintptr_t)t->ptr_pads;
	struct media_v2_link *l = (void *)(uintptr_t)t->ptr_links;
	uint32_t i;

	for (i = 0; i < PADS; i++) {
		memset(&p[i], 0, sizeof(p[i]));
		p[i].id = 200 + i;
		p[i].entity_id = fake.pub.bad_pad ? 77 : pads[i].entity + 1;
		p[i].flags = pads[i].flags;
		p[i].index = pads[i].index;
	}
	for (i = 0; i < LINKS; i++) {
		memset(&l[i], 0, sizeof(l[i]));
		l[i].id = 300 + i;
		l[i].source_id = 200 + links[i].source;
		l[i].sink_id = fake.pub.bad_link ? 999 : 200 + links[i].sink;
		l[i].flags = fake.link_flags[i];
	}
	for (i = 0; i < ENTITIES; i++) {
		memset(&l[LINKS + i], 0, sizeof(l[i]));
		l[LINKS + i].id = 400 + i;
		l[LINKS + i].source_id = 100 + i;
		l[LINKS + i].sink_id = i + 1;
		l[LINKS + i].flags = MEDIA_LNK_FL_INTERFACE_LINK |
				     MEDIA_LNK_FL_ENABLED;
	}
}

static int do_topology(struct media_v2_topology *t)
{
	bool counts_only = !t->ptr_entities;

	if (fake.pub.legacy)
		return -ENOTTY;
	if (!counts_only && fake.pub.growing) {
		fake.pub.growing--;
		return -ENOSPC;
	}
	if (!counts_only &&
	    (t->num_entities < ENTITIES || t->num_pads < PADS ||
	     t->num_interfaces < ENTITIES || t->num_links < LINKS + ENTITIES))
		return -ENOSPC;
	t->topology_version = 1;
	t->num_entities = ENTITIES;
	t->num_interfaces = ENTITIES;
	t->num_pads = PADS;
	t->num_links = fake.pub.huge ? UINT32_MAX : LINKS + ENTITIES;
	if (counts_only)
		return 0;
	give_entities(t);
	give_pads(t);
	return 0;
}

static uint32_t count_links(uint32_t entity)
{
	uint32_t n = 0;
	uint32_t i;

	for (i = 0; i < LINKS; i++)
		n += pads[links[i].source].entity == entity;
	return n;
}

static uint32_t count_pads(uint32_t entity)
{
	uint32_t n = 0;
	uint32_t i;

	for (i = 0; i < PADS; i++)
		n += pads[i].entity == entity;
	return n;
}

static int do_enum_entities(struct media_entity_desc *d)
{
	uint32_t i = d->id & ~MEDIA_ENT_ID_FLAG_NEXT; /* the next one's index */

	if (fake.pub.endless)
		i = 0;
	if (i >= ENTITIES)
		return -EINVAL;
	memset(d, 0, sizeof(*d));
	d->id = i + 1;
	d->type = entities[i].function;
	(void)snprintf(d->name, sizeof(d->name), "%s", entities[i].name);
	d->pads = (uint16_t)count_pads(i);
	d->links = (uint16_t)count_links(i);
	d->dev.major = MAJOR_V4L;
	d->dev.minor = entities[i].minor;
	return 0;
}

static void describe_pad(uint32_t pad, struct media_pad_desc *d)
{
	memset(d, 0, sizeof(*d));
	d->entity = fake.pub.bad_link ? 999 : pads[pad].entity + 1;
	d->index = (uint16_t)pads[pad].index;
	d->flags = pads[pad].flags;
}

static int do_enum_links(const struct media_links_enum *e)
{
	uint32_t n = 0;
	uint32_t i;

	for (i = 0; i < PADS; i++) {
		if (pads[i].entity + 1 == e->entity)
			describe_pad(i, &e->pads[n++]);
	}
	n = 0;
	for (i = 0; i < LINKS; i++) {
		if (pads[links[i].source].entity + 1 != e->entity)
			continue;
		describe_pad(links[i].source, &e->links[n].source);
		describe_pad(links[i].sink, &e->links[n].sink);
		e->links[n++].flags = fake.link_flags[i];
	}
	return 0;
}

static bool is_pad(const struct media_pad_desc *d, uint32_t pad)
{
	return d->entity == pads[pad].entity + 1 && d->index == pads[pad].index;
}

static int do_setup_link(const struct media_link_desc *d)
{
	uint32_t i;

	if (fake.pub.streaming)
		return -EBUSY;
	for (i = 0; i < LINKS; i++) {
		if (!is_pad(&d->source, links[i].source) ||
		    !is_pad(&d->sink, links[i].sink))
			continue;
		if (fake.link_flags[i] & MEDIA_LNK_FL_IMMUTABLE)
			return -EINVAL;
		fake.link_flags[i] = d->flags & MEDIA_LNK_FL_ENABLED;
		fake.pub.links_set++;
		return 0;
	}
	return -EINVAL;
}

static int media_ioctl(unsigned long request, void *arg)
{
	switch (request) {
	case MEDIA_IOC_DEVICE_INFO:
		return do_info(arg);
	case MEDIA_IOC_G_TOPOLOGY:
		return do_topology(arg);
	case MEDIA_IOC_ENUM_ENTITIES:
		return do_enum_entities(arg);
	case MEDIA_IOC_ENUM_LINKS:
		return do_enum_links(arg);
	case MEDIA_IOC_SETUP_LINK:
		return do_setup_link(arg);
	default:
		return -ENOTTY;
	}
}

/* --- subdevices ------------------------------------------------------------ */

/* Index of a pad of @entity, or -1. */
static int pad_of(uint32_t entity, uint32_t index)
{
	int i;

	for (i = 0; i < PADS; i++) {
		if (pads[i].entity == entity && pads[i].index == index)
			return i;
	}
	return -1;
}

static void tell(const struct fake_media_pad *p, struct v4l2_subdev_format *f)
{
	memset(&f->format, 0, sizeof(f->format));
	f->format.code = p->code;
	f->format.width = p->width;
	f->format.height = p->height;
	f->format.field = V4L2_FIELD_NONE;
	f->format.colorspace = V4L2_COLORSPACE_RAW;
}

static uint32_t clamp(uint32_t value, uint32_t max)
{
	return MAX(16u, MIN(value, max));
}

static int do_set_format(uint32_t pad, struct v4l2_subdev_format *f)
{
	struct fake_media_pad *p = &fake.pads[pad];
	uint32_t i;

	if (fake.pub.streaming)
		return -EBUSY;
	fake.pub.sets++;
	p->code = f->format.code == RAW8 ? RAW8 : RAW10;
	p->width = clamp(f->format.width, 1640);
	p->height = clamp(f->format.height, 1232);
	p->crop_width = p->width;
	p->crop_height = p->height;
	for (i = 0; i < PADS; i++) {
		if (i == pad || pads[i].entity != pads[pad].entity ||
		    pads[pad].flags & MEDIA_PAD_FL_SOURCE)
			continue;
		fake.pads[i].code = p->code;
		fake.pads[i].width = p->width;
		fake.pads[i].height = p->height;
	}
	tell(p, f);
	return 0;
}

static int do_selection(uint32_t pad, struct v4l2_subdev_selection *s, bool set)
{
	struct fake_media_pad *p = &fake.pads[pad];

	if (pads[pad].entity != 2 || pads[pad].index != 0 ||
	    s->target != V4L2_SEL_TGT_CROP)
		return -EINVAL;
	if (set && fake.pub.streaming)
		return -EBUSY;
	if (set) {
		fake.pub.sets++;
		p->crop_width = clamp(s->r.width, p->width);
		p->crop_height = clamp(s->r.height, p->height);
	}
	s->r = (struct v4l2_rect){0, 0, p->crop_width, p->crop_height};
	return 0;
}

static int do_interval(uint32_t pad, struct v4l2_subdev_frame_interval *f,
		       bool set)
{
	struct fake_media_pad *p = &fake.pads[pad];

	if (pads[pad].entity)
		return -ENOTTY;
	if (set && fake.pub.streaming)
		return -EBUSY;
	if (set) {
		fake.pub.sets++;
		/* Up to 60 frames per second, whole ones. */
		p->interval_den = MIN(60u, f->interval.denominator /
						   f->interval.numerator);
	}
	f->interval.numerator = 1;
	f->interval.denominator = p->interval_den;
	return 0;
}

static int subdev_ioctl(uint32_t entity, unsigned long request, void *arg)
{
	struct v4l2_subdev_format *f = arg;
	struct v4l2_subdev_selection *s = arg;
	struct v4l2_subdev_frame_interval *v = arg;
	int pad;

	switch (request) {
	case VIDIOC_SUBDEV_G_FMT:
	case VIDIOC_SUBDEV_S_FMT:
		pad = pad_of(entity, f->pad);
		if (pad < 0)
			return -EINVAL;
		if (request == VIDIOC_SUBDEV_S_FMT)
			return do_set_format((uint32_t)pad, f);
		tell(&fake.pads[pad], f);
		return 0;
	case VIDIOC_SUBDEV_G_SELECTION:
	case VIDIOC_SUBDEV_S_SELECTION:
		pad = pad_of(entity, s->pad);
		return pad < 0 ? -EINVAL
			       : do_selection(
					 (uint32_t)pad, s,
					 request == VIDIOC_SUBDEV_S_SELECTION);
	case VIDIOC_SUBDEV_G_FRAME_INTERVAL:
	case VIDIOC_SUBDEV_S_FRAME_INTERVAL:
		pad = pad_of(entity, v->pad);
		return pad < 0 ? -EINVAL
			       : do_interval(
					 (uint32_t)pad, v,
					 request ==
						 VIDIOC_SUBDEV_S_FRAME_INTERVAL);
	default:
		return -ENOTTY;
	}
}

/* --- system calls ----------------------------------------------------------- */

static int open_as(enum fd_kind kind, uint32_t entity)
{
	int fd = sys_posix()->openat(AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC,
				     0);

	if (fd < 0 || fd >= FDS)
		abort();
	fake.fds[fd].kind = kind;
	fake.fds[fd].entity = entity;
	return fd;
}

static int open_text(const char *text)
{
	int fd = memfd_create("uevent", MFD_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0 ||
	    lseek(fd, 0, SEEK_SET) < 0)
		abort();
	return fd;
}

static int open_uevent(unsigned int major, unsigned int minor)
{
	char text[64];
	unsigned int i;

	for (i = 0; i < ENTITIES && !fake.pub.no_sysfs; i++) {
		if (major != MAJOR_V4L || entities[i].minor != minor)
			continue;
		(void)snprintf(text, sizeof(text),
			       "MAJOR=%u\nMINOR=%u\nDEVNAME=%s\n", major, minor,
			       entities[i].node);
		return open_text(text);
	}
	return -ENOENT;
}

/* A link to /dev/video1, by a name longer than a node's path may be. */
static const char long_link[] =
	"/dev/v4l/by-id/usb-A_Maker_of_Long_Names_HD_Webcam_C920_"
	"0123456789ABCDEF-video-index0";

static int fake_openat(int dirfd, const char *path, int flags, mode_t mode)
{
	const struct sys_ops *v4l2 = fake_v4l2_ops();
	unsigned int major;
	unsigned int n;
	int fd;

	if (!strcmp(path, "/dev/media0"))
		return fake.pub.absent ? -ENOENT : open_as(FD_MEDIA, 0);
	if (!strncmp(path, "/dev/media", 10))
		return -ENOENT;
	if (sscanf(path, "/dev/v4l-subdev%u", &n) == 1)
		return n < 3 ? open_as(FD_SUBDEV, n) : -ENOENT;
	if (sscanf(path, "/sys/dev/char/%u:%u/uevent", &major, &n) == 2)
		return open_uevent(major, n);
	if (!strcmp(path, "/dev/v4l/by-path/platform-a-video-index0"))
		return v4l2->openat(dirfd, "/dev/video0", flags, mode);
	if (!strcmp(path, long_link)) {
		fd = v4l2->openat(dirfd, "/dev/video1", flags, mode);
		if (fd >= 0 && fd < FDS)
			fake.fds[fd].kind = FD_NODE;
		return fd;
	}
	return v4l2->openat(dirfd, path, flags, mode);
}

static int fake_close(int fd)
{
	if (fd >= 0 && fd < FDS)
		memset(&fake.fds[fd], 0, sizeof(fake.fds[fd]));
	return fake_v4l2_ops()->close(fd);
}

static int fake_ioctl(int fd, unsigned long request, void *arg)
{
	if (fd >= 0 && fd < FDS && fake.fds[fd].kind == FD_MEDIA)
		return media_ioctl(request, arg);
	if (fd >= 0 && fd < FDS && fake.fds[fd].kind == FD_SUBDEV)
		return subdev_ioctl(fake.fds[fd].entity, request, arg);
	return fake_v4l2_ops()->ioctl(fd, request, arg);
}

static int fake_fstat(int fd, struct stat *ret_st)
{
	int r = fake_v4l2_ops()->fstat(fd, ret_st);

	if (r == 0 && fd < FDS && fake.fds[fd].kind == FD_NODE)
		ret_st->st_rdev = makedev(MAJOR_V4L, 1);
	return r;
}

const struct sys_ops *fake_media_ops(void)
{
	static struct sys_ops ops;

	ops = *fake_v4l2_ops();
	ops.openat = fake_openat;
	ops.close = fake_close;
	ops.ioctl = fake_ioctl;
	ops.fstat = fake_fstat;
	return &ops;
}

struct fake_media *fake_media_reset(void)
{
	unsigned int i;

	memset(&fake, 0, sizeof(fake));
	for (i = 0; i < PADS; i++) {
		fake.pads[i].code = RAW10;
		fake.pads[i].width = 640;
		fake.pads[i].height = 480;
		fake.pads[i].crop_width = 640;
		fake.pads[i].crop_height = 480;
		fake.pads[i].interval_den = 30;
	}
	/* The scaler cuts and scales: its pads differ. */
	fake.pads[3].crop_width = 500;
	fake.pads[3].crop_height = 400;
	fake.pads[4].width = 320;
	fake.pads[4].height = 240;
	fake.pads[4].crop_width = 320;
	fake.pads[4].crop_height = 240;
	for (i = 0; i < LINKS; i++)
		fake.link_flags[i] = links[i].flags;
	return &fake.pub;
}

const struct fake_media_pad *fake_media_pad(unsigned int pad)
{
	return &fake.pads[pad];
}

bool fake_media_link(unsigned int link)
{
	return fake.link_flags[link] & MEDIA_LNK_FL_ENABLED;
}
