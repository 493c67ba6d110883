// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lab.h"

#define MODULE		"test_proxy_stall"
#define CHAIN		"test_proxy_chain"
#define MAX_KTHREADS	64
#define MAX_ACTORS	512
#define FAIR_SERVER	DEBUGFS "sched/fair_server/"
#define RV		TRACEFS "rv/"

/* Files */

int put(const char *path, const char *fmt, ...)
{
	char text[256];
	va_list args;
	int fd, n, err;

	va_start(args, fmt);
	n = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = write(fd, text, n) == n ? 0 : -errno;
	close(fd);
	return err;
}

/* Opening some files so resets what they stand for. */
static void empty(const char *path)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
}

int get(const char *path, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while ((n = read(fd, buf + len, size - 1 - len)) > 0)
		len += n;
	if (n < 0)
		n = -errno;
	else
		n = len;
	buf[len] = '\0';
	close(fd);
	return n;
}

long long get_number(const char *path)
{
	char buf[64];
	int err = get(path, buf, sizeof(buf));

	return err < 0 ? err : atoll(buf);
}

bool has_cgroup2(void)
{
	if (!access(CGROUP2 "cgroup.controllers", F_OK))
		return true;
	mkdir(CGROUP2, 0755);
	return !mount("cgroup2", CGROUP2, "cgroup2", 0, NULL);
}

static const char *sysctl_path(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), SYSCTL "%s", name);
	return path;
}

int set(const char *sysctl, long long value)
{
	return put(sysctl_path(sysctl), "%lld\n", value);
}

int set_fair_server(int cpu, const char *file, long ns)
{
	char path[96];

	snprintf(path, sizeof(path), FAIR_SERVER "cpu%d/%s", cpu, file);
	return put(path, "%ld\n", ns);
}

long long stall(const char *sysctl)
{
	return get_number(sysctl_path(sysctl));
}

/* Finds "key: " at the start of a line. */
static const char *find_key(const char *text, const char *key)
{
	size_t len = strlen(key);

	while (text) {
		if (!strncmp(text, key, len) && text[len] == ':')
			return text + len + 1;
		text = strchr(text, '\n');
		if (text)
			text++;
	}
	return NULL;
}

/* Time and CPUs */

__u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

void sleep_us(__u64 us)
{
	struct timespec ts = {
		.tv_sec = us / 1000000,
		.tv_nsec = us % 1000000 * 1000,
	};

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

int set_deadline(pid_t pid, struct deadline deadline)
{
	struct {
		__u32 size;
		__u32 policy;
		__u64 flags;
		__s32 nice;
		__u32 priority;
		struct deadline deadline;
	} attr = {
		.size = sizeof(attr),
		.policy = 6,	/* SCHED_DEADLINE, which not every libc has */
		.deadline = deadline,
	};

	return syscall(SYS_sched_setattr, pid, &attr, 0);
}

int allow(pid_t pid, int cpu, int other)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	CPU_SET(other, &set);
	return sched_setaffinity(pid, sizeof(set), &set);
}

int move(pid_t pid, int cpu)
{
	return allow(pid, cpu, cpu);
}

void pin(int cpu)
{
	move(0, cpu);
}

bool cpu_in_list(int cpu, const char *list)
{
	char *s = (char *)list;

	while (*s >= '0' && *s <= '9') {
		int first = strtol(s, &s, 10);
		int last = *s == '-' ? strtol(s + 1, &s, 10) : first;

		if (first <= cpu && cpu <= last)
			return true;
		if (*s == ',')
			s++;
	}
	return false;
}

bool cpu_in(int cpu, const char *file)
{
	char path[128], buf[256];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/%s", file);
	return get(path, buf, sizeof(buf)) >= 0 && cpu_in_list(cpu, buf);
}

int sibling_of(int cpu)
{
	char path[96];
	int other;

	snprintf(path, sizeof(path), "cpu%d/topology/thread_siblings_list", cpu);
	for (other = 0; other < MAX_CPUS; other++)
		if (other != cpu && cpu_in(other, path))
			return other;
	return -1;
}

/* CPU 0 is the housekeeping CPU. */
int lab_cpus(int *cpus)
{
	int cpu, n = 0;

	for (cpu = 1; cpu < MAX_CPUS; cpu++)
		if (cpu_in(cpu, "online"))
			cpus[n++] = cpu;
	return n;
}

int lab_cpu(void)
{
	int cpus[MAX_CPUS], n = lab_cpus(cpus), i;

	for (i = n - 1; i >= 0; i--)
		if (cpu_in(cpus[i], "nohz_full"))
			return cpus[i];
	return n ? cpus[n - 1] : -1;
}

static bool asked(const char *variable)
{
	const char *value = getenv(variable);

	return value && *value && strcmp(value, "0");
}

