/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads. The commit record says where a fragment's pages are; it is read,
 * verified and kept for the next read of the same fragment. Pages are all of
 * one size but the last, so an offset names its page. Each slot of a read
 * has one page in flight; plaintext goes to the caller only after CRC, header
 * and tag of its page were verified (invariant 8).
 */
#include "io/store_local_int.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "io/segment_file.h"
#include "io/segment_seal.h"

/* A segment opened for reading. */
struct read_file {
	struct list_node link;
	uint32_t number;
	unsigned int refs;
	uint8_t generation[SEGMENT_ID_BYTES];
	int fd;
};

/* Where a fragment's pages are. */
struct page_map {
	struct list_node link;
	uint32_t segment;	/* of the commit record */
	uint32_t block;
	unsigned int refs;
	uint8_t stream_id[STREAM_ID_BYTES];
	struct fragment_number number;
	uint64_t total;
	uint32_t page_count;
	struct segment_place places[];
};

struct read_job;

struct read_slot {
	struct loop_op op;
	struct read_job *job;
	struct read_file *file;
	uint8_t *buf;
	uint32_t page;
	uint32_t bytes;		/* of the record, on disk */
};

struct read_job {
	struct list_node link;	/* while it waits for its turn */
	struct store_instance *in;
	struct store_op *op;
	struct store_fragment f;
	struct cached_key *key;
	struct page_map *map;
	uint8_t *out;
	uint64_t offset;
	size_t len;
	uint64_t next_page;
	uint64_t end_page;
	unsigned int busy;	/* slots in flight */
	bool starting;
	int err;
	unsigned int tries;
	/* Where it was moved to: found by the worker. */
	struct worker_job find;
	struct loop_task found;
	struct index_row row;
	int find_res;
	struct read_slot slots[STORE_READ_PAGES];
};

/* --- files --- */

static void file_close(struct store_instance *in, struct read_file *f)
{
	list_del(&f->link);
	in->file_idle--;
	sys_close(in->sl->sys, &f->fd);
	free(f);
}

static void file_put(struct store_instance *in, struct read_file *f)
{
	struct list_node *n;

	if (!f || --f->refs)
		return;
	in->file_idle++;
	for (n = in->files.prev;
	     in->file_idle > STORE_FILES_IDLE_MAX && n != &in->files;) {
		struct read_file *old = list_entry(n, struct read_file, link);

		n = n->prev;
		if (!old->refs)
			file_close(in, old);
	}
}

static int file_open(struct store_instance *in, uint32_t number,
		     struct read_file **ret_file)
{
	struct read_file *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	r = segment_table_generation(&in->sl->table, number, f->generation);
	if (r == 0)
		r = segment_file_open(in->sl->dir, number, &f->fd);
	if (r < 0) {
		free(f);
		return r;
	}
	f->number = number;
	f->refs = 1;
	list_add_head(&in->files, &f->link);
	*ret_file = f;
	return 0;
}

static int file_get(struct store_instance *in, uint32_t number,
		    struct read_file **ret_file)
{
	struct list_node *n;

	for (n = in->files.next; n != &in->files; n = n->next) {
		struct read_file *f = list_entry(n, struct read_file, link);

		if (f->number != number)
			continue;
		if (!f->refs++)
			in->file_idle--;
		list_del(&f->link);
		list_add_head(&in->files, &f->link);
		*ret_file = f;
		return 0;
	}
	return file_open(in, number, ret_file);
}

/* An open descriptor would keep an unlinked segment's space. */
static void purge_run(struct loop_task *task)
{
	struct store_instance *in =
		container_of(task, struct store_instance, purge);
	uint8_t generation[SEGMENT_ID_BYTES];
	struct list_node *n;
	struct list_node *tmp;

	atomic_store(&in->purging, false);
	list_for_each_safe(n, tmp, &in->files) {
		struct read_file *f = list_entry(n, struct read_file, link);

		if (!f->refs &&
		    segment_table_generation(&in->sl->table, f->number,
					     generation) < 0)
			file_close(in, f);
	}
}

void read_purge_post(struct store_instance *in)
{
	if (atomic_exchange(&in->purging, true))
		return;
	in->purge.run = purge_run;
	loop_post(in->loop, &in->purge);
}

/* --- page maps --- */

static void map_free(struct store_instance *in, struct page_map *m)
{
	list_del(&m->link);
	in->map_idle--;
	free(m);
}

