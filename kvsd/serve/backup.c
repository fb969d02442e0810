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
#include "io/crypto.h"
#include "io/data_dir.h"
#include "io/segment_file.h"
#include "serve/backup_int.h"

#define MARK "backup.incomplete" /* the id of what is being copied here */
#define SMALL_BYTES_MAX 65536u

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
	"the key elsewhere. With it, who has the copy can read all of it, save "
	"what\n"
	"is sealed with a customer's key (kms_keys): those are never copied, "
	"and the\n"
	"output names the ones to keep.\n"
	"To restore, start kvsd on DEST; never beside the original, for the "
	"same\n"
	"clients.\n"
	"\n"
	"Exit status: 0 all is copied, 4 all but segments that cannot be read,"
	"\n"
	"1 the copy is not made.\n";

int backup_failed(const struct data_dir *d, const char *name, int err)
{
	log_error("backup", "%s/%s: %s", d->path, name, strerror(-err));
	return err;
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

	return r < 0 && r != -ENOENT ? backup_failed(&b->to, "sequence", r) : 0;
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
		return backup_failed(&b->to, "", r);
	parent = b->sys->openat(b->to.fd, "..",
				O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (parent < 0)
		return backup_failed(&b->to, "..", parent);
	r = b->sys->fsync(parent);
	sys_close(b->sys, &parent);
	return r < 0 ? backup_failed(&b->to, "..", r) : 0;
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
		return backup_failed(&b->to, "identity", r);
	r = b->sys->unlinkat(b->to.fd, MARK, 0);
	if (r == 0 || r == -ENOENT)
		r = b->sys->fsync(b->to.fd);
	if (r == 0)
		r = give_to_owner(b);
	return r < 0 ? backup_failed(&b->to, "", r) : 0;
}

/* --- all of it --- */

static int copy_all(struct backup *b)
{
	int r = copy_sequence(b);

	if (r == 0)
		r = backup_segments(b);
	if (r == 0)
		r = backup_catalogs(b);
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
	if (b->sealed)
		(void)printf("%u streams are sealed with customer keys, which "
			     "are not copied; keep these:\n%s%s",
			     b->sealed, b->key_names,
			     b->more_keys ? "  and others\n" : "");
	if (!b->o->with_key)
		(void)printf("without the master key: nothing in it can be "
			     "read until the key is beside it\n");
}

static int parse(struct backup_options *o, int argc, char **argv)
{
	int i;
	int r = 0;

	*o = (struct backup_options){.with_key = false};
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
	struct backup_options *o = b->o;
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

	if (r == 0) {
		r = data_dir_open_beside(b->sys, b->o->from, &b->from);
		if (r < 0)
			return r; /* logged */
	}
	if (r == 0)
		r = sys_read_file(b->sys, b->from.fd, "identity",
				  SMALL_BYTES_MAX, &b->identity,
				  &b->identity_len);
	if (r < 0) {
		log_error("backup", "%s: %s", b->o->from, strerror(-r));
		return r;
	}
	memcpy(b->to.id, b->from.id, sizeof(b->to.id));
	b->bytes = malloc(BACKUP_COPY_BYTES);
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
	struct backup_options o;
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
