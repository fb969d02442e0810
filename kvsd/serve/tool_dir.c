/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/tool_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

bool tool_has_file(const struct sys_ops *sys, const char *dir, const char *name)
{
	char path[TOOL_PATH_CHARS + 32];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = sys->openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return false;
	sys_close(sys, &fd);
	return true;
}

int tool_set_path(char out[TOOL_PATH_CHARS], const char *value)
{
	int n = snprintf(out, TOOL_PATH_CHARS, "%s", value);

	return n <= 0 || n >= TOOL_PATH_CHARS ? -EINVAL : 0;
}

int tool_find_data(const struct sys_ops *sys, char dir[TOOL_PATH_CHARS],
		   char master_key[TOOL_PATH_CHARS])
{
	size_t len = strlen(dir);

	if (tool_has_file(sys, dir, "identity") ||
	    !tool_has_file(sys, dir, "data/identity"))
		return 0;
	if (len + sizeof("/master.key") > TOOL_PATH_CHARS)
		return -ENAMETOOLONG;
	if (!master_key[0] && tool_has_file(sys, dir, "master.key")) {
		memcpy(master_key, dir, len);
		memcpy(master_key + len, "/master.key", sizeof("/master.key"));
	}
	memcpy(dir + len, "/data", sizeof("/data"));
	return 0;
}
