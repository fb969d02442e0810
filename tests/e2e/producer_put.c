/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts numbered frames through libkvsproducer, for scripts:
 *
 *	producer_put --endpoint URL --ca FILE [--frames N] [--bytes N]
 *		[--interval-us N] [--store N] [--wait] [--finish-ms N]
 *		[--h264 FILE]
 *
 * Frame i of N has i as its first four bytes and 33.333 ms of media time; one
 * in 30 is a key frame. With --h264 the payload is FILE, an Annex B access
 * unit, each time. Prints events and figures as JSON lines.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <kvs/producer.h>

#define FRAME_NS 33333333ull
#define GOP 30u
#define BYTES_MAX (8u << 20)

static void on_event(void *ctx, const struct kvs_event *e)
{
	static const char *const names[] = {
		[KVS_EVENT_CONNECTED] = "connected",
		[KVS_EVENT_DISCONNECTED] = "disconnected",
		[KVS_EVENT_BUFFERING] = "buffering",
		[KVS_EVENT_RECEIVED] = "received",
		[KVS_EVENT_PERSISTED] = "persisted",
		[KVS_EVENT_ERROR_ACK] = "error_ack",
		[KVS_EVENT_DROPPED] = "dropped",
		[KVS_EVENT_REFUSED] = "refused",
	};

	(void)ctx;
	printf("{\"event\":\"%s\",\"timecode\":%llu,\"error\":%d,"
	       "\"delay_ms\":%llu,\"text\":\"%s\"}\n",
	       names[e->kind], (unsigned long long)e->timecode_ms, e->error_id,
	       (unsigned long long)e->delay_ms, e->text ? e->text : "");
	(void)fflush(stdout);
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	(void)clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static void print_stats(struct kvs_producer *p, int left, uint64_t longest_ns)
{
	struct kvs_producer_stats s;

	kvs_producer_stats(p, &s);
	printf("{\"event\":\"end\",\"left\":%d,\"frames_in\":%llu,"
	       "\"frames_dropped\":%llu,\"sealed\":%llu,\"sent\":%llu,"
	       "\"received\":%llu,\"persisted\":%llu,\"dropped\":%llu,"
	       "\"copies\":%llu,\"reconnects\":%llu,\"longest_put_us\":%llu,"
	       "\"rung\":\"%s\"}\n",
	       left, (unsigned long long)s.frames_in,
	       (unsigned long long)s.frames_dropped,
	       (unsigned long long)s.fragments_sealed,
	       (unsigned long long)s.fragments_sent,
	       (unsigned long long)s.fragments_received,
	       (unsigned long long)s.fragments_persisted,
	       (unsigned long long)s.fragments_dropped,
	       (unsigned long long)s.payload_copies,
	       (unsigned long long)s.reconnects,
	       (unsigned long long)(longest_ns / 1000), s.send_rung);
}

struct args {
	struct kvs_producer_config config;
	unsigned long frames;
	size_t bytes;
	unsigned long interval_us;
	unsigned long finish_ms;
	const char *h264;
};

static int parse(int argc, char **argv, struct args *a)
{
	static const struct option longs[] = {
		{ "endpoint", required_argument, NULL, 'e' },
		{ "ca", required_argument, NULL, 'c' },
		{ "frames", required_argument, NULL, 'n' },
		{ "bytes", required_argument, NULL, 'b' },
		{ "interval-us", required_argument, NULL, 'i' },
		{ "store", required_argument, NULL, 's' },
		{ "finish-ms", required_argument, NULL, 'f' },
		{ "h264", required_argument, NULL, '4' },
		{ "wait", no_argument, NULL, 'w' },
		{ NULL, 0, NULL, 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (opt == 'e')
			a->config.client.endpoint = optarg;
		else if (opt == 'c')
			a->config.client.ca_bundle = optarg;
		else if (opt == 'n')
			a->frames = strtoul(optarg, NULL, 10);
		else if (opt == 'b')
			a->bytes = strtoul(optarg, NULL, 10);
		else if (opt == 'i')
			a->interval_us = strtoul(optarg, NULL, 10);
		else if (opt == 's')
			a->config.store_bytes = strtoul(optarg, NULL, 10);
		else if (opt == 'f')
			a->finish_ms = strtoul(optarg, NULL, 10);
		else if (opt == '4')
			a->h264 = optarg;
		else if (opt == 'w')
			a->config.when_full = KVS_FULL_WAIT;
		else
			return -EINVAL;
	}
	return a->bytes >= 4 && a->bytes <= BYTES_MAX ? 0 : -EINVAL;
}

static size_t load(const char *path, uint8_t *bytes)
{
	FILE *f = fopen(path, "rbe");
	size_t n = f ? fread(bytes, 1, BYTES_MAX, f) : 0;

	if (f)
		(void)fclose(f);
	return n;
}

/* Return: the longest that one call took. */
static uint64_t put_all(struct kvs_producer *p, const struct args *a,
			uint8_t *bytes)
{
	uint64_t base_ns = clock_ns(CLOCK_REALTIME);
	uint64_t longest_ns = 0;

	for (unsigned long i = 0; i < a->frames; i++) {
		struct kvs_frame f = {
			.data = bytes,
			.bytes = a->bytes,
			.time_ns = base_ns + i * FRAME_NS,
			.key = i % GOP == 0,
		};
		uint64_t start_ns;
		uint64_t took_ns;
		int r;

		if (!a->h264) {
			bytes[0] = (uint8_t)(i >> 24);
			bytes[1] = (uint8_t)(i >> 16);
			bytes[2] = (uint8_t)(i >> 8);
			bytes[3] = (uint8_t)i;
		}
		start_ns = clock_ns(CLOCK_MONOTONIC);
		r = kvs_producer_put_frame(p, &f);
		took_ns = clock_ns(CLOCK_MONOTONIC) - start_ns;
		if (took_ns > longest_ns)
			longest_ns = took_ns;
		if (r < 0)
			printf("{\"event\":\"put\",\"frame\":%lu,"
			       "\"result\":%d}\n", i, r);
		if (a->interval_us)
			(void)usleep((useconds_t)a->interval_us);
	}
	return longest_ns;
}

int main(int argc, char **argv)
{
	static const struct kvs_credentials keys = { "AKIDEXAMPLE",
						     "secretsecret", NULL };
	struct kvs_track track = {
		.kind = KVS_TRACK_VIDEO,
		.payload = KVS_PAYLOAD_OPAQUE,
		.codec_id = "V_MJPEG",
		.width = 64,
		.height = 48,
	};
	struct args a = {
		.config = {
			.client = { .region = "us-west-2", .credentials = keys },
			.stream_name = "producer-test",
			.create_stream = true,
			.retention_hours = 2,
			.tracks = &track,
			.track_count = 1,
			.fragment_ms = 1000,
			.event = on_event,
		},
		.frames = 90,
		.bytes = 10000,
		.finish_ms = 10000,
	};
	struct kvs_producer *p;
	uint8_t *bytes = calloc(1, BYTES_MAX);
	uint64_t longest_ns;
	int left;
	int r;

	if (!bytes || parse(argc, argv, &a) < 0)
		return 2;
	if (a.h264) {
		a.bytes = load(a.h264, bytes);
		track.payload = KVS_PAYLOAD_H264_ANNEXB;
		track.codec_id = "V_MPEG4/ISO/AVC";
	}
	r = kvs_producer_new(&a.config, &p);
	if (r < 0) {
		printf("{\"event\":\"new\",\"result\":%d,\"text\":\"%s\"}\n", r,
		       kvs_config_error());
		return 1;
	}
	longest_ns = put_all(p, &a, bytes);
	left = kvs_producer_finish(p, a.finish_ms);
	print_stats(p, left, longest_ns);
	(void)kvs_producer_free(p);
	free(bytes);
	return left ? 3 : 0;
}
