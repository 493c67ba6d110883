# SPDX-License-Identifier: GPL-2.0
#
# What the scripts share; sourced, not run.  The sourcing script is one of
# scripts/*, and has set -eu.
# shellcheck shell=sh disable=SC2034

top=$(cd "$(dirname "$0")/.." && pwd)
build=$top/build
linux=$build/linux
me=$(basename "$0")

# Nothing of a calling make, git hook or user configuration may leak into the
# kernel's own build or into what git writes.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES O M V W KBUILD_OUTPUT ARCH \
	GIT_DIR GIT_INDEX_FILE GIT_WORK_TREE GREP_OPTIONS CDPATH
export LC_ALL=C KBUILD_BUILD_TIMESTAMP=@0 KBUILD_BUILD_USER=u KBUILD_BUILD_HOST=h

say() { echo "$me: $*"; }
warn() { echo "$me: $*" >&2; }
die() { echo "$me: $*" >&2; exit 1; }

# usage_exit: print the sourcing script's leading comment (its help) and leave
usage_exit() {
	sed -n '4,/^[^#]/{s/^# \{0,1\}//p}' "$0"
	exit "${1:-0}"
}

# duration SECONDS: as 1:02
duration() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

# watch LABEL TOTAL COUNT COMMAND [ARGUMENT]...: run the command and show how
# far it is.  COUNT is shell code that prints a number; TOTAL 0 means unknown.
# On a terminal one line that changes, elsewhere a line every 30 s.
watch() {
	w_label=$1 w_total=$2 w_count=$3
	shift 3
	w_start=$(date +%s) w_last=$(date +%s) w_rc=0
	[ -t 2 ] || echo "$me: $w_label" >&2
	"$@" &
	w_pid=$!
	trap 'kill $w_pid 2>/dev/null || :; wait $w_pid || :; exit 130' INT TERM HUP
	while kill -0 $w_pid 2>/dev/null; do
		w_now=$(date +%s)
		if [ -t 2 ]; then
			printf '\r%s: %s: %s\033[K' "$me" "$w_label" "$(watch_state)" >&2
		elif [ $((w_now - w_last)) -ge 30 ]; then
			echo "$me: $w_label: $(watch_state)" >&2
			w_last=$w_now
		fi
		sleep 0.5
	done
	wait $w_pid || w_rc=$?
	trap - INT TERM HUP
	w_now=$(date +%s)
	[ ! -t 2 ] || printf '\r\033[K' >&2
	if [ $w_rc = 0 ]; then
		echo "$me: $w_label: done in $(duration $((w_now - w_start)))" >&2
	else
		echo "$me: $w_label: failed after $(duration $((w_now - w_start)))" >&2
	fi
	return $w_rc
}

watch_state() {
	w_n=$(eval "$w_count" 2>/dev/null) || w_n=0
	w_e=$(duration $((w_now - w_start)))
	if [ "$w_total" -gt 0 ]; then
		[ "${w_n:-0}" -lt "$w_total" ] || w_n=$w_total
		echo "$((w_n * 100 / w_total))% ($w_n of $w_total), $w_e"
	elif [ -n "$w_n" ]; then
		echo "$w_n, $w_e"
	else
		echo "$w_e"
	fi
}

# lock NAME: one run at a time; held until the script ends
lock() {
	mkdir -p "$build/log"
	exec 9>"$build/.lock-$1"
	flock -n 9 || {
		say "waiting for another run that works on $1"
		flock 9
	}
}

# need_space GB: there must be so much free under build/
need_space() {
	free=$(df -Pk "$build" | awk 'NR == 2 { print int($4 / 1048576) }')
	[ "$free" -ge "$1" ] ||
		die "only $free GB free for $build, $1 GB are needed: free some, or make build/ a symbolic link to a bigger disk"
}

# check_flavour NAME
check_flavour() {
	case $1 in
	default|debug|rt|rt-debug|kasan|kcsan|distro) ;;
	*) die "unknown flavour '$1': use FLAVOUR=default, debug, rt, rt-debug, kasan, kcsan or distro" ;;
	esac
}

# git that no configuration of the user's changes
plain_git() {
	GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 git -C "$@"
}

# the commits that the scripts make: the same everywhere
fixed_git() {
	GIT_AUTHOR_NAME=base GIT_AUTHOR_EMAIL=base@localhost \
	GIT_AUTHOR_DATE='2026-01-01T00:00:00Z' \
	GIT_COMMITTER_NAME=base GIT_COMMITTER_EMAIL=base@localhost \
	GIT_COMMITTER_DATE='2026-01-01T00:00:00Z' plain_git "$@"
}

# the patch files of all series, in order; none is fine
series() {
	find "$top/patches" -name '[0-9]*.patch' ! -name '0000-*' 2>/dev/null | sort
}

# what patches/ holds now, in one word
series_id() {
	series | while read -r p; do cat "$p"; done | sha256sum | cut -c1-16
}

