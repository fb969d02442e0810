/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The upload session as a state machine: find the stream's endpoint, open
 * PutMedia, send fragments while they grow, trim the store by what is
 * acknowledged, and come back after everything that can go wrong.
 *
 *   idle -START-> describing -REPLIED-> locating -REPLIED-> ready
 *                  |    ^                                    | media
 *          no such v    | created, not active yet            v
 *               creating                CONNECTED        connecting
 *                                   opening <--------------'
 *                          ACCEPTED   |
 *                                     v   boundary: 40 min, other tracks,
 *     (MEDIA, DRAINED, ACKED)   streaming ----------> draining
 *                                     | CLOSED, stall     | ENDED, CLOSED
 *                                     v                   v
 *     describing, ready <-TIMER- waiting <-CLOSED----- closing
 *
 * From any state that talks to the service a failure leads to waiting. The
 * store is empty and FINISH was asked for: stopped.
 *
 * What an ERROR acknowledgement means:
 *   the fragment  4001 4002 4006 4007 4009 4010 4012: it will never be taken;
 *		   dropped, counted, reported. 4011: sent again in a session
 *		   that declares only the tracks it has.
 *   the session   4003 5001: ended at the next fragment's start, so that what
 *		   is under way is still acknowledged; 4000 4004 5000 and
 *		   unknown ones: at once. Then again from the first fragment
 *		   that is not acknowledged.
 *   the stream	   4008 4500..4507: at once, and a long wait.
 *
 * A fragment leaves the store on PERSISTED, or on RECEIVED when the stream
 * keeps nothing. That may change meanwhile: a PERSISTED says that it keeps
 * something now; a RECEIVED without one for too long, that it may not: the
 * session is ended at the next fragment's start, and the service is asked.
 * An acknowledgement of a fragment that was not sent whole in this session is
 * void: a connection cut short may have left half of it.
 *
 * Invariants (DESIGN.md): 3 and 4. One lock around everything: the caller's.
 */
#ifndef CORE_UPLOAD_H
#define CORE_UPLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "core/backoff.h"
#include "core/limits.h"
#include "core/retain.h"
#include "proto/ack.h"

struct iovec;
struct upload;

enum upload_state {
	UPLOAD_IDLE = 0,
	UPLOAD_DESCRIBING,	/* DescribeStream is under way */
	UPLOAD_CREATING,	/* CreateStream is */
	UPLOAD_LOCATING,	/* GetDataEndpoint is */
	UPLOAD_READY,		/* nothing to send */
	UPLOAD_CONNECTING,	/* TCP and TLS */
	UPLOAD_OPENING,		/* PutMedia's head is sent */
	UPLOAD_STREAMING,
	UPLOAD_DRAINING,	/* the body is over, acknowledgements come */
	UPLOAD_CLOSING,		/* waiting for CLOSED */
	UPLOAD_WAITING,		/* for the next try */
	UPLOAD_STOPPED,		/* finished: all is acknowledged */
};
#define UPLOAD_STATE_COUNT (UPLOAD_STOPPED + 1)

enum upload_event_kind {
	UPLOAD_START,
	UPLOAD_REPLIED,		/* @reply to the last ops->call() */
	UPLOAD_CONNECTED,
	UPLOAD_ACCEPTED,	/* PutMedia answered 200 */
	UPLOAD_REFUSED,		/* PutMedia answered otherwise: @reply */
	UPLOAD_ACKED,		/* @ack */
	UPLOAD_MEDIA,		/* the store has more */
	UPLOAD_DRAINED,		/* the connection takes more */
	UPLOAD_ENDED,		/* the response's body is over */
	UPLOAD_CLOSED,		/* the connection is gone: @why, @text */
	UPLOAD_TIMER,
	UPLOAD_FINISH,		/* no fragment will be opened any more */
};
#define UPLOAD_EVENT_COUNT (UPLOAD_FINISH + 1)

struct upload_reply {
	int status;		/* HTTP's, or the -errno that came instead */
	const char *error_type;	/* "ResourceNotFoundException", "" */
	const char *message;	/* "" */
	uint64_t date_s;	/* the service's clock, 0 = not known */
	uint64_t now_s;		/* ours at that moment, Unix epoch */
	bool active;		/* DescribeStream: Status is ACTIVE */
	uint32_t retention_hours;
};

struct upload_event {
	enum upload_event_kind kind;
	const struct upload_reply *reply;
	const struct ack *ack;
	int why;		/* 0 = in order */
	const char *text;	/* words for @why, or NULL */
};

enum upload_call {
	UPLOAD_CALL_DESCRIBE,
	UPLOAD_CALL_CREATE,
	UPLOAD_CALL_LOCATE,
};

