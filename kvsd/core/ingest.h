/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One PutMedia upload: the body's bytes go in, what to store, what to show to
 * live readers and what to acknowledge comes out. No system call, no clock of
 * its own: the store is an ops table, the rest goes through ingest_ops, time
 * is an argument.
 *
 * A fragment is one Cluster and the Tags that belong to it:
 *
 *	free -> open      Cluster began; writer opened, number given
 *	open -> ended     Cluster is over; Tags may still join
 *	ended -> closing  nothing can join any more: RECEIVED; the rest of its
 *			  bytes waits for the store
 *	closing -> committing -> free	PERSISTED or ERROR 5001
 *	open, ended -> free		dropped
 *
 * Tags between clusters are kept until it is known whose they are: the ended
 * fragment's when END_OF_FRAGMENT is among them (which closes it at once) or
 * when the body ends there; else the next fragment's. Either way they are
 * stored after the cluster. A Tag whose Targets name a track, an edition, a
 * chapter or an attachment describes that and not the fragment (muxers write
 * a dozen per track): stored like the others, but it is no fragment metadata,
 * so it neither counts nor ends a fragment.
 *
 * The session:
 *
 *	reading -> finishing	end of body, or silence for
 *				PUT_MEDIA_IDLE_NS_MAX: what is whole is
 *				persisted, then the session is over
 *	reading, finishing -> failed	one ERROR ack; fragments that were
 *				received whole are still persisted
 *	any -> dropped		the device is gone: no more acks
 */
#ifndef CORE_INGEST_H
#define CORE_INGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/macros.h"
#include "core/limits.h"
#include "core/store.h"
#include "proto/ack.h"
#include "proto/frame_index.h"
#include "proto/mkv_reader.h"

/* A fragment as live readers see it. Valid until its end. */
struct ingest_view {
	struct fragment_number number;
	uint64_t server_ms;
	uint64_t producer_ms;  /* from timed() on */
	bool unknown_size;     /* the Cluster's */
	const uint8_t *header; /* valid as long as the ingest */
	size_t header_bytes;
};

enum ingest_end {
	INGEST_WHOLE,	  /* closed: all media bytes were handed over */
	INGEST_DROPPED,	  /* open or ended, and never to be closed */
	INGEST_COMMITTED, /* after WHOLE: the store has it */
	INGEST_LOST,	  /* after WHOLE: the store refused it */
};

/*
 * @fragment: 0..INGEST_FRAGMENTS_MAX - 1, the fragment's place; reused after
 * DROPPED, COMMITTED, LOST and, without a store, WHOLE. Nothing here may call
 * back into the ingest.
 */
struct ingest_ops {
	/* The header, before the first fragment; valid in the call. May be
	 * NULL. */
	void (*document)(void *ctx, const struct mkv_document *doc);
	void (*ack)(void *ctx, const struct ack *ack);
	void (*begin)(void *ctx, unsigned int fragment,
		      const struct ingest_view *view);
	/* The timecode is known and good. */
	void (*timed)(void *ctx, unsigned int fragment,
		      const struct ingest_view *view);
	/* Media in order: the Cluster, then its Tags. */
	void (*bytes)(void *ctx, unsigned int fragment, const uint8_t *bytes,
		      size_t len);
	/* Media up to here (a count from the fragment's start) is whole
	 * elements: a reader may stop there. */
	void (*boundary)(void *ctx, unsigned int fragment, uint64_t media);
	void (*end)(void *ctx, unsigned int fragment, enum ingest_end how);
	/*
	 * Something changed outside of a call: ingest_blocked() or
	 * ingest_over() may differ now. Calls into the ingest are allowed.
	 */
	void (*progress)(void *ctx);
	/* FRAGMENT_RANDOM_BITS random bits. */
	uint32_t (*random)(void *ctx);
	uint64_t (*next_seq)(void *ctx);
};

struct ingest_config {
	struct store *store; /* borrowed; NULL: live only (retention 0) */
	struct store_stream stream;
	bool relative;		    /* x-amzn-fragment-timecode-type */
	uint64_t producer_start_ms; /* Unix epoch; used when relative */
	uint64_t duration_ns_max;   /* 0: PUT_MEDIA_DURATION_NS_MAX */
	const struct ingest_ops *ops;
	void *ctx;
};

struct ingest_time {
	uint64_t now_ns;  /* CLOCK_MONOTONIC */
	uint64_t wall_ms; /* Unix epoch */
};

struct ingest;

/* Return: 0, -ENOMEM. */
int ingest_new(const struct ingest_config *config, struct ingest_time at,
	       struct ingest **ret_ingest) MUST_CHECK;

/* Only when ingest_over(). Accepts NULL, returns NULL. */
struct ingest *ingest_free(struct ingest *in);

/**
 * ingest_feed() - the next bytes of the body
 *
 * Return: bytes used. Fewer than @len when the store is behind: offer the
 * rest after progress() once ingest_blocked() is false. After the session
 * has ended all bytes are used and ignored.
 */
size_t ingest_feed(struct ingest *in, struct ingest_time at,
		   const uint8_t *bytes, size_t len);

/* The body ended in order. */
void ingest_finish(struct ingest *in, struct ingest_time at);

/*
 * No more bytes are wanted: what is whole is persisted, an open Cluster is
 * dropped, since its device may hold more of it and was not told that it
 * arrived. Then the session is over without an error.
 */
void ingest_stop(struct ingest *in, struct ingest_time at);

/*
 * As ingest_stop(), but an open Cluster may end first: the session stops where
 * the next one begins. Call ingest_stop() when that takes too long.
 */
void ingest_drain(struct ingest *in, struct ingest_time at);

/* Ends the session with an ERROR ack; no-op when ingest_ended(). */
void ingest_fail(struct ingest *in, enum ack_error error);

/* The device is gone. What was received whole is still persisted. */
void ingest_drop(struct ingest *in);

/* Idle acks and time limits; call at ingest_deadline_ns(). */
void ingest_tick(struct ingest *in, struct ingest_time at);
uint64_t ingest_deadline_ns(const struct ingest *in);

/* No bytes can be taken now. */
bool ingest_blocked(const struct ingest *in);
/* The session has ended and nothing of it is in flight. */
bool ingest_over(const struct ingest *in);
/* Not reading any more: the body's rest is of no interest. */
bool ingest_ended(const struct ingest *in);
/* Something of the session is neither whole nor, if it is stored, stored. */
bool ingest_under_way(const struct ingest *in);
/* The session ended with an ERROR ack. */
bool ingest_failed(const struct ingest *in);
/* When the last byte came, CLOCK_MONOTONIC. */
uint64_t ingest_last_byte_ns(const struct ingest *in);

struct ingest_counts {
	uint64_t bytes;
	uint64_t fragments; /* received whole */
	uint64_t persisted;
	uint64_t frames;
	enum ack_error error; /* 0: none */
};
struct ingest_counts ingest_counts(const struct ingest *in);

#endif
