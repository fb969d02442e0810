// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sees the buffers of every V4L2 capture queue without a patch, through
 * tracepoints that the kernel has anyway:
 *
 *	vb2_qbuf	who gives which buffer (identifies the queue)
 *	vb2_buf_done	arrival: time and CPU, often in a hard interrupt
 *	vb2_dqbuf	stamp and sequence, which some drivers (vivid) set late
 *	v4l2_qbuf, v4l2_dqbuf	the minor, right after vb2's in the same task
 *
 * V4L2 need not be loaded, and comes and goes. A queue is known by its address
 * alone and is never touched outside a probe, since nobody tells when it dies.
 */
#include <linux/kconfig.h>

#include "tsalign_int.h"

#if defined(CONFIG_TRACEPOINTS) && IS_ENABLED(CONFIG_VIDEO_DEV)
#include <linux/device.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/tracepoint.h>
#include <linux/videodev2.h>
#include <media/videobuf2-v4l2.h>

struct tsa_arrival {
	u64 ns;			/* BOOTTIME */
	u32 cpu;
	u32 done;		/* the rest holds */
};

/* What each buffer touches is the first cache line, and its arrival's. */
struct tsa_queue {
	struct tsa_stream *stream;
	const void *task;	/* that called last, and for which buffer */
	u64 called;		/* the how manieth call that was */
	u64 used_ns;
	u32 task_index;
	s32 minor;		/* -1: not known (yet) */
	u32 type;
	u32 sequence;
	bool sequenced;
	bool holds;		/* @held waits for the minor */
	bool ruled;
	struct tsa_arrival arrival[TSA_QUEUE_BUFFERS] __aligned(16);
	const void *dev;	/* q->dev: to compare */
	const void *code;	/* in the driver's module: to compare */
	struct tsa_stream *fresh;	/* taken for it, not installed yet */
	struct tsalign_rule rule;
	struct tsa_sample held;
} ____cacheline_aligned;

static DEFINE_RAW_SPINLOCK(tsa_v4l2_lock);

/* Likewise: one line while there are few queues. */
static struct {
	struct tsa_queue *all;	/* TSA_QUEUES_MAX */
	struct tsa_queue *last;	/* of the last call, or NULL */
	u64 calls;
	u64 seen;
	u32 waiting;		/* queues that have a task */
	u32 used;		/* none beyond it was ever claimed */
	const void *q[TSA_QUEUES_MAX];	/* whose @all[i] is; NULL: free */
} queues ____cacheline_aligned;

static struct tsa_stream *spares[TSA_SPARES];
static struct {
	u64 unarmed, refused, beyond;
} counts;

/* Drivers whose buffers are done in the interrupt of a known moment. */
static const struct {
	const char *driver;
	enum tsalign_point stamped;
} drivers[] = {
	{ "imx7-csi", TSALIGN_POINT_EOF },
	{ "mxc-isi", TSALIGN_POINT_EOF },
	{ "j721e-csi2rx", TSALIGN_POINT_EOF },
	{ "qcom-camss", TSALIGN_POINT_EOF },
	{ "rkisp1", TSALIGN_POINT_EOF },
	{ "dcmipp", TSALIGN_POINT_EOF },
	{ "sun6i-csi", TSALIGN_POINT_EOF },
	{ "unicam", TSALIGN_POINT_EOF },
};

/* Capture queues of V4L2 with a clock of their own. */
static tsa_hot bool wanted(const struct vb2_queue *q)
{
	/* DVB's buffers have no sequence; a copied stamp is another's. */
	if (q->buf_struct_size < sizeof(struct vb2_v4l2_buffer) ||
	    q->is_output ||
	    (q->timestamp_flags & V4L2_BUF_FLAG_TIMESTAMP_MASK) ==
	    V4L2_BUF_FLAG_TIMESTAMP_COPY)
		return false;
	return !V4L2_TYPE_IS_OUTPUT(q->type);
}

static tsa_hot struct tsa_queue *queue_find(const void *q)
{
	u32 i;

	for (i = 0; i < READ_ONCE(queues.used); i++)
		if (READ_ONCE(queues.q[i]) == q)
			return &queues.all[i];
	return NULL;
}

static const void **queue_owner(const struct tsa_queue *e)
{
	return &queues.q[e - queues.all];
}

/* With tsa_v4l2_lock held. */
static struct tsa_queue *queue_free(void)
{
	struct tsa_queue *e = queue_find(NULL);

