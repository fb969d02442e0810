/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/sys.h"
#include "serve/control_check.h"
#include "serve/options.h"
#include "serve/token.h"

static void token_comes_back_and_nothing_else_does(void **state)
{
	static const char *const bad[] = {
		"", "=", "YQ=", "YR==", "YQ==YQ==", "Y===", "!!!!", "===="};
	char token[TOKEN_CHARS_MAX + 1];
	char text[TOKEN_TEXT_BYTES_MAX + 1];
	char in[TOKEN_TEXT_BYTES_MAX - 1];
	size_t n;

	(void)state;
	for (n = 1; n < sizeof(in); n++) {
		memset(in, 'a' + (int)(n % 26), n);
		in[n] = '\0';
		token_encode(in, token);
		assert_int_equal(token_decode(slice_of(token), text), 0);
		assert_string_equal(text, in);
	}
	for (n = 0; n < ARRAY_SIZE(bad); n++)
		assert_int_equal(token_decode(slice_of(bad[n]), text), -EINVAL);
}

static int check_tags(const char *text)
{
	json_t *tags = json_loads(text, 0, NULL);
	int r;

	assert_non_null(tags);
	r = control_check_tags(tags);
	json_decref(tags);
	return r;
}

static void tags_follow_the_model(void **state)
{
	json_t *many = json_object();
	char key[16];
	int i;

	(void)state;
	assert_int_equal(check_tags("{}"), -EINVAL);
	assert_int_equal(check_tags("{\"a b_.:/=+-@9\": \"\"}"), 0);
	assert_int_equal(check_tags("{\"sch\\u00f6n\": \"v\"}"), 0);
	assert_int_equal(check_tags("{\"\": \"v\"}"), -EINVAL);
	assert_int_equal(check_tags("{\"a\": 1}"), -EINVAL);
	assert_int_equal(check_tags("{\"a!\": \"v\"}"), -EINVAL);
	assert_int_equal(check_tags("{\"a\": \"#\"}"), -EINVAL);
	for (i = 0; i < 50; i++) {
		(void)snprintf(key, sizeof(key), "k%d", i);
		json_object_set_new(many, key, json_object());
		json_object_set_new(many, key, json_stringn("v", 1));
	}
	assert_int_equal(control_check_tags(many), 0);
	json_object_set_new(many, "one more", json_stringn("v", 1));
	assert_int_equal(control_check_tags(many), -E2BIG);
	json_decref(many);
}

static void options_take_addresses(void **state)
{
	static const struct {
		const char *text;
		const char *address;
		int port; /* -1: refused */
	} cases[] = {
		{"127.0.0.1:0", "127.0.0.1", 0},
		{"[::1]:8443", "::1", 8443},
		{":9000", "0.0.0.0", 9000},
		{"localhost:1", "localhost", 1},
		{"::1:8443", NULL, -1},
		{"127.0.0.1", NULL, -1},
		{"127.0.0.1:65536", NULL, -1},
		{"127.0.0.1:", NULL, -1},
		{"127.0.0.1:-1", NULL, -1},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct serve_options o;
		int r;

		serve_options_init(&o);
		r = serve_options_set(&o, "listen", cases[i].text);
		assert_int_equal(r, cases[i].port < 0 ? -EINVAL : 0);
		if (r < 0)
			continue;
		assert_string_equal(o.address, cases[i].address);
		assert_int_equal(o.port, cases[i].port);
	}
}

static void options_refuse_what_cannot_be(void **state)
{
	struct serve_options o;

	(void)state;
	serve_options_init(&o);
	assert_int_equal(serve_options_set(&o, "nonsense", "1"), -ENOENT);
	assert_int_equal(serve_options_set(&o, "threads", "0"), -EINVAL);
	assert_int_equal(serve_options_set(&o, "threads", "65"), -EINVAL);
	assert_int_equal(serve_options_set(&o, "account", "1"), -EINVAL);
	assert_int_equal(serve_options_set(&o, "region", "US"), -EINVAL);
	assert_int_equal(serve_options_set(&o, "public_url", "http://a"),
			 -EINVAL);
	assert_int_equal(serve_options_set(&o, "public_url", "https://a/b"),
			 -EINVAL);
	assert_int_equal(serve_options_set(&o, "public_url", "https://a:1"), 0);
	assert_int_equal(serve_options_set(&o, "cert", ""), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(token_comes_back_and_nothing_else_does),
		cmocka_unit_test(tags_follow_the_model),
		cmocka_unit_test(options_take_addresses),
		cmocka_unit_test(options_refuse_what_cannot_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
