/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PutMedia acknowledgements: one flat JSON object per line. The writer keeps
 * the service's key order, since clients parse with little more than strstr().
 */
#ifndef PROTO_ACK_H
#define PROTO_ACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/macros.h"
#include "proto/limits.h"

enum ack_event {
	ACK_UNKNOWN = 0,	/* an EventType of the future: to be ignored */
	ACK_BUFFERING,		/* the first bytes of a fragment were seen */
	ACK_RECEIVED,		/* all of it arrived */
	ACK_PERSISTED,		/* it survives a crash from here on */
	ACK_ERROR,
	ACK_IDLE,
};
#define ACK_EVENT_COUNT (ACK_IDLE + 1)

/* ErrorId on the wire. */
enum ack_error {
	ACK_STREAM_READ_ERROR = 4000,
	ACK_MAX_FRAGMENT_SIZE_REACHED = 4001,
	ACK_MAX_FRAGMENT_DURATION_REACHED = 4002,
	ACK_MAX_CONNECTION_DURATION_REACHED = 4003,
	ACK_FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS = 4004,
	ACK_MORE_THAN_ONE_TRACK_FOUND = 4005,	/* never sent any more */
	ACK_INVALID_MKV_DATA = 4006,
	ACK_INVALID_PRODUCER_TIMESTAMP = 4007,
	ACK_STREAM_NOT_ACTIVE = 4008,
	ACK_FRAGMENT_METADATA_LIMIT_REACHED = 4009,
	ACK_TRACK_NUMBER_MISMATCH = 4010,
	ACK_FRAMES_MISSING_FOR_TRACK = 4011,
	ACK_MORE_THAN_ALLOWED_TRACKS_FOUND = 4012,
	ACK_KMS_KEY_ACCESS_DENIED = 4500,
	ACK_KMS_KEY_DISABLED = 4501,
	ACK_KMS_KEY_VALIDATION_ERROR = 4502,
	ACK_KMS_KEY_UNAVAILABLE = 4503,
	ACK_KMS_KEY_INVALID_USAGE = 4504,
	ACK_KMS_KEY_INVALID_STATE = 4505,
	ACK_KMS_KEY_NOT_FOUND = 4506,
	ACK_STREAM_DELETED = 4507,
	ACK_INTERNAL_ERROR = 5000,
	ACK_ARCHIVAL_ERROR = 5001,
};

/* "INVALID_MKV_DATA", or NULL for an id that is not in the table. */
const char *ack_error_name(uint32_t id);
/* "PERSISTED"; "UNKNOWN" for ACK_UNKNOWN. */
const char *ack_event_name(enum ack_event event);

struct ack {
	enum ack_event event;
	bool has_timecode;
	uint64_t timecode_ms;	/* the Cluster's timecode as it was sent */
	/* Decimal, opaque; "" when absent. */
	char fragment_number[ACK_FRAGMENT_NUMBER_CHARS_MAX + 1];
	uint32_t error_id;	/* ACK_ERROR only, else 0 */
	/* Reading: as received, "" when absent. Writing: from the table. */
	char error_code[ACK_ERROR_CODE_CHARS_MAX + 1];
};

/**
 * ack_format() - append one acknowledgement line
 *
 * Return: 0, -EINVAL (an event or error id that cannot be sent, or a fragment
 * number that is not decimal), -ENOBUFS, -ENOMEM.
 */
int ack_format(struct buf *b, const struct ack *ack) MUST_CHECK;

/* Reads a stream of acknowledgements, split anywhere. */
struct ack_parser {
	size_t len;
	unsigned int depth;	/* open braces and brackets */
	bool string;		/* inside quotes */
	bool escape;		/* after a backslash */
	bool failed;
	char text[ACK_BYTES_MAX];
};

void ack_parser_init(struct ack_parser *p);

/**
 * ack_parser_feed() - read until one acknowledgement is complete
 * @ret_used: bytes of @in dealt with; set unless an error is returned
 * @ret_ack: written only with 1
 *
 * Objects may follow each other with or without white space between. Keys
 * may come in any order; keys we do not know are skipped with their values.
 *
 * Return: 1 (an acknowledgement; call again with the rest), 0 (all of @in is
 * used), -EBADMSG (not an acknowledgement; the stream is lost), -EMSGSIZE
 * (over ACK_BYTES_MAX). After an error every further call fails.
 */
int ack_parser_feed(struct ack_parser *p, const void *in, size_t len,
		    size_t *ret_used, struct ack *ret_ack) MUST_CHECK;

#endif
