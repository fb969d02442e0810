/* SPDX-License-Identifier: Apache-2.0 */
/* agent/config.c, agent/credentials.c, core/clock_map.c, core/histogram.c */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include <capture/api.h>

#include "agent/config.h"
#include "agent/credentials.h"
#include "core/clock_map.h"
#include "core/histogram.h"
#include "core/limits.h"

static char path[] = "/tmp/kvsd-config-XXXXXX";

static int setup(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	if (fd < 0)
		return -1;
	(void)close(fd);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "/tmp/kvsd-config-XXXXXX");
	return 0;
}

static void write_file(const char *text)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	assert_int_equal(fclose(f), 0);
}

/* Reads @text as the file; the words that follow "FILE" go to @ret_words. */
static int read_config(const char *text, struct agent_config *c,
		       char ret_words[AGENT_ERROR_CHARS])
{
	char error[AGENT_ERROR_CHARS] = "";
	int r;

	write_file(text);
	r = agent_config_read(sys_posix(), path, c, error);
	ret_words[0] = '\0';
	if (r < 0) {
		assert_memory_equal(error, path, strlen(path));
		memmove(ret_words, error + strlen(path),
			strlen(error) - strlen(path) + 1);
	}
	return r;
}

static void agent_config_takes_every_key(void **state)
{
	static const char text[] =
		"# a comment\n"
		"[service]\n"
		"endpoint = https://localhost:8443 ; and one more\n"
		"region = eu-central-1\n"
		"ca_bundle = /a/ca.pem\n"
		"credentials = /a/keys\n"
		"profile = camera\n"
		"[stream]\n"
		"name = door-1\n"
		"create = no\n"
		"retention = 48h\n"
		"fragment = 1500ms\n"
		"store = 8M\n"
		"[camera]\n"
		"match = HD Webcam\n"
		"format = YUYV\n"
		"size = 640x480\n"
		"rate = 30000/1001\n"
		"  timeout = 3s\n" /* indented: no continuation */
		"[encoder]\n"
		"kind = m2m\n"
		"device = /dev/video11\n"
		"bitrate = 2500k\n"
		"gop = 50\n"
		"timeout = 1s\n"
		"[agent]\n"
		"stop_timeout = 0s\n"
		"debug = yes\n";
	struct agent_config c;
	char words[AGENT_ERROR_CHARS];

	(void)state;
	assert_int_equal(read_config(text, &c, words), 0);
	assert_string_equal(c.endpoint, "https://localhost:8443");
	assert_string_equal(c.region, "eu-central-1");
	assert_string_equal(c.ca_bundle, "/a/ca.pem");
	assert_string_equal(c.credentials, "/a/keys");
	assert_string_equal(c.profile, "camera");
	assert_string_equal(c.stream, "door-1");
	assert_false(c.create);
	assert_int_equal(c.retention_hours, 48);
	assert_int_equal(c.fragment_ms, 1500);
	assert_int_equal(c.store_bytes, 8 << 20);
	assert_string_equal(c.match, "HD Webcam");
	assert_int_equal(c.format, CAPTURE_FORMAT_YUYV);
	assert_int_equal(c.width, 640);
	assert_int_equal(c.height, 480);
	assert_int_equal(c.rate_num, 30000);
	assert_int_equal(c.rate_den, 1001);
	assert_int_equal(c.camera_timeout_ns, 3 * NS_PER_S);
	assert_int_equal(c.encoder, AGENT_ENCODER_M2M);
	assert_string_equal(c.encoder_device, "/dev/video11");
	assert_int_equal(c.bitrate, 2500000);
	assert_int_equal(c.gop_frames, 50);
	assert_int_equal(c.encoder_timeout_ns, NS_PER_S);
	assert_int_equal(c.stop_timeout_ns, 0);
	assert_true(c.debug);
}

