// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device tree node: lines whose edges are stamped in the hard interrupt,
 * outputs, and what is known of sensors. DESIGN.md lists the properties.
 */
#include <linux/device.h>
#include <linux/gpio/consumer.h>
#include <linux/interrupt.h>
#include <linux/mod_devicetable.h>
#include <linux/module.h>
#include <linux/property.h>
#include <linux/workqueue.h>

#include "tsalign_int.h"

#define FLOOD_WINDOW_NS		(10 * NSEC_PER_MSEC)
#define FLOOD_EDGES		64	/* in that, when no period is told */
#define FLOOD_REST_MS		100
#define PERIOD_MIN_NS		1000000u
#define PULSE_MIN_NS		10000u

enum tsa_role { ROLE_STROBE, ROLE_VSYNC, ROLE_PPS, ROLE_TRIGGER };

static const char *const role_names[] = {
	[ROLE_STROBE] = "strobe",
	[ROLE_VSYNC] = "vsync",
	[ROLE_PPS] = "pps",
	[ROLE_TRIGGER] = "trigger",
};

static const char *const point_names[] = {
	[TSALIGN_POINT_ARRIVAL] = "arrival",
	[TSALIGN_POINT_SOF] = "start-of-frame",
	[TSALIGN_POINT_EOF] = "end-of-frame",
	[TSALIGN_POINT_SOE] = "start-of-exposure",
	[TSALIGN_POINT_MID] = "mid-exposure",
};

struct tsa_line {
	struct device *dev;
	struct fwnode_handle *fwnode;
	char name[TSALIGN_NAME_BYTES];
	struct gpio_desc *gpiod;
	struct tsa_stream *stream;
	int irq;
	u32 flood_edges;
	u64 edges;
	u64 window_ns;		/* when it began */
	u32 window_edges;
	struct delayed_work rest;
	bool resting;
};

struct tsa_sensor {
	const struct fwnode_handle *capture;
	struct tsalign_rule rule;
};

struct tsa_board {
	struct device *dev;
	struct tsa_line lines[TSA_LINES_MAX];
	u32 line_count;
	struct tsa_sensor sensors[TSA_SENSORS_MAX];
	u32 sensor_count;
};

/* Boards whose sensor rules count; probes of V4L2 look them up. */
static DEFINE_RAW_SPINLOCK(boards_lock);
static struct tsa_board *boards[4];
static DEFINE_MUTEX(show_lock);

/* --- properties ------------------------------------------------------------------ */

static int fails(struct device *dev, const struct fwnode_handle *node, int r,
		 const char *property, const char *why)
{
	return dev_err_probe(dev, r, "%pfwP: %s: %s\n", node, property, why);
}

static int bad(struct device *dev, const struct fwnode_handle *node,
	       const char *property, const char *why)
{
	return fails(dev, node, -EINVAL, property, why);
}

/* @present: may be NULL: then it is required. */
static int read_u32(struct device *dev, struct fwnode_handle *node,
		    const char *property, u32 min, u32 max, u32 *value,
		    bool *present)
{
	int r;

	if (!fwnode_property_present(node, property)) {
		if (!present)
			return bad(dev, node, property, "missing");
		*present = false;
		return 0;
	}
	r = fwnode_property_read_u32(node, property, value);
	if (r)
		return bad(dev, node, property, "not one cell");
	if (*value < min || *value > max)
		return bad(dev, node, property, "out of range");
	if (present)
		*present = true;
	return 0;
}

static int read_word(struct device *dev, struct fwnode_handle *node,
		     const char *property, const char *const *words,
		     size_t count, int def)
{
	const char *text;
	size_t i;

	if (!fwnode_property_present(node, property))
		return def >= 0 ? def : bad(dev, node, property, "missing");
	if (fwnode_property_read_string(node, property, &text))
		return bad(dev, node, property, "not a string");
	for (i = 0; i < count; i++)
		if (words[i] && !strcmp(words[i], text))
			return i;
	return bad(dev, node, property, "no such value");
}

static int refuse(struct device *dev, struct fwnode_handle *node,
		  const char *const *properties)
{
	for (; *properties; properties++)
		if (fwnode_property_present(node, *properties))
			return bad(dev, node, *properties, "not for this role");
	return 0;
}

