#!/bin/sh
# PID 1 of a guest until its root is there: the host's root over 9p, read-only, under an overlay whose upper half is a tmpfs.
# It is the /init of the initramfs that kernel.sh makes and runs in busybox. What goes wrong ends the guest with a sentence
# on the console, which run.sh looks for.
export PATH=/bin

die() {
	echo "guest: $*" >/dev/console
	/bin/busybox poweroff -f
	exit 1 # without its PID 1 the kernel stops, and with it the machine
}

/bin/busybox mount -t proc proc /proc || die "no /proc"
/bin/busybox --install -s /bin || die "no commands"
mount -t sysfs sys /sys || die "no /sys"
mount -t devtmpfs dev /dev || die "no /dev"
exec </dev/console >/dev/console 2>&1
while read -r m; do
	insmod "/modules/$m.ko" || die "cannot load $m"
done </modules/order

# The root does not change while the tests run, so its pages may be cached ("loose"); the job's folder is written by both.
# The host's mounts below the root are parts of one export: qemu keeps their inode numbers apart.
opts=trans=virtio,version=9p2000.L,msize=524288
mount -t 9p -o "$opts,cache=loose,ro" root /lower || die "cannot mount the host's root"
mount -t tmpfs -o size=50%,mode=755 tmpfs /upper || die "no tmpfs"
mkdir /upper/data /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work overlay /root || die "cannot mount the overlay"
mkdir -p /root/run /root/proc /root/sys /root/dev /root/tmp
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs /root/run || die "no /run"
mkdir -p /root/run/guest/job /root/run/guest/lower
mount -t 9p -o "$opts,cache=none" job /root/run/guest/job || die "cannot mount the job's folder"
# The systemd tier makes the root into that of a guest here.
[ ! -f /root/run/guest/job/prepare ] || sh /root/run/guest/job/prepare /root || die "the root could not be prepared"
mount --move /lower /root/run/guest/lower
mount --move /proc /root/proc
mount --move /sys /root/sys
mount --move /dev /root/dev
next=$(cat /root/run/guest/job/init) || die "no job"
# shellcheck disable=SC2086 # words
exec switch_root /root $next
