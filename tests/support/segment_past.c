/* SPDX-License-Identifier: Apache-2.0 */
#include "support/segment_past.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto/segment.h"

#define SEGMENT_NUMBER_MAX 400u

/* Return: whether all whole records of a segment are of its present. */
static bool is_of_present(const char *dir, unsigned int number)
{
	static const uint8_t zero[SEGMENT_BLOCK_BYTES];
	static uint8_t bytes[SEGMENT_RECORD_BYTES_MAX];
	struct segment_record start;
	struct segment_record rec;
	struct segment_start says;
	char path[160];
	uint32_t block;
	bool good = true;
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/segments/%08u.seg", dir, number);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return true;
	n = pread(fd, bytes, SEGMENT_BLOCK_BYTES, 0);
	/* One that was spoilt on purpose says nothing; one of zeros does. */
	if (n != SEGMENT_BLOCK_BYTES ||
	    segment_record_parse(bytes, (size_t)n, &start) < 0 ||
	    start.kind != SEGMENT_START ||
	    segment_start_parse(bytes + SEGMENT_HEADER_BYTES,
				start.payload_bytes, &says) < 0) {
		(void)close(fd);
		return n != SEGMENT_BLOCK_BYTES ||
		       memcmp(bytes, zero, sizeof(zero));
	}
	good = says.number == number;
	for (block = 1; good; block++) {
		n = pread(fd, bytes, sizeof(bytes),
			  (off_t)block * SEGMENT_BLOCK_BYTES);
		if (n <= 0)
			break;
		if (segment_record_parse(bytes, (size_t)n, &rec) == 0)
			good = !memcmp(rec.generation, start.generation,
				       SEGMENT_ID_BYTES);
	}
	(void)close(fd);
	return good;
}

unsigned int segment_with_past(const char *dir)
{
	unsigned int i;

	for (i = 1; i < SEGMENT_NUMBER_MAX; i++)
		if (!is_of_present(dir, i))
			return i;
	return 0;
}
