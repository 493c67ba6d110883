// SPDX-License-Identifier: GPL-2.0
/*
 * When kernel threads are rescued, what that takes from the hog, and that it
 * takes nothing when nothing starves.
 *
 * Where time is exact: on a real machine, or in an emulator that counts
 * instructions.  Set PROXY_STALL_EXACT=1 there.  In such an emulator another
 * CPU's work shows as a gap of the hog, so while the hog is being measured the
 * test sleeps.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "lab.h"

#define MS		1000000LL
#define US		1000LL

/* How much longer than the runtime the kthread runs: the end of a slice takes time */
#define SLICE_SLACK_NS	(5 * US)

/* What the monitor charges for interrupts and switches */
#define SWITCH_NS		(6 * US)

/* And the hog be gone: interrupts, the switch there and the switch back */
#define GAP_SLACK_NS	(10 * US)

static int by_length(const void *a, const void *b)
{
	const struct gap *x = a, *y = b;

	return x->ns < y->ns ? -1 : x->ns > y->ns;
}

/* The median: what another CPU did in the meantime lengthens some of them. */
static long long slice_gap(const struct hog *hog, long long at_least)
{
	static struct gap gaps[MAX_GAPS];
	int i, n = 0;

	for (i = 0; i < (int)peek(hog->nr_gaps); i++)
		if ((long long)hog->gaps[i].ns >= at_least)
			gaps[n++] = hog->gaps[i];
	qsort(gaps, n, sizeof(*gaps), by_length);
	return n ? (long long)gaps[n / 2].ns : -1;
}

FIXTURE(timing) {
	int cpu;
};

FIXTURE_SETUP(timing)
{
	const char *why = lab_enter();

	if (!why && !lab_exact_time()) {
		lab_leave();
		why = "times may mean nothing here (PROXY_STALL_EXACT)";
	}
	if (why)
		SKIP(return, "%s", why);
	/* A slow console is no part of this. */
	put(SYSCTL "printk", "1\n");
	self->cpu = lab_cpu();
}

FIXTURE_TEARDOWN(timing)
{
	lab_leave();
}

FIXTURE(threshold) {
	int cpu;
};

FIXTURE_VARIANT(threshold) {
	long long us;
};

FIXTURE_VARIANT_ADD(threshold, us_1000) {
	.us = 1000,
};

FIXTURE_VARIANT_ADD(threshold, us_10000) {
	.us = 10000,
};

FIXTURE_VARIANT_ADD(threshold, us_100000) {
	.us = 100000,
};

FIXTURE_VARIANT_ADD(threshold, us_333000) {
	.us = 333000,
};

FIXTURE_SETUP(threshold)
{
	timing_setup(_metadata, (FIXTURE_DATA(timing) *)self, NULL);
}

FIXTURE_TEARDOWN(threshold)
{
	lab_leave();
}

/* Not before the threshold, and not later than 1 ms after it */
TEST_F_TIMEOUT(threshold, kept, PATIENCE)
{
	long long waited;
	int fair, fifo;
	struct hog *hog;

	fair = kthread_start(self->cpu, "other", 0, "bound");
	fifo = kthread_start(self->cpu, "fifo", 1, "bound");
	ASSERT_LE(0, fair);
	ASSERT_LE(0, fifo);
	cool_down();
	set("stall_monitor_threshold_us", variant->us);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);

	kthread_burn(fair, 10);
	sleep_us(variant->us + 5000);
	EXPECT_TRUE(hog_running(hog));
	ASSERT_LT(0, kthread_get(fair, "end_ns"));
	waited = kthread_get(fair, "first_ns") - kthread_get(fair, "woken_ns");
	TH_LOG("threshold %lld us: fair waited %lld ns", variant->us, waited);
	EXPECT_LE(variant->us * US, waited);
	EXPECT_GE(variant->us * US + MS, waited);

	cool_down();
	kthread_burn(fifo, 10);
	sleep_us(variant->us + 5000);
	EXPECT_TRUE(hog_running(hog));
	ASSERT_LT(0, kthread_get(fifo, "end_ns"));
	waited = kthread_get(fifo, "first_ns") - kthread_get(fifo, "woken_ns");
	TH_LOG("threshold %lld us: FIFO 1 waited %lld ns", variant->us, waited);
	EXPECT_LE(variant->us * US, waited);
	EXPECT_GE(variant->us * US + MS, waited);
}

/* From one CPU that is taken to another, and back: it is one wait. */
TEST_F_TIMEOUT(timing, moved_while_starving, PATIENCE)
{
	int cpus[MAX_CPUS], n = lab_cpus(cpus), fd, i;
	struct hog *hogs[2];
	long long waited;
	pid_t pid;

	if (n < 2)
		SKIP(return, "needs three CPUs");
	fd = kthread_start(cpus[0], "other", 0, "movable");
	ASSERT_LE(0, fd);
	pid = kthread_get(fd, "pid");
	set("stall_monitor_threshold_us", 100000);
	cool_down();
	for (i = 0; i < 2; i++) {
		hogs[i] = hog_start(cpus[i]);
		ASSERT_NE(NULL, hogs[i]);
	}
	kthread_burn(fd, 10);
	for (i = 1; i < 6 && !kthread_get(fd, "first_ns"); i++) {
		sleep_us(40000);
		ASSERT_EQ(0, move(pid, cpus[i % 2]));
	}
	for (i = 0; i < 2; i++)
		EXPECT_TRUE(hog_running(hogs[i]));
	ASSERT_LT(0, kthread_get(fd, "first_ns"));
	waited = kthread_get(fd, "first_ns") - kthread_get(fd, "woken_ns");
	TH_LOG("waited %lld us", waited / US);
	if (!others_starve(cpus[0]) && !others_starve(cpus[1]))
		EXPECT_LE(100 * MS, waited);
	EXPECT_GE(101 * MS, waited);
}

/* Each as fast as one alone */
TEST_F_TIMEOUT(timing, several_cpus, PATIENCE)
{
	struct hog *hogs[MAX_CPUS];
	int cpus[MAX_CPUS], fds[MAX_CPUS], n = lab_cpus(cpus), i;
	long long boosts[MAX_CPUS], waited;

	if (n < 2)
		SKIP(return, "needs three CPUs");
	for (i = 0; i < n; i++) {
		char state[16] = "";

		state_of(cpus[i], state, sizeof(state));
		if (!strcmp(state, "off"))
			SKIP(return, "CPU %d is not watched", cpus[i]);
		fds[i] = kthread_start(cpus[i], "fifo", 1, "bound");
		ASSERT_LE(0, fds[i]);
	}
	for (i = 0; i < n; i++) {
		hogs[i] = hog_start(cpus[i]);
		ASSERT_NE(NULL, hogs[i]);
		boosts[i] = stat_of(cpus[i], "boosts");
	}
	for (i = 0; i < n; i++)
		kthread_burn(fds[i], 10);
	sleep_us(30000);
	for (i = 0; i < n; i++) {
		EXPECT_TRUE(hog_running(hogs[i]));
		ASSERT_LT(0, kthread_get(fds[i], "end_ns"));
		waited = kthread_get(fds[i], "first_ns") - kthread_get(fds[i], "woken_ns");
		TH_LOG("CPU %d: waited %lld ns", cpus[i], waited);
		/* With PREEMPT_RT the threads of timers starve, too: help has begun before. */
		if (!lab_rt() || stat_of(cpus[i], "boosts") == boosts[i] + 1)
			EXPECT_LE(20 * MS, waited);
		EXPECT_GE(21 * MS, waited);
	}
}

/*
 * A line in the log is another CPU's work, see above: use up the ten of them
 * that there may be in five seconds.
 */
