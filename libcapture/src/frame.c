/* SPDX-License-Identifier: Apache-2.0 */
#include "src/frame.h"

#include <assert.h>
#include <stddef.h>

static struct frame_holder *holder_of(struct capture_frame *frame)
{
	return container_of(frame, struct frame_holder, frame);
}

struct capture_frame *capture_frame_ref(struct capture_frame *frame)
{
	struct frame_holder *holder = holder_of(frame);

	assert(holder->refs);
	holder->refs++;
	return frame;
}

struct capture_frame *capture_frame_unref(struct capture_frame *frame)
{
	struct frame_holder *holder;

	if (!frame)
		return NULL;
	holder = holder_of(frame);
	assert(holder->refs);
	if (--holder->refs == 0)
		holder->release(holder);
	return NULL;
}
