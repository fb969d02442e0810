/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <kvs/producer.h>

#include "agent/config_source.h"
#include "agent/config_value.h"
#include "base/parse.h"
#include "core/limits.h"
#include "io/aws_request.h"
#include "io/config_ini.h"
#include "proto/names.h"

_Static_assert(AGENT_ERROR_CHARS >= CONFIG_ERROR_CHARS, "errors fit");

#define STOP_TIMEOUT_NS_MAX (600 * NS_PER_S)
#define GLOBAL_KEYS_MAX 32u
#define VIEW "-view"	/* what track_describe() appends */
#define SECTIONS "service, agent, stream NAME, source NAME"

/* --- [service] and [agent] ----------------------------------------------------------- */

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

static int set_stop_timeout(struct agent_config *c, const char *v,
			    struct why *w)
{
	return take_duration(&c->stop_timeout_ns, v, 0, STOP_TIMEOUT_NS_MAX, w);
}

static int set_debug(struct agent_config *c, const char *v, struct why *w)
{
	return take_bool(&c->debug, v, w);
}

static const struct global_key {
	const char *section;
	const char *name;
	int (*set)(struct agent_config *c, const char *value, struct why *w);
} global_keys[] = {
	{ "service", "endpoint", set_endpoint },
	{ "service", "region", set_region },
	{ "service", "ca_bundle", set_ca_bundle },
	{ "service", "credentials", set_credentials },
	{ "service", "profile", set_profile },
	{ "agent", "stop_timeout", set_stop_timeout },
	{ "agent", "debug", set_debug },
};
_Static_assert(ARRAY_SIZE(global_keys) <= GLOBAL_KEYS_MAX, "one bit each");

/* --- [stream NAME] ------------------------------------------------------------------- */

static int set_name(struct agent_stream *s, const char *v, struct why *w)
{
	if (!name_stream_valid(slice_of(v)))
		return wrong(w, "1 to 256 of a-z A-Z 0-9 _ . -");
	return take_text(s->name, sizeof(s->name), v, w);
}

static int set_create(struct agent_stream *s, const char *v, struct why *w)
{
	return take_bool(&s->create, v, w);
}

static int set_retention(struct agent_stream *s, const char *v, struct why *w)
{
	const uint64_t hour_ns = 3600 * NS_PER_S;
	uint64_t ns = 0;

	if (strcmp(v, "0") == 0) {
		s->retention_hours = 0;
		return 0;
	}
	if (take_duration(&ns, v, hour_ns, RETENTION_HOURS_MAX * hour_ns, w) < 0)
		return -EINVAL;
	if (ns % hour_ns)
		return wrong(w, "whole hours");
	s->retention_hours = (uint32_t)(ns / hour_ns);
	return 0;
}

static int set_fragment(struct agent_stream *s, const char *v, struct why *w)
{
	uint64_t ns = 0;
	int r = take_duration(&ns, v, FRAGMENT_MS_MIN * NS_PER_MS,
			      FRAGMENT_MS_MAX * NS_PER_MS, w);

	if (r == 0)
		s->fragment_ms = ns / NS_PER_MS;
	return r;
}

static int set_store(struct agent_stream *s, const char *v, struct why *w)
{
	uint64_t bytes;

	if (parse_bytes(v, &bytes) < 0)
		return wrong(w, "'%.40s' is not a size (512K, 32M)", v);
	if (bytes < RETAIN_BYTES_MIN || bytes > RETAIN_BYTES_MAX)
		return wrong(w, "1M to 4G");
	s->store_bytes = bytes;
	return 0;
}

static const struct stream_key {
	const char *name;
	int (*set)(struct agent_stream *s, const char *value, struct why *w);
} stream_keys[] = {
	{ "name", set_name },
	{ "create", set_create },
	{ "retention", set_retention },
	{ "fragment", set_fragment },
	{ "store", set_store },
};
#define STREAM_KEY_COUNT ARRAY_SIZE(stream_keys)

/* --- the file ------------------------------------------------------------------------ */

struct stream_lines {
	unsigned int section;
	bool given[STREAM_KEY_COUNT];
};

