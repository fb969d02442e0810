/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOG_BYTES_MAX 1024

static atomic_int threshold = LOG_INFO;

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

void log_line(enum log_level level, const char *component, const char *fmt,
	      ...)
{
	static const char *const names[] = { "error", "warning", "info",
					     "debug" };
	static const char *const journal[] = { "<3>", "<4>", "<6>", "<7>" };
	char line[LOG_BYTES_MAX];
	int saved = errno;
	va_list ap;
	int used;
	int n;

	if ((int)level > atomic_load_explicit(&threshold, memory_order_relaxed))
		return;
	if (getenv("JOURNAL_STREAM"))
		used = snprintf(line, sizeof(line), "%s%s: ", journal[level],
				component);
	else
		used = snprintf(line, sizeof(line), "%s %s: ", names[level],
				component);
	va_start(ap, fmt);
	n = vsnprintf(line + used, sizeof(line) - (size_t)used - 1, fmt, ap);
	va_end(ap);
	if (n < 0)
		n = 0;
	used = (int)MIN((size_t)used + (size_t)n, sizeof(line) - 2);
	line[used++] = '\n';
	/* One write per line, so that threads do not interleave. */
	if (write(STDERR_FILENO, line, (size_t)used) < 0) {
		/* Nowhere left to report it. */
	}
	errno = saved;
}
