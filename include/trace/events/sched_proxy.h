/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM sched

#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE sched_proxy

#if !defined(_TRACE_SCHED_PROXY_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_SCHED_PROXY_H

#include <linux/sched.h>
#include <linux/tracepoint.h>

/*
 * A blocked task starts to lend its scheduling context. chain: who waits, for
 * what kind of thing, and so on to the one that runs. It names the first tasks
 * of a longer chain only; depth is the number of edges.
 */
TRACE_EVENT(sched_proxy_lend,

	TP_PROTO(struct task_struct *donor, struct task_struct *owner, int depth,
		 const char *chain),

	TP_ARGS(donor, owner, depth, chain),

	TP_STRUCT__entry(
		__array(	char,	donor_comm,	TASK_COMM_LEN	)
		__field(	pid_t,	donor_pid			)
		__field(	int,	donor_prio			)
		__array(	char,	owner_comm,	TASK_COMM_LEN	)
		__field(	pid_t,	owner_pid			)
		__field(	int,	owner_cpu			)
		__field(	int,	depth				)
		__string(	chain,	chain				)
	),

	TP_fast_assign(
		memcpy(__entry->donor_comm, donor->comm, TASK_COMM_LEN);
		__entry->donor_pid	= donor->pid;
		__entry->donor_prio	= donor->prio;
		memcpy(__entry->owner_comm, owner->comm, TASK_COMM_LEN);
		__entry->owner_pid	= owner->pid;
		__entry->owner_cpu	= task_cpu(owner);
		__entry->depth		= depth;
		__assign_str(chain);
	),

	TP_printk("donor=%s:%d donor_prio=%d owner=%s:%d owner_cpu=%d depth=%d chain=%s",
		  __entry->donor_comm, __entry->donor_pid, __entry->donor_prio,
		  __entry->owner_comm, __entry->owner_pid, __entry->owner_cpu,
		  __entry->depth, __get_str(chain))
);

/* A chain of blocked tasks bites its own tail: a deadlock. */
TRACE_EVENT(sched_proxy_cycle,

	TP_PROTO(struct task_struct *member, int length, const char *chain),

	TP_ARGS(member, length, chain),

	TP_STRUCT__entry(
		__array(	char,	comm,		TASK_COMM_LEN	)
		__field(	pid_t,	pid				)
		__field(	int,	length				)
		__string(	chain,	chain				)
	),

	TP_fast_assign(
		memcpy(__entry->comm, member->comm, TASK_COMM_LEN);
		__entry->pid		= member->pid;
		__entry->length		= length;
		__assign_str(chain);
	),

	TP_printk("comm=%s pid=%d length=%d chain=%s",
		  __entry->comm, __entry->pid, __entry->length, __get_str(chain))
);

/* In this wait donor has lent along flushes for as long as it may. It sleeps. */
TRACE_EVENT(sched_proxy_limit,

	TP_PROTO(struct task_struct *donor, struct task_struct *owner, u64 lent),

	TP_ARGS(donor, owner, lent),

	TP_STRUCT__entry(
		__array(	char,	donor_comm,	TASK_COMM_LEN	)
		__field(	pid_t,	donor_pid			)
		__array(	char,	owner_comm,	TASK_COMM_LEN	)
		__field(	pid_t,	owner_pid			)
		__field(	u64,	lent				)
	),

	TP_fast_assign(
		memcpy(__entry->donor_comm, donor->comm, TASK_COMM_LEN);
		__entry->donor_pid	= donor->pid;
		memcpy(__entry->owner_comm, owner->comm, TASK_COMM_LEN);
		__entry->owner_pid	= owner->pid;
		__entry->lent		= lent;
	),

	TP_printk("donor=%s:%d owner=%s:%d lent_ns=%llu",
		  __entry->donor_comm, __entry->donor_pid,
		  __entry->owner_comm, __entry->owner_pid, __entry->lent)
);

#endif /* _TRACE_SCHED_PROXY_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