static void use_up_the_reports(int cpu)
{
	long long threshold = stall("stall_monitor_threshold_us");
	int i;

	set("stall_monitor_threshold_us", 100);
	for (i = 0; i < 12; i++) {
		work_flush(cpu, 1);
		cool_down();
	}
	set("stall_monitor_threshold_us", threshold);
}

/* To reschedule, to call a function, to do an irq_work */
static long long other_interrupts(int cpu)
{
	return interrupts_of("RES:", cpu) + interrupts_of("CAL:", cpu) +
	       interrupts_of("IWI:", cpu);
}

/*
 * A rescue takes from the hog what the kthread needs, and little more: by the
 * time that it waited, and by its own clock. One interrupt of the timer at most,
 * and none after it.
 */
TEST_F_TIMEOUT(timing, loss_of_a_rescue, PATIENCE)
{
	long long lost, ran, longest, interrupts, others, later, fired, switched;
	int fd, pid, tries = 3;
	struct hog *hog;

	fd = kthread_start(self->cpu, "fifo", 1, "bound");
	ASSERT_LE(0, fd);
	pid = kthread_get(fd, "pid");
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	use_up_the_reports(self->cpu);
again:
	ran = run_time_ns(pid);
	lost = run_delay_ns(hog->pid);
	switched = turns(hog->pid);
	interrupts = timer_interrupts(self->cpu);
	others = other_interrupts(self->cpu);
	kthread_burn(fd, 10);
	sleep_us(18000);
	hog_reset(hog);
	sleep_us(4000);
	/* At once, not when all is over */
	later = timer_interrupts(self->cpu);
	others = other_interrupts(self->cpu) - others;
	fired = stat_of(self->cpu, "slice_timer_fired");
	longest = peek(hog->longest_ns);
	EXPECT_TRUE(hog_running(hog));
	ASSERT_LT(0, kthread_get(fd, "end_ns"));
	ran = run_time_ns(pid) - ran;
	lost = run_delay_ns(hog->pid) - lost;
	/* The kernel stops all CPUs when it has calibrated its clock, say. */
	if (turns(hog->pid) - switched > 1 && --tries) {
		cool_down();
		goto again;
	}
	interrupts = later - interrupts;
	EXPECT_LT(0, ran);
	EXPECT_GE(ran + 10 * US, lost);
	EXPECT_GE(ran + 10 * US, longest);
	/* The wakeup, and the start of the slice */
	EXPECT_GE(2, others);
	if (cpu_in(self->cpu, "nohz_full")) {
		EXPECT_GE(1, interrupts);
		sleep_us(100000);
		EXPECT_GE(1, timer_interrupts(self->cpu) - later);
	}
	EXPECT_EQ(fired, stat_of(self->cpu, "slice_timer_fired"));
	/* The last: the console's interrupt may be on that CPU, and its thread starve. */
	TH_LOG("ran for %lld ns, the hog waited %lld, its longest gap %lld", ran, lost, longest);
	TH_LOG("%lld timer interrupts, %lld others", interrupts, others);
}

/* Help goes on: of what has to happen in a row only the first waits. */

TEST_F_TIMEOUT(timing, ten_flushes_in_a_row, PATIENCE)
{
	char buf[64];
	struct hog *hog;
	__u64 took;
	int i;

	if (access("/proc/sys/vm/stat_refresh", R_OK))
		SKIP(return, "no /proc/sys/vm/stat_refresh");
	set("stall_monitor_threshold_us", 100000);
	set("stall_monitor_awaited_us", 10000);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	took = now_ns();
	for (i = 0; i < 10; i++)
		ASSERT_LE(0, get("/proc/sys/vm/stat_refresh", buf, sizeof(buf)));
	took = now_ns() - took;
	TH_LOG("ten flushes took %llu ns", took);
	EXPECT_TRUE(hog_running(hog));
	EXPECT_GE(20 * MS, (long long)took);
}

/*
 * A work has its share until it is done: 50 us of each 1000, with what it takes
 * to get there and back.
 */
TEST_F_TIMEOUT(timing, long_work, PATIENCE)
{
	struct hog *hog;
	__u64 took;

	set("stall_monitor_runtime_us", 50);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	took = now_ns();
	ASSERT_LT(0, work_flush(self->cpu, 20000));
	took = now_ns() - took;
	TH_LOG("20 ms of CPU time took %llu ns", took);
	EXPECT_TRUE(hog_running(hog));
	EXPECT_GE((20 + 20 * 25 + (lab_rt() ? 10 : 0)) * MS, (long long)took);
}

/*
 * Who is flushed is helped earlier than who nobody waits for, as far as is
 * known. Then the CPU is warm, and the other one is helped as well.
 */
TEST_F_TIMEOUT(timing, awaited_first, PATIENCE)
{
	struct hog *hog;
	__u64 took;
	int fd;

	set("stall_monitor_threshold_us", 300000);
	if (set("stall_monitor_awaited_us", 5000))
		SKIP(return, "no kernel.stall_monitor_awaited_us");
	fd = kthread_start(self->cpu, "fifo", 1, "bound");
	ASSERT_LE(0, fd);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_burn(fd, 10));
	sleep_us(60000);
	EXPECT_EQ(0, kthread_get(fd, "first_ns"));
	took = now_ns();
	ASSERT_LT(0, work_flush(self->cpu, 20));
	took = now_ns() - took;
	TH_LOG("the flush took %llu ns", took);
	EXPECT_LE(5 * MS, (long long)took);
	EXPECT_GE(12 * MS, (long long)took);
	EXPECT_TRUE(wait_until(20, kthread_get(fd, "end_ns") > 0));
	EXPECT_TRUE(hog_running(hog));

	/* 0: it is not asked. */
	cool_down();
	ASSERT_EQ(0, set("stall_monitor_awaited_us", 0));
	took = now_ns();
	ASSERT_LT(0, work_flush(self->cpu, 20));
	took = now_ns() - took;
	EXPECT_LE(300 * MS, (long long)took);
	EXPECT_TRUE(hog_running(hog));
}

#define BURNERS	12

/*
 * Behind threads that never sleep, who is flushed does not wait for a turn of each,
 * and those have their turns all the same.
 */
TEST_F_TIMEOUT(timing, flush_behind_burners, PATIENCE)
{
	__u64 took, ran[BURNERS];
	int fds[BURNERS], i;
	struct hog *hog;

	ASSERT_EQ(0, set("stall_monitor_duration_us", 5000));
	ASSERT_EQ(0, set("stall_monitor_awaited_us", 10000));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	for (i = 0; i < BURNERS; i++) {
		fds[i] = kthread_start(self->cpu, "other", 0, "bound");
		ASSERT_LE(0, fds[i]);
		ASSERT_EQ(0, kthread_burn(fds[i], FOREVER_US));
		ASSERT_TRUE(wait_until(1000, kthread_get(fds[i], "first_ns") > 0));
	}
	for (i = 0; i < BURNERS; i++)
		ran[i] = run_time_ns(kthread_get(fds[i], "pid"));
	took = now_ns();
	ASSERT_LT(0, work_flush(self->cpu, 20));
	took = now_ns() - took;
	TH_LOG("the flush took %llu ns", took);
	/* Once to create another worker perhaps, once for the work: a turn ends with a slice. */
	EXPECT_GE((2 * (10 + 3 + 6) + 2) * MS, (long long)took);
	sleep_us(200000);
	EXPECT_TRUE(hog_running(hog));
	for (i = 0; i < BURNERS; i++)
		EXPECT_LT(ran[i], run_time_ns(kthread_get(fds[i], "pid")));
}

