/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a fake device (support/fake_v4l2.h) can be set to beside its format:
 * controls, inputs, crop and compose, DV timings, rate, an ADC's frequency;
 * and its source-change events. As with real ones, some settings reset
 * others: an input everything but controls, timings and formats the
 * rectangles, a format the rate.
 */
#ifndef SUPPORT_FAKE_SETTINGS_H
#define SUPPORT_FAKE_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#define FAKE_CONTROLS 9
/* The sensor, in pixels; rectangles are multiples of FAKE_ALIGN. */
#define FAKE_SENSOR_WIDTH 128
#define FAKE_SENSOR_HEIGHT 96
#define FAKE_ALIGN 4
/* Inputs: a sensor, an HDMI receiver, an analog one. */
#define FAKE_INPUT_HDMI 1
#define FAKE_INPUT_TV 2
#define FAKE_INPUTS 3

struct fake_rect {
	int32_t left;
	int32_t top;
	uint32_t width;
	uint32_t height;
};

/* All that must be put back; compared by bytes, so no holes. */
struct fake_state {
	int64_t controls[FAKE_CONTROLS];
	struct fake_rect crop;
	struct fake_rect compose;
	uint32_t input;
	uint32_t timings_width;	/* of the HDMI input */
	uint32_t timings_height;
	uint32_t period_num;
	uint32_t period_den;
	uint32_t frequency;
	/* The capture queue's format, mirrored here. */
	uint32_t fourcc;
	uint32_t width;
	uint32_t height;
	uint32_t size;
	uint32_t unused;
};

struct fake_settings {
	struct fake_state now;
	/* What is plugged in. */
	uint32_t input_status;	/* V4L2_IN_ST_* of each input */
	int timings_error;	/* of QUERY_DV_TIMINGS */
	uint32_t found_width;	/* what it finds else */
	uint32_t found_height;
	bool no_cable;
	bool no_events;		/* SUBSCRIBE_EVENT is refused */
	bool no_selection;
	bool no_rate;		/* neither G_PARM nor S_PARM */
	bool fixed_rate;	/* G_PARM alone */
	bool no_inputs;
	bool is_sdr;
	bool grabbed;		/* controls are, while it streams */
	/* By input, which sets it when it is selected; 0: it does not. */
	int64_t brightness[FAKE_INPUTS];
	int32_t min_buffers;	/* 0: it has no such control */
	/* What happened. */
	unsigned int writes;	/* calls that set something */
	bool subscribed;
	unsigned int events;	/* source changes that wait */
	/* To the device: its format is to be made this; 0: no. */
	uint32_t reset_width;
	uint32_t reset_height;
};

void fake_settings_init(struct fake_settings *s);

/* @busy: buffers are allocated. -ENOTTY: not one of these calls. */
int fake_settings_ioctl(struct fake_settings *s, unsigned long request,
			void *arg, bool busy);

/* The device was set to another format. */
void fake_settings_format(struct fake_settings *s, uint32_t width,
			  uint32_t height);

#endif
