/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts a stream that `kvsctl export` wrote into the directory of a service
 * that is not running. The whole file is checked before the directory is
 * opened. What is there already is left alone, so that an import that was
 * interrupted is simply run again.
 */
#include "serve/import.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/parse.h"
#include "core/catalog.h"
#include "core/limits.h"
#include "io/catalog_sqlite.h"
#include "io/crypto.h"
#include "io/data_dir.h"
#include "io/loop_uring.h"
#include "io/store_local.h"
#include "proto/names.h"
#include "serve/control_check.h"
#include "serve/export_file.h"
#include "serve/import_fragment.h"
#include "serve/tool_dir.h"

enum {
	EXIT_DONE = 0,
	EXIT_REFUSED = 1, /* the file, or what is there */
	EXIT_USAGE = 2,
	EXIT_FAILED = 8,
};

static const char usage[] =
	"usage: kvsd import DIR FILE [OPTIONS]\n"
	"\n"
	"Puts a stream that `kvsctl export` saved into the directory of a "
	"service\n"
	"that is not running (a data_dir, or what --quickstart was given). "
	"Fragment\n"
	"numbers, both times, media, tags, retention and the holds that the "
	"file\n"
	"has (kvsctl export --holds) are what they were; ARN, creation time, "
	"version\n"
	"and key are new. May be repeated.\n"
	"\n"
	"  --stream NAME       under another name\n"
	"  --retention HOURS   of a stream that is new here; default: as it "
	"was\n"
	"  --region NAME       of the new ARN; default us-west-2\n"
	"  --account DIGITS    default 000000000000\n"
	"  --master-key FILE   default: DIR/master.key\n"
	"  --kms-keys DIR      as kvsd serve has it\n"
	"\n"
	"Exit status: 0 all of it is there, 1 the file is damaged or does not "
	"go\n"
	"with what is there, 8 it could not be done.\n";

struct options {
	char dir[TOOL_PATH_CHARS];
	char file[TOOL_PATH_CHARS];
	char master_key[TOOL_PATH_CHARS];
	char kms_keys[TOOL_PATH_CHARS]; /* "" = none */
	const char *stream;		/* NULL: as it was */
	const char *region;
	const char *account;
	uint64_t retention_hours;
	bool has_retention;
};

struct run {
	const struct options *o;
	const struct sys_ops *sys;
	struct export_file file;
	struct data_dir dir;
	struct catalog *catalog;
	struct store_local *local;
	struct loop *loop;
	struct store *store;
	struct catalog_stream stream;
	char *tags; /* JSON */
	struct catalog_hold holds[STORE_HOLDS_MAX];
	size_t hold_count;
	uint64_t there; /* fragments, before */
	uint64_t added;
	uint64_t old; /* the first expiry will drop them */
};

/* --- options ------------------------------------------------------------- */

static int take_option(struct options *o, const char *name, const char *value)
{
	if (strcmp(name, "--stream") == 0) {
		o->stream = value;
		return name_stream_valid(slice_of(value)) ? 0 : -EINVAL;
	}
	if (strcmp(name, "--retention") == 0) {
		o->has_retention = true;
		return parse_u64(value, strlen(value), RETENTION_HOURS_MAX,
				 &o->retention_hours);
	}
	if (strcmp(name, "--region") == 0) {
		o->region = value;
		return name_region_valid(slice_of(value)) ? 0 : -EINVAL;
	}
	if (strcmp(name, "--account") == 0) {
		o->account = value;
		return name_account_valid(slice_of(value)) ? 0 : -EINVAL;
	}
	if (strcmp(name, "--master-key") == 0)
		return tool_set_path(o->master_key, value);
	if (strcmp(name, "--kms-keys") == 0)
		return tool_set_path(o->kms_keys, value);
	return -EINVAL;
}

static int parse(struct options *o, int argc, char **argv)
{
	int r = 0;
	int i;

	*o = (struct options){.region = "us-west-2", .account = "000000000000"};
	for (i = 1; i < argc && r == 0; i++) {
		if (argv[i][0] == '-' && i + 1 < argc) {
			r = take_option(o, argv[i], argv[i + 1]);
			i++;
		} else if (argv[i][0] == '-' || o->file[0]) {
			r = -EINVAL;
		} else {
			r = tool_set_path(o->dir[0] ? o->file : o->dir,
					  argv[i]);
		}
	}
	return r == 0 && o->file[0] ? 0 : -EINVAL;
}

