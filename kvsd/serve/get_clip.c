/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GetClip: lists the range, reads each fragment's header and frame index
 * (core/clip.h decides), answers with the head of the MP4 and then reads the
 * media once, in order, passing on the samples.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "core/clip.h"
#include "core/key_error.h"
#include "core/limits.h"
#include "proto/limits.h"
#include "serve/operations.h"
#include "serve/quota.h"
#include "serve/server.h"

struct clip_job {
	struct exchange *ex;
	struct clip *clip;
	struct store_op op;
	bool busy; /* the store has @op */
	bool ended;
	bool answered; /* the head is out */
	struct store_query query;
	struct store_fragment *rows; /* CLIP_ROWS_MAX */
	size_t count;
	size_t next;	/* row whose index is read */
	uint8_t *parts; /* header and index of that row */
	size_t header_got;
	size_t frames_got;
	struct buf head; /* of the MP4, what is not sent of it */
	const struct clip_range *ranges;
	size_t range_count;
	size_t range_next;
	uint32_t range_sent; /* of that range */
	uint64_t media_at;   /* where the next read begins */
	uint8_t *buffer;     /* READER_BYTES */
};

/* Rows that are looked at for CLIP_FRAGMENTS_MAX different ones. */
#define CLIP_ROWS_MAX LIST_RESULTS_MAX

static void send_more(struct clip_job *j);
static void read_index(struct clip_job *j);

/* --- life
 * ------------------------------------------------------------------------------
 */

static void job_free(struct clip_job *j)
{
	clip_free(j->clip);
	buf_fini(&j->head);
	free(j->rows);
	free(j->parts);
	free(j->buffer);
	exchange_unref(j->ex);
	free(j);
}

static void free_if_quiet(struct clip_job *j)
{
	if ((j->ended || !exchange_alive(j->ex)) && !j->busy)
		job_free(j);
}

static void end_with(struct clip_job *j, enum clip_error e)
{
	static const struct {
		const char *type;
		const char *message;
	} words[] = {
		[CLIP_UNSUPPORTED] =
			{"UnsupportedStreamMediaTypeException",
			 "The tracks of the stream cannot be put into a clip."},
		[CLIP_TRACKS_CHANGED] = {"UnsupportedStreamMediaTypeException",
					 "The tracks change within the range."},
		[CLIP_PRIVATE_MISSING] = {"MissingCodecPrivateDataException",
					  "A track has no codec private data."},
		[CLIP_PRIVATE_INVALID] =
			{"InvalidCodecPrivateDataException",
			 "The codec private data of a track is not valid."},
		[CLIP_PRIVATE_CHANGED] =
			{"InvalidCodecPrivateDataException",
			 "The codec private data changes within the range."},
		[CLIP_BAD_FRAME] =
			{"InvalidMediaFrameException",
			 "A frame of the range cannot be put into a clip."},
		[CLIP_TOO_LONG] = {"ClientLimitExceededException",
				   "The range has too many frames."},
		[CLIP_NO_MEMORY] = {NULL, NULL},
	};

	j->ended = true;
	if (!words[e].type)
		exchange_internal(j->ex, -ENOMEM);
	else
		exchange_error(j->ex, 400, words[e].type, words[e].message);
}

static void store_failed(struct clip_job *j, int error)
{
	j->ended = true;
	log_warn("serve", "stream %s: clip: %s", j->ex->stream.name,
		 strerror(-error));
	if (j->answered) {
		j->ex->handler = NULL;
		exchange_cut(j->ex, error);
	} else {
		exchange_internal(j->ex, error);
	}
}

/* --- the samples
 * ------------------------------------------------------------------------ */

/* Passes on what ranges have in @len bytes of fragment media at @at. */
static int pass_on(struct clip_job *j, uint32_t fragment, uint64_t at,
		   const uint8_t *bytes, size_t len)
{
	while (j->range_next < j->range_count) {
		const struct clip_range *g = &j->ranges[j->range_next];
		uint64_t from = (uint64_t)g->offset + j->range_sent;
		size_t n;
		int r;

		if (g->fragment != fragment || from >= at + len)
			break;
		n = (size_t)MIN((uint64_t)g->bytes - j->range_sent,
				at + len - from);
		r = exchange_write(j->ex, bytes + (from - at), n);
		if (r < 0)
			return r;
		j->range_sent += (uint32_t)n;
		if (j->range_sent < g->bytes)
			break;
		j->range_sent = 0;
		j->range_next++;
	}
	return 0;
}

