// SPDX-License-Identifier: GPL-2.0-only
/*
 * Outputs that fire at ref = k / rate + phase. Each firing is aimed anew from
 * the reference clock's map, so that the line follows it. The line is set in
 * the timer's hard interrupt, or by a thread of its own where the line's
 * controller sleeps (on I2C, SPI).
 */
#include <linux/device.h>
#include <linux/gpio/consumer.h>
#include <linux/hrtimer.h>
#include <linux/kthread.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/version.h>

#include "tsalign_int.h"

#define ERRORS	256

#ifndef kthread_run_worker	/* before 6.14 a worker that is made runs */
#define kthread_run_worker kthread_create_worker
#endif

struct tsa_trigger {
	struct device *dev;
	struct gpio_desc *gpiod;
	struct tsa_stream *stream;
	struct kthread_worker *worker;	/* NULL: the line does not sleep */
	struct kthread_work work;
	struct hrtimer timer;

	raw_spinlock_t lock;
	struct tsalign_trigger set;
	bool active;		/* the line is */
	bool resting;		/* no reference: looks again in a while */
	bool slept;		/* was on when the system went to sleep */
	u64 k;			/* of the firing aimed at, or on */
	u64 fired_k;		/* of the last one; ~0: none */
	u64 ref_ns;		/* its time by the reference */
	u64 boot_ns;
	u64 fired;
	u64 late;
	u32 error[ERRORS];
};

static DEFINE_MUTEX(triggers_lock);
static struct tsa_trigger *triggers[TSALIGN_TRIGGERS_MAX];

static u64 period_ns(const struct tsa_trigger *t)
{
	return div64_u64(1000 * (u64)NSEC_PER_SEC, t->set.rate_mhz);
}

/* With t->lock held: the next firing after @after, reference time. */
static void aim(struct tsa_trigger *t, u64 after)
{
	t->ref_ns = tsa_trigger_next(&t->set, after, &t->k);
	t->resting = tsa_reference_to_boot(t->ref_ns, &t->boot_ns) != 0;
}

static void aim_now(struct tsa_trigger *t)
{
	u64 now = ktime_get_boottime_ns();
	u64 ref;

	t->resting = tsa_reference_from_boot(now, &ref) != 0;
	if (!t->resting)
		aim(t, ref);
	/* A reference that was slewed back must not fire one twice. */
	if (!t->resting && t->k == t->fired_k)
		aim(t, t->ref_ns);
	/* At its end a reference stands still: not again and again at once. */
	if (!t->resting && (t->boot_ns > S64_MAX ||
			    t->boot_ns + period_ns(t) / 2 < now))
		t->resting = true;
	if (t->resting)
		t->boot_ns = now + NSEC_PER_SEC / 10;
}

static void line_set(struct tsa_trigger *t, int value)
{
	if (t->worker)
		gpiod_set_value_cansleep(t->gpiod, value);
	else
		gpiod_set_value(t->gpiod, value);
}

static void fired(struct tsa_trigger *t, u64 k, u64 target, u64 at)
{
	struct tsa_sample sample = {
		.counter = k,
		.host_ns = at,
		.cpu = raw_smp_processor_id(),
		.unwrapped = true,
	};
	u64 error = at > target ? at - target : 0;

	t->fired_k = k;
	t->error[t->fired % ERRORS] = min_t(u64, error, U32_MAX);
	t->fired++;
	tsa_stream_sample(t->stream, &sample);
	tsa_streams_edge(t->stream->info.id, at);
}

/* One edge; when the next is due, BOOTTIME, or 0: the line rests. */
static u64 edge(struct tsa_trigger *t)
{
	unsigned long flags;
	bool fire = false;
	u64 target;
	u64 at;
	u64 next;

	raw_spin_lock_irqsave(&t->lock, flags);
	if (!t->set.enable) {
		raw_spin_unlock_irqrestore(&t->lock, flags);
		return 0;
	}
	target = t->boot_ns;
	at = ktime_get_boottime_ns();
	if (t->active) {
		t->active = false;
		aim_now(t);
		next = t->boot_ns;
	} else if (t->resting) {
		aim_now(t);
		next = t->boot_ns;
	} else if (at > target + period_ns(t) / 2) {
		t->late++;
		aim_now(t);
		next = t->boot_ns;
	} else {
		fire = true;
		t->active = true;
		next = target + t->set.pulse_ns;
	}
	raw_spin_unlock_irqrestore(&t->lock, flags);
	line_set(t, fire);
	if (fire) {
		at = ktime_get_boottime_ns();
		raw_spin_lock_irqsave(&t->lock, flags);
		fired(t, t->k, target, at);
		raw_spin_unlock_irqrestore(&t->lock, flags);
	}
	return next;
}

