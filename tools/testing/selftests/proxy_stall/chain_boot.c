// SPDX-License-Identifier: GPL-2.0
/*
 * What the boot parameter proxy_exec= of this boot says is what happens.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chain_fixture.h"

FIXTURE(boot) {
	int cpu;
	char value[32];
	bool off;
};

static void boot_parameter(char *value, size_t size)
{
	static char cmdline[4096];
	char *word;

	*value = '\0';
	if (get("/proc/cmdline", cmdline, sizeof(cmdline)) < 0)
		return;
	for (word = strtok(cmdline, "\n "); word; word = strtok(NULL, "\n "))
		if (!strncmp(word, "proxy_exec=", 11))
			snprintf(value, size, "%s", word + 11);
}

FIXTURE_SETUP(boot)
{
	const char *why;
	bool default_off;

	boot_parameter(self->value, sizeof(self->value));
	if (!*self->value)
		SKIP(return, "this was not booted with proxy_exec=");
	/* What is not understood changes nothing. */
	default_off = lab_rt() || !access("/sys/kernel/sched_ext", F_OK);
	self->off = !strcmp(self->value, "off") || (strcmp(self->value, "on") && default_off);
	/* Off, too, is something to test here. */
	if (self->off)
		setenv("PROXY_STALL_FORCE", "1", 1);
	why = chain_enter();
	if (why)
		SKIP(return, "%s", why);
	self->cpu = lab_cpu();
}

FIXTURE_TEARDOWN(boot)
{
	lab_leave();
}

TEST_F_TIMEOUT(boot, is_told, PATIENCE)
{
	char line[256] = "", said[96];

	snprintf(said, sizeof(said), "%s %s by boot parameter",
		 lab_rt() ? "priority inheritance along flushes" : "proxy execution",
		 self->off ? "disabled" : "enabled");
	if (!strcmp(self->value, "on") || !strcmp(self->value, "off")) {
		EXPECT_EQ(1, log_lines(said, NULL, 0));
	} else {
		EXPECT_EQ(1, log_lines("is not understood", line, sizeof(line)));
		EXPECT_NE(NULL, strstr(line, self->value));
		EXPECT_NE(NULL, strstr(line, self->off ? "it stays off" : "it stays on"));
		EXPECT_NE(NULL, strstr(line, "proxy_exec=on and proxy_exec=off"));
	}
}

TEST_F_TIMEOUT(boot, is_done, PATIENCE)
{
	const struct hog_plan plan = { .cpu = self->cpu, .prio = HOG_PRIO, .ms = 300 };
	long long lent = proxy_stat("lent");
	struct actor *w;
	struct hog *hog;

	set("stall_monitor", 0);
	ASSERT_EQ(0, chain_work(0, "burn 10"));
	hog = hog_start_plan(&plan);
	ASSERT_NE(NULL, hog);
	w = chain_start(SCHED_FIFO, W_PRIO, W_CPU, "queue 0 %d percpu; flush 0", self->cpu);
	ASSERT_NE(NULL, w);
	EXPECT_NE(self->off, actor_wait(w, 100));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_TRUE(actor_wait(w, HOG_MS));
	EXPECT_EQ(0, w->result);
	EXPECT_EQ(self->off, proxy_stat("lent") == lent);
}

TEST_HARNESS_MAIN
