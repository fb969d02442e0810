/* SPDX-License-Identifier: Apache-2.0 */
#include "support/store_rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/limits.h"
#include "io/db_sqlite.h"
#include "support/scratch.h"

struct waiting_op {
	struct store_op op;
	bool done;
	int res;
};

static void op_done(struct store_op *op, int res)
{
	struct waiting_op *w = container_of(op, struct waiting_op, op);

	w->done = true;
	w->res = res;
}

static int wait_op(struct store_rig *rig, struct waiting_op *w)
{
	if (loop_fake_until(rig->loop, &w->done) < 0)
		abort();
	return w->res;
}

void rig_init(struct store_rig *rig, const struct loop_fake_config *loop)
{
	memset(rig, 0, sizeof(*rig));
	if (!scratch_dir(rig->path, sizeof(rig->path), "kvsd-store"))
		abort();
	rig->sys = loop->sys ? loop->sys : sys_posix();
	rig->loop = loop_fake_new(loop);
	rig->config.segment_bytes = SEGMENT_BYTES_MIN;
	rig->config.no_thread = !loop->threads;
}

int rig_open(struct store_rig *rig)
{
	int r;

	r = data_dir_open(rig->sys, rig->path, true, &rig->dir);
	if (r < 0)
		return r;
	rig->config.sys = rig->sys;
	rig->config.dir = &rig->dir;
	r = store_local_open(&rig->config, &rig->local);
	if (r == 0) {
		r = store_local_attach(rig->local, rig->loop, &rig->store);
		if (r < 0)
			rig->local = store_local_close(rig->local);
	}
	if (r < 0) {
		data_dir_close(&rig->dir);
		return r;
	}
	rig->opened = true;
	return 0;
}

void rig_close(struct store_rig *rig)
{
	if (!rig->opened)
		return;
	rig->store = store_local_detach(rig->store);
	rig->local = store_local_close(rig->local);
	data_dir_close(&rig->dir);
	rig->opened = false;
}

void rig_remove(const char *path)
{
	struct dirent *e;
	DIR *d = opendir(path);

	while (d && (e = readdir(d))) {
		char name[512];

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		(void)snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
		if (unlink(name) < 0)
			rig_remove(name);
	}
	if (d)
		(void)closedir(d);
	(void)rmdir(path);
}

void rig_unlink(const struct store_rig *rig, const char *name)
{
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/%s", rig->path, name);
	if (unlink(path) < 0)
		abort();
}

void rig_flip(const struct store_rig *rig, uint32_t segment, off_t offset)
{
	char path[128];
	uint8_t b;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/segments/%08u.seg", rig->path,
		       segment);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || pread(fd, &b, 1, offset) != 1)
		abort();
	b ^= 1;
	if (pwrite(fd, &b, 1, offset) != 1)
		abort();
	(void)close(fd);
}

void rig_fini(struct store_rig *rig)
{
	rig_close(rig);
	rig->loop = loop_free(rig->loop);
	rig_remove(rig->path);
}

struct store_stream rig_stream(unsigned int n)
{
	struct store_stream s;

	memset(s.id, (int)(n + 1), sizeof(s.id));
	memset(s.key, (int)(n + 101), sizeof(s.key));
	return s;
}

int rig_find_key(void *ctx, const uint8_t id[STREAM_ID_BYTES],
		 uint8_t ret_key[DATA_KEY_BYTES])
{
	struct store_stream s = rig_stream(id[0] - 1u);

	(void)ctx;
	memcpy(ret_key, s.key, sizeof(s.key));
	return 0;
}

uint8_t rig_byte(uint64_t seq, uint64_t i)
{
	return (uint8_t)(seq * 31 + i * 7 + (i >> 8) + (i >> 16) * 3);
}

static void fill(uint8_t *p, uint64_t seq, size_t from, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = rig_byte(seq, from + i);
}

struct rig_waiter {
	struct store_waiter waiter;
	bool woken;
};

static void woken(struct store_waiter *w)
{
	container_of(w, struct rig_waiter, waiter)->woken = true;
}

static void wait_for_room(struct store_rig *rig)
{
	struct rig_waiter w = { .waiter.writable = woken };

	list_init(&w.waiter.link);
	store_wait(rig->store, &w.waiter);
	if (loop_fake_until(rig->loop, &w.woken) < 0)
		abort();
}

int rig_add(struct store_rig *rig, struct store_writer *w, uint64_t seq,
	    size_t from, size_t len, size_t piece)
{
	uint8_t *bytes = malloc(piece);
	int r = 0;

	if (!bytes)
		abort();
	while (len) {
		size_t n = MIN(len, piece);

		fill(bytes, seq, from, n);
		r = store_writer_add(w, rig->store, bytes, n);
		if (r == -EAGAIN) {
			wait_for_room(rig);
			continue;
		}
		if (r < 0)
			break;
		from += (size_t)r;
		len -= (size_t)r;
	}
	free(bytes);
	return r < 0 ? r : 0;
}

struct store_fragment rig_meta(uint64_t seq, size_t bytes, uint64_t ms)
{
	struct store_fragment f = {
		.producer_ms = ms,
		.server_ms = ms,
		.duration_ms = 2000,
	};

