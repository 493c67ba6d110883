// SPDX-License-Identifier: GPL-2.0
/*
 * Stall monitor: lend a CPU to the kernel threads that starve on it
 *
 * A SCHED_FIFO task that never sleeps starves the fair and the weaker
 * real-time threads of its CPU. For user tasks that is what was asked for. For
 * a kernel thread it is not: somebody waits for the kworker that never runs,
 * typically with a mutex held, and in the end the whole system waits.
 *
 * The idea: on the CPUs that are watched, every runnable kernel thread that
 * can run nowhere else and does not run is on a list, oldest first. While that
 * list has a thread and something stronger than the fair class runs, one
 * hrtimer is armed, for the moment at which the oldest has waited for the
 * threshold. When it fires, the CPU's stall server, a dl_server, lends its
 * deadline context to that thread: no policy, priority or affinity changes, so
 * there is nothing to restore. The server's runtime bounds each interruption
 * of the task that hogs the CPU, its period bounds how often that happens, and
 * a longest duration gives the next starving thread its turn.
 *
 * There is nothing periodic here: where nothing waits, no timer is armed.
 *
 * The states of a CPU (struct stall_rq):
 *
 *              kthread waits                  waited for the threshold,
 *    +------+  [enqueue|switch] +----------+  server has budget     +---------+
 *    | IDLE | ----------------> | WATCHING | ---------------------> |  READY  |
 *    +------+ <---------------- +----------+        [timer]         +---------+
 *              none waits            ^                                |  ^  ^
 *              [dequeue|switch]      |                 it is switched |  |  |
 *                                    |              in, arm for what  |  |  |
 *                                    |               budget is left   |  |  |
 *                                    |                     [switch]   v  |  |
 *                                    |   sleeps, moves    +---------+ |  |  |
 *                                    +------------------- | RUNNING |-+--+  |
 *                                    |     [dequeue]      +---------+ [switch]
 *                                    |                        |     a deadline
 *                                    |           slice over   |     task preempts
 *                                    |              [timer]   v             |
 *                                    |  duration over     +---------+       |
 *                                    +------------------- | REFILL  | ------+
 *                                           [timer]       +---------+
 *                                                     new period [timer]
 *
 *   IDLE      nr_starving = 0, boosted = NULL; no timer
 *   WATCHING  nr_starving > 0, boosted = NULL; timer armed while the CPU is
 *             taken by something stronger than the fair class
 *   READY     boosted, server active, run_start = 0; no timer needed
 *   RUNNING   boosted, server active, run_start != 0; timer: end of the slice
 *   REFILL    boosted, server stopped; timer: the server's next period
 *
 * A thread that leaves the runqueue, a pause, or the CPU going offline ends
 * the boost in READY, RUNNING and REFILL alike.
 *
 * Why the slices have a timer of their own: a dl_server's runtime is enforced
 * at the tick, which is off on a nohz_full CPU, and the hrtick serves only
 * deadline tasks. So the server is started for one slice and stopped at the
 * end of it, and sched_can_stop_tick() does not count it. Its runtime is
 * charged here and nowhere else. The CBS rules decide what is left when the
 * server starts again, with one exception: the debt of an overrun (the thread
 * was in a section without preemption) postpones the next slice until the hog
 * has had its share of a period, and not further, else one rescue would be the
 * next starvation.
 *
 * Locking: rq->lock protects all of struct stall_rq and the stall_* fields of
 * the tasks on that runqueue. The timer is queued on the CPU that armed it,
 * mostly this one, else that of a remote waker. Its callback takes rq->lock;
 * under that only hrtimer_try_to_cancel() is used, and a callback that could
 * not be cancelled looks at the state that it finds. A task on the waiting
 * list or in ->boosted is on the runqueue: it leaves both in the dequeue hook,
 * before it can die, so no reference is held. stall_mutex serialises the
 * sysctls; it nests inside cpu_hotplug_lock, and rq->lock inside it.
 */

#define pr_fmt(fmt) "stall_monitor: " fmt

#include <linux/cpu.h>
#include <linux/debugfs.h>
#include <linux/irq_work.h>
#include <linux/ratelimit.h>
#include <linux/sched/clock.h>
#include <linux/sched/isolation.h>
#include <linux/seq_file.h>
#include <linux/sysctl.h>
#include <linux/workqueue.h>

#include "sched.h"

#define CREATE_TRACE_POINTS
#include <trace/events/stall_monitor.h>

