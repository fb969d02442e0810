/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvsctl sync: how well each sensor's clock is known. What there is to see
 * comes from the pages of tsalign.ko, whoever captures (sync_pages.c), or
 * from frames that are captured for it (sync_capture.c).
 */
#ifndef KVSCTL_SYNC_H
#define KVSCTL_SYNC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <capture/align.h>
#include <jansson.h>

#include "base/macros.h"
#include "kvsctl/limits.h"
#include "kvsctl/sync_series.h"

#define SYNC_NAME_CHARS 64u

/* CLOCK_MONOTONIC and CLOCK_REALTIME to CLOCK_BOOTTIME, as of now. */
struct sync_clocks {
	int64_t monotonic_ns; /* BOOTTIME - MONOTONIC */
	int64_t realtime_ns;  /* BOOTTIME - REALTIME */
};

struct sync_sensor {
	char name[SYNC_NAME_CHARS];
	struct capture_alignment now;
	bool known; /* @now was filled in */
	struct sync_series series;
};

struct sync {
	uint64_t began_ns; /* CLOCK_BOOTTIME */
	struct sync_clocks clocks;
	struct sync_sensor *sensors; /* CTL_SYNC_SENSORS_MAX */
	size_t count;
	/* "kernel": its pages; "capture": frames of ours. */
	const char *by;
	json_t *tsalign; /* sync_tsalign_json() at the start */
};

uint64_t sync_now_ns(void); /* CLOCK_BOOTTIME */
struct sync_clocks sync_clocks_now(void);

/* The sensor of that name, made if need be; NULL: too many. */
struct sync_sensor *sync_sensor(struct sync *s, const char *name);

/* The sensor that has the module's stream @id now; NULL: none. */
struct sync_sensor *sync_sensor_of(struct sync *s, uint32_t id);

/*
 * A stream of the module as it is now. Another sensor that had its id is gone:
 * the slots of streams that went are given to others.
 */
void sync_stream(struct sync *s, const struct capture_alignment *a);

/* A sample of it. @at_ns, @stamp_ns, @aligned_ns: CLOCK_BOOTTIME. */
void sync_add(struct sync *s, struct sync_sensor *sensor, uint64_t at_ns,
	      uint64_t stamp_ns, uint64_t aligned_ns, uint64_t epoch);

/*
 * Where samples come from. turn() waits at most @wait_ms for some and adds
 * them. Return: 0, or an enum ctl_exit: explained.
 */
struct sync_from {
	int (*turn)(void *ctx, struct sync *s, int wait_ms);
	void (*close)(void *ctx);
	void *ctx;
};

/* Return: CTL_OK, or another enum ctl_exit: explained. */
int sync_pages_open(struct sync *s, struct sync_from *ret_from) MUST_CHECK;
int sync_capture_open(struct sync *s, const char *const *devices, size_t count,
		      struct sync_from *ret_from) MUST_CHECK;

/* One sensor's state, for reports; unknown figures are null. */
json_t *sync_alignment_json(const struct capture_alignment *a);

/*
 * Whether tsalign.ko is there and what it says: {"present", "why", "abi",
 * "reference", "sees_v4l2", "streams": [...]}.
 */
json_t *sync_tsalign_json(void);

#endif
