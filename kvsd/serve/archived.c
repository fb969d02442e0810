/* SPDX-License-Identifier: Apache-2.0 */
/* ListFragments and GetMediaForFragmentList. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/parse.h"
#include "core/key_error.h"
#include "core/media_out.h"
#include "proto/ack.h"
#include "serve/live.h"
#include "serve/operations.h"
#include "serve/paced_out.h"
#include "serve/quota.h"
#include "serve/server.h"
#include "serve/stored_out.h"
#include "serve/token.h"

#define LIST_RESULTS_DEFAULT 100u

/* --- ListFragments
 * -------------------------------------------------------------------- */

struct listing {
	struct exchange *ex;
	struct time_range range;
	struct store_fragment after;
	bool has_after;
	struct store_query query;
	struct store_op op;
	struct store_fragment rows[];
};

/* "1 selector from to seq server random producer" */
static void make_token(const struct listing *l, const struct store_fragment *f,
		       char out[TOKEN_CHARS_MAX + 1])
{
	char text[TOKEN_TEXT_BYTES_MAX + 1];

	(void)snprintf(text, sizeof(text),
		       "1 %d %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
		       " %" PRIu32 " %" PRIu64 " %" PRIu64,
		       (int)l->range.selector, l->range.from_ms, l->range.to_ms,
		       f->number.seq, f->number.server_ms, f->number.random,
		       f->producer_ms, f->server_ms);
	token_encode(text, out);
}

static int read_token(struct slice token, struct listing *l)
{
	char text[TOKEN_TEXT_BYTES_MAX + 1];
	struct slice rest;
	uint64_t v[9];
	size_t i;

	if (token_decode(token, text) < 0)
		return -EINVAL;
	rest = slice_of(text);
	for (i = 0; i < ARRAY_SIZE(v); i++) {
		struct slice word = slice_cut(&rest, ' ');

		if (parse_u64(word.ptr, word.len, UINT64_MAX, &v[i]) < 0)
			return -EINVAL;
	}
	if (rest.len || v[0] != 1 || v[1] > SELECT_SERVER_TIME ||
	    v[3] > INT64_MAX || v[6] >> FRAGMENT_RANDOM_BITS)
		return -EINVAL;
	l->range = (struct time_range){.selector = (enum time_selector)v[1],
				       .from_ms = v[2],
				       .to_ms = v[3]};
	l->after = (struct store_fragment){
		.number = {.seq = v[4],
			   .server_ms = v[5],
			   .random = (uint32_t)v[6]},
		.producer_ms = v[7],
		.server_ms = v[8],
	};
	l->has_after = true;
	return 0;
}

static json_t *row_json(const struct store_fragment *f)
{
	char digits[FRAGMENT_NUMBER_CHARS + 1];

	fragment_number_format(&f->number, digits);
	return json_pack("{s:s, s:I, s:o, s:o, s:I}", "FragmentNumber", digits,
			 "FragmentSizeInBytes",
			 (json_int_t)f->header_bytes + f->media_bytes,
			 "ProducerTimestamp", operation_seconds(f->producer_ms),
			 "ServerTimestamp", operation_seconds(f->server_ms),
			 "FragmentLengthInMilliseconds",
			 (json_int_t)f->duration_ms);
}

static void listed(struct store_op *op, int res)
{
	struct listing *l = container_of(op, struct listing, op);
	struct exchange *ex = l->ex;
	char token[TOKEN_CHARS_MAX + 1];
	json_t *root = json_object();
	json_t *rows = json_array();
	int i;

	for (i = 0; i < res; i++)
		json_array_append_new(rows, row_json(&l->rows[i]));
	json_object_set_new(root, "Fragments", rows);
	if (res > 0 && (uint32_t)res == l->query.limit) {
		make_token(l, &l->rows[res - 1], token);
		json_object_set_new(root, "NextToken",
				    json_stringn(token, strlen(token)));
	}
	if (res < 0) {
		json_decref(root);
		exchange_internal(ex, res);
	} else {
		ex->thread->metrics->metadata_points += l->query.limit;
		exchange_json(ex, 200, root);
	}
	exchange_unref(ex);
	free(l);
}

/* The page: from the token, or from the selector. */
static int read_list(struct exchange *ex, struct listing *l)
{
	struct slice token;
	int r = operation_string(ex, ex->json, "NextToken", &token);

	if (r < 0)
		return r;
	if (r == 0) {
		r = operation_time_range(ex, "FragmentSelector", &l->range);
		if (r < 0)
			return r;
		if (r == 0) {
			exchange_bad_argument(ex, "FragmentSelector is "
						  "required.");
			return -EINVAL;
		}
	} else if (read_token(token, l) < 0) {
		exchange_bad_argument(ex, "NextToken is not valid.");
		return -EINVAL;
	}
	if (l->range.to_ms < l->range.from_ms) {
		exchange_bad_argument(ex, "EndTimestamp is before "
					  "StartTimestamp.");
		return -EINVAL;
	}
	return 0;
}

