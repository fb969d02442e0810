/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fails the n-th system call that SQLite makes. Its own hook
 * (sqlite3_vfs.xSetSystemCall) serves for all but fsync and fdatasync; those
 * two are defined here in place of libc's, so other callers of them count too
 * in a program that links this.
 */
#ifndef SUPPORT_SQLITE_FAULT_H
#define SUPPORT_SQLITE_FAULT_H

#include <stdbool.h>

/* Fail the @n-th call from now (0: none) with the errno @err (positive). */
void sqlite_fault_arm(unsigned long n, int err);
/* From now on each write fails with ENOSPC, until there is room again. */
void sqlite_fault_full(bool full);
/* "pwrite64", or NULL when none has failed since. */
const char *sqlite_fault_where(void);
unsigned long sqlite_fault_calls(void);

#endif
