// SPDX-License-Identifier: GPL-2.0-only
/* /dev/tsalign: see the uapi header. Nothing from user space is trusted. */
#include <linux/build_bug.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <linux/wait.h>

#include "tsalign_int.h"

static_assert(sizeof(struct tsalign_page) == 208);
static_assert(sizeof(struct tsalign_info) == 64);
static_assert(sizeof(struct tsalign_stream) == 96);
static_assert(sizeof(struct tsalign_rule) == 72);
static_assert(sizeof(struct tsalign_pair) == 16);
static_assert(sizeof(struct tsalign_submit) == 48);
static_assert(sizeof(struct tsalign_trigger) == 104);

struct tsa_descriptor {
	struct mutex lock;	/* all of it */
	u64 position;		/* in the ring */
	u32 count;
	struct tsa_stream *owned[TSA_OWNED_MAX];
};

static int cdev_open(struct inode *inode, struct file *file)
{
	struct tsa_descriptor *d = kvzalloc(sizeof(*d), GFP_KERNEL);

	if (!d)
		return -ENOMEM;
	mutex_init(&d->lock);
	d->position = tsa_ring_open();
	file->private_data = d;
	return stream_open(inode, file);
}

static int cdev_release(struct inode *inode, struct file *file)
{
	struct tsa_descriptor *d = file->private_data;
	u32 i;

	for (i = 0; i < d->count; i++) {
		tsa_stream_leave(d->owned[i]);
		tsa_stream_put(d->owned[i]);
	}
	tsa_ring_close();
	mutex_destroy(&d->lock);
	kvfree(d);
	return 0;
}

/* --- read, poll, mmap --------------------------------------------------------- */

static ssize_t read_batch(struct tsa_descriptor *d, char __user *buf, size_t max)
{
	struct tsalign_event events[TSA_READ_BATCH];
	u64 position = d->position;
	u32 count;

	count = tsa_ring_take(&position, events,
			      min_t(size_t, max, ARRAY_SIZE(events)));
	if (!count)
		return 0;
	/* Not taken when it cannot be given. */
	if (copy_to_user(buf, events, count * sizeof(events[0])))
		return -EFAULT;
	d->position = position;
	return count;
}

static ssize_t cdev_read(struct file *file, char __user *buf, size_t size,
			 loff_t *unused)
{
	struct tsa_descriptor *d = file->private_data;
	size_t max = min_t(size_t, size / sizeof(struct tsalign_event),
			   TSA_RING_EVENTS);
	size_t done = 0;
	ssize_t r;

	if (!max)
		return -EINVAL;
	for (;;) {
		mutex_lock(&d->lock);
		do {
			r = read_batch(d, buf + done * sizeof(struct tsalign_event),
				       max - done);
			done += max_t(ssize_t, r, 0);
		} while (r > 0 && done < max);
		mutex_unlock(&d->lock);
		if (done)
			return done * sizeof(struct tsalign_event);
		if (r)
			return r;
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		r = wait_event_interruptible(*tsa_ring_wait(),
					     tsa_ring_has(READ_ONCE(d->position)));
		if (r)
			return r;
	}
}

static __poll_t cdev_poll(struct file *file, poll_table *wait)
{
	struct tsa_descriptor *d = file->private_data;

	poll_wait(file, tsa_ring_wait(), wait);
	return tsa_ring_has(READ_ONCE(d->position)) ? EPOLLIN | EPOLLRDNORM : 0;
}

static int cdev_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct tsa_stream *s;
	unsigned long flags;
	int r;

	if (vma->vm_end - vma->vm_start != PAGE_SIZE)
		return -EINVAL;
	/* Of a descriptor for reading, VM_SHARED has been taken off. */
	if (!(vma->vm_flags & VM_MAYSHARE) ||
	    (vma->vm_flags & (VM_WRITE | VM_EXEC)))
		return -EACCES;
	if (vma->vm_pgoff >= TSALIGN_STREAMS_MAX)
		return -ENXIO;
	s = tsa_stream_get(vma->vm_pgoff);
	if (!s)
		return -ENXIO;
	/*
	 * Nor later by mprotect(), nor into a child's core dump. Nobody else
	 * finds the area before it is mapped.
	 */
	flags = (vma->vm_flags | VM_DONTEXPAND | VM_DONTDUMP) &
		~(VM_MAYWRITE | VM_MAYEXEC);
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	vm_flags_init(vma, flags);
#else
	vma->vm_flags = flags;
#endif
	r = vm_insert_page(vma, vma->vm_start, s->page);
	tsa_stream_put(s);
	return r;
}

/* --- ioctl --------------------------------------------------------------------- */

static bool zero(const u32 *reserved, size_t count)
{
	return !memchr_inv(reserved, 0, count * sizeof(*reserved));
}