static void agent_config_has_defaults(void **state)
{
	struct agent_config c;
	char words[AGENT_ERROR_CHARS];

	(void)state;
	assert_int_equal(read_config("[stream]\nname=a\n", &c, words), 0);
	assert_true(c.create);
	assert_int_equal(c.fragment_ms, 2000);
	assert_int_equal(c.bitrate, 4000000);
	assert_int_equal(c.retention_hours, 24);
	assert_string_equal(c.region, "us-west-2");
	assert_int_equal(c.width, 0);
}

static void agent_config_names_file_line_and_key(void **state)
{
	static const struct {
		const char *text;
		const char *words;
	} bad[] = {
		{ "[stream]\nname = a\n[camera]\n\nrate = fast\n",
		  ":5: [camera] rate: 'fast' is not a rate" },
		{ "[camera]\nrate = 0\n", ":2: [camera] rate:" },
		{ "[camera]\nspeed = 1\n", ":2: [camera] speed: unknown key" },
		{ "\n[camara]\nrate = 1\n", ":2: [camara] unknown section" },
		{ "[stream]\nname = a\nname = b\n",
		  ":3: [stream] name: given twice" },
		{ "[stream]\nname = a/b\n", ":2: [stream] name:" },
		{ "[stream]\nname =\n", ":2: [stream] name:" },
		{ "[stream]\nname\n", ":2: neither a [section] nor a key" },
		{ "[stream]\nfragment = 2\n", ":2: [stream] fragment: '2' is "
					      "not a duration" },
		{ "[stream]\nfragment = 20s\n",
		  ":2: [stream] fragment: 1000 ms to 10000 ms" },
		{ "[stream]\nretention = 90min\n",
		  ":2: [stream] retention: whole hours" },
		{ "[stream]\nstore = 100K\n", ":2: [stream] store: 1M to 4G" },
		{ "[stream]\ncreate = maybe\n", ":2: [stream] create: 'maybe'" },
		{ "[service]\nendpoint = http://a\n",
		  ":2: [service] endpoint: not https://HOST[:PORT]" },
		{ "[service]\nregion = a b\n", ":2: [service] region:" },
		{ "[camera]\nsize = 1280\n", ":2: [camera] size:" },
		{ "[camera]\nsize = 0x10\n", ":2: [camera] size:" },
		{ "[camera]\nformat = H.264\n", ":2: [camera] format:" },
		{ "[camera]\ndevice = video0\n", ":2: [camera] device:" },
		{ "[encoder]\nkind = x264\n", ":2: [encoder] kind: 'x264'" },
		{ "[encoder]\nbitrate = 4Mbit\n", ":2: [encoder] bitrate:" },
		{ "[encoder]\ngop = 0\n", ":2: [encoder] gop: 1 to 1000" },
		{ "[agent]\nstop_timeout = 1h\n", ":2: [agent] stop_timeout:" },
		{ "key = value\n", ":1: key: unknown section" },
		{ "", ": [stream] name: is needed" },
		{ "[stream]\nname=a\n[camera]\ndevice=/dev/video0\nmatch=x\n",
		  ": [camera] device and match" },
		{ "[stream]\nname=a\n[encoder]\nkind=none\n",
		  ": [camera] format: is needed" },
	};
	char words[AGENT_ERROR_CHARS];
	struct agent_config c;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(read_config(bad[i].text, &c, words), -EINVAL);
		words[strlen(bad[i].words)] = '\0';
		assert_string_equal(words, bad[i].words);
	}
}

static void agent_config_refuses_a_long_line_and_a_missing_file(void **state)
{
	char text[400] = "[stream]\nname = ";
	char words[AGENT_ERROR_CHARS];
	struct agent_config c;

	(void)state;
	memset(text + strlen(text), 'a', 300);
	assert_int_equal(read_config(text, &c, words), -EINVAL);
	assert_string_equal(words, ":2: the line is too long");
	assert_int_equal(agent_config_read(sys_posix(), "/nonexistent/x", &c,
					   words), -ENOENT);
	assert_string_equal(words, "/nonexistent/x: No such file or directory");
}

