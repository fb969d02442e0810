/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/fsck.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "io/catalog_db.h"
#include "io/catalog_sqlite.h"
#include "io/data_dir.h"
#include "io/store_fsck.h"
#include "serve/fsck_hold.h"
#include "serve/tool_dir.h"

enum {
	EXIT_CLEAN = 0,
	EXIT_REPAIRED = 1,
	EXIT_USAGE = 2,
	EXIT_LEFT = 4,
	EXIT_FAILED = 8,
};

static const char usage[] =
	"usage: kvsd fsck DIR [OPTIONS]\n"
	"\n"
	"Checks the directory of a service that is not running: a data_dir, "
	"or\n"
	"what --quickstart was given, and says what its legal holds hold. "
	"Without\n"
	"--repair nothing is written.\n"
	"\n"
	"  --level structure   identities, catalogs, index and commit records\n"
	"  --level checksums   and the CRC of each page (default)\n"
	"  --level media       and its tag, with the streams' keys\n"
	"  --repair            make the index again from the segments, and "
	"the\n"
	"                      catalog from its other copy\n"
	"  --master-key FILE   default: DIR/master.key\n"
	"  --kms-keys DIR      as kvsd serve has it\n"
	"\n"
	"Exit status: 0 nothing is wrong, 1 it was and is repaired, 4 "
	"something\n"
	"is wrong, 8 it could not be checked.\n";

struct options {
	char dir[TOOL_PATH_CHARS];
	char master_key[TOOL_PATH_CHARS]; /* "" = the directory's own */
	char kms_keys[TOOL_PATH_CHARS];	  /* "" = none */
	enum fsck_level level;
	bool repair;
};

struct run {
	const struct options *o;
	struct data_dir dir;
	struct catalog *catalog;
	struct fsck_holds holds;
	unsigned int problems; /* of the catalog */
};

static void tell(void *ctx, const char *text)
{
	(void)ctx;
	(void)printf("%s\n", text);
}

/* --- options --- */