	if (!e && queues.used < TSA_QUEUES_MAX) {
		e = &queues.all[queues.used];
		WRITE_ONCE(queues.used, queues.used + 1);
	}
	return e;
}

/* With tsa_v4l2_lock held, as for all below until the probes. */
static tsa_hot void queue_answered(struct tsa_queue *e)
{
	queues.waiting -= !!e->task;
	e->task = NULL;
}

static void queue_drop(struct tsa_queue *e)
{
	WRITE_ONCE(*queue_owner(e), NULL);
	queue_answered(e);
	if (queues.last == e)
		queues.last = NULL;
	if (e->stream)
		tsa_stream_leave(e->stream);
	tsa_stream_put(e->stream);
	/* Not used when the name's former stream was taken up again. */
	tsa_stream_put(e->fresh);
	e->stream = NULL;
	e->fresh = NULL;
}

static void default_rule(struct tsa_queue *e, struct device *dev)
{
	/* Read once: an unbind at the same time clears it. */
	const struct device_driver *driver = dev ? READ_ONCE(dev->driver) : NULL;
	size_t i;

	e->ruled = dev && tsa_sensor_rule(dev, &e->rule);
	if (e->ruled && e->rule.stamped != TSALIGN_POINT_UNKNOWN)
		return;
	if (!e->ruled)
		e->rule = (struct tsalign_rule){ .strobe = TSA_NO_ID };
	e->rule.stamped = TSALIGN_POINT_ARRIVAL;
	for (i = 0; driver && i < ARRAY_SIZE(drivers); i++)
		if (!strcmp(driver->name, drivers[i].driver))
			e->rule.stamped = drivers[i].stamped;
	if (!e->ruled)
		e->rule.point = e->rule.stamped;
	e->ruled = true;
}

static struct tsa_stream *spare_take(void)
{
	struct tsa_stream *s;
	u32 i;

	for (i = 0; i < TSA_SPARES; i++) {
		s = spares[i];
		if (s) {
			spares[i] = NULL;
			return s;
		}
	}
	return NULL;
}

static struct tsa_queue *queue_claim(const struct vb2_queue *q)
{
	u64 now = ktime_get_boottime_ns();
	struct tsa_queue *e = queue_free();
	u32 i;

	if (!e) {
		/* The longest silent one, if it may be dead. */
		e = &queues.all[0];
		for (i = 1; i < TSA_QUEUES_MAX; i++)
			if (queues.all[i].used_ns < e->used_ns)
				e = &queues.all[i];
		if (now - e->used_ns < 10ULL * NSEC_PER_SEC) {
			counts.refused++;
			return NULL;
		}
		queue_drop(e);
	}
	memset(e, 0, sizeof(*e));
	e->fresh = spare_take();
	e->minor = -1;
	e->type = q->type;
	e->dev = q->dev;
	e->code = q->ops;
	e->used_ns = now;
	default_rule(e, q->dev);
	/* A probe that finds it finds the rest. */
	smp_store_release(queue_owner(e), q);
	if (!e->fresh)
		tsa_refresh_soon();
	return e;
}

/* Gives @e its stream, now that its name is known; false: not to be had. */
static bool queue_name(struct tsa_queue *e)
{
	struct tsalign_stream info = {
		.kind = TSALIGN_V4L2,
		.minor = e->minor,
		.counter = TSALIGN_COUNT_EVENTS,
		.counter_bits = 32,
	};
	struct tsa_stream *s;
	u32 i;

	if (e->stream)
		return true;
	if (!e->fresh)
		e->fresh = spare_take();
	if (!e->fresh) {
		counts.refused++;
		tsa_refresh_soon();
		return false;
	}
	if (e->minor >= 0)
		snprintf(info.name, sizeof(info.name), TSA_V4L2_PREFIX "%d",
			 e->minor);
	else
		snprintf(info.name, sizeof(info.name),
			 TSA_V4L2_PREFIX "queue%u", (u32)(e - queues.all));
	/* The same minor's former queue has died: replugged, or opened anew. */
	for (i = 0; i < queues.used && e->minor >= 0; i++)
		if (&queues.all[i] != e && queues.q[i] &&
		    queues.all[i].minor == e->minor)
			queue_drop(&queues.all[i]);
	if (tsa_stream_install(e->fresh, &info, &e->rule, NULL, &s)) {
		counts.refused++;
		return false;
	}
	if (s == e->fresh)
		e->fresh = NULL;
	e->stream = s;
	/* With a strobe the rule's offset is the strobe's. */
	if (e->rule.strobe != TSA_NO_ID)
		(void)tsa_stream_set_rule(s, &e->rule);
	tsa_refresh_soon();
	return true;
}

