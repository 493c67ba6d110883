// SPDX-License-Identifier: GPL-2.0
/*
 * The few rtnetlink requests that the scenarios make.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rtnl.h"

struct request {
	struct nlmsghdr n;
	union {
		struct ifinfomsg link;
		struct ifaddrmsg addr;
	};
	char attrs[512];
};

static int rtnl_open(unsigned int groups)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK, .nl_groups = groups };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static struct rtattr *attr(struct request *r, int type, const void *data, int len)
{
	struct rtattr *a = (void *)r + NLMSG_ALIGN(r->n.nlmsg_len);

	a->rta_type = type;
	a->rta_len = RTA_LENGTH(len);
	if (len)
		memcpy(RTA_DATA(a), data, len);
	r->n.nlmsg_len = NLMSG_ALIGN(r->n.nlmsg_len) + RTA_ALIGN(a->rta_len);
	return a;
}

/* The attributes added since belong to this one */
static void attr_end(struct request *r, struct rtattr *a)
{
	a->rta_len = (void *)r + r->n.nlmsg_len - (void *)a;
}

static int ask(struct request *r)
{
	struct {
		struct nlmsghdr n;
		struct nlmsgerr e;
		char rest[1024];
	} answer;
	int fd = rtnl_open(0);
	ssize_t n;

	if (fd < 0)
		return -errno;
	r->n.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	n = send(fd, r, r->n.nlmsg_len, 0);
	if (n > 0)
		n = recv(fd, &answer, sizeof(answer), 0);
	close(fd);
	if (n < 0)
		return -errno;
	if (answer.n.nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	return answer.e.error;
}

static int add_link(const char *name, const char *kind, const char *peer,
		    pid_t peer_netns)
{
	struct request r = {
		.n.nlmsg_len = NLMSG_LENGTH(sizeof(r.link)),
		.n.nlmsg_type = RTM_NEWLINK,
		.n.nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL,
	};
	struct rtattr *info, *data, *other;

	attr(&r, IFLA_IFNAME, name, strlen(name) + 1);
	info = attr(&r, IFLA_LINKINFO, NULL, 0);
	attr(&r, IFLA_INFO_KIND, kind, strlen(kind));
	if (peer) {
		data = attr(&r, IFLA_INFO_DATA, NULL, 0);
		other = attr(&r, VETH_INFO_PEER, &(struct ifinfomsg){}, sizeof(r.link));
		attr(&r, IFLA_IFNAME, peer, strlen(peer) + 1);
		attr(&r, IFLA_NET_NS_PID, &peer_netns, sizeof(int));
		attr_end(&r, other);
		attr_end(&r, data);
	}
	attr_end(&r, info);
	return ask(&r);
}

int rtnl_add_dummy(const char *name)
{
	return add_link(name, "dummy", NULL, 0);
}

int rtnl_add_veth(const char *name, const char *peer, pid_t peer_netns)
{
	return add_link(name, "veth", peer, peer_netns);
}

int rtnl_add_address(const char *name, unsigned int ipv4, int prefix)
{
	struct request r = {
		.n.nlmsg_len = NLMSG_LENGTH(sizeof(r.addr)),
		.n.nlmsg_type = RTM_NEWADDR,
		.n.nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL,
		.addr.ifa_family = AF_INET,
		.addr.ifa_prefixlen = prefix,
		.addr.ifa_index = if_nametoindex(name),
	};

	ipv4 = htonl(ipv4);
	attr(&r, IFA_LOCAL, &ipv4, sizeof(ipv4));
	return ask(&r);
}

int rtnl_set_up(const char *name)
{
	struct request r = {
		.n.nlmsg_len = NLMSG_LENGTH(sizeof(r.link)),
		.n.nlmsg_type = RTM_NEWLINK,
		.link.ifi_index = if_nametoindex(name),
		.link.ifi_flags = IFF_UP,
		.link.ifi_change = IFF_UP,
	};

	return ask(&r);
}

int rtnl_delete(const char *name)
{
	struct request r = {
		.n.nlmsg_len = NLMSG_LENGTH(sizeof(r.link)),
		.n.nlmsg_type = RTM_DELLINK,
		.link.ifi_index = if_nametoindex(name),
	};

	return ask(&r);
}

int rtnl_listen(void)
{
	return rtnl_open(RTMGRP_LINK);
}

int rtnl_wait_gone(int fd, const char *prefix, int nr)
{
	union {
		struct nlmsghdr n;
		char room[8192];
	} buf;
	const struct nlmsghdr *n;
	const struct rtattr *a;
	ssize_t len;
	int left;

	for (;;) {
		len = recv(fd, &buf, sizeof(buf), 0);
		if (len < 0)
			return -errno;
		for (n = &buf.n; NLMSG_OK(n, len); n = NLMSG_NEXT(n, len)) {
			if (n->nlmsg_type != RTM_DELLINK)
				continue;
			a = IFLA_RTA(NLMSG_DATA(n));
			left = IFLA_PAYLOAD(n);
			for (; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
				if (a->rta_type == IFLA_IFNAME &&
				    !strncmp(RTA_DATA(a), prefix, strlen(prefix)) &&
				    !--nr)
					return 0;
			}
		}
	}
}
