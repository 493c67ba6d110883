// SPDX-License-Identifier: GPL-2.0
/*
 * Mutexes, ww_mutexes and works, and tasks that wait for them as a script says:
 * chains and cycles for the selftests in tools/testing/selftests/proxy_stall.
 *
 * In debugfs, under test_proxy_chain/:
 *
 * run: a write is a script, executed by the writing task. It returns the length
 * or the error of the step that failed, which is the last one then. Whatever the
 * script still holds at its end is unlocked. (Tasks that share an open file
 * take turns: each has to open it.)
 *
 * work: a write of "W = script" makes that the body of work W. Reads: a line
 * for each work that was ever queued, "W pid queued_ns first_ns end_ns runs":
 * the worker that ran it last, when it was queued last, and when that began and
 * ended, zero until it has.
 *
 * state: "m N pid" and "x N pid" for each mutex and ww_mutex that is held,
 * "mark N pid ns cpu" for each mark, and some numbers, "key: value". busy:
 * whether anything is queued, executed or held; queued = runs + cancelled if
 * not; failed: works with a step that failed.
 *
 * Steps, separated by ';'. M, X, W, N: mutexes, ww_mutexes, works, marks, each
 * 0 to 63. Times are those of CLOCK_MONOTONIC.
 *
 *   lock M, lockk M, lockt M, lockio M, unlock M
 *			mutex_lock(), killable, trylock (EBUSY), mutex_lock_io()
 *   ww X Y, wwun X Y	lock both, in this order at first; unlock both
 *   down M, downr M, up M
 *			an rw_semaphore, for writing, for reading; from 32 on a
 *			percpu_rw_semaphore
 *   queue W CPU WQ, dqueue W CPU WQ MS
 *			CPU -1: any; nothing happens if it is queued already
 *   flush W, dflush W, cancel W, dcancel W
 *   flushwq WQ, drain WQ, destroywq WQ
 *			the latter two put a new workqueue in its place before
 *   kqueue W CPU, kflush W, kcancel W, kflushall CPU
 *			a kthread_worker on that CPU
 *   call CPU US	smp_call_on_cpu(), of something that takes that long
 *   kthread CPU	create a kthread there, park, unpark and stop it
 *   burn US		CPU time; a fatal signal ends it
 *   burnoff US		with interrupts disabled
 *   waitlock M US	holding the mutex's wait_lock besides
 *   nomig, mig		migrate_disable(), migrate_enable()
 *   rcutasks		synchronize_rcu_tasks()
 *   sleep US, nap US	uninterruptible, killable
 *   mark N, wait N, clear
 *
 * BH works can only queue, burn and mark.
 */
#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/cpu.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/percpu-rwsem.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/ww_mutex.h>

#define NR_OBJECTS	64
#define MAX_SCRIPT	2048
#define MAX_US		(60 * USEC_PER_SEC)
#define POLL_US		100
#define FIRST_PERCPU	32

enum step_kind {
	LOCK, LOCKK, LOCKT, LOCKIO, UNLOCK, WW, WWUN, DOWN, DOWNR, UP,
	QUEUE, DQUEUE, FLUSH, DFLUSH, CANCEL, DCANCEL,
	FLUSHWQ, DRAIN, DESTROYWQ,
	KQUEUE, KFLUSH, KCANCEL, KFLUSHALL, CALL, KTHREAD,
	BURN, BURNOFF, WAITLOCK, NOMIG, MIG, RCUTASKS, SLEEP, NAP, MARK, WAIT, CLEAR,
};

/*
 * Arguments: 'o' an object, 'c' a CPU, 'a' a CPU or -1, 'q' a workqueue, 't' us,
 * 'm' ms
 */
