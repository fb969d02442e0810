// SPDX-License-Identifier: GPL-2.0-only
/*
 * For guests alone: a board whose sensor is vivid, with a strobe line that an
 * edge comes on before each of vivid's buffers is done, so that it is known
 * which edge is whose.
 *
 * With exposure=1 the board tells nothing of the sensor. vivid's node then has
 * an exposure (in rows), and what a row's length is made of, as a camera's has:
 * 320 pixels and 400 blank ones at 36 MHz, 20 us. The edge is the end of the
 * frame. The controls stay until vivid goes.
 *
 * debugfs, /sys/kernel/debug/tsalign_shutter/:
 *	irq		of the line, as /proc/interrupts has it; 0: no edges
 *	fault		what to make: "skip" an edge, or let one come "twice"
 *	fault_at	before which sequence number, or the next; 0: none
 *	truth		read: struct shot[] since fault_at was last written
 */
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/gpio/consumer.h>
#include <linux/irq.h>
#include <linux/module.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>
#include <media/v4l2-ctrls.h>
#include <media/v4l2-dev.h>
#include <media/videobuf2-v4l2.h>
#include <trace/events/vb2.h>

#include "board.h"

#define SHOTS_MAX	4096
#define LAG_US		500	/* edge to buffer */
#define EDGES_MAX	32	/* beyond it, another start */
#define FIRST		20	/* before tsalign's own probe */

static char *gpio;
module_param(gpio, charp, 0444);
MODULE_PARM_DESC(gpio, "label of a gpio-sim chip: its line 0 is the strobe");

static bool strobe;
module_param(strobe, bool, 0444);
MODULE_PARM_DESC(strobe, "the sensor node tells of its strobe");

static bool exposure;
module_param(exposure, bool, 0444);
MODULE_PARM_DESC(exposure, "vivid has an exposure, and no sensor node");

static int bad;
module_param(bad, int, 0444);
MODULE_PARM_DESC(bad, "which mistake the sensor's properties have; 0: none");

static struct shot {
	u64 sequence;
	u64 raised;		/* edges */
	u64 before_ns, after_ns;	/* BOOTTIME */
} shots[SHOTS_MAX];

static u32 shot_count;
static u32 fault_at;
static bool fault_twice;
static u32 irq;
static struct dentry *root;
static struct platform_device *board;
static struct device *camera;

/* How many edges a sensor would have made since the last buffer. */
static u32 edges_since(u32 sequence)
{
	static u32 last;
	u32 edges = sequence - last;

	/* vivid leaves numbers out when its host is busy; a restart begins at 0. */
	if (!shot_count || edges > EDGES_MAX)
		edges = 1;
	last = sequence;
	if (!fault_at || sequence < fault_at)
		return edges;
	fault_at = 0;
	return fault_twice ? edges + 1 : edges - 1;
}

static void shoot(void *data, struct vb2_queue *q, struct vb2_buffer *vb)
{
	u32 sequence = to_vb2_v4l2_buffer(vb)->sequence;
	struct shot *s;
	u32 edges;

	if (vb->state == VB2_BUF_STATE_QUEUED || q->is_output || !irq ||
	    shot_count >= SHOTS_MAX)
		return;
	edges = edges_since(sequence);
	s = &shots[shot_count];
	s->sequence = sequence;
	for (s->raised = 0; s->raised < edges; s->raised++) {
		s->before_ns = ktime_get_boottime_ns();
		if (generic_handle_irq_safe(irq))
			break;
	}
	s->after_ns = ktime_get_boottime_ns();
	udelay(LAG_US);
	shot_count++;
}

/* --- the board ------------------------------------------------------------------ */

static struct software_node chip = { .name = NULL };
static const struct software_node node = { .name = "tsalign" };
static const struct software_node camera_node = { .name = "camera" };
static struct property_entry strobe_props[4];
static struct property_entry sensor_props[8];
static struct software_node_ref_args line_ref, camera_ref, strobe_ref;
static const struct software_node strobe_node = {
	.name = "line-shutter", .parent = &node, .properties = strobe_props,
};
static const struct software_node sensor_node = {
	.name = "sensor-camera", .parent = &node, .properties = sensor_props,
};
static const struct software_node *const nodes[] = {
	&chip, &node, &strobe_node, &sensor_node, NULL,
};

