/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU time of framing: core/fragmenter.h with proto/mkv_writer.h under it, as
 * the producer calls them for each frame.
 *
 *	bench_framing sizes BYTES COUNT	    COUNT frames of BYTES each
 *	bench_framing table FILE.mp4	    the file's frames, without reading
 *	bench_framing file FILE.mp4 [OUT]   read, frame (and write) the file
 *
 * What is in it: check, queue, order, cut, cluster and block heads, and the
 * list of places {head, payload} that goes on the wire. What is not: copying
 * the payload into the retransmission store, HTTP chunks, TLS.
 * Prints one JSON object; CPU is user + system of this process.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/parse.h"
#include "bench/mp4_table.h"
#include "core/fragmenter.h"

#define EPOCH_NS (1700000000ull * NS_PER_S)
#define FRAME_NS (NS_PER_S / 30)
#define KEY_EVERY 60u
#define READ_BYTES (256u << 10)

struct framing {
	struct fragmenter *fragmenter;
	uint64_t now_ns;
	uint64_t frames;
	uint64_t fragments;
	uint64_t head_bytes;
	uint64_t bytes;
	int out_fd;		/* or -1 */
};

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static int framing_init(struct framing *f, const uint8_t *avcc, size_t len,
			uint32_t width, uint32_t height)
{
	const bool later = false;
	struct mkv_track track = {
		.type = MKV_TRACK_VIDEO,
		.codec_id = "V_MPEG4/ISO/AVC",
		.codec_private = avcc,
		.codec_private_bytes = len,
		.width = width,
		.height = height,
	};
	struct fragmenter_config config = {
		.tracks = &track,
		.private_later = &later,
		.track_count = 1,
		.fragment_ms = FRAGMENT_MS_DEFAULT,
		.interleave_ms = INTERLEAVE_MS_DEFAULT,
	};

	memset(f, 0, sizeof(*f));
	f->out_fd = -1;
	return fragmenter_new(&config, &f->fragmenter);
}

static int put_session_header(struct framing *f, const struct retain_fragment *h)
{
	struct buf head;
	int r;

	buf_init(&head, SESSION_HEADER_BYTES_MAX);
	r = fragmenter_header(f->fragmenter, h->setup, h->tracks, NULL, &head);
	if (r == 0 && f->out_fd >= 0 &&
	    write(f->out_fd, buf_head(&head), buf_len(&head)) < 0)
		r = -errno;
	f->head_bytes += buf_len(&head);
	buf_fini(&head);
	return r;
}

/* One frame in; what the fragmenter lets go comes out as places. */
static int frame_one(struct framing *f, uint64_t time_ns, bool key,
		     const uint8_t *payload, size_t bytes)
{
	struct fragmenter_frame frame = {
		.key = key,
		.time_ns = time_ns,
		.bytes = bytes,
		.held = 1 + f->frames,
	};
	struct fragmenter_block block;
	int r;

	r = fragmenter_check(f->fragmenter, 0, key, time_ns, bytes);
	if (r < 0)
		return r;
	f->now_ns += FRAME_NS;
	fragmenter_put(f->fragmenter, &frame, f->now_ns);
	while (fragmenter_next(f->fragmenter, f->now_ns, &block)) {
		struct iovec parts[2] = {
			{ block.header, block.header_bytes },
			{ (void *)(uintptr_t)payload, bytes },
		};

		if (block.drop)
			return -EPROTO;
		f->fragments += block.opens;
		if (f->fragments == 1 && block.opens) {
			r = put_session_header(f, &block.head);
			if (r < 0)
				return r;
		}
		f->frames++;
		f->head_bytes += parts[0].iov_len;
		f->bytes += parts[1].iov_len;
		if (f->out_fd >= 0 && writev(f->out_fd, parts, 2) < 0)
			return -errno;
	}
	return 0;
}

static void report(const struct framing *f, uint64_t ns)
{
	printf("{\"frames\": %llu, \"fragments\": %llu, \"payload_bytes\": %llu, "
	       "\"head_bytes\": %llu, \"cpu_ns\": %llu}\n",
	       (unsigned long long)f->frames, (unsigned long long)f->fragments,
	       (unsigned long long)f->bytes, (unsigned long long)f->head_bytes,
	       (unsigned long long)ns);
}

