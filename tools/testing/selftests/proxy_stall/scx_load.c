// SPDX-License-Identifier: GPL-2.0
/*
 * A BPF scheduler is refused while proxy execution is on, and runs while it is
 * off: as proxy_exec= of this boot says, and without it is off.
 *
 * The scheduler is the smallest that there is: it has a name and no programs, so
 * that the kernel's defaults do what there is to do. It takes neither compiler
 * nor library.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/btf.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "chain_fixture.h"

#define SCX		"/sys/kernel/sched_ext/"
#define OPS		"sched_ext_ops"
#define NAME		"proxy_stall"
#define REFUSAL		"sched_ext: No BPF scheduler can be loaded while proxy execution is on"

#ifndef SCHED_EXT
#define SCHED_EXT	7
#endif

/* What the kernel's BTF says of struct bpf_struct_ops_sched_ext_ops */
struct layout {
	unsigned int id;
	unsigned int size;
	unsigned int name;	/* where the name is in it */
};

static void *read_btf(size_t *size)
{
	size_t room = 32 << 20;
	int fd = open("/sys/kernel/btf/vmlinux", O_RDONLY | O_CLOEXEC);
	char *btf = fd < 0 ? NULL : malloc(room);
	ssize_t n;

	for (*size = 0; btf && *size < room; *size += n) {
		n = read(fd, btf + *size, room - *size);
		if (n <= 0)
			break;
	}
	if (fd >= 0)
		close(fd);
	return btf;
}

/* How much follows the struct btf_type */
static size_t extra(const struct btf_type *t)
{
	unsigned int n = BTF_INFO_VLEN(t->info);

	switch (BTF_INFO_KIND(t->info)) {
	case BTF_KIND_INT:
	case BTF_KIND_VAR:
	case BTF_KIND_DECL_TAG:
		return 4;
	case BTF_KIND_ARRAY:
		return sizeof(struct btf_array);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		return n * sizeof(struct btf_member);
	case BTF_KIND_ENUM:
		return n * sizeof(struct btf_enum);
	case BTF_KIND_ENUM64:
		return n * sizeof(struct btf_enum64);
	case BTF_KIND_FUNC_PROTO:
		return n * sizeof(struct btf_param);
	case BTF_KIND_DATASEC:
		return n * sizeof(struct btf_var_secinfo);
	}
	return 0;
}

static unsigned int member_offset(const struct btf_type *t, const char *strings, const char *name)
{
	const struct btf_member *m = (const void *)(t + 1);
	unsigned int i;

	for (i = 0; i < BTF_INFO_VLEN(t->info); i++)
		if (!strcmp(strings + m[i].name_off, name))
			return BTF_MEMBER_BIT_OFFSET(m[i].offset) / 8;
	return 0;
}

static bool find_layout(struct layout *layout)
{
	size_t size;
	char *btf = read_btf(&size);
	const struct btf_header *h = (void *)btf;
	const char *at, *end, *strings;
	unsigned int id = 0, data = 0, name = 0;

	memset(layout, 0, sizeof(*layout));
	if (!btf || size < sizeof(*h) || h->magic != BTF_MAGIC)
		return false;
	at = btf + h->hdr_len + h->type_off;
	end = at + h->type_len;
	strings = btf + h->hdr_len + h->str_off;
	while (at < end) {
		const struct btf_type *t = (const void *)at;

		id++;
		at += sizeof(*t) + extra(t);
		if (BTF_INFO_KIND(t->info) != BTF_KIND_STRUCT)
			continue;
		if (!strcmp(strings + t->name_off, OPS)) {
			name = member_offset(t, strings, "name");
		} else if (!strcmp(strings + t->name_off, "bpf_struct_ops_" OPS)) {
			layout->id = id;
			layout->size = t->size;
			data = member_offset(t, strings, "data");
		}
	}
	free(btf);
	layout->name = data + name;
	return layout->id && data && name;
}

static int bpf(int command, union bpf_attr *attr)
{
	int ret = syscall(SYS_bpf, command, attr, sizeof(*attr));

	return ret < 0 ? -errno : ret;
}

/* A map must come with a BTF of its own: that of an int. */
static int some_btf(void)
{
	struct {
		struct btf_header header;
		struct btf_type type;
		__u32 encoding;
		char strings[8];
	} btf = {
		.header = {
			.magic = BTF_MAGIC,
			.version = BTF_VERSION,
			.hdr_len = sizeof(btf.header),
			.type_len = sizeof(btf.type) + sizeof(btf.encoding),
			.str_off = sizeof(btf.type) + sizeof(btf.encoding),
			.str_len = sizeof(btf.strings),
		},
		.type = {
			.name_off = 1,
			.info = BTF_KIND_INT << 24,
			.size = 4,
		},
		.encoding = 32,
		.strings = "\0int",
	};
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.btf = (unsigned long)&btf;
	attr.btf_size = sizeof(btf);
	return bpf(BPF_BTF_LOAD, &attr);
}

/* The scheduler's map; what has been refused is not used up. */
static int scheduler(void)
{
	int map, ret, btf = some_btf();
	struct layout layout;
	union bpf_attr attr;
	char *value;
	__u32 key = 0;

	if (btf < 0)
		return btf;
	if (!find_layout(&layout))
		return -ENOENT;
	memset(&attr, 0, sizeof(attr));
	attr.map_type = BPF_MAP_TYPE_STRUCT_OPS;
	attr.key_size = sizeof(key);
	attr.value_size = layout.size;
	attr.max_entries = 1;
	attr.map_flags = BPF_F_LINK;
	attr.btf_vmlinux_value_type_id = layout.id;
	attr.btf_fd = btf;
	map = bpf(BPF_MAP_CREATE, &attr);
	close(btf);
	if (map < 0)
		return map;

	value = calloc(1, layout.size);
	strcpy(value + layout.name, NAME);
	memset(&attr, 0, sizeof(attr));
	attr.map_fd = map;
	attr.key = (unsigned long)&key;
	attr.value = (unsigned long)value;
	ret = bpf(BPF_MAP_UPDATE_ELEM, &attr);
	free(value);
	if (ret < 0) {
		close(map);
		return ret;
	}
	return map;
}