static const struct step_name {
	const char *name;
	const char *args;
	bool atomic;		/* for BH works */
} step_names[] = {
	[LOCK]		= { "lock", "o" },
	[LOCKK]		= { "lockk", "o" },
	[LOCKT]		= { "lockt", "o" },
	[LOCKIO]	= { "lockio", "o" },
	[UNLOCK]	= { "unlock", "o" },
	[WW]		= { "ww", "oo" },
	[WWUN]		= { "wwun", "oo" },
	[DOWN]		= { "down", "o" },
	[DOWNR]		= { "downr", "o" },
	[UP]		= { "up", "o" },
	[QUEUE]		= { "queue", "oaq", true },
	[DQUEUE]	= { "dqueue", "oaqm", true },
	[FLUSH]		= { "flush", "o" },
	[DFLUSH]	= { "dflush", "o" },
	[CANCEL]	= { "cancel", "o" },
	[DCANCEL]	= { "dcancel", "o" },
	[FLUSHWQ]	= { "flushwq", "q" },
	[DRAIN]		= { "drain", "q" },
	[DESTROYWQ]	= { "destroywq", "q" },
	[KQUEUE]	= { "kqueue", "oc" },
	[KFLUSH]	= { "kflush", "o" },
	[KCANCEL]	= { "kcancel", "o" },
	[KFLUSHALL]	= { "kflushall", "c" },
	[CALL]		= { "call", "ct" },
	[KTHREAD]	= { "kthread", "c" },
	[BURN]		= { "burn", "t", true },
	[BURNOFF]	= { "burnoff", "t", true },
	[WAITLOCK]	= { "waitlock", "ot" },
	[NOMIG]		= { "nomig", "" },
	[MIG]		= { "mig", "" },
	[RCUTASKS]	= { "rcutasks", "" },
	[SLEEP]		= { "sleep", "t" },
	[NAP]		= { "nap", "t" },
	[MARK]		= { "mark", "o", true },
	[WAIT]		= { "wait", "o" },
	[CLEAR]		= { "clear", "", true },
};

#define MAX_ARGS	4

struct step {
	enum step_kind	kind;
	int		arg[MAX_ARGS];
};

struct script {
	refcount_t	users;
	unsigned int	nr;
	struct step	steps[] __counted_by(nr);
};

/* One execution of a script */
struct run {
	DECLARE_BITMAP(held, NR_OBJECTS);	/* mutexes */
	DECLARE_BITMAP(written, NR_OBJECTS);	/* rw_semaphores */
	DECLARE_BITMAP(read, NR_OBJECTS);
	struct ww_acquire_ctx	ww_ctx;
	int			ww[2];		/* ww_mutexes, or -1 */
	bool			nomig;
};

struct chain_work {
	struct work_struct	work;
	struct delayed_work	dwork;
	struct kthread_work	kwork;
	struct script		*script;	/* objects_lock */
	pid_t			pid;
	u64			queued_ns;
	u64			first_ns;
	u64			end_ns;
	atomic_t		runs;
};

/* A name's workqueue, until another one takes its place */
struct chain_wq {
	struct workqueue_struct	*wq;
	refcount_t		users;
};

struct mark {
	pid_t	pid;
	u64	ns;
	int	cpu;
};

static const struct wq_name {
	const char	*name;
	unsigned int	flags;
	int		max_active;
} wq_names[] = {
	{ "percpu",	WQ_PERCPU },
	{ "highpri",	WQ_PERCPU | WQ_HIGHPRI },
	{ "reclaim",	WQ_PERCPU | WQ_MEM_RECLAIM },
	{ "unbound",	WQ_UNBOUND },
	{ "max1",	WQ_PERCPU, 1 },
	{ "umax1",	WQ_UNBOUND, 1 },
	{ "sysfs1",	WQ_UNBOUND | WQ_SYSFS, 1 },
	{ "ordered" },
	{ "bh",		WQ_PERCPU | WQ_BH },
};

/* Each its own class: what order they are taken in is the script's affair. */
static struct mutex mutexes[NR_OBJECTS];
static struct lock_class_key mutex_keys[NR_OBJECTS];
static pid_t mutex_owners[NR_OBJECTS];

static DEFINE_WW_CLASS(chain_ww_class);
static struct ww_mutex ww_mutexes[NR_OBJECTS];
static pid_t ww_owners[NR_OBJECTS];

static struct rw_semaphore rwsems[NR_OBJECTS];
static struct percpu_rw_semaphore percpu_rwsems[NR_OBJECTS];	/* from FIRST_PERCPU on */
static struct lock_class_key rwsem_keys[NR_OBJECTS];

static struct chain_work works[NR_OBJECTS];
static struct lock_class_key work_keys[NR_OBJECTS];
static struct lock_class_key dwork_keys[NR_OBJECTS];

static struct chain_wq *wqs[ARRAY_SIZE(wq_names)];
static DECLARE_WAIT_QUEUE_HEAD(wq_unused);

static struct kthread_worker *kworkers[NR_CPUS];
static DEFINE_MUTEX(kworkers_lock);

static struct mark marks[NR_OBJECTS];

/* Which script a work has, and which workqueue a name; also from BH works */
static DEFINE_SPINLOCK(objects_lock);

static atomic_t nr_scripts;
static atomic_t nr_held;
static atomic_t nr_pending;
static atomic_t nr_queued;
static atomic_t nr_runs;
static atomic_t nr_cancelled;
static atomic_t nr_failed;
static bool unloading;

