/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/aws_profile.h"

static const char credentials[] =
	"# written by hand\n"
	"[default]\n"
	"aws_access_key_id = AKIADEFAULT\r\n"
	"aws_secret_access_key=a/b+c=\n"
	"\n"
	"; another\n"
	"[ cam 1 ]\n"
	"AWS_ACCESS_KEY_ID=AKIACAM   # the door\n"
	"aws_secret_access_key =  x#y;z\n"
	"aws_session_token = tok==\n"
	"s3 =\n"
	"    aws_access_key_id = nested\n"
	"[default]\n"
	"region = eu-central-1";

static void aws_profile_finds_each_section(void **state)
{
	struct aws_profile p;
	unsigned int line;

	(void)state;
	assert_int_equal(aws_profile_find(SLICE(credentials), SLICE("default"),
					  false, &p, &line),
			 0);
	assert_true(slice_is(p.access_key_id, "AKIADEFAULT"));
	assert_true(slice_is(p.secret_access_key, "a/b+c="));
	assert_true(slice_is(p.session_token, ""));
	assert_true(slice_is(p.region, "eu-central-1"));
	assert_int_equal(aws_profile_find(SLICE(credentials), SLICE("cam 1"),
					  false, &p, &line),
			 0);
	assert_true(slice_is(p.access_key_id, "AKIACAM"));
	assert_true(slice_is(p.secret_access_key, "x#y;z"));
	assert_true(slice_is(p.session_token, "tok=="));
	assert_int_equal(aws_profile_find(SLICE(credentials), SLICE("cam"),
					  false, &p, &line),
			 -ENOENT);
	assert_int_equal(aws_profile_find(SLICE(""), SLICE("default"), false,
					  &p, &line),
			 -ENOENT);
}

static void aws_profile_knows_the_config_files_names(void **state)
{
	static const char config[] = "[default]\nregion = us-east-1\n"
				     "[profile dev]\nregion = r2\n"
				     "endpoint_url = https://localhost:8443\n"
				     "ca_bundle = /ca.pem\n"
				     "[dev]\nregion = r3\n";
	struct aws_profile p;
	unsigned int line;

	(void)state;
	assert_int_equal(aws_profile_find(SLICE(config), SLICE("default"),
					  true, &p, &line),
			 0);
	assert_true(slice_is(p.region, "us-east-1"));
	assert_int_equal(aws_profile_find(SLICE(config), SLICE("dev"), true,
					  &p, &line),
			 0);
	assert_true(slice_is(p.region, "r2"));
	assert_true(slice_is(p.endpoint_url, "https://localhost:8443"));
	assert_true(slice_is(p.ca_bundle, "/ca.pem"));
	assert_int_equal(aws_profile_find(SLICE(config), SLICE("dev"), false,
					  &p, &line),
			 0);
	assert_true(slice_is(p.region, "r3"));
}

static void aws_profile_keeps_long_tokens_whole(void **state)
{
	struct aws_profile p;
	unsigned int line;
	char text[4200];

	(void)state;
	memset(text, 't', sizeof(text));
	memcpy(text, "[a]\naws_session_token=", 22);
	assert_int_equal(aws_profile_find((struct slice){ text, sizeof(text) },
					  SLICE("a"), false, &p, &line),
			 0);
	assert_int_equal(p.session_token.len, sizeof(text) - 22);
}

static void aws_profile_names_the_bad_line(void **state)
{
	struct aws_profile p;
	unsigned int line = 0;

	(void)state;
	assert_int_equal(aws_profile_find(SLICE("[a]\n\nk=v\nnonsense\n"),
					  SLICE("a"), false, &p, &line),
			 -EBADMSG);
	assert_int_equal(line, 4);
	assert_int_equal(aws_profile_find(SLICE("[a\n"), SLICE("a"), false, &p,
					  &line),
			 -EBADMSG);
	assert_int_equal(line, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(aws_profile_finds_each_section),
		cmocka_unit_test(aws_profile_knows_the_config_files_names),
		cmocka_unit_test(aws_profile_keeps_long_tokens_whole),
		cmocka_unit_test(aws_profile_names_the_bad_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
