/* SPDX-License-Identifier: Apache-2.0 */
#include "io/segment_replay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "io/segment_file.h"
#include "io/segment_seal.h"

int segment_replay_init(struct segment_replay *r)
{
	r->dropped = 0;
	r->page_fd = -EBADF;
	r->record = malloc(SEGMENT_RECORD_BYTES_MAX);
	r->page = malloc(SEGMENT_RECORD_BYTES_MAX);
	if (r->record && r->page)
		return 0;
	segment_replay_fini(r);
	return -ENOMEM;
}

void segment_replay_fini(struct segment_replay *r)
{
	sys_close(r->dir->sys, &r->page_fd);
	free(r->record);
	free(r->page);
	r->record = NULL;
	r->page = NULL;
}

/* Fragments rarely cross segments: one file is kept open. */
static int open_page_file(struct segment_replay *r, uint32_t number)
{
	int err;

	if (r->page_fd >= 0 && r->page_segment == number)
		return 0;
	sys_close(r->dir->sys, &r->page_fd);
	err = r->generation(r->ctx, number, r->page_generation);
	if (err < 0)
		return err;
	err = segment_file_open(r->dir, number, &r->page_fd);
	if (err < 0)
		return err;
	r->page_segment = number;
	return 0;
}

/* Return: 0; -EBADMSG (it is not the page it should be); -errno. */
static int check_page(struct segment_replay *r,
		      const struct segment_record *commit, uint32_t page,
		      const struct segment_commit *c,
		      struct segment_place place, struct crypto_aead *key)
{
	uint32_t bytes = segment_page_bytes(segment_commit_total(c), page);
	struct segment_record rec;
	size_t len = 0;
	int err;

	err = open_page_file(r, place.segment);
	if (err == -ENOENT)
		return -EBADMSG;
	if (err < 0)
		return err;
	err = segment_file_read(r->dir, r->page_fd, r->page,
				segment_record_bytes(bytes),
				(uint64_t)place.block * SEGMENT_BLOCK_BYTES,
				&len);
	if (err < 0)
		return err;
	if (segment_record_parse(r->page, len, &rec) < 0 ||
	    rec.kind != SEGMENT_PAGE || rec.block != place.block ||
	    rec.page != page || rec.payload_bytes != bytes ||
	    rec.last != (page + 1 == c->page_count) ||
	    memcmp(rec.generation, r->page_generation, SEGMENT_ID_BYTES) ||
	    memcmp(rec.stream_id, commit->stream_id, SEGMENT_ID_BYTES) ||
	    fragment_number_compare(&rec.number, &commit->number))
		return -EBADMSG;
	if (!key)
		return 0;
	return segment_open_page(key, r->page, &rec,
				 r->page + SEGMENT_HEADER_BYTES);
}

static int check_fragment(struct segment_replay *r,
			  const struct segment_record *rec,
			  const struct segment_commit *c,
			  struct crypto_aead *key, uint32_t *ret_first)
{
	const uint8_t *payload = r->record + SEGMENT_HEADER_BYTES;
	uint32_t first = UINT32_MAX;
	uint32_t i;
	int err;

	if (key) {
		err = segment_check_commit(key, r->record, rec);
		if (err < 0)
			return err;
	}
	for (i = 0; i < c->page_count; i++) {
		struct segment_place place = segment_commit_place(payload, i);

		err = check_page(r, rec, i, c, place, key);
		if (err < 0)
			return err;
		first = MIN(first, place.segment);
	}
	*ret_first = first;
	return 0;
}

/* Return: 0; -ENOENT: the stream is gone. */
static int open_key(struct segment_replay *r, const uint8_t *id,
		    struct crypto_aead **ret_key)
{
	uint8_t bytes[DATA_KEY_BYTES];
	int err;

	*ret_key = NULL;
	if (!r->find_key)
		return 0;
	err = r->find_key(r->find_key_ctx, id, bytes);
	if (err == -ENOENT)
		return err;
	if (err < 0)
		return 0;
	err = crypto_aead_new(bytes, ret_key);
	crypto_wipe(bytes, sizeof(bytes));
	return err;
}

