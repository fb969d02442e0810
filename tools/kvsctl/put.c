/* SPDX-License-Identifier: Apache-2.0 */
/*
 * put: a Matroska file through libkvsproducer.
 *
 * The main thread reads and puts frames; put_frame() waits while the
 * producer's store is full. A second thread draws the progress and watches:
 * when the service refuses for good, or nothing was acknowledged for
 * --timeout, it ends the producer, and with it a put_frame() that waits.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <kvs/producer.h>

#include "base/buf.h"
#include "base/parse.h"
#include "base/sys.h"
#include "kvsctl/ctl.h"
#include "kvsctl/output.h"
#include "kvsctl/service.h"
#include "kvsctl/text.h"
#include "kvsctl/tracks.h"
#include "proto/mkv_reader.h"

#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull
/* Timecodes after 2001-09-09 are dates: no film is 31 years long. */
#define DATE_NS_MIN 1000000000000000000ull

enum stamps { STAMPS_AUTO, STAMPS_NOW, STAMPS_FILE, STAMPS_TIME };

struct put {
	struct ctl *ctl;
	const char *stream;
	const char *path;
	bool realtime;
	bool create;
	uint32_t retention_hours;
	uint64_t fragment_ms;
	enum stamps stamps;
	uint64_t start_ms;	/* STAMPS_TIME */

	int fd;
	bool opened;
	uint64_t total_bytes;	/* 0 = unknown */
	struct mkv_reader reader;
	struct tracks tracks;
	struct buf frame;
	struct kvs_producer *producer;

	bool started;		/* the clock is set */
	bool accepted;		/* by a frame that was taken */
	uint64_t first_ns;	/* its time in the file */
	int64_t shift_ns;	/* from file times to producer times */
	uint64_t began_ns;	/* CLOCK_MONOTONIC of the first frame */
	uint64_t decode_ns[MKV_TRACKS_MAX]; /* file time, 0 = none */
	uint64_t frames;
	uint64_t skipped;	/* before the first key frame, or too late */
	bool truncated;		/* the file ends inside an element */
	int code;		/* why the reader stopped, explained */

	/* shared with the producer's thread and the watcher */
	_Atomic uint64_t read_bytes;
	_Atomic uint64_t moved_ns;	/* CLOCK_MONOTONIC: last sign of life */
	_Atomic uint64_t persisted;
	_Atomic uint64_t errors;
	_Atomic int refused;		/* an exit code, once it is final */
	_Atomic bool timed_out;
	_Atomic bool done;
};

static uint64_t monotonic_ns(void)
{
	return sys_now_ns(sys_posix(), CLOCK_MONOTONIC);
}

/* --- what the producer says -------------------------------------------- */

/* Does trying again help? Limits pass, wrong keys and names do not. */
static int final_code(const struct kvs_event *e)
{
	if (e->text && strstr(e->text, "LimitExceeded"))
		return CTL_OK;
	switch (e->error_id) {
	case 400:
		return CTL_REFUSED;
	case 401:
	case 403:
		return CTL_DENIED;
	case 404:
		return CTL_NOT_FOUND;
	default:
		return CTL_OK;
	}
}

static void put_event(void *ctx, const struct kvs_event *e)
{
	struct put *p = ctx;
	const char *text = e->text ? e->text : "";
	int code;

	switch (e->kind) {
	case KVS_EVENT_PERSISTED:
		p->persisted++;
		p->moved_ns = monotonic_ns();
		break;
	case KVS_EVENT_CONNECTED:
	case KVS_EVENT_BUFFERING:
	case KVS_EVENT_RECEIVED:
		p->moved_ns = monotonic_ns();
		break;
	case KVS_EVENT_ERROR_ACK:
		p->errors++;
		p->moved_ns = monotonic_ns();
		ctl_note("fragment at %llu ms refused: %d %s",
			 (unsigned long long)e->timecode_ms, e->error_id,
			 text);
		break;
	case KVS_EVENT_DROPPED:
		p->errors++;
		break;
	case KVS_EVENT_DISCONNECTED:
		if (!p->done)
			ctl_note("disconnected: %s; next try in %llu ms", text,
				 (unsigned long long)e->delay_ms);
		break;
	case KVS_EVENT_REFUSED:
		code = final_code(e);
		ctl_note("the service refuses the upload: %s", text);
		if (code != CTL_OK)
			p->refused = code;
		break;
	}
}

/* --- the watcher ------------------------------------------------------- */

