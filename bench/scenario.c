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
 *   links   takes down a container with five networks, which the engine
 *           detaches at once: five tasks delete a veth pair each.  Each flushes
 *           every CPU with rtnl held, so one flush comes after the other, and
 *           whoever else needs rtnl waits for its turn
 *   work    flushes a work item of the first hogged CPU that needs a given CPU
 *           time, of the module test_proxy_stall (/test_proxy_stall.ko)
 *   long    shrinks a ring buffer of the first hogged CPU, whose kworker has
 *           to run for hundreds of microseconds then, with interrupts disabled
 *           for part of them
 *   exec    runs the commands that a file names, and says of each how long it
 *           took, and of every task that waits meanwhile, where
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
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "rtnl.h"
#include "stuck.h"

#define MS		1000000ULL
#define MAX_CPUS	64
#define MAX_REPEAT	256
#define MAX_ACTORS	64
#define SPIN		200	/* instructions between two looks at the clock */
#define NOISE_NS	4000	/* shorter gaps are not looked into */
#define MARGIN		(20 * MS)
#define LOOK		(200 * MS)	/* from one look at all tasks to the next */
#define LINKS		5	/* networks of the container that "links" ends */

#define TRACEFS		"/sys/kernel/tracing/"
#define INSTANCE	TRACEFS "instances/scenario"
#define DEBUGFS		"/sys/kernel/debug/sched/"
#define MODULE		"/test_proxy_stall.ko"
#define WORK		"/sys/kernel/debug/test_proxy_stall/work"

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
	__u64 away_ns;		/* longest gap with a switch in it ... */
	__u64 lost_ns;		/* ... and all of those */
	__u64 gap_ns;		/* longest gap without: interrupts */
	__u64 gaps, gaps_ns;	/* ... and all of those */
};

/* Somebody who needs something; shared with the parent */
struct actor {
	const char *name;
	int cpu, prio, delay_ms;
	int (*act)(void);
	const char *command;	/* exec: what the shell is to run, ... */
	int interval_ms;	/* ... again and again, with this pause, ... */
	int follows;		/* ... or when the one before it is done */
	int rounds;
	pid_t pid;
	int n, error;
	atomic_int done;
	__u64 begun_ns;		/* work: from when it began until it was done */
	__u64 start[MAX_REPEAT], end[MAX_REPEAT];
};

static struct hog *hogs;
static struct actor *actors;
static int nr_hogs, nr_actors;

static pid_t container;
static int links;		/* hears of links that go */
static int engine[2];		/* "links": tells those who delete them */
static char ring[128];		/* the ring buffer that "long" shrinks */

static const char *scenario;
static int opt_prio = 55;
static int opt_hog_ms = 1000;
static int opt_repeat = 1;
static int opt_interval_ms;
static int opt_pause = 2000;
static int opt_settle_ms = 2000;
static int opt_kb = 2048;
static int opt_work_us = 20000;
static int opt_no_hog, opt_early, opt_lived, opt_no_trace;
static atomic_int *stop_rounds;

static const char usage[] =
"Usage: scenario [option]... flush|netns|links|work|long|exec [FILE]\n"
"  --cpus LIST      the CPUs to hog, such as 3 or 2,3 (default: 3)\n"
"  --prio N         the hogs' SCHED_FIFO priority (default: 55)\n"
"  --hog-ms N       how long they run (default: 1000)\n"
"  --early          they end when nobody waits any more\n"
"  --no-hog         the same without them\n"
"  --no-trace       do not trace boosts: that costs the hog some us each\n"
"  --lived          the hogs first do on their CPU what a program does: send\n"
"                   packets, write a log\n"
"  --repeat N       flush: N times in a row (default: 1)\n"
"  --interval-ms N  ... with this pause between them (default: 0)\n"
"  --work-us N      work: the CPU time that it needs (default: 20000)\n"
"  --kb N           long: the ring buffer's size (default: 2048)\n"
"  --pause N        instructions between the hogs' pauses (default: 2000)\n"
"  --settle-ms N    leave the machine alone before (default: 2000)\n"
"exec: each line of FILE is NAME CPU PRIO DELAY_MS INTERVAL_MS COMMAND.  With an\n"
"interval the command is run again and again until the others are done; with\n"
"- for the CPU it is run when the line before it is done, by the same process.\n";

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
 * No CPU is as new when its hog starts to spin: the program has sent packets,
 * and written a log, whose last pages are still in this CPU's lists, and not
 * yet in an LRU.
 */
