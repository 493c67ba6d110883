// SPDX-License-Identifier: GPL-2.0
/*
 * Proxy execution: what blocked tasks are blocked on, and who waits for whom
 *
 * find_proxy_task() in core.c walks from a blocked task, the donor, over the
 * owners of what each task is blocked on, to one that can run, which then runs
 * with the donor's scheduling context. Here is what that walk stands on.
 *
 * The edge. p->blocked_on is one word, a pointer and the kind of what it points
 * to: proxy_kind[] has them. __set_task_blocked_on() is called by p
 * itself before it blocks. The word is cleared by p when it runs again, by who
 * hands it what it waits for, and in any case by the wakeup (proxy_unblock()),
 * under p->blocked_lock each time. So while somebody holds p->blocked_lock and
 * the word is not 0, p has not left the function that put the object there, and
 * the object exists. proxy_lock_edge() names the owner, by the kind of the
 * object, and holds the edge still. Another kind of object is another case
 * there, another name in proxy_kind[], another line in the report of a deadlock,
 * and an answer from blocked_on_strong_only().
 *
 * Sleeping owners. A walk that ends at a task that is not on a runqueue, and
 * is itself blocked on nothing that has an owner, cannot lend. The donor then
 * leaves the runqueue like any other sleeper. p->blocked_on stays, so that other
 * walks can pass over it, and p->proxy_awaits notes the owner. When the owner
 * wakes, the donor is put on the owner's runqueue, by proxy_enqueue(): it does
 * not run, its state and what it is blocked on remain, and the walk from it finds
 * an owner that can run. A walk that passes over sleeping tasks notes for each of
 * them that it awaits the next:
 *
 *     W                  H                    K
 *     on the runqueue -> sleeps in a flush -> sleeps in its work function
 *     awaits H           awaits K
 *
 *   K wakes	proxy_awake(K) looks for who awaits K and finds H. H is weak: it
 *		would not lend anything to K, it sleeps on; but W awaits H, and
 *		is enqueued where K runs.
 *   H wakes	proxy_awake(H): W is enqueued where H runs.
 *
 * That is noted while W lends, too. If H is woken by something else, W will not
 * go on to lend to K what H needs now.
 *
 * No wakeup is lost: the walk first notes whom p awaits, then looks once more whether
 * the owner is on a runqueue; the owner's activation first makes it be on the
 * runqueue, then looks for who awaits it. Both have a full barrier in between.
 *
 * Weak and strong. A task of the fair class does not lend along a flush. It
 * would have to be queued on the CPU of the worker, an isolated one perhaps,
 * would not help there against a real-time task, and would cost the tick. So it
 * sleeps. When its class changes it is woken, and blocks again as what it is.
 *
 * Locking:
 *
 *   pool->lock					(workqueue.c)
 *     p->pi_lock
 *       rq->lock
 *         mutex->wait_lock
 *           p->blocked_lock
 *             flush_wait_lock
 *               proxy_bucket::lock
 *                 proxy_waker::lock
 *
 * The walk holds rq->lock and needs, for one edge at a time, p->blocked_lock
 * and the lock that keeps the owner what it is. For a task that is not queued
 * on this runqueue, it has to start with p->blocked_lock: nothing else keeps
 * the object alive. What nests outside of that, it may only trylock. When that
 * fails it drops rq->lock, lets the other make progress, and picks again. It
 * never holds two blocked_locks, and nobody two buckets.
 *
 * Tasks that were found as an owner are used under RCU: interrupts are disabled
 * all along. ->proxy_awaits is compared and hashed, never dereferenced. A task
 * leaves its bucket when it is woken, in proxy_unblock(). A walk that was held
 * up may put down one that is about to block once more and then does not: it
 * leaves at its next wakeup, or when it dies, in proxy_task_dead().
 */

#include <linux/debugfs.h>
#include <linux/hash.h>
#include <linux/irq_work.h>
#include <linux/kallsyms.h>
#include <linux/mutex.h>
#include <linux/percpu-rwsem.h>
#include <linux/rwsem.h>
#include <linux/sched/clock.h>
#include <linux/sched/debug.h>
#include <linux/sched/proxy.h>
#include <linux/sched/wake_q.h>
#include <linux/seq_file.h>
#include <linux/sysctl.h>

#include "sched.h"
#include "../locking/mutex.h"

#define CREATE_TRACE_POINTS
#include <trace/events/sched_proxy.h>

/*
 * Counters, for debugfs. Written with preemption disabled.
 */
struct proxy_stats {
	u64	lent;		/* a chain over a flush began to be lent along */
	u64	enqueued;	/* a waiter was enqueued, or woken, because an owner woke */
	u64	promoted;	/* weak sleepers that lent-along chains passed over */
	u64	no_owner;	/* times that no owner of a flush was found */
	u64	limited;	/* waits in which as much was lent as may be */
};

static DEFINE_PER_CPU(struct proxy_stats, proxy_stats);
static atomic_t proxy_cycles = ATOMIC_INIT(0);
static int proxy_max_depth;

/*
 * Who awaits whom, hashed by the task that is awaited. ->lock protects the
 * list, ->proxy_awaits of the tasks on it, and ->proxy_flags of the tasks that
 * hash to it. It is a leaf.
 */
struct proxy_bucket {
	raw_spinlock_t		lock;
	unsigned int		nr;
	struct hlist_head	head;
} ____cacheline_aligned_in_smp;

#define PROXY_HASH_BITS		7

static struct proxy_bucket proxy_buckets[1 << PROXY_HASH_BITS] = {
	[0 ... (1 << PROXY_HASH_BITS) - 1] = {
		.lock = __RAW_SPIN_LOCK_UNLOCKED(proxy_bucket.lock),
	},
};

/* task_struct::proxy_flags */
#define PROXY_AWAITED		1	/* perhaps somebody awaits this task */
#define PROXY_IN_CYCLE		2	/* its deadlock was reported */
#define PROXY_FLUSH_MISSED	4	/* it was awake when its flush got an owner */