static struct dentry *chain_dir;

/* Parsing */

static void script_put(struct script *s)
{
	if (s && refcount_dec_and_test(&s->users))
		kfree(s);
}

static int parse_wq(const char *word)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(wq_names); i++)
		if (!strcmp(word, wq_names[i].name))
			return i;
	return -EINVAL;
}

static int parse_arg(char kind, const char *word, int *arg)
{
	int err;

	if (kind == 'q') {
		*arg = parse_wq(word);
		return *arg < 0 ? *arg : 0;
	}
	err = kstrtoint(word, 10, arg);
	if (err)
		return err;
	switch (kind) {
	case 'o':
		return *arg >= 0 && *arg < NR_OBJECTS ? 0 : -EINVAL;
	case 'c':
	case 'a':
		if (kind == 'a' && *arg == -1)
			return 0;
		return *arg >= 0 && *arg < nr_cpu_ids && cpu_possible(*arg) ? 0 : -ENODEV;
	case 't':
		return *arg >= 0 && *arg <= MAX_US ? 0 : -EINVAL;
	default:
		return *arg >= 0 && *arg <= MAX_US / USEC_PER_MSEC ? 0 : -EINVAL;
	}
}

static int parse_step(char *text, struct step *step)
{
	const struct step_name *name;
	char *word = strsep(&text, " ");
	int i, n, err;

	for (i = 0; i < ARRAY_SIZE(step_names); i++)
		if (!strcmp(word, step_names[i].name))
			break;
	if (i == ARRAY_SIZE(step_names))
		return -EINVAL;
	name = &step_names[i];
	step->kind = i;
	for (n = 0; name->args[n]; n++) {
		text = text ? skip_spaces(text) : NULL;
		word = strsep(&text, " ");
		if (!word)
			return -EINVAL;
		err = parse_arg(name->args[n], word, &step->arg[n]);
		if (err)
			return err;
	}
	if (text && *skip_spaces(text))
		return -EINVAL;
	/* A ww_mutex is not for taking twice. */
	if (i == WW && step->arg[0] == step->arg[1])
		return -EINVAL;
	return 0;
}

static struct script *parse_script(char *text)
{
	unsigned int max = 1, nr = 0;
	struct script *s;
	char *c, *word;
	int err;

	for (c = text; *c; c++)
		max += *c == ';';
	s = kzalloc(struct_size(s, steps, max), GFP_KERNEL);
	if (!s)
		return ERR_PTR(-ENOMEM);
	refcount_set(&s->users, 1);
	s->nr = max;
	while ((word = strsep(&text, ";"))) {
		word = strim(word);
		if (!*word)
			continue;
		err = parse_step(word, &s->steps[nr++]);
		if (err) {
			kfree(s);
			return ERR_PTR(err);
		}
	}
	s->nr = nr;
	return s;
}

/* Workqueues */

static struct chain_wq *new_wq(int name)
{
	const struct wq_name *n = &wq_names[name];
	struct chain_wq *wq = kzalloc(sizeof(*wq), GFP_KERNEL);

	if (!wq)
		return NULL;
	if (n->flags)
		wq->wq = alloc_workqueue("chain_%s", n->flags, n->max_active, n->name);
	else
		wq->wq = alloc_ordered_workqueue("chain_%s", 0, n->name);
	if (!wq->wq) {
		kfree(wq);
		return NULL;
	}
	refcount_set(&wq->users, 1);
	return wq;
}

static struct chain_wq *get_wq(int name)
{
	guard(spinlock_irqsave)(&objects_lock);
	refcount_inc(&wqs[name]->users);
	return wqs[name];
}

static void put_wq(struct chain_wq *wq)
{
	/* At 1 the destroyer goes on, and frees it. */
	guard(spinlock_irqsave)(&objects_lock);
	refcount_dec(&wq->users);
	if (refcount_read(&wq->users) == 1)
		wake_up(&wq_unused);
}

static bool wq_is_unused(struct chain_wq *wq)
{
	guard(spinlock_irqsave)(&objects_lock);
	return refcount_read(&wq->users) == 1;
}

/*
 * A delayed work whose timer runs is none that destroy_workqueue() knows of, and
 * one that expires while it drains the workqueue is dropped.
 */
