/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/backup_int.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/limits.h"
#include "io/segment_file.h"
#include "proto/segment.h"

#define NAME_BYTES 32
#define PASSES_MAX 16u
/* Clocks of files stand still for a tick: what is this old cannot change
 * without a new time. */
#define SETTLED_S 2
/* Of a segment whose end does not show that it is full or closed. */
#define SETTLED_OPEN_S 3600

static bool is_zero(const uint8_t *bytes, size_t len)
{
	return !len || (!bytes[0] && !memcmp(bytes, bytes + 1, len - 1));
}

/*
 * The end of the last block that is not empty: the rest is reserved. Seen
 * before the copy is made, so that there is no gap before what is written
 * meanwhile.
 */
static int find_end(struct backup *b, int fd, uint64_t size, uint64_t *ret_end)
{
	while (size) {
		uint64_t at =
			(size - 1) / BACKUP_COPY_BYTES * BACKUP_COPY_BYTES;
		size_t len = 0;
		int r;

		r = segment_file_read(&b->from, fd, b->bytes,
				      (size_t)(size - at), at, &len);
		if (r < 0)
			return r;
		while (len) {
			size_t block = (len - 1) / SEGMENT_BLOCK_BYTES *
				       SEGMENT_BLOCK_BYTES;

			if (!is_zero(b->bytes + block, len - block)) {
				*ret_end = at + len;
				return 0;
			}
			len = block;
		}
		size = at;
	}
	*ret_end = 0;
	return 0;
}

