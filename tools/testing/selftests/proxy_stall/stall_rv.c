// SPDX-License-Identifier: GPL-2.0
/*
 * An independent judge: the monitor "stall" of runtime verification reports
 * tasks that are queued for longer than a threshold.  With the stall monitor it
 * has nothing to say of the CPU's kernel threads, without it has.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"

#define RV		TRACEFS "rv/"
#define PARAMETER	"/sys/module/stall/parameters/threshold_jiffies"

/* The stall monitor acts after 50 ms, the judge speaks after 200 jiffies. */
#define THRESHOLD_US	50000
#define JIFFIES		200

static int judge_start(void)
{
	int err = put(PARAMETER, "%d\n", JIFFIES);

	put(RV "monitoring_on", "1\n");
	put(RV "reacting_on", "1\n");
	put(RV "monitors/stall/reactors", "printk\n");
	return err ?: put(RV "enabled_monitors", "stall\n");
}

/* How often it spoke of the pid: "pid: event ... not expected ..." */
static int judge_stop(int pid)
{
	static struct event events[MAX_EVENTS];
	int n = trace_stop(events, MAX_EVENTS), i, count = 0;

	put(RV "enabled_monitors", "!stall\n");
	for (i = 0; i < n; i++)
		count += atoi(events[i].text) == pid;
	return count;
}

static int verdict(int cpu, int on, int *spoken)
{
	struct hog *hog;
	int fd, pid;

	set("stall_monitor", on);
	fd = kthread_start(cpu, "other", 0, "bound");
	if (fd < 0)
		return fd;
	pid = kthread_get(fd, "pid");
	hog = hog_start(cpu);
	if (!hog)
		return -1;
	trace_start("rv:error_stall rv:error_env_stall");
	kthread_burn(fd, FOREVER_US);
	sleep_us(2000000);
	*spoken = judge_stop(pid);
	hog_stop(hog);
	close(fd);
	return 0;
}

TEST_F_TIMEOUT(stall, the_judge_is_silent, PATIENCE)
{
	int on = -1, off = -1;

	if (access(RV "monitors/stall", F_OK))
		SKIP(return, "no CONFIG_RV_MON_STALL");
	printf("# expect-console: rv: monitor stall\n");
	set("stall_monitor_threshold_us", THRESHOLD_US);
	ASSERT_EQ(0, judge_start());
	ASSERT_EQ(0, verdict(self->cpu, 1, &on));
	ASSERT_EQ(0, judge_start());
	ASSERT_EQ(0, verdict(self->cpu, 0, &off));
	TH_LOG("reports with the stall monitor: %d, without: %d", on, off);
	EXPECT_EQ(0, on);
	EXPECT_LT(0, off);
}

TEST_HARNESS_MAIN