static struct store_fragment fragment_of(uint32_t segment,
					 const struct segment_record *rec,
					 const struct segment_commit *c)
{
	struct store_fragment f = {
		.number = rec->number,
		.producer_ms = c->producer_ms,
		.server_ms = c->server_ms,
		.duration_ms = c->duration_ms,
		.header_bytes = c->header_bytes,
		.media_bytes = c->media_bytes,
		.frames_bytes = c->frames_bytes,
		.segment = segment,
		.page = rec->block,
	};

	memcpy(f.stream_id, rec->stream_id, STREAM_ID_BYTES);
	return f;
}

static int replay_commit(struct segment_replay *r, uint32_t segment,
			 const struct segment_record *rec, uint32_t mark)
{
	AUTO(crypto_aead_free) struct crypto_aead *key = NULL;
	struct store_fragment f;
	struct segment_commit c;
	uint32_t first = segment;
	int err;

	err = segment_commit_parse(r->record + SEGMENT_HEADER_BYTES,
				   rec->payload_bytes, &c);
	if (err == 0)
		err = open_key(r, rec->stream_id, &key);
	if (err == 0)
		err = check_fragment(r, rec, &c, key, &first);
	if (err == 0 && first > segment)
		err = -EBADMSG;
	if (err == -EIO && r->salvage) {
		r->unread = true;
		return 0;
	}
	if (err == -EINVAL || err == -ENOENT || err == -EBADMSG) {
		if (err != -ENOENT) {
			log_warn("store",
				 "segment %u, block %u: a commit "
				 "record without its pages",
				 segment, rec->block);
			r->damaged = true;
		}
		r->dropped++;
		return 0;
	}
	if (err < 0)
		return err;
	f = fragment_of(segment, rec, &c);
	r->found_count++;
	return r->found(r->ctx, &f, first, mark);
}

/* The least number of a segment that has a page of it. */
static uint32_t first_of(const uint8_t *payload, const struct segment_commit *c)
{
	uint32_t first = UINT32_MAX;
	uint32_t i;

	for (i = 0; i < c->page_count; i++)
		first = MIN(first, segment_commit_place(payload, i).segment);
	return first;
}

static int look_at_commit(struct segment_replay *r, uint32_t segment,
			  const struct segment_record *rec,
			  const struct segment_look *look)
{
	const uint8_t *payload = r->record + SEGMENT_HEADER_BYTES;
	struct store_fragment f;
	struct segment_commit c;
	uint32_t first;

	if (segment_commit_parse(payload, rec->payload_bytes, &c) < 0)
		return look->gap(look->ctx, rec->block);
	first = first_of(payload, &c);
	if (first > segment)
		return look->gap(look->ctx, rec->block);
	f = fragment_of(segment, rec, &c);
	return look->commit(look->ctx, &f, first);
}

/* Of r->record, of which nothing but the header may be right. */
static bool is_page(const struct segment_replay *r, size_t len, uint32_t block,
		    const uint8_t *generation)
{
	struct segment_record rec;

	return len >= SEGMENT_HEADER_BYTES &&
	       segment_header_parse(r->record, &rec) == 0 &&
	       rec.kind == SEGMENT_PAGE && rec.block == block &&
	       !memcmp(rec.generation, generation, SEGMENT_ID_BYTES);
}

/*
 * Each record says itself where it belongs: behind damage the next one with
 * this generation is looked for. Return: 1 @block is it, or 0 at the end.
 */
static int skip_damage(struct segment_replay *r, int fd,
		       const uint8_t *generation, uint32_t *block)
{
	struct segment_record rec;
	size_t len = 0;
	size_t at;
	int err;

	for (++*block;; *block += (uint32_t)(len / SEGMENT_BLOCK_BYTES)) {
		err = segment_file_read(r->dir, fd, r->record,
					SEGMENT_RECORD_BYTES_MAX,
					(uint64_t)*block * SEGMENT_BLOCK_BYTES,
					&len);
		if (err < 0 || len < SEGMENT_BLOCK_BYTES)
			return err;
		for (at = 0; at + SEGMENT_HEADER_BYTES <= len;
		     at += SEGMENT_BLOCK_BYTES) {
			if (segment_header_parse(r->record + at, &rec) < 0 ||
			    rec.block != *block + at / SEGMENT_BLOCK_BYTES ||
			    memcmp(rec.generation, generation,
				   SEGMENT_ID_BYTES))
				continue;
			*block = rec.block;
			return 1;
		}
	}
}

