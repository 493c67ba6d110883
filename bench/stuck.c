// SPDX-License-Identifier: GPL-2.0
/*
 * Who is stuck, and where.  A task that is asleep and not to be interrupted is
 * waiting; one that is runnable all the time on the CPU of a hog, without ever
 * having run in between, is starving.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stuck.h"

#define MAX_STUCK	512
#define FRAMES		14

struct task {
	int tid, ppid, cpu, prio;
	char state, comm[64];
	__u64 ran;	/* arrivals on a CPU */
};

static struct stuck {
	struct task task;
	__u64 first, last;
	int looks;
	char stack[512];
} stuck[MAX_STUCK];
static int nr_stuck, hog_cpu;

static ssize_t read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;

	if (fd >= 0) {
		n = read(fd, buf, size - 1);
		close(fd);
	}
	buf[n > 0 ? n : 0] = 0;
	return n;
}

/* From /proc/<pid>/stat: its 4th field, its 18th and its 39th */
static int read_task(int tid, struct task *t)
{
	char path[64], buf[1024], *p, *q;
	unsigned long field[40] = {};
	int i;

	memset(t, 0, sizeof(*t));
	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	if (read_file(path, buf, sizeof(buf)) <= 0)
		return -1;
	p = strchr(buf, '(');
	q = strrchr(buf, ')');
	if (!p || !q)
		return -1;
	t->tid = tid;
	snprintf(t->comm, sizeof(t->comm), "%.*s", (int)(q - p - 1), p + 1);
	for (p = t->comm; *p; p++)
		if (*p == ' ')
			*p = '_';
	t->state = q[2];
	p = q + 3;
	for (i = 4; i < 40; i++)
		field[i] = strtol(p, &p, 10);
	t->ppid = field[4];
	t->prio = (long)field[18];
	t->cpu = field[39];
	return 0;
}

static __u64 arrivals(int tid)
{
	char path[64], buf[96], *p = buf;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", tid);
	if (read_file(path, buf, sizeof(buf)) <= 0)
		return 0;
	strtoull(p, &p, 10);
	strtoull(p, &p, 10);
	return strtoull(p, &p, 10);
}

/* The innermost frames, as a<b<c; the scheduler's own tell nothing */
static void read_stack(int tid, char *out, size_t size)
{
	char path[64], buf[4096], *line, *save, *p, *end;
	size_t len = 0;
	int n = 0;

	out[0] = 0;
	snprintf(path, sizeof(path), "/proc/%d/stack", tid);
	if (read_file(path, buf, sizeof(buf)) <= 0)
		return;
	for (line = strtok_r(buf, "\n", &save); line && n < FRAMES;
	     line = strtok_r(NULL, "\n", &save)) {
		p = strchr(line, ' ');
		p = p ? p + 1 : line;
		end = strpbrk(p, "+ ");
		if (end)
			*end = 0;
		if (!strcmp(p, "entry_SYSCALL_64_after_hwframe") ||
		    !strcmp(p, "ret_from_fork_asm"))
			break;
		len += snprintf(out + len, size - len, "%s%s", n++ ? "<" : "", p);
		if (len >= size)
			break;
	}
}

static void found(const struct task *t, const char *stack, __u64 now)
{
	struct stuck *s;

	for (s = stuck + nr_stuck - 1; s >= stuck; s--) {
		if (s->task.tid != t->tid)
			continue;
		/* the latest of this task: is it still the same wait? */
		if (s->task.state == t->state && s->task.ran == t->ran &&
		    !strcmp(s->stack, stack)) {
			s->last = now;
			s->looks++;
			return;
		}
		break;
	}
	if (nr_stuck == MAX_STUCK)
		return;
	s = &stuck[nr_stuck++];
	s->task = *t;
	s->first = now;
	s->last = now;
	s->looks = 1;
	snprintf(s->stack, sizeof(s->stack), "%s", stack);
}

static void look_at(int pid, int tid, __u64 now)
{
	char stack[512];
	struct task t;

	(void)pid;
	if (read_task(tid, &t))
		return;
	if (t.state == 'D') {
		read_stack(tid, stack, sizeof(stack));
		t.ran = arrivals(tid);
		found(&t, stack, now);
	} else if (t.state == 'R' && t.cpu == hog_cpu && strcmp(t.comm, "hog")) {
		t.ran = arrivals(tid);
		found(&t, "", now);
	}
}

/* For each thread of each process */
static void for_each_task(void (*f)(int pid, int tid, __u64 arg), __u64 arg)
{
	char path[64];
	struct dirent *p, *t;
	DIR *procs = opendir("/proc"), *tasks;

	while (procs && (p = readdir(procs))) {
		if (p->d_name[0] < '0' || p->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%.20s/task", p->d_name);
		tasks = opendir(path);
		while (tasks && (t = readdir(tasks))) {
			if (t->d_name[0] != '.')
				f(atoi(p->d_name), atoi(t->d_name), arg);
		}
		if (tasks)
			closedir(tasks);
	}
	if (procs)
		closedir(procs);
}

void stuck_look(__u64 now, int cpu)
{
	hog_cpu = cpu;
	for_each_task(look_at, now);
}

void stuck_print(const char *tag)
{
	for (struct stuck *s = stuck; s < stuck + nr_stuck; s++) {
		if (s->looks < 2)
			continue;
		printf("%s stuck state=%c tid=%d prio=%d cpu=%d ns=%llu comm=%s stack=%s\n",
		       tag, s->task.state, s->task.tid, s->task.prio, s->task.cpu,
		       s->last - s->first, s->task.comm, s->stack[0] ? s->stack : "-");
	}
	nr_stuck = 0;
}

/* Parents and children, for stuck_tree() */
static struct task all[4096];
static int nr_all;

/* The threads of Go's runtime, which only wait for each other, say nothing */
static void collect(int pid, int tid, __u64 unused)
{
	struct task *t = &all[nr_all];

	(void)unused;
	if (nr_all == 4096 || read_task(tid, t))
		return;
	if (tid != pid && t->state == 'S')
		return;
	if (tid != pid)
		t->ppid = pid;
	nr_all++;
}

static void print_tree(const char *tag, int pid, int depth)
{
	char stack[512];

	for (int i = 0; i < nr_all; i++) {
		if (all[i].tid != pid)
			continue;
		read_stack(pid, stack, sizeof(stack));
		printf("%s tree depth=%d pid=%d state=%c comm=%s stack=%s\n", tag, depth,
		       pid, all[i].state, all[i].comm, stack[0] ? stack : "-");
	}
	for (int i = 0; i < nr_all; i++) {
		if (all[i].ppid == pid)
			print_tree(tag, all[i].tid, depth + 1);
	}
}

void stuck_tree(const char *tag, int pid)
{
	nr_all = 0;
	for_each_task(collect, 0);
	print_tree(tag, pid, 0);
}