/* A file descriptor: the scheduler goes when it is closed. */
static int load(int map)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.link_create.map_fd = map;
	attr.link_create.attach_type = BPF_STRUCT_OPS;
	return bpf(BPF_LINK_CREATE, &attr);
}

static bool scx_is(const char *file, const char *text)
{
	char path[64], buf[64];

	snprintf(path, sizeof(path), SCX "%s", file);
	if (get(path, buf, sizeof(buf)) < 0)
		return false;
	buf[strcspn(buf, "\n")] = '\0';
	return !strcmp(buf, text);
}

/* The kthread that enabling makes at first */
static bool has_helper(void)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir))) {
		char path[300], comm[32];

		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		found = get(path, comm, sizeof(comm)) >= 0 && !strncmp(comm, "scx_enable", 10);
	}
	if (dir)
		closedir(dir);
	return found;
}

static int become(int policy)
{
	const struct sched_param param = { };

	return syscall(SYS_sched_setscheduler, 0, policy, &param);
}

/* Whether the task that asks is one of the BPF scheduler's */
static bool scheduled_by_bpf(void)
{
	char buf[8192], *line;

	if (get("/proc/self/sched", buf, sizeof(buf)) < 0)
		return false;
	line = strstr(buf, "ext.enabled");
	if (!line)
		return false;
	line = strchr(line, ':');
	return line && atoi(line + 1) == 1;
}

FIXTURE(scx) {
	int cpu;
	int map;
	bool on;
};

FIXTURE_SETUP(scx)
{
	char cmdline[4096] = "";
	const char *why;

	if (getenv("PROXY_STALL_OFF"))
		SKIP(return, "proxy execution has been switched off");
	if (!scx_is("state", "disabled"))
		SKIP(return, "no CONFIG_SCHED_CLASS_EXT, or a BPF scheduler is loaded");
	get("/proc/cmdline", cmdline, sizeof(cmdline));
	self->on = strstr(cmdline, "proxy_exec=on");
	if (!self->on)
		setenv("PROXY_STALL_FORCE", "1", 1);
	why = chain_enter();
	if (why)
		SKIP(return, "%s", why);
	/* Both are in this kernel. */
	ASSERT_EQ(0, access(DEBUGFS "sched/proxy_flush", F_OK));
	self->cpu = lab_cpu();
	self->map = scheduler();
	ASSERT_LE(0, self->map);
	log_lines(REFUSAL, NULL, 0);
}

FIXTURE_TEARDOWN(scx)
{
	lab_leave();
}

TEST_F_TIMEOUT(scx, refused_while_on, PATIENCE)
{
	long long enabled = get_number(SCX "enable_seq");
	char line[512] = "";
	struct actor *w;
	struct hog *hog;
	int i;

	if (!self->on)
		SKIP(return, "for a boot with proxy_exec=on");
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(-EOPNOTSUPP, load(self->map));
		EXPECT_EQ(1, log_lines(REFUSAL, line, sizeof(line)));
		EXPECT_NE(NULL, strstr(line, "proxy_exec=off"));
		EXPECT_TRUE(scx_is("state", "disabled"));
	}
	EXPECT_EQ(enabled, get_number(SCX "enable_seq"));
	EXPECT_NE(0, access(SCX "root", F_OK));
	EXPECT_FALSE(has_helper());

	/* Its policy exists, and is one of the fair class's. */
	EXPECT_EQ(0, become(SCHED_EXT));
	EXPECT_FALSE(scheduled_by_bpf());
	sleep_us(1000);
	EXPECT_EQ(0, become(SCHED_OTHER));

	/* What is on goes on. */
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	w = STRONG("queue 0 %d percpu; flush 0", self->cpu);
	ASSERT_NE(NULL, w);
	EXPECT_TRUE(ends(w));
	EXPECT_TRUE(hog_running(hog));
}

TEST_F_TIMEOUT(scx, runs_while_off, PATIENCE)
{
	long long boosts;
	struct hog *hog;
	int i, link;

	if (self->on)
		SKIP(return, "for a boot without proxy_exec=on");
	for (i = 0; i < 2; i++) {
		link = load(self->map);
		ASSERT_LE(0, link);
		EXPECT_TRUE(scx_is("state", "enabled"));
		EXPECT_TRUE(scx_is("root/ops", NAME));
		EXPECT_TRUE(scheduled_by_bpf());
		sleep_us(20000);
		EXPECT_TRUE(scx_is("state", "enabled"));
		EXPECT_EQ(0, chain_run("queue 0 %d percpu; flush 0", self->cpu));
		close(link);
		EXPECT_TRUE(wait_until(10000, scx_is("state", "disabled")));
		EXPECT_FALSE(scheduled_by_bpf());
	}
	EXPECT_EQ(0, log_lines(REFUSAL, NULL, 0));

	/* The monitor, too, goes on when the BPF scheduler has gone. */
	set("stall_monitor", 1);
	boosts = stat_of(self->cpu, "boosts");
	hog = hog_start(self->cpu);
	ASSERT_NE(NULL, hog);
	ASSERT_LT(0, work_flush(self->cpu, 20));
	EXPECT_TRUE(hog_running(hog));
	EXPECT_LT(boosts, stat_of(self->cpu, "boosts"));
}

TEST_HARNESS_MAIN
