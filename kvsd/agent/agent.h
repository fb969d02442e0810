/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

struct sys_ops;

/* Exit codes of the role. */
#define AGENT_EXIT_OK 0
#define AGENT_EXIT_FAILED 1	/* no camera, no encoder, no memory, ... */
#define AGENT_EXIT_USAGE 2	/* command line or configuration */
#define AGENT_EXIT_LEFT 3	/* stopped with media not acknowledged */

/* @argv[0] is "agent". Return: an exit code. */
int agent_main(int argc, char **argv, const struct sys_ops *sys);

#endif
