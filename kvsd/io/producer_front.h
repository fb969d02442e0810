/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of a frame before it is stored, for the producer and for the
 * recorder: tracks are checked, Annex B is taken apart, codec privates are
 * found, the fragmenter is asked. The caller's lock, or its one thread.
 */
#ifndef IO_PRODUCER_FRONT_H
#define IO_PRODUCER_FRONT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvs/producer.h>

#include "base/buf.h"
#include "base/macros.h"
#include "core/au.h"
#include "core/fragmenter.h"

struct producer_front_config {
	const struct kvs_track *tracks;
	size_t track_count;
	uint64_t fragment_ms;	/* 0 = FRAGMENT_MS_DEFAULT */
	uint64_t interleave_ms;	/* 0 = INTERLEAVE_MS_DEFAULT */
};

/* Zeroed before producer_front_init(), which may then fail. */
struct producer_front {
	enum kvs_payload payload[KVS_TRACKS_MAX];
	size_t track_count;
	struct fragmenter *fragmenter;
	struct au au;		/* of the frame being prepared */
	struct buf private;
};

/* Words for kvs_config_error(). Return: -EINVAL. */
int producer_wrong(const char *fmt, ...) PRINTF(1, 2);
/* No words. */
void producer_right(void);

/* Return: 0, -EINVAL with words. */
int producer_front_check(const struct producer_front_config *c) MUST_CHECK;

/* @c was checked. Return: 0, -ENOMEM. */
int producer_front_init(struct producer_front *f,
			const struct producer_front_config *c) MUST_CHECK;
/* Also of a zeroed one. */
void producer_front_fini(struct producer_front *f);

/* Whether the fields are in range. */
bool producer_front_takes(const struct producer_front *f,
			  const struct kvs_frame *frame);

/*
 * f->au says where the bytes to store are, and whether it is a key frame; the
 * fragmenter knows its codec private. Return: 0, -EBADMSG, -EMSGSIZE, -ENOMEM.
 */
int producer_front_prepare(struct producer_front *f,
			   const struct kvs_frame *frame) MUST_CHECK;

/* fragmenter_check() of the prepared frame. */
int producer_front_allows(struct producer_front *f,
			  const struct kvs_frame *frame) MUST_CHECK;

#endif
