/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A supervised source over a device that misbehaves at random, and a user who
 * is slow at random, in simulated time; then the device is well again.
 *
 *	SEEDS=n	how many seeds (default 200)	SEED=n	that one, with a trace
 *
 * Holds at all times: a deadline is kept; dequeue says nothing but what it
 * may; frames carry their track; epochs never go back; within one, sequence
 * and stamp rise; blank pictures are those that are flagged; no more than
 * OPENS_PER_MINUTE_MAX opens in any minute; each frame goes back exactly
 * once (the fake aborts otherwise); a user who polls is woken. In the end:
 * frames come within RECOVERY_NS, and nothing is left.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <capture/supervisor.h>

#include "base/macros.h"
#include "src/supervisor.h"
#include "support/fake_source.h"
#include "support/seeds.h"
#include "support/sys_fault.h"

#define MS UINT64_C(1000000)
#define S (1000 * MS)
#define MINUTE (60 * S)
#define TIME_NS (10 * MINUTE)
#define BACKOFF_MIN_NS (100 * MS)
#define BACKOFF_MAX_NS (10 * S)
#define STABLE_NS (5 * S)
/*
 * The waits of 0.1, 0.2, ... 6.4 s are over in 6 to 13 s, seven opens; only
 * 5 s of frames begin them anew. So a minute has room for six rounds.
 */
#define OPENS_PER_MINUTE_MAX 42u
#define RECOVERY_NS (BACKOFF_MAX_NS + 3 * S)
#define OPEN_NS_MAX (30 * MS)
#define HELD_MAX 12u

static struct {
	uint64_t seed;
	uint64_t random;
	bool trace;
	struct fake_source *device;
	struct capture_source *source;
	struct capture_frame *held[HELD_MAX];
	unsigned int held_count;
	uint64_t mischief_ns; /* when the device changes next */
	bool any;	      /* a frame came; its: */
	uint32_t epoch;
	uint32_t sequence;
	uint64_t stamp_ns;
	bool blank;
	/* Totals. */
	uint64_t frames;
	uint64_t blanks;
	uint64_t opens;
	uint64_t events[CAPTURE_EVENT_STUCK + 1];
} sim;

static uint64_t random_below(uint64_t n)
{
	return seeds_random(&sim.random, n);
}

static unsigned long long now_ms(void)
{
	return (unsigned long long)(fake_source_now_ns() / MS);
}

#define NEED(condition) need((condition), #condition, __LINE__)

static void need(bool holds, const char *what, int line)
{
	if (holds)
		return;
	(void)fflush(stdout);
	(void)fprintf(stderr,
		      "sim_supervisor: SEED=%llu line %d: %s (%llu ms)\n",
		      (unsigned long long)sim.seed, line, what, now_ms());
	abort();
}

static PRINTF(1, 2) void trace(const char *format, ...)
{
	va_list args;

	if (!sim.trace)
		return;
	(void)printf("%8llu ", now_ms());
	va_start(args, format);
	(void)vprintf(format, args);
	va_end(args);
	(void)printf("\n");
}

static void on_event(void *ctx, const struct capture_supervisor_event *event)
{
	(void)ctx;
	NEED(event->kind < ARRAY_SIZE(sim.events));
	NEED(event->wait_ns <= BACKOFF_MAX_NS);
	sim.events[event->kind]++;
	trace("%s: %s", capture_supervisor_kind_name(event->kind), event->text);
}

/* --- the device --------------------------------------------------------- */

static void heal(void)
{
	struct fake_source *d = sim.device;

	d->unplugged = false;
	d->hang = false;
	d->hang_restart = false;
	d->hang_reopen = false;
	d->signal = CAPTURE_SIGNAL_OK;
	d->noise = false;
	d->error = 0;
	d->open_error = 0;
	d->start_error = 0;
	d->stop_error = 0;
}

static void change_format(void)
{
	struct capture_format *f = &sim.device->format;

	f->width = 64 << random_below(2);
	f->stride[0] = f->width;
	f->size[0] = f->width * f->height * 3 / 2;
	sim.device->stale = true;
}

