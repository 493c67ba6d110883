// SPDX-License-Identifier: GPL-2.0
/*
 * Who waits, however indirectly, for a kworker that starves behind a hog lends
 * it the right to run, at once, and nobody's policy changes.
 *
 * The waiter, W, is stronger than the hog. The holder of a mutex, H, is not.
 * "Lent" is: it ended while the hog went on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "chain_fixture.h"

FIXTURE(chain) {
	int cpu;
};

FIXTURE_SETUP(chain)
{
	const char *why = chain_enter();

	if (why)
		SKIP(return, "%s", why);
	self->cpu = lab_cpu();
}

FIXTURE_TEARDOWN(chain)
{
	lab_leave();
}

/* Everything that waits for a work, and every state that the work can be in */
FIXTURE(flush) {
	int cpu, nr_workers;
	cpu_set_t kthreadd;
};

FIXTURE_VARIANT(flush) {
	const char *work[4];
	const char *before;	/* the hog starts */
	const char *script;
	unsigned int work_us;	/* what the works need of themselves */
	bool unbound;		/* have the unbound workers on the hog's CPU */
	bool busy;		/* all workers but one sleep for 100 ms */
	bool no_kthreadd;	/* no kthread can be created: kthreadd starves, */
	int kthreadd_hog;	/* behind a hog of this priority, or the same one */
	bool two_hogs;
	bool not_rt;		/* not with PREEMPT_RT */
};

FIXTURE_VARIANT_ADD(flush, pending) {
	.work = { "burn 20" },
	.script = "queue 0 @ percpu; flush 0",
};

FIXTURE_VARIANT_ADD(flush, executing) {
	.work = { "mark 1; burn 30000" }, .work_us = 30000,
	.before = "queue 0 @ percpu; wait 1",
	.script = "flush 0",
};

FIXTURE_VARIANT_ADD(flush, sleeps_in_between) {
	.work = { "burn 20; sleep 5000; burn 20" }, .work_us = 6000,
	.script = "queue 0 @ percpu; flush 0",
};

FIXTURE_VARIANT_ADD(flush, asleep) {
	.work = { "mark 1; sleep 30000; burn 20" }, .work_us = 31000,
	.before = "queue 0 @ percpu; wait 1",
	.script = "flush 0",
};

FIXTURE_VARIANT_ADD(flush, behind_a_running_work) {
	.work = { "burn 20", "mark 1; burn 30000" },
	.before = "queue 1 @ percpu; wait 1",
	.script = "queue 0 @ percpu; flush 0",
};

FIXTURE_VARIANT_ADD(flush, behind_pending_works) {
	.work = { "burn 20", "mark 1; burn 30000", "burn 30000", "burn 30000" },
	.before = "queue 1 @ percpu; wait 1; queue 2 @ percpu; queue 3 @ percpu",
	.script = "queue 0 @ percpu; flush 0",
};

FIXTURE_VARIANT_ADD(flush, behind_a_sleeping_work) {
	.work = { "burn 20", "mark 1; sleep 30000; burn 30000" },
	.before = "queue 1 @ percpu; wait 1",
	.script = "queue 0 @ percpu; flush 0",
};

FIXTURE_VARIANT_ADD(flush, held_back_by_a_running_work) {
	.work = { "burn 20", "mark 1; burn 30000" }, .work_us = 30000,
	.before = "queue 1 @ max1; wait 1",
	.script = "queue 0 @ max1; flush 0",
};

FIXTURE_VARIANT_ADD(flush, held_back_by_a_sleeping_work) {
	.work = { "burn 20", "mark 1; sleep 30000; burn 20" }, .work_us = 31000,
	.before = "queue 1 @ max1; wait 1",
	.script = "queue 0 @ max1; flush 0",
};

/* The two are of different pwqs of one pool. */
FIXTURE_VARIANT_ADD(flush, held_back_by_another_cpus) {
	.work = { "burn 20", "mark 1; burn 30000" }, .work_us = 30000, .unbound = true,
	.before = "queue 1 0 umax1; wait 1",
	.script = "queue 0 1 umax1; flush 0",
};

/* The last idle one has to create another one first. */
FIXTURE_VARIANT_ADD(flush, all_workers_busy) {
	.work = { "burn 20" }, .busy = true,
	.script = "queue 0 @ percpu; flush 0",
};

FIXTURE_VARIANT_ADD(flush, unbound) {
	.work = { "burn 20" }, .unbound = true,
	.script = "queue 0 -1 unbound; flush 0",
};

FIXTURE_VARIANT_ADD(flush, unbound_executing) {
	.work = { "mark 1; burn 30000" }, .work_us = 30000, .unbound = true,
	.before = "queue 0 -1 unbound; wait 1",
	.script = "flush 0",
};

FIXTURE_VARIANT_ADD(flush, ordered_behind_another) {
	.work = { "burn 20", "mark 1; burn 30000" }, .work_us = 30000, .unbound = true,
	.before = "queue 1 -1 ordered; wait 1",
	.script = "queue 0 -1 ordered; flush 0",
};

FIXTURE_VARIANT_ADD(flush, highpri) {
	.work = { "burn 20" },
	.script = "queue 0 @ highpri; flush 0",
};

FIXTURE_VARIANT_ADD(flush, mem_reclaim) {
	.work = { "burn 20" },
	.script = "queue 0 @ reclaim; flush 0",
};

/* The pool calls the rescuer after 10 ms, in jiffies. */
FIXTURE_VARIANT_ADD(flush, rescuer) {
	.work = { "burn 20" }, .work_us = 20000, .busy = true,
	.script = "queue 0 @ reclaim; flush 0",
	.no_kthreadd = true, .kthreadd_hog = W_PRIO + 10,
};

/* The manager of the pool waits for kthreadd, then for the thread that it creates. */
FIXTURE_VARIANT_ADD(flush, creates_a_worker) {
	.work = { "burn 20" }, .busy = true, .no_kthreadd = true,
	.script = "queue 0 @ percpu; flush 0",
};

FIXTURE_VARIANT_ADD(flush, cancel_work_sync) {
	.work = { "mark 1; burn 30000" }, .work_us = 30000,
	.before = "queue 0 @ percpu; wait 1",
	.script = "cancel 0",
};

FIXTURE_VARIANT_ADD(flush, cancel_delayed_work_sync) {
	.work = { "mark 1; burn 30000" }, .work_us = 30000,
	.before = "dqueue 0 @ percpu 0; wait 1",
	.script = "dcancel 0",
};

FIXTURE_VARIANT_ADD(flush, flush_delayed_work) {
	.work = { "burn 20" },
	.script = "dqueue 0 @ percpu 5000; dflush 0",
};

FIXTURE_VARIANT_ADD(flush, kthread_flush_work) {
	.work = { "burn 20", "burn 20" },
	.before = "kqueue 1 @; kflush 1",
	.script = "kqueue 0 @; kflush 0",
};

FIXTURE_VARIANT_ADD(flush, kthread_flush_work_executing) {
	.work = { "mark 1; burn 30000" }, .work_us = 30000,
	.before = "kqueue 0 @; wait 1",
	.script = "kflush 0",
};

FIXTURE_VARIANT_ADD(flush, kthread_cancel_work_sync) {
	.work = { "mark 1; burn 30000" }, .work_us = 30000,
	.before = "kqueue 0 @; wait 1",
	.script = "kcancel 0",
};

FIXTURE_VARIANT_ADD(flush, kthread_flush_worker) {
	.work = { "burn 20", "mark 1; burn 30000" }, .work_us = 30000,
	.before = "kqueue 1 @; wait 1",
	.script = "kqueue 0 @; kflushall @",
};

/* Waits for a completion whose doer is known */
FIXTURE_VARIANT_ADD(flush, smp_call_on_cpu) {
	.script = "call @ 20",
};

FIXTURE_VARIANT_ADD(flush, kthread_stop) {
	.script = "kthread @", .not_rt = true,
};

FIXTURE_VARIANT_ADD(flush, flush_workqueue) {
	.work = { "burn 20" },
	.script = "queue 0 @ percpu; flushwq percpu",
};

FIXTURE_VARIANT_ADD(flush, flush_workqueue_two_pools) {
	.work = { "burn 20", "burn 20", "burn 20" }, .two_hogs = true,
	.script = "queue 0 @ percpu; queue 1 & percpu; queue 2 0 percpu; flushwq percpu",
};

