/* SPDX-License-Identifier: GPL-2.0 */
#ifndef STUCK_H
#define STUCK_H

#include <linux/types.h>

/* Look at every task, and remember who waits where, and who starves on the CPU */
void stuck_look(__u64 now, int cpu);
/* Print those who were found so twice or more at the same place */
void stuck_print(const char *tag);
/* Print what a process and its children do now */
void stuck_tree(const char *tag, int pid);

#endif
