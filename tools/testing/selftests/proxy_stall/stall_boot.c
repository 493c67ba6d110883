// SPDX-License-Identifier: GPL-2.0
/*
 * What the boot parameter stall_monitor= of this boot says, and whether that is
 * what happens.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

#define BLANKS		"\n "

enum meaning { ABSENT, OFF, ON, ISOLATED, LIST, BAD };

static bool is_list(const char *list)
{
	size_t len = strlen(list);
	int cpu;

	/* One that has a CPU that is there */
	if (!len || strspn(list, "0123456789,-") != len || list[len - 1] == '-')
		return false;
	for (cpu = 0; cpu < MAX_CPUS; cpu++)
		if (cpu_in(cpu, "possible") && cpu_in_list(cpu, list))
			return true;
	return false;
}

static char value[128];

static enum meaning boot_parameter(void)
{
	static char cmdline[4096];
	enum meaning meaning = ABSENT;
	char *word;

	if (get("/proc/cmdline", cmdline, sizeof(cmdline)) < 0)
		return ABSENT;
	for (word = strtok(cmdline, BLANKS); word; word = strtok(NULL, BLANKS)) {
		if (strncmp(word, "stall_monitor=", 14))
			continue;
		snprintf(value, sizeof(value), "%s", word + 14);
		if (!strcmp(value, "off"))
			meaning = OFF;
		else if (!strcmp(value, "on"))
			meaning = ON;
		else if (!strcmp(value, "isolated"))
			meaning = ISOLATED;
		else
			meaning = is_list(value) ? LIST : BAD;
	}
	return meaning;
}

static bool should_watch(enum meaning meaning, int cpu)
{
	switch (meaning) {
	case ON:
		return true;
	case ISOLATED:
		return cpu_in(cpu, "isolated") || cpu_in(cpu, "nohz_full");
	case LIST:
		return cpu_in_list(cpu, value);
	default:
		return false;
	}
}

static bool watched(int cpu)
{
	char state[32] = "";

	return !state_of(cpu, state, sizeof(state)) && strcmp(state, "off");
}

/* debugfs: the fair server's runtime; -1 if there is none */
static long long fair_runtime(int cpu)
{
	char path[96];

	snprintf(path, sizeof(path), DEBUGFS "sched/fair_server/cpu%d/runtime", cpu);
	return get_number(path);
}

/* How the kernel was booted, before the tests switched anything */
static bool watched_at_boot[MAX_CPUS];
static long long fair_at_boot[MAX_CPUS];
static long long on_at_boot;

static void __attribute__((constructor)) see_the_boot(void)
{
	int cpu;

	on_at_boot = stall("stall_monitor");
	for (cpu = 0; cpu < MAX_CPUS; cpu++)
		watched_at_boot[cpu] = watched(cpu);
	for (cpu = 0; cpu < MAX_CPUS; cpu++)
		fair_at_boot[cpu] = fair_runtime(cpu);
}

TEST_F_TIMEOUT(stall, watches_what_was_asked_for, PATIENCE)
{
	enum meaning meaning = boot_parameter();
	int cpu;

	TH_LOG("stall_monitor=%s", meaning == ABSENT ? "(absent)" : value);
	EXPECT_EQ(meaning == ON || meaning == ISOLATED || meaning == LIST, on_at_boot);
	for (cpu = 0; cpu < MAX_CPUS; cpu++) {
		if (!cpu_in(cpu, "online"))
			continue;
		TH_LOG("CPU %d: %s", cpu, watched_at_boot[cpu] ? "watched" : "off");
		EXPECT_EQ(should_watch(meaning, cpu), watched_at_boot[cpu]);
	}
}

TEST_F_TIMEOUT(stall, ignores_what_was_asked_for, PATIENCE)
{
	char cmdline[4096], list[256], *want;

	ASSERT_LT(0, get("/proc/cmdline", cmdline, sizeof(cmdline)));
	ASSERT_LT(0, get(SYSCTL "stall_monitor_ignore", list, sizeof(list)));
	list[strcspn(list, "\n")] = '\0';
	want = strstr(cmdline, "stall_monitor_ignore=");
	if (!want) {
		EXPECT_STREQ("idle_inject/*", list);
		return;
	}
	want += strlen("stall_monitor_ignore=");
	want[strcspn(want, BLANKS)] = '\0';
	EXPECT_STREQ(want, list);
}

