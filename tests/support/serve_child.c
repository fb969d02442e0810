/* SPDX-License-Identifier: Apache-2.0 */
#include "support/serve_child.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/json_find.h"
#include "serve/credentials.h"
#include "core/catalog.h"
#include "serve/serve.h"

#define START_MS_MAX 20000
#define STOP_MS_MAX 15000
#define LIFE_S_MAX 1800	/* a child whose parent was killed */

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	abort();
}

int serve_child_count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = -1; /* its own */

	check(d != NULL, "/proc/self/fd");
	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

static void run_child(const struct serve_setup *s, struct serve_report *r,
		      int out)
{
	const char *const args[] = { "serve", "--quickstart", s->dir,
				     "--listen", "127.0.0.1:0", "--threads",
				     "2", NULL };
	int log = open(s->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	check(log >= 0 && dup2(log, STDERR_FILENO) >= 0, s->log);
	check(dup2(out, STDOUT_FILENO) >= 0, "dup2");
	(void)close(log);
	(void)close(out);
	(void)alarm(LIFE_S_MAX);
	r->fds_before = serve_child_count_fds();
	if (s->before)
		s->before(s->ctx);
	r->result = serve_main((int)ARRAY_SIZE(args) - 1,
			       (char **)(uintptr_t)args, s->sys);
	r->fds_after = serve_child_count_fds();
	if (s->after)
		s->after(s->ctx, r);
	r->ended = true;
	exit(r->result);
}

static void reap(struct serve_child *c, int timeout_ms)
{
	const struct timespec tick = { .tv_nsec = 1000000 };

	while (timeout_ms-- > 0) {
		if (waitpid(c->pid, &c->status, WNOHANG) == c->pid) {
			c->pid = 0;
			return;
		}
		(void)nanosleep(&tick, NULL);
	}
	(void)kill(c->pid, SIGKILL);
	(void)waitpid(c->pid, &c->status, 0);
	c->pid = 0;
}

/* The line on stdout. Return: false when there is none. */
static bool read_ready(struct serve_child *c, int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct slice doc;
	char line[1024];
	size_t len = 0;

	while (len < sizeof(line) && poll(&p, 1, START_MS_MAX) == 1) {
		ssize_t n = read(fd, line + len, sizeof(line) - len);

		if (n <= 0)
			return false;
		len += (size_t)n;
		if (line[len - 1] != '\n')
			continue;
		doc = (struct slice){ line, len };
		return json_find_string(doc, "endpoint", c->endpoint,
					sizeof(c->endpoint)) >= 0;
	}
	return false;
}

static void read_credentials(struct serve_child *c, const char *dir)
{
	struct catalog_credential key;
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/credentials", dir);
	check(credentials_read(sys_posix(), path, &key) == 0, path);
	(void)snprintf(c->access_key, sizeof(c->access_key), "%s",
		       key.access_key);
	(void)snprintf(c->secret, sizeof(c->secret), "%s", key.secret);
	(void)snprintf(c->ca, sizeof(c->ca), "%s/ca.pem", dir);
	(void)snprintf(c->region, sizeof(c->region), "us-west-2");
}

bool serve_child_start(struct serve_child *c, const struct serve_setup *setup)
{
	int fds[2];
	bool ready;

	memset(c, 0, sizeof(*c));
	c->report = mmap(NULL, sizeof(*c->report), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(c->report != MAP_FAILED && pipe2(fds, O_CLOEXEC) == 0, "pipe");
	(void)fflush(NULL);
	c->pid = fork();
	check(c->pid >= 0, "fork");
	if (c->pid == 0) {
		(void)close(fds[0]);
		run_child(setup, c->report, fds[1]);
	}
	(void)close(fds[1]);
	ready = read_ready(c, fds[0]);
	(void)close(fds[0]);
	if (ready)
		read_credentials(c, setup->dir);
	else
		reap(c, STOP_MS_MAX);
	return ready;
}

void serve_child_stop(struct serve_child *c)
{
	if (!c->pid)
		return;
	(void)kill(c->pid, SIGTERM);
	reap(c, STOP_MS_MAX);
}

void serve_child_fini(struct serve_child *c)
{
	(void)munmap(c->report, sizeof(*c->report));
	c->report = NULL;
}

void serve_child_client(const struct serve_child *c,
			struct kvs_client_config *ret_config)
{
	*ret_config = (struct kvs_client_config){
		.endpoint = c->endpoint,
		.region = c->region,
		.ca_bundle = c->ca,
		.credentials = { .access_key_id = c->access_key,
				 .secret_access_key = c->secret },
		.timeout_ms = 3000,
	};
}
