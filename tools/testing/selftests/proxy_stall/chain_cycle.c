// SPDX-License-Identifier: GPL-2.0
/*
 * Tasks that wait for each other, for ever, sleep as they would without proxy
 * execution, and the machine goes on. It is said once who they are.
 *
 * What cannot be killed sleeps until the machine is rebooted: each such test has
 * mutexes, works and CPUs that no other one uses.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "chain_fixture.h"

#define REPORT		"wait for each other, for ever"

/* The priority of the waiters; 0: SCHED_OTHER */
FIXTURE(cycle) {
	long long cycles;
};

FIXTURE_VARIANT(cycle) {
	int prio;
	int set;	/* the variant's own mutexes and works */
};

FIXTURE_VARIANT_ADD(cycle, other) {
	.prio = 0, .set = 0,
};

FIXTURE_VARIANT_ADD(cycle, fifo) {
	.prio = W_PRIO, .set = 1,
};

FIXTURE_SETUP(cycle)
{
	const char *why = chain_enter();

	if (why)
		SKIP(return, "%s", why);
	/* The runner takes a regular expression. */
	ksft_print_msg("expect-console: proxy execution: \\d+ tasks " REPORT "\n");
	if (!access("/proc/lockdep", F_OK))
		ksft_print_msg("expect-console: possible (circular|recursive) locking\n");
	log_lines(REPORT, NULL, 0);
	self->cycles = proxy_stat("cycles");
	trace_start("sched:sched_proxy_cycle");
}

FIXTURE_TEARDOWN(cycle)
{
	lab_leave();
}

static struct actor *start(int prio, int cpu, const char *script)
{
	return chain_start(prio ? SCHED_FIFO : SCHED_OTHER, prio, cpu, "%s", script);
}

/* Asleep, not spinning and not queued for ever */
static bool at_rest(pid_t pid)
{
	__u64 ran;

	if (!wait_until(1000, task_state(pid) == 'D'))
		return false;
	ran = run_time_ns(pid);
	sleep_us(20000);
	return task_state(pid) == 'D' && run_time_ns(pid) - ran < 1000000;
}

/* Once on the console, once in the trace, counted once, and no more after that */
static bool reported_once(const struct _test_data_cycle *self, int length, const pid_t *pids, int n)
{
	static struct event events[MAX_EVENTS];
	int i, nr_events, lines, found = 0;
	char text[1024] = "", want[64];
	long long cycles;

	wait_until(1000, proxy_stat("cycles") > self->cycles);
	sleep_us(200000);
	cycles = proxy_stat("cycles") - self->cycles;
	lines = log_lines(REPORT, text, sizeof(text));
	nr_events = trace_stop(events, MAX_EVENTS);
	for (i = 0; i < n; i++) {
		snprintf(want, sizeof(want), " pid=%d ", pids[i]);
		found += nr_events == 1 && event_has(&events[0], want);
	}
	snprintf(want, sizeof(want), " %d tasks wait", length);
	if (cycles == 1 && lines == 1 && nr_events == 1 && found == 1 &&
	    event_number(&events[0], "length") == length && strstr(text, want))
		return true;
	ksft_print_msg("cycles %lld, on the console %d (%s), events %d (%s)\n", cycles, lines,
		       text, nr_events, nr_events > 0 ? events[0].text : "");
	return false;
}

/*
 * One has to lend to the other when that blocks: this kills a machine that
 * knows no cycles. On one CPU, because mutexes spin while the owner runs, and
 * two that wait for each other may spin on each other.
 */
static void deadlock(int prio, struct actor *w[2])
{
	w[0] = start(prio, 1, "lock 1; mark 1; wait 2; lockk 2");
	w[1] = start(prio, 1, "lock 2; wait 1; mark 2; burn 20000; lockk 1");
}

