/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvsd: one binary, two roles and tools. `kvsd agent` captures and uploads,
 * `kvsd serve` is the service, the others work on its directory. This file
 * only picks.
 */
#include <stdio.h>
#include <string.h>

#include "base/sys.h"

#if WITH_AGENT
#include "agent/agent.h"
#endif
#if WITH_SERVE
#include "serve/backup.h"
#include "serve/fsck.h"
#include "serve/hold.h"
#include "serve/import.h"
#include "serve/serve.h"
#endif

static const char usage[] =
	"usage: kvsd ROLE [OPTIONS]\n"
	"\n"
#if WITH_AGENT
	"  agent   capture cameras and sensors, encode, upload with PutMedia\n"
#endif
#if WITH_SERVE
	"  serve   the service: ingest, store, play back\n"
	"  backup  copy a service's directory while it runs\n"
	"  fsck    check and repair a service's directory\n"
	"  hold    keep a range of a stream whatever its retention\n"
	"  import  put an exported stream into a service's directory\n"
#endif
	"\n"
	"`kvsd ROLE --help` lists the role's options.\n";

int main(int argc, char **argv)
{
	const char *role = argc > 1 ? argv[1] : "";

#if WITH_AGENT
	if (strcmp(role, "agent") == 0)
		return agent_main(argc - 1, argv + 1, sys_posix());
#endif
#if WITH_SERVE
	if (strcmp(role, "serve") == 0)
		return serve_main(argc - 1, argv + 1, sys_posix());
	if (strcmp(role, "backup") == 0)
		return backup_main(argc - 1, argv + 1, sys_posix());
	if (strcmp(role, "fsck") == 0)
		return fsck_main(argc - 1, argv + 1, sys_posix());
	if (strcmp(role, "hold") == 0)
		return hold_main(argc - 1, argv + 1, sys_posix());
	if (strcmp(role, "import") == 0)
		return import_main(argc - 1, argv + 1, sys_posix());
#endif
	if (strcmp(role, "--help") == 0 || strcmp(role, "help") == 0) {
		(void)fputs(usage, stdout);
		return 0;
	}
	if (strcmp(role, "agent") == 0 || strcmp(role, "serve") == 0)
		(void)fprintf(stderr, "kvsd: this build has no %s role\n",
			      role);
	else
		(void)fputs(usage, stderr);
	return 2;
}
