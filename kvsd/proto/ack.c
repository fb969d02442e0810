/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/ack.h"

#include <errno.h>
#include <string.h>

#include "base/parse.h"
#include "proto/slice.h"

static const char *const event_names[] = {
	[ACK_UNKNOWN] = "UNKNOWN",     [ACK_BUFFERING] = "BUFFERING",
	[ACK_RECEIVED] = "RECEIVED",   [ACK_PERSISTED] = "PERSISTED",
	[ACK_ERROR] = "ERROR",	       [ACK_IDLE] = "IDLE",
};
_Static_assert(ARRAY_SIZE(event_names) == ACK_EVENT_COUNT, "one per event");

static const struct {
	uint32_t id;
	const char *name;
} error_names[] = {
	{ ACK_STREAM_READ_ERROR, "STREAM_READ_ERROR" },
	{ ACK_MAX_FRAGMENT_SIZE_REACHED, "MAX_FRAGMENT_SIZE_REACHED" },
	{ ACK_MAX_FRAGMENT_DURATION_REACHED, "MAX_FRAGMENT_DURATION_REACHED" },
	{ ACK_MAX_CONNECTION_DURATION_REACHED,
	  "MAX_CONNECTION_DURATION_REACHED" },
	{ ACK_FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS,
	  "FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS" },
	{ ACK_MORE_THAN_ONE_TRACK_FOUND, "MORE_THAN_ONE_TRACK_FOUND" },
	{ ACK_INVALID_MKV_DATA, "INVALID_MKV_DATA" },
	{ ACK_INVALID_PRODUCER_TIMESTAMP, "INVALID_PRODUCER_TIMESTAMP" },
	{ ACK_STREAM_NOT_ACTIVE, "STREAM_NOT_ACTIVE" },
	{ ACK_FRAGMENT_METADATA_LIMIT_REACHED,
	  "FRAGMENT_METADATA_LIMIT_REACHED" },
	{ ACK_TRACK_NUMBER_MISMATCH, "TRACK_NUMBER_MISMATCH" },
	{ ACK_FRAMES_MISSING_FOR_TRACK, "FRAMES_MISSING_FOR_TRACK" },
	{ ACK_MORE_THAN_ALLOWED_TRACKS_FOUND,
	  "MORE_THAN_ALLOWED_TRACKS_FOUND" },
	{ ACK_KMS_KEY_ACCESS_DENIED, "KMS_KEY_ACCESS_DENIED" },
	{ ACK_KMS_KEY_DISABLED, "KMS_KEY_DISABLED" },
	{ ACK_KMS_KEY_VALIDATION_ERROR, "KMS_KEY_VALIDATION_ERROR" },
	{ ACK_KMS_KEY_UNAVAILABLE, "KMS_KEY_UNAVAILABLE" },
	{ ACK_KMS_KEY_INVALID_USAGE, "KMS_KEY_INVALID_USAGE" },
	{ ACK_KMS_KEY_INVALID_STATE, "KMS_KEY_INVALID_STATE" },
	{ ACK_KMS_KEY_NOT_FOUND, "KMS_KEY_NOT_FOUND" },
	{ ACK_STREAM_DELETED, "STREAM_DELETED" },
	{ ACK_INTERNAL_ERROR, "INTERNAL_ERROR" },
	{ ACK_ARCHIVAL_ERROR, "ARCHIVAL_ERROR" },
};

const char *ack_error_name(uint32_t id)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(error_names); i++) {
		if (error_names[i].id == id)
			return error_names[i].name;
	}
	return NULL;
}

const char *ack_event_name(enum ack_event event)
{
	return event_names[event];
}

static bool all_digits(const char *s)
{
	return s[strspn(s, "0123456789")] == '\0';
}

int ack_format(struct buf *b, const struct ack *ack)
{
	const char *error = ack_error_name(ack->error_id);

	if (ack->event == ACK_UNKNOWN || !all_digits(ack->fragment_number) ||
	    (ack->event == ACK_ERROR && !error))
		return -EINVAL;
	(void)buf_printf(b, "{\"EventType\":\"%s\"",
			 event_names[ack->event]);
	if (ack->has_timecode)
		(void)buf_printf(b, ",\"FragmentTimecode\":%llu",
				 (unsigned long long)ack->timecode_ms);
	if (ack->fragment_number[0])
		(void)buf_printf(b, ",\"FragmentNumber\":\"%s\"",
				 ack->fragment_number);
	if (ack->event == ACK_ERROR)
		(void)buf_printf(b, ",\"ErrorId\":%u,\"ErrorCode\":\"%s\"",
				 ack->error_id, error);
	(void)buf_add_str(b, "}\n");
	return b->failed ? -ENOBUFS : 0;
}

