// SPDX-License-Identifier: GPL-2.0
/*
 * Stall monitor: lend a CPU to the kernel threads that starve on it
 *
 * A SCHED_FIFO task that never sleeps, the hog, starves the fair and the weaker
 * real-time threads of its CPU. For user tasks that is what was asked for. For
 * a kernel thread it is not: somebody waits for the kworker that never runs,
 * typically with a mutex held, and in the end the whole system waits.
 *
 * The idea: on the CPUs that are watched, every runnable kernel thread that
 * does not run is on a list, oldest first. When the oldest has waited behind
 * something stronger than the fair class for the threshold, the CPU's stall
 * server, a dl_server, lends its deadline context to that thread, in slices. No
 * policy, priority or affinity changes, so there is nothing to restore.
 *
 * The threshold decides when help begins, a shorter one when somebody is known
 * to wait for the thread: a housekeeping CPU asks. Once begun it goes on: a
 * boosted thread has its slices until it sleeps. While a boost is under way, and
 * for STALL_WARM_NS after the last, the CPU is warm: whoever waits is due at
 * once. What bounds all this together is the bucket.
 *
 * The bucket: boosts take from the hog what is in it, and nothing else. It holds
 * one slice, and is filled while the hog runs, so that the two have runtime and
 * the rest of each period in the long run. What boosts take is counted
 * from the switch to a boosted thread to the switch away from it, and
 * STALL_SWITCH_NS for the interrupts and switches at both ends. A thread in a
 * section without preemption overruns its slice: all of that is charged, and
 * the debt has to be refilled before the next slice, whoever it is for. So in
 * any stretch of time boosts take runtime/period of it, one slice, and one
 * overrun. Debt that takes longer than STALL_MAX_DEBT_NS to refill is
 * forgiven, else one rescue would be the next starvation.
 *
 * For SCHED_DEADLINE each slice is a job of the server, with a deadline one
 * period later, and the bucket sees to it that jobs that end within a stretch
 * of time demand no more than runtime/period of it.
 *
 * The states of a CPU (enum stall_state):
 *
 *   +------+   a thread waits   +----------+
 *   | IDLE | -----------------> | WATCHING | <-------------------------------+
 *   +------+ <----------------- +----------+                                 |
 *             nobody does         |                                          |
 *                                 | the head is due, or the CPU is warm      |
 *                                 | [timer, hooks]                           |
 *                                 v                                          |
 *                               +--------+                                   |
 *       +---------------------> | REFILL | --------------------------------->|
 *       |                       +--------+   its turn is over, others wait   |
 *       |                         |                                          |
 *       |                         | a slice is in the bucket [timer, hooks]  |
 *       |                         v                                          |
 *       |                       +-------+                                    |
 *       |     +---------------> | READY | ---------------------------------->|
 *       |     |                 +-------+    deadline tasks do not let it in |
 *       |     |                   |          [timer]                         |
 *       |     | a deadline task   | switched to                              |
 *       |     | preempts          v                                          |
 *       |     | [switch]        +---------+                                  |
 *       |     +---------------- | RUNNING |                                  |
 *       |<--------------------- +---------+                                  |
 *       | ... and too little      |                                          |
 *       | of the slice is left    | the slice is over [slice timer]          |
 *       |                         v                                          |
 *       |                       +---------+                                  |
 *       +---------------------- | OVERRUN |                                  |
 *         switched away from    +---------+                                  |
 *         [switch]                                                           |
 *                               from these four: the thread sleeps or moves  |
 *                               [dequeue], or nothing starves it [hooks] ----+
 *
 *   OFF       not watched
 *   IDLE      no thread waits
 *   WATCHING  threads wait, or one that was helped has not slept since; while
 *             threads wait and the CPU is taken, the timer is armed for when
 *             the head is due, or it is time to ask who is awaited
 *   REFILL    ->boosted has its turn; timer: a slice is in the bucket
 *   READY     the server is queued; timer: it has not been picked in a period
 *   RUNNING   ->boosted runs for the server; slice timer: the end of the slice
 *   OVERRUN   the slice is over, the server stopped, the CPU told to reschedule
 *
 * stall_update() goes through the states as far as it can, stall_switched() does
 * what a switch decides. A thread that leaves the runqueue, a pause, or the CPU
 * going offline ends the boost in any state.
 *
 * The way of a thread from its wakeup to its boost:
 *
 *   the waker    ttwu_do_activate() or ttwu_runnable(), stall_enqueue(): the
 *                thread is on the list; stall_update() arms the timer. If
 *                nothing starves it yet, stall_switch() does that, with the
 *                switch to the hog.
 *   keeper       stall_timer(), stall_look() on a housekeeping CPU: stall_ask()
 *                whether somebody waits for the thread, stall_report_send(),
 *                stall_detect() when it is due: now the CPU is warm.
 *                stall_update(): stall_boost_start(), and, as soon as the bucket
 *                holds a slice, stall_slice_ready() starts the server, which
 *                has the hog's CPU reschedule.
 *   hog's CPU    __schedule() picks the server, stall_server_pick() names the
 *                thread; stall_switch(), stall_switched(): stall_slice_run()
 *
 * If the CPU is warm, the waker itself gets as far as stall_slice_ready().
 *
 * Turns: a thread keeps its turn for the duration, if others wait; then it goes
 * to the end of the list. The next turn is for one that somebody waits for, if
 * there is one, and the one after that for the oldest.
 *
 * Quiet: the timer lives on a housekeeping CPU. Where it has to be armed from
 * another one, an irq_work does that. It is never cancelled: when it fires in
 * vain it finds nothing to do. The hog's CPU takes one interrupt to reschedule
 * and one of the slice timer, if the thread does not sleep before.
 *
 * Why the slices have a timer of their own: a dl_server's runtime is enforced
 * at the tick, which is off on a nohz_full CPU, and the hrtick serves only
 * deadline tasks. So the server is started for one slice and stopped at the end
 * of it, and sched_can_stop_tick() does not count it.
 *
 * Locking: rq->lock protects all of struct stall_rq and the stall_* fields of
 * the tasks on that runqueue. Both timers' callbacks take it and look at the
 * state that they find. A task on the waiting list or in ->boosted is on the
 * runqueue: it leaves both in the dequeue hook, before it can die, so no
 * reference is held. stall_mutex serialises the sysctls; it nests inside
 * cpu_hotplug_lock, and rq->lock inside it.
 */

#define pr_fmt(fmt) "stall_monitor: " fmt

#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/debugfs.h>
#include <linux/device.h>
#include <linux/glob.h>
#include <linux/irq_work.h>
#include <linux/kallsyms.h>
#include <linux/math64.h>
#include <linux/sched/clock.h>
#include <linux/sched/debug.h>
#include <linux/sched/isolation.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/sysctl.h>
#include <linux/workqueue.h>

#include "sched.h"

#define CREATE_TRACE_POINTS
#include <trace/events/stall_monitor.h>

/* On from the first time that a CPU is watched: turning it off disturbs all. */
DEFINE_STATIC_KEY_FALSE(stall_monitor_enabled);

/* Less than this is not worth two context switches. */
#define STALL_MIN_SLICE_NS	(10 * NSEC_PER_USEC)

/*
 * What the hog loses beside what the thread runs: interrupts and switches, which
 * take longer with PREEMPT_RT.
 */
#define STALL_SWITCH_NS		((IS_ENABLED(CONFIG_PREEMPT_RT) ? 7 : 6) * NSEC_PER_USEC)

/* A slice that ends so late has been overrun. */
#define STALL_OVERRUN_NS	(5 * NSEC_PER_USEC)

/* How far the timers may be off */
#define STALL_EARLY_NS		(1 * NSEC_PER_USEC)
#define STALL_LATE_NS		(20 * NSEC_PER_USEC)

/* How long a CPU stays warm after a boost */
#define STALL_WARM_NS		(50 * NSEC_PER_MSEC)

/* The longest pause that an overrun can cause */
#define STALL_MAX_DEBT_NS	(1 * NSEC_PER_SEC)

/* Longer waits are not told apart: the longest threshold */
#define STALL_MAX_WAIT_NS	(3600ULL * NSEC_PER_SEC)

/* Longer than it takes to fill the bucket, whatever the debt and the parameters */
#define STALL_FULL_NS		(8ULL * NSEC_PER_SEC)

/* So many periods the server may wait for its pick, then another has a turn. */
#define STALL_READY_TRIES	8

/* Of so many threads, the oldest, it is asked who waits for them, and how often */
#define STALL_ASK_MAX		8
#define STALL_ASK_SCAN		64
#define STALL_ASK_NS		(1ULL * NSEC_PER_MSEC)

/* A thread that begins to wait is compared with so many others at most. */
#define STALL_SORT_MAX		64

/* One line of a CPU in the log, then none for so long */
#define STALL_SAY_NS		(60ULL * NSEC_PER_SEC)

/* A thread that was helped for so long without a sleep is beyond help. */
#define STALL_HELPLESS_NS	(10ULL * NSEC_PER_SEC)

enum stall_mode { STALL_MODE_OFF, STALL_MODE_ON, STALL_MODE_REPORT };

/*
 * The sysctls. Written under stall_mutex, read under the rq->lock of any CPU:
 * a new threshold or duration holds from the next look at it.
 */
struct stall_params {
	unsigned int	on;		/* enum stall_mode; and cpu_hotplug_lock */
	unsigned int	threshold_us;
	unsigned int	awaited_us;
	unsigned int	runtime_us;
	unsigned int	period_us;
	unsigned int	duration_us;
};

static struct stall_params stall_params __read_mostly = {
	.threshold_us	= 100000,
	.awaited_us	= 10000,
	.runtime_us	= 50,
	.period_us	= 1000,
	.duration_us	= 5000,
};

/* Whether there is to be a log, and a panic when a thread is beyond help */
static unsigned int stall_log __read_mostly = 1;
static unsigned int stall_panic __read_mostly;

static DEFINE_MUTEX(stall_mutex);

/*
 * The CPUs to watch while the monitor is on. Written under cpu_hotplug_lock and
 * stall_mutex; either is enough to read it.
 */
static struct cpumask stall_cpus __read_mostly;

/* They are those that are isolated, whichever that is; under stall_mutex. */
static bool stall_follow;

static inline u64 stall_ns(const unsigned int *us)
{
	return (u64)READ_ONCE(*us) * NSEC_PER_USEC;
}

static void stall_set_state(struct rq *rq, enum stall_state state)
{
	struct stall_rq *st = &rq->stall;

	if (st->state == state)
		return;
	trace_stall_state(cpu_of(rq), st->state, state, st->budget);
	st->state = state;
}

/* --- Whom to ignore --- */

#define STALL_IGNORE_LEN	256

/* Patterns of names, one behind the other, each with its '\0' */
struct stall_ignore {
	struct rcu_head		rcu;
	unsigned int		gen;	/* no two lists have the same; 31 bits */
	unsigned int		len;
	char			patterns[STALL_IGNORE_LEN];
};

/* By default those whose purpose is to keep the CPU from running anything */
static struct stall_ignore stall_ignore_boot = {
	.gen		= 1,
	.len		= sizeof("idle_inject/*"),
	.patterns	= "idle_inject/*",
};