static bool fair_server_off(void)
{
	char cmdline[4096];

	return get("/proc/cmdline", cmdline, sizeof(cmdline)) > 0 &&
	       strstr(cmdline, "stall_monitor_fair_server=off");
}

/* Off where it is watched, for as long as that lasts */
TEST_F_TIMEOUT(stall, fair_server, PATIENCE)
{
	bool off = fair_server_off();
	char path[96];
	int cpu;

	if (fair_at_boot[self->cpu] < 0)
		SKIP(return, "no fair_server in debugfs");
	for (cpu = 0; cpu < MAX_CPUS; cpu++) {
		if (fair_at_boot[cpu] < 0)
			continue;
		TH_LOG("CPU %d: %lld", cpu, fair_at_boot[cpu]);
		EXPECT_EQ(off && watched_at_boot[cpu], !fair_at_boot[cpu]);
	}
	if (!off)
		SKIP(return, "it stays on in this boot");

	ASSERT_TRUE(watched_at_boot[self->cpu]);
	EXPECT_EQ(0, fair_runtime(self->cpu));
	ASSERT_EQ(0, set("stall_monitor", 0));
	EXPECT_EQ(50000000, fair_runtime(self->cpu));
	/* Who only reports does not help in its place. */
	ASSERT_EQ(0, set("stall_monitor", 2));
	EXPECT_EQ(50000000, fair_runtime(self->cpu));
	ASSERT_EQ(0, set("stall_monitor", 1));
	EXPECT_EQ(0, fair_runtime(self->cpu));
	/* What was set by hand stays. */
	snprintf(path, sizeof(path), DEBUGFS "sched/fair_server/cpu%d/runtime", self->cpu);
	ASSERT_EQ(0, put(path, "20000000\n"));
	ASSERT_EQ(0, set("stall_monitor", 0));
	EXPECT_EQ(20000000, fair_runtime(self->cpu));
	ASSERT_EQ(0, set("stall_monitor", 1));
	EXPECT_EQ(0, fair_runtime(self->cpu));
	/* Offline and back: off, and on if it is not watched any more */
	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", self->cpu);
	if (put(path, "0\n"))
		SKIP(return, "CPU %d cannot go offline", self->cpu);
	ASSERT_EQ(0, put(path, "1\n"));
	EXPECT_EQ(0, fair_runtime(self->cpu));
	ASSERT_EQ(0, put(path, "0\n"));
	ASSERT_EQ(0, set("stall_monitor", 0));
	ASSERT_EQ(0, put(path, "1\n"));
	EXPECT_EQ(20000000, fair_runtime(self->cpu));
}

/* One CPU of each kind, starving side by side */
TEST_F_TIMEOUT(stall, rescues_where_it_watches, PATIENCE)
{
	enum meaning meaning = boot_parameter();
	int cpus[MAX_CPUS], fds[2] = { -1, -1 }, cpu[2] = { -1, -1 };
	int n = lab_cpus(cpus), i;
	struct hog *hogs[2];

	if (meaning != ISOLATED && meaning != LIST)
		SKIP(return, "all CPUs are watched, or none");
	for (i = 0; i < n; i++)
		cpu[should_watch(meaning, cpus[i])] = cpus[i];
	ASSERT_LE(0, cpu[1]);
	for (i = 0; i < 2; i++) {
		if (cpu[i] < 0)
			continue;
		fds[i] = kthread_start(cpu[i], "fifo", 1, "bound");
		ASSERT_LE(0, fds[i]);
		hogs[i] = hog_start(cpu[i]);
		ASSERT_NE(NULL, hogs[i]);
		ASSERT_EQ(0, kthread_burn(fds[i], 100));
	}
	EXPECT_EQ(0, kthread_command(fds[1], "wait"));
	EXPECT_TRUE(hog_running(hogs[1]));
	if (cpu[0] < 0)
		return;
	sleep_us(300000);
	EXPECT_EQ(0, kthread_get(fds[0], "first_ns"));
	EXPECT_TRUE(hog_running(hogs[0]));
	EXPECT_FALSE(watched(cpu[0]));
}

