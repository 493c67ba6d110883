// SPDX-License-Identifier: GPL-2.0
/*
 * Stress for proxy execution along mutexes and flushes: actors run random
 * scripts of the module test_proxy_chain, while a disturber kills them, changes
 * their policies and affinities, takes CPUs away, and starts hogs. Each has a
 * limit on what it may run without a sleep, and its CPU clock is read by others.
 *
 * Usage: chain_stress [-c] [-a ACTORS] [-r ROUND_SECONDS] [-w WATCHDOG_SECONDS]
 *		       [SECONDS [SEED]]
 *
 * -c: actors have core scheduling cookies. With a seed and in virtual time a run
 * can be repeated.
 *
 * It holds with proxy execution on and off: the hogs end by themselves, so that
 * all that is queued must be done and all that waits must be served in the end.
 *
 * Nothing may deadlock for real. So what can be waited for has a rank, drawn
 * anew for each round: each mutex, all ww_mutexes together, and each workqueue.
 * Whoever holds something, or is the body of a work, waits only for what ranks
 * higher. That holds for a work that is behind others in its workqueue too,
 * since all works of a workqueue have its rank; only where works do not wait
 * for each other's turn may one flush a later one of the same workqueue. A body
 * queues only what ranks higher than itself, or works would never end.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lab.h"

#ifndef PR_SCHED_CORE
#define PR_SCHED_CORE			62
#define PR_SCHED_CORE_CREATE		1
#define PR_SCHED_CORE_SHARE_FROM	3
#endif

#define MODULE		"test_proxy_chain"
#define CHAIN		DEBUGFS MODULE "/"
#define FAIR_SERVER	DEBUGFS "sched/fair_server/"
#define PROXY_FLUSH	DEBUGFS "sched/proxy_flush"
#define DEFAULT_SEED	20260101

#define MAX_SLOTS	128
#define MAX_TEXT	1024
#define MAX_HELD	5
#define NR_MUTEXES	12
#define NR_WW		5
#define NR_WORKS	32

/* Weaker than some deadline tasks only: it is what watches the others. */
#define OWN_PRIO	98
#define QUIET_MS	20000
#define HOG_CHECK_MS	20

enum {
	PERCPU, HIGHPRI, RECLAIM, UNBOUND, MAX1, UMAX1, ORDERED, BH, KTHREAD, NR_WQS,
};

/* serial: a work may wait for the turn of another one. */
static const struct {
	const char *name;
	bool serial;
} wqs[NR_WQS] = {
	[PERCPU]	= { "percpu" },
	[HIGHPRI]	= { "highpri" },
	[RECLAIM]	= { "reclaim", true },
	[UNBOUND]	= { "unbound" },
	[MAX1]		= { "max1", true },
	[UMAX1]		= { "umax1", true },
	[ORDERED]	= { "ordered", true },
	[BH]		= { "bh", true },
	[KTHREAD]	= { NULL, true },
};

/* What has been checked, and the first thing that was wrong */
enum check {
	COMPLETES, ERRORS, IDLE, COUNTERS, IO_WAIT, CANARY, NO_BOOST, POLICIES, MONITOR, CYCLES,
	UNLOAD, LOG, NR_CHECKS,
};

static struct {
	const char *name;
	char why[256];
	unsigned int times;
} checks[NR_CHECKS] = {
	[COMPLETES]	= { "every operation completes" },
	[ERRORS]	= { "no operation fails" },
	[IDLE]		= { "nothing is queued, running or held in the end" },
	[COUNTERS]	= { "what was queued ran, once" },
	[IO_WAIT]	= { "nobody waits for I/O in the end" },
	[CANARY]	= { "a fair task runs on each CPU" },
	[NO_BOOST]	= { "no kworker runs ahead of a FIFO 1 hog" },
	[POLICIES]	= { "policies and priorities are what was set" },
	[MONITOR]	= { "the stall monitor boosts nobody" },
	[CYCLES]	= { "no cycle is reported" },
	[UNLOAD]	= { "the module can be unloaded and loaded" },
	[LOG]		= { "the kernel does not complain" },
};

enum role { ACTOR, HOTPLUG, HOG, READER };

struct slot {
	enum role role;
	pid_t pid;
	unsigned int life;
	__u64 since_ns;		/* in the step, or 0 */
	__u64 killed_ns;
	__u64 stopped_ns;
	bool parked;
	unsigned long done;
	unsigned long kills;
	unsigned long changes;
	int policy;
	int prio;
	int nice;
	bool deadline;		/* makes itself a deadline task */
	int error;
	char text[MAX_TEXT];
	char failed[MAX_TEXT];
};

static struct shared {
	bool stop;
	struct slot slots[MAX_SLOTS];
} *shared;

static struct {
	int actors;
	int seconds;
	int round_seconds;
	int watchdog;
	__u64 seed;
	bool cookies;
} option = { 24, 60, 5, 60, DEFAULT_SEED, false };

static int nr_slots;
static int cpus[MAX_CPUS], nr_cpus;
static int kmsg = -1;
static long long cycles_before;

/*
 * Some things do not go together with deadline tasks, without the series, too.
 * When a CPU goes offline, such a task may stay throttled for ever: rounds have
 * one or the other. When it gets another policy while it is throttled, and soon
 * is a deadline task again, it never runs again. And when it gets one while it
 * is on its way to another CPU's runqueue, to be woken there, that one's
 * bandwidth may underflow. So who is one has made itself one, and remains it.
 */
static bool deadlines;

/* Chance */

static __u64 dice;

static void seed(__u64 a, __u64 b, __u64 c)
{
	dice = (a * 1000003 + b) * 1000003 + c + 88172645463325252ULL;
}

