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

#endif
