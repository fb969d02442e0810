/* SPDX-License-Identifier: Apache-2.0 */
#include <capture/align.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/align.h"
#include "src/align_clock.h"
#include "src/align_page.h"
#include "src/align_rule.h"
#include "src/align_submit.h"
#include "src/limits.h"
#include "tsalign_core.h"

#define NS_PER_S UINT64_C(1000000000)
#define MHZ_PER_HZ UINT64_C(1000)

struct capture_align {
	const struct sys_ops *sys;
	struct align_clock monotonic;
	struct align_clock realtime;
	struct align_clock tai;

	/* The module's map. */
	int32_t minor;
	const struct tsalign_page *page; /* NULL: none */
	struct tsalign_stream stream;
	struct tsalign_page map; /* as it was last read */
	bool map_read;
	uint32_t look_in; /* frames until it is looked for; 0: never */
	uint32_t look_gap;
	uint64_t started_ns;	    /* CLOCK_BOOTTIME */
	uint32_t sequence_shift;    /* of frames, from the driver's */
	struct align_submit submit; /* the page is a stream of ours */
	struct align_rule rule;	    /* of a V4L2 device */

	/* Our own. */
	struct tsa_fit fit;
	struct tsa_unwrap unwrap;
	struct tsa_estimate estimate;
	uint64_t device_hz;   /* what the fit counts; 0: frames */
	uint64_t stamp_ticks; /* frames' stamps are so much later than they */
	uint64_t tick_ns;     /* of a count that is rounded down; 0: is not */
	bool guessed;	      /* the frame's count is of its stamp */

	/* What was given to frames. */
	bool any;
	bool anew; /* the next one opens an epoch */
	enum capture_aligned_by by;
	uint64_t line_epoch; /* the map's or the fit's */
	uint32_t frame_epoch;
	uint32_t epoch;
	uint64_t last_ns;
};

/* A frame as the aligner sees it. */
struct sample {
	uint64_t now_ns; /* all CLOCK_BOOTTIME */
	uint64_t stamp_ns;
	uint64_t width_ns; /* of the clocks' difference */
	uint64_t counter;
	uint64_t lead; /* the frame's own count is so much less */
};

/* What a line says of it. */
struct reading {
	enum capture_aligned_by by;
	uint64_t ns;
	uint64_t sigma_ns;
	uint64_t line_epoch;
};

/* The module's stream, whoever's it is. */
static void let_go(struct capture_align *a)
{
	align_rule_leave(&a->rule);
	a->page = align_page_unmap(a->sys, a->page);
	align_submit_close(&a->submit, a->sys);
	a->map_read = false;
}

static void begin_fit(struct capture_align *a, uint64_t device_hz)
{
	struct tsa_fit_config config = {0};

	if (a->submit.fd >= 0) {
		let_go(a); /* it counts something else */
		a->look_in = 1;
	}
	if (device_hz && device_hz <= UINT64_MAX / MHZ_PER_HZ)
		config.nominal_mhz = device_hz * MHZ_PER_HZ;
	config.counter = device_hz ? TSALIGN_COUNT_TICKS : TSALIGN_COUNT_EVENTS;
	tsa_fit_init(&a->fit, &config);
	tsa_unwrap_init(&a->unwrap, device_hz ? 64 : 32);
	a->device_hz = device_hz;
	a->anew = true;
}

int capture_align_new(const struct sys_ops *sys, int32_t minor,
		      struct capture_align **ret_align)
{
	struct capture_align *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->sys = sys ? sys : sys_posix();
	a->minor = minor;
	align_submit_init(&a->submit);
	align_rule_init(&a->rule, a->sys);
	begin_fit(a, 0);
	*ret_align = a;
	return 0;
}

struct capture_align *capture_align_free(struct capture_align *a)
{
	if (a) {
		let_go(a);
		align_rule_fini(&a->rule);
	}
	free(a);
	return NULL;
}

/* The count begins anew. */
static void restart_fit(struct capture_align *a)
{
	if (a->any)
		tsa_fit_restart(&a->fit, TSALIGN_CAUSE_DEVICE_STEP);
	tsa_unwrap_init(&a->unwrap, a->device_hz ? 64 : 32);
	align_submit_restart(&a->submit);
	a->anew = true;
}

void capture_align_started(struct capture_align *a)
{
	a->started_ns = sys_now_ns(a->sys, CLOCK_BOOTTIME);
	a->map_read = false;
	a->look_gap = 1;
	a->look_in = !a->page && (a->minor >= 0 || a->submit.name[0]);
	align_rule_started(&a->rule);
	restart_fit(a);
}

