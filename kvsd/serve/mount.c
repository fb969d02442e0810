/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/mount.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "base/log.h"

#define F2FS_MAGIC 0xf2f52010u

/* Whether @text begins with @word and then one of @ends or its own end. */
static bool begins(const char *text, const char *word, const char *ends)
{
	size_t len = strlen(word);

	return !strncmp(text, word, len) && strchr(ends, text[len]);
}

/* What follows the next @c; NULL of NULL. */
static const char *after(const char *text, char c)
{
	text = text ? strchr(text, c) : NULL;
	return text ? text + 1 : NULL;
}

bool mount_has_option(const char *line, const char *device, const char *option)
{
	/* Mount, parent, device, ...; " - ", type, source, options */
	const char *p = after(after(line, ' '), ' ');

	if (!p || !begins(p, device, " "))
		return false;
	p = strstr(p, " - ");
	p = p ? after(after(p + 3, ' '), ' ') : NULL;
	for (; p; p = after(p, ','))
		if (begins(p, option, ",\n"))
			return true;
	return false;
}

static bool mounted_with(int fd, const char *option)
{
	char device[32];
	char *line = NULL;
	size_t size = 0;
	bool found = false;
	struct stat st;
	FILE *f;

	if (fstat(fd, &st) < 0)
		return false;
	(void)snprintf(device, sizeof(device), "%u:%u", major(st.st_dev),
		       minor(st.st_dev));
	f = fopen("/proc/self/mountinfo", "re");
	if (!f)
		return false;
	while (!found && getline(&line, &size, f) > 0)
		found = mount_has_option(line, device, option);
	free(line);
	(void)fclose(f);
	return found;
}

void mount_warn(int fd, const char *path)
{
	struct statfs st;

	/*
	 * f2fs numbers the node blocks that fsync() writes, from 0 after each
	 * checkpoint, and does not wait for a number 0: the flush may overtake
	 * what leads to the data. With fastboot each fsync() is a checkpoint.
	 */
	if (fstatfs(fd, &st) < 0 || (unsigned int)st.f_type != F2FS_MAGIC ||
	    mounted_with(fd, "fastboot"))
		return;
	log_warn("serve",
		 "%s is on f2fs without its mount option fastboot: a power cut "
		 "may lose what was acknowledged as PERSISTED",
		 path);
}
