/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the module share. Locks, outermost first:
 *
 *	descriptor->lock	one opening of /dev/tsalign; a mutex
 *	triggers_lock	which outputs there are, on and off; a mutex
 *	show_lock	no board goes while it is shown; a mutex
 *	trigger->lock	what an output aims at
 *	tsa_v4l2_lock	queues (tsalign_v4l2.c)
 *	boards_lock	which boards there are (tsalign_gpio.c)
 *	tsa_table_lock	which stream has which id
 *	stream->lock	a stream's fit and page
 *	tsa_ref_lock	the reference clock
 *	ring_lock	the event ring
 *
 * All but the mutexes are raw and taken with interrupts off: samples come from
 * hard interrupts and from tracepoints under other drivers' locks.
 */
#ifndef TSALIGN_INT_H
#define TSALIGN_INT_H

#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/rcupdate.h>
#include <linux/seq_file.h>
#include <linux/spinlock.h>
#include <linux/timekeeping.h>
#include <linux/tsalign.h>

#include "tsalign_core.h"

#define TSA_NO_ID		(~0u)
#define TSA_RING_EVENTS		1024	/* a power of two */
#define TSA_READ_BATCH		8
#define TSA_QUEUES_MAX		32
#define TSA_QUEUE_BUFFERS	64
#define TSA_SPARES		4
#define TSA_LINES_MAX		24
#define TSA_SENSORS_MAX		16
#define TSA_V4L2_PREFIX		"v4l2-"	/* of the names of V4L2's streams */
#define TSA_AGE_MAX_NS		(600ULL * NSEC_PER_SEC)
#define TSA_OWNED_MAX		16	/* streams made by one descriptor */

/* --- streams: tsalign_stream.c ---------------------------------------------- */

/*
 * References: one of the table while it is not reclaimed, one of each who got
 * it from tsa_stream_get() or tsa_stream_install().
 */
struct tsa_stream {
	/* What each sample touches, up to the fit's buckets. */
	raw_spinlock_t lock;
	u32 seq;
	struct tsalign_page *map;	/* of @page, never read back */
	bool gone;
	bool ever;			/* had an owner before: replugged */
	enum tsalign_state state;
	s64 offset_ns;			/* of the rule */
	s64 sampled_offset_ns;		/* the same at the newest sample */
	struct tsa_unwrap unwrap;
	u64 mispaired;
	u64 updated_ns;
	u64 epochs_added;		/* by the reference */
	u64 epoch;			/* as published */
	u64 generation;			/* of the reference, as published */
	u64 sigma_ns;
	struct tsa_map published;
	u32 point;			/* the rule's, or what can be had */
	struct tsalign_rule rule;
	struct tsalign_stream info;	/* name, kind: constant once installed */
	struct tsa_fit fit;

	struct tsa_pairing pairing;
	u64 floods;			/* samples not looked at: too many */
	u64 gone_ns;
	const void *owner;		/* descriptor that may submit, or NULL */
	struct page *page;
	struct kref ref;
	struct rcu_head rcu;
};

struct tsa_sample {
	u64 counter;		/* raw */
	u64 host_ns;
	u64 stamp_ns;
	u32 width_ns;
	u32 cpu;
	u16 flags;		/* TSALIGN_EVF_* */
	bool unwrapped;		/* @counter has 64 bits already */
	bool restart;		/* the counter began anew: a new epoch */
	u64 arrival_ns;		/* event's host time, 0: as host_ns */
};

void tsa_streams_exit(void);

/* A stream that is in no table yet; NULL: no memory. May sleep. */
struct tsa_stream *tsa_stream_alloc(void);
void tsa_stream_put(struct tsa_stream *s);
/* 0: not NULL; any context. */
struct tsa_stream *tsa_stream_get(u32 id);

/*
 * Gives @fresh, or a stream of that name and kind which has gone, an id. Any
 * context. @fresh is taken over when it is what *ret points to, and stays the
 * caller's otherwise. -EEXIST, -ENOSPC.
 */
int tsa_stream_install(struct tsa_stream *fresh,
		       const struct tsalign_stream *info,
		       const struct tsalign_rule *rule, const void *owner,
		       struct tsa_stream **ret);

/* tsa_stream_alloc() and tsa_stream_install(); may sleep. ERR_PTR. */
struct tsa_stream *tsa_stream_add(const struct tsalign_stream *info,
				  const struct tsalign_rule *rule,
				  const void *owner);

/* The device has gone; the stream's page stays. Keeps the caller's ref. */
void tsa_stream_leave(struct tsa_stream *s);

/* A sample of it comes soon; @s may even have been freed. */
void tsa_stream_prefetch(const struct tsa_stream *s);

/* Any context but NMI. */
void tsa_stream_sample(struct tsa_stream *s, const struct tsa_sample *sample);

/* Unwraps and back-dates @pairs in place. */
int tsa_stream_burst(struct tsa_stream *s, struct tsalign_pair *pairs,
		     u32 count);