static struct proxy_bucket *proxy_bucket(struct task_struct *awaited)
{
	return &proxy_buckets[hash_ptr(awaited, PROXY_HASH_BITS)];
}

/*
 * What cannot be done here and now, under rq->lock: to put blocked tasks on the
 * runqueue of an owner, or to wake them. A wake_q takes any number, but a task
 * that is on somebody's already is woken by that somebody, who may be starving:
 * so it is for the few that the array has no room for. Filled by its own CPU
 * with interrupts disabled, and emptied there but when that CPU has gone
 * offline: ->lock, a leaf, is for that.
 */
struct proxy_waker {
	struct irq_work		work;
	raw_spinlock_t		lock;
	int			nr;
	struct {
		struct task_struct	*task;
		struct task_struct	*owner;	/* or NULL: wake it */
	} todo[8];
	struct wake_q_head	wake_q;
};

static void proxy_waker_func(struct irq_work *work)
{
	struct proxy_waker *waker = container_of(work, struct proxy_waker, work);
	struct wake_q_head wake_q;

	/* The wakeups may add to both; then this is queued again. */
	for (;;) {
		struct task_struct *p = NULL, *owner;

		scoped_guard (raw_spinlock, &waker->lock) {
			if (waker->nr) {
				p = waker->todo[--waker->nr].task;
				owner = waker->todo[waker->nr].owner;
				break;
			}
			wake_q.first = waker->wake_q.first;
			if (wake_q.first)
				wake_q_init(&waker->wake_q);
		}
		if (!p)
			break;
		/* A deadline task's bandwidth is accounted where it wakes. */
		if (owner && !dl_prio(READ_ONCE(p->prio)))
			proxy_enqueue(p, owner);
		else
			wake_up_process(p);
		if (owner)
			put_task_struct(owner);
		put_task_struct(p);
	}
	if (wake_q.first)
		wake_up_q(&wake_q);
}

static DEFINE_PER_CPU(struct proxy_waker, proxy_waker) = {
	.work = IRQ_WORK_INIT_HARD(proxy_waker_func),
	.lock = __RAW_SPIN_LOCK_UNLOCKED(proxy_waker.lock),
};

/* @p is to be enqueued to lend to @owner, or to be woken, if that is NULL. */
static void proxy_wake_add(struct proxy_waker *waker, struct task_struct *p,
			   struct task_struct *owner)
{
	guard(raw_spinlock)(&waker->lock);
	if (waker->nr < ARRAY_SIZE(waker->todo)) {
		waker->todo[waker->nr].task = get_task_struct(p);
		waker->todo[waker->nr++].owner = owner ? get_task_struct(owner) : NULL;
	} else {
		/* Whoever is on a wake_q has to be woken: others may rely on it. */
		if (!waker->wake_q.lastp)
			wake_q_init(&waker->wake_q);
		wake_q_add(&waker->wake_q, p);
	}
	__this_cpu_inc(proxy_stats.enqueued);
}

/* proxy_wake_later(), or, with an @owner, proxy_enqueue() later */
static void proxy_enqueue_later(struct task_struct *p, struct task_struct *owner)
{
	struct proxy_waker *waker = this_cpu_ptr(&proxy_waker);

	lockdep_assert_irqs_disabled();
	proxy_wake_add(waker, p, owner);
	proxy_irq_work_queue(&waker->work);
}

/**
 * proxy_wake_later - wake a task from where the scheduler cannot be called
 * @p: a task that sleeps, or is queued as a donor, and copes with a spurious
 *     wakeup, as all that can be blocked on something do
 *
 * Context: interrupts disabled; any lock may be held.
 */
void proxy_wake_later(struct task_struct *p)
{
	proxy_enqueue_later(p, NULL);
}

/* @p leaves its bucket, whose lock is held. */
static void proxy_left(struct task_struct *p)
{
	proxy_bucket(p->proxy_awaits)->nr--;
	hlist_del_init(&p->proxy_node);
	smp_store_release(&p->proxy_awaits, NULL);	/* pairs with proxy_forget() */
}

static void proxy_forget(struct task_struct *p)
{
	/* Pairs with proxy_left(): who finds it gone may put it into another bucket. */
	struct task_struct *awaited = smp_load_acquire(&p->proxy_awaits);
	struct proxy_bucket *b;

	if (!awaited)
		return;
	b = proxy_bucket(awaited);
	guard(raw_spinlock)(&b->lock);
	/* It may have been taken off in between; nobody can put it back. */
	if (p->proxy_awaits != awaited)
		return;
	proxy_left(p);
}

/*
 * Put @p down to be woken when @owner is. Only who holds @p's blocked_lock puts
 * it down. It is taken off under the bucket's lock alone.
 */
static void proxy_put_down(struct task_struct *p, struct task_struct *owner)
{
	struct proxy_bucket *b = proxy_bucket(owner);

	lockdep_assert_held(&p->blocked_lock);
	if (READ_ONCE(p->proxy_awaits) == owner && READ_ONCE(owner->proxy_flags) & PROXY_AWAITED)
		return;
	proxy_forget(p);
	guard(raw_spinlock)(&b->lock);
	hlist_add_head(&p->proxy_node, &b->head);
	b->nr++;
	WRITE_ONCE(p->proxy_awaits, owner);
	WRITE_ONCE(owner->proxy_flags, owner->proxy_flags | PROXY_AWAITED);
}

/*
 * Anybody can have any number of tasks wait for a mutex. A wakeup looks at all that
 * are in a bucket: of the weak ones, so many have a place there.
 */
#define PROXY_WEAK_MAX		64

/*
 * Does @owner need what the weak @p can lend? Not if it has as large a share of
 * the same group's time.
 */
static bool proxy_weak_helps(struct task_struct *p, struct task_struct *owner)
{
	return proxy_weak(owner) &&
	       (task_group(p) != task_group(owner) ||
		READ_ONCE(p->se.load.weight) > READ_ONCE(owner->se.load.weight));
}