/* --- what the file says of the stream ------------------------------------ */

static int take_text(const json_t *info, const char *name,
		     bool (*valid)(struct slice), char *out, size_t size)
{
	const json_t *v = json_object_get(info, name);
	struct slice text = {json_string_value(v), json_string_length(v)};

	out[0] = '\0';
	if (!v || json_is_null(v))
		return 0;
	if (!text.ptr || !valid(text) || text.len >= size)
		return -EINVAL;
	memcpy(out, text.ptr, text.len);
	out[text.len] = '\0';
	return 0;
}

static int read_hold(const json_t *v, struct catalog_hold *h)
{
	const json_t *from = json_object_get(v, "from_ms");
	const json_t *to = json_object_get(v, "to_ms");

	if (take_text(v, "name", name_stream_valid, h->name, sizeof(h->name)) <
		    0 ||
	    !h->name[0] || !json_is_integer(from) || !json_is_integer(to) ||
	    json_integer_value(from) < 0 ||
	    json_integer_value(to) < json_integer_value(from))
		return -EBADMSG;
	h->range.from_ms = (uint64_t)json_integer_value(from);
	h->range.to_ms = (uint64_t)json_integer_value(to);
	return 0;
}

static int read_holds(struct run *k)
{
	const json_t *holds = json_object_get(k->file.stream, "Holds");
	const json_t *v;
	size_t i;

	if (holds && (!json_is_array(holds) ||
		      json_array_size(holds) > ARRAY_SIZE(k->holds)))
		return -EBADMSG;
	json_array_foreach(holds, i, v)
	{
		if (read_hold(v, &k->holds[i]) < 0)
			return -EBADMSG;
		k->hold_count++;
	}
	return 0;
}

static int read_stream(struct run *k)
{
	const json_t *info = json_object_get(k->file.stream, "StreamInfo");
	const json_t *tags = json_object_get(k->file.stream, "Tags");
	const json_t *hours = json_object_get(info, "DataRetentionInHours");
	struct catalog_stream *s = &k->stream;

	if (take_text(info, "StreamName", name_stream_valid, s->name,
		      sizeof(s->name)) < 0 ||
	    take_text(info, "DeviceName", name_device_valid, s->device_name,
		      sizeof(s->device_name)) < 0 ||
	    take_text(info, "MediaType", name_media_type_valid, s->media_type,
		      sizeof(s->media_type)) < 0 ||
	    take_text(info, "KmsKeyId", name_kms_key_valid, s->kms_key_id,
		      sizeof(s->kms_key_id)) < 0 ||
	    !json_is_integer(hours) || json_integer_value(hours) < 0 ||
	    json_integer_value(hours) > RETENTION_HOURS_MAX ||
	    !json_is_object(tags) ||
	    (json_object_size(tags) && control_check_tags(tags) < 0))
		return -EBADMSG;
	if (k->o->stream)
		(void)snprintf(s->name, sizeof(s->name), "%s", k->o->stream);
	s->retention_hours = (uint32_t)json_integer_value(hours);
	if (k->o->has_retention)
		s->retention_hours = (uint32_t)k->o->retention_hours;
	if (!s->name[0] || read_holds(k) < 0)
		return -EBADMSG;
	k->tags = json_dumps(tags, JSON_COMPACT);
	return k->tags ? 0 : -ENOMEM;
}

/* All of it, before anything is changed. */
static int check_file(struct run *k)
{
	struct export_fragment f;
	int r = export_file_open(&k->file, k->sys, k->o->file);

	while (r >= 0) {
		r = export_file_next(&k->file, &f);
		if (r <= 0)
			break;
	}
	if (r == 0 && read_stream(k) < 0) {
		(void)snprintf(k->file.error, sizeof(k->file.error),
			       "%.200s: stream.json does not describe a stream",
			       k->o->file);
		r = -EBADMSG;
	}
	if (r < 0)
		log_error("import", "%s", k->file.error);
	return r;
}

/* --- the directory ------------------------------------------------------- */

struct waiting {
	struct catalog_op catalog;
	struct store_op store;
	bool over;
	int res;
};

static void catalog_done(struct catalog_op *op, int res)
{
	struct waiting *w = container_of(op, struct waiting, catalog);

	w->over = true;
	w->res = res;
}

