/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SigV4 on arbitrary request heads. Checked: a foreign signature never
 * verifies; what we sign verifies, whatever path, query and headers are in
 * it, and no longer does once a bit of the signature differs.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "io/crypto.h"
#include "proto/sigv4.h"

#define NOW "20150830T123600Z"
#define NOW_S 1440938160u

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static const struct sigv4_scope scope = { SLICE_INIT("us-east-1"),
					  SLICE_INIT("kinesisvideo") };
static const struct sigv4_credentials cred = { SLICE_INIT("AKIDEXAMPLE"),
					       SLICE_INIT("secret"),
					       { NULL, 0 } };

static enum sigv4_verdict judge(const struct sigv4_request *rq,
				struct buf *work)
{
	static struct sigv4_claim claim;
	enum sigv4_verdict v = sigv4_parse(rq, &claim);

	if (v == SIGV4_OK)
		v = sigv4_check(&claim, &scope, NOW_S);
	if (v == SIGV4_OK)
		v = sigv4_verify(&claim, rq, &cred, crypto_sigv4_hash(), work);
	return v;
}

/* The request's own headers, without those that signing adds. */
static size_t keep_fields(const struct http_head *h, struct http_field *out)
{
	static const char *const dropped[] = {
		"authorization", "x-amz-date", "x-amz-security-token",
		"x-amz-content-sha256",
	};
	size_t count = 0;
	unsigned int i;
	size_t j;

	for (i = 0; i < h->field_count; i++) {
		for (j = 0; j < ARRAY_SIZE(dropped); j++) {
			if (slice_eq_nocase(h->fields[i].name,
					    slice_of(dropped[j])))
				break;
		}
		if (j == ARRAY_SIZE(dropped))
			out[count++] = h->fields[i];
	}
	return count;
}

static void fuzz_sign(const struct http_head *h, struct buf *work)
{
	struct http_field fields[HTTP_FIELDS_MAX + 2];
	struct sigv4_request rq = sigv4_request_of(h);
	struct http_field *authorization;
	char algorithm[32];
	char *last;
	struct buf out;

	/* A request with a signature in its query takes no second one. */
	if (http_query_get(rq.query, "X-Amz-Algorithm", algorithm,
			   sizeof(algorithm)) != -ENOENT)
		return;
	rq.fields = fields;
	rq.field_count = keep_fields(h, fields);
	rq.body_hash = sigv4_empty_hash;
	fields[rq.field_count++] =
		(struct http_field){ SLICE("X-Amz-Date"), SLICE(NOW) };
	buf_init(&out, 65536);
	if (sigv4_sign(&rq, &cred, &scope, crypto_sigv4_hash(), work, &out) ==
	    0) {
		authorization = &fields[rq.field_count++];
		authorization->name = SLICE("Authorization");
		authorization->value = (struct slice){
			(const char *)buf_head(&out), buf_len(&out)
		};
		check(judge(&rq, work) == SIGV4_OK);
		last = (char *)buf_head(&out) + buf_len(&out) - 1;
		*last ^= 1;
		check(judge(&rq, work) == SIGV4_MISMATCH);
	}
	buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static struct http_head h;
	struct sigv4_request rq;
	struct buf work;

	if (http_request_parse(bytes, len, &h) <= 0)
		return 0;
	buf_init(&work, SIGV4_CANONICAL_BYTES_MAX);
	rq = sigv4_request_of(&h);
	check(judge(&rq, &work) != SIGV4_OK);
	rq.body_hash = sigv4_empty_hash;
	check(judge(&rq, &work) != SIGV4_OK);
	fuzz_sign(&h, &work);
	buf_fini(&work);
	return 0;
}