TEST_F_TIMEOUT(cycle, abba, PATIENCE)
{
	struct actor *w[2], *later[2];
	pid_t pids[2];
	int i;

	deadlock(variant->prio, w);
	for (i = 0; i < 2; i++) {
		ASSERT_NE(NULL, w[i]);
		EXPECT_TRUE(at_rest(w[i]->pid));
		pids[i] = w[i]->pid;
	}
	EXPECT_TRUE(reported_once(self, 2, pids, 2));

	/* Later waiters: they sleep, nothing more is reported, and all end well. */
	later[0] = start(0, 0, "lock 1");
	later[1] = start(W_PRIO, 1, "lock 2");
	for (i = 0; i < 2; i++) {
		ASSERT_NE(NULL, later[i]);
		EXPECT_TRUE(at_rest(later[i]->pid));
	}
	EXPECT_EQ(0, log_lines(REPORT, NULL, 0));
	EXPECT_EQ(self->cycles + 1, proxy_stat("cycles"));

	/* The first dies, the second gets what it waited for. */
	ASSERT_EQ(0, kill(w[0]->pid, SIGKILL));
	EXPECT_TRUE(wait_until(1000, task_state(w[0]->pid) == 'Z'));
	EXPECT_TRUE(actor_wait(w[1], 1000));
	EXPECT_EQ(0, w[1]->result);
	for (i = 0; i < 2; i++) {
		EXPECT_TRUE(actor_wait(later[i], 1000));
		EXPECT_EQ(0, later[i]->result);
	}
	EXPECT_EQ(0, chain_run("lockt 1; lockt 2"));
}

/* The other one, and then the one that is left: while it waits for somebody else */
TEST_F_TIMEOUT(cycle, both_are_killable, PATIENCE)
{
	struct actor *w[2], *first;
	int i;

	deadlock(variant->prio, w);
	for (i = 0; i < 2; i++) {
		ASSERT_NE(NULL, w[i]);
		EXPECT_TRUE(at_rest(w[i]->pid));
	}
	EXPECT_TRUE(wait_until(1000, proxy_stat("cycles") == self->cycles + 1));
	/* Killed at the same time: neither has anything from the other. */
	first = w[1];
	ASSERT_EQ(0, kill(first->pid, SIGSTOP));
	ASSERT_EQ(0, kill(w[0]->pid, SIGKILL));
	ASSERT_EQ(0, kill(first->pid, SIGKILL));
	for (i = 0; i < 2; i++)
		EXPECT_TRUE(wait_until(1000, task_state(w[i]->pid) == 'Z'));
	EXPECT_EQ(0, chain_owner(1));
	EXPECT_EQ(0, chain_owner(2));
	EXPECT_EQ(0, chain_run("lockt 1; lockt 2"));
}

/* After a deadlock that was broken, the next one of the same tasks' locks is new. */
TEST_F_TIMEOUT(cycle, again, PATIENCE)
{
	struct actor *w[2];
	int i, round;

	for (round = 1; round <= 3; round++) {
		ASSERT_EQ(0, chain_run("clear"));
		deadlock(variant->prio, w);
		for (i = 0; i < 2; i++) {
			ASSERT_NE(NULL, w[i]);
			EXPECT_TRUE(at_rest(w[i]->pid));
		}
		EXPECT_TRUE(wait_until(1000, proxy_stat("cycles") == self->cycles + round));
		for (i = 0; i < 2; i++)
			actor_stop(w[i]);
		EXPECT_EQ(0, chain_run("lockt 1; lockt 2"));
	}
	EXPECT_EQ(3, log_lines(REPORT, NULL, 0));
}

TEST_F_TIMEOUT(cycle, ring_of_five, PATIENCE)
{
	struct actor *w[5];
	pid_t pids[5];
	int i;

	for (i = 0; i < 5; i++) {
		w[i] = chain_start(variant->prio ? SCHED_FIFO : SCHED_OTHER, variant->prio, i % 3,
				   "lock %d; mark %d; wait %d; wait %d; wait %d; wait %d; lockk %d",
				   i, i, (i + 1) % 5, (i + 2) % 5, (i + 3) % 5,
				   (i + 4) % 5, (i + 1) % 5);
		ASSERT_NE(NULL, w[i]);
		pids[i] = w[i]->pid;
	}
	for (i = 0; i < 5; i++)
		EXPECT_TRUE(at_rest(pids[i]));
	EXPECT_TRUE(reported_once(self, 5, pids, 5));
	ASSERT_EQ(0, kill(w[3]->pid, SIGKILL));
	EXPECT_TRUE(wait_until(1000, task_state(w[3]->pid) == 'Z'));
	/* Now it is a chain, and each gets its mutex. */
	for (i = 0; i < 5; i++) {
		if (i == 3)
			continue;
		EXPECT_TRUE(actor_wait(w[i], 1000));
		EXPECT_EQ(0, w[i]->result);
	}
	EXPECT_EQ(0, chain_run("lockt 0; lockt 1; lockt 2; lockt 3; lockt 4"));
}