struct file {
	struct agent_config *config;
	bool given[GLOBAL_KEYS_MAX];
	struct stream_lines streams[AGENT_STREAMS_MAX];
	struct source_lines sources[AGENT_SOURCES_MAX];
	/* Where it is wrong, for what only shows at the end. */
	unsigned int line;
	const char *section;	/* "stream", "source" */
	const char *label;
	const char *key;
};

/* The NAME of "[KIND NAME]", or NULL. */
static const char *label_of(const char *section, const char *kind)
{
	size_t len = strlen(kind);

	if (strncmp(section, kind, len) != 0 || section[len] != ' ')
		return NULL;
	return section + len + strspn(section + len, " ");
}

static int check_label(const char *label, struct why *w)
{
	size_t len = strlen(label);

	if (len > AGENT_LABEL_CHARS || !name_stream_valid(slice_of(label)))
		return wrong(w, "a name of 1 to %u of a-z A-Z 0-9 _ . - is "
			     "needed", AGENT_LABEL_CHARS);
	return 0;
}

static int begin_stream(struct file *f, unsigned int line, const char *label,
			struct why *w)
{
	struct agent_config *c = f->config;
	struct agent_stream *s = &c->streams[c->stream_count];

	if (check_label(label, w) < 0)
		return -EINVAL;
	for (size_t i = 0; i < c->stream_count; i++)
		if (strcmp(c->streams[i].label, label) == 0)
			return wrong(w, "given twice");
	if (c->stream_count == AGENT_STREAMS_MAX)
		return wrong(w, "at most %u streams", AGENT_STREAMS_MAX);
	(void)snprintf(s->label, sizeof(s->label), "%s", label);
	(void)snprintf(s->name, sizeof(s->name), "%s", label);
	s->create = true;
	s->retention_hours = 24;
	s->fragment_ms = FRAGMENT_MS_DEFAULT;
	s->store_bytes = RETAIN_BYTES_DEFAULT;
	f->streams[c->stream_count++].section = line;
	return 0;
}

static int begin_source(struct file *f, unsigned int line, const char *label,
			struct why *w)
{
	struct agent_config *c = f->config;
	struct agent_source *s = &c->sources[c->source_count];
	size_t len = strlen(label);

	if (check_label(label, w) < 0)
		return -EINVAL;
	if (len >= strlen(VIEW) && strcmp(label + len - strlen(VIEW), VIEW) == 0)
		return wrong(w, VIEW " is for the view of a source");
	for (size_t i = 0; i < c->source_count; i++)
		if (strcmp(c->sources[i].name, label) == 0)
			return wrong(w, "given twice");
	if (c->source_count == AGENT_SOURCES_MAX)
		return wrong(w, "at most %u sources", AGENT_SOURCES_MAX);
	source_defaults(s);
	(void)snprintf(s->name, sizeof(s->name), "%s", label);
	f->sources[c->source_count++].section = line;
	return 0;
}

static int begin_section(struct file *f, unsigned int line,
			 const char *section, struct why *w)
{
	const char *label = label_of(section, "stream");

	if (label)
		return begin_stream(f, line, label, w);
	label = label_of(section, "source");
	if (label)
		return begin_source(f, line, label, w);
	for (size_t i = 0; i < ARRAY_SIZE(global_keys); i++)
		if (strcmp(global_keys[i].section, section) == 0)
			return 0;
	if (strcmp(section, "stream") == 0 || strcmp(section, "source") == 0)
		return wrong(w, "has no name: [%s NAME]", section);
	return wrong(w, "unknown section (there are " SECTIONS ")");
}

static int take_stream_key(struct file *f, const char *key, const char *value,
			   struct why *w)
{
	size_t last = f->config->stream_count - 1;
	struct agent_stream *s = &f->config->streams[last];
	bool *given = f->streams[last].given;

	for (size_t i = 0; i < STREAM_KEY_COUNT; i++) {
		if (strcmp(stream_keys[i].name, key) != 0)
			continue;
		if (given[i])
			return wrong(w, "given twice");
		given[i] = true;
		return stream_keys[i].set(s, value, w);
	}
	return wrong(w, "unknown key");
}

