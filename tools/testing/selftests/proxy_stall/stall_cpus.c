// SPDX-License-Identifier: GPL-2.0
/*
 * The CPUs that are watched change at run time: by kernel.stall_monitor_cpus, and
 * with cpuset partitions.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"

#define CPUS		SYSCTL "stall_monitor_cpus"
#define PARTITION	CGROUP2 "proxy_stall/"

static bool watched(int cpu)
{
	char state[32] = "";

	return !state_of(cpu, state, sizeof(state)) && strcmp(state, "off");
}

static bool chosen(int cpu)
{
	char list[256];

	return get(CPUS, list, sizeof(list)) > 0 && cpu_in_list(cpu, list);
}

/* A thread that starves on the CPU, behind a hog */
struct starver {
	struct hog *hog;
	int fd;
};

static bool hogged(struct starver *s, int cpu)
{
	s->fd = kthread_start(cpu, "fifo", 1, "bound");
	s->hog = s->fd < 0 ? NULL : hog_start(cpu);
	return s->hog;
}

static bool starve(struct starver *s, int cpu)
{
	return hogged(s, cpu) && !kthread_burn(s->fd, 100);
}

static bool rescued(struct starver *s)
{
	return !kthread_command(s->fd, "wait") && hog_running(s->hog);
}

static void end(struct starver *s)
{
	hog_stop(s->hog);
	kthread_command(s->fd, "stop");
	close(s->fd);
}

TEST_F_TIMEOUT(stall, list, PATIENCE)
{
	int other = self->cpu - 1;
	char buf[64];

	ASSERT_EQ(0, put(CPUS, "%d\n", self->cpu));
	ASSERT_LT(0, get(CPUS, buf, sizeof(buf)));
	EXPECT_EQ(self->cpu, atoi(buf));
	EXPECT_TRUE(watched(self->cpu));
	EXPECT_FALSE(watched(other));
	ASSERT_EQ(0, put(CPUS, "0-%d\n", other));
	EXPECT_FALSE(chosen(self->cpu));
	EXPECT_FALSE(watched(self->cpu));
	EXPECT_TRUE(chosen(other));
	EXPECT_TRUE(watched(other));
	/* A choice, which begins to count when the monitor is on. */
	ASSERT_EQ(0, set("stall_monitor", 0));
	ASSERT_EQ(0, put(CPUS, "%d\n", self->cpu));
	EXPECT_TRUE(chosen(self->cpu));
	EXPECT_FALSE(chosen(other));
	EXPECT_FALSE(watched(self->cpu));
	ASSERT_EQ(0, set("stall_monitor", 1));
	EXPECT_TRUE(watched(self->cpu));
	EXPECT_FALSE(watched(other));
}

TEST_F_TIMEOUT(stall, nonsense, PATIENCE)
{
	static const char * const nonsense[] = {
		"", "some", "1-", "3-1", "isolated,1", "-1", "99999",
	};
	char was[64], is[64], line[1024] = "";
	size_t i;

	printf("# expect-console: stall_monitor_cpus=\n");
	ASSERT_EQ(0, put(CPUS, "%d\n", self->cpu));
	ASSERT_LT(0, get(CPUS, was, sizeof(was)));
	log_lines("stall_monitor: ", NULL, 0);
	for (i = 0; i < ARRAY_SIZE(nonsense); i++) {
		TH_LOG("\"%s\"", nonsense[i]);
		EXPECT_EQ(-EINVAL, put(CPUS, "%s\n", nonsense[i]));
		ASSERT_LT(0, get(CPUS, is, sizeof(is)));
		EXPECT_STREQ(was, is);
		EXPECT_TRUE(watched(self->cpu));
		EXPECT_EQ(1, log_lines("not understood: use isolated or a list", line,
				       sizeof(line)));
		EXPECT_EQ(4, atoi(line) % 8);
	}
}

