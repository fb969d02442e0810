/* SPDX-License-Identifier: Apache-2.0 */
#include "src/settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "src/controls.h"
#include "src/v4l2.h"

/* Crop, format, compose and rate disturb each other: settle in two rounds. */
#define RESTORE_ROUNDS 2

int settings_fail(const struct capture_settings *settings, const char *name,
		  int error)
{
	struct capture_settings_error *e = settings ? settings->error : NULL;

	if (e) {
		(void)snprintf(e->name, sizeof(e->name), "%s", name);
		e->error = error;
	}
	return error;
}

/* --- copies ------------------------------------------------------------- */

static void *copy_of(const void *from, size_t bytes)
{
	void *to = malloc(bytes);

	if (to)
		memcpy(to, from, bytes);
	return to;
}

static int copy_text(const char *from, const char **ret)
{
	*ret = from ? strdup(from) : NULL;
	return from && !*ret ? -ENOMEM : 0;
}

static int copy_rect(const struct capture_rect *from,
		     const struct capture_rect **ret)
{
	*ret = from ? copy_of(from, sizeof(*from)) : NULL;
	return from && !*ret ? -ENOMEM : 0;
}

static int copy_controls(const struct capture_settings *from,
			 struct capture_settings *to)
{
	struct capture_control_setting *controls;
	size_t i;
	int r = 0;

	if (!from->control_count)
		return 0;
	controls = calloc(from->control_count, sizeof(*controls));
	if (!controls)
		return -ENOMEM;
	to->controls = controls;
	for (i = 0; i < from->control_count && r == 0; i++) {
		to->control_count = i + 1;
		controls[i].id = from->controls[i].id;
		controls[i].value = from->controls[i].value;
		r = copy_text(from->controls[i].name, &controls[i].name);
		if (r == 0)
			r = copy_text(from->controls[i].item,
				      &controls[i].item);
	}
	return r;
}

int capture_settings_dup(const struct capture_settings *settings,
			 struct capture_settings **ret_settings)
{
	struct capture_settings *s;
	int r;

	if (settings->control_count > CAPTURE_SETTINGS_CONTROLS_MAX)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->set_input = settings->set_input;
	s->input = settings->input;
	s->timings = settings->timings;
	s->align = settings->align;
	s->counter = settings->counter;
	r = copy_controls(settings, s);
	if (r == 0)
		r = copy_rect(settings->crop, &s->crop);
	if (r == 0)
		r = copy_rect(settings->compose, &s->compose);
	if (r < 0) {
		(void)capture_settings_free(s);
		return r;
	}
	*ret_settings = s;
	return 0;
}

/* What capture_settings_dup() allocated is const for its users only. */
static void free_const(const void *p)
{
	union {
		const void *from;
		void *to;
	} u = {.from = p};

	free(u.to);
}

struct capture_settings *
capture_settings_free(struct capture_settings *settings)
{
	size_t i;

	if (!settings)
		return NULL;
	for (i = 0; i < settings->control_count; i++) {
		free_const(settings->controls[i].name);
		free_const(settings->controls[i].item);
	}
	free_const(settings->controls);
	free_const(settings->crop);
	free_const(settings->compose);
	free(settings);
	return NULL;
}

/* --- what was ----------------------------------------------------------- */

/* Whether a node lacks what it was asked for, which is no failure. */
static bool is_lacking(int r)
{
	return r == -ENOTTY || r == -EINVAL || r == -ENODATA;
}

/* Reads something that a node may lack: 0, or the errno of a failure. */
static int read_one(struct settings_journal *j, unsigned long request,
		    void *arg, bool *ret_known)
{
	int r = j->sys->ioctl(j->fd, request, arg);

	*ret_known = r >= 0;
	return r >= 0 || is_lacking(r) ? 0 : r;
}

/* Selections know the single-planar type alone, in older kernels. */
static uint32_t selection_type(uint32_t type)
{
	return v4l2_is_mplane(type) ? V4L2_BUF_TYPE_VIDEO_CAPTURE : type;
}