static void store_done(struct store_op *op, int res)
{
	struct waiting *w = container_of(op, struct waiting, store);

	w->over = true;
	w->res = res;
}

static int wait_for(struct run *k, struct waiting *w)
{
	while (!w->over) {
		int r = loop_turn(k->loop, UINT64_MAX);

		if (r < 0)
			abort(); /* an operation would outlive its owner */
	}
	return w->res;
}

static int open_all(struct run *k)
{
	struct options *o = (struct options *)(uintptr_t)k->o;
	struct catalog_sqlite_config catalog = {
		.dir = &k->dir, .region = o->region, .account = o->account};
	struct store_local_config local = {
		.sys = k->sys,
		.dir = &k->dir,
		.find_key = catalog_sqlite_find_key,
	};
	int r = tool_find_data(k->sys, o->dir, o->master_key);

	if (r == 0)
		r = data_dir_open(k->sys, o->dir, false, &k->dir);
	if (r < 0)
		return r;
	catalog.master_key = o->master_key[0] ? o->master_key : NULL;
	catalog.kms_keys = o->kms_keys[0] ? o->kms_keys : NULL;
	r = catalog_sqlite_open(&catalog, &k->catalog);
	local.find_key_ctx = k->catalog;
	if (r == 0)
		r = store_local_open(&local, &k->local);
	if (r == 0)
		r = loop_uring_new(k->sys, 32, &k->loop);
	if (r == 0)
		r = store_local_attach(k->local, k->loop, &k->store);
	if (r < 0)
		log_error("import", "%s: %s", o->dir, strerror(-r));
	return r;
}

static int close_all(struct run *k, int r)
{
	k->store = store_local_detach(k->store);
	k->local = store_local_close(k->local);
	k->catalog = catalog_sqlite_close(k->catalog);
	k->loop = loop_free(k->loop);
	if (k->dir.sys) {
		if (data_dir_give_to_owner(&k->dir) < 0) {
			log_error("import", "%s: some files stay root's",
				  k->dir.path);
			r = -EIO;
		}
		data_dir_close(&k->dir);
	}
	export_file_close(&k->file);
	free(k->tags);
	crypto_wipe(&k->stream, sizeof(k->stream));
	return r;
}

static int find_or_create(struct run *k)
{
	struct waiting w = {.catalog = {.done = catalog_done}};
	struct catalog_stream *wanted = &k->stream;
	int r;

	if (!wanted->kms_key_id[0])
		(void)snprintf(wanted->kms_key_id, sizeof(wanted->kms_key_id),
			       "arn:aws:kms:%s:%s:alias/aws/kinesisvideo",
			       k->o->region, k->o->account);
	catalog_create(k->catalog, k->loop, wanted, k->tags, &w.catalog);
	r = wait_for(k, &w);
	/* With its customer key, for what follows. */
	if (r == 0 || r == -EEXIST) {
		struct waiting again = {.catalog = {.done = catalog_done}};
		char name[CATALOG_NAME_BYTES];

		memcpy(name, wanted->name, sizeof(name));
		catalog_find(k->catalog, k->loop, name, NULL, wanted,
			     &again.catalog);
		r = wait_for(k, &again);
		if (r == 0)
			r = wanted->key_error;
	}
	if (r < 0)
		log_error("import", "stream %s: %s", wanted->name,
			  strerror(-r));
	return r;
}

/* Before the fragments: what is held is not to expire in between. */
static int set_holds(struct run *k)
{
	size_t i;
	int r = 0;

	for (i = 0; i < k->hold_count && r == 0; i++) {
		r = catalog_sqlite_hold(k->catalog, k->stream.name,
					&k->holds[i]);
		if (r < 0)
			log_error("import", "stream %s: hold %s: %s",
				  k->stream.name, k->holds[i].name,
				  r == -EEXIST ? "there with another range"
				  : r == -EDQUOT
					  ? "the stream has all it may have"
					  : strerror(-r));
	}
	return r == -EDQUOT ? -EEXIST : r;
}

/* --- the fragments ------------------------------------------------------- */

