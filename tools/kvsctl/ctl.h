/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands of kvsctl share. */
#ifndef KVSCTL_CTL_H
#define KVSCTL_CTL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "kvsctl/args.h"
#include "kvsctl/settings.h"

struct kvs_client;

/* Exit codes; `kvsctl help exit-codes` documents them. */
enum ctl_exit {
	CTL_OK = 0,
	CTL_REFUSED = 1,	/* the service said no */
	CTL_USAGE = 2,
	CTL_NOT_FOUND = 3,	/* no such stream or fragment */
	CTL_DENIED = 4,		/* credentials, authorisation */
	CTL_NETWORK = 5,	/* connection, TLS, protocol */
	CTL_TIMEOUT = 6,
	CTL_LOCAL = 7,		/* a local file or its format */
	CTL_LACKING = 8,	/* doctor: something that is needed is missing */
};

struct ctl {
	struct settings_options options;	/* as given */
	bool json;
	bool help;
	const char *timeout;	/* as given */

	const char *command;	/* for messages */
	uint64_t timeout_ms;
	bool timeout_given;
	struct settings settings;	/* resolved by service_open() */
	bool resolved;
	struct kvs_client *client;	/* likewise; NULL while hung up */
};

/* Return: an enum ctl_exit. @argv: what follows the command's name. */
typedef int ctl_command_fn(struct ctl *ctl, int argc, char **argv);

ctl_command_fn devices_command;
ctl_command_fn doctor_command;
ctl_command_fn sync_command;
ctl_command_fn feed_command;
ctl_command_fn streams_command;
ctl_command_fn create_stream_command;
ctl_command_fn describe_stream_command;
ctl_command_fn delete_stream_command;
ctl_command_fn put_command;
ctl_command_fn get_command;
ctl_command_fn fragments_command;
ctl_command_fn clip_command;
ctl_command_fn export_command;

/**
 * ctl_args() - read a command's own options, the common ones and its operands
 * @options: the command's, ends with a zero entry
 * @operands: what the usage line says, e.g. "STREAM FILE|-"
 * @min, @max: how many operands
 *
 * Return: CTL_OK; else the code to exit with: CTL_USAGE (explained on
 * stderr), or CTL_OK + *ret_over after --help was answered.
 */
int ctl_args(struct ctl *ctl, int argc, char **argv,
	     const struct arg_option *options, const char *operands,
	     unsigned int min, unsigned int max, struct args *ret_args,
	     bool *ret_over) MUST_CHECK;

/*
 * ctl_args() of a command whose one operand is a stream; @operands as there.
 * *ret_stream is set, to a valid name, where CTL_OK is returned and it is not
 * over; borrows from @argv.
 */
int ctl_stream_args(struct ctl *ctl, int argc, char **argv,
		    const struct arg_option *options, const char *operands,
		    const char **ret_stream, bool *ret_over) MUST_CHECK;

/* "kvsctl: text" on stderr. Return: @code. */
int ctl_fail(int code, const char *fmt, ...) PRINTF(2, 3);
/* The same without ending anything. */
void ctl_note(const char *fmt, ...) PRINTF(1, 2);

/* Checks a stream's name. Return: CTL_OK, CTL_USAGE (explained). */
int ctl_check_stream(const char *name) MUST_CHECK;

#endif