static void media_read(struct store_op *op, int res)
{
	struct clip_job *j = container_of(op, struct clip_job, op);

	j->busy = false;
	if (exchange_alive(j->ex) && !j->ended) {
		int r = res > 0 ? pass_on(j, j->ranges[j->range_next].fragment,
					  j->media_at, j->buffer, (size_t)res)
				: res;

		if (res <= 0 || r < 0)
			store_failed(j, r < 0 ? r : -EIO);
		else
			send_more(j);
	}
	free_if_quiet(j);
}

/* Return: all of it is out. */
static bool send_head(struct clip_job *j)
{
	while (buf_len(&j->head)) {
		size_t n = MIN(buf_len(&j->head), (size_t)READER_BYTES);

		if (exchange_backlog(j->ex) >= OUTPUT_BYTES_MAX ||
		    exchange_write(j->ex, buf_head(&j->head), n) < 0)
			return false;
		buf_consume(&j->head, n);
	}
	buf_fini(&j->head);
	return true;
}

static void send_more(struct clip_job *j)
{
	const struct clip_range *g = &j->ranges[j->range_next];
	const struct store_fragment *row;
	uint64_t left;

	if (j->busy || j->ended)
		return;
	if (!send_head(j))
		return;
	if (j->range_next == j->range_count) {
		j->ended = true;
		exchange_end(j->ex);
		return;
	}
	if (exchange_backlog(j->ex) >= OUTPUT_BYTES_MAX)
		return;
	row = &j->rows[g->fragment];
	j->media_at = (uint64_t)g->offset + j->range_sent;
	left = row->media_bytes - j->media_at;
	j->busy = true;
	j->op.done = media_read;
	store_read(j->ex->thread->store, &j->ex->stream.store, row,
		   row->header_bytes + j->media_at, j->buffer,
		   (size_t)MIN(left, (uint64_t)READER_BYTES), &j->op);
}

static void on_drained(struct exchange *ex)
{
	struct clip_job *j = ex->state_of_op;

	send_more(j);
	free_if_quiet(j);
}

static void on_closed(struct exchange *ex)
{
	free_if_quiet(ex->state_of_op);
}

static const struct exchange_handler handler = {
	.drained = on_drained,
	.closed = on_closed,
};

static void start_answer(struct clip_job *j)
{
	uint64_t file_bytes;
	enum clip_error e = clip_finish(j->clip, &j->head, &file_bytes);

	if (e != CLIP_OK) {
		end_with(j, e);
		return;
	}
	j->ranges = clip_ranges(j->clip, &j->range_count);
	j->ex->thread->metrics->media_points += j->count;
	j->ex->thread->metrics->metadata_points += j->count;
	j->answered = true;
	if (exchange_begin(j->ex, "video/mp4", file_bytes, &handler, j) == 0)
		send_more(j);
}

/* --- the indexes
 * -------------------------------------------------------------------------- */

static void row_read(struct clip_job *j)
{
	const struct store_fragment *row = &j->rows[j->next];
	enum clip_error e;

	e = clip_add(j->clip, row, j->parts, row->header_bytes,
		     j->parts + row->header_bytes, row->frames_bytes);
	free(j->parts);
	j->parts = NULL;
	j->header_got = 0;
	j->frames_got = 0;
	j->next++;
	if (e != CLIP_OK)
		end_with(j, e);
	else if (j->next == j->count)
		start_answer(j);
	else
		read_index(j);
}

static void index_read(struct store_op *op, int res)
{
	struct clip_job *j = container_of(op, struct clip_job, op);
	const struct store_fragment *row = &j->rows[j->next];

	j->busy = false;
	if (exchange_alive(j->ex) && !j->ended) {
		if (res <= 0) {
			store_failed(j, res ? res : -EIO);
		} else {
			if (j->header_got < row->header_bytes)
				j->header_got += (size_t)res;
			else
				j->frames_got += (size_t)res;
			read_index(j);
		}
	}
	free_if_quiet(j);
}

