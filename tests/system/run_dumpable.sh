#!/bin/sh
# A cell stays dumpable: seen from the host in the middle of a call, it holds nothing that a checkpoint could not take:
# pipes to the outside and nothing else, its own /dev/null, files from read-only mounts, mounts of known kinds. The same
# look finds what a function holds that breaks this.
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"

# Where the host's own root is an overlay every bind of it is one, and the look has nothing to tell apart.
case $(stat -f -c %T /usr) in
overlay*) host_is_overlay=1 ;;
*) host_is_overlay= ;;
esac
need_plain_root() {
	[ -z "$host_is_overlay" ] || skip_host "the host's root is an overlay"
}

hold() { # WHAT [fsbox run's options]: a cell in the middle of a call, $pid of fsbox
	what=$1
	shift
	: >"$T/err"
	# shellcheck disable=SC2046 # words
	(EXEC="exec" && in_mode "$FSBOX" run $(mode_options) --timeout 30 "$FUNCTIONS/escape_hold.so" --event "\"$what\"" "$@" \
		>"$T/out" 2>"$T/err") &
	pid=$!
	wait_for 50 grep -q holding "$T/err" || {
		show
		fail "[$MODE] the call did not begin"
	}
}

let_go() {
	kill -TERM "$pid" 2>/dev/null || :
	wait "$pid" 2>/dev/null || :
}

# Pids of the cell's processes: those in the pid namespace of fsbox's only child.
cell_pids() {
	init=$(cat "/proc/$pid/task/$pid/children")
	init=${init%% *}
	[ -n "$init" ] || fail "[$MODE] fsbox has no child"
	ns=$(readlink "/proc/$init/ns/pid")
	for p in /proc/[0-9]*; do
		[ "$(readlink "$p/ns/pid" 2>/dev/null)" != "$ns" ] || echo "${p#/proc/}"
	done
}

# What stands in the way of a dump, one complaint a line.
complaints() {
	for p in $(cell_pids); do
		comm=$(cat "/proc/$p/comm")
		mountinfo=/proc/$p/mountinfo
		for link in /proc/"$p"/fd/*; do
			n=${link##*/}
			to=$(readlink "$link")
			case $n:$to in
			0:/dev/null)
				# on a mount of the cell, not inherited from the host
				id=$(sed -n 's/^mnt_id:[^0-9]*//p' "/proc/$p/fdinfo/$n")
				grep -q "^$id " "$mountinfo" || echo "$comm: descriptor 0 lies on mount $id, which is not the cell's"
				;;
			[1-4]:pipe:*) ;;
			*) echo "$comm: descriptor $n is $to" ;;
			esac
		done
		[ "$(sed 's/.*) //' "/proc/$p/stat" | cut -d' ' -f5)" = 0 ] || echo "$comm: has a controlling terminal"
		# mapped files: by their names in the cell, each on a read-only mount
		awk '$6 ~ "^/" { print $6, $7 }' "/proc/$p/maps" | sort -u | while read -r file deleted; do
			[ -z "$deleted" ] || {
				echo "$comm: maps $file, which is deleted"
				continue
			}
			awk -v file="$file" '
				{ point = $5 == "/" ? "" : $5 }
				index(file, point "/") == 1 || file == $5 { if (length(point) >= best) { best = length(point); options = $6 } }
				END { exit options !~ /^ro(,|$)/ }' "$mountinfo" || echo "$comm: maps $file from a writable mount"
		done
		case $(readlink "/proc/$p/exe") in
		/var/runtime/init | /var/runtime/native) ;;
		*) echo "$comm: executes $(readlink "/proc/$p/exe")" ;;
		esac
		awk '{ for (i = 7; i < NF; i++) { if ($i == "-") break; if ($i ~ /^(shared|master|propagate_from):/) print "a mount at " $5 " is " $i }
			type = $(i + 1); source = $(i + 2)
			if ($5 == "/tmp" ? type != "tmpfs" : $5 == "/proc" ? type != "proc" : type ~ /^(fuse|cgroup|mqueue|overlay|sysfs|autofs|nsfs|bpf|debugfs|tracefs)/)
				print "a mount at " $5 " is of type " type }' "$mountinfo"
		[ "$(sed -n 's/^Threads:[^0-9]*//p' "/proc/$p/status")" = 1 ] || echo "$comm: has threads of its own"
	done
}

check_nothing_held() {
	hold nothing
	complaints >"$T/complaints"
	number=$(cell_pids | wc -l)
	let_go
	[ ! -s "$T/complaints" ] || {
		note "$(cat "$T/complaints")"
		fail "[$MODE] something stands in the way of a dump"
	}
	check_eq "$number" 2
}
test_a_cell_in_a_call_holds_nothing_that_a_dump_cannot_take() {
	need_plain_root
	watch_world
	each_mode check_nothing_held
	check_world
}

test_the_look_finds_what_a_function_holds() {
	need_root
	watch_world
	for pair in 'socket=descriptor . is socket' 'memfd=descriptor . is /memfd:held' 'eventfd=descriptor . is anon_inode:\[eventfd\]' \
		'file=descriptor . is /etc/passwd' 'deleted=maps /tmp/held.*deleted'; do
		hold "${pair%%=*}"
		complaints >"$T/complaints"
		let_go
		grep -qE "${pair#*=}" "$T/complaints" || {
			note "$(cat "$T/complaints")"
			fail "the look has not found: $pair"
		}
	done
	check_world
}

test_the_look_finds_an_overlay() {
	need_plain_root
	need_root
	watch_world
	mkdir "$T/a" "$T/b"
	chmod 755 "$TAP_DIR" "$T" "$T/a" "$T/b"
	hold nothing --layer "$T/a" --layer "$T/b"
	complaints >"$T/complaints"
	let_go
	check_contains "$T/complaints" "a mount at /opt is of type overlay"
	check_eq "$(wc -l <"$T/complaints")" 2 # one for each process
	check_world
}

test_the_pipes_lead_to_fsbox_and_nowhere_else() {
	need_root
	watch_world
	hold nothing
	for p in $(cell_pids); do
		for n in 1 2 3 4; do
			[ -e "/proc/$p/fd/$n" ] || continue
			pipe=$(readlink "/proc/$p/fd/$n")
			# every holder of this pipe: fsbox, or a process of the cell
			find /proc -maxdepth 3 -path '/proc/[0-9]*/fd/*' -printf '%h %l\n' 2>/dev/null | grep -F " $pipe" |
				cut -d/ -f3 | sort -u >"$T/holders"
			{
				echo "$pid"
				cell_pids
			} | sort -u | comm -13 - "$T/holders" >"$T/strangers"
			check [ ! -s "$T/strangers" ]
			check_contains "$T/holders" "$pid"
		done
	done
	let_go
	check_world
}

test_fsbox_itself_keeps_little_open_during_a_call() {
	need_root
	watch_world
	hold nothing
	find "/proc/$pid/fd" -mindepth 1 -printf '%f %l\n' | sort -n >"$T/fds"
	let_go
	note "$(cat "$T/fds")"
	check_between "$(wc -l <"$T/fds")" 5 24 "descriptors of fsbox during a call"
	check_world
}

run_tests "$@"
