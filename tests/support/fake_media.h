/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A media device in front of the fake V4L2 nodes (support/fake_v4l2.h):
 *
 *	1 'imx219 10-0010' :0 ==> 2 'csi2' :0    :1 --> 3 'scaler' :0  :1 ==> 4
 *'image' (/dev/video0) :1 ==> 5 'raw' (/dev/video1)
 *
 * ==> enabled at the start, --> not; the first is immutable. As drivers do, it
 * carries a sink's format to the sources of the same entity, resets the crop,
 * and makes what it can of what it is asked for: SRGGB10_1X10 or SRGGB8_1X8,
 * 16x16 to 1640x1232. Calls that are for none of it go to the fake nodes.
 */
#ifndef SUPPORT_FAKE_MEDIA_H
#define SUPPORT_FAKE_MEDIA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/sys.h"

#define FAKE_MEDIA_PADS 7
#define FAKE_MEDIA_LINKS 4

/* Set fields at any time; counters are the fake's to write. */
struct fake_media {
	bool absent;	      /* no /dev/media0 */
	bool legacy;	      /* a kernel before 4.19 */
	bool no_sysfs;	      /* nobody knows the nodes' names */
	bool streaming;	      /* whatever is set is -EBUSY */
	bool bad_pad;	      /* a pad of an entity that is not there */
	bool bad_link;	      /* a link to a pad that is not there */
	bool endless;	      /* legacy: ids do not go up */
	bool huge;	      /* claims 4 billion links */
	unsigned int growing; /* this many reads find it larger */
	/* Counters. */
	unsigned int sets; /* S_FMT, S_SELECTION, S_FRAME_INTERVAL */
	unsigned int links_set;
};

struct fake_media_pad {
	uint32_t code;
	uint32_t width;
	uint32_t height;
	uint32_t crop_width; /* of 'scaler':0, left and top are 0 */
	uint32_t crop_height;
	uint32_t interval_den; /* of the sensor: 1/30 s */
};

const struct sys_ops *fake_media_ops(void);
struct fake_media *fake_media_reset(void);
/* What is set now: pads in the order of the picture, links too. */
const struct fake_media_pad *fake_media_pad(unsigned int pad);
bool fake_media_link(unsigned int link);

#endif
