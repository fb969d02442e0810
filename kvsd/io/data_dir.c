/* SPDX-License-Identifier: Apache-2.0 */
#include "io/data_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

#define IDENTITY_BEFORE "{\"version\":1,\"id\":\""
#define IDENTITY_AFTER "\"}\n"
#define IDENTITY_HEX (2 * DATA_DIR_ID_BYTES)
#define IDENTITY_BYTES \
	(sizeof(IDENTITY_BEFORE) - 1 + IDENTITY_HEX + sizeof(IDENTITY_AFTER) - 1)

static void identity_format(const uint8_t id[DATA_DIR_ID_BYTES],
			    char out[IDENTITY_BYTES + 1])
{
	static const char digits[] = "0123456789abcdef";
	char *p = out + sizeof(IDENTITY_BEFORE) - 1;
	size_t i;

	memcpy(out, IDENTITY_BEFORE, sizeof(IDENTITY_BEFORE) - 1);
	for (i = 0; i < DATA_DIR_ID_BYTES; i++) {
		*p++ = digits[id[i] >> 4];
		*p++ = digits[id[i] & 15];
	}
	memcpy(p, IDENTITY_AFTER, sizeof(IDENTITY_AFTER));
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Only what identity_format() writes is one. */
static int identity_parse(const char *text, size_t len,
			  uint8_t ret_id[DATA_DIR_ID_BYTES])
{
	char again[IDENTITY_BYTES + 1];
	uint8_t id[DATA_DIR_ID_BYTES];
	const char *p = text + sizeof(IDENTITY_BEFORE) - 1;
	size_t i;

	if (len != IDENTITY_BYTES)
		return -EMEDIUMTYPE;
	for (i = 0; i < DATA_DIR_ID_BYTES; i++, p += 2) {
		int high = hex_digit(p[0]);
		int low = hex_digit(p[1]);

		if (high < 0 || low < 0)
			return -EMEDIUMTYPE;
		id[i] = (uint8_t)(high << 4 | low);
	}
	identity_format(id, again);
	if (memcmp(again, text, len))
		return -EMEDIUMTYPE;
	memcpy(ret_id, id, sizeof(id));
	return 0;
}

static int identity_read(const struct sys_ops *sys, int fd,
			 uint8_t ret_id[DATA_DIR_ID_BYTES])
{
	char *text;
	size_t len;
	int r;

	r = sys_read_file(sys, fd, "identity", IDENTITY_BYTES, &text, &len);
	if (r < 0)
		return r == -EFBIG ? -EMEDIUMTYPE : r;
	r = identity_parse(text, len, ret_id);
	free(text);
	return r;
}

static int identity_write(const struct sys_ops *sys, int fd,
			  const uint8_t id[DATA_DIR_ID_BYTES])
{
	char text[IDENTITY_BYTES + 1];

	identity_format(id, text);
	return sys_write_file(sys, fd, "identity", text, IDENTITY_BYTES, 0600);
}

int data_dir_list(const struct sys_ops *sys, int fd,
		  int (*each)(void *ctx, const char *name), void *ctx)
{
	struct dirent *e;
	int own;
	int r = 0;
	DIR *d;

	/* A descriptor of its own: the read position is not shared. */
	own = sys->openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (own < 0)
		return own;
	d = fdopendir(fcntl(own, F_DUPFD_CLOEXEC, 0));
	sys_close(sys, &own);
	if (!d)
		return -ENOMEM;
	for (;;) {
		errno = 0;
		e = readdir(d);
		if (!e) {
			r = -errno;
			break;
		}
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		r = each(ctx, e->d_name);
		if (r < 0)
			break;
	}
	(void)closedir(d);
	return r;
}

/* Why it cannot be opened; the first to say it knows best. */
static int refuse(struct data_dir *d, int err, const char *name,
		  const char *why)
{
	if (!d->refused)
		log_error("data", "%s%s: %s", d->path, name, why);
	d->refused = true;
	return err;
}

/* Left behind by an interrupted creation, or by mkfs. */
static int refuse_content(void *ctx, const char *name)
{
	(void)ctx;
	if (!strcmp(name, "lock") || !strcmp(name, "identity.new") ||
	    !strcmp(name, "lost+found"))
		return 0;
	return -ENOTEMPTY;
}

/* The directory's own entry has to survive, too. */
static int dir_sync_parent(struct data_dir *d)
{
	int fd;
	int r;

	fd = d->sys->openat(d->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC,
			    0);
	if (fd < 0)
		return fd;
	r = d->sys->fsync(fd);
	sys_close(d->sys, &fd);
	return r;
}

static int dir_create_identity(struct data_dir *d, bool create)
{
	int r;

	r = data_dir_list(d->sys, d->fd, refuse_content, NULL);
	if (r == -ENOTEMPTY)
		return refuse(d, -EMEDIUMTYPE, "",
			      "has content but no identity: not a directory of "
			      "kvsd");
	if (r < 0)
		return r;
	if (!create)
		return refuse(d, -ENOENT, "",
			      "empty (a disk that is not mounted?)");
	r = d->sys->getrandom(d->id, sizeof(d->id));
	if (r >= 0)
		r = identity_write(d->sys, d->fd, d->id);
	if (r < 0)
		return r;
	d->created = true;
	return dir_sync_parent(d);
}

/*
 * The folder is made right after the identity and before the catalog, so one
 * that is missing or empty beside a catalog is not a fresh one.
 */
static int dir_segments_are_lost(struct data_dir *d)
{
	int fd;

	fd = d->sys->openat(d->fd, "catalog.db", O_RDONLY | O_CLOEXEC, 0);
	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return fd;
	sys_close(d->sys, &fd);
	return refuse(d, -EMEDIUMTYPE, "/segments",
		      "missing or without identity beside a catalog (a disk "
		      "that is not mounted?)");
}

static int dir_open_segments(struct data_dir *d)
{
	uint8_t id[DATA_DIR_ID_BYTES];
	int fd;
	int r;

	r = d->readonly ? 0 : d->sys->mkdirat(d->fd, "segments", 0700);
	if (r < 0 && r != -EEXIST)
		return r;
	fd = d->sys->openat(d->fd, "segments",
			    O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0)
		return refuse(d, fd, "/segments", strerror(-fd));
	d->segments_fd = fd;
	r = identity_read(d->sys, fd, id);
	if (r == -ENOENT && d->readonly) {
		r = dir_segments_are_lost(d);
		return r < 0 ? r : -ENOENT;
	}
	if (r == -ENOENT) {
		r = dir_segments_are_lost(d);
		if (r == 0)
			r = identity_write(d->sys, fd, d->id);
		return r < 0 ? r : d->sys->fsync(d->fd);
	}
	if (r == 0 && memcmp(id, d->id, sizeof(id)))
		r = -EMEDIUMTYPE;
	if (r == -EMEDIUMTYPE)
		return refuse(d, r, "/segments",
			      "belongs to another directory");
	return r < 0 ? refuse(d, r, "/segments", strerror(-r)) : 0;
}

static int dir_lock(struct data_dir *d)
{
	int r;

	if (d->beside)
		return 0;
	d->lock_fd = d->sys->openat(
		d->fd, "lock", O_RDWR | O_CLOEXEC | (d->readonly ? 0 : O_CREAT),
		0600);
	/* Who has it open made one. */
	if (d->lock_fd == -ENOENT && d->readonly)
		return 0;
	if (d->lock_fd < 0)
		return d->lock_fd;
	r = d->sys->flock(d->lock_fd, LOCK_EX | LOCK_NB);
	if (r == -EWOULDBLOCK)
		return refuse(d, -EBUSY, "", "another kvsd uses it");
	return r;
}

static int dir_open(struct data_dir *d, bool create)
{
	int r;

	if (create) {
		r = d->sys->mkdirat(AT_FDCWD, d->path, 0700);
		if (r < 0 && r != -EEXIST)
			return r;
	}
	d->fd = d->sys->openat(AT_FDCWD, d->path,
			       O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (d->fd < 0)
		return d->fd;
	r = dir_lock(d);
	if (r < 0)
		return r;
	r = identity_read(d->sys, d->fd, d->id);
	if (r == -EMEDIUMTYPE)
		return refuse(d, r, "/identity", "not ours");
	if (r == -ENOENT)
		r = dir_create_identity(d, create);
	return r < 0 ? r : dir_open_segments(d);
}

/* @how: readonly and beside. */
static int open_path(const struct sys_ops *sys, const char *path, bool create,
		     const struct data_dir *how, struct data_dir *ret_dir)
{
	struct data_dir d = *how;
	int r;

	d.sys = sys;
	d.fd = -EBADF;
	d.segments_fd = -EBADF;
	d.lock_fd = -EBADF;
	r = snprintf(d.path, sizeof(d.path), "%s", path);
	if (r < 0 || (size_t)r >= sizeof(d.path))
		return refuse(&d, -ENAMETOOLONG, "", strerror(ENAMETOOLONG));
	r = dir_open(&d, create);
	if (r < 0) {
		data_dir_close(&d);
		return refuse(&d, r, "", strerror(-r));
	}
	*ret_dir = d;
	return 0;
}

int data_dir_open(const struct sys_ops *sys, const char *path, bool create,
		  struct data_dir *ret_dir)
{
	static const struct data_dir how;

	return open_path(sys, path, create, &how, ret_dir);
}

int data_dir_open_readonly(const struct sys_ops *sys, const char *path,
			   struct data_dir *ret_dir)
{
	static const struct data_dir how = {.readonly = true};

	return open_path(sys, path, false, &how, ret_dir);
}

int data_dir_open_beside(const struct sys_ops *sys, const char *path,
			 struct data_dir *ret_dir)
{
	static const struct data_dir how = {.readonly = true, .beside = true};

	return open_path(sys, path, false, &how, ret_dir);
}

struct gift {
	int fd;
	struct stat owner;
	int err;
};

static int give(void *ctx, const char *name)
{
	struct gift *g = ctx;
	struct stat st;

	if (fstatat(g->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_uid ||
	    (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
		return 0;
	if (fchownat(g->fd, name, g->owner.st_uid, g->owner.st_gid,
		     AT_SYMLINK_NOFOLLOW) < 0 &&
	    !g->err)
		g->err = -errno;
	return 0;
}

int data_dir_give_to_owner(const struct data_dir *d)
{
	struct gift g = {.fd = d->fd};
	int r;

	r = d->sys->fstat(d->fd, &g.owner);
	if (r < 0 || geteuid() || !g.owner.st_uid)
		return r;
	r = data_dir_list(d->sys, d->fd, give, &g);
	g.fd = d->segments_fd;
	if (r == 0)
		r = data_dir_list(d->sys, d->segments_fd, give, &g);
	return r < 0 ? r : g.err;
}

void data_dir_close(struct data_dir *d)
{
	sys_close(d->sys, &d->segments_fd);
	sys_close(d->sys, &d->lock_fd);
	sys_close(d->sys, &d->fd);
}

int data_dir_path(const struct data_dir *d, const char *name,
		  char out[DATA_DIR_PATH_BYTES])
{
	int r = snprintf(out, DATA_DIR_PATH_BYTES, "%s/%s", d->path, name);

	return r < 0 || r >= (int)DATA_DIR_PATH_BYTES ? -ENAMETOOLONG : 0;
}
