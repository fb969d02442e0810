// SPDX-License-Identifier: GPL-2.0-only
/*
 * The reference clock: BOOTTIME, TAI (BOOTTIME and an offset, which is constant
 * until somebody sets the clock), or the clock of a PHC stream, whose map from
 * its own nanoseconds to BOOTTIME is run backwards.
 */
#include <linux/math64.h>
#include <linux/time.h>
#include <uapi/linux/time.h>

#include "tsalign_int.h"

static DEFINE_RAW_SPINLOCK(tsa_ref_lock);
static struct {
	struct tsa_reference now;
	s64 tai_ns;			/* TAI - BOOTTIME */
	struct tsa_stream *phc;		/* a reference, or NULL */
	struct tsa_map phc_map;		/* BOOTTIME -> its clock */
	u64 phc_sigma_ns;
	u64 phc_epoch;
	bool phc_holds;
	u32 set_seq;			/* clock_was_set_seq */
	u64 set_ns;			/* BOOTTIME when that was seen to change */
} ref;

/* Exact: both offsets lie on the same base. No clock is read. */
static s64 tai_offset(void)
{
	return ktime_to_ns(ktime_sub(ktime_mono_to_any(0, TK_OFFS_TAI),
				     ktime_mono_to_any(0, TK_OFFS_BOOT)));
}

static void step(enum tsalign_epoch_cause cause)
{
	ref.now.generation++;
	ref.now.cause = cause;
}

static u32 clock_was_set(void)
{
	struct system_time_snapshot snapshot;

	ktime_get_snapshot(&snapshot);
	return snapshot.clock_was_set_seq;
}

void tsa_reference_init(enum tsalign_reference kind)
{
	ref.now.kind = kind;
	ref.tai_ns = tai_offset();
	ref.now.generation = 1;
	ref.now.cause = TSALIGN_CAUSE_START;
	ref.set_seq = clock_was_set();
	ref.set_ns = ktime_get_boottime_ns();
}

void tsa_reference_exit(void)
{
	if (ref.phc)
		tsa_stream_put(ref.phc);
	ref.phc = NULL;
}

int tsa_reference_set(enum tsalign_reference kind, struct tsa_stream *phc)
{
	struct tsa_stream *old = NULL;
	unsigned long flags;
	bool changed;

	raw_spin_lock_irqsave(&tsa_ref_lock, flags);
	changed = ref.now.kind != kind || ref.phc != phc;
	if (changed) {
		old = ref.phc;
		ref.now.kind = kind;
		ref.phc = phc;
		if (phc)
			kref_get(&phc->ref);
		ref.phc_holds = false;
		ref.phc_epoch = 0;
		ref.tai_ns = tai_offset();
		step(TSALIGN_CAUSE_RECONFIG);
	}
	raw_spin_unlock_irqrestore(&tsa_ref_lock, flags);
	if (old)
		tsa_stream_put(old);
	if (changed) {
		/* Its map first, or the others find none. */
		if (phc)
			tsa_stream_refresh(phc);
		tsa_streams_refresh();
		tsa_triggers_rearm();
	}
	return 0;
}

enum tsalign_reference tsa_reference_kind(void)
{
	return READ_ONCE(ref.now.kind);
}

u64 tsa_reference_generation(void)
{
	unsigned long flags;
	u64 generation;

	raw_spin_lock_irqsave(&tsa_ref_lock, flags);
	generation = ref.now.generation;
	raw_spin_unlock_irqrestore(&tsa_ref_lock, flags);
	return generation;
}

/* With the lock held. */
static int from_boot_map(struct tsa_map *ret)
{
	s64 now;

	switch (ref.now.kind) {
	case TSALIGN_REF_BOOTTIME:
		*ret = (struct tsa_map){ .mult = 1 };
		return 0;
	case TSALIGN_REF_TAI:
		now = tai_offset();
		if (now != ref.tai_ns) {
			ref.tai_ns = now;
			step(TSALIGN_CAUSE_HOST_STEP);
			tsa_refresh_soon();
		}
		/* TAI before 1970 does not exist; nor is that BOOTTIME's. */
		if (now < 0)
			return -EAGAIN;
		*ret = (struct tsa_map){ .base_ns = now, .mult = 1 };
		return 0;
	case TSALIGN_REF_PHC:
		if (!ref.phc_holds)
			return -EAGAIN;
		*ret = ref.phc_map;
		return 0;
	}
	return -EAGAIN;
}

tsa_hot int tsa_reference_map(u64 counter, struct tsa_map *map, u64 *sigma_ns,
			      struct tsa_reference *ret)
{
	struct tsa_map clock;
	struct tsa_map composed;
	unsigned long flags;
	int r;

