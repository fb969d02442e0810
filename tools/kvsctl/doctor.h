/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvsctl doctor: what a machine has for capture, in one JSON report from which
 * the text is printed. Each part fills in its members of the report. Values
 * that a driver or the kernel states are under "declared", those that were
 * found by doing it are under "measured", and what is not known is null.
 */
#ifndef KVSCTL_DOCTOR_H
#define KVSCTL_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <capture/device.h>
#include <capture/sensor.h>
#include <jansson.h>

#include "base/macros.h"
#include "kvsctl/doctor_names.h"

#define DOCTOR_DETAIL_CHARS 160u
#define DOCTOR_LINK_CHARS 256u

struct doctor {
	const char *device; /* as given; NULL: all that give frames */
	const struct capture_sensor *sensor; /* @device, if it is none of V4L2 */
	unsigned int seconds;		     /* to stream from each */
	struct capture_device_list *list;
	struct capture_sensor_list *sensors;
	json_t *report;
	json_t *lacks;	 /* in the report */
	bool incomplete; /* something that is needed is missing */
};

enum doctor_state { DOCTOR_ABSENT = 0, DOCTOR_PRESENT, DOCTOR_UNKNOWN };

/* Something that the kernel has or has not. */
struct doctor_feature {
	const char *name;
	enum doctor_state state;
	bool measured;	    /* it was tried; else the kernel lists it */
	bool needed;	    /* kvsd agent does not run without */
	const char *use;    /* what it is good for */
	const char *remedy; /* what to do when it is absent */
	char detail[DOCTOR_DETAIL_CHARS];
};

#define DOCTOR_FEATURES_MAX 20u

/* Tries each; changes nothing. Returns how many there are. */
size_t doctor_kernel(struct doctor_feature *ret /* DOCTOR_FEATURES_MAX */);

/* "machine", "kernel", "nodes", "audio", "iio", "permissions" */
void doctor_system(struct doctor *d);
/* "media" */
void doctor_media(struct doctor *d);
/* "sensors" */
void doctor_sensors(struct doctor *d);
/* "controls" */
void doctor_controls(struct doctor *d);
/* "streams", "pairs" */
void doctor_streams(struct doctor *d);
/* "suggested", and lacks of the whole */
void doctor_advice(struct doctor *d);
/* The report for people. @out: of a file or the screen. */
void doctor_print(const json_t *report, FILE *out);
/* The archive of --record. Return: 0, or an errno. */
int doctor_record(const json_t *report, const char *path) MUST_CHECK;

/* Something is missing: what, whether kvsd needs it, what to do. */
void doctor_lack(struct doctor *d, bool needed, const char *remedy,
		 const char *fmt, ...) PRINTF(4, 5);

/* "audio" or "iio" */
const char *doctor_sensor_kind(const struct capture_sensor *sensor);
/* By path, else by name; NULL: there is none. Borrowed from @list. */
const struct capture_sensor *
doctor_find_sensor(const struct capture_sensor_list *list, const char *text);

/* What an error of open, start or dequeue usually means. */
const char *doctor_explain(int r);

/* A link under /dev that leads to @path and stays the same; or @path. */
void doctor_stable_path(const char *path, char out[DOCTOR_LINK_CHARS]);

/* The name of its [source NAME]: no other camera's, and the same each time. */
void doctor_name_source(const char *path, char out[DOCTOR_SOURCE_CHARS]);

/*
 * The file's start as a string without its last newline; "" when it cannot be
 * read.
 */
void doctor_read_line(const char *path, char *out, size_t size);

#endif
