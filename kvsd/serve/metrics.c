/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "core/limits.h"

_Static_assert(sizeof(struct metrics) % sizeof(uint64_t) == 0,
	       "metrics_add() takes it for numbers");

/* Bounds of the histograms: 2^n - 1 us, where core/histogram.h is exact. */
#define BOUND_BITS_MIN 7u
#define BOUND_BITS_MAX 25u
#define NAME_BYTES 96u

enum metric_kind {
	KIND_COUNTER,
	KIND_GAUGE,
	KIND_MEAN, /* ones of all: CloudWatch's average of 0 and 1 */
	KIND_TIME,
};

struct entry {
	const char *name; /* CloudWatch's, or in its way */
	const char *unit;
	enum metric_kind kind;
	size_t at;  /* of a uint64_t or a struct metric_time */
	size_t all; /* MEAN: of how many */
	const char *note;
};

/* From a last byte's arrival with us, not with the kernel: recv_lowat.h. */
#define ACK_NOTE                                                         \
	"; from when the last byte is read: it may have waited in its "  \
	"socket before, up to about 0.3 s where a fragment ends sooner " \
	"than those before it"

#define OF(member) offsetof(struct metrics, member)
#define CALL(api, member) OF(calls[api].member)
#define NUMBER(name, unit, member)                            \
	{                                                     \
		name, unit, KIND_COUNTER, OF(member), 0, NULL \
	}
#define NOTED_TIME(name, member, note)                               \
	{                                                            \
		name, "Milliseconds", KIND_TIME, OF(member), 0, note \
	}
#define TIME(name, member) NOTED_TIME(name, member, NULL)
#define CALL_NUMBER(name, unit, api, member)                         \
	{                                                            \
		name, unit, KIND_COUNTER, CALL(api, member), 0, NULL \
	}
#define REQUESTS(name, api)                                    \
	CALL_NUMBER(name ".Requests", "Count", api, requests), \
	{                                                      \
		name ".Latency", "Milliseconds", KIND_TIME,    \
			CALL(api, latency), 0, NULL            \
	}
/* Of the request. */
#define SIMPLE(name, api)                                                \
	REQUESTS(name, api),                                             \
	{                                                                \
		name ".Success", "Count", KIND_MEAN, CALL(api, success), \
			CALL(api, requests), NULL                        \
	}
/* Of each fragment sent. */
#define MEDIA(name, api)                                                     \
	REQUESTS(name, api),                                                 \
		CALL_NUMBER(name ".OutgoingBytes", "Bytes", api, bytes),     \
		CALL_NUMBER(name ".OutgoingFragments", "Count", api,         \
			    fragments),                                      \
		CALL_NUMBER(name ".OutgoingFrames", "Count", api, frames),   \
		CALL_NUMBER(name ".ConnectionErrors", "Count", api, errors), \
	{                                                                    \
		name ".Success", "Count", KIND_MEAN, CALL(api, fragments),   \
			CALL(api, fragments_tried), NULL                     \
	}

static const struct entry entries[] = {
	REQUESTS("PutMedia", API_PUT_MEDIA),
	NUMBER("PutMedia.IncomingBytes", "Bytes", in_bytes),
	NUMBER("PutMedia.IncomingFragments", "Count", in_fragments),
	NUMBER("PutMedia.IncomingFrames", "Count", in_frames),
	{"PutMedia.ActiveConnections", "Count", KIND_GAUGE, OF(uploads), 0,
	 NULL},
	CALL_NUMBER("PutMedia.ConnectionErrors", "Count", API_PUT_MEDIA,
		    errors),
	TIME("PutMedia.FragmentIngestionLatency", ingestion),
	TIME("PutMedia.FragmentPersistLatency", persist),
	TIME("PutMedia.BufferingAckLatency", buffering_ack),
	NOTED_TIME("PutMedia.ReceivedAckLatency", received_ack, ACK_NOTE),
	NOTED_TIME("PutMedia.PersistedAckLatency", persisted_ack, ACK_NOTE),
	NUMBER("PutMedia.ErrorAckCount", "Count", error_acks),
	{"PutMedia.Success", "Count", KIND_MEAN, OF(stored), OF(stored_tried),
	 NULL},
	MEDIA("GetMedia", API_GET_MEDIA),
	TIME("GetMedia.MillisBehindNow", behind_now),
	{"GetMedia.ActiveConnections", "Count", KIND_GAUGE, OF(readers), 0,
	 NULL},
	MEDIA("GetMediaForFragmentList", API_GET_MEDIA_FOR_FRAGMENT_LIST),
	SIMPLE("ListFragments", API_LIST_FRAGMENTS),
	SIMPLE("GetClip", API_GET_CLIP),
	CALL_NUMBER("GetClip.OutgoingBytes", "Bytes", API_GET_CLIP, bytes),
	NUMBER("ArchivedFragmentsConsumed.Media", "Count", media_points),
	NUMBER("ArchivedFragmentsConsumed.Metadata", "Count", metadata_points),
	SIMPLE("CreateStream", API_CREATE_STREAM),
	SIMPLE("DescribeStream", API_DESCRIBE_STREAM),
	SIMPLE("ListStreams", API_LIST_STREAMS),
	SIMPLE("DeleteStream", API_DELETE_STREAM),
	SIMPLE("UpdateDataRetention", API_UPDATE_DATA_RETENTION),
	SIMPLE("GetDataEndpoint", API_GET_DATA_ENDPOINT),
	SIMPLE("ListTagsForStream", API_LIST_TAGS),
};

