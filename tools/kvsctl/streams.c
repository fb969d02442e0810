/* SPDX-License-Identifier: Apache-2.0 */
/* The control plane: streams, create-, describe- and delete-stream. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "kvsctl/ctl.h"
#include "kvsctl/output.h"
#include "kvsctl/playback.h"
#include "kvsctl/service.h"
#include "kvsctl/text.h"

static const char *member(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "-";
}

static void retention_text(const json_t *info, char out[TEXT_SPAN_CHARS])
{
	json_int_t hours = json_integer_value(
		json_object_get(info, "DataRetentionInHours"));

	(void)snprintf(out, TEXT_SPAN_CHARS, "%lldh", (long long)hours);
}

/* --- streams ----------------------------------------------------------- */

/* One page more onto @all. *@ret_token: a new reference, NULL at the end. */
static int list_page(struct ctl *ctl, const char *prefix, json_t *all,
		     json_t **ret_token)
{
	json_t *rq = json_pack("{s:i, s:o*}", "MaxResults",
			       (int)CTL_PAGE_STREAMS, "NextToken", *ret_token);
	json_t *reply;
	int code;

	*ret_token = NULL;
	if (prefix)
		(void)json_object_set_new(
			rq, "StreamNameCondition",
			json_pack("{s:s, s:s}", "ComparisonOperator",
				  "BEGINS_WITH", "ComparisonValue", prefix));
	code = service_call(ctl, NULL, "/listStreams", NULL, rq, &reply);
	if (code != CTL_OK)
		return code;
	if (json_array_extend(all,
			      json_object_get(reply, "StreamInfoList")) < 0)
		code = ctl_fail(CTL_NETWORK, "the service's answer has no "
					     "StreamInfoList");
	*ret_token = json_incref(json_object_get(reply, "NextToken"));
	json_decref(reply);
	return code;
}

static int print_streams(json_t *all)
{
	char created[OUTPUT_TIME_CHARS];
	char retention[TEXT_SPAN_CHARS];
	struct table t;
	json_t *info;
	size_t i;
	int code;

	table_init(&t, 5);
	table_add(&t, "STREAM");
	table_add(&t, "STATUS");
	table_add(&t, "RETENTION");
	table_add(&t, "MEDIA TYPE");
	table_add(&t, "CREATED");
	json_array_foreach(all, i, info) {
		retention_text(info, retention);
		output_time(json_object_get(info, "CreationTime"), created);
		table_add(&t, member(info, "StreamName"));
		table_add(&t, member(info, "Status"));
		table_add(&t, retention);
		table_add(&t, member(info, "MediaType"));
		table_add(&t, created);
	}
	code = table_print(&t);
	table_fini(&t);
	return code;
}

int streams_command(struct ctl *ctl, int argc, char **argv)
{
	const char *prefix = NULL;
	const struct arg_option options[] = {
		{ "prefix", 0, NULL, &prefix, NULL },
		{ NULL, 0, NULL, NULL, NULL },
	};
	json_t *token = NULL;
	unsigned int pages = 0;
	struct args args;
	json_t *all;
	bool over;
	int code;

	code = ctl_args(ctl, argc, argv, options, "", 0, 0, &args, &over);
	if (code != CTL_OK || over)
		return code;
	if (prefix) {
		code = ctl_check_stream(prefix);
		if (code != CTL_OK)
			return code;
	}
	all = json_array();
	do {
		code = list_page(ctl, prefix, all, &token);
	} while (code == CTL_OK && token && ++pages < CTL_PAGES_MAX);
	json_decref(token);
	if (code == CTL_OK && ctl->json) {
		all = json_pack("{s:o}", "StreamInfoList", all);
		code = output_json(all);
	} else if (code == CTL_OK) {
		code = print_streams(all);
	}
	json_decref(all);
	return code;
}

/* --- create-stream ----------------------------------------------------- */

struct create_options {
	const char *retention;
	const char *media_type;
	const char *device_name;
	const char *kms_key_id;
	struct arg_list tags;
	bool if_not_exists;
};

