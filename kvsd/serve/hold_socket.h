/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DIR/admin: a Unix socket of mode 0600, so for who may write the directory
 * anyway, and root. One JSON request and its answer per connection
 * (serve/hold.h), one after the other, on a thread of its own: what it does
 * blocks on the disk.
 */
#ifndef SERVE_HOLD_SOCKET_H
#define SERVE_HOLD_SOCKET_H

#include <jansson.h>

#include "base/macros.h"
#include "base/sys.h"

struct catalog;
struct data_dir;
struct hold_socket;
struct store_local;

/**
 * hold_socket_start() - begin to answer
 *
 * All are borrowed until hold_socket_stop(). Return: 0, or an errno.
 */
int hold_socket_start(const struct sys_ops *sys, const struct data_dir *dir,
		      struct catalog *catalog, struct store_local *store,
		      struct hold_socket **ret_socket) MUST_CHECK;
/* Ends the request under way first. Accepts NULL, returns NULL. */
struct hold_socket *hold_socket_stop(struct hold_socket *h);

/*
 * Asks the service of @dir. Return: 0; -ENOENT, -ECONNREFUSED (there is none);
 * -EPROTO (no answer that can be read); -EACCES and others of the system.
 */
int hold_socket_ask(const struct sys_ops *sys, const char *dir,
		    const json_t *request, json_t **ret_reply) MUST_CHECK;

#endif
