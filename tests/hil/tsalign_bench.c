/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In a guest with tsalign.ko: what reading a map costs a program, and whether a
 * page is ever seen half written; then what the kernel says that its own part
 * costs. One JSON line a figure, as tools/bench prints them; 1 on a miss.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/tsalign.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define LOAD(word) __atomic_load_n(word, __ATOMIC_ACQUIRE)
#define BATCHES 20
#define READS 100000
#define PERIOD_NS 1000000
#define TORN_PAIRS 20000

static bool missed;

static uint64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void figure(const char *name, double value, const char *unit,
		   double limit)
{
	bool pass = value <= limit;

	missed |= !pass;
	printf("{\"name\": \"%s\", \"value\": %.2f, \"unit\": \"%s\", "
	       "\"limit\": %.0f, \"ratio\": %.3f, \"pass\": %s}\n",
	       name, value, unit, limit, limit > 0 ? value / limit : value,
	       pass ? "true" : "false");
}

/* As any program would: the loads of the map between two of @seq. */
static uint64_t map_read(const struct tsalign_page *page, uint64_t counter)
{
	const _Atomic uint32_t *seq = (const _Atomic uint32_t *)&page->seq;
	uint64_t base_counter;
	uint64_t base_ns;
	uint64_t mult;
	uint32_t shift;
	uint32_t begin;

	do {
		begin = atomic_load_explicit(seq, memory_order_acquire);
		base_counter = LOAD(&page->base_counter);
		base_ns = LOAD(&page->base_ns);
		mult = LOAD(&page->mult);
		shift = LOAD(&page->shift);
	} while (begin % 2 ||
		 atomic_load_explicit(seq, memory_order_relaxed) != begin);
	__extension__ typedef __int128 i128;
	return base_ns + (uint64_t)(((i128)(int64_t)(counter - base_counter) *
				     (i128)mult) >>
				    shift);
}

static double read_cost(const struct tsalign_page *page)
{
	static volatile uint64_t sink;
	uint64_t least = UINT64_MAX;
	int batch;

	for (batch = 0; batch < BATCHES; batch++) {
		uint64_t begin = now_ns(CLOCK_MONOTONIC);
		uint64_t i;

		for (i = 0; i < READS; i++)
			sink = map_read(page, i);
		begin = now_ns(CLOCK_MONOTONIC) - begin;
		least = begin < least ? begin : least;
	}
	(void)sink;
	return (double)least / READS;
}

/* --- pages half written ------------------------------------------------------
 */

struct torn {
	int fd;
	uint32_t stream;
	uint64_t begin_ns;
	const struct tsalign_page *page;
	_Atomic bool done;
	uint64_t reads;
	uint64_t torn;
};

/* Pair n has counter n and lies n periods after the first: all must agree. */
static void *reader(void *arg)
{
	struct torn *t = arg;
	const _Atomic uint32_t *seq = (const _Atomic uint32_t *)&t->page->seq;

	while (!atomic_load(&t->done)) {
		struct tsalign_page p;
		uint32_t begin =
			atomic_load_explicit(seq, memory_order_acquire);

		memcpy(&p, (const void *)t->page, sizeof(p));
		atomic_thread_fence(memory_order_acquire);
		if (begin % 2 ||
		    atomic_load_explicit(seq, memory_order_relaxed) != begin)
			continue;
		t->reads++;
		if (p.samples &&
		    p.updated_ns != t->begin_ns + (p.samples - 1) * PERIOD_NS)
			t->torn++;
	}
	return NULL;
}

static int submit(const struct torn *t, uint64_t first, uint32_t count)
{
	static struct tsalign_pair pairs[TSALIGN_PAIRS_MAX];
	struct tsalign_submit arg = {
		.id = t->stream,
		.count = count,
		.clock = CLOCK_BOOTTIME,
		.pairs = (uintptr_t)pairs,
	};
	uint32_t i;

	for (i = 0; i < count; i++) {
		pairs[i].counter = first + i;
		pairs[i].host_ns = t->begin_ns + (first + i) * PERIOD_NS;
	}
	return ioctl(t->fd, TSALIGN_IOC_SUBMIT, &arg) ? -errno : 0;
}