/* Written under stall_mutex */
static struct stall_ignore __rcu *stall_ignore = RCU_INITIALIZER(&stall_ignore_boot);

static bool stall_name_matches(const struct stall_ignore *list, const char *name)
{
	const char *s = list->patterns;

	for (; s < list->patterns + list->len; s += strlen(s) + 1) {
		if (glob_match(s, name))
			return true;
	}
	return false;
}

/*
 * The name is looked at once for each list: kernel threads keep theirs. What is
 * kept is the list's generation, and the answer in bit 0.
 */
static bool stall_ignored(struct task_struct *p)
{
	const struct stall_ignore *list;

	lockdep_assert_rq_held(task_rq(p));
	list = rcu_dereference_sched(stall_ignore);
	if (unlikely(p->stall_ignored >> 1 != list->gen))
		p->stall_ignored = list->gen << 1 | stall_name_matches(list, p->comm);

	return p->stall_ignored & 1;
}

/* --- Who waits, and for how long --- */

/*
 * Is @p a kernel thread that this monitor looks after: of a class that something
 * stronger can starve?
 */
static bool stall_monitored(struct task_struct *p)
{
	if (!(p->flags & PF_KTHREAD))
		return false;
	if (p->sched_class != &fair_sched_class && p->sched_class != &rt_sched_class)
		return false;
	return !stall_ignored(p);
}

static inline bool stall_waiting(struct task_struct *p)
{
	return !list_empty(&p->stall_node);
}

/* In ->stall_since: it has been told of, and was not helped. */
#define STALL_TOLD		BIT_ULL(63)

/*
 * It is being moved to another CPU, and this is not since when, but for how many
 * us, and at which of the jiffies it left: it may come here from a CPU that is not
 * watched, much later.
 */
#define STALL_MOVED		BIT_ULL(62)
#define STALL_MOVED_SHIFT	32
#define STALL_MOVED_MAX_US	(BIT_ULL(30) - 1)

static inline u64 stall_since(struct task_struct *p)
{
	return p->stall_since & ~STALL_TOLD;
}

/* Its sibling's task has another cookie than those that wait here. */
static bool stall_forced_idle(struct rq *rq)
{
#ifdef CONFIG_SCHED_CORE
	return sched_core_enabled(rq) && rq->nr_running && rq->core->core_forceidle_count;
#else
	return false;
#endif
}

/*
 * Is @rq taken by something that starves the fair class? Still so while a
 * boosted thread is there, and until the switch away from it. Idle counts when
 * it is forced by core scheduling; a plain idle CPU runs whoever is runnable.
 */
static bool stall_taken(struct rq *rq)
{
	const struct sched_class *class = rq->donor->sched_class;

	if (rq->stall.state >= STALL_RUNNING || rq->stall.piece_ns)
		return true;
	if (class == &idle_sched_class)
		return stall_forced_idle(rq);
	return sched_class_above(class, &fair_sched_class);
}

/* The time in which the server would have had somebody run for @ns */
static u64 stall_served_in(u64 ns)
{
	return mul_u64_u64_div_u64(min(ns, STALL_MAX_WAIT_NS),
				   READ_ONCE(stall_params.period_us),
				   READ_ONCE(stall_params.runtime_us));
}

/* The first thing that every hook and callback does. */
static void stall_clock_update(struct rq *rq)
{
	struct stall_rq *st = &rq->stall;
	u64 now = rq_clock(rq), warm = st->boosted ? now : min(now, st->warm_until);
	u64 ns = now - st->clock_at;

	if (st->taken) {
		st->clock += ns;
		/* More would make no difference, but take as long to be made up for. */
		st->behind = min(st->behind + ns, stall_ns(&stall_params.threshold_us));
	} else {
		/* It does not starve if it has the CPU for as long. */
		st->behind -= min(st->behind, ns);
	}
	if (warm > st->clock_at)
		st->warm_ns += warm - st->clock_at;
	st->clock_at = now;
}

static void stall_list_add(struct rq *rq, struct task_struct *p)
{
	int left = STALL_SORT_MAX;
	struct task_struct *other;
	struct list_head *pos;

	if (WARN_ON_ONCE(stall_waiting(p)))
		return;
	rq->stall.nr_waiting++;
	if (p->stall_since & STALL_TOLD) {
		list_add_tail(&p->stall_node, &rq->stall.told);
		return;
	}
	/*
	 * One that ran for a while in between may be older than the tail. Where
	 * very many wait it is due with those before it, at the latest.
	 */
	list_for_each_prev(pos, &rq->stall.waiting) {
		other = list_entry(pos, struct task_struct, stall_node);
		if (other->stall_since <= p->stall_since || !left--)
			break;
	}
	list_add(&p->stall_node, pos);
}

/* How long @p, which is on its way here from another CPU, has waited there. */
static u64 stall_waited_elsewhere(struct task_struct *p)
{
	if (!task_on_rq_migrating(p) || !(p->stall_since & STALL_MOVED) ||
	    (u32)jiffies - (u32)p->stall_since > 1)
		return 0;
	return ((p->stall_since & ~STALL_MOVED) >> STALL_MOVED_SHIFT) * NSEC_PER_USEC;
}

static void stall_wait_start(struct rq *rq, struct task_struct *p)
{
	u64 waited = stall_waited_elsewhere(p);
	struct stall_rq *st = &rq->stall;

	if (waited) {
		/* At ease the clock may be of long ago. */
		stall_clock_update(rq);
		st->behind = max(st->behind, min(waited, stall_ns(&stall_params.threshold_us)));
	}
	p->stall_since = st->clock - waited;
	if (p->flags & PF_WQ_WORKER)
		st->ask_ns = 0;
	stall_list_add(rq, p);
}

static u64 stall_wait_end(struct rq *rq, struct task_struct *p)
{
	u64 wait_ns = rq->stall.clock - stall_since(p);

	list_del_init(&p->stall_node);
	rq->stall.nr_waiting--;
	if (p == rq->stall.awaited)
		rq->stall.awaited = NULL;
	rq->stall.longest_wait = max(rq->stall.longest_wait, wait_ns);

	return wait_ns;
}

/* @p, which waited, runs without help. */
static void stall_wait_suspend(struct rq *rq, struct task_struct *p)
{
	struct stall_rq *st = &rq->stall;

	st->ran = p;
	st->ran_at = rq_clock(rq);
	st->ran_clock = st->clock;
}

/*
 * @p has run and waits again. If it did not sleep since it waited last, that
 * wait goes on, less what the server would have taken to have it run as long:
 * a hog that naps for a moment does not make up for what it took.
 */
static void stall_wait_resume(struct rq *rq, struct task_struct *p)
{
	struct stall_rq *st = &rq->stall;
	u64 served = S64_MAX;

	/* Most did not wait to speak of. */
	if (p == st->ran && stall_since(p) != st->ran_clock)
		served = stall_served_in(rq_clock(rq) - st->ran_at);

	if (served < stall_ns(&stall_params.threshold_us)) {
		u64 since = stall_since(p) + (st->clock - st->ran_clock) + served;

		p->stall_since = min(since, st->clock) | (p->stall_since & STALL_TOLD);
	} else {
		p->stall_since = st->clock;
	}
	st->ran = NULL;
	stall_list_add(rq, p);
}

/* The oldest of those that have not been told of */
static struct task_struct *stall_oldest(struct rq *rq)
{
	return list_first_entry_or_null(&rq->stall.waiting, struct task_struct, stall_node);
}

static bool stall_warm(struct rq *rq)
{
	return rq_clock(rq) < rq->stall.warm_until;
}

/* Who is awaited, but of two turns in a row one is for the oldest; else NULL */
static struct task_struct *stall_head(struct rq *rq)
{
	struct stall_rq *st = &rq->stall;

	if (st->awaited && !(st->passed_over && stall_warm(rq)))
		return st->awaited;
	return stall_oldest(rq);
}

/* Those that have been told of are news again: they may be helped now. */
static void stall_untell(struct rq *rq)
{
	struct task_struct *p;

	list_for_each_entry(p, &rq->stall.told, stall_node)
		p->stall_since &= ~STALL_TOLD;
	list_splice_init(&rq->stall.told, &rq->stall.waiting);
	/* It may have been told of, and run at the moment. */
	rq->stall.ran = NULL;
}

/* How long until a line like that of @said_at may be printed again; 0: never was */
static s64 stall_say_again_time(struct rq *rq, u64 said_at)
{
	return said_at ? said_at + STALL_SAY_NS - rq_clock(rq) : 0;
}

static s64 stall_say_time(struct rq *rq)
{
	return stall_say_again_time(rq, rq->stall.said_at);
}

/* For how long @p has waited behind what starves the fair class, and not behind that */
static u64 stall_waited(struct rq *rq, struct task_struct *p)
{
	return min(rq->stall.clock - stall_since(p), rq->stall.behind);
}

/* @p leaves, perhaps to another CPU where it starves as well. */
static void stall_wait_take_along(struct rq *rq, struct task_struct *p)
{
	u64 us;

	if (!task_on_rq_migrating(p))
		return;
	us = min(div_u64(stall_waited(rq, p), NSEC_PER_USEC), STALL_MOVED_MAX_US);
	p->stall_since = STALL_MOVED | us << STALL_MOVED_SHIFT | (u32)jiffies;
}

/* Would somebody who has waited all the while be helped? */
static bool stall_class_starves(struct rq *rq)
{
	u64 awaited_ns = stall_ns(&stall_params.awaited_us) ?: U64_MAX;

	return rq->stall.behind >= min(awaited_ns, stall_ns(&stall_params.threshold_us));
}

/* How long until @p is due: has waited for too long */
static s64 stall_due_time(struct rq *rq, struct task_struct *p)
{
	if (p == rq->stall.awaited)
		return 0;
	return stall_ns(&stall_params.threshold_us) - stall_waited(rq, p);
}

/* From one question to the next: a longer and longer time, if nobody comes. */
static u64 stall_ask_interval(struct rq *rq)
{
	return max3(rq->stall.ask_ns, stall_ns(&stall_params.awaited_us) / 4, STALL_ASK_NS);
}

/* How long until it is time to ask whether somebody waits for @p or the others */
static s64 stall_ask_time(struct rq *rq, struct task_struct *p)
{
	u64 awaited_ns = stall_ns(&stall_params.awaited_us);
	struct stall_rq *st = &rq->stall;

	if (!awaited_ns)
		return S64_MAX;
	return max_t(s64, awaited_ns - stall_waited(rq, p),
		     st->asked + stall_ask_interval(rq) - st->clock);
}

/*
 * Does @p preempt what runs, without help? With core scheduling the siblings have a
 * say in that.
 */
static bool stall_preempts(struct rq *rq, struct task_struct *p)
{
	return rt_prio(p->prio) && p->prio < rq->donor->prio &&
	       p->prio == rq->rt.highest_prio.curr && !sched_core_enabled(rq);
}

static void stall_keep_warm(struct rq *rq)
{
	rq->stall.warm_until = rq_clock(rq) + STALL_WARM_NS;
}

/* --- The bucket --- */

/* What it holds, and the longest slice: one without others' share in it */
static s64 stall_bucket_size(struct rq *rq)
{
	return min(rq->stall.server.dl_runtime, stall_ns(&stall_params.duration_us));
}