/**
 * proxy_await - put a blocked task down to be woken when a sleeping one is
 * @p: the task, with its edge locked
 * @owner: the task to await, under RCU
 * @donor: who would lend
 * @lender: who will have to sleep; a server may have picked a weaker @donor
 *
 * Return: true if @owner sleeps and will see @p, or nobody could help it; false
 * if it is on a runqueue.
 */
bool proxy_await(struct task_struct *p, struct task_struct *owner, struct task_struct *donor,
		 struct task_struct *lender)
{
	if (proxy_weak(donor) && proxy_weak(lender) &&
	    (READ_ONCE(proxy_bucket(owner)->nr) >= PROXY_WEAK_MAX ||
	     !proxy_weak_helps(donor, owner)))
		return true;
	proxy_put_down(p, owner);
	/* Pairs with proxy_awake(). */
	smp_mb();
	return !task_is_runnable(owner);
}

/**
 * proxy_await_only - a blocked task awaits nobody but its owner
 * @p: the task, with its edge locked
 * @owner: the owner of what it is blocked on, which can run
 *
 * It must not be moved when a former owner wakes.
 */
void proxy_await_only(struct task_struct *p, struct task_struct *owner)
{
	struct task_struct *awaited = READ_ONCE(p->proxy_awaits);

	if (unlikely(awaited && awaited != owner))
		proxy_forget(p);
}

/**
 * proxy_await_blocked - put a blocked task down to be woken when another one is
 * @p: the task, with its edge locked
 * @owner: the task to await, under RCU, which was seen to be blocked itself
 *
 * Return: true if @owner is, and will see @p; false if it has been woken.
 */
bool proxy_await_blocked(struct task_struct *p, struct task_struct *owner)
{
	proxy_put_down(p, owner);
	/* As in proxy_await(): proxy_unblock() comes before proxy_awake(). */
	smp_mb();
	return READ_ONCE(owner->blocked_on);
}

/* So many sleepers a wakeup passes over; the next ones it wakes. */
#define PROXY_AWAKE_TODO	8

struct proxy_awaited {
	struct task_struct	*task;
	bool			over_flush;
};

/*
 * @task has woken up, or waits for @owner now. Of those who await @it, that is
 * @task or one who awaits it, have whoever should look again enqueued to lend to
 * @owner, and put those on @todo who may be awaited in turn. Returns how many
 * there are then.
 */
static int proxy_wake_awaiting(struct proxy_waker *waker, struct task_struct *owner,
			       struct task_struct *task,
			       struct proxy_awaited it, struct proxy_awaited *todo, int n)
{
	struct proxy_bucket *b = proxy_bucket(it.task);
	struct task_struct *p, *weak = NULL;
	int queued_on = -1;
	bool left = false;

	guard(raw_spinlock)(&b->lock);
	hlist_for_each_entry(p, &b->head, proxy_node) {
		bool flush, strong;

		/* It exists as long as it is here, see proxy_task_dead(). */
		if (p->proxy_awaits != it.task)
			continue;
		left = true;
		/* Somebody who awaits nobody may lend to one that is queued. */
		strong = !proxy_weak(p) || task_is_runnable(p);
		/* Of weak ones that are queued, one is enough: its CPU looks again. */
		if (!proxy_weak(p) || (strong && task_cpu(p) != queued_on)) {
			if (proxy_weak(p))
				queued_on = task_cpu(p);
			proxy_wake_add(waker, p, owner);
		}
		flush = it.over_flush || blocked_on_strong_only(READ_ONCE(p->blocked_on));
		if (!strong && !flush && (!weak || p->prio < weak->prio) &&
		    proxy_weak_helps(p, task))
			weak = p;
		if (!(READ_ONCE(p->proxy_flags) & PROXY_AWAITED))
			continue;
		if (n < PROXY_AWAKE_TODO)
			todo[n++] = (struct proxy_awaited){ p, flush };
		else
			proxy_wake_add(waker, p, NULL);
	}
	if (weak && weak->proxy_awaits == it.task)
		proxy_wake_add(waker, weak, owner);
	if (!left)
		WRITE_ONCE(it.task->proxy_flags, it.task->proxy_flags & ~PROXY_AWAITED);
	return n;
}

/**
 * __proxy_awake - wake those who await a task
 * @task: has become runnable, or waits for another one now
 * @owner: that one, or @task
 *
 * The strong ones will lend to it, and so may those that are queued, what was
 * lent to them. Of the weak ones that sleep in wait for a mutex one is enough,
 * and none if @task is no weaker: a crowd would come running at each wakeup of
 * an owner that sleeps often. The weak ones that would have to lend along a
 * flush sleep on. But those who await one that sleeps on are looked for in turn.
 *
 * Context: interrupts disabled. rq->lock may be held.
 */
void __proxy_awake(struct task_struct *task, struct task_struct *owner)
{
	struct proxy_waker *waker = this_cpu_ptr(&proxy_waker);
	struct proxy_awaited todo[PROXY_AWAKE_TODO];
	int n = 0, limit = PROXY_MAX_DEPTH;

	lockdep_assert_irqs_disabled();
	if (!(READ_ONCE(task->proxy_flags) & PROXY_AWAITED))
		return;

	todo[n++] = (struct proxy_awaited){ task, false };
	while (n && limit--) {
		n--;
		n = proxy_wake_awaiting(waker, owner, task, todo[n], todo, n);
	}
	/* Too many: let them tell the rest when they wake up. */
	while (n)
		proxy_wake_add(waker, todo[--n].task, NULL);
	if (READ_ONCE(waker->nr))
		proxy_irq_work_queue(&waker->work);
}

static void proxy_mark(struct task_struct *p, u8 mark, bool set)
{
	guard(raw_spinlock)(&proxy_bucket(p)->lock);
	WRITE_ONCE(p->proxy_flags, (p->proxy_flags & ~mark) | (set ? mark : 0));
}