static void flush_delayed_works(struct workqueue_struct *wq)
{
	bool found = false;
	int i;

	for (i = 0; i < NR_OBJECTS; i++) {
		struct delayed_work *dwork = &works[i].dwork;

		if (READ_ONCE(dwork->wq) != wq || !delayed_work_pending(dwork))
			continue;
		flush_delayed_work(dwork);
		found = true;
	}
	/* Somebody else's flush may be between the timer and the workqueue. */
	if (found)
		synchronize_rcu();
}

static void destroy_wq(struct chain_wq *wq, bool drain)
{
	wait_event(wq_unused, wq_is_unused(wq));
	flush_delayed_works(wq->wq);
	if (drain)
		drain_workqueue(wq->wq);
	destroy_workqueue(wq->wq);
	kfree(wq);
}

static int replace_wq(int name, bool drain)
{
	struct chain_wq *wq;

	if (READ_ONCE(unloading))
		return -ESHUTDOWN;
	wq = new_wq(name);
	if (!wq)
		return -ENOMEM;
	scoped_guard(spinlock_irqsave, &objects_lock)
		swap(wq, wqs[name]);
	destroy_wq(wq, drain);
	return 0;
}

static struct kthread_worker *kworker_of(int cpu)
{
	struct kthread_worker *worker;

	/* Pairs with the release below. */
	worker = smp_load_acquire(&kworkers[cpu]);
	if (worker)
		return worker;
	guard(mutex)(&kworkers_lock);
	worker = kworkers[cpu];
	if (!worker) {
		worker = kthread_run_worker_on_cpu(cpu, 0, "chain/%u");
		if (IS_ERR(worker))
			return worker;
		/* Whoever sees it sees it complete. */
		smp_store_release(&kworkers[cpu], worker);
	}
	return worker;
}

/* Steps */

static int sleep_us(u32 us, unsigned int state)
{
	ktime_t end = ktime_add_us(ktime_get(), us);
	int left;

	do {
		if (state == TASK_KILLABLE && fatal_signal_pending(current))
			return -EINTR;
		set_current_state(state);
		/* With PREEMPT_RT, too, no thread of that CPU is needed to wake. */
		left = schedule_hrtimeout(&end, HRTIMER_MODE_ABS_HARD);
	} while (left);
	return 0;
}

/*
 * CPU time, not time: being preempted for long lengthens the microsecond in
 * which it happens, and only that one.
 */
static int burn(u32 us)
{
	while (us--) {
		/* In a BH work that would be whoever was interrupted. */
		if (in_task() && !(current->flags & PF_KTHREAD) && fatal_signal_pending(current))
			return -EINTR;
		udelay(1);
	}
	return 0;
}

static int burn_off(u32 us)
{
	guard(irqsave)();
	while (us--)
		udelay(1);
	return 0;
}

static int hold_wait_lock(int n, u32 us)
{
#ifndef CONFIG_PREEMPT_RT
	guard(raw_spinlock_irqsave)(&mutexes[n].wait_lock);
#endif
	return burn_off(us);
}

static int set_nomig(struct run *run, bool nomig)
{
	if (run->nomig == nomig)
		return -EINVAL;
	run->nomig = nomig;
	if (nomig)
		migrate_disable();
	else
		migrate_enable();
	return 0;
}

static int wait_mark(int n)
{
	/* Pairs with set_mark(). */
	while (!smp_load_acquire(&marks[n].ns)) {
		if (READ_ONCE(unloading))
			return -ESHUTDOWN;
		if (sleep_us(POLL_US, TASK_KILLABLE))
			return -EINTR;
	}
	return 0;
}

static void set_mark(int n)
{
	marks[n].pid = task_pid_nr(current);
	marks[n].cpu = raw_smp_processor_id();
	/* Whoever sees the time sees the rest. */
	smp_store_release(&marks[n].ns, ktime_get_ns());
}

static void clear_marks(void)
{
	int i;

	for (i = 0; i < NR_OBJECTS; i++)
		WRITE_ONCE(marks[i].ns, 0);
}

static int lock_one(struct run *run, enum step_kind kind, int n)
{
	int err = 0;

	if (test_bit(n, run->held))
		return -EDEADLK;
	if (kind == LOCK)
		mutex_lock(&mutexes[n]);
	else if (kind == LOCKIO)
		mutex_lock_io(&mutexes[n]);
	else if (kind == LOCKK)
		err = mutex_lock_killable(&mutexes[n]);
	else if (!mutex_trylock(&mutexes[n]))
		err = -EBUSY;
	if (err)
		return err;
	__set_bit(n, run->held);
	atomic_inc(&nr_held);
	WRITE_ONCE(mutex_owners[n], task_pid_nr(current));
	return 0;
}

