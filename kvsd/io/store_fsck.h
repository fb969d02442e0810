/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks a directory's index and segments against each other, and makes the
 * index again from the segments. Nothing else has the directory open: the
 * caller holds its lock. Everything here blocks.
 */
#ifndef IO_STORE_FSCK_H
#define IO_STORE_FSCK_H

#include <stdint.h>

#include "base/macros.h"
#include "core/store.h"
#include "io/data_dir.h"

enum fsck_level {
	FSCK_STRUCTURE, /* identities, rows, commit records, counts */
	FSCK_CHECKSUMS, /* and the CRC of each page that a row needs */
	FSCK_MEDIA,	/* and its tag, with the stream's key */
};

struct fsck_config {
	const struct data_dir *dir;
	enum fsck_level level;
	/* As store_local_config.find_key; may be NULL. */
	int (*find_key)(void *ctx, const uint8_t id[STREAM_ID_BYTES],
			uint8_t ret_key[DATA_KEY_BYTES]);
	void *find_key_ctx;
	/* One line per thing that is wrong, without its end. */
	void (*tell)(void *ctx, const char *text);
	void *tell_ctx;
	/*
	 * Each fragment that has a row, or will have one when the commit
	 * records that the index has not seen are replayed, and those of them
	 * that are damaged: whether it verifies. May be NULL.
	 */
	void (*row)(void *ctx, const struct store_fragment *f, bool sound);
	void *row_ctx;
};

struct fsck_result {
	uint64_t segments;
	uint64_t fragments; /* checked, with a row or without one yet */
	uint64_t bytes;	    /* of media in them */
	uint64_t problems;  /* told */
	uint64_t set_aside; /* .bad files: told, no problem any more */
	uint64_t set_aside_bytes;
	uint64_t new_segments;	 /* files without a row: the next start's */
	uint64_t new_fragments;	 /* whole, without a row: likewise */
	uint64_t dead_fragments; /* of streams that are gone: likewise */
	/*
	 * Commit records without their pages, and with nothing whole behind
	 * them in their segment, that have no row: none of the above.
	 */
	uint64_t torn_fragments;
};

/**
 * store_fsck() - check; changes nothing
 *
 * Rows lag behind what was acknowledged: after them come the commit records
 * behind the mark of each segment that is open, and those of files without a
 * row. There a commit record counts with its pages only, whatever the level:
 * a torn write may have left it alone. What is not whole is damaged when
 * something whole follows it in its segment, or begins there and goes on in
 * the next, else it is torn. (A power cut in the write of several fragments
 * may leave the first of them torn and the last whole: that is told as
 * damage, as a start does.)
 *
 * Return: 0 (also with problems: they are counted), or why it could not be
 * checked: -EIO, -ENOMEM and the like.
 */
int store_fsck(const struct fsck_config *config,
	       struct fsck_result *ret_result) MUST_CHECK;

/**
 * store_fsck_repair() - make the index again from the segments
 *
 * As a start without an index does it: START records that are damaged are
 * written again, a segment of which nothing verifies is set aside. Fragments
 * that do not verify get no row; what expired, but is still on disk, gets one
 * until the next expiry. Return: 0, or as store_local_open() and -EIO where a
 * segment cannot be read: then the index is what it was.
 */
int store_fsck_repair(const struct fsck_config *config) MUST_CHECK;

#endif
