/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

#include "io/catalog_db.h"
#include "io/db_sqlite.h"
#include "proto/names.h"
#include "support/catalog_rig.h"
#include "support/sqlite_fault.h"

static void catalog_finds_what_was_created(void **state)
{
	static struct catalog_stream s;
	static struct catalog_stream t;
	struct stream_arn arn;

	(void)state;
	assert_int_equal(create("cam-1", &s), 0);
	assert_int_equal(stream_arn_parse(slice_of(s.arn), &arn), 0);
	assert_true(slice_is(arn.name, "cam-1"));
	assert_true(slice_is(arn.region, "eu-central-1"));
	assert_int_equal(arn.created_ms, s.created_ms);
	assert_true(name_version_valid(slice_of(s.version)));
	assert_int_equal(strlen(s.version), 20);
	assert_int_equal(find("cam-1", NULL, &t), 0);
	same_stream(&s, &t);
	memset(&t, 0, sizeof(t));
	assert_int_equal(find(NULL, s.arn, &t), 0);
	same_stream(&s, &t);
	assert_int_equal(find("cam", NULL, &t), -ENOENT);
	s.arn[strlen(s.arn) - 1] ^= 1; /* another incarnation */
	assert_int_equal(find(NULL, s.arn, &t), -ENOENT);
	assert_int_equal(find(NULL, "", &t), -ENOENT);
	assert_int_equal(find(NULL, "/", &t), -ENOENT);
	assert_int_equal(find(NULL, "cam-1/1", &t), -ENOENT);
	assert_int_equal(create("cam-1", &t), -EEXIST);
}

static void catalog_survives_reopening(void **state)
{
	struct catalog_credential c = { "AKIAEXAMPLE", "secret/with+chars",
					true };
	struct catalog_credential d;
	static struct catalog_stream s;
	static struct catalog_stream t;
	uint8_t key[DATA_KEY_BYTES];

	(void)state;
	assert_int_equal(create("cam-1", &s), 0);
	assert_int_equal(catalog_sqlite_put_credential(rig.catalog, &c), 0);
	close_it();
	assert_int_equal(open_it(), 0);
	assert_int_equal(find("cam-1", NULL, &t), 0);
	same_stream(&s, &t);
	assert_int_equal(credential("AKIAEXAMPLE", &d), 0);
	assert_string_equal(d.secret, c.secret);
	assert_true(d.enabled);
	assert_int_equal(credential("AKIAEXAMPL", &d), -ENOENT);
	assert_int_equal(catalog_sqlite_find_key(rig.catalog, s.store.id, key),
			 0);
	assert_memory_equal(key, s.store.key, sizeof(key));
	/* Neither keys nor secrets are in the clear. */
	assert_false(on_disk(s.store.key, DATA_KEY_BYTES));
	assert_false(on_disk(c.secret, strlen(c.secret)));
	assert_true(on_disk("cam-1", 5));
}

