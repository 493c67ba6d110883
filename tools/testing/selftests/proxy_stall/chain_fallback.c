// SPDX-License-Identifier: GPL-2.0
/*
 * What nothing is lent to along a chain is left to the stall monitor.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "chain_fixture.h"

FIXTURE(fallback) {
	int cpu;
	unsigned int threshold_us;
	cpu_set_t kthreadd;
};

FIXTURE_SETUP(fallback)
{
	const char *why = chain_enter();

	if (why)
		SKIP(return, "%s", why);
	self->cpu = lab_cpu();
	/* A slow console is no part of this. */
	put(SYSCTL "printk", "1\n");
	sched_getaffinity(KTHREADD, sizeof(self->kthreadd), &self->kthreadd);
	set("stall_monitor", 1);
	/* Without a monitor nobody asks for it. */
	self->threshold_us = stall("stall_monitor_threshold_us") > 0 ?
			     stall("stall_monitor_threshold_us") : 0;
}

FIXTURE_TEARDOWN(fallback)
{
	sched_setaffinity(KTHREADD, sizeof(self->kthreadd), &self->kthreadd);
	lab_leave();
}

/* It is not lent anything: the monitor does it, after the threshold. */
TEST_F_TIMEOUT(fallback, weak_flusher, PATIENCE)
{
	struct actor *h;
	struct hog *hog;
	int i;

	/* It fits into one slice, but the first time: the next one comes a period later. */
	ASSERT_EQ(0, chain_work(0, "burn 5"));
	ASSERT_EQ(0, chain_run("queue 0 %d percpu; flush 0", self->cpu));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	for (i = 0; i < 5; i++) {
		cool_down();
		h = WEAK("queue 0 @ percpu; flush 0");
		ASSERT_NE(NULL, h);
		EXPECT_TRUE(rescued(h, hog, self->threshold_us + 1000));
		EXPECT_LE(self->threshold_us * 1000ULL, h->end_ns - h->start_ns);
	}
}

/* With PREEMPT_RT the kworker inherits that, and the fair server has lost it. */
TEST_F_TIMEOUT(fallback, flusher_weaker_than_the_hog, PATIENCE)
{
	struct actor *w;
	struct hog *hog;

	ASSERT_EQ(0, chain_work(0, "burn 5"));
	ASSERT_EQ(0, chain_run("queue 0 %d percpu; flush 0", self->cpu));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	w = chain_start(SCHED_FIFO, HOG_PRIO - 1, W_CPU, "queue 0 @ percpu; flush 0");
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(rescued(w, hog, self->threshold_us + 1000));
	EXPECT_LE(self->threshold_us * 1000ULL, w->end_ns - w->start_ns);
}

TEST_F_TIMEOUT(fallback, weak_mutex_waiter, PATIENCE)
{
	struct actor *h, *w;
	struct hog *hog;

	ASSERT_EQ(0, chain_work(0, "burn 5"));
	ASSERT_EQ(0, chain_run("queue 0 %d percpu; flush 0", self->cpu));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	h = WEAK("lock 1; queue 0 @ percpu; flush 0");
	ASSERT_NE(NULL, h);
	ASSERT_TRUE(blocks(h));
	w = chain_start(SCHED_OTHER, 0, 1, "lock 1");
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(rescued(w, hog, self->threshold_us + 1000));
	EXPECT_TRUE(rescued(h, hog, self->threshold_us + 1000));
	EXPECT_LE(self->threshold_us * 1000ULL, h->end_ns - h->start_ns);
}

/* Who runs it is whoever is interrupted. To lockdep it is not as other works. */
#define BH_WORK		30

TEST_F_TIMEOUT(fallback, bh_work, PATIENCE)
{
	struct hog *hog = hog_start(self->cpu);
	long long no_owner = proxy_stat("no_owner");
	struct actor *w;

	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, chain_work(BH_WORK, "burn 1000"));
	w = STRONG("queue %d @ bh; flush %d", BH_WORK, BH_WORK);
	ASSERT_NE(NULL, w);
	/* With PREEMPT_RT ksoftirqd runs it, and 1 ms takes twenty slices. */
	EXPECT_TRUE(rescued(w, hog, self->threshold_us + (lab_rt() ? 40000 : 1000)));
	EXPECT_LT(no_owner, proxy_stat("no_owner"));
}

/* A worker of an unbound pool, all of whose CPUs are taken, is helped earlier, too. */
TEST_F_TIMEOUT(fallback, unbound_worker_is_awaited, PATIENCE)
{
	struct hog *hog;
	struct actor *h;

	set("stall_monitor_awaited_us", self->threshold_us / 4);
	ASSERT_EQ(0, confine_unbound(self->cpu));
	ASSERT_EQ(0, chain_work(0, "burn 5"));
	ASSERT_EQ(0, chain_run("queue 0 -1 unbound; flush 0"));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	cool_down();
	h = WEAK("queue 0 -1 unbound; flush 0");
	ASSERT_NE(NULL, h);
	EXPECT_TRUE(rescued(h, hog, self->threshold_us / 2));
}

/*
 * The pool's last idle worker waits for kthreadd, which starves, and so does
 * what kthreadd creates: a threshold for each.
 */