void metric_time_add(struct metric_time *t, uint64_t ns)
{
	uint64_t us = ns / 1000;

	t->sum_us += us;
	histogram_add(&t->us, us);
}

void metrics_add(struct metrics *sum, const struct metrics *one)
{
	uint64_t *to = (uint64_t *)(void *)sum;
	const uint64_t *from = (const uint64_t *)(const void *)one;
	size_t i;

	for (i = 0; i < sizeof(*sum) / sizeof(*to); i++)
		to[i] += from[i];
}

/* "PutMedia.Requests" to "kvs_PutMedia_Requests" */
static void make_name(const struct entry *e, char out[NAME_BYTES])
{
	char *dot;

	(void)snprintf(out, NAME_BYTES, "kvs_%s%s", e->name,
		       e->kind == KIND_COUNTER ? "_total" : "");
	dot = strchr(out, '.');
	if (dot)
		*dot = '_';
}

static void render_time(struct buf *out, const char *name,
			const struct metric_time *t)
{
	unsigned int bits;

	for (bits = BOUND_BITS_MIN; bits <= BOUND_BITS_MAX; bits++) {
		uint64_t us = (1ull << bits) - 1;

		(void)buf_printf(out,
				 "%s_bucket{le=\"%" PRIu64 ".%03u\"} %" PRIu64
				 "\n",
				 name, us / 1000, (unsigned int)(us % 1000),
				 histogram_at_most(&t->us, us));
	}
	(void)buf_printf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name,
			 t->us.count);
	(void)buf_printf(out, "%s_sum %" PRIu64 ".%03u\n", name,
			 t->sum_us / 1000, (unsigned int)(t->sum_us % 1000));
	(void)buf_printf(out, "%s_count %" PRIu64 "\n", name, t->us.count);
}

static void render_entry(struct buf *out, const struct metrics *m,
			 const struct entry *e)
{
	static const char *const types[] = {
		[KIND_COUNTER] = "counter",
		[KIND_GAUGE] = "gauge",
		[KIND_MEAN] = "summary",
		[KIND_TIME] = "histogram",
	};
	const void *at = (const char *)m + e->at;
	const void *all = (const char *)m + e->all;
	char name[NAME_BYTES];

	make_name(e, name);
	(void)buf_printf(out, "# HELP %s %s, %s%s\n# TYPE %s %s\n", name,
			 e->name, e->unit, e->note ? e->note : "", name,
			 types[e->kind]);
	switch (e->kind) {
	case KIND_COUNTER:
	case KIND_GAUGE:
		(void)buf_printf(out, "%s %" PRIu64 "\n", name,
				 *(const uint64_t *)at);
		break;
	case KIND_MEAN:
		(void)buf_printf(out,
				 "%s_sum %" PRIu64 "\n%s_count %" PRIu64 "\n",
				 name, *(const uint64_t *)at, name,
				 *(const uint64_t *)all);
		break;
	case KIND_TIME:
		render_time(out, name, at);
		break;
	}
}

static void render_codecs(struct buf *out, const struct metrics *m)
{
	static const char *const names[] = {
		[CODEC_PLAYABLE] = "kvsd_tracks_playable_total",
		[CODEC_UNSUPPORTED] = "kvsd_tracks_codec_unsupported_total",
		[CODEC_ENCODED] = "kvsd_tracks_encoded_total",
		[CODEC_PRIVATE_MISSING] = "kvsd_tracks_private_missing_total",
		[CODEC_PRIVATE_ANNEXB] = "kvsd_tracks_private_annexb_total",
		[CODEC_PRIVATE_INVALID] = "kvsd_tracks_private_invalid_total",
	};
	size_t i;

	_Static_assert(ARRAY_SIZE(names) == CODEC_VERDICT_COUNT, "each");
	for (i = 0; i < ARRAY_SIZE(names); i++)
		metrics_value(out, names[i], "counter",
			      "Tracks of uploads, by what a clip can make of "
			      "them.",
			      m->codec_tracks[i]);
	metrics_value(out, "kvsd_upload_codec_changes_total", "counter",
		      "Uploads with other tracks than the one before.",
		      m->codec_changes);
	metrics_value(out, "kvsd_uploads_without_clip", "gauge",
		      "Running uploads of which no clip can be made.",
		      m->uploads_no_clip);
}

void metrics_render(struct buf *out, const struct metrics *m)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(entries); i++)
		render_entry(out, m, &entries[i]);
	render_codecs(out, m);
	metrics_value(out, "kvsd_connections", "gauge",
		      "Connections that are open.", m->connections);
	metrics_value(out, "kvsd_unknown_requests_total", "counter",
		      "Requests for no operation, and what is not HTTP.",
		      m->unknown_requests);
}

void metrics_value(struct buf *out, const char *name, const char *type,
		   const char *help, uint64_t value)
{
	(void)buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %" PRIu64 "\n",
			 name, help, name, type, name, value);
}
