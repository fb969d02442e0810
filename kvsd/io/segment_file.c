/* SPDX-License-Identifier: Apache-2.0 */
#include "io/segment_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/parse.h"
#include "core/limits.h"

#define NAME_BYTES 24
#define NAME_DIGITS_MIN 8u
#define TAIL ".seg"
#define TAIL_NEW ".tmp"
#define TAIL_BAD ".bad"
#define TAIL_SPARE ".old"

static void file_name(char out[NAME_BYTES], uint32_t number, const char *tail)
{
	(void)snprintf(out, NAME_BYTES, "%08" PRIu32 "%s", number, tail);
}

static int reserve(const struct sys_ops *sys, int fd, uint64_t bytes)
{
	int r = sys->fallocate(fd, 0, 0, (off_t)bytes);

	/* Not every filesystem can; a full disk is then met when writing. */
	return r == -EOPNOTSUPP ? sys->ftruncate(fd, (off_t)bytes) : r;
}

/* On a disk that is nearly full a smaller segment is better than none. */
static int reserve_some(const struct sys_ops *sys, int fd, uint64_t *bytes)
{
	int r = reserve(sys, fd, *bytes);

	while (r == -ENOSPC && *bytes / 4 >= SEGMENT_BYTES_MIN) {
		*bytes = *bytes / 4 / SEGMENT_BLOCK_BYTES * SEGMENT_BLOCK_BYTES;
		/* What the attempt took is given back first. */
		r = sys->ftruncate(fd, 0);
		if (r == 0)
			r = reserve(sys, fd, *bytes);
	}
	return r;
}

static int write_start(const struct data_dir *d, int fd, uint32_t number,
		       const uint8_t generation[SEGMENT_ID_BYTES])
{
	static const uint8_t no_tag[SEGMENT_TAG_BYTES];
	struct segment_record record = {
		.kind = SEGMENT_START,
		.payload_bytes = SEGMENT_START_BYTES,
	};
	struct segment_start start = { .number = number };
	uint8_t *block;
	ssize_t n;

	block = aligned_alloc(SEGMENT_BLOCK_BYTES, SEGMENT_BLOCK_BYTES);
	if (!block)
		return -ENOMEM;
	memcpy(record.generation, generation, SEGMENT_ID_BYTES);
	memcpy(start.directory_id, d->id, SEGMENT_ID_BYTES);
	segment_record_begin(block, &record);
	segment_start_encode(block + SEGMENT_HEADER_BYTES, &start);
	segment_record_end(block, no_tag);
	n = d->sys->pwrite(fd, block, SEGMENT_BLOCK_BYTES, 0);
	free(block);
	if (n < 0)
		return (int)n;
	return n == (ssize_t)SEGMENT_BLOCK_BYTES ? d->sys->fsync(fd) : -EIO;
}

#define NEW_FLAGS (O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC)

static int open_file(const struct data_dir *d, const char *name, int flags,
		     bool direct)
{
	int fd = -EINVAL;

	if (direct)
		fd = d->sys->openat(d->segments_fd, name, flags | O_DIRECT,
				    0600);
	if (fd == -EINVAL)
		fd = d->sys->openat(d->segments_fd, name, flags, 0600);
	return fd;
}

/* Through another name of it somebody would find zeros. */
static int has_one_name(const struct sys_ops *sys, int fd, uint64_t *ret_bytes)
{
	struct stat st;
	int r = sys->fstat(fd, &st);

	if (r < 0)
		return r;
	*ret_bytes = (uint64_t)st.st_size;
	return st.st_nlink > 1 ? -EMLINK : 0;
}

/*
 * A spare's room, empty, under @name. Return: a descriptor, or an errno: the
 * spare is gone then.
 *
 * What was in it is zeroed again, though it was when it became a spare: here
 * it is what the segment rests on, as replay, backup and the end of an open
 * segment take a block that was not written for an empty one. It has to be
 * durable before the file has a segment's name, or a power cut could bring
 * the past back into it: the fsync() of the START record, on the same file
 * and before the rename, is the one that makes it so.
 */
