/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In a guest with tsalign.ko: the same pairs through TSALIGN_IOC_SUBMIT and
 * through the core as programs have it. After each of them the published page
 * must be what the core estimates, bit by bit. Pairs lie in the past, as many
 * as there has been time since the boot.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tsalign_core.h"

#define NS_PER_S UINT64_C(1000000000)
#define SPAN_NS (100 * NS_PER_S)
#define ROWS 24

static uint64_t state;

/* xorshift64*: the same on each machine. */
static uint32_t dice(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32_t)((state * UINT64_C(0x2545F4914F6CDD1D)) >> 32);
}

/* What a sensor is like, by its number. */
struct sensor {
	uint64_t hz; /* of its counter */
	uint64_t period_ns;
	int64_t drift_ppb;
	bool bursts; /* eight pairs in one call */
};

struct row {
	int fd;
	uint32_t id;
	const struct tsalign_page *page;
	struct tsa_fit fit;
	struct tsa_unwrap unwrap;
	struct tsalign_pair pairs[8];
	uint32_t count;
	uint64_t compared;
	uint64_t epochs;
};

static bool same(struct row *r, uint64_t host_ns)
{
	const volatile struct tsalign_page *p = r->page;
	struct tsa_estimate e;

	tsa_fit_estimate(&r->fit, host_ns, &e);
	r->compared++;
	r->epochs = e.epoch;
	if (p->state == e.state && p->epoch == e.epoch &&
	    p->mult == e.map.mult && p->shift == e.map.shift &&
	    p->base_counter == e.map.base_counter &&
	    p->base_ns == e.map.base_ns && p->sigma_ns == e.sigma_ns &&
	    p->sigma_ppb == e.sigma_ppb && p->drift_ppb == e.drift_ppb &&
	    p->jitter_ns == e.jitter_ns && p->samples == e.samples &&
	    p->outliers == e.outliers && p->lost == e.lost)
		return true;
	printf("# pair %" PRIu64 ": state %u %u, epoch %" PRIu64 " %" PRIu64
	       ", mult %" PRIu64 " %" PRIu64 ", base %" PRIu64 " %" PRIu64
	       ", sigma %" PRIu64 " %" PRIu64 ", lost %" PRIu64 " %" PRIu64
	       "\n",
	       r->compared, p->state, e.state, (uint64_t)p->epoch, e.epoch,
	       (uint64_t)p->mult, e.map.mult, (uint64_t)p->base_ns,
	       e.map.base_ns, (uint64_t)p->sigma_ns, e.sigma_ns,
	       (uint64_t)p->lost, e.lost);
	return false;
}

/* Both get what waits. */
static int give(struct row *r, bool restart, uint32_t width_ns)
{
	struct tsalign_submit s = {
		.id = r->id,
		.count = r->count,
		.clock = CLOCK_BOOTTIME,
		.error_ns = width_ns,
		.pairs = (uintptr_t)r->pairs,
		.flags = restart ? TSALIGN_SUBMIT_RESTART : 0,
	};
	uint32_t i;

	if (!r->count)
		return 0;
	if (ioctl(r->fd, TSALIGN_IOC_SUBMIT, &s) < 0)
		return -errno;
	if (restart) {
		tsa_fit_restart(&r->fit, TSALIGN_CAUSE_DEVICE_STEP);
		tsa_unwrap_init(&r->unwrap, 64);
	}
	for (i = 0; i < r->count; i++)
		(void)tsa_fit_add(&r->fit,
				  tsa_unwrap(&r->unwrap, r->pairs[i].counter),
				  r->pairs[i].host_ns, width_ns);
	r->count = 0;
	return same(r, r->pairs[i - 1].host_ns) ? 0 : -EILSEQ;
}

