/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/data_dir.h"
#include "support/scratch.h"
#include "support/store_rig.h"

static char path[64];

static const char *in_dir(const char *name)
{
	static char text[128];

	(void)snprintf(text, sizeof(text), "%s/%s", path, name);
	return text;
}

/* What data_dir_open() says of @name. */
static int open_and_listen(const char *name, char *text, size_t size)
{
	struct data_dir d;
	int kept = dup(2);
	int to[2];
	ssize_t n;
	int r;

	assert_int_equal(pipe2(to, O_CLOEXEC), 0);
	assert_true(kept >= 0 && dup2(to[1], 2) == 2);
	r = data_dir_open(sys_posix(), name, false, &d);
	assert_true(dup2(kept, 2) == 2);
	close(kept);
	close(to[1]);
	n = read(to[0], text, size - 1);
	close(to[0]);
	text[n > 0 ? n : 0] = '\0';
	return r;
}

/* Once, and whatever the reason. */
static void directory_that_does_not_open_says_why(void **state)
{
	struct data_dir dir;
	char text[512];

	(void)state;
	assert_true(scratch_dir(path, sizeof(path), "kvsd-dir"));
	assert_int_equal(data_dir_open(sys_posix(), path, true, &dir), 0);
	assert_int_equal(open_and_listen(in_dir("typo"), text, sizeof(text)),
			 -ENOENT);
	assert_non_null(strstr(text, in_dir("typo: No such file")));
	assert_int_equal(open_and_listen(in_dir("identity"), text,
					 sizeof(text)),
			 -ENOTDIR);
	assert_non_null(strstr(text, in_dir("identity: Not a directory")));
	assert_int_equal(open_and_listen(path, text, sizeof(text)), -EBUSY);
	assert_non_null(strstr(text, "another kvsd uses it"));
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	data_dir_close(&dir);
	assert_int_equal(unlink(in_dir("segments/identity")), 0);
	assert_int_equal(mkdir(in_dir("segments/identity"), 0700), 0);
	assert_int_equal(open_and_listen(path, text, sizeof(text)), -EISDIR);
	assert_non_null(strstr(text, "segments: Is a directory"));
	rig_remove(path);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(directory_that_does_not_open_says_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
