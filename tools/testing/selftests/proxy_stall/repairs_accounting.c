// SPDX-License-Identifier: GPL-2.0
/*
 * What proxy execution gets wrong in the kernel that the series begins with. All
 * of it is right with the repairs, and without proxy execution.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "chain_fixture.h"

/* Who gets what is charged: the owner that runs, or the donor that waits? */
FIXTURE(accounting) {
	int cpu;
};

FIXTURE_SETUP(accounting)
{
	const char *why = repairs_enter();

	if (why)
		SKIP(return, "%s", why);
	self->cpu = lab_cpu();
}

FIXTURE_TEARDOWN(accounting)
{
	lab_leave();
}

#define MS	1000000ULL

static bool marked(int mark)
{
	return wait_until(2000, chain_mark_ns(mark));
}

/*
 * An owner with mutex and mark N. On another CPU somebody else runs for a moment,
 * or a waiter would spin for it instead of blocking.
 */
static struct actor *start_owner(int cpu, int n, const char *script)
{
	struct hog_plan plan = { .cpu = cpu, .prio = HOG_PRIO, .ms = 15 };
	struct actor *owner;

	owner = chain_start(SCHED_OTHER, 0, cpu, "lock %d; mark %d; %s; unlock %d", n, n,
			    script, n);
	if (!owner || !marked(n) || (cpu != W_CPU && !hog_start_plan(&plan)))
		return NULL;
	return owner;
}

/* A task with a limit: runs the script, and then a little in user space */
struct limited {
	char script[128];
	struct rlimit limit;	/* RLIMIT_RTTIME */
};

static int act_limited(void *data)
{
	const struct limited *limited = data;
	__u64 end;
	int err;

	if (setrlimit(RLIMIT_RTTIME, &limited->limit))
		return -errno;
	err = chain_run("%s", limited->script);
	/* It is the tick that kills. */
	end = now_ns() + 12 * MS;
	while (now_ns() < end)
		;
	return err;
}

static struct actor *start_limited(int prio, int cpu, const char *script)
{
	struct actor_plan plan = { .policy = SCHED_FIFO, .prio = prio, .cpu = cpu };
	struct limited limited = { .limit = { 40000, 60000 } };

	snprintf(limited.script, sizeof(limited.script), "%s", script);
	return actor_start(&plan, act_limited, &limited);
}

static bool was_killed(const struct actor *actor)
{
	return task_state(actor->pid) == 'Z';
}

static bool survives(const struct actor *actor)
{
	wait_until(2000, peek(actor->done) || was_killed(actor));
	return peek(actor->done) && !actor->result;
}

/* Waiting is not running, wherever one waits and is woken, and for whatever. */
TEST_F_TIMEOUT(accounting, rttime_of_a_donor, PATIENCE)
{
	struct actor *owner, *donor;
	int cpu;

	owner = start_owner(W_CPU, 0, "burn 120000");
	ASSERT_NE(NULL, owner);
	donor = start_limited(W_PRIO, W_CPU, "lock 0; unlock 0");
	ASSERT_NE(NULL, donor);
	EXPECT_TRUE(survives(donor));
	EXPECT_TRUE(survives(owner));

	owner = start_owner(2, 1, "burn 120000");
	ASSERT_NE(NULL, owner);
	donor = start_limited(W_PRIO, W_CPU, "lock 1; unlock 1");
	ASSERT_NE(NULL, donor);
	EXPECT_TRUE(survives(donor));
	EXPECT_TRUE(survives(owner));

	/* A flush, of a work item here and of one of another CPU */
	for (cpu = W_CPU; cpu <= 2; cpu++) {
		ASSERT_EQ(0, chain_work(0, "burn 120000"));
		ASSERT_EQ(0, chain_run("queue 0 %d percpu", cpu));
		donor = start_limited(W_PRIO, W_CPU, "flush 0");
		ASSERT_NE(NULL, donor);
		EXPECT_TRUE(survives(donor));
	}

	/* A fair owner is nobody for the limit, whosever context it runs with. */
	donor = STRONG("wait 2; lock 2; unlock 2");
	ASSERT_NE(NULL, donor);
	owner = actor_start(&(struct actor_plan) { .policy = SCHED_OTHER, .cpu = W_CPU },
			    act_limited,
			    &(struct limited) { "lock 2; mark 2; burn 120000; unlock 2",
						{ 40000, 60000 } });
	ASSERT_NE(NULL, owner);
	EXPECT_TRUE(survives(donor));
	EXPECT_TRUE(survives(owner));
}

