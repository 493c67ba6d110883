// SPDX-License-Identifier: GPL-2.0
/*
 * Owners of flushes: which task has to run for a flush of work to end
 *
 * ->owner of a flush_wait is NULL until somebody asks for it; then
 * wq_flush_find_owner() finds one, by an irq_work: it needs locks that nest
 * outside of those that who asks holds. See kernel/workqueue.c.
 *
 * How the owner gets the priority of those that wait is another matter. With
 * proxy execution, a chain walk reads ->owner: proxy_exec.c. On PREEMPT_RT, the
 * flusher is a waiter of an rt_mutex that is the owner's: flush_pi.c.
 *
 * Lock order: with proxy execution see proxy_exec.c; flush_request_lock is a
 * leaf. On PREEMPT_RT:
 *
 *   pool->lock					(workqueue.c)
 *     p->blocked_lock
 *       flush_wait_lock
 *         rt_mutex_base::wait_lock
 *           p->pi_lock
 *           flush_request_lock
 */

#include <linux/irq_work.h>
#include <linux/sched/debug.h>
#include <linux/sched/isolation.h>
#include <linux/sched/proxy.h>

#include "sched.h"

DEFINE_RAW_SPINLOCK(flush_wait_lock);

/* Protects the list. */
static DEFINE_RAW_SPINLOCK(flush_request_lock);
static LIST_HEAD(flush_wait_requests);

/* So many are looked for before other interrupts get their turn. */
#define FLUSH_REQUESTS		8

static void flush_wait_find_owners(struct irq_work *work)
{
	int left = FLUSH_REQUESTS;

	guard(rcu)();
	while (left--) {
		struct flush_wait_ref ref;
		struct flush_wait *wait;

		scoped_guard (raw_spinlock_irqsave, &flush_request_lock) {
			wait = list_first_entry_or_null(&flush_wait_requests,
							struct flush_wait, request);
			if (!wait)
				return;
			list_del_init(&wait->request);
			get_task_struct(wait->task);
			ref = flush_wait_ref(wait);
		}
		wq_flush_find_owner(&ref);
		put_task_struct(ref.task);
	}
	proxy_irq_work_queue(work);
}

static struct irq_work flush_wait_work = IRQ_WORK_INIT_HARD(flush_wait_find_owners);

/* An isolated CPU does not go through the pools of others. */
static void flush_wait_queue(void)
{
	int cpu = smp_processor_id();

	if (!housekeeping_cpu(cpu, HK_TYPE_KERNEL_NOISE))
		cpu = cpumask_any_and(housekeeping_cpumask(HK_TYPE_KERNEL_NOISE), cpu_online_mask);
	if (cpu != smp_processor_id() && cpu < nr_cpu_ids)
		irq_work_queue_on(&flush_wait_work, cpu);
	else
		proxy_irq_work_queue(&flush_wait_work);
}

/**
 * flush_wait_want_owner - have an owner be found for a flush
 * @wait: what a task is blocked on
 *
 * Context: interrupts disabled; a lock is held that flush_wait_done(), or its
 * caller before that, takes: until then there is @wait. rq->lock may be held.
 */
void flush_wait_want_owner(struct flush_wait *wait)
{
	scoped_guard (raw_spinlock, &flush_request_lock)
		list_move_tail(&wait->request, &flush_wait_requests);
	flush_wait_queue();
}

/**
 * flush_wait_is - is there this flush still?
 * @ref: the flush
 *
 * Context: @ref->task's ->blocked_lock held, which then keeps it; interrupts
 * disabled.
 *
 * Return: true if @ref->task is blocked on it.
 */
bool flush_wait_is(struct flush_wait_ref *ref)
{
	struct flush_wait *wait = ref->wait;

	lockdep_assert_held(&ref->task->blocked_lock);
	/* Another one of the same task may be in the same place. */
	if (ref->task->blocked_on == ((unsigned long)wait | BLOCKED_ON_FLUSH) &&
	    wait->wq == ref->wq && wait->pool == ref->pool)
		return true;
	/* If it is only awake for a moment, it has to ask once more. */
	flush_wait_missed(ref->task);
	return false;
}

/**
 * flush_wait_set_owner - the owner of a flush is another one now
 * @wait: what a task waits for
 * @owner: who has to run, or NULL: nobody is known
 *
 * With NULL, what is lent to the former owner stays lent until it sleeps; what it
 * inherits, on PREEMPT_RT, is gone.
 *
 * Context: flush_wait_lock held.
 */
