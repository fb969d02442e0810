/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tsalign's fit against clocks whose truth is known, in simulated time.
 *
 *	SEEDS=n	runs of the first part (default 200)	SEED=n	that one, traced
 *	FULL=1	the month at 30 Hz rather than at 1 Hz
 *
 * Part 1, three sensors at 30, 20 and 9 Hz, each 100 ppm off, delays of 1 ms
 * (exponential), 200 ms late in bursts, one edge in 50 dropped, a step of the
 * device's clock after 70 s. "fit" is the published map at the newest sample's
 * counter, just after that sample; "offline" is the likeliest line of exactly
 * the samples that were given by then, solved by bisection of its slope in
 * long double, at the same counter; both against the truth. Limits: below.
 *
 * Part 2, a month: a daily swing of the rate, a random walk of it, bursts,
 * drops, steps. The bound holds; the map is what long double says it is. (Under
 * a sanitizer, which takes ten times as long, six days.)
 */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tsalign_core.h"
#include "support/seeds.h"

#define S 1000000000.0L
#define MS 1000000.0L
#define US 1000.0L

#define DELAY_NS (1 * MS)
#define BURST_NS (200 * MS)
#define STEP_AT_NS (70 * S)
#define END_NS (110 * S)
#define DROPPED 50
#define BURSTS 150 /* one in so many samples begins one */
#define BURST_SAMPLES 6
#define SAMPLES_MAX 4096

#define RATIO_MAX 1.3L
#define ERROR_MAX_NS (50 * US) /* at 30 Hz after 30 s */
#define COVER_MIN 0.99L
#define MONTH_COVER_MIN 0.997L

static const unsigned int rates[] = {30, 20, 9};
static const unsigned int marks_s[] = {10, 30, 60};
#define RATES 3
#define MARKS 3

struct list {
	long double *v;
	size_t count;
};

static struct {
	uint64_t random;
	bool trace;
	struct list fit[RATES][MARKS];
	struct list offline[RATES][MARKS];
	struct list raw[RATES][MARKS];
	struct list sigma[RATES][MARKS];
	uint64_t covered[RATES];
	uint64_t bounded[RATES];
	uint64_t doubtful[RATES]; /* between a step and its epoch */
	long double settle_ns;
} sim;

static long double random_unit(void)
{
	return ((long double)(seeds_random(&sim.random, 0) >> 11) + 0.5L) /
	       9007199254740992.0L;
}

static bool one_in(unsigned int n)
{
	return random_unit() * n < 1;
}

static long double random_delay(void)
{
	return -logl(random_unit()) * DELAY_NS;
}

static long double random_normal(void)
{
	return sqrtl(-2 * logl(random_unit())) *
	       cosl(6.283185307179586L * random_unit());
}

static void fail(const char *what)
{
	(void)printf("FAILED: %s\n", what);
	exit(1);
}

/* --- statistics ------------------------------------------------------------ */

static void list_add(struct list *l, long double v)
{
	if (!(l->count & (l->count - 1))) {
		l->v = realloc(l->v,
			       sizeof(*l->v) * (l->count ? 2 * l->count : 1));
		if (!l->v)
			fail("no memory");
	}
	l->v[l->count++] = v;
}

static int compare(const void *a, const void *b)
{
	long double x = *(const long double *)a;
	long double y = *(const long double *)b;

	return (x > y) - (x < y);
}

static long double list_at(struct list *l, long double part)
{
	size_t i = (size_t)(part * (long double)l->count);

	if (!l->count)
		return 0;
	qsort(l->v, l->count, sizeof(*l->v), compare);
	return l->v[i < l->count ? i : l->count - 1];
}

/* --- the offline fit ------------------------------------------------------- */

struct sample {
	long double counter;
	long double ns;
};

