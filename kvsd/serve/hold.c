/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/hold.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "io/catalog_sqlite.h"
#include "io/data_dir.h"
#include "io/store_local.h"
#include "proto/epoch.h"
#include "serve/hold_socket.h"
#include "serve/tool_dir.h"

static const char usage[] =
	"usage: kvsd hold add DIR STREAM NAME [--from TIME] [--to TIME]\n"
	"       kvsd hold list DIR STREAM [--json]\n"
	"       kvsd hold remove DIR STREAM NAME\n"
	"\n"
	"Legal holds of a stream: fragments any moment of which is in a held "
	"range,\n"
	"by the producer's or by the service's clock, are not dropped by "
	"retention,\n"
	"by a bound or for room, and can be read at any age. A stream with a "
	"hold\n"
	"cannot be deleted. DIR is a data_dir, or what --quickstart was given;"
	" its\n"
	"service may be running.\n"
	"\n"
	"  --from TIME         2026-11-23T08:00:00Z, or seconds since 1970;\n"
	"                      default: the beginning\n"
	"  --to TIME           default: no end\n"
	"  --json              {\"holds\": [...]}, as `kvsctl export --holds` "
	"takes it\n"
	"  --master-key FILE   when it is not running; default: "
	"DIR/master.key\n"
	"\n"
	"Exit status: 0 done, 1 not, 2 usage.\n";

struct options {
	const char *what;
	const char *stream;
	const char *name;
	uint64_t from_ms;
	uint64_t to_ms;
	bool json;
	char dir[TOOL_PATH_CHARS];
	char master_key[TOOL_PATH_CHARS];
};

/* --- in the service, or in its place --- */

static const char *words(int error)
{
	switch (error) {
	case -ENOENT:
		return "there is no such stream";
	case -ENODATA:
		return "the stream has no hold of that name";
	case -EEXIST:
		return "the stream has a hold of that name with another range";
	case -EDQUOT:
		return "the stream has as many holds as it may have";
	case -EINVAL:
		return "the name or the range is not valid";
	default:
		return strerror(-error);
	}
}

static json_t *refusal(const char *why)
{
	return json_pack("{s:s}", "error", why);
}

static json_t *list(struct catalog *c, const char *stream)
{
	struct catalog_hold holds[STORE_HOLDS_MAX];
	json_t *rows = json_array();
	int n = catalog_sqlite_holds(c, stream, holds);
	int i;

	for (i = 0; i < n; i++)
		(void)json_array_append_new(
			rows,
			json_pack("{s:s, s:I, s:I, s:I}", "name", holds[i].name,
				  "from_ms", (json_int_t)holds[i].range.from_ms,
				  "to_ms", (json_int_t)holds[i].range.to_ms,
				  "created_ms",
				  (json_int_t)holds[i].created_ms));
	if (n >= 0)
		return json_pack("{s:o}", "holds", rows);
	json_decref(rows);
	return refusal(words(n));
}

json_t *hold_apply(struct catalog *catalog, struct store_local *store,
		   const json_t *request)
{
	struct catalog_hold hold = {.range.from_ms = 0};
	const char *what = NULL;
	const char *stream = NULL;
	const char *name = "";
	json_int_t from = 0;
	json_int_t to = 0;
	int r = 0;

	if (json_unpack((json_t *)(uintptr_t)request,
			"{s:s, s:s, s?s, s?I, s?I}", "do", &what, "stream",
			&stream, "name", &name, "from_ms", &from, "to_ms",
			&to) < 0 ||
	    from < 0 || to < 0)
		return refusal("the request is not valid");
	if (strlen(name) >= sizeof(hold.name))
		return refusal(words(-EINVAL));
	memcpy(hold.name, name, strlen(name));
	hold.range.from_ms = (uint64_t)from;
	hold.range.to_ms = (uint64_t)to;
	if (strcmp(what, "add") == 0)
		r = catalog_sqlite_hold(catalog, stream, &hold);
	else if (strcmp(what, "remove") == 0)
		r = catalog_sqlite_release(catalog, stream, name);
	else if (strcmp(what, "list") != 0)
		return refusal("the request is not valid");
	if (r < 0)
		return refusal(words(r));
	if (strcmp(what, "list") != 0)
		log_info("serve", "stream %s: legal hold %s %s", stream, name,
			 strcmp(what, "add") == 0 ? "added" : "removed");
	if (store)
		store_local_settle(store);
	return list(catalog, stream);
}

/* --- options --- */

static int parse_time(const char *text, uint64_t *ret_ms)
{
	if (epoch_iso_parse(slice_of(text), ret_ms) == 0)
		return 0;
	return epoch_ms_parse(slice_of(text), ret_ms);
}

static int parse_positional(struct options *o, int index, const char *value)
{
	switch (index) {
	case 0:
		o->what = value;
		return 0;
	case 1:
		return tool_set_path(o->dir, value);
	case 2:
		o->stream = value;
		return 0;
	case 3:
		o->name = value;
		return 0;
	default:
		return -EINVAL;
	}
}

