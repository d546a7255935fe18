# How a guest runs the programs of its job; sourced by guest.sh and systemd.sh. The job is the folder /run/guest/job, which
# run.sh made on the host. It holds, written by run.sh:
#
#   settings      SRC KERNEL TIER MUST SLOWER, sourced      programs   lines: NUMBER LIMIT MODE NAME [TEST...]
#
# and, written here, booted (what the guest is), NUMBER.log, NUMBER.status (exit status, seconds) for each program, and done.
# A MODE says as whom a program runs:
#
#   root        root, in the group of the caller
#   user        an ordinary user with subordinate ids, in a group that is not his
#   delegated   the same user in a group that was given to him as systemd's Delegate=yes does (cgroups(7))
# shellcheck shell=sh
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
JOB=/run/guest/job
USER_ID=1000
USER_NAME=fsboxuser

end() {
	sync
	if [ -d /run/systemd/system ]; then
		systemctl poweroff --force --force
	else
		busybox poweroff -f
	fi
	exit 1 # where this is PID 1, the kernel stops without it, and with it the machine
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
	# request_module(9) calls /sbin/modprobe, which the root need not have.
	[ -x /sbin/modprobe ] || ln -s "$(command -v busybox)" /sbin/modprobe
	# Without udev nothing makes the nodes by which these are loaded on demand.
	for m in loop tun fuse virtio_rng unix_diag inet_diag tcp_diag udp_diag netlink_diag af_packet_diag; do
		/sbin/modprobe "$m" || echo "guest: no module $m" >/dev/console
	done
	return 0
}

users() { # an ordinary user as useradd(8) makes one, beside those that are there
	if grep -q "^[^:]*:[^:]*:$USER_ID:" /etc/passwd; then
		USER_NAME=$(sed -n "s/^\([^:]*\):[^:]*:$USER_ID:.*/\1/p" /etc/passwd | head -n 1)
	else
		echo "$USER_NAME:x:$USER_ID:$USER_ID::/home/$USER_NAME:/bin/sh" >>/etc/passwd
		echo "$USER_NAME:x:$USER_ID:" >>/etc/group
		echo "$USER_NAME:*:19000:0:99999:7:::" >>/etc/shadow
	fi
	for f in /etc/subuid /etc/subgid; do
		grep -q "^$USER_NAME:" "$f" 2>/dev/null || echo "$USER_NAME:300000:65536" >>"$f"
	done
	mkdir -p "/home/$USER_NAME"
	chown "$USER_ID:$USER_ID" "/home/$USER_NAME"
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
	case $name in
	fault/*) FSBOX_BUILD=$SRC/build/fault ;;
	unit/* | policy/*) FSBOX_BUILD=$SRC/build/asan ;;
	*) FSBOX_BUILD=$SRC/build ;;
	esac
	FSBOX=$FSBOX_BUILD/fsbox FSBOX_SRC=$SRC FSBOX_MUST_RUN=$MUST FSBOX_SLOWER=$SLOWER FSBOX_TIER=$TIER
	ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=1:strict_string_checks=1
	UBSAN_OPTIONS=print_stacktrace=1
	export FSBOX FSBOX_BUILD FSBOX_SRC FSBOX_MUST_RUN FSBOX_SLOWER FSBOX_TIER ASAN_OPTIONS UBSAN_OPTIONS
	if [ "$name" = shell ]; then
		set -- sh "$JOB/command"
	elif [ -f "tests/$name.sh" ]; then
		set -- sh "tests/$name.sh" "$@"
	else
		set -- "$FSBOX_BUILD/tests/$name" "$@"
	fi
	began=$(cut -d . -f 1 /proc/uptime)
	(run_as "$mode" timeout -k 10 "$limit" "$@") >"$log" 2>&1 </dev/null
	echo "$? $(($(cut -d . -f 1 /proc/uptime) - began))" >"$result.new"
	mv "$result.new" "$result"
}

run_programs() {
	{
		uname -srv
		echo "cgroup2: $(cat /sys/fs/cgroup/cgroup.controllers)"
		free -m 2>/dev/null | sed -n 2p
	} >"$JOB/booted"
	while read -r number limit mode name tests; do
		echo "guest: $name ($mode)" >/dev/console
		# shellcheck disable=SC2086 # words
		program "$number" "$limit" "$mode" "$name" $tests
	done <"$JOB/programs"
	: >"$JOB/done"
}
