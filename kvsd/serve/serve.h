/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SERVE_SERVE_H
#define SERVE_SERVE_H

#include "base/sys.h"

/* `kvsd serve`. Return: the process's exit status. */
int serve_main(int argc, char **argv, const struct sys_ops *sys);

#endif
