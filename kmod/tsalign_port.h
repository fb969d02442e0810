/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The kernel's words that tsalign_core.c uses, in the kernel and outside it. */
#ifndef TSALIGN_PORT_H
#define TSALIGN_PORT_H

#ifdef __KERNEL__
#include <linux/errno.h>
#include <linux/limits.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/string.h>
#include <linux/types.h>
#else
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;
#endif

#endif /* TSALIGN_PORT_H */
