/* SPDX-License-Identifier: Apache-2.0 */
#include "kvsctl/service.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/sys.h"
#include "kvsctl/output.h"
#include "proto/limits.h"

/* --- set up ------------------------------------------------------------ */

static const char *environment(const char *name)
{
	return getenv(name);
}

/* A file that is not there is no error: another source may have it all. */
static int read_file(struct settings_file *f, char **ret_text)
{
	size_t len;
	int r;

	if (!f->path[0])
		return CTL_OK;
	r = sys_read_file(sys_posix(), AT_FDCWD, f->path,
			  CTL_PROFILE_FILE_BYTES_MAX, ret_text, &len);
	if (r == -ENOENT || r == -ENOTDIR)
		return CTL_OK;
	if (r < 0)
		return ctl_fail(CTL_LOCAL, "%s: %s", f->path, strerror(-r));
	f->text = (struct slice){ *ret_text, len };
	f->found = true;
	return CTL_OK;
}

static void wipe_file(struct settings_file *f, char *text)
{
	if (text)
		explicit_bzero(text, f->text.len);
	free(text);
}

static int resolve(struct ctl *ctl)
{
	struct settings_files files;
	char error[CTL_ERROR_CHARS_MAX];
	char *credentials = NULL;
	char *config = NULL;
	int code;
	int r = 0;

	settings_paths(environment, &files);
	code = read_file(&files.credentials, &credentials);
	if (code == CTL_OK)
		code = read_file(&files.config, &config);
	if (code == CTL_OK)
		r = settings_resolve(&ctl->options, environment, &files,
				     &ctl->settings, error);
	wipe_file(&files.credentials, credentials);
	wipe_file(&files.config, config);
	switch (r) {
	case 0:
		return code;
	case -ENOKEY:
	case -ENOENT:
		return ctl_fail(CTL_DENIED, "%s", error);
	case -EDESTADDRREQ:
		return ctl_fail(CTL_USAGE, "%s", error);
	case -EBADMSG:
		return ctl_fail(CTL_LOCAL, "%s", error);
	default:
		return ctl_fail(CTL_LOCAL, "%s", strerror(-r));
	}
}

struct kvs_client_config service_config(const struct ctl *ctl)
{
	return (struct kvs_client_config){
		.endpoint = ctl->settings.endpoint,
		.region = ctl->settings.region,
		.ca_bundle = ctl->settings.ca_bundle,
		.credentials = {
			.access_key_id = ctl->settings.access_key_id,
			.secret_access_key = ctl->settings.secret_access_key,
			.session_token = ctl->settings.session_token,
		},
		.timeout_ms = ctl->timeout_ms,
		.user_agent = "kvsctl",
	};
}

int service_open(struct ctl *ctl)
{
	struct kvs_client_config config;
	int code;
	int r;

	if (ctl->client)
		return CTL_OK;
	if (!ctl->resolved) {
		code = resolve(ctl);
		if (code != CTL_OK)
			return code;
		ctl->resolved = true;
	}
	config = service_config(ctl);
	r = kvs_client_new(&config, &ctl->client);
	switch (r) {
	case 0:
		return CTL_OK;
	case -EINVAL:
		return ctl_fail(CTL_USAGE,
				"'%s' is not https://HOST or "
				"https://HOST:PORT, or the credentials are "
				"too long",
				config.endpoint ? config.endpoint :
						  "the endpoint");
	case -ENOENT:
	case -EBADMSG:
		return ctl_fail(CTL_LOCAL,
				"CA bundle %s: %s; --ca-bundle or "
				"AWS_CA_BUNDLE name a PEM file",
				config.ca_bundle ? config.ca_bundle :
						   "of the system",
				r == -ENOENT ? "there is no such file" :
					       "not a PEM file");
	case -ENOSYS:
		return ctl_fail(CTL_LOCAL, "this kernel offers no io_uring "
					   "(container policy, or "
					   "kernel.io_uring_disabled?)");
	default:
		return ctl_fail(CTL_LOCAL, "%s", strerror(-r));
	}
}

