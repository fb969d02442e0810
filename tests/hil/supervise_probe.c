/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A supervised source against everything that vivid can do to it; run it in
 * a guest, see test_supervision.sh. Prints "ok - ..." and "not ok - ...".
 *
 *	supervise_probe inject	each error injection control, over and over
 *	supervise_probe rebind	the driver leaves and comes back
 *	supervise_probe signal MODE-CONTROL
 *				no signal, no lock, ... at a receiver's input
 *
 * After each kind of trouble, frames come again, and descriptors, dma-bufs
 * and memory are what they were. Exit: 0; 1: something was not ok.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/videodev2.h>

#include <capture/settings.h>
#include <capture/supervisor.h>

#include "base/macros.h"
#include "base/sys.h"

#define MS UINT64_C(1000000)
#define S (1000 * MS)
#define NODE "/dev/video0"
#define DRIVER "/sys/bus/platform/drivers/vivid/"
#define ROUNDS 20u
#define RECOVERY_NS (20 * S)
/* What the allocator may keep for itself. */
#define RSS_SLACK_KB 1024

#define KINDS (CAPTURE_EVENT_STUCK + 1)

static struct {
	struct capture_source *source;
	unsigned int told[KINDS];
	enum capture_signal signal; /* of the last loss */
	char text[CAPTURE_SUPERVISOR_TEXT_BYTES];
	bool any;
	uint32_t epoch;
	uint32_t sequence;
	uint64_t stamp_ns;
	unsigned int disorder; /* sequence or stamp back within an epoch */
	unsigned int strange;  /* track, flags, size */
	uint64_t blanks;
	uint64_t blank_hash; /* of the last blank picture */
	bool verbose;
} run;

static int failed;

static PRINTF(2, 3) void check(bool holds, const char *format, ...)
{
	va_list args;

	printf("%s - ", holds ? "ok" : "not ok");
	va_start(args, format);
	(void)vprintf(format, args);
	va_end(args);
	if (!holds)
		printf(" (last event: %s)", run.text);
	printf("\n");
	(void)fflush(stdout);
	failed |= !holds;
}

static uint64_t now_ns(void)
{
	return sys_now_ns(sys_posix(), CLOCK_MONOTONIC);
}

static void on_event(void *ctx, const struct capture_supervisor_event *event)
{
	(void)ctx;
	run.told[event->kind]++;
	if (event->kind == CAPTURE_EVENT_SIGNAL_LOST)
		run.signal = event->signal;
	(void)snprintf(run.text, sizeof(run.text), "%s", event->text);
	if (run.verbose)
		printf("# %llu %s: %s\n",
		       (unsigned long long)(event->at_ns / MS),
		       capture_supervisor_kind_name(event->kind), event->text);
}

/* --- what may leak ------------------------------------------------------ */

struct usage {
	unsigned int fds;
	long rss_kb;
	long dmabufs; /* of the whole machine; -1: the kernel does not say */
};

static struct usage usage_now(void)
{
	struct usage u = {.dmabufs = -1};
	char line[256];
	struct dirent *entry;
	DIR *dir = opendir("/proc/self/fd");
	FILE *f;

	while (dir && (entry = readdir(dir)))
		u.fds += entry->d_name[0] != '.';
	if (dir)
		(void)closedir(dir);
	f = fopen("/proc/self/statm", "re");
	if (f && fscanf(f, "%*d %ld", &u.rss_kb) == 1)
		u.rss_kb *= sysconf(_SC_PAGESIZE) / 1024;
	if (f)
		(void)fclose(f);
	f = fopen("/sys/kernel/debug/dma_buf/bufinfo", "re");
	while (f && fgets(line, sizeof(line), f))
		(void)!sscanf(line, "Total %ld objects", &u.dmabufs);
	if (f)
		(void)fclose(f);
	return u;
}

