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

static bool rescued(const struct actor *actor, const struct hog *hog, unsigned int us)
{
	return ends(actor) && hog_running(hog) && in_time(actor->start_ns, actor->end_ns, us);
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
		h = WEAK("queue 0 @ percpu; flush 0");
		ASSERT_NE(NULL, h);
		EXPECT_TRUE(rescued(h, hog, self->threshold_us + 1000));
		EXPECT_LE(self->threshold_us * 1000ULL, h->end_ns - h->start_ns);
	}
}

TEST_F_TIMEOUT(fallback, weak_mutex_waiter, PATIENCE)
{
	struct hog *hog = hog_start(self->cpu);
	struct actor *h, *w;

	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, chain_work(0, "burn 20"));
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
	EXPECT_TRUE(rescued(w, hog, self->threshold_us + 1000));
	EXPECT_LT(no_owner, proxy_stat("no_owner"));
}

/*
 * The workqueue's one active work is another pool's, and starves there: where
 * the work that it holds back is, nobody has anything to do.
 */
TEST_F_TIMEOUT(fallback, held_back_by_another_pool, PATIENCE)
{
	long long no_owner = proxy_stat("no_owner");
	struct work_report r;
	struct actor *w;
	struct hog *hog;

	ASSERT_EQ(0, chain_work(0, "burn 20"));
	ASSERT_EQ(0, chain_work(1, "burn 20"));
	ASSERT_EQ(0, pools_per_cpu());
	/* The pool's first worker creates the second one. */
	ASSERT_EQ(0, chain_run("queue 1 @ sysfs1; flush 1"));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, chain_run("queue 1 @ sysfs1"));
	w = STRONG("queue 0 %d sysfs1; flush 0", H_CPU);
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(rescued(w, hog, self->threshold_us + 1000));
	r = chain_report(1);
	EXPECT_LE(self->threshold_us * 1000ULL, r.first_ns - r.queued_ns);
	EXPECT_LT(no_owner, proxy_stat("no_owner"));
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
	ASSERT_EQ(0, bind_kthreadd(self->cpu));
	w = STRONG("queue 0 @ percpu; flush 0");
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(rescued(w, hog, 3 * (self->threshold_us + 1000)));
}

/*
 * Three wait, and nobody waits for the first two of them. After the first one
 * the worker that @script waits for is boosted.
 */
static void expect_worker_next(struct __test_metadata *_metadata, int cpu, const char *script)
{
	static struct event events[MAX_EVENTS];
	int first, other, i, n, next = 0;
	bool seen = false;
	struct hog *hog;
	struct actor *h;

	ASSERT_EQ(0, chain_work(0, "burn 20"));
	/* All three wait for longer than the threshold when the first is done. */
	set("stall_monitor_threshold_us", 100000);
	set("stall_monitor_duration_us", 250000);
	first = kthread_start(cpu, "other", 0, "bound");
	other = kthread_start(cpu, "fifo", 1, "bound");
	ASSERT_LE(0, first);
	ASSERT_LE(0, other);
	trace_start("stall_monitor:stall_boost_start");
	hog = hog_start(cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_burn(first, FOREVER_US));
	sleep_us(1000);
	ASSERT_EQ(0, kthread_burn(other, FOREVER_US));
	sleep_us(1000);
	h = WEAK("%s", script);
	ASSERT_NE(NULL, h);
	EXPECT_TRUE(ends(h));
	EXPECT_TRUE(hog_running(hog));
	n = trace_stop(events, MAX_EVENTS);
	for (i = 0; i < n && !next; i++) {
		int pid = event_number(&events[i], "pid");

		if (pid == kthread_get(first, "pid"))
			seen = true;
		else if (seen && (pid == kthread_get(other, "pid") || pid == chain_report(0).pid))
			next = pid;
	}
	EXPECT_EQ(chain_report(0).pid, next);
}

TEST_F_TIMEOUT(fallback, waited_for_come_first, PATIENCE)
{
	expect_worker_next(_metadata, self->cpu, "queue 0 @ percpu; flush 0");
}

TEST_F_TIMEOUT(fallback, workers_of_a_flushed_queue_come_first, PATIENCE)
{
	expect_worker_next(_metadata, self->cpu, "queue 0 @ percpu; flushwq percpu");
}

TEST_HARNESS_MAIN
