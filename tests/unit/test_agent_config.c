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
#include <capture/thermal.h>

#include "agent/config.h"
#include "agent/credentials.h"
#include "core/clock_map.h"
#include "core/histogram.h"
#include "core/limits.h"

static char path[] = "/tmp/kvsd-config-XXXXXX";
static struct agent_config config;	/* large */

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
static int read_config(const char *text, struct agent_config *ret,
		       char ret_words[AGENT_ERROR_CHARS])
{
	char error[AGENT_ERROR_CHARS] = "";
	int r;

	write_file(text);
	r = agent_config_read(sys_posix(), path, ret, error);
	ret_words[0] = '\0';
	if (r < 0) {
		assert_memory_equal(error, path, strlen(path));
		memmove(ret_words, error + strlen(path),
			strlen(error) - strlen(path) + 1);
	}
	return r;
}

static const char every_key[] =
	"# a comment\n"
	"[service]\n"
	"endpoint = https://localhost:8443 ; and one more\n"
	"region = eu-central-1\n"
	"ca_bundle = /a/ca.pem\n"
	"credentials = /a/keys\n"
	"profile = camera\n"
	"[source cam]\n"
	"kind = camera\n"
	"stream = door\n" /* whose section comes later */
	"match = HD Webcam\n"
	"format = YUYV\n"
	"size = 640x480\n"
	"rate = 30000/1001\n"
	"  timeout = 3s\n" /* indented: no continuation */
	"buffers = 6\n"
	"borrow = 3\n"
	"skip_first = 5\n"
	"crop = 320x240+16+8\n"
	"point = mid-exposure\n"
	"stamped = start-of-frame\n"
	"delay_ns = -250000\n"
	"control.brightness = 128\n"
	"control.exposure = -7\n"
	"control.test_pattern = 75_colorbar\n"
	"input = 1\n"
	"timings = auto\n"
	"blank = signal\n"
	"links = 'imx219 10-0010':0 -> 'unicam-image':0 [1]\n"
	"pads = 'imx219 10-0010':0 [fmt:SRGGB10_1X10/1640x1232]\n"
	"pads = 'csis':0 [fmt:SRGGB10_1X10/1640x1232]\n"
	"encoder = m2m\n"
	"encoder_device = /dev/video11\n"
	"bitrate = 2500k\n"
	"gop = 50\n"
	"encoder_timeout = 1s\n"
	"encoder_stuck = 0s\n"
	"[stream door]\n"
	"name = door-1\n"
	"create = no\n"
	"retention = 48h\n"
	"fragment = 1500ms\n"
	"store = 8M\n"
	"[agent]\n"
	"stop_timeout = 0s\n"
	"debug = yes\n";

static void agent_config_takes_every_key(void **state)
{
	char words[AGENT_ERROR_CHARS];

	(void)state;
	assert_int_equal(read_config(every_key, &config, words), 0);
	assert_string_equal(config.endpoint, "https://localhost:8443");
	assert_string_equal(config.region, "eu-central-1");
	assert_string_equal(config.ca_bundle, "/a/ca.pem");
	assert_string_equal(config.credentials, "/a/keys");
	assert_string_equal(config.profile, "camera");
	assert_int_equal(config.stream_count, 1);
	assert_string_equal(config.streams[0].label, "door");
	assert_string_equal(config.streams[0].name, "door-1");
	assert_false(config.streams[0].create);
	assert_int_equal(config.streams[0].retention_hours, 48);
	assert_int_equal(config.streams[0].fragment_ms, 1500);
	assert_int_equal(config.streams[0].store_bytes, 8 << 20);
	assert_int_equal(config.streams[0].track_count, 1);
	assert_int_equal(config.stop_timeout_ns, 0);
	assert_true(config.debug);
}

