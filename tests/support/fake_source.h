/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device behind `struct source_ops` for tests of what stands on sources,
 * and a `struct sys_ops` whose time is the fake's and whose epoll and timer
 * descriptors are watched instead of waited for.
 *
 * One device; its sources are as many as were opened. A frame is made every
 * FAKE_SOURCE_FRAME_NS while it is on and nothing is wrong. Frames and
 * sources are checked: whatever is given back twice aborts.
 */
#ifndef SUPPORT_FAKE_SOURCE_H
#define SUPPORT_FAKE_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include <capture/source.h>

#include "base/sys.h"

#define FAKE_SOURCE_FRAME_NS UINT64_C(40000000)
#define FAKE_SOURCE_BUFFERS 4u
#define FAKE_SOURCE_OPENS_MAX 8192u

struct fake_source {
	/* What goes wrong. */
	bool unplugged;		    /* open and all else: -ENODEV */
	bool hang;		    /* no frames */
	bool hang_restart;	    /* no frames until the next start */
	bool hang_reopen;	    /* no frames until the next open */
	enum capture_signal signal; /* OK at first */
	bool noise;		    /* frames come without a signal too */
	bool stale;		    /* dequeue: -ESTALE until the next open */
	int error;		    /* of the next dequeue, once */
	int open_error;		    /* while it is set */
	int start_error;
	int stop_error;
	uint64_t open_ns;	      /* what an open takes */
	struct capture_format format; /* of the next open */
	/* Called on the thread that calls: "open", "start", "stop", "close". */
	void (*enter)(const char *call);
	void (*leave)(const char *call);
	/* What happened. */
	unsigned int live;  /* sources that were not freed */
	unsigned int opens; /* tried */
	uint64_t open_at_ns[FAKE_SOURCE_OPENS_MAX];
	unsigned int starts;
	unsigned int frames; /* handed out */
	unsigned int released;
	char path[64]; /* of the last open */
	/* The descriptors. */
	uint64_t timer_ns; /* when it fires; 0: never */
	unsigned int timer_sets;
};

/* Starts over. The device is well and gives 64 x 48 YU12. */
struct fake_source *fake_source_reset(void);

/* As capture_source_open(). */
int fake_source_open(const struct sys_ops *sys,
		     const struct capture_source_config *config,
		     struct capture_source **ret_source);

const struct sys_ops *fake_source_ops(void);
uint64_t fake_source_now_ns(void);
void fake_source_advance(uint64_t ns);

/*
 * What a user who polls the supervisor's descriptor sees: time passes until
 * the timer fires or a watched source has something to say, or until @max_ns
 * later. Return: whether it is readable.
 */
bool fake_source_poll(uint64_t max_ns);

#endif
