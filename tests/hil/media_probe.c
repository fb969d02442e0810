/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The media controller by the library, for tests in a guest: a JSON line each.
 *
 *	media_probe graph
 *	media_probe match TEXT
 *	media_probe stream LINKS FORMATS TEXT FOURCC WIDTHxHEIGHT FRAMES
 *
 * `stream` sets links and formats ("-": none), streams from the node that
 * TEXT matches, and puts back what was.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <capture/media.h>
#include <capture/source.h>

static int failed(const char *what, int r, const char *why)
{
	(void)printf(
		"{\"failed\": \"%s\", \"error\": \"%s\", \"why\": \"%s\"}\n",
		what, strerror(-r), why);
	return 1;
}

static int graph(void)
{
	struct capture_media_list *list;
	size_t i;
	size_t j;
	int r;

	r = capture_media_list_new(NULL, &list);
	if (r < 0)
		return failed("list", r, "");
	for (i = 0; i < list->count; i++) {
		const struct capture_media_graph *g = list->graphs[i];

		(void)printf("{\"path\": \"%s\", \"driver\": \"%s\", "
			     "\"pads\": %zu, \"links\": %zu, \"entities\": {",
			     g->path, g->driver, g->pad_count, g->link_count);
		for (j = 0; j < g->entity_count; j++)
			(void)printf("%s\"%s\": \"%s\"", j ? ", " : "",
				     g->entities[j].name, g->entities[j].path);
		(void)printf("}}\n");
	}
	(void)capture_media_list_free(list);
	return 0;
}

static int match(const char *text)
{
	char path[CAPTURE_PATH_BYTES];
	int r = capture_device_match(NULL, text, path);

	if (r < 0)
		return failed("match", r, text);
	(void)printf("{\"match\": \"%s\", \"path\": \"%s\"}\n", text, path);
	return 0;
}

static uint64_t soon(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec +
	       5000000000u;
}

static int frames_of(struct capture_source *s, int wanted)
{
	struct capture_frame *f;
	int frames;
	int r;

	r = capture_source_start(s);
	for (frames = 0; r == 0 && frames < wanted; frames++) {
		r = capture_source_dequeue(s, soon(), &f);
		if (r == 0)
			(void)capture_frame_unref(f);
	}
	(void)capture_source_stop(s);
	return r < 0 ? r : frames;
}

static int stream_from(const char *path, const char *fourcc, const char *size,
		       int wanted)
{
	uint32_t code =
		CAPTURE_FOURCC(fourcc[0], fourcc[1], fourcc[2], fourcc[3]);
	struct capture_source_config config = {
		.path = path,
		.fourccs = &code,
		.fourcc_count = 1,
	};
	struct capture_source *s;
	int r;

	if (sscanf(size, "%ux%u", &config.width, &config.height) != 2)
		return -EINVAL;
	r = capture_source_open(NULL, &config, &s);
	if (r < 0)
		return r;
	r = frames_of(s, wanted);
	(void)capture_source_close(s);
	return r;
}

static int stream(char **argv)
{
	const struct capture_media_setup_config config = {
		.links = strcmp(argv[0], "-") ? argv[0] : NULL,
		.formats = strcmp(argv[1], "-") ? argv[1] : NULL,
	};
	struct capture_media_setup *setup;
	char why[CAPTURE_MEDIA_WHY_BYTES];
	char path[CAPTURE_PATH_BYTES];
	int restored;
	int r;

	r = capture_media_setup_apply(NULL, &config, &setup, why);
	if (r < 0)
		return failed("setup", r, why);
	r = capture_device_match(NULL, argv[2], path);
	if (r == 0)
		r = stream_from(path, argv[3], argv[4], atoi(argv[5]));
	restored = capture_media_setup_restore(setup);
	if (r < 0)
		return failed("stream", r, "");
	if (restored < 0)
		return failed("restore", restored, "");
	(void)printf("{\"frames\": %d, \"path\": \"%s\"}\n", r, path);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "graph"))
		return graph();
	if (argc == 3 && !strcmp(argv[1], "match"))
		return match(argv[2]);
	if (argc == 8 && !strcmp(argv[1], "stream") && strlen(argv[5]) == 4)
		return stream(argv + 2);
	return failed("usage: graph, match or stream", -EINVAL, "");
}
