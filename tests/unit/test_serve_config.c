/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/sys.h"
#include "core/limits.h"
#include "serve/mount.h"
#include "serve/options.h"

#define EXAMPLE "kvsd/serve/serve.conf.example"
#define KEYS 30u /* of the table */
#define WHY 200u

static char path[64];

static void write_file(const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* @args: what follows "--config FILE", NULL-terminated */
static int parse(struct serve_options *o, char *error, const char *const *args)
{
	const char *argv[16] = {"serve", "--config", path};
	int argc = 3;

	while (args && *args)
		argv[argc++] = *args++;
	serve_options_init(o);
	error[0] = '\0';
	return serve_options_parse(o, sys_posix(), argc,
				   (char **)(uintptr_t)argv, error);
}

static void addresses(void **state)
{
	static const struct {
		const char *key;
		const char *text;
		const char *address;
		int port; /* -1: refused */
	} cases[] = {
		{"listen", "127.0.0.1:0", "127.0.0.1", 0},
		{"listen", "[::1]:8443", "::1", 8443},
		{"listen", ":9000", "0.0.0.0", 9000},
		{"listen", "localhost:1", "localhost", 1},
		{"listen", "::1:8443", NULL, -1},
		{"listen", "127.0.0.1", NULL, -1},
		{"listen", "127.0.0.1:65536", NULL, -1},
		{"listen", "127.0.0.1:", NULL, -1},
		{"listen", "127.0.0.1:-1", NULL, -1},
		/* A port without a password is not the world's by default. */
		{"metrics_listen", ":9464", "127.0.0.1", 9464},
		{"metrics_listen", "0.0.0.0:9464", "0.0.0.0", 9464},
	};
	char why[WHY];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct serve_address *a;
		struct serve_options o;
		int r;

		serve_options_init(&o);
		assert_string_equal(o.metrics_listen.host, "");
		a = cases[i].key[0] == 'm' ? &o.metrics_listen : &o.listen;
		r = serve_options_set(&o, cases[i].key, cases[i].text, why,
				      sizeof(why));
		assert_int_equal(r, cases[i].port < 0 ? -EINVAL : 0);
		if (r < 0)
			continue;
		assert_string_equal(a->host, cases[i].address);
		assert_int_equal(a->port, cases[i].port);
	}
}

static void values_that_cannot_be_are_refused_with_words(void **state)
{
	static const struct {
		const char *key;
		const char *value;
		const char *words;
	} cases[] = {
		{"nonsense", "1", "no such key"},
		{"threads", "0", "1 to 64"},
		{"threads", "65", "1 to 64"},
		{"threads", "x", "'x' is not a number"},
		{"account", "1", "twelve digits"},
		{"region", "US", "of a-z 0-9 -"},
		{"public_url", "http://a", "https://HOST"},
		{"public_url", "https://a/b", "https://HOST"},
		{"cert", "", "characters"},
		{"storage_max", "1 GB", "not a size"},
		{"connections", "15", "16 to 65536"},
		{"readers", "0", "1 to 10000"},
		{"keep_alive", "60", "not a duration"},
		{"keep_alive", "2h", "1 s to 3600 s"},
		{"drain", "11min", "0 s to 600 s"},
		{"live_memory", "1000K", "1M to 1024G"},
		{"alive_within", "500ms", "3 s to 600 s"},
		{"disk_free_min", "-1", "not a size"},
		{"aes_gcm", "fast", "none of auto, openssl"},
		{"log_level", "loud", "none of error, warning, info, debug"},
	};
	struct serve_options o;
	char why[WHY];
	size_t i;

	(void)state;
	serve_options_init(&o);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		int r = serve_options_set(&o, cases[i].key, cases[i].value, why,
					  sizeof(why));

		assert_int_equal(r, i == 0 ? -ENOENT : -EINVAL);
		if (!strstr(why, cases[i].words))
			fail_msg("%s: %s", cases[i].key, why);
	}
	assert_int_equal(serve_options_set(&o, "public_url", "https://a:1", why,
					   sizeof(why)),
			 0);
}