void service_hang_up(struct ctl *ctl)
{
	ctl->client = kvs_client_free(ctl->client);
}

void service_close(struct ctl *ctl)
{
	service_hang_up(ctl);
	settings_fini(&ctl->settings);
	ctl->resolved = false;
}

/* --- errors ------------------------------------------------------------ */

static bool denies(const struct kvs_reply *reply)
{
	static const char *const types[] = {
		"NotAuthorizedException",     "AccessDeniedException",
		"InvalidClientTokenId",	      "UnrecognizedClientException",
		"MissingAuthenticationToken", "IncompleteSignature",
		"InvalidSignatureException",  "SignatureDoesNotMatch",
		"RequestExpired",	      "ExpiredToken",
	};
	size_t i;

	/* With or without "Exception" at the end: services differ. */
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		if (strncmp(reply->error_type, types[i], strlen(types[i])) ==
		    0)
			return true;
	}
	return reply->status == 401 || reply->status == 403;
}

static int code_of(const struct kvs_reply *reply)
{
	if (denies(reply))
		return CTL_DENIED;
	if (reply->status == 404)
		return CTL_NOT_FOUND;
	return CTL_REFUSED;
}

static const char *hint_of(const struct kvs_reply *reply)
{
	static const struct {
		const char *type;
		const char *hint;
	} hints[] = {
		{ "RequestExpired",
		  "is this machine's clock right?" },
		{ "InvalidClientTokenId",
		  "the service does not know this access key: check "
		  "AWS_ACCESS_KEY_ID or the profile" },
		{ "UnrecognizedClientException",
		  "the service does not know this access key: check "
		  "AWS_ACCESS_KEY_ID or the profile" },
		{ "InvalidSignatureException",
		  "check the secret key and --region" },
		{ "SignatureDoesNotMatch",
		  "check the secret key and --region" },
		{ "NotAuthorizedException",
		  "this key may not do that: check its policy" },
		{ "AccessDeniedException",
		  "this key may not do that: check its policy" },
		{ "NoDataRetentionException",
		  "the stream keeps nothing: create one with --retention" },
		{ "ConnectionLimitExceededException",
		  "others are connected already: wait, or end them" },
		{ "ClientLimitExceededException", "slow down and try again" },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(hints); i++) {
		if (strcmp(reply->error_type, hints[i].type) == 0)
			return hints[i].hint;
	}
	return NULL;
}

int service_complain(const struct kvs_reply *reply, const char *stream)
{
	const char *hint = hint_of(reply);
	const char *type = reply->error_type[0] ? reply->error_type : "HTTP";
	char about[STREAM_NAME_CHARS_MAX + 16] = "";

	if (stream)
		(void)snprintf(about, sizeof(about), "stream '%s': ", stream);
	(void)ctl_fail(0, "%s%s (%d)%s%s", about, type, reply->status,
		       reply->message[0] ? ": " : "", reply->message);
	if (hint)
		ctl_note("%s", hint);
	return code_of(reply);
}

int service_unreached(const struct ctl *ctl, int error, const char *reason)
{
	const char *where = ctl->settings.endpoint ?
				    ctl->settings.endpoint :
				    "Amazon's endpoint";

	switch (error) {
	case -ETIMEDOUT:
		return ctl_fail(CTL_TIMEOUT, "%s: no answer in time (%s)",
				where, reason);
	case -EKEYREJECTED:
		return ctl_fail(CTL_NETWORK,
				"%s: its certificate does not verify (%s); "
				"name its CA with --ca-bundle FILE or "
				"AWS_CA_BUNDLE",
				where, reason);
	case -ECONNREFUSED:
		return ctl_fail(CTL_NETWORK,
				"%s: nothing answers there (%s); is `kvsd "
				"serve` running?",
				where, reason);
	default:
		return ctl_fail(CTL_NETWORK, "%s: %s", where, reason);
	}
}

/* --- calls ------------------------------------------------------------- */

