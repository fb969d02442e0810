/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of V4L2 sources share: one fake camera, sources on it. */
#ifndef SUPPORT_SOURCE_RIG_H
#define SUPPORT_SOURCE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <capture/settings.h>
#include <capture/source.h>

#include "base/macros.h"
#include "support/fake_v4l2.h"
#include "support/sys_fault.h"

#define SOURCE_RIG_BYTES (64 * 48 * 3 / 2) /* of a YU12 picture */

extern struct fake_v4l2 *source_rig_camera;

int source_rig_setup(void **state);
/* Every test closes what it opened: nothing may be left. */
int source_rig_teardown(void **state);
#define SOURCE_RIG_CASE(name)                                   \
	cmocka_unit_test_setup_teardown(name, source_rig_setup, \
					source_rig_teardown)

/* /dev/video0, YU12, 64x48. */
struct capture_source_config source_rig_config(void);
struct capture_source *
source_rig_open(const struct capture_source_config *config);
/* And started. */
struct capture_source *
source_rig_open_on(const struct capture_source_config *config);
/* The errno of an open that must fail. */
int source_rig_refused(const struct capture_source_config *config);
uint64_t source_rig_soon(void);
struct capture_frame *source_rig_next(struct capture_source *s);
/* The errno of a dequeue that must fail. */
int source_rig_dequeue_fails(struct capture_source *s);
struct capture_source_stats source_rig_stats(const struct capture_source *s);

#endif
