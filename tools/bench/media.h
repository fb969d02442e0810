/* SPDX-License-Identifier: Apache-2.0 */
/* The media that the loads send: H.264 by its looks, random by its bytes. */
#ifndef BENCH_MEDIA_H
#define BENCH_MEDIA_H

#include <stdint.h>

#include "base/buf.h"

/* EBML header, Segment, Info and one video track. Return: 0 or -errno. */
int media_header(struct buf *out);
/* One frame of one NAL unit: @len bytes, repeatable. */
void media_frame(uint8_t *out, uint32_t len, bool key, uint32_t seed);

#endif
