/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of the stall monitor have in common: a CPU on which kernel
 * threads starve behind a hog, and the means to look at it.
 */
#ifndef PROXY_STALL_LAB_H
#define PROXY_STALL_LAB_H

#include <linux/types.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "../kselftest.h"

#define MAX_CPUS	64

/* For what another process writes. */
#define peek(x)		__atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#define poke(x, v)	__atomic_store_n(&(x), v, __ATOMIC_RELEASE)

#define SYSCTL		"/proc/sys/kernel/"
#define DEBUGFS		"/sys/kernel/debug/"
#define TRACEFS		"/sys/kernel/tracing/"
#define LO_RPS_CPUS	"/sys/class/net/lo/queues/rx-0/rps_cpus"
#define WQ_SYSFS	"/sys/devices/virtual/workqueue/"

/*
 * How long a hog lasts at most, and so the longest time to be not rescued.
 * Where time goes on while virtual CPUs wait for real ones it has to be long.
 */
#define HOG_MS		hog_ms()
#define HOG_PRIO	55

/* So long is waited for what happens at once. */
#define SOON_MS		(lab_exact_time() ? 1000 : 10000)

/* More CPU time than a kthread gets while the hog lasts */
#define FOREVER_US	(10 * 1000 * 1000)

/* Seconds for a test: far more than it needs where time is slow */
#define PATIENCE	240

/*
 * Entering may say why the test cannot run here; leaving, or the end of the test
 * for whatever reason, ends the hogs and restores what tests change.
 */
const char *lab_enter(void);
void lab_leave(void);

/* The same for tests of the chain, which has to do without the stall monitor. */
const char *chain_enter(void);

/* And for tests of what the series repairs, with proxy execution or without. */
const char *repairs_enter(void);
bool proxy_exec_is_off(void);

/* Long enough for the CPUs to be not warm any more */
void cool_down(void);

int lab_cpu(void);
int lab_cpus(int *cpus);
bool lab_exact_time(void);

/* PROXY_STALL_SECONDS, if that is set: how long to go on */
#define LAB_MAX_SECONDS	3600
unsigned int lab_seconds(unsigned int otherwise);

/* PREEMPT_RT: there is priority inheritance, not proxy execution. */
bool lab_rt(void);
unsigned int hog_ms(void);
/* Whether the list, such as 1,3-5, has the CPU */
bool cpu_in_list(int cpu, const char *list);
/* Whether the file, below /sys/devices/system/cpu, is a list with the CPU */
bool cpu_in(int cpu, const char *file);

/* The other thread of the CPU's core, or -1 */
int sibling_of(int cpu);

__u64 now_ns(void);
/* For loops that wait: lets an emulator with one thread run another CPU */
void relax(void);
void sleep_us(__u64 us);
int move(pid_t pid, int cpu);
/* It may run on both. */
int allow(pid_t pid, int cpu, int other);
void pin(int cpu);

/* What sched_setattr() makes a SCHED_DEADLINE task of, in ns; as that, it returns -1. */
struct deadline {
	__u64 runtime;
	__u64 deadline;
	__u64 period;
};

int set_deadline(pid_t pid, struct deadline deadline);

/* These return a negative error number if they fail. */
int __printf(2, 3) put(const char *path, const char *fmt, ...);
int get(const char *path, char *buf, size_t size);
long long get_number(const char *path);

#define CGROUP2	"/sys/fs/cgroup/"

/* Mounts it if nobody has; false if it cannot be had */
bool has_cgroup2(void);
int set(const char *sysctl, long long value);
/* file: "runtime" or "period"; the tests begin with a runtime of 0. */
int set_fair_server(int cpu, const char *file, long ns);
long long stall(const char *sysctl);

/* sysfs: the CPU's file stall_monitor/key, without the newline */
int sysfs_stat(int cpu, const char *key, char *buf, size_t size);

/* debugfs: a number, and the pid after the name; -1 if there is none. */
long long stat_of(int cpu, const char *key);
int state_of(int cpu, char *buf, size_t size);
int boosted_pid(int cpu);

struct gap {
	__u64 start_ns;
	__u64 ns;
};

#define MAX_GAPS	8192
#define GAP_NS		2000

/* A real-time task that does not let go, and what it saw of the others. */
struct hog {
	int cpu;
	pid_t pid;
	bool stop;
	bool moved;
	__u64 started_ns;
	__u64 ended_ns;
	unsigned int phase;
	__u64 seen_ns;	/* when it ran last */
	__u64 lost_ns;
	__u64 longest_ns;
	unsigned int nr_gaps;
	struct gap gaps[MAX_GAPS];
};

/* It runs for run_us, sleeps for sleep_us, and so on; 0: it never sleeps. */
struct hog_plan {
	int cpu;
	int prio;
	unsigned int ms;
	unsigned int run_us;
	unsigned int sleep_us;
	unsigned int naps;	/* how often it sleeps; 0: always */
};

struct hog *hog_start(int cpu);
struct hog *hog_start_plan(const struct hog_plan *plan);
struct hog *hog_start_napping(int cpu, unsigned int run_us, unsigned int sleep_us);
void hog_stop(struct hog *hog);
bool hog_running(const struct hog *hog);
void hog_reset(struct hog *hog);

