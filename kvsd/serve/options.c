/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/options.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/parse.h"
#include "core/limits.h"
#include "io/config_ini.h"
#include "proto/names.h"

_Static_assert(SERVE_ERROR_CHARS >= CONFIG_ERROR_CHARS, "errors fit");

#define KEY_CHARS 32u
#define WHY_CHARS 200u

const char serve_usage[] =
	"usage: kvsd serve --quickstart DIR [OPTIONS]\n"
	"       kvsd serve --config FILE [OPTIONS]\n"
	"\n"
	"  --quickstart DIR    make in DIR what is missing: CA, certificate,\n"
	"                      credentials, keys, data; print where it is\n"
	"  --config FILE       as serve.conf.example; SIGHUP reads it again\n"
	"  --check             say whether all that is right, then stop\n"
	"\n"
	"Keys of the file, which win over it:\n"
	"  --listen ADDR:PORT  default 0.0.0.0:8443; port 0 picks one\n"
	"  --public-url URL    what GetDataEndpoint answers; default: the\n"
	"                      request's own host\n"
	"  --region NAME       default us-west-2\n"
	"  --account DIGITS    default 000000000000\n"
	"  --threads N         default: one per processor\n"
	"  --data-dir DIR      catalog, index and segments\n"
	"  --storage-max SIZE  of all media; before more is taken, the oldest\n"
	"                      minutes of all streams go. Default: no bound, "
	"and\n"
	"                      uploads are refused while the disk is full\n"
	"  --storage-free SIZE the same before the disk has less than this "
	"left\n"
	"  --cert FILE         certificate chain, PEM\n"
	"  --key FILE          its key, PEM\n"
	"  --master-key FILE   default: DATA_DIR/master.key\n"
	"  --kms-keys DIR      of the keys that a stream's KmsKeyId names\n"
	"  --aes-gcm WHAT      auto: Intel's library on x86 where it is built "
	"in,\n"
	"                      or openssl; default auto\n"
	"  --credentials FILE  AWS shared-credentials file, default profile\n"
	"  --connections N     that a thread holds; default 16384\n"
	"  --readers N         GetMedia, per stream; default 3\n"
	"  --lists N           GetMediaForFragmentList, per stream; default 5\n"
	"  --api-rate PERCENT  of Amazon's requests and points per second;\n"
	"                      default 0: no bound\n"
	"  --put-rate SIZE     bytes per second of one PutMedia; default 0: "
	"no\n"
	"                      bound\n"
	"  --get-rate SIZE     ... of one GetMedia\n"
	"  --upload-max TIME   of one PutMedia; default and most 45min\n"
	"  --keep-alive TIME   of an idle connection; default 60s\n"
	"  --drain TIME        a stop waits for ends of fragments; default "
	"10s\n"
	"  --live-memory SIZE  for live readers, per thread; default 256M\n"
	"  --metrics-listen ADDR:PORT\n"
	"                      plain HTTP: /healthz, /readyz, /metrics;\n"
	"                      default: off\n"
	"  --alive-within TIME a thread that does not turn for longer is "
	"dead;\n"
	"                      default 10s\n"
	"  --disk-free-min SIZE\n"
	"                      with less the service is not ready; default "
	"64M\n"
	"  --log-level LEVEL   error, warning, info, debug; default info\n";

void serve_options_init(struct serve_options *o)
{
	memset(o, 0, sizeof(*o));
	*o = (struct serve_options){
		.threads = 0,
		.compact_below = COMPACT_PERCENT,
		.listen = {.host = "0.0.0.0", .port = SERVE_PORT_DEFAULT},
		.region = "us-west-2",
		.account = "000000000000",
		.limits = {.connections = CONNECTIONS_MAX,
			   .readers = GET_MEDIA_READERS_MAX,
			   .lists = FRAGMENT_LISTS_MAX,
			   .upload_ns_max = PUT_MEDIA_DURATION_NS_MAX,
			   .keep_alive_ns = KEEP_ALIVE_NS_MAX,
			   .drain_ns = SERVE_STOP_NS_MAX,
			   .live_memory = LIVE_MEMORY_BYTES_DEFAULT},
		.alive_within_ns = SERVE_ALIVE_NS,
		.disk_free_min = SEGMENT_BYTES_DEFAULT,
		.log_level = LOG_INFO,
	};
}

