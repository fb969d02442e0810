/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which moment of a frame its aligned time tells: exposure and readout from
 * controls that may be anything, and a module that may have a rule already.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <linux/videodev2.h>

#include <capture/align.h>
#include <capture/source.h>

#include "src/align.h"
#include "src/align_rule.h"
#include "support/fake_clocks.h"
#include "support/fake_media.h"
#include "support/fake_v4l2.h"
#include "support/sys_fault.h"
#include "tsalign_core.h"

#define NODE_FD 2000
#define MODULE_FD 2001
#define MINOR 7
#define STREAM 3
#define NO_STROBE UINT32_MAX
/* Far more than any run makes: the sweep itself is bounded. */
#define CALLS_MAX 1000u
#define RATE 100000000 /* pixels per second */
/* 2000 clocks: a row takes 20 us, 480 of them 9.6 ms. */
#define BLANK (2000 - 640)
#define READOUT_NS (9600 * US)

/* --- the fake machine ----------------------------------------------------- */

struct control {
	uint32_t id;
	int64_t value;
	int64_t minimum;
	int64_t maximum;
};

static struct {
	struct sys_ops ops;
	/* By id 0 a list ends. */
	struct control node[8];
	struct control sensor[8];
	unsigned int reads; /* of controls */
	uint64_t read_ns;   /* what one takes */
	int error;	    /* of each */
	/* The module. */
	bool present;
	bool forbidden; /* to be written */
	struct tsalign_rule rule;
	unsigned int sets;
	unsigned int opens; /* that are there now */
	struct tsalign_page page;
} fake;

static struct control *find(struct control *c, uint32_t id)
{
	for (; c->id; c++) {
		if (c->id == id)
			return c;
	}
	return NULL;
}

static int query(struct control *list, struct v4l2_query_ext_ctrl *q)
{
	const struct control *c = find(list, q->id);

	if (!c)
		return -EINVAL;
	q->type = c->id == V4L2_CID_PIXEL_RATE ? V4L2_CTRL_TYPE_INTEGER64
					       : V4L2_CTRL_TYPE_INTEGER;
	q->minimum = c->minimum;
	q->maximum = c->maximum;
	return 0;
}

static int get(struct control *list, struct v4l2_ext_controls *all)
{
	const struct control *c = find(list, all->controls->id);

	assert_int_equal(all->count, 1);
	if (!c)
		return -EINVAL;
	fake.reads++;
	clocks.boot_ns += fake.read_ns;
	if (fake.error)
		return fake.error;
	if (c->id == V4L2_CID_PIXEL_RATE)
		all->controls->value64 = c->value;
	else
		all->controls->value = (int32_t)c->value;
	return 0;
}

static int set(const struct tsalign_rule *rule)
{
	const char *why;
	int64_t ns;

	if (fake.forbidden)
		return -EPERM;
	if (tsa_rule_offset(rule, &ns, &why) < 0)
		return -EINVAL;
	fake.sets++;
	fake.rule = *rule;
	return 0;
}

static int module_ioctl(unsigned long request, void *arg)
{
	struct tsalign_stream *stream = arg;
	struct tsalign_rule *rule = arg;

	if (request == TSALIGN_IOC_SET_RULE)
		return set(rule);
	if (request == TSALIGN_IOC_GET_RULE) {
		assert_int_equal(rule->id, STREAM);
		*rule = fake.rule;
		return 0;
	}
	assert_int_equal(request, TSALIGN_IOC_STREAM);
	if (stream->id != STREAM)
		return -ENOENT;
	stream->kind = TSALIGN_V4L2;
	stream->minor = MINOR;
	return 0;
}

static int fake_ioctl(int fd, unsigned long request, void *arg)
{
	struct control *list = fd == NODE_FD ? fake.node : fake.sensor;

	if (fd == MODULE_FD)
		return module_ioctl(request, arg);
	if (request == VIDIOC_QUERY_EXT_CTRL)
		return query(list, arg);
	if (request == VIDIOC_G_EXT_CTRLS)
		return get(list, arg);
	assert_int_not_equal(fd, NODE_FD);
	return fake_media_ops()->ioctl(fd, request, arg);
}

static int fake_openat(int dirfd, const char *path, int flags, mode_t mode)
{
	if (strcmp(path, "/dev/tsalign") != 0)
		return fake_media_ops()->openat(dirfd, path, flags, mode);
	if (!fake.present)
		return -ENOENT;
	if (fake.forbidden && (flags & O_ACCMODE) != O_RDONLY)
		return -EACCES;
	fake.opens++;
	return MODULE_FD;
}

