/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "core/limits.h"
#include "io/aws_request.h"
#include "io/config_ini.h"
#include "proto/names.h"

_Static_assert(AGENT_ERROR_CHARS >= CONFIG_ERROR_CHARS, "errors fit");

#define SIDE_MAX 16384u
#define RATE_MAX 1000u
#define BITRATE_MIN 10000u
#define BITRATE_MAX 1000000000u
#define GOP_FRAMES_MAX 1000u
#define TIMEOUT_NS_MIN (NS_PER_S / 10)
#define TIMEOUT_NS_MAX (600 * NS_PER_S)

struct why {
	char *text;
	size_t size;
};

static int PRINTF(2, 3) wrong(struct why *w, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(w->text, w->size, fmt, args);
	va_end(args);
	return -EINVAL;
}

/* --- kinds of values ------------------------------------------------------------ */

static int take_text(char *out, size_t size, const char *v, struct why *w)
{
	size_t len = strlen(v);

	if (!len || len >= size)
		return wrong(w, "1 to %zu characters", size - 1);
	memcpy(out, v, len + 1);
	return 0;
}

static int take_bool(bool *out, const char *v, struct why *w)
{
	if (strcmp(v, "yes") != 0 && strcmp(v, "no") != 0)
		return wrong(w, "'%.40s' is neither yes nor no", v);
	*out = v[0] == 'y';
	return 0;
}

static int take_duration(uint64_t *out, const char *v, uint64_t min_ns,
			 uint64_t max_ns, struct why *w)
{
	uint64_t ns = 0;

	if (parse_duration_ns(v, &ns) < 0)
		return wrong(w, "'%.40s' is not a duration (2s, 500ms, 24h)",
			     v);
	if (ns < min_ns || ns > max_ns)
		return wrong(w, "%llu ms to %llu ms",
			     (unsigned long long)(min_ns / NS_PER_MS),
			     (unsigned long long)(max_ns / NS_PER_MS));
	*out = ns;
	return 0;
}

static int take_number(uint64_t *out, const char *v, uint64_t min,
		       uint64_t max, struct why *w)
{
	uint64_t n = 0;

	if (parse_u64(v, strlen(v), UINT64_MAX, &n) < 0)
		return wrong(w, "'%.40s' is not a number", v);
	if (n < min || n > max)
		return wrong(w, "%llu to %llu", (unsigned long long)min,
			     (unsigned long long)max);
	*out = n;
	return 0;
}

/* --- keys -------------------------------------------------------------------------- */

static int set_endpoint(struct agent_config *c, const char *v, struct why *w)
{
	struct endpoint parsed;

	if (endpoint_parse(v, &parsed) < 0)
		return wrong(w, "not https://HOST[:PORT]");
	return take_text(c->endpoint, sizeof(c->endpoint), v, w);
}

static int set_region(struct agent_config *c, const char *v, struct why *w)
{
	if (!name_region_valid(slice_of(v)))
		return wrong(w, "1 to 64 of a-z 0-9 -");
	return take_text(c->region, sizeof(c->region), v, w);
}

static int set_ca_bundle(struct agent_config *c, const char *v, struct why *w)
{
	return take_text(c->ca_bundle, sizeof(c->ca_bundle), v, w);
}

static int set_credentials(struct agent_config *c, const char *v, struct why *w)
{
	return take_text(c->credentials, sizeof(c->credentials), v, w);
}

static int set_profile(struct agent_config *c, const char *v, struct why *w)
{
	return take_text(c->profile, sizeof(c->profile), v, w);
}

static int set_name(struct agent_config *c, const char *v, struct why *w)
{
	if (!name_stream_valid(slice_of(v)))
		return wrong(w, "1 to 256 of a-z A-Z 0-9 _ . -");
	return take_text(c->stream, sizeof(c->stream), v, w);
}

static int set_create(struct agent_config *c, const char *v, struct why *w)
{
	return take_bool(&c->create, v, w);
}

static int set_retention(struct agent_config *c, const char *v, struct why *w)
{
	const uint64_t hour_ns = 3600 * NS_PER_S;
	uint64_t ns = 0;

	if (strcmp(v, "0") == 0) {
		c->retention_hours = 0;
		return 0;
	}
	if (take_duration(&ns, v, hour_ns, RETENTION_HOURS_MAX * hour_ns, w) < 0)
		return -EINVAL;
	if (ns % hour_ns)
		return wrong(w, "whole hours");
	c->retention_hours = (uint32_t)(ns / hour_ns);
	return 0;
}

static int set_fragment(struct agent_config *c, const char *v, struct why *w)
{
	uint64_t ns = 0;
	int r = take_duration(&ns, v, FRAGMENT_MS_MIN * NS_PER_MS,
			      FRAGMENT_MS_MAX * NS_PER_MS, w);

	if (r == 0)
		c->fragment_ms = ns / NS_PER_MS;
	return r;
}

