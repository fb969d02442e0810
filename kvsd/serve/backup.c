/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy of a service's directory while the service runs, without its help:
 * what a kill -9 would leave at one moment, which any start can use.
 *
 *  1. segments, in passes: a list is taken and all of it copied. What was on
 *     disk before is in a file of the list, since compaction syncs a
 *     fragment's new place before it removes the old one. If one of the list
 *     was gone before it was opened, another pass follows
 *  2. segments that are not in the last list go
 *  3. the catalogs, after the segments, so that each of their streams that
 *     was not deleted has its key; then the sequence
 *  4. identity, last: before it is there, no start takes the copy
 *
 * A copy that is brought up to date keeps its identity: new segments come
 * before old ones go, and of the catalogs one is always whole.
 */
#include "serve/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "core/limits.h"
#include "io/catalog_db.h"
#include "io/crypto.h"
#include "io/data_dir.h"
#include "io/segment_file.h"
#include "proto/segment.h"
#include "serve/tool_dir.h"

#define MARK "backup.incomplete" /* the id of what is being copied here */
#define COPY_BYTES (1u << 20)
#define SMALL_BYTES_MAX 65536u
#define NAME_BYTES 32
#define PASSES_MAX 16u
#define TRIES_MAX 64u
/* Clocks of files stand still for a tick: what is this old cannot change
 * without a new time. */
#define SETTLED_S 2
/* Of a segment whose end does not show that it is full or closed. */
#define SETTLED_OPEN_S 3600

enum {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_LEFT = 4,
};

static const char usage[] =
	"usage: kvsd backup DIR DEST [OPTIONS]\n"
	"\n"
	"Copies the directory of a service, which may be running: a data_dir, "
	"or\n"
	"what --quickstart was given. Run again with the same DEST, it copies "
	"what\n"
	"is new and removes what is gone. DEST must be empty or such a copy.\n"
	"\n"
	"  --with-key          the master key too, and of a --quickstart "
	"directory its\n"
	"                      certificates and credentials\n"
	"  --master-key FILE   default: DIR/master.key\n"
	"\n"
	"Without the master key a copy is of no use to anybody, you included: "
	"keep\n"
	"the key elsewhere. With it, who has the copy can read all of it.\n"
	"To restore, start kvsd on DEST; never beside the original, for the "
	"same\n"
	"clients.\n"
	"\n"
	"Exit status: 0 all is copied, 4 all but segments that cannot be read,"
	"\n"
	"1 the copy is not made.\n";

struct options {
	char from[TOOL_PATH_CHARS];
	char to[TOOL_PATH_CHARS];
	char master_key[TOOL_PATH_CHARS];
	bool with_key;
};

struct backup {
	const struct sys_ops *sys;
	struct options *o;
	bool quickstart;
	char from_top[TOOL_PATH_CHARS]; /* as given: of --quickstart the top */
	char to_top[TOOL_PATH_CHARS];
	struct data_dir from; /* not locked */
	struct data_dir to;
	char *identity;
	size_t identity_len;
	bool renewed;	/* DEST is a whole copy of before */
	uint8_t *bytes; /* COPY_BYTES */
	uint64_t bytes_copied;
	uint64_t bytes_same;
	uint64_t revision;
	unsigned int copied;
	unsigned int same;
	unsigned int removed;
	unsigned int unread;
	bool read_failed; /* the last error is the original's */
};

static int failed(const struct data_dir *d, const char *name, int err)
{
	log_error("backup", "%s/%s: %s", d->path, name, strerror(-err));
	return err;
}

/* --- segments --- */

static bool is_zero(const uint8_t *bytes, size_t len)
{
	return !len || (!bytes[0] && !memcmp(bytes, bytes + 1, len - 1));
}

/*
 * The end of the last block that is not empty: the rest is reserved. Seen
 * before the copy is made, so that there is no gap before what is written
 * meanwhile.
 */