DEFINE_STATIC_KEY_FALSE(stall_monitor_enabled);

/* Budget below this is not worth two context switches. */
#define STALL_MIN_SLICE_NS	(10 * NSEC_PER_USEC)

/* At most so much of getting to the thread is charged to its slice. */
#define STALL_MAX_LEAD_NS	(4 * NSEC_PER_USEC)

/*
 * The sysctls. Written under stall_mutex, read under the rq->lock of any CPU:
 * a new threshold or duration holds from the next look at it.
 */
struct stall_params {
	unsigned int	on;		/* and cpu_hotplug_lock */
	unsigned int	threshold_us;
	unsigned int	runtime_us;
	unsigned int	period_us;
	unsigned int	duration_us;
};

static struct stall_params stall_params __read_mostly = {
	.threshold_us	= 100000,
	.runtime_us	= 30,
	.period_us	= 750,
	.duration_us	= 10000,
};

static DEFINE_MUTEX(stall_mutex);

/* The CPUs to watch, fixed at boot. */
static struct cpumask stall_cpus __ro_after_init;

static inline u64 stall_ns(const unsigned int *us)
{
	return (u64)READ_ONCE(*us) * NSEC_PER_USEC;
}

/*
 * The report: one line for each detected stall, printed on another CPU than
 * the one that is taken, which must not pay for a console. Who waits for the
 * thread is looked up before it can run: soon after, nobody does. That takes
 * the lock of a worker pool, which nests outside of rq->lock.
 *
 *   stall_report()        under rq->lock: fill the CPU's slot, if it is free
 *   stall_report_send()   without it, by whoever filled the slot
 *   stall_report_print()  in the irq_work: print, free the slot
 */
struct stall_report {
	struct irq_work		work;
	struct task_struct	*task;	/* these are referenced; */
	struct task_struct	*hog;	/* without @task the slot is free */
	struct task_struct	*flusher;
	unsigned int		wait_us;
};

static DEFINE_PER_CPU(struct stall_report, stall_reports);

/* Asked under rq->lock, so it must not print what it suppressed by itself. */
static struct ratelimit_state stall_report_limit =
	RATELIMIT_STATE_INIT_FLAGS(stall_report_limit, DEFAULT_RATELIMIT_INTERVAL,
				   DEFAULT_RATELIMIT_BURST,
				   RATELIMIT_MSG_ON_RELEASE);

static void stall_report_print(struct irq_work *work)
{
	struct stall_report *r = container_of(work, struct stall_report, work);
	char who[TASK_COMM_LEN + 16] = "nobody known";

	if (r->flusher) {
		snprintf(who, sizeof(who), "%s (pid %d)", r->flusher->comm,
			 r->flusher->pid);
		put_task_struct(r->flusher);
	}
	pr_warn("CPU%d: %s (pid %d) waited %u us behind %s (pid %d, rt_priority %u); waited for by %s\n",
		task_cpu(r->task), r->task->comm, r->task->pid, r->wait_us,
		r->hog->comm, r->hog->pid, r->hog->rt_priority, who);

	put_task_struct(r->hog);
	put_task_struct(r->task);
	/* Pairs with the acquire in stall_report(): the slot is free. */
	smp_store_release(&r->task, NULL);
}

/* Called in the hardirq that detected the stall of @r->task. */
static void stall_report_send(struct stall_report *r)
{
	const struct cpumask *mask = housekeeping_cpumask(HK_TYPE_KERNEL_NOISE);
	int this = task_cpu(r->task), cpu;

	r->flusher = wq_worker_flusher(r->task);

	for_each_cpu_and(cpu, mask, cpu_online_mask) {
		if (cpu != this && housekeeping_cpu(cpu, HK_TYPE_DOMAIN))
			break;
	}
	irq_work_queue_on(&r->work, cpu < nr_cpu_ids ? cpu : smp_processor_id());
}

/* A stall that meets a slot in use is counted and traced, but not printed. */
static struct stall_report *stall_report(struct rq *rq, struct task_struct *p,
					 u64 wait_ns)
{
	struct stall_report *r = per_cpu_ptr(&stall_reports, cpu_of(rq));

	/* Pairs with the release in stall_report_print(). */
	if (smp_load_acquire(&r->task) || !__ratelimit(&stall_report_limit))
		return NULL;

	r->task = get_task_struct(p);
	r->hog = get_task_struct(rq->curr);
	r->wait_us = div_u64(wait_ns, NSEC_PER_USEC);

	return r;
}