static int run_sizes(uint64_t bytes, uint64_t count)
{
	/* Only its address is used: that is the claim under test. */
	uint8_t *payload = malloc(bytes);
	struct framing f;
	uint64_t start;
	int r;

	if (!payload)
		return -ENOMEM;
	r = framing_init(&f, NULL, 0, 640, 360);
	start = cpu_ns();
	for (uint64_t i = 0; i < count && r == 0; i++)
		r = frame_one(&f, EPOCH_NS + i * FRAME_NS, i % KEY_EVERY == 0,
			      payload, bytes);
	start = cpu_ns() - start;
	if (r == 0)
		report(&f, start);
	(void)fragmenter_free(f.fragmenter);
	free(payload);
	return r;
}

/* All samples of the table, payloads at an address that nobody looks at. */
static int run_table(const struct mp4_table *t)
{
	static const uint8_t nowhere[1];
	struct framing f;
	uint64_t start;
	int r;

	r = framing_init(&f, t->avcc, t->avcc_bytes, t->width, t->height);
	start = cpu_ns();
	for (size_t i = 0; i < t->count && r == 0; i++)
		r = frame_one(&f, EPOCH_NS + t->samples[i].time_ns,
			      t->samples[i].key, nowhere,
			      t->samples[i].bytes);
	if (r == 0)
		report(&f, cpu_ns() - start);
	(void)fragmenter_free(f.fragmenter);
	return r;
}

/* The file front to back in large reads, as filesrc does. */
struct window {
	int fd;
	uint8_t *bytes;
	size_t size;
	uint64_t at;
	size_t len;
};

static const uint8_t *window_get(struct window *w, const struct mp4_sample *s)
{
	ssize_t n;

	if (s->offset >= w->at && s->offset + s->bytes <= w->at + w->len)
		return w->bytes + (s->offset - w->at);
	if (s->bytes > w->size)
		return NULL;
	n = pread(w->fd, w->bytes, w->size, (off_t)s->offset);
	if (n < (ssize_t)s->bytes)
		return NULL;
	w->at = s->offset;
	w->len = (size_t)n;
	return w->bytes;
}

static int frame_file(struct framing *f, const struct mp4_table *t, int fd)
{
	struct window w = { .fd = fd, .size = READ_BYTES };
	int r = 0;

	for (size_t i = 0; i < t->count; i++)
		w.size = MAX(w.size, t->samples[i].bytes);
	w.bytes = malloc(w.size);
	if (!w.bytes)
		return -ENOMEM;
	for (size_t i = 0; i < t->count && r == 0; i++) {
		const struct mp4_sample *s = &t->samples[i];
		const uint8_t *payload = window_get(&w, s);

		r = payload ? frame_one(f, EPOCH_NS + s->time_ns, s->key,
					payload, s->bytes) : -EIO;
	}
	free(w.bytes);
	return r;
}

static int run_file(int fd, const struct mp4_table *t, const char *out)
{
	struct framing f;
	int r;

	r = framing_init(&f, t->avcc, t->avcc_bytes, t->width, t->height);
	if (r == 0 && out) {
		f.out_fd = open(out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
				0600);
		r = f.out_fd < 0 ? -errno : 0;
	}
	if (r == 0)
		r = frame_file(&f, t, fd);
	if (r == 0)
		report(&f, cpu_ns());
	(void)fragmenter_free(f.fragmenter);
	return r;
}

static int with_file(const char *mode, const char *path, const char *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct mp4_table t;
	int r;

	if (fd < 0)
		return -errno;
	r = mp4_table_read(fd, &t);
	if (r == 0) {
		r = strcmp(mode, "table") == 0 ? run_table(&t) :
						 run_file(fd, &t, out);
		mp4_table_fini(&t);
	}
	(void)close(fd);
	return r;
}

int main(int argc, char **argv)
{
	uint64_t bytes;
	uint64_t count;
	int r = -EINVAL;

	if (argc == 4 && strcmp(argv[1], "sizes") == 0 &&
	    parse_u64(argv[2], strlen(argv[2]), UINT32_MAX, &bytes) == 0 &&
	    parse_u64(argv[3], strlen(argv[3]), UINT32_MAX, &count) == 0)
		r = run_sizes(bytes, count);
	else if (argc >= 3 && (strcmp(argv[1], "file") == 0 ||
			       strcmp(argv[1], "table") == 0))
		r = with_file(argv[1], argv[2], argc > 3 ? argv[3] : NULL);
	if (r < 0) {
		fprintf(stderr, "bench_framing: %s\n", strerror(-r));
		return 1;
	}
	return 0;
}