/* Its counter begins anew with the next sample. */
void tsa_stream_recount(struct tsa_stream *s);
void tsa_stream_restart(struct tsa_stream *s, enum tsalign_epoch_cause cause);
/* @cause 0: publishes them anew, no more. */
void tsa_streams_restart(enum tsalign_epoch_cause cause);
int tsa_stream_set_rule(struct tsa_stream *s, const struct tsalign_rule *rule);
void tsa_stream_rule(struct tsa_stream *s, struct tsalign_rule *ret);

/* An edge of line @id, for the streams that are paired with it. */
void tsa_streams_edge(u32 id, u64 edge_ns);

/* Publishes one, or all, anew, e.g. since the reference changed. */
void tsa_stream_refresh(struct tsa_stream *s);
static inline void tsa_streams_refresh(void)
{
	tsa_streams_restart(0);
}

u32 tsa_streams_count(void);
int tsa_name_check(const struct tsalign_stream *info);
int tsa_streams_show(struct seq_file *m, void *unused);

/* --- reference: tsalign_reference.c ----------------------------------------- */

void tsa_reference_init(enum tsalign_reference kind);
void tsa_reference_exit(void);
int tsa_reference_set(enum tsalign_reference kind, struct tsa_stream *phc);
enum tsalign_reference tsa_reference_kind(void);
/* Changes with each step of it. */
u64 tsa_reference_generation(void);

/* Of one moment. @generation: changes with each step of it, @cause says why. */
struct tsa_reference {
	u64 generation;
	enum tsalign_reference kind;
	enum tsalign_epoch_cause cause;
};

/*
 * Turns @map, counter -> BOOTTIME, into counter -> reference. Adds to @sigma.
 * -EAGAIN: the PHC's map does not hold; @ret is filled in also then.
 */
int tsa_reference_map(u64 counter, struct tsa_map *map, u64 *sigma_ns,
		      struct tsa_reference *ret);
int tsa_reference_from_boot(u64 boot_ns, u64 *ret_ns);
int tsa_reference_to_boot(u64 ref_ns, u64 *ret_ns);

/* @s published: the PHC's own map, when it is the reference. */
void tsa_reference_phc(const struct tsa_stream *s,
		       const struct tsa_estimate *e);

/* What to add to a time of @clock for BOOTTIME; -EINVAL, -ESTALE. */
int tsa_reference_clock(u32 clock, s64 *ret_offset, u64 *ret_set_ns);
/* Once a second. */
void tsa_reference_tick(void);

/* --- ring: tsalign_ring.c --------------------------------------------------- */

int tsa_ring_init(void);
void tsa_ring_exit(void);
void tsa_ring_put(const struct tsalign_event *event);
/* Nothing is written while nobody has it open; returns the first position. */
u64 tsa_ring_open(void);
void tsa_ring_close(void);
u64 tsa_ring_head(void);
bool tsa_ring_has(u64 position);
/* Up to @max events from *position on; a LOST record first when some are. */
u32 tsa_ring_take(u64 *position, struct tsalign_event *events, u32 max);
struct wait_queue_head *tsa_ring_wait(void);

/* --- V4L2: tsalign_v4l2.c --------------------------------------------------- */

int tsa_v4l2_init(void);
void tsa_v4l2_exit(void);
bool tsa_v4l2_sees(void);
int tsa_v4l2_show(struct seq_file *m, void *unused);
/* Refills what probes took, which must not allocate. */
void tsa_v4l2_refill(void);

/* --- device tree, lines, outputs -------------------------------------------- */

extern struct platform_driver tsa_platform_driver;

/* The rule that a sensor node tells for the capture device @dev, or false. */
bool tsa_sensor_rule(struct device *dev, struct tsalign_rule *ret);
void tsa_lines_show(struct seq_file *m);

struct gpio_desc;
int tsa_trigger_add(struct device *dev, const char *name,
		    struct gpio_desc *gpiod, const struct tsalign_trigger *set);
int tsa_trigger_get(struct tsalign_trigger *trigger);
int tsa_trigger_set(struct tsalign_trigger *trigger);
u32 tsa_triggers_count(void);
/* The reference changed: all aim anew. May sleep. */
void tsa_triggers_rearm(void);
/* No line stays active while the system sleeps. May sleep. */
void tsa_triggers_sleep(bool sleep);
void tsa_triggers_show(struct seq_file *m);

/* --- the rest --------------------------------------------------------------- */

/* *ret: its device. */
int tsa_cdev_init(struct device **ret);
void tsa_cdev_exit(void);
/* @dev: what it shows is read as long as that is there. */
void tsa_debugfs_init(struct device *dev);
void tsa_debugfs_exit(void);

extern bool tsa_inject;
/* Applies what is injected to @sample; returns how often to take it: 0..2. */
u32 tsa_inject_sample(u32 id, struct tsa_sample *sample);

/* tsa_streams_refresh() and tsa_triggers_rearm(), soon, from any context. */
void tsa_refresh_soon(void);

#endif /* TSALIGN_INT_H */