TEST_F_TIMEOUT(timing, work_that_sleeps, PATIENCE)
{
	struct hog *hog;
	__u64 took;

	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	took = now_ns();
	ASSERT_LT(0, work_flush_rounds(self->cpu, 10, 10, 4000));
	took = now_ns() - took;
	TH_LOG("ten sleeps of 4 ms took %llu ns", took);
	EXPECT_TRUE(hog_running(hog));
	EXPECT_GE((20 + 10 * 5) * MS, (long long)took);
}

/* What a boosted kthread waits for is helped as well. */
TEST_F_TIMEOUT(timing, owner_of_a_mutex, PATIENCE)
{
	struct program own = { .rounds = 1, .lock = 1, .burn_us = 500 };
	struct program take = { .rounds = 1, .lock = 1, .burn_us = 20 };
	long long took;
	struct hog *hog;
	int owner, waiter;

	owner = kthread_start(self->cpu, "other", 0, "bound");
	waiter = kthread_start(self->cpu, "fifo", 1, "bound");
	ASSERT_LE(0, owner);
	ASSERT_LE(0, waiter);
	ASSERT_EQ(0, kthread_run(owner, own));
	ASSERT_TRUE(wait_until(1000, kthread_get(owner, "first_ns") > 0));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_run(waiter, take));
	EXPECT_EQ(0, kthread_command(waiter, "wait"));
	took = kthread_get(waiter, "end_ns") - kthread_get(waiter, "woken_ns");
	TH_LOG("it took %lld ns", took);
	EXPECT_GE((20 + 500 / 40 + 5) * MS, took);
	EXPECT_TRUE(hog_running(hog));
}

/* A hog that naps gives crumbs, and takes the rest. */
TEST_F_TIMEOUT(timing, naps_are_no_remedy, PATIENCE)
{
	long long detected = stat_of(self->cpu, "detected");
	struct hog *hog;
	int fd;

	fd = kthread_start(self->cpu, "other", 0, "bound");
	ASSERT_LE(0, fd);
	hog = hog_start_napping(self->cpu, 5000, 5);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_burn(fd, FOREVER_US));
	sleep_us(100000);
	EXPECT_EQ(detected + 1, stat_of(self->cpu, "detected"));
	EXPECT_TRUE(hog_running(hog));
	ASSERT_EQ(0, kthread_command(fd, "stop"));
}

/*
 * A nap ends a boost. Whoever is boosted next is not always the one that it was:
 * a burner that has had its share is not older than who has had none.
 */
TEST_F_TIMEOUT(timing, naps_and_a_burner, PATIENCE)
{
	struct hog *hog;
	__u64 took;
	int fd;

	ASSERT_EQ(0, set("stall_monitor_awaited_us", 0));
	fd = kthread_start(self->cpu, "other", 0, "bound");
	ASSERT_LE(0, fd);
	hog = hog_start_napping(self->cpu, 2000, 5);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_burn(fd, FOREVER_US));
	sleep_us(100000);
	took = now_ns();
	ASSERT_LT(0, work_flush(self->cpu, 2000));
	took = now_ns() - took;
	TH_LOG("2 ms of CPU time took %llu ns", took);
	/* Each has half of the share, and a boost that a nap ends wastes some of it. */
	EXPECT_GE((20 + 2 * 25 * 4) * MS, (long long)took);
	EXPECT_TRUE(hog_running(hog));
	ASSERT_EQ(0, kthread_command(fd, "stop"));
}

static void burn_in_userland(int cpu)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pin(cpu);
	if (nice(-10) == -1)
		_exit(1);
	for (;;)
		;
}

/*
 * A real-time task with a fifth of the CPU, and fair tasks that take the rest:
 * who waits for long behind those is no business of the monitor's.
 */
TEST_F_TIMEOUT(timing, waiting_behind_fair_tasks, PATIENCE)
{
	long long boosts;
	struct hog *hog;
	pid_t busy[3];
	int fd, i;

	set("stall_monitor_threshold_us", 200000);
	fd = kthread_start(self->cpu, "other", 19, "bound");
	ASSERT_LE(0, fd);
	/* Nor if somebody has been rescued a moment ago */
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_LT(0, work_flush(self->cpu, 20));
	hog_stop(hog);
	for (i = 0; i < 3; i++) {
		busy[i] = fork();
		if (!busy[i])
			burn_in_userland(self->cpu);
	}
	hog = hog_start_napping(self->cpu, 2000, 8000);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_burn(fd, FOREVER_US));
	/* What the hog had taken has to be made up for, then the CPU cools down. */
	sleep_us(200000);
	boosts = stat_of(self->cpu, "boosts");
	/* It waits for longer behind the hog than the threshold, but that is not why. */
	sleep_us(1500000);
	/* With PREEMPT_RT a thread for the CPU's timers wakes up often, and keeps it warm. */
	if (!lab_rt())
		EXPECT_EQ(boosts, stat_of(self->cpu, "boosts"));
	EXPECT_GE(100 * MS, (long long)run_time_ns(kthread_get(fd, "pid")));
	EXPECT_TRUE(hog_running(hog));
	for (i = 0; i < 3; i++) {
		kill(busy[i], SIGKILL);
		waitpid(busy[i], NULL, 0);
	}
	ASSERT_EQ(0, kthread_command(fd, "stop"));
}

/* A fair task has the fair server's share: that is not what a flush has to wait for. */
TEST_F_TIMEOUT(timing, flush_beside_the_fair_server, PATIENCE)
{
	struct hog *hog;
	pid_t busy;
	__u64 took;

	if (set_fair_server(self->cpu, "runtime", 50 * MS))
		SKIP(return, "no fair_server");
	busy = fork();
	if (!busy)
		burn_in_userland(self->cpu);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	/* It helps that task for 50 ms at 950 ms, and again a second later. */
	sleep_us(1200000);
	took = now_ns();
	ASSERT_LT(0, work_flush(self->cpu, 20));
	took = now_ns() - took;
	TH_LOG("the flush took %llu ns", took);
	EXPECT_GE(30 * MS, (long long)took);
	EXPECT_TRUE(hog_running(hog));
	kill(busy, SIGKILL);
	waitpid(busy, NULL, 0);
}

/*
 * Sections that cannot be interrupted: each is one piece, and the hog has its
 * share before the next, whoever that is for.
 */

FIXTURE(piece) {
	int cpu;
};

FIXTURE_VARIANT(piece) {
	const char *disabled[3];
	bool fair_server;
	bool wakeups;		/* tasks of the CPU are woken meanwhile */
};

FIXTURE_VARIANT_ADD(piece, preemption) {
	.disabled = { "preemption" },
};

FIXTURE_VARIANT_ADD(piece, bh) {
	.disabled = { "bh" },
};

FIXTURE_VARIANT_ADD(piece, irqs) {
	.disabled = { "irqs" },
};

FIXTURE_VARIANT_ADD(piece, preemption_of_three) {
	.disabled = { "preemption", "preemption", "preemption" },
};

FIXTURE_VARIANT_ADD(piece, all) {
	.disabled = { "irqs", "preemption", "bh" },
};

/* The fair server at its defaults begins after all that is over. */
FIXTURE_VARIANT_ADD(piece, all_and_the_fair_server) {
	.disabled = { "irqs", "preemption", "bh" },
	.fair_server = true,
};

FIXTURE_VARIANT_ADD(piece, preemption_and_wakeups) {
	.disabled = { "preemption" },
	.wakeups = true,
};

FIXTURE_SETUP(piece)
{
	timing_setup(_metadata, (FIXTURE_DATA(timing) *)self, NULL);
}

FIXTURE_TEARDOWN(piece)
{
	lab_leave();
}

#define SECTION_US	2000
#define SECTION_ROUNDS	2
#define SECTION_WAKEUPS	5

