/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel has, by trying it where that changes nothing. The file that
 * knows the kernel's headers other than V4L2's.
 */
#include "kvsctl/doctor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <linux/dma-heap.h>
#include <linux/io_uring.h>
#include <linux/udmabuf.h>

#define PROBE_OPS 256u
#define PROBE_BYTES 4096u
/* Of linux/io_uring.h from 6.0; the number is ABI. */
#define OP_SEND_ZC 47u

static struct doctor_feature *add(struct doctor_feature *f, size_t *count,
				  const char *name, const char *use,
				  const char *remedy)
{
	f = &f[(*count)++];
	memset(f, 0, sizeof(*f));
	f->name = name;
	f->use = use;
	f->remedy = remedy;
	return f;
}

static void say(struct doctor_feature *f, const char *what, int err)
{
	(void)snprintf(f->detail, sizeof(f->detail), "%s: %s", what,
		       strerror(err));
}

static bool exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}

/* Entries of a folder whose names begin with @prefix. */
static unsigned int count_entries(const char *folder, const char *prefix)
{
	DIR *dir = opendir(folder);
	const struct dirent *e;
	unsigned int count = 0;

	if (!dir)
		return 0;
	while ((e = readdir(dir))) {
		if (e->d_name[0] != '.' &&
		    strncmp(e->d_name, prefix, strlen(prefix)) == 0)
			count++;
	}
	(void)closedir(dir);
	return count;
}

/* --- memory ----------------------------------------------------------------- */

static int sealed_page(void)
{
	int fd = memfd_create("kvsctl-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, PROBE_BYTES) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0) {
		int err = errno;

		(void)close(fd);
		return -err;
	}
	return fd;
}

static void probe_udmabuf(struct doctor_feature *f)
{
	struct udmabuf_create create = {.size = PROBE_BYTES};
	int fd = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	int page;
	int buf;

	f->measured = true;
	if (fd < 0) {
		say(f, "/dev/udmabuf", errno);
		f->state = errno == ENOENT || errno == ENXIO ? DOCTOR_ABSENT
							     : DOCTOR_UNKNOWN;
		return;
	}
	page = sealed_page();
	create.memfd = (uint32_t)page;
	buf = page < 0 ? -1 : ioctl(fd, UDMABUF_CREATE, &create);
	f->state = buf < 0 ? DOCTOR_ABSENT : DOCTOR_PRESENT;
	if (buf < 0)
		say(f, "UDMABUF_CREATE", page < 0 ? -page : errno);
	else
		(void)close(buf);
	if (page >= 0)
		(void)close(page);
	(void)close(fd);
}

static void probe_heap(struct doctor_feature *f)
{
	struct dma_heap_allocation_data data = {
		.len = PROBE_BYTES,
		.fd_flags = O_RDWR | O_CLOEXEC,
	};
	int fd;

	f->measured = true;
	if (!count_entries("/dev/dma_heap", "")) {
		say(f, "/dev/dma_heap", ENOENT);
		return;
	}
	fd = open("/dev/dma_heap/system", O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		say(f, "/dev/dma_heap/system", errno);
		f->state = DOCTOR_UNKNOWN;
		return;
	}
	if (ioctl(fd, DMA_HEAP_IOCTL_ALLOC, &data) == 0) {
		f->state = DOCTOR_PRESENT;
		(void)close((int)data.fd);
	} else {
		say(f, "DMA_HEAP_IOCTL_ALLOC", errno);
	}
	(void)close(fd);
}

/* A number of /proc/meminfo: "CmaTotal:   65536 kB"; false: not listed. */
static bool meminfo(const char *key, unsigned long *ret)
{
	FILE *file = fopen("/proc/meminfo", "re");
	char line[160];
	bool found = false;

	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file)) {
		if (strncmp(line, key, strlen(key)) != 0 ||
		    line[strlen(key)] != ':')
			continue;
		*ret = strtoul(line + strlen(key) + 1, NULL, 10);
		found = true;
	}
	(void)fclose(file);
	return found;
}

static void probe_cma(struct doctor_feature *f)
{
	unsigned long total = 0;
	unsigned long available = 0;
	bool listed = meminfo("CmaTotal", &total);

	(void)meminfo("CmaFree", &available);
	f->state = total ? DOCTOR_PRESENT : DOCTOR_ABSENT;
	if (listed)
		(void)snprintf(f->detail, sizeof(f->detail),
			       "%lu kB, %lu kB free", total, available);
	else
		(void)snprintf(f->detail, sizeof(f->detail),
			       "not in /proc/meminfo");
}

static void probe_huge_pages(struct doctor_feature *f)
{
	unsigned long available = 0;

	(void)meminfo("HugePages_Free", &available);
	f->state = available ? DOCTOR_PRESENT : DOCTOR_ABSENT;
	(void)snprintf(f->detail, sizeof(f->detail), "%lu free", available);
}

/* --- network and rings
 * -------------------------------------------------------- */

/* A connected TCP socket on the loopback, or -errno. */
static int connected_socket(int *ret_peer)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	socklen_t len = sizeof(addr);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int err = 0;

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (listener < 0 || fd < 0 ||
	    bind(listener, (struct sockaddr *)&addr, len) < 0 ||
	    listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&addr, &len) < 0 ||
	    connect(fd, (struct sockaddr *)&addr, len) < 0)
		err = errno;
	*ret_peer = listener;
	if (!err)
		return fd;
	if (fd >= 0)
		(void)close(fd);
	return -err;
}