static enum hrtimer_restart timer_fires(struct hrtimer *timer)
{
	struct tsa_trigger *t = container_of(timer, struct tsa_trigger, timer);
	u64 next;

	if (t->worker) {
		kthread_queue_work(t->worker, &t->work);
		return HRTIMER_NORESTART;
	}
	next = edge(t);
	if (!next)
		return HRTIMER_NORESTART;
	hrtimer_set_expires(timer, ns_to_ktime(next));
	return HRTIMER_RESTART;
}

static void work_fires(struct kthread_work *work)
{
	struct tsa_trigger *t = container_of(work, struct tsa_trigger, work);
	u64 next = edge(t);

	if (next)
		hrtimer_start(&t->timer, ns_to_ktime(next),
			      HRTIMER_MODE_ABS_HARD);
}

/* With triggers_lock held. */
static void trigger_stop(struct tsa_trigger *t)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&t->lock, flags);
	t->set.enable = 0;
	raw_spin_unlock_irqrestore(&t->lock, flags);
	/* The thread may start the timer once more; not after it has seen 0. */
	hrtimer_cancel(&t->timer);
	if (t->worker) {
		kthread_cancel_work_sync(&t->work);
		hrtimer_cancel(&t->timer);
		kthread_cancel_work_sync(&t->work);
	}
	t->active = false;
	gpiod_set_value_cansleep(t->gpiod, 0);
}

static void trigger_start(struct tsa_trigger *t)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&t->lock, flags);
	t->set.enable = 1;
	t->fired_k = ~0ULL;
	aim_now(t);
	raw_spin_unlock_irqrestore(&t->lock, flags);
	hrtimer_start(&t->timer, ns_to_ktime(t->boot_ns),
		      HRTIMER_MODE_ABS_HARD);
}

void tsa_triggers_rearm(void)
{
	u32 i;

	mutex_lock(&triggers_lock);
	for (i = 0; i < TSALIGN_TRIGGERS_MAX; i++) {
		if (!triggers[i] || !triggers[i]->set.enable)
			continue;
		trigger_stop(triggers[i]);
		trigger_start(triggers[i]);
	}
	mutex_unlock(&triggers_lock);
}

void tsa_triggers_sleep(bool sleep)
{
	struct tsa_trigger *t;
	u32 i;

	mutex_lock(&triggers_lock);
	for (i = 0; i < TSALIGN_TRIGGERS_MAX; i++) {
		t = triggers[i];
		if (!t)
			continue;
		if (sleep && t->set.enable) {
			trigger_stop(t);
			t->slept = true;
		} else if (!sleep && t->slept) {
			t->slept = false;
			trigger_start(t);
		}
	}
	mutex_unlock(&triggers_lock);
}

u32 tsa_triggers_count(void)
{
	u32 count = 0;
	u32 i;

	mutex_lock(&triggers_lock);
	for (i = 0; i < TSALIGN_TRIGGERS_MAX; i++)
		count += !!triggers[i];
	mutex_unlock(&triggers_lock);
	return count;
}

static void trigger_tell(struct tsa_trigger *t, struct tsalign_trigger *ret)
{
	unsigned long flags;
	u32 worst = 0;
	u32 i;

	raw_spin_lock_irqsave(&t->lock, flags);
	for (i = 0; i < ERRORS; i++)
		worst = max(worst, t->error[i]);
	*ret = t->set;
	ret->fired = t->fired;
	ret->late = t->late;
	ret->error_ns = worst;
	ret->stream = t->stream->info.id;
	raw_spin_unlock_irqrestore(&t->lock, flags);
}

static bool reserved_used(const struct tsalign_trigger *arg)
{
	return memchr_inv(arg->reserved, 0, sizeof(arg->reserved));
}

int tsa_trigger_get(struct tsalign_trigger *arg)
{
	int r = -ENOENT;

	if (reserved_used(arg))
		return -EINVAL;
	mutex_lock(&triggers_lock);
	if (arg->index < TSALIGN_TRIGGERS_MAX && triggers[arg->index]) {
		trigger_tell(triggers[arg->index], arg);
		r = 0;
	}
	mutex_unlock(&triggers_lock);
	return r;
}

