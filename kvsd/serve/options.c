/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/options.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "io/config_ini.h"
#include "proto/names.h"

const char serve_usage[] =
	"usage: kvsd serve --quickstart DIR [OPTIONS]\n"
	"       kvsd serve --config FILE [OPTIONS]\n"
	"\n"
	"  --quickstart DIR    make in DIR what is missing: CA, certificate,\n"
	"                      credentials, keys, data; print where it is\n"
	"  --config FILE       [serve] section with the keys below\n"
	"  --listen ADDR:PORT  default 0.0.0.0:8443; port 0 picks one\n"
	"  --public-url URL    what GetDataEndpoint answers; default: the\n"
	"                      request's own host\n"
	"  --region NAME       default us-west-2\n"
	"  --account DIGITS    default 000000000000\n"
	"  --threads N         default: one per processor\n"
	"  --data-dir DIR      catalog, index and segments\n"
	"  --storage-max SIZE  of all media; before more is taken, the oldest\n"
	"                      minutes of all streams go. Default: no bound, and\n"
	"                      uploads are refused while the disk is full\n"
	"  --cert FILE         certificate chain, PEM\n"
	"  --key FILE          its key, PEM\n"
	"  --master-key FILE   default: DATA_DIR/master.key\n"
	"  --credentials FILE  AWS shared-credentials file, default profile\n"
	"  --check             check the configuration, then stop\n";

void serve_options_init(struct serve_options *o)
{
	*o = (struct serve_options){.port = SERVE_PORT_DEFAULT,
				    .threads = 1,
				    .address = "0.0.0.0",
				    .region = "us-west-2",
				    .account = "000000000000"};
}

static int copy(char *out, size_t size, const char *value)
{
	int n = snprintf(out, size, "%s", value);

	return !value[0] || n < 0 || (size_t)n >= size ? -EINVAL : 0;
}

/* "127.0.0.1:0", "[::1]:8443", "localhost:8443", ":8443" */
static int set_listen(struct serve_options *o, const char *value)
{
	const char *colon = strrchr(value, ':');
	const char *host = value;
	size_t len;
	uint64_t port;

	if (!colon || parse_u64(colon + 1, strlen(colon + 1), 65535, &port) < 0)
		return -EINVAL;
	len = (size_t)(colon - value);
	if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
		host++;
		len -= 2;
	} else if (memchr(host, ':', len)) {
		return -EINVAL;
	}
	if (len >= sizeof(o->address))
		return -EINVAL;
	if (len) {
		memcpy(o->address, host, len);
		o->address[len] = '\0';
	}
	o->port = (uint16_t)port;
	return 0;
}

static int set_public_url(struct serve_options *o, const char *value)
{
	size_t len = strlen(value);

	if (strncmp(value, "https://", 8) != 0 || len <= 8 ||
	    strpbrk(value + 8, "/?#\"\\ "))
		return -EINVAL;
	return copy(o->public_url, sizeof(o->public_url), value);
}

static int set_threads(struct serve_options *o, const char *value)
{
	uint64_t n;

	if (parse_u64(value, strlen(value), SERVE_THREADS_MAX, &n) < 0 || !n)
		return -EINVAL;
	o->threads = (unsigned int)n;
	return 0;
}

static int set_storage_max(struct serve_options *o, const char *value)
{
	return parse_bytes(value, &o->storage_max);
}

static int set_region(struct serve_options *o, const char *value)
{
	return name_region_valid(slice_of(value))
		       ? copy(o->region, sizeof(o->region), value)
		       : -EINVAL;
}

static int set_account(struct serve_options *o, const char *value)
{
	return name_account_valid(slice_of(value))
		       ? copy(o->account, sizeof(o->account), value)
		       : -EINVAL;
}

/* Keys that are a path and nothing else. */
static const struct {
	const char *key;
	size_t offset;
} paths[] = {
	{"data_dir", offsetof(struct serve_options, data_dir)},
	{"cert", offsetof(struct serve_options, cert)},
	{"key", offsetof(struct serve_options, key)},
	{"master_key", offsetof(struct serve_options, master_key)},
	{"credentials", offsetof(struct serve_options, credentials)},
};

