// SPDX-License-Identifier: GPL-2.0-only
/*
 * For guests alone: sensors whose true times are known, because this makes
 * them up, and a board for tsalign.ko on a gpio-sim chip.
 *
 * debugfs, /sys/kernel/debug/tsalign_truth/:
 *	run	write "name rate_mhz drift_ppb mean_ns burst_permille
 *		drop_permille seconds step_ms seed": simulates that sensor from
 *		now on, in no time, through tsalign_submit(). Up to three such
 *		lines: all of them at once, each pair in its turn
 *	truth	read: struct pair {counter, true host ns}[] of the last run's
 *		first sensor, dropped frames too, and one second into the
 *		future; truth1, truth2: of the others
 *	heard	read: the same of what was submitted, when it was heard;
 *		heard1, heard2: of the others
 *	live	write "rate_mhz seconds": the same from a hrtimer, in real time;
 *		"late NS" in `lateness` is the worst that the timer was
 *	storm	write an interrupt's number: it comes a thousand times at once
 *	cost	read: nanoseconds of one tsalign_submit(), the least of 20 means
 *		of 5,000
 */
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/irq.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/tsalign.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "board.h"

#define POINTS_MAX	80000
#define SENSORS_MAX	3

static char *gpio;
module_param(gpio, charp, 0444);
MODULE_PARM_DESC(gpio, "label of a gpio-sim chip of 8 lines: makes the board");

static int bad;
module_param(bad, int, 0444);
MODULE_PARM_DESC(bad, "which mistake the board's properties have; 0: none");

static DEFINE_MUTEX(lock);
static struct dentry *root;

/* What is made up of a sensor. */
static struct made {
	struct tsalign_pair *points;
	struct tsalign_pair *heard;
	u32 point_count, heard_count;
} made[SENSORS_MAX];
static u64 state;

/* xorshift64*: the same on each machine. */
static u32 dice(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (state * 0x2545F4914F6CDD1DULL) >> 32;
}

/* -ln(u) by 16 halvings of the table below: a mean of 1 in 16.16. */
static u64 exponential(u64 mean_ns)
{
	u64 u = (u64)dice() + 1;	/* 1 .. 2^32 */
	u32 log = ilog2(u);
	u64 x = (u << (63 - log)) >> 31;	/* 1.32, in [1, 2) */
	u64 ln = 0;			/* log2 of the fraction, 0.16 */
	u32 bit;

	for (bit = 1U << 15; bit; bit >>= 1) {
		x = (x >> 1) * (x >> 1) >> 30;
		if (x >= 2ULL << 32) {
			x >>= 1;
			ln |= bit;
		}
	}
	/* (32 - log2(u)) * ln 2 */
	ln = ((u64)32 << 16) - (((u64)log << 16) + ln);
	return mean_ns * ((ln * 45426) >> 16) >> 16;
}

struct sensor {
	char name[TSALIGN_NAME_BYTES];
	u64 rate_mhz, mean_ns, seed;
	s64 drift_ppb;
	u32 burst_permille, drop_permille, seconds, step_ms;

	struct made *made;
	struct tsalign_source *source;
	u64 begin, frames, k, newest, state;
	u32 late;
	struct tsalign_pair next;	/* to be heard; host_ns U64_MAX: none */
};

/* True time of frame @k; a sensor that is fast has a shorter period. */
static u64 true_ns(const struct sensor *s, u64 begin, u64 k, u64 frames)
{
	u64 period = div64_u64(1000000000000ULL, s->rate_mhz);
	u64 wrong = div64_s64((s64)period * s->drift_ppb, 1000000000);
	u64 ns = begin + k * (period - wrong);

	/* Sub-nanosecond parts of both, which a long run would notice. */
	ns += mul_u64_u64_div_u64(1000000000000ULL - period * s->rate_mhz, k,
				  s->rate_mhz);
	if (s->step_ms && k >= frames / 2)
		ns += s->step_ms * (u64)NSEC_PER_MSEC;
	return ns;
}

/* Its next pair, as late as chance has it. */
static void make_next(struct sensor *s)
{
	struct made *m = s->made;
	u64 extra = div64_u64(s->rate_mhz, 1000);

	state = s->state;
	s->next.host_ns = U64_MAX;
	while (s->k < s->frames + extra && m->point_count < POINTS_MAX) {
		u64 k = s->k++;
		u64 at = true_ns(s, s->begin, k, s->frames);
		u64 delay = exponential(s->mean_ns);

		m->points[m->point_count++] = (struct tsalign_pair){
			.counter = k, .host_ns = at,
		};
		if (k >= s->frames)
			continue;
		/* A burst: five in a row are late by 200 ms. */
		if (!s->late && dice() % 1000 < s->burst_permille)
			s->late = 5;
		if (s->late) {
			s->late--;
			delay += 200 * NSEC_PER_MSEC;
		}
		if (dice() % 1000 < s->drop_permille)
			continue;
		/* Heard in order, as interrupts are. */
		s->newest = max(at + delay, s->newest + 1);
		s->next = (struct tsalign_pair){
			.counter = k, .host_ns = s->newest,
		};
		break;
	}
	s->state = state;
}

