// SPDX-License-Identifier: GPL-2.0
/*
 * Proxy execution by itself, without what the series adds to it: who runs when a
 * donor or a task in the middle of a chain is woken, where it runs then, the
 * remote tick, and deadlocks. The same has to hold with proxy execution off.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>

#include "chain_fixture.h"

FIXTURE(walk) {
	int cpu;
};

FIXTURE_SETUP(walk)
{
	const char *why = repairs_enter();

	if (why)
		SKIP(return, "%s", why);
	self->cpu = lab_cpu();
}

FIXTURE_TEARDOWN(walk)
{
	lab_leave();
}

/* The donor and the owner share a CPU, so that the donor is woken in place. */
TEST_F_TIMEOUT(walk, donor_is_woken_in_place, PATIENCE)
{
	struct actor *owner, *donor;
	__u64 killed_ns;

	owner = chain_start(SCHED_OTHER, 0, W_CPU, "lock 0; mark 1; burn 500000; unlock 0");
	ASSERT_NE(NULL, owner);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	donor = chain_start(SCHED_FIFO, W_PRIO, W_CPU, "lockk 0");
	ASSERT_NE(NULL, donor);
	ASSERT_TRUE(blocks(donor));
	killed_ns = now_ns();
	ASSERT_EQ(0, kill(donor->pid, SIGKILL));
	EXPECT_TRUE(wait_until(400, task_state(donor->pid) == 'Z'));
	EXPECT_TRUE(in_time(killed_ns, now_ns(), AT_ONCE_US));
	EXPECT_FALSE(peek(owner->done));
}

/*
 * The middle of a chain gives up. What it holds goes to the donor at once, though
 * the owner that ran on the donor's context goes on.
 */
TEST_F_TIMEOUT(walk, middle_is_woken_in_place, PATIENCE)
{
	struct actor *owner, *middle, *donor;
	__u64 killed_ns;

	/* It cannot get to this CPU any more when the middle donates. */
	donor = chain_start(SCHED_FIFO, W_PRIO, W_CPU, "wait 2; lock 1");
	ASSERT_NE(NULL, donor);
	owner = chain_start(SCHED_OTHER, 0, W_CPU, "lock 0; mark 1; burn 500000; unlock 0");
	ASSERT_NE(NULL, owner);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	middle = chain_start(SCHED_FIFO, W_PRIO - 1, W_CPU, "lock 1; lockk 0");
	ASSERT_NE(NULL, middle);
	ASSERT_TRUE(blocks(middle));
	ASSERT_EQ(0, chain_run("mark 2"));
	ASSERT_TRUE(blocks(donor));
	killed_ns = now_ns();
	ASSERT_EQ(0, kill(middle->pid, SIGKILL));
	EXPECT_TRUE(actor_wait(donor, 400));
	EXPECT_TRUE(in_time(killed_ns, donor->end_ns, AT_ONCE_US));
	EXPECT_FALSE(peek(owner->done));
}

/* A donor may be queued where it must not run, but must not run there. */
TEST_F_TIMEOUT(walk, donor_is_moved_while_it_donates, PATIENCE)
{
	struct actor *owner, *donor;
	cpu_set_t set;

	owner = chain_start(SCHED_OTHER, 0, W_CPU, "lock 0; mark 1; burn 50000; unlock 0");
	ASSERT_NE(NULL, owner);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	donor = chain_start(SCHED_FIFO, W_PRIO, W_CPU, "lock 0; mark 2; unlock 0");
	ASSERT_NE(NULL, donor);
	ASSERT_TRUE(blocks(donor));
	CPU_ZERO(&set);
	CPU_SET(self->cpu - 1, &set);
	ASSERT_NE(self->cpu - 1, W_CPU);
	ASSERT_EQ(0, sched_setaffinity(donor->pid, sizeof(set), &set));
	ASSERT_FALSE(peek(owner->done));
	EXPECT_TRUE(ends(donor));
	EXPECT_EQ(self->cpu - 1, chain_mark_cpu(2));
}

/* The CPU that a task ran on last, even if it is dead */
static int last_cpu(pid_t pid)
{
	char path[40], buf[512], *s;
	int cpu = -1;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (get(path, buf, sizeof(buf)) <= 0)
		return -1;
	s = strrchr(buf, ')');
	if (s)
		sscanf(s, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d "
		       "%*d %*d %*d %*d %*u %*u %*d %*u %*u %*u %*u %*u %*u %*u %*u %*u "
		       "%*u %*u %*u %*u %*d %d", &cpu);
	return cpu;
}

