/* SPDX-License-Identifier: Apache-2.0 */
/* One PutMedia request with a body made beforehand; nothing is repeated. */
#ifndef SUPPORT_UPLOAD_RAW_H
#define SUPPORT_UPLOAD_RAW_H

#include <stddef.h>
#include <stdint.h>

#include <kvs/client.h>

#include "base/macros.h"
#include "proto/ack.h"

#define UPLOAD_RAW_ACKS_MAX 64u

struct upload_raw {
	int status;		/* HTTP status, 0: none came */
	int why;		/* 0, or how the connection ended early */
	size_t ack_count;
	struct ack acks[UPLOAD_RAW_ACKS_MAX];
};

/*
 * Sends @body to @stream and reads acknowledgements until the response is
 * over or @config->timeout_ms went by without a byte. Absolute timecodes.
 * Aborts when the client itself cannot be set up.
 */
void upload_raw(const struct kvs_client_config *config, const char *stream,
		uint64_t start_ms, const uint8_t *body, size_t len,
		struct upload_raw *ret_upload);

#endif
