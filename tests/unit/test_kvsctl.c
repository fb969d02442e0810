/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kvsctl/args.h"
#include "kvsctl/settings.h"
#include "kvsctl/tar.h"
#include "kvsctl/text.h"
#include "proto/ustar.h"

/* --- arguments --------------------------------------------------------- */

struct options {
	const char *output;
	const char *start;
	struct arg_list tags;
	bool json;
};

static int parse(struct options *o, struct args *a, bool stop,
		 const char *const *argv, int argc)
{
	const struct arg_option own[] = {
		{ "output", 'o', NULL, &o->output, NULL },
		{ "start", 0, NULL, &o->start, NULL },
		{ "tag", 't', NULL, NULL, &o->tags },
		{ NULL, 0, NULL, NULL, NULL },
	};
	const struct arg_option common[] = {
		{ "json", 'j', &o->json, NULL, NULL },
		{ NULL, 0, NULL, NULL, NULL },
	};
	const struct arg_option *tables[] = { own, common };

	*o = (struct options){ 0 };
	return args_parse(argc, (char *const *)(uintptr_t)argv, tables, 2,
			  stop, a);
}

#define PARSE(...)                                                     \
	parse(&o, &a, false, (const char *const[]){ __VA_ARGS__ },     \
	      (int)(sizeof((const char *const[]){ __VA_ARGS__ }) /     \
		    sizeof(char *)))

static void args_take_values_in_every_form(void **state)
{
	struct options o;
	struct args a;

	(void)state;
	assert_int_equal(PARSE("front", "-o", "a.mp4", "--start=-5min",
			       "--json", "-"),
			 0);
	assert_string_equal(o.output, "a.mp4");
	assert_string_equal(o.start, "-5min");
	assert_true(o.json);
	assert_int_equal(a.count, 2);
	assert_string_equal(a.operands[0], "front");
	assert_string_equal(a.operands[1], "-");

	assert_int_equal(PARSE("-oa.mp4", "--start", "-5min", "--", "--json"),
			 0);
	assert_string_equal(o.output, "a.mp4");
	assert_string_equal(o.start, "-5min");
	assert_false(o.json);
	assert_int_equal(a.count, 1);
	assert_string_equal(a.operands[0], "--json");

	assert_int_equal(PARSE("--output=", "--tag", "a=b", "-t", "c=d"), 0);
	assert_string_equal(o.output, "");
	assert_int_equal(o.tags.count, 2);
	assert_string_equal(o.tags.values[1], "c=d");
}

static void args_refuse_with_words(void **state)
{
	struct options o;
	struct args a;

	(void)state;
	assert_int_equal(PARSE("--outptu", "a"), -EINVAL);
	assert_string_equal(a.error, "--outptu: there is no such option");
	assert_int_equal(PARSE("-x"), -EINVAL);
	assert_string_equal(a.error, "-x: there is no such option");
	assert_int_equal(PARSE("--output"), -EINVAL);
	assert_string_equal(a.error, "--output needs a value");
	assert_int_equal(PARSE("-o"), -EINVAL);
	assert_int_equal(PARSE("--json=yes"), -EINVAL);
	assert_string_equal(a.error, "--json takes no value");
	assert_int_equal(PARSE("-o", "a", "--output", "b"), -EINVAL);
	assert_string_equal(a.error, "--output is given twice");
	assert_int_equal(PARSE("1", "2", "3", "4", "5", "6", "7", "8"), 0);
	assert_int_equal(PARSE("1", "2", "3", "4", "5", "6", "7", "8", "9"),
			 -EINVAL);
}

static void args_stop_before_the_command(void **state)
{
	const char *const argv[] = { "--json", "get", "--nonsense" };
	struct options o;
	struct args a;

	(void)state;
	assert_int_equal(parse(&o, &a, true, argv, 3), 0);
	assert_int_equal(a.used, 1);
	assert_true(o.json);
}

/* --- settings ---------------------------------------------------------- */

static const char *const *environment;

static const char *fake_env(const char *name)
{
	const char *const *e;

	for (e = environment; *e; e += 2) {
		if (strcmp(e[0], name) == 0)
			return e[1];
	}
	return NULL;
}

static const char keys_text[] = "[default]\naws_access_key_id = AKDEFAULT\n"
				"aws_secret_access_key = secret1\n"
				"[cam]\naws_access_key_id = AKCAM\n"
				"aws_secret_access_key = secret2\n"
				"aws_session_token = token2\n";
