/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "serve/control_check.h"
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(token_comes_back_and_nothing_else_does),
		cmocka_unit_test(tags_follow_the_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