	(void)seq;
	f.header_bytes = (uint32_t)(bytes / 5);
	f.frames_bytes = (uint32_t)(bytes / 10);
	f.media_bytes = (uint32_t)bytes - f.header_bytes - f.frames_bytes;
	return f;
}

int rig_commit(struct store_rig *rig, struct store_writer *w,
	       const struct store_fragment *meta)
{
	struct waiting_op op = { .op.done = op_done };

	store_writer_commit(rig->store, w, meta, &op.op);
	return wait_op(rig, &op);
}

int rig_put(struct store_rig *rig, unsigned int stream, uint64_t seq,
	    size_t bytes, size_t piece, uint64_t ms)
{
	struct store_stream s = rig_stream(stream);
	struct fragment_number number = {
		.seq = seq,
		.server_ms = ms,
		.random = (uint32_t)(seq * 2654435761u) >> 4,
	};
	struct store_fragment meta = rig_meta(seq, bytes, ms);
	struct store_writer *w;
	int r;

	r = store_writer_open(rig->store, &s, &number, &w);
	if (r < 0)
		return r;
	r = rig_add(rig, w, seq, 0, bytes, piece);
	if (r < 0) {
		store_writer_abort(rig->store, w);
		return r;
	}
	return rig_commit(rig, w, &meta);
}

int rig_check(struct store_rig *rig, unsigned int stream,
	      const struct store_fragment *f, uint64_t offset, size_t len)
{
	struct store_stream s = rig_stream(stream);
	struct waiting_op op = { .op.done = op_done };
	uint8_t *bytes = malloc(len + 1);
	size_t i;
	int r;

	if (!bytes)
		abort();
	memset(bytes, 0xee, len + 1);
	store_read(rig->store, &s, f, offset, bytes, len, &op.op);
	r = wait_op(rig, &op);
	for (i = 0; r >= 0 && i < (size_t)r; i++)
		if (bytes[i] != rig_byte(f->number.seq, offset + i))
			r = -EILSEQ;
	if (bytes[len] != 0xee)
		abort(); /* wrote past the end */
	free(bytes);
	return r;
}

int rig_check_all(struct store_rig *rig, unsigned int stream,
		  const struct store_fragment *f)
{
	size_t total = (size_t)f->header_bytes + f->media_bytes +
		       f->frames_bytes;
	int r = rig_check(rig, stream, f, 0, total);

	if (r < 0)
		return r;
	return (size_t)r == total ? 0 : -EILSEQ;
}

int rig_list(struct store_rig *rig, const struct store_query *q,
	     struct store_fragment *rows)
{
	struct waiting_op op = { .op.done = op_done };

	store_list(rig->store, q, rows, &op.op);
	return wait_op(rig, &op);
}

int rig_list_all(struct store_rig *rig, unsigned int stream,
		 struct store_fragment *rows, unsigned int max)
{
	struct store_stream s = rig_stream(stream);
	struct store_query q = { .to_ms = UINT64_MAX };
	unsigned int count = 0;
	int r;

	memcpy(q.stream_id, s.id, sizeof(s.id));
	do {
		q.limit = MIN(max - count, LIST_RESULTS_MAX);
		q.after = count ? &rows[count - 1] : NULL;
		r = q.limit ? rig_list(rig, &q, rows + count) : 0;
		if (r < 0)
			return r;
		count += (unsigned int)r;
	} while (r);
	return (int)count;
}

int rig_remove_stream(struct store_rig *rig, unsigned int stream)
{
	struct store_stream s = rig_stream(stream);
	struct waiting_op op = { .op.done = op_done };

	store_remove_stream(rig->store, s.id, &op.op);
	return wait_op(rig, &op);
}

int rig_trim(struct store_rig *rig, unsigned int stream, uint64_t bytes_max)
{
	struct store_stream s = rig_stream(stream);
	struct waiting_op op = {.op.done = op_done};

	store_local_trim(rig->store, s.id, bytes_max, &op.op);
	return wait_op(rig, &op);
}

int rig_expire(struct store_rig *rig, unsigned int stream, uint64_t before_ms)
{
	struct store_stream s = rig_stream(stream);
	struct waiting_op op = { .op.done = op_done };

	store_local_expire(rig->store, s.id, before_ms, &op.op);
	return wait_op(rig, &op);
}

unsigned int rig_segments(const struct store_rig *rig)
{
	unsigned int count = 0;
	char path[96];
	struct dirent *e;
	DIR *d;

	(void)snprintf(path, sizeof(path), "%s/segments", rig->path);
	d = opendir(path);
	while (d && (e = readdir(d)))
		count += strstr(e->d_name, ".seg") != NULL;
	if (d)
		(void)closedir(d);
	return count;
}

int rig_sql(const struct store_rig *rig, const char *text)
{
	char path[128];
	struct db *db;
	int r;

	(void)snprintf(path, sizeof(path), "%s/index.db", rig->path);
	r = db_open(path, DB_INDEX, false, &db);
	if (r < 0)
		return r;
	r = db_exec(db, text);
	return db_close(db) ? -EBUSY : r;
}
