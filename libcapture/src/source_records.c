/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of capture/record.h from a byte stream or in datagrams. A datagram
 * is read into its frame; out of a stream a record is found in the parser's
 * buffer first and copied, once: it may begin anywhere.
 *
 * The descriptor is an epoll set of the port (of a timer for SPI, which cannot
 * be waited for) and of an eventfd that is set while a record is ready in the
 * parser, which the port knows nothing of.
 */
#include "src/source_backend.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include "base/sys.h"
#include "src/frame.h"
#include "src/frame_pool.h"
#include "src/limits.h"
#include "src/queue.h"
#include "src/record.h"
#include "src/records_port.h"

#define NS_PER_S UINT64_C(1000000000)
/* Bursts of an SPI device per second when no rate is asked for. */
#define SPI_RATE 100u
/* Reads of one dequeue: a flood of garbage must not hold the loop. */
#define READS_MAX 64

struct records {
	struct capture_source base;
	struct records_port port;
	int epoll_fd;
	int event_fd;
	int timer_fd; /* -EBADF: not SPI */
	bool on;
	bool failed;
	bool signalled; /* event_fd is readable */
	struct frame_pool *pool;
	size_t payload_max;
	uint8_t *buffer; /* of @parser; NULL: UDP */
	struct record_parser parser;
	bool ready; /* @view is the next record */
	struct record_view view;
	uint64_t read_ns; /* when the parser's last byte came */
	struct record_gap gap;
	uint32_t epoch;
	struct capture_source_stats stats;
};

static const struct source_ops records_ops;

static struct records *self(struct capture_source *source)
{
	return container_of(source, struct records, base);
}

static const struct records *self_const(const struct capture_source *source)
{
	return container_of(source, const struct records, base);
}

/* --- opening ------------------------------------------------------------ */

static int check_config(const struct capture_source_config *config)
{
	size_t i;

	if (!config->path)
		return -EINVAL;
	if (config->frame_samples > CAPTURE_RECORD_PAYLOAD_MAX)
		return -ERANGE;
	if (config->rate_num > CAPTURE_RECORDS_POLL_MAX ||
	    config->rate_den > CAPTURE_RECORDS_POLL_MAX)
		return -ERANGE;
	for (i = 0; i < config->fourcc_count; i++) {
		if (config->fourccs[i] == CAPTURE_FORMAT_RECORD)
			return 0;
	}
	return config->fourcc_count ? -EPROTONOSUPPORT : 0;
}

