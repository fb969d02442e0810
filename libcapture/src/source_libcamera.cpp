/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cameras of libcamera: raw sensors behind an ISP. The only file that sees
 * libcamera, and the only one in C++; src/source_module.h says how it is
 * loaded. To the outside it is one more source, with the same two rules:
 *
 * Ownership: a buffer has one place, FREE, QUEUED (a request of it is
 * libcamera's), DONE (completed, not fetched) or OUT (a user's). A request is
 * queued again at the last unref of its frame. Frames that outlive a stop or
 * a close keep their memory: its descriptors and maps are ours.
 *
 * Threads: a source is one thread's. libcamera completes requests on a thread
 * of its own, where nothing is done but to put the buffer's index into a ring
 * (as long as there are buffers: it cannot be full) and to write an eventfd.
 *
 * Time: libcamera passes on the stamp of the V4L2 buffer, or of the sensor as
 * a control of its own, and both "since boot": its documents say
 * CLOCK_BOOTTIME, its pipelines pass on V4L2's CLOCK_MONOTONIC. The two differ
 * by what the machine was suspended, so the value tells which one it is.
 *
 * What is out beyond borrow_max is a copy, as of V4L2 sources.
 */
#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>

#include <linux/videodev2.h>

#include <libcamera/camera.h>
#include <libcamera/control_ids.h>
#include <libcamera/framebuffer_allocator.h>
#include <libcamera/request.h>
#include <libcamera/stream.h>

extern "C" {
#include "base/sys.h"
#include "src/drm_format.h"
#include "src/frame_pool.h"
#include "src/limits.h"
#include "src/pixfmt.h"
#include "src/source_module.h"
}

#include "src/libcamera_controls.hpp"
#include "src/libcamera_format.hpp"
#include "src/libcamera_manager.hpp"

using namespace libcamera;

namespace
{

constexpr uint64_t ns_per_ms = 1000000;
constexpr uint64_t us_per_s = 1000000;
/* Buffers that stay with the pipeline however many frames are out. */
constexpr uint32_t buffers_kept = 2;

/* --- a source ------------------------------------------------------------ */

class Source;

void frame_release(struct frame_holder *holder);

/* C structures, for container_of(). */
struct Face {
	struct capture_source base;
	Source *self;
};

struct Cell {
	struct frame_holder holder;
	Source *source;
	uint32_t index;
};

enum class Place { Free, Queued, Done, Out };
enum class State { Off, On, Closed };

struct Map {
	void *bytes = nullptr;
	size_t length = 0;
};

struct Buffer {
	Cell cell = {};
	FrameBuffer *frame = nullptr;	  /* the allocator's */
	std::unique_ptr<Request> request; /* none after a close */
	Place place = Place::Free;
	/* Ours: they live as long as the last frame. */
	std::array<SharedFD, CAPTURE_PLANES_MAX> fds;
	std::array<Map, CAPTURE_PLANES_MAX> maps;
};

class Source
{
      public:
	Source(const struct sys_ops *sys, const struct source_ops *ops);
	~Source();

	int setup(const struct capture_source_config &config);
	void close();
	int start();
	int stop();
	int dequeue(uint64_t deadline_ns, struct capture_frame **ret_frame);
	void release(uint32_t index);
	int set_control(const struct capture_control_setting &setting);

	Face face_ = {};
	struct capture_source_stats stats_ = {};
	int event_fd_ = -EBADF;

      private:
	int find(const char *id);
	int negotiate(const struct capture_source_config &config);
	int try_format(const struct capture_source_config &config,
		       const PixelFormat &wanted);
	int describe();
	int set_rate(const struct capture_source_config &config);
	int allocate(const struct capture_source_config &config);
	int allocate_copies(const struct capture_source_config &config);
	int describe_planes(const FrameBuffer &frame);
	int take_buffer(uint32_t index, uint32_t track_id);
	int map_plane(Buffer &b, uint32_t p, size_t length);

	void completed(Request *request); /* libcamera's thread */
	void disconnected();		  /* libcamera's thread */