/* A tail that leads to a cycle belongs to it not. */
TEST_F_TIMEOUT(cycle, with_a_tail, PATIENCE)
{
	struct actor *w[2], *tail[8];
	pid_t pids[2];
	int i;

	for (i = 0; i < 8; i++) {
		tail[i] = chain_start(SCHED_FIFO, W_PRIO, i % 3,
				      "lock %d; wait 30; lockk %d", 10 + i, i ? 9 + i : 1);
		ASSERT_NE(NULL, tail[i]);
		ASSERT_TRUE(wait_until(1000, chain_owner(10 + i) == tail[i]->pid));
	}
	deadlock(variant->prio, w);
	for (i = 0; i < 2; i++) {
		ASSERT_NE(NULL, w[i]);
		EXPECT_TRUE(at_rest(w[i]->pid));
		pids[i] = w[i]->pid;
	}
	ASSERT_EQ(0, chain_run("mark 30"));
	for (i = 0; i < 8; i++)
		EXPECT_TRUE(at_rest(tail[i]->pid));
	EXPECT_TRUE(reported_once(self, 2, pids, 2));
	ASSERT_EQ(0, kill(w[1]->pid, SIGKILL));
	EXPECT_TRUE(actor_wait(w[0], 1000));
	for (i = 0; i < 8; i++) {
		EXPECT_TRUE(actor_wait(tail[i], 1000));
		EXPECT_EQ(0, tail[i]->result);
	}
}

/* These cannot be killed: they come last. */

TEST_F_TIMEOUT(cycle, x_flush_under_the_works_mutex, PATIENCE)
{
	int m = 20 + variant->set, work = 20 + variant->set;
	struct actor *a, *later;
	pid_t pids[2];

	ASSERT_EQ(0, chain_work(work, "mark 1; lock %d", m));
	a = chain_start(variant->prio ? SCHED_FIFO : SCHED_OTHER, variant->prio, 1,
			"lock %d; queue %d 2 percpu; flush %d", m, work, work);
	ASSERT_NE(NULL, a);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	pids[0] = a->pid;
	pids[1] = chain_report(work).pid;
	EXPECT_TRUE(at_rest(pids[0]));
	EXPECT_TRUE(at_rest(pids[1]));
	EXPECT_TRUE(reported_once(self, 2, pids, 2));
	/* A later waiter sleeps in peace, and can be killed. */
	later = chain_start(SCHED_FIFO, W_PRIO, 0, "lockk %d", m);
	ASSERT_NE(NULL, later);
	EXPECT_TRUE(at_rest(later->pid));
	EXPECT_EQ(0, log_lines(REPORT, NULL, 0));
	ASSERT_EQ(0, kill(later->pid, SIGKILL));
	EXPECT_TRUE(wait_until(1000, task_state(later->pid) == 'Z'));
	/* The workqueue goes on. */
	ASSERT_EQ(0, chain_work(19, "burn 1"));
	EXPECT_EQ(0, chain_run("queue 19 2 percpu; flush 19"));
}

/* Works wait for each other. They are weak: a strong waiter walks along them. */
TEST_F_TIMEOUT(cycle, x_work_flushes_itself_through_another, PATIENCE)
{
	int one = 22 + 2 * variant->set, two = one + 1;
	struct actor *w;
	pid_t pids[2];

	if (!variant->prio)
		SKIP(return, "SCHED_OTHER flushers lend to nobody: there is no walk");
	ASSERT_EQ(0, chain_work(one, "mark 1; wait 2; flush %d", two));
	ASSERT_EQ(0, chain_work(two, "mark 2; wait 1; flush %d", one));
	ASSERT_EQ(0, chain_run("queue %d 1 percpu; queue %d 2 percpu; wait 1; wait 2", one, two));
	pids[0] = chain_report(one).pid;
	pids[1] = chain_report(two).pid;
	EXPECT_TRUE(at_rest(pids[0]));
	EXPECT_TRUE(at_rest(pids[1]));
	w = chain_start(SCHED_FIFO, variant->prio, 0, "flush %d", one);
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(at_rest(w->pid));
	EXPECT_TRUE(reported_once(self, 2, pids, 2));
	ASSERT_EQ(0, chain_work(19, "burn 1"));
	EXPECT_EQ(0, chain_run("queue 19 2 percpu; flush 19"));
}

TEST_HARNESS_MAIN