/* Running is running, with a lent context as with one's own. */
TEST_F_TIMEOUT(accounting, rttime_of_an_owner, PATIENCE)
{
	struct actor *owner, *donor;

	/* First who is stronger, who could not begin otherwise */
	donor = STRONG("wait 0; mark 1; lock 0; unlock 0");
	ASSERT_NE(NULL, donor);
	owner = start_limited(10, W_CPU, "lock 0; mark 0; burn 120000; unlock 0");
	ASSERT_NE(NULL, owner);
	EXPECT_TRUE(survives(donor));
	EXPECT_GT(donor->end_ns - chain_mark_ns(1), 100 * MS);
	EXPECT_TRUE(wait_until(1000, was_killed(owner)));
}

#define OWN	CGROUP2 "proxy_stall/"

/* Puts this process, and those that it starts from now on, into a cgroup of its own. */
static bool own_cgroup(void)
{
	if (!has_cgroup2())
		return false;
	mkdir(OWN, 0755);
	return !put(OWN "cgroup.procs", "%d\n", getpid());
}

/* When the others have ended */
static void leave_cgroup(void)
{
	if (access(OWN, F_OK))
		return;
	put(CGROUP2 "cgroup.procs", "%d\n", getpid());
	wait_until(1000, !rmdir(OWN));
}

/* A thread of this process that runs a script */
struct thread {
	pthread_t id;
	int cpu;
	char script[128];
	clockid_t clock;
	pid_t tid;
};

static void *thread_main(void *data)
{
	struct thread *thread = data;

	thread->tid = gettid();
	pin(thread->cpu);
	chain_run("%s", thread->script);
	return NULL;
}

static bool thread_start(struct thread *thread)
{
	return !pthread_create(&thread->id, NULL, thread_main, thread) &&
	       !pthread_getcpuclockid(thread->id, &thread->clock);
}