	int queue_free();
	int queue(Buffer &b);
	bool pop(uint32_t *ret_index);
	int wait(uint64_t deadline_ns);
	int take(struct capture_frame **ret_frame);
	bool accept(Buffer &b);
	bool is_good(Buffer &b);
	void set_payload(Buffer &b);
	void set_sequence(Buffer &b, struct capture_frame &frame);
	void set_stamp(Buffer &b, struct capture_frame &frame);
	uint32_t out() const;
	void describe_frame(Buffer &b, struct capture_frame &frame);
	int copy(Buffer &b, struct capture_frame **ret_frame);

	const struct sys_ops *sys_;
	struct capture_format &format_;
	struct pix_layout layout_ = {};
	State state_ = State::Off;
	std::shared_ptr<Camera> camera_;
	bool acquired_ = false;
	std::unique_ptr<CameraConfiguration> configuration_;
	std::unique_ptr<FrameBufferAllocator> allocator_;
	Stream *stream_ = nullptr;
	std::vector<Buffer> buffers_;
	bool merged_ = false;  /* libcamera's planes are one of ours */
	LibcameraControls controls_;
	struct frame_pool *copies_ = nullptr; /* none: all may be lent */

	bool sequence_known_ = false;
	uint32_t sequence_libcamera_ = 0;
	uint32_t sequence_ = 0;
	uint64_t stamp_last_ns_ = 0;

	std::mutex lock_; /* of the ring, and of the eventfd's count */
	std::array<uint32_t, CAPTURE_BUFFERS_MAX> ring_ = {};
	uint32_t ring_head_ = 0;
	uint32_t ring_count_ = 0;
	bool gone_ = false;
};

Source::Source(const struct sys_ops *sys, const struct source_ops *ops)
    : sys_(sys), format_(face_.base.format)
{
	face_.base.ops = ops;
	face_.base.sys = sys;
	face_.self = this;
}

/* Also of one that is half set up. No frame is out. */
Source::~Source()
{
	for (Buffer &b : buffers_)
		for (Map &m : b.maps)
			if (m.bytes)
				(void)sys_->munmap(m.bytes, m.length);
	frame_pool_close(copies_);
	sys_close(sys_, &event_fd_);
}

/* --- opening ------------------------------------------------------------- */

int Source::setup(const struct capture_source_config &config)
{
	int r;

	/* Its memory is the driver's, exported. */
	if (config.rung != CAPTURE_RUNG_AUTO && config.rung != CAPTURE_RUNG_S3)
		return -EOPNOTSUPP;
	r = sys_->eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r < 0)
		return r;
	event_fd_ = r;
	r = find(config.path);
	if (r < 0)
		return r;
	r = camera_->acquire();
	if (r < 0)
		return r;
	acquired_ = true;
	r = negotiate(config);
	if (r == 0)
		r = describe();
	/* Pipelines tell the ranges of a mode once it is configured. */
	if (r == 0)
		r = controls_.apply(camera_->controls(), config.settings);
	if (r == 0)
		r = set_rate(config);
	if (r == 0)
		r = allocate(config);
	if (r == 0)
		r = allocate_copies(config);
	if (r < 0)
		return r;
	camera_->requestCompleted.connect(this, &Source::completed);
	camera_->disconnected.connect(this, &Source::disconnected);
	return 0;
}

int Source::find(const char *id)
{
	CameraManager *manager;
	int r;

	r = libcamera_manager(&manager);
	if (r < 0)
		return r;
	if (id && id[0]) {
		camera_ = manager->get(std::string(id));
	} else {
		auto cameras = manager->cameras();

		if (!cameras.empty())
			camera_ = cameras[0];
	}
	return camera_ ? 0 : -ENODEV;
}

/* 0, -EPROTONOSUPPORT, -ERANGE. An invalid @wanted: what libcamera likes. */
int Source::try_format(const struct capture_source_config &config,
		       const PixelFormat &wanted)
{
	configuration_ =
		camera_->generateConfiguration({StreamRole::VideoRecording});
	if (!configuration_ || configuration_->empty())
		return -ENODEV;

	StreamConfiguration &c = configuration_->at(0);
	Size size(config.width, config.height);

	if (wanted.isValid())
		c.pixelFormat = wanted;
	if (config.width)
		c.size = size;
	c.bufferCount = config.buffer_count ? config.buffer_count
					    : CAPTURE_SOURCE_BUFFERS;
	if (configuration_->validate() == CameraConfiguration::Invalid)
		return -EPROTONOSUPPORT;
	/* It says "adjusted" for any change; two of them matter. */
	if ((wanted.isValid() && c.pixelFormat != wanted) ||
	    !libcamera_to_v4l2(c.pixelFormat))
		return -EPROTONOSUPPORT;
	return config.width && c.size != size ? -ERANGE : 0;
}

