/* SPDX-License-Identifier: Apache-2.0 */
/* The administrator's AWS shared-credentials file (quickstart). */
#ifndef SERVE_CREDENTIALS_H
#define SERVE_CREDENTIALS_H

#include "base/macros.h"
#include "base/sys.h"
#include "core/catalog.h"

/* Makes DIR/NAME (0600) with one new key. Return: 0 or an errno. */
int credentials_make(const struct sys_ops *sys, int dir,
		     const char *name) MUST_CHECK;

/*
 * The default profile of the file at @path; wipe @ret_credential. Return: 0,
 * -EBADMSG (no key in it), or an errno.
 */
int credentials_read(const struct sys_ops *sys, const char *path,
		     struct catalog_credential *ret_credential) MUST_CHECK;

#endif
