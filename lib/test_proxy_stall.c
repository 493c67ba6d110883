// SPDX-License-Identifier: GPL-2.0
/*
 * Kernel threads and works that the selftests in
 * tools/testing/selftests/proxy_stall let starve.
 *
 * In debugfs, under test_proxy_stall/:
 *
 * kthread: each open of this file owns at most one kthread.  Writes:
 *
 *   start CPU POLICY PRIO BIND   create it on CPU; POLICY PRIO is "other NICE"
 *                                or "fifo PRIORITY"; BIND is "bound"
 *                                (kthread_bind()) or "movable" (its affinity
 *                                may be changed)
 *   run ROUNDS BURN SLEEP LOCK HOLD [HOW]
 *                                give it a program and wake it: so many rounds
 *                                of: take the module's mutex if LOCK is 1, its
 *                                spinlock if it is 2 (then HOLD has to be 0), use
 *                                BURN us of CPU time, sleep HOLD us, unlock,
 *                                sleep SLEEP us. HOW says what is disabled
 *                                while CPU time is used: "nothing" (default),
 *                                "preemption", "bh" or "irqs"
 *   wait                         until the program has ended
 *   stop                         kthread_stop()
 *   orphan                       leave it to the unload of the module
 *
 * Reads tell how it is going, one "key: value" a line; times are those of
 * CLOCK_MONOTONIC.
 *
 * work: a write of "CPU BURN [ROUNDS SLEEP]" queues a work on the CPU and flushes
 * it.  The work ROUNDS times (once) uses BURN us of CPU time and then sleeps SLEEP
 * us.  Reads tell how that went.
 *
 * flood: a write of "CPU BURN" starts a tasklet on the CPU that uses BURN us of CPU
 * time and schedules itself again, until the file is closed.  Reads tell how often.
 *
 * Closing a file stops what it started.  That, like "stop" and the flush, waits
 * for as long as the kthread starves: whoever starves it has to end by itself.
 */
#include <linux/cpu.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/interrupt.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <uapi/linux/sched/types.h>

#define MAX_US		(60 * USEC_PER_SEC)

enum disabled { NOTHING, PREEMPTION, BH, IRQS };
enum lock { NO_LOCK, MUTEX, SPINLOCK };

struct program {
	u32	rounds;
	u32	burn_us;
	u32	sleep_us;
	u32	lock;
	u32	hold_us;
	enum disabled disabled;
};

/* Times are zero until they have come. */
struct report {
	u64	woken_ns;
	u64	first_ns;
	u64	end_ns;
	u32	rounds;
};

struct stall_thread {
	struct mutex		lock;	/* serializes the writes */
	struct task_struct	*task;
	wait_queue_head_t	wake;
	wait_queue_head_t	idle;
	bool			pending;
	bool			movable;
	int			cpu;
	struct program		program;
	struct report		report;
	struct list_head	orphan;
};

struct stall_work {
	struct work_struct	work;
	struct mutex		lock;	/* serializes the writes */
	u32			burn_us;
	u32			rounds;
	u32			sleep_us;
	pid_t			pid;
	struct report		report;
};

struct stall_flood {
	struct tasklet_struct	tasklet;
	struct mutex		lock;	/* serializes the writes */
	u32			burn_us;
	u32			runs;
	bool			stop;
};

static DEFINE_MUTEX(contended);
static DEFINE_SPINLOCK(contended_spinlock);
static DEFINE_MUTEX(orphans_lock);
static LIST_HEAD(orphans);
static struct workqueue_struct *stall_wq;
static struct dentry *stall_dir;

/* Whose turn it is with the program and the report: the kthread's if pending. */
static bool is_pending(struct stall_thread *t)
{
	/* Pairs with the release in set_pending(). */
	return smp_load_acquire(&t->pending);
}

static void set_pending(struct stall_thread *t, bool pending)
{
	/* Whoever sees this sees the program, or the report, that came before. */
	smp_store_release(&t->pending, pending);
}

/*
 * CPU time, not time: being preempted for long lengthens the microsecond in
 * which it happens, and only that one.
 */
static void burn(u32 us)
{
	while (us--)
		udelay(1);
}

static void burn_until_stop(u32 us)
{
	while (us-- && !kthread_should_stop())
		udelay(1);
}

/* In one piece, so that a long one is not noticed to have been told to stop. */
static void burn_disabled(u32 us, enum disabled disabled)
{
	switch (disabled) {
	case NOTHING:
		burn_until_stop(us);
		break;
	case PREEMPTION:
		scoped_guard (preempt)
			burn(us);
		break;
	case BH:
		local_bh_disable();
		burn(us);
		local_bh_enable();
		break;
	case IRQS:
		scoped_guard (irqsave)
			burn(us);
		break;
	}
}

