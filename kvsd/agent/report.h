/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent did, as one JSON object. */
#ifndef AGENT_REPORT_H
#define AGENT_REPORT_H

#include <stdint.h>

#include <kvs/producer.h>

#include "agent/pipeline.h"
#include "base/buf.h"
#include "base/macros.h"
#include "core/histogram.h"

struct report {
	struct pipeline_info info;
	struct pipeline_stats camera;	/* all times it was open */
	struct kvs_producer_stats producer;
	const struct histogram *latency_us; /* newest frame to PERSISTED */
	uint64_t duration_ns;
	uint64_t reopened;
	uint32_t clock_epoch;
	int left;			/* fragments not acknowledged */
};

/* Appends it, with a line end. Return: 0, -ENOMEM, -ENOBUFS. */
int report_write(const struct report *r, struct buf *out) MUST_CHECK;

#endif
