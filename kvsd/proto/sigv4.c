/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/sigv4.h"

#include <errno.h>
#include <string.h>

#include "base/parse.h"
#include "proto/epoch.h"

#define ALGORITHM "AWS4-HMAC-SHA256"
#define TERMINATOR "aws4_request"
#define UNSIGNED_PAYLOAD "UNSIGNED-PAYLOAD"

const uint8_t sigv4_empty_hash[SIGV4_HASH_BYTES] = {
	0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4,
	0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b,
	0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
};

static const struct sigv4_error errors[] = {
	[SIGV4_OK] = { "", 200, "" },
	[SIGV4_MISSING] = { "MissingAuthenticationToken", 403,
			    "Missing Authentication Token" },
	[SIGV4_INCOMPLETE] = { "IncompleteSignature", 400,
			       "The request signature does not conform to AWS "
			       "standards." },
	[SIGV4_UNKNOWN_KEY] = { "InvalidClientTokenId", 403,
				"The security token included in the request "
				"is invalid." },
	[SIGV4_EXPIRED] = { "RequestExpired", 400,
			    "The request's signature has expired or its date "
			    "is more than 15 minutes from the service's "
			    "clock." },
	[SIGV4_WRONG_SCOPE] = { "InvalidSignatureException", 403,
				"Credential should be scoped to this service's "
				"region, to 'kinesisvideo', to the day of the "
				"request and end in 'aws4_request'." },
	[SIGV4_MISMATCH] = { "InvalidSignatureException", 403,
			     "The request signature we calculated does not "
			     "match the signature you provided. Check your "
			     "AWS Secret Access Key and signing method." },
	[SIGV4_FAILED] = { "InternalFailure", 500,
			   "The request could not be verified." },
};
_Static_assert(ARRAY_SIZE(errors) == SIGV4_VERDICT_COUNT, "one per verdict");

const struct sigv4_error *sigv4_error(enum sigv4_verdict verdict)
{
	return &errors[verdict];
}

struct sigv4_request sigv4_request_of(const struct http_head *h)
{
	return (struct sigv4_request){
		.method = h->method,
		.path = h->path,
		.query = h->query,
		.fields = h->fields,
		.field_count = h->field_count,
	};
}

void sigv4_hex(const uint8_t bytes[SIGV4_HASH_BYTES],
	       char out[SIGV4_HEX_CHARS + 1])
{
	static const char digits[] = "0123456789abcdef";
	size_t i;

	for (i = 0; i < SIGV4_HASH_BYTES; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
	out[SIGV4_HEX_CHARS] = '\0';
}

/* Time depends on the lengths only. */
static bool equal_secret(struct slice a, struct slice b)
{
	volatile unsigned char differs = 0;
	size_t i;

	if (a.len != b.len)
		return false;
	for (i = 0; i < a.len; i++)
		differs = (unsigned char)(differs | (a.ptr[i] ^ b.ptr[i]));
	return !differs;
}

/* --- encoding ---------------------------------------------------------- */

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	       (c >= 'A' && c <= 'Z');
}

