/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/operations.h"

#include <errno.h>
#include <string.h>

#include "core/limits.h"
#include "proto/epoch.h"
#include "proto/names.h"
#include "serve/server.h"

#define B ACCOUNT_REQUESTS_MAX
#define S STREAM_REQUESTS_MAX

static const struct operation operations[] = {
	{"/createStream", "CreateStream", API_CREATE_STREAM, PLACE_ANY, false,
	 control_create_stream, 0, B},
	{"/describeStream", "DescribeStream", API_DESCRIBE_STREAM, PLACE_ANY,
	 false, control_describe_stream, S, ACCOUNT_LOOKUPS_MAX},
	{"/listStreams", "ListStreams", API_LIST_STREAMS, PLACE_ANY, false,
	 control_list_streams, 0, B},
	{"/deleteStream", "DeleteStream", API_DELETE_STREAM, PLACE_OWNER, false,
	 control_delete_stream, S, B},
	{"/updateDataRetention", "UpdateDataRetention",
	 API_UPDATE_DATA_RETENTION, PLACE_OWNER, false, retention_update, S, B},
	{"/listTagsForStream", "ListTagsForStream", API_LIST_TAGS, PLACE_ANY,
	 false, control_list_tags, S, B},
	{"/getDataEndpoint", "GetDataEndpoint", API_GET_DATA_ENDPOINT,
	 PLACE_ANY, false, control_get_data_endpoint, S, ACCOUNT_LOOKUPS_MAX},
	{"/putMedia", "PutMedia", API_PUT_MEDIA, PLACE_STREAM, true,
	 put_media_run, S, 0},
	{"/getMedia", "GetMedia", API_GET_MEDIA, PLACE_STREAM, false,
	 get_media_run, S, 0},
	{"/getMediaForFragmentList", "GetMediaForFragmentList",
	 API_GET_MEDIA_FOR_FRAGMENT_LIST, PLACE_STREAM, false,
	 get_media_for_fragment_list_run, 0, 0},
	{"/listFragments", "ListFragments", API_LIST_FRAGMENTS, PLACE_STREAM,
	 false, list_fragments_run, 0, 0},
	{"/getClip", "GetClip", API_GET_CLIP, PLACE_STREAM, false, get_clip_run,
	 0, 0},
};

#undef B
#undef S

const struct operation *operation_find(struct slice path)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(operations); i++) {
		if (slice_is(path, operations[i].path))
			return &operations[i];
	}
	return NULL;
}

/* --- members
 * ---------------------------------------------------------------------- */

static int wrong_type(struct exchange *ex, const char *name, const char *want)
{
	char text[128];

	(void)snprintf(text, sizeof(text), "%s must be %s.", name, want);
	exchange_error(ex, 400, "SerializationException", text);
	return -EINVAL;
}

static const json_t *member(const json_t *object, const char *name)
{
	const json_t *v = json_object_get(object, name);

	return json_is_null(v) ? NULL : v;
}

int operation_string(struct exchange *ex, const json_t *object,
		     const char *name, struct slice *ret_value)
{
	const json_t *v = member(object, name);

	if (!v)
		return 0;
	if (!json_is_string(v))
		return wrong_type(ex, name, "a string");
	*ret_value =
		(struct slice){json_string_value(v), json_string_length(v)};
	return 1;
}

int operation_integer(struct exchange *ex, const json_t *object,
		      const char *name, int64_t *ret_value)
{
	const json_t *v = member(object, name);

	if (!v)
		return 0;
	if (!json_is_integer(v))
		return wrong_type(ex, name, "an integer");
	*ret_value = json_integer_value(v);
	return 1;
}

int operation_object(struct exchange *ex, const json_t *object,
		     const char *name, const json_t **ret_value)
{
	const json_t *v = member(object, name);

	if (!v)
		return 0;
	if (!json_is_object(v))
		return wrong_type(ex, name, "an object");
	*ret_value = v;
	return 1;
}

int operation_time(struct exchange *ex, const json_t *object, const char *name,
		   uint64_t *ret_ms)
{
	const json_t *v = member(object, name);
	double seconds;

	if (!v)
		return 0;
	if (!json_is_number(v))
		return wrong_type(ex, name, "a number of epoch seconds");
	seconds = json_number_value(v);
	if (!(seconds >= 0 && seconds <= (double)EPOCH_S_MAX)) {
		exchange_bad_argument(ex, "The timestamp is out of range.");
		return -EINVAL;
	}
	/* Exact: a double holds milliseconds of four-digit years. */
	*ret_ms = (uint64_t)(seconds * 1000.0 + 0.5);
	return 1;
}

json_t *operation_seconds(uint64_t ms)
{
	return json_real((double)ms / 1000.0);
}

