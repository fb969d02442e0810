/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One face for encoders: a stateful V4L2 M2M device, or a library in software
 * (openh264: H264; libavcodec: FFV1, AAC; TurboJPEG: JPEG; own code: Y16,
 * ALAW, ULAW).
 * Frames go in with capture_encoder_submit() and come out, compressed, of
 * capture_encoder_receive(), each paired with its input by a key that the
 * driver copies (V4L2_BUF_FLAG_TIMESTAMP_COPY), never by buffer index.
 */
#ifndef CAPTURE_ENCODER_H
#define CAPTURE_ENCODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <capture/api.h>
#include <capture/arena.h>
#include <capture/frame.h>

struct capture_encoder;

enum capture_backend {
	CAPTURE_BACKEND_AUTO = 0,	/* M2M if there is one, else software */
	CAPTURE_BACKEND_M2M,
	CAPTURE_BACKEND_SOFTWARE	/* its library may not be built in */
};

enum capture_bitrate_mode {
	CAPTURE_BITRATE_VBR = 0,
	CAPTURE_BITRATE_CBR,
	CAPTURE_BITRATE_CQ	/* by quality, whatever it takes */
};

enum capture_profile {
	CAPTURE_PROFILE_H264_CONSTRAINED_BASELINE = 0,
	CAPTURE_PROFILE_H264_BASELINE,
	CAPTURE_PROFILE_H264_MAIN,
	CAPTURE_PROFILE_H264_HIGH,
	CAPTURE_PROFILE_HEVC_MAIN,
	CAPTURE_PROFILE_HEVC_MAIN_10,
	CAPTURE_PROFILE_VP8_0,
	CAPTURE_PROFILE_VP8_1,
	CAPTURE_PROFILE_VP8_2,
	CAPTURE_PROFILE_VP8_3
};

/* Where SPS and PPS come, as the driver is asked. */
enum capture_header_mode {
	CAPTURE_HEADERS_JOINED = 0,	/* with the first frame */
	CAPTURE_HEADERS_SEPARATE	/* in a buffer before it */
};

/*
 * Each: -1 leaves the device's value. What a device lacks or refuses is left
 * too, and told in capture_encoder_stats: see CAPTURE_CONTROL_*.
 *
 * However a device gives its headers, each key packet has them in front:
 * capture_packet is one access unit, decodable from any key frame.
 */
struct capture_encoder_controls {
	int64_t bitrate;	/* bits per second */
	int64_t gop_frames;	/* from key frame to key frame */
	int64_t qp;		/* constant quantiser; without a bitrate */
	int64_t quality;	/* 1..CAPTURE_QUALITY_MAX: of JPEG, of CQ */
	int64_t bitrate_peak;	/* bits per second, of VBR */
	int64_t bitrate_mode;	/* enum capture_bitrate_mode */
	int64_t qp_min;
	int64_t qp_max;
	int64_t profile;	/* enum capture_profile, of the codec taken */
	int64_t level;		/* tenths: 41 is 4.1; 9 is H.264's 1b */
	int64_t header_mode;	/* enum capture_header_mode; -1: joined */
	int64_t repeat_headers;	/* 0, 1: with each key frame; -1: yes */
};

/* Of struct capture_encoder_stats: a bit per control. */
#define CAPTURE_CONTROL_BITRATE 0x1u
#define CAPTURE_CONTROL_GOP 0x2u
#define CAPTURE_CONTROL_QP 0x4u
#define CAPTURE_CONTROL_QUALITY 0x8u
#define CAPTURE_CONTROL_BITRATE_PEAK 0x10u
#define CAPTURE_CONTROL_BITRATE_MODE 0x20u
#define CAPTURE_CONTROL_QP_MIN 0x40u
#define CAPTURE_CONTROL_QP_MAX 0x80u
#define CAPTURE_CONTROL_PROFILE 0x100u
#define CAPTURE_CONTROL_LEVEL 0x200u
#define CAPTURE_CONTROL_HEADER_MODE 0x400u
#define CAPTURE_CONTROL_REPEAT_HEADERS 0x800u

#define CAPTURE_QUALITY_MAX 100