/* --- values
 * ------------------------------------------------------------------------ */

struct why {
	char *text;
	size_t size;
};

static int PRINTF(2, 3) wrong(struct why *w, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(w->text, w->size, fmt, args);
	va_end(args);
	return -EINVAL;
}

struct setting {
	const char *section;
	const char *key;
	/* @out: the field at @offset */
	int (*set)(const struct setting *s, void *out, const char *value,
		   struct why *w);
	size_t offset;
	size_t size;
	bool reload;
	uint64_t min; /* of a number or a duration in ns */
	uint64_t max;
};

static int set_text(const struct setting *s, void *out, const char *value,
		    struct why *w)
{
	size_t len = strlen(value);

	if (!len || len >= s->size)
		return wrong(w, "1 to %zu characters", s->size - 1);
	memset(out, 0, s->size); /* compared as a whole */
	memcpy(out, value, len);
	return 0;
}

/* "127.0.0.1:0", "[::1]:8443", "localhost:8443", ":8443" */
static int set_address(const struct setting *s, void *out, const char *value,
		       struct why *w)
{
	struct serve_address *a = out;
	const char *colon = strrchr(value, ':');
	const char *host = value;
	size_t len;
	uint64_t port;

	(void)s;
	if (!colon || parse_u64(colon + 1, strlen(colon + 1), 65535, &port) < 0)
		return wrong(w, "'%.60s' is not ADDRESS:PORT", value);
	len = (size_t)(colon - value);
	if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
		host++;
		len -= 2;
	} else if (memchr(host, ':', len)) {
		return wrong(w, "'%.60s': an IPv6 address goes into [ ]",
			     value);
	}
	if (len >= sizeof(a->host))
		return wrong(w, "'%.60s' is too long", value);
	memset(a, 0, sizeof(*a));
	memcpy(a->host, len ? host : "0.0.0.0", len ? len : 7);
	a->port = (uint16_t)port;
	return 0;
}

/* Who leaves the address out of a port without a password gets loopback. */
static int set_metrics_address(const struct setting *s, void *out,
			       const char *value, struct why *w)
{
	struct serve_address *a = out;
	int r = set_address(s, out, value, w);

	if (r == 0 && value[0] == ':') {
		memset(a->host, 0, sizeof(a->host));
		memcpy(a->host, "127.0.0.1", 9);
	}
	return r;
}

static int set_public_url(const struct setting *s, void *out, const char *value,
			  struct why *w)
{
	if (strncmp(value, "https://", 8) != 0 || strlen(value) <= 8 ||
	    strpbrk(value + 8, "/?#\"\\ "))
		return wrong(w, "'%.60s' is not https://HOST[:PORT]", value);
	return set_text(s, out, value, w);
}

static int set_region(const struct setting *s, void *out, const char *value,
		      struct why *w)
{
	if (!name_region_valid(slice_of(value)))
		return wrong(w, "1 to 64 of a-z 0-9 -");
	return set_text(s, out, value, w);
}

static int set_account(const struct setting *s, void *out, const char *value,
		       struct why *w)
{
	if (!name_account_valid(slice_of(value)))
		return wrong(w, "twelve digits");
	return set_text(s, out, value, w);
}

static int set_bytes(const struct setting *s, void *out, const char *value,
		     struct why *w)
{
	uint64_t bytes;

	(void)s;
	if (parse_bytes(value, &bytes) < 0)
		return wrong(w, "'%.40s' is not a size (512K, 32M, 1G)", value);
	*(uint64_t *)out = bytes;
	return 0;
}

static int set_memory(const struct setting *s, void *out, const char *value,
		      struct why *w)
{
	uint64_t bytes = 0;

	if (set_bytes(s, &bytes, value, w) < 0)
		return -EINVAL;
	if (bytes < s->min || bytes > s->max)
		return wrong(w, "1M to 1024G");
	*(uint64_t *)out = bytes;
	return 0;
}

/* Less than the least would be a silence that devices take for an end. */
static int set_rate(const struct setting *s, void *out, const char *value,
		    struct why *w)
{
	uint64_t bytes = 0;

