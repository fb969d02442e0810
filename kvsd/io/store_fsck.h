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
	/* Each fragment that has a row, and whether it verifies. May be NULL. */
	void (*row)(void *ctx, const struct store_fragment *f, bool sound);
	void *row_ctx;
};

struct fsck_result {
	uint64_t segments;
	uint64_t fragments; /* rows checked */
	uint64_t bytes;	    /* of media in them */
	uint64_t problems;  /* told */
	uint64_t set_aside; /* .bad files: told, no problem any more */
	uint64_t set_aside_bytes;
	uint64_t new_segments;	 /* files without a row: the next start's */
	uint64_t dead_fragments; /* of streams that are gone: likewise */
};

/**
 * store_fsck() - check; changes nothing
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
