/* SPDX-License-Identifier: Apache-2.0 */
/* Heads of signed requests, for the control plane and for PutMedia. */
#ifndef IO_AWS_REQUEST_H
#define IO_AWS_REQUEST_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/macros.h"
#include "proto/http.h"
#include "proto/limits.h"
#include "proto/sigv4.h"

#define ENDPOINT_HOST_CHARS_MAX 253u	/* DNS */

struct endpoint {
	char host[ENDPOINT_HOST_CHARS_MAX + 1];	/* without brackets */
	uint16_t port;
};

/**
 * endpoint_parse() - "https://HOST[:PORT]", an IPv6 address in brackets
 *
 * A single slash at the end is accepted. Return: 0, -EINVAL.
 */
int endpoint_parse(const char *url, struct endpoint *ret) MUST_CHECK;

/* Copies of what signs requests. The token is "" when there is none. */
struct aws_identity {
	char access_key_id[SIGV4_ACCESS_KEY_CHARS_MAX + 1];
	char secret[SIGV4_SECRET_CHARS_MAX + 1];
	char *token;	/* heap: session tokens are long */
	char region[SIGV4_SCOPE_CHARS_MAX + 1];
	char user_agent[128];
};

struct kvs_client_config;

/* Return: 0, -EINVAL (missing or too long), -ENOMEM. */
int aws_identity_init(struct aws_identity *id,
		      const struct kvs_client_config *config) MUST_CHECK;
/* Wipes the secrets. */
void aws_identity_fini(struct aws_identity *id);

struct aws_request {
	const struct endpoint *endpoint;
	const char *path;
	const struct http_field *fields; /* signed besides host, date, token */
	size_t field_count;		 /* at most AWS_REQUEST_FIELDS_MAX */
	const uint8_t *body_hash;	 /* sigv4_empty_hash for PutMedia */
	/* Bytes of the body; UINT64_MAX = chunked. */
	uint64_t body_bytes;
	uint64_t now_s;			 /* Unix epoch, for the signature */
};

#define AWS_REQUEST_FIELDS_MAX 8u

/* Appends a POST's head. Return: 0, -EINVAL, -ENOBUFS, -ENOMEM, -EIO. */
int aws_request_head(const struct aws_identity *id,
		     const struct aws_request *rq, struct buf *out) MUST_CHECK;

#endif
