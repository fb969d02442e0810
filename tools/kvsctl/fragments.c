/* SPDX-License-Identifier: Apache-2.0 */
#include "kvsctl/fragments.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/sys.h"
#include "kvsctl/output.h"
#include "kvsctl/service.h"
#include "kvsctl/text.h"
#include "proto/epoch.h"

#define NS_PER_MS 1000000u

static int parse_end(const char *option, const char *text, bool *ret_has,
		     uint64_t *ret_ms)
{
	uint64_t now_ms = sys_now_ns(sys_posix(), CLOCK_REALTIME) / NS_PER_MS;

	*ret_has = text != NULL;
	if (!text || text_time(text, now_ms, ret_ms) == 0)
		return CTL_OK;
	return ctl_fail(CTL_USAGE,
			"%s '%s' is not a time; see: kvsctl help times",
			option, text);
}

int range_parse(const char *from, const char *to, const char *by,
		struct range *ret_range)
{
	struct range r = { .server_time = by && strcmp(by, "server") == 0 };
	int code;

	if (by && !r.server_time && strcmp(by, "producer") != 0)
		return ctl_fail(CTL_USAGE,
				"--by is 'producer' or 'server', not '%s'",
				by);
	code = parse_end("--from", from, &r.has_from, &r.from_ms);
	if (code == CTL_OK)
		code = parse_end("--to", to, &r.has_to, &r.to_ms);
	if (code == CTL_OK && r.has_from && r.has_to && r.from_ms > r.to_ms)
		code = ctl_fail(CTL_USAGE, "--from is later than --to");
	if (code == CTL_OK)
		*ret_range = r;
	return code;
}

const char *range_member(const struct range *range)
{
	return range->server_time ? "ServerTimestamp" : "ProducerTimestamp";
}

static json_t *seconds(uint64_t ms)
{
	return json_real((double)ms / 1000);
}

json_t *range_selector(const struct range *range)
{
	uint64_t from_ms = range->has_from ? range->from_ms : 0;
	uint64_t to_ms = range->has_to ? range->to_ms : EPOCH_S_MAX * 1000;

	return json_pack("{s:s, s:{s:o, s:o}}", "FragmentSelectorType",
			 range->server_time ? "SERVER_TIMESTAMP" :
					      "PRODUCER_TIMESTAMP",
			 "TimestampRange", "StartTimestamp", seconds(from_ms),
			 "EndTimestamp", seconds(to_ms));
}

int fragments_page(struct ctl *ctl, const char *url, const char *stream,
		   const struct range *range, json_t *all, json_t **token)
{
	json_t *reply = NULL;
	json_t *rq;
	int code;

	if (*token)
		rq = json_pack("{s:s, s:i, s:o}", "StreamName", stream,
			       "MaxResults", (int)CTL_PAGE_FRAGMENTS,
			       "NextToken", *token);
	else
		rq = json_pack("{s:s, s:i, s:o}", "StreamName", stream,
			       "MaxResults", (int)CTL_PAGE_FRAGMENTS,
			       "FragmentSelector", range_selector(range));
	*token = NULL;
	code = service_call(ctl, url, "/listFragments", stream, rq, &reply);
	if (code != CTL_OK)
		return code;
	if (json_array_extend(all, json_object_get(reply, "Fragments")) < 0)
		code = ctl_fail(CTL_NETWORK,
				"the service's answer has no Fragments");
	*token = json_incref(json_object_get(reply, "NextToken"));
	json_decref(reply);
	return code;
}

static const char *number_of(const json_t *fragment)
{
	const char *n = json_string_value(
		json_object_get(fragment, "FragmentNumber"));

	return n ? n : "-";
}

static int compare(const void *a, const void *b, void *arg)
{
	const json_t *x = *(json_t *const *)a;
	const json_t *y = *(json_t *const *)b;
	const char *member = arg;
	uint64_t s = output_ms(json_object_get(x, member));
	uint64_t t = output_ms(json_object_get(y, member));

	if (s != t)
		return s < t ? -1 : 1;
	return strcmp(number_of(x), number_of(y));
}