/* --- reading ----------------------------------------------------------- */

struct cursor {
	const char *at;
	const char *end;
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip_space(struct cursor *c)
{
	while (c->at < c->end && is_space(*c->at))
		c->at++;
}

/* Skips white space, then takes @want if it is next. */
static bool take(struct cursor *c, char want)
{
	skip_space(c);
	if (c->at == c->end || *c->at != want)
		return false;
	c->at++;
	return true;
}

/* A string without its quotes, escapes left as they are. */
static int take_string(struct cursor *c, struct slice *ret_text)
{
	const char *start;

	if (!take(c, '"'))
		return -EBADMSG;
	start = c->at;
	while (c->at < c->end && *c->at != '"') {
		if ((unsigned char)*c->at < 0x20)
			return -EBADMSG;
		c->at += *c->at == '\\' && c->end - c->at > 1 ? 2 : 1;
	}
	if (c->at >= c->end)
		return -EBADMSG;
	*ret_text = (struct slice){ start, (size_t)(c->at - start) };
	c->at++;
	return 0;
}

/* A number, true, false or null, as its characters. */
static int take_word(struct cursor *c, struct slice *ret_text)
{
	const char *start;

	skip_space(c);
	start = c->at;
	while (c->at < c->end &&
	       ((*c->at >= '0' && *c->at <= '9') ||
		(*c->at >= 'a' && *c->at <= 'z') || *c->at == 'E' ||
		*c->at == '+' || *c->at == '-' || *c->at == '.'))
		c->at++;
	*ret_text = (struct slice){ start, (size_t)(c->at - start) };
	return c->at > start ? 0 : -EBADMSG;
}

/* Any value, nested ones included; the framing bounded its depth. */
static int skip_value(struct cursor *c)
{
	unsigned int depth = 0;
	struct slice ignored;
	int r = 0;

	do {
		skip_space(c);
		if (c->at == c->end)
			return -EBADMSG;
		if (*c->at == '{' || *c->at == '[') {
			depth++;
			c->at++;
		} else if (depth && (*c->at == '}' || *c->at == ']')) {
			depth--;
			c->at++;
		} else if (depth && (*c->at == ',' || *c->at == ':')) {
			c->at++;
		} else if (*c->at == '"') {
			r = take_string(c, &ignored);
		} else {
			r = take_word(c, &ignored);
		}
	} while (r == 0 && depth);
	return r;
}

static int take_u64(struct cursor *c, uint64_t max, uint64_t *ret_value)
{
	struct slice word;

	if (take_word(c, &word) < 0 ||
	    parse_u64(word.ptr, word.len, max, ret_value) < 0)
		return -EBADMSG;
	return 0;
}

/* A string of ours: plain, and short enough for @out. */
static int take_text(struct cursor *c, char *out, size_t size)
{
	struct slice text;

	if (take_string(c, &text) < 0 || text.len >= size ||
	    memchr(text.ptr, '\\', text.len) ||
	    memchr(text.ptr, '\0', text.len))
		return -EBADMSG;
	memcpy(out, text.ptr, text.len);
	out[text.len] = '\0';
	return 0;
}

/* Quoted on the wire, a bare number in the documentation. */
static int take_fragment_number(struct cursor *c, struct ack *ack)
{
	struct slice word;

	skip_space(c);
	if (c->at < c->end && *c->at != '"') {
		if (take_word(c, &word) < 0 ||
		    word.len >= sizeof(ack->fragment_number))
			return -EBADMSG;
		memcpy(ack->fragment_number, word.ptr, word.len);
	} else if (take_text(c, ack->fragment_number,
			     sizeof(ack->fragment_number)) < 0) {
		return -EBADMSG;
	}
	return all_digits(ack->fragment_number) ? 0 : -EBADMSG;
}

static int take_event(struct cursor *c, struct ack *ack)
{
	struct slice text;
	size_t i;

	if (take_string(c, &text) < 0)
		return -EBADMSG;
	for (i = ACK_BUFFERING; i < ACK_EVENT_COUNT; i++) {
		if (slice_is(text, event_names[i]))
			ack->event = (enum ack_event)i;
	}
	return 0;
}

enum key {
	KEY_EVENT = 0,
	KEY_TIMECODE,
	KEY_NUMBER,
	KEY_ERROR_ID,
	KEY_ERROR_CODE,
};

static const char *const key_names[] = {
	[KEY_EVENT] = "EventType",	 [KEY_TIMECODE] = "FragmentTimecode",
	[KEY_NUMBER] = "FragmentNumber", [KEY_ERROR_ID] = "ErrorId",
	[KEY_ERROR_CODE] = "ErrorCode",
};

static int take_member(struct cursor *c, unsigned int *seen, struct ack *ack)
{
	struct slice name;
	uint64_t v = 0;
	size_t key;
	int r;

	if (take_string(c, &name) < 0 || !take(c, ':'))
		return -EBADMSG;
	for (key = 0; key < ARRAY_SIZE(key_names); key++) {
		if (slice_is(name, key_names[key]))
			break;
	}
	if (key == ARRAY_SIZE(key_names))
		return skip_value(c);
	if (*seen & 1u << key)
		return -EBADMSG;
	*seen |= 1u << key;
	switch ((enum key)key) {
	case KEY_EVENT:
		return take_event(c, ack);
	case KEY_TIMECODE:
		ack->has_timecode = true;
		return take_u64(c, UINT64_MAX, &ack->timecode_ms);
	case KEY_NUMBER:
		return take_fragment_number(c, ack);
	case KEY_ERROR_ID:
		r = take_u64(c, UINT32_MAX, &v);
		ack->error_id = (uint32_t)v;
		return r;
	case KEY_ERROR_CODE:
		return take_text(c, ack->error_code, sizeof(ack->error_code));
	}
	return -EBADMSG;
}

static int parse_ack(const char *text, size_t len, struct ack *ret_ack)
{
	struct cursor c = { text, text + len };
	struct ack ack = { 0 };
	unsigned int seen = 0;

	if (!take(&c, '{'))
		return -EBADMSG;
	do {
		if (take_member(&c, &seen, &ack) < 0)
			return -EBADMSG;
	} while (take(&c, ','));
	if (!take(&c, '}') || c.at != c.end || !(seen & 1u << KEY_EVENT))
		return -EBADMSG;
	if (ack.event == ACK_ERROR && !(seen & 1u << KEY_ERROR_ID))
		return -EBADMSG;
	if (ack.event >= ACK_BUFFERING && ack.event <= ACK_PERSISTED &&
	    !ack.has_timecode)
		return -EBADMSG;
	*ret_ack = ack;
	return 0;
}

void ack_parser_init(struct ack_parser *p)
{
	p->len = 0;
	p->depth = 0;
	p->string = false;
	p->escape = false;
	p->failed = false;
}

/* Adds one byte. Return: 1 when it closes the object, 0, or -errno. */
static int frame_byte(struct ack_parser *p, char c)
{
	if (!p->depth && c != '{')
		return is_space(c) ? 0 : -EBADMSG;
	if (p->len == sizeof(p->text))
		return -EMSGSIZE;
	p->text[p->len++] = c;
	if (p->escape) {
		p->escape = false;
	} else if (p->string) {
		p->escape = c == '\\';
		p->string = c != '"';
	} else if (c == '"') {
		p->string = true;
	} else if (c == '{' || c == '[') {
		if (++p->depth > ACK_NESTING_MAX)
			return -EBADMSG;
	} else if (c == '}' || c == ']') {
		return --p->depth == 0;
	}
	return 0;
}

int ack_parser_feed(struct ack_parser *p, const void *in, size_t len,
		    size_t *ret_used, struct ack *ret_ack)
{
	const char *bytes = in;
	size_t i;
	int r = 0;

	if (p->failed)
		return -EBADMSG;
	for (i = 0; i < len && r == 0; i++)
		r = frame_byte(p, bytes[i]);
	if (r > 0) {
		r = parse_ack(p->text, p->len, ret_ack);
		ack_parser_init(p);
		if (r == 0)
			r = 1;
	}
	if (r < 0) {
		p->failed = true;
		return r;
	}
	*ret_used = i;
	return r;
}
