/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What video devices there are and what they can do. Devices are told apart
 * by capability, never by name.
 */
#ifndef CAPTURE_DEVICE_H
#define CAPTURE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <capture/api.h>

#define CAPTURE_PATH_BYTES 64

enum capture_device_kind {
	CAPTURE_DEVICE_CAMERA = 1,	/* video capture that can stream */
	CAPTURE_DEVICE_ENCODER,		/* M2M: raw in, compressed out */
	CAPTURE_DEVICE_DECODER,		/* M2M: compressed in, raw out */
	CAPTURE_DEVICE_CONVERTER,	/* M2M: raw in, raw out */
	CAPTURE_DEVICE_SDR,		/* samples of a radio */
	CAPTURE_DEVICE_METADATA		/* records beside a camera's frames */
};

/*
 * Frames per second as fractions, slowest and fastest. Equal: one discrete
 * rate.
 */
struct capture_rate_range {
	uint32_t min_num;
	uint32_t min_den;
	uint32_t max_num;
	uint32_t max_den;
};

/* Frame sizes in pixels. @min_* == @max_*: one discrete size. */
struct capture_size_range {
	uint32_t min_width;
	uint32_t min_height;
	uint32_t max_width;
	uint32_t max_height;
	uint32_t step_width;
	uint32_t step_height;
	struct capture_rate_range *rates; /* of the largest size of a range */
	size_t rate_count;
};

struct capture_format_info {
	uint32_t fourcc;
	bool compressed;
	bool emulated;		/* converted by a user-space library */
	char description[33];	/* NUL-terminated, from the driver */
	struct capture_size_range *sizes; /* none: the driver does not say */
	size_t size_count;
};

struct capture_device {
	char path[CAPTURE_PATH_BYTES];
	char driver[17];
	char card[33];
	char bus_info[33];
	uint32_t capabilities;	/* V4L2_CAP_* of this node */
	enum capture_device_kind kind;
	bool multiplanar;
	/* What the device gives: a camera's frames, an encoder's bitstreams. */
	struct capture_format_info *formats;
	size_t format_count;
	/* What an M2M device takes; none for a camera. */
	struct capture_format_info *input_formats;
	size_t input_format_count;
};

struct capture_device_list {
	struct capture_device **devices;
	size_t count;
};

/**
 * capture_device_query() - ask one node what it is
 * @sys: system calls, or NULL
 * @path: e.g. "/dev/video0" or a link to it
 * @ret_device: owned by the caller
 *
 * Context: any thread; opens the node and closes it again, and may block for
 * as long as the driver's open does.
 * SDR and metadata nodes have formats without sizes and rates.
 *
 * Return: 0, -ENODEV (no V4L2 node, or one that neither captures nor
 * converts), -ENAMETOOLONG, -ENOMEM, -E2BIG (more formats, sizes or rates
 * than any real device has), or the errno of open: -ENOENT, -EACCES, -EBUSY.
 */
CAPTURE_API int capture_device_query(const struct sys_ops *sys,
				     const char *path,
				     struct capture_device **ret_device)
	CAPTURE_MUST_CHECK;

/* Takes NULL; returns NULL. */
CAPTURE_API struct capture_device *
capture_device_free(struct capture_device *device);

/* The format of @device's output named @fourcc, or NULL. Borrowed. */
CAPTURE_API const struct capture_format_info *
capture_device_format(const struct capture_device *device, uint32_t fourcc);

/**
 * capture_device_list_new() - ask every /dev/videoN, then /dev/swradioN
 * @ret_list: owned by the caller, in order of N; may be empty
 *
 * Nodes that cannot be opened or give no frames and are no M2M device are
 * left out: ask capture_device_query() why.
 *
 * Context: as capture_device_query(), for each node in turn.
 * Return: 0, -ENOMEM, -EMFILE, -ENFILE.
 */
CAPTURE_API int
capture_device_list_new(const struct sys_ops *sys,
			struct capture_device_list **ret_list)
	CAPTURE_MUST_CHECK;

/* Takes NULL; returns NULL. Frees the devices too. */
CAPTURE_API struct capture_device_list *
capture_device_list_free(struct capture_device_list *list);

#endif
