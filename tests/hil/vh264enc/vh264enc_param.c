// SPDX-License-Identifier: GPL-2.0-only
#include "vh264enc.h"

#include <linux/delay.h>
#include <linux/module.h>
#include <linux/sysfs.h>

struct enc_traits enc_traits = {
	.memory = "vmalloc",
	.encoder_cmd = true,
	.size_align = 2,
	.stride_align = 1,
	.repeat_controls = true,
};

struct enc_fault enc_fault;

#define TRAIT(name, type, mode, text)                          \
	module_param_named(name, enc_traits.name, type, mode); \
	MODULE_PARM_DESC(name, text)

#define FAULT(name, type, text)                                       \
	module_param_named(fault_##name, enc_fault.name, type, 0644); \
	MODULE_PARM_DESC(fault_##name, text)

/* What the device is; read when a node is made or opened. */
TRAIT(multiplanar, bool, 0444, "the multi-planar API, and NM12 and YM12 too");
TRAIT(own_planes, bool, 0444, "... and no other; with multiplanar");
TRAIT(memory, charp, 0444, "vmalloc or dma-contig");
TRAIT(encoder_cmd, bool, 0444, "has ENCODER_CMD");
TRAIT(jpeg, bool, 0444, "gives JPEG, not H.264");
TRAIT(hevc, bool, 0444, "gives H.265, not H.264");
TRAIT(vp8, bool, 0444, "gives VP8, not H.264");
TRAIT(size_align, uint, 0644, "raw sizes are rounded up to this; see crop");
TRAIT(stride_align, uint, 0644, "lines begin at a multiple of this");
TRAIT(separate_only, bool, 0644, "headers come as a first buffer, never else");
TRAIT(repeat_controls, bool, 0644, "has the controls that repeat headers");
TRAIT(coded_bytes, uint, 0644, "sizeimage of the coded side, if not 0");
TRAIT(delay_ms, uint, 0644, "how long a frame takes");

/*
 * What goes wrong. Counts are of frames since STREAMON, 1 is the first;
 * "every": each frame whose number it divides.
 */
FAULT(hang, uint, "from this frame on nothing is ever done");
FAULT(error, uint, "every n-th packet has the error flag");
FAULT(empty, uint, "every n-th packet has no bytes");
FAULT(runt, uint, "every n-th packet is less than a start code");
FAULT(drop, uint, "every n-th frame makes no packet");
FAULT(key_flag, uint, "1: the key frame flag is never set, 2: always");
FAULT(reorder, uint, "1: buffers are filled last in, first out; 2: pairs swap");
FAULT(source_change, uint, "a source change event at this frame");
FAULT(no_last, bool, "a drain never ends");
FAULT(stuck, uint,
      "calls that do not return while their bit is set: 1 open, "
      "2 S_FMT, 4 REQBUFS, 8 QBUF, 16 DQBUF, 32 STREAMON, "
      "64 STREAMOFF, 128 ENCODER_CMD, 256 S_CTRL, 512 close");

static atomic_t stuck_now;

static int get_stuck_now(char *text, const struct kernel_param *kp)
{
	return sysfs_emit(text, "%d\n", atomic_read(&stuck_now));
}

static const struct kernel_param_ops stuck_now_ops = {.get = get_stuck_now};
module_param_cb(stuck_now, &stuck_now_ops, NULL, 0444);
MODULE_PARM_DESC(stuck_now, "how many calls do not return");

void enc_stuck(enum enc_call call)
{
	if (!(READ_ONCE(enc_fault.stuck) & call))
		return;
	atomic_inc(&stuck_now);
	while (READ_ONCE(enc_fault.stuck) & call)
		msleep(10);
	atomic_dec(&stuck_now);
}
