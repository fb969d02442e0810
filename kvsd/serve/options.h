/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `kvsd serve` was told, by file and command line. One table has every
 * key: its section, its option, what it takes, whether a reload may change it.
 * The command line is laid over the file; nothing else decides between them.
 */
#ifndef SERVE_OPTIONS_H
#define SERVE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/sys.h"

#define SERVE_THREADS_MAX 64u
#define SERVE_PATH_BYTES 4096u
#define SERVE_TEXT_BYTES 257u
#define SERVE_PORT_DEFAULT 8443u
#define SERVE_ERROR_CHARS 512u
#define SERVE_STREAM_MAX_ENTRIES 64u

/* [stream_max]: NAME = SIZE. */
struct serve_stream_max {
	char name[SERVE_TEXT_BYTES];
	uint64_t bytes; /* 0 = no bound */
};

/* [limits], [stream_max]: a reload changes them. */
struct serve_limits {
	uint32_t connections; /* per thread */
	uint32_t readers;     /* GetMedia, per stream */
	uint32_t lists;	      /* GetMediaForFragmentList, per stream */
	uint32_t api_rate; /* percent of Amazon's, per stream; 0 = no bound */
	uint64_t put_rate; /* bytes per second of one PutMedia; 0 = no bound */
	uint64_t get_rate; /* ... of one GetMedia, or ..ForFragmentList */
	uint64_t upload_ns_max; /* of one PutMedia, then 4003 */
	uint64_t keep_alive_ns;
	uint64_t drain_ns;    /* a stop waits for ends of fragments */
	uint64_t live_memory; /* bytes for live readers, per thread */
	uint64_t stream_max;  /* bytes kept of each stream; 0 = no bound */
	uint32_t stream_max_count;
	struct serve_stream_max stream_maxes[SERVE_STREAM_MAX_ENTRIES];
};

/* What holds for a stream; 0 = no bound. */
uint64_t serve_stream_max(const struct serve_limits *l, const char *name);
/* Some stream has a bound. */
static inline bool serve_has_stream_max(const struct serve_limits *l)
{
	return l->stream_max || l->stream_max_count;
}

struct serve_address {
	/* Without brackets; "" = not given. No padding: compared as a whole. */
	char host[SERVE_TEXT_BYTES + 1];
	uint16_t port; /* 0 = any */
};

enum serve_aes_gcm {
	SERVE_AES_GCM_AUTO,	/* what is fastest here */
	SERVE_AES_GCM_OPENSSL,
};

struct serve_options {
	bool check; /* --check: stop before listening */
	bool help;
	char quickstart[SERVE_PATH_BYTES]; /* "" = not given */
	char config[SERVE_PATH_BYTES];
	char data_dir[SERVE_PATH_BYTES];
	char cert[SERVE_PATH_BYTES];
	char key[SERVE_PATH_BYTES];
	char master_key[SERVE_PATH_BYTES];  /* "" = DATA_DIR/master.key */
	char kms_keys[SERVE_PATH_BYTES];    /* "" = none */
	char credentials[SERVE_PATH_BYTES]; /* "" = none */
	struct serve_address listen;
	struct serve_address metrics_listen; /* host "": off */
	char public_url[SERVE_TEXT_BYTES];   /* "" = https://<Host> */
	char region[SERVE_TEXT_BYTES];
	char account[SERVE_TEXT_BYTES];
	uint32_t aes_gcm;	/* enum serve_aes_gcm */
	uint32_t compact_below; /* percent; 0 = no compaction */
	uint64_t storage_max;	/* bytes of media kept; 0 = what the disk has */
	uint64_t storage_free;	/* that the disk keeps; 0 = none */
	uint32_t threads;	/* 0 = one per processor */
	struct serve_limits limits;
	uint64_t alive_within_ns;
	uint64_t disk_free_min; /* bytes */
	uint32_t log_level;	/* enum log_level */
};

extern const char serve_usage[];

/* The defaults. */
void serve_options_init(struct serve_options *o);

/**
 * serve_options_parse() - the file that the command line names, then the
 * command line over it, then checks across keys
 * @o: serve_options_init() has run; undefined on failure
 * @ret_error: SERVE_ERROR_CHARS; words on failure: file, line, section and
 *	key, or the option
 *
 * Return: 0, -EINVAL, or the errno of reading the file.
 */
int serve_options_parse(struct serve_options *o, const struct sys_ops *sys,
			int argc, char **argv, char *ret_error) MUST_CHECK;

/**
 * serve_options_set() - one "key = value"
 * @why: words on failure
 *
 * Return: 0, -EINVAL, -ENOENT (no such key).
 */
int serve_options_set(struct serve_options *o, const char *key,
		      const char *value, char *why, size_t why_size) MUST_CHECK;

/*
 * Keys that differ and that a reload cannot change, as "listen, threads".
 * Return: how many there are.
 */
size_t serve_options_fixed(const struct serve_options *now,
			   const struct serve_options *next, char *out,
			   size_t size);

#endif
