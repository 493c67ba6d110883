// SPDX-License-Identifier: GPL-2.0
/*
 * The knobs of the stall monitor, what they do while boosts are under way, and
 * whether debugfs, the tracepoints and the log tell the truth.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"

/* A sysctl, and the least and the greatest value that it takes */
struct range {
	const char *sysctl;
	long long min;
	long long max;
};

static const struct range ranges[] = {
	{ "stall_monitor", 0, 2 },
	{ "stall_monitor_threshold_us", 100, 3600000000LL },
	{ "stall_monitor_awaited_us", 0, 3600000000LL },
	{ "stall_monitor_runtime_us", 10, 1000 },	/* the period that lab_enter() sets */
	{ "stall_monitor_period_us", 100, 4000000 },
	{ "stall_monitor_duration_us", 1000, 60000000 },
	{ "stall_monitor_log", 0, 1 },
	{ "stall_monitor_panic", 0, 1 },
};

TEST_F_TIMEOUT(stall, ranges, PATIENCE)
{
	static const char * const nonsense[] = {
		"abc", "12abc", "-1", "99999999999999999999999", "0x", "1.5",
	};
	char path[96];
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		const struct range *r = &ranges[i];
		long long was = stall(r->sysctl);

		TH_LOG("%s: %lld..%lld", r->sysctl, r->min, r->max);
		snprintf(path, sizeof(path), SYSCTL "%s", r->sysctl);
		EXPECT_LE(r->min, was);
		EXPECT_GE(r->max, was);
		EXPECT_EQ(-EINVAL, set(r->sysctl, r->min - 1));
		EXPECT_EQ(-EINVAL, set(r->sysctl, r->max + 1));
		for (j = 0; j < ARRAY_SIZE(nonsense); j++)
			EXPECT_EQ(-EINVAL, put(path, "%s\n", nonsense[j]));
		EXPECT_EQ(was, stall(r->sysctl));
		EXPECT_EQ(0, set(r->sysctl, r->max));
		EXPECT_EQ(r->max, stall(r->sysctl));
		if (strcmp(r->sysctl, "stall_monitor_period_us")) {
			EXPECT_EQ(0, set(r->sysctl, r->min));
			EXPECT_EQ(r->min, stall(r->sysctl));
		}
		EXPECT_EQ(0, set(r->sysctl, was));
	}
}

/* From either side */
TEST_F_TIMEOUT(stall, runtime_within_period, PATIENCE)
{
	ASSERT_EQ(0, set("stall_monitor_period_us", 1000));
	ASSERT_EQ(0, set("stall_monitor_runtime_us", 500));
	EXPECT_EQ(-EINVAL, set("stall_monitor_runtime_us", 1001));
	EXPECT_EQ(500, stall("stall_monitor_runtime_us"));
	EXPECT_EQ(-EINVAL, set("stall_monitor_period_us", 499));
	EXPECT_EQ(1000, stall("stall_monitor_period_us"));
	EXPECT_EQ(0, set("stall_monitor_period_us", 500));
	EXPECT_EQ(0, set("stall_monitor_runtime_us", 100));
	EXPECT_EQ(0, set("stall_monitor_period_us", 100));
	EXPECT_EQ(-EINVAL, set("stall_monitor_period_us", 99));
	EXPECT_EQ(100, stall("stall_monitor_period_us"));
	EXPECT_EQ(100, stall("stall_monitor_runtime_us"));
}

/* None that starves already has to wait for what was set before. */
TEST_F_TIMEOUT(stall, threshold_takes_effect_at_once, PATIENCE)
{
	struct hog *hog;
	int fd;

	set("stall_monitor_threshold_us", 3600000000LL);
	fd = kthread_start(self->cpu, "fifo", 1, "bound");
	ASSERT_LE(0, fd);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_burn(fd, 20));
	sleep_us(300000);
	EXPECT_EQ(0, kthread_get(fd, "first_ns"));
	ASSERT_EQ(0, set("stall_monitor_threshold_us", 20000));
	EXPECT_TRUE(wait_until(500, kthread_get(fd, "first_ns") > 0));
	EXPECT_TRUE(hog_running(hog));
}