/*
 * Is @p a kernel thread that this monitor looks after: one that can run on
 * this CPU only, and of a class that something stronger can starve?
 */
static bool stall_monitored(struct task_struct *p)
{
	if (!(p->flags & PF_KTHREAD))
		return false;
	if (p->nr_cpus_allowed != 1 && !is_migration_disabled(p))
		return false;
	return p->sched_class == &fair_sched_class ||
	       p->sched_class == &rt_sched_class;
}

static inline bool stall_waiting(struct task_struct *p)
{
	return !list_empty(&p->stall_node);
}

/*
 * Is @rq taken by something that starves the fair class? Idle counts when it
 * is forced by core scheduling; a plain idle CPU runs whoever is runnable.
 */
static bool stall_starving(struct rq *rq)
{
	const struct sched_class *class = rq->donor->sched_class;

	if (class == &idle_sched_class)
		return sched_core_enabled(rq);
	return sched_class_above(class, &fair_sched_class);
}

static void stall_timer_start(struct rq *rq, s64 ns)
{
	hrtimer_start(&rq->stall.timer, ns_to_ktime(max(ns, 0LL)),
		      HRTIMER_MODE_REL_PINNED_HARD);
}

static void stall_timer_stop(struct rq *rq)
{
	if (hrtimer_is_queued(&rq->stall.timer))
		hrtimer_try_to_cancel(&rq->stall.timer);
}

/* How long the server has to wait for its next period; <= 0: not at all. */
static s64 stall_refill_time(struct rq *rq)
{
	struct sched_dl_entity *dl_se = &rq->stall.server;

	if (dl_se->runtime >= STALL_MIN_SLICE_NS)
		return 0;
	return dl_se->deadline - rq_clock(rq);
}

/* How long until the thread that has waited longest may be boosted. */
static s64 stall_head_time(struct rq *rq)
{
	struct task_struct *p;
	s64 left;

	p = list_first_entry(&rq->stall.waiting, struct task_struct, stall_node);
	left = p->stall_since + stall_ns(&stall_params.threshold_us) - rq_clock(rq);

	return max(left, stall_refill_time(rq));
}

/*
 * Have the timer armed exactly while somebody waits, nobody is boosted, and
 * the CPU is taken. The timer is for the head of the list, and the head only
 * gets younger: an armed timer is never late.
 */
static void stall_watch(struct rq *rq)
{
	struct stall_rq *st = &rq->stall;
	bool want = st->nr_starving && stall_starving(rq);

	if (st->boosted || want == hrtimer_is_queued(&st->timer))
		return;

	if (want)
		stall_timer_start(rq, stall_head_time(rq));
	else
		stall_timer_stop(rq);
}

static void stall_wait_start(struct rq *rq, struct task_struct *p)
{
	p->stall_since = rq_clock(rq);
	list_add_tail(&p->stall_node, &rq->stall.waiting);
	rq->stall.nr_starving++;
}

static u64 stall_wait_end(struct rq *rq, struct task_struct *p)
{
	u64 wait_ns = rq_clock(rq) - p->stall_since;

	list_del_init(&p->stall_node);
	rq->stall.nr_starving--;
	rq->stall.longest_wait = max(rq->stall.longest_wait, wait_ns);

	return wait_ns;
}

/* Charge what the boosted thread ran since its slice began or went on. */
static void stall_slice_charge(struct rq *rq)
{
	struct stall_rq *st = &rq->stall;
	u64 delta;

	if (!st->run_start)
		return;

	delta = rq_clock(rq) - st->run_start;
	st->run_start = 0;
	st->server.runtime -= delta;
	st->boost_ran += delta;
	st->boost_ns += delta;
}

static void stall_server_stop(struct rq *rq)
{
	struct sched_dl_entity *dl_se = &rq->stall.server;
	u64 next;

	if (!dl_server_active(dl_se))
		return;

	stall_slice_charge(rq);
	dl_server_stop(dl_se);

	/* However late the slice ended, the hog has its share before the next. */
	next = rq_clock(rq) + dl_se->dl_period - dl_se->dl_runtime;
	if (dl_se->runtime < STALL_MIN_SLICE_NS &&
	    dl_time_before(dl_se->deadline, next))
		dl_se->deadline = next;
}

