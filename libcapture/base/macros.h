/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiler extensions live here and nowhere else (STYLE: "extensions only in
 * base/ behind macros").
 */
#ifndef BASE_MACROS_H
#define BASE_MACROS_H

#include <stddef.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define UNUSED __attribute__((unused))
#define API __attribute__((visibility("default")))

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* Round @x up to a multiple of @a, a power of two. */
#define ALIGN_UP(x, a) (((x) + ((a) - 1)) & ~((a) - 1))

/**
 * AUTO() - release a variable at the end of its scope
 * @fn: a destructor that takes the pointer and accepts NULL
 *
 * Declare and initialise in one statement. Pair with DEFINE_AUTO(fn, type)
 * once, beside the destructor's declaration. Never mix with goto.
 */
#define AUTO(fn) __attribute__((cleanup(auto_##fn)))
#define DEFINE_AUTO(fn, type)                      \
	static inline UNUSED void auto_##fn(type *p) \
	{                                          \
		(void)fn(*p);                      \
	}

/* Give a pointer away: yields its value and leaves NULL behind. */
#define TAKE_PTR(p)                              \
	__extension__({                          \
		__typeof__(p) taken_ = (p);      \
		(p) = NULL;                      \
		taken_;                          \
	})

/* Give a descriptor away: yields its value and leaves -EBADF behind. */
static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -9; /* -EBADF: an empty descriptor */
	return taken;
}

#endif