static __u64 toss(void)
{
	__u64 z;

	dice += 0x9e3779b97f4a7c15ULL;
	z = dice;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* from...to, both included */
static int pick(int from, int to)
{
	return from + (int)(toss() % (to - from + 1));
}

static bool percent(int chance)
{
	return pick(1, 100) <= chance;
}

static int pick_cpu(void)
{
	return cpus[pick(0, nr_cpus - 1)];
}

/* Verdicts */

static void __printf(2, 3) wrong(enum check check, const char *fmt, ...)
{
	va_list args;

	if (checks[check].times++)
		return;
	va_start(args, fmt);
	vsnprintf(checks[check].why, sizeof(checks[check].why), fmt, args);
	va_end(args);
	ksft_print_msg("WRONG: %s: %s\n", checks[check].name, checks[check].why);
}

static bool all_right(void)
{
	int i;

	for (i = 0; i < NR_CHECKS; i++)
		if (checks[i].times)
			return false;
	return true;
}

/* Ranks, for a round */

#define RANK	64

static int mutex_ranks[NR_MUTEXES], wq_ranks[NR_WQS], ww_rank;

static void draw_ranks(void)
{
	int *things[NR_MUTEXES + NR_WQS + 1], n = 0, i, j;

	for (i = 0; i < NR_MUTEXES; i++)
		things[n++] = &mutex_ranks[i];
	for (i = 0; i < NR_WQS; i++)
		things[n++] = &wq_ranks[i];
	things[n++] = &ww_rank;
	for (i = n - 1; i >= 0; i--) {
		int *thing;

		j = pick(0, i);
		thing = things[j];
		things[j] = things[i];
		*thing = (i + 1) * RANK;
	}
}

/* A work has its kind, and its workqueue, for ever. */
static int wq_of(int work)
{
	return work % NR_WQS;
}

static bool is_delayed(int work)
{
	return wq_of(work) != KTHREAD && work / NR_WQS % 2;
}

/* A kthread_work is for one worker only. */
static int home_of(int work)
{
	return cpus[work % nr_cpus];
}

static int work_rank(int work)
{
	int wq = wq_of(work);

	return wq_ranks[wq] + (wqs[wq].serial ? 0 : 1 + work);
}

/* Scripts */

struct held {
	int rank;
	char unlock[24];
};

struct writer {
	char *text;
	size_t len;
	int work;		/* whose body it is, or -1 */
	bool queues;
	int nr_held;
	struct held held[MAX_HELD];
};

static void __printf(2, 3) add(struct writer *w, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	w->len += vsnprintf(w->text + w->len, MAX_TEXT - w->len, fmt, args);
	va_end(args);
}

/* All that is waited for must rank higher than this. */
static int rank_of(const struct writer *w)
{
	int i, rank = w->work < 0 ? 0 : work_rank(w->work);

	for (i = 0; i < w->nr_held; i++)
		if (w->held[i].rank > rank)
			rank = w->held[i].rank;
	return rank;
}

static void hold(struct writer *w, int rank, const char *unlock)
{
	struct held *h = &w->held[w->nr_held++];

	h->rank = rank;
	snprintf(h->unlock, sizeof(h->unlock), "%s", unlock);
}

static void add_lock(struct writer *w)
{
	static const char * const how[] = { "lock", "lockk", "lockio", "lockt" };
	int m = pick(0, NR_MUTEXES - 1);
	char unlock[24];

	if (mutex_ranks[m] <= rank_of(w) || w->nr_held == MAX_HELD)
		return;
	/* A trylock that fails ends the script: not too often. */
	add(w, "%s %d;", how[w->work >= 0 || percent(90) ? pick(0, 2) : 3], m);
	snprintf(unlock, sizeof(unlock), "unlock %d;", m);
	hold(w, mutex_ranks[m], unlock);
}

static void add_ww(struct writer *w)
{
	int x = pick(0, NR_WW - 1), y = pick(0, NR_WW - 2);
	char unlock[24];

	/*
	 * With PREEMPT_RT the priorities of the tasks decide which of them backs off.
	 * They change while these wait, and then nobody may: nothing of ours.
	 */
	if (lab_rt() || ww_rank <= rank_of(w) || w->nr_held == MAX_HELD)
		return;
	y += y >= x;
	add(w, "ww %d %d;", x, y);
	snprintf(unlock, sizeof(unlock), "wwun %d %d;", x, y);
	hold(w, ww_rank, unlock);
}

static void add_unlock(struct writer *w)
{
	int i;

	if (!w->nr_held)
		return;
	i = pick(0, w->nr_held - 1);
	add(w, "%s", w->held[i].unlock);
	w->held[i] = w->held[--w->nr_held];
}

static void add_burn(struct writer *w)
{
	add(w, "burn %d;", pick(1, percent(5) ? 1000 : 80));
}

static void add_sleep(struct writer *w)
{
	add(w, "%s %d;", percent(50) ? "sleep" : "nap", pick(1, percent(5) ? 5000 : 500));
}

static void add_queue(struct writer *w)
{
	int x = pick(0, NR_WORKS - 1), cpu = percent(25) ? -1 : pick_cpu();

	if (w->work >= 0) {
		/* Not two, or there are ever more; and no CPU, which may be offline. */
		if (w->queues || work_rank(x) <= work_rank(w->work) || wq_of(x) == KTHREAD)
			return;
		w->queues = true;
		cpu = -1;
	}
	/* Nor this: the kernel warns if it is offline when the timer expires. */
	if (wq_of(x) == BH && is_delayed(x))
		cpu = -1;
	if (wq_of(x) == KTHREAD)
		add(w, "kqueue %d %d;", x, home_of(x));
	else if (is_delayed(x))
		add(w, "dqueue %d %d %s %d;", x, cpu, wqs[wq_of(x)].name, pick(0, 4));
	else
		add(w, "queue %d %d %s;", x, cpu, wqs[wq_of(x)].name);
}

/* What is there to reclaim memory must not wait for what is not. */
static bool must_not_flush(const struct writer *w, int wq)
{
	return w->work >= 0 && wq_of(w->work) == RECLAIM && wq != RECLAIM;
}

static const char *prefix_of(int work)
{
	return wq_of(work) == KTHREAD ? "k" : is_delayed(work) ? "d" : "";
}

static void add_flush(struct writer *w)
{
	int x = pick(0, NR_WORKS - 1);

	if (work_rank(x) <= rank_of(w) || must_not_flush(w, wq_of(x)))
		return;
	add(w, "%s%s %d;", prefix_of(x), percent(75) ? "flush" : "cancel", x);
}

static void add_flushwq(struct writer *w)
{
	int wq = pick(0, NR_WQS - 1);

	if (wq_ranks[wq] <= rank_of(w) || must_not_flush(w, wq))
		return;
	if (wq == KTHREAD)
		add(w, "kflushall %d;", pick_cpu());
	else
		add(w, "flushwq %s;", wqs[wq].name);
}

static void add_destroywq(struct writer *w)
{
	int wq = pick(0, NR_WQS - 1);

	if (w->work >= 0 || wq == KTHREAD || wq_ranks[wq] <= rank_of(w))
		return;
	add(w, "%s %s;", percent(50) ? "drain" : "destroywq", wqs[wq].name);
}

static const struct {
	int chance;
	void (*add)(struct writer *w);
} steps[] = {
	{ 25, add_lock },
	{ 5, add_ww },
	{ 8, add_unlock },
	{ 12, add_burn },
	{ 12, add_sleep },
	{ 18, add_queue },
	{ 15, add_flush },
	{ 4, add_flushwq },
	{ 1, add_destroywq },
};

static void add_step(struct writer *w)
{
	int n = pick(1, 100);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		n -= steps[i].chance;
		if (n <= 0) {
			steps[i].add(w);
			return;
		}
	}
}