	if (set_bytes(s, &bytes, value, w) < 0)
		return -EINVAL;
	if (bytes && (bytes < s->min || bytes > s->max))
		return wrong(w, "0, or 64K to 1024G");
	*(uint64_t *)out = bytes;
	return 0;
}

static int set_number(const struct setting *s, void *out, const char *value,
		      struct why *w)
{
	uint64_t n;

	if (parse_u64(value, strlen(value), UINT64_MAX, &n) < 0)
		return wrong(w, "'%.40s' is not a number", value);
	if (n < s->min || n > s->max)
		return wrong(w, "%llu to %llu", (unsigned long long)s->min,
			     (unsigned long long)s->max);
	*(uint32_t *)out = (uint32_t)n;
	return 0;
}

static int set_duration(const struct setting *s, void *out, const char *value,
			struct why *w)
{
	uint64_t ns;

	if (parse_duration_ns(value, &ns) < 0)
		return wrong(w, "'%.40s' is not a duration (2s, 500ms, 24h)",
			     value);
	if (ns < s->min || ns > s->max)
		return wrong(w, "%llu s to %llu s",
			     (unsigned long long)(s->min / NS_PER_S),
			     (unsigned long long)(s->max / NS_PER_S));
	*(uint64_t *)out = ns;
	return 0;
}

static int set_aes_gcm(const struct setting *s, void *out, const char *value,
		       struct why *w)
{
	(void)s;
	if (strcmp(value, "auto") == 0)
		*(uint32_t *)out = SERVE_AES_GCM_AUTO;
	else if (strcmp(value, "openssl") == 0)
		*(uint32_t *)out = SERVE_AES_GCM_OPENSSL;
	else
		return wrong(w, "'%.40s' is none of auto, openssl", value);
	return 0;
}

static int set_level(const struct setting *s, void *out, const char *value,
		     struct why *w)
{
	static const char *const names[] = {
		[LOG_ERROR] = "error",
		[LOG_WARN] = "warning",
		[LOG_INFO] = "info",
		[LOG_DEBUG] = "debug",
	};
	uint32_t i;

	(void)s;
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(value, names[i]) == 0) {
			*(uint32_t *)out = i;
			return 0;
		}
	}
	return wrong(w, "'%.40s' is none of error, warning, info, debug",
		     value);
}

/* --- the table
 * --------------------------------------------------------------------- */

#define AT(field)                              \
	offsetof(struct serve_options, field), \
		sizeof(((struct serve_options *)0)->field)
#define STREAM_MAX "stream_max" /* a key, and a section */
#define HOUR_NS (3600 * NS_PER_S)

static const struct setting settings[] = {
	{"serve", "listen", set_address, AT(listen), false, 0, 0},
	{"serve", "public_url", set_public_url, AT(public_url), false, 0, 0},
	{"serve", "region", set_region, AT(region), false, 0, 0},
	{"serve", "account", set_account, AT(account), false, 0, 0},
	{"serve", "threads", set_number, AT(threads), false, 1,
	 SERVE_THREADS_MAX},
	{"serve", "data_dir", set_text, AT(data_dir), false, 0, 0},
	{"serve", "storage_max", set_bytes, AT(storage_max), false, 0, 0},
	{"serve", "storage_free", set_bytes, AT(storage_free), false, 0, 0},
	{"serve", "compact_below", set_number, AT(compact_below), false, 0, 90},
	{"serve", "cert", set_text, AT(cert), true, 0, 0},
	{"serve", "key", set_text, AT(key), true, 0, 0},
	{"serve", "master_key", set_text, AT(master_key), false, 0, 0},
	{"serve", "kms_keys", set_text, AT(kms_keys), false, 0, 0},
	{"serve", "credentials", set_text, AT(credentials), false, 0, 0},
	{"serve", "aes_gcm", set_aes_gcm, AT(aes_gcm), false, 0, 0},
	{"limits", "connections", set_number, AT(limits.connections), true, 16,
	 65536},
	{"limits", "readers", set_number, AT(limits.readers), true, 1, 10000},
	{"limits", "lists", set_number, AT(limits.lists), true, 1, 10000},
	{"limits", "api_rate", set_number, AT(limits.api_rate), true, 0, 10000},
	{"limits", "put_rate", set_rate, AT(limits.put_rate), true, 64u << 10,
	 1ull << 40},
	{"limits", "get_rate", set_rate, AT(limits.get_rate), true, 64u << 10,
	 1ull << 40},
	{"limits", "upload_max", set_duration, AT(limits.upload_ns_max), true,
	 NS_PER_S, PUT_MEDIA_DURATION_NS_MAX},
	{"limits", "keep_alive", set_duration, AT(limits.keep_alive_ns), true,
	 NS_PER_S, HOUR_NS},
	{"limits", "drain", set_duration, AT(limits.drain_ns), true, 0,
	 HOUR_NS / 6},
	{"limits", "live_memory", set_memory, AT(limits.live_memory), true,
	 1u << 20, 1ull << 40},
	{"limits", "stream_max", set_bytes, AT(limits.stream_max), true, 0, 0},
	{"operations", "metrics_listen", set_metrics_address,
	 AT(metrics_listen), false, 0, 0},
	{"operations", "alive_within", set_duration, AT(alive_within_ns), true,
	 3 * SERVE_PING_NS, HOUR_NS / 6},
	{"operations", "disk_free_min", set_bytes, AT(disk_free_min), true, 0,
	 0},
	{"operations", "log_level", set_level, AT(log_level), true, 0, 0},
};

