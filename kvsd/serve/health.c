/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/health.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "io/data_dir.h"
#include "serve/server.h"

#define CERTIFICATE_S_MIN (14ull * 24 * 3600)

void health_init(struct health *h, const struct server *server)
{
	*h = (struct health){.server = server};
}

/* @fmt: what is wrong; when it is not, what is well again. */
static void PRINTF(4, 5) set(struct health *h, enum health_condition c,
			     bool bad, const char *fmt, ...)
{
	char text[sizeof(h->text[0])];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (bad)
		(void)snprintf(h->text[c], sizeof(h->text[c]), "%s", text);
	if (h->bad[c] == bad)
		return;
	h->bad[c] = bad;
	if (bad)
		log_warn("serve", "degraded: %s", text);
	else
		log_info("serve", "recovered: %s", text);
}

bool health_alive(struct health *h)
{
	const struct server *s = h->server;
	uint64_t within =
		atomic_load_explicit(&s->alive_within_ns, memory_order_relaxed);
	unsigned int index;
	uint64_t silent = server_silent_ns(
		s, sys_now_ns(s->sys, CLOCK_MONOTONIC), &index);

	/* They end one after the other; the main thread sees to that. */
	if (atomic_load_explicit(&s->draining, memory_order_relaxed))
		return true;
	if (silent > within)
		set(h, HEALTH_THREAD, true,
		    "thread %u has not turned for %llu s", index,
		    silent / NS_PER_S);
	else
		set(h, HEALTH_THREAD, false, "every thread turns");
	return !h->bad[HEALTH_THREAD];
}

static bool check_disk(struct health *h)
{
	const struct server *s = h->server;
	uint64_t least =
		atomic_load_explicit(&s->disk_free_min, memory_order_relaxed);
	struct statvfs st;
	int r = s->sys->fstatvfs(s->dir->fd, &st);

	if (r < 0) {
		set(h, HEALTH_DISK_FAILED, true, "disk of %s: %s", s->dir->path,
		    strerror(-r));
		return false;
	}
	h->disk_free = (uint64_t)st.f_bavail * st.f_frsize;
	set(h, HEALTH_DISK_FULL, h->disk_free < least,
	    "disk of %s: %" PRIu64 " MiB free, disk_free_min is %" PRIu64
	    " MiB",
	    s->dir->path, h->disk_free >> 20, least >> 20);
	return true;
}

/*
 * The lock file is in the catalog's directory, and its content nobody's: a
 * byte of it, synced, tells of a disk that went read-only or away.
 */
static void try_write(struct health *h, uint64_t max_age_ns)
{
	const struct server *s = h->server;
	uint64_t now_ns = sys_now_ns(s->sys, CLOCK_MONOTONIC);
	int r;

	if (h->written_ns && now_ns - h->written_ns < max_age_ns)
		return;
	h->written_ns = now_ns;
	r = (int)s->sys->pwrite(s->dir->lock_fd, "\n", 1, 0);
	if (r >= 0)
		r = r == 1 ? s->sys->fdatasync(s->dir->lock_fd) : -EIO;
	if (r < 0)
		set(h, HEALTH_DISK_FAILED, true, "writing in %s: %s",
		    s->dir->path, strerror(-r));
	else
		set(h, HEALTH_DISK_FAILED, false, "%s takes writes",
		    s->dir->path);
}

static void check_certificate(struct health *h)
{
	const struct server *s = h->server;
	uint64_t expires =
		atomic_load_explicit(&s->cert_expires_s, memory_order_relaxed);
	uint64_t now = sys_now_ns(s->sys, CLOCK_REALTIME) / NS_PER_S;

	if (!expires)
		return;
	if (expires <= now)
		set(h, HEALTH_CERTIFICATE, true, "the certificate has expired");
	else
		set(h, HEALTH_CERTIFICATE, expires - now < CERTIFICATE_S_MIN,
		    "the certificate expires in %" PRIu64 " days",
		    (expires - now) / (24 * 3600));
}

void health_check(struct health *h, uint64_t max_age_ns)
{
	const struct server *s = h->server;
	bool draining =
		atomic_load_explicit(&s->draining, memory_order_relaxed);

	/* The main thread has logged it. */
	h->bad[HEALTH_DRAINING] = draining;
	(void)snprintf(h->text[HEALTH_DRAINING],
		       sizeof(h->text[HEALTH_DRAINING]),
		       "the service is stopping");
	(void)health_alive(h);
	if (check_disk(h))
		try_write(h, max_age_ns);
	check_certificate(h);
}

static bool bars(enum health_condition c)
{
	return c != HEALTH_CERTIFICATE;
}

bool health_ready(const struct health *h)
{
	unsigned int i;

	for (i = 0; i < HEALTH_CONDITION_COUNT; i++) {
		if (h->bad[i] && bars((enum health_condition)i))
			return false;
	}
	return true;
}

void health_describe(const struct health *h, struct buf *out)
{
	unsigned int i;

	if (health_ready(h))
		(void)buf_add_str(out, "ok\n");
	for (i = 0; i < HEALTH_CONDITION_COUNT; i++) {
		if (h->bad[i] && bars((enum health_condition)i))
			(void)buf_printf(out, "%s\n", h->text[i]);
	}
}