static __u64 clock_ns(clockid_t clock)
{
	struct timespec ts;

	return clock_gettime(clock, &ts) ? 0 : ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* For ns: what the clock advanced, and the longest time that it stood still */
static __u64 watch_clock(clockid_t clock, __u64 ns, __u64 *still)
{
	__u64 start = now_ns(), now = start, moved = start, first, last, value;

	first = clock_ns(clock);
	last = first;
	*still = 0;
	while (now < start + ns) {
		sleep_us(300);
		now = now_ns();
		value = clock_ns(clock);
		if (now - moved > *still)
			*still = now - moved;
		if (value != last)
			moved = now;
		last = value;
	}
	return last - first;
}

FIXTURE(clocks) {
	int cpu;
};

FIXTURE_VARIANT(clocks) {
	bool tickless;
};

FIXTURE_VARIANT_ADD(clocks, ticking) {
	.tickless = false,
};

FIXTURE_VARIANT_ADD(clocks, tickless) {
	.tickless = true,
};

FIXTURE_SETUP(clocks)
{
	const char *why = repairs_enter();

	if (why)
		SKIP(return, "%s", why);
	self->cpu = variant->tickless ? lab_cpu() : W_CPU;
	if (variant->tickless && !cpu_in(self->cpu, "nohz_full"))
		SKIP(return, "CPU %d is not one of nohz_full=", self->cpu);
}

FIXTURE_TEARDOWN(clocks)
{
	lab_leave();
	leave_cgroup();
}

/* What /proc, getrusage() and a cgroup say that the owner has run */
enum { SCHEDSTAT, RUSAGE, CGROUP, TOLD };

static void what_is_told(pid_t tid, __u64 *ns)
{
	struct rusage usage;
	char buf[512];

	ns[SCHEDSTAT] = run_time_ns(tid);
	getrusage(RUSAGE_SELF, &usage);
	ns[RUSAGE] = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 * MS +
		     (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000ULL;
	ns[CGROUP] = 0;
	if (get(OWN "cpu.stat", buf, sizeof(buf)) > 0 && !strncmp(buf, "usage_usec ", 11))
		ns[CGROUP] = strtoull(buf + 11, NULL, 10) * 1000;
}

static __u64 timer_fired;

static void timer_fires(int sig)
{
	(void)sig;
	poke(timer_fired, now_ns());
}

/* A signal, when the clock has advanced by ns */
static bool cpu_timer(clockid_t clock, __u64 ns, timer_t *timer)
{
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct itimerspec value = { .it_value.tv_nsec = ns };

	poke(timer_fired, 0);
	signal(SIGUSR1, timer_fires);
	return !timer_create(clock, &event, timer) && !timer_settime(*timer, 0, &value, NULL);
}

/* Whoever runs sees its clock run: not from tick to tick, and nobody else's. */
TEST_F_TIMEOUT(clocks, advance_with_a_lent_context, PATIENCE)
{
	__u64 before[TOLD], after[TOLD];
	struct thread owner = {
		.cpu = self->cpu,
		.script = "lock 0; mark 0; burn 150000; unlock 0",
	};
	__u64 donor_ran, start, ran, took, still;
	struct actor *donor;
	timer_t timer;
	bool cgroup;
	int i;

	/* That may take longer than the rest. */
	cgroup = own_cgroup();
	ASSERT_TRUE(thread_start(&owner));
	ASSERT_TRUE(marked(0));
	donor = chain_start(SCHED_FIFO, W_PRIO, self->cpu, "lock 0; unlock 0");
	ASSERT_NE(NULL, donor);
	ASSERT_TRUE(blocks(donor));
	ASSERT_TRUE(cpu_timer(owner.clock, 30 * MS, &timer));
	donor_ran = run_time_ns(donor->pid);
	what_is_told(owner.tid, before);
	start = now_ns();
	ran = watch_clock(owner.clock, 60 * MS, &still);
	took = now_ns() - start;
	what_is_told(owner.tid, after);
	EXPECT_LE(still, 2 * MS);
	EXPECT_LE(took * 8 / 10, ran);
	EXPECT_LE(ran, took);
	EXPECT_EQ(donor_ran, run_time_ns(donor->pid));
	/* Where there is no tick these wait for the remote one, with or without a donor. */
	for (i = 0; i < TOLD && !variant->tickless; i++) {
		if (i != CGROUP || cgroup)
			EXPECT_LE(took * 7 / 10, after[i] - before[i]);
	}
	EXPECT_LE(after[SCHEDSTAT] - before[SCHEDSTAT], took + 5 * MS);
	EXPECT_TRUE(survives(donor));
	pthread_join(owner.id, NULL);
	/* It is sent by the owner, when that is back from the kernel. */
	EXPECT_LE(start + 25 * MS, peek(timer_fired));
	EXPECT_GE(donor->end_ns + 10 * MS, peek(timer_fired));
	timer_delete(timer);
}

/* A SCHED_DEADLINE task that soon has used up what it may run */
static int act_exhausted(void *data)
{
	cpu_set_t all;

	(void)data;
	/* A deadline task may run everywhere; but not where the test does. */
	pin(2);
	memset(&all, 0xff, sizeof(all));
	sched_setaffinity(0, sizeof(all), &all);
	if (set_deadline(0, (struct deadline){ 2 * MS, 10 * MS, 500 * MS }))
		return -errno;
	return chain_run("lock 0; mark 0; burn 400000; unlock 0");
}

/*
 * A deadline task that is throttled stays on the runqueue of a CPU that goes
 * offline. Who wants its mutex must not follow it there.
 */
TEST_F_TIMEOUT(accounting, owner_is_throttled_on_an_offline_cpu, PATIENCE)
{
	struct actor_plan plan = { .policy = SCHED_OTHER, .cpu = -1 };
	struct actor *owner, *donor;
	char path[60];
	int cpu;

	owner = actor_start(&plan, act_exhausted, NULL);
	ASSERT_NE(NULL, owner);
	if (wait_until(20, peek(owner->done)))
		SKIP(return, "no deadline task: %d", owner->result);
	ASSERT_TRUE(marked(0));
	cpu = chain_mark_cpu(0);
	ASSERT_GT(cpu, 0);
	/* It runs for 2 of 500 ms. */
	sleep_us(5000);
	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	if (put(path, "0\n"))
		SKIP(return, "CPU %d cannot go offline", cpu);
	log_lines("offline CPU", NULL, 0);
	donor = chain_start(SCHED_FIFO, W_PRIO, 0, "lockk 0; unlock 0");
	ASSERT_NE(NULL, donor);
	EXPECT_TRUE(blocks(donor));
	EXPECT_FALSE(peek(owner->done));
	EXPECT_EQ(0, put(path, "1\n"));
	EXPECT_EQ(0, log_lines("offline CPU", NULL, 0));
	kill(owner->pid, SIGKILL);
	EXPECT_TRUE(wait_until(10000, was_killed(owner)));
	EXPECT_TRUE(survives(donor));
}

/* The bandwidth that deadline tasks have reserved in the root domain of a CPU */
static long long reserved(int cpu)
{
	char line[256];
	long long bw = -1;
	int at = -1;
	FILE *f = fopen(DEBUGFS "sched/debug", "r");

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "dl_rq[%d]:", &at) == 1)
			continue;
		if (at == cpu && sscanf(line, " .dl_bw->total_bw : %lld", &bw) == 1)
			break;
	}
	if (f)
		fclose(f);
	return bw;
}

