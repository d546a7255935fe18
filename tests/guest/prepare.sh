#!/bin/sh
# Makes a Debian root into the guest of the systemd tier. Runs in the initramfs, in busybox: $1 is the root, whose changes
# go to the overlay. The sources are at /srv/fsbox, where nothing of systemd's covers them; fsbox is installed as
# `make install` does it.
set -eu
root=$1
src=$root/srv/fsbox
mkdir -p "$src"
mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=loose,ro src "$src"
mkdir -p "$root/usr/local/bin" "$root/usr/local/libexec/fsbox" "$root/etc/fsbox"
cp "$src/build/fsbox" "$src/build/fsbox-oci" "$root/usr/local/bin/"
cp -R "$src"/build/runtime/* "$src/build/fsbox-spawn" "$src/build/fsbox-publish" "$src/build/fsboxd" "$src/build/fsbox-scope" \
	"$root/usr/local/libexec/fsbox/"
cp "$src"/contrib/systemd/system/* "$root/etc/systemd/system/"
cp "$src"/contrib/systemd/user/* "$root/etc/systemd/user/"
mkdir -p "$root/etc/sysusers.d"
cp "$src"/contrib/systemd/sysusers.d/* "$root/etc/sysusers.d/"
echo fsbox-guest >"$root/etc/hostname"
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
# Nobody logs in, and nothing of this machine is mounted or set up by systemd beyond its own.
for unit in serial-getty@ttyS0.service getty@tty1.service systemd-firstboot.service; do
	ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
: >"$root/etc/fstab"
cat >"$root/etc/systemd/system/fsbox-guest.service" <<'END'
[Unit]
Description=The tests of the guest tier
After=multi-user.target dbus.service systemd-logind.service systemd-user-sessions.service

[Service]
Type=oneshot
ExecStart=/bin/sh /run/guest/job/systemd.sh
TimeoutStartSec=infinity
END
mkdir -p "$root/etc/systemd/system/default.target.wants"
ln -sf ../fsbox-guest.service "$root/etc/systemd/system/default.target.wants/fsbox-guest.service"
ln -sf /usr/lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