int Source::negotiate(const struct capture_source_config &config)
{
	int result = -EPROTONOSUPPORT;
	size_t i;
	int r;

	if (!config.fourcc_count)
		result = try_format(config, PixelFormat());
	for (i = 0; i < config.fourcc_count; i++) {
		PixelFormat wanted = libcamera_of_v4l2(config.fourccs[i]);

		if (!wanted.isValid())
			continue;
		r = try_format(config, wanted);
		if (r != -EPROTONOSUPPORT)
			result = r;
		if (r == 0)
			break;
	}
	return result < 0 ? result : camera_->configure(configuration_.get());
}

int Source::describe()
{
	const StreamConfiguration &c = configuration_->at(0);

	stream_ = c.stream();
	format_.fourcc = libcamera_to_v4l2(c.pixelFormat);
	format_.media = CAPTURE_MEDIA_PICTURE;
	format_.width = c.size.width;
	format_.height = c.size.height;
	if (!format_.width || format_.width > CAPTURE_SIDE_MAX ||
	    !format_.height || format_.height > CAPTURE_SIDE_MAX)
		return -EPROTO;
	if (c.colorSpace)
		libcamera_set_colors(*c.colorSpace, format_);
	return 0;
}

/* A pipeline without the control does not tell its rate either. */
int Source::set_rate(const struct capture_source_config &config)
{
	const ControlInfoMap &known = camera_->controls();
	auto limits = known.find(controls::FrameDurationLimits.id());
	int64_t us;

	if (!config.rate_num)
		return 0;
	if (limits == known.end())
		return libcamera_refuse(config.settings, "rate", -ENXIO);
	us = (int64_t)(us_per_s * config.rate_den / config.rate_num);
	us = std::max(us, limits->second.min().get<int64_t>());
	us = std::min(us, limits->second.max().get<int64_t>());
	if (us <= 0 || us > UINT32_MAX)
		return -EPROTO;
	controls_.set_frame_time(us);
	format_.rate_num = us_per_s;
	format_.rate_den = (uint32_t)us;
	return 0;
}

/* --- memory -------------------------------------------------------------- */

/*
 * libcamera has a plane for each component, V4L2 and this library for each
 * piece of memory.
 */
int Source::describe_planes(const FrameBuffer &frame)
{
	const StreamConfiguration &c = configuration_->at(0);
	const auto &planes = frame.planes();
	uint32_t chroma = c.stride;
	uint64_t bytes = 0;

	if (!libcamera_is_possible(planes))
		return -EPROTO;
	merged_ = libcamera_is_one_piece(planes);
	format_.plane_count = merged_ ? 1 : (uint32_t)planes.size();
	if (!merged_) {
		format_.fourcc = drm_format_apart(format_.fourcc);
		if (!format_.fourcc)
			return -EPROTONOSUPPORT;
		if (planes.size() == 3)
			chroma = c.stride / 2;
	}
	for (size_t p = 0; p < planes.size(); p++) {
		bytes += planes[p].length;
		if (p < format_.plane_count)
			format_.stride[p] = p ? chroma : c.stride;
		format_.size[merged_ ? 0 : p] = merged_ ? (uint32_t)bytes
							: planes[p].length;
	}
	if (bytes > CAPTURE_ARENA_BYTES_MAX)
		return -EPROTO;
	/* Not a format whose parts are known here: any payload will do. */
	if (pix_layout_init(&format_, &layout_) < 0)
		layout_.count = 0;
	return 0;
}

int Source::map_plane(Buffer &b, uint32_t p, size_t length)
{
	int r;

	r = sys_->mmap(length, PROT_READ, MAP_SHARED, b.fds[p].get(), 0,
		       &b.maps[p].bytes);
	if (r < 0)
		return r;
	b.maps[p].length = length;
	return 0;
}