static int read_name(struct device *dev, struct fwnode_handle *node, char *name)
{
	struct tsalign_stream info = {
		.counter_bits = 1,
	};
	const char *label = fwnode_get_name(node);

	if (fwnode_property_present(node, "label") &&
	    fwnode_property_read_string(node, "label", &label))
		return bad(dev, node, "label", "not a string");
	if (!label || strscpy(info.name, label, sizeof(info.name)) < 0 ||
	    tsa_name_check(&info))
		return bad(dev, node, "label", "1 to 31 of A-Z a-z 0-9 . _ -, not v4l2-");
	memcpy(name, info.name, TSALIGN_NAME_BYTES);
	return 0;
}

/* --- inputs ------------------------------------------------------------------------ */

/* Too many edges: the line rests a while, so that the host does not drown. */
static bool flooded(struct tsa_line *l, u64 now)
{
	if (now - l->window_ns > FLOOD_WINDOW_NS) {
		l->window_ns = now;
		l->window_edges = 0;
	}
	if (++l->window_edges <= l->flood_edges)
		return false;
	l->stream->floods++;
	if (!l->resting) {
		WRITE_ONCE(l->resting, true);
		disable_irq_nosync(l->irq);
		queue_delayed_work(system_power_efficient_wq, &l->rest,
				   msecs_to_jiffies(FLOOD_REST_MS));
	}
	return true;
}

static void rested(struct work_struct *work)
{
	struct tsa_line *l = container_of(work, struct tsa_line, rest.work);

	l->window_edges = 0;
	WRITE_ONCE(l->resting, false);
	enable_irq(l->irq);
}

static irqreturn_t line_edge(int irq, void *data)
{
	u64 now = ktime_get_boottime_ns();
	struct tsa_line *l = data;
	struct tsa_sample sample = {
		.host_ns = now,
		.cpu = raw_smp_processor_id(),
		.unwrapped = true,
	};

	if (flooded(l, now))
		return IRQ_HANDLED;
	sample.counter = l->edges++;
	tsa_stream_sample(l->stream, &sample);
	tsa_streams_edge(l->stream->info.id, now);
	return IRQ_HANDLED;
}

static void line_leave(void *data)
{
	struct tsa_line *l = data;

	tsa_stream_leave(l->stream);
	tsa_stream_put(l->stream);
	l->stream = NULL;
}

static void line_rest_end(void *data)
{
	struct tsa_line *l = data;

	/* It is freed after this: until then no edge may start the rest anew. */
	disable_irq(l->irq);
	cancel_delayed_work_sync(&l->rest);
}

static int line_irq(struct tsa_line *l)
{
	unsigned long flags = IRQF_NO_THREAD;
	int r;

	l->irq = gpiod_to_irq(l->gpiod);
	if (l->irq < 0)
		return fails(l->dev, l->fwnode, l->irq, "gpios", "no interrupt");
	flags |= gpiod_is_active_low(l->gpiod) ? IRQF_TRIGGER_FALLING :
						 IRQF_TRIGGER_RISING;
	INIT_DELAYED_WORK(&l->rest, rested);
	r = devm_request_irq(l->dev, l->irq, line_edge, flags, l->name, l);
	if (r)
		return fails(l->dev, l->fwnode, r, "gpios",
			     "no hard interrupt of its own");
	return devm_add_action_or_reset(l->dev, line_rest_end, l);
}

static int input_probe(struct tsa_line *l, enum tsa_role role)
{
	static const char *const not_ours[] = {
		"kvsd,phase-ns", "kvsd,pulse-ns", "kvsd,exposure-ns",
		"kvsd,centred", "kvsd,always-on", NULL,
	};
	static const char *const not_pps[] = {
		"kvsd,period-ns", "kvsd,point", NULL,
	};
	struct tsalign_stream info = {
		.kind = role == ROLE_PPS ? TSALIGN_PPS : TSALIGN_GPIO,
		.minor = -1,
		.counter = TSALIGN_COUNT_EVENTS,
		.counter_bits = 64,
	};
	struct tsalign_rule rule = { .strobe = TSA_NO_ID };
	u32 period = NSEC_PER_SEC;
	u32 delay = 0;
	bool periodic;
	bool present;
	int point;
	int r;

	r = refuse(l->dev, l->fwnode, not_ours);
	if (!r && role == ROLE_PPS)
		r = refuse(l->dev, l->fwnode, not_pps);
	if (r)
		return r;
	r = read_u32(l->dev, l->fwnode, "kvsd,period-ns", PERIOD_MIN_NS,
		     U32_MAX, &period, &periodic);
	if (r)
		return r;
	r = read_u32(l->dev, l->fwnode, "kvsd,delay-ns", 0, U32_MAX, &delay,
		     &present);
	if (r)
		return r;
	point = read_word(l->dev, l->fwnode, "kvsd,point", point_names,
			  ARRAY_SIZE(point_names),
			  role == ROLE_VSYNC ? TSALIGN_POINT_SOF :
					       TSALIGN_POINT_SOE);
	if (point < 0)
		return point;
	if (point == TSALIGN_POINT_ARRIVAL)
		return bad(l->dev, l->fwnode, "kvsd,point", "no such value");
	if (periodic || role == ROLE_PPS)
		info.nominal_mhz = div64_u64(1000 * (u64)NSEC_PER_SEC +
					     period / 2, period);
	l->flood_edges = FLOOD_EDGES;
	if (info.nominal_mhz)
		l->flood_edges = 4 + 4 * div64_u64(FLOOD_WINDOW_NS, period);
	rule.stamped = point;
	rule.point = point;
	rule.delay_ns = delay;
	memcpy(info.name, l->name, sizeof(info.name));
	l->stream = tsa_stream_add(&info, &rule, NULL);
	if (IS_ERR(l->stream))
		return fails(l->dev, l->fwnode, PTR_ERR(l->stream), "label",
			     l->name);
	r = devm_add_action_or_reset(l->dev, line_leave, l);
	return r ?: line_irq(l);
}

