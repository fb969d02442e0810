/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call into a source on a thread of its own, for drivers that may never
 * return. Whoever makes it waits a moment; a call that takes longer keeps the
 * source, and whoever made it asks now and then whether it is done. One that
 * is left behind cleans up after itself, should it ever return.
 */
#ifndef CAPTURE_SRC_SUPERVISOR_CALL_H
#define CAPTURE_SRC_SUPERVISOR_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include <capture/source.h>

#include "src/source_backend.h"

struct supervisor_call;

enum supervisor_op {
	SUPERVISOR_OPEN = 0,
	SUPERVISOR_START,
	SUPERVISOR_STOP,
	SUPERVISOR_CLOSE
};

/**
 * supervisor_call_new() - begin @op
 * @config: of SUPERVISOR_OPEN: copied; settings->error of the copy is its own
 * @open: of SUPERVISOR_OPEN
 * @source: of the others; the call's until supervisor_call_end()
 *
 * Return: 0, -ENOMEM, -EINVAL, or the errno of pthread_create.
 */
int supervisor_call_new(const struct sys_ops *sys, enum supervisor_op op,
			const struct capture_source_config *config,
			source_open_fn *open, struct capture_source *source,
			struct supervisor_call **ret_call) MUST_CHECK;

/* Whether it returned by @deadline_ns (CLOCK_MONOTONIC; 0: look only). */
bool supervisor_call_wait(struct supervisor_call *call, uint64_t deadline_ns);

/*
 * A frame of the call's source came back: nobody else may touch that source.
 * True: kept until the call is done; false: it is, unref it yourself.
 */
bool supervisor_call_keep(struct supervisor_call *call,
			  struct capture_frame *frame);

/*
 * After supervisor_call_wait() was true: what it said, and the source, which
 * is the caller's again (NULL after SUPERVISOR_CLOSE, or a failed open).
 * @error: NULL, or where to copy what the open said of settings
 */
int supervisor_call_end(struct supervisor_call *call,
			struct capture_settings_error *error,
			struct capture_source **ret_source) MUST_CHECK;

/* It may run for ever: its thread is left behind, with all that is its. */
void supervisor_call_abandon(struct supervisor_call *call);

/* "open", "start", "stop", "close" */
const char *supervisor_op_name(enum supervisor_op op);

#endif