static int set_store(struct agent_config *c, const char *v, struct why *w)
{
	uint64_t bytes;

	if (parse_bytes(v, &bytes) < 0)
		return wrong(w, "'%.40s' is not a size (512K, 32M)", v);
	if (bytes < RETAIN_BYTES_MIN || bytes > RETAIN_BYTES_MAX)
		return wrong(w, "1M to 4G");
	c->store_bytes = bytes;
	return 0;
}

static int set_device(struct agent_config *c, const char *v, struct why *w)
{
	if (v[0] != '/')
		return wrong(w, "a path that starts with /");
	return take_text(c->device, sizeof(c->device), v, w);
}

static int set_match(struct agent_config *c, const char *v, struct why *w)
{
	return take_text(c->match, sizeof(c->match), v, w);
}

static int set_format(struct agent_config *c, const char *v, struct why *w)
{
	size_t len = strlen(v);

	if (strcmp(v, "auto") == 0) {
		c->format = 0;
		return 0;
	}
	if (len < 3 || len > 4)
		return wrong(w, "auto, or four characters as YU12, NV12, YUYV");
	/* Codes of three characters end with a space: "Y16 ". */
	c->format = (uint32_t)(uint8_t)v[0] | (uint32_t)(uint8_t)v[1] << 8 |
		    (uint32_t)(uint8_t)v[2] << 16 |
		    (uint32_t)(uint8_t)(len == 4 ? v[3] : ' ') << 24;
	return 0;
}

/* "A<separator>B" */
static int take_pair(const char *v, char separator, uint64_t max,
		     uint64_t *ret_a, uint64_t *ret_b)
{
	const char *at = strchr(v, separator);

	if (!at || parse_u64(v, (size_t)(at - v), max, ret_a) < 0 ||
	    parse_u64(at + 1, strlen(at + 1), max, ret_b) < 0 || !*ret_a ||
	    !*ret_b)
		return -EINVAL;
	return 0;
}

static int set_size(struct agent_config *c, const char *v, struct why *w)
{
	uint64_t width;
	uint64_t height;

	if (take_pair(v, 'x', SIDE_MAX, &width, &height) < 0)
		return wrong(w, "'%.40s' is not WIDTHxHEIGHT, as 1280x720", v);
	c->width = (uint32_t)width;
	c->height = (uint32_t)height;
	return 0;
}

static int set_rate(struct agent_config *c, const char *v, struct why *w)
{
	uint64_t num;
	uint64_t den = 1;

	if ((take_pair(v, '/', UINT16_MAX, &num, &den) < 0 &&
	     parse_u64(v, strlen(v), RATE_MAX, &num) < 0) || !num)
		return wrong(w, "'%.40s' is not a rate: frames per second up "
			     "to %u, as 30 or 30000/1001", v, RATE_MAX);
	c->rate_num = (uint32_t)num;
	c->rate_den = (uint32_t)den;
	return 0;
}

static int set_camera_timeout(struct agent_config *c, const char *v,
			      struct why *w)
{
	return take_duration(&c->camera_timeout_ns, v, TIMEOUT_NS_MIN,
			     TIMEOUT_NS_MAX, w);
}

static const char *const encoder_names[] = {
	[AGENT_ENCODER_AUTO] = "auto",
	[AGENT_ENCODER_M2M] = "m2m",
	[AGENT_ENCODER_OPENH264] = "openh264",
	[AGENT_ENCODER_NONE] = "none",
};

const char *agent_encoder_name(enum agent_encoder encoder)
{
	return encoder_names[encoder];
}

static int set_kind(struct agent_config *c, const char *v, struct why *w)
{
	for (size_t i = 0; i < ARRAY_SIZE(encoder_names); i++) {
		if (strcmp(v, encoder_names[i]) != 0)
			continue;
		c->encoder = (enum agent_encoder)i;
		return 0;
	}
	return wrong(w, "'%.40s' is none of auto, m2m, openh264, none", v);
}

static int set_encoder_device(struct agent_config *c, const char *v,
			      struct why *w)
{
	if (v[0] != '/')
		return wrong(w, "a path that starts with /");
	return take_text(c->encoder_device, sizeof(c->encoder_device), v, w);
}

/* Bits per second with decimal k and M, as encoders are sold. */
static int set_bitrate(struct agent_config *c, const char *v, struct why *w)
{
	size_t len = strlen(v);
	uint64_t unit = 1;
	uint64_t n = 0;

	if (len && v[len - 1] == 'k')
		unit = 1000;
	else if (len && v[len - 1] == 'M')
		unit = 1000000;
	len -= unit > 1;
	if (parse_u64(v, len, BITRATE_MAX, &n) < 0 || n * unit < BITRATE_MIN ||
	    n * unit > BITRATE_MAX)
		return wrong(w, "'%.40s' is not 10k to 1000M bits per second",
			     v);
	c->bitrate = (int64_t)(n * unit);
	return 0;
}