/* Waits until @count pairs lie in the past, since the future is refused. */
static void wait_past(const struct torn *t, uint64_t count)
{
	uint64_t due = t->begin_ns + count * PERIOD_NS;
	uint64_t now = now_ns(CLOCK_BOOTTIME);
	struct timespec ts;

	if (now > due)
		return;
	ts.tv_sec = (time_t)((due - now) / 1000000000);
	ts.tv_nsec = (long)((due - now) % 1000000000);
	nanosleep(&ts, NULL);
}

static int torn_pages(struct torn *t, uint64_t count)
{
	pthread_t thread;
	uint64_t at;
	int r = 0;

	if (pthread_create(&thread, NULL, reader, t))
		return -EAGAIN;
	for (at = 0; !r && at + 64 <= count; at += 64) {
		wait_past(t, at + 64);
		r = submit(t, at, 64);
	}
	atomic_store(&t->done, true);
	pthread_join(thread, NULL);
	return r;
}

/* --- what the kernel says
 * ------------------------------------------------------ */

static int kernel_figure(const char *path, const char *name, double limit)
{
	FILE *f = fopen(path, "re");
	uint64_t ns;
	int r;

	if (!f)
		return -errno;
	r = fscanf(f, "%" SCNu64, &ns) == 1 ? 0 : -EIO;
	fclose(f);
	if (!r)
		figure(name, (double)ns, "ns", limit);
	return r;
}

static int make_stream(struct torn *t)
{
	struct tsalign_stream info = {
		.kind = TSALIGN_DEVICE,
		.name = "bench",
		.counter = TSALIGN_COUNT_EVENTS,
		.counter_bits = 64,
		.nominal_mhz = 1000000,
	};
	void *page;

	t->fd = open("/dev/tsalign", O_RDWR | O_CLOEXEC);
	if (t->fd < 0 || ioctl(t->fd, TSALIGN_IOC_CREATE, &info))
		return -errno;
	t->stream = info.id;
	page = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ, MAP_SHARED,
		    t->fd, (off_t)info.id * sysconf(_SC_PAGESIZE));
	if (page == MAP_FAILED)
		return -errno;
	t->page = page;
	return 0;
}

int main(void)
{
	struct torn t = {.fd = -1};
	uint64_t up = now_ns(CLOCK_BOOTTIME);
	uint64_t count;
	int r;

	/* As many as there were milliseconds since the boot, and some more. */
	count = up / PERIOD_NS / 2 + 2000;
	if (count > TORN_PAIRS)
		count = TORN_PAIRS;
	t.begin_ns = up / 2;
	r = make_stream(&t);
	if (!r)
		r = torn_pages(&t, count);
	if (!r) {
		fprintf(stderr, "%" PRIu64 " pairs, %" PRIu64 " reads\n", count,
			t.reads);
		figure("tsalign_page_torn", (double)t.torn, "pages", 0);
		figure("tsalign_map_read", read_cost(t.page), "ns", 20);
		r = kernel_figure("/sys/kernel/debug/tsalign_truth/cost",
				  "tsalign_sample", 2000);
	}
	if (!r)
		r = kernel_figure("/sys/kernel/debug/tsalign_cost",
				  "tsalign_v4l2_buffer", 2000);
	if (!r)
		r = kernel_figure("/sys/kernel/debug/tsalign_cost_asleep",
				  "tsalign_v4l2_buffer_asleep", 2000);
	if (r) {
		fprintf(stderr, "tsalign_bench: %s\n", strerror(-r));
		return 2;
	}
	return missed ? 1 : 0;
}
