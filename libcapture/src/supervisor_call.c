/* SPDX-License-Identifier: Apache-2.0 */
#include "src/supervisor_call.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <capture/frame.h>
#include <capture/settings.h>

#include "base/sys.h"
#include "src/limits.h"
#include "src/thread.h"

struct supervisor_call {
	pthread_mutex_t lock; /* of done, abandoned and frames */
	pthread_cond_t returned;
	bool done;
	bool abandoned; /* the thread frees it */

	const struct sys_ops *sys;
	enum supervisor_op op;
	source_open_fn *open;
	struct capture_source_config config; /* points into the copies */
	char *path;
	uint32_t *fourccs;
	struct capture_settings *settings;
	struct capture_settings_error error;
	struct capture_source *source;
	int result;
	struct capture_frame *frames[CAPTURE_SUPERVISED_OUT_MAX];
	uint32_t frame_count;
};

static void call_free(struct supervisor_call *c)
{
	(void)capture_settings_free(c->settings);
	free(c->path);
	free(c->fourccs);
	thread_fini_lock(&c->lock, &c->returned);
	free(c);
}

static void return_frames(struct supervisor_call *c)
{
	while (c->frame_count)
		(void)capture_frame_unref(c->frames[--c->frame_count]);
}

/* --- the thread --------------------------------------------------------- */

static void run(struct supervisor_call *c)
{
	switch (c->op) {
	case SUPERVISOR_OPEN:
		c->result = c->open(c->sys, &c->config, &c->source);
		break;
	case SUPERVISOR_START:
		c->result = capture_source_start(c->source);
		break;
	case SUPERVISOR_STOP:
		c->result = capture_source_stop(c->source);
		break;
	case SUPERVISOR_CLOSE:
		c->source = capture_source_close(c->source);
		break;
	}
}

static void *thread_main(void *arg)
{
	struct supervisor_call *c = arg;
	bool abandoned;

	run(c);
	(void)pthread_mutex_lock(&c->lock);
	c->done = true;
	abandoned = c->abandoned;
	(void)pthread_cond_signal(&c->returned);
	(void)pthread_mutex_unlock(&c->lock);
	if (abandoned) { /* else @c may be gone */
		return_frames(c);
		(void)capture_source_close(c->source);
		call_free(c);
	}
	return NULL;
}

/* --- making it ---------------------------------------------------------- */

static int copy_config(struct supervisor_call *c,
		       const struct capture_source_config *config)
{
	size_t bytes = config->fourcc_count * sizeof(*c->fourccs);
	int r;

	c->config = *config;
	if (config->path) {
		c->path = strdup(config->path);
		c->config.path = c->path;
	}
	if (bytes) {
		c->fourccs = malloc(bytes);
		if (c->fourccs)
			memcpy(c->fourccs, config->fourccs, bytes);
		c->config.fourccs = c->fourccs;
	}
	if ((config->path && !c->path) || (bytes && !c->fourccs))
		return -ENOMEM;
	if (!config->settings)
		return 0;
	r = capture_settings_dup(config->settings, &c->settings);
	if (r < 0)
		return r;
	c->settings->error = &c->error;
	c->config.settings = c->settings;
	return 0;
}

int supervisor_call_new(const struct sys_ops *sys, enum supervisor_op op,
			const struct capture_source_config *config,
			source_open_fn *open, struct capture_source *source,
			struct supervisor_call **ret_call)
{
	struct supervisor_call *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	r = thread_init_lock(&c->lock, &c->returned);
	if (r < 0) {
		free(c);
		return r;
	}
	c->sys = sys;
	c->op = op;
	c->open = open;
	c->source = source;
	r = config ? copy_config(c, config) : 0;
	if (r == 0)
		r = thread_start(thread_main, c);
	if (r < 0) {
		call_free(c);
		return r;
	}
	*ret_call = c;
	return 0;
}

bool supervisor_call_wait(struct supervisor_call *c, uint64_t deadline_ns)
{
	bool done;

	(void)pthread_mutex_lock(&c->lock);
	while (!c->done && deadline_ns &&
	       thread_wait(&c->lock, &c->returned, deadline_ns))
		;
	done = c->done;
	(void)pthread_mutex_unlock(&c->lock);
	return done;
}

bool supervisor_call_keep(struct supervisor_call *c,
			  struct capture_frame *frame)
{
	bool keep;

	(void)pthread_mutex_lock(&c->lock);
	keep = !c->done && c->frame_count < ARRAY_SIZE(c->frames);
	if (keep)
		c->frames[c->frame_count++] = frame;
	(void)pthread_mutex_unlock(&c->lock);
	return keep;
}

int supervisor_call_end(struct supervisor_call *c,
			struct capture_settings_error *error,
			struct capture_source **ret_source)
{
	int r = c->result;

	return_frames(c);
	if (error && c->settings)
		*error = c->error;
	*ret_source = c->op == SUPERVISOR_OPEN && r < 0 ? NULL : c->source;
	call_free(c);
	return r;
}

void supervisor_call_abandon(struct supervisor_call *c)
{
	struct capture_source *source;
	bool done;

	(void)pthread_mutex_lock(&c->lock);
	c->abandoned = true;
	done = c->done;
	(void)pthread_mutex_unlock(&c->lock);
	if (!done)
		return;
	(void)!supervisor_call_end(c, NULL, &source);
	(void)capture_source_close(source);
}

const char *supervisor_op_name(enum supervisor_op op)
{
	static const char *const names[] = {
		[SUPERVISOR_OPEN] = "open",
		[SUPERVISOR_START] = "start",
		[SUPERVISOR_STOP] = "stop",
		[SUPERVISOR_CLOSE] = "close",
	};

	return names[op];
}
