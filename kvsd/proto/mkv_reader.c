/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/mkv_reader.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "proto/ebml.h"
#include "proto/mkv_reader_int.h"

/* Elements not listed are passed over. The busiest come first. */
static const struct mkv_element elements[] = {
	{MKV_ID_SIMPLE_BLOCK, MKV_ID_CLUSTER, KIND_BLOCK},
	{MKV_ID_BLOCK_GROUP, MKV_ID_CLUSTER, KIND_MASTER},
	{MKV_ID_BLOCK, MKV_ID_BLOCK_GROUP, KIND_BLOCK},
	{MKV_ID_BLOCK_DURATION, MKV_ID_BLOCK_GROUP, KIND_UINT},
	{MKV_ID_REFERENCE_BLOCK, MKV_ID_BLOCK_GROUP, KIND_SKIP},
	{MKV_ID_CLUSTER, MKV_ID_SEGMENT, KIND_MASTER},
	{MKV_ID_TIMECODE, MKV_ID_CLUSTER, KIND_UINT},
	{MKV_ID_TAGS, MKV_ID_SEGMENT, KIND_MASTER},
	{MKV_ID_TAG, MKV_ID_TAGS, KIND_MASTER},
	{MKV_ID_TARGETS, MKV_ID_TAG, KIND_MASTER},
	{MKV_ID_TAG_TRACK_UID, MKV_ID_TARGETS, KIND_SKIP},
	{MKV_ID_TAG_EDITION_UID, MKV_ID_TARGETS, KIND_SKIP},
	{MKV_ID_TAG_CHAPTER_UID, MKV_ID_TARGETS, KIND_SKIP},
	{MKV_ID_TAG_ATTACHMENT_UID, MKV_ID_TARGETS, KIND_SKIP},
	{MKV_ID_SIMPLE_TAG, MKV_ID_TAG, KIND_MASTER},
	{MKV_ID_TAG_NAME, MKV_ID_SIMPLE_TAG, KIND_TEXT},
	{MKV_ID_TAG_STRING, MKV_ID_SIMPLE_TAG, KIND_TEXT},
	{MKV_ID_TAG_BINARY, MKV_ID_SIMPLE_TAG, KIND_SKIP},
	{MKV_ID_EBML, 0, KIND_MASTER},
	{MKV_ID_EBML_READ_VERSION, MKV_ID_EBML, KIND_UINT},
	{MKV_ID_EBML_MAX_ID_LENGTH, MKV_ID_EBML, KIND_UINT},
	{MKV_ID_EBML_MAX_SIZE_LENGTH, MKV_ID_EBML, KIND_UINT},
	{MKV_ID_DOC_TYPE, MKV_ID_EBML, KIND_TEXT},
	{MKV_ID_SEGMENT, 0, KIND_MASTER},
	{MKV_ID_INFO, MKV_ID_SEGMENT, KIND_MASTER},
	{MKV_ID_TIMECODE_SCALE, MKV_ID_INFO, KIND_UINT},
	{MKV_ID_TRACKS, MKV_ID_SEGMENT, KIND_MASTER},
	{MKV_ID_TRACK_ENTRY, MKV_ID_TRACKS, KIND_MASTER},
	{MKV_ID_TRACK_NUMBER, MKV_ID_TRACK_ENTRY, KIND_UINT},
	{MKV_ID_TRACK_UID, MKV_ID_TRACK_ENTRY, KIND_UINT},
	{MKV_ID_TRACK_TYPE, MKV_ID_TRACK_ENTRY, KIND_UINT},
	{MKV_ID_DEFAULT_DURATION, MKV_ID_TRACK_ENTRY, KIND_UINT},
	{MKV_ID_TRACK_NAME, MKV_ID_TRACK_ENTRY, KIND_TEXT},
	{MKV_ID_CODEC_ID, MKV_ID_TRACK_ENTRY, KIND_TEXT},
	{MKV_ID_CODEC_PRIVATE, MKV_ID_TRACK_ENTRY, KIND_SKIP},
	{MKV_ID_CONTENT_ENCODINGS, MKV_ID_TRACK_ENTRY, KIND_SKIP},
	{MKV_ID_VIDEO, MKV_ID_TRACK_ENTRY, KIND_MASTER},
	{MKV_ID_PIXEL_WIDTH, MKV_ID_VIDEO, KIND_UINT},
	{MKV_ID_PIXEL_HEIGHT, MKV_ID_VIDEO, KIND_UINT},
	{MKV_ID_COLOUR_SPACE, MKV_ID_VIDEO, KIND_UINT},
	{MKV_ID_AUDIO, MKV_ID_TRACK_ENTRY, KIND_MASTER},
	{MKV_ID_SAMPLING_FREQUENCY, MKV_ID_AUDIO, KIND_FLOAT},
	{MKV_ID_CHANNELS, MKV_ID_AUDIO, KIND_UINT},
	{MKV_ID_BIT_DEPTH, MKV_ID_AUDIO, KIND_UINT},
};

