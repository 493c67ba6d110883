// SPDX-License-Identifier: GPL-2.0
/*
 * Proxy execution by itself, without what the series adds to it: who runs when a
 * donor or a task in the middle of a chain is woken, where it runs then, the
 * remote tick, and deadlocks. The same has to hold with proxy execution off.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

	owner = chain_start(SCHED_OTHER, 0, W_CPU, "lock 0; mark 1; burn 50000; unlock 0");
	ASSERT_NE(NULL, owner);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	donor = chain_start(SCHED_FIFO, W_PRIO, W_CPU, "lock 0; mark 2; unlock 0");
	ASSERT_NE(NULL, donor);
	ASSERT_TRUE(blocks(donor));
	ASSERT_NE(self->cpu - 1, W_CPU);
	ASSERT_EQ(0, move(donor->pid, self->cpu - 1));
	ASSERT_FALSE(peek(owner->done));
	EXPECT_TRUE(ends(donor));
	EXPECT_EQ(self->cpu - 1, chain_mark_cpu(2));
}

/* The CPU that a task ran on last, even if it is dead */
static int last_cpu(pid_t pid)
{
	char path[40], buf[512], *s;
	int field;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (get(path, buf, sizeof(buf)) <= 0)
		return -1;
	/* The second field is the name, and ends there. */
	s = strrchr(buf, ')');
	for (field = 2; s && field < 39; field++)
		s = strchr(s + 1, ' ');
	return s ? atoi(s) : -1;
}

/* Nor must one that was woken, and has still to get its CPU from the owner. */
TEST_F_TIMEOUT(walk, donor_is_moved_when_it_was_woken, PATIENCE)
{
	struct actor *owner, *donor;

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
	ASSERT_NE(self->cpu - 1, W_CPU);
	ASSERT_EQ(0, move(donor->pid, self->cpu - 1));
	EXPECT_TRUE(wait_until(400, task_state(donor->pid) == 'Z'));
	EXPECT_EQ(self->cpu - 1, last_cpu(donor->pid));
}

/* A donor that has been preempted is woken: it goes where it can run. */
TEST_F_TIMEOUT(walk, donor_is_woken_behind_a_stronger_one, PATIENCE)
{
	struct actor *owner, *donor, *stronger;
	__u64 killed_ns;

	/* It cannot get to this CPU any more when the donor donates. */
	stronger = chain_start(SCHED_FIFO, W_PRIO + 1, W_CPU, "wait 2; mark 3; burn 300000");
	ASSERT_NE(NULL, stronger);
	owner = chain_start(SCHED_OTHER, 0, W_CPU, "lock 0; mark 1; burn 100000; unlock 0");
	ASSERT_NE(NULL, owner);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	donor = chain_start(SCHED_FIFO, W_PRIO, W_CPU, "lockk 0");
	ASSERT_NE(NULL, donor);
	ASSERT_TRUE(blocks(donor));
	ASSERT_EQ(0, allow(donor->pid, W_CPU, self->cpu - 1));
	ASSERT_EQ(0, chain_run("mark 2"));
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(3)));
	ASSERT_TRUE(actor_blocked(donor));
	killed_ns = now_ns();
	ASSERT_EQ(0, kill(donor->pid, SIGKILL));
	EXPECT_TRUE(wait_until(200, task_state(donor->pid) == 'Z'));
	EXPECT_TRUE(in_time(killed_ns, now_ns(), AT_ONCE_US));
	EXPECT_FALSE(peek(stronger->done));
}

/* An owner that was lent to competes for a CPU again when that is over. */
TEST_F_TIMEOUT(walk, owner_is_moved_while_it_is_lent_to, PATIENCE)
{
	struct actor *owner, *donor;

	donor = chain_start(SCHED_FIFO, W_PRIO, W_CPU,
			    "wait 4; lock 0; mark 2; burn 200000; unlock 0");
	ASSERT_NE(NULL, donor);
	owner = chain_start(SCHED_FIFO, 10, W_CPU, "lock 0; mark 1; burn 50000; unlock 0; mark 3");
	ASSERT_NE(NULL, owner);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	ASSERT_EQ(0, chain_run("mark 4"));
	ASSERT_TRUE(blocks(donor));
	/* The owner runs again. */
	sleep_us(2000);
	ASSERT_EQ(0, allow(owner->pid, W_CPU, self->cpu - 1));
	ASSERT_FALSE(chain_mark_ns(2));
	EXPECT_TRUE(ends(owner));
	EXPECT_FALSE(peek(donor->done));
	/* It may be on its way before the donor is. */
	EXPECT_TRUE(in_time(chain_mark_ns(4), chain_mark_ns(3), 50000 + AT_ONCE_US));
	EXPECT_EQ(self->cpu - 1, chain_mark_cpu(3));
	EXPECT_TRUE(ends(donor));
}

static void ignore_signal(int nr)
{
	(void)nr;
}