static int watch(const struct records *s, int fd)
{
	struct epoll_event event = {.events = EPOLLIN};

	return s->base.sys->epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static int setup_timer(struct records *s)
{
	int r = s->base.sys->timerfd_create(CLOCK_MONOTONIC,
					    TFD_NONBLOCK | TFD_CLOEXEC);

	if (r < 0)
		return r;
	s->timer_fd = r;
	return watch(s, s->timer_fd);
}

static int setup_fds(struct records *s)
{
	const struct sys_ops *sys = s->base.sys;
	int r;

	r = sys->eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (r < 0)
		return r;
	s->event_fd = r;
	r = sys->epoll_create1(EPOLL_CLOEXEC);
	if (r < 0)
		return r;
	s->epoll_fd = r;
	r = watch(s, s->event_fd);
	if (r < 0)
		return r;
	switch (s->port.kind) {
	case RECORDS_SPI:
		return setup_timer(s);
	case RECORDS_FILE:
		return 0; /* always readable: start() sets the eventfd */
	case RECORDS_TTY:
	case RECORDS_UDP:
	case RECORDS_PIPE:
		break;
	}
	return watch(s, s->port.fd);
}

static int setup_parser(struct records *s)
{
	if (s->port.kind == RECORDS_UDP)
		return 0;
	s->buffer = malloc(RECORD_PARSER_BYTES(s->payload_max));
	if (!s->buffer)
		return -ENOMEM;
	record_parser_init(&s->parser, s->buffer, s->payload_max);
	return 0;
}

static int records_setup(struct records *s,
			 const struct capture_source_config *config)
{
	struct capture_format *f = &s->base.format;
	int r;

	r = check_config(config);
	if (r < 0)
		return r;
	r = records_port_open(s->base.sys, config->path, &s->port);
	if (r < 0)
		return r;
	s->payload_max = config->frame_samples ? config->frame_samples
					       : CAPTURE_RECORDS_PAYLOAD;
	f->fourcc = CAPTURE_FORMAT_RECORD;
	f->media = CAPTURE_MEDIA_RECORD;
	f->plane_count = 1;
	f->rate_num = config->rate_num;
	f->rate_den = config->rate_den;
	/* One more than a record: a longer datagram is then seen as such. */
	f->size[0] = (uint32_t)(CAPTURE_RECORD_HEADER_BYTES_MAX +
				s->payload_max + 1);
	r = setup_fds(s);
	if (r == 0)
		r = setup_parser(s);
	if (r < 0)
		return r;
	return frame_pool_new(s->base.sys, f, config, &s->pool);
}

static void records_destroy(struct records *s)
{
	frame_pool_close(s->pool);
	sys_close(s->base.sys, &s->epoll_fd);
	sys_close(s->base.sys, &s->event_fd);
	sys_close(s->base.sys, &s->timer_fd);
	records_port_close(s->base.sys, &s->port);
	free(s->buffer);
	free(s);
}

int source_records_open(const struct sys_ops *sys,
			const struct capture_source_config *config,
			struct capture_source **ret_source)
{
	struct records *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->base.ops = &records_ops;
	s->base.sys = sys;
	s->port.fd = -EBADF;
	s->epoll_fd = -EBADF;
	s->event_fd = -EBADF;
	s->timer_fd = -EBADF;
	r = records_setup(s, config);
	if (r < 0) {
		records_destroy(s);
		return r;
	}
	*ret_source = &s->base;
	return 0;
}

static void records_close(struct capture_source *source)
{
	records_destroy(self(source));
}

/* --- on and off --------------------------------------------------------- */

/* The eventfd is readable while a record is ready; a hint, best effort. */
static void signal_ready(struct records *s, bool ready)
{
	uint64_t value = 1;
	ssize_t n;

	if (ready == s->signalled)
		return;
	if (ready)
		n = s->base.sys->write(s->event_fd, &value, sizeof(value));
	else
		n = s->base.sys->read(s->event_fd, &value, sizeof(value));
	if (n > 0)
		s->signalled = ready;
}

static int set_timer(struct records *s, bool on)
{
	uint64_t num = s->base.format.rate_num;
	uint64_t den = s->base.format.rate_den;
	struct itimerspec every = {0};
	uint64_t ns;

	if (s->timer_fd < 0)
		return 0;
	ns = num ? NS_PER_S * den / num : NS_PER_S / SPI_RATE;
	if (on) {
		every.it_interval.tv_sec = (time_t)(ns / NS_PER_S);
		every.it_interval.tv_nsec = (long)(ns % NS_PER_S);
		every.it_value = every.it_interval;
	}
	return s->base.sys->timerfd_settime(s->timer_fd, 0, &every);
}

static int records_start(struct capture_source *source)
{
	struct records *s = self(source);
	int r;

	if (s->on)
		return -EBUSY;
	r = set_timer(s, true);
	if (r < 0)
		return r;
	records_port_flush(s->base.sys, &s->port);
	s->ready = false;
	s->gap.known = false;
	s->failed = false;
	s->on = true;
	signal_ready(s, s->port.kind == RECORDS_FILE);
	return 0;
}

static int records_stop(struct capture_source *source)
{
	struct records *s = self(source);

	if (!s->on)
		return 0;
	s->on = false;
	/* What comes until the next start is not what came before. */
	if (s->buffer && s->port.kind != RECORDS_FILE) {
		record_parser_reset(&s->parser);
		s->ready = false;
	}
	signal_ready(s, false);
	return set_timer(s, false);
}

/* --- frames ------------------------------------------------------------- */

static void count_gap(struct records *s, const struct capture_record *record)
{
	/* Datagrams may overtake each other; bytes of a stream cannot. */
	uint32_t window = s->port.kind == RECORDS_UDP ? CAPTURE_RECORDS_REORDER
						      : 0;
	uint64_t lost;

	if (record_count_lost(&s->gap, record->sequence, window, &lost))
		s->epoch++;
	s->stats.frames_lost += lost;
}

static void fill_in(struct records *s, struct capture_frame *frame,
		    const struct capture_record *record, size_t len,
		    uint64_t stamp_ns)
{
	count_gap(s, record);
	frame->sequence = record->sequence;
	frame->stamp_ns = stamp_ns;
	frame->clock = CAPTURE_CLOCK_MONOTONIC;
	frame->point = CAPTURE_POINT_ARRIVAL;
	frame->epoch = s->epoch;
	frame->device_hz = record->device_hz;
	frame->device_ticks = record->device_hz ? record->device_ticks : 0;
	frame->planes[0].bytesused = (uint32_t)len;
	s->stats.frames++;
}

/* A datagram: 0, -EBADMSG (no good record) or the errno of the read. */
static int take_datagram(struct records *s, struct capture_frame **ret_frame)
{
	struct capture_frame *frame = frame_pool_take(s->pool);
	struct capture_record record;
	uint8_t *to;
	size_t room;
	int n;
	int r;

	assert(frame); /* the caller looked */
	to = frame_pool_data(frame, 0);
	room = frame->planes[0].length;
	frame_begin_write(s->base.sys, frame);
	n = records_port_read(s->base.sys, &s->port, to, room);
	frame_end_write(s->base.sys, frame);
	r = n < 0 ? n : capture_record_check(to, (size_t)n, &record);
	if (r == 0 && record.payload_bytes > s->payload_max)
		r = -EBADMSG;
	if (r < 0) {
		if (n >= 0) {
			s->stats.frames_error++;
			s->stats.bytes_skipped += (uint64_t)n;
		}
		(void)capture_frame_unref(frame);
		return r;
	}
	fill_in(s, frame, &record, (size_t)n,
		sys_now_ns(s->base.sys, CLOCK_MONOTONIC));
	*ret_frame = frame;
	return 0;
}

/* Looks for the next record in what was read: is there one? */
static bool look(struct records *s)
{
	if (!s->ready)
		s->ready = record_parser_next(&s->parser, &s->view) == 1;
	return s->ready;
}

static int read_more(struct records *s)
{
	uint64_t expired;
	uint8_t *to;
	size_t room;
	int n;

	to = record_parser_room(&s->parser, &room);
	if (s->timer_fd >= 0 &&
	    s->base.sys->read(s->timer_fd, &expired, sizeof(expired)) < 0)
		return -EAGAIN; /* it is not yet time for a burst */
	n = records_port_read(s->base.sys, &s->port, to, room);
	if (n < 0)
		return n;
	s->read_ns = sys_now_ns(s->base.sys, CLOCK_MONOTONIC);
	record_parser_filled(&s->parser, (size_t)n);
	return 0;
}

/* A record of a stream: 0, -EBADMSG (none yet: read on) or an errno. */
static int take_record(struct records *s, struct capture_frame **ret_frame)
{
	struct capture_frame *frame;
	int r;

	if (!look(s)) {
		r = read_more(s);
		if (r < 0)
			return r;
		if (!look(s))
			return -EBADMSG;
	}
	frame = frame_pool_take(s->pool);
	assert(frame); /* the caller looked */
	frame_begin_write(s->base.sys, frame);
	memcpy(frame_pool_data(frame, 0), s->view.bytes, s->view.len);
	frame_end_write(s->base.sys, frame);
	s->stats.bytes_touched += 2 * s->view.len;
	fill_in(s, frame, &s->view.record, s->view.len, s->read_ns);
	s->ready = false;
	(void)look(s); /* for signal_ready() */
	*ret_frame = frame;
	return 0;
}

static int take(struct capture_source *source,
		struct capture_frame **ret_frame)
{
	struct records *s = self(source);
	int i;
	int r = -EBADMSG;

	if (!frame_pool_free_count(s->pool))
		return -ENOBUFS;
	for (i = 0; i < READS_MAX && r == -EBADMSG; i++)
		r = s->buffer ? take_record(s, ret_frame)
			      : take_datagram(s, ret_frame);
	signal_ready(s, s->ready || s->port.kind == RECORDS_FILE);
	return r == -EBADMSG ? -EAGAIN : r;
}

static int records_dequeue(struct capture_source *source, uint64_t deadline_ns,
			   struct capture_frame **ret_frame)
{
	struct records *s = self(source);
	int r;

	if (!s->on)
		return -EBUSY;
	if (s->failed)
		return -EIO;
	r = source_wait_frame(source, take, deadline_ns, ret_frame);
	if (!source_goes_on(r))
		s->failed = true;
	return r;
}

/* --- the rest ----------------------------------------------------------- */

static int records_fd(const struct capture_source *source)
{
	return self_const(source)->epoll_fd;
}

static struct capture_arena *records_arena(const struct capture_source *source)
{
	return frame_pool_arena(self_const(source)->pool);
}

static void records_stats(const struct capture_source *source,
			  struct capture_source_stats *ret_stats)
{
	const struct records *s = self_const(source);

	*ret_stats = s->stats;
	ret_stats->frames_error += s->parser.records_bad;
	ret_stats->bytes_skipped += s->parser.bytes_skipped;
	frame_pool_stats(s->pool, ret_stats);
}

static const struct source_ops records_ops = {
	.close = records_close,
	.start = records_start,
	.stop = records_stop,
	.dequeue = records_dequeue,
	.fd = records_fd,
	.stats = records_stats,
	.arena = records_arena,
};