static const char *const error_names[] = {
	[MKV_OK] = "ok",
	[MKV_ERR_NOT_MATROSKA] = "not Matroska",
	[MKV_ERR_MALFORMED] = "malformed element",
	[MKV_ERR_ELEMENT_SIZE] = "element too large",
	[MKV_ERR_HEADER_SIZE] = "header too large",
	[MKV_ERR_CODEC_PRIVATE_SIZE] = "codec private too large",
	[MKV_ERR_SECOND_SEGMENT] = "second Segment",
	[MKV_ERR_NEW_TRACKS] = "Tracks or Info after the header",
	[MKV_ERR_NO_TRACKS] = "no track",
	[MKV_ERR_BAD_TRACK] = "bad track entry",
	[MKV_ERR_TOO_MANY_TRACKS] = "too many tracks",
	[MKV_ERR_UNDECLARED_TRACK] = "frame of an undeclared track",
	[MKV_ERR_TIMECODE] = "timecode missing or out of range",
	[MKV_ERR_CLUSTER_TIME] = "a Cluster at no time that there is",
	[MKV_ERR_LACING] = "bad lacing",
	[MKV_ERR_TRUNCATED] = "ends inside an element",
	[MKV_ERR_NO_MEMORY] = "no memory",
	[MKV_ERR_CALLBACK] = "refused by its consumer",
};
_Static_assert(ARRAY_SIZE(error_names) == MKV_ERROR_COUNT, "one name each");

const char *mkv_error_name(enum mkv_error error)
{
	return error_names[error];
}

/* --- errors, events, bytes ------------------------------------------------ */

int mkv_fail_with(struct mkv_reader *r, enum mkv_error error, int ret)
{
	r->error = error;
	r->failed = ret;
	return ret;
}

int mkv_fail(struct mkv_reader *r, enum mkv_error error)
{
	switch (error) {
	case MKV_ERR_ELEMENT_SIZE:
	case MKV_ERR_HEADER_SIZE:
	case MKV_ERR_CODEC_PRIVATE_SIZE:
	case MKV_ERR_TOO_MANY_TRACKS:
		return mkv_fail_with(r, error, -EMSGSIZE);
	case MKV_ERR_NO_MEMORY:
		return mkv_fail_with(r, error, -ENOMEM);
	default:
		return mkv_fail_with(r, error, -EBADMSG);
	}
}

int mkv_called(struct mkv_reader *r, int ret)
{
	if (ret < 0)
		return mkv_fail_with(r, MKV_ERR_CALLBACK, ret);
	if (ret > 0)
		r->paused = true;
	return 0;
}

