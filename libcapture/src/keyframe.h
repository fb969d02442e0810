/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a compressed frame is, by its own bytes: whether it can be decoded
 * alone, and where its headers are. Pure.
 */
#ifndef CAPTURE_SRC_KEYFRAME_H
#define CAPTURE_SRC_KEYFRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * H.264: an IDR slice; HEVC: an IRAP picture (both Annex B); VP8: the frame
 * type bit; FWHT: the I frame flag of its header; FFV1: the key flag; JPEG,
 * raw pictures, audio: always. Damaged, empty or unknown: false.
 */
bool keyframe_find(uint32_t fourcc, const uint8_t *bytes, size_t len);

/* Parameter sets of H.264 and HEVC, each of a kind; no other codec has them. */
struct keyframe_parts {
	bool picture;	  /* has picture data; codecs without sets: not empty */
	bool key;	  /* as keyframe_find() */
	bool any_set;	  /* before the picture data there is one, ... */
	bool all_sets;	  /* ... or all that a decoder needs; no sets: true */
	size_t insert_at; /* where sets that lack may be put in front */
};

void keyframe_scan(uint32_t fourcc, const uint8_t *bytes, size_t len,
		   struct keyframe_parts *ret_parts);

/*
 * The parameter sets before the picture data, in their order, each behind a
 * start code of four bytes, are copied to @to.
 * Return: their bytes; 0 when there are none or more than @max.
 */
size_t keyframe_copy_sets(uint32_t fourcc, const uint8_t *bytes, size_t len,
			  uint8_t *to, size_t max);

#endif