/* The hog's part of a period: next to nothing, if the runtime is all of it */
static u64 stall_hog_part(struct sched_dl_entity *dl_se)
{
	return max(dl_se->dl_period - dl_se->dl_runtime, dl_se->dl_period >> 10);
}

static u64 stall_refill_in(struct rq *rq, u64 ns)
{
	struct sched_dl_entity *dl_se = &rq->stall.server;

	return mul_u64_u64_div_u64(ns, dl_se->dl_runtime, stall_hog_part(dl_se));
}

static u64 stall_time_to_refill(struct rq *rq, u64 ns)
{
	struct sched_dl_entity *dl_se = &rq->stall.server;

	return mul_u64_u64_div_u64(ns, stall_hog_part(dl_se), dl_se->dl_runtime);
}

/* Take @ns out of the bucket, and have it filled up to now, if the hog has run. */
static void stall_refill(struct rq *rq, u64 ns)
{
	struct stall_rq *st = &rq->stall;
	s64 debt = stall_refill_in(rq, STALL_MAX_DEBT_NS);
	u64 filled = 0;

	/* More would fill nothing, and the arithmetic might overflow. */
	if (rq_clock(rq) - st->budget_at > STALL_FULL_NS)
		st->budget_at = rq_clock(rq) - STALL_FULL_NS;
	if (!st->piece_ns)
		filled = stall_refill_in(rq, rq_clock(rq) - st->budget_at);

	/* What is less than a nanosecond is for the next time. */
	if (filled)
		st->budget_at = min(rq_clock(rq),
				    st->budget_at + stall_time_to_refill(rq, filled) + 1);
	st->budget += filled - ns;
	st->budget = clamp(st->budget, -debt, stall_bucket_size(rq));
}

static void stall_charge(struct rq *rq, u64 ns)
{
	stall_refill(rq, ns);
	rq->stall.piece_ns += ns;
	rq->stall.hog_lost_ns += ns;
}

/* How long until the next slice; <= 0: at once */
static s64 stall_refill_time(struct rq *rq)
{
	struct stall_rq *st = &rq->stall;
	s64 need = stall_bucket_size(rq);

	stall_refill(rq, 0);
	/* The first of a boost may be the only one: do not wait for a full one. */
	if (!st->boost_slices)
		need = min_t(s64, need, STALL_MIN_SLICE_NS + STALL_SWITCH_NS);

	return need <= st->budget ? 0 : stall_time_to_refill(rq, need - st->budget);
}

/* What is left of the turn, if others wait */
static s64 stall_turn_left(struct rq *rq)
{
	u64 end = rq->stall.turn_start + stall_ns(&stall_params.duration_us);

	return end - rq_clock(rq);
}

/* --- The timer --- */

static bool stall_housekeeping(int cpu)
{
	return cpu_online(cpu) && housekeeping_cpu(cpu, HK_TYPE_KERNEL_NOISE) &&
	       housekeeping_cpu(cpu, HK_TYPE_DOMAIN);
}

/* Any of those, but for one; or -1 */
static int stall_housekeeping_but(int but)
{
	int cpu;

	for_each_cpu(cpu, housekeeping_cpumask(HK_TYPE_KERNEL_NOISE)) {
		if (cpu != but && stall_housekeeping(cpu))
			return cpu;
	}
	return -1;
}

/*
 * A CPU that looks after @rq: a housekeeping CPU, or -1. Not always the same one
 * for all CPUs, and not one that is taken itself.
 */
static int stall_keeper(struct rq *rq)
{
	struct stall_rq *st = &rq->stall;
	int cpu, nr = 0;

	if (st->keeper >= 0 && stall_housekeeping(st->keeper) &&
	    !READ_ONCE(cpu_rq(st->keeper)->stall.taken))
		return st->keeper;

	st->keeper = -1;
	for_each_cpu(cpu, housekeeping_cpumask(HK_TYPE_KERNEL_NOISE)) {
		if (cpu == cpu_of(rq) || !stall_housekeeping(cpu) ||
		    READ_ONCE(cpu_rq(cpu)->stall.taken))
			continue;
		/* Spread them over what there is. */
		if (cpu_of(rq) % ++nr == 0)
			st->keeper = cpu;
	}
	return st->keeper;
}

/* Where the timer of @rq may fire: here, if there is nothing better */
static int stall_timer_cpu(struct rq *rq)
{
	int this = smp_processor_id(), cpu;

	if (stall_housekeeping(this))
		return this;
	cpu = stall_keeper(rq);
	/* All of those are taken: at least it is none that is isolated. */
	if (cpu < 0)
		cpu = stall_housekeeping_but(-1);
	return cpu >= 0 ? cpu : this;
}

/* Have stall_update() called after @ns, or before. */
static void stall_timer_start(struct rq *rq, s64 ns)
{
	struct stall_rq *st = &rq->stall;
	u64 at = rq_clock(rq) + max(ns, 0LL);
	int cpu;

	if (hrtimer_is_queued(&st->timer) && st->timer_at <= at + STALL_LATE_NS)
		return;

	cpu = stall_timer_cpu(rq);
	if (cpu != smp_processor_id()) {
		irq_work_queue_on(&st->timer_work, cpu);
		return;
	}
	st->timer_at = at;
	hrtimer_start(&st->timer, ns_to_ktime(max(ns, 0LL)),
		      HRTIMER_MODE_REL_PINNED_HARD);
}

/* --- Slices and boosts --- */

/* REFILL -> READY */
static void stall_slice_ready(struct rq *rq)
{
	struct stall_rq *st = &rq->stall;

	if (!st->turn_start)
		st->turn_start = rq_clock(rq);
	st->slice_ns = min(st->budget, stall_bucket_size(rq));
	if (st->nr_waiting)
		st->slice_ns = min(st->slice_ns, stall_turn_left(rq));

	st->boost_slices++;
	st->ready_at = rq_clock(rq);
	st->ready_tries = 0;
	stall_set_state(rq, STALL_READY);
	dl_server_start_slice(&st->server, st->slice_ns);
	/* From here on, see stall_charges(). */
	rq_clock_cancel_skipupdate(rq);
	/* When this slice, if it is used up, will have been refilled. */
	stall_timer_start(rq, st->slice_ns +
			  stall_time_to_refill(rq, st->slice_ns + STALL_SWITCH_NS));
}

/* READY -> RUNNING */
static void stall_slice_run(struct rq *rq)
{
	struct stall_rq *st = &rq->stall;
	u64 ns = st->slice_ns;

	/* When one boosted thread follows another, the switch is part of the piece. */
	if (st->piece_ns)
		ns -= min(ns, sched_clock_cpu(cpu_of(rq)) - rq_clock(rq));
	else
		stall_charge(rq, STALL_SWITCH_NS);
	st->run_at = rq_clock(rq);
	stall_set_state(rq, STALL_RUNNING);
	hrtimer_start(&st->slice_timer, ns_to_ktime(ns),
		      HRTIMER_MODE_REL_PINNED_HARD);
}

/* Charge what the boosted thread ran since the last look, slice or overrun. */
static void stall_slice_charge(struct rq *rq)
{
	struct stall_rq *st = &rq->stall;
	u64 ns = rq_clock(rq) - st->run_at;

	st->run_at = rq_clock(rq);
	st->slice_ns -= ns;
	st->boost_ran += ns;
	st->boost_ns += ns;
	stall_charge(rq, ns);
}

/* RUNNING, OVERRUN: the boosted thread leaves the CPU, whenever that is. */
static void stall_slice_end(struct rq *rq)
{
	struct stall_rq *st = &rq->stall;

	stall_slice_charge(rq);
	if (st->slice_ns < -(s64)STALL_OVERRUN_NS)
		st->overruns++;
	if (hrtimer_is_queued(&st->slice_timer))
		hrtimer_try_to_cancel(&st->slice_timer);
}

static void stall_boost_start(struct rq *rq, struct task_struct *p)
{
	struct stall_rq *st = &rq->stall;
	u64 wait_ns;

	st->passed_over = p != stall_oldest(rq);
	wait_ns = stall_wait_end(rq, p);
	st->boosted = p;
	st->turn_start = 0;
	st->boost_ran = 0;
	st->boost_slices = 0;
	st->boosts++;
	trace_stall_boost_start(p, cpu_of(rq), wait_ns);
	stall_set_state(rq, STALL_REFILL);
}

/*
 * @p did not sleep in its turn. Its turns add up until it sleeps or leaves, or the
 * CPU has nothing to look after; those of others do not meanwhile.
 */
static void stall_sleepless(struct rq *rq, struct task_struct *p)
{
	struct stall_rq *st = &rq->stall;

	if (!st->sleepless) {
		st->sleepless = p;
		st->sleepless_ns = 0;
		st->sleepless_told = false;
	}
	if (p == st->sleepless && st->turn_start)
		st->sleepless_ns += rq_clock(rq) - st->turn_start;
}

/* The caller says what becomes of the thread. */
static struct task_struct *stall_boost_end(struct rq *rq, enum stall_end reason)
{
	struct stall_rq *st = &rq->stall;
	struct task_struct *p = st->boosted;

	if (st->state >= STALL_RUNNING)
		stall_slice_end(rq);
	else if (st->state == STALL_READY && p->is_blocked)
		stall_charge(rq, STALL_SWITCH_NS);
	dl_server_stop_slice(&st->server);
	st->boosted = NULL;
	if (reason == STALL_END_DURATION || reason == STALL_END_OUTRANKED ||
	    reason == STALL_END_RUNNING)
		stall_sleepless(rq, p);
	st->ended[reason]++;
	/* A hog that naps goes on; if it was a short job, the next one is news. */
	if (reason != STALL_END_RUNNING || stall_class_starves(rq))
		stall_keep_warm(rq);
	trace_stall_boost_end(p, cpu_of(rq), reason, st->boost_ran,
			      st->boost_slices);
	stall_set_state(rq, STALL_WATCHING);

	return p;
}

/* @p is boosted no longer: it runs, or waits again. */
static void stall_wait_again(struct rq *rq, struct task_struct *p)
{
	if (task_current(rq, p))
		stall_wait_suspend(rq, p);
	else if (stall_monitored(p))
		stall_list_add(rq, p);
}

/* @p, boosted until now, is younger by what it was given. */
static void stall_wait_shorten(struct rq *rq, struct task_struct *p)
{
	struct stall_rq *st = &rq->stall;

	p->stall_since = min(st->clock, p->stall_since + stall_served_in(st->boost_ran));
}

/* Nothing starves the boosted thread: it runs, or will when its turn comes. */
static void stall_boost_needless(struct rq *rq)
{
	struct task_struct *p = stall_boost_end(rq, STALL_END_RUNNING);

	/* Behind a hog that naps others are older. */
	stall_wait_shorten(rq, p);
	stall_wait_again(rq, p);
}

/* Others have a turn. It may run all the same, as the owner of a mutex. */
static void stall_boost_next(struct rq *rq, enum stall_end reason)
{
	struct task_struct *p = stall_boost_end(rq, reason);

	p->stall_since = rq->stall.clock;
	stall_wait_again(rq, p);
}

