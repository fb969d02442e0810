/* SPDX-License-Identifier: Apache-2.0 */
/* Which sensors there are, and whose stream of the module is whose. */
#include <stdio.h>
#include <string.h>

#include "kvsctl/sync.h"

struct sync_sensor *sync_sensor(struct sync *s, const char *name)
{
	struct sync_sensor *sensor;
	size_t i;

	for (i = 0; i < s->count; i++) {
		if (strncmp(s->sensors[i].name, name, SYNC_NAME_CHARS - 1) == 0)
			return &s->sensors[i];
	}
	if (s->count == CTL_SYNC_SENSORS_MAX)
		return NULL;
	sensor = &s->sensors[s->count++];
	(void)snprintf(sensor->name, sizeof(sensor->name), "%s", name);
	sync_series_init(&sensor->series);
	return sensor;
}

struct sync_sensor *sync_sensor_of(struct sync *s, uint32_t id)
{
	size_t i;

	for (i = 0; i < s->count; i++) {
		const struct sync_sensor *sensor = &s->sensors[i];

		if (sensor->known && sensor->now.id == id &&
		    sensor->now.state != CAPTURE_ALIGN_GONE)
			return &s->sensors[i];
	}
	return NULL;
}

void sync_stream(struct sync *s, const struct capture_alignment *a)
{
	struct sync_sensor *before = sync_sensor_of(s, a->id);
	struct sync_sensor *sensor = sync_sensor(s, a->name);

	if (before && before != sensor)
		before->now.state = CAPTURE_ALIGN_GONE;
	if (!sensor)
		return;
	sensor->now = *a;
	sensor->known = true;
}
