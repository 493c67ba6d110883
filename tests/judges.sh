#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The kernel's own tests of what proxy execution and the stall monitor touch:
# test-ww_mutex, locktorture and rcutorture, as modules, each for a few seconds.
# They know nothing of either feature and pass with and without.
#
# Usage: judges.sh [SECONDS]	for each of the torture tests (default: 6)

seconds=${1:-6}
locks="mutex_lock ww_mutex_lock rtmutex_lock rwsem_lock"
n=0 failed=0

there() { [ -e "/lib/modules/$1.ko" ] || modprobe -q -n "$1" 2>/dev/null; }

load() {
	m=$1
	shift
	if [ -e "/lib/modules/$m.ko" ]; then
		insmod "/lib/modules/$m.ko" "$@"
	else
		modprobe "$m" "$@"
	fi
}

# What the kernel has said since mark() was called
mark() { echo "proxy_stall: judge $n" > /dev/kmsg; }
said() { dmesg | sed "1,/proxy_stall: judge $n\$/d"; }

# judge MODULE [ARGUMENT]: the function named like the module does it
judge() {
	n=$((n + 1))
	if ! there "$1"; then
		echo "ok $n $* # SKIP no module $1"
		return
	fi
	mark
	if "$(echo "$1" | tr - _)" "${2-}" >/dev/null; then
		echo "ok $n $*"
	else
		said | tail -n 30 | sed 's/^/# /'
		echo "not ok $n $*"
		failed=1
	fi
}

test_ww_mutex() {
	load test-ww_mutex || return
	rmmod test-ww_mutex
	said | grep -q "All ww mutex selftests passed"
}

# "SUCCESS" only at the end, and only of a test in which the locks were taken.
locktorture() {
	load torture
	load locktorture torture_type="$1" stat_interval=2 verbose=0 || return
	sleep "$seconds"
	rmmod locktorture torture
	said | grep -q "torture:.*End of test: SUCCESS" &&
		said | grep -q "Writes: *Total: *[1-9]"
}

rcutorture() {
	load torture
	load rcutorture stat_interval=2 verbose=0 fwd_progress=0 || return
	sleep "$seconds"
	rmmod rcutorture torture
	said | grep -q "torture:.*End of test: SUCCESS" &&
		said | grep -q "rtc: .* ver: *[1-9]"
}

if [ "$(id -u)" != 0 ]; then
	echo "TAP version 13"
	echo "1..0 # SKIP needs root"
	exit 4
fi
echo "TAP version 13"
echo "1..6"
judge test-ww_mutex
for lock in $locks; do
	judge locktorture "$lock"
done
judge rcutorture
exit $failed
