/* SPDX-License-Identifier: Apache-2.0 */
/* The control plane: streams are made, described, listed and deleted. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "core/catalog.h"
#include "core/limits.h"
#include "proto/names.h"
#include "serve/control_check.h"
#include "serve/live.h"
#include "serve/operations.h"
#include "serve/server.h"
#include "serve/token.h"

#define LIST_STREAMS_DEFAULT 1000u

/* A catalog call of an operation; holds its exchange. */
struct control {
	struct exchange *ex;
	struct catalog_op op;
	struct store_op store_op;
	struct catalog_stream stream;
	char version[CATALOG_VERSION_BYTES];
	char *tags; /* JSON */
};

static struct control *control_new(struct exchange *ex,
				   void (*done)(struct catalog_op *op, int res))
{
	struct control *c = calloc(1, sizeof(*c));

	if (!c) {
		exchange_internal(ex, -ENOMEM);
		return NULL;
	}
	c->ex = ex;
	c->op.done = done;
	exchange_ref(ex);
	return c;
}

static void control_free(struct control *c)
{
	exchange_unref(c->ex);
	/* The stream's data key was in it. */
	memset(&c->stream, 0, sizeof(c->stream));
	free(c->tags);
	free(c);
}

/* Strings of the request that the catalog keeps. Return: 0, -EINVAL. */
static int copy_member(struct exchange *ex, const char *name,
		       bool (*valid)(struct slice), char *out, size_t size)
{
	struct slice value;
	char text[96];
	int r = operation_string(ex, ex->json, name, &value);

	if (r <= 0)
		return r;
	if (!valid(value) || value.len >= size) {
		(void)snprintf(text, sizeof(text), "%s is not valid.", name);
		exchange_bad_argument(ex, text);
		return -EINVAL;
	}
	memcpy(out, value.ptr, value.len);
	out[value.len] = '\0';
	return 0;
}

/* --- CreateStream
 * -------------------------------------------------------------------- */

static void created(struct catalog_op *op, int res)
{
	struct control *c = container_of(op, struct control, op);
	struct exchange *ex = c->ex;

	switch (res) {
	case 0:
		exchange_json(ex, 200,
			      json_pack("{s:s}", "StreamARN", c->stream.arn));
		break;
	case -EEXIST:
		exchange_error(ex, 400, "ResourceInUseException",
			       "A stream of that name exists already.");
		break;
	case -EDQUOT:
		exchange_error(ex, 400, "AccountStreamLimitExceededException",
			       "There is no room for another stream.");
		break;
	default:
		exchange_internal(ex, res);
	}
	control_free(c);
}

static int read_retention(struct exchange *ex, uint32_t *ret_hours)
{
	int64_t hours = 0;
	int r = operation_integer(ex, ex->json, "DataRetentionInHours", &hours);

	if (r < 0)
		return r;
	if (hours < 0 || hours > RETENTION_HOURS_MAX) {
		exchange_bad_argument(ex, "DataRetentionInHours must be 0 to "
					  "87600.");
		return -EINVAL;
	}
	*ret_hours = (uint32_t)hours;
	return 0;
}

static int read_new_stream(struct exchange *ex, struct catalog_stream *s)
{
	if (copy_member(ex, "StreamName", name_stream_valid, s->name,
			sizeof(s->name)) < 0 ||
	    copy_member(ex, "DeviceName", name_device_valid, s->device_name,
			sizeof(s->device_name)) < 0 ||
	    copy_member(ex, "MediaType", name_media_type_valid, s->media_type,
			sizeof(s->media_type)) < 0 ||
	    copy_member(ex, "KmsKeyId", name_kms_key_valid, s->kms_key_id,
			sizeof(s->kms_key_id)) < 0 ||
	    read_retention(ex, &s->retention_hours) < 0)
		return -EINVAL;
	if (s->name[0])
		return 0;
	exchange_bad_argument(ex, "StreamName is required.");
	return -EINVAL;
}