static const char config_text[] = "[default]\nregion = eu-west-1\n"
				  "[profile cam]\nregion = eu-west-2\n"
				  "endpoint_url = https://cam.test\n"
				  "ca_bundle = /cam.pem\n"
				  "[profile bare]\nregion = eu-west-3\n";

static int resolve(const struct settings_options *options,
		   const char *const *env, struct settings *ret,
		   char error[CTL_ERROR_CHARS_MAX])
{
	struct settings_files files;

	environment = env;
	settings_paths(fake_env, &files);
	files.credentials.text = slice_of(keys_text);
	files.credentials.found = true;
	files.config.text = slice_of(config_text);
	files.config.found = true;
	return settings_resolve(options, fake_env, &files, ret, error);
}

static void settings_find_the_files(void **state)
{
	const char *const none[] = { NULL };
	const char *const home[] = { "HOME", "/home/a", NULL };
	const char *const given[] = { "HOME", "/home/a",
				      "AWS_SHARED_CREDENTIALS_FILE", "/c",
				      "AWS_CONFIG_FILE", "/d", NULL };
	struct settings_files f;

	(void)state;
	environment = none;
	settings_paths(fake_env, &f);
	assert_string_equal(f.credentials.path, "");
	environment = home;
	settings_paths(fake_env, &f);
	assert_string_equal(f.credentials.path, "/home/a/.aws/credentials");
	assert_string_equal(f.config.path, "/home/a/.aws/config");
	environment = given;
	settings_paths(fake_env, &f);
	assert_string_equal(f.credentials.path, "/c");
	assert_string_equal(f.config.path, "/d");
}

static void settings_prefer_as_awss_tools_do(void **state)
{
	const char *const none[] = { NULL };
	const char *const env[] = {
		"AWS_ACCESS_KEY_ID", "AKENV",
		"AWS_SECRET_ACCESS_KEY", "secret3",
		"AWS_SESSION_TOKEN", "token3",
		"AWS_ENDPOINT_URL", "https://env.test",
		"AWS_CA_BUNDLE", "/env.pem",
		"AWS_DEFAULT_REGION", "us-east-2",
		"AWS_PROFILE", "cam",
		NULL,
	};
	const char *const profile[] = { "AWS_PROFILE", "cam", "AWS_REGION",
					"us-east-1", "AWS_DEFAULT_REGION",
					"us-east-2", NULL };
	const struct settings_options nothing = { 0 };
	const struct settings_options asked = { .profile = "default",
						.endpoint_url =
							"https://opt.test",
						.region = "us-west-1",
						.ca_bundle = "/opt.pem" };
	char error[CTL_ERROR_CHARS_MAX];
	struct settings s;

	(void)state;
	assert_int_equal(resolve(&nothing, none, &s, error), 0);
	assert_string_equal(s.access_key_id, "AKDEFAULT");
	assert_string_equal(s.secret_access_key, "secret1");
	assert_null(s.session_token);
	assert_null(s.endpoint);
	assert_string_equal(s.region, "eu-west-1");
	settings_fini(&s);
	assert_null(s.region);

	assert_int_equal(resolve(&nothing, profile, &s, error), 0);
	assert_string_equal(s.access_key_id, "AKCAM");
	assert_string_equal(s.session_token, "token2");
	assert_string_equal(s.endpoint, "https://cam.test");
	assert_string_equal(s.ca_bundle, "/cam.pem");
	assert_string_equal(s.region, "us-east-1");
	settings_fini(&s);

	assert_int_equal(resolve(&nothing, env, &s, error), 0);
	assert_string_equal(s.access_key_id, "AKENV");
	assert_string_equal(s.secret_access_key, "secret3");
	assert_string_equal(s.session_token, "token3");
	assert_string_equal(s.endpoint, "https://env.test");
	assert_string_equal(s.ca_bundle, "/env.pem");
	assert_string_equal(s.region, "us-east-2");
	settings_fini(&s);

	/* A profile on the command line goes before keys in the environment. */
	assert_int_equal(resolve(&asked, env, &s, error), 0);
	assert_string_equal(s.access_key_id, "AKDEFAULT");
	assert_null(s.session_token);
	assert_string_equal(s.endpoint, "https://opt.test");
	assert_string_equal(s.region, "us-west-1");
	assert_string_equal(s.ca_bundle, "/opt.pem");
	settings_fini(&s);
}