/* A donor becomes a deadline task while it is queued in another root domain. */
TEST_F_TIMEOUT(accounting, deadline_in_another_root_domain, PATIENCE)
{
	struct deadline deadline = { 20 * MS, 100 * MS, 100 * MS };
	struct sched_param other = { 0 };
	struct actor *owner, *donor;
	long long here, there;
	cpu_set_t set;
	int i;

	if (!cpu_in(self->cpu, "isolated"))
		SKIP(return, "CPU %d has no root domain of its own", self->cpu);
	/* What tasks of former tests had is free some time after they have left. */
	sleep_us(1000000);
	here = reserved(W_CPU);
	there = reserved(self->cpu);
	ASSERT_LE(0, here);
	owner = start_owner(self->cpu, 0, "burn 100000");
	ASSERT_NE(NULL, owner);
	donor = chain_start(SCHED_FIFO, W_PRIO, W_CPU, "lock 0; unlock 0; mark 2; burn 100000");
	ASSERT_NE(NULL, donor);
	ASSERT_TRUE(blocks(donor));
	sleep_us(20000);
	CPU_ZERO(&set);
	for (i = 0; i < self->cpu; i++)
		CPU_SET(i, &set);
	ASSERT_EQ(0, sched_setaffinity(donor->pid, sizeof(set), &set));
	ASSERT_EQ(0, set_deadline(donor->pid, deadline));
	EXPECT_LT(here, reserved(W_CPU));
	EXPECT_EQ(there, reserved(self->cpu));
	EXPECT_FALSE(peek(owner->done));
	/* It leaves the class while it runs: if it slept, nobody would notice. */
	ASSERT_TRUE(marked(2));
	ASSERT_EQ(0, sched_setscheduler(donor->pid, SCHED_OTHER, &other));
	EXPECT_TRUE(wait_until(1000, reserved(W_CPU) == here))
		TH_LOG("%lld are reserved instead of %lld", reserved(W_CPU), here);
	EXPECT_EQ(there, reserved(self->cpu));
	EXPECT_TRUE(survives(donor));
}

/*
 * The fair server becomes ready while an owner without runtime of its own, and
 * with a deadline that has passed, runs with the context of a SCHED_FIFO task.
 */
TEST_F_TIMEOUT(accounting, fair_server_above_a_donor, PATIENCE)
{
	struct actor_plan plan = { .policy = SCHED_OTHER, .cpu = -1 };
	struct actor *owner, *donor, *fair;
	__u64 start;
	int cpu;

	owner = actor_start(&plan, act_exhausted, NULL);
	ASSERT_NE(NULL, owner);
	if (wait_until(20, peek(owner->done)))
		SKIP(return, "no deadline task: %d", owner->result);
	ASSERT_TRUE(marked(0));
	cpu = chain_mark_cpu(0);
	ASSERT_GT(cpu, 0);
	donor = chain_start(SCHED_FIFO, W_PRIO, cpu, "lock 0; unlock 0");
	ASSERT_NE(NULL, donor);
	ASSERT_EQ(0, set_fair_server(cpu, "period", 50 * MS));
	ASSERT_EQ(0, set_fair_server(cpu, "runtime", 10 * MS));
	start = now_ns();
	fair = chain_start(SCHED_OTHER, 0, cpu, "burn 100");
	ASSERT_NE(NULL, fair);
	EXPECT_TRUE(survives(fair));
	/* 40 ms until it is ready, while the donor lends for ten times as long. */
	EXPECT_LT(fair->end_ns - start, 150 * MS)
		TH_LOG("starved for %llu us", (fair->end_ns - start) / 1000);
	/* It may have to wait for runtime to die. */
	kill(owner->pid, SIGKILL);
	EXPECT_TRUE(wait_until(10000, was_killed(owner)));
	EXPECT_TRUE(survives(donor));
	EXPECT_EQ(0, set_fair_server(cpu, "runtime", 0));
	EXPECT_EQ(0, set_fair_server(cpu, "period", 1000 * MS));
}