/* Tasks that wake early in the section, from @ns on, one after the other */
static void sleepers_start(int cpu, __u64 ns, pid_t *pids)
{
	struct timespec at;
	int i;

	for (i = 0; i < SECTION_WAKEUPS; i++, ns += 100 * US) {
		pids[i] = fork();
		if (pids[i])
			continue;
		pin(cpu);
		at = (struct timespec) { ns / 1000000000, ns % 1000000000 };
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
		_exit(0);
	}
}

static void sleepers_stop(const pid_t *pids)
{
	int i;

	for (i = 0; i < SECTION_WAKEUPS; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
}

TEST_F_TIMEOUT(piece, paid_back, PATIENCE)
{
	struct program p = { .rounds = SECTION_ROUNDS, .burn_us = SECTION_US };
	long long share = SECTION_US * US * 25, longest = 0, least = -1, last = 0;
	int fds[3], n = 0, expected = 0, pieces = 0, i;
	__u64 soon = now_ns() + 400 * MS;
	pid_t pids[SECTION_WAKEUPS];
	struct hog *hog;

	if (variant->fair_server && set_fair_server(self->cpu, "runtime", 50 * MS))
		SKIP(return, "no fair_server");
	for (n = 0; n < 3 && variant->disabled[n]; n++) {
		fds[n] = kthread_start(self->cpu, "other", 0, "bound");
		ASSERT_LE(0, fds[n]);
	}
	if (variant->wakeups)
		sleepers_start(self->cpu, soon, pids);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	/* The section begins 20 ms after its thread is woken. */
	if (variant->wakeups) {
		ASSERT_LT(now_ns(), soon - 21 * MS);
		sleep_us((soon - now_ns()) / US - 21000);
	}
	hog_reset(hog);
	for (i = 0; i < n; i++) {
		p.disabled = variant->disabled[i];
		ASSERT_EQ(0, kthread_run(fds[i], p));
		/* With PREEMPT_RT such a section can be preempted. */
		if (!lab_rt() || strcmp(p.disabled, "bh"))
			expected += SECTION_ROUNDS;
	}
	for (i = 0; i < n; i++)
		EXPECT_EQ(0, kthread_command(fds[i], "wait"));
	EXPECT_TRUE(hog_running(hog));
	if (variant->wakeups)
		sleepers_stop(pids);
	for (i = 0; i < (int)peek(hog->nr_gaps); i++) {
		const struct gap *gap = &hog->gaps[i];

		if ((long long)gap->ns < SECTION_US * US / 2)
			continue;
		if (last && (least < 0 || (long long)gap->start_ns - last < least))
			least = gap->start_ns - last;
		if ((long long)gap->ns > longest)
			longest = gap->ns;
		last = gap->start_ns + gap->ns;
		pieces++;
	}
	TH_LOG("%d pieces, the longest %lld ns, at least %lld ns between two",
	       pieces, longest, least);
	EXPECT_EQ(expected, pieces);
	/* With the interrupts that wake them */
	if (variant->wakeups)
		longest -= SECTION_WAKEUPS * 10 * US;
	EXPECT_GE(SECTION_US * US + 100 * US, longest);
	if (expected)
		EXPECT_LE(share * 95 / 100, least);
}

/* Shorter gaps are interrupts of the threads' own timers. */
#define PIECE_NS	(6 * US)

static long long all_pieces(const struct hog *hog)
{
	long long ns = 0;
	int i;

	for (i = 0; i < (int)peek(hog->nr_gaps); i++)
		if (hog->gaps[i].ns > PIECE_NS)
			ns += hog->gaps[i].ns;
	return ns;
}

/* All sorts at once: in a second no more than the share and one overrun */
TEST_F_TIMEOUT(timing, share_of_a_second, PATIENCE)
{
	static const char * const disabled[] = { "preemption", "bh", "irqs", NULL };
	struct program p = { .rounds = 1000000, .sleep_us = 700 };
	long long lost, told;
	int fds[4], i;
	struct hog *hog;

	for (i = 0; i < 4; i++) {
		fds[i] = kthread_start(self->cpu, i % 2 ? "fifo" : "other", i % 2, "bound");
		ASSERT_LE(0, fds[i]);
	}
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	for (i = 0; i < 4; i++) {
		p.burn_us = 20 + 130 * i;
		p.disabled = disabled[i];
		ASSERT_EQ(0, kthread_run(fds[i], p));
	}
	sleep_us(100000);
	told = stat_of(self->cpu, "hog_lost_ns");
	hog_reset(hog);
	sleep_us(1000000);
	lost = all_pieces(hog);
	told = stat_of(self->cpu, "hog_lost_ns") - told;
	EXPECT_TRUE(hog_running(hog));
	TH_LOG("the hog lost %lld ns in a second, %lld ns are told of", lost, told);
	EXPECT_LE(30 * MS, lost);
	EXPECT_GE(40 * MS + 400 * US, lost);
	EXPECT_LE(told * 90 / 100, lost);
	EXPECT_GE(told * 110 / 100, lost);
	for (i = 0; i < 4; i++)
		EXPECT_EQ(0, kthread_command(fds[i], "stop"));
}

/*
 * Threads that need next to nothing, again and again: what they cost is the
 * interrupts and switches, and the bound is for those.
 */
TEST_F_TIMEOUT(timing, share_of_short_threads, PATIENCE)
{
	struct program p = { .rounds = 1000000, .burn_us = 2, .sleep_us = 60 };
	long long lost, told, boosts;
	struct hog *hog;
	int fds[4], i;

	for (i = 0; i < 4; i++) {
		fds[i] = kthread_start(self->cpu, "fifo", 1, "bound");
		ASSERT_LE(0, fds[i]);
	}
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, kthread_run(fds[i], p));
	sleep_us(100000);
	told = stat_of(self->cpu, "hog_lost_ns");
	boosts = stat_of(self->cpu, "boosts");
	hog_reset(hog);
	sleep_us(400000);
	lost = all_pieces(hog);
	told = stat_of(self->cpu, "hog_lost_ns") - told;
	boosts = stat_of(self->cpu, "boosts") - boosts;
	EXPECT_TRUE(hog_running(hog));
	EXPECT_GT(MAX_GAPS, (int)peek(hog->nr_gaps));
	TH_LOG("%lld boosts in 0.4 s, the hog lost %lld ns, %lld ns are told of",
	       boosts, lost, told);
	EXPECT_LE(400, boosts);
	/* A look at the clock is part of each gap. */
	EXPECT_GE(16 * MS + 160 * US + boosts * US, lost);
	for (i = 0; i < 4; i++)
		EXPECT_EQ(0, kthread_command(fds[i], "stop"));
}

/*
 * No debt takes longer than a second to refill: what follows a section that is
 * longer than the bound allows is late, and not lost.
 */
TEST_F_TIMEOUT(timing, debt_is_capped, PATIENCE)
{
	struct program p = { .rounds = 1, .burn_us = 80000, .disabled = "preemption" };
	long long late;
	struct hog *hog;
	int fds[2], i;

	for (i = 0; i < 2; i++) {
		fds[i] = kthread_start(self->cpu, "fifo", 1, "bound");
		ASSERT_LE(0, fds[i]);
	}
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_run(fds[0], p));
	ASSERT_EQ(0, kthread_burn(fds[1], 10));
	EXPECT_EQ(0, kthread_command(fds[1], "wait"));
	EXPECT_TRUE(hog_running(hog));
	/* The first one is preempted before it can say that it is done. */
	late = kthread_get(fds[1], "first_ns") - kthread_get(fds[0], "first_ns") - 80 * MS;
	TH_LOG("after 80 ms in one piece the next one waits for %lld ns", late);
	/* In full it would be 25 times 80 ms. */
	EXPECT_LE(990 * MS, late);
	EXPECT_GE(1005 * MS, late);
}

