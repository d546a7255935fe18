#!/bin/sh
# Makes a directory hold a CRIU for snapshots, with every library it needs, without installing anything on the host.
#
#   sh tools/criu.sh [--prefix DIR] [--force]         DIR: build/criu
#
# The system's own criu (PATH, /usr/sbin, /usr/local/sbin) is copied when it is 4.2 or newer and `criu check` passes. Else
# Debian's package comes from the first suite of the list below that has 4.2, through apt with configuration, sources, lists
# and cache of its own beside DIR; only what the host's apt says of Acquire (proxy, timeouts) is taken over. Needs no root;
# `criu check` does, and is left out without. Result, which replaces DIR whole or not at all:
#
#   DIR/bin/criu    the program            DIR/lib/      its libraries, libc and ld-linux among them, as plain files
#   DIR/version     as 4.2.1               DIR/plugins/  empty, for criu --libdir
#   DIR/source      "system PATH" or "debian SUITE PACKAGE VERSION"
#
#   DIR/lib/ld-linux-x86-64.so.2 --inhibit-cache --library-path DIR/lib DIR/bin/criu check
#
# A DIR that is good already is left alone: --force or FSBOX_CRIU_REFRESH=1 makes it anew. FSBOX_DEBIAN_MIRROR names another
# mirror, FSBOX_DEBIAN_KEYRING the keys that its signatures must be of.
#
# Exit status: 0 DIR is good · 2 usage · 3 no CRIU can be had, DIR is as it was · 1 the directory cannot be written
set -u
umask 022
LC_ALL=C
export LC_ALL
unset LD_PRELOAD # a wrapper's library is none of criu's
SRC=$(cd "$(dirname "$0")/.." && pwd)
least=4.2
# Stable suites keep the version they were released with: bookworm has 3.17, trixie 4.1.
suites="trixie-backports forky sid"
mirror=${FSBOX_DEBIAN_MIRROR:-http://deb.debian.org/debian}
keys=${FSBOX_DEBIAN_KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}

say() { printf 'criu.sh: %s\n' "$*" >&2; }

# ---- What a directory or a program is worth ----

version_of() { # COMMAND...: the number it tells, nothing if it tells none
	"$@" --version 2>/dev/null </dev/null | sed -n '1s/^Version: \([0-9][0-9.]*\).*/\1/p'
}

new_enough() { # VERSION
	case $1 in
	[0-9]*) printf '%s\n%s\n' "$least" "$1" | sort -VC ;;
	*) return 1 ;;
	esac
}

in_dir() { # DIR ARGUMENT...: criu of a directory in the layout above, by its own loader
	in_dir=$1
	shift
	for loader in "$in_dir"/lib/ld-linux*.so.*; do
		set -- "$loader" --inhibit-cache --library-path "$in_dir/lib" "$in_dir/bin/criu" "$@"
	done
	timeout 60 "$@"
}

good() { # DIR: whole, and starts; a copy is still what the system has
	[ -d "$1/plugins" ] && [ -s "$1/source" ] && [ -x "$1/bin/criu" ] && [ -r "$1/version" ] || return 1
	read -r number <"$1/version" && new_enough "$number" && [ "$(version_of in_dir "$1")" = "$number" ] || return 1
	read -r kind path <"$1/source"
	[ "$kind" != system ] || [ ! -e "$path" ] || cmp -s "$path" "$1/bin/criu"
}

# CAP_SYS_ADMIN: without it `criu check` says nothing of the kernel.
can_check() {
	caps=$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status)
	[ $((0x${caps:-0} >> 21 & 1)) = 1 ]
}

checked() { # COMMAND...: passes `criu check`, or that cannot be asked; else $why
	can_check || {
		verdict="not checked against this kernel, which needs root"
		return 0
	}
	verdict="criu check passes"
	left=
	[ -e /run/criu.kdat.tmp ] || left=/run/criu.kdat.tmp
	said=$("$@" check 2>&1 </dev/null 8<&-)
	check_status=$?
	# Where /run is no tmpfs, criu forgets an empty file there.
	[ -z "$left" ] || [ -s "$left" ] || rm -f "$left"
	[ $check_status != 0 ] || return 0
	said=$(printf '%s\n' "$said" | grep . | tail -n 1)
	why="criu check fails${said:+ ($said)}"
	return 1
}

# ---- Sources ----