static void *watch(void *arg)
{
	const struct timespec pause = { .tv_nsec = CTL_PROGRESS_MS *
						   (long)NS_PER_MS };
	struct put *p = arg;
	struct kvs_producer_stats stats;
	struct progress progress;
	char what[64];

	progress_init(&progress);
	while (!p->done) {
		uint64_t now_ns = monotonic_ns();
		uint64_t moved_ns = p->moved_ns;

		/* A pipe may be silent: only what waits can be late. */
		kvs_producer_stats(p->producer, &stats);
		if (!stats.fragments_waiting)
			p->moved_ns = moved_ns = now_ns;
		(void)snprintf(what, sizeof(what), "%llu fragments stored",
			       (unsigned long long)p->persisted);
		progress_draw(&progress, p->read_bytes, p->total_bytes, what);
		if (now_ns > moved_ns + p->ctl->timeout_ms * NS_PER_MS)
			p->timed_out = true;
		if (p->refused || p->timed_out) {
			(void)kvs_producer_finish(p->producer, 0);
			break;
		}
		(void)nanosleep(&pause, NULL);
	}
	progress_end(&progress);
	return NULL;
}

/* --- from Matroska to frames ------------------------------------------- */

static int stop(struct put *p, int code)
{
	p->code = code;
	return -ECANCELED;
}

static void describe_track(const struct mkv_track *from, struct kvs_track *to)
{
	enum media_codec codec = mkv_track_codec(from);

	*to = (struct kvs_track){
		.kind = from->type == MKV_TRACK_VIDEO ? KVS_TRACK_VIDEO :
			from->type == MKV_TRACK_AUDIO ? KVS_TRACK_AUDIO :
							KVS_TRACK_DATA,
		.payload = KVS_PAYLOAD_OPAQUE,
		.codec_id = from->codec_id,
		.name = from->name[0] ? from->name : NULL,
		.codec_private = from->codec_private,
		.codec_private_bytes = from->codec_private_bytes,
		.width = from->width,
		.height = from->height,
		.sample_rate = from->rate_hz,
		.channels = from->channels,
	};
	/* Without codec private data H.26x can only be Annex B. */
	if (!from->codec_private_bytes && codec == CODEC_H264)
		to->payload = KVS_PAYLOAD_H264_ANNEXB;
	if (!from->codec_private_bytes && codec == CODEC_H265)
		to->payload = KVS_PAYLOAD_H265_ANNEXB;
}

static int start_producer(struct put *p)
{
	struct kvs_track tracks[MKV_TRACKS_MAX];
	struct kvs_producer_config config = {
		.client = service_config(p->ctl),
		.stream_name = p->stream,
		.create_stream = p->create,
		.retention_hours = p->retention_hours,
		.tracks = tracks,
		.track_count = p->tracks.count,
		.fragment_ms = p->fragment_ms,
		.when_full = KVS_FULL_WAIT,
		.event = put_event,
		.event_ctx = p,
	};
	unsigned int i;
	int r;

	for (i = 0; i < p->tracks.count; i++) {
		if (p->tracks.tracks[i].encoded)
			return stop(p, ctl_fail(CTL_LOCAL,
						"%s: track %u is compressed or "
						"encrypted by Matroska itself; "
						"remux it: ffmpeg -i IN -c "
						"copy OUT.mkv",
						p->path, i + 1));
		describe_track(&p->tracks.tracks[i], &tracks[i]);
	}
	p->moved_ns = monotonic_ns();
	r = kvs_producer_new(&config, &p->producer);
	if (r == -EINVAL)
		return stop(p, ctl_fail(CTL_LOCAL, "%s: %s", p->path,
					kvs_config_error()));
	if (r < 0)
		return stop(p, ctl_fail(CTL_LOCAL, "cannot upload: %s",
					strerror(-r)));
	return 0;
}

static int put_document(void *ctx, const struct mkv_document *doc)
{
	struct put *p = ctx;

	if (p->producer) {
		if (tracks_equal(&p->tracks, doc))
			return 0;
		return stop(p, ctl_fail(CTL_LOCAL,
					"%s: the tracks change in the middle; "
					"upload the parts one by one",
					p->path));
	}
	if (tracks_keep(&p->tracks, doc) < 0)
		return stop(p, ctl_fail(CTL_LOCAL, "out of memory"));
	return start_producer(p);
}

static int put_frame_begin(void *ctx, const struct mkv_frame *frame)
{
	struct put *p = ctx;

	buf_reset(&p->frame);
	if (frame->payload_bytes <= CTL_FRAME_BYTES_MAX)
		return 0;
	return stop(p, ctl_fail(CTL_LOCAL,
				"%s: a frame is larger than a fragment may "
				"be, 50 MB",
				p->path));
}