static void settings_explain_what_is_missing(void **state)
{
	const char *const none[] = { NULL };
	const char *const half[] = { "AWS_ACCESS_KEY_ID", "AKENV", "HOME", "/h",
				     NULL };
	const char *const whole[] = { "AWS_ACCESS_KEY_ID", "AKENV",
				      "AWS_SECRET_ACCESS_KEY", "x", NULL };
	const struct settings_options nothing = { 0 };
	const struct settings_options nobody = { .profile = "nobody" };
	const struct settings_options bare = { .profile = "bare" };
	struct settings_files files;
	char error[CTL_ERROR_CHARS_MAX];
	struct settings s;

	(void)state;
	assert_int_equal(resolve(&nobody, whole, &s, error), -ENOENT);
	assert_non_null(strstr(error, "'nobody'"));
	assert_int_equal(resolve(&bare, none, &s, error), -ENOKEY);

	/* No files. */
	environment = half;
	settings_paths(fake_env, &files);
	assert_int_equal(settings_resolve(&nothing, fake_env, &files, &s,
					  error),
			 -ENOKEY);
	assert_non_null(strstr(error, "/h/.aws/credentials"));
	environment = whole;
	assert_int_equal(settings_resolve(&nothing, fake_env, &files, &s,
					  error),
			 -EDESTADDRREQ);

	files.credentials.text = SLICE("[default]\nnonsense\n");
	files.credentials.found = true;
	assert_int_equal(settings_resolve(&nothing, fake_env, &files, &s,
					  error),
			 -EBADMSG);
	assert_non_null(strstr(error, "/h/.aws/credentials:2"));
}

/* --- text -------------------------------------------------------------- */

static void text_time_reads_what_people_type(void **state)
{
	const uint64_t now_ms = 1700000000000;
	uint64_t ms;

	(void)state;
	assert_int_equal(text_time("now", now_ms, &ms), 0);
	assert_true(ms == now_ms);
	assert_int_equal(text_time("-5min", now_ms, &ms), 0);
	assert_true(ms == now_ms - 300000);
	assert_int_equal(text_time("1684331315.994", now_ms, &ms), 0);
	assert_true(ms == 1684331315994);
	assert_int_equal(text_time("2023-05-17T15:48:35.994+02:00", now_ms,
				   &ms),
			 0);
	assert_true(ms == 1684331315994);
	assert_int_equal(text_time("", now_ms, &ms), -EINVAL);
	assert_int_equal(text_time("-", now_ms, &ms), -EINVAL);
	assert_int_equal(text_time("-5", now_ms, &ms), -EINVAL);
	assert_int_equal(text_time("-9999999h", now_ms, &ms), -EINVAL);
	assert_int_equal(text_time("yesterday", now_ms, &ms), -EINVAL);
	assert_int_equal(text_time("2023-05-17", now_ms, &ms), -EINVAL);
}

static void text_start_reads_each_selector(void **state)
{
	struct start s;

	(void)state;
	assert_int_equal(text_start("NOW", 0, &s), 0);
	assert_int_equal(s.kind, START_NOW);
	assert_int_equal(text_start("earliest", 0, &s), 0);
	assert_int_equal(s.kind, START_EARLIEST);
	assert_int_equal(text_start("fragment:123", 0, &s), 0);
	assert_int_equal(s.kind, START_FRAGMENT);
	assert_string_equal(s.text, "123");
	assert_int_equal(text_start("token:a.b_c-1", 0, &s), 0);
	assert_int_equal(s.kind, START_TOKEN);
	assert_int_equal(text_start("server:-1s", 5000, &s), 0);
	assert_int_equal(s.kind, START_SERVER_TIME);
	assert_int_equal(s.ms, 4000);
	assert_int_equal(text_start("producer:7.5", 0, &s), 0);
	assert_int_equal(s.kind, START_PRODUCER_TIME);
	assert_int_equal(s.ms, 7500);
	assert_int_equal(text_start("", 0, &s), -EINVAL);
	assert_int_equal(text_start("LATER", 0, &s), -EINVAL);
	assert_int_equal(text_start("fragment:", 0, &s), -EINVAL);
	assert_int_equal(text_start("fragment:12a", 0, &s), -EINVAL);
	assert_int_equal(text_start("token:a b", 0, &s), -EINVAL);
	assert_int_equal(text_start("server:x", 0, &s), -EINVAL);
}

