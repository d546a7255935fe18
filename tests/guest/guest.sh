#!/bin/sh
# shellcheck disable=SC2013 # one word a line
# PID 1 of a guest once the host's root is mounted: makes it look like a freshly booted machine with pure cgroup v2 and no
# systemd, then runs the job (see programs.sh).
. "${0%/*}/programs.sh"

file_systems() {
	mkdir -p /dev/pts /dev/shm /dev/mqueue /run/lock /run/user /sys/kernel/security
	mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts || return 1
	mount -t tmpfs -o nosuid,nodev tmpfs /dev/shm || return 1
	mount -t mqueue mqueue /dev/mqueue || return 1
	for link in fd:/proc/self/fd stdin:/proc/self/fd/0 stdout:/proc/self/fd/1 stderr:/proc/self/fd/2; do
		ln -sf "${link#*:}" "/dev/${link%%:*}"
	done
	chmod 1777 /run/lock
	mount -t tmpfs -o nosuid,nodev,mode=1777,size=50% tmpfs /tmp || return 1
	mount -t tmpfs -o nosuid,nodev,mode=1777,size=25% tmpfs /var/tmp || return 1
	# The sources may lie in a folder that the two mounts have hidden.
	[ -d "$SRC" ] || {
		mkdir -p "$SRC" || return 1
		mount --bind "/run/guest/lower$SRC" "$SRC" || return 1
	}
	mount -t cgroup2 -o nosuid,nodev,noexec,nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup || return 1
	mount -t securityfs securityfs /sys/kernel/security 2>/dev/null
	return 0
}

controllers() { # all of them, as systemd hands them down from the root
	for c in $(cat /sys/fs/cgroup/cgroup.controllers); do
		echo "+$c" >/sys/fs/cgroup/cgroup.subtree_control || echo "guest: the root does not hand down $c" >/dev/console
	done
}

settings() {
	# More random bits, as newer kernels have them, are too many for the sanitizers of gcc 12 and clang 14.
	echo 28 >/proc/sys/vm/mmap_rnd_bits
	hostname fsbox-guest
	ip link set lo up || busybox ip link set lo up
}

groups_for_user() {
	mkdir -p "/run/user/$USER_ID"
	chown "$USER_ID:$USER_ID" "/run/user/$USER_ID"
	chmod 700 "/run/user/$USER_ID"
	g=/sys/fs/cgroup/user.slice
	mkdir -p $g/login $g/delegated || return 1
	for c in $(cat $g/cgroup.controllers); do
		echo "+$c" >$g/cgroup.subtree_control
	done
	chown "$USER_ID:$USER_ID" $g/delegated
	while read -r f; do
		[ ! -e "$g/delegated/$f" ] || chown "$USER_ID:$USER_ID" "$g/delegated/$f"
	done </sys/kernel/cgroup/delegate
	# What may not be entered on the way to the sources could not be executed by him.
	at=$SRC
	while [ -n "$at" ]; do
		[ -z "$(find "$at" -maxdepth 0 ! -perm -o=x)" ] || chmod o+rx "$at"
		at=${at%/*}
	done
}

file_systems || die "a file system could not be mounted"
modules || die "no modules"
controllers
settings || die "loopback is not up"
users
groups_for_user || die "no groups for the user"
run_programs
end
