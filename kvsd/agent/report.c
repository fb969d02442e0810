/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/report.h"

#include <errno.h>

#include <capture/align.h>

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

static void add_text(struct buf *b, const char *name, const char *value)
{
	(void)buf_printf(b, ",\"%s\":", name);
	add_string(b, value);
}

static void add_bool(struct buf *b, const char *name, bool value)
{
	(void)buf_printf(b, ",\"%s\":%s", name, value ? "true" : "false");
}

static void add_fourcc(struct buf *b, const char *name, uint32_t fourcc)
{
	char text[5];

	fourcc_text(fourcc, text);
	add_text(b, name, text);
}

static void add_format(struct buf *b, const struct capture_format *f)
{
	add_fourcc(b, "format", f->fourcc);
	if (f->media == CAPTURE_MEDIA_PICTURE) {
		add_count(b, "width", f->width);
		add_count(b, "height", f->height);
		add_count(b, "rate_num", f->rate_num);
		add_count(b, "rate_den", f->rate_den);
	} else if (f->media == CAPTURE_MEDIA_SAMPLES) {
		add_count(b, "sample_rate", f->sample_rate);
		add_count(b, "channels", f->channels);
	}
}

static void add_signed(struct buf *b, const char *name, int64_t value)
{
	(void)buf_printf(b, ",\"%s\":%lld", name, (long long)value);
}

static void add_point(struct buf *b, const char *name, bool radiometric,
		      const struct capture_thermal_point *p)
{
	(void)buf_printf(b, ",\"%s\":{\"x\":%u,\"y\":%u,\"count\":%u", name,
			 p->x, p->y, p->count);
	if (radiometric)
		add_signed(b, "temperature_mk", p->temperature_mk);
	(void)buf_add_str(b, "}");
}

static void add_telemetry(struct buf *b, const struct output_telemetry *t)
{
	(void)buf_add_str(b, ",\"telemetry\":\"");
	for (size_t i = 0; i < t->count; i++)
		(void)buf_printf(b, "%02x", t->bytes[i]);
	(void)buf_add_str(b, "\"");
}

/* What a view shows, if there is one, and what a frame measured. */
static void add_thermal(struct buf *b, const struct feed *f,
			const struct output_stats *s)
{
	const struct capture_thermal_reading *r = &s->reading;

	(void)buf_printf(b, ",\"thermal\":{\"telemetry_rows\":%u",
			 f->config->telemetry_rows);
	if (s->thermal.frames) {
		add_text(b, "range", f->config->range_max ? "fixed" : "auto");
		add_count(b, "shown_min", s->thermal.shown_min);
		add_count(b, "shown_max", s->thermal.shown_max);
		add_count(b, "range_moves", s->thermal.range_moves);
	}
	if (s->telemetry.count)
		add_telemetry(b, &s->telemetry);
	if (s->has_reading) {
		add_count(b, "sequence", r->sequence);
		add_point(b, "min", r->radiometric, &r->coldest);
		add_point(b, "max", r->radiometric, &r->hottest);
		add_point(b, "spot", r->radiometric, &r->spot);
		(void)buf_printf(b, ",\"mean\":{\"count\":%u", r->mean);
		if (r->radiometric)
			add_signed(b, "temperature_mk", r->mean_mk);
		(void)buf_add_str(b, "}");
	}
	(void)buf_add_str(b, "}");
}

static void add_output(struct buf *b, const struct feed *f,
		       const struct feed_output *o)
{
	const struct track *t = &f->stream->tracks[o->track];
	const struct output_stats *s = &o->stats;

	(void)buf_add_str(b, "{\"name\":");
	add_string(b, t->name);
	add_text(b, "stream", f->stream->config->name);
	add_count(b, "number", o->track + 1);
	add_text(b, "codec_id", t->kvs.codec_id);
	add_fourcc(b, "codec", o->info.codec);
	add_text(b, "encoder", o->info.encoder);
	add_text(b, "encoder_rung", capture_rung_name(o->info.rung));
	add_bool(b, "source_imported", o->info.source_imported);
	add_count(b, "frames_skipped", s->frames_skipped);
	add_count(b, "frames_queue_full", s->frames_queue_full);
	add_count(b, "frames_encoded", s->packets);
	add_count(b, "frames_put", o->frames_put);
	add_count(b, "frames_refused", o->frames_refused);
	add_count(b, "encoder_reopened", s->reopened);
	add_count(b, "queue_frames_max", s->queue_frames_max);
	add_ratio(b, "encode_s", s->encode_ns, NS_PER_S);
	add_ratio(b, "encode_ms_max", s->encode_ns_max, NS_PER_MS);
	add_count(b, "raw_copies", s->copies);
	add_ratio(b, "raw_copies_per_frame", s->copies, f->stats.frames);
	add_ratio(b, "raw_bytes_touched_per_frame", s->bytes_touched,
		  f->stats.frames);
	if (s->thermal.frames || s->has_reading)
		add_thermal(b, f, s);
	(void)buf_add_str(b, "}");
}

