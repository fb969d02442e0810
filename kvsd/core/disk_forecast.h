/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a disk will be full, from what is used of it once a minute. It speaks
 * when less than a day, six hours and one hour are left, once each, and again
 * only after there was twice as much.
 */
#ifndef CORE_DISK_FORECAST_H
#define CORE_DISK_FORECAST_H

#include <stdbool.h>
#include <stdint.h>

#define DISK_FORECAST_MINUTES 60u /* that the rate is taken from */
#define DISK_FORECAST_MINUTES_MIN 10u

/* All zero at the beginning. */
struct disk_forecast {
	uint64_t used[DISK_FORECAST_MINUTES + 1]; /* a ring */
	uint64_t count;				  /* samples so far */
	unsigned int level;			  /* that was told */
};

/**
 * disk_forecast_add() - a minute later
 * @used: bytes
 * @room: bytes that are left
 * @ret_minutes: until they are used up, at the rate of the last hour
 *
 * Return: whether to tell.
 */
bool disk_forecast_add(struct disk_forecast *f, uint64_t used, uint64_t room,
		       uint64_t *ret_minutes);

#endif
