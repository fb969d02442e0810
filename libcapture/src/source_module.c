/* SPDX-License-Identifier: Apache-2.0 */
#include "src/source_module.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/sys.h"
#include "src/limits.h"

static bool fits(const struct source_module *m, enum capture_source_kind kind)
{
	return m->abi == SOURCE_MODULE_ABI && m->kind == (uint32_t)kind &&
	       m->config_bytes == sizeof(struct capture_source_config) &&
	       m->source_bytes == sizeof(struct capture_source) &&
	       m->ops_bytes == sizeof(struct source_ops) &&
	       m->holder_bytes == sizeof(struct frame_holder) &&
	       m->stats_bytes == sizeof(struct capture_source_stats) &&
	       m->sys_bytes == sizeof(struct sys_ops) && m->open;
}

static int module_path(const char *name, char *path, size_t bytes)
{
	/* Not of a set-user-ID program: whoever runs it names the code. */
	const char *folder = secure_getenv("CAPTURE_MODULE_PATH");
	int n = snprintf(path, bytes, "%s/%s",
			 folder ? folder : CAPTURE_MODULE_DIR, name);

	return n < 0 || (size_t)n >= bytes ? -ENAMETOOLONG : 0;
}

/*
 * Loading it again costs a look-up, so nothing is kept here that threads
 * would have to share. RTLD_NODELETE: libcamera's threads run its code.
 */
static int module_load(const char *name, enum capture_source_kind kind,
		       const struct source_module **ret_module)
{
	char path[CAPTURE_MODULE_PATH_BYTES];
	const struct source_module *m;
	void *handle;

	if (module_path(name, path, sizeof(path)) < 0)
		return -EOPNOTSUPP;
	handle = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (!handle) {
		log_debug("capture", "%s", dlerror());
		return -EOPNOTSUPP;
	}
	m = dlsym(handle, SOURCE_MODULE_SYMBOL);
	(void)dlclose(handle);
	if (!m || !fits(m, kind)) {
		log_debug("capture", "%s is of another build", path);
		return -EOPNOTSUPP;
	}
	*ret_module = m;
	return 0;
}

int source_libcamera_open(const struct sys_ops *sys,
			  const struct capture_source_config *config,
			  struct capture_source **ret_source)
{
	const struct source_module *m;
	int r;

	r = module_load("libcapture-libcamera.so", CAPTURE_SOURCE_LIBCAMERA,
			&m);
	return r < 0 ? r : m->open(sys, config, ret_source);
}