static void simulate(struct sensor *sensors, u32 count)
{
	u64 begin = ktime_get_boottime_ns();
	u32 turn;
	u32 i;

	for (i = 0; i < count; i++) {
		struct sensor *s = &sensors[i];

		s->begin = begin;
		s->frames = div64_u64(s->rate_mhz * s->seconds, 1000);
		s->state = s->seed * 0x9E3779B97F4A7C15ULL + 1;
		s->made->point_count = 0;
		s->made->heard_count = 0;
		make_next(s);
	}
	for (turn = 0; ; turn++) {
		struct sensor *s = sensors;

		for (i = 1; i < count; i++)
			if (sensors[i].next.host_ns < s->next.host_ns)
				s = &sensors[i];
		if (s->next.host_ns == U64_MAX)
			break;
		s->made->heard[s->made->heard_count++] = s->next;
		tsalign_submit(s->source, s->next.counter & U32_MAX,
			       s->next.host_ns, 0);
		make_next(s);
		if (!(turn % 256))
			cond_resched();
	}
}

/* Return: whether @text is a sensor's line. */
static bool read_sensor(const char *text, struct sensor *s)
{
	return sscanf(text, "%31s %llu %lld %llu %u %u %u %u %llu", s->name,
		      &s->rate_mhz, &s->drift_ppb, &s->mean_ns,
		      &s->burst_permille, &s->drop_permille, &s->seconds,
		      &s->step_ms, &s->seed) == 9 &&
	       s->rate_mhz && s->seconds <= 500;
}

static int run_all(struct sensor *sensors, u32 count)
{
	struct tsalign_stream desc = {
		.counter = TSALIGN_COUNT_EVENTS,
		.counter_bits = 32,
	};
	u32 there;
	int r = 0;

	for (there = 0; there < count; there++) {
		struct sensor *s = &sensors[there];

		s->made = &made[there];
		memcpy(desc.name, s->name, sizeof(desc.name));
		s->source = tsalign_register(&desc, NULL);
		if (IS_ERR(s->source)) {
			r = PTR_ERR(s->source);
			break;
		}
	}
	if (!r)
		simulate(sensors, count);
	while (there)
		tsalign_unregister(sensors[--there].source);
	return r;
}

static ssize_t run_write(struct file *file, const char __user *buf, size_t size,
			 loff_t *pos)
{
	static struct sensor sensors[SENSORS_MAX];
	char text[400];
	char *line = text;
	u32 count = 0;
	int r = -EINVAL;

	if (size >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, buf, size))
		return -EFAULT;
	text[size] = 0;
	mutex_lock(&lock);
	memset(sensors, 0, sizeof(sensors));
	while (line && *line && count < SENSORS_MAX) {
		char *this = strsep(&line, "\n");

		if (!read_sensor(this, &sensors[count]))
			goto out;
		count++;
	}
	if (count)
		r = run_all(sensors, count);
out:
	mutex_unlock(&lock);
	return r ?: size;
}

static ssize_t truth_read(struct file *file, char __user *buf, size_t size,
			  loff_t *pos)
{
	struct made *m = file->private_data;
	ssize_t r;

	mutex_lock(&lock);
	r = simple_read_from_buffer(buf, size, pos, m->points,
				    m->point_count * sizeof(*m->points));
	mutex_unlock(&lock);
	return r;
}

static ssize_t heard_read(struct file *file, char __user *buf, size_t size,
			  loff_t *pos)
{
	struct made *m = file->private_data;
	ssize_t r;

	mutex_lock(&lock);
	r = simple_read_from_buffer(buf, size, pos, m->heard,
				    m->heard_count * sizeof(*m->heard));
	mutex_unlock(&lock);
	return r;
}

static const struct file_operations run_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = run_write,
};

static const struct file_operations truth_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.read = truth_read,
	.llseek = default_llseek,
};

static const struct file_operations heard_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.read = heard_read,
	.llseek = default_llseek,
};

/* --- in real time --------------------------------------------------------------- */

static struct live {
	struct hrtimer timer;
	struct tsalign_source *source;
	u64 begin, period, k, end;
	u64 worst;
} live;