static void check_usage(const char *name, const struct usage *a)
{
	struct usage b = usage_now();

	check(b.fds == a->fds, "%s: %u descriptors, as before (%u)", name,
	      b.fds, a->fds);
	check(b.dmabufs == a->dmabufs, "%s: %ld dma-bufs, as before (%ld)",
	      name, b.dmabufs, a->dmabufs);
	check(b.rss_kb <= a->rss_kb + RSS_SLACK_KB,
	      "%s: %ld KiB of memory, before %ld", name, b.rss_kb, a->rss_kb);
}

/* --- the device --------------------------------------------------------- */

#define CONTROLS_MAX 32u

static struct {
	char key[CAPTURE_CONTROL_NAME_BYTES];
	uint32_t id;
} controls[CONTROLS_MAX];

/* Looked up once: an injection may be for the next call of anybody. */
static void find_controls(void)
{
	static const char *const keys[] = {
		"inject_v4l2_buf_flag_error",
		"inject_vidioc_qbuf_error",
		"inject_vidioc_streamon_error",
		"inject_vidioc_reqbufs_error",
		"inject_fatal_streaming_error",
		"percentage_of_dropped_buffers",
		"disconnect",
		"wrap_sequence_number",
		"wrap_timestamp",
		"dv_timings_signal_mode",
		"standard_signal_mode",
		"dv_timings",
	};
	struct capture_control_list *list = NULL;
	size_t i;
	size_t k;

	if (capture_control_list_new(NULL, NODE, &list) < 0) {
		printf("not ok - no controls at " NODE "\n");
		exit(1);
	}
	for (k = 0; k < ARRAY_SIZE(keys); k++) {
		(void)snprintf(controls[k].key, sizeof(controls[k].key), "%s",
			       keys[k]);
		for (i = 0; i < list->count; i++) {
			if (!strcmp(list->controls[i].key, keys[k]))
				controls[k].id = list->controls[i].id;
		}
	}
	(void)capture_control_list_free(list);
}