/* Softirqs that never end: ksoftirqd has its share until they do, and no more. */
TEST_F_TIMEOUT(timing, flooded_ksoftirqd, PATIENCE)
{
	long long lost, longest, runs;
	struct hog *hog;
	int fd;

	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	fd = flood_start(self->cpu, 20);
	ASSERT_LE(0, fd);
	/* The first ones run in the interrupt, then it is ksoftirqd's. */
	sleep_us(200000);
	runs = kthread_get(fd, "runs");
	hog_reset(hog);
	sleep_us(1000000);
	runs = kthread_get(fd, "runs") - runs;
	lost = all_pieces(hog);
	longest = peek(hog->longest_ns);
	EXPECT_TRUE(hog_running(hog));
	TH_LOG("%lld of 20 us in a second, the hog lost %lld ns, at most %lld in one piece",
	       runs, lost, longest);
	/* Ten of them are one section without preemption. */
	EXPECT_GE(200 * US + 100 * US, longest);
	EXPECT_LE(30 * MS, lost);
	EXPECT_GE(40 * MS + 400 * US, lost);
	EXPECT_LE(1000, runs);
	close(fd);
	EXPECT_TRUE(hog_running(hog));
}

/* No piece is longer than a turn. */
TEST_F_TIMEOUT(timing, runtime_longer_than_the_duration, PATIENCE)
{
	long long ran, longest;
	struct hog *hog;
	int fd, pid;

	ASSERT_EQ(0, set("stall_monitor_period_us", 1000000));
	ASSERT_EQ(0, set("stall_monitor_runtime_us", 500000));
	ASSERT_EQ(0, set("stall_monitor_duration_us", 1000));
	fd = kthread_start(self->cpu, "other", 0, "bound");
	ASSERT_LE(0, fd);
	pid = kthread_get(fd, "pid");
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	kthread_burn(fd, FOREVER_US);
	sleep_us(30000);
	hog_reset(hog);
	ran = run_time_ns(pid);
	sleep_us(100000);
	ran = run_time_ns(pid) - ran;
	longest = slice_gap(hog, 900 * US);
	TH_LOG("the pieces take %lld ns, it ran for %lld ns of 100 ms", longest, ran);
	EXPECT_LT(0, longest);
	EXPECT_TRUE(hog_running(hog));
	EXPECT_GE(1000 * US + GAP_SLACK_NS, longest);
	EXPECT_LE(45 * MS, ran);
	EXPECT_GE(50 * MS + MS, ran);
}

/* No break between the slices, until it is done */
TEST_F_TIMEOUT(timing, runtime_is_period, PATIENCE)
{
	long long took, boosts, slices;
	struct hog *hog;
	int fd;

	ASSERT_EQ(0, set("stall_monitor_runtime_us", 1000));
	fd = kthread_start(self->cpu, "fifo", 1, "bound");
	ASSERT_LE(0, fd);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	boosts = stat_of(self->cpu, "boosts");
	slices = stat_of(self->cpu, "slice_timer_fired");
	kthread_burn(fd, 15000);
	sleep_us(45000);
	EXPECT_TRUE(hog_running(hog));
	ASSERT_LT(0, kthread_get(fd, "end_ns"));
	took = kthread_get(fd, "end_ns") - kthread_get(fd, "first_ns");
	TH_LOG("15 ms took %lld ns", took);
	EXPECT_LE(15 * MS, took);
	EXPECT_GE(16 * MS, took);
	/* With PREEMPT_RT there are the threads of timers and RCU besides. */
	boosts = stat_of(self->cpu, "boosts") - boosts;
	EXPECT_LE(1, boosts);
	EXPECT_GE(lab_rt() ? 3 : 1, boosts);
	EXPECT_LE(slices + 14, stat_of(self->cpu, "slice_timer_fired"));
}

/* Also then a turn ends when others wait. */
TEST_F_TIMEOUT(timing, turns_when_runtime_is_period, PATIENCE)
{
	struct hog *hog;
	int fds[2], i;

	ASSERT_EQ(0, set("stall_monitor_runtime_us", 1000));
	ASSERT_EQ(0, set("stall_monitor_duration_us", 10000));
	for (i = 0; i < 2; i++) {
		fds[i] = kthread_start(self->cpu, "fifo", 1, "bound");
		ASSERT_LE(0, fds[i]);
	}
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, kthread_burn(fds[i], FOREVER_US));
	sleep_us(60000);
	for (i = 0; i < 2; i++)
		EXPECT_LT(0, kthread_get(fds[i], "first_ns"));
	EXPECT_TRUE(hog_running(hog));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, kthread_command(fds[i], "stop"));
}

#define MANY	12

/* One follows the other without a switch to the hog: still it is one piece. */
TEST_F_TIMEOUT(timing, piece_of_many, PATIENCE)
{
	struct hog *hog;
	int fds[MANY], i;
	long long piece;

	ASSERT_EQ(0, set("stall_monitor_runtime_us", 500));
	for (i = 0; i < MANY; i++) {
		fds[i] = kthread_start(self->cpu, "fifo", 1, "bound");
		ASSERT_LE(0, fds[i]);
	}
	cool_down();
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	hog_reset(hog);
	for (i = 0; i < MANY; i++)
		ASSERT_EQ(0, kthread_burn(fds[i], 100));
	for (i = 0; i < MANY; i++)
		EXPECT_EQ(0, kthread_command(fds[i], "wait"));
	EXPECT_TRUE(hog_running(hog));
	piece = peek(hog->longest_ns);
	TH_LOG("longest piece: %lld ns", piece);
	EXPECT_LT(400000, piece);
	/* With PREEMPT_RT the switches take longer. */
	EXPECT_GE(500000 + GAP_SLACK_NS + (lab_rt() ? 2 * US : 0), piece);
}

FIXTURE(slices) {
	int cpu;
};

FIXTURE_VARIANT(slices) {
	long long runtime_us;
	long long period_us;
	long long duration_us;
};

FIXTURE_VARIANT_ADD(slices, defaults) {
	.runtime_us = 50, .period_us = 1000, .duration_us = 10000,
};

FIXTURE_VARIANT_ADD(slices, smallest) {
	.runtime_us = 10, .period_us = 100, .duration_us = 1000,
};

FIXTURE_VARIANT_ADD(slices, large) {
	.runtime_us = 500, .period_us = 2000, .duration_us = 20000,
};

FIXTURE_SETUP(slices)
{
	timing_setup(_metadata, (FIXTURE_DATA(timing) *)self, NULL);
}

FIXTURE_TEARDOWN(slices)
{
	lab_leave();
}

static struct event events[MAX_EVENTS];

/* A switch to the pid, or away from it, on the CPU */
static bool switches_in(const struct event *e, int cpu, int pid)
{
	return e->cpu == cpu && !strcmp(e->name, "sched_switch") &&
	       event_number(e, "next_pid") == pid;
}

static bool switches_out(const struct event *e, int cpu, int pid)
{
	return e->cpu == cpu && !strcmp(e->name, "sched_switch") &&
	       event_number(e, "prev_pid") == pid;
}

/*
 * Two victims that never have enough: turns of the duration, and in each a slice
 * a period, none longer than the runtime.
 */
