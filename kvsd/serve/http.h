/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client connection and the one request it is about: head, signature, JSON
 * body, the thread that owns the stream, answer; then the next request.
 *
 *	HEAD -> BODY -> (moved) -> KEY -> FINDING -> RUNNING -> HEAD
 *
 * Before KEY only what any caller may cost is spent: the head, the signature's
 * form and date, and a JSON body within BODIES_BYTES_MAX of all of a thread.
 * The last byte of what has been read stays with the connection until the
 * request runs.
 *
 * Everything runs on the loop of @thread.
 */
#ifndef SERVE_HTTP_H
#define SERVE_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/macros.h"
#include "core/catalog.h"
#include "proto/http.h"
#include "proto/sigv4.h"
#include "serve/metrics.h"

struct conn;
struct exchange;
struct iovec;
struct server_thread;

/* What an operation that streams needs to hear of. Any may be NULL. */
struct exchange_handler {
	/* Payload of the request's body; returns how much was used. Offered
	 * again after exchange_resume(). */
	size_t (*data)(struct exchange *ex, const uint8_t *bytes, size_t len);
	/* The body ended in order. */
	void (*body_end)(struct exchange *ex);
	/* It cannot be read to its end; no more data(). NULL: the connection
	 * is cut. */
	void (*unreadable)(struct exchange *ex);
	/* All output is with the kernel. */
	void (*drained)(struct exchange *ex);
	/* The service stops: finish soon. */
	void (*stop)(struct exchange *ex);
	/*
	 * The connection is over; nothing can be written. Last call. The
	 * exchange is freed when the last exchange_ref() is given back.
	 */
	void (*closed)(struct exchange *ex);
};

enum exchange_state {
	EXCHANGE_HEAD = 0,
	EXCHANGE_BODY,
	EXCHANGE_MOVING,
	EXCHANGE_KEY,
	EXCHANGE_FINDING,
	EXCHANGE_RUNNING,
	EXCHANGE_CLOSING,
};

/* Where an operation runs. */
enum operation_place {
	PLACE_ANY,    /* needs no stream, or finds it by itself */
	PLACE_STREAM, /* on the stream's thread, with exchange->stream */
	PLACE_OWNER,  /* on the stream's thread, which it finds itself */
};

struct operation {
	const char *path;
	const char *name; /* "PutMedia" */
	enum metric_api api;
	enum operation_place place;
	bool upload; /* PutMedia: no JSON, signed without its body */
	void (*run)(struct exchange *ex);
	/* Amazon's quotas; 0: none. */
	uint32_t per_s_max;	    /* of one stream */
	uint32_t account_per_s_max; /* of all together */
};

#define REQUEST_ID_CHARS 36u

struct exchange {
	struct conn *conn; /* NULL once it is over */
	struct server_thread *thread;
	struct list_node link; /* thread's connections */
	enum exchange_state state;
	unsigned int refs;
	bool counted;	 /* in thread->connection_count */
	bool peer_ended; /* it sends no more than is there */

	/* --- the request; reset for each --- */
	struct buf head_bytes;
	struct http_head head; /* points into head_bytes */
	struct http_body framing;
	struct buf body;
	size_t held; /* bytes at the front of the next
		      * data() that have been read */
	size_t owed; /* payload there, not yet used */
	bool body_done;
	const struct operation *op; /* NULL: no such path */
	json_t *json;		    /* the body's object */
	char request_id[REQUEST_ID_CHARS + 1];
	struct sigv4_claim claim;
	uint64_t begin_ns;
	char access_key[CATALOG_ACCESS_KEY_BYTES];
	/* What the request calls the stream; one of them is "". */
	char name[CATALOG_NAME_BYTES];
	char arn[CATALOG_ARN_BYTES];
	struct catalog_stream stream; /* PLACE_STREAM */
	struct catalog_credential credential;
	struct catalog_op catalog_op;
	bool catalog_busy;

	/* --- the answer --- */
	unsigned int status;	/* 0: none yet */
	const char *error_type; /* for the log */
	uint64_t sent_bytes;
	bool chunked;
	bool last; /* the connection ends with it */
	const struct exchange_handler *handler;
	void *state_of_op;
};

/* Takes over an accepted socket; closes it when there is no memory. */
void exchange_accept(struct server_thread *t, int fd);

/* The service stops: idle connections end now, others after their answer. */
void exchange_stop(struct exchange *ex);

/* Keeps the exchange's memory after its connection is gone. */
void exchange_ref(struct exchange *ex);
void exchange_unref(struct exchange *ex);

/* The connection is still there. */
static inline bool exchange_alive(const struct exchange *ex)
{
	return ex->conn != NULL;
}

/* --- answers; each ends the request unless it says otherwise --- */

/* Takes over @root's reference. */
void exchange_json(struct exchange *ex, unsigned int status, json_t *root);
/* @type: "InvalidArgumentException" */
void exchange_error(struct exchange *ex, unsigned int status, const char *type,
		    const char *message);

/* 400 InvalidArgumentException. */
void exchange_bad_argument(struct exchange *ex, const char *message);
/* 404 ResourceNotFoundException for the stream. */
void exchange_no_stream(struct exchange *ex);
/* 500, for -errno of the store or catalog. */
void exchange_internal(struct exchange *ex, int error);

/**
 * exchange_begin() - 200 and its head; the body follows
 * @length: bytes of the body, or EXCHANGE_CHUNKED
 *
 * Return: 0, or the error of conn_write(): the connection ends by itself.
 */
#define EXCHANGE_CHUNKED UINT64_MAX
int exchange_begin(struct exchange *ex, const char *content_type,
		   uint64_t length, const struct exchange_handler *handler,
		   void *state_of_op) MUST_CHECK;
/* The counts of the operation that the request is for; on its thread. */
struct metric_call *exchange_call(const struct exchange *ex);
/* A fragment was sent whole. */
void exchange_count_fragment(const struct exchange *ex);
/* Body bytes: one HTTP chunk when chunked. Return: as conn_write(). */
int exchange_write(struct exchange *ex, const void *bytes,
		   size_t len) MUST_CHECK;
/* The same of several pieces, as one chunk; at most EXCHANGE_PIECES_MAX. */
#define EXCHANGE_PIECES_MAX 8u
int exchange_write_pieces(struct exchange *ex, const struct iovec *pieces,
			  size_t count) MUST_CHECK;
/* Ends the body in order; the next request may come. */
void exchange_end(struct exchange *ex);
/* Ends the body in order, then the connection. */
void exchange_end_and_close(struct exchange *ex);
/* Cuts the body off: the client must see that it is not whole. */
void exchange_cut(struct exchange *ex, int why);
/* "HTTP/1.1 100 Continue", as a write of its own. */
int exchange_continue(struct exchange *ex) MUST_CHECK;
/* Nothing can be written; what was received before is being used. */
bool exchange_lost(const struct exchange *ex);
/* Output that the kernel has not taken. */
size_t exchange_backlog(const struct exchange *ex);
/* Offers body bytes again that were not used. */
void exchange_resume(struct exchange *ex);
/* Moves the connection's deadline; UINT64_MAX: none. */
void exchange_deadline(struct exchange *ex, uint64_t at_ns);

#endif
