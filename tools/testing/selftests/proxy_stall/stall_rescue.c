// SPDX-License-Identifier: GPL-2.0
/*
 * Kernel threads that starve behind a SCHED_FIFO hog are rescued, and nothing
 * about them changes.
 *
 * "Rescued" is: it ran while the hog went on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"

/* Slices large enough to see a boost from another CPU, and a boost that lasts. */
static void boost_for_long(void)
{
	set("stall_monitor_duration_us", 60000000);
	set("stall_monitor_runtime_us", 500);
}

TEST_F_TIMEOUT(stall, stat_refresh, PATIENCE)
{
	char buf[64];
	long long boosts;
	struct hog *hog;

	if (access("/proc/sys/vm/stat_refresh", R_OK))
		SKIP(return, "no /proc/sys/vm/stat_refresh");
	boosts = stat_of(self->cpu, "boosts");
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_LE(0, get("/proc/sys/vm/stat_refresh", buf, sizeof(buf)));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_LT(boosts, stat_of(self->cpu, "boosts"));
}

TEST_F_TIMEOUT(stall, flushed_work, PATIENCE)
{
	struct hog *hog = hog_start(self->cpu);
	int i;

	ASSERT_NE(NULL, hog);
	for (i = 0; i < 5; i++)
		ASSERT_LT(0, work_flush(self->cpu, 20));
	EXPECT_TRUE(hog_running(hog));
}

/* Policies and priorities below the hog's */
FIXTURE(victim) {
	int cpu;
};

FIXTURE_VARIANT(victim) {
	const char *policy;
	int prio;
	const char *bind;
};

FIXTURE_VARIANT_ADD(victim, other) {
	.policy = "other", .prio = 0, .bind = "bound",
};

FIXTURE_VARIANT_ADD(victim, nice_19) {
	.policy = "other", .prio = 19, .bind = "movable",
};

FIXTURE_VARIANT_ADD(victim, nice_minus_20) {
	.policy = "other", .prio = -20, .bind = "bound",
};

FIXTURE_VARIANT_ADD(victim, fifo_1) {
	.policy = "fifo", .prio = 1, .bind = "bound",
};

FIXTURE_VARIANT_ADD(victim, fifo_54) {
	.policy = "fifo", .prio = HOG_PRIO - 1, .bind = "movable",
};

FIXTURE_SETUP(victim)
{
	const char *why = lab_enter();

	if (why)
		SKIP(return, "%s", why);
	self->cpu = lab_cpu();
}

FIXTURE_TEARDOWN(victim)
{
	lab_leave();
}

TEST_F_TIMEOUT(victim, rescued, PATIENCE)
{
	long long threshold_ns = stall("stall_monitor_threshold_us") * 1000;
	struct hog *hog;
	int fd;

	fd = kthread_start(self->cpu, variant->policy, variant->prio, variant->bind);
	ASSERT_LE(0, fd);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_burn(fd, 100));
	ASSERT_EQ(0, kthread_command(fd, "wait"));
	EXPECT_TRUE(hog_running(hog));
	if (!others_starve(self->cpu))
		EXPECT_LE(threshold_ns, kthread_get(fd, "first_ns") - kthread_get(fd, "woken_ns"));
}

TEST_F_TIMEOUT(victim, nothing_changes, PATIENCE)
{
	struct identity before, during, after;
	int fd, pid, samples = 0;
	struct hog *hog;

	boost_for_long();
	fd = kthread_start(self->cpu, variant->policy, variant->prio, variant->bind);
	ASSERT_LE(0, fd);
	pid = kthread_get(fd, "pid");
	before = identity_of(pid);
	EXPECT_EQ(strcmp(variant->policy, "fifo") ? SCHED_OTHER : SCHED_FIFO, before.policy);

	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_burn(fd, FOREVER_US));
	while (hog_running(hog) && samples < 20) {
		bool boosted = boosted_pid(self->cpu) == pid;

		during = identity_of(pid);
		ASSERT_TRUE(same(&before, &during));
		samples += boosted && boosted_pid(self->cpu) == pid;
	}
	/* Those that count were taken during the boost, from another CPU. */
	EXPECT_EQ(20, samples);
	ASSERT_EQ(0, kthread_command(fd, "stop"));
	EXPECT_TRUE(hog_running(hog));
	close(fd);

	/* After a boost that ended by itself */
	set("stall_monitor_duration_us", 10000);
	fd = kthread_start(self->cpu, variant->policy, variant->prio, variant->bind);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, kthread_burn(fd, 100));
	ASSERT_EQ(0, kthread_command(fd, "wait"));
	EXPECT_TRUE(hog_running(hog));
	after = identity_of(kthread_get(fd, "pid"));
	EXPECT_TRUE(same(&before, &after));
}

