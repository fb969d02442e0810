/* SPDX-License-Identifier: Apache-2.0 */
#include "support/fake_sync.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <linux/dma-buf.h>

#include "src/queue.h"

#define FDS_MAX 1024

static struct {
	const struct sys_ops *inner;
	struct sys_ops ops;
	struct fake_sync counts;
	uint64_t open[FDS_MAX]; /* DMA_BUF_SYNC_RW of it */
	bool needed;		/* before */
	bool on;
} fake;

static int sync_fd(int fd, uint64_t flags)
{
	uint64_t access = flags & DMA_BUF_SYNC_RW;

	if (fd < 0 || fd >= FDS_MAX || !access ||
	    flags & ~(uint64_t)DMA_BUF_SYNC_VALID_FLAGS_MASK) {
		fake.counts.errors++;
		return -EINVAL;
	}
	if (!(flags & DMA_BUF_SYNC_END)) {
		fake.counts.errors += fake.open[fd] != 0;
		fake.counts.open++;
		fake.open[fd] = access;
		return 0;
	}
	fake.counts.errors += fake.open[fd] != access;
	fake.counts.open -= fake.open[fd] != 0;
	fake.open[fd] = 0;
	fake.counts.reads += !!(access & DMA_BUF_SYNC_READ);
	fake.counts.writes += !!(access & DMA_BUF_SYNC_WRITE);
	return 0;
}

static int sync_ioctl(int fd, unsigned long request, void *arg)
{
	if (request == DMA_BUF_IOCTL_SYNC)
		return sync_fd(fd, ((const struct dma_buf_sync *)arg)->flags);
	return fake.inner->ioctl(fd, request, arg);
}

const struct sys_ops *fake_sync_over(const struct sys_ops *inner)
{
	bool needed = fake.on ? fake.needed : queue_needs_sync();

	memset(&fake, 0, sizeof(fake));
	fake.on = true;
	fake.needed = needed;
	fake.inner = inner;
	fake.ops = *inner;
	fake.ops.ioctl = sync_ioctl;
	queue_assume_sync(true);
	return &fake.ops;
}

void fake_sync_end(void)
{
	if (fake.on)
		queue_assume_sync(fake.needed);
	fake.on = false;
}

struct fake_sync fake_sync_counts(void)
{
	return fake.counts;
}
