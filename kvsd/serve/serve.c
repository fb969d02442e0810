/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/serve.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "base/log.h"
#include "io/catalog_sqlite.h"
#include "io/crypto.h"
#include "io/crypto_ipsec_mb.h"
#include "io/data_dir.h"
#include "io/store_local.h"
#include "io/tls.h"
#include "serve/credentials.h"
#include "serve/hold_socket.h"
#include "serve/listen.h"
#include "serve/mount.h"
#include "serve/notify.h"
#include "serve/ops.h"
#include "serve/options.h"
#include "serve/quickstart.h"
#include "serve/server.h"

struct service {
	const struct sys_ops *sys;
	int argc;
	char **argv;
	struct serve_options options; /* that hold now */
	struct serve_options next;    /* of a reload */
	sigset_t signals;
	struct notify notify;
	struct listen_inherited inherited;
	struct data_dir dir;
	bool dir_open;
	struct catalog *catalog;
	struct store_local *store;
	struct tls_ctx *tls;
	struct server server;
	struct ops *ops;
	struct hold_socket *admin; /* NULL: it could not be made */
	uint16_t metrics_port; /* 0: no listener of our own */
};

/* --- parts
 * -------------------------------------------------------------------------- */

static int open_catalog(struct service *s)
{
	const struct serve_options *o = &s->options;
	const struct catalog_sqlite_config config = {
		.dir = &s->dir,
		.master_key = o->master_key[0] ? o->master_key : NULL,
		.kms_keys = o->kms_keys[0] ? o->kms_keys : NULL,
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

/* One per processor that this process may use (taskset, cpuset). */
static unsigned int thread_count(const struct serve_options *o)
{
	cpu_set_t set;
	unsigned int n = o->threads;

	if (!n && sched_getaffinity(0, sizeof(set), &set) == 0)
		n = (unsigned int)CPU_COUNT(&set);
	/* A mask that is wider than the set: 1,024 processors and more. */
	if (!n)
		n = (unsigned int)MAX(sysconf(_SC_NPROCESSORS_ONLN), 1L);
	return MAX(1u, MIN(n, SERVE_THREADS_MAX));
}

/* A thread writes to one segment, has the next ready, and fills them again. */
static int check_storage(const struct serve_options *o)
{
	uint64_t least = 4 * thread_count(o) * SEGMENT_BYTES_DEFAULT;

	if (!o->storage_max || o->storage_max >= least)
		return 0;
	log_error("serve",
		  "storage_max: at least %" PRIu64 " MiB with %u "
		  "threads",
		  least >> 20, thread_count(o));
	return -EINVAL;
}

static int open_store(struct service *s)
{
	struct store_local_config config = {
		.sys = s->sys,
		.dir = &s->dir,
		.find_key = catalog_sqlite_find_key,
		.find_key_ctx = s->catalog,
		.find_holds = catalog_sqlite_find_holds,
		.bytes_max = s->options.storage_max,
		.free_min = s->options.storage_free,
		.compact_percent = s->options.compact_below,
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

/* @ret_error: SERVE_ERROR_CHARS; words on failure */
static int load_tls(const struct serve_options *o, struct tls_ctx **ret_tls,
		    char *ret_error)
{
	int r = tls_ctx_new_server(o->cert, o->key, ret_tls);

	if (r < 0)
		(void)snprintf(ret_error, SERVE_ERROR_CHARS,
			       "certificate %.200s with key %.200s: %s",
			       o->cert, o->key,
			       r == -EBADMSG ? "not a pair of PEM files"
					     : strerror(-r));
	return r;
}

static int open_tls(struct service *s)
{
	char error[SERVE_ERROR_CHARS];
	int r = load_tls(&s->options, &s->tls, error);

	if (r < 0)
		log_error("serve", "%s", error);
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

static void choose_crypto(const struct serve_options *o)
{
	const char *name = "OpenSSL";
	int r = 0;

	if (o->aes_gcm == SERVE_AES_GCM_AUTO)
		r = crypto_ipsec_mb_use(&name);
	if (r < 0 && r != -ENOSYS)
		log_warn("serve", "IPSec_MB is not used: %s", strerror(-r));
	log_info("serve", "AES-GCM: %s", name);
}

static int open_all(struct service *s)
{
	int r = 0;

	choose_crypto(&s->options);
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
	mount_warn(s->dir.fd, s->options.data_dir);
	r = open_catalog(s);
	if (r == 0)
		r = load_credentials(s);
	return r < 0 ? r : open_store(s);
}

/* --- start
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
	const char *host = o->listen.host;
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
	if (line && s->metrics_port)
		json_object_set_new(line, "metrics_port",
				    json_integer(s->metrics_port));
	r = line ? json_dumpf(line, stdout, JSON_COMPACT) : -1;
	json_decref(line);
	if (r < 0 || fputc('\n', stdout) == EOF || fflush(stdout) == EOF)
		return -EIO;
	return 0;
}

/* What a reload may change, where the operations thread sees it. */
static void publish(struct service *s)
{
	const struct serve_options *o = &s->options;

	atomic_store(&s->server.alive_within_ns, o->alive_within_ns);
	atomic_store(&s->server.disk_free_min, o->disk_free_min);
	atomic_store(&s->server.cert_expires_s, tls_ctx_expires_s(s->tls));
	log_set_level((enum log_level)o->log_level);
}

/* --- reload
 * -------------------------------------------------------------------------- */

/* Into s->next. @error: words on failure. */
static int read_again(struct service *s, struct tls_ctx **ret_tls, char *error)
{
	int r;

	serve_options_init(&s->next);
	r = serve_options_parse(&s->next, s->sys, s->argc, s->argv, error);
	if (r == 0 && s->next.quickstart[0]) {
		r = quickstart_paths(&s->next);
		(void)snprintf(error, SERVE_ERROR_CHARS, "%s",
			       "the directory's name is too long");
	}
	return r < 0 ? r : load_tls(&s->next, ret_tls, error);
}

static void take_over(struct service *s, struct tls_ctx *tls)
{
	struct serve_options *o = &s->options;
	const struct serve_options *next = &s->next;

	(void)tls_ctx_free(s->tls);
	s->tls = tls;
	memcpy(o->cert, next->cert, sizeof(o->cert));
	memcpy(o->key, next->key, sizeof(o->key));
	o->limits = next->limits;
	o->alive_within_ns = next->alive_within_ns;
	o->disk_free_min = next->disk_free_min;
	o->log_level = next->log_level;
	publish(s);
}

static void reload(struct service *s)
{
	struct tls_ctx *tls = NULL;
	char error[SERVE_ERROR_CHARS] = "";
	char fixed[SERVE_TEXT_BYTES];
	size_t count;
	int r = read_again(s, &tls, error);

	if (r == 0) {
		r = server_reload(&s->server, tls, &s->next.limits);
		(void)snprintf(error, sizeof(error), "%s",
			       "a thread has not taken over the one before");
	}
	/* It will when it turns, as the others have: there is no way back. */
	if (r == -ETIMEDOUT) {
		log_warn("serve", "reload: a thread does not turn");
		r = 0;
	}
	if (r < 0) {
		(void)tls_ctx_free(tls);
		atomic_fetch_add(&s->server.reload_failures, 1);
		log_error("serve", "reload: %s; nothing has changed", error);
		return;
	}
	take_over(s, tls);
	atomic_fetch_add(&s->server.reloads, 1);
	count = serve_options_fixed(&s->options, &s->next, fixed,
				    sizeof(fixed));
	log_info("serve", "reloaded %s%s%s%s",
		 s->options.config[0] ? s->options.config : "the certificate",
		 count ? "; " : "", fixed,
		 count ? ": from the next start on" : "");
}

static void reload_notified(struct service *s)
{
	uint64_t now_ns = sys_now_ns(s->sys, CLOCK_MONOTONIC);

	notify_send(&s->notify, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
		    now_ns / 1000);
	reload(s);
	notify_send(&s->notify, "READY=1");
}

/* --- signals and the watchdog
 * -------------------------------------------------------- */

/* Feeds the watchdog as long as every ring thread turns. */
static void tick(struct service *s)
{
	uint64_t now_ns = sys_now_ns(s->sys, CLOCK_MONOTONIC);
	uint64_t within = s->options.alive_within_ns;
	unsigned int index;

	server_ping(&s->server);
	if (!s->notify.watchdog_ns)
		return;
	within = MIN(within, s->notify.watchdog_ns);
	if (server_silent_ns(&s->server, now_ns, &index) <= within)
		notify_send(&s->notify, "WATCHDOG=1");
}

static struct timespec tick_period(const struct service *s)
{
	uint64_t ns = SERVE_PING_NS;

	if (s->notify.watchdog_ns)
		ns = MIN(ns, s->notify.watchdog_ns / 4 + 1);
	return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S),
				 .tv_nsec = (long)(ns % NS_PER_S)};
}

/* Return: the signal to end by. */
static int wait_signal(struct service *s)
{
	const struct timespec period = tick_period(s);

	for (;;) {
		int sig = sigtimedwait(&s->signals, NULL, &period);

		tick(s);
		if (sig == SIGHUP)
			reload_notified(s);
		else if (sig > 0)
			return sig;
	}
}

/* Asked to stop once more: no more waiting. */
static bool while_stopping(void *ctx)
{
	static const struct timespec now = {0};
	struct service *s = ctx;
	int sig = sigtimedwait(&s->signals, NULL, &now);

	tick(s);
	return sig == SIGTERM || sig == SIGINT;
}

/* Who does not take it is waited for: the others are alive meanwhile. */
static void while_reloading(void *ctx)
{
	tick(ctx);
}

static int stop(struct service *s)
{
	uint64_t most_ns = s->options.limits.drain_ns + SERVE_FINISH_NS_MAX +
			   2 * SERVE_STOP_NS_MAX;
	int r;

	log_info("serve", "stopping");
	notify_send(&s->notify,
		    "STOPPING=1\nSTATUS=waiting for fragments to end\n"
		    "EXTEND_TIMEOUT_USEC=%" PRIu64,
		    most_ns / 1000);
	atomic_store(&s->server.draining, true);
	r = server_stop(&s->server, s->options.limits.drain_ns);
	s->admin = hold_socket_stop(s->admin);
	s->ops = ops_stop(s->ops);
	server_free(&s->server);
	return r < 0 ? -EIO : 0;
}

/* --- the process
 * ---------------------------------------------------------------------- */

static int start_ops(struct service *s)
{
	const struct serve_address *a = &s->options.metrics_listen;
	int fd = take_fd(&s->inherited.metrics);
	int r = 0;

	if (fd < 0 && a->host[0])
		r = listen_open(s->sys, a, "metrics_listen", 1, &fd,
				&s->metrics_port);
	return r < 0 ? r : ops_start(&s->server, fd, &s->ops);
}

/* Uploads are worth more than it. */
static void start_admin(struct service *s)
{
	int r = hold_socket_start(s->sys, &s->dir, s->catalog, s->store,
				  &s->admin);

	if (r < 0)
		log_warn("serve", "%s/admin: %s; `kvsd hold` needs a stop",
			 s->dir.path, strerror(-r));
}

static void set_up(struct service *s)
{
	s->server.sys = s->sys;
	s->server.options = &s->options;
	s->server.tls = s->tls;
	s->server.inherited = &s->inherited;
	s->server.dir = &s->dir;
	s->server.catalog = s->catalog;
	s->server.store = s->store;
	s->server.thread_count = thread_count(&s->options);
	s->server.while_stopping = while_stopping;
	s->server.while_reloading = while_reloading;
	s->server.while_stopping_ctx = s;
	publish(s);
}

static int run(struct service *s)
{
	int r;
	int e;

	set_up(s);
	r = server_start(&s->server);
	if (r < 0)
		return r;
	r = start_ops(s);
	if (r == 0)
		start_admin(s);
	if (r == 0) {
		log_info("serve", "ready on %s port %u with %u threads",
			 s->inherited.count ? "systemd's socket,"
					    : s->options.listen.host,
			 s->server.port, s->server.thread_count);
		r = tell_ready(s);
	}
	if (r == 0) {
		notify_send(&s->notify, "READY=1\nSTATUS=port %u",
			    s->server.port);
		(void)wait_signal(s);
	}
	e = stop(s);
	return r < 0 ? r : e;
}

static void block_signals(sigset_t *ret_signals)
{
	sigemptyset(ret_signals);
	sigaddset(ret_signals, SIGTERM);
	sigaddset(ret_signals, SIGINT);
	sigaddset(ret_signals, SIGHUP);
	pthread_sigmask(SIG_BLOCK, ret_signals, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
}

/* --- --check
 * --------------------------------------------------------------------------- */

static int check_failed(const char *what, const char *path, int error)
{
	(void)fprintf(stderr, "kvsd serve: %s %s: %s\n", what, path,
		      strerror(-error));
	return error;
}

/* The files that the options name; none is written, no lock is taken. */
static int check_files(struct service *s)
{
	struct serve_options *o = &s->options;
	char error[SERVE_ERROR_CHARS];
	struct catalog_credential c;
	struct stat st;
	int r = load_tls(o, &s->tls, error);

	if (r < 0) {
		(void)fprintf(stderr, "kvsd serve: %s\n", error);
		return r;
	}
	if (o->credentials[0]) {
		r = credentials_read(s->sys, o->credentials, &c);
		crypto_wipe(&c, sizeof(c));
		if (r < 0)
			return check_failed("credentials", o->credentials, r);
	}
	if (o->master_key[0] && access(o->master_key, R_OK) < 0)
		return check_failed("master_key", o->master_key, -errno);
	if (o->kms_keys[0] && access(o->kms_keys, R_OK | X_OK) < 0)
		return check_failed("kms_keys", o->kms_keys, -errno);
	if (stat(o->data_dir, &st) == 0 && !S_ISDIR(st.st_mode))
		return check_failed("data_dir", o->data_dir, -ENOTDIR);
	return check_storage(o);
}

/* A directory that --quickstart is to make has nothing to look at yet. */
static int check(struct service *s)
{
	struct serve_options *o = &s->options;
	int r = 0;

	if (!o->quickstart[0])
		r = check_files(s);
	(void)tls_ctx_free(s->tls);
	if (r < 0)
		return 1;
	(void)printf("%s: good\n", o->config[0] ? o->config : "options");
	return 0;
}

static int serve(struct service *s)
{
	int r;

	block_signals(&s->signals);
	raise_limits();
	notify_init(&s->notify, s->sys);
	listen_inherited_init(&s->inherited);
	r = listen_inherit(s->sys, &s->inherited);
	if (r == 0)
		r = open_all(s);
	if (r == 0)
		r = run(s);
	close_all(s);
	listen_inherited_fini(s->sys, &s->inherited);
	notify_fini(&s->notify);
	return r < 0 ? 1 : 0;
}

int serve_main(int argc, char **argv, const struct sys_ops *sys)
{
	static struct service s;
	char error[SERVE_ERROR_CHARS];

	s.sys = sys;
	s.argc = argc;
	s.argv = argv;
	serve_options_init(&s.options);
	if (serve_options_parse(&s.options, sys, argc, argv, error) < 0) {
		(void)fprintf(stderr, "kvsd serve: %s\n", error);
		return 2;
	}
	if (s.options.help) {
		(void)fputs(serve_usage, stdout);
		return 0;
	}
	return s.options.check ? check(&s) : serve(&s);
}