static void nap(struct stall_thread *t, u32 us)
{
	ktime_t timeout = us_to_ktime(us);

	if (us)
		wait_event_hrtimeout(t->wake, kthread_should_stop(), timeout);
}

static void one_round(struct stall_thread *t, const struct program *p)
{
	if (p->lock == SPINLOCK) {
		guard(spinlock)(&contended_spinlock);
		burn_disabled(p->burn_us, p->disabled);
	} else {
		if (p->lock)
			mutex_lock(&contended);
		burn_disabled(p->burn_us, p->disabled);
		nap(t, p->hold_us);
		if (p->lock)
			mutex_unlock(&contended);
	}
	nap(t, p->sleep_us);
}

static void run_program(struct stall_thread *t)
{
	struct report *r = &t->report;
	u32 i;

	WRITE_ONCE(r->first_ns, ktime_get_ns());
	for (i = 0; i < t->program.rounds && !kthread_should_stop(); i++) {
		one_round(t, &t->program);
		WRITE_ONCE(r->rounds, i + 1);
	}
	WRITE_ONCE(r->end_ns, ktime_get_ns());
}

static int stall_thread_fn(void *data)
{
	struct stall_thread *t = data;

	/* Not before it runs: a new kthread's first act is to set its affinity. */
	if (t->movable)
		set_cpus_allowed_ptr(current, cpumask_of(t->cpu));
	for (;;) {
		wait_event_idle(t->wake, is_pending(t) || kthread_should_stop());
		if (kthread_should_stop())
			return 0;
		run_program(t);
		set_pending(t, false);
		wake_up(&t->idle);
	}
}

static int set_policy(struct task_struct *task, const char *policy, int prio)
{
	struct sched_attr attr = { .size = sizeof(attr) };

	if (!strcmp(policy, "fifo")) {
		attr.sched_policy = SCHED_FIFO;
		attr.sched_priority = prio;
	} else if (!strcmp(policy, "other")) {
		attr.sched_policy = SCHED_NORMAL;
		attr.sched_nice = prio;
	} else {
		return -EINVAL;
	}
	return sched_setattr_nocheck(task, &attr);
}

static int thread_start(struct stall_thread *t, const char *args)
{
	char policy[8], how[8];
	struct task_struct *task;
	int cpu, prio, err;

	if (sscanf(args, "%d %7s %d %7s", &cpu, policy, &prio, how) != 4)
		return -EINVAL;
	if (t->task)
		return -EBUSY;

	guard(cpus_read_lock)();
	if (cpu < 0 || cpu >= nr_cpu_ids || !cpu_online(cpu))
		return -ENODEV;
	t->cpu = cpu;
	t->movable = !strcmp(how, "movable");
	if (!t->movable && strcmp(how, "bound"))
		return -EINVAL;
	task = kthread_create(stall_thread_fn, t, "stall_test/%d", cpu);
	if (IS_ERR(task))
		return PTR_ERR(task);
	if (!t->movable)
		kthread_bind(task, cpu);
	err = set_policy(task, policy, prio);
	if (err) {
		kthread_stop(task);
		return err;
	}
	t->task = task;
	wake_up_process(task);
	return 0;
}

static int thread_run(struct stall_thread *t, const char *args)
{
	static const char * const words[] = { "nothing", "preemption", "bh", "irqs" };
	char how[16] = "nothing";
	struct program p;
	int disabled;

	if (sscanf(args, "%u %u %u %u %u %15s", &p.rounds, &p.burn_us, &p.sleep_us,
		   &p.lock, &p.hold_us, how) < 5)
		return -EINVAL;
	disabled = match_string(words, ARRAY_SIZE(words), how);
	if (disabled < 0)
		return disabled;
	p.disabled = disabled;
	if (p.burn_us > MAX_US || p.sleep_us > MAX_US || p.hold_us > MAX_US)
		return -EINVAL;
	if (p.lock > SPINLOCK || (p.lock == SPINLOCK && p.hold_us))
		return -EINVAL;
	if (!t->task)
		return -ESRCH;
	if (is_pending(t))
		return -EBUSY;

	t->program = p;
	t->report = (struct report) { .woken_ns = ktime_get_ns() };
	set_pending(t, true);
	wake_up(&t->wake);
	return 0;
}

static int thread_wait(struct stall_thread *t)
{
	return wait_event_interruptible(t->idle, !is_pending(t));
}

static int thread_stop(struct stall_thread *t)
{
	if (!t->task)
		return -ESRCH;
	kthread_stop(t->task);
	t->task = NULL;
	set_pending(t, false);
	return 0;
}

static int thread_orphan(struct stall_thread *t)
{
	if (!t->task)
		return -ESRCH;
	guard(mutex)(&orphans_lock);
	list_add(&t->orphan, &orphans);
	return 0;
}