static void add_feed(struct buf *b, const struct feed *f)
{
	const struct pipeline_stats *s = &f->stats;

	(void)buf_add_str(b, "{\"name\":");
	add_string(b, f->config->name);
	add_text(b, "kind", agent_kind_name(f->config->kind));
	add_text(b, "device", f->info.path);
	add_text(b, "card", f->info.card);
	add_format(b, &f->info.format);
	add_text(b, "memory_rung", capture_rung_name(s->rung));
	if (s->s2_given_up)
		add_text(b, "memory_rung_why", CAPTURE_S2_GIVEN_UP);
	add_bool(b, "import_only", f->info.import_only);
	add_count(b, "frames_captured", s->frames);
	add_count(b, "frames_lost", s->frames_lost);
	add_count(b, "frames_starved", s->frames_starved);
	add_count(b, "frames_dropped", s->frames_dropped);
	add_count(b, "frames_error", s->frames_error);
	add_count(b, "overruns", s->overruns);
	if (f->config->kind == AGENT_IIO)
		add_count(b, "scans_lost", s->scans_lost);
	if (f->config->counter.bits) {
		add_count(b, "counts_guessed", s->counts_guessed);
		add_count(b, "counts_anew", s->counts_anew);
	}
	add_count(b, "stamps_replaced", s->stamps_replaced);
	add_count(b, "frames_copied", s->copies);
	add_count(b, "reopened", s->reopened);
	add_count(b, "stuck", s->stuck);
	add_ratio(b, "outage_s", s->outage_ns, NS_PER_S);
	add_ratio(b, "held_s", s->held_ns, NS_PER_S);
	add_ratio(b, "busy_s", f->busy_ns, NS_PER_S);
	add_ratio(b, "busy_ms_max", f->busy_ns_max, NS_PER_MS);
	if (f->config->align.point) {
		add_text(b, "point",
			 capture_align_point_name(f->config->align.point));
		add_signed(b, "point_delay_ns", s->align_delay_ns);
		add_text(b, "point_wrong", s->align_wrong ? s->align_wrong : "");
	}
	(void)buf_add_str(b, ",\"tracks\":[");
	for (size_t i = 0; i < f->output_count; i++) {
		if (i)
			(void)buf_add_str(b, ",");
		add_output(b, f, &f->outputs[i]);
	}
	(void)buf_add_str(b, "]}");
}

static void add_stream(struct buf *b, const struct stream *s)
{
	const struct kvs_producer_stats *p = &s->stats;

	(void)buf_add_str(b, "{\"name\":");
	add_string(b, s->config->name);
	add_text(b, "send_rung", p->send_rung);
	add_count(b, "frames_put", p->frames_in);
	add_count(b, "frames_dropped", p->frames_dropped);
	add_ratio(b, "payload_copies_per_frame", p->payload_copies,
		  p->frames_in);
	add_count(b, "fragments_sealed", p->fragments_sealed);
	add_count(b, "fragments_sent", p->fragments_sent);
	add_count(b, "fragments_received", p->fragments_received);
	add_count(b, "fragments_persisted", p->fragments_persisted);
	add_count(b, "fragments_dropped", p->fragments_dropped);
	add_count(b, "fragments_left", (uint64_t)s->left);
	add_count(b, "bytes_sent", p->bytes_sent);
	add_count(b, "reconnects", p->reconnects);
	add_ratio(b, "persisted_latency_ms_p50",
		  histogram_percentile(&s->latency_us, 500), 1000);
	add_ratio(b, "persisted_latency_ms_p99",
		  histogram_percentile(&s->latency_us, 990), 1000);
	add_count(b, "persisted_latency_count", s->latency_us.count);
	(void)buf_add_str(b, "}");
}

int report_write(const struct report *r, struct buf *b)
{
	(void)buf_add_str(b, "{\"role\":\"agent\"");
	add_ratio(b, "duration_s", r->duration_ns, NS_PER_S);
	add_count(b, "clock_epochs", r->clock_epoch);
	(void)buf_add_str(b, ",\"sources\":[");
	for (size_t i = 0; i < r->feed_count; i++) {
		if (i)
			(void)buf_add_str(b, ",");
		add_feed(b, &r->feeds[i]);
	}
	(void)buf_add_str(b, "],\"streams\":[");
	for (size_t i = 0; i < r->stream_count; i++) {
		if (i)
			(void)buf_add_str(b, ",");
		add_stream(b, &r->streams[i]);
	}
	(void)buf_add_str(b, "]}\n");
	return b->failed ? -ENOBUFS : 0;
}