static int fake_close(int fd)
{
	if (fd != MODULE_FD)
		return fake_media_ops()->close(fd);
	fake.opens--;
	return 0;
}

static int fake_mmap(size_t len, int prot, int flags, int fd, off_t offset,
		     void **ret_map)
{
	(void)len;
	(void)prot;
	(void)flags;
	(void)offset;
	assert_int_equal(fd, MODULE_FD);
	*ret_map = &fake.page;
	return 0;
}

static int fake_munmap(void *map, size_t len)
{
	(void)len;
	assert_ptr_equal(map, &fake.page);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	memset(&fake, 0, sizeof(fake));
	fake_v4l2_reset();
	(void)fake_media_reset();
	fake_v4l2_add(FAKE_CAMERA);
	fake_v4l2_add(FAKE_CAMERA);
	fake.ops = *fake_media_ops();
	fake_clocks_ops(&fake.ops, fake_openat, fake_close, fake_ioctl,
			fake_mmap, fake_munmap);
	fake.rule = (struct tsalign_rule){
		.id = STREAM,
		.stamped = TSALIGN_POINT_ARRIVAL,
		.point = TSALIGN_POINT_ARRIVAL,
		.strobe = NO_STROBE,
	};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(fake.opens, 0);
	return 0;
}

static const struct capture_format format = {.width = 640, .height = 480};

static const struct control in_rows[] = {
	{V4L2_CID_EXPOSURE, 100, 1, 100000},
	{V4L2_CID_HBLANK, BLANK, 0, 100000},
	{V4L2_CID_PIXEL_RATE, RATE, 1, RATE},
	{0},
};

static struct capture_align_setting mid(void)
{
	return (struct capture_align_setting){
		.point = CAPTURE_ALIGN_MID_EXPOSURE,
	};
}

static struct align_rule rule_for(struct capture_align_setting setting)
{
	struct align_rule r;

	align_rule_init(&r, &fake.ops);
	align_rule_attach(&r, &setting, NODE_FD, "/dev/video1", MINOR, &format);
	return r;
}

static void follow(struct align_rule *r)
{
	const struct capture_frame f = {.point = CAPTURE_POINT_END_OF_FRAME};

	clocks.boot_ns += S;
	align_rule_follow(r, &f, clocks.boot_ns, clocks.boot_ns);
}

/* --- times ---------------------------------------------------------------- */

static void rule_changes_nothing_unless_asked(void **state)
{
	struct align_rule r = rule_for((struct capture_align_setting){0});

	(void)state;
	memcpy(fake.node, in_rows, sizeof(in_rows));
	fake.present = true;
	align_rule_join(&r, STREAM, false);
	follow(&r);
	assert_int_equal(r.offset_ns, 0);
	assert_int_equal(fake.reads, 0);
	assert_int_equal(fake.sets, 0);
	align_rule_fini(&r);
}

static void rule_reads_rows_of_the_node(void **state)
{
	struct align_rule r;

	(void)state;
	memcpy(fake.node, in_rows, sizeof(in_rows));
	r = rule_for(mid());
	follow(&r);
	assert_null(r.wrong);
	assert_int_equal(r.exposure_ns, 2 * MS);
	assert_int_equal(r.readout_ns, READOUT_NS);
	assert_int_equal(r.offset_ns, -(int64_t)(MS + READOUT_NS / 2));
	align_rule_fini(&r);
}

/* As of USB cameras: they stamp the start, and have no rows. */
static void rule_reads_absolute_exposures(void **state)
{
	struct capture_frame f = {.point = CAPTURE_POINT_START_OF_EXPOSURE};
	struct align_rule r;

	(void)state;
	fake.present = true;
	fake.node[0] =
		(struct control){V4L2_CID_EXPOSURE_ABSOLUTE, 156, 1, 5000};
	fake.node[1] = (struct control){V4L2_CID_EXPOSURE, 9, 0, 10};
	r = rule_for(mid());
	align_rule_join(&r, STREAM, false);
	align_rule_follow(&r, &f, clocks.boot_ns, clocks.boot_ns);
	assert_int_equal(r.exposure_ns, 15600 * US);
	assert_int_equal(r.readout_ns, 0);
	assert_int_equal(r.offset_ns, 7800 * US);
	/* The module hears the end of a readout of unknown length. */
	assert_true(r.module_lacks);
	assert_int_equal(fake.rule.point, fake.rule.stamped);
	align_rule_fini(&r);
	/* So does who takes it for the end of the frame. */
	r = rule_for(mid());
	follow(&r);
	assert_string_equal(r.wrong, "readout");
	assert_int_equal(r.offset_ns, 0);
	align_rule_fini(&r);
}