/*
 * Three, each needing more than one boost: the first round of boosts goes by
 * age and not by priority, and the second waits until all had the first.
 */
TEST_F_TIMEOUT(stall, oldest_first, PATIENCE)
{
	static const struct {
		const char *policy;
		int prio;
	} kinds[] = { { "other", 19 }, { "fifo", 1 }, { "fifo", 54 } };
	static struct event events[MAX_EVENTS];
	/* All three have to wait before the first one's turn is over. */
	unsigned int turn_us = HOG_MS * 1000 / 600;
	int fds[3], pids[3], i, n, nth = 0;
	struct hog *hog;

	set("stall_monitor_duration_us", turn_us);
	set("stall_monitor_threshold_us", 10 * turn_us);
	for (i = 0; i < 3; i++) {
		fds[i] = kthread_start(self->cpu, kinds[i].policy, kinds[i].prio, "bound");
		ASSERT_LE(0, fds[i]);
		pids[i] = kthread_get(fds[i], "pid");
	}
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	trace_start("stall_monitor:stall_boost_start");
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, kthread_burn(fds[i], FOREVER_US));
		sleep_us(500);
	}
	sleep_us(80 * turn_us);
	ASSERT_TRUE(hog_running(hog));
	n = trace_stop(events, MAX_EVENTS);
	for (i = 0; i < n && nth < 6; i++) {
		int pid = event_number(&events[i], "pid");

		/* The CPU's own threads may starve here too. */
		if (pid != pids[0] && pid != pids[1] && pid != pids[2])
			continue;
		ASSERT_EQ(pids[nth % 3], pid);
		nth++;
	}
	EXPECT_EQ(6, nth);
}

TEST_F_TIMEOUT(stall, several_cpus, PATIENCE)
{
	struct hog *hogs[MAX_CPUS];
	int cpus[MAX_CPUS], fds[MAX_CPUS], n = lab_cpus(cpus), i;

	if (n < 2)
		SKIP(return, "needs three CPUs");
	for (i = 0; i < n; i++) {
		char state[16] = "";

		state_of(cpus[i], state, sizeof(state));
		if (!strcmp(state, "off"))
			SKIP(return, "CPU %d is not watched", cpus[i]);
		fds[i] = kthread_start(cpus[i], i % 2 ? "fifo" : "other", i % 2, "bound");
		ASSERT_LE(0, fds[i]);
	}
	for (i = 0; i < n; i++) {
		hogs[i] = hog_start(cpus[i]);
		ASSERT_NE(NULL, hogs[i]);
	}
	for (i = 0; i < n; i++)
		ASSERT_EQ(0, kthread_burn(fds[i], 100));
	for (i = 0; i < n; i++)
		ASSERT_EQ(0, kthread_command(fds[i], "wait"));
	for (i = 0; i < n; i++)
		EXPECT_TRUE(hog_running(hogs[i]));
}

/*
 * It waits again and again, in all for far longer than the threshold, and never
 * for as long as that: no boost.  When the hog no longer lets go: boosts.
 */
TEST_F_TIMEOUT(stall, progress_is_no_stall, PATIENCE)
{
	struct hog_plan plan = { .prio = HOG_PRIO, .ms = HOG_MS };
	long long boosts, detected;
	struct hog *hog;
	int fd;

	set("stall_monitor_threshold_us", 200000);
	fd = kthread_start(self->cpu, "other", 0, "bound");
	ASSERT_LE(0, fd);
	plan.cpu = self->cpu;
	plan.run_us = 20000;
	plan.sleep_us = 10000;
	plan.naps = 30;
	hog = hog_start_plan(&plan);
	ASSERT_NE(NULL, hog);
	boosts = stat_of(self->cpu, "boosts");
	detected = stat_of(self->cpu, "detected");
	ASSERT_EQ(0, kthread_burn(fd, FOREVER_US));
	ASSERT_TRUE(wait_until(HOG_MS, peek(hog->phase) == 20));
	EXPECT_EQ(boosts, stat_of(self->cpu, "boosts"));
	EXPECT_EQ(detected, stat_of(self->cpu, "detected"));
	EXPECT_TRUE(wait_until(HOG_MS, stat_of(self->cpu, "boosts") > boosts ||
			       !hog_running(hog)));
	EXPECT_TRUE(hog_running(hog));
}

