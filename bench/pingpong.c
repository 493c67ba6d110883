// SPDX-License-Identifier: GPL-2.0
/*
 * Count the instructions of a wakeup and a switch.
 *
 *   pipe    two processes on one CPU pass a byte to and fro through two pipes
 *   flush   reading /proc/sys/vm/stat_refresh has a kworker of every CPU run;
 *           with one CPU that is: wake it, switch to it, and back
 *   mutex   two processes on one CPU take the same mutex in turn, and sleep for
 *           20 us while they hold it
 *   work    queue a work on this CPU, and flush it
 *   works   two processes do so with the same work, which sleeps for 20 us
 *
 * The last three are scripts for the module test_proxy_chain, /test_proxy_chain.ko.
 *
 * In the VM's virtual time a nanosecond is an instruction.  Prints the mean
 * of the rounds without the cheapest and the dearest tenth: the tick and what
 * comes with it is in the latter.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/types.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WARM_UP		100
#define MAX_ROUNDS	1000000

static __u32 took[MAX_ROUNDS];
static int to[2], from[2], file;
static char script[64];
static pid_t peer;
static void (*go)(void);

static __u64 now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void pass(int here, int there)
{
	char c = 0;

	if (write(there, &c, 1) != 1 || read(here, &c, 1) != 1)
		fail("pipe");
}

/* The other side answers, until its pipe is closed */
static void start_peer(void)
{
	char c = 0;

	if (pipe(to) || pipe(from))
		fail("pipe");
	if (fork())
		return;
	close(to[1]);
	while (read(to[0], &c, 1) == 1 && write(from[1], &c, 1) == 1)
		;
	exit(0);
}

static void round_pipe(void)
{
	pass(from[0], to[1]);
}

static void round_flush(void)
{
	char buf[16];

	if (pread(file, buf, sizeof(buf), 0) < 0)
		fail("stat_refresh");
}

static void round_script(void)
{
	if (write(file, script, strlen(script)) < 0)
		fail(script);
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		fail(path);
	close(fd);
}

/* Have the module run it; the other process, if @two, as often as it can. */
static void start_script(const char *text, const char *work, bool two)
{
	int module = open("/test_proxy_chain.ko", O_RDONLY);

	if (module < 0 || syscall(SYS_finit_module, module, "", 0))
		fail("/test_proxy_chain.ko");
	close(module);
	put("/sys/kernel/debug/test_proxy_chain/work", work);
	file = open("/sys/kernel/debug/test_proxy_chain/run", O_WRONLY);
	if (file < 0)
		fail("/sys/kernel/debug/test_proxy_chain/run");
	snprintf(script, sizeof(script), "%s", text);
	if (two) {
		peer = fork();
		if (peer < 0)
			fail("fork");
		while (!peer)
			round_script();
	}
	go = round_script;
}

static bool start(const char *what, int cpu)
{
	char flush[64];

	snprintf(flush, sizeof(flush), "queue 0 %d percpu; flush 0", cpu);
	if (!strcmp(what, "pipe")) {
		start_peer();
		go = round_pipe;
	} else if (!strcmp(what, "flush")) {
		file = open("/proc/sys/vm/stat_refresh", O_RDONLY);
		if (file < 0)
			fail("/proc/sys/vm/stat_refresh");
		go = round_flush;
	} else if (!strcmp(what, "mutex")) {
		start_script("lock 1; sleep 20; unlock 1", "0 = burn 0", true);
	} else if (!strcmp(what, "work")) {
		start_script(flush, "0 = burn 0", false);
	} else if (!strcmp(what, "works")) {
		start_script(flush, "0 = sleep 20", true);
	} else {
		return false;
	}
	return true;
}

static int compare(const void *a, const void *b)
{
	__u32 x = *(const __u32 *)a, y = *(const __u32 *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	int rounds = argc > 2 ? atoi(argv[2]) : 0;
	int cpu = argc > 3 ? atoi(argv[3]) : 0;
	int prio = argc > 4 ? atoi(argv[4]) : 0;
	struct sched_param sp = { .sched_priority = prio };
	__u64 t, sum = 0;
	cpu_set_t set;
	int i;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (mlockall(MCL_CURRENT | MCL_FUTURE) ||
	    sched_setaffinity(0, sizeof(set), &set) ||
	    sched_setscheduler(0, prio ? SCHED_FIFO : SCHED_OTHER, &sp))
		fail("pingpong");
	if (rounds < 10 || rounds > MAX_ROUNDS || !start(argv[1], cpu)) {
		fprintf(stderr,
			"Usage: pingpong pipe|flush|mutex|work|works ROUNDS [CPU [PRIORITY]]\n");
		return 2;
	}
	for (i = 0; i < WARM_UP; i++)
		go();
	for (i = 0; i < rounds; i++) {
		t = now();
		go();
		took[i] = now() - t;
	}
	close(to[1]);
	if (peer)
		kill(peer, SIGKILL);
	qsort(took, rounds, sizeof(*took), compare);
	for (i = rounds / 10; i < rounds - rounds / 10; i++)
		sum += took[i];
	printf("pingpong rounds name=%s prio=%d rounds=%d mean_ns=%llu median_ns=%u\n",
	       argv[1], prio, rounds,
	       sum / (rounds - rounds / 10 - rounds / 10),
	       took[rounds / 2]);
	return 0;
}