static const struct setting *find_setting(const char *key)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(settings); i++) {
		if (strcmp(key, settings[i].key) == 0)
			return &settings[i];
	}
	return NULL;
}

int serve_options_set(struct serve_options *o, const char *key,
		      const char *value, char *why, size_t why_size)
{
	const struct setting *s = find_setting(key);
	struct why w = {why, why_size};

	if (!s) {
		(void)wrong(&w, "no such key");
		return -ENOENT;
	}
	return s->set(s, (char *)o + s->offset, value, &w);
}

size_t serve_options_fixed(const struct serve_options *now,
			   const struct serve_options *next, char *out,
			   size_t size)
{
	size_t count = 0;
	size_t used = 0;
	size_t i;

	out[0] = '\0';
	for (i = 0; i < ARRAY_SIZE(settings); i++) {
		const struct setting *s = &settings[i];

		if (s->reload ||
		    memcmp((const char *)now + s->offset,
			   (const char *)next + s->offset, s->size) == 0)
			continue;
		if (used < size)
			used += (size_t)snprintf(out + used, size - used,
						 "%s%s", count ? ", " : "",
						 s->key);
		count++;
	}
	return count;
}

/* --- the file
 * ---------------------------------------------------------------------- */

struct file {
	struct serve_options *options;
	unsigned int line[ARRAY_SIZE(settings)]; /* 0: not given */
};

static int check_section(const char *section, struct why *w)
{
	size_t i;

	if (strcmp(section, STREAM_MAX) == 0)
		return 0;
	for (i = 0; i < ARRAY_SIZE(settings); i++) {
		if (strcmp(section, settings[i].section) == 0)
			return 0;
	}
	return wrong(w,
		     "there are serve, limits, " STREAM_MAX " and operations");
}

static int add_stream_max(struct serve_limits *l, const char *name,
			  const char *value, struct why *w)
{
	struct serve_stream_max *m = &l->stream_maxes[l->stream_max_count];
	uint32_t i;

	if (!name_stream_valid(slice_of(name)))
		return wrong(w, "not a stream's name");
	for (i = 0; i < l->stream_max_count; i++)
		if (strcmp(l->stream_maxes[i].name, name) == 0)
			return wrong(w, "is there already");
	if (l->stream_max_count == SERVE_STREAM_MAX_ENTRIES)
		return wrong(w, "at most %u streams", SERVE_STREAM_MAX_ENTRIES);
	if (set_bytes(NULL, &m->bytes, value, w) < 0)
		return -EINVAL;
	(void)snprintf(m->name, sizeof(m->name), "%s", name);
	l->stream_max_count++;
	return 0;
}

uint64_t serve_stream_max(const struct serve_limits *l, const char *name)
{
	uint32_t i;

	for (i = 0; i < l->stream_max_count; i++)
		if (strcmp(l->stream_maxes[i].name, name) == 0)
			return l->stream_maxes[i].bytes;
	return l->stream_max;
}