/* The highest line of slope @b under all samples, at counter @at. */
static long double under(const struct sample *s, size_t n, long double b,
			 long double at)
{
	long double least = s[0].ns - b * (s[0].counter - at);

	for (size_t i = 1; i < n; i++)
		least = fminl(least, s[i].ns - b * (s[i].counter - at));
	return least;
}

/* Maximal at the centroid among all lines under the samples: at the newest. */
static long double offline(const struct sample *s, size_t n, long double period)
{
	long double low = period * (1 - 2e-3L);
	long double high = period * (1 + 2e-3L);
	long double mid = 0;

	for (size_t i = 0; i < n; i++)
		mid += s[i].counter / (long double)n;
	for (int i = 0; i < 75; i++) {
		long double a = low + (high - low) / 3;
		long double b = high - (high - low) / 3;

		if (under(s, n, a, mid) < under(s, n, b, mid))
			low = a;
		else
			high = b;
	}
	return under(s, n, (low + high) / 2, mid) +
	       (low + high) / 2 * (s[n - 1].counter - mid);
}

/* --- a sensor -------------------------------------------------------------- */

struct sensor {
	long double base_ns;
	long double true_ns; /* of the present count */
	long double period_ns;
	uint64_t counter;
	unsigned int burst;
};

static long double sensor_arrival(struct sensor *s)
{
	long double late = random_delay();

	if (!s->burst && one_in(BURSTS))
		s->burst = 1 + (unsigned int)(random_unit() * BURST_SAMPLES);
	if (s->burst) {
		s->burst--;
		late += BURST_NS;
	}
	return s->true_ns + late;
}

struct shown {
	uint64_t epoch;
	uint64_t ns;
};

/* Gives one sample; what the map says then must not go back in its epoch. */
static long double give(struct tsa_fit *fit, const struct sensor *s,
			uint64_t ns, struct shown *last,
			struct tsa_estimate *ret)
{
	uint64_t shown;

	(void)tsa_fit_add(fit, s->counter, ns, 0);
	tsa_fit_estimate(fit, ns, ret);
	shown = tsa_map_apply(&ret->map, s->counter);
	if (ret->state != TSALIGN_WAITING) {
		if (ret->epoch == last->epoch && shown < last->ns)
			fail("time went back");
		last->epoch = ret->epoch;
		last->ns = shown;
	}
	return (long double)shown - s->true_ns;
}

static void mark(unsigned int r, unsigned int m, const struct sample *samples,
		 size_t n, const struct sensor *s, long double error,
		 const struct tsa_estimate *e)
{
	long double best = offline(samples, n, s->period_ns) - s->true_ns;

	list_add(&sim.fit[r][m], fabsl(error));
	list_add(&sim.offline[r][m], fabsl(best));
	list_add(&sim.sigma[r][m], (long double)e->sigma_ns);
	if (sim.trace)
		(void)printf("%u Hz %u s: fit %+.2Lf us, offline %+.2Lf, "
			     "sigma %.2Lf, %llu samples, drift %lld ppb\n",
			     rates[r], marks_s[m], error / US, best / US,
			     (long double)e->sigma_ns / US,
			     (unsigned long long)e->samples,
			     (long long)e->drift_ppb);
}

