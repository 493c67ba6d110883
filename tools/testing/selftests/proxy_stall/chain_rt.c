// SPDX-License-Identifier: GPL-2.0
/*
 * PREEMPT_RT: a flush is an rt_mutex, and what looks like a deadlock of rt_mutexes
 * may be none. The rest is tested by chain_lend.
 */
#include <signal.h>
#include <unistd.h>

#include "chain_fixture.h"

#define REPORT	"which is to be done by a task that waits for what"

FIXTURE(rt) {
	long long cycles;
};

FIXTURE_SETUP(rt)
{
	const char *why = lab_rt() ? chain_enter() : "needs PREEMPT_RT";

	if (why)
		SKIP(return, "%s", why);
	/* The runner takes a regular expression. */
	ksft_print_msg("expect-console: " REPORT "\n");
	if (!access("/proc/lockdep", F_OK))
		ksft_print_msg("expect-console: possible (circular|recursive) locking\n");
	log_lines(REPORT, NULL, 0);
	self->cycles = proxy_stat("cycles");
}

FIXTURE_TEARDOWN(rt)
{
	lab_leave();
}

static int priority(pid_t pid)
{
	return atoi(identity_of(pid).stat[0]);
}

/* The worker has what W has while it does what W waits for, and no longer. */
TEST_F_TIMEOUT(rt, priority_is_inherited, PATIENCE)
{
	struct actor *h, *w;
	int worker;

	ASSERT_EQ(0, chain_work(0, "mark 1; wait 2; mark 3; wait 4"));
	ASSERT_EQ(0, chain_work(1, "mark 5; wait 6"));
	h = WEAK("lock 1; queue 0 2 percpu; flush 0; mark 7; queue 1 2 percpu; flush 1");
	ASSERT_NE(NULL, h);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	worker = chain_report(0).pid;
	EXPECT_EQ(20, priority(worker));
	w = chain_start(SCHED_FIFO, W_PRIO, W_CPU, "lockk 1");
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(wait_until(1000, priority(worker) == -1 - W_PRIO));
	/* It sleeps, wakes, and sleeps again. */
	ASSERT_EQ(0, chain_run("mark 2; wait 3"));
	EXPECT_EQ(-1 - W_PRIO, priority(worker));
	ASSERT_EQ(0, chain_run("mark 4; wait 7; wait 5"));
	if (chain_report(1).pid != worker)
		EXPECT_EQ(20, priority(worker));
	worker = chain_report(1).pid;
	EXPECT_TRUE(wait_until(1000, priority(worker) == -1 - W_PRIO));
	ASSERT_EQ(0, kill(w->pid, SIGKILL));
	EXPECT_TRUE(wait_until(1000, priority(worker) == 20));
	ASSERT_EQ(0, chain_run("mark 6"));
	EXPECT_TRUE(ends(h));
	EXPECT_EQ(20, priority(worker));
}

/*
 * Two work items are active. One waits for the flusher's mutex; when the other
 * ends, the one that is flushed can begin.
 */
TEST_F_TIMEOUT(rt, one_of_many_waits_for_the_flusher, PATIENCE)
{
	static const char max_active[] = WQ_SYSFS "chain_sysfs1/max_active";
	struct actor *f, *later;

	ASSERT_EQ(0, put(max_active, "2\n"));
	ASSERT_EQ(0, chain_work(0, "burn 20"));
	ASSERT_EQ(0, chain_work(1, "mark 1; wait 5; lock 1"));
	ASSERT_EQ(0, chain_work(2, "mark 2; wait 6"));
	ASSERT_EQ(0, chain_run("queue 1 2 sysfs1; wait 1; queue 2 2 sysfs1; wait 2"));
	f = STRONG("lock 1; queue 0 2 sysfs1; flush 0");
	ASSERT_NE(NULL, f);
	ASSERT_TRUE(blocks(f));
	ASSERT_EQ(0, chain_run("mark 5"));
	sleep_us(5000);
	/* A flush looks for deadlocks, wherever they are. */
	later = chain_start(SCHED_FIFO, W_PRIO + 1, 0, "lockk 1");
	ASSERT_NE(NULL, later);
	ASSERT_TRUE(blocks(later));
	EXPECT_EQ(0, log_lines(REPORT, NULL, 0));
	ASSERT_EQ(0, chain_run("mark 6"));
	EXPECT_TRUE(ends(f));
	EXPECT_TRUE(ends(later));
	EXPECT_EQ(0, chain_run("flush 1"));
	EXPECT_EQ(self->cycles, proxy_stat("cycles"));
	put(max_active, "1\n");
}

/* This cannot be killed: it comes last. */
TEST_F_TIMEOUT(rt, x_flush_under_the_works_mutex, PATIENCE)
{
	struct actor *f, *later;

	ASSERT_EQ(0, chain_work(20, "mark 1; lock 20"));
	f = STRONG("lock 20; queue 20 2 percpu; wait 1; sleep 5000; flush 20");
	ASSERT_NE(NULL, f);
	ASSERT_TRUE(wait_until(1000, proxy_stat("cycles") == self->cycles + 1));
	EXPECT_EQ(1, log_lines(REPORT, NULL, 0));
	EXPECT_TRUE(blocks(f));
	/* A later waiter sleeps in peace, and can be killed. */
	later = chain_start(SCHED_FIFO, W_PRIO, 0, "lockk 20");
	ASSERT_NE(NULL, later);
	EXPECT_TRUE(blocks(later));
	ASSERT_EQ(0, kill(later->pid, SIGKILL));
	EXPECT_TRUE(wait_until(1000, task_state(later->pid) == 'Z'));
	EXPECT_EQ(0, log_lines(REPORT, NULL, 0));
	EXPECT_EQ(self->cycles + 1, proxy_stat("cycles"));
	/* The workqueue goes on. */
	ASSERT_EQ(0, chain_work(19, "burn 1"));
	EXPECT_EQ(0, chain_run("queue 19 2 percpu; flush 19"));
}

TEST_HARNESS_MAIN