	raw_spin_lock_irqsave(&tsa_ref_lock, flags);
	if (likely(ref.now.kind == TSALIGN_REF_BOOTTIME)) {
		*ret = ref.now;
		raw_spin_unlock_irqrestore(&tsa_ref_lock, flags);
		return 0;
	}
	r = from_boot_map(&clock);
	if (!r && ref.now.kind == TSALIGN_REF_PHC)
		*sigma_ns = tsa_add(*sigma_ns, ref.phc_sigma_ns);
	*ret = ref.now;
	raw_spin_unlock_irqrestore(&tsa_ref_lock, flags);
	if (r)
		return r;
	if (clock.shift == 0) {
		map->base_ns += clock.base_ns;
		return 0;
	}
	r = tsa_map_compose(map, &clock, counter, &composed);
	if (r)
		return -EAGAIN;
	*map = composed;
	return 0;
}

int tsa_reference_from_boot(u64 boot_ns, u64 *ret_ns)
{
	struct tsa_map clock;
	unsigned long flags;
	int r;

	raw_spin_lock_irqsave(&tsa_ref_lock, flags);
	r = from_boot_map(&clock);
	raw_spin_unlock_irqrestore(&tsa_ref_lock, flags);
	if (!r)
		*ret_ns = tsa_map_apply(&clock, boot_ns);
	return r;
}

int tsa_reference_to_boot(u64 ref_ns, u64 *ret_ns)
{
	struct tsa_map clock;
	unsigned long flags;
	int r;

	raw_spin_lock_irqsave(&tsa_ref_lock, flags);
	r = from_boot_map(&clock);
	raw_spin_unlock_irqrestore(&tsa_ref_lock, flags);
	if (r)
		return r;
	*ret_ns = tsa_map_invert(&clock, ref_ns);
	return 0;
}

/*
 * The other way round. The PHC counts nanoseconds, so its rate is near one and
 * 31 bits of it are good to half a nanosecond a second; the base moves along
 * with each sample.
 */
static int invert(const struct tsa_map *map, struct tsa_map *ret)
{
	u64 rate;

	if (map->shift < 31)
		rate = map->mult << (31 - map->shift);
	else
		rate = map->mult >> (map->shift - 31);
	if (rate < BIT_ULL(30) || rate > BIT_ULL(32))
		return -ERANGE;
	*ret = (struct tsa_map){
		.base_counter = map->base_ns,
		.base_ns = map->base_counter,
		.mult = div64_u64(BIT_ULL(63), rate),
		.shift = 32,
	};
	return 0;
}

void tsa_reference_phc(const struct tsa_stream *s, const struct tsa_estimate *e)
{
	struct tsa_map map;
	unsigned long flags;
	bool holds;
	bool changed = false;

	if (READ_ONCE(ref.phc) != s)
		return;
	holds = !s->gone && e->state != TSALIGN_WAITING &&
		e->state != TSALIGN_FREE && invert(&e->map, &map) == 0;
	raw_spin_lock_irqsave(&tsa_ref_lock, flags);
	if (ref.phc == s) {
		/* One that came back counts its epochs from 1 again. */
		bool stepped = holds && (!ref.phc_holds ||
					 ref.phc_epoch != e->epoch);

		changed = holds != ref.phc_holds;
		if (holds)
			ref.phc_map = map;
		ref.phc_holds = holds;
		ref.phc_sigma_ns = e->sigma_ns;
		if (stepped) {
			if (ref.phc_epoch)
				step(TSALIGN_CAUSE_HOST_STEP);
			ref.phc_epoch = e->epoch;
			changed = true;
		}
	}
	raw_spin_unlock_irqrestore(&tsa_ref_lock, flags);
	if (changed)
		tsa_refresh_soon();
}

void tsa_reference_tick(void)
{
	u32 seq = clock_was_set();
	u64 now = ktime_get_boottime_ns();
	unsigned long flags;
	u64 unused;

	raw_spin_lock_irqsave(&tsa_ref_lock, flags);
	if (seq != ref.set_seq) {
		ref.set_seq = seq;
		ref.set_ns = now;
	}
	raw_spin_unlock_irqrestore(&tsa_ref_lock, flags);
	/* Sees a step also while no stream is fed. */
	(void)tsa_reference_from_boot(now, &unused);
}

int tsa_reference_clock(u32 clock, s64 *ret_offset, u64 *ret_set_ns)
{
	s64 boot = ktime_to_ns(ktime_mono_to_any(0, TK_OFFS_BOOT));

	*ret_set_ns = 0;
	switch (clock) {
	case CLOCK_BOOTTIME:
		*ret_offset = 0;
		return 0;
	case CLOCK_MONOTONIC:
		*ret_offset = boot;
		return 0;
	case CLOCK_REALTIME:
		*ret_offset = boot - ktime_to_ns(ktime_mono_to_any(0, TK_OFFS_REAL));
		break;
	case CLOCK_TAI:
		*ret_offset = boot - ktime_to_ns(ktime_mono_to_any(0, TK_OFFS_TAI));
		break;
	default:
		return -EINVAL;
	}
	tsa_reference_tick();
	*ret_set_ns = READ_ONCE(ref.set_ns);
	return 0;
}