int tsa_trigger_set(struct tsalign_trigger *arg)
{
	struct tsa_trigger *t;
	const char *why;
	int r = -ENOENT;

	if (reserved_used(arg) || arg->enable > 1 || arg->centred > 1)
		return -EINVAL;
	mutex_lock(&triggers_lock);
	if (arg->index >= TSALIGN_TRIGGERS_MAX || !triggers[arg->index])
		goto out;
	t = triggers[arg->index];
	r = arg->enable ? tsa_trigger_check(arg, &why) : 0;
	if (r)
		goto out;
	trigger_stop(t);
	t->slept = false;
	if (arg->enable) {
		t->set = *arg;
		memset(t->error, 0, sizeof(t->error));
		trigger_start(t);
	}
	trigger_tell(t, arg);
out:
	mutex_unlock(&triggers_lock);
	return r;
}

static void trigger_remove(void *data)
{
	struct tsa_trigger *t = data;

	mutex_lock(&triggers_lock);
	trigger_stop(t);
	triggers[t->set.index] = NULL;
	mutex_unlock(&triggers_lock);
	if (t->worker)
		kthread_destroy_worker(t->worker);
	tsa_stream_leave(t->stream);
	tsa_stream_put(t->stream);
}

static void timer_prepare(struct hrtimer *timer)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
	hrtimer_setup(timer, timer_fires, CLOCK_BOOTTIME, HRTIMER_MODE_ABS_HARD);
#else
	hrtimer_init(timer, CLOCK_BOOTTIME, HRTIMER_MODE_ABS_HARD);
	timer->function = timer_fires;
#endif
}

static int trigger_worker(struct tsa_trigger *t, const char *name)
{
	if (!gpiod_cansleep(t->gpiod))
		return 0;
	t->worker = kthread_run_worker(0, "tsalign/%s", name);
	if (IS_ERR(t->worker))
		return PTR_ERR(t->worker);
	sched_set_fifo(t->worker->task);
	return 0;
}

static int trigger_install(struct tsa_trigger *t)
{
	u32 i;

	mutex_lock(&triggers_lock);
	for (i = 0; i < TSALIGN_TRIGGERS_MAX && triggers[i]; i++)
		;
	if (i < TSALIGN_TRIGGERS_MAX) {
		t->set.index = i;
		triggers[i] = t;
	}
	mutex_unlock(&triggers_lock);
	return i < TSALIGN_TRIGGERS_MAX ? 0 : -ENOSPC;
}

int tsa_trigger_add(struct device *dev, const char *name,
		    struct gpio_desc *gpiod, const struct tsalign_trigger *set)
{
	struct tsalign_stream info = {
		.kind = TSALIGN_TRIGGER,
		.minor = -1,
		.counter = TSALIGN_COUNT_EVENTS,
		.counter_bits = 64,
		.nominal_mhz = set->rate_mhz,
	};
	static const struct tsalign_rule rule = {
		.stamped = TSALIGN_POINT_SOE,
		.point = TSALIGN_POINT_SOE,
		.strobe = TSA_NO_ID,
	};
	struct tsa_trigger *t = devm_kzalloc(dev, sizeof(*t), GFP_KERNEL);
	int r;

	if (!t)
		return -ENOMEM;
	t->dev = dev;
	t->gpiod = gpiod;
	t->set = *set;
	t->set.enable = 0;
	raw_spin_lock_init(&t->lock);
	kthread_init_work(&t->work, work_fires);
	timer_prepare(&t->timer);
	memcpy(info.name, name, sizeof(info.name));
	r = trigger_worker(t, name);
	if (r)
		return r;
	t->stream = tsa_stream_add(&info, &rule, NULL);
	if (IS_ERR(t->stream)) {
		r = PTR_ERR(t->stream);
		goto worker;
	}
	r = trigger_install(t);
	if (r)
		goto stream;
	r = devm_add_action_or_reset(dev, trigger_remove, t);
	if (r)
		return r;
	if (set->enable) {
		mutex_lock(&triggers_lock);
		trigger_start(t);
		mutex_unlock(&triggers_lock);
	}
	return 0;
stream:
	tsa_stream_leave(t->stream);
	tsa_stream_put(t->stream);
worker:
	if (t->worker)
		kthread_destroy_worker(t->worker);
	return r;
}

void tsa_triggers_show(struct seq_file *m)
{
	struct tsalign_trigger set = { .index = 0 };
	u32 i;

	for (i = 0; i < TSALIGN_TRIGGERS_MAX; i++) {
		set = (struct tsalign_trigger){ .index = i };
		if (tsa_trigger_get(&set))
			continue;
		seq_printf(m, "trigger %u stream %u %s rate_mhz %llu fired %llu late %llu error_ns %llu\n",
			   i, set.stream, set.enable ? "on" : "off",
			   set.rate_mhz, set.fired, set.late, set.error_ns);
	}
}
