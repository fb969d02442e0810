/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of a supervised source: what its two files share, and the seam by
 * which tests supply the sources that it opens.
 */
#ifndef CAPTURE_SRC_SUPERVISOR_H
#define CAPTURE_SRC_SUPERVISOR_H

#include <stdbool.h>

#include <capture/supervisor.h>

#include "src/frame.h"
#include "src/limits.h"
#include "src/source_backend.h"
#include "src/supervisor_call.h"

struct frame_pool;
struct supervisor;

enum supervisor_state {
	SUPERVISOR_OFF = 0,   /* by the user; may have lost its source */
	SUPERVISOR_RUNNING,   /* the source is on */
	SUPERVISOR_NO_SIGNAL, /* open but off; asked again at act_ns */
	SUPERVISOR_WAITING,   /* closed; opened again at act_ns */
	SUPERVISOR_CLOSED     /* lives for frames that are out */
};

/* What a user holds: a frame of a source, or of the blank picture. */
struct supervised_frame {
	struct frame_holder holder;
	struct supervisor *supervisor;
	struct capture_frame *inner; /* NULL: free */
	uint32_t open;		     /* of which open of the source; 0: blank */
};

struct supervisor {
	struct capture_source base;
	struct capture_supervisor_config config; /* points into the copies */
	char path[CAPTURE_SUPERVISOR_PATH_BYTES];
	char match[CAPTURE_SUPERVISOR_PATH_BYTES];
	char label[CAPTURE_SUPERVISOR_LABEL_BYTES];
	uint32_t fourccs[CAPTURE_SUPERVISED_FOURCCS_MAX];
	struct capture_settings *settings; /* NULL: none */
	source_open_fn *open;

	enum supervisor_state state;
	struct capture_source *inner; /* NULL: closed */
	uint32_t inner_buffers;	      /* that may be out before it has none */
	uint64_t now_ns;	      /* of this turn, CLOCK_MONOTONIC */
	uint64_t act_ns;	      /* of NO_SIGNAL and WAITING */
	uint64_t last_ns; /* a frame, or the start: stalls count from it */
	uint64_t started_ns;
	uint64_t check_ns;	  /* ask for the signal; UINT64_MAX: never */
	bool starved;		  /* all buffers were out since last_ns */
	bool restarted;		  /* once, and not stable since */
	bool restored;		  /* by the user: to be closed */
	bool gone;		  /* UNPLUGGED was told */
	enum capture_signal lost; /* OK: no loss was told */
	uint64_t random;	  /* of the jitter */
	uint32_t failures;	  /* in a row */
	uint32_t polls;		  /* for a signal, in a row */
	bool refused_known;
	struct capture_format refused; /* the last that was told */

	/* Since trouble began, until the next frame of the source. */
	bool outage;
	uint64_t outage_from_ns;

	/* A call that takes long, and has the source meanwhile. */
	struct supervisor_call *call; /* NULL: none */
	enum supervisor_op call_op;
	uint64_t call_from_ns;
	bool call_told;				/* STUCK was */
	struct capture_source_stats call_stats; /* of its source, before it */

	/* Frames. A new holder of the epoch begins the next one. */
	uint32_t opens;	 /* of sources; the number of the last */
	uint32_t starts; /* the same of starts */
	uint32_t epoch;
	bool epoch_used;
	uint32_t epoch_start;
	uint32_t epoch_inner; /* the source's own */
	uint32_t out;
	uint32_t inner_out; /* of the last open */
	uint32_t free_count;
	uint32_t free[CAPTURE_SUPERVISED_OUT_MAX];
	struct supervised_frame frames[CAPTURE_SUPERVISED_OUT_MAX];

	/* Blank pictures. */
	struct frame_pool *pool; /* NULL: none of this format */
	struct capture_frame *picture;
	const char *picture_text; /* what is drawn in it */
	uint64_t blank_ns;	  /* when the next one is due */
	uint32_t blank_sequence;

	/* Waking the user. */
	int epoll_fd;
	int timer_fd;
	int watched_fd;	   /* in the epoll set; -EBADF: none */
	uint64_t armed_ns; /* 0: not known */

	struct capture_source_stats closed; /* sums over closed sources */
	struct capture_supervisor_stats stats;
};

/**
 * supervisor_open_by() - capture_supervisor_open() with other sources
 * @open: as capture_source_open()
 */
int supervisor_open_by(const struct sys_ops *sys,
		       const struct capture_supervisor_config *config,
		       source_open_fn *open,
		       struct capture_source **ret_source) MUST_CHECK;

/* --- supervisor_setup.c ------------------------------------------------- */

/*
 * Checks @config and copies it, save that its settings are still the user's.
 * Return: 0, -EINVAL or -ENOMEM.
 */
int supervisor_configure(struct supervisor *s,
			 const struct capture_supervisor_config *config)
	MUST_CHECK;

/*
 * Finds the node and opens it; nothing of @s changes but the path.
 * Return: as capture_source_open() or the resolver; -EINPROGRESS: s->call.
 */
int supervisor_open_inner(struct supervisor *s,
			  struct capture_source **ret_inner) MUST_CHECK;

/* Of the first open: waits for s->call to the end. Return: -ETIMEDOUT too. */
int supervisor_wait_open(struct supervisor *s,
			 struct capture_source **ret_inner) MUST_CHECK;

/* Until when a call is waited for; by the real clock, as threads are. */
uint64_t supervisor_soon_ns(void);

/* It takes longer: @s has it now. */
void supervisor_hold_call(struct supervisor *s, enum supervisor_op op,
			  struct supervisor_call *call);

/* Whether frames of both can be used alike. */
bool supervisor_same_shape(const struct capture_format *a,
			   const struct capture_format *b);
/* Whether they are equal in all that a user may see. */
bool supervisor_same_format(const struct capture_format *a,
			    const struct capture_format *b);

/* Adds the counters of @from. */
void supervisor_add_stats(struct capture_source_stats *sum,
			  const struct capture_source_stats *from);

/* The wait after one more of @count, which it counts: longer each time. */
uint64_t supervisor_backoff_ns(struct supervisor *s, uint32_t *count,
			       uint64_t max_ns);

/* --- supervisor_frames.c ------------------------------------------------ */

/* All of @s are free. */
void supervisor_init_frames(struct supervisor *s);

/*
 * Hands out a frame of the source; the reference of @inner goes with it.
 * There must be a free one.
 */
struct capture_frame *supervisor_wrap(struct supervisor *s,
				      struct capture_frame *inner);

/* Memory for blank pictures of the present format, if asked for. */
void supervisor_init_blank(struct supervisor *s);
void supervisor_fini_blank(struct supervisor *s);

/* Whether blank pictures are to be given now. */
bool supervisor_is_blank(const struct supervisor *s);

/* The next blank frame, or NULL: it is not due, or there is no room. */
struct capture_frame *supervisor_take_blank(struct supervisor *s,
					    uint64_t now_ns);

/* --- supervisor.c ------------------------------------------------------- */

/* A frame of the open numbered @open came back. May free @s. */
void supervisor_frame_back(struct supervisor *s, uint32_t open);

#endif
