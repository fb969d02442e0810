/* SPDX-License-Identifier: Apache-2.0 */
/* The table of operations and what they share in reading their input. */
#ifndef SERVE_OPERATIONS_H
#define SERVE_OPERATIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/slice.h"
#include "serve/http.h"

/* NULL: there is no such operation. */
const struct operation *operation_find(struct slice path);

/*
 * Which stream the request is about: fills ex->name and, when it was given by
 * ARN, ex->arn. Return: 0, or -EINVAL (answered).
 */
int operation_stream_of(struct exchange *ex) MUST_CHECK;

/*
 * The name of the stream that the request seems to be about, to find its
 * thread; answers nothing. Return: false when there is none.
 */
bool operation_peek_name(const struct exchange *ex,
			 char out[CATALOG_NAME_BYTES]);

/*
 * Members of a JSON object. Each returns 1 (there), 0 (absent or null) or
 * -EINVAL (wrong type; answered with 400 SerializationException). The value
 * lives as long as the JSON.
 */
int operation_string(struct exchange *ex, const json_t *object,
		     const char *name, struct slice *ret_value) MUST_CHECK;
int operation_integer(struct exchange *ex, const json_t *object,
		      const char *name, int64_t *ret_value) MUST_CHECK;
int operation_object(struct exchange *ex, const json_t *object,
		     const char *name, const json_t **ret_value) MUST_CHECK;
/* Epoch seconds with a fraction, as a number; to milliseconds. */
int operation_time(struct exchange *ex, const json_t *object, const char *name,
		   uint64_t *ret_ms) MUST_CHECK;

enum time_selector { SELECT_PRODUCER_TIME, SELECT_SERVER_TIME };

struct time_range {
	enum time_selector selector;
	uint64_t from_ms;
	uint64_t to_ms;
};

/*
 * {"FragmentSelectorType", "TimestampRange": {"StartTimestamp",
 * "EndTimestamp"}}. Return: 1, 0 (absent), -EINVAL (answered).
 */
int operation_time_range(struct exchange *ex, const char *member,
			 struct time_range *ret_range) MUST_CHECK;

/* Milliseconds as JSON's epoch seconds, exactly three decimals. */
json_t *operation_seconds(uint64_t ms);

/* server_ms below this is past the stream's retention. */
uint64_t operation_not_before_ms(const struct exchange *ex);

void control_create_stream(struct exchange *ex);
void control_describe_stream(struct exchange *ex);
void control_list_streams(struct exchange *ex);
void control_delete_stream(struct exchange *ex);
void control_get_data_endpoint(struct exchange *ex);
void control_list_tags(struct exchange *ex);
void retention_update(struct exchange *ex);
void put_media_run(struct exchange *ex);
void get_media_run(struct exchange *ex);
void get_media_for_fragment_list_run(struct exchange *ex);
void list_fragments_run(struct exchange *ex);
void get_clip_run(struct exchange *ex);

#endif
