/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IO_RECORDER_INT_H
#define IO_RECORDER_INT_H

#include <kvs/recorder.h>

#include "base/macros.h"
#include "base/sys.h"

/* kvs_recorder_new() with another struct sys_ops, which must outlive it. */
int recorder_new(const struct kvs_recorder_config *config,
		 const struct sys_ops *sys,
		 struct kvs_recorder **ret_recorder) MUST_CHECK;

#endif