struct capture_encoder_config {
	enum capture_backend backend;
	/* The M2M node; NULL: the first that takes @source, gives @codec. */
	const char *path;
	/*
	 * Fourcc. 0: H264 of an M2M device, else H264 in software, else
	 * whatever an M2M device has. Samples need one.
	 */
	uint32_t codec;
	/*
	 * Of the frames; copied. Of samples, size[0] bounds a frame: it may
	 * be any run of whole samples up to that.
	 */
	const struct capture_format *source;
	/*
	 * The frames have dma-buf descriptors: import them, touch no pixel.
	 * A device that refuses them is given copies, which are counted.
	 */
	bool source_dmabuf;
	struct capture_encoder_controls controls;
	/* Compressed buffers; 0: CAPTURE_ENCODER_BUFFERS. */
	uint32_t buffer_count;
	/* How long one frame may take; 0: CAPTURE_ENCODER_TIMEOUT_NS. */
	uint64_t timeout_ns;
	/* For the compressed side: CAPTURE_RUNG_AUTO, or the only one. */
	enum capture_rung rung;
	/*
	 * 0: an M2M device is called on the caller's thread, and each call
	 * takes as long as the driver takes. Else all calls of it are made on
	 * a thread of the encoder's own, from open to close, and no driver
	 * holds up its user for longer than this: open is waited for stuck_ns,
	 * then -ETIMEDOUT; close, force_key and set_bitrate for 100 ms; submit
	 * and drain for nothing: their errors are told by receive. A driver
	 * that does not return for stuck_ns is a stuck encoder, which receive
	 * says (-ETIMEDOUT). capture_encoder_close() then gives the frames
	 * back and leaves the thread behind with the descriptors and memory
	 * of the device; it ends if the driver returns. Until then, or for the
	 * moment that closing takes, that device is not opened again: -EBUSY
	 * after 100 ms (with no @path: no device is). One frame
	 * may be kept until then too, and goes back in a later
	 * capture_encoder_open() on the same thread. @sys must be good for any
	 * thread. Costs a wakeup each way per frame, and nothing per byte.
	 */
	uint64_t stuck_ns;
};

#define CAPTURE_ENCODER_BUFFERS 8
#define CAPTURE_ENCODER_TIMEOUT_NS UINT64_C(2000000000)

/* All "leave it" and all defaults. */
CAPTURE_API void
capture_encoder_config_init(struct capture_encoder_config *config);

#define CAPTURE_PACKET_KEY 0x1u		/* found in the bitstream */
#define CAPTURE_PACKET_DRIVER_KEY 0x2u	/* V4L2_BUF_FLAG_KEYFRAME, a hint */

/**
 * struct capture_packet - one compressed frame, where the encoder wrote it
 *
 * Of samples: one packet may cover several frames or a part of one. Its stamp
 * is that of its own first sample, reckoned from the stamp of the frame that
 * the sample came in by the nominal sample rate.
 * Ownership as of struct capture_frame: the last capture_packet_unref() gives
 * the buffer back to the encoder, and a packet may outlive its encoder.
 * Release it as soon as the bytes were stored and sent: it never waits for
 * the network. The fields from @track_id to @device_hz are those of the input
 * frame, but for @decode_ns.
 */
struct capture_packet {
	const uint8_t *data;
	size_t bytes;
	/* The same bytes in their arena; the empty span when there is none. */
	struct capture_span span;
	uint32_t fourcc;
	uint32_t flags;		/* CAPTURE_PACKET_* */
	uint32_t track_id;
	uint32_t sequence;
	uint64_t stamp_ns;
	/*
	 * @stamp_ns, or that of the latest packet before this one in its epoch
	 * if that is later: never goes back, as decoders and files want it.
	 */
	uint64_t decode_ns;
	enum capture_clock clock;
	enum capture_point point;
	uint32_t epoch;
	uint64_t device_ticks;
	uint64_t device_hz;
	struct capture_aligned aligned;	/* the frame's */
	uint64_t encode_ns;	/* from submit to receive, CLOCK_MONOTONIC */
};