static int parse(struct options *o, int argc, char **argv)
{
	bool wants_name;
	int count = 0;
	int i;
	int r = 0;

	*o = (struct options){.to_ms = INT64_MAX};
	for (i = 1; i < argc && r == 0; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (strcmp(argv[i], "--from") == 0)
			r = parse_time(value, &o->from_ms);
		else if (strcmp(argv[i], "--to") == 0)
			r = parse_time(value, &o->to_ms);
		else if (strcmp(argv[i], "--master-key") == 0)
			r = tool_set_path(o->master_key, value);
		else if (strcmp(argv[i], "--json") == 0)
			o->json = true;
		else if (argv[i][0] == '-')
			r = -EINVAL;
		else
			r = parse_positional(o, count++, argv[i]);
		if (argv[i][0] == '-' && strcmp(argv[i], "--json") != 0)
			i++;
	}
	if (r < 0 || count < 3)
		return -EINVAL;
	wants_name = strcmp(o->what, "list") != 0;
	if (wants_name && strcmp(o->what, "add") != 0 &&
	    strcmp(o->what, "remove") != 0)
		return -EINVAL;
	if (wants_name && o->json)
		return -EINVAL;
	return count == (wants_name ? 4 : 3) ? 0 : -EINVAL;
}

/* --- the tool --- */

/* Nobody runs: in its place. Return: 0; -errno: it was logged. */
static int ask_directory(const struct options *o, const struct sys_ops *sys,
			 const json_t *request, json_t **ret_reply)
{
	struct data_dir dir;
	const struct catalog_sqlite_config config = {
		.dir = &dir,
		.master_key = o->master_key[0] ? o->master_key : NULL,
		.region = "us-west-2", /* of streams made: none are */
		.account = "000000000000",
		.no_thread = true,
	};
	struct catalog *catalog = NULL;
	int r = data_dir_open(sys, o->dir, false, &dir);

	if (r < 0)
		return r;
	r = catalog_sqlite_open(&config, &catalog);
	if (r < 0)
		log_error("hold", "catalog in %s: %s", o->dir, strerror(-r));
	else
		*ret_reply = hold_apply(catalog, NULL, request);
	(void)catalog_sqlite_close(catalog);
	if (data_dir_give_to_owner(&dir) < 0)
		log_warn("hold", "%s: some files stay root's", o->dir);
	data_dir_close(&dir);
	return r;
}

static void print_time(const char *what, json_int_t ms, const char *none)
{
	char text[EPOCH_ISO_CHARS_MAX + 1];

	if (ms <= 0 || (uint64_t)ms / 1000 > EPOCH_S_MAX) {
		(void)printf("%s%s", what, none);
		return;
	}
	epoch_iso_format((uint64_t)ms, text);
	(void)printf("%s%s", what, text);
}

void hold_print_range(const struct store_hold *range)
{
	print_time(" from ", (json_int_t)range->from_ms, "the beginning");
	print_time(" to ", (json_int_t)range->to_ms, "no end");
}

static int print_reply(const json_t *reply, bool json)
{
	const char *error = json_string_value(json_object_get(reply, "error"));
	const json_t *rows = json_object_get(reply, "holds");
	const json_t *row;
	size_t i;

	if (error || !json_is_array(rows)) {
		log_error("hold", "%s", error ? error : "no answer");
		return 1;
	}
	if (json)
		return json_dumpf(reply, stdout, JSON_INDENT(2)) < 0 ||
		       fputc('\n', stdout) == EOF;
	json_array_foreach(rows, i, row)
	{
		const struct store_hold range = {
			.from_ms = (uint64_t)json_integer_value(
				json_object_get(row, "from_ms")),
			.to_ms = (uint64_t)json_integer_value(
				json_object_get(row, "to_ms")),
		};

		(void)printf("%s",
			     json_string_value(json_object_get(row, "name")));
		hold_print_range(&range);
		print_time(
			" since ",
			json_integer_value(json_object_get(row, "created_ms")),
			"?");
		(void)printf("\n");
	}
	return 0;
}

int hold_main(int argc, char **argv, const struct sys_ops *sys)
{
	struct options o;
	json_t *request;
	json_t *reply = NULL;
	int status = 1;
	int r;

	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		(void)fputs(usage, stdout);
		return 0;
	}
	if (parse(&o, argc, argv) < 0) {
		(void)fputs(usage, stderr);
		return 2;
	}
	request = json_pack("{s:s, s:s, s:s, s:I, s:I}", "do", o.what, "stream",
			    o.stream, "name", o.name ? o.name : "", "from_ms",
			    (json_int_t)o.from_ms, "to_ms",
			    (json_int_t)o.to_ms);
	r = request ? tool_find_data(sys, o.dir, o.master_key) : -EINVAL;
	if (r == 0)
		r = hold_socket_ask(sys, o.dir, request, &reply);
	/* No socket, or one that a killed service left. */
	if (r == -ENOENT || r == -ECONNREFUSED)
		r = ask_directory(&o, sys, request, &reply);
	else if (r < 0)
		log_error("hold", "asking the service of %s: %s", o.dir,
			  strerror(-r));
	if (r == 0)
		status = print_reply(reply, o.json);
	json_decref(request);
	json_decref(reply);
	return status;
}
