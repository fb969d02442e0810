/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `kvsd serve --quickstart DIR` as a child of the test: serve_main() after a
 * fork, so that a crash or a hang ends the child and not the test, and every
 * run begins with a fresh process. Fork with one thread only.
 */
#ifndef SUPPORT_SERVE_CHILD_H
#define SUPPORT_SERVE_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <kvs/client.h>

struct sys_ops;

/* What the child leaves behind; in memory that both share. */
struct serve_report {
	bool ended;		/* serve_main() returned */
	int result;		/* what it returned */
	int fds_before;		/* open descriptors */
	int fds_after;
	size_t tracked_fds;	/* as of sys_fault.h */
	size_t tracked_maps;
	char where[32];		/* the call that was failed, or "" */
	unsigned long calls;	/* that could have been */
};

struct serve_child {
	pid_t pid;
	struct serve_report *report;
	char endpoint[128];
	char ca[512];
	char access_key[160];
	char secret[160];
	char region[32];
	int status;		/* of waitpid() */
};

struct serve_setup {
	const char *dir;	/* --quickstart */
	const char *log;	/* file for stderr, appended to */
	const struct sys_ops *sys;
	/* In the child, before and after serve_main(). May be NULL. */
	void (*before)(void *ctx);
	void (*after)(void *ctx, struct serve_report *report);
	void *ctx;
};

/*
 * Starts it and waits until it listens or has ended. Return: true when it
 * listens; false when it ended (see @c->status).
 */
bool serve_child_start(struct serve_child *c, const struct serve_setup *setup);
/*
 * SIGTERM, and its end: @c->status and the report tell how. A child that does
 * not end is killed (status: SIGKILL).
 */
void serve_child_stop(struct serve_child *c);
/* Frees the report. */
void serve_child_fini(struct serve_child *c);

/* A client's configuration for it; borrows from @c. */
void serve_child_client(const struct serve_child *c,
			struct kvs_client_config *ret_config);

/* Descriptors that this process has open. */
int serve_child_count_fds(void);

#endif