static bool has_selection(uint32_t type)
{
	return selection_type(type) == V4L2_BUF_TYPE_VIDEO_CAPTURE;
}

static int read_rect(struct settings_journal *j, uint32_t target,
		     struct v4l2_rect *rect, bool *ret_known)
{
	struct v4l2_selection sel;
	int r;

	*ret_known = false;
	if (!has_selection(j->type))
		return 0;
	memset(&sel, 0, sizeof(sel));
	sel.type = selection_type(j->type);
	sel.target = target;
	r = read_one(j, VIDIOC_G_SELECTION, &sel, ret_known);
	*rect = sel.r;
	return r;
}

static int read_parm(struct settings_journal *j, struct v4l2_streamparm *parm,
		     bool *ret_known)
{
	memset(parm, 0, sizeof(*parm));
	parm->type = j->type;
	return read_one(j, VIDIOC_G_PARM, parm, ret_known);
}

static int read_frequency(struct settings_journal *j, struct v4l2_frequency *f,
			  bool *ret_known)
{
	*ret_known = false;
	if (j->type != V4L2_BUF_TYPE_SDR_CAPTURE)
		return 0;
	memset(f, 0, sizeof(*f));
	f->tuner = 0; /* the ADC, by the SDR interface */
	f->type = V4L2_TUNER_SDR;
	return read_one(j, VIDIOC_G_FREQUENCY, f, ret_known);
}

static int read_format(struct settings_journal *j, struct v4l2_format *f)
{
	int r;

	memset(f, 0, sizeof(*f));
	f->type = j->type;
	r = j->sys->ioctl(j->fd, VIDIOC_G_FMT, f);
	return r < 0 ? r : 0;
}

int settings_begin(struct settings_journal *j, const struct sys_ops *sys,
		   int fd, uint32_t type)
{
	int r;

	memset(j, 0, sizeof(*j));
	j->sys = sys;
	j->fd = fd;
	j->type = type;
	r = read_one(j, VIDIOC_G_INPUT, &j->input, &j->known_input);
	if (r == 0)
		r = read_format(j, &j->format);
	if (r == 0)
		r = read_rect(j, V4L2_SEL_TGT_CROP, &j->crop, &j->known_crop);
	if (r == 0)
		r = read_rect(j, V4L2_SEL_TGT_COMPOSE, &j->compose,
			      &j->known_compose);
	if (r == 0)
		r = read_parm(j, &j->parm, &j->known_parm);
	if (r == 0)
		r = read_frequency(j, &j->frequency, &j->known_frequency);
	return r;
}

/* Whether a control is one to put back when the driver changed it. */
static bool is_kept(const struct capture_control *c)
{
	return c->readable && c->type != CAPTURE_CONTROL_OTHER &&
	       c->type != CAPTURE_CONTROL_BUTTON &&
	       !(c->flags &
		 (V4L2_CTRL_FLAG_READ_ONLY | V4L2_CTRL_FLAG_WRITE_ONLY |
		  V4L2_CTRL_FLAG_VOLATILE | V4L2_CTRL_FLAG_EXECUTE_ON_WRITE));
}

/* Remembers all controls, once. */
static int save_all(struct settings_journal *j)
{
	AUTO(capture_control_list_free)
	struct capture_control_list *list = NULL;
	size_t i;
	int r;

	if (j->all)
		return 0;
	r = control_list_of(j->sys, j->fd, &list);
	if (r < 0)
		return r;
	j->all = calloc(list->count + 1, sizeof(*j->all));
	if (!j->all)
		return -ENOMEM;
	for (i = 0; i < list->count; i++) {
		const struct capture_control *c = &list->controls[i];
		struct saved_control *save = &j->all[j->all_count];

		if (!is_kept(c))
			continue;
		save->id = c->id;
		save->value = c->value;
		save->left = c->value;
		j->all_count++;
	}
	return 0;
}

void settings_end(struct settings_journal *j)
{
	free(j->all);
	j->all = NULL;
	j->all_count = 0;
}

/* --- what our calls made of it ------------------------------------------ */

static int read_value(struct settings_journal *j, uint32_t id,
		      struct v4l2_query_ext_ctrl *ret_query, int64_t *ret_value)
{
	struct capture_control_setting setting = {.id = id};
	int r;