static enum hrtimer_restart live_fires(struct hrtimer *timer)
{
	u64 due = live.begin + live.k * live.period;
	u64 now = ktime_get_boottime_ns();

	live.worst = max(live.worst, now - due);
	tsalign_submit(live.source, live.k, now, 0);
	live.k++;
	hrtimer_set_expires(timer, ns_to_ktime(due + live.period));
	return live.k < live.end ? HRTIMER_RESTART : HRTIMER_NORESTART;
}

static ssize_t live_write(struct file *file, const char __user *buf,
			  size_t size, loff_t *pos)
{
	struct tsalign_stream desc = {
		.name = "live",
		.counter = TSALIGN_COUNT_EVENTS,
		.counter_bits = 32,
	};
	/* Nothing is known: no strobe either. */
	static const struct tsalign_rule none;
	u32 rate_mhz;
	u32 ms;
	char text[40];
	u64 k;

	if (size >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, buf, size))
		return -EFAULT;
	text[size] = 0;
	if (sscanf(text, "%u %u", &rate_mhz, &ms) != 2 || !rate_mhz ||
	    ms > 20000)
		return -EINVAL;
	mutex_lock(&lock);
	live.source = tsalign_register(&desc, &none);
	if (IS_ERR(live.source)) {
		mutex_unlock(&lock);
		return PTR_ERR(live.source);
	}
	live.period = div_u64(1000000000000ULL, rate_mhz);
	live.k = 0;
	live.end = div_u64((u64)rate_mhz * ms, 1000000);
	live.worst = 0;
	live.begin = ktime_get_boottime_ns() + live.period;
	hrtimer_init(&live.timer, CLOCK_BOOTTIME, HRTIMER_MODE_ABS_HARD);
	live.timer.function = live_fires;
	hrtimer_start(&live.timer, ns_to_ktime(live.begin), HRTIMER_MODE_ABS_HARD);
	msleep(ms + 100);
	hrtimer_cancel(&live.timer);
	made[0].point_count = 0;
	for (k = 0; k < live.k && made[0].point_count < POINTS_MAX; k++)
		made[0].points[made[0].point_count++] = (struct tsalign_pair){
			.counter = k, .host_ns = live.begin + k * live.period,
		};
	tsalign_unregister(live.source);
	mutex_unlock(&lock);
	return size;
}

static const struct file_operations live_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = live_write,
};