/* Without them a slice would end with the tick. */
static bool stall_highres(void)
{
	return hrtimer_resolution <= STALL_MIN_SLICE_NS;
}

/* As of now the CPU may be disturbed. */
static bool stall_may_lend(struct rq *rq)
{
	return rq->stall.server.dl_bw_attached && stall_highres();
}

/*
 * The boosted thread has just blocked on a mutex, and find_proxy_task() has idle
 * run for a moment, so that it can put the thread to sleep or move it.
 */
static bool stall_proxy_idles(struct rq *rq)
{
	return rq->donor == rq->idle && rq->stall.boosted->is_blocked;
}

/* A piece ends at the switch, and somebody has to see a sleep. */
static void stall_watch_or_idle(struct rq *rq)
{
	struct stall_rq *st = &rq->stall;

	stall_set_state(rq, st->nr_waiting || st->piece_ns || st->sleepless ?
			    STALL_WATCHING : STALL_IDLE);
}

/*
 * As a rule nothing starves anybody, before and after what happens now. Then the
 * clock stands still, and all there is to do is to keep the list.
 */
static bool stall_at_ease(struct rq *rq)
{
	struct stall_rq *st = &rq->stall;

	return st->state <= STALL_WATCHING && !st->taken && !stall_taken(rq);
}

/*
 * Go on through the states as far as it goes without a switch. The clocks are
 * up to date.
 */
static void stall_update(struct rq *rq)
{
	struct stall_rq *st = &rq->stall;
	struct task_struct *p;
	s64 left;

	for (;;) {
		/* While nobody waits no hook is called, and it would be out of date. */
		WRITE_ONCE(st->taken, (st->nr_waiting || st->boosted || st->piece_ns) &&
			   stall_taken(rq));

		switch (st->state) {
		case STALL_IDLE:
		case STALL_WATCHING:
			stall_watch_or_idle(rq);
			/* The high-resolution timers have come. */
			if (!list_empty(&st->told) && stall_may_lend(rq))
				stall_untell(rq);
			p = st->taken ? stall_head(rq) : NULL;
			if (!p) {
				if (st->taken && st->nr_waiting && READ_ONCE(stall_log))
					stall_timer_start(rq, stall_say_time(rq));
				return;
			}
			/* With the switch to it the next one is looked at. */
			if (stall_preempts(rq, p))
				return;
			left = stall_due_time(rq, p);
			if (!stall_warm(rq) || !stall_may_lend(rq)) {
				stall_timer_start(rq, min(left, stall_ask_time(rq, p)));
				return;
			}
			stall_boost_start(rq, p);
			break;

		case STALL_REFILL:
			if (!st->taken && !stall_proxy_idles(rq)) {
				stall_boost_needless(rq);
				break;
			}
			if (st->nr_waiting && st->turn_start &&
			    stall_turn_left(rq) < (s64)STALL_MIN_SLICE_NS) {
				stall_boost_next(rq, STALL_END_DURATION);
				break;
			}
			if (!stall_may_lend(rq)) {
				stall_boost_next(rq, STALL_END_PAUSED);
				break;
			}
			left = stall_refill_time(rq);
			/* If the hog's part is small, a lot is filled in soon. */
			if (left > (s64)STALL_EARLY_NS ||
			    st->budget < (s64)STALL_MIN_SLICE_NS / 2)
				stall_timer_start(rq, left);
			else
				stall_slice_ready(rq);
			return;

		case STALL_READY:
			if (!st->taken && !stall_proxy_idles(rq)) {
				stall_boost_needless(rq);
				break;
			}
			stall_timer_start(rq, st->ready_at + st->server.dl_period - rq_clock(rq));
			return;

		case STALL_OFF:
		case STALL_RUNNING:
		case STALL_OVERRUN:
			return;
		}
	}
}

/* A switch has been decided on: what does it mean for the boosted thread? */
static void stall_switched(struct rq *rq)
{
	struct stall_rq *st = &rq->stall;
	bool on = st->boosted && rq->donor == st->boosted;

	switch (st->state) {
	case STALL_READY:
		if (on)
			stall_slice_run(rq);
		break;

	case STALL_RUNNING:
		if (on)
			break;
		stall_slice_end(rq);
		if (st->slice_ns >= (s64)STALL_MIN_SLICE_NS) {
			st->ready_at = rq_clock(rq);
			stall_set_state(rq, STALL_READY);
			break;
		}
		dl_server_stop_slice(&st->server);
		stall_set_state(rq, STALL_REFILL);
		break;

	case STALL_OVERRUN:
		if (on) {
			stall_boost_needless(rq);
		} else {
			stall_slice_end(rq);
			stall_set_state(rq, STALL_REFILL);
		}
		break;

	case STALL_REFILL:
		if (on)
			stall_boost_needless(rq);
		break;

	default:
		break;
	}

	if (st->boosted && !stall_monitored(st->boosted) && st->state < STALL_RUNNING)
		stall_boost_end(rq, STALL_END_MOVED);

	/* The hog is back, or somebody that the boost is not to blame for. */
	if (st->piece_ns && st->state < STALL_RUNNING) {
		st->longest_piece = max(st->longest_piece, st->piece_ns);
		st->piece_ns = 0;
		st->budget_at = rq_clock(rq);
	}
}

/* Stop the slice that is under way; the thread is charged until it leaves. */
static void stall_slice_stop(struct rq *rq)
{
	struct stall_rq *st = &rq->stall;

	if (st->state == STALL_READY) {
		dl_server_stop_slice(&st->server);
		stall_set_state(rq, STALL_REFILL);
	} else if (st->state == STALL_RUNNING) {
		dl_server_stop_slice(&st->server);
		stall_set_state(rq, STALL_OVERRUN);
		resched_curr(rq);
	}
}

/* The end of a slice, on the hog's CPU */
static enum hrtimer_restart stall_slice_timer(struct hrtimer *timer)
{
	struct rq *rq = container_of(timer, struct rq, stall.slice_timer);
	struct stall_rq *st = &rq->stall;

	guard(rq_lock)(rq);
	st->slice_timer_fired++;
	if (st->state != STALL_RUNNING)
		return HRTIMER_NORESTART;

	sched_clock_tick();
	update_rq_clock(rq);
	stall_clock_update(rq);
	stall_slice_charge(rq);

	/* The two clocks differ by a little: finish the slice. */
	if (st->slice_ns > (s64)STALL_EARLY_NS) {
		hrtimer_forward_now(timer, ns_to_ktime(st->slice_ns));
		return HRTIMER_RESTART;
	}
	stall_slice_stop(rq);

	return HRTIMER_NORESTART;
}

/* --- The report --- */

enum stall_news {
	STALL_STARVES,		/* help begins, or would */
	STALL_STILL,		/* it goes on, unhelped */
	STALL_HELPLESS,		/* help does not help */
};

/*
 * What is to be printed, from a housekeeping CPU: the one that is taken must not
 * pay for a console. Who waits for the thread is looked up before it can run:
 * soon after, nobody does. That takes the lock of a worker pool, which nests
 * outside of rq->lock.
 *
 * Whoever finds ->task NULL under rq->lock has the slot until it has printed.
 */
struct stall_report {
	struct irq_work		work;
	struct task_struct	*task;	/* these are referenced */
	struct task_struct	*hog;
	struct wq_wait		wait;
	enum stall_news		news;
	unsigned long		wait_us;
	unsigned int		others;
	unsigned int		left_out;
	int			cpu;
};

static DEFINE_PER_CPU(struct stall_report, stall_reports);

static void stall_print_starving(struct stall_report *r, const char *what,
				 const char *who)
{
	char more[80] = "";
	int len = 0;

	if (r->others)
		len = scnprintf(more, sizeof(more), "; %u others wait there",
				r->others);
	if (r->left_out)
		scnprintf(more + len, sizeof(more) - len,
			  "; %u stalls before were not told of", r->left_out);
	pr_warn("CPU%d: %s (pid %d) %s %lu us behind %s (pid %d, rt_priority %u)%s; waited for by %s%s\n",
		r->cpu, r->task->comm, r->task->pid,
		r->news == STALL_STILL ? "still waits, after" : "waited",
		r->wait_us, r->hog->comm, r->hog->pid, r->hog->rt_priority,
		what, who, more);
}

static void stall_print_helpless(struct stall_report *r, const char *what,
				 const char *who)
{
	pr_err("CPU%d: %s (pid %d) was helped for %llu s and does not sleep%s; waited for by %s\n",
	       r->cpu, r->task->comm, r->task->pid,
	       STALL_HELPLESS_NS / NSEC_PER_SEC, what, who);
	sched_show_task(r->task);
	if (READ_ONCE(stall_panic))
		panic("stall_monitor: a kernel thread is beyond help");
}

static void stall_report_print(struct irq_work *work)
{
	struct stall_report *r = container_of(work, struct stall_report, work);
	char who[TASK_COMM_LEN + 16] = "nobody known";
	char what[KSYM_NAME_LEN / 4] = "";

	if (r->wait.flusher) {
		snprintf(who, sizeof(who), "%s (pid %d)", r->wait.flusher->comm,
			 r->wait.flusher->pid);
		put_task_struct(r->wait.flusher);
	}
	if (r->wait.func)
		snprintf(what, sizeof(what), ", has to do %ps", r->wait.func);
	if (r->news == STALL_HELPLESS)
		stall_print_helpless(r, what, who);
	else
		stall_print_starving(r, what, who);

	put_task_struct(r->hog);
	put_task_struct(r->task);
	/* Pairs with the acquire in stall_report(): the slot is free. */
	smp_store_release(&r->task, NULL);
}

/*
 * The thread whose help is about to begin: without rq->lock, so it is looked at
 * again when the lock is taken for that.
 */
static struct task_struct *stall_due(struct rq *rq)
{
	struct task_struct *p;

	if (rq->stall.state != STALL_WATCHING || !rq->stall.taken ||
	    (stall_warm(rq) && stall_may_lend(rq)))
		return NULL;
	p = stall_head(rq);

	return p && stall_due_time(rq, p) <= (s64)STALL_EARLY_NS ? p : NULL;
}

/* All that wait have been told of, and nobody helps: say it again. */
static struct task_struct *stall_unhelped(struct rq *rq)
{
	struct stall_rq *st = &rq->stall;

	if (st->state != STALL_WATCHING || !st->taken || stall_may_lend(rq))
		return NULL;
	if (stall_head(rq) || stall_say_time(rq) > 0)
		return NULL;

	return list_first_entry_or_null(&st->told, struct task_struct, stall_node);
}

/* The boosted thread, if its turns since it slept last are too many by now */
static struct task_struct *stall_helpless(struct rq *rq)
{
	struct stall_rq *st = &rq->stall;
	struct task_struct *p = st->boosted;
	u64 ns;

	if (!p || !st->turn_start || (st->sleepless && st->sleepless != p))
		return NULL;
	ns = rq_clock(rq) - st->turn_start + (st->sleepless ? st->sleepless_ns : 0);

	if (ns < STALL_HELPLESS_NS || (st->sleepless && st->sleepless_told))
		return NULL;
	/* A panic does not have to wait. */
	if (stall_say_again_time(rq, st->helpless_at) > 0 && !READ_ONCE(stall_panic))
		return NULL;
	return p;
}