static void agent_config_takes_every_key_of_a_camera(void **state)
{
	const struct agent_source *s = &config.sources[0];
	char words[AGENT_ERROR_CHARS];

	(void)state;
	assert_int_equal(read_config(every_key, &config, words), 0);
	assert_int_equal(config.source_count, 1);
	assert_string_equal(s->name, "cam");
	assert_int_equal(s->kind, AGENT_CAMERA);
	assert_int_equal(s->stream, 0);
	assert_string_equal(s->match, "HD Webcam");
	assert_int_equal(s->format, CAPTURE_FORMAT_YUYV);
	assert_int_equal(s->width, 640);
	assert_int_equal(s->height, 480);
	assert_int_equal(s->rate_num, 30000);
	assert_int_equal(s->rate_den, 1001);
	assert_int_equal(s->timeout_ns, 3 * NS_PER_S);
	assert_int_equal(s->buffers, 6);
	assert_int_equal(s->borrow, 3);
	assert_int_equal(s->skip_first, 5);
	assert_int_equal(s->crop.width, 320);
	assert_int_equal(s->crop.height, 240);
	assert_int_equal(s->crop.left, 16);
	assert_int_equal(s->crop.top, 8);
	assert_int_equal(s->align.point, CAPTURE_ALIGN_MID_EXPOSURE);
	assert_int_equal(s->align.stamped, CAPTURE_ALIGN_START_OF_FRAME);
	assert_int_equal(s->align.delay_ns, -250000);
	assert_int_equal(s->control_count, 3);
	assert_string_equal(s->controls[2].name, "test_pattern");
	assert_string_equal(s->controls[2].item, "75_colorbar");
	assert_true(s->has_input);
	assert_int_equal(s->input, 1);
	assert_int_equal(s->timings, CAPTURE_TIMINGS_AUTO);
	assert_int_equal(s->blank, CAPTURE_BLANK_SIGNAL);
	assert_string_equal(s->links,
			    "'imx219 10-0010':0 -> 'unicam-image':0 [1]");
	assert_string_equal(s->pads,
			    "'imx219 10-0010':0 [fmt:SRGGB10_1X10/1640x1232], "
			    "'csis':0 [fmt:SRGGB10_1X10/1640x1232]");
	assert_string_equal(s->controls[0].name, "brightness");
	assert_int_equal(s->controls[0].value, 128);
	assert_string_equal(s->controls[1].name, "exposure");
	assert_true(s->controls[1].value == -7);
	assert_int_equal(s->encoder, AGENT_ENCODER_M2M);
	assert_string_equal(s->encoder_device, "/dev/video11");
	assert_int_equal(s->bitrate, 2500000);
	assert_int_equal(s->gop_frames, 50);
	assert_int_equal(s->encoder_timeout_ns, NS_PER_S);
	assert_int_equal(s->encoder_stuck_ns, 0);
}

static void agent_config_has_defaults(void **state)
{
	char words[AGENT_ERROR_CHARS];

	(void)state;
	assert_int_equal(read_config("[stream a]\n[source b]\nkind=camera\n"
				     "stream=a\n", &config, words), 0);
	assert_string_equal(config.streams[0].name, "a");
	assert_true(config.streams[0].create);
	assert_int_equal(config.streams[0].fragment_ms, 2000);
	assert_int_equal(config.streams[0].retention_hours, 24);
	assert_string_equal(config.region, "us-west-2");
	assert_int_equal(config.sources[0].width, 0);
	assert_int_equal(config.sources[0].timeout_ns, 5 * NS_PER_S);
	assert_int_equal(config.sources[0].encoder_timeout_ns, 2 * NS_PER_S);
	assert_int_equal(config.sources[0].encoder_stuck_ns, 10 * NS_PER_S);
}

/* As many lines as it takes, within a bound that is told. */
static void agent_config_takes_long_pipelines(void **state)
{
	char text[4096] = "[stream a]\n[source b]\nkind = camera\nstream = a\n";
	char words[AGENT_ERROR_CHARS];
	int i;

	(void)state;
	for (i = 0; i < 8; i++)
		strcat(text, "pads = 'an entity with a rather long name':0 "
			     "[fmt:SRGGB10_1X10/1640x1232 crop:(0,0)/1640x1232]"
			     "\n");
	assert_int_equal(read_config(text, &config, words), 0);
	assert_int_equal(strlen(config.sources[0].pads), 8 * 87 + 7 * 2);
	for (i = 0; i < 4; i++)
		strcat(text, "pads = 'an entity with a rather long name':0 "
			     "[fmt:SRGGB10_1X10/1640x1232 crop:(0,0)/1640x1232]"
			     "\n");
	assert_int_equal(read_config(text, &config, words), -EINVAL);
	assert_non_null(strstr(words, ":16: [source b] pads: at most 1023 "
				      "characters, all lines together"));
}

