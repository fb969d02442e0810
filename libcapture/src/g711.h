/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ITU-T G.711: a sample of 16 bits in eight. A-law keeps 13 bits of it, with
 * every other bit of the code inverted; mu-law 14, with all inverted. Inputs
 * are cut, not rounded, to these, as in the ITU's own tools (G.191).
 */
#ifndef CAPTURE_SRC_G711_H
#define CAPTURE_SRC_G711_H

#include <stdint.h>

uint8_t g711_alaw(int16_t sample);
uint8_t g711_ulaw(int16_t sample);

#endif
