/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "io/crypto.h"
#include "proto/epoch.h"
#include "proto/sigv4.h"

/* The published test suite's identity. */
#define AKID "AKIDEXAMPLE"
#define SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define NOW "20150830T123600Z"
#define HOST { SLICE_INIT("Host"), SLICE_INIT("example.amazonaws.com") }
#define DATE { SLICE_INIT("X-Amz-Date"), SLICE_INIT(NOW) }
#define NOW_S 1440938160u

static const struct sigv4_scope scope = { SLICE_INIT("us-east-1"),
					  SLICE_INIT("service") };
static const struct sigv4_credentials plain = { SLICE_INIT(AKID), SLICE_INIT(SECRET),
						{ NULL, 0 } };

struct fixture {
	struct buf work;
	struct buf out;
	struct sigv4_claim claim;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	buf_init(&f->work, SIGV4_CANONICAL_BYTES_MAX);
	buf_init(&f->out, 16384);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	buf_fini(&f->work);
	buf_fini(&f->out);
	free(f);
	return 0;
}

struct vector {
	const char *name;
	const char *method;
	const char *path;
	const char *query;
	struct http_field fields[5];
	size_t field_count;
	const char *body;
	const char *signature;
};

/* From aws-sig-v4-test-suite; paths are as its .req files have them. */
static const struct vector vectors[] = {
	{ "get-vanilla", "GET", "/", "", { HOST, DATE }, 2, "",
	  "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
	{ "get-vanilla-query-order-key-case", "GET", "/",
	  "Param2=value2&Param1=value1", { HOST, DATE }, 2, "",
	  "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500" },
	{ "get-vanilla-empty-query-key", "GET", "/", "Param1=value1",
	  { HOST, DATE }, 2, "",
	  "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb" },
	{ "get-vanilla-query-unreserved", "GET", "/",
	  "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	  "=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	  "abcdefghijklmnopqrstuvwxyz",
	  { HOST, DATE }, 2, "",
	  "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197" },
	{ "get-vanilla-utf8-query", "GET", "/", "\xe1\x88\xb4=bar",
	  { HOST, DATE }, 2, "",
	  "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04" },
	{ "get-unreserved", "GET",
	  "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	  "abcdefghijklmnopqrstuvwxyz",
	  "", { HOST, DATE }, 2, "",
	  "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f" },
	{ "get-utf8", "GET", "/\xe1\x88\xb4", "", { HOST, DATE }, 2, "",
	  "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85" },
	{ "get-space", "GET", "/example space/", "", { HOST, DATE }, 2, "",
	  "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741" },
	{ "get-slash", "GET", "//", "", { HOST, DATE }, 2, "",
	  "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
	{ "get-slashes", "GET", "//example//", "", { HOST, DATE }, 2, "",
	  "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84" },
	{ "get-slash-dot-slash", "GET", "/./", "", { HOST, DATE }, 2, "",
	  "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
	{ "get-slash-pointless-dot", "GET", "/./example", "", { HOST, DATE },
	  2, "",
	  "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5" },
	{ "get-relative", "GET", "/example/..", "", { HOST, DATE }, 2, "",
	  "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
	{ "get-relative-relative", "GET", "/example1/example2/../..", "",
	  { HOST, DATE }, 2, "",
	  "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
	{ "get-header-key-duplicate", "GET", "/", "",
	  { HOST,
	    { SLICE_INIT("My-Header1"), SLICE_INIT("value2") },
	    { SLICE_INIT("My-Header1"), SLICE_INIT("value2") },
	    { SLICE_INIT("My-Header1"), SLICE_INIT("value1") },
	    DATE },
	  5, "",
	  "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea" },
	{ "get-header-value-trim", "GET", "/", "",
	  { HOST,
	    { SLICE_INIT("My-Header1"), SLICE_INIT("value1") },
	    { SLICE_INIT("My-Header2"), SLICE_INIT("\"a   b   c\"") },
	    DATE },
	  4, "",
	  "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736" },
	{ "post-vanilla", "POST", "/", "", { HOST, DATE }, 2, "",
	  "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b" },
	{ "post-header-key-sort", "POST", "/", "",
	  { HOST, { SLICE_INIT("My-Header1"), SLICE_INIT("value1") }, DATE }, 3, "",
	  "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c" },
	{ "post-header-value-case", "POST", "/", "",
	  { HOST, { SLICE_INIT("My-Header1"), SLICE_INIT("VALUE1") }, DATE }, 3, "",
	  "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d" },
	{ "post-x-www-form-urlencoded", "POST", "/", "",
	  { { SLICE_INIT("Content-Type"),
	      SLICE_INIT("application/x-www-form-urlencoded") },
	    HOST,
	    DATE },
	  3, "Param1=value1",
	  "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a" },
};

static void hash_of(const char *body, uint8_t hash[SIGV4_HASH_BYTES])
{
	struct slice part = slice_of(body);

	assert_int_equal(crypto_sha256(&part, 1, hash), 0);
}

static void request_of(const struct vector *v, const uint8_t *hash,
		       struct sigv4_request *rq)
{
	*rq = (struct sigv4_request){
		.method = slice_of(v->method),
		.path = slice_of(v->path),
		.query = slice_of(v->query),
		.fields = v->fields,
		.field_count = v->field_count,
		.body_hash = hash,
	};
}

static void sigv4_sign_agrees_with_the_published_suite(void **state)
{
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(vectors); i++) {
		const struct vector *v = &vectors[i];
		uint8_t hash[SIGV4_HASH_BYTES];
		struct sigv4_request rq;
		size_t len;

		hash_of(v->body, hash);
		request_of(v, hash, &rq);
		buf_reset(&f->out);
		assert_int_equal(sigv4_sign(&rq, &plain, &scope,
					    crypto_sigv4_hash(), &f->work,
					    &f->out),
				 0);
		len = buf_len(&f->out);
		assert_true(len > 64);
		if (memcmp(buf_head(&f->out) + len - 64, v->signature, 64) != 0)
			fail_msg("%s: %.64s instead of %s\n%.*s", v->name,
				 (char *)buf_head(&f->out) + len - 64,
				 v->signature, (int)buf_len(&f->work),
				 (char *)buf_head(&f->work));
	}
}

static void sigv4_canonical_is_the_documented_text(void **state)
{
	static const char expected[] =
		"GET\n/\nAction=ListUsers&Version=2010-05-08\n"
		"content-type:application/x-www-form-urlencoded; "
		"charset=utf-8\nhost:iam.amazonaws.com\n"
		"x-amz-date:20150830T123600Z\n\n"
		"content-type;host;x-amz-date\n"
		"e3b0c44298fc1c149afbf4c8996fb924"
		"27ae41e4649b934ca495991b7852b855";
	const struct http_field fields[] = {
		{ SLICE("X-Amz-Date"), SLICE(NOW) },
		{ SLICE("Host"), SLICE("iam.amazonaws.com") },
		{ SLICE("Content-Type"),
		  SLICE("application/x-www-form-urlencoded; charset=utf-8") },
	};
	struct sigv4_request rq = {
		.method = SLICE("GET"),
		.path = SLICE("/"),
		.query = SLICE("Version=2010-05-08&Action=ListUsers"),
		.fields = fields,
		.field_count = ARRAY_SIZE(fields),
		.body_hash = sigv4_empty_hash,
	};
	struct fixture *f = *state;

	assert_int_equal(
		sigv4_canonical(&rq, SLICE("content-type;host;x-amz-date"),
				false, &f->work),
		0);
	assert_int_equal(buf_len(&f->work), sizeof(expected) - 1);
	assert_memory_equal(buf_head(&f->work), expected,
			    sizeof(expected) - 1);
}

static void sigv4_signing_key_is_the_documented_one(void **state)
{
	char hex[SIGV4_HEX_CHARS + 1];
	uint8_t key[SIGV4_HASH_BYTES];

	(void)state;
	assert_int_equal(sigv4_signing_key(crypto_sigv4_hash(), SLICE(SECRET),
					   SLICE("20150830"),
					   SLICE("us-east-1"), SLICE("iam"),
					   key),
			 0);
	sigv4_hex(key, hex);
	assert_string_equal(hex, "c4afb1cc5771d871763a393e44b703571b55cc28424"
				 "d1a5e86da6ed3c154a4b9");
}

/* --- verifying --------------------------------------------------------- */

/* A request that sigv4_sign() signed, to be damaged by the cases. */
struct signed_request {
	struct http_field fields[10];
	struct sigv4_request rq;
	char authorization[1024];
};

static void add_field(struct signed_request *s, const char *name,
		      const char *value)
{
	assert_true(s->rq.field_count < ARRAY_SIZE(s->fields));
	s->fields[s->rq.field_count++] =
		(struct http_field){ slice_of(name), slice_of(value) };
}

static void sign(struct fixture *f, struct signed_request *s,
		 const struct sigv4_credentials *cred)
{
	buf_reset(&f->out);
	assert_int_equal(sigv4_sign(&s->rq, cred, &scope, crypto_sigv4_hash(),
				    &f->work, &f->out),
			 0);
	assert_true(buf_len(&f->out) < sizeof(s->authorization));
	memcpy(s->authorization, buf_head(&f->out), buf_len(&f->out));
	s->authorization[buf_len(&f->out)] = '\0';
	add_field(s, "Authorization", s->authorization);
}

static void make_request(struct fixture *f, struct signed_request *s)
{
	memset(s, 0, sizeof(*s));
	s->rq = (struct sigv4_request){
		.method = SLICE("POST"),
		.path = SLICE("/putMedia"),
		.fields = s->fields,
		.body_hash = sigv4_empty_hash,
	};
	add_field(s, "Host", "kvs.test");
	add_field(s, "X-Amz-Date", NOW);
	add_field(s, "x-amzn-stream-name", "front");
	sign(f, s, &plain);
}

static enum sigv4_verdict judge(struct fixture *f, struct signed_request *s,
				const struct sigv4_credentials *cred,
				uint64_t now_s)
{
	enum sigv4_verdict v = sigv4_parse(&s->rq, &f->claim);

	if (v == SIGV4_OK)
		v = sigv4_check(&f->claim, &scope, now_s);
	if (v == SIGV4_OK)
		v = sigv4_verify(&f->claim, &s->rq, cred, crypto_sigv4_hash(),
				 &f->work);
	return v;
}

static void sigv4_verify_accepts_what_sign_made(void **state)
{
	struct fixture *f = *state;
	struct signed_request s;

	make_request(f, &s);
	assert_int_equal(judge(f, &s, &plain, NOW_S), SIGV4_OK);
	assert_true(slice_is(f->claim.access_key_id, AKID));
	assert_true(slice_is(f->claim.signed_headers,
			     "host;x-amz-date;x-amzn-stream-name"));
	/* An unsigned header more changes nothing. */
	add_field(&s, "X-Forwarded-For", "192.0.2.7");
	assert_int_equal(judge(f, &s, &plain, NOW_S), SIGV4_OK);
}

static void sigv4_verify_refuses_each_changed_part(void **state)
{
	const struct sigv4_credentials other = { SLICE(AKID), SLICE("other"),
						 { NULL, 0 } };
	struct fixture *f = *state;
	uint8_t hash[SIGV4_HASH_BYTES];
	struct signed_request s;
	char *last;

	make_request(f, &s);
	assert_int_equal(judge(f, &s, &other, NOW_S), SIGV4_MISMATCH);

	s.rq.path = SLICE("/getMedia");
	assert_int_equal(judge(f, &s, &plain, NOW_S), SIGV4_MISMATCH);
	s.rq.path = SLICE("/putMedia");
	s.rq.method = SLICE("GET");
	assert_int_equal(judge(f, &s, &plain, NOW_S), SIGV4_MISMATCH);
	s.rq.method = SLICE("POST");
	s.rq.query = SLICE("x=1");
	assert_int_equal(judge(f, &s, &plain, NOW_S), SIGV4_MISMATCH);
	s.rq.query = SLICE("");
	s.fields[2].value = SLICE("back");
	assert_int_equal(judge(f, &s, &plain, NOW_S), SIGV4_MISMATCH);
	s.fields[2].value = SLICE("front");
	hash_of("a body", hash);
	s.rq.body_hash = hash;
	assert_int_equal(judge(f, &s, &plain, NOW_S), SIGV4_MISMATCH);
	s.rq.body_hash = NULL;
	assert_int_equal(judge(f, &s, &plain, NOW_S), SIGV4_MISMATCH);
	s.rq.body_hash = sigv4_empty_hash;
	last = s.authorization + strlen(s.authorization) - 1;
	*last = *last == '0' ? '1' : '0';
	assert_int_equal(judge(f, &s, &plain, NOW_S), SIGV4_MISMATCH);
	s.fields[3].value.len--;
	assert_int_equal(judge(f, &s, &plain, NOW_S), SIGV4_MISMATCH);
	s.fields[2].name = SLICE("x-amzn-stream-arn");
	assert_int_equal(judge(f, &s, &plain, NOW_S), SIGV4_MISMATCH);
}

static void sigv4_check_bounds_the_clock_skew(void **state)
{
	struct fixture *f = *state;
	struct signed_request s;

	make_request(f, &s);
	assert_int_equal(judge(f, &s, &plain, NOW_S + 900), SIGV4_OK);
	assert_int_equal(judge(f, &s, &plain, NOW_S - 900), SIGV4_OK);
	assert_int_equal(judge(f, &s, &plain, NOW_S + 901), SIGV4_EXPIRED);
	assert_int_equal(judge(f, &s, &plain, NOW_S - 901), SIGV4_EXPIRED);
	assert_int_equal(judge(f, &s, &plain, 0), SIGV4_EXPIRED);
}

static void sigv4_check_refuses_another_scope(void **state)
{
	const struct sigv4_scope scopes[] = {
		{ SLICE("us-east-2"), SLICE("service") },
		{ SLICE("us-east-1"), SLICE("kinesisvideo") },
		{ SLICE(""), SLICE("service") },
	};
	struct fixture *f = *state;
	struct signed_request s;
	size_t i;

	make_request(f, &s);
	assert_int_equal(sigv4_parse(&s.rq, &f->claim), SIGV4_OK);
	for (i = 0; i < ARRAY_SIZE(scopes); i++)
		assert_int_equal(sigv4_check(&f->claim, &scopes[i], NOW_S),
				 SIGV4_WRONG_SCOPE);
	memcpy(strstr(s.authorization, "20150830"), "20150829", 8);
	assert_int_equal(judge(f, &s, &plain, NOW_S), SIGV4_WRONG_SCOPE);
	memcpy(strstr(s.authorization, "20150829"), "20150830", 8);
	memcpy(strstr(s.authorization, "aws4_request"), "aws5_request", 12);
	assert_int_equal(judge(f, &s, &plain, NOW_S), SIGV4_WRONG_SCOPE);
}

static void sigv4_parse_names_what_is_missing(void **state)
{
	static const struct {
		const char *authorization;
		enum sigv4_verdict verdict;
	} cases[] = {
		{ "Bearer abc", SIGV4_MISSING },
		{ "", SIGV4_MISSING },
		{ "AWS4-HMAC-SHA256", SIGV4_INCOMPLETE },
		{ "AWS4-ECDSA-P256-SHA256 Credential=a/b/c/d/e, "
		  "SignedHeaders=host, Signature=00",
		  SIGV4_INCOMPLETE },
		{ "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host",
		  SIGV4_INCOMPLETE },
		{ "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, Signature=00",
		  SIGV4_INCOMPLETE },
		{ "AWS4-HMAC-SHA256 SignedHeaders=host, Signature=00",
		  SIGV4_INCOMPLETE },
		{ "AWS4-HMAC-SHA256 Credential=a/b/c/d, SignedHeaders=host, "
		  "Signature=00",
		  SIGV4_INCOMPLETE },
		{ "AWS4-HMAC-SHA256 Credential=/b/c/d/e, SignedHeaders=host, "
		  "Signature=00",
		  SIGV4_INCOMPLETE },
		{ "AWS4-HMAC-SHA256 Credential=a b/b/c/d/e, "
		  "SignedHeaders=host, Signature=00",
		  SIGV4_INCOMPLETE },
		{ "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, "
		  "SignedHeaders=x-amz-date, Signature=00",
		  SIGV4_INCOMPLETE },
		{ "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, "
		  "SignedHeaders=x-amz-date;host, Signature=00",
		  SIGV4_INCOMPLETE },
		{ "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, "
		  "SignedHeaders=Host, Signature=00",
		  SIGV4_INCOMPLETE },
		{ "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, "
		  "SignedHeaders=host;host, Signature=00",
		  SIGV4_INCOMPLETE },
		{ "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, "
		  "SignedHeaders=host;x-amz-date, Signature=00, "
		  "Signature=00",
		  SIGV4_INCOMPLETE },
		{ "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, "
		  "SignedHeaders=host;x-amz-date, Signature=00, Extra=1",
		  SIGV4_INCOMPLETE },
		{ "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, "
		  "SignedHeaders=host, Signature=00",
		  SIGV4_INCOMPLETE },
		{ "AWS4-HMAC-SHA256 Credential=a/b/c/d/e,"
		  "SignedHeaders=host;x-amz-date,Signature=00",
		  SIGV4_OK },
		{ "AWS4-HMAC-SHA256 Signature=00, "
		  "SignedHeaders=host;x-amz-date, Credential=a/b/c/d/e",
		  SIGV4_OK },
	};
	struct fixture *f = *state;
	struct signed_request s;
	size_t i;

	make_request(f, &s);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		s.fields[3].value = slice_of(cases[i].authorization);
		if (sigv4_parse(&s.rq, &f->claim) != cases[i].verdict)
			fail_msg("%s", cases[i].authorization);
	}
	s.rq.query = SLICE("X-Amz-Algorithm=AWS4-HMAC-SHA256");
	assert_int_equal(sigv4_parse(&s.rq, &f->claim), SIGV4_INCOMPLETE);
	s.rq.query = SLICE("");
	s.rq.field_count = 3;
	assert_int_equal(sigv4_parse(&s.rq, &f->claim), SIGV4_MISSING);
}

static void sigv4_parse_takes_the_date_from_either_header(void **state)
{
	static const char both[] =
		"AWS4-HMAC-SHA256 Credential=a/b/c/d/e, "
		"SignedHeaders=date;host;x-amz-date, Signature=00";
	struct fixture *f = *state;
	struct signed_request s;

	make_request(f, &s);
	s.fields[3].value = SLICE(both);
	s.fields[1].value = SLICE("yesterday");
	assert_int_equal(sigv4_parse(&s.rq, &f->claim), SIGV4_INCOMPLETE);
	s.fields[1].name = SLICE("Date");
	assert_int_equal(sigv4_parse(&s.rq, &f->claim), SIGV4_INCOMPLETE);
	s.fields[1].value = SLICE("Sun, 30 Aug 2015 12:36:00 GMT");
	assert_int_equal(sigv4_parse(&s.rq, &f->claim), SIGV4_OK);
	assert_string_equal(f->claim.timestamp, NOW);
	assert_int_equal(f->claim.signed_s, NOW_S);
	s.fields[1].value = SLICE(NOW);
	assert_int_equal(sigv4_parse(&s.rq, &f->claim), SIGV4_OK);
	s.fields[1].name = SLICE("X-None");
	assert_int_equal(sigv4_parse(&s.rq, &f->claim), SIGV4_INCOMPLETE);
}

static void sigv4_verify_demands_the_token_of_the_key(void **state)
{
	const struct sigv4_credentials temporary = { SLICE(AKID),
						     SLICE(SECRET),
						     SLICE("tok/en==") };
	struct fixture *f = *state;
	struct signed_request s;

	make_request(f, &s);
	assert_int_equal(judge(f, &s, &temporary, NOW_S), SIGV4_MISMATCH);
	/* Unsigned, as the C producer sends it. */
	add_field(&s, "x-amz-security-token", "tok/en==");
	assert_int_equal(judge(f, &s, &temporary, NOW_S), SIGV4_OK);
	assert_int_equal(judge(f, &s, &plain, NOW_S), SIGV4_MISMATCH);
	s.fields[4].value = SLICE("tok/en=!");
	assert_int_equal(judge(f, &s, &temporary, NOW_S), SIGV4_MISMATCH);
	s.fields[4].value = SLICE("");
	assert_int_equal(judge(f, &s, &temporary, NOW_S), SIGV4_INCOMPLETE);

	/* Signed, as everybody else does. */
	s.rq.field_count = 3;
	add_field(&s, "X-Amz-Security-Token", "tok/en==");
	sign(f, &s, &temporary);
	assert_int_equal(judge(f, &s, &temporary, NOW_S), SIGV4_OK);
}

static void sigv4_verify_compares_the_stated_body_hash(void **state)
{
	struct fixture *f = *state;
	uint8_t hash[SIGV4_HASH_BYTES];
	char hex[SIGV4_HEX_CHARS + 1];
	struct signed_request s;

	make_request(f, &s);
	s.rq.field_count = 3;
	add_field(&s, "x-amz-content-sha256", "UNSIGNED-PAYLOAD");
	s.rq.body_hash = NULL;
	sign(f, &s, &plain);
	assert_int_equal(judge(f, &s, &plain, NOW_S), SIGV4_OK);

	hash_of("{}", hash);
	sigv4_hex(hash, hex);
	s.rq.field_count = 3;
	add_field(&s, "x-amz-content-sha256", hex);
	sign(f, &s, &plain);
	assert_int_equal(judge(f, &s, &plain, NOW_S), SIGV4_MISMATCH);
	s.rq.body_hash = hash;
	assert_int_equal(judge(f, &s, &plain, NOW_S), SIGV4_OK);
	s.rq.body_hash = sigv4_empty_hash;
	assert_int_equal(judge(f, &s, &plain, NOW_S), SIGV4_MISMATCH);
}

/* The presigned GET of Amazon's S3 documentation. */
static void sigv4_verify_accepts_a_presigned_query(void **state)
{
	static const char query[] =
		"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential="
		"AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2F"
		"aws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400"
		"&X-Amz-SignedHeaders=host&X-Amz-Signature="
		"aeeed9bbccd4d02ee5c0109b86d86835"
		"f995330da4c265957d157751f604d404";
	const struct http_field fields[] = {
		{ SLICE("host"), SLICE("examplebucket.s3.amazonaws.com") },
		{ SLICE("x-amz-content-sha256"), SLICE("UNSIGNED-PAYLOAD") },
	};
	const struct sigv4_credentials cred = {
		SLICE("AKIAIOSFODNN7EXAMPLE"),
		SLICE("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
		{ NULL, 0 },
	};
	const struct sigv4_scope s3 = { SLICE("us-east-1"), SLICE("s3") };
	struct sigv4_request rq = {
		.method = SLICE("GET"),
		.path = SLICE("/test.txt"),
		.query = SLICE(query),
		.fields = fields,
		.field_count = ARRAY_SIZE(fields),
	};
	const uint64_t signed_s = 1369353600;
	struct fixture *f = *state;

	assert_int_equal(sigv4_parse(&rq, &f->claim), SIGV4_OK);
	assert_true(f->claim.presigned);
	assert_int_equal(f->claim.signed_s, signed_s);
	assert_int_equal(sigv4_check(&f->claim, &s3, signed_s + 86400),
			 SIGV4_OK);
	assert_int_equal(sigv4_check(&f->claim, &s3, signed_s + 86401),
			 SIGV4_EXPIRED);
	assert_int_equal(sigv4_verify(&f->claim, &rq, &cred,
				      crypto_sigv4_hash(), &f->work),
			 SIGV4_OK);
	rq.path = SLICE("/test.tx");
	assert_int_equal(sigv4_verify(&f->claim, &rq, &cred,
				      crypto_sigv4_hash(), &f->work),
			 SIGV4_MISMATCH);
	rq.query.len -= 80;
	assert_int_equal(sigv4_parse(&rq, &f->claim), SIGV4_INCOMPLETE);
}

static void sigv4_sign_refuses_what_cannot_be_verified(void **state)
{
	struct fixture *f = *state;
	struct signed_request s;

	make_request(f, &s);
	s.rq.field_count = 3;
	s.fields[0].name = SLICE("Hose");
	assert_int_equal(sigv4_sign(&s.rq, &plain, &scope,
				    crypto_sigv4_hash(), &f->work, &f->out),
			 -EINVAL);
	s.fields[0].name = SLICE("Host");
	s.fields[1].value = SLICE("2015-08-30");
	assert_int_equal(sigv4_sign(&s.rq, &plain, &scope,
				    crypto_sigv4_hash(), &f->work, &f->out),
			 -EINVAL);
}

static int no_hash(const struct slice *parts, size_t count,
		   uint8_t ret[SIGV4_HASH_BYTES])
{
	(void)parts;
	(void)count;
	(void)ret;
	return -ENOMEM;
}

static void sigv4_verify_fails_closed_when_hashing_fails(void **state)
{
	struct sigv4_hash broken = *crypto_sigv4_hash();
	struct fixture *f = *state;
	struct signed_request s;

	broken.sha256 = no_hash;
	make_request(f, &s);
	assert_int_equal(sigv4_parse(&s.rq, &f->claim), SIGV4_OK);
	assert_int_equal(sigv4_verify(&f->claim, &s.rq, &plain, &broken,
				      &f->work),
			 SIGV4_FAILED);
	assert_int_equal(sigv4_error(SIGV4_FAILED)->status, 500);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(sigv4_sign_agrees_with_the_published_suite),
		CASE(sigv4_canonical_is_the_documented_text),
		CASE(sigv4_signing_key_is_the_documented_one),
		CASE(sigv4_verify_accepts_what_sign_made),
		CASE(sigv4_verify_refuses_each_changed_part),
		CASE(sigv4_check_bounds_the_clock_skew),
		CASE(sigv4_check_refuses_another_scope),
		CASE(sigv4_parse_names_what_is_missing),
		CASE(sigv4_parse_takes_the_date_from_either_header),
		CASE(sigv4_verify_demands_the_token_of_the_key),
		CASE(sigv4_verify_compares_the_stated_body_hash),
		CASE(sigv4_verify_accepts_a_presigned_query),
		CASE(sigv4_sign_refuses_what_cannot_be_verified),
		CASE(sigv4_verify_fails_closed_when_hashing_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