void align_name(struct capture_align *a, const char *kind, const char *path)
{
	align_submit_name(&a->submit, kind, path);
}

void align_set_rule(struct capture_align *a,
		    const struct capture_align_setting *setting, int node,
		    const char *path, const struct capture_format *format)
{
	align_rule_attach(&a->rule, setting, node, path, a->minor, format);
}

void align_stamp_after(struct capture_align *a, uint64_t ticks)
{
	a->stamp_ticks = ticks;
}

void align_set_tick(struct capture_align *a, uint64_t tick_ns)
{
	a->tick_ns = tick_ns;
}

void align_count_guessed(struct capture_align *a, bool guessed)
{
	a->guessed = guessed;
}

void align_shift_sequence(struct capture_align *a, uint32_t shift)
{
	a->sequence_shift = shift;
}

/* --- the module's stream -------------------------------------------------- */

/* Asked again, rarer each time of a start. */
static void look_later(struct capture_align *a)
{
	if (a->look_gap < CAPTURE_ALIGN_LOOK_FRAMES_MAX)
		a->look_gap *= 2;
	a->look_in = a->look_gap;
}

/* A counter of its own, which the module hears of here. */
static bool is_named(const struct capture_align *a)
{
	return a->submit.name[0];
}

static int find_page(struct capture_align *a)
{
	int r;

	if (is_named(a))
		r = align_submit_open(&a->submit, a->sys, a->device_hz,
				      &a->stream, &a->page);
	else
		r = align_page_find(a->sys, a->minor, &a->stream, &a->page);
	if (r == 0)
		align_rule_join(&a->rule, a->stream.id, is_named(a));
	return r;
}

/*
 * The module knows a V4L2 device from its first buffer on; a counter it knows
 * from us.
 */
static void look_for_page(struct capture_align *a)
{
	int r;

	if (!a->look_in || (is_named(a) && !a->device_hz) || --a->look_in)
		return;
	r = find_page(a);
	/* Else: found, or it is not for us. A module may be loaded late. */
	if (r == -ENOENT || r == -ENODEV || r == -ENOSPC || r == -EEXIST)
		look_later(a);
}

/* A pair of our own counter; what the module does not take ends the stream. */
static void submit(struct capture_align *a, const struct sample *s)
{
	int r;

	if (a->submit.fd < 0)
		return;
	r = align_submit_add(&a->submit, a->sys, s->counter, s->stamp_ns,
			     s->width_ns, s->now_ns);
	if (r == 0)
		return;
	let_go(a);
	look_later(a);
}

/* --- the frame's own stamp ------------------------------------------------ */

static void on_boottime(struct capture_align *a, struct align_clock *c,
			clockid_t clock, uint64_t stamp_ns, struct sample *s)
{
	if (align_clock_look(c, a->sys, clock, &s->now_ns)) {
		tsa_fit_restart(&a->fit, clock == CLOCK_MONOTONIC
						 ? TSALIGN_CAUSE_SUSPEND
						 : TSALIGN_CAUSE_HOST_STEP);
		/* Of a suspend the module knows by itself. */
		if (clock != CLOCK_MONOTONIC)
			align_submit_restart(&a->submit);
		a->anew = true;
	}
	s->stamp_ns = align_clock_to_boot(c, stamp_ns);
	s->width_ns = align_clock_width_ns(c);
}

/*
 * Return: false: there is no stamp, or none that can be (of a clock that was
 * set between stamp and dequeue); it is taken for when it came.
 */
static bool read_stamp(struct capture_align *a, const struct capture_frame *f,
		       struct sample *s)
{
	if (f->clock == CAPTURE_CLOCK_MONOTONIC) {
		on_boottime(a, &a->monotonic, CLOCK_MONOTONIC, f->stamp_ns, s);
	} else if (f->clock == CAPTURE_CLOCK_REALTIME) {
		on_boottime(a, &a->realtime, CLOCK_REALTIME, f->stamp_ns, s);
	} else {
		s->now_ns = sys_now_ns(a->sys, CLOCK_BOOTTIME);
		s->stamp_ns = f->clock == CAPTURE_CLOCK_BOOTTIME ? f->stamp_ns
								 : 0;
	}
	if (s->stamp_ns && s->stamp_ns < s->now_ns + CAPTURE_ALIGN_AHEAD_NS &&
	    s->now_ns - MIN(s->now_ns, s->stamp_ns) < CAPTURE_ALIGN_OLD_NS)
		return true;
	s->stamp_ns = s->now_ns;
	s->width_ns = 0;
	return false;
}