/* The node's frames are scaled; what is read out is the sensor's 640 x 480. */
static void rule_reads_the_sensor_of_the_graph(void **state)
{
	static const struct capture_format scaled = {.width = 320,
						     .height = 240};
	const struct capture_align_setting setting = mid();
	struct align_rule r;

	(void)state;
	memcpy(fake.sensor, in_rows, sizeof(in_rows));
	align_rule_init(&r, &fake.ops);
	align_rule_attach(&r, &setting, NODE_FD, "/dev/video1", MINOR, &scaled);
	assert_true(r.subdev >= 0);
	follow(&r);
	assert_null(r.wrong);
	assert_int_equal(r.exposure_ns, 2 * MS);
	assert_int_equal(r.readout_ns, READOUT_NS);
	assert_int_equal(fake.reads, 3);
	align_rule_fini(&r);
	/* Of this node no enabled link leads up to a sensor. */
	align_rule_init(&r, &fake.ops);
	align_rule_attach(&r, &setting, NODE_FD, "/dev/video0", -1, &scaled);
	assert_int_equal(r.subdev, -EBADF);
	follow(&r);
	assert_string_equal(r.wrong, "exposure");
	assert_int_equal(r.offset_ns, 0);
	align_rule_fini(&r);
}

static void rule_believes_no_control(void **state)
{
	static const struct {
		uint32_t id;
		int64_t value, minimum, maximum;
		const char *wrong;
	} cases[] = {
		{V4L2_CID_PIXEL_RATE, 0, 0, RATE, "pixel rate"},
		{V4L2_CID_PIXEL_RATE, -1, -1, RATE, "pixel rate"},
		{V4L2_CID_PIXEL_RATE, INT64_MAX, 1, INT64_MAX, "pixel rate"},
		{V4L2_CID_PIXEL_RATE, RATE, 1, RATE - 1, "pixel rate"},
		{V4L2_CID_HBLANK, -1, -1, 10, "horizontal blanking"},
		{V4L2_CID_HBLANK, INT32_MAX, 0, INT32_MAX,
		 "horizontal blanking"},
		{V4L2_CID_EXPOSURE, 0, 0, 10, "exposure"},
		{V4L2_CID_EXPOSURE, -5, -5, 10, "exposure"},
		{V4L2_CID_EXPOSURE, 11, 0, 10, "exposure"},
		{V4L2_CID_EXPOSURE, INT32_MAX, 0, INT32_MAX, "exposure"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct align_rule r;
		struct control *c;

		memcpy(fake.node, in_rows, sizeof(in_rows));
		r = rule_for(mid());
		follow(&r);
		c = find(fake.node, cases[i].id);
		c->value = cases[i].value;
		c->minimum = cases[i].minimum;
		c->maximum = cases[i].maximum;
		follow(&r);
		assert_string_equal(r.wrong, cases[i].wrong);
		/* What was good before stays. */
		assert_int_equal(r.exposure_ns, 2 * MS);
		assert_int_equal(r.readout_ns, READOUT_NS);
		align_rule_fini(&r);
		/* From the start there is nothing to stay. */
		r = rule_for(mid());
		follow(&r);
		assert_string_equal(r.wrong, cases[i].wrong);
		assert_int_equal(r.offset_ns, 0);
		align_rule_fini(&r);
	}
}

/* A row as long as bounds allow: minutes of readout, hours of exposure. */
static void rule_overflows_nowhere(void **state)
{
	struct align_rule r;

	(void)state;
	memcpy(fake.node, in_rows, sizeof(in_rows));
	fake.node[0] = (struct control){V4L2_CID_EXPOSURE, 1 << 24, 1, 1 << 24};
	fake.node[1] = (struct control){V4L2_CID_HBLANK, 1 << 24, 0, 1 << 24};
	fake.node[2] = (struct control){V4L2_CID_PIXEL_RATE, 1, 1, RATE};
	r = rule_for(mid());
	follow(&r);
	assert_non_null(r.wrong);
	assert_int_equal(r.exposure_ns, 0);
	assert_int_equal(r.readout_ns, 0);
	assert_int_equal(r.offset_ns, 0);
	align_rule_fini(&r);
}

static void rule_says_what_an_error_keeps_from_it(void **state)
{
	struct align_rule r;

	(void)state;
	memcpy(fake.node, in_rows, sizeof(in_rows));
	fake.error = -EIO;
	r = rule_for(mid());
	follow(&r);
	assert_string_equal(r.wrong, "pixel rate");
	fake.error = 0;
	follow(&r);
	assert_null(r.wrong);
	assert_int_equal(r.exposure_ns, 2 * MS);
	align_rule_fini(&r);
	/* Rows of no length. */
	fake.node[1].id = 0;
	r = rule_for(mid());
	follow(&r);
	assert_string_equal(r.wrong, "exposure");
	align_rule_fini(&r);
}

static void rule_reads_no_more_than_promised(void **state)
{
	/* 9.9 s: the exposure with each frame, rows each second; or all. */
	static const unsigned int reads[] = {320, 320, 30};
	const struct capture_frame f = {.point = CAPTURE_POINT_END_OF_FRAME};
	size_t i;

	(void)state;
	memcpy(fake.node, in_rows, sizeof(in_rows));
	for (i = 0; i < ARRAY_SIZE(reads); i++) {
		struct align_rule r = rule_for(mid());
		uint64_t now_ns = clocks.boot_ns;
		unsigned int n;

		fake.read_ns = (199 + i) * US;
		fake.reads = 0;
		for (n = 0; n < 300; n++, now_ns += 33 * MS)
			align_rule_follow(&r, &f, now_ns, now_ns);
		assert_int_equal(fake.reads, reads[i]);
		align_rule_fini(&r);
	}
}

/* The row is READOUT_NS / 480; the middle moves by half of an exposure. */
static void rule_doubts_what_an_exposure_may_be(void **state)
{
	const struct capture_frame f = {.point = CAPTURE_POINT_END_OF_FRAME};
	uint64_t now_ns = clocks.boot_ns;
	struct align_rule r;
	unsigned int n;

	(void)state;
	memcpy(fake.node, in_rows, sizeof(in_rows));
	r = rule_for(mid());
	for (n = 0; n < 60; n++) {
		fake.node[0].value = n < 30 ? 100 : 300;
		now_ns += 33 * MS;
		align_rule_follow(&r, &f, now_ns, now_ns);
		/* From 2 to 6 ms, with the 30th frame. */
		assert_int_equal(align_rule_doubt(&r, now_ns),
				 n >= 30 && n <= 34 ? 2 * MS : 0);
		if (n == 34)
			assert_int_equal(align_rule_doubt(&r, now_ns + 1), 0);
	}
	align_rule_fini(&r);
	/* Read once a second: any exposure of 20 us to a frame's 33 ms. */
	fake.read_ns = MS;
	fake.node[0].value = 100;
	r = rule_for(mid());
	for (n = 0; n < 60; n++) {
		now_ns += 33 * MS;
		align_rule_follow(&r, &f, now_ns, now_ns);
		if (n)
			assert_int_equal(align_rule_doubt(&r, now_ns),
					 (33 * MS - 2 * MS) / 2);
	}
	align_rule_fini(&r);
}

static void rule_takes_what_the_driver_says_of_its_stamps(void **state)
{
	struct capture_frame f = {.point = CAPTURE_POINT_START_OF_EXPOSURE};
	struct align_rule r;
	struct capture_align_setting setting = mid();

	(void)state;
	memcpy(fake.node, in_rows, sizeof(in_rows));
	setting.delay_ns = (int64_t)(300 * US);
	r = rule_for(setting);
	align_rule_follow(&r, &f, clocks.boot_ns, clocks.boot_ns);
	assert_int_equal(r.offset_ns,
			 (int64_t)(MS + READOUT_NS / 2 - 300 * US));
	align_rule_fini(&r);
	setting.stamped = CAPTURE_ALIGN_START_OF_FRAME;
	r = rule_for(setting);
	align_rule_follow(&r, &f, clocks.boot_ns, clocks.boot_ns);
	assert_int_equal(r.offset_ns,
			 (int64_t)(READOUT_NS / 2) - (int64_t)(MS + 300 * US));
	align_rule_fini(&r);
	/* Of stamps that mean nothing, nothing follows but the delay. */
	f.point = CAPTURE_POINT_ARRIVAL;
	setting.stamped = CAPTURE_ALIGN_AS_STAMPED;
	r = rule_for(setting);
	align_rule_follow(&r, &f, clocks.boot_ns, clocks.boot_ns);
	assert_string_equal(r.wrong, "stamped");
	assert_int_equal(r.offset_ns, -(int64_t)(300 * US));
	align_rule_fini(&r);
}

/* --- the module's rule ---------------------------------------------------- */

static struct align_rule joined(struct capture_align_setting setting)
{
	struct align_rule r;

	memcpy(fake.node, in_rows, sizeof(in_rows));
	fake.present = true;
	r = rule_for(setting);
	align_rule_join(&r, STREAM, false);
	follow(&r);
	return r;
}

static void rule_is_the_modules_and_put_back(void **state)
{
	struct align_rule r = joined(mid());

	(void)state;
	assert_int_equal(fake.sets, 1);
	assert_int_equal(fake.rule.stamped, TSALIGN_POINT_EOF);
	assert_int_equal(fake.rule.point, TSALIGN_POINT_MID);
	assert_int_equal(fake.rule.exposure_ns, 2 * MS);
	assert_int_equal(fake.rule.readout_ns, READOUT_NS);
	assert_int_equal(r.more_ns, 0);
	assert_int_equal(r.module_ns, r.offset_ns);
	follow(&r);
	assert_int_equal(fake.sets, 1);
	fake.node[0].value = 50;
	follow(&r);
	assert_int_equal(fake.sets, 2);
	assert_int_equal(fake.rule.exposure_ns, MS);
	align_rule_fini(&r);
	assert_int_equal(fake.rule.point, TSALIGN_POINT_ARRIVAL);
	assert_int_equal(fake.rule.exposure_ns, 0);
}

/* Left by a process that was killed: its exposure is nobody's. */
static void rule_takes_over_one_that_was_left(void **state)
{
	struct align_rule r;

	(void)state;
	fake.rule.stamped = TSALIGN_POINT_EOF;
	fake.rule.point = TSALIGN_POINT_MID;
	fake.rule.exposure_ns = 30 * MS;
	r = joined(mid());
	assert_int_equal(fake.rule.exposure_ns, 2 * MS);
	assert_int_equal(r.more_ns, 0);
	align_rule_fini(&r);
}

static void rule_of_the_board_stays_and_is_completed(void **state)
{
	struct capture_align_setting setting = mid();
	struct align_rule r;

	(void)state;
	setting.delay_ns = (int64_t)MS;
	fake.rule = (struct tsalign_rule){
		.id = STREAM,
		.flags = TSALIGN_RULE_BOARD | TSALIGN_RULE_READOUT,
		.stamped = TSALIGN_POINT_SOF,
		.point = TSALIGN_POINT_SOE,
		.readout_ns = 5 * MS,
		.strobe = NO_STROBE,
	};
	r = joined(setting);
	assert_int_equal(fake.rule.point, TSALIGN_POINT_SOE);
	assert_int_equal(fake.rule.stamped, TSALIGN_POINT_SOF);
	assert_int_equal(fake.rule.delay_ns, 0);
	assert_int_equal(fake.rule.readout_ns, 5 * MS);
	assert_int_equal(fake.rule.exposure_ns, 2 * MS);
	assert_int_equal(fake.rule.flags,
			 TSALIGN_RULE_BOARD | TSALIGN_RULE_READOUT);
	assert_int_equal(r.more_ns, 0);
	align_rule_fini(&r);
	/* All told: nothing is set. */
	fake.rule.flags |= TSALIGN_RULE_EXPOSURE;
	fake.rule.exposure_ns = 4 * MS;
	fake.sets = 0;
	r = joined(setting);
	assert_int_equal(fake.sets, 0);
	assert_int_equal(fake.rule.exposure_ns, 4 * MS);
	assert_int_equal(r.more_ns, 0);
	align_rule_fini(&r);
}

static void rule_is_added_here_without_permission(void **state)
{
	struct align_rule r;

	(void)state;
	fake.forbidden = true;
	r = joined(mid());
	assert_int_equal(fake.sets, 0);
	assert_int_equal(r.module_ns, 0);
	assert_int_equal(r.more_ns, -(int64_t)(MS + READOUT_NS / 2));
	/* Whoever may sets one: never twice, from the page on that tells. */
	fake.page.point = TSALIGN_POINT_ARRIVAL;
	assert_int_equal(align_rule_more(&r, &fake.page), r.more_ns);
	fake.rule.stamped = TSALIGN_POINT_EOF;
	fake.rule.point = TSALIGN_POINT_MID;
	fake.rule.exposure_ns = 2 * MS;
	fake.page.point = TSALIGN_POINT_MID;
	assert_int_equal(align_rule_more(&r, &fake.page), 0);
	follow(&r);
	assert_int_equal(r.more_ns, 0);
	assert_string_equal(r.wrong, "rule");
	align_rule_fini(&r);
}

static void rule_of_another_since_stays(void **state)
{
	struct align_rule r = joined(mid());

	(void)state;
	fake.rule.delay_ns = 7;
	follow(&r);
	assert_int_equal(fake.rule.delay_ns, 7);
	assert_string_equal(r.wrong, "rule");
	follow(&r);
	assert_int_equal(fake.rule.delay_ns, 7);
	/* The stream is begun anew, and with it its rule. */
	fake.rule = (struct tsalign_rule){
		.id = STREAM,
		.stamped = TSALIGN_POINT_ARRIVAL,
		.point = TSALIGN_POINT_ARRIVAL,
		.strobe = NO_STROBE,
	};
	follow(&r);
	assert_int_equal(fake.rule.point, TSALIGN_POINT_MID);
	assert_null(r.wrong);
	align_rule_fini(&r);
}

/* Whatever call fails: nothing stays open, and no offset is there twice. */
static void rule_survives_any_failed_call(void **state)
{
	static const int errors[] = {-EIO, -ENOMEM, -EMFILE, -ENODEV, -EPERM};
	const struct capture_align_setting setting = mid();
	const int64_t offset_ns = -(int64_t)(MS + READOUT_NS / 2);
	unsigned long n;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		for (n = 1; n < CALLS_MAX; n++) {
			struct align_rule r;

			(void)setup(state);
			sys_fault_reset();
			memcpy(fake.sensor, in_rows, sizeof(in_rows));
			fake.present = true;
			sys_fault_wrap(&fake.ops);
			sys_fault_arm(n, errors[i]);
			align_rule_init(&r, sys_fault());
			align_rule_attach(&r, &setting, NODE_FD, "/dev/video1",
					  MINOR, &format);
			align_rule_join(&r, STREAM, false);
			follow(&r);
			assert_true(fake.rule.point != TSALIGN_POINT_MID ||
				    !r.more_ns);
			follow(&r);
			assert_true(r.offset_ns == 0 ||
				    r.offset_ns == offset_ns);
			if (fake.rule.point == TSALIGN_POINT_MID)
				assert_int_equal(r.more_ns, 0);
			else
				assert_true(r.more_ns == r.offset_ns ||
					    r.module_lacks || r.wrong);
			align_rule_fini(&r);
			assert_int_equal(fake.opens, 0);
			assert_int_equal(sys_fault_open_fds(), 0);
			if (!sys_fault_fired())
				break;
		}
		assert_in_range(n, 20, CALLS_MAX - 1);
	}
}