static void live(void)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_port = htons(9),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	static char buf[4096];

	for (int i = 0; i < 10; i++)
		sendto(fd, buf, 64, 0, (struct sockaddr *)&to, sizeof(to));
	close(fd);
	fd = open("/var/tmp/hog.log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	for (int i = 0; i < 3; i++) {
		if (write(fd, buf, sizeof(buf)) != sizeof(buf))
			err(2, "/var/tmp/hog.log");
	}
	close(fd);
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
	if (opt_lived) {
		become(h->cpu, 0);
		live();
	}
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
			h->gaps_ns += t - t_last;
		} else {
			if (s.delay_ns - last.delay_ns > h->slice_ns)
				h->slice_ns = s.delay_ns - last.delay_ns;
			if (t - t_last > h->away_ns)
				h->away_ns = t - t_last;
			h->lost_ns += t - t_last;
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
	return rtnl_wait_gone(links, "veth", 1);
}

/* Until they are gone; what then waits for RCU, without rtnl, does not count. */
static int delete_links(void)
{
	if (write(engine[1], "12345", LINKS) != LINKS)
		return -errno;
	return rtnl_wait_gone(links, "veth", LINKS);
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

/* The number on the line of @text that begins with @key */
static __u64 value(const char *text, const char *key)
{
	const char *p = strstr(text, key);

	return p ? strtoull(p + strlen(key), NULL, 10) : 0;
}

static int flush_work(void)
{
	int fd = open(WORK, O_RDWR);
	char buf[256];
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = snprintf(buf, sizeof(buf), "%d %d", hogs[0].cpu, opt_work_us);
	if (write(fd, buf, n) != n)
		return -errno;
	n = pread(fd, buf, sizeof(buf) - 1, 0);
	if (n < 0)
		return -errno;
	buf[n] = 0;
	actors->begun_ns = value(buf, "end_ns: ") - value(buf, "first_ns: ");
	close(fd);
	return 0;
}

/* A container, and so many links from here to it */
static void setup_netns(int nr)
{
	char name[16], peer[16];
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
	for (int i = 0; i < nr; i++) {
		snprintf(name, sizeof(name), "veth%d", i);
		snprintf(peer, sizeof(peer), "eth%d", i);
		error = rtnl_add_veth(name, peer, container);
		if (!error)
			error = rtnl_set_up(name);
		if (error)
			errx(2, "no veth pair: %s", strerror(-error));
	}
}

/* So many tasks, each of which deletes its link when told */
static void setup_engine(void)
{
	char name[16], c;

	if (pipe(engine))
		err(2, "pipe");
	for (int i = 0; i < LINKS; i++) {
		if (fork())
			continue;
		become(0, 0);
		snprintf(name, sizeof(name), "veth%d", i);
		if (read(engine[0], &c, 1) == 1 && rtnl_delete(name))
			errx(2, "cannot delete %s", name);
		_exit(0);
	}
}

static void setup_work(void)
{
	int module;

	if (!access(WORK, F_OK))
		return;
	module = open(MODULE, O_RDONLY | O_CLOEXEC);
	if (module < 0 || syscall(SYS_finit_module, module, "", 0))
		err(2, MODULE);
	close(module);
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

static int run_command(const struct actor *a)
{
	char out[64];
	int status;
	pid_t pid = fork();

	if (!pid) {
		snprintf(out, sizeof(out), "/tmp/actor-%.40s", a->name);
		if (!freopen(a->interval_ms ? "/dev/null" : out, "w", stdout))
			_exit(126);
		execl("/bin/sh", "sh", "-c", a->command, NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
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

/* One, or one after the other; or one again and again: the longest counts */
static void run_commands(struct actor *a)
{
	__u64 start, end;
	int error;

	do {
		do {
			start = now();
			error = run_command(a);
			end = now();
			if (!a->n || end - start > a->end[0] - a->start[0]) {
				a->start[0] = start;
				a->end[0] = end;
			}
			a->n = 1;
			a->rounds++;
			if (error)
				a->error = error;
			if (a->interval_ms)
				sleep_until(now() + a->interval_ms * MS);
		} while (a->interval_ms && !*stop_rounds);
		a->done = 1;
	} while (++a < actors + nr_actors && a->follows);
}

static void start_actors(void)
{
	__u64 start = now() + MARGIN;
	pid_t pid;

	for (struct actor *a = actors; a < actors + nr_actors; a++) {
		if (a->follows)
			continue;
		pid = fork();
		if (pid) {
			a->pid = pid;
			continue;
		}
		become(a->cpu, a->prio);
		sleep_until(start + a->delay_ms * MS);
		if (a->command) {
			run_commands(a);
			exit(0);
		}
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

static int all_done(int rounds_too)
{
	for (struct actor *a = actors; a < actors + nr_actors; a++) {
		if (!a->done && (rounds_too || !a->interval_ms))
			return 0;
	}
	return 1;
}

/* Wait until every actor is done, or the time is up */
static void wait_actors(__u64 limit)
{
	__u64 look = 0;

	for (;;) {
		if (all_done(0))
			*stop_rounds = 1;
		if (all_done(1))
			return;
		if (limit && now() >= limit)
			return;
		if (actors->command && limit && now() >= look) {
			stuck_look(now(), hogs[0].cpu);
			look = now() + LOOK;
		}
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
		for (int i = 0; i < a->n; i++) {
			printf("%s actor name=%s prio=%d waited_ns=%llu after_hog=%d ",
			       scenario, a->name, a->prio, a->end[i] - a->start[i],
			       !opt_no_hog && a->end[i] >= hog_end &&
			       a->start[i] < hog_end);
			printf("late=%d error=%d rounds=%d begun_ns=%llu\n",
			       !opt_no_hog && a->start[i] >= hog_end,
			       a->error, a->rounds, a->begun_ns);
		}
	}
	for (struct actor *a = actors; a < actors + nr_actors; a++) {
		if (!a->command || a->interval_ms)
			continue;
		snprintf(tag, sizeof(tag), "out %.20s", a->name);
		snprintf(path, sizeof(path), "/tmp/actor-%.40s", a->name);
		print_file(tag, path);
	}
	if (opt_no_hog)
		return;
	for (struct hog *h = hogs; h < hogs + nr_hogs; h++) {
		printf("%s hog cpu=%d pid=%d prio=%d ran_ns=%llu ",
		       scenario, h->cpu, h->pid, opt_prio, hog_end - hog_start);
		printf("delay_ns=%llu switches=%llu slice_ns=%llu ",
		       h->delay_ns, h->switches, h->slice_ns);
		printf("away_ns=%llu lost_ns=%llu gap_ns=%llu gaps=%llu ",
		       h->away_ns, h->lost_ns, h->gap_ns, h->gaps);
		printf("gaps_ns=%llu timer_interrupts=%llu\n", h->gaps_ns,
		       timer[h - hogs]);
		snprintf(tag, sizeof(tag), "state cpu=%d", h->cpu);
		snprintf(path, sizeof(path), DEBUGFS "stall_monitor/cpu%d", h->cpu);
		print_file(tag, path);
	}
	print_file("trace", TRACEFS "trace");
}

static void run(void)
{
	__u64 timer[MAX_CPUS] = {}, hog_start = 0, hog_end = 0;
	__u64 margin = actors->command ? 500 * MS : MARGIN;
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
	wait_actors(opt_no_hog ? 0 : hog_end - margin);
	if (actors->command && !opt_no_hog) {
		stuck_look(now(), hogs[0].cpu);
		for (struct actor *a = actors; a < actors + nr_actors; a++) {
			if (!a->done && a->pid)
				stuck_tree(scenario, a->pid);
		}
		stuck_print(scenario);
	}
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
	if (container)
		kill(container, SIGKILL);
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

static void read_commands(const char *file)
{
	char line[512], name[64], cpu[16], *command;
	int prio, delay_ms, interval_ms, n;
	FILE *f = fopen(file, "r");

	if (!f)
		err(2, "%s", file);
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		if (!line[0] || line[0] == '#')
			continue;
		if (sscanf(line, "%63s %15s %d %d %d %n", name, cpu, &prio, &delay_ms,
			   &interval_ms, &n) != 5 || !line[n])
			errx(2, "%s: cannot read \"%s\"", file, line);
		if (nr_actors == MAX_ACTORS)
			errx(2, "%s: more than %d commands", file, MAX_ACTORS);
		command = strdup(line + n);
		add_actor(strdup(name), atoi(cpu), prio, delay_ms, NULL);
		actors[nr_actors - 1].command = command;
		actors[nr_actors - 1].interval_ms = interval_ms;
		actors[nr_actors - 1].follows = cpu[0] == '-' && nr_actors > 1;
	}
	fclose(f);
	if (!nr_actors)
		errx(2, "%s names no command", file);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "cpus", required_argument, NULL, 'c' },
		{ "prio", required_argument, NULL, 'p' },
		{ "hog-ms", required_argument, NULL, 'm' },
		{ "early", no_argument, &opt_early, 1 },
		{ "no-hog", no_argument, &opt_no_hog, 1 },
		{ "no-trace", no_argument, &opt_no_trace, 1 },
		{ "lived", no_argument, &opt_lived, 1 },
		{ "repeat", required_argument, NULL, 'r' },
		{ "interval-ms", required_argument, NULL, 'i' },
		{ "kb", required_argument, NULL, 'k' },
		{ "work-us", required_argument, NULL, 'w' },
		{ "pause", required_argument, NULL, 'P' },
		{ "settle-ms", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{}
	};
	int c;

	hogs = shared(MAX_CPUS * sizeof(*hogs));
	actors = shared(MAX_ACTORS * sizeof(*actors));
	stop_rounds = shared(sizeof(*stop_rounds));
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
		case 'w':
			opt_work_us = atoi(optarg);
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
	if (optind >= argc || optind + 1 + !strcmp(argv[optind], "exec") != argc ||
	    opt_repeat < 1 || opt_repeat > MAX_REPEAT) {
		fputs(usage, stderr);
		return 2;
	}
	scenario = argv[optind];

	/* The report and the waiting: above the actors, and away from them */
	become(1, 90);
	write_file("/proc/sys/kernel/sched_rt_runtime_us", "-1");
	write_file(TRACEFS "trace_clock", "mono");
	if (!opt_no_trace) {
		write_file(TRACEFS "events/stall_monitor/stall_boost_start/enable", "1");
		write_file(TRACEFS "events/stall_monitor/stall_boost_end/enable", "1");
	}
	if (!access(TRACEFS "events/sched/sched_proxy_lend", F_OK))
		write_file(TRACEFS "events/sched/sched_proxy_lend/enable", "1");
	write_file(TRACEFS "trace", "");

	if (strcmp(scenario, "flush"))
		opt_repeat = 1;
	if (!strcmp(scenario, "flush")) {
		add_actor("flush", 0, 0, 0, read_stat_refresh);
	} else if (!strcmp(scenario, "netns")) {
		setup_netns(1);
		add_actor("container", 0, 0, 0, end_container);
		add_actor("bystander", 1, 0, 1, add_address);
		add_actor("rt", 1, 60, 2, set_up);
	} else if (!strcmp(scenario, "links")) {
		setup_netns(LINKS);
		setup_engine();
		add_actor("container", 0, 0, 0, delete_links);
		add_actor("bystander", 1, 0, 1, add_address);
		add_actor("rt", 1, 60, 2, set_up);
	} else if (!strcmp(scenario, "work")) {
		setup_work();
		add_actor("work", 0, 0, 0, flush_work);
	} else if (!strcmp(scenario, "long")) {
		setup_long();
		add_actor("long", 0, 0, 0, shrink_ring);
	} else if (!strcmp(scenario, "exec")) {
		read_commands(argv[optind + 1]);
	} else {
		errx(2, "no scenario \"%s\" (see --help)", scenario);
	}
	run();
	return 0;
}
