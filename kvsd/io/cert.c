/* SPDX-License-Identifier: Apache-2.0 */
#include "io/cert.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"

#define DAY_S (24L * 3600)
#define SERIAL_BYTES 16
#define RENEW_S (30 * DAY_S)
#define NAMES_BYTES_MAX 4096

DEFINE_AUTO(EVP_PKEY_free, EVP_PKEY *)
DEFINE_AUTO(X509_free, X509 *)
DEFINE_AUTO(BIO_free_all, BIO *)

void cert_pair_fini(struct cert_pair *p)
{
	free(p->cert);
	if (p->key)
		OPENSSL_cleanse(p->key, strlen(p->key));
	free(p->key);
	*p = (struct cert_pair){ 0 };
}

static int failed(int r)
{
	ERR_clear_error();
	return r;
}

/* What was written to @bio as a string of our own. */
static char *bio_text(BIO *bio)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);
	char *text = malloc((size_t)len + 1);

	if (text) {
		memcpy(text, data, (size_t)len);
		text[len] = '\0';
	}
	return text;
}

static char *cert_pem(X509 *cert)
{
	AUTO(BIO_free_all) BIO *bio = BIO_new(BIO_s_mem());

	if (!bio || !PEM_write_bio_X509(bio, cert))
		return NULL;
	return bio_text(bio);
}

static char *key_pem(EVP_PKEY *key)
{
	AUTO(BIO_free_all) BIO *bio = BIO_new(BIO_s_secmem());

	if (!bio || !PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL,
					      NULL))
		return NULL;
	return bio_text(bio);
}

static X509 *cert_parse(const char *pem)
{
	AUTO(BIO_free_all) BIO *bio = BIO_new_mem_buf(pem, -1);

	return bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
}

static EVP_PKEY *key_parse(const char *pem)
{
	AUTO(BIO_free_all) BIO *bio = BIO_new_mem_buf(pem, -1);

	return bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
}

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *text)
{
	X509_EXTENSION *ext;
	X509V3_CTX ctx;
	bool ok;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, text);
	ok = ext && X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
	return ok;
}

/* Everything but issuer, extensions and signature. */
static X509 *cert_begin(EVP_PKEY *key, const char *name, int years)
{
	AUTO(X509_free) X509 *cert = X509_new();
	uint8_t serial[SERIAL_BYTES];
	BIGNUM *bn;
	bool ok;

	if (!cert || RAND_bytes(serial, sizeof(serial)) != 1)
		return NULL;
	serial[0] &= 0x7f; /* positive, RFC 5280 section 4.1.2.2 */
	bn = BN_bin2bn(serial, sizeof(serial), NULL);
	ok = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert));
	BN_free(bn);
	/* A day back: the clocks of devices are behind as often as not. */
	ok = ok && X509_set_version(cert, X509_VERSION_3) &&
	     X509_gmtime_adj(X509_getm_notBefore(cert), -DAY_S) &&
	     X509_time_adj_ex(X509_getm_notAfter(cert), years * 365, 0,
			      NULL) &&
	     X509_set_pubkey(cert, key) &&
	     X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN",
					MBSTRING_UTF8,
					(const unsigned char *)name, -1, -1,
					0);
	return ok ? TAKE_PTR(cert) : NULL;
}

static int pair_take(char *cert, char *key, struct cert_pair *ret_pair)
{
	struct cert_pair pair = { .cert = cert, .key = key };

	if (!cert || !key) {
		cert_pair_fini(&pair);
		return failed(-ENOMEM);
	}
	*ret_pair = pair;
	return 0;
}

int cert_new_authority(const char *name, struct cert_pair *ret_pair)
{
	AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_EC_gen("P-256");
	AUTO(X509_free) X509 *cert = NULL;

	if (key)
		cert = cert_begin(key, name, CERT_AUTHORITY_YEARS);
	if (!cert ||
	    !X509_set_issuer_name(cert, X509_get_subject_name(cert)) ||
	    !add_extension(cert, cert, NID_basic_constraints,
			   "critical,CA:TRUE,pathlen:0") ||
	    !add_extension(cert, cert, NID_key_usage,
			   "critical,keyCertSign,cRLSign") ||
	    !add_extension(cert, cert, NID_subject_key_identifier, "hash") ||
	    X509_sign(cert, key, EVP_sha256()) <= 0)
		return failed(-EIO);
	return pair_take(cert_pem(cert), key_pem(key), ret_pair);
}