static void the_file_says_where_it_is_wrong(void **state)
{
	static const struct {
		const char *text;
		const char *error; /* after the path */
	} cases[] = {
		{"[serve]\nthreads = 0\n", ":2: [serve] threads: 1 to 64"},
		{"[serve]\n\nreaders = 3\n",
		 ":3: [serve] readers: belongs into [limits]"},
		{"[serve]\nregion = a\nregion = b\n",
		 ":3: [serve] region: is in line 2 already"},
		{"[serve]\ntreads = 1\n", ":2: [serve] treads: no such key"},
		{"[server]\n",
		 ":1: [server] there are serve, limits, stream_max and "
		 "operations"},
		{"threads = 1\n",
		 ":1: threads: there are serve, limits, stream_max and "
		 "operations"},
		{"[stream_max]\na b = 1G\n",
		 ":2: [stream_max] a b: not a stream's name"},
		{"[stream_max]\na = 1G\na = 2G\n",
		 ":3: [stream_max] a: is there already"},
		{"[stream_max]\na = much\n",
		 ":2: [stream_max] a: 'much' is not a size (512K, 32M, 1G)"},
		{"[serve]\nthreads\n",
		 ":2: neither a [section] nor a key = value"},
		{"[serve]\ncert = a\nkey = b\n", ": data_dir: is missing (or "
						 "give --quickstart DIR)"},
	};
	char error[SERVE_ERROR_CHARS];
	struct serve_options o;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		write_file(cases[i].text);
		assert_int_equal(parse(&o, error, NULL), -EINVAL);
		assert_memory_equal(error, path, strlen(path));
		assert_string_equal(error + strlen(path), cases[i].error);
	}
	(void)unlink(path);
	assert_int_equal(parse(&o, error, NULL), -ENOENT);
	assert_non_null(strstr(error, path));
}

static void the_command_line_wins(void **state)
{
	static const char *const args[] = {"--threads", "7", "--keep-alive",
					   "5s", NULL};
	static const char *const twice[] = {"--quickstart", "d", NULL};
	static const char *const bad[] = {"--alive-within", "x", NULL};
	static const char *const unknown[] = {"--data_dir", "x", NULL};
	char error[SERVE_ERROR_CHARS];
	struct serve_options o;

	(void)state;
	write_file("[serve]\nthreads = 2\nregion = eu-west-1\ndata_dir = d\n"
		   "cert = c\nkey = k\n[limits]\nkeep_alive = 9s\n"
		   "readers = 5\nstream_max = 1G\n"
		   "[stream_max]\nyard = 5M\nStreet_1.left = 0\n");
	assert_int_equal(parse(&o, error, args), 0);
	assert_true(serve_stream_max(&o.limits, "yard") == 5 << 20);
	assert_true(serve_stream_max(&o.limits, "Street_1.left") == 0);
	assert_true(serve_stream_max(&o.limits, "another") == 1 << 30);
	assert_int_equal(o.threads, 7);
	assert_int_equal(o.limits.readers, 5);
	assert_true(o.limits.keep_alive_ns == 5 * NS_PER_S);
	assert_string_equal(o.region, "eu-west-1");
	assert_int_equal(parse(&o, error, bad), -EINVAL);
	assert_string_equal(error, "--alive-within: 'x' is not a duration (2s, "
				   "500ms, 24h)");
	assert_int_equal(parse(&o, error, unknown), -EINVAL);
	/* Two that say where the data is. */
	assert_int_equal(parse(&o, error, twice), -EINVAL);
	assert_non_null(strstr(error, "data_dir: --quickstart has its own"));
}

static void a_reload_knows_what_it_cannot_change(void **state)
{
	static const char *const same[] = {"--readers",	  "9",	     "--cert",
					   "x",		  "--drain", "1s",
					   "--log-level", "debug",   NULL};
	static const char *const other[] = {
		"--listen", "[::1]:1",	 "--region", "eu-west-1", "--threads",
		"9",	    "--readers", "4",	     NULL};
	char error[SERVE_ERROR_CHARS];
	char list[100];
	static struct serve_options a;
	static struct serve_options b;

	(void)state;
	write_file("[serve]\ndata_dir = d\ncert = c\nkey = k\n");
	assert_int_equal(parse(&a, error, NULL), 0);
	assert_int_equal(parse(&b, error, same), 0);
	assert_int_equal(serve_options_fixed(&a, &b, list, sizeof(list)), 0);
	assert_string_equal(list, "");
	assert_int_equal(parse(&b, error, other), 0);
	assert_int_equal(serve_options_fixed(&a, &b, list, sizeof(list)), 3);
	assert_string_equal(list, "listen, region, threads");
	/* A list that does not fit is cut, not overrun. */
	assert_int_equal(serve_options_fixed(&a, &b, list, 8), 3);
	assert_string_equal(list, "listen,");
}

