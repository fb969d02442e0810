/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the parts of `kvsd backup`:
 *
 *	backup.c		where it goes, small files, order of all of it
 *	backup_segments.c	passes over the segments
 *	backup_catalog.c	both catalogs, from beside the service
 */
#ifndef SERVE_BACKUP_INT_H
#define SERVE_BACKUP_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "io/data_dir.h"
#include "serve/tool_dir.h"

#define BACKUP_COPY_BYTES (1u << 20)

struct backup_options {
	char from[TOOL_PATH_CHARS];
	char to[TOOL_PATH_CHARS];
	char master_key[TOOL_PATH_CHARS];
	bool with_key;
};

struct backup {
	const struct sys_ops *sys;
	struct backup_options *o;
	bool quickstart;
	char from_top[TOOL_PATH_CHARS]; /* as given: of --quickstart the top */
	char to_top[TOOL_PATH_CHARS];
	struct data_dir from; /* not locked */
	struct data_dir to;
	char *identity;
	size_t identity_len;
	bool renewed;	/* DEST is a whole copy of before */
	uint8_t *bytes; /* BACKUP_COPY_BYTES */
	uint64_t bytes_copied;
	uint64_t bytes_same;
	uint64_t revision;
	unsigned int sealed;  /* streams with a customer's key */
	bool more_keys;	      /* than @key_names has room for */
	char key_names[1024]; /* one a line, each once */
	unsigned int copied;
	unsigned int same;
	unsigned int removed;
	unsigned int unread;
	bool read_failed; /* the last error is the original's */
};

/* Logs it. Return: @err. */
int backup_failed(const struct data_dir *d, const char *name, int err);
/* All of @len bytes. */
int backup_write(struct backup *b, int fd, const uint8_t *bytes, size_t len,
		 uint64_t at) MUST_CHECK;
/* Copies what DEST lacks, removes what the original does not have. */
int backup_segments(struct backup *b) MUST_CHECK;
int backup_catalogs(struct backup *b) MUST_CHECK;

#endif