TEST_F_TIMEOUT(slices, kept, PATIENCE)
{
	long long runtime = variant->runtime_us, period = variant->period_us;
	long long duration = variant->duration_us, threshold = 10000;
	long long in = 0, last_in = 0, start = 0, first = 0, longest = 0;
	long long gap, run_ns, every, most;
	int fds[2], pids[2], i, n, slices = 0, turns = 0, late = 0, last = -1, over = 0;
	struct hog *hog;

	/* The order that keeps the runtime within the period all the time */
	set("stall_monitor_runtime_us", 10);
	ASSERT_EQ(0, set("stall_monitor_period_us", period));
	ASSERT_EQ(0, set("stall_monitor_runtime_us", runtime));
	ASSERT_EQ(0, set("stall_monitor_duration_us", duration));
	ASSERT_EQ(0, set("stall_monitor_threshold_us", threshold));
	/* What there is beside the runtime is charged, and refilled, too. */
	every = period + SWITCH_NS * period / runtime / US;
	most = period + (SWITCH_NS + SLICE_SLACK_NS) * period / runtime / US;

	for (i = 0; i < 2; i++) {
		fds[i] = kthread_start(self->cpu, i ? "fifo" : "other", i, "bound");
		ASSERT_LE(0, fds[i]);
		pids[i] = kthread_get(fds[i], "pid");
	}
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	use_up_the_reports(self->cpu);
	for (i = 0; i < 2; i++)
		kthread_burn(fds[i], FOREVER_US);
	sleep_us(threshold / 2);
	/* What the hog sees of three turns; and again, with the trace's cost */
	hog_reset(hog);
	sleep_us(threshold + 3 * duration);
	gap = slice_gap(hog, runtime * US * 9 / 10);
	ASSERT_EQ(0, trace_start(TRACE_BOOSTS " sched:sched_switch"));
	sleep_us(5 * (duration + period));
	n = trace_stop(events, MAX_EVENTS);
	ASSERT_TRUE(hog_running(hog));

	for (i = 0; i < n && turns < 3; i++) {
		const struct event *e = &events[i];
		int who = event_number(e, "pid") == pids[1];

		if (e->cpu != self->cpu && strncmp(e->name, "stall", 5))
			continue;
		if (switches_in(e, self->cpu, pids[0]) || switches_in(e, self->cpu, pids[1])) {
			in = e->us;
			/* A slice a period, each in its place */
			if (slices && in - last_in > most + most / 4)
				late++;
			if (!slices)
				first = in;
			last_in = in;
			slices++;
		} else if ((switches_out(e, self->cpu, pids[0]) ||
			    switches_out(e, self->cpu, pids[1])) && in) {
			if ((long long)e->us - in > longest)
				longest = e->us - in;
			/* The trace counts in whole microseconds. */
			over += (long long)e->us - in > runtime + GAP_SLACK_NS / US + 1;
		} else if (!strcmp(e->name, "stall_boost_start")) {
			start = e->us;
			slices = 0;
			/* One after the other */
			EXPECT_NE(last, who);
			last = who;
		} else if (!strcmp(e->name, "stall_boost_end") && start) {
			turns++;
			run_ns = event_number(e, "run_ns");
			TH_LOG("turn of %lld us: %d slices, %lld ns",
			       e->us - start, slices, run_ns);
			EXPECT_TRUE(event_has(e, "reason=duration"));
			EXPECT_LE(duration - most, (long long)e->us - start);
			/* It begins with the first slice, for which there may be debts. */
			EXPECT_GE(duration + most, (long long)e->us - first);
			EXPECT_GE(duration + 2 * most, (long long)e->us - start);
			EXPECT_LE(duration / most - 1, slices);
			EXPECT_GE(duration / every + 2, slices);
			EXPECT_EQ(slices, event_number(e, "slices"));
			/* It gets what it was promised: at least nine tenths of it. */
			EXPECT_LE((duration / most - 1) * runtime * 900, run_ns);
		}
	}
	EXPECT_EQ(3, turns);
	EXPECT_EQ(0, late);
	TH_LOG("longest slice %lld us, the hog's gaps %lld ns", longest, gap);
	/* With PREEMPT_RT other CPUs have more to do, and one of their turns may be in it. */
	EXPECT_GE(lab_rt() ? 1 : 0, over);
	EXPECT_LT(0, gap);
	EXPECT_GE(runtime * US + GAP_SLACK_NS, gap);
}

/* Timer interrupts of the CPU during so many milliseconds */
static long long interrupts_in(int cpu, unsigned int ms)
{
	long long before = timer_interrupts(cpu);

	sleep_us(ms * 1000ULL);
	return timer_interrupts(cpu) - before;
}

static bool watched(int cpu)
{
	char state[16] = "off";

	return !state_of(cpu, state, sizeof(state)) && strcmp(state, "off");
}

/* A hog and nothing else: as with the monitor off, where it is 0 */
TEST_F_TIMEOUT(timing, no_interrupt_when_nothing_starves, PATIENCE)
{
	long long off, on, fired;
	struct hog *hog;

	if (!cpu_in(self->cpu, "nohz_full"))
		SKIP(return, "CPU %d is not in nohz_full=", self->cpu);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	sleep_us(100000);
	set("stall_monitor", 0);
	off = interrupts_in(self->cpu, 500);
	ASSERT_EQ(0, set("stall_monitor", 1));
	EXPECT_TRUE(watched(self->cpu));
	sleep_us(10000);
	fired = stat_of(self->cpu, "timer_fired");
	on = interrupts_in(self->cpu, 500);
	TH_LOG("timer interrupts: off %lld, on %lld", off, on);
	EXPECT_EQ(off, on);
	EXPECT_LE(on, 1);
	EXPECT_EQ(fired, stat_of(self->cpu, "timer_fired"));
	EXPECT_TRUE(hog_running(hog));
}

static void spin_ms(unsigned int ms)
{
	__u64 end = now_ns() + ms * MS;

	while (now_ns() < end)
		relax();
}

/* Woken from another isolated CPU: the timer is not for that one, either. */
TEST_F_TIMEOUT(timing, timer_is_elsewhere, PATIENCE)
{
	int cpus[MAX_CPUS], n = lab_cpus(cpus), other = -1, fd, i;
	long long before, after, fired;
	struct hog *hog;

	for (i = 0; i < n; i++)
		if (cpus[i] != self->cpu && cpu_in(cpus[i], "nohz_full"))
			other = cpus[i];
	if (other < 0)
		SKIP(return, "one CPU in nohz_full= has no other to wake it");
	fd = kthread_start(self->cpu, "other", 0, "bound");
	ASSERT_LE(0, fd);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	cool_down();
	fired = stat_of(self->cpu, "timer_fired");
	pin(other);
	spin_ms(100);
	before = timer_interrupts(other);
	spin_ms(30);
	before = timer_interrupts(other) - before;
	kthread_burn(fd, 10);
	after = timer_interrupts(other);
	spin_ms(30);
	after = timer_interrupts(other) - after;
	pin(0);
	TH_LOG("timer interrupts of the waker: before %lld, after %lld", before, after);
	EXPECT_LT(0, kthread_get(fd, "end_ns"));
	EXPECT_LT(fired, stat_of(self->cpu, "timer_fired"));
	EXPECT_EQ(before, after);
	EXPECT_TRUE(hog_running(hog));
}

/* Where this task runs, and whether it is the hog there */
static void be_the_hog(int cpu, bool yes)
{
	struct sched_param param = { .sched_priority = yes ? HOG_PRIO : 0 };

	pin(cpu);
	sched_setscheduler(0, yes ? SCHED_FIFO : SCHED_OTHER, &param);
}

/* Timer interrupts of the CPU that this task spins on */
static long long interrupts_while_spinning(int cpu, unsigned int ms)
{
	long long before = timer_interrupts(cpu);

	spin_ms(ms);
	return timer_interrupts(cpu) - before;
}

#define WAKEUPS		5

/*
 * CPU 0 is taken, the others are not, though it was a real-time kthread that ran
 * there last: one of them has the timer.  The wakeups are on the hog's CPU, so that
 * it is asked for one.
 */