/*
 * @p will run: it is blocked on nothing, and awaits nobody. In this order: who
 * puts it down as awaiting somebody has seen, under its blocked_lock, that it
 * is blocked.
 */
void __proxy_unblock(struct task_struct *p)
{
	if (READ_ONCE(p->blocked_on))
		clear_task_blocked_on(p, NULL);
	proxy_forget(p);
	if (unlikely(READ_ONCE(p->proxy_flags) & PROXY_IN_CYCLE))
		proxy_mark(p, PROXY_IN_CYCLE, false);
}

/**
 * __proxy_task_dead - a task will not be blocked on anything any more
 * @p: current, at its end
 */
void __proxy_task_dead(struct task_struct *p)
{
	guard(irqsave)();
	proxy_forget(p);
}

void __sched_proxy_recheck(void)
{
	guard(irqsave)();
	if (READ_ONCE(this_rq()->donor) != current)
		set_need_resched_current();
}

static void lock_mutex_edge(struct blocked_edge *edge, struct mutex *mutex)
{
	edge->owner = __mutex_owner(mutex);
	if (!edge->owner)
		edge->state = EDGE_FREE;
	else if (edge->owner == edge->task)
		edge->state = EDGE_SELF;
}

#ifdef CONFIG_SCHED_PROXY_FLUSH

static void lock_rwsem_edge(struct blocked_edge *edge, struct rw_semaphore *sem)
{
	bool busy = false;

	/* It may be unlocked just now: then whoever is next will be woken. */
	edge->owner = rwsem_writer(sem, &busy);
	if (busy)
		edge->state = EDGE_BUSY;
	else if (!edge->owner || edge->owner == edge->task)
		edge->state = EDGE_NOBODY;
}

static void lock_percpu_rwsem_edge(struct blocked_edge *edge, struct percpu_rw_semaphore *sem)
{
#ifdef CONFIG_PROXY_PERCPU_RWSEM
	edge->owner = percpu_rwsem_writer(sem);
#endif
	if (!edge->owner || edge->owner == edge->task)
		edge->state = EDGE_NOBODY;
}

static void lock_flush_edge(struct blocked_edge *edge, struct flush_wait *wait, bool ask)
{
	/* From here on whoever changes the owner says so. */
	if (ask && !wait->asked) {
		WRITE_ONCE(wait->asked, true);
		smp_mb();	/* pairs with flush_wait_set_owner() */
	}
	edge->owner = READ_ONCE(wait->owner);
	edge->tentative = !READ_ONCE(wait->assigned);
	if (!edge->owner)
		edge->state = EDGE_NOBODY;
	if (!ask || !edge->tentative || !wait->wq)
		return;
	/* One of many sleeps: there may be another one that can run. */
	if (edge->owner ? list_empty(&wait->pool_entry) && !task_is_runnable(edge->owner)
			: !wait->linked) {
		wait->linked = true;
		flush_wait_want_owner(wait);
	}
}

static void *flush_func(unsigned long on)
{
	return ((struct flush_wait *)blocked_on_object(on))->func;
}

#else

static void lock_rwsem_edge(struct blocked_edge *edge, struct rw_semaphore *sem) { }
static void lock_percpu_rwsem_edge(struct blocked_edge *edge, struct percpu_rw_semaphore *sem) { }
static void lock_flush_edge(struct blocked_edge *edge, struct flush_wait *wait, bool ask) { }
static void *flush_func(unsigned long on) { return NULL; }

#endif /* CONFIG_SCHED_PROXY_FLUSH */

/**
 * proxy_lock_edge - name the owner of what a task is blocked on
 * @p: a blocked task; under RCU
 * @queued: @p is queued on the runqueue of this CPU, whose lock is held
 * @ask: who walks lends along a flush: if it has no owner yet, have one found
 *
 * How the owner is found depends on the kind of the object.
 *
 * Context: interrupts disabled. Pairs with proxy_unlock_edge().
 *
 * Return: the edge. It stays what it is until proxy_unlock_edge(), with one
 * exception: the worker that a work has been assigned to finishes on its own.
 */
struct blocked_edge proxy_lock_edge(struct task_struct *p, bool queued, bool ask)
{
	struct blocked_edge edge = { .task = p, .state = EDGE_OWNED, };
	unsigned long on = READ_ONCE(p->blocked_on);
	struct mutex *mutex;

	/* A queued task cannot leave: what it waits for stays. */
	if (queued && on && blocked_on_kind(on) == BLOCKED_ON_MUTEX) {
		mutex = blocked_on_object(on);
		raw_spin_lock(&mutex->wait_lock);
		edge.lock = &mutex->wait_lock;
	}
	raw_spin_lock(&p->blocked_lock);
	if (edge.lock && p->blocked_on != on) {
		edge.state = p->blocked_on ? EDGE_BUSY : EDGE_NONE;
		return edge;
	}
	on = p->blocked_on;
	if (!on) {
		edge.state = EDGE_NONE;
		return edge;
	}

	edge.on = on;
	switch (blocked_on_kind(on)) {
	case BLOCKED_ON_MUTEX:
		mutex = blocked_on_object(on);
		if (!edge.lock) {
			if (!raw_spin_trylock(&mutex->wait_lock)) {
				edge.state = EDGE_BUSY;
				break;
			}
			edge.lock = &mutex->wait_lock;
		}
		lock_mutex_edge(&edge, mutex);
		if (queued)
			edge.donor = p;
		break;
	case BLOCKED_ON_FLUSH:
	case BLOCKED_ON_COMPLETION:
		lock_flush_edge(&edge, blocked_on_object(on), ask);
		break;
	case BLOCKED_ON_RWSEM:
		lock_rwsem_edge(&edge, blocked_on_object(on));
		break;
	case BLOCKED_ON_PERCPU_RWSEM:
		lock_percpu_rwsem_edge(&edge, blocked_on_object(on));
		break;
	}
	return edge;
}

/**
 * proxy_unlock_edge - let go of what proxy_lock_edge() held still
 * @edge: the edge
 */