FIXTURE_VARIANT_ADD(flush, drain_workqueue) {
	.work = { "burn 20", "burn 20" },
	.script = "queue 0 @ percpu; queue 1 0 percpu; drain percpu",
};

FIXTURE_VARIANT_ADD(flush, drain_workqueue_two_pools) {
	.work = { "burn 20", "sleep 2000; burn 20" }, .work_us = 3000, .two_hogs = true,
	.script = "queue 0 @ percpu; queue 1 & percpu; drain percpu",
};

FIXTURE_VARIANT_ADD(flush, destroy_workqueue) {
	.work = { "burn 20" },
	.script = "queue 0 @ percpu; destroywq percpu",
};

FIXTURE_VARIANT_ADD(flush, destroy_workqueue_two_pools) {
	.work = { "burn 20", "burn 20" }, .two_hogs = true,
	.script = "queue 0 @ highpri; queue 1 & highpri; destroywq highpri",
};

/* The lent-to worker waits itself. */
FIXTURE_VARIANT_ADD(flush, flushes_another_work) {
	.work = { "queue 1 @ highpri; flush 1; burn 20", "burn 20" },
	.script = "queue 0 @ percpu; flush 0",
};

FIXTURE_VARIANT_ADD(flush, flushes_a_row_of_works) {
	.work = { "queue 1 @ percpu; flush 1", "kqueue 2 @; kflush 2",
		  "queue 3 @ highpri; flush 3", "burn 20" },
	.before = "kqueue 3 @; kflush 3",
	.script = "queue 0 @ percpu; flush 0",
};

FIXTURE_SETUP(flush)
{
	const char *why = chain_enter();

	if (why)
		SKIP(return, "%s", why);
	if (variant->not_rt && lab_rt())
		SKIP(return, "PREEMPT_RT: nothing is inherited beyond a thread's end");
	self->cpu = lab_cpu();
	sched_getaffinity(KTHREADD, sizeof(self->kthreadd), &self->kthreadd);
}

FIXTURE_TEARDOWN(flush)
{
	sched_setaffinity(KTHREADD, sizeof(self->kthreadd), &self->kthreadd);
	lab_leave();
}

static bool starve_kthreadd(int cpu, int prio)
{
	struct hog_plan plan = { .cpu = cpu - 1, .prio = prio, .ms = HOG_MS };

	if (!prio)
		return !move(KTHREADD, cpu);
	return hog_start_plan(&plan) && !move(KTHREADD, plan.cpu);
}

static struct hog *set_up(struct _test_data_flush *self,
			  const struct _fixture_variant_flush *variant)
{
	struct hog *hog;
	int i;

	for (i = 0; i < 4; i++)
		if (variant->work[i])
			chain_work(i, "%s", variant->work[i]);
	if (variant->unbound && confine_unbound(self->cpu))
		return NULL;
	if (variant->before && chain_run("%s", variant->before))
		return NULL;
	if (variant->busy) {
		self->nr_workers = occupy_workers(self->cpu, 100000);
		if (self->nr_workers <= 0)
			return NULL;
	}
	if (variant->two_hogs && !hog_start(self->cpu - 1))
		return NULL;
	hog = hog_start(self->cpu);
	if (variant->no_kthreadd && !starve_kthreadd(self->cpu, variant->kthreadd_hog))
		return NULL;
	return hog;
}

/* The workers remain what they are: SCHED_OTHER, and their nice value is. */
static bool is_worker_as_ever(int work)
{
	struct work_report r = chain_report(work);
	struct identity id;

	/* It has not run, and what is reported is a former test's. */
	if (!r.pid || !task_state(r.pid))
		return true;
	id = identity_of(r.pid);
	return id.policy == SCHED_OTHER && !id.prio && atoi(id.stat[0]) == 20 + id.nice &&
	       (id.nice == 0 || id.nice == -20);
}

static bool workers_as_ever(const struct _fixture_variant_flush *variant)
{
	int i;

	for (i = 0; i < 4; i++)
		if (variant->work[i] && !is_worker_as_ever(i))
			return false;
	return true;
}

TEST_F_TIMEOUT(flush, direct, PATIENCE)
{
	struct hog *hog = set_up(self, variant);
	struct identity before, after;
	struct actor *w;

	ASSERT_NE(NULL, hog);
	w = STRONG("%s", variant->script);
	ASSERT_NE(NULL, w);
	before = identity_of(w->pid);
	EXPECT_TRUE(rescued(w, hog, variant->work_us + AT_ONCE_US));
	after = identity_of(w->pid);
	EXPECT_TRUE(same(&before, &after));
	EXPECT_TRUE(workers_as_ever(variant));
	EXPECT_TRUE(nothing_stays(hog));
	if (variant->busy && !variant->no_kthreadd)
		EXPECT_LT(self->nr_workers, count_workers(self->cpu));
}

/* W waits for a mutex, H holds it and sleeps in the flush. */
TEST_F_TIMEOUT(flush, under_a_mutex, PATIENCE)
{
	struct hog *hog = set_up(self, variant);
	struct identity before, after;
	struct actor *h, *w;

	ASSERT_NE(NULL, hog);
	h = WEAK("lock 1; %s", variant->script);
	ASSERT_NE(NULL, h);
	ASSERT_TRUE(wait_until(1000, chain_owner(1) == h->pid));
	ASSERT_TRUE(blocks(h));
	before = identity_of(h->pid);
	w = STRONG("lock 1");
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(rescued(w, hog, variant->work_us + AT_ONCE_US));
	EXPECT_TRUE(ends(h));
	EXPECT_TRUE(hog_running(hog));
	after = identity_of(h->pid);
	EXPECT_TRUE(same(&before, &after));
	EXPECT_TRUE(workers_as_ever(variant));
	EXPECT_TRUE(nothing_stays(hog));
}

/* The same, but W comes first. */
TEST_F_TIMEOUT(flush, after_w_waits, PATIENCE)
{
	struct hog *hog = set_up(self, variant);
	struct actor *h, *w;

	ASSERT_NE(NULL, hog);
	h = WEAK("lock 1; wait 29; %s", variant->script);
	ASSERT_NE(NULL, h);
	ASSERT_TRUE(wait_until(1000, chain_owner(1) == h->pid));
	w = STRONG("lock 1");
	ASSERT_NE(NULL, w);
	ASSERT_TRUE(blocks(w));
	ASSERT_EQ(0, chain_run("mark 29"));
	EXPECT_TRUE(ends(w));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_TRUE(in_time(chain_mark_ns(29), w->end_ns, variant->work_us + AT_ONCE_US));
	EXPECT_TRUE(ends(h));
	EXPECT_TRUE(nothing_stays(hog));
}

/* H is a kworker. */
TEST_F_TIMEOUT(flush, under_a_kworkers_mutex, PATIENCE)
{
	struct hog *hog;
	struct actor *w;

	ASSERT_EQ(0, chain_work(10, "lock 1; mark 30; %s", variant->script));
	hog = set_up(self, variant);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, chain_run("queue 10 %d max1; wait 30", H_CPU));
	sleep_us(1000);
	w = STRONG("lock 1");
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(rescued(w, hog, variant->work_us + AT_ONCE_US));
	EXPECT_TRUE(nothing_stays(hog));
}

/* How long it takes */

#define ROUNDS		100

static int by_size(const void *a, const void *b)
{
	__u64 x = *(const __u64 *)a, y = *(const __u64 *)b;

	return (x > y) - (x < y);
}

static void sort(__u64 *ns)
{
	qsort(ns, ROUNDS, sizeof(*ns), by_size);
}

static struct actor *flush_rounds(void)
{
	struct actor_plan plan = {
		.policy = SCHED_FIFO, .prio = W_PRIO, .cpu = W_CPU,
		.rounds = ROUNDS, .pause_us = 1000,
	};
	char script[64];

	snprintf(script, sizeof(script), "queue 0 %d percpu; flush 0", lab_cpu());
	return chain_start_plan(&plan, script);
}

