/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM stall_monitor

#if !defined(_TRACE_STALL_MONITOR_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_STALL_MONITOR_H

#include <linux/sched.h>
#include <linux/tracepoint.h>

TRACE_DEFINE_ENUM(STALL_OFF);
TRACE_DEFINE_ENUM(STALL_IDLE);
TRACE_DEFINE_ENUM(STALL_WATCHING);
TRACE_DEFINE_ENUM(STALL_REFILL);
TRACE_DEFINE_ENUM(STALL_READY);
TRACE_DEFINE_ENUM(STALL_RUNNING);
TRACE_DEFINE_ENUM(STALL_OVERRUN);

TRACE_DEFINE_ENUM(STALL_END_BLOCKED);
TRACE_DEFINE_ENUM(STALL_END_DURATION);
TRACE_DEFINE_ENUM(STALL_END_RUNNING);
TRACE_DEFINE_ENUM(STALL_END_MOVED);
TRACE_DEFINE_ENUM(STALL_END_OUTRANKED);
TRACE_DEFINE_ENUM(STALL_END_PAUSED);
TRACE_DEFINE_ENUM(STALL_END_OFFLINE);

/* The stall monitor of the CPU goes from one state to another. */
TRACE_EVENT(stall_state,

	TP_PROTO(int cpu, enum stall_state from, enum stall_state to, s64 budget_ns),

	TP_ARGS(cpu, from, to, budget_ns),

	TP_STRUCT__entry(
		__field(int,	cpu)
		__field(int,	from)
		__field(int,	to)
		__field(s64,	budget_ns)
	),

	TP_fast_assign(
		__entry->cpu = cpu;
		__entry->from = from;
		__entry->to = to;
		__entry->budget_ns = budget_ns;
	),

	TP_printk("cpu=%d from=%s to=%s budget_ns=%lld",
		  __entry->cpu,
		  __print_symbolic(__entry->from, STALL_STATE_NAMES),
		  __print_symbolic(__entry->to, STALL_STATE_NAMES),
		  __entry->budget_ns)
);

/*
 * A kthread has waited on its CPU for longer than the threshold, behind
 * what was running there.
 */
TRACE_EVENT(stall_detected,

	TP_PROTO(struct task_struct *p, int cpu, u64 wait_ns,
		 struct task_struct *curr),

	TP_ARGS(p, cpu, wait_ns, curr),

	TP_STRUCT__entry(
		__array(char,	comm, TASK_COMM_LEN)
		__field(pid_t,	pid)
		__field(int,	cpu)
		__field(u64,	wait_ns)
		__array(char,	curr_comm, TASK_COMM_LEN)
		__field(pid_t,	curr_pid)
	),

	TP_fast_assign(
		memcpy(__entry->comm, p->comm, TASK_COMM_LEN);
		__entry->pid = p->pid;
		__entry->cpu = cpu;
		__entry->wait_ns = wait_ns;
		memcpy(__entry->curr_comm, curr->comm, TASK_COMM_LEN);
		__entry->curr_pid = curr->pid;
	),

	TP_printk("comm=%s pid=%d cpu=%d wait_ns=%llu curr_comm=%s curr_pid=%d",
		  __entry->comm, __entry->pid, __entry->cpu, __entry->wait_ns,
		  __entry->curr_comm, __entry->curr_pid)
);

/* The stall server of the CPU begins to lend its context to the kthread. */
TRACE_EVENT(stall_boost_start,

	TP_PROTO(struct task_struct *p, int cpu, u64 wait_ns),

	TP_ARGS(p, cpu, wait_ns),

	TP_STRUCT__entry(
		__array(char,	comm, TASK_COMM_LEN)
		__field(pid_t,	pid)
		__field(int,	cpu)
		__field(u64,	wait_ns)
	),

	TP_fast_assign(
		memcpy(__entry->comm, p->comm, TASK_COMM_LEN);
		__entry->pid = p->pid;
		__entry->cpu = cpu;
		__entry->wait_ns = wait_ns;
	),

	TP_printk("comm=%s pid=%d cpu=%d wait_ns=%llu",
		  __entry->comm, __entry->pid, __entry->cpu, __entry->wait_ns)
);

/*
 * The boost is over: the kthread ran for run_ns in that many slices of the
 * server.
 */
TRACE_EVENT(stall_boost_end,

	TP_PROTO(struct task_struct *p, int cpu, enum stall_end reason,
		 u64 run_ns, unsigned int slices),

	TP_ARGS(p, cpu, reason, run_ns, slices),

	TP_STRUCT__entry(
		__array(char,		comm, TASK_COMM_LEN)
		__field(pid_t,		pid)
		__field(int,		cpu)
		__field(int,		reason)
		__field(u64,		run_ns)
		__field(unsigned int,	slices)
	),

	TP_fast_assign(
		memcpy(__entry->comm, p->comm, TASK_COMM_LEN);
		__entry->pid = p->pid;
		__entry->cpu = cpu;
		__entry->reason = reason;
		__entry->run_ns = run_ns;
		__entry->slices = slices;
	),

	TP_printk("comm=%s pid=%d cpu=%d reason=%s run_ns=%llu slices=%u",
		  __entry->comm, __entry->pid, __entry->cpu,
		  __print_symbolic(__entry->reason, STALL_END_NAMES),
		  __entry->run_ns, __entry->slices)
);

#endif /* _TRACE_STALL_MONITOR_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