static int unlock_one(struct run *run, int n)
{
	if (!test_bit(n, run->held))
		return -EPERM;
	__clear_bit(n, run->held);
	atomic_dec(&nr_held);
	WRITE_ONCE(mutex_owners[n], 0);
	mutex_unlock(&mutexes[n]);
	return 0;
}

static int lock_ww(struct run *run, int x, int y)
{
	if (run->ww[0] >= 0)
		return -EDEADLK;
	run->ww[0] = x;
	run->ww[1] = y;
	ww_acquire_init(&run->ww_ctx, &chain_ww_class);
	/* Nothing is held yet: this cannot fail. */
	ww_mutex_lock(&ww_mutexes[x], &run->ww_ctx);
	while (ww_mutex_lock(&ww_mutexes[y], &run->ww_ctx) == -EDEADLK) {
		ww_mutex_unlock(&ww_mutexes[x]);
		ww_mutex_lock_slow(&ww_mutexes[y], &run->ww_ctx);
		swap(x, y);
	}
	ww_acquire_done(&run->ww_ctx);
	atomic_add(2, &nr_held);
	WRITE_ONCE(ww_owners[x], task_pid_nr(current));
	WRITE_ONCE(ww_owners[y], task_pid_nr(current));
	return 0;
}

static int unlock_ww(struct run *run, int x, int y)
{
	if (x != run->ww[0] || y != run->ww[1] || x < 0)
		return -EPERM;
	atomic_sub(2, &nr_held);
	WRITE_ONCE(ww_owners[x], 0);
	WRITE_ONCE(ww_owners[y], 0);
	ww_mutex_unlock(&ww_mutexes[x]);
	ww_mutex_unlock(&ww_mutexes[y]);
	ww_acquire_fini(&run->ww_ctx);
	run->ww[0] = -1;
	return 0;
}

static int down_one(struct run *run, bool write, int n)
{
	if (test_bit(n, run->written) || test_bit(n, run->read))
		return -EDEADLK;
	if (n >= FIRST_PERCPU && write)
		percpu_down_write(&percpu_rwsems[n]);
	else if (n >= FIRST_PERCPU)
		percpu_down_read(&percpu_rwsems[n]);
	else if (write)
		down_write(&rwsems[n]);
	else
		down_read(&rwsems[n]);
	__set_bit(n, write ? run->written : run->read);
	atomic_inc(&nr_held);
	return 0;
}

static int up_one(struct run *run, int n)
{
	bool write = __test_and_clear_bit(n, run->written);

	if (!write && !__test_and_clear_bit(n, run->read))
		return -EPERM;
	if (n >= FIRST_PERCPU && write)
		percpu_up_write(&percpu_rwsems[n]);
	else if (n >= FIRST_PERCPU)
		percpu_up_read(&percpu_rwsems[n]);
	else if (write)
		up_write(&rwsems[n]);
	else
		up_read(&rwsems[n]);
	atomic_dec(&nr_held);
	return 0;
}

static bool is_queued(struct chain_work *w, enum step_kind kind)
{
	switch (kind) {
	case QUEUE:
		return work_pending(&w->work);
	case DQUEUE:
		return delayed_work_pending(&w->dwork);
	default:
		return !list_empty(&w->kwork.node);
	}
}

static bool queue_it(struct chain_work *w, const struct step *step)
{
	int cpu = step->arg[1] < 0 ? WORK_CPU_UNBOUND : step->arg[1];
	struct kthread_worker *worker;
	struct chain_wq *wq;
	bool queued;

	if (step->kind == KQUEUE) {
		worker = smp_load_acquire(&kworkers[cpu]);	/* see kworker_of() */
		return kthread_queue_work(worker, &w->kwork);
	}
	wq = get_wq(step->arg[2]);
	if (step->kind == QUEUE)
		queued = queue_work_on(cpu, wq->wq, &w->work);
	else
		queued = queue_delayed_work_on(cpu, wq->wq, &w->dwork,
					       msecs_to_jiffies(step->arg[3]));
	put_wq(wq);
	return queued;
}

static int queue_online(struct chain_work *w, const struct step *step)
{
	if (step->arg[1] >= 0 && !cpu_online(step->arg[1]))
		return -ENODEV;
	/* If it is queued by somebody else just now, so be it. */
	if (is_queued(w, step->kind))
		return 0;
	WRITE_ONCE(w->queued_ns, ktime_get_ns());
	WRITE_ONCE(w->first_ns, 0);
	WRITE_ONCE(w->end_ns, 0);
	atomic_inc(&nr_pending);
	if (queue_it(w, step))
		atomic_inc(&nr_queued);
	else
		atomic_dec(&nr_pending);
	return 0;
}

