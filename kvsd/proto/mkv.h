/* SPDX-License-Identifier: Apache-2.0 */
/* Matroska facts that the reader and the writer share. */
#ifndef PROTO_MKV_H
#define PROTO_MKV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "proto/limits.h"

enum mkv_id {
	MKV_ID_EBML = 0x1a45dfa3,
	MKV_ID_EBML_VERSION = 0x4286,
	MKV_ID_EBML_READ_VERSION = 0x42f7,
	MKV_ID_EBML_MAX_ID_LENGTH = 0x42f2,
	MKV_ID_EBML_MAX_SIZE_LENGTH = 0x42f3,
	MKV_ID_DOC_TYPE = 0x4282,
	MKV_ID_DOC_TYPE_VERSION = 0x4287,
	MKV_ID_DOC_TYPE_READ_VERSION = 0x4285,
	MKV_ID_VOID = 0xec,
	MKV_ID_CRC32 = 0xbf,
	MKV_ID_SEGMENT = 0x18538067,
	MKV_ID_SEEK_HEAD = 0x114d9b74,
	MKV_ID_CUES = 0x1c53bb6b,
	MKV_ID_CHAPTERS = 0x1043a770,
	MKV_ID_ATTACHMENTS = 0x1941a469,
	MKV_ID_INFO = 0x1549a966,
	MKV_ID_TIMECODE_SCALE = 0x2ad7b1,
	MKV_ID_SEGMENT_UID = 0x73a4,
	MKV_ID_TITLE = 0x7ba9,
	MKV_ID_MUXING_APP = 0x4d80,
	MKV_ID_WRITING_APP = 0x5741,
	MKV_ID_TRACKS = 0x1654ae6b,
	MKV_ID_TRACK_ENTRY = 0xae,
	MKV_ID_TRACK_NUMBER = 0xd7,
	MKV_ID_TRACK_UID = 0x73c5,
	MKV_ID_TRACK_TYPE = 0x83,
	MKV_ID_FLAG_LACING = 0x9c,
	MKV_ID_DEFAULT_DURATION = 0x23e383,
	MKV_ID_TRACK_NAME = 0x536e,
	MKV_ID_CODEC_ID = 0x86,
	MKV_ID_CODEC_PRIVATE = 0x63a2,
	MKV_ID_CONTENT_ENCODINGS = 0x6d80,
	MKV_ID_VIDEO = 0xe0,
	MKV_ID_PIXEL_WIDTH = 0xb0,
	MKV_ID_PIXEL_HEIGHT = 0xba,
	MKV_ID_COLOUR_SPACE = 0x2eb524, /* UncompressedFourCC */
	MKV_ID_AUDIO = 0xe1,
	MKV_ID_SAMPLING_FREQUENCY = 0xb5,
	MKV_ID_CHANNELS = 0x9f,
	MKV_ID_BIT_DEPTH = 0x6264,
	MKV_ID_TAGS = 0x1254c367,
	MKV_ID_TAG = 0x7373,
	MKV_ID_TARGETS = 0x63c0,
	MKV_ID_TAG_TRACK_UID = 0x63c5,
	MKV_ID_TAG_EDITION_UID = 0x63c9,
	MKV_ID_TAG_CHAPTER_UID = 0x63c4,
	MKV_ID_TAG_ATTACHMENT_UID = 0x63c6,
	MKV_ID_SIMPLE_TAG = 0x67c8,
	MKV_ID_TAG_NAME = 0x45a3,
	MKV_ID_TAG_STRING = 0x4487,
	MKV_ID_TAG_BINARY = 0x4485,
	MKV_ID_CLUSTER = 0x1f43b675,
	MKV_ID_TIMECODE = 0xe7,
	MKV_ID_SIMPLE_BLOCK = 0xa3,
	MKV_ID_BLOCK_GROUP = 0xa0,
	MKV_ID_BLOCK = 0xa1,
	MKV_ID_BLOCK_DURATION = 0x9b,
	MKV_ID_REFERENCE_BLOCK = 0xfb,
};

enum mkv_track_type {
	MKV_TRACK_VIDEO = 1,
	MKV_TRACK_AUDIO = 2,
	MKV_TRACK_SUBTITLE = 17,
	MKV_TRACK_METADATA = 33, /* thermal, RADAR and other data */
};

/* Flag bits of a block, as on the wire. */
#define MKV_BLOCK_KEY 0x80u /* SimpleBlock only */
#define MKV_BLOCK_INVISIBLE 0x08u
#define MKV_BLOCK_LACING 0x06u
#define MKV_BLOCK_DISCARDABLE 0x01u

#define MKV_TIMECODE_SCALE_DEFAULT_NS 1000000u

struct mkv_track {
	uint64_t number; /* 1 .. 2^56-2; the writer takes 1 .. 126 */
	uint64_t uid; /* 0: absent; the writer then uses the number */
	uint32_t type; /* enum mkv_track_type, or another of Matroska's */
	char codec_id[MKV_CODEC_ID_BYTES_MAX + 1];
	char name[MKV_TRACK_NAME_BYTES_MAX + 1]; /* "": absent */
	/* Borrowed: the reader's header buffer, or the writer's caller's. */
	const uint8_t *codec_private;
	size_t codec_private_bytes;
	uint64_t default_duration_ns; /* 0: absent */
	uint32_t width; /* pixels; 0: not video */
	uint32_t height;
	uint32_t fourcc; /* V_UNCOMPRESSED: first character lowest; else 0 */
	uint32_t rate_hz; /* audio; 0: not audio */
	uint32_t channels;
	uint32_t bits; /* per sample; 0: absent */
	/* Read only: frames are compressed or encrypted by Matroska itself. */
	bool encoded;
};

/* A SimpleTag. Strings are bytes in UTF-8, not NUL-terminated. */
struct mkv_tag {
	const char *name;
	size_t name_len;
	const char *value;
	size_t value_len;
};

enum media_codec {
	CODEC_OTHER,
	CODEC_H264,
	CODEC_H265,
	CODEC_AAC,
	CODEC_ALAW,
	CODEC_MULAW,
	CODEC_MJPEG,
	CODEC_FWHT,
	CODEC_RAW_VIDEO,
};

/*
 * What a track holds, by codec id and, for the Microsoft wrappers
 * (V_MS/VFW/FOURCC, A_MS/ACM), by codec private. Accepts the spellings that
 * the service's documents use: V_MPEG/ISO/AVC, V_MPEG/ISO/HEVC.
 */
enum media_codec mkv_track_codec(const struct mkv_track *track);

#endif
