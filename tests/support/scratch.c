/* SPDX-License-Identifier: Apache-2.0 */
#include "support/scratch.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* What all tests beside each other may take; containers often give less. */
#define IN_MEMORY_BYTES_MIN (512ULL << 20)

const char *scratch_parent(void)
{
	const char *chosen = getenv("TMPDIR");
	struct statvfs st;

	if (chosen)
		return chosen;
	if (access("/dev/shm", W_OK) == 0 && statvfs("/dev/shm", &st) == 0 &&
	    (unsigned long long)st.f_bavail * st.f_frsize >=
		    IN_MEMORY_BYTES_MIN)
		return "/dev/shm";
	return "/tmp";
}

bool scratch_dir(char *path, size_t size, const char *name)
{
	(void)snprintf(path, size, "%s/%s-XXXXXX", scratch_parent(), name);
	return mkdtemp(path);
}