static int ended(const struct event *events, int n, int pid, const char *reason)
{
	char text[32];
	int i, count = 0;

	snprintf(text, sizeof(text), "reason=%s ", reason);
	for (i = 0; i < n; i++)
		count += !strcmp(events[i].name, "stall_boost_end") &&
			 event_number(&events[i], "pid") == pid &&
			 event_has(&events[i], text);
	return count;
}

static int start_burning(int cpu)
{
	int fd = kthread_start(cpu, "other", 0, "bound");

	if (fd >= 0)
		kthread_burn(fd, FOREVER_US);
	return fd;
}

/* The turn of the one that is boosted ends, because another waits. */
TEST_F_TIMEOUT(stall, duration_takes_effect_at_once, PATIENCE)
{
	static struct event events[MAX_EVENTS];
	int fds[2], pid, other, n;
	struct hog *hog;

	set("stall_monitor_duration_us", 60000000);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	trace_start("stall_monitor:stall_boost_end");
	fds[0] = start_burning(self->cpu);
	ASSERT_LE(0, fds[0]);
	pid = kthread_get(fds[0], "pid");
	ASSERT_TRUE(wait_until(HOG_MS, boosted_pid(self->cpu) == pid));
	fds[1] = start_burning(self->cpu);
	ASSERT_LE(0, fds[1]);
	other = kthread_get(fds[1], "pid");
	sleep_us(50000);
	EXPECT_EQ(pid, boosted_pid(self->cpu));
	ASSERT_EQ(0, set("stall_monitor_duration_us", 20000));
	EXPECT_TRUE(wait_until(500, boosted_pid(self->cpu) == other));
	EXPECT_TRUE(hog_running(hog));
	n = trace_stop(events, MAX_EVENTS);
	EXPECT_LE(1, ended(events, n, pid, "duration"));
}

TEST_F_TIMEOUT(stall, off_and_on_while_boosting, PATIENCE)
{
	static struct event events[MAX_EVENTS];
	__u64 ran;
	struct hog *hog;
	int fd, pid, n, i;

	set("stall_monitor_duration_us", 60000000);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	trace_start("stall_monitor:stall_boost_end");
	fd = start_burning(self->cpu);
	ASSERT_LE(0, fd);
	pid = kthread_get(fd, "pid");
	for (i = 0; i < 3; i++) {
		ASSERT_TRUE(wait_until(HOG_MS, boosted_pid(self->cpu) == pid));
		ASSERT_EQ(0, set("stall_monitor", 0));
		/* Not soon: at once */
		EXPECT_EQ(-1, boosted_pid(self->cpu));
		ran = run_time_ns(pid);
		sleep_us(100000);
		EXPECT_EQ(ran, run_time_ns(pid));
		EXPECT_EQ(-1, boosted_pid(self->cpu));
		ASSERT_EQ(0, set("stall_monitor", 1));
	}
	ASSERT_TRUE(wait_until(HOG_MS, boosted_pid(self->cpu) == pid));
	ASSERT_EQ(0, kthread_command(fd, "stop"));
	EXPECT_TRUE(hog_running(hog));
	n = trace_stop(events, MAX_EVENTS);
	EXPECT_EQ(3, ended(events, n, pid, "paused"));
}

/* Any valid value, and some that are not, in any order */
static void change_everything(void)
{
	srand(1);
	for (;;) {
		set("stall_monitor", rand() % 4 ? 1 : 0);
		set("stall_monitor_threshold_us", 100 + rand() % 20000);
		set("stall_monitor_runtime_us", rand() % 1000);
		set("stall_monitor_period_us", rand() % 4000);
		set("stall_monitor_duration_us", 1000 + rand() % 20000);
	}
}

