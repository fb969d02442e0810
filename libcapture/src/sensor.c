/* SPDX-License-Identifier: Apache-2.0 */
#include "src/sensor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/limits.h"

int sensor_list_add(struct capture_sensor_list *list,
		    enum capture_source_kind kind,
		    struct capture_sensor **ret_sensor)
{
	struct capture_sensor *more;
	size_t of_kind = 0;
	size_t i;

	for (i = 0; i < list->count; i++)
		of_kind += list->sensors[i].kind == kind;
	if (of_kind >= CAPTURE_SENSORS_MAX)
		return -ENOSPC;
	more = reallocarray(list->sensors, list->count + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	list->sensors = more;
	more += list->count++;
	memset(more, 0, sizeof(*more));
	more->kind = kind;
	*ret_sensor = more;
	return 0;
}

struct capture_sensor_list *
capture_sensor_list_free(struct capture_sensor_list *list)
{
	size_t i;

	if (!list)
		return NULL;
	for (i = 0; i < list->count; i++)
		free(list->sensors[i].elements);
	free(list->sensors);
	free(list);
	return NULL;
}

int capture_sensor_list_new(struct capture_sensor_list **ret_list)
{
	struct capture_sensor_list *list = calloc(1, sizeof(*list));
	int r = 0;

	if (!list)
		return -ENOMEM;
#if HAVE_ALSA
	r = source_alsa_list(list);
#endif
#if HAVE_IIO
	if (r == 0)
		r = source_iio_list(list);
#endif
	if (r < 0) {
		(void)capture_sensor_list_free(list);
		return r;
	}
	*ret_list = list;
	return 0;
}