static const struct {
	const char *key;
	int (*set)(struct serve_options *o, const char *value);
} settings[] = {
	{"listen", set_listen},	  {"public_url", set_public_url},
	{"region", set_region},	  {"account", set_account},
	{"threads", set_threads}, {"storage_max", set_storage_max},
};

int serve_options_set(struct serve_options *o, const char *key,
		      const char *value)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(paths); i++) {
		if (strcmp(key, paths[i].key) == 0)
			return copy((char *)o + paths[i].offset,
				    SERVE_PATH_BYTES, value);
	}
	for (i = 0; i < ARRAY_SIZE(settings); i++) {
		if (strcmp(key, settings[i].key) == 0)
			return settings[i].set(o, value);
	}
	return -ENOENT;
}

static int file_entry(void *ctx, unsigned int line, const char *section,
		      const char *key, const char *value, char *why,
		      size_t why_size)
{
	int r;

	(void)line;
	if (strcmp(section, "serve") != 0) {
		(void)snprintf(why, why_size, "only [serve] is known");
		return -EINVAL;
	}
	if (!key)
		return 0;
	r = serve_options_set(ctx, key, value);
	if (r < 0)
		(void)snprintf(why, why_size, "%s",
			       r == -ENOENT ? "no such key"
					    : "not a valid value");
	return r < 0 ? -EINVAL : 0;
}

static int complain(const char *option, const char *what)
{
	(void)fprintf(stderr, "kvsd serve: %s: %s\n", option, what);
	return -EINVAL;
}

/* "--data-dir" to "data_dir". */
static bool key_of(const char *option, char *out, size_t size)
{
	size_t i;

	if (strncmp(option, "--", 2) != 0 || strlen(option + 2) >= size)
		return false;
	for (i = 0; option[i + 2]; i++)
		out[i] = (char)(option[i + 2] == '-' ? '_' : option[i + 2]);
	out[i] = '\0';
	return true;
}

static int one_option(struct serve_options *o, const char *option,
		      const char *value)
{
	char key[32];
	int r;

	if (!value)
		return complain(option, "a value is missing");
	if (strcmp(option, "--quickstart") == 0)
		r = copy(o->quickstart, sizeof(o->quickstart), value);
	else if (strcmp(option, "--config") == 0)
		r = copy(o->config, sizeof(o->config), value);
	else if (key_of(option, key, sizeof(key)))
		r = serve_options_set(o, key, value);
	else
		r = -ENOENT;
	if (r == -ENOENT)
		return complain(option, "no such option (--help lists them)");
	return r < 0 ? complain(option, "not a valid value") : 0;
}

static int read_command_line(struct serve_options *o, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		int r;

		if (strcmp(argv[i], "--check") == 0) {
			o->check = true;
			continue;
		}
		if (strcmp(argv[i], "--help") == 0) {
			o->help = true;
			continue;
		}
		r = one_option(o, argv[i], i + 1 < argc ? argv[i + 1] : NULL);
		if (r < 0)
			return r;
		i++;
	}
	return 0;
}

int serve_options_parse(struct serve_options *o, const struct sys_ops *sys,
			int argc, char **argv)
{
	char error[CONFIG_ERROR_CHARS];
	int r = read_command_line(o, argc, argv);

	if (r < 0 || o->help)
		return r;
	if (o->config[0]) {
		r = config_ini_read(sys, o->config, file_entry, o, error);
		if (r < 0) {
			(void)fprintf(stderr, "kvsd serve: %s\n", error);
			return r;
		}
		/* Once more: what the command line says wins. */
		r = read_command_line(o, argc, argv);
		if (r < 0)
			return r;
	}
	if (o->quickstart[0])
		return 0;
	if (!o->data_dir[0] || !o->cert[0] || !o->key[0])
		return complain(o->config[0] ? o->config : "options",
				"give --quickstart DIR, or data_dir, cert "
				"and key");
	return 0;
}