/* The kthreads of lib/test_proxy_stall.c. */
struct program {
	unsigned int rounds;
	unsigned int burn_us;
	unsigned int sleep_us;
	unsigned int lock;
	unsigned int hold_us;
	const char *disabled;	/* "preemption", "bh", "irqs"; NULL: nothing */
};

int kthread_start(int cpu, const char *policy, int prio, const char *bind);
int kthread_run(int fd, struct program program);
int kthread_burn(int fd, unsigned int us);
int kthread_command(int fd, const char *command);
long long kthread_get(int fd, const char *key);
/*
 * With PREEMPT_RT the threads of a CPU's timers and RCU starve, too, unless it is
 * tickless: then help may have begun before.
 */
bool others_starve(int cpu);
/* It does not run for 300 ms, and the hog goes on. */
bool stays_starved(int fd, const struct hog *hog);
int module_unload(void);

/* Softirqs of burn_us without end, until the file is closed; kthread_get(fd, "runs") */
int flood_start(int cpu, unsigned int burn_us);

/* Queues a work on the CPU and flushes it; its worker's pid, or an error. */
int work_flush(int cpu, unsigned int burn_us);
/* The work sleeps for sleep_us after each of so many rounds. */
int work_flush_rounds(int cpu, unsigned int burn_us, unsigned int rounds,
		      unsigned int sleep_us);

/*
 * Tasks and works of lib/test_proxy_chain.c, and what they do: see there for
 * scripts. In them '@' stands for lab_cpu(), '&' for another CPU that may be
 * hogged as well.
 */
int __printf(1, 2) chain_run(const char *fmt, ...);
int __printf(2, 3) chain_work(int work, const char *fmt, ...);
/* How many workers the CPU's pool of the normal priority has */
int count_workers(int cpu);
/* Have all workers sleep in a work, but for one. Returns how many there are. */
int occupy_workers(int cpu, unsigned int us);

/* A task that runs a script, rounds times, and stays until the test ends. */
#define MAX_ROUNDS	128

struct actor {
	pid_t pid;
	bool ready;
	bool done;
	bool stop;
	int result;
	__u64 start_ns;
	__u64 end_ns;
	__u64 ns[MAX_ROUNDS];
};

struct actor_plan {
	int policy;
	int prio;
	int cpu;
	unsigned int rounds;
	unsigned int pause_us;
};

struct actor *__printf(4, 5) chain_start(int policy, int prio, int cpu, const char *fmt, ...);
struct actor *chain_start_plan(const struct actor_plan *plan, const char *script);
struct actor *actor_start(const struct actor_plan *plan, int (*act)(void *), void *data);
bool actor_wait(const struct actor *actor, unsigned int ms);
/* It sleeps uninterruptibly: in a lock or a flush. */
bool actor_blocked(const struct actor *actor);
void actor_stop(struct actor *actor);

struct work_report {
	pid_t pid;
	__u64 queued_ns;
	__u64 first_ns;
	__u64 end_ns;
	int runs;
};

struct work_report chain_report(int work);
/* Of debugfs test_proxy_chain/state: a number; a mark's time, 0 if it is not set */
long long chain_state(const char *key);
__u64 chain_mark_ns(int mark);
int chain_mark_cpu(int mark);
pid_t chain_owner(int mutex);
/* Of debugfs sched/proxy_flush; -1 if there is none */
long long proxy_stat(const char *key);

/* Everything that sched_setattr() and sched_setaffinity() can set. */
struct identity {
	int policy;
	int prio;
	int nice;
	char stat[4][16];
	cpu_set_t cpus;
};

struct identity identity_of(pid_t pid);
bool same(const struct identity *a, const struct identity *b);
/* "R", "D" and so on; 0 if there is no such task */
char task_state(pid_t pid);

/* The time that the task ran, and that it waited to run */
__u64 run_time_ns(pid_t pid);
__u64 run_delay_ns(pid_t pid);
/* How long it ran on contexts that were lent to it, and others on its own */
__u64 borrowed_ns(pid_t pid);
__u64 lent_ns(pid_t pid);
__u64 turns(pid_t pid);
/* Interrupts of the CPU: name as in /proc/interrupts, with the colon */
long long interrupts_of(const char *name, int cpu);
long long timer_interrupts(int cpu);

struct event {
	__u64 us;
	int cpu;
	char name[32];
	char text[256];
};

#define MAX_EVENTS	4096

#define TRACE_BOOSTS	"stall_monitor:stall_boost_start stall_monitor:stall_boost_end"

/* names: as in set_event, separated by spaces */
int trace_start(const char *names);
int trace_stop(struct event *events, int max);
long long event_number(const struct event *event, const char *key);
bool event_has(const struct event *event, const char *text);

/* Lines of the kernel's log since the last call that contain the text. */
int log_lines(const char *text, char *last, size_t size);

#define wait_until(ms, condition)					\
({									\
	__u64 __end = now_ns() + (ms) * 1000000ULL;			\
	bool __met;							\
									\
	while (!(__met = (condition)) && now_ns() < __end)		\
		sleep_us(500);						\
	__met;								\
})

#endif
