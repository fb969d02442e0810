/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/serve.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <jansson.h>

#include "base/log.h"
#include "io/catalog_sqlite.h"
#include "io/crypto.h"
#include "io/data_dir.h"
#include "io/store_local.h"
#include "io/tls.h"
#include "serve/credentials.h"
#include "serve/options.h"
#include "serve/quickstart.h"
#include "serve/server.h"

struct service {
	const struct sys_ops *sys;
	struct serve_options options;
	struct data_dir dir;
	bool dir_open;
	struct catalog *catalog;
	struct store_local *store;
	struct tls_ctx *tls;
	struct server server;
};

/* --- parts
 * -------------------------------------------------------------------------- */

static int open_catalog(struct service *s)
{
	const struct serve_options *o = &s->options;
	const struct catalog_sqlite_config config = {
		.dir = &s->dir,
		.master_key = o->master_key[0] ? o->master_key : NULL,
		.region = o->region,
		.account = o->account,
	};
	int r = catalog_sqlite_open(&config, &s->catalog);

	if (r < 0)
		log_error("serve", "catalog in %s: %s", s->dir.path,
			  strerror(-r));
	return r;
}

/* The file is the truth for its one key: changed there, it changes here. */
static int load_credentials(struct service *s)
{
	const char *path = s->options.credentials;
	struct catalog_credential c;
	int r;

	if (!path[0])
		return 0;
	r = credentials_read(s->sys, path, &c);
	if (r == 0)
		r = catalog_sqlite_put_credential(s->catalog, &c);
	if (r < 0)
		log_error("serve", "credentials in %s: %s", path,
			  r == -EBADMSG ? "no [default] profile with a key"
					: strerror(-r));
	crypto_wipe(&c, sizeof(c));
	return r;
}

static unsigned int thread_count(const struct serve_options *o)
{
	long n = o->threads ? (long)o->threads : sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : (unsigned int)MIN(n, (long)SERVE_THREADS_MAX);
}

/* A thread writes to one segment, has the next ready, and fills them again. */
static int check_storage(const struct serve_options *o)
{
	uint64_t least = 4 * thread_count(o) * SEGMENT_BYTES_DEFAULT;

	if (!o->storage_max || o->storage_max >= least)
		return 0;
	log_error("serve", "storage_max: at least %" PRIu64 " MiB with %u "
			   "threads", least >> 20, thread_count(o));
	return -EINVAL;
}

static int open_store(struct service *s)
{
	struct store_local_config config = {
		.sys = s->sys,
		.dir = &s->dir,
		.find_key = catalog_sqlite_find_key,
		.find_key_ctx = s->catalog,
		.bytes_max = s->options.storage_max,
	};
	int r = check_storage(&s->options);

	if (r < 0)
		return r;
	r = store_local_open(&config, &s->store);
	if (r < 0)
		log_error("serve", "store in %s: %s", s->dir.path,
			  strerror(-r));
	return r;
}

static int open_tls(struct service *s)
{
	const struct serve_options *o = &s->options;
	int r = tls_ctx_new_server(o->cert, o->key, &s->tls);

	if (r < 0)
		log_error("serve", "certificate %s with key %s: %s", o->cert,
			  o->key,
			  r == -EBADMSG ? "not a pair of PEM files"
					: strerror(-r));
	return r;
}

static void close_all(struct service *s)
{
	tls_ctx_free(s->tls);
	store_local_close(s->store);
	catalog_sqlite_close(s->catalog);
	if (s->dir_open)
		data_dir_close(&s->dir);
}

static int open_all(struct service *s)
{
	int r = 0;

	if (s->options.quickstart[0])
		r = quickstart_prepare(s->sys, &s->options);
	if (r == 0)
		r = open_tls(s);
	if (r < 0)
		return r;
	r = data_dir_open(s->sys, s->options.data_dir, true, &s->dir);
	if (r < 0)
		return r; /* logged */
	s->dir_open = true;
	r = open_catalog(s);
	if (r == 0)
		r = load_credentials(s);
	return r < 0 ? r : open_store(s);
}

/* --- the process
 * ---------------------------------------------------------------------- */

/* As many descriptors as we may have: each connection is one. */
static void raise_limits(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
		lim.rlim_cur = lim.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &lim);
	}
}

/* The one line on stdout. Return: 0, -EIO. */
static int tell_ready(const struct service *s)
{
	const struct serve_options *o = &s->options;
	char url[SERVE_TEXT_BYTES + 32];
	char ca[SERVE_PATH_BYTES + 8] = "";
	const char *host = o->address;
	json_t *line;
	int r;

	if (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0)
		host = "localhost";
	if (o->public_url[0])
		(void)snprintf(url, sizeof(url), "%s", o->public_url);
	else
		(void)snprintf(url, sizeof(url),
			       strchr(host, ':') ? "https://[%s]:%u"
						 : "https://%s:%u",
			       host, s->server.port);
	if (o->quickstart[0])
		(void)snprintf(ca, sizeof(ca), "%s/ca.pem", o->quickstart);
	line = json_pack("{s:s}", "endpoint", url);
	if (line && ca[0])
		json_object_set_new(line, "ca", json_stringn(ca, strlen(ca)));
	if (line && o->credentials[0])
		json_object_set_new(line, "credentials",
				    json_stringn(o->credentials,
						 strlen(o->credentials)));
	r = line ? json_dumpf(line, stdout, JSON_COMPACT) : -1;
	json_decref(line);
	if (r < 0 || fputc('\n', stdout) == EOF || fflush(stdout) == EOF)
		return -EIO;
	return 0;
}

static int run(struct service *s, const sigset_t *signals)
{
	int r;
	int sig;

	s->server.sys = s->sys;
	s->server.options = &s->options;
	s->server.tls = s->tls;
	s->server.catalog = s->catalog;
	s->server.store = s->store;
	s->server.thread_count = thread_count(&s->options);
	r = server_start(&s->server);
	if (r < 0)
		return r;
	log_info("serve", "ready on %s port %u with %u threads",
		 s->options.address, s->server.port, s->server.thread_count);
	r = tell_ready(s);
	if (r == 0)
		(void)sigwait(signals, &sig);
	log_info("serve", "stopping");
	if (server_stop(&s->server) < 0)
		r = -EIO;
	return r;
}

static void block_signals(sigset_t *ret_signals)
{
	sigemptyset(ret_signals);
	sigaddset(ret_signals, SIGTERM);
	sigaddset(ret_signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, ret_signals, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
}

int serve_main(int argc, char **argv, const struct sys_ops *sys)
{
	static struct service s;
	sigset_t signals;
	int r;

	serve_options_init(&s.options);
	r = serve_options_parse(&s.options, sys, argc, argv);
	if (r < 0)
		return 2;
	if (s.options.help) {
		(void)fputs(serve_usage, stdout);
		return 0;
	}
	s.sys = sys;
	block_signals(&signals);
	raise_limits();
	r = open_all(&s);
	if (r == 0 && !s.options.check)
		r = run(&s, &signals);
	close_all(&s);
	if (r == 0 && s.options.check)
		(void)puts("ok");
	return r < 0 ? 1 : 0;
}
