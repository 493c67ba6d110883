/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Proxy execution: what the chain walk in core.c needs. See proxy_exec.c.
 */
#ifndef _KERNEL_SCHED_PROXY_EXEC_H
#define _KERNEL_SCHED_PROXY_EXEC_H

/* What a task is blocked on, as the walk sees it. */
enum blocked_edge_state {
	EDGE_OWNED,	/* ->owner has to run next */
	EDGE_NONE,	/* blocked on nothing any more: a wakeup is under way */
	EDGE_FREE,	/* has no owner, whoever tries first gets it */
	EDGE_SELF,	/* the task has it already, and waits for ever */
	EDGE_NOBODY,	/* nobody can be named */
	EDGE_BUSY,	/* a lock could not be had under rq->lock */
};

/*
 * The edge from a blocked task to the owner of what it is blocked on, held
 * still: between proxy_lock_edge() and proxy_unlock_edge() ->task is blocked on
 * this object, and the object exists.
 */
struct blocked_edge {
	struct task_struct	*task;
	struct task_struct	*owner;		/* RCU */
	struct task_struct	*donor;		/* for owner->blocked_donor */
	unsigned long		on;		/* ->task's blocked_on */
	raw_spinlock_t		*lock;		/* held, besides ->blocked_lock */
	enum blocked_edge_state	state;
	bool			tentative;	/* the owner may be another one soon */
};

struct blocked_edge proxy_lock_edge(struct task_struct *p, bool queued, bool ask);
void proxy_unlock_edge(struct blocked_edge *edge);

DEFINE_CLASS(blocked_edge, struct blocked_edge, proxy_unlock_edge(&_T),
	     proxy_lock_edge(p, queued, ask), struct task_struct *p, bool queued, bool ask)

/*
 * No walk follows more edges than this. Deadlocked tasks form a cycle, which a
 * walk would follow for ever with rq->lock held, and user space can build chains
 * of any length.
 */
#define PROXY_MAX_DEPTH		64

/* No more donors are put to sleep, or moved, before others get rq->lock. */
#define PROXY_MAX_WALKS		16

/* How far a walk went, and what it met. */
#define PROXY_TRACE_HOPS	8

struct proxy_walk {
	struct task_struct	*mark;		/* Brent's cycle detection */
	int			next_mark;
	int			depth;
	u8			flushes;	/* edges that are not locks */
	u8			promoted;	/* weak tasks that sleep in one */
	struct {
		pid_t		pid;
		u8		kind;
	} hop[PROXY_TRACE_HOPS];
};

static inline bool proxy_weak(struct task_struct *p)
{
	return !rt_or_dl_prio(READ_ONCE(p->prio));
}

/* A CPU that goes offline wakes others to its end, but runs no irq_work. */
static inline void proxy_irq_work_queue(struct irq_work *work)
{
	if (likely(cpu_online(smp_processor_id())))
		irq_work_queue(work);
	else
		irq_work_queue_on(work, cpumask_any(cpu_online_mask));
}

void proxy_walk_start(struct proxy_walk *walk, struct task_struct *donor);
bool proxy_walk_hop(struct proxy_walk *walk, const struct blocked_edge *edge);
void proxy_walk_lent(struct proxy_walk *walk, struct rq *rq, struct task_struct *donor,
		     struct task_struct *owner);
bool proxy_walk_cycle(const struct proxy_walk *walk, struct task_struct *member);

#ifdef CONFIG_SCHED_PROXY_FLUSH

bool proxy_walk_spent(struct proxy_walk *walk, struct rq *rq, struct task_struct *donor,
		      struct task_struct *owner);
void __proxy_limit_pick(struct rq *rq);
void __proxy_limit_stop(struct rq *rq);

/* What to run next is about to be picked. */
static inline void proxy_limit_pick(struct rq *rq)
{
	if (unlikely(rq->proxy_bounded))
		__proxy_limit_pick(rq);
}

/* A pick is over. */
static inline void proxy_limit_picked(struct rq *rq)
{
	if (unlikely(rq->proxy_limit_armed && !rq->proxy_bounded))
		__proxy_limit_stop(rq);
}