/* Stronger than the hog: it never waits. */
TEST_F_TIMEOUT(stall, stronger_than_the_hog, PATIENCE)
{
	struct program busy = { .rounds = 200, .burn_us = 50, .sleep_us = 1000 };
	long long detected = stat_of(self->cpu, "detected");
	struct hog *hog;
	int fd;

	set("stall_monitor_threshold_us", 10000);
	fd = kthread_start(self->cpu, "fifo", HOG_PRIO + 1, "bound");
	ASSERT_LE(0, fd);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_run(fd, busy));
	ASSERT_EQ(0, kthread_command(fd, "wait"));
	EXPECT_TRUE(hog_running(hog));
	if (!others_starve(self->cpu))
		EXPECT_EQ(detected, stat_of(self->cpu, "detected"));
	/* And the CPU was one where it would have been seen. */
	EXPECT_LT(0, work_flush(self->cpu, 20));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_LT(detected, stat_of(self->cpu, "detected"));
}

static int boosts_of(const struct event *events, int n, int pid)
{
	int i, count = 0;

	for (i = 0; i < n; i++)
		count += !strcmp(events[i].name, "stall_boost_start") &&
			 event_number(&events[i], "pid") == pid;
	return count;
}

/* It is not boosted where who is weaker is boosted at once, either. */
TEST_F_TIMEOUT(stall, stronger_than_the_hog_on_a_warm_cpu, PATIENCE)
{
	long long threshold_ns = stall("stall_monitor_threshold_us") * 1000;
	static struct event events[MAX_EVENTS];
	int weak, strong, pids[2], i, n;
	struct hog *hog;

	/* The first event waits for works on all CPUs. */
	trace_start("stall_monitor:stall_boost_start");
	weak = kthread_start(self->cpu, "fifo", 1, "bound");
	strong = kthread_start(self->cpu, "fifo", HOG_PRIO + 1, "bound");
	ASSERT_LE(0, weak);
	ASSERT_LE(0, strong);
	pids[0] = kthread_get(weak, "pid");
	pids[1] = kthread_get(strong, "pid");
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_burn(weak, 10));
	ASSERT_EQ(0, kthread_command(weak, "wait"));
	/* For longer than the other one's boost lasts */
	for (i = 0; i < 10; i++) {
		sleep_us(1000);
		ASSERT_EQ(0, kthread_burn(strong, 10));
		ASSERT_EQ(0, kthread_command(strong, "wait"));
	}
	ASSERT_EQ(0, kthread_burn(weak, 10));
	ASSERT_EQ(0, kthread_command(weak, "wait"));
	EXPECT_TRUE(hog_running(hog));
	/* It has been warm all the while. */
	if (lab_exact_time())
		EXPECT_GT(threshold_ns,
			  kthread_get(weak, "first_ns") - kthread_get(weak, "woken_ns"));
	n = trace_stop(events, MAX_EVENTS);
	EXPECT_LE(2, boosts_of(events, n, pids[0]));
	EXPECT_EQ(0, boosts_of(events, n, pids[1]));
}

