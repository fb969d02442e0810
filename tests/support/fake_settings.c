/* SPDX-License-Identifier: Apache-2.0 */
#include "support/fake_settings.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <linux/videodev2.h>

#include "base/macros.h"

#define CLASS_ID (V4L2_CTRL_CLASS_USER | 1)
#define WIDE_ID (V4L2_CTRL_CLASS_USER | 0x1f01)
#define TEXT_ID (V4L2_CTRL_CLASS_USER | 0x1f02)
#define MASK_ID (V4L2_CTRL_CLASS_USER | 0x1f03)

/* By rising id, as the kernel has them. */
static const struct {
	uint32_t id;
	uint32_t type;
	const char *name;
	int64_t min;
	int64_t max;
	uint64_t step;
	int64_t value;
	uint32_t flags;
} table[FAKE_CONTROLS] = {
	{V4L2_CID_BRIGHTNESS, V4L2_CTRL_TYPE_INTEGER, "Brightness", -10, 245, 5,
	 90, 0},
	{V4L2_CID_DO_WHITE_BALANCE, V4L2_CTRL_TYPE_BUTTON, "Do White Balance",
	 0, 0, 0, 0, V4L2_CTRL_FLAG_WRITE_ONLY},
	{V4L2_CID_HFLIP, V4L2_CTRL_TYPE_BOOLEAN, "Horizontal Flip", 0, 1, 1, 0,
	 0},
	{V4L2_CID_MIN_BUFFERS_FOR_CAPTURE, V4L2_CTRL_TYPE_INTEGER,
	 "Min Number of Capture Buffers", 0, 32, 1, 0,
	 V4L2_CTRL_FLAG_READ_ONLY},
	{WIDE_ID, V4L2_CTRL_TYPE_INTEGER64, "Integer 64 Bits", INT64_MIN,
	 INT64_MAX, 1, INT64_C(1) << 40, 0},
	{TEXT_ID, V4L2_CTRL_TYPE_STRING, "Serial", 0, 16, 1, 0, 0},
	{MASK_ID, V4L2_CTRL_TYPE_BITMASK, "Bits", 0, 0xf00f, 0, 0x8001, 0},
	{V4L2_CID_EXPOSURE_AUTO, V4L2_CTRL_TYPE_MENU, "Exposure, Auto", 0, 3, 1,
	 3, 0},
	{V4L2_CID_TEST_PATTERN, V4L2_CTRL_TYPE_MENU, "Test Pattern", 0, 2, 1, 0,
	 0},
};

static const char *const items[2][4] = {
	{"Auto Mode", "Manual Mode", NULL, "Aperture Priority Mode"},
	{"Disabled", "75% Colorbar", "Walking 1s"},
};

static void reset_geometry(struct fake_settings *s, uint32_t width,
			   uint32_t height)
{
	s->now.crop =
		(struct fake_rect){0, 0, FAKE_SENSOR_WIDTH, FAKE_SENSOR_HEIGHT};
	s->now.compose = (struct fake_rect){0, 0, width, height};
	s->now.period_num = 1;
	s->now.period_den = 30;
}

void fake_settings_init(struct fake_settings *s)
{
	size_t i;

	memset(s, 0, sizeof(*s));
	for (i = 0; i < FAKE_CONTROLS; i++)
		s->now.controls[i] = table[i].value;
	s->now.timings_width = 64;
	s->now.timings_height = 48;
	s->found_width = 64;
	s->found_height = 48;
	s->now.frequency = 300000;
	reset_geometry(s, 64, 48);
}

void fake_settings_format(struct fake_settings *s, uint32_t width,
			  uint32_t height)
{
	if (s->now.crop.width < width || s->now.crop.height < height)
		reset_geometry(s, width, height);
	s->now.compose = (struct fake_rect){0, 0, width, height};
	s->now.period_num = 1;
	s->now.period_den = 30;
}

/* --- controls ----------------------------------------------------------- */

static int index_of(const struct fake_settings *s, uint32_t id)
{
	int i;

	for (i = 0; i < FAKE_CONTROLS; i++) {
		if (table[i].id == V4L2_CID_MIN_BUFFERS_FOR_CAPTURE &&
		    !s->min_buffers)
			continue;
		if (table[i].id == id)
			return i;
	}
	return -1;
}

static uint32_t next_id(const struct fake_settings *s, uint32_t id)
{
	int i;

	if (id < CLASS_ID)
		return CLASS_ID;
	for (i = 0; i < FAKE_CONTROLS; i++) {
		if (table[i].id > id && index_of(s, table[i].id) >= 0)
			return table[i].id;
	}
	return 0;
}

static int query_control(const struct fake_settings *s,
			 struct v4l2_query_ext_ctrl *q)
{
	uint32_t id = q->id;
	int i;