static int put_payload(void *ctx, const uint8_t *bytes, size_t len)
{
	struct put *p = ctx;

	if (buf_add(&p->frame, bytes, len) == 0)
		return 0;
	return stop(p, ctl_fail(CTL_LOCAL, "out of memory"));
}

static void start_clock(struct put *p, uint64_t file_ns)
{
	uint64_t now_ns = sys_now_ns(sys_posix(), CLOCK_REALTIME);
	enum stamps stamps = p->stamps;

	if (stamps == STAMPS_AUTO)
		stamps = file_ns >= DATE_NS_MIN ? STAMPS_FILE : STAMPS_NOW;
	if (stamps == STAMPS_NOW)
		p->shift_ns = (int64_t)(now_ns - file_ns);
	else if (stamps == STAMPS_TIME)
		p->shift_ns = (int64_t)(p->start_ms * NS_PER_MS - file_ns);
	p->first_ns = file_ns;
	p->began_ns = monotonic_ns();
	p->started = true;
}

static void pace(const struct put *p, uint64_t file_ns)
{
	uint64_t due_ns = p->began_ns + (file_ns - p->first_ns);
	const struct timespec until = {
		.tv_sec = (time_t)(due_ns / NS_PER_S),
		.tv_nsec = (long)(due_ns % NS_PER_S),
	};

	if (file_ns <= p->first_ns)
		return;
	while (!p->refused && !p->timed_out &&
	       clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) ==
		       EINTR)
		continue;
}

static int explain_frame(struct put *p, const struct mkv_frame *frame, int r)
{
	unsigned int track = frame->track_index;

	switch (r) {
	case -EPIPE: /* the watcher ended it; put() says why */
		return stop(p, CTL_OK);
	case -ERANGE: /* of a track that is far behind the others */
		break;
	case -EAGAIN: /* before all media: not what the times start with */
		p->started = p->accepted;
		break;
	case -EBADMSG:
		return stop(p, ctl_fail(CTL_LOCAL,
					"%s: track %u is neither Annex B with "
					"parameter sets nor described by "
					"codec private data",
					p->path, track + 1));
	default:
		return stop(p, ctl_fail(CTL_LOCAL, "%s: frame %llu: %s",
					p->path,
					(unsigned long long)p->frames,
					strerror(-r)));
	}
	p->skipped++;
	return 0;
}

static int put_frame_end(void *ctx, const struct mkv_frame *frame)
{
	struct put *p = ctx;
	const struct mkv_track *track = &p->tracks.tracks[frame->track_index];
	struct kvs_frame out = {
		.track = frame->track_index,
		.data = buf_head(&p->frame),
		.bytes = buf_len(&p->frame),
		.key = frame->key || track->type != MKV_TRACK_VIDEO,
	};
	uint64_t *decode_ns = &p->decode_ns[frame->track_index];
	int r;

	if (!out.bytes)
		return 0;
	if (!p->started)
		start_clock(p, frame->time_ns);
	if (p->realtime)
		pace(p, frame->time_ns);
	out.time_ns = (uint64_t)((int64_t)frame->time_ns + p->shift_ns);
	/* Matroska has no decode times, but its frames are in that order. */
	*decode_ns = MAX(*decode_ns, frame->time_ns);
	out.decode_ns = (uint64_t)((int64_t)*decode_ns + p->shift_ns);
	out.duration_ns = track->default_duration_ns;
	if (frame->duration_ticks)
		out.duration_ns = frame->duration_ticks *
				  p->tracks.timecode_scale_ns /
				  frame->lace_count;
	p->frames++;
	r = kvs_producer_put_frame(p->producer, &out);
	if (r < 0)
		return explain_frame(p, frame, r);
	p->accepted = true;
	/* A producer that takes frames is not stuck. */
	p->moved_ns = monotonic_ns();
	return 0;
}

static const struct mkv_reader_ops put_ops = {
	.document = put_document,
	.frame_begin = put_frame_begin,
	.frame_payload = put_payload,
	.frame_end = put_frame_end,
};

/* --- the run ----------------------------------------------------------- */

static int not_matroska(struct put *p)
{
	return ctl_fail(CTL_LOCAL,
			"%s: not Matroska, or damaged at byte %llu: %s; "
			"convert it: ffmpeg -i IN -c copy OUT.mkv",
			p->path, (unsigned long long)p->reader.offset,
			mkv_error_name(p->reader.error));
}

