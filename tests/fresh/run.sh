#!/bin/sh
# Proves the two commands of the README in a bare Debian root that has a shell, apt and a copy of the sources: the list of
# packages in tools/deps.sh is complete, and the build needs nothing of this machine.
#
#   sh tests/fresh/run.sh [SUITE]     SUITE: bookworm (default) or another release of Debian
#
# Needs root, mmdebstrap and a mirror: the one of this machine's apt, with its proxy. Everything happens in a private
# mount namespace below a directory of /var/tmp, which is removed. With FRESH_FULL=1 the demo and the whole test suite run
# inside as well; the cells then stand in this machine's cgroups.
set -u
cd "$(dirname "$0")/../.." || exit 1
suite=${1:-bookworm}
[ "$(id -u)" = 0 ] || {
	echo "fresh: needs root for mounts and chroot" >&2
	exit 1
}
command -v mmdebstrap >/dev/null 2>&1 || {
	echo "fresh: mmdebstrap is missing: sh tools/deps.sh fresh" >&2
	exit 1
}
if [ "${FSBOX_FRESH_INSIDE-}" != 1 ]; then
	FSBOX_FRESH_INSIDE=1 exec unshare --mount --propagation private sh "$0" "$@"
fi

dir=$(mktemp -d /var/tmp/fsbox-fresh.XXXXXX) || exit 1
root=$dir/root
cleanup() {
	for m in run/lock dev proc sys; do
		umount -R -l "$root/$m" 2>/dev/null
	done
	rm -rf --one-file-system "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# This machine's way to the mirror: proxy settings, and the sources that are Debian's own.
apt-config dump | grep -iE '^Acquire::(http|https|ftp)?:*(Proxy|http::|https::|ForceIPv4|Retries)' >"$dir/apt.conf"
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null |
	sed -n 's/^URIs: *\(http[^ ]*\/debian\)\/* *$/\1/p; s/^deb .*\(http[^ ]*\/debian\)\/* .*/\1/p' | head -n 1)
echo "fresh: $suite from ${mirror:-http://deb.debian.org/debian}"
# mount is required in every Debian system, but not essential; leaving the old root needs its umount.
mmdebstrap --quiet --variant=apt --include=mount --aptopt="$dir/apt.conf" "$suite" "$root" "${mirror:-http://deb.debian.org/debian}" || exit 1

mkdir -p "$root/src"
if git -c safe.directory='*' rev-parse --git-dir >/dev/null 2>&1; then
	git -c safe.directory='*' ls-files -z --cached --others --exclude-standard
else
	find . -path ./build -prune -o -type f -print0
fi | tar -c --null --verbatim-files-from --ignore-failed-read -T - | tar -x -C "$root/src" || exit 1
cp "$dir/apt.conf" "$root/etc/apt/apt.conf.d/99host"
[ ! -s /etc/resolv.conf ] || cp -L /etc/resolv.conf "$root/etc/resolv.conf"
mount -t proc proc "$root/proc" && mount --rbind /sys "$root/sys" && mount --rbind /dev "$root/dev" || exit 1
# The lock of the programs that look at the whole machine (tests/run.sh) is one for both sides.
if [ -d /run/lock ]; then
	mkdir -p "$root/run/lock" && mount --bind /run/lock "$root/run/lock" || exit 1
fi
mount --make-rslave "$root/sys" && mount --make-rslave "$root/dev" || exit 1

# pivot_root, not chroot alone: from a chroot nobody may make a user namespace (user_namespaces(7), EPERM).
inside() {
	unshare --mount --propagation private sh -c '
		mount --rbind "$1" "$1" && cd "$1" && mkdir -p .host && pivot_root . .host && umount -l .host || exit 1
		cd /src && exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 ${http_proxy+http_proxy="$http_proxy"} \
			${https_proxy+https_proxy="$https_proxy"} FSBOX_MUST_RUN="${FSBOX_MUST_RUN-}" sh -c "$2"' sh "$root" "$1"
}
inside '! command -v make && ! command -v cc' || {
	echo "fresh: the root is not bare: it has make" >&2
	exit 1
}
inside 'sh tools/deps.sh build' || exit 1
inside '[ -z "$(sh tools/deps.sh --missing build)" ]' || exit 1
inside 'make -j2 DEV=1' || exit 1
if [ -f "$root/src/build/fsbox" ]; then
	inside 'build/fsbox --version && make install DESTDIR=/tmp/stage PREFIX=/usr && /tmp/stage/usr/bin/fsbox --version' || exit 1
fi
if [ "${FRESH_FULL-}" = 1 ]; then
	inside 'sh contrib/demo.sh' || exit 1
	inside 'sh tests/run.sh' || exit 1
fi
echo "fresh: ok"