/*
 * One more reference, one less. ref returns @packet; unref takes NULL and
 * returns NULL.
 */
CAPTURE_API struct capture_packet *
capture_packet_ref(struct capture_packet *packet);
CAPTURE_API struct capture_packet *
capture_packet_unref(struct capture_packet *packet);

/* Counters since open; copies and bytes are counted, not assumed. */
struct capture_encoder_stats {
	enum capture_backend backend;	/* the one taken */
	const char *name;	/* of it: "m2m", "openh264", "ffv1"; static */
	bool source_imported;	/* raw frames enter as dma-bufs */
	/* Of the compressed side; S5 in software, which has ordinary memory. */
	enum capture_rung rung;
	uint64_t frames_in;
	uint64_t packets_out;
	uint64_t packets_key;
	uint64_t bytes_out;
	/*
	 * The encoder gave no packet for them. Known when a drain ends, or
	 * when more than 16 packets have overtaken a frame's own, the
	 * deepest reordering of H.264 and HEVC.
	 */
	uint64_t frames_skipped;
	uint64_t packets_error;	/* flagged or empty, queued again */
	/* Of no frame, or of one that counts as skipped; queued again. */
	uint64_t packets_unpaired;
	uint64_t requeue_errors;
	/* Copied and blank frames told -EAGAIN: they cannot be imported. */
	uint64_t imports_refused;
	uint64_t copies;	/* of raw frames, conversions included */
	uint64_t bytes_touched;	/* of raw frames: read + written by copies */
	/* Of an M2M device; CAPTURE_CONTROL_*, of those asked for. */
	uint32_t controls_ignored; /* it lacks or refuses them */
	uint32_t controls_adjusted; /* it took another value */
	uint64_t headers_separate; /* buffers of headers alone, kept */
	uint64_t headers_joined; /* put in front of a key frame */
	uint64_t headers_missing; /* key packets that went without */
	uint64_t bytes_copied_out; /* compressed bytes copied (software) */
};

/**
 * capture_encoder_open() - find or open an encoder and set it up
 * @sys: system calls, or NULL
 * @config: copied
 * @ret_encoder: owned by the caller
 *
 * Context: blocks in open(2).
 * Return: 0, or
 *  -ENODEV           no such encoder (or the node at @path is none, or the
 *                    library is not built in)
 *  -EBUSY            in use, or not yet out of an earlier call (stuck_ns)
 *  -ETIMEDOUT        the driver did not return in stuck_ns
 *  -EPROTONOSUPPORT  it does not take the source's fourcc, or does not give
 *                    the codec (from this media)
 *  -ERANGE           not in this size
 *  -EOPNOTSUPP       the one rung asked for cannot be had
 *  -EINVAL           the configuration contradicts itself
 *  -EPROTO           the driver answered with nonsense
 *  -ENOMEM, or the errno of open.
 */
CAPTURE_API int
capture_encoder_open(const struct sys_ops *sys,
		     const struct capture_encoder_config *config,
		     struct capture_encoder **ret_encoder) CAPTURE_MUST_CHECK;

/*
 * Cancels what is in flight and gives its frames back; takes NULL; returns
 * NULL. Packets that are still out stay valid until their last unref.
 */
CAPTURE_API struct capture_encoder *
capture_encoder_close(struct capture_encoder *encoder);

/* The fourcc of the packets. */
CAPTURE_API uint32_t
capture_encoder_codec(const struct capture_encoder *encoder);
/**
 * capture_encoder_codec_private() - what a decoder needs before any packet
 * @ret_data: Matroska's CodecPrivate of the codec; the encoder's memory
 * @ret_bytes: 0: the codec has none, or its packets carry it (H264, HEVC)
 *
 * Known, and the same, from open to close.
 * Return: 0.
 */
CAPTURE_API int
capture_encoder_codec_private(const struct capture_encoder *encoder,
			      const uint8_t **ret_data, size_t *ret_bytes);
/* Where packets live, for io_uring; NULL if not in an arena. Borrowed. */
CAPTURE_API struct capture_arena *
capture_encoder_arena(const struct capture_encoder *encoder);

