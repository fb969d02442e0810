/* SPDX-License-Identifier: Apache-2.0 */
#include "src/frame.h"

#include <assert.h>
#include <stddef.h>

#include <linux/dma-buf.h>

#include "base/sys.h"
#include "src/queue.h"

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

static void sync_planes(const struct sys_ops *sys,
			const struct capture_frame *frame, uint64_t flags)
{
	uint32_t p;

	if (!queue_needs_sync())
		return;
	for (p = 0; p < frame->plane_count; p++) {
		if (frame->planes[p].dmabuf_fd >= 0)
			queue_sync_fd(sys ? sys : sys_posix(),
				      frame->planes[p].dmabuf_fd, flags);
	}
}

void capture_frame_begin_read(const struct sys_ops *sys,
			      const struct capture_frame *frame)
{
	sync_planes(sys, frame, DMA_BUF_SYNC_READ | DMA_BUF_SYNC_START);
}

void capture_frame_end_read(const struct sys_ops *sys,
			    const struct capture_frame *frame)
{
	sync_planes(sys, frame, DMA_BUF_SYNC_READ | DMA_BUF_SYNC_END);
}

void frame_begin_write(const struct sys_ops *sys,
		       const struct capture_frame *frame)
{
	sync_planes(sys, frame, DMA_BUF_SYNC_WRITE | DMA_BUF_SYNC_START);
}

void frame_end_write(const struct sys_ops *sys,
		     const struct capture_frame *frame)
{
	sync_planes(sys, frame, DMA_BUF_SYNC_WRITE | DMA_BUF_SYNC_END);
}