/* --- frames --------------------------------------------------------------- */

static struct capture_align *align_new(struct capture_align_setting setting)
{
	struct capture_align *a;

	memcpy(fake.node, in_rows, sizeof(in_rows));
	assert_int_equal(capture_align_new(&fake.ops, MINOR, &a), 0);
	align_set_rule(a, &setting, NODE_FD, "/dev/video1", &format);
	capture_align_started(a);
	return a;
}

/* Frame @n, 30 a second, stamped when its last row was read out. */
static struct capture_frame give(struct capture_align *a, uint64_t first,
				 uint32_t n)
{
	uint64_t taken_ns = first + (uint64_t)n * S / 30;
	struct capture_frame f = {
		.sequence = n,
		.stamp_ns = taken_ns + (uint64_t)clocks.monotonic_ns,
		.clock = CAPTURE_CLOCK_MONOTONIC,
		.point = CAPTURE_POINT_END_OF_FRAME,
	};
	const char *why;
	int64_t ns = 0;

	clocks.boot_ns = taken_ns + 10 * US;
	assert_int_equal(tsa_rule_offset(&fake.rule, &ns, &why), 0);
	fake.page = (struct tsalign_page){
		.abi = TSALIGN_ABI,
		.seq = 2,
		.stream = STREAM,
		.state = TSALIGN_LOCKED,
		.point = fake.rule.point,
		.delay_ns = fake.rule.delay_ns,
		.shift = 32,
		.mult = (S << 32) / 30,
		.base_counter = n,
		.base_ns = taken_ns + (uint64_t)ns,
		.epoch = 1,
		.sigma_ns = 500,
		.updated_ns = clocks.boot_ns,
	};
	capture_align_frame(a, &f);
	return f;
}