TEST_F_TIMEOUT(chain, flush_latency, PATIENCE)
{
	struct actor *alone, *w;
	struct hog *hog;

	if (!lab_exact_time())
		SKIP(return, "only where time is exact");
	ASSERT_EQ(0, chain_work(0, "burn 5"));
	alone = flush_rounds();
	ASSERT_NE(NULL, alone);
	ASSERT_TRUE(ends(alone));
	sort(alone->ns);

	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	w = flush_rounds();
	ASSERT_NE(NULL, w);
	ASSERT_TRUE(ends(w));
	EXPECT_TRUE(hog_running(hog));
	sort(w->ns);
	ksft_print_msg("a flush takes %llu ns (median), %llu at most; without a hog %llu, %llu\n",
		       w->ns[ROUNDS / 2], w->ns[ROUNDS - 1], alone->ns[ROUNDS / 2],
		       alone->ns[ROUNDS - 1]);
	EXPECT_GE(2 * alone->ns[ROUNDS / 2], w->ns[ROUNDS / 2]);
	EXPECT_GE(100000ULL, w->ns[ROUNDS - 1]);
	EXPECT_TRUE(nothing_stays(hog));
}

TEST_F_TIMEOUT(chain, mutex_latency, PATIENCE)
{
	__u64 ns[ROUNDS];
	struct hog *hog;
	int i;

	if (!lab_exact_time())
		SKIP(return, "only where time is exact");
	ASSERT_EQ(0, chain_work(0, "burn 5"));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	for (i = 0; i < ROUNDS; i++) {
		struct actor *h, *w;

		h = WEAK("lock 1; queue 0 @ percpu; flush 0");
		ASSERT_NE(NULL, h);
		ASSERT_TRUE(blocks(h));
		w = STRONG("lock 1");
		ASSERT_NE(NULL, w);
		ASSERT_TRUE(ends(w));
		ASSERT_TRUE(hog_running(hog));
		ns[i] = w->ns[0];
		ASSERT_TRUE(ends(h));
		actor_stop(w);
		actor_stop(h);
	}
	sort(ns);
	ksft_print_msg("the mutex of a sleeping flusher takes %llu ns (median), %llu at most\n",
		       ns[ROUNDS / 2], ns[ROUNDS - 1]);
	EXPECT_GE(250000ULL, ns[ROUNDS - 1]);
	EXPECT_TRUE(nothing_stays(hog));
}

/* Chains */

TEST_F_TIMEOUT(chain, of_thirty, PATIENCE)
{
	static struct event events[MAX_EVENTS];
	long long depth = 0, lent;
	struct actor *h, *w;
	struct hog *hog;
	int i, n;

	ASSERT_EQ(0, chain_work(0, "burn 20"));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	lent = proxy_stat("lent");
	h = WEAK("lock 0; queue 0 @ percpu; flush 0");
	ASSERT_NE(NULL, h);
	ASSERT_TRUE(blocks(h));
	for (i = 1; i < 30; i++) {
		h = WEAK("lock %d; lock %d", i, i - 1);
		ASSERT_NE(NULL, h);
		ASSERT_TRUE(wait_until(1000, chain_owner(i) == h->pid));
		ASSERT_TRUE(blocks(h));
	}
	trace_start("sched:sched_proxy_lend");
	w = STRONG("lock 29");
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(rescued(w, hog, 30 * AT_ONCE_US));
	n = trace_stop(events, MAX_EVENTS);
	EXPECT_TRUE(nothing_stays(hog));
	if (lab_rt())
		return;
	for (i = 0; i < n; i++)
		if (event_number(&events[i], "depth") > depth)
			depth = event_number(&events[i], "depth");
	EXPECT_EQ(31, depth);
	EXPECT_LT(lent, proxy_stat("lent"));
	EXPECT_LE(31, proxy_stat("max_depth"));
}

#define NR_MUTEXES	64	/* of lib/test_proxy_chain.c */

/* Each of them is given back: by unlock, or by the end of the script. */
TEST_F_TIMEOUT(chain, over_each_mutex, PATIENCE)
{
	struct actor *h, *w;
	struct hog *hog;
	int i;

	ASSERT_EQ(0, chain_work(0, "burn 5"));
	ASSERT_EQ(-EINVAL, chain_run("lock %d", NR_MUTEXES));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	for (i = 0; i < NR_MUTEXES; i++) {
		if (i % 2)
			h = WEAK("lock %d; queue 0 @ percpu; flush 0", i);
		else
			h = WEAK("lock %d; queue 0 @ percpu; flush 0; unlock %d", i, i);
		ASSERT_NE(NULL, h);
		ASSERT_TRUE(blocks(h));
		w = STRONG("lock %d; unlock %d", i, i);
		ASSERT_NE(NULL, w);
		ASSERT_TRUE(ends(w));
		ASSERT_TRUE(hog_running(hog));
		ASSERT_TRUE(ends(h));
		EXPECT_EQ(0, chain_owner(i));
		actor_stop(w);
		actor_stop(h);
	}
	EXPECT_TRUE(nothing_stays(hog));
}

/* mutex, flush, mutex, flush: W waits for A, the worker of 0, B, the worker of 1. */
TEST_F_TIMEOUT(chain, of_mutexes_and_flushes, PATIENCE)
{
	struct actor *a, *b, *w;
	struct hog *hog;

	ASSERT_EQ(0, chain_work(0, "lock 2"));
	ASSERT_EQ(0, chain_work(1, "burn 20"));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	b = WEAK("lock 2; queue 1 @ highpri; flush 1");
	ASSERT_NE(NULL, b);
	ASSERT_TRUE(blocks(b));
	a = WEAK("lock 1; queue 0 @ percpu; flush 0");
	ASSERT_NE(NULL, a);
	ASSERT_TRUE(blocks(a));
	w = STRONG("lock 1");
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(rescued(w, hog, AT_ONCE_US));
	EXPECT_TRUE(ends(a));
	EXPECT_TRUE(ends(b));
	EXPECT_TRUE(nothing_stays(hog));
}

/* What the tracepoint says */
TEST_F_TIMEOUT(chain, is_traced, PATIENCE)
{
	static struct event events[MAX_EVENTS];
	char donor[64], owner[64], chain[96];
	int i, n, found = 0, worker;
	struct actor *h, *w;
	struct hog *hog;

	if (lab_rt())
		SKIP(return, "PREEMPT_RT: it is sched_pi_setprio that tells");
	ASSERT_EQ(0, chain_work(0, "burn 20"));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	h = WEAK("lock 1; queue 0 @ percpu; flush 0");
	ASSERT_NE(NULL, h);
	ASSERT_TRUE(blocks(h));
	trace_start("sched:sched_proxy_lend");
	w = STRONG("lock 1");
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(ends(w));
	EXPECT_TRUE(hog_running(hog));
	n = trace_stop(events, MAX_EVENTS);
	worker = chain_report(0).pid;
	snprintf(donor, sizeof(donor), " donor=chain_lend:%d donor_prio=%d ", w->pid, 99 - W_PRIO);
	snprintf(owner, sizeof(owner), ":%d owner_cpu=%d depth=2 ", worker, self->cpu);
	snprintf(chain, sizeof(chain), " chain=%d-mutex>%d-flush>%d", w->pid, h->pid, worker);
	for (i = 0; i < n; i++)
		found += event_has(&events[i], donor) && event_has(&events[i], owner) &&
			 event_has(&events[i], chain);
	EXPECT_LE(1, found);
}

/*
 * A common hang: the deletion of a network device flushes every CPU under rtnl,
 * or with CONFIG_RPS those whose backlog of packets is not empty.
 */

struct request {
	struct nlmsghdr nlh;
	struct ifinfomsg ifi;
	char attrs[128];
};

static void add_attr(struct request *r, int type, const char *text)
{
	struct rtattr *a = (void *)((char *)r + NLMSG_ALIGN(r->nlh.nlmsg_len));
	size_t len = strlen(text) + 1;

	a->rta_type = type;
	a->rta_len = RTA_LENGTH(len);
	memcpy(RTA_DATA(a), text, len);
	r->nlh.nlmsg_len = NLMSG_ALIGN(r->nlh.nlmsg_len) + RTA_ALIGN(a->rta_len);
}