static void agent_config_knows_where_cores_count(void **state)
{
	static const struct {
		const char *text;
		struct capture_counter_setting counter;
	} cases[] = {
		{ "lepton2", { 32, -3, 1, true, 1000 } },
		{ "lepton3", { 32, -2, 1, true, 1000 } },
		{ "boson", { 32, 0, 140, false, 1000 } },
		{ "0,0,16,low-first,16383", { 16, 0, 0, true, 16383 } },
		{ "-1,16384,64,low-first,1000000000",
		  { 64, -1, 16384, true, 1000000000 } },
	};
	char words[AGENT_ERROR_CHARS];
	char text[200];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct capture_counter_setting *c = &cases[i].counter;
		const struct capture_counter_setting *is;

		(void)snprintf(text, sizeof(text),
			       "[stream one]\n[source t]\nkind = thermal\n"
			       "stream = one\ncounter = %s\n",
			       cases[i].text);
		assert_int_equal(read_config(text, &config, words), 0);
		is = &config.sources[0].counter;
		assert_int_equal(is->bits, c->bits);
		assert_int_equal(is->row, c->row);
		assert_int_equal(is->word, c->word);
		assert_int_equal(is->low_first, c->low_first);
		assert_int_equal(is->hz, c->hz);
	}
}

static void agent_config_takes_every_kind(void **state)
{
	static const char text[] =
		"[stream one]\n[stream two]\n[stream three]\n"
		"[source c]\nkind = camera\nstream = one\n"
		"[source t]\nkind = thermal\nstream = one\nview = yes\n"
		"view_encoder = jpeg\npalette = iron\nrange = 7000..9000\n"
		"telemetry_rows = 2\nscale_uk = 15625\n"
		"telemetry_on_top = yes\ncounter = -63,5,48,high-first,25000\n"
		"offset_uk = -273150000\nspot = 0,59\n"
		"[source s]\nkind = sdr\nstream = two\ndevice = /dev/swradio0\n"
		"[source m]\nkind = metadata\nstream = two\n"
		"device = /dev/video1\n"
		"[source i]\nkind = iio\nstream = two\ndevice = iio:device0\n"
		"[source r]\nkind = records\nstream = three\n"
		"device = udp:127.0.0.1:5600\n"
		"[source a]\nkind = audio\nstream = three\ndevice = hw:0,0\n"
		"encoder = aac\nbitrate = 32k\nsample_rate = 48000\n"
		"channels = 2\nframe_samples = 960\n"
		"[source x]\nkind = synthetic\nstream = three\n"
		"pattern = tone\nencoder = alaw\nsample_rate = 8000\n";
	char words[AGENT_ERROR_CHARS];

	(void)state;
	assert_int_equal(read_config(text, &config, words), 0);
	assert_int_equal(config.source_count, 8);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(config.streams[i].track_count, 3);
	assert_int_equal(agent_source_class(&config.sources[0]), AGENT_CLASS_VIDEO);
	assert_int_equal(agent_source_class(&config.sources[1]),
			 AGENT_CLASS_THERMAL);
	assert_int_equal(agent_source_class(&config.sources[2]), AGENT_CLASS_DATA);
	assert_int_equal(agent_source_class(&config.sources[7]), AGENT_CLASS_AUDIO);
	assert_int_equal(config.sources[1].view_encoder, AGENT_ENCODER_JPEG);
	assert_int_equal(config.sources[1].palette, CAPTURE_PALETTE_IRON);
	assert_int_equal(config.sources[1].range_min, 7000);
	assert_int_equal(config.sources[1].range_max, 9000);
	assert_int_equal(config.sources[1].telemetry_rows, 2);
	assert_true(config.sources[1].telemetry_on_top);
	assert_int_equal(config.sources[1].counter.row, -63);
	assert_int_equal(config.sources[1].counter.word, 5);
	assert_int_equal(config.sources[1].counter.bits, 48);
	assert_false(config.sources[1].counter.low_first);
	assert_int_equal(config.sources[1].counter.hz, 25000);
	assert_int_equal(config.sources[0].counter.bits, 0);
	assert_int_equal(config.sources[1].scale_uk, 15625);
	assert_int_equal(config.sources[1].offset_uk, -273150000);
	assert_true(config.sources[1].has_spot);
	assert_int_equal(config.sources[1].spot_x, 0);
	assert_int_equal(config.sources[1].spot_y, 59);
	assert_int_equal(config.sources[6].channels, 2);
	assert_int_equal(config.sources[6].frame_samples, 960);
	assert_int_equal(config.sources[6].bitrate, 32000);
	assert_int_equal(config.sources[7].stream, 2);
}