/* What is there to be told of? A stall that may not be printed is counted. */
static bool stall_report(struct rq *rq, struct stall_report *r)
{
	struct stall_rq *st = &rq->stall;
	struct task_struct *p;
	bool log = READ_ONCE(stall_log), busy;
	enum stall_news news;

	guard(rq_lock)(rq);
	update_rq_clock(rq);
	stall_clock_update(rq);

	p = stall_helpless(rq);
	news = STALL_HELPLESS;
	if (!p) {
		p = stall_due(rq);
		news = STALL_STARVES;
	}
	if (!p) {
		p = stall_unhelped(rq);
		news = STALL_STILL;
	}
	if (!p)
		return false;

	if (!log && !(news == STALL_HELPLESS && READ_ONCE(stall_panic)))
		return false;
	/* Pairs with the release in stall_report_print(). */
	busy = smp_load_acquire(&r->task);
	if (busy || (news == STALL_STARVES && stall_say_time(rq) > 0)) {
		if (news == STALL_STARVES) {
			st->reports_suppressed++;
			st->left_out++;
		} else if (news == STALL_STILL) {
			/* The timer is armed for that. */
			st->said_at = rq_clock(rq);
		}
		return false;
	}

	r->cpu = cpu_of(rq);
	r->task = get_task_struct(p);
	r->hog = get_task_struct(rq->curr);
	r->news = news;
	if (news == STALL_HELPLESS) {
		/* It may be in its first turn still. */
		if (!st->sleepless)
			st->sleepless_ns = 0;
		st->sleepless = p;
		st->sleepless_told = true;
		st->helpless_at = rq_clock(rq);
		return true;
	}
	r->wait_us = div_u64(st->clock - stall_since(p), NSEC_PER_USEC);
	r->others = news == STALL_STILL ? st->nr_waiting - 1 : 0;
	r->left_out = st->left_out;
	st->left_out = 0;
	st->said_at = rq_clock(rq);

	return true;
}

static void stall_report_send(struct rq *rq)
{
	struct stall_report *r = per_cpu_ptr(&stall_reports, cpu_of(rq));
	int cpu = smp_processor_id();

	if (!stall_report(rq, r))
		return;

	wq_worker_wait(r->task, &r->wait);
	if (cpu == cpu_of(rq) || !stall_housekeeping(cpu))
		cpu = stall_housekeeping_but(cpu_of(rq));
	irq_work_queue_on(&r->work, cpu >= 0 ? cpu : smp_processor_id());
}

/* --- The timer's callback, on a housekeeping CPU --- */

/* WATCHING: the head has waited for the threshold. Help begins. */
static void stall_detect(struct rq *rq, struct task_struct *p)
{
	struct stall_rq *st = &rq->stall;

	st->detected++;
	trace_stall_detected(p, cpu_of(rq), st->clock - stall_since(p), rq->curr);
	if (stall_may_lend(rq)) {
		stall_keep_warm(rq);
	} else {
		p->stall_since |= STALL_TOLD;
		list_move_tail(&p->stall_node, &st->told);
		st->awaited = NULL;
	}
}

/*
 * READY for a period: there are deadline tasks; or the reschedule was lost, in
 * which case it helps to ask for it again.
 */
static void stall_ready_for_long(struct rq *rq)
{
	struct stall_rq *st = &rq->stall;

	if (rq_clock(rq) - st->ready_at < st->server.dl_period)
		return;
	if (++st->ready_tries >= STALL_READY_TRIES) {
		stall_boost_next(rq, STALL_END_OUTRANKED);
		return;
	}
	st->ready_at = rq_clock(rq);
	dl_server_stop_slice(&st->server);
	dl_server_start_slice(&st->server, st->slice_ns);
}

/* Some of those that have waited for long enough to ask, with a reference */
static int stall_ask_whom(struct rq *rq, struct task_struct **tasks, u64 *since)
{
	struct stall_rq *st = &rq->stall;
	int n = 0, left = STALL_ASK_SCAN;
	struct task_struct *p;
	bool asked = false;

	guard(rq_lock)(rq);
	sched_clock_tick();
	update_rq_clock(rq);
	stall_clock_update(rq);

	if (!st->taken)
		return 0;

	list_for_each_entry(p, &st->waiting, stall_node) {
		if (n == STALL_ASK_MAX || !left-- ||
		    stall_ask_time(rq, p) > (s64)STALL_EARLY_NS)
			break;
		asked = true;
		if (!(p->flags & PF_WQ_WORKER))
			continue;
		since[n] = p->stall_since;
		tasks[n++] = get_task_struct(p);
	}
	if (asked) {
		st->asked = st->clock;
		st->ask_ns = min(stall_ask_interval(rq) / 4 * 5, STALL_MAX_WAIT_NS);
	}
	return n;
}

/*
 * What somebody was seen to wait for last, on any CPU. Whoever queues a work item on
 * each CPU flushes one after the other: the rest of them are awaited as well.
 * Written without a lock: an answer that mixes two is not worse than a late one.
 */
static work_func_t stall_awaited_func;
static unsigned long stall_awaited_at;

static bool stall_is_awaited(struct task_struct *p)
{
	struct wq_wait wait;

	wq_worker_wait(p, &wait);
	if (wait.flusher) {
		WRITE_ONCE(stall_awaited_func, wait.func);
		WRITE_ONCE(stall_awaited_at, jiffies);
		put_task_struct(wait.flusher);
		return true;
	}
	return wait.func && wait.func == READ_ONCE(stall_awaited_func) &&
	       time_before(jiffies, READ_ONCE(stall_awaited_at) +
				    usecs_to_jiffies(READ_ONCE(stall_params.threshold_us)));
}

/*
 * Somebody is known to wait for one of them: it is due. The question takes the
 * lock of a worker pool, which nests outside of rq->lock.
 */
static void stall_ask(struct rq *rq)
{
	struct task_struct *tasks[STALL_ASK_MAX];
	u64 since[STALL_ASK_MAX];
	int n = stall_ask_whom(rq, tasks, since), i;

	for (i = 0; i < n; i++) {
		struct task_struct *p = tasks[i];

		if (!stall_is_awaited(p))
			continue;
		/* Also while it is being woken elsewhere: @p->pi_lock holds it still. */
		CLASS(task_rq_lock, guard)(p);
		/* It is the same wait. */
		if (guard.rq == rq && stall_waiting(p) && p->stall_since == since[i])
			rq->stall.awaited = p;
		break;
	}
	while (n--)
		put_task_struct(tasks[n]);
}

/* By whoever keeps an eye on @rq: is it time for something? */
static void stall_look(struct rq *rq)
{
	struct stall_rq *st = &rq->stall;
	struct task_struct *p;

	/* Also while another one is boosted: who is to have the next turn? */
	if (READ_ONCE(st->nr_waiting))
		stall_ask(rq);
	stall_report_send(rq);

	guard(rq_lock)(rq);
	sched_clock_tick();
	update_rq_clock(rq);
	stall_clock_update(rq);

	p = stall_due(rq);
	if (p)
		stall_detect(rq, p);
	else if (st->state == STALL_READY)
		stall_ready_for_long(rq);
	stall_update(rq);
}

static enum hrtimer_restart stall_timer(struct hrtimer *timer)
{
	struct rq *rq = container_of(timer, struct rq, stall.timer);
	int cpu = -1;

	scoped_guard (rq_lock, rq) {
		rq->stall.timer_fired++;
		/*
		 * Of no isolated CPU, unless the one where it was has gone offline;
		 * but a hog is a hog.
		 */
		if (cpu_of(rq) == smp_processor_id() || !stall_housekeeping(smp_processor_id()))
			cpu = stall_keeper(rq);
	}
	if (cpu >= 0)
		irq_work_queue_on(&rq->stall.timer_work, cpu);
	else
		stall_look(rq);

	return HRTIMER_NORESTART;
}

/* From a CPU that must not have the timer: arm it here. */
static void stall_timer_work(struct irq_work *work)
{
	stall_look(container_of(work, struct rq, stall.timer_work));
}

/* --- The scheduler's hooks --- */

/*
 * The stall server's pick: the boosted thread or nobody. With proxy execution a
 * thread that blocks on a mutex is still picked, and lends what it was lent to
 * the owner; find_proxy_task() puts it to sleep if it cannot.
 */
static struct task_struct *
stall_server_pick(struct sched_dl_entity *dl_se, struct rq_flags *rf)
{
	struct task_struct *p = dl_se->rq->stall.boosted;

	WARN_ON_ONCE(!p);
	return p;
}

/*
 * A task that is queued and blocked is a proxy donor or a delayed dequeue; it
 * does not want to run, and if it is woken in place ttwu_runnable() gets here
 * once more, without is_blocked. ttwu_do_activate() clears is_blocked only
 * after the enqueue, but there on_rq is not set yet.
 */
static bool stall_begins_to_wait(struct rq *rq, struct task_struct *p)
{
	return !task_current(rq, p) && !(p->on_rq && p->is_blocked) && stall_monitored(p);
}

/* enqueue_task() and ttwu_runnable(): @p may begin to wait. */
void __stall_enqueue(struct rq *rq, struct task_struct *p)
{
	struct stall_rq *st = &rq->stall;

	if (stall_at_ease(rq) && !stall_waiting(p)) {
		if (stall_begins_to_wait(rq, p)) {
			stall_wait_start(rq, p);
			stall_watch_or_idle(rq);
		}
		return;
	}

	stall_clock_update(rq);

	if (stall_waiting(p)) {
		/* Kept over a change of parameters, see __stall_dequeue(). */
		if (!stall_monitored(p))
			stall_wait_end(rq, p);
	} else if (p == st->boosted) {
		/* If it runs, its slice ends now and the boost at the switch. */
		if (!stall_monitored(p) && st->state >= STALL_RUNNING)
			stall_slice_stop(rq);
		else if (!stall_monitored(p))
			stall_boost_end(rq, STALL_END_MOVED);
	} else if (stall_begins_to_wait(rq, p)) {
		stall_wait_start(rq, p);
	}

	/* Also when @p runs and has become real-time just now. */
	stall_update(rq);
}

/* Has @p been helped only as far as a lock? With PREEMPT_RT it may be a spinlock. */
static bool stall_wants_lock(struct task_struct *p)
{
#ifdef CONFIG_RT_MUTEXES
	if (READ_ONCE(p->pi_blocked_on))
		return true;
#endif
	return READ_ONCE(p->blocked_on);
}

/*
 * dequeue_task(): @p waits no longer, and needs no boost.
 *
 * Not so when only its parameters change: __stall_enqueue() follows under the
 * same rq->lock, and a thread that waits keeps its place.
 */
void __stall_dequeue(struct rq *rq, struct task_struct *p, int flags)
{
	struct stall_rq *st = &rq->stall;

	if (p == st->ran && !(flags & DEQUEUE_SAVE))
		st->ran = NULL;
	if (p == st->sleepless && !(flags & DEQUEUE_SAVE))
		st->sleepless = NULL;
	if ((flags & DEQUEUE_SAVE) || (!stall_waiting(p) && p != st->boosted))
		return;

	stall_clock_update(rq);
	if (p == st->boosted) {
		if ((flags & DEQUEUE_SLEEP) && !stall_wants_lock(p))
			st->rescued++;
		stall_boost_end(rq, flags & DEQUEUE_SLEEP ? STALL_END_BLOCKED :
							    STALL_END_MOVED);
		stall_wait_shorten(rq, p);
	} else {
		stall_wait_end(rq, p);
	}
	stall_wait_take_along(rq, p);
	stall_update(rq);
}

