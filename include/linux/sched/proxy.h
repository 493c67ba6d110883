/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_SCHED_PROXY_H
#define _LINUX_SCHED_PROXY_H

#include <linux/sched.h>
#include <linux/completion.h>

struct worker_pool;
struct rw_semaphore;
struct workqueue_struct;
struct work_struct;

/**
 * struct flush_wait - what a task that flushes work is blocked on
 * @owner: the task that has to run for the flush to end, or NULL
 * @task: the flusher
 * @func: the function of the work item that is flushed, for reports, or NULL
 * @wq: whose work item or items, or NULL: a kthread_worker's
 * @pool: where the work item is, or NULL: all of @wq
 * @target: the first work item of those that the flush's barrier is linked to
 * @work: the pending work item that @owner is to take, only compared
 * @pool_entry: on worker_pool::flush_waits
 * @wq_entry: on workqueue_struct::flush_waits
 * @request: on the list of those that need an owner
 * @asked: a walk looked at @owner; its changes are told to it
 * @linked: it may be on a list
 * @assigned: nobody but @owner can end the flush
 * @kind: BLOCKED_ON_FLUSH, or what else @task waits for that has an owner
 *
 * Lives on the stack of the flusher, and is its ->blocked_on while it sleeps:
 * who holds its ->blocked_lock and finds it there may read all of this. @owner
 * and the lists are written under flush_wait_lock, @asked and @linked under the
 * flusher's ->blocked_lock. @owner does not go away for an RCU grace period.
 */
struct flush_wait {
#ifdef CONFIG_SCHED_PROXY_FLUSH
	struct task_struct	*owner;
	struct task_struct	*task;
	void			*func;
	struct workqueue_struct	*wq;
	struct worker_pool	*pool;
	struct work_struct	*target;
	struct work_struct	*work;
	struct list_head	pool_entry;
	struct list_head	wq_entry;
	struct list_head	request;
	bool			asked;
	bool			linked;
	bool			assigned;
	u8			kind;
#endif
} __aligned(BLOCKED_ON_KINDS + 1);	/* there are tag bits in pointers to it */

#ifdef CONFIG_SCHED_PROXY_FLUSH

extern raw_spinlock_t flush_wait_lock;

/**
 * struct flush_wait_ref - a flush that may be over
 * @wait: its address
 * @task: the flusher, with a reference held
 * @wq: what was @wait->wq, under RCU
 * @pool: what was @wait->pool, under RCU
 */
struct flush_wait_ref {
	struct flush_wait	*wait;
	struct task_struct	*task;
	struct workqueue_struct	*wq;
	struct worker_pool	*pool;
};

void wait_for_completion_flush(struct completion *x, struct flush_wait *wait);
void wait_for_completion_owned(struct completion *x, struct task_struct *owner);
bool flush_wait_is(struct flush_wait_ref *ref);
void flush_wait_assign(struct flush_wait *wait, struct task_struct *owner);
void flush_wait_set_owner(struct flush_wait *wait, struct task_struct *owner);
void flush_wait_name_owner(struct flush_wait_ref *ref, struct task_struct *owner,
			   struct work_struct *work, struct list_head *head, bool many);
void flush_wait_want_owner(struct flush_wait *wait);

/* In kernel/locking/rwsem.c */
struct task_struct *rwsem_writer(struct rw_semaphore *sem, bool *busy);

/* In kernel/workqueue.c */
void wq_flush_find_owner(struct flush_wait_ref *ref);

static inline void flush_wait_init(struct flush_wait *wait, struct workqueue_struct *wq,
				   struct task_struct *owner, void *func)
{
	*wait = (struct flush_wait){
		.task = current, .wq = wq, .func = func, .owner = owner, .assigned = owner,
		.kind = BLOCKED_ON_FLUSH,
		.pool_entry = LIST_HEAD_INIT(wait->pool_entry),
		.wq_entry = LIST_HEAD_INIT(wait->wq_entry),
		.request = LIST_HEAD_INIT(wait->request),
	};
}

#else /* !CONFIG_SCHED_PROXY_FLUSH */

static inline void wait_for_completion_flush(struct completion *x, struct flush_wait *wait)
{
	wait_for_completion(x);
}

static inline void wait_for_completion_owned(struct completion *x, struct task_struct *owner)
{
	wait_for_completion(x);
}

static inline void flush_wait_init(struct flush_wait *wait, struct workqueue_struct *wq,
				   struct task_struct *owner, void *func) { }

#endif /* CONFIG_SCHED_PROXY_FLUSH */

#ifdef CONFIG_SCHED_PROXY_EXEC

void __sched_proxy_recheck(void);

/**
 * sched_proxy_recheck - whoever lends to current should look again
 *
 * For a task that has done what it may have been lent a context for, and goes
 * on with something else. Any context.
 */
static inline void sched_proxy_recheck(void)
{
	if (sched_proxy_exec())
		__sched_proxy_recheck();
}

#else

static inline void sched_proxy_recheck(void) { }

#endif /* CONFIG_SCHED_PROXY_EXEC */

#endif /* _LINUX_SCHED_PROXY_H */