static int queue_step(const struct step *step)
{
	struct chain_work *w = &works[step->arg[0]];

	if (READ_ONCE(unloading))
		return -ESHUTDOWN;
	if (step->kind == KQUEUE) {
		struct kthread_worker *worker = kworker_of(step->arg[1]);

		if (IS_ERR(worker))
			return PTR_ERR(worker);
	}
	/* Only BH works cannot wait, and their CPUs do not go away under them. */
	if (in_interrupt())
		return queue_online(w, step);
	guard(cpus_read_lock)();
	return queue_online(w, step);
}

static void cancelled(bool was_pending)
{
	if (!was_pending)
		return;
	atomic_inc(&nr_cancelled);
	atomic_dec(&nr_pending);
}

static int flush_wq(int name)
{
	struct chain_wq *wq;

	if (READ_ONCE(unloading))
		return -ESHUTDOWN;
	wq = get_wq(name);
	flush_workqueue(wq->wq);
	put_wq(wq);
	return 0;
}

static int burn_called(void *us)
{
	return burn(*(int *)us);
}

static int park_or_stop(void *unused)
{
	while (!kthread_should_stop()) {
		if (kthread_should_park())
			kthread_parkme();
		set_current_state(TASK_IDLE);
		if (!kthread_should_stop() && !kthread_should_park())
			schedule();
		__set_current_state(TASK_RUNNING);
	}
	return 0;
}

static int stop_kthread(int cpu)
{
	struct task_struct *k = kthread_create_on_cpu(park_or_stop, NULL, cpu, "stopped/%u");
	int err;

	if (IS_ERR(k))
		return PTR_ERR(k);
	wake_up_process(k);
	err = kthread_park(k);
	if (!err)
		kthread_unpark(k);
	return kthread_stop(k) ?: err;
}

static int run_step(struct run *run, const struct step *step)
{
	const int *arg = step->arg;
	struct kthread_worker *worker;

	if (in_interrupt() && !step_names[step->kind].atomic)
		return -EWOULDBLOCK;
	switch (step->kind) {
	case LOCK:
	case LOCKK:
	case LOCKT:
	case LOCKIO:
		return lock_one(run, step->kind, arg[0]);
	case UNLOCK:
		return unlock_one(run, arg[0]);
	case WW:
		return lock_ww(run, arg[0], arg[1]);
	case WWUN:
		return unlock_ww(run, arg[0], arg[1]);
	case DOWN:
	case DOWNR:
		return down_one(run, step->kind == DOWN, arg[0]);
	case UP:
		return up_one(run, arg[0]);
	case QUEUE:
	case DQUEUE:
	case KQUEUE:
		return queue_step(step);
	case FLUSH:
		flush_work(&works[arg[0]].work);
		return 0;
	case DFLUSH:
		flush_delayed_work(&works[arg[0]].dwork);
		return 0;
	case CANCEL:
		cancelled(cancel_work_sync(&works[arg[0]].work));
		return 0;
	case DCANCEL:
		cancelled(cancel_delayed_work_sync(&works[arg[0]].dwork));
		return 0;
	case FLUSHWQ:
		return flush_wq(arg[0]);
	case DRAIN:
	case DESTROYWQ:
		return replace_wq(arg[0], step->kind == DRAIN);
	case KFLUSH:
		kthread_flush_work(&works[arg[0]].kwork);
		return 0;
	case KCANCEL:
		cancelled(kthread_cancel_work_sync(&works[arg[0]].kwork));
		return 0;
	case KFLUSHALL:
		worker = smp_load_acquire(&kworkers[arg[0]]);	/* see kworker_of() */
		if (worker)
			kthread_flush_worker(worker);
		return 0;
	case CALL:
		return smp_call_on_cpu(arg[0], burn_called, (void *)&arg[1], false);
	case KTHREAD:
		return stop_kthread(arg[0]);
	case BURN:
		return burn(arg[0]);
	case BURNOFF:
		return burn_off(arg[0]);
	case WAITLOCK:
		return hold_wait_lock(arg[0], arg[1]);
	case NOMIG:
	case MIG:
		return set_nomig(run, step->kind == NOMIG);
	case RCUTASKS:
		synchronize_rcu_tasks();
		return 0;
	case SLEEP:
		return sleep_us(arg[0], TASK_UNINTERRUPTIBLE);
	case NAP:
		return sleep_us(arg[0], TASK_KILLABLE);
	case MARK:
		set_mark(arg[0]);
		return 0;
	case WAIT:
		return wait_mark(arg[0]);
	case CLEAR:
		clear_marks();
		return 0;
	}
	return -EINVAL;
}