static int rtnl_request(int type, int flags, bool kind)
{
	struct request r = {
		.nlh.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
		.nlh.nlmsg_type = type,
		.nlh.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags,
	};
	struct {
		struct nlmsghdr nlh;
		struct nlmsgerr err;
		char rest[512];
	} reply;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), err = -EIO;

	if (fd < 0)
		return -errno;
	add_attr(&r, IFLA_IFNAME, "chain0");
	if (kind) {
		struct rtattr *info = (void *)((char *)&r + NLMSG_ALIGN(r.nlh.nlmsg_len));

		info->rta_type = IFLA_LINKINFO;
		r.nlh.nlmsg_len = NLMSG_ALIGN(r.nlh.nlmsg_len) + RTA_LENGTH(0);
		add_attr(&r, IFLA_INFO_KIND, "dummy");
		info->rta_len = (char *)&r + r.nlh.nlmsg_len - (char *)info;
	}
	if (send(fd, &r, r.nlh.nlmsg_len, 0) > 0 &&
	    recv(fd, &reply, sizeof(reply), 0) > 0 && reply.nlh.nlmsg_type == NLMSG_ERROR)
		err = reply.err.error;
	close(fd);
	return err;
}

static int act_delete_link(void *unused __maybe_unused)
{
	return rtnl_request(RTM_DELLINK, 0, false);
}

/* Takes and releases rtnl. */
static int act_rtnl(void *unused __maybe_unused)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), err = 0;
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP };

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr))
		err = -errno;
	close(fd);
	return err;
}

/*
 * A packet for the CPU's backlog, where it stays if softirqs are left to
 * ksoftirqd, as threadirqs has it. An isolated CPU is sent none.
 */
static void send_to_backlog(int cpu)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_port = htons(9),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd;

	if (put(LO_RPS_CPUS, "%x\n", 1 << cpu))
		return;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	sendto(fd, "", 1, 0, (void *)&to, sizeof(to));
	close(fd);
}

TEST_F_TIMEOUT(chain, rtnl, PATIENCE)
{
	struct actor_plan strong = { .policy = SCHED_FIFO, .prio = W_PRIO, .cpu = W_CPU };
	struct actor_plan weak = { .policy = SCHED_OTHER, .cpu = H_CPU };
	struct actor *h, *w;
	struct hog *hog;

	if (rtnl_request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, true))
		SKIP(return, "no dummy network devices");
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	send_to_backlog(self->cpu);
	h = actor_start(&weak, act_delete_link, NULL);
	ASSERT_NE(NULL, h);
	if (wait_until(100, peek(h->done)))
		SKIP(return, "the device flushed no CPU (CONFIG_RPS, and no threadirqs)");
	ASSERT_TRUE(blocks(h));
	w = actor_start(&strong, act_rtnl, NULL);
	ASSERT_NE(NULL, w);
	/* With PREEMPT_RT no grace period of RCU is expedited. */
	EXPECT_TRUE(rescued(w, hog, lab_rt() ? 30000 : AT_ONCE_US));
	EXPECT_TRUE(nothing_stays(hog));
}

/* Owners that sleep where no chain can see it */

/* From here on the module has percpu_rw_semaphores. */
#define PERCPU	32

/*
 * A writer holds a semaphore, and sleeps in a flush. Readers and writers lend to
 * it, and so does who waits for a mutex that one of them holds.
 */
static void lend_over_rwsem(struct __test_metadata *_metadata, int cpu, int n)
{
	struct actor *h, *r, *w;
	struct hog *hog;
	int i;

	hog = hog_start(cpu);
	ASSERT_NE(NULL, hog);
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, chain_work(i, "burn 20"));
		h = WEAK("down %d; mark %d; queue %d @ percpu; flush %d", n, i, i, i);
		ASSERT_NE(NULL, h);
		/* A percpu_rw_semaphore waits for a grace period. */
		ASSERT_TRUE(wait_until(HOG_MS, chain_mark_ns(i)));
		ASSERT_TRUE(blocks(h));
		r = WEAK("lock 1; downr %d; up %d; sleep 10", n, n);
		ASSERT_NE(NULL, r);
		ASSERT_TRUE(blocks(r));
		w = i == 0 ? STRONG("down %d", n) : i == 1 ? STRONG("downr %d", n) :
		    STRONG("lock 1");
		ASSERT_NE(NULL, w);
		EXPECT_TRUE(rescued(w, hog, AT_ONCE_US));
		EXPECT_TRUE(ends(h));
		EXPECT_TRUE(ends(r));
		EXPECT_TRUE(hog_running(hog));
	}
}

TEST_F_TIMEOUT(chain, over_rwsems, PATIENCE)
{
	lend_over_rwsem(_metadata, self->cpu, 1);
}

TEST_F_TIMEOUT(chain, over_percpu_rwsems, PATIENCE)
{
	if (lab_rt())
		SKIP(return, "PREEMPT_RT: they are not followed");
	lend_over_rwsem(_metadata, self->cpu, PERCPU);
}

/*
 * Two writers wait. The first one has the semaphore as soon as it is let go of,
 * and starves: its CPU is taken. Who waits behind it lends to it then.
 */
TEST_F_TIMEOUT(chain, percpu_rwsem_is_passed_on, PATIENCE)
{
	struct hog_plan plan = { .cpu = self->cpu - 1, .prio = HOG_PRIO, .ms = HOG_MS };
	struct actor *first, *next, *w;
	struct hog *hog;

	if (lab_rt())
		SKIP(return, "PREEMPT_RT: they are not followed");
	first = STRONG("down %d; mark 1; wait 2", PERCPU);
	ASSERT_NE(NULL, first);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	next = chain_start(SCHED_OTHER, 0, plan.cpu, "down %d; burn 20", PERCPU);
	ASSERT_NE(NULL, next);
	ASSERT_TRUE(blocks(next));
	hog = hog_start_plan(&plan);
	ASSERT_NE(NULL, hog);
	w = STRONG("downr %d", PERCPU);
	ASSERT_NE(NULL, w);
	ASSERT_TRUE(blocks(w));
	ASSERT_EQ(0, chain_run("mark 2"));
	EXPECT_TRUE(ends(first));
	EXPECT_TRUE(ends(w));
	EXPECT_TRUE(in_time(chain_mark_ns(2), w->end_ns, AT_ONCE_US));
	EXPECT_TRUE(hog_running(hog));
	hog_stop(hog);
	EXPECT_TRUE(ends(next));
}

static int write_number(void *text)
{
	const char *path = text;

	return put(path, "%s\n", path + strlen(path) + 1);
}

static const struct actor_plan strong_plan = {
	.policy = SCHED_FIFO, .prio = W_PRIO, .cpu = W_CPU, .rounds = 1,
};

/* Each CPU's kworker takes pages out of its buffer. */
TEST_F_TIMEOUT(chain, trace_buffer_is_resized, PATIENCE)
{
	struct actor *w;
	struct hog *hog;

	ASSERT_EQ(0, put(TRACEFS "buffer_size_kb", "100\n"));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	w = actor_start(&strong_plan, write_number, TRACEFS "buffer_size_kb\00050");
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(ends(w));
	EXPECT_TRUE(hog_running(hog));
}

/* Its threads are parked, which starve behind the hog. */
TEST_F_TIMEOUT(chain, hogged_cpu_goes, PATIENCE)
{
	struct actor *w;
	struct hog *hog;

	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	w = actor_start(&strong_plan, write_number,
			"/sys/devices/system/cpu/cpu3/online\0000");
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(ends(w));
	/* It did not end before. */
	EXPECT_TRUE(peek(hog->moved));
	hog_stop(hog);
	EXPECT_EQ(0, put("/sys/devices/system/cpu/cpu3/online", "1\n"));
}

TEST_F_TIMEOUT(chain, owner_wakes_behind_the_hog, PATIENCE)
{
	struct actor *h, *w;
	struct hog *hog;

	h = chain_start(SCHED_OTHER, 0, self->cpu,
			"lock 1; mark 1; sleep 40000; mark 2; burn 20");
	ASSERT_NE(NULL, h);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	w = STRONG("lock 1");
	ASSERT_NE(NULL, w);
	ASSERT_TRUE(blocks(w));
	EXPECT_FALSE(!!chain_mark_ns(2));
	EXPECT_TRUE(ends(w));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_TRUE(in_time(chain_mark_ns(1), w->end_ns, 40000 + AT_ONCE_US));
	EXPECT_TRUE(nothing_stays(hog));
}