static void write_script(char *text, int work)
{
	struct writer w = { .text = text, .work = work };
	int n = work < 0 ? pick(2, 14) : pick(1, 5);

	*text = '\0';
	if (work >= 0 && wq_of(work) == BH)
		return add_burn(&w);
	while (n--)
		add_step(&w);
	/* It would be unlocked anyway; but some like to go on. */
	while (w.nr_held && percent(80))
		add_unlock(&w);
	if (!w.len)
		add_burn(&w);
}

/* Files of the module */

static int command(const char *file, const char *text)
{
	char path[96];
	int fd, err;

	snprintf(path, sizeof(path), CHAIN "%s", file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return err;
}

static int __printf(1, 2) run(const char *fmt, ...)
{
	char text[MAX_TEXT];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	return command("run", text);
}

static long long state(const char *key)
{
	char buf[8192], pattern[40], *s;

	if (get(CHAIN "state", buf, sizeof(buf)) < 0)
		return -1;
	snprintf(pattern, sizeof(pattern), "%s: ", key);
	s = strstr(buf, pattern);
	return s ? atoll(s + strlen(pattern)) : -1;
}

struct stress_work {
	int pid;
	unsigned long long queued_ns, first_ns, end_ns;
	int runs;
};

static struct stress_work work_report(int work)
{
	struct stress_work r = { };
	char buf[8192], *line;
	int n;

	if (get(CHAIN "work", buf, sizeof(buf)) < 0)
		return r;
	for (line = strtok(buf, "\n"); line; line = strtok(NULL, "\n"))
		if (atoi(line) == work)
			sscanf(line, "%d %d %llu %llu %llu %d", &n, &r.pid, &r.queued_ns,
			       &r.first_ns, &r.end_ns, &r.runs);
	return r;
}

static int set_body(int work, const char *body)
{
	char text[MAX_TEXT + 16];

	snprintf(text, sizeof(text), "%d = %s", work, body);
	return command("work", text);
}

static bool module_loaded(void)
{
	return !access(CHAIN "run", F_OK);
}

static bool load_module(void)
{
	static const char * const places[] = {
		MODULE ".ko", "/lib/modules/" MODULE ".ko",
	};
	size_t i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(places) && !module_loaded(); i++) {
		fd = open(places[i], O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		syscall(SYS_finit_module, fd, "", 0);
		close(fd);
	}
	if (!module_loaded() && system("modprobe -q " MODULE " 2>/dev/null"))
		return false;
	return module_loaded();
}

static int unload_module(void)
{
	return syscall(SYS_delete_module, MODULE, O_NONBLOCK) ? -errno : 0;
}

/* Policies */

/* As in linux/sched/types.h, which libc's sched.h does not go with. */
struct attr {
	__u32 size;
	__u32 policy;
	__u64 flags;
	__s32 nice;
	__u32 prio;
	__u64 runtime;
	__u64 deadline;
	__u64 period;
};

#define POLICY_DEADLINE	6
#define RESET_ON_FORK	1

static int set_attr(pid_t pid, struct attr attr)
{
	attr.size = sizeof(attr);
	return syscall(SYS_sched_setattr, pid, &attr, 0) ? -errno : 0;
}

static int get_attr(pid_t pid, struct attr *attr)
{
	memset(attr, 0, sizeof(*attr));
	return syscall(SYS_sched_getattr, pid, attr, sizeof(*attr), 0) ? -errno : 0;
}

static int set_fifo(int prio)
{
	return set_attr(0, (struct attr) { .policy = SCHED_FIFO, .prio = prio });
}

static struct attr draw_policy(void)
{
	struct attr attr = { };
	int n = pick(1, 100);

	if (n <= 40) {
		attr.policy = percent(80) ? SCHED_OTHER : SCHED_BATCH;
		attr.nice = pick(-20, 19);
	} else {
		attr.policy = percent(60) ? SCHED_FIFO : SCHED_RR;
		attr.prio = pick(1, 90);
	}
	return attr;
}

/* Not too little: where time is odd, debts take periods to pay back. */
static struct attr draw_deadline(void)
{
	__u64 period = pick(4, 20) * 1000000;

	return (struct attr) {
		.policy = POLICY_DEADLINE, .period = period, .deadline = period,
		.runtime = period / pick(4, 10),
	};
}

static void set_cpus(pid_t pid, unsigned long long mask)
{
	cpu_set_t set;
	int i;

	CPU_ZERO(&set);
	for (i = 0; i < nr_cpus; i++)
		if (mask >> i & 1)
			CPU_SET(cpus[i], &set);
	sched_setaffinity(pid, sizeof(set), &set);
}

#define ALL_CPUS	(~0ULL)

static void change_policy(struct slot *s)
{
	struct attr attr = draw_policy();

	if (s->deadline || set_attr(s->pid, attr))
		return;
	s->policy = attr.policy;
	s->prio = attr.prio;
	s->nice = attr.nice;
	s->changes++;
}

static void change_cpus(struct slot *s)
{
	unsigned long long mask = toss() | 1ULL << pick(0, nr_cpus - 1);

	if (percent(50))
		mask = 1ULL << pick(0, nr_cpus - 1);
	/* A deadline task has to be allowed to run everywhere. */
	if (!s->deadline)
		set_cpus(s->pid, mask);
}

/* Processes */

static void park(struct slot *s)
{
	poke(s->parked, true);
	for (;;)
		pause();
}

static bool is_allowed(int err)
{
	/* A trylock; a CPU that is offline; a kill */
	return err == EBUSY || err == ENODEV || err == EINTR;
}

/*
 * Nobody runs for that long without a sleep, but many wait for longer: a task
 * that is charged for what it waits is killed.
 */
#define RTTIME_US	500000

/* A cookie of its own, that of somebody else, or none */
static void take_cookie(void)
{
	if (percent(25))
		prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, 0, 0);
	else if (percent(75))
		prctl(PR_SCHED_CORE, PR_SCHED_CORE_SHARE_FROM,
		      shared->slots[pick(0, nr_slots - 1)].pid, 0, 0);
}