static bool is_unreserved(char c)
{
	return is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

static char to_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static int hex_digit(char c)
{
	c = to_lower(c);
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Yields a text in canonical encoding, one character at a time. */
struct encoder {
	struct slice rest;
	bool decode;		/* undo the sender's encoding first */
	char pending[2];	/* hex digits to come, in reverse */
	unsigned int pending_count;
};

/* Return: the next character, -1 at the end. The encoding is valid. */
static int encoder_next(struct encoder *e)
{
	static const char digits[] = "0123456789ABCDEF";
	unsigned char c;

	if (e->pending_count)
		return (unsigned char)e->pending[--e->pending_count];
	if (!e->rest.len)
		return -1;
	c = (unsigned char)*e->rest.ptr++;
	e->rest.len--;
	if (c == '%' && e->decode) {
		c = (unsigned char)(hex_digit(e->rest.ptr[0]) << 4 |
				    hex_digit(e->rest.ptr[1]));
		e->rest.ptr += 2;
		e->rest.len -= 2;
	}
	if (is_unreserved((char)c))
		return c;
	e->pending[0] = digits[c & 15];
	e->pending[1] = digits[c >> 4];
	e->pending_count = 2;
	return '%';
}

static bool is_encoding(struct slice s)
{
	size_t i;

	for (i = 0; i < s.len; i++) {
		if (s.ptr[i] != '%')
			continue;
		if (s.len - i < 3 || hex_digit(s.ptr[i + 1]) < 0 ||
		    hex_digit(s.ptr[i + 2]) < 0)
			return false;
	}
	return true;
}

static int add_encoded(struct buf *out, struct slice s, bool decode)
{
	struct encoder e = { .rest = s, .decode = decode };
	uint8_t *p = buf_reserve(out, s.len * 3);
	size_t len = 0;
	int c;

	if (!p)
		return out->max - buf_len(out) < s.len * 3 ? -ENOBUFS : -ENOMEM;
	while ((c = encoder_next(&e)) >= 0)
		p[len++] = (uint8_t)c;
	buf_commit(out, len);
	return 0;
}

static int compare_encoded(struct slice s, struct slice t)
{
	struct encoder a = { .rest = s, .decode = true };
	struct encoder b = { .rest = t, .decode = true };
	int c;
	int d;

	do {
		c = encoder_next(&a);
		d = encoder_next(&b);
	} while (c == d && c >= 0);
	return (c > d) - (c < d);
}

/* --- canonical request ------------------------------------------------- */

/*
 * The path as sent, without "." and "..", and encoded once more: every
 * service but S3 signs it doubly encoded.
 */
static int add_path(struct buf *out, struct slice path)
{
	struct slice segments[SIGV4_PATH_SEGMENTS_MAX];
	bool slash = path.len && path.ptr[path.len - 1] == '/';
	size_t count = 0;
	size_t i;

	while (path.len) {
		struct slice s = slice_cut(&path, '/');

		if (!s.len || slice_eq(s, SLICE(".")))
			continue;
		if (slice_eq(s, SLICE(".."))) {
			count -= count > 0;
			continue;
		}
		if (count == ARRAY_SIZE(segments))
			return -EMSGSIZE;
		segments[count++] = s;
	}
	for (i = 0; i < count; i++) {
		(void)buf_add(out, "/", 1);
		(void)add_encoded(out, segments[i], false);
	}
	if (slash || !count)
		(void)buf_add(out, "/", 1);
	return buf_add(out, "\n", 1);
}

struct param {
	struct slice name;
	struct slice value;
};

static int compare_params(const struct param *a, const struct param *b)
{
	int r = compare_encoded(a->name, b->name);

	return r ? r : compare_encoded(a->value, b->value);
}

/* Sorted by name, then value, both encoded. */
static int add_query(struct buf *out, struct slice query, bool presigned)
{
	struct param params[HTTP_QUERY_PARAMS_MAX];
	struct param p;
	size_t count = 0;
	size_t i;

	while (http_query_next(&query, &p.name, &p.value)) {
		if (!is_encoding(p.name) || !is_encoding(p.value))
			return -EINVAL;
		if (presigned && slice_eq(p.name, SLICE("X-Amz-Signature")))
			continue;
		if (count == ARRAY_SIZE(params))
			return -EMSGSIZE;
		i = count++;
		while (i > 0 && compare_params(&p, &params[i - 1]) < 0) {
			params[i] = params[i - 1];
			i--;
		}
		params[i] = p;
	}
	for (i = 0; i < count; i++) {
		if (i)
			(void)buf_add(out, "&", 1);
		(void)add_encoded(out, params[i].name, true);
		(void)buf_add(out, "=", 1);
		(void)add_encoded(out, params[i].value, true);
	}
	return buf_add(out, "\n", 1);
}

/* Runs of spaces become one. */
static void add_collapsed(struct buf *out, struct slice value)
{
	uint8_t *p = buf_reserve(out, value.len);
	bool space = false;
	size_t len = 0;
	size_t i;

	if (!p)
		return;
	for (i = 0; i < value.len; i++) {
		bool now = value.ptr[i] == ' ' || value.ptr[i] == '\t';

		if (!now)
			p[len++] = (uint8_t)value.ptr[i];
		else if (!space)
			p[len++] = ' ';
		space = now;
	}
	buf_commit(out, len);
}

/* "name:value,value\n" of all fields of that name, in their order. */
static int add_header(struct buf *out, const struct sigv4_request *rq,
		      struct slice name)
{
	bool first = true;
	size_t i;

	(void)buf_add(out, name.ptr, name.len);
	for (i = 0; i < rq->field_count; i++) {
		if (!slice_eq_nocase(rq->fields[i].name, name))
			continue;
		(void)buf_add(out, first ? ":" : ",", 1);
		add_collapsed(out, rq->fields[i].value);
		first = false;
	}
	(void)buf_add(out, "\n", 1);
	return first ? -EINVAL : 0;
}

/* Lower-case header names in strictly rising order, ';' between them. */
static bool is_header_list(struct slice list)
{
	struct slice last = { NULL, 0 };

	if (!list.len || list.ptr[list.len - 1] == ';')
		return false;
	while (list.len) {
		struct slice name = slice_cut(&list, ';');
		size_t i;

		for (i = 0; i < name.len; i++) {
			char c = name.ptr[i];

			if (c <= ' ' || c > '~' || c == ':' ||
			    c != to_lower(c))
				return false;
		}
		if (slice_compare(name, last) <= 0)
			return false;
		last = name;
	}
	return true;
}

static bool list_has(struct slice list, struct slice name)
{
	while (list.len) {
		if (slice_eq(slice_cut(&list, ';'), name))
			return true;
	}
	return false;
}

/* The only field of that name; NULL when there is none or several. */
static const struct slice *only_field(const struct sigv4_request *rq,
				      const char *name)
{
	const struct slice *found = NULL;
	size_t i;

	for (i = 0; i < rq->field_count; i++) {
		if (!slice_eq_nocase(rq->fields[i].name, slice_of(name)))
			continue;
		if (found)
			return NULL;
		found = &rq->fields[i].value;
	}
	return found;
}

static bool has_field(const struct sigv4_request *rq, const char *name)
{
	size_t i;

	for (i = 0; i < rq->field_count; i++) {
		if (slice_eq_nocase(rq->fields[i].name, slice_of(name)))
			return true;
	}
	return false;
}

/* Repeats of the header cannot be told apart: then @ret_value is not there. */
static int add_payload_hash(struct buf *out, const struct sigv4_request *rq)
{
	char hex[SIGV4_HEX_CHARS + 1];
	const struct slice *stated;

	if (has_field(rq, "x-amz-content-sha256")) {
		stated = only_field(rq, "x-amz-content-sha256");
		if (!stated)
			return -EINVAL;
		return buf_add(out, stated->ptr, stated->len);
	}
	if (!rq->body_hash)
		return -EINVAL;
	sigv4_hex(rq->body_hash, hex);
	return buf_add(out, hex, SIGV4_HEX_CHARS);
}

int sigv4_canonical(const struct sigv4_request *rq, struct slice signed_headers,
		    bool presigned, struct buf *out)
{
	struct slice names = signed_headers;
	int r;

	if (!is_header_list(signed_headers))
		return -EINVAL;
	(void)buf_add(out, rq->method.ptr, rq->method.len);
	(void)buf_add(out, "\n", 1);
	r = add_path(out, rq->path);
	if (r == 0)
		r = add_query(out, rq->query, presigned);
	while (r == 0 && names.len)
		r = add_header(out, rq, slice_cut(&names, ';'));
	if (r < 0)
		return r;
	(void)buf_add(out, "\n", 1);
	(void)buf_add(out, signed_headers.ptr, signed_headers.len);
	(void)buf_add(out, "\n", 1);
	r = add_payload_hash(out, rq);
	if (r < 0)
		return r;
	return out->failed ? -ENOBUFS : 0;
}

/* --- signature --------------------------------------------------------- */

int sigv4_signing_key(const struct sigv4_hash *hash, struct slice secret,
		      struct slice date, struct slice region,
		      struct slice service, uint8_t ret_key[SIGV4_HASH_BYTES])
{
	const struct slice parts[] = { date, region, service,
				       SLICE(TERMINATOR) };
	char first[4 + SIGV4_SECRET_CHARS_MAX];
	uint8_t key[SIGV4_HASH_BYTES];
	size_t i;
	int r;

	if (secret.len > SIGV4_SECRET_CHARS_MAX)
		return -EINVAL;
	memcpy(first, "AWS4", 4);
	if (secret.len)
		memcpy(first + 4, secret.ptr, secret.len);
	r = hash->hmac_sha256(first, 4 + secret.len, &parts[0], 1, key);
	for (i = 1; r == 0 && i < ARRAY_SIZE(parts); i++)
		r = hash->hmac_sha256(key, sizeof(key), &parts[i], 1, key);
	if (r == 0)
		memcpy(ret_key, key, sizeof(key));
	explicit_bzero(first, sizeof(first));
	explicit_bzero(key, sizeof(key));
	return r;
}

/* Signs the canonical request in @work. */
static int signature_of(const struct sigv4_hash *hash, struct slice secret,
			struct slice timestamp, struct slice scope,
			struct buf *work, char ret_hex[SIGV4_HEX_CHARS + 1])
{
	struct slice canonical = { (const char *)buf_head(work),
				   buf_len(work) };
	struct slice rest = scope;
	struct slice date = slice_cut(&rest, '/');
	struct slice region = slice_cut(&rest, '/');
	struct slice service = slice_cut(&rest, '/');
	char canonical_hex[SIGV4_HEX_CHARS + 1];
	uint8_t digest[SIGV4_HASH_BYTES];
	uint8_t key[SIGV4_HASH_BYTES];
	int r;

	r = hash->sha256(&canonical, 1, digest);
	if (r < 0)
		return r;
	sigv4_hex(digest, canonical_hex);
	r = sigv4_signing_key(hash, secret, date, region, service, key);
	if (r == 0) {
		const struct slice parts[] = {
			SLICE(ALGORITHM "\n"), timestamp, SLICE("\n"), scope,
			SLICE("\n"), { canonical_hex, SIGV4_HEX_CHARS },
		};

		r = hash->hmac_sha256(key, sizeof(key), parts,
				      ARRAY_SIZE(parts), digest);
	}
	explicit_bzero(key, sizeof(key));
	if (r == 0)
		sigv4_hex(digest, ret_hex);
	return r;
}

/* --- verifying --------------------------------------------------------- */

static struct slice trim(struct slice s)
{
	while (s.len && s.ptr[0] == ' ') {
		s.ptr++;
		s.len--;
	}
	while (s.len && s.ptr[s.len - 1] == ' ')
		s.len--;
	return s;
}

/* "AKID/20150830/us-east-1/service/aws4_request" */
static bool parse_credential(struct slice s, struct sigv4_claim *c)
{
	size_t i;

	c->access_key_id = slice_cut(&s, '/');
	if (!c->access_key_id.len ||
	    c->access_key_id.len > SIGV4_ACCESS_KEY_CHARS_MAX)
		return false;
	for (i = 0; i < c->access_key_id.len; i++) {
		if (!is_unreserved(c->access_key_id.ptr[i]))
			return false;
	}
	c->scope = s;
	c->date = slice_cut(&s, '/');
	c->region = slice_cut(&s, '/');
	c->service = slice_cut(&s, '/');
	c->terminator = s;
	return c->date.len && c->region.len && c->service.len && s.len &&
	       c->region.len <= SIGV4_SCOPE_CHARS_MAX &&
	       c->service.len <= SIGV4_SCOPE_CHARS_MAX;
}

static bool set_timestamp(struct sigv4_claim *c, struct slice s)
{
	if (epoch_basic_parse(s, &c->signed_s) < 0)
		return false;
	memcpy(c->timestamp, s.ptr, SIGV4_DATE_CHARS);
	c->timestamp[SIGV4_DATE_CHARS] = '\0';
	return true;
}

/* X-Amz-Date wins over Date, which may be in either form. It is signed. */
static bool parse_date(const struct sigv4_request *rq, struct sigv4_claim *c)
{
	const struct slice *date;

	if (has_field(rq, "x-amz-date")) {
		date = only_field(rq, "x-amz-date");
		return date && set_timestamp(c, *date) &&
		       list_has(c->signed_headers, SLICE("x-amz-date"));
	}
	date = only_field(rq, "date");
	if (!date || !list_has(c->signed_headers, SLICE("date")))
		return false;
	if (epoch_http_parse(*date, &c->signed_s) < 0)
		return set_timestamp(c, *date);
	epoch_basic_format(c->signed_s, c->timestamp);
	return true;
}

/* "Credential=..., SignedHeaders=..., Signature=..." in any order, once. */
static bool parse_authorization(struct slice s, struct sigv4_claim *c)
{
	struct slice credential = { NULL, 0 };

	while (s.len) {
		struct slice value = trim(slice_cut(&s, ','));
		struct slice name = slice_cut(&value, '=');
		struct slice *to;

		if (slice_eq(name, SLICE("Credential")))
			to = &credential;
		else if (slice_eq(name, SLICE("SignedHeaders")))
			to = &c->signed_headers;
		else if (slice_eq(name, SLICE("Signature")))
			to = &c->signature;
		else
			return false;
		if (to->len)
			return false;
		*to = value;
	}
	return c->signature.len && parse_credential(credential, c);
}

static enum sigv4_verdict parse_header_form(const struct sigv4_request *rq,
					    struct sigv4_claim *c)
{
	const struct slice *value = only_field(rq, "authorization");
	const struct slice *token;
	struct slice rest;

	if (!value)
		return SIGV4_INCOMPLETE;
	rest = *value;
	if (!slice_eq(slice_cut(&rest, ' '), SLICE(ALGORITHM)))
		return value->len >= 4 && memcmp(value->ptr, "AWS4", 4) == 0 ?
			       SIGV4_INCOMPLETE :
			       SIGV4_MISSING;
	if (!parse_authorization(rest, c) || !parse_date(rq, c))
		return SIGV4_INCOMPLETE;
	if (has_field(rq, "x-amz-security-token")) {
		token = only_field(rq, "x-amz-security-token");
		if (!token || !token->len)
			return SIGV4_INCOMPLETE;
		c->token = *token;
	}
	return SIGV4_OK;
}

/* One decoded parameter, put behind what is in the claim's store. */
static bool get_param(const struct sigv4_request *rq, struct sigv4_claim *c,
		      const char *name, size_t *used, struct slice *ret_value)
{
	int r = http_query_get(rq->query, name, c->store + *used,
			       sizeof(c->store) - *used);

	if (r <= 0)
		return false;
	*ret_value = (struct slice){ c->store + *used, (size_t)r };
	*used += (size_t)r + 1;
	return true;
}

static enum sigv4_verdict parse_query_form(const struct sigv4_request *rq,
					   struct sigv4_claim *c)
{
	struct slice credential;
	struct slice algorithm;
	struct slice expires;
	struct slice rest = rq->query;
	struct slice date;
	struct slice name;
	struct slice value;
	size_t used = 0;

	c->presigned = true;
	if (!get_param(rq, c, "X-Amz-Algorithm", &used, &algorithm) ||
	    !slice_eq(algorithm, SLICE(ALGORITHM)) ||
	    !get_param(rq, c, "X-Amz-Credential", &used, &credential) ||
	    !get_param(rq, c, "X-Amz-Date", &used, &date) ||
	    !get_param(rq, c, "X-Amz-Expires", &used, &expires) ||
	    !get_param(rq, c, "X-Amz-SignedHeaders", &used,
		       &c->signed_headers) ||
	    !get_param(rq, c, "X-Amz-Signature", &used, &c->signature) ||
	    !parse_credential(credential, c) || !set_timestamp(c, date) ||
	    parse_u64(expires.ptr, expires.len, SIGV4_EXPIRES_S_MAX,
		      &c->expires_s) < 0 ||
	    !c->expires_s)
		return SIGV4_INCOMPLETE;
	while (http_query_next(&rest, &name, &value)) {
		if (!slice_eq(name, SLICE("X-Amz-Security-Token")))
			continue;
		if (c->token.len || !value.len || !is_encoding(value))
			return SIGV4_INCOMPLETE;
		c->token = value;
	}
	return SIGV4_OK;
}

static bool names_algorithm(struct slice query)
{
	struct slice name;
	struct slice value;

	while (http_query_next(&query, &name, &value)) {
		if (slice_eq(name, SLICE("X-Amz-Algorithm")))
			return true;
	}
	return false;
}

enum sigv4_verdict sigv4_parse(const struct sigv4_request *rq,
			       struct sigv4_claim *ret_claim)
{
	struct sigv4_claim *c = ret_claim;
	enum sigv4_verdict verdict;

	memset(c, 0, offsetof(struct sigv4_claim, store));
	if (has_field(rq, "authorization") && names_algorithm(rq->query))
		return SIGV4_INCOMPLETE;
	if (has_field(rq, "authorization"))
		verdict = parse_header_form(rq, c);
	else if (names_algorithm(rq->query))
		verdict = parse_query_form(rq, c);
	else
		return SIGV4_MISSING;
	if (verdict != SIGV4_OK)
		return verdict;
	if (!is_header_list(c->signed_headers) ||
	    !list_has(c->signed_headers, SLICE("host")))
		return SIGV4_INCOMPLETE;
	return SIGV4_OK;
}

enum sigv4_verdict sigv4_check(const struct sigv4_claim *claim,
			       const struct sigv4_scope *scope, uint64_t now_s)
{
	uint64_t valid_s = claim->presigned ? claim->expires_s :
					      SIGV4_SKEW_S_MAX;
	struct slice day = { claim->timestamp, 8 };

	if (!slice_eq(claim->region, scope->region) ||
	    !slice_eq(claim->service, scope->service) ||
	    !slice_eq(claim->terminator, SLICE(TERMINATOR)) ||
	    !slice_eq(claim->date, day))
		return SIGV4_WRONG_SCOPE;
	if (claim->signed_s > now_s + SIGV4_SKEW_S_MAX ||
	    now_s > claim->signed_s + valid_s)
		return SIGV4_EXPIRED;
	return SIGV4_OK;
}

/* What a request says about its body must agree with its body. */
static bool body_agrees(const struct sigv4_request *rq)
{
	const struct slice *stated = only_field(rq, "x-amz-content-sha256");
	char hex[SIGV4_HEX_CHARS + 1];

	if (!stated)
		return rq->body_hash != NULL;
	if (slice_eq(*stated, SLICE(UNSIGNED_PAYLOAD)))
		return true;
	if (!rq->body_hash)
		return false;
	sigv4_hex(rq->body_hash, hex);
	return slice_eq(*stated, (struct slice){ hex, SIGV4_HEX_CHARS });
}

static bool token_agrees(const struct sigv4_claim *claim,
			 const struct sigv4_credentials *cred,
			 struct buf *work)
{
	struct slice token = claim->token;
	uint8_t *p;
	int r;

	if (claim->presigned && token.len) {
		p = buf_reserve(work, token.len);
		if (!p)
			return false;
		r = http_percent_decode(token, (char *)p, token.len);
		if (r < 0)
			return false;
		token = (struct slice){ (const char *)p, (size_t)r };
	}
	return equal_secret(token, cred->token);
}

enum sigv4_verdict sigv4_verify(const struct sigv4_claim *claim,
				const struct sigv4_request *rq,
				const struct sigv4_credentials *cred,
				const struct sigv4_hash *hash, struct buf *work)
{
	struct slice timestamp = { claim->timestamp, SIGV4_DATE_CHARS };
	char hex[SIGV4_HEX_CHARS + 1];
	int r;

	buf_reset(work);
	if (!token_agrees(claim, cred, work) || !body_agrees(rq))
		return SIGV4_MISMATCH;
	buf_reset(work);
	r = sigv4_canonical(rq, claim->signed_headers, claim->presigned, work);
	if (r == -EINVAL || r == -EMSGSIZE)
		return SIGV4_MISMATCH;
	if (r == 0)
		r = signature_of(hash, cred->secret, timestamp, claim->scope,
				 work, hex);
	if (r != 0)
		return SIGV4_FAILED;
	if (!equal_secret(claim->signature,
			  (struct slice){ hex, SIGV4_HEX_CHARS }))
		return SIGV4_MISMATCH;
	return SIGV4_OK;
}

/* --- signing ----------------------------------------------------------- */

static int compare_nocase(struct slice s, struct slice t)
{
	size_t i;

	for (i = 0; i < MIN(s.len, t.len); i++) {
		unsigned char c = (unsigned char)to_lower(s.ptr[i]);
		unsigned char d = (unsigned char)to_lower(t.ptr[i]);

		if (c != d)
			return c < d ? -1 : 1;
	}
	return (s.len > t.len) - (s.len < t.len);
}

/* All names of the request's fields: lower case, sorted, each once. */
static int list_headers(const struct sigv4_request *rq,
			char out[SIGV4_SIGNED_HEADERS_CHARS_MAX],
			size_t *ret_len)
{
	struct slice names[HTTP_FIELDS_MAX];
	size_t count = 0;
	size_t len = 0;
	size_t i;
	size_t j;

	if (rq->field_count > ARRAY_SIZE(names))
		return -EINVAL;
	for (i = 0; i < rq->field_count; i++) {
		struct slice name = rq->fields[i].name;

		j = count++;
		while (j > 0 && compare_nocase(name, names[j - 1]) < 0) {
			names[j] = names[j - 1];
			j--;
		}
		names[j] = name;
	}
	for (i = 0; i < count; i++) {
		if (i && slice_eq_nocase(names[i], names[i - 1]))
			continue;
		if (names[i].len + 1 > SIGV4_SIGNED_HEADERS_CHARS_MAX - len)
			return -ENOBUFS;
		if (i)
			out[len++] = ';';
		for (j = 0; j < names[i].len; j++)
			out[len++] = to_lower(names[i].ptr[j]);
	}
	*ret_len = len;
	return 0;
}

int sigv4_sign(const struct sigv4_request *rq,
	       const struct sigv4_credentials *cred,
	       const struct sigv4_scope *scope, const struct sigv4_hash *hash,
	       struct buf *work, struct buf *out)
{
	const struct slice *date = only_field(rq, "x-amz-date");
	char scope_text[8 + 2 * SIGV4_SCOPE_CHARS_MAX + 16];
	struct buf scope_buf = { .data = (uint8_t *)scope_text,
				 .size = sizeof(scope_text),
				 .max = sizeof(scope_text) };
	char names[SIGV4_SIGNED_HEADERS_CHARS_MAX];
	struct slice list = { names, 0 };
	char hex[SIGV4_HEX_CHARS + 1];
	uint64_t ignored;
	int r;

	if (!date || epoch_basic_parse(*date, &ignored) < 0 ||
	    !has_field(rq, "host") ||
	    (cred->token.len && !only_field(rq, "x-amz-security-token")) ||
	    scope->region.len > SIGV4_SCOPE_CHARS_MAX ||
	    scope->service.len > SIGV4_SCOPE_CHARS_MAX)
		return -EINVAL;
	(void)buf_add(&scope_buf, date->ptr, 8);
	(void)buf_add(&scope_buf, "/", 1);
	(void)buf_add(&scope_buf, scope->region.ptr, scope->region.len);
	(void)buf_add(&scope_buf, "/", 1);
	(void)buf_add(&scope_buf, scope->service.ptr, scope->service.len);
	(void)buf_add_str(&scope_buf, "/" TERMINATOR);
	r = list_headers(rq, names, &list.len);
	if (r < 0)
		return r;
	buf_reset(work);
	r = sigv4_canonical(rq, list, false, work);
	if (r == 0)
		r = signature_of(hash, cred->secret, *date,
				 (struct slice){ scope_text,
						 buf_len(&scope_buf) },
				 work, hex);
	if (r < 0)
		return r;
	return buf_printf(out,
			  ALGORITHM " Credential=%.*s/%.*s, "
				    "SignedHeaders=%.*s, Signature=%s",
			  (int)cred->access_key_id.len, cred->access_key_id.ptr,
			  (int)buf_len(&scope_buf), scope_text, (int)list.len,
			  list.ptr, hex);
}