TEST_F_TIMEOUT(stall, out_and_in_while_boosting, PATIENCE)
{
	static struct event events[MAX_EVENTS];
	int fd, pid, i, n, paused = 0;
	struct hog *hog;
	__u64 ran;

	/* The first event waits for works on all CPUs. */
	trace_start("stall_monitor:stall_boost_end");
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	fd = kthread_start(self->cpu, "other", 0, "bound");
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, kthread_burn(fd, FOREVER_US));
	pid = kthread_get(fd, "pid");
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, put(CPUS, "%d\n", self->cpu));
		ASSERT_TRUE(wait_until(HOG_MS, boosted_pid(self->cpu) == pid));
		ASSERT_EQ(0, put(CPUS, "0\n"));
		/* Not soon: at once */
		EXPECT_EQ(-1, boosted_pid(self->cpu));
		EXPECT_EQ(0, stat_of(self->cpu, "waiting"));
		/* Until it is switched away */
		sleep_us(20000);
		ran = run_time_ns(pid);
		sleep_us(100000);
		EXPECT_EQ(ran, run_time_ns(pid));
	}
	EXPECT_TRUE(hog_running(hog));
	n = trace_stop(events, MAX_EVENTS);
	for (i = 0; i < n; i++)
		paused += event_number(&events[i], "pid") == pid &&
			  event_has(&events[i], "reason=paused ");
	EXPECT_EQ(3, paused);
}

/* Others of the list do not notice. */
TEST_F_TIMEOUT(stall, another_goes_while_boosting, PATIENCE)
{
	long long boosts;
	struct hog *hog;
	int fd, pid, i;

	/* No turn ends. */
	set("stall_monitor_duration_us", 10000000);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	fd = kthread_start(self->cpu, "other", 0, "bound");
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, kthread_burn(fd, FOREVER_US));
	pid = kthread_get(fd, "pid");
	ASSERT_EQ(0, put(CPUS, "%d\n", self->cpu));
	ASSERT_TRUE(wait_until(HOG_MS, boosted_pid(self->cpu) == pid));
	boosts = stat_of(self->cpu, "boosts");
	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, put(CPUS, "%d-%d\n", self->cpu - i % 2, self->cpu));
		EXPECT_EQ(i % 2, watched(self->cpu - 1));
		sleep_us(2000);
	}
	EXPECT_EQ(pid, boosted_pid(self->cpu));
	EXPECT_EQ(boosts, stat_of(self->cpu, "boosts"));
	EXPECT_TRUE(hog_running(hog));
}

/* Partitions */

static const char *no_partition(int cpu)
{
	if (cpu_in(cpu, "isolated") || cpu_in(cpu, "nohz_full"))
		return "isolcpus= or nohz_full= isolates the CPU already";
	if (!has_cgroup2())
		return "no cgroup2";
	if (put(CGROUP2 "cgroup.subtree_control", "+cpuset\n"))
		return "no cpusets (CONFIG_CPUSETS)";
	mkdir(PARTITION, 0755);
	return put(PARTITION "cpuset.cpus", "%d\n", cpu) ? "no cpuset.cpus" : NULL;
}

static int isolate(bool yes)
{
	return put(PARTITION "cpuset.cpus.partition", "%s\n", yes ? "isolated" : "member");
}

static bool is_isolated(void)
{
	char buf[128];

	return get(PARTITION "cpuset.cpus.partition", buf, sizeof(buf)) > 0 &&
	       !strcmp(buf, "isolated\n");
}