static int thread_command(struct stall_thread *t, char *cmd)
{
	if (!list_empty(&t->orphan))
		return -EBUSY;
	if (!strncmp(cmd, "start ", 6))
		return thread_start(t, cmd + 6);
	if (!strncmp(cmd, "run ", 4))
		return thread_run(t, cmd + 4);
	if (!strcmp(cmd, "wait"))
		return thread_wait(t);
	if (!strcmp(cmd, "stop"))
		return thread_stop(t);
	if (!strcmp(cmd, "orphan"))
		return thread_orphan(t);
	return -EINVAL;
}

static int get_command(char *buf, size_t size, const char __user *user, size_t len)
{
	if (len >= size)
		return -EINVAL;
	if (copy_from_user(buf, user, len))
		return -EFAULT;
	buf[len] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	return 0;
}

static ssize_t thread_write(struct file *file, const char __user *user,
			    size_t len, loff_t *pos)
{
	struct stall_thread *t = file->private_data;
	char cmd[80];
	int err;

	err = get_command(cmd, sizeof(cmd), user, len);
	if (err)
		return err;
	scoped_cond_guard(mutex_intr, return -ERESTARTSYS, &t->lock)
		err = thread_command(t, cmd);
	return err ?: len;
}

static int print_report(char *buf, size_t size, const struct report *r)
{
	return scnprintf(buf, size,
			 "rounds: %u\nwoken_ns: %llu\nfirst_ns: %llu\nend_ns: %llu\n",
			 READ_ONCE(r->rounds), READ_ONCE(r->woken_ns),
			 READ_ONCE(r->first_ns), READ_ONCE(r->end_ns));
}

static ssize_t thread_read(struct file *file, char __user *user, size_t len,
			   loff_t *pos)
{
	struct stall_thread *t = file->private_data;
	char buf[256];
	int n;

	scoped_cond_guard(mutex_intr, return -ERESTARTSYS, &t->lock)
		n = scnprintf(buf, sizeof(buf), "pid: %d\ncpu: %d\npending: %d\n",
			      t->task ? task_pid_nr(t->task) : 0, t->cpu,
			      is_pending(t));
	n += print_report(buf + n, sizeof(buf) - n, &t->report);
	return simple_read_from_buffer(user, len, pos, buf, n);
}

static int thread_open(struct inode *inode, struct file *file)
{
	struct stall_thread *t = kzalloc(sizeof(*t), GFP_KERNEL);

	if (!t)
		return -ENOMEM;
	mutex_init(&t->lock);
	init_waitqueue_head(&t->wake);
	init_waitqueue_head(&t->idle);
	INIT_LIST_HEAD(&t->orphan);
	file->private_data = t;
	return 0;
}

static int thread_release(struct inode *inode, struct file *file)
{
	struct stall_thread *t = file->private_data;

	if (!list_empty(&t->orphan))
		return 0;
	thread_stop(t);
	kfree(t);
	return 0;
}

static const struct file_operations thread_fops = {
	.owner		= THIS_MODULE,
	.open		= thread_open,
	.read		= thread_read,
	.write		= thread_write,
	.release	= thread_release,
};

static void stall_work_fn(struct work_struct *work)
{
	struct stall_work *w = container_of(work, struct stall_work, work);

	w->pid = task_pid_nr(current);
	w->report.first_ns = ktime_get_ns();
	while (w->report.rounds < w->rounds) {
		burn(w->burn_us);
		if (w->sleep_us)
			usleep_range(w->sleep_us, w->sleep_us);
		w->report.rounds++;
	}
	w->report.end_ns = ktime_get_ns();
}

static int queue_work_online(struct stall_work *w, int cpu)
{
	guard(cpus_read_lock)();
	if (cpu < 0 || cpu >= nr_cpu_ids || !cpu_online(cpu))
		return -ENODEV;
	w->report = (struct report) { .woken_ns = ktime_get_ns() };
	queue_work_on(cpu, stall_wq, &w->work);
	return 0;
}

static int work_run(struct stall_work *w, const char *args)
{
	u32 burn_us, rounds = 1, sleep_us = 0;
	int cpu, err;

	if (sscanf(args, "%d %u %u %u", &cpu, &burn_us, &rounds, &sleep_us) < 2 ||
	    burn_us > MAX_US || sleep_us > MAX_US)
		return -EINVAL;
	w->burn_us = burn_us;
	w->rounds = rounds;
	w->sleep_us = sleep_us;
	err = queue_work_online(w, cpu);
	if (!err)
		flush_work(&w->work);
	return err;
}

