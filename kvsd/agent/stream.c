/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/stream.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent/credentials.h"
#include "base/log.h"
#include "core/limits.h"

void stream_init(struct stream *s, const struct sys_ops *sys,
		 const struct agent_stream *config)
{
	s->sys = sys;
	s->config = config;
	(void)pthread_mutex_init(&s->lock, NULL);
}

void stream_fini(struct stream *s)
{
	s->producer = kvs_producer_free(s->producer);
	(void)pthread_mutex_destroy(&s->lock);
}

/* --- the service's events, on the producer's thread ---------------------------------- */

static void persisted(struct stream *s, const struct kvs_event *e)
{
	uint64_t now_ns;

	(void)pthread_mutex_lock(&s->lock);
	now_ns = sys_now_ns(s->sys, CLOCK_MONOTONIC) + (uint64_t)s->offset_ns;
	if (now_ns > e->newest_frame_ns)
		histogram_add(&s->latency_us,
			      (now_ns - e->newest_frame_ns) / 1000);
	(void)pthread_mutex_unlock(&s->lock);
}

static void on_event(void *ctx, const struct kvs_event *e)
{
	struct stream *s = ctx;
	const char *name = s->config->name;
	const char *words = e->text ? e->text : "";
	char text[CAUSE_CHARS];

	switch (e->kind) {
	case KVS_EVENT_CONNECTED:
		cause_tell(&s->service_cause, LOG_INFO, name, "uploading");
		return;
	case KVS_EVENT_DISCONNECTED:
		(void)snprintf(text, sizeof(text), "not connected: %s", words);
		cause_tell(&s->service_cause, LOG_WARN, name, text);
		return;
	case KVS_EVENT_REFUSED:
		(void)snprintf(text, sizeof(text), "the service refuses: %s",
			       words);
		cause_tell(&s->service_cause, LOG_ERROR, name, text);
		return;
	case KVS_EVENT_ERROR_ACK:
		log_warn("agent", "%s: fragment %llu: error %d %s", name,
			 (unsigned long long)e->timecode_ms, e->error_id,
			 words);
		return;
	case KVS_EVENT_DROPPED:
		log_warn("agent", "%s: fragment %llu dropped: %s", name,
			 (unsigned long long)e->timecode_ms, words);
		return;
	case KVS_EVENT_PERSISTED:
		persisted(s, e);
		return;
	case KVS_EVENT_BUFFERING:
	case KVS_EVENT_RECEIVED:
		return;
	}
}

/* --- life ---------------------------------------------------------------------------- */

int stream_start(struct stream *s, const struct agent_config *c)
{
	struct kvs_track tracks[KVS_TRACKS_MAX];
	struct credentials keys;
	char error[AGENT_ERROR_CHARS];
	struct kvs_producer_config config = {
		.client = {
			.endpoint = c->endpoint[0] ? c->endpoint : NULL,
			.region = c->region,
			.ca_bundle = c->ca_bundle[0] ? c->ca_bundle : NULL,
			.user_agent = "kvsd-agent/0.1",
		},
		.stream_name = s->config->name,
		.create_stream = s->config->create,
		.retention_hours = s->config->retention_hours,
		.tracks = tracks,
		.track_count = s->track_count,
		.fragment_ms = s->config->fragment_ms,
		.interleave_ms = MAX(s->late_ms, INTERLEAVE_MS_DEFAULT),
		.store_bytes = (size_t)s->config->store_bytes,
		.when_full = KVS_FULL_DROP_OLDEST,
		.event = on_event,
		.event_ctx = s,
	};
	int r;

	for (size_t i = 0; i < s->track_count; i++)
		tracks[i] = s->tracks[i].kvs;
	r = credentials_find(s->sys, c->credentials, c->profile, &keys, error,
			     sizeof(error));
	if (r < 0) {
		log_error("agent", "%s", error);
		return r;
	}
	config.client.credentials.access_key_id = keys.access_key_id;
	config.client.credentials.secret_access_key = keys.secret_access_key;
	config.client.credentials.session_token = keys.session_token;
	r = kvs_producer_new(&config, &s->producer);
	credentials_fini(&keys);
	if (r < 0)
		log_error("agent", "%s: cannot start uploading: %s",
			  s->config->name, r == -EINVAL ? kvs_config_error() :
							  strerror(-r));
	return r;
}

void stream_set_offset(struct stream *s, int64_t offset_ns)
{
	(void)pthread_mutex_lock(&s->lock);
	s->offset_ns = offset_ns;
	(void)pthread_mutex_unlock(&s->lock);
}

void stream_end(struct stream *s)
{
	(void)kvs_producer_finish(s->producer, 0);
}

void stream_finish(struct stream *s, uint64_t deadline_ns)
{
	uint64_t now_ns = sys_now_ns(s->sys, CLOCK_MONOTONIC);
	uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;

	s->left = kvs_producer_finish(s->producer, left_ns / NS_PER_MS);
	kvs_producer_stats(s->producer, &s->stats);
	s->producer = kvs_producer_free(s->producer);
	if (s->left)
		log_error("agent", "%s: %d fragments were not acknowledged and "
			  "are lost", s->config->name, s->left);
}