/* The watcher starts with the producer, which starts with the header. */
static int read_all(struct put *p, pthread_t *watcher, bool *ret_watching)
{
	uint8_t *bytes = malloc(CTL_READ_BYTES);
	bool watching = false;
	ssize_t n = 0;
	int r = 0;

	if (!bytes)
		return ctl_fail(CTL_LOCAL, "out of memory");
	while (r == 0) {
		size_t used;

		n = sys_posix()->read(p->fd, bytes, CTL_READ_BYTES);
		if (n <= 0)
			break;
		r = mkv_reader_feed(&p->reader, bytes, (size_t)n, &used);
		p->read_bytes += (uint64_t)n;
		if (p->producer && !watching)
			watching = pthread_create(watcher, NULL, watch, p) ==
				   0;
	}
	free(bytes);
	*ret_watching = watching;
	if (n < 0)
		return ctl_fail(CTL_LOCAL, "%s: %s", p->path,
				strerror((int)-n));
	if (r == 0)
		r = mkv_reader_finish(&p->reader);
	if (r < 0 && p->reader.error == MKV_ERR_CALLBACK)
		return p->code;
	p->truncated = r < 0 && p->producer &&
		       p->reader.error == MKV_ERR_TRUNCATED;
	return r < 0 && !p->truncated ? not_matroska(p) : CTL_OK;
}

static void report(const struct put *p, const struct kvs_producer_stats *s,
		   int left, bool json)
{
	char size[TEXT_SIZE_CHARS];
	json_t *out;

	if (json) {
		out = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:i}",
				"Frames", (json_int_t)p->frames, "Fragments",
				(json_int_t)s->fragments_sealed, "Bytes",
				(json_int_t)s->bytes_sent, "Persisted",
				(json_int_t)s->fragments_persisted, "Received",
				(json_int_t)s->fragments_received, "Errors",
				(json_int_t)p->errors, "Unacknowledged", left);
		(void)output_json(out);
		json_decref(out);
		return;
	}
	text_size(s->bytes_sent, size);
	ctl_note("%llu frames, %llu fragments, %s sent; %llu persisted",
		 (unsigned long long)p->frames,
		 (unsigned long long)s->fragments_sealed, size,
		 (unsigned long long)s->fragments_persisted);
}

/* Waits for the acknowledgements as long as some come. */
static int finish(struct put *p)
{
	int left = kvs_producer_finish(p->producer, 0);

	while (left > 0 && !p->refused && !p->timed_out)
		left = kvs_producer_finish(p->producer, CTL_PROGRESS_MS);
	return left;
}

static int conclude(struct put *p, int code, int left)
{
	struct kvs_producer_stats stats;

	kvs_producer_stats(p->producer, &stats);
	if (code == CTL_OK)
		report(p, &stats, left, p->ctl->json);
	if (p->skipped)
		ctl_note("frames left out: %llu (before the first key frame, "
			 "or too late for their fragment)",
			 (unsigned long long)p->skipped);
	if (code != CTL_OK)
		return code;
	if (p->refused)
		return p->refused;
	if (p->timed_out)
		return ctl_fail(CTL_TIMEOUT,
				"%d fragments were not acknowledged: nothing "
				"came for %llu ms (--timeout)",
				left, (unsigned long long)p->ctl->timeout_ms);
	if (p->errors)
		return ctl_fail(CTL_REFUSED,
				"the service did not take all fragments");
	if (p->truncated)
		return ctl_fail(CTL_LOCAL,
				"%s: cut off at byte %llu; what is whole was "
				"uploaded",
				p->path, (unsigned long long)p->reader.offset);
	return CTL_OK;
}

static int upload(struct put *p)
{
	bool watching = false;
	pthread_t watcher;
	int left = 0;
	int code;

	mkv_reader_init(&p->reader, &put_ops, p, MKV_READER_MULTI);
	buf_init(&p->frame, CTL_FRAME_BYTES_MAX);
	code = read_all(p, &watcher, &watching);
	if (p->producer && code == CTL_OK)
		left = finish(p);
	p->done = true;
	if (watching)
		(void)pthread_join(watcher, NULL);
	if (p->producer)
		code = conclude(p, code, left);
	else if (code == CTL_OK)
		code = ctl_fail(CTL_LOCAL, "%s: no media in it", p->path);
	p->producer = kvs_producer_free(p->producer);
	mkv_reader_fini(&p->reader);
	tracks_fini(&p->tracks);
	buf_fini(&p->frame);
	return code;
}

