/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What went through the agent, on disk, to compare with what comes back from
 * the service. For each track: DIR/TRACK/raw has the raw frames that its
 * encoder took, one after the other; DIR/TRACK/frames a line for each of
 * them, "raw STAMP_NS BYTES", and for each frame put, "put TIME_NS STAMP_NS
 * BYTES KEY". Blocks on the disk: for tests and bring-up.
 */
#ifndef AGENT_TAP_H
#define AGENT_TAP_H

#include "base/macros.h"

struct capture_frame;
struct kvs_frame;
struct tap;

/*
 * @dir must exist; DIR/TRACK need not. Return: 0, -ENOMEM, or the errno of
 * making it or of opening a file.
 */
int tap_open(const char *dir, const char *track,
	     struct tap **ret_tap) MUST_CHECK;
void tap_raw(struct tap *t, const struct capture_frame *frame);
void tap_frame(struct tap *t, const struct kvs_frame *frame);
/* Says on the log if something was not written. Accepts NULL, returns NULL. */
struct tap *tap_close(struct tap *t);

#endif
