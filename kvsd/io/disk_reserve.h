/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file of nothing (DIR/reserve) that is given up when the disk is full, so
 * that the index can still be brought up to date, deletions can be recorded
 * (which is what makes room again) and the service can start. One thread.
 */
#ifndef IO_DISK_RESERVE_H
#define IO_DISK_RESERVE_H

#include <stdbool.h>

#include "io/data_dir.h"

struct disk_reserve {
	const struct data_dir *dir;
	bool held;
};

/* One of an earlier process is taken over; none is made. */
void disk_reserve_init(struct disk_reserve *r, const struct data_dir *d);
/*
 * Makes one if there is none: of INDEX_RESERVE_BYTES_MAX, or less down to
 * INDEX_RESERVE_BYTES_MIN when the disk has no more. Quietly without it when
 * there is not that much, or the filesystem cannot reserve.
 */
void disk_reserve_make(struct disk_reserve *r);
/* Gives it up. Return: whether there was one. */
bool disk_reserve_release(struct disk_reserve *r);

#endif
