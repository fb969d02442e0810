/* SPDX-License-Identifier: Apache-2.0 */
/* What doctor makes of the names that drivers and udev give. Pure. */
#ifndef KVSCTL_DOCTOR_NAMES_H
#define KVSCTL_DOCTOR_NAMES_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Whether @link ends with a node's @name, as udev writes that into links:
 * what it allows stays (letters, digits, #+-.:=@_, UTF-8), what else there is
 * becomes "_", a run of blanks one; or, by ID_..._ENC, each such byte "\x20".
 */
bool doctor_link_has_name(const char *link, const char *name);

#define DOCTOR_SOURCE_CHARS 25u

/*
 * A name for [source NAME]: @label as far as it fits and may stand there, and
 * six digits made of @identity, so that two cameras of one kind never have
 * the same, and each has the same again.
 */
void doctor_source_name(const char *label, const char *identity,
			char out[DOCTOR_SOURCE_CHARS]);

#endif
