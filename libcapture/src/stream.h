/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CAPTURE_SRC_STREAM_H
#define CAPTURE_SRC_STREAM_H

#include <capture/stream.h>

#include "base/macros.h"

DEFINE_AUTO(capture_stream_close, struct capture_stream *)

#endif
