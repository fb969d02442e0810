/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Health and figures, on a thread and a ring of their own, so that whoever
 * asks for them takes nothing from the data path:
 *
 *	GET /healthz	200 while every thread turns, else 503
 *	GET /readyz	200 while new requests are welcome: not stopping, all
 *			threads turn, the disk has room, the catalog's
 *			directory takes writes; else 503 and a line for each
 *			reason
 *	GET /metrics	Prometheus' text format, see serve/metrics.h
 *
 * Plain HTTP without a password: off unless metrics_listen is set. At most
 * OPS_CONNECTIONS_MAX connections, each for one request of at most
 * OPS_HEAD_BYTES_MAX without a body, answered within OPS_REQUEST_NS_MAX; the
 * others wait in the kernel. Listener or not, the thread looks at the same
 * things each OPS_CHECK_NS and logs one line when one of them turns bad, and
 * one when it is good again.
 */
#ifndef SERVE_OPS_H
#define SERVE_OPS_H

#include <stdint.h>

#include "base/macros.h"

struct ops;
struct server;

/**
 * ops_start() - after server_start()
 * @server: borrowed; its threads end before ops_stop(), its memory after
 * @listen_fd: owned from here on; -EBADF: no listener
 *
 * Return: 0, or -errno with the reason logged.
 */
int ops_start(struct server *server, int listen_fd,
	      struct ops **ret_ops) MUST_CHECK;
/* Accepts NULL, returns NULL. */
struct ops *ops_stop(struct ops *o);

#endif