static tsa_hot void queue_flush(struct tsa_queue *e)
{
	if (!e->holds)
		return;
	e->holds = false;
	if (queue_name(e))
		tsa_stream_sample(e->stream, &e->held);
}

/* --- probes: no allocation, no sleep -------------------------------------------- */

static tsa_hot void probe_buf_done(void *data, struct vb2_queue *q,
				   struct vb2_buffer *vb)
{
	struct tsa_stream *stream;
	struct tsa_arrival *a;
	struct tsa_queue *e;

	if (vb->state == VB2_BUF_STATE_QUEUED)
		return;
	e = queue_find(q);
	if (!e || vb->index >= TSA_QUEUE_BUFFERS)
		return;
	/* Whoever takes the buffer comes soon. */
	stream = READ_ONCE(e->stream);
	if (stream)
		tsa_stream_prefetch(stream);
	a = &e->arrival[vb->index];
	a->cpu = raw_smp_processor_id();
	a->ns = ktime_get_boottime_ns();
	/* Pairs with buffer_sample(). */
	smp_store_release(&a->done, 1);
}

/* Who called for which buffer: V4L2's own tracepoint comes next. */
static tsa_hot void queue_called(struct tsa_queue *e, u32 index)
{
	queues.waiting += !e->task;
	e->task = current;
	e->task_index = index;
	e->called = ++queues.calls;
	queues.last = e;
}

static tsa_hot void probe_qbuf(void *data, struct vb2_queue *q,
			       struct vb2_buffer *vb)
{
	struct tsa_queue *e;
	unsigned long flags;

	if (!wanted(q))
		return;
	raw_spin_lock_irqsave(&tsa_v4l2_lock, flags);
	e = queue_find(q) ?: queue_claim(q);
	if (e && vb->index < TSA_QUEUE_BUFFERS) {
		WRITE_ONCE(e->arrival[vb->index].done, 0);
		queue_called(e, vb->index);
	}
	raw_spin_unlock_irqrestore(&tsa_v4l2_lock, flags);
}

/* Which sample the buffer is; the counter restarts at each STREAMON. */
static tsa_hot void buffer_sample(struct tsa_queue *e,
				  const struct vb2_buffer *vb,
				  struct tsa_sample *ret)
{
	const struct vb2_v4l2_buffer *vbuf =
		container_of(vb, struct vb2_v4l2_buffer, vb2_buf);
	struct tsa_arrival *a = &e->arrival[vb->index];

	ret->counter = vbuf->sequence;
	ret->stamp_ns = vb->timestamp;
	/* Pairs with probe_buf_done(). */
	if (smp_load_acquire(&a->done)) {
		ret->host_ns = a->ns;
		ret->cpu = a->cpu;
	} else {
		/* Dequeued by another CPU before that one said so. */
		counts.unarmed++;
		ret->host_ns = ktime_get_boottime_ns();
		ret->cpu = raw_smp_processor_id();
	}
	WRITE_ONCE(a->done, 0);
	e->used_ns = ret->host_ns;
	if (vb->state == VB2_BUF_STATE_ERROR) {
		/* Not each driver gives a spoilt one a sequence of its own. */
		ret->flags |= TSALIGN_EVF_ERROR;
		return;
	}
	ret->restart = e->sequenced &&
		       (s32)(vbuf->sequence - e->sequence) <= 0;
	e->sequence = vbuf->sequence;
	e->sequenced = true;
}

static tsa_hot void probe_dqbuf(void *data, struct vb2_queue *q,
				struct vb2_buffer *vb)
{
	struct tsa_sample sample = { };
	struct tsa_queue *e;
	unsigned long flags;

	if (!wanted(q))
		return;
	raw_spin_lock_irqsave(&tsa_v4l2_lock, flags);
	e = queue_find(q) ?: queue_claim(q);
	if (!e)
		goto out;
	if (vb->index >= TSA_QUEUE_BUFFERS) {
		counts.beyond++;
		goto out;
	}
	queues.seen++;
	queue_called(e, vb->index);
	/* No minor came for the last one: read(), or a driver's own thread. */
	queue_flush(e);
	buffer_sample(e, vb, &sample);
	if (e->stream) {
		tsa_stream_sample(e->stream, &sample);
	} else {
		e->held = sample;
		e->holds = true;
		if (e->minor >= 0)
			queue_flush(e);
	}
out:
	raw_spin_unlock_irqrestore(&tsa_v4l2_lock, flags);
}

