/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to the service, with its errors turned into words and exit codes. */
#ifndef KVSCTL_SERVICE_H
#define KVSCTL_SERVICE_H

#include <stdint.h>

#include <jansson.h>
#include <kvs/client.h>

#include "base/macros.h"
#include "kvsctl/ctl.h"

#define SERVICE_URL_CHARS_MAX 512u

/*
 * Resolves the settings and sets up the client; once. Every function here
 * returns CTL_OK or the code to exit with, explained on stderr.
 */
int service_open(struct ctl *ctl) MUST_CHECK;
/* What of the settings the libraries want. Borrows from @ctl. */
struct kvs_client_config service_config(const struct ctl *ctl);
/* Ends the connection before something long; the next call opens another. */
void service_hang_up(struct ctl *ctl);
void service_close(struct ctl *ctl);

/**
 * service_try() - one call whose refusal the caller explains
 * @endpoint: NULL = the control plane
 * @request: a new reference, given away
 * @ret_reply_json: a new reference, with CTL_OK; may be NULL
 * @ret_reply: what the service said, with CTL_OK and when it refused
 *
 * A refusal comes back as its code without words, @ret_reply->status not 0;
 * everything else is explained.
 */
int service_try(struct ctl *ctl, const char *endpoint, const char *path,
		json_t *request, json_t **ret_reply_json,
		struct kvs_reply *ret_reply) MUST_CHECK;

/* Explains a refusal. @stream: what it was about, or NULL. Return: the code. */
int service_complain(const struct kvs_reply *reply, const char *stream);

/* Explains a call that failed before an answer. Return: the code. */
int service_unreached(const struct ctl *ctl, int error, const char *reason);

/* service_try() and service_complain(). */
int service_call(struct ctl *ctl, const char *endpoint, const char *path,
		 const char *stream, json_t *request,
		 json_t **ret_reply_json) MUST_CHECK;

/* DescribeStream's StreamInfo, a new reference. */
int service_describe(struct ctl *ctl, const char *stream,
		     json_t **ret_info) MUST_CHECK;

/* Where @api ("GET_MEDIA", ...) of the stream is served. */
int service_endpoint(struct ctl *ctl, const char *stream, const char *api,
		     char ret_url[SERVICE_URL_CHARS_MAX]) MUST_CHECK;

#endif
