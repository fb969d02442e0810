/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcamera has one manager per process. It is started by the first open and
 * kept: to stop it takes a thread and a list of cameras from a source that
 * another thread may be opening, and to start it again enumerates all devices.
 */
#ifndef CAPTURE_SRC_LIBCAMERA_MANAGER_H
#define CAPTURE_SRC_LIBCAMERA_MANAGER_H

#include <libcamera/camera_manager.h>

/* Any thread. 0, or the errno of its start. */
int libcamera_manager(libcamera::CameraManager **ret_manager);

#endif
