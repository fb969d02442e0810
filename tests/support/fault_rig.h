/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fault sweeps over whole programs share: a folder of their own, a
 * service that is well, and a note of the fault under way, so that a test
 * that fails says which call it was and what the program logged.
 */
#ifndef SUPPORT_FAULT_RIG_H
#define SUPPORT_FAULT_RIG_H

#include <stddef.h>

#include <kvs/client.h>

#include "support/serve_child.h"

#define FAULT_PATH_CHARS 96u

/* The folder of this test (support/scratch.h). Return: false: none. */
bool fault_rig_open(const char *name);
/* Removes it; KEEP=1 in the environment keeps it. Return: 0, or -1. */
int fault_rig_close(void);
/* @name in the folder. */
void fault_rig_path(const char *name, char out[FAULT_PATH_CHARS]);

/*
 * Which calls of a sweep over @total fail: about @runs of them, spread evenly
 * and others in each sweep; with FULL=1 in the environment all of them. PART=K/N
 * there: of these the K-th of N parts, so that N short runs are a long one.
 */
struct fault_steps {
	unsigned long first;
	unsigned long step;
};

struct fault_steps fault_rig_steps(unsigned long total, unsigned long runs);

/* The @n-th call is to fail with the negative errno @err. Borrows @what. */
void fault_rig_begins(const char *what, unsigned long n, int err);
/* ... and the program came through. */
void fault_rig_ends(void);
/* cmocka's teardown: of a fault that began and did not end, and <folder>/log. */
int fault_rig_explain(void **state);

/* A service in <folder>/dir that logs to @log there, and its client. */
bool fault_rig_service(const char *log, struct serve_child *ret_service,
		       struct kvs_client **ret_client);
void fault_rig_service_end(struct serve_child *service,
			   struct kvs_client *client);

#endif
