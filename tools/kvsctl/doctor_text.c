/* SPDX-License-Identifier: Apache-2.0 */
/* The report as text: one screen for a machine with one camera. */
#include "kvsctl/doctor.h"

#include <string.h>

#define SIZES_SHOWN 6u
#define FORMATS_SHOWN 12u
#define ELEMENTS_SHOWN 8u

static const char *text(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

static double number(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

static bool yes(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

static const char *or_unknown(const char *s)
{
	return s[0] ? s : "not known";
}

static void print_sizes(const json_t *sizes, FILE *out)
{
	const json_t *s;
	size_t i;

	json_array_foreach(sizes, i, s)
	{
		const char *rate = text(s, "max_rate");

		if (i == SIZES_SHOWN) {
			(void)fprintf(out, " +%zu", json_array_size(sizes) - i);
			break;
		}
		if (json_object_get(s, "min_width"))
			(void)fprintf(out, " %.0fx%.0f..",
				      number(s, "min_width"),
				      number(s, "min_height"));
		else
			(void)fputc(' ', out);
		(void)fprintf(out, "%.0fx%.0f%s%s", number(s, "width"),
			      number(s, "height"), rate[0] ? "@" : "", rate);
	}
}

/* Whether two formats have the same sizes: then they share a line. */
static bool same_sizes(const json_t *a, const json_t *b)
{
	return json_equal(json_object_get(a, "sizes"),
			  json_object_get(b, "sizes"));
}

static void print_formats(const json_t *formats, const char *what, FILE *out)
{
	size_t count = json_array_size(formats);
	size_t i = 0;

	while (i < count) {
		const json_t *first = json_array_get(formats, i);
		size_t began = i;

		(void)fprintf(out, "    %-5s", what);
		do {
			const json_t *f = json_array_get(formats, i);

			if (i - began < FORMATS_SHOWN)
				(void)fprintf(out, " %s%s", text(f, "fourcc"),
					      yes(f, "emulated") ? "(emulated)"
								 : "");
			i++;
		} while (i < count &&
			 same_sizes(first, json_array_get(formats, i)));
		if (i - began > FORMATS_SHOWN)
			(void)fprintf(out, " +%zu", i - began - FORMATS_SHOWN);
		(void)fputc(':', out);
		print_sizes(json_object_get(first, "sizes"), out);
		(void)fputc('\n', out);
	}
}

static void print_devices(const json_t *report, FILE *out)
{
	const json_t *d;
	size_t i;

	json_array_foreach(json_object_get(report, "devices"), i, d)
	{
		(void)fprintf(out, "%s  %s, %s (%s, %s), declared:\n",
			      text(d, "path"), text(d, "kind"), text(d, "card"),
			      text(d, "driver"), text(d, "bus"));
		if (text(d, "link")[0])
			(void)fprintf(out, "    link  %s\n", text(d, "link"));
		print_formats(json_object_get(d, "inputs"), "takes", out);
		print_formats(json_object_get(d, "formats"), "gives", out);
	}
}

/* " s12/16>>4@0 accel_x": what of a scan is this, and how it lies there. */
static void print_elements(const json_t *elements, FILE *out)
{
	const json_t *e;
	size_t i;

	json_array_foreach(elements, i, e)
	{
		if (i == ELEMENTS_SHOWN) {
			(void)fprintf(out, " +%zu",
				      json_array_size(elements) - i);
			break;
		}
		(void)fprintf(out, "%s %s %se:%s%.0f/%.0f>>%.0f@%.0f",
			      i ? "," : "", text(e, "name"),
			      yes(e, "big_endian") ? "b" : "l",
			      yes(e, "signed") ? "s" : "u", number(e, "bits"),
			      number(e, "storage_bits"), number(e, "shift"),
			      number(e, "offset"));
	}
	(void)fputc('\n', out);
}

static void print_strings(const json_t *array, FILE *out)
{
	const json_t *item;
	size_t i;

	json_array_foreach(array, i, item)
	{
		if (json_is_string(item))
			(void)fprintf(out, " %s", json_string_value(item));
		else
			(void)fprintf(out, " %.0f", json_number_value(item));
	}
}

static void print_sensor(const json_t *s, FILE *out)
{
	(void)fprintf(out, "%s  %s, %s", text(s, "path"), text(s, "kind"),
		      text(s, "name"));
	if (text(s, "error")[0]) {
		(void)fprintf(out, ": %s\n", text(s, "error"));
		return;
	}
	if (json_object_get(s, "elements")) {
		(void)fprintf(
			out,
			", declared: trigger %s, %.0f scans/s, "
			"timestamps of %s\n    scans",
			text(s, "trigger")[0] ? text(s, "trigger") : "none",
			number(s, "rate_max"), or_unknown(text(s, "clock")));
		print_elements(json_object_get(s, "elements"), out);
		return;
	}
	(void)fprintf(out, ", declared:\n    gives");
	print_strings(json_object_get(s, "formats"), out);
	(void)fprintf(out, ": %.0f..%.0f channels; %.0f..%.0f Hz, of them",
		      number(s, "channels_min"), number(s, "channels_max"),
		      number(s, "rate_min"), number(s, "rate_max"));
	print_strings(json_object_get(s, "rates"), out);
	(void)fputc('\n', out);
}

static void print_sensors(const json_t *report, FILE *out)
{
	const json_t *s;
	size_t i;

	json_array_foreach(json_object_get(report, "sensors"), i, s)
		print_sensor(s, out);
}

static void print_list(const json_t *array, const char *title, const char *key,
		       const char *name, FILE *out)
{
	const json_t *item;
	size_t i;

	if (!json_array_size(array))
		return;
	(void)fprintf(out, "%s:", title);
	json_array_foreach(array, i, item)
	{
		(void)fprintf(out, "%s %s", i ? "," : "", text(item, key));
		if (text(item, name)[0])
			(void)fprintf(out, " (%s)", text(item, name));
	}
	(void)fputc('\n', out);
}

static void print_stamps(const json_t *m, const json_t *declared, FILE *out)
{
	(void)fprintf(out, "    clock   declared %s; measured: ",
		      or_unknown(text(declared, "clock")));
	if (number(m, "stamps_replaced") > 0) {
		(void)fprintf(out,
			      "contradicts: %.0f of %.0f stamps cannot be "
			      "(%.0f none, in the future or before the start, "
			      "%.0f backward); the time of dequeue is used\n",
			      number(m, "stamps_replaced"), number(m, "frames"),
			      number(m, "stamps_bad"),
			      number(m, "stamps_backward"));
		return;
	}
	(void)fprintf(out,
		      "%s (%s)\n"
		      "    stamp   declared %s; measured: %s; age at dequeue "
		      "%.3f / %.3f / %.3f ms (min/median/max), %.0f of %.0f "
		      "between two dequeues, %s\n",
		      text(m, "clock"), text(m, "clock_verdict"),
		      or_unknown(text(declared, "point")),
		      text(m, "point_verdict"), number(m, "lag_min_ms"),
		      number(m, "lag_median_ms"), number(m, "lag_max_ms"),
		      number(m, "between_dequeues"), number(m, "frames") - 1,
		      yes(m, "increasing") ? "increasing" : "NOT increasing");
}

static void print_rate(const json_t *m, const json_t *declared, FILE *out)
{
	double samples = number(declared, "sample_rate");

	if (samples > 0) {
		(void)fprintf(out,
			      "    rate    declared %.0f samples/s; measured: ",
			      samples);
		if (json_is_number(json_object_get(m, "sample_rate")))
			(void)fprintf(out, "%.2f samples/s, ",
				      number(m, "sample_rate"));
	} else {
		(void)fprintf(out, "    rate    declared %s; measured: ",
			      or_unknown(text(declared, "rate")));
	}
	if (json_is_number(json_object_get(m, "rate")))
		(void)fprintf(out, "%.3f frames/s, jitter p50 %.3f p99 %.3f ms",
			      number(m, "rate"), number(m, "jitter_p50_ms"),
			      number(m, "jitter_p99_ms"));
	else
		(void)fprintf(out, "not known");
}

static void print_measured(const json_t *m, const json_t *declared, FILE *out)
{
	print_stamps(m, declared, out);
	print_rate(m, declared, out);
	(void)fprintf(out, ", lost %.0f, damaged %.0f", number(m, "lost"),
		      number(m, "damaged"));
	if (number(m, "overruns") > 0)
		(void)fprintf(out, ", %.0f overruns", number(m, "overruns"));
	(void)fputc('\n', out);
	(void)fprintf(out,
		      "    memory  measured: rung %s, %.0f buffers, %.1f MB; "
		      "first frame after %.0f ms\n",
		      text(m, "rung"), number(m, "buffers"),
		      number(m, "memory_bytes") / 1e6,
		      number(m, "first_frame_ms"));
	if (json_object_get(m, "rung_why"))
		(void)fprintf(out, "    memory  measured: %s\n",
			      text(m, "rung_why"));
}

/* A thermal or depth core: whether it sees something, in its own numbers. */
static void print_counts(const json_t *counts, FILE *out)
{
	const json_t *cold = json_object_get(counts, "coldest");
	const json_t *hot = json_object_get(counts, "hottest");

	if (!json_is_object(counts))
		return;
	(void)fprintf(out,
		      "    counts  measured: %.0f at %.0f,%.0f to %.0f at "
		      "%.0f,%.0f, mean %.0f\n",
		      number(cold, "count"), number(cold, "x"),
		      number(cold, "y"), number(hot, "count"), number(hot, "x"),
		      number(hot, "y"), number(counts, "mean"));
}

static void print_streams(const json_t *report, FILE *out)
{
	const json_t *s;
	size_t i;

	json_array_foreach(json_object_get(report, "streams"), i, s)
	{
		const json_t *d = json_object_get(s, "declared");
		const json_t *m = json_object_get(s, "measured");
		const json_t *map = json_object_get(s, "map_read_bytes_per_s");

		(void)fprintf(out, "%s", text(s, "device"));
		if (json_is_object(d))
			(void)fprintf(out, "  streams %s", text(d, "fourcc"));
		if (number(d, "width") > 0)
			(void)fprintf(out, " %.0fx%.0f", number(d, "width"),
				      number(d, "height"));
		if (number(d, "channels") > 0)
			(void)fprintf(out, " of %.0f channels",
				      number(d, "channels"));
		if (json_is_object(m))
			(void)fprintf(out, ", %.0f frames",
				      number(m, "frames"));
		(void)fputc('\n', out);
		if (json_is_object(m))
			print_measured(m, d, out);
		print_counts(json_object_get(m, "counts"), out);
		if (json_is_integer(map))
			(void)fprintf(
				out,
				"    reads   measured: %.0f MB/s from the "
				"driver's own memory\n",
				json_number_value(map) / 1e6);
		if (text(s, "error")[0])
			(void)fprintf(out, "    FAILED  %s\n",
				      text(s, "error"));
	}
}

static void print_pairs(const json_t *report, FILE *out)
{
	const json_t *p;
	size_t i;

	json_array_foreach(json_object_get(report, "pairs"), i, p)
	{
		const json_t *m = json_object_get(p, "measured");
		const json_t *d = json_object_get(p, "declared");

		(void)fprintf(out, "%s -> %s (%s)", text(p, "source"),
			      text(p, "encoder"), text(p, "kind"));
		if (json_is_object(m))
			(void)fprintf(
				out,
				", %s -> %s, measured: rung %s -> %s, %.2g "
				"copies and %.0f bytes touched per frame, "
				"%.1f ms mean, %.0f of %.0f frames",
				text(d, "fourcc"), text(p, "codec"),
				text(m, "source_rung"), text(m, "packet_rung"),
				number(m, "copies_per_frame"),
				number(m, "bytes_touched_per_frame"),
				number(m, "encode_mean_ms"),
				number(m, "packets"), number(m, "frames"));
		if (text(p, "error")[0])
			(void)fprintf(out, ": %s", text(p, "error"));
		(void)fputc('\n', out);
	}
}

/* Controls that somebody has set; the others are in the JSON. */
static void print_controls(const json_t *report, FILE *out)
{
	const json_t *list;
	const char *path;

	json_object_foreach((json_t *)json_object_get(report, "controls"), path,
			    list)
	{
		const json_t *c;
		size_t shown = 0;
		size_t i;

		(void)fprintf(out, "%s  %zu controls, declared;", path,
			      json_array_size(list));
		json_array_foreach(list, i, c)
		{
			const json_t *value = json_object_get(c, "value");

			if (!json_is_integer(value) ||
			    json_equal(value, json_object_get(c, "default")))
				continue;
			(void)fprintf(out, "%s %s=%.0f",
				      shown++ ? "," : " not at their defaults:",
				      text(c, "key"), json_number_value(value));
		}
		(void)fprintf(out, "%s\n",
			      shown ? "" : " all at their defaults");
	}
}

static void print_kernel(const json_t *report, FILE *out)
{
	const json_t *m = json_object_get(report, "machine");
	const json_t *f;
	size_t i;

	(void)fprintf(out, "kernel %s, %s, %.0f processors\n",
		      text(m, "kernel"), text(m, "architecture"),
		      number(m, "processors"));
	json_array_foreach(json_object_get(report, "kernel"), i, f)
	{
		bool present = !strcmp(text(f, "state"), "present");

		(void)fprintf(out, "    %-17s %-9s %s%s%s%s",
			      text(f, "feature"), text(f, "state"),
			      text(f, "how"), text(f, "detail")[0] ? " (" : "",
			      text(f, "detail"),
			      text(f, "detail")[0] ? ")" : "");
		if (present)
			(void)fprintf(out, "\n");
		else
			(void)fprintf(out, "; %s: %s\n", text(f, "use"),
				      text(f, "remedy"));
	}
}

static void print_media(const json_t *report, FILE *out)
{
	const json_t *g;
	const json_t *e;
	const json_t *p;
	const json_t *l;
	size_t i;
	size_t j;
	size_t k;
	size_t n;

	json_array_foreach(json_object_get(report, "media"), i, g)
	{
		(void)fprintf(out, "%s  %s (%s), %zu entities, declared\n",
			      text(g, "path"), text(g, "model"),
			      text(g, "driver"),
			      json_array_size(json_object_get(g, "entities")));
		json_array_foreach(json_object_get(g, "entities"), j, e)
		{
			json_array_foreach(json_object_get(e, "pads"), k, p)
			{
				json_array_foreach(json_object_get(p, "links"),
						   n, l)(void)
					fprintf(out,
						"    '%s':%.0f -> '%s':%.0f "
						"[%d]%s\n",
						text(e, "name"),
						number(p, "pad"), text(l, "to"),
						number(l, "pad"),
						yes(l, "enabled"),
						yes(l, "immutable")
							? " immutable"
							: "");
			}
		}
	}
}

static void print_permissions(const json_t *report, FILE *out)
{
	const json_t *p = json_object_get(report, "permissions");
	const json_t *name;
	size_t i;

	(void)fprintf(out, "groups:");
	json_array_foreach(json_object_get(p, "groups"), i, name)(void)
		fprintf(out, " %s", json_string_value(name));
	(void)fprintf(out, "; udev rules: %s\n",
		      text(p, "udev_rules")[0] ? text(p, "udev_rules")
					       : "not installed");
}

static void print_tsalign(const json_t *report, FILE *out)
{
	const json_t *t = json_object_get(report, "tsalign");
	const json_t *s;
	size_t i;

	if (text(t, "why")[0]) {
		(void)fprintf(out,
			      "tsalign  %s (%s): frames are aligned in user "
			      "space\n",
			      yes(t, "present") ? "not usable" : "absent",
			      text(t, "why"));
		return;
	}
	(void)fprintf(out, "tsalign  present, version %.0f, reference %s%s\n",
		      number(t, "abi"), text(t, "reference"),
		      yes(t, "sees_v4l2") ? "" : "; sees no V4L2 buffers");
	json_array_foreach(json_object_get(t, "streams"), i, s)
	{
		(void)fprintf(out, "    %-12s %-8s epoch %.0f", text(s, "name"),
			      text(s, "state"), number(s, "epoch"));
		if (json_is_integer(json_object_get(s, "sigma_ns")))
			(void)fprintf(out,
				      ", sigma %.3f us, jitter %.3f us, drift "
				      "%.3f ppm",
				      number(s, "sigma_ns") / 1e3,
				      number(s, "jitter_ns") / 1e3,
				      number(s, "drift_ppb") / 1e3);
		(void)fprintf(out, ", %.0f samples, %.0f lost\n",
			      number(s, "samples"), number(s, "lost"));
	}
}

static void print_lacks(const json_t *report, FILE *out)
{
	const json_t *l;
	size_t i;

	json_array_foreach(json_object_get(report, "lacks"), i, l)(void)
		fprintf(out, "%s %s: %s\n",
			yes(l, "needed") ? "MISSING" : "note   ",
			text(l, "what"), text(l, "remedy"));
}

void doctor_print(const json_t *report, FILE *out)
{
	print_kernel(report, out);
	print_permissions(report, out);
	print_list(json_object_get(report, "audio"), "audio", "device", "name",
		   out);
	print_list(json_object_get(report, "iio"), "iio", "device", "name",
		   out);
	print_list(json_object_get(report, "nodes"), "nodes", "path", "name",
		   out);
	print_media(report, out);
	print_devices(report, out);
	print_sensors(report, out);
	print_controls(report, out);
	print_streams(report, out);
	print_pairs(report, out);
	print_tsalign(report, out);
	print_lacks(report, out);
	if (text(report, "suggested")[0])
		(void)fprintf(out,
			      "\nsuggested for agent.conf, as measured here:\n"
			      "%s",
			      text(report, "suggested"));
	(void)fprintf(out, "\n%s\n", text(report, "verdict"));
}
