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

/* How much longer than the runtime the kthread may run */
#define SLICE_SLACK_NS	(5 * US)

/* And the hog be gone: interrupts, the switch there and the switch back */
#define GAP_SLACK_NS	(10 * US)

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

	kthread_burn(fifo, 10);
	sleep_us(variant->us + 5000);
	EXPECT_TRUE(hog_running(hog));
	ASSERT_LT(0, kthread_get(fifo, "end_ns"));
	waited = kthread_get(fifo, "first_ns") - kthread_get(fifo, "woken_ns");
	TH_LOG("threshold %lld us: FIFO 1 waited %lld ns", variant->us, waited);
	EXPECT_LE(variant->us * US, waited);
	EXPECT_GE(variant->us * US + MS, waited);
}

/* Each as fast as one alone */
TEST_F_TIMEOUT(timing, several_cpus, PATIENCE)
{
	struct hog *hogs[MAX_CPUS];
	int cpus[MAX_CPUS], fds[MAX_CPUS], n = lab_cpus(cpus), i;
	long long waited;

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
	}
	for (i = 0; i < n; i++)
		kthread_burn(fds[i], 10);
	sleep_us(30000);
	for (i = 0; i < n; i++) {
		EXPECT_TRUE(hog_running(hogs[i]));
		ASSERT_LT(0, kthread_get(fds[i], "end_ns"));
		waited = kthread_get(fds[i], "first_ns") - kthread_get(fds[i], "woken_ns");
		TH_LOG("CPU %d: waited %lld ns", cpus[i], waited);
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
	for (i = 0; i < 12; i++)
		work_flush(cpu, 1);
	set("stall_monitor_threshold_us", threshold);
}

/* A rescue takes from the hog what the kthread needs, and little more. */
TEST_F_TIMEOUT(timing, loss_of_a_rescue, PATIENCE)
{
	long long lost, ran, longest;
	struct hog *hog;
	int fd, pid;

	fd = kthread_start(self->cpu, "fifo", 1, "bound");
	ASSERT_LE(0, fd);
	pid = kthread_get(fd, "pid");
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	use_up_the_reports(self->cpu);
	ran = run_time_ns(pid);
	lost = run_delay_ns(hog->pid);
	kthread_burn(fd, 10);
	sleep_us(10000);
	hog_reset(hog);
	sleep_us(30000);
	longest = peek(hog->longest_ns);
	EXPECT_TRUE(hog_running(hog));
	ASSERT_LT(0, kthread_get(fd, "end_ns"));
	ran = run_time_ns(pid) - ran;
	lost = run_delay_ns(hog->pid) - lost;
	TH_LOG("the kthread ran for %lld ns, the hog waited %lld ns, its longest gap %lld ns",
	       ran, lost, longest);
	EXPECT_LT(0, ran);
	EXPECT_GE(ran + 15 * US, lost);
	EXPECT_GE(50 * US, longest);
}