static void read_frame(struct capture_align *a, const struct capture_frame *f,
		       struct sample *s)
{
	uint64_t raw = f->device_hz ? f->device_ticks : f->sequence;
	bool stamped = read_stamp(a, f, s);

	if (f->device_hz != a->device_hz)
		begin_fit(a, f->device_hz);
	else if (a->any && f->epoch != a->frame_epoch)
		restart_fit(a); /* an overrun: the source counts anew */
	look_for_page(a);
	s->lead = f->device_hz ? a->stamp_ticks : 0;
	s->counter = tsa_unwrap(&a->unwrap, raw + s->lead);
	/* What came with a damaged frame may be damaged as well. */
	if (!stamped || a->guessed || f->flags & CAPTURE_FRAME_ERROR)
		return;
	(void)tsa_fit_add(&a->fit, s->counter, s->stamp_ns,
			  (uint32_t)MIN(s->width_ns, UINT32_MAX));
	submit(a, s);
}

/* --- the lines ------------------------------------------------------------ */

/* @sigma_ns holds near @base_ns; elsewhere it is more. */
static uint64_t sigma_at(uint64_t sigma_ns, uint64_t sigma_ppb,
			 uint64_t base_ns, uint64_t ns)
{
	uint64_t away = ns > base_ns ? ns - base_ns : base_ns - ns;
	uint64_t s = away / NS_PER_S;
	uint64_t more;

	/* A map of a day away, or a rate that nobody knows: nothing known. */
	if (s > 86400 || sigma_ppb > NS_PER_S || sigma_ns > NS_PER_S)
		return UINT64_MAX;
	more = s * sigma_ppb + away % NS_PER_S * sigma_ppb / NS_PER_S;
	return sigma_ns + more;
}

static bool holds(uint32_t state)
{
	return state == TSALIGN_COARSE || state == TSALIGN_LOCKED ||
	       state == TSALIGN_HOLDOVER;
}

/* The newest map; the one before it where that is being written. */
static bool read_map(struct capture_align *a)
{
	int r;

	if (!a->page)
		return false;
	r = align_page_read(a->page, &a->map);
	if (r == 0)
		a->map_read = true;
	else if (r != -EAGAIN)
		a->map_read = false;
	if (a->map_read && a->map.state == TSALIGN_GONE) {
		let_go(a);
		look_later(a); /* what is found next may be gone as well */
	}
	return a->map_read;
}

static bool near(uint64_t a, uint64_t b)
{
	return (a > b ? a - b : b - a) <= CAPTURE_ALIGN_NEAR_NS;
}

/* The frame's count as the map has it. */
static uint64_t map_counter(const struct capture_align *a,
			    const struct capture_frame *f,
			    const struct sample *s)
{
	uint32_t step;

	if (a->submit.fd >= 0)
		return s->counter - s->lead;
	/* The frame's 32 bits, extended next to the map's counter. */
	step = f->sequence - a->sequence_shift - (uint32_t)a->map.base_counter;
	return a->map.base_counter + (uint64_t)(int64_t)(int32_t)step;
}

/* A page that is of this frame's count, and holds. */
static bool page_is_ours(const struct capture_align *a)
{
	bool ticks = a->submit.fd >= 0;

	if (!holds(a->map.state) || (ticks && a->submit.restart))
		return false;
	return a->map.counter ==
	       (ticks ? TSALIGN_COUNT_TICKS : TSALIGN_COUNT_EVENTS);
}

/* A clock's time, by a rule's offset elsewhere. */
static uint64_t shifted(uint64_t ns, int64_t by_ns)
{
	uint64_t back_ns = -(uint64_t)by_ns;

	if (by_ns >= 0)
		return ns + (uint64_t)by_ns;
	return ns > back_ns ? ns - back_ns : 0;
}