static int set_level(struct options *o, const char *value)
{
	static const char *const names[] = {
		[FSCK_STRUCTURE] = "structure",
		[FSCK_CHECKSUMS] = "checksums",
		[FSCK_MEDIA] = "media",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(value, names[i]) == 0) {
			o->level = (enum fsck_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

static int parse(struct options *o, int argc, char **argv)
{
	int i;
	int r = 0;

	*o = (struct options){.level = FSCK_CHECKSUMS};
	for (i = 1; i < argc && r == 0; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (strcmp(argv[i], "--repair") == 0) {
			o->repair = true;
		} else if (strcmp(argv[i], "--level") == 0) {
			r = set_level(o, value);
			i++;
		} else if (strcmp(argv[i], "--master-key") == 0) {
			r = tool_set_path(o->master_key, value);
			i++;
		} else if (strcmp(argv[i], "--kms-keys") == 0) {
			r = tool_set_path(o->kms_keys, value);
			i++;
		} else if (argv[i][0] != '-' && !o->dir[0]) {
			r = tool_set_path(o->dir, argv[i]);
		} else {
			r = -EINVAL;
		}
	}
	return r == 0 && o->dir[0] ? 0 : -EINVAL;
}

/* --- the catalog --- */

static void check_database(struct run *k, const char *name,
			   uint64_t *ret_revision, struct fsck_holds *ret_holds)
{
	struct catalog_db *db = NULL;
	int r = catalog_db_open(&k->dir, name, &db);

	if (r == 0) {
		r = fsck_holds_read(ret_holds, db);
		if (r == 0)
			*ret_revision = catalog_db_revision(db);
		(void)catalog_db_close(db);
	}
	if (r == 0)
		return;
	k->problems++;
	(void)printf("%s: %s\n", name,
		     r == -ENOENT	 ? "missing"
		     : r == -EMEDIUMTYPE ? "of another directory"
					 : "damaged");
}

static int open_catalog(struct run *k)
{
	const struct catalog_sqlite_config config = {
		.dir = &k->dir,
		.master_key = k->o->master_key[0] ? k->o->master_key : NULL,
		.kms_keys = k->o->kms_keys[0] ? k->o->kms_keys : NULL,
		.region = "us-west-2", /* of streams made: none are */
		.account = "000000000000",
	};

	if (!config.master_key &&
	    !tool_has_file(k->dir.sys, k->dir.path, "master.key"))
		return -ENOKEY;
	return catalog_sqlite_open(&config, &k->catalog);
}

/* Both databases, and the holds of the one that counts. */
static void check_databases(struct run *k)
{
	struct fsck_holds copied = {.count = 0};
	uint64_t first = 0;
	uint64_t copy = 0;

	check_database(k, "catalog.db", &first, &k->holds);
	check_database(k, "catalog-copy.db", &copy, &copied);
	if (!k->problems && first != copy) {
		k->problems++;
		(void)printf("catalog-copy.db: revision %" PRIu64
			     ", catalog.db has %" PRIu64 "\n",
			     copy, first);
	} else if (!k->problems && !fsck_holds_same(&k->holds, &copied)) {
		k->problems++;
		(void)printf("catalog-copy.db: other holds than catalog.db\n");
	}
	if (copy > first) {
		fsck_holds_free(&k->holds);
		k->holds = copied;
	} else {
		fsck_holds_free(&copied);
	}
}

/* Return: 0, or an exit status above it: no use going on. */
static int check_catalog(struct run *k)
{
	int r;

	check_databases(k);
	if (k->problems == 2)
		return EXIT_LEFT;
	k->problems += fsck_holds_check(&k->holds);
	/* Opening it repairs it, where that is wanted. */
	r = open_catalog(k);
	if (r == -ENOKEY && k->o->level != FSCK_MEDIA &&
	    !(k->problems && k->o->repair))
		return 0;
	if (r == -ENOKEY)
		log_error("fsck", "no master key: give --master-key");
	return r < 0 ? EXIT_FAILED : 0;
}

/* --- all of it --- */

static int report(struct run *k, const struct fsck_result *f)
{
	fsck_holds_print(&k->holds);
	(void)printf("%" PRIu64 " segments, %" PRIu64 " fragments, %" PRIu64
		     " bytes of media: %" PRIu64 " problems\n",
		     f->segments, f->fragments, f->bytes,
		     f->problems + k->problems);
	if (f->new_segments)
		(void)printf("%" PRIu64 " segments are not in the index yet\n",
			     f->new_segments);
	if (f->new_fragments)
		(void)printf("%" PRIu64 " fragments are not in the index yet\n",
			     f->new_fragments);
	if (f->torn_fragments)
		(void)printf("%" PRIu64 " fragments at the end of a segment are "
			     "not whole: not acknowledged, or damaged\n",
			     f->torn_fragments);
	if (f->set_aside)
		(void)printf("%" PRIu64 " segments are set aside, %" PRIu64
			     " bytes on disk\n",
			     f->set_aside, f->set_aside_bytes);
	if (f->dead_fragments)
		(void)printf("%" PRIu64 " fragments are of deleted streams\n",
			     f->dead_fragments);
	return f->problems || k->problems ? EXIT_LEFT : EXIT_CLEAN;
}

static int check_store(struct run *k)
{
	struct fsck_config config = {
		.dir = &k->dir,
		.level = k->o->level,
		.find_key = k->catalog ? catalog_sqlite_find_key : NULL,
		.find_key_ctx = k->catalog,
		.tell = tell,
		.row = fsck_holds_count,
		.row_ctx = &k->holds,
	};
	struct fsck_result result;
	int status;
	int r;

	r = store_fsck(&config, &result);
	if (r < 0) {
		log_error("fsck", "%s: %s", k->dir.path, strerror(-r));
		return EXIT_FAILED;
	}
	status = report(k, &result);
	if (status == EXIT_CLEAN || !k->o->repair)
		return status;
	r = result.problems ? store_fsck_repair(&config) : 0;
	if (r < 0) {
		log_error("fsck", "repairing %s: %s", k->dir.path,
			  strerror(-r));
		return EXIT_FAILED;
	}
	(void)printf("repaired; once more:\n");
	k->problems = fsck_holds_check(&k->holds);
	fsck_holds_restart(&k->holds);
	r = store_fsck(&config, &result);
	if (r < 0)
		return EXIT_FAILED;
	return report(k, &result) == EXIT_CLEAN ? EXIT_REPAIRED : EXIT_LEFT;
}

static int open_dir(struct run *k, const struct sys_ops *sys)
{
	const struct options *o = k->o;

	return o->repair ? data_dir_open(sys, o->dir, false, &k->dir)
			 : data_dir_open_readonly(sys, o->dir, &k->dir);
}

int fsck_main(int argc, char **argv, const struct sys_ops *sys)
{
	struct options o;
	struct run k = {.o = &o};
	int status;

	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		(void)fputs(usage, stdout);
		return EXIT_CLEAN;
	}
	if (parse(&o, argc, argv) < 0) {
		(void)fputs(usage, stderr);
		return EXIT_USAGE;
	}
	if (tool_find_data(sys, o.dir, o.master_key) < 0 ||
	    open_dir(&k, sys) < 0)
		return EXIT_FAILED; /* it was logged */
	status = check_catalog(&k);
	if (status == 0)
		status = check_store(&k);
	k.catalog = catalog_sqlite_close(k.catalog);
	fsck_holds_free(&k.holds);
	if (o.repair && data_dir_give_to_owner(&k.dir) < 0) {
		log_error("fsck", "%s: some files stay root's", k.dir.path);
		status = EXIT_FAILED;
	}
	data_dir_close(&k.dir);
	return status;
}
