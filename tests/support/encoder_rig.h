/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of encoders share: a fake camera, and an M2M device. */
#ifndef SUPPORT_ENCODER_RIG_H
#define SUPPORT_ENCODER_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <capture/encoder.h>
#include <capture/source.h>

#include "base/macros.h"
#include "support/fake_v4l2.h"
#include "support/sys_fault.h"

#define ENCODER_RIG_BYTES (64 * 48 * 3 / 2) /* of a YU12 picture */
#define ENCODER_RIG_TIMEOUT_NS UINT64_C(500000000)

struct encoder_rig {
	struct fake_v4l2 *camera; /* /dev/video0 */
	struct fake_v4l2 *device; /* /dev/video1 */
	struct capture_source *source;
	struct capture_encoder *encoder;
};

extern struct encoder_rig rig;

int encoder_rig_setup(void **state);
/* Closes both; nothing may be left: every frame and packet went back. */
int encoder_rig_teardown(void **state);
#define ENCODER_RIG_CASE(name)                                   \
	cmocka_unit_test_setup_teardown(name, encoder_rig_setup, \
					encoder_rig_teardown)

uint64_t encoder_rig_now(void);
/* 64x48, track 7, started. */
void encoder_rig_start(uint32_t fourcc);
/* Of the camera's frames, imported; @codec 0: any. */
struct capture_encoder_config encoder_rig_config(enum capture_backend backend,
						 uint32_t codec);
void encoder_rig_open_as(const struct capture_encoder_config *config);
void encoder_rig_open(enum capture_backend backend, uint32_t codec);
struct capture_frame *encoder_rig_frame(void);
/* One frame goes in. Return: its stamp. @ret_sequence may be NULL. */
uint64_t encoder_rig_submit(uint32_t *ret_sequence);
/* Of the bytes of YU12 frame @sequence; packets of the fake carry it. */
uint32_t encoder_rig_crc(uint32_t sequence);
struct capture_packet *encoder_rig_receive(void);
/* The errno of a receive that must give no packet; it waits. */
int encoder_rig_receive_fails(void);
struct capture_encoder_stats encoder_rig_stats(void);

#endif