/* REFILL or a new boost -> READY */
static void stall_slice_ready(struct rq *rq)
{
	struct sched_dl_entity *dl_se = &rq->stall.server;

	/*
	 * What is left is not worth a slice and the period is over: have CBS
	 * begin a new one, whatever the debt.
	 */
	if (dl_se->runtime < STALL_MIN_SLICE_NS)
		dl_se->deadline = 0;

	rq->stall.boost_slices++;
	rq->stall.slice_start = rq_clock(rq);
	dl_server_start(dl_se);
}

/*
 * READY -> RUNNING
 *
 * The interruption of the hog begins when the server starts, so the way to the
 * thread is charged too; but not more than that way takes when nothing is in
 * it, such as a section without preemption, or deadline tasks with a right to
 * be first: the thread is to have its slice.
 */
static void stall_slice_run(struct rq *rq)
{
	struct stall_rq *st = &rq->stall;

	/* In REFILL the thread runs on its own, unless preempted again. */
	if (!dl_server_active(&st->server))
		return;

	if (st->slice_start) {
		st->server.runtime -= min_t(u64, rq_clock(rq) - st->slice_start,
					    STALL_MAX_LEAD_NS);
		st->slice_start = 0;
	}

	st->run_start = rq_clock(rq);
	stall_timer_start(rq, st->server.runtime);
}

static void stall_boost_end(struct rq *rq, enum stall_end reason)
{
	struct stall_rq *st = &rq->stall;
	struct task_struct *p = st->boosted;

	/* Give the CPU back; a thread that blocks is about to do so itself. */
	if (st->run_start && reason != STALL_END_BLOCKED)
		resched_curr(rq);

	stall_server_stop(rq);
	st->boosted = NULL;
	st->nr_starving--;
	stall_timer_stop(rq);
	trace_stall_boost_end(p, cpu_of(rq), reason, st->boost_ran,
			      st->boost_slices);
}

static struct stall_report *stall_boost_start(struct rq *rq, struct task_struct *p)
{
	struct stall_rq *st = &rq->stall;
	u64 wait_ns = stall_wait_end(rq, p);
	struct stall_report *r;

	st->detected++;
	trace_stall_detected(p, cpu_of(rq), wait_ns, rq->curr);
	r = stall_report(rq, p, wait_ns);

	/* Admission control refused the server: all that can be done is tell. */
	if (!st->server.dl_bw_attached) {
		stall_wait_start(rq, p);
		stall_watch(rq);
		return r;
	}

	st->boosted = p;
	st->nr_starving++;
	st->boost_start = rq_clock(rq);
	st->boost_ran = 0;
	st->boost_slices = 0;
	st->boosts++;
	trace_stall_boost_start(p, cpu_of(rq), wait_ns);
	stall_slice_ready(rq);

	return r;
}

/* Of those that are due, so many are asked who waits for them. */
#define STALL_CANDIDATES	4

/*
 * Of several that are due, one that somebody waits for comes first. That is a
 * question to the workqueues, whose locks nest outside of rq->lock.
 *
 * Returns a task with a reference, or NULL.
 */
static struct task_struct *stall_awaited(struct rq *rq)
{
	struct task_struct *due[STALL_CANDIDATES], *p, *flusher, *found = NULL;
	int i, n = 0;

	scoped_guard (rq_lock, rq) {
		if (rq->stall.boosted || rq->stall.nr_starving < 2)
			return NULL;
		update_rq_clock(rq);
		list_for_each_entry(p, &rq->stall.waiting, stall_node) {
			if (n == STALL_CANDIDATES || rq_clock(rq) - p->stall_since <
						     stall_ns(&stall_params.threshold_us))
				break;
			due[n++] = get_task_struct(p);
		}
	}

	for (i = 0; i < n; i++) {
		flusher = found || n < 2 ? NULL : wq_worker_flusher(due[i]);
		if (flusher) {
			put_task_struct(flusher);
			found = due[i];
		} else {
			put_task_struct(due[i]);
		}
	}
	return found;
}

/*
 * WATCHING: when the head of the list is due, boost @awaited, if it still waits
 * here, or the head; else arm for it.
 */
static struct stall_report *stall_next(struct rq *rq, struct task_struct *awaited)
{
	struct task_struct *p;
	s64 left;

	/* Not starving any longer: a switch arms the timer again. */
	if (!rq->stall.nr_starving || !stall_starving(rq))
		return NULL;

	left = stall_head_time(rq);
	if (left > 0) {
		stall_timer_start(rq, left);
		return NULL;
	}

	p = list_first_entry(&rq->stall.waiting, struct task_struct, stall_node);
	if (awaited && task_rq(awaited) == rq && stall_waiting(awaited))
		p = awaited;
	return stall_boost_start(rq, p);
}

