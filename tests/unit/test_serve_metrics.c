/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "core/limits.h"
#include "serve/metrics.h"

#define TEXT_BYTES (1u << 20)

static struct metrics a;
static struct metrics b;
static char text[TEXT_BYTES];

static void render(const struct metrics *m)
{
	struct buf out;

	buf_init(&out, sizeof(text) - 1);
	metrics_render(&out, m);
	assert_false(out.failed);
	memcpy(text, buf_head(&out), buf_len(&out));
	text[buf_len(&out)] = '\0';
	buf_fini(&out);
}

/* The one line that begins with "@name ". */
static const char *value_of(const char *name)
{
	static char value[64];
	const char *found = NULL;
	const char *p;
	size_t len = strlen(name);

	for (p = text; *p; p = strchr(p, '\n') + 1) {
		if (strncmp(p, name, len) != 0 || p[len] != ' ')
			continue;
		if (found)
			fail_msg("%s is there twice", name);
		found = p + len + 1;
	}
	if (!found) {
		fail_msg("%s is not there", name);
		return "";
	}
	(void)snprintf(value, sizeof(value), "%.*s", (int)strcspn(found, "\n"),
		       found);
	return value;
}

static void codecs_are_counted_by_verdict(void **state)
{
	(void)state;
	memset(&a, 0, sizeof(a));
	a.codec_tracks[CODEC_PLAYABLE] = 7;
	a.codec_tracks[CODEC_PRIVATE_ANNEXB] = 2;
	a.codec_changes = 3;
	a.uploads_no_clip = 1;
	render(&a);
	assert_string_equal(value_of("kvsd_tracks_playable_total"), "7");
	assert_string_equal(value_of("kvsd_tracks_private_annexb_total"), "2");
	assert_string_equal(value_of("kvsd_tracks_private_missing_total"), "0");
	assert_string_equal(value_of("kvsd_upload_codec_changes_total"), "3");
	assert_string_equal(value_of("kvsd_uploads_without_clip"), "1");
	memset(&a, 0, sizeof(a));
}

static void sums_have_every_member(void **state)
{
	uint64_t *words = (uint64_t *)(void *)&a;
	size_t count = sizeof(a) / sizeof(*words);
	size_t i;

	(void)state;
	for (i = 0; i < count; i++)
		words[i] = i;
	b = a;
	metrics_add(&a, &b);
	for (i = 0; i < count; i++)
		assert_true(words[i] == 2 * i);
}

static void names_are_cloudwatchs(void **state)
{
	(void)state;
	memset(&a, 0, sizeof(a));
	a.calls[API_PUT_MEDIA].requests = 3;
	a.calls[API_PUT_MEDIA].errors = 1;
	a.in_bytes = UINT64_MAX;
	a.uploads = 2;
	a.stored = 8;
	a.stored_tried = 9;
	a.calls[API_GET_CLIP].success = 4;
	a.calls[API_GET_CLIP].requests = 5;
	a.metadata_points = 100;
	render(&a);
	assert_string_equal(value_of("kvs_PutMedia_Requests_total"), "3");
	assert_string_equal(value_of("kvs_PutMedia_ConnectionErrors_total"),
			    "1");
	assert_string_equal(value_of("kvs_PutMedia_IncomingBytes_total"),
			    "18446744073709551615");
	assert_string_equal(value_of("kvs_PutMedia_ActiveConnections"), "2");
	assert_string_equal(value_of("kvs_PutMedia_Success_sum"), "8");
	assert_string_equal(value_of("kvs_PutMedia_Success_count"), "9");
	assert_string_equal(value_of("kvs_GetClip_Success_sum"), "4");
	assert_string_equal(value_of("kvs_GetClip_Success_count"), "5");
	assert_string_equal(
		value_of("kvs_ArchivedFragmentsConsumed_Metadata_total"),
		"100");
	assert_non_null(strstr(text, "# HELP kvs_PutMedia_IncomingBytes_total "
				     "PutMedia.IncomingBytes, Bytes\n"
				     "# TYPE kvs_PutMedia_IncomingBytes_total "
				     "counter\n"));
}

static void a_bucket_has_what_is_at_most_its_bound(void **state)
{
	/* 2^10 - 1 us is the bound 1.023 ms. */
	static const uint64_t ns[] = {0,       999,	    1023999,
				      1024000, 2047 * 1000, 40 * NS_PER_S};
	size_t i;

	(void)state;
	memset(&a, 0, sizeof(a));
	for (i = 0; i < ARRAY_SIZE(ns); i++)
		metric_time_add(&a.persist, ns[i]);
	render(&a);
#define PERSIST "kvs_PutMedia_FragmentPersistLatency"
	assert_string_equal(value_of(PERSIST "_bucket{le=\"0.127\"}"), "2");
	assert_string_equal(value_of(PERSIST "_bucket{le=\"0.511\"}"), "2");
	assert_string_equal(value_of(PERSIST "_bucket{le=\"1.023\"}"), "3");
	assert_string_equal(value_of(PERSIST "_bucket{le=\"2.047\"}"), "5");
	assert_string_equal(value_of(PERSIST "_bucket{le=\"33554.431\"}"), "5");
	assert_string_equal(value_of(PERSIST "_bucket{le=\"+Inf\"}"), "6");
	assert_string_equal(value_of(PERSIST "_count"), "6");
	assert_string_equal(value_of(PERSIST "_sum"), "40004.094");
}

static void histograms_are_exact_at_powers_of_two(void **state)
{
	static struct histogram h;
	uint64_t v;

	(void)state;
	for (v = 0; v < 100000; v++)
		histogram_add(&h, v);
	assert_true(histogram_at_most(&h, 0) == 1);
	assert_true(histogram_at_most(&h, 15) == 16);
	assert_true(histogram_at_most(&h, 127) == 128);
	assert_true(histogram_at_most(&h, 65535) == 65536);
	assert_true(histogram_at_most(&h, 131071) == 100000);
	/* What is too large for any bucket is over every bound. */
	histogram_add(&h, UINT64_MAX);
	assert_true(histogram_at_most(&h, (1ull << 42) - 1) == 100000);
}

static void a_full_buffer_says_so(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 1000);
	metrics_render(&out, &a);
	assert_true(out.failed);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_have_every_member),
		cmocka_unit_test(codecs_are_counted_by_verdict),
		cmocka_unit_test(names_are_cloudwatchs),
		cmocka_unit_test(a_bucket_has_what_is_at_most_its_bound),
		cmocka_unit_test(histograms_are_exact_at_powers_of_two),
		cmocka_unit_test(a_full_buffer_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
