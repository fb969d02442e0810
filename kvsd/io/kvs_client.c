/* SPDX-License-Identifier: Apache-2.0 */
/* The blocking client: one call at a time on a loop of its own. */
#include <kvs/client.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/sys.h"
#include "core/limits.h"
#include "core/loop.h"
#include "io/api_call.h"
#include "io/aws_request.h"
#include "io/loop_uring.h"
#include "io/tls.h"

#define CLIENT_LOOP_ENTRIES 32u
#define CLIENT_TIMEOUT_MS 30000u
#define URL_CHARS_MAX 512u

struct kvs_client {
	struct loop *loop;
	struct tls_ctx *tls;
	struct aws_identity id;
	struct api_caller *caller;
	char endpoint[URL_CHARS_MAX];
	char reason[300];
	kvs_body_fn *body;
	void *body_ctx;
	bool over;
	int result;
};

DEFINE_AUTO(kvs_client_free, struct kvs_client *)

static int take_endpoint(struct kvs_client *c,
			 const struct kvs_client_config *config)
{
	const char *region = c->id.region;
	const char *domain = strncmp(region, "cn-", 3) == 0 ?
				     "amazonaws.com.cn" : "amazonaws.com";
	struct endpoint parsed;
	int n;

	if (config->endpoint)
		n = snprintf(c->endpoint, sizeof(c->endpoint), "%s",
			     config->endpoint);
	else
		n = snprintf(c->endpoint, sizeof(c->endpoint),
			     "https://kinesisvideo.%s.%s", region, domain);
	if (n < 0 || (size_t)n >= sizeof(c->endpoint))
		return -EINVAL;
	return endpoint_parse(c->endpoint, &parsed);
}

int kvs_client_new(const struct kvs_client_config *config,
		   struct kvs_client **ret_client)
{
	AUTO(kvs_client_free) struct kvs_client *c = calloc(1, sizeof(*c));
	uint64_t timeout_ms = config->timeout_ms ? config->timeout_ms :
						   CLIENT_TIMEOUT_MS;
	int r;

	if (!c)
		return -ENOMEM;
	r = aws_identity_init(&c->id, config);
	if (r == 0)
		r = take_endpoint(c, config);
	if (r == 0)
		r = tls_ctx_new_client(config->ca_bundle, &c->tls);
	if (r == 0)
		r = loop_uring_new(sys_posix(), CLIENT_LOOP_ENTRIES, &c->loop);
	if (r == -EPERM)
		r = -ENOSYS;
	if (r == 0)
		r = api_caller_new(c->loop, sys_posix(), c->tls, &c->id,
				   timeout_ms * NS_PER_MS, &c->caller);
	if (r < 0)
		return r;
	*ret_client = TAKE_PTR(c);
	return 0;
}

struct kvs_client *kvs_client_free(struct kvs_client *c)
{
	if (!c)
		return NULL;
	(void)api_caller_free(c->caller);
	(void)loop_free(c->loop);
	(void)tls_ctx_free(c->tls);
	aws_identity_fini(&c->id);
	free(c);
	return NULL;
}

static int call_body(void *ctx, const uint8_t *bytes, size_t len)
{
	struct kvs_client *c = ctx;

	return c->body ? c->body(c->body_ctx, bytes, len) : 0;
}

static void call_done(void *ctx, int result)
{
	struct kvs_client *c = ctx;

	c->over = true;
	c->result = result;
}

int kvs_client_call(struct kvs_client *c, const char *endpoint,
		    const char *path, const char *json, size_t len,
		    kvs_body_fn *body, void *ctx, struct kvs_reply *ret_reply)
{
	int r;

	c->over = false;
	c->body = body;
	c->body_ctx = ctx;
	c->reason[0] = '\0';
	r = api_call(c->caller, endpoint ? endpoint : c->endpoint, path, json,
		     len, 0, call_body, call_done, c);
	while (r == 0 && !c->over)
		r = loop_turn(c->loop, NS_PER_S);
	if (r == 0)
		r = c->result;
	if (r < 0) {
		const char *words = api_caller_reason(c->caller);

		(void)snprintf(c->reason, sizeof(c->reason), "%s",
			       words[0] ? words : strerror(-r));
		return r;
	}
	*ret_reply = *api_caller_reply(c->caller);
	return 0;
}

const char *kvs_client_reason(const struct kvs_client *c)
{
	return c->reason;
}