/* A good stream and the beginning of a source, which ends on line 4. */
#define HEAD(kind) "[stream a]\n[source b]\nstream = a\nkind = " kind "\n"

/* What is wrong, and the words that follow the file's name. */
static const struct mistake {
	const char *text;
	const char *words;
} mistakes[] = {
	/* sections */
	{ "\n[camara]\nrate = 1\n", ":2: [camara] unknown section "
	  "(there are service, agent, stream NAME, source NAME)" },
	{ "[camera]\nsize = 1x1\n", ":1: [camera] unknown section" },
	{ "[stream]\n", ":1: [stream] has no name: [stream NAME]" },
	{ "[source]\n", ":1: [source] has no name: [source NAME]" },
	{ "[stream a/b]\n", ":1: [stream a/b] a name of 1 to 24" },
	{ "[stream aaaaaaaaaaaaaaaaaaaaaaaaa]\n",
	  ":1: [stream aaaaaaaaaaaaaaaaaaaaaaaaa] a name of 1 to 24" },
	{ "[stream aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]\n",
	  ":1: the section's name is too long" },
	{ "[stream a]\n[stream a]\n", ":2: [stream a] given twice" },
	{ "[source a]\n[source a]\n", ":2: [source a] given twice" },
	{ "[source a-view]\n", ":1: [source a-view] -view is for the "
	  "view of a source" },
	{ "key = value\n", ":1: key: stands in no section" },
	{ "", ": no [source NAME]" },
	{ "[stream a]\nname\n", ":2: neither a [section] nor a key" },
	/* service and agent */
	{ "[service]\nendpoint = http://a\n",
	  ":2: [service] endpoint: not https://HOST[:PORT]" },
	{ "[service]\nregion = a b\n", ":2: [service] region:" },
	{ "[service]\nspeed = 1\n", ":2: [service] speed: unknown key" },
	{ "[agent]\nstop_timeout = 1h\n", ":2: [agent] stop_timeout:" },
	{ "[agent]\ndebug = yes\ndebug = no\n",
	  ":3: [agent] debug: given twice" },
	/* streams */
	{ "[stream a]\nname = a\nname = b\n",
	  ":3: [stream a] name: given twice" },
	{ "[stream a]\nname = a/b\n", ":2: [stream a] name:" },
	{ "[stream a]\nname =\n", ":2: [stream a] name:" },
	{ "[stream a]\nfragment = 2\n", ":2: [stream a] fragment: "
					  "'2' is not a duration" },
	{ "[stream a]\nfragment = 20s\n",
	  ":2: [stream a] fragment: 1000 ms to 10000 ms" },
	{ "[stream a]\nretention = 90min\n",
	  ":2: [stream a] retention: whole hours" },
	{ "[stream a]\nstore = 100K\n",
	  ":2: [stream a] store: 1M to 4G" },
	{ "[stream a]\nstore = much\n",
	  ":2: [stream a] store: 'much' is not a size" },
	{ "[stream a]\ncreate = maybe\n",
	  ":2: [stream a] create: 'maybe'" },
	{ "[stream a]\nspeed = 1\n",
	  ":2: [stream a] speed: unknown key" },
	{ HEAD("camera") "\n[stream c]\n",
	  ":6: [stream c] no source belongs to it" },
	{ HEAD("camera") "[stream c]\nname = a\n[source d]\n"
	  "kind = camera\nstream = c\n",
	  ":5: [stream c] has the name of [stream a]" },
	/* sources: values */
	{ "[source b]\n\n\nrate = fast\n",
	  ":4: [source b] rate: 'fast' is not a rate" },
	{ "[source b]\nrate = 0\n", ":2: [source b] rate:" },
	{ "[source b]\nspeed = 1\n",
	  ":2: [source b] speed: unknown key" },
	{ "[source b]\nkind = camera\nkind = sdr\n",
	  ":3: [source b] kind: given twice" },
	{ "[source b]\nkind = radar\n", ":2: [source b] kind: "
	  "'radar' is none of camera, thermal, sdr, metadata, iio, "
	  "records, audio, libcamera, synthetic" },
	{ "[source b]\npattern = stripes\n", ":2: [source b] pattern: "
	  "'stripes' is none of bars, thermal, radar, tone" },
	{ "[source b]\nsize = 1280\n", ":2: [source b] size:" },
	{ "[source b]\nsize = 0x10\n", ":2: [source b] size:" },
	{ "[source b]\nformat = H.264\n", ":2: [source b] format:" },
	{ "[source b]\nencoder = x264\n", ":2: [source b] encoder: "
	  "'x264' is none of auto, m2m, openh264, jpeg" },
	{ "[source b]\nview_encoder = ffv1\n", ":2: [source b] "
	  "view_encoder: 'ffv1' is none of auto, m2m" },
	{ "[source b]\nencoder_device = video0\n",
	  ":2: [source b] encoder_device: a path that starts" },
	{ "[source b]\nbitrate = 4Mbit\n", ":2: [source b] bitrate:" },
	{ "[source b]\ngop = 0\n", ":2: [source b] gop: 1 to 1000" },
	{ "[source b]\ntimeout = 1ms\n",
	  ":2: [source b] timeout: 100 ms to 600000 ms" },
	{ "[source b]\nencoder_timeout = 1h\n",
	  ":2: [source b] encoder_timeout: 100 ms to" },
	{ "[source b]\nsample_rate = fast\n",
	  ":2: [source b] sample_rate: 'fast' is not a number" },
	{ "[source b]\nchannels = 0\n",
	  ":2: [source b] channels: 1 to 64" },
	{ "[source b]\nframe_samples = 0\n",
	  ":2: [source b] frame_samples: 1 to" },
	{ "[source b]\nbuffers = 1\n",
	  ":2: [source b] buffers: 2 to 32" },
	{ "[source b]\nborrow = 0\n", ":2: [source b] borrow: 1 to 32" },
	{ "[source b]\nskip_first = 9999\n",
	  ":2: [source b] skip_first: 0 to 1000" },
	{ "[source b]\npoint = arrival\n",
	  ":2: [source b] point: 'arrival' is none of as-stamped, start-of-frame, " },
	{ "[source b]\nstamped = x\n", ":2: [source b] stamped: 'x' is " },
	{ "[source b]\ndelay_ns = 10000000001\n",
	  ":2: [source b] delay_ns: '10000000001' is not a number of ns" },
	{ "[source b]\ndelay_ns = -1ms\n",
	  ":2: [source b] delay_ns: '-1ms' is not a number of ns" },
	{ "[source b]\ncrop = 640x480\n",
	  ":2: [source b] crop: '640x480' is not WIDTHxHEIGHT+LEFT+TOP" },
	{ "[source b]\nview = perhaps\n",
	  ":2: [source b] view: 'perhaps' is neither yes nor no" },
	{ "[source b]\npalette = pink\n", ":2: [source b] palette: "
	  "'pink' is none of white-hot, black-hot, iron, rainbow" },
	{ "[source b]\nrange = 9..9\n",
	  ":2: [source b] range: '9..9' is neither auto nor MIN..MAX" },
	{ "[source b]\nrange = 1..65536\n", ":2: [source b] range:" },
	{ "[source b]\ncontrol.gain =\n",
	  ":2: [source b] control.gain: 1 to 31 characters" },
	{ "[source b]\ninput = 256\n", ":2: [source b] input: 0 to 255" },
	{ "[source b]\ntimings = x\n", ":2: [source b] timings: 'x' is "
					"none of keep, auto" },
	{ "[source b]\nblank = x\n", ":2: [source b] blank: 'x' is none "
				      "of no, signal, outage" },
	{ "[source b]\nquality = 101\n",
	  ":2: [source b] quality: 1 to 100" },
	{ "[source b]\ntelemetry_rows = x\n",
	  ":2: [source b] telemetry_rows: 'x' is not a number" },
	{ "[source b]\nscale_uk = 0\n", ":2: [source b] scale_uk: 1 to" },
	{ "[source b]\ncounter = tau\n",
	  ":2: [source b] counter: 'tau' is neither lepton2," },
	{ "[source b]\ncounter = 1,2,32,low-first\n", ":2: [source b] counter:" },
	{ "[source b]\ncounter = 1,2,24,low-first,9\n", ":2: [source b] counter:" },
	{ "[source b]\ncounter = 1,2,0,low-first,9\n", ":2: [source b] counter:" },
	{ "[source b]\ncounter = 1,2,32,first,9\n", ":2: [source b] counter:" },
	{ "[source b]\ncounter = 1,2,32,low-first,0\n", ":2: [source b] counter:" },
	{ "[source b]\ncounter = 1,2,32,low-first,9,\n", ":2: [source b] counter:" },
	{ "[source b]\ncounter = 1,-2,32,low-first,9\n", ":2: [source b] counter:" },
	{ "[source b]\ncounter = 1,2,16,low-first,16384\n",
	  ":2: [source b] counter:" },
	{ "[source b]\noffset_uk = --1\n", ":2: [source b] offset_uk:" },
	{ "[source b]\nspot = 5\n",
	  ":2: [source b] spot: '5' is not X,Y, as 80,60" },
	{ "[source b]\ncontrol.gain = 1\ncontrol.gain = 2\n",
	  ":3: [source b] control.gain: given twice" },
	{ "[source b]\ncontrol. = 1\n",
	  ":2: [source b] control.: a name of" },
	{ "[source b]\ncontrol = 1\n",
	  ":2: [source b] control: unknown key" },
	/* sources: keys together */
	{ "[stream a]\n[source b]\nstream = a\n",
	  ":2: [source b] kind: is needed" },
	{ "[stream a]\n[source b]\nkind = camera\n",
	  ":2: [source b] stream: is needed" },
	{ "[source b]\nkind = camera\nstream = c\n",
	  ":3: [source b] stream: there is no [stream c]" },
	{ HEAD("synthetic"), ":2: [source b] pattern: is needed" },
	{ HEAD("camera") "channels = 2\n", ":5: [source b] channels: "
	  "not of a source of kind camera" },
	{ HEAD("camera") "pattern = bars\n",
	  ":5: [source b] pattern: not of a source of kind camera" },
	{ HEAD("sdr") "device = /dev/swradio0\nencoder = auto\n",
	  ":6: [source b] encoder: not of a source of kind sdr" },
	{ HEAD("audio") "device = hw:0\ncontrol.gain = 1\n",
	  ":6: [source b] control: not of a source of kind audio" },
	{ HEAD("synthetic") "pattern = tone\nrate = 5\n",
	  ":6: [source b] rate: not of a source of kind synthetic, "
	  "pattern tone" },
	{ HEAD("synthetic") "pattern = bars\ndevice = /dev/video0\n",
	  ":6: [source b] device: not of a source of kind synthetic" },
	{ HEAD("camera") "device = video0\n",
	  ":5: [source b] device: a path that starts with /" },
	{ HEAD("camera") "device = /dev/video0\nmatch = x\n",
	  ":6: [source b] match: with device: one of the two" },
	{ HEAD("audio"), ":2: [source b] device: is needed" },
	{ HEAD("records"), ":2: [source b] device: is needed" },
	{ HEAD("iio"), ":2: [source b] device: is needed" },
	{ HEAD("camera") "encoder = ffv1\n", ":5: [source b] encoder: "
	  "for video: auto, m2m, openh264, jpeg, raw or none" },
	{ HEAD("thermal") "encoder = openh264\n", ":5: [source b] "
	  "encoder: for thermal: auto, ffv1 or raw" },
	{ HEAD("audio") "device = hw:0\nencoder = m2m\n",
	  ":6: [source b] encoder: for audio: auto, alaw, ulaw" },
	{ HEAD("camera") "encoder = none\n",
	  ":2: [source b] format: is needed with encoder = none" },
	{ HEAD("camera") "encoder = openh264\n"
	  "encoder_device = /dev/video0\n",
	  ":6: [source b] encoder_device: only m2m has one" },
	{ HEAD("camera") "encoder = jpeg\nencoder_timeout = 1s\n",
	  ":6: [source b] encoder_timeout: only m2m has one" },
	{ HEAD("camera") "encoder = jpeg\nencoder_stuck = 1s\n",
	  ":6: [source b] encoder_stuck: only m2m has one" },
	{ HEAD("camera") "quality = 9\n",
	  ":5: [source b] quality: only jpeg has one" },
	{ HEAD("camera") "gop = 9\nencoder = jpeg\n",
	  ":5: [source b] gop: only auto, m2m and openh264" },
	{ HEAD("audio") "device = hw:0\nencoder = alaw\nbitrate = 1M\n",
	  ":7: [source b] bitrate: only auto, m2m, openh264 and aac" },
	{ HEAD("thermal") "bitrate = 1M\n",
	  ":5: [source b] bitrate: only with view = yes" },
	{ HEAD("thermal") "palette = iron\nview = no\n",
	  ":5: [source b] palette: only with view = yes" },
	{ HEAD("thermal") "telemetry_rows = 2\nspot = 8,9\noffset_uk = 1\n",
	  ":7: [source b] offset_uk: only with scale_uk" },
	/* four tracks in one stream */
	{ HEAD("thermal") "view = yes\n[source c]\nkind = camera\n"
	  "stream = a\n[source d]\nkind = camera\nstream = a\n",
	  ":11: [source d] stream: 4 tracks in [stream a]: at most 3" },
	{ HEAD("camera") "[source c]\nkind = camera\nstream = a\n"
	  "[source d]\nkind = thermal\nstream = a\nview = yes\n",
	  ":10: [source d] stream: 4 tracks in [stream a]: at most 3 "
	  "(the view is one)" },
};