/* @look: NULL: they are replayed. */
static int replay_records(struct segment_replay *r, uint32_t number, int fd,
			  const uint8_t *generation, uint32_t *block,
			  const struct segment_look *look)
{
	struct segment_record rec;
	uint32_t next;
	size_t len = 0;
	int err;

	for (;;) {
		err = segment_file_read(r->dir, fd, r->record,
					SEGMENT_RECORD_BYTES_MAX,
					(uint64_t)*block * SEGMENT_BLOCK_BYTES,
					&len);
		if (err < 0)
			return err;
		if (segment_record_parse(r->record, len, &rec) < 0 ||
		    rec.kind == SEGMENT_START || rec.block != *block ||
		    memcmp(rec.generation, generation, SEGMENT_ID_BYTES)) {
			bool page = is_page(r, len, *block, generation);
			uint32_t end = *block;

			err = skip_damage(r, fd, generation, block);
			if (err <= 0) {
				*block = end;
				return err;
			}
			r->damaged = true;
			err = look && !page ? look->gap(look->ctx, end) : 0;
			if (err < 0)
				return err;
			continue;
		}
		next = *block + segment_record_bytes(rec.payload_bytes) /
					SEGMENT_BLOCK_BYTES;
		if (rec.kind == SEGMENT_END) {
			*block = next;
			return 0;
		}
		if (rec.kind == SEGMENT_COMMIT) {
			err = look ? look_at_commit(r, number, &rec, look)
				   : replay_commit(r, number, &rec, next);
			if (err < 0)
				return err;
		}
		*block = next;
	}
}

static bool is_record(const struct segment_replay *r, const uint8_t *block,
		      const uint8_t *generation)
{
	static const uint8_t zero[SEGMENT_HEADER_BYTES];
	struct segment_record rec;

	/* A write that is there in part has lost no more than its end. */
	if (r->salvage && memcmp(block, zero, sizeof(zero)))
		return true;
	return segment_header_parse(block, &rec) == 0 &&
	       !memcmp(rec.generation, generation, SEGMENT_ID_BYTES);
}

/* Records of the segment after its end: they are not used, only seen. */
static int look_behind(struct segment_replay *r, int fd,
		       const uint8_t *generation, uint32_t block,
		       bool *ret_torn)
{
	size_t len = 0;
	size_t at;
	int err;

	for (;; block += SEGMENT_RECORD_BYTES_MAX / SEGMENT_BLOCK_BYTES) {
		err = segment_file_read(r->dir, fd, r->record,
					SEGMENT_RECORD_BYTES_MAX,
					(uint64_t)block * SEGMENT_BLOCK_BYTES,
					&len);
		if (err < 0 || !len)
			return err;
		for (at = 0; at + SEGMENT_HEADER_BYTES <= len;
		     at += SEGMENT_BLOCK_BYTES) {
			if (!is_record(r, r->record + at, generation))
				continue;
			*ret_torn = true;
			return 0;
		}
	}
}

int segment_replay_run(struct segment_replay *r, uint32_t number, uint32_t mark,
		       uint32_t *ret_end, bool *ret_torn)
{
	uint8_t generation[SEGMENT_ID_BYTES];
	bool torn = false;
	uint32_t block = MAX(mark, SEGMENT_FIRST_BLOCK);
	int fd;
	int err;

	r->found_count = 0;
	r->damaged = false;
	r->unread = false;
	err = r->generation(r->ctx, number, generation);
	if (err < 0)
		return err;
	err = segment_file_open(r->dir, number, &fd);
	if (err < 0)
		return err;
	/*
	 * What a killed process wrote may be in the page cache only: rows
	 * must not outlive it.
	 */
	err = r->dir->sys->fdatasync(fd);
	if (err == 0)
		err = replay_records(r, number, fd, generation, &block, NULL);
	if (err == 0)
		err = look_behind(r, fd, generation, block, &torn);
	sys_close(r->dir->sys, &fd);
	if (err < 0)
		return err;
	*ret_end = block;
	*ret_torn = torn;
	return 0;
}