TEST_F_TIMEOUT(timing, timer_is_on_an_idle_cpu, PATIENCE)
{
	int cpus[MAX_CPUS], n = lab_cpus(cpus), last[MAX_CPUS], nr_last = 0;
	long long before = 0, after = 0, fired;
	int fds[WAKEUPS], fd, i, j;
	struct hog *hog;

	if (!cpu_in(self->cpu, "nohz_full"))
		SKIP(return, "CPU %d is not in nohz_full=", self->cpu);
	if (n < 2)
		SKIP(return, "needs three CPUs");
	/* A boost may have an interrupt of its own. */
	ASSERT_EQ(0, set("stall_monitor", 2));
	for (i = 0; i < WAKEUPS; i++) {
		fds[i] = kthread_start(self->cpu, "fifo", 1, "bound");
		ASSERT_LE(0, fds[i]);
	}
	for (i = 0; i < n; i++) {
		if (cpus[i] == self->cpu)
			continue;
		last[nr_last] = kthread_start(cpus[i], "fifo", 1, "bound");
		ASSERT_LE(0, last[nr_last++]);
	}
	fd = kthread_start(0, "other", 0, "bound");
	ASSERT_LE(0, fd);
	be_the_hog(self->cpu, true);
	hog = hog_start(0);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_burn(fd, 10));
	spin_ms(100);
	fired = stat_of(self->cpu, "timer_fired");
	for (i = 0; i < WAKEUPS; i++) {
		before += interrupts_while_spinning(self->cpu, 30);
		for (j = 0; j < nr_last; j++)
			ASSERT_EQ(0, kthread_burn(last[j], 10));
		spin_ms(1);
		ASSERT_EQ(0, kthread_burn(fds[i], 10));
		after += interrupts_while_spinning(self->cpu, 30);
	}
	fired = stat_of(self->cpu, "timer_fired") - fired;
	EXPECT_LT(0, stat_of(0, "waiting"));
	EXPECT_TRUE(hog_running(hog));
	hog_stop(hog);
	be_the_hog(0, false);
	TH_LOG("timer interrupts: before %lld, after %lld", before, after);
	EXPECT_LE(WAKEUPS, fired);
	EXPECT_EQ(before, after);
}

/* All the others are taken: one of them has the timer nevertheless. */
TEST_F_TIMEOUT(timing, timer_is_on_a_taken_cpu, PATIENCE)
{
	int cpus[MAX_CPUS], n = lab_cpus(cpus), fds[WAKEUPS], fd, i, nr_hogs = 0;
	long long before = 0, after = 0, fired;
	struct hog *hogs[MAX_CPUS];

	if (!cpu_in(self->cpu, "nohz_full"))
		SKIP(return, "CPU %d is not in nohz_full=", self->cpu);
	ASSERT_EQ(0, set("stall_monitor", 2));
	for (i = 0; i < WAKEUPS; i++) {
		fds[i] = kthread_start(self->cpu, "fifo", 1, "bound");
		ASSERT_LE(0, fds[i]);
	}
	be_the_hog(self->cpu, true);
	cpus[n++] = 0;
	for (i = 0; i < n; i++) {
		if (cpus[i] == self->cpu)
			continue;
		fd = kthread_start(cpus[i], "other", 0, "bound");
		ASSERT_LE(0, fd);
		hogs[nr_hogs] = hog_start(cpus[i]);
		ASSERT_NE(NULL, hogs[nr_hogs++]);
		ASSERT_EQ(0, kthread_burn(fd, 10));
	}
	spin_ms(100);
	fired = stat_of(self->cpu, "timer_fired");
	for (i = 0; i < WAKEUPS; i++) {
		before += interrupts_while_spinning(self->cpu, 30);
		ASSERT_EQ(0, kthread_burn(fds[i], 10));
		after += interrupts_while_spinning(self->cpu, 30);
	}
	fired = stat_of(self->cpu, "timer_fired") - fired;
	for (i = 0; i < nr_hogs; i++) {
		EXPECT_TRUE(hog_running(hogs[i]));
		hog_stop(hogs[i]);
	}
	be_the_hog(0, false);
	TH_LOG("timer interrupts: before %lld, after %lld", before, after);
	EXPECT_LE(WAKEUPS, fired);
	EXPECT_EQ(before, after);
}

/* All others were taken when they were watched last, and are idle now. */
TEST_F_TIMEOUT(timing, timer_is_on_a_cpu_that_is_not_watched, PATIENCE)
{
	int cpus[MAX_CPUS], n = lab_cpus(cpus), fds[MAX_CPUS], fd, i;
	struct hog *hogs[MAX_CPUS];
	long long before, after, fired;

	if (!cpu_in(self->cpu, "nohz_full"))
		SKIP(return, "CPU %d is not in nohz_full=", self->cpu);
	ASSERT_EQ(0, set("stall_monitor", 2));
	fd = kthread_start(self->cpu, "fifo", 1, "bound");
	ASSERT_LE(0, fd);
	/* And CPU 0, instead of the hog's */
	for (i = 0; i < n; i++) {
		if (cpus[i] == self->cpu)
			cpus[i] = 0;
		fds[i] = kthread_start(cpus[i], "other", 0, "bound");
		ASSERT_LE(0, fds[i]);
	}
	be_the_hog(self->cpu, true);
	for (i = 0; i < n; i++) {
		hogs[i] = hog_start(cpus[i]);
		ASSERT_NE(NULL, hogs[i]);
		ASSERT_EQ(0, kthread_burn(fds[i], 10));
		EXPECT_TRUE(wait_until(100, stat_of(cpus[i], "waiting") > 0));
	}
	ASSERT_EQ(0, put(SYSCTL "stall_monitor_cpus", "%d\n", self->cpu));
	for (i = 0; i < n; i++) {
		EXPECT_TRUE(hog_running(hogs[i]));
		EXPECT_FALSE(watched(cpus[i]));
		hog_stop(hogs[i]);
	}
	spin_ms(100);
	fired = stat_of(self->cpu, "timer_fired");
	before = interrupts_while_spinning(self->cpu, 30);
	ASSERT_EQ(0, kthread_burn(fd, 10));
	after = interrupts_while_spinning(self->cpu, 30);
	fired = stat_of(self->cpu, "timer_fired") - fired;
	be_the_hog(0, false);
	TH_LOG("timer interrupts: before %lld, after %lld", before, after);
	EXPECT_LT(0, fired);
	EXPECT_EQ(before, after);
}

/* The tick goes off again after a rescue, and after a boost of full length. */
TEST_F_TIMEOUT(timing, tick_off_after_a_rescue, PATIENCE)
{
	long long before, after, boosts;
	struct hog *hog;
	int fd;

	if (!cpu_in(self->cpu, "nohz_full"))
		SKIP(return, "CPU %d is not in nohz_full=", self->cpu);
	fd = kthread_start(self->cpu, "other", 0, "bound");
	ASSERT_LE(0, fd);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	sleep_us(100000);
	before = interrupts_in(self->cpu, 500);
	boosts = stat_of(self->cpu, "boosts");
	kthread_burn(fd, 10);
	sleep_us(40000);
	EXPECT_LT(0, kthread_get(fd, "end_ns"));
	EXPECT_LT(boosts, stat_of(self->cpu, "boosts"));
	after = interrupts_in(self->cpu, 500);
	TH_LOG("timer interrupts: before %lld, after %lld", before, after);
	EXPECT_EQ(before, after);

	/* 500 us: more than a slice, less than a boost, then it sleeps */
	boosts = stat_of(self->cpu, "boosts");
	kthread_burn(fd, 200);
	sleep_us(40000);
	EXPECT_LT(0, kthread_get(fd, "end_ns"));
	EXPECT_LT(boosts, stat_of(self->cpu, "boosts"));
	after = interrupts_in(self->cpu, 500);
	TH_LOG("timer interrupts: after slices %lld", after);
	EXPECT_EQ(before, after);
	EXPECT_TRUE(hog_running(hog));
}