static int find_end(struct backup *b, int fd, uint64_t size, uint64_t *ret_end)
{
	while (size) {
		uint64_t at = (size - 1) / COPY_BYTES * COPY_BYTES;
		size_t len = 0;
		int r;

		r = segment_file_read(&b->from, fd, b->bytes,
				      (size_t)(size - at), at, &len);
		if (r < 0)
			return r;
		while (len) {
			size_t block = (len - 1) / SEGMENT_BLOCK_BYTES *
				       SEGMENT_BLOCK_BYTES;

			if (!is_zero(b->bytes + block, len - block)) {
				*ret_end = at + len;
				return 0;
			}
			len = block;
		}
		size = at;
	}
	*ret_end = 0;
	return 0;
}

static int write_all(struct backup *b, int fd, const uint8_t *bytes, size_t len,
		     uint64_t at)
{
	while (len) {
		ssize_t n = b->sys->pwrite(fd, bytes, len, (off_t)at);

		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		bytes += n;
		at += (size_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* Blocks of zeros stay holes. */
static int write_sparse(struct backup *b, int fd, size_t len, uint64_t at)
{
	size_t done = 0;
	int r = 0;

	while (done < len && r == 0) {
		size_t n = MIN(len - done, (size_t)SEGMENT_BLOCK_BYTES);
		size_t run = done;

		while (run < len && !is_zero(b->bytes + run, n)) {
			run += n;
			n = MIN(len - run, (size_t)SEGMENT_BLOCK_BYTES);
		}
		r = write_all(b, fd, b->bytes + done, run - done, at + done);
		b->bytes_copied += run - done;
		done = run + n;
	}
	return r;
}

/* Bytes of a record that is being written may be old: it was not
 * acknowledged, and its checksum tells. */
static int copy_bytes(struct backup *b, int in, int out, uint64_t end)
{
	uint64_t at;
	int r;

	for (at = 0; at < end; at += COPY_BYTES) {
		size_t want = (size_t)MIN(end - at, (uint64_t)COPY_BYTES);
		size_t len = 0;

		r = segment_file_read(&b->from, in, b->bytes, want, at, &len);
		b->read_failed = r < 0;
		if (r == 0)
			r = write_sparse(b, out, len, at);
		if (r < 0)
			return r;
		if (len < want)
			break; /* its unused rest was given back */
	}
	return 0;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* A copy that is final has its original's time and size; others time 0. */
static bool is_copied(struct backup *b, uint32_t number, const struct stat *st)
{
	struct stat have;
	int fd;
	int r;

	if (segment_file_open(&b->to, number, &fd) < 0)
		return false;
	r = b->sys->fstat(fd, &have);
	sys_close(b->sys, &fd);
	return r == 0 && have.st_size == st->st_size &&
	       same_time(&have.st_mtim, &st->st_mtim);
}

/* @st: of before it was read. */
static bool is_settled(struct backup *b, const struct stat *st, uint64_t end)
{
	struct timespec now = {0};
	int64_t age_s;

	if (b->sys->clock_gettime(CLOCK_REALTIME, &now) < 0)
		return false;
	age_s = (int64_t)now.tv_sec -
		(int64_t)MAX(st->st_mtim.tv_sec, st->st_ctim.tv_sec);
	return age_s >
	       (end == (uint64_t)st->st_size ? SETTLED_S : SETTLED_OPEN_S);
}

static int write_segment(struct backup *b, int in, int out,
			 const struct stat *st)
{
	struct timespec times[2] = {{0}, {0}};
	uint64_t end = 0;
	bool settled;
	int r;

	r = find_end(b, in, (uint64_t)st->st_size, &end);
	b->read_failed = r < 0;
	if (r < 0)
		return r;
	settled = is_settled(b, st, end);
	r = copy_bytes(b, in, out, end);
	if (r == 0)
		r = b->sys->ftruncate(out, settled ? st->st_size : (off_t)end);
	if (r < 0)
		return r;
	if (settled)
		times[0] = times[1] = st->st_mtim;
	if (futimens(out, times) < 0)
		return -errno;
	return b->sys->fsync(out);
}

static int replace_segment(struct backup *b, int in, uint32_t number,
			   const struct stat *st)
{
	char temp[NAME_BYTES];
	char name[NAME_BYTES];
	int out;
	int r;

	(void)snprintf(temp, sizeof(temp), "%08" PRIu32 ".tmp", number);
	(void)snprintf(name, sizeof(name), "%08" PRIu32 ".seg", number);
	out = b->sys->openat(b->to.segments_fd, temp,
			     O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (out < 0)
		return out;
	r = write_segment(b, in, out, st);
	sys_close(b->sys, &out);
	if (r == 0)
		r = b->sys->renameat(b->to.segments_fd, temp, b->to.segments_fd,
				     name);
	if (r < 0)
		(void)b->sys->unlinkat(b->to.segments_fd, temp, 0);
	return r;
}

/* Return: 1, 0 it is gone, or an error, which is logged. */
static int copy_segment(struct backup *b, uint32_t number)
{
	char name[NAME_BYTES];
	struct stat st;
	int in;
	int r;

	(void)snprintf(name, sizeof(name), "segments/%08" PRIu32 ".seg",
		       number);
	b->read_failed = true;
	r = segment_file_open(&b->from, number, &in);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return failed(&b->from, name, r);
	r = b->sys->fstat(in, &st);
	if (r == 0 && is_copied(b, number, &st)) {
		b->same++;
		b->bytes_same += (uint64_t)st.st_size;
	} else if (r == 0) {
		b->read_failed = false;
		r = replace_segment(b, in, number, &st);
		b->copied += r == 0;
	}
	sys_close(b->sys, &in);
	return r < 0 ? failed(b->read_failed ? &b->from : &b->to, name, r) : 1;
}

/* Return: 1, 0 something was gone, or an error. */
static int copy_list(struct backup *b, const uint32_t *numbers, size_t count)
{
	bool gone = false;
	size_t i;
	int r;

	b->same = 0;
	b->bytes_same = 0;
	b->unread = 0;
	for (i = 0; i < count; i++) {
		r = copy_segment(b, numbers[i]);
		if (r < 0 && !b->read_failed)
			return r;
		b->unread += r < 0;
		gone = gone || r == 0;
	}
	/* What is removed next may have been moved into these. */
	r = b->sys->fsync(b->to.segments_fd);
	if (r < 0)
		return failed(&b->to, "segments", r);
	return !gone;
}

/* Both lists are in ascending order. */
static int remove_others(struct backup *b, const uint32_t *numbers,
			 size_t count)
{
	uint32_t *have = NULL;
	size_t have_count = 0;
	size_t at = 0;
	size_t i;
	int r;

	r = segment_file_list(&b->to, &have, &have_count);
	for (i = 0; r == 0 && i < have_count; i++) {
		while (at < count && numbers[at] < have[i])
			at++;
		if (at < count && numbers[at] == have[i])
			continue;
		r = segment_file_unlink(&b->to, have[i]);
		b->removed += r == 0;
	}
	free(have);
	return r < 0 ? failed(&b->to, "segments", r) : 0;
}

static int copy_segments(struct backup *b)
{
	uint32_t *numbers = NULL;
	size_t count = 0;
	unsigned int i;
	int r = 0;

	segment_file_tidy(&b->to);
	for (i = 0; i < PASSES_MAX && r == 0; i++) {
		free(numbers);
		numbers = NULL;
		r = segment_file_list(&b->from, &numbers, &count);
		if (r < 0)
			return failed(&b->from, "segments", r);
		r = copy_list(b, numbers, count);
	}
	if (r == 1)
		r = remove_others(b, numbers, count);
	else if (r == 0)
		r = failed(&b->from, "segments", -EBUSY);
	free(numbers);
	return r;
}

/* --- catalogs --- */

/* One file's bytes to @digest, and to @out if it is one. */
static int take_file(struct backup *b, const char *name, int out,
		     struct crypto_digest *digest)
{
	uint64_t at = 0;
	size_t len = COPY_BYTES;
	int fd;
	int r = 0;

	fd = b->sys->openat(b->from.fd, name, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	while (r == 0 && len == COPY_BYTES) {
		r = segment_file_read(&b->from, fd, b->bytes, COPY_BYTES, at,
				      &len);
		if (r == 0)
			r = crypto_digest_add(digest, b->bytes, len);
		if (r == 0 && out >= 0)
			r = write_all(b, out, b->bytes, len, at);
		at += len;
	}
	sys_close(b->sys, &fd);
	return r;
}

static int take_to(struct backup *b, const char *name, const char *to,
		   struct crypto_digest *digest)
{
	int out = -EBADF;
	int r;

	if (to) {
		out = b->sys->openat(b->to.fd, to,
				     O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
				     0600);
		if (out < 0)
			return failed(&b->to, to, out);
	}
	r = take_file(b, name, out, digest);
	sys_close(b->sys, &out);
	return r;
}

/* A database, then its log. @to: where they are copied to, or NULL. */
static int take_both(struct backup *b, const char *name, const char *to,
		     uint8_t ret_digest[CRYPTO_HASH_BYTES])
{
	AUTO(crypto_digest_free)
	struct crypto_digest *digest = crypto_digest_new();
	char log[NAME_BYTES];
	char to_log[NAME_BYTES];
	int r;

	if (!digest)
		return -ENOMEM;
	(void)snprintf(log, sizeof(log), "%s-wal", name);
	(void)snprintf(to_log, sizeof(to_log), "%s-wal", to ? to : "");
	r = take_to(b, name, to, digest);
	/* So that no byte can pass from one to the other. */
	if (r == 0)
		r = crypto_digest_add(digest, "|", 1);
	if (r == 0)
		r = take_to(b, log, to ? to_log : NULL, digest);
	if (r == -ENOENT)
		r = crypto_digest_add(digest, "-", 1); /* one of them */
	return r < 0 ? r : crypto_digest_final(digest, ret_digest);
}

static void remove_temp(struct backup *b, const char *temp)
{
	static const char *const tails[] = {"", "-wal", "-shm", "-journal"};
	char name[NAME_BYTES];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(tails); i++) {
		(void)snprintf(name, sizeof(name), "%s%s", temp, tails[i]);
		(void)b->sys->unlinkat(b->to.fd, name, 0);
	}
}

/*
 * Read twice, one after the other, and the same: then each byte was what it
 * is when the first reading ended, between checkpoints or within one. That
 * is what SQLite recovers from after a kill.
 *
 * Return: 0 (*ret_db is NULL: missing or damaged), or an error.
 */
static int take_catalog(struct backup *b, const char *name, const char *temp,
			struct catalog_db **ret_db)
{
	uint8_t first[CRYPTO_HASH_BYTES];
	uint8_t again[CRYPTO_HASH_BYTES];
	unsigned int i;
	int r;

	for (i = 0; i < TRIES_MAX; i++) {
		remove_temp(b, temp);
		r = take_both(b, name, temp, first);
		if (r == 0)
			r = take_both(b, name, NULL, again);
		if (r < 0)
			return failed(&b->from, name, r);
		if (!memcmp(first, again, sizeof(first)))
			break;
	}
	if (i == TRIES_MAX)
		return failed(&b->from, name, -EBUSY);
	r = catalog_db_open(&b->to, temp, ret_db);
	if (r == -EUCLEAN || r == -ENOENT) {
		log_warn("backup", "%s/%s: missing or damaged", b->from.path,
			 name);
		return 0;
	}
	return r < 0 ? failed(&b->from, name, r) : 0;
}

/* What is replaced may have keys of streams that were deleted since. */
static int put_catalog(struct backup *b, struct catalog_db *from,
		       const char *name)
{
	struct catalog_db *old = NULL;
	int r;

	if (catalog_db_open(&b->to, name, &old) == 0 &&
	    catalog_db_wipe(old) < 0)
		log_warn("backup", "%s/%s: not wiped", b->to.path, name);
	(void)catalog_db_close(old);
	r = catalog_db_copy(&b->to, from, name);
	return r < 0 ? failed(&b->to, name, r) : 0;
}

/* The higher revision is the truth; equal, each is copied for itself. */
static int put_catalogs(struct backup *b, struct catalog_db *first,
			struct catalog_db *copy)
{
	int r;

	if (!first && !copy)
		return failed(&b->from, "catalog.db", -EUCLEAN);
	if (!first ||
	    (copy && catalog_db_revision(copy) > catalog_db_revision(first)))
		first = copy;
	else if (!copy ||
		 catalog_db_revision(copy) < catalog_db_revision(first))
		copy = first;
	b->revision = catalog_db_revision(first);
	/* One after the other, so that one is always whole. */
	r = put_catalog(b, copy, "catalog-copy.db");
	return r < 0 ? r : put_catalog(b, first, "catalog.db");
}

static void drop_temp(struct backup *b, struct catalog_db *db, const char *temp)
{
	if (db && catalog_db_wipe(db) < 0)
		log_warn("backup", "%s/%s: not wiped", b->to.path, temp);
	(void)catalog_db_close(db);
	remove_temp(b, temp);
}

static int copy_catalogs(struct backup *b)
{
	struct catalog_db *first = NULL;
	struct catalog_db *copy = NULL;
	int r;

	r = take_catalog(b, "catalog.db", "backup-1.db", &first);
	if (r == 0)
		r = take_catalog(b, "catalog-copy.db", "backup-2.db", &copy);
	if (r == 0)
		r = put_catalogs(b, first, copy);
	drop_temp(b, first, "backup-1.db");
	drop_temp(b, copy, "backup-2.db");
	return r;
}

/* --- small files --- */

static int copy_small(struct backup *b, int from, const char *from_name, int to,
		      const char *name)
{
	size_t len = 0;
	char *text;
	int r;

	r = sys_read_file(b->sys, from, from_name, SMALL_BYTES_MAX, &text,
			  &len);
	if (r < 0)
		return r;
	r = sys_write_file(b->sys, to, name, text, len, 0600);
	crypto_wipe(text, len);
	free(text);
	return r;
}

/*
 * A start goes on above the rows where it is lost or torn. Numbers that are
 * handed out of the range after this one are not the copy's, either.
 */
static int copy_sequence(struct backup *b)
{
	int r = copy_small(b, b->from.fd, "sequence", b->to.fd, "sequence");

	return r < 0 && r != -ENOENT ? failed(&b->to, "sequence", r) : 0;
}

static int open_top(struct backup *b, const char *path, int *ret_fd)
{
	int fd = b->sys->openat(AT_FDCWD, path,
				O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 0;
}

static int copy_secrets(struct backup *b)
{
	static const char *const names[] = {
		"ca.pem", "ca.key", "server.pem", "server.key", "credentials",
	};
	const char *key = b->o->master_key;
	int from = -EBADF;
	int to = -EBADF;
	size_t i;
	int r;

	r = open_top(b, b->from_top, &from);
	if (r == 0)
		r = open_top(b, b->to_top, &to);
	if (r == 0)
		r = copy_small(b, key[0] ? AT_FDCWD : from,
			       key[0] ? key : "master.key", to, "master.key");
	if (r < 0)
		log_error("backup", "%s: %s", key[0] ? key : "DIR/master.key",
			  strerror(-r));
	for (i = 0; r == 0 && b->quickstart && i < ARRAY_SIZE(names); i++) {
		r = copy_small(b, from, names[i], to, names[i]);
		if (r < 0)
			log_error("backup", "%s/%s: %s", b->to_top, names[i],
				  strerror(-r));
	}
	sys_close(b->sys, &from);
	sys_close(b->sys, &to);
	return r;
}

/* --- where it goes --- */

static int refuse_content(void *ctx, const char *name)
{
	(void)ctx;
	return strcmp(name, "lock") && strcmp(name, "lost+found") &&
			       strcmp(name, MARK ".new")
		       ? -ENOTEMPTY
		       : 0;
}

/* Return: 0 it is the original's, -ENOENT, or an error. */
static int check_id(struct backup *b, const char *name)
{
	char *text;
	size_t len;
	int r;

	r = sys_read_file(b->sys, b->to.fd, name, SMALL_BYTES_MAX, &text, &len);
	if (r < 0)
		return r;
	if (len != b->identity_len || memcmp(text, b->identity, len))
		r = -EMEDIUMTYPE;
	free(text);
	if (r < 0)
		log_error("backup", "%s/%s: of another service", b->to.path,
			  name);
	return r;
}

static int check_to(struct backup *b)
{
	int r;

	if (tool_has_file(b->sys, b->to.path, "index.db")) {
		log_error("backup",
			  "%s: a service has run on it, which may "
			  "have put more into it",
			  b->to.path);
		return -EEXIST;
	}
	r = check_id(b, "identity");
	b->renewed = r == 0;
	if (r != -ENOENT)
		return r;
	r = check_id(b, MARK);
	if (r != -ENOENT)
		return r;
	r = data_dir_list(b->sys, b->to.fd, refuse_content, NULL);
	if (r == -ENOTEMPTY)
		log_error("backup", "%s: neither empty nor a copy", b->to.path);
	return r < 0 ? r
		     : sys_write_file(b->sys, b->to.fd, MARK, b->identity,
				      b->identity_len, 0600);
}

static int lock_to(struct backup *b)
{
	struct stat from = {.st_ino = 0};
	struct stat to = {.st_ino = 0};
	int r;

	r = b->sys->fstat(b->from.fd, &from);
	if (r == 0)
		r = b->sys->fstat(b->to.fd, &to);
	if (r < 0)
		return r;
	if (from.st_dev == to.st_dev && from.st_ino == to.st_ino)
		return -EINVAL;
	b->to.lock_fd = b->sys->openat(b->to.fd, "lock",
				       O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (b->to.lock_fd < 0)
		return b->to.lock_fd;
	r = b->sys->flock(b->to.lock_fd, LOCK_EX | LOCK_NB);
	return r == -EWOULDBLOCK ? -EBUSY : r;
}

static int make_dir(struct backup *b, const char *path)
{
	int r = b->sys->mkdirat(AT_FDCWD, path, 0700);

	return r == -EEXIST ? 0 : r;
}

static int make_segments(struct backup *b)
{
	int r = b->sys->mkdirat(b->to.fd, "segments", 0700);

	if (r < 0 && r != -EEXIST)
		return r;
	b->to.segments_fd = b->sys->openat(
		b->to.fd, "segments", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (b->to.segments_fd < 0)
		return b->to.segments_fd;
	return sys_write_file(b->sys, b->to.segments_fd, "identity",
			      b->identity, b->identity_len, 0600);
}

static int open_to(struct backup *b)
{
	int parent;
	int r;

	r = make_dir(b, b->to_top);
	if (r == 0)
		r = make_dir(b, b->to.path);
	if (r == 0)
		r = open_top(b, b->to.path, &b->to.fd);
	if (r == 0)
		r = lock_to(b);
	if (r == 0)
		r = check_to(b);
	if (r == 0)
		r = make_segments(b);
	if (r < 0)
		return failed(&b->to, "", r);
	parent = b->sys->openat(b->to.fd, "..",
				O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (parent < 0)
		return failed(&b->to, "..", parent);
	r = b->sys->fsync(parent);
	sys_close(b->sys, &parent);
	return r < 0 ? failed(&b->to, "..", r) : 0;
}

/* Who may read the original is to read the copy. */
static int give_to_owner(struct backup *b)
{
	struct stat st;
	int r = b->sys->fstat(b->from.fd, &st);

	if (r < 0 || geteuid() || !st.st_uid)
		return r;
	if (fchown(b->to.fd, st.st_uid, st.st_gid) < 0)
		return -errno;
	return data_dir_give_to_owner(&b->to);
}

static int finish(struct backup *b)
{
	int r = 0;

	if (!b->renewed)
		r = sys_write_file(b->sys, b->to.fd, "identity", b->identity,
				   b->identity_len, 0600);
	if (r < 0)
		return failed(&b->to, "identity", r);
	r = b->sys->unlinkat(b->to.fd, MARK, 0);
	if (r == 0 || r == -ENOENT)
		r = b->sys->fsync(b->to.fd);
	if (r == 0)
		r = give_to_owner(b);
	return r < 0 ? failed(&b->to, "", r) : 0;
}

/* --- all of it --- */

static int copy_all(struct backup *b)
{
	int r = copy_sequence(b);

	if (r == 0)
		r = copy_segments(b);
	if (r == 0)
		r = copy_catalogs(b);
	if (r == 0)
		r = copy_sequence(b);
	if (r == 0 && b->o->with_key)
		r = copy_secrets(b);
	return r < 0 ? r : finish(b);
}

static void report(struct backup *b, uint64_t took_ns)
{
	uint32_t *bad;
	size_t bad_count = 0;

	if (segment_file_list_bad(&b->from, &bad, &bad_count) == 0)
		free(bad);
	(void)printf("%u segments copied, %" PRIu64
		     " bytes; %u unchanged, %" PRIu64 " bytes; %u removed\n",
		     b->copied, b->bytes_copied, b->same, b->bytes_same,
		     b->removed);
	(void)printf("catalog: revision %" PRIu64 "; took %" PRIu64 " ms\n",
		     b->revision, took_ns / (uint64_t)NS_PER_MS);
	if (bad_count)
		(void)printf("%zu segments that are set aside (.bad) are not "
			     "copied\n",
			     bad_count);
	if (b->unread)
		(void)printf("%u segments cannot be read and are not copied\n",
			     b->unread);
	if (!b->o->with_key)
		(void)printf("without the master key: nothing in it can be "
			     "read until the key is beside it\n");
}

static int parse(struct options *o, int argc, char **argv)
{
	int i;
	int r = 0;

	*o = (struct options){.with_key = false};
	for (i = 1; i < argc && r == 0; i++) {
		if (strcmp(argv[i], "--with-key") == 0) {
			o->with_key = true;
		} else if (strcmp(argv[i], "--master-key") == 0) {
			r = tool_set_path(o->master_key,
					  i + 1 < argc ? argv[i + 1] : "");
			i++;
		} else if (argv[i][0] == '-') {
			r = -EINVAL;
		} else if (!o->from[0]) {
			r = tool_set_path(o->from, argv[i]);
		} else if (!o->to[0]) {
			r = tool_set_path(o->to, argv[i]);
		} else {
			r = -EINVAL;
		}
	}
	return r == 0 && o->to[0] ? 0 : -EINVAL;
}

/* Of a --quickstart directory the copy is one, too. */
static int set_paths(struct backup *b)
{
	struct options *o = b->o;
	char unused[TOOL_PATH_CHARS] = "none";
	int n;
	int r;

	(void)snprintf(b->from_top, sizeof(b->from_top), "%s", o->from);
	(void)snprintf(b->to_top, sizeof(b->to_top), "%s", o->to);
	r = tool_find_data(b->sys, o->from, unused);
	if (r < 0)
		return r;
	b->quickstart = strcmp(b->from_top, o->from) != 0;
	n = snprintf(b->to.path, sizeof(b->to.path), "%s%s", o->to,
		     b->quickstart ? "/data" : "");
	return n < 0 || (size_t)n >= sizeof(b->to.path) ? -ENAMETOOLONG : 0;
}

static int run(struct backup *b)
{
	int r = set_paths(b);

	if (r == 0)
		r = data_dir_open_beside(b->sys, b->o->from, &b->from);
	if (r == 0)
		r = sys_read_file(b->sys, b->from.fd, "identity",
				  SMALL_BYTES_MAX, &b->identity,
				  &b->identity_len);
	if (r < 0) {
		log_error("backup", "%s: %s", b->o->from, strerror(-r));
		return r;
	}
	memcpy(b->to.id, b->from.id, sizeof(b->to.id));
	b->bytes = malloc(COPY_BYTES);
	if (!b->bytes)
		return -ENOMEM;
	r = open_to(b);
	return r < 0 ? r : copy_all(b);
}

int backup_main(int argc, char **argv, const struct sys_ops *sys)
{
	static const struct data_dir closed = {
		.fd = -EBADF,
		.segments_fd = -EBADF,
		.lock_fd = -EBADF,
	};
	struct options o;
	struct backup b = {.sys = sys, .o = &o, .from = closed, .to = closed};
	uint64_t began_ns = sys_now_ns(sys, CLOCK_MONOTONIC);
	int r;

	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		(void)fputs(usage, stdout);
		return EXIT_DONE;
	}
	if (parse(&o, argc, argv) < 0) {
		(void)fputs(usage, stderr);
		return EXIT_USAGE;
	}
	b.from.sys = sys;
	b.to.sys = sys;
	r = run(&b);
	if (r == 0)
		report(&b, sys_now_ns(sys, CLOCK_MONOTONIC) - began_ns);
	free(b.identity);
	free(b.bytes);
	data_dir_close(&b.from);
	data_dir_close(&b.to);
	if (r < 0)
		return EXIT_FAILED;
	return b.unread ? EXIT_LEFT : EXIT_DONE;
}