/* __schedule(): @prev may begin to wait, @next waits no longer. */
void __stall_switch(struct rq *rq, struct task_struct *prev,
		    struct task_struct *next)
{
	struct stall_rq *st = &rq->stall;
	bool waits = stall_monitored(prev) && task_on_rq_queued(prev) &&
		     !prev->is_blocked && prev != st->boosted;
	bool ease = stall_at_ease(rq);

	if (!ease)
		stall_clock_update(rq);

	if (waits)
		stall_wait_resume(rq, prev);
	if (stall_waiting(next)) {
		stall_wait_end(rq, next);
		stall_wait_suspend(rq, next);
	}

	if (ease) {
		stall_watch_or_idle(rq);
		return;
	}
	stall_switched(rq);
	stall_update(rq);
}

void __stall_donor_change(struct rq *rq)
{
	stall_clock_update(rq);
	stall_switched(rq);
	stall_update(rq);
}

/* Help goes on, so that the threshold has nothing to decide. */
void __stall_lent_out(struct rq *rq)
{
	stall_clock_update(rq);
	stall_keep_warm(rq);
}

/* --- Watching CPUs, and no longer --- */

/* Ask admission control for the server's bandwidth. */
static int stall_server_attach(struct rq *rq, const struct stall_params *params)
{
	struct sched_dl_entity *dl_se = &rq->stall.server;
	int ret;

	/* On its way up or down: stall_cpu_active() does it, or nobody need. */
	if (!cpu_active(cpu_of(rq)))
		return 0;

	/* The parameters of a server that is queued must not change. */
	stall_clock_update(rq);
	stall_slice_stop(rq);
	ret = dl_server_apply_params(dl_se, stall_ns(&params->runtime_us),
				     stall_ns(&params->period_us),
				     !dl_se->dl_bw_attached);
	stall_untell(rq);
	stall_update(rq);

	return ret;
}

static void stall_rq_watch(struct rq *rq)
{
	struct stall_rq *st = &rq->stall;

	if (stall_watched(rq))
		return;
	/* A pause is not a way to fill the bucket. */
	st->budget = min(st->budget, 0LL);
	st->budget_at = rq_clock(rq);
	st->clock_at = rq_clock(rq);
	st->behind = 0;
	stall_set_state(rq, STALL_IDLE);
}

static void stall_rq_unwatch(struct rq *rq, enum stall_end reason)
{
	struct stall_rq *st = &rq->stall;
	struct task_struct *p, *tmp;

	if (!stall_watched(rq))
		return;
	stall_clock_update(rq);
	if (st->boosted && rq->donor == stall_boost_end(rq, reason))
		resched_curr(rq);
	stall_untell(rq);
	list_for_each_entry_safe(p, tmp, &st->waiting, stall_node)
		stall_wait_end(rq, p);
	st->sleepless = NULL;
	st->warm_until = 0;
	st->longest_piece = max(st->longest_piece, st->piece_ns);
	st->piece_ns = 0;
	WRITE_ONCE(st->taken, false);
	hrtimer_try_to_cancel(&st->timer);
	stall_set_state(rq, STALL_OFF);
}

/* stall_monitor_fair_server=off */
static bool stall_fair_server_off __ro_after_init;

/*
 * Take the fair server's runtime, or give it back. What somebody set meanwhile
 * stays. On its way up or down: as with stall_server_attach(). False if deadline
 * tasks have taken the bandwidth.
 */
static bool stall_fair_server(struct rq *rq, bool off)
{
	struct sched_dl_entity *dl_se = &rq->fair_server;
	struct stall_rq *st = &rq->stall;
	u64 runtime = off ? 0 : st->fair_runtime;
	int ret;

	if (off == !!st->fair_runtime || !cpu_active(cpu_of(rq)))
		return true;
	if (off && !dl_se->dl_runtime)
		return true;
	if (!off && dl_se->dl_runtime) {
		st->fair_runtime = 0;
		return true;
	}

	dl_server_stop(dl_se);
	st->fair_runtime = off ? dl_se->dl_runtime : 0;
	ret = dl_server_apply_params(dl_se, runtime, dl_se->dl_period, false);
	if (ret)
		st->fair_runtime = runtime;
	dl_server_start(dl_se);

	return !ret;
}

static void stall_fair_server_lost(const struct cpumask *cpus)
{
	if (!cpumask_empty(cpus))
		pr_warn("CPUs %*pbl: no deadline bandwidth left for the fair server, which stays off\n",
			cpumask_pr_args(cpus));
}

/*
 * The stall server takes the place of the fair server, whose bandwidth may be what
 * it needs. Where it is refused that one stays. Returns an error then.
 */
static int stall_server_lend(struct rq *rq, const struct stall_params *params)
{
	int ret;

	stall_fair_server(rq, stall_fair_server_off);
	ret = stall_server_attach(rq, params);
	if (ret && !rq->stall.server.dl_bw_attached)
		stall_fair_server(rq, false);
	return ret;
}

/* A bandwidth that is only to be given back: whoever was boosted waits again. */
static void stall_server_detach(struct rq *rq)
{
	stall_clock_update(rq);
	stall_slice_stop(rq);
	dl_server_detach_bw(&rq->stall.server);
	stall_update(rq);
}

/*
 * A thread may have been waiting since before it was watched, or be ignored from
 * now on.
 */
static void stall_adopt(struct task_struct *p)
{
	CLASS(task_rq_lock, guard)(p);
	struct rq *rq = guard.rq;

	if (!stall_watched(rq) || !task_on_rq_queued(p))
		return;

	update_rq_clock(rq);
	__stall_enqueue(rq, p);
}

/* Who waits there, as things are now? */
static void stall_adopt_all(void)
{
	struct task_struct *g, *p;

	guard(rcu)();
	for_each_process_thread(g, p) {
		if (p->flags & PF_KTHREAD)
			stall_adopt(p);
	}
}

static void stall_refused(const struct cpumask *cpus)
{
	pr_warn("CPUs %*pbl: no deadline bandwidth left for %u us every %u us: stalls will be reported, not relieved\n",
		cpumask_pr_args(cpus), stall_params.runtime_us,
		stall_params.period_us);
}

static void stall_start(enum stall_mode mode, const struct cpumask *cpus)
{
	static struct cpumask refused;	/* stall_mutex */
	int cpu;

	lockdep_assert_cpus_held();
	lockdep_assert_held(&stall_mutex);

	/* Code is not to be patched later, when a first CPU has been isolated. */
	static_branch_enable_cpuslocked(&stall_monitor_enabled);
	if (cpumask_empty(cpus))
		return;

	cpumask_clear(&refused);
	for_each_cpu_and(cpu, cpus, cpu_online_mask) {
		struct rq *rq = cpu_rq(cpu);

		guard(rq_lock_irqsave)(rq);
		update_rq_clock(rq);
		stall_rq_watch(rq);
		if (mode == STALL_MODE_ON && stall_server_lend(rq, &stall_params))
			cpumask_set_cpu(cpu, &refused);
	}

	stall_adopt_all();

	if (!cpumask_empty(&refused))
		stall_refused(&refused);
}

static void stall_stop(const struct cpumask *cpus)
{
	static struct cpumask lost;	/* stall_mutex */
	int cpu;

	lockdep_assert_cpus_held();
	lockdep_assert_held(&stall_mutex);

	cpumask_clear(&lost);
	for_each_cpu(cpu, cpus) {
		struct rq *rq = cpu_rq(cpu);

		guard(rq_lock_irqsave)(rq);
		update_rq_clock(rq);
		stall_rq_unwatch(rq, STALL_END_PAUSED);
		dl_server_detach_bw(&rq->stall.server);
		if (!stall_fair_server(rq, false))
			cpumask_set_cpu(cpu, &lost);
	}
	stall_fair_server_lost(&lost);
}

static void stall_tell_cpus(void)
{
	if (cpumask_empty(&stall_cpus))
		pr_info("watching no CPU\n");
	else
		pr_info("watching CPUs %*pbl\n", cpumask_pr_args(&stall_cpus));
	if (!stall_highres())
		pr_warn("high-resolution timers are not active (highres=off?): until they are, stalls are reported, not relieved\n");
}

static void stall_set_cpus(const struct cpumask *cpus)
{
	static struct cpumask less, more;	/* stall_mutex */

	lockdep_assert_cpus_held();
	lockdep_assert_held(&stall_mutex);

	if (cpumask_equal(cpus, &stall_cpus))
		return;
	cpumask_andnot(&less, &stall_cpus, cpus);
	cpumask_andnot(&more, cpus, &stall_cpus);
	cpumask_copy(&stall_cpus, cpus);
	if (!stall_params.on)
		return;
	stall_stop(&less);
	stall_start(stall_params.on, &more);
	stall_tell_cpus();
}

/* The CPUs that isolcpus=, nohz_full= and cpusets took from the rest of the system */
static void stall_isolated_cpus(struct cpumask *mask)
{
	guard(rcu)();
	cpumask_and(mask, housekeeping_cpumask(HK_TYPE_DOMAIN),
		    housekeeping_cpumask(HK_TYPE_KERNEL_NOISE));
	cpumask_andnot(mask, cpu_possible_mask, mask);
}

/*
 * housekeeping_update(): cpusets isolate other CPUs now. It waits for kernel
 * threads of all CPUs, also of those that have a hog. So the new ones are
 * watched before that, and the old ones until it is @done.
 *
 * The caller holds cpuset_top_mutex, but neither cpu_hotplug_lock nor
 * cpuset_mutex; nothing takes cpuset_top_mutex inside of stall_mutex.
 */
void stall_isolation_update(bool done)
{
	static struct cpumask cpus;	/* stall_mutex */

	guard(cpus_read_lock)();
	guard(mutex)(&stall_mutex);

	if (!stall_follow)
		return;
	stall_isolated_cpus(&cpus);
	if (!done)
		cpumask_or(&cpus, &cpus, &stall_cpus);
	stall_set_cpus(&cpus);
}

/*
 * Hotplug: the CPU is watched from before it runs the first thread until
 * nothing is left on it: the thread that takes it down may be the one that
 * starves. The server keeps its bandwidth meanwhile, as the fair server does;
 * what it missed it gets when the CPU is active again.
 */
void stall_cpu_starting(unsigned int cpu)
{
	struct rq *rq = cpu_rq(cpu);

	if (!stall_params.on || !cpumask_test_cpu(cpu, &stall_cpus))
		return;

	guard(rq_lock_irqsave)(rq);
	update_rq_clock(rq);
	stall_rq_watch(rq);
}