TEST_F_TIMEOUT(stall, change_everything_while_boosting, PATIENCE)
{
	struct program busy = { .rounds = 1000000, .burn_us = 30, .sleep_us = 100 };
	pid_t changer[2];
	long long boosts;
	struct hog *hog;
	int fds[4], i;

	boosts = stat_of(self->cpu, "boosts");
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	for (i = 0; i < 4; i++) {
		fds[i] = kthread_start(self->cpu, i % 2 ? "fifo" : "other", i % 2, "bound");
		ASSERT_LE(0, fds[i]);
		ASSERT_EQ(0, i < 2 ? kthread_run(fds[i], busy) :
			  kthread_burn(fds[i], FOREVER_US));
	}
	for (i = 0; i < 2; i++) {
		changer[i] = fork();
		if (!changer[i])
			change_everything();
	}
	sleep_us(1500000);
	for (i = 0; i < 2; i++) {
		kill(changer[i], SIGKILL);
		waitpid(changer[i], NULL, 0);
	}
	EXPECT_LT(boosts, stat_of(self->cpu, "boosts"));

	/* It works as ever. The slices may have been too small for anything. */
	set("stall_monitor_runtime_us", 10);
	set("stall_monitor_period_us", 1000);
	set("stall_monitor_runtime_us", 40);
	set("stall_monitor_threshold_us", 20000);
	set("stall_monitor_duration_us", 10000);
	set("stall_monitor", 1);
	for (i = 3; i >= 0; i--)
		EXPECT_EQ(0, kthread_command(fds[i], "stop"));
	EXPECT_LT(0, work_flush(self->cpu, 20));
	EXPECT_TRUE(hog_running(hog));
}

static int known(const int *pids, int n, int pid)
{
	while (n--)
		if (pids[n] == pid)
			return 1;
	return 0;
}

/* Counts, pids and times, of works, of kthreads and of more than one boost */
TEST_F_TIMEOUT(stall, trace_and_debugfs_agree, PATIENCE)
{
	long long detected, boosts, boost_ns, fired, blocked;
	long long seen_detected = 0, starts = 0, ends = 0, seen_blocked = 0;
	long long run_ns = 0, longest = 0;
	static struct event events[MAX_EVENTS];
	int pids[5], fd, pid, hog_pid, i, n;
	struct hog *hog;

	set("stall_monitor_duration_us", 5000);
	fd = kthread_start(self->cpu, "fifo", 1, "bound");
	ASSERT_LE(0, fd);
	pids[0] = kthread_get(fd, "pid");
	/* Before the hog comes: the works that this queues on all CPUs would starve. */
	ASSERT_EQ(0, trace_start("stall_monitor:stall_detected " TRACE_BOOSTS));
	detected = stat_of(self->cpu, "detected");
	boosts = stat_of(self->cpu, "boosts");
	boost_ns = stat_of(self->cpu, "boost_ns");
	fired = stat_of(self->cpu, "timer_fired");
	blocked = stat_of(self->cpu, "ended_blocked");
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	hog_pid = hog->pid;
	ASSERT_EQ(0, kthread_burn(fd, 2000));
	ASSERT_EQ(0, kthread_command(fd, "wait"));
	for (i = 1; i < 5; i++) {
		/* On a warm CPU one boost may do for several. */
		cool_down();
		pids[i] = work_flush(self->cpu, 10);
	}
	EXPECT_TRUE(hog_running(hog));
	hog_stop(hog);
	EXPECT_TRUE(wait_until(SOON_MS, stat_of(self->cpu, "waiting") == 0 &&
			       boosted_pid(self->cpu) == -1));
	/* While it is warm, who waits for the end of the trace is boosted as well. */
	cool_down();
	n = trace_stop(events, MAX_EVENTS);

	for (i = 0; i < n; i++) {
		const struct event *e = &events[i];

		if (event_number(e, "cpu") != self->cpu)
			continue;
		pid = event_number(e, "pid");
		/* Others of the CPU starve as well, but they are kthreads. */
		if (!strcmp(e->name, "stall_detected")) {
			seen_detected++;
			EXPECT_EQ(hog_pid, event_number(e, "curr_pid"));
			EXPECT_LE(20000 * 1000, event_number(e, "wait_ns"));
			if (event_number(e, "wait_ns") > longest)
				longest = event_number(e, "wait_ns");
		} else if (!strcmp(e->name, "stall_boost_start")) {
			starts++;
		} else {
			ends++;
			run_ns += event_number(e, "run_ns");
			seen_blocked += event_has(e, "reason=blocked ");
			if (known(pids, 5, pid))
				EXPECT_LT(0, event_number(e, "slices"));
		}
		if (known(pids, 5, pid))
			TH_LOG("%s%s", e->name, e->text);
	}
	for (i = 0; i < 5; i++) {
		EXPECT_LT(0, pids[i]);
		EXPECT_LT(0, ended(events, n, pids[i], "blocked"));
	}
	EXPECT_LE(5, starts);
	EXPECT_EQ(starts, ends);
	EXPECT_EQ(seen_detected, stat_of(self->cpu, "detected") - detected);
	EXPECT_EQ(starts, stat_of(self->cpu, "boosts") - boosts);
	EXPECT_EQ(run_ns, stat_of(self->cpu, "boost_ns") - boost_ns);
	EXPECT_LE(longest, stat_of(self->cpu, "longest_wait_ns"));
	EXPECT_EQ(seen_blocked, stat_of(self->cpu, "ended_blocked") - blocked);
	EXPECT_LT(0, stat_of(self->cpu, "timer_fired") - fired);
	/* The end of the trace had works queued there. */
	EXPECT_TRUE(wait_until(SOON_MS, stat_of(self->cpu, "waiting") == 0));
}

