/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The few rtnetlink requests that the scenarios make.  Each returns 0 or a
 * negative errno.
 */
#ifndef BENCH_RTNL_H
#define BENCH_RTNL_H

#include <sys/types.h>

int rtnl_add_dummy(const char *name);
int rtnl_add_veth(const char *name, const char *peer, pid_t peer_netns);
int rtnl_add_address(const char *name, unsigned int ipv4, int prefix);
int rtnl_set_up(const char *name);
int rtnl_delete(const char *name);

/* Hear of links: open before, then wait until so many of that name are gone */
int rtnl_listen(void);
int rtnl_wait_gone(int fd, const char *prefix, int nr);

#endif
