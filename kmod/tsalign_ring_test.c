// SPDX-License-Identifier: GPL-2.0-only
/* KUnit suites: the event ring, also between two CPUs; the uapi's layout. */
#include <kunit/test.h>
#include <linux/cpumask.h>
#include <linux/kthread.h>
#include <linux/module.h>

#include "tsalign_int.h"

/* --- the ring ------------------------------------------------------------ */

#define RING_RACE	200000

static void ring_fill(u64 first, u64 count)
{
	struct tsalign_event event = { .type = TSALIGN_EV_SAMPLE };
	u64 i;

	for (i = first; i < first + count; i++) {
		event.counter = i;
		event.host_ns = ~i;
		tsa_ring_put(&event);
	}
}

static void ring_gives_each_event_once_in_order(struct kunit *test)
{
	struct tsalign_event events[5];
	u64 at;
	u32 i;

	KUNIT_ASSERT_EQ(test, tsa_ring_init(), 0);
	at = tsa_ring_open();
	KUNIT_EXPECT_FALSE(test, tsa_ring_has(at));
	KUNIT_EXPECT_EQ(test, tsa_ring_take(&at, events, 5), 0);
	ring_fill(0, 7);
	KUNIT_EXPECT_TRUE(test, tsa_ring_has(at));
	KUNIT_EXPECT_EQ(test, tsa_ring_take(&at, events, 5), 5);
	for (i = 0; i < 5; i++)
		KUNIT_EXPECT_EQ(test, events[i].counter, (u64)i);
	KUNIT_EXPECT_EQ(test, tsa_ring_take(&at, events, 5), 2);
	KUNIT_EXPECT_EQ(test, events[1].counter, 6ull);
	KUNIT_EXPECT_FALSE(test, tsa_ring_has(at));
	tsa_ring_close();
	tsa_ring_exit();
}

static void ring_tells_how_many_were_missed(struct kunit *test)
{
	struct tsalign_event events[3];
	u64 at;

	KUNIT_ASSERT_EQ(test, tsa_ring_init(), 0);
	at = tsa_ring_open();
	ring_fill(0, TSA_RING_EVENTS + 9);
	KUNIT_EXPECT_EQ(test, tsa_ring_take(&at, events, 3), 3);
	KUNIT_EXPECT_EQ(test, events[0].type, TSALIGN_EV_LOST);
	KUNIT_EXPECT_EQ(test, events[0].counter, 9ull);
	KUNIT_EXPECT_EQ(test, events[1].counter, 9ull);
	KUNIT_EXPECT_EQ(test, events[2].counter, 10ull);
	tsa_ring_close();
	tsa_ring_exit();
}

static void ring_is_left_alone_while_nobody_has_it_open(struct kunit *test)
{
	struct tsalign_event event;
	u64 first;
	u64 at;

	KUNIT_ASSERT_EQ(test, tsa_ring_init(), 0);
	first = tsa_ring_head();
	ring_fill(0, 3);
	KUNIT_EXPECT_EQ(test, tsa_ring_head(), first);
	at = tsa_ring_open();
	KUNIT_EXPECT_EQ(test, tsa_ring_open(), first);
	tsa_ring_close();
	ring_fill(3, 1);
	KUNIT_EXPECT_EQ(test, tsa_ring_take(&at, &event, 1), 1);
	KUNIT_EXPECT_EQ(test, event.counter, 3ull);
	tsa_ring_close();
	tsa_ring_exit();
}

