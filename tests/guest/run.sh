#!/bin/sh
# shellcheck disable=SC2015 # the usage text is for both
# Runs test programs on a Debian kernel with pure cgroup v2, in a virtual machine that shares this machine's root file system
# (read-only, under an overlay): the guest tier.
#
#   sh tests/guest/run.sh [OPTION...] KERNEL [WHAT...]
#
#   KERNEL    6.1 (Debian 12's, the floor) or 6.12 (Debian 13's); or systemd: a Debian 13 of its own, with systemd as
#             PID 1, instead of this machine's root
#   WHAT      a suite (system, unit, …), a program (system/cgroup_live), a program and as whom it runs
#             (system/cgroup_live@user; see programs.sh), "subset" for the lines of tests/guest/subset (the default), or
#             "all" for every suite. The systemd tier has one suite: systemd
#   --sums F  writes one line per program to F: NAME PASSED FAILED SKIPPED
#   --shell COMMAND      runs this as root in the guest and shows what it prints, instead of tests
#   --limit SECONDS      for the whole run (600)
#   --tcg     no hardware virtualisation, even where it works
#
# Programs must have been built: `make all functions programs-unit programs-system …`. They are reported like those of
# tests/run.sh, with the tier's name before theirs. Exit 0: all ran and none failed. A guest that does not boot, hangs or
# breaks off is a failure, with the end of its console's log. Logs: build/test-logs/guest-KERNEL.*
#
# FSBOX_MUST_RUN=1 makes a skip a failure. Tests get FSBOX_SLOWER, the factor by which time limits are stretched (8 without
# hardware virtualisation, else 1). Nothing is left running: the machine ends with this script, whatever ends it. Without
# root, who alone can show the guest all of his files, or on another processor the tier is one skipped test.
set -u
cd "$(dirname "$0")/../.." || exit 1
SRC=$(pwd)
LC_ALL=C
export LC_ALL
total=600
sums=
shell=
force_tcg=
while :; do
	case ${1-} in
	--sums) sums=$2 && shift 2 ;;
	--shell) shell=$2 && shift 2 ;;
	--limit) total=$2 && shift 2 ;;
	--tcg) force_tcg=1 && shift ;;
	*) break ;;
	esac
done
[ $# -gt 0 ] && [ "${1#-}" = "$1" ] || {
	sed -n '5,18s/^# \{0,1\}//p' tests/guest/run.sh >&2
	exit 2
}
kernel=$1
shift
tier=guest-$kernel
root=/ guest_src=$SRC init="/bin/sh /run/guest/job/guest.sh"
[ "$tier" != guest-systemd ] || {
	kernel=6.12 root=$SRC/build/guest/systemd guest_src=/srv/fsbox init=/sbin/init
}
[ -z "$sums" ] || : >"$sums"
logs=$SRC/build/test-logs
mkdir -p "$logs" "$SRC/build/guest"

# One guest of a tier at a time in a tree: their logs have the same names.
exec 7>"$SRC/build/guest/.$tier.lock"
flock 7

fail_all() { # MESSAGE: the tier as one failed test
	printf 'FAIL  %s/run: %s\n' "$tier" "$*"
	[ -z "$sums" ] || echo "$tier/run 0 1 0" >>"$sums"
	exit 1
}

why=
[ "$(id -u)" = 0 ] || why="needs root"
[ "$(uname -m)" = x86_64 ] || why="needs an x86-64 processor"
[ -z "$why" ] || {
	[ "${FSBOX_MUST_RUN-}" != 1 ] || fail_all "$why"
	printf 'skip  %s/run: %s\n' "$tier" "$why"
	[ -z "$sums" ] || echo "$tier/run 0 0 1" >>"$sums"
	exit 0
}

