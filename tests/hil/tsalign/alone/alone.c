// SPDX-License-Identifier: GPL-2.0-only
/*
 * For guests alone: runs tsalign's KUnit suites when it is loaded, on a kernel
 * that has no KUnit, and prints what KUnit would. Loading fails when a case
 * does.
 */
#include <linux/cpumask.h>
#include <linux/module.h>
#include <linux/sched.h>

#include "kunit_alone.h"

#define kunit_test_suite(suite) \
	static struct kunit_suite *const core_suites[] = { &suite }
#include "tsalign_test.c"

#define kunit_test_suites(...) \
	static struct kunit_suite *const other_suites[] = { __VA_ARGS__ }
#include "tsalign_ring_test.c"

static u32 cases;
static u32 failures;

/* One turn of a case; false: it failed. */
static bool turn(const struct kunit_case *c, const void *value)
{
	struct kunit test = { .param_value = value };

	c->run_case(&test);
	while (test.alloc_count)
		kvfree(test.allocs[--test.alloc_count]);
	cond_resched();
	cases++;
	failures += test.failed;
	return !test.failed;
}

static bool run_case(const struct kunit_case *c, u32 number)
{
	char desc[KUNIT_PARAM_DESC_SIZE];
	const void *value = NULL;
	bool good = true;
	u32 k = 0;

	if (!c->next) {
		good = turn(c, NULL);
	} else {
		while ((value = c->next(NULL, value, desc))) {
			bool one = turn(c, value);

			pr_info("        %s %u %s\n", one ? "ok" : "not ok",
				++k, desc);
			good &= one;
		}
	}
	pr_info("    %s %u %s\n", good ? "ok" : "not ok", number, c->name);
	return good;
}

static void run_suite(const struct kunit_suite *suite, u32 number)
{
	bool good = true;
	u32 i;

	for (i = 0; suite->test_cases[i].run_case; i++)
		good &= run_case(&suite->test_cases[i], i + 1);
	pr_info("%s %u %s\n", good ? "ok" : "not ok", number, suite->name);
}

static int __init alone_init(void)
{
	u32 number = 0;
	size_t i;

	pr_info("KTAP version 1\n");
	for (i = 0; i < ARRAY_SIZE(core_suites); i++)
		run_suite(core_suites[i], ++number);
	for (i = 0; i < ARRAY_SIZE(other_suites); i++)
		run_suite(other_suites[i], ++number);
	pr_info("# cases %u failed %u cpus %u\n", cases, failures,
		num_online_cpus());
	return failures ? -EIO : 0;
}

static void __exit alone_exit(void)
{
}

module_init(alone_init);
module_exit(alone_exit);