/* It is signalled by its own CPU after it has said what it is blocked on. */
static int act_signalled(void *data)
{
	struct sigaction action = { .sa_handler = ignore_signal };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct itimerspec at = { .it_value.tv_nsec = 10000000 };
	timer_t timer;

	(void)data;
	sigaction(SIGUSR1, &action, NULL);
	if (timer_create(CLOCK_MONOTONIC, &event, &timer))
		return -1;
	chain_run("wait 3");
	timer_settime(timer, 0, &at, NULL);
	return chain_run("lock 0; mark 4; unlock 0");
}

/* A signal that wakes nobody does not end the lending. */
TEST_F_TIMEOUT(walk, signal_wakes_nobody, PATIENCE)
{
	struct actor_plan plan = { .policy = SCHED_FIFO, .prio = W_PRIO, .cpu = W_CPU };
	struct actor *owner, *donor, *holder, *weaker;

	if (proxy_exec_is_off())
		SKIP(return, "nobody lends");
	owner = chain_start(SCHED_OTHER, 0, W_CPU, "lock 0; mark 1; burn 100000; unlock 0");
	ASSERT_NE(NULL, owner);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	donor = actor_start(&plan, act_signalled, NULL);
	ASSERT_NE(NULL, donor);
	/* The donor waits for it with interrupts disabled, its timer expires. */
	holder = chain_start(SCHED_OTHER, 0, self->cpu - 1, "mark 3; waitlock 0 20000");
	ASSERT_NE(NULL, holder);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(3)));
	weaker = chain_start(SCHED_FIFO, W_PRIO - 1, W_CPU, "burn 500000");
	ASSERT_NE(NULL, weaker);
	EXPECT_TRUE(ends(donor));
	EXPECT_FALSE(peek(weaker->done));
}

/* A donor that may not migrate yet: who changes its affinity waits. */
TEST_F_TIMEOUT(walk, donor_may_not_migrate, PATIENCE)
{
	struct actor *owner, *donor;

	log_lines("WARNING:", NULL, 0);
	owner = chain_start(SCHED_OTHER, 0, W_CPU, "lock 0; mark 1; burn 50000; unlock 0");
	ASSERT_NE(NULL, owner);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	donor = chain_start(SCHED_FIFO, W_PRIO, W_CPU, "nomig; lock 0; unlock 0; mig; mark 2");
	ASSERT_NE(NULL, donor);
	ASSERT_TRUE(blocks(donor));
	ASSERT_EQ(0, move(donor->pid, self->cpu - 1));
	EXPECT_TRUE(ends(donor));
	EXPECT_EQ(self->cpu - 1, chain_mark_cpu(2));
	EXPECT_EQ(0, log_lines("WARNING:", NULL, 0));
}

/* What /proc tells of a task that waits for a mutex, and that it tells it at once */
TEST_F_TIMEOUT(walk, donor_in_proc, PATIENCE)
{
	struct actor *owner, *donor;
	char path[40], buf[256];
	__u64 start;

	owner = chain_start(SCHED_OTHER, 0, W_CPU, "lock 0; mark 1; burn 100000; unlock 0");
	ASSERT_NE(NULL, owner);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	donor = chain_start(SCHED_FIFO, W_PRIO, W_CPU, "lock 0; unlock 0");
	ASSERT_NE(NULL, donor);
	ASSERT_TRUE(blocks(donor));
	start = now_ns();
	snprintf(path, sizeof(path), "/proc/%d/wchan", donor->pid);
	ASSERT_LT(0, get(path, buf, sizeof(buf)));
	EXPECT_STRNE("0", buf);
	snprintf(path, sizeof(path), "/proc/%d/syscall", donor->pid);
	ASSERT_LT(0, get(path, buf, sizeof(buf)));
	EXPECT_NE(0, strncmp(buf, "running", 7));
	EXPECT_TRUE(in_time(start, now_ns(), 20000));
	EXPECT_FALSE(peek(owner->done));
	EXPECT_TRUE(ends(donor));
}

/* A donor behind a hog has slept, as far as RCU tasks are concerned. */
TEST_F_TIMEOUT(walk, rcu_tasks, PATIENCE)
{
	struct hog_plan plan = {
		.cpu = self->cpu, .prio = W_PRIO + 1, .ms = HOG_MS,
		.run_us = 1000, .sleep_us = 100000, .naps = 1,
	};
	struct actor *owner, *donor;
	struct hog *hog;

	if (!cpu_in(self->cpu, "nohz_full"))
		SKIP(return, "kernel threads of CPU %d are held up, too", self->cpu);
	/* It cannot get to this CPU any more when the donor donates. */
	hog = hog_start_plan(&plan);
	ASSERT_NE(NULL, hog);
	owner = chain_start(SCHED_OTHER, 0, self->cpu,
			    "lock 0; mark 1; burn 200000; rcutasks; unlock 0");
	ASSERT_NE(NULL, owner);
	ASSERT_TRUE(wait_until(1000, chain_mark_ns(1)));
	donor = chain_start(SCHED_FIFO, W_PRIO, self->cpu, "lock 0; unlock 0");
	ASSERT_NE(NULL, donor);
	ASSERT_TRUE(blocks(donor));
	sleep_us(150000);
	ASSERT_EQ(0, move(owner->pid, self->cpu - 1));
	EXPECT_TRUE(actor_wait(owner, 2000));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_TRUE(ends(donor));
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
