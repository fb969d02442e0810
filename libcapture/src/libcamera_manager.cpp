/* SPDX-License-Identifier: Apache-2.0 */
#include "src/libcamera_manager.hpp"

#include <memory>
#include <mutex>

using namespace libcamera;

int libcamera_manager(CameraManager **ret_manager)
{
	static std::mutex lock;
	static CameraManager *manager;
	std::lock_guard<std::mutex> hold(lock);
	int r;

	if (!manager) {
		auto fresh = std::make_unique<CameraManager>();

		r = fresh->start();
		if (r < 0)
			return r;
		manager = fresh.release();
	}
	*ret_manager = manager;
	return 0;
}