# ---- The list ----
. tests/lib/time_limit.sh
names_of() { # SUITE
	for f in tests/"$1"/*.c tests/"$1"/*.sh tests/"$1"/*/*.sh; do
		name=${f#tests/}
		case $name in
		*'*'*) continue ;;
		unit/test_*) ;;
		unit/*) continue ;;
		esac
		[ -f "tests/${name%.*}.sh" ] || grep -qE '^(TEST|FEATURE)\(' "$f" || continue
		modes_of "${name%.*}"
	done
}
modes_of() { # NAME: with each mode that the program is made for
	case $1 in
	guest/as_user) printf '%s user\n%s delegated\n' "$1" "$1" ;;
	guest/*) ;; # the machinery of this folder
	*) echo "$1 root" ;;
	esac
}
list() {
	for what in "$@"; do
		case $tier:$what in
		guest-systemd:subset | guest-systemd:all) names_of systemd ;;
		*:subset) sed 's/#.*//' tests/guest/subset | awk 'NF == 1 { $2 = "root" } NF' ;;
		*:all)
			for suite in kernel unit policy fault escape conformance system guest; do
				names_of $suite
			done
			;;
		*/*@*) echo "${what%@*} ${what##*@}" ;;
		*/*) modes_of "$what" ;;
		*) names_of "$what" ;;
		esac
	done
}
# Each once; some tests of a program are no more to be said where the whole program is in the list.
once() {
	awk '{ line[NR] = $0; key[NR] = $1 " " $2; n[NR] = NF; if (NF == 2) whole[$1 " " $2] = 1 }
		END { for (i = 1; i <= NR; i++) if (!seen[line[i]]++ && (n[i] == 2 || !(key[i] in whole))) print line[i] }'
}

# ---- The machine ----
job='' child=''
finish() {
	[ -z "$child" ] || {
		kill "$child"
		wait "$child"
	} 2>/dev/null
	[ -z "$job" ] || rm -rf "$job"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

prepare() { # LOG COMMAND...: in the background, where a signal to us does not have to wait
	log=$logs/$tier.$1.log
	shift
	setpriv --pdeathsig TERM "$@" >"$log" 2>&1 </dev/null 7>&- 8>&- &
	child=$!
	wait "$child" && child= && return 0
	child=
	tail -n 20 "$log"
	return 1
}
prepare kernel timeout 900 sh tests/guest/kernel.sh "$kernel" || fail_all "there is no kernel to boot"
[ "$root" = / ] || prepare root timeout 900 sh tests/guest/root.sh || fail_all "there is no Debian with systemd to boot"
command -v qemu-system-x86_64 >/dev/null 2>&1 || fail_all "qemu-system-x86_64 is missing: sh tools/deps.sh guest"
# The workarounds for faults of real processors cost an emulated one a fifth of its time.
# With a thread for each CPU one of them was seen to execute code of the kernel that the other had just patched (text_poke:
# "Oops: int3" and a panic, once in an hour). The whole tiers, which take that long, therefore have one for both.
accel=tcg,thread=multi slower=8 cpu=max append=mitigations=off
case " $* " in *' all '*) accel=tcg,thread=single ;; esac
[ -n "$force_tcg" ] || ! sh tests/guest/kvm.sh "$SRC/build/guest/$kernel" || accel=kvm slower=1 cpu=host append=

rm -rf "$SRC/build/guest/job.$tier".* # of a run that was killed
job=$(mktemp -d "$SRC/build/guest/job.$tier.XXXXXX") || exit 1
chmod 755 "$job"

if [ -n "$shell" ]; then
	printf '%s\n' "$shell" >"$job/command"
	echo "1 $total root shell" >"$job/programs"
else
	number=0
	list "${@:-subset}" | once | while read -r name mode tests; do
		number=$((number + 1))
		echo "$number $(($(time_limit "$name") * slower)) $mode $name${tests:+ $tests}"
	done >"$job/programs"
fi
[ -s "$job/programs" ] || fail_all "nothing to run"
cat >"$job/settings" <<END
SRC='$guest_src'
KERNEL='$kernel'
TIER='$tier'
MUST='${FSBOX_MUST_RUN-}'
SLOWER='$slower'
END
echo "$init" >"$job/init"
# Copies: a shell reads its script as it goes, and the sources may change meanwhile.
cp tests/guest/guest.sh tests/guest/systemd.sh tests/guest/programs.sh "$job/"
[ "$root" = / ] || cp tests/guest/prepare.sh "$job/prepare"

