/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The media controller: what a camera's hardware is made of, how its parts
 * are linked, and setting links and pad formats before streaming, as
 * media-ctl does it.
 *
 * A raw sensor often gives no frame until the links between it and the
 * capture node are on and all pads between agree on a format. The kernel
 * keeps such settings after their maker is gone: whoever applies some here
 * puts back what was, with capture_media_setup_restore().
 */
#ifndef CAPTURE_MEDIA_H
#define CAPTURE_MEDIA_H

#include <stddef.h>
#include <stdint.h>

#include <capture/api.h>
#include <capture/device.h>

#define CAPTURE_MEDIA_NAME_BYTES 64
#define CAPTURE_MEDIA_WHY_BYTES 192

/* Flags of pads and links: MEDIA_PAD_FL_*, MEDIA_LNK_FL_* of linux/media.h */
#define CAPTURE_PAD_SINK 0x1u
#define CAPTURE_PAD_SOURCE 0x2u
#define CAPTURE_LINK_ENABLED 0x1u
#define CAPTURE_LINK_IMMUTABLE 0x2u

struct capture_media_entity {
	uint32_t id;
	uint32_t function;	/* MEDIA_ENT_F_* of linux/media.h */
	char name[CAPTURE_MEDIA_NAME_BYTES]; /* NUL-terminated */
	/* Its device node, "/dev/v4l-subdev0"; empty: none, or not known. */
	char path[CAPTURE_PATH_BYTES];
};

struct capture_media_pad {
	size_t entity;		/* index into the graph's entities */
	uint32_t index;		/* of the entity's pads */
	uint32_t flags;		/* CAPTURE_PAD_* */
};

/* A data link, between two pads: indices into the graph's pads. */
struct capture_media_link {
	size_t source;
	size_t sink;
	uint32_t flags;		/* CAPTURE_LINK_* */
};

struct capture_media_graph {
	char path[CAPTURE_PATH_BYTES];	/* "/dev/media0" */
	char driver[17];
	char model[33];
	char serial[41];
	char bus_info[33];
	struct capture_media_entity *entities;
	size_t entity_count;
	struct capture_media_pad *pads;
	size_t pad_count;
	struct capture_media_link *links;
	size_t link_count;
};

struct capture_media_list {
	struct capture_media_graph **graphs;
	size_t count;
};

/**
 * capture_media_query() - read the graph of one media device
 * @sys: system calls, or NULL
 * @path: e.g. "/dev/media0"
 * @ret_graph: owned by the caller; a copy, which later changes do not touch
 *
 * MEDIA_IOC_G_TOPOLOGY, or on kernels before 4.19 the older two calls.
 *
 * Context: any thread; opens the node and closes it again.
 * Return: 0, -ENODEV (no media device), -ENAMETOOLONG, -ENOMEM, -E2BIG (more
 * parts than any real device has), -EPROTO (a graph that contradicts itself),
 * -EAGAIN (it changed while it was read, several times), or the errno of open.
 */
CAPTURE_API int capture_media_query(const struct sys_ops *sys,
				    const char *path,
				    struct capture_media_graph **ret_graph)
	CAPTURE_MUST_CHECK;

/* Takes NULL; returns NULL. */
CAPTURE_API struct capture_media_graph *
capture_media_free(struct capture_media_graph *graph);

/**
 * capture_media_list_new() - the graphs of every /dev/mediaN
 * @ret_list: owned by the caller, in order of N; may be empty
 *
 * Nodes that cannot be opened or read are left out: capture_media_query()
 * tells why.
 *
 * Return: 0, -ENOMEM, -EMFILE, -ENFILE.
 */
CAPTURE_API int capture_media_list_new(const struct sys_ops *sys,
				       struct capture_media_list **ret_list)
	CAPTURE_MUST_CHECK;

/* Takes NULL; returns NULL. Frees the graphs too. */
CAPTURE_API struct capture_media_list *
capture_media_list_free(struct capture_media_list *list);

/* A name for MEDIA_ENT_F_*: "sensor", "scaler", "video node"; or "other". */
CAPTURE_API const char *capture_media_function_name(uint32_t function);

/* "SRGGB10_1X10" for MEDIA_BUS_FMT_SRGGB10_1X10; NULL: not known here. */
CAPTURE_API const char *capture_media_bus_name(uint32_t code);