static int give(struct mkv_reader *r, const uint8_t *bytes, size_t len)
{
	int ret;

	if (r->region == MKV_REGION_HEADER) {
		ret = buf_add(&r->header, bytes, len);
		if (ret)
			return mkv_fail(r, ret == -ENOBUFS ? MKV_ERR_HEADER_SIZE
							   : MKV_ERR_NO_MEMORY);
	}
	ret = MKV_EMIT(r, bytes, r->region, r->given, bytes, len);
	r->given += len;
	return ret;
}

/* Hands out the bytes before offset @to, which belong to the region. */
static int give_until(struct mkv_reader *r, uint64_t to)
{
	int ret;

	if (to <= r->given)
		return 0;
	if (r->given < r->slice_offset) {
		/* The start of a head that the last slice cut in two. */
		assert(r->given >= r->head_begin && to >= r->slice_offset);
		ret = give(r, r->head + (r->given - r->head_begin),
			   (size_t)(r->slice_offset - r->given));
		if (ret)
			return ret;
	}
	if (to == r->given)
		return 0;
	return give(r, r->slice + (r->given - r->slice_offset),
		    (size_t)(to - r->given));
}

static int enter_region(struct mkv_reader *r, enum mkv_region region,
			uint64_t at)
{
	int ret = give_until(r, at);

	if (!ret)
		r->region = region;
	return ret;
}

/* --- documents ------------------------------------------------------------ */

static void begin_document(struct mkv_reader *r)
{
	buf_reset(&r->header);
	r->doc = (struct mkv_document){
		.begin = r->head_begin,
		.timecode_scale_ns = MKV_TIMECODE_SCALE_DEFAULT_NS,
	};
	memset(r->private_offset, 0, sizeof(r->private_offset));
	memset(r->doc_type, 0, sizeof(r->doc_type));
	r->seen_info = false;
	r->seen_tracks = false;
	r->header_done = false;
}

/* The header ends at offset @at: everything before it was collected. */
static int end_header(struct mkv_reader *r, uint64_t at)
{
	struct mkv_document *doc = &r->doc;
	unsigned int i;
	int ret;

	ret = enter_region(r, MKV_REGION_OTHER, at);
	if (ret)
		return ret;
	if (!doc->tracks_count)
		return mkv_fail(r, MKV_ERR_NO_TRACKS);
	r->header_done = true;
	doc->end = at;
	doc->header = buf_head(&r->header);
	doc->header_bytes = buf_len(&r->header);
	assert(doc->header_bytes == at - doc->begin);
	for (i = 0; i < doc->tracks_count; i++) {
		if (doc->tracks[i].codec_private_bytes)
			doc->tracks[i].codec_private =
				doc->header +
				(r->private_offset[i] - doc->begin);
	}
	return MKV_EMIT(r, document, doc);
}

static int check_doc_type(struct mkv_reader *r)
{
	if (strcmp(r->doc_type, "matroska") && strcmp(r->doc_type, "webm"))
		return mkv_fail(r, MKV_ERR_NOT_MATROSKA);
	r->stage = DOC_EBML;
	return 0;
}

static int end_track(struct mkv_reader *r)
{
	struct mkv_document *doc = &r->doc;
	unsigned int i;

	if (!r->track->number || !r->track->codec_id[0])
		return mkv_fail(r, MKV_ERR_BAD_TRACK);
	for (i = 0; i < doc->tracks_count; i++) {
		if (doc->tracks[i].number == r->track->number)
			return mkv_fail(r, MKV_ERR_BAD_TRACK);
	}
	doc->tracks_count++;
	r->track = NULL;
	return 0;
}

/* --- nesting -------------------------------------------------------------- */

static int end_segment(struct mkv_reader *r, uint64_t at)
{
	int ret;

	if (!r->header_done) {
		ret = end_header(r, at);
		if (ret)
			return ret;
	}
	ret = enter_region(r, MKV_REGION_OTHER, at);
	if (ret)
		return ret;
	r->stage = DOC_DONE;
	return MKV_EMIT(r, document_end, at);
}