static void run_sensor(unsigned int r)
{
	static struct sample samples[SAMPLES_MAX];
	struct tsa_fit_config config = {.nominal_mhz = rates[r] * 1000u};
	struct tsa_estimate e = {0};
	struct shown last = {0};
	struct tsa_fit fit;
	struct sensor s = {.base_ns = 1000 * S + random_unit() * S};
	long double step = BURST_NS * (0.05L + 2 * random_unit());
	bool stepped = false;
	unsigned int m = 0;
	size_t n = 0;

	tsa_fit_init(&fit, &config);
	s.period_ns = S / rates[r] * (one_in(2) ? 1.0001L : 0.9999L);
	s.counter = (uint64_t)(random_unit() * 1000);
	step = one_in(2) ? step : -step;
	for (s.true_ns = s.base_ns; s.true_ns < s.base_ns + END_NS;
	     s.true_ns += s.period_ns, s.counter++) {
		long double arrival;
		long double error;

		if (!stepped && s.true_ns > s.base_ns + STEP_AT_NS) {
			stepped = true;
			s.true_ns += step;
			last.epoch = 0;
			if (e.epoch != 1)
				fail("an epoch without a step");
		}
		if (one_in(DROPPED))
			continue;
		arrival = sensor_arrival(&s);
		error = give(&fit, &s, (uint64_t)arrival, &last, &e);
		if (n < SAMPLES_MAX)
			samples[n++] = (struct sample){
				(long double)s.counter,
				floorl(arrival),
			};
		if (e.state == TSALIGN_WAITING)
			continue;
		if (stepped && e.epoch == 1) {
			sim.doubtful[r]++;
			sim.settle_ns =
				fmaxl(sim.settle_ns, s.true_ns - s.base_ns -
							     STEP_AT_NS - step);
			continue;
		}
		sim.bounded[r]++;
		sim.covered[r] += fabsl(error) <= (long double)e.sigma_ns;
		if (m < MARKS &&
		    s.true_ns - s.base_ns + s.period_ns > marks_s[m] * S) {
			mark(r, m, samples, n, &s, error, &e);
			m++;
		} else if (m < MARKS) {
			list_add(&sim.raw[r][m], arrival - s.true_ns);
		}
	}
	if (e.epoch != 2) {
		(void)printf("%u Hz, step %.1Lf ms: epoch %llu\n", rates[r],
			     step / MS, (unsigned long long)e.epoch);
		fail("not one epoch for one step");
	}
	if (sim.trace)
		(void)printf("%u Hz: step of %.1Lf ms, epoch %llu\n", rates[r],
			     step / MS, (unsigned long long)e.epoch);
}

static void report(void)
{
	(void)printf("p99 of |error| in us\n"
		     " Hz   s       raw      fit  offline  ratio  sigma p50\n");
	for (unsigned int r = 0; r < RATES; r++) {
		for (unsigned int m = 0; m < MARKS; m++) {
			long double fit = list_at(&sim.fit[r][m], 0.99L);
			long double best = list_at(&sim.offline[r][m], 0.99L);

			(void)printf("%3u %3u %9.1Lf %8.2Lf %8.2Lf  %5.2Lf  "
				     "%9.2Lf\n",
				     rates[r], marks_s[m],
				     list_at(&sim.raw[r][m], 0.99L) / US,
				     fit / US, best / US, fit / best,
				     list_at(&sim.sigma[r][m], 0.5L) / US);
		}
	}
	for (unsigned int r = 0; r < RATES; r++)
		(void)printf("%3u Hz: bound held in %.3Lf %% of %llu samples; "
			     "%llu between a step and its epoch\n",
			     rates[r],
			     100 * (long double)sim.covered[r] /
				     (long double)sim.bounded[r],
			     (unsigned long long)sim.bounded[r],
			     (unsigned long long)sim.doubtful[r]);
	(void)printf("a step was an epoch after %.1Lf s at the latest\n",
		     sim.settle_ns / S);
}

static void judge(uint64_t seeds)
{
	for (unsigned int r = 0; r < RATES; r++) {
		if ((long double)sim.covered[r] <
		    COVER_MIN * (long double)sim.bounded[r])
			fail("the bound");
		/* Few runs have no 99th percentile. */
		for (unsigned int m = 0; m < MARKS && seeds >= 100; m++)
			if (list_at(&sim.fit[r][m], 0.99L) >
			    RATIO_MAX * list_at(&sim.offline[r][m], 0.99L))
				fail("the offline fit is better");
	}
	if (seeds >= 100 && list_at(&sim.fit[0][1], 0.99L) > ERROR_MAX_NS)
		fail("30 Hz after 30 s");
}

/* --- a month --------------------------------------------------------------- */

