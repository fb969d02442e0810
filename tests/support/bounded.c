/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bounded PARENT SECONDS COMMAND...: runs a test in a process group of its own,
 * and ends that group when the seconds are over, when a signal says so, or when
 * PARENT, the process that began this one, is gone. Exits as the test did (128
 * + n by signal n), with 124 when its time was over.
 *
 * Not timeout(1): until its fork() has returned it does not know its child, and
 * a signal makes it exit and leave the test behind, which on a busy machine
 * runs already. Here signals are only taken where they are waited for.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GRACE_S 10 /* between SIGTERM and SIGKILL */
#define TIME_OVER (-1)
#define STATUS_TIME_OVER 124
#define STATUS_OWN_FAULT 125

/* The zombie stays: as long as it does, no other group can have its number. */
static bool has_ended(pid_t test)
{
	siginfo_t info = {0};

	return waitid(P_PID, (id_t)test, &info, WEXITED | WNOHANG | WNOWAIT) !=
		       0 ||
	       info.si_pid == test;
}

/* Return: 0 when it has ended, or why it is to: a signal of the set, TIME_OVER.
 */
static int wait_for(pid_t test, const sigset_t *set, time_t seconds)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	const time_t end = now.tv_sec + seconds;

	while (!has_ended(test)) {
		(void)clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec >= end)
			return TIME_OVER;
		const struct timespec left = {.tv_sec = end - now.tv_sec};
		const int number = sigtimedwait(set, NULL, &left);
		if (number > 0 && number != SIGCHLD)
			return number;
	}
	return 0;
}

static void end_group(pid_t test)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)kill(-test, SIGTERM);
	(void)kill(-test, SIGCONT);
	(void)wait_for(test, &set, GRACE_S);
	(void)kill(-test, SIGKILL);
}

static _Noreturn void become(char **command, const sigset_t *mask)
{
	(void)setpgid(0, 0);
	/* A shell's background ignores them, and tests send them to each other.
	 */
	(void)signal(SIGINT, SIG_DFL);
	(void)signal(SIGQUIT, SIG_DFL);
	(void)sigprocmask(SIG_SETMASK, mask, NULL);
	(void)execv(command[0], command);
	const int status = errno == ENOENT ? 127 : 126;
	perror(command[0]);
	_exit(status);
}

int main(int argc, char **argv)
{
	sigset_t set;
	sigset_t before;

	if (argc < 4) {
		(void)fprintf(stderr,
			      "usage: bounded PARENT SECONDS COMMAND...\n");
		return STATUS_OWN_FAULT;
	}
	(void)sigemptyset(&set);
	for (const int *n = (const int[]){SIGCHLD, SIGHUP, SIGINT, SIGQUIT,
					  SIGTERM, 0};
	     *n != 0; n++)
		(void)sigaddset(&set, *n);
	(void)signal(SIGCHLD,
		     SIG_DFL); /* ignored, it would take the status away */
	(void)sigprocmask(SIG_BLOCK, &set, &before);
	/* Out of the group of who began it: what kills that one may not kill
	 * this one before it has passed it on. */
	(void)setpgid(0, 0);
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0) {
		perror("prctl");
		return STATUS_OWN_FAULT;
	}
	if (getppid() != (pid_t)strtol(argv[1], NULL, 10))
		return 128 +
		       SIGTERM; /* gone before the kernel was asked to tell */

	const pid_t test = fork();
	if (test < 0) {
		perror("fork");
		return STATUS_OWN_FAULT;
	}
	if (test == 0)
		become(argv + 3, &before);
	(void)setpgid(test, test); /* in both, as either may be the first */
	const int why = wait_for(test, &set, (time_t)strtol(argv[2], NULL, 10));
	if (why != 0)
		end_group(test);
	int status = 0;
	(void)waitpid(test, &status, 0);
	if (why == TIME_OVER) {
		(void)fprintf(stderr, "not over after %s s\n", argv[2]);
		return STATUS_TIME_OVER;
	}
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status)
				   : WEXITSTATUS(status);
}