int Source::take_buffer(uint32_t index, uint32_t track_id)
{
	Buffer &b = buffers_[index];
	struct capture_frame &frame = b.cell.holder.frame;
	const auto &planes = b.frame->planes();
	int r;

	/* All alike, or the format would be that of the first alone. */
	if (!libcamera_is_possible(planes) ||
	    libcamera_is_one_piece(planes) != merged_ ||
	    planes.size() != buffers_[0].frame->planes().size())
		return -EPROTO;
	b.cell.holder.release = frame_release;
	b.cell.source = this;
	b.cell.index = index;
	frame.track_id = track_id;
	frame.fourcc = format_.fourcc;
	frame.width = format_.width;
	frame.height = format_.height;
	frame.plane_count = format_.plane_count;
	for (uint32_t p = 0; p < format_.plane_count; p++) {
		struct capture_plane &to = frame.planes[p];

		to.offset = planes[p].offset;
		to.length = to.offset + planes[p].length;
		if (merged_)
			to.length = planes.back().offset + planes.back().length;
		to.stride = format_.stride[p];
		b.fds[p] = planes[p].fd;
		to.dmabuf_fd = b.fds[p].get();
		r = map_plane(b, p, to.length);
		if (r < 0)
			return r;
		to.map = static_cast<const uint8_t *>(b.maps[p].bytes);
		stats_.memory_bytes += to.length;
	}
	b.request = camera_->createRequest(index);
	return b.request ? b.request->addBuffer(stream_, b.frame) : -ENOMEM;
}

int Source::allocate(const struct capture_source_config &config)
{
	int r;

	allocator_ = std::make_unique<FrameBufferAllocator>(camera_);
	r = allocator_->allocate(stream_);
	if (r < 0)
		return r;

	const auto &frames = allocator_->buffers(stream_);

	if (frames.empty() || frames.size() > CAPTURE_BUFFERS_MAX)
		return -EPROTO;
	r = describe_planes(*frames[0]);
	buffers_ = std::vector<Buffer>(frames.size());
	for (uint32_t i = 0; r == 0 && i < frames.size(); i++)
		buffers_[i].frame = frames[i].get();
	for (uint32_t i = 0; r == 0 && i < frames.size(); i++)
		r = take_buffer(i, config.track_id);
	stats_.rung = CAPTURE_RUNG_S3;
	stats_.buffer_count = (uint32_t)buffers_.size();
	return r;
}

/* As many copies may be out as buffers are kept. */
int Source::allocate_copies(const struct capture_source_config &config)
{
	struct capture_source_stats pool = {};
	struct capture_source_config want = {};
	uint32_t count = stats_.buffer_count;
	int r;

	stats_.borrow_max = count > buffers_kept ? count - buffers_kept : 1;
	if (config.borrow_max)
		stats_.borrow_max = std::min(config.borrow_max, count);
	want.track_id = config.track_id;
	want.buffer_count = count - stats_.borrow_max;
	if (!want.buffer_count)
		return 0;
	r = frame_pool_new(sys_, &format_, &want, &copies_);
	if (r < 0)
		return r;
	frame_pool_stats(copies_, &pool);
	stats_.copy_count = pool.buffer_count;
	stats_.memory_bytes += pool.memory_bytes;
	return 0;
}

/* --- libcamera's thread -------------------------------------------------- */

void Source::completed(Request *request)
{
	const uint64_t one = 1;
	std::lock_guard<std::mutex> hold(lock_);

	assert(ring_count_ < ring_.size());
	ring_[(ring_head_ + ring_count_++) % ring_.size()] =
		(uint32_t)request->cookie();
	(void)sys_->write(event_fd_, &one, sizeof(one));
}

void Source::disconnected()
{
	const uint64_t one = 1;
	std::lock_guard<std::mutex> hold(lock_);

	gone_ = true;
	(void)sys_->write(event_fd_, &one, sizeof(one));
}

/* --- the owner's thread -------------------------------------------------- */

/* The descriptor is readable while the ring has something, or for good. */
bool Source::pop(uint32_t *ret_index)
{
	std::lock_guard<std::mutex> hold(lock_);
	uint64_t count;

	if (!ring_count_)
		return false;
	*ret_index = ring_[ring_head_];
	ring_head_ = (ring_head_ + 1) % ring_.size();
	if (!--ring_count_ && !gone_)
		(void)sys_->read(event_fd_, &count, sizeof(count));
	return true;
}