static void agent_config_names_file_line_and_key(void **state)
{
	char words[AGENT_ERROR_CHARS];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(mistakes); i++) {
		const struct mistake *m = &mistakes[i];

		if (read_config(m->text, &config, words) != -EINVAL)
			fail_msg("taken: %s", m->text);
		if (strncmp(words, m->words, strlen(m->words)) != 0)
			fail_msg("'%s', not '%s'", words, m->words);
	}
}

static void agent_config_has_bounds(void **state)
{
	char text[8000] = "[stream a]\n[source s]\nkind = camera\nstream = a\n";
	char words[AGENT_ERROR_CHARS];
	size_t len = strlen(text);

	(void)state;
	for (unsigned int i = 0; i <= AGENT_CONTROLS_MAX; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
					"control.c%u = 1\n", i);
	assert_int_equal(read_config(text, &config, words), -EINVAL);
	assert_non_null(strstr(words, "control.c16: at most 16 controls"));
	len = 0;
	for (unsigned int i = 0; i <= AGENT_STREAMS_MAX; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
					"[stream s%u]\n", i);
	assert_int_equal(read_config(text, &config, words), -EINVAL);
	assert_string_equal(words, ":9: [stream s8] at most 8 streams");
	len = 0;
	for (unsigned int i = 0; i <= AGENT_SOURCES_MAX; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
					"[source s%u]\n", i);
	assert_int_equal(read_config(text, &config, words), -EINVAL);
	assert_string_equal(words, ":17: [source s16] at most 16 sources");
}

