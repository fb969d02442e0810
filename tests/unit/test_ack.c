/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/ack.h"

/* The lines of Amazon's own log in the producer SDK's documentation. */
static const char wire[] =
	"{\"EventType\":\"BUFFERING\",\"FragmentTimecode\":252467,"
	"\"FragmentNumber\":"
	"\"91343852333181432392682062607743920146159169392\"}\n"
	"{\"EventType\":\"RECEIVED\",\"FragmentTimecode\":252467,"
	"\"FragmentNumber\":"
	"\"91343852333181432392682062607743920146159169392\"}\n"
	"{\"EventType\":\"PERSISTED\",\"FragmentTimecode\":252467,"
	"\"FragmentNumber\":"
	"\"91343852333181432392682062607743920146159169392\"}\n"
	"{\"EventType\":\"ERROR\",\"FragmentTimecode\":252467,"
	"\"FragmentNumber\":"
	"\"91343852333181432392682062607743920146159169392\","
	"\"ErrorId\":4006,\"ErrorCode\":\"INVALID_MKV_DATA\"}\n"
	"{\"EventType\":\"IDLE\"}\n";

static const enum ack_event wire_events[] = { ACK_BUFFERING, ACK_RECEIVED,
					      ACK_PERSISTED, ACK_ERROR,
					      ACK_IDLE };

static void ack_format_writes_the_lines_of_the_service(void **state)
{
	struct ack ack = {
		.has_timecode = true,
		.timecode_ms = 252467,
		.fragment_number =
			"91343852333181432392682062607743920146159169392",
	};
	struct buf b;
	size_t i;

	(void)state;
	buf_init(&b, 4096);
	for (i = 0; i < 4; i++) {
		ack.event = wire_events[i];
		ack.error_id = ack.event == ACK_ERROR ? 4006 : 0;
		assert_int_equal(ack_format(&b, &ack), 0);
	}
	ack = (struct ack){ .event = ACK_IDLE };
	assert_int_equal(ack_format(&b, &ack), 0);
	assert_int_equal(buf_len(&b), sizeof(wire) - 1);
	assert_memory_equal(buf_head(&b), wire, sizeof(wire) - 1);
	buf_fini(&b);
}

static void ack_format_refuses_what_clients_cannot_read(void **state)
{
	struct ack ack = { .event = ACK_UNKNOWN };
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	assert_int_equal(ack_format(&b, &ack), -EINVAL);
	ack.event = ACK_ERROR;
	assert_int_equal(ack_format(&b, &ack), -EINVAL);
	ack.error_id = 4999;
	assert_int_equal(ack_format(&b, &ack), -EINVAL);
	ack = (struct ack){ .event = ACK_RECEIVED, .fragment_number = "1\"" };
	assert_int_equal(ack_format(&b, &ack), -EINVAL);
	assert_int_equal(buf_len(&b), 0);
	buf_fini(&b);
	buf_init(&b, 20);
	ack = (struct ack){ .event = ACK_IDLE };
	assert_int_equal(ack_format(&b, &ack), -ENOBUFS);
	buf_fini(&b);
}

static void ack_parser_reads_the_wire_however_it_is_cut(void **state)
{
	size_t len = sizeof(wire) - 1;
	size_t step;

	(void)state;
	for (step = 1; step <= len; step++) {
		struct ack_parser p;
		size_t count = 0;
		size_t at = 0;

		ack_parser_init(&p);
		while (at < len) {
			struct ack ack;
			size_t used;
			int r;

			r = ack_parser_feed(&p, wire + at, MIN(step, len - at),
					    &used, &ack);
			assert_true(r >= 0);
			at += used;
			if (!r)
				continue;
			assert_true(count < ARRAY_SIZE(wire_events));
			assert_int_equal(ack.event, wire_events[count]);
			if (ack.event == ACK_IDLE) {
				assert_false(ack.has_timecode);
			} else {
				assert_int_equal(ack.timecode_ms, 252467);
				assert_int_equal(strlen(ack.fragment_number),
						 47);
			}
			if (ack.event == ACK_ERROR) {
				assert_int_equal(ack.error_id, 4006);
				assert_string_equal(ack.error_code,
						    "INVALID_MKV_DATA");
			}
			count++;
		}
		assert_int_equal(count, ARRAY_SIZE(wire_events));
	}
}

static int parse_one(const char *text, struct ack *ret_ack)
{
	struct ack_parser p;
	size_t used;
	int r;

	ack_parser_init(&p);
	r = ack_parser_feed(&p, text, strlen(text), &used, ret_ack);
	if (r < 0) {
		/* A lost stream stays lost. */
		assert_true(ack_parser_feed(&p, "{\"EventType\":\"IDLE\"}", 20,
					    &used, ret_ack) < 0);
	}
	return r;
}

