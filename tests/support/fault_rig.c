/* SPDX-License-Identifier: Apache-2.0 */
#include "support/fault_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/sys.h"
#include "support/scratch.h"

static char base[64];

/* The fault under way; no name: none. */
static struct {
	const char *name;
	unsigned long n;
	int err;
} running;

bool fault_rig_open(const char *name)
{
	return scratch_dir(base, sizeof(base), name);
}

int fault_rig_close(void)
{
	char command[128];

	if (getenv("KEEP"))
		return 0;
	(void)snprintf(command, sizeof(command), "rm -rf %s", base);
	return system(command) ? -1 : 0;
}

void fault_rig_path(const char *name, char out[FAULT_PATH_CHARS])
{
	(void)snprintf(out, FAULT_PATH_CHARS, "%s/%s", base, name);
}

struct fault_steps fault_rig_steps(unsigned long total, unsigned long runs)
{
	static unsigned int sweeps;
	const char *full = getenv("FULL");
	const char *part = getenv("PART");
	struct fault_steps s = { .step = total / runs + 1 };
	unsigned long k = 1;
	unsigned long n = 1;

	if (full && full[0])
		s.step = 1;
	if (part && part[0] &&
	    (sscanf(part, "%lu/%lu", &k, &n) != 2 || k < 1 || k > n))
		fail_msg("PART=%s is not K/N", part);
	s.first = 1 + sweeps++ % s.step + (k - 1) * s.step;
	s.step *= n;
	return s;
}

void fault_rig_begins(const char *what, unsigned long n, int err)
{
	running.name = what;
	running.n = n;
	running.err = err;
}

void fault_rig_ends(void)
{
	running.name = NULL;
}

int fault_rig_explain(void **state)
{
	char command[128];

	(void)state;
	if (!running.name)
		return 0;
	fprintf(stderr, "last: %s %lu %s\n", running.name, running.n,
		strerror(-running.err));
	running.name = NULL;
	(void)snprintf(command, sizeof(command), "tail -n 40 %s/log >&2", base);
	return system(command) ? -1 : 0;
}

bool fault_rig_service(const char *log, struct serve_child *ret_service,
		       struct kvs_client **ret_client)
{
	struct kvs_client_config config;
	struct serve_setup setup = { .sys = sys_posix() };
	char dir_path[FAULT_PATH_CHARS];
	char log_path[FAULT_PATH_CHARS];

	fault_rig_path("dir", dir_path);
	fault_rig_path(log, log_path);
	setup.dir = dir_path;
	setup.log = log_path;
	if (!serve_child_start(ret_service, &setup))
		return false;
	serve_child_client(ret_service, &config);
	return kvs_client_new(&config, ret_client) == 0;
}

void fault_rig_service_end(struct serve_child *service,
			   struct kvs_client *client)
{
	(void)kvs_client_free(client);
	serve_child_stop(service);
	serve_child_fini(service);
}