static int run_script(const struct script *s)
{
	struct run run = { .ww = { -1, -1 } };
	int i, n, err = 0;

	atomic_inc(&nr_scripts);
	for (i = 0; i < s->nr && !err; i++)
		err = run_step(&run, &s->steps[i]);
	if (run.ww[0] >= 0)
		unlock_ww(&run, run.ww[0], run.ww[1]);
	for (n = NR_OBJECTS - 1; n >= 0; n--)
		if (test_bit(n, run.held))
			unlock_one(&run, n);
	for (n = NR_OBJECTS - 1; n >= 0; n--)
		up_one(&run, n);
	if (run.nomig)
		set_nomig(&run, false);
	atomic_dec(&nr_scripts);
	return err;
}

/* Works */

static struct script *work_script(struct chain_work *w)
{
	guard(spinlock_irqsave)(&objects_lock);
	if (w->script)
		refcount_inc(&w->script->users);
	return w->script;
}

static void run_work(struct chain_work *w)
{
	struct script *s = work_script(w);

	WRITE_ONCE(w->pid, task_pid_nr(current));
	WRITE_ONCE(w->first_ns, ktime_get_ns());
	if (s && run_script(s))
		atomic_inc(&nr_failed);
	script_put(s);
	WRITE_ONCE(w->end_ns, ktime_get_ns());
	atomic_inc(&w->runs);
	atomic_inc(&nr_runs);
	atomic_dec(&nr_pending);
}

static void work_fn(struct work_struct *work)
{
	run_work(container_of(work, struct chain_work, work));
}

static void dwork_fn(struct work_struct *work)
{
	run_work(container_of(to_delayed_work(work), struct chain_work, dwork));
}

static void kwork_fn(struct kthread_work *work)
{
	run_work(container_of(work, struct chain_work, kwork));
}

/* Files */

static ssize_t run_write(struct file *file, const char __user *user, size_t len, loff_t *pos)
{
	struct script *s;
	int err;

	if (len >= MAX_SCRIPT)
		return -E2BIG;
	char *text __free(kfree) = memdup_user_nul(user, len);
	if (IS_ERR(text))
		return PTR_ERR(text);
	s = parse_script(strim(text));
	if (IS_ERR(s))
		return PTR_ERR(s);
	err = run_script(s);
	script_put(s);
	return err ?: len;
}

static const struct file_operations run_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
	.write	= run_write,
};

static ssize_t work_write(struct file *file, const char __user *user, size_t len, loff_t *pos)
{
	char *body, *name;
	struct script *s;
	int n, err;

	if (len >= MAX_SCRIPT)
		return -E2BIG;
	char *text __free(kfree) = memdup_user_nul(user, len);
	if (IS_ERR(text))
		return PTR_ERR(text);
	body = text;
	name = strim(strsep(&body, "="));
	if (!body)
		return -EINVAL;
	err = parse_arg('o', name, &n);
	if (err)
		return err;
	s = parse_script(strim(body));
	if (IS_ERR(s))
		return PTR_ERR(s);
	scoped_guard(spinlock_irqsave, &objects_lock)
		swap(s, works[n].script);
	script_put(s);
	return len;
}

static int work_show(struct seq_file *m, void *unused)
{
	int i;

	for (i = 0; i < NR_OBJECTS; i++) {
		struct chain_work *w = &works[i];

		if (READ_ONCE(w->queued_ns))
			seq_printf(m, "%d %d %llu %llu %llu %d\n", i, READ_ONCE(w->pid),
				   READ_ONCE(w->queued_ns), READ_ONCE(w->first_ns),
				   READ_ONCE(w->end_ns), atomic_read(&w->runs));
	}
	return 0;
}

static int work_open(struct inode *inode, struct file *file)
{
	return single_open(file, work_show, NULL);
}

static const struct file_operations work_fops = {
	.owner		= THIS_MODULE,
	.open		= work_open,
	.read		= seq_read,
	.write		= work_write,
	.llseek		= seq_lseek,
	.release	= single_release,
};

