/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service's directory: who it is and that nobody else uses it.
 *
 *	DIR/lock		flock: one process per directory
 *	DIR/identity		{"version":1,"id":"<32 hex digits>"}
 *	DIR/segments/identity	the same id: a segments folder that is another
 *				disk, or a mount point without its disk, is seen
 *
 * The catalog, the index and each segment carry the same id (invariant 5).
 */
#ifndef IO_DATA_DIR_H
#define IO_DATA_DIR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/sys.h"

#define DATA_DIR_ID_BYTES 16u
#define DATA_DIR_PATH_BYTES 4096u

struct data_dir {
	const struct sys_ops *sys;
	char path[DATA_DIR_PATH_BYTES];
	uint8_t id[DATA_DIR_ID_BYTES];
	int fd;
	int segments_fd;
	int lock_fd;
	bool readonly;	/* nothing in it is changed, the catalog neither */
	bool beside;	/* readonly, and somebody else may have its lock */
	bool refused;	/* why it cannot be opened was logged */
	bool created;	/* by this call of data_dir_open() */
};

/**
 * data_dir_open() - lock a directory and learn its id
 * @sys: borrowed, must outlive the directory
 * @create: make the directory, or turn an empty one into ours
 * @ret_dir: caller's memory; data_dir_close() it on success
 *
 * Blocks on the disk. Errors are logged with their reason.
 * Return: 0; -ENOENT (not there, or empty and not @create); -EBUSY (another
 * process has it); -EMEDIUMTYPE (foreign: not a directory of ours, or its
 * segments folder is another one's); -ENAMETOOLONG; or of a system call.
 */
int data_dir_open(const struct sys_ops *sys, const char *path, bool create,
		  struct data_dir *ret_dir) MUST_CHECK;
/*
 * As above for one that is there: nothing is made or changed, now and by
 * whom it is given to. Its lock is taken if it has one.
 */
int data_dir_open_readonly(const struct sys_ops *sys, const char *path,
			   struct data_dir *ret_dir) MUST_CHECK;
/*
 * As above without its lock: another process may use and change it all the
 * time. No database of it must be opened: for who copies its files.
 */
int data_dir_open_beside(const struct sys_ops *sys, const char *path,
			 struct data_dir *ret_dir) MUST_CHECK;
/*
 * What root made in it, and in its segments, gets the directory's owner: who
 * that is could not use it otherwise. Return: 0, or the first errno.
 */
int data_dir_give_to_owner(const struct data_dir *d) MUST_CHECK;
/* Gives the lock back. */
void data_dir_close(struct data_dir *d);

/* DIR/NAME. Return: 0, -ENAMETOOLONG. */
int data_dir_path(const struct data_dir *d, const char *name,
		  char out[DATA_DIR_PATH_BYTES]) MUST_CHECK;

/**
 * data_dir_list() - walk the names of a directory
 * @each: ends the walk with a negative value, which is returned
 *
 * In no order; "." and ".." are left out. Return: 0, or an errno.
 */
int data_dir_list(const struct sys_ops *sys, int fd,
		  int (*each)(void *ctx, const char *name),
		  void *ctx) MUST_CHECK;

#endif
