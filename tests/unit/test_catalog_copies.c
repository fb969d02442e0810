/* SPDX-License-Identifier: Apache-2.0 */
/* The two databases of a catalog: one is lost, damaged, behind, of another. */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

#include "io/catalog_db.h"
#include "support/catalog_rig.h"
#include "support/sqlite_fault.h"

static void catalog_uses_the_other_copy_when_one_is(const char *name,
						    bool gone)
{
	struct catalog_credential c = { "AK", "sk", false };
	static struct catalog_stream s;
	static struct catalog_stream t;
	int round;

	assert_int_equal(create("cam-1", &s), 0);
	assert_int_equal(catalog_sqlite_put_credential(rig.catalog, &c), 0);
	/* Twice: the one that was made again is as good. */
	for (round = 0; round < 2; round++) {
		const char *victim = round == 0 ? name :
				     strcmp(name, "catalog.db") ?
						  "catalog.db" :
						  "catalog-copy.db";

		close_it();
		if (gone)
			assert_int_equal(unlink(in_dir(victim)), 0);
		else
			damage(victim);
		assert_int_equal(open_it(), 0);
		assert_int_equal(find("cam-1", NULL, &t), 0);
		same_stream(&s, &t);
		assert_int_equal(credential("AK", &c), 0);
		assert_false(c.enabled);
	}
}

static void catalog_opens_without_the_first(void **state)
{
	(void)state;
	catalog_uses_the_other_copy_when_one_is("catalog.db", true);
}

static void catalog_opens_without_the_copy(void **state)
{
	(void)state;
	catalog_uses_the_other_copy_when_one_is("catalog-copy.db", true);
}

static void catalog_opens_with_a_damaged_first(void **state)
{
	(void)state;
	catalog_uses_the_other_copy_when_one_is("catalog.db", false);
}

static void catalog_opens_with_a_damaged_copy(void **state)
{
	(void)state;
	catalog_uses_the_other_copy_when_one_is("catalog-copy.db", false);
}

static void catalog_takes_the_copy_that_is_ahead(void **state)
{
	static struct catalog_stream s;
	static struct catalog_stream t;
	char old[128];

	(void)state;
	assert_int_equal(create("one", &s), 0);
	close_it();
	(void)snprintf(old, sizeof(old), "%s", in_dir("old.db"));
	assert_int_equal(rename(in_dir("catalog.db"), old), 0);
	assert_int_equal(open_it(), 0);
	assert_int_equal(create("two", &s), 0);
	close_it();
	assert_int_equal(rename(old, in_dir("catalog.db")), 0);
	assert_int_equal(open_it(), 0);
	assert_int_equal(find("two", NULL, &t), 0);
	same_stream(&s, &t);
}

static void catalog_refuses_two_damaged_databases(void **state)
{
	static struct catalog_stream s;

	(void)state;
	assert_int_equal(create("cam-1", &s), 0);
	close_it();
	damage("catalog.db");
	damage("catalog-copy.db");
	assert_int_equal(open_it(), -EUCLEAN);
}

/* Invariant 5. */
static void catalog_of_another_directory_is_refused(void **state)
{
	char first[64];
	char moved[128];
	char target[160];
	int i;

	(void)state;
	close_it();
	(void)snprintf(first, sizeof(first), "%s", rig.path);
	for (i = 0; i < 2; i++) {
		const char *name = i ? "catalog-copy.db" : "catalog.db";

		(void)snprintf(moved, sizeof(moved), "%s/%s", first, name);
		assert_true(scratch_dir(rig.path, sizeof(rig.path),
					"kvsd-catalog"));
		assert_int_equal(open_it(), 0);
		close_it();
		(void)snprintf(target, sizeof(target), "%s/%s", rig.path,
			       name);
		assert_int_equal(rename(moved, target), 0);
		assert_int_equal(open_it(), -EMEDIUMTYPE);
		rig_remove(rig.path);
	}
	(void)snprintf(rig.path, sizeof(rig.path), "%s", first);
}