/* RUNNING: the slice may be over. */
static void stall_slice_end(struct rq *rq)
{
	struct stall_rq *st = &rq->stall;
	s64 left;

	stall_slice_charge(rq);

	/* The two clocks differ by a little: finish the slice. */
	left = st->server.runtime;
	if (left > NSEC_PER_USEC) {
		st->run_start = rq_clock(rq);
		stall_timer_start(rq, left);
		return;
	}

	stall_server_stop(rq);
	left = max(stall_refill_time(rq), 0LL);
	if (rq_clock(rq) + left >= st->boost_start + stall_ns(&stall_params.duration_us)) {
		stall_boost_end(rq, STALL_END_DURATION);
		resched_curr(rq);
	} else if (left) {
		stall_timer_start(rq, left);
		resched_curr(rq);
	} else {
		/* The runtime is all of the period: no switch, go on. */
		stall_slice_ready(rq);
		stall_slice_run(rq);
	}
}

/* REFILL: the next period may have begun. */
static void stall_refill(struct rq *rq)
{
	struct task_struct *p = rq->stall.boosted;
	s64 left;

	/* Not even preempted yet: an overrun, in a section without preemption. */
	if (task_current(rq, p) && test_tsk_need_resched(p)) {
		stall_timer_start(rq, rq->stall.server.dl_period);
		return;
	}

	/* The hog is gone or asleep, the thread needs no more help. */
	if (task_current(rq, p) || !stall_starving(rq)) {
		stall_boost_end(rq, STALL_END_RUNNING);
		__stall_enqueue(rq, p);
		return;
	}

	left = stall_refill_time(rq);
	if (left > 0)
		stall_timer_start(rq, left);
	else
		stall_slice_ready(rq);
}

static enum hrtimer_restart stall_timer(struct hrtimer *timer)
{
	struct rq *rq = container_of(timer, struct rq, stall.timer);
	struct stall_rq *st = &rq->stall;
	struct task_struct *awaited = stall_awaited(rq);
	struct stall_report *r = NULL;

	scoped_guard (rq_lock, rq) {
		st->timer_fired++;
		sched_clock_tick();
		update_rq_clock(rq);

		if (!st->boosted)
			r = stall_next(rq, awaited);
		else if (st->run_start)
			stall_slice_end(rq);
		else if (!dl_server_active(&st->server))
			stall_refill(rq);
	}

	if (awaited)
		put_task_struct(awaited);
	if (r)
		stall_report_send(r);

	return HRTIMER_NORESTART;
}

/*
 * The stall server's pick: the boosted thread or nobody.
 *
 * With proxy execution a thread that blocks on a mutex stays queued, so the
 * dequeue hook did not see it. Its boost ends here; somebody else's cannot
 * begin, because the server is about to be stopped.
 */
static struct task_struct *
stall_server_pick(struct sched_dl_entity *dl_se, struct rq_flags *rf)
{
	struct rq *rq = dl_se->rq;
	struct task_struct *p = rq->stall.boosted;

	if (WARN_ON_ONCE(!p))
		return NULL;

	if (p->is_blocked) {
		stall_boost_end(rq, STALL_END_BLOCKED);
		stall_watch(rq);
		return NULL;
	}

	return p;
}

/*
 * enqueue_task() and ttwu_runnable(): @p may begin to wait.
 *
 * A task that is queued and blocked is a proxy donor or a delayed dequeue; it
 * does not want to run, and if it is woken in place ttwu_runnable() gets here
 * once more, without is_blocked. ttwu_do_activate() clears is_blocked only
 * after the enqueue, but there on_rq is not set yet.
 */
void __stall_enqueue(struct rq *rq, struct task_struct *p)
{
	struct stall_rq *st = &rq->stall;

	if (!st->watched)
		return;

	if (stall_waiting(p)) {
		/* Kept over a change of parameters, see __stall_dequeue(). */
		if (!stall_monitored(p))
			stall_wait_end(rq, p);
	} else if (p == st->boosted) {
		if (!stall_monitored(p))
			stall_boost_end(rq, STALL_END_MOVED);
	} else if (!task_current(rq, p) && !(p->on_rq && p->is_blocked) &&
		   stall_monitored(p)) {
		stall_wait_start(rq, p);
	}

	/* Also when @p runs and has become real-time just now. */
	stall_watch(rq);
}