static int open_spare(const struct data_dir *d, uint32_t spare,
		      const char *name, uint64_t bytes, bool direct)
{
	const struct sys_ops *sys = d->sys;
	char old[NAME_BYTES];
	uint64_t was;
	int fd;
	int r;

	file_name(old, spare, TAIL_SPARE);
	r = sys->renameat(d->segments_fd, old, d->segments_fd, name);
	if (r < 0) {
		segment_file_spare_drop(d, spare);
		return r;
	}
	fd = open_file(d, name, O_RDWR | O_CLOEXEC, direct);
	r = fd < 0 ? fd : has_one_name(sys, fd, &was);
	/* To the size that is wanted, from either side. */
	if (r == 0)
		r = sys->fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, (off_t)bytes);
	if (r == 0)
		r = sys->ftruncate(fd, (off_t)bytes);
	if (r == 0)
		return fd;
	sys_close(sys, &fd);
	/* What is made instead needs its room, and is another file. */
	(void)sys->unlinkat(d->segments_fd, name, 0);
	return r;
}

int segment_file_create(const struct data_dir *d, uint32_t number,
			uint32_t *spare, uint64_t bytes, bool direct,
			uint8_t ret_generation[SEGMENT_ID_BYTES],
			uint64_t *ret_bytes, int *ret_fd)
{
	uint8_t generation[SEGMENT_ID_BYTES];
	char temp[NAME_BYTES];
	char name[NAME_BYTES];
	int fd = -ENOENT;
	int r;

	file_name(temp, number, TAIL_NEW);
	file_name(name, number, TAIL);
	r = d->sys->getrandom(generation, sizeof(generation));
	if (r < 0) {
		if (*spare)
			segment_file_spare_drop(d, *spare);
		return r;
	}
	if (*spare)
		fd = open_spare(d, *spare, temp, bytes, direct);
	if (fd < 0) {
		*spare = 0;
		fd = open_file(d, temp, NEW_FLAGS, direct);
		if (fd < 0)
			return fd;
		r = reserve_some(d->sys, fd, &bytes);
	}
	if (r == 0)
		r = write_start(d, fd, number, generation);
	if (r == 0)
		r = d->sys->renameat(d->segments_fd, temp, d->segments_fd,
				     name);
	if (r == 0) {
		r = d->sys->fsync(d->segments_fd);
		if (r == 0) {
			memcpy(ret_generation, generation, sizeof(generation));
			*ret_bytes = bytes;
			*ret_fd = fd;
			return 0;
		}
		(void)d->sys->unlinkat(d->segments_fd, name, 0); /* unused */
	}
	sys_close(d->sys, &fd);
	(void)d->sys->unlinkat(d->segments_fd, temp, 0); /* or at next start */
	return r;
}

