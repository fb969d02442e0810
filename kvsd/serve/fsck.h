/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SERVE_FSCK_H
#define SERVE_FSCK_H

#include "base/sys.h"

/* `kvsd fsck`. Return: the process's exit status, as its usage says. */
int fsck_main(int argc, char **argv, const struct sys_ops *sys);

#endif