/* Something stronger than W has W's CPU. W lends nevertheless: it need not run. */
TEST_F_TIMEOUT(chain, waiter_has_no_cpu, PATIENCE)
{
	struct hog_plan plan = { .cpu = W_CPU, .prio = W_PRIO + 10, .ms = 3000 };
	struct hog *hog, *stronger;
	struct actor *h, *w;

	h = chain_start(SCHED_OTHER, 0, self->cpu,
			"lock 1; mark 1; sleep 40000; burn 20; mark 2");
	ASSERT_NE(NULL, h);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	w = STRONG("lock 1");
	ASSERT_NE(NULL, w);
	ASSERT_TRUE(blocks(w));
	stronger = hog_start_plan(&plan);
	ASSERT_NE(NULL, stronger);
	EXPECT_FALSE(!!chain_mark_ns(2));
	EXPECT_TRUE(wait_until(1000, chain_mark_ns(2)));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_TRUE(hog_running(stronger));
	EXPECT_TRUE(in_time(chain_mark_ns(1), chain_mark_ns(2), 40000 + AT_ONCE_US));
	hog_stop(stronger);
	EXPECT_TRUE(ends(w));
	EXPECT_TRUE(nothing_stays(hog));
}

/* The task between W and the owner could lend itself, but not enough. */
TEST_F_TIMEOUT(chain, middle_is_weaker_than_the_hog, PATIENCE)
{
	struct actor *k, *m, *w;
	struct hog *hog;

	k = chain_start(SCHED_OTHER, 0, self->cpu, "lock 1; mark 1; sleep 40000; burn 20");
	ASSERT_NE(NULL, k);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	m = chain_start(SCHED_FIFO, HOG_PRIO - 5, H_CPU, "lock 2; mark 2; lock 1");
	ASSERT_NE(NULL, m);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(2)));
	ASSERT_TRUE(blocks(m));
	w = STRONG("lock 2");
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(ends(w));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_TRUE(in_time(chain_mark_ns(1), w->end_ns, 40000 + AT_ONCE_US));
	EXPECT_TRUE(nothing_stays(hog));
}

/* An owner wakes many times. W waits all the while: whoever looks sees it do so. */
TEST_F_TIMEOUT(chain, waiter_does_not_run, PATIENCE)
{
	char script[1024] = "lock 1; mark 1; ";
	struct actor *h, *w;
	struct hog *hog;
	__u64 before;
	int i;

	for (i = 0; i < 20; i++)
		strcat(script, "sleep 2000; burn 20; ");
	strcat(script, "mark 2; sleep 10000");
	h = chain_start(SCHED_OTHER, 0, self->cpu, "%s", script);
	ASSERT_NE(NULL, h);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	w = STRONG("lock 1");
	ASSERT_NE(NULL, w);
	ASSERT_TRUE(blocks(w));
	before = turns(w->pid);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(2)));
	EXPECT_EQ(before, turns(w->pid));
	EXPECT_EQ('D', task_state(w->pid));
	EXPECT_TRUE(ends(w));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_TRUE(nothing_stays(hog));
}

TEST_F_TIMEOUT(chain, several_waiters, PATIENCE)
{
	static const struct {
		int policy, prio, cpu;
	} kinds[] = {
		{ SCHED_FIFO, 57, 1 }, { SCHED_OTHER, 0, 2 }, { SCHED_FIFO, 62, 2 },
		{ SCHED_RR, 58, 1 }, { SCHED_FIFO, 60, 0 },
	};
	static struct event events[MAX_EVENTS];
	int n, i, nr = sizeof(kinds) / sizeof(*kinds), strongest = 0;
	struct actor *h, *w[sizeof(kinds) / sizeof(*kinds)];
	struct hog *hog;
	char owner[32];

	/* That takes a while. */
	trace_start("sched:sched_proxy_lend");
	h = chain_start(SCHED_OTHER, 0, self->cpu,
			"lock 1; mark 1; sleep 60000; mark 2; burn 3000");
	ASSERT_NE(NULL, h);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	for (i = 0; i < nr; i++) {
		w[i] = chain_start(kinds[i].policy, kinds[i].prio, kinds[i].cpu, "lock 1");
		ASSERT_NE(NULL, w[i]);
		ASSERT_TRUE(blocks(w[i]));
	}
	EXPECT_FALSE(!!chain_mark_ns(2));
	for (i = 0; i < nr; i++) {
		EXPECT_TRUE(ends(w[i]));
		EXPECT_TRUE(hog_running(hog));
		EXPECT_TRUE(in_time(chain_mark_ns(1), w[i]->end_ns, 63000 + 2 * AT_ONCE_US));
	}
	/* The strongest lends; who comes to the CPU before it may do so until then. */
	n = trace_stop(events, MAX_EVENTS);
	snprintf(owner, sizeof(owner), ":%d owner_cpu=%d", h->pid, self->cpu);
	for (i = 0; i < n; i++)
		if (event_has(&events[i], owner))
			strongest = event_number(&events[i], "donor_prio");
	if (!lab_rt())
		EXPECT_EQ(99 - 62, strongest);
	EXPECT_TRUE(nothing_stays(hog));
}

/* Among tasks of the fair class, too, the one that has less gets what the other has. */
TEST_F_TIMEOUT(chain, fair_owner_wakes_behind_others, PATIENCE)
{
	struct actor *h, *w;

	if (lab_rt())
		SKIP(return, "PREEMPT_RT: no weight is inherited");
	h = chain_start(SCHED_IDLE, 0, 2, "lock 1; mark 1; sleep 40000; mark 2; burn 20000");
	ASSERT_NE(NULL, h);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	ASSERT_NE(NULL, chain_start(SCHED_OTHER, 0, 2, "burn 4000000"));
	w = WEAK("lock 1");
	ASSERT_NE(NULL, w);
	ASSERT_TRUE(blocks(w));
	EXPECT_FALSE(!!chain_mark_ns(2));
	EXPECT_TRUE(ends(w));
	EXPECT_TRUE(in_time(chain_mark_ns(1), w->end_ns, 140000));
}

/* The lent-to worker blocks on a mutex, whose owner starves. */
TEST_F_TIMEOUT(chain, worker_blocks_on_a_mutex, PATIENCE)
{
	struct actor *x, *w;
	struct hog *hog;

	ASSERT_EQ(0, chain_work(0, "lock 2; burn 20"));
	x = chain_start(SCHED_OTHER, 0, self->cpu, "lock 2; mark 1; burn 30000");
	ASSERT_NE(NULL, x);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	w = STRONG("queue 0 @ percpu; flush 0");
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(rescued(w, hog, 30000 + AT_ONCE_US));
	EXPECT_TRUE(nothing_stays(hog));
}

/*
 * What changes in the middle of a chain. The flush is done, and H has to run next,
 * on a CPU of its own, while the worker goes on with something else.
 */
TEST_F_TIMEOUT(chain, middle_goes_on_elsewhere, PATIENCE)
{
	struct hog_plan strong = { .cpu = self->cpu - 1, .prio = 70, .ms = HOG_MS };
	struct hog *hog, *strong_hog;
	struct actor *h, *d;

	ASSERT_EQ(0, chain_work(0, "burn 50000"));
	ASSERT_EQ(0, chain_work(1, "burn 1000000"));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	h = chain_start(SCHED_FIFO, 60, strong.cpu,
			"lock 1; queue 0 @ percpu; queue 1 @ percpu; flush 0; burn 20");
	ASSERT_NE(NULL, h);
	ASSERT_TRUE(blocks(h));
	strong_hog = hog_start_plan(&strong);
	ASSERT_NE(NULL, strong_hog);
	d = chain_start(SCHED_FIFO, 80, W_CPU, "lock 1");
	ASSERT_NE(NULL, d);
	EXPECT_TRUE(ends(d));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_TRUE(hog_running(strong_hog));
	EXPECT_TRUE(in_time(chain_report(0).end_ns, d->end_ns, AT_ONCE_US));
}