/* This task's last call; NULL: none. */
static struct tsa_queue *called_last(void)
{
	struct tsa_queue *found = NULL;
	u32 i;

	for (i = 0; i < queues.used; i++) {
		struct tsa_queue *e = &queues.all[i];

		if (!queues.q[i] || e->task != current)
			continue;
		/* Older calls failed since, or were read()'s: nobody's word. */
		if (found && found->called > e->called) {
			queue_answered(e);
			continue;
		}
		if (found)
			queue_answered(found);
		found = e;
	}
	return found;
}

static void queue_minor(struct tsa_queue *e, s32 minor)
{
	if (e->minor != minor && e->stream) {
		/* Another device at the address of one that died. */
		tsa_stream_leave(e->stream);
		tsa_stream_put(e->stream);
		e->stream = NULL;
	}
	e->minor = minor;
	queue_flush(e);
}

/* The same task has just been in vb2 for the same buffer. */
static tsa_hot void probe_v4l2_buffer(void *data, int minor,
				      struct v4l2_buffer *buf)
{
	struct tsa_queue *e;
	unsigned long flags;

	raw_spin_lock_irqsave(&tsa_v4l2_lock, flags);
	e = queues.last;
	if (!e || e->task != current)
		e = queues.waiting ? called_last() : NULL;
	if (e && e->type == buf->type && e->task_index == buf->index) {
		queue_answered(e);
		if (e->minor != minor || e->holds)
			queue_minor(e, minor);
	}
	raw_spin_unlock_irqrestore(&tsa_v4l2_lock, flags);
}

/* --- tracepoints, which come and go with their modules ---------------------------- */

static struct tsa_probe {
	const char *name;
	void *call;
	struct tracepoint *tp;	/* registered with */
} probes[] = {
	{ "vb2_buf_done", probe_buf_done },
	{ "vb2_qbuf", probe_qbuf },
	{ "vb2_dqbuf", probe_dqbuf },
	{ "v4l2_qbuf", probe_v4l2_buffer },
	{ "v4l2_dqbuf", probe_v4l2_buffer },
};

static void probe_connect(struct tracepoint *tp, void *unused)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		if (probes[i].tp || strcmp(tp->name, probes[i].name))
			continue;
		if (tracepoint_probe_register(tp, probes[i].call, NULL))
			pr_warn("tracepoint %s cannot be used\n", tp->name);
		else
			probes[i].tp = tp;
	}
}

static void probe_disconnect(struct tracepoint *tp)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		if (probes[i].tp != tp)
			continue;
		tracepoint_probe_unregister(tp, probes[i].call, NULL);
		probes[i].tp = NULL;
	}
}

bool tsa_v4l2_sees(void)
{
	return READ_ONCE(probes[0].tp) && READ_ONCE(probes[2].tp);
}

static int tracepoints_changed(struct notifier_block *nb, unsigned long action,
			       void *data)
{
	struct tp_module *tp_mod = data;
	struct module *mod = tp_mod->mod;
	unsigned int i;

	for (i = 0; i < mod->num_tracepoints; i++) {
		struct tracepoint *tp =
			tracepoint_ptr_deref(&mod->tracepoints_ptrs[i]);

		if (action == MODULE_STATE_COMING)
			probe_connect(tp, NULL);
		else if (action == MODULE_STATE_GOING)
			probe_disconnect(tp);
	}
	return NOTIFY_OK;
}

static struct notifier_block tracepoint_notifier = {
	.notifier_call = tracepoints_changed,
};

static void queues_drop(const struct module *mod, const struct device *dev)
{
	unsigned long flags;
	u32 i;

	raw_spin_lock_irqsave(&tsa_v4l2_lock, flags);
	for (i = 0; i < queues.used; i++) {
		struct tsa_queue *e = &queues.all[i];

		if (!queues.q[i])
			continue;
		if ((mod && within_module((unsigned long)e->code, mod)) ||
		    (dev && e->dev == dev))
			queue_drop(e);
	}
	raw_spin_unlock_irqrestore(&tsa_v4l2_lock, flags);
}

static int owner_changed(struct notifier_block *nb, unsigned long action,
			 void *data);
static struct notifier_block module_notifier = {
	.notifier_call = owner_changed,
};

static struct notifier_block platform_notifier = {
	.notifier_call = owner_changed,
};