/* --- outputs -------------------------------------------------------------------------- */

static int output_probe(struct tsa_line *l)
{
	static const char *const not_ours[] = {
		"kvsd,point", "kvsd,delay-ns", NULL,
	};
	struct tsalign_trigger set = {
		.enable = fwnode_property_read_bool(l->fwnode, "kvsd,always-on"),
		.centred = fwnode_property_read_bool(l->fwnode, "kvsd,centred"),
	};
	u32 period;
	u32 pulse;
	u32 phase = 0;
	u32 exposure = 0;
	const char *why;
	bool present;
	int r;

	r = refuse(l->dev, l->fwnode, not_ours);
	if (r)
		return r;
	r = read_u32(l->dev, l->fwnode, "kvsd,period-ns", PERIOD_MIN_NS,
		     U32_MAX, &period, NULL);
	if (r)
		return r;
	r = read_u32(l->dev, l->fwnode, "kvsd,pulse-ns", PULSE_MIN_NS,
		     period - 1, &pulse, NULL);
	if (r)
		return r;
	r = read_u32(l->dev, l->fwnode, "kvsd,phase-ns", 0, period - 1, &phase,
		     &present);
	if (r)
		return r;
	r = read_u32(l->dev, l->fwnode, "kvsd,exposure-ns", 1, period - 1,
		     &exposure, &present);
	if (r)
		return r;
	if (set.centred && !present)
		return bad(l->dev, l->fwnode, "kvsd,exposure-ns",
			   "missing, and kvsd,centred needs it");
	if (present && !set.centred)
		return bad(l->dev, l->fwnode, "kvsd,exposure-ns",
			   "means nothing without kvsd,centred");
	set.rate_mhz = div64_u64(1000 * (u64)NSEC_PER_SEC + period / 2, period);
	set.phase_ns = phase;
	set.pulse_ns = pulse;
	set.exposure_ns = exposure;
	if (tsa_trigger_check(&set, &why))
		return bad(l->dev, l->fwnode, why, "contradicts");
	r = tsa_trigger_add(l->dev, l->name, l->gpiod, &set);
	return r ? fails(l->dev, l->fwnode, r, "output", l->name) : 0;
}

static int line_probe(struct tsa_board *b, struct fwnode_handle *node)
{
	struct tsa_line *l;
	int role;
	int r;

	if (b->line_count >= TSA_LINES_MAX)
		return bad(b->dev, node, "line", "too many");
	l = &b->lines[b->line_count++];
	l->dev = b->dev;
	l->fwnode = node;
	r = read_name(l->dev, node, l->name);
	if (r)
		return r;
	role = read_word(l->dev, node, "kvsd,role", role_names,
			 ARRAY_SIZE(role_names), -1);
	if (role < 0)
		return role;
	l->gpiod = devm_fwnode_gpiod_get(l->dev, node, NULL,
					 role == ROLE_TRIGGER ? GPIOD_OUT_LOW :
								GPIOD_IN,
					 l->name);
	if (IS_ERR(l->gpiod))
		return fails(l->dev, node, PTR_ERR(l->gpiod), "gpios",
			     PTR_ERR(l->gpiod) == -ENOENT ? "missing" :
							    "cannot be had");
	return role == ROLE_TRIGGER ? output_probe(l) : input_probe(l, role);
}

