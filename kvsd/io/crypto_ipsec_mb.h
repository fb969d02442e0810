/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES-256-GCM by Intel's IPSec_MB, which knows the vector instructions of
 * x86's last years (VAES, VPCLMULQDQ, AVX-512); OpenSSL 3.0 knows AES-NI. Both
 * are held against each other by tests/unit/test_crypto.c.
 */
#ifndef IO_CRYPTO_IPSEC_MB_H
#define IO_CRYPTO_IPSEC_MB_H

#include <stddef.h>

#include "base/macros.h"

/**
 * crypto_ipsec_mb_use() - load it, if it is there; keys from now on are IPSec_MB's
 * @ret_name: e.g. "IPSec_MB 1.3.0, AVX-512 with VAES"; a constant. "OpenSSL"
 *	on failure: nothing has changed then.
 *
 * Before there are threads. Return: 0; -ENOSYS (not in this build, not on this
 * machine, or the processor has no AES instructions); -ELIBBAD (not the version
 * that this was built with, whose keys have another size); -ENOMEM; -EIO (it
 * fails its self-test).
 */
int crypto_ipsec_mb_use(const char **ret_name) MUST_CHECK;

#endif
