// SPDX-License-Identifier: GPL-2.0
/*
 * Core scheduling and proxy execution: what runs on a core has one cookie, also
 * what runs on a lent context.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "chain_fixture.h"

#ifndef PR_SCHED_CORE
#define PR_SCHED_CORE		62
#define PR_SCHED_CORE_GET	0
#define PR_SCHED_CORE_CREATE	1
#endif

FIXTURE(core) {
	int cpu;
	int sibling;
};

FIXTURE_SETUP(core)
{
	const char *why = repairs_enter();
	unsigned long cookie;

	if (why)
		SKIP(return, "%s", why);
	if (prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, 0, &cookie))
		SKIP(return, "no CONFIG_SCHED_CORE");
	self->cpu = lab_cpu();
	self->sibling = sibling_of(self->cpu);
	/* CPU 0 is the housekeeping CPU. */
	if (self->sibling < 1)
		SKIP(return, "no sibling to spare");
}

FIXTURE_TEARDOWN(core)
{
	lab_leave();
}

/*
 * A cookie of its own for this task and those that it starts from now on. What
 * the kernel would call it is a secret until there is enough randomness; here
 * cookies have numbers.
 */
static unsigned int take_cookie(void)
{
	static unsigned int number;

	return prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, 0, 0) ? 0 : ++number;
}

struct tag {
	pid_t pid;
	unsigned int cookie;
};

/* Whoever is not tagged has no cookie: kernel threads for one. */
static unsigned int cookie_of(pid_t pid, const struct tag *tags, int n)
{
	int i;

	for (i = 0; i < n; i++)
		if (tags[i].pid == pid)
			return tags[i].cookie;
	return 0;
}

static struct event events[MAX_EVENTS];

/* The longest time, in us, that two siblings ran tasks of different cookies */
static __u64 mix_of(int a, int b, int n, const struct tag *tags, int nr_tags)
{
	long long pid[2] = { 0, 0 };
	__u64 since = 0, longest = 0;
	int i;

	for (i = 0; i < n; i++) {
		bool mixed = pid[0] && pid[1] && cookie_of(pid[0], tags, nr_tags) !=
			     cookie_of(pid[1], tags, nr_tags);

		if (events[i].cpu != a && events[i].cpu != b)
			continue;
		if (mixed && events[i].us - since > longest)
			longest = events[i].us - since;
		pid[events[i].cpu == b] = event_number(&events[i], "next_pid");
		since = events[i].us;
	}
	ksft_print_msg("CPUs %d and %d: different cookies for %llu us, %d events\n",
		       a, b, longest, n);
	/* What does not fit is lost. */
	return n > 0 && n < MAX_EVENTS ? longest : ~0ULL;
}

static __u64 longest_mix(int a, int b, const struct tag *tags, int nr_tags)
{
	return mix_of(a, b, trace_stop(events, MAX_EVENTS), tags, nr_tags);
}

/* The interrupt that makes the sibling let go takes that long at most. */
#define MIX_US		500ULL

/*
 * The donor has the cookie of what runs on the sibling, the owner has another one.
 */
TEST_F_TIMEOUT(core, owner_has_another_cookie, PATIENCE)
{
	struct actor *owner, *donor, *other;
	struct tag tags[3];

	/* They cannot get to their CPUs any more when others are busy there. */
	tags[0].cookie = take_cookie();
	ASSERT_NE(0U, tags[0].cookie);
	tags[1].cookie = tags[0].cookie;
	donor = chain_start(SCHED_FIFO, W_PRIO, self->cpu, "wait 3; lock 0; unlock 0");
	ASSERT_NE(NULL, donor);
	other = chain_start(SCHED_OTHER, 0, self->sibling, "wait 2; burn 150000");
	ASSERT_NE(NULL, other);
	tags[2].cookie = take_cookie();
	ASSERT_NE(0U, tags[2].cookie);
	trace_start("sched:sched_switch");
	owner = chain_start(SCHED_OTHER, 0, self->cpu,
			    "lock 0; mark 1; burn 100000; unlock 0");
	ASSERT_NE(NULL, owner);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	ASSERT_EQ(0, chain_run("mark 2; mark 3"));
	EXPECT_TRUE(ends(donor));
	EXPECT_LT(20000000ULL, donor->end_ns - chain_mark_ns(3));
	EXPECT_TRUE(ends(other));
	tags[0].pid = donor->pid;
	tags[1].pid = other->pid;
	tags[2].pid = owner->pid;
	EXPECT_GE(MIX_US, longest_mix(self->cpu, self->sibling, tags, 3));
}

