/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SERVE_IMPORT_H
#define SERVE_IMPORT_H

#include "base/sys.h"

/* `kvsd import`. Return: the process's exit status, as its usage says. */
int import_main(int argc, char **argv, const struct sys_ops *sys);

#endif