/* For @delta ns @running has run on the context of @donor. */
static inline void proxy_account_lent(struct rq *rq, struct task_struct *donor,
				      struct task_struct *running, u64 delta)
{
	if (!sched_proxy_exec() || donor == running || is_idle_task(donor))
		return;
	donor->proxy_lent += delta;
	running->proxy_borrowed += delta;
	if (rq->proxy_bounded)
		donor->proxy_lent_wait += delta;
}

#else /* !CONFIG_SCHED_PROXY_FLUSH */

static inline bool proxy_walk_spent(struct proxy_walk *walk, struct rq *rq,
				    struct task_struct *donor, struct task_struct *owner)
{
	return false;
}

static inline void proxy_limit_pick(struct rq *rq) { }
static inline void proxy_limit_picked(struct rq *rq) { }
static inline void proxy_account_lent(struct rq *rq, struct task_struct *donor,
				      struct task_struct *running, u64 delta) { }

#endif /* CONFIG_SCHED_PROXY_FLUSH */

bool proxy_await(struct task_struct *p, struct task_struct *owner, struct task_struct *donor,
		 struct task_struct *lender);
void proxy_await_only(struct task_struct *p, struct task_struct *owner);
bool proxy_await_blocked(struct task_struct *p, struct task_struct *owner);
void proxy_wake_later(struct task_struct *p);
void proxy_enqueue(struct task_struct *p, struct task_struct *owner);
void __proxy_unblock(struct task_struct *p);
void __proxy_awake(struct task_struct *p, struct task_struct *owner);
void __proxy_task_dead(struct task_struct *p);

#ifdef CONFIG_SCHED_PROXY_EXEC

/*
 * A task that might have been blocked on something is going to run. Called
 * before it can, with its pi_lock or its rq->lock held.
 */
static inline void proxy_unblock(struct task_struct *p)
{
	/* One branch for all three: this is in every wakeup. */
	if (sched_proxy_exec() && (READ_ONCE(p->blocked_on) | READ_ONCE(p->proxy_flags) |
				   (unsigned long)READ_ONCE(p->proxy_awaits)))
		__proxy_unblock(p);
}

/* A task is on the runqueue again: called after that, with rq->lock held. */
static inline void proxy_awake(struct task_struct *p)
{
	if (!sched_proxy_exec())
		return;
	/* Pairs with proxy_await(): it sees ->on_rq, or this sees the flag. */
	smp_mb();
	if (READ_ONCE(p->proxy_flags))
		__proxy_awake(p, p);
}

static inline void proxy_task_dead(struct task_struct *p)
{
	if (sched_proxy_exec() && READ_ONCE(p->proxy_awaits))
		__proxy_task_dead(p);
}

/* A blocked task may have become strong enough to lend, or too weak. */
static inline void proxy_class_changed(struct task_struct *p)
{
	if (sched_proxy_exec() && p->is_blocked && READ_ONCE(p->blocked_on))
		proxy_wake_later(p);
}

#else /* !CONFIG_SCHED_PROXY_EXEC */

static inline void proxy_unblock(struct task_struct *p) { }
static inline void proxy_awake(struct task_struct *p) { }
static inline void proxy_task_dead(struct task_struct *p) { }
static inline void proxy_class_changed(struct task_struct *p) { }

#endif /* CONFIG_SCHED_PROXY_EXEC */

#ifdef CONFIG_FLUSH_OWNERS

struct flush_wait;

void flush_wait_done(struct flush_wait *wait);

/* What proxy execution (proxy_exec.c) and priority inheritance (flush_pi.c) do each in its way */
void flush_wait_tell(struct flush_wait *wait);
void flush_wait_missed(struct task_struct *flusher);

#endif /* CONFIG_FLUSH_OWNERS */

#ifdef CONFIG_FLUSH_OWNERS
void proxy_debugfs_init(struct dentry *sched);
#else
static inline void proxy_debugfs_init(struct dentry *sched) { }
#endif

#endif /* _KERNEL_SCHED_PROXY_EXEC_H */
