/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In a guest with tsalign.ko: one thread submits pairs and changes the rule,
 * two read the page and one the ring, spread over the processors that there
 * are. Each page must be of one moment (samples and newest time, epoch and
 * delay belong together), epochs and samples only grow, and the ring gives
 * each event once, in order, or says how many it did not.
 * One line `ok - ...` or `not ok - ...` a promise.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/tsalign.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_NS 1000000
#define BATCH 16
#define BATCHES 400
#define READERS 2

struct race {
	int fd;
	uint32_t stream;
	uint64_t begin_ns;
	const struct tsalign_page *page;
	atomic_bool done;
	atomic_int looked; /* readers that have read once */
	uint64_t epochs; /* told by the writer */
	uint64_t pairs;
};

struct reader {
	struct race *race;
	int cpu;
	uint64_t reads;
	uint64_t torn;
	uint64_t back;
};

struct ring_reader {
	struct race *race;
	int fd;
	int cpu;
	uint64_t samples; /* seen */
	uint64_t epochs;
	uint64_t lost;
	uint64_t wrong;
};

static bool failed;

static void say(bool good, const char *what, uint64_t a, uint64_t b)
{
	failed |= !good;
	printf("%s - %s: %" PRIu64 ", %" PRIu64 "\n", good ? "ok" : "not ok",
	       what, a, b);
	fflush(stdout);
}

static uint64_t boot_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu % (size_t)sysconf(_SC_NPROCESSORS_ONLN), &set);
	(void)sched_setaffinity(0, sizeof(set), &set);
}

/* The delay that the writer gives to its n-th epoch. */
static int64_t delay_of(uint64_t epoch)
{
	return (int64_t)epoch * 1000;
}

static bool whole(const struct race *r, const struct tsalign_page *p)
{
	if (p->samples &&
	    p->updated_ns != r->begin_ns + (p->samples - 1) * PERIOD_NS)
		return false;
	return p->epoch == 1 || p->delay_ns == delay_of(p->epoch);
}

static void *read_page(void *arg)
{
	struct reader *t = arg;
	const struct race *r = t->race;
	const _Atomic uint32_t *seq = (const _Atomic uint32_t *)&r->page->seq;
	uint64_t epoch = 0;
	uint64_t samples = 0;

	run_on(t->cpu);
	while (!atomic_load(&r->done)) {
		struct tsalign_page p;
		uint32_t begin =
			atomic_load_explicit(seq, memory_order_acquire);

		memcpy(&p, (const void *)r->page, sizeof(p));
		atomic_thread_fence(memory_order_acquire);
		if (begin % 2 ||
		    atomic_load_explicit(seq, memory_order_relaxed) != begin)
			continue;
		if (!t->reads++)
			atomic_fetch_add(&((struct race *)t->race)->looked, 1);
		t->torn += !whole(r, &p);
		t->back += p.epoch < epoch || p.samples < samples;
		epoch = p.epoch;
		samples = p.samples;
	}
	return NULL;
}

/* --- the ring ------------------------------------------------------------- */

static void take(struct ring_reader *t, const struct tsalign_event *e,
		 uint64_t *missed)
{
	if (e->type == TSALIGN_EV_LOST) {
		t->lost += e->counter;
		*missed += e->counter;
		return;
	}
	if (e->stream != t->race->stream)
		return;
	if (e->type == TSALIGN_EV_SAMPLE) {
		/* What is missing in between was told before. */
		if (e->counter < t->samples ||
		    e->counter - t->samples > *missed)
			t->wrong++;
		*missed -= e->counter - t->samples <= *missed
				   ? e->counter - t->samples
				   : *missed;
		t->samples = e->counter + 1;
	} else if (e->type == TSALIGN_EV_EPOCH) {
		if (e->epoch <= t->epochs)
			t->wrong++;
		t->epochs = e->epoch;
	}
}

static void *read_ring(void *arg)
{
	struct ring_reader *t = arg;
	struct tsalign_event events[64];
	uint64_t missed = 0;
	bool over = false;

	run_on(t->cpu);
	for (;;) {
		ssize_t n = read(t->fd, events, sizeof(events));
		size_t i;

		if (n < 0 && errno != EAGAIN) {
			t->wrong++;
			return NULL;
		}
		for (i = 0; n > 0 && i < (size_t)n / sizeof(events[0]); i++)
			take(t, &events[i], &missed);
		if (n > 0)
			continue;
		/* Once more after the writer's end: what it left. */
		if (over)
			return NULL;
		over = atomic_load(&t->race->done);
		(void)sched_yield();
	}
}