static int end_cluster(struct mkv_reader *r, uint64_t at)
{
	int ret;

	if (!r->cluster_timed)
		return mkv_fail(r, MKV_ERR_TIMECODE);
	ret = enter_region(r, MKV_REGION_OTHER, at);
	return ret ? ret : MKV_EMIT(r, cluster_end, at);
}

static int end_tags(struct mkv_reader *r, uint64_t at)
{
	int ret;

	if (r->region != MKV_REGION_TAGS)
		return 0; /* part of the header */
	ret = enter_region(r, MKV_REGION_OTHER, at);
	return ret ? ret : MKV_EMIT(r, tags_end, at);
}

static int end_simple_tag(struct mkv_reader *r, uint64_t at)
{
	struct mkv_tag_event *t = &r->tag;

	t->end = at;
	t->in_header = r->region == MKV_REGION_HEADER;
	t->tag.name = r->tag_name;
	t->tag.value = r->tag_value;
	/* EBML strings may be padded with NULs. */
	t->tag.name_len = strnlen(r->tag_name, t->tag.name_len);
	t->tag.value_len = strnlen(r->tag_value, t->tag.value_len);
	return MKV_EMIT(r, tag, t);
}

static int end_group(struct mkv_reader *r)
{
	r->group = false;
	if (!r->group_block)
		return 0;
	r->frame.key = !r->group_reference;
	return MKV_EMIT(r, frame_end, &r->frame);
}

/* The innermost master ends at offset @at. */
static int pop_level(struct mkv_reader *r, uint64_t at)
{
	uint32_t id = r->levels[--r->depth].id;

	switch (id) {
	case MKV_ID_EBML:
		return check_doc_type(r);
	case MKV_ID_SEGMENT:
		return end_segment(r, at);
	case MKV_ID_TRACK_ENTRY:
		return end_track(r);
	case MKV_ID_CLUSTER:
		return end_cluster(r, at);
	case MKV_ID_TAGS:
		return end_tags(r, at);
	case MKV_ID_TAG:
		return MKV_EMIT(r, tag_end, r->targeted);
	case MKV_ID_SIMPLE_TAG:
		return end_simple_tag(r, at);
	case MKV_ID_BLOCK_GROUP:
		return end_group(r);
	default:
		return 0;
	}
}

int mkv_pop_ended(struct mkv_reader *r)
{
	int ret;

	r->state = READ_HEAD;
	while (r->depth && r->levels[r->depth - 1].end == r->offset) {
		ret = pop_level(r, r->offset);
		if (ret)
			return ret;
	}
	return 0;
}

static bool is_top_level(uint32_t id)
{
	return id == MKV_ID_EBML || id == MKV_ID_SEGMENT;
}

static bool is_segment_level(uint32_t id)
{
	switch (id) {
	case MKV_ID_CLUSTER:
	case MKV_ID_TAGS:
	case MKV_ID_CUES:
	case MKV_ID_SEEK_HEAD:
	case MKV_ID_INFO:
	case MKV_ID_TRACKS:
	case MKV_ID_CHAPTERS:
	case MKV_ID_ATTACHMENTS:
		return true;
	default:
		return false;
	}
}

/* Ends the masters of unknown size that element @id cannot be inside of. */
static int pop_unknown(struct mkv_reader *r, uint32_t id)
{
	const struct mkv_level *top;
	bool ends;
	int ret;

	while (r->depth) {
		top = &r->levels[r->depth - 1];
		ends = is_top_level(id) ||
		       (top->id == MKV_ID_CLUSTER && is_segment_level(id));
		if (!top->unknown || !ends)
			return 0;
		ret = pop_level(r, r->head_begin);
		if (ret)
			return ret;
	}
	return 0;
}

