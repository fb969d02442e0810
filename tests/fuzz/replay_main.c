/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plain main for the fuzz targets: feeds each file of a corpus folder to
 * LLVMFuzzerTestOneInput, which aborts when an invariant does not hold.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static int replay_file(const char *dir, const char *name)
{
	char path[4096];
	struct stat st;
	uint8_t *bytes;
	size_t len;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	f = fopen(path, "rb");
	if (!f) {
		perror(path);
		exit(1);
	}
	/* Exactly the file's size on the heap, so that ASan sees overreads. */
	bytes = malloc(st.st_size ? (size_t)st.st_size : 1);
	if (!bytes)
		exit(1);
	len = fread(bytes, 1, (size_t)st.st_size, f);
	(void)fclose(f);
	(void)LLVMFuzzerTestOneInput(bytes, len);
	free(bytes);
	return 1;
}

int main(int argc, char **argv)
{
	struct dirent *e;
	int count = 0;
	DIR *d;

	if (argc != 2) {
		(void)fprintf(stderr, "usage: %s CORPUS_DIR\n", argv[0]);
		return 2;
	}
	d = opendir(argv[1]);
	if (!d) {
		perror(argv[1]);
		return 1;
	}
	while ((e = readdir(d)))
		count += replay_file(argv[1], e->d_name);
	(void)closedir(d);
	if (!count) {
		(void)fprintf(stderr, "%s: empty corpus\n", argv[1]);
		return 1;
	}
	(void)printf("%d inputs replayed\n", count);
	return 0;
}