static int read_storage(struct exchange *ex)
{
	const json_t *object;
	struct slice tier;
	int r = operation_object(ex, ex->json, "StreamStorageConfiguration",
				 &object);

	if (r <= 0)
		return r;
	r = operation_string(ex, object, "DefaultStorageTier", &tier);
	if (r < 0)
		return r;
	if (r && (slice_is(tier, "HOT") || slice_is(tier, "WARM")))
		return 0;
	exchange_bad_argument(ex, "DefaultStorageTier must be HOT or WARM.");
	return -EINVAL;
}

/* @ret_text: JSON for the catalog, or NULL; the caller frees. */
static int read_tags(struct exchange *ex, char **ret_text)
{
	const json_t *tags;
	char *text;
	int r = operation_object(ex, ex->json, "Tags", &tags);

	*ret_text = NULL;
	if (r <= 0)
		return r;
	switch (control_check_tags(tags)) {
	case 0:
		break;
	case -E2BIG:
		exchange_error(ex, 400, "TagsPerResourceExceededLimitException",
			       "A stream has at most 50 tags.");
		return -EINVAL;
	default:
		exchange_bad_argument(ex, "Tags are not valid.");
		return -EINVAL;
	}
	text = json_dumps(tags, JSON_COMPACT);
	if (!text) {
		exchange_internal(ex, -ENOMEM);
		return -EINVAL;
	}
	*ret_text = text;
	return 0;
}

void control_create_stream(struct exchange *ex)
{
	char *tags = NULL;
	struct control *c = control_new(ex, created);

	if (!c)
		return;
	if (read_new_stream(ex, &c->stream) < 0 || read_storage(ex) < 0 ||
	    read_tags(ex, &tags) < 0) {
		control_free(c);
		return;
	}
	if (!c->stream.kms_key_id[0])
		(void)snprintf(c->stream.kms_key_id,
			       sizeof(c->stream.kms_key_id),
			       "arn:aws:kms:%s:%s:alias/aws/kinesisvideo",
			       ex->thread->server->options->region,
			       ex->thread->server->options->account);
	catalog_create(ex->thread->server->catalog, ex->thread->loop,
		       &c->stream, tags, &c->op);
	free(tags);
}

/* --- DescribeStream
 * ------------------------------------------------------------------ */

static json_t *stream_info(const struct catalog_stream *s)
{
	json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:I}",
			      "StreamName", s->name, "StreamARN", s->arn,
			      "KmsKeyId", s->kms_key_id, "Version", s->version,
			      "Status", "ACTIVE", "CreationTime",
			      operation_seconds(s->created_ms),
			      "DataRetentionInHours",
			      (json_int_t)s->retention_hours);

	if (o && s->device_name[0])
		json_object_set_new(o, "DeviceName",
				    json_stringn(s->device_name,
						 strlen(s->device_name)));
	if (o && s->media_type[0])
		json_object_set_new(o, "MediaType",
				    json_stringn(s->media_type,
						 strlen(s->media_type)));
	return o;
}

/* Answers what went wrong. Return: the stream was found. */
static bool stream_there(struct exchange *ex, int res)
{
	if (res == -ENOENT)
		exchange_no_stream(ex);
	else if (res < 0)
		exchange_internal(ex, res);
	return res == 0;
}

static void described(struct catalog_op *op, int res)
{
	struct control *c = container_of(op, struct control, op);

	if (stream_there(c->ex, res))
		exchange_json(c->ex, 200,
			      json_pack("{s:o}", "StreamInfo",
					stream_info(&c->stream)));
	control_free(c);
}

static void find(struct exchange *ex,
		 void (*done)(struct catalog_op *op, int res))
{
	struct control *c;

	if (operation_stream_of(ex) < 0)
		return;
	c = control_new(ex, done);
	if (!c)
		return;
	catalog_find(ex->thread->server->catalog, ex->thread->loop,
		     ex->arn[0] ? NULL : ex->name, ex->arn[0] ? ex->arn : NULL,
		     &c->stream, &c->op);
}

void control_describe_stream(struct exchange *ex)
{
	find(ex, described);
}

/* --- ListTagsForStream
 * ---------------------------------------------------------------- */