/* Nor must one that was woken, and has still to get its CPU from the owner. */
TEST_F_TIMEOUT(walk, donor_is_moved_when_it_was_woken, PATIENCE)
{
	struct actor *owner, *donor;
	cpu_set_t set;

	owner = chain_start(SCHED_OTHER, 0, W_CPU,
			    "lock 0; mark 1; burn 20000; mark 2; burnoff 30000; mark 3; unlock 0");
	ASSERT_NE(NULL, owner);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	donor = chain_start(SCHED_FIFO, W_PRIO, W_CPU, "lockk 0");
	ASSERT_NE(NULL, donor);
	ASSERT_TRUE(blocks(donor));
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(2)));
	ASSERT_EQ(0, kill(donor->pid, SIGKILL));
	ASSERT_FALSE(chain_mark_ns(3));
	CPU_ZERO(&set);
	CPU_SET(self->cpu - 1, &set);
	ASSERT_NE(self->cpu - 1, W_CPU);
	ASSERT_EQ(0, sched_setaffinity(donor->pid, sizeof(set), &set));
	EXPECT_TRUE(wait_until(400, task_state(donor->pid) == 'Z'));
	EXPECT_EQ(self->cpu - 1, last_cpu(donor->pid));
}

/* The tick of a tickless CPU is served by another one, once a second. */
TEST_F_TIMEOUT(walk, remote_tick_meets_a_donor, PATIENCE)
{
	struct actor *owner, *donor;

	if (!cpu_in(self->cpu, "nohz_full"))
		SKIP(return, "CPU %d is not in nohz_full=", self->cpu);
	log_lines("WARNING:", NULL, 0);
	owner = chain_start(SCHED_OTHER, 0, self->cpu, "lock 0; mark 1; burn 1200000; unlock 0");
	ASSERT_NE(NULL, owner);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	donor = chain_start(SCHED_FIFO, W_PRIO, self->cpu, "lock 0");
	ASSERT_NE(NULL, donor);
	ASSERT_TRUE(blocks(donor));
	EXPECT_TRUE(ends(donor));
	EXPECT_EQ(0, log_lines("WARNING:", NULL, 0));
}

/*
 * The barrier of a flush goes on without the work item that it was for, and
 * without the one that held that back.
 */
TEST_F_TIMEOUT(walk, flushed_work_is_cancelled, PATIENCE)
{
	struct actor *w;

	ASSERT_EQ(0, chain_work(0, "burn 20"));
	ASSERT_EQ(0, chain_work(1, "mark 1; sleep 400000; burn 20"));
	ASSERT_EQ(0, chain_run("queue 1 @ max1; wait 1"));
	w = chain_start(SCHED_OTHER, 0, W_CPU, "queue 0 @ max1; flush 0");
	ASSERT_NE(NULL, w);
	ASSERT_TRUE(blocks(w));
	ASSERT_EQ(0, chain_run("cancel 0; mark 2"));
	EXPECT_TRUE(ends(w));
	EXPECT_TRUE(in_time(chain_mark_ns(2), w->end_ns, AT_ONCE_US));
	EXPECT_EQ(0, chain_report(1).end_ns);
}

/*
 * Two that wait for each other sleep, and can be killed. On one CPU, because
 * mutexes spin while the owner runs, and these might spin on each other.
 */
TEST_F_TIMEOUT(walk, deadlock, PATIENCE)
{
	struct actor *w[2];
	int i;

	ksft_print_msg("expect-console: sched: proxy execution: \\d+ tasks wait\n");
	if (!access("/proc/lockdep", F_OK))
		ksft_print_msg("expect-console: possible (circular|recursive) locking\n");
	w[0] = chain_start(SCHED_FIFO, W_PRIO, W_CPU, "lock 1; mark 1; wait 2; lockk 2");
	w[1] = chain_start(SCHED_FIFO, W_PRIO, W_CPU,
			   "lock 2; wait 1; mark 2; burn 20000; lockk 1");
	for (i = 0; i < 2; i++) {
		ASSERT_NE(NULL, w[i]);
		EXPECT_TRUE(wait_until(1000, task_state(w[i]->pid) == 'D'));
	}
	ASSERT_EQ(0, kill(w[0]->pid, SIGKILL));
	EXPECT_TRUE(wait_until(1000, task_state(w[0]->pid) == 'Z'));
	EXPECT_TRUE(ends(w[1]));
}

TEST_HARNESS_MAIN