static bool is_address(const char *name)
{
	uint8_t addr[16];

	return inet_pton(AF_INET, name, addr) == 1 ||
	       inet_pton(AF_INET6, name, addr) == 1;
}

/* "DNS:localhost,IP:127.0.0.1"; what could be read otherwise is refused. */
static int names_text(const char *const *names, size_t count, struct buf *text)
{
	size_t i;

	for (i = 0; i < count; i++) {
		bool addr = is_address(names[i]);

		if (!names[i][0] ||
		    (!addr && names[i][strspn(names[i],
					      "abcdefghijklmnopqrstuvwxyz"
					      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
					      "0123456789.-_*")]))
			return -EINVAL;
		(void)buf_printf(text, "%s%s:%s", i ? "," : "",
				 addr ? "IP" : "DNS", names[i]);
	}
	(void)buf_add(text, "", 1);
	return text->failed ? -EINVAL : 0;
}

static char *chain_pem(X509 *cert, X509 *issuer)
{
	AUTO(BIO_free_all) BIO *bio = BIO_new(BIO_s_mem());

	if (!bio || !PEM_write_bio_X509(bio, cert) ||
	    !PEM_write_bio_X509(bio, issuer))
		return NULL;
	return bio_text(bio);
}

static int issue(X509 *issuer, EVP_PKEY *issuer_key, const char *san,
		 struct cert_pair *ret_pair)
{
	AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_EC_gen("P-256");
	AUTO(X509_free) X509 *cert = NULL;

	if (key)
		cert = cert_begin(key, "kvsd", CERT_SERVER_YEARS);
	if (!cert ||
	    !X509_set_issuer_name(cert, X509_get_subject_name(issuer)) ||
	    !add_extension(cert, issuer, NID_basic_constraints,
			   "critical,CA:FALSE") ||
	    !add_extension(cert, issuer, NID_key_usage,
			   "critical,digitalSignature") ||
	    !add_extension(cert, issuer, NID_ext_key_usage, "serverAuth") ||
	    !add_extension(cert, issuer, NID_subject_key_identifier, "hash") ||
	    !add_extension(cert, issuer, NID_authority_key_identifier,
			   "keyid") ||
	    !add_extension(cert, issuer, NID_subject_alt_name, san) ||
	    X509_sign(cert, issuer_key, EVP_sha256()) <= 0)
		return failed(-EIO);
	return pair_take(chain_pem(cert, issuer), key_pem(key), ret_pair);
}

int cert_issue_server(const struct cert_pair *authority,
		      const char *const *names, size_t count,
		      struct cert_pair *ret_pair)
{
	AUTO(X509_free) X509 *issuer = cert_parse(authority->cert);
	AUTO(EVP_PKEY_free) EVP_PKEY *key = key_parse(authority->key);
	struct buf san;
	int r;

	if (!issuer || !key || X509_check_private_key(issuer, key) != 1)
		return failed(-EBADMSG);
	buf_init(&san, NAMES_BYTES_MAX);
	r = names_text(names, count, &san);
	if (r == 0)
		r = issue(issuer, key, (const char *)buf_head(&san), ret_pair);
	buf_fini(&san);
	return r;
}

bool cert_serves(const struct cert_pair *pair, const struct cert_pair *authority,
		 const char *const *names, size_t count)
{
	AUTO(X509_free) X509 *cert = cert_parse(pair->cert);
	AUTO(EVP_PKEY_free) EVP_PKEY *key = key_parse(pair->key);
	AUTO(X509_free) X509 *issuer = cert_parse(authority->cert);
	time_t later = time(NULL) + RENEW_S;
	bool ok = cert && key && issuer;
	size_t i;

	ok = ok && X509_check_private_key(cert, key) == 1 &&
	     X509_verify(cert, X509_get0_pubkey(issuer)) == 1 &&
	     X509_cmp_time(X509_get0_notAfter(cert), &later) > 0;
	for (i = 0; ok && i < count; i++)
		ok = is_address(names[i]) ?
			     X509_check_ip_asc(cert, names[i], 0) == 1 :
			     X509_check_host(cert, names[i], 0, 0, NULL) == 1;
	ERR_clear_error();
	return ok;
}