static ssize_t work_write(struct file *file, const char __user *user,
			  size_t len, loff_t *pos)
{
	struct stall_work *w = file->private_data;
	char args[80];
	int err;

	err = get_command(args, sizeof(args), user, len);
	if (err)
		return err;
	scoped_cond_guard(mutex_intr, return -ERESTARTSYS, &w->lock)
		err = work_run(w, args);
	return err ?: len;
}

static ssize_t work_read(struct file *file, char __user *user, size_t len,
			 loff_t *pos)
{
	struct stall_work *w = file->private_data;
	char buf[256];
	int n;

	n = scnprintf(buf, sizeof(buf), "pid: %d\n", w->pid);
	n += print_report(buf + n, sizeof(buf) - n, &w->report);
	return simple_read_from_buffer(user, len, pos, buf, n);
}

static int work_open(struct inode *inode, struct file *file)
{
	struct stall_work *w = kzalloc(sizeof(*w), GFP_KERNEL);

	if (!w)
		return -ENOMEM;
	mutex_init(&w->lock);
	INIT_WORK(&w->work, stall_work_fn);
	file->private_data = w;
	return 0;
}

static int work_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static const struct file_operations work_fops = {
	.owner		= THIS_MODULE,
	.open		= work_open,
	.read		= work_read,
	.write		= work_write,
	.release	= work_release,
};

static void flood_tasklet(struct tasklet_struct *tasklet)
{
	struct stall_flood *f = from_tasklet(f, tasklet, tasklet);

	burn(f->burn_us);
	WRITE_ONCE(f->runs, f->runs + 1);
	if (!READ_ONCE(f->stop))
		tasklet_schedule(tasklet);
}

static void flood_begin(void *info)
{
	tasklet_schedule(info);
}

static int flood_start(struct stall_flood *f, const char *args)
{
	u32 burn_us;
	int cpu;

	if (sscanf(args, "%d %u", &cpu, &burn_us) != 2 || cpu < 0 || cpu >= nr_cpu_ids ||
	    burn_us > USEC_PER_MSEC)
		return -EINVAL;
	if (f->burn_us)
		return -EBUSY;
	f->burn_us = burn_us ?: 1;
	return smp_call_function_single(cpu, flood_begin, &f->tasklet, true);
}

static ssize_t flood_write(struct file *file, const char __user *user,
			   size_t len, loff_t *pos)
{
	struct stall_flood *f = file->private_data;
	char args[80];
	int err;

	err = get_command(args, sizeof(args), user, len);
	if (err)
		return err;
	scoped_cond_guard(mutex_intr, return -ERESTARTSYS, &f->lock)
		err = flood_start(f, args);
	return err ?: len;
}

static ssize_t flood_read(struct file *file, char __user *user, size_t len,
			  loff_t *pos)
{
	struct stall_flood *f = file->private_data;
	char buf[32];
	int n;

	n = scnprintf(buf, sizeof(buf), "runs: %u\n", READ_ONCE(f->runs));
	return simple_read_from_buffer(user, len, pos, buf, n);
}

static int flood_open(struct inode *inode, struct file *file)
{
	struct stall_flood *f = kzalloc(sizeof(*f), GFP_KERNEL);

	if (!f)
		return -ENOMEM;
	mutex_init(&f->lock);
	tasklet_setup(&f->tasklet, flood_tasklet);
	file->private_data = f;
	return 0;
}

static int flood_release(struct inode *inode, struct file *file)
{
	struct stall_flood *f = file->private_data;

	WRITE_ONCE(f->stop, true);
	tasklet_kill(&f->tasklet);
	kfree(f);
	return 0;
}

static const struct file_operations flood_fops = {
	.owner		= THIS_MODULE,
	.open		= flood_open,
	.read		= flood_read,
	.write		= flood_write,
	.release	= flood_release,
};

static int __init test_proxy_stall_init(void)
{
	stall_wq = alloc_workqueue("test_proxy_stall", WQ_PERCPU, 0);
	if (!stall_wq)
		return -ENOMEM;
	stall_dir = debugfs_create_dir("test_proxy_stall", NULL);
	debugfs_create_file("kthread", 0600, stall_dir, NULL, &thread_fops);
	debugfs_create_file("work", 0600, stall_dir, NULL, &work_fops);
	debugfs_create_file("flood", 0600, stall_dir, NULL, &flood_fops);
	return 0;
}

static void __exit test_proxy_stall_exit(void)
{
	struct stall_thread *t, *next;

	debugfs_remove(stall_dir);
	list_for_each_entry_safe(t, next, &orphans, orphan) {
		thread_stop(t);
		kfree(t);
	}
	destroy_workqueue(stall_wq);
}

module_init(test_proxy_stall_init);
module_exit(test_proxy_stall_exit);

MODULE_DESCRIPTION("Kernel threads that starve, for the proxy_stall selftests");
MODULE_LICENSE("GPL");
