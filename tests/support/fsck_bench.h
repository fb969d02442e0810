/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory with fragments in some segments, and what `kvsd fsck` says of
 * it: what the tests of fsck share. For cmocka: what fails here fails the
 * test; the state is a struct store_rig.
 */
#ifndef SUPPORT_FSCK_BENCH_H
#define SUPPORT_FSCK_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "io/store_fsck.h"
#include "proto/segment.h"
#include "support/store_rig.h"

/* Fragments 1 and so on of two streams in turn, each 10 s from 0 on. */
#define FSCK_FRAGMENTS 40
#define FSCK_BYTES 100000
/* Those of a service that was killed. */
#define FSCK_NEW 5u
#define FSCK_NEW_SEQ 100u
#define FSCK_NEW_MS 1000000u
#define FSCK_TOLD_BYTES 4096u

/* Lines of the last fsck. */
extern char fsck_told[FSCK_TOLD_BYTES];

/* The directory is not in use after it. */
int fsck_bench_setup(void **state);
int fsck_bench_teardown(void **state);

/* With keys of the two streams; only with @repair it may write or sync. */
struct fsck_result fsck_check(struct store_rig *rig, enum fsck_level level,
			      bool repair);
/* Fragments that a start finds: all but @lost (0: none), bit-exact. */
void fsck_expect(struct store_rig *rig, int count, uint64_t lost);
void fsck_repair_and_expect(struct store_rig *rig, int count, uint64_t lost);

/*
 * A process that uses all of it, and is killed: fragments FSCK_NEW_SEQ and so
 * on of @stream, each 20 s from FSCK_NEW_MS on. The last have no row yet.
 */
void fsck_be_killed(struct store_rig *rig, unsigned int stream,
		    unsigned int count);

/* For reading and writing; the caller closes it. */
int fsck_open_segment(const struct store_rig *rig, unsigned int number);
/* The @nth record of that kind of a fragment. Return: its segment. */
uint32_t fsck_find_record(const struct store_rig *rig, uint64_t seq,
			  enum segment_kind kind, int nth, off_t *ret_at);
/* A bit in the payload of the first of them is another. */
void fsck_flip(const struct store_rig *rig, uint64_t seq,
	       enum segment_kind kind);

#endif