/* The mutex that H sleeps for is not H's next. */
TEST_F_TIMEOUT(chain, middle_waits_for_another_one, PATIENCE)
{
	struct actor *k, *t, *h, *d;
	struct hog *hog, *other;

	k = chain_start(SCHED_OTHER, 0, self->cpu,
			"lock 2; mark 1; sleep 60000; mark 2; burn 20; unlock 2; burn 1000000");
	ASSERT_NE(NULL, k);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	t = chain_start(SCHED_OTHER, 0, self->cpu - 1, "lock 2; burn 20");
	ASSERT_NE(NULL, t);
	ASSERT_TRUE(blocks(t));
	other = hog_start(self->cpu - 1);
	ASSERT_NE(NULL, other);
	h = WEAK("lock 1; lock 2; burn 20");
	ASSERT_NE(NULL, h);
	ASSERT_TRUE(blocks(h));
	d = STRONG("lock 1");
	ASSERT_NE(NULL, d);
	ASSERT_TRUE(blocks(d));
	EXPECT_FALSE(!!chain_mark_ns(2));
	EXPECT_TRUE(ends(d));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_TRUE(hog_running(other));
	EXPECT_TRUE(in_time(chain_mark_ns(1), d->end_ns, 60000 + AT_ONCE_US));
	EXPECT_TRUE(nothing_stays(hog));
}

/* Far behind the one that is executed */
TEST_F_TIMEOUT(chain, many_held_back, PATIENCE)
{
	enum { MANY = 50 };
	struct hog *hog;
	struct actor *w;
	int i;

	ASSERT_EQ(0, confine_unbound(self->cpu));
	ASSERT_EQ(0, chain_work(0, "mark 1; burn 30000"));
	ASSERT_EQ(0, chain_run("queue 0 -1 ordered; wait 1"));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	for (i = 1; i <= MANY; i++) {
		/* That is what nothing_stays() uses. */
		if (i == 31)
			continue;
		ASSERT_EQ(0, chain_work(i, "burn 1"));
		ASSERT_EQ(0, chain_run("queue %d -1 ordered", i));
	}
	w = STRONG("flush %d", MANY);
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(rescued(w, hog, 30000 + AT_ONCE_US));
	EXPECT_TRUE(nothing_stays(hog));
}

/*
 * Every worker sleeps, and no thread can be created: the last idle worker tries,
 * fails, and sleeps for a second. W runs @script when it sees mark 9.
 */
static struct actor *start_without_threads(struct hog **hog, int cpu, const char *script)
{
	struct actor *w = STRONG("wait 9; %s", script);

	chain_work(0, "burn 20");
	if (!w || occupy_workers(cpu, 2000000) <= 0)
		return NULL;
	*hog = hog_start(cpu);
	if (!*hog || set("threads-max", 1) || chain_run("mark 9"))
		return NULL;
	return w;
}

/* The pool calls the rescuer after 10 ms, in jiffies. */
TEST_F_TIMEOUT(chain, rescuer_when_no_thread_can_be_created, PATIENCE)
{
	char path[32], comm[32] = "";
	struct hog *hog;
	struct actor *w;

	w = start_without_threads(&hog, self->cpu, "queue 0 @ reclaim; flush 0");
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(ends(w));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_TRUE(in_time(chain_mark_ns(9), w->end_ns, 20000 + AT_ONCE_US));
	snprintf(path, sizeof(path), "/proc/%d/comm", chain_report(0).pid);
	get(path, comm, sizeof(comm));
	EXPECT_NE(NULL, strstr(comm, "kworker/R-"));
	EXPECT_TRUE(nothing_stays(hog));
}

/* The rescuer has one work, and two are left: the second of them is flushed. */
TEST_F_TIMEOUT(chain, rescuer_takes_one_out_of_turn, PATIENCE)
{
	struct actor *w, *v;
	struct hog *hog;

	ASSERT_EQ(0, chain_work(1, "mark 1; sleep 5000"));
	ASSERT_EQ(0, chain_work(2, "burn 20"));
	ASSERT_EQ(0, chain_work(3, "burn 20"));
	v = chain_start(SCHED_FIFO, W_PRIO, 2, "wait 1; flush 3");
	ASSERT_NE(NULL, v);
	w = start_without_threads(&hog, self->cpu, "queue 1 @ reclaim; queue 2 @ reclaim; "
				  "queue 3 @ reclaim; flush 1; flush 2");
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(ends(v));
	EXPECT_TRUE(ends(w));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_TRUE(nothing_stays(hog));
}

TEST_F_TIMEOUT(chain, threads_can_be_created_again, PATIENCE)
{
	long long threads_max = stall("threads-max");
	struct hog *hog;
	struct actor *w;

	w = start_without_threads(&hog, self->cpu, "queue 0 @ percpu; flush 0");
	ASSERT_NE(NULL, w);
	ASSERT_TRUE(blocks(w));
	sleep_us(20000);
	EXPECT_FALSE(chain_report(0).first_ns);
	ASSERT_EQ(0, set("threads-max", threads_max));
	EXPECT_TRUE(ends(w));
	EXPECT_TRUE(hog_running(hog));
	/* The timer wheel rounds a second up. */
	EXPECT_TRUE(in_time(chain_mark_ns(9), w->end_ns, 1040000 + AT_ONCE_US));
	EXPECT_TRUE(nothing_stays(hog));
}

/* Two works of a color: who has done one has nothing to do with the other. */
TEST_F_TIMEOUT(chain, flushed_queue_is_another_workers, PATIENCE)
{
	struct actor *w;
	struct hog *hog;

	/* The first sleeps, and the second is lent to meanwhile. */
	ASSERT_EQ(0, chain_work(0, "mark 1; sleep 40000; burn 20"));
	ASSERT_EQ(0, chain_work(1, "burn 60000"));
	ASSERT_EQ(0, chain_work(2, "burn 1000000"));
	ASSERT_EQ(0, chain_run("queue 0 @ reclaim; wait 1"));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	w = STRONG("queue 1 @ reclaim; queue 2 @ percpu; flushwq reclaim");
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(ends(w));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_LT(chain_report(1).first_ns, chain_report(0).end_ns);
	EXPECT_TRUE(in_time(chain_report(1).end_ns, w->end_ns, AT_ONCE_US));
}

/* Its target is cancelled, and the barrier waits for a worker by itself. */
TEST_F_TIMEOUT(chain, flushed_work_is_cancelled, PATIENCE)
{
	struct actor *w;
	struct hog *hog;

	ASSERT_EQ(0, chain_work(0, "burn 20"));
	ASSERT_EQ(0, chain_work(1, "mark 1; sleep 400000; burn 20"));
	ASSERT_EQ(0, chain_run("queue 1 @ max1; wait 1"));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	w = STRONG("queue 0 @ max1; flush 0");
	ASSERT_NE(NULL, w);
	ASSERT_TRUE(blocks(w));
	ASSERT_EQ(0, chain_run("cancel 0; mark 2"));
	EXPECT_TRUE(ends(w));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_TRUE(in_time(chain_mark_ns(2), w->end_ns, AT_ONCE_US));
	EXPECT_EQ(0, chain_report(1).end_ns);
	EXPECT_TRUE(nothing_stays(hog));
}

/* Nothing but a barrier is left of what the workqueue has to do. */
TEST_F_TIMEOUT(chain, flushed_queue_has_a_barrier, PATIENCE)
{
	struct actor *h, *w;
	struct hog *hog;

	ASSERT_EQ(0, chain_work(0, "burn 20"));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	h = WEAK("queue 0 @ percpu; flush 0");
	ASSERT_NE(NULL, h);
	ASSERT_TRUE(blocks(h));
	ASSERT_EQ(0, chain_run("cancel 0"));
	w = STRONG("flushwq percpu");
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(rescued(w, hog, AT_ONCE_US));
	EXPECT_TRUE(ends(h));
	EXPECT_TRUE(nothing_stays(hog));
}

/* The first flusher starves, and has to see to the next flush, which is W's. */
TEST_F_TIMEOUT(chain, first_flusher_wakes_behind_the_hog, PATIENCE)
{
	struct actor *h, *w;
	struct hog *hog;

	ASSERT_EQ(0, chain_work(0, "mark 1; sleep 30000; mark 2"));
	ASSERT_EQ(0, chain_work(1, "burn 20"));
	h = chain_start(SCHED_OTHER, 0, self->cpu, "queue 0 %d reclaim; flushwq reclaim", H_CPU);
	ASSERT_NE(NULL, h);
	ASSERT_TRUE(blocks(h));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	w = STRONG("queue 1 %d reclaim; flushwq reclaim", H_CPU);
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(ends(w));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_TRUE(in_time(chain_mark_ns(2), w->end_ns, AT_ONCE_US));
	EXPECT_TRUE(nothing_stays(hog));
}