TEST_F_TIMEOUT(stall, state_is_told, PATIENCE)
{
	char state[32] = "";
	struct hog *hog;
	int fd, pid;

	EXPECT_EQ(0, state_of(self->cpu, state, sizeof(state)));
	EXPECT_STREQ("idle", state);
	set("stall_monitor_threshold_us", 300000);
	set("stall_monitor_duration_us", 60000000);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	fd = start_burning(self->cpu);
	ASSERT_LE(0, fd);
	pid = kthread_get(fd, "pid");
	EXPECT_TRUE(wait_until(100, stat_of(self->cpu, "waiting") == 1));
	EXPECT_EQ(0, state_of(self->cpu, state, sizeof(state)));
	EXPECT_STREQ("watching", state);
	EXPECT_TRUE(wait_until(HOG_MS, boosted_pid(self->cpu) == pid));
	EXPECT_EQ(0, state_of(self->cpu, state, sizeof(state)));
	EXPECT_TRUE(!strcmp(state, "refill") || !strcmp(state, "ready") ||
		    !strcmp(state, "running") || !strcmp(state, "overrun"));
	EXPECT_EQ(0, kthread_command(fd, "stop"));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_TRUE(wait_until(SOON_MS, boosted_pid(self->cpu) == -1));
	EXPECT_TRUE(wait_until(SOON_MS, stat_of(self->cpu, "waiting") == 0));
	EXPECT_EQ(0, state_of(self->cpu, state, sizeof(state)));
	EXPECT_STREQ("idle", state);
}

/* Each file of sysfs is a line of debugfs. */
TEST_F_TIMEOUT(stall, sysfs_agrees, PATIENCE)
{
	static const char * const numbers[] = {
		"detected", "rescued", "boosts", "ended_blocked", "ended_duration",
		"ended_running", "ended_moved", "ended_outranked", "ended_paused",
		"ended_offline", "overruns", "hog_lost_ns", "longest_piece_ns",
		"longest_wait_ns", "warm_ns", "reports_suppressed",
	};
	long long detected = stat_of(self->cpu, "detected");
	long long rescued = stat_of(self->cpu, "rescued");
	long long warm = stat_of(self->cpu, "warm_ns");
	char value[32] = "", path[96];
	struct hog *hog;
	size_t i;

	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	for (i = 0; i < 3; i++)
		EXPECT_LT(0, work_flush(self->cpu, 20));
	EXPECT_TRUE(hog_running(hog));
	hog_stop(hog);
	cool_down();
	ASSERT_LT(0, sysfs_stat(self->cpu, "state", value, sizeof(value)));
	EXPECT_STREQ("idle", value);
	for (i = 0; i < ARRAY_SIZE(numbers); i++) {
		ASSERT_LT(0, sysfs_stat(self->cpu, numbers[i], value, sizeof(value)));
		TH_LOG("%s: %s", numbers[i], value);
		EXPECT_EQ(atoll(value), stat_of(self->cpu, numbers[i]));
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/stall_monitor/%s",
			 self->cpu, numbers[i]);
		EXPECT_GT(0, put(path, "0\n"));
	}
	EXPECT_LT(detected, stat_of(self->cpu, "detected"));
	/* A worker may do two of the works before it sleeps. */
	EXPECT_LT(rescued, stat_of(self->cpu, "rescued"));
	/* From when the first was due, and for 50 ms after the last */
	warm = stat_of(self->cpu, "warm_ns") - warm;
	TH_LOG("warm for %lld us", warm / 1000);
	EXPECT_LE(50 * 1000 * 1000, warm);
	if (lab_exact_time())
		EXPECT_GE(150 * 1000 * 1000, warm);
	warm = stat_of(self->cpu, "warm_ns");
	cool_down();
	EXPECT_EQ(warm, stat_of(self->cpu, "warm_ns"));
}