int backup_write(struct backup *b, int fd, const uint8_t *bytes, size_t len,
		 uint64_t at)
{
	while (len) {
		ssize_t n = b->sys->pwrite(fd, bytes, len, (off_t)at);

		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		bytes += n;
		at += (size_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* Blocks of zeros stay holes. */
static int write_sparse(struct backup *b, int fd, size_t len, uint64_t at)
{
	size_t done = 0;
	int r = 0;

	while (done < len && r == 0) {
		size_t n = MIN(len - done, (size_t)SEGMENT_BLOCK_BYTES);
		size_t run = done;

		while (run < len && !is_zero(b->bytes + run, n)) {
			run += n;
			n = MIN(len - run, (size_t)SEGMENT_BLOCK_BYTES);
		}
		r = backup_write(b, fd, b->bytes + done, run - done, at + done);
		b->bytes_copied += run - done;
		done = run + n;
	}
	return r;
}

/* Bytes of a record that is being written may be old: it was not
 * acknowledged, and its checksum tells. */
static int copy_bytes(struct backup *b, int in, int out, uint64_t end)
{
	uint64_t at;
	int r;

	for (at = 0; at < end; at += BACKUP_COPY_BYTES) {
		size_t want =
			(size_t)MIN(end - at, (uint64_t)BACKUP_COPY_BYTES);
		size_t len = 0;

		r = segment_file_read(&b->from, in, b->bytes, want, at, &len);
		b->read_failed = r < 0;
		if (r == 0)
			r = write_sparse(b, out, len, at);
		if (r < 0)
			return r;
		if (len < want)
			break; /* its unused rest was given back */
	}
	return 0;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* A copy that is final has its original's time and size; others time 0. */
static bool is_copied(struct backup *b, uint32_t number, const struct stat *st)
{
	struct stat have;
	int fd;
	int r;

	if (segment_file_open(&b->to, number, &fd) < 0)
		return false;
	r = b->sys->fstat(fd, &have);
	sys_close(b->sys, &fd);
	return r == 0 && have.st_size == st->st_size &&
	       same_time(&have.st_mtim, &st->st_mtim);
}

/* @st: of before it was read. */
static bool is_settled(struct backup *b, const struct stat *st, uint64_t end)
{
	struct timespec now = {0};
	int64_t age_s;

	if (b->sys->clock_gettime(CLOCK_REALTIME, &now) < 0)
		return false;
	age_s = (int64_t)now.tv_sec -
		(int64_t)MAX(st->st_mtim.tv_sec, st->st_ctim.tv_sec);
	return age_s >
	       (end == (uint64_t)st->st_size ? SETTLED_S : SETTLED_OPEN_S);
}

static int write_segment(struct backup *b, int in, int out,
			 const struct stat *st)
{
	struct timespec times[2] = {{0}, {0}};
	uint64_t end = 0;
	bool settled;
	int r;

	r = find_end(b, in, (uint64_t)st->st_size, &end);
	b->read_failed = r < 0;
	if (r < 0)
		return r;
	settled = is_settled(b, st, end);
	r = copy_bytes(b, in, out, end);
	if (r == 0)
		r = b->sys->ftruncate(out, settled ? st->st_size : (off_t)end);
	if (r < 0)
		return r;
	if (settled)
		times[0] = times[1] = st->st_mtim;
	if (futimens(out, times) < 0)
		return -errno;
	return b->sys->fsync(out);
}

/*
 * Whether @st is of what has the name. What has none any more may have been
 * zeroed while it was read, and have become another segment; it is renamed
 * before that happens, and no number is used twice.
 * Return: 1, 0, or an error.
 */
static int is_there(struct backup *b, uint32_t number, const struct stat *st)
{
	struct stat now = {0};
	int fd;
	int r;

	r = segment_file_open(&b->from, number, &fd);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = b->sys->fstat(fd, &now);
	sys_close(b->sys, &fd);
	return r < 0 ? r
		     : now.st_ino == st->st_ino && now.st_dev == st->st_dev;
}

/* Return: 1, 0 it went while it was copied, or an error. */
static int replace_segment(struct backup *b, int in, uint32_t number,
			   const struct stat *st)
{
	char temp[NAME_BYTES];
	char name[NAME_BYTES];
	bool gone = false;
	int out;
	int r;

	(void)snprintf(temp, sizeof(temp), "%08" PRIu32 ".tmp", number);
	(void)snprintf(name, sizeof(name), "%08" PRIu32 ".seg", number);
	out = b->sys->openat(b->to.segments_fd, temp,
			     O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (out < 0)
		return out;
	r = write_segment(b, in, out, st);
	sys_close(b->sys, &out);
	if (r == 0) {
		r = is_there(b, number, st);
		b->read_failed = r < 0;
	}
	if (r == 1)
		r = b->sys->renameat(b->to.segments_fd, temp, b->to.segments_fd,
				     name);
	else if (r == 0)
		gone = true;
	if (r < 0 || gone)
		(void)b->sys->unlinkat(b->to.segments_fd, temp, 0);
	return r < 0 ? r : !gone;
}

/* Return: 1, 0 it is gone, or an error, which is logged. */
static int copy_segment(struct backup *b, uint32_t number)
{
	char name[NAME_BYTES];
	struct stat st;
	int in;
	int r;

	(void)snprintf(name, sizeof(name), "segments/%08" PRIu32 ".seg",
		       number);
	b->read_failed = true;
	r = segment_file_open(&b->from, number, &in);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return backup_failed(&b->from, name, r);
	r = b->sys->fstat(in, &st);
	if (r == 0 && is_copied(b, number, &st)) {
		b->same++;
		b->bytes_same += (uint64_t)st.st_size;
		r = 1;
	} else if (r == 0) {
		b->read_failed = false;
		r = replace_segment(b, in, number, &st);
		b->copied += r == 1;
	}
	sys_close(b->sys, &in);
	return r < 0 ? backup_failed(b->read_failed ? &b->from : &b->to, name,
				     r)
		     : r;
}

/* Return: 1, 0 something was gone, or an error. */
static int copy_list(struct backup *b, const uint32_t *numbers, size_t count)
{
	bool gone = false;
	size_t i;
	int r;

	b->same = 0;
	b->bytes_same = 0;
	b->unread = 0;
	for (i = 0; i < count; i++) {
		r = copy_segment(b, numbers[i]);
		if (r < 0 && !b->read_failed)
			return r;
		b->unread += r < 0;
		gone = gone || r == 0;
	}
	/* What is removed next may have been moved into these. */
	r = b->sys->fsync(b->to.segments_fd);
	if (r < 0)
		return backup_failed(&b->to, "segments", r);
	return !gone;
}

/* Both lists are in ascending order. */
static int remove_others(struct backup *b, const uint32_t *numbers,
			 size_t count)
{
	uint32_t *have = NULL;
	size_t have_count = 0;
	size_t at = 0;
	size_t i;
	int r;

	r = segment_file_list(&b->to, &have, &have_count);
	for (i = 0; r == 0 && i < have_count; i++) {
		while (at < count && numbers[at] < have[i])
			at++;
		if (at < count && numbers[at] == have[i])
			continue;
		r = segment_file_unlink(&b->to, have[i]);
		b->removed += r == 0;
	}
	free(have);
	return r < 0 ? backup_failed(&b->to, "segments", r) : 0;
}

int backup_segments(struct backup *b)
{
	uint32_t *numbers = NULL;
	size_t count = 0;
	unsigned int i;
	int r = 0;

	segment_file_tidy(&b->to);
	for (i = 0; i < PASSES_MAX && r == 0; i++) {
		free(numbers);
		numbers = NULL;
		r = segment_file_list(&b->from, &numbers, &count);
		if (r < 0)
			return backup_failed(&b->from, "segments", r);
		r = copy_list(b, numbers, count);
	}
	if (r == 1)
		r = remove_others(b, numbers, count);
	else if (r == 0)
		r = backup_failed(&b->from, "segments", -EBUSY);
	free(numbers);
	return r;
}