static int open_input(struct put *p)
{
	struct stat st;

	if (strcmp(p->path, "-") == 0) {
		p->path = "stdin";
		p->fd = STDIN_FILENO;
		return CTL_OK;
	}
	p->fd = sys_posix()->openat(AT_FDCWD, p->path, O_RDONLY | O_CLOEXEC,
				    0);
	if (p->fd < 0)
		return ctl_fail(CTL_LOCAL, "%s: %s", p->path,
				strerror(-p->fd));
	p->opened = true;
	if (sys_posix()->fstat(p->fd, &st) == 0 && S_ISREG(st.st_mode))
		p->total_bytes = (uint64_t)st.st_size;
	return CTL_OK;
}

/* A stream that is not there is better found before the file is read. */
static int check_stream(struct put *p)
{
	struct kvs_reply reply;
	json_t *info = NULL;
	int code;

	if (!p->create) {
		code = service_describe(p->ctl, p->stream, &info);
		json_decref(info);
		return code;
	}
	code = service_try(p->ctl, NULL, "/describeStream",
			   json_pack("{s:s}", "StreamName", p->stream), NULL,
			   &reply);
	if (code == CTL_NOT_FOUND || code == CTL_OK)
		return CTL_OK;
	return reply.status ? service_complain(&reply, p->stream) : code;
}

struct put_options {
	const char *retention;
	const char *timestamps;
	const char *fragment;
};

static int take_options(struct put *p, const struct put_options *o)
{
	uint64_t now_ms = sys_now_ns(sys_posix(), CLOCK_REALTIME) / NS_PER_MS;
	uint64_t ns = 0;

	p->retention_hours = 24;
	if (o->retention &&
	    text_retention(o->retention, &p->retention_hours) < 0)
		return ctl_fail(CTL_USAGE,
				"--retention '%s' is not whole hours or days, "
				"like 24h or 7d, up to 10 years",
				o->retention);
	if (o->retention && !p->create)
		return ctl_fail(CTL_USAGE, "--retention goes with --create");
	if (o->fragment &&
	    (parse_duration_ns(o->fragment, &ns) < 0 || ns < NS_PER_S ||
	     ns > 10 * NS_PER_S))
		return ctl_fail(CTL_USAGE,
				"--fragment '%s' is not between 1s and 10s",
				o->fragment);
	p->fragment_ms = ns / NS_PER_MS;
	if (!o->timestamps)
		return CTL_OK;
	p->stamps = STAMPS_TIME;
	if (strcmp(o->timestamps, "now") == 0)
		p->stamps = STAMPS_NOW;
	else if (strcmp(o->timestamps, "file") == 0)
		p->stamps = STAMPS_FILE;
	else if (text_time(o->timestamps, now_ms, &p->start_ms) < 0)
		return ctl_fail(CTL_USAGE,
				"--timestamps '%s' is not 'now', 'file' or a "
				"time; see: kvsctl help times",
				o->timestamps);
	return CTL_OK;
}

int put_command(struct ctl *ctl, int argc, char **argv)
{
	struct put_options o = { 0 };
	struct put *p = calloc(1, sizeof(*p));
	bool realtime = false;
	bool create = false;
	const struct arg_option options[] = {
		{ "create", 0, &create, NULL, NULL },
		{ "retention", 0, NULL, &o.retention, NULL },
		{ "timestamps", 0, NULL, &o.timestamps, NULL },
		{ "realtime", 0, &realtime, NULL, NULL },
		{ "fragment", 0, NULL, &o.fragment, NULL },
		{ NULL, 0, NULL, NULL, NULL },
	};
	struct args args;
	bool over;
	int code;

	if (!p)
		return ctl_fail(CTL_LOCAL, "out of memory");
	code = ctl_args(ctl, argc, argv, options, "STREAM FILE|-", 2, 2, &args,
			&over);
	if (code != CTL_OK || over) {
		free(p);
		return code;
	}
	p->ctl = ctl;
	p->stream = args.operands[0];
	p->path = args.operands[1];
	p->realtime = realtime;
	p->create = create;
	code = ctl_check_stream(p->stream);
	if (code == CTL_OK)
		code = take_options(p, &o);
	if (code == CTL_OK)
		code = open_input(p);
	if (code == CTL_OK)
		code = check_stream(p);
	service_hang_up(ctl);
	if (code == CTL_OK)
		code = upload(p);
	if (p->opened)
		(void)sys_posix()->close(p->fd);
	free(p);
	return code;
}
