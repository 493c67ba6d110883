/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_SCHED_PROXY_H
#define _LINUX_SCHED_PROXY_H

#include <linux/sched.h>
#include <linux/completion.h>

/**
 * struct flush_wait - what a task that flushes work is blocked on
 * @owner: names the task that has to run next for the flush to end
 * @func: the function of the work that is flushed, for reports, or NULL
 * @named: the task that was named last
 * @asked: somebody did ask
 * @nobody: that nobody could be named has been counted
 *
 * Lives on the stack of the task that waits. It is a task's ->blocked_on, and
 * then @owner may be called by anybody, only with that task's ->blocked_lock
 * held: that lock is what keeps the object alive. It also protects the writing
 * of the other fields.
 *
 * @owner is called with interrupts disabled and, possibly, an rq->lock held.
 * A lock that nests outside of those it may only trylock, and answer
 * ERR_PTR(-EAGAIN) when that fails. If the answer holds only as long as such a
 * lock is held, it leaves the lock in *@lock, and the caller releases it.
 * %NULL means that nobody can be named. What is returned is a task that does
 * not go away for an RCU grace period.
 *
 * When the answer changes otherwise than by what the task that was named does
 * when it runs, whoever changes it calls sched_proxy_owner(), or, not knowing
 * the flush, sched_proxy_relend() for the task that was named before.
 */
struct flush_wait {
#ifdef CONFIG_SCHED_PROXY_FLUSH
	struct task_struct	*(*owner)(struct flush_wait *wait, raw_spinlock_t **lock);
	void			*func;
	struct task_struct	*named;
	bool			asked;
	bool			nobody;
#endif
} __aligned(BLOCKED_ON_KINDS + 1);	/* there are tag bits in pointers to it */

#ifdef CONFIG_SCHED_PROXY_FLUSH

#define FLUSH_WAIT_INIT(_owner, _func)	{ .owner = (_owner), .func = (_func) }

void wait_for_completion_flush(struct completion *x, struct flush_wait *wait);
void __proxy_awake(struct task_struct *task);
void __sched_proxy_owner(struct task_struct *task);

/**
 * sched_proxy_relend - have those who sleep on account of a task look again
 * @task: a task that was named as somebody's owner, and perhaps is no longer
 *
 * Context: interrupts disabled; takes no lock but leaf locks.
 */
static inline void sched_proxy_relend(struct task_struct *task)
{
	if (sched_proxy_exec() && READ_ONCE(task->proxy_flags))
		__proxy_awake(task);
}

/**
 * sched_proxy_owner - the owner of a flush is another one now
 * @wait: what @task is blocked on
 * @task: the task that waits
 * @owner: who has to run now, or NULL: find out
 *
 * Context: interrupts disabled; @wait exists. Called after the change, or with a
 * lock held that ->owner() needs to see it.
 */
static inline void sched_proxy_owner(struct flush_wait *wait, struct task_struct *task,
				     struct task_struct *owner)
{
	smp_mb();	/* pairs with lock_flush_edge() */
	if (READ_ONCE(wait->asked) && (!owner || READ_ONCE(wait->named) != owner))
		__sched_proxy_owner(task);
}

#else /* !CONFIG_SCHED_PROXY_FLUSH */

#define FLUSH_WAIT_INIT(_owner, _func)	{ }

static inline void wait_for_completion_flush(struct completion *x, struct flush_wait *wait)
{
	wait_for_completion(x);
}

static inline void sched_proxy_relend(struct task_struct *task) { }
static inline void sched_proxy_owner(struct flush_wait *wait, struct task_struct *task,
				     struct task_struct *owner) { }

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

/* task_struct::proxy_awaits of a task that was woken only to lend again */
#define PROXY_LEND_AGAIN	((struct task_struct *)1L)

/**
 * sched_proxy_woken_to_lend - was current woken to lend again?
 *
 * Then what it waits for is not to be had yet: it should block rather than spin.
 */
static inline bool sched_proxy_woken_to_lend(void)
{
	return sched_proxy_exec() && READ_ONCE(current->proxy_awaits) == PROXY_LEND_AGAIN &&
	       cmpxchg(&current->proxy_awaits, PROXY_LEND_AGAIN, NULL) == PROXY_LEND_AGAIN;
}

#else

static inline void sched_proxy_recheck(void) { }

static inline bool sched_proxy_woken_to_lend(void)
{
	return false;
}

#endif /* CONFIG_SCHED_PROXY_EXEC */

#endif /* _LINUX_SCHED_PROXY_H */