static int push_level(struct mkv_reader *r, uint32_t id, uint64_t size)
{
	uint64_t bound = UINT64_MAX;

	if (r->depth)
		bound = r->levels[r->depth - 1].end;
	if (size != EBML_SIZE_UNKNOWN)
		bound = r->offset + size;
	assert(r->depth < MKV_DEPTH_MAX);
	r->levels[r->depth++] = (struct mkv_level){
		.id = id,
		.begin = r->head_begin,
		.end = bound,
		.unknown = size == EBML_SIZE_UNKNOWN,
	};
	return mkv_pop_ended(r);
}

/* --- masters begin -------------------------------------------------------- */

static int begin_ebml(struct mkv_reader *r)
{
	int ret;

	if (r->stage == DOC_DONE && !(r->flags & MKV_READER_MULTI))
		return mkv_fail(r, MKV_ERR_SECOND_SEGMENT);
	if (r->stage != DOC_NONE && r->stage != DOC_DONE)
		return mkv_fail(r, MKV_ERR_MALFORMED);
	ret = enter_region(r, MKV_REGION_HEADER, r->head_begin);
	if (!ret)
		begin_document(r);
	return ret;
}

static int begin_segment(struct mkv_reader *r)
{
	if (r->stage == DOC_DONE)
		return mkv_fail(r, MKV_ERR_SECOND_SEGMENT);
	if (r->stage != DOC_EBML)
		return mkv_fail(r, MKV_ERR_NOT_MATROSKA);
	r->stage = DOC_SEGMENT;
	return 0;
}

static int begin_cluster(struct mkv_reader *r, uint64_t size)
{
	int ret = 0;

	if (!r->header_done)
		ret = end_header(r, r->head_begin);
	if (!ret)
		ret = enter_region(r, MKV_REGION_CLUSTER, r->head_begin);
	if (ret)
		return ret;
	r->cluster_timed = false;
	return MKV_EMIT(r, cluster_begin, r->head_begin, size);
}

static int begin_tags(struct mkv_reader *r)
{
	int ret = 0;

	if (!r->header_done) {
		if (!r->seen_info || !r->seen_tracks)
			return 0; /* part of the header */
		ret = end_header(r, r->head_begin);
	}
	if (!ret)
		ret = enter_region(r, MKV_REGION_TAGS, r->head_begin);
	return ret ? ret : MKV_EMIT(r, tags_begin, r->head_begin);
}

static int begin_tracks(struct mkv_reader *r)
{
	if (r->header_done || r->seen_tracks)
		return mkv_fail(r, MKV_ERR_NEW_TRACKS);
	r->seen_tracks = true;
	return 0;
}

static int begin_track(struct mkv_reader *r)
{
	if (r->doc.tracks_count == MKV_TRACKS_MAX)
		return mkv_fail(r, MKV_ERR_TOO_MANY_TRACKS);
	r->track = &r->doc.tracks[r->doc.tracks_count];
	*r->track = (struct mkv_track){0};
	return 0;
}

static void begin_group(struct mkv_reader *r)
{
	r->group = true;
	r->group_block = false;
	r->group_reference = false;
	r->frame = (struct mkv_frame){.block_offset = r->head_begin};
}

static int begin_master(struct mkv_reader *r, uint32_t id, uint64_t size)
{
	switch (id) {
	case MKV_ID_EBML:
		return begin_ebml(r);
	case MKV_ID_SEGMENT:
		return begin_segment(r);
	case MKV_ID_INFO:
		if (r->header_done)
			return mkv_fail(r, MKV_ERR_NEW_TRACKS);
		r->seen_info = true;
		return 0;
	case MKV_ID_TRACKS:
		return begin_tracks(r);
	case MKV_ID_TRACK_ENTRY:
		return begin_track(r);
	case MKV_ID_AUDIO:
		r->track->rate_hz = 8000; /* Matroska's defaults */
		r->track->channels = 1;
		return 0;
	case MKV_ID_CLUSTER:
		return begin_cluster(r, size);
	case MKV_ID_TAGS:
		return begin_tags(r);
	case MKV_ID_TAG:
		r->targeted = false;
		return 0;
	case MKV_ID_SIMPLE_TAG:
		r->tag = (struct mkv_tag_event){.begin = r->head_begin};
		return 0;
	case MKV_ID_BLOCK_GROUP:
		begin_group(r);
		return 0;
	default:
		return 0;
	}
}