enum upload_report_kind {
	UPLOAD_REPORT_CONNECTED,
	UPLOAD_REPORT_DISCONNECTED,
	UPLOAD_REPORT_REFUSED,
	UPLOAD_REPORT_BUFFERING,
	UPLOAD_REPORT_RECEIVED,
	UPLOAD_REPORT_PERSISTED,
	UPLOAD_REPORT_ERROR_ACK,
	UPLOAD_REPORT_DROPPED,
};

struct upload_report {
	enum upload_report_kind kind;
	uint64_t timecode_ms;
	const char *fragment_number;	/* or NULL */
	int error_id;
	const char *text;		/* or NULL */
	uint64_t delay_ms;
	uint64_t newest_frame_ns;
};

/*
 * Effects. None may call back into the machine: what follows from them comes
 * as an event of a later turn.
 */
struct upload_ops {
	/* One REPLIED follows, always. */
	void (*call)(void *ctx, enum upload_call call);
	/* CONNECTED or CLOSED follows. */
	void (*connect)(void *ctx);
	/* PutMedia's head. ACCEPTED, REFUSED or CLOSED follows. */
	void (*open)(void *ctx, uint64_t start_ms);
	/*
	 * The MKV header: bytes of @setup with @tracks declared. Return: 0,
	 * -ENOENT (the setup is gone), others as send().
	 */
	int (*header)(void *ctx, uint32_t setup, uint8_t tracks);
	/*
	 * Return: 0; -EPIPE, -ECONNRESET: it takes no more, but what came
	 * before is still read, then CLOSED or ENDED follows; other errors:
	 * the session fails. Of header() too.
	 */
	int (*send)(void *ctx, const struct iovec *parts, size_t count,
		    size_t bytes);
	/* Ends the body in order. ENDED or CLOSED follows. */
	void (*end)(void *ctx);
	/* Cuts the connection. CLOSED follows. */
	void (*close)(void *ctx);
	/* Bytes given to send() that the kernel has not taken. */
	size_t (*backlog)(void *ctx);
	/* Replaces the one timer; TIMER follows. UINT64_MAX: none. */
	void (*timer)(void *ctx, uint64_t at_ns);
	void (*report)(void *ctx, const struct upload_report *report);
};

struct upload_counts {
	uint64_t sent;		/* whole fragments, repeats included */
	uint64_t received;
	uint64_t persisted;
	uint64_t dropped;	/* left the store unacknowledged */
	uint64_t bytes_sent;
	uint64_t connects;	/* sessions that were accepted */
	uint64_t void_acks;	/* of no fragment that is under way */
};

struct upload_config {
	const struct upload_ops *ops;
	void *ctx;
	struct retain *retain;
	bool create_stream;
	uint64_t seed;
};

struct upload {
	struct upload_config config;
	enum upload_state state;
	struct backoff backoff;
	bool finishing;
	bool located;		/* the endpoint is known */
	uint32_t retention_hours;
	int64_t clock_offset_s;	/* add to our clock for signatures */
	bool clock_corrected;	/* once, until a session is accepted */
	unsigned int failures;	/* of the connection since it was located */

	/* After the present connection or wait. */
	uint64_t wait_ns;

	/* This session. */
	bool renew;		/* end it at the next fragment */
	bool mute;		/* nothing can be sent; what comes is heard */
	bool broken;		/* a fragment was dropped while on its way */
	bool header_sent;
	uint8_t tracks;		/* declared */
	uint32_t setup;
	uint64_t end_ms;	/* latest timecode sent */
	uint64_t opened_ns;
	uint64_t persist_ns;	/* nothing waits for its PERSISTED since before */
	uint64_t media_ns;	/* when media was last sent */
	uint64_t ack_ns;	/* when acknowledgements last moved */
	uint64_t moved_ns;	/* when the backlog last shrank */
	uint64_t moved_bytes;
	uint64_t session_bytes;
	size_t in_flight;	/* sent whole, not acknowledged */
	struct retain_cursor cursor; /* seq 0: between fragments */

	struct upload_counts counts;
};

void upload_init(struct upload *u, const struct upload_config *config);

/**
 * upload_step() - what happens next
 * @now_ns: CLOCK_MONOTONIC
 *
 * Return: 0, -EBUSY when the event has no meaning in this state (it is
 * ignored: a late TIMER, MEDIA while waiting, ...).
 */
int upload_step(struct upload *u, const struct upload_event *event,
		uint64_t now_ns);

enum upload_room {
	UPLOAD_ROOM_NONE,	/* the store is empty */
	UPLOAD_ROOM_SEALED,	/* the oldest fragment went */
	UPLOAD_ROOM_OPEN,	/* the open one did: there was no other */
};

/*
 * Drops the oldest whole fragment, though not the one that is on its way
 * unless there is no other; counts and reports it. Step with MEDIA afterwards.
 */
enum upload_room upload_make_room(struct upload *u);

const char *upload_state_name(enum upload_state state);

#endif