static bool by_kernel(struct capture_align *a, const struct capture_frame *f,
		      const struct sample *s, struct reading *ret)
{
	const struct tsalign_page *p = &a->map;
	struct tsa_map map;
	uint64_t now_ns;

	if (!read_map(a) || !page_is_ours(a) || a->rule.module_lacks)
		return false;
	/* Not of this start: its frames count from 0 again. */
	if (p->updated_ns < a->started_ns)
		return false;
	if (p->reference != TSALIGN_REF_BOOTTIME &&
	    p->reference != TSALIGN_REF_TAI)
		return false;
	map = (struct tsa_map){p->base_counter, p->base_ns, p->mult, p->shift};
	ret->ns = tsa_map_apply(&map, map_counter(a, f, s));
	ret->sigma_ns =
		sigma_at(p->sigma_ns, p->sigma_ppb, p->base_ns, ret->ns);
	if (p->reference == TSALIGN_REF_TAI) {
		if (align_clock_look(&a->tai, a->sys, CLOCK_TAI, &now_ns))
			a->anew = true;
		ret->ns = align_clock_to_boot(&a->tai, ret->ns);
		if (ret->sigma_ns != UINT64_MAX)
			ret->sigma_ns += align_clock_width_ns(&a->tai);
	}
	if (a->submit.fd >= 0 && ret->sigma_ns < UINT64_MAX - s->width_ns)
		ret->sigma_ns += s->width_ns;
	ret->by = CAPTURE_ALIGNED_KERNEL;
	ret->line_epoch = p->epoch;
	/* Farther off, it is another frame's: the counts have slipped. */
	if (!near(shifted(ret->ns, -a->rule.module_ns), s->stamp_ns))
		return false;
	ret->ns = shifted(ret->ns, align_rule_more(&a->rule, p));
	return true;
}

static bool by_estimate(struct capture_align *a, const struct sample *s,
			struct reading *ret)
{
	struct tsa_estimate *e = &a->estimate;

	tsa_fit_estimate(&a->fit, s->now_ns, e);
	if (!holds(e->state))
		return false;
	ret->ns = tsa_map_apply(&e->map, s->counter - s->lead);
	ret->sigma_ns =
		sigma_at(e->sigma_ns, e->sigma_ppb, e->map.base_ns, ret->ns);
	if (ret->sigma_ns != UINT64_MAX)
		ret->sigma_ns += s->width_ns;
	ret->by = CAPTURE_ALIGNED_ESTIMATE;
	ret->line_epoch = e->epoch;
	if (!near(ret->ns, s->stamp_ns))
		return false;
	ret->ns = shifted(ret->ns, a->rule.offset_ns);
	return true;
}

/* A stream that was made late knows less than we do, for a while. */
static bool knows_less(struct capture_align *a, const struct sample *s,
		       const struct reading *kernel)
{
	struct reading own;

	return a->submit.fd >= 0 && a->by == CAPTURE_ALIGNED_ESTIMATE &&
	       by_estimate(a, s, &own) && kernel->sigma_ns / 2 > own.sigma_ns;
}

/* By the nominal rate. */
static uint64_t lead_ns(const struct capture_align *a, const struct sample *s)
{
	return a->device_hz ? s->lead * NS_PER_S / a->device_hz : 0;
}

/* --- what the frame is given ---------------------------------------------- */

/* What no line knows of. */
static void widen(const struct capture_align *a, const struct sample *s,
		  struct reading *r)
{
	uint64_t more_ns = a->tick_ns + align_rule_doubt(&a->rule, s->stamp_ns);

	if (a->guessed || r->sigma_ns > UINT64_MAX - more_ns)
		r->sigma_ns = UINT64_MAX;
	else
		r->sigma_ns += more_ns;
}

static void publish(struct capture_align *a, struct reading *r,
		    struct capture_frame *f)
{
	if (!a->any || a->anew || r->by != a->by ||
	    r->line_epoch != a->line_epoch || f->epoch != a->frame_epoch) {
		a->epoch++;
		a->last_ns = 0;
	}
	a->any = true;
	a->anew = false;
	a->by = r->by;
	a->line_epoch = r->line_epoch;
	a->frame_epoch = f->epoch;
	/* A line's own promise; kept here too, whoever broke it. */
	if (r->ns <= a->last_ns) {
		if (r->sigma_ns < UINT64_MAX - (a->last_ns + 1 - r->ns))
			r->sigma_ns += a->last_ns + 1 - r->ns;
		r->ns = a->last_ns + 1;
	}
	a->last_ns = r->ns;
	f->aligned = (struct capture_aligned){
		.ns = r->ns,
		.sigma_ns = r->sigma_ns,
		.epoch = a->epoch,
		.by = r->by,
	};
}

