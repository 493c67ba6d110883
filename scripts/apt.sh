# SPDX-License-Identifier: GPL-2.0
#
# Fetches single packages of Debian from the mirror that this machine's apt
# configuration names, with a private apt state under build/; sourced after
# lib.sh, not run.  apt checks them against Debian's keys.
#
# The sourcing script may define check_package FILE, which dies if a package that
# was fetched is not good.
# shellcheck shell=sh disable=SC2154

apt=$build/apt
store=$build/download
network='Could not (resolve|connect)|Temporary failure|Connection (failed|refused|timed out)|Unable to connect|[Tt]imed? out|unreachable|Cannot initiate|proxy|Proxy'
check_package() { :; }

# private_apt COMMAND...: apt-get with its state under build/
private_apt() { apt-get -q -c "$apt/apt.conf" "$@"; }

set_up_apt() { # MIRROR SUITE
	rm -rf "$apt"
	mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$store"
	: > "$apt/status"
	keys=
	for k in pgp gpg; do
		f=/usr/share/keyrings/debian-archive-keyring.$k
		[ -n "$keys" ] || [ ! -r "$f" ] || keys="[signed-by=$f] "
	done
	echo "deb $keys$1 $2 main" > "$apt/sources.list"
	cat > "$apt/apt.conf" <<-EOF
		Dir::State "$apt/state";
		Dir::State::status "$apt/status";
		Dir::Cache "$apt/cache";
		Dir::Etc::sourcelist "$apt/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		Dir::Etc::preferences "/dev/null";
		Dir::Etc::preferencesparts "/dev/null";
		Dir::Log "$apt";
		Acquire::Languages "none";
		Acquire::Retries "2";
		Acquire::http::Timeout "30";
		Acquire::https::Timeout "30";
		APT::Update::Error-Mode "any";
		APT::Get::AllowUnauthenticated "false";
		#clear APT::Update::Pre-Invoke;
		#clear APT::Update::Post-Invoke;
		#clear APT::Update::Post-Invoke-Success;
	EOF
	# apt as root reads and writes as another user, who may not get here
	[ "$(id -u)" != 0 ] || echo 'APT::Sandbox::User "root";' >> "$apt/apt.conf"
}

# fetch_package PACKAGE SUITES OWN: leaves the package, of the first of the
# suites that has it, in $store and its path in $deb.  OWN says what else can be
# done when this fails.
fetch_package() {
	package=$1 suites=$2 own=$3
	for deb in "$store/$package"_*.deb; do
		[ ! -f "$deb" ] || return 0
	done
	{ command -v apt-get && command -v dpkg-deb; } >/dev/null ||
		die "no apt here to fetch $package with. $own"
	list=$(mirrors) || list=
	[ -n "$list" ] ||
		die "this machine's apt sources name no Debian archive (suite of Debian, component main): add one. $own"
	log=$build/log/apt.log
	: > "$log"
	unsigned=
	for mirror in $list; do
		for suite in $suites; do
			set_up_apt "$mirror" "$suite"
			echo "== $mirror $suite" >> "$log"
			watch "asking $mirror for $suite" 0 : update_lists || {
				! grep -qE 'NO_PUBKEY|not signed|EXPKEYSIG|invalid signature' "$log.now" ||
					unsigned=1
				! grep -qE "$network" "$log.now" || break
				continue
			}
			uri=$(private_apt --print-uris download "$package" 2>>"$log") || continue
			size=$(echo "$uri" | awk '/^.http|^.mirror|^.file|^.cd/ { print $3; exit }')
			download
			return 0
		done
	done
	names=$(echo "$list" | xargs)
	if grep -qE "$network" "$log"; then
		what="the mirror ($names) could not be reached: check the network and apt's proxy settings, and run this again"
	elif [ -n "$unsigned" ]; then
		what="the mirror's signature is not one that this machine's Debian keyring knows: update the package debian-archive-keyring, and run this again"
	else
		what="no $package in $suites of $names: the mirror may lag, try another one"
	fi
	grep -E '^(E|W):' "$log" | sort -u | tail -n 5 >&2 || :
	die "$what (log: $log). $own"
}

update_lists() {
	private_apt update >"$log.now" 2>&1 </dev/null && ur=0 || ur=$?
	cat "$log.now" >> "$log"
	return "$ur"
}

download() {
	rm -rf "$store/new"
	mkdir -p "$store/new"
	get() { cd "$store/new" && private_apt download "$package" >>"$log" 2>&1 </dev/null; }
	watch "downloading $package from $mirror, $suite (kB)" $((${size:-0} / 1024)) \
		"du -sk '$store/new' '$apt/cache' | awk '{ s += \$1 } END { print s }'" get || {
		rm -rf "$store/new"
		tail -n 5 "$log" >&2
		die "the download failed (log: $log): check the network and the disk, and run this again. $own"
	}
	for f in "$store/new/$package"_*.deb; do
		check_package "$f"
		deb=$store/$(basename "$f")
		mv "$f" "$deb"
	done
	rm -rf "$store/new" "$apt"
}
