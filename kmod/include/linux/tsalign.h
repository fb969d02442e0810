/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tsalign for other drivers: a device that has a counter of its own and knows
 * when it was read gives its pairs here, and so joins the common timeline.
 */
#ifndef _LINUX_TSALIGN_H
#define _LINUX_TSALIGN_H

#include <linux/types.h>
#include <uapi/linux/tsalign.h>

struct tsalign_source;

/**
 * tsalign_register() - make a stream of kind TSALIGN_KERNEL
 * @desc: @name, @counter, @counter_bits and @nominal_mhz count; the rest is 0
 * @rule: what its samples mean, NULL: not known; @id is ignored, @strobe is 0
 *	or ~0: none
 *
 * The stream of the same name that went before is taken up again, in its next
 * epoch.
 *
 * Context: may sleep.
 * Return: the source, for tsalign_unregister(); or ERR_PTR: -EINVAL, -EEXIST
 * (the name is in use), -ENOSPC, -ENOMEM.
 */
struct tsalign_source *tsalign_register(const struct tsalign_stream *desc,
					const struct tsalign_rule *rule);

/**
 * tsalign_unregister() - the device has gone
 * @source: from tsalign_register(), NULL is allowed; no tsalign_submit() may
 *	run any more
 *
 * Context: may sleep.
 */
void tsalign_unregister(struct tsalign_source *source);

/**
 * tsalign_submit() - one pair
 * @source: from tsalign_register()
 * @counter: as read, counter_bits wide
 * @host_ns: CLOCK_BOOTTIME at that moment
 * @width_ns: how wrong @host_ns may be, to either side
 *
 * Context: any but NMI; hard interrupts too.
 * Return: the stream's id.
 */
u32 tsalign_submit(struct tsalign_source *source, u64 counter, u64 host_ns,
		   u32 width_ns);

#endif /* _LINUX_TSALIGN_H */