/* Who waits, where, behind whom; and who waits for it */
TEST_F_TIMEOUT(stall, report_in_the_log, PATIENCE)
{
	char line[1024] = "", want[64];
	struct hog *hog;
	int pid;

	printf("# expect-console: stall_monitor: CPU\n");
	/* A line a minute */
	sleep_us(61000000);
	log_lines("stall_monitor: CPU", NULL, 0);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	/* Long enough that it is still waited for when the line is printed */
	pid = work_flush(self->cpu, 3000);
	ASSERT_LT(0, pid);
	EXPECT_TRUE(hog_running(hog));
	snprintf(want, sizeof(want), "waited for by stall_control (pid %d)", getpid());
	EXPECT_TRUE(wait_until(SOON_MS, log_lines(want, line, sizeof(line))));
	TH_LOG("%s", line);
	snprintf(want, sizeof(want), "stall_monitor: CPU%d: kworker", self->cpu);
	EXPECT_NE(NULL, strstr(line, want));
	snprintf(want, sizeof(want), "(pid %d) waited ", pid);
	EXPECT_NE(NULL, strstr(line, want));
	EXPECT_NE(NULL, strstr(line, ", has to do stall_work_fn"));
	snprintf(want, sizeof(want), "behind stall_control (pid %d,", hog->pid);
	EXPECT_NE(NULL, strstr(line, want));
}

/* A 2 reports each wait once, and relieves nobody. */
TEST_F_TIMEOUT(stall, only_reports, PATIENCE)
{
	long long detected, boosts;
	struct hog *hog;
	int fds[2], i;

	ASSERT_EQ(0, set("stall_monitor", 2));
	for (i = 0; i < 2; i++) {
		fds[i] = kthread_start(self->cpu, i ? "fifo" : "other", i, "bound");
		ASSERT_LE(0, fds[i]);
	}
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	detected = stat_of(self->cpu, "detected");
	boosts = stat_of(self->cpu, "boosts");
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, kthread_burn(fds[i], 20));
	sleep_us(300000);
	EXPECT_EQ(detected + 2, stat_of(self->cpu, "detected"));
	EXPECT_EQ(boosts, stat_of(self->cpu, "boosts"));
	EXPECT_EQ(2, stat_of(self->cpu, "waiting"));
	EXPECT_EQ(0, kthread_get(fds[0], "first_ns"));
	/* And are relieved as soon as that is wanted. */
	ASSERT_EQ(0, set("stall_monitor", 1));
	for (i = 0; i < 2; i++)
		EXPECT_EQ(0, kthread_command(fds[i], "wait"));
	EXPECT_TRUE(hog_running(hog));
}

/* A hog that naps does not make it news. */
TEST_F_TIMEOUT(stall, only_reports_once, PATIENCE)
{
	long long detected;
	struct hog *hog;
	int fd;

	ASSERT_EQ(0, set("stall_monitor", 2));
	fd = kthread_start(self->cpu, "other", 0, "bound");
	ASSERT_LE(0, fd);
	hog = hog_start_napping(self->cpu, 5000, 5);
	ASSERT_NE(NULL, hog);
	detected = stat_of(self->cpu, "detected");
	ASSERT_EQ(0, kthread_burn(fd, FOREVER_US));
	sleep_us(300000);
	EXPECT_EQ(detected + 1, stat_of(self->cpu, "detected"));
	EXPECT_TRUE(hog_running(hog));
	ASSERT_EQ(0, kthread_command(fd, "stop"));
}

