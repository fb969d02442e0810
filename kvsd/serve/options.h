/* SPDX-License-Identifier: Apache-2.0 */
/* What `kvsd serve` was told, by command line or file. */
#ifndef SERVE_OPTIONS_H
#define SERVE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/sys.h"

#define SERVE_THREADS_MAX 64u
#define SERVE_PATH_BYTES 4096u
#define SERVE_TEXT_BYTES 257u
#define SERVE_PORT_DEFAULT 8443u

struct serve_options {
	bool check; /* --check: stop before listening */
	bool help;
	char quickstart[SERVE_PATH_BYTES]; /* "" = not given */
	char config[SERVE_PATH_BYTES];
	char data_dir[SERVE_PATH_BYTES];
	char cert[SERVE_PATH_BYTES];
	char key[SERVE_PATH_BYTES];
	char master_key[SERVE_PATH_BYTES];  /* "" = DATA_DIR/master.key */
	char credentials[SERVE_PATH_BYTES]; /* "" = none */
	char address[SERVE_TEXT_BYTES];	    /* numeric, without brackets */
	uint16_t port;			    /* 0 = any */
	char public_url[SERVE_TEXT_BYTES];  /* "" = https://<Host> */
	char region[SERVE_TEXT_BYTES];
	char account[SERVE_TEXT_BYTES];
	uint64_t storage_max; /* bytes of media kept; 0 = what the disk has */
	unsigned int threads; /* 0 = one per processor */
};

extern const char serve_usage[];

/* The defaults. */
void serve_options_init(struct serve_options *o);

/**
 * serve_options_parse() - command line, then the file it names
 *
 * What the command line says wins. Errors are written to stderr.
 * Return: 0, -EINVAL, or the errno of reading the file.
 */
int serve_options_parse(struct serve_options *o, const struct sys_ops *sys,
			int argc, char **argv) MUST_CHECK;

/* One "key = value" of the file; for tests. Return: 0, -EINVAL, -ENOENT. */
int serve_options_set(struct serve_options *o, const char *key,
		      const char *value) MUST_CHECK;

#endif
