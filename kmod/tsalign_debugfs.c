// SPDX-License-Identifier: GPL-2.0-only
/*
 * /sys/kernel/debug/tsalign: streams, queues, lines, for bring-up; and, with
 * the module's parameter inject=1, faults to make.
 */
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/random.h>

#include "tsalign_int.h"

static struct dentry *root;

/* What to make of samples; @id ~0: of all streams'. */
static struct {
	u32 id;
	u32 jitter_ns;		/* late by a random part of it */
	u32 drop_permille;
	u32 duplicate_permille;
	u64 step_ns;		/* all times later by this, for ever */
} inject = { .id = TSA_NO_ID };

u32 tsa_inject_sample(u32 id, struct tsa_sample *sample)
{
	u32 only = READ_ONCE(inject.id);
	u32 jitter = READ_ONCE(inject.jitter_ns);
	u64 step = READ_ONCE(inject.step_ns);

	if (only != TSA_NO_ID && only != id)
		return 1;
	if (jitter || step) {
		sample->host_ns += step;
		if (jitter)
			sample->host_ns += get_random_u32() % jitter;
		sample->flags |= TSALIGN_EVF_INJECTED;
	}
	if (get_random_u32() % 1000 < READ_ONCE(inject.drop_permille))
		return 0;
	if (get_random_u32() % 1000 < READ_ONCE(inject.duplicate_permille)) {
		sample->flags |= TSALIGN_EVF_INJECTED;
		return 2;
	}
	return 1;
}

/* Whatever is written to it: as after a night of sleep. */
static ssize_t suspend_write(struct file *file, const char __user *buf,
			     size_t size, loff_t *pos)
{
	tsa_streams_restart(TSALIGN_CAUSE_SUSPEND);
	return size;
}

static const struct file_operations suspend_fops = {
	.owner = THIS_MODULE,
	.write = suspend_write,
};

static void show_lines(struct seq_file *m)
{
	tsa_lines_show(m);
	tsa_triggers_show(m);
}

static const struct view {
	const char *name;
	void (*show)(struct seq_file *m);
} views[] = {
	{ "streams", tsa_streams_show },
	{ "queues", tsa_v4l2_show },
	{ "lines", show_lines },
};

static int view_show(struct seq_file *m, void *unused)
{
	const struct view *view = m->private;

	view->show(m);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(view);

void tsa_debugfs_init(void)
{
	struct dentry *dir;
	size_t i;

	root = debugfs_create_dir("tsalign", NULL);
	for (i = 0; i < ARRAY_SIZE(views); i++)
		debugfs_create_file(views[i].name, 0444, root,
				    (void *)&views[i], &view_fops);
	if (!tsa_inject)
		return;
	dir = debugfs_create_dir("inject", root);
	debugfs_create_u32("stream", 0600, dir, &inject.id);
	debugfs_create_u32("jitter_ns", 0600, dir, &inject.jitter_ns);
	debugfs_create_u32("drop_permille", 0600, dir, &inject.drop_permille);
	debugfs_create_u32("duplicate_permille", 0600, dir,
			   &inject.duplicate_permille);
	debugfs_create_u64("step_ns", 0600, dir, &inject.step_ns);
	debugfs_create_file("suspend", 0200, dir, NULL, &suspend_fops);
}

void tsa_debugfs_exit(void)
{
	debugfs_remove_recursive(root);
	root = NULL;
}
