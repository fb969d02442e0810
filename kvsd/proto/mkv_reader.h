/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Matroska, pushed: bytes go in as they arrive, events come out. Nothing of a
 * frame is kept or copied; memory is the struct and a header buffer of at
 * most MKV_HEADER_BYTES_MAX.
 *
 * Every offset counts bytes since the first byte fed. Events and bytes come
 * in body order, and each body byte is given to bytes() exactly once:
 *
 *	bytes(HEADER)...			EBML header up to here
 *	document()				at the first Cluster, or the first
 *						Tags after both Info and Tracks
 *	tags_begin() bytes(TAGS)... tag()... tag_end()... tags_end()
 *	cluster_begin() bytes(CLUSTER)...
 *		cluster_timecode()
 *		frame_begin() frame_payload()... frame_end()
 *	cluster_end()
 *	document_end()
 *
 * tag() comes when its SimpleTag ends, so possibly before the bytes() of it;
 * tag_end() when the Tag around one or more of them ends, since only then it
 * is known what they are about: Targets may come last.
 * Frame events likewise run ahead of bytes(CLUSTER). What is certain is that
 * all bytes of a region lie between its begin and its end event. Void, Cues,
 * SeekHead between clusters are bytes(OTHER).
 *
 * A cluster of unknown size ends at the next level-1 element or the end of
 * the body; one of known size ends with its last byte, at once.
 */
#ifndef PROTO_MKV_READER_H
#define PROTO_MKV_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/macros.h"
#include "proto/mkv.h"

/* Take a concatenation of documents: each EBML header starts a new one. */
#define MKV_READER_MULTI 0x1u

/* Why the reader gave up; the service maps these to ack error codes. */
enum mkv_error {
	MKV_OK = 0,
	MKV_ERR_NOT_MATROSKA, /* no EBML header, or one we cannot read */
	MKV_ERR_MALFORMED,    /* bad integer, size or nesting */
	MKV_ERR_ELEMENT_SIZE, /* over the bound of its kind */
	MKV_ERR_HEADER_SIZE,  /* over MKV_HEADER_BYTES_MAX */
	MKV_ERR_CODEC_PRIVATE_SIZE,
	MKV_ERR_SECOND_SEGMENT, /* or a second EBML header, without MULTI */
	MKV_ERR_NEW_TRACKS,	/* Tracks (or a first Info) after the header */
	MKV_ERR_NO_TRACKS,	/* no track when the header ends */
	MKV_ERR_BAD_TRACK,	/* no number, a number twice, no codec id */
	MKV_ERR_TOO_MANY_TRACKS,
	MKV_ERR_UNDECLARED_TRACK, /* a frame of a track not in the header */
	MKV_ERR_TIMECODE,	  /* missing, negative or beyond 64-bit ns */
	MKV_ERR_CLUSTER_TIME,	  /* a Cluster's beyond 64-bit ns */
	MKV_ERR_LACING,		  /* lace sizes that do not add up */
	MKV_ERR_TRUNCATED,	  /* the body ends inside an element */
	MKV_ERR_NO_MEMORY,
	MKV_ERR_CALLBACK, /* a callback returned an error */
};
#define MKV_ERROR_COUNT (MKV_ERR_CALLBACK + 1)

const char *mkv_error_name(enum mkv_error error);

enum mkv_region { MKV_REGION_HEADER, MKV_REGION_CLUSTER, MKV_REGION_TAGS,
		  MKV_REGION_OTHER };

struct mkv_document {
	uint64_t begin; /* offset of the EBML header */
	uint64_t end; /* offset one past the header's last byte */
	/* The raw header, @end - @begin bytes; valid until the next one. */
	const uint8_t *header;
	size_t header_bytes;
	uint64_t timecode_scale_ns;
	unsigned int tracks_count;
	struct mkv_track tracks[MKV_TRACKS_MAX];
};

struct mkv_frame {
	unsigned int track_index; /* into the document's tracks */
	uint64_t track; /* its number */
	int16_t relative; /* timecode within the cluster, in ticks */
	uint64_t timecode; /* cluster + relative, in ticks */
	uint64_t time_ns; /* timecode * scale, plus its place in a lace */
	uint64_t duration_ticks; /* BlockDuration (of the whole lace); 0: none */
	/*
	 * SimpleBlock: the flag. BlockGroup: no ReferenceBlock, known at
	 * frame_end() only, which comes when the group ends (frame_begin()
	 * says false). Frames of a lace before its last count as key: only
	 * audio is laced.
	 */
	bool key;
	uint8_t flags; /* as on the wire */
	unsigned int lace_index; /* 0 in a block without lacing */
	unsigned int lace_count; /* 1 in a block without lacing */
	uint64_t block_offset; /* of the SimpleBlock or BlockGroup element */
	uint64_t payload_offset;
	uint32_t payload_bytes;
};

struct mkv_tag_event {
	uint64_t begin; /* of the SimpleTag element */
	uint64_t end;
	bool in_header; /* Tags before Info and Tracks: part of the header */
	/* At most MKV_TAG_{NAME,VALUE}_BYTES_MAX of it; valid in the call. */
	struct mkv_tag tag;
	/* What the body holds; more than the lengths above when cut. */
	uint64_t name_bytes;
	uint64_t value_bytes;
};