/* A hog comes, and the kthread begins to want to run. */
static bool starved_by_a_hog(int cpu, int fd)
{
	struct hog *hog = hog_start(cpu);

	return hog && !kthread_burn(fd, 100) && stays_starved(fd, hog);
}

/* Slices would end with the tick: help is not given, and that is said once. */
TEST_F_TIMEOUT(stall, needs_highres, PATIENCE)
{
	long long detected, boosts;
	char cmdline[4096];
	int fd;

	if (get("/proc/cmdline", cmdline, sizeof(cmdline)) < 0 || !strstr(cmdline, "highres=off"))
		SKIP(return, "highres=off is not on the command line");
	EXPECT_EQ(1, log_lines("high-resolution timers are not active", NULL, 0));
	detected = stat_of(self->cpu, "detected");
	boosts = stat_of(self->cpu, "boosts");
	fd = kthread_start(self->cpu, "fifo", 1, "bound");
	ASSERT_LE(0, fd);
	EXPECT_TRUE(starved_by_a_hog(self->cpu, fd));
	EXPECT_LE(detected + 1, stat_of(self->cpu, "detected"));
	EXPECT_EQ(boosts, stat_of(self->cpu, "boosts"));
}

/* With "off" the sysctl starts it, everywhere. */
TEST_F_TIMEOUT(stall, sysctl_starts_it_everywhere, PATIENCE)
{
	enum meaning meaning = boot_parameter();
	struct hog *hog;
	int cpu, fd;

	if (meaning == ON || meaning == ISOLATED || meaning == LIST)
		SKIP(return, "it was started at boot");
	/* Setting up has set it to 1. */
	ASSERT_EQ(1, stall("stall_monitor"));
	for (cpu = 0; cpu < MAX_CPUS; cpu++)
		if (cpu_in(cpu, "online"))
			EXPECT_TRUE(watched(cpu));
	fd = kthread_start(self->cpu, "fifo", 1, "bound");
	ASSERT_LE(0, fd);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_burn(fd, 100));
	EXPECT_EQ(0, kthread_command(fd, "wait"));
	EXPECT_TRUE(hog_running(hog));
}

/* And what it does when it is off: nothing. */
TEST_F_TIMEOUT(stall, does_nothing_when_off, PATIENCE)
{
	long long detected, fired;
	int fd;

	ASSERT_EQ(0, set("stall_monitor", 0));
	fd = kthread_start(self->cpu, "fifo", 1, "bound");
	ASSERT_LE(0, fd);
	detected = stat_of(self->cpu, "detected");
	fired = stat_of(self->cpu, "timer_fired");
	EXPECT_LE(0, detected);
	EXPECT_TRUE(starved_by_a_hog(self->cpu, fd));
	EXPECT_EQ(detected, stat_of(self->cpu, "detected"));
	EXPECT_EQ(fired, stat_of(self->cpu, "timer_fired"));
	EXPECT_EQ(0, stat_of(self->cpu, "waiting"));
}

/* One line, which names the accepted values */
TEST_F_TIMEOUT(stall, bad_value_is_told, PATIENCE)
{
	static const char * const accepted[] = { "off", "on", "isolated", "list" };
	char line[1024] = "", text[160];
	size_t i;

	if (boot_parameter() != BAD)
		SKIP(return, "no bad value in this boot");
	printf("# expect-console: stall_monitor=\n");
	snprintf(text, sizeof(text), "stall_monitor=%s ", value);
	/* The command line itself is printed as well. */
	EXPECT_EQ(1, log_lines("not understood", line, sizeof(line)));
	TH_LOG("%s", line);
	EXPECT_NE(NULL, strstr(line, text));
	for (i = 0; i < ARRAY_SIZE(accepted); i++)
		EXPECT_NE(NULL, strstr(line, accepted[i]));
	/* A warning: level 4 of whatever facility */
	EXPECT_EQ(4, atoi(line) % 8);
	EXPECT_EQ(0, on_at_boot);
}

TEST_HARNESS_MAIN
