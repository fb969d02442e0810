// SPDX-License-Identifier: GPL-2.0-only
/*
 * spiradar: for guests alone, an SPI controller with one device at its chip
 * select 0, that spidev takes. What a test writes into
 * /sys/kernel/debug/spiradar/stream is what the device says, a write without
 * a gap in it; it says 0xff when it has nothing to say.
 */
#include <linux/debugfs.h>
#include <linux/kfifo.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/spi/spi.h>
#include <linux/wait.h>

#define STREAM_BYTES (1u << 20)

struct radar {
	struct platform_device *pdev;
	struct spi_controller *host;
	struct dentry *dir;
	struct mutex lock;		/* of the stream */
	struct kfifo stream;
	wait_queue_head_t room;
};

static struct radar radar;

static int radar_transfer(struct spi_controller *host, struct spi_device *spi,
			  struct spi_transfer *transfer)
{
	unsigned int n;

	if (!transfer->rx_buf)
		return 0;
	mutex_lock(&radar.lock);
	n = kfifo_out(&radar.stream, transfer->rx_buf, transfer->len);
	mutex_unlock(&radar.lock);
	memset(transfer->rx_buf + n, 0xff, transfer->len - n);
	wake_up_interruptible(&radar.room);
	return 0;
}

static ssize_t stream_write(struct file *file, const char __user *data,
			    size_t bytes, loff_t *at)
{
	unsigned int n;
	int r;

	if (bytes > STREAM_BYTES)
		return -EMSGSIZE;
	r = wait_event_interruptible(radar.room,
				     kfifo_avail(&radar.stream) >= bytes);
	if (r)
		return r;
	mutex_lock(&radar.lock);
	r = kfifo_from_user(&radar.stream, data, bytes, &n);
	mutex_unlock(&radar.lock);
	return r ? r : n;
}

static const struct file_operations stream_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = stream_write,
};

/* spidev takes devices of a few names, none of them general. */
static struct spi_board_info radar_board = {
	.modalias = "dh2228fv",
	.max_speed_hz = 20000000,
};

static int radar_register(void)
{
	struct spi_controller *host;
	int r;

	host = spi_alloc_host(&radar.pdev->dev, 0);
	if (!host)
		return -ENOMEM;
	host->bus_num = 0;
	host->num_chipselect = 1;
	host->mode_bits = SPI_CPOL | SPI_CPHA;
	host->bits_per_word_mask = SPI_BPW_MASK(8);
	host->transfer_one = radar_transfer;
	r = spi_register_controller(host);
	if (r) {
		spi_controller_put(host);
		return r;
	}
	if (!spi_new_device(host, &radar_board)) {
		spi_unregister_controller(host);
		return -ENODEV;
	}
	radar.host = host;
	return 0;
}

static int __init radar_init(void)
{
	int r;

	mutex_init(&radar.lock);
	init_waitqueue_head(&radar.room);
	r = kfifo_alloc(&radar.stream, STREAM_BYTES, GFP_KERNEL);
	if (r)
		return r;
	radar.pdev = platform_device_register_simple("spiradar", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(radar.pdev)) {
		r = PTR_ERR(radar.pdev);
		goto free_stream;
	}
	r = radar_register();
	if (r)
		goto unregister_device;
	radar.dir = debugfs_create_dir("spiradar", NULL);
	debugfs_create_file("stream", 0200, radar.dir, NULL, &stream_fops);
	return 0;

unregister_device:
	platform_device_unregister(radar.pdev);
free_stream:
	kfifo_free(&radar.stream);
	return r;
}

static void __exit radar_exit(void)
{
	debugfs_remove(radar.dir);
	spi_unregister_controller(radar.host);
	platform_device_unregister(radar.pdev);
	kfifo_free(&radar.stream);
}

module_init(radar_init);
module_exit(radar_exit);
MODULE_DESCRIPTION("SPI controller whose device says what a test writes");
MODULE_LICENSE("GPL");
