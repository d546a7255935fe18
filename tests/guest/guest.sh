#!/bin/sh
# PID 1 of a guest once the host's root is mounted: makes it look like a freshly booted machine with pure cgroup v2 and no
# systemd, then runs the job that run.sh wrote to /run/guest/job. The folder holds, written by run.sh:
#
#   settings      SRC KERNEL TIER MUST SLOWER, sourced      programs   lines: NUMBER LIMIT MODE NAME [TEST...]
#
# and, written here, booted (the table of what the guest is), NUMBER.log, NUMBER.status for each program, and done.
# A MODE says as whom a program runs:
#
#   root        root, in the root group
#   user        an ordinary user with subordinate ids, in a group that is not his
#   delegated   the same user in a group that was given to him as systemd's Delegate=yes does (cgroups(7))
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
LC_ALL=C
export LC_ALL
JOB=/run/guest/job
USER_ID=1000

end() {
	sync
	busybox poweroff -f
	exit 1 # without its PID 1 the kernel stops, and with it the machine
}
die() {
	echo "guest: $*" >/dev/console
	end
}

. "$JOB/settings" || die "no settings"

modules() { # those for the tests: kept beside the kernel in build/guest, found by modprobe below /lib/modules
	mkdir -p /lib/modules || return 1
	[ ! -d "/lib/modules/$(uname -r)" ] || rm -rf "/lib/modules/$(uname -r)"
	ln -sfn "$SRC/build/guest/$KERNEL/lib/modules/$(uname -r)" "/lib/modules/$(uname -r)" || return 1
	# request_module(9) calls /sbin/modprobe, which the host need not have.
	[ -x /sbin/modprobe ] || ln -s "$(command -v busybox)" /sbin/modprobe
	# Without udev nothing makes the nodes by which these are loaded on demand.
	for m in loop tun fuse virtio_rng; do
		modprobe "$m" 2>/dev/null || busybox modprobe "$m" 2>/dev/null
	done
}

file_systems() {
	mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts 2>/dev/null ||
		{ mkdir -p /dev/pts && mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts; } || return 1
	mkdir -p /dev/shm /dev/mqueue
	mount -t tmpfs -o nosuid,nodev tmpfs /dev/shm || return 1
	mount -t mqueue mqueue /dev/mqueue || return 1
	for link in fd:/proc/self/fd stdin:/proc/self/fd/0 stdout:/proc/self/fd/1 stderr:/proc/self/fd/2; do
		ln -sf "${link#*:}" "/dev/${link%%:*}"
	done
	mkdir -p /run/lock /run/user
	chmod 1777 /run/lock
	mount -t tmpfs -o nosuid,nodev,mode=1777,size=50% tmpfs /tmp || return 1
	mount -t tmpfs -o nosuid,nodev,mode=1777,size=25% tmpfs /var/tmp || return 1
	# The sources may lie in a folder that the two mounts have hidden.
	[ -d "$SRC" ] || {
		mkdir -p "$SRC" || return 1
		mount --bind "/run/guest/lower$SRC" "$SRC" || return 1
	}
	mount -t cgroup2 -o nosuid,nodev,noexec,nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup || return 1
	mkdir -p /sys/kernel/security
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
	echo 1 >/proc/sys/kernel/unprivileged_userns_clone 2>/dev/null
	:
}

network() {
	hostname fsbox-guest
	ip link set lo up || busybox ip link set lo up
}