/*
 * The exposure turns from 2 to 22 ms and back: the middle moves by half of it
 * a second later at most, no epoch is opened, and no time goes back. Until
 * then its sigma says what may be wrong. @read_ns: what a look takes.
 */
static void check_moves(struct capture_align *a, enum capture_aligned_by by,
			uint64_t read_ns)
{
	uint64_t first = clocks.boot_ns;
	uint64_t last = 0;
	uint32_t epoch = 0;
	uint32_t n;

	fake.read_ns = read_ns;
	for (n = 0; n < 400; n++) {
		uint64_t exposure_ns = n >= 200 && n < 300 ? 22 * MS : 2 * MS;
		uint64_t end_ns = first + (uint64_t)n * S / 30;
		struct capture_frame f;
		uint64_t off_ns;

		fake.node[0].value = (int64_t)(exposure_ns / (20 * US));
		f = give(a, first, n);
		assert_true(f.aligned.epoch != epoch || f.aligned.ns > last);
		if (n >= 100) {
			assert_int_equal(f.aligned.by, by);
			assert_int_equal(f.aligned.epoch, epoch);
		}
		last = f.aligned.ns;
		epoch = f.aligned.epoch;
		off_ns = apart(f.aligned.ns,
			       end_ns - (exposure_ns + READOUT_NS) / 2);
		if (n >= 100)
			assert_true(off_ns <= f.aligned.sigma_ns + 20 * US);
		if (n % 100 < (read_ns > MS / 5 ? 35 : 1))
			continue;
		assert_true(off_ns <= 20 * US);
		/* And no more than that. */
		if (n >= 100 && n % 100 > 5)
			assert_true(f.aligned.sigma_ns <=
				    (read_ns > MS / 5 ? 33 * MS : MS));
	}
}