/* Who is told of earlier, because somebody waits for it, does not hide the others. */
TEST_F_TIMEOUT(stall, reports_the_older_one_too, PATIENCE)
{
	long long detected;
	struct hog *hog;
	pid_t flusher;
	int fd;

	ASSERT_EQ(0, set("stall_monitor", 2));
	set("stall_monitor_threshold_us", 60000);
	set("stall_monitor_awaited_us", 5000);
	fd = kthread_start(self->cpu, "other", 0, "bound");
	ASSERT_LE(0, fd);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	detected = stat_of(self->cpu, "detected");
	ASSERT_EQ(0, kthread_burn(fd, 20));
	sleep_us(1000);
	flusher = fork();
	if (!flusher)
		_exit(work_flush(self->cpu, 20) <= 0);
	sleep_us(30000);
	EXPECT_EQ(detected + 1, stat_of(self->cpu, "detected"));
	sleep_us(70000);
	EXPECT_EQ(detected + 2, stat_of(self->cpu, "detected"));
	ASSERT_EQ(0, set("stall_monitor", 1));
	EXPECT_EQ(flusher, waitpid(flusher, NULL, 0));
	EXPECT_EQ(0, kthread_command(fd, "wait"));
	EXPECT_TRUE(hog_running(hog));
}

/* Ignored threads */

#define IGNORE	SYSCTL "stall_monitor_ignore"

TEST_F_TIMEOUT(stall, ignored, PATIENCE)
{
	struct hog *hog;
	int fd;

	/* lib/test_proxy_stall.c: stall_test/CPU */
	ASSERT_EQ(0, put(IGNORE, "nobody, stall_*/[0-9]*\n"));
	fd = kthread_start(self->cpu, "other", 0, "bound");
	ASSERT_LE(0, fd);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_burn(fd, 20));
	sleep_us(100000);
	EXPECT_EQ(0, stat_of(self->cpu, "waiting"));
	/* Others are not. */
	EXPECT_LT(0, work_flush(self->cpu, 20));
	EXPECT_EQ(0, kthread_get(fd, "first_ns"));
	/* Who starves already is helped, when that is wanted. */
	ASSERT_EQ(0, put(IGNORE, "nobody\n"));
	EXPECT_EQ(0, kthread_command(fd, "wait"));
	EXPECT_TRUE(hog_running(hog));
}

TEST_F_TIMEOUT(stall, ignored_while_boosting, PATIENCE)
{
	struct hog *hog;
	__u64 ran;
	int fd, pid, i;

	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	fd = start_burning(self->cpu);
	ASSERT_LE(0, fd);
	pid = kthread_get(fd, "pid");
	for (i = 0; i < 3; i++) {
		ASSERT_TRUE(wait_until(HOG_MS, boosted_pid(self->cpu) == pid));
		ASSERT_EQ(0, put(IGNORE, "stall_test/*\n"));
		EXPECT_TRUE(wait_until(100, boosted_pid(self->cpu) == -1));
		ran = run_time_ns(pid);
		sleep_us(100000);
		EXPECT_EQ(ran, run_time_ns(pid));
		ASSERT_EQ(0, put(IGNORE, "\n"));
	}
	EXPECT_TRUE(hog_running(hog));
}

/* put() is for less. */
static int put_long(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return err;
}

