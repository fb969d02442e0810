/* SPDX-License-Identifier: Apache-2.0 */
#include "io/aws_request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kvs/client.h>

#include "base/parse.h"
#include "io/crypto.h"
#include "proto/epoch.h"

#define HTTPS_PORT 443u
#define HOST_HEADER_CHARS (ENDPOINT_HOST_CHARS_MAX + 16)
#define AUTHORIZATION_BYTES_MAX 2048u

static bool host_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_' ||
	       c == ':';
}

static int take_host(struct slice host, bool bracketed, struct endpoint *ep)
{
	if (!host.len || host.len > ENDPOINT_HOST_CHARS_MAX)
		return -EINVAL;
	for (size_t i = 0; i < host.len; i++)
		if (!host_char(host.ptr[i]) ||
		    (host.ptr[i] == ':' && !bracketed))
			return -EINVAL;
	memcpy(ep->host, host.ptr, host.len);
	ep->host[host.len] = '\0';
	return 0;
}

int endpoint_parse(const char *url, struct endpoint *ret)
{
	static const char scheme[] = "https://";
	struct slice rest;
	struct slice host;
	struct endpoint ep = { .port = HTTPS_PORT };
	bool bracketed;
	uint64_t port;
	bool has_port;

	if (strncmp(url, scheme, sizeof(scheme) - 1) != 0)
		return -EINVAL;
	rest = slice_of(url + sizeof(scheme) - 1);
	if (rest.len && rest.ptr[rest.len - 1] == '/')
		rest.len--;
	bracketed = rest.len && rest.ptr[0] == '[';
	if (bracketed) {
		if (!memchr(rest.ptr, ']', rest.len))
			return -EINVAL;
		rest.ptr++;
		rest.len--;
		host = slice_cut(&rest, ']');
		has_port = rest.len && rest.ptr[0] == ':';
		if (rest.len && !has_port)
			return -EINVAL;
		rest.ptr += has_port;
		rest.len -= has_port;
	} else {
		has_port = memchr(rest.ptr, ':', rest.len) != NULL;
		host = slice_cut(&rest, ':');
	}
	if (take_host(host, bracketed, &ep) < 0)
		return -EINVAL;
	if (has_port) {
		if (parse_u64(rest.ptr, rest.len, UINT16_MAX, &port) < 0 ||
		    !port)
			return -EINVAL;
		ep.port = (uint16_t)port;
	}
	*ret = ep;
	return 0;
}

/* --- identity -------------------------------------------------------------- */

static int copy_text(char *out, size_t size, const char *text)
{
	size_t len = text ? strlen(text) : 0;

	if (!len || len >= size)
		return -EINVAL;
	memcpy(out, text, len + 1);
	return 0;
}

int aws_identity_init(struct aws_identity *id,
		      const struct kvs_client_config *config)
{
	const struct kvs_credentials *c = &config->credentials;
	const char *region = config->region ? config->region : "us-west-2";
	const char *agent = config->user_agent ? config->user_agent :
						 "kvsproducer/0.1";

	memset(id, 0, sizeof(*id));
	if (copy_text(id->access_key_id, sizeof(id->access_key_id),
		      c->access_key_id) < 0 ||
	    copy_text(id->secret, sizeof(id->secret),
		      c->secret_access_key) < 0 ||
	    copy_text(id->region, sizeof(id->region), region) < 0 ||
	    copy_text(id->user_agent, sizeof(id->user_agent), agent) < 0) {
		aws_identity_fini(id);
		return -EINVAL;
	}
	id->token = strdup(c->session_token ? c->session_token : "");
	if (!id->token) {
		aws_identity_fini(id);
		return -ENOMEM;
	}
	return 0;
}

void aws_identity_fini(struct aws_identity *id)
{
	if (id->token)
		crypto_wipe(id->token, strlen(id->token));
	free(id->token);
	crypto_wipe(id, sizeof(*id));
}

/* --- heads ------------------------------------------------------------------ */

static void host_header(const struct endpoint *ep, char out[HOST_HEADER_CHARS])
{
	bool v6 = strchr(ep->host, ':') != NULL;
	int n = snprintf(out, HOST_HEADER_CHARS, "%s%s%s", v6 ? "[" : "",
			 ep->host, v6 ? "]" : "");

	if (ep->port != HTTPS_PORT)
		(void)snprintf(out + n, HOST_HEADER_CHARS - (size_t)n, ":%u",
			       (unsigned int)ep->port);
}

static int sign(const struct aws_identity *id, const struct aws_request *rq,
		const struct http_field *fields, size_t count,
		struct buf *authorization)
{
	struct sigv4_request request = {
		.method = SLICE("POST"),
		.path = slice_of(rq->path),
		.fields = fields,
		.field_count = count,
		.body_hash = rq->body_hash,
	};
	struct sigv4_credentials cred = {
		.access_key_id = slice_of(id->access_key_id),
		.secret = slice_of(id->secret),
		.token = slice_of(id->token),
	};
	struct sigv4_scope scope = {
		.region = slice_of(id->region),
		.service = SLICE("kinesisvideo"),
	};
	struct buf work;
	int r;

	buf_init(&work, SIGV4_CANONICAL_BYTES_MAX);
	r = sigv4_sign(&request, &cred, &scope, crypto_sigv4_hash(), &work,
		       authorization);
	buf_fini(&work);
	return r;
}

static int write_head(const struct aws_identity *id,
		      const struct aws_request *rq,
		      const struct http_field *fields, size_t count,
		      struct buf *authorization, struct buf *out)
{
	struct slice value = { (const char *)buf_head(authorization),
			       buf_len(authorization) };

	(void)http_request_begin(out, "POST", slice_of(rq->path));
	for (size_t i = 0; i < count; i++) {
		char name[64];
		size_t n = MIN(fields[i].name.len, sizeof(name) - 1);

		memcpy(name, fields[i].name.ptr, n);
		name[n] = '\0';
		(void)http_add(out, name, fields[i].value);
	}
	(void)http_add(out, "Authorization", value);
	(void)http_add_str(out, "User-Agent", id->user_agent);
	if (rq->body_bytes == UINT64_MAX)
		(void)http_add_str(out, "Transfer-Encoding", "chunked");
	else
		(void)http_add_u64(out, "Content-Length", rq->body_bytes);
	return http_head_end(out);
}

int aws_request_head(const struct aws_identity *id,
		     const struct aws_request *rq, struct buf *out)
{
	struct http_field fields[AWS_REQUEST_FIELDS_MAX + 3];
	char host[HOST_HEADER_CHARS];
	char date[EPOCH_BASIC_CHARS + 1];
	struct buf authorization;
	size_t count = 0;
	int r;

	if (rq->field_count > AWS_REQUEST_FIELDS_MAX || rq->now_s > EPOCH_S_MAX)
		return -EINVAL;
	host_header(rq->endpoint, host);
	epoch_basic_format(rq->now_s, date);
	fields[count++] = (struct http_field){ SLICE("Host"), slice_of(host) };
	fields[count++] =
		(struct http_field){ SLICE("X-Amz-Date"), slice_of(date) };
	if (id->token[0])
		fields[count++] =
			(struct http_field){ SLICE("X-Amz-Security-Token"),
					     slice_of(id->token) };
	for (size_t i = 0; i < rq->field_count; i++)
		fields[count++] = rq->fields[i];
	buf_init(&authorization, AUTHORIZATION_BYTES_MAX);
	r = sign(id, rq, fields, count, &authorization);
	if (r == 0)
		r = write_head(id, rq, fields, count, &authorization, out);
	buf_fini(&authorization);
	return r;
}