/* A kthread that is the hog gets its CPU back without a boost, when who had one sleeps. */
TEST_F_TIMEOUT(stall, hog_is_a_kthread, PATIENCE)
{
	/* Where time is slow, a short sleep may be over before it has begun. */
	struct program naps = {
		.rounds = 10, .burn_us = 10, .sleep_us = lab_exact_time() ? 5000 : 100000,
	};
	static struct event events[MAX_EVENTS];
	int weak, strong, pids[2], n;

	/* The first event waits for works on all CPUs. */
	trace_start("stall_monitor:stall_boost_start");
	weak = kthread_start(self->cpu, "other", 0, "bound");
	strong = kthread_start(self->cpu, "fifo", HOG_PRIO, "bound");
	ASSERT_LE(0, weak);
	ASSERT_LE(0, strong);
	pids[0] = kthread_get(weak, "pid");
	pids[1] = kthread_get(strong, "pid");
	ASSERT_EQ(0, kthread_burn(strong, HOG_MS * 1000));
	ASSERT_TRUE(wait_until(SOON_MS, kthread_get(strong, "first_ns") > 0));
	ASSERT_EQ(0, kthread_run(weak, naps));
	ASSERT_EQ(0, kthread_command(weak, "wait"));
	EXPECT_EQ(0, kthread_get(strong, "end_ns"));
	ASSERT_EQ(0, kthread_command(strong, "stop"));
	n = trace_stop(events, MAX_EVENTS);
	EXPECT_LE(lab_exact_time() ? 10 : 2, boosts_of(events, n, pids[0]));
	EXPECT_EQ(0, boosts_of(events, n, pids[1]));
}

TEST_F_TIMEOUT(stall, stop_while_starving, PATIENCE)
{
	struct hog *hog;
	int fd;

	set("stall_monitor_threshold_us", 200000);
	fd = kthread_start(self->cpu, "other", 0, "bound");
	ASSERT_LE(0, fd);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_burn(fd, FOREVER_US));
	ASSERT_EQ(0, kthread_command(fd, "stop"));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_TRUE(wait_until(SOON_MS, stat_of(self->cpu, "waiting") == 0));
}

TEST_F_TIMEOUT(stall, stop_while_boosted, PATIENCE)
{
	struct hog *hog;
	int fd, pid;

	boost_for_long();
	fd = kthread_start(self->cpu, "fifo", 1, "bound");
	ASSERT_LE(0, fd);
	pid = kthread_get(fd, "pid");
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_burn(fd, FOREVER_US));
	ASSERT_TRUE(wait_until(HOG_MS, boosted_pid(self->cpu) == pid));
	ASSERT_EQ(0, kthread_command(fd, "stop"));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_TRUE(wait_until(SOON_MS, boosted_pid(self->cpu) == -1));
}

static int set_policy(pid_t pid, int policy, int prio)
{
	struct sched_param param = { .sched_priority = prio };

	return sched_setscheduler(pid, policy, &param);
}

/* A thread that waits keeps its place when its class changes. */
TEST_F_TIMEOUT(stall, setscheduler_while_starving, PATIENCE)
{
	long long threshold_ns = 100000000, waited_ns;
	int fd, pid, i;
	struct hog *hog;

	set("stall_monitor_threshold_us", threshold_ns / 1000);
	fd = kthread_start(self->cpu, "other", 0, "bound");
	ASSERT_LE(0, fd);
	pid = kthread_get(fd, "pid");
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_burn(fd, 100));
	for (i = 0; i < 4; i++) {
		sleep_us(5000);
		ASSERT_EQ(0, set_policy(pid, SCHED_FIFO, 1 + i));
		sleep_us(5000);
		ASSERT_EQ(0, set_policy(pid, SCHED_OTHER, 0));
	}
	ASSERT_EQ(0, set_policy(pid, SCHED_FIFO, 7));
	ASSERT_EQ(0, kthread_command(fd, "wait"));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_EQ(SCHED_FIFO, sched_getscheduler(pid));
	waited_ns = kthread_get(fd, "first_ns") - kthread_get(fd, "woken_ns");
	if (!others_starve(self->cpu))
		EXPECT_LE(threshold_ns, waited_ns);
	/* Had it begun anew with each change, it would be 40 ms more. */
	if (lab_exact_time())
		EXPECT_GE(threshold_ns + 20000000, waited_ns);
}