/* Return: 1 it is there, 0 it is not, -EEXIST another one has its place. */
static int is_there(struct run *k, const struct fragment_number *number)
{
	struct waiting w = {.store = {.done = store_done}};
	struct store_fragment after = {
		.number = {.seq = number->seq - 1,
			   .server_ms = UINT64_MAX,
			   .random = (1u << FRAGMENT_RANDOM_BITS) - 1}};
	struct store_query q = {
		.order = STORE_BY_NUMBER,
		.to_ms = INT64_MAX,
		.after = number->seq ? &after : NULL,
		.limit = 1,
	};
	struct store_fragment row;
	int r;

	memcpy(q.stream_id, k->stream.store.id, STREAM_ID_BYTES);
	store_list(k->store, &q, &row, &w.store);
	r = wait_for(k, &w);
	if (r <= 0 || row.number.seq != number->seq)
		return MIN(r, 0);
	return fragment_number_compare(&row.number, number) == 0 ? 1 : -EEXIST;
}

static int import_one(struct run *k, const struct export_fragment *f)
{
	const char *words = "another fragment has that place in the stream";
	int r = is_there(k, &f->number);

	if (r == 1) {
		k->there++;
		return 0;
	}
	if (r == 0 && f->number.seq > IMPORT_SEQ_MAX) {
		words = "no number could follow it";
		r = -EBADMSG;
	}
	if (r == 0)
		r = import_fragment(k->loop, k->store, &k->stream.store, f,
				    &words);
	else if (r != -EEXIST && r != -EBADMSG)
		words = strerror(-r);
	if (r < 0)
		log_error("import", "%s: byte %" PRIu64 ": fragment %s: %s",
			  k->o->file, f->at, f->digits, words);
	k->added += r == 0;
	return r;
}

/* By the service's clock; what only the producer's says is not known yet. */
static bool is_held(const struct run *k, uint64_t server_ms)
{
	size_t i;

	for (i = 0; i < k->hold_count; i++) {
		if (server_ms >= k->holds[i].range.from_ms &&
		    server_ms <= k->holds[i].range.to_ms)
			return true;
	}
	return false;
}

static int import_all(struct run *k)
{
	uint64_t now_ms = sys_now_ns(k->sys, CLOCK_REALTIME) / NS_PER_MS;
	uint64_t keep_ms = (uint64_t)k->stream.retention_hours * 3600 * 1000;
	struct export_fragment f;
	int r;

	export_file_rewind(&k->file);
	while ((r = export_file_next(&k->file, &f)) > 0) {
		k->old += f.number.server_ms + keep_ms < now_ms &&
			  !is_held(k, f.number.server_ms);
		r = import_one(k, &f);
		if (r < 0)
			return r;
	}
	if (r < 0)
		log_error("import", "%s", k->file.error);
	return r;
}

static void report(const struct run *k)
{
	(void)printf("stream %s: %" PRIu64 " fragments imported, %" PRIu64
		     " were there\n",
		     k->stream.name, k->added, k->there);
	if (k->hold_count)
		(void)printf("stream %s: %zu legal holds\n", k->stream.name,
			     k->hold_count);
	if (k->old)
		log_warn("import",
			 "%" PRIu64 " fragments are older than the stream's "
			 "%" PRIu32 " hours: they are dropped when the service "
			 "runs%s; see --retention",
			 k->old, k->stream.retention_hours,
			 k->hold_count ? ", save what is held" : "");
}

int import_main(int argc, char **argv, const struct sys_ops *sys)
{
	struct options *o = calloc(1, sizeof(*o));
	struct run *k = calloc(1, sizeof(*k));
	int status = EXIT_FAILED;
	int r = -ENOMEM;

	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		(void)fputs(usage, stdout);
		status = EXIT_DONE;
	} else if (o && k && parse(o, argc, argv) < 0) {
		(void)fputs(usage, stderr);
		status = EXIT_USAGE;
	} else if (o && k) {
		k->o = o;
		k->sys = sys;
		r = check_file(k);
		if (r == 0)
			r = open_all(k);
		if (r == 0)
			r = find_or_create(k);
		if (r == 0)
			r = set_holds(k);
		if (r == 0)
			r = import_all(k);
		if (r == 0)
			report(k);
		r = close_all(k, r);
		status = r == 0				 ? EXIT_DONE
			 : r == -EBADMSG || r == -EEXIST ? EXIT_REFUSED
							 : EXIT_FAILED;
	}
	free(k);
	free(o);
	return status;
}
