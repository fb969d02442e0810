/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signed calls to a Kinesis Video Streams endpoint (Amazon's or kvsd's): the
 * control plane, and the APIs that read media. HTTP/1.1 over verified TLS,
 * Signature Version 4, one connection kept alive between calls.
 */
#ifndef KVS_CLIENT_H
#define KVS_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef KVS_API
#define KVS_API __attribute__((visibility("default")))
#endif

/* All strings are borrowed for the call that takes the struct, and copied. */
struct kvs_credentials {
	const char *access_key_id;
	const char *secret_access_key;
	const char *session_token;	/* NULL if there is none */
};

struct kvs_client_config {
	/*
	 * "https://HOST[:PORT]"; NULL = Amazon's of @region. Calls go here
	 * unless they name another endpoint.
	 */
	const char *endpoint;
	const char *region;		/* NULL = "us-west-2" */
	const char *ca_bundle;		/* PEM file; NULL = the system's */
	struct kvs_credentials credentials;
	uint64_t timeout_ms;		/* without any byte moving; 0 = 30 s */
	const char *user_agent;		/* NULL = "kvsproducer/VERSION" */
};

struct kvs_client;

/* The outcome of a call that reached the service. */
struct kvs_reply {
	int status;			/* HTTP status, 200 on success */
	char error_type[128];		/* "ResourceNotFoundException" or "" */
	char message[512];		/* the service's words, or "" */
	char request_id[128];
	char content_type[128];
};

/**
 * kvs_client_new() - set up a client; nothing is sent yet
 *
 * Return: 0, -EINVAL (endpoint is not https://HOST[:PORT]; credentials
 * missing), -ENOENT or -EBADMSG (the CA bundle), -ENOMEM, -ENOSYS (no
 * io_uring).
 */
KVS_API int kvs_client_new(const struct kvs_client_config *config,
			   struct kvs_client **ret_client);
/* Accepts NULL, returns NULL. */
KVS_API struct kvs_client *kvs_client_free(struct kvs_client *client);

/*
 * Body bytes of a 200 reply, as they arrive. A negative return ends the call
 * with that value; a positive one ends it in order (enough was read).
 */
typedef int kvs_body_fn(void *ctx, const uint8_t *bytes, size_t len);

/**
 * kvs_client_call() - one signed POST; blocks until the reply is over
 * @endpoint: "https://HOST[:PORT]" from GetDataEndpoint, or NULL
 * @path: "/listStreams"
 * @json: request body, @len bytes
 * @body: called for a 200 reply only; may be NULL when none is expected
 *
 * Context: any one thread at a time per client.
 * Return: 0 when the service answered (look at @ret_reply->status, an error
 * status included); -ECONNREFUSED, -EHOSTUNREACH, -ETIMEDOUT, -ECONNRESET and
 * the like; -EKEYREJECTED (its certificate does not verify), -EPROTO (not
 * HTTP/1.1 as we know it), or what @body returned. kvs_client_reason() has
 * words for each.
 */
KVS_API int kvs_client_call(struct kvs_client *client, const char *endpoint,
			    const char *path, const char *json, size_t len,
			    kvs_body_fn *body, void *ctx,
			    struct kvs_reply *ret_reply);

/* Words for the last failure. Valid until the next call. */
KVS_API const char *kvs_client_reason(const struct kvs_client *client);

#ifdef __cplusplus
}
#endif

#endif
