/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM stall_monitor

#if !defined(_TRACE_STALL_MONITOR_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_STALL_MONITOR_H

#include <linux/sched.h>
#include <linux/tracepoint.h>

#ifndef _STALL_MONITOR_ENUM
#define _STALL_MONITOR_ENUM

/* Why a boost ended: */
enum stall_end {
	STALL_END_BLOCKED,	/* the kthread went to sleep: rescued */
	STALL_END_DURATION,	/* it used up the longest boost */
	STALL_END_RUNNING,	/* nothing starves it any longer */
	STALL_END_MOVED,	/* it left the CPU, or is watched no more */
	STALL_END_PAUSED,	/* kernel.stall_monitor was set to 0 */
	STALL_END_OFFLINE,	/* the CPU goes offline */
};

#endif

TRACE_DEFINE_ENUM(STALL_END_BLOCKED);
TRACE_DEFINE_ENUM(STALL_END_DURATION);
TRACE_DEFINE_ENUM(STALL_END_RUNNING);
TRACE_DEFINE_ENUM(STALL_END_MOVED);
TRACE_DEFINE_ENUM(STALL_END_PAUSED);
TRACE_DEFINE_ENUM(STALL_END_OFFLINE);

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
		  __print_symbolic(__entry->reason,
				   { STALL_END_BLOCKED,		"blocked" },
				   { STALL_END_DURATION,	"duration" },
				   { STALL_END_RUNNING,		"running" },
				   { STALL_END_MOVED,		"moved" },
				   { STALL_END_PAUSED,		"paused" },
				   { STALL_END_OFFLINE,		"offline" }),
		  __entry->run_ns, __entry->slices)
);

#endif /* _TRACE_STALL_MONITOR_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
