/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segment files of a data directory. A file appears under its name only when
 * its space is reserved and its first record is on disk, together with its
 * directory entry: an NNNNNNNN.seg without a valid START record is damaged.
 * Everything here blocks.
 */
#ifndef IO_SEGMENT_FILE_H
#define IO_SEGMENT_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "io/data_dir.h"
#include "proto/segment.h"

#define SEGMENT_FIRST_BLOCK 1u	/* after the START record */

/**
 * segment_file_create() - make a segment and reserve its space
 * @spare: in: a spare that becomes it, 0: none; out: 0 if there is none, or
 *	none that could be used. It is gone in any case
 * @bytes: wanted; where the disk has less room, a quarter of it, and so on
 *	down to SEGMENT_BYTES_MIN
 * @direct: try O_DIRECT; quietly without where the filesystem refuses
 * @ret_fd: for writing; the caller closes it
 *
 * Return: 0, -ENOSPC, or of a system call; nothing is left behind then.
 */
int segment_file_create(const struct data_dir *d, uint32_t number,
			uint32_t *spare, uint64_t bytes, bool direct,
			uint8_t ret_generation[SEGMENT_ID_BYTES],
			uint64_t *ret_bytes, int *ret_fd) MUST_CHECK;
/* For reading through the page cache. */
int segment_file_open(const struct data_dir *d, uint32_t number,
		      int *ret_fd) MUST_CHECK;
/* Gives what is reserved from @bytes on back. */
int segment_file_truncate(const struct data_dir *d, uint32_t number,
			  uint64_t bytes) MUST_CHECK;
/* Gone, once names are synced; 0 also when it was gone before. */
int segment_file_remove(const struct data_dir *d, uint32_t number) MUST_CHECK;
/*
 * What was made, removed and renamed is so durably. After a failure it is not
 * known, whatever a second call says: the kernel tells of it once.
 */
int segment_file_sync_names(const struct data_dir *d) MUST_CHECK;
/* Both of them. */
int segment_file_unlink(const struct data_dir *d, uint32_t number) MUST_CHECK;

/*
 * A spare is a file that was a segment's, NNNNNNNN.old: its room is reserved,
 * and becomes another segment's. No segment any more, once names are synced;
 * what is in it stays until it is cleared. Return: 0, or an errno: it is one
 * still.
 */
int segment_file_spare(const struct data_dir *d, uint32_t number) MUST_CHECK;
/*
 * Nothing in it can be read any more, by whoever has it open neither.
 * Return: 0; -EMLINK (it has another name: a copy somebody made, which stays as
 * it is); -EOPNOTSUPP (the filesystem cannot); or of a system call.
 */
int segment_file_spare_clear(const struct data_dir *d, uint32_t number,
			     uint64_t *ret_bytes) MUST_CHECK;
/* Unlinks it; what stays is removed by the next start. */
void segment_file_spare_drop(const struct data_dir *d, uint32_t number);

/**
 * segment_file_check() - read and judge a file's START record
 *
 * Return: 0; -EBADMSG (damaged); -EMEDIUMTYPE (another directory's); -ESTALE
 * (of this one, but another number's); or of a system call.
 */
int segment_file_check(const struct data_dir *d, uint32_t number, int fd,
		       uint8_t ret_generation[SEGMENT_ID_BYTES]) MUST_CHECK;

/**
 * segment_file_mend() - write a damaged START record again
 *
 * The generation is that of the first whole record behind it. Return: 0;
 * -ENODATA (there is none: nothing to mend it for); or of a system call.
 */
int segment_file_mend(const struct data_dir *d, uint32_t number) MUST_CHECK;

/**
 * segment_file_list() - the numbers of all segments, ascending
 * @ret_numbers: heap, the caller frees it
 *
 * Return: 0, -ENOMEM, -EOVERFLOW (more than SEGMENTS_MAX), or an errno.
 */
int segment_file_list(const struct data_dir *d, uint32_t **ret_numbers,
		      size_t *ret_count) MUST_CHECK;
/* As above: those that were set aside. */
int segment_file_list_bad(const struct data_dir *d, uint32_t **ret_numbers,
			  size_t *ret_count) MUST_CHECK;
/* What a segment, or one that was set aside, takes on disk. */
int segment_file_bytes(const struct data_dir *d, uint32_t number, bool bad,
		       uint64_t *ret_bytes) MUST_CHECK;
/* As above, of one that is open; its size where that cannot be had. */
uint64_t segment_file_bytes_of(const struct data_dir *d, int fd, uint64_t size);
/* Removes what interrupted creations left behind, and spares; what stays is
 * logged. */
void segment_file_tidy(const struct data_dir *d);
/* Renames a segment to NNNNNNNN.bad: kept, but not looked at any more. */
int segment_file_set_aside(const struct data_dir *d,
			   uint32_t number) MUST_CHECK;

/* Reads all of @len bytes, fewer only at the file's end. */
int segment_file_read(const struct data_dir *d, int fd, uint8_t *bytes,
		      size_t len, uint64_t offset, size_t *ret_len) MUST_CHECK;

#endif