/* --- element heads -------------------------------------------------------- */

static const struct mkv_element *find_element(uint32_t id, uint32_t parent)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(elements); i++) {
		if (elements[i].id == id && elements[i].parent == parent)
			return &elements[i];
	}
	return NULL;
}

/* An element we know from another place, or none of ours. */
static int begin_unlisted(struct mkv_reader *r, uint32_t id, uint32_t parent,
			  uint64_t size)
{
	if (is_top_level(id) && parent == MKV_ID_SEGMENT)
		return mkv_fail(r, MKV_ERR_SECOND_SEGMENT);
	if (is_top_level(id) ||
	    (is_segment_level(id) && parent != MKV_ID_SEGMENT))
		return mkv_fail(r, r->stage == DOC_NONE ? MKV_ERR_NOT_MATROSKA
							: MKV_ERR_MALFORMED);
	if (!parent && id != MKV_ID_VOID && id != MKV_ID_CRC32)
		return mkv_fail(r, r->stage == DOC_NONE ? MKV_ERR_NOT_MATROSKA
							: MKV_ERR_MALFORMED);
	/* Out of its place, an id means nothing. */
	return mkv_begin_skip(r, 0, size);
}

/* The head of an element is complete; r->offset is where its body begins. */
static int begin_element(struct mkv_reader *r, uint32_t id, uint64_t size)
{
	const struct mkv_element *e;
	const struct mkv_level *top;
	uint32_t parent = 0;
	int ret;

	ret = pop_unknown(r, id);
	if (ret)
		return ret;
	if (r->depth) {
		top = &r->levels[r->depth - 1];
		parent = top->id;
		if (r->offset > top->end ||
		    (size != EBML_SIZE_UNKNOWN && size > top->end - r->offset))
			return mkv_fail(r, MKV_ERR_MALFORMED);
	}
	if (size == EBML_SIZE_UNKNOWN && id != MKV_ID_SEGMENT &&
	    id != MKV_ID_CLUSTER)
		return mkv_fail(r, MKV_ERR_MALFORMED);
	r->body_end = r->offset + size;
	e = find_element(id, parent);
	if (e && e->kind == KIND_MASTER) {
		ret = begin_master(r, id, size);
		return ret ? ret : push_level(r, id, size);
	}
	if (e && e->kind != KIND_SKIP)
		return mkv_begin_leaf(r, e, size);
	ret = e ? mkv_begin_skip(r, id, size)
		: begin_unlisted(r, id, parent, size);
	if (!ret && !size)
		ret = mkv_pop_ended(r);
	return ret;
}

/* Bytes that the head has at least, judged by those read so far; 0: bad. */
static unsigned int head_wants(const struct mkv_reader *r)
{
	unsigned int id_width;
	unsigned int size_width;

	if (!r->head_len)
		return 1;
	id_width = ebml_width(r->head[0]);
	if (!id_width || id_width > EBML_ID_BYTES_MAX)
		return 0;
	if (r->head_len <= id_width)
		return id_width + 1;
	size_width = ebml_width(r->head[id_width]);
	return size_width ? id_width + size_width : 0;
}

static int bad_head(struct mkv_reader *r)
{
	return mkv_fail(r, r->stage == DOC_NONE && !r->depth
				   ? MKV_ERR_NOT_MATROSKA
				   : MKV_ERR_MALFORMED);
}

