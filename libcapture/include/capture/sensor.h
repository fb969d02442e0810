/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What there is that gives frames and is no V4L2 node: PCMs of sound cards,
 * buffers of industrial I/O devices. capture/device.h lists the V4L2 nodes.
 */
#ifndef CAPTURE_SENSOR_H
#define CAPTURE_SENSOR_H

#include <stddef.h>
#include <stdint.h>

#include <capture/api.h>
#include <capture/device.h>
#include <capture/source.h>

#define CAPTURE_SENSOR_RATES_MAX 16
#define CAPTURE_SENSOR_NAME_BYTES 80
#define CAPTURE_SENSOR_FORMATS_BYTES 256

/* One of them, as its driver declares it. */
struct capture_sensor {
	enum capture_source_kind kind; /* CAPTURE_SOURCE_ALSA or _IIO */
	/* As capture_source_config.path has it: "hw:0,0", "iio:device0". */
	char path[CAPTURE_PATH_BYTES];
	char name[CAPTURE_SENSOR_NAME_BYTES]; /* the driver's */
	/*
	 * 0, or why nothing below is known: -EBUSY (another program has it),
	 * -EACCES, -ENODEV (unplugged; an IIO device without a buffer), or
	 * what its driver said.
	 */
	int error;
	/*
	 * Samples per second. ALSA: what the card can, and those of the usual
	 * rates that it has. IIO: what it is set to; 0: it does not say.
	 */
	uint32_t rate_min;
	uint32_t rate_max;
	uint32_t rates[CAPTURE_SENSOR_RATES_MAX];
	size_t rate_count;
	uint32_t channels_min;
	uint32_t channels_max;
	/* ALSA: its names of the samples' formats, with spaces between. */
	char formats[CAPTURE_SENSOR_FORMATS_BYTES];
	/* IIO: "": none is chosen, so most devices give nothing. */
	char trigger[CAPTURE_SENSOR_NAME_BYTES];
	/* IIO: the clock of timestamps; "": it cannot be chosen. */
	char clock[CAPTURE_SENSOR_NAME_BYTES];
	struct capture_scan_element *elements; /* IIO: of a scan */
	size_t element_count;
};

struct capture_sensor_list {
	struct capture_sensor *sensors;
	size_t count;
};

/**
 * capture_sensor_list_new() - ask every sound card and IIO device
 * @ret_list: owned by the caller: PCMs in the order of their cards, then IIO
 *  devices; may be empty
 *
 * Changes nothing. A kind whose library is not built in has no sensors. At
 * most 64 of each kind are asked.
 *
 * Context: any thread; blocks as long as the drivers' open does.
 * Return: 0, -ENOMEM.
 */
CAPTURE_API int capture_sensor_list_new(struct capture_sensor_list **ret_list)
	CAPTURE_MUST_CHECK;

/* Takes NULL; returns NULL. */
CAPTURE_API struct capture_sensor_list *
capture_sensor_list_free(struct capture_sensor_list *list);

#endif
