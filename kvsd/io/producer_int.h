/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two halves of the producer share: kvs_producer.c (the caller's
 * threads: frames in) and producer_net.c (the loop's thread: fragments out).
 */
#ifndef IO_PRODUCER_INT_H
#define IO_PRODUCER_INT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <kvs/producer.h>

#include "base/sys.h"
#include "core/loop.h"
#include "core/retain_ram.h"
#include "core/upload.h"
#include "io/aws_request.h"
#include "io/producer_front.h"
#include "proto/ack.h"

#define URL_CHARS_MAX 512u
#define EVENTS_MAX 64u		/* waiting to be told */
#define EVENT_TEXT_CHARS 192u

struct queued_event {
	struct kvs_event event;	/* its pointers are set when it is told */
	char text[EVENT_TEXT_CHARS];
	char number[ACK_FRAGMENT_NUMBER_CHARS_MAX + 1];
};

/* What an op of the upload session found out before the loop did. */
enum deferred { DEFER_NOTHING, DEFER_REPLY, DEFER_CLOSED };

struct kvs_producer {
	const struct sys_ops *sys;

	/* Set up once. */
	struct aws_identity id;
	char stream[STREAM_NAME_CHARS_MAX + 1];
	char media_type[MEDIA_TYPE_CHARS_MAX + 1];
	uint32_t retention_hours;
	char control_endpoint[URL_CHARS_MAX];
	enum kvs_full when_full;
	void (*event)(void *ctx, const struct kvs_event *event);
	void *event_ctx;
	uint8_t segment_uid[16];
	int store_fd;
	void *store_map;
	size_t store_map_bytes;
	pthread_t thread;
	bool thread_runs;
	bool lock_made;

	/* The loop's thread alone. */
	struct loop *loop;
	struct tls_ctx *tls;
	struct api_caller *caller;
	struct http_client *session;
	struct endpoint data_endpoint;
	bool accepted;		/* this session's status was 200 */
	struct ack_parser acks;
	struct upload_reply reply;	/* being collected */
	char reply_type[128];
	char reply_message[512];
	struct buf reply_body;
	struct loop_timer upload_timer;
	struct loop_timer fragment_timer;
	struct loop_timer deferred_timer;
	enum deferred deferred;
	int deferred_why;
	bool stopped;

	/* Callers of put_frame(), one at a time; taken before the lock. */
	pthread_mutex_t put_lock;
	struct producer_front front;	/* its fragmenter: under the lock */

	/* Under the lock. */
	pthread_mutex_t lock;
	pthread_cond_t moved;	/* the store shrank, or it is over */
	struct retain_ram store;
	struct upload upload;
	struct loop_task wake;
	bool wake_queued;
	bool finished;		/* no frame may come */
	bool finish_told;	/* the session knows */
	bool stop;
	bool open;		/* the store's newest fragment is open */
	uint64_t frames_in;
	uint64_t frames_dropped;
	uint64_t fragments_sealed;
	uint64_t payload_copies;
	char rung[16];
	struct queued_event events[EVENTS_MAX];
	size_t event_first;
	size_t event_count;
};

/* kvs_producer_new() with another struct sys_ops, which must outlive it. */
int producer_new(const struct kvs_producer_config *config,
		 const struct sys_ops *sys,
		 struct kvs_producer **ret_producer) MUST_CHECK;

/* Lock held. Blocks of the fragmenter to the store; seals an idle fragment. */
void producer_drain(struct kvs_producer *p);
/* Lock held. */
void producer_wake(struct kvs_producer *p);
void producer_report(void *ctx, const struct upload_report *report);

/* Loop, TLS, timers. Return: as kvs_producer_new(). */
int producer_net_init(struct kvs_producer *p,
		      const struct kvs_client_config *config) MUST_CHECK;
/* After the thread, or when it never ran. */
void producer_net_fini(struct kvs_producer *p);
/* The loop's thread: pthread_create()'s argument is the producer. */
void *producer_thread(void *arg);
extern const struct upload_ops producer_upload_ops;

#endif