static void probe_ktls(struct doctor_feature *f)
{
	int listener = -1;
	int fd = connected_socket(&listener);

	f->measured = true;
	if (fd < 0) {
		say(f, "loopback", -fd);
		f->state = DOCTOR_UNKNOWN;
	} else if (setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 4) == 0) {
		f->state = DOCTOR_PRESENT;
	} else {
		say(f, "TCP_ULP tls", errno);
	}
	if (fd >= 0)
		(void)close(fd);
	if (listener >= 0)
		(void)close(listener);
}

static void probe_send_zc(int ring, struct doctor_feature *f)
{
	struct io_uring_probe *probe =
		calloc(1, sizeof(*probe) + PROBE_OPS * sizeof(probe->ops[0]));

	f->measured = true;
	f->state = DOCTOR_UNKNOWN;
	if (!probe)
		return;
	if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_PROBE, probe,
		    PROBE_OPS) < 0) {
		say(f, "IORING_REGISTER_PROBE", errno);
	} else if (probe->last_op >= OP_SEND_ZC &&
		   (probe->ops[OP_SEND_ZC].flags & IO_URING_OP_SUPPORTED)) {
		f->state = DOCTOR_PRESENT;
	} else {
		f->state = DOCTOR_ABSENT;
		(void)snprintf(f->detail, sizeof(f->detail),
			       "the last operation is %u, SEND_ZC is %u",
			       probe->last_op, OP_SEND_ZC);
	}
	free(probe);
}

/* Fills in both: a ring, and whether it can send without a copy. */
static void probe_io_uring(struct doctor_feature *ring,
			   struct doctor_feature *zc)
{
	struct io_uring_params params = {0};
	int fd = (int)syscall(SYS_io_uring_setup, 4, &params);

	ring->measured = true;
	if (fd < 0) {
		say(ring, "io_uring_setup", errno);
		say(zc, "io_uring_setup", errno);
		return;
	}
	ring->state = DOCTOR_PRESENT;
	probe_send_zc(fd, zc);
	(void)close(fd);
}

/* --- what is listed
 * ------------------------------------------------------------ */

static void listed(struct doctor_feature *f, unsigned int count,
		   const char *what)
{
	f->state = count ? DOCTOR_PRESENT : DOCTOR_ABSENT;
	(void)snprintf(f->detail, sizeof(f->detail), "%u %s", count, what);
}

static size_t list_subsystems(struct doctor_feature *all, size_t n)
{
	struct doctor_feature *f;

	f = add(all, &n, "v4l2", "cameras and encoders",
		"CONFIG_MEDIA_SUPPORT=y CONFIG_VIDEO_DEV=y and the driver of "
		"the camera; load its module");
	f->needed = true;
	f->state = exists("/sys/class/video4linux") ? DOCTOR_PRESENT
						    : DOCTOR_ABSENT;
	listed(f, count_entries("/sys/class/video4linux", "video"),
	       "video nodes");
	f = add(all, &n, "media", "links and formats of sensors",
		"CONFIG_MEDIA_CONTROLLER=y");
	listed(f, count_entries("/sys/bus/media/devices", "media"),
	       "media devices");
	f = add(all, &n, "vivid", "a virtual camera for tests",
		"CONFIG_VIDEO_VIVID=m, modprobe vivid");
	f->state = exists("/sys/module/vivid") ? DOCTOR_PRESENT : DOCTOR_ABSENT;
	f = add(all, &n, "alsa", "audio", "CONFIG_SND=y and the card's driver");
	listed(f, count_entries("/sys/class/sound", "card"), "cards");
	f = add(all, &n, "iio", "industrial I/O",
		"CONFIG_IIO=y CONFIG_IIO_BUFFER=y and the device's driver");
	listed(f, count_entries("/sys/bus/iio/devices", "iio:device"),
	       "devices");
	f = add(all, &n, "tsalign", "one time base of all sensors",
		"load kvsd's tsalign module, if it is built");
	listed(f, count_entries("/dev", "tsalign"), "character devices");
	return n;
}

size_t doctor_kernel(struct doctor_feature *ret)
{
	struct doctor_feature *f;
	struct doctor_feature *zc;
	size_t n = 0;

	n = list_subsystems(ret, n);
	probe_udmabuf(add(ret, &n, "udmabuf",
			  "memory rung S1: no copy from camera to network",
			  "CONFIG_UDMABUF=y; access: udev/70-kvsd.rules"));
	probe_huge_pages(add(ret, &n, "huge pages",
			     "memory rung S2: contiguous without an IOMMU",
			     "sysctl vm.nr_hugepages=16"));
	probe_heap(add(ret, &n, "dma-heap", "memory from the system's heap",
		       "CONFIG_DMABUF_HEAPS=y CONFIG_DMABUF_HEAPS_SYSTEM=y"));
	probe_cma(add(ret, &n, "cma", "devices that need contiguous memory",
		      "CONFIG_DMA_CMA=y, boot with cma=128M"));
	f = add(ret, &n, "io_uring", "kvsd's event loop",
		"CONFIG_IO_URING=y; sysctl kernel.io_uring_disabled=0");
	f->needed = true;
	zc = add(ret, &n, "io_uring SEND_ZC", "sending without a copy",
		 "Linux 6.0 or later");
	probe_io_uring(f, zc);
	probe_ktls(add(ret, &n, "ktls", "TLS without a copy in user space",
		       "CONFIG_TLS=y, or modprobe tls"));
	return n;
}