static void align_tells_mid_exposure_without_a_module(void **state)
{
	struct capture_align *a = align_new(mid());
	struct capture_alignment now;

	(void)state;
	check_moves(a, CAPTURE_ALIGNED_ESTIMATE, 0);
	assert_int_equal(capture_align_state(a, &now), 0);
	assert_int_equal(now.delay_ns, MS + READOUT_NS / 2);
	assert_int_equal(now.point, CAPTURE_ALIGN_MID_EXPOSURE);
	assert_null(now.wrong);
	(void)capture_align_free(a);
}

static void align_tells_mid_exposure_with_the_module(void **state)
{
	struct capture_align *a;
	struct capture_alignment now;

	(void)state;
	fake.present = true;
	a = align_new(mid());
	check_moves(a, CAPTURE_ALIGNED_KERNEL, 0);
	assert_int_equal(fake.sets, 3);
	assert_int_equal(capture_align_state(a, &now), 0);
	assert_int_equal(now.delay_ns, MS + READOUT_NS / 2);
	assert_int_equal(now.point, CAPTURE_ALIGN_MID_EXPOSURE);
	(void)capture_align_free(a);
}

/* A map that cannot tell what our own line can is left alone. */
static void align_tells_what_the_module_cannot(void **state)
{
	struct capture_align_setting setting = mid();
	struct capture_align *a;
	struct capture_frame f;
	uint64_t first;
	uint32_t n;

	(void)state;
	fake.present = true;
	a = align_new(setting);
	fake.node[0] =
		(struct control){V4L2_CID_EXPOSURE_ABSOLUTE, 100, 1, 5000};
	fake.node[1].id = 0;
	setting.stamped = CAPTURE_ALIGN_START_OF_EXPOSURE;
	align_set_rule(a, &setting, NODE_FD, "/dev/video1", &format);
	first = clocks.boot_ns;
	for (n = 0; n < 100; n++)
		f = give(a, first, n);
	assert_int_equal(f.aligned.by, CAPTURE_ALIGNED_ESTIMATE);
	assert_true(apart(f.aligned.ns,
			  first + (uint64_t)99 * S / 30 + 5 * MS) < 20 * US);
	(void)capture_align_free(a);
}

