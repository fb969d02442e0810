/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replay: which fragments of a segment are real.
 *
 * Records are read from a block on; what does not belong there (another
 * generation, another block, a bad CRC) is left out: behind what a power cut
 * tore nothing was acknowledged, but behind what is damaged all may be. A
 * COMMIT record counts when each page that it lists is there with a good CRC
 * and is the page it should be; with the stream's key, also when all tags
 * verify. Everything here blocks.
 */
#ifndef IO_SEGMENT_REPLAY_H
#define IO_SEGMENT_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "core/store.h"
#include "io/data_dir.h"
#include "proto/segment.h"

/*
 * Looks a stream's key up. Return: 0; -ENOENT (no such stream: its fragments
 * are dead); another error: not known now, tags are not checked.
 */
typedef int find_key_fn(void *ctx, const uint8_t id[STREAM_ID_BYTES],
			uint8_t ret_key[DATA_KEY_BYTES]);

struct segment_replay {
	const struct data_dir *dir;
	find_key_fn *find_key;	/* may be NULL: tags are not checked */
	void *find_key_ctx;
	/* Which generation segment @number has. Return: 0, -ENOENT. */
	int (*generation)(void *ctx, uint32_t number,
			  uint8_t ret_generation[SEGMENT_ID_BYTES]);
	/* A real fragment. @mark: the block after its commit record. */
	int (*found)(void *ctx, const struct store_fragment *f,
		     uint32_t first_segment, uint32_t mark);
	void *ctx;
	bool salvage;	/* nothing is known of what is on disk: see below */
	uint64_t dropped;	/* commit records that did not count */
	/*
	 * Of the last run: fragments found; something did not verify; with
	 * salvage, pages of a fragment cannot be read.
	 */
	uint64_t found_count;
	bool damaged;
	bool unread;
	/* The rest belongs to the replay. */
	uint8_t *record;
	uint8_t *page;
	uint32_t page_segment;
	int page_fd;
	uint8_t page_generation[SEGMENT_ID_BYTES];
};

/* The callbacks are set. Return: 0, -ENOMEM. */
int segment_replay_init(struct segment_replay *r) MUST_CHECK;
void segment_replay_fini(struct segment_replay *r);

/**
 * segment_replay_run() - replay one segment
 * @mark: the block to begin at
 * @ret_end: the block after the last record that belongs to the segment
 * @ret_torn: whether records of the segment follow after a gap, from writes
 *	that a power cut left behind in part, or because something is damaged;
 *	with salvage, whether anything at all does
 *
 * Return: 0; an error of a callback or a system call (then nothing is known
 * about the rest of the segment).
 */
int segment_replay_run(struct segment_replay *r, uint32_t number,
		       uint32_t mark, uint32_t *ret_end,
		       bool *ret_torn) MUST_CHECK;

/*
 * What a replay has read of a segment is on disk: what a killed process had
 * under way may have landed after the sync that each run begins with.
 */
int segment_replay_sync(struct segment_replay *r, uint32_t number) MUST_CHECK;

/*
 * Of what cannot be replayed now: the first segment that has pages of a
 * fragment whose commit record is in @number, behind @mark; @number where it
 * is none before. Nothing is verified but the commit records. Return: 0;
 * -errno of the first call that fails: then it is not known.
 */
int segment_replay_first(struct segment_replay *r, uint32_t number,
			 const uint8_t generation[SEGMENT_ID_BYTES],
			 uint32_t mark, uint32_t *ret_first) MUST_CHECK;

/* What segment_replay_look() sees, in order. Under 0 ends it. */
struct segment_look {
	/* A commit record as it is: its pages were not looked at. */
	int (*commit)(void *ctx, const struct store_fragment *f,
		      uint32_t first_segment);
	/*
	 * No record, with others behind it: torn or damaged. Not called for
	 * what still says that it is a page: its commit record tells.
	 */
	int (*gap)(void *ctx, uint32_t block);
	void *ctx;
};

/**
 * segment_replay_look() - as segment_replay_run(), without verifying
 *
 * Nothing is synced either: this is for who only reads. What it calls may use
 * segment_replay_check(). Return: as segment_replay_run().
 */
int segment_replay_look(struct segment_replay *r, uint32_t number,
			uint32_t mark,
			const struct segment_look *look) MUST_CHECK;

enum segment_check_depth {
	SEGMENT_CHECK_COMMIT,	/* the commit record is what the row says */
	SEGMENT_CHECK_PAGES,	/* and its pages are there, by CRC */
	SEGMENT_CHECK_TAGS,	/* and by tag, where the key is known */
};

/**
 * segment_replay_check() - compare a row with what is on disk
 *
 * Return: 0; -EBADMSG (damaged or missing); -ENOENT (its stream is gone);
 * -errno.
 */
int segment_replay_check(struct segment_replay *r,
			 const struct store_fragment *f,
			 uint32_t first_segment,
			 enum segment_check_depth depth) MUST_CHECK;

struct crypto_aead;

/* Takes a fragment apart. What they return under 0 ends the copying. */
struct segment_sink {
	/* @bytes: plaintext, which may be written to. */
	int (*page)(void *ctx, struct crypto_aead *key, uint8_t *bytes,
		    uint32_t len, uint32_t page, bool last);
	int (*commit)(void *ctx, struct crypto_aead *key,
		      const struct segment_commit *c);
	void *ctx;
};

/**
 * segment_replay_copy() - hand a verified fragment to a sink, page by page
 *
 * Return: as segment_replay_check() with tags; -ENOKEY (find_key knows none);
 * what the sink returned.
 */
int segment_replay_copy(struct segment_replay *r,
			const struct store_fragment *f,
			const struct segment_sink *sink) MUST_CHECK;

#endif