/*
 * dequeue_task(): @p waits no longer, and needs no boost.
 *
 * Not so when only its parameters change: __stall_enqueue() follows under the
 * same rq->lock, and a thread that waits keeps its place.
 */
void __stall_dequeue(struct rq *rq, struct task_struct *p, int flags)
{
	if (flags & DEQUEUE_SAVE)
		return;

	if (stall_waiting(p)) {
		stall_wait_end(rq, p);
		stall_watch(rq);
	} else if (p == rq->stall.boosted) {
		stall_boost_end(rq, flags & DEQUEUE_SLEEP ? STALL_END_BLOCKED :
							    STALL_END_MOVED);
		stall_watch(rq);
	}
}

/* __schedule(): @prev may begin to wait, @next waits no longer. */
void __stall_switch(struct rq *rq, struct task_struct *prev,
		    struct task_struct *next)
{
	struct stall_rq *st = &rq->stall;

	if (!st->watched)
		return;

	if (prev == st->boosted && prev->is_blocked) {
		/* On a mutex, as a proxy donor: it was not dequeued. */
		stall_boost_end(rq, STALL_END_BLOCKED);
	} else if (prev == st->boosted && st->run_start) {
		stall_slice_charge(rq);
		stall_timer_stop(rq);
	} else if (prev != st->boosted && task_on_rq_queued(prev) &&
		   !prev->is_blocked && stall_monitored(prev)) {
		stall_wait_start(rq, prev);
	}

	if (stall_waiting(next))
		stall_wait_end(rq, next);
	else if (next == st->boosted)
		stall_slice_run(rq);

	stall_watch(rq);
}

void __stall_donor_change(struct rq *rq)
{
	stall_watch(rq);
}

/* --- Watching CPUs, and no longer --- */

/* Ask admission control for the server's bandwidth. */
static int stall_server_attach(struct rq *rq, const struct stall_params *params)
{
	struct stall_rq *st = &rq->stall;
	struct sched_dl_entity *dl_se = &st->server;
	bool active = dl_server_active(dl_se);
	bool running = st->run_start;
	int ret;

	/* On its way up or down: stall_cpu_active() does it, or nobody need. */
	if (!cpu_active(cpu_of(rq)))
		return 0;

	/* The parameters of a server that is queued must not change. */
	if (active)
		stall_server_stop(rq);

	ret = dl_server_apply_params(dl_se, stall_ns(&params->runtime_us),
				     stall_ns(&params->period_us),
				     !dl_se->dl_bw_attached);

	/* And the timer is for the old ones. */
	if (active) {
		stall_slice_ready(rq);
		if (running)
			stall_slice_run(rq);
	} else if (st->boosted) {
		stall_timer_start(rq, stall_refill_time(rq));
	}

	return ret;
}

/* Whoever was boosted waits again. */
static void stall_server_detach(struct rq *rq)
{
	struct task_struct *p = rq->stall.boosted;

	if (p) {
		stall_boost_end(rq, STALL_END_PAUSED);
		__stall_enqueue(rq, p);
	}
	dl_server_detach_bw(&rq->stall.server);
}

static void stall_rq_unwatch(struct rq *rq, enum stall_end reason)
{
	struct stall_rq *st = &rq->stall;
	struct task_struct *p, *tmp;

	st->watched = false;
	if (st->boosted)
		stall_boost_end(rq, reason);
	list_for_each_entry_safe(p, tmp, &st->waiting, stall_node)
		stall_wait_end(rq, p);
	stall_timer_stop(rq);
}

/* A thread may have been waiting since before it was watched. */
static void stall_adopt(struct task_struct *p)
{
	CLASS(task_rq_lock, guard)(p);
	struct rq *rq = guard.rq;

	if (!task_on_rq_queued(p))
		return;

	update_rq_clock(rq);
	__stall_enqueue(rq, p);
}

static void stall_refused(const struct cpumask *cpus)
{
	pr_warn("CPUs %*pbl: no deadline bandwidth left for %u us every %u us: stalls will be reported, not relieved\n",
		cpumask_pr_args(cpus), stall_params.runtime_us,
		stall_params.period_us);
}

