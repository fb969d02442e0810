/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Legal holds, by an operator on the machine: `kvsd hold`. The running service
 * is asked through DIR/admin (serve/hold_socket.h), otherwise the directory is
 * opened. Not a call of the service's port: who may upload must not be able to
 * let go of evidence, and Amazon has no such call.
 */
#ifndef SERVE_HOLD_H
#define SERVE_HOLD_H

#include <jansson.h>

#include "base/sys.h"

struct catalog;
struct store_hold;
struct store_local;

/* `kvsd hold ...`. Return: the exit status. */
int hold_main(int argc, char **argv, const struct sys_ops *sys);

/*
 * Does what @request asks: {"do": "add", "stream", "name", "from_ms", "to_ms"},
 * {"do": "remove", "stream", "name"} or {"do": "list", "stream"}. Blocks.
 * @store: whose deletions are waited for after an addition; NULL: none runs.
 * Return: {"holds": [...]} of the stream, or {"error": words}; NULL without
 * memory.
 */
json_t *hold_apply(struct catalog *catalog, struct store_local *store,
		   const json_t *request);

/* " from TIME to TIME", on the standard output. */
void hold_print_range(const struct store_hold *range);

#endif
