/* SPDX-License-Identifier: Apache-2.0 */
/* Every bound of the codecs, by codec. */
#ifndef PROTO_LIMITS_H
#define PROTO_LIMITS_H

/* --- HTTP/1.1 --- */
#define HTTP_HEAD_BYTES_MAX (16u * 1024)
#define HTTP_FIELDS_MAX 64u
#define HTTP_CHUNK_LINE_BYTES_MAX 256u	/* size and extensions */
#define HTTP_TRAILER_BYTES_MAX 4096u
#define HTTP_QUERY_PARAMS_MAX 64u

/* --- SigV4 --- */
#define SIGV4_CANONICAL_BYTES_MAX (128u * 1024)
#define SIGV4_SKEW_S_MAX (15u * 60)
#define SIGV4_EXPIRES_S_MAX (7u * 24 * 3600)
#define SIGV4_ACCESS_KEY_CHARS_MAX 128u
#define SIGV4_SECRET_CHARS_MAX 256u
#define SIGV4_SCOPE_CHARS_MAX 64u	/* region, service */
#define SIGV4_CLAIM_CHARS_MAX 1024u	/* of a presigned URL */
#define SIGV4_PATH_SEGMENTS_MAX 64u
#define SIGV4_SIGNED_HEADERS_CHARS_MAX 2048u

/* --- PutMedia acknowledgements --- */
#define ACK_BYTES_MAX 1024u
#define ACK_FRAGMENT_NUMBER_CHARS_MAX 128u
#define ACK_ERROR_CODE_CHARS_MAX 64u
#define ACK_NESTING_MAX 8u		/* inside keys we do not know */

/* --- names (lengths of the service models) --- */
#define STREAM_NAME_CHARS_MAX 256u
#define DEVICE_NAME_CHARS_MAX 128u
#define MEDIA_TYPE_CHARS_MAX 128u
#define KMS_KEY_ID_CHARS_MAX 2048u
#define VERSION_CHARS_MAX 64u
#define ARN_CHARS_MAX 1024u
#define REGION_CHARS_MAX 64u
#define STREAM_CREATED_CHARS 13u	/* epoch ms in an ARN, until 2286 */
#define STREAM_CREATED_MS_MAX 9999999999999ull

/* --- Matroska: reading --- */
/* Raw bytes before the first Cluster: a 1 MiB CodecPrivate, and as much again. */
#define MKV_HEADER_BYTES_MAX (2u << 20)
#define MKV_CODEC_PRIVATE_BYTES_MAX (1u << 20) /* the service's own limit */
#define MKV_TRACKS_MAX 3 /* the service's own limit: ack 4012 beyond it */
/* The service allows 32; longer ids and names exist in the wild. */
#define MKV_CODEC_ID_BYTES_MAX 64
#define MKV_TRACK_NAME_BYTES_MAX 64
/* Kept of a tag; the service allows 128 and 256, more is reported by size. */
#define MKV_TAG_NAME_BYTES_MAX 256
#define MKV_TAG_VALUE_BYTES_MAX 1024
/* One block: over the 50 MB that a whole fragment may have. */
#define MKV_BLOCK_BYTES_MAX (64u << 20)
/* One element that is passed over (Cues, Void, Attachments). */
#define MKV_SKIP_BYTES_MAX (256u << 20)
#define MKV_DEPTH_MAX 8 /* Segment, Cluster, BlockGroup, Block is 4 */
#define MKV_LACE_FRAMES_MAX 256 /* the count field is one byte */
#define MKV_TIMECODE_SCALE_NS_MAX 1000000000u /* one second */

/* --- Matroska: writing --- */
#define MKV_CLUSTER_HEAD_BYTES 15
#define MKV_BLOCK_HEAD_BYTES 9
#define MKV_WRITE_TAGS_MAX 64 /* per Tags element */

/* --- H.264, H.265 --- */
#define NAL_PIECES_MAX 512 /* NAL units in one access unit */
#define NAL_PARAMETER_SETS_MAX 32 /* of each kind, in one codec private */
#define NAL_SPS_BYTES_MAX 4096
#define NAL_PICTURE_SIDE_MAX 16384 /* pixels */

/* --- Per-frame index and MP4 --- */
/* 20 s of a 1 kHz data track and two more tracks, generously. */
#define FRAME_INDEX_BYTES_MAX (1u << 20)
#define MP4_TRACKS_MAX MKV_TRACKS_MAX
#define MP4_SAMPLES_MAX (4u << 20) /* per track */
#define MP4_HEADER_BYTES_MAX (128u << 20)
/* Places a picture may be decoded before its turn; H.264 allows 16. */
#define MP4_REORDER_MAX 64

#endif