/* A full disk must not keep a service down that has all it needs to read. */
static void catalog_opens_from_one(const char *lost)
{
	static struct catalog_stream s;
	static struct catalog_stream t;
	struct rlimit old;
	struct rlimit small;

	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(create("one", &s), 0);
	close_it();
	assert_int_equal(unlink(in_dir(lost)), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = old;
	small.rlim_cur = 4096;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(open_it(), 0);
	assert_int_equal(find("one", NULL, &t), 0);
	same_stream(&s, &t);
	assert_true(create("two", &t) < 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(create("two", &t), 0);
	close_it();
	/* Both are whole again. */
	damage(lost);
	assert_int_equal(open_it(), 0);
	assert_int_equal(find("one", NULL, &t), 0);
	assert_int_equal(find("two", NULL, &t), 0);
	close_it();
	damage(strcmp(lost, "catalog.db") ? "catalog.db" : "catalog-copy.db");
	assert_int_equal(open_it(), 0);
	assert_int_equal(find("two", NULL, &t), 0);
}

static void catalog_opens_on_a_full_disk_without_the_copy(void **state)
{
	(void)state;
	catalog_opens_from_one("catalog-copy.db");
}

static void catalog_opens_on_a_full_disk_without_the_first(void **state)
{
	(void)state;
	catalog_opens_from_one("catalog.db");
}

/* Killed between the wiping of a database and its replacement. */
static void catalog_does_not_trust_a_database_that_was_wiped(void **state)
{
	static struct catalog_stream s;
	static struct catalog_stream t;
	struct catalog_db *db;

	(void)state;
	assert_int_equal(create("one", &s), 0);
	close_it();
	assert_int_equal(data_dir_open(sys_posix(), rig.path, false, &rig.dir),
			 0);
	assert_int_equal(catalog_db_open(&rig.dir, "catalog-copy.db", &db), 0);
	assert_int_equal(catalog_db_wipe(db), 0);
	(void)catalog_db_close(db);
	data_dir_close(&rig.dir);
	assert_int_equal(open_it(), 0);
	close_it();
	assert_int_equal(unlink(in_dir("catalog.db")), 0);
	assert_int_equal(open_it(), 0);
	assert_int_equal(find("one", NULL, &t), 0);
	same_stream(&s, &t);
}

/*
 * The copy leads, then a write of the other fails: what was acknowledged is in
 * the leader only. The next start cannot read it for once.
 */
static void catalog_keeps_what_only_the_leader_has(void **state)
{
	static struct catalog_stream s;
	static struct catalog_stream t;
	unsigned long n;
	unsigned long m;
	unsigned int lost = 0;
	unsigned int rounds = 0;

	(void)state;
	for (n = 1; n < 40; n += 2) {
		for (m = 1; m < 40; m += 3) {
			char name[32];
			int r;

			if (rig.catalog)
				close_it();
			(void)unlink(in_dir("catalog.db"));
			assert_int_equal(open_it(), 0);
			(void)snprintf(name, sizeof(name), "s-%lu-%lu", n, m);
			sqlite_fault_arm(n, EIO);
			r = create(name, &s);
			sqlite_fault_arm(0, 0);
			close_it();
			if (r < 0) {
				assert_int_equal(open_it(), 0);
				break;
			}
			sqlite_fault_arm(m, EIO);
			r = open_it();
			sqlite_fault_arm(0, 0);
			if (r == 0)
				close_it();
			rounds++;
			assert_int_equal(open_it(), 0);
			if (find(name, NULL, &t) < 0) {
				lost++;
				print_message("lost: n=%lu m=%lu\n", n, m);
			}
		}
	}
	print_message("%u of %u lost\n", lost, rounds);
	assert_int_equal(lost, 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CASE(catalog_opens_without_the_first),
		CASE(catalog_opens_without_the_copy),
		CASE(catalog_opens_with_a_damaged_first),
		CASE(catalog_opens_with_a_damaged_copy),
		CASE(catalog_takes_the_copy_that_is_ahead),
		CASE(catalog_refuses_two_damaged_databases),
		CASE(catalog_of_another_directory_is_refused),
		CASE(catalog_opens_on_a_full_disk_without_the_copy),
		CASE(catalog_opens_on_a_full_disk_without_the_first),
		CASE(catalog_does_not_trust_a_database_that_was_wiped),
		CASE(catalog_keeps_what_only_the_leader_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
