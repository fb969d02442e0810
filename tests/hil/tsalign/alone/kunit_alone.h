/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For guests alone: what tsalign's suites use of KUnit, for kernels without
 * it. An assertion that fails ends its case.
 */
#ifndef KUNIT_ALONE_H
#define KUNIT_ALONE_H

#define _KUNIT_TEST_H	/* in place of <kunit/test.h> */

#include <linux/kernel.h>
#include <linux/slab.h>
#include <linux/string.h>

#define KUNIT_PARAM_DESC_SIZE	128
#define KUNIT_ALLOCS_MAX	4

struct kunit {
	const void *param_value;
	bool failed;
	void *allocs[KUNIT_ALLOCS_MAX];
	u32 alloc_count;
};

struct kunit_case {
	void (*run_case)(struct kunit *test);
	const char *name;
	const void *(*next)(struct kunit *test, const void *prev, char *desc);
};

struct kunit_suite {
	const char *name;
	struct kunit_case *test_cases;
};

/* Freed when the case, or its turn with one parameter, is over. */
static inline void *kunit_kzalloc(struct kunit *test, size_t size, gfp_t flags)
{
	void *memory = NULL;

	if (test->alloc_count < KUNIT_ALLOCS_MAX)
		memory = kvzalloc(size, flags);
	if (memory)
		test->allocs[test->alloc_count++] = memory;
	return memory;
}

#define KUNIT_CASE(call) { .run_case = call, .name = #call }
#define KUNIT_CASE_PARAM(call, gen) \
	{ .run_case = call, .name = #call, .next = gen }

#define KUNIT_ARRAY_PARAM(name, array, describe)			\
static const void *name##_gen_params(struct kunit *test,		\
				     const void *prev, char *desc)	\
{									\
	typeof(&(array)[0]) next = prev ? (typeof(next))prev + 1 : (array); \
									\
	if (next - (array) >= (ptrdiff_t)ARRAY_SIZE(array))		\
		return NULL;						\
	describe(next, desc);						\
	return next;							\
}

#define kunit_holds(test, holds, text) ({				\
	bool kunit_good = (holds);					\
									\
	if (!kunit_good) {						\
		(test)->failed = true;					\
		pr_err("    # %s:%d: %s\n", __FILE__, __LINE__, text);	\
	}								\
	kunit_good;							\
})

#define KUNIT_EXPECT_TRUE(test, a) ((void)kunit_holds(test, !!(a), #a))
#define KUNIT_EXPECT_FALSE(test, a) ((void)kunit_holds(test, !(a), "!" #a))
#define KUNIT_EXPECT_EQ(test, a, b) \
	((void)kunit_holds(test, (a) == (b), #a " == " #b))
#define KUNIT_EXPECT_LE(test, a, b) \
	((void)kunit_holds(test, (a) <= (b), #a " <= " #b))
#define KUNIT_EXPECT_GE(test, a, b) \
	((void)kunit_holds(test, (a) >= (b), #a " >= " #b))
#define KUNIT_EXPECT_LT(test, a, b) \
	((void)kunit_holds(test, (a) < (b), #a " < " #b))
#define KUNIT_EXPECT_STREQ(test, a, b) \
	((void)kunit_holds(test, !strcmp(a, b), #a " is " #b))

#define KUNIT_ASSERT_EQ(test, a, b) do {				\
	if (!kunit_holds(test, (a) == (b), #a " == " #b))		\
		return;							\
} while (0)
#define KUNIT_ASSERT_FALSE(test, a) do {				\
	if (!kunit_holds(test, !(a), "!" #a))				\
		return;							\
} while (0)
#define KUNIT_ASSERT_NOT_NULL(test, a) do {				\
	if (!kunit_holds(test, (a) != NULL, #a))			\
		return;							\
} while (0)

#endif /* KUNIT_ALONE_H */
