/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An access unit of H.264 or H.265 as an encoder gives it (Annex B) and as
 * Matroska wants it: start codes become lengths, parameter sets move to the
 * codec private, the frame's time goes in as a SEI before the first slice.
 * Only places are computed; the bytes are copied once, into the store.
 */
#ifndef CORE_AU_H
#define CORE_AU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/macros.h"
#include "proto/frame_time.h"
#include "proto/nal.h"

struct au {
	/* The result: what to store, in order. */
	size_t count;
	size_t bytes;
	bool key;
	/* Scratch; parts point into it, so it stays while they are used. */
	struct nal_piece pieces[NAL_PIECES_MAX];
	struct iovec parts[2 * NAL_PIECES_MAX + 2];
	uint8_t sei_prefix[4];
	uint8_t sei[FRAME_TIME_SEI_BYTES_MAX];
};

/**
 * au_annexb() - take an access unit apart
 * @bytes: borrowed; the parts point into it
 * @time: goes in as a SEI, unless the unit has one of ours already
 *
 * Return: 0, -EBADMSG (no start code, or no slice), -E2BIG (more than
 * NAL_PIECES_MAX NAL units), -EFBIG (a NAL unit over 32 bits).
 */
int au_annexb(struct au *au, enum nal_codec codec, const uint8_t *bytes,
	      size_t len, const struct frame_time *time) MUST_CHECK;

/**
 * au_codec_private() - append avcC or hvcC of the unit's parameter sets
 *
 * Return: 0, -ENOENT (it carries none), -EBADMSG, -EMSGSIZE, -ENOBUFS,
 * -ENOMEM.
 */
int au_codec_private(enum nal_codec codec, const uint8_t *bytes, size_t len,
		     struct buf *out) MUST_CHECK;

#endif