static void agent_config_example_is_good_and_complete(void **state)
{
	struct agent_config c;
	char error[AGENT_ERROR_CHARS] = "";

	(void)state;
	assert_int_equal(agent_config_read(sys_posix(),
					   "kvsd/agent/agent.conf.example", &c,
					   error), 0);
	assert_string_equal(error, "");
	assert_string_equal(c.stream, "front-door");
}

/* --- credentials ------------------------------------------------------------------- */

static void credentials_come_from_a_profile(void **state)
{
	struct credentials c;
	char error[300];

	(void)state;
	write_file("[default]\naws_access_key_id = AKIDA\n"
		   "aws_secret_access_key = s/e+c\n[other]\n"
		   "aws_access_key_id=AKIDB\naws_secret_access_key=x\n"
		   "aws_session_token=tok==\n[half]\naws_access_key_id=A\n");
	assert_int_equal(credentials_find(sys_posix(), path, "", &c, error,
					  sizeof(error)), 0);
	assert_string_equal(c.access_key_id, "AKIDA");
	assert_string_equal(c.secret_access_key, "s/e+c");
	assert_null(c.session_token);
	credentials_fini(&c);
	assert_int_equal(credentials_find(sys_posix(), path, "other", &c, error,
					  sizeof(error)), 0);
	assert_string_equal(c.session_token, "tok==");
	credentials_fini(&c);
	assert_int_equal(credentials_find(sys_posix(), path, "none", &c, error,
					  sizeof(error)), -ENOENT);
	assert_non_null(strstr(error, "[none]"));
	assert_int_equal(credentials_find(sys_posix(), path, "half", &c, error,
					  sizeof(error)), -EINVAL);
	assert_non_null(strstr(error, "secret access key"));
}

static void credentials_come_from_the_environment(void **state)
{
	struct credentials c;
	char error[300];

	(void)state;
	assert_int_equal(setenv("AWS_ACCESS_KEY_ID", "AKIDE", 1), 0);
	assert_int_equal(setenv("AWS_SECRET_ACCESS_KEY", "hush", 1), 0);
	assert_int_equal(credentials_find(sys_posix(), "", "", &c, error,
					  sizeof(error)), 0);
	assert_string_equal(c.access_key_id, "AKIDE");
	credentials_fini(&c);
	assert_int_equal(unsetenv("AWS_SECRET_ACCESS_KEY"), 0);
	assert_int_equal(credentials_find(sys_posix(), "", "", &c, error,
					  sizeof(error)), -EINVAL);
	assert_null(strstr(error, "hush"));
	assert_int_equal(unsetenv("AWS_ACCESS_KEY_ID"), 0);
	assert_int_equal(setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent",
				1), 0);
	assert_int_equal(credentials_find(sys_posix(), "", "", &c, error,
					  sizeof(error)), -ENOENT);
	assert_non_null(strstr(error, "no credentials"));
	assert_int_equal(unsetenv("AWS_SHARED_CREDENTIALS_FILE"), 0);
}

/* --- time --------------------------------------------------------------------------- */

#define WALL UINT64_C(1700000000000000000)

static void clock_map_is_one_offset_per_epoch(void **state)
{
	struct clock_map m = { 0 };

	(void)state;
	assert_true(clock_map_sample(&m, 1000, WALL + 1100, 1200));
	assert_int_equal(m.epoch, 1);
	assert_int_equal(clock_map_ns(&m, 1100), WALL + 1100);
	assert_int_equal(clock_map_ns(&m, 5000000), WALL + 5000000);
	/* Noise is no step, and a wide bracket is no news. */
	assert_false(clock_map_sample(&m, 2000000, WALL + 2000000 + 9000,
				      2000100));
	assert_false(clock_map_sample(&m, 3000000, WALL + 90000000, 5000000));
	assert_int_equal(m.epoch, 1);
}

