/* SPDX-License-Identifier: Apache-2.0 */
#include "src/avcodec.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "base/log.h"

/* A major version is an ABI, and part of the library's name. */
#define LIBAVCODEC "libavcodec.so." AV_STRINGIFY(LIBAVCODEC_VERSION_MAJOR)
#define LIBAVUTIL "libavutil.so." AV_STRINGIFY(LIBAVUTIL_VERSION_MAJOR)

static struct libav functions;
static bool loaded;

static bool find(void *codec, void *util, const char *name, void *ret_function,
		 size_t bytes)
{
	void *at = dlsym(codec, name);

	if (!at)
		at = dlsym(util, name);
	if (!at) {
		log_debug("capture", "libavcodec has no %s", name);
		return false;
	}
	/* ISO C has no conversion of an object's address to a function's. */
	memcpy(ret_function, &at, bytes);
	return true;
}

static void load(void)
{
	void *codec = dlopen(LIBAVCODEC, RTLD_NOW | RTLD_LOCAL);
	void *util = dlopen(LIBAVUTIL, RTLD_NOW | RTLD_LOCAL);

	if (!codec || !util) {
		log_debug("capture", "%s", dlerror());
		return;
	}
	loaded = true;
#define FIND(f)                                             \
	loaded = loaded && find(codec, util, #f, &functions.f, \
				sizeof(functions.f));
	LIBAV_FUNCTIONS(FIND)
#undef FIND
}

const struct libav *libav(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, load);
	return loaded ? &functions : NULL;
}
