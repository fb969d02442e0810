/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line per event on stderr: "LEVEL component: text". Under systemd the
 * level is the journal's "<N>" prefix. Libraries log at LOG_DEBUG only; who
 * handles an error logs it, once. Keys and tokens are never passed here.
 * Safe from any thread.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/macros.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level level);
void log_line(enum log_level level, const char *component, const char *fmt,
	      ...) PRINTF(3, 4);

#define log_error(component, ...) log_line(LOG_ERROR, component, __VA_ARGS__)
#define log_warn(component, ...) log_line(LOG_WARN, component, __VA_ARGS__)
#define log_info(component, ...) log_line(LOG_INFO, component, __VA_ARGS__)
#define log_debug(component, ...) log_line(LOG_DEBUG, component, __VA_ARGS__)

#endif
