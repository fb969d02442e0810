/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may be wrong with the service, looked at by the operations thread. Each
 * condition is logged when it changes, once.
 */
#ifndef SERVE_HEALTH_H
#define SERVE_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct server;

enum health_condition {
	HEALTH_THREAD = 0,  /* one does not turn */
	HEALTH_DRAINING,    /* the service stops */
	HEALTH_DISK_FULL,   /* less than disk_free_min */
	HEALTH_DISK_FAILED, /* the catalog's directory takes no writes */
	HEALTH_CERTIFICATE, /* expires soon, or has */
};
#define HEALTH_CONDITION_COUNT (HEALTH_CERTIFICATE + 1)

struct health {
	const struct server *server;
	bool bad[HEALTH_CONDITION_COUNT];
	char text[HEALTH_CONDITION_COUNT][160];
	uint64_t written_ns; /* when the disk was tried last; 0: never */
	uint64_t disk_free;  /* bytes, when last seen */
};

void health_init(struct health *h, const struct server *server);

/* Looks. @max_age_ns: how old the last trial write may be. May block on the
 * disk. */
void health_check(struct health *h, uint64_t max_age_ns);

/* Without the disk: threads only. Return: all turn. */
bool health_alive(struct health *h);

/* After health_check(): new requests are welcome. */
bool health_ready(const struct health *h);

/* "ok\n", or a line per reason that health_ready() goes by. */
void health_describe(const struct health *h, struct buf *out);

#endif