/* The service's order is not specified. *@all: replaced. */
static int sort(json_t **all, const struct range *range)
{
	size_t count = json_array_size(*all);
	json_t **items = reallocarray(NULL, count + 1, sizeof(json_t *));
	json_t *sorted = json_array();
	char member[sizeof("ProducerTimestamp")];
	size_t i;

	if (!items || !sorted) {
		free(items);
		json_decref(sorted);
		return ctl_fail(CTL_LOCAL, "out of memory");
	}
	for (i = 0; i < count; i++)
		items[i] = json_array_get(*all, i);
	memcpy(member, range_member(range), strlen(range_member(range)) + 1);
	qsort_r(items, count, sizeof(json_t *), compare, member);
	for (i = 0; i < count; i++)
		(void)json_array_append(sorted, items[i]);
	free(items);
	json_decref(*all);
	*all = sorted;
	return CTL_OK;
}

int fragments_list(struct ctl *ctl, const char *stream,
		   const struct range *range, json_t **ret_fragments)
{
	char url[SERVICE_URL_CHARS_MAX];
	unsigned int pages = 0;
	json_t *token = NULL;
	json_t *all;
	int code;

	code = service_endpoint(ctl, stream, "LIST_FRAGMENTS", url);
	if (code != CTL_OK)
		return code;
	all = json_array();
	do {
		code = fragments_page(ctl, url, stream, range, all, &token);
	} while (code == CTL_OK && token && ++pages < CTL_PAGES_MAX);
	json_decref(token);
	if (code == CTL_OK)
		code = sort(&all, range);
	if (code == CTL_OK)
		*ret_fragments = all;
	else
		json_decref(all);
	return code;
}

static int print_fragments(json_t *all)
{
	char text[OUTPUT_TIME_CHARS];
	struct table t;
	json_t *f;
	size_t i;
	int code;

	table_init(&t, 5);
	table_add(&t, "FRAGMENT NUMBER");
	table_add(&t, "PRODUCER TIME");
	table_add(&t, "SERVER TIME");
	table_add(&t, "LENGTH");
	table_add(&t, "SIZE");
	json_array_foreach(all, i, f) {
		table_add(&t, number_of(f));
		output_time(json_object_get(f, "ProducerTimestamp"), text);
		table_add(&t, text);
		output_time(json_object_get(f, "ServerTimestamp"), text);
		table_add(&t, text);
		text_span((uint64_t)json_integer_value(json_object_get(
				  f, "FragmentLengthInMilliseconds")),
			  text);
		table_add(&t, text);
		text_size((uint64_t)json_integer_value(json_object_get(
				  f, "FragmentSizeInBytes")),
			  text);
		table_add(&t, text);
	}
	code = table_print(&t);
	table_fini(&t);
	return code;
}

int fragments_command(struct ctl *ctl, int argc, char **argv)
{
	const char *from = NULL;
	const char *to = NULL;
	const char *by = NULL;
	const struct arg_option options[] = {
		{ "from", 0, NULL, &from, NULL },
		{ "to", 0, NULL, &to, NULL },
		{ "by", 0, NULL, &by, NULL },
		{ NULL, 0, NULL, NULL, NULL },
	};
	json_t *all = NULL;
	struct range range = { 0 };
	const char *stream;
	bool over;
	int code;

	code = ctl_stream_args(ctl, argc, argv, options, "STREAM", &stream,
			       &over);
	if (code != CTL_OK || over)
		return code;
	code = range_parse(from, to, by, &range);
	if (code == CTL_OK)
		code = fragments_list(ctl, stream, &range, &all);
	if (code != CTL_OK)
		return code;
	if (ctl->json) {
		all = json_pack("{s:o}", "Fragments", all);
		code = output_json(all);
	} else {
		code = print_fragments(all);
	}
	json_decref(all);
	return code;
}
