/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `--quickstart DIR`: everything that a service needs, in one directory.
 *
 *	DIR/ca.pem ca.key		authority; clients trust ca.pem
 *	DIR/server.pem server.key	issued again when a name is missing
 *	DIR/credentials		AWS shared-credentials file, one administrator
 *	DIR/master.key		wraps the data keys
 *	DIR/data			catalog, index, segments
 *
 * What exists is kept, so that a restart changes nothing.
 */
#ifndef SERVE_QUICKSTART_H
#define SERVE_QUICKSTART_H

#include "base/macros.h"
#include "base/sys.h"
#include "serve/options.h"

/* Points @o at what is in its directory. Return: 0, -ENAMETOOLONG (logged). */
int quickstart_paths(struct serve_options *o) MUST_CHECK;

/**
 * quickstart_prepare() - make what is missing and point @o at it
 *
 * Errors are logged. Return: 0; -EMEDIUMTYPE (files of another kind are in the
 * directory); or the errno of a system call.
 */
int quickstart_prepare(const struct sys_ops *sys,
		       struct serve_options *o) MUST_CHECK;

#endif