	if (id & V4L2_CTRL_FLAG_NEXT_CTRL)
		id = next_id(s, id & ~(V4L2_CTRL_FLAG_NEXT_CTRL |
				       V4L2_CTRL_FLAG_NEXT_COMPOUND));
	memset(q, 0, sizeof(*q));
	q->id = id;
	if (id == CLASS_ID) {
		q->type = V4L2_CTRL_TYPE_CTRL_CLASS;
		q->flags = V4L2_CTRL_FLAG_READ_ONLY | V4L2_CTRL_FLAG_WRITE_ONLY;
		snprintf(q->name, sizeof(q->name), "User Controls");
		return 0;
	}
	i = index_of(s, id);
	if (i < 0)
		return -EINVAL;
	q->type = table[i].type;
	snprintf(q->name, sizeof(q->name), "%s", table[i].name);
	q->minimum = table[i].min;
	q->maximum = table[i].max;
	q->step = table[i].step;
	q->default_value = table[i].value;
	q->flags = table[i].flags;
	return 0;
}

static int query_menu(struct v4l2_querymenu *menu)
{
	const char *const *list;

	if (menu->id == V4L2_CID_EXPOSURE_AUTO)
		list = items[0];
	else if (menu->id == V4L2_CID_TEST_PATTERN)
		list = items[1];
	else
		return -EINVAL;
	if (menu->index > 3 || !list[menu->index])
		return -EINVAL;
	snprintf((char *)menu->name, sizeof(menu->name), "%s",
		 list[menu->index]);
	return 0;
}

static int access_control(struct fake_settings *s,
			  struct v4l2_ext_controls *list, bool set)
{
	struct v4l2_ext_control *c = list->controls;
	int i = index_of(s, c->id);
	bool wide;

	if (list->count != 1 || i < 0)
		return -EINVAL;
	if (table[i].flags &
	    (set ? V4L2_CTRL_FLAG_READ_ONLY : V4L2_CTRL_FLAG_WRITE_ONLY))
		return -EACCES;
	if (set && s->grabbed)
		return -EBUSY;
	wide = table[i].type == V4L2_CTRL_TYPE_INTEGER64;
	if (set) {
		s->now.controls[i] = wide ? c->value64 : c->value;
		s->writes++;
	} else if (wide) {
		c->value64 = s->now.controls[i];
	} else {
		c->value = (int32_t)s->now.controls[i];
	}
	return 0;
}

static int get_old_control(const struct fake_settings *s,
			   struct v4l2_control *c)
{
	if (c->id == V4L2_CID_DV_RX_POWER_PRESENT) {
		c->value = !s->no_cable;
		return 0;
	}
	if (c->id != V4L2_CID_MIN_BUFFERS_FOR_CAPTURE || !s->min_buffers)
		return -EINVAL;
	c->value = s->min_buffers;
	return 0;
}

/* --- geometry ----------------------------------------------------------- */

static int enum_input(const struct fake_settings *s, struct v4l2_input *in)
{
	uint32_t index = in->index;

	if (index >= FAKE_INPUTS)
		return -EINVAL;
	memset(in, 0, sizeof(*in));
	in->index = index;
	in->type = V4L2_INPUT_TYPE_CAMERA;
	in->status = s->input_status;
	if (index == FAKE_INPUT_HDMI)
		in->capabilities = V4L2_IN_CAP_DV_TIMINGS;
	if (index == FAKE_INPUT_TV) {
		in->capabilities = V4L2_IN_CAP_STD;
		in->std = V4L2_STD_PAL;
	}
	return 0;
}

static void reset_format(struct fake_settings *s, uint32_t width,
			 uint32_t height)
{
	s->reset_width = width;
	s->reset_height = height;
	reset_geometry(s, width, height);
}

static int set_input(struct fake_settings *s, int input, bool busy)
{
	if (input < 0 || input >= FAKE_INPUTS)
		return -EINVAL;
	if (busy)
		return -EBUSY;
	s->writes++;
	s->now.input = (uint32_t)input;
	if (s->brightness[input])
		s->now.controls[0] = s->brightness[input];
	if (input == FAKE_INPUT_HDMI)
		reset_format(s, s->now.timings_width, s->now.timings_height);
	else
		reset_format(s, 64, 48);
	return 0;
}

static int do_selection(struct fake_settings *s, struct v4l2_selection *sel,
			bool set)
{
	struct fake_rect *rect = sel->target == V4L2_SEL_TGT_CROP
					 ? &s->now.crop
					 : &s->now.compose;

	if (s->no_selection || sel->type != V4L2_BUF_TYPE_VIDEO_CAPTURE ||
	    (sel->target != V4L2_SEL_TGT_CROP &&
	     sel->target != V4L2_SEL_TGT_COMPOSE))
		return -EINVAL;
	if (set) {
		s->writes++;
		rect->left = sel->r.left / FAKE_ALIGN * FAKE_ALIGN;
		rect->top = sel->r.top / FAKE_ALIGN * FAKE_ALIGN;
		rect->width = MIN(sel->r.width, FAKE_SENSOR_WIDTH) /
			      FAKE_ALIGN * FAKE_ALIGN;
		rect->height = MIN(sel->r.height, FAKE_SENSOR_HEIGHT) /
			       FAKE_ALIGN * FAKE_ALIGN;
	}
	sel->r.left = rect->left;
	sel->r.top = rect->top;
	sel->r.width = rect->width;
	sel->r.height = rect->height;
	return 0;
}

