// SPDX-License-Identifier: GPL-2.0
/*
 * What the log says when starving goes on, with help and without, and when it is
 * silenced. Takes minutes: a hog in virtual time would take hours.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"

/*
 * There is at most a line a CPU and minute: each test has a CPU of its own, if
 * so many are in nohz_full, or it waits for a minute.
 */
static int quiet_cpu(int nth)
{
	int cpus[MAX_CPUS], n = lab_cpus(cpus), i;

	printf("# expect-console: stall_monitor: CPU\n");
	for (i = 0; i < n; i++)
		if (cpu_in(cpus[i], "nohz_full") && !nth--)
			break;
	if (i == n)
		sleep_us(61000000);
	log_lines("stall_monitor: ", NULL, 0);
	return i < n ? cpus[i] : lab_cpu();
}

static struct hog *long_hog(int cpu, unsigned int seconds)
{
	struct hog_plan plan = { .cpu = cpu, .prio = HOG_PRIO, .ms = seconds * 1000 };

	return hog_start_plan(&plan);
}

/* Anywhere in the log, also where log_lines() has read */
static bool log_has(const char *text)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	bool found = false;
	char record[1024];
	ssize_t n;

	if (fd < 0)
		return false;
	while (!found && ((n = read(fd, record, sizeof(record) - 1)) > 0 || errno == EPIPE)) {
		record[n > 0 ? n : 0] = '\0';
		found = strstr(record, text);
	}
	close(fd);
	return found;
}

static int starve(int cpu)
{
	int fd = kthread_start(cpu, "other", 0, "bound");

	return fd < 0 || kthread_burn(fd, FOREVER_US) ? -1 : fd;
}

/* Said once, with the thread's stack */
TEST_F_TIMEOUT(stall, beyond_help, PATIENCE)
{
	char line[1024] = "", want[64];
	struct hog *hog;
	int fd;

	self->cpu = quiet_cpu(0);
	hog = long_hog(self->cpu, 20);
	ASSERT_NE(NULL, hog);
	fd = starve(self->cpu);
	ASSERT_LE(0, fd);
	sleep_us(5000000);
	EXPECT_EQ(0, log_lines("does not sleep", NULL, 0));
	EXPECT_TRUE(wait_until(10000, log_lines("does not sleep", line, sizeof(line))));
	TH_LOG("%s", line);
	EXPECT_TRUE(hog_running(hog));
	snprintf(want, sizeof(want), "CPU%d: stall_test/%d (pid %lld) was helped for 10 s",
		 self->cpu, self->cpu, kthread_get(fd, "pid"));
	EXPECT_NE(NULL, strstr(line, want));
	/* The stack came with it. */
	snprintf(want, sizeof(want), "task:stall_test/%d", self->cpu);
	EXPECT_TRUE(wait_until(1000, log_has(want)));
	sleep_us(2000000);
	EXPECT_EQ(0, log_lines("does not sleep", NULL, 0));
	EXPECT_TRUE(hog_running(hog));
	hog_stop(hog);
}

/* Takes the machine down: it has to be asked for. Who runs it looks at the log. */
TEST_F_TIMEOUT(stall, panics, PATIENCE)
{
	struct hog *hog;

	if (!getenv("PROXY_STALL_PANIC"))
		SKIP(return, "PROXY_STALL_PANIC=1 asks for it");
	ASSERT_EQ(0, put("/proc/sys/kernel/stall_monitor_panic", "1\n"));
	hog = long_hog(self->cpu, 40);
	ASSERT_NE(NULL, hog);
	ASSERT_LE(0, starve(self->cpu));
	sleep_us(30000000);
	EXPECT_TRUE(hog_running(hog));
	TH_LOG("the machine is still there");
	EXPECT_TRUE(false);
}

