// SPDX-License-Identifier: GPL-2.0
/*
 * PREEMPT_RT: priority inheritance along the flush of a work
 *
 * A flush is an rt_mutex that is never locked: it only has an owner, the task
 * that has to run for the flush to end (see proxy_flush.c), and one waiter, the
 * flusher. So the owner inherits the flusher's priority, and what that inherits
 * from others, by the chain walk of rtmutex.c.
 *
 *     W, FIFO 60           H                    K, SCHED_OTHER
 *     blocks on M -------> owns M
 *                          in flush_work() ---> executes the work item
 *                          FIFO 60, by M        FIFO 60, by the flush
 *
 * When H begins to flush, the item may be pending, and then nobody is its owner.
 * A flusher that is not real-time does not ask for one. A walk that finds that it
 * has become real-time does, by flush_wait_boosted().
 *
 * The boost begins when an owner is named, or the flusher is boosted. It moves
 * when another owner is named, and ends in complete_flush(), before the flusher
 * is woken. (Who completes what wait_for_completion_owned() waits for keeps it until
 * the waiter runs.)
 *
 * Owners are named with interrupts disabled, many of them with pool->lock held.
 * rtmutex.c walks with interrupts enabled. So if an owner is itself blocked, the
 * flusher wakes up to walk on from there: ->rewalk. It does so on its own CPU. Of a
 * former owner that is blocked it also takes the boost away: a task must not inherit
 * from one that has gone on, and only walks over the former owner prevent that.
 *
 * A flusher that is not real-time gets no lock owner while it waits: many such may
 * flush the same item, and pool->lock is held.
 *
 * A task may end while it is the owner of a flush that it was one of several to
 * end. A reference is held.
 */

#include <linux/debugfs.h>
#include <linux/sched/debug.h>
#include <linux/sched/proxy.h>
#include <linux/sched/rt.h>
#include <linux/seq_file.h>

#include "sched.h"
#include "../locking/rtmutex_common.h"

DEFINE_STATIC_KEY_FALSE(flush_pi);	/* proxy_exec=, in core.c */

static atomic_t flush_pi_cycles = ATOMIC_INIT(0);
static atomic_t flush_pi_nobody = ATOMIC_INIT(0);
static atomic_t flush_pi_lent = ATOMIC_INIT(0);

/**
 * flush_wait_init_lock - let a flush have its first owner
 * @wait: the flush, of which all else is initialized
 */
void flush_wait_init_lock(struct flush_wait *wait)
{
	struct task_struct *owner = wait->owner;

	rt_mutex_base_init(&wait->lock);
	if (owner)
		flush_wait_publish(wait, owner);
}

/**
 * flush_wait_publish - let another task inherit what the flusher has
 * @wait: the flush, which does not end meanwhile
 * @owner: a task that exists, or NULL
 *
 * The owner of the lock is what matters; ->owner is for those who name owners.
 *
 * Context: any but NMI; no rq->lock, ->pi_lock or ->wait_lock held.
 */
void flush_wait_publish(struct flush_wait *wait, struct task_struct *owner)
{
	if (rt_mutex_flush_set_owner(wait, owner))
		wake_up_process(wait->task);
}

/* rtmutex.c has seen to it. */
void flush_wait_tell(struct flush_wait *wait) { }
void flush_wait_missed(struct task_struct *flusher) { }

/**
 * flush_wait_count_nobody - nobody was found who could end a flush
 *
 * Context: interrupts disabled.
 */
void flush_wait_count_nobody(void)
{
	atomic_inc(&flush_pi_nobody);
}

/**
 * flush_wait_boosted - somebody strong waits for a flush without an owner
 * @wait: the flush
 *
 * Context: @wait->lock's ->wait_lock held, interrupts disabled.
 */
void flush_wait_boosted(struct flush_wait *wait)
{
	if (!wait->wq || READ_ONCE(wait->asked) || READ_ONCE(wait->ended))
		return;
	WRITE_ONCE(wait->asked, true);
	atomic_inc(&flush_pi_lent);
	flush_wait_want_owner(wait);
}

static void flush_wait_end(struct flush_wait *wait)
{
	/* A barrier that was assigned, or a kthread_work's flush, gets no other owner. */
	if (wait->wq && !(wait->pool && READ_ONCE(wait->assigned))) {
		guard(raw_spinlock_irqsave)(&flush_wait_lock);
		WRITE_ONCE(wait->assigned, true);
		WRITE_ONCE(wait->ended, true);
	} else {
		WRITE_ONCE(wait->ended, true);
	}
	flush_wait_publish(wait, NULL);
	/*
	 * Who asks for an owner from now on sees ->ended, under the lock's ->wait_lock.
	 * Who has asked before is forgotten: the pool may go when this has ended.
	 */
	if (READ_ONCE(wait->asked) || READ_ONCE(wait->linked))
		flush_wait_done(wait);
}