/* The driver or its device goes, and all its queues with it. */
static int owner_changed(struct notifier_block *nb, unsigned long action,
			 void *data)
{
	if (nb == &module_notifier && action == MODULE_STATE_GOING)
		queues_drop(data, NULL);
	else if (nb == &platform_notifier && action == BUS_NOTIFY_UNBOUND_DRIVER)
		queues_drop(NULL, data);
	return NOTIFY_OK;
}

void tsa_v4l2_refill(void)
{
	struct tsa_stream *s;
	unsigned long flags;
	u32 i;

	for (i = 0; i < TSA_SPARES; i++) {
		if (READ_ONCE(spares[i]))
			continue;
		s = tsa_stream_alloc();
		if (!s)
			return;
		raw_spin_lock_irqsave(&tsa_v4l2_lock, flags);
		/* Not once tsa_v4l2_exit() has given them all back. */
		if (queues.all)
			swap(s, spares[i]);
		raw_spin_unlock_irqrestore(&tsa_v4l2_lock, flags);
		tsa_stream_put(s);
	}
}

static void disconnect(void)
{
	struct tsa_queue *old = queues.all;
	unsigned long flags;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(probes); i++)
		if (probes[i].tp)
			probe_disconnect(probes[i].tp);
	tracepoint_synchronize_unregister();
	raw_spin_lock_irqsave(&tsa_v4l2_lock, flags);
	for (i = 0; i < queues.used; i++)
		queue_drop(&queues.all[i]);
	queues.used = 0;
	for (i = 0; i < TSA_SPARES; i++) {
		tsa_stream_put(spares[i]);
		spares[i] = NULL;
	}
	queues.all = NULL;
	raw_spin_unlock_irqrestore(&tsa_v4l2_lock, flags);
	kvfree(old);
}

int tsa_v4l2_init(void)
{
	int r;

	queues.all = kvcalloc(TSA_QUEUES_MAX, sizeof(*queues.all), GFP_KERNEL);
	if (!queues.all)
		return -ENOMEM;
	tsa_v4l2_refill();
	r = register_module_notifier(&module_notifier);
	if (r)
		goto free;
	r = bus_register_notifier(&platform_bus_type, &platform_notifier);
	if (r)
		goto modules;
	for_each_kernel_tracepoint(probe_connect, NULL);
	r = register_tracepoint_module_notifier(&tracepoint_notifier);
	if (r)
		goto bus;
	return 0;
bus:
	bus_unregister_notifier(&platform_bus_type, &platform_notifier);
modules:
	unregister_module_notifier(&module_notifier);
free:
	disconnect();
	return r;
}

void tsa_v4l2_exit(void)
{
	unregister_tracepoint_module_notifier(&tracepoint_notifier);
	bus_unregister_notifier(&platform_bus_type, &platform_notifier);
	unregister_module_notifier(&module_notifier);
	disconnect();
}

int tsa_v4l2_show(struct seq_file *m, void *unused)
{
	unsigned long flags;
	size_t i;
	struct tsalign_rule rule;
	s32 minor;
	u32 id;

	for (i = 0; i < ARRAY_SIZE(probes); i++)
		seq_printf(m, "probe %s %s\n", probes[i].name,
			   READ_ONCE(probes[i].tp) ? "connected" : "absent");
	seq_printf(m, "buffers %llu unarmed %llu refused %llu beyond %llu\n",
		   READ_ONCE(queues.seen), READ_ONCE(counts.unarmed),
		   READ_ONCE(counts.refused), READ_ONCE(counts.beyond));
	for (i = 0; i < READ_ONCE(queues.used); i++) {
		const struct tsa_queue *e = &queues.all[i];

		raw_spin_lock_irqsave(&tsa_v4l2_lock, flags);
		id = queues.q[i] && e->stream ? e->stream->info.id : TSA_NO_ID;
		minor = e->minor;
		rule = e->rule;
		raw_spin_unlock_irqrestore(&tsa_v4l2_lock, flags);
		if (id != TSA_NO_ID)
			seq_printf(m, "queue %u stream %u minor %d stamped %u point %u delay_ns %lld\n",
				   (u32)i, id, minor, rule.stamped, rule.point,
				   rule.delay_ns);
	}
	return 0;
}

#else /* no V4L2 or no tracepoints in this kernel */

int tsa_v4l2_init(void)
{
	return 0;
}

void tsa_v4l2_exit(void)
{
}

bool tsa_v4l2_sees(void)
{
	return false;
}

void tsa_v4l2_refill(void)
{
}

int tsa_v4l2_show(struct seq_file *m, void *unused)
{
	return 0;
}

#endif