static int file_entry(void *ctx, unsigned int line, const char *section,
		      const char *key, const char *value, char *why,
		      size_t why_size)
{
	struct file *f = ctx;
	struct why w = {why, why_size};
	const struct setting *s;
	int r;

	if (check_section(section, &w) < 0)
		return -EINVAL;
	if (!key)
		return 0;
	if (strcmp(section, STREAM_MAX) == 0)
		return add_stream_max(&f->options->limits, key, value, &w);
	s = find_setting(key);
	if (!s)
		return wrong(&w, "no such key");
	if (strcmp(section, s->section) != 0)
		return wrong(&w, "belongs into [%s]", s->section);
	if (f->line[s - settings])
		return wrong(&w, "is in line %u already",
			     f->line[s - settings]);
	r = s->set(s, (char *)f->options + s->offset, value, &w);
	if (r == 0)
		f->line[s - settings] = line;
	return r;
}

/* --- the command line
 * -------------------------------------------------------------- */

static int PRINTF(2, 3) complain(char *error, const char *fmt, ...)
{
	struct why w = {error, SERVE_ERROR_CHARS};
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(w.text, w.size, fmt, args);
	va_end(args);
	return -EINVAL;
}

/* "--data-dir" to "data_dir". */
static bool key_of(const char *option, char *out, size_t size)
{
	size_t i;

	if (strncmp(option, "--", 2) != 0 || strlen(option + 2) >= size ||
	    strchr(option, '_'))
		return false;
	for (i = 0; option[i + 2]; i++)
		out[i] = (char)(option[i + 2] == '-' ? '_' : option[i + 2]);
	out[i] = '\0';
	return true;
}

static int one_option(struct serve_options *o, const char *option,
		      const char *value, char *error)
{
	static const struct setting path = {.size = SERVE_PATH_BYTES};
	char why[WHY_CHARS] = "";
	struct why w = {why, sizeof(why)};
	char key[KEY_CHARS];
	int r = -ENOENT;

	if (!value)
		return complain(error, "%s: a value is missing", option);
	if (strcmp(option, "--quickstart") == 0)
		r = set_text(&path, o->quickstart, value, &w);
	else if (strcmp(option, "--config") == 0)
		r = set_text(&path, o->config, value, &w);
	else if (key_of(option, key, sizeof(key)))
		r = serve_options_set(o, key, value, why, sizeof(why));
	if (r == -ENOENT)
		return complain(error, "%s: no such option (--help lists them)",
				option);
	return r < 0 ? complain(error, "%s: %s", option, why) : 0;
}

static int read_command_line(struct serve_options *o, int argc, char **argv,
			     char *error)
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
		r = one_option(o, argv[i], i + 1 < argc ? argv[i + 1] : NULL,
			       error);
		if (r < 0)
			return r;
		i++;
	}
	return 0;
}

/* --- across keys
 * ------------------------------------------------------------------- */

static int check_all(const struct serve_options *o, char *error)
{
	const char *where = o->config[0] ? o->config : "options";
	const struct {
		const char *key;
		const char *value;
	} paths[] = {
		{"data_dir", o->data_dir},
		{"cert", o->cert},
		{"key", o->key},
		{"master_key", o->master_key},
		{"credentials", o->credentials},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(paths); i++) {
		bool given = paths[i].value[0];

		if (o->quickstart[0] && given)
			return complain(error,
					"%s: %s: --quickstart has its own",
					where, paths[i].key);
		if (!o->quickstart[0] && !given && i < 3)
			return complain(error,
					"%s: %s: is missing (or give "
					"--quickstart DIR)",
					where, paths[i].key);
	}
	return 0;
}

int serve_options_parse(struct serve_options *o, const struct sys_ops *sys,
			int argc, char **argv, char *ret_error)
{
	struct file f = {.options = o};
	int r = read_command_line(o, argc, argv, ret_error);

	if (r < 0 || o->help)
		return r;
	if (o->config[0]) {
		r = config_ini_read(sys, o->config, file_entry, &f, ret_error);
		if (r < 0)
			return r;
		/* Once more: what the command line says wins. */
		r = read_command_line(o, argc, argv, ret_error);
		if (r < 0)
			return r;
	}
	return check_all(o, ret_error);
}
