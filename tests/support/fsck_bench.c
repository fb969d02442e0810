/* SPDX-License-Identifier: Apache-2.0 */
#include "support/fsck_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "io/catalog_sqlite.h"

static int find_key(void *ctx, const uint8_t id[STREAM_ID_BYTES],
		    uint8_t ret_key[DATA_KEY_BYTES])
{
	unsigned int i;

	(void)ctx;
	for (i = 0; i < 2; i++) {
		struct store_stream s = rig_stream(i);

		if (memcmp(s.id, id, STREAM_ID_BYTES))
			continue;
		memcpy(ret_key, s.key, DATA_KEY_BYTES);
		return 0;
	}
	return -ENOENT;
}

static struct catalog *open_catalog(struct data_dir *dir)
{
	const struct catalog_sqlite_config config = {
		.dir = dir,
		.region = "us-west-2",
		.account = "123456789012",
		.no_thread = true,
	};
	struct catalog *catalog = NULL;

	return catalog_sqlite_open(&config, &catalog) < 0 ? NULL : catalog;
}

/* Two streams' fragments in some segments, minutes of them; closed. */
int fsck_bench_setup(void **state)
{
	struct store_rig *rig = calloc(1, sizeof(*rig));
	struct loop_fake_config config = {.seed = 1};
	struct catalog *catalog;
	int i;

	if (!rig)
		return -1;
	rig_init(rig, &config);
	if (data_dir_open(sys_posix(), rig->path, true, &rig->dir) < 0)
		return -1;
	catalog = open_catalog(&rig->dir);
	if (!catalog)
		return -1;
	(void)catalog_sqlite_close(catalog);
	data_dir_close(&rig->dir);
	if (rig_open(rig) < 0)
		return -1;
	for (i = 0; i < FSCK_FRAGMENTS; i++)
		if (rig_put(rig, (unsigned int)i % 2, (uint64_t)i + 1,
			    FSCK_BYTES, 30000, (uint64_t)i * 10000) < 0)
			return -1;
	rig_close(rig);
	*state = rig;
	return 0;
}

int fsck_bench_teardown(void **state)
{
	rig_fini(*state);
	free(*state);
	return 0;
}

char fsck_told[FSCK_TOLD_BYTES];

static void tell(void *ctx, const char *text)
{
	size_t len = strlen(fsck_told);

	(void)ctx;
	(void)snprintf(fsck_told + len, sizeof(fsck_told) - len, "%s\n", text);
}

static int refuse_sync(int fd)
{
	(void)fd;
	return -EROFS;
}

static ssize_t refuse_write(int fd, const void *bytes, size_t len, off_t at)
{
	(void)fd;
	(void)bytes;
	(void)len;
	(void)at;
	return -EROFS;
}

struct fsck_result fsck_check(struct store_rig *rig, enum fsck_level level,
			      bool repair)
{
	struct fsck_result result = {.problems = 0};
	struct sys_ops reader = *sys_posix();
	struct data_dir dir;
	struct fsck_config config = {
		.dir = &dir,
		.level = level,
		.find_key = find_key,
		.tell = tell,
	};

	reader.fdatasync = refuse_sync;
	reader.fsync = refuse_sync;
	reader.pwrite = refuse_write;
	fsck_told[0] = '\0';
	if (repair)
		assert_int_equal(
			data_dir_open(sys_posix(), rig->path, false, &dir), 0);
	else
		assert_int_equal(
			data_dir_open_readonly(&reader, rig->path, &dir), 0);
	if (repair)
		assert_int_equal(store_fsck_repair(&config), 0);
	else
		assert_int_equal(store_fsck(&config, &result), 0);
	data_dir_close(&dir);
	return result;
}

/* All fragments but @lost (0: none) are there, bit-exact. */
void fsck_expect(struct store_rig *rig, int count, uint64_t lost)
{
	struct store_fragment rows[FSCK_FRAGMENTS];
	unsigned int stream;
	int total = 0;
	int n;
	int i;

	assert_int_equal(rig_open(rig), 0);
	for (stream = 0; stream < 2; stream++) {
		n = rig_list_all(rig, stream, rows, FSCK_FRAGMENTS);
		for (i = 0; i < n; i++) {
			assert_int_not_equal(rows[i].number.seq, lost);
			assert_int_equal(rig_check_all(rig, stream, &rows[i]),
					 0);
		}
		total += n;
	}
	assert_int_equal(total, count);
	rig_close(rig);
}

void fsck_repair_and_expect(struct store_rig *rig, int count, uint64_t lost)
{
	(void)fsck_check(rig, FSCK_MEDIA, true);
	assert_int_equal(fsck_check(rig, FSCK_MEDIA, false).problems, 0);
	fsck_expect(rig, count, lost);
}

int fsck_open_segment(const struct store_rig *rig, unsigned int number)
{
	char path[256];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/segments/%08u.seg", rig->path,
		       number);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/*
 * A process that uses all of it, and is killed: fragments 100 and so on of
 * @stream, each 20 s, have no row yet.
 */
void fsck_be_killed(struct store_rig *rig, unsigned int stream,
		    unsigned int count)
{
	struct catalog_credential c = {"AK", "secret", true};
	struct catalog *catalog;
	pid_t pid = fork();
	unsigned int i;
	int status;

	assert_true(pid >= 0);
	if (!pid) {
		if (rig_open(rig) < 0)
			_exit(1);
		catalog = open_catalog(&rig->dir);
		if (!catalog || catalog_sqlite_put_credential(catalog, &c))
			_exit(2);
		for (i = 0; i < count; i++)
			if (rig_put(rig, stream, FSCK_NEW_SEQ + i, FSCK_BYTES,
				    30000, FSCK_NEW_MS + i * 20000))
				_exit(3);
		(void)kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

/* The @nth record of that kind of a fragment. Return: its segment. */
uint32_t fsck_find_record(const struct store_rig *rig, uint64_t seq,
			  enum segment_kind kind, int nth, off_t *ret_at)
{
	static uint8_t bytes[SEGMENT_RECORD_BYTES_MAX];
	struct segment_record rec;
	uint32_t number;

	for (number = 1; number < 100; number++) {
		char path[256];
		off_t at = 0;
		ssize_t n;
		int fd;

		(void)snprintf(path, sizeof(path), "%s/segments/%08u.seg",
			       rig->path, number);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		while (fd >= 0 &&
		       (n = pread(fd, bytes, sizeof(bytes), at)) > 0 &&
		       segment_header_parse(bytes, &rec) == 0) {
			if (rec.kind == kind && rec.number.seq == seq &&
			    --nth == 0) {
				close(fd);
				*ret_at = at;
				return number;
			}
			at += segment_record_bytes(rec.payload_bytes);
		}
		if (fd >= 0)
			close(fd);
	}
	fail_msg("no such record");
	return 0;
}

void fsck_flip(const struct store_rig *rig, uint64_t seq,
	       enum segment_kind kind)
{
	off_t at = 0;
	uint32_t number = fsck_find_record(rig, seq, kind, 1, &at);

	rig_flip(rig, number, at + SEGMENT_HEADER_BYTES + 7);
}