/* With the same cookie a context is lent all the same. */
TEST_F_TIMEOUT(core, owner_has_the_same_cookie, PATIENCE)
{
	struct actor *owner, *donor, *other;
	struct hog *hog;

	ASSERT_NE(0U, take_cookie());
	owner = chain_start(SCHED_OTHER, 0, self->cpu,
			    "lock 0; mark 1; burn 20000; unlock 0");
	ASSERT_NE(NULL, owner);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	other = chain_start(SCHED_OTHER, 0, self->sibling, "burn 100000");
	ASSERT_NE(NULL, other);
	donor = chain_start(SCHED_FIFO, W_PRIO, self->cpu, "wait 2; lock 0; unlock 0");
	ASSERT_NE(NULL, donor);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, chain_run("mark 2"));
	EXPECT_TRUE(ends(donor));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_TRUE(in_time(chain_mark_ns(2), donor->end_ns, 20000 + AT_ONCE_US));
}

/*
 * A kworker has no cookie: whoever flushes its work item, it does not run beside
 * tasks that have one.
 */
TEST_F_TIMEOUT(core, flushed_kworker, PATIENCE)
{
	struct actor *donor, *other;
	struct tag tags[2];

	ASSERT_EQ(0, chain_work(0, "burn 20000"));
	tags[0].cookie = take_cookie();
	ASSERT_NE(0U, tags[0].cookie);
	tags[1].cookie = tags[0].cookie;
	donor = chain_start(SCHED_FIFO, W_PRIO, self->cpu, "wait 1; queue 0 @ percpu; flush 0");
	ASSERT_NE(NULL, donor);
	other = chain_start(SCHED_FIFO, HOG_PRIO, self->sibling, "wait 2; burn 150000");
	ASSERT_NE(NULL, other);
	trace_start("sched:sched_switch");
	ASSERT_EQ(0, chain_run("mark 2"));
	sleep_us(2000);
	ASSERT_EQ(0, chain_run("mark 1"));
	EXPECT_TRUE(ends(donor));
	EXPECT_TRUE(ends(other));
	tags[0].pid = donor->pid;
	tags[1].pid = other->pid;
	EXPECT_GE(MIX_US, longest_mix(self->cpu, self->sibling, tags, 2));
}

/*
 * Tasks of several cookies read and write one pipe: its mutex has donors all the
 * time, and idle CPUs look for tasks with the cookie of their siblings. A kernel
 * that takes a donor away from its runqueue dies within seconds.
 */
#define PIPE_GROUPS	4
#define PIPE_TASKS	6

static void use_pipe(int *fd, int i, unsigned int seed)
{
	static char buf[4096];

	srand(seed);
	if (i == 2)
		setpriority(PRIO_PROCESS, 0, -10);
	for (;;) {
		if ((i & 1 ? write(fd[1], buf, sizeof(buf)) : read(fd[0], buf, sizeof(buf))) < 0)
			_exit(1);
		if (rand() % 4 == 0)
			usleep(rand() % 50);
	}
}

TEST_F_TIMEOUT(core, pipe_is_shared, LAB_MAX_SECONDS + PATIENCE)
{
	struct tag *tags;
	int fd[2], i, g, n;
	pid_t pid;

	ASSERT_EQ(0, pipe(fd));
	tags = mmap(NULL, PIPE_GROUPS * PIPE_TASKS * sizeof(*tags), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, tags);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		cpu_set_t all;

		setpgid(0, 0);
		memset(&all, 0xff, sizeof(all));
		sched_setaffinity(0, sizeof(all), &all);
		for (g = 0; g < PIPE_GROUPS; g++) {
			if (!take_cookie())
				_exit(1);
			for (i = 0; i < PIPE_TASKS; i++) {
				struct tag tag = { .cookie = g + 1 };

				tag.pid = fork();
				if (!tag.pid)
					use_pipe(fd, i, g * PIPE_TASKS + i);
				tags[g * PIPE_TASKS + i] = tag;
			}
		}
		for (;;)
			pause();
	}
	sleep_us(lab_seconds(lab_exact_time() ? 2 : 15) * 1000000ULL);
	/* Where time is exact: the tasks, and who else came along meanwhile */
	if (lab_exact_time()) {
		ASSERT_EQ(0, trace_start("sched:sched_switch"));
		sleep_us(20000);
		n = trace_stop(events, MAX_EVENTS);
		for (i = 0; i < MAX_CPUS; i++)
			if (cpu_in(i, "online") && sibling_of(i) > i)
				EXPECT_GE(MIX_US, mix_of(i, sibling_of(i), n, tags,
							 PIPE_GROUPS * PIPE_TASKS));
	}
	/* They all live: nobody failed, nobody hangs. */
	EXPECT_EQ(0, waitpid(pid, NULL, WNOHANG));
	ASSERT_EQ(0, kill(-pid, SIGKILL));
	EXPECT_TRUE(wait_until(10000, waitpid(pid, NULL, WNOHANG) == pid));
	EXPECT_TRUE(wait_until(10000, kill(-pid, 0)));
}

TEST_HARNESS_MAIN