	r = control_find(j->sys, j->fd, &setting, ret_query);
	if (r < 0)
		return r;
	return control_get(j->sys, j->fd, ret_query, ret_value);
}

/* The one of the controls that were set by name, or NULL. */
static struct saved_control *find_set(struct settings_journal *j, uint32_t id)
{
	uint32_t i;

	for (i = 0; i < j->control_count; i++) {
		if (j->controls[i].id == id)
			return &j->controls[i];
	}
	return NULL;
}

static void note_one(struct settings_journal *j, struct saved_control *c)
{
	struct v4l2_query_ext_ctrl q;

	c->unread = read_value(j, c->id, &q, &c->left) < 0;
}

void settings_applied(struct settings_journal *j)
{
	uint32_t i;
	size_t k;

	for (i = 0; i < j->control_count; i++)
		note_one(j, &j->controls[i]);
	/* Those set by name since were noted before that. */
	for (k = 0; k < j->all_count; k++) {
		if (!find_set(j, j->all[k].id))
			note_one(j, &j->all[k]);
	}
}

static bool is_foreign(struct settings_journal *j,
		       const struct saved_control *c)
{
	struct v4l2_query_ext_ctrl q;
	int64_t now;

	if (c->unread || read_value(j, c->id, &q, &now) < 0)
		return false;
	/* A volatile one moves by itself. */
	return now != c->left && !(q.flags & V4L2_CTRL_FLAG_VOLATILE);
}

/* Before anything is put back, which changes others. */
static void find_foreign(struct settings_journal *j)
{
	const struct saved_control *set;
	uint32_t i;
	size_t k;

	for (i = 0; i < j->control_count; i++)
		j->controls[i].foreign = is_foreign(j, &j->controls[i]);
	for (k = 0; k < j->all_count; k++) {
		struct saved_control *c = &j->all[k];

		set = find_set(j, c->id);
		/* It may have been changed before we set it, too. */
		c->foreign = set ? set->foreign || (!c->unread &&
						    set->value != c->left)
				 : is_foreign(j, c);
	}
}

/* --- changes ------------------------------------------------------------ */

static int apply_input(struct settings_journal *j, uint32_t input)
{
	int value = (int)input;
	int r;

	if (!j->known_input || input > INT32_MAX)
		return -ENXIO;
	if (j->input == value)
		return 0;
	r = save_all(j);
	if (r < 0)
		return r;
	j->changed_input = true;
	j->input_left = value;
	settings_will_change(j);
	r = j->sys->ioctl(j->fd, VIDIOC_S_INPUT, &value);
	settings_applied(j);
	if (r == -EINVAL)
		return -ENXIO;
	return r < 0 ? r : 0;
}

static int apply_timings(struct settings_journal *j)
{
	struct v4l2_dv_timings found;
	struct v4l2_dv_timings now;
	bool known;
	int r;

	memset(&now, 0, sizeof(now));
	memset(&found, 0, sizeof(found));
	r = read_one(j, VIDIOC_G_DV_TIMINGS, &now, &known);
	if (r < 0)
		return r;
	if (!known)
		return -ENXIO;
	r = j->sys->ioctl(j->fd, VIDIOC_QUERY_DV_TIMINGS, &found);
	if (r < 0)
		return is_lacking(r) ? -ENXIO : r;
	if (v4l2_same_timings(&now, &found))
		return 0;
	r = save_all(j);
	if (r < 0)
		return r;
	j->timings = now;
	j->timings_left = found;
	j->changed_timings = true;
	settings_will_change(j);
	r = j->sys->ioctl(j->fd, VIDIOC_S_DV_TIMINGS, &found);
	settings_applied(j);
	return r < 0 ? r : 0;
}

