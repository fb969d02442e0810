/* SPDX-License-Identifier: Apache-2.0 */
/* The list of capture/sensor.h, as the kinds fill it in. */
#ifndef CAPTURE_SRC_SENSOR_H
#define CAPTURE_SRC_SENSOR_H

#include <capture/sensor.h>

#include "base/macros.h"

/*
 * One more, all zero but for its kind. It belongs to the list and moves with
 * the next call. Return: 0, -ENOMEM, -ENOSPC (CAPTURE_SENSORS_MAX of its kind).
 */
int sensor_list_add(struct capture_sensor_list *list,
		    enum capture_source_kind kind,
		    struct capture_sensor **ret_sensor) MUST_CHECK;

/* Each adds what there is of its kind. Return: 0, -ENOMEM. */
int source_alsa_list(struct capture_sensor_list *list) MUST_CHECK;
int source_iio_list(struct capture_sensor_list *list) MUST_CHECK;

#endif