static void misbehave(void)
{
	static const int errors[] = {-EIO, -EPROTO, -ENOMEM, -ENODEV,
				     -ETIMEDOUT};
	struct fake_source *d = sim.device;
	int error = errors[random_below(ARRAY_SIZE(errors))];
	uint64_t kind = random_below(11);

	trace("device: %llu", (unsigned long long)kind);
	heal();
	switch (kind) {
	case 0:
		d->unplugged = true;
		break;
	case 1:
		d->hang = true;
		break;
	case 2:
		d->hang_restart = true;
		break;
	case 3:
		d->hang_reopen = true;
		break;
	case 4:
	case 5:
		d->noise = kind == 5;
		d->signal =
			CAPTURE_SIGNAL_NO_CABLE + (unsigned int)random_below(3);
		break;
	case 6:
		change_format();
		break;
	case 7:
		d->error = error;
		break;
	case 8:
		d->start_error = error;
		d->hang_restart = true;
		break;
	case 9:
		d->open_error = error;
		d->hang_reopen = true;
		break;
	default: /* well */
		break;
	}
	d->stop_error = random_below(10) == 0 ? -EIO : 0;
	sim.mischief_ns = fake_source_now_ns() +
			  random_below(random_below(2) ? S : 20 * S);
}

static void check_opens(void)
{
	const struct fake_source *d = sim.device;
	unsigned int first = 0;
	unsigned int i;

	NEED(d->opens < FAKE_SOURCE_OPENS_MAX);
	for (i = 0; i < d->opens; i++) {
		while (d->open_at_ns[i] - d->open_at_ns[first] > MINUTE)
			first++;
		NEED(i - first < OPENS_PER_MINUTE_MAX);
		if (i)
			NEED(d->open_at_ns[i] - d->open_at_ns[i - 1] >=
			     BACKOFF_MIN_NS);
	}
}

/* --- the user ----------------------------------------------------------- */

static void check_frame(const struct capture_frame *f)
{
	bool blank = f->flags & CAPTURE_FRAME_BLANK;

	NEED(f->track_id == 5);
	NEED(f->plane_count == 1);
	NEED(!sim.any || f->epoch == sim.epoch || f->epoch == sim.epoch + 1);
	if (sim.any && f->epoch == sim.epoch) {
		NEED(f->sequence == sim.sequence + 1);
		NEED(f->stamp_ns > sim.stamp_ns);
		NEED(blank == sim.blank);
	} else {
		NEED(f->sequence == 0);
	}
	NEED(!blank || f->stamp_ns <= fake_source_now_ns());
	NEED(!blank || f->planes[0].map);
	sim.any = true;
	sim.epoch = f->epoch;
	sim.sequence = f->sequence;
	sim.stamp_ns = f->stamp_ns;
	sim.blank = blank;
	sim.frames += !blank;
	sim.blanks += blank;
}

static void drop_one(void)
{
	unsigned int i;

	if (!sim.held_count)
		return;
	i = (unsigned int)random_below(sim.held_count);
	(void)capture_frame_unref(sim.held[i]);
	sim.held[i] = sim.held[--sim.held_count];
}

static void keep(struct capture_frame *f)
{
	if (sim.held_count == HELD_MAX)
		drop_one();
	sim.held[sim.held_count++] = f;
	/* Mostly quick, sometimes not. */
	if (random_below(8))
		drop_one();
	if (random_below(200) == 0) {
		while (sim.held_count)
			drop_one();
	}
}

/* Return: whether a frame of the device came. */
static bool ask(void)
{
	uint64_t deadline_ns = 0;
	struct capture_frame *f;
	int r;

	if (random_below(2)) {
		/* Whoever only polls is woken: the stall timer, if nothing. */
		bool woken = fake_source_poll(20 * S);

		NEED(woken || sim.held_count >= FAKE_SOURCE_BUFFERS);
	} else {
		deadline_ns = fake_source_now_ns() + random_below(2 * S);
	}
	r = capture_source_dequeue(sim.source, deadline_ns, &f);
	/* What an attempt takes comes on top. */
	NEED(!deadline_ns ||
	     fake_source_now_ns() <= deadline_ns + OPEN_NS_MAX + MS);
	if (r == -ENOBUFS)
		drop_one();
	if (r < 0) {
		NEED(r == -ENOBUFS ||
		     r == (deadline_ns ? -ETIMEDOUT : -EAGAIN));
		return false;
	}
	check_frame(f);
	r = !(f->flags & CAPTURE_FRAME_BLANK);
	keep(f);
	return r;
}