/* Remembers what a control is, the first time: 0, -ENOSPC, or the errno. */
static int save_control(struct settings_journal *j,
			const struct v4l2_query_ext_ctrl *q)
{
	struct saved_control *c = &j->controls[j->control_count];
	int r;

	if (find_set(j, q->id))
		return 0;
	if (j->control_count == CAPTURE_SETTINGS_CONTROLS_MAX)
		return -ENOSPC;
	r = control_get(j->sys, j->fd, q, &c->value);
	if (r < 0)
		return r;
	c->id = q->id;
	c->wide = control_is_wide(q);
	c->unread = false;
	c->left = c->value;
	j->control_count++;
	return 0;
}

int settings_control(struct settings_journal *j,
		     const struct capture_control_setting *setting)
{
	struct v4l2_query_ext_ctrl q;
	int64_t value = 0;
	int r;

	r = control_find(j->sys, j->fd, setting, &q);
	if (r == 0)
		r = control_value(j->sys, j->fd, setting, &q, &value);
	if (r == 0)
		r = save_control(j, &q);
	if (r < 0)
		return r;
	r = control_set(j->sys, j->fd, q.id, control_is_wide(&q), value);
	if (r == 0) /* the driver may have made another value of it */
		note_one(j, find_set(j, q.id));
	return r;
}

static int apply_controls(struct settings_journal *j,
			  const struct capture_settings *settings)
{
	char name[CAPTURE_CONTROL_NAME_BYTES];
	size_t i;
	int r;

	for (i = 0; i < settings->control_count; i++) {
		const struct capture_control_setting *c =
			&settings->controls[i];

		r = settings_control(j, c);
		if (r == 0)
			continue;
		(void)snprintf(name, sizeof(name), "0x%08x", c->id);
		return settings_fail(settings,
				     c->id || !c->name ? name : c->name, r);
	}
	return 0;
}

static bool same_rect(const struct v4l2_rect *a, const struct v4l2_rect *b)
{
	return a->left == b->left && a->top == b->top && a->width == b->width &&
	       a->height == b->height;
}

static struct v4l2_rect rect_of(const struct capture_rect *r)
{
	struct v4l2_rect v = {.left = r->left,
			      .top = r->top,
			      .width = r->width,
			      .height = r->height};

	return v;
}

static int write_rect(struct settings_journal *j, uint32_t target,
		      const struct v4l2_rect *rect)
{
	struct v4l2_selection sel;
	int r;

	memset(&sel, 0, sizeof(sel));
	sel.type = selection_type(j->type);
	sel.target = target;
	sel.r = *rect;
	r = j->sys->ioctl(j->fd, VIDIOC_S_SELECTION, &sel);
	if (r < 0)
		return r;
	return same_rect(&sel.r, rect) ? 0 : -ERANGE;
}

/* Whether a rectangle is exactly what was asked for: 0, -ERANGE, errno. */
static int check_rect(struct settings_journal *j, uint32_t target,
		      const struct capture_rect *wanted)
{
	struct v4l2_rect want = rect_of(wanted);
	struct v4l2_rect now;
	bool known;
	int r;

	r = read_rect(j, target, &now, &known);
	if (r < 0)
		return r;
	return known && same_rect(&now, &want) ? 0 : -ERANGE;
}

static int apply_rect(struct settings_journal *j, uint32_t target,
		      const struct capture_rect *wanted)
{
	struct v4l2_rect want = rect_of(wanted);
	struct v4l2_rect now;
	bool known;
	int r;

	/* Not what the journal knows: that may be of another input. */
	r = read_rect(j, target, &now, &known);
	if (r < 0)
		return r;
	if (!known)
		return -ENXIO;
	if (same_rect(&now, &want))
		return 0;
	settings_will_change(j);
	r = write_rect(j, target, &want);
	return is_lacking(r) ? -ENXIO : r;
}

int settings_apply_before(struct settings_journal *j,
			  const struct capture_settings *settings)
{
	int r;

	if (!settings)
		return 0;
	if (settings->control_count > CAPTURE_SETTINGS_CONTROLS_MAX ||
	    (settings->control_count && !settings->controls))
		return -EINVAL;
	if (settings->set_input) {
		r = apply_input(j, settings->input);
		if (r < 0)
			return settings_fail(settings, "input", r);
	}
	if (settings->timings == CAPTURE_TIMINGS_AUTO) {
		r = apply_timings(j);
		if (r < 0)
			return settings_fail(settings, "timings", r);
	}
	r = apply_controls(j, settings);
	if (r < 0 || !settings->crop)
		return r;
	r = apply_rect(j, V4L2_SEL_TGT_CROP, settings->crop);
	return r < 0 ? settings_fail(settings, "crop", r) : 0;
}

