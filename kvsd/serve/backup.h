/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SERVE_BACKUP_H
#define SERVE_BACKUP_H

#include "base/sys.h"

/* `kvsd backup`. Return: the process's exit status, as its usage says. */
int backup_main(int argc, char **argv, const struct sys_ops *sys);

#endif
