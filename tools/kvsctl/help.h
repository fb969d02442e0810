/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVSCTL_HELP_H
#define KVSCTL_HELP_H

/* The page of a command or topic; NULL = the general one. NULL: no such. */
const char *help_page(const char *topic);

#endif
