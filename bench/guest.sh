#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Runs in the guest, from its root: guest.sh argument...
#
#   fair_server=N    sets the runtime of every CPU's fair_server, in ns (0: off)
#   stall_monitor*=N sets that sysctl of kernel.
#   anything else    is a command to run
#
# In the order given.  Tells what it does by lines that begin with "guest".

fair_server=/sys/kernel/debug/sched/fair_server

show() {
	if [ -e "$2" ]; then echo "guest $1 $(cat "$2")"; fi
}

facts() {
	echo "guest kernel $(uname -r)"
	show fair_server_runtime $fair_server/cpu0/runtime
	show fair_server_period $fair_server/cpu0/period
	for f in /proc/sys/kernel/stall_monitor*; do
		show "${f##*/}" "$f"
	done
}

told=
for arg in "$@"; do
	case $arg in
	fair_server=*)
		for f in $fair_server/cpu*/runtime; do
			echo "${arg#*=}" > "$f" || echo "guest refused $arg"
		done ;;
	stall_monitor*=*)
		echo "${arg#*=}" > "/proc/sys/kernel/${arg%%=*}" ||
			echo "guest refused $arg" ;;
	*)
		[ -n "$told" ] || facts
		told=y
		echo "guest run $arg"
		$arg || echo "guest failed $arg" ;;
	esac
done
echo "guest done"
