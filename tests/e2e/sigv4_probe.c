/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our SigV4 at the end of a pipe, for tests/e2e/sigv4_differential.py.
 *
 * Each record on stdin: 4 bytes big-endian length, a letter, a request head
 * and its body. 'v' verifies, 's' signs every header. Each answer is a line:
 * a verdict or the value for Authorization. Region, service, key and time are
 * argv[1..6]: REGION SERVICE KEY_ID SECRET TOKEN EPOCH_SECONDS.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/parse.h"
#include "io/crypto.h"
#include "proto/sigv4.h"

#define RECORD_BYTES_MAX (64u * 1024)

static const char *const verdicts[] = {
	[SIGV4_OK] = "OK",
	[SIGV4_MISSING] = "MISSING",
	[SIGV4_INCOMPLETE] = "INCOMPLETE",
	[SIGV4_UNKNOWN_KEY] = "UNKNOWN_KEY",
	[SIGV4_EXPIRED] = "EXPIRED",
	[SIGV4_WRONG_SCOPE] = "WRONG_SCOPE",
	[SIGV4_MISMATCH] = "MISMATCH",
	[SIGV4_FAILED] = "FAILED",
};

struct probe {
	struct sigv4_scope scope;
	struct sigv4_credentials cred;
	uint64_t now_s;
	struct buf work;
	struct buf out;
	struct http_head head;
	struct sigv4_claim claim;
};

static enum sigv4_verdict verify(struct probe *p,
				 const struct sigv4_request *rq)
{
	enum sigv4_verdict v = sigv4_parse(rq, &p->claim);

	if (v == SIGV4_OK &&
	    !slice_eq(p->claim.access_key_id, p->cred.access_key_id))
		v = SIGV4_UNKNOWN_KEY;
	if (v == SIGV4_OK)
		v = sigv4_check(&p->claim, &p->scope, p->now_s);
	if (v == SIGV4_OK)
		v = sigv4_verify(&p->claim, rq, &p->cred, crypto_sigv4_hash(),
				 &p->work);
	return v;
}

static void answer(struct probe *p, char what, const uint8_t *bytes,
		   size_t len)
{
	struct slice body = { NULL, 0 };
	uint8_t hash[SIGV4_HASH_BYTES];
	struct sigv4_request rq;
	int r = http_request_parse(bytes, len, &p->head);

	if (r <= 0) {
		(void)puts("BAD_HEAD");
		return;
	}
	body = (struct slice){ (const char *)bytes + r, len - (size_t)r };
	rq = sigv4_request_of(&p->head);
	if (crypto_sha256(&body, 1, hash) < 0)
		exit(1);
	rq.body_hash = hash;
	if (what == 'v') {
		(void)puts(verdicts[verify(p, &rq)]);
		return;
	}
	buf_reset(&p->out);
	r = sigv4_sign(&rq, &p->cred, &p->scope, crypto_sigv4_hash(), &p->work,
		       &p->out);
	if (r < 0)
		(void)printf("ERROR %d\n", r);
	else
		(void)printf("%.*s\n", (int)buf_len(&p->out),
			     (char *)buf_head(&p->out));
}

int main(int argc, char **argv)
{
	static uint8_t record[RECORD_BYTES_MAX];
	static struct probe p;
	uint8_t length[4];

	if (argc != 7 || parse_u64(argv[6], strlen(argv[6]), UINT64_MAX,
				   &p.now_s) < 0) {
		(void)fprintf(stderr, "usage: %s REGION SERVICE KEY_ID SECRET "
				      "TOKEN EPOCH_SECONDS\n",
			      argv[0]);
		return 2;
	}
	p.scope = (struct sigv4_scope){ slice_of(argv[1]), slice_of(argv[2]) };
	p.cred = (struct sigv4_credentials){ slice_of(argv[3]),
					     slice_of(argv[4]),
					     slice_of(argv[5]) };
	buf_init(&p.work, SIGV4_CANONICAL_BYTES_MAX);
	buf_init(&p.out, RECORD_BYTES_MAX);
	while (fread(length, 1, sizeof(length), stdin) == sizeof(length)) {
		size_t len = load_be32(length);

		if (!len || len > sizeof(record) ||
		    fread(record, 1, len, stdin) != len)
			return 1;
		answer(&p, (char)record[0], record + 1, len - 1);
		(void)fflush(stdout);
	}
	buf_fini(&p.work);
	buf_fini(&p.out);
	return 0;
}