console=$logs/$tier.console.log
: >"$console"
: >"$logs/$tier.times.log"
# The signal is for the case that this script is killed in a way that runs no trap.
setpriv --pdeathsig KILL qemu-system-x86_64 -name "fsbox-$tier" -machine q35 -accel "$accel" -cpu "$cpu" -smp 2 -m 4096 \
	-nodefaults -no-user-config -display none -no-reboot -serial "file:$console" -monitor none \
	-kernel "build/guest/$kernel/vmlinuz" -initrd "build/guest/$kernel/initramfs" \
	-append "console=ttyS0 panic=-1 oops=panic quiet loglevel=4 cgroup_no_v1=all random.trust_cpu=on tsc=reliable $append" \
	-fsdev local,id=root,path="$root",security_model=none,readonly=on,multidevs=remap \
	-device virtio-9p-pci,fsdev=root,mount_tag=root \
	-fsdev local,id=job,path="$job",security_model=none \
	-device virtio-9p-pci,fsdev=job,mount_tag=job \
	-fsdev local,id=src,path="$SRC",security_model=none,readonly=on,multidevs=remap \
	-device virtio-9p-pci,fsdev=src,mount_tag=src \
	>"$logs/$tier.qemu.log" 2>&1 </dev/null 7>&- 9>&- &
child=$!

# ---- Results ----
failed=0
report() { # STATUS SECONDS NUMBER LIMIT MODE NAME [TEST...]
	result=$1 took=$2
	shift 2
	full=$tier/$4
	[ "$3" = root ] || full=$full@$3
	awk -v name="$full" -v status="$result" -v limit="$2" -v seconds="$took" -v sum="$job/sum" -v must="${FSBOX_MUST_RUN-}" -f tests/lib/tap.awk \
		"$job/$1.log"
	cat "$job/sum" >>"$job/sums"
	[ -z "$sums" ] || cat "$job/sum" >>"$sums"
	printf '%5d s  %s\n' "$took" "$full" >>"$logs/$tier.times.log"
	cp "$job/$1.log" "$logs/$(echo "$full" | tr / .).log"
}
now() { cut -d . -f 1 /proc/uptime; }
start=$(now)
deadline=$((start + total))
boot_limit=$((30 + 15 * slower))
: >"$job/sums"
next=1
count=$(wc -l <"$job/programs")
why=
while [ "$next" -le "$count" ]; do
	if [ -f "$job/$next.status" ]; then
		if [ -n "$shell" ]; then
			cat "$job/1.log"
			exit "$(cut -d ' ' -f 1 "$job/1.status")"
		fi
		# shellcheck disable=SC2046 # words
		report $(cat "$job/$next.status") $(sed -n "${next}p" "$job/programs")
		next=$((next + 1))
		continue
	fi
	if ! kill -0 "$child" 2>/dev/null; then
		[ -f "$job/$next.status" ] && continue
		why="the guest ended too early"
		break
	fi
	if [ "$(now)" -gt "$deadline" ]; then
		why="the guest was not done within $total s"
		break
	fi
	if [ ! -f "$job/booted" ] && [ $(($(now) - start)) -gt $boot_limit ]; then
		why="the guest did not boot within $boot_limit s"
		break
	fi
	sleep 0.2
done
if [ -n "$why" ]; then
	kill "$child" 2>/dev/null
	wait "$child" 2>/dev/null
	child=
	[ ! -f "$job/$next.log" ] || tail -n 40 "$job/$next.log" | sed 's/^/      /'
	echo "      the end of the console's log:"
	tail -n 40 "$console" | tr -d '\r' | sed 's/^/      /'
	tail -n 5 "$logs/$tier.qemu.log" | sed 's/^/      qemu: /'
	fail_all "$why, in $(sed -n "${next}s/^[0-9]* [0-9]* //p" "$job/programs"); $((count - next + 1)) of $count did not end"
fi
# It powers itself off; it has had its time.
for _ in 1 2 3 4 5 6 7 8 9 10; do
	kill -0 "$child" 2>/dev/null || break
	sleep 0.2
done
head -n 1 "$job/booted" | sed "s|^|$tier: |; s|\$| ($accel, $(($(now) - start)) s)|"
failed=$(awk '{ f += $(NF - 1) } END { print f + 0 }' "$job/sums")
[ -n "$sums" ] || awk '{ p += $2; f += $3; k += $4 } END { printf "%d passed, %d failed, %d skipped\n", p, f, k }' "$job/sums"
[ "$failed" = 0 ]
