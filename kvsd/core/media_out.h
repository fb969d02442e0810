/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service's own Matroska tags: which of a producer's tags are reserved,
 * and what GetMedia and GetMediaForFragmentList write around each fragment:
 *
 *	producer's header | Tags{number, times} | Cluster, producer's Tags |
 *	Tags{behind now, continuation token}	(GetMedia only)
 */
#ifndef CORE_MEDIA_OUT_H
#define CORE_MEDIA_OUT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/macros.h"
#include "proto/fragment_number.h"
#include "proto/mkv.h"
#include "proto/slice.h"

enum media_tag {
	MEDIA_TAG_USER,
	MEDIA_TAG_RESERVED, /* the service's, and a producer may set it */
	MEDIA_TAG_END_OF_FRAGMENT,
	MEDIA_TAG_FORGED,   /* readers would take it for the service's word */
	MEDIA_TAG_TOO_LONG, /* or without a name */
};

/* @name_bytes, @value_bytes: as in the body; @tag may hold less. */
enum media_tag media_tag_kind(const struct mkv_tag *tag, uint64_t name_bytes,
			      uint64_t value_bytes);

/*
 * The Segment's size in a header becomes unknown, in as many bytes: readers
 * get the header with one fragment at a time, so the whole file's size would
 * be a lie. The one place where a producer's byte is changed (what the real
 * service does, too). No-op on a header that is none.
 */
void media_out_open_segment(uint8_t *header, size_t len);

/* Enough for any of the Tags below. */
#define MEDIA_OUT_TAGS_BYTES_MAX 1024u

/* Each appends one Tags element. Return: 0, -ENOBUFS, -ENOMEM. */
int media_out_before(struct buf *out, const struct fragment_number *number,
		     uint64_t server_ms, uint64_t producer_ms) MUST_CHECK;
int media_out_after(struct buf *out, const struct fragment_number *number,
		    uint64_t behind_ms) MUST_CHECK;

/* AWS_KINESISVIDEO_ERROR_ID */
enum media_error {
	MEDIA_ERROR_WRITING = 3002,
	MEDIA_ERROR_NOT_FOUND = 4000,
	MEDIA_ERROR_KMS_FIRST = 4500, /* these as in acks (proto/ack.h) */
	MEDIA_ERROR_KMS_LAST = 4506,
	MEDIA_ERROR_INTERNAL = 5000,
};

/*
 * The last Tags of a body that fails. Stands alone, so it is a document of
 * its own: EBML header and Segment come with it.
 * @number: of the fragment it is about, as the client named it; may be empty
 */
int media_out_error(struct buf *out, struct slice number,
		    enum media_error error) MUST_CHECK;
/* The same in the words of GetMediaForFragmentList, and in those above. */
int media_out_exception(struct buf *out, struct slice number,
			enum media_error error) MUST_CHECK;

#endif
