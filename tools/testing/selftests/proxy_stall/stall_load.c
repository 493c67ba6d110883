// SPDX-License-Identifier: GPL-2.0
/*
 * The stall server starts and stops with each slice, a thousand times a second,
 * and the fair server beside it whenever a fair task comes or goes.  A hog that
 * naps, fair tasks that are born and die, timers, and samples of perf make for
 * all orders of that.  The kernel warns if the deadline class loses count of its
 * bandwidth; here it is checked that help goes on all the while, and that all of
 * the bandwidth is there in the end.
 *
 * PROXY_STALL_SECONDS=3600 makes an hour of it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"

#define MAX_CHILDREN	4
#define SAMPLES_HZ	2000
#define TIMERS		8

static int target;	/* the hog's CPU */

/* A task that lives for a moment, on the hog's CPU or on any */
static void child(unsigned int n)
{
	__u64 end;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (n % 3)
		pin(target);
	for (end = now_ns() + n % 7 * 20000; now_ns() < end;)
		;
	_exit(0);
}

/* Those on the hog's CPU die when its naps and the fair server let them. */
static int act_churn(void *unused __maybe_unused)
{
	unsigned int n, alive = 0;
	pid_t pid;

	for (n = 0;; n++) {
		pid = fork();
		if (!pid)
			child(n);
		if (pid > 0)
			alive++;
		while (alive && waitpid(-1, NULL, alive < MAX_CHILDREN ? WNOHANG : 0) > 0)
			alive--;
		sleep_us(n % 5 * 100);
	}
	return 0;
}

static int act_spin(void *unused __maybe_unused)
{
	for (;;)
		;
	return 0;
}

static int sample(int cpu, pid_t pid)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.freq = 1,
		.sample_freq = SAMPLES_HZ,
		.inherit = pid >= 0,
	};

	return syscall(SYS_perf_event_open, &attr, pid, cpu, -1, 0UL);
}

/*
 * What happens on that CPU, and in a task that comes and goes there. The first one
 * stays, or the kernel would patch its code each time, which QEMU does not always
 * survive.
 */
static int act_sample(void *unused __maybe_unused)
{
	int all, own;

	if (sample(-1, 0) < 0)
		return -errno;
	for (;;) {
		all = sample(target, -1);
		own = sample(-1, 0);
		if (all < 0 || own < 0)
			return -errno;
		sleep_us(20000);
		close(all);
		close(own);
	}
	return 0;
}

/*
 * Timers of the hog's CPU, where it is not nohz_full; with PREEMPT_RT it takes a
 * kernel thread of that CPU to have them expire.
 */
static int act_timers(void *unused __maybe_unused)
{
	struct itimerspec every = { .it_interval.tv_nsec = 1000000, .it_value.tv_nsec = 1 };
	int fds[TIMERS], i;
	__u64 n;

	for (i = 0; i < TIMERS; i++) {
		fds[i] = timerfd_create(CLOCK_MONOTONIC, 0);
		every.it_interval.tv_nsec += 1000000;
		if (fds[i] < 0 || timerfd_settime(fds[i], 0, &every, NULL))
			return -errno;
	}
	pin(0);
	for (i = 0;; i++)
		if (read(fds[i % TIMERS], &n, sizeof(n)) != sizeof(n))
			return -errno;
	return 0;
}

static bool all_bandwidth_is_free(int cpu)
{
	struct deadline most = { 85000000, 100000000, 100000000 };
	pid_t pid = fork();
	int status;

	if (!pid) {
		pin(cpu);
		_exit(set_deadline(0, most) ? 1 : 0);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	       !WEXITSTATUS(status);
}

TEST_F_TIMEOUT(stall, servers_come_and_go, LAB_MAX_SECONDS + PATIENCE)
{
	struct actor_plan here = { .policy = SCHED_OTHER, .cpu = self->cpu };
	struct actor_plan anywhere = { .policy = SCHED_OTHER, .cpu = -1 };
	unsigned int seconds = lab_seconds(20), flushes = 0, quiet = 0;
	struct hog_plan plan = {
		.cpu = self->cpu, .prio = HOG_PRIO, .ms = (seconds + PATIENCE) * 1000,
		.run_us = 150000, .sleep_us = 1500,
	};
	long long boosts, before;
	struct actor *perf, *timers;
	struct hog *hog;
	__u64 end, told;
	int fd;

	if (set_fair_server(self->cpu, "runtime", 50000000))
		SKIP(return, "no fair_server");
	target = self->cpu;
	set("stall_monitor_awaited_us", 1000);
	fd = kthread_start(self->cpu, "fifo", 1, "bound");
	ASSERT_LE(0, fd);
	ASSERT_NE(NULL, actor_start(&here, act_spin, NULL));
	perf = actor_start(&anywhere, act_sample, NULL);
	ASSERT_NE(NULL, perf);
	timers = actor_start(&here, act_timers, NULL);
	ASSERT_NE(NULL, timers);
	ASSERT_NE(NULL, actor_start(&anywhere, act_churn, NULL));
	ASSERT_NE(NULL, actor_start(&anywhere, act_churn, NULL));
	hog = hog_start_plan(&plan);
	ASSERT_NE(NULL, hog);
	log_lines("WARNING", NULL, 0);

	before = stat_of(self->cpu, "boosts");
	told = now_ns();
	for (end = told + seconds * 1000000000ULL; now_ns() < end; flushes++) {
		/* Several slices, then a pause in which the servers may stop */
		ASSERT_LT(0, work_flush(self->cpu, flushes % 8 * 25));
		if (flushes % 16 == 0)
			ASSERT_EQ(0, kthread_burn(fd, 100));
		sleep_us(flushes % 4 * 500);
		if (now_ns() - told < 1000000000ULL)
			continue;
		told = now_ns();
		boosts = stat_of(self->cpu, "boosts");
		quiet += boosts == before;
		before = boosts;
	}
	TH_LOG("%u flushes in %u s", flushes, seconds);
	/* One that only the fair server helps takes most of a second. */
	EXPECT_LT(seconds, flushes);
	EXPECT_GE(seconds / 10, quiet);
	EXPECT_TRUE(hog_running(hog));
	EXPECT_FALSE(peek(perf->done));
	EXPECT_FALSE(peek(timers->done));
	EXPECT_EQ(0, kthread_command(fd, "wait"));
	EXPECT_EQ(0, log_lines("WARNING", NULL, 0));
	hog_stop(hog);

	ASSERT_EQ(0, set_fair_server(self->cpu, "runtime", 0));
	EXPECT_TRUE(all_bandwidth_is_free(self->cpu));
}

TEST_HARNESS_MAIN
