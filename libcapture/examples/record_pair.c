/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A camera and a slower thermal camera into one Matroska file of two tracks:
 * each thermal frame is shown with the camera frame that is nearest in time,
 * by the drivers' stamps, at most half a camera's period away.
 *
 *	cc record_pair.c -o record_pair \
 *		$(pkg-config --cflags --libs libcapture libkvsproducer)
 *	./record_pair FILE.mkv CAMERA THERMAL SECONDS
 *
 * CAMERA and THERMAL: nodes ("/dev/video0"), or "bars" and "thermal", which
 * are made up. Colours become H.264; counts stay as they are. Then `kvsctl put
 * STREAM FILE.mkv` uploads it, and `ffplay -vst 1 FILE.mkv` shows the heat.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <capture/encoder.h>
#include <capture/source.h>
#include <capture/thermal.h>
#include <kvs/recorder.h>

enum { CAMERA, THERMAL, TRACKS };
#define S_NS UINT64_C(1000000000)

static struct capture_source *sources[TRACKS];
static struct capture_encoder *encoders[TRACKS];
static struct kvs_track tracks[TRACKS];
static struct kvs_recorder *recorder;
static struct capture_packet *waiting;	/* thermal, for the camera's next */
static uint64_t unix_ns;		/* to add to CLOCK_MONOTONIC */
static uint64_t half_ns;		/* of the camera's period */
static uint64_t camera_ns, paired_ns;	/* the last ones */
static unsigned long written[TRACKS], unpaired;

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	(void)clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * S_NS + (uint64_t)t.tv_nsec;
}

/* Copies the packet's bytes and gives it back to its encoder. */
static int put(uint32_t track, struct capture_packet *p, uint64_t shown_ns)
{
	int r = kvs_recorder_put_frame(recorder, &(struct kvs_frame){
		.track = track, .data = p->data, .bytes = p->bytes,
		.time_ns = unix_ns + shown_ns,
		.key = p->flags & CAPTURE_PACKET_KEY,
		.raw_stamp_ns = p->stamp_ns, .raw_clock = CLOCK_MONOTONIC,
	});

	written[track] += r == 0;
	(void)capture_packet_unref(p);
	return r == -EAGAIN ? 0 : r;	/* before the first key frame */
}

/* The camera went on to @now_ns: the waiting one is this one's or the last's. */
static int pair(uint64_t last_ns, uint64_t now_ns)
{
	struct capture_packet *p = waiting;
	uint64_t best_ns;

	if (!p || p->stamp_ns > now_ns)
		return 0;
	waiting = NULL;
	best_ns = now_ns - p->stamp_ns <= half_ns ? now_ns : last_ns;
	if ((best_ns == last_ns && p->stamp_ns - last_ns > half_ns) ||
	    best_ns <= paired_ns) {	/* the camera lost its partner */
		unpaired++;
		(void)capture_packet_unref(p);
		return 0;
	}
	paired_ns = best_ns;
	return put(THERMAL, p, best_ns);
}

static int take(uint32_t track, struct capture_packet *p)
{
	uint64_t last_ns = camera_ns;
	int r;

	if (track == THERMAL) {
		unpaired += waiting != NULL;
		(void)capture_packet_unref(waiting);
		waiting = p;
		return 0;
	}
	camera_ns = p->stamp_ns;
	r = put(CAMERA, p, camera_ns);
	return r == 0 ? pair(last_ns, camera_ns) : r;
}

static int turn(uint32_t track)
{
	struct capture_frame *frame;
	struct capture_packet *packet;
	int r = capture_source_dequeue(sources[track], 0, &frame);

	if (r < 0)
		return r == -EAGAIN ? 0 : r;
	r = frame->clock == CAPTURE_CLOCK_MONOTONIC ?
		    capture_encoder_submit(encoders[track], frame) : -EPROTO;
	(void)capture_frame_unref(frame);
	while (r == 0) {
		r = capture_encoder_receive(encoders[track], 0, &packet);
		if (r == 0)
			r = take(track, packet);
	}
	return r == -EAGAIN ? 0 : r;	/* inside, or no room: left out */
}