/**
 * complete_flush - a flush has ended
 * @x: the completion that the flusher waits for
 * @wait: the flush
 *
 * Whoever was the owner inherits nothing along it any more. That may be current,
 * which has to wake the flusher before it loses the CPU.
 *
 * Context: any but NMI; no rq->lock, ->pi_lock or ->wait_lock held.
 */
void complete_flush(struct completion *x, struct flush_wait *wait)
{
	guard(preempt)();
	if (flush_lends())
		flush_wait_end(wait);
	complete(x);
}

/* A strong flusher has an owner found before it blocks. */
static void flush_wait_prepare(struct completion *x, struct flush_wait *wait)
{
	struct flush_wait_ref ref = flush_wait_ref(wait);

	guard(rcu)();
	/* With it the pool may go. From here on RCU keeps it. */
	if (completion_done(x))
		return;
	WRITE_ONCE(wait->asked, true);
	wq_flush_find_owner(&ref);
}

static void flush_wait_block(struct completion *x, struct flush_wait *wait)
{
	DECLARE_SWAITQUEUE(node);

	raw_spin_lock_irq(&x->wait.lock);
	while (!x->done) {
		__prepare_to_swait(&x->wait, &node);
		/* Who sets ->rewalk wakes this task after that. */
		set_current_state(TASK_UNINTERRUPTIBLE);
		raw_spin_unlock_irq(&x->wait.lock);

		if (unlikely(READ_ONCE(wait->rewalk)))
			rt_mutex_flush_walk(wait);
		rt_mutex_schedule();

		raw_spin_lock_irq(&x->wait.lock);
	}
	__finish_swait(&x->wait, &node);
	if (x->done != UINT_MAX)
		x->done--;
	raw_spin_unlock_irq(&x->wait.lock);
}

static void flush_wait_deadlock(struct flush_wait *wait)
{
	atomic_inc(&flush_pi_cycles);
	if (wait->func)
		pr_err("sched: %s:%d flushes %ps, which is to be done by a task that waits for what %s holds\n",
		       current->comm, current->pid, wait->func, current->comm);
	else
		pr_err("sched: %s:%d waits for a task that waits for what %s holds\n",
		       current->comm, current->pid, current->comm);
}

/**
 * wait_for_completion_flush - wait for a work, and let who does it inherit the priority
 * @x: the completion that ends the wait
 * @wait: who has to run for that
 *
 * wait_for_completion(), but that current is a waiter of what @wait's owner owns.
 *
 * Context: task; sleeps.
 */
void __sched wait_for_completion_flush(struct completion *x, struct flush_wait *wait)
{
	struct rt_mutex_waiter waiter;

	if (!flush_lends()) {
		wait_for_completion(x);
		return;
	}

	might_sleep();
	complete_acquire(x);
	if (!try_wait_for_completion(x)) {
		/* Before current is a waiter: it may take locks. */
		rt_mutex_pre_schedule();
		scoped_guard (raw_spinlock_irq, &current->blocked_lock)
			WRITE_ONCE(current->blocked_on, (unsigned long)wait | wait->kind);
		if (!proxy_weak(current)) {
			atomic_inc(&flush_pi_lent);
			if (wait->wq && !READ_ONCE(wait->owner))
				flush_wait_prepare(x, wait);
		}
		if (rt_mutex_flush_start(wait, &waiter))
			flush_wait_deadlock(wait);

		flush_wait_block(x, wait);

		scoped_guard (raw_spinlock_irq, &current->blocked_lock)
			WRITE_ONCE(current->blocked_on, 0);
		rt_mutex_flush_end(wait, &waiter);
		if (wait->rewalk)
			rt_mutex_flush_walk(wait);
		if (wait->asked || wait->linked)
			flush_wait_done(wait);
		rt_mutex_post_schedule();
	}
	flush_wait_publish(wait, NULL);
	complete_release(x);
}

static int proxy_flush_show(struct seq_file *m, void *v)
{
	seq_printf(m, "lent: %d\n", atomic_read(&flush_pi_lent));
	seq_printf(m, "cycles: %d\n", atomic_read(&flush_pi_cycles));
	seq_printf(m, "no_owner: %d\n", atomic_read(&flush_pi_nobody));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(proxy_flush);

void __init proxy_debugfs_init(struct dentry *sched)
{
	debugfs_create_file("proxy_flush", 0444, sched, NULL, &proxy_flush_fops);
}