static int do_info(struct tsalign_info *info)
{
	*info = (struct tsalign_info){
		.abi = TSALIGN_ABI,
		.reference = tsa_reference_kind(),
		.streams = tsa_streams_count(),
		.triggers = tsa_triggers_count(),
		.features = (tsa_v4l2_sees() ? TSALIGN_FEATURE_VB2 : 0) |
			    (tsa_inject ? TSALIGN_FEATURE_INJECT : 0),
		.page_bytes = PAGE_SIZE,
	};
	return 0;
}

static int do_stream(struct tsalign_stream *arg)
{
	struct tsa_stream *s;
	unsigned long flags;

	if (!zero(arg->reserved, ARRAY_SIZE(arg->reserved)))
		return -EINVAL;
	s = tsa_stream_get(arg->id);
	if (!s)
		return -ENOENT;
	raw_spin_lock_irqsave(&s->lock, flags);
	*arg = s->info;
	raw_spin_unlock_irqrestore(&s->lock, flags);
	tsa_stream_put(s);
	return 0;
}

static int do_get_rule(struct tsalign_rule *rule)
{
	struct tsa_stream *s;

	if (rule->flags || !zero(rule->reserved, ARRAY_SIZE(rule->reserved)))
		return -EINVAL;
	s = tsa_stream_get(rule->id);
	if (!s)
		return -ENOENT;
	tsa_stream_rule(s, rule);
	tsa_stream_put(s);
	return 0;
}

static int do_set_rule(const struct tsalign_rule *rule)
{
	struct tsa_stream *s;
	int r;

	if (rule->flags & ~TSALIGN_RULE_FLAGS ||
	    !zero(rule->reserved, ARRAY_SIZE(rule->reserved)))
		return -EINVAL;
	s = tsa_stream_get(rule->id);
	if (!s)
		return -ENOENT;
	r = tsa_stream_set_rule(s, rule);
	tsa_stream_put(s);
	return r;
}

static int do_create(struct tsa_descriptor *d, struct tsalign_stream *arg)
{
	struct tsa_stream *s;

	if (!zero(arg->reserved, ARRAY_SIZE(arg->reserved)) ||
	    arg->kind < TSALIGN_PHC || arg->kind > TSALIGN_DEVICE ||
	    tsa_name_check(arg))
		return -EINVAL;
	/* The PHC's map is run backwards: it must count nanoseconds. */
	if (arg->kind == TSALIGN_PHC &&
	    (arg->counter != TSALIGN_COUNT_TICKS ||
	     arg->nominal_mhz != 1000ULL * NSEC_PER_SEC))
		return -EINVAL;
	if (d->count >= TSA_OWNED_MAX)
		return -ENOSPC;
	arg->minor = -1;
	arg->strobe = TSA_NO_ID;
	s = tsa_stream_add(arg, NULL, d);
	if (IS_ERR(s))
		return PTR_ERR(s);
	d->owned[d->count++] = s;
	*arg = s->info;
	return 0;
}

/* To BOOTTIME, checked; in place. */
static int pairs_check(struct tsalign_pair *pairs, u32 count, u32 clock)
{
	u64 now;
	u64 set;
	s64 offset;
	u32 i;
	int r = tsa_reference_clock(clock, &offset, &set);

	if (r)
		return r;
	now = ktime_get_boottime_ns();
	for (i = 0; i < count; i++) {
		u64 ns = pairs[i].host_ns + (u64)offset;

		if (ns > now || now - ns > TSA_AGE_MAX_NS)
			return set && ns > now ? -ESTALE : -EINVAL;
		if (ns < set)
			return -ESTALE;
		pairs[i].host_ns = ns;
	}
	return 0;
}

static int pairs_submit(struct tsa_stream *s, const struct tsalign_submit *arg,
			struct tsalign_pair *pairs)
{
	struct tsa_sample sample = { .width_ns = arg->error_ns };
	u32 i;
	int r;

	if (arg->flags & TSALIGN_SUBMIT_RESTART)
		tsa_stream_recount(s);
	if (arg->flags & TSALIGN_SUBMIT_BURST) {
		r = tsa_stream_burst(s, pairs, arg->count);
		if (r)
			return r;
		sample.unwrapped = true;
	}
	sample.cpu = raw_smp_processor_id();
	for (i = 0; i < arg->count; i++) {
		sample.counter = pairs[i].counter;
		sample.host_ns = pairs[i].host_ns;
		tsa_stream_sample(s, &sample);
	}
	return 0;
}