static int collect(void *ctx, const uint8_t *bytes, size_t len)
{
	return buf_add(ctx, bytes, len);
}

static int read_reply(struct buf *body, json_t **ret_json)
{
	json_error_t error;
	json_t *json;

	if (!buf_len(body)) {
		*ret_json = json_object();
		return *ret_json ? CTL_OK :
				   ctl_fail(CTL_LOCAL, "out of memory");
	}
	json = json_loadb((const char *)buf_head(body), buf_len(body), 0,
			  &error);
	if (!json_is_object(json)) {
		json_decref(json);
		return ctl_fail(CTL_NETWORK,
				"the service's answer is not JSON: %s",
				error.text);
	}
	*ret_json = json;
	return CTL_OK;
}

int service_try(struct ctl *ctl, const char *endpoint, const char *path,
		json_t *request, json_t **ret_reply_json,
		struct kvs_reply *ret_reply)
{
	struct kvs_reply reply = { 0 };
	json_t *json = NULL;
	struct buf body;
	char *text;
	int code;
	int r;

	*ret_reply = reply;
	code = service_open(ctl);
	text = code == CTL_OK && request ?
		       json_dumps(request, JSON_COMPACT | OUTPUT_JSON_FLAGS) :
		       NULL;
	json_decref(request);
	if (code != CTL_OK)
		return code;
	if (!text)
		return ctl_fail(CTL_LOCAL, "out of memory");
	buf_init(&body, CTL_REPLY_BYTES_MAX);
	r = kvs_client_call(ctl->client, endpoint, path, text, strlen(text),
			    collect, &body, &reply);
	free(text);
	if (r < 0) {
		code = service_unreached(ctl, r,
					 kvs_client_reason(ctl->client));
	} else {
		*ret_reply = reply;
		code = reply.status == 200 ? read_reply(&body, &json) :
					     code_of(&reply);
	}
	buf_fini(&body);
	if (code == CTL_OK && ret_reply_json)
		*ret_reply_json = json;
	else
		json_decref(json);
	return code;
}

int service_call(struct ctl *ctl, const char *endpoint, const char *path,
		 const char *stream, json_t *request, json_t **ret_reply_json)
{
	struct kvs_reply reply;
	int code = service_try(ctl, endpoint, path, request, ret_reply_json,
			       &reply);

	if (code == CTL_OK || !reply.status || reply.status == 200)
		return code;
	if (code == CTL_NOT_FOUND && stream)
		return ctl_fail(code,
				"stream '%s' does not exist; create it: "
				"kvsctl create-stream %s --retention 24h",
				stream, stream);
	return service_complain(&reply, stream);
}

int service_describe(struct ctl *ctl, const char *stream, json_t **ret_info)
{
	json_t *reply;
	json_t *info;
	int code;

	code = service_call(ctl, NULL, "/describeStream", stream,
			    json_pack("{s:s}", "StreamName", stream), &reply);
	if (code != CTL_OK)
		return code;
	info = json_incref(json_object_get(reply, "StreamInfo"));
	json_decref(reply);
	if (!json_is_object(info)) {
		json_decref(info);
		return ctl_fail(CTL_NETWORK,
				"the service's answer has no StreamInfo");
	}
	*ret_info = info;
	return CTL_OK;
}

int service_endpoint(struct ctl *ctl, const char *stream, const char *api,
		     char ret_url[SERVICE_URL_CHARS_MAX])
{
	const char *url;
	json_t *reply;
	int code;

	code = service_call(ctl, NULL, "/getDataEndpoint", stream,
			    json_pack("{s:s, s:s}", "StreamName", stream,
				      "APIName", api),
			    &reply);
	if (code != CTL_OK)
		return code;
	url = json_string_value(json_object_get(reply, "DataEndpoint"));
	if (url && strlen(url) < SERVICE_URL_CHARS_MAX)
		memcpy(ret_url, url, strlen(url) + 1);
	else
		code = ctl_fail(CTL_NETWORK,
				"the service's answer has no DataEndpoint");
	json_decref(reply);
	return code;
}
