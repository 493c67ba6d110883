/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_SCHED_PROXY_H
#define _LINUX_SCHED_PROXY_H

#include <linux/sched.h>
#include <linux/completion.h>
#include <linux/rtmutex.h>

struct worker_pool;
struct percpu_rw_semaphore;
struct rw_semaphore;
struct workqueue_struct;
struct work_struct;

void proxy_block_on(void *object, unsigned long kind, u64 *lent);

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
 * @ended: PREEMPT_RT: @task is about to be woken, nobody is to be named any more
 * @kind: BLOCKED_ON_FLUSH, or what else @task waits for that has an owner
 * @lock: PREEMPT_RT: what @task waits for and @owner owns, with a reference
 * @certain: PREEMPT_RT: @assigned, when @owner became the owner of @lock
 * @rewalk: PREEMPT_RT: @task has to hand @lock to @owner, or to walk on from it
 * @next: PREEMPT_RT: @owner, if @lock is to be handed to it, with a reference
 *
 * Lives on the stack of the flusher, and is its ->blocked_on while it sleeps:
 * who holds its ->blocked_lock and finds it there may read all of this. @owner
 * and the lists are written under flush_wait_lock, @asked and @linked under the
 * flusher's ->blocked_lock, @request under flush_request_lock. @owner does not go
 * away for an RCU grace period. On PREEMPT_RT @lock's ->wait_lock protects @owner,
 * @asked, and from @lock on everything.
 */
struct flush_wait {
#ifdef CONFIG_FLUSH_OWNERS
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
	bool			ended;
	u8			kind;
#endif
#ifdef CONFIG_RT_FLUSH_PI
	struct rt_mutex_base	lock;
	struct task_struct	*next;
	bool			certain;
	bool			rewalk;
#endif
} __aligned(BLOCKED_ON_KINDS + 1);	/* there are tag bits in pointers to it */

#ifdef CONFIG_FLUSH_OWNERS

#ifdef CONFIG_RT_FLUSH_PI

DECLARE_STATIC_KEY_FALSE(flush_pi);

/**
 * flush_lends - does it matter who owns a flush?
 *
 * Return: true if those who wait for a flush lend to its owner, by proxy
 * execution, or on PREEMPT_RT by priority inheritance.
 */
static inline bool flush_lends(void)
{
	return static_branch_unlikely(&flush_pi);
}

void flush_wait_init_lock(struct flush_wait *wait);
void flush_wait_boosted(struct flush_wait *wait);
void complete_flush(struct completion *x, struct flush_wait *wait);

#else

static inline bool flush_lends(void)
{
	return sched_proxy_exec();
}

static inline void flush_wait_init_lock(struct flush_wait *wait) { }

#endif /* CONFIG_RT_FLUSH_PI */

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

static inline struct flush_wait_ref flush_wait_ref(struct flush_wait *wait)
{
	return (struct flush_wait_ref){
		.wait = wait, .task = wait->task, .wq = wait->wq, .pool = wait->pool,
	};
}

void wait_for_completion_flush(struct completion *x, struct flush_wait *wait);
void wait_for_completion_owned(struct completion *x, struct task_struct *owner);
void flush_wait_owned_by(struct flush_wait *wait, struct task_struct *owner);
bool flush_wait_is(struct flush_wait_ref *ref);
void flush_wait_assign(struct flush_wait *wait, struct task_struct *owner);
void flush_wait_set_owner(struct flush_wait *wait, struct task_struct *owner);
void flush_wait_name_owner(struct flush_wait_ref *ref, struct task_struct *owner,
			   struct work_struct *work, struct list_head *head, bool many);
void flush_wait_want_owner(struct flush_wait *wait);
void flush_wait_publish(struct flush_wait *wait, struct task_struct *owner);
void flush_wait_count_nobody(void);

/* In kernel/locking/rwsem.c */
struct task_struct *rwsem_writer(struct rw_semaphore *sem, bool *busy);

/* In kernel/locking/percpu-rwsem.c */
struct task_struct *percpu_rwsem_writer(struct percpu_rw_semaphore *sem);

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
	flush_wait_init_lock(wait);
}

/* No flush, but a completion that @owner has to run for */
static inline void flush_wait_init_owned(struct flush_wait *wait, struct task_struct *owner)
{
	flush_wait_init(wait, NULL, owner, NULL);
	wait->kind = BLOCKED_ON_COMPLETION;
}

#else /* !CONFIG_FLUSH_OWNERS */

static inline bool flush_lends(void)
{
	return false;
}

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

static inline void flush_wait_init_owned(struct flush_wait *wait, struct task_struct *owner) { }

static inline void flush_wait_owned_by(struct flush_wait *wait, struct task_struct *owner) { }

#endif /* CONFIG_FLUSH_OWNERS */

#ifndef CONFIG_RT_FLUSH_PI
/* What is lent is looked at again when the owner goes on with something else. */
static inline void complete_flush(struct completion *x, struct flush_wait *wait)
{
	complete(x);
}
#endif

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