static void ack_parser_tolerates_order_space_and_strangers(void **state)
{
	struct ack ack;

	(void)state;
	assert_int_equal(
		parse_one(" \r\n\t{ \"FragmentNumber\" : 123 , \"New\":[1,{"
			  "\"a\":\"]}\\\"\"},null],\"FragmentTimecode\":5,"
			  "\"Flag\":true,\"X\":-1.5e+3,\"O\":{},"
			  "\"EventType\" : \"PERSISTED\" }",
			  &ack),
		1);
	assert_int_equal(ack.event, ACK_PERSISTED);
	assert_int_equal(ack.timecode_ms, 5);
	assert_string_equal(ack.fragment_number, "123");

	assert_int_equal(parse_one("{\"EventType\":\"GO_AWAY\"}", &ack), 1);
	assert_int_equal(ack.event, ACK_UNKNOWN);
	assert_int_equal(parse_one("{\"EventType\":\"ERROR\",\"ErrorId\":4999}",
				   &ack),
			 1);
	assert_int_equal(ack.error_id, 4999);
	assert_string_equal(ack.error_code, "");
}

static void ack_parser_refuses_what_is_not_an_ack(void **state)
{
	static const char *const cases[] = {
		"x",
		"[]",
		"{}",
		"{]",
		"{\"EventType\":\"IDLE\"]",
		"{\"EventType\":IDLE}",
		"{\"EventType\":1}",
		"{\"EventType\" \"IDLE\"}",
		"{\"EventType\":\"IDLE\",}",
		"{,\"EventType\":\"IDLE\"}",
		"{\"EventType\":\"IDLE\" \"a\":1}",
		"{\"EventType\":\"IDLE\",\"EventType\":\"IDLE\"}",
		"{\"EventType\":\"ERROR\"}",
		"{\"EventType\":\"PERSISTED\"}",
		"{\"EventType\":\"ERROR\",\"ErrorId\":\"4000\"}",
		"{\"EventType\":\"ERROR\",\"ErrorId\":4294967296}",
		"{\"EventType\":\"ERROR\",\"ErrorId\":-1}",
		"{\"EventType\":\"IDLE\",\"FragmentTimecode\":1.5}",
		("{\"EventType\":\"IDLE\",\"FragmentTimecode\":"
		 "18446744073709551616}"),
		"{\"EventType\":\"IDLE\",\"FragmentNumber\":\"12a\"}",
		"{\"EventType\":\"IDLE\",\"FragmentNumber\":\"1\\u0031\"}",
		"{\"EventType\":\"IDLE\",\"FragmentNumber\":-1}",
		"{\"EventType\":\"IDLE\",\"a\":}",
		"{\"EventType\":\"IDLE\",\"a\"}",
		"{\"EventType\":\"IDLE\",\"a\":@}",
		"{\"EventType\":\"IDLE\",\"a\":\"\n\"}",
		"{\"a\":[[[[[[[[[[1]]]]]]]]]],\"EventType\":\"IDLE\"}",
	};
	struct ack ack;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		if (parse_one(cases[i], &ack) != -EBADMSG)
			fail_msg("accepted: %s", cases[i]);
	}
}

static void ack_parser_bounds_its_memory(void **state)
{
	char text[ACK_BYTES_MAX + 2] = "{\"EventType\":\"IDLE\",\"a\":\"";
	size_t at = strlen(text);
	struct ack ack;

	(void)state;
	memset(text + at, 'a', sizeof(text) - 1 - at);
	memcpy(text + ACK_BYTES_MAX - 2, "\"}", 3);
	assert_int_equal(parse_one(text, &ack), 1);
	memcpy(text + ACK_BYTES_MAX - 2, "a\"}", 4);
	assert_int_equal(parse_one(text, &ack), -EMSGSIZE);

	/* The longest number fits, one digit more does not. */
	(void)strcpy(text, "{\"EventType\":\"IDLE\",\"FragmentNumber\":\"");
	at = strlen(text);
	memset(text + at, '1', ACK_FRAGMENT_NUMBER_CHARS_MAX);
	(void)strcpy(text + at + ACK_FRAGMENT_NUMBER_CHARS_MAX, "\"}");
	assert_int_equal(parse_one(text, &ack), 1);
	assert_int_equal(strlen(ack.fragment_number),
			 ACK_FRAGMENT_NUMBER_CHARS_MAX);
	(void)strcpy(text + at + ACK_FRAGMENT_NUMBER_CHARS_MAX, "1\"}");
	assert_int_equal(parse_one(text, &ack), -EBADMSG);
}

static void ack_error_name_knows_the_table(void **state)
{
	(void)state;
	assert_string_equal(ack_error_name(4000), "STREAM_READ_ERROR");
	assert_string_equal(ack_error_name(4012),
			    "MORE_THAN_ALLOWED_TRACKS_FOUND");
	assert_string_equal(ack_error_name(4506), "KMS_KEY_NOT_FOUND");
	assert_string_equal(ack_error_name(5001), "ARCHIVAL_ERROR");
	assert_null(ack_error_name(0));
	assert_null(ack_error_name(4013));
	assert_string_equal(ack_event_name(ACK_IDLE), "IDLE");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ack_format_writes_the_lines_of_the_service),
		cmocka_unit_test(ack_format_refuses_what_clients_cannot_read),
		cmocka_unit_test(ack_parser_reads_the_wire_however_it_is_cut),
		cmocka_unit_test(
			ack_parser_tolerates_order_space_and_strangers),
		cmocka_unit_test(ack_parser_refuses_what_is_not_an_ack),
		cmocka_unit_test(ack_parser_bounds_its_memory),
		cmocka_unit_test(ack_error_name_knows_the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