static void text_retention_is_in_hours(void **state)
{
	uint32_t hours;

	(void)state;
	assert_int_equal(text_retention("24h", &hours), 0);
	assert_int_equal(hours, 24);
	assert_int_equal(text_retention("7d", &hours), 0);
	assert_int_equal(hours, 168);
	assert_int_equal(text_retention("0", &hours), 0);
	assert_int_equal(hours, 0);
	assert_int_equal(text_retention("24", &hours), -EINVAL);
	assert_int_equal(text_retention("90min", &hours), -EINVAL);
	assert_int_equal(text_retention("h", &hours), -EINVAL);
	assert_int_equal(text_retention("87600h", &hours), 0);
	assert_int_equal(text_retention("87601h", &hours), -ERANGE);
	assert_int_equal(text_retention("9999999999h", &hours), -EINVAL);
}

static void text_shows_sizes_and_spans(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} sizes[] = {
		{ 0, "0 B" },		  { 999, "999 B" },
		{ 1000, "1.0 kB" },	  { 1550, "1.5 kB" },
		{ 999999, "999.9 kB" },	  { 1000000, "1.0 MB" },
		{ 52428800, "52.4 MB" },  { UINT64_MAX, "18.4 EB" },
	};
	char size[TEXT_SIZE_CHARS];
	char span[TEXT_SPAN_CHARS];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		text_size(sizes[i].bytes, size);
		assert_string_equal(size, sizes[i].text);
	}
	text_span(40, span);
	assert_string_equal(span, "0.040 s");
	text_span(59999, span);
	assert_string_equal(span, "59.999 s");
	text_span(3723000, span);
	assert_string_equal(span, "1:02:03");
}

static void text_of_drivers_becomes_utf8(void **state)
{
	static const struct {
		const char *text;
		const char *utf8;
	} words[] = {
		{"Caf\xc3\xa9", "Caf\xc3\xa9"},
		{"cut Caf\xc3", "cut Caf?"}, /* as strscpy() cuts */
		{"\xe2\x82\xac \xf0\x9f\x93\xb7",
		 "\xe2\x82\xac \xf0\x9f\x93\xb7"},
		{"latin \xe9!", "latin ?!"},
		{"\xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80 \xff",
		 "?? ??? ???? ?"},
		{"", ""},
	};
	char out[32];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(words); i++) {
		text_utf8(words[i].text, out, sizeof(out));
		assert_string_equal(out, words[i].utf8);
	}
	text_utf8("ab\xc3\xa9", out, 4); /* no half of it */
	assert_string_equal(out, "ab");
}

static void tar_members_are_read_back_and_damage_is_seen(void **state)
{
	uint8_t block[USTAR_BLOCK_BYTES];
	struct ustar_entry e;
	FILE *f = tmpfile();
	size_t i;

	(void)state;
	assert_non_null(f);
	assert_int_equal(tar_add(f, "fragments/1.mkv", "abc", 3, 1795412379),
			 0);
	assert_int_equal(tar_end(f), 0);
	rewind(f);
	assert_int_equal(fread(block, 1, sizeof(block), f), sizeof(block));
	assert_int_equal(ustar_parse(block, &e), 1);
	assert_string_equal(e.name, "fragments/1.mkv");
	assert_int_equal(e.bytes, 3);
	for (i = 0; i < sizeof(block); i++) {
		block[i] ^= 0x40;
		/* The checksum's own end is not looked at. */
		if (i < 154 || i > 155)
			assert_int_equal(ustar_parse(block, &e), -EINVAL);
		block[i] ^= 0x40;
	}
	assert_int_equal(fread(block, 1, sizeof(block), f), sizeof(block));
	assert_int_equal(fread(block, 1, sizeof(block), f), sizeof(block));
	assert_int_equal(ustar_parse(block, &e), 0);
	(void)fclose(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(args_take_values_in_every_form),
		cmocka_unit_test(args_refuse_with_words),
		cmocka_unit_test(args_stop_before_the_command),
		cmocka_unit_test(settings_find_the_files),
		cmocka_unit_test(settings_prefer_as_awss_tools_do),
		cmocka_unit_test(settings_explain_what_is_missing),
		cmocka_unit_test(text_time_reads_what_people_type),
		cmocka_unit_test(text_start_reads_each_selector),
		cmocka_unit_test(text_retention_is_in_hours),
		cmocka_unit_test(text_shows_sizes_and_spans),
		cmocka_unit_test(text_of_drivers_becomes_utf8),
		cmocka_unit_test(tar_members_are_read_back_and_damage_is_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
