// SPDX-License-Identifier: GPL-2.0
/*
 * Starve the kernel threads of a CPU, need one of them, and measure.
 *
 * Real-time hogs take the named CPUs for a fixed time.  Meanwhile somebody on
 * another CPU needs a kernel thread that is bound to a hogged one:
 *
 *   flush   reads /proc/sys/vm/stat_refresh, which queues a work item on
 *           every CPU and waits for all of them
 *   netns   ends a container: the last process of a network namespace that
 *           holds one end of a veth pair dies, and the namespace is torn
 *           down.  Deleting its devices flushes every CPU with rtnl held
 *           (CONFIG_RPS=n), so whoever else needs rtnl waits as well
 *   long    shrinks a ring buffer of the first hogged CPU, whose kworker has
 *           to run for hundreds of microseconds then, rather than for a few
 *
 * Prints one fact a line, for the scripts to read.  Linked statically: the
 * guest has nothing but busybox.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/types.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "rtnl.h"

#define MS		1000000ULL
#define MAX_CPUS	64
#define MAX_REPEAT	256
#define SPIN		200	/* instructions between two looks at the clock */
#define NOISE_NS	4000	/* shorter gaps are not looked into */
#define MARGIN		(20 * MS)

#define TRACEFS		"/sys/kernel/tracing/"
#define INSTANCE	TRACEFS "instances/scenario"
#define DEBUGFS		"/sys/kernel/debug/sched/"

/* What /proc/<pid>/schedstat says */
struct schedstat {
	__u64 run_ns, delay_ns, arrivals;
};

/* What a hog sees of its own CPU; shared with the parent */
struct hog {
	pid_t pid;
	int cpu;
	atomic_int running;
	atomic_ullong end;
	__u64 switches;	/* how often another task ran instead */
	__u64 delay_ns;	/* how long it waited for its CPU, in all ... */
	__u64 slice_ns;		/* ... and at the longest */
	__u64 away_ns;		/* longest gap with a switch in it */
	__u64 gap_ns;		/* longest gap without: interrupts */
	__u64 gaps;
};

/* Somebody who needs something; shared with the parent */
struct actor {
	const char *name;
	int cpu, prio, delay_ms;
	int (*act)(void);
	pid_t pid;
	int n, error;
	atomic_int done;
	__u64 start[MAX_REPEAT], end[MAX_REPEAT];
};

static struct hog *hogs;
static struct actor *actors;
static int nr_hogs, nr_actors;

static pid_t container;
static int links;		/* hears of links that go */
static char ring[128];		/* the ring buffer that "long" shrinks */

static const char *scenario;
static int opt_prio = 55;
static int opt_hog_ms = 1000;
static int opt_repeat = 1;
static int opt_interval_ms;
static int opt_pause = 2000;
static int opt_settle_ms = 2000;
static int opt_kb = 2048;
static int opt_no_hog, opt_early;

static const char usage[] =
"Usage: scenario [option]... flush|netns|long\n"
"  --cpus LIST      the CPUs to hog, such as 3 or 2,3 (default: 3)\n"
"  --prio N         the hogs' SCHED_FIFO priority (default: 55)\n"
"  --hog-ms N       how long they run (default: 1000)\n"
"  --early          they end when nobody waits any more\n"
"  --no-hog         the same without them\n"
"  --repeat N       flush: N times in a row (default: 1)\n"
"  --interval-ms N  ... with this pause between them (default: 0)\n"
"  --kb N           long: the ring buffer's size (default: 2048)\n"
"  --pause N        instructions between the hogs' pauses (default: 2000)\n"
"  --settle-ms N    leave the machine alone before (default: 2000)\n";

