/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UpdateDataRetention. What the new retention does not cover is invisible at
 * once, to requests that begin from now on, and its rows go before the answer,
 * unless the clock is doubted.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "core/catalog.h"
#include "core/limits.h"
#include "io/crypto.h"
#include "io/store_local.h"
#include "proto/names.h"
#include "serve/expiry.h"
#include "serve/operations.h"
#include "serve/server.h"

struct retention {
	struct exchange *ex;
	struct catalog_op op;
	struct store_op store_op;
	struct catalog_stream stream;
	char version[CATALOG_VERSION_BYTES];
	int32_t hours;
};

static void retention_free(struct retention *n)
{
	exchange_unref(n->ex);
	crypto_wipe(&n->stream, sizeof(n->stream));
	free(n);
}

static void expired(struct store_op *op, int res)
{
	struct retention *n = container_of(op, struct retention, store_op);

	if (res < 0)
		log_warn("serve",
			 "retention of %s: %s; what expired is invisible, "
			 "and tried again to be removed",
			 n->stream.name, strerror(-res));
	exchange_json(n->ex, 200, json_object());
	retention_free(n);
}

static void changed(struct catalog_op *op, int res)
{
	struct retention *n = container_of(op, struct retention, op);

	switch (res) {
	case 0:
		log_info("serve", "stream %s: kept for %u hours from now on",
			 n->stream.name, n->stream.retention_hours);
		live_stream_retention(&n->ex->thread->live, n->stream.store.id,
				      n->stream.retention_hours);
		n->store_op.done = expired;
		if (expiry_of_stream(n->ex->thread->expiry, &n->stream,
				     &n->store_op))
			return;
		exchange_json(n->ex, 200, json_object());
		break;
	case -ENOENT:
		exchange_no_stream(n->ex);
		break;
	case -ESTALE:
		exchange_error(n->ex, 400, "VersionMismatchException",
			       "CurrentVersion is not the stream's version.");
		break;
	case -ERANGE:
		exchange_bad_argument(n->ex, "The retention would not be 0 to "
					     "87600 hours.");
		break;
	default:
		exchange_internal(n->ex, res);
	}
	retention_free(n);
}

static int read_version(struct exchange *ex, char out[CATALOG_VERSION_BYTES])
{
	struct slice value;
	int r = operation_string(ex, ex->json, "CurrentVersion", &value);

	if (r < 0)
		return r;
	if (!r || !name_version_valid(value) ||
	    value.len >= CATALOG_VERSION_BYTES) {
		exchange_bad_argument(ex, r ? "CurrentVersion is not valid."
					    : "CurrentVersion is required.");
		return -EINVAL;
	}
	memcpy(out, value.ptr, value.len);
	out[value.len] = '\0';
	return 0;
}

static int read_change(struct exchange *ex, int32_t *ret_hours)
{
	int64_t hours = 0;
	struct slice what;
	int r = operation_string(ex, ex->json, "Operation", &what);
	bool more = r > 0 && slice_is(what, "INCREASE_DATA_RETENTION");

	if (r < 0)
		return r;
	if (!more && (!r || !slice_is(what, "DECREASE_DATA_RETENTION"))) {
		exchange_bad_argument(ex, "Operation must be "
					  "INCREASE_DATA_RETENTION or "
					  "DECREASE_DATA_RETENTION.");
		return -EINVAL;
	}
	r = operation_integer(ex, ex->json, "DataRetentionChangeInHours",
			      &hours);
	if (r < 0)
		return r;
	if (hours < 1) {
		exchange_bad_argument(ex, "DataRetentionChangeInHours must be "
					  "1 or more.");
		return -EINVAL;
	}
	hours = MIN(hours, (int64_t)RETENTION_HOURS_MAX + 1);
	*ret_hours = (int32_t)(more ? hours : -hours);
	return 0;
}

void retention_update(struct exchange *ex)
{
	struct retention *n;

	if (operation_stream_of(ex) < 0)
		return;
	n = calloc(1, sizeof(*n));
	if (!n) {
		exchange_internal(ex, -ENOMEM);
		return;
	}
	if (read_version(ex, n->version) < 0 ||
	    read_change(ex, &n->hours) < 0) {
		free(n);
		return;
	}
	n->ex = ex;
	n->op.done = changed;
	exchange_ref(ex);
	catalog_retain(ex->thread->server->catalog, ex->thread->loop,
		       ex->arn[0] ? NULL : ex->name,
		       ex->arn[0] ? ex->arn : NULL, n->version, n->hours,
		       &n->stream, &n->op);
}