/* "#key = value" and "key = value": the example names each key once. */
static void the_example_has_every_key(void **state)
{
	char error[SERVE_ERROR_CHARS];
	char line[256];
	struct serve_options o;
	unsigned int keys = 0;
	FILE *in = fopen(EXAMPLE, "r");
	FILE *out = fopen(path, "w");

	(void)state;
	assert_non_null(in);
	assert_non_null(out);
	while (fgets(line, sizeof(line), in)) {
		char *key = line + (line[0] == '#' && line[1] >= 'a');

		keys += strstr(key, " = ") && key[0] != '#';
		(void)fputs(key, out);
	}
	assert_int_equal(fclose(in), 0);
	assert_int_equal(fclose(out), 0);
	if (parse(&o, error, NULL) < 0)
		fail_msg("%s", error);
	assert_int_equal(keys, KEYS);
	/* As it is installed, it says nothing but the defaults. */
	assert_true(o.limits.keep_alive_ns == KEEP_ALIVE_NS_MAX);
	assert_int_equal(o.limits.connections, CONNECTIONS_MAX);
	assert_int_equal(o.compact_below, COMPACT_PERCENT);
	assert_int_equal(o.limits.readers, GET_MEDIA_READERS_MAX);
	assert_int_equal(o.limits.lists, FRAGMENT_LISTS_MAX);
	assert_true(o.limits.drain_ns == SERVE_STOP_NS_MAX);
	assert_true(o.limits.live_memory == LIVE_MEMORY_BYTES_DEFAULT);
	assert_true(o.alive_within_ns == SERVE_ALIVE_NS);
	assert_true(o.disk_free_min == SEGMENT_BYTES_DEFAULT);
	assert_int_equal(o.log_level, LOG_INFO);
}

static void mount_options_are_the_filesystems(void **state)
{
	static const char f2fs[] =
		"36 25 8:1 / /a\\040b rw,noatime shared:1 master:2 - f2fs "
		"/dev/sda1 rw,lazytime,fastboot,mode=adaptive\n";
	static const char *const others[] = {
		"36 25 8:1 / /a rw,fastboot - f2fs /dev/sda1 rw\n",
		"36 25 8:11 / /a rw - f2fs /dev/sda1 rw,fastboot\n",
		"36 25 8:1 / /a rw - f2fs /dev/sda1 rw,fastboots\n",
		"36 25 8:1 / /a rw - f2fs fastboot",
		"36 25 8:1 / /fastboot rw",
		"36 25 8:1",
		"36",
		"",
	};
	size_t i;

	(void)state;
	assert_true(mount_has_option(f2fs, "8:1", "rw"));
	assert_true(mount_has_option(f2fs, "8:1", "fastboot"));
	assert_true(mount_has_option(f2fs, "8:1", "mode=adaptive"));
	assert_false(mount_has_option(f2fs, "8:1", "noatime"));
	for (i = 0; i < sizeof(others) / sizeof(*others); i++)
		assert_false(mount_has_option(others[i], "8:1", "fastboot"));
}

static int set_up(void **state)
{
	int fd;

	(void)state;
	(void)snprintf(path, sizeof(path), "/tmp/test_serve_config.XXXXXX");
	fd = mkstemp(path);
	return fd < 0 || close(fd) < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	(void)state;
	(void)unlink(path);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses),
		cmocka_unit_test(values_that_cannot_be_are_refused_with_words),
		cmocka_unit_test(the_file_says_where_it_is_wrong),
		cmocka_unit_test(the_command_line_wins),
		cmocka_unit_test(a_reload_knows_what_it_cannot_change),
		cmocka_unit_test(the_example_has_every_key),
		cmocka_unit_test(mount_options_are_the_filesystems),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
