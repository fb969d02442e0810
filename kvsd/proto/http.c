/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/http.h"

#include <errno.h>
#include <string.h>

#include "base/parse.h"

/* What the fields seen so far say about the message as a whole. */
struct head_notes {
	unsigned int host_count;
	unsigned int coding_count;
	bool close;
	bool keep_alive;
};

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	       (c >= 'A' && c <= 'Z');
}

/* RFC 9110 section 5.6.2. NUL is not one, though strchr() would find it. */
static bool is_tchar(char c)
{
	return is_alnum(c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(struct slice s)
{
	size_t i;

	for (i = 0; i < s.len; i++) {
		if (!is_tchar(s.ptr[i]))
			return false;
	}
	return s.len > 0;
}

/* Field content: visible ASCII, space, tab and the obsolete 0x80..0xff. */
static bool is_field_char(char c)
{
	unsigned char u = (unsigned char)c;

	return u == '\t' || (u >= 0x20 && u != 0x7f);
}

static bool is_field_value(struct slice s)
{
	size_t i;

	for (i = 0; i < s.len; i++) {
		if (!is_field_char(s.ptr[i]))
			return false;
	}
	return true;
}

/* Origin-form: visible ASCII, no fragment. */
static bool is_target(struct slice s)
{
	size_t i;

	for (i = 0; i < s.len; i++) {
		unsigned char u = (unsigned char)s.ptr[i];

		if (u <= 0x20 || u >= 0x7f || u == '#')
			return false;
	}
	return s.len && s.ptr[0] == '/';
}

static struct slice trim(struct slice s)
{
	while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
		s.ptr++;
		s.len--;
	}
	while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/*
 * The next line without its CR LF. A line end is CR LF and nothing else, or
 * two readers could see different lines. Return: 1, 0 (not all there yet),
 * -EBADMSG, -EMSGSIZE.
 */
static int head_line(struct slice all, size_t *at, struct slice *ret_line)
{
	const char *start = all.ptr + *at;
	size_t room = MIN(all.len, HTTP_HEAD_BYTES_MAX) - *at;
	const char *cr = room ? memchr(start, '\r', room) : NULL;
	size_t len = cr ? (size_t)(cr - start) : room;

	if (len && memchr(start, '\n', len))
		return -EBADMSG;
	if (!cr || len + 1 == room)
		return all.len >= HTTP_HEAD_BYTES_MAX ? -EMSGSIZE : 0;
	if (cr[1] != '\n')
		return -EBADMSG;
	*ret_line = (struct slice){ start, len };
	*at += len + 2;
	return 1;
}

static int parse_version(struct slice s, unsigned int *ret_minor)
{
	if (s.len != 8 || memcmp(s.ptr, "HTTP/", 5) != 0 || s.ptr[6] != '.' ||
	    s.ptr[5] < '0' || s.ptr[5] > '9' || s.ptr[7] < '0' ||
	    s.ptr[7] > '9')
		return -EBADMSG;
	if (s.ptr[5] != '1' || s.ptr[7] > '1')
		return -EPROTONOSUPPORT;
	*ret_minor = (unsigned int)(s.ptr[7] - '0');
	return 0;
}

static int parse_request_line(struct slice line, struct http_head *h)
{
	int r;

	h->method = slice_cut(&line, ' ');
	h->target = slice_cut(&line, ' ');
	if (!is_token(h->method) || !is_target(h->target))
		return -EBADMSG;
	r = parse_version(line, &h->minor);
	if (r < 0)
		return r;
	h->query = h->target;
	h->path = slice_cut(&h->query, '?');
	return 0;
}

static int parse_status_line(struct slice line, struct http_head *h)
{
	struct slice version = slice_cut(&line, ' ');
	struct slice status = slice_cut(&line, ' ');
	uint64_t v;
	int r;

	r = parse_version(version, &h->minor);
	if (r < 0)
		return r;
	if (status.len != 3 || parse_u64(status.ptr, 3, 599, &v) < 0 ||
	    v < 100 || !is_field_value(line))
		return -EBADMSG;
	h->status = (unsigned int)v;
	h->reason = line;
	return 0;
}

static void note_connection(struct http_head *h, struct head_notes *notes,
			    struct slice value)
{
	while (value.len) {
		struct slice token = trim(slice_cut(&value, ','));

		if (slice_eq_nocase(token, SLICE("close")))
			notes->close = true;
		else if (slice_eq_nocase(token, SLICE("keep-alive")))
			notes->keep_alive = true;
		else if (slice_eq_nocase(token, SLICE("upgrade")))
			h->upgrade = true;
	}
}

/* A registered name, an address or [IPv6], with or without a port. */
static bool is_host(struct slice s)
{
	size_t i;

	for (i = 0; i < s.len; i++) {
		if (!is_alnum(s.ptr[i]) && !strchr("-._~%!$&'()*+;=:[]",
						   s.ptr[i]))
			return false;
	}
	return true;
}

/*
 * Tabs are legal around any value, but some readers take them for a part of
 * it. @f's value is followed by its line's end.
 */
static bool beside_tab(const struct http_field *f)
{
	const char *before = f->value.ptr - 1;
	const char *after = f->value.ptr + f->value.len;

	while (*before == ' ')
		before--;
	while (*after == ' ')
		after++;
	return *before == '\t' || *after == '\t';
}

static int note_field(struct http_head *h, struct head_notes *notes,
		      const struct http_field *f)
{
	if (slice_eq_nocase(f->name, SLICE("content-length"))) {
		if (h->has_length || beside_tab(f) ||
		    parse_u64(f->value.ptr, f->value.len, INT64_MAX,
			      &h->length) < 0)
			return -EBADMSG;
		h->has_length = true;
	} else if (slice_eq_nocase(f->name, SLICE("transfer-encoding"))) {
		if (!slice_eq_nocase(f->value, SLICE("chunked")))
			return -ENOTSUP;
		if (beside_tab(f))
			return -EBADMSG;
		notes->coding_count++;
		h->chunked = true;
	} else if (slice_eq_nocase(f->name, SLICE("connection"))) {
		note_connection(h, notes, f->value);
	} else if (slice_eq_nocase(f->name, SLICE("host"))) {
		if (!is_host(f->value))
			return -EBADMSG;
		notes->host_count++;
	} else if (slice_eq_nocase(f->name, SLICE("expect"))) {
		h->expect_continue =
			slice_eq_nocase(f->value, SLICE("100-continue"));
	}
	return 0;
}

static int parse_field(struct slice line, struct http_field *ret_field)
{
	struct http_field f;

	if (!memchr(line.ptr, ':', line.len))
		return -EBADMSG;
	f.name = slice_cut(&line, ':');
	f.value = trim(line);
	if (!is_token(f.name) || !is_field_value(f.value))
		return -EBADMSG;
	*ret_field = f;
	return 0;
}

/* Everything after the first line. Return: as http_request_parse(). */
static int parse_fields(struct slice all, size_t *at, struct http_head *h,
			struct head_notes *notes)
{
	for (;;) {
		struct http_field *f = &h->fields[h->field_count];
		struct slice line;
		int r;

		r = head_line(all, at, &line);
		if (r <= 0)
			return r;
		if (!line.len)
			return 1;
		if (h->field_count == HTTP_FIELDS_MAX)
			return -EMSGSIZE;
		r = parse_field(line, f);
		if (r < 0)
			return r;
		r = note_field(h, notes, f);
		if (r < 0)
			return r;
		h->field_count++;
	}
}

static bool is_bodiless(unsigned int status)
{
	return status < 200 || status == 204 || status == 304;
}

static int check_message(struct http_head *h, const struct head_notes *notes)
{
	/* Some readers wait for the body, some do not. */
	if (h->status && is_bodiless(h->status) && (h->chunked || h->length))
		return -EBADMSG;
	if (h->chunked &&
	    (h->has_length || !h->minor || notes->coding_count != 1))
		return -EBADMSG;
	if (!h->status && (notes->host_count > 1 ||
			   (h->minor && !notes->host_count)))
		return -EBADMSG;
	if (!h->minor)
		h->expect_continue = false;
	h->close = notes->close || (!h->minor && !notes->keep_alive);
	return 0;
}

static int head_parse(const void *bytes, size_t len, bool request,
		      struct http_head *h)
{
	struct slice all = { bytes, len };
	struct head_notes notes = { 0 };
	struct slice line;
	size_t at = 0;
	int r;

	memset(h, 0, offsetof(struct http_head, fields));
	r = head_line(all, &at, &line);
	if (r > 0 && !line.len && request)
		r = head_line(all, &at, &line);
	if (r <= 0)
		return r;
	r = request ? parse_request_line(line, h) : parse_status_line(line, h);
	if (r < 0)
		return r;
	r = parse_fields(all, &at, h, &notes);
	if (r <= 0)
		return r;
	r = check_message(h, &notes);
	return r < 0 ? r : (int)at;
}

int http_request_parse(const void *bytes, size_t len,
		       struct http_head *ret_head)
{
	return head_parse(bytes, len, true, ret_head);
}

int http_response_parse(const void *bytes, size_t len,
			struct http_head *ret_head)
{
	return head_parse(bytes, len, false, ret_head);
}

unsigned int http_error_status(int error)
{
	switch (error) {
	case -EMSGSIZE:
		return 431;
	case -EPROTONOSUPPORT:
		return 505;
	case -ENOTSUP:
		return 501;
	default:
		return 400;
	}
}

const struct slice *http_field(const struct http_head *h, const char *name)
{
	struct slice want = slice_of(name);
	unsigned int i;

	for (i = 0; i < h->field_count; i++) {
		if (slice_eq_nocase(h->fields[i].name, want))
			return &h->fields[i].value;
	}
	return NULL;
}

unsigned int http_field_count(const struct http_head *h, const char *name)
{
	struct slice want = slice_of(name);
	unsigned int count = 0;
	unsigned int i;

	for (i = 0; i < h->field_count; i++)
		count += slice_eq_nocase(h->fields[i].name, want);
	return count;
}

/* --- bodies ------------------------------------------------------------ */

void http_body_init_request(struct http_body *b, const struct http_head *h)
{
	*b = (struct http_body){ .state = HTTP_BODY_LENGTH };
	if (h->chunked)
		b->state = HTTP_BODY_CHUNK_SIZE;
	else
		b->left = h->length;
}

void http_body_init_response(struct http_body *b, const struct http_head *h,
			     bool head_only)
{
	*b = (struct http_body){ .state = HTTP_BODY_LENGTH };
	if (head_only || is_bodiless(h->status))
		return;
	if (h->chunked)
		b->state = HTTP_BODY_CHUNK_SIZE;
	else if (h->has_length)
		b->left = h->length;
	else
		b->state = HTTP_BODY_UNTIL_CLOSE;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int enter(struct http_body *b, enum http_body_state next)
{
	b->state = next;
	b->piece_bytes = 0;
	return 0;
}

static int step_size(struct http_body *b, char c)
{
	int digit = hex_digit(c);

	if (digit >= 0) {
		/* 15 digits cannot overflow and are an exabyte. */
		if (b->piece_bytes == 15)
			return -EBADMSG;
		b->piece_bytes++;
		b->left = b->left << 4 | (uint64_t)digit;
		return 0;
	}
	if (!b->piece_bytes)
		return -EBADMSG;
	if (c == ';')
		return enter(b, HTTP_BODY_EXT_NAME);
	if (c == '\r')
		return enter(b, HTTP_BODY_CHUNK_LF);
	return -EBADMSG;
}

/* ;name, ;name=token, ;name="quoted" (RFC 9112 section 7.1.1). */
static int step_extension(struct http_body *b, char c)
{
	bool first = !b->piece_bytes;

	switch (b->state) {
	case HTTP_BODY_EXT_QUOTED:
		if (c == '"')
			return enter(b, HTTP_BODY_EXT_END);
		if (c == '\\')
			return enter(b, HTTP_BODY_EXT_ESCAPE);
		return is_field_char(c) ? 0 : -EBADMSG;
	case HTTP_BODY_EXT_ESCAPE:
		return is_field_char(c) ? enter(b, HTTP_BODY_EXT_QUOTED) :
					  -EBADMSG;
	case HTTP_BODY_EXT_VALUE:
		if (c == '"' && first)
			return enter(b, HTTP_BODY_EXT_QUOTED);
		break;
	case HTTP_BODY_EXT_NAME:
		if (c == '=' && !first)
			return enter(b, HTTP_BODY_EXT_VALUE);
		break;
	default:
		break;
	}
	if (is_tchar(c) && b->state != HTTP_BODY_EXT_END) {
		b->piece_bytes++;
		return 0;
	}
	if (first && b->state != HTTP_BODY_EXT_END)
		return -EBADMSG;
	if (c == ';')
		return enter(b, HTTP_BODY_EXT_NAME);
	if (c == '\r')
		return enter(b, HTTP_BODY_CHUNK_LF);
	return -EBADMSG;
}

static int step_trailer(struct http_body *b, char c)
{
	switch (b->state) {
	case HTTP_BODY_TRAILER_START:
		if (c == '\r')
			return enter(b, HTTP_BODY_END_LF);
		if (!is_tchar(c))
			return -EBADMSG;
		return enter(b, HTTP_BODY_TRAILER_NAME);
	case HTTP_BODY_TRAILER_NAME:
		if (c == ':')
			return enter(b, HTTP_BODY_TRAILER_VALUE);
		return is_tchar(c) ? 0 : -EBADMSG;
	default:
		if (c == '\r')
			return enter(b, HTTP_BODY_TRAILER_LF);
		return is_field_char(c) ? 0 : -EBADMSG;
	}
}

static int expect(struct http_body *b, char c, char want,
		  enum http_body_state next)
{
	if (c != want)
		return -EBADMSG;
	if (next == HTTP_BODY_CHUNK_SIZE || next == HTTP_BODY_TRAILER_START ||
	    next == HTTP_BODY_CHUNK_DATA)
		b->piece_bytes = 0;
	b->state = next;
	return 0;
}

/* One byte of framing. */
static int body_step(struct http_body *b, char c)
{
	switch (b->state) {
	case HTTP_BODY_CHUNK_SIZE:
		if (++b->line_bytes > HTTP_CHUNK_LINE_BYTES_MAX)
			return -EBADMSG;
		return step_size(b, c);
	case HTTP_BODY_EXT_NAME:
	case HTTP_BODY_EXT_VALUE:
	case HTTP_BODY_EXT_QUOTED:
	case HTTP_BODY_EXT_ESCAPE:
	case HTTP_BODY_EXT_END:
		if (++b->line_bytes > HTTP_CHUNK_LINE_BYTES_MAX)
			return -EBADMSG;
		return step_extension(b, c);
	case HTTP_BODY_CHUNK_LF:
		b->line_bytes = 0;
		return expect(b, c, '\n',
			      b->left ? HTTP_BODY_CHUNK_DATA :
					HTTP_BODY_TRAILER_START);
	case HTTP_BODY_DATA_CR:
		return expect(b, c, '\r', HTTP_BODY_DATA_LF);
	case HTTP_BODY_DATA_LF:
		return expect(b, c, '\n', HTTP_BODY_CHUNK_SIZE);
	case HTTP_BODY_TRAILER_START:
	case HTTP_BODY_TRAILER_NAME:
	case HTTP_BODY_TRAILER_VALUE:
		if (++b->line_bytes > HTTP_TRAILER_BYTES_MAX)
			return -EBADMSG;
		return step_trailer(b, c);
	case HTTP_BODY_TRAILER_LF:
		return expect(b, c, '\n', HTTP_BODY_TRAILER_START);
	case HTTP_BODY_END_LF:
		return expect(b, c, '\n', HTTP_BODY_DONE);
	case HTTP_BODY_LENGTH:
	case HTTP_BODY_UNTIL_CLOSE:
	case HTTP_BODY_CHUNK_DATA:
	case HTTP_BODY_DONE:
	case HTTP_BODY_FAILED:
		break;
	}
	return -EBADMSG;
}

/* Takes payload off the front; 0 when framing comes next. */
static size_t body_payload(struct http_body *b, size_t len)
{
	if (b->state == HTTP_BODY_UNTIL_CLOSE)
		return len;
	if (b->state != HTTP_BODY_LENGTH && b->state != HTTP_BODY_CHUNK_DATA)
		return 0;
	if (len > b->left)
		len = (size_t)b->left;
	b->left -= len;
	if (b->state == HTTP_BODY_CHUNK_DATA && !b->left)
		b->state = HTTP_BODY_DATA_CR;
	return len;
}

int http_body_feed(struct http_body *b, const uint8_t *in, size_t len,
		   size_t *ret_used, const uint8_t **ret_bytes,
		   size_t *ret_len)
{
	const uint8_t *bytes = NULL;
	size_t used = 0;
	size_t n = 0;

	if (b->state == HTTP_BODY_FAILED)
		return -EBADMSG;
	while (used < len && !http_body_done(b)) {
		n = body_payload(b, len - used);
		if (n) {
			bytes = in + used;
			used += n;
			break;
		}
		if (body_step(b, (char)in[used]) < 0) {
			b->state = HTTP_BODY_FAILED;
			return -EBADMSG;
		}
		used++;
	}
	*ret_used = used;
	*ret_bytes = bytes;
	*ret_len = n;
	return http_body_done(b);
}

int http_body_eof(struct http_body *b)
{
	if (b->state == HTTP_BODY_UNTIL_CLOSE)
		b->state = HTTP_BODY_DONE;
	return http_body_done(b) ? 0 : -ECONNRESET;
}

/* --- writing ----------------------------------------------------------- */

size_t http_chunk_head(uint64_t payload_bytes,
		       char out[HTTP_CHUNK_HEAD_BYTES_MAX])
{
	size_t len = 1;
	size_t i;

	while (len < 16 && payload_bytes >> (4 * len))
		len++;
	for (i = 0; i < len; i++)
		out[i] = "0123456789abcdef"[payload_bytes >>
					    (4 * (len - 1 - i)) & 15];
	out[len] = '\r';
	out[len + 1] = '\n';
	return len + 2;
}

static int refuse(struct buf *b)
{
	b->failed = true;
	return -EINVAL;
}

int http_request_begin(struct buf *b, const char *method, struct slice target)
{
	if (!is_token(slice_of(method)) || !is_target(target))
		return refuse(b);
	(void)buf_add_str(b, method);
	(void)buf_add(b, " ", 1);
	(void)buf_add(b, target.ptr, target.len);
	return buf_add_str(b, " HTTP/1.1\r\n");
}

int http_response_begin(struct buf *b, unsigned int status)
{
	if (status < 100 || status > 599)
		return refuse(b);
	return buf_printf(b, "HTTP/1.1 %u %s\r\n", status, http_reason(status));
}

int http_add(struct buf *b, const char *name, struct slice value)
{
	if (!is_token(slice_of(name)) || !is_field_value(value))
		return refuse(b);
	(void)buf_add_str(b, name);
	(void)buf_add(b, ": ", 2);
	(void)buf_add(b, value.ptr, value.len);
	return buf_add(b, "\r\n", 2);
}

int http_add_str(struct buf *b, const char *name, const char *value)
{
	return http_add(b, name, slice_of(value));
}

int http_add_u64(struct buf *b, const char *name, uint64_t value)
{
	char text[20];
	size_t at = sizeof(text);

	do {
		text[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	return http_add(b, name,
			(struct slice){ text + at, sizeof(text) - at });
}

int http_head_end(struct buf *b)
{
	(void)buf_add(b, "\r\n", 2);
	return b->failed ? -EINVAL : 0;
}

const char *http_reason(unsigned int status)
{
	static const struct {
		unsigned int status;
		const char *reason;
	} reasons[] = {
		{ 100, "Continue" },
		{ 101, "Switching Protocols" },
		{ 200, "OK" },
		{ 204, "No Content" },
		{ 206, "Partial Content" },
		{ 304, "Not Modified" },
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 408, "Request Timeout" },
		{ 411, "Length Required" },
		{ 413, "Content Too Large" },
		{ 415, "Unsupported Media Type" },
		{ 416, "Range Not Satisfiable" },
		{ 417, "Expectation Failed" },
		{ 426, "Upgrade Required" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" },
		{ 501, "Not Implemented" },
		{ 503, "Service Unavailable" },
		{ 505, "HTTP Version Not Supported" },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(reasons); i++) {
		if (reasons[i].status == status)
			return reasons[i].reason;
	}
	return "Unknown";
}

/* --- targets ----------------------------------------------------------- */

bool http_query_next(struct slice *rest, struct slice *ret_name,
		     struct slice *ret_value)
{
	struct slice pair = { NULL, 0 };

	while (rest->len && !pair.len)
		pair = slice_cut(rest, '&');
	if (!pair.len)
		return false;
	*ret_name = slice_cut(&pair, '=');
	*ret_value = pair;
	return true;
}

int http_query_get(struct slice query, const char *name, char *out,
		   size_t size)
{
	struct slice want = slice_of(name);
	struct slice found = { NULL, 0 };
	bool have = false;
	struct slice n;
	struct slice v;
	int r;

	while (http_query_next(&query, &n, &v)) {
		if (!slice_eq(n, want))
			continue;
		if (have)
			return -EINVAL;
		have = true;
		found = v;
	}
	if (!have)
		return -ENOENT;
	if (!size)
		return -ENOBUFS;
	r = http_percent_decode(found, out, size - 1);
	if (r < 0)
		return r;
	if (memchr(out, '\0', (size_t)r))
		return -EINVAL;
	out[r] = '\0';
	return r;
}

int http_percent_decode(struct slice in, char *out, size_t size)
{
	size_t len = 0;
	size_t i;

	for (i = 0; i < in.len; i++) {
		char c = in.ptr[i];

		if (c == '%') {
			int hi = in.len - i > 2 ? hex_digit(in.ptr[i + 1]) : -1;
			int lo = in.len - i > 2 ? hex_digit(in.ptr[i + 2]) : -1;

			if (hi < 0 || lo < 0)
				return -EINVAL;
			c = (char)(hi << 4 | lo);
			i += 2;
		}
		if (len == size)
			return -ENOBUFS;
		out[len++] = c;
	}
	return (int)len;
}