/*
 * Each may be NULL. A negative return stops the reader for good with that
 * error (MKV_ERR_CALLBACK); a positive one makes mkv_reader_feed() return
 * once the events of this element are out, to be called again for the rest.
 * Callbacks must not call into the reader.
 */
struct mkv_reader_ops {
	/*
	 * Verbatim bytes of the body, in order, without gap. @bytes points
	 * into the slice fed, or into the reader (valid in the call only) for
	 * the up to 12 bytes of an element head that straddled two slices.
	 */
	int (*bytes)(void *ctx, enum mkv_region region, uint64_t offset,
		     const uint8_t *bytes, size_t len);
	int (*document)(void *ctx, const struct mkv_document *doc);
	/* @size: of the cluster's body, or EBML_SIZE_UNKNOWN */
	int (*cluster_begin)(void *ctx, uint64_t offset, uint64_t size);
	/* @time_ns: @timecode * the document's scale */
	int (*cluster_timecode)(void *ctx, uint64_t timecode, uint64_t time_ns);
	int (*frame_begin)(void *ctx, const struct mkv_frame *frame);
	int (*frame_payload)(void *ctx, const uint8_t *bytes, size_t len);
	int (*frame_end)(void *ctx, const struct mkv_frame *frame);
	int (*cluster_end)(void *ctx, uint64_t offset);
	int (*tags_begin)(void *ctx, uint64_t offset);
	int (*tag)(void *ctx, const struct mkv_tag_event *tag);
	/* @targeted: about a track, edition, chapter or attachment by UID */
	int (*tag_end)(void *ctx, bool targeted);
	int (*tags_end)(void *ctx, uint64_t offset);
	int (*document_end)(void *ctx, uint64_t offset);
};

struct mkv_element;

struct mkv_level {
	uint32_t id;
	uint64_t begin; /* offset of the element */
	uint64_t end; /* where it ends at the latest; UINT64_MAX: no bound */
	bool unknown; /* size not given: a sibling may end it earlier */
};

/* Fields are private, save @offset and @error, which anyone may read. */
struct mkv_reader {
	uint64_t offset; /* bytes consumed */
	enum mkv_error error;
	int failed; /* 0, or the error that every later call returns */

	const struct mkv_reader_ops *ops; /* borrowed */
	void *ctx;
	unsigned int flags;
	int state; /* enum reader_state */
	bool paused;

	const uint8_t *slice; /* in feed() only */
	uint64_t slice_offset; /* of slice[0] */
	uint64_t given; /* bytes() has had everything before this */
	enum mkv_region region;

	uint8_t head[12]; /* id and size of the element being read */
	unsigned int head_len;
	uint64_t head_begin;

	struct mkv_level levels[MKV_DEPTH_MAX];
	unsigned int depth;

	/* The leaf being read. */
	const struct mkv_element *leaf;
	uint64_t body_end;
	uint8_t scratch[16];
	unsigned int scratch_len;
	char *text; /* where a string leaf goes, or NULL */
	size_t text_max;
	size_t text_len;

	struct buf header;
	struct mkv_document doc;
	int stage; /* enum document_stage */
	bool seen_info;
	bool seen_tracks;
	bool header_done;

	struct mkv_track *track; /* the TrackEntry being read */
	uint64_t private_offset[MKV_TRACKS_MAX];

	uint64_t cluster_timecode;
	bool cluster_timed;

	struct mkv_frame frame;
	bool group; /* inside a BlockGroup */
	bool group_block; /* it has had its Block */
	bool group_reference;
	unsigned int laces_known; /* sizes read so far */
	uint32_t lace_size; /* Xiph: of the frame being summed */
	uint64_t lace_sum;
	uint32_t laces[MKV_LACE_FRAMES_MAX];

	bool targeted; /* the Tag being read has a UID in its Targets */
	struct mkv_tag_event tag;
	char tag_name[MKV_TAG_NAME_BYTES_MAX];
	char tag_value[MKV_TAG_VALUE_BYTES_MAX];
	char doc_type[16];
};

/**
 * mkv_reader_init() - a reader at offset 0
 * @ops: borrowed, must outlive the reader
 * @flags: MKV_READER_MULTI or 0
 */
void mkv_reader_init(struct mkv_reader *r, const struct mkv_reader_ops *ops,
		     void *ctx, unsigned int flags);
void mkv_reader_fini(struct mkv_reader *r);

/**
 * mkv_reader_feed() - parse the next bytes of the body
 * @ret_used: bytes consumed: all of them, unless a callback asked to pause
 *
 * Return: 0, 1 (paused: feed the rest again), or a negative error, which
 * sticks: -EBADMSG (malformed: see @error), -EMSGSIZE (over a bound: see
 * @error), -ENOMEM, or what the callback returned. After an error @offset is
 * that of the offending element's end or thereabouts, for the log.
 */
int mkv_reader_feed(struct mkv_reader *r, const uint8_t *bytes, size_t len,
		    size_t *ret_used) MUST_CHECK;

/**
 * mkv_reader_finish() - the body has ended
 *
 * Ends what has an unknown size (cluster_end, document_end). An empty body
 * is fine. No feed() may follow.
 * Return: 0, -EBADMSG (MKV_ERR_TRUNCATED when it ends inside an element; the
 * open cluster then gets no cluster_end), or the error that stuck before.
 */
int mkv_reader_finish(struct mkv_reader *r) MUST_CHECK;

#endif
