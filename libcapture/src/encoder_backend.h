/* SPDX-License-Identifier: Apache-2.0 */
/* What an encoder is under its public face: a base and an ops table. */
#ifndef CAPTURE_SRC_ENCODER_BACKEND_H
#define CAPTURE_SRC_ENCODER_BACKEND_H

#include <stdbool.h>

#include <capture/encoder.h>

#include "base/macros.h"
#include "src/pixfmt.h"

DEFINE_AUTO(capture_packet_unref, struct capture_packet *)
DEFINE_AUTO(capture_encoder_close, struct capture_encoder *)

struct encoder_ops {
	void (*close)(struct capture_encoder *encoder);
	int (*fd)(const struct capture_encoder *encoder);
	struct capture_arena *(*arena)(const struct capture_encoder *encoder);
	uint64_t (*deadline_ns)(const struct capture_encoder *encoder);
	/* @frame has the format the encoder was opened for. */
	int (*submit)(struct capture_encoder *encoder,
		      struct capture_frame *frame);
	int (*receive)(struct capture_encoder *encoder, uint64_t deadline_ns,
		       struct capture_packet **ret_packet);
	int (*drain)(struct capture_encoder *encoder);
	int (*force_key)(struct capture_encoder *encoder);
	int (*set_bitrate)(struct capture_encoder *encoder, uint32_t bitrate);
};

struct capture_encoder {
	const struct encoder_ops *ops;
	const struct sys_ops *sys;
	struct capture_format source;
	struct pix_layout layout;	/* of @source; count 0: not known */
	uint32_t codec;
	/* Matroska's CodecPrivate; the backend's memory. 0 bytes: none. */
	const uint8_t *codec_private;
	size_t codec_private_bytes;
	/* Of the last packet: its decode_ns, and of which epoch. */
	uint64_t decode_ns;
	uint32_t decode_epoch;
	/* An M2M device's: raw buffers that it gave back, copies included. */
	uint64_t inputs_done;
	struct capture_encoder_stats stats;
};

struct packet_holder {
	struct capture_packet packet;
	unsigned int refs;	/* 0: with its encoder */
	/* Gives the buffer back; called once, at the last unref. */
	void (*release)(struct packet_holder *holder);
};

/* What a packet inherits from its frame, kept while the frame is inside. */
struct packet_origin {
	uint64_t key;
	uint64_t submit_ns;	/* CLOCK_MONOTONIC */
	uint64_t stamp_ns;
	uint32_t track_id;
	uint32_t sequence;
	enum capture_clock clock;
	enum capture_point point;
	uint32_t epoch;
	uint64_t device_ticks;
	uint64_t device_hz;
	struct capture_aligned aligned;
};

void packet_origin_init(struct packet_origin *origin, uint64_t key,
			uint64_t submit_ns, const struct capture_frame *frame);

/* Hands a packet out with one reference: fills in all but @span, counts. */
struct capture_packet *packet_hand_out(struct capture_encoder *encoder,
				       struct packet_holder *holder,
				       const struct packet_origin *origin,
				       const uint8_t *data, size_t bytes,
				       uint64_t now_ns);

/*
 * Around reads of a raw frame by the CPU: tells dma-bufs about it where
 * caches must know. @ret_src: first payload byte of each plane.
 * Return: 0, or -EINVAL when a plane is not mapped.
 */
int frame_begin_read(const struct sys_ops *sys,
		     const struct capture_frame *frame,
		     const uint8_t *ret_src[CAPTURE_PLANES_MAX]) MUST_CHECK;
void frame_end_read(const struct sys_ops *sys,
		    const struct capture_frame *frame);

/* The base's fields of a new encoder; @config was checked. */
void encoder_base_init(struct capture_encoder *encoder,
		       const struct encoder_ops *ops,
		       const struct sys_ops *sys,
		       const struct capture_encoder_config *config);

/* As capture_encoder_open(), of one node. */
int encoder_m2m_open(const struct sys_ops *sys,
		     const struct capture_encoder_config *config,
		     const char *path, uint32_t codec,
		     struct capture_encoder **ret_encoder) MUST_CHECK;

#endif