void capture_align_frame(struct capture_align *a, struct capture_frame *frame)
{
	struct sample s = {0};
	struct reading r = {0};

	frame->aligned = (struct capture_aligned){0};
	if (frame->flags & CAPTURE_FRAME_BLANK)
		return;
	read_frame(a, frame, &s);
	align_rule_follow(&a->rule, frame, s.stamp_ns, s.now_ns);
	if ((!by_kernel(a, frame, &s, &r) || knows_less(a, &s, &r)) &&
	    !by_estimate(a, &s, &r)) {
		r.by = CAPTURE_ALIGNED_STAMP;
		r.ns = s.stamp_ns - MIN(s.stamp_ns, lead_ns(a, &s));
		r.ns = shifted(r.ns, a->rule.offset_ns);
		r.sigma_ns = UINT64_MAX;
		r.line_epoch = 0;
	}
	widen(a, &s, &r);
	publish(a, &r, frame);
}

static void describe_estimate(const struct tsa_estimate *e,
			      struct capture_alignment *ret)
{
	*ret = (struct capture_alignment){
		.state = CAPTURE_ALIGN_WAITING,
		.epoch = e->epoch,
		.sigma_ns = holds(e->state) ? e->sigma_ns : UINT64_MAX,
		.drift_ppb = e->drift_ppb,
		.jitter_ns = e->jitter_ns,
		.samples = e->samples,
		.outliers = e->outliers,
		.lost = e->lost,
	};
	if (e->state == TSALIGN_COARSE)
		ret->state = CAPTURE_ALIGN_COARSE;
	else if (e->state == TSALIGN_LOCKED)
		ret->state = CAPTURE_ALIGN_LOCKED;
	else if (e->state == TSALIGN_HOLDOVER)
		ret->state = CAPTURE_ALIGN_HOLDOVER;
}

static void describe_rule(const struct align_rule *rule,
			  struct capture_alignment *ret)
{
	bool kernel = ret->by == CAPTURE_ALIGNED_KERNEL;

	if (!rule->wanted)
		return;
	ret->wrong = rule->wrong;
	ret->delay_ns = kernel ? -rule->module_ns - rule->more_ns
			       : -rule->offset_ns;
	if (!kernel || rule->more_ns)
		ret->point = rule->setting.point ? rule->setting.point
						 : rule->setting.stamped;
}

int capture_align_state(const struct capture_align *a,
			struct capture_alignment *ret)
{
	if (!a->any)
		return -EAGAIN;
	if (a->by == CAPTURE_ALIGNED_KERNEL) {
		align_page_describe(&a->map, &a->stream, ret);
		describe_rule(&a->rule, ret);
		return 0;
	}
	describe_estimate(&a->estimate, ret);
	ret->by = a->by;
	describe_rule(&a->rule, ret);
	ret->minor = a->minor;
	ret->updated_ns = a->last_ns;
	return 0;
}

const char *capture_align_state_name(enum capture_align_state state)
{
	static const char *const names[] = {
		[CAPTURE_ALIGN_FREE] = "free",
		[CAPTURE_ALIGN_WAITING] = "waiting",
		[CAPTURE_ALIGN_COARSE] = "coarse",
		[CAPTURE_ALIGN_LOCKED] = "locked",
		[CAPTURE_ALIGN_HOLDOVER] = "holdover",
		[CAPTURE_ALIGN_GONE] = "gone",
	};
	size_t i = (size_t)state;

	return i < ARRAY_SIZE(names) ? names[i] : "?";
}

const char *capture_align_point_name(enum capture_align_point point)
{
	static const char *const names[] = {
		[CAPTURE_ALIGN_AS_STAMPED] = "as-stamped",
		[CAPTURE_ALIGN_ARRIVAL] = "arrival",
		[CAPTURE_ALIGN_START_OF_FRAME] = "start-of-frame",
		[CAPTURE_ALIGN_END_OF_FRAME] = "end-of-frame",
		[CAPTURE_ALIGN_START_OF_EXPOSURE] = "start-of-exposure",
		[CAPTURE_ALIGN_MID_EXPOSURE] = "mid-exposure",
	};
	size_t i = (size_t)point;

	return i < ARRAY_SIZE(names) ? names[i] : "?";
}

const char *capture_aligned_by_name(enum capture_aligned_by by)
{
	static const char *const names[] = {
		[CAPTURE_ALIGNED_NOT] = "none",
		[CAPTURE_ALIGNED_STAMP] = "stamp",
		[CAPTURE_ALIGNED_ESTIMATE] = "estimate",
		[CAPTURE_ALIGNED_KERNEL] = "kernel",
	};
	size_t i = (size_t)by;

	return i < ARRAY_SIZE(names) ? names[i] : "?";
}