/* While a hog is there: the kernel waits for kthreads that starve. */
TEST_F_TIMEOUT(stall, partition, PATIENCE)
{
	const char *why = no_partition(self->cpu);
	struct starver s;
	__u64 start;
	int i;

	if (why)
		SKIP(return, "%s", why);
	for (i = 0; i < 2; i++) {
		/*
		 * To move the hog to a cgroup takes a grace period, and with
		 * PREEMPT_RT that takes a thread of that CPU.
		 */
		ASSERT_EQ(0, put(CPUS, "%d\n", self->cpu));
		ASSERT_TRUE(hogged(&s, self->cpu));
		ASSERT_EQ(0, put(PARTITION "cgroup.procs", "%d\n", s.hog->pid));
		ASSERT_EQ(0, put(CPUS, "isolated\n"));
		EXPECT_FALSE(chosen(self->cpu));
		ASSERT_EQ(0, kthread_burn(s.fd, 100));
		EXPECT_TRUE(stays_starved(s.fd, s.hog));
		start = now_ns();
		ASSERT_EQ(0, isolate(true));
		TH_LOG("isolated in %llu us", (now_ns() - start) / 1000);
		EXPECT_TRUE(hog_running(s.hog));
		EXPECT_TRUE(is_isolated());
		EXPECT_TRUE(chosen(self->cpu));
		EXPECT_FALSE(chosen(self->cpu - 1));
		EXPECT_TRUE(watched(self->cpu));
		EXPECT_TRUE(rescued(&s));
		ASSERT_EQ(0, isolate(false));
		EXPECT_TRUE(hog_running(s.hog));
		EXPECT_FALSE(chosen(self->cpu));
		EXPECT_FALSE(watched(self->cpu));
		ASSERT_EQ(0, kthread_burn(s.fd, 100));
		EXPECT_TRUE(stays_starved(s.fd, s.hog));
		end(&s);
	}
	rmdir(PARTITION);
}

/* A list is what it is, whatever is isolated. */
TEST_F_TIMEOUT(stall, partition_and_list, PATIENCE)
{
	const char *why = no_partition(self->cpu);

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, put(CPUS, "%d\n", self->cpu - 1));
	ASSERT_EQ(0, isolate(true));
	EXPECT_FALSE(watched(self->cpu));
	EXPECT_TRUE(watched(self->cpu - 1));
	ASSERT_EQ(0, put(CPUS, "isolated\n"));
	EXPECT_TRUE(watched(self->cpu));
	EXPECT_FALSE(watched(self->cpu - 1));
	ASSERT_EQ(0, isolate(false));
	EXPECT_FALSE(watched(self->cpu));
	rmdir(PARTITION);
}

/* An offline CPU's partition is none, and comes back with the CPU. */
TEST_F_TIMEOUT(stall, partition_and_hotplug, PATIENCE)
{
	const char *why = no_partition(self->cpu);
	char path[96];

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, put(CPUS, "isolated\n"));
	ASSERT_EQ(0, isolate(true));
	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", self->cpu);
	if (put(path, "0\n")) {
		isolate(false);
		SKIP(return, "CPU %d cannot go offline", self->cpu);
	}
	EXPECT_FALSE(watched(self->cpu));
	ASSERT_EQ(0, put(path, "1\n"));
	EXPECT_TRUE(wait_until(5000, is_isolated()));
	EXPECT_TRUE(wait_until(5000, watched(self->cpu)));
	EXPECT_TRUE(chosen(self->cpu));
	ASSERT_EQ(0, isolate(false));
	EXPECT_FALSE(watched(self->cpu));
	rmdir(PARTITION);
}

/* Three CPUs with a server that has 40%, and then one: the others' go with them. */
TEST_F_TIMEOUT(stall, partition_shrinks, PATIENCE)
{
	const char *why = no_partition(self->cpu);

	if (why || self->cpu < 3)
		SKIP(return, "%s", why ?: "needs four CPUs");
	ASSERT_EQ(0, set("stall_monitor_runtime_us", 400));
	ASSERT_EQ(0, put(PARTITION "cpuset.cpus", "%d-%d\n", self->cpu - 2, self->cpu));
	ASSERT_EQ(0, put(PARTITION "cpuset.cpus.partition", "root\n"));
	EXPECT_EQ(0, put(PARTITION "cpuset.cpus", "%d\n", self->cpu));
	EXPECT_EQ(0, put(PARTITION "cpuset.cpus.partition", "member\n"));
	rmdir(PARTITION);
}

TEST_HARNESS_MAIN