static int take_global_key(struct file *f, const char *section,
			   const char *key, const char *value, struct why *w)
{
	for (size_t i = 0; i < ARRAY_SIZE(global_keys); i++) {
		if (strcmp(global_keys[i].section, section) != 0 ||
		    strcmp(global_keys[i].name, key) != 0)
			continue;
		if (f->given[i])
			return wrong(w, "given twice");
		f->given[i] = true;
		return global_keys[i].set(f->config, value, w);
	}
	return wrong(w, section[0] ? "unknown key" : "stands in no section");
}

static int take_entry(void *ctx, unsigned int line, const char *section,
		      const char *key, const char *value, char *text,
		      size_t size)
{
	struct file *f = ctx;
	struct why w = { text, size };
	size_t last = f->config->source_count - 1;

	if (!key)
		return begin_section(f, line, section, &w);
	if (label_of(section, "stream"))
		return take_stream_key(f, key, value, &w);
	if (label_of(section, "source"))
		return source_take(&f->config->sources[last],
				   &f->sources[last], key, value, line, &w);
	return take_global_key(f, section, key, value, &w);
}

/* --- all sections together ----------------------------------------------------------- */

/* Return: 0, or -EINVAL with the words. */
static int join(struct file *f, struct agent_source *s, struct why *w)
{
	struct agent_config *c = f->config;

	f->key = "stream";
	for (size_t i = 0; i < c->stream_count; i++) {
		if (strcmp(c->streams[i].label, s->stream_label) != 0)
			continue;
		s->stream = i;
		c->streams[i].track_count += agent_source_tracks(s);
		if (c->streams[i].track_count <= KVS_TRACKS_MAX)
			return 0;
		return wrong(w, "%zu tracks in [stream %s]: at most %d%s",
			     c->streams[i].track_count, s->stream_label,
			     KVS_TRACKS_MAX,
			     s->view ? " (the view is one)" : "");
	}
	return wrong(w, "there is no [stream %s]", s->stream_label);
}

static int check_source(struct file *f, size_t i, struct why *w)
{
	struct agent_source *s = &f->config->sources[i];
	int r;

	f->section = "source ";
	f->label = s->name;
	r = source_check(s, &f->sources[i], &f->line, &f->key, w);
	if (r < 0)
		return r;
	f->line = f->sources[i].keys[SOURCE_KEY_STREAM];
	return join(f, s, w);
}

static int check_stream(struct file *f, size_t i, struct why *w)
{
	const struct agent_stream *s = &f->config->streams[i];

	f->section = "stream ";
	f->label = s->label;
	f->line = f->streams[i].section;
	f->key = NULL;
	if (!s->track_count)
		return wrong(w, "no source belongs to it");
	for (size_t j = 0; j < i; j++)
		if (strcmp(f->config->streams[j].name, s->name) == 0)
			return wrong(w, "has the name of [stream %s]",
				     f->config->streams[j].label);
	return 0;
}

static int check_together(struct file *f, const char *path, char *ret_error)
{
	char words[200] = "";
	struct why w = { words, sizeof(words) };
	int r = 0;

	if (!f->config->source_count) {
		(void)snprintf(ret_error, AGENT_ERROR_CHARS,
			       "%s: no [source NAME]", path);
		return -EINVAL;
	}
	for (size_t i = 0; i < f->config->source_count && r == 0; i++)
		r = check_source(f, i, &w);
	for (size_t i = 0; i < f->config->stream_count && r == 0; i++)
		r = check_stream(f, i, &w);
	if (r < 0)
		(void)snprintf(ret_error, AGENT_ERROR_CHARS,
			       "%s:%u: [%s%s] %s%s%s", path, f->line,
			       f->section, f->label, f->key ? f->key : "",
			       f->key ? ": " : "", words);
	return r;
}

int agent_config_read(const struct sys_ops *sys, const char *path,
		      struct agent_config *ret_config, char *ret_error)
{
	struct file f = { .config = ret_config };
	int r;

	memset(ret_config, 0, sizeof(*ret_config));
	ret_config->stop_timeout_ns = 10 * NS_PER_S;
	(void)snprintf(ret_config->region, sizeof(ret_config->region),
		       "us-west-2");
	r = config_ini_read(sys, path, take_entry, &f, ret_error);
	if (r == 0)
		r = check_together(&f, path, ret_error);
	return r;
}