int Source::queue(Buffer &b)
{
	int r;

	b.request->reuse(Request::ReuseBuffers);
	controls_.give(b.request->controls());
	/* Before it is queued: it may complete before the call returns. */
	b.place = Place::Queued;
	r = camera_->queueRequest(b.request.get());
	if (r < 0)
		b.place = Place::Free;
	return r;
}

int Source::queue_free()
{
	for (Buffer &b : buffers_) {
		int r = b.place == Place::Free ? queue(b) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

int Source::start()
{
	int r;

	if (state_ != State::Off)
		return -EBUSY;
	{
		std::lock_guard<std::mutex> hold(lock_);
		if (gone_)
			return -ENODEV;
	}
	r = camera_->start(controls_.start());
	if (r < 0)
		return r;
	state_ = State::On;
	sequence_known_ = false;
	stamp_last_ns_ = 0;
	r = queue_free();
	if (r < 0)
		(void)stop();
	return r;
}

/* Every request completes before Camera::stop() returns. */
int Source::stop()
{
	uint32_t index;
	int r;

	if (state_ != State::On)
		return 0;
	state_ = State::Off;
	r = camera_->stop();
	while (pop(&index))
		buffers_[index].place = Place::Free;
	return r;
}

void Source::close()
{
	bool out = false;

	(void)stop();
	if (camera_) {
		camera_->requestCompleted.disconnect(this);
		camera_->disconnected.disconnect(this);
	}
	for (Buffer &b : buffers_) {
		b.request.reset();
		b.frame = nullptr;
		out = out || b.place == Place::Out;
	}
	allocator_.reset();
	configuration_.reset();
	if (acquired_)
		(void)camera_->release();
	camera_.reset();
	state_ = State::Closed;
	if (!out)
		delete this;
}

void Source::release(uint32_t index)
{
	Buffer &b = buffers_[index];

	assert(b.place == Place::Out);
	b.place = Place::Free;
	if (state_ == State::On && queue(b) < 0)
		stats_.requeue_errors++;
	if (state_ != State::Closed)
		return;
	for (const Buffer &other : buffers_)
		if (other.place == Place::Out)
			return;
	delete this;
}

uint32_t Source::out() const
{
	uint32_t count = 0;

	for (const Buffer &b : buffers_)
		count += b.place == Place::Out;
	return count;
}

int Source::set_control(const struct capture_control_setting &setting)
{
	if (state_ == State::Closed)
		return -ENODEV;
	return controls_.set(camera_->controls(), setting);
}

/* --- frames -------------------------------------------------------------- */

void Source::set_payload(Buffer &b)
{
	struct capture_frame &frame = b.cell.holder.frame;
	auto from = b.frame->metadata().planes();

	for (uint32_t p = 0; p < frame.plane_count; p++)
		frame.planes[p].bytesused = 0;
	/* Bounded by libcamera_is_possible(); what is more is not believed. */
	for (uint32_t p = 0; p < from.size() && p < CAPTURE_PLANES_MAX; p++) {
		struct capture_plane &to = frame.planes[merged_ ? 0 : p];
		uint32_t room = to.length - to.offset - to.bytesused;

		if (merged_ || p < frame.plane_count)
			to.bytesused += std::min(room, from[p].bytesused);
	}
}

bool Source::is_good(Buffer &b)
{
	const struct capture_frame &frame = b.cell.holder.frame;

	/* Cancelled by libcamera while it is on: as bad as damaged. */
	if (b.request->status() != Request::RequestComplete ||
	    b.frame->metadata().status != FrameMetadata::FrameSuccess) {
		stats_.frames_error++;
		return false;
	}
	set_payload(b);
	if (!frame.planes[0].bytesused ||
	    !pix_frame_fits(&format_, &layout_, &frame)) {
		stats_.frames_short++;
		return false;
	}
	return true;
}

void Source::set_sequence(Buffer &b, struct capture_frame &frame)
{
	uint32_t now = b.frame->metadata().sequence;
	/* Unsigned, so that a wrap is a step of one. */
	uint32_t step = now - sequence_libcamera_;

	if (!sequence_known_) {
		sequence_ = now;
		sequence_known_ = true;
	} else if (!step || step > INT32_MAX) {
		stats_.sequence_errors++;
		sequence_++;
	} else {
		stats_.frames_lost += step - 1;
		sequence_ += step;
	}
	sequence_libcamera_ = now;
	frame.sequence = sequence_;
}

void Source::set_stamp(Buffer &b, struct capture_frame &frame)
{
	uint64_t monotonic_ns = sys_now_ns(sys_, CLOCK_MONOTONIC);
	uint64_t boot_ns = sys_now_ns(sys_, CLOCK_BOOTTIME);
	uint64_t stamp_ns = b.frame->metadata().timestamp;
	auto sensor = b.request->metadata().get(controls::SensorTimestamp);

	frame.flags = 0;
	frame.point = CAPTURE_POINT_END_OF_FRAME;
	/* Pipelines without better knowledge repeat the buffer's stamp. */
	if (sensor && *sensor > 0 && (uint64_t)*sensor != stamp_ns) {
		stamp_ns = (uint64_t)*sensor;
		frame.point = CAPTURE_POINT_START_OF_EXPOSURE;
	}
	frame.clock = stamp_ns > monotonic_ns ? CAPTURE_CLOCK_BOOTTIME
					      : CAPTURE_CLOCK_MONOTONIC;
	if (!stamp_ns || stamp_ns > boot_ns || stamp_ns <= stamp_last_ns_) {
		if (stamp_ns && stamp_ns <= stamp_last_ns_)
			stats_.stamps_backward++;
		else
			stats_.stamps_bad++;
		frame.flags |= CAPTURE_FRAME_STAMPED;
		frame.point = CAPTURE_POINT_ARRIVAL;
		frame.clock = CAPTURE_CLOCK_MONOTONIC;
		stamp_ns = std::max(monotonic_ns, stamp_last_ns_ + 1);
	}
	stamp_last_ns_ = stamp_ns;
	frame.stamp_ns = stamp_ns;
}

/* Whether it is one for the user; else it is queued again. */
bool Source::accept(Buffer &b)
{
	bool good;

	assert(b.place == Place::Queued);
	b.place = Place::Done;
	good = is_good(b);
	if (good)
		return true;
	b.place = Place::Free;
	if (queue(b) < 0)
		stats_.requeue_errors++;
	return false;
}

void Source::describe_frame(Buffer &b, struct capture_frame &frame)
{
	set_sequence(b, frame);
	set_stamp(b, frame);
	stats_.frames++;
}

/* The frame in memory of our own; its buffer goes back at once. */
int Source::copy(Buffer &b, struct capture_frame **ret_frame)
{
	const struct capture_frame &from = b.cell.holder.frame;
	struct capture_frame *to = frame_pool_take(copies_);

	if (to) {
		describe_frame(b, *to);
		to->flags |= CAPTURE_FRAME_COPY;
		capture_frame_begin_read(sys_, &from);
		frame_begin_write(sys_, to);
		for (uint32_t p = 0; p < to->plane_count; p++) {
			const struct capture_plane &lies = from.planes[p];
			uint32_t bytes =
				std::min(lies.bytesused, to->planes[p].length);

			memcpy(frame_pool_data(to, p), lies.map + lies.offset,
			       bytes);
			to->planes[p].bytesused = bytes;
			stats_.bytes_touched += 2 * (uint64_t)bytes;
		}
		frame_end_write(sys_, to);
		capture_frame_end_read(sys_, &from);
		stats_.copies++;
		*ret_frame = to;
	} else {
		stats_.frames_dropped++;
	}
	b.place = Place::Free;
	if (queue(b) < 0)
		stats_.requeue_errors++;
	return to ? 0 : -ENOBUFS;
}

/* 0 and a frame, -EAGAIN, -ENOBUFS or -ENODEV. */
int Source::take(struct capture_frame **ret_frame)
{
	uint32_t index;

	/* Bad ones come again: no more than all of them in one turn. */
	for (size_t i = 0; i < buffers_.size(); i++) {
		if (!pop(&index)) {
			std::lock_guard<std::mutex> hold(lock_);

			return gone_ ? -ENODEV : -EAGAIN;
		}

		Buffer &b = buffers_[index];

		if (!accept(b))
			continue;
		if (copies_ && out() >= stats_.borrow_max)
			return copy(b, ret_frame);
		describe_frame(b, b.cell.holder.frame);
		b.place = Place::Out;
		b.cell.holder.refs = 1;
		*ret_frame = &b.cell.holder.frame;
		return 0;
	}
	return -EAGAIN;
}

/* 0 when the descriptor is readable, -ETIMEDOUT, or the errno of poll. */
int Source::wait(uint64_t deadline_ns)
{
	struct pollfd pfd = {};
	uint64_t now_ns;
	int r;

	pfd.fd = event_fd_;
	pfd.events = POLLIN;
	do {
		now_ns = sys_now_ns(sys_, CLOCK_MONOTONIC);
		if (now_ns >= deadline_ns)
			return -ETIMEDOUT;
		/* Rounded up, so that the last turn does not spin. */
		r = sys_->poll(&pfd, 1,
			       (int)std::min<uint64_t>(
				       (deadline_ns - now_ns) / ns_per_ms + 1,
				       INT32_MAX));
	} while (r == 0 || r == -EINTR);
	return r < 0 ? r : 0;
}

int Source::dequeue(uint64_t deadline_ns, struct capture_frame **ret_frame)
{
	int r;

	if (state_ != State::On)
		return -EBUSY;
	/* Those that libcamera did not take at their unref. */
	r = queue_free();
	if (r < 0)
		return r;
	for (;;) {
		r = take(ret_frame);
		if (r != -EAGAIN)
			return r;
		if (out() == buffers_.size())
			return -ENOBUFS;
		if (!deadline_ns)
			return -EAGAIN;
		r = wait(deadline_ns);
		if (r < 0)
			return r;
	}
}

/* --- the C face ---------------------------------------------------------- */

Source *self(const struct capture_source *source)
{
	return container_of(source, const Face, base)->self;
}

/* No exception leaves: what throws here is memory that cannot be had. */
template <typename Call> int guard(Call call) noexcept
{
	try {
		return call();
	} catch (const std::bad_alloc &) {
		return -ENOMEM;
	} catch (...) {
		return -EIO;
	}
}

void face_close(struct capture_source *source)
{
	(void)guard([&] {
		self(source)->close();
		return 0;
	});
}

int face_start(struct capture_source *source)
{
	return guard([&] { return self(source)->start(); });
}

int face_stop(struct capture_source *source)
{
	return guard([&] { return self(source)->stop(); });
}

int face_dequeue(struct capture_source *source, uint64_t deadline_ns,
		 struct capture_frame **ret_frame)
{
	return guard(
		[&] { return self(source)->dequeue(deadline_ns, ret_frame); });
}

int face_set_control(struct capture_source *source,
		     const struct capture_control_setting *setting)
{
	return guard([&] { return self(source)->set_control(*setting); });
}

int face_fd(const struct capture_source *source)
{
	return self(source)->event_fd_;
}

void face_stats(const struct capture_source *source,
		struct capture_source_stats *ret_stats)
{
	*ret_stats = self(source)->stats_;
}

void frame_release(struct frame_holder *holder)
{
	Cell *cell = container_of(holder, Cell, holder);

	(void)guard([&] {
		cell->source->release(cell->index);
		return 0;
	});
}

const struct source_ops *face_ops()
{
	static const struct source_ops ops = [] {
		struct source_ops o = {};

		o.close = face_close;
		o.start = face_start;
		o.stop = face_stop;
		o.dequeue = face_dequeue;
		o.fd = face_fd;
		o.stats = face_stats;
		o.set_control = face_set_control;
		return o;
	}();

	return &ops;
}

int libcamera_open(const struct sys_ops *sys,
		   const struct capture_source_config *config,
		   struct capture_source **ret_source)
{
	Source *s = nullptr;
	int r;

	r = guard([&] {
		s = new Source(sys, face_ops());
		return s->setup(*config);
	});
	if (r == 0)
		*ret_source = &s->face_.base;
	else if (s)
		face_close(&s->face_.base);
	return r;
}

} /* namespace */

extern "C" CAPTURE_API const struct source_module capture_source_module = {
	SOURCE_MODULE_ABI,
	CAPTURE_SOURCE_LIBCAMERA,
	sizeof(struct capture_source_config),
	sizeof(struct capture_source),
	sizeof(struct source_ops),
	sizeof(struct frame_holder),
	sizeof(struct capture_source_stats),
	sizeof(struct sys_ops),
	libcamera_open,
};
