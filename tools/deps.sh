#!/bin/sh
# Installs the Debian packages that fsbox needs. Works on a machine that has only a shell, apt and this file.
#
#   sh tools/deps.sh [GROUP...]       GROUP: build (default), runtimes, test, clients, engines, guest, bench, fresh, demo, criu
#   sh tools/deps.sh --list GROUP...  prints the names of the packages
#   sh tools/deps.sh --missing GROUP... prints those that dpkg does not know as installed
#   sh tools/deps.sh --check-libs LIB...  for the Makefile: are these there for pkg-config? Names the package if not
#
# Installs only what is missing, with apt-get as root or through sudo. Where neither is possible it prints the command
# and exits 1. Other distributions: the same things under other names; what is found by pkg-config is enough.
set -u
LC_ALL=C
export LC_ALL

say() { printf '%s\n' "$*" >&2; }

package_of_lib() {
	case $1 in
	libseccomp) echo libseccomp-dev ;;
	libnl-3.0) echo libnl-3-dev ;;
	jansson) echo libjansson-dev ;;
	libcrypto) echo libssl-dev ;;
	sqlite3) echo libsqlite3-dev ;;
	libarchive) echo libarchive-dev ;;
	libsystemd) echo libsystemd-dev ;;
	*) echo "$1-dev" ;;
	esac
}

check_libs() {
	command -v pkg-config >/dev/null 2>&1 || {
		say "pkg-config is missing: install the Debian package pkgconf, or run: make deps"
		return 1
	}
	status=0
	for lib in "$@"; do
		pkg-config --exists "$lib" || {
			say "the library $lib is missing: install the Debian package $(package_of_lib "$lib")," \
				"or run: make deps"
			status=1
		}
	done
	return $status
}

# The compiler's run-time library has the compiler's version in its name, and only the package lists know which that is.
clang_version() {
	apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9][0-9]*\)$/\1/p' | head -n 1
}

list() {
	for group in "$@"; do
		case $group in
		build)
			echo gcc make pkgconf libc6-dev libseccomp-dev libnl-3-dev libjansson-dev libssl-dev libarchive-dev libsqlite3-dev libsystemd-dev
			;;
		test)
			# binutils: nm, readelf · util-linux to iproute2, e2fsprogs, jq, python3: what the system tests look with · nodejs: what they run ·
			# python3-numpy: generators of functions · llvm: names in the fuzzers' stack traces · uuid-dev: a library of test functions · valgrind: fsboxd in it · uidmap: newuidmap for the runs as an ordinary user · man-db, groff-base: the manual's own check
			# gcc-aarch64-linux-gnu: what is written for that processor
			echo g++ clang llvm clang-format clang-tidy cppcheck shellcheck codespell gcc-aarch64-linux-gnu libc6-dev-arm64-cross
			echo binutils util-linux bsdutils procps iproute2 uidmap e2fsprogs jq nodejs python3-minimal python3-numpy man-db groff-base libcap2-bin keyutils redis-tools uuid-dev valgrind
			v=$(clang_version)
			echo "libclang-rt-${v:-14}-dev"
			;;
		runtimes)
			# The interpreters of functions in Python and Node.js: somebody else's node will do as well.
			echo python3
			[ -x /usr/bin/node ] || echo nodejs
			;;
		clients)
			# what tools/clients.sh builds AWS's clients with, and curl for the bootstrap of its tutorial · varlink-go to
			# golang-go: a client of fsboxd that was not written here
			echo g++ make cmake autoconf automake libtool curl varlink-go golang-github-varlink-go-dev golang-go
			command -v npm >/dev/null 2>&1 || echo npm
			[ -d /usr/include/node ] || echo libnode-dev
			;;
		bench)
			echo bubblewrap runc crun busybox-static
			;;
		guest)
			echo qemu-system-x86 busybox-static debian-archive-keyring zstd xz-utils kmod util-linux
			;;
		engines)
			# what tests/system/oci_podman.sh and oci_containerd.sh drive fsbox-oci with; catatonit: podman's --init · runc: what
			# oci_differs.sh compares with
			echo podman conmon containerd buildah catatonit runc
			;;
		fresh)
			echo mmdebstrap
			;;
		demo)
			# redis-tools: its redis-check-rdb is the server as well · curl: for the bootstrap in bash
			echo redis-tools curl
			;;
		criu)
			# what tools/criu.sh verifies packages with: apt, dpkg and flock are on every Debian
			echo debian-archive-keyring
			;;
		*)
			say "deps.sh: no group '$group'; there are: build runtimes test clients engines guest bench fresh demo criu"
			exit 2
			;;
		esac
	done | tr ' ' '\n' | sort -u
}

missing() {
	for package in $(list "$@"); do
		status=$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null) || status=
		case $status in
		?i*) ;;
		*) printf '%s\n' "$package" ;;
		esac
	done
}

mode=install
case ${1-} in
--check-libs)
	shift
	check_libs "$@"
	exit
	;;
--list | --missing)
	mode=${1#--}
	shift
	;;
esac
[ $# -gt 0 ] || set -- build
if [ "$mode" = list ]; then
	list "$@"
	exit
fi

if ! command -v dpkg-query >/dev/null 2>&1; then
	command -v cc >/dev/null 2>&1 && command -v make >/dev/null 2>&1 &&
		check_libs libseccomp libnl-3.0 jansson libcrypto sqlite3 libarchive && exit 0
	# shellcheck disable=SC2046 # the names are words
	say "this is no Debian system; install what these Debian packages hold:" $(list "$@")
	exit 1
fi

need=$(missing "$@" | tr '\n' ' ')
need=${need% }
if [ "$mode" = missing ]; then
	[ -z "$need" ] || printf '%s\n' "$need"
	exit
fi
[ -n "$need" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
	# A password can be asked for only where somebody can answer.
	if command -v sudo >/dev/null 2>&1 && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
		as_root=sudo
	else
		say "packages are missing, and installing them needs root:"
		say "    apt-get install --no-install-recommends -y $need"
		exit 1
	fi
fi

say "installing: $need"
apt() {
	# A first boot's own updates may hold dpkg's lock for a while.
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 "$@" >&2
}
# The lists may be absent or too old to name files that still exist: fetch them when a first try fails.
first=${need%% *}
apt-cache show "$first" >/dev/null 2>&1 || apt update
need=$(missing "$@" | tr '\n' ' ') # now that the lists are there, the names with versions are certain
# shellcheck disable=SC2086 # the names are words
apt install --no-install-recommends -y $need || { apt update && apt install --no-install-recommends -y $need; } || {
	say "apt-get could not install: $need"
	exit 1
}
need=$(missing "$@" | tr '\n' ' ')
[ -z "$need" ] || {
	say "still missing after apt-get: $need"
	exit 1
}