/*
 * A task with a cookie all the while: each time that the last one goes and the
 * next one comes, the kernel patches its code on all CPUs, which is not what is
 * tested, and QEMU 7.2 may not survive it.
 */
static void keep_a_cookie(void)
{
	pid_t pid = fork();

	if (pid < 0)
		ksft_exit_fail_msg("fork: %s\n", strerror(errno));
	if (pid)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, 0, 0))
		ksft_print_msg("no cookie: %s\n", strerror(errno));
	while (1)
		pause();
}

static void actor_main(struct slot *s)
{
	struct rlimit rttime = { RTTIME_US, RTTIME_US };
	int fd = open(CHAIN "run", O_WRONLY | O_CLOEXEC);

	setrlimit(RLIMIT_RTTIME, &rttime);
	if (option.cookies)
		take_cookie();
	if (s->deadline && !set_attr(0, draw_deadline()))
		s->policy = POLICY_DEADLINE;
	while (fd >= 0 && !peek(shared->stop)) {
		write_script(s->text, -1);
		poke(s->since_ns, now_ns());
		if (write(fd, s->text, strlen(s->text)) < 0 && !is_allowed(errno) && !s->error) {
			s->error = errno;
			memcpy(s->failed, s->text, sizeof(s->failed));
		}
		poke(s->since_ns, 0);
		s->done++;
		sleep_us(pick(50, 2000));
	}
	if (fd < 0)
		s->error = errno;
	else
		close(fd);
	park(s);
}

static int set_online(struct slot *s, int cpu, int online)
{
	char path[96];
	int err;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	snprintf(s->text, sizeof(s->text), "%d > %s", online, path);
	poke(s->since_ns, now_ns());
	err = put(path, "%d\n", online);
	poke(s->since_ns, 0);
	s->done++;
	return err;
}

static void hotplug_main(struct slot *s)
{
	while (!peek(shared->stop)) {
		int cpu = pick_cpu();

		sleep_us(pick(1000, 100000));
		if (!cpu || deadlines || set_online(s, cpu, 0))
			continue;
		sleep_us(pick(100, 50000));
		while (set_online(s, cpu, 1))
			sleep_us(1000);
	}
	park(s);
}

static void hog_main(struct slot *s)
{
	while (!peek(shared->stop)) {
		int cpu = pick_cpu();
		__u64 end = now_ns() + pick(1000, 50000) * 1000ULL;

		pin(cpu);
		set_fifo(pick(1, 90));
		/* Not a hog elsewhere when its CPU goes offline. */
		while (sched_getcpu() == cpu && now_ns() < end && !peek(shared->stop))
			__builtin_ia32_pause();
		set_attr(0, (struct attr) { });
		s->done++;
		sleep_us(pick(1000, 50000));
	}
	park(s);
}