/*
 * An emulator that is not told to count instructions has times of its own, and
 * so has a kernel that checks every lock.
 */
bool lab_exact_time(void)
{
	return asked("PROXY_STALL_EXACT") && access("/proc/lockdep", F_OK);
}

bool lab_rt(void)
{
	struct utsname u;

	return !uname(&u) && strstr(u.version, "PREEMPT_RT");
}

unsigned int hog_ms(void)
{
	if (asked("PROXY_STALL_EXACT") && (asked("PROXY_STALL_FORCE") || asked("PROXY_STALL_OFF")))
		return 500;	/* nobody is rescued: each test lasts as long */
	return asked("PROXY_STALL_EXACT") ? 3000 : 40000;
}

unsigned int lab_seconds(unsigned int otherwise)
{
	const char *s = getenv("PROXY_STALL_SECONDS");
	int n = s ? atoi(s) : 0;

	return n < 1 || n > LAB_MAX_SECONDS ? otherwise : (unsigned int)n;
}

/* What the tests change, as it was when the program started */

#define MAX_SAVED	(16 + 2 * MAX_CPUS)

static struct saved {
	char path[96];
	char value[64];
} saved[MAX_SAVED];
static int nr_saved;

static void save(const char *path)
{
	struct saved *s = &saved[nr_saved];

	if (nr_saved == MAX_SAVED || get(path, s->value, sizeof(s->value)) < 0)
		return;
	snprintf(s->path, sizeof(s->path), "%s", path);
	nr_saved++;
}

/* What the list reads as is not how it came about. */
static void save_watched(void)
{
	char cmdline[2048];
	int n = nr_saved;

	save(sysctl_path("stall_monitor_cpus"));
	if (n < nr_saved && get("/proc/cmdline", cmdline, sizeof(cmdline)) > 0 &&
	    strstr(cmdline, "stall_monitor=isolated"))
		strcpy(saved[n].value, "isolated");
}

static void __attribute__((constructor)) save_all(void)
{
	static const char * const sysctls[] = {
		"stall_monitor_threshold_us", "stall_monitor_awaited_us",
		"stall_monitor_duration_us",
		"stall_monitor_period_us", "stall_monitor_runtime_us",
		"stall_monitor", "stall_monitor_ignore", "stall_monitor_log",
		"stall_monitor_panic", "proxy_flush_limit_us",
		"sched_rt_runtime_us", "printk", "threads-max",
	};
	char path[96];
	size_t i;
	int cpu;

	for (i = 0; i < sizeof(sysctls) / sizeof(*sysctls); i++)
		save(sysctl_path(sysctls[i]));
	for (cpu = 1; cpu < MAX_CPUS; cpu++) {
		snprintf(path, sizeof(path), FAIR_SERVER "cpu%d/runtime", cpu);
		save(path);
	}
	save("/sys/module/stall/parameters/threshold_jiffies");
	save(WQ_SYSFS "cpumask");
	save(LO_RPS_CPUS);
	save_watched();
}

static void restore_all(void)
{
	char path[96];
	int i, pass, cpu;

	/* Twice: what a value may be depends on the others. */
	for (pass = 0; pass < 2; pass++)
		for (i = 0; i < nr_saved; i++)
			put(saved[i].path, "%s", saved[i].value);
	empty(TRACEFS "set_event");
	empty(RV "enabled_monitors");
	for (cpu = 1; cpu < MAX_CPUS; cpu++) {
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
		if (get_number(path) == 0)
			put(path, "1\n");
	}
}

/* Entering and leaving */

static int lock_fd = -1;
static pid_t guardian;

/*
 * Tests that hang are killed, and restore nothing.  The guardian outlives them,
 * and holds, as the hogs do, the lock that the next test waits for.
 */
static void guard(pid_t pid)
{
	struct pollfd pfd = { .events = POLLIN };

	guardian = fork();
	if (guardian)
		return;
	setsid();
	pfd.fd = syscall(SYS_pidfd_open, pid, 0);
	if (pfd.fd >= 0)
		poll(&pfd, 1, -1);
	restore_all();
	_exit(0);
}

/* A name that is free when every process that has the socket is gone */
static bool take_lock(void)
{
	struct sockaddr_un name = { AF_UNIX, "\0proxy_stall_lab" };

	lock_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (lock_fd < 0)
		return false;
	if (!bind(lock_fd, (struct sockaddr *)&name, sizeof(name)))
		return true;
	close(lock_fd);
	return false;
}