TEST_F_TIMEOUT(stall, setscheduler_while_boosted, PATIENCE)
{
	int fd, pid, i;
	struct hog *hog;

	boost_for_long();
	fd = kthread_start(self->cpu, "other", 0, "bound");
	ASSERT_LE(0, fd);
	pid = kthread_get(fd, "pid");
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_burn(fd, FOREVER_US));
	for (i = 0; i < 5; i++) {
		ASSERT_TRUE(wait_until(HOG_MS, boosted_pid(self->cpu) == pid));
		ASSERT_EQ(0, set_policy(pid, SCHED_FIFO, 1));
		ASSERT_TRUE(wait_until(HOG_MS, boosted_pid(self->cpu) == pid));
		ASSERT_EQ(0, set_policy(pid, SCHED_OTHER, 0));
	}
	EXPECT_TRUE(hog_running(hog));
	EXPECT_EQ(SCHED_OTHER, sched_getscheduler(pid));
	ASSERT_EQ(0, kthread_command(fd, "stop"));
	EXPECT_TRUE(hog_running(hog));
}

/* Stronger than the hog in mid-boost: it needs nobody's context any more. */
TEST_F_TIMEOUT(stall, outranks_the_hog_while_boosted, PATIENCE)
{
	struct hog *hog;
	int fd, pid;

	boost_for_long();
	fd = kthread_start(self->cpu, "fifo", 1, "bound");
	ASSERT_LE(0, fd);
	pid = kthread_get(fd, "pid");
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_burn(fd, FOREVER_US));
	ASSERT_TRUE(wait_until(HOG_MS, boosted_pid(self->cpu) == pid));
	ASSERT_EQ(0, set_policy(pid, SCHED_FIFO, HOG_PRIO + 1));
	EXPECT_TRUE(wait_until(SOON_MS, boosted_pid(self->cpu) == -1));
	ASSERT_EQ(0, kthread_command(fd, "stop"));
	EXPECT_TRUE(hog_running(hog));
}

/* Bound to no CPU, but all that it may run on are taken. */
TEST_F_TIMEOUT(stall, wider_than_a_cpu, PATIENCE)
{
	int cpus[MAX_CPUS], n = lab_cpus(cpus), fd, pid, i;
	struct hog *hogs[2];
	cpu_set_t set;

	if (n < 2)
		SKIP(return, "needs three CPUs");
	fd = kthread_start(cpus[0], "other", 0, "movable");
	ASSERT_LE(0, fd);
	pid = kthread_get(fd, "pid");
	ASSERT_EQ(0, allow(pid, cpus[0], cpus[1]));
	for (i = 0; i < 2; i++) {
		hogs[i] = hog_start(cpus[i]);
		ASSERT_NE(NULL, hogs[i]);
	}
	ASSERT_EQ(0, kthread_burn(fd, 100));
	ASSERT_EQ(0, kthread_command(fd, "wait"));
	for (i = 0; i < 2; i++)
		EXPECT_TRUE(hog_running(hogs[i]));
	ASSERT_EQ(0, sched_getaffinity(pid, sizeof(set), &set));
	EXPECT_EQ(2, CPU_COUNT(&set));
}

TEST_F_TIMEOUT(stall, moved_while_starving, PATIENCE)
{
	struct hog *hog;
	int fd, pid;

	set("stall_monitor_threshold_us", 200000);
	fd = kthread_start(self->cpu, "other", 0, "movable");
	ASSERT_LE(0, fd);
	pid = kthread_get(fd, "pid");
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_burn(fd, FOREVER_US));
	ASSERT_TRUE(wait_until(SOON_MS, stat_of(self->cpu, "waiting") == 1));
	ASSERT_EQ(0, move(pid, 0));
	EXPECT_TRUE(wait_until(SOON_MS, stat_of(self->cpu, "waiting") == 0));
	EXPECT_TRUE(wait_until(SOON_MS, kthread_get(fd, "first_ns") > 0));
	/* And back, where it starves again. */
	ASSERT_EQ(0, move(pid, self->cpu));
	EXPECT_TRUE(wait_until(HOG_MS, boosted_pid(self->cpu) == pid));
	ASSERT_EQ(0, kthread_command(fd, "stop"));
	EXPECT_TRUE(hog_running(hog));
}