/* --- sensors -------------------------------------------------------------------------- */

static int sensor_strobe(struct tsa_board *b, struct fwnode_handle *node,
			 struct tsalign_rule *rule)
{
	struct fwnode_handle *strobe;
	u32 i;

	rule->strobe = TSA_NO_ID;
	if (!fwnode_property_present(node, "kvsd,strobe"))
		return 0;
	strobe = fwnode_find_reference(node, "kvsd,strobe", 0);
	if (IS_ERR(strobe))
		return bad(b->dev, node, "kvsd,strobe", "not a phandle");
	for (i = 0; i < b->line_count; i++)
		if (b->lines[i].fwnode == strobe && b->lines[i].stream &&
		    b->lines[i].stream->info.kind == TSALIGN_GPIO)
			rule->strobe = b->lines[i].stream->info.id;
	fwnode_handle_put(strobe);
	if (rule->strobe == TSA_NO_ID)
		return bad(b->dev, node, "kvsd,strobe",
			   "no line of this node with role strobe or vsync");
	return 0;
}

static void put_fwnode(void *data)
{
	fwnode_handle_put(data);
}

static int sensor_times(struct tsa_board *b, struct fwnode_handle *node,
			struct tsalign_rule *rule)
{
	u32 delay = 0;
	u32 readout = 0;
	u32 exposure = 0;
	bool present;
	int r;

	r = read_u32(b->dev, node, "kvsd,delay-ns", 0, U32_MAX, &delay, &present);
	if (!r)
		r = read_u32(b->dev, node, "kvsd,readout-ns", 1, U32_MAX,
			     &readout, &present);
	if (!r)
		r = read_u32(b->dev, node, "kvsd,exposure-ns", 1, U32_MAX,
			     &exposure, &present);
	rule->delay_ns = delay;
	rule->readout_ns = readout;
	rule->exposure_ns = exposure;
	rule->flags = TSALIGN_RULE_BOARD |
		      (exposure ? TSALIGN_RULE_EXPOSURE : 0) |
		      (readout ? TSALIGN_RULE_READOUT : 0);
	return r;
}

static int sensor_probe(struct tsa_board *b, struct fwnode_handle *node)
{
	struct fwnode_handle *capture;
	struct tsalign_rule check;
	struct tsa_sensor *s;
	const char *why;
	s64 offset;
	int word;
	int r;

	if (b->sensor_count >= TSA_SENSORS_MAX)
		return bad(b->dev, node, "sensor", "too many");
	s = &b->sensors[b->sensor_count];
	if (!fwnode_property_present(node, "kvsd,capture"))
		return bad(b->dev, node, "kvsd,capture", "missing");
	capture = fwnode_find_reference(node, "kvsd,capture", 0);
	if (IS_ERR(capture))
		return bad(b->dev, node, "kvsd,capture", "not a phandle");
	r = devm_add_action_or_reset(b->dev, put_fwnode, capture);
	if (r)
		return r;
	s->capture = capture;
	r = sensor_strobe(b, node, &s->rule);
	if (r)
		return r;
	word = read_word(b->dev, node, "kvsd,stamped", point_names,
			 TSALIGN_POINT_EOF + 1, TSALIGN_POINT_UNKNOWN);
	if (word < 0)
		return word;
	s->rule.stamped = word;
	word = read_word(b->dev, node, "kvsd,point", point_names,
			 ARRAY_SIZE(point_names), -1);
	if (word < 0)
		return word;
	if (word == TSALIGN_POINT_ARRIVAL)
		return bad(b->dev, node, "kvsd,point", "no such value");
	s->rule.point = word;
	r = sensor_times(b, node, &s->rule);
	if (r)
		return r;
	/* Most that leave this to the driver are told the end of the frame. */
	check = s->rule;
	if (check.stamped == TSALIGN_POINT_UNKNOWN)
		check.stamped = TSALIGN_POINT_EOF;
	if (check.strobe == TSA_NO_ID && tsa_rule_offset(&check, &offset, &why))
		return bad(b->dev, node,
			   "kvsd,point: cannot be had from what is stamped",
			   why);
	b->sensor_count++;
	return 0;
}

