/* SPDX-License-Identifier: Apache-2.0 */
/* Nobody who asks holds the service up. */
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/limits.h"
#include "io/data_dir.h"
#include "serve/hold_socket.h"
#include "support/scratch.h"
#include "support/store_rig.h"

#define HANGS_S 120 /* ends a test that would never end */

struct rig {
	char path[64];
	struct sys_ops sys;
	struct data_dir dir;
	struct hold_socket *socket;
};

static atomic_uint ahead_s; /* of the clock */

static int clock_ahead(clockid_t clock, struct timespec *ret_ts)
{
	int r = sys_posix()->clock_gettime(clock, ret_ts);

	ret_ts->tv_sec += (time_t)atomic_load(&ahead_s);
	return r;
}

/* A time limit of the socket's own would end what is to be ended. */
static int no_setsockopt(int fd, int level, int name, const void *value,
			 unsigned int len)
{
	(void)fd;
	(void)level;
	(void)name;
	(void)value;
	(void)len;
	return 0;
}

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	atomic_store(&ahead_s, 0);
	rig->sys = *sys_posix();
	rig->sys.clock_gettime = clock_ahead;
	rig->sys.setsockopt = no_setsockopt;
	assert_true(scratch_dir(rig->path, sizeof(rig->path), "kvsd-hold"));
	assert_int_equal(data_dir_open(&rig->sys, rig->path, true, &rig->dir),
			 0);
	assert_int_equal(hold_socket_start(&rig->sys, &rig->dir, NULL, NULL,
					   &rig->socket),
			 0);
	(void)alarm(HANGS_S);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	rig->socket = hold_socket_stop(rig->socket);
	(void)alarm(0);
	data_dir_close(&rig->dir);
	rig_remove(rig->path);
	free(rig);
	return 0;
}

static int connect_to(const struct rig *rig)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s/admin", rig->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static bool is_closed(int fd, int wait_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char c;

	return poll(&p, 1, wait_ms) == 1 && read(fd, &c, 1) <= 0;
}

static void socket_answers(void **state)
{
	struct rig *rig = *state;
	json_t *request = json_pack("{s:s}", "do", "nothing");
	json_t *reply = NULL;

	assert_int_equal(hold_socket_ask(&rig->sys, rig->path, request, &reply),
			 0);
	assert_non_null(json_object_get(reply, "error"));
	json_decref(request);
	json_decref(reply);
}

static void slow_request_ends_at_its_deadline(void **state)
{
	struct rig *rig = *state;
	int fd = connect_to(rig);
	unsigned int i;

	/* Each byte comes within the time, all of them never do. */
	for (i = 0; i < 200; i++) {
		if (send(fd, " ", 1, MSG_NOSIGNAL) < 0)
			break;
		atomic_fetch_add(&ahead_s, ADMIN_WAIT_S_MAX - 1);
		if (is_closed(fd, 20))
			break;
	}
	assert_true(i < 200);
	(void)close(fd);
}

static void stop_does_not_wait_for_who_asks(void **state)
{
	struct rig *rig = *state;
	int silent = connect_to(rig);
	int half = connect_to(rig);

	assert_int_equal(send(half, "{", 1, MSG_NOSIGNAL), 1);
	/* By the first of them, most often, the thread is held now. */
	(void)is_closed(silent, 50);
	rig->socket = hold_socket_stop(rig->socket);
	assert_true(is_closed(silent, -1));
	assert_true(is_closed(half, -1));
	(void)close(silent);
	(void)close(half);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(socket_answers, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			slow_request_ends_at_its_deadline, setup, teardown),
		cmocka_unit_test_setup_teardown(stop_does_not_wait_for_who_asks,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