TEST_F_TIMEOUT(stall, moved_while_boosted, PATIENCE)
{
	static struct event events[MAX_EVENTS];
	int fd, pid, i, n, moved = 0;
	struct hog *hog;

	boost_for_long();
	fd = kthread_start(self->cpu, "other", 0, "movable");
	ASSERT_LE(0, fd);
	pid = kthread_get(fd, "pid");
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	trace_start("stall_monitor:stall_boost_end");
	ASSERT_EQ(0, kthread_burn(fd, FOREVER_US));
	ASSERT_TRUE(wait_until(HOG_MS, boosted_pid(self->cpu) == pid));
	ASSERT_EQ(0, move(pid, 0));
	EXPECT_TRUE(wait_until(SOON_MS, boosted_pid(self->cpu) == -1));
	EXPECT_TRUE(hog_running(hog));
	n = trace_stop(events, MAX_EVENTS);
	for (i = 0; i < n; i++)
		moved += event_number(&events[i], "pid") == pid &&
			 event_has(&events[i], "reason=moved");
	EXPECT_EQ(1, moved);
}

/*
 * A boosted kthread blocks on a mutex whose owner sleeps on another CPU.  With
 * and without proxy execution: its boost ends, others are rescued meanwhile,
 * and so is it, once it has the mutex.
 */
TEST_F_TIMEOUT(stall, blocks_on_a_mutex, PATIENCE)
{
	struct program hold = { .rounds = 1, .lock = 1, .hold_us = 500000 };
	struct program take = { .rounds = 1, .lock = 1, .burn_us = 20 };
	int owner, waiter, pid;
	struct hog *hog;

	boost_for_long();
	owner = kthread_start(0, "other", 0, "bound");
	waiter = kthread_start(self->cpu, "fifo", 1, "bound");
	ASSERT_LE(0, owner);
	ASSERT_LE(0, waiter);
	pid = kthread_get(waiter, "pid");
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_run(owner, hold));
	ASSERT_TRUE(wait_until(SOON_MS, kthread_get(owner, "first_ns") > 0));
	ASSERT_EQ(0, kthread_run(waiter, take));

	ASSERT_TRUE(wait_until(HOG_MS, kthread_get(waiter, "first_ns") > 0));
	EXPECT_TRUE(wait_until(200, boosted_pid(self->cpu) != pid));
	EXPECT_LT(0, work_flush(self->cpu, 20));
	EXPECT_EQ(0, kthread_get(waiter, "end_ns"));
	EXPECT_EQ(0, kthread_command(waiter, "wait"));
	EXPECT_TRUE(hog_running(hog));
}

/* The hog comes to @cpu when @owner has the lock, which it keeps. */
static struct hog *hog_an_owner(int owner, struct program own, int cpu)
{
	struct hog *hog;

	if (kthread_run(owner, own) || !wait_until(SOON_MS, kthread_get(owner, "first_ns") > 0))
		return NULL;
	hog = hog_start(cpu);
	return kthread_get(owner, "end_ns") ? NULL : hog;
}

/* So long a thread has it: for longer than a hog takes to come */
#define SECTION_US	(lab_exact_time() ? 2000 : 60000)

/* The owner starves on the same CPU, with the mutex. */
TEST_F_TIMEOUT(stall, blocks_on_a_starving_owner, PATIENCE)
{
	struct program own = { .rounds = 1, .lock = 1, .burn_us = SECTION_US };
	struct program take = { .rounds = 1, .lock = 1, .burn_us = 20 };
	struct hog *hog;
	int owner, waiter;

	boost_for_long();
	owner = kthread_start(self->cpu, "other", 0, "bound");
	waiter = kthread_start(self->cpu, "fifo", 1, "bound");
	ASSERT_LE(0, owner);
	ASSERT_LE(0, waiter);
	hog = hog_an_owner(owner, own, self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_run(waiter, take));
	EXPECT_EQ(0, kthread_command(waiter, "wait"));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_EQ(0, kthread_command(owner, "wait"));
	EXPECT_TRUE(hog_running(hog));
}

/*
 * With PREEMPT_RT spinlocks are such mutexes. The owner was preempted in its
 * section, and needs its share for the rest of that; who wants the spinlock has
 * its boost afterwards.
 */
