/* SPDX-License-Identifier: Apache-2.0 */
#include "src/align_page.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int align_page_open(const struct sys_ops *sys)
{
	return sys->openat(AT_FDCWD, ALIGN_DEVICE,
			   O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
}

/* A page is the kernel's: 4 KiB, on some arm64 16 or 64 KiB. */
static size_t page_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

int align_page_map(const struct sys_ops *sys, int fd, uint32_t id,
		   const struct tsalign_page **ret_page)
{
	void *map;
	int r;

	r = sys->mmap(page_bytes(), PROT_READ, MAP_SHARED, fd,
		      (off_t)(id * page_bytes()), &map);
	if (r < 0)
		return r;
	*ret_page = map;
	return 0;
}

const struct tsalign_page *align_page_unmap(const struct sys_ops *sys,
					    const struct tsalign_page *page)
{
	/* It was mapped writable by nobody; munmap() takes no const. */
	if (page)
		(void)sys->munmap((void *)(uintptr_t)page, page_bytes());
	return NULL;
}

static int find(const struct sys_ops *sys, int fd, int32_t minor,
		struct tsalign_stream *ret_stream,
		const struct tsalign_page **ret_page)
{
	uint32_t id;
	int r;

	for (id = 0; id < TSALIGN_STREAMS_MAX; id++) {
		struct tsalign_stream stream = {.id = id};

		r = sys->ioctl(fd, TSALIGN_IOC_STREAM, &stream);
		if (r == -ENOENT)
			continue; /* a free slot */
		if (r < 0)
			return r;
		if (stream.kind != TSALIGN_V4L2 || stream.minor != minor)
			continue;
		r = align_page_map(sys, fd, id, ret_page);
		if (r == 0)
			*ret_stream = stream;
		return r == -ENXIO ? -ENOENT : r; /* it went just now */
	}
	return -ENOENT;
}

int align_page_find(const struct sys_ops *sys, int32_t minor,
		    struct tsalign_stream *ret_stream,
		    const struct tsalign_page **ret_page)
{
	int fd = align_page_open(sys);
	int r;

	if (fd < 0)
		return fd == -ENOENT ? -ENODEV : fd;
	r = find(sys, fd, minor, ret_stream, ret_page);
	sys_close(sys, &fd);
	return r;
}

/*
 * Each word is loaded by itself and with acquire: so all of them come before
 * the second look at @seq, and whoever checks for races sees none.
 */
#define LOAD(word) __atomic_load_n(&(word), __ATOMIC_ACQUIRE)

static void copy_words(const struct tsalign_page *from, struct tsalign_page *to)
{
	to->abi = LOAD(from->abi);
	to->stream = LOAD(from->stream);
	to->state = LOAD(from->state);
	to->reference = LOAD(from->reference);
	to->counter = LOAD(from->counter);
	to->point = LOAD(from->point);
	to->shift = LOAD(from->shift);
	to->mult = LOAD(from->mult);
	to->base_counter = LOAD(from->base_counter);
	to->base_ns = LOAD(from->base_ns);
	to->epoch = LOAD(from->epoch);
	to->sigma_ns = LOAD(from->sigma_ns);
	to->sigma_ppb = LOAD(from->sigma_ppb);
	to->delay_ns = LOAD(from->delay_ns);
	to->drift_ppb = LOAD(from->drift_ppb);
	to->jitter_ns = LOAD(from->jitter_ns);
	to->updated_ns = LOAD(from->updated_ns);
	to->samples = LOAD(from->samples);
	to->outliers = LOAD(from->outliers);
	to->lost = LOAD(from->lost);
	to->mispaired = LOAD(from->mispaired);
}

int align_page_read(const struct tsalign_page *page,
		    struct tsalign_page *ret_copy)
{
	struct tsalign_page copy;
	unsigned int i;

	for (i = 0; i < TSALIGN_PAGE_TRIES; i++) {
		copy.seq = LOAD(page->seq);
		if (copy.seq & 1)
			continue;
		copy_words(page, &copy);
		if (__atomic_load_n(&page->seq, __ATOMIC_RELAXED) != copy.seq)
			continue;
		if (copy.abi != TSALIGN_ABI || copy.shift > 63 ||
		    copy.state > TSALIGN_GONE)
			return -EPROTO;
		memset(copy.reserved, 0, sizeof(copy.reserved));
		*ret_copy = copy;
		return 0;
	}
	return -EAGAIN;
}

static enum capture_align_state state_of(uint32_t state)
{
	static const enum capture_align_state states[] = {
		[TSALIGN_FREE] = CAPTURE_ALIGN_FREE,
		[TSALIGN_WAITING] = CAPTURE_ALIGN_WAITING,
		[TSALIGN_COARSE] = CAPTURE_ALIGN_COARSE,
		[TSALIGN_LOCKED] = CAPTURE_ALIGN_LOCKED,
		[TSALIGN_HOLDOVER] = CAPTURE_ALIGN_HOLDOVER,
		[TSALIGN_GONE] = CAPTURE_ALIGN_GONE,
	};

	return state < ARRAY_SIZE(states) ? states[state] : CAPTURE_ALIGN_FREE;
}

/* mult >> shift in 2^-16 ns. */
static uint64_t count_length(const struct tsalign_page *p)
{
	uint64_t length;

	if (p->shift >= 16)
		return p->mult >> (p->shift - 16);
	length = p->mult << (16 - p->shift);
	return length >> (16 - p->shift) == p->mult ? length : 0;
}

void align_page_describe(const struct tsalign_page *page,
			 const struct tsalign_stream *stream,
			 struct capture_alignment *ret)
{
	*ret = (struct capture_alignment){
		.minor = -1,
		.id = page->stream,
		.by = CAPTURE_ALIGNED_KERNEL,
		.state = state_of(page->state),
		.epoch = page->epoch,
		.sigma_ns = page->sigma_ns,
		.drift_ppb = page->drift_ppb,
		.jitter_ns = page->jitter_ns,
		.delay_ns = page->delay_ns,
		.point = page->point <= TSALIGN_POINT_MID
				 ? (enum capture_align_point)page->point
				 : CAPTURE_ALIGN_AS_STAMPED,
		.count_ns_16 = count_length(page),
		.updated_ns = page->updated_ns,
		.samples = page->samples,
		.outliers = page->outliers,
		.lost = page->lost,
		.mispaired = page->mispaired,
	};
	if (ret->state < CAPTURE_ALIGN_COARSE)
		ret->sigma_ns = UINT64_MAX;
	if (!stream)
		return;
	ret->id = stream->id;
	ret->minor = stream->minor;
	/* The kernel ends it; we do not count on that. */
	memcpy(ret->name, stream->name, sizeof(ret->name));
	ret->name[sizeof(ret->name) - 1] = '\0';
}

_Static_assert(CAPTURE_ALIGN_NAME_BYTES == TSALIGN_NAME_BYTES, "names");
_Static_assert(CAPTURE_ALIGN_STREAMS_MAX == TSALIGN_STREAMS_MAX, "streams");
_Static_assert(sizeof(struct tsalign_page) <= 4096, "one page");