void flush_wait_set_owner(struct flush_wait *wait, struct task_struct *owner)
{
	lockdep_assert_held(&flush_wait_lock);
	if (wait->ended || wait->owner == owner)
		return;
	flush_wait_publish(wait, owner);
	smp_mb();	/* pairs with lock_flush_edge() */
	if (owner && READ_ONCE(wait->asked))
		flush_wait_tell(wait);
}

/**
 * flush_wait_assign - a work item that is waited for has been assigned
 * @wait: the flush, which does not end before pool->lock is released
 * @owner: the worker
 *
 * Context: pool->lock held, interrupts disabled.
 */
void flush_wait_assign(struct flush_wait *wait, struct task_struct *owner)
{
	struct task_struct *former = READ_ONCE(wait->owner);

	WRITE_ONCE(wait->assigned, true);
	flush_wait_publish(wait, owner);
	smp_mb();	/* pairs with lock_flush_edge() and wq_flush_find_owner() */
	if (!READ_ONCE(wait->asked) && !READ_ONCE(wait->linked))
		return;
	guard(raw_spinlock)(&flush_wait_lock);
	list_del_init(&wait->pool_entry);
	list_del_init(&wait->wq_entry);
	/* Another one may have been named meanwhile. */
	if (former == owner && wait->owner == owner)
		return;
	flush_wait_publish(wait, owner);
	flush_wait_tell(wait);
}

/**
 * flush_wait_name_owner - name a task that can end a flush
 * @ref: the flush
 * @owner: who has to run, or NULL: there is nobody
 * @work: what @owner is to take, or NULL: it has it
 * @head: if there is @work, the list of such flushes
 * @many: @owner is one of many
 *
 * Context: interrupts disabled; pool->lock held unless @owner is NULL.
 */
void flush_wait_name_owner(struct flush_wait_ref *ref, struct task_struct *owner,
			   struct work_struct *work, struct list_head *head, bool many)
{
	struct flush_wait *wait = ref->wait;

	guard(raw_spinlock)(&ref->task->blocked_lock);
	if (!flush_wait_is(ref) || !wait->linked)
		return;
	guard(raw_spinlock)(&flush_wait_lock);
	/* Meanwhile it may have got an owner that nobody has to be named for. */
	if (wait->assigned || (many && list_empty(&wait->wq_entry)))
		return;
	list_del_init(&wait->pool_entry);
	if (work) {
		wait->work = work;
		list_add_tail(&wait->pool_entry, head);
	}
	if (!owner)
		flush_wait_count_nobody();
	flush_wait_set_owner(wait, owner);
}

/**
 * flush_wait_done - a flush is on no list any more
 * @wait: current's, which is not blocked on it any more, or one that has ended
 */
void flush_wait_done(struct flush_wait *wait)
{
	guard(raw_spinlock_irqsave)(&flush_wait_lock);
	/* A first flusher is told once more that it is one. */
	wait->asked = false;
	list_del_init(&wait->pool_entry);
	list_del_init(&wait->wq_entry);
	guard(raw_spinlock)(&flush_request_lock);
	list_del_init(&wait->request);
}

/**
 * wait_for_completion_owned - wait for a completion, and lend to who completes it
 * @x: the completion
 * @owner: the task that has to run for that; the caller sees to it that it
 *	exists as long as it may be waited for
 *
 * wait_for_completion(), but that whoever is of a real-time or the deadline
 * class and waits, also for a mutex that current holds, lends to @owner, or, on
 * PREEMPT_RT, that @owner inherits the priority of current.
 */
void __sched wait_for_completion_owned(struct completion *x, struct task_struct *owner)
{
	struct flush_wait wait;

	if (!flush_lends()) {
		wait_for_completion(x);
		return;
	}
	flush_wait_init_owned(&wait, owner);
	wait_for_completion_flush(x, &wait);
}

/**
 * flush_wait_owned_by - another task has to run for a completion
 * @wait: who waits; the caller sees to it that the wait does not end meanwhile
 * @owner: the task
 *
 * Context: any but NMI; no scheduler lock held.
 */
void flush_wait_owned_by(struct flush_wait *wait, struct task_struct *owner)
{
	guard(raw_spinlock_irqsave)(&flush_wait_lock);
	flush_wait_set_owner(wait, owner);
}
