#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Usage: runner.sh pass|fail|missing|silent|short|hang|crash|warn|expected
#
# A test of which it is known what scripts/test has to make of it: see
# scripts/test-runner.

echo "TAP version 13"
[ "$1" = silent ] && exit 0
echo "1..1"
case $1 in
pass) echo "ok 1 - pass" ;;
fail) echo "not ok 1 - fail"; exit 1 ;;
missing) echo "ok 1 - missing # SKIP no CONFIG_OF_THIS_NAME" ;;
short) ;;
hang) sleep 1000 ;;
crash) reboot -f ;;
warn)
	echo "WARNING: this one is for scripts/test-runner" > /dev/kmsg
	echo "ok 1 - warn"
	;;
expected)
	echo "# expect-console: this one is for"
	echo "WARNING: this one is for scripts/test-runner" > /dev/kmsg
	echo "ok 1 - expected"
	;;
*) exit 2 ;;
esac
exit 0