int operation_time_range(struct exchange *ex, const char *name,
			 struct time_range *ret_range)
{
	const json_t *selector;
	const json_t *range;
	struct slice type;
	struct time_range out;
	int r = operation_object(ex, ex->json, name, &selector);

	if (r <= 0)
		return r;
	r = operation_string(ex, selector, "FragmentSelectorType", &type);
	if (r < 0)
		return r;
	if (r && slice_is(type, "PRODUCER_TIMESTAMP")) {
		out.selector = SELECT_PRODUCER_TIME;
	} else if (r && slice_is(type, "SERVER_TIMESTAMP")) {
		out.selector = SELECT_SERVER_TIME;
	} else {
		exchange_bad_argument(ex, "FragmentSelectorType is required: "
					  "PRODUCER_TIMESTAMP or "
					  "SERVER_TIMESTAMP.");
		return -EINVAL;
	}
	r = operation_object(ex, selector, "TimestampRange", &range);
	if (r > 0)
		r = operation_time(ex, range, "StartTimestamp", &out.from_ms);
	if (r > 0)
		r = operation_time(ex, range, "EndTimestamp", &out.to_ms);
	if (r < 0)
		return r;
	if (r == 0) {
		exchange_bad_argument(ex, "TimestampRange with StartTimestamp "
					  "and EndTimestamp is required.");
		return -EINVAL;
	}
	*ret_range = out;
	return 1;
}

/* --- the stream
 * -------------------------------------------------------------------- */

static int copy(char *out, size_t size, struct slice s)
{
	if (!s.len || s.len >= size)
		return -EINVAL;
	memcpy(out, s.ptr, s.len);
	out[s.len] = '\0';
	return 0;
}

static int stream_by(struct exchange *ex, bool has_name, struct slice name,
		     bool has_arn, struct slice arn)
{
	struct stream_arn parts;

	if (has_name == has_arn) {
		exchange_bad_argument(ex, "Give either the stream's name or "
					  "its ARN.");
		return -EINVAL;
	}
	ex->name[0] = '\0';
	ex->arn[0] = '\0';
	if (has_name) {
		if (!name_stream_valid(name) ||
		    copy(ex->name, sizeof(ex->name), name) < 0) {
			exchange_bad_argument(ex, "The stream name is not "
						  "valid.");
			return -EINVAL;
		}
		return 0;
	}
	if (stream_arn_parse(arn, &parts) < 0 ||
	    copy(ex->arn, sizeof(ex->arn), arn) < 0 ||
	    copy(ex->name, sizeof(ex->name), parts.name) < 0) {
		exchange_bad_argument(ex, "The stream ARN is not valid.");
		return -EINVAL;
	}
	return 0;
}

int operation_stream_of(struct exchange *ex)
{
	struct slice name = {NULL, 0};
	struct slice arn = {NULL, 0};
	const struct slice *field;
	int has_name;
	int has_arn;

	if (!ex->op->upload) {
		has_name = operation_string(ex, ex->json, "StreamName", &name);
		if (has_name < 0)
			return has_name;
		has_arn = operation_string(ex, ex->json, "StreamARN", &arn);
		if (has_arn < 0)
			return has_arn;
		return stream_by(ex, has_name, name, has_arn, arn);
	}
	has_name = http_field_count(&ex->head, "x-amzn-stream-name") != 0;
	has_arn = http_field_count(&ex->head, "x-amzn-stream-arn") != 0;
	field = http_field(&ex->head, "x-amzn-stream-name");
	name = field ? *field : name;
	field = http_field(&ex->head, "x-amzn-stream-arn");
	arn = field ? *field : arn;
	return stream_by(ex, has_name, name, has_arn, arn);
}

static struct slice peek(const struct exchange *ex, const char *field,
			 const char *name)
{
	const struct slice none = {NULL, 0};
	const json_t *v;

	if (ex->op->upload) {
		const struct slice *s = http_field(&ex->head, field);

		return s ? *s : none;
	}
	v = json_object_get(ex->json, name);
	if (!json_is_string(v))
		return none;
	return (struct slice){json_string_value(v), json_string_length(v)};
}

bool operation_peek_name(const struct exchange *ex,
			 char out[CATALOG_NAME_BYTES])
{
	struct slice name = peek(ex, "x-amzn-stream-name", "StreamName");
	struct slice arn = peek(ex, "x-amzn-stream-arn", "StreamARN");
	struct stream_arn parts;

	if (!name.len && arn.len && stream_arn_parse(arn, &parts) == 0)
		name = parts.name;
	return name.len && name_stream_valid(name) &&
	       copy(out, CATALOG_NAME_BYTES, name) == 0;
}

uint64_t operation_not_before_ms(const struct exchange *ex)
{
	uint64_t now_ms = server_wall_ms(ex->thread);
	uint64_t keep_ms = ex->stream.retention_hours * 3600ull * 1000;

	return now_ms > keep_ms ? now_ms - keep_ms : 0;
}