void list_fragments_run(struct exchange *ex)
{
	int64_t limit = LIST_RESULTS_DEFAULT;
	struct listing *l;
	int r = operation_integer(ex, ex->json, "MaxResults", &limit);

	if (r < 0)
		return;
	if (limit < 1 || limit > LIST_RESULTS_MAX) {
		exchange_bad_argument(ex, "MaxResults must be 1 to 1000.");
		return;
	}
	if (!quota_points(ex, QUOTA_METADATA, (uint32_t)limit)) {
		quota_exceeded(ex);
		return;
	}
	l = calloc(1, sizeof(*l) + (size_t)limit * sizeof(l->rows[0]));
	if (!l) {
		exchange_internal(ex, -ENOMEM);
		return;
	}
	if (read_list(ex, l) < 0) {
		free(l);
		return;
	}
	l->ex = ex;
	l->op.done = listed;
	l->query = (struct store_query){
		.order = l->range.selector == SELECT_PRODUCER_TIME
				 ? STORE_BY_PRODUCER_TIME
				 : STORE_BY_SERVER_TIME,
		.from_ms = l->range.from_ms,
		.to_ms = l->range.to_ms,
		.not_before_ms = operation_not_before_ms(ex),
		.after = l->has_after ? &l->after : NULL,
		.limit = (uint32_t)limit,
	};
	memcpy(l->query.stream_id, ex->stream.store.id, STREAM_ID_BYTES);
	exchange_ref(ex);
	store_list(ex->thread->store, &l->query, l->rows, &l->op);
}

/* --- GetMediaForFragmentList
 * -------------------------------------------------------------- */

struct fragment_list {
	struct exchange *ex;
	struct live_stream *live; /* counts those of the stream */
	struct stored_out out;
	struct paced_out paced;
	struct store_op op;
	bool looking; /* a list is in flight */
	bool ended;
	bool pumping;
	bool sending; /* @out has a fragment */
	size_t next;  /* in the request's list */
	struct fragment_number number;
	struct store_query query;
	struct store_fragment after;
	struct store_fragment row;
};

static void list_pump(struct fragment_list *l);

static void list_free_if_quiet(struct fragment_list *l)
{
	if (exchange_alive(l->ex) && !l->ended)
		return;
	if (l->out.busy || l->looking || l->pumping)
		return;
	paced_out_fini(&l->paced);
	stored_out_fini(&l->out);
	l->live->list_count--;
	live_stream_put(l->live);
	exchange_unref(l->ex);
	free(l);
}

static const json_t *numbers_of(const struct exchange *ex)
{
	return json_object_get(ex->json, "Fragments");
}

static const char *number_text(const struct fragment_list *l)
{
	return json_string_value(json_array_get(numbers_of(l->ex), l->next));
}

static void list_end(struct fragment_list *l)
{
	l->ended = true;
	exchange_end(l->ex);
}

static void list_cut(struct fragment_list *l, int why)
{
	l->ended = true;
	exchange_call(l->ex)->fragments_tried++;
	l->ex->handler = NULL;
	exchange_cut(l->ex, why);
}

static void list_fail(struct fragment_list *l, enum media_error error)
{
	uint8_t bytes[MEDIA_OUT_TAGS_BYTES_MAX];
	struct buf out = {
		.data = bytes, .size = sizeof(bytes), .max = sizeof(bytes)};

	if (media_out_exception(&out, slice_of(number_text(l)), error) < 0 ||
	    exchange_write(l->ex, buf_head(&out), buf_len(&out)) < 0)
		list_cut(l, -EIO);
	else
		list_end(l);
}

static void found(struct store_op *op, int res)
{
	struct fragment_list *l = container_of(op, struct fragment_list, op);

	l->looking = false;
	if (!exchange_alive(l->ex) || l->ended) {
		list_free_if_quiet(l);
		return;
	}
	if (res < 0) {
		list_fail(l, MEDIA_ERROR_INTERNAL);
	} else if (res == 0 ||
		   fragment_number_compare(&l->row.number, &l->number) != 0) {
		list_fail(l, MEDIA_ERROR_NOT_FOUND);
	} else {
		l->sending = true;
		stored_out_begin(&l->out, &l->row);
	}
	list_pump(l);
}

/* Looks the next number up: the row right after its predecessor. */
static void look_up(struct fragment_list *l)
{
	struct exchange *ex = l->ex;

	if (fragment_number_parse(slice_of(number_text(l)), &l->number) < 0) {
		list_fail(l, MEDIA_ERROR_NOT_FOUND);
		return;
	}
	l->query = (struct store_query){
		.order = STORE_BY_NUMBER,
		.to_ms = INT64_MAX,
		.not_before_ms = operation_not_before_ms(ex),
		.limit = 1,
	};
	memcpy(l->query.stream_id, ex->stream.store.id, STREAM_ID_BYTES);
	if (l->number.seq) {
		l->after = (struct store_fragment){
			.number = {.seq = l->number.seq - 1,
				   .server_ms = UINT64_MAX,
				   .random = (1u << FRAGMENT_RANDOM_BITS) - 1}};
		l->query.after = &l->after;
	}
	l->looking = true;
	l->op.done = found;
	store_list(ex->thread->store, &l->query, &l->row, &l->op);
}

