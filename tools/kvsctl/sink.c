/* SPDX-License-Identifier: Apache-2.0 */
#include "kvsctl/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys.h"
#include "kvsctl/ctl.h"

/* A rename would replace a device or a pipe, not write to it. */
static bool is_special(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

int sink_open(struct sink *s, const char *path, bool whole)
{
	const char *opened;

	*s = (struct sink){ .path = path, .fd = STDOUT_FILENO };
	if (!path || strcmp(path, "-") == 0) {
		s->path = "stdout";
		if (isatty(STDOUT_FILENO) == 1)
			return ctl_fail(CTL_USAGE,
					"media does not go to a terminal: use "
					"-o FILE or a pipe");
		return CTL_OK;
	}
	if (whole && !is_special(path) &&
	    asprintf(&s->part, "%s.part", path) < 0) {
		s->part = NULL;
		return ctl_fail(CTL_LOCAL, "out of memory");
	}
	opened = s->part ? s->part : path;
	s->fd = sys_posix()->openat(AT_FDCWD, opened,
				    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
				    0666);
	if (s->fd < 0) {
		int code = ctl_fail(CTL_LOCAL, "%s: %s", opened,
				    strerror(-s->fd));

		free(s->part);
		return code;
	}
	s->owned = true;
	return CTL_OK;
}

int sink_write(struct sink *s, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;

	while (len) {
		ssize_t n = sys_posix()->write(s->fd, p, len);

		if (n <= 0) {
			s->error = n < 0 ? (int)n : -EIO;
			return s->error;
		}
		p += n;
		len -= (size_t)n;
		s->bytes += (uint64_t)n;
	}
	return 0;
}

int sink_close(struct sink *s, bool good)
{
	const struct sys_ops *sys = sys_posix();
	int r = s->error == -EPIPE ? 0 : s->error;

	if (s->owned) {
		int closed = sys->close(s->fd);

		r = r < 0 ? r : closed;
	}
	if (s->part && good && r == 0)
		r = sys->renameat(AT_FDCWD, s->part, AT_FDCWD, s->path);
	else if (s->part)
		(void)sys->unlinkat(AT_FDCWD, s->part, 0);
	free(s->part);
	s->part = NULL;
	if (r < 0)
		return ctl_fail(CTL_LOCAL, "%s: %s", s->path, strerror(-r));
	return CTL_OK;
}