static int add_tags(json_t *rq, const struct arg_list *tags)
{
	json_t *map;
	unsigned int i;

	if (!tags->count)
		return CTL_OK;
	map = json_object();
	for (i = 0; i < tags->count; i++) {
		const char *text = tags->values[i];
		const char *equals = strchr(text, '=');
		char key[129];

		if (!equals || equals == text ||
		    (size_t)(equals - text) >= sizeof(key)) {
			json_decref(map);
			return ctl_fail(CTL_USAGE,
					"--tag '%s' is not KEY=VALUE", text);
		}
		memcpy(key, text, (size_t)(equals - text));
		key[equals - text] = '\0';
		(void)json_object_set_new(map, key, json_pack("s", equals + 1));
	}
	(void)json_object_set_new(rq, "Tags", map);
	return CTL_OK;
}

static int create_request(const char *stream, const struct create_options *o,
			  json_t **ret_request)
{
	uint32_t hours = 0;
	json_t *rq;
	int code;

	if (o->retention && text_retention(o->retention, &hours) < 0)
		return ctl_fail(CTL_USAGE,
				"--retention '%s' is not whole hours or days, "
				"like 24h or 7d, up to 10 years",
				o->retention);
	rq = json_pack("{s:s, s:i, s:s*, s:s*, s:s*}", "StreamName", stream,
		       "DataRetentionInHours", (int)hours, "MediaType",
		       o->media_type, "DeviceName", o->device_name, "KmsKeyId",
		       o->kms_key_id);
	code = add_tags(rq, &o->tags);
	if (code == CTL_OK)
		*ret_request = rq;
	else
		json_decref(rq);
	return code;
}

/* Creation is asynchronous. *@ret_info: a new reference. */
static int wait_active(struct ctl *ctl, const char *stream, json_t **ret_info)
{
	const struct timespec pause = {
		.tv_nsec = CTL_ACTIVE_POLL_MS * 1000000l
	};
	unsigned int tries = CTL_ACTIVE_MS_MAX / CTL_ACTIVE_POLL_MS;
	json_t *info;
	int code;

	while (tries--) {
		code = service_describe(ctl, stream, &info);
		if (code != CTL_OK)
			return code;
		if (strcmp(member(info, "Status"), "CREATING") != 0) {
			*ret_info = info;
			return CTL_OK;
		}
		json_decref(info);
		(void)nanosleep(&pause, NULL);
	}
	return ctl_fail(CTL_TIMEOUT, "stream '%s' is still being created",
			stream);
}

static int create(struct ctl *ctl, const char *stream,
		  const struct create_options *o)
{
	struct kvs_reply reply;
	json_t *request = NULL;
	json_t *info = NULL;
	int code;

	code = create_request(stream, o, &request);
	if (code != CTL_OK)
		return code;
	code = service_try(ctl, NULL, "/createStream", request, NULL, &reply);
	if (code == CTL_REFUSED &&
	    strcmp(reply.error_type, "ResourceInUseException") == 0) {
		if (!o->if_not_exists)
			return ctl_fail(code,
					"stream '%s' exists already; "
					"--if-not-exists accepts it",
					stream);
	} else if (code != CTL_OK) {
		return reply.status ? service_complain(&reply, stream) : code;
	}
	code = wait_active(ctl, stream, &info);
	if (code != CTL_OK)
		return code;
	if (ctl->json) {
		json_t *out = json_pack("{s:O*}", "StreamARN",
					json_object_get(info, "StreamARN"));

		code = output_json(out);
		json_decref(out);
	} else {
		(void)puts(member(info, "StreamARN"));
	}
	json_decref(info);
	return code;
}

int create_stream_command(struct ctl *ctl, int argc, char **argv)
{
	struct create_options o = { 0 };
	const struct arg_option options[] = {
		{ "retention", 0, NULL, &o.retention, NULL },
		{ "media-type", 0, NULL, &o.media_type, NULL },
		{ "device-name", 0, NULL, &o.device_name, NULL },
		{ "kms-key-id", 0, NULL, &o.kms_key_id, NULL },
		{ "tag", 0, NULL, NULL, &o.tags },
		{ "if-not-exists", 0, &o.if_not_exists, NULL, NULL },
		{ NULL, 0, NULL, NULL, NULL },
	};
	const char *stream;
	bool over;
	int code;

	code = ctl_stream_args(ctl, argc, argv, options, "STREAM", &stream,
			       &over);
	if (code != CTL_OK || over)
		return code;
	return create(ctl, stream, &o);
}