void proxy_unlock_edge(struct blocked_edge *edge)
{
	raw_spin_unlock(&edge->task->blocked_lock);
	if (edge->lock)
		raw_spin_unlock(edge->lock);
}

void proxy_walk_start(struct proxy_walk *walk, struct task_struct *donor)
{
	walk->mark = donor;
	walk->next_mark = 1;
	walk->depth = 0;
	walk->flushes = 0;
	walk->promoted = 0;
}

/**
 * proxy_walk_hop - note that a walk follows an edge
 * @walk: the walk
 * @edge: the edge
 *
 * Brent's algorithm: every task is compared with one that was met before, and
 * that one is chosen anew at each power of two. It needs no memory and finds a
 * cycle after three times its length and the way to it at most.
 *
 * Return: false if @edge closes a cycle, or the walk is too long.
 */
bool proxy_walk_hop(struct proxy_walk *walk, const struct blocked_edge *edge)
{
	if (walk->depth < PROXY_TRACE_HOPS) {
		walk->hop[walk->depth].pid = edge->task->pid;
		walk->hop[walk->depth].kind = blocked_on_kind(edge->on);
	}
	if (blocked_on_strong_only(edge->on)) {
		walk->flushes++;
		walk->promoted += proxy_weak(edge->task);
	}
	walk->depth++;
	if (edge->owner == walk->mark || walk->depth > PROXY_MAX_DEPTH)
		return false;
	if (walk->depth == walk->next_mark) {
		walk->mark = edge->owner;
		walk->next_mark *= 2;
	}
	return true;
}

#ifdef CONFIG_SCHED_PROXY_FLUSH

/*
 * The limit. Work items are queued by anybody, and some run for as long as their
 * user likes. So a task lends along flushes for so long in one wait, then it
 * sleeps, and the stall server goes on in slices. A chain of mutexes alone has
 * no limit: who holds a mutex can be held responsible for it.
 *
 * task_struct::proxy_lent_wait is what was lent in the present wait. It is
 * written, as the two sums, under rq->lock of the CPU that the donor is queued
 * on, and cleared by the task itself when it is about to block. The timer of a
 * CPU is armed while something bounded is lent there.
 */
#define PROXY_LIMIT_US		100000

/* In ->proxy_lent_wait: the trace event was written. */
#define PROXY_LIMIT_TOLD	BIT_ULL(63)

/* Timers fire late, and the clocks differ by a little. */
#define PROXY_LIMIT_SLACK_NS	(1 * NSEC_PER_USEC)

/* In microseconds; 0: there is none. No timer before the initcall. */
static unsigned int proxy_limit_us;

struct proxy_limit {
	struct hrtimer	timer;
	u64		at;		/* rq_clock(), under rq->lock */
};

static DEFINE_PER_CPU(struct proxy_limit, proxy_limits);

/* How much @donor may still lend in this wait */
static s64 proxy_limit_left(struct task_struct *donor)
{
	unsigned int limit_us = READ_ONCE(proxy_limit_us);
	u64 lent = donor->proxy_lent_wait & ~PROXY_LIMIT_TOLD;

	return limit_us ? (u64)limit_us * NSEC_PER_USEC - lent : S64_MAX;
}

static void proxy_limit_start(struct rq *rq, struct task_struct *donor)
{
	struct proxy_limit *l = this_cpu_ptr(&proxy_limits);
	s64 left = proxy_limit_left(donor);

	if (left == S64_MAX)
		return;
	rq->proxy_bounded = true;
	if (rq->proxy_limit_armed && l->at <= rq_clock(rq) + left)
		return;
	rq->proxy_limit_armed = true;
	l->at = rq_clock(rq) + left;
	hrtimer_start(&l->timer, ns_to_ktime(left), HRTIMER_MODE_REL_PINNED_HARD);
}

/* Account what was lent: the same donor may be picked again, or put to sleep. */
void __proxy_limit_pick(struct rq *rq)
{
	rq->donor->sched_class->update_curr(rq);
	rq->proxy_bounded = false;
}

/* Nothing bounded is lent here any more. */
void __proxy_limit_stop(struct rq *rq)
{
	/* If it fires now, it has to wait for rq->lock, and finds nothing to do. */
	hrtimer_try_to_cancel(&this_cpu_ptr(&proxy_limits)->timer);
	rq->proxy_limit_armed = false;
}

static enum hrtimer_restart proxy_limit_timer(struct hrtimer *timer)
{
	struct rq *rq = this_rq();

	guard(rq_lock)(rq);
	/* Armed anew while this waited for the lock */
	if (hrtimer_is_queued(timer))
		return HRTIMER_NORESTART;
	rq->proxy_limit_armed = false;
	if (!rq->proxy_bounded)
		return HRTIMER_NORESTART;
	sched_clock_tick();
	update_rq_clock(rq);
	rq->donor->sched_class->update_curr(rq);
	if (proxy_limit_left(rq->donor) > (s64)PROXY_LIMIT_SLACK_NS)
		proxy_limit_start(rq, rq->donor);
	else
		resched_curr(rq);

	return HRTIMER_NORESTART;
}

/**
 * proxy_walk_spent - has a donor lent as much in this wait as it may?
 * @walk: a walk that has ended at a task that can run
 * @rq: this CPU's runqueue, locked
 * @donor: where it started
 * @owner: where it ended
 *
 * If not, and there is a limit, it holds from now on.
 *
 * Return: true if @donor has to sleep.
 */
bool proxy_walk_spent(struct proxy_walk *walk, struct rq *rq, struct task_struct *donor,
		      struct task_struct *owner)
{
	if (!walk->flushes || proxy_weak(donor))
		return false;
	if (proxy_limit_left(donor) > (s64)PROXY_LIMIT_SLACK_NS) {
		proxy_limit_start(rq, donor);
		return false;
	}
	if (!(donor->proxy_lent_wait & PROXY_LIMIT_TOLD)) {
		trace_sched_proxy_limit(donor, owner, donor->proxy_lent_wait);
		donor->proxy_lent_wait |= PROXY_LIMIT_TOLD;
		__this_cpu_inc(proxy_stats.limited);
	}
	stall_lent_out(rq);
	return true;
}