static int state_show(struct seq_file *m, void *unused)
{
	int scripts = atomic_read(&nr_scripts);
	int i;

	for (i = 0; i < NR_OBJECTS; i++)
		if (READ_ONCE(mutex_owners[i]))
			seq_printf(m, "m %d %d\n", i, READ_ONCE(mutex_owners[i]));
	for (i = 0; i < NR_OBJECTS; i++)
		if (READ_ONCE(ww_owners[i]))
			seq_printf(m, "x %d %d\n", i, READ_ONCE(ww_owners[i]));
	for (i = 0; i < NR_OBJECTS; i++) {
		u64 ns = smp_load_acquire(&marks[i].ns);	/* see set_mark() */

		if (ns)
			seq_printf(m, "mark %d %d %llu %d\n", i, marks[i].pid, ns, marks[i].cpu);
	}
	seq_printf(m, "scripts: %d\n", scripts);
	seq_printf(m, "queued: %d\n", atomic_read(&nr_queued));
	seq_printf(m, "runs: %d\n", atomic_read(&nr_runs));
	seq_printf(m, "cancelled: %d\n", atomic_read(&nr_cancelled));
	seq_printf(m, "failed: %d\n", atomic_read(&nr_failed));
	seq_printf(m, "busy: %d\n",
		   scripts || atomic_read(&nr_pending) || atomic_read(&nr_held));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(state);

/* Loading and unloading */

static int init_objects(void)
{
	int i;

	for (i = 0; i < NR_OBJECTS; i++) {
		struct chain_work *w = &works[i];

		mutex_init_with_key(&mutexes[i], &mutex_keys[i]);
		if (i < FIRST_PERCPU)
			__init_rwsem(&rwsems[i], "chain_rwsem", &rwsem_keys[i]);
		ww_mutex_init(&ww_mutexes[i], &chain_ww_class);
		INIT_WORK(&w->work, work_fn);
		lockdep_init_map(&w->work.lockdep_map, "chain_work", &work_keys[i], 0);
		INIT_DELAYED_WORK(&w->dwork, dwork_fn);
		lockdep_init_map(&w->dwork.work.lockdep_map, "chain_dwork", &dwork_keys[i], 0);
		kthread_init_work(&w->kwork, kwork_fn);
		if (i >= FIRST_PERCPU &&
		    __percpu_init_rwsem(&percpu_rwsems[i], "chain_percpu_rwsem", &rwsem_keys[i]))
			return -ENOMEM;
	}
	return 0;
}

static void free_percpu_rwsems(void)
{
	int i;

	for (i = FIRST_PERCPU; i < NR_OBJECTS; i++)
		percpu_free_rwsem(&percpu_rwsems[i]);
}

/*
 * What began before unloading was set may use any of them to its end, and what
 * begins after that none: let all of it end first.
 */
static void end_works(void)
{
	int i;

	for (i = 0; i < NR_OBJECTS; i++)
		flush_delayed_work(&works[i].dwork);
	for (i = 0; i < ARRAY_SIZE(wqs); i++)
		if (wqs[i])
			flush_workqueue(wqs[i]->wq);
	for (i = 0; i < nr_cpu_ids; i++)
		if (kworkers[i])
			kthread_flush_worker(kworkers[i]);
}

static void destroy_wqs(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(wqs); i++)
		if (wqs[i])
			destroy_wq(wqs[i], false);
}

static int __init test_proxy_chain_init(void)
{
	int i;

	if (init_objects())
		goto nomem;
	for (i = 0; i < ARRAY_SIZE(wqs); i++) {
		wqs[i] = new_wq(i);
		if (!wqs[i])
			goto nomem;
	}
	chain_dir = debugfs_create_dir("test_proxy_chain", NULL);
	debugfs_create_file("run", 0200, chain_dir, NULL, &run_fops);
	debugfs_create_file("work", 0600, chain_dir, NULL, &work_fops);
	debugfs_create_file("state", 0400, chain_dir, NULL, &state_fops);
	return 0;

nomem:
	destroy_wqs();
	free_percpu_rwsems();
	return -ENOMEM;
}

static void __exit test_proxy_chain_exit(void)
{
	int i;

	debugfs_remove(chain_dir);
	WRITE_ONCE(unloading, true);
	end_works();
	/* And what that has queued at the last moment. */
	end_works();
	destroy_wqs();
	for (i = 0; i < nr_cpu_ids; i++)
		if (kworkers[i])
			kthread_destroy_worker(kworkers[i]);
	for (i = 0; i < NR_OBJECTS; i++)
		script_put(works[i].script);
	free_percpu_rwsems();
}

module_init(test_proxy_chain_init);
module_exit(test_proxy_chain_exit);

MODULE_DESCRIPTION("Chains of waiting tasks, for the proxy_stall selftests");
MODULE_LICENSE("GPL");
