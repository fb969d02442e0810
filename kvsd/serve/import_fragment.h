/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One exported fragment back into a store, by the way that an upload takes
 * (core/ingest.h), so that whatever holds of a stored fragment holds of it.
 * Its number and both times are what they were.
 */
#ifndef SERVE_IMPORT_FRAGMENT_H
#define SERVE_IMPORT_FRAGMENT_H

#include "base/macros.h"
#include "core/loop.h"
#include "core/store.h"
#include "serve/export_file.h"

/**
 * import_fragment() - blocks until it is durable; turns @l
 * @words: why not, on failure
 *
 * Return: 0; -EBADMSG (no such fragment as GetMediaForFragmentList gives, or
 * none that an upload could have made); or the store's error.
 */
int import_fragment(struct loop *l, struct store *store,
		    const struct store_stream *stream,
		    const struct export_fragment *f,
		    const char **words) MUST_CHECK;

#endif