/* /proc/PID/schedstat: time on a CPU, time spent waiting for one, turns */
struct schedstat {
	unsigned long long ran, delay, turns;
};

static bool read_schedstat(const char *path, struct schedstat *stat)
{
	char buf[128];

	return get(path, buf, sizeof(buf)) > 0 &&
	       sscanf(buf, "%llu %llu %llu", &stat->ran, &stat->delay, &stat->turns) == 3;
}

/* Of /proc/schedstat: the time that tasks ran on the CPU */
static __u64 cpu_ran_ns(int cpu)
{
	static char buf[65536];
	unsigned long long ns = 0;
	char start[16], *line;

	snprintf(start, sizeof(start), "\ncpu%d ", cpu);
	if (get("/proc/schedstat", buf, sizeof(buf)) < 0)
		return 0;
	line = strstr(buf, start);
	if (line)
		sscanf(line, " %*s %*u %*u %*u %*u %*u %*u %llu", &ns);
	return ns;
}

struct waiter {
	struct schedstat before;
	struct schedstat after;
};

static int act_wait(void *data)
{
	struct waiter *waiter = *(struct waiter **)data;
	int err;

	read_schedstat("/proc/self/schedstat", &waiter->before);
	err = chain_run("lock 0; unlock 0");
	read_schedstat("/proc/self/schedstat", &waiter->after);
	return err;
}

/*
 * A task waits for a CPU from when it is woken: not while it waits for a mutex,
 * wherever it does; and it gets there once.
 */
TEST_F_TIMEOUT(accounting, run_delay_of_a_donor, PATIENCE)
{
	struct actor_plan plan = { .policy = SCHED_FIFO, .prio = W_PRIO, .cpu = W_CPU };
	static const int owner_cpus[] = { W_CPU, 2 };
	__u64 start, ran, took;
	struct waiter *waiter;
	struct actor *owner, *donor;
	unsigned int i;

	waiter = mmap(NULL, sizeof(*waiter), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, waiter);
	ASSERT_NE(0U, cpu_ran_ns(W_CPU))
		TH_LOG("no CONFIG_SCHEDSTATS");
	for (i = 0; i < ARRAY_SIZE(owner_cpus); i++) {
		start = now_ns();
		ran = cpu_ran_ns(W_CPU);
		ASSERT_EQ(0, chain_run("clear"));
		owner = start_owner(owner_cpus[i], 0, "burn 60000");
		ASSERT_NE(NULL, owner);
		donor = actor_start(&plan, act_wait, &waiter);
		ASSERT_NE(NULL, donor);
		ASSERT_TRUE(survives(donor));
		ASSERT_TRUE(survives(owner));
		sleep_us(10000);
		ran = cpu_ran_ns(W_CPU) - ran;
		took = now_ns() - start;
		EXPECT_LT(waiter->after.delay - waiter->before.delay, 20 * MS)
			TH_LOG("the owner was on CPU %d", owner_cpus[i]);
		EXPECT_GT(waiter->after.turns, waiter->before.turns)
			TH_LOG("the owner was on CPU %d", owner_cpus[i]);
		EXPECT_LE(ran, took + 1 * MS)
			TH_LOG("the owner was on CPU %d", owner_cpus[i]);
	}
	munmap(waiter, sizeof(*waiter));
}

/* us that some task of the own cgroup waited */
static long long pressure_us(const char *what)
{
	char path[64], buf[256], *total;

	snprintf(path, sizeof(path), OWN "%s.pressure", what);
	if (get(path, buf, sizeof(buf)) <= 0)
		return -1;
	total = strstr(buf, "total=");
	return total ? atoll(total + strlen("total=")) : -1;
}