static void agent_config_refuses_a_long_line_and_a_missing_file(void **state)
{
	char text[400] = "[stream a]\nname = ";
	char words[AGENT_ERROR_CHARS];

	(void)state;
	memset(text + strlen(text), 'a', 300);
	assert_int_equal(read_config(text, &config, words), -EINVAL);
	assert_string_equal(words, ":2: the line is too long");
	assert_int_equal(agent_config_read(sys_posix(), "/nonexistent/x", &config,
					   words), -ENOENT);
	assert_string_equal(words, "/nonexistent/x: No such file or directory");
}

static void agent_config_example_is_good_and_complete(void **state)
{
	char error[AGENT_ERROR_CHARS] = "";

	(void)state;
	assert_int_equal(agent_config_read(sys_posix(),
					   "kvsd/agent/agent.conf.example", &config,
					   error), 0);
	assert_string_equal(error, "");
	assert_int_equal(config.stream_count, 2);
	assert_string_equal(config.streams[0].name, "front-door");
	assert_int_equal(config.source_count, 4);
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
	assert_true(clock_map_sigma_ns(&m, 2000) < 1000);
}

/* Frames that an encoder has while the clock steps. */
static void clock_map_leaves_what_is_older_than_a_step(void **state)
{
	struct clock_map m = { 0 };

	(void)state;
	(void)clock_map_sample(&m, 1000, WALL + 1050, 1100);
	assert_int_equal(clock_map_epoch(&m, 1), 1);
	(void)clock_map_sample(&m, 9000, WALL + 9050, 9100);
	assert_true(clock_map_sample(&m, 20000, WALL + 20050 + NS_PER_S,
				     20100));
	assert_int_equal(clock_map_ns(&m, 9000), WALL + 9000);
	assert_int_equal(clock_map_epoch(&m, 9000), 1);
	assert_int_equal(clock_map_ns(&m, 9001), WALL + 9001 + NS_PER_S);
	assert_int_equal(clock_map_epoch(&m, 9001), 2);
	assert_int_equal(clock_map_wall_offset_ns(&m, WALL + 9000), WALL);
	assert_int_equal(clock_map_wall_offset_ns(&m, WALL + 30000 + NS_PER_S),
			 WALL + NS_PER_S);
	/* A step back holds on: all that was before it stays where it is. */
	assert_true(clock_map_sample(&m, 40000, WALL + 40050, 40100));
	assert_int_equal(clock_map_ns(&m, 9000), WALL + 9000);
	assert_int_equal(clock_map_ns(&m, 30000), WALL + 30000 + NS_PER_S);
	assert_int_equal(clock_map_epoch(&m, 41000), 3);
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
	assert_in_range(clock_map_sigma_ns(&m, 2000), NS_PER_S - 1000,
			NS_PER_S + 1000);
	/* It stays so without a new epoch, until the clock has caught up. */
	assert_false(clock_map_sample(&m, 9000, WALL + 9000 - NS_PER_S, 9100));
	assert_true(clock_map_sample(&m, 10000, WALL + 20000 + NS_PER_S,
				     10100));
	assert_false(m.held);
	assert_int_equal(m.epoch, 3);
	(void)clock_map_sample(&m, 20000, WALL - 100 * NS_PER_S, 20100);
	assert_int_equal(clock_map_sigma_ns(&m, 20000), UINT32_MAX);
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
		T(agent_config_takes_every_key_of_a_camera),
		T(agent_config_has_defaults),
		T(agent_config_takes_long_pipelines),
		T(agent_config_knows_where_cores_count),
		T(agent_config_takes_every_kind),
		T(agent_config_names_file_line_and_key),
		T(agent_config_has_bounds),
		T(agent_config_refuses_a_long_line_and_a_missing_file),
		T(agent_config_example_is_good_and_complete),
		T(credentials_come_from_a_profile),
		T(credentials_come_from_the_environment),
		cmocka_unit_test(clock_map_is_one_offset_per_epoch),
		cmocka_unit_test(
			clock_map_opens_an_epoch_when_the_clock_steps_forward),
		cmocka_unit_test(clock_map_leaves_what_is_older_than_a_step),
		cmocka_unit_test(clock_map_never_goes_back),
		cmocka_unit_test(
			clock_map_says_how_far_off_it_is_after_a_step_back),
		cmocka_unit_test(histogram_is_close_to_the_true_percentile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