# mirror_edits: which files of the mirror are not as the last 'make export' left
# them, one "changed FILE", "removed FILE" or "added FILE" a line.  An edit that
# is in build/linux, too, is none.
mirror_edits() {
	sums=$top/patches/MIRROR.sha256
	[ -f "$sums" ] || return 0
	{
		(cd "$top" && sha256sum --quiet -c "$sums" 2>/dev/null) |
			sed -n 's/: FAILED open or read$//; t missing
				s/^\(.*\): FAILED$/changed \1/p; d
				: missing
				s/^/removed /p'
		sed 's,^[^ ]* *\([^/]*\)/.*,\1,' "$sums" | sort -u |
			grep -vxE 'base|bench|build|configs|patches|scripts' |
			(cd "$top" && xargs -I{} find {} -type f ! -name '.*' ! -name '*~' \
				! -name '*.orig' ! -name '*.rej' 2>/dev/null) | sort |
			while read -r f; do
				grep -qxF "$f" "$top/patches/MIRROR" || echo "added $f"
			done
	} | while read -r what f; do
		case $what in
		removed) [ -d "$linux" ] && [ ! -e "$linux/$f" ] ;;
		*) cmp -s "$top/$f" "$linux/$f" ;;
		esac || echo "$what $f"
	done
}

# mirror_advice: turns the lines of mirror_edits into what to do about them
mirror_advice() {
	while read -r what f; do
		case $what:$f in
		*:kernel/locking/*.patch) echo "  $f: edit build/linux/kernel/locking/ instead" ;;
		*:*.patch) echo "  $f: edit build/linux/${f%.patch} instead" ;;
		removed:*) echo "  $f: 'git rm $f' in build/linux instead" ;;
		added:*) echo "  $f: cp $f build/linux/$f" ;;
		*)
			if [ "$(sha256sum < "$linux/$f" 2>/dev/null)" = "$(sed -n "s|  $f\$|  -|p" "$top/patches/MIRROR.sha256")" ]; then
				echo "  $f: cp $f build/linux/$f"
			else
				echo "  $f: make the same edit in build/linux/$f, which has other changes"
			fi ;;
		esac
	done
	echo "Or undo it here: 'git checkout HEAD -- FILE', or 'git checkout COMMIT^ -- FILE' if COMMIT has it. See \"Change it\" in README.md."
}

# show_errors LOG PATTERN [OPTION]...: the lines of a failed build's log that tell
# why, with grep's options; its end if none do
show_errors() {
	e_log=$1 e_pattern=$2
	shift 2
	e_found=$(grep -E "$@" "$e_pattern" "$e_log" | grep -v -E ' (CC|AR|AS|LD) ' | head -n 40)
	if [ -n "$e_found" ]; then echo "$e_found"; else tail -n 20 "$e_log"; fi >&2
}

# own_files TREE: the C files that the series adds to the kernel
own_files() { plain_git "$1" diff --name-only --diff-filter=A base HEAD -- '*.c' ':!tools'; }

# own_objects TREE OBJ: what those were compiled to
own_objects() {
	for e_file in $(own_files "$1"); do
		[ ! -e "$2/${e_file%.c}.o" ] || echo "${e_file%.c}.o"
	done
}

jobs=${JOBS:-$(nproc 2>/dev/null || echo 2)}
case $jobs in
*[!0-9]*|0*) die "JOBS=$jobs: it takes the number of parallel jobs, 1 or more" ;;
esac

# scratch DIR COMMIT: a work tree of build/linux at that commit in which only
# the files that the series touches are checked out
scratch() {
	drop_scratch "$1"
	plain_git "$linux" worktree add -q --no-checkout --detach "$1" "$2"
	series | xargs -r sed -n 's,^\(---\|+++\) [ab]/\([^	]*\).*,/\2,p' | sort -u > "$1.files"
	printf '/Makefile\n/.gitattributes\n' >> "$1.files"
	plain_git "$1" sparse-checkout set --no-cone --stdin < "$1.files"
	plain_git "$1" checkout -q --detach "$2"
	rm -f "$1.files"
}

drop_scratch() {
	[ ! -e "$1" ] || plain_git "$linux" worktree remove --force "$1" 2>/dev/null || rm -rf "$1"
	plain_git "$linux" worktree prune
}

# apply_series: sets $new to the base with the series on it; build/linux's own
# files and branch stay as they are
apply_series() {
	tree_tmp=$build/scratch.$$
	log=$build/log/am.log
	trap 'drop_scratch "$tree_tmp"' EXIT
	scratch "$tree_tmp" base
	: > "$log"
	for p in $(series); do
		plain_git "$tree_tmp" -c user.name=base -c user.email=base@localhost \
			-c commit.gpgsign=false am -q --committer-date-is-author-date \
			"$p" >>"$log" 2>&1 || {
			grep -E '^(error|fatal)' "$log" >&2 || cat "$log" >&2
			die "${p#"$top"/} does not apply to $(plain_git "$linux" config proxystall.origin || echo the base): the series is for Linux 7.3.y as base/kernel.conf records it; build/linux is as it was (log: $log)"
		}
	done
	new=$(plain_git "$tree_tmp" rev-parse HEAD)
	drop_scratch "$tree_tmp"
	trap - EXIT
}

# the Debian mirrors that this machine's apt knows, in its order
mirrors() {
	# shellcheck disable=SC2016
	apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' \
		'Created-By: Packages' 2>/dev/null |
	awk '$3 == "main" && $1 !~ /security/ &&
		$2 ~ /^(oldoldstable|oldstable|stable|testing|unstable|sid|rc-buggy|bullseye|bookworm|trixie|forky|duke)(-updates|-backports)?$/ &&
		!seen[$1]++ { print $1 }'
}