TEST_F_TIMEOUT(stall, blocks_on_a_spinlock, PATIENCE)
{
	struct program own = { .rounds = 1, .lock = 2, .burn_us = SECTION_US };
	struct program take = { .rounds = 1, .lock = 2, .burn_us = 20 };
	struct hog *hog;
	int owner, waiter;
	__u64 took;

	if (!lab_rt())
		SKIP(return, "spinlocks cannot be preempted here");
	owner = kthread_start(self->cpu, "other", 0, "bound");
	waiter = kthread_start(self->cpu, "fifo", 1, "bound");
	ASSERT_LE(0, owner);
	ASSERT_LE(0, waiter);
	hog = hog_an_owner(owner, own, self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_run(waiter, take));
	EXPECT_EQ(0, kthread_command(waiter, "wait"));
	EXPECT_EQ(0, kthread_command(owner, "wait"));
	EXPECT_TRUE(hog_running(hog));
	took = kthread_get(waiter, "end_ns") - kthread_get(waiter, "woken_ns");
	TH_LOG("it took %llu ns", took);
	/* Two thresholds, and 40 us of each 1000 with what a switch takes besides */
	if (lab_exact_time())
		EXPECT_GE(40000000ULL + SECTION_US * 1000ULL * 33, took);
}

/* A thread is boosted in the section, when somebody stronger than the hog wants that. */
TEST_F_TIMEOUT(stall, holds_a_spinlock, PATIENCE)
{
	struct program own = { .rounds = 1, .lock = 2, .burn_us = SECTION_US };
	struct program take = { .rounds = 1, .lock = 2, .burn_us = 20 };
	struct identity before, after;
	struct hog *hog;
	int owner, strong, pid;
	__u64 took;

	if (!lab_rt())
		SKIP(return, "spinlocks cannot be preempted here");
	owner = kthread_start(self->cpu, "other", 0, "bound");
	strong = kthread_start(self->cpu, "fifo", HOG_PRIO + 1, "bound");
	ASSERT_LE(0, owner);
	ASSERT_LE(0, strong);
	pid = kthread_get(owner, "pid");
	before = identity_of(pid);
	hog = hog_an_owner(owner, own, self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_TRUE(wait_until(HOG_MS, boosted_pid(self->cpu) == pid));
	EXPECT_EQ(0, kthread_get(owner, "end_ns"));
	ASSERT_EQ(0, kthread_run(strong, take));
	EXPECT_EQ(0, kthread_command(strong, "wait"));
	EXPECT_TRUE(hog_running(hog));
	took = kthread_get(strong, "end_ns") - kthread_get(strong, "woken_ns");
	TH_LOG("it took %llu ns", took);
	/* It is inherited priority that gets the owner to run, not a slice a period. */
	if (lab_exact_time())
		EXPECT_GE(SECTION_US * 1000ULL + 200000, took);
	EXPECT_EQ(0, kthread_command(owner, "wait"));
	after = identity_of(pid);
	EXPECT_TRUE(same(&before, &after));
	EXPECT_TRUE(hog_running(hog));
}

/* The module's unload stops kthreads that starve, and the tasks are gone. */
TEST_F_TIMEOUT(stall, unload_while_starving, PATIENCE)
{
	struct hog *hog;
	int fd, i;

	set("stall_monitor_threshold_us", 100000);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	for (i = 0; i < 3; i++) {
		fd = kthread_start(self->cpu, i ? "fifo" : "other", i, "bound");
		ASSERT_LE(0, fd);
		kthread_burn(fd, FOREVER_US);
		ASSERT_EQ(0, kthread_command(fd, "orphan"));
		close(fd);
	}
	if (module_unload())
		SKIP(return, "the test module cannot be unloaded");
	EXPECT_TRUE(hog_running(hog));
	EXPECT_TRUE(wait_until(SOON_MS, stat_of(self->cpu, "waiting") == 0));
}

/* The base's own remedy at the same time, at its defaults */
TEST_F_TIMEOUT(stall, with_fair_server, PATIENCE)
{
	struct hog *hog;
	int fair, fifo;

	if (set_fair_server(self->cpu, "runtime", 50000000))
		SKIP(return, "no fair_server");
	fair = kthread_start(self->cpu, "other", 0, "bound");
	fifo = kthread_start(self->cpu, "fifo", 1, "bound");
	ASSERT_LE(0, fair);
	ASSERT_LE(0, fifo);
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_burn(fair, 20000));
	ASSERT_EQ(0, kthread_burn(fifo, 1000));
	EXPECT_EQ(0, kthread_command(fifo, "wait"));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_EQ(0, kthread_command(fair, "wait"));
	EXPECT_TRUE(hog_running(hog));
}

TEST_HARNESS_MAIN