static int set_gop(struct agent_config *c, const char *v, struct why *w)
{
	uint64_t n = 0;
	int r = take_number(&n, v, 1, GOP_FRAMES_MAX, w);

	if (r == 0)
		c->gop_frames = (int64_t)n;
	return r;
}

static int set_encoder_timeout(struct agent_config *c, const char *v,
			       struct why *w)
{
	return take_duration(&c->encoder_timeout_ns, v, TIMEOUT_NS_MIN,
			     TIMEOUT_NS_MAX, w);
}

static int set_stop_timeout(struct agent_config *c, const char *v,
			    struct why *w)
{
	return take_duration(&c->stop_timeout_ns, v, 0, TIMEOUT_NS_MAX, w);
}

static int set_debug(struct agent_config *c, const char *v, struct why *w)
{
	return take_bool(&c->debug, v, w);
}

static const struct key {
	const char *section;
	const char *name;
	int (*set)(struct agent_config *c, const char *value, struct why *w);
} keys[] = {
	{ "service", "endpoint", set_endpoint },
	{ "service", "region", set_region },
	{ "service", "ca_bundle", set_ca_bundle },
	{ "service", "credentials", set_credentials },
	{ "service", "profile", set_profile },
	{ "stream", "name", set_name },
	{ "stream", "create", set_create },
	{ "stream", "retention", set_retention },
	{ "stream", "fragment", set_fragment },
	{ "stream", "store", set_store },
	{ "camera", "device", set_device },
	{ "camera", "match", set_match },
	{ "camera", "format", set_format },
	{ "camera", "size", set_size },
	{ "camera", "rate", set_rate },
	{ "camera", "timeout", set_camera_timeout },
	{ "encoder", "kind", set_kind },
	{ "encoder", "device", set_encoder_device },
	{ "encoder", "bitrate", set_bitrate },
	{ "encoder", "gop", set_gop },
	{ "encoder", "timeout", set_encoder_timeout },
	{ "agent", "stop_timeout", set_stop_timeout },
	{ "agent", "debug", set_debug },
};
#define KEY_COUNT ARRAY_SIZE(keys)
_Static_assert(KEY_COUNT <= 64, "struct file: one bit each");

/* --- the file ----------------------------------------------------------------------- */

struct file {
	struct agent_config *config;
	uint64_t given;		/* bit n: keys[n] */
};

static bool section_known(const char *section)
{
	for (size_t i = 0; i < KEY_COUNT; i++)
		if (strcmp(keys[i].section, section) == 0)
			return true;
	return false;
}

static int take_entry(void *ctx, const char *section, const char *key,
		      const char *value, char *text, size_t size)
{
	struct file *f = ctx;
	struct why w = { text, size };

	if (!section_known(section))
		return wrong(&w, "unknown section");
	if (!key)
		return 0;
	for (size_t i = 0; i < KEY_COUNT; i++) {
		if (strcmp(keys[i].section, section) != 0 ||
		    strcmp(keys[i].name, key) != 0)
			continue;
		if (f->given >> i & 1)
			return wrong(&w, "given twice");
		f->given |= UINT64_C(1) << i;
		return keys[i].set(f->config, value, &w);
	}
	return wrong(&w, "unknown key");
}

static void set_defaults(struct agent_config *c)
{
	memset(c, 0, sizeof(*c));
	c->create = true;
	c->retention_hours = 24;
	c->fragment_ms = FRAGMENT_MS_DEFAULT;
	c->store_bytes = RETAIN_BYTES_DEFAULT;
	c->camera_timeout_ns = 5 * NS_PER_S;
	c->bitrate = 4000000;
	c->gop_frames = -1;
	c->encoder_timeout_ns = 2 * NS_PER_S;
	c->stop_timeout_ns = 10 * NS_PER_S;
	(void)snprintf(c->region, sizeof(c->region), "us-west-2");
}

static int check_together(const struct agent_config *c, const char *path,
			  char *ret_error)
{
	const char *why = NULL;

	if (!c->stream[0])
		why = "[stream] name: is needed";
	else if (c->device[0] && c->match[0])
		why = "[camera] device and match: one of the two";
	else if (c->encoder_device[0] && c->encoder == AGENT_ENCODER_OPENH264)
		why = "[encoder] device: openh264 has none";
	else if (c->encoder == AGENT_ENCODER_NONE && !c->format)
		why = "[camera] format: is needed with [encoder] kind = none";
	if (!why)
		return 0;
	(void)snprintf(ret_error, AGENT_ERROR_CHARS, "%s: %s", path, why);
	return -EINVAL;
}

int agent_config_read(const struct sys_ops *sys, const char *path,
		      struct agent_config *ret_config, char *ret_error)
{
	struct agent_config c;
	struct file f = { .config = &c };
	int r;

	set_defaults(&c);
	r = config_ini_read(sys, path, take_entry, &f, ret_error);
	if (r == 0)
		r = check_together(&c, path, ret_error);
	if (r == 0)
		*ret_config = c;
	return r;
}
