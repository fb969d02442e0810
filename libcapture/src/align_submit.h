/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sensor's own counter as a stream of tsalign.ko: pairs of (counter, host
 * time) are given to the module, which fits them and publishes the map.
 *
 * System calls a frame: one at most, and none within CAPTURE_ALIGN_SUBMIT_NS of
 * the last one unless CAPTURE_ALIGN_PAIRS_MAX pairs wait. So a sensor of up to
 * 100 frames a second has each pair in the map that its frame is read off.
 */
#ifndef CAPTURE_SRC_ALIGN_SUBMIT_H
#define CAPTURE_SRC_ALIGN_SUBMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "src/align_page.h"
#include "src/limits.h"

struct align_submit {
	char name[TSALIGN_NAME_BYTES]; /* "": pairs are nobody's business */
	int fd;			       /* that made the stream; -EBADF: none */
	uint32_t id;
	bool restart;	   /* the count begins anew with the next pair */
	uint64_t given_ns; /* CLOCK_BOOTTIME of the last submit */
	uint32_t width_ns; /* widest of those that wait */
	uint32_t count;
	struct tsalign_pair pairs[CAPTURE_ALIGN_PAIRS_MAX];
};

void align_submit_init(struct align_submit *s);

/*
 * A name of @kind and @path, as the module takes it: the path's end, with '.'
 * for what it does not.
 */
void align_submit_name(struct align_submit *s, const char *kind,
		       const char *path);

/**
 * align_submit_open() - make the stream
 * @device_hz: what is counted
 *
 * Return: 0, -ENODEV (no module), -EPROTO (another version), -ENOSPC (no
 * slot), -EEXIST (others have all names of this one), -EACCES or the errno of
 * what failed.
 */
int align_submit_open(struct align_submit *s, const struct sys_ops *sys,
		      uint64_t device_hz, struct tsalign_stream *ret_stream,
		      const struct tsalign_page **ret_page) MUST_CHECK;

/* The stream goes, if there is one; its page is another's to unmap. */
void align_submit_close(struct align_submit *s, const struct sys_ops *sys);

/* The count begins anew: what waits is of a line that ends here. */
void align_submit_restart(struct align_submit *s);

/**
 * align_submit_add() - one more pair; gives the module what is due
 * @host_ns: CLOCK_BOOTTIME, nearer than @width_ns to the truth
 * @now_ns: CLOCK_BOOTTIME; what is ahead of it waits until it is not
 *
 * Return: 0, or the errno of the module, which has none of those that waited.
 */
int align_submit_add(struct align_submit *s, const struct sys_ops *sys,
		     uint64_t counter, uint64_t host_ns, uint64_t width_ns,
		     uint64_t now_ns) MUST_CHECK;

#endif