static int read_head(struct mkv_reader *r, const uint8_t *p, size_t len)
{
	bool straddled;
	unsigned int wants;
	uint64_t size;
	uint32_t id;
	int width;
	int ret;

	if (!r->head_len)
		r->head_begin = r->offset;
	for (;;) {
		wants = head_wants(r);
		if (!wants)
			return bad_head(r);
		if (wants == r->head_len)
			break;
		if (!len)
			return 0;
		r->head[r->head_len++] = *p++;
		r->offset++;
		len--;
	}
	width = ebml_read_id(r->head, r->head_len, &id);
	if (width < 0 ||
	    ebml_read_size(r->head + width, r->head_len - (unsigned int)width,
			   &size) < 0)
		return bad_head(r);
	r->head_len = 0;
	straddled = r->head_begin < r->slice_offset;
	ret = begin_element(r, id, size);
	/* Before the next head overwrites this one. */
	if (!ret && straddled)
		ret = give_until(r, r->offset);
	return ret;
}

/* --- feeding -------------------------------------------------------------- */

static int read_skip(struct mkv_reader *r, size_t len)
{
	r->offset += MIN((uint64_t)len, r->body_end - r->offset);
	return r->offset == r->body_end ? mkv_pop_ended(r) : 0;
}

static int read_some(struct mkv_reader *r, const uint8_t *p, size_t len)
{
	switch ((enum reader_state)r->state) {
	case READ_HEAD:
		return read_head(r, p, len);
	case READ_LEAF:
		return mkv_read_leaf(r, p, len);
	case READ_SKIP:
		return read_skip(r, len);
	case READ_BLOCK:
		return mkv_read_block(r, p, len);
	case READ_LACE:
		return mkv_read_lace(r, p, len);
	case READ_PAYLOAD:
		return mkv_read_payload(r, p, len);
	case READ_FINISHED:
		break;
	}
	assert(!"fed after its end");
	return -EINVAL;
}

int mkv_reader_feed(struct mkv_reader *r, const uint8_t *bytes, size_t len,
		    size_t *ret_used)
{
	uint64_t end = r->offset + len;
	int ret;

	if (r->failed)
		return r->failed;
	r->slice = bytes;
	r->slice_offset = r->offset;
	r->paused = false;
	while (r->offset < end && !r->paused) {
		ret = read_some(r, bytes + (r->offset - r->slice_offset),
				(size_t)(end - r->offset));
		if (ret)
			return ret;
	}
	/* Whose bytes a half-read head are is not known yet. */
	ret = give_until(r, r->state == READ_HEAD && r->head_len ? r->head_begin
								 : r->offset);
	if (ret)
		return ret;
	*ret_used = (size_t)(r->offset - r->slice_offset);
	r->slice = NULL;
	return r->offset < end;
}

int mkv_reader_finish(struct mkv_reader *r)
{
	const struct mkv_level *top;
	int ret;

	if (r->failed)
		return r->failed;
	if (r->state == READ_FINISHED)
		return 0;
	if (r->state != READ_HEAD || r->head_len || r->stage == DOC_EBML)
		return mkv_fail(r, MKV_ERR_TRUNCATED);
	r->slice_offset = r->offset;
	while (r->depth) {
		/* A Segment's size may lie when its muxer was cut off. */
		top = &r->levels[r->depth - 1];
		if (!top->unknown && top->id != MKV_ID_SEGMENT)
			return mkv_fail(r, MKV_ERR_TRUNCATED);
		ret = pop_level(r, r->offset);
		if (ret)
			return ret;
	}
	r->state = READ_FINISHED;
	return 0;
}

void mkv_reader_init(struct mkv_reader *r, const struct mkv_reader_ops *ops,
		     void *ctx, unsigned int flags)
{
	memset(r, 0, sizeof(*r));
	r->ops = ops;
	r->ctx = ctx;
	r->flags = flags;
	r->region = MKV_REGION_OTHER;
	buf_init(&r->header, MKV_HEADER_BYTES_MAX);
}

void mkv_reader_fini(struct mkv_reader *r)
{
	buf_fini(&r->header);
}
