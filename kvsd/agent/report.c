/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/report.h"

#include <errno.h>

#include "core/limits.h"

/* Device names are the driver's text: anything may be in them. */
static void add_string(struct buf *b, const char *s)
{
	(void)buf_add_str(b, "\"");
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			(void)buf_printf(b, "\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			(void)buf_printf(b, "\\u%04x", c);
		else
			(void)buf_add(b, s, 1);
	}
	(void)buf_add_str(b, "\"");
}

static void add_devices(struct buf *b, const struct pipeline_info *i)
{
	char name[5];

	(void)buf_add_str(b, "{\"device\":");
	add_string(b, i->path);
	(void)buf_add_str(b, ",\"card\":");
	add_string(b, i->card);
	fourcc_text(i->format.fourcc, name);
	(void)buf_add_str(b, ",\"format\":");
	add_string(b, name);
	(void)buf_printf(b, ",\"width\":%u,\"height\":%u,\"rate_num\":%u,"
			    "\"rate_den\":%u", i->format.width,
			 i->format.height, i->format.rate_num,
			 i->format.rate_den);
	fourcc_text(i->codec, name);
	(void)buf_printf(b, ",\"encoder\":\"%s\",\"codec\":", i->encoder);
	add_string(b, name);
	(void)buf_printf(b, ",\"memory_rung\":\"%s\",\"encoder_rung\":\"%s\","
			    "\"source_imported\":%s",
			 capture_rung_name(i->camera_rung),
			 capture_rung_name(i->encoder_rung),
			 i->source_imported ? "true" : "false");
}

/* Thousandths, without floating point. */
static void add_ratio(struct buf *b, const char *name, uint64_t a, uint64_t n)
{
	uint64_t thousandths = n ? a * 1000 / n : 0;

	(void)buf_printf(b, ",\"%s\":%llu.%03llu", name,
			 (unsigned long long)(thousandths / 1000),
			 (unsigned long long)(thousandths % 1000));
}

static void add_count(struct buf *b, const char *name, uint64_t value)
{
	(void)buf_printf(b, ",\"%s\":%llu", name, (unsigned long long)value);
}

int report_write(const struct report *r, struct buf *b)
{
	const struct kvs_producer_stats *p = &r->producer;
	const struct pipeline_stats *c = &r->camera;

	add_devices(b, &r->info);
	(void)buf_printf(b, ",\"send_rung\":\"%s\"", p->send_rung);
	add_ratio(b, "duration_s", r->duration_ns, NS_PER_S);
	add_count(b, "frames_captured", c->frames);
	add_count(b, "frames_lost", c->frames_lost);
	add_count(b, "frames_skipped", c->frames_skipped);
	add_count(b, "frames_encoded", c->packets);
	add_count(b, "frames_put", p->frames_in);
	add_count(b, "frames_dropped", p->frames_dropped);
	add_count(b, "raw_copies", c->copies);
	add_ratio(b, "raw_copies_per_frame", c->copies, c->frames);
	add_ratio(b, "raw_bytes_touched_per_frame", c->bytes_touched,
		  c->frames);
	add_ratio(b, "payload_copies_per_frame", p->payload_copies,
		  p->frames_in);
	add_count(b, "fragments_sealed", p->fragments_sealed);
	add_count(b, "fragments_sent", p->fragments_sent);
	add_count(b, "fragments_received", p->fragments_received);
	add_count(b, "fragments_persisted", p->fragments_persisted);
	add_count(b, "fragments_dropped", p->fragments_dropped);
	add_count(b, "fragments_left", (uint64_t)r->left);
	add_count(b, "bytes_sent", p->bytes_sent);
	add_count(b, "reconnects", p->reconnects);
	add_count(b, "reopened", r->reopened);
	add_count(b, "clock_epochs", r->clock_epoch);
	add_ratio(b, "persisted_latency_ms_p50",
		  histogram_percentile(r->latency_us, 500), 1000);
	add_ratio(b, "persisted_latency_ms_p99",
		  histogram_percentile(r->latency_us, 990), 1000);
	add_count(b, "persisted_latency_count", r->latency_us->count);
	(void)buf_add_str(b, "}\n");
	return b->failed ? -ENOBUFS : 0;
}