/* A donor does not wait for a CPU, it is asleep, be it for I/O. */
TEST_F_TIMEOUT(accounting, pressure_of_a_donor, PATIENCE)
{
	long long cpu_us, io_us;
	struct actor *owner, *donor;

	if (!own_cgroup())
		SKIP(return, "no cgroup2");
	cpu_us = pressure_us("cpu");
	io_us = pressure_us("io");
	if (cpu_us < 0)
		SKIP(return, "no CONFIG_PSI, or not booted with psi=1");
	owner = start_owner(W_CPU, 0, "burn 60000");
	ASSERT_NE(NULL, owner);
	donor = STRONG("lockio 0; unlock 0");
	ASSERT_NE(NULL, donor);
	EXPECT_TRUE(survives(donor));
	EXPECT_TRUE(survives(owner));
	EXPECT_GT(pressure_us("io") - io_us, 40000);
	EXPECT_LT(pressure_us("cpu") - cpu_us, 20000);
	actor_stop(donor);
	actor_stop(owner);
	leave_cgroup();
}

/* Fields of /proc/PID/stat and lines of /proc/stat */
static long long blkio_ticks(pid_t pid)
{
	char path[64], buf[1024], *s, *word;
	int field = 3;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (get(path, buf, sizeof(buf)) < 0)
		return -1;
	s = strrchr(buf, ')');
	if (!s)
		return -1;
	for (word = strtok(s + 2, " "); word; word = strtok(NULL, " "), field++)
		if (field == 42)
			return atoll(word);
	return -1;
}

static long long procs_blocked(void)
{
	static char buf[65536];
	char *s;

	if (get("/proc/stat", buf, sizeof(buf)) < 0)
		return -1;
	s = strstr(buf, "\nprocs_blocked ");
	return s ? atoll(s + 15) : -1;
}

/*
 * mutex_lock_io(), with owners that are on the same CPU, on another, asleep, and
 * asleep on another: who waited for I/O is told, and nobody waits for ever.
 */
TEST_F_TIMEOUT(accounting, io_wait_of_a_donor, PATIENCE)
{
	static const char * const owners[] = {
		"burn 40000",
		"burn 20000; sleep 20000; burn 5000",
		"sleep 20000; burn 5000",
	};
	static const int owner_cpus[] = { W_CPU, 2 };
	static const int prios[] = { W_PRIO, 0 };
	struct actor *owner, *donor, *many[6];
	unsigned int i;

	if (put(SYSCTL "task_delayacct", "1\n"))
		SKIP(return, "no CONFIG_TASK_DELAY_ACCT");
	EXPECT_TRUE(wait_until(1000, !procs_blocked()));
	log_lines("psi: ", NULL, 0);
	for (i = 0; i < 12; i++) {
		int prio = prios[i / 6];

		ASSERT_EQ(0, chain_run("clear"));
		owner = start_owner(owner_cpus[i / 3 % 2], 0, owners[i % 3]);
		ASSERT_NE(NULL, owner);
		donor = chain_start(prio ? SCHED_FIFO : SCHED_OTHER, prio, W_CPU,
				    "lockio 0; burn 10; unlock 0");
		ASSERT_NE(NULL, donor);
		EXPECT_TRUE(survives(owner));
		EXPECT_TRUE(survives(donor));
		EXPECT_TRUE(wait_until(100, !procs_blocked()))
			TH_LOG("case %u: procs_blocked %lld", i, procs_blocked());
		/* In units of 10 ms, and no more than it can have waited */
		EXPECT_LE(blkio_ticks(donor->pid), 10)
			TH_LOG("case %u", i);
		actor_stop(owner);
		actor_stop(donor);
	}
	/* Many at once, in whatever order */
	for (i = 0; i < ARRAY_SIZE(many); i++) {
		struct actor_plan plan = {
			.policy = i % 3 ? SCHED_OTHER : SCHED_FIFO,
			.prio = i % 3 ? 0 : W_PRIO,
			.cpu = W_CPU + i % 2,
			.rounds = 40,
			.pause_us = 300,
		};

		many[i] = chain_start_plan(&plan, i / 3 ? "lockio 0; burn 200; unlock 0" :
						  "lockio 0; burn 50; sleep 200; unlock 0");
		ASSERT_NE(NULL, many[i]);
	}
	for (i = 0; i < ARRAY_SIZE(many); i++) {
		EXPECT_TRUE(survives(many[i]));
		EXPECT_LE(blkio_ticks(many[i]->pid), 100);
	}
	EXPECT_TRUE(wait_until(100, !procs_blocked()))
		TH_LOG("procs_blocked %lld", procs_blocked());
	put(SYSCTL "task_delayacct", "0\n");
	EXPECT_EQ(0, log_lines("psi: ", NULL, 0));
}

TEST_HARNESS_MAIN