static void align_tells_mid_exposure_without_permission(void **state)
{
	struct capture_align *a;
	struct capture_alignment now;

	(void)state;
	fake.present = true;
	fake.forbidden = true;
	a = align_new(mid());
	check_moves(a, CAPTURE_ALIGNED_KERNEL, 300 * US);
	assert_int_equal(fake.sets, 0);
	assert_int_equal(capture_align_state(a, &now), 0);
	assert_int_equal(now.delay_ns, MS + READOUT_NS / 2);
	assert_int_equal(now.point, CAPTURE_ALIGN_MID_EXPOSURE);
	(void)capture_align_free(a);
}

/* An exposure of seconds: the moment is far from the stamp, and its own. */
static void align_takes_long_exposures(void **state)
{
	struct capture_align *a;
	uint64_t first;
	struct capture_frame f;

	(void)state;
	fake.present = true;
	a = align_new(mid());
	clocks.boot_ns += 100 * S;
	first = clocks.boot_ns;
	fake.node[0] =
		(struct control){V4L2_CID_EXPOSURE_ABSOLUTE, 100000, 1, 100000};
	(void)give(a, first, 0);
	f = give(a, first, 1); /* the map has the rule by now */
	assert_int_equal(f.aligned.by, CAPTURE_ALIGNED_KERNEL);
	assert_true(apart(f.aligned.ns,
			  first + S / 30 - 5 * S - READOUT_NS / 2) <= 2);
	(void)capture_align_free(a);
}

