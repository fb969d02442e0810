/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bulk ingest cannot do without, each alone: CPU seconds per GB.
 *
 *	bench_parts DIRECTORY MEGABYTES
 *
 * decrypt: AES-256-GCM, a TLS record at a time; encrypt: the same, a page of
 * the store at a time; both by OpenSSL, and as service_decrypt and
 * service_encrypt by the library that the service takes here; receive: recv()
 * from loopback TCP, sent by another process; write: O_DIRECT into a file that
 * has its blocks, synced at the end.
 * Memory is used in turn over 8 MiB, as bytes pass through a service. Run it
 * on the servers' CPU, with the sender's given in BENCH_CLIENT_CPU. Prints a
 * JSON object.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/limits.h"
#include "io/crypto.h"
#include "io/crypto_ipsec_mb.h"
#include "proto/segment.h"
#include "session.h"

#define AREA_BYTES (8u << 20)
#define RECORD_BYTES (16u << 10)
#define RECV_BYTES (64u << 10)

static uint8_t *area;
static uint64_t total;

static double cpu_s(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void check(const char *what, int r)
{
	if (r < 0)
		session_die(what, r);
}

/* --- AES-GCM ---------------------------------------------------------------- */

static double seal_all(struct crypto_aead *key, uint32_t bytes)
{
	static uint8_t out[SEGMENT_RECORD_BYTES_MAX];
	uint8_t nonce[CRYPTO_NONCE_BYTES] = {0};
	uint8_t tag[CRYPTO_TAG_BYTES];
	double begin = cpu_s();
	uint64_t done;

	for (done = 0; done < total; done += bytes) {
		struct iovec part = {
			area + done % (AREA_BYTES - SEGMENT_RECORD_BYTES_MAX),
			bytes,
		};

		memcpy(nonce, &done, sizeof(done));
		check("seal", crypto_aead_seal(key, nonce, NULL, 0, &part, 1,
					       out, tag));
	}
	return cpu_s() - begin;
}

/* Each record where the next bytes would be; sealed by us before. */
static double open_all(struct crypto_aead *key)
{
	static uint8_t out[RECORD_BYTES];
	static uint8_t tags[AREA_BYTES / RECORD_BYTES][CRYPTO_TAG_BYTES];
	uint8_t nonce[CRYPTO_NONCE_BYTES] = {0};
	double begin;
	uint64_t done;

	for (done = 0; done < AREA_BYTES; done += RECORD_BYTES) {
		struct iovec part = {area + done, RECORD_BYTES};

		check("seal",
		      crypto_aead_seal(key, nonce, NULL, 0, &part, 1,
				       area + done, tags[done / RECORD_BYTES]));
	}
	begin = cpu_s();
	for (done = 0; done < total; done += RECORD_BYTES) {
		uint64_t at = done % AREA_BYTES;

		check("open", crypto_aead_open(key, nonce, NULL, 0, area + at,
					       RECORD_BYTES,
					       tags[at / RECORD_BYTES], out));
	}
	return cpu_s() - begin;
}

/* --- the socket ------------------------------------------------------------- */

static int listen_any(struct sockaddr_in *sa)
{
	socklen_t len = sizeof(*sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*sa = (struct sockaddr_in){.sin_family = AF_INET};
	sa->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)sa, len) < 0 ||
	    listen(fd, 1) < 0 ||
	    getsockname(fd, (struct sockaddr *)sa, &len) < 0)
		session_die("listen", -errno);
	return fd;
}

static void send_all(const struct sockaddr_in *sa)
{
	const char *cpu = getenv("BENCH_CLIENT_CPU");
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cpu_set_t set;
	uint64_t done;

	CPU_ZERO(&set);
	if (cpu)
		CPU_SET(session_number(cpu), &set);
	if ((cpu && sched_setaffinity(0, sizeof(set), &set) < 0) || fd < 0 ||
	    connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) < 0)
		session_die("connect", -errno);
	for (done = 0; done < total;) {
		size_t n = (size_t)MIN(total - done, (uint64_t)RECORD_BYTES);
		ssize_t sent = send(fd, area, n, MSG_NOSIGNAL);

		if (sent < 0)
			session_die("send", -errno);
		done += (uint64_t)sent;
	}
	_exit(0);
}

static double receive_all(void)
{
	struct sockaddr_in sa;
	int listener = listen_any(&sa);
	pid_t child = fork();
	uint64_t done = 0;
	double begin;
	int status;
	int fd;

	if (child == 0)
		send_all(&sa);
	fd = accept(listener, NULL, NULL);
	if (child < 0 || fd < 0)
		session_die("accept", -errno);
	begin = cpu_s();
	while (done < total) {
		ssize_t n = recv(fd, area + done % (AREA_BYTES - RECV_BYTES),
				 RECV_BYTES, 0);

		if (n <= 0)
			session_die("recv", n ? -errno : -ECONNRESET);
		done += (uint64_t)n;
	}
	begin = cpu_s() - begin;
	(void)close(fd);
	(void)close(listener);
	if (waitpid(child, &status, 0) < 0 || status)
		session_die("the sender", -EPIPE);
	return begin;
}

/* --- the file --------------------------------------------------------------- */

static double write_all(const char *directory)
{
	char path[4096];
	uint64_t done;
	double begin;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/parts", directory);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_DIRECT,
		  0600);
	if (fd < 0 || fallocate(fd, 0, 0, (off_t)total) < 0 || fsync(fd) < 0)
		session_die(path, -errno);
	begin = cpu_s();
	for (done = 0; done < total; done += STORE_WRITE_BUFFER_BYTES) {
		if (pwrite(fd, area + done % AREA_BYTES,
			   STORE_WRITE_BUFFER_BYTES,
			   (off_t)done) != STORE_WRITE_BUFFER_BYTES)
			session_die(path, errno ? -errno : -EIO);
	}
	if (fdatasync(fd) < 0)
		session_die(path, -errno);
	begin = cpu_s() - begin;
	(void)close(fd);
	(void)unlink(path);
	return begin;
}

int main(int argc, char **argv)
{
	uint8_t key_bytes[CRYPTO_KEY_BYTES];
	struct crypto_aead *key;
	const char *name;
	double gb;

	if (argc != 3)
		session_die("usage", -EINVAL);
	total = session_number(argv[2]) << 20;
	gb = (double)total / 1e9;
	area = aligned_alloc(SEGMENT_BLOCK_BYTES, AREA_BYTES);
	if (!area)
		session_die("area", -ENOMEM);
	check("random", crypto_random(area, AREA_BYTES));
	check("random", crypto_random(key_bytes, sizeof(key_bytes)));
	check("key", crypto_aead_new(key_bytes, &key));
	printf("{\"encrypt\": %.6f, ",
	       seal_all(key, SEGMENT_PAYLOAD_BYTES_MAX) / gb);
	printf("\"decrypt\": %.6f, ", open_all(key) / gb);
	(void)crypto_aead_free(key);
	if (crypto_ipsec_mb_use(&name) < 0)
		(void)fprintf(stderr, "the service takes %s here\n", name);
	check("key", crypto_aead_new(key_bytes, &key));
	printf("\"service_encrypt\": %.6f, ",
	       seal_all(key, SEGMENT_PAYLOAD_BYTES_MAX) / gb);
	printf("\"service_decrypt\": %.6f, ", open_all(key) / gb);
	(void)fflush(stdout); /* not the child's too */
	printf("\"receive\": %.6f, ", receive_all() / gb);
	printf("\"write\": %.6f}\n", write_all(argv[1]) / gb);
	(void)crypto_aead_free(key);
	free(area);
	return 0;
}
