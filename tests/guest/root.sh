#!/bin/sh
# Makes build/guest/systemd: Debian 13 with systemd and what the tests call, by mmdebstrap, kept between runs. Nothing is
# installed on the host. FSBOX_DEBIAN_MIRROR names another mirror; FSBOX_GUEST_REFRESH=1 makes it anew.
set -eu
umask 022
SRC=$(cd "$(dirname "$0")/../.." && pwd)
base=$SRC/build/guest
packages=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,libseccomp2,libnl-3-200,libjansson4
packages=$packages,jq,util-linux,procps,iproute2,libsqlite3-0,libssl3t64
packages=$packages,busybox-static,podman,uidmap # for fsbox-oci
mkdir -p "$base"
exec 8>"$base/.lock"
flock 8
# One that was made with other packages is made anew.
[ "$(cat "$base/systemd.packages" 2>/dev/null)" != "$packages" ] || [ "${FSBOX_GUEST_REFRESH-}" = 1 ] || exit 0
command -v mmdebstrap >/dev/null 2>&1 || {
	echo "root.sh: mmdebstrap is missing: sh tools/deps.sh guest" >&2
	exit 1
}
echo "root.sh: making a Debian 13 with systemd" >&2
rm -rf "$base/systemd" "$base/systemd.new" "$base/systemd.packages"
mmdebstrap --quiet --variant=minbase --include="$packages" --aptopt='APT::Install-Recommends "false"' \
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
	--dpkgopt='path-exclude=/usr/share/man/*' trixie "$base/systemd.new" \
	"${FSBOX_DEBIAN_MIRROR:-http://deb.debian.org/debian}" >&2 8>&-
mv "$base/systemd.new" "$base/systemd"
echo "$packages" >"$base/systemd.packages"