static int do_submit(struct tsa_descriptor *d, const struct tsalign_submit *arg)
{
	struct tsa_stream *s = NULL;
	struct tsalign_pair *pairs;
	u64 mask;
	u32 i;
	int r;

	if (!zero(arg->reserved, ARRAY_SIZE(arg->reserved)) ||
	    arg->flags & ~(TSALIGN_SUBMIT_BURST | TSALIGN_SUBMIT_RESTART))
		return -EINVAL;
	if (arg->count > TSALIGN_PAIRS_MAX)
		return -E2BIG;
	for (i = 0; i < d->count && !s; i++)
		if (d->owned[i]->info.id == arg->id)
			s = d->owned[i];
	if (!s)
		return -EPERM;
	if (!arg->count)
		return 0;
	pairs = memdup_user(u64_to_user_ptr(arg->pairs),
			    array_size(arg->count, sizeof(*pairs)));
	if (IS_ERR(pairs))
		return PTR_ERR(pairs);
	r = pairs_check(pairs, arg->count, arg->clock);
	mask = GENMASK_ULL(s->info.counter_bits - 1, 0);
	for (i = 0; !r && i < arg->count; i++)
		if (pairs[i].counter & ~mask)
			r = -EINVAL;
	if (!r)
		r = pairs_submit(s, arg, pairs);
	kvfree(pairs);
	return r;
}

static int do_reference(u32 arg)
{
	u32 id = arg >> 8;
	struct tsa_stream *s;
	int r;

	switch (arg & 0xff) {
	case TSALIGN_REF_BOOTTIME:
	case TSALIGN_REF_TAI:
		return id ? -EINVAL : tsa_reference_set(arg, NULL);
	case TSALIGN_REF_PHC:
		break;
	default:
		return -EINVAL;
	}
	s = tsa_stream_get(id);
	if (!s)
		return -ENOENT;
	if (s->info.kind == TSALIGN_PHC)
		r = tsa_reference_set(TSALIGN_REF_PHC, s);
	else
		r = -EINVAL;
	tsa_stream_put(s);
	return r;
}

union tsa_argument {
	struct tsalign_info info;
	struct tsalign_stream stream;
	struct tsalign_rule rule;
	struct tsalign_submit submit;
	struct tsalign_trigger trigger;
	u32 word;
};

static long ioctl_call(struct tsa_descriptor *d, unsigned int cmd,
		       union tsa_argument *arg)
{
	switch (cmd) {
	case TSALIGN_IOC_INFO:
		return do_info(&arg->info);
	case TSALIGN_IOC_STREAM:
		return do_stream(&arg->stream);
	case TSALIGN_IOC_GET_RULE:
		return do_get_rule(&arg->rule);
	case TSALIGN_IOC_GET_TRIGGER:
		return tsa_trigger_get(&arg->trigger);
	case TSALIGN_IOC_CREATE:
		return do_create(d, &arg->stream);
	case TSALIGN_IOC_SUBMIT:
		return do_submit(d, &arg->submit);
	case TSALIGN_IOC_SET_RULE:
		return do_set_rule(&arg->rule);
	case TSALIGN_IOC_REFERENCE:
		return do_reference(arg->word);
	case TSALIGN_IOC_TRIGGER:
		return tsa_trigger_set(&arg->trigger);
	default:
		return -ENOTTY;
	}
}

static bool known(unsigned int cmd)
{
	static const u32 all[] = {
		TSALIGN_IOC_INFO, TSALIGN_IOC_STREAM, TSALIGN_IOC_GET_RULE,
		TSALIGN_IOC_GET_TRIGGER, TSALIGN_IOC_CREATE,
		TSALIGN_IOC_SUBMIT, TSALIGN_IOC_SET_RULE,
		TSALIGN_IOC_REFERENCE, TSALIGN_IOC_TRIGGER,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i] == cmd)
			return true;
	return false;
}

static long cdev_ioctl(struct file *file, unsigned int cmd, unsigned long ptr)
{
	struct tsa_descriptor *d = file->private_data;
	void __user *user = (void __user *)ptr;
	union tsa_argument arg;
	long r;

	if (!known(cmd))
		return -ENOTTY;
	if (_IOC_NR(cmd) >= _IOC_NR(TSALIGN_IOC_CREATE) &&
	    !(file->f_mode & FMODE_WRITE))
		return -EPERM;
	memset(&arg, 0, sizeof(arg));
	if (_IOC_DIR(cmd) & _IOC_WRITE &&
	    copy_from_user(&arg, user, _IOC_SIZE(cmd)))
		return -EFAULT;
	mutex_lock(&d->lock);
	r = ioctl_call(d, cmd, &arg);
	mutex_unlock(&d->lock);
	if (!r && _IOC_DIR(cmd) & _IOC_READ &&
	    copy_to_user(user, &arg, _IOC_SIZE(cmd)))
		return -EFAULT;
	return r;
}

static const struct file_operations cdev_fops = {
	.owner = THIS_MODULE,
	.open = cdev_open,
	.release = cdev_release,
	.read = cdev_read,
	.poll = cdev_poll,
	.mmap = cdev_mmap,
	.unlocked_ioctl = cdev_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice cdev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "tsalign",
	.fops = &cdev_fops,
	.mode = 0660,
};

int tsa_cdev_init(struct device **ret)
{
	int r = misc_register(&cdev);

	*ret = cdev.this_device;
	return r;
}

void tsa_cdev_exit(void)
{
	misc_deregister(&cdev);
}