/* --- describe-stream, delete-stream ------------------------------------ */

static int print_info(const json_t *info)
{
	static const char *const names[][2] = {
		{ "ARN", "StreamARN" },	      { "Status", "Status" },
		{ "Media type", "MediaType" }, { "Device", "DeviceName" },
		{ "Key", "KmsKeyId" },	      { "Version", "Version" },
	};
	char text[OUTPUT_TIME_CHARS];
	struct table t;
	size_t i;
	int code;

	table_init(&t, 2);
	table_add(&t, "Stream");
	table_add(&t, member(info, "StreamName"));
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		table_add(&t, names[i][0]);
		table_add(&t, member(info, names[i][1]));
	}
	retention_text(info, text);
	table_add(&t, "Retention");
	table_add(&t, text);
	output_time(json_object_get(info, "CreationTime"), text);
	table_add(&t, "Created");
	table_add(&t, text);
	code = table_print(&t);
	table_fini(&t);
	return code;
}

static int print_playback(const json_t *playback)
{
	struct table t;
	json_t *track;
	char text[32];
	size_t i;
	int code;

	if (json_is_null(playback)) {
		(void)puts("Playback: nothing is stored, so nothing is known.");
		return CTL_OK;
	}
	table_init(&t, 3);
	table_add(&t, "TRACK");
	table_add(&t, "CODEC");
	table_add(&t, "PLAYBACK");
	json_array_foreach(json_object_get(playback, "Tracks"), i, track) {
		(void)snprintf(text, sizeof(text), "%lld",
			       (long long)json_integer_value(json_object_get(
				       track, "TrackNumber")));
		table_add(&t, text);
		table_add(&t, member(track, "CodecId"));
		table_add(&t, member(track, "Verdict"));
	}
	code = table_print(&t);
	table_fini(&t);
	if (json_is_false(json_object_get(playback, "ClipTracks")))
		(void)puts("No clip: these tracks do not go together in one "
			   "(H.264 or H.265 first, then AAC).");
	return code;
}

int describe_stream_command(struct ctl *ctl, int argc, char **argv)
{
	bool playback = false;
	const struct arg_option options[] = {
		{ "playback", 0, &playback, NULL, NULL },
		{ NULL, 0, NULL, NULL, NULL },
	};
	json_t *found = NULL;
	const char *stream;
	json_t *info = NULL;
	bool over;
	int code;

	code = ctl_stream_args(ctl, argc, argv, options, "STREAM", &stream,
			       &over);
	if (code != CTL_OK || over)
		return code;
	code = service_describe(ctl, stream, &info);
	if (code == CTL_OK && playback)
		code = playback_check(ctl, stream, &found);
	if (code == CTL_OK && found)
		(void)json_object_set(info, "Playback", found);
	if (code == CTL_OK)
		code = ctl->json ? output_json(info) : print_info(info);
	if (code == CTL_OK && found && !ctl->json)
		code = print_playback(found);
	json_decref(found);
	json_decref(info);
	return code;
}

int delete_stream_command(struct ctl *ctl, int argc, char **argv)
{
	const char *version = NULL;
	const struct arg_option options[] = {
		{ "if-version", 0, NULL, &version, NULL },
		{ NULL, 0, NULL, NULL, NULL },
	};
	const char *stream;
	json_t *reply = NULL;
	json_t *info = NULL;
	json_t *rq;
	bool over;
	int code;

	code = ctl_stream_args(ctl, argc, argv, options, "STREAM", &stream,
			       &over);
	if (code != CTL_OK || over)
		return code;
	/* The call wants the ARN, which names this incarnation of the name. */
	code = service_describe(ctl, stream, &info);
	if (code != CTL_OK)
		return code;
	rq = json_pack("{s:O*, s:s*}", "StreamARN",
		       json_object_get(info, "StreamARN"), "CurrentVersion",
		       version);
	code = service_call(ctl, NULL, "/deleteStream", stream, rq, &reply);
	if (code == CTL_OK) {
		if (ctl->json)
			code = output_json(reply);
		json_decref(reply);
	}
	json_decref(info);
	return code;
}
