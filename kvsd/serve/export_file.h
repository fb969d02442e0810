/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads what `kvsctl export` writes (tools/kvsctl/export.c has the format): a
 * fragment at a time, each checked against the manifest's size and SHA-256
 * before anybody sees it. Nothing in the file is trusted.
 */
#ifndef SERVE_EXPORT_FILE_H
#define SERVE_EXPORT_FILE_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/macros.h"
#include "base/sys.h"
#include "proto/fragment_number.h"

struct export_file {
	json_t *stream;	    /* stream.json: an object */
	uint64_t fragments; /* given by export_file_next() */
	char error[512];    /* words for the last failure, with its place */

	/* Private. */
	char stream_hash[65];	   /* SHA-256 of stream.json, in hex */
	const struct sys_ops *sys; /* borrowed */
	const char *path;	   /* borrowed */
	int fd;
	uint64_t size;
	uint64_t first;	      /* of the fragments' headers */
	uint64_t at;	      /* of the next header */
	uint64_t lines_begin; /* of the manifest */
	uint64_t lines_end;
	uint64_t line_at;
	uint64_t bytes_given;
	uint8_t *bytes;
	size_t room;
};

struct export_fragment {
	char digits[FRAGMENT_NUMBER_CHARS + 1];
	struct fragment_number number;
	uint64_t at;	      /* in the file */
	const uint8_t *bytes; /* valid until the next one */
	size_t len;
};

/**
 * export_file_open() - learn where everything is; reads headers only
 * @sys, @path: borrowed
 *
 * Return: 0; -EBADMSG (not such a file, or cut off: @error says where);
 * -ENOMEM; or of a system call. export_file_close() is due in any case.
 */
int export_file_open(struct export_file *x, const struct sys_ops *sys,
		     const char *path) MUST_CHECK;
void export_file_close(struct export_file *x);

/**
 * export_file_next() - the next fragment, read and checked
 *
 * Return: 1; 0: that was the last, and all that the manifest says is there;
 * or as export_file_open().
 */
int export_file_next(struct export_file *x,
		     struct export_fragment *ret) MUST_CHECK;
void export_file_rewind(struct export_file *x);

#endif