int segment_replay_look(struct segment_replay *r, uint32_t number,
			uint32_t mark, const struct segment_look *look)
{
	uint8_t generation[SEGMENT_ID_BYTES];
	uint32_t block = MAX(mark, SEGMENT_FIRST_BLOCK);
	int fd;
	int err;

	err = r->generation(r->ctx, number, generation);
	if (err < 0)
		return err;
	err = segment_file_open(r->dir, number, &fd);
	if (err < 0)
		return err;
	err = replay_records(r, number, fd, generation, &block, look);
	sys_close(r->dir->sys, &fd);
	return err;
}

/* Return: 1 a COMMIT record of the segment is there, in r->record; 0; -errno. */
static int read_commit_at(struct segment_replay *r, int fd, uint32_t block,
			  const uint8_t *generation,
			  struct segment_commit *ret_commit)
{
	uint64_t offset = (uint64_t)block * SEGMENT_BLOCK_BYTES;
	struct segment_record rec;
	size_t len = 0;
	int err;

	err = segment_file_read(r->dir, fd, r->record, SEGMENT_BLOCK_BYTES,
				offset, &len);
	if (err < 0 || len < SEGMENT_BLOCK_BYTES ||
	    segment_header_parse(r->record, &rec) < 0 ||
	    rec.kind != SEGMENT_COMMIT || rec.block != block ||
	    memcmp(rec.generation, generation, SEGMENT_ID_BYTES))
		return err;
	err = segment_file_read(r->dir, fd, r->record,
				segment_record_bytes(rec.payload_bytes), offset,
				&len);
	if (err < 0)
		return err;
	return segment_record_parse(r->record, len, &rec) == 0 &&
	       segment_commit_parse(r->record + SEGMENT_HEADER_BYTES,
				    rec.payload_bytes, ret_commit) == 0;
}

int segment_replay_first(struct segment_replay *r, uint32_t number,
			 const uint8_t generation[SEGMENT_ID_BYTES],
			 uint32_t mark, uint32_t *ret_first)
{
	struct segment_commit c = {.page_count = 0};
	struct stat st;
	uint32_t block;
	uint32_t first;
	uint64_t end;
	int fd;
	int err;

	*ret_first = number;
	err = segment_file_open(r->dir, number, &fd);
	if (err < 0)
		return err;
	err = r->dir->sys->fstat(fd, &st);
	end = err < 0 ? 0 : (uint64_t)st.st_size / SEGMENT_BLOCK_BYTES;
	for (block = MAX(mark, SEGMENT_FIRST_BLOCK); block < end && err >= 0;
	     block++) {
		err = read_commit_at(r, fd, block, generation, &c);
		if (err <= 0)
			continue;
		first = first_of(r->record + SEGMENT_HEADER_BYTES, &c);
		*ret_first = MIN(*ret_first, first);
	}
	sys_close(r->dir->sys, &fd);
	return MIN(err, 0);
}

int segment_replay_sync(struct segment_replay *r, uint32_t number)
{
	int fd;
	int err;

	err = segment_file_open(r->dir, number, &fd);
	if (err < 0)
		return err;
	err = r->dir->sys->fdatasync(fd);
	sys_close(r->dir->sys, &fd);
	return err;
}

/* The commit record of a row, in r->record. */
static int read_commit(struct segment_replay *r, const struct store_fragment *f,
		       struct segment_record *rec, struct segment_commit *c)
{
	uint64_t offset = (uint64_t)f->page * SEGMENT_BLOCK_BYTES;
	uint32_t bytes = SEGMENT_BLOCK_BYTES;
	size_t len = 0;
	int err;