/* CPU clocks of others only ever advance. */
static void reader_main(struct slot *s)
{
	while (!peek(shared->stop)) {
		pid_t pid = peek(shared->slots[pick(0, nr_slots - 1)].pid);
		struct timespec a, b;
		clockid_t clock;

		if (pid > 0 && !clock_getcpuclockid(pid, &clock) &&
		    !clock_gettime(clock, &a) && !clock_gettime(clock, &b) &&
		    (b.tv_sec < a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec < a.tv_nsec)) &&
		    !s->error) {
			s->error = ERANGE;
			snprintf(s->failed, sizeof(s->failed),
				 "the CPU clock of %d went back from %lld.%09ld to %lld.%09ld", pid,
				 (long long)a.tv_sec, a.tv_nsec, (long long)b.tv_sec, b.tv_nsec);
		}
		s->done++;
		sleep_us(pick(1, 500));
	}
	park(s);
}

static void start_slot(int n, int round)
{
	static void (* const mains[])(struct slot *s) = {
		[ACTOR] = actor_main, [HOTPLUG] = hotplug_main, [HOG] = hog_main,
		[READER] = reader_main,
	};
	struct slot *s = &shared->slots[n];
	pid_t pid;

	s->killed_ns = 0;
	s->since_ns = 0;
	s->parked = false;
	s->policy = SCHED_OTHER;
	s->prio = 0;
	s->nice = 0;
	s->deadline = s->role == ACTOR && deadlines && percent(20);
	s->life++;
	pid = fork();
	if (pid < 0)
		ksft_exit_fail_msg("fork: %s\n", strerror(errno));
	if (pid) {
		s->pid = pid;
		return;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	seed(option.seed, round * MAX_SLOTS + n, s->life);
	mains[s->role](s);
}

static struct slot *slot_of(pid_t pid)
{
	int i;

	for (i = 0; i < nr_slots; i++)
		if (shared->slots[i].pid == pid)
			return &shared->slots[i];
	return NULL;
}

static void reap(void)
{
	struct slot *s;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		s = slot_of(pid);
		if (!s)
			continue;
		if (!s->killed_ns)
			wrong(ERRORS, "%d died by itself, status %#x: %s", pid, status, s->text);
		s->pid = 0;
	}
}

static void kill_slot(struct slot *s)
{
	if (s->pid <= 0 || s->killed_ns)
		return;
	s->killed_ns = now_ns();
	s->kills++;
	kill(s->pid, SIGKILL);
}

/* When something does not end: what everybody does */

static void print_file(const char *path, size_t max)
{
	char line[512];
	FILE *file = fopen(path, "r");

	while (file && max-- && fgets(line, sizeof(line), file))
		ksft_print_msg("  %s", line);
	if (file)
		fclose(file);
}

static void dump_task(int pid)
{
	char path[64], stat[512];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (get(path, stat, sizeof(stat)) <= 0 || !strrchr(stat, ')'))
		return;
	/* Kernel threads that sleep as they do when there is nothing to do */
	if (!slot_of(pid) && strstr(stat, ") I "))
		return;
	stat[strcspn(stat, "\n")] = '\0';
	ksft_print_msg("%s\n", stat);
	snprintf(path, sizeof(path), "/proc/%d/stack", pid);
	print_file(path, 20);
}

static void dump(void)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	__u64 now = now_ns();
	char path[64];
	int i;

	for (i = 0; i < nr_slots; i++) {
		struct slot *s = &shared->slots[i];

		if (s->pid <= 0 || !(s->since_ns || s->killed_ns))
			continue;
		ksft_print_msg("pid %d policy %d prio %d nice %d in it for %lld ms%s: %s\n",
			       s->pid, s->policy, s->prio, s->nice,
			       s->since_ns ? (long long)(now - s->since_ns) / 1000000 : -1,
			       s->killed_ns ? " (killed)" : "", s->text);
		snprintf(path, sizeof(path), "/proc/%d/sched", s->pid);
		print_file(path, 60);
	}
	ksft_print_msg("ranks: ww %d\n", ww_rank);
	for (i = 0; i < NR_MUTEXES; i++)
		ksft_print_msg("rank of mutex %d: %d\n", i, mutex_ranks[i]);
	for (i = 0; i < NR_WQS; i++)
		ksft_print_msg("rank of %s: %d\n", wqs[i].name ?: "kthread workers", wq_ranks[i]);
	print_file(CHAIN "state", 1000);
	print_file(CHAIN "work", 1000);
	print_file(PROXY_FLUSH, 100);
	while (dir && (entry = readdir(dir)))
		if (atoi(entry->d_name) > 1)
			dump_task(atoi(entry->d_name));
	if (dir)
		closedir(dir);
	print_file(DEBUGFS "sched/debug", 2000);
	put("/proc/sysrq-trigger", "w");
}

static bool is_late(struct slot *s)
{
	__u64 patience = option.watchdog * 1000000000ULL, since = peek(s->since_ns);
	__u64 now = now_ns();

	if (s->pid <= 0)
		return false;
	return (since && now > since + patience) ||
	       (s->killed_ns && now > s->killed_ns + patience) ||
	       (peek(shared->stop) && !peek(s->parked) && now > s->stopped_ns + patience);
}

static bool watch(void)
{
	static __u64 last;
	int i;

	if (now_ns() < last + 200000000)
		return true;
	last = now_ns();
	for (i = 0; i < nr_slots; i++) {
		struct slot *s = &shared->slots[i];

		if (!is_late(s))
			continue;
		wrong(COMPLETES, "%d is in one step for more than %d s: %s", s->pid,
		      option.watchdog, s->text);
		dump();
		return false;
	}
	return true;
}

/* A round */

