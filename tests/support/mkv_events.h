/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the Matroska reader over bytes cut into slices and writes its events
 * down as text, one line each, the same for every way of cutting. Aborts when
 * an invariant of mkv_reader.h does not hold: bytes() gives the input back in
 * order and whole, each region's bytes lie between its begin and end events,
 * offsets never go back, payload slices are the input at the payload offset.
 */
#ifndef SUPPORT_MKV_EVENTS_H
#define SUPPORT_MKV_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "proto/mkv_reader.h"

#define MKV_EVENTS_BYTES_MAX (4u << 20)

/**
 * mkv_events_run() - feed @input, cut at @cuts, and finish
 * @cuts: rising offsets; a slice ends at each and at the end
 * @log: events are appended, NUL-terminated but not counting the NUL
 *
 * Return: what the reader returned in the end, its error in @ret_error.
 */
int mkv_events_run(const uint8_t *input, size_t len, const size_t *cuts,
		   size_t cuts_count, unsigned int flags, struct buf *log,
		   enum mkv_error *ret_error);

/* The same in slices of @slice bytes each. */
int mkv_events_run_slices(const uint8_t *input, size_t len, size_t slice,
			  unsigned int flags, struct buf *log,
			  enum mkv_error *ret_error);

#endif
