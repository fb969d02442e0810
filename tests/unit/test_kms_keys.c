/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/key_error.h"
#include "io/kms_keys.h"
#include "support/sys_fault.h"

static char dir[] = "/tmp/test-kms-keys-XXXXXX";
static const char *const files[] = {"good.key",	    "other.key", "empty.key",
				    "long.key",	    "short.key", "open.key",
				    "off.disabled", "folder.key"};

static void write_key(const char *name, size_t len, uint8_t fill, mode_t mode)
{
	uint8_t bytes[64];
	char path[128];
	int fd;

	memset(bytes, fill, sizeof(bytes));
	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	assert_int_equal(fchmod(fd, mode), 0);
	(void)close(fd);
}

static int set_up(void **state)
{
	char path[128];

	(void)state;
	assert_non_null(mkdtemp(dir));
	write_key("good.key", 32, 1, 0600);
	write_key("other.key", 32, 2, 0400);
	write_key("empty.key", 0, 0, 0600);
	write_key("long.key", 33, 3, 0600);
	write_key("short.key", 31, 3, 0600);
	write_key("open.key", 32, 4, 0640);
	write_key("off.disabled", 32, 5, 0600);
	(void)snprintf(path, sizeof(path), "%s/folder.key", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	return 0;
}

static int tear_down(void **state)
{
	char path[128];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(files); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		(void)remove(path);
	}
	return rmdir(dir);
}

static void stream_init(struct store_stream *s, uint8_t id)
{
	memset(s->id, id, sizeof(s->id));
	memset(s->key, 0x77, sizeof(s->key));
}

static bool is_wiped(const struct store_stream *s)
{
	static const uint8_t zeroes[DATA_KEY_BYTES];

	return memcmp(s->key, zeroes, sizeof(zeroes)) == 0;
}

static void default_keys(void **state)
{
	static const char *const ours[] = {
		"",
		"aws/kinesisvideo",
		"alias/aws/kinesisvideo",
		"alias/aws/kinesis-video",
		"arn:aws:kms:eu-west-1:123456789012:alias/aws/kinesisvideo",
	};
	static const char *const others[] = {
		"good", "alias/good", "alias/aws/kinesisvideo2",
		"arn:aws:kms:eu-west-1:123456789012:key/aws-kinesisvideo"};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(ours); i++)
		assert_true(kms_key_is_default(ours[i]));
	for (i = 0; i < ARRAY_SIZE(others); i++)
		assert_false(kms_key_is_default(others[i]));
}

static void faults(void **state)
{
	static const struct {
		const char *key_id;
		int error;
		enum ack_error ack;
	} cases[] = {
		{"open", -EACCES, ACK_KMS_KEY_ACCESS_DENIED},
		{"off", -EKEYREVOKED, ACK_KMS_KEY_DISABLED},
		{"", -EINVAL, ACK_KMS_KEY_VALIDATION_ERROR},
		{"a/b", -EINVAL, ACK_KMS_KEY_VALIDATION_ERROR},
		{"..", -EINVAL, ACK_KMS_KEY_VALIDATION_ERROR},
		{"alias/", -EINVAL, ACK_KMS_KEY_VALIDATION_ERROR},
		{"good.key", -EINVAL, ACK_KMS_KEY_VALIDATION_ERROR},
		{"long", -EKEYREJECTED, ACK_KMS_KEY_INVALID_USAGE},
		{"short", -EKEYREJECTED, ACK_KMS_KEY_INVALID_USAGE},
		{"folder", -EKEYREJECTED, ACK_KMS_KEY_INVALID_USAGE},
		{"empty", -ENODATA, ACK_KMS_KEY_INVALID_STATE},
		{"none", -ENOKEY, ACK_KMS_KEY_NOT_FOUND},
	};
	char name[200];
	struct store_stream s;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		stream_init(&s, 1);
		assert_int_equal(kms_keys_apply(sys_posix(), dir,
						cases[i].key_id, &s),
				 cases[i].error);
		assert_true(is_wiped(&s));
		assert_int_equal(key_error_ack(cases[i].error), cases[i].ack);
	}
	memset(name, 'k', sizeof(name));
	name[KMS_KEY_NAME_CHARS_MAX + 1] = '\0';
	assert_int_equal(kms_keys_apply(sys_posix(), dir, name, &s), -EINVAL);
	assert_int_equal(kms_keys_apply(sys_posix(), NULL, "good", &s),
			 -ENOKEY);
	assert_int_equal(kms_keys_apply(sys_posix(), "/nowhere", "good", &s),
			 -ENOKEY);
}

/* What a disk or the kernel says is told as it is, and nothing is left open. */
static void failing_calls(void **state)
{
	struct store_stream s;
	unsigned long n;
	int r;

	(void)state;
	for (n = 1; n < 20; n++) {
		stream_init(&s, 1);
		sys_fault_arm(n, -EIO);
		r = kms_keys_apply(sys_fault(), dir, "good", &s);
		assert_int_equal(sys_fault_open_fds(), 0);
		if (!sys_fault_fired())
			break;
		assert_int_equal(r, -EIO);
		assert_int_equal(key_error_ack(r), ACK_KMS_KEY_UNAVAILABLE);
		assert_true(is_wiped(&s));
	}
	assert_true(n > 3 && n < 20);
	sys_fault_arm(1, -EACCES);
	assert_int_equal(kms_keys_apply(sys_fault(), dir, "good", &s), -EACCES);
	/* The second look, for the disabled one. */
	sys_fault_arm(2, -EACCES);
	assert_int_equal(kms_keys_apply(sys_fault(), dir, "none", &s), -EACCES);
	sys_fault_arm(0, 0);
}

static void one_key_of_two(void **state)
{
	struct store_stream a;
	struct store_stream b;
	struct store_stream c;

	(void)state;
	stream_init(&a, 1);
	stream_init(&b, 1);
	stream_init(&c, 2);
	assert_int_equal(kms_keys_apply(sys_posix(), dir, "good", &a), 0);
	assert_int_equal(kms_keys_apply(sys_posix(), dir,
					"arn:aws:kms:r:1:alias/good", &b),
			 0);
	assert_memory_equal(a.key, b.key, sizeof(a.key));
	assert_int_equal(kms_keys_apply(sys_posix(), dir, "good", &c), 0);
	assert_memory_not_equal(a.key, c.key, sizeof(a.key));
	stream_init(&b, 1);
	assert_memory_not_equal(a.key, b.key, sizeof(a.key));
	assert_int_equal(kms_keys_apply(sys_posix(), dir, "key/other", &b), 0);
	assert_memory_not_equal(a.key, b.key, sizeof(a.key));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(default_keys),
		cmocka_unit_test(faults),
		cmocka_unit_test(failing_calls),
		cmocka_unit_test(one_key_of_two),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