int segment_file_open(const struct data_dir *d, uint32_t number, int *ret_fd)
{
	char name[NAME_BYTES];
	int fd;

	file_name(name, number, TAIL);
	fd = d->sys->openat(d->segments_fd, name, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 0;
}

int segment_file_truncate(const struct data_dir *d, uint32_t number,
			  uint64_t bytes)
{
	char name[NAME_BYTES];
	int fd;
	int r;

	file_name(name, number, TAIL);
	fd = d->sys->openat(d->segments_fd, name, O_RDWR | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	r = d->sys->ftruncate(fd, (off_t)bytes);
	sys_close(d->sys, &fd);
	return r;
}

int segment_file_remove(const struct data_dir *d, uint32_t number)
{
	char name[NAME_BYTES];
	int r;

	file_name(name, number, TAIL);
	r = d->sys->unlinkat(d->segments_fd, name, 0);
	return r == -ENOENT ? 0 : r;
}

int segment_file_sync_names(const struct data_dir *d)
{
	return d->sys->fsync(d->segments_fd);
}

int segment_file_unlink(const struct data_dir *d, uint32_t number)
{
	int r = segment_file_remove(d, number);

	return r < 0 ? r : segment_file_sync_names(d);
}

/* --- spares --- */

int segment_file_spare(const struct data_dir *d, uint32_t number)
{
	char name[NAME_BYTES];
	char spare[NAME_BYTES];

	file_name(name, number, TAIL);
	file_name(spare, number, TAIL_SPARE);
	return d->sys->renameat(d->segments_fd, name, d->segments_fd, spare);
}

int segment_file_spare_clear(const struct data_dir *d, uint32_t number,
			     uint64_t *ret_bytes)
{
	const struct sys_ops *sys = d->sys;
	char spare[NAME_BYTES];
	uint64_t bytes;
	int fd;
	int r;

	file_name(spare, number, TAIL_SPARE);
	fd = sys->openat(d->segments_fd, spare, O_RDWR | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	r = has_one_name(sys, fd, &bytes);
	if (r == 0)
		r = sys->fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, (off_t)bytes);
	if (r == 0)
		*ret_bytes = segment_file_bytes_of(d, fd, bytes);
	sys_close(sys, &fd);
	return r;
}

void segment_file_spare_drop(const struct data_dir *d, uint32_t number)
{
	char spare[NAME_BYTES];
	int r;

	file_name(spare, number, TAIL_SPARE);
	r = d->sys->unlinkat(d->segments_fd, spare, 0);
	if (r < 0 && r != -ENOENT)
		log_warn("store", "%s stays, until the next start: %s", spare,
			 strerror(-r));
}

int segment_file_read(const struct data_dir *d, int fd, uint8_t *bytes,
		      size_t len, uint64_t offset, size_t *ret_len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = d->sys->pread(fd, bytes + done, len - done,
					  (off_t)(offset + done));

		if (n < 0)
			return (int)n;
		if (!n)
			break;
		done += (size_t)n;
	}
	*ret_len = done;
	return 0;
}

int segment_file_check(const struct data_dir *d, uint32_t number, int fd,
		       uint8_t ret_generation[SEGMENT_ID_BYTES])
{
	uint8_t block[SEGMENT_BLOCK_BYTES];
	struct segment_record record;
	struct segment_start start;
	size_t len = 0;
	int r;

	r = segment_file_read(d, fd, block, sizeof(block), 0, &len);
	if (r < 0)
		return r;
	if (segment_record_parse(block, len, &record) < 0 ||
	    record.kind != SEGMENT_START ||
	    segment_start_parse(block + SEGMENT_HEADER_BYTES,
				record.payload_bytes, &start) < 0)
		return -EBADMSG;
	if (memcmp(start.directory_id, d->id, sizeof(d->id)))
		return -EMEDIUMTYPE;
	if (start.number != number)
		return -ESTALE;
	memcpy(ret_generation, record.generation, SEGMENT_ID_BYTES);
	return 0;
}

/* The generation of the first whole record after the START record. */
static int find_generation(const struct data_dir *d, int fd, uint8_t *bytes,
			   uint8_t ret_generation[SEGMENT_ID_BYTES])
{
	struct segment_record record;
	uint32_t block;
	uint64_t at;
	size_t len = 0;
	int r;

	for (block = SEGMENT_FIRST_BLOCK;; block++) {
		at = (uint64_t)block * SEGMENT_BLOCK_BYTES;
		r = segment_file_read(d, fd, bytes, SEGMENT_BLOCK_BYTES, at,
				      &len);
		if (r < 0 || len < SEGMENT_BLOCK_BYTES)
			return r < 0 ? r : -ENODATA;
		if (segment_header_parse(bytes, &record) < 0 ||
		    record.block != block)
			continue;
		r = segment_file_read(d, fd, bytes, SEGMENT_RECORD_BYTES_MAX,
				      at, &len);
		if (r < 0)
			return r;
		if (segment_record_parse(bytes, len, &record) < 0 ||
		    record.kind == SEGMENT_START || record.block != block)
			continue;
		memcpy(ret_generation, record.generation, SEGMENT_ID_BYTES);
		return 0;
	}
}

int segment_file_mend(const struct data_dir *d, uint32_t number)
{
	uint8_t generation[SEGMENT_ID_BYTES];
	char name[NAME_BYTES];
	uint8_t *bytes;
	int fd;
	int r;

	bytes = malloc(SEGMENT_RECORD_BYTES_MAX);
	if (!bytes)
		return -ENOMEM;
	file_name(name, number, TAIL);
	fd = d->sys->openat(d->segments_fd, name, O_RDWR | O_CLOEXEC, 0);
	r = fd;
	if (fd >= 0) {
		r = find_generation(d, fd, bytes, generation);
		if (r == 0)
			r = write_start(d, fd, number, generation);
		sys_close(d->sys, &fd);
	}
	free(bytes);
	return r < 0 ? r : 0;
}

int segment_file_set_aside(const struct data_dir *d, uint32_t number)
{
	char name[NAME_BYTES];
	char bad[NAME_BYTES];
	int r;

	file_name(name, number, TAIL);
	file_name(bad, number, TAIL_BAD);
	r = d->sys->renameat(d->segments_fd, name, d->segments_fd, bad);
	return r < 0 ? r : d->sys->fsync(d->segments_fd);
}

uint64_t segment_file_bytes_of(const struct data_dir *d, int fd, uint64_t size)
{
	struct stat st;

	/* Blocks of 512 bytes, whatever the filesystem's are. */
	return d->sys->fstat(fd, &st) < 0 ? size : (uint64_t)st.st_blocks * 512;
}

int segment_file_bytes(const struct data_dir *d, uint32_t number, bool bad,
		       uint64_t *ret_bytes)
{
	char name[NAME_BYTES];
	int fd;

	file_name(name, number, bad ? TAIL_BAD : TAIL);
	fd = d->sys->openat(d->segments_fd, name, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	*ret_bytes = segment_file_bytes_of(d, fd, 0);
	sys_close(d->sys, &fd);
	return 0;
}

/* --- listing --- */

struct listing {
	const struct data_dir *dir;
	const char *tail;
	uint32_t *numbers;
	size_t count;
	size_t size;
};

static int listing_add(struct listing *l, uint32_t number)
{
	if (l->count == SEGMENTS_MAX)
		return -EOVERFLOW;
	if (l->count == l->size) {
		size_t size = l->size ? 2 * l->size : 64;
		uint32_t *p = realloc(l->numbers, size * sizeof(*p));

		if (!p)
			return -ENOMEM;
		l->numbers = p;
		l->size = size;
	}
	l->numbers[l->count++] = number;
	return 0;
}

static int list_name(void *ctx, const char *name)
{
	struct listing *l = ctx;
	size_t digits = strspn(name, "0123456789");
	char again[NAME_BYTES];
	uint64_t number;

	if (strcmp(name + digits, l->tail) || digits < NAME_DIGITS_MIN ||
	    parse_u64(name, digits, UINT32_MAX, &number) < 0)
		return 0; /* not ours: left alone */
	file_name(again, (uint32_t)number, l->tail);
	return strcmp(again, name) ? 0 : listing_add(l, (uint32_t)number);
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int list_files(const struct data_dir *d, const char *tail,
		      uint32_t **ret_numbers, size_t *ret_count)
{
	struct listing l = {.dir = d, .tail = tail};
	int r;

	r = data_dir_list(d->sys, d->segments_fd, list_name, &l);
	if (r < 0) {
		free(l.numbers);
		return r;
	}
	if (l.count)
		qsort(l.numbers, l.count, sizeof(*l.numbers), by_number);
	*ret_numbers = l.numbers;
	*ret_count = l.count;
	return 0;
}

int segment_file_list(const struct data_dir *d, uint32_t **ret_numbers,
		      size_t *ret_count)
{
	return list_files(d, TAIL, ret_numbers, ret_count);
}

int segment_file_list_bad(const struct data_dir *d, uint32_t **ret_numbers,
			  size_t *ret_count)
{
	return list_files(d, TAIL_BAD, ret_numbers, ret_count);
}

static void remove_all(const struct data_dir *d, const char *tail,
		       const char *what)
{
	char name[NAME_BYTES];
	uint32_t *numbers;
	size_t count;
	size_t i;
	int r;

	r = list_files(d, tail, &numbers, &count);
	if (r < 0)
		return;
	for (i = 0; i < count; i++) {
		file_name(name, numbers[i], tail);
		r = d->sys->unlinkat(d->segments_fd, name, 0);
		if (r < 0)
			log_warn("store", "the %s %s stays: %s", what, name,
				 strerror(-r));
		else
			log_info("store", "removed the %s %s", what, name);
	}
	free(numbers);
}

void segment_file_tidy(const struct data_dir *d)
{
	remove_all(d, TAIL_NEW, "unfinished");
	remove_all(d, TAIL_SPARE, "spare");
}