static void tell_timings(struct v4l2_dv_timings *t, uint32_t width,
			 uint32_t height)
{
	memset(t, 0, sizeof(*t));
	t->type = V4L2_DV_BT_656_1120;
	t->bt.width = width;
	t->bt.height = height;
	t->bt.pixelclock = (uint64_t)width * height * 60;
}

static int do_timings(struct fake_settings *s, unsigned long request,
		      struct v4l2_dv_timings *t, bool busy)
{
	if (s->now.input != FAKE_INPUT_HDMI)
		return -ENODATA;
	if (request == VIDIOC_QUERY_DV_TIMINGS) {
		if (s->timings_error)
			return s->timings_error;
		tell_timings(t, s->found_width, s->found_height);
		return 0;
	}
	if (request == VIDIOC_S_DV_TIMINGS) {
		if (busy)
			return -EBUSY;
		s->writes++;
		s->now.timings_width = t->bt.width;
		s->now.timings_height = t->bt.height;
		reset_format(s, t->bt.width, t->bt.height);
	}
	tell_timings(t, s->now.timings_width, s->now.timings_height);
	return 0;
}

static int do_parm(struct fake_settings *s, struct v4l2_streamparm *parm,
		   bool set)
{
	struct v4l2_fract *period = &parm->parm.capture.timeperframe;

	if (s->no_rate || (set && s->fixed_rate))
		return -ENOTTY;
	if (set) {
		s->writes++;
		s->now.period_num = 1;
		/* 15 or 30, whichever is nearer. */
		s->now.period_den =
			period->numerator * 22 < period->denominator ? 30 : 15;
	}
	memset(&parm->parm, 0, sizeof(parm->parm));
	period->numerator = s->now.period_num;
	period->denominator = s->now.period_den;
	return 0;
}

static int do_frequency(struct fake_settings *s, struct v4l2_frequency *f,
			bool set)
{
	if (!s->is_sdr || f->tuner || f->type != V4L2_TUNER_SDR)
		return -EINVAL;
	if (set) {
		s->writes++;
		s->now.frequency = MIN(f->frequency, 2800000u);
	}
	f->frequency = s->now.frequency;
	return 0;
}

/* --- events ------------------------------------------------------------- */

static int subscribe(struct fake_settings *s,
		     const struct v4l2_event_subscription *sub)
{
	if (s->no_events || sub->type != V4L2_EVENT_SOURCE_CHANGE)
		return -EINVAL;
	s->subscribed = true;
	return 0;
}

static int dequeue_event(struct fake_settings *s, struct v4l2_event *event)
{
	if (!s->events)
		return -ENOENT;
	s->events--;
	memset(event, 0, sizeof(*event));
	event->type = V4L2_EVENT_SOURCE_CHANGE;
	event->u.src_change.changes = V4L2_EVENT_SRC_CH_RESOLUTION;
	event->pending = s->events;
	return 0;
}

static int geometry_ioctl(struct fake_settings *s, unsigned long request,
			  void *arg, bool busy)
{
	switch (request) {
	case VIDIOC_ENUMINPUT:
		return s->no_inputs ? -ENOTTY : enum_input(s, arg);
	case VIDIOC_G_INPUT:
		if (s->no_inputs)
			return -ENOTTY;
		*(int *)arg = (int)s->now.input;
		return 0;
	case VIDIOC_S_INPUT:
		return s->no_inputs ? -ENOTTY : set_input(s, *(int *)arg, busy);
	case VIDIOC_G_SELECTION:
	case VIDIOC_S_SELECTION:
		return do_selection(s, arg, request == VIDIOC_S_SELECTION);
	case VIDIOC_G_DV_TIMINGS:
	case VIDIOC_S_DV_TIMINGS:
	case VIDIOC_QUERY_DV_TIMINGS:
		return do_timings(s, request, arg, busy);
	case VIDIOC_G_PARM:
	case VIDIOC_S_PARM:
		return do_parm(s, arg, request == VIDIOC_S_PARM);
	case VIDIOC_G_FREQUENCY:
	case VIDIOC_S_FREQUENCY:
		return do_frequency(s, arg, request == VIDIOC_S_FREQUENCY);
	default:
		return -ENOTTY;
	}
}

int fake_settings_ioctl(struct fake_settings *s, unsigned long request,
			void *arg, bool busy)
{
	switch (request) {
	case VIDIOC_QUERY_EXT_CTRL:
		return query_control(s, arg);
	case VIDIOC_QUERYMENU:
		return query_menu(arg);
	case VIDIOC_G_EXT_CTRLS:
	case VIDIOC_S_EXT_CTRLS:
		return access_control(s, arg, request == VIDIOC_S_EXT_CTRLS);
	case VIDIOC_G_CTRL:
		return get_old_control(s, arg);
	case VIDIOC_SUBSCRIBE_EVENT:
		return subscribe(s, arg);
	case VIDIOC_DQEVENT:
		return dequeue_event(s, arg);
	default:
		return geometry_ioctl(s, request, arg, busy);
	}
}