users() { # an ordinary user as useradd(8) makes one, beside those of the host
	name=fsboxuser
	grep -q "^[^:]*:[^:]*:$USER_ID:" /etc/passwd && name=$(sed -n "s/^\([^:]*\):[^:]*:$USER_ID:.*/\1/p" /etc/passwd)
	grep -q "^$name:" /etc/passwd || {
		echo "$name:x:$USER_ID:$USER_ID::/home/$name:/bin/sh" >>/etc/passwd
		echo "$name:x:$USER_ID:" >>/etc/group
	}
	for f in /etc/subuid /etc/subgid; do
		grep -q "^$name:" "$f" 2>/dev/null || echo "$name:300000:65536" >>"$f"
	done
	mkdir -p "/home/$name" "/run/user/$USER_ID"
	chown "$USER_ID:$USER_ID" "/home/$name" "/run/user/$USER_ID"
	chmod 700 "/run/user/$USER_ID"
	USER_NAME=$name
	# What may not be read on the way to the sources could not be executed by him.
	at=$SRC
	while [ -n "$at" ]; do
		[ -z "$(find "$at" -maxdepth 0 -perm -o=x)" ] && chmod o+rx "$at"
		at=${at%/*}
	done
}

groups_for_user() {
	g=/sys/fs/cgroup/user.slice
	mkdir -p $g/login $g/delegated || return 1
	for c in $(cat $g/cgroup.controllers); do
		echo "+$c" >$g/cgroup.subtree_control
	done
	chown "$USER_ID:$USER_ID" $g/delegated
	while read -r f; do
		[ ! -e "$g/delegated/$f" ] || chown "$USER_ID:$USER_ID" "$g/delegated/$f"
	done </sys/kernel/cgroup/delegate
}

run_as() { # MODE COMMAND...: called in a subshell
	mode=$1
	shift
	case $mode in
	root) exec "$@" ;;
	user) echo 0 >/sys/fs/cgroup/user.slice/login/cgroup.procs ;;
	delegated) echo 0 >/sys/fs/cgroup/user.slice/delegated/cgroup.procs ;;
	esac
	HOME=/home/$USER_NAME USER=$USER_NAME LOGNAME=$USER_NAME XDG_RUNTIME_DIR=/run/user/$USER_ID
	export HOME USER LOGNAME XDG_RUNTIME_DIR
	exec setpriv --reuid "$USER_ID" --regid "$USER_ID" --init-groups "$@"
}

program() { # NUMBER LIMIT MODE NAME [TEST...]
	cd "$SRC" || return 1
	log=$JOB/$1.log result=$JOB/$1.status limit=$2 mode=$3 name=$4
	shift 4
	FSBOX_SRC=$SRC FSBOX_MUST_RUN=$MUST FSBOX_SLOWER=$SLOWER FSBOX_TIER=$TIER
	case $name in
	fault/*) FSBOX_BUILD=$SRC/build/fault ;;
	unit/* | policy/*) FSBOX_BUILD=$SRC/build/asan ;;
	*) FSBOX_BUILD=$SRC/build ;;
	esac
	FSBOX=$FSBOX_BUILD/fsbox
	ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=1:strict_string_checks=1
	UBSAN_OPTIONS=print_stacktrace=1
	export FSBOX_SRC FSBOX_BUILD FSBOX FSBOX_MUST_RUN FSBOX_SLOWER FSBOX_TIER ASAN_OPTIONS UBSAN_OPTIONS
	if [ "$name" = shell ]; then
		set -- sh "$JOB/command"
	elif [ -f "tests/$name.sh" ]; then
		set -- sh "tests/$name.sh" "$@"
	else
		set -- "$FSBOX_BUILD/tests/$name" "$@"
	fi
	(run_as "$mode" timeout -k 10 "$limit" "$@") >"$log" 2>&1 </dev/null
	echo $? >"$result.new"
	mv "$result.new" "$result"
}

file_systems || die "a file system could not be mounted"
modules || die "no modules"
controllers
settings
network || die "loopback is not up"
users
groups_for_user || die "no groups for the user"
{
	uname -srv
	echo "cgroup2: $(cat /sys/fs/cgroup/cgroup.controllers)"
	free -m | sed -n 2p
} >"$JOB/booted"

while read -r number limit mode name tests; do
	echo "guest: $name ($mode)" >/dev/console
	# shellcheck disable=SC2086 # words
	program "$number" "$limit" "$mode" "$name" $tests
done <"$JOB/programs"
: >"$JOB/done"
end