/* The user may stop and start, too, at any time. */
static void meddle(void)
{
	trace("user: stop and start");
	NEED(capture_source_stop(sim.source) == 0);
	if (random_below(2))
		fake_source_advance(random_below(10 * S));
	NEED(capture_source_start(sim.source) == 0);
}

static void live(void)
{
	uint64_t end = fake_source_now_ns() + TIME_NS;

	while (fake_source_now_ns() < end) {
		if (fake_source_now_ns() >= sim.mischief_ns)
			misbehave();
		(void)ask();
		if (random_below(500) == 0)
			fake_source_advance(random_below(20 * S));
		if (random_below(2000) == 0)
			meddle();
	}
}

static void recover(void)
{
	uint64_t end = fake_source_now_ns() + RECOVERY_NS;
	unsigned int i;

	trace("well again");
	heal();
	while (sim.held_count)
		drop_one();
	while (!ask())
		NEED(fake_source_now_ns() < end);
	/* And stays so. */
	for (i = 0; i < 300; i++) {
		while (sim.held_count > 2)
			drop_one();
		NEED(ask() || !sim.device->stale);
	}
}

static void run(uint64_t seed, bool traced)
{
	struct capture_supervisor_config config = {
		.source = {.path = "/dev/video0", .track_id = 5},
		.frame_ns = S,
		.backoff_min_ns = BACKOFF_MIN_NS,
		.backoff_max_ns = BACKOFF_MAX_NS,
		.stable_ns = STABLE_NS,
		.seed = seed,
		.event = on_event,
	};

	sim.seed = seed;
	sim.random = seed;
	sim.trace = traced;
	sim.any = false;
	sim.device = fake_source_reset();
	sim.device->open_ns = random_below(OPEN_NS_MAX);
	sim.mischief_ns = fake_source_now_ns() + random_below(10 * S);
	sys_fault_reset();
	sys_fault_wrap(fake_source_ops());
	config.blank = (enum capture_blank)random_below(3);
	NEED(supervisor_open_by(sys_fault(), &config, fake_source_open,
				&sim.source) == 0);
	NEED(capture_source_start(sim.source) == 0);
	live();
	recover();
	check_opens();
	/* Either may go first. */
	if (random_below(2))
		sim.source = capture_source_close(sim.source);
	while (sim.held_count)
		drop_one();
	sim.source = capture_source_close(sim.source);
	NEED(!sim.device->live);
	NEED(sim.device->frames == sim.device->released);
	NEED(!sys_fault_open_fds() && !sys_fault_open_maps());
	sim.opens += sim.device->opens;
}

int main(int argc, char **argv)
{
	struct seeds seeds = seeds_from(argc, argv, 200);
	uint64_t count = seeds.count;
	uint64_t n;
	size_t i;

	for (n = 0; n < count; n++)
		run(seeds.first + n, seeds.one);
	if (seeds.one)
		return 0;
	(void)printf("%llu seeds: %llu frames, %llu blank, %llu opens",
		     (unsigned long long)count, (unsigned long long)sim.frames,
		     (unsigned long long)sim.blanks,
		     (unsigned long long)sim.opens);
	for (i = 0; i < ARRAY_SIZE(sim.events); i++) {
		(void)printf(", %llu %s", (unsigned long long)sim.events[i],
			     capture_supervisor_kind_name(
				     (enum capture_supervisor_kind)i));
		/*
		 * A kind that never comes would not be tested. Drivers that do
		 * not return need a thread and a real clock: test_capture_stuck.
		 */
		NEED(count < 50 || i == CAPTURE_EVENT_STUCK || sim.events[i]);
	}
	(void)printf("\n");
	return 0;
}
