// SPDX-License-Identifier: GPL-2.0
/*
 * CPUs go offline while kernel threads starve on them and while they are
 * boosted.  That the CPU can go offline at all is a rescue: the thread that
 * takes it down starves like any other.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"

static int set_online(int cpu, int value)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	return put(path, "%d\n", value);
}

/* The hog noticed that it was sent away, before its time was over. */
static bool sent_away(struct hog *hog)
{
	return wait_until(2000, peek(hog->ended_ns)) && peek(hog->moved);
}

static bool can_go_offline(int cpu)
{
	return !set_online(cpu, 0) && !set_online(cpu, 1);
}

static void rescued_again(struct __test_metadata *_metadata, int cpu)
{
	struct hog *hog = hog_start(cpu);
	char state[32] = "";
	int fd;

	EXPECT_EQ(0, state_of(cpu, state, sizeof(state)));
	EXPECT_STRNE("off", state);
	ASSERT_NE(NULL, hog);
	fd = kthread_start(cpu, "fifo", 1, "bound");
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, kthread_burn(fd, 100));
	EXPECT_EQ(0, kthread_command(fd, "wait"));
	EXPECT_TRUE(hog_running(hog));
	hog_stop(hog);
	close(fd);
}

TEST_F_TIMEOUT(stall, offline_while_starving, PATIENCE)
{
	struct hog *hog;
	int fd;

	if (!can_go_offline(self->cpu))
		SKIP(return, "CPU %d cannot go offline", self->cpu);
	set("stall_monitor_threshold_us", 100000);
	fd = kthread_start(self->cpu, "other", 0, "bound");
	ASSERT_LE(0, fd);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_burn(fd, 5000));
	ASSERT_EQ(0, set_online(self->cpu, 0));
	EXPECT_TRUE(sent_away(hog));
	/* It goes on elsewhere. */
	EXPECT_EQ(0, kthread_command(fd, "wait"));
	EXPECT_EQ(0, stat_of(self->cpu, "waiting"));
	EXPECT_EQ(-1, boosted_pid(self->cpu));
	ASSERT_EQ(0, set_online(self->cpu, 1));
	rescued_again(_metadata, self->cpu);
}

TEST_F_TIMEOUT(stall, offline_while_boosting, PATIENCE)
{
	static struct event events[MAX_EVENTS];
	int fd, pid, i, n, starts = 0, ends = 0;
	struct hog *hog;

	if (!can_go_offline(self->cpu))
		SKIP(return, "CPU %d cannot go offline", self->cpu);
	/* All of the time, so that the boost goes on till the end */
	set("stall_monitor_duration_us", 50000);
	set("stall_monitor_runtime_us", 500);
	fd = kthread_start(self->cpu, "other", 0, "bound");
	ASSERT_LE(0, fd);
	pid = kthread_get(fd, "pid");
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	trace_start("stall_monitor:stall_boost_start stall_monitor:stall_boost_end");
	ASSERT_EQ(0, kthread_burn(fd, FOREVER_US));
	ASSERT_TRUE(wait_until(HOG_MS, boosted_pid(self->cpu) == pid));
	ASSERT_EQ(0, set_online(self->cpu, 0));
	EXPECT_TRUE(sent_away(hog));
	EXPECT_EQ(0, stat_of(self->cpu, "waiting"));
	EXPECT_EQ(-1, boosted_pid(self->cpu));
	n = trace_stop(events, MAX_EVENTS);
	for (i = 0; i < n; i++) {
		if (event_number(&events[i], "cpu") != self->cpu)
			continue;
		starts += !strcmp(events[i].name, "stall_boost_start");
		ends += !strcmp(events[i].name, "stall_boost_end");
	}
	EXPECT_LT(0, starts);
	EXPECT_EQ(starts, ends);
	EXPECT_EQ(0, kthread_command(fd, "stop"));
	ASSERT_EQ(0, set_online(self->cpu, 1));
	rescued_again(_metadata, self->cpu);
}

TEST_F_TIMEOUT(stall, offline_and_online_again_and_again, PATIENCE)
{
	struct program busy = { .rounds = 1000000, .burn_us = 100, .sleep_us = 500 };
	struct hog *hog;
	int fds[3], i, j;

	if (!can_go_offline(self->cpu))
		SKIP(return, "CPU %d cannot go offline", self->cpu);
	set("stall_monitor_threshold_us", 5000);
	for (i = 0; i < 4; i++) {
		for (j = 0; j < 3; j++) {
			fds[j] = kthread_start(self->cpu, j == 1 ? "fifo" : "other",
					       j == 1, j == 2 ? "movable" : "bound");
			ASSERT_LE(0, fds[j]);
		}
		hog = hog_start(self->cpu);
		ASSERT_NE(NULL, hog);
		for (j = 0; j < 3; j++)
			ASSERT_EQ(0, kthread_run(fds[j], busy));
		sleep_us(i * 5000);
		ASSERT_EQ(0, set_online(self->cpu, 0));
		EXPECT_TRUE(sent_away(hog));
		hog_stop(hog);
		for (j = 0; j < 3; j++) {
			EXPECT_EQ(0, kthread_command(fds[j], "stop"));
			close(fds[j]);
		}
		/* On and off while it is not there */
		ASSERT_EQ(0, set("stall_monitor", i % 2));
		ASSERT_EQ(0, set_online(self->cpu, 1));
		ASSERT_EQ(0, set("stall_monitor", 1));
	}
	rescued_again(_metadata, self->cpu);
}

TEST_HARNESS_MAIN