void stall_cpu_active(unsigned int cpu)
{
	bool lend = stall_params.on == STALL_MODE_ON && cpumask_test_cpu(cpu, &stall_cpus);
	struct rq *rq = cpu_rq(cpu);
	bool lost = false;
	int ret = 0;

	scoped_guard (rq_lock_irqsave, rq) {
		update_rq_clock(rq);
		if (lend)
			ret = stall_server_lend(rq, &stall_params);
		/* With the slices of before it went offline, perhaps. */
		if (ret)
			stall_server_detach(rq);
		if (!lend || ret)
			lost = !stall_fair_server(rq, false);
	}
	if (lost)
		stall_fair_server_lost(cpumask_of(cpu));
	if (ret)
		stall_refused(cpumask_of(cpu));
}

/* Called with rq->lock held, from the CPU's stopper. */
void stall_cpu_dying(struct rq *rq)
{
	stall_rq_unwatch(rq, STALL_END_OFFLINE);
}

void __init stall_rq_init(struct rq *rq)
{
	struct stall_rq *st = &rq->stall;
	struct stall_report *r = per_cpu_ptr(&stall_reports, cpu_of(rq));

	INIT_LIST_HEAD(&st->waiting);
	INIT_LIST_HEAD(&st->told);
	/* A wait that is taken along begins before it. */
	st->clock = STALL_MOVED_MAX_US * NSEC_PER_USEC;
	st->keeper = -1;
	hrtimer_setup(&st->timer, stall_timer, CLOCK_MONOTONIC,
		      HRTIMER_MODE_REL_PINNED_HARD);
	hrtimer_setup(&st->slice_timer, stall_slice_timer, CLOCK_MONOTONIC,
		      HRTIMER_MODE_REL_PINNED_HARD);
	st->timer_work = IRQ_WORK_INIT_HARD(stall_timer_work);
	/* With PREEMPT_RT, too: a thread that would do it may starve as well. */
	r->work = IRQ_WORK_INIT_HARD(stall_report_print);

	init_dl_entity(&st->server);
	dl_server_init(&st->server, rq, stall_server_pick);
	st->server.dl_server = 1;
}

/* --- Boot parameter --- */

static enum { STALL_BOOT_OFF, STALL_BOOT_ON, STALL_BOOT_REPORT,
	      STALL_BOOT_ISOLATED, STALL_BOOT_LIST }
stall_boot __initdata = IS_ENABLED(CONFIG_SCHED_STALL_MONITOR_DEFAULT_ON) ?
			STALL_BOOT_ON : STALL_BOOT_OFF;

static bool stall_parse_cpus(const char *str, struct cpumask *cpus)
{
	if (cpulist_parse(str, cpus))
		return false;
	cpumask_and(cpus, cpus, cpu_possible_mask);
	return !cpumask_empty(cpus);
}

static int __init setup_stall_monitor(char *str)
{
	static struct cpumask list __initdata;

	if (!strcmp(str, "off")) {
		stall_boot = STALL_BOOT_OFF;
	} else if (!strcmp(str, "on")) {
		stall_boot = STALL_BOOT_ON;
	} else if (!strcmp(str, "report")) {
		stall_boot = STALL_BOOT_REPORT;
	} else if (!strcmp(str, "isolated")) {
		stall_boot = STALL_BOOT_ISOLATED;
	} else if (stall_parse_cpus(str, &list)) {
		cpumask_copy(&stall_cpus, &list);
		stall_boot = STALL_BOOT_LIST;
	} else {
		pr_warn("stall_monitor=%s not understood: use off, on, report, isolated or a list of CPUs such as 2-5,7; the default stays\n",
			str);
	}
	return 1;
}
__setup("stall_monitor=", setup_stall_monitor);

static bool stall_parse_ignore(char *str, struct stall_ignore *list)
{
	char *pattern;
	size_t len;

	list->len = 0;
	if (strlen(str) >= sizeof(list->patterns))
		return false;
	while ((pattern = strsep(&str, ","))) {
		pattern = strim(pattern);
		if (!*pattern)
			continue;
		len = strlen(pattern) + 1;
		memcpy(list->patterns + list->len, pattern, len);
		list->len += len;
	}
	return true;
}

static int __init setup_stall_ignore(char *str)
{
	static struct stall_ignore list __initdata = { .gen = 1 };

	if (stall_parse_ignore(str, &list))
		stall_ignore_boot = list;
	else
		pr_warn("stall_monitor_ignore= is too long: use patterns of names, with commas, of less than %d characters; the default stays\n",
			STALL_IGNORE_LEN);
	return 1;
}
__setup("stall_monitor_ignore=", setup_stall_ignore);

static int __init setup_stall_fair_server(char *str)
{
	bool on;

	if (kstrtobool(str, &on))
		pr_warn("stall_monitor_fair_server=%s not understood: use on or off; the default, on, stays\n",
			str);
	else
		stall_fair_server_off = !on;
	return 1;
}
__setup("stall_monitor_fair_server=", setup_stall_fair_server);

static int __init stall_init(void)
{
	switch (stall_boot) {
	case STALL_BOOT_OFF:
	case STALL_BOOT_ON:
	case STALL_BOOT_REPORT:
		cpumask_copy(&stall_cpus, cpu_possible_mask);
		break;
	case STALL_BOOT_ISOLATED:
		stall_follow = true;
		stall_isolated_cpus(&stall_cpus);
		break;
	case STALL_BOOT_LIST:
		break;
	}

	if (stall_boot == STALL_BOOT_OFF)
		return 0;

	/* A tick after the clock source has been chosen they are active. */
	if (!stall_highres())
		msleep(20);

	guard(cpus_read_lock)();
	guard(mutex)(&stall_mutex);
	stall_params.on = stall_boot == STALL_BOOT_REPORT ? STALL_MODE_REPORT : STALL_MODE_ON;
	stall_start(stall_params.on, &stall_cpus);
	stall_tell_cpus();

	return 0;
}
late_initcall(stall_init);

/* --- Sysctls --- */

/* A timer armed for the old threshold is to be armed for the new one. */
static void stall_rearm(void)
{
	int cpu;

	for_each_cpu_and(cpu, &stall_cpus, cpu_online_mask) {
		struct rq *rq = cpu_rq(cpu);

		guard(rq_lock_irqsave)(rq);
		update_rq_clock(rq);
		stall_clock_update(rq);
		stall_update(rq);
	}
}

/*
 * All CPUs whose server has bandwidth get the new slices, or none. Those that
 * were refused before may be lucky now.
 */
static int stall_resize(const struct stall_params *new)
{
	static struct cpumask resized, attached, no_fair;	/* stall_mutex */
	bool refused = false, lost = false;
	int cpu, ret = 0;

	cpumask_clear(&resized);
	cpumask_clear(&attached);
	for_each_cpu_and(cpu, &stall_cpus, cpu_online_mask) {
		struct rq *rq = cpu_rq(cpu);
		bool had;

		guard(rq_lock_irqsave)(rq);
		update_rq_clock(rq);
		had = rq->stall.server.dl_bw_attached;
		ret = stall_server_lend(rq, new);
		if (ret && had)
			break;
		if (ret)
			refused = true;
		else
			cpumask_set_cpu(cpu, had ? &resized : &attached);
		ret = 0;
	}
	if (!ret && (!refused || !cpumask_empty(&resized) ||
		     !cpumask_empty(&attached)))
		return 0;
	ret = -EBUSY;

	/* Back to what was: first what is given back, last what needs room. */
	for_each_cpu(cpu, &attached) {
		guard(rq_lock_irqsave)(cpu_rq(cpu));
		update_rq_clock(cpu_rq(cpu));
		stall_server_detach(cpu_rq(cpu));
	}
	for_each_cpu(cpu, &resized) {
		guard(rq_lock_irqsave)(cpu_rq(cpu));
		update_rq_clock(cpu_rq(cpu));
		lost |= stall_server_attach(cpu_rq(cpu), &stall_params);
	}
	cpumask_clear(&no_fair);
	for_each_cpu(cpu, &attached) {
		guard(rq_lock_irqsave)(cpu_rq(cpu));
		update_rq_clock(cpu_rq(cpu));
		if (!stall_fair_server(cpu_rq(cpu), false))
			cpumask_set_cpu(cpu, &no_fair);
	}
	stall_fair_server_lost(&no_fair);
	if (lost)
		pr_warn("deadline tasks have taken the bandwidth of the former slices meanwhile\n");
	return ret;
}

static int stall_apply(const struct stall_params *new)
{
	struct stall_params *cur = &stall_params;
	int ret;

	if (new->runtime_us > new->period_us)
		return -EINVAL;

	if (cur->on == STALL_MODE_ON &&
	    (new->runtime_us != cur->runtime_us || new->period_us != cur->period_us)) {
		ret = stall_resize(new);
		if (ret)
			return ret;
	}

	WRITE_ONCE(cur->runtime_us, new->runtime_us);
	WRITE_ONCE(cur->period_us, new->period_us);
	WRITE_ONCE(cur->duration_us, new->duration_us);
	if (new->threshold_us != cur->threshold_us || new->awaited_us != cur->awaited_us) {
		WRITE_ONCE(cur->threshold_us, new->threshold_us);
		WRITE_ONCE(cur->awaited_us, new->awaited_us);
		stall_rearm();
	}
	if (new->on != cur->on) {
		if (cur->on)
			stall_stop(&stall_cpus);
		cur->on = new->on;
		if (new->on)
			stall_start(new->on, &stall_cpus);
	}
	return 0;
}

/* ->data points into stall_params: parse into a copy, then apply that. */
static int stall_sysctl(const struct ctl_table *table, int write, void *buffer,
			size_t *lenp, loff_t *ppos)
{
	struct stall_params new;
	struct ctl_table tmp = *table;
	int ret;

	/* No lock for readers: a CPU may hang in hotplug because of a stall. */
	if (!write)
		return proc_douintvec_minmax(table, write, buffer, lenp, ppos);

	guard(cpus_read_lock)();
	guard(mutex)(&stall_mutex);

	new = stall_params;
	tmp.data = (void *)&new + (table->data - (void *)&stall_params);
	ret = proc_douintvec_minmax(&tmp, write, buffer, lenp, ppos);
	if (ret)
		return ret == -ERANGE ? -EINVAL : ret;

	return stall_apply(&new);
}

static int stall_write_cpus(char *str)
{
	static struct cpumask cpus;	/* stall_mutex */
	bool follow = !strcmp(str, "isolated");

	guard(cpus_read_lock)();
	guard(mutex)(&stall_mutex);

	if (follow) {
		stall_isolated_cpus(&cpus);
	} else if (!stall_parse_cpus(str, &cpus)) {
		pr_warn("kernel.stall_monitor_cpus=%s not understood: use isolated or a list of CPUs such as 2-5,7; nothing changes\n",
			str);
		return -EINVAL;
	}
	stall_follow = follow;
	stall_set_cpus(&cpus);

	return 0;
}

static char *stall_read_cpus(void)
{
	return kasprintf(GFP_KERNEL, "%*pbl", cpumask_pr_args(&stall_cpus));
}