static int module_load(const char *name)
{
	static const char * const places[] = { "", "/lib/modules/" };
	char path[96];
	size_t i;
	int fd, err;

	snprintf(path, sizeof(path), DEBUGFS "%s", name);
	if (!access(path, F_OK))
		return 0;
	for (i = 0; i < sizeof(places) / sizeof(*places); i++) {
		snprintf(path, sizeof(path), "%s%s.ko", places[i], name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		err = syscall(SYS_finit_module, fd, "", 0);
		close(fd);
		if (!err)
			return 0;
	}
	snprintf(path, sizeof(path), "modprobe -q %s 2>/dev/null", name);
	return system(path);
}

int module_unload(void)
{
	return syscall(SYS_delete_module, MODULE, 0) ? -errno : 0;
}

static const char *cannot(void)
{
	if (getuid())
		return "needs root";
	if (lab_cpu() < 0)
		return "needs two CPUs";
	if (access(DEBUGFS "sched", F_OK))
		return "no debugfs in " DEBUGFS;
	return NULL;
}

static const char *cannot_load(const char *name)
{
	static char why[96];

	if (!module_load(name))
		return NULL;
	snprintf(why, sizeof(why), "no module %s (CONFIG_TEST_PROXY_STALL)", name);
	return why;
}

static const char *cannot_stall(void)
{
	const char *why = cannot_load(MODULE);

	if (why)
		return why;
	if (access(SYSCTL "stall_monitor", F_OK) && !asked("PROXY_STALL_FORCE"))
		return "no CONFIG_SCHED_STALL_MONITOR";
	return NULL;
}

bool proxy_exec_is_off(void)
{
	char cmdline[2048];

	if (get("/proc/cmdline", cmdline, sizeof(cmdline)) < 0)
		return false;
	/* Beside sched_ext it is only on when it is asked for. */
	if (!strstr(cmdline, "proxy_exec"))
		return !lab_rt() && !access("/sys/kernel/sched_ext", F_OK);
	return strstr(cmdline, "proxy_exec=off") || strstr(cmdline, "proxy_exec=0") ||
	       strstr(cmdline, "proxy_exec=n");
}

/* What repairs the kernel below the series is tested without the series, too. */
static const char *cannot_repairs(void)
{
	int cpus[MAX_CPUS];

	if (lab_cpus(cpus) < 3)
		return "needs four CPUs";
	return cannot_load(CHAIN);
}

static const char *cannot_chain(void)
{
	if (access(DEBUGFS "sched/proxy_flush", F_OK) && !asked("PROXY_STALL_FORCE"))
		return "no CONFIG_SCHED_PROXY_FLUSH";
	if (proxy_exec_is_off() && !asked("PROXY_STALL_FORCE"))
		return "proxy execution is off";
	return cannot_load(MODULE) ?: cannot_repairs();
}

/* A CPU is warm for 50 ms after a rescue. */
void cool_down(void)
{
	sleep_us(60000);
}

/* The defaults, but a threshold that lets the tests end sooner. */
static void prepare(void)
{
	int cpu;

	for (cpu = 1; cpu < MAX_CPUS; cpu++)
		set_fair_server(cpu, "runtime", 0);
	set("sched_rt_runtime_us", -1);
	set("stall_monitor_threshold_us", 20000);
	set("stall_monitor_awaited_us", 20000);
	set("stall_monitor_runtime_us", 10);
	set("stall_monitor_period_us", 1000);
	set("stall_monitor_runtime_us", 40);
	set("stall_monitor_duration_us", 10000);
	set("stall_monitor", asked("PROXY_STALL_OFF") ? 0 : 1);
	cool_down();
}

static const char *enter(const char *(*cannot_test)(void))
{
	const char *why = cannot() ?: cannot_test();

	if (why)
		return why;
	if (!wait_until(60000, take_lock()))
		return "another test is running, or CONFIG_UNIX is missing";
	guard(getpid());
	pin(0);
	prepare();
	return NULL;
}

const char *lab_enter(void)
{
	return enter(cannot_stall);
}

/* Works of the last test may still have to run, if it failed. */
static const char *enter_chain(const char *(*cannot_test)(void))
{
	const char *why = enter(cannot_test);

	if (why)
		return why;
	set("stall_monitor", 0);
	/* The first event makes the buffers grow, with a work on each CPU. */
	put(TRACEFS "set_event", "sched:sched_switch\n");
	empty(TRACEFS "set_event");
	wait_until(1000, chain_state("busy") == 0);
	chain_run("clear");
	return NULL;
}

const char *chain_enter(void)
{
	return enter_chain(cannot_chain);
}

const char *repairs_enter(void)
{
	return enter_chain(cannot_repairs);
}

static struct hog *hogs[MAX_CPUS];
static int nr_hogs;

static struct actor *actors[MAX_ACTORS];
static int nr_actors;

static int kthreads[MAX_KTHREADS];
static int nr_kthreads;

/* From the last on: tests start the strong, which starve the others, last. */
static void stop_kthreads(void)
{
	while (nr_kthreads && nr_kthreads <= MAX_KTHREADS)
		kthread_command(kthreads[--nr_kthreads], "stop");
}

void lab_leave(void)
{
	int i;

	for (i = 0; i < nr_hogs; i++)
		hog_stop(hogs[i]);
	for (i = 0; i < nr_actors; i++)
		actor_stop(actors[i]);
	stop_kthreads();
	restore_all();
	if (guardian > 0) {
		kill(guardian, SIGKILL);
		waitpid(guardian, NULL, 0);
	}
	close(lock_fd);
}

/* sysfs and debugfs */

int sysfs_stat(int cpu, const char *key, char *buf, size_t size)
{
	char path[96];
	int err;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/stall_monitor/%s",
		 cpu, key);
	err = get(path, buf, size);
	if (err > 0)
		buf[strcspn(buf, "\n")] = '\0';
	return err;
}