/* What is referred to must outlive the call. */
static void board_properties(void)
{
	u32 s = 0;

	line_ref = (struct software_node_ref_args)
		SOFTWARE_NODE_REFERENCE(&chip, 0, GPIO_ACTIVE_HIGH);
	camera_ref = (struct software_node_ref_args)
		SOFTWARE_NODE_REFERENCE(&camera_node);
	strobe_ref = (struct software_node_ref_args)
		SOFTWARE_NODE_REFERENCE(&strobe_node);
	strobe_props[0] = PROPERTY_ENTRY_STRING("kvsd,role", "strobe");
	strobe_props[1] = board_reference("gpios", &line_ref);
	strobe_props[2] = PROPERTY_ENTRY_STRING("label", "shutter");
	if (bad != 1)
		sensor_props[s++] = board_reference("kvsd,capture", &camera_ref);
	if (strobe) {
		sensor_props[s++] = board_reference("kvsd,strobe", &strobe_ref);
		sensor_props[s++] = PROPERTY_ENTRY_STRING("kvsd,point",
							  "start-of-exposure");
		return;
	}
	if (bad == 2)
		sensor_props[s++] = board_reference("kvsd,strobe", &camera_ref);
	sensor_props[s++] = PROPERTY_ENTRY_STRING("kvsd,stamped",
						  "end-of-frame");
	if (bad != 3)
		sensor_props[s++] = PROPERTY_ENTRY_STRING("kvsd,point",
							  bad == 4 ?
							  "mid-exposure" :
							  "start-of-frame");
	sensor_props[s++] = PROPERTY_ENTRY_U32("kvsd,delay-ns", 2000000);
	sensor_props[s++] = PROPERTY_ENTRY_U32("kvsd,readout-ns",
					       bad == 5 ? 0 : 10000000);
}

static const struct software_node *const lines_alone[] = {
	&chip, &node, &strobe_node, NULL,
};

static const struct software_node *const *board_nodes(void)
{
	return exposure ? lines_alone : nodes;
}

static int board_make(void)
{
	chip.name = gpio;
	board_properties();
	return board_register(board_nodes(), &board);
}

/* --- the camera's controls ------------------------------------------------------ */

static int control_add(struct v4l2_ctrl_handler *handler, u32 id, s64 max,
		       s64 value)
{
	/* From an earlier load: without ops, so there is no code of ours. */
	if (v4l2_ctrl_find(handler, id))
		return 0;
	v4l2_ctrl_new_std(handler, NULL, id, 1, max, 1, value);
	return handler->error;
}

static int node_add(struct device *dev, void *unused)
{
	struct video_device *video;
	int r;

	if (strncmp(dev_name(dev), "video", 5) || !dev->class ||
	    strcmp(dev->class->name, "video4linux"))
		return 0;
	video = to_video_device(dev);
	if (!video->ctrl_handler || !(video->device_caps & V4L2_CAP_VIDEO_CAPTURE))
		return 0;
	r = control_add(video->ctrl_handler, V4L2_CID_EXPOSURE, 1500, 250);
	if (!r)
		r = control_add(video->ctrl_handler, V4L2_CID_HBLANK, 400, 400);
	if (!r)
		r = control_add(video->ctrl_handler, V4L2_CID_PIXEL_RATE,
				36000000, 36000000);
	return r ?: 1;
}

static int controls_add(void)
{
	int r = exposure ? device_for_each_child(camera, NULL, node_add) : 1;

	return r > 0 ? 0 : r ?: -ENODEV;
}

/* --- debugfs ---------------------------------------------------------------------- */

static ssize_t truth_read(struct file *file, char __user *buf, size_t size,
			  loff_t *pos)
{
	return simple_read_from_buffer(buf, size, pos, shots,
				       shot_count * sizeof(shots[0]));
}

static ssize_t fault_write(struct file *file, const char __user *buf,
			   size_t size, loff_t *pos)
{
	char text[16] = "";

	if (size >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, buf, size))
		return -EFAULT;
	fault_twice = strstarts(text, "twice");
	return fault_twice || strstarts(text, "skip") ? size : -EINVAL;
}

static int fault_at_set(void *data, u64 value)
{
	fault_at = value;
	shot_count = 0;
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(fault_at_fops, NULL, fault_at_set, "%llu\n");

static const struct file_operations truth_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.read = truth_read,
	.llseek = default_llseek,
};

static const struct file_operations fault_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = fault_write,
};

static int __init shutter_init(void)
{
	int r;

	camera = bus_find_device_by_name(&platform_bus_type, NULL, "vivid.0");
	if (!camera)
		return -ENODEV;
	r = device_add_software_node(camera, &camera_node);
	if (r)
		goto put;
	r = controls_add();
	if (!r)
		r = board_make();
	if (r)
		goto unname;
	r = register_trace_prio_vb2_buf_done(shoot, NULL, FIRST);
	if (r)
		goto board;
	root = debugfs_create_dir("tsalign_shutter", NULL);
	debugfs_create_u32("irq", 0600, root, &irq);
	debugfs_create_file("truth", 0400, root, NULL, &truth_fops);
	debugfs_create_file("fault", 0200, root, NULL, &fault_fops);
	debugfs_create_file_unsafe("fault_at", 0200, root, NULL, &fault_at_fops);
	return 0;
board:
	board_unregister(board_nodes(), board);
unname:
	device_remove_software_node(camera);
put:
	put_device(camera);
	return r;
}

static void __exit shutter_exit(void)
{
	debugfs_remove_recursive(root);
	unregister_trace_vb2_buf_done(shoot, NULL);
	tracepoint_synchronize_unregister();
	board_unregister(board_nodes(), board);
	device_remove_software_node(camera);
	put_device(camera);
}

module_init(shutter_init);
module_exit(shutter_exit);
MODULE_DESCRIPTION("vivid as a sensor with a strobe");
MODULE_LICENSE("GPL");