static void clock_map_opens_an_epoch_when_the_clock_steps_forward(void **state)
{
	struct clock_map m = { 0 };

	(void)state;
	(void)clock_map_sample(&m, 0, WALL, 100);
	assert_true(clock_map_sample(&m, 1000, WALL + 1000 + NS_PER_S, 1100));
	assert_int_equal(m.epoch, 2);
	assert_in_range(clock_map_ns(&m, 2000), WALL + NS_PER_S,
			WALL + NS_PER_S + 4000);
	assert_true(clock_map_sigma_ns(&m) < 1000);
}

static void clock_map_never_goes_back(void **state)
{
	struct clock_map m = { 0 };
	uint64_t random = 7;
	uint64_t mono = NS_PER_S;
	uint64_t last = 0;
	int64_t offset = (int64_t)WALL;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		uint64_t mapped;

		random = random * UINT64_C(6364136223846793005) + 1;
		mono += (random >> 40) % 40000000;
		if ((random >> 33) % 100 == 0)
			offset += (int64_t)((random >> 20) % 7200) *
					  (int64_t)NS_PER_S -
				  3600 * (int64_t)NS_PER_S;
		(void)clock_map_sample(&m, mono,
				       mono + (uint64_t)offset +
					       (random >> 50) % 100,
				       mono + (random >> 45) % 3000);
		mapped = clock_map_ns(&m, mono);
		assert_true(mapped >= last);
		last = mapped;
	}
}

static void clock_map_says_how_far_off_it_is_after_a_step_back(void **state)
{
	struct clock_map m = { 0 };

	(void)state;
	(void)clock_map_sample(&m, 0, WALL, 100);
	assert_true(clock_map_sample(&m, 1000, WALL + 1000 - NS_PER_S, 1100));
	assert_true(m.held);
	assert_int_equal(m.epoch, 2);
	assert_true(clock_map_ns(&m, 2000) > WALL);
	assert_in_range(clock_map_sigma_ns(&m), NS_PER_S - 1000,
			NS_PER_S + 1000);
	/* It stays so without a new epoch, until the clock has caught up. */
	assert_false(clock_map_sample(&m, 9000, WALL + 9000 - NS_PER_S, 9100));
	assert_true(clock_map_sample(&m, 10000, WALL + 20000 + NS_PER_S,
				     10100));
	assert_false(m.held);
	assert_int_equal(m.epoch, 3);
	(void)clock_map_sample(&m, 20000, WALL - 100 * NS_PER_S, 20100);
	assert_int_equal(clock_map_sigma_ns(&m), UINT32_MAX);
}

static void histogram_is_close_to_the_true_percentile(void **state)
{
	static struct histogram h;

	(void)state;
	assert_int_equal(histogram_percentile(&h, 500), 0);
	for (uint64_t i = 1; i <= 100000; i++)
		histogram_add(&h, i);
	assert_in_range(histogram_percentile(&h, 500), 50000, 53200);
	assert_in_range(histogram_percentile(&h, 990), 99000, 105300);
	assert_in_range(histogram_percentile(&h, 1000), 100000, 106300);
	for (uint64_t i = 0; i < 64; i++) { /* each value's own bucket */
		struct histogram one = { 0 };
		uint64_t v = UINT64_C(1) << i;

		histogram_add(&one, v);
		if (i < 43)
			assert_in_range(histogram_percentile(&one, 500), v,
					v + v / 16);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(agent_config_takes_every_key),
		T(agent_config_has_defaults),
		T(agent_config_names_file_line_and_key),
		T(agent_config_refuses_a_long_line_and_a_missing_file),
		T(agent_config_example_is_good_and_complete),
		T(credentials_come_from_a_profile),
		T(credentials_come_from_the_environment),
		cmocka_unit_test(clock_map_is_one_offset_per_epoch),
		cmocka_unit_test(
			clock_map_opens_an_epoch_when_the_clock_steps_forward),
		cmocka_unit_test(clock_map_never_goes_back),
		cmocka_unit_test(
			clock_map_says_how_far_off_it_is_after_a_step_back),
		cmocka_unit_test(histogram_is_close_to_the_true_percentile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
