// SPDX-License-Identifier: GPL-2.0-only
/* The module: start, end, the second's tick, suspend. */
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/suspend.h>
#include <linux/workqueue.h>

#include "tsalign_int.h"

#define CREATE_TRACE_POINTS
#include "tsalign_trace.h"

bool tsa_inject;
module_param_named(inject, tsa_inject, bool, 0444);
MODULE_PARM_DESC(inject, "faults can be injected through debugfs");

static char *reference = "boottime";
module_param(reference, charp, 0444);
MODULE_PARM_DESC(reference, "clock that maps lead to at first: boottime or tai");

static void tick(struct work_struct *work);
static void refresh(struct work_struct *work);
static DECLARE_DELAYED_WORK(tick_work, tick);
static DECLARE_WORK(refresh_work, refresh);

static void refresh(struct work_struct *work)
{
	static u64 aimed = 1;	/* by which generation of the reference */
	u64 generation = tsa_reference_generation();

	tsa_v4l2_refill();
	tsa_streams_refresh();
	/* Cuts pulses short: only when the reference stepped. */
	if (aimed != generation)
		tsa_triggers_rearm();
	aimed = generation;
}

void tsa_refresh_soon(void)
{
	queue_work(system_power_efficient_wq, &refresh_work);
}

/* Quiet streams grow uncertain, and nobody tells when a clock was set. */
static void tick(struct work_struct *work)
{
	tsa_reference_tick();
	tsa_v4l2_refill();
	tsa_streams_refresh();
	queue_delayed_work(system_power_efficient_wq, &tick_work, HZ);
}

/* A device's counter may have stood still meanwhile, or not. */
static int slept(struct notifier_block *nb, unsigned long action, void *data)
{
	if (action == PM_SUSPEND_PREPARE || action == PM_HIBERNATION_PREPARE)
		tsa_triggers_sleep(true);
	if (action == PM_POST_SUSPEND || action == PM_POST_HIBERNATION) {
		tsa_triggers_sleep(false);
		tsa_streams_restart(TSALIGN_CAUSE_SUSPEND);
		tsa_refresh_soon();
	}
	return NOTIFY_OK;
}

static struct notifier_block pm_notifier = {
	.notifier_call = slept,
};

static int __init tsalign_init(void)
{
	enum tsalign_reference kind = TSALIGN_REF_BOOTTIME;
	struct device *dev;
	int r;

	if (!strcmp(reference, "tai")) {
		kind = TSALIGN_REF_TAI;
	} else if (strcmp(reference, "boottime")) {
		pr_err("reference=%s: neither boottime nor tai\n", reference);
		return -EINVAL;
	}
	tsa_reference_init(kind);
	r = tsa_ring_init();
	if (r)
		return r;
	r = tsa_v4l2_init();
	if (r)
		goto ring;
	r = register_pm_notifier(&pm_notifier);
	if (r)
		goto v4l2;
	r = platform_driver_register(&tsa_platform_driver);
	if (r)
		goto pm;
	r = tsa_cdev_init(&dev);
	if (r)
		goto platform;
	tsa_debugfs_init(dev);
	queue_delayed_work(system_power_efficient_wq, &tick_work, HZ);
	return 0;
platform:
	platform_driver_unregister(&tsa_platform_driver);
pm:
	unregister_pm_notifier(&pm_notifier);
v4l2:
	tsa_v4l2_exit();
ring:
	cancel_work_sync(&refresh_work);
	tsa_streams_exit();
	tsa_ring_exit();
	return r;
}

static void __exit tsalign_exit(void)
{
	tsa_debugfs_exit();
	tsa_cdev_exit();
	platform_driver_unregister(&tsa_platform_driver);
	unregister_pm_notifier(&pm_notifier);
	cancel_delayed_work_sync(&tick_work);
	tsa_v4l2_exit();
	cancel_work_sync(&refresh_work);
	tsa_reference_exit();
	tsa_streams_exit();
	tsa_ring_exit();
}

module_init(tsalign_init);
module_exit(tsalign_exit);
MODULE_DESCRIPTION("One timeline for all sensors");
MODULE_AUTHOR("kvsd");
MODULE_LICENSE("GPL");
