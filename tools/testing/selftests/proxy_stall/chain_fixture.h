/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PROXY_STALL_CHAIN_FIXTURE_H
#define PROXY_STALL_CHAIN_FIXTURE_H

#include <sched.h>

#include "../kselftest_harness.h"
#include "lab.h"

/* The strong one that waits, above the hog, and where it and the others are. */
#define W_PRIO		60
#define W_CPU		1
#define H_CPU		0

#define STRONG(...)	chain_start(SCHED_FIFO, W_PRIO, W_CPU, __VA_ARGS__)
#define WEAK(...)	chain_start(SCHED_OTHER, 0, H_CPU, __VA_ARGS__)

/* To be lent to, for any reason, takes no longer than this. */
#define AT_ONCE_US	5000

#define KTHREADD	2

/* Have the unbound workers on that CPU. */
static inline int confine_unbound(int cpu)
{
	return put(WQ_SYSFS "cpumask", "%x\n", 1 << cpu);
}

/* Have the workqueue sysfs1 use a pool for each CPU. */
static inline int pools_per_cpu(void)
{
	return put(WQ_SYSFS "cpumask", "f\n") ?:
	       put(WQ_SYSFS "chain_sysfs1/affinity_scope", "cpu\n") ?:
	       put(WQ_SYSFS "chain_sysfs1/affinity_strict", "1\n");
}

static inline bool blocks(const struct actor *actor)
{
	return wait_until(1000, actor_blocked(actor));
}

/* It ends by itself at the latest when the hog does. */
static inline bool ends(const struct actor *actor)
{
	return actor_wait(actor, HOG_MS + 2000) && !actor->result;
}

static inline bool in_time(__u64 from_ns, __u64 to_ns, unsigned int us)
{
	bool met = !lab_exact_time() || to_ns - from_ns <= us * 1000ULL;

	if (!met)
		ksft_print_msg("took %llu us instead of %u\n", (to_ns - from_ns) / 1000, us);
	return met;
}

/* It ends while the hog goes on, and takes no longer than that. */
static inline bool rescued(const struct actor *actor, const struct hog *hog, unsigned int us)
{
	return ends(actor) && hog_running(hog) && in_time(actor->start_ns, actor->end_ns, us);
}

/* No kworker of the hog's CPU runs ahead of it, when nobody strong waits. */
static inline bool nothing_stays(const struct hog *hog)
{
	__u64 first;

	chain_work(31, "burn 1");
	if (chain_run("queue 31 %d percpu", hog->cpu))
		return false;
	sleep_us(20000);
	first = chain_report(31).first_ns;
	return hog_running(hog) && !first;
}

#endif