#define DAY_NS (86400 * S)
#ifdef __has_feature
#define SANITIZED __has_feature(address_sanitizer)
#elif defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif
#define DAYS (SANITIZED ? 6 : 30)
#define SWING 10e-6L /* of the rate, daily */
#define WALK 0.1e-9L /* of the rate, per root of a second */
#define STEP_EVERY_NS (2.8L * DAY_NS)

static void check_map(const struct tsa_map *map, uint64_t counter)
{
	long double want =
		(long double)map->base_ns +
		(long double)(int64_t)(counter - map->base_counter) *
			ldexpl((long double)map->mult, -(int)map->shift);

	if (fabsl((long double)tsa_map_apply(map, counter) - want) > 1.01L)
		fail("map and long double");
}

static void month(unsigned int rate)
{
	struct tsa_fit_config config = {.nominal_mhz = rate * 1000u};
	struct sensor s = {.base_ns = 1000 * S, .true_ns = 1000 * S};
	struct list errors = {0};
	struct list sigmas = {0};
	struct tsa_estimate e = {0};
	struct shown last = {0};
	struct tsa_fit fit;
	long double next = STEP_EVERY_NS;
	long double walk = 0;
	uint64_t covered = 0;
	uint64_t bounded = 0;
	uint64_t pending = 0;
	uint64_t steps = 0;

	tsa_fit_init(&fit, &config);
	for (; s.true_ns < DAYS * DAY_NS; s.counter++) {
		long double day = s.true_ns / DAY_NS;
		long double off =
			100e-6L + walk + SWING * sinl(6.283185307179586L * day);
		long double error;

		walk += WALK * random_normal() / sqrtl(rate);
		s.true_ns += S / rate * (1 - off);
		if (s.true_ns > next) {
			s.true_ns += 33 * MS * (1 + 4 * random_unit()) *
				     (one_in(2) ? 1 : -1);
			next += STEP_EVERY_NS;
			last.epoch = 0;
			steps++;
		}
		if (one_in(DROPPED))
			continue;
		error = give(&fit, &s, (uint64_t)sensor_arrival(&s), &last, &e);
		if (e.state == TSALIGN_WAITING)
			continue;
		if (e.epoch == steps)
			pending++;
		bounded++;
		covered += fabsl(error) <= (long double)e.sigma_ns;
		check_map(&e.map, s.counter + (s.counter & 1023));
		if (!(bounded & 63)) {
			list_add(&errors, fabsl(error));
			list_add(&sigmas, (long double)e.sigma_ns);
		}
	}
	(void)printf("%d days at %u Hz: %llu samples, %llu steps, epoch %llu; "
		     "|error| p50 %.2Lf us, p99 %.2Lf us; bound p50 %.2Lf us, "
		     "held in %.4Lf %%; %llu before their epoch was known\n",
		     DAYS, rate, (unsigned long long)bounded,
		     (unsigned long long)steps, (unsigned long long)e.epoch,
		     list_at(&errors, 0.5L) / US, list_at(&errors, 0.99L) / US,
		     list_at(&sigmas, 0.5L) / US,
		     100 * (long double)covered / (long double)bounded,
		     (unsigned long long)pending);
	if (e.epoch != steps + 1)
		fail("not one epoch for each step");
	if ((long double)covered < MONTH_COVER_MIN * (long double)bounded)
		fail("the month's bound");
	free(errors.v);
	free(sigmas.v);
}

int main(int argc, char **argv)
{
	struct seeds seeds = seeds_from(argc, argv, 200);

	sim.trace = seeds.one;
	for (uint64_t i = 0; i < seeds.count; i++) {
		sim.random = seeds.first + i;
		for (unsigned int r = 0; r < RATES; r++)
			run_sensor(r);
	}
	report();
	judge(seeds.count);
	sim.random = 1;
	if (!sim.trace)
		month(seeds.full ? 30 : 1);
	return 0;
}
