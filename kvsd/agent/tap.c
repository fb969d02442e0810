/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/tap.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <capture/frame.h>
#include <kvs/producer.h>

#include "base/log.h"

#define PATH_CHARS 4096

struct tap {
	FILE *raw;
	FILE *frames;
	bool failed;
};

static FILE *create(const char *dir, const char *track, const char *name)
{
	char path[PATH_CHARS];

	(void)snprintf(path, sizeof(path), "%s/%s/%s", dir, track, name);
	return fopen(path, "we");
}

static int make_directory(const char *dir, const char *track)
{
	char path[PATH_CHARS];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, track);
	return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

int tap_open(const char *dir, const char *track, struct tap **ret_tap)
{
	int r = make_directory(dir, track);
	struct tap *t;
	int saved;

	if (r < 0)
		return r;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->raw = create(dir, track, "raw");
	t->frames = t->raw ? create(dir, track, "frames") : NULL;
	if (!t->frames) {
		saved = errno;
		(void)tap_close(t);
		return -saved;
	}
	*ret_tap = t;
	return 0;
}

void tap_raw(struct tap *t, const struct capture_frame *frame)
{
	unsigned long long bytes = 0;

	capture_frame_begin_read(NULL, frame);
	for (uint32_t i = 0; i < frame->plane_count; i++) {
		const struct capture_plane *p = &frame->planes[i];

		if (!p->map || fwrite(p->map + p->offset, 1, p->bytesused,
				      t->raw) != p->bytesused)
			t->failed = true;
		bytes += p->bytesused;
	}
	capture_frame_end_read(NULL, frame);
	if (fprintf(t->frames, "raw %llu %llu\n",
		    (unsigned long long)frame->stamp_ns, bytes) < 0)
		t->failed = true;
}

void tap_frame(struct tap *t, const struct kvs_frame *frame)
{
	if (fprintf(t->frames, "put %llu %llu %zu %d\n",
		    (unsigned long long)frame->time_ns,
		    (unsigned long long)frame->raw_stamp_ns, frame->bytes,
		    frame->key) < 0)
		t->failed = true;
}

struct tap *tap_close(struct tap *t)
{
	if (!t)
		return NULL;
	if (t->raw && fclose(t->raw))
		t->failed = true;
	if (t->frames && fclose(t->frames))
		t->failed = true;
	if (t->failed)
		log_error("tap", "not everything was written");
	free(t);
	return NULL;
}
