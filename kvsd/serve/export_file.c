/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/export_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "io/crypto.h"
#include "proto/ustar.h"

#define FRAGMENT_PREFIX "fragments/"
#define FRAGMENT_SUFFIX ".mkv"
#define STREAM_JSON_BYTES_MAX (1u << 20)
#define LINE_BYTES_MAX 4096u
/* What GetMedia puts around the stored bytes is under 4 KiB. */
#define DOCUMENT_BYTES_MAX STORE_FRAGMENT_BYTES_MAX
#define HASH_CHARS (2 * CRYPTO_HASH_BYTES)
#define END_BYTES (2 * USTAR_BLOCK_BYTES)

static int PRINTF(3, 4)
	bad(struct export_file *x, uint64_t at, const char *fmt, ...)
{
	char what[256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	(void)snprintf(x->error, sizeof(x->error),
		       "%.200s: byte %" PRIu64 ": %s", x->path, at, what);
	return -EBADMSG;
}

static int failed(struct export_file *x, int r)
{
	(void)snprintf(x->error, sizeof(x->error), "%.200s: %s", x->path,
		       strerror(-r));
	return r;
}

static int read_at(struct export_file *x, uint64_t at, void *bytes, size_t len)
{
	uint8_t *p = bytes;

	while (len) {
		ssize_t n = x->sys->pread(x->fd, p, len, (off_t)at);

		if (n < 0)
			return failed(x, (int)n);
		if (n == 0)
			return bad(x, at, "the file is cut off");
		p += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int hash_text(const void *bytes, size_t len, char out[HASH_CHARS + 1])
{
	struct slice part = {bytes, len};
	uint8_t hash[CRYPTO_HASH_BYTES];
	size_t i;
	int r = crypto_sha256(&part, 1, hash);

	for (i = 0; i < sizeof(hash) && r == 0; i++)
		(void)snprintf(out + 2 * i, 3, "%02x", hash[i]);
	return r;
}

/* The member whose header is at @at. *@ret_next: of the header after it. */
static int member(struct export_file *x, uint64_t at,
		  struct ustar_entry *ret_entry, uint64_t *ret_next)
{
	uint8_t block[USTAR_BLOCK_BYTES];
	uint64_t padded;
	int r = read_at(x, at, block, sizeof(block));

	if (r < 0)
		return r;
	r = ustar_parse(block, ret_entry);
	if (r < 0)
		return bad(x, at, "this is no header of an exported stream");
	if (r == 0)
		return bad(x, at, "the archive ends before its manifest");
	padded = (ret_entry->bytes + USTAR_BLOCK_BYTES - 1) /
		 USTAR_BLOCK_BYTES * USTAR_BLOCK_BYTES;
	if (padded > x->size - at - USTAR_BLOCK_BYTES)
		return bad(x, at, "%s is cut off", ret_entry->name);
	*ret_next = at + USTAR_BLOCK_BYTES + padded;
	return 0;
}

static int read_stream(struct export_file *x)
{
	struct ustar_entry e = {.bytes = 0};
	json_error_t error;
	char *text;
	int r = member(x, 0, &e, &x->first);

	if (r < 0)
		return r;
	if (strcmp(e.name, "stream.json") != 0 ||
	    e.bytes > STREAM_JSON_BYTES_MAX)
		return bad(x, 0, "stream.json is not the first member");
	text = malloc((size_t)e.bytes + 1);
	if (!text)
		return failed(x, -ENOMEM);
	r = read_at(x, USTAR_BLOCK_BYTES, text, (size_t)e.bytes);
	if (r == 0)
		r = hash_text(text, (size_t)e.bytes, x->stream_hash);
	if (r == 0)
		x->stream = json_loadb(text, (size_t)e.bytes, 0, &error);
	free(text);
	if (r < 0)
		return r;
	if (!json_is_object(x->stream))
		return bad(x, USTAR_BLOCK_BYTES, "stream.json: %s", error.text);
	if (json_integer_value(json_object_get(x->stream, "Version")) != 1)
		return bad(x, USTAR_BLOCK_BYTES,
			   "stream.json: not of version 1 of this format");
	return 0;
}

static int find_manifest(struct export_file *x)
{
	uint8_t blocks[END_BYTES];
	struct ustar_entry e = {.bytes = 0};
	uint64_t at = x->first;
	uint64_t next = 0;
	int r;

	for (;; at = next) {
		r = member(x, at, &e, &next);
		if (r < 0)
			return r;
		if (strcmp(e.name, "manifest.jsonl") == 0)
			break;
		if (strncmp(e.name, FRAGMENT_PREFIX, strlen(FRAGMENT_PREFIX)) !=
		    0)
			return bad(x, at, "%s does not belong here", e.name);
	}
	x->lines_begin = at + USTAR_BLOCK_BYTES;
	x->lines_end = x->lines_begin + e.bytes;
	r = read_at(x, next, blocks, sizeof(blocks));
	if (r == 0 && (ustar_parse(blocks, &e) != 0 ||
		       ustar_parse(blocks + USTAR_BLOCK_BYTES, &e) != 0))
		r = bad(x, next, "something follows the manifest");
	return r;
}

int export_file_open(struct export_file *x, const struct sys_ops *sys,
		     const char *path)
{
	struct stat st;
	int r;

	*x = (struct export_file){.sys = sys, .path = path, .fd = -EBADF};
	x->fd = sys->openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	if (x->fd < 0)
		return failed(x, x->fd);
	r = sys->fstat(x->fd, &st);
	if (r == 0 && !S_ISREG(st.st_mode))
		r = -EINVAL; /* it is read more than once */
	if (r < 0)
		return failed(x, r);
	x->size = (uint64_t)st.st_size;
	r = read_stream(x);
	if (r == 0)
		r = find_manifest(x);
	if (r == 0)
		export_file_rewind(x);
	return r;
}

void export_file_close(struct export_file *x)
{
	json_decref(x->stream);
	free(x->bytes);
	if (x->sys)
		sys_close(x->sys, &x->fd);
}

void export_file_rewind(struct export_file *x)
{
	x->at = x->first;
	x->line_at = x->lines_begin;
	x->fragments = 0;
	x->bytes_given = 0;
}

/* The manifest's next line; a new reference. */
static int next_line(struct export_file *x, json_t **ret_line)
{
	char text[LINE_BYTES_MAX];
	size_t len =
		(size_t)MIN(x->lines_end - x->line_at, (uint64_t)sizeof(text));
	json_error_t error;
	char *end;
	int r = read_at(x, x->line_at, text, len);

	if (r < 0)
		return r;
	end = memchr(text, '\n', len);
	if (!end)
		return bad(x, x->line_at, "the manifest's line has no end");
	*ret_line = json_loadb(text, (size_t)(end - text), 0, &error);
	if (!json_is_object(*ret_line)) {
		json_decref(*ret_line);
		return bad(x, x->line_at, "the manifest's line: %s",
			   error.text);
	}
	x->line_at += (uint64_t)(end - text) + 1;
	return 0;
}

static bool is_integer(const json_t *line, const char *name, uint64_t value)
{
	const json_t *v = json_object_get(line, name);

	return json_is_integer(v) && (uint64_t)json_integer_value(v) == value;
}

static int check_end(struct export_file *x)
{
	uint64_t at = x->line_at;
	const char *hash;
	json_t *line = NULL;
	int r = next_line(x, &line);

	if (r < 0)
		return r;
	if (!is_integer(line, "Fragments", x->fragments) ||
	    !is_integer(line, "Bytes", x->bytes_given) ||
	    x->line_at != x->lines_end)
		r = bad(x, at, "the manifest does not end with what it lists");
	hash = json_string_value(json_object_get(line, "StreamSHA256"));
	if (r == 0 && (!hash || strcmp(hash, x->stream_hash) != 0))
		r = bad(x, USTAR_BLOCK_BYTES,
			"stream.json is damaged: its SHA-256 is not the "
			"manifest's");
	json_decref(line);
	return r;
}

static int make_room(struct export_file *x, size_t len)
{
	uint8_t *p;

	if (len <= x->room)
		return 0;
	p = realloc(x->bytes, len);
	if (!p)
		return failed(x, -ENOMEM);
	x->bytes = p;
	x->room = len;
	return 0;
}

static int check_sum(struct export_file *x, const json_t *line,
		     const struct export_fragment *f)
{
	const char *want = json_string_value(json_object_get(line, "SHA256"));
	char text[HASH_CHARS + 1];
	int r = hash_text(f->bytes, f->len, text);

	if (r < 0)
		return failed(x, r);
	if (!want || strcmp(want, text) != 0)
		return bad(x, f->at,
			   "fragment %s is damaged: its SHA-256 is "
			   "not the manifest's",
			   f->digits);
	return 0;
}

/* @name: fragments/NUMBER.mkv. */
static int take_number(struct export_file *x, const char *name,
		       struct export_fragment *f)
{
	const char *digits = name + strlen(FRAGMENT_PREFIX);

	if (strlen(digits) != FRAGMENT_NUMBER_CHARS + strlen(FRAGMENT_SUFFIX) ||
	    strcmp(digits + FRAGMENT_NUMBER_CHARS, FRAGMENT_SUFFIX) != 0)
		return bad(x, x->at, "%s is no fragment", name);
	memcpy(f->digits, digits, FRAGMENT_NUMBER_CHARS);
	f->digits[FRAGMENT_NUMBER_CHARS] = '\0';
	if (fragment_number_parse(slice_of(f->digits), &f->number) < 0)
		return bad(x, x->at,
			   "%s is no number that this service can "
			   "keep",
			   f->digits);
	return 0;
}

static int check_line(struct export_file *x, struct export_fragment *f)
{
	uint64_t at = x->line_at;
	const char *number;
	json_t *line = NULL;
	int r = next_line(x, &line);

	if (r < 0)
		return r;
	number = json_string_value(json_object_get(line, "FragmentNumber"));
	if (!number || strcmp(number, f->digits) != 0 ||
	    !is_integer(line, "Bytes", f->len))
		r = bad(x, at, "the manifest's line is not of fragment %s",
			f->digits);
	if (r == 0)
		r = check_sum(x, line, f);
	json_decref(line);
	return r;
}

int export_file_next(struct export_file *x, struct export_fragment *ret)
{
	struct export_fragment f = {.at = x->at + USTAR_BLOCK_BYTES};
	struct ustar_entry e = {.bytes = 0};
	uint64_t next = 0;
	int r;

	if (f.at == x->lines_begin)
		return check_end(x);
	r = member(x, x->at, &e, &next);
	if (r == 0)
		r = take_number(x, e.name, &f);
	if (r == 0 && (!e.bytes || e.bytes > DOCUMENT_BYTES_MAX))
		r = bad(x, x->at, "%s is too large", e.name);
	if (r == 0)
		r = make_room(x, (size_t)e.bytes);
	if (r == 0)
		r = read_at(x, f.at, x->bytes, (size_t)e.bytes);
	if (r < 0)
		return r;
	f.bytes = x->bytes;
	f.len = (size_t)e.bytes;
	r = check_line(x, &f);
	if (r < 0)
		return r;
	x->at = next;
	x->fragments++;
	x->bytes_given += f.len;
	*ret = f;
	return 1;
}
