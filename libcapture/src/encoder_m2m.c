/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stateful V4L2 M2M encoder: raw frames go into its OUTPUT queue, packets
 * come out of its CAPTURE queue (V4L2 names queues from the program's side).
 *
 * Each frame goes in with a key as its time stamp, which the driver copies to
 * the packet: src/origins.h says which packet is whose. B frames are switched
 * off, but not every driver has the control, so packets leave in the order
 * in which they come.
 */
#include "src/encoder_m2m.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/videodev2.h>

#include "base/sys.h"
#include "src/arena.h"
#include "src/frame.h"
#include "src/v4l2.h"

static struct m2m *m2m_of(struct capture_encoder *encoder)
{
	return container_of(encoder, struct m2m, base);
}

static const struct m2m *m2m_of_const(const struct capture_encoder *encoder)
{
	return container_of(encoder, const struct m2m, base);
}

static uint64_t now(const struct m2m *m)
{
	return sys_now_ns(m->base.sys, CLOCK_MONOTONIC);
}

static void set_state(struct m2m *m, enum m2m_state next)
{
	assert(m->state != M2M_CLOSED);
	m->state = next;
}

/* Errors after which the device is of no more use stop it for good. */
static int fail(struct m2m *m, int r)
{
	if (m->state != M2M_FAILED)
		set_state(m, M2M_FAILED);
	m->failure = -EIO;
	return r;
}

static void m2m_destroy(struct m2m *m)
{
	queue_fini(&m->out);
	queue_fini(&m->cap);
	sys_close(m->base.sys, &m->fd);
	free(m);
}

static const struct encoder_ops m2m_ops;
static void packet_release(struct packet_holder *holder);

int encoder_m2m_open(const struct sys_ops *sys,
		     const struct capture_encoder_config *config,
		     const char *path, uint32_t codec,
		     struct capture_encoder **ret_encoder)
{
	struct m2m *m = calloc(1, sizeof(*m));
	uint32_t i;
	int r;

	if (!m)
		return -ENOMEM;
	for (i = 0; i < CAPTURE_BUFFERS_MAX; i++)
		m->packets[i].holder.release = packet_release;
	encoder_base_init(&m->base, &m2m_ops, sys, config);
	origins_init(&m->origins, &m->base.stats.frames_skipped);
	m->fd = -EBADF;
	m->timeout_ns = config->timeout_ns ? config->timeout_ns
					   : CAPTURE_ENCODER_TIMEOUT_NS;
	queue_init(&m->out, sys, -EBADF, 0);
	queue_init(&m->cap, sys, -EBADF, 0);
	r = m2m_setup(m, config, path, codec);
	if (r < 0) {
		m2m_destroy(m);
		return r;
	}
	m->base.stats.backend = CAPTURE_BACKEND_M2M;
	m->base.stats.rung = m->cap.rung;
	*ret_encoder = &m->base;
	return 0;
}

static void drop_inside(struct m2m *m)
{
	uint32_t i;

	for (i = 0; i < CAPTURE_BUFFERS_MAX; i++)
		m->inside[i] = capture_frame_unref(m->inside[i]);
}

static void m2m_close(struct capture_encoder *encoder)
{
	struct m2m *m = m2m_of(encoder);

	/* Only a stopped queue has stopped reading the frames' memory. */
	(void)queue_off(&m->out);
	(void)queue_off(&m->cap);
	set_state(m, M2M_CLOSED);
	sys_close(m->base.sys, &m->fd);
	drop_inside(m);
	if (!m->cap.out)
		m2m_destroy(m);
}

/* --- submit ------------------------------------------------------------- */

/* Frames that the device has read go back to the camera. */
static int reap_input(struct m2m *m)
{
	struct queue_done done;
	uint32_t i;
	int r;

	for (i = 0; i < m->out.count && m->out.queued; i++) {
		r = queue_take(&m->out, &done);
		if (r == -EAGAIN)
			return 0;
		if (r < 0)
			return r;
		queue_return(&m->out, done.index);
		m->base.inputs_done++;
		m->inside[done.index] =
			capture_frame_unref(m->inside[done.index]);
	}
	return 0;
}

/*
 * A free slot; one that had this memory before spares the kernel the work of
 * mapping it again.
 */
static int find_slot(const struct m2m *m, int dmabuf_fd)
{
	uint32_t i;

	for (i = 0; i < m->out.count; i++) {
		if (m->out.buffers[i].place == QUEUE_FREE &&
		    m->last_fd[i] == dmabuf_fd)
			return (int)i;
	}
	return queue_find_free(&m->out);
}

static int submit_import(struct m2m *m, struct capture_frame *frame,
			 uint64_t key)
{
	struct queue_payload payload;
	uint32_t p;
	int slot;
	int r;

	memset(&payload, 0, sizeof(payload));
	payload.key = key;
	for (p = 0; p < frame->plane_count; p++) {
		const struct capture_plane *plane = &frame->planes[p];

		if (plane->dmabuf_fd < 0 || plane->offset)
			return -EINVAL;
		payload.fds[p] = plane->dmabuf_fd;
		payload.lengths[p] = plane->length;
		/* Never less than what the encoder will read. */
		payload.bytesused[p] = MAX(plane->bytesused, m->input.size[p]);
	}
	slot = find_slot(m, frame->planes[0].dmabuf_fd);
	if (slot < 0)
		return slot;
	r = queue_give(&m->out, (uint32_t)slot, &payload);
	if (r < 0)
		return r;
	m->last_fd[slot] = frame->planes[0].dmabuf_fd;
	m->inside[slot] = capture_frame_ref(frame);
	return 0;
}

/* Of @planes planes, @dst is where the device will read. */
static void copy_planes(struct m2m *m, const struct capture_frame *frame,
			uint32_t planes, const uint8_t *const *src,
			uint8_t *const *dst)
{
	uint64_t touched = 0;
	uint32_t p;

	if (m->base.layout.count && m->input_layout.count) {
		touched = pix_copy(&m->base.layout, src, &m->input_layout, dst);
	} else {
		for (p = 0; p < planes; p++) {
			size_t len = MIN(frame->planes[p].bytesused,
					 m->input.size[p]);

			memcpy(dst[p], src[p], len);
			touched += 2 * (uint64_t)len;
		}
	}
	m->base.stats.copies++;
	m->base.stats.bytes_touched += touched;
}

static int submit_copy(struct m2m *m, struct capture_frame *frame, uint64_t key)
{
	const uint8_t *src[CAPTURE_PLANES_MAX];
	uint8_t *dst[CAPTURE_PLANES_MAX] = {NULL};
	uint32_t planes = m->input.plane_count;
	struct queue_payload payload;
	uint32_t p;
	int slot;
	int r;

	slot = queue_find_free(&m->out);
	if (slot < 0)
		return slot;
	memset(&payload, 0, sizeof(payload));
	payload.key = key;
	for (p = 0; p < planes; p++) {
		dst[p] = m->out.buffers[slot].planes[p].map;
		payload.bytesused[p] = m->input.size[p];
	}
	r = frame_begin_read(m->base.sys, frame, src);
	if (r < 0)
		return r;
	copy_planes(m, frame, planes, src, dst);
	frame_end_read(m->base.sys, frame);
	return queue_give(&m->out, (uint32_t)slot, &payload);
}

/*
 * The device took the promise of dma-bufs (REQBUFS) but not the first one
 * itself: their memory cannot be mapped for it. Nothing is inside yet, so go
 * over to copies.
 */
static int fall_back_to_copies(struct m2m *m)
{
	int r;

	queue_release(&m->out);
	r = m2m_alloc_copy_input(m);
	if (r < 0)
		return r;
	return queue_on(&m->out);
}

/* Memory that the library took, not the camera's: no import was agreed on. */
static bool is_own_memory(const struct capture_frame *frame)
{
	uint32_t p;

	if (!(frame->flags & (CAPTURE_FRAME_COPY | CAPTURE_FRAME_BLANK)))
		return false;
	for (p = 0; p < frame->plane_count; p++) {
		if (!frame->planes[p].map)
			return false;
	}
	return true;
}

/*
 * A frame of our own that the device cannot import, though it imports the
 * camera's: goes over to copies for good when nothing is inside that would be
 * lost by that. Else -EAGAIN: the frame is left out, all goes on.
 */
static int submit_own(struct m2m *m, struct capture_frame *frame, uint64_t key)
{
	int r;

	if (!m->no_copies && !m->out.queued &&
	    !origins_due(&m->origins)) {
		r = fall_back_to_copies(m);
		if (r == 0)
			return submit_copy(m, frame, key);
		if (r == -ENODEV)
			return fail(m, r);
		m->no_copies = true;
		queue_release(&m->out);
		r = m2m_alloc_import_input(m);
		if (r == 0)
			r = queue_on(&m->out);
		if (r < 0)
			return fail(m, r);
	}
	m->base.stats.imports_refused++;
	return -EAGAIN;
}

static int submit_any(struct m2m *m, struct capture_frame *frame, uint64_t key)
{
	int r;

	if (!m->base.stats.source_imported)
		return submit_copy(m, frame, key);
	r = submit_import(m, frame, key);
	if (r == 0 || r == -EAGAIN || r == -ENODEV)
		return r;
	if (m->base.stats.frames_in)
		return r != -EIO && is_own_memory(frame)
			       ? submit_own(m, frame, key)
			       : r;
	r = fall_back_to_copies(m);
	if (r < 0)
		return fail(m, r);
	return submit_copy(m, frame, key);
}

static int check_state(const struct m2m *m)
{
	switch (m->state) {
	case M2M_RUNNING:
		return 0;
	case M2M_DRAINING:
	case M2M_DRAINED:
		return -EPIPE;
	case M2M_FAILED:
	case M2M_CLOSED:
		return -EIO;
	}
	return -EIO;
}

static int m2m_submit(struct capture_encoder *encoder,
		      struct capture_frame *frame)
{
	struct m2m *m = m2m_of(encoder);
	struct packet_origin origin;
	int r;

	r = check_state(m);
	if (r < 0)
		return r;
	r = reap_input(m);
	if (r < 0)
		return fail(m, r);
	if (!origins_room(&m->origins))
		return -EAGAIN;
	r = submit_any(m, frame, m->key_last + 1);
	if (r < 0)
		return r;
	m->quiet_turns = 0;
	packet_origin_init(&origin, ++m->key_last, now(m), frame);
	origins_push(&m->origins, &origin);
	return 0;
}

/* --- receive ------------------------------------------------------------ */

static void give_back(struct m2m *m, uint32_t index)
{
	bool starved = !m->cap.queued;

	queue_return(&m->cap, index);
	queue_end_read(&m->cap, index);
	if (m->state == M2M_FAILED || m->state == M2M_CLOSED)
		return;
	if (queue_give(&m->cap, index, NULL) < 0)
		m->base.stats.requeue_errors++;
	else if (starved)
		m->progress_ns = now(m); /* the wait was not its fault */
}

static void packet_release(struct packet_holder *holder)
{
	struct m2m_packet *mp = container_of(holder, struct m2m_packet, holder);
	struct m2m *m = mp->m2m;

	capture_span_fini(&holder->packet.span);
	give_back(m, mp->index);
	if (m->state == M2M_CLOSED && !m->cap.out)
		m2m_destroy(m);
}

static void drained(struct m2m *m)
{
	origins_end(&m->origins);
	set_state(m, M2M_DRAINED);
}

static size_t join_headers(struct m2m *m, const struct queue_done *done,
			   const struct keyframe_parts *parts)
{
	const struct queue_plane *plane =
		&m->cap.buffers[done->index].planes[0];

	return m2m_headers_join(m, parts, plane->map + done->offset[0],
				done->bytesused[0],
				plane->length - done->offset[0]);
}

static struct capture_packet *hand_out(struct m2m *m,
				       const struct queue_done *done,
				       const struct packet_origin *origin,
				       size_t bytes)
{
	struct packet_holder *holder = &m->packets[done->index].holder;
	const uint8_t *map = m->cap.buffers[done->index].planes[0].map;
	const uint8_t *data = map + done->offset[0];
	int r;

	if (m->cap.arena) {
		r = capture_span_init(
			&holder->packet.span, m->cap.arena,
			(size_t)(data - capture_arena_map(m->cap.arena)),
			bytes);
		assert(r == 0); /* queue_take() checked the numbers */
	}
	holder->packet.flags = done->flags & V4L2_BUF_FLAG_KEYFRAME
				       ? CAPTURE_PACKET_DRIVER_KEY
				       : 0;
	m->progress_ns = now(m);
	return packet_hand_out(&m->base, holder, origin, data, bytes,
			       m->progress_ns);
}

/*
 * Frames after one that was lost cannot be decoded, or only badly: ask for a
 * key frame. Drivers without the control come to one at their own pace.
 */
static void lost(struct m2m *m)
{
	if (m->state == M2M_RUNNING)
		(void)!m2m_set_control(m, V4L2_CID_MPEG_VIDEO_FORCE_KEY_FRAME,
				       1);
}

static void spoiled(struct m2m *m, const struct queue_done *done)
{
	struct packet_origin origin;

	m->base.stats.packets_error++;
	(void)origins_match(&m->origins, done->stamp_ns / 1000, &origin);
	lost(m);
}

/* A buffer with bytes: a packet, or NULL when there is no use in it. */
static struct capture_packet *
read_packet(struct m2m *m, const struct queue_done *done, bool last)
{
	const uint8_t *data =
		m->cap.buffers[done->index].planes[0].map + done->offset[0];
	struct packet_origin origin;
	struct keyframe_parts parts;

	queue_begin_read(&m->cap, done->index);
	keyframe_scan(m->base.codec, data, done->bytesused[0], &parts);
	if (!parts.picture && parts.any_set) {
		/* Headers alone: their stamp, if any, is no frame's. */
		if (!m2m_headers_keep(m, data, done->bytesused[0]))
			m->base.stats.packets_error++;
		m->progress_ns = now(m);
		return NULL;
	}
	if (!parts.picture) {
		spoiled(m, done);
		return NULL;
	}
	if (!origins_match(&m->origins, done->stamp_ns / 1000, &origin)) {
		/* The end of a drain may show what was in the buffer before. */
		m->base.stats.packets_unpaired += !last;
		if (!last)
			lost(m);
		return NULL;
	}
	return hand_out(m, done, &origin, join_headers(m, done, &parts));
}

/* One DQBUF: 0 and a packet or NULL (nothing of use in it), or the errno. */
static int take_one(struct m2m *m, struct capture_packet **ret_packet)
{
	struct queue_done done;
	bool last;
	int r;

	r = queue_take(&m->cap, &done);
	if (r < 0)
		return r;
	*ret_packet = NULL;
	last = m->state == M2M_DRAINING && (done.flags & V4L2_BUF_FLAG_LAST);
	if (done.damaged || (!done.bytesused[0] && !last))
		spoiled(m, &done);
	else if (done.bytesused[0]) /* the end is empty, mostly */
		*ret_packet = read_packet(m, &done, last);
	if (!*ret_packet)
		give_back(m, done.index);
	if (last)
		drained(m);
	return 0;
}

static int take_packet(struct m2m *m, struct capture_packet **ret_packet)
{
	struct capture_packet *packet = NULL;
	uint32_t i;
	int r;

	for (i = 0; i < m->cap.count; i++) {
		if (m->state == M2M_DRAINED)
			return -EPIPE;
		r = take_one(m, &packet);
		if (r == -EPIPE && m->state == M2M_DRAINING) {
			drained(m);
			return -EPIPE;
		}
		if (r == -EPIPE)
			return -ESTALE; /* it ended what we did not end */
		if (r < 0)
			return r;
		if (packet) {
			*ret_packet = packet;
			return 0;
		}
	}
	return -EAGAIN;
}

/* Events that wait: -ESTALE when the device's format is another now. */
static int take_events(struct m2m *m)
{
	struct v4l2_event event;
	uint32_t i;
	int r;

	for (i = 0; m->has_events && i < CAPTURE_EVENTS_MAX; i++) {
		memset(&event, 0, sizeof(event));
		r = m->base.sys->ioctl(m->fd, VIDIOC_DQEVENT, &event);
		if (r < 0)
			return r == -ENODEV ? r : 0;
		if (event.type == V4L2_EVENT_SOURCE_CHANGE)
			return -ESTALE;
	}
	return 0;
}

static uint64_t m2m_deadline_ns(const struct capture_encoder *encoder)
{
	const struct m2m *m = m2m_of_const(encoder);
	const struct packet_origin *first = origins_due(&m->origins);
	uint64_t since_ns = m->progress_ns;

	/* With all packets out it cannot work; nothing to hold against it. */
	if (!m->cap.queued)
		return UINT64_MAX;
	if (m->state != M2M_RUNNING && m->state != M2M_DRAINING)
		return UINT64_MAX;
	if (first)
		since_ns = MAX(since_ns, first->submit_ns);
	else if (m->state == M2M_RUNNING)
		return UINT64_MAX;
	return since_ns + m->timeout_ns;
}

/* Buffers that the driver did not take back when they were released. */
static void retry_give(struct m2m *m)
{
	uint32_t i;

	if (m->cap.queued + m->cap.out == m->cap.count)
		return;
	for (i = 0; i < m->cap.count; i++) {
		if (m->cap.buffers[i].place == QUEUE_FREE &&
		    queue_give(&m->cap, i, NULL) < 0)
			return;
	}
}

static int wait_packet(struct m2m *m, uint64_t deadline_ns)
{
	short events = POLLIN | (m->out.queued ? POLLOUT : 0) |
		       (m->has_events ? POLLPRI : 0);
	int r = queue_wait(m->base.sys, m->fd, events, deadline_ns);

	if (r < 0)
		return r;
	if (r & (POLLIN | POLLOUT | POLLPRI))
		return 0;
	if (r & POLLHUP)
		return -ENODEV;
	return r ? -EIO : 0;
}

/*
 * Nothing came for too long. Without a stop command that may be the end of a
 * drain: every frame was read, and the encoder made no packet of the last.
 */
static int overdue(struct m2m *m)
{
	if (m->state != M2M_DRAINING || m->can_stop || m->out.queued)
		return -ETIMEDOUT;
	drained(m);
	return -EPIPE;
}

/*
 * Nothing is inside, so no packet is due: not worth a call a frame. But one
 * that is no frame's may lie there, and who polls would be woken for ever.
 */
static bool is_quiet(struct m2m *m)
{
	if (m->state != M2M_RUNNING || m->origins.count || m->has_events)
		return false;
	if (m->quiet_turns++ < CAPTURE_QUIET_TURNS_MAX)
		return true;
	m->quiet_turns = 0;
	return false;
}

/* An overtaken frame may have been skipped: only a drain waits for it. */
static bool is_awaited(const struct m2m *m)
{
	return m->state == M2M_DRAINING ? m->origins.count > 0
					: origins_due(&m->origins) != NULL;
}

/* One turn: 0 and maybe a packet, or why there is none and will be none. */
static int turn(struct m2m *m, uint64_t deadline_ns,
		struct capture_packet **ret_packet)
{
	uint64_t overdue_ns;
	uint64_t now_ns;
	int r;

	retry_give(m);
	r = reap_input(m);
	if (r < 0)
		return r;
	if (is_quiet(m))
		return -EAGAIN;
	r = take_packet(m, ret_packet);
	if (r != -EAGAIN)
		return r;
	if (m->stale)
		return -ESTALE;
	r = take_events(m);
	if (r == -ESTALE) {
		/* Packets of before the change are good: look once more. */
		m->stale = true;
		return 0;
	}
	if (r < 0)
		return r;
	if (m->state == M2M_DRAINING && !m->can_stop && !m->origins.count) {
		drained(m);
		return -EPIPE;
	}
	if (!m->cap.queued && is_awaited(m))
		return m->cap.out ? -ENOBUFS : -EIO;
	overdue_ns = m2m_deadline_ns(&m->base);
	now_ns = now(m);
	if (now_ns >= overdue_ns)
		return overdue(m);
	if (overdue_ns == UINT64_MAX || now_ns >= deadline_ns)
		return -EAGAIN;
	return wait_packet(m, MIN(deadline_ns, overdue_ns));
}

/* What was done before it failed; then why it did. */
static int take_rest(struct m2m *m, struct capture_packet **ret_packet)
{
	int r = take_packet(m, ret_packet);

	if (r == 0)
		return 0;
	r = m->failure;
	m->failure = -EIO; /* the cause is told once */
	return r;
}

static int m2m_receive(struct capture_encoder *encoder, uint64_t deadline_ns,
		       struct capture_packet **ret_packet)
{
	struct m2m *m = m2m_of(encoder);
	struct capture_packet *packet = NULL;
	int r;

	if (m->state == M2M_FAILED)
		return take_rest(m, ret_packet);
	if (m->state == M2M_DRAINED)
		return -EPIPE;
	do {
		r = turn(m, deadline_ns, &packet);
	} while (r == 0 && !packet);
	if (r == 0) {
		*ret_packet = packet;
	} else if (r != -EAGAIN && r != -EPIPE && r != -ENOBUFS) {
		m->failure = r;
		set_state(m, M2M_FAILED);
		return take_rest(m, ret_packet);
	}
	return r;
}

/* --- the rest ----------------------------------------------------------- */

static int m2m_drain(struct capture_encoder *encoder)
{
	struct m2m *m = m2m_of(encoder);
	struct v4l2_encoder_cmd cmd;
	int r;

	if (m->state == M2M_DRAINING || m->state == M2M_DRAINED)
		return 0;
	if (m->state == M2M_FAILED)
		return -EIO;
	if (m->can_stop) {
		memset(&cmd, 0, sizeof(cmd));
		cmd.cmd = V4L2_ENC_CMD_STOP;
		r = m->base.sys->ioctl(m->fd, VIDIOC_ENCODER_CMD, &cmd);
		if (r < 0)
			return r;
	}
	m->progress_ns = now(m);
	set_state(m, M2M_DRAINING);
	return 0;
}

static int m2m_force_key(struct capture_encoder *encoder)
{
	struct m2m *m = m2m_of(encoder);

	return m2m_set_control(m, V4L2_CID_MPEG_VIDEO_FORCE_KEY_FRAME, 1);
}

static int m2m_set_bitrate(struct capture_encoder *encoder, uint32_t bitrate)
{
	struct m2m *m = m2m_of(encoder);

	return m2m_set_control(m, V4L2_CID_MPEG_VIDEO_BITRATE, bitrate);
}

static int m2m_fd(const struct capture_encoder *encoder)
{
	return m2m_of_const(encoder)->fd;
}

static struct capture_arena *m2m_arena(const struct capture_encoder *encoder)
{
	return m2m_of_const(encoder)->cap.arena;
}

static const struct encoder_ops m2m_ops = {
	.close = m2m_close,
	.fd = m2m_fd,
	.arena = m2m_arena,
	.deadline_ns = m2m_deadline_ns,
	.submit = m2m_submit,
	.receive = m2m_receive,
	.drain = m2m_drain,
	.force_key = m2m_force_key,
	.set_bitrate = m2m_set_bitrate,
};