/* By a descriptor of its own, closed again. Return: 0 or -errno. */
static int set(const char *key, int value)
{
	struct v4l2_control c = {.value = value};
	size_t i;
	int fd;
	int r;

	for (i = 0; i < CONTROLS_MAX; i++) {
		if (!strcmp(controls[i].key, key))
			c.id = controls[i].id;
	}
	fd = open(NODE, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = ioctl(fd, VIDIOC_S_CTRL, &c) < 0 ? -errno : 0;
	(void)close(fd);
	return r;
}

/* --- frames ------------------------------------------------------------- */

static void open_source(const struct capture_supervisor_config *config)
{
	int r;

	memset(&run.told, 0, sizeof(run.told));
	run.any = false;
	r = capture_supervisor_open(NULL, config, &run.source);
	if (r == 0)
		r = capture_source_start(run.source);
	check(r == 0, "open and start: %s", strerror(-r));
	if (r < 0)
		exit(1);
}

static void look_at(const struct capture_frame *f)
{
	const struct capture_plane *plane = &f->planes[0];
	uint32_t i;

	if (run.any && f->epoch == run.epoch) {
		/* Unsigned: a wrap is a step forward. */
		run.disorder += f->sequence - run.sequence - 1 > INT32_MAX;
		run.disorder += f->stamp_ns <= run.stamp_ns;
	}
	run.disorder += run.any && f->epoch < run.epoch;
	run.any = true;
	run.epoch = f->epoch;
	run.sequence = f->sequence;
	run.stamp_ns = f->stamp_ns;
	run.strange += f->track_id != 9 || !plane->map;
	if (!(f->flags & CAPTURE_FRAME_BLANK))
		return;
	run.blanks++;
	run.blank_hash = 14695981039346656037u;
	for (i = 0; i < plane->bytesused; i++)
		run.blank_hash =
			(run.blank_hash ^ plane->map[i]) * 1099511628211u;
}

/* One frame or none, by poll or by a deadline, turn and turn about. */
static int take(struct capture_frame **ret)
{
	static unsigned int turns;
	int r;

	if (turns++ % 2) {
		struct pollfd p = {.fd = capture_source_fd(run.source),
				   .events = POLLIN};

		(void)poll(&p, 1, 1000);
		r = capture_source_dequeue(run.source, 0, ret);
	} else {
		r = capture_source_dequeue(run.source, now_ns() + S, ret);
	}
	if (r < 0 && r != -EAGAIN && r != -ETIMEDOUT)
		check(false, "dequeue: %s", strerror(-r));
	return r;
}

/* Frames of the device: @count of them, in time? */
static bool frames(unsigned int count)
{
	uint64_t end = now_ns() + RECOVERY_NS;
	struct capture_frame *f;

	while (count && now_ns() < end) {
		if (take(&f) < 0)
			continue;
		look_at(f);
		count -= !(f->flags & CAPTURE_FRAME_BLANK);
		(void)capture_frame_unref(f);
	}
	return !count;
}

/* Takes what comes until @kind was told @count times. */
static bool until_told(enum capture_supervisor_kind kind, unsigned int count)
{
	uint64_t end = now_ns() + RECOVERY_NS;
	struct capture_frame *f;

	while (run.told[kind] < count && now_ns() < end) {
		if (take(&f) < 0)
			continue;
		look_at(f);
		(void)capture_frame_unref(f);
	}
	return run.told[kind] >= count;
}

static struct capture_source_stats stats_now(void)
{
	struct capture_source_stats stats;

	capture_source_stats(run.source, &stats);
	return stats;
}

static struct capture_supervisor_config config_of(void)
{
	static const uint32_t fourccs[] = {CAPTURE_FORMAT_YU12};
	struct capture_supervisor_config config = {
		.source = {.path = NODE,
			   .fourccs = fourccs,
			   .fourcc_count = 1,
			   .track_id = 9},
		.frame_ns = 700 * MS,
		.backoff_min_ns = 20 * MS,
		.backoff_max_ns = 500 * MS,
		.stable_ns = 100 * MS,
		.signal_ns = 200 * MS,
		.event = on_event,
	};

	return config;
}

/* --- inject ------------------------------------------------------------- */

enum counted { NOTHING, FRAMES_ERROR, FRAMES_LOST };

static const struct injection {
	const char *name;
	const char *first;  /* control, and its value */
	const char *second; /* another, or NULL */
	int value;
	unsigned int rounds;
	bool quiet; /* no event: it is mended underneath */
	enum capture_supervisor_kind kind;  /* else these must be told */
	enum capture_supervisor_kind ended; /* each round, the trouble and */
	enum counted counted;		    /* its end */
} injections[] = {
	{.name = "a buffer flagged with an error",
	 .first = "inject_v4l2_buf_flag_error",
	 .rounds = ROUNDS,
	 .quiet = true,
	 .counted = FRAMES_ERROR},
	{.name = "QBUF fails",
	 .first = "inject_vidioc_qbuf_error",
	 .rounds = ROUNDS,
	 .quiet = true},
	{.name = "a fatal streaming error",
	 .first = "inject_fatal_streaming_error",
	 .rounds = ROUNDS,
	 .kind = CAPTURE_EVENT_FAILED,
	 .ended = CAPTURE_EVENT_RESTARTED},
	{.name = "STREAMON fails after it",
	 .first = "inject_vidioc_streamon_error",
	 .second = "inject_fatal_streaming_error",
	 .rounds = ROUNDS,
	 .kind = CAPTURE_EVENT_FAILED,
	 .ended = CAPTURE_EVENT_REOPENED},
	{.name = "disconnected",
	 .first = "disconnect",
	 .rounds = ROUNDS,
	 .kind = CAPTURE_EVENT_UNPLUGGED,
	 .ended = CAPTURE_EVENT_REPLUGGED},
	{.name = "REQBUFS fails after it",
	 .first = "inject_vidioc_reqbufs_error",
	 .second = "disconnect",
	 .rounds = ROUNDS,
	 .kind = CAPTURE_EVENT_UNPLUGGED,
	 .ended = CAPTURE_EVENT_REPLUGGED},
	{.name = "half of the buffers dropped",
	 .first = "percentage_of_dropped_buffers",
	 .value = 50,
	 .rounds = ROUNDS,
	 .quiet = true,
	 .counted = FRAMES_LOST},
};

static bool inject_once(const struct injection *i, unsigned int round)
{
	if (set(i->first, i->value) < 0)
		return false;
	if (i->second && set(i->second, 0) < 0)
		return false;
	if (i->quiet)
		return frames(6);
	return until_told(i->kind, round) && until_told(i->ended, round) &&
	       frames(6);
}

static void inject(const struct injection *i)
{
	struct capture_source_stats before = stats_now();
	struct capture_source_stats after;
	unsigned int round;
	unsigned int done = 0;
	struct usage u;

	memset(&run.told, 0, sizeof(run.told));
	for (round = 1; round <= i->rounds; round++) {
		done += inject_once(i, round);
		if (round == 1) /* what is used once is no leak */
			u = usage_now();
	}
	if (i->value)
		(void)set(i->first, 0);
	check(done == i->rounds, "%s: %u of %u times back", i->name, done,
	      i->rounds);
	check_usage(i->name, &u);
	after = stats_now();
	if (i->counted == FRAMES_ERROR)
		check(after.frames_error - before.frames_error == i->rounds,
		      "%s: counted", i->name);
	if (i->counted == FRAMES_LOST)
		check(after.frames_lost > before.frames_lost, "%s: counted",
		      i->name);
	if (i->quiet)
		check(!run.told[CAPTURE_EVENT_FAILED] &&
			      !run.told[CAPTURE_EVENT_UNPLUGGED],
		      "%s: no restart for that", i->name);
	check(!run.disorder && !run.strange,
	      "%s: %u frames out of order, %u strange", i->name, run.disorder,
	      run.strange);
}

/* All buffers dropped: no frame comes, though all is well. */
static void starve(void)
{
	unsigned int round;
	unsigned int done = 0;
	struct usage u = usage_now();

	memset(&run.told, 0, sizeof(run.told));
	for (round = 1; round <= 4; round++) {
		bool reopen = round % 2 == 0;
		unsigned int opened = run.told[CAPTURE_EVENT_REOPENED];

		if (set("percentage_of_dropped_buffers", 100) < 0)
			break;
		if (!until_told(CAPTURE_EVENT_STALLED,
				run.told[CAPTURE_EVENT_STALLED] + 1) ||
		    (reopen && !until_told(CAPTURE_EVENT_REOPENED, opened + 1)))
			break;
		if (set("percentage_of_dropped_buffers", 0) < 0)
			break;
		done += frames(10);
		if (round == 2)
			u = usage_now();
	}
	check(done == 4, "all buffers dropped: %u of 4 times back", done);
	check(run.told[CAPTURE_EVENT_RESTARTED] >= 4,
	      "all buffers dropped: %u restarts first",
	      run.told[CAPTURE_EVENT_RESTARTED]);
	check_usage("all buffers dropped", &u);
}

static void wrap(const char *key, int value, const char *name)
{
	unsigned int failures = run.told[CAPTURE_EVENT_FAILED];
	bool ok;

	/* Read by the driver at the next start. */
	ok = set(key, value) == 0 &&
	     set("inject_fatal_streaming_error", 0) == 0 &&
	     until_told(CAPTURE_EVENT_FAILED, failures + 1) && frames(200);
	check(ok && !run.disorder, "%s: %u frames out of order", name,
	      run.disorder);
	(void)set(key, 0);
	(void)set("inject_fatal_streaming_error", 0);
	check(frames(6), "%s: over", name);
}

static void close_source(unsigned int fds)
{
	struct usage u;

	run.source = capture_source_close(run.source);
	u = usage_now();
	check(u.fds == fds, "closed: %u descriptors, %u before the open", u.fds,
	      fds);
	check(u.dmabufs <= 0, "closed: %ld dma-bufs", u.dmabufs);
}

static void run_inject(void)
{
	struct capture_supervisor_config config = config_of();
	unsigned int fds = usage_now().fds;
	size_t i;

	config.source.width = 320;
	config.source.height = 180;
	config.source.rate_num = 60;
	config.source.rate_den = 1;
	open_source(&config);
	check(frames(12), "frames come");
	for (i = 0; i < ARRAY_SIZE(injections); i++)
		inject(&injections[i]);
	starve();
	wrap("wrap_sequence_number", 1, "the sequence wraps");
	wrap("wrap_timestamp", 1, "the time stamp wraps at 64 bits");
	wrap("wrap_timestamp", 2, "the time stamp wraps at 32 bits");
	close_source(fds);
}

/* --- rebind ------------------------------------------------------------- */

static bool driver(const char *verb)
{
	char path[64];
	bool ok;
	int fd;

	(void)snprintf(path, sizeof(path), DRIVER "%s", verb);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ok = fd >= 0 && write(fd, "vivid.0", 7) == 7;
	if (fd >= 0)
		(void)close(fd);
	return ok;
}

/*
 * One round: unbind, see it go, bind, see it come back. @elsewhere: an open
 * descriptor keeps the old number in use, so that the node gets another.
 */
static bool rebind_once(bool elsewhere, bool *ret_held)
{
	unsigned int gone = run.told[CAPTURE_EVENT_UNPLUGGED];
	unsigned int back = run.told[CAPTURE_EVENT_REPLUGGED];
	uint32_t epoch = run.epoch;
	struct capture_frame *held = NULL;
	uint32_t sum = 0;
	uint32_t i;
	int fd = -1;
	bool ok;

	while (take(&held) < 0)
		;
	if (elsewhere)
		fd = open(NODE, O_RDWR | O_CLOEXEC);
	ok = driver("unbind") &&
	     until_told(CAPTURE_EVENT_UNPLUGGED, gone + 1) && driver("bind");
	ok = ok && until_told(CAPTURE_EVENT_REPLUGGED, back + 1) && frames(6);
	if (elsewhere)
		ok = ok && !strstr(run.text, NODE ":");
	/* The frame of the device that is no more is still there. */
	for (i = 0; i < held->planes[0].bytesused; i++)
		sum += held->planes[0].map[held->planes[0].offset + i];
	*ret_held = sum != 0;
	(void)capture_frame_unref(held);
	if (fd >= 0)
		(void)close(fd);
	return ok && run.epoch > epoch;
}

static void run_rebind(void)
{
	struct capture_supervisor_config config = config_of();
	unsigned int fds = usage_now().fds;
	struct usage u = usage_now();
	unsigned int done = 0;
	unsigned int valid = 0;
	unsigned int i;

	config.source.path = NULL;
	config.match = "platform:vivid-000";
	config.source.width = 320;
	config.source.height = 180;
	config.source.rate_num = 60;
	config.source.rate_den = 1;
	open_source(&config);
	check(frames(12), "frames come");
	for (i = 0; i < ROUNDS; i++) {
		bool held = false;

		done += rebind_once(i % 4 == 1, &held);
		valid += held;
		if (i == 1)
			u = usage_now();
	}
	check(done == ROUNDS, "unbound and bound: %u of %u times back", done,
	      ROUNDS);
	check(valid == ROUNDS, "frames stay valid: %u", valid);
	check(!run.disorder && !run.strange,
	      "same track, epochs that rise: %u, %u", run.disorder,
	      run.strange);
	check_usage("unbound and bound", &u);
	close_source(fds);
}

/* --- signal ------------------------------------------------------------- */

/* Blank pictures until there were some of the new cause. */
static bool blanks(unsigned int count)
{
	uint64_t end = now_ns() + RECOVERY_NS;
	uint64_t from = run.blanks;
	struct capture_frame *f;

	while (run.blanks < from + count && now_ns() < end) {
		if (take(&f) < 0)
			continue;
		look_at(f);
		(void)capture_frame_unref(f);
	}
	return run.blanks >= from + count;
}

static void lose(const char *control, int mode, enum capture_signal signal,
		 uint64_t *ret_hash)
{
	unsigned int lost = run.told[CAPTURE_EVENT_SIGNAL_LOST];
	unsigned int back = run.told[CAPTURE_EVENT_SIGNAL_BACK];
	const char *name = capture_signal_name(signal);
	bool ok;

	ok = set(control, mode) == 0 &&
	     until_told(CAPTURE_EVENT_SIGNAL_LOST, lost + 1);
	check(ok && run.signal == signal, "%s: told as \"%s\"", name,
	      capture_signal_name(run.signal));
	check(blanks(10), "%s: blank pictures", name);
	*ret_hash = run.blank_hash;
	ok = set(control, 0) == 0 &&
	     until_told(CAPTURE_EVENT_SIGNAL_BACK, back + 1);
	check(ok && frames(6), "%s: over", name);
}

static void flap(const char *control)
{
	unsigned int done = 0;
	unsigned int i;
	struct usage u = usage_now();

	for (i = 0; i < ROUNDS; i++) {
		unsigned int lost = run.told[CAPTURE_EVENT_SIGNAL_LOST];
		unsigned int back = run.told[CAPTURE_EVENT_SIGNAL_BACK];

		done += set(control, 1 + (int)i % 2) == 0 &&
			until_told(CAPTURE_EVENT_SIGNAL_LOST, lost + 1) &&
			blanks(2) && set(control, 0) == 0 &&
			until_told(CAPTURE_EVENT_SIGNAL_BACK, back + 1) &&
			frames(3);
		if (i == 1)
			u = usage_now();
	}
	check(done == ROUNDS, "lost and back: %u of %u times", done, ROUNDS);
	check_usage("lost and back", &u);
}

/* Another source at the same input. */
static void change_timings(const char *control, int value, uint32_t width)
{
	uint32_t old = capture_source_format(run.source)->width;
	unsigned int told = run.told[CAPTURE_EVENT_FORMAT_CHANGED];
	bool ok;

	ok = set(control, value) == 0 &&
	     until_told(CAPTURE_EVENT_FORMAT_CHANGED, told + 1) && frames(6);
	check(ok && capture_source_format(run.source)->width == width,
	      "other timings: %u wide, was %u",
	      capture_source_format(run.source)->width, old);
}

static void run_signal(const char *control)
{
	bool dv = !strcmp(control, "dv_timings_signal_mode");
	struct capture_settings settings = {
		.timings = dv ? CAPTURE_TIMINGS_AUTO : CAPTURE_TIMINGS_KEEP,
	};
	struct capture_supervisor_config config = config_of();
	unsigned int fds = usage_now().fds;
	uint64_t hash[3] = {1, 2, 3};

	config.source.settings = &settings;
	config.blank = CAPTURE_BLANK_SIGNAL;
	config.blank_label = "camera 7";
	open_source(&config);
	check(frames(6), "frames come");
	/* vivid's HDMI source without a signal has no power either. */
	lose(control, 1, dv ? CAPTURE_SIGNAL_NO_CABLE : CAPTURE_SIGNAL_NONE,
	     &hash[0]);
	lose(control, 2, CAPTURE_SIGNAL_NO_LOCK, &hash[1]);
	if (dv)
		lose(control, 3, CAPTURE_SIGNAL_RANGE, &hash[2]);
	check(hash[0] != hash[1] && hash[1] != hash[2] && hash[0] != hash[2],
	      "each cause has a picture of its own");
	flap(control);
	/* 640x480p59, the first that can be selected; then 1280x720p25. */
	if (dv) {
		change_timings(control, 4, 640);
		change_timings("dv_timings", 6, 1280);
	}
	check(!run.disorder && !run.strange,
	      "%u frames out of order, %u strange", run.disorder, run.strange);
	close_source(fds);
}

int main(int argc, char **argv)
{
	run.verbose = getenv("VERBOSE") != NULL;
	find_controls();
	if (argc == 2 && !strcmp(argv[1], "inject")) {
		run_inject();
	} else if (argc == 2 && !strcmp(argv[1], "rebind")) {
		run_rebind();
	} else if (argc == 3 && !strcmp(argv[1], "signal")) {
		run_signal(argv[2]);
	} else {
		(void)fprintf(stderr, "see the top of supervise_probe.c\n");
		return 1;
	}
	return failed;
}