static __u64 now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void sleep_until(__u64 t)
{
	struct timespec ts = { t / 1000000000, t % 1000000000 };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

static void *shared(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		err(2, "no memory");
	return p;
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static void print_file(const char *tag, const char *path)
{
	char line[512];
	FILE *f = fopen(path, "r");

	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		if (line[0] && line[0] != '#')
			printf("%s %s %s\n", scenario, tag, line);
	}
	fclose(f);
}

/* Priority 0 is SCHED_OTHER, others SCHED_FIFO */
static void become(int cpu, int prio)
{
	struct sched_param sp = { .sched_priority = prio };
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		err(2, "cannot run on CPU %d", cpu);
	if (sched_setscheduler(0, prio ? SCHED_FIFO : SCHED_OTHER, &sp))
		err(2, "cannot take priority %d", prio);
}

static void spin(int instructions)
{
	for (int i = 0; i < instructions / 2; i++)
		asm volatile("");
}

static struct schedstat schedstat(int fd)
{
	struct schedstat s = {};
	char buf[96], *p = buf;
	ssize_t n = pread(fd, buf, sizeof(buf) - 1, 0);

	if (n > 0) {
		buf[n] = 0;
		s.run_ns = strtoull(p, &p, 10);
		s.delay_ns = strtoull(p, &p, 10);
		s.arrivals = strtoull(p, &p, 10);
	}
	return s;
}

/*
 * Run, and look at the clock.  A gap is either somebody else on this CPU, and
 * then schedstat says for how long, or an interrupt (or, in virtual time, a
 * turn of another CPU, which "pause" lets it have early).
 */
static void hog_run(struct hog *h)
{
	struct schedstat first, last, s;
	__u64 t, t_last;
	int fd, spun = 0;

	h->pid = getpid();
	prctl(PR_SET_NAME, "hog");
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		err(2, "mlockall");
	fd = open("/proc/self/schedstat", O_RDONLY);
	if (fd < 0)
		errx(2, "no /proc/self/schedstat: the kernel needs CONFIG_SCHEDSTATS");
	become(h->cpu, opt_prio);
	schedstat(fd);
	first = schedstat(fd);
	last = first;
	h->end = now() + opt_hog_ms * MS;
	h->running = 1;
	t_last = now();
	while (t_last < h->end) {
		spin(SPIN);
		spun += SPIN;
		if (opt_pause && spun >= opt_pause) {
			asm volatile("pause");
			spun = 0;
		}
		t = now();
		if (t - t_last < NOISE_NS) {
			t_last = t;
			continue;
		}
		s = schedstat(fd);
		if (s.arrivals == last.arrivals) {
			if (t - t_last > h->gap_ns)
				h->gap_ns = t - t_last;
			h->gaps++;
		} else {
			if (s.delay_ns - last.delay_ns > h->slice_ns)
				h->slice_ns = s.delay_ns - last.delay_ns;
			if (t - t_last > h->away_ns)
				h->away_ns = t - t_last;
		}
		last = s;
		t_last = now();
	}
	s = schedstat(fd);
	h->switches = s.arrivals - first.arrivals;
	h->delay_ns = s.delay_ns - first.delay_ns;
}

static void start_hogs(void)
{
	for (struct hog *h = hogs; h < hogs + nr_hogs; h++) {
		if (!fork()) {
			hog_run(h);
			exit(0);
		}
		while (!h->running)
			usleep(1000);
	}
}

/* What the actors do: each returns 0 or a negative errno */

static int read_stat_refresh(void)
{
	char buf[64];
	int fd = open("/proc/sys/vm/stat_refresh", O_RDONLY);
	int ret = fd < 0 || read(fd, buf, sizeof(buf)) < 0 ? -errno : 0;

	close(fd);
	return ret;
}

static int end_container(void)
{
	kill(container, SIGKILL);
	return rtnl_wait_gone(links, "veth0");
}

static int add_address(void)
{
	return rtnl_add_address("dummy0", 0x0a000000 + getpid(), 24);
}

static int set_up(void)
{
	return rtnl_set_up("dummy0");
}

static int shrink_ring(void)
{
	return write_file(ring, "4");
}

static void setup_netns(void)
{
	int ready[2], error;
	char c;

	if (pipe(ready))
		err(2, "pipe");
	container = fork();
	if (!container) {
		become(0, 0);
		if (unshare(CLONE_NEWNET))
			err(2, "no network namespace");
		close(ready[1]);
		for (;;)
			pause();
	}
	close(ready[1]);
	if (read(ready[0], &c, 1) < 0)
		err(2, "pipe");
	links = rtnl_listen();
	error = rtnl_add_dummy("dummy0");
	if (error && error != -EEXIST)
		errx(2, "no dummy device: %s", strerror(-error));
	error = rtnl_add_veth("veth0", "eth0", container);
	if (!error)
		error = rtnl_set_up("veth0");
	if (error)
		errx(2, "no veth pair: %s", strerror(-error));
}

static void setup_long(void)
{
	char kb[16];

	if (mkdir(INSTANCE, 0755) && errno != EEXIST)
		err(2, "%s", INSTANCE);
	snprintf(ring, sizeof(ring), INSTANCE "/per_cpu/cpu%d/buffer_size_kb",
		 hogs[0].cpu);
	snprintf(kb, sizeof(kb), "%d", opt_kb);
	if (write_file(ring, kb))
		errx(2, "cannot set %s to %s", ring, kb);
}

static void add_actor(const char *name, int cpu, int prio, int delay_ms,
		      int (*act)(void))
{
	struct actor *a = &actors[nr_actors++];

	a->name = name;
	a->cpu = cpu;
	a->prio = prio;
	a->delay_ms = delay_ms;
	a->act = act;
}

static void start_actors(void)
{
	__u64 start = now() + MARGIN;

	for (struct actor *a = actors; a < actors + nr_actors; a++) {
		a->pid = fork();
		if (a->pid)
			continue;
		become(a->cpu, a->prio);
		sleep_until(start + a->delay_ms * MS);
		for (a->n = 0; a->n < opt_repeat && !a->error; a->n++) {
			if (a->n)
				sleep_until(now() + opt_interval_ms * MS);
			a->start[a->n] = now();
			a->error = a->act();
			a->end[a->n] = now();
		}
		a->done = 1;
		exit(0);
	}
}

/* Wait until every actor is done, or the time is up */
static void wait_actors(__u64 limit)
{
	struct actor *a;

	for (;;) {
		for (a = actors; a < actors + nr_actors && a->done; a++)
			;
		if (a == actors + nr_actors)
			return;
		if (limit && now() >= limit)
			return;
		usleep(5000);
	}
}

/* A CPU's local timer interrupts so far */
static __u64 timer_interrupts(int cpu)
{
	char line[1024], *p;
	__u64 n = 0;
	FILE *f = fopen("/proc/interrupts", "r");

	while (f && fgets(line, sizeof(line), f)) {
		p = strstr(line, "LOC:");
		if (!p)
			continue;
		for (p += 4; cpu >= 0; cpu--)
			n = strtoull(p, &p, 10);
		break;
	}
	if (f)
		fclose(f);
	return n;
}

static void report(__u64 hog_start, __u64 hog_end, const __u64 *timer)
{
	char tag[32], path[128];

	for (struct actor *a = actors; a < actors + nr_actors; a++) {
		for (int i = 0; i < a->n; i++)
			printf("%s actor name=%s prio=%d waited_ns=%llu after_hog=%d error=%d\n",
			       scenario, a->name, a->prio, a->end[i] - a->start[i],
			       !opt_no_hog && a->end[i] >= hog_end &&
			       a->start[i] < hog_end, a->error);
	}
	if (opt_no_hog)
		return;
	for (struct hog *h = hogs; h < hogs + nr_hogs; h++) {
		printf("%s hog cpu=%d pid=%d prio=%d ran_ns=%llu ",
		       scenario, h->cpu, h->pid, opt_prio, hog_end - hog_start);
		printf("delay_ns=%llu switches=%llu slice_ns=%llu ",
		       h->delay_ns, h->switches, h->slice_ns);
		printf("away_ns=%llu gap_ns=%llu gaps=%llu timer_interrupts=%llu\n",
		       h->away_ns, h->gap_ns, h->gaps, timer[h - hogs]);
		snprintf(tag, sizeof(tag), "state cpu=%d", h->cpu);
		snprintf(path, sizeof(path), DEBUGFS "stall_monitor/cpu%d", h->cpu);
		print_file(tag, path);
	}
	print_file("trace", TRACEFS "trace");
}

static void run(void)
{
	__u64 timer[MAX_CPUS] = {}, hog_start = 0, hog_end = 0;
	int i;

	sleep_until(now() + opt_settle_ms * MS);
	if (!opt_no_hog) {
		hog_start = now();
		start_hogs();
		hog_end = hogs[0].end;
	}
	for (i = 0; i < nr_hogs; i++)
		timer[i] = timer_interrupts(hogs[i].cpu);
	start_actors();
	wait_actors(opt_no_hog ? 0 : hog_end - MARGIN);
	if (!opt_no_hog && !opt_early)
		sleep_until(hog_end - MARGIN);
	for (i = 0; i < nr_hogs; i++) {
		timer[i] = timer_interrupts(hogs[i].cpu) - timer[i];
		if (opt_early && hogs[i].end > now() + MARGIN) {
			hogs[i].end = now() + MARGIN;
			hog_end = hogs[0].end;
		}
	}
	if (!opt_no_hog)
		sleep_until(hog_end);
	wait_actors(0);
	while (wait(NULL) > 0)
		;
	report(hog_start, hog_end, timer);
}

static void parse_cpus(char *list)
{
	nr_hogs = 0;
	for (char *s = strtok(list, ","); s; s = strtok(NULL, ",")) {
		if (nr_hogs == MAX_CPUS)
			errx(2, "too many CPUs");
		hogs[nr_hogs++].cpu = atoi(s);
	}
	if (!nr_hogs)
		errx(2, "--cpus takes a list such as 3 or 2,3");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "cpus", required_argument, NULL, 'c' },
		{ "prio", required_argument, NULL, 'p' },
		{ "hog-ms", required_argument, NULL, 'm' },
		{ "early", no_argument, &opt_early, 1 },
		{ "no-hog", no_argument, &opt_no_hog, 1 },
		{ "repeat", required_argument, NULL, 'r' },
		{ "interval-ms", required_argument, NULL, 'i' },
		{ "kb", required_argument, NULL, 'k' },
		{ "pause", required_argument, NULL, 'P' },
		{ "settle-ms", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{}
	};
	int c;

	hogs = shared(MAX_CPUS * sizeof(*hogs));
	actors = shared(4 * sizeof(*actors));
	nr_hogs = 1;
	hogs[0].cpu = 3;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 0:
			break;
		case 'c':
			parse_cpus(optarg);
			break;
		case 'p':
			opt_prio = atoi(optarg);
			break;
		case 'm':
			opt_hog_ms = atoi(optarg);
			break;
		case 'r':
			opt_repeat = atoi(optarg);
			break;
		case 'i':
			opt_interval_ms = atoi(optarg);
			break;
		case 'k':
			opt_kb = atoi(optarg);
			break;
		case 'P':
			opt_pause = atoi(optarg);
			break;
		case 's':
			opt_settle_ms = atoi(optarg);
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind != argc - 1 || opt_repeat < 1 || opt_repeat > MAX_REPEAT) {
		fputs(usage, stderr);
		return 2;
	}
	scenario = argv[optind];

	/* The report and the waiting: above the actors, and away from them */
	become(1, 90);
	write_file("/proc/sys/kernel/sched_rt_runtime_us", "-1");
	write_file(TRACEFS "trace_clock", "mono");
	write_file(TRACEFS "events/stall_monitor/enable", "1");
	if (!access(TRACEFS "events/sched/sched_proxy_lend", F_OK))
		write_file(TRACEFS "events/sched/sched_proxy_lend/enable", "1");
	write_file(TRACEFS "trace", "");

	if (strcmp(scenario, "flush"))
		opt_repeat = 1;
	if (!strcmp(scenario, "flush")) {
		add_actor("flush", 0, 0, 0, read_stat_refresh);
	} else if (!strcmp(scenario, "netns")) {
		setup_netns();
		add_actor("container", 0, 0, 0, end_container);
		add_actor("bystander", 1, 0, 5, add_address);
		add_actor("rt", 1, 60, 10, set_up);
	} else if (!strcmp(scenario, "long")) {
		setup_long();
		add_actor("long", 0, 0, 0, shrink_ring);
	} else {
		errx(2, "no scenario \"%s\" (see --help)", scenario);
	}
	run();
	return 0;
}