static void map_put(struct store_instance *in, struct page_map *m)
{
	struct list_node *n;

	if (!m || --m->refs)
		return;
	in->map_idle++;
	for (n = in->maps.prev;
	     in->map_idle > STORE_MAPS_IDLE_MAX && n != &in->maps;) {
		struct page_map *old = list_entry(n, struct page_map, link);

		n = n->prev;
		if (!old->refs)
			map_free(in, old);
	}
}

/* A map of the same place is of the same fragment: numbers are not reused. */
static struct page_map *map_get(struct store_instance *in,
				const struct store_fragment *f)
{
	struct list_node *n;

	for (n = in->maps.next; n != &in->maps; n = n->next) {
		struct page_map *m = list_entry(n, struct page_map, link);

		if (m->segment != f->segment || m->block != f->page)
			continue;
		if (memcmp(m->stream_id, f->stream_id, STREAM_ID_BYTES) ||
		    fragment_number_compare(&m->number, &f->number))
			return NULL;
		if (!m->refs++)
			in->map_idle--;
		list_del(&m->link);
		list_add_head(&in->maps, &m->link);
		return m;
	}
	return NULL;
}

static uint64_t fragment_bytes(const struct store_fragment *f)
{
	return (uint64_t)f->header_bytes + f->media_bytes + f->frames_bytes;
}

static int map_parse(struct read_job *j, uint8_t *record, size_t len,
		     const struct read_file *file, struct page_map **ret_map)
{
	const uint8_t *payload = record + SEGMENT_HEADER_BYTES;
	struct segment_record r;
	struct segment_commit c;
	struct page_map *m;
	uint32_t i;
	int err;

	if (segment_record_parse(record, len, &r) < 0 ||
	    r.kind != SEGMENT_COMMIT || r.block != j->f.page ||
	    memcmp(r.generation, file->generation, SEGMENT_ID_BYTES) ||
	    memcmp(r.stream_id, j->f.stream_id, STREAM_ID_BYTES) ||
	    fragment_number_compare(&r.number, &j->f.number) ||
	    segment_commit_parse(payload, r.payload_bytes, &c) < 0 ||
	    segment_commit_total(&c) != fragment_bytes(&j->f))
		return -EBADMSG;
	err = segment_check_commit(j->key->aead, record, &r);
	if (err < 0)
		return err;
	m = malloc(sizeof(*m) + c.page_count * sizeof(m->places[0]));
	if (!m)
		return -ENOMEM;
	m->segment = j->f.segment;
	m->block = j->f.page;
	m->refs = 1;
	memcpy(m->stream_id, j->f.stream_id, STREAM_ID_BYTES);
	m->number = j->f.number;
	m->total = segment_commit_total(&c);
	m->page_count = c.page_count;
	for (i = 0; i < c.page_count; i++)
		m->places[i] = segment_commit_place(payload, i);
	*ret_map = m;
	return 0;
}

/* --- jobs --- */

static void start_waiting(struct store_instance *in);

static uint8_t *buf_get(struct store_instance *in)
{
	if (in->read_buffer_count)
		return in->read_buffers[--in->read_buffer_count];
	return malloc(SEGMENT_RECORD_BYTES_MAX);
}

static void buf_put(struct store_instance *in, uint8_t *buf)
{
	if (buf && in->read_buffer_count < ARRAY_SIZE(in->read_buffers))
		in->read_buffers[in->read_buffer_count++] = buf;
	else
		free(buf);
}

/* --- what was moved --- */

static void job_done(struct read_job *j);
static void job_begin(struct read_job *j);

static void find_run(struct worker_job *job)
{
	struct read_job *j = container_of(job, struct read_job, find);
	struct store_local *sl = j->in->sl;

	j->find_res = changes_wait(sl)
			      ? -EIO
			      : index_find(sl->index, j->f.stream_id,
					   j->f.number.seq, &j->row);
	index_failed(sl, j->find_res);
	loop_post(j->in->loop, &j->found);
}

static void found_run(struct loop_task *task)
{
	struct read_job *j = container_of(task, struct read_job, found);
	const struct store_fragment *f = &j->row.f;

	if (j->find_res == 1 && fragment_bytes(f) == fragment_bytes(&j->f) &&
	    (f->segment != j->f.segment || f->page != j->f.page)) {
		map_put(j->in, TAKE_PTR(j->map));
		j->f = *f;
		j->err = 0;
		j->next_page = j->offset / SEGMENT_PAYLOAD_BYTES_MAX;
		job_begin(j);
		if (j->busy)
			return;
	}
	job_done(j);
}

/*
 * Compaction moves fragments: where the place that the row said has nothing
 * to read, the index knows the place of now. Return: whether it is asked.
 */
