/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/quickstart.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "io/cert.h"
#include "io/crypto.h"
#include "io/data_dir.h"
#include "serve/credentials.h"

#define NAMES_MAX 8u

static int failed(const char *dir, const char *name, int error)
{
	log_error("serve", "quickstart: %s/%s: %s", dir, name,
		  strerror(-error));
	return error;
}

#define PEM_BYTES_MAX 65536u

/* @ret_text: NUL-terminated heap, or NULL when there is no such file. */
static int read_text(const struct sys_ops *sys, int dir, const char *name,
		     char **ret_text)
{
	size_t len;
	int r = sys_read_file(sys, dir, name, PEM_BYTES_MAX, ret_text, &len);

	return r == -ENOENT ? 0 : r;
}

/* The key first: a certificate without its key would be kept. */
static int write_pair(const struct sys_ops *sys, int dir, const char *cert,
		      const char *key, const struct cert_pair *pair)
{
	int r = sys_write_file(sys, dir, key, pair->key, strlen(pair->key),
			       0600);

	if (r < 0)
		return r;
	return sys_write_file(sys, dir, cert, pair->cert, strlen(pair->cert),
			      0600);
}

static int read_pair(const struct sys_ops *sys, int dir, const char *cert,
		     const char *key, struct cert_pair *ret_pair)
{
	int r = read_text(sys, dir, cert, &ret_pair->cert);

	return r < 0 ? r : read_text(sys, dir, key, &ret_pair->key);
}

static int make_ca(const struct sys_ops *sys, int dir)
{
	struct cert_pair ca = {NULL, NULL};
	int r = cert_new_authority("kvsd quickstart CA", &ca);

	if (r == 0)
		r = write_pair(sys, dir, "ca.pem", "ca.key", &ca);
	cert_pair_fini(&ca);
	return r;
}

/* Names that clients may use; @host has room for the host's name. */
static size_t list_names(const struct serve_options *o, char *host,
			 size_t host_size, const char **names)
{
	size_t n = 0;

	names[n++] = "localhost";
	names[n++] = "127.0.0.1";
	names[n++] = "::1";
	if (gethostname(host, host_size - 1) == 0 && host[0] &&
	    strcmp(host, "localhost") != 0)
		names[n++] = host;
	if (strcmp(o->listen.host, "0.0.0.0") != 0 &&
	    strcmp(o->listen.host, "::") != 0 &&
	    strcmp(o->listen.host, "127.0.0.1") != 0 &&
	    strcmp(o->listen.host, "::1") != 0 &&
	    strcmp(o->listen.host, "localhost") != 0)
		names[n++] = o->listen.host;
	return n;
}

/* The host of --public-url: clients will check the certificate against it. */
static bool public_host(const struct serve_options *o, char *out, size_t size)
{
	const char *p = strstr(o->public_url, "://");
	size_t len;

	if (!p)
		return false;
	p += 3;
	if (*p == '[')
		p++;
	len = strcspn(p,
		      o->public_url[p - o->public_url - 1] == '[' ? "]" : ":/");
	if (!len || len >= size)
		return false;
	memcpy(out, p, len);
	out[len] = '\0';
	return true;
}

static int issue(const struct sys_ops *sys, int dir, const struct cert_pair *ca,
		 const char *const *names, size_t count)
{
	struct cert_pair made = {NULL, NULL};
	int r;

	if (!ca->cert || !ca->key)
		return -ENOENT;
	r = cert_issue_server(ca, names, count, &made);
	if (r == 0)
		r = write_pair(sys, dir, "server.pem", "server.key", &made);
	cert_pair_fini(&made);
	return r;
}

static int make_server(const struct sys_ops *sys, int dir,
		       const struct serve_options *o)
{
	struct cert_pair ca = {NULL, NULL};
	struct cert_pair old = {NULL, NULL};
	const char *names[NAMES_MAX];
	char host[SERVE_TEXT_BYTES] = "";
	char pub[SERVE_TEXT_BYTES];
	size_t count = list_names(o, host, sizeof(host), names);
	int r;

	if (public_host(o, pub, sizeof(pub)))
		names[count++] = pub;
	r = read_pair(sys, dir, "ca.pem", "ca.key", &ca);
	if (r == 0)
		r = read_pair(sys, dir, "server.pem", "server.key", &old);
	if (r == 0 && !(old.cert && old.key && ca.cert &&
			cert_serves(&old, &ca, names, count)))
		r = issue(sys, dir, &ca, names, count);
	cert_pair_fini(&ca);
	cert_pair_fini(&old);
	return r;
}

