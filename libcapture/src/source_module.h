/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source in a shared object of its own, loaded when its kind is opened
 * first, so that what it needs (libcamera: a C++ runtime, GnuTLS, LTTng) is
 * not in every process that captures. A module stays loaded. It is built
 * with the library and works with that build only: it shares the library's
 * inside structures, so their sizes are compared.
 */
#ifndef CAPTURE_SRC_SOURCE_MODULE_H
#define CAPTURE_SRC_SOURCE_MODULE_H

#include <stdint.h>

#include "src/frame.h"
#include "src/source_backend.h"

/* Raised when a structure below changes in another way than by its size. */
#define SOURCE_MODULE_ABI 1u

/* The one symbol that a module exports, of type struct source_module. */
#define SOURCE_MODULE_SYMBOL "capture_source_module"

struct source_module {
	uint32_t abi;	       /* SOURCE_MODULE_ABI */
	uint32_t kind;	       /* enum capture_source_kind */
	uint32_t config_bytes; /* sizeof(struct capture_source_config) */
	uint32_t source_bytes; /* sizeof(struct capture_source) */
	uint32_t ops_bytes;    /* sizeof(struct source_ops) */
	uint32_t holder_bytes; /* sizeof(struct frame_holder) */
	uint32_t stats_bytes;  /* sizeof(struct capture_source_stats) */
	uint32_t sys_bytes;    /* sizeof(struct sys_ops) */
	source_open_fn *open;
};

#endif