/* --- the writer ----------------------------------------------------------- */

static int submit(struct race *r)
{
	struct tsalign_pair pairs[BATCH];
	struct tsalign_submit arg = {
		.id = r->stream,
		.count = BATCH,
		.clock = CLOCK_BOOTTIME,
		.pairs = (uintptr_t)pairs,
	};
	uint32_t i;

	for (i = 0; i < BATCH; i++) {
		pairs[i].counter = r->pairs + i;
		pairs[i].host_ns = r->begin_ns + (r->pairs + i) * PERIOD_NS;
	}
	/* The future is refused. */
	while (boot_ns() < pairs[BATCH - 1].host_ns)
		(void)usleep(1000);
	if (ioctl(r->fd, TSALIGN_IOC_SUBMIT, &arg))
		return -errno;
	r->pairs += BATCH;
	return 0;
}

static int next_epoch(struct race *r)
{
	struct tsalign_rule rule = {.id = r->stream};

	if (ioctl(r->fd, TSALIGN_IOC_GET_RULE, &rule))
		return -errno;
	rule.delay_ns = delay_of(r->epochs + 1);
	if (ioctl(r->fd, TSALIGN_IOC_SET_RULE, &rule))
		return -errno;
	r->epochs++;
	return 0;
}

static int write_all(struct race *r)
{
	unsigned int i;
	int error = 0;

	run_on(0);
	for (i = 0; i < BATCHES && !error; i++) {
		error = submit(r);
		if (!error && i % 4 == 3)
			error = next_epoch(r);
	}
	atomic_store(&r->done, true);
	return error;
}

static int open_all(struct race *r)
{
	struct tsalign_stream info = {
		.kind = TSALIGN_DEVICE,
		.name = "race",
		.counter = TSALIGN_COUNT_EVENTS,
		.counter_bits = 64,
		.nominal_mhz = 1000000,
	};
	long bytes = sysconf(_SC_PAGESIZE);
	void *page;

	r->fd = open("/dev/tsalign", O_RDWR | O_CLOEXEC);
	if (r->fd < 0 || ioctl(r->fd, TSALIGN_IOC_CREATE, &info))
		return -errno;
	r->stream = info.id;
	page = mmap(NULL, (size_t)bytes, PROT_READ, MAP_SHARED, r->fd,
		    (off_t)info.id * bytes);
	if (page == MAP_FAILED)
		return -errno;
	r->page = page;
	r->epochs = 1;
	r->begin_ns = boot_ns() / 2;
	return 0;
}

static int race(struct race *r, struct reader *readers,
		struct ring_reader *ring)
{
	pthread_t threads[READERS + 1];
	int started;
	int error;
	int i;

	for (i = 0; i < READERS; i++) {
		readers[i] = (struct reader){.race = r, .cpu = i + 1};
		if (pthread_create(&threads[i], NULL, read_page, &readers[i]))
			break;
	}
	if (i == READERS && !pthread_create(&threads[i], NULL, read_ring, ring))
		i++;
	started = i;
	/* However fast the machine is, they read while it is written. */
	while (started == READERS + 1 && atomic_load(&r->looked) < READERS)
		(void)sched_yield();
	error = write_all(r);
	for (i = 0; i < started; i++)
		(void)pthread_join(threads[i], NULL);
	return started == READERS + 1 ? error : -EAGAIN;
}

int main(void)
{
	struct race r = {.fd = -1};
	struct reader readers[READERS];
	struct ring_reader ring = {.race = &r, .cpu = 1};
	int error;
	int i;

	error = open_all(&r);
	ring.fd = open("/dev/tsalign", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (!error && ring.fd < 0)
		error = -errno;
	if (!error)
		error = race(&r, readers, &ring);
	if (error) {
		printf("not ok - race: %s\n", strerror(-error));
		return 1;
	}
	for (i = 0; i < READERS; i++) {
		say(readers[i].reads && !readers[i].torn,
		    "a reader's pages, torn ones", readers[i].reads,
		    readers[i].torn);
		say(!readers[i].back, "neither epochs nor samples go back",
		    r.epochs, readers[i].back);
	}
	say(!ring.wrong && ring.samples == r.pairs,
	    "the ring: each pair once, in order, or told as missed",
	    ring.samples, ring.lost);
	say(ring.epochs == r.epochs && r.page->epoch == r.epochs,
	    "the epochs of ring and page", ring.epochs, r.page->epoch);
	return failed ? 1 : 0;
}
