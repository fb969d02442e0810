/* SPDX-License-Identifier: Apache-2.0 */
#include "src/align_rule.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include <linux/media.h>
#include <linux/v4l2-controls.h>
#include <linux/v4l2-subdev.h>

#include "base/log.h"
#include "src/align.h"
#include "src/align_page.h"
#include "src/controls.h"
#include "src/limits.h"
#include "src/media.h"
#include "tsalign_core.h"

#define NS_PER_S UINT64_C(1000000000)
#define ABSOLUTE_NS 100000u
#define V4L2_MAJOR 81
#define NO_STREAM UINT32_MAX

void align_rule_init(struct align_rule *r, const struct sys_ops *sys)
{
	*r = (struct align_rule){
		.sys = sys,
		.node = -EBADF,
		.subdev = -EBADF,
		.module = -EBADF,
	};
}

void align_rule_fini(struct align_rule *r)
{
	align_rule_leave(r);
	sys_close(r->sys, &r->subdev);
	r->node = -EBADF;
}

const char *align_setting_check(const struct capture_align_setting *setting)
{
	if ((unsigned int)setting->point > CAPTURE_ALIGN_MID_EXPOSURE ||
	    setting->point == CAPTURE_ALIGN_ARRIVAL)
		return "point";
	if ((unsigned int)setting->stamped > CAPTURE_ALIGN_MID_EXPOSURE)
		return "stamped";
	if (setting->delay_ns > CAPTURE_ALIGN_DELAY_NS_MAX ||
	    setting->delay_ns < -CAPTURE_ALIGN_DELAY_NS_MAX)
		return "delay";
	return NULL;
}

/* --- the sensor ----------------------------------------------------------- */

static bool has_control(const struct sys_ops *sys, int fd, uint32_t id)
{
	const struct capture_control_setting setting = {.id = id};
	struct v4l2_query_ext_ctrl query;

	return control_find(sys, fd, &setting, &query) == 0;
}

static bool has_exposure(const struct sys_ops *sys, int fd)
{
	return has_control(sys, fd, V4L2_CID_EXPOSURE_ABSOLUTE) ||
	       has_control(sys, fd, V4L2_CID_EXPOSURE);
}

/* Against the direction of the enabled links: one more of those that are. */
static bool climb(const struct capture_media_graph *g, bool *above)
{
	bool grown = false;
	size_t i;

	for (i = 0; i < g->link_count; i++) {
		const struct capture_media_link *l = &g->links[i];
		size_t from = g->pads[l->source].entity;

		if (!(l->flags & CAPTURE_LINK_ENABLED) || above[from] ||
		    !above[g->pads[l->sink].entity])
			continue;
		above[from] = true;
		grown = true;
	}
	return grown;
}

/* The entity of the sensor above @path: its node, and which pad gives. */
static const struct capture_media_entity *
find_sensor(const struct capture_media_graph *g, const char *path,
	    const char *kernel_path)
{
	const struct capture_media_entity *sensor = NULL;
	bool *above = calloc(g->entity_count + 1, sizeof(*above));
	bool any = false;
	size_t i;

	if (!above)
		return NULL;
	for (i = 0; i < g->entity_count; i++) {
		const char *own = g->entities[i].path;

		above[i] = own[0] && media_is_video_node(&g->entities[i]) &&
			   (!strcmp(own, path) || !strcmp(own, kernel_path));
		any |= above[i];
	}
	/* Each round but the last marks one more: bounded by the entities. */
	while (any && climb(g, above))
		;
	for (i = 0; any && i < g->entity_count && !sensor; i++) {
		if (above[i] && g->entities[i].path[0] &&
		    g->entities[i].function == MEDIA_ENT_F_CAM_SENSOR)
			sensor = &g->entities[i];
	}
	free(above);
	return sensor;
}