TEST_F_TIMEOUT(stall, ignore_list, PATIENCE)
{
	char is[512], line[1024] = "";
	int fd;

	ASSERT_LT(0, get(IGNORE, is, sizeof(is)));
	TH_LOG("default: %s", is);
	EXPECT_EQ(0, put(IGNORE, ", a*,b?,, c\n"));
	ASSERT_LT(0, get(IGNORE, is, sizeof(is)));
	EXPECT_STREQ("a*,b?,c\n", is);
	/* The rest of a list is none. */
	fd = open(IGNORE, O_WRONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	EXPECT_EQ(3, write(fd, "d,e", 3));
	EXPECT_EQ(-1, write(fd, "\n", 1));
	EXPECT_EQ(EINVAL, errno);
	close(fd);
	ASSERT_LT(0, get(IGNORE, is, sizeof(is)));
	EXPECT_STREQ("d,e\n", is);
	printf("# expect-console: stall_monitor_ignore is too long\n");
	log_lines("too long", NULL, 0);
	memset(is, 'x', 256);
	is[256] = '\0';
	EXPECT_EQ(-EINVAL, put_long(IGNORE, is));
	EXPECT_EQ(1, log_lines("too long", line, sizeof(line)));
	EXPECT_EQ(0, put(IGNORE, "\n"));
	ASSERT_LT(0, get(IGNORE, is, sizeof(is)));
	EXPECT_STREQ("\n", is);
}

/* Deadline bandwidth */

/* A task that has the CPU's bandwidth, in per mille, and does not use it */
static pid_t reserve(int cpu, unsigned int per_mille)
{
	struct deadline deadline = { per_mille * 100000ULL, 100000000, 100000000 };
	int status, ready[2];
	char ok = 0;
	pid_t pid;

	if (pipe(ready))
		return -1;
	pid = fork();
	if (!pid) {
		pin(cpu);
		ok = !set_deadline(0, deadline);
		if (write(ready[1], &ok, 1) == 1 && ok)
			pause();
		_exit(0);
	}
	if (read(ready[0], &ok, 1) != 1)
		ok = 0;
	close(ready[0]);
	close(ready[1]);
	if (ok)
		return pid;
	waitpid(pid, &status, 0);
	return -1;
}

static void release(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* Takes all but less than one per cent. */
static int fill(int cpu, pid_t *pids, int max)
{
	unsigned int per_mille;
	int n = 0;

	for (per_mille = 512; per_mille >= 8; per_mille /= 2)
		while (n < max) {
			pids[n] = reserve(cpu, per_mille);
			if (pids[n] < 0)
				break;
			n++;
		}
	return n;
}

/* A task bound to the CPU may be a deadline task only if none other is near. */
static bool deadline_possible(int cpu)
{
	pid_t pid = reserve(cpu, 10);

	if (pid > 0)
		release(pid);
	return pid > 0;
}

TEST_F_TIMEOUT(stall, busy_when_bandwidth_is_gone, PATIENCE)
{
	struct hog *hog;
	pid_t pids[32];
	int n;

	ASSERT_EQ(0, set("sched_rt_runtime_us", 950000));
	if (!deadline_possible(self->cpu))
		SKIP(return, "no deadline task on CPU %d alone", self->cpu);
	n = fill(self->cpu, pids, 32);
	ASSERT_LT(0, n);
	EXPECT_EQ(-EBUSY, set("stall_monitor_runtime_us", 900));
	EXPECT_EQ(40, stall("stall_monitor_runtime_us"));
	EXPECT_EQ(-EBUSY, set("stall_monitor_period_us", 100));
	EXPECT_EQ(1000, stall("stall_monitor_period_us"));
	/* Less is always possible, and what was, goes on. */
	EXPECT_EQ(0, set("stall_monitor_runtime_us", 20));
	EXPECT_EQ(0, set("stall_monitor_runtime_us", 40));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	EXPECT_LT(0, work_flush(self->cpu, 20));
	EXPECT_TRUE(hog_running(hog));
	/* Not at once: the bandwidth of the dead is theirs until their deadline. */
	while (n--)
		release(pids[n]);
	EXPECT_TRUE(wait_until(SOON_MS, !set("stall_monitor_runtime_us", 900)));
}

TEST_F_TIMEOUT(stall, enabling_is_refused, PATIENCE)
{
	long long boosts, detected;
	char line[1024] = "";
	struct hog *hog;
	pid_t pids[32];
	int n, fd;

	ASSERT_EQ(0, set("stall_monitor", 0));
	ASSERT_EQ(0, set("sched_rt_runtime_us", 950000));
	if (!deadline_possible(self->cpu))
		SKIP(return, "no deadline task on CPU %d alone", self->cpu);
	n = fill(self->cpu, pids, 32);
	ASSERT_LT(0, n);
	printf("# expect-console: stall_monitor: CPUs\n");
	log_lines("stall_monitor: ", NULL, 0);
	set("stall_monitor", 1);
	ASSERT_EQ(1, stall("stall_monitor"));
	if (!log_lines("stall_monitor: ", line, sizeof(line))) {
		EXPECT_LE(0, stat_of(self->cpu, "waiting"));
		SKIP(return, "a pause keeps the bandwidth");
	}
	TH_LOG("%s", line);
	fd = kthread_start(self->cpu, "other", 0, "bound");
	ASSERT_LE(0, fd);
	detected = stat_of(self->cpu, "detected");
	boosts = stat_of(self->cpu, "boosts");
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_burn(fd, 20));
	/* Seen and told, and no more. */
	EXPECT_TRUE(wait_until(SOON_MS, stat_of(self->cpu, "detected") > detected));
	sleep_us(100000);
	EXPECT_EQ(boosts, stat_of(self->cpu, "boosts"));
	EXPECT_EQ(0, kthread_get(fd, "first_ns"));
	EXPECT_TRUE(hog_running(hog));
	hog_stop(hog);
	while (n--)
		release(pids[n]);

	/* Bandwidth has returned: it is asked for again, and enough. */
	ASSERT_EQ(0, kthread_command(fd, "wait"));
	sleep_us(200000);
	ASSERT_EQ(0, set("stall_monitor", 0));
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_burn(fd, 20));
	ASSERT_EQ(0, set("stall_monitor", 1));
	EXPECT_EQ(0, kthread_command(fd, "wait"));
	EXPECT_TRUE(hog_running(hog));
}

