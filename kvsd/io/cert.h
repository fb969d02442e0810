/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates of the embedded default: an authority of one's own and a server
 * certificate that it signs. ECDSA P-256. PEM text in memory: where it is kept
 * is the caller's business. Any thread.
 */
#ifndef IO_CERT_H
#define IO_CERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

/* Years an authority and a server certificate are valid. */
#define CERT_AUTHORITY_YEARS 20
#define CERT_SERVER_YEARS 5

/* NUL-terminated PEM, heap; cert_pair_fini() wipes the key. */
struct cert_pair {
	char *cert;
	char *key;
};

void cert_pair_fini(struct cert_pair *p);

/**
 * cert_new_authority() - a self-signed authority
 * @name: common name, at most 64 bytes
 *
 * Return: 0, -ENOMEM, -EIO (OpenSSL failed).
 */
int cert_new_authority(const char *name, struct cert_pair *ret_pair) MUST_CHECK;

/**
 * cert_issue_server() - a server certificate
 * @names: DNS names and numeric addresses (told apart by their look)
 *
 * The result's cert is the chain: the server's, then the authority's.
 * Return: 0, -EBADMSG (the authority's PEM), -EINVAL (a name), -ENOMEM, -EIO.
 */
int cert_issue_server(const struct cert_pair *authority,
		      const char *const *names, size_t count,
		      struct cert_pair *ret_pair) MUST_CHECK;

/*
 * The first certificate of @pair belongs to its key, carries each of @names,
 * was signed by @authority and is valid for another 30 days.
 */
bool cert_serves(const struct cert_pair *pair, const struct cert_pair *authority,
		 const char *const *names, size_t count);

#endif