/* Return: there is more to do now. */
static bool list_step(struct fragment_list *l)
{
	int e;

	if (!l->sending) {
		if (l->next == json_array_size(numbers_of(l->ex)))
			list_end(l);
		else
			look_up(l);
		return false;
	}
	e = stored_out_pump(&l->out);
	if (e == 0)
		return false;
	l->sending = false;
	if (e == 1) {
		exchange_count_fragment(l->ex);
		l->ex->thread->metrics->media_points++;
		l->next++;
		return true;
	}
	log_warn("serve", "stream %s: reading a fragment: %s",
		 l->ex->stream.name, strerror(-e));
	if (l->out.sent)
		list_cut(l, e);
	else
		list_fail(l, e == -ENOENT ? MEDIA_ERROR_NOT_FOUND
					  : MEDIA_ERROR_INTERNAL);
	return false;
}

/* Return: more may be sent. */
static bool list_within_pace(struct fragment_list *l)
{
	int e = paced_out_room(&l->paced);

	if (e < 0)
		list_cut(l, e);
	return e > 0;
}

static void list_pump(struct fragment_list *l)
{
	if (l->pumping)
		return;
	l->pumping = true;
	while (exchange_alive(l->ex) && !l->ended && !l->looking &&
	       exchange_backlog(l->ex) < OUTPUT_BYTES_MAX &&
	       list_within_pace(l) && list_step(l))
		;
	l->pumping = false;
	list_free_if_quiet(l);
}

static void list_wake(struct stored_out *so)
{
	list_pump(container_of(so, struct fragment_list, out));
}

static void list_paced(struct paced_out *p)
{
	list_pump(container_of(p, struct fragment_list, paced));
}

static void list_drained(struct exchange *ex)
{
	list_pump(ex->state_of_op);
}

static void list_closed(struct exchange *ex)
{
	list_free_if_quiet(ex->state_of_op);
}

static const struct exchange_handler list_handler = {
	.drained = list_drained,
	.closed = list_closed,
};

static bool is_number(const json_t *v)
{
	const char *s = json_string_value(v);
	size_t len = json_string_length(v);

	return s && len >= 1 && len <= ACK_FRAGMENT_NUMBER_CHARS_MAX &&
	       strspn(s, "0123456789") == len;
}

static int check_numbers(struct exchange *ex)
{
	const json_t *list = numbers_of(ex);
	size_t count = json_array_size(list);
	size_t i;

	if (list && !json_is_array(list)) {
		exchange_error(ex, 400, "SerializationException",
			       "Fragments must be a list.");
		return -EINVAL;
	}
	if (count < 1 || count > FRAGMENT_LIST_MAX) {
		exchange_bad_argument(ex, "Fragments must have 1 to 1000 "
					  "fragment numbers.");
		return -EINVAL;
	}
	for (i = 0; i < count; i++) {
		if (!is_number(json_array_get(list, i))) {
			exchange_bad_argument(ex, "A fragment number is not "
						  "valid.");
			return -EINVAL;
		}
	}
	return 0;
}

/* Return: NULL when there is no memory. */
static struct fragment_list *list_new(struct exchange *ex,
				      struct live_stream *live)
{
	struct fragment_list *l = calloc(1, sizeof(*l));

	if (!l || stored_out_init(&l->out, ex, false, list_wake) < 0) {
		free(l);
		return NULL;
	}
	l->ex = ex;
	l->live = live;
	live->list_count++;
	paced_out_init(&l->paced, ex, list_paced);
	exchange_ref(ex);
	return l;
}

void get_media_for_fragment_list_run(struct exchange *ex)
{
	struct live_stream *live;
	struct fragment_list *l;

	if (check_numbers(ex) < 0)
		return;
	if (!quota_points(ex, QUOTA_MEDIA,
			  (uint32_t)json_array_size(numbers_of(ex)))) {
		quota_exceeded(ex);
		return;
	}
	live = live_stream_get(&ex->thread->live, ex->stream.store.id,
			       ex->stream.retention_hours);
	if (live && live->list_count >= ex->thread->limits.lists) {
		live_stream_put(live);
		exchange_error(ex, 400, "ClientLimitExceededException",
			       "Too many connections for fragments of this "
			       "stream.");
		return;
	}
	l = live ? list_new(ex, live) : NULL;
	if (!l) {
		live_stream_put(live);
		exchange_internal(ex, -ENOMEM);
		return;
	}
	(void)!exchange_begin(ex, "video/x-matroska", EXCHANGE_CHUNKED,
			      &list_handler, l);
	if (ex->stream.key_error)
		list_fail(l, (enum media_error)key_error_ack(
				     ex->stream.key_error));
	list_pump(l);
}
