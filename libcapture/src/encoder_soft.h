/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the software encoders share: slots of an arena for their packets, an
 * eventfd, states. A codec embeds struct soft first and encodes inside
 * capture_encoder_submit(), on the caller's thread. What it can do stands in
 * the table in encoder_soft.c.
 */
#ifndef CAPTURE_SRC_ENCODER_SOFT_H
#define CAPTURE_SRC_ENCODER_SOFT_H

#include "src/encoder_backend.h"
#include "src/limits.h"

struct soft;

enum soft_slot_state { SOFT_SLOT_FREE = 0, SOFT_SLOT_READY, SOFT_SLOT_OUT };

struct soft_slot {
	struct packet_holder holder;
	struct soft *soft;
	enum soft_slot_state state;
	uint32_t index;
	size_t bytes;
	struct packet_origin origin;
};

struct soft_codec {
	const char *name;
	size_t object_bytes;	/* of the structure that embeds struct soft */
	/*
	 * Checks the source, opens the library, sets @slot_bytes and, if more
	 * than one packet may come of a frame, @slots_per_frame. Any error
	 * of capture_encoder_open(); close() is called after it all the same.
	 */
	int (*open)(struct soft *s,
		    const struct capture_encoder_config *config);
	/* Also of a codec half open. The memory is freed by the caller. */
	void (*close)(struct soft *s);
	/*
	 * Reads @frame, whose payload begins at @src, and pushes packets. An
	 * error ends the encoder; a frame that gives no packet is none.
	 */
	int (*encode)(struct soft *s, const struct capture_frame *frame,
		      const uint8_t *const *src);
	/* NULL: it keeps nothing back. At most @slots_per_frame packets. */
	int (*drain)(struct soft *s);
	/* NULL: every packet is a key frame. */
	void (*force_key)(struct soft *s);
	/* NULL: -EOPNOTSUPP. */
	int (*set_bitrate)(struct soft *s, uint32_t bitrate);
};

struct soft {
	struct capture_encoder base;
	const struct soft_codec *codec;
	size_t slot_bytes;
	uint32_t slots_per_frame;
	struct packet_origin origin;	/* of the frame in encode() */
	int event_fd;
	bool draining;
	bool closed;
	bool failed;
	uint64_t key_last;
	struct capture_arena *arena;
	uint32_t slot_count;
	uint32_t ready_count;
	uint32_t out_count;
	uint32_t ready[CAPTURE_BUFFERS_MAX];	/* slots, in input order */
	struct soft_slot slots[CAPTURE_BUFFERS_MAX];
};

/*
 * A free slot of @slot_bytes bytes at *@ret_room; never NULL for the first
 * @slots_per_frame packets of one encode() or drain(). It stays free until it
 * is pushed.
 */
struct soft_slot *soft_slot_find(struct soft *s, uint8_t **ret_room);

/* @bytes of @slot are a packet now. @origin: &s->origin, or one kept. */
void soft_slot_push(struct soft *s, struct soft_slot *slot,
		    const struct packet_origin *origin, size_t bytes);

/*
 * Moves @origin on by @samples samples: a packet that begins inside a frame
 * is stamped with its own first sample.
 */
void packet_origin_advance(struct packet_origin *origin, uint64_t samples,
			   uint32_t sample_rate);

/*
 * Whether the source is a picture that pix_to_i420() reads, of even sides from
 * @side_min on. Return: 0, -EPROTONOSUPPORT, -EINVAL, -ERANGE.
 */
int soft_check_picture(const struct soft *s, uint32_t side_min) MUST_CHECK;

extern const struct soft_codec soft_aac;
extern const struct soft_codec soft_g711;
extern const struct soft_codec soft_ffv1;
extern const struct soft_codec soft_jpeg;
extern const struct soft_codec soft_openh264;
extern const struct soft_codec soft_y16;

/*
 * Opens the software encoder of @codec for the source's media; 0: of
 * pictures, H264. Return: as capture_encoder_open(); -EPROTONOSUPPORT: there
 * is none, -ENODEV: its library is not built in.
 */
int encoder_soft_open(const struct sys_ops *sys,
		      const struct capture_encoder_config *config,
		      struct capture_encoder **ret_encoder) MUST_CHECK;

#endif