/* Who was told of while there was none, and runs when there is some, is helped later on. */
TEST_F_TIMEOUT(stall, bandwidth_comes_while_it_runs, PATIENCE)
{
	struct hog_plan plan = {
		.cpu = self->cpu, .prio = HOG_PRIO, .ms = HOG_MS, .naps = 1,
		.run_us = 200000, .sleep_us = 100000,
	};
	long long detected;
	struct hog *hog;
	pid_t pids[32];
	int n, fd, pid;

	ASSERT_EQ(0, set("stall_monitor", 0));
	/* A quarter is refused, next to nothing is not. */
	ASSERT_EQ(0, set("stall_monitor_period_us", 4000000));
	ASSERT_EQ(0, set("stall_monitor_runtime_us", 1000000));
	ASSERT_EQ(0, set("sched_rt_runtime_us", 950000));
	if (!deadline_possible(self->cpu))
		SKIP(return, "no deadline task on CPU %d alone", self->cpu);
	fd = kthread_start(self->cpu, "other", 0, "bound");
	ASSERT_LE(0, fd);
	pid = kthread_get(fd, "pid");
	n = fill(self->cpu, pids, 32);
	ASSERT_LT(0, n);
	printf("# expect-console: stall_monitor: CPUs\n");
	log_lines("stall_monitor: ", NULL, 0);
	EXPECT_EQ(0, set("stall_monitor", 1));
	EXPECT_EQ(1, log_lines("no deadline bandwidth left", NULL, 0));

	detected = stat_of(self->cpu, "detected");
	hog = hog_start_plan(&plan);
	ASSERT_NE(NULL, hog);
	EXPECT_EQ(0, kthread_burn(fd, FOREVER_US));
	sleep_us(50000);
	EXPECT_LT(detected, stat_of(self->cpu, "detected"));
	EXPECT_EQ(0, kthread_get(fd, "first_ns"));
	/* What it runs while the hog naps is little then, and its wait goes on after it. */
	EXPECT_EQ(0, set("stall_monitor_threshold_us", 3600000000LL));
	EXPECT_TRUE(wait_until(500, kthread_get(fd, "first_ns") > 0));
	sleep_us(5000);
	EXPECT_EQ(0, set("stall_monitor_runtime_us", 1000));
	EXPECT_EQ(0U, peek(hog->phase));
	EXPECT_TRUE(wait_until(500, peek(hog->phase)));
	EXPECT_EQ(0, set("stall_monitor_threshold_us", 20000));
	EXPECT_TRUE(wait_until(SOON_MS, boosted_pid(self->cpu) == pid));
	EXPECT_TRUE(hog_running(hog));
	hog_stop(hog);
	while (n--)
		release(pids[n]);
	/* Theirs until their deadline, as above: so the next test has it. */
	EXPECT_EQ(0, set("stall_monitor_runtime_us", 900));
	EXPECT_TRUE(wait_until(SOON_MS, !set("stall_monitor_period_us", 1000)));
}

TEST_HARNESS_MAIN
