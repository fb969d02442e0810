/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the files of the Matroska reader: mkv_reader.c (heads, nesting,
 * regions), mkv_leaf.c (values) and mkv_block.c (frames).
 */
#ifndef PROTO_MKV_READER_INT_H
#define PROTO_MKV_READER_INT_H

#include "proto/mkv_reader.h"

enum reader_state {
	READ_HEAD,  /* id and size of the next element */
	READ_LEAF,  /* its value, into scratch or text */
	READ_SKIP,  /* a body nobody wants */
	READ_BLOCK, /* track, timecode, flags of a block */
	READ_LACE,  /* lace sizes */
	READ_PAYLOAD,
	READ_FINISHED,
};

enum document_stage {
	DOC_NONE, /* nothing yet */
	DOC_EBML, /* after the EBML header */
	DOC_SEGMENT,
	DOC_DONE, /* after the Segment */
};

enum element_kind {
	KIND_MASTER,
	KIND_UINT,
	KIND_FLOAT,
	KIND_TEXT,
	KIND_BLOCK,
	KIND_SKIP, /* passed over; its presence or place may matter */
};

struct mkv_element {
	uint32_t id;
	uint32_t parent; /* 0: top level */
	enum element_kind kind;
};

/* Record an error, which then sticks; the second maps @error to its errno. */
int mkv_fail_with(struct mkv_reader *r, enum mkv_error error, int ret);
int mkv_fail(struct mkv_reader *r, enum mkv_error error);

/* Takes what a callback returned: fails, pauses or goes on. */
int mkv_called(struct mkv_reader *r, int ret);

#define MKV_EMIT(r, event, ...)                                          \
	((r)->ops->event                                                 \
		 ? mkv_called(r, (r)->ops->event((r)->ctx, __VA_ARGS__)) \
		 : 0)

/* An element ended at r->offset: so do the masters that end there. */
int mkv_pop_ended(struct mkv_reader *r);

/*
 * Chooses the state that reads a body of @size bytes. @id is 0 for an element
 * that is not in the table at this place.
 */
int mkv_begin_leaf(struct mkv_reader *r, const struct mkv_element *e,
		   uint64_t size);
int mkv_begin_skip(struct mkv_reader *r, uint32_t id, uint64_t size);

/* Each reads from @len > 0 bytes at @p, as many as it wants. */
int mkv_read_leaf(struct mkv_reader *r, const uint8_t *p, size_t len);
int mkv_read_block(struct mkv_reader *r, const uint8_t *p, size_t len);
int mkv_read_lace(struct mkv_reader *r, const uint8_t *p, size_t len);
int mkv_read_payload(struct mkv_reader *r, const uint8_t *p, size_t len);

#endif