static int stall_write_ignore(char *str)
{
	struct stall_ignore *old, *new = kzalloc(sizeof(*new), GFP_KERNEL);

	if (!new)
		return -ENOMEM;
	if (!stall_parse_ignore(str, new)) {
		kfree(new);
		pr_warn("kernel.stall_monitor_ignore is too long: use patterns of names, with commas, of less than %d characters; nothing changes\n",
			STALL_IGNORE_LEN);
		return -EINVAL;
	}

	guard(cpus_read_lock)();
	guard(mutex)(&stall_mutex);

	old = rcu_dereference_protected(stall_ignore, lockdep_is_held(&stall_mutex));
	/* 0 is that of threads that nobody asked about yet. */
	new->gen = (old->gen + 1) & INT_MAX ?: 1;
	rcu_assign_pointer(stall_ignore, new);
	stall_adopt_all();
	if (old != &stall_ignore_boot)
		kfree_rcu(old, rcu);

	return 0;
}

static char *stall_read_ignore(void)
{
	char *str = kzalloc(STALL_IGNORE_LEN, GFP_KERNEL);
	const struct stall_ignore *list;

	if (!str)
		return NULL;
	guard(rcu)();
	list = rcu_dereference(stall_ignore);
	memcpy(str, list->patterns, list->len);
	for (int i = 0; i + 1 < (int)list->len; i++) {
		if (!str[i])
			str[i] = ',';
	}
	return str;
}

/* A string that is printed for each read, and parsed for each write */
struct stall_string {
	char *(*read)(void);
	int (*write)(char *str);
};

static int stall_string_sysctl(const struct ctl_table *table, int write,
			       void *buffer, size_t *lenp, loff_t *ppos)
{
	const struct stall_string *string = table->extra1;
	struct ctl_table tmp = *table;
	int ret;

	/* A second part would be taken for all of it. */
	if (write && *ppos)
		return -EINVAL;
	/* No lock for readers here, either. */
	char *str __free(kvfree) = write ? kvzalloc(*lenp + 1, GFP_KERNEL) :
					   string->read();
	if (!str)
		return -ENOMEM;
	tmp.data = str;
	tmp.maxlen = write ? *lenp + 1 : strlen(str) + 1;
	ret = proc_dostring(&tmp, write, buffer, lenp, ppos);
	if (ret || !write)
		return ret;

	return string->write(strim(str));
}

static const struct stall_string stall_string_cpus = {
	.read	= stall_read_cpus,
	.write	= stall_write_cpus,
};

static const struct stall_string stall_string_ignore = {
	.read	= stall_read_ignore,
	.write	= stall_write_ignore,
};

static const unsigned int stall_threshold_range[]	= { 100, 3600000000U };
static const unsigned int stall_runtime_range[]		= { 10, 4000000 };
static const unsigned int stall_period_range[]		= { 100, 4000000 };
static const unsigned int stall_duration_range[]	= { 1000, 60000000 };

#define STALL_SYSCTL(_name, _field, _min, _max)				\
{									\
	.procname	= _name,					\
	.data		= &stall_params._field,				\
	.maxlen		= sizeof(unsigned int),				\
	.mode		= 0644,						\
	.proc_handler	= stall_sysctl,					\
	.extra1		= (void *)(_min),				\
	.extra2		= (void *)(_max),				\
}

#define STALL_SYSCTL_STRING(_name, _string)				\
{									\
	.procname	= _name,					\
	.mode		= 0644,						\
	.proc_handler	= stall_string_sysctl,				\
	.extra1		= (void *)&(_string),				\
}

#define STALL_SYSCTL_BOOL(_name, _var)					\
{									\
	.procname	= _name,					\
	.data		= &(_var),					\
	.maxlen		= sizeof(unsigned int),				\
	.mode		= 0644,						\
	.proc_handler	= proc_douintvec_minmax,			\
	.extra1		= SYSCTL_ZERO,					\
	.extra2		= SYSCTL_ONE,					\
}

static const struct ctl_table stall_sysctls[] = {
	STALL_SYSCTL("stall_monitor", on, SYSCTL_ZERO, SYSCTL_TWO),
	STALL_SYSCTL("stall_monitor_threshold_us", threshold_us,
		     &stall_threshold_range[0], &stall_threshold_range[1]),
	STALL_SYSCTL("stall_monitor_awaited_us", awaited_us,
		     SYSCTL_ZERO, &stall_threshold_range[1]),
	STALL_SYSCTL("stall_monitor_runtime_us", runtime_us,
		     &stall_runtime_range[0], &stall_runtime_range[1]),
	STALL_SYSCTL("stall_monitor_period_us", period_us,
		     &stall_period_range[0], &stall_period_range[1]),
	STALL_SYSCTL("stall_monitor_duration_us", duration_us,
		     &stall_duration_range[0], &stall_duration_range[1]),
	STALL_SYSCTL_STRING("stall_monitor_cpus", stall_string_cpus),
	STALL_SYSCTL_STRING("stall_monitor_ignore", stall_string_ignore),
	STALL_SYSCTL_BOOL("stall_monitor_log", stall_log),
	STALL_SYSCTL_BOOL("stall_monitor_panic", stall_panic),
};

static int __init stall_sysctl_init(void)
{
	register_sysctl_init("kernel", stall_sysctls);
	return 0;
}
late_initcall(stall_sysctl_init);

/* --- Statistics: /sys/devices/system/cpu/cpuN/stall_monitor/ --- */

static const struct trace_print_flags stall_states[] = { STALL_STATE_NAMES };

struct stall_stat {
	struct device_attribute	attr;
	size_t			offset;		/* in struct stall_rq */
	size_t			size;
};

static ssize_t stall_stat_show(struct device *dev, struct device_attribute *attr,
			       char *buf);

#define STALL_STAT(_name, _field) {					\
	.attr	= __ATTR(_name, 0444, stall_stat_show, NULL),		\
	.offset	= offsetof(struct stall_rq, _field),			\
	.size	= sizeof_field(struct stall_rq, _field),		\
}

/* What debugfs shows as well; see Documentation/ABI. */
static struct stall_stat stall_stats[] = {
	STALL_STAT(state,		state),
	STALL_STAT(detected,		detected),
	STALL_STAT(rescued,		rescued),
	STALL_STAT(boosts,		boosts),
	STALL_STAT(ended_blocked,	ended[STALL_END_BLOCKED]),
	STALL_STAT(ended_duration,	ended[STALL_END_DURATION]),
	STALL_STAT(ended_running,	ended[STALL_END_RUNNING]),
	STALL_STAT(ended_moved,		ended[STALL_END_MOVED]),
	STALL_STAT(ended_outranked,	ended[STALL_END_OUTRANKED]),
	STALL_STAT(ended_paused,	ended[STALL_END_PAUSED]),
	STALL_STAT(ended_offline,	ended[STALL_END_OFFLINE]),
	STALL_STAT(overruns,		overruns),
	STALL_STAT(hog_lost_ns,		hog_lost_ns),
	STALL_STAT(longest_piece_ns,	longest_piece),
	STALL_STAT(longest_wait_ns,	longest_wait),
	STALL_STAT(warm_ns,		warm_ns),
	STALL_STAT(reports_suppressed,	reports_suppressed),
};

#define STALL_STAT_LEN	24

/* A CPU of 32 bits reads it in two halves. */
static u64 stall_read_u64(const u64 *field)
{
	u64 value, again = READ_ONCE(*field);

	do {
		value = again;
		again = READ_ONCE(*field);
	} while (!IS_ENABLED(CONFIG_64BIT) && value != again);
	return value;
}

/* Without rq->lock the value may be as of the last time that something happened. */
static void stall_stat_print(struct rq *rq, const struct stall_stat *stat, char *buf)
{
	struct stall_rq *st = &rq->stall;
	void *field = (void *)st + stat->offset;

	if (field == &st->state)
		snprintf(buf, STALL_STAT_LEN, "%s", stall_states[READ_ONCE(st->state)].name);
	else if (stat->size == sizeof(u64))
		snprintf(buf, STALL_STAT_LEN, "%llu", stall_read_u64(field));
	else
		snprintf(buf, STALL_STAT_LEN, "%u", READ_ONCE(*(unsigned int *)field));
}

static ssize_t stall_stat_show(struct device *dev, struct device_attribute *attr,
			       char *buf)
{
	struct stall_stat *stat = container_of(attr, struct stall_stat, attr);
	char value[STALL_STAT_LEN];

	/* Anybody may read it, and nobody hold up an isolated CPU. */
	stall_stat_print(cpu_rq(dev->id), stat, value);

	return sysfs_emit(buf, "%s\n", value);
}

static struct attribute *stall_attrs[ARRAY_SIZE(stall_stats) + 1];

static const struct attribute_group stall_attr_group = {
	.name	= "stall_monitor",
	.attrs	= stall_attrs,
};

static int stall_sysfs_add(unsigned int cpu)
{
	struct device *dev = get_cpu_device(cpu);

	return dev ? sysfs_create_group(&dev->kobj, &stall_attr_group) : -ENODEV;
}

static int stall_sysfs_remove(unsigned int cpu)
{
	sysfs_remove_group(&get_cpu_device(cpu)->kobj, &stall_attr_group);
	return 0;
}

static int __init stall_sysfs_init(void)
{
	int i, ret;

	for (i = 0; i < ARRAY_SIZE(stall_stats); i++)
		stall_attrs[i] = &stall_stats[i].attr.attr;
	ret = cpuhp_setup_state(CPUHP_BP_PREPARE_DYN, "sched/stall_monitor:prepare",
				stall_sysfs_add, stall_sysfs_remove);

	return ret < 0 ? ret : 0;
}
late_initcall(stall_sysfs_init);

/* --- debugfs: sched/stall_monitor/cpuN, for developers --- */

static int stall_debugfs_show(struct seq_file *m, void *unused)
{
	struct rq *rq = cpu_rq((long)m->private);
	struct stall_rq *st = &rq->stall;
	char value[STALL_STAT_LEN];
	int i;

	/* seq_printf() does not sleep, and a buffer too small is tried again. */
	guard(rq_lock_irqsave)(rq);

	/* Account for the time since something happened. */
	if (stall_watched(rq)) {
		update_rq_clock(rq);
		stall_clock_update(rq);
	}
	for (i = 0; i < ARRAY_SIZE(stall_stats); i++) {
		stall_stat_print(rq, &stall_stats[i], value);
		seq_printf(m, "%s: %s\n", stall_stats[i].attr.attr.name, value);
	}
	seq_printf(m, "waiting: %u\n", st->nr_waiting);
	if (st->boosted)
		seq_printf(m, "boosted: %s %d\n", st->boosted->comm,
			   st->boosted->pid);
	else
		seq_puts(m, "boosted: none\n");
	seq_printf(m, "budget_ns: %lld\n", st->budget);
	seq_printf(m, "boost_ns: %llu\n", st->boost_ns);
	seq_printf(m, "timer_fired: %u\n", st->timer_fired);
	seq_printf(m, "slice_timer_fired: %u\n", st->slice_timer_fired);

	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stall_debugfs);

void __init stall_debugfs_init(struct dentry *sched)
{
	struct dentry *dir = debugfs_create_dir("stall_monitor", sched);
	char name[32];
	long cpu;

	for_each_possible_cpu(cpu) {
		snprintf(name, sizeof(name), "cpu%ld", cpu);
		debugfs_create_file(name, 0444, dir, (void *)cpu,
				    &stall_debugfs_fops);
	}
}