/*
 * Poll for POLLIN | POLLOUT, then call capture_encoder_receive() until it
 * says -EAGAIN: this also gives finished input frames back.
 */
CAPTURE_API int capture_encoder_fd(const struct capture_encoder *encoder);

/*
 * When the oldest frame inside is overdue, CLOCK_MONOTONIC; UINT64_MAX when
 * none is inside. Set a timer and call capture_encoder_receive() then.
 */
CAPTURE_API uint64_t
capture_encoder_deadline_ns(const struct capture_encoder *encoder);

/**
 * capture_encoder_submit() - give a frame to the encoder
 * @frame: a reference is taken and given up when the encoder has read it
 *
 * Context: does not wait for a device; the software encoder encodes here.
 * Return: 0, or
 *  -EAGAIN  no room: receive (and unref) packets first; drop this frame or
 *           try it again. Or a frame with CAPTURE_FRAME_COPY or _BLANK that
 *           the device cannot import: taken as a copy, and all after it, once
 *           nothing is inside; where it takes no copies either, never
 *  -EINVAL  not of the format the encoder was opened for
 *  -EPIPE   draining
 *  -EIO     failed before (also after -ETIMEDOUT): close and open again
 *  -ENODEV  unplugged, or the errno of QBUF. The frame is then not inside.
 */
CAPTURE_API int capture_encoder_submit(struct capture_encoder *encoder,
				       struct capture_frame *frame)
	CAPTURE_MUST_CHECK;

/**
 * capture_encoder_receive() - the next packet, in coded order
 * @deadline_ns: wait until then; 0: do not wait
 * @ret_packet: one reference
 *
 * Coded order is that of the frames, as B frames are switched off. A device
 * that makes them all the same gives a packet after one of a later frame;
 * each has the stamp of its own frame, and decode_ns tells the order.
 *
 * Does not wait when no frame is inside, nor for one that was overtaken: it
 * may have been skipped.
 *
 * Return: 0, or
 *  -EAGAIN     no packet by @deadline_ns, and none is overdue
 *  -ENOBUFS    all packets are out: unref some (the encoder's clock stands
 *              still until then)
 *  -ETIMEDOUT  the encoder is stuck: a frame is inside for longer than its
 *              timeout. Close and open again
 *  -EPIPE      drained: the last packet was received
 *  -EIO        failed before
 *  -ESTALE     the device changed its format, or ended the stream, by itself:
 *              close, and open again with the source's format as it is now
 *  -ENODEV     unplugged
 *  -EPROTO     the driver answered with nonsense
 *  or the errno of DQBUF.
 */
CAPTURE_API int capture_encoder_receive(struct capture_encoder *encoder,
					uint64_t deadline_ns,
					struct capture_packet **ret_packet)
	CAPTURE_MUST_CHECK;

/**
 * capture_encoder_drain() - no more frames; finish those inside
 *
 * Then receive until -EPIPE.
 *
 * Return: 0 (also when already draining), -EAGAIN (no room for what is kept
 * back: receive and unref packets first), -EIO (failed before), or the errno
 * of ENCODER_CMD.
 */
CAPTURE_API int capture_encoder_drain(struct capture_encoder *encoder)
	CAPTURE_MUST_CHECK;

/**
 * capture_encoder_force_key() - make the next submitted frame a key frame
 *
 * Return: 0, -EOPNOTSUPP (the driver has no such control: key frames come at
 * its own pace), or the errno of the control.
 */
CAPTURE_API int capture_encoder_force_key(struct capture_encoder *encoder)
	CAPTURE_MUST_CHECK;

/**
 * capture_encoder_set_bitrate() - while running
 * @bitrate: bits per second
 *
 * Return: 0, -EOPNOTSUPP, -ERANGE, or the errno of the control.
 */
CAPTURE_API int capture_encoder_set_bitrate(struct capture_encoder *encoder,
					    uint32_t bitrate)
	CAPTURE_MUST_CHECK;

/* Always works, also after a failure. */
CAPTURE_API void
capture_encoder_stats(const struct capture_encoder *encoder,
		      struct capture_encoder_stats *ret_stats);

#endif