static const struct ctl_table proxy_sysctls[] = {
	{
		.procname	= "proxy_flush_limit_us",
		.data		= &proxy_limit_us,
		.maxlen		= sizeof(unsigned int),
		.mode		= 0644,
		.proc_handler	= proc_douintvec,
	},
};

static int __init proxy_limit_init(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		hrtimer_setup(&per_cpu(proxy_limits, cpu).timer, proxy_limit_timer,
			      CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
	WRITE_ONCE(proxy_limit_us, PROXY_LIMIT_US);
	register_sysctl_init("kernel", proxy_sysctls);
	return 0;
}
late_initcall(proxy_limit_init);

#endif /* CONFIG_SCHED_PROXY_FLUSH */

static const char *const proxy_kind[] = {
	[BLOCKED_ON_MUTEX] = "mutex",
	[BLOCKED_ON_FLUSH] = "flush",
	[BLOCKED_ON_COMPLETION] = "completion",
	[BLOCKED_ON_RWSEM] = "rwsem",
	[BLOCKED_ON_PERCPU_RWSEM] = "percpu_rwsem",
};

static void trace_lend(struct proxy_walk *walk, struct task_struct *donor,
		       struct task_struct *owner)
{
	char chain[PROXY_TRACE_HOPS * 20 + 20];
	int i, n = 0;

	for (i = 0; i < min(walk->depth, PROXY_TRACE_HOPS); i++)
		n += scnprintf(chain + n, sizeof(chain) - n, "%d-%s>", walk->hop[i].pid,
			       proxy_kind[walk->hop[i].kind]);
	if (walk->depth > PROXY_TRACE_HOPS)
		n += scnprintf(chain + n, sizeof(chain) - n, "..>");
	scnprintf(chain + n, sizeof(chain) - n, "%d", owner->pid);
	trace_sched_proxy_lend(donor, owner, walk->depth, chain);
}

/**
 * proxy_walk_lent - a walk has ended at a task that can run
 * @walk: the walk
 * @rq: this CPU's runqueue, locked
 * @donor: where it started
 * @owner: where it ended
 */
void proxy_walk_lent(struct proxy_walk *walk, struct rq *rq, struct task_struct *donor,
		     struct task_struct *owner)
{
	/* Not when they just go on after a look around. */
	if (rq->proxy_donor == donor && rq->proxy_owner == owner)
		return;
	rq->proxy_donor = donor;
	rq->proxy_owner = owner;

	if (walk->flushes) {
		__this_cpu_inc(proxy_stats.lent);
		__this_cpu_add(proxy_stats.promoted, walk->promoted);
	}
	if (walk->depth > READ_ONCE(proxy_max_depth))
		WRITE_ONCE(proxy_max_depth, walk->depth);
	if (trace_sched_proxy_lend_enabled())
		trace_lend(walk, donor, owner);
}

/*
 * The report of a cycle. Filled under rq->lock, printed from an irq_work. There
 * is one slot: deadlocks are rare, and the walk that finds one while another
 * one is being printed is made again.
 */
#define PROXY_CYCLE_SHOW	8

struct proxy_cycle_report {
	struct irq_work	work;
	atomic_t	busy;
	int		length;
	struct {
		char		comm[TASK_COMM_LEN];
		pid_t		pid;
		unsigned long	on;
		void		*func;
		const char	*lock;		/* its name, if lockdep knows one */
	} hop[PROXY_CYCLE_SHOW];
	char		symbol[KSYM_SYMBOL_LEN];
	/* All of them, as they were in the first round */
	struct {
		struct task_struct	*task;
		unsigned long		on;
		unsigned long		switches;
	} seen[PROXY_MAX_DEPTH];
};

/* The name of a lock, or "": never its bare address. */
static const char *mutex_name(struct proxy_cycle_report *r, int i)
{
	if (r->hop[i].lock)
		return r->hop[i].lock;
	sprint_symbol_no_offset(r->symbol, (unsigned long)blocked_on_object(r->hop[i].on));
	return r->symbol[0] == '0' ? "" : r->symbol;
}

static void proxy_cycle_print(struct irq_work *work)
{
	struct proxy_cycle_report *r = container_of(work, struct proxy_cycle_report, work);
	int i;

	pr_err("sched: proxy execution: %d tasks wait for each other, for ever:\n", r->length);
	for (i = 0; i < min(r->length, PROXY_CYCLE_SHOW); i++) {
		if (blocked_on_kind(r->hop[i].on) == BLOCKED_ON_MUTEX)
			pr_err("  %s:%d waits for mutex %s (%p), which is held by\n",
			       r->hop[i].comm, r->hop[i].pid, mutex_name(r, i),
			       blocked_on_object(r->hop[i].on));
		else if (blocked_on_kind(r->hop[i].on) == BLOCKED_ON_FLUSH)
			pr_err("  %s:%d flushes %ps, which is to be done by\n",
			       r->hop[i].comm, r->hop[i].pid, r->hop[i].func);
		else if (blocked_on_kind(r->hop[i].on) == BLOCKED_ON_RWSEM ||
			 blocked_on_kind(r->hop[i].on) == BLOCKED_ON_PERCPU_RWSEM)
			pr_err("  %s:%d waits for an rw_semaphore (%p), which is held by\n",
			       r->hop[i].comm, r->hop[i].pid, blocked_on_object(r->hop[i].on));
		else
			pr_err("  %s:%d waits for a completion by\n",
			       r->hop[i].comm, r->hop[i].pid);
	}
	if (r->length > PROXY_CYCLE_SHOW)
		pr_err("  ... and so on to\n");
	pr_err("  %s:%d\n", r->hop[0].comm, r->hop[0].pid);
	atomic_set_release(&r->busy, 0);
}

static struct proxy_cycle_report proxy_cycle_report = {
	.work = IRQ_WORK_INIT(proxy_cycle_print),
};

static void report_hop(struct proxy_cycle_report *r, int i, struct blocked_edge *edge)
{
	struct task_struct *p = edge->task;

	if (i >= PROXY_CYCLE_SHOW)
		return;
	get_task_comm(r->hop[i].comm, p);
	r->hop[i].pid = p->pid;
	r->hop[i].on = p->blocked_on;
	r->hop[i].lock = NULL;
	if (blocked_on_kind(p->blocked_on) == BLOCKED_ON_FLUSH)
		r->hop[i].func = flush_func(p->blocked_on);
	if (blocked_on_kind(p->blocked_on) != BLOCKED_ON_MUTEX)
		return;
#ifdef CONFIG_DEBUG_LOCK_ALLOC
	r->hop[i].lock = ((struct mutex *)blocked_on_object(p->blocked_on))->dep_map.name;
#endif
}

static void trace_cycle(struct proxy_cycle_report *r, struct task_struct *member)
{
	char chain[PROXY_CYCLE_SHOW * 20 + 20];
	int i, n = 0;

	for (i = 0; i < min(r->length, PROXY_CYCLE_SHOW); i++)
		n += scnprintf(chain + n, sizeof(chain) - n, "%d-%s>", r->hop[i].pid,
			       proxy_kind[blocked_on_kind(r->hop[i].on)]);
	scnprintf(chain + n, sizeof(chain) - n, "%s%d", r->length > PROXY_CYCLE_SHOW ? "..>" : "",
		  member->pid);
	trace_sched_proxy_cycle(member, r->length, chain);
}

static unsigned long nr_switches_of(struct task_struct *p)
{
	return READ_ONCE(p->nvcsw) + READ_ONCE(p->nivcsw);
}

/* Not blocked yet, or not any more, whatever ->blocked_on says. */
static bool is_awake(struct task_struct *p)
{
	return task_is_runnable(p) && !READ_ONCE(p->is_blocked);
}

static bool cycle_is_known(struct task_struct *member, bool *busy)
{
	struct task_struct *p = member;
	int left = PROXY_MAX_DEPTH;

	do {
		CLASS(blocked_edge, edge)(p, false, false);

		*busy = edge.state == EDGE_BUSY;
		if (edge.state != EDGE_OWNED || !(READ_ONCE(p->proxy_flags) & PROXY_IN_CYCLE))
			return false;
		p = edge.owner;
	} while (p != member && --left);
	return p == member;
}

/* The first round. Returns false if @member is in no cycle that can be told. */
static bool see_cycle(struct proxy_cycle_report *r, const struct proxy_walk *walk,
		      struct task_struct *member, bool *busy)
{
	struct task_struct *p = member;
	int n = 0;

	do {
		CLASS(blocked_edge, edge)(p, false, false);
		bool awake = edge.state == EDGE_OWNED && is_awake(p);

		/* Who is awake is in no cycle: a walk that was not too long will see that. */
		*busy = edge.state == EDGE_BUSY || (awake && walk->depth <= PROXY_MAX_DEPTH);
		if (*busy || awake || edge.state != EDGE_OWNED || edge.tentative ||
		    n == PROXY_MAX_DEPTH)
			return false;
		r->seen[n].task = p;
		r->seen[n].on = edge.on;
		r->seen[n++].switches = nr_switches_of(p);
		p = edge.owner;
	} while (p != member);
	r->length = n;
	return true;
}

/*
 * The second round. Tasks that are not on this runqueue move on while the walk
 * looks elsewhere. Who is blocked on the same as in the first round and has not
 * run in between was so all along: at the end of the first one, all were.
 */
static bool check_cycle(struct proxy_cycle_report *r)
{
	int i;

	for (i = 0; i < r->length; i++) {
		CLASS(blocked_edge, edge)(r->seen[i].task, false, false);

		if (edge.state != EDGE_OWNED || edge.tentative || is_awake(edge.task) ||
		    edge.on != r->seen[i].on ||
		    edge.owner != r->seen[(i + 1) % r->length].task ||
		    nr_switches_of(edge.task) != r->seen[i].switches)
			break;
		report_hop(r, i, &edge);
		/* When it wakes up, it is in no cycle any more: __proxy_unblock(). */
		proxy_mark(edge.task, PROXY_IN_CYCLE, true);
	}
	if (i == r->length)
		return true;
	while (i--)
		proxy_mark(r->seen[i].task, PROXY_IN_CYCLE, false);
	return false;
}

/**
 * proxy_walk_cycle - a walk has come back to where it was
 * @walk: the walk
 * @member: a task of the cycle, or, if the walk was too long, of the chain
 *
 * Goes round twice more, to see that it is true, and to name all. The tasks of
 * a cycle are marked, so that each deadlock is reported once, however many tasks
 * come to wait for one of these.
 *
 * Context: this CPU's rq->lock is held.
 *
 * Return: true if this cannot be lent along; false if it was not possible to
 * tell, or to report it, and the walk has to be made again.
 */
bool proxy_walk_cycle(const struct proxy_walk *walk, struct task_struct *member)
{
	struct proxy_cycle_report *r = &proxy_cycle_report;
	bool busy;

	if (cycle_is_known(member, &busy))
		return true;
	if (busy)
		return false;
	if (atomic_cmpxchg_acquire(&r->busy, 0, 1))
		return false;
	if (!see_cycle(r, walk, member, &busy))
		goto out;
	if (!check_cycle(r)) {
		busy = true;
		goto out;
	}
	atomic_inc(&proxy_cycles);
	if (trace_sched_proxy_cycle_enabled())
		trace_cycle(r, member);
	irq_work_queue(&r->work);
	return true;
out:
	atomic_set_release(&r->busy, 0);
	return !busy;
}

#ifdef CONFIG_SCHED_PROXY_FLUSH

/* Chain walks read it, see lock_flush_edge(). */
void flush_wait_publish(struct flush_wait *wait, struct task_struct *owner)
{
	WRITE_ONCE(wait->owner, owner);
}

/* @flusher is awake while an owner was to be named. */
void flush_wait_missed(struct task_struct *flusher)
{
	proxy_mark(flusher, PROXY_FLUSH_MISSED, true);
}

/**
 * flush_wait_count_nobody - nobody was found who could end a flush
 *
 * Context: interrupts disabled.
 */
void flush_wait_count_nobody(void)
{
	__this_cpu_inc(proxy_stats.no_owner);
}

/* current blocks on @wait, and holds its own ->blocked_lock. */
static void flush_wait_ask_again(struct flush_wait *wait)
{
	proxy_mark(current, PROXY_FLUSH_MISSED, false);
	if (!wait->wq || wait->assigned || (!wait->asked && proxy_weak(current)))
		return;
	wait->linked = true;
	flush_wait_want_owner(wait);
}

/* Those who look at the owner to lend to it look again. */
void flush_wait_tell(struct flush_wait *wait)
{
	__proxy_awake(wait->task, wait->owner);
	if (!proxy_weak(wait->task))
		proxy_enqueue_later(wait->task, wait->owner);
}

/* A strong flusher has an owner found before it blocks. */
static void flush_wait_prepare(struct completion *x, struct flush_wait *wait)
{
	struct flush_wait_ref ref = flush_wait_ref(wait);

	guard(preempt)();
	guard(rcu)();
	/* With it the pool may go. From here on RCU keeps it. */
	if (completion_done(x))
		return;
	scoped_guard (raw_spinlock_irqsave, &current->blocked_lock)
		__set_task_blocked_on_object(current, wait, BLOCKED_ON_FLUSH);
	wq_flush_find_owner(&ref);
	clear_task_blocked_on(current, NULL);
}

/**
 * wait_for_completion_flush - wait for a work, and lend to who does it
 * @x: the completion that ends the wait
 * @wait: who has to run for that
 *
 * wait_for_completion(), but that the task is known to be blocked on @wait
 * while it sleeps, and stays on the runqueue as a donor if it is of a real-time
 * or the deadline class.
 */
void __sched wait_for_completion_flush(struct completion *x, struct flush_wait *wait)
{
	DECLARE_SWAITQUEUE(node);
	u64 lent = 0;

	if (!sched_proxy_exec()) {
		wait_for_completion(x);
		return;
	}

	might_sleep();
	if (!proxy_weak(current) && wait->wq && !READ_ONCE(wait->owner))
		flush_wait_prepare(x, wait);

	complete_acquire(x);
	raw_spin_lock_irq(&x->wait.lock);
	while (!x->done) {
		__prepare_to_swait(&x->wait, &node);
		__set_current_state(TASK_UNINTERRUPTIBLE);
		/* As a mutex waiter: no preemption between this and schedule(). */
		preempt_disable();
		raw_spin_unlock(&x->wait.lock);

		raw_spin_lock(&current->blocked_lock);
		__set_task_blocked_on_object(current, wait, wait->kind);
		/* If it was woken to lend again, this is the same wait. */
		current->proxy_lent_wait = lent;
		if (unlikely(READ_ONCE(current->proxy_flags) & PROXY_FLUSH_MISSED))
			flush_wait_ask_again(wait);
		raw_spin_unlock_irq(&current->blocked_lock);

		schedule_preempt_disabled();
		lent = current->proxy_lent_wait;

		raw_spin_lock_irq(&current->blocked_lock);
		__clear_task_blocked_on(current, NULL);
		raw_spin_unlock(&current->blocked_lock);

		raw_spin_lock(&x->wait.lock);
		preempt_enable();
	}
	__finish_swait(&x->wait, &node);
	if (x->done != UINT_MAX)
		x->done--;
	raw_spin_unlock_irq(&x->wait.lock);
	complete_release(x);
	if (wait->asked || wait->linked)
		flush_wait_done(wait);
}

/**
 * proxy_block_on - sleep, and lend to the owner of what is waited for
 * @object: it exists until this returns
 * @kind: what it is, one of BLOCKED_ON_*
 * @lent: 0 when a wait begins; the caller keeps it for when the wait goes on
 *
 * Context: preemption disabled, the task's state set.
 */
void __sched proxy_block_on(void *object, unsigned long kind, u64 *lent)
{
	scoped_guard (raw_spinlock_irq, &current->blocked_lock) {
		__set_task_blocked_on_object(current, object, kind);
		current->proxy_lent_wait = *lent;
	}
	schedule_preempt_disabled();
	*lent = current->proxy_lent_wait;
	clear_task_blocked_on(current, NULL);
}

static int proxy_flush_show(struct seq_file *m, void *v)
{
	struct proxy_stats sum = { };
	int cpu;

	for_each_possible_cpu(cpu) {
		struct proxy_stats *s = per_cpu_ptr(&proxy_stats, cpu);

		sum.lent += READ_ONCE(s->lent);
		sum.enqueued += READ_ONCE(s->enqueued);
		sum.promoted += READ_ONCE(s->promoted);
		sum.no_owner += READ_ONCE(s->no_owner);
		sum.limited += READ_ONCE(s->limited);
	}
	seq_printf(m, "lent: %llu\n", sum.lent);
	seq_printf(m, "enqueued: %llu\n", sum.enqueued);
	seq_printf(m, "promoted: %llu\n", sum.promoted);
	seq_printf(m, "cycles: %d\n", atomic_read(&proxy_cycles));
	seq_printf(m, "max_depth: %d\n", READ_ONCE(proxy_max_depth));
	seq_printf(m, "no_owner: %llu\n", sum.no_owner);
	seq_printf(m, "limited: %llu\n", sum.limited);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(proxy_flush);

void __init proxy_debugfs_init(struct dentry *sched)
{
	debugfs_create_file("proxy_flush", 0444, sched, NULL, &proxy_flush_fops);
}

#endif /* CONFIG_SCHED_PROXY_FLUSH */