static int monitor_text(int cpu, char *buf, size_t size)
{
	char path[96];

	snprintf(path, sizeof(path), DEBUGFS "sched/stall_monitor/cpu%d", cpu);
	return get(path, buf, size);
}

long long stat_of(int cpu, const char *key)
{
	char buf[1024];
	const char *value;

	if (monitor_text(cpu, buf, sizeof(buf)) < 0)
		return -1;
	value = find_key(buf, key);
	return value ? atoll(value) : -1;
}

int state_of(int cpu, char *state, size_t size)
{
	char buf[1024];
	const char *value;

	if (monitor_text(cpu, buf, sizeof(buf)) < 0)
		return -1;
	value = find_key(buf, "state");
	if (!value)
		return -1;
	value += strspn(value, " ");
	snprintf(state, size, "%s", value);
	state[strcspn(state, "\n")] = '\0';
	return 0;
}

/* The last word of "boosted: some name 123". */
int boosted_pid(int cpu)
{
	char buf[1024], *value, *word;

	if (monitor_text(cpu, buf, sizeof(buf)) < 0)
		return -1;
	value = (char *)find_key(buf, "boosted");
	if (!value)
		return -1;
	value[strcspn(value, "\n")] = '\0';
	word = strrchr(value, ' ');
	return word && atoi(word + 1) ? atoi(word + 1) : -1;
}

/* Hogs */

void relax(void)
{
#ifdef __has_builtin
#if __has_builtin(__builtin_ia32_pause)
	__builtin_ia32_pause();
#endif
#endif
}

static void note_gap(struct hog *hog, __u64 from, __u64 to)
{
	__u64 ns = to - from;

	if (ns < GAP_NS)
		return;
	if (hog->nr_gaps < MAX_GAPS)
		hog->gaps[hog->nr_gaps++] = (struct gap) { from, ns };
	hog->lost_ns += ns;
	if (ns > hog->longest_ns)
		hog->longest_ns = ns;
}

static bool hog_goes_on(struct hog *hog, __u64 end)
{
	if (peek(hog->stop) || now_ns() >= end)
		return false;
	/* Its CPU went offline: it must not be a hog elsewhere. */
	if (sched_getcpu() != hog->cpu) {
		poke(hog->moved, true);
		return false;
	}
	return true;
}

/*
 * An emulator with one thread gives a virtual CPU the turn until the next timer
 * expires, or until it pauses: so it pauses, every 2000 instructions or so.
 */
static void hog_run(struct hog *hog, __u64 end)
{
	__u64 last = now_ns(), now;
	int i;

	while (hog_goes_on(hog, end)) {
		for (i = 0; i < 16; i++) {
			now = now_ns();
			note_gap(hog, last, now);
			last = now;
		}
		poke(hog->seen_ns, now);
		relax();
	}
}

static void hog_main(struct hog *hog, const struct hog_plan *plan)
{
	struct sched_param param = { .sched_priority = plan->prio };
	__u64 end, phase_end;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Keep the lock, but no kthread of the test module. */
	close_range(3, lock_fd - 1, 0);
	close_range(lock_fd + 1, ~0U, 0);
	pin(plan->cpu);
	if (sched_setscheduler(0, SCHED_FIFO, &param))
		_exit(1);
	end = now_ns() + plan->ms * 1000000ULL;
	poke(hog->started_ns, now_ns());
	do {
		phase_end = end;
		if (plan->sleep_us && (!plan->naps || hog->phase < plan->naps))
			phase_end = now_ns() + plan->run_us * 1000ULL;
		hog_run(hog, phase_end < end ? phase_end : end);
		if (phase_end < end)
			sleep_us(plan->sleep_us);
		poke(hog->phase, hog->phase + 1);
	} while (hog_goes_on(hog, end));
	poke(hog->ended_ns, now_ns());
	_exit(0);
}

