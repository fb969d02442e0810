/* SPDX-License-Identifier: Apache-2.0 */
/* A self-signed certificate for tests, as PEM files in a folder. */
#ifndef TESTS_SUPPORT_TEST_CERT_H
#define TESTS_SUPPORT_TEST_CERT_H

/*
 * Writes DIR/cert.pem and DIR/key.pem; @names as in "DNS:localhost,
 * IP:127.0.0.1". Aborts on failure.
 */
void test_cert_write(const char *dir, const char *names);

#endif