static int ring_writer(void *data)
{
	u64 i;

	for (i = 0; i < RING_RACE; i += 100) {
		ring_fill(i, 100);
		cond_resched();
	}
	/* kthread_stop() may come only now. */
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

/* A writer on another CPU, if there is one: whole events, none unaccounted. */
static void ring_holds_between_a_writer_and_a_reader(struct kunit *test)
{
	struct tsalign_event events[TSA_READ_BATCH];
	struct task_struct *writer;
	u32 cpu = cpumask_any_but(cpu_online_mask, raw_smp_processor_id());
	u64 wrong = 0;
	u64 next = 0;
	u64 at;
	u32 count;
	u32 i;

	KUNIT_ASSERT_EQ(test, tsa_ring_init(), 0);
	at = tsa_ring_open();
	writer = kthread_create(ring_writer, NULL, "tsalign-ring");
	if (IS_ERR(writer)) {
		tsa_ring_close();
		tsa_ring_exit();
	}
	KUNIT_ASSERT_FALSE(test, IS_ERR(writer));
	if (cpu < nr_cpu_ids)
		kthread_bind(writer, cpu);
	wake_up_process(writer);
	while (next < RING_RACE) {
		count = tsa_ring_take(&at, events, ARRAY_SIZE(events));
		for (i = 0; i < count; i++) {
			if (events[i].type == TSALIGN_EV_LOST) {
				next += events[i].counter;
				continue;
			}
			wrong += events[i].counter != next ||
				 events[i].host_ns != ~next;
			next++;
		}
		cond_resched();
	}
	kthread_stop(writer);
	KUNIT_EXPECT_EQ(test, wrong, 0ull);
	KUNIT_EXPECT_EQ(test, next, (u64)RING_RACE);
	KUNIT_EXPECT_FALSE(test, tsa_ring_has(at));
	tsa_ring_close();
	tsa_ring_exit();
}

/* --- the uapi ------------------------------------------------------------ */

struct layout_case {
	const char *name;
	size_t is;
	size_t want;
};

#define TSA_AT(type, field, bytes) { #type "." #field, \
	offsetof(struct tsalign_##type, field), bytes }
#define TSA_SIZE(type, bytes) { #type, sizeof(struct tsalign_##type), bytes }
#define TSA_CALL(name, direction, nr, type) { #name, TSALIGN_IOC_##name, \
	(size_t)_IOC(direction, 0xb7, nr, sizeof(type)) }

/* Programs that were built once count on it: 32 and 64 bits alike. */
static const struct layout_case layout_cases[] = {
	TSA_SIZE(page, 208),
	TSA_SIZE(event, 64),
	TSA_SIZE(stream, 96),
	TSA_SIZE(rule, 72),
	TSA_SIZE(pair, 16),
	TSA_SIZE(submit, 48),
	TSA_SIZE(trigger, 104),
	TSA_SIZE(info, 64),
	TSA_AT(page, seq, 4),
	TSA_AT(page, mult, 32),
	TSA_AT(page, base_counter, 40),
	TSA_AT(page, base_ns, 48),
	TSA_AT(page, epoch, 56),
	TSA_AT(page, sigma_ns, 64),
	TSA_AT(page, mispaired, 136),
	TSA_AT(event, host_ns, 16),
	TSA_AT(event, epoch, 56),
	TSA_AT(stream, nominal_mhz, 56),
	TSA_AT(submit, pairs, 16),
	TSA_CALL(INFO, _IOC_READ, 0, struct tsalign_info),
	TSA_CALL(STREAM, _IOC_READ | _IOC_WRITE, 1, struct tsalign_stream),
	TSA_CALL(GET_RULE, _IOC_READ | _IOC_WRITE, 2, struct tsalign_rule),
	TSA_CALL(GET_TRIGGER, _IOC_READ | _IOC_WRITE, 3, struct tsalign_trigger),
	TSA_CALL(CREATE, _IOC_READ | _IOC_WRITE, 16, struct tsalign_stream),
	TSA_CALL(SUBMIT, _IOC_WRITE, 17, struct tsalign_submit),
	TSA_CALL(SET_RULE, _IOC_WRITE, 18, struct tsalign_rule),
	TSA_CALL(REFERENCE, _IOC_WRITE, 19, u32),
	TSA_CALL(TRIGGER, _IOC_READ | _IOC_WRITE, 20, struct tsalign_trigger),
};

static void layout_desc(const struct layout_case *c, char *desc)
{
	strscpy(desc, c->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(layout, layout_cases, layout_desc);

static void uapi_is_laid_out_as_it_was(struct kunit *test)
{
	const struct layout_case *c = test->param_value;

	KUNIT_EXPECT_EQ(test, c->is, c->want);
}

static struct kunit_case ring_cases[] = {
	KUNIT_CASE(ring_gives_each_event_once_in_order),
	KUNIT_CASE(ring_tells_how_many_were_missed),
	KUNIT_CASE(ring_is_left_alone_while_nobody_has_it_open),
	KUNIT_CASE(ring_holds_between_a_writer_and_a_reader),
	{}
};

static struct kunit_suite ring_suite = {
	.name = "tsalign-ring",
	.test_cases = ring_cases,
};

static struct kunit_case uapi_cases[] = {
	KUNIT_CASE_PARAM(uapi_is_laid_out_as_it_was, layout_gen_params),
	{}
};

static struct kunit_suite uapi_suite = {
	.name = "tsalign-uapi",
	.test_cases = uapi_cases,
};

kunit_test_suites(&ring_suite, &uapi_suite);

MODULE_DESCRIPTION("KUnit suites of tsalign");
MODULE_LICENSE("GPL");