static bool ask_again(struct read_job *j)
{
	if ((j->err != -ENOENT && j->err != -EBADMSG && j->err != -EIO) ||
	    ++j->tries > READ_MOVES_MAX || !j->in->sl->compactor)
		return false;
	j->find.run = find_run;
	j->found.run = found_run;
	worker_submit(j->in->sl->worker, &j->find);
	return true;
}

/* In a callback of the loop. */
static void job_end(struct read_job *j)
{
	if (!j->err || !ask_again(j))
		job_done(j);
}

static void job_done(struct read_job *j)
{
	struct store_instance *in = j->in;
	struct store_op *op = j->op;
	int res = j->err ? j->err : (int)j->len;
	size_t i;

	for (i = 0; i < STORE_READ_PAGES; i++)
		buf_put(in, j->slots[i].buf);
	map_put(in, j->map);
	key_cache_put(&in->keys, j->key);
	if (res >= 0)
		count(&in->sl->counters.bytes_read, (uint64_t)res);
	if (res == -EBADMSG) {
		count(&in->sl->counters.reads_bad, 1);
		log_error("store", "segment %u, block %u: a fragment does "
				   "not verify", j->f.segment, j->f.page);
	}
	free(j);
	in->reads--;
	op_end(in);
	start_waiting(in);
	op->done(op, res);
}

static void slot_read(struct read_job *j, struct read_slot *s,
		      struct segment_place place, uint32_t payload_bytes,
		      loop_done_fn *done)
{
	int err = 0;

	if (!s->buf)
		s->buf = buf_get(j->in);
	if (!s->buf)
		err = -ENOMEM;
	if (err == 0)
		err = file_get(j->in, place.segment, &s->file);
	if (err < 0) {
		j->err = err == -ENOMEM || err == -ENOENT ? err : -EIO;
		return;
	}
	s->bytes = SEGMENT_HEADER_BYTES + payload_bytes;
	j->busy++;
	loop_pread(j->in->loop, &s->op, s->file->fd, s->buf, s->bytes,
		   (uint64_t)place.block * SEGMENT_BLOCK_BYTES, done);
}

/* Takes the slot's page to the caller's memory. */
static int slot_take(struct read_job *j, struct read_slot *s)
{
	uint64_t begin = (uint64_t)s->page * SEGMENT_PAYLOAD_BYTES_MAX;
	uint8_t *plain = s->buf + SEGMENT_HEADER_BYTES;
	struct segment_record r;
	uint64_t from;
	uint64_t to;
	bool whole;
	int err;

	if (segment_record_parse(s->buf, s->bytes, &r) < 0 ||
	    r.kind != SEGMENT_PAGE || r.page != s->page ||
	    r.block != j->map->places[s->page].block ||
	    r.payload_bytes != segment_page_bytes(j->map->total, s->page) ||
	    r.last != (s->page + 1 == j->map->page_count) ||
	    memcmp(r.generation, s->file->generation, SEGMENT_ID_BYTES) ||
	    memcmp(r.stream_id, j->f.stream_id, STREAM_ID_BYTES) ||
	    fragment_number_compare(&r.number, &j->f.number))
		return -EBADMSG;
	from = MAX(j->offset, begin);
	to = MIN(j->offset + j->len, begin + r.payload_bytes);
	whole = from == begin && to == begin + r.payload_bytes;
	if (whole)
		plain = j->out + (begin - j->offset);
	err = segment_open_page(j->key->aead, s->buf, &r, plain);
	if (err == 0 && !whole)
		memcpy(j->out + (from - j->offset), plain + (from - begin),
		       (size_t)(to - from));
	return err;
}

static void job_run(struct read_job *j);

/*
 * The file of a segment that nothing needs any more may be zeroed while it is
 * open here, and become another's (store_local_spare.c): what was in it is
 * gone, not damaged.
 */
static int judge(const struct read_slot *s, int err)
{
	struct segment_table *t = &s->job->in->sl->table;
	uint8_t generation[SEGMENT_ID_BYTES];

	if (err == -EBADMSG &&
	    segment_table_generation(t, s->file->number, generation) < 0)
		return -ENOENT;
	if (err == -EBADMSG || err == -EIO)
		segment_table_set_failed(t, s->file->number);
	return err;
}

static int slot_result(const struct read_slot *s, int res)
{
	if (res < 0)
		return res == -ENOMEM ? res : -EIO;
	/* Short: the file ends before the record does. */
	return (uint32_t)res == s->bytes ? 0 : -EBADMSG;
}

