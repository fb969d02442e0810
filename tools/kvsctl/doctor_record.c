/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The archive of --record, for whoever helps from afar: the report and what
 * of the machine's own words explains it. What goes in is listed here and
 * nowhere else: no host name, no user name, no configuration of kvsd, no
 * environment, no address.
 */
#include "kvsctl/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"
#include "kvsctl/output.h"
#include "kvsctl/limits.h"
#include "kvsctl/tar.h"

#define LOG_RECORD_BYTES 8192u
#define FOLDER "kvsctl-doctor/"

struct archive {
	FILE *out;
	uint64_t now_s;
	int result;
};

static void put(struct archive *a, const char *name, const void *bytes,
		size_t len)
{
	char path[TAR_NAME_BYTES];

	if (a->result < 0)
		return;
	(void)snprintf(path, sizeof(path), FOLDER "%s", name);
	a->result = tar_add(a->out, path, bytes, len, a->now_s);
}

/* A file of /proc or /boot as it is; left out when it cannot be read. */
static bool put_file(struct archive *a, const char *name, const char *path)
{
	char *bytes = NULL;
	size_t len = 0;

	if (sys_read_file(sys_posix(), AT_FDCWD, path,
			  CTL_DOCTOR_FILE_BYTES_MAX, &bytes, &len) < 0)
		return false;
	put(a, name, bytes, len);
	free(bytes);
	return true;
}

static void put_report(struct archive *a, const json_t *report)
{
	char *bytes = json_dumps(report, JSON_INDENT(2) | OUTPUT_JSON_FLAGS);
	size_t len = 0;
	FILE *text;

	if (!bytes) {
		a->result = -ENOMEM;
		return;
	}
	put(a, "report.json", bytes, strlen(bytes));
	free(bytes);
	bytes = NULL;
	text = open_memstream(&bytes, &len);
	if (!text) {
		a->result = -ENOMEM;
		return;
	}
	doctor_print(report, text);
	(void)fclose(text);
	put(a, "report.txt", bytes, len);
	free(bytes);
}

/* The last of the kernel's log, a record a line; needs the right to read it. */
static void put_kernel_log(struct archive *a)
{
	char *log = malloc(CTL_DOCTOR_FILE_BYTES_MAX + 1);
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	unsigned int records = 0;
	size_t len = 0;

	while (log && fd >= 0 && records++ < CTL_DOCTOR_LOG_RECORDS_MAX) {
		char record[LOG_RECORD_BYTES];
		ssize_t n = read(fd, record, sizeof(record));

		if (n < 0 && errno == EPIPE)
			continue; /* overwritten meanwhile: the next one */
		if (n <= 0)
			break;
		/* The newest matter: forget the older half when it is full. */
		if (len + (size_t)n > CTL_DOCTOR_FILE_BYTES_MAX) {
			memmove(log, log + len / 2, len - len / 2);
			len -= len / 2;
		}
		memcpy(log + len, record, (size_t)n);
		len += (size_t)n;
	}
	if (len)
		put(a, "kernel.log", log, len);
	if (fd >= 0)
		(void)close(fd);
	free(log);
}

static void put_kernel_config(struct archive *a)
{
	struct utsname u;
	char path[160];

	if (put_file(a, "config.gz", "/proc/config.gz") || uname(&u) < 0)
		return;
	(void)snprintf(path, sizeof(path), "/boot/config-%.64s", u.release);
	(void)put_file(a, "config", path);
}

static void put_names(struct archive *a, const json_t *report)
{
	char *bytes = NULL;
	const json_t *node;
	size_t len = 0;
	size_t i;
	FILE *text = open_memstream(&bytes, &len);

	if (!text) {
		a->result = -ENOMEM;
		return;
	}
	json_array_foreach(json_object_get(report, "nodes"), i, node)(void)
		fprintf(text, "%s\t%s\n",
			json_string_value(json_object_get(node, "path")),
			json_string_value(json_object_get(node, "name")));
	(void)fclose(text);
	put(a, "sysfs-names.txt", bytes, len);
	free(bytes);
}

int doctor_record(const json_t *report, const char *path)
{
	static const char contents[] =
		"report.json, report.txt  what kvsctl doctor found\n"
		"sysfs-names.txt          device nodes and their drivers' "
		"names\n"
		"cpuinfo, meminfo,        as in /proc\n"
		"modules, interrupts, version\n"
		"kernel.log               /dev/kmsg, if it may be read\n"
		"config or config.gz      how the kernel was configured\n"
		"\n"
		"The kernel's log may name hardware addresses and serial "
		"numbers. There are\nno credentials, no pictures and no "
		"configuration of kvsd in here.\n";
	struct archive a = {.now_s = (uint64_t)time(NULL)};

	a.out = fopen(path, "wbe");
	if (!a.out)
		return -errno;
	put(&a, "CONTENTS", contents, sizeof(contents) - 1);
	put_report(&a, report);
	put_names(&a, report);
	(void)put_file(&a, "cpuinfo", "/proc/cpuinfo");
	(void)put_file(&a, "meminfo", "/proc/meminfo");
	(void)put_file(&a, "modules", "/proc/modules");
	(void)put_file(&a, "interrupts", "/proc/interrupts");
	(void)put_file(&a, "version", "/proc/sys/kernel/osrelease");
	put_kernel_log(&a);
	put_kernel_config(&a);
	if (a.result == 0)
		a.result = tar_end(a.out);
	if (fclose(a.out) != 0 && a.result == 0)
		a.result = -EIO;
	return a.result;
}