static void stall_start(void)
{
	static struct cpumask refused;	/* stall_mutex */
	struct task_struct *g, *p;
	int cpu;

	lockdep_assert_cpus_held();
	lockdep_assert_held(&stall_mutex);

	cpumask_clear(&refused);
	static_branch_enable_cpuslocked(&stall_monitor_enabled);
	for_each_cpu_and(cpu, &stall_cpus, cpu_online_mask) {
		struct rq *rq = cpu_rq(cpu);

		guard(rq_lock_irqsave)(rq);
		update_rq_clock(rq);
		if (stall_server_attach(rq, &stall_params))
			cpumask_set_cpu(cpu, &refused);
		rq->stall.watched = true;
	}

	scoped_guard (rcu) {
		for_each_process_thread(g, p) {
			if (p->flags & PF_KTHREAD)
				stall_adopt(p);
		}
	}

	if (!cpumask_empty(&refused))
		stall_refused(&refused);
}

static void stall_stop(void)
{
	int cpu;

	lockdep_assert_cpus_held();
	lockdep_assert_held(&stall_mutex);

	for_each_cpu(cpu, &stall_cpus) {
		struct rq *rq = cpu_rq(cpu);

		guard(rq_lock_irqsave)(rq);
		update_rq_clock(rq);
		stall_rq_unwatch(rq, STALL_END_PAUSED);
		dl_server_detach_bw(&rq->stall.server);
	}
	static_branch_disable_cpuslocked(&stall_monitor_enabled);
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
	rq->stall.watched = true;
}

void stall_cpu_active(unsigned int cpu)
{
	struct rq *rq = cpu_rq(cpu);
	int ret;

	if (!stall_params.on || !cpumask_test_cpu(cpu, &stall_cpus))
		return;

	scoped_guard (rq_lock_irqsave, rq) {
		update_rq_clock(rq);
		ret = stall_server_attach(rq, &stall_params);
	}
	if (ret)
		stall_refused(cpumask_of(cpu));
}

/* Called with rq->lock held, from the CPU's stopper. */
void stall_cpu_dying(struct rq *rq)
{
	if (rq->stall.watched)
		stall_rq_unwatch(rq, STALL_END_OFFLINE);
}

void __init stall_rq_init(struct rq *rq)
{
	struct stall_rq *st = &rq->stall;
	struct stall_report *r = per_cpu_ptr(&stall_reports, cpu_of(rq));

	INIT_LIST_HEAD(&st->waiting);
	hrtimer_setup(&st->timer, stall_timer, CLOCK_MONOTONIC,
		      HRTIMER_MODE_REL_PINNED_HARD);
	init_irq_work(&r->work, stall_report_print);

	init_dl_entity(&st->server);
	dl_server_init(&st->server, rq, stall_server_pick);
	st->server.dl_server = 1;
}

/* --- Boot parameter --- */

static enum { STALL_BOOT_OFF, STALL_BOOT_ON, STALL_BOOT_ISOLATED, STALL_BOOT_LIST }
stall_boot __initdata = IS_ENABLED(CONFIG_SCHED_STALL_MONITOR_DEFAULT_ON) ?
			STALL_BOOT_ON : STALL_BOOT_OFF;

static int __init setup_stall_monitor(char *str)
{
	static struct cpumask list __initdata;

	if (!strcmp(str, "off")) {
		stall_boot = STALL_BOOT_OFF;
	} else if (!strcmp(str, "on")) {
		stall_boot = STALL_BOOT_ON;
	} else if (!strcmp(str, "isolated")) {
		stall_boot = STALL_BOOT_ISOLATED;
	} else if (!cpulist_parse(str, &list) &&
		   cpumask_intersects(&list, cpu_possible_mask)) {
		cpumask_copy(&stall_cpus, &list);
		stall_boot = STALL_BOOT_LIST;
	} else {
		pr_warn("stall_monitor=%s not understood: use off, on, isolated or a list of CPUs such as 2-5,7; the default stays\n",
			str);
	}
	return 1;
}
__setup("stall_monitor=", setup_stall_monitor);

/* The CPUs that isolcpus= and nohz_full= took from the rest of the system. */
static void __init stall_isolated_cpus(struct cpumask *mask)
{
	cpumask_and(mask, housekeeping_cpumask(HK_TYPE_DOMAIN_BOOT),
		    housekeeping_cpumask(HK_TYPE_KERNEL_NOISE));
	cpumask_andnot(mask, cpu_possible_mask, mask);
}