static void disturb(void)
{
	struct slot *s = &shared->slots[pick(0, nr_slots - 1)];
	int n = pick(1, 100);

	if (s->pid <= 0 || s->killed_ns || s->role == HOG)
		return;
	if (n <= 35)
		change_policy(s);
	else if (n <= 60)
		change_cpus(s);
	else if (n <= 75 && s->role == ACTOR)
		kill_slot(s);
}

static bool play(int round)
{
	__u64 end = now_ns() + option.round_seconds * 1000000000ULL;
	int i;

	for (i = 0; i < nr_slots; i++)
		start_slot(i, round);
	while (now_ns() < end) {
		reap();
		for (i = 0; i < nr_slots; i++)
			if (!shared->slots[i].pid)
				start_slot(i, round);
		disturb();
		if (!watch())
			return false;
		sleep_us(pick(300, 4000));
	}
	return true;
}

static bool is_over(void)
{
	int i;

	for (i = 0; i < nr_slots; i++)
		if (shared->slots[i].pid > 0 && !peek(shared->slots[i].parked))
			return false;
	return true;
}

static bool end_play(void)
{
	__u64 now = now_ns();
	int i;

	for (i = 0; i < nr_slots; i++)
		shared->slots[i].stopped_ns = now;
	poke(shared->stop, true);
	while (!is_over()) {
		reap();
		if (!watch())
			return false;
		sleep_us(1000);
	}
	for (i = 0; i < nr_slots; i++)
		if (shared->slots[i].error)
			wrong(ERRORS, "%s: %s", strerror(shared->slots[i].error),
			      shared->slots[i].failed);
	return true;
}

static void check_policy(struct slot *s)
{
	struct attr attr;

	if (get_attr(s->pid, &attr))
		return;
	if ((int)attr.policy != s->policy || (int)attr.prio != s->prio || attr.nice != s->nice)
		wrong(POLICIES, "%d has policy %d prio %d nice %d, not %d %d %d", s->pid,
		      attr.policy, attr.prio, attr.nice, s->policy, s->prio, s->nice);
}

/* Fields 18 and 41 of its stat: p->prio - 100, and the policy */
static void check_kworker(int pid)
{
	char path[64], buf[1024], comm[32] = "", *word;
	int field = 3, prio = 0, policy = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (get(path, buf, sizeof(buf)) <= 0 || !strrchr(buf, ')'))
		return;
	if (sscanf(buf, "%*d (%31[^)]", comm) != 1)
		return;
	if (strncmp(comm, "kworker/", 8) && strncmp(comm, "chain/", 6))
		return;
	for (word = strtok(strrchr(buf, ')') + 1, " "); word; word = strtok(NULL, " "), field++) {
		if (field == 18)
			prio = atoi(word);
		if (field == 41)
			policy = atoi(word);
	}
	if (policy != SCHED_OTHER || (prio != 20 && prio != 0))
		wrong(POLICIES, "%s (%d) has policy %d, priority %d", comm, pid, policy, prio);
}

static void check_policies(void)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	int i;

	for (i = 0; i < nr_slots; i++)
		if (shared->slots[i].pid > 0 && shared->slots[i].role != HOG)
			check_policy(&shared->slots[i]);
	while (dir && (entry = readdir(dir)))
		if (atoi(entry->d_name) > 1)
			check_kworker(atoi(entry->d_name));
	if (dir)
		closedir(dir);
}

static void end_slots(void)
{
	int i;

	for (i = 0; i < nr_slots; i++)
		kill_slot(&shared->slots[i]);
	for (i = 0; i < nr_slots; i++) {
		if (shared->slots[i].pid > 0)
			waitpid(shared->slots[i].pid, NULL, 0);
		shared->slots[i].pid = 0;
	}
	poke(shared->stop, false);
}

/* In quiet */

static void check_held(void)
{
	char buf[8192];
	int i;

	if (get(CHAIN "state", buf, sizeof(buf)) < 0)
		return wrong(IDLE, "no state");
	buf[strcspn(buf, "\n")] = '\0';
	if (!strncmp(buf, "m ", 2) || !strncmp(buf, "x ", 2))
		wrong(IDLE, "held: %s", buf);
	for (i = 0; i < NR_MUTEXES; i++)
		if (run("lockt %d", i))
			wrong(IDLE, "mutex %d is held by somebody unknown", i);
	for (i = 0; i < NR_WW - 1; i++)
		if (run("ww %d %d", i, i + 1))
			wrong(IDLE, "ww_mutexes");
}

static void check_counters(void)
{
	long long queued = state("queued"), runs = state("runs"), cancelled = state("cancelled");

	if (queued != runs + cancelled)
		wrong(COUNTERS, "%lld queued, %lld ran, %lld cancelled", queued, runs, cancelled);
	if (state("failed"))
		wrong(ERRORS, "%lld works with a step that failed", state("failed"));
}

/* mutex_lock_io() counts who waits, and has to count down as often. */
static void check_io_wait(void)
{
	char buf[16384];
	const char *s;

	if (get("/proc/stat", buf, sizeof(buf)) < 0)
		return wrong(IO_WAIT, "no /proc/stat");
	s = strstr(buf, "procs_blocked ");
	if (!s || atoi(s + strlen("procs_blocked ")))
		wrong(IO_WAIT, "%.20s", s ?: "not in /proc/stat");
}

static int queue_and_flush(int x)
{
	if (wq_of(x) == KTHREAD)
		return run("kqueue %d %d; kflush %d", x, home_of(x), x);
	if (is_delayed(x))
		return run("dqueue %d %d %s 1; dflush %d", x, pick_cpu(), wqs[wq_of(x)].name, x);
	return run("queue %d %d %s; flush %d", x, pick_cpu(), wqs[wq_of(x)].name, x);
}