bool tsa_sensor_rule(struct device *dev, struct tsalign_rule *ret)
{
	const struct fwnode_handle *node = dev ? dev_fwnode(dev) : NULL;
	unsigned long flags;
	bool found = false;
	size_t i;
	u32 k;

	if (!node)
		return false;
	raw_spin_lock_irqsave(&boards_lock, flags);
	for (i = 0; i < ARRAY_SIZE(boards) && !found; i++) {
		if (!boards[i])
			continue;
		for (k = 0; k < boards[i]->sensor_count && !found; k++) {
			if (boards[i]->sensors[k].capture != node)
				continue;
			*ret = boards[i]->sensors[k].rule;
			found = true;
		}
	}
	raw_spin_unlock_irqrestore(&boards_lock, flags);
	return found;
}

/* --- the node ---------------------------------------------------------------------------- */

static void board_remove(void *data)
{
	unsigned long flags;
	size_t i;

	mutex_lock(&show_lock);
	raw_spin_lock_irqsave(&boards_lock, flags);
	for (i = 0; i < ARRAY_SIZE(boards); i++)
		if (boards[i] == data)
			boards[i] = NULL;
	raw_spin_unlock_irqrestore(&boards_lock, flags);
	mutex_unlock(&show_lock);
}

static int board_add(struct tsa_board *b)
{
	unsigned long flags;
	int r = -ENOSPC;
	size_t i;

	raw_spin_lock_irqsave(&boards_lock, flags);
	for (i = 0; r && i < ARRAY_SIZE(boards); i++) {
		if (!boards[i]) {
			boards[i] = b;
			r = 0;
		}
	}
	raw_spin_unlock_irqrestore(&boards_lock, flags);
	return r ?: devm_add_action_or_reset(b->dev, board_remove, b);
}

static int children_probe(struct tsa_board *b, bool sensors)
{
	const char *prefix = sensors ? "sensor" : "line";
	struct fwnode_handle *child;
	int r;

	device_for_each_child_node(b->dev, child) {
		const char *name = fwnode_get_name(child);

		if (!name || strncmp(name, prefix, sensors ? 6 : 4))
			continue;
		/* Kept by the device's own node as long as it is bound. */
		r = sensors ? sensor_probe(b, child) : line_probe(b, child);
		if (r) {
			fwnode_handle_put(child);
			return r;
		}
	}
	return 0;
}

static int board_reference(struct tsa_board *b)
{
	static const char *const names[] = {
		[TSALIGN_REF_BOOTTIME] = "boottime",
		[TSALIGN_REF_TAI] = "tai",
	};
	struct fwnode_handle *node = dev_fwnode(b->dev);
	int r;

	if (!node || !fwnode_property_present(node, "kvsd,reference"))
		return 0;
	r = read_word(b->dev, node, "kvsd,reference", names, ARRAY_SIZE(names),
		      TSALIGN_REF_BOOTTIME);
	return r < 0 ? r : tsa_reference_set(r, NULL);
}

static int tsalign_probe(struct platform_device *pdev)
{
	struct tsa_board *b;
	int r;

	b = devm_kzalloc(&pdev->dev, sizeof(*b), GFP_KERNEL);
	if (!b)
		return -ENOMEM;
	b->dev = &pdev->dev;
	r = board_reference(b);
	if (!r)
		r = children_probe(b, false);
	if (!r)
		r = children_probe(b, true);
	if (!r)
		r = board_add(b);
	return r;
}

static const struct of_device_id tsalign_of_match[] = {
	{ .compatible = "kvsd,tsalign" },
	{ }
};
MODULE_DEVICE_TABLE(of, tsalign_of_match);

static const struct platform_device_id tsalign_ids[] = {
	{ .name = "tsalign" },
	{ }
};
MODULE_DEVICE_TABLE(platform, tsalign_ids);

struct platform_driver tsa_platform_driver = {
	.probe = tsalign_probe,
	.id_table = tsalign_ids,
	.driver = {
		.name = "tsalign",
		.of_match_table = tsalign_of_match,
	},
};

void tsa_lines_show(struct seq_file *m)
{
	size_t i;
	u32 k;

	mutex_lock(&show_lock);
	for (i = 0; i < ARRAY_SIZE(boards); i++) {
		for (k = 0; boards[i] && k < boards[i]->line_count; k++) {
			struct tsa_line *l = &boards[i]->lines[k];

			if (!l->stream)
				continue;
			seq_printf(m, "line %s stream %u edges %llu floods %llu%s\n",
				   l->name, l->stream->info.id, l->edges,
				   READ_ONCE(l->stream->floods),
				   READ_ONCE(l->resting) ? " resting" : "");
		}
	}
	mutex_unlock(&show_lock);
}