int settings_apply_after(struct settings_journal *j,
			 const struct capture_settings *settings)
{
	int r;

	if (settings && settings->compose) {
		r = apply_rect(j, V4L2_SEL_TGT_COMPOSE, settings->compose);
		if (r < 0)
			return settings_fail(settings, "compose", r);
	}
	/* The format may have moved it. */
	if (settings && settings->crop) {
		r = check_rect(j, V4L2_SEL_TGT_CROP, settings->crop);
		if (r < 0)
			return settings_fail(settings, "crop", r);
	}
	return 0;
}

/* V4L2 counts in Hz, or in 62.5 Hz or kHz by the tuner's word. */
static uint32_t hz_unit_num(const struct settings_journal *j, uint32_t *ret_den)
{
	struct v4l2_tuner tuner;
	int r;

	memset(&tuner, 0, sizeof(tuner));
	tuner.type = V4L2_TUNER_SDR;
	r = j->sys->ioctl(j->fd, VIDIOC_G_TUNER, &tuner);
	*ret_den = 1;
	if (r < 0 || tuner.capability & V4L2_TUNER_CAP_1HZ)
		return 1; /* what the SDR interface asks of drivers */
	if (tuner.capability & V4L2_TUNER_CAP_LOW) {
		*ret_den = 2;
		return 125;
	}
	return 62500;
}

int settings_sample_rate(struct settings_journal *j, uint32_t wanted,
			 uint32_t *ret_rate)
{
	struct v4l2_frequency f = j->frequency;
	uint32_t den;
	uint32_t num;
	bool known;
	int r;

	if (!j->known_frequency) {
		*ret_rate = 0;
		return wanted ? -ENXIO : 0;
	}
	num = hz_unit_num(j, &den);
	if (wanted && (uint64_t)f.frequency * num / den != wanted) {
		f.frequency = (uint32_t)((uint64_t)wanted * den / num);
		settings_will_change(j);
		r = j->sys->ioctl(j->fd, VIDIOC_S_FREQUENCY, &f);
		if (r < 0)
			return r == -EINVAL ? -ERANGE : r;
		r = read_frequency(j, &f, &known);
		if (r < 0)
			return r;
	}
	*ret_rate = (uint32_t)MIN((uint64_t)f.frequency * num / den,
				  (uint64_t)UINT32_MAX);
	return wanted && *ret_rate != wanted ? -ERANGE : 0;
}

/* --- the way back ------------------------------------------------------- */

static int restore_controls(struct settings_journal *j)
{
	int failures = 0;

	while (j->control_count) {
		const struct saved_control *c =
			&j->controls[--j->control_count];

		if (!c->foreign &&
		    control_set(j->sys, j->fd, c->id, c->wide, c->value) < 0)
			failures++;
	}
	return failures;
}

/* What the driver changed by itself, and is not as it was again by now. */
static int restore_driven(struct settings_journal *j)
{
	struct v4l2_query_ext_ctrl q;
	int failures = 0;
	int64_t value;
	size_t i;

	for (i = 0; i < j->all_count; i++) {
		if (j->all[i].foreign)
			continue;
		if (read_value(j, j->all[i].id, &q, &value) < 0) {
			failures++;
			continue;
		}
		if (value != j->all[i].value &&
		    control_set(j->sys, j->fd, q.id, control_is_wide(&q),
				j->all[i].value) < 0)
			failures++;
	}
	settings_end(j);
	return failures;
}

/* Each: 1 when it is not as it was, after setting it. */

static int restore_rect(struct settings_journal *j, uint32_t target, bool known,
			const struct v4l2_rect *rect)
{
	struct v4l2_rect now;

	if (!known)
		return 0;
	if (read_rect(j, target, &now, &known) == 0 && known &&
	    same_rect(&now, rect))
		return 0;
	return write_rect(j, target, rect) < 0;
}