/* The workqueue's one active work is another pool's, and starves there. */
TEST_F_TIMEOUT(chain, held_back_by_another_pool, PATIENCE)
{
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
	EXPECT_TRUE(rescued(w, hog, AT_ONCE_US));
	EXPECT_TRUE(nothing_stays(hog));
}

/*
 * Work 1 sleeps in another pool and holds back two on the hogged CPU. When it
 * ends the first of them is active, and then the one that is flushed.
 */
TEST_F_TIMEOUT(chain, held_back_twice, PATIENCE)
{
	struct actor *w;
	struct hog *hog;

	ASSERT_EQ(0, pools_per_cpu());
	ASSERT_EQ(0, chain_work(0, "burn 20"));
	ASSERT_EQ(0, chain_work(1, "mark 1; sleep 30000; mark 2"));
	ASSERT_EQ(0, chain_work(2, "burn 20"));
	ASSERT_EQ(0, chain_run("queue 0 @ sysfs1; flush 0; queue 1 %d sysfs1; wait 1", H_CPU));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	w = STRONG("queue 2 @ sysfs1; queue 0 @ sysfs1; flush 0");
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(ends(w));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_TRUE(in_time(chain_mark_ns(2), w->end_ns, AT_ONCE_US));
	EXPECT_TRUE(nothing_stays(hog));
}

/* The same of an ordered workqueue, the pools of which change meanwhile. */
TEST_F_TIMEOUT(chain, ordered_queue_moves, PATIENCE)
{
	struct actor *w;
	struct hog *hog;

	ASSERT_EQ(0, chain_work(0, "burn 20"));
	ASSERT_EQ(0, chain_work(1, "mark 1; sleep 60000; mark 2"));
	ASSERT_EQ(0, chain_work(2, "burn 20"));
	ASSERT_EQ(0, chain_run("queue 1 -1 ordered; wait 1"));
	ASSERT_EQ(0, confine_unbound(self->cpu));
	/* Workers of former pools come to their end. */
	sleep_us(20000);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	w = STRONG("queue 2 -1 ordered; queue 0 -1 ordered; flush 0");
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(ends(w));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_TRUE(in_time(chain_mark_ns(2), w->end_ns, AT_ONCE_US));
	EXPECT_TRUE(nothing_stays(hog));
}

/* What is flushed is held back by a work of another pool, and then not any more. */
TEST_F_TIMEOUT(chain, max_active_is_raised, PATIENCE)
{
	static const char max_active[] = WQ_SYSFS "chain_sysfs1/max_active";
	struct actor *w;
	struct hog *hog;

	ASSERT_EQ(0, pools_per_cpu());
	ASSERT_EQ(0, chain_work(0, "burn 20"));
	ASSERT_EQ(0, chain_work(1, "mark 1; sleep 400000"));
	ASSERT_EQ(0, chain_run("queue 0 @ sysfs1; flush 0; queue 1 %d sysfs1; wait 1", H_CPU));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	w = STRONG("queue 0 @ sysfs1; flushwq sysfs1");
	ASSERT_NE(NULL, w);
	ASSERT_TRUE(blocks(w));
	ASSERT_EQ(0, chain_run("mark 2"));
	ASSERT_EQ(0, put(max_active, "2\n"));
	EXPECT_TRUE(ends(w));
	put(max_active, "1\n");
	EXPECT_TRUE(hog_running(hog));
	EXPECT_TRUE(in_time(chain_mark_ns(2), chain_report(0).end_ns, AT_ONCE_US));
	EXPECT_TRUE(nothing_stays(hog));
}

/* Who would not lend has no work item be taken out of its turn, nor a worker created. */
TEST_F_TIMEOUT(chain, weak_waiters_expedite_nothing, PATIENCE)
{
	struct actor *h, *w;

	if (!lab_exact_time())
		SKIP(return, "needs exact time");
	ASSERT_EQ(0, chain_work(0, "mark 2"));
	ASSERT_EQ(0, chain_work(1, "mark 1; burn 9000"));
	h = WEAK("lock 1; queue 1 @ percpu; wait 1; queue 0 @ percpu; flush 0");
	ASSERT_NE(NULL, h);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	w = chain_start(SCHED_OTHER, 0, W_CPU, "lock 1");
	ASSERT_NE(NULL, w);
	ASSERT_GT(chain_mark_ns(1) + 7000000, w->start_ns);
	EXPECT_TRUE(ends(w));
	EXPECT_TRUE(ends(h));
	EXPECT_LE(chain_mark_ns(1) + 9000000, chain_mark_ns(2));
}

/* A wakeup does not have to tell each of those that wait for the same one. */
TEST_F_TIMEOUT(chain, many_weak_waiters, PATIENCE)
{
	struct actor *h, *k, *w;
	long long enqueued;
	int i;

	k = chain_start(SCHED_OTHER, 0, 2,
			"lock 2; mark 1; sleep 50000; mark 2; burn 300000; unlock 2");
	ASSERT_NE(NULL, k);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	h = chain_start(SCHED_IDLE, 0, W_CPU, "lock 1; lock 2; mark 3; sleep 200000");
	ASSERT_NE(NULL, h);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(2)));
	for (i = 0; i < 40; i++) {
		w = WEAK("lock 1");
		ASSERT_NE(NULL, w);
	}
	ASSERT_TRUE(blocks(w));
	ASSERT_FALSE(k->end_ns);
	enqueued = proxy_stat("enqueued");
	ASSERT_TRUE(wait_until(HOG_MS, chain_mark_ns(3)));
	EXPECT_GT(enqueued + 20, proxy_stat("enqueued"));
	EXPECT_TRUE(ends(k));
	EXPECT_TRUE(ends(h));
	EXPECT_TRUE(ends(w));
}

/*
 * An equal one takes the mutex again and again, and sleeps while it has it: W
 * wakes to lend just when it could have had it.
 */
TEST_F_TIMEOUT(chain, owner_takes_it_again, PATIENCE)
{
	char again[1024] = "";
	struct actor *h, *w;
	struct hog *hog;
	int i;

	ASSERT_EQ(0, chain_work(0, "burn 20"));
	for (i = 0; i < 15; i++)
		strcat(again, "lock 1; queue 0 @ percpu; flush 0; sleep 20; unlock 1; ");
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	h = STRONG("%s", again);
	ASSERT_NE(NULL, h);
	w = STRONG("lock 1; mark 1");
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(ends(w));
	EXPECT_TRUE(ends(h));
	EXPECT_TRUE(hog_running(hog));
	/* Its turn came before the last one's. */
	EXPECT_LT(chain_mark_ns(1), h->end_ns);
	EXPECT_TRUE(nothing_stays(hog));
}

/* Of one wait along flushes no more is lent than the limit, whatever there is to do. */
#define LIMIT_US	20000

FIXTURE(limit) {
	int cpu;
};

FIXTURE_VARIANT(limit) {
	const char *work[2];
	const char *h, *w;
};

FIXTURE_VARIANT_ADD(limit, one_work) {
	.work = { "burn 60000" },
	.w = "queue 0 @ percpu; flush 0",
};

FIXTURE_VARIANT_ADD(limit, under_a_mutex) {
	.work = { "burn 60000" },
	.h = "lock 1; queue 0 @ percpu; flush 0",
	.w = "lock 1",
};

FIXTURE_VARIANT_ADD(limit, works_in_a_row) {
	.work = { "burn 15000", "burn 45000" },
	.h = "lock 1; queue 0 @ percpu; flush 0; queue 1 @ percpu; flush 1",
	.w = "lock 1",
};

FIXTURE_VARIANT_ADD(limit, sleeps_in_between) {
	.work = { "burn 15000; sleep 2000; burn 4000; sleep 2000; burn 40000" },
	.w = "queue 0 @ percpu; flush 0",
};

FIXTURE_VARIANT_ADD(limit, of_a_kthread_work) {
	.work = { "burn 60000" },
	.w = "kqueue 0 @; kflush 0",
};

FIXTURE_SETUP(limit)
{
	const char *why = chain_enter();

	if (why)
		SKIP(return, "%s", why);
	if (lab_rt())
		SKIP(return, "PREEMPT_RT: there is no limit");
	self->cpu = lab_cpu();
	ASSERT_EQ(0, set("proxy_flush_limit_us", LIMIT_US));
}

