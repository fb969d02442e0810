/* SPDX-License-Identifier: Apache-2.0 */
#include "support/test_cert.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

static void check(int ok)
{
	if (!ok)
		abort();
}

static FILE *create(const char *dir, const char *name)
{
	char path[4096];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	check(f != NULL);
	return f;
}

void test_cert_write(const char *dir, const char *names)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	X509_NAME *name = X509_get_subject_name(cert);
	X509_EXTENSION *ext;
	FILE *f;

	check(key && cert && X509_set_version(cert, 2));
	check(ASN1_INTEGER_set(X509_get_serialNumber(cert), 1));
	check(X509_gmtime_adj(X509_getm_notBefore(cert), -3600) != NULL);
	check(X509_gmtime_adj(X509_getm_notAfter(cert), 3600) != NULL);
	check(X509_set_pubkey(cert, key));
	check(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
					 (const unsigned char *)"test", -1, -1,
					 0));
	check(X509_set_issuer_name(cert, name));
	ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);
	check(ext && X509_add_ext(cert, ext, -1));
	X509_EXTENSION_free(ext);
	ext = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints,
				  "critical,CA:TRUE");
	check(ext && X509_add_ext(cert, ext, -1));
	X509_EXTENSION_free(ext);
	check(X509_sign(cert, key, EVP_sha256()) > 0);
	f = create(dir, "cert.pem");
	check(PEM_write_X509(f, cert));
	(void)fclose(f);
	f = create(dir, "key.pem");
	check(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL));
	(void)fclose(f);
	X509_free(cert);
	EVP_PKEY_free(key);
}