/* A missing one is told, and is no stream that is gone. */
static void catalog_uses_customer_keys(void **state)
{
	static const uint8_t bytes[32] = {1, 2, 3};
	static struct catalog_stream s;
	static struct catalog_stream t;
	uint8_t key[DATA_KEY_BYTES];
	int fd;

	(void)state;
	close_it();
	rig.kms_key_id = "alias/x";
	assert_int_equal(open_it(), 0);
	assert_int_equal(create("cam-1", &s), 0);
	assert_int_equal(find("cam-1", NULL, &t), 0);
	assert_int_equal(t.key_error, -ENOKEY);
	memset(key, 0, sizeof(key));
	assert_memory_equal(t.store.key, key, sizeof(key));
	assert_int_equal(catalog_sqlite_find_key(rig.catalog, s.store.id, key),
			 -ENOKEY);
	fd = open(in_dir("x.key"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
	close(fd);
	assert_int_equal(find(NULL, s.arn, &t), 0);
	assert_int_equal(t.key_error, 0);
	assert_int_equal(catalog_sqlite_find_key(rig.catalog, s.store.id, key),
			 0);
	assert_memory_equal(t.store.key, key, sizeof(key));
	assert_memory_not_equal(t.store.key, s.store.key, sizeof(key));
	/* What is kept is the data key alone. */
	assert_int_equal(unlink(in_dir("x.key")), 0);
	assert_int_equal(find("cam-1", NULL, &t), 0);
	assert_int_equal(t.key_error, -ENOKEY);
}

static void catalog_remove_shreds_the_key_in_all_files(void **state)
{
	static struct catalog_stream s;
	static struct catalog_stream t;
	uint8_t key[DATA_KEY_BYTES];

	(void)state;
	assert_int_equal(create("keep", &t), 0);
	assert_int_equal(create("shredded-stream", &s), 0);
	assert_true(on_disk(s.store.id, STREAM_ID_BYTES));
	assert_int_equal(delete(s.arn, "another", &t), -ESTALE);
	assert_int_equal(delete(s.arn, s.version, &t), 0);
	same_stream(&s, &t);
	/* The row is overwritten, and with it the wrapped key in it. */
	assert_false(on_disk(s.store.id, STREAM_ID_BYTES));
	assert_false(on_disk("shredded-stream", 15));
	assert_int_equal(find(NULL, s.arn, &t), -ENOENT);
	assert_int_equal(catalog_sqlite_find_key(rig.catalog, s.store.id, key),
			 -ENOENT);
	assert_int_equal(delete(s.arn, NULL, &t), -ENOENT);
	close_it();
	assert_int_equal(open_it(), 0);
	assert_int_equal(find("shredded-stream", NULL, &t), -ENOENT);
	assert_int_equal(find("keep", NULL, &t), 0);
}

static void catalog_recreated_stream_is_another_one(void **state)
{
	static struct catalog_stream s;
	static struct catalog_stream t;
	static struct catalog_stream gone;

	(void)state;
	assert_int_equal(create("cam", &s), 0);
	assert_int_equal(delete(s.arn, NULL, &gone), 0);
	assert_int_equal(create("cam", &t), 0);
	assert_string_not_equal(s.arn, t.arn);
	assert_string_not_equal(s.version, t.version);
	assert_memory_not_equal(s.store.id, t.store.id, STREAM_ID_BYTES);
	assert_int_equal(find(NULL, s.arn, &gone), -ENOENT);
}

static void catalog_lists_by_name_and_prefix(void **state)
{
	static const char *const names[] = { "b2", "a1", "c", "b10", "b1" };
	static struct catalog_stream rows[8];
	static struct catalog_stream s;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(create(names[i], &s), 0);
	assert_int_equal(list(NULL, NULL, rows, 8), 5);
	assert_string_equal(rows[0].name, "a1");
	assert_string_equal(rows[1].name, "b1");
	assert_string_equal(rows[2].name, "b10");
	assert_string_equal(rows[3].name, "b2");
	assert_string_equal(rows[4].name, "c");
	assert_int_equal(list("b", NULL, rows, 8), 3);
	assert_int_equal(list("b", "b1", rows, 8), 2);
	assert_string_equal(rows[0].name, "b10");
	assert_int_equal(list("b", "b1", rows, 1), 1);
	assert_int_equal(list("b", "a", rows, 8), 3);
	assert_int_equal(list("b", "b2", rows, 8), 0);
	assert_int_equal(list("x", NULL, rows, 8), 0);
	assert_int_equal(list(NULL, "b10", rows, 8), 2);
}

static void catalog_refuses_another_master_key(void **state)
{
	static struct catalog_stream s;
	int fd;

	(void)state;
	assert_int_equal(create("cam-1", &s), 0);
	close_it();
	fd = open(in_dir("master.key"), O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "x", 1, 3), 1);
	close(fd);
	assert_int_equal(open_it(), -EKEYREJECTED);
	assert_int_equal(unlink(in_dir("master.key")), 0);
	assert_int_equal(open_it(), -ENOENT);
	assert_true(access(in_dir("master.key"), F_OK) < 0);
}

static void catalog_refuses_a_key_that_others_may_read(void **state)
{
	(void)state;
	close_it();
	assert_int_equal(chmod(in_dir("master.key"), 0640), 0);
	assert_int_equal(open_it(), -EPERM);
	assert_int_equal(chmod(in_dir("master.key"), 0600), 0);
	assert_int_equal(truncate(in_dir("master.key"), 31), 0);
	assert_int_equal(open_it(), -EINVAL);
}

static void directory_refuses_foreign_content_and_lost_segments(void **state)
{
	static struct catalog_stream s;
	struct data_dir d;
	int fd;

	(void)state;
	/* Two processes. */
	assert_int_equal(data_dir_open(sys_posix(), rig.path, false, &d),
			 -EBUSY);
	assert_int_equal(create("cam-1", &s), 0);
	close_it();
	/* The segments folder is an unmounted disk. */
	assert_int_equal(unlink(in_dir("segments/identity")), 0);
	assert_int_equal(open_it(), -EMEDIUMTYPE);
	rig_remove(rig.path);
	/* Not there, empty, and somebody's pictures. */
	assert_int_equal(data_dir_open(sys_posix(), rig.path, false, &d),
			 -ENOENT);
	assert_int_equal(mkdir(rig.path, 0700), 0);
	assert_int_equal(data_dir_open(sys_posix(), rig.path, false, &d),
			 -ENOENT);
	fd = open(in_dir("holiday.jpg"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	close(fd);
	assert_int_equal(data_dir_open(sys_posix(), rig.path, true, &d),
			 -EMEDIUMTYPE);
}

static void catalog_says_enospc_and_stays_whole(void **state)
{
	static struct catalog_stream s;
	static struct catalog_stream rows[1000];
	struct rlimit old;
	struct rlimit small;
	char name[32];
	int made = 0;
	int r = 0;

	(void)state;
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = old;
	small.rlim_cur = 160 << 10;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	while (r == 0 && made < 1000) {
		(void)snprintf(name, sizeof(name), "cam-%d", made);
		r = create(name, &s);
		made += r == 0;
	}
	assert_true(r == -ENOSPC || r == -EIO);
	assert_int_equal(find(name, NULL, &s), -ENOENT);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(create(name, &s), 0);
	made++;
	assert_int_equal(list(NULL, NULL, rows, 1000), made);
	close_it();
	assert_int_equal(open_it(), 0);
	assert_int_equal(list(NULL, NULL, rows, 1000), made);
}

static int retain(const char *name, const char *arn, const char *version,
		  int32_t hours, struct catalog_stream *s)
{
	struct catalog_wait w = CATALOG_WAIT;

	catalog_retain(rig.catalog, rig.loop, name, arn, version, hours, s,
		       &w.op);
	return wait_for(&w);
}

static void catalog_changes_a_retention(void **state)
{
	static struct catalog_stream s;
	static struct catalog_stream t;
	static struct catalog_stream u;
	int round;

	(void)state;
	assert_int_equal(create("one", &s), 0);
	assert_int_equal(create("two", &u), 0);
	assert_int_equal(retain("none", NULL, s.version, 1, &t), -ENOENT);
	assert_int_equal(retain("one", NULL, u.version, 1, &t), -ESTALE);
	assert_int_equal(retain("one", NULL, s.version, -25, &t), -ERANGE);
	assert_int_equal(retain("one", NULL, s.version, 87600 - 23, &t),
			 -ERANGE);
	assert_int_equal(retain("one", NULL, s.version, 87600 - 24, &t), 0);
	assert_int_equal(t.retention_hours, 87600);
	assert_string_not_equal(t.version, s.version);
	assert_memory_equal(t.store.key, s.store.key, DATA_KEY_BYTES);
	/* The version was used up. */
	assert_int_equal(retain(NULL, s.arn, s.version, -1, &u), -ESTALE);
	assert_int_equal(retain(NULL, s.arn, t.version, -87600, &t), 0);
	assert_int_equal(t.retention_hours, 0);
	/* In both databases. */
	for (round = 0; round < 2; round++) {
		close_it();
		damage(round ? "catalog.db" : "catalog-copy.db");
		assert_int_equal(open_it(), 0);
		assert_int_equal(find("one", NULL, &u), 0);
		same_stream(&u, &t);
		assert_int_equal(find("two", NULL, &u), 0);
		assert_int_equal(u.retention_hours, 24);
	}
}

static const struct catalog_hold case_1 = {
	.name = "case-1",
	.range = {.from_ms = 1000, .to_ms = 5000},
};

static void check_case_1(void)
{
	struct catalog_hold holds[STORE_HOLDS_MAX];

	assert_int_equal(catalog_sqlite_holds(rig.catalog, "a", holds), 1);
	assert_string_equal(holds[0].name, "case-1");
	assert_int_equal(holds[0].range.from_ms, 1000);
	assert_int_equal(holds[0].range.to_ms, 5000);
	assert_true(holds[0].created_ms > 0);
}

static void catalog_keeps_holds(void **state)
{
	static const char *const names[] = {"catalog.db", "catalog-copy.db"};
	struct catalog_hold holds[STORE_HOLDS_MAX];
	struct catalog_hold other = case_1;
	struct store_holds ranges;
	struct catalog_stream s;
	struct catalog_stream gone;
	struct catalog *c = rig.catalog;
	size_t i;

	(void)state;
	assert_int_equal(create("a", &s), 0);
	assert_int_equal(create("b", &gone), 0);
	assert_int_equal(catalog_sqlite_hold(c, "none", &case_1), -ENOENT);
	assert_int_equal(catalog_sqlite_hold(c, "a", &case_1), 0);
	assert_int_equal(catalog_sqlite_hold(c, "a", &case_1), 0);
	other.range.to_ms++;
	assert_int_equal(catalog_sqlite_hold(c, "a", &other), -EEXIST);
	other.range.to_ms = 1;
	assert_int_equal(catalog_sqlite_hold(c, "b", &other), -EINVAL);
	(void)snprintf(other.name, sizeof(other.name), "no good");
	other.range.to_ms = 5000;
	assert_int_equal(catalog_sqlite_hold(c, "b", &other), -EINVAL);
	assert_int_equal(catalog_sqlite_holds(c, "b", holds), 0);
	check_case_1();
	assert_int_equal(catalog_sqlite_find_holds(c, s.store.id, &ranges), 0);
	assert_int_equal(ranges.count, 1);
	assert_int_equal(ranges.ranges[0].to_ms, 5000);
	assert_int_equal(catalog_sqlite_find_holds(c, gone.store.id, &ranges),
			 0);
	assert_int_equal(ranges.count, 0);
	assert_int_equal(delete (s.arn, NULL, &gone), -EBUSY);
	/* Either of the two has it. */
	for (i = 0; i < 2; i++) {
		close_it();
		assert_int_equal(unlink(in_dir(names[i])), 0);
		assert_int_equal(open_it(), 0);
		check_case_1();
	}
	assert_int_equal(delete (s.arn, NULL, &gone), -EBUSY);
	assert_int_equal(catalog_sqlite_release(rig.catalog, "a", "case-2"),
			 -ENODATA);
	assert_int_equal(catalog_sqlite_release(rig.catalog, "a", "case-1"), 0);
	assert_int_equal(delete (s.arn, NULL, &gone), 0);
	assert_int_equal(catalog_sqlite_holds(rig.catalog, "a", holds),
			 -ENOENT);
}

static void catalog_bounds_the_holds_of_a_stream(void **state)
{
	struct catalog_hold holds[STORE_HOLDS_MAX];
	struct catalog_hold h = case_1;
	struct catalog_stream s;
	unsigned int i;

	(void)state;
	assert_int_equal(create("a", &s), 0);
	assert_int_equal(create("b", &s), 0);
	for (i = 0; i <= STORE_HOLDS_MAX; i++) {
		(void)snprintf(h.name, sizeof(h.name), "h%u", i);
		assert_int_equal(catalog_sqlite_hold(rig.catalog, "b", &h),
				 i < STORE_HOLDS_MAX ? 0 : -EDQUOT);
	}
	assert_int_equal(catalog_sqlite_hold(rig.catalog, "a", &h), 0);
	assert_int_equal(catalog_sqlite_holds(rig.catalog, "b", holds),
			 STORE_HOLDS_MAX);
	assert_int_equal(catalog_sqlite_release(rig.catalog, "b", "h0"), 0);
	assert_int_equal(catalog_sqlite_hold(rig.catalog, "b", &h), 0);
}

/* Of a catalog that is not open. */
static void make_version_1(void)
{
	static const char *const names[] = {"catalog.db", "catalog-copy.db"};
	char path[128];
	struct db *db;
	size_t i;

	for (i = 0; i < 2; i++) {
		(void)snprintf(path, sizeof(path), "%s", in_dir(names[i]));
		assert_int_equal(db_open(path, DB_CATALOG, false, &db), 0);
		assert_int_equal(db_exec(db, "DROP TABLE holds;"
					     "PRAGMA user_version=1"),
				 0);
		db_close(db);
	}
}

static void catalog_of_version_1_gets_holds(void **state)
{
	struct catalog_hold holds[STORE_HOLDS_MAX];
	struct catalog_stream s;

	(void)state;
	assert_int_equal(create("a", &s), 0);
	close_it();
	make_version_1();
	/* Read as it is by who may not change it. */
	assert_int_equal(
		data_dir_open_readonly(sys_posix(), rig.path, &rig.dir), 0);
	assert_int_equal(catalog_sqlite_open(
				 &(struct catalog_sqlite_config){
					 .dir = &rig.dir,
					 .region = "eu-central-1",
					 .account = "123456789012",
					 .no_thread = true,
				 },
				 &rig.catalog),
			 0);
	assert_int_equal(catalog_sqlite_holds(rig.catalog, "a", holds), 0);
	close_it();
	assert_int_equal(open_it(), 0);
	assert_int_equal(catalog_sqlite_holds(rig.catalog, "a", holds), 0);
	assert_int_equal(catalog_sqlite_hold(rig.catalog, "a", &case_1), 0);
	close_it();
	assert_int_equal(open_it(), 0);
	check_case_1();
}

static void catalog_of_version_1_opens_on_a_full_disk(void **state)
{
	struct catalog_hold holds[STORE_HOLDS_MAX];
	struct catalog_stream s;
	struct catalog_stream t;

	(void)state;
	assert_int_equal(create("a", &s), 0);
	assert_int_equal(create("b", &t), 0);
	close_it();
	make_version_1();
	sqlite_fault_full(true);
	assert_int_equal(open_it(), 0);
	assert_int_equal(find("a", NULL, &t), 0);
	assert_int_equal(catalog_sqlite_holds(rig.catalog, "a", holds), 0);
	assert_int_equal(catalog_sqlite_hold(rig.catalog, "a", &case_1),
			 -ENOSPC);
	assert_int_equal(catalog_sqlite_holds(rig.catalog, "a", holds), 0);
	/* Any change takes it along, a removal too. */
	sqlite_fault_full(false);
	assert_int_equal(find("b", NULL, &t), 0);
	assert_int_equal(delete (t.arn, NULL, &t), 0);
	assert_int_equal(catalog_sqlite_hold(rig.catalog, "a", &case_1), 0);
	close_it();
	assert_int_equal(open_it(), 0);
	check_case_1();
}

/* Or a new one would take the place of what just cannot be opened. */
static void catalog_that_cannot_be_opened_is_not_missing(void **state)
{
	struct catalog_db *db;

	(void)state;
	assert_int_equal(mkdir(in_dir("x.db"), 0700), 0);
	assert_int_equal(catalog_db_open(&rig.dir, "x.db", &db), -EISDIR);
	assert_int_equal(catalog_db_open(&rig.dir, "y.db", &db), -ENOENT);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define THREADED(f) \
	{ #f " (threaded)", f, setup_threaded, teardown, NULL }

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CASE(catalog_finds_what_was_created),
		THREADED(catalog_finds_what_was_created),
		CASE(catalog_uses_customer_keys),
		THREADED(catalog_uses_customer_keys),
		CASE(catalog_survives_reopening),
		THREADED(catalog_survives_reopening),
		CASE(catalog_remove_shreds_the_key_in_all_files),
		THREADED(catalog_remove_shreds_the_key_in_all_files),
		CASE(catalog_recreated_stream_is_another_one),
		CASE(catalog_lists_by_name_and_prefix),
		CASE(catalog_refuses_another_master_key),
		CASE(catalog_refuses_a_key_that_others_may_read),
		CASE(directory_refuses_foreign_content_and_lost_segments),
		CASE(catalog_says_enospc_and_stays_whole),
		CASE(catalog_changes_a_retention),
		THREADED(catalog_changes_a_retention),
		CASE(catalog_that_cannot_be_opened_is_not_missing),
		CASE(catalog_keeps_holds),
		THREADED(catalog_keeps_holds),
		CASE(catalog_bounds_the_holds_of_a_stream),
		CASE(catalog_of_version_1_gets_holds),
		CASE(catalog_of_version_1_opens_on_a_full_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
