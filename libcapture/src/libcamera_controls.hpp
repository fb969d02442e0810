/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings of a libcamera camera: controls by libcamera's own names,
 * checked against what the camera says of them, and kept until a request
 * takes them along. libcamera has no call to read one, and puts none back.
 */
#ifndef CAPTURE_SRC_LIBCAMERA_CONTROLS_H
#define CAPTURE_SRC_LIBCAMERA_CONTROLS_H

#include <cstdint>

#include <libcamera/controls.h>

extern "C" {
#include <capture/settings.h>
}

class LibcameraControls
{
      public:
	LibcameraControls();

	/*
	 * All of @settings. 0, or as set(); capture_settings.error says which
	 * one it was.
	 */
	int apply(const libcamera::ControlInfoMap &known,
		  const struct capture_settings *settings);
	/*
	 * As capture_source_set_control(): 0, -ENXIO (it has none such),
	 * -ERANGE, -EOPNOTSUPP (no number; a menu's entry by its text).
	 */
	int set(const libcamera::ControlInfoMap &known,
		const struct capture_control_setting &setting);

	/* For Camera::start(): all, and the first request has them again. */
	const libcamera::ControlList *start();
	/* What was set since the last request goes along with this one. */
	void give(libcamera::ControlList &request);

	/* Time of a frame in microseconds; 0: as the camera likes. */
	void set_frame_time(int64_t us);

      private:
	libcamera::ControlList all_;
	libcamera::ControlList pending_;
};

/* Tells @settings' owner which one failed. Returns @error. */
int libcamera_refuse(const struct capture_settings *settings, const char *name,
		     int error);

#endif