/* A slice a period, and one interrupt a slice: the tick is off all the while. */
TEST_F_TIMEOUT(timing, tick_off_while_boosting, PATIENCE)
{
	long long fired, interrupts;
	struct hog *hog;
	int fds[2], i;

	if (!cpu_in(self->cpu, "nohz_full"))
		SKIP(return, "CPU %d is not in nohz_full=", self->cpu);
	/* Two fair threads: no hrtick either */
	for (i = 0; i < 2; i++) {
		fds[i] = kthread_start(self->cpu, "other", i, "bound");
		ASSERT_LE(0, fds[i]);
	}
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	for (i = 0; i < 2; i++)
		kthread_burn(fds[i], FOREVER_US);
	sleep_us(40000);
	ASSERT_LT(0, kthread_get(fds[0], "first_ns"));
	fired = stat_of(self->cpu, "slice_timer_fired");
	interrupts = interrupts_in(self->cpu, 500);
	fired = stat_of(self->cpu, "slice_timer_fired") - fired;
	TH_LOG("timer interrupts: %lld, for %lld slices", interrupts, fired);
	EXPECT_LT(350, fired);
	EXPECT_GE(505, fired);
	EXPECT_GE(fired + 3, interrupts);
	EXPECT_TRUE(hog_running(hog));
}

/*
 * A wait that was over before the threshold: the timer may fire once more, but
 * not on this CPU, and nobody is disturbed.
 */
TEST_F_TIMEOUT(timing, short_wait_leaves_no_timer, PATIENCE)
{
	struct hog_plan plan = {
		.prio = HOG_PRIO, .ms = HOG_MS, .naps = 1,
		.run_us = 60000, .sleep_us = 2000,
	};
	long long fired, interrupts, detected;
	struct hog *hog;
	int fd;

	if (!cpu_in(self->cpu, "nohz_full"))
		SKIP(return, "CPU %d is not in nohz_full=", self->cpu);
	set("stall_monitor_threshold_us", 200000);
	fd = kthread_start(self->cpu, "other", 0, "bound");
	ASSERT_LE(0, fd);
	plan.cpu = self->cpu;
	hog = hog_start_plan(&plan);
	ASSERT_NE(NULL, hog);
	kthread_burn(fd, 10);
	sleep_us(10000);
	/* It does wait, and is seen to. */
	EXPECT_EQ(1, stat_of(self->cpu, "waiting"));
	ASSERT_TRUE(wait_until(200, peek(hog->phase) == 1));
	sleep_us(20000);
	EXPECT_LT(0, kthread_get(fd, "end_ns"));
	fired = stat_of(self->cpu, "timer_fired");
	detected = stat_of(self->cpu, "detected");
	interrupts = interrupts_in(self->cpu, 500);
	TH_LOG("timer interrupts: %lld", interrupts);
	EXPECT_GE(1, interrupts);
	EXPECT_LE(fired, stat_of(self->cpu, "timer_fired"));
	EXPECT_GE(fired + 1, stat_of(self->cpu, "timer_fired"));
	EXPECT_EQ(detected, stat_of(self->cpu, "detected"));
	EXPECT_TRUE(hog_running(hog));
}

/* A real deadline task */

struct periodic {
	bool stop;
	bool refused;
	unsigned int jobs;
	unsigned int missed;
	__u64 worst_ns;
};

static void spin_for(__u64 ns)
{
	struct timespec ts;
	__u64 now, end;

	/* By its own CPU time: preemption must not make the job shorter. */
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	end = ts.tv_sec * 1000000000ULL + ts.tv_nsec + ns;
	do {
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
		now = ts.tv_sec * 1000000000ULL + ts.tv_nsec;
	} while (now < end);
}

static void sleep_until(__u64 ns)
{
	struct timespec ts = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

/* A job a period, of two thirds of the runtime; done by the deadline? */
static void deadline_task(struct periodic *p, int cpu, const struct deadline *deadline)
{
	__u64 release, took;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pin(cpu);
	if (set_deadline(0, *deadline)) {
		poke(p->refused, true);
		_exit(1);
	}
	release = now_ns() + deadline->period;
	while (!peek(p->stop)) {
		sleep_until(release);
		spin_for(deadline->runtime * 2 / 3);
		took = now_ns() - release;
		if (took > deadline->deadline)
			p->missed++;
		if (took > p->worst_ns)
			p->worst_ns = took;
		poke(p->jobs, p->jobs + 1);
		release += deadline->period;
	}
	_exit(0);
}

static struct periodic *deadline_start(int cpu, const struct deadline *deadline, pid_t *pid)
{
	struct periodic *p;

	p = mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	*pid = fork();
	if (!*pid)
		deadline_task(p, cpu, deadline);
	wait_until(1000, peek(p->refused) || peek(p->jobs) > 2);
	return p;
}

FIXTURE(deadline) {
	int cpu;
};

FIXTURE_VARIANT(deadline) {
	long long runtime_us;
	long long deadline_us;
	long long period_us;
};

FIXTURE_VARIANT_ADD(deadline, us_200_of_1000) {
	.runtime_us = 200, .deadline_us = 1000, .period_us = 1000,
};

FIXTURE_VARIANT_ADD(deadline, us_500_of_2000) {
	.runtime_us = 500, .deadline_us = 2000, .period_us = 2000,
};

/* Its deadline is earlier than any of the stall server's. */
FIXTURE_VARIANT_ADD(deadline, us_200_by_400) {
	.runtime_us = 200, .deadline_us = 400, .period_us = 2000,
};

/* And later: it is preempted by the slices. */
FIXTURE_VARIANT_ADD(deadline, us_3000_of_5000) {
	.runtime_us = 3000, .deadline_us = 5000, .period_us = 5000,
};

FIXTURE_SETUP(deadline)
{
	timing_setup(_metadata, (FIXTURE_DATA(timing) *)self, NULL);
}

FIXTURE_TEARDOWN(deadline)
{
	lab_leave();
}

TEST_F_TIMEOUT(deadline, met, PATIENCE)
{
	struct deadline deadline = {
		.runtime = variant->runtime_us * US,
		.deadline = variant->deadline_us * US,
		.period = variant->period_us * US,
	};
	long long ran, worst, missed, jobs;
	struct periodic *p;
	struct hog *hog;
	pid_t task;
	int fd, pid;

	set("stall_monitor_threshold_us", 10000);
	fd = kthread_start(self->cpu, "other", 0, "bound");
	ASSERT_LE(0, fd);
	p = deadline_start(self->cpu, &deadline, &task);
	ASSERT_NE(NULL, p);
	if (peek(p->refused))
		SKIP(return, "no deadline task on CPU %d alone", self->cpu);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);

	sleep_us(100000);
	jobs = peek(p->jobs);
	missed = peek(p->missed);
	worst = peek(p->worst_ns);
	TH_LOG("without boosts: %lld jobs, %lld missed, worst %lld ns", jobs, missed, worst);
	EXPECT_EQ(0, missed);

	pid = kthread_get(fd, "pid");
	ran = run_time_ns(pid);
	kthread_burn(fd, FOREVER_US);
	sleep_us(100000);
	jobs = peek(p->jobs) - jobs;
	missed = peek(p->missed) - missed;
	worst = peek(p->worst_ns);
	TH_LOG("with boosts: %lld jobs, %lld missed, worst %lld ns", jobs, missed, worst);
	EXPECT_EQ(0, missed);
	/* Most of its share of the 90 ms after the threshold */
	ran = run_time_ns(pid) - ran;
	TH_LOG("the kthread ran for %lld ns", ran);
	EXPECT_LE(2500 * US, ran);
	EXPECT_TRUE(hog_running(hog));
	poke(p->stop, true);
	waitpid(task, NULL, 0);
}

TEST_HARNESS_MAIN