collect() { # PROGRAM LIST: into $new, the libraries by ldd's LIST
	why="$1 and its libraries cannot be copied to $work"
	mkdir -p "$new/bin" "$new/lib" "$new/plugins" || return 1
	cp "$1" "$new/bin/criu" && chmod 755 "$new/bin/criu" || return 1
	awk '$2 == "=>" && $3 ~ /^\// { print $1, $3 } $1 ~ /^\// && $2 ~ /^\(/ { print $1, $1 }' "$2" >"$work/files"
	while read -r name file; do
		cp -L "$file" "$new/lib/${name##*/}" && chmod 755 "$new/lib/${name##*/}" || return 1
	done <"$work/files"
	number=$(version_of in_dir "$new")
	[ -n "$number" ] || {
		why="a copy of $1 with its libraries does not start"
		return 1
	}
	echo "$number" >"$new/version"
}

# The first of the system's own that will do; $why tells of the last that will not.
from_system() {
	why="the system has no criu"
	for path in "$(command -v criu)" /usr/sbin/criu /usr/local/sbin/criu; do
		case $path in
		/*) ;;
		*) continue ;;
		esac
		if ! [ -f "$path" ] || ! [ -x "$path" ]; then continue; fi
		number=$(version_of timeout 60 "$path")
		if ! new_enough "$number"; then
			why="$path is ${number:-no CRIU}${number:+, older than $least}"
		elif ! checked timeout 60 "$path"; then
			why="$path is $number, but its $why"
		elif [ "$(head -c 4 "$path" | tr -d '\177')" != ELF ] || ! ldd "$path" >"$work/ldd" 2>/dev/null; then
			why="$path is no dynamic ELF program, which could be copied"
		elif collect "$path" "$work/ldd"; then
			echo "system $path" >"$new/source"
			return 0
		fi
		rm -rf "$new"
	done
	return 1
}

prepare_apt() {
	apt=$work/apt
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/none"
	: >"$apt/status"
	arch=$(dpkg --print-architecture)
	# The host's hooks, pins and default release are not ours; a proxy's line may hold a password.
	(
		umask 077
		{
			echo 'Acquire::Retries "2"; Acquire::http::Timeout "20"; Acquire::https::Timeout "20";'
			apt-config dump --no-empty Acquire
			cat <<END
Acquire::GzipIndexes "true";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
APT::Get::AllowUnauthenticated "false";
APT::Update::Error-Mode "any";
APT::Architecture "$arch";
APT::Architectures "$arch";
APT::Sandbox::User "root";
Dir::Etc::Main "/dev/null";
Dir::Etc::Parts "$apt/none";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "$apt/none";
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "$apt/none";
Dir::State "$apt";
Dir::State::Lists "$apt/lists";
Dir::State::Status "$apt/status";
Dir::Cache "$apt/cache";
Dir::Log "$apt";
END
		} >"$apt/apt.conf"
	)
	APT_CONFIG=$apt/apt.conf
	export APT_CONFIG
}

update() { # SUITE...: these and no others; what went wrong is in $apt/log
	for update_suite in "$@"; do
		echo "deb [signed-by=$keys target=Packages] $mirror $update_suite main"
	done >"$apt/sources.list"
	apt-get -q update >"$apt/log" 2>&1 </dev/null
}

# Debian signs newer suites with newer keys. The host's keys vouch for trixie, and trixie's keyring for what came later.
newer_keys() {
	update trixie && (cd "$apt" && apt-get -q download debian-archive-keyring >"$apt/log" 2>&1) &&
		dpkg-deb -x "$apt"/debian-archive-keyring_*.deb "$apt/keyring" || return 1
	for newer in "$apt"/keyring/usr/share/keyrings/debian-archive-keyring.[gp][gp][gp]; do
		[ ! -s "$newer" ] || {
			keys=$newer
			return 0
		}
	done
	return 1
}

apt_says() { sed -n 's/^E: *//p' "$apt/log" | head -n 1 | tr -s ' '; }

# Looks through the suites; $suite and $offered are what there is to have.
find_suite() {
	tried_keys=
	for suite in $suites; do
		update "$suite" || {
			grep -qE 'NO_PUBKEY|Missing key' "$apt/log" && [ -z "$tried_keys" ] && tried_keys=1 && newer_keys && update "$suite"
		} || {
			why=$(apt_says)
			! grep -qE 'NO_PUBKEY|Missing key' "$apt/log" || why="no key of $keys verifies $suite"
			# A mirror need not have every suite. One that does not answer will not for the next.
			grep -q 'does not have a Release file' "$apt/log" && continue
			return 1
		}
		offered=$(apt-cache policy criu 2>/dev/null | sed -n 's/^ *Candidate: //p')
		new_enough "${offered#*:}" && return 0
		why="its newest criu is older than $least"
	done
	return 1
}

# The package and what it depends on: as no package counts as installed, that is down to libc6.
download() {
	case $suite in # backports are built on another suite's packages
	*-backports) update "${suite%-backports}" "$suite" || return 1 ;;
	esac
	apt-get -q -y --no-install-recommends --download-only -t "$suite" install criu >"$apt/log" 2>&1 </dev/null
}