/* No break between the slices: nothing else than a boost of full length */
TEST_F_TIMEOUT(timing, runtime_is_period, PATIENCE)
{
	long long ran, boosts;
	struct hog *hog;
	int fd, pid;

	ASSERT_EQ(0, set("stall_monitor_runtime_us", 1000));
	fd = kthread_start(self->cpu, "fifo", 1, "bound");
	ASSERT_LE(0, fd);
	pid = kthread_get(fd, "pid");
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ran = run_time_ns(pid);
	boosts = stat_of(self->cpu, "boosts");
	kthread_burn(fd, FOREVER_US);
	/* One boost of 10 ms after 20 ms, and not yet another */
	sleep_us(45000);
	EXPECT_TRUE(hog_running(hog));
	ran = run_time_ns(pid) - ran;
	TH_LOG("the kthread ran for %lld ns", ran);
	EXPECT_LE(9 * MS, ran);
	EXPECT_GE(11 * MS, ran);
	EXPECT_EQ(boosts + 1, stat_of(self->cpu, "boosts"));
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
	.runtime_us = 30, .period_us = 750, .duration_us = 10000,
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
 * The victim never has enough: boosts of full length, and in each a slice a
 * period, none longer than the runtime.
 */
TEST_F_TIMEOUT(slices, kept, PATIENCE)
{
	long long runtime = variant->runtime_us, period = variant->period_us;
	long long duration = variant->duration_us, threshold = 10000;
	long long in = 0, last_in = 0, start = 0, end = 0, longest = 0, gap, run_ns;
	int fd, pid, i, n, slices = 0, boosts = 0, late = 0;
	int per_boost = duration / period;
	struct hog *hog;

	/* The order that keeps the runtime within the period all the time */
	set("stall_monitor_runtime_us", 10);
	ASSERT_EQ(0, set("stall_monitor_period_us", period));
	ASSERT_EQ(0, set("stall_monitor_runtime_us", runtime));
	ASSERT_EQ(0, set("stall_monitor_duration_us", duration));
	ASSERT_EQ(0, set("stall_monitor_threshold_us", threshold));

	fd = kthread_start(self->cpu, "other", 0, "bound");
	ASSERT_LE(0, fd);
	pid = kthread_get(fd, "pid");
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	use_up_the_reports(self->cpu);
	kthread_burn(fd, FOREVER_US);
	sleep_us(threshold / 2);
	/* What the hog sees of three boosts; and again, with the trace's cost */
	hog_reset(hog);
	sleep_us(3 * (threshold + duration));
	gap = slice_gap(hog, runtime * US);
	ASSERT_EQ(0, trace_start("stall_monitor sched:sched_switch"));
	sleep_us(4 * (threshold + duration));
	n = trace_stop(events, MAX_EVENTS);
	ASSERT_TRUE(hog_running(hog));

	for (i = 0; i < n && boosts < 3; i++) {
		const struct event *e = &events[i];

		if (e->cpu != self->cpu)
			continue;
		if (switches_in(e, self->cpu, pid)) {
			in = e->us;
			/* A slice a period, each in its place */
			if (slices && in - last_in > period + period / 4)
				late++;
			last_in = in;
			slices++;
		} else if (switches_out(e, self->cpu, pid) && in) {
			if ((long long)e->us - in > longest)
				longest = e->us - in;
		} else if (event_number(e, "pid") != pid) {
			continue;
		} else if (!strcmp(e->name, "stall_boost_start")) {
			start = e->us;
			slices = 0;
			EXPECT_LE(threshold * US, event_number(e, "wait_ns"));
			/* Not twice in a row without waiting in between */
			if (end) {
				EXPECT_LE(threshold - 10, start - end);
				EXPECT_GE(threshold + 1000, start - end);
			}
		} else if (!strcmp(e->name, "stall_boost_end")) {
			end = e->us;
			if (!start)
				continue;
			boosts++;
			run_ns = event_number(e, "run_ns");
			TH_LOG("boost of %lld us: %d slices, %lld ns",
			       end - start, slices, run_ns);
			EXPECT_TRUE(event_has(e, "reason=duration"));
			EXPECT_LE(duration - period, end - start);
			EXPECT_GE(duration + period, end - start);
			EXPECT_LE(per_boost - 1, slices);
			EXPECT_GE(per_boost + 1, slices);
			EXPECT_EQ(slices, event_number(e, "slices"));
			/* It gets what it was promised: at least nine tenths of it. */
			EXPECT_LE((per_boost - 1) * runtime * 900, run_ns);
			EXPECT_GE((per_boost + 1) * (runtime * US + SLICE_SLACK_NS), run_ns);
		}
	}
	EXPECT_EQ(3, boosts);
	EXPECT_EQ(0, late);
	TH_LOG("longest slice %lld us, the hog's gaps %lld ns", longest, gap);
	/* The trace counts in whole microseconds. */
	EXPECT_GE(runtime + SLICE_SLACK_NS / US + 1, longest);
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

/*
 * While a kthread that cannot be rescued in one boost waits for the next, the
 * tick is off too: a boost that ended by its duration leaves no server behind.
 */
TEST_F_TIMEOUT(timing, tick_off_between_boosts, PATIENCE)
{
	long long fired, interrupts;
	struct hog *hog;
	int fd;

	if (!cpu_in(self->cpu, "nohz_full"))
		SKIP(return, "CPU %d is not in nohz_full=", self->cpu);
	set("stall_monitor_duration_us", 5000);
	fd = kthread_start(self->cpu, "fifo", 1, "bound");
	ASSERT_LE(0, fd);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	kthread_burn(fd, FOREVER_US);
	sleep_us(30000);
	ASSERT_LT(0, kthread_get(fd, "first_ns"));
	set("stall_monitor_threshold_us", 1000000);
	sleep_us(50000);
	fired = stat_of(self->cpu, "timer_fired");
	interrupts = interrupts_in(self->cpu, 500);
	TH_LOG("timer interrupts: %lld", interrupts);
	EXPECT_GE(1, interrupts);
	EXPECT_EQ(fired, stat_of(self->cpu, "timer_fired"));
	EXPECT_EQ(-1, boosted_pid(self->cpu));
	EXPECT_TRUE(hog_running(hog));
}

/* A wait that was over before the threshold leaves no timer behind. */
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
	EXPECT_EQ(fired, stat_of(self->cpu, "timer_fired"));
	EXPECT_EQ(detected, stat_of(self->cpu, "detected"));
	EXPECT_TRUE(hog_running(hog));
}

/* A real deadline task */

#ifndef SCHED_DEADLINE
#define SCHED_DEADLINE	6
#endif

struct deadline_attr {
	__u32 size;
	__u32 policy;
	__u64 flags;
	__s32 nice;
	__u32 priority;
	__u64 runtime;
	__u64 deadline;
	__u64 period;
};

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
static void deadline_task(struct periodic *p, int cpu, const struct deadline_attr *attr)
{
	__u64 release, took;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pin(cpu);
	if (syscall(SYS_sched_setattr, 0, attr, 0)) {
		poke(p->refused, true);
		_exit(1);
	}
	release = now_ns() + attr->period;
	while (!peek(p->stop)) {
		sleep_until(release);
		spin_for(attr->runtime * 2 / 3);
		took = now_ns() - release;
		if (took > attr->deadline)
			p->missed++;
		if (took > p->worst_ns)
			p->worst_ns = took;
		poke(p->jobs, p->jobs + 1);
		release += attr->period;
	}
	_exit(0);
}

static struct periodic *deadline_start(int cpu, const struct deadline_attr *attr, pid_t *pid)
{
	struct periodic *p;

	p = mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	*pid = fork();
	if (!*pid)
		deadline_task(p, cpu, attr);
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
	struct deadline_attr attr = {
		.size = sizeof(attr), .policy = SCHED_DEADLINE,
		.runtime = variant->runtime_us * US,
		.deadline = variant->deadline_us * US,
		.period = variant->period_us * US,
	};
	long long boosts, worst, missed, jobs;
	struct periodic *p;
	struct hog *hog;
	pid_t task;
	int fd;

	set("stall_monitor_threshold_us", 10000);
	fd = kthread_start(self->cpu, "other", 0, "bound");
	ASSERT_LE(0, fd);
	p = deadline_start(self->cpu, &attr, &task);
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

	boosts = stat_of(self->cpu, "boosts");
	kthread_burn(fd, FOREVER_US);
	sleep_us(100000);
	jobs = peek(p->jobs) - jobs;
	missed = peek(p->missed) - missed;
	worst = peek(p->worst_ns);
	TH_LOG("with boosts: %lld jobs, %lld missed, worst %lld ns", jobs, missed, worst);
	EXPECT_EQ(0, missed);
	EXPECT_LE(boosts + 2, stat_of(self->cpu, "boosts"));
	EXPECT_LT(0, kthread_get(fd, "first_ns"));
	EXPECT_TRUE(hog_running(hog));
	poke(p->stop, true);
	waitpid(task, NULL, 0);
}

TEST_HARNESS_MAIN