static void page_done(struct loop_op *op, int res)
{
	struct read_slot *s = container_of(op, struct read_slot, op);
	struct read_job *j = s->job;
	int err = slot_result(s, res);

	if (err == 0 && !j->err)
		err = slot_take(j, s);
	err = judge(s, err);
	file_put(j->in, TAKE_PTR(s->file));
	if (!j->err)
		j->err = err;
	j->busy--;
	job_run(j);
}

/* Keeps the slots busy until the range is read; then ends the job. */
static void job_run(struct read_job *j)
{
	size_t i;

	for (i = 0; i < STORE_READ_PAGES; i++) {
		struct read_slot *s = &j->slots[i];

		if (j->err || j->next_page == j->end_page)
			break;
		if (s->file)
			continue;
		s->page = (uint32_t)j->next_page++;
		slot_read(j, s, j->map->places[s->page],
			  segment_page_bytes(j->map->total, s->page),
			  page_done);
	}
	if (!j->busy && !j->starting)
		job_end(j);
}

static void map_done(struct loop_op *op, int res)
{
	struct read_slot *s = container_of(op, struct read_slot, op);
	struct read_job *j = s->job;
	int err = slot_result(s, res);

	if (err == 0)
		err = map_parse(j, s->buf, s->bytes, s->file, &j->map);
	err = judge(s, err);
	file_put(j->in, TAKE_PTR(s->file));
	j->busy--;
	if (err == 0)
		list_add_head(&j->in->maps, &j->map->link);
	j->err = err;
	job_run(j);
}

static void failed_at_once(struct loop_task *task)
{
	struct store_op *op = container_of(task, struct store_op, task);

	job_end(op->priv);
}

/* Ends no job itself: it may have failed, and is not busy then. */
static void job_begin(struct read_job *j)
{
	uint64_t pages = segment_page_count(fragment_bytes(&j->f));
	struct segment_place place = { j->f.segment, j->f.page };

	j->starting = true;
	j->map = map_get(j->in, &j->f);
	if (j->map)
		job_run(j);
	else
		slot_read(j, &j->slots[0], place,
			  segment_commit_bytes((uint32_t)pages), map_done);
	j->starting = false;
}

/* May be inside the caller's store_read(). */
static void job_start(struct read_job *j)
{
	j->in->reads++;
	job_begin(j);
	if (j->busy)
		return;
	j->op->priv = j;
	j->op->task.run = failed_at_once;
	loop_post(j->in->loop, &j->op->task);
}

static void start_waiting(struct store_instance *in)
{
	while (in->reads < STORE_READS_MAX &&
	       !list_empty(&in->reads_waiting)) {
		struct list_node *n = list_pop(&in->reads_waiting);

		job_start(list_entry(n, struct read_job, link));
	}
}

void local_read(struct store *s, const struct store_stream *stream,
		const struct store_fragment *f, uint64_t offset, void *bytes,
		size_t len, struct store_op *op)
{
	struct store_instance *in = instance_of(s);
	uint64_t total = fragment_bytes(f);
	struct read_job *j;
	size_t i;
	int err;

	if (!len || offset >= total || total > STORE_FRAGMENT_BYTES_MAX) {
		op_complete_later(in, op,
				  total > STORE_FRAGMENT_BYTES_MAX ? -EBADMSG :
								     0);
		return;
	}
	j = calloc(1, sizeof(*j));
	err = j ? key_cache_get(&in->keys, stream, &j->key) : -ENOMEM;
	if (err < 0) {
		free(j);
		op_complete_later(in, op, err);
		return;
	}
	j->in = in;
	j->op = op;
	j->f = *f;
	j->out = bytes;
	j->offset = offset;
	j->len = (size_t)MIN((uint64_t)len, total - offset);
	j->next_page = offset / SEGMENT_PAYLOAD_BYTES_MAX;
	j->end_page = segment_page_count(offset + j->len);
	for (i = 0; i < STORE_READ_PAGES; i++)
		j->slots[i].job = j;
	op_begin(in, op);
	list_add_tail(&in->reads_waiting, &j->link);
	start_waiting(in);
}

/* --- instance --- */

void read_init(struct store_instance *in)
{
	list_init(&in->files);
	list_init(&in->maps);
	list_init(&in->reads_waiting);
	atomic_init(&in->purging, false);
}

void read_fini(struct store_instance *in)
{
	struct list_node *n;
	struct list_node *tmp;

	list_for_each_safe(n, tmp, &in->files)
		file_close(in, list_entry(n, struct read_file, link));
	list_for_each_safe(n, tmp, &in->maps)
		map_free(in, list_entry(n, struct page_map, link));
	while (in->read_buffer_count)
		free(in->read_buffers[--in->read_buffer_count]);
}