/* The pixels that it reads out, from its first pad. */
static void read_size(struct align_rule *r, int fd)
{
	struct v4l2_subdev_format f = {
		.which = V4L2_SUBDEV_FORMAT_ACTIVE,
	};

	if (r->sys->ioctl(fd, VIDIOC_SUBDEV_G_FMT, &f) < 0)
		return;
	r->width = f.format.width;
	r->rows = f.format.height;
}

static void open_sensor(struct align_rule *r, const char *path, int32_t minor)
{
	AUTO(capture_media_list_free) struct capture_media_list *list = NULL;
	const struct capture_media_entity *e = NULL;
	char own[CAPTURE_PATH_BYTES] = "";
	size_t i;

	if (minor >= 0 &&
	    media_device_path(r->sys, V4L2_MAJOR, (uint32_t)minor, own) < 0)
		own[0] = '\0';
	if (capture_media_list_new(r->sys, &list) < 0)
		return;
	for (i = 0; i < list->count && !e; i++)
		e = find_sensor(list->graphs[i], path, own);
	if (!e)
		return;
	/* To read controls it is enough. */
	r->subdev = r->sys->openat(AT_FDCWD, e->path,
				   O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
	if (r->subdev < 0)
		return;
	if (!has_exposure(r->sys, r->subdev)) {
		sys_close(r->sys, &r->subdev);
		return;
	}
	r->node = r->subdev;
	read_size(r, r->subdev);
}

void align_rule_attach(struct align_rule *r,
		       const struct capture_align_setting *setting, int node,
		       const char *path, int32_t minor,
		       const struct capture_format *format)
{
	r->setting = *setting;
	r->wanted = setting->point || setting->stamped || setting->delay_ns;
	r->width = format->width;
	r->rows = format->height;
	if (!r->wanted || !setting->point || node < 0)
		return;
	if (has_exposure(r->sys, node))
		r->node = node;
	else
		open_sensor(r, path ? path : "", minor);
}

/* --- its times ------------------------------------------------------------ */

static int read_value(const struct align_rule *r,
		      const struct v4l2_query_ext_ctrl *query, int64_t *ret)
{
	int64_t value = 0;
	int e = control_get(r->sys, r->node, query, &value);

	if (e < 0)
		return e;
	if (value < query->minimum || value > query->maximum)
		return -ERANGE;
	*ret = value;
	return 0;
}

/* Return: 0, -ENXIO (it has none), -ERANGE (not in its own range), errno. */
static int read_control(const struct align_rule *r, uint32_t id, int64_t *ret)
{
	const struct capture_control_setting setting = {.id = id};
	struct v4l2_query_ext_ctrl query;
	int e;

	e = control_find(r->sys, r->node, &setting, &query);
	return e < 0 ? e : read_value(r, &query, ret);
}

/* Return: 0, or what read_control() says, or -ERANGE; @r->wrong: of what. */
static int read_row(struct align_rule *r, struct align_row *ret)
{
	int64_t blank = 0;
	int64_t rate = 0;
	int e;

	e = read_control(r, V4L2_CID_PIXEL_RATE, &rate);
	if (e == 0 && (rate <= 0 || rate > CAPTURE_ALIGN_PIXEL_RATE_MAX))
		e = -ERANGE;
	if (e < 0) {
		r->wrong = e == -ENXIO ? r->wrong : "pixel rate";
		return e;
	}
	e = read_control(r, V4L2_CID_HBLANK, &blank);
	if (e == 0 && (blank < 0 || blank > CAPTURE_ALIGN_ROW_CLOCKS_MAX ||
		       r->width > CAPTURE_SIDE_MAX))
		e = -ERANGE;
	if (e < 0) {
		r->wrong = e == -ENXIO ? r->wrong : "horizontal blanking";
		return e;
	}
	ret->clocks = (uint64_t)blank + r->width;
	ret->rate = (uint64_t)rate;
	return 0;
}

/* @count rows: no more than 2^24 of 2^25 clocks. Return: false: too long. */
static bool rows_ns(const struct align_row *row, uint64_t count,
		    uint64_t max_ns, uint64_t *ret)
{
	uint64_t clocks = row->clocks * count;
	uint64_t s = clocks / row->rate;
	uint64_t ns;

	if (s > max_ns / NS_PER_S)
		return false;
	ns = s * NS_PER_S + clocks % row->rate * NS_PER_S / row->rate;
	if (!ns || ns > max_ns)
		return false;
	*ret = ns;
	return true;
}

/* A control's value in ns. Return: false: it cannot be. */
static bool exposure_of(const struct align_rule *r, int64_t value,
			uint64_t *ret_ns)
{
	uint64_t n = (uint64_t)value;

	if (value <= 0)
		return false;
	if (r->exposure.id == V4L2_CID_EXPOSURE)
		return n <= CAPTURE_ALIGN_ROW_CLOCKS_MAX && r->row.rate &&
		       rows_ns(&r->row, n, CAPTURE_ALIGN_EXPOSURE_NS_MAX,
			       ret_ns);
	if (n > CAPTURE_ALIGN_EXPOSURE_NS_MAX / ABSOLUTE_NS)
		return false;
	*ret_ns = n * ABSOLUTE_NS;
	return true;
}

/* What the control can be set to, as far as it can be. */
static void read_range(struct align_rule *r)
{
	r->exposure_min_ns = r->exposure_ns;
	r->exposure_max_ns = r->exposure_ns;
	(void)exposure_of(r, MAX(r->exposure.minimum, 1), &r->exposure_min_ns);
	if (!exposure_of(r, r->exposure.maximum, &r->exposure_max_ns))
		r->exposure_max_ns = CAPTURE_ALIGN_EXPOSURE_NS_MAX;
}

/*
 * By the control that read_exposure() found: one ioctl. Return: it was read;
 * else the last good one is left.
 */
static bool reread_exposure(struct align_rule *r)
{
	int64_t value = 0;

	if (!r->exposure.id)
		return false;
	if (read_value(r, &r->exposure, &value) == 0 &&
	    exposure_of(r, value, &r->exposure_ns))
		return true;
	if (!r->wrong)
		r->wrong = "exposure";
	return false;
}

static void read_exposure(struct align_rule *r)
{
	struct capture_control_setting setting = {
		.id = V4L2_CID_EXPOSURE_ABSOLUTE,
	};
	uint64_t begin_ns;
	uint64_t cost_ns;
	int e;

	e = control_find(r->sys, r->node, &setting, &r->exposure);
	if (e == -ENXIO && r->row.rate) {
		setting.id = V4L2_CID_EXPOSURE;
		e = control_find(r->sys, r->node, &setting, &r->exposure);
	}
	if (e < 0) {
		r->exposure.id = 0;
		r->wrong = r->wrong ? r->wrong : "exposure";
		return;
	}
	begin_ns = sys_now_ns(r->sys, CLOCK_MONOTONIC);
	if (reread_exposure(r)) {
		cost_ns = sys_now_ns(r->sys, CLOCK_MONOTONIC) - begin_ns;
		/* The least: what others take of the processor is not its price. */
		if (!r->cost_known || cost_ns < r->cost_ns)
			r->cost_ns = cost_ns;
		r->cost_known = true;
	}
	read_range(r);
}

/* What is wrong leaves the last good time. */
static void read_times(struct align_rule *r)
{
	struct align_row row = {0};

	r->wrong = NULL;
	if (r->node < 0)
		return;
	if (r->node == r->subdev)
		read_size(r, r->subdev);
	if (read_row(r, &row) == 0) {
		if (r->rows > CAPTURE_SIDE_MAX ||
		    !rows_ns(&row, r->rows, CAPTURE_ALIGN_READOUT_NS_MAX,
			     &r->readout_ns))
			r->wrong = "rows";
	} else {
		row = (struct align_row){0};
	}
	r->row = row;
	read_exposure(r);
}

/* It may be read with each frame. */
static bool is_live(const struct align_rule *r)
{
	return r->exposure.id && r->cost_known &&
	       r->cost_ns <= CAPTURE_ALIGN_READ_NS_MAX;
}

/* --- the offset ----------------------------------------------------------- */

static const char *why_text(const char *field)
{
	if (!strcmp(field, "exposure_ns"))
		return "exposure";
	return !strcmp(field, "readout_ns") ? "readout" : field;
}

/* What cannot be had is as stamped, less the delay. Return: it can be had. */
static bool offset_of(struct align_rule *r, const struct tsalign_rule *rule,
		      int64_t *ret_ns)
{
	const char *why;

	if (tsa_rule_offset(rule, ret_ns, &why) == 0)
		return true;
	if (!r->wrong)
		r->wrong = why_text(why);
	*ret_ns = -rule->delay_ns;
	return false;
}

static struct tsalign_rule rule_of(const struct align_rule *r, uint32_t stamped)
{
	return (struct tsalign_rule){
		.stamped = stamped,
		.point = r->setting.point ? (uint32_t)r->setting.point
					  : stamped,
		.delay_ns = r->setting.delay_ns,
		.exposure_ns = r->exposure_ns,
		.readout_ns = r->readout_ns,
		.strobe = NO_STREAM,
	};
}

/* Return: whether it is another meaning than that of the last frame. */
static bool take_stamped(struct align_rule *r, const struct capture_frame *f)
{
	uint32_t stamped = (uint32_t)r->setting.stamped;

	if (!stamped && (f->flags & CAPTURE_FRAME_STAMPED) && r->stamped)
		return false; /* one that has none: the line is the others' */
	if (!stamped && f->point == CAPTURE_POINT_END_OF_FRAME)
		stamped = TSALIGN_POINT_EOF;
	else if (!stamped && f->point == CAPTURE_POINT_START_OF_EXPOSURE)
		stamped = TSALIGN_POINT_SOE;
	else if (!stamped)
		stamped = TSALIGN_POINT_ARRIVAL;
	if (stamped == r->stamped)
		return false;
	r->stamped = stamped;
	return true;
}

/* --- the module's rule ---------------------------------------------------- */

static bool is_empty(const struct tsalign_rule *rule)
{
	return rule->point == rule->stamped && !rule->delay_ns &&
	       rule->strobe == NO_STREAM && !(rule->flags & TSALIGN_RULE_BOARD);
}

/* Of the board, or with a strobe, which somebody set up by hand. */
static bool is_told(const struct tsalign_rule *rule)
{
	return rule->flags & TSALIGN_RULE_BOARD || rule->strobe != NO_STREAM;
}

static bool same(const struct tsalign_rule *a, const struct tsalign_rule *b)
{
	return a->stamped == b->stamped && a->point == b->point &&
	       a->flags == b->flags && a->delay_ns == b->delay_ns &&
	       a->exposure_ns == b->exposure_ns &&
	       a->readout_ns == b->readout_ns && a->strobe == b->strobe;
}

/* What we want there, from what was found. */
static struct tsalign_rule wanted_rule(const struct align_rule *r)
{
	struct tsalign_rule rule = r->before;
	uint32_t stamped = rule.stamped;

	if (is_told(&rule)) {
		if (!(rule.flags & TSALIGN_RULE_EXPOSURE) && r->exposure_ns)
			rule.exposure_ns = r->exposure_ns;
		if (!(rule.flags & TSALIGN_RULE_READOUT) && r->readout_ns)
			rule.readout_ns = r->readout_ns;
		return rule;
	}
	/* Else its samples are buffers that are done: the frame is over. */
	if (r->stamps)
		stamped = r->stamped;
	else if (r->setting.point && stamped <= TSALIGN_POINT_ARRIVAL)
		stamped = TSALIGN_POINT_EOF;
	rule = rule_of(r, stamped);
	rule.id = r->before.id;
	return rule;
}

static int get_rule(const struct align_rule *r, struct tsalign_rule *ret)
{
	*ret = (struct tsalign_rule){.id = r->held.id};
	return r->sys->ioctl(r->module, TSALIGN_IOC_GET_RULE, ret);
}

static bool set_rule(struct align_rule *r, const struct tsalign_rule *rule)
{
	struct tsalign_rule arg = *rule;
	int e;

	if (!r->writable)
		return false;
	e = r->sys->ioctl(r->module, TSALIGN_IOC_SET_RULE, &arg);
	if (e == -EPERM || e == -EACCES)
		r->writable = false;
	return e >= 0;
}

/* Whoever set another rule since has the word, until he takes it back. */
static void look_at_module(struct align_rule *r)
{
	struct tsalign_rule now;

	if (r->module < 0 || get_rule(r, &now) < 0 || same(&now, &r->held))
		return;
	now.id = r->held.id;
	r->yielded = !is_empty(&now);
	r->ours = false;
	r->before = now;
	r->held = now;
}

/* @can: stamps can be brought to the point. */
static void apply(struct align_rule *r, bool can)
{
	struct tsalign_rule rule = wanted_rule(r);
	const char *why;
	int64_t ns = 0;

	r->more_ns = 0;
	if (r->module < 0)
		return;
	r->module_lacks = false;
	if (!is_told(&rule) && !offset_of(r, &rule, &ns)) {
		rule.point = rule.stamped;
		r->module_lacks = can;
	}
	if (!r->yielded && !same(&rule, &r->held) && set_rule(r, &rule)) {
		r->held = rule;
		r->ours = true;
	}
	/* The edge that the offset of a strobe counts from is not known here. */
	r->module_ns = 0;
	if (r->held.strobe == NO_STREAM &&
	    tsa_rule_offset(&r->held, &r->module_ns, &why) < 0)
		r->module_ns = -r->held.delay_ns;
	if (!is_told(&r->held) && is_empty(&r->held))
		r->more_ns = ns;
	else if (!same(&rule, &r->held) && !r->wrong)
		r->wrong = "rule";
}

void align_rule_join(struct align_rule *r, uint32_t id, bool stamps)
{
	if (!r->wanted)
		return;
	r->stamps = stamps;
	r->writable = true;
	r->module = r->sys->openat(AT_FDCWD, ALIGN_DEVICE,
				   O_RDWR | O_CLOEXEC | O_NONBLOCK, 0);
	if (r->module < 0) {
		r->writable = false;
		r->module = align_page_open(r->sys);
	}
	r->ours = false;
	r->yielded = false;
	r->held.id = id;
	r->looked_ns = 0;
	if (r->module >= 0 && get_rule(r, &r->before) < 0)
		sys_close(r->sys, &r->module);
	r->module_lacks = r->module < 0; /* whatever it has done is not known */
	r->before.id = id;
	r->held = r->before;
}

void align_rule_leave(struct align_rule *r)
{
	struct tsalign_rule now;

	if (r->module >= 0 && r->ours && get_rule(r, &now) >= 0 &&
	    same(&now, &r->held))
		(void)set_rule(r, &r->before); /* it may be gone */
	if (r->module >= 0)
		sys_close(r->sys, &r->module);
	r->ours = false;
	r->module_lacks = false;
	r->module_ns = 0;
	r->more_ns = 0;
}

void align_rule_started(struct align_rule *r)
{
	r->looked_ns = 0;
}

static uint64_t apart(int64_t a_ns, int64_t b_ns)
{
	return a_ns > b_ns ? (uint64_t)a_ns - (uint64_t)b_ns
			   : (uint64_t)b_ns - (uint64_t)a_ns;
}

/* How far the moment would be if the exposure were another. */
static uint64_t reach_ns(const struct align_rule *r, uint64_t exposure_ns)
{
	struct tsalign_rule rule = rule_of(r, r->stamped);
	const char *why;
	int64_t ns;

	rule.exposure_ns = exposure_ns;
	if (tsa_rule_offset(&rule, &ns, &why) < 0)
		return 0;
	return apart(ns, r->offset_ns);
}

/* What may be off until the next look: exposures end with their frame. */
static void find_reach(struct align_rule *r)
{
	uint64_t max_ns = r->exposure_max_ns;

	r->reach_ns = 0;
	if (!r->exposure.id || is_live(r))
		return;
	if (r->frame_ns)
		max_ns = MIN(max_ns, MAX(r->frame_ns, r->exposure_ns));
	r->reach_ns = MAX(reach_ns(r, r->exposure_min_ns), reach_ns(r, max_ns));
}

/* A change is seen before the sensor's frames have it, or after. */
static void doubt(struct align_rule *r, int64_t before_ns, uint64_t now_ns)
{
	uint64_t moved_ns = apart(before_ns, r->offset_ns);

	if (!moved_ns)
		return;
	if (now_ns > r->doubt_until_ns)
		r->doubt_ns = 0;
	r->doubt_ns = MAX(r->doubt_ns, moved_ns);
	r->doubt_until_ns = now_ns + CAPTURE_ALIGN_SETTLE_FRAMES * r->frame_ns;
}

static void count_frame(struct align_rule *r, uint64_t stamp_ns)
{
	if (r->stamp_ns && stamp_ns > r->stamp_ns)
		r->frame_ns = stamp_ns - r->stamp_ns;
	r->stamp_ns = stamp_ns;
}

uint64_t align_rule_doubt(const struct align_rule *r, uint64_t stamp_ns)
{
	uint64_t ns = r->reach_ns;

	return stamp_ns <= r->doubt_until_ns ? MAX(ns, r->doubt_ns) : ns;
}

void align_rule_follow(struct align_rule *r, const struct capture_frame *f,
		       uint64_t stamp_ns, uint64_t now_ns)
{
	const char *wrong = r->wrong;
	int64_t before_ns = r->offset_ns;
	bool first = !r->looked_ns;
	struct tsalign_rule rule;
	bool anew;
	bool due;

	if (!r->wanted)
		return;
	count_frame(r, stamp_ns);
	anew = take_stamped(r, f);
	due = first || now_ns - r->looked_ns >= CAPTURE_ALIGN_RULE_NS;
	if (!anew && !due && !is_live(r)) {
		find_reach(r);
		return;
	}
	if (due) {
		read_times(r);
		look_at_module(r);
		r->looked_ns = now_ns;
	} else if (is_live(r)) {
		(void)reread_exposure(r);
	}
	rule = rule_of(r, r->stamped);
	apply(r, offset_of(r, &rule, &r->offset_ns));
	find_reach(r);
	if (!first && !anew)
		doubt(r, before_ns, now_ns);
	if (r->wrong && r->wrong != wrong)
		log_debug("align", "%s: not to be used, the last good one is",
			  r->wrong);
}

int64_t align_rule_more(struct align_rule *r, const struct tsalign_page *page)
{
	if (!r->more_ns || (page->point == r->held.point &&
			    page->delay_ns == r->held.delay_ns))
		return r->more_ns;
	r->looked_ns = 0;
	return 0;
}

_Static_assert(
	(int)CAPTURE_ALIGN_ARRIVAL == (int)TSALIGN_POINT_ARRIVAL &&
		(int)CAPTURE_ALIGN_START_OF_FRAME == (int)TSALIGN_POINT_SOF &&
		(int)CAPTURE_ALIGN_END_OF_FRAME == (int)TSALIGN_POINT_EOF &&
		(int)CAPTURE_ALIGN_START_OF_EXPOSURE ==
			(int)TSALIGN_POINT_SOE &&
		(int)CAPTURE_ALIGN_MID_EXPOSURE == (int)TSALIGN_POINT_MID,
	"points");