/* A hog that naps ends each boost early, and helps as little. */
TEST_F_TIMEOUT(stall, beyond_help_behind_a_napping_hog, PATIENCE)
{
	struct hog_plan plan = { .prio = HOG_PRIO, .ms = 60000, .run_us = 50000, .sleep_us = 200 };
	long long running;
	struct hog *hog;

	self->cpu = quiet_cpu(1);
	running = stat_of(self->cpu, "ended_running");
	plan.cpu = self->cpu;
	hog = hog_start_plan(&plan);
	ASSERT_NE(NULL, hog);
	ASSERT_LE(0, starve(self->cpu));
	EXPECT_TRUE(wait_until(50000, log_lines("does not sleep", NULL, 0)));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_LT(running + 100, stat_of(self->cpu, "ended_running"));
	hog_stop(hog);
}

/* One after the other: a minute has one line of them, too. */
TEST_F_TIMEOUT(stall, all_are_beyond_help, PATIENCE)
{
	struct hog *hog;
	int fd, pid, i;

	self->cpu = quiet_cpu(2);
	hog = long_hog(self->cpu, 45);
	ASSERT_NE(NULL, hog);
	for (i = 0; i < 3; i++) {
		fd = starve(self->cpu);
		ASSERT_LE(0, fd);
		pid = kthread_get(fd, "pid");
		sleep_us(12000000);
		EXPECT_TRUE(wait_until(1000, boosted_pid(self->cpu) == pid));
		ASSERT_EQ(0, kthread_command(fd, "stop"));
	}
	EXPECT_TRUE(hog_running(hog));
	EXPECT_GE(1, log_lines("does not sleep", NULL, 0));
	hog_stop(hog);
}

/* A line a minute, which counts the others */
TEST_F_TIMEOUT(stall, said_again, PATIENCE)
{
	char line[1024] = "", want[64];
	long long suppressed;
	struct hog *hog;
	int fds[2], i;

	ASSERT_EQ(0, set("stall_monitor", 2));
	self->cpu = quiet_cpu(3);
	suppressed = stat_of(self->cpu, "reports_suppressed");
	hog = long_hog(self->cpu, 75);
	ASSERT_NE(NULL, hog);
	for (i = 0; i < 2; i++) {
		fds[i] = starve(self->cpu);
		ASSERT_LE(0, fds[i]);
		sleep_us(1000000);
	}
	snprintf(want, sizeof(want), "CPU%d: stall_test/%d (pid %lld) ", self->cpu,
		 self->cpu, kthread_get(fds[0], "pid"));
	EXPECT_EQ(1, log_lines("stall_monitor: ", line, sizeof(line)));
	EXPECT_NE(NULL, strstr(line, want));
	EXPECT_NE(NULL, strstr(line, " waited "));
	EXPECT_EQ(suppressed + 1, stat_of(self->cpu, "reports_suppressed"));
	sleep_us(50000000);
	EXPECT_EQ(0, log_lines("stall_monitor: ", NULL, 0));
	EXPECT_TRUE(wait_until(15000, log_lines("stall_monitor: ", line, sizeof(line))));
	TH_LOG("%s", line);
	EXPECT_TRUE(hog_running(hog));
	EXPECT_NE(NULL, strstr(line, want));
	EXPECT_NE(NULL, strstr(line, " still waits, after 6"));
	EXPECT_NE(NULL, strstr(line, "; 1 others wait there; 1 stalls before were not told of"));
	hog_stop(hog);
}

TEST_F_TIMEOUT(stall, silence, PATIENCE)
{
	long long detected;
	struct hog *hog;

	ASSERT_EQ(0, set("stall_monitor_log", 0));
	self->cpu = quiet_cpu(4);
	detected = stat_of(self->cpu, "detected");
	hog = long_hog(self->cpu, 15);
	ASSERT_NE(NULL, hog);
	ASSERT_LE(0, starve(self->cpu));
	sleep_us(13000000);
	EXPECT_LT(detected, stat_of(self->cpu, "detected"));
	EXPECT_EQ(0, log_lines("stall_monitor: ", NULL, 0));
	EXPECT_TRUE(hog_running(hog));
	hog_stop(hog);
}

TEST_HARNESS_MAIN
