/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signed calls of the service's JSON APIs on a loop, one at a time, over one
 * connection that is kept alive between them. A kept connection that the
 * service has closed meanwhile is replaced once, unseen by the caller.
 */
#ifndef IO_API_CALL_H
#define IO_API_CALL_H

#include <stddef.h>
#include <stdint.h>

#include <kvs/client.h>

#include "base/macros.h"
#include "base/sys.h"

struct api_caller;
struct aws_identity;
struct loop;
struct tls_ctx;

/*
 * The call is over. @result: 0 when the service answered (see
 * api_caller_reply()), else as of kvs_client_call(). May start the next.
 */
typedef void api_done_fn(void *ctx, int result);

/**
 * api_caller_new() - nothing is sent yet
 * @tls, @id: borrowed, must outlive the caller
 * @quiet_ns: longest wait without any byte
 */
int api_caller_new(struct loop *l, const struct sys_ops *sys,
		   struct tls_ctx *tls, const struct aws_identity *id,
		   uint64_t quiet_ns, struct api_caller **ret_caller) MUST_CHECK;

/*
 * Cancels a call (its done() does not come), closes the connection, runs the
 * loop until that is over. Loop thread, outside callbacks. Accepts NULL.
 */
struct api_caller *api_caller_free(struct api_caller *c);

/**
 * api_call() - one POST of @json
 * @endpoint: "https://HOST[:PORT]"
 * @clock_offset_s: added to the clock for the signature
 * @body: for bytes of a 200 reply, or NULL; @ctx is for it and @done
 *
 * All is copied. Return: 0 (done() follows, never from inside), -EBUSY (one is
 * under way), -EINVAL, -EMSGSIZE, -ENOMEM.
 */
int api_call(struct api_caller *c, const char *endpoint, const char *path,
	     const char *json, size_t len, int64_t clock_offset_s,
	     kvs_body_fn *body, api_done_fn *done, void *ctx) MUST_CHECK;

/* Of the last call. */
const struct kvs_reply *api_caller_reply(const struct api_caller *c);
/* The Date header, Unix epoch; 0 = none. */
uint64_t api_caller_date_s(const struct api_caller *c);
/* Words for a negative result. */
const char *api_caller_reason(const struct api_caller *c);

#endif
