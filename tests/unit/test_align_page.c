/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a page of tsalign.ko while its writer stops or goes on anywhere. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/align_page.h"

#define PAGE_WORDS (sizeof(struct tsalign_page) / sizeof(uint64_t))
#define MAP_WORD (offsetof(struct tsalign_page, mult) / sizeof(uint64_t))
#define LAST_WORD (offsetof(struct tsalign_page, mispaired) / sizeof(uint64_t))
#define READS 20000u

#define STORE(word, value) __atomic_store_n(&(word), value, __ATOMIC_RELEASE)

union words {
	struct tsalign_page page;
	uint64_t word[PAGE_WORDS];
};

/* All of a page's words tell the same number. */
static union words page_of(uint64_t n)
{
	union words w;

	memset(&w, 0, sizeof(w));
	w.page.abi = TSALIGN_ABI;
	w.page.state = TSALIGN_LOCKED;
	w.page.shift = (uint32_t)(n % 64);
	w.page.mult = n;
	w.page.base_counter = n;
	w.page.base_ns = n;
	w.page.epoch = n;
	w.page.sigma_ns = n;
	w.page.sigma_ppb = n;
	w.page.delay_ns = (int64_t)n;
	w.page.drift_ppb = (int64_t)n;
	w.page.jitter_ns = n;
	w.page.updated_ns = n;
	w.page.samples = n;
	w.page.outliers = n;
	w.page.lost = n;
	w.page.mispaired = n;
	return w;
}

static bool of_one_moment(const struct tsalign_page *p)
{
	union words want = page_of(p->mult);

	want.page.seq = p->seq;
	return memcmp(p, &want.page, sizeof(*p)) == 0;
}

/* The writer has stopped before each of its words, from either end. */
static void page_torn_at_any_word_is_not_read(void **state)
{
	const union words before = page_of(7);
	const union words after = page_of(1000);
	struct tsalign_page got;
	union words w;
	size_t cut;
	size_t i;

	(void)state;
	for (cut = 0; cut <= 2 * PAGE_WORDS; cut++) {
		for (i = 0; i < PAGE_WORDS; i++) {
			bool new = cut <= PAGE_WORDS ? i < cut
						     : i >= cut - PAGE_WORDS;

			w.word[i] = new ? after.word[i] : before.word[i];
		}
		w.page.abi = TSALIGN_ABI;
		w.page.seq = 41;
		assert_int_equal(align_page_read(&w.page, &got), -EAGAIN);
	}
	w = after;
	w.page.seq = 42;
	assert_int_equal(align_page_read(&w.page, &got), 0);
	assert_true(of_one_moment(&got));
}

/*
 * The page lies across two of memory's, of which the second one cannot be
 * read: when the reader comes to it, the writer writes all anew, at once.
 */
static struct {
	uint8_t *memory;
	size_t bytes; /* of one of them */
	struct tsalign_page *page;
	unsigned int writes;
} split;

static void write_when_touched(int signal, siginfo_t *info, void *context)
{
	union words next = page_of(1000);

	(void)signal;
	(void)info;
	(void)context;
	/* Else it was a fault of the reader's own. */
	if (split.writes++ ||
	    mprotect(split.memory, 2 * split.bytes, PROT_READ | PROT_WRITE))
		_exit(1);
	next.page.seq = 42;
	memcpy(split.page, &next, sizeof(next));
}

static void page_written_before_any_word_is_read_anew(void **state)
{
	const struct sigaction act = {
		.sa_sigaction = write_when_touched,
		.sa_flags = SA_SIGINFO,
	};
	struct sigaction before;
	struct tsalign_page got;
	union words first = page_of(7);
	size_t word;

	(void)state;
	first.page.seq = 40;
	split.bytes = (size_t)sysconf(_SC_PAGESIZE);
	split.memory = mmap(NULL, 2 * split.bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(split.memory != MAP_FAILED);
	assert_int_equal(sigaction(SIGSEGV, &act, &before), 0);
	/* The last words are reserved: nobody reads them. */
	for (word = 1; word <= LAST_WORD; word++) {
		split.page = (void *)(split.memory + split.bytes -
				      word * sizeof(uint64_t));
		split.writes = 0;
		memcpy(split.page, &first, sizeof(first));
		assert_int_equal(mprotect(split.memory + split.bytes,
					  split.bytes, PROT_NONE),
				 0);
		assert_int_equal(align_page_read(split.page, &got), 0);
		assert_int_equal(split.writes, 1);
		assert_true(of_one_moment(&got));
		assert_int_equal(got.seq, 42);
	}
	assert_int_equal(sigaction(SIGSEGV, &before, NULL), 0);
	assert_int_equal(munmap(split.memory, 2 * split.bytes), 0);
}

static struct {
	union words w;
	bool over;
} shared;

/* As the kernel does: odd, all words, even; forth and back in turn. */
static void *write_pages(void *arg)
{
	uint32_t seq = 0;
	uint64_t n;
	size_t i;

	(void)arg;
	for (n = 1; !__atomic_load_n(&shared.over, __ATOMIC_ACQUIRE); n++) {
		const union words next = page_of(n);

		STORE(shared.w.page.seq, ++seq);
		STORE(shared.w.page.shift, next.page.shift);
		for (i = MAP_WORD; i < PAGE_WORDS; i++) {
			size_t at = n % 2 ? i : PAGE_WORDS - 1 - (i - MAP_WORD);

			STORE(shared.w.word[at], next.word[at]);
		}
		STORE(shared.w.page.seq, ++seq);
	}
	return NULL;
}

static void page_under_a_writer_is_of_one_moment(void **state)
{
	struct tsalign_page got;
	unsigned int torn = 0;
	unsigned int reads = 0;
	pthread_t writer;

	(void)state;
	shared.w = page_of(0);
	assert_int_equal(pthread_create(&writer, NULL, write_pages, NULL), 0);
	while (__atomic_load_n(&shared.w.page.seq, __ATOMIC_ACQUIRE) < 1000)
		(void)sched_yield();
	while (reads < READS) {
		if (align_page_read(&shared.w.page, &got) < 0)
			continue;
		torn += !of_one_moment(&got);
		reads++;
	}
	__atomic_store_n(&shared.over, true, __ATOMIC_RELEASE);
	assert_int_equal(pthread_join(writer, NULL), 0);
	assert_int_equal(torn, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(page_torn_at_any_word_is_not_read),
		cmocka_unit_test(page_written_before_any_word_is_read_anew),
		cmocka_unit_test(page_under_a_writer_is_of_one_moment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
