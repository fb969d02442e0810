/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Amazon's quotas of requests and points, scaled by the limit api_rate (0:
 * none holds). What runs on the stream's thread is counted there; the rest, and
 * the account's own, in one table of the service under a lock: calls of the
 * control plane, of which there are few, and never media.
 */
#ifndef SERVE_QUOTA_H
#define SERVE_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

struct exchange;

/* Per stream and second, in Amazon's points. */
enum quota_points {
	QUOTA_METADATA, /* 10,000 */
	QUOTA_MEDIA,	/* 500 */
};

/* One more request, of the stream that it names. Return: false: answered. */
bool quota_request(struct exchange *ex);
/* On the stream's thread. Return: false: too many; nothing is answered. */
bool quota_points(struct exchange *ex, enum quota_points kind, uint32_t points);
/* The answer to too many of either. */
void quota_exceeded(struct exchange *ex);

#endif