TEST_F_TIMEOUT(fallback, worker_that_cannot_be_created, PATIENCE)
{
	struct hog *hog;
	struct actor *w;

	ASSERT_EQ(0, chain_work(0, "burn 20"));
	ASSERT_LT(0, occupy_workers(self->cpu, 300000));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, move(KTHREADD, self->cpu));
	w = WEAK("queue 0 @ percpu; flush 0");
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(rescued(w, hog, 3 * (self->threshold_us + 1000)));
}

/*
 * A boosted kthread that blocks lends what it was lent: to a task that the
 * monitor does not look after by itself. (ww_mutexes, which lockdep does not take
 * for those under which others flush.)
 */
TEST_F_TIMEOUT(fallback, owner_that_is_no_kthread, PATIENCE)
{
	struct actor *owner, *h;
	struct hog *hog;

	if (lab_rt())
		SKIP(return, "PREEMPT_RT: a boosted kthread has no priority to inherit");
	ASSERT_EQ(0, chain_work(0, "ww 1 2; burn 20; wwun 1 2"));
	owner = chain_start(SCHED_OTHER, 0, self->cpu,
			    "ww 1 2; mark 0; sleep 30000; burn 500; wwun 1 2");
	ASSERT_NE(NULL, owner);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(0)));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	/* It has had its sleep, and starves. */
	sleep_us(40000);
	EXPECT_FALSE(owner->end_ns);
	h = WEAK("queue 0 @ percpu; flush 0");
	ASSERT_NE(NULL, h);
	/* 500 us of its time are 13 slices and more. */
	EXPECT_TRUE(rescued(h, hog, self->threshold_us + 25000));
	EXPECT_TRUE(hog_running(hog));
}

/* The hog is to have its CPU back when the boost ends, whoever runs there. */
TEST_F_TIMEOUT(fallback, pause_while_an_owner_runs, PATIENCE)
{
	struct actor *owner, *h;
	struct hog *hog;
	long long ran;

	if (lab_rt())
		SKIP(return, "PREEMPT_RT: a boosted kthread has no priority to inherit");
	/* No break between the slices */
	ASSERT_EQ(0, set("stall_monitor_runtime_us", 1000));
	ASSERT_EQ(0, chain_work(0, "ww 1 2; burn 20; wwun 1 2"));
	owner = chain_start(SCHED_OTHER, 0, self->cpu,
			    "ww 1 2; mark 0; sleep 30000; burn 60000; wwun 1 2");
	ASSERT_NE(NULL, owner);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(0)));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	sleep_us(40000);
	ran = run_time_ns(owner->pid);
	h = WEAK("queue 0 @ percpu; flush 0");
	ASSERT_NE(NULL, h);
	ASSERT_TRUE(wait_until(1000, run_time_ns(owner->pid) > ran + 2000000));
	ASSERT_EQ(0, set("stall_monitor", 0));
	sleep_us(5000);
	ran = run_time_ns(owner->pid);
	sleep_us(20000);
	EXPECT_EQ(ran, run_time_ns(owner->pid));
	EXPECT_TRUE(hog_running(hog));
	hog_stop(hog);
	EXPECT_TRUE(ends(h));
}

/*
 * A boosted kthread has the mutex that the hog wants, and so runs in its place. Its
 * turn ends meanwhile, since another one waits.
 */
TEST_F_TIMEOUT(fallback, turn_ends_while_the_hog_lends, PATIENCE)
{
	struct actor *hog, *h;
	int other;

	ASSERT_EQ(0, chain_work(0, "ww 1 2; mark 1; burn 40000; wwun 1 2; burn 20000"));
	other = kthread_start(self->cpu, "fifo", 1, "bound");
	ASSERT_LE(0, other);
	hog = chain_start(SCHED_FIFO, HOG_PRIO, self->cpu,
			  "wait 0; burn 60000; ww 1 2; wwun 1 2; burn 400000");
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, chain_run("mark 0"));
	sleep_us(5000);
	h = WEAK("queue 0 @ percpu; flush 0");
	ASSERT_NE(NULL, h);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	ASSERT_EQ(0, kthread_burn(other, 2000));
	EXPECT_TRUE(ends(h));
	EXPECT_EQ(0, kthread_command(other, "wait"));
	EXPECT_TRUE(ends(hog));
	EXPECT_EQ(0, stat_of(self->cpu, "waiting"));
}

/* Where a strong waiter has lent as much as it may, the monitor goes on at once. */
TEST_F_TIMEOUT(fallback, lent_as_much_as_may_be, PATIENCE)
{
	struct actor *w;
	struct hog *hog;

	if (lab_rt())
		SKIP(return, "PREEMPT_RT: there is no limit");
	ASSERT_EQ(0, set("proxy_flush_limit_us", 20000));
	/* Without a hint, help would begin after the threshold. */
	ASSERT_EQ(0, set("stall_monitor_awaited_us", 0));
	ASSERT_EQ(0, set("stall_monitor_threshold_us", 1000000));
	ASSERT_EQ(0, chain_work(0, "burn 22000"));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	w = STRONG("queue 0 @ percpu; flush 0");
	ASSERT_NE(NULL, w);
	/* 2 ms are left, and what the loop costs: 40 slices and more. */
	EXPECT_TRUE(rescued(w, hog, 200000));
	EXPECT_LE(50000000ULL, w->end_ns - w->start_ns);
}

TEST_HARNESS_MAIN
