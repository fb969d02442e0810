/* SPDX-License-Identifier: Apache-2.0 */
#include "kvsctl/doctor.h"

#include <stdarg.h>
#include <string.h>

#include <capture/media.h>

#include "base/parse.h"
#include "kvsctl/ctl.h"
#include "kvsctl/devices.h"
#include "kvsctl/output.h"
#include "kvsctl/sync.h"

void doctor_lack(struct doctor *d, bool needed, const char *remedy,
		 const char *fmt, ...)
{
	char what[DOCTOR_DETAIL_CHARS];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	d->incomplete |= needed;
	(void)json_array_append_new(
		d->lacks, json_pack("{s:s, s:b, s:s}", "what", what, "needed",
				    needed, "remedy", remedy));
}

static void doctor_devices(struct doctor *d)
{
	json_t *devices = json_array();
	char link[DOCTOR_LINK_CHARS];
	size_t i;

	for (i = 0; i < d->list->count; i++) {
		json_t *device = devices_json(d->list->devices[i]);

		doctor_stable_path(d->list->devices[i]->path, link);
		if (strcmp(link, d->list->devices[i]->path) != 0)
			(void)json_object_set_new(device, "link",
						  json_string(link));
		(void)json_array_append_new(devices, device);
	}
	(void)json_object_set_new(d->report, "devices", devices);
}

static void examine(struct doctor *d)
{
	doctor_system(d);
	doctor_media(d);
	doctor_devices(d);
	doctor_sensors(d);
	doctor_controls(d);
	doctor_streams(d);
	/* After them: the module knows a camera from its first frame on. */
	(void)json_object_set_new(d->report, "tsalign", sync_tsalign_json());
	doctor_advice(d);
	(void)json_object_set_new(
		d->report, "verdict",
		json_string(
			d->incomplete
				? "incomplete: see MISSING"
				: "ready: nothing that is needed is missing"));
	(void)json_object_set_new(d->report, "complete",
				  json_boolean(!d->incomplete));
}

/*
 * The sensor, or the device node, of what was asked for, so that it is found
 * in its list. A link is followed.
 */
static int find_device(struct doctor *d, const char *text,
		       char path[CAPTURE_PATH_BYTES])
{
	char link[DOCTOR_LINK_CHARS];
	size_t i;
	int r;

	d->sensor = doctor_find_sensor(d->sensors, text);
	if (d->sensor) {
		d->device = d->sensor->path;
		return CTL_OK;
	}
	r = capture_device_match(NULL, text, path);
	if (r < 0)
		return ctl_fail(CTL_LACKING, "%s: no such camera or sensor: %s",
				text, strerror(-r));
	for (i = 0; i < d->list->count; i++) {
		doctor_stable_path(d->list->devices[i]->path, link);
		if (strcmp(link, path) == 0)
			memcpy(path, d->list->devices[i]->path,
			       CAPTURE_PATH_BYTES);
	}
	d->device = path;
	return CTL_OK;
}

static int report(struct ctl *ctl, struct doctor *d, const char *record)
{
	int code = CTL_OK;
	int r;

	examine(d);
	if (ctl->json)
		code = output_json(d->report);
	else
		doctor_print(d->report, stdout);
	if (record) {
		r = doctor_record(d->report, record);
		if (r < 0)
			return ctl_fail(CTL_LOCAL, "cannot write %s: %s",
					record, strerror(-r));
		ctl_note("recorded in %s; its CONTENTS says what is in it",
			 record);
	}
	if (code == CTL_OK && d->incomplete)
		code = CTL_LACKING;
	return code;
}

static int take_seconds(const char *text, unsigned int *ret)
{
	uint64_t value;

	*ret = CTL_DOCTOR_SECONDS;
	if (!text)
		return CTL_OK;
	if (parse_u64(text, strlen(text), CTL_DOCTOR_SECONDS_MAX, &value) < 0 ||
	    !value)
		return ctl_fail(CTL_USAGE,
				"--seconds '%s' is not a number from 1 to %u",
				text, CTL_DOCTOR_SECONDS_MAX);
	*ret = (unsigned int)value;
	return CTL_OK;
}

int doctor_command(struct ctl *ctl, int argc, char **argv)
{
	const char *record = NULL;
	const char *seconds = NULL;
	const struct arg_option options[] = {
		{"record", 0, NULL, &record, NULL},
		{"seconds", 0, NULL, &seconds, NULL},
		{NULL, 0, NULL, NULL, NULL},
	};
	char path[CAPTURE_PATH_BYTES];
	struct doctor d = {0};
	struct args args;
	bool over;
	int code;
	int r;

	code = ctl_args(ctl, argc, argv, options, "[DEVICE]", 0, 1, &args,
			&over);
	if (code != CTL_OK || over)
		return code;
	code = take_seconds(seconds, &d.seconds);
	if (code != CTL_OK)
		return code;
	r = capture_device_list_new(NULL, &d.list);
	if (r < 0)
		return ctl_fail(CTL_LOCAL, "cannot list the devices: %s",
				strerror(-r));
	r = capture_sensor_list_new(&d.sensors);
	if (r < 0) {
		(void)capture_device_list_free(d.list);
		return ctl_fail(CTL_LOCAL, "cannot list the sensors: %s",
				strerror(-r));
	}
	d.lacks = json_array();
	d.report = json_pack("{s:i, s:O}", "doctor", 1, "lacks", d.lacks);
	if (args.count)
		code = find_device(&d, args.operands[0], path);
	if (code == CTL_OK)
		code = report(ctl, &d, record);
	json_decref(d.report);
	json_decref(d.lacks);
	(void)capture_sensor_list_free(d.sensors);
	(void)capture_device_list_free(d.list);
	return code;
}