static void check_works(void)
{
	int x, i, before, err;

	for (x = 0; x < NR_WORKS; x++) {
		set_body(x, "burn 3");
		for (i = 0; i < 3; i++) {
			before = work_report(x).runs;
			err = queue_and_flush(x);
			if (err || work_report(x).runs != before + 1)
				wrong(COUNTERS, "work %d, queued and flushed: %s, %d runs, then %d",
				      x, strerror(-err), before, work_report(x).runs);
		}
	}
}

/*
 * A process that is pinned and burns, and if told so makes a worker of its CPU
 * want to run first: when that was over.
 */
static __u64 burn_on(int cpu, struct attr attr, bool queue, unsigned int us, int *status)
{
	static __u64 *ended;
	__u64 end;
	pid_t pid;

	if (!ended)
		ended = mmap(NULL, sizeof(*ended), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	*ended = 0;
	pid = fork();
	if (!pid) {
		pin(cpu);
		if (set_attr(0, attr))
			_exit(1);
		if (queue && run("queue 0 %d percpu", cpu))
			_exit(2);
		end = now_ns() + us * 1000ULL;
		while (now_ns() < end)
			__builtin_ia32_pause();
		poke(*ended, now_ns());
		_exit(0);
	}
	if (!wait_until(QUIET_MS, waitpid(pid, status, WNOHANG) == pid)) {
		kill(pid, SIGKILL);
		*status = -1;
	}
	return peek(*ended);
}

static void check_canaries(void)
{
	int i, status;

	for (i = 0; i < nr_cpus; i++) {
		burn_on(cpus[i], (struct attr) { .nice = 19 }, false, 500, &status);
		if (status)
			wrong(CANARY, "not on CPU %d", cpus[i]);
	}
}

/* Its worker runs after the hog, if nobody boosts it. */
static void check_no_boost(void)
{
	struct attr fifo_1 = { .policy = SCHED_FIFO, .prio = 1 };
	long long awaited = stall("stall_monitor_awaited_us");
	struct stress_work r;
	int i, before, status;
	__u64 end;

	/* The monitor would help: work items of the same function were flushed just now. */
	set("stall_monitor_awaited_us", 0);
	for (i = 0; i < nr_cpus; i++) {
		cool_down();
		before = work_report(0).runs;
		end = burn_on(cpus[i], fifo_1, true, HOG_CHECK_MS * 1000, &status);
		if (status) {
			wrong(NO_BOOST, "hog on CPU %d: status %#x", cpus[i], status);
			continue;
		}
		if (!wait_until(QUIET_MS, work_report(0).runs == before + 1))
			wrong(COUNTERS, "after the hog on CPU %d: no run", cpus[i]);
		r = work_report(0);
		/*
		 * With PREEMPT_RT the hog may block on a spinlock, or a stronger task on
		 * the kworker's: check_kworker() has seen that nothing else is inherited.
		 */
		if (lab_rt())
			continue;
		/* The monitor's threshold may have come first where time is odd. */
		if (r.first_ns < end && r.first_ns < r.queued_ns + 3 * HOG_CHECK_MS * 1000000ULL)
			wrong(NO_BOOST, "on CPU %d it ran %lld us before the hog's end", cpus[i],
			      (long long)(end - r.first_ns) / 1000);
	}
	if (awaited >= 0)
		set("stall_monitor_awaited_us", awaited);
}

static void check_monitor(void)
{
	int i;

	if (access(DEBUGFS "sched/stall_monitor", F_OK))
		return;
	/* A thread of the test's own end may be, for a moment. */
	for (i = 0; i < nr_cpus; i++)
		if (!wait_until(10000, boosted_pid(cpus[i]) == -1))
			wrong(MONITOR, "CPU %d: %d", cpus[i], boosted_pid(cpus[i]));
}

static long long flush_stat(const char *key)
{
	char buf[1024], pattern[40], *s;

	if (get(PROXY_FLUSH, buf, sizeof(buf)) < 0)
		return 0;
	snprintf(pattern, sizeof(pattern), "%s:", key);
	s = strstr(buf, pattern);
	return s ? atoll(s + strlen(pattern)) : 0;
}

static void check_reload(void)
{
	int err = unload_module();

	if (err)
		wrong(UNLOAD, "unload: %s", strerror(-err));
	else if (!load_module())
		wrong(UNLOAD, "not loaded again: %s", strerror(errno));
}

/* What the kernel has said since the last time */
static void check_log(void)
{
	static const char * const bad[] = {
		"BUG:", "WARNING:", "Oops", "INFO: ", "blocked for more than", "stall on",
		"refcount_t", "wait for each other", "list_add corruption", "list_del corruption",
		"lockup",
	};
	char record[1024];
	ssize_t n;
	size_t i;

	while (kmsg >= 0 && ((n = read(kmsg, record, sizeof(record) - 1)) > 0 || errno == EPIPE)) {
		if (n <= 0)
			continue;
		record[n] = '\0';
		record[strcspn(record, "\n")] = '\0';
		for (i = 0; i < ARRAY_SIZE(bad); i++)
			if (strstr(record, bad[i]))
				wrong(LOG, "%s", record);
	}
}

static bool check_quiet(void)
{
	if (!wait_until(QUIET_MS, state("busy") == 0)) {
		wrong(IDLE, "still busy");
		dump();
		return false;
	}
	check_held();
	check_counters();
	check_io_wait();
	check_works();
	check_canaries();
	check_no_boost();
	check_monitor();
	if (flush_stat("cycles") != cycles_before)
		wrong(CYCLES, "%lld cycles", flush_stat("cycles") - cycles_before);
	return true;
}

/* Each kthread worker is there before its CPU may be away. */
static void prepare(void)
{
	char body[MAX_TEXT];
	int x;

	for (x = 0; x < NR_WORKS; x++)
		if (wq_of(x) == KTHREAD)
			queue_and_flush(x);
	for (x = 0; x < NR_WORKS; x++) {
		write_script(body, x);
		if (set_body(x, body))
			wrong(ERRORS, "body of work %d: %s", x, body);
	}
}

static bool play_round(int round)
{
	unsigned long done = 0, kills = 0, changes = 0;
	int i;

	seed(option.seed, round, 0);
	deadlines = round % 2;
	draw_ranks();
	prepare();
	if (!play(round) || !end_play())
		return false;
	check_policies();
	end_slots();
	for (i = 0; i < nr_slots; i++) {
		if (shared->slots[i].role == ACTOR)
			done += shared->slots[i].done;
		kills += shared->slots[i].kills;
		changes += shared->slots[i].changes;
	}
	ksft_print_msg("round %d: %lld works; %lu scripts, %lu kills, %lu changes, %lu offline\n",
		       round, state("runs"), done, kills, changes, shared->slots[0].done);
	if (!check_quiet())
		return false;
	check_reload();
	check_log();
	return all_right();
}

/* Setting up */

static void add_slots(enum role role, int n)
{
	while (n-- && nr_slots < MAX_SLOTS)
		shared->slots[nr_slots++].role = role;
}

/* Hogs as bad as they get */
static void set_limits(bool restore)
{
	static char was[MAX_CPUS][32], rt[32];
	char path[96];
	int i;

	if (!restore)
		get(SYSCTL "sched_rt_runtime_us", rt, sizeof(rt));
	put(SYSCTL "sched_rt_runtime_us", "%s", restore ? rt : "-1\n");
	for (i = 0; i < nr_cpus; i++) {
		snprintf(path, sizeof(path), FAIR_SERVER "cpu%d/runtime", cpus[i]);
		if (!restore)
			get(path, was[i], sizeof(was[i]));
		put(path, "%s", restore ? was[i] : "0\n");
	}
}

static void set_up(void)
{
	struct attr own = { .policy = SCHED_FIFO, .prio = OWN_PRIO, .flags = RESET_ON_FORK };
	int cpu, err;

	if (getuid())
		ksft_exit_skip("needs root\n");
	if (access(DEBUGFS "sched", F_OK))
		ksft_exit_skip("no debugfs in " DEBUGFS "\n");
	if (!load_module())
		ksft_exit_skip("no module " MODULE " (CONFIG_TEST_PROXY_STALL)\n");
	for (cpu = 0; cpu < MAX_CPUS; cpu++)
		if (cpu_in(cpu, "online"))
			cpus[nr_cpus++] = cpu;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (shared == MAP_FAILED)
		ksft_exit_fail_msg("mmap: %s\n", strerror(errno));
	memset(shared, 0, sizeof(*shared));
	add_slots(HOTPLUG, 1);
	add_slots(HOG, 2);
	add_slots(READER, 1);
	add_slots(ACTOR, option.actors);
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (kmsg >= 0)
		lseek(kmsg, 0, SEEK_END);
	cycles_before = flush_stat("cycles");
	set_limits(false);
	/* Children begin as everybody does. */
	err = set_attr(0, own);
	if (err)
		ksft_exit_fail_msg("SCHED_FIFO: %s\n", strerror(-err));
	set_cpus(0, ALL_CPUS);
	if (option.cookies)
		keep_a_cookie();
}

static void report(void)
{
	int i;

	print_file(PROXY_FLUSH, 100);
	for (i = 0; i < NR_CHECKS; i++) {
		if (checks[i].times)
			ksft_test_result_fail("%s: %s (%u times)\n", checks[i].name,
					      checks[i].why, checks[i].times);
		else
			ksft_test_result_pass("%s\n", checks[i].name);
	}
}

static void usage(void)
{
	fprintf(stderr,
		"Usage: chain_stress [-c] [-a ACTORS] [-r ROUND_SECONDS] [-w WATCHDOG_SECONDS] [SECONDS [SEED]]\n");
	exit(KSFT_FAIL);
}

static void read_options(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "ca:r:w:")) != -1) {
		int n = c == '?' ? 0 : c == 'c' ? 1 : atoi(optarg);

		if (c == 'c')
			option.cookies = true;
		if (n <= 0)
			usage();
		if (c == 'a')
			option.actors = n;
		else if (c == 'r')
			option.round_seconds = n;
		else if (c == 'w')
			option.watchdog = n;
	}
	if (optind < argc)
		option.seconds = atoi(argv[optind++]);
	if (optind < argc)
		option.seed = strtoull(argv[optind++], NULL, 0);
	if (option.seconds <= 0 || optind < argc)
		usage();
	if (option.round_seconds > option.seconds)
		option.round_seconds = option.seconds;
}

int main(int argc, char **argv)
{
	__u64 end;
	int round;

	read_options(argc, argv);
	ksft_print_header();
	set_up();
	ksft_set_plan(NR_CHECKS);
	ksft_print_msg("%d s, seed %llu, %d actors, %d CPUs\n", option.seconds,
		       (unsigned long long)option.seed, option.actors, nr_cpus);
	end = now_ns() + option.seconds * 1000000000ULL;
	for (round = 0; now_ns() < end; round++)
		if (!play_round(round))
			break;
	check_log();
	set_limits(true);
	report();
	ksft_finished();
}