	err = open_page_file(r, f->segment);
	if (err == -ENOENT)
		return -EBADMSG;
	/* One block does for most. */
	while (err == 0) {
		err = segment_file_read(r->dir, r->page_fd, r->record, bytes,
					offset, &len);
		if (err == 0 && (len < SEGMENT_HEADER_BYTES ||
				 segment_header_parse(r->record, rec) < 0))
			err = -EBADMSG;
		if (err < 0 ||
		    bytes >= segment_record_bytes(rec->payload_bytes))
			break;
		bytes = segment_record_bytes(rec->payload_bytes);
	}
	if (err < 0)
		return err;
	if (segment_record_parse(r->record, len, rec) < 0 ||
	    rec->kind != SEGMENT_COMMIT || rec->block != f->page ||
	    memcmp(rec->generation, r->page_generation, SEGMENT_ID_BYTES) ||
	    memcmp(rec->stream_id, f->stream_id, SEGMENT_ID_BYTES) ||
	    fragment_number_compare(&rec->number, &f->number) ||
	    segment_commit_parse(r->record + SEGMENT_HEADER_BYTES,
				 rec->payload_bytes, c) < 0)
		return -EBADMSG;
	return 0;
}

/* What a row says of its fragment is what the commit record says. */
static bool is_same(const struct segment_commit *c,
		    const struct store_fragment *f)
{
	return c->producer_ms == f->producer_ms &&
	       c->server_ms == f->server_ms &&
	       c->duration_ms == f->duration_ms &&
	       c->header_bytes == f->header_bytes &&
	       c->media_bytes == f->media_bytes &&
	       c->frames_bytes == f->frames_bytes;
}

int segment_replay_check(struct segment_replay *r,
			 const struct store_fragment *f, uint32_t first_segment,
			 enum segment_check_depth depth)
{
	AUTO(crypto_aead_free) struct crypto_aead *key = NULL;
	struct segment_record rec = {.payload_bytes = 0};
	struct segment_commit c;
	uint32_t first = UINT32_MAX;
	int err;

	err = read_commit(r, f, &rec, &c);
	if (err < 0)
		return err;
	if (!is_same(&c, f))
		return -EBADMSG;
	if (depth == SEGMENT_CHECK_COMMIT)
		return 0;
	if (depth == SEGMENT_CHECK_TAGS) {
		err = open_key(r, f->stream_id, &key);
		if (err < 0)
			return err;
	}
	err = check_fragment(r, &rec, &c, key, &first);
	if (err < 0)
		return err;
	return first == first_segment ? 0 : -EBADMSG;
}

static int copy_pages(struct segment_replay *r,
		      const struct segment_record *rec,
		      const struct segment_commit *c, struct crypto_aead *key,
		      const struct segment_sink *sink)
{
	const uint8_t *payload = r->record + SEGMENT_HEADER_BYTES;
	uint64_t total = segment_commit_total(c);
	uint32_t i;
	int err = 0;

	for (i = 0; i < c->page_count && err == 0; i++) {
		err = check_page(r, rec, i, c, segment_commit_place(payload, i),
				 key);
		if (err == 0)
			err = sink->page(sink->ctx, key,
					 r->page + SEGMENT_HEADER_BYTES,
					 segment_page_bytes(total, i), i,
					 i + 1 == c->page_count);
	}
	return err;
}

int segment_replay_copy(struct segment_replay *r,
			const struct store_fragment *f,
			const struct segment_sink *sink)
{
	AUTO(crypto_aead_free) struct crypto_aead *key = NULL;
	struct segment_record rec = {.payload_bytes = 0};
	struct segment_commit c;
	int err;

	err = read_commit(r, f, &rec, &c);
	/* The sink sizes by the row what it is given by the record. */
	if (err == 0 && !is_same(&c, f))
		err = -EBADMSG;
	if (err == 0)
		err = open_key(r, f->stream_id, &key);
	if (err == 0 && !key)
		err = -ENOKEY;
	if (err == 0)
		err = segment_check_commit(key, r->record, &rec);
	if (err == 0)
		err = copy_pages(r, &rec, &c, key, sink);
	return err < 0 ? err : sink->commit(sink->ctx, key, &c);
}