/* Of the unions in formats and parameters, whichever member is in use. */
static bool same_bytes(const uint8_t a[200], const uint8_t b[200])
{
	return !memcmp(a, b, 200);
}

static int restore_format(struct settings_journal *j)
{
	struct v4l2_format now;

	if (read_format(j, &now) == 0 &&
	    same_bytes(now.fmt.raw_data, j->format.fmt.raw_data))
		return 0;
	now = j->format;
	return j->sys->ioctl(j->fd, VIDIOC_S_FMT, &now) < 0 ||
	       !same_bytes(now.fmt.raw_data, j->format.fmt.raw_data);
}

static int restore_parm(struct settings_journal *j)
{
	struct v4l2_streamparm now;
	bool known;

	if (!j->known_parm)
		return 0;
	if (read_parm(j, &now, &known) == 0 && known &&
	    same_bytes(now.parm.raw_data, j->parm.parm.raw_data))
		return 0;
	now = j->parm;
	return j->sys->ioctl(j->fd, VIDIOC_S_PARM, &now) < 0;
}

static int restore_frequency(struct settings_journal *j)
{
	struct v4l2_frequency now;
	bool known;

	if (!j->known_frequency)
		return 0;
	if (read_frequency(j, &now, &known) == 0 && known &&
	    now.frequency == j->frequency.frequency)
		return 0;
	now = j->frequency;
	return j->sys->ioctl(j->fd, VIDIOC_S_FREQUENCY, &now) < 0;
}

static int restore_round(struct settings_journal *j)
{
	int failures;

	failures = restore_rect(j, V4L2_SEL_TGT_CROP, j->known_crop, &j->crop);
	failures += restore_format(j);
	failures += restore_rect(j, V4L2_SEL_TGT_COMPOSE, j->known_compose,
				 &j->compose);
	failures += restore_parm(j);
	return failures + restore_frequency(j);
}

static int restore_timings(struct settings_journal *j)
{
	struct v4l2_dv_timings now;
	bool known;

	if (!j->changed_timings)
		return 0;
	memset(&now, 0, sizeof(now));
	if (read_one(j, VIDIOC_G_DV_TIMINGS, &now, &known) == 0 &&
	    (!known || !v4l2_same_timings(&now, &j->timings_left)))
		return 0; /* someone else's, or of someone else's input */
	return j->sys->ioctl(j->fd, VIDIOC_S_DV_TIMINGS, &j->timings) < 0;
}

static int restore_input(struct settings_journal *j)
{
	int input = 0;

	if (!j->changed_input)
		return 0;
	if (j->sys->ioctl(j->fd, VIDIOC_G_INPUT, &input) >= 0 &&
	    input != j->input_left)
		return 0;
	input = j->input;
	return j->sys->ioctl(j->fd, VIDIOC_S_INPUT, &input) < 0;
}

/* Each of these resets what the next one sets: the order of setting. */
static int restore_all(struct settings_journal *j)
{
	int failures;
	int round;
	int left = 0;

	failures = restore_timings(j);
	failures += restore_input(j);
	failures += restore_driven(j);
	for (round = 0; round < RESTORE_ROUNDS; round++)
		left = restore_round(j);
	return failures + left;
}

static bool is_gone(struct settings_journal *j)
{
	struct v4l2_capability cap;

	memset(&cap, 0, sizeof(cap));
	return j->sys->ioctl(j->fd, VIDIOC_QUERYCAP, &cap) == -ENODEV;
}

int settings_restore(struct settings_journal *j)
{
	int failures;

	if (!j->changed && !j->control_count)
		return 0;
	if (is_gone(j)) {
		j->changed = false;
		j->control_count = 0;
		settings_end(j);
		return -ENODEV;
	}
	find_foreign(j);
	/* Of the input that was set: before that changes. */
	failures = restore_controls(j);
	if (j->changed)
		failures += restore_all(j);
	j->changed = false;
	j->changed_input = false;
	j->changed_timings = false;
	return failures;
}
