/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "io/cert.h"

static const char *const names[] = { "localhost", "127.0.0.1", "::1" };

static void cert_of_own_authority_serves_its_names(void **state)
{
	static const char *const other[] = { "localhost", "camera.example" };
	struct cert_pair ca;
	struct cert_pair ca2;
	struct cert_pair server;
	struct cert_pair mixed;
	char garbage[] = "garbage";

	(void)state;
	assert_int_equal(cert_new_authority("test authority", &ca), 0);
	assert_int_equal(cert_new_authority("test authority", &ca2), 0);
	assert_int_equal(cert_issue_server(&ca, names, 3, &server), 0);
	assert_true(cert_serves(&server, &ca, names, 3));
	assert_false(cert_serves(&server, &ca, other, 2));
	assert_false(cert_serves(&server, &ca2, names, 3));
	mixed = (struct cert_pair){ garbage, server.key };
	assert_false(cert_serves(&mixed, &ca, names, 3));
	mixed = (struct cert_pair){ server.cert, garbage };
	assert_false(cert_serves(&mixed, &ca, names, 3));
	mixed = (struct cert_pair){ server.cert, ca.key };
	assert_false(cert_serves(&mixed, &ca, names, 3));
	assert_non_null(strstr(server.key, "PRIVATE KEY"));
	cert_pair_fini(&ca);
	cert_pair_fini(&ca2);
	cert_pair_fini(&server);
	assert_null(server.key);
}

static void cert_issue_refuses_names_that_smuggle_others(void **state)
{
	static const char *const bad[] = { "a,DNS:evil" };
	struct cert_pair ca;
	struct cert_pair server;

	(void)state;
	assert_int_equal(cert_new_authority("test authority", &ca), 0);
	assert_int_equal(cert_issue_server(&ca, bad, 1, &server), -EINVAL);
	cert_pair_fini(&ca);
}

static void cert_issue_refuses_a_key_of_another_authority(void **state)
{
	struct cert_pair a;
	struct cert_pair b;
	struct cert_pair mixed;
	struct cert_pair server;

	(void)state;
	assert_int_equal(cert_new_authority("a", &a), 0);
	assert_int_equal(cert_new_authority("b", &b), 0);
	mixed = (struct cert_pair){ .cert = a.cert, .key = b.key };
	assert_int_equal(cert_issue_server(&mixed, names, 3, &server),
			 -EBADMSG);
	cert_pair_fini(&a);
	cert_pair_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cert_of_own_authority_serves_its_names),
		cmocka_unit_test(cert_issue_refuses_names_that_smuggle_others),
		cmocka_unit_test(cert_issue_refuses_a_key_of_another_authority),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