/* Zeroed memory for this process and those that it forks, there from the start */
static void *shared(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	return mem == MAP_FAILED ? NULL : memset(mem, 0, size);
}

struct hog *hog_start_plan(const struct hog_plan *plan)
{
	struct hog *hog;
	pid_t pid;

	hog = shared(sizeof(*hog));
	if (!hog)
		return NULL;
	hog->cpu = plan->cpu;
	pid = fork();
	if (!pid)
		hog_main(hog, plan);
	if (pid < 0)
		return NULL;
	hog->pid = pid;
	hogs[nr_hogs++ % MAX_CPUS] = hog;
	if (!wait_until(2000, peek(hog->started_ns))) {
		hog_stop(hog);
		return NULL;
	}
	/* Let it settle: its first faults and the end of its start are over. */
	sleep_us(2000);
	return hog;
}

struct hog *hog_start(int cpu)
{
	struct hog_plan plan = { .cpu = cpu, .prio = HOG_PRIO, .ms = HOG_MS };

	return hog_start_plan(&plan);
}

/* It goes on, and has not been made to give way otherwise than by preemption. */
bool hog_running(const struct hog *hog)
{
	return !peek(hog->ended_ns) && !peek(hog->moved);
}

/* Forget the gaps so far. */
void hog_reset(struct hog *hog)
{
	poke(hog->longest_ns, 0);
	poke(hog->lost_ns, 0);
	poke(hog->nr_gaps, 0);
}

struct hog *hog_start_napping(int cpu, unsigned int run_us, unsigned int sleep_us)
{
	struct hog_plan plan = {
		.cpu = cpu, .prio = HOG_PRIO, .ms = HOG_MS,
		.run_us = run_us, .sleep_us = sleep_us,
	};

	return hog_start_plan(&plan);
}

void hog_stop(struct hog *hog)
{
	if (hog->pid <= 0)
		return;
	poke(hog->stop, true);
	waitpid(hog->pid, NULL, 0);
	hog->pid = 0;
}

/* The test module */

int kthread_command(int fd, const char *command)
{
	return write(fd, command, strlen(command)) < 0 ? -errno : 0;
}

