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
	u64 id;
	u64 jitter_ns;		/* late by a random part of it */
	u64 drop_permille;
	u64 duplicate_permille;
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

static int show_lines(struct seq_file *m, void *unused)
{
	tsa_lines_show(m);
	tsa_triggers_show(m);
	return 0;
}

void tsa_debugfs_init(struct device *dev)
{
	static const struct {
		const char *name;
		u64 *value;
	} values[] = {
		{ "stream", &inject.id },
		{ "jitter_ns", &inject.jitter_ns },
		{ "drop_permille", &inject.drop_permille },
		{ "duplicate_permille", &inject.duplicate_permille },
		{ "step_ns", &inject.step_ns },
	};
	struct dentry *dir;
	size_t i;

	root = debugfs_create_dir("tsalign", NULL);
	debugfs_create_devm_seqfile(dev, "streams", root, tsa_streams_show);
	debugfs_create_devm_seqfile(dev, "queues", root, tsa_v4l2_show);
	debugfs_create_devm_seqfile(dev, "lines", root, show_lines);
	if (!tsa_inject)
		return;
	dir = debugfs_create_dir("inject", root);
	for (i = 0; i < ARRAY_SIZE(values); i++)
		debugfs_create_u64(values[i].name, 0600, dir, values[i].value);
	debugfs_create_file("suspend", 0200, dir, NULL, &suspend_fops);
}

void tsa_debugfs_exit(void)
{
	debugfs_remove_recursive(root);
	root = NULL;
}