FIXTURE_TEARDOWN(limit)
{
	lab_leave();
}

TEST_F_TIMEOUT(limit, is_kept, PATIENCE)
{
	static struct event events[MAX_EVENTS];
	int i, n, found = 0;
	struct actor *h, *w;
	char donor[64];
	struct hog *hog;
	__u64 lost;

	for (i = 0; i < 2 && variant->work[i]; i++)
		ASSERT_EQ(0, chain_work(i, variant->work[i]));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	if (variant->h) {
		h = WEAK("%s", variant->h);
		ASSERT_NE(NULL, h);
		ASSERT_TRUE(blocks(h));
	}
	ASSERT_EQ(0, trace_start("sched:sched_proxy_limit"));
	lost = run_delay_ns(hog->pid);
	w = STRONG("%s", variant->w);
	ASSERT_NE(NULL, w);
	ASSERT_TRUE(wait_until(HOG_MS, lent_ns(w->pid) > (LIMIT_US - 1000) * 1000ULL));
	sleep_us(50000);
	lost = run_delay_ns(hog->pid) - lost;
	n = trace_stop(events, MAX_EVENTS);

	/* It waits on, and so does all that is left to do. */
	ASSERT_TRUE(hog_running(hog));
	EXPECT_FALSE(w->end_ns);
	EXPECT_TRUE(actor_blocked(w));
	EXPECT_EQ(W_PRIO, identity_of(w->pid).prio);
	if (lab_exact_time()) {
		EXPECT_LE((LIMIT_US - 50) * 1000ULL, lost);
		EXPECT_GE((LIMIT_US + 200) * 1000ULL, lost);
		EXPECT_GE((LIMIT_US + 200) * 1000ULL, lent_ns(w->pid));
	}
	snprintf(donor, sizeof(donor), "donor=chain_lend:%d ", w->pid);
	for (i = 0; i < n; i++)
		found += event_has(&events[i], donor);
	EXPECT_EQ(1, found);
	hog_stop(hog);
	EXPECT_TRUE(ends(w));
	if (variant->h)
		EXPECT_TRUE(ends(h));
}

/* A chain of mutexes alone has none, and neither has a new wait. */
TEST_F_TIMEOUT(chain, limit_is_of_one_wait, PATIENCE)
{
	struct actor *h, *w;
	struct hog *hog;

	if (lab_rt())
		SKIP(return, "PREEMPT_RT: there is no limit");
	ASSERT_EQ(0, set("proxy_flush_limit_us", LIMIT_US));
	ASSERT_EQ(0, chain_work(0, "burn 15000"));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	w = STRONG("queue 0 @ percpu; flush 0; queue 0 @ percpu; flush 0");
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(ends(w));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_LE(30000000ULL, lent_ns(w->pid));
	EXPECT_LE(30000000ULL, borrowed_ns(chain_report(0).pid));
	h = chain_start(SCHED_OTHER, 0, self->cpu, "lock 1; mark 0; sleep 5000; burn 40000");
	ASSERT_NE(NULL, h);
	/* It has to get there first. */
	hog_stop(hog);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(0)));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	w = STRONG("lock 1");
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(ends(w));
	EXPECT_TRUE(hog_running(hog));
}

/* What ends a lending, or moves it */

FIXTURE(lending) {
	int cpu;
	struct hog *hog;
	struct actor *h, *w;
	pid_t worker;
};

FIXTURE_VARIANT(lending) {
	bool mutex;	/* W waits for H's, otherwise it flushes */
};

FIXTURE_VARIANT_ADD(lending, of_a_mutex) {
	.mutex = true,
};

FIXTURE_VARIANT_ADD(lending, of_a_flush) {
	.mutex = false,
};

/* What remains of it is run when the hog has ended. */
#define LONG_US		200000

FIXTURE_SETUP(lending)
{
	const char *why = chain_enter();

	if (why)
		SKIP(return, "%s", why);
	self->cpu = lab_cpu();
	self->w = NULL;
	if (!lab_rt())
		ASSERT_EQ(0, set("proxy_flush_limit_us", 0));
	ASSERT_EQ(0, chain_work(0, "mark 1; burn %d", LONG_US));
	self->hog = hog_start(self->cpu);
	ASSERT_NE(NULL, self->hog);
	if (variant->mutex) {
		self->h = WEAK("lock 1; queue 0 @ percpu; flush 0");
		ASSERT_NE(NULL, self->h);
		ASSERT_TRUE(blocks(self->h));
		self->w = chain_start(SCHED_FIFO, W_PRIO, 2, "lockk 1");
	} else {
		self->w = chain_start(SCHED_FIFO, W_PRIO, 2, "queue 0 @ percpu; flush 0");
	}
	ASSERT_NE(NULL, self->w);
	/* It is being lent to. */
	ASSERT_TRUE(wait_until(HOG_MS, chain_mark_ns(1)));
	ASSERT_TRUE(hog_running(self->hog));
	self->worker = chain_report(0).pid;
}

FIXTURE_TEARDOWN(lending)
{
	lab_leave();
}

/* In the next 10 ms the worker runs, and so the hog does not, or the reverse. */
static bool worker_runs(struct hog *hog)
{
	__u64 before;

	/* What has to be told is told. */
	sleep_us(1000);
	before = peek(hog->seen_ns);
	sleep_us(10000);
	return peek(hog->seen_ns) - before < 1000000;
}

static int set_policy(pid_t pid, int policy, int prio)
{
	struct sched_param param = { .sched_priority = prio };

	return sched_setscheduler(pid, policy, &param);
}

TEST_F_TIMEOUT(lending, ends_when_w_is_killed, PATIENCE)
{
	if (!variant->mutex)
		SKIP(return, "a flush cannot be killed");
	EXPECT_TRUE(worker_runs(self->hog));
	ASSERT_EQ(0, kill(self->w->pid, SIGKILL));
	EXPECT_TRUE(wait_until(1000, task_state(self->w->pid) == 'Z'));
	EXPECT_FALSE(worker_runs(self->hog));
	EXPECT_TRUE(hog_running(self->hog));
	EXPECT_FALSE(peek(self->h->done));
	EXPECT_TRUE(nothing_stays(self->hog));
}

TEST_F_TIMEOUT(lending, ends_when_w_is_no_longer_strong, PATIENCE)
{
	EXPECT_TRUE(worker_runs(self->hog));
	ASSERT_EQ(0, set_policy(self->w->pid, SCHED_FIFO, HOG_PRIO - 1));
	EXPECT_FALSE(worker_runs(self->hog));
	ASSERT_EQ(0, set_policy(self->w->pid, SCHED_RR, HOG_PRIO + 1));
	EXPECT_TRUE(worker_runs(self->hog));
	ASSERT_EQ(0, set_policy(self->w->pid, SCHED_OTHER, 0));
	EXPECT_FALSE(worker_runs(self->hog));
	EXPECT_TRUE(hog_running(self->hog));
	/* And is strong again. */
	ASSERT_EQ(0, set_policy(self->w->pid, SCHED_FIFO, W_PRIO));
	EXPECT_TRUE(worker_runs(self->hog));
	EXPECT_TRUE(ends(self->w));
	EXPECT_TRUE(hog_running(self->hog));
	EXPECT_TRUE(nothing_stays(self->hog));
}

TEST_F_TIMEOUT(lending, goes_on_when_w_is_moved, PATIENCE)
{
	int i;

	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, move(self->w->pid, 1 + i % 2));
		EXPECT_TRUE(worker_runs(self->hog));
	}
	EXPECT_TRUE(ends(self->w));
	EXPECT_TRUE(hog_running(self->hog));
	EXPECT_TRUE(nothing_stays(self->hog));
}

TEST_F_TIMEOUT(lending, goes_on_when_ws_cpu_goes_offline, PATIENCE)
{
	if (put("/sys/devices/system/cpu/cpu2/online", "0\n"))
		SKIP(return, "CPU 2 cannot be taken offline");
	EXPECT_TRUE(worker_runs(self->hog) || peek(self->w->done));
	EXPECT_TRUE(ends(self->w));
	EXPECT_TRUE(hog_running(self->hog));
	EXPECT_EQ(0, put("/sys/devices/system/cpu/cpu2/online", "1\n"));
	EXPECT_TRUE(nothing_stays(self->hog));
}

TEST_HARNESS_MAIN