static int open_track(uint32_t i, const char *path)
{
	static const uint32_t fourccs[TRACKS] = { CAPTURE_FORMAT_YU12,
						  CAPTURE_FORMAT_Y16 };
	int made_up = strcmp(path, i ? "thermal" : "bars") == 0;
	struct capture_source_config s = {
		.kind = made_up ? CAPTURE_SOURCE_SYNTHETIC : CAPTURE_SOURCE_V4L2,
		.path = path, .fourccs = &fourccs[i], .fourcc_count = 1,
	};
	struct capture_encoder_config e;
	struct kvs_track *t = &tracks[i];
	int r = capture_source_open(NULL, &s, &sources[i]);

	if (r < 0)
		return r;
	capture_encoder_config_init(&e);
	e.source = capture_source_format(sources[i]);
	e.codec = i ? capture_thermal_codec(e.source) : CAPTURE_FORMAT_H264;
	e.controls.gop_frames = 30;
	r = capture_encoder_open(NULL, &e, &encoders[i]);
	if (r < 0)
		return r;
	*t = (struct kvs_track){ .kind = KVS_TRACK_VIDEO,
				 .name = i ? "thermal" : "camera",
				 .codec_id = "V_MPEG4/ISO/AVC",
				 .payload = KVS_PAYLOAD_H264_ANNEXB,
				 .width = e.source->width,
				 .height = e.source->height };
	if (i == THERMAL) {	/* Matroska's names: capture/thermal.h */
		t->payload = KVS_PAYLOAD_OPAQUE;
		t->codec_id = e.codec == CAPTURE_FORMAT_FFV1 ?
				      "V_FFV1" : "V_UNCOMPRESSED";
		t->fourcc = e.codec == CAPTURE_FORMAT_FFV1 ?
				    0 : CAPTURE_THERMAL_COLOUR_SPACE;
		r = capture_encoder_codec_private(encoders[i],
						  &t->codec_private,
						  &t->codec_private_bytes);
	}
	return r < 0 ? r : capture_source_start(sources[i]);
}

static int record(int fd, uint64_t seconds)
{
	struct kvs_recorder_config c = { .tracks = tracks, .fd = fd,
					 .track_count = TRACKS };
	const struct capture_format *f = capture_source_format(sources[CAMERA]);
	uint64_t end_ns = clock_ns(CLOCK_MONOTONIC) + seconds * S_NS;
	struct pollfd fds[TRACKS] = {
		{ .fd = capture_source_fd(sources[CAMERA]), .events = POLLIN },
		{ .fd = capture_source_fd(sources[THERMAL]), .events = POLLIN },
	};
	int r = kvs_recorder_new(&c, &recorder);

	unix_ns = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC);
	half_ns = S_NS / 60;
	if (f->rate_num)
		half_ns = S_NS * f->rate_den / f->rate_num / 2;
	while (r == 0 && clock_ns(CLOCK_MONOTONIC) < end_ns) {
		if (poll(fds, TRACKS, 1000) == 0)
			r = -ETIMEDOUT;
		for (uint32_t i = 0; r == 0 && i < TRACKS; i++)
			r = turn(i);
	}
	return r == 0 ? kvs_recorder_finish(recorder) : r;
}

int main(int argc, char **argv)
{
	int fd = argc == 5 ? open(argv[1], O_CREAT | O_WRONLY | O_TRUNC, 0644)
			   : -1;
	int r = fd < 0 ? -errno : 0;

	if (argc != 5) {
		fprintf(stderr, "record_pair FILE CAMERA THERMAL SECONDS\n");
		return 2;
	}
	for (uint32_t i = 0; r == 0 && i < TRACKS; i++)
		r = open_track(i, argv[2 + i]);
	if (r == 0)
		r = record(fd, strtoul(argv[4], NULL, 10));
	printf("camera %lu, thermal %lu, without a partner %lu%s%s\n",
	       written[CAMERA], written[THERMAL], unpaired, r ? ": " : "",
	       r ? strerror(-r) : "");
	(void)capture_packet_unref(waiting);
	(void)kvs_recorder_free(recorder);
	for (uint32_t i = 0; i < TRACKS; i++) {
		if (encoders[i]) /* before its source: it holds frames */
			(void)capture_encoder_close(encoders[i]);
		(void)capture_source_close(sources[i]);
	}
	return r < 0 || (fd >= 0 && close(fd) < 0);
}