static int __init stall_init(void)
{
	switch (stall_boot) {
	case STALL_BOOT_OFF:
	case STALL_BOOT_ON:
		cpumask_copy(&stall_cpus, cpu_possible_mask);
		break;
	case STALL_BOOT_ISOLATED:
		stall_isolated_cpus(&stall_cpus);
		if (cpumask_empty(&stall_cpus))
			pr_warn("stall_monitor=isolated: neither isolcpus= nor nohz_full= isolates a CPU, none is watched\n");
		break;
	case STALL_BOOT_LIST:
		break;
	}

	if (stall_boot == STALL_BOOT_OFF)
		return 0;

	guard(cpus_read_lock)();
	guard(mutex)(&stall_mutex);
	stall_start();
	stall_params.on = 1;
	cpumask_and(&stall_cpus, &stall_cpus, cpu_possible_mask);
	pr_info("watching CPUs %*pbl\n", cpumask_pr_args(&stall_cpus));

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
		if (rq->stall.nr_starving && !rq->stall.boosted && stall_starving(rq))
			stall_timer_start(rq, stall_head_time(rq));
	}
}

/*
 * All CPUs whose server has bandwidth get the new slices, or none. Those that
 * were refused before may be lucky now.
 */
static int stall_resize(const struct stall_params *new)
{
	static struct cpumask resized, attached;	/* stall_mutex */
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
		ret = stall_server_attach(rq, new);
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

	/* Back to what was. */
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

	if (cur->on && (new->runtime_us != cur->runtime_us ||
			new->period_us != cur->period_us)) {
		ret = stall_resize(new);
		if (ret)
			return ret;
	}

	WRITE_ONCE(cur->runtime_us, new->runtime_us);
	WRITE_ONCE(cur->period_us, new->period_us);
	WRITE_ONCE(cur->duration_us, new->duration_us);
	if (new->threshold_us != cur->threshold_us) {
		WRITE_ONCE(cur->threshold_us, new->threshold_us);
		stall_rearm();
	}
	if (new->on != cur->on) {
		if (new->on)
			stall_start();
		else
			stall_stop();
		cur->on = new->on;
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

static const struct ctl_table stall_sysctls[] = {
	STALL_SYSCTL("stall_monitor", on, SYSCTL_ZERO, SYSCTL_ONE),
	STALL_SYSCTL("stall_monitor_threshold_us", threshold_us,
		     &stall_threshold_range[0], &stall_threshold_range[1]),
	STALL_SYSCTL("stall_monitor_runtime_us", runtime_us,
		     &stall_runtime_range[0], &stall_runtime_range[1]),
	STALL_SYSCTL("stall_monitor_period_us", period_us,
		     &stall_period_range[0], &stall_period_range[1]),
	STALL_SYSCTL("stall_monitor_duration_us", duration_us,
		     &stall_duration_range[0], &stall_duration_range[1]),
};

static int __init stall_sysctl_init(void)
{
	register_sysctl_init("kernel", stall_sysctls);
	return 0;
}
late_initcall(stall_sysctl_init);

/* --- debugfs: sched/stall_monitor/cpuN --- */

static const char *stall_state(struct stall_rq *st)
{
	if (!st->watched)
		return "off";
	if (st->boosted)
		return "boosting";
	return st->nr_starving ? "watching" : "idle";
}

static int stall_debugfs_show(struct seq_file *m, void *unused)
{
	struct rq *rq = cpu_rq((long)m->private);
	struct stall_rq *st = &rq->stall;

	/* seq_printf() does not sleep, and a buffer too small is tried again. */
	guard(rq_lock_irqsave)(rq);

	seq_printf(m, "state: %s\n", stall_state(st));
	seq_printf(m, "waiting: %u\n", st->nr_starving - !!st->boosted);
	if (st->boosted)
		seq_printf(m, "boosted: %s %d\n", st->boosted->comm,
			   st->boosted->pid);
	else
		seq_puts(m, "boosted: none\n");
	seq_printf(m, "detected: %u\n", st->detected);
	seq_printf(m, "boosts: %u\n", st->boosts);
	seq_printf(m, "boost_ns: %llu\n", st->boost_ns);
	seq_printf(m, "longest_wait_ns: %llu\n", st->longest_wait);
	seq_printf(m, "timer_fired: %u\n", st->timer_fired);

	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stall_debugfs);

void __init stall_debugfs_init(struct dentry *sched)
{
	struct dentry *dir = debugfs_create_dir("stall_monitor", sched);
	char name[16];
	long cpu;

	for_each_possible_cpu(cpu) {
		snprintf(name, sizeof(name), "cpu%ld", cpu);
		debugfs_create_file(name, 0444, dir, (void *)cpu,
				    &stall_debugfs_fops);
	}
}
