/* SPDX-License-Identifier: Apache-2.0 */
#include "io/config_ini.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTION_CHARS 50u	/* inih keeps no more */

struct reading {
	const char *path;
	const char *rest;	/* of the file */
	unsigned int line;
	bool failed;
	config_ini_fn *fn;
	void *ctx;
	char *error;
};

static void complain(struct reading *rd, const char *section, const char *key,
		     const char *why)
{
	if (rd->failed)
		return;
	rd->failed = true;
	(void)snprintf(rd->error, CONFIG_ERROR_CHARS, "%s:%u:%s%s%s%s%s %s",
		       rd->path, rd->line, section && section[0] ? " [" : "",
		       section ? section : "", section && section[0] ? "]" : "",
		       key ? " " : "", key ? key : "", why);
}

static int entry(struct reading *rd, const char *section, const char *key,
		 const char *value)
{
	char why[256] = "";
	char text[300];

	if (rd->failed)
		return -EINVAL;
	if (rd->fn(rd->ctx, rd->line, section, key, value, why,
		   sizeof(why)) == 0)
		return 0;
	(void)snprintf(text, sizeof(text), "%s", why);
	if (key) {
		char named[128];

		(void)snprintf(named, sizeof(named), "%s:", key);
		complain(rd, section, named, text);
	} else {
		complain(rd, section, NULL, text);
	}
	return -EINVAL;
}

static int on_entry(void *ctx, const char *section, const char *key,
		    const char *value)
{
	struct reading *rd = ctx;

	if (value)
		return entry(rd, section, key, value) == 0;
	complain(rd, section, key, "has no value");
	return 0;
}

static void on_section(struct reading *rd, const char *line, size_t len)
{
	const char *end = memchr(line, ']', len);
	char name[SECTION_CHARS];

	if (!end)
		return; /* inih will complain */
	if ((size_t)(end - line) - 1 >= sizeof(name)) {
		complain(rd, NULL, NULL, "the section's name is too long");
		return;
	}
	memcpy(name, line + 1, (size_t)(end - line) - 1);
	name[end - line - 1] = '\0';
	(void)entry(rd, name, NULL, NULL);
}

/*
 * A line at a time, without the white space it starts with: inih takes an
 * indented line for the rest of the value above it.
 */
static char *next_line(char *out, int size, void *ctx)
{
	struct reading *rd = ctx;
	const char *line = rd->rest;
	size_t len;

	if (!*line || rd->failed)
		return NULL;
	rd->line++;
	len = strcspn(line, "\n");
	rd->rest = line + len + (line[len] == '\n');
	while (len && (*line == ' ' || *line == '\t')) {
		line++;
		len--;
	}
	if (len > CONFIG_LINE_CHARS_MAX || len + 2 > (size_t)size) {
		complain(rd, NULL, NULL, "the line is too long");
		return NULL;
	}
	if (*line == '[')
		on_section(rd, line, len);
	memcpy(out, line, len);
	out[len] = '\n';
	out[len + 1] = '\0';
	return out;
}

int config_ini_read(const struct sys_ops *sys, const char *path,
		    config_ini_fn *fn, void *ctx, char *ret_error)
{
	struct reading rd = { .path = path, .fn = fn, .ctx = ctx,
			      .error = ret_error };
	char *bytes;
	size_t len;
	int r;

	r = sys_read_file(sys, AT_FDCWD, path, CONFIG_BYTES_MAX, &bytes, &len);
	if (r < 0) {
		(void)snprintf(ret_error, CONFIG_ERROR_CHARS, "%s: %s", path,
			       strerror(-r));
		return r;
	}
	rd.rest = bytes;
	if (strlen(bytes) != len) {
		rd.line = 1;
		complain(&rd, NULL, NULL, "not a text file");
	}
	r = ini_parse_stream(next_line, &rd, on_entry, &rd);
	if (r > 0 && !rd.failed) {
		rd.line = (unsigned int)r;
		complain(&rd, NULL, NULL,
			 "neither a [section] nor a key = value");
	}
	free(bytes);
	return rd.failed || r ? -EINVAL : 0;
}