int kthread_start(int cpu, const char *policy, int prio, const char *bind)
{
	char command[80];
	int fd, err;

	fd = open(DEBUGFS MODULE "/kthread", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	snprintf(command, sizeof(command), "start %d %s %d %s", cpu, policy, prio, bind);
	err = kthread_command(fd, command);
	if (err) {
		close(fd);
		return err;
	}
	/* It has to run once, to go to sleep. */
	sleep_us(5000);
	kthreads[nr_kthreads++ % MAX_KTHREADS] = fd;
	return fd;
}

int kthread_run(int fd, struct program p)
{
	char command[80];

	snprintf(command, sizeof(command), "run %u %u %u %u %u %s", p.rounds,
		 p.burn_us, p.sleep_us, p.lock, p.hold_us,
		 p.disabled ? p.disabled : "nothing");
	return kthread_command(fd, command);
}

int kthread_burn(int fd, unsigned int us)
{
	return kthread_run(fd, (struct program) { .rounds = 1, .burn_us = us });
}

static long long report_get(int fd, const char *key)
{
	char buf[256];
	const char *value;
	ssize_t n;

	n = pread(fd, buf, sizeof(buf) - 1, 0);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	value = find_key(buf, key);
	return value ? atoll(value) : -ENOENT;
}

long long kthread_get(int fd, const char *key)
{
	return report_get(fd, key);
}

int work_flush_rounds(int cpu, unsigned int burn_us, unsigned int rounds,
		      unsigned int sleep_us)
{
	char command[60];
	int fd, ret;

	fd = open(DEBUGFS MODULE "/work", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	snprintf(command, sizeof(command), "%d %u %u %u", cpu, burn_us, rounds, sleep_us);
	ret = kthread_command(fd, command);
	if (!ret)
		ret = report_get(fd, "pid");
	close(fd);
	return ret;
}

bool others_starve(int cpu)
{
	return lab_rt() && !cpu_in(cpu, "nohz_full");
}

bool stays_starved(int fd, const struct hog *hog)
{
	sleep_us(300000);
	return !kthread_get(fd, "first_ns") && hog_running(hog);
}

int flood_start(int cpu, unsigned int burn_us)
{
	char command[40];
	int fd, err;

	fd = open(DEBUGFS MODULE "/flood", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	snprintf(command, sizeof(command), "%d %u", cpu, burn_us);
	err = kthread_command(fd, command);
	if (!err)
		return fd;
	close(fd);
	return err;
}

int work_flush(int cpu, unsigned int burn_us)
{
	return work_flush_rounds(cpu, burn_us, 1, 0);
}

/* Chains */

static void chain_text(char *buf, size_t size, const char *fmt, va_list args)
{
	char text[2048], *s;
	size_t n = 0;

	vsnprintf(text, sizeof(text), fmt, args);
	for (s = text; *s && n + 4 < size; s++) {
		if (*s == '@' || *s == '&')
			n += snprintf(buf + n, size - n, "%d", lab_cpu() - (*s == '&'));
		else
			buf[n++] = *s;
	}
	buf[n] = '\0';
}

static int chain_write(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return err;
}

int chain_run(const char *fmt, ...)
{
	char text[2048];
	va_list args;

	va_start(args, fmt);
	chain_text(text, sizeof(text), fmt, args);
	va_end(args);
	return chain_write(DEBUGFS CHAIN "/run", text);
}

int chain_work(int work, const char *fmt, ...)
{
	char text[2048];
	va_list args;
	int n;

	n = snprintf(text, sizeof(text), "%d = ", work);
	va_start(args, fmt);
	chain_text(text + n, sizeof(text) - n, fmt, args);
	va_end(args);
	return chain_write(DEBUGFS CHAIN "/work", text);
}

int count_workers(int cpu)
{
	struct dirent *entry;
	DIR *dir = opendir("/proc");
	int n = 0;

	while (dir && (entry = readdir(dir))) {
		char path[300], comm[64], kind = 0;
		int of, id;

		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		if (atoi(entry->d_name) && get(path, comm, sizeof(comm)) > 0 &&
		    sscanf(comm, "kworker/%d:%d%c", &of, &id, &kind) >= 2 && of == cpu)
			n += kind != 'H';
	}
	if (dir)
		closedir(dir);
	return n;
}

#define FIRST_SLEEPER	40	/* work and mark */

int occupy_workers(int cpu, unsigned int us)
{
	int n, i = FIRST_SLEEPER;

	while (n = count_workers(cpu), i - FIRST_SLEEPER < n - 1) {
		chain_work(i, "mark %d; sleep %u", i, us);
		if (i == 63 || chain_run("queue %d %d percpu; wait %d", i, cpu, i))
			return -1;
		i++;
	}
	return n;
}

struct script {
	char text[2048];
	int fd;
};

static int act_script(void *data)
{
	struct script *script = data;

	return write(script->fd, script->text, strlen(script->text)) < 0 ? -errno : 0;
}

/* Tasks that share an open file would wait for each other. */
static bool open_script(struct script *script)
{
	script->fd = open(DEBUGFS CHAIN "/run", O_WRONLY | O_CLOEXEC);
	return script->fd >= 0;
}

static void actor_main(struct actor *actor, const struct actor_plan *plan,
		       int (*act)(void *), void *data)
{
	struct sched_param param = { .sched_priority = plan->prio };
	unsigned int i, rounds = plan->rounds ?: 1;
	__u64 start;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* One that cannot be ended must not hold up anybody. */
	close_range(0, ~0U, 0);
	if (plan->cpu >= 0)
		pin(plan->cpu);
	if (act == act_script && !open_script(data))
		_exit(1);
	if (sched_setscheduler(0, plan->policy, &param))
		_exit(1);
	poke(actor->start_ns, now_ns());
	poke(actor->ready, true);
	for (i = 0; i < rounds && !actor->result; i++) {
		start = now_ns();
		actor->result = act(data);
		poke(actor->end_ns, now_ns());
		if (i < MAX_ROUNDS)
			actor->ns[i] = actor->end_ns - start;
		if (plan->pause_us)
			sleep_us(plan->pause_us);
	}
	poke(actor->done, true);
	while (!peek(actor->stop))
		sleep_us(1000);
	_exit(0);
}

struct actor *actor_start(const struct actor_plan *plan, int (*act)(void *), void *data)
{
	struct actor *actor;
	pid_t pid;

	if (nr_actors == MAX_ACTORS)
		return NULL;
	actor = shared(sizeof(*actor));
	if (!actor)
		return NULL;
	pid = fork();
	if (!pid)
		actor_main(actor, plan, act, data);
	if (pid < 0)
		return NULL;
	actor->pid = pid;
	actors[nr_actors++] = actor;
	/* An actor on a hogged CPU starts when it can. */
	wait_until(100, peek(actor->ready));
	return actor;
}

struct actor *chain_start_plan(const struct actor_plan *plan, const char *text)
{
	struct script script;

	snprintf(script.text, sizeof(script.text), "%s", text);
	return actor_start(plan, act_script, &script);
}

struct actor *chain_start(int policy, int prio, int cpu, const char *fmt, ...)
{
	struct actor_plan plan = { .policy = policy, .prio = prio, .cpu = cpu };
	char text[2048];
	va_list args;

	va_start(args, fmt);
	chain_text(text, sizeof(text), fmt, args);
	va_end(args);
	return chain_start_plan(&plan, text);
}

bool actor_wait(const struct actor *actor, unsigned int ms)
{
	return wait_until(ms, peek(actor->done));
}

bool actor_blocked(const struct actor *actor)
{
	return task_state(actor->pid) == 'D';
}

/* One that is in a deadlock for ever is left behind. */
void actor_stop(struct actor *actor)
{
	if (actor->pid <= 0)
		return;
	poke(actor->stop, true);
	kill(actor->pid, SIGKILL);
	wait_until(2000, waitpid(actor->pid, NULL, WNOHANG));
	actor->pid = 0;
}

struct work_report chain_report(int work)
{
	struct work_report r;
	char buf[4096], *line;
	int w;

	if (get(DEBUGFS CHAIN "/work", buf, sizeof(buf)) > 0)
		for (line = strtok(buf, "\n"); line; line = strtok(NULL, "\n"))
			if (sscanf(line, "%d %d %llu %llu %llu %d", &w, &r.pid, &r.queued_ns,
				   &r.first_ns, &r.end_ns, &r.runs) == 6 && w == work)
				return r;
	return (struct work_report) { };
}

static int chain_text_of(char *buf, size_t size)
{
	return get(DEBUGFS CHAIN "/state", buf, size);
}

long long chain_state(const char *key)
{
	char buf[4096];
	const char *value;

	if (chain_text_of(buf, sizeof(buf)) < 0)
		return -1;
	value = find_key(buf, key);
	return value ? atoll(value) : -1;
}

/* The line "WHAT N ...": what comes after that */
static const char *state_line(char *buf, const char *what, int n)
{
	char start[32];
	char *line;

	snprintf(start, sizeof(start), "%s %d ", what, n);
	for (line = strtok(buf, "\n"); line; line = strtok(NULL, "\n"))
		if (!strncmp(line, start, strlen(start)))
			return line + strlen(start);
	return NULL;
}

__u64 chain_mark_ns(int mark)
{
	char buf[4096];
	const char *s;
	__u64 ns = 0;

	if (chain_text_of(buf, sizeof(buf)) < 0)
		return 0;
	s = state_line(buf, "mark", mark);
	if (s)
		sscanf(s, "%*d %llu", &ns);
	return ns;
}

int chain_mark_cpu(int mark)
{
	char buf[4096];
	const char *s;
	int cpu = -1;

	if (chain_text_of(buf, sizeof(buf)) < 0)
		return -1;
	s = state_line(buf, "mark", mark);
	if (s)
		sscanf(s, "%*d %*u %d", &cpu);
	return cpu;
}

pid_t chain_owner(int mutex)
{
	char buf[4096];
	const char *s;

	if (chain_text_of(buf, sizeof(buf)) < 0)
		return 0;
	s = state_line(buf, "m", mutex);
	return s ? atoi(s) : 0;
}

long long proxy_stat(const char *key)
{
	char buf[512];
	const char *value;

	if (get(DEBUGFS "sched/proxy_flush", buf, sizeof(buf)) < 0)
		return -1;
	value = find_key(buf, key);
	return value ? atoll(value) : -1;
}

/* What a task is */

/* The fields of /proc/PID/stat from the third on */
static char *stat_of_task(pid_t pid, char *buf, size_t size)
{
	char path[64], *s;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (get(path, buf, size) < 0)
		return NULL;
	s = strrchr(buf, ')');
	return s && s[1] ? s + 2 : NULL;
}

char task_state(pid_t pid)
{
	char buf[1024], *s = stat_of_task(pid, buf, sizeof(buf));

	return s ? *s : 0;
}

/* priority, nice, rt_priority, policy */
static void stat_fields(pid_t pid, char out[4][16])
{
	static const int wanted[] = { 18, 19, 40, 41 };
	char buf[1024], *s = stat_of_task(pid, buf, sizeof(buf)), *word;
	int field = 3, n = 0;

	if (!s)
		return;
	word = strtok(s, " ");
	for (; word && n < 4; word = strtok(NULL, " "), field++)
		if (field == wanted[n])
			snprintf(out[n++], 16, "%s", word);
}

struct identity identity_of(pid_t pid)
{
	struct sched_param param = { };
	struct identity id;

	memset(&id, 0, sizeof(id));
	id.policy = sched_getscheduler(pid);
	sched_getparam(pid, &param);
	id.prio = param.sched_priority;
	id.nice = getpriority(PRIO_PROCESS, pid);
	stat_fields(pid, id.stat);
	sched_getaffinity(pid, sizeof(id.cpus), &id.cpus);
	return id;
}

bool same(const struct identity *a, const struct identity *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/* Accounting */

static __u64 account_of(pid_t pid, int field)
{
	char path[64], buf[128], *s = buf;
	__u64 value = 0;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", pid);
	if (get(path, buf, sizeof(buf)) > 0)
		for (; field >= 0; field--)
			value = strtoull(s, &s, 10);
	return value;
}

__u64 run_time_ns(pid_t pid)
{
	return account_of(pid, 0);
}

__u64 run_delay_ns(pid_t pid)
{
	return account_of(pid, 1);
}

/* /proc/PID/sched has milliseconds, and behind the point the nanoseconds. */
static __u64 sched_ns(pid_t pid, const char *key)
{
	char path[64], buf[4096], *at, *end;
	__u64 ms;

	snprintf(path, sizeof(path), "/proc/%d/sched", pid);
	if (get(path, buf, sizeof(buf)) <= 0)
		return 0;
	at = strstr(buf, key);
	at = at ? strchr(at, ':') : NULL;
	if (!at)
		return 0;
	ms = strtoull(at + 1, &end, 10);
	return ms * 1000000 + (*end == '.' ? strtoull(end + 1, NULL, 10) : 0);
}

__u64 borrowed_ns(pid_t pid)
{
	return sched_ns(pid, "\nproxy.borrowed ");
}

__u64 lent_ns(pid_t pid)
{
	return sched_ns(pid, "\nproxy.lent ");
}

/* How often it was switched to */
__u64 turns(pid_t pid)
{
	return account_of(pid, 2);
}

/* The column of the CPU in the line "LOC:" of /proc/interrupts. */
long long interrupts_of(const char *name, int cpu)
{
	static char buf[65536];
	char *line, *s, *word;
	int column = 0;

	if (get("/proc/interrupts", buf, sizeof(buf)) < 0)
		return -1;
	line = strstr(buf, name);
	if (!line)
		return -1;
	buf[strcspn(buf, "\n")] = '\0';
	for (s = strtok(buf, " "); s; s = strtok(NULL, " "), column++)
		if (!strncmp(s, "CPU", 3) && atoi(s + 3) == cpu)
			break;
	for (word = strtok(line + strlen(name), " "); word && column; column--)
		word = strtok(NULL, " ");
	return word ? atoll(word) : -1;
}

long long timer_interrupts(int cpu)
{
	return interrupts_of("LOC:", cpu);
}

/* Tracing */

int trace_start(const char *names)
{
	char copy[256], *name;
	int err;

	put(TRACEFS "tracing_on", "0\n");
	empty(TRACEFS "set_event");
	put(TRACEFS "trace_clock", "mono\n");
	empty(TRACEFS "trace");
	snprintf(copy, sizeof(copy), "%s", names);
	for (name = strtok(copy, " "); name; name = strtok(NULL, " ")) {
		err = put(TRACEFS "set_event", "%s\n", name);
		if (err)
			return err;
	}
	return put(TRACEFS "tracing_on", "1\n");
}

/* "comm-1 [003] d..2. 12.345678: name: text" */
static bool parse_event(char *line, struct event *e)
{
	char *s = strstr(line, " [");
	unsigned long sec, usec;
	int n = 0;

	if (*line == '#' || !s)
		return false;
	if (sscanf(s, " [%d] %*s %lu.%lu: %31[^:]: %n", &e->cpu, &sec, &usec,
		   e->name, &n) != 4)
		return false;
	e->us = sec * 1000000ULL + usec;
	snprintf(e->text, sizeof(e->text), " %s", s + n);
	e->text[strcspn(e->text, "\n")] = '\0';
	return true;
}

int trace_stop(struct event *events, int max)
{
	char line[512];
	FILE *file;
	int n = 0;

	put(TRACEFS "tracing_on", "0\n");
	empty(TRACEFS "set_event");
	file = fopen(TRACEFS "trace", "r");
	if (!file)
		return -errno;
	while (n < max && fgets(line, sizeof(line), file))
		n += parse_event(line, &events[n]);
	fclose(file);
	return n;
}

/* The number after " key=". */
long long event_number(const struct event *e, const char *key)
{
	char pattern[40];
	const char *s;

	snprintf(pattern, sizeof(pattern), " %s=", key);
	s = strstr(e->text, pattern);
	return s ? atoll(s + strlen(pattern)) : -1;
}

bool event_has(const struct event *e, const char *text)
{
	return strstr(e->text, text);
}

/* The kernel's log */

int log_lines(const char *text, char *last, size_t size)
{
	static int fd = -1;
	char record[1024];
	ssize_t n;
	int count = 0;

	if (fd < 0)
		fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	while (fd >= 0) {
		n = read(fd, record, sizeof(record) - 1);
		if (n < 0 && errno == EPIPE)
			continue;
		if (n <= 0)
			break;
		record[n] = '\0';
		if (!strstr(record, text))
			continue;
		count++;
		if (last)
			snprintf(last, size, "%s", record);
	}
	return count;
}