static void tags_found(struct catalog_op *op, int res)
{
	struct control *c = container_of(op, struct control, op);
	json_t *tags = NULL;

	if (stream_there(c->ex, res)) {
		/* It was checked when it came in. */
		tags = json_loads(c->tags, 0, NULL);
		if (tags)
			exchange_json(c->ex, 200,
				      json_pack("{s:o}", "Tags", tags));
		else
			exchange_internal(c->ex, -EIO);
	}
	control_free(c);
}

/* At most 50: one page, so there is no token that could be given back. */
void control_list_tags(struct exchange *ex)
{
	struct control *c;

	if (operation_stream_of(ex) < 0)
		return;
	c = control_new(ex, tags_found);
	if (!c)
		return;
	catalog_tags(ex->thread->server->catalog, ex->thread->loop,
		     ex->arn[0] ? NULL : ex->name, ex->arn[0] ? ex->arn : NULL,
		     &c->tags, &c->op);
}

/* --- GetDataEndpoint
 * ------------------------------------------------------------------- */

static void endpoint_found(struct catalog_op *op, int res)
{
	struct control *c = container_of(op, struct control, op);
	struct exchange *ex = c->ex;
	const char *url = ex->thread->server->options->public_url;
	const struct slice *host = http_field(&ex->head, "Host");
	char text[SERVE_TEXT_BYTES + 8];

	if (stream_there(ex, res)) {
		if (url[0])
			(void)snprintf(text, sizeof(text), "%s", url);
		else
			(void)snprintf(text, sizeof(text), "https://%.*s",
				       host ? (int)MIN(host->len,
						       SERVE_TEXT_BYTES)
					    : 0,
				       host ? host->ptr : "");
		exchange_json(ex, 200,
			      json_pack("{s:s}", "DataEndpoint", text));
	}
	control_free(c);
}

void control_get_data_endpoint(struct exchange *ex)
{
	static const char *const names[] = {
		"PUT_MEDIA",
		"GET_MEDIA",
		"LIST_FRAGMENTS",
		"GET_MEDIA_FOR_FRAGMENT_LIST",
		"GET_HLS_STREAMING_SESSION_URL",
		"GET_DASH_STREAMING_SESSION_URL",
		"GET_CLIP",
		"GET_IMAGES",
	};
	struct slice name;
	size_t i = ARRAY_SIZE(names);
	int r = operation_string(ex, ex->json, "APIName", &name);

	if (r < 0)
		return;
	if (r) {
		for (i = 0; i < ARRAY_SIZE(names); i++) {
			if (slice_is(name, names[i]))
				break;
		}
	}
	if (i == ARRAY_SIZE(names))
		exchange_bad_argument(ex, "APIName is not valid.");
	else
		find(ex, endpoint_found);
}

/* --- ListStreams
 * ------------------------------------------------------------------------ */

struct stream_list {
	struct exchange *ex;
	struct catalog_op op;
	char prefix[CATALOG_NAME_BYTES];
	char after[TOKEN_TEXT_BYTES_MAX + 1];
	size_t limit;
	struct catalog_stream rows[];
};

static void streams_listed(struct catalog_op *op, int res)
{
	struct stream_list *l = container_of(op, struct stream_list, op);
	json_t *root = json_object();
	json_t *rows = json_array();
	char token[TOKEN_CHARS_MAX + 1];
	int i;

	for (i = 0; i < res; i++)
		json_array_append_new(rows, stream_info(&l->rows[i]));
	json_object_set_new(root, "StreamInfoList", rows);
	if (res > 0 && (size_t)res == l->limit) {
		token_encode(l->rows[res - 1].name, token);
		json_object_set_new(root, "NextToken",
				    json_stringn(token, strlen(token)));
	}
	if (res < 0) {
		json_decref(root);
		exchange_internal(l->ex, res);
	} else {
		exchange_json(l->ex, 200, root);
	}
	memset(l->rows, 0, l->limit * sizeof(l->rows[0]));
	exchange_unref(l->ex);
	free(l);
}

