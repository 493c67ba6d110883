// SPDX-License-Identifier: GPL-2.0
/*
 * Core scheduling: a boost has to win on the whole core, against the hog of the
 * sibling too, and the sibling gets its CPU back.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/prctl.h>

#include "fixture.h"

#ifndef PR_SCHED_CORE
#define PR_SCHED_CORE		62
#define PR_SCHED_CORE_GET	0
#define PR_SCHED_CORE_CREATE	1
#endif

static bool core_scheduling(void)
{
	unsigned long cookie;

	return !prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, 0, &cookie);
}

/* CPU 0 keeps the house, and its sibling cannot be taken. */
static bool has_core(int cpu)
{
	return sibling_of(cpu) > 0 && core_scheduling();
}

/* For this task and the hogs that it starts */
static bool take_cookie(void)
{
	return !prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, 0, 0);
}

/* Both threads of the core are taken: either has to let go for a boost. */
TEST_F_TIMEOUT(stall, hogs_on_both_siblings, PATIENCE)
{
	int fd[2], cpu[2], i;
	struct hog *hog[2];

	if (!has_core(self->cpu))
		SKIP(return, "no sibling to spare, or no core scheduling");
	cpu[0] = self->cpu;
	cpu[1] = sibling_of(self->cpu);
	for (i = 0; i < 2; i++) {
		fd[i] = kthread_start(cpu[i], i ? "fifo" : "other", i, "bound");
		ASSERT_LE(0, fd[i]);
	}
	ASSERT_TRUE(take_cookie());
	for (i = 0; i < 2; i++) {
		hog[i] = hog_start(cpu[i]);
		ASSERT_NE(NULL, hog[i]);
	}
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, kthread_burn(fd[i], 1000));
	for (i = 0; i < 2; i++)
		EXPECT_EQ(0, kthread_command(fd[i], "wait"));
	for (i = 0; i < 2; i++)
		EXPECT_TRUE(hog_running(hog[i]));
}

/* One hog forces the sibling idle, and that one's kthreads starve. */
TEST_F_TIMEOUT(stall, forced_idle_is_starving, PATIENCE)
{
	struct hog *hog;
	int fd;

	if (!has_core(self->cpu))
		SKIP(return, "no sibling to spare, or no core scheduling");
	fd = kthread_start(sibling_of(self->cpu), "fifo", 1, "bound");
	ASSERT_LE(0, fd);
	ASSERT_TRUE(take_cookie());
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_EQ(0, kthread_burn(fd, 1000));
	EXPECT_EQ(0, kthread_command(fd, "wait"));
	EXPECT_TRUE(hog_running(hog));
}

TEST_HARNESS_MAIN