static int make(struct row *r, const struct sensor *sensor, unsigned int n)
{
	struct tsalign_stream stream = {
		.kind = TSALIGN_DEVICE,
		.counter = TSALIGN_COUNT_TICKS,
		.counter_bits = 64,
		.nominal_mhz = sensor->hz * 1000,
	};
	struct tsa_fit_config config = {
		.nominal_mhz = stream.nominal_mhz,
		.counter = TSALIGN_COUNT_TICKS,
	};
	void *map;

	(void)snprintf((char *)stream.name, sizeof(stream.name), "same-%u", n);
	r->fd = open("/dev/tsalign", O_RDWR | O_CLOEXEC);
	if (r->fd < 0 || ioctl(r->fd, TSALIGN_IOC_CREATE, &stream) < 0)
		return -errno;
	r->id = stream.id;
	map = mmap(NULL, (size_t)getpagesize(), PROT_READ, MAP_SHARED, r->fd,
		   (off_t)r->id * getpagesize());
	if (map == MAP_FAILED)
		return -errno;
	r->page = map;
	tsa_fit_init(&r->fit, &config);
	tsa_unwrap_init(&r->unwrap, 64);
	return 0;
}

/* Late by chance, by bursts of 200 ms, left out, stepped, counted anew. */
static int run(struct row *r, const struct sensor *sensor, uint64_t now_ns)
{
	uint64_t begin = now_ns - SPAN_NS;
	uint64_t frames = (SPAN_NS - NS_PER_S) / sensor->period_ns;
	uint64_t counter0 = dice();
	uint64_t newest = 0;
	uint32_t late = 0;
	uint64_t k;
	int err = 0;

	for (k = 0; k < frames && !err; k++) {
		uint64_t at = begin + k * sensor->period_ns;
		uint64_t ticks = (uint64_t)((__uint128_t)k * sensor->period_ns *
					    sensor->hz / NS_PER_S);
		uint64_t delay = dice() % 1000000 + dice() % 100 * 10000;
		bool restart = dice() % 1000 == 0;

		if (restart) {
			err = give(r, false, 50);
			counter0 = dice() % 1000;
			counter0 -= ticks;
		}
		ticks += (uint64_t)((int64_t)(ticks / 1000000) *
				    sensor->drift_ppb / 1000);
		late = late ? late - 1 : dice() % 500 == 0 ? 5 : 0;
		delay += late ? 200000000 : 0;
		delay += k > frames / 2 ? 300000000 : 0;
		if (dice() % 50 == 0 && !restart)
			continue;
		at = at + delay > newest ? at + delay : newest + 1;
		newest = at;
		r->pairs[r->count++] = (struct tsalign_pair){
			.counter = counter0 + ticks,
			.host_ns = at,
		};
		if (!err && (!sensor->bursts || r->count == 8 || restart))
			err = give(r, restart, 50);
	}
	return err ? err : give(r, false, 50);
}

/* No pair can be from before the boot. */
static uint64_t await_span(void)
{
	struct timespec now;

	for (;;) {
		(void)clock_gettime(CLOCK_BOOTTIME, &now);
		if ((uint64_t)now.tv_sec * NS_PER_S > SPAN_NS)
			return (uint64_t)now.tv_sec * NS_PER_S;
		(void)sleep(1);
	}
}

int main(void)
{
	uint64_t now_ns = await_span();
	uint64_t compared = 0;
	uint64_t epochs = 0;
	unsigned int n;
	int r = 0;

	for (n = 0; n < ROWS && r == 0; n++) {
		static struct row row;
		const struct sensor sensor = {
			.hz = n % 4 == 0   ? 40000000
			      : n % 4 == 1 ? 48000
			      : n % 4 == 2 ? 1000
					   : 32768,
			.period_ns = NS_PER_S / (n % 3 == 0   ? 30
						 : n % 3 == 1 ? 20
							      : 9),
			.drift_ppb = 100000 - (int64_t)n * 9000,
			.bursts = n % 5 == 4,
		};

		state = n + 1;
		memset(&row, 0, sizeof(row));
		r = make(&row, &sensor, n);
		if (r == 0)
			r = run(&row, &sensor, now_ns);
		compared += row.compared;
		epochs += row.epochs;
		if (row.fd >= 0)
			(void)close(row.fd);
	}
	if (r < 0)
		printf("# sensor %u: %s\n", n, strerror(-r));
	/* Steps and new counts were among them. */
	r = r < 0 || compared < 1000 || epochs < 2 * ROWS;
	printf("%sok - the same pairs through the module and in a program: "
	       "maps, bounds, epochs alike, bit by bit: %" PRIu64
	       " of %u sensors, %" PRIu64 " epochs\n",
	       r ? "not " : "", compared, ROWS, epochs);
	return r;
}