static void source_refuses_a_point_that_cannot_be(void **state)
{
	static const struct {
		struct capture_align_setting setting;
		enum capture_source_kind kind;
		const char *name;
		int error;
	} cases[] = {
		{{CAPTURE_ALIGN_ARRIVAL, 0, 0},
		 CAPTURE_SOURCE_V4L2,
		 "point",
		 -EINVAL},
		{{(enum capture_align_point)6, 0, 0},
		 CAPTURE_SOURCE_V4L2,
		 "point",
		 -EINVAL},
		{{0, (enum capture_align_point) - 1, 0},
		 CAPTURE_SOURCE_V4L2,
		 "stamped",
		 -EINVAL},
		{{0, 0, CAPTURE_ALIGN_DELAY_NS_MAX + 1},
		 CAPTURE_SOURCE_V4L2,
		 "delay",
		 -EINVAL},
		{{0, 0, INT64_MIN}, CAPTURE_SOURCE_V4L2, "delay", -EINVAL},
		{{CAPTURE_ALIGN_END_OF_FRAME, 0, 0},
		 CAPTURE_SOURCE_SYNTHETIC,
		 "point",
		 -EOPNOTSUPP},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct capture_settings_error error = {0};
		struct capture_settings settings = {
			.align = cases[i].setting,
			.error = &error,
		};
		struct capture_source_config config = {
			.kind = cases[i].kind,
			.path = "tone",
			.settings = &settings,
		};
		struct capture_source *s;

		assert_int_equal(capture_source_open(&fake.ops, &config, &s),
				 cases[i].error);
		assert_string_equal(error.name, cases[i].name);
	}
}

static void settings_keep_the_point_in_a_copy(void **state)
{
	const struct capture_settings settings = {
		.align = {CAPTURE_ALIGN_MID_EXPOSURE,
			  CAPTURE_ALIGN_START_OF_FRAME, 5},
	};
	struct capture_settings *copy;

	(void)state;
	assert_int_equal(capture_settings_dup(&settings, &copy), 0);
	assert_int_equal(copy->align.point, CAPTURE_ALIGN_MID_EXPOSURE);
	assert_int_equal(copy->align.stamped, CAPTURE_ALIGN_START_OF_FRAME);
	assert_int_equal(copy->align.delay_ns, 5);
	(void)capture_settings_free(copy);
	assert_string_equal(
		capture_align_point_name(CAPTURE_ALIGN_MID_EXPOSURE),
		"mid-exposure");
	assert_string_equal(
		capture_align_point_name((enum capture_align_point)99), "?");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(rule_changes_nothing_unless_asked),
		CASE(rule_reads_rows_of_the_node),
		CASE(rule_reads_absolute_exposures),
		CASE(rule_reads_the_sensor_of_the_graph),
		CASE(rule_believes_no_control),
		CASE(rule_overflows_nowhere),
		CASE(rule_says_what_an_error_keeps_from_it),
		CASE(rule_reads_no_more_than_promised),
		CASE(rule_doubts_what_an_exposure_may_be),
		CASE(rule_takes_what_the_driver_says_of_its_stamps),
		CASE(rule_is_the_modules_and_put_back),
		CASE(rule_takes_over_one_that_was_left),
		CASE(rule_of_the_board_stays_and_is_completed),
		CASE(rule_is_added_here_without_permission),
		CASE(rule_of_another_since_stays),
		CASE(rule_survives_any_failed_call),
		CASE(align_tells_mid_exposure_without_a_module),
		CASE(align_tells_mid_exposure_with_the_module),
		CASE(align_tells_what_the_module_cannot),
		CASE(align_tells_mid_exposure_without_permission),
		CASE(align_takes_long_exposures),
		CASE(source_refuses_a_point_that_cannot_be),
		CASE(settings_keep_the_point_in_a_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