from_debian() {
	for tool in apt-get apt-cache apt-config dpkg dpkg-deb; do
		command -v "$tool" >/dev/null 2>&1 || {
			why="this is no Debian system ($tool is missing); install CRIU $least or newer"
			return 1
		}
	done
	[ -r "$keys" ] || {
		why="$keys is missing: sh tools/deps.sh criu"
		return 1
	}
	prepare_apt
	find_suite || {
		why="Debian's mirror: ${why:-apt-get failed}"
		return 1
	}
	download || {
		why="Debian's mirror: $(apt_says)"
		return 1
	}
	root=$work/root
	why="criu $offered of Debian's $suite cannot be unpacked to $root"
	mkdir "$root"
	for deb in "$apt"/cache/archives/*.deb; do
		dpkg-deb -x "$deb" "$root" 2>/dev/null || return 1
	done
	program=$(find "$root" -path '*bin/criu' -type f)
	loader=$(find "$root" -name 'ld-linux*.so.*' -type f | head -n 1)
	folders=$(find "$root" -name 'lib*.so.*' -printf '%h\n' | sort -u | tr '\n' ':')
	why="criu $offered of Debian's $suite does not start"
	"$loader" --inhibit-cache --library-path "${folders%:}" --list "$program" >"$work/ldd" 2>&1 || return 1
	# What the packages lack, the loader takes from the system, if that has it.
	lacking=$(awk -v root="$root/" '$2 == "=>" && index($3, root) != 1 { print $1 }' "$work/ldd" | tr '\n' ' ')
	[ -z "$lacking" ] || {
		why="criu $offered of Debian's $suite comes without ${lacking% }"
		return 1
	}
	collect "$program" "$work/ldd" || return 1
	checked in_dir "$new" || {
		why="criu $offered of Debian's $suite: $why"
		return 1
	}
	echo "debian $suite criu $offered" >"$new/source"
}

# ---- The directory ----

dir=$SRC/build/criu
force=${FSBOX_CRIU_REFRESH-}
while [ $# -gt 0 ]; do
	case $1 in
	--force) force=1 ;;
	--prefix)
		shift
		dir=${1-}
		;;
	--prefix=*) dir=${1#*=} ;;
	*) dir= ;;
	esac
	if [ -z "$dir" ] || [ $# = 0 ]; then
		say "usage: criu.sh [--prefix DIR] [--force]"
		exit 2
	fi
	shift
done
dir=$(readlink -m "$dir")

already() {
	[ "$force" != 1 ] && good "$dir" || return 1
	say "$dir holds CRIU $number already ($(cat "$dir/source"))"
}
already && exit 0

# Nobody's own directory is replaced.
if [ -e "$dir" ] && [ ! -f "$dir/source" ] && { [ ! -d "$dir" ] || [ -n "$(ls -A "$dir")" ]; }; then
	say "$dir exists and is not of this script"
	exit 2
fi

# Two runs work one after the other: the lock is on the folder around, so that none is left behind.
parent=$(dirname "$dir")
work=$parent/.${dir##*/}.work
new=$work/new
mkdir -p "$parent" && exec 8<"$parent" && flock 8 || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
[ -e "$dir" ] || [ ! -d "$work/old" ] || mv "$work/old" "$dir" # a run was killed between its two last steps
already && exit 0
rm -rf "$work"
mkdir "$work" || exit 1

from_system || {
	system=$why
	from_debian || {
		say "no CRIU for snapshots: $system; $why"
		exit 3
	}
}
{ [ ! -e "$dir" ] || mv -T "$dir" "$work/old"; } && mv -T "$new" "$dir" || exit 1
say "$dir now holds CRIU $(cat "$dir/version") ($(cat "$dir/source")), $(du -sh "$dir" | cut -f 1); $verdict"
