/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AWS Signature Version 4: signing and verifying with one canonicalisation,
 * in header form (Authorization) and query form (presigned URLs).
 *
 * Hash functions are handed in, since this layer links no library:
 * io/crypto.h has them. Nothing here reads a clock.
 */
#ifndef PROTO_SIGV4_H
#define PROTO_SIGV4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/macros.h"
#include "proto/http.h"
#include "proto/limits.h"
#include "proto/slice.h"

#define SIGV4_HASH_BYTES 32u
#define SIGV4_HEX_CHARS 64u
#define SIGV4_DATE_CHARS 16u		/* 20150830T123600Z */

/* Each returns 0 or -errno (-ENOMEM, -EIO) and writes @ret only on 0. */
struct sigv4_hash {
	int (*sha256)(const struct slice *parts, size_t count,
		      uint8_t ret[SIGV4_HASH_BYTES]);
	int (*hmac_sha256)(const void *key, size_t key_len,
			   const struct slice *parts, size_t count,
			   uint8_t ret[SIGV4_HASH_BYTES]);
};

/* SHA-256 of no bytes: what PutMedia and WebSocket upgrades sign as body. */
extern const uint8_t sigv4_empty_hash[SIGV4_HASH_BYTES];

struct sigv4_scope {
	struct slice region;	/* "eu-central-1" */
	struct slice service;	/* "kinesisvideo" */
};

struct sigv4_credentials {
	struct slice access_key_id;
	struct slice secret;
	struct slice token;	/* empty for long-lived keys */
};

/* A request as both sides see it; slices are borrowed during the call. */
struct sigv4_request {
	struct slice method;
	struct slice path;	/* as on the request line, before '?' */
	struct slice query;	/* as on the request line, after '?' */
	const struct http_field *fields;
	size_t field_count;
	/*
	 * SHA-256 of the body, or sigv4_empty_hash for PutMedia. Without the
	 * body at hand use NULL: then only a request whose x-amz-content-sha256
	 * is UNSIGNED-PAYLOAD can be verified.
	 */
	const uint8_t *body_hash;
};

/* The request of @h; body_hash is left NULL. */
struct sigv4_request sigv4_request_of(const struct http_head *h);

/* --- verifying --------------------------------------------------------- */

enum sigv4_verdict {
	SIGV4_OK = 0,
	SIGV4_MISSING,		/* no signature at all */
	SIGV4_INCOMPLETE,	/* malformed, or a required part is missing */
	SIGV4_UNKNOWN_KEY,	/* set by the caller who looks the key up */
	SIGV4_EXPIRED,		/* outside the clock skew or past X-Amz-Expires */
	SIGV4_WRONG_SCOPE,	/* other region, service, date or terminator */
	SIGV4_MISMATCH,		/* signature, body hash or token differ */
	SIGV4_FAILED,		/* our own trouble: no memory, hash failed */
};
#define SIGV4_VERDICT_COUNT (SIGV4_FAILED + 1)

/* The contract's error name, status and a message for the client. */
struct sigv4_error {
	const char *type;
	unsigned int status;
	const char *message;
};
const struct sigv4_error *sigv4_error(enum sigv4_verdict verdict);

/* What a request claims, not yet believed. */
struct sigv4_claim {
	bool presigned;
	struct slice access_key_id;
	struct slice scope;	/* "20150830/us-east-1/service/aws4_request" */
	struct slice date;	/* the parts of the scope */
	struct slice region;
	struct slice service;
	struct slice terminator;
	struct slice signed_headers;
	struct slice signature;
	struct slice token;	/* presigned: still percent-encoded */
	char timestamp[SIGV4_DATE_CHARS + 1];
	uint64_t signed_s;	/* the timestamp as epoch seconds */
	uint64_t expires_s;	/* presigned: seconds of validity */
	/* Presigned: the decoded credential and signed headers. */
	char store[SIGV4_CLAIM_CHARS_MAX];
};

/**
 * sigv4_parse() - find and check the form of a request's signature
 * @ret_claim: filled when the result is SIGV4_OK; points into the request and
 *	into itself, so do not copy it
 *
 * Checks form only: all parts there and once, the date one, it and host among
 * the signed headers, and those in order. Other headers may stay unsigned: the C producer
 * adds its security token after signing (verify compares it anyway) and
 * proxies add headers of their own; TLS guards those.
 *
 * Return: SIGV4_OK, _MISSING, _INCOMPLETE.
 */
enum sigv4_verdict sigv4_parse(const struct sigv4_request *rq,
			       struct sigv4_claim *ret_claim) MUST_CHECK;

/**
 * sigv4_check() - scope and clock
 * @now_s: epoch seconds
 *
 * Return: SIGV4_OK, _WRONG_SCOPE, _EXPIRED.
 */
enum sigv4_verdict sigv4_check(const struct sigv4_claim *claim,
			       const struct sigv4_scope *scope,
			       uint64_t now_s) MUST_CHECK;

/**
 * sigv4_verify() - compare the signature, in constant time
 * @cred: of claim->access_key_id, looked up by the caller. With a token in it
 *	the request must carry exactly that token; without one, none.
 * @work: scratch of at least SIGV4_CANONICAL_BYTES_MAX; reset here
 *
 * Return: SIGV4_OK, _MISMATCH, _FAILED.
 */
enum sigv4_verdict sigv4_verify(const struct sigv4_claim *claim,
				const struct sigv4_request *rq,
				const struct sigv4_credentials *cred,
				const struct sigv4_hash *hash,
				struct buf *work) MUST_CHECK;

/* --- signing ----------------------------------------------------------- */

/**
 * sigv4_sign() - the value of the Authorization header
 * @rq: all its fields are signed; they must hold Host and X-Amz-Date, and
 *	X-Amz-Security-Token when @cred has a token
 * @work: scratch as for sigv4_verify(); reset here
 * @out: the value is appended
 *
 * Return: 0, -EINVAL (a required field is missing or malformed), -ENOBUFS,
 * -ENOMEM or the error of @hash.
 */
int sigv4_sign(const struct sigv4_request *rq,
	       const struct sigv4_credentials *cred,
	       const struct sigv4_scope *scope, const struct sigv4_hash *hash,
	       struct buf *work, struct buf *out) MUST_CHECK;

/* --- parts, for tests and tools ---------------------------------------- */

/**
 * sigv4_canonical() - append the canonical request
 * @signed_headers: lower-case names, sorted, separated by ';'
 * @presigned: leave X-Amz-Signature out of the query
 *
 * Return: 0, -EINVAL (a signed header is absent, names are not sorted, the
 * query cannot be decoded, body_hash is needed and NULL), -EMSGSIZE (over
 * HTTP_QUERY_PARAMS_MAX or SIGV4_PATH_SEGMENTS_MAX), -ENOBUFS, -ENOMEM.
 */
int sigv4_canonical(const struct sigv4_request *rq, struct slice signed_headers,
		    bool presigned, struct buf *out) MUST_CHECK;

/* The signing key of one day, region and service. */
int sigv4_signing_key(const struct sigv4_hash *hash, struct slice secret,
		      struct slice date, struct slice region,
		      struct slice service,
		      uint8_t ret_key[SIGV4_HASH_BYTES]) MUST_CHECK;

/* Lower-case hex with a NUL at the end. */
void sigv4_hex(const uint8_t bytes[SIGV4_HASH_BYTES],
	       char out[SIGV4_HEX_CHARS + 1]);

#endif