static int read_condition(struct exchange *ex, char *prefix)
{
	const json_t *object;
	struct slice op;
	struct slice value;
	int r = operation_object(ex, ex->json, "StreamNameCondition", &object);

	prefix[0] = '\0';
	if (r <= 0)
		return r;
	r = operation_string(ex, object, "ComparisonOperator", &op);
	if (r < 0)
		return r;
	if (r && !slice_is(op, "BEGINS_WITH")) {
		exchange_bad_argument(ex, "ComparisonOperator must be "
					  "BEGINS_WITH.");
		return -EINVAL;
	}
	r = operation_string(ex, object, "ComparisonValue", &value);
	if (r <= 0)
		return r;
	if (!name_stream_valid(value)) {
		exchange_bad_argument(ex, "ComparisonValue is not valid.");
		return -EINVAL;
	}
	memcpy(prefix, value.ptr, value.len);
	prefix[value.len] = '\0';
	return 0;
}

static int read_after(struct exchange *ex, char *after)
{
	struct slice token;
	int r = operation_string(ex, ex->json, "NextToken", &token);

	after[0] = '\0';
	if (r <= 0 || !token.len)
		return r < 0 ? r : 0;
	if (token_decode(token, after) == 0 &&
	    name_stream_valid(slice_of(after)))
		return 0;
	exchange_bad_argument(ex, "NextToken is not valid.");
	return -EINVAL;
}

void control_list_streams(struct exchange *ex)
{
	int64_t limit = LIST_STREAMS_DEFAULT;
	struct stream_list *l;

	if (operation_integer(ex, ex->json, "MaxResults", &limit) < 0)
		return;
	if (limit < 1 || limit > LIST_STREAMS_MAX) {
		exchange_bad_argument(ex, "MaxResults must be 1 to 10000.");
		return;
	}
	/* A page may be shorter than asked for. */
	limit = MIN(limit, (int64_t)LIST_STREAMS_DEFAULT);
	l = calloc(1, sizeof(*l) + (size_t)limit * sizeof(l->rows[0]));
	if (!l) {
		exchange_internal(ex, -ENOMEM);
		return;
	}
	if (read_condition(ex, l->prefix) < 0 || read_after(ex, l->after) < 0) {
		free(l);
		return;
	}
	l->ex = ex;
	l->limit = (size_t)limit;
	l->op.done = streams_listed;
	exchange_ref(ex);
	catalog_list(ex->thread->server->catalog, ex->thread->loop,
		     l->prefix[0] ? l->prefix : NULL,
		     l->after[0] ? l->after : NULL, l->rows, l->limit, &l->op);
}

/* --- DeleteStream
 * ------------------------------------------------------------------------- */

/* The rows are gone too; the key, and with it the media, already was. */
static void rows_removed(struct store_op *op, int res)
{
	struct control *c = container_of(op, struct control, store_op);

	if (res < 0)
		log_warn("serve",
			 "stream %s: its index rows stay until the "
			 "next start: %s",
			 c->stream.name, strerror(-res));
	exchange_json(c->ex, 200, json_object());
	control_free(c);
}

static void removed(struct catalog_op *op, int res)
{
	struct control *c = container_of(op, struct control, op);
	struct server_thread *t = c->ex->thread;
	struct live_stream *live;

	if (res == -ESTALE) {
		exchange_error(c->ex, 400, "VersionMismatchException",
			       "CurrentVersion is not the stream's version.");
		control_free(c);
		return;
	}
	if (res == -EBUSY) {
		exchange_error(c->ex, 400, "ResourceInUseException",
			       "The stream is on legal hold.");
		control_free(c);
		return;
	}
	if (!stream_there(c->ex, res)) {
		control_free(c);
		return;
	}
	live = live_stream_find(&t->live, c->stream.store.id);
	if (live)
		live_stream_delete(live);
	c->store_op.done = rows_removed;
	store_remove_stream(t->store, c->stream.store.id, &c->store_op);
}

void control_delete_stream(struct exchange *ex)
{
	struct control *c;

	if (!ex->arn[0]) {
		exchange_bad_argument(ex, "StreamARN is required.");
		return;
	}
	c = control_new(ex, removed);
	if (!c)
		return;
	if (copy_member(ex, "CurrentVersion", name_version_valid, c->version,
			sizeof(c->version)) < 0) {
		control_free(c);
		return;
	}
	catalog_remove(ex->thread->server->catalog, ex->thread->loop, ex->arn,
		       c->version[0] ? c->version : NULL, &c->stream, &c->op);
}