struct capture_media_setup_config {
	/* "/dev/media0"; NULL: the first whose graph has all that is named. */
	const char *device;
	/*
	 * As media-ctl --links, several with commas: each switched on [1] or
	 * off [0]. Entities by name, in double or single quotes, or by number.
	 *	'imx219 10-0010':0 -> 'unicam-image':0 [1]
	 * NULL or empty: none.
	 */
	const char *links;
	/*
	 * As media-ctl --set-v4l2, several with commas, in this order:
	 *	'imx219 10-0010':0 [fmt:SRGGB10_1X10/1640x1232]
	 *	"Scaler":0 [fmt:RGB888_1X24/640x480 crop:(0,0)/320x240 @1/30]
	 * fmt: a bus format by name (as MEDIA_BUS_FMT_*, SRGGB10 stands for
	 * SRGGB10_1X10) or number, then the size. field, colorspace, crop,
	 * compose and @seconds/frames may follow, each at most once.
	 */
	const char *formats;
};

struct capture_media_setup;

/**
 * capture_media_setup_apply() - set links, then pad formats
 * @sys: system calls, or NULL; must outlive the setup
 * @config: copied
 * @ret_setup: owned by the caller: what was before
 * @ret_why: what was wrong, in words; "" when nothing was; may be NULL
 *
 * All or nothing: on failure what was already set is put back. What the
 * driver makes of a format must be what was asked for (a frame interval, to
 * 1 %): else -ERANGE. No link and no pad that the text does not name is set,
 * but a driver may carry a format from one pad to another of the same entity;
 * that is put back too.
 *
 * Context: blocks as long as the drivers do.
 * Return: 0, or
 *  -EINVAL  the text cannot be read
 *  -E2BIG   more of it than any graph needs
 *  -ENODEV  no such media device, or none with all that is named
 *  -ENOENT  no such entity or pad, or it has no device node
 *  -ENOLINK no such link
 *  -EPERM   the link is immutable, and not as asked for
 *  -ERANGE  the driver has not this format, size or rate
 *  -EBUSY   the pipeline streams
 *  -ENOMEM, or the errno of a call.
 */
CAPTURE_API int
capture_media_setup_apply(const struct sys_ops *sys,
			  const struct capture_media_setup_config *config,
			  struct capture_media_setup **ret_setup,
			  char ret_why[CAPTURE_MEDIA_WHY_BYTES])
	CAPTURE_MUST_CHECK;

/**
 * capture_media_setup_restore() - put back what was before, and free
 * @setup: takes NULL; freed in any case
 *
 * Stop streaming first. Goes on after a failure.
 *
 * Return: 0, or the first failure: -EBUSY (it streams), -ENODEV (unplugged),
 * -ERANGE (the driver made something else of what it had before).
 */
CAPTURE_API int
capture_media_setup_restore(struct capture_media_setup *setup);

/* What was set: how many links, and how many pads. */
CAPTURE_API size_t
capture_media_setup_links(const struct capture_media_setup *setup);
CAPTURE_API size_t
capture_media_setup_pads(const struct capture_media_setup *setup);

/**
 * capture_device_match() - the capture node that a text means
 * @text: in this order:
 *	1. a path: "/dev/video0", "/dev/kvsd/by-path/..."
 *	2. a udev link's last part, in /dev/kvsd/by-id, /dev/kvsd/by-path,
 *	   /dev/v4l/by-id or /dev/v4l/by-path
 *	3. a node's card or bus info, whole
 *	4. the name of a media entity: of the capture node, or of one whose
 *	   enabled links lead to a capture node ("imx219 10-0010")
 *	5. a part of a node's card or bus info
 * @ret_path: a node that gives frames. By card, bus info or links only a
 *	camera; by its own name or link an SDR or metadata node too
 *
 * Of several that match, the first by node number.
 *
 * Context: as capture_device_list_new().
 * Return: 0, -ENODEV (none matches), -EINVAL (@text is empty),
 * -ENAMETOOLONG, -ENOMEM, -EMFILE, -ENFILE; for a path: as
 * capture_device_query().
 */
CAPTURE_API int capture_device_match(const struct sys_ops *sys,
				     const char *text,
				     char ret_path[CAPTURE_PATH_BYTES])
	CAPTURE_MUST_CHECK;

#endif
