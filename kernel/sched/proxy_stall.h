/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The scheduler's hooks for the stall monitor, see proxy_stall.c.
 *
 * While the monitor is off each hook is a patched-out branch.
 */
#ifndef _KERNEL_SCHED_PROXY_STALL_H
#define _KERNEL_SCHED_PROXY_STALL_H

#ifdef CONFIG_SCHED_STALL_MONITOR

DECLARE_STATIC_KEY_FALSE(stall_monitor_enabled);

void __stall_enqueue(struct rq *rq, struct task_struct *p);
void __stall_dequeue(struct rq *rq, struct task_struct *p, int flags);
void __stall_switch(struct rq *rq, struct task_struct *prev,
		    struct task_struct *next);
void __stall_donor_change(struct rq *rq);
void __stall_lent_out(struct rq *rq);

void stall_rq_init(struct rq *rq);
void stall_cpu_starting(unsigned int cpu);
void stall_cpu_active(unsigned int cpu);
void stall_cpu_dying(struct rq *rq);
void stall_isolation_update(bool done);
void stall_debugfs_init(struct dentry *sched);

static inline bool stall_watched(struct rq *rq)
{
	return rq->stall.state != STALL_OFF;
}

/*
 * Is what runs on @rq charged until it is switched out? It may be long before
 * __schedule() gets its turn: the clock has to be of then.
 */
static inline bool stall_charges(struct rq *rq)
{
	return static_branch_unlikely(&stall_monitor_enabled) &&
	       rq->stall.state >= STALL_READY;
}

/* @rq has a kthread that waits or is boosted. */
static inline bool stall_busy(struct rq *rq)
{
	return rq->stall.state > STALL_IDLE;
}

/* @p became runnable on @rq, or is still so with other parameters. */
static inline void stall_enqueue(struct rq *rq, struct task_struct *p)
{
	if (static_branch_unlikely(&stall_monitor_enabled) && stall_watched(rq) &&
	    ((p->flags & PF_KTHREAD) || stall_busy(rq)))
		__stall_enqueue(rq, p);
}

/* @p is about to leave @rq, be it only for a change of its parameters. */
static inline void stall_dequeue(struct rq *rq, struct task_struct *p, int flags)
{
	if (static_branch_unlikely(&stall_monitor_enabled) && stall_busy(rq))
		__stall_dequeue(rq, p, flags);
}

/* @rq->curr goes from @prev to @next; @rq->donor is up to date. */
static inline void stall_switch(struct rq *rq, struct task_struct *prev,
				struct task_struct *next)
{
	if (static_branch_unlikely(&stall_monitor_enabled) && stall_watched(rq) &&
	    (((prev->flags & PF_KTHREAD) && task_on_rq_queued(prev) &&
	      prev != rq->idle) || stall_busy(rq)))
		__stall_switch(rq, prev, next);
}

/* @rq->curr stays, @rq->donor may be another. */
static inline void stall_donor_change(struct rq *rq)
{
	if (static_branch_unlikely(&stall_monitor_enabled) && stall_busy(rq))
		__stall_donor_change(rq);
}

/* What runs on @rq on a context that was lent to it has to go on without. */
static inline void stall_lent_out(struct rq *rq)
{
	if (static_branch_unlikely(&stall_monitor_enabled) && stall_watched(rq))
		__stall_lent_out(rq);
}

static inline void stall_task_init(struct task_struct *p)
{
	INIT_LIST_HEAD(&p->stall_node);
	p->stall_since = 0;
	p->stall_ignored = 0;
}

static inline struct sched_dl_entity *stall_server(struct rq *rq)
{
	return &rq->stall.server;
}

/* How many of @rq->dl.dl_nr_running are the stall server: 0 or 1. */
static inline unsigned int stall_server_queued(struct rq *rq)
{
	return static_branch_unlikely(&stall_monitor_enabled) &&
	       dl_server_active(&rq->stall.server);
}

/* The stall server, while it lends to @p; under the lock of @p's runqueue. */
static inline const struct sched_dl_entity *
stall_task_server(const struct task_struct *p)
{
	if (static_branch_unlikely(&stall_monitor_enabled)) {
		struct rq *rq = task_rq(p);

		if (p == rq->stall.boosted && dl_server_active(&rq->stall.server))
			return &rq->stall.server;
	}
	return NULL;
}

#else /* !CONFIG_SCHED_STALL_MONITOR: */

static inline bool stall_charges(struct rq *rq) { return false; }
static inline void stall_enqueue(struct rq *rq, struct task_struct *p) { }
static inline void stall_dequeue(struct rq *rq, struct task_struct *p, int flags) { }
static inline void stall_switch(struct rq *rq, struct task_struct *prev,
				struct task_struct *next) { }
static inline void stall_donor_change(struct rq *rq) { }
static inline void stall_lent_out(struct rq *rq) { }
static inline void stall_task_init(struct task_struct *p) { }
static inline void stall_rq_init(struct rq *rq) { }
static inline void stall_cpu_starting(unsigned int cpu) { }
static inline void stall_cpu_active(unsigned int cpu) { }
static inline void stall_cpu_dying(struct rq *rq) { }
static inline void stall_isolation_update(bool done) { }
static inline void stall_debugfs_init(struct dentry *sched) { }
static inline struct sched_dl_entity *stall_server(struct rq *rq) { return NULL; }
static inline unsigned int stall_server_queued(struct rq *rq) { return 0; }
static inline const struct sched_dl_entity *
stall_task_server(const struct task_struct *p) { return NULL; }

#endif /* CONFIG_SCHED_STALL_MONITOR */

#endif /* _KERNEL_SCHED_PROXY_STALL_H */