/* More edges than gpio-sim can make, which waits for a tick with each. */
static int storm_set(void *data, u64 irq)
{
	u32 i;

	for (i = 0; i < 1000; i++)
		if (generic_handle_irq_safe(irq))
			return -EINVAL;
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(storm_fops, NULL, storm_set, "%llu\n");

static u32 delays[5000];

/* As of a camera at 30 Hz. */
static int cost_get(void *data, u64 *ret)
{
	struct tsalign_stream desc = {
		.name = "cost",
		.counter = TSALIGN_COUNT_EVENTS,
		.counter_bits = 32,
	};
	struct tsalign_source *source;
	u64 begin = ktime_get_boottime_ns();
	u64 spent;
	u32 i;
	u32 k = 0;

	source = tsalign_register(&desc, NULL);
	if (IS_ERR(source))
		return PTR_ERR(source);
	state = 1;
	*ret = U64_MAX;
	for (i = 0; i < ARRAY_SIZE(delays); i++)
		delays[i] = exponential(500000);
	while (k < 100000) {
		spent = ktime_get_ns();
		for (i = 0; i < 5000; i++, k++)
			tsalign_submit(source, k, begin + k * 33333333ULL +
				       delays[i], 0);
		spent = ktime_get_ns() - spent;
		*ret = min(*ret, div_u64(spent, 5000));
		cond_resched();
	}
	tsalign_unregister(source);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(cost_fops, cost_get, NULL, "%llu\n");

/* --- a board ------------------------------------------------------------------------ */

static struct software_node chip = { .name = NULL };
static const struct software_node node = { .name = "tsalign" };

static struct property_entry strobe_props[8];
static struct property_entry pps_props[8];
static struct property_entry trigger_props[10];
static struct property_entry other_props[8];
static struct software_node_ref_args refs[4];
static const struct software_node strobe_node = {
	.name = "line-strobe", .parent = &node, .properties = strobe_props,
};
static const struct software_node pps_node = {
	.name = "line-pps", .parent = &node, .properties = pps_props,
};
static const struct software_node trigger_node = {
	.name = "line-trigger", .parent = &node, .properties = trigger_props,
};
static const struct software_node other_node = {
	.name = "line-trigger-other", .parent = &node, .properties = other_props,
};
static const struct software_node *const nodes[] = {
	&chip, &node, &strobe_node, &pps_node, &trigger_node,
	&other_node, NULL,
};
static struct platform_device *board;

static void board_properties(void)
{
	u32 s = 0;
	u32 p = 0;
	u32 t = 0;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(refs); i++)
		refs[i] = (struct software_node_ref_args)
			SOFTWARE_NODE_REFERENCE(&chip, i, GPIO_ACTIVE_HIGH);
	strobe_props[s++] = PROPERTY_ENTRY_STRING("kvsd,role", "strobe");
	if (bad != 1)
		strobe_props[s++] = board_reference("gpios", &refs[0]);
	strobe_props[s++] = PROPERTY_ENTRY_STRING("label", "strobe");
	if (bad == 2)
		strobe_props[s++] = PROPERTY_ENTRY_U32("kvsd,pulse-ns", 20000);
	if (bad == 3)
		strobe_props[s++] = PROPERTY_ENTRY_STRING("kvsd,point", "noon");
	pps_props[p++] = PROPERTY_ENTRY_STRING("kvsd,role",
					       bad == 4 ? "ppps" : "pps");
	pps_props[p++] = board_reference("gpios", &refs[1]);
	pps_props[p++] = PROPERTY_ENTRY_STRING("label",
					       bad == 5 ? "strobe" :
					       bad == 10 ? "v4l2-0" : "pps");
	if (bad == 6)
		pps_props[p++] = PROPERTY_ENTRY_U32("kvsd,period-ns", 2000000000);
	trigger_props[t++] = PROPERTY_ENTRY_STRING("kvsd,role", "trigger");
	trigger_props[t++] = board_reference("gpios", &refs[2]);
	trigger_props[t++] = PROPERTY_ENTRY_STRING("label", "trigger");
	if (bad != 7)
		trigger_props[t++] = PROPERTY_ENTRY_U32("kvsd,period-ns", 50000000);
	trigger_props[t++] = PROPERTY_ENTRY_U32("kvsd,pulse-ns",
						bad == 8 ? 60000000 : 5000000);
	if (bad == 9)
		trigger_props[t++] = PROPERTY_ENTRY_BOOL("kvsd,centred");
	other_props[0] = PROPERTY_ENTRY_STRING("kvsd,role", "trigger");
	other_props[1] = board_reference("gpios", &refs[3]);
	other_props[2] = PROPERTY_ENTRY_U32("kvsd,period-ns", 50000000);
	other_props[3] = PROPERTY_ENTRY_U32("kvsd,pulse-ns", 5000000);
}

static int board_make(void)
{
	chip.name = gpio;
	board_properties();
	return board_register(nodes, &board);
}

static void made_free(void)
{
	u32 i;

	for (i = 0; i < SENSORS_MAX; i++) {
		vfree(made[i].points);
		vfree(made[i].heard);
	}
}

static int made_alloc(void)
{
	u32 i;

	for (i = 0; i < SENSORS_MAX; i++) {
		made[i].points = vmalloc(array_size(POINTS_MAX,
						    sizeof(*made[i].points)));
		made[i].heard = vmalloc(array_size(POINTS_MAX,
						   sizeof(*made[i].heard)));
		if (!made[i].points || !made[i].heard)
			return -ENOMEM;
	}
	return 0;
}

static int __init truth_init(void)
{
	static const char *const truth_names[] = { "truth", "truth1", "truth2" };
	static const char *const heard_names[] = { "heard", "heard1", "heard2" };
	u32 i;
	int r;

	r = made_alloc();
	if (!r && gpio)
		r = board_make();
	if (r) {
		made_free();
		return r;
	}
	root = debugfs_create_dir("tsalign_truth", NULL);
	debugfs_create_file("run", 0200, root, NULL, &run_fops);
	for (i = 0; i < SENSORS_MAX; i++) {
		debugfs_create_file(truth_names[i], 0400, root, &made[i],
				    &truth_fops);
		debugfs_create_file(heard_names[i], 0400, root, &made[i],
				    &heard_fops);
	}
	debugfs_create_file("live", 0200, root, NULL, &live_fops);
	debugfs_create_u64("lateness", 0400, root, &live.worst);
	debugfs_create_file("storm", 0200, root, NULL, &storm_fops);
	debugfs_create_file("cost", 0400, root, NULL, &cost_fops);
	return 0;
}

static void __exit truth_exit(void)
{
	debugfs_remove_recursive(root);
	board_unregister(nodes, board);
	made_free();
}

module_init(truth_init);
module_exit(truth_exit);
MODULE_DESCRIPTION("Sensors whose true times are known");
MODULE_LICENSE("GPL");
