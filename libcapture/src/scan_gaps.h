/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is missing between scans, by their timestamps: the kernel's FIFO drops
 * scans without a word. Pure.
 */
#ifndef CAPTURE_SRC_SCAN_GAPS_H
#define CAPTURE_SRC_SCAN_GAPS_H

#include <stdint.h>

struct scan_gaps {
	uint64_t scan_ns; /* between two scans; 0: not known */
	uint32_t frame_scans;
	uint64_t last_ns; /* of the last scan; 0: none yet */
	uint64_t from_ns; /* what this frame's scans are counted from */
	uint64_t steps;	  /* scans since that */
	uint64_t in_gaps; /* missing, gap by gap */
	uint64_t newly;	  /* missing in the frame before this one */
	uint64_t missing; /* not yet a whole frame */
};

/* Begins anew. @rate: scans per second; 0: not known, nothing is missing. */
void scan_gaps_init(struct scan_gaps *g, uint32_t rate, uint32_t frame_scans);

/* Each scan of a frame, in order. @ns: 0: it has no time. */
void scan_gaps_put(struct scan_gaps *g, uint64_t ns);

/*
 * The frame is complete. A scan that is only late makes a long gap and a short
 * one: of gaps only as many scans are believed as the frame was longer, and
 * what the next frame was shorter is taken back.
 *
 * @ret_scans: missing since the last call; less than 0: taken back
 * Return: how many frames are now missing, of the scans that are.
 */
uint64_t scan_gaps_end_frame(struct scan_gaps *g, int64_t *ret_scans);

#endif
