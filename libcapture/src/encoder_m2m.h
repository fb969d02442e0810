/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the M2M encoder share: encoder_m2m*.c. */
#ifndef CAPTURE_SRC_ENCODER_M2M_H
#define CAPTURE_SRC_ENCODER_M2M_H

#include "src/encoder_backend.h"
#include "src/keyframe.h"
#include "src/limits.h"
#include "src/origins.h"
#include "src/queue.h"

enum m2m_state {
	M2M_RUNNING = 0,
	M2M_DRAINING,
	M2M_DRAINED,
	M2M_FAILED,
	M2M_CLOSED
};

struct m2m;

struct m2m_packet {
	struct packet_holder holder;
	struct m2m *m2m;
	uint32_t index;
};

/*
 * The parameter sets that the encoder gave last. Some give them as buffers of
 * their own, maybe one per set, some with the first key frame alone.
 */
struct m2m_headers {
	bool complete; /* pictures came since: more begin anew */
	size_t len;
	uint8_t bytes[CAPTURE_HEADERS_BYTES_MAX];
};

struct m2m {
	struct capture_encoder base;
	int fd;
	enum m2m_state state;
	int failure;	 /* what receive() says in M2M_FAILED */
	bool can_stop;	 /* has ENCODER_CMD; else a drain is a count */
	bool no_copies;	 /* memory to copy into was refused, under way */
	bool has_events; /* may change its format by itself */
	bool stale;	 /* it has: what is done is good, then no more */
	struct capture_format input; /* as set on the OUTPUT queue */
	struct pix_layout input_layout;
	struct queue out;
	struct queue cap;
	struct m2m_headers headers;
	/* Whose memory each OUTPUT buffer borrows; by index. */
	struct capture_frame *inside[CAPTURE_BUFFERS_MAX];
	int last_fd[CAPTURE_BUFFERS_MAX]; /* imported there last time */
	struct m2m_packet packets[CAPTURE_BUFFERS_MAX];
	uint64_t key_last;
	uint32_t quiet_turns;	/* that looked for no packet, in a row */
	uint64_t timeout_ns;
	uint64_t progress_ns; /* the last sign of life, or reason for none */
	struct origins origins;
};

/*
 * Opens the node and sets up formats, controls and buffers; all that was got
 * is in @m, also on failure. Return: as capture_encoder_open().
 */
int m2m_setup(struct m2m *m, const struct capture_encoder_config *config,
	      const char *path, uint32_t codec) MUST_CHECK;

/* An OUTPUT queue of the driver's memory, to copy frames into. */
int m2m_alloc_copy_input(struct m2m *m) MUST_CHECK;

/* One that borrows frames' memory; -EOPNOTSUPP: the device does not. */
int m2m_alloc_import_input(struct m2m *m) MUST_CHECK;

/*
 * Sets what the driver has, and tells in the stats what it has not.
 * Return: 0, or the errno of a device that has failed.
 */
int m2m_set_controls(struct m2m *m,
		     const struct capture_encoder_controls *c) MUST_CHECK;

/* One control. Return: 0, -EOPNOTSUPP, -ERANGE, or the errno of the control. */
int m2m_set_control(struct m2m *m, uint32_t id, int64_t value) MUST_CHECK;

/* Keeps the sets of a packet that has no picture. False: too long. */
bool m2m_headers_keep(struct m2m *m, const uint8_t *bytes, size_t len);

/*
 * Puts kept sets in front of a key frame that lacks them, in its buffer: the
 * bytes behind are moved. Keeps those of key frames that have them.
 * @room: of the buffer, from @bytes on. Return: the length that it now has.
 */
size_t m2m_headers_join(struct m2m *m, const struct keyframe_parts *parts,
			uint8_t *bytes, size_t len, size_t room);

#endif