/*
 * Return: 1, 0, or -errno when it cannot be told. What may exist must not be
 * made again, and what may be missing must not be passed over: a master key
 * skipped here makes a data directory that never opens.
 */
static int exists(const struct sys_ops *sys, int dir, const char *name)
{
	int fd = sys->openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);

	if (fd == -ENOENT)
		return 0;
	if (fd == -ELOOP)
		return 1; /* a symbolic link, wherever it leads */
	if (fd < 0)
		return fd;
	sys_close(sys, &fd);
	return 1;
}

static int foreign(void *ctx, const char *name)
{
	static const char *const ours[] = {
		"ca.pem",      "ca.key",     "server.pem", "server.key",
		"credentials", "master.key", "data",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ours); i++) {
		/* sys_write_file() may have left its temporary file. */
		if (strncmp(name, ours[i], strlen(ours[i])) == 0 ||
		    strstr(name, ours[i]))
			return 0;
	}
	*(char *)ctx = 1;
	return 0;
}

/* A directory without a CA of ours must be empty, or it is somebody's. */
static int check_owner(const struct sys_ops *sys, int dir, const char *path)
{
	char found = 0;
	int r = exists(sys, dir, "ca.pem");

	if (r == 0)
		r = data_dir_list(sys, dir, foreign, &found);
	if (r < 0)
		return failed(path, "", r);
	if (r == 1 || !found)
		return 0;
	log_error("serve",
		  "quickstart: %s has files that are not the "
		  "service's: give an empty directory",
		  path);
	return -EMEDIUMTYPE;
}

static int point_at(const char *dir, const char *name, char *out)
{
	int n = snprintf(out, SERVE_PATH_BYTES, "%s/%s", dir, name);

	return n < 0 || (size_t)n >= SERVE_PATH_BYTES ? -ENAMETOOLONG : 0;
}

int quickstart_paths(struct serve_options *o)
{
	const char *d = o->quickstart;

	if (point_at(d, "data", o->data_dir) < 0 ||
	    point_at(d, "server.pem", o->cert) < 0 ||
	    point_at(d, "server.key", o->key) < 0 ||
	    point_at(d, "master.key", o->master_key) < 0 ||
	    point_at(d, "credentials", o->credentials) < 0)
		return failed(d, "", -ENAMETOOLONG);
	return 0;
}

/* Never beside data of an older key: that would look like a key that fits. */
static int make_master_key(const struct sys_ops *sys, int dir)
{
	uint8_t key[CRYPTO_KEY_BYTES];
	int r = exists(sys, dir, "master.key");

	if (r == 0)
		r = exists(sys, dir, "data");
	if (r)
		return MIN(r, 0);
	r = crypto_random(key, sizeof(key));
	if (r == 0)
		r = sys_write_file(sys, dir, "master.key", key, sizeof(key),
				   0600);
	crypto_wipe(key, sizeof(key));
	return r;
}

static int prepare(const struct sys_ops *sys, struct serve_options *o, int dir)
{
	int r = check_owner(sys, dir, o->quickstart);

	if (r < 0)
		return r;
	r = exists(sys, dir, "ca.pem");
	if (r == 0)
		r = make_ca(sys, dir);
	if (r < 0)
		return failed(o->quickstart, "ca.pem", r);
	r = make_server(sys, dir, o);
	if (r < 0)
		return failed(o->quickstart, "server.pem", r);
	r = make_master_key(sys, dir);
	if (r < 0)
		return failed(o->quickstart, "master.key", r);
	r = exists(sys, dir, "credentials");
	if (r == 0)
		r = credentials_make(sys, dir, "credentials");
	if (r < 0)
		return failed(o->quickstart, "credentials", r);
	return 0;
}

int quickstart_prepare(const struct sys_ops *sys, struct serve_options *o)
{
	int dir;
	int r = quickstart_paths(o);

	if (r < 0)
		return r;
	r = sys->mkdirat(AT_FDCWD, o->quickstart, 0700);
	if (r < 0 && r != -EEXIST)
		return failed(o->quickstart, "", r);
	dir = sys->openat(AT_FDCWD, o->quickstart,
			  O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (dir < 0)
		return failed(o->quickstart, "", dir);
	r = prepare(sys, o, dir);
	sys_close(sys, &dir);
	return r;
}