/* Header, then frame index, of the row that is next. */
static void read_index(struct clip_job *j)
{
	struct store_fragment *row = &j->rows[j->next];
	uint64_t offset;
	size_t len;

	if (row->header_bytes > SESSION_HEADER_BYTES_MAX ||
	    row->frames_bytes > FRAME_INDEX_BYTES_MAX) {
		end_with(j, CLIP_BAD_FRAME);
		return;
	}
	if (!j->parts)
		j->parts = malloc((size_t)row->header_bytes +
				  row->frames_bytes + 1);
	if (!j->parts) {
		end_with(j, CLIP_NO_MEMORY);
		return;
	}
	if (j->header_got < row->header_bytes) {
		offset = j->header_got;
		len = row->header_bytes - j->header_got;
	} else if (j->frames_got < row->frames_bytes) {
		offset = (uint64_t)row->header_bytes + row->media_bytes +
			 j->frames_got;
		len = row->frames_bytes - j->frames_got;
	} else {
		row_read(j);
		return;
	}
	j->busy = true;
	j->op.done = index_read;
	store_read(j->ex->thread->store, &j->ex->stream.store, row, offset,
		   j->parts + j->header_got + j->frames_got, len, &j->op);
}

/* --- the range
 * --------------------------------------------------------------------------- */

/* The first CLIP_FRAGMENTS_MAX, or as many as fit CLIP_BYTES_MAX. */
static void choose_rows(struct clip_job *j, size_t found)
{
	uint64_t bytes = 0;
	size_t count = clip_unique(j->rows, found);

	j->count = 0;
	while (j->count < MIN(count, (size_t)CLIP_FRAGMENTS_MAX)) {
		bytes += j->rows[j->count].media_bytes;
		if (j->count && bytes > CLIP_BYTES_MAX)
			break;
		j->count++;
	}
}

/* A clip costs as many points of both kinds as it has fragments. */
static void start_reading(struct clip_job *j)
{
	uint32_t points = (uint32_t)j->count;

	if (quota_points(j->ex, QUOTA_METADATA, points) &&
	    quota_points(j->ex, QUOTA_MEDIA, points)) {
		read_index(j);
		return;
	}
	j->ended = true;
	quota_exceeded(j->ex);
}

static void listed(struct store_op *op, int res)
{
	struct clip_job *j = container_of(op, struct clip_job, op);

	j->busy = false;
	if (exchange_alive(j->ex)) {
		if (res < 0) {
			store_failed(j, res);
		} else if (res == 0) {
			j->ended = true;
			exchange_error(j->ex, 404, "ResourceNotFoundException",
				       "There is no media in the range.");
		} else {
			choose_rows(j, (size_t)res);
			start_reading(j);
		}
	}
	free_if_quiet(j);
}

static int read_range(struct exchange *ex, struct time_range *range)
{
	int r = operation_time_range(ex, "ClipFragmentSelector", range);
	const char *wrong = NULL;

	if (r < 0)
		return r;
	if (r == 0)
		wrong = "ClipFragmentSelector is required.";
	else if (range->to_ms <= range->from_ms)
		wrong = "EndTimestamp must be after StartTimestamp.";
	else if (range->to_ms - range->from_ms > CLIP_RANGE_MS_MAX)
		wrong = "The range must not be longer than 24 hours.";
	if (!wrong)
		return 0;
	exchange_bad_argument(ex, wrong);
	return -EINVAL;
}

static struct clip_job *job_new(struct exchange *ex)
{
	struct clip_job *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->ex = ex;
	exchange_ref(ex);
	buf_init(&j->head, MP4_HEADER_BYTES_MAX);
	j->clip = clip_new();
	j->rows = calloc(CLIP_ROWS_MAX, sizeof(*j->rows));
	j->buffer = malloc(READER_BYTES);
	if (j->clip && j->rows && j->buffer)
		return j;
	job_free(j);
	return NULL;
}

void get_clip_run(struct exchange *ex)
{
	struct time_range range;
	struct clip_job *j;

	if (read_range(ex, &range) < 0)
		return;
	if (!ex->stream.retention_hours) {
		exchange_error(ex, 400, "NoDataRetentionException",
			       "The stream does not retain data.");
		return;
	}
	if (ex->stream.key_error) {
		exchange_error(
			ex, 401, "NotAuthorizedException",
			ack_error_name(key_error_ack(ex->stream.key_error)));
		return;
	}
	j = job_new(ex);
	if (!j) {
		exchange_internal(ex, -ENOMEM);
		return;
	}
	j->query = (struct store_query){
		.order = range.selector == SELECT_PRODUCER_TIME
				 ? STORE_BY_PRODUCER_TIME
				 : STORE_BY_SERVER_TIME,
		.from_ms = range.from_ms,
		.to_ms = range.to_ms,
		.not_before_ms = operation_not_before_ms(ex),
		.limit = CLIP_ROWS_MAX,
	};
	memcpy(j->query.stream_id, ex->stream.store.id, STREAM_ID_BYTES);
	j->busy = true;
	j->op.done = listed;
	store_list(ex->thread->store, &j->query, j->rows, &j->op);
}
